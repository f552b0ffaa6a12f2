//! Taking a backup out of its store, for `delete` and `prune`.
//!
//! The object goes first. Where it won't go (a lock on the bucket, a missing permission), nothing has changed; a run that is killed in
//! between leaves what lies beside it alone, which nobody takes for a backup and the next pruning sweeps away.

use std::io::Read;

use jiff::SignedDuration;

use crate::catalog::{Backup, Beside, Catalog};
use crate::commands::Context;
use crate::commands::backups::history;
use crate::dokku::host_id;
use crate::drill::{self, Drill};
use crate::history::{Entry, Event};
use crate::manifest::{LARGEST, Manifest};
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError};

/// What was stored so lately may lie beside an object that the listing doesn't show yet.
const YOUNG: SignedDuration = SignedDuration::from_hours(1);

/// Takes a backup out and remembers that. What lies beside it and won't go is told.
///
/// # Errors
/// When the object won't go; nothing has changed then.
pub fn take_out(backup: &Backup, store: &dyn Store, context: &Context) -> Result<(), StoreError> {
    let key = &backup.key;
    store.delete(&key.to_string())?;
    step!("removal.deleted");
    let event = Event::Deleted { key: key.clone(), destination: store.describe() };
    if let Err(error) = history(key.service(), context).append(&Entry::now(event, None)) {
        context.ui.warn(format!("{key} is deleted, but this host's history could not take note of it: {error:#}"));
    }
    step!("removal.remembered");
    if backup.sidecar != Some(false)
        && let Err(error) = store.delete(&key.sidecar())
    {
        context.ui.warn(format!("{key} is deleted, but its description beside it is not: {error}"));
    }
    if backup.drill != Some(false)
        && let Err(error) = store.delete(&key.drill())
    {
        context.ui.warn(format!("{key} is deleted, but the result of its drill beside it is not: {error}"));
    }
    step!("removal.done");
    Ok(())
}

/// Sweeps away what this host has put beside objects that are gone. Returns how many.
///
/// # Errors
/// When the store refuses.
pub fn sweep(catalog: &Catalog, store: &dyn Store, context: &Context) -> Result<u64, StoreError> {
    let mut swept = 0;
    let here = Here::of(context);
    for orphan in &catalog.orphans {
        let old = orphan.stored.is_some_and(|stored| context.now().duration_since(stored) > YOUNG);
        let ours = || match orphan.kind {
            Beside::Sidecar => is_ours(&orphan.key, store, &here),
            Beside::Drill => is_our_drill(&orphan.key, store, &here),
        };
        if !old || !ours()? {
            continue;
        }
        match store.head(&orphan.key.to_string()) {
            Err(StoreError::NotFound { .. }) => match store.delete(&orphan.name()) {
                Ok(()) => swept += 1,
                // It was stored later than its backup, and is kept longer.
                Err(StoreError::Retained { .. }) => {}
                Err(error) => return Err(error),
            },
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

/// This host. Two may save into one place, and two may have one name.
pub struct Here {
    /// Its name.
    pub name: String,
    /// Its id, where it has one.
    pub id: Option<String>,
}

impl Here {
    /// This one.
    pub fn of(context: &Context) -> Self {
        let id = host_id::of_this_host(&context.environment.data_folder());
        Self { name: context.environment.host_name(), id }
    }

    /// Whether a backup was made here: by the name and, where the manifest has one, by the id. Beside an encrypted backup no name stands.
    pub fn made(&self, manifest: &Manifest) -> bool {
        let by_name = manifest.host == self.name;
        match &manifest.host_id {
            Some(id) => self.id.as_ref() == Some(id) && (by_name || manifest.host.is_empty()),
            None => by_name,
        }
    }
}

fn is_our_drill(key: &BackupKey, store: &dyn Store, here: &Here) -> Result<bool, StoreError> {
    let Some(text) = drill::bytes(store, key)? else { return Ok(false) };
    Ok(here.id.is_some() && Drill::parse(&text, key).is_ok_and(|drill| drill.host_id == here.id))
}

fn is_ours(key: &BackupKey, store: &dyn Store, here: &Here) -> Result<bool, StoreError> {
    let reader = match store.open(&key.sidecar()) {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    if reader.take(LARGEST + 1).read_to_end(&mut text).is_err() {
        return Ok(false);
    }
    Ok(Manifest::parse(&text, Some(key)).is_ok_and(|manifest| here.made(&manifest)))
}
