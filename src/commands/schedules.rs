//! Schedules as they are kept, written into Dokku's crontab and remembered when they ran.
//!
//! They are a property of their subject (a service, or `--global` for `--all`), so they go with its other settings when the service is
//! destroyed. What a schedule's last run did is kept beside the service's history.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::commands::context::Context;
use crate::commands::missed;
use crate::dokku::crontab;
use crate::dokku::properties::Subject;
use crate::durable::{self, Locked};
use crate::error::{Failure, Kind};
use crate::lock::Owner;
use crate::schedule::{self, Name, Planned};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::ui::human;

/// The property that holds them; only the commands for schedules write it.
const PROPERTY: &str = "schedules";
/// The property without which the backups of a destroyed service could not be read any more: it stays as long as they do.
const ENCRYPTION: &str = "encryption";
/// How long a change waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A schedule with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A service, or `--global` for all of them.
    pub subject: Subject,
    /// What was set.
    pub planned: Planned,
}

/// How the last run of a schedule went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When cron began it.
    pub began: Timestamp,
    /// When it ended; absent while it runs, and for ever when it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The process that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

impl LastRun {
    /// Whether it has not ended and never will.
    fn was_killed(&self) -> bool {
        self.ended.is_none() && self.owner.as_ref().is_some_and(|owner| !owner.lives())
    }

    /// What to say of it in one word.
    pub fn word(&self) -> String {
        match (self.ended, self.exit_code) {
            (None, _) if self.owner.as_ref().is_some_and(Owner::lives) => "running".to_owned(),
            (None, _) => "KILLED".to_owned(),
            (Some(_), Some(0) | None) => "good".to_owned(),
            (Some(_), Some(code)) => format!("FAILED:{code}"),
        }
    }
}

/// A run that was due and didn't begin, or began and was killed.
#[derive(Debug, Clone)]
pub struct Missed {
    /// Of which schedule.
    pub entry: Entry,
    /// When it was due, or was begun.
    pub due: Timestamp,
    /// It has begun, and was killed.
    pub killed: bool,
}

impl Missed {
    /// What became of it, behind whose it is.
    pub fn what(&self) -> String {
        let due = human::time(self.due);
        if self.killed {
            format!("was begun at {due} and was killed, or the host went down")
        } else {
            format!("was due at {due} and did not run")
        }
    }
}

impl Entry {
    /// How a user writes whose it is: the service, or `--all`.
    pub fn whose(&self) -> String {
        whose(&self.subject)
    }

    /// What cron runs.
    pub fn command(&self) -> String {
        format!("dokku pgbackup:schedule:run {} {}", self.whose(), self.planned.name)
    }

    /// The line for `cron-entries`: nothing in it can be taken for another field or another line.
    pub fn line(&self, context: &Context) -> String {
        let log = log_file(context, &self.subject);
        let writable =
            log.parent().is_some_and(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok());
        let log = log.to_string_lossy();
        // Where the log can't be written the shell would not even begin the command: cron mails the output then.
        if writable && !log.contains([';', '\n', '%', ' ']) {
            format!("{};{};{log}", self.planned.cron, self.command())
        } else {
            format!("{};{}", self.planned.cron, self.command())
        }
    }
}

/// How a user writes it.
pub fn whose(subject: &Subject) -> String {
    match subject {
        Subject::Service(name) => name.to_string(),
        Subject::Global => "--all".to_owned(),
    }
}

/// The log of a subject's scheduled runs, below Dokku's own folder for logs.
pub fn log_file(context: &Context, subject: &Subject) -> PathBuf {
    let name = match subject {
        Subject::Service(name) => format!("pgbackup-{name}.log"),
        Subject::Global => "pgbackup.log".to_owned(),
    };
    context.environment.logs_folder.join(name)
}

/// The schedules of a subject, sorted by name.
///
/// # Errors
/// When they can't be read, or were spoiled by hand.
pub fn of(context: &Context, subject: &Subject) -> Result<Vec<Planned>> {
    let Some(text) = context.properties().get(subject, PROPERTY)? else { return Ok(Vec::new()) };
    let mut planned: Vec<Planned> = serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!("The schedules of {} can't be read", whose(subject)))
            .because(error)
            .hint(format!("Forget them all: dokku pgbackup:unschedule {} --every", whose(subject)))
    })?;
    planned.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(planned)
}

/// The schedules of all subjects that exist: those for all services first. What can't be read is handed to `broken`, and is no reason
/// to go without the others.
pub fn all(context: &Context, mut broken: impl FnMut(anyhow::Error)) -> Vec<Entry> {
    let mut subjects = vec![Subject::Global];
    match Service::all(&context.environment.lib_root) {
        Ok(names) => subjects.extend(names.into_iter().map(Subject::Service)),
        Err(error) => broken(error.into()),
    }
    let mut entries = Vec::new();
    for subject in subjects {
        match of(context, &subject) {
            Ok(planned) => {
                entries.extend(planned.into_iter().map(|planned| Entry { subject: subject.clone(), planned }));
            }
            Err(error) => broken(error),
        }
    }
    entries
}

/// Changes the schedules of a subject, alone.
///
/// # Errors
/// When they can't be read or written.
pub fn change<T>(
    context: &Context,
    subject: &Subject,
    change: impl FnOnce(&mut Vec<Planned>) -> Result<T>,
) -> Result<T> {
    let folder = context.environment.data_folder().join("--global");
    durable::make_folder(&folder, 0o700)?;
    let Locked::Ours(_held) = durable::lock(&folder.join("schedules.lock"), PATIENCE)? else {
        return Err(Failure::new(Kind::Busy, "Another command is changing the schedules")
            .hint("Nothing was changed; try again when it has ended")
            .into());
    };
    let mut planned = of(context, subject)?;
    let result = change(&mut planned)?;
    if planned.is_empty() {
        context.properties().unset(subject, PROPERTY)?;
    } else {
        context.properties().set(subject, PROPERTY, &serde_json::to_string(&planned)?)?;
    }
    Ok(result)
}

/// Forgets all schedules of a subject, also spoiled ones.
///
/// # Errors
/// When the file can't be removed.
pub fn forget(context: &Context, subject: &Subject) -> Result<bool> {
    context.properties().unset(subject, PROPERTY)
}

/// Has Dokku write its crontab anew, and says so where a line is not in it afterwards. Returns whether all of them are.
///
/// # Errors
/// When Dokku can't write it: what was changed is kept, but not active.
pub fn activate(context: &Context, entries: &[Entry]) -> Result<bool> {
    crontab::rewrite().map_err(|error| {
        Failure::failed("The schedules are kept, but Dokku's crontab was not written")
            .because(error)
            .hint("Try it again with: plugn trigger scheduler-cron-write docker-local \"\"")
    })?;
    let absent = not_in_crontab(context, entries)?;
    if absent.is_empty() {
        return Ok(true);
    }
    for entry in &absent {
        context.ui.warn(format!(
            "The schedule {} of {} is not in the crontab of {}: nothing will run",
            entry.planned.name,
            entry.whose(),
            context.environment.system_user
        ));
    }
    let whose = absent.first().map(Entry::whose).unwrap_or_default();
    match crontab::global_scheduler() {
        Some(scheduler) if scheduler != crontab::SCHEDULER => context.ui.warn(format!(
            "Dokku writes a crontab only where the scheduler {} is used, and on this host it is {scheduler}",
            crontab::SCHEDULER
        )),
        _ => context.ui.warn("See what Dokku knows with: dokku cron:list --global"),
    }
    context.ui.warn(format!("A file for cron instead: dokku pgbackup:schedule:export {whose} --cron"));
    context.ui.warn(format!("A timer of systemd:      dokku pgbackup:schedule:export {whose} --systemd"));
    Ok(false)
}

/// Those schedules that are not in Dokku's crontab.
///
/// # Errors
/// When the crontab can't be read.
pub fn not_in_crontab(context: &Context, entries: &[Entry]) -> Result<Vec<Entry>> {
    let crontab = crontab::read(&context.environment.system_user)?;
    let absent = |entry: &&Entry| !crontab::has(&crontab, entry.planned.cron.as_str(), &entry.command());
    Ok(entries.iter().filter(absent).cloned().collect())
}

/// Every run that was due and didn't begin, or was killed, of all schedules.
pub fn missed(context: &Context) -> Vec<Missed> {
    let zone = context.environment.time_zone();
    let mut missed = Vec::new();
    for entry in all(context, |_| {}) {
        let Planned { cron, since, .. } = &entry.planned;
        let last = last_run(context, &entry);
        let began = last.as_ref().map(|last| last.began);
        if let Some(due) = schedule::missed(cron, &zone, *since, began, context.now()) {
            missed.push(Missed { entry, due, killed: false });
        } else if let Some(last) = last.filter(|last| last.was_killed() && last.began >= *since) {
            missed.push(Missed { entry, due: last.began, killed: true });
        }
    }
    missed
}

fn runs_file(context: &Context, subject: &Subject) -> PathBuf {
    context.environment.data_folder().join(subject.to_string()).join("schedules.json")
}

/// How the last run of a schedule went; `None` when there was none.
pub fn last_run(context: &Context, entry: &Entry) -> Option<LastRun> {
    runs(context, &entry.subject).remove(&entry.planned.name)
}

fn runs(context: &Context, subject: &Subject) -> BTreeMap<Name, LastRun> {
    let text = durable::read(&runs_file(context, subject)).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Remembers how a run of a schedule goes.
///
/// # Errors
/// When it can't be written.
pub fn remember(context: &Context, subject: &Subject, name: &Name, run: LastRun) -> Result<()> {
    let path = runs_file(context, subject);
    durable::make_folder(path.parent().unwrap_or(&path), 0o700)?;
    let lock = path.with_extension("lock");
    let Locked::Ours(_held) = durable::lock(&lock, PATIENCE)? else {
        anyhow::bail!("{} is held by another process", lock.display())
    };
    let mut runs = runs(context, subject);
    let known = of(context, subject).unwrap_or_default();
    runs.retain(|name, _| known.iter().any(|planned| planned.name == *name));
    runs.insert(name.clone(), run);
    durable::write(&path, &serde_json::to_vec(&runs)?, 0o600)
}

/// Removes what a destroyed service has left: its settings with its schedules. Its history stays, as its backups do. Returns whether the
/// crontab must be written anew.
///
/// # Errors
/// When something can't be removed.
pub fn remove_service(context: &Context, name: &ServiceName) -> Result<bool> {
    let subject = Subject::Service(name.clone());
    let scheduled = context.properties().get(&subject, PROPERTY)?.is_some();
    context.properties().destroy(&subject, &[ENCRYPTION])?;
    let runs = runs_file(context, &subject);
    durable::remove(&runs)?;
    durable::remove(&runs.with_extension("lock"))?;
    durable::remove(&runs.with_file_name("log.lock"))?;
    missed::forget(context, &subject)?;
    Ok(scheduled)
}

/// The bytes that a log may have before it is begun anew; the one before is kept.
const LOG_BYTES: u64 = 1 << 20;

/// Begins a log anew when it has grown too long. It is emptied where it lies: the shell that cron has started writes to the end of
/// this very file.
///
/// # Errors
/// When the old one can't be kept.
pub fn rotate_log(context: &Context, subject: &Subject) -> Result<()> {
    let path = log_file(context, subject);
    let is_long = || fs::metadata(&path).is_ok_and(|facts| facts.len() > LOG_BYTES);
    if !is_long() {
        return Ok(());
    }
    // Of several runs that begin in the same minute a second one would keep the new log in place of the old one.
    let folder = context.environment.data_folder().join(subject.to_string());
    durable::make_folder(&folder, 0o700)?;
    let Locked::Ours(_held) = durable::lock(&folder.join("log.lock"), PATIENCE)? else { return Ok(()) };
    if !is_long() {
        return Ok(());
    }
    let old = path.with_extension("log.1");
    fs::copy(&path, &old).with_context(|| format!("{} can't be written", old.display()))?;
    fs::File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .map(drop)
        .with_context(|| format!("{} can't be emptied", path.display()))
}
