//! A backup's upload or that of its copy, noted on this host's disk for as long as it is neither complete nor taken back.
//!
//! Parts of an upload that nobody completes are stored and paid for, and no list shows them. What can be taken back is taken back at
//! once; what is left by `kill -9`, a power cut or a store that was away is found by the note: the next run takes back exactly
//! that upload and no other, so a second host that saves into the same place is never disturbed. The note holds what the store calls it, as
//! a role that may only write can't look for it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::finishing;
use crate::durable;
use crate::history::{Entry, Event};
use crate::service::Service;
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError, Stored, Upload, UploadPlan};
use crate::ui::{Progress, Ui};

/// How often one looks how far the rest is.
const LOOK: Duration = Duration::from_millis(50);

/// What the note says.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    destination: String,
    key: BackupKey,
    /// What the store calls it, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<String>,
}

/// What is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A backup.
    Backup,
    /// The copy of one to the second destination.
    Copy,
}

impl What {
    const ALL: [Self; 2] = [Self::Backup, Self::Copy];

    fn file(self) -> &'static str {
        match self {
            Self::Backup => "upload.json",
            Self::Copy => "copy.json",
        }
    }

    /// As messages call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Copy => "copy",
        }
    }
}

/// An upload under way.
#[derive(Clone)]
pub struct NotedUpload {
    upload: Arc<Mutex<Option<Box<dyn Upload>>>>,
    note: PathBuf,
}

impl NotedUpload {
    /// Begins it. A note that can't be written doesn't stop a backup.
    ///
    /// # Errors
    /// See [`Store::upload`].
    pub fn begin(context: &Context, what: What, store: &dyn Store, key: &BackupKey, plan: UploadPlan) -> Result<Self> {
        let note = context.environment.data_folder().join(key.service().as_str()).join(what.file());
        // Of an upload that couldn't be taken back as the store was away.
        let earlier = durable::read(&note).ok().flatten();
        let mut noted = Note { destination: store.describe(), key: key.clone(), upload: None };
        let _ = durable::write(&note, &serde_json::to_vec(&noted)?, 0o600);
        step!("upload.noted");
        let upload = match store.upload(&key.to_string(), plan) {
            Ok(upload) => upload,
            Err(error) => {
                let _ = match earlier {
                    Some(text) => durable::write(&note, &text, 0o600),
                    None => durable::remove(&note).map(drop),
                };
                return Err(error.into());
            }
        };
        if let Some(id) = upload.id() {
            noted.upload = Some(id.to_owned());
            let _ = durable::write(&note, &serde_json::to_vec(&noted)?, 0o600);
        }
        step!("upload.begun");
        // Now it is back.
        if let Some(earlier) = earlier.and_then(|text| serde_json::from_slice::<Note>(&text).ok()) {
            let taken_back = if earlier.destination == noted.destination {
                store.take_back(&earlier.key.to_string(), earlier.upload.as_deref()).map_err(Into::into)
            } else {
                Err(anyhow!("backups don't go to {} any more", earlier.destination))
            };
            tell(context, what, &earlier, taken_back);
        }
        Ok(Self { upload: Arc::new(Mutex::new(Some(upload))), note })
    }

    /// Shows, until this is dropped, how what was written and has not left goes to the store.
    pub fn show_rest(&self, ui: &Ui, label: &str) -> Option<Rest> {
        let traffic = self.lock().as_ref()?.traffic();
        let sent = traffic.sent();
        let left = move || (traffic.sent().saturating_sub(sent), traffic.written().saturating_sub(sent));
        let (_, total) = left();
        // Of what goes at once nothing need be seen.
        (total > 0).then(|| Rest::watch(ui.progress(label, Some(total)), left))
    }

    /// See [`Upload::complete`].
    ///
    /// # Errors
    /// See [`Upload::complete`].
    pub fn complete(&self, head: &[u8]) -> Result<Stored> {
        let upload = self.lock().take().ok_or_else(|| anyhow!("the upload has ended already"))?;
        let stored = upload.complete(head)?;
        step!("upload.completed");
        let _ = durable::remove(&self.note);
        Ok(stored)
    }

    /// Takes back what was sent. What can't be stays noted.
    ///
    /// # Errors
    /// When something is left in the store; the message says what.
    pub fn give_up(&self) -> Result<(), StoreError> {
        // None is left of one that failed to complete: it takes itself back, or is found by its note.
        let Some(upload) = self.lock().take() else { return Ok(()) };
        upload.abort()?;
        let _ = durable::remove(&self.note);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Upload>>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left to be sent, as it goes.
pub struct Rest {
    /// What is said next stands where the bar was: so its end is waited for.
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Rest {
    /// `look` says how much has gone of how much.
    fn watch(progress: Progress, look: impl Fn() -> (u64, u64) + Send + 'static) -> Self {
        let (sender, over) = mpsc::channel();
        let watch = std::thread::spawn(move || {
            while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let (gone, total) = look();
                progress.set_total(total);
                progress.add(gone.saturating_sub(progress.done()));
            }
        });
        Self { watch: Some((sender, watch)) }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some((sender, watch)) = self.watch.take() {
            drop(sender);
            let _ = watch.join();
        }
    }
}

impl Write for NotedUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.lock().as_mut() {
            Some(upload) => upload.write(bytes)?,
            None => return Err(io::Error::other("the upload has ended already")),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes back what an earlier run has begun to upload and couldn't finish. Only to be called while the service's lock is held. It is
/// no reason to fail: what can't be taken back is said.
pub fn sweep(context: &Context, service: &Service) {
    finishing::finish(context, service);
    for what in What::ALL {
        sweep_one(context, service, what);
    }
}

fn sweep_one(context: &Context, service: &Service, what: What) {
    let path = context.environment.data_folder().join(service.name.as_str()).join(what.file());
    let Ok(Some(text)) = durable::read(&path) else { return };
    let Ok(note) = serde_json::from_slice::<Note>(&text) else {
        let _ = durable::remove(&path);
        return;
    };
    if what == What::Copy {
        remember_interruption(context, &note);
    }
    if tell(context, what, &note, take_back(context, service, &note)) {
        let _ = durable::remove(&path);
    }
}

/// Says how it went; whether it is done with.
fn tell(context: &Context, what: What, note: &Note, taken_back: Result<u64>) -> bool {
    let word = what.word();
    match taken_back {
        Ok(0) => {}
        Ok(_) => context
            .ui
            .detail(format!("Took back the unfinished upload of {} that an interrupted {word} had left", note.key)),
        Err(error) => {
            context.ui.warn(format!("An interrupted {word} has left the unfinished upload of {}: {error:#}", note.key));
            let copy = if what == What::Copy { " --copy" } else { "" };
            context.ui.warn(format!(
                "Its parts are stored unseen until a rule of the bucket removes them: dokku pgbackup:iam-policy {}{copy} --lifecycle",
                note.key.service()
            ));
            // A permission that is missing today is missing tomorrow: said once. Anything else is tried again.
            return matches!(error.downcast_ref(), Some(StoreError::Denied { .. }));
        }
    }
    true
}

fn take_back(context: &Context, service: &Service, note: &Note) -> Result<u64> {
    let store = context.store_at(&note.destination.parse()?, service)?;
    Ok(store.take_back(&note.key.to_string(), note.upload.as_deref())?)
}

/// A copy that was killed has told nobody; that it is missing is known by this.
fn remember_interruption(context: &Context, note: &Note) {
    let history = backups::history(note.key.service(), context);
    let known = |entry: &Entry| match &entry.event {
        Event::Copy(record) => record.key == note.key && record.destination == note.destination,
        Event::CopyFailed { key, destination, .. } => *key == note.key && *destination == note.destination,
        _ => false,
    };
    if history.read().unwrap_or_default().iter().any(known) {
        return;
    }
    let error = "the copying was cut off".to_owned();
    let event = Event::CopyFailed { key: note.key.clone(), destination: note.destination.clone(), error, lost: false };
    if let Err(error) = history.append(&Entry::now(event, None)) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
}

/// What is noted in a service's folder, readable or not.
pub fn unfinished(folder: &Path) -> Vec<What> {
    What::ALL.into_iter().filter(|what| folder.join(what.file()).exists()).collect()
}

/// The keys of uploads that are noted in a service's folder: they go on, or were interrupted.
pub fn noted(folder: &Path) -> Vec<(What, BackupKey)> {
    let noted = |what: What| {
        let text = durable::read(&folder.join(what.file())).ok()??;
        Some((what, serde_json::from_slice::<Note>(&text).ok()?.key))
    };
    What::ALL.into_iter().filter_map(noted).collect()
}
