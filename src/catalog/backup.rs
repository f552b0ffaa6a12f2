//! One backup, put together from what the store lists, what lies beside it, and what this host remembers.

use anyhow::Result;
use jiff::Timestamp;

use super::sidecars;
use crate::drill;
use crate::history::{BackupRecord, Depth};
use crate::manifest::Manifest;
use crate::signing::{Keys, Standing};
use crate::store::Store;
use crate::store::key::BackupKey;

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
    /// Whether the result of a drill lies beside it; `None` when the store could not be listed.
    pub drill: Option<bool>,
    /// What this host remembers of making it.
    pub record: Option<BackupRecord>,
    /// The last time it was tried on this host; else, once that was read, what lies beside it says.
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
    /// Whether this host did it, or another one whose key it knows: only then anything is decided by it.
    pub proven: bool,
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
    pub(super) fn new(key: BackupKey) -> Self {
        Self {
            key,
            bytes: None,
            stored: None,
            class: None,
            sidecar: None,
            drill: None,
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
        match self.verified.filter(|verified| verified.proven) {
            Some(verified) => verified.good,
            None => self.maker() == Maker::Pgbackup,
        }
    }

    /// Whether a drill elsewhere has nothing to add: one was done here, or it was found bad.
    fn is_decided(&self) -> bool {
        self.verified.is_some_and(|verified| !verified.good || verified.depth == Depth::Restore)
    }

    /// Whether the result of a drill lies beside it that may say more than is known here.
    pub(super) fn has_drill_to_read(&self) -> bool {
        self.drill == Some(true) && !self.is_decided()
    }

    /// Reads the result of the drill that lies beside it, where this host has done none. One of another object, or that somebody may have
    /// put there, says nothing.
    ///
    /// # Errors
    /// When the store fails, or it is no such result.
    pub fn read_drill(&mut self, store: &dyn Store, keys: &Keys) -> Result<()> {
        // Where it could not be listed, it may still be there to be read: a full key was given.
        let may_be_there = self.drill.unwrap_or(self.record.is_none());
        if self.is_decided() || !may_be_there {
            return Ok(());
        }
        let Some(drill) = drill::read(store, &self.key)? else { return Ok(()) };
        if !drill.is_of(self.bytes, self.manifest.as_ref()) {
            return Ok(());
        }
        let proven = match keys.judge_drill(&drill) {
            Standing::Signed(_) => true,
            Standing::Unsigned | Standing::Unknown(_) => false,
            Standing::Refused(_) => return Ok(()),
        };
        // What somebody may have put there takes nothing from what was read here.
        if !proven && self.verified.is_some() {
            return Ok(());
        }
        self.verified = Some(Verified { at: drill.at, depth: Depth::Restore, good: drill.good, proven });
        Ok(())
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
            self.manifest = sidecars::read(store, &self.key)?;
        }
        Ok(self.manifest.as_ref())
    }
}
