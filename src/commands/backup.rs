//! `pgbackup:backup`: takes a backup, remembers how that went, and tells everybody who wants to know.

mod past;
mod pipeline;
mod sink;
mod suspicion;

use std::time::{Duration, Instant};

use anyhow::Result;

use self::past::Past;
use crate::commands::context::Context;
use crate::commands::copying;
use crate::commands::finishing;
use crate::commands::prune;
use crate::commands::recovery;
use crate::commands::telling::{self, Telling};
use crate::commands::turn::{self, Waiting};
use crate::error::{Failure, Kind};
use crate::history::{BackupRecord, Entry, Event, History};
use crate::lock::Lock;
use crate::manifest::Manifest;
use crate::notify::{Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::step::step;
use crate::store::Store;
use crate::text::count;
use crate::ui::human;

/// Take a backup now
///
/// The database is dumped in one snapshot while apps go on writing. The dump streams straight into the destination and takes
/// no space on the disk of the host, unless it is encrypted (pgbackup:encryption): then its compressed bytes wait there, unreadable for
/// anybody. The last line names the key of the backup; with --quiet the key alone is printed.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--label TEXT] [--wait [DURATION]]",
    after_help = "Back up lollipop

    dokku pgbackup:backup lollipop

Say what it is for

    dokku pgbackup:backup lollipop --label \"before the migration\"

Back up every service that has a destination

    dokku pgbackup:backup --all

Get the key alone in a script

    key=$(dokku --quiet pgbackup:backup lollipop)"
)]
pub struct Args {
    /// The service to back up
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// Back up every service
    #[arg(long)]
    pub all: bool,
    /// A note that is kept with the backup
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Takes backups.
///
/// # Errors
/// When one of them fails; with `--all` the others are still taken.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let (label, patience) = (args.label.as_deref(), args.waiting.patience());
    match &args.service {
        Some(service) => one(context, service, label, patience)?.copied_as_well().map(drop),
        None => all(context, label, patience),
    }
}

/// A backup that was saved.
#[derive(Debug)]
pub struct Saved {
    /// What it holds.
    pub manifest: Manifest,
    /// Whether it is in the second destination as well, where there is one.
    pub copied: Result<(), Failure>,
}

impl Saved {
    /// For those to whom a backup without its copy is half a success.
    ///
    /// # Errors
    /// [`Kind::NotCopied`] when it is not copied.
    pub fn copied_as_well(self) -> Result<Manifest> {
        let Err(failure) = self.copied else { return Ok(self.manifest) };
        let key = &self.manifest.key;
        if failure.kind == Kind::Interrupted {
            return Err(Failure::new(Kind::Interrupted, format!("Interrupted; {key} is saved, but not copied"))
                .hint(format!("The next run copies it, or: dokku pgbackup:copy {}", key.service()))
                .into());
        }
        let mut not_copied = Failure::new(Kind::NotCopied, format!("{key} IS SAVED, BUT NOT COPIED: {failure}"));
        not_copied.hints = failure.hints;
        Err(not_copied.hint(format!("The next run tries again, or: dokku pgbackup:copy {}", key.service())).into())
    }
}

/// Backs one service up, waiting as long as `patience` for another run that has it, and tells the key.
///
/// # Errors
/// When the backup failed; that is in the history then, unless another run has the service.
pub fn one(context: &Context, name: &ServiceName, label: Option<&str>, patience: Duration) -> Result<Saved> {
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock =
        turn::take(context, name, "backup", patience).map_err(|error| could_not_begin(context, name, error.into()))?;
    let (store, running) = ready(context, &service, &lock).map_err(|error| could_not_begin(context, name, error))?;
    step!("backup.settled");
    let manifest = take(context, &running, &lock, store.as_ref(), Occasion { label, safety: false })?;
    step!("backup.taken");
    let copied = copying::after_backup(context, &service, store.as_ref(), &manifest.key, &lock);
    if !copied.as_ref().is_err_and(|failure| failure.kind == Kind::Interrupted) {
        prune::after_backup(context, name, store.as_ref(), &lock);
        if copied.is_ok() {
            prune::copies_after(context, &service, &lock);
        }
    }
    step!("backup.done");
    let key = manifest.key.to_string();
    context.ui.outcome(format!("Backup of {name} saved as {key}"), &key);
    Ok(Saved { manifest, copied })
}

fn ready(context: &Context, service: &Service, lock: &Lock) -> Result<(Box<dyn Store>, RunningService)> {
    let store = context.store(service)?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, lock)?;
    Ok((store, running))
}

/// A backup that could not even begin (the service is stopped, no destination is set) is one that failed: whoever waits for it must hear
/// of it. That another run has the service is no failure of this one.
fn could_not_begin(context: &Context, name: &ServiceName, error: anyhow::Error) -> anyhow::Error {
    let failure = Failure::from_error(error);
    if failure.kind != Kind::Busy {
        let settings = context.settings(name).ok();
        let destination = settings.and_then(|settings| settings.destination).map(|destination| destination.to_string());
        let event = Event::BackupFailed {
            destination: destination.clone().unwrap_or_default(),
            error: failure.to_string(),
            interrupted: failure.kind == Kind::Interrupted,
        };
        let history = History::of(&context.environment.data_folder().join(name.as_str()));
        if let Err(error) = history.append(&Entry::now(event, None)) {
            context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
        }
        Telling::begin(context, Work::Backup, name).failed(&failure, None, destination);
    }
    failure.into()
}

fn all(context: &Context, label: Option<&str>, patience: Duration) -> Result<()> {
    let mut failed = Vec::new();
    let mut not_copied = Vec::new();
    let mut taken = 0;
    let mut names = context.visible_services()?.into_iter();
    while let Some(name) = names.next() {
        // What is wrong with the settings of one is its own failure, below.
        if context.settings(&name).is_ok_and(|settings| settings.destination.is_none()) {
            context.ui.warn(format!("{name} has no destination and is not backed up"));
            context.ui.warn(format!("Set it: dokku pgbackup:set {name} destination s3://BUCKET"));
            failed.push(name);
            continue;
        }
        let saved = one(context, &name, label, patience);
        taken += u64::from(saved.is_ok());
        match saved.and_then(Saved::copied_as_well) {
            Ok(_) => {}
            Err(error) if is_not_copied(&error) => {
                context.ui.fail(&Failure::from_error(error).of(&name));
                not_copied.push(name);
            }
            Err(error) => {
                if let Err(interrupted) = crate::interrupt::check() {
                    let left: Vec<String> = names.map(|name| name.to_string()).collect();
                    if !left.is_empty() {
                        context.ui.warn(format!("Not begun any more: {}", left.join(", ")));
                    }
                    return Err(interrupted.into());
                }
                context.ui.fail(&Failure::from_error(error).of(&name));
                failed.push(name);
            }
        }
    }
    // The last service's log is not about the others.
    context.ui.record(None);
    of_all(&format!("{} backed up", count(taken, "service")), &failed, &not_copied).map(drop).map_err(Into::into)
}

/// How it went with all services: what was done, and whether it was for all of them.
///
/// # Errors
/// When something failed with one; [`Kind::NotCopied`] when nothing did but copying.
pub fn of_all(done: &str, failed: &[ServiceName], not_copied: &[ServiceName]) -> Result<String, Failure> {
    let names = |names: &[ServiceName]| names.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let copies = if not_copied.is_empty() { String::new() } else { format!("; not copied: {}", names(not_copied)) };
    if !failed.is_empty() {
        return Err(Failure::failed(format!("{done}, but not {}{copies}", names(failed))));
    }
    if !not_copied.is_empty() {
        return Err(Failure::new(Kind::NotCopied, format!("{done}{copies}")));
    }
    Ok(done.to_owned())
}

fn is_not_copied(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.kind == Kind::NotCopied)
}

/// What a backup is taken for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occasion<'a> {
    /// What the user calls it.
    pub label: Option<&'a str>,
    /// A restore takes it of the state that it is about to replace.
    pub safety: bool,
}

/// Backs a service up and remembers how that went. The caller holds the service's lock.
///
/// # Errors
/// When the backup failed; nothing of it is left in the store then, or the error says what is.
pub fn take(
    context: &Context,
    service: &RunningService,
    _lock: &Lock,
    store: &dyn Store,
    occasion: Occasion,
) -> Result<Manifest> {
    let name = &service.service.name;
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    let began = Instant::now();
    context.ui.step(format!("Backing up {name} to {}", store.describe()));
    let telling = if occasion.safety {
        Telling::aside(context, Work::Backup, name)
    } else {
        Telling::begin(context, Work::Backup, name)
    };
    let result = Past::of(context, name).and_then(|past| pipeline::run(context, service, store, occasion, &past));
    let seconds = Some(began.elapsed().as_secs_f64());
    match result {
        Ok((manifest, bytes, confirmed_by)) => {
            let rows = manifest.fingerprint.rows();
            context.ui.detail(format!(
                "{} in {}: {}, {}, confirmed by the store ({confirmed_by})",
                human::size(bytes),
                human::duration(began.elapsed()),
                count(manifest.fingerprint.tables.len() as u64, "table"),
                count(rows, "row"),
            ));
            if let Some(incident) = &manifest.incident {
                let since = human::time(incident.since);
                context.ui.detail(format!("Marked as taken during the incident that is held since {since}"));
            }
            if !manifest.fingerprint.checks.is_empty() {
                context.ui.detail(count(manifest.fingerprint.checks.len() as u64, "check") + " recorded");
            }
            suspicion::warn(context, &manifest);
            // Looked up now: another run may have told a missed one while this one was under way.
            let had_failed = telling::backup_had_failed(&history.read().unwrap_or_default());
            let record = BackupRecord::new(manifest.clone(), store.describe(), bytes, confirmed_by);
            match history.append(&Entry::now(Event::Backup(Box::new(record)), seconds)) {
                Ok(()) => finishing::forget(context, name),
                Err(error) => {
                    context.ui.warn(format!("The backup is saved, but not in the history of this host: {error:#}"));
                }
            }
            step!("backup.remembered");
            tell_success(&telling, &manifest, bytes, &store.describe(), had_failed);
            Ok(manifest)
        }
        Err(error) => {
            let failure = Failure::from_error(error);
            let event = Event::BackupFailed {
                destination: store.describe(),
                error: failure.to_string(),
                interrupted: failure.kind == Kind::Interrupted,
            };
            if let Err(error) = history.append(&Entry::now(event, seconds)) {
                context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
            }
            telling.failed(&failure, None, Some(store.describe()));
            Err(failure.into())
        }
    }
}

fn tell_success(telling: &Telling, manifest: &Manifest, bytes: u64, destination: &str, had_failed: bool) {
    let name = &manifest.service;
    let (tables, rows) = (manifest.fingerprint.tables.len() as u64, manifest.fingerprint.rows());
    let of = |outcome, message| Notice {
        key: Some(manifest.key.to_string()),
        destination: Some(destination.to_owned()),
        bytes: Some(bytes),
        tables: Some(tables),
        rows: Some(rows),
        ..telling.notice(outcome, message)
    };
    let saved =
        format!("{} ({}, {}, {})", manifest.key, human::size(bytes), count(tables, "table"), count(rows, "row"));
    telling.tell(&of(Outcome::Succeeded, format!("Backup of {name} saved as {saved}")));
    if manifest.is_suspicious() {
        let message = format!("Backup of {name} is suspicious: {}", suspicion::in_one_line(manifest));
        telling.tell(&of(Outcome::Suspicious, message));
    }
    if had_failed {
        telling.tell(&of(Outcome::Recovered, format!("Backups of {name} work again: saved as {saved}")));
    }
}
