//! What a backup says of itself: format 1 of the manifest, in the archive (`backup/manifest.json`) and beside it (the sidecar).
//!
//! Everything in it was read in the same database snapshot as the dump, so that a restore can be compared *exactly*.
//! The sidecar is the same text plus what is only known at the end: the object's size and digest. Beside an encrypted object it is
//! [brief](Manifest::brief): the names of tables and roles are nobody's business who can't decrypt the backup. Readers take unknown
//! fields for granted (a newer pgbackup may have written them) and refuse a newer `format`.

pub mod checks;
pub mod schema;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checksum::Ranges;
use crate::manifest::checks::{Name as CheckName, Recorded};
use crate::manifest::schema::Schema;
use crate::service::name::ServiceName;
use crate::service::options::CreateOptions;
use crate::store::key::BackupKey;
use crate::text::count;

/// The format this code writes.
pub const FORMAT: u32 = 1;
/// A manifest larger than this is not read: 50,000 tables with long names need about 10 MB.
pub const LARGEST: u64 = 64 << 20;
/// Nor is one of more values: each takes far more memory than the two bytes that it may have in the text. 300,000 tables need as many.
const MOST_VALUES: usize = 2 << 20;

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
    /// Taken while the user held the service's backups because of an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// Tables that have lost many of their rows since an earlier backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicious: Option<Suspicion>,
    /// How many of the user's checks failed or could not be asked when it was made; which ones stands in `fingerprint.checks`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failed_checks: u64,
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
    /// What stands in place of the names that a [brief](Manifest::brief) one leaves out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The finished object; only the sidecar has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// Who vouches for all this; only the sidecar has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A signature of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The id of the key.
    pub key: String,
    /// The signature (Ed25519) in hex.
    pub value: String,
    /// The [digest](Manifest::digest) of the text that this was read from. A manifest that this host remembers has none.
    #[serde(skip)]
    pub over: Option<[u8; 32]>,
}

/// What the user said of an incident when they held the backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When that was.
    pub since: Timestamp,
    /// Their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a backup that is good in itself may not be the one to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The backup whose rows were compared.
    pub compared_with: BackupKey,
    /// Each table that lost more than the property `suspicious-drop` allows, the greatest loss first.
    pub tables: Vec<Loss>,
}

/// Tables that a sentence about a suspicious backup names.
pub const LOSSES_SHOWN: usize = 10;

impl Suspicion {
    /// What was lost, the greatest losses first: `public.users: 562 rows then, 0 now; and 3 more tables`.
    pub fn in_one_line(&self) -> String {
        let mut lost: Vec<String> = self.tables.iter().take(LOSSES_SHOWN).map(Loss::to_string).collect();
        let more = self.tables.len().saturating_sub(LOSSES_SHOWN);
        lost.extend((more > 0).then(|| format!("and {}", count(more as u64, "more table"))));
        lost.join("; ")
    }
}

/// A table that has lost rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Its name.
    pub table: String,
    /// Rows in the earlier backup.
    pub before: u64,
    /// Rows in this one; absent when there is no such table any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<u64>,
}

/// `public.users: 562 rows then, 0 now`.
impl fmt::Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.now.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
        write!(out, "{}: {} rows then, {now} now", self.table, self.before)
    }
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
    /// What the service was made with; absent when nothing special was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<CreateOptions>,
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
    /// The schema, object by object. Only the manifest in the archive has it: nobody asks for it without reading the archive, and
    /// sidecars and histories stay small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// A checksum of the rows of each table, in whatever order they stand ([`Sum`](crate::checksum::Sum)); only with `fingerprint` set to `content`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, String>,
    /// The same of the bytes of large objects, by oid or, where there are many, by range of oids. Only the manifest in the archive has it.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub large_object_contents: Ranges,
    /// The user's own checks, with what they were answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checks: BTreeMap<CheckName, Recorded>,
}

/// The state of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// `last_value`.
    pub value: i64,
    /// `is_called`.
    pub called: bool,
}

/// How much a backup holds, without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of tables.
    pub tables: u64,
    /// Number of rows of all tables.
    pub rows: u64,
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
    /// What proves the object while it is being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// The running SHA-256 of everything behind the head, every so many bytes: a reader can hold back what is not proven yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// SHA-256 (hex) of the head.
    pub sha256_head: String,
    /// Bytes between two marks.
    pub step: u64,
    /// SHA-256 (hex) from behind the head to each mark.
    pub marks: Vec<String>,
}

/// Refuses a text of more than [`MOST_VALUES`] values before memory is taken for them.
fn refuse_crowded(text: &[u8]) -> Result<()> {
    let (mut values, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    if values > MOST_VALUES {
        bail!("the manifest holds more than {MOST_VALUES} values");
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

/// A digest as text.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of a fixed length from their hexadecimal digits.
pub fn unhex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
    if digits.len() == LENGTH * 2 { bytes.try_into().ok() } else { None }
}

impl Fingerprint {
    /// Rows of all tables together.
    pub fn rows(&self) -> u64 {
        self.tables.values().fold(0, |sum, rows| sum.saturating_add(*rows))
    }

    /// What of it stands beside the archive as well: not what only who reads the archive asks for.
    #[must_use]
    pub fn beside(self) -> Self {
        Self { schema: None, large_object_contents: Ranges::default(), ..self }
    }
}

impl Manifest {
    /// What anyone may read: key, times, sizes, the object's digest, the server's version and what a new database needs to be
    /// like. Everything that has a name, or was written by the user, is left out and stands inside the encrypted object alone.
    #[must_use]
    pub fn brief(&self) -> Self {
        let totals = Totals { tables: self.tables(), rows: self.rows() };
        let database = &self.database;
        Self {
            host: String::new(),
            label: None,
            server: Server { image: String::new(), linked_apps: Vec::new(), options: None, ..self.server.clone() },
            database: DatabaseDescription {
                name: String::new(),
                owner: String::new(),
                connection_limit: -1,
                comment: None,
                statements: Vec::new(),
                roles: Vec::new(),
                ..database.clone()
            },
            fingerprint: Fingerprint::default(),
            incident: self.incident.clone().map(|incident| Incident { reason: None, ..incident }),
            suspicious: self.suspicious.clone().map(|suspicion| Suspicion { tables: Vec::new(), ..suspicion }),
            totals: Some(totals),
            ..self.clone()
        }
    }

    /// What a list of very many needs of each: no names and no counts of single tables, only their totals.
    #[must_use]
    pub fn outline(self) -> Self {
        let totals = Totals { tables: self.tables(), rows: self.rows() };
        Self {
            database: DatabaseDescription { statements: Vec::new(), roles: Vec::new(), ..self.database },
            fingerprint: Fingerprint::default(),
            suspicious: self.suspicious.map(|suspicion| Suspicion { tables: Vec::new(), ..suspicion }),
            totals: Some(totals),
            ..self
        }
    }

    /// Whether `beside`, found beside the object, tells the same as this one, found in the archive.
    pub fn is_described_by(&self, beside: &Self) -> bool {
        if beside.is_brief() {
            Self { object: beside.object.clone(), signature: beside.signature.clone(), ..self.brief() } == *beside
        } else {
            self.snapshot == beside.snapshot && self.fingerprint.clone().beside() == beside.fingerprint.clone().beside()
        }
    }

    /// Whether it is a [brief](Self::brief) one, which holds no counts of single tables.
    pub fn is_brief(&self) -> bool {
        self.totals.is_some()
    }

    /// Whether what it saved looks wrong: a table lost many of its rows, or a check of the user's failed.
    pub fn is_suspicious(&self) -> bool {
        self.suspicious.is_some() || self.failed_checks > 0
    }

    /// Number of tables.
    pub fn tables(&self) -> u64 {
        self.totals.map_or(self.fingerprint.tables.len() as u64, |totals| totals.tables)
    }

    /// Number of rows of all tables.
    pub fn rows(&self) -> u64 {
        self.totals.map_or_else(|| self.fingerprint.rows(), |totals| totals.rows)
    }

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
        refuse_crowded(text)?;
        let version: Version = serde_json::from_slice(text).context("it is not a manifest")?;
        if version.format > FORMAT {
            bail!(
                "the manifest has format {}, which a newer pgbackup wrote; update the plugin to read it",
                version.format
            );
        }
        let mut manifest: Self = serde_json::from_slice(text).context("the manifest can't be read")?;
        if let Some(signature) = &mut manifest.signature {
            signature.over = Some(Self::digest(text)?);
        }
        if let Some(found_under) = found_under.filter(|key| **key != manifest.key) {
            bail!("the manifest belongs to {}, not to {found_under}", manifest.key);
        }
        Ok(manifest)
    }

    /// What is signed of a sidecar's text: the SHA-256 of its JSON without the signature, without blanks and with the names in each object
    /// sorted. So formatting is no change, and fields that only a newer pgbackup knows are covered.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn digest(text: &[u8]) -> Result<[u8; 32]> {
        refuse_crowded(text)?;
        let mut value: serde_json::Value = serde_json::from_slice(text).context("it is not a manifest")?;
        value.as_object_mut().context("it is not a manifest")?.remove("signature");
        value.sort_all_objects();
        Ok(Sha256::digest(serde_json::to_vec(&value).context("writing the manifest")?).into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::manifest;
    use crate::manifest::schema::READING;

    const KEY: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    #[test]
    fn a_text_of_more_values_than_a_manifest_has_is_refused_before_they_are_taken() {
        let crowded = |values: usize| format!("{{\"format\":1,\"of-tomorrow\":[{}0]}}", "0,".repeat(values));
        for refused in [
            Manifest::digest(crowded(MOST_VALUES).as_bytes()).unwrap_err(),
            Manifest::parse(crowded(MOST_VALUES).as_bytes(), None).unwrap_err(),
        ] {
            assert!(refused.to_string().contains("more than 2097152 values"), "{refused}");
        }
        assert!(Manifest::digest(crowded(MOST_VALUES - 3).as_bytes()).is_ok());
        // What looks like values within a text is none.
        let text = format!("{{\"format\":1,\"label\":\"\\\"{}\"}}", ",".repeat(MOST_VALUES + 1));
        assert!(Manifest::digest(text.as_bytes()).is_ok());
    }

    #[test]
    fn very_many_tables_and_the_largest_schema_are_read() {
        let mut large = manifest(KEY);
        let name = |number: u64| format!("public.a_table_with_a_long_name_as_some_frameworks_make_them_{number:06}");
        for number in 0..50_000 {
            large.fingerprint.tables.insert(name(number), number);
            large.fingerprint.contents.insert(name(number), format!("{number:032x}"));
            large.fingerprint.sequences.insert(name(number), Sequence { value: 1, called: true });
        }
        let objects = (0..100_000).map(|number| (format!("column {}", name(number)), "text, NOT NULL".to_owned()));
        large.fingerprint.schema =
            Some(Schema { reading: READING, objects: objects.collect(), digests: BTreeMap::new() });
        let text = large.to_json().unwrap();
        assert!(text.len() > 25 << 20, "{}", text.len());
        assert!(Manifest::parse(&text, None).unwrap() == large);
        assert!(Manifest::digest(&text).is_ok());
    }
}
