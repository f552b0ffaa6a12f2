//! Putting right what an earlier run has left: it was killed, the host went down, the disk was full.
//!
//! Each command that changes something calls [`settle`] first, with the service's lock in hand: whoever held it before is gone. Most is
//! told by the server itself (databases carry a mark that says what they are); the journal adds which apps to lift out of
//! maintenance. What was done is said aloud, since the user may have gone home in the middle of a restore.

use anyhow::Result;

use crate::commands::context::Context;
use crate::commands::upload;
use crate::database::session;
use crate::database::staging::{self, Purpose};
use crate::database::throwaway;
use crate::dokku::maintenance::Maintenance;
use crate::durable;
use crate::journal::Journal;
use crate::lock::Lock;
use crate::service::RunningService;
use crate::step::step;

/// Puts right what an earlier run has left on the server and on the host.
///
/// # Errors
/// When the server or the journal can't be read, or refuses.
pub fn settle(context: &Context, service: &RunningService, _lock: &Lock) -> Result<()> {
    let name = &service.service.name;
    let folder = context.environment.data_folder();
    durable::sweep(&folder);
    durable::sweep(&folder.join(name.as_str()));
    upload::sweep(context, &service.service);
    step!("recovery.uploads");
    match throwaway::sweep(&context.docker, name) {
        Ok(0) => {}
        Ok(_) => context.ui.detail("Removed the throw-away container that an interrupted run had left"),
        // It takes memory and disk, and is no reason to go without a backup.
        Err(error) => context.ui.warn(format!("Left-over throw-away containers can't be looked for: {error:#}")),
    }
    step!("recovery.containers");
    let ended = session::end_leftovers(service)?;
    if ended > 0 {
        context.ui.warn(format!("Ended {ended} sessions that an earlier run of pgbackup had left on the server"));
    }
    step!("recovery.sessions");
    let mut client = session::connect_beside(service)?;
    let now = context.now();
    for database in staging::list(&mut client, name)? {
        let marker = &database.marker;
        let (drop, why) = match marker.purpose {
            Purpose::Staging => (!marker.kept, "left by an interrupted restore"),
            Purpose::Drill => (true, "left by an interrupted drill"),
            Purpose::Previous => (
                marker.until.is_some_and(|until| until < now),
                "replaced by a restore, and its time for a rollback is over",
            ),
        };
        if drop {
            match staging::drop_database(&mut client, &database.name) {
                Ok(()) => {
                    step!("recovery.dropped");
                    context.ui.detail(format!("Dropped the database {} ({why})", database.name));
                }
                // It takes disk, and is no reason to go without a backup.
                Err(error) => context.ui.warn(format!("The database {} is left ({why}): {error:#}", database.name)),
            }
        }
    }
    // Killed between CREATE DATABASE and the mark, or the server in the middle of DROP DATABASE: nobody else gives such a name.
    let mut left = staging::unmarked(&mut client)?;
    left.extend(staging::half_dropped(&mut client)?);
    left.sort_unstable();
    left.dedup();
    for name in left {
        match staging::drop_database(&mut client, &name) {
            Ok(()) => context.ui.detail(format!("Dropped the database {name} (left by an interrupted run)")),
            Err(error) => context.ui.warn(format!("The database {name} is left by an interrupted run: {error:#}")),
        }
    }
    step!("recovery.databases");
    lift_maintenance(context, service)?;
    step!("recovery.done");
    Ok(())
}

/// Ends the maintenance that an interrupted restore has left on, and with it the restore's journal.
fn lift_maintenance(context: &Context, service: &RunningService) -> Result<()> {
    let journal = journal(context, service)?;
    let Some(state) = journal.read()?.filter(crate::journal::State::interrupted) else { return Ok(()) };
    if !state.lift_maintenance.is_empty() {
        let apps = state.lift_maintenance.join(", ");
        context.ui.warn(format!("An interrupted restore of {} had put {apps} into maintenance", state.service));
        if let Some(maintenance) = Maintenance::find(&context.environment.plugin_enabled_path) {
            let ui = context.ui.clone();
            let entered = maintenance.resume(&state.lift_maintenance, move |sentence, next| {
                ui.warn(sentence);
                ui.warn(format!("Do it by hand: {next}"));
            });
            match entered.leave() {
                Ok(()) => context.ui.detail(format!("{apps} is out of maintenance again")),
                Err(still_on) => {
                    for (sentence, next) in still_on.iter().map(crate::dokku::maintenance::StillOn::warning) {
                        context.ui.warn(sentence);
                        context.ui.warn(format!("Do it by hand: {next}"));
                    }
                }
            }
        }
    }
    step!("recovery.lifted");
    journal.clear()?;
    step!("recovery.cleared");
    Ok(())
}

/// The restore's journal of a service.
///
/// # Errors
/// When its folder can't be made.
pub fn journal(context: &Context, service: &RunningService) -> Result<Journal> {
    Ok(Journal::open(&context.environment.data_folder().join(service.service.name.as_str()))?)
}
