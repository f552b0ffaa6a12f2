//! How a service's backups are, told by this host's history alone: quick, and without asking a store or a server. Pure.
//!
//! What is wrong is a short list of [`Problem`]s, each with the sentence a user reads: `status` shows it, monitoring counts it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::history::{Depth, Entry, Event, VerificationRecord};
use crate::store::key::BackupKey;

/// How many backups the trend shows.
const TREND: usize = 16;

/// What is wanted of a service.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A good backup is at most this old.
    pub max_age: Duration,
    /// A drill has passed within this time; `None` asks for none.
    pub drill_max_age: Option<Duration>,
    /// How long a replaced database stays.
    pub keep_previous: Duration,
}

/// A good backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Good {
    /// Its key.
    pub key: BackupKey,
    /// When it began.
    pub started: Timestamp,
    /// Length of the object.
    pub bytes: u64,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows of all tables.
    pub rows: u64,
    /// How long it took.
    pub seconds: Option<f64>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Why, as the user read it.
    pub error: String,
}

/// A drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drill {
    /// When it ended.
    pub at: Timestamp,
    /// Which backup was tried.
    pub key: BackupKey,
    /// Whether it was what was saved.
    pub good: bool,
}

/// A restore that waits beside the live database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Staged {
    /// Since when.
    pub at: Timestamp,
    /// What was loaded.
    pub source: String,
}

/// One point of the trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// When the backup began.
    pub started: Timestamp,
    /// Length of the object.
    pub bytes: u64,
    /// Number of rows of all tables.
    pub rows: u64,
}

/// What the history says of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// The last good backup; the safety backups of restores are none of the regular ones.
    pub last_backup: Option<Good>,
    /// Backups that failed since.
    pub failures_since: u64,
    /// The last failure, if it came after the last good backup.
    pub last_failure: Option<Failed>,
    /// When one was interrupted, if nothing has ended by itself since: somebody has stopped it, or the host went down.
    pub last_interrupted: Option<Timestamp>,
    /// The last drill.
    pub last_drill: Option<Drill>,
    /// Why a drill could not be run, if none was since.
    pub drill_failure: Option<Failed>,
    /// When a drill has passed last.
    pub last_passed_drill: Option<Timestamp>,
    /// A restore that is loaded and waits for a decision.
    pub staged: Option<Staged>,
    /// Until when the last restore can be undone for sure.
    pub rollback_until: Option<Timestamp>,
    /// The last backups, oldest first.
    pub trend: Vec<Point>,
    /// The regular ones that are still there, oldest first.
    #[serde(skip)]
    regular: Vec<Regular>,
}

/// A backup that is still where it was saved.
#[derive(Debug, Clone, PartialEq)]
struct Regular {
    good: Good,
    destination: String,
    /// How deep it was tried when it was found bad, until it is found good as deep.
    bad: Option<Depth>,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its name, for programs.
    pub problem: &'static str,
    /// A sentence, for people.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(problem: &'static str, message: impl Into<String>) -> Self {
        Self { problem, message: message.into() }
    }
}

impl Health {
    /// Reads it out of a history, oldest entry first.
    pub fn of(entries: &[Entry], wanted: &Wanted, now: Timestamp) -> Self {
        let mut health = Self {
            last_backup: None,
            failures_since: 0,
            last_failure: None,
            last_interrupted: None,
            last_drill: None,
            drill_failure: None,
            last_passed_drill: None,
            staged: None,
            rollback_until: None,
            trend: Vec::new(),
            regular: Vec::new(),
        };
        for entry in entries {
            health.take(entry, wanted);
        }
        health.last_backup = health.regular.iter().rfind(|one| one.bad.is_none()).map(|one| one.good.clone());
        let surplus = health.trend.len().saturating_sub(TREND);
        health.trend.drain(..surplus);
        health.rollback_until = health.rollback_until.filter(|until| *until > now);
        health
    }

    /// The last good backup alone.
    pub fn last_good(entries: &[Entry]) -> Option<Good> {
        let wanted = Wanted { max_age: Duration::MAX, drill_max_age: None, keep_previous: Duration::ZERO };
        Self::of(entries, &wanted, Timestamp::MAX).last_backup
    }

    fn take(&mut self, entry: &Entry, wanted: &Wanted) {
        let kept_until = |kept: bool| {
            let keep = SignedDuration::try_from(wanted.keep_previous).unwrap_or(SignedDuration::MAX);
            kept.then(|| entry.at.checked_add(keep).unwrap_or(Timestamp::MAX))
        };
        match &entry.event {
            Event::Backup(record) if !record.manifest.as_ref().is_some_and(|manifest| manifest.safety) => {
                let started = record.key.started();
                self.trend.push(Point { started, bytes: record.bytes, rows: record.rows });
                self.failures_since = 0;
                self.last_failure = None;
                self.last_interrupted = None;
                let good = Good {
                    key: record.key.clone(),
                    started,
                    bytes: record.bytes,
                    tables: record.tables,
                    rows: record.rows,
                    seconds: entry.seconds,
                };
                self.regular.push(Regular { good, destination: record.destination.clone(), bad: None });
            }
            Event::BackupFailed { interrupted: true, .. } => self.last_interrupted = Some(entry.at),
            Event::BackupFailed { error, .. } => {
                self.last_interrupted = None;
                self.failures_since += 1;
                self.last_failure = Some(Failed { at: entry.at, error: error.clone() });
            }
            // One that was found bad is not the last good one: the one before it is.
            Event::Verification(record) => {
                self.drill(entry, record);
                for one in self.regular.iter_mut().filter(|one| one.good.key == record.key) {
                    one.bad = match one.bad {
                        bad if !record.good => bad.max(Some(record.depth)),
                        bad => bad.filter(|bad| *bad > record.depth),
                    };
                }
            }
            Event::Deleted { key, destination } => {
                self.regular.retain(|one| one.good.key != *key || one.destination != *destination);
            }
            Event::VerificationFailed { error, interrupted: false, .. } => {
                self.drill_failure = Some(Failed { at: entry.at, error: error.clone() });
            }
            Event::Restore(record) => {
                self.staged = None;
                self.rollback_until = kept_until(record.previous.is_some());
            }
            Event::Staged { source } => self.staged = Some(Staged { at: entry.at, source: source.clone() }),
            Event::StagedDropped { .. } => self.staged = None,
            Event::RollbackDiscarded { .. } => self.rollback_until = None,
            Event::Rollback { replaced } => self.rollback_until = kept_until(replaced.is_some()),
            _ => {}
        }
    }

    fn drill(&mut self, entry: &Entry, record: &VerificationRecord) {
        if record.depth != Depth::Restore {
            return;
        }
        self.drill_failure = None;
        self.last_drill = Some(Drill { at: entry.at, key: record.key.clone(), good: record.good });
        if record.good {
            self.last_passed_drill = Some(entry.at);
        }
    }

    /// What is wrong with it.
    pub fn problems(&self, wanted: &Wanted, now: Timestamp) -> Vec<Problem> {
        let mut problems = Vec::new();
        match &self.last_backup {
            None => problems.push(Problem::new("never", "there is no backup made on this host")),
            Some(backup) if age(backup.started, now) > wanted.max_age => {
                let (old, most) = (age(backup.started, now), wanted.max_age);
                let hours = |duration: Duration| format!("{}h", duration.as_secs() / 3_600);
                let text = if short(old) == short(most) { hours } else { short };
                let message = format!("the last good backup is {} old, and {} is wanted", text(old), text(most));
                problems.push(Problem::new("late", message));
            }
            Some(_) => {}
        }
        if let Some(failure) = &self.last_failure {
            let times =
                if self.failures_since == 1 { "once".to_owned() } else { format!("{} times", self.failures_since) };
            problems
                .push(Problem::new("failed", format!("failed {times} since the last good backup: {}", failure.error)));
        }
        if let Some(at) = self.last_interrupted {
            let ago = short(age(at, now));
            problems.push(Problem::new(
                "interrupted",
                format!("a backup was interrupted {ago} ago, and none was taken since"),
            ));
        }
        if let Some(drill) = self.last_drill.as_ref().filter(|drill| !drill.good) {
            problems.push(Problem::new("drill-failed", format!("{} did not restore to what was saved", drill.key)));
        }
        if let Some(failure) = &self.drill_failure {
            problems.push(Problem::new("drill-failed", format!("the last drill could not be run: {}", failure.error)));
        }
        if let Some(wanted) = wanted.drill_max_age {
            match self.last_passed_drill {
                None => problems.push(Problem::new(
                    "drill-late",
                    format!("no drill has passed yet, and one each {} is wanted", short(wanted)),
                )),
                Some(at) if age(at, now) > wanted => problems.push(Problem::new(
                    "drill-late",
                    format!(
                        "the last drill passed {} ago, and one each {} is wanted",
                        short(age(at, now)),
                        short(wanted)
                    ),
                )),
                Some(_) => {}
            }
        }
        problems
    }
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// A length of time in its largest unit that is not too coarse: `26h`, `3d`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..7_200 => format!("{}m", seconds / 60),
        7_200..259_200 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::tests::manifest;
    use crate::history::{BackupRecord, Depth, RestoreRecord, VerificationRecord};

    const WANTED: Wanted = Wanted {
        max_age: Duration::from_hours(26),
        drill_max_age: Some(Duration::from_hours(7 * 24)),
        keep_previous: Duration::from_hours(48),
    };

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap()
    }

    fn key(hours: i64) -> BackupKey {
        BackupKey::new("prod".parse().unwrap(), at(hours), false)
    }

    fn entry(hours: i64, event: Event) -> Entry {
        Entry { at: at(hours), seconds: Some(2.0), event }
    }

    fn backup(hours: i64, safety: bool) -> Entry {
        let mut manifest = manifest(&key(hours).to_string());
        manifest.safety = safety;
        entry(hours, Event::Backup(Box::new(BackupRecord::new(manifest, "s3://b".into(), 1000, "CRC".into()))))
    }

    fn failure(hours: i64) -> Entry {
        entry(
            hours,
            Event::BackupFailed { destination: "s3://b".into(), error: "No space left".into(), interrupted: false },
        )
    }

    fn drill(hours: i64, good: bool) -> Entry {
        let record = VerificationRecord { key: key(hours), depth: Depth::Restore, good, differences: Vec::new() };
        entry(hours, Event::Verification(record))
    }

    fn problems(entries: &[Entry], now: i64) -> Vec<String> {
        let health = Health::of(entries, &WANTED, at(now));
        health.problems(&WANTED, at(now)).into_iter().map(|one| format!("{}: {}", one.problem, one.message)).collect()
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(problems(&[backup(0, false), drill(1, true)], 20), Vec::<String>::new());
        assert_eq!(
            problems(&[], 0),
            [
                "never: there is no backup made on this host",
                "drill-late: no drill has passed yet, and one each 7d is wanted"
            ]
        );
        assert_eq!(
            problems(&[backup(0, false), drill(1, true), failure(24), failure(25), backup(25, true)], 30),
            [
                "late: the last good backup is 30h old, and 26h is wanted",
                "failed: failed 2 times since the last good backup: No space left"
            ]
        );
        let stopped = |hours| {
            let error = "Interrupted; what was begun has been taken back".into();
            entry(hours, Event::BackupFailed { destination: "s3://b".into(), error, interrupted: true })
        };
        assert_eq!(
            problems(&[backup(0, false), drill(1, true), stopped(2)], 4),
            ["interrupted: a backup was interrupted 2h ago, and none was taken since"],
            "which is no failure"
        );
        assert!(problems(&[stopped(0), backup(1, false), drill(1, true)], 4).is_empty());
        assert_eq!(
            problems(&[drill(0, true), failure(100), backup(200, false), drill(201, false)], 202),
            [
                format!("drill-failed: {} did not restore to what was saved", key(201)),
                "drill-late: the last drill passed 8d ago, and one each 7d is wanted".to_owned()
            ]
        );
    }

    #[test]
    fn a_drill_that_could_not_be_run_is_a_problem_until_one_is() {
        let not_run = |hours, interrupted| {
            let (source, error) = ("latest".into(), "The store is down".into());
            entry(hours, Event::VerificationFailed { source, error, interrupted })
        };
        let before = [backup(0, false), drill(1, true)];
        let with = |more: &[Entry]| problems(&[&before, more].concat(), 9);
        assert_eq!(with(&[not_run(2, false)]), ["drill-failed: the last drill could not be run: The store is down"]);
        assert!(with(&[not_run(2, false), drill(3, true)]).is_empty());
        assert!(with(&[not_run(2, true)]).is_empty(), "somebody has stopped it");
    }

    #[test]
    fn a_backup_that_was_found_bad_is_not_the_last_good_one() {
        let found_bad = |hours: i64, of: i64| {
            let Event::Verification(mut record) = drill(hours, false).event else { unreachable!("a drill is one") };
            record.key = key(of);
            entry(hours, Event::Verification(record))
        };
        let last = |entries: &[Entry]| Health::of(entries, &WANTED, at(9)).last_backup.map(|good| good.key);
        let backups = [backup(0, false), backup(1, false), backup(2, false)];
        let with = |more: &[Entry]| last(&[&backups, more].concat());
        assert_eq!(with(&[]), Some(key(2)));
        assert_eq!(with(&[found_bad(3, 2)]), Some(key(1)));
        assert_eq!(with(&[found_bad(3, 1), found_bad(4, 2)]), Some(key(0)));
        assert_eq!(last(&[backup(0, false), found_bad(1, 0)]), None);
        let tried = |hours, depth, good| {
            let record = VerificationRecord { key: key(2), depth, good, differences: Vec::new() };
            entry(hours, Event::Verification(record))
        };
        assert_eq!(with(&[found_bad(3, 2), tried(4, Depth::Read, true)]), Some(key(1)), "a check clears no drill");
        assert_eq!(with(&[found_bad(3, 2), tried(4, Depth::Restore, true)]), Some(key(2)));
        assert_eq!(with(&[tried(3, Depth::Read, false), tried(4, Depth::Read, true)]), Some(key(2)));
    }

    #[test]
    fn a_backup_that_was_deleted_is_not_the_last_good_one() {
        let deleted =
            |of: i64, destination: &str| entry(5, Event::Deleted { key: key(of), destination: destination.into() });
        let last = |more: &[Entry]| {
            let backups = [backup(0, false), backup(1, false), backup(2, false), backup(3, true)];
            Health::last_good(&[&backups, more].concat()).map(|good| good.key)
        };
        assert_eq!(last(&[]), Some(key(2)), "a safety backup is none of them");
        assert_eq!(last(&[deleted(2, "s3://b")]), Some(key(1)));
        assert_eq!(last(&[deleted(1, "s3://b"), deleted(2, "s3://b")]), Some(key(0)));
        assert_eq!(last(&[deleted(2, "s3://copies")]), Some(key(2)), "its copy was");
        assert_eq!(last(&[0, 1, 2].map(|one| deleted(one, "s3://b"))), None);
    }

    #[test]
    fn knows_how_long_a_restore_can_be_undone() {
        let until = |entries: &[Entry], now| Health::of(entries, &WANTED, at(now)).rollback_until;
        let restored = |hours, previous: Option<&str>| {
            let record = RestoreRecord {
                source: "-".into(),
                safety_backup: None,
                previous: previous.map(str::to_owned),
                matched: Some(true),
            };
            entry(hours, Event::Restore(record))
        };
        assert_eq!(until(&[restored(0, Some("old"))], 1), Some(at(48)));
        assert_eq!(until(&[restored(0, Some("old"))], 49), None);
        assert_eq!(until(&[restored(0, Some("old")), restored(1, None)], 2), None);
        let discarded = entry(1, Event::RollbackDiscarded { bytes: 1 });
        assert_eq!(until(&[restored(0, Some("old")), discarded], 2), None);
    }

    #[test]
    fn knows_what_waits_for_a_decision() {
        let staged = || entry(1, Event::Staged { source: "-".into() });
        let of = |entries: &[Entry]| Health::of(entries, &WANTED, at(5)).staged.map(|staged| staged.at);
        assert_eq!(of(&[staged(), backup(2, false)]), Some(at(1)));
        assert_eq!(of(&[staged(), entry(2, Event::StagedDropped { source: "-".into() })]), None);
        let record = RestoreRecord { source: "-".into(), safety_backup: None, previous: None, matched: None };
        assert_eq!(of(&[staged(), entry(2, Event::Restore(record))]), None);
    }

    proptest! {
        /// A good backup within the wanted age is never called late or failed, whatever came before it.
        #[test]
        fn what_is_fresh_is_well(before in proptest::collection::vec((0i64..1000, 0..3u8), 0..40), age in 0i64..26) {
            let mut entries: Vec<Entry> = before
                .into_iter()
                .map(|(hours, kind)| match kind {
                    0 => backup(hours, false),
                    1 => failure(hours),
                    _ => drill(hours, true),
                })
                .collect();
            entries.sort_by_key(|entry| entry.at);
            entries.push(backup(1000, false));
            let health = Health::of(&entries, &WANTED, at(1000 + age));
            let problems = health.problems(&WANTED, at(1000 + age));
            prop_assert!(problems.iter().all(|one| one.problem == "drill-late"), "{problems:?}");
            prop_assert!(health.trend.len() <= TREND);
            prop_assert_eq!(health.failures_since, 0);
        }
    }
}
