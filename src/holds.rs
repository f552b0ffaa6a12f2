//! What the user has said shall stay: a whole service during an incident, single backups for good; and which suspicious
//! backups are right after all.
//!
//! One small file per service on this host, `<data>/<service>/holds.json`. It lies here and not in the bucket so that a role that may only
//! write can hold, too; another host that saves into the same place doesn't know of it, and never deletes this host's backups anyway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::store::key::BackupKey;

/// All that is held of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// The incident, while there is one: nothing at all is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Hold>,
    /// Single backups, by key.
    #[serde(default)]
    pub backups: BTreeMap<String, Hold>,
    /// Suspicious backups that were looked at and found right, by key.
    #[serde(default)]
    pub released: BTreeMap<String, Timestamp>,
}

/// Since when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was said.
    pub since: Timestamp,
    /// The user's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Holds {
    /// Reads them; `folder` is the service's own below the plugin's data. None are held before the first is written.
    ///
    /// # Errors
    /// When the file is there and can't be read: nobody may take that for "nothing is held".
    pub fn read(folder: &Path) -> Result<Self> {
        let path = path(folder);
        let Some(text) = durable::read(&path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&text).with_context(|| format!("What is held can't be read from {}", path.display()))
    }

    /// Writes them.
    ///
    /// # Errors
    /// When the folder can't be made or is full; what was held before still is.
    pub fn write(&self, folder: &Path) -> Result<()> {
        durable::make_folder(folder, 0o700)?;
        durable::write(&path(folder), &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// Whether this backup is held by itself.
    pub fn holds(&self, key: &BackupKey) -> bool {
        self.backups.contains_key(&key.to_string())
    }

    /// Whether the user has said that this suspicious backup is right.
    pub fn has_released(&self, key: &BackupKey) -> bool {
        self.released.contains_key(&key.to_string())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("holds.json")
}

impl Hold {
    /// `since 2026-11-23T14:00:04Z: the accident of this morning`.
    pub fn describe(&self) -> String {
        let since = self.since.strftime("since %Y-%m-%dT%H:%M:%SZ");
        match &self.reason {
            Some(reason) => format!("{since}: {reason}"),
            None => since.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_and_a_broken_file_is_no_release() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("prod");
        assert_eq!(Holds::read(&folder).unwrap(), Holds::default());
        let key: BackupKey = "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap();
        let since = "2023-04-03T12:00:00Z".parse().unwrap();
        let mut holds = Holds { service: Some(Hold { since, reason: None }), ..Holds::default() };
        holds.backups.insert(key.to_string(), Hold { since, reason: Some("the last of 2022".into()) });
        holds.write(&folder).unwrap();
        let read = Holds::read(&folder).unwrap();
        assert_eq!(read, holds);
        assert!(read.holds(&key) && !read.has_released(&key));
        assert_eq!(read.backups.values().next().unwrap().describe(), "since 2023-04-03T12:00:00Z: the last of 2022");
        std::fs::write(path(&folder), "{").unwrap();
        assert!(Holds::read(&folder).is_err());
    }
}
