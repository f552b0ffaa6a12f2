//! Taking a backup out of its store, for `delete` and `prune`.
//!
//! The object goes first. Where it won't go (a lock on the bucket, a missing permission), nothing has changed; a run that is killed in
//! between leaves a sidecar alone, which nobody takes for a backup and the next pruning sweeps away.

use std::io::Read;

use jiff::SignedDuration;

use crate::catalog::{Backup, Catalog};
use crate::commands::Context;
use crate::commands::backups::history;
use crate::history::{Entry, Event};
use crate::manifest::{LARGEST, Manifest};
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError};

/// A sidecar that was stored so lately may be one whose object the listing doesn't show yet.
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
    step!("removal.done");
    Ok(())
}

/// Sweeps away sidecars of this host whose objects are gone. Returns how many.
///
/// # Errors
/// When the store refuses.
pub fn sweep(catalog: &Catalog, store: &dyn Store, context: &Context) -> Result<u64, StoreError> {
    let mut swept = 0;
    for (key, stored) in &catalog.orphans {
        let old = stored.is_some_and(|stored| context.now().duration_since(stored) > YOUNG);
        if !old || !is_ours(key, store, context)? {
            continue;
        }
        match store.head(&key.to_string()) {
            Err(StoreError::NotFound { .. }) => {
                store.delete(&key.sidecar())?;
                swept += 1;
            }
            Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

fn is_ours(key: &BackupKey, store: &dyn Store, context: &Context) -> Result<bool, StoreError> {
    let reader = match store.open(&key.sidecar()) {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    if reader.take(LARGEST + 1).read_to_end(&mut text).is_err() {
        return Ok(false);
    }
    Ok(Manifest::parse(&text, Some(key)).is_ok_and(|manifest| manifest.host == context.environment.host_name()))
}
