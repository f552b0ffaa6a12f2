//! Scheduled runs that were due and did not begin (the host was off, cron is gone, the run before had not ended), or were killed. Whatever runs next tells
//! of it, whichever service or schedule that is.
//!
//! An outage is told once: what is remembered is a due time, not before the last run's begin, and as long as no run begins there is no news.
//! `status`, `schedule` and `doctor` show it as long as it lasts; they never send anything, as they are asked by machines every minute.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::commands::context::Context;
use crate::commands::schedules::{self, Entry};
use crate::commands::telling::Telling;
use crate::dokku::properties::Subject;
use crate::durable::{self, Locked};
use crate::history::{self, Event, History};
use crate::notify::{Notice, Outcome, Work};
use crate::schedule::{Name, Planned, Task};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::ui::human;

/// Another run that tells of the same needs no longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A run that was left out at its time begins within this of it; one that a person started by hand doesn't.
const PUNCTUAL: SignedDuration = SignedDuration::from_mins(2);

/// Tells of all that was missed and not told yet.
pub fn tell(context: &Context) {
    // What a plugin does that hears of an event is told to nobody again; the next run is another one.
    if context.environment.in_event {
        return;
    }
    for missed in schedules::missed(context) {
        tell_once(context, &missed.entry, missed.due, &missed.what());
    }
}

/// Tells of a run that is left out because the one before is still under way.
pub fn left_out(context: &Context, entry: &Entry) {
    let now = context.now();
    let zone = context.environment.time_zone();
    let Some(due) = entry.planned.cron.previous(&zone, now).filter(|due| now.duration_since(*due) < PUNCTUAL) else {
        return;
    };
    let what = format!("was due at {} and is left out, since its last run is still under way", human::time(due));
    tell_once(context, entry, due, &what);
}

/// Tells of a run that has waited in vain for another one that has its service. Whatever runs next has nothing to add: it has begun.
pub fn in_vain(context: &Context, name: &ServiceName, planned: &Planned, why: &str) {
    let (task, schedule) = (planned.task, &planned.name);
    let message = format!("The scheduled {} {schedule} of {name} has waited in vain: {why}", task.as_str());
    // That a backup is missing is a failure, which its history has from the one who waited.
    if task != Task::Backup {
        let now = context.now();
        let due = planned.cron.previous(&context.environment.time_zone(), now).unwrap_or(now);
        remember(context, name, planned, due, &message);
    }
    tell_service(context, name, task, message, Some(why.to_owned()));
}

/// Tells of a service that an interrupted run for all of them has not come to.
pub fn not_reached(context: &Context, name: &ServiceName, planned: &Planned) {
    let (task, schedule) = (planned.task, &planned.name);
    let why = "the run for all services was interrupted before its turn";
    let message = format!("The scheduled {} {schedule} of {name} was left out: {why}", task.as_str());
    let now = context.now();
    let due = planned.cron.previous(&context.environment.time_zone(), now).unwrap_or(now);
    remember(context, name, planned, due, &message);
    tell_service(context, name, task, message, Some(why.to_owned()));
}

fn tell_once(context: &Context, entry: &Entry, due: Timestamp, what: &str) {
    match is_news(context, entry, due) {
        Ok(true) => {}
        Ok(false) => return,
        // Told again and again is better than never.
        Err(error) => context.ui.warn(format!("That a missed run was told can't be remembered: {error:#}")),
    }
    let (task, schedule) = (entry.planned.task, &entry.planned.name);
    for name in services(context, &entry.subject) {
        let message = format!("The scheduled {} {schedule} of {name} {what}", task.as_str());
        remember(context, &name, &entry.planned, due, &message);
        tell_service(context, &name, task, message, None);
    }
}

fn remember(context: &Context, name: &ServiceName, planned: &Planned, due: Timestamp, message: &str) {
    let (schedule, task) = (planned.name.to_string(), planned.task.as_str().to_owned());
    let event = Event::Missed { schedule, task, due, error: message.to_owned() };
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&history::Entry::now(event, None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
}

fn tell_service(context: &Context, name: &ServiceName, task: Task, message: String, error: Option<String>) {
    let work = match task {
        Task::Backup => Work::Backup,
        Task::Drill => Work::Verify,
        Task::Prune => Work::Prune,
    };
    let telling = Telling::aside(context, work, name);
    telling.tell(&Notice { seconds: None, error, ..telling.notice(Outcome::Missed, message) });
}

/// Whose backups should have been there.
fn services(context: &Context, subject: &Subject) -> Vec<ServiceName> {
    match subject {
        Subject::Service(name) => vec![name.clone()],
        Subject::Global => Service::all(&context.environment.lib_root)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| context.settings(name).is_ok_and(|settings| settings.destination.is_some()))
            .collect(),
    }
}

/// Whether nobody was told of this outage yet; from now on it counts as told.
fn is_news(context: &Context, entry: &Entry, due: Timestamp) -> Result<bool> {
    let path = file(context, &entry.subject);
    durable::make_folder(path.parent().unwrap_or(&path), 0o700)?;
    let Locked::Ours(_held) = durable::lock(&path.with_extension("lock"), PATIENCE)? else { return Ok(false) };
    let text = durable::read(&path)?.unwrap_or_default();
    let mut told: BTreeMap<Name, Timestamp> = serde_json::from_slice(&text).unwrap_or_default();
    let name = &entry.planned.name;
    let began =
        schedules::last_run(context, entry).map_or(entry.planned.since, |last| last.began.max(entry.planned.since));
    if told.get(name).is_some_and(|told| *told >= began) {
        return Ok(false);
    }
    let known = schedules::of(context, &entry.subject).unwrap_or_default();
    told.retain(|name, _| known.iter().any(|planned| planned.name == *name));
    told.insert(name.clone(), due);
    durable::write(&path, &serde_json::to_vec(&told)?, 0o600)?;
    Ok(true)
}

fn file(context: &Context, subject: &Subject) -> PathBuf {
    context.environment.data_folder().join(subject.to_string()).join("missed.json")
}

/// Forgets what was told of a service that is gone.
///
/// # Errors
/// When a file can't be removed.
pub fn forget(context: &Context, subject: &Subject) -> Result<()> {
    let path = file(context, subject);
    durable::remove(&path)?;
    durable::remove(&path.with_extension("lock"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::list::tests::world;
    use crate::commands::schedules::LastRun;

    fn entry(context: &Context, since: &str) -> Entry {
        let planned = Planned {
            name: "nightly".parse().unwrap(),
            cron: "0 3 * * *".parse().unwrap(),
            task: Task::Backup,
            jitter: 0,
            since: since.parse().unwrap(),
        };
        let entry = Entry { subject: Subject::Service("prod".parse().unwrap()), planned };
        schedules::change(context, &entry.subject, |all| {
            *all = vec![entry.planned.clone()];
            Ok(())
        })
        .unwrap();
        entry
    }

    #[test]
    fn an_outage_is_news_once_and_the_next_one_is_again() {
        let (_host, context, _) = world();
        let entry = entry(&context, "2023-04-01T00:00:00Z");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(is_news(&context, &entry, at("2023-04-01T03:00:00Z")).unwrap());
        assert!(!is_news(&context, &entry, at("2023-04-01T03:00:00Z")).unwrap());
        assert!(!is_news(&context, &entry, at("2023-04-02T03:00:00Z")).unwrap(), "it goes on");
        let run = LastRun { began: at("2023-04-03T03:00:00Z"), ended: None, exit_code: None, owner: None };
        schedules::remember(&context, &entry.subject, &entry.planned.name, run).unwrap();
        assert!(is_news(&context, &entry, at("2023-04-04T03:00:00Z")).unwrap(), "another one");
        forget(&context, &entry.subject).unwrap();
        assert!(is_news(&context, &entry, at("2023-04-04T03:00:00Z")).unwrap());
    }

    #[test]
    fn a_run_that_was_killed_is_told_once() {
        let (host, context, _) = world();
        let entry = entry(&context, "2023-04-01T00:00:00Z");
        let service = host.path().join("services/postgres/prod");
        std::fs::create_dir_all(&service).unwrap();
        std::fs::write(service.join("PASSWORD"), "x").unwrap();
        let mut owner = crate::lock::Owner::ourselves("schedule:run").unwrap();
        let run = |owner: &crate::lock::Owner| {
            let began = "2023-04-03T03:00:05Z".parse().unwrap();
            let run = LastRun { began, ended: None, exit_code: None, owner: Some(owner.clone()) };
            schedules::remember(&context, &entry.subject, &entry.planned.name, run).unwrap();
            tell(&context);
            tell(&context);
            History::of(&context.environment.data_folder().join("prod")).read().unwrap()
        };
        assert!(run(&owner).is_empty(), "it is under way");
        owner.process_start += 1;
        let history = run(&owner);
        assert_eq!(history.len(), 1, "{history:?}");
        let Event::Missed { error, .. } = &history[0].event else { panic!("{history:?}") };
        assert_eq!(
            error,
            "The scheduled backup nightly of prod was begun at 2023-04-03T03:00:05Z and was killed, or the host went down"
        );
    }

    #[test]
    fn each_service_has_it_in_its_history() {
        let (_host, context, _) = world();
        let entry = entry(&context, "2023-04-01T00:00:00Z");
        let due: Timestamp = "2023-04-03T03:00:00Z".parse().unwrap();
        tell_once(&context, &entry, due, "was due");
        tell_once(&context, &entry, due, "was due");
        let history = History::of(&context.environment.data_folder().join("prod")).read().unwrap();
        assert_eq!(history.len(), 1);
        let Event::Missed { error, task, .. } = &history[0].event else { panic!("{history:?}") };
        assert_eq!((error.as_str(), task.as_str()), ("The scheduled backup nightly of prod was due", "backup"));
        not_reached(&context, &"prod".parse().unwrap(), &entry.planned);
        let history = History::of(&context.environment.data_folder().join("prod")).read().unwrap();
        let Event::Missed { error, .. } = &history[1].event else { panic!("{history:?}") };
        assert_eq!(
            error,
            "The scheduled backup nightly of prod was left out: the run for all services was interrupted before its turn"
        );
    }
}
