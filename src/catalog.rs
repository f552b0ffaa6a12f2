//! Which backups there are: what the store lists, together with what this host remembers.
//!
//! The store is the truth where it may be listed; the history adds what was verified and saves reading sidecars. With a
//! role that may only write, the history alone serves, and every answer says so. Objects whose names are not keys of this
//! very service (`prod-2` is not `prod`) are nobody's business here and are passed over.

pub mod moment;
pub mod selector;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;

use crate::error::{self, Failure};
use crate::history::{BackupRecord, Depth, Entry, Event};
use crate::manifest::{LARGEST, Manifest};
use crate::service::name::ServiceName;
use crate::store::key::{BackupKey, SIDECAR_SUFFIX};
use crate::store::{Store, StoreError};
use crate::text::printable;

/// Sidecars that are read at the same time: each is one short request whose time is all waiting.
const READERS: usize = 16;

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
    pub not_listed: Option<String>,
    /// Backups that this host has made here and that are no longer there, newest first.
    pub gone: Vec<BackupKey>,
    /// Sidecars without a backup, with the time they were stored at: what a deletion that was cut off has left.
    pub orphans: Vec<(BackupKey, Option<Timestamp>)>,
}

/// A backup, as far as it is known.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Its key.
    pub key: BackupKey,
    /// Length of the object in bytes; `None` when only its name is known.
    pub bytes: Option<u64>,
    /// When it was stored, by the store's clock.
    pub stored: Option<Timestamp>,
    /// Storage class where it is not the ordinary one; an archive class must be thawed before it can be read.
    pub class: Option<String>,
    /// Whether a sidecar lies beside it; `None` when the store could not be listed.
    pub sidecar: Option<bool>,
    /// What this host remembers of making it.
    pub record: Option<BackupRecord>,
    /// The last time it was tried on this host.
    pub verified: Option<Verified>,
    /// Its manifest, where it was read from the sidecar or remembered.
    pub manifest: Option<Manifest>,
    /// Why the sidecar could not be read.
    pub trouble: Option<String>,
    /// This host has made a backup of this name here, and what lies there now is of another length.
    pub replaced: bool,
}

/// How a backup was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// When.
    pub at: Timestamp,
    /// How deep.
    pub depth: Depth,
    /// Whether it was good.
    pub good: bool,
}

/// Who made a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// pgbackup.
    Pgbackup,
    /// `dokku postgres:backup`, or something else that names its objects so.
    DokkuPostgres,
    /// Not known: the store can't be listed, or its sidecar can't be read.
    Unknown,
}

impl Maker {
    /// As `list` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pgbackup => "pgbackup",
            Self::DokkuPostgres => "dokku-postgres",
            Self::Unknown => "unknown",
        }
    }
}

impl Backup {
    fn new(key: BackupKey) -> Self {
        Self {
            key,
            bytes: None,
            stored: None,
            class: None,
            sidecar: None,
            record: None,
            verified: None,
            manifest: None,
            trouble: None,
            replaced: false,
        }
    }

    /// Who made it.
    pub fn maker(&self) -> Maker {
        match (self.sidecar, &self.record, &self.manifest) {
            (Some(true), _, _) | (_, Some(_), _) | (_, _, Some(_)) => Maker::Pgbackup,
            (Some(false), None, None) => Maker::DokkuPostgres,
            (None, None, None) => Maker::Unknown,
        }
    }

    /// Number of tables.
    pub fn tables(&self) -> Option<u64> {
        let read = self.manifest.as_ref().map(Manifest::tables);
        read.or_else(|| self.record.as_ref().map(|record| record.tables))
    }

    /// Number of rows of all tables.
    pub fn rows(&self) -> Option<u64> {
        let read = self.manifest.as_ref().map(Manifest::rows);
        read.or_else(|| self.record.as_ref().map(|record| record.rows))
    }

    /// What the user called it.
    pub fn label(&self) -> Option<&str> {
        let read = self.manifest.as_ref().and_then(|manifest| manifest.label.as_deref());
        read.or_else(|| self.record.as_ref().and_then(|record| record.label.as_deref()))
    }

    /// Whether it is known to be usable: made by us and confirmed by the store, and not found bad since.
    pub fn is_known_good(&self) -> bool {
        match self.verified {
            Some(verified) => verified.good,
            None => self.maker() == Maker::Pgbackup,
        }
    }

    /// Whether its manifest is the one that this host wrote itself, and not one that was found in the store.
    pub fn is_remembered(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.manifest.is_some())
    }

    /// Reads its manifest where it is not known yet: from the sidecar. `None` when it has none.
    ///
    /// # Errors
    /// When the store fails, or the sidecar is not this backup's manifest.
    pub fn read_manifest(&mut self, store: &dyn Store) -> Result<Option<&Manifest>> {
        if self.manifest.is_none() && self.sidecar != Some(false) {
            self.manifest = read_sidecar(store, &self.key)?;
        }
        Ok(self.manifest.as_ref())
    }
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
                catalog.not_listed = Some(error.to_string());
                None
            }
            Err(error) => {
                return Err(store_failure(format!("The backups in {} can't be listed", catalog.destination), error));
            }
        };
        let listed = objects.is_some();
        let objects = objects.unwrap_or_default();
        let sidecars: HashSet<&str> =
            objects.iter().filter_map(|object| object.name.strip_suffix(SIDECAR_SUFFIX)).collect();
        for object in &objects {
            let Ok(key) = object.name.parse::<BackupKey>() else { continue };
            if key.service() != service {
                continue;
            }
            let mut backup = Backup::new(key);
            backup.bytes = Some(object.bytes);
            backup.stored = object.modified;
            backup.class.clone_from(&object.class);
            backup.sidecar = Some(sidecars.contains(object.name.as_str()));
            // An object of another length is not the one that we remember.
            let record = remembered.records.remove(&backup.key);
            backup.replaced = record.as_ref().is_some_and(|record| record.bytes != object.bytes);
            backup.record = record.filter(|record| record.bytes == object.bytes);
            catalog.backups.push(backup);
        }
        let names: HashSet<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        catalog.orphans = objects
            .iter()
            .filter_map(|object| Some((object.name.strip_suffix(SIDECAR_SUFFIX)?, object.modified)))
            .filter(|(name, _)| !names.contains(name))
            .filter_map(|(name, modified)| Some((name.parse::<BackupKey>().ok()?, modified)))
            .filter(|(key, _)| key.service() == service)
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
            // Without the right to list, S3 says "denied" of objects that don't exist as well.
            Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => Err(failure),
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
pub fn read_sidecar(store: &dyn Store, key: &BackupKey) -> Result<Option<Manifest>> {
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

/// What the history says of one destination.
struct Remembered {
    records: HashMap<BackupKey, BackupRecord>,
    verified: HashMap<BackupKey, Verified>,
}

impl Remembered {
    fn of(history: &[Entry], service: &ServiceName, destination: &str) -> Self {
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
                    let verified = Verified { at: entry.at, depth: tried.depth, good: tried.good };
                    // A drill says more than a read; a failure more than any success before it.
                    let weaker = |before: &Verified| before.good && verified.good && before.depth > verified.depth;
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

fn finished(manifest: &Manifest) -> Option<Timestamp> {
    manifest.object.as_ref().map(|object| object.finished)
}

/// Of two that started in the same second the order is still always the same.
fn newest_first(a: &BackupKey, b: &BackupKey) -> std::cmp::Ordering {
    (b.started(), b.encrypted()).cmp(&(a.started(), a.encrypted()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::io::Cursor;
    use std::time::Duration;

    use super::*;
    use crate::history::VerificationRecord;
    use crate::history::tests::manifest;
    use crate::store::{ObjectInfo, Upload, UploadPlan};

    /// A store in memory that can deny.
    #[derive(Default)]
    pub(crate) struct Shelf {
        pub(crate) objects: Mutex<BTreeMap<String, Vec<u8>>>,
        pub(crate) denied: Mutex<HashSet<&'static str>>,
        /// Objects that will not go.
        pub(crate) kept: Mutex<HashSet<String>>,
        /// The calls that were made, in their order.
        pub(crate) calls: Mutex<Vec<String>>,
    }

    impl Shelf {
        pub(crate) fn with(names: &[&str]) -> Self {
            let shelf = Self::default();
            for name in names {
                shelf.place(name, b"object");
            }
            shelf
        }

        pub(crate) fn place(&self, name: &str, bytes: &[u8]) {
            self.objects.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        }

        pub(crate) fn names(&self) -> Vec<String> {
            self.objects.lock().unwrap().keys().cloned().collect()
        }

        pub(crate) fn deny(&self, permission: &'static str) {
            self.denied.lock().unwrap().insert(permission);
        }

        pub(crate) fn keep(&self, name: &str) {
            self.kept.lock().unwrap().insert(name.to_owned());
        }

        fn enter(&self, permission: &'static str, name: &str) -> Result<(), StoreError> {
            self.calls.lock().unwrap().push(format!("{permission} {name}"));
            if self.denied.lock().unwrap().contains(permission) {
                return Err(StoreError::Denied { permission: permission.into(), resource: self.describe() });
            }
            Ok(())
        }

        fn bytes(&self, name: &str) -> Result<Vec<u8>, StoreError> {
            let found = self.objects.lock().unwrap().get(name).cloned();
            found.ok_or_else(|| StoreError::NotFound { what: format!("{}/{name}", self.describe()) })
        }
    }

    impl Store for Shelf {
        fn describe(&self) -> String {
            "s3://bucket/backups".into()
        }

        fn upload(&self, _: &str, _: UploadPlan) -> Result<Box<dyn Upload>, StoreError> {
            unreachable!("nothing is uploaded here")
        }

        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.enter("s3:PutObject", name)?;
            self.place(name, bytes);
            Ok(())
        }

        fn head(&self, name: &str) -> Result<ObjectInfo, StoreError> {
            self.enter("s3:GetObject", name)?;
            let bytes = self.bytes(name)?.len() as u64;
            Ok(ObjectInfo { name: name.into(), bytes, modified: None, class: None })
        }

        fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, StoreError> {
            self.enter("s3:GetObject", name)?;
            Ok(Box::new(Cursor::new(self.bytes(name)?)))
        }

        fn list(&self, start: &str) -> Result<Vec<ObjectInfo>, StoreError> {
            self.enter("s3:ListBucket", start)?;
            let objects = self.objects.lock().unwrap();
            let fitting = objects.iter().filter(|(name, _)| name.starts_with(start));
            Ok(fitting
                .map(|(name, bytes)| ObjectInfo {
                    name: name.clone(),
                    bytes: bytes.len() as u64,
                    modified: Some(Timestamp::UNIX_EPOCH),
                    class: None,
                })
                .collect())
        }

        fn delete(&self, name: &str) -> Result<(), StoreError> {
            self.enter("s3:DeleteObject", name)?;
            if self.kept.lock().unwrap().contains(name) {
                return Err(StoreError::Denied { permission: "s3:DeleteObject".into(), resource: name.into() });
            }
            self.objects.lock().unwrap().remove(name);
            Ok(())
        }

        fn take_back(&self, _: &str) -> Result<u64, StoreError> {
            unreachable!("nothing is uploaded here")
        }

        fn presign(&self, _: &str, _: Duration) -> Result<Option<String>, StoreError> {
            Ok(None)
        }
    }

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    pub(crate) fn catalog_of(service: &str, names: &[&str]) -> Catalog {
        Catalog::read(&Shelf::with(names), &service.parse().unwrap(), &[], now()).unwrap()
    }

    /// A backup that this host has made, of the length of the shelf's objects.
    pub(crate) fn made(key: &str) -> Entry {
        let record = BackupRecord::new(manifest(key), "s3://bucket/backups".into(), 6, "1 part".into());
        Entry { at: now(), seconds: Some(1.0), event: Event::Backup(Box::new(record)) }
    }

    fn keys(catalog: &Catalog) -> Vec<String> {
        catalog.backups.iter().map(|backup| backup.key.to_string()).collect()
    }

    const OLD: &str = "postgres-prod-2023-04-02-14-30-01.tgz";
    const MIDDLE: &str = "postgres-prod-2023-04-03-11-00-04.tgz";
    const NEW: &str = "postgres-prod-2026-11-23-11-59-00.tgz";

    #[test]
    fn latest_is_not_what_a_restore_saved_of_the_state_it_replaced() {
        let shelf = Shelf::with(&[OLD, MIDDLE, NEW]);
        for (key, safety) in [(MIDDLE, false), (NEW, true)] {
            let manifest = Manifest { safety, ..manifest(key) };
            shelf.place(&manifest.key.sidecar(), &manifest.to_json().unwrap());
        }
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &[], now()).unwrap();
        let latest = |catalog: &Catalog| catalog.find(&shelf, &selector::Selector::Latest).unwrap().key.to_string();
        assert_eq!(latest(&catalog), MIDDLE);
        let before = selector::Selector::Before("2027-01-01".parse().unwrap());
        assert_eq!(catalog.find(&shelf, &before).unwrap().key.to_string(), MIDDLE);
        let alone = Catalog { backups: catalog.backups.into_iter().take(1).collect(), ..catalog_of("prod", &[]) };
        assert_eq!(latest(&alone), NEW, "better than none");
    }

    #[test]
    fn foreign_objects_are_nobodys_business() {
        let catalog = catalog_of(
            "prod",
            &[
                OLD,
                NEW,
                MIDDLE,
                "postgres-prod-2-2023-04-03-11-00-04.tgz",
                "postgres-prod-readme.txt",
                "postgres-prod-2023-04-03-11-00-04.tgz.manifest.json",
                "postgres-prod-2023-04-09-11-00-04.tgz.manifest.json",
                "postgres-prod-\x1b[2J",
            ],
        );
        assert_eq!(keys(&catalog), [NEW, MIDDLE, OLD]);
        assert_eq!(catalog.orphans.len(), 1);
        assert_eq!(catalog.orphans[0].0.to_string(), "postgres-prod-2023-04-09-11-00-04.tgz");
        let makers: Vec<Maker> = catalog.backups.iter().map(Backup::maker).collect();
        assert_eq!(makers, [Maker::DokkuPostgres, Maker::Pgbackup, Maker::DokkuPostgres]);
        assert_eq!(keys(&catalog_of("prod-2", &["postgres-prod-2-2023-04-03-11-00-04.tgz", OLD])).len(), 1);
    }

    #[test]
    fn the_history_adds_what_it_knows() {
        let shelf = Shelf::with(&[OLD, MIDDLE]);
        let tried = |good, depth, second| Entry {
            at: Timestamp::from_second(second).unwrap(),
            seconds: None,
            event: Event::Verification(VerificationRecord {
                key: MIDDLE.parse().unwrap(),
                depth,
                good,
                differences: Vec::new(),
            }),
        };
        let gone = "postgres-prod-2023-01-01-00-00-00.tgz";
        let elsewhere = {
            let mut entry = made("postgres-prod-2023-01-02-00-00-00.tgz");
            let Event::Backup(record) = &mut entry.event else { panic!() };
            record.destination = "s3://old-bucket".into();
            entry
        };
        let history = [
            made(gone),
            elsewhere,
            made(MIDDLE),
            made(NEW),
            tried(true, Depth::Restore, 1),
            tried(true, Depth::Read, 2),
        ];
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
        // The newest was stored a minute ago: a listing may lag behind.
        assert_eq!(keys(&catalog), [NEW, MIDDLE, OLD]);
        assert_eq!(catalog.gone, [gone.parse().unwrap()]);
        let middle = &catalog.backups[1];
        assert_eq!(
            (middle.rows(), middle.tables(), middle.label()),
            (Some(5_562), Some(2), Some("before the release"))
        );
        assert_eq!(middle.verified.unwrap().depth, Depth::Restore);
        assert!(middle.is_known_good() && !catalog.backups[2].is_known_good());

        let history = [made(MIDDLE), tried(true, Depth::Restore, 1), tried(false, Depth::Read, 2)];
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
        assert!(!catalog.backups[0].is_known_good());
    }

    #[test]
    fn a_replaced_object_is_not_the_remembered_one() {
        let shelf = Shelf::default();
        shelf.place(MIDDLE, b"of another length");
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &[made(MIDDLE)], now()).unwrap();
        assert_eq!(catalog.backups[0].rows(), None);
        assert!(catalog.backups[0].replaced);
        assert_eq!(catalog.backups[0].bytes, Some(17));
    }

    #[test]
    fn without_the_right_to_list_the_history_serves_and_says_so() {
        let shelf = Shelf::with(&[OLD, MIDDLE]);
        shelf.deny("s3:ListBucket");
        let deleted = Entry {
            at: now(),
            seconds: None,
            event: Event::Deleted { key: OLD.parse().unwrap(), destination: "s3://bucket/backups".into() },
        };
        let history = [made(OLD), deleted, made(NEW)];
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
        assert_eq!(keys(&catalog), [NEW]);
        assert!(catalog.not_listed.as_ref().unwrap().contains("s3:ListBucket"));
        assert!(catalog.gone.is_empty());
        let selector = |text: &str| selector::Selector::new(Some(text), None).unwrap();
        let failure = catalog.find(&shelf, &selector("2023-04-03")).unwrap_err();
        assert!(failure.hints.last().unwrap().contains("Only this host's own history"), "{:?}", failure.hints);
        // A full key can still be looked up where reading is allowed.
        assert_eq!(catalog.find(&shelf, &selector(MIDDLE)).unwrap().bytes, Some(6));
        assert_eq!(catalog.find(&shelf, &selector(NEW)).unwrap().rows(), Some(5_562));
        shelf.deny("s3:GetObject");
        assert_eq!(catalog.find(&shelf, &selector(MIDDLE)).unwrap_err().kind, crate::error::Kind::NoSuchBackup);
    }

    #[test]
    fn sidecars_are_read_where_nothing_is_remembered() {
        let shelf = Shelf::with(&[OLD, MIDDLE, NEW]);
        let read = |shelf: &Shelf, history: &[Entry], count| {
            let mut catalog = Catalog::read(shelf, &"prod".parse().unwrap(), history, now()).unwrap();
            catalog.read_sidecars(shelf, count);
            catalog
        };
        shelf.place(&format!("{MIDDLE}.manifest.json"), &manifest(MIDDLE).to_json().unwrap());
        shelf.place(&format!("{NEW}.manifest.json"), &manifest(OLD).to_json().unwrap());
        let catalog = read(&shelf, &[], 10);
        assert_eq!(catalog.backups[1].rows(), Some(5_562));
        assert!(
            catalog.backups[0].trouble.as_ref().unwrap().contains("belongs to"),
            "{:?}",
            catalog.backups[0].trouble
        );
        assert_eq!((catalog.backups[2].rows(), &catalog.backups[2].trouble), (None, &None));
        assert_eq!(read(&shelf, &[], 1).backups[1].rows(), None);

        shelf.calls.lock().unwrap().clear();
        assert_eq!(read(&shelf, &[made(MIDDLE), made(NEW)], 10).backups[1].rows(), Some(5_562));
        assert_eq!(shelf.calls.lock().unwrap().len(), 1, "one listing and nothing else");

        shelf.deny("s3:GetObject");
        let catalog = read(&shelf, &[], 10);
        assert!(catalog.backups.iter().filter(|backup| backup.trouble.is_some()).count() == 2);
    }
}
