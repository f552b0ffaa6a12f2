//! What this host remembers of the backups in one place.

use std::collections::HashMap;

use super::Verified;
use crate::history::{BackupRecord, Entry, Event};
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;

/// What the history says of one destination.
pub(super) struct Remembered {
    /// The backups that this host has saved there and not deleted.
    pub(super) records: HashMap<BackupKey, BackupRecord>,
    /// How those that were tried were found, wherever they lay.
    pub(super) verified: HashMap<BackupKey, Verified>,
}

impl Remembered {
    /// Reads it, oldest entry first.
    pub(super) fn of(history: &[Entry], service: &ServiceName, destination: &str) -> Self {
        let mut remembered = Self { records: HashMap::new(), verified: HashMap::new() };
        let mut made: HashMap<&BackupKey, &BackupRecord> = HashMap::new();
        for entry in history {
            if let Event::Backup(record) = &entry.event {
                made.insert(&record.key, record);
            }
            match &entry.event {
                Event::Backup(record) if record.destination == destination && record.key.service() == service => {
                    remembered.records.insert(record.key.clone(), (**record).clone());
                }
                // A copy is the same backup in another place.
                Event::Copy(copy) if copy.destination == destination && copy.key.service() == service => {
                    if let Some(made) = made.get(&copy.key) {
                        let record = BackupRecord {
                            destination: copy.destination.clone(),
                            bytes: copy.bytes,
                            confirmed_by: copy.confirmed_by.clone(),
                            ..(*made).clone()
                        };
                        remembered.records.insert(copy.key.clone(), record);
                    }
                }
                Event::Deleted { key, destination: there } if there == destination => {
                    remembered.records.remove(key);
                    remembered.verified.remove(key);
                }
                Event::Verification(tried) => {
                    let verified = Verified { at: entry.at, depth: tried.depth, good: tried.good, proven: true };
                    // A drill says more than a read: a read takes nothing back of it, but damage that it finds counts.
                    let weaker = |before: &Verified| before.depth > verified.depth && (verified.good || !before.good);
                    if !remembered.verified.get(&tried.key).is_some_and(weaker) {
                        remembered.verified.insert(tried.key.clone(), verified);
                    }
                }
                _ => {}
            }
        }
        remembered
    }
}
