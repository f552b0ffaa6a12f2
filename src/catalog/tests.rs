//! A store in memory for the tests of whatever uses a catalog, and the catalog's own tests.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::drill::Drill;
use crate::drill::tests::drill;
use crate::history::tests::manifest;
use crate::history::{BackupRecord, Depth, Event, VerificationRecord};
use crate::signing::Keys;
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

    fn take_back(&self, _: &str, _: Option<&str>) -> Result<u64, StoreError> {
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
            "postgres-prod-2023-04-03-11-00-04.tgz.verified.json",
            "postgres-prod-2023-04-09-11-00-04.tgz.manifest.json",
            "postgres-prod-2023-04-09-11-00-04.tgz.verified.json",
            "postgres-prod-2-2023-04-09-11-00-04.tgz.verified.json",
            "postgres-prod-\x1b[2J",
        ],
    );
    assert_eq!(keys(&catalog), [NEW, MIDDLE, OLD]);
    let orphans: Vec<String> = catalog.orphans.iter().map(Orphan::name).collect();
    let gone = "postgres-prod-2023-04-09-11-00-04.tgz";
    assert_eq!(orphans, [format!("{gone}.manifest.json"), format!("{gone}.verified.json")]);
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
    let history =
        [made(gone), elsewhere, made(MIDDLE), made(NEW), tried(true, Depth::Restore, 1), tried(true, Depth::Read, 2)];
    let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
    // The newest was stored a minute ago: a listing may lag behind.
    assert_eq!(keys(&catalog), [NEW, MIDDLE, OLD]);
    assert_eq!(catalog.gone, [gone.parse().unwrap()]);
    let middle = &catalog.backups[1];
    assert_eq!((middle.rows(), middle.tables(), middle.label()), (Some(5_562), Some(2), Some("before the release")));
    assert_eq!(middle.verified.unwrap().depth, Depth::Restore);
    assert!(middle.is_known_good() && !catalog.backups[2].is_known_good());

    let history = [made(MIDDLE), tried(true, Depth::Restore, 1), tried(false, Depth::Read, 2)];
    let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
    assert!(!catalog.backups[0].is_known_good());

    // A failure is cleared by what goes as deep, and by nothing less.
    let after = |tries: &[Entry]| {
        let history = [&[made(MIDDLE)], tries].concat();
        let catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &history, now()).unwrap();
        catalog.backups[0].verified.map(|verified| (verified.good, verified.depth)).unwrap()
    };
    let failed = tried(false, Depth::Restore, 1);
    assert_eq!(after(&[failed.clone(), tried(true, Depth::Read, 2)]), (false, Depth::Restore));
    assert_eq!(
        after(&[failed.clone(), tried(false, Depth::Read, 2), tried(true, Depth::Read, 3)]),
        (false, Depth::Restore)
    );
    assert_eq!(after(&[failed, tried(true, Depth::Restore, 2)]), (true, Depth::Restore));
    assert_eq!(after(&[tried(false, Depth::Read, 1), tried(true, Depth::Restore, 2)]), (true, Depth::Restore));
    assert_eq!(after(&[tried(false, Depth::Read, 1), tried(true, Depth::Read, 2)]), (true, Depth::Read));
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
    assert!(catalog.not_listed.as_ref().unwrap().to_string().contains("s3:ListBucket"));
    assert!(catalog.gone.is_empty());
    let selector = |text: &str| selector::Selector::new(Some(text), None).unwrap();
    let failure = catalog.find(&shelf, &selector("2023-04-03")).unwrap_err();
    assert!(failure.to_string().contains(": permission s3:ListBucket is missing for "), "{failure}");
    for hint in ["Only this host's own history could be searched", "--role restore"] {
        assert!(failure.hints.iter().any(|one| one.contains(hint)), "{hint}: {:?}", failure.hints);
    }
    // A full key can still be looked up where reading is allowed.
    assert_eq!(catalog.find(&shelf, &selector(MIDDLE)).unwrap().bytes, Some(6));
    assert_eq!(catalog.find(&shelf, &selector(NEW)).unwrap().rows(), Some(5_562));
    shelf.deny("s3:GetObject");
    let failure = catalog.find(&shelf, &selector(MIDDLE)).unwrap_err();
    assert_eq!(failure.kind, crate::error::Kind::Failed, "whether it is there is not known");
    assert!(failure.to_string().contains("permission s3:GetObject is missing"), "{failure}");
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
    assert!(catalog.backups[0].trouble.as_ref().unwrap().contains("belongs to"), "{:?}", catalog.backups[0].trouble);
    assert_eq!((catalog.backups[2].rows(), &catalog.backups[2].trouble), (None, &None));
    assert_eq!(read(&shelf, &[], 1).backups[1].rows(), None);

    shelf.calls.lock().unwrap().clear();
    assert_eq!(read(&shelf, &[made(MIDDLE), made(NEW)], 10).backups[1].rows(), Some(5_562));
    assert_eq!(shelf.calls.lock().unwrap().len(), 1, "one listing and nothing else");

    shelf.deny("s3:GetObject");
    let catalog = read(&shelf, &[], 10);
    assert!(catalog.backups.iter().filter(|backup| backup.trouble.is_some()).count() == 2);
}

#[test]
fn what_drills_have_left_beside_backups_is_read_where_nothing_is_remembered() {
    let shelf = Shelf::with(&[OLD, MIDDLE, NEW]);
    let keys = Keys::default();
    let read = |history: &[Entry], newest_only| {
        let mut catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), history, now()).unwrap();
        shelf.calls.lock().unwrap().clear();
        if newest_only {
            catalog.read_newest_drill(&shelf, &keys);
        } else {
            catalog.read_drills(&shelf, &keys, 10);
        }
        let calls = shelf.calls.lock().unwrap().len();
        (catalog.backups.iter().map(|backup| backup.verified.map(|one| one.good)).collect::<Vec<_>>(), calls)
    };
    assert_eq!(read(&[], false), (vec![None, None, None], 0));
    for (key, good) in [(NEW, false), (MIDDLE, true), (OLD, true)] {
        shelf.place(&format!("{key}.verified.json"), &drill(key, good).to_json().unwrap());
    }
    assert_eq!(read(&[], false), (vec![Some(false), Some(true), Some(true)], 3));
    // Nobody has signed them, so that none of them is a proof.
    assert_eq!(read(&[], true), (vec![Some(false), Some(true), Some(true)], 3));
    let here = Event::Verification(VerificationRecord {
        key: NEW.parse().unwrap(),
        depth: Depth::Restore,
        good: true,
        differences: Vec::new(),
    });
    let here = [Entry { at: now(), seconds: None, event: here }];
    assert_eq!(read(&here, true), (vec![Some(true), None, None], 0), "what is known here is not asked for");
    assert_eq!(read(&here, false), (vec![Some(true), Some(true), Some(true)], 2));

    // Of another object, of another backup, nothing at all.
    let other = Drill { bytes: Some(7), ..drill(NEW, true) };
    shelf.place(&format!("{NEW}.verified.json"), &other.to_json().unwrap());
    shelf.place(&format!("{MIDDLE}.verified.json"), &drill(OLD, true).to_json().unwrap());
    shelf.place(&format!("{OLD}.verified.json"), b"{");
    assert_eq!(read(&[], false), (vec![None, None, None], 3));
    shelf.deny("s3:GetObject");
    assert_eq!(read(&[], true).0, [None, None, None]);
}

#[test]
fn long_sidecars_are_read_and_those_that_would_fill_a_list_are_not_kept() {
    let (key, boastful) = ("postgres-prod-2023-04-03-11-00-04.tgz", "postgres-prod-2023-04-04-11-00-04.tgz");
    let shelf = Shelf::with(&[key, boastful]);
    let mut long = manifest(key);
    for number in 0..70_000 {
        long.fingerprint
            .tables
            .insert(format!("public.a_table_with_a_long_name_as_some_frameworks_make_them_{number}"), 1);
    }
    let text = long.to_json().unwrap();
    assert!(text.len() > 5 << 20, "longer than what is fetched at first: {}", text.len());
    shelf.place(&format!("{key}.manifest.json"), &text);
    let label = Some("x".repeat(1 << 20));
    let boasting = Manifest { label, ..manifest(boastful) };
    shelf.place(&format!("{boastful}.manifest.json"), &boasting.to_json().unwrap());
    let mut catalog = Catalog::read(&shelf, &"prod".parse().unwrap(), &[], now()).unwrap();
    catalog.read_sidecars(&shelf, 10);
    let of = |key: &str| catalog.backups.iter().find(|backup| backup.key.to_string() == key).unwrap();
    assert_eq!((of(key).tables(), of(key).rows()), (Some(70_002), Some(75_562)));
    assert!(of(key).manifest.as_ref().unwrap().is_brief());
    assert!(of(boastful).manifest.is_none());
    assert!(of(boastful).trouble.as_deref().unwrap().contains("more than 65536 bytes"), "{:?}", of(boastful).trouble);
}
