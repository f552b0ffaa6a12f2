//! What has been done so far: the last good backup, the last drill, and what interrupted runs have left.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::finding::{Finding, Group};
use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::upload;
use crate::copies::Copies;
use crate::database::staging::{Beside, Purpose};
use crate::history::{Depth, Entry, Event, VerificationRecord};
use crate::holds::Holds;
use crate::journal::Journal;
use crate::lock::Lock;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;
use crate::text::count;
use crate::ui::human;

/// Without a schedule nobody knows how old is too old; a week is.
const OLD_BACKUP: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A drill a month, where the property `drill-max-age` doesn't ask for more.
const OLD_DRILL: SignedDuration = SignedDuration::from_hours(35 * 24);

/// What the history says, and the store's list. `drill_max_age` is the property of that name.
pub fn history(
    entries: &[Entry],
    newest: Option<&BackupKey>,
    service: &ServiceName,
    drill_max_age: Option<Duration>,
    now: Timestamp,
) -> Vec<Finding> {
    let oldest = drill_max_age.and_then(|age| SignedDuration::try_from(age).ok()).unwrap_or(OLD_DRILL);
    vec![last_backup(entries, newest, service, now), last_drill(entries, service, oldest, now)]
}

fn last_backup(entries: &[Entry], newest: Option<&BackupKey>, service: &ServiceName, now: Timestamp) -> Finding {
    let take = format!("Take one: dokku pgbackup:backup {service}");
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Backup(record) => Some(Ok((record.key.clone(), record.key.started()))),
        Event::BackupFailed { interrupted: true, .. } => Some(Err((entry.at, None))),
        Event::BackupFailed { error, .. } => Some(Err((entry.at, Some(error.clone())))),
        _ => None,
    });
    // One that lies there and is younger, as another host or dokku-postgres has made it, says more than a failure before it.
    let younger = |at: Timestamp| newest.is_some_and(|key| key.started() > at);
    match &last {
        Some(Err((at, None))) if !younger(*at) => {
            let text = format!("The last backup, {} ago, was interrupted", human::age(*at, now));
            return Group::Backups.warn("last-backup", text).fix(take);
        }
        // No failure: whether one would fail now is what the other checks try.
        Some(Err((at, Some(error)))) if !younger(*at) => {
            return Group::Backups
                .warn("last-backup", format!("The last backup, {} ago, failed: {error}", human::age(*at, now)))
                .fix(format!("Try it again: dokku pgbackup:backup {service}"));
        }
        _ => {}
    }
    let ours = last.and_then(Result::ok);
    // Also those of dokku-postgres and of other hosts, where they may be listed.
    let found = newest.map(|key| (key.clone(), key.started()));
    let Some((key, started)) = ours.into_iter().chain(found).max_by_key(|(_, started)| *started) else {
        return Group::Backups.warn("last-backup", "No backup has been taken yet").fix(take);
    };
    let text = format!("The last backup is {} old: {key}", human::age(started, now));
    if now.duration_since(started) > OLD_BACKUP {
        return Group::Backups.warn("last-backup", text).fix(take);
    }
    Group::Backups.ok("last-backup", text)
}

fn last_drill(entries: &[Entry], service: &ServiceName, oldest: SignedDuration, now: Timestamp) -> Finding {
    let verify = format!("Prove that the newest one restores: dokku pgbackup:verify {service} latest");
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Verification(record @ VerificationRecord { depth: Depth::Restore, .. }) => Some((entry.at, record)),
        _ => None,
    });
    let Some((at, VerificationRecord { key, good, differences, .. })) = last else {
        return Group::Backups.warn("last-drill", "No backup has ever been proven to restore").fix(verify);
    };
    let age = human::age(at, now);
    if !good {
        let why = differences.first().map(|first| format!(" ({first})")).unwrap_or_default();
        return Group::Backups
            .fail(
                "last-drill",
                format!("The last drill, {age} ago, failed: {key} does not restore to what was saved{why}"),
            )
            .fix(format!("Take a new backup: dokku pgbackup:backup {service}"))
            .fix(verify);
    }
    let text = format!("The last drill was {age} ago: {key} restores");
    if now.duration_since(at) > oldest {
        return Group::Backups.warn("last-drill", text).fix(verify);
    }
    Group::Backups.ok("last-drill", text)
}

/// What is kept from deletion, and the doubt that the newest backup is under.
pub fn held(context: &Context, entries: &[Entry], service: &ServiceName) -> Vec<Finding> {
    let holds = match Holds::read(&context.environment.data_folder().join(service.as_str())) {
        Ok(holds) => holds,
        Err(error) => return vec![Group::Backups.failed("holds", error)],
    };
    let single = holds.backups.len() as u64;
    let besides = if single == 0 { String::new() } else { format!("; {} held for good", count(single, "backup")) };
    let mut findings = vec![match &holds.service {
        Some(hold) => Group::Backups
            .warn("holds", format!("Nothing is deleted, as the backups are held {}{besides}", hold.describe()))
            .fix(format!("When the incident is over: dokku pgbackup:release {service}")),
        None if single > 0 => Group::Backups.ok("holds", format!("{} held for good", count(single, "backup"))),
        None => Group::Backups.ok("holds", "No backup is held"),
    }];
    if let Some(manifest) = backups::doubted(entries, &holds) {
        let key = &manifest.key;
        let why = match &manifest.suspicious {
            Some(_) => format!("Tables of the last backup, {key}, have lost many of their rows"),
            None => format!("The last backup, {key}, fails checks of yours"),
        };
        findings.push(
            Group::Backups
                .warn("suspicious", why)
                .fix(format!("See which: dokku pgbackup:info {service} {key}"))
                .fix(format!("If that is right: dokku pgbackup:release {service} {key}")),
        );
    }
    findings
}

/// Length of the last backup.
pub fn last_size(entries: &[Entry]) -> Option<u64> {
    entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Backup(record) => Some(record.bytes),
        _ => None,
    })
}

/// Whether all backups lie in the second destination as well, where there is one.
pub fn copies(context: &Context, entries: &[Entry], service: &ServiceName) -> Option<Finding> {
    let settings = context.settings(service).ok()?;
    let second = settings.copy?.destination.to_string();
    let state = Copies::of(entries, &settings.destination?.to_string(), &second);
    let now = copy_now(service);
    if let Some(newest) = state.missing.first() {
        let missing = count(state.missing.len() as u64, "backup");
        let why = state.failed.map(|(_, _, error)| format!(": {error}")).unwrap_or_default();
        let text = format!("{missing} of this host can't be found in {second}, the newest of them {newest}{why}");
        return Some(Group::Backups.warn("copies", text).fix(now));
    }
    Some(match state.copied.len() as u64 {
        0 => Group::Backups
            .warn("copies", format!("Nothing was copied to {second} yet"))
            .fix(format!("Copy what there is: dokku pgbackup:copy {service} --everything")),
        copied => {
            Group::Backups.ok("copies", format!("{} in {second}, none is missing", count(copied, "copied backup")))
        }
    })
}

fn copy_now(service: &ServiceName) -> String {
    format!("The next backup tries again, or: dokku pgbackup:copy {service}")
}

/// What interrupted runs have left on this host's disk, and who is at work now. Nothing is changed.
pub fn unfinished(context: &Context, service: &ServiceName) -> Vec<Finding> {
    let data = context.environment.data_folder();
    if let Some(owner) = Lock::owner(&data, service) {
        let since = human::age(owner.since, context.now());
        return vec![Group::Backups.ok("unfinished", format!("A {} is under way, since {since}", owner.doing))];
    }
    let folder = data.join(service.as_str());
    let mut findings = Vec::new();
    // Opening a journal makes its folder.
    if folder.join("restore.json").exists() {
        match Journal::open(&folder).and_then(|journal| journal.read()) {
            Ok(Some(state)) if state.interrupted() => findings.push(
                Group::Backups
                    .warn(
                        "unfinished",
                        format!(
                            "A restore of {} was interrupted{}",
                            state.source,
                            in_maintenance(&state.lift_maintenance)
                        ),
                    )
                    .fix(format!("Any next run puts it right, such as: dokku pgbackup:backup {service}")),
            ),
            Ok(_) => {}
            Err(failure) => findings.push(Group::Backups.failed("unfinished", failure)),
        }
    }
    for what in upload::unfinished(&folder) {
        findings.push(
            Group::Backups
                .warn("unfinished", format!("A {} was interrupted and has left an unfinished upload", what.word()))
                .fix(format!("The next one takes it back: dokku pgbackup:backup {service}")),
        );
    }
    if findings.is_empty() {
        findings.push(Group::Backups.ok("unfinished", "Nothing was left unfinished"));
    }
    findings
}

fn in_maintenance(apps: &[String]) -> String {
    if apps.is_empty() { String::new() } else { format!(", and may have left {} in maintenance", apps.join(", ")) }
}

/// The databases of ours beside the live one.
pub fn beside(databases: &[Beside], service: &ServiceName, busy: bool, now: Timestamp) -> Vec<Finding> {
    databases.iter().filter_map(|database| one_beside(database, service, busy, now)).collect()
}

fn one_beside(database: &Beside, service: &ServiceName, busy: bool, now: Timestamp) -> Option<Finding> {
    let (name, size, marker) = (&database.name, human::size(database.bytes), &database.marker);
    match marker.purpose {
        Purpose::Previous => {
            let until = marker.until.unwrap_or(now);
            if until < now {
                return Some(
                    Group::Backups
                        .warn("replaced", format!("The database that a restore replaced ({size}) is past its time"))
                        .fix(format!("Drop it now: dokku pgbackup:rollback {service} --discard")),
                );
            }
            Some(Group::Backups.ok(
                "replaced",
                format!(
                    "The database that a restore replaced ({size}) is kept for a rollback until {}",
                    human::time(until)
                ),
            ))
        }
        Purpose::Staging if marker.kept => Some(
            Group::Backups
                .warn("staged", format!("A staged restore of {} ({size}) waits to be put in place", marker.key))
                .fix(format!("Put it in place: dokku pgbackup:restore:commit {service}"))
                .fix(format!("Or give it up: dokku pgbackup:restore:abort {service}")),
        ),
        Purpose::Staging | Purpose::Drill if busy => None,
        Purpose::Staging | Purpose::Drill => Some(
            Group::Backups
                .warn("unfinished", format!("The database {name} ({size}) was left by an interrupted run"))
                .fix(format!("Any next run drops it, such as: dokku pgbackup:backup {service}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;
    use crate::database::staging::Marker;
    use crate::history::BackupRecord;
    use crate::history::tests::manifest;

    const OLD: &str = "postgres-prod-2023-04-02-14-30-01.tgz";
    const NEW: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn now() -> Timestamp {
        "2023-04-03T12:00:00Z".parse().unwrap()
    }

    fn prod() -> ServiceName {
        "prod".parse().unwrap()
    }

    fn entry(event: Event) -> Entry {
        Entry { at: "2023-04-03T11:00:10Z".parse().unwrap(), seconds: None, event }
    }

    fn made(key: &str) -> Entry {
        let record = BackupRecord::new(manifest(key), "s3://bucket".into(), 6, "1 part".into());
        entry(Event::Backup(Box::new(record)))
    }

    fn drill(good: bool) -> Entry {
        let differences = if good { vec![] } else { vec!["public.users: 562 expected, 0 found".into()] };
        entry(Event::Verification(VerificationRecord {
            key: NEW.parse().unwrap(),
            depth: Depth::Restore,
            good,
            differences,
        }))
    }

    #[test]
    fn the_last_backup_is_the_newest_of_all() {
        let of = |entries: &[Entry], newest: Option<&str>| {
            let newest = newest.map(|key| key.parse().unwrap());
            last_backup(entries, newest.as_ref(), &prod(), now())
        };
        assert_eq!(of(&[], None).message, "No backup has been taken yet");
        assert_eq!(of(&[], None).verdict, Verdict::Warn);
        assert_eq!(of(&[made(OLD)], None).message, format!("The last backup is 21h old: {OLD}"));
        assert_eq!(of(&[made(OLD)], Some(NEW)).message, format!("The last backup is 59m old: {NEW}"));
        assert_eq!(of(&[made("postgres-prod-2023-03-01-11-00-04.tgz")], None).verdict, Verdict::Warn);
        let failed = entry(Event::BackupFailed {
            destination: "s3://bucket".into(),
            error: "no disk".into(),
            interrupted: false,
        });
        let found = of(&[made(OLD), failed.clone()], None);
        assert_eq!(
            (found.verdict, found.message.as_str()),
            (Verdict::Warn, "The last backup, 59m ago, failed: no disk"),
            "whether one fails now is what the other checks try"
        );
        assert_eq!(of(std::slice::from_ref(&failed), Some(OLD)).verdict, Verdict::Warn);
        let younger = "postgres-prod-2023-04-03-11-30-00.tgz";
        let found = of(std::slice::from_ref(&failed), Some(younger));
        assert_eq!((found.verdict, found.message), (Verdict::Ok, format!("The last backup is 30m old: {younger}")));
        let interrupted =
            Event::BackupFailed { destination: "s3://bucket".into(), error: "killed".into(), interrupted: true };
        assert_eq!(of(&[entry(interrupted)], Some(younger)).verdict, Verdict::Ok);
        assert_eq!(of(&[failed, made(NEW)], None).verdict, Verdict::Ok);
    }

    #[test]
    fn a_drill_that_failed_counts_until_the_next_one() {
        let within = |days: i64, entries: &[Entry], now: &str| {
            last_drill(entries, &prod(), SignedDuration::from_hours(24 * days), now.parse().unwrap())
        };
        let of = |entries: &[Entry], now: &str| within(35, entries, now);
        assert_eq!(within(7, &[drill(true)], "2023-04-11T12:00:00Z").verdict, Verdict::Warn);
        assert_eq!(within(9, &[drill(true)], "2023-04-11T12:00:00Z").verdict, Verdict::Ok);
        assert_eq!(of(&[made(NEW)], "2023-04-03T12:00:00Z").verdict, Verdict::Warn);
        assert_eq!(of(&[drill(true)], "2023-04-03T12:00:00Z").verdict, Verdict::Ok);
        assert_eq!(of(&[drill(true)], "2023-06-03T12:00:00Z").verdict, Verdict::Warn);
        let bad = of(&[drill(true), drill(false)], "2023-04-03T12:00:00Z");
        assert_eq!(bad.verdict, Verdict::Fail);
        assert!(bad.message.ends_with("(public.users: 562 expected, 0 found)"), "{}", bad.message);
        assert_eq!(of(&[drill(false), drill(true)], "2023-04-03T12:00:00Z").verdict, Verdict::Ok);
    }

    #[test]
    fn databases_beside_the_live_one() {
        let of = |purpose, kept, until: Option<&str>, busy| {
            let marker = Marker {
                purpose,
                service: prod(),
                key: NEW.into(),
                since: now(),
                until: until.map(|until| until.parse().unwrap()),
                kept,
                comment: None,
            };
            let database = Beside { name: "pgbackup_x".into(), marker, bytes: 1024 };
            beside(&[database], &prod(), busy, now()).into_iter().map(|finding| (finding.check, finding.verdict)).next()
        };
        assert_eq!(of(Purpose::Previous, false, Some("2023-04-05T12:00:00Z"), false), Some(("replaced", Verdict::Ok)));
        assert_eq!(
            of(Purpose::Previous, false, Some("2023-04-01T12:00:00Z"), false),
            Some(("replaced", Verdict::Warn))
        );
        assert_eq!(of(Purpose::Staging, true, None, false), Some(("staged", Verdict::Warn)));
        assert_eq!(of(Purpose::Staging, false, None, false), Some(("unfinished", Verdict::Warn)));
        assert_eq!(of(Purpose::Drill, false, None, true), None);
    }
}
