//! `restore:commit`: the second half of `restore --stage-only`.
//!
//! What was compared when it was staged may have been changed since, by whoever looked at it: it is compared again before it goes live.

use std::time::Instant;

use anyhow::Result;

use crate::certificate::Work as Certified;
use crate::commands::arguments::Confirmation;
use crate::commands::asked;
use crate::commands::certificate;
use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::restore;
use crate::commands::restore::staged::Waiting;
use crate::commands::restore::swap_in::{self, Incoming};
use crate::commands::telling::Telling;
use crate::commands::turn;
use crate::error::{Failure, Kind};
use crate::history::{Entry, Event, History, RestoreRecord};
use crate::notify::{Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::step::step;
use crate::ui::comparison::show_verification;
use crate::verification::Verification;

/// Put a staged restore in place
///
/// Exchanges the live database and the one that pgbackup:restore --stage-only has loaded and compared. It is compared again first: exit
/// code 3 says that it was changed since. The replaced one is kept for pgbackup:rollback.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [--accept-differences] [--no-maintenance] [--force]",
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
    /// Go on although what is staged was changed since, or can't be compared again
    #[arg(long)]
    pub accept_differences: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub confirmation: Confirmation,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: turn::Waiting,
}

/// Swaps the staged database in.
///
/// # Errors
/// [`Kind::Difference`] when it was changed since it was staged; or when there is none, or something stands in the way.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "restore:commit", args.waiting.patience())?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    step!("commit.settled");
    let Some(staged) = swap_in::waiting(&running)? else { return Err(nothing_staged(name).into()) };
    let warning = format!("This replaces the database of {name} with the staged restore of {}", staged.marker.key);
    let (running, lock) = asked::confirm(context, (running, lock), "restore:commit", &warning, |running| {
        let there = swap_in::waiting(running)?.is_some_and(|now| now.name == staged.name);
        if there { Ok(()) } else { Err(asked::otherwise(running, "what was staged was dropped")) }
    })?;
    let key = staged.marker.key;
    let began = Instant::now();
    let telling = Telling::begin(context, Work::Restore, name);
    let result = (|| {
        let compared = compare(args, context, &running, &staged.name)?;
        let incoming = Incoming { database: staged.name, comment: staged.marker.comment, key: key.clone() };
        let settings = context.settings(name)?;
        let swapped = swap_in::swap(context, &running, &lock, &settings, incoming, !args.no_maintenance)?;
        Ok((compared, swapped))
    })();
    let (compared, swapped) = result.map_err(|error: anyhow::Error| {
        let failure = restore::untouched(error, name);
        telling.failed(&failure, Some(&key), None);
        failure
    })?;
    step!("commit.swapped");
    let matched = compared.as_ref().map(|(_, verification)| verification.passed());
    if let Some((waiting, verification)) = compared {
        let seconds = began.elapsed().as_secs_f64();
        certificate::keep(context, &running, Certified::Restore, waiting.backup, seconds, &verification);
    }
    if let Err(error) = Waiting::forget(context, name) {
        context.ui.warn(format!("{error:#}"));
    }
    let message = format!("{name} is restored from {key}");
    telling.tell(&Notice { key: Some(key.clone()), ..telling.notice(Outcome::Succeeded, message) });
    swapped.tell(context, &format!("{name} is restored from {key}"));
    let record = RestoreRecord { source: key, safety_backup: None, previous: swapped.previous, matched };
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(Event::Restore(record), Some(began.elapsed().as_secs_f64()))) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    step!("commit.remembered");
    Ok(())
}

/// Compares what waits once more; `None` where that can't be done and that was accepted.
fn compare(
    args: &Args,
    context: &Context,
    running: &RunningService,
    database: &str,
) -> Result<Option<(Waiting, Verification)>> {
    let name = &args.service;
    let look = format!("Look at it: dokku pgbackup:query {name} --staged \"SELECT ...\"");
    let waiting = Waiting::read(context, name, database).or_else(|error| {
        if !args.accept_differences {
            return Err(error);
        }
        context.ui.warn(format!("{error:#}"));
        Ok(None)
    })?;
    let Some(waiting) = waiting else {
        let what =
            format!("What is staged as {database} can't be compared again: what it has to hold is not noted here");
        if args.accept_differences {
            context.ui.warn(what);
            return Ok(None);
        }
        return Err(Failure::new(Kind::Difference, what)
            .hint(look)
            .hint(format!("Drop it and stage it anew: dokku pgbackup:restore:abort {name}"))
            .hint("Or add --accept-differences")
            .into());
    };
    context.ui.step("Comparing again with what was saved");
    let verification = waiting.compare(running)?;
    show_verification(&context.ui, &verification);
    if !verification.passed() && !waiting.is_as_staged(&verification) && !args.accept_differences {
        return Err(Failure::new(Kind::Difference, "What is staged was changed since it was loaded and compared")
            .hint(look)
            .hint("To put it in place all the same add --accept-differences")
            .hint(format!("Drop it and stage it anew: dokku pgbackup:restore:abort {name}"))
            .into());
    }
    Ok(Some((waiting, verification)))
}

/// The failure of `restore:commit` and `restore:abort` without a staged restore.
pub(super) fn nothing_staged(name: &ServiceName) -> Failure {
    Failure::failed(format!("No restore of {name} is staged"))
        .hint(format!("Stage one with: dokku pgbackup:restore {name} latest --stage-only"))
}
