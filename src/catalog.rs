//! Which backups there are: what the store lists, together with what this host remembers.
//!
//! The store is the truth where it may be listed; the history adds what was verified and saves reading sidecars. With a
//! role that may only write, the history alone serves, and every answer says so. Objects whose names are not keys of this
//! very service (`prod-2` is not `prod`) are nobody's business here and are passed over.

mod backup;
mod memory;
pub mod moment;
pub mod selector;
mod sidecars;

use std::collections::HashSet;

use anyhow::{Result, anyhow};
use jiff::Timestamp;

use self::memory::Remembered;
use crate::error::{self, Failure};
use crate::history::Entry;
use crate::manifest::Manifest;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError};

pub use self::backup::{Backup, Maker, Verified};
pub use self::sidecars::{Beside, Orphan};

/// The backups of one service in one destination.
#[derive(Debug)]
pub struct Catalog {
    /// The service.
    pub service: ServiceName,
    /// The destination, as the store describes itself.
    pub destination: String,
    /// Newest first.
    pub backups: Vec<Backup>,
    /// Why the store could not be listed; the backups come from this host's history alone then.
    pub not_listed: Option<StoreError>,
    /// Backups that this host has made here and that are no longer there, newest first.
    pub gone: Vec<BackupKey>,
    /// What lies beside a backup that is gone: a deletion that was cut off has left it.
    pub orphans: Vec<Orphan>,
}

impl Catalog {
    /// Puts together what the store lists and what the history remembers. Takes one listing, however many backups there are.
    ///
    /// # Errors
    /// When the store fails for another reason than a missing permission to list.
    pub fn read(store: &dyn Store, service: &ServiceName, history: &[Entry], now: Timestamp) -> Result<Self, Failure> {
        let destination = store.describe();
        let mut remembered = Remembered::of(history, service, &destination);
        let mut catalog = Self {
            service: service.clone(),
            destination,
            backups: Vec::new(),
            not_listed: None,
            gone: Vec::new(),
            orphans: Vec::new(),
        };
        let objects = match store.list(&BackupKey::common_prefix(service)) {
            Ok(objects) => Some(objects),
            Err(error @ StoreError::Denied { .. }) => {
                catalog.not_listed = Some(error);
                None
            }
            Err(error) => {
                return Err(store_failure(format!("The backups in {} can't be listed", catalog.destination), error));
            }
        };
        let listed = objects.is_some();
        let objects = objects.unwrap_or_default();
        let names: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        for object in &objects {
            let Ok(key) = object.name.parse::<BackupKey>() else { continue };
            if key.service() != service {
                continue;
            }
            let mut backup = Backup::new(key);
            backup.bytes = Some(object.bytes);
            backup.stored = object.modified;
            backup.class.clone_from(&object.class);
            backup.sidecar = Some(names.contains(backup.key.sidecar().as_str()));
            backup.drill = Some(names.contains(backup.key.drill().as_str()));
            // An object of another length is not the one that we remember.
            let record = remembered.records.remove(&backup.key);
            backup.replaced = record.as_ref().is_some_and(|record| record.bytes != object.bytes);
            backup.record = record.filter(|record| record.bytes == object.bytes);
            catalog.backups.push(backup);
        }
        catalog.orphans = objects
            .iter()
            .filter_map(Orphan::of)
            .filter(|orphan| orphan.key.service() == service && !names.contains(orphan.key.to_string().as_str()))
            .collect();
        for (key, record) in remembered.records {
            let age = now.duration_since(record.manifest.as_ref().and_then(finished).unwrap_or(key.started()));
            if listed && age > store.listing_lag() {
                catalog.gone.push(key);
                continue;
            }
            let mut backup = Backup::new(key);
            backup.bytes = Some(record.bytes);
            backup.record = Some(record);
            catalog.backups.push(backup);
        }
        for backup in &mut catalog.backups {
            backup.verified = remembered.verified.get(&backup.key).copied();
            backup.manifest = backup.record.as_ref().and_then(|record| record.manifest.clone());
        }
        catalog.backups.sort_by(|a, b| newest_first(&a.key, &b.key));
        catalog.gone.sort_by(newest_first);
        Ok(catalog)
    }

    /// The one backup that is meant, also where the store may be read but not listed: a full key is looked up by itself then.
    ///
    /// # Errors
    /// [`crate::error::Kind::NoSuchBackup`] when there is none, or more than one; or when the store fails.
    pub fn find(&self, store: &dyn Store, selector: &selector::Selector) -> Result<Backup, Failure> {
        if let Some(backup) = self.newest(store, selector) {
            return Ok(backup);
        }
        let failure = match self.select(selector) {
            Ok(backup) => return Ok(backup.clone()),
            Err(failure) => failure,
        };
        let Some(key) = selector.key().filter(|key| *key.service() == self.service && self.not_listed.is_some()) else {
            return Err(failure);
        };
        match store.head(&key.to_string()) {
            Ok(object) => {
                let mut backup = Backup::new(key);
                backup.bytes = Some(object.bytes);
                backup.stored = object.modified;
                backup.class = object.class;
                Ok(backup)
            }
            Err(StoreError::NotFound { .. }) => Err(failure),
            // Without the right to list, S3 says "denied" of objects that don't exist as well: that there is none is not known.
            Err(error) => Err(store_failure(format!("{key} can't be looked up"), error)),
        }
    }

    /// What `latest` and `--before` mean: not a backup that a restore took of the state it replaced, as whoever restores twice must
    /// not get back what the first time got rid of. `None` when there is no other.
    fn newest(&self, store: &dyn Store, selector: &selector::Selector) -> Option<Backup> {
        let before = match selector {
            selector::Selector::Latest => None,
            selector::Selector::Before(moment) => Some(moment.instant()),
            selector::Selector::Part(_) => return None,
        };
        let fitting = self.backups.iter().filter(|backup| before.is_none_or(|before| backup.key.started() < before));
        fitting.cloned().find_map(|mut backup| {
            let safety = matches!(backup.read_manifest(store), Ok(Some(manifest)) if manifest.safety);
            (!safety).then_some(backup)
        })
    }
}

/// A store's refusal as the user reads it, with what to type next.
pub fn store_failure(message: impl Into<String>, error: StoreError) -> Failure {
    let failure = Failure::failed(message);
    match error {
        StoreError::Interrupted(interrupted) => Failure::from_error(interrupted.into()),
        StoreError::Misconfigured { message, hint } => failure.because(anyhow!(message)).hint(hint),
        StoreError::Denied { permission, resource } => {
            let hints = error::hints_of_denied(&permission, &resource);
            let failure = failure.because(StoreError::Denied { permission, resource });
            hints.into_iter().fold(failure, Failure::hint)
        }
        error => failure.because(error),
    }
}

fn finished(manifest: &Manifest) -> Option<Timestamp> {
    manifest.object.as_ref().map(|object| object.finished)
}

/// Of two that started in the same second the order is still always the same.
fn newest_first(a: &BackupKey, b: &BackupKey) -> std::cmp::Ordering {
    (b.started(), b.encrypted()).cmp(&(a.started(), a.encrypted()))
}

#[cfg(test)]
pub(crate) mod tests;
