//! A backup between its last byte and its description: noted on this host's disk before the object is completed, done with once it is
//! described and remembered.
//!
//! Who is killed in between leaves an object that is whole and says so to nobody: no description lies beside it, so it is not signed,
//! and a restore of what is newest would be refused. What would have been said stands in the note; the next run says it. A role that may
//! only write can't look whether the object is whole: it takes the store's word, which the note holds from the moment it was given.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::commands::backups;
use crate::commands::context::Context;
use crate::durable;
use crate::history::{BackupRecord, Entry, Event};
use crate::manifest::{LARGEST, Manifest};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::signing::Keys;
use crate::store::{self, Store, StoreError};

/// What is noted.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    destination: String,
    /// As the history keeps it.
    manifest: Manifest,
    /// What belongs beside the object, to the byte.
    sidecar: String,
    /// The store has confirmed that the object is complete.
    #[serde(default)]
    completed: bool,
}

fn path(context: &Context, service: &ServiceName) -> PathBuf {
    context.environment.data_folder().join(service.as_str()).join("finishing.json")
}

/// Notes what is about to be completed. That it can't be noted is no reason to go without the backup.
pub fn note(context: &Context, store: &dyn Store, manifest: &Manifest, sidecar: &[u8]) {
    // What an earlier run couldn't look for as the store was away: it is back, and the note is about to be replaced.
    let text = durable::read(&path(context, &manifest.service)).ok().flatten();
    let earlier = text.and_then(|text| serde_json::from_slice::<Note>(&text).ok());
    if let Some(earlier) = earlier.filter(|earlier| earlier.manifest.key != manifest.key) {
        let described = if earlier.destination == store.describe() {
            describe(context, store, &earlier)
        } else {
            Err(anyhow!("backups don't go to {} any more", earlier.destination))
        };
        tell(context, &earlier, described);
    }
    write(context, store, (manifest, sidecar), false);
}

/// Notes that the store has confirmed it.
pub fn completed(context: &Context, store: &dyn Store, manifest: &Manifest, sidecar: &[u8]) {
    write(context, store, (manifest, sidecar), true);
}

fn write(context: &Context, store: &dyn Store, (manifest, sidecar): (&Manifest, &[u8]), completed: bool) {
    let note = Note {
        destination: store.describe(),
        manifest: manifest.clone(),
        sidecar: String::from_utf8_lossy(sidecar).into_owned(),
        completed,
    };
    let path = path(context, &manifest.service);
    let noted = serde_json::to_vec(&note).map_err(Into::into).and_then(|text| durable::write(&path, &text, 0o600));
    if let Err(error) = noted {
        context.ui.debug(format!("What is completed can't be noted: {error:#}"));
    }
}

/// It is described and remembered, or it is not ours.
pub fn forget(context: &Context, service: &ServiceName) {
    let _ = durable::remove(&path(context, service));
}

/// What would have been remembered of an object that lies whole in the store: until the next run that changes something describes it, whoever
/// reads backups takes the note's word.
pub fn in_full(context: &Context, service: &ServiceName, store: &dyn Store) -> Option<Entry> {
    let text = durable::read(&path(context, service)).ok()??;
    let note: Note = serde_json::from_slice(&text).ok()?;
    let is_it = note.destination == store.describe() && is_whole(store, &note).unwrap_or_default();
    is_it.then(|| entry(&note))
}

/// Whether the object is there: of the length that was sent, or it is somebody else's. Who may not look believes what the store has confirmed.
fn is_whole(store: &dyn Store, note: &Note) -> Result<bool, StoreError> {
    match store.head(&note.manifest.key.to_string()) {
        Ok(info) => Ok(note.manifest.object.as_ref().is_some_and(|object| object.bytes == info.bytes)),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(StoreError::Denied { .. }) if note.completed => Ok(true),
        Err(error) => Err(error),
    }
}

fn entry(note: &Note) -> Entry {
    let bytes = note.manifest.object.as_ref().map_or(0, |object| object.bytes);
    let confirmed_by = "found whole after the run was cut off".to_owned();
    let record = BackupRecord::new(note.manifest.clone(), note.destination.clone(), bytes, confirmed_by);
    Entry::now(Event::Backup(Box::new(record)), None)
}

/// Describes and remembers what a run that was killed has sent in full. Only to be called while the service's lock is held; it is no
/// reason to fail.
pub fn finish(context: &Context, service: &Service) {
    let Ok(Some(text)) = durable::read(&path(context, &service.name)) else { return };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else { return forget(context, &service.name) };
    let store = note.destination.parse().map_err(Into::into).and_then(|place| context.store_at(&place, service));
    let described = store.and_then(|store| describe(context, store.as_ref(), &note));
    if tell(context, &note, described) {
        forget(context, &service.name);
    }
}

/// Says how it went; whether it is done with.
fn tell(context: &Context, note: &Note, described: Result<bool>) -> bool {
    let key = &note.manifest.key;
    match described {
        Ok(true) => context.ui.detail(format!("Described {key}, which an interrupted backup had sent in full")),
        Ok(false) => {}
        Err(error) => {
            context
                .ui
                .warn(format!("An interrupted backup may have sent {key} in full, which can't be told: {error:#}"));
            context
                .ui
                .warn(format!("Look whether it is there and whole: dokku pgbackup:check {} {key}", key.service()));
            // A permission that is missing today is missing tomorrow: said once. Anything else is tried again.
            return matches!(error.downcast_ref(), Some(StoreError::Denied { .. }));
        }
    }
    true
}

/// Whether there was something to be done for it.
fn describe(context: &Context, store: &dyn Store, note: &Note) -> Result<bool> {
    let Note { manifest, sidecar, .. } = note;
    let key = &manifest.key;
    if !is_whole(store, note)? {
        return Ok(false);
    }
    let beside = match store::read_small(store, &key.sidecar(), LARGEST) {
        // The object is ours, and so is what lies beside it.
        Err(StoreError::Denied { .. }) if note.completed => None,
        beside => beside?,
    };
    match &beside {
        None => {
            store.put(&key.sidecar(), sidecar.as_bytes())?;
            if manifest.signature.is_some() {
                Keys::begin(&context.environment.data_folder(), key.service(), key.started())?;
            }
        }
        Some(text) if text == sidecar.as_bytes() => {}
        Some(_) => return Ok(false),
    }
    let history = backups::history(key.service(), context);
    let is_it = |entry: &Entry| matches!(&entry.event, Event::Backup(record) if record.key == *key);
    let remembered = history.read().unwrap_or_default().iter().any(is_it);
    if !remembered {
        history.append(&entry(note))?;
    }
    Ok(beside.is_none() || !remembered)
}
