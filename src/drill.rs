//! What came out of the last drill of a backup, beside it in the store: `<key>.verified.json`.
//!
//! The history of the host that ran the drill says the same and more; this one is for all others that read the same place, also when that host
//! is gone. It names no table and says nothing of what is in the backup, so that it may lie beside an encrypted one. It is signed like the
//! manifest and says which object was tried: what took that object's place later was not.

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, Signature};
use crate::store::key::BackupKey;
use crate::store::{self, Store, StoreError};

/// The format this code writes.
pub const FORMAT: u32 = 1;
/// What is larger is not read: ours take less than one KiB.
const LARGEST: u64 = 64 << 10;

/// The result of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// The version of this structure.
    pub format: u32,
    /// "pgbackup 0.1.0".
    pub made_by: String,
    /// The backup that was tried.
    pub key: BackupKey,
    /// When the drill ended.
    pub at: Timestamp,
    /// Whether it was what was saved.
    pub good: bool,
    /// How much differs; what differs is told on the host that found it.
    pub differences: u64,
    /// How many single values were compared.
    pub compared: u64,
    /// Length of the object that was tried, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Its SHA-256 behind the head, as in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256_behind_head: Option<String>,
    /// Name of the Dokku host that ran it; not beside an encrypted backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The same for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

impl Drill {
    /// Whether the object that was tried is the one that is there now, as far as length and manifest tell.
    pub fn is_of(&self, bytes: Option<u64>, manifest: Option<&Manifest>) -> bool {
        let object = manifest.and_then(|manifest| manifest.object.as_ref());
        let same_length = self.bytes.zip(bytes).is_none_or(|(tried, there)| tried == there);
        let digests = self.sha256_behind_head.as_ref().zip(object.map(|object| &object.sha256_behind_head));
        same_length && digests.is_none_or(|(tried, there)| tried == there)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is not one, was written by a newer pgbackup, or does not belong to the key it was found under.
    pub fn parse(text: &[u8], found_under: &BackupKey) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_slice(text).context("it is not the result of a drill")?;
        if version.format > FORMAT {
            bail!("it has format {}, which a newer pgbackup wrote; update the plugin to read it", version.format);
        }
        let mut drill: Self = serde_json::from_slice(text).context("the result of the drill can't be read")?;
        if drill.key != *found_under {
            bail!("it belongs to {}, not to {found_under}", drill.key);
        }
        if let Some(signature) = &mut drill.signature {
            signature.over = Some(Manifest::digest(text)?);
        }
        Ok(drill)
    }

    /// The text that is stored.
    ///
    /// # Errors
    /// Practically never: all keys are text.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).context("writing the result of a drill")?;
        text.push(b'\n');
        Ok(text)
    }
}

/// What lies beside a backup, as it lies there; `None` when nothing does.
///
/// # Errors
/// See [`StoreError`].
pub fn bytes(store: &dyn Store, key: &BackupKey) -> Result<Option<Vec<u8>>, StoreError> {
    store::read_small(store, &key.drill(), LARGEST)
}

/// Reads what lies beside a backup; `None` when nothing does.
///
/// # Errors
/// When the store fails, or it is something else.
pub fn read(store: &dyn Store, key: &BackupKey) -> Result<Option<Drill>> {
    let Some(text) = bytes(store, key)? else { return Ok(None) };
    Drill::parse(&text, key).map(Some).map_err(|error| anyhow!("{}: {error:#}", key.drill()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::tests::manifest;
    use crate::manifest::Object;

    /// The result of a drill of a backup, for tests.
    pub(crate) fn drill(key: &str, good: bool) -> Drill {
        Drill {
            format: FORMAT,
            made_by: "pgbackup 0.1.0".into(),
            key: key.parse().unwrap(),
            at: "2026-11-24T03:00:00Z".parse().unwrap(),
            good,
            differences: u64::from(!good),
            compared: 91,
            bytes: Some(6),
            sha256_behind_head: None,
            host: Some("dokku.example".into()),
            host_id: None,
            signature: None,
        }
    }

    const KEY: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    #[test]
    fn is_of_one_object_and_no_other() {
        let object = Object {
            bytes: 6,
            head_bytes: 0,
            sha256_behind_head: "ff".into(),
            finished: Timestamp::UNIX_EPOCH,
            proof: None,
        };
        let manifest = Manifest { object: Some(object), ..manifest(KEY) };
        let tried = Drill { sha256_behind_head: Some("ff".into()), ..drill(KEY, true) };
        assert!(tried.is_of(Some(6), Some(&manifest)) && tried.is_of(None, None));
        assert!(!tried.is_of(Some(7), Some(&manifest)));
        let other = Drill { sha256_behind_head: Some("00".into()), ..tried };
        assert!(!other.is_of(Some(6), Some(&manifest)) && other.is_of(Some(6), None));
    }

    #[test]
    fn what_is_read_is_what_was_written_and_nothing_else() {
        let key = KEY.parse().unwrap();
        let text = drill(KEY, false).to_json().unwrap();
        assert_eq!(Drill::parse(&text, &key).unwrap(), drill(KEY, false));
        let text = String::from_utf8(text).unwrap();
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        let other = text.replace("04.tgz", "05.tgz");
        let manifest = String::from_utf8(manifest(KEY).to_json().unwrap()).unwrap();
        for bad in ["", "[]", "{}", &newer, &other, &manifest, &"[".repeat(100_000)] {
            assert!(Drill::parse(bad.as_bytes(), &key).is_err(), "{bad:.60}");
        }
        let more = text.replace("\"good\"", "\"of-tomorrow\": [1], \"good\"");
        assert!(Drill::parse(more.as_bytes(), &key).is_ok());
    }
}
