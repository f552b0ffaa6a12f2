//! `restore:commit`: the second half of `restore --stage-only`.

use anyhow::Result;

use crate::commands::arguments::Confirmation;
use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::restore::swap_in::{self, Incoming};
use crate::commands::telling::Telling;
use crate::commands::turn::{self, Waiting};
use crate::error::Failure;
use crate::history::{Entry, Event, History, RestoreRecord};
use crate::notify::{Notice, Outcome, Work};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::step::step;

/// Put a staged restore in place
///
/// Exchanges the live database and the one that pgbackup:restore --stage-only has loaded and compared. The replaced one is
/// kept for pgbackup:rollback.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [--no-maintenance] [--force]",
    after_help = "Look at a backup before it goes live

    dokku pgbackup:restore lollipop latest --stage-only
    dokku pgbackup:restore:commit lollipop"
)]
pub struct Args {
    /// The service with a staged restore
    #[arg(value_name = "service")]
    pub service: ServiceName,
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

/// Swaps the staged database in.
///
/// # Errors
/// When there is none, or something stands in the way.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "restore:commit", args.waiting.patience())?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    step!("commit.settled");
    let Some(staged) = swap_in::waiting(&running)? else { return Err(nothing_staged(name).into()) };
    let key = staged.marker.key;
    context.confirm(&format!("This replaces the database of {name} with the staged restore of {key}"), name)?;
    let incoming = Incoming { database: staged.name, comment: staged.marker.comment, key: key.clone() };
    let telling = Telling::begin(context, Work::Restore, name);
    let swapped = context
        .settings(name)
        .and_then(|settings| swap_in::swap(context, &running, &lock, &settings, incoming, !args.no_maintenance))
        .map_err(|error| {
            let failure = Failure::from_error(error);
            telling.failed(&failure, Some(&key), None);
            failure
        })?;
    step!("commit.swapped");
    let message = format!("{name} is restored from {key}");
    telling.tell(&Notice { key: Some(key.clone()), ..telling.notice(Outcome::Succeeded, message) });
    swapped.tell(context, &format!("{name} is restored from {key}"));
    let record = RestoreRecord { source: key, safety_backup: None, previous: swapped.previous, matched: None };
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(Event::Restore(record), None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    step!("commit.remembered");
    Ok(())
}

/// The failure of `restore:commit` and `restore:abort` without a staged restore.
pub(super) fn nothing_staged(name: &ServiceName) -> Failure {
    Failure::failed(format!("No restore of {name} is staged"))
        .hint(format!("Stage one with: dokku pgbackup:restore {name} latest --stage-only"))
}
