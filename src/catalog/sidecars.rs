//! What lies beside backups: their manifests, as they were when the backups were made.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::{Backup, Catalog};
use crate::manifest::{LARGEST, Manifest};
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError};
use crate::text::printable;

/// Sidecars that are read at the same time: each is one short request whose time is all waiting.
const READERS: usize = 16;

impl Catalog {
    /// Reads the sidecars of the newest `count` backups whose details this host doesn't remember, several at a time. What
    /// can't be read is noted at its backup; where reading is not permitted at all, one try is made and no more. Of each only the outline
    /// is kept: ten thousand with a thousand tables each would fill the memory of a small host.
    pub fn read_sidecars(&mut self, store: &dyn Store, count: usize) {
        let wanted: Vec<&mut Backup> = self
            .backups
            .iter_mut()
            .take(count)
            .filter(|backup| backup.sidecar == Some(true) && backup.record.is_none() && backup.manifest.is_none())
            .collect();
        let threads = wanted.len().min(READERS);
        let work: Vec<Mutex<&mut Backup>> = wanted.into_iter().map(Mutex::new).collect();
        let next = AtomicUsize::new(0);
        let denied = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(backup) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut backup = backup.lock().unwrap_or_else(PoisonError::into_inner);
                        if denied.load(Ordering::Relaxed) || crate::interrupt::requested() {
                            backup.trouble = Some("its sidecar was not read".to_owned());
                            continue;
                        }
                        let result = backup.read_manifest(store).map(drop);
                        backup.manifest = backup.manifest.take().map(Manifest::outline);
                        if let Err(error) = result {
                            let is_denied = error
                                .chain()
                                .any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Denied { .. })));
                            denied.fetch_or(is_denied, Ordering::Relaxed);
                            backup.trouble = Some(printable(&format!("{error:#}")).into_owned());
                        }
                    }
                });
            }
        });
    }
}

/// Reads and checks a backup's sidecar; `None` when there is none.
///
/// # Errors
/// When the store fails, or the sidecar is not this backup's manifest.
pub(super) fn read(store: &dyn Store, key: &BackupKey) -> Result<Option<Manifest>> {
    let name = key.sidecar();
    let reader = match store.open(&name) {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    // One byte more than allowed, so that the manifest's own check sees that it is too long.
    reader.take(LARGEST + 1).read_to_end(&mut text).with_context(|| format!("{name} can't be read"))?;
    Manifest::parse(&text, Some(key)).map(Some).map_err(|error| anyhow!("{name}: {error:#}"))
}
