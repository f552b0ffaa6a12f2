//! What lies beside backups: their manifests, as they were when the backups were made, and the results of drills.

use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;

use super::{Backup, Catalog};
use crate::manifest::{LARGEST, Manifest};
use crate::signing::Keys;
use crate::store::key::{BackupKey, DRILL_SUFFIX, SIDECAR_SUFFIX};
use crate::store::{ObjectInfo, Store, StoreError};
use crate::text::printable;

/// Sidecars that are read at the same time: each is one short request whose time is all waiting.
const READERS: usize = 16;
/// A longer one is read by one reader at a time, for what a hostile one takes sixteen times over: this is one of about a thousand tables.
const SHORT: u64 = 256 << 10;
/// How much of a longer one is fetched before that.
const FETCHED: u64 = 4 << 20;
/// What is kept of a backup in a list: what it says of itself without its tables takes a few KiB.
const LARGEST_OUTLINE: usize = 64 << 10;
/// Who holds this reads a long sidecar.
static LONG: Mutex<()> = Mutex::new(());
/// Results of drills that are read beside backups at most, of the newest ones: a list of thousands must not cost thousands of requests more.
const DRILLS_READ: usize = 100;

/// Something that lies beside no backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The backup that is gone.
    pub key: BackupKey,
    /// What this is.
    pub kind: Beside,
    /// When it was stored, by the store's clock.
    pub stored: Option<Timestamp>,
}

/// What may lie beside a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Its manifest.
    Sidecar,
    /// The result of its last drill.
    Drill,
}

impl Orphan {
    pub(super) fn of(object: &ObjectInfo) -> Option<Self> {
        let name = object.name.as_str();
        let (kind, key) = match (name.strip_suffix(SIDECAR_SUFFIX), name.strip_suffix(DRILL_SUFFIX)) {
            (Some(key), _) => (Beside::Sidecar, key),
            (None, Some(key)) => (Beside::Drill, key),
            (None, None) => return None,
        };
        Some(Self { key: key.parse().ok()?, kind, stored: object.modified })
    }

    /// Its name in the store.
    pub fn name(&self) -> String {
        match self.kind {
            Beside::Sidecar => self.key.sidecar(),
            Beside::Drill => self.key.drill(),
        }
    }
}

impl Catalog {
    /// Reads the sidecars of the newest `count` backups whose details this host doesn't remember, several at a time. What
    /// can't be read is noted at its backup; where reading is not permitted at all, one try is made and no more. Of each only the outline
    /// is kept: ten thousand with a thousand tables each would fill the memory of a small host.
    pub fn read_sidecars(&mut self, store: &dyn Store, count: usize) {
        let wanted = self
            .backups
            .iter_mut()
            .take(count)
            .filter(|backup| backup.sidecar == Some(true) && backup.record.is_none() && backup.manifest.is_none());
        let read = |backup: &mut Backup| {
            backup.read_manifest(store)?;
            let Some(outline) = backup.manifest.take().map(Manifest::outline) else { return Ok(()) };
            if outline.to_json()?.len() > LARGEST_OUTLINE {
                bail!("{}: it says more than {LARGEST_OUTLINE} bytes beside its tables", backup.key.sidecar());
            }
            backup.manifest = Some(outline);
            Ok(())
        };
        let troubled = |backup: &mut Backup, error: Option<String>| {
            backup.trouble = Some(error.unwrap_or_else(|| "its sidecar was not read".to_owned()));
        };
        each(wanted.collect(), read, troubled);
    }

    /// Reads what lies beside the newest `count` backups of drills that this host knows nothing of, several at a time; after
    /// [`Self::read_sidecars`], so that it is known which object was tried. What can't be read is as if it were not there.
    pub fn read_drills(&mut self, store: &dyn Store, keys: &Keys, count: usize) {
        let shown = self.backups.iter_mut().take(count).filter(|backup| backup.has_drill_to_read());
        each(shown.take(DRILLS_READ).collect(), |backup| backup.read_drill(store, keys), |_, _| {});
    }

    /// Finds the newest backup that is proven to restore, as a pruning wants to know it: from the newest on, until there is one. Takes as
    /// many requests as there are newer ones whose drill failed elsewhere, and one more.
    pub fn read_newest_drill(&mut self, store: &dyn Store, keys: &Keys) {
        let is_proof = |backup: &Backup| backup.verified.is_some_and(|verified| verified.good && verified.proven);
        let mut left = DRILLS_READ;
        for backup in &mut self.backups {
            if backup.has_drill_to_read() {
                // Not readable is not verified: it counts as what it would be without.
                let _ = backup.read_drill(store, keys);
                left -= 1;
            }
            if is_proof(backup) || left == 0 || crate::interrupt::requested() {
                return;
            }
        }
    }
}

/// Reads something for each of some backups, several at a time. Where that is denied for one, no other is tried.
fn each(
    wanted: Vec<&mut Backup>,
    read: impl Fn(&mut Backup) -> Result<()> + Sync,
    troubled: impl Fn(&mut Backup, Option<String>) + Sync,
) {
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
                        troubled(&mut backup, None);
                        continue;
                    }
                    if let Err(error) = read(&mut backup) {
                        let is_denied =
                            error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Denied { .. })));
                        denied.fetch_or(is_denied, Ordering::Relaxed);
                        troubled(&mut backup, Some(printable(&format!("{error:#}")).into_owned()));
                    }
                }
            });
        }
    });
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
    let mut reader = reader.take(FETCHED);
    let unreadable = || format!("{name} can't be read");
    reader.read_to_end(&mut text).with_context(unreadable)?;
    let length = text.len() as u64;
    let _alone = (length > SHORT).then(|| LONG.lock().unwrap_or_else(PoisonError::into_inner));
    if length == FETCHED {
        // One byte more than allowed, so that the manifest's own check sees that it is too long.
        reader.set_limit(LARGEST + 1 - FETCHED);
        reader.read_to_end(&mut text).with_context(unreadable)?;
    }
    Manifest::parse(&text, Some(key)).map(Some).map_err(|error| anyhow!("{name}: {error:#}"))
}
