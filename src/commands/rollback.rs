//! `rollback`: the way back from a restore, at once, because the replaced database is still there.

use anyhow::Result;

use crate::commands::arguments::Confirmation;
use crate::commands::asked;
use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::restore::swap_in::{self, Incoming};
use crate::commands::turn::{self, Waiting};
use crate::database::session;
use crate::database::staging::{self, Beside, Purpose};
use crate::error::Failure;
use crate::history::{Entry, Event, History};
use crate::lock::Lock;
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::step::step;
use crate::ui::human;

/// Undo the last restore
///
/// Puts back the database that the last restore replaced. The restored one is kept in its place, so a second rollback brings
/// that one back. How long they are kept is set by the property keep-previous.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [--discard] [--no-maintenance] [--force]",
    after_help = "Undo the last restore

    dokku pgbackup:rollback lollipop

Free the disk that replaced databases take

    dokku pgbackup:rollback lollipop --discard"
)]
pub struct Args {
    /// The service that was restored
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// Drop the replaced databases instead
    #[arg(long)]
    pub discard: bool,
    /// Don't put the linked apps into maintenance mode
    #[arg(long)]
    pub no_maintenance: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub confirmation: Confirmation,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Swaps the replaced database back, or drops it.
///
/// # Errors
/// When there is none, or something stands in the way.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "rollback", args.waiting.patience())?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    step!("rollback.settled");
    let mut previous = replaced(&running)?;
    let Some(newest) = previous.pop() else {
        return Err(Failure::failed(format!("There is nothing to roll {name} back to: no replaced database is kept"))
            .hint("It is kept after a restore for as long as the property keep-previous says")
            .hint(format!("See the backups of {name} with: dokku pgbackup:list {name}"))
            .into());
    };
    if args.discard {
        previous.push(newest);
        return discard(context, (running, lock), previous);
    }
    let since = human::time(newest.marker.since);
    let warning =
        format!("This puts back the database of {name} that was replaced at {since} by {}", newest.marker.key);
    let (running, lock) = asked::confirm(context, (running, lock), "rollback", &warning, |running| {
        let there = replaced(running)?.last().is_some_and(|now| now.name == newest.name);
        if there { Ok(()) } else { Err(asked::otherwise(running, "what its last restore has replaced was dropped")) }
    })?;
    let incoming = Incoming {
        database: newest.name,
        comment: newest.marker.comment,
        key: format!("the rollback of {}", newest.marker.key),
    };
    let swapped = swap_in::swap(context, &running, &lock, &context.settings(name)?, incoming, !args.no_maintenance)?;
    step!("rollback.swapped");
    swapped.tell(context, &format!("{name} is back to what it was before {since}"));
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(Event::Rollback { replaced: swapped.previous }, None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    step!("rollback.remembered");
    Ok(())
}

fn replaced(service: &RunningService) -> Result<Vec<Beside>> {
    let mut databases = staging::list(&mut session::connect_beside(service)?, &service.service.name)?;
    databases.retain(|database| database.marker.purpose == Purpose::Previous);
    Ok(databases)
}

fn discard(context: &Context, (service, lock): (RunningService, Lock), mut databases: Vec<Beside>) -> Result<()> {
    let bytes: u64 = databases.iter().map(|database| database.bytes).sum();
    let warning = format!(
        "This drops what the last restores of {} replaced ({}): they can't be undone then",
        service.service.name,
        human::size(bytes)
    );
    let (service, _lock) = asked::confirm(context, (service, lock), "rollback", &warning, |service| {
        // The time of one may have been over meanwhile.
        let there = replaced(service)?;
        databases.retain(|database| there.iter().any(|other| other.name == database.name));
        Ok(())
    })?;
    let name = &service.service.name;
    let bytes: u64 = databases.iter().map(|database| database.bytes).sum();
    let mut client = session::connect_beside(&service)?;
    for database in &databases {
        staging::drop_database(&mut client, &database.name)?;
        step!("discard.dropped");
        context.ui.detail(format!("Dropped {}", database.name));
    }
    if let Err(error) = backups::history(name, context).append(&Entry::now(Event::RollbackDiscarded { bytes }, None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    context.ui.outcome(format!("{} freed", human::size(bytes)), "");
    Ok(())
}
