//! Which backups lie in the second destination as well, told by this host's history alone. Pure.
//!
//! What is missing there is copied by the next run. Missing is what this host has saved since it copies to that place, still keeps in the
//! first one, and has neither copied nor deleted there: what a rule of the copies has deleted is not copied again.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::history::{CopyRecord, Entry, Event};
use crate::store::key::BackupKey;

/// How copying stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copies {
    /// What lies in the second place, with the time it was copied at.
    pub copied: HashMap<BackupKey, (Timestamp, CopyRecord)>,
    /// What should lie there and doesn't, newest first.
    pub missing: Vec<BackupKey>,
    /// How many lie in the first place alone because they are older than the copying.
    pub older: usize,
    /// The last copying, where it failed: when, of which backup, and why.
    pub failed: Option<(Timestamp, BackupKey, String)>,
}

impl Copies {
    /// Reads it out of a history, oldest entry first.
    pub fn of(entries: &[Entry], first: &str, second: &str) -> Self {
        let mut copies = Self::default();
        let mut made: HashSet<&BackupKey> = HashSet::new();
        // Deleted there, or no longer to be had here.
        let mut settled: HashSet<&BackupKey> = HashSet::new();
        let mut since: Option<Timestamp> = None;
        let mut begins = |key: &BackupKey| since = Some(since.map_or(key.started(), |since| since.min(key.started())));
        for entry in entries {
            match &entry.event {
                Event::Backup(record) if record.destination == first => {
                    made.insert(&record.key);
                }
                Event::Copy(record) if record.destination == second => {
                    begins(&record.key);
                    settled.remove(&record.key);
                    copies.failed = None;
                    copies.copied.insert(record.key.clone(), (entry.at, record.clone()));
                }
                Event::CopyFailed { key, destination, error, lost } if destination == second => {
                    begins(key);
                    if *lost {
                        settled.insert(key);
                    }
                    copies.failed = Some((entry.at, key.clone(), error.clone()));
                }
                Event::Deleted { key, destination } => {
                    if destination == first {
                        made.remove(key);
                    }
                    if destination == second {
                        copies.copied.remove(key);
                        settled.insert(key);
                    }
                }
                _ => {}
            }
        }
        let is_absent = |key: &&BackupKey| !settled.contains(*key) && !copies.copied.contains_key(*key);
        let (missing, older): (Vec<&BackupKey>, Vec<&BackupKey>) =
            made.into_iter().filter(is_absent).partition(|key| since.is_some_and(|since| key.started() >= since));
        copies.older = older.len();
        copies.missing = missing.into_iter().cloned().collect();
        copies.missing.sort_by_key(|key| std::cmp::Reverse((key.started(), key.encrypted())));
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::BackupRecord;
    use crate::history::tests::manifest;

    const FIRST: &str = "s3://first";
    const SECOND: &str = "file:///second";

    fn key(second: i64) -> BackupKey {
        BackupKey::new("prod".parse().unwrap(), Timestamp::from_second(second).unwrap(), false)
    }

    fn made(second: i64) -> Event {
        let manifest = manifest(&key(second).to_string());
        Event::Backup(Box::new(BackupRecord::new(manifest, FIRST.into(), 1, "CRC".into())))
    }

    fn copied(second: i64) -> Event {
        let (destination, confirmed_by) = (SECOND.into(), "synced".into());
        Event::Copy(CopyRecord { key: key(second), destination, bytes: 1, confirmed_by })
    }

    fn failed(second: i64, lost: bool) -> Event {
        Event::CopyFailed { key: key(second), destination: SECOND.into(), error: "down".into(), lost }
    }

    fn deleted(second: i64, destination: &str) -> Event {
        Event::Deleted { key: key(second), destination: destination.into() }
    }

    fn missing(events: Vec<Event>) -> Vec<i64> {
        let entries: Vec<Entry> = events.into_iter().map(|event| Entry::now(event, None)).collect();
        let copies = Copies::of(&entries, FIRST, SECOND);
        let known = copies.missing.len() + copies.older + copies.copied.len();
        assert!(known <= entries.len(), "{copies:?}");
        copies.missing.iter().map(|key| key.started().as_second()).collect()
    }

    #[test]
    fn what_was_made_before_copying_began_is_not_missing() {
        assert_eq!(missing(vec![made(1), made(2)]), [0; 0]);
        assert_eq!(missing(vec![made(1), made(2), copied(2), made(3)]), [3]);
        assert_eq!(missing(vec![made(1), made(2), failed(2, false), made(3)]), [3, 2]);
    }

    #[test]
    fn those_that_are_older_are_counted() {
        let older = |events: Vec<Event>| {
            let entries: Vec<Entry> = events.into_iter().map(|event| Entry::now(event, None)).collect();
            Copies::of(&entries, FIRST, SECOND).older
        };
        assert_eq!(older(vec![made(1), made(2), deleted(1, FIRST)]), 1);
        assert_eq!(older(vec![made(1), made(2), copied(2), made(3)]), 1);
    }

    #[test]
    fn what_was_deleted_in_either_place_is_not_missing() {
        let events = || vec![made(2), copied(2), made(3), failed(3, false), made(4)];
        let with = |more: Vec<Event>| missing(events().into_iter().chain(more).collect());
        assert_eq!(with(vec![]), [4, 3]);
        assert_eq!(with(vec![deleted(3, FIRST), deleted(2, SECOND)]), [4]);
        assert_eq!(with(vec![deleted(2, FIRST)]), [4, 3], "a copy outlives its original");
        assert_eq!(with(vec![failed(4, true)]), [3], "it is lost");
        assert_eq!(with(vec![copied(3), copied(4)]), [0; 0]);
    }

    #[test]
    fn the_last_one_says_whether_it_fails() {
        let of = |events: Vec<Event>| {
            let entries: Vec<Entry> = events.into_iter().map(|event| Entry::now(event, None)).collect();
            Copies::of(&entries, FIRST, SECOND).failed.map(|(_, key, error)| (key.started().as_second(), error))
        };
        assert_eq!(of(vec![made(1), failed(1, false)]), Some((1, "down".to_owned())));
        assert_eq!(of(vec![made(1), failed(1, false), copied(1)]), None);
        assert_eq!(Copies::of(&[], FIRST, "s3://other"), Copies::default());
    }
}
