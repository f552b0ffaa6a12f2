//! `restore:abort`: gives up what `restore --stage-only` has loaded.

use anyhow::Result;

use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::restore::staged::Waiting;
use crate::commands::restore::swap_in;
use crate::commands::restore_commit::nothing_staged;
use crate::commands::turn;
use crate::database::{session, staging};
use crate::history::{Entry, Event};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::step::step;

/// Drop a staged restore
///
/// Drops the database that pgbackup:restore --stage-only has loaded. The live one is not touched.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>",
    after_help = "Give up what was staged

    dokku pgbackup:restore:abort lollipop"
)]
pub struct Args {
    /// The service with a staged restore
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: turn::Waiting,
}

/// Drops the staged database.
///
/// # Errors
/// When there is none.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "restore:abort", args.waiting.patience())?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    let Some(staged) = swap_in::waiting(&running)? else { return Err(nothing_staged(name).into()) };
    step!("abort.found");
    staging::drop_database(&mut session::connect_beside(&running)?, &staged.name)?;
    step!("abort.dropped");
    if let Err(error) = Waiting::forget(context, name) {
        context.ui.warn(format!("{error:#}"));
    }
    let event = Event::StagedDropped { source: staged.marker.key.clone() };
    if let Err(error) = backups::history(name, context).append(&Entry::now(event, None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    context.ui.outcome(
        format!("The staged restore of {} is dropped, the live database of {name} was not touched", staged.marker.key),
        "",
    );
    Ok(())
}
