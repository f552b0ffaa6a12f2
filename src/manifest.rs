//! What a backup says of itself: format 1 of the manifest, in the archive (`backup/manifest.json`) and beside it (the sidecar).
//!
//! Everything in it was read in the same database snapshot as the dump, so that a restore can be compared *exactly*.
//! The sidecar is the same text plus what is only known at the end: the object's size and digest. Readers take unknown
//! fields for granted (a newer pgbackup may have written them) and refuse a newer `format`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::service::name::ServiceName;
use crate::store::key::BackupKey;

/// The format this code writes.
pub const FORMAT: u32 = 1;
/// A manifest larger than this is not read: 50,000 tables with long names need about 10 MB.
pub const LARGEST: u64 = 64 << 20;

/// A backup's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this structure.
    pub format: u32,
    /// "pgbackup 0.1.0".
    pub made_by: String,
    /// The backup's key, without prefix.
    pub key: BackupKey,
    /// The dokku-postgres service.
    pub service: ServiceName,
    /// Name of the Dokku host that made it.
    pub host: String,
    /// The same for programs: chosen at random once, so that two hosts of one name are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// What the user called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Taken by a restore of the state that it was about to replace: `latest` doesn't mean such a one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub safety: bool,
    /// When the run began (UTC); the key carries the same second.
    pub started: Timestamp,
    /// When the snapshot was taken: the state of the database that this backup holds.
    pub snapshot: Timestamp,
    /// The server the dump was made on.
    pub server: Server,
    /// The database that was dumped.
    pub database: DatabaseDescription,
    /// What a restore is compared with.
    pub fingerprint: Fingerprint,
    /// Bytes of the dump (`backup/export`).
    pub dump_bytes: u64,
    /// The finished object; only the sidecar has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
}

/// The PostgreSQL server and the service around it: what a new host needs to make the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// "15.18".
    pub version: String,
    /// `server_version_num`: 150018.
    pub version_number: i32,
    /// The service's image with its tag ("postgres:15.18").
    pub image: String,
    /// Apps that were linked.
    #[serde(default)]
    pub linked_apps: Vec<String>,
}

/// What `CREATE DATABASE` and the statements after it need; pg_restore does not bring these back into another database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDescription {
    /// The database's name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Encoding ("UTF8").
    pub encoding: String,
    /// `c` libc, `i` ICU, `b` builtin (PostgreSQL 17).
    pub locale_provider: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Locale of the ICU or builtin provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// ICU rules (PostgreSQL 16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// `-1` for no limit.
    pub connection_limit: i32,
    /// The comment on the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Statements that bring back grants and settings of the database, with `%DATABASE%` in place of its quoted name.
    #[serde(default)]
    pub statements: Vec<String>,
    /// Roles that own or may use something in it, so that they can be made (without login) where they are missing.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Size on disk in bytes (`pg_database_size`).
    pub bytes: u64,
}

/// What is compared after a restore. Names are qualified and quoted as PostgreSQL does it (`public.users`, `"Odd"."x y"`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Exact number of rows of each table that holds rows of its own (partitions count by themselves, their parents don't).
    pub tables: BTreeMap<String, u64>,
    /// Sequences: last value, and whether it was given out.
    #[serde(default)]
    pub sequences: BTreeMap<String, Sequence>,
    /// Number of large objects.
    #[serde(default)]
    pub large_objects: u64,
    /// Extensions and their versions.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// How many objects of each kind there are ("index", "constraint", "view", "function", "trigger", "policy", "type" …).
    #[serde(default)]
    pub objects: BTreeMap<String, u64>,
}

/// The state of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// `last_value`.
    pub value: i64,
    /// `is_called`.
    pub called: bool,
}

/// The finished object in its store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Length in bytes.
    pub bytes: u64,
    /// Length of the head: the tar header of `backup/export` as a gzip member of its own. It is known last and stands first,
    /// so the digest can only be taken of what is behind it (`tail -c +536 FILE | sha256sum`); the head follows from `dump_bytes`.
    pub head_bytes: u64,
    /// SHA-256 (hex) of everything behind the head.
    pub sha256_behind_head: String,
    /// When the store confirmed it.
    pub finished: Timestamp,
}

/// A digest as text.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Fingerprint {
    /// Rows of all tables together.
    pub fn rows(&self) -> u64 {
        self.tables.values().fold(0, |sum, rows| sum.saturating_add(*rows))
    }
}

impl Manifest {
    /// Reads a manifest or sidecar.
    ///
    /// # Errors
    /// When it is not JSON, not of a format this code knows, or does not belong to the key it was found under.
    pub fn parse(text: &[u8], found_under: Option<&BackupKey>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        if text.len() as u64 > LARGEST {
            bail!("the manifest is larger than {LARGEST} bytes");
        }
        let version: Version = serde_json::from_slice(text).context("it is not a manifest")?;
        if version.format > FORMAT {
            bail!(
                "the manifest has format {}, which a newer pgbackup wrote; update the plugin to read it",
                version.format
            );
        }
        let manifest: Self = serde_json::from_slice(text).context("the manifest can't be read")?;
        if let Some(found_under) = found_under.filter(|key| **key != manifest.key) {
            bail!("the manifest belongs to {}, not to {found_under}", manifest.key);
        }
        Ok(manifest)
    }

    /// The text that is stored.
    ///
    /// # Errors
    /// Practically never: all keys are text.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).context("writing the manifest")?;
        text.push(b'\n');
        Ok(text)
    }
}
