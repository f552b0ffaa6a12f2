//! `restore`: store → unpack → load into staging → fingerprint → verification → swap, on one screen.
//!
//! The states are types: a [`Fetched`](source::Fetched) backup becomes a [`Staged`](staged::Staged) database beside the live one,
//! which becomes [`Verified`](staged::Verified) or is dropped, and only that can be swapped in. Whatever fails before the swap leaves the
//! live database as it was.

pub mod plain;
pub mod plan;
pub mod source;
pub mod staged;
pub mod swap_in;

use std::time::Instant;

use anyhow::Result;

use crate::archive::encryption::Secrets;
use crate::certificate::Work as Certified;
use crate::commands::arguments::{Chosen, Confirmation};
use crate::commands::asked;
use crate::commands::backup;
use crate::commands::certificate;
use crate::commands::context::Context;
use crate::commands::encryption::unlock::Unlock;
use crate::commands::recovery;
use crate::commands::renewal;
use crate::commands::telling::Telling;
use crate::commands::turn::{self, Waiting};
use crate::commands::wanted::Wanted;
use crate::database::staging::Purpose;
use crate::database::{session, swap};
use crate::error::{Failure, Kind};
use crate::history::{Entry, Event, History, RestoreRecord};
use crate::lock::Lock;
use crate::notify::{Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::settings::Settings;
use crate::step::step;
use crate::store::key::BackupKey;
use crate::ui::comparison::show_verification;

/// What everybody wants to know of a restore that has failed.
pub(crate) const UNTOUCHED: &str = "The live database was not touched";

/// Says that the live database is what it was, where that is known.
pub(crate) fn untouched(error: anyhow::Error, service: &ServiceName) -> Failure {
    let known = !error.chain().any(<dyn std::error::Error>::is::<swap::Unanswered>);
    let failure = Failure::from_error(error);
    if known {
        return failure.hint(UNTOUCHED);
    }
    failure.hint(format!("When the server answers again see what is there with: dokku pgbackup:status {service}"))
}

/// Restore a backup without putting the running database at risk
///
/// The backup is loaded into a staging database beside the live one and compared with what was saved by direct queries. Only
/// then do the two change places in one transaction: apps are without their database for a moment. A plan is shown first and
/// the service's name is asked for. Whatever fails before the exchange leaves the live database as it was; afterwards
/// pgbackup:rollback undoes it at once.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(
    override_usage = "<service> <backup>|--before TIME|--file PATH [--from DESTINATION] [--to SERVICE] [--stage-only] [--force]",
    after_help = "Rehearse it in another service first

    dokku pgbackup:restore lollipop latest --to testapp

Restore the newest backup that began before an accident

    dokku pgbackup:restore lollipop --before \"2023-04-03 11:30\"

Restore one backup by its key or a part of it

    dokku pgbackup:restore lollipop postgres-lollipop-2023-04-03-11-00-04.tgz

Load and compare but look at it before it goes live

    dokku pgbackup:restore lollipop latest --stage-only
    dokku pgbackup:query lollipop --staged \"SELECT COUNT(*) FROM users\"
    dokku pgbackup:restore:commit lollipop

Restore the backup of a host that is gone into a new service that is called otherwise

    dokku pgbackup:restore newpop latest --from s3://my-backups/prod --service lollipop

Restore one that is encrypted for a public key

    dokku pgbackup:restore lollipop latest --private-key - --force < key.asc

Restore a file from another machine where this host may not read the bucket

    ssh dokku@host pgbackup:restore lollipop - --force < backup.tgz"
)]
pub struct Args {
    /// The service whose backup is restored
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub chosen: Chosen,
    /// Restore into this service instead, to rehearse
    #[arg(long, value_name = "SERVICE", conflicts_with = "source")]
    pub to: Option<ServiceName>,
    /// Stop before the exchange, so that you can look; then use pgbackup:restore:commit or pgbackup:restore:abort
    #[arg(long)]
    pub stage_only: bool,
    /// Don't put the linked apps into maintenance mode
    #[arg(long)]
    pub no_maintenance: bool,
    /// Don't back up the present state first
    #[arg(long)]
    pub no_safety_backup: bool,
    /// Go on although what was loaded differs from what was saved, or nothing of it could be compared
    #[arg(long)]
    pub accept_differences: bool,
    /// Take this database of a backup that holds several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Take a file that holds the dump of a database with another name
    #[arg(long)]
    pub foreign: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub unlock: Unlock,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub confirmation: Confirmation,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Restores.
///
/// # Errors
/// When something fails or differs; the live database is what it was then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let target = args.to.as_ref().unwrap_or(&args.service);
    let source = source::choose(context, "restore", &args.service, target, &args.chosen)?;
    source.refuse_wrong_length().map_err(|error| {
        let list = args.chosen.elsewhere.list(&args.service);
        Failure::from_error(error.into()).hint(format!("Choose another one: {list}")).hint(UNTOUCHED)
    })?;
    // Rules and deletions let it alone from here on, whatever has to be waited for.
    let _wanted = source.key().map(|key| Wanted::note(context, key, "restore"));
    let opener = if args.chosen.elsewhere.from.is_some() { target } else { &args.service };
    let secrets = args.unlock.secrets(context, opener, source.is_stdin())?;
    let service = Service::find(&context.environment.lib_root, target)
        .map_err(|failure| hint_for_new_host(failure, &source, target))?;
    let mut lock = turn::take(context, target, "restore", args.waiting.patience())?;
    let mut running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    step!("restore.settled");
    swap_in::refuse_second_staging(&running)?;

    plan::show(context, &source, &running)?;
    if !args.stage_only {
        let warning = format!("This replaces the database of {target} with {}", source.describe());
        let still = |running: &RunningService| {
            swap_in::refuse_second_staging(running)?;
            plan::refuse_if_too_large(&source, running)
        };
        (running, lock) = asked::confirm(context, (running, lock), "restore", &warning, still)
            .map_err(|error| hint_for_stdin(error, &source))?;
    }
    let settings = context.settings(target)?;
    if !args.stage_only {
        swap::refuse_obstacles(&mut session::connect_beside(&running)?, &running.service.database)?;
    }
    let began = Instant::now();
    let name = source.describe();
    let telling = Telling::begin(context, Work::Restore, target);
    let outcome = restore(args, context, (source, &secrets), &running, &lock, &settings);
    remember(context, &running, &name, began, outcome, &telling)
}

/// The pipeline. What it returns belongs in the history; a staged restore has not happened yet.
fn restore(
    args: &Args,
    context: &Context,
    (source, secrets): (source::Source, &Secrets),
    running: &RunningService,
    lock: &Lock,
    settings: &Settings,
) -> Result<Option<RestoreRecord>> {
    let name = source.describe();
    let target = &running.service.name;
    let began = Instant::now();
    let described = certificate::describe(&source);
    let whose = source.named_for().unwrap_or(&args.service).clone();
    // Before anything is saved or loaded: a file that can't be read, a missing permission, a wrong key, something that is no backup.
    let mut fetched = source.open(context, "restore", secrets)?;
    step!("restore.opened");
    let wanted = match &args.database {
        Some(database) => Some(database.clone()),
        None if args.foreign => None,
        None => fetched.database_name(context, &whose)?,
    };
    staged::refuse_unfit(running, &mut fetched, wanted.as_deref())?;
    let safe = args.stage_only || args.no_safety_backup;
    let safety_backup = if safe { None } else { safety_backup(context, running, lock, settings, &name)? };

    step!("restore.saved");
    let staged = staged::load(context, running, Purpose::Staging, fetched, wanted.as_deref())?;
    let verified = staged.verify(context, args.accept_differences)?;
    step!("restore.verified");
    show_verification(&context.ui, verified.verification());
    if args.stage_only {
        let database = verified.keep(context, described)?;
        step!("restore.staged");
        context.ui.outcome(format!("Staged beside the live database of {target} as {database}"), &database);
        context.ui.detail(format!("Look at it with:      dokku pgbackup:query {target} --staged \"SELECT ...\""));
        context.ui.detail(format!("Put it in place with: dokku pgbackup:restore:commit {target}"));
        context.ui.detail(format!("Drop it with:         dokku pgbackup:restore:abort {target}"));
        return Ok(None);
    }
    let matched = verified.matched();
    let verification = verified.verification().clone();
    let swapped = swap_in::swap(context, running, lock, settings, verified.incoming(), !args.no_maintenance)?;
    step!("restore.swapped");
    verified.swapped();
    let seconds = began.elapsed().as_secs_f64();
    certificate::keep(context, running, Certified::Restore, described, seconds, &verification);
    step!("restore.certified");
    swapped.tell(context, &format!("{target} is restored from {name}"));
    Ok(Some(RestoreRecord { source: name, safety_backup, previous: swapped.previous, matched: Some(matched) }))
}

/// The present state, saved before it is replaced. It is also kept as a database, so a service without a destination goes on.
fn safety_backup(
    context: &Context,
    running: &RunningService,
    lock: &Lock,
    settings: &Settings,
    source: &str,
) -> Result<Option<BackupKey>> {
    let name = &running.service.name;
    if !session::database_exists(running)? {
        context.ui.detail(format!("{name} has no database now: there is no present state to save"));
        return Ok(None);
    }
    if settings.destination.is_none() {
        context.ui.detail(format!("{name} has no destination: its present state is kept for pgbackup:rollback only"));
        return Ok(None);
    }
    let store = context.store(&running.service)?;
    let label = format!("before the restore of {source}");
    let occasion = backup::Occasion { label: Some(&label), safety: true };
    let manifest = backup::take(context, running, lock, store.as_ref(), occasion)
        .map_err(|error| {
            let mut failure = Failure::from_error(error);
            failure.message = format!("The present state of {name} can't be saved first: {}", failure.message);
            if failure.kind == Kind::Failed {
                failure = failure.hint("To restore without that backup add --no-safety-backup; the replaced database is kept for pgbackup:rollback either way");
            }
            failure
        })?;
    context.ui.detail(format!("Present state saved as {}", manifest.key));
    Ok(Some(manifest.key))
}

/// Writes the outcome into the history. By now every guard has run: nothing is under way any more.
fn remember(
    context: &Context,
    running: &RunningService,
    source: &str,
    began: Instant,
    outcome: Result<Option<RestoreRecord>>,
    telling: &Telling,
) -> Result<()> {
    // What has happened is told and remembered, whatever becomes of the note.
    if let Err(error) = recovery::journal(context, running).and_then(|journal| Ok(journal.clear()?)) {
        context.ui.warn(format!("{error:#}"));
    }
    step!("restore.cleared");
    let target = &running.service.name;
    let of = |outcome, message| Notice { key: Some(source.to_owned()), ..telling.notice(outcome, message) };
    let (event, result) = match outcome {
        Ok(None) => {
            telling.tell(&of(
                Outcome::Succeeded,
                format!("A restore of {target} from {source} is staged and waits for a decision"),
            ));
            (Event::Staged { source: source.to_owned() }, Ok(()))
        }
        Ok(Some(record)) => {
            telling.tell(&of(Outcome::Succeeded, format!("{target} is restored from {source}")));
            (Event::Restore(record), Ok(()))
        }
        Err(error) => {
            // After the swap nothing fails any more.
            let failure = untouched(error, target);
            telling.failed(&failure, Some(source), None);
            let interrupted = failure.kind == Kind::Interrupted;
            let event = Event::RestoreFailed { source: source.to_owned(), error: failure.to_string(), interrupted };
            (event, Err(failure))
        }
    };
    let history = History::of(&context.environment.data_folder().join(running.service.name.as_str()));
    if let Err(error) = history.append(&Entry::now(event, Some(began.elapsed().as_secs_f64()))) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    step!("restore.remembered");
    Ok(result?)
}

/// On a new host the service is to be made first: as it was.
fn hint_for_new_host(failure: Failure, source: &source::Source, target: &ServiceName) -> Failure {
    match source {
        source::Source::Stored { backup, elsewhere: true, .. } => {
            let mut failure = failure;
            failure.hints.retain(|hint| !hint.contains("postgres:create"));
            failure.hint(format!("Make it first: {}", renewal::create(target, backup.manifest.as_ref())))
        }
        _ => failure,
    }
}

fn hint_for_stdin(error: anyhow::Error, source: &source::Source) -> anyhow::Error {
    if source.is_stdin() {
        let mut failure = Failure::from_error(error);
        if failure.kind == Kind::Failed {
            failure.hints = vec!["A backup on standard input leaves nobody to ask: add --force".to_owned()];
        }
        return failure.into();
    }
    error
}
