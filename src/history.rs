//! What was done to a service, on this host: the memory that `list`, `info`, `diff` and `status` use where the store may
//! not be listed (a role that may only write), and that says which backups were verified.
//!
//! One JSON line per run in `<data>/<service>/history.jsonl` (0600), appended and flushed. A line that a power cut left
//! half, or that a newer pgbackup wrote, is passed over and never stops a command. Bounded: the newest 1,000 backups,
//! copies and other lines stay, and what is still to be known of those backups; of very large manifests only the newest stay in full.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Locked};
use crate::manifest::Manifest;
use crate::store::key::BackupKey;
use crate::text::without_rows;

/// How many backups, and how many other lines, are remembered.
const KEPT: usize = 1_000;
/// How many lines more than that may gather before the file is written anew.
const SLACK: usize = 100;
/// Above this size the oldest manifests are dropped, their summaries stay: 1,000 manifests of 16 kB, or three of 50,000 tables.
const LARGEST: usize = 32 << 20;
/// How long an append waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A service's history on disk.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What it was.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen to a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A backup that the store has confirmed.
    Backup(Box<BackupRecord>),
    /// A backup that failed; nothing of it is in the store.
    BackupFailed {
        /// Where it was to go.
        destination: String,
        /// Why, as the user read it but for what was said of rows.
        error: String,
        /// Nothing was wrong with it: somebody, or the host going down, has ended it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// A restore that has been swapped in.
    Restore(RestoreRecord),
    /// A restore that was loaded beside the live database and waits for a decision.
    Staged {
        /// What was loaded: a key, a file, `standard input`.
        source: String,
    },
    /// What was staged was dropped.
    StagedDropped {
        /// What it was.
        source: String,
    },
    /// A restore that failed or was taken back; the database is as it was.
    RestoreFailed {
        /// What was to be restored: a key, a file, `standard input`.
        source: String,
        /// Why, as the user read it but for what was said of rows.
        error: String,
        /// Nothing was wrong with it: somebody, or the host going down, has ended it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// The database that the last restore replaced was put back.
    Rollback {
        /// What the restored database is called now, where it was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced: Option<String>,
    },
    /// What restores had replaced was dropped: they can't be undone any more.
    RollbackDiscarded {
        /// The bytes that became free.
        bytes: u64,
    },
    /// A restore drill, or the check of a whole object.
    Verification(VerificationRecord),
    /// A restore drill that could not be run, or not to its end: it says nothing about the backup.
    VerificationFailed {
        /// What was to be tried: a key, or `latest`.
        source: String,
        /// Why, as the user read it.
        error: String,
        /// Nothing was wrong: somebody, or the host going down, has ended it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        interrupted: bool,
    },
    /// A backup was deleted from the store.
    Deleted {
        /// Its key.
        key: BackupKey,
        /// Where it was.
        destination: String,
    },
    /// Somebody could not be told of an event; what happened, happened all the same.
    Untold {
        /// Who, without secrets.
        receiver: String,
        /// Of what: `backup-failed`.
        of: String,
        /// Why.
        error: String,
    },
    /// Backups that no rule kept were deleted; each of them has its own `deleted` before this.
    Pruned {
        /// Where they were.
        destination: String,
        /// How many went.
        deleted: u64,
        /// How many stay.
        kept: u64,
        /// Bytes of those that went.
        bytes: u64,
    },
    /// A backup was copied to the second destination, and what was read for it compared with its manifest.
    Copy(CopyRecord),
    /// A backup was to be copied, and that failed; it is as good as before.
    CopyFailed {
        /// Its key.
        key: BackupKey,
        /// Where it was to go.
        destination: String,
        /// Why, as the user read it but for what was said of rows.
        error: String,
        /// It can't be copied any more: it is no longer where it was saved.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lost: bool,
    },
    /// A scheduled run was due and did not begin.
    Missed {
        /// The schedule's name.
        schedule: String,
        /// What was to be done: `backup`.
        task: String,
        /// When.
        due: Timestamp,
        /// The same in a sentence.
        error: String,
    },
    /// After a backup older ones were to be pruned, and something stopped that.
    PruneFailed {
        /// Where they are.
        destination: String,
        /// Why, as the user read it but for what was said of rows.
        error: String,
    },
}

/// A backup that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// Its key.
    pub key: BackupKey,
    /// The destination as `Store::describe` says it; backups of an earlier destination are told apart by it.
    pub destination: String,
    /// Length of the object in bytes.
    pub bytes: u64,
    /// How the store confirmed it.
    pub confirmed_by: String,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows of all tables.
    pub rows: u64,
    /// What the user called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The whole manifest; of old backups with very large ones it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// A backup that lies in the second destination, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRecord {
    /// Its key, which both have.
    pub key: BackupKey,
    /// Where the copy lies, as `Store::describe` says it.
    pub destination: String,
    /// Length of the object in bytes.
    pub bytes: u64,
    /// How that store confirmed it.
    pub confirmed_by: String,
}

/// A restore that was swapped in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// What was restored: a key, a file, `standard input`.
    pub source: String,
    /// The backup of the state before, where one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<BackupKey>,
    /// What the replaced database is called now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Whether the comparison with the manifest found no difference; `None` when there was no manifest to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
}

/// A backup that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRecord {
    /// Its key.
    pub key: BackupKey,
    /// `restore` when it was loaded into a throw-away database, `read` when the whole object was read only.
    pub depth: Depth,
    /// Whether it was what its manifest says.
    pub good: bool,
    /// What was not, in words; the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// How deep a backup was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// The whole object was read and its checksum compared.
    Read,
    /// It was loaded into a throw-away database and compared there.
    Restore,
}

impl Entry {
    /// Something that ended now, after `seconds`.
    pub fn now(mut event: Event, seconds: Option<f64>) -> Self {
        // The run's log has all of it; the history is read by everybody who may ask for the service.
        if let Event::BackupFailed { error, .. } | Event::RestoreFailed { error, .. } = &mut event {
            *error = without_rows(error).into_owned();
        }
        Self { at: Timestamp::now(), seconds, event }
    }
}

impl BackupRecord {
    /// The record of a backup, from its finished manifest.
    pub fn new(manifest: Manifest, destination: String, bytes: u64, confirmed_by: String) -> Self {
        Self {
            key: manifest.key.clone(),
            destination,
            bytes,
            confirmed_by,
            tables: manifest.tables(),
            rows: manifest.rows(),
            label: manifest.label.clone(),
            manifest: Some(manifest),
        }
    }
}

impl History {
    /// The history of a service; `folder` is the service's own below the plugin's data (`…/data/pgbackup/<service>`).
    /// Nothing is made before the first line.
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join("history.jsonl") }
    }

    /// Where it lies, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line; when this returns it survives a power cut.
    ///
    /// # Errors
    /// When it can't be written. What it reports of has happened all the same: say both.
    pub fn append(&self, entry: &Entry) -> Result<()> {
        durable::make_folder(self.path.parent().unwrap_or(Path::new(".")), 0o700)?;
        let Locked::Ours(mut file) = durable::lock(&self.path, PATIENCE)? else {
            bail!("{} is held by another process", self.path.display())
        };
        let mut line = serde_json::to_vec(entry).context("writing the history")?;
        line.push(b'\n');
        let written = (|| {
            // A half line of a power cut is closed, so that this one stands alone.
            let length = file.seek(SeekFrom::End(0))?;
            if length > 0 && !ends_with_newline(&mut file)? {
                line.insert(0, b'\n');
            }
            file.seek(SeekFrom::End(0))?;
            file.write_all(&line)?;
            file.sync_all()
        })();
        written.with_context(|| format!("Can't write {}", self.path.display()))?;
        self.shorten(&mut file)
    }

    /// All lines that can be read, oldest first.
    ///
    /// # Errors
    /// When the file is there and can't be read at all.
    pub fn read(&self) -> Result<Vec<Entry>> {
        let text = durable::read(&self.path)?.unwrap_or_default();
        Ok(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Writes the file anew when it has grown past its bounds. The caller holds its lock.
    fn shorten(&self, file: &mut File) -> Result<()> {
        let mut text = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut text)).context("reading the history")?;
        let count = memchr::memchr_iter(b'\n', &text).count();
        if text.len() <= LARGEST && count <= 2 * KEPT + SLACK {
            return Ok(());
        }
        durable::write(&self.path, &shortened(&text, KEPT, LARGEST), 0o600)
    }
}

fn ends_with_newline(file: &mut File) -> std::io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Those other lines that say something of a backup that is kept: that its copy was deleted (else it would be copied again) and how it was
/// tried, and the last drill that has passed.
fn needed(lines: &[(&[u8], Option<Entry>)], kept: usize) -> HashSet<usize> {
    let mut gone: HashSet<(&BackupKey, &str)> = HashSet::new();
    let mut there: HashSet<&BackupKey> = HashSet::new();
    let newest_first =
        || lines.iter().enumerate().rev().filter_map(|(index, (_, entry))| Some((index, entry.as_ref()?)));
    for (_, entry) in newest_first() {
        match &entry.event {
            Event::Deleted { key, destination } => drop(gone.insert((key, destination))),
            Event::Backup(record) if there.len() < kept && !gone.contains(&(&record.key, &record.destination)) => {
                there.insert(&record.key);
            }
            _ => {}
        }
    }
    let mut said: HashSet<(&BackupKey, &str)> = HashSet::new();
    let mut tried: HashSet<(&BackupKey, Depth)> = HashSet::new();
    let mut has_passed = false;
    let mut needed = HashSet::new();
    for (index, entry) in newest_first() {
        let is_needed = match &entry.event {
            Event::Deleted { key, destination } => there.contains(key) && said.insert((key, destination)),
            Event::Verification(record) => {
                let passed = record.good && record.depth == Depth::Restore;
                let last_passed = passed && !has_passed;
                has_passed |= passed;
                (there.contains(&record.key) && tried.insert((&record.key, record.depth))) || last_passed
            }
            _ => false,
        };
        if is_needed {
            needed.insert(index);
        }
    }
    needed
}

/// The lines to keep: the newest `kept` backups and copies that are not deleted, the newest `kept` others, and of older ones what is
/// [`needed`]. Manifests are dropped
/// from the oldest on until all is at most `largest` long, but never the newest one.
fn shortened(text: &[u8], kept: usize, largest: usize) -> Vec<u8> {
    let lines: Vec<(&[u8], Option<Entry>)> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok())
        // What a newer pgbackup wrote is JSON that we can't sort: it counts among the others.
        .map(|line| (line, serde_json::from_slice(line).ok()))
        .collect();
    let needed = needed(&lines, kept);
    let mut deleted: HashSet<(BackupKey, String)> = HashSet::new();
    let (mut backups, mut copies, mut others) = (0, 0, 0);
    let mut newest_first: Vec<Vec<u8>> = Vec::new();
    let mut length = 0;
    for (index, (line, entry)) in lines.into_iter().enumerate().rev() {
        let mut text = line.to_vec();
        match entry.map(|entry| (entry.at, entry.seconds, entry.event)) {
            Some((at, seconds, Event::Backup(mut record))) => {
                if deleted.contains(&(record.key.clone(), record.destination.clone())) || backups == kept {
                    continue;
                }
                backups += 1;
                if backups > 1 && length + text.len() > largest && record.manifest.take().is_some() {
                    let entry = Entry { at, seconds, event: Event::Backup(record) };
                    if let Ok(shorter) = serde_json::to_vec(&entry) {
                        text = shorter;
                    }
                }
            }
            Some((_, _, Event::Copy(record))) => {
                if deleted.contains(&(record.key, record.destination)) || copies == kept {
                    continue;
                }
                copies += 1;
            }
            other => {
                if let Some((_, _, Event::Deleted { key, destination })) = other {
                    deleted.insert((key, destination));
                }
                if others < kept {
                    others += 1;
                } else if !needed.contains(&index) {
                    continue;
                }
            }
        }
        length += text.len() + 1;
        newest_first.push(text);
    }
    let mut shorter = Vec::with_capacity(length);
    for line in newest_first.iter().rev() {
        shorter.extend_from_slice(line);
        shorter.push(b'\n');
    }
    shorter
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::manifest::{DatabaseDescription, FORMAT, Fingerprint, Server};

    /// The manifest of a small backup, for tests.
    pub(crate) fn manifest(key: &str) -> Manifest {
        let key: BackupKey = key.parse().unwrap();
        Manifest {
            format: FORMAT,
            made_by: "pgbackup 0.1.0".into(),
            service: key.service().clone(),
            host: "dokku.example".into(),
            host_id: None,
            label: Some("before the release".into()),
            safety: false,
            incident: None,
            suspicious: None,
            failed_checks: 0,
            started: key.started(),
            snapshot: key.started(),
            server: Server {
                version: "15.18".into(),
                version_number: 150_018,
                image: "postgres:15.18".into(),
                linked_apps: vec!["web".into()],
                options: None,
            },
            database: DatabaseDescription {
                name: "prod".into(),
                owner: "postgres".into(),
                encoding: "UTF8".into(),
                locale_provider: "c".into(),
                collate: "en_US.utf8".into(),
                ctype: "en_US.utf8".into(),
                locale: None,
                icu_rules: None,
                connection_limit: -1,
                comment: None,
                statements: Vec::new(),
                roles: vec!["postgres".into()],
                bytes: 8_000_000,
            },
            fingerprint: Fingerprint {
                tables: [("public.sportfin_sportfinuser".to_owned(), 562), ("public.orders".to_owned(), 5_000)].into(),
                ..Fingerprint::default()
            },
            dump_bytes: 74_088,
            totals: None,
            object: None,
            signature: None,
            key,
        }
    }

    fn backup(second: i64) -> Entry {
        let key = BackupKey::new("prod".parse().unwrap(), Timestamp::from_second(second).unwrap(), false);
        let record = BackupRecord::new(manifest(&key.to_string()), "s3://bucket".into(), 1234, "1 part, CRC-32".into());
        Entry::now(Event::Backup(Box::new(record)), Some(1.5))
    }

    fn failure(text: &str) -> Entry {
        Entry::now(
            Event::BackupFailed { destination: "s3://bucket".into(), error: text.into(), interrupted: false },
            None,
        )
    }

    fn history() -> (tempfile::TempDir, History) {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(&folder.path().join("prod"));
        (folder, history)
    }

    #[test]
    fn remembers_in_order() {
        let (_folder, history) = history();
        assert_eq!(history.read().unwrap(), []);
        let key: BackupKey = "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap();
        let entries = [
            backup(1),
            failure("no space"),
            Entry::now(
                Event::Restore(RestoreRecord {
                    source: key.to_string(),
                    safety_backup: Some(key.clone()),
                    previous: Some("prod_old".into()),
                    matched: Some(true),
                }),
                Some(2.0),
            ),
            Entry::now(
                Event::RestoreFailed { source: "standard input".into(), error: "cut off".into(), interrupted: true },
                None,
            ),
            Entry::now(Event::Rollback { replaced: None }, None),
            Entry::now(
                Event::Verification(VerificationRecord {
                    key: key.clone(),
                    depth: Depth::Restore,
                    good: false,
                    differences: vec!["public.users: 562 expected, 0 found".into()],
                }),
                None,
            ),
            Entry::now(Event::Deleted { key, destination: "s3://bucket".into() }, None),
        ];
        for entry in &entries {
            history.append(entry).unwrap();
        }
        assert_eq!(history.read().unwrap(), entries);
        assert_eq!(std::fs::metadata(history.path()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_half_line_costs_only_itself() {
        let (_folder, history) = history();
        history.append(&failure("one")).unwrap();
        let mut file = File::options().append(true).open(history.path()).unwrap();
        file.write_all(b"{\"at\":\"2026-11-23T1").unwrap();
        history.append(&failure("two")).unwrap();
        let mut file = File::options().append(true).open(history.path()).unwrap();
        file.write_all(b"\xff\0{}\n{\"at\":\"2026-11-23T10:00:00Z\",\"event\":\"of-tomorrow\"}\n").unwrap();
        history.append(&failure("three")).unwrap();
        assert_eq!(history.read().unwrap().len(), 3);
    }

    #[test]
    fn stays_bounded_and_forgets_no_backup_for_failures() {
        let deleted = Entry::now(
            Event::Deleted {
                key: BackupKey::new("prod".parse().unwrap(), Timestamp::from_second(2).unwrap(), false),
                destination: "s3://bucket".into(),
            },
            None,
        );
        let mut entries = vec![backup(1), backup(2), backup(3), backup(4), deleted];
        entries.extend((0..10).map(|number| failure(&number.to_string())));
        let mut text: Vec<u8> = Vec::new();
        for entry in &entries {
            text.extend(serde_json::to_vec(entry).unwrap());
            text.push(b'\n');
        }
        let foreign = b"{\"event\":\"of-tomorrow\"}\n";
        text.extend(foreign);
        text.extend(b"{\"half");
        let shorter = shortened(&text, 2, usize::MAX);
        assert!(shorter.ends_with(foreign));
        let kept: Vec<Entry> =
            shorter.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(kept, [backup_at(&entries, 2), backup_at(&entries, 3), entries[14].clone()]);
        assert_eq!(shortened(&shorter, 2, usize::MAX), shorter, "a second time nothing changes");
        let deleted_one_gone = String::from_utf8(shortened(&text, 100, usize::MAX)).unwrap();
        assert_eq!(deleted_one_gone.matches("\"event\":\"backup\"").count(), 3);
    }

    #[test]
    fn what_is_still_to_be_known_of_a_backup_outlives_other_lines() {
        let key = |second| BackupKey::new("prod".parse().unwrap(), Timestamp::from_second(second).unwrap(), false);
        let deleted = |second, destination: &str| {
            Entry::now(Event::Deleted { key: key(second), destination: destination.into() }, None)
        };
        let tried = |second, depth, good| {
            let record = VerificationRecord { key: key(second), depth, good, differences: Vec::new() };
            Entry::now(Event::Verification(record), None)
        };
        let needed = [
            backup(2),
            deleted(2, "s3://copies"),
            tried(2, Depth::Restore, false),
            tried(2, Depth::Read, true),
            tried(1, Depth::Restore, true),
        ];
        let unneeded = [
            backup(1),
            tried(1, Depth::Restore, true),
            tried(2, Depth::Restore, true),
            tried(1, Depth::Read, false),
            deleted(1, "s3://copies"),
            deleted(1, "s3://bucket"),
        ];
        let others = [failure("one"), failure("two")];
        let all = [&unneeded, needed.as_slice(), &others].concat();
        let mut text = Vec::new();
        for entry in &all {
            text.extend(serde_json::to_vec(entry).unwrap());
            text.push(b'\n');
        }
        let shorter = shortened(&text, 2, usize::MAX);
        let kept: Vec<Entry> =
            shorter.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(kept, [&needed, others.as_slice()].concat());
        assert_eq!(shortened(&shorter, 2, usize::MAX), shorter);
    }

    fn backup_at(entries: &[Entry], index: usize) -> Entry {
        entries[index].clone()
    }

    #[test]
    fn old_manifests_go_before_their_backups() {
        let mut text = Vec::new();
        for second in 1..=5 {
            text.extend(serde_json::to_vec(&backup(second)).unwrap());
            text.push(b'\n');
        }
        let one = text.len() / 5;
        let shorter = shortened(&text, 100, one * 2 + 10);
        let with_manifest: Vec<bool> = shorter
            .split(|b| *b == b'\n')
            .filter_map(|line| serde_json::from_slice::<Entry>(line).ok())
            .map(|entry| matches!(entry.event, Event::Backup(record) if record.manifest.is_some()))
            .collect();
        assert_eq!(with_manifest, [false, false, false, true, true]);
    }

    #[test]
    fn the_file_itself_is_shortened() {
        let (_folder, history) = history();
        history.append(&backup(1)).unwrap();
        let mut file = File::options().append(true).open(history.path()).unwrap();
        let line = serde_json::to_string(&failure("again and again")).unwrap();
        file.write_all(format!("{line}\n").repeat(2 * KEPT).as_bytes()).unwrap();
        history.append(&backup(2)).unwrap();
        let entries = history.read().unwrap();
        assert_eq!(entries.len(), 2 * KEPT + 2, "below the bound");
        file.write_all(format!("{line}\n").repeat(SLACK).as_bytes()).unwrap();
        history.append(&backup(3)).unwrap();
        let entries = history.read().unwrap();
        assert_eq!(entries.len(), KEPT + 3);
        assert!(matches!(entries[0].event, Event::Backup(_)));
        history.append(&failure("last")).unwrap();
        assert_eq!(history.read().unwrap().len(), KEPT + 4);
    }
}
