//! The restore's journal: what has been done to a service's databases, so that the next command can finish it or undo it
//! after `kill -9` or a power cut.
//!
//! One JSON file per service, replaced as a whole and flushed *before* the step that it announces. A phase therefore says
//! "this step may have been taken": whoever reads it looks at the server to see whether it was. A journal that can't be
//! read is an error and never "nothing to do".

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::Failure;
use crate::lock::Owner;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;

/// The format this code writes.
const FORMAT: u32 = 1;

/// A service's journal on disk.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

/// What a restore has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version of this structure; a newer one is refused.
    pub format: u32,
    /// The restore's id, part of the names of its databases.
    pub run: String,
    /// The service that is restored *into*.
    pub service: ServiceName,
    /// What is restored, in words for messages: a key, a file, `standard input`.
    pub source: String,
    /// The backup's key, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupKey>,
    /// When the restore began.
    pub started: Timestamp,
    /// The process that works on it, to tell an interrupted restore from one that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The backup that was taken of the state before, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<BackupKey>,
    /// Apps that were *not* in maintenance before and are to be taken out of it again.
    #[serde(default)]
    pub lift_maintenance: Vec<String>,
    /// How far it is.
    pub phase: Phase,
}

/// The steps of a restore, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// `staging` may exist, half loaded; the live database is untouched. Undo: drop it.
    Staging {
        /// The database that is loaded.
        staging: String,
    },
    /// `staging` is loaded and was compared; it waits for the swap, or for `restore:commit` / `restore:abort`.
    Staged {
        /// The loaded database.
        staging: String,
        /// Whether the comparison found no difference.
        verified: bool,
        /// Whether it was asked to stop here (`--stage-only`): then it is not unfinished but waiting.
        waiting: bool,
    },
    /// Connections may be barred and the two names may have been swapped. Finish or undo: see which of `staging` and
    /// `previous` exists (the renames are one transaction), then open the live database again.
    Swapping {
        /// The name that apps use.
        live: String,
        /// What is to become it.
        staging: String,
        /// What the live database is to be called.
        previous: String,
    },
    /// The live name is the restored database; `previous` is kept for `rollback`. Only maintenance may be left to lift.
    Swapped {
        /// The name that apps use.
        live: String,
        /// The replaced database.
        previous: String,
        /// When it was swapped.
        at: Timestamp,
        /// Until when `previous` is kept; `None`: until it is discarded by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_until: Option<Timestamp>,
    },
    /// A rollback may have been taken: the same swap the other way round.
    RollingBack {
        /// The name that apps use.
        live: String,
        /// What is to become it again.
        previous: String,
        /// What the live database is to be called.
        replaced: String,
    },
}

impl State {
    /// A restore that begins now.
    pub fn new(run: impl Into<String>, service: ServiceName, source: impl Into<String>, phase: Phase) -> Self {
        Self {
            format: FORMAT,
            run: run.into(),
            service,
            source: source.into(),
            backup: None,
            started: Timestamp::now(),
            owner: Owner::ourselves("restore").ok(),
            safety_backup: None,
            lift_maintenance: Vec::new(),
            phase,
        }
    }

    /// Whether its process is gone before it came to an end: something must be finished or undone.
    pub fn interrupted(&self) -> bool {
        let ended = match self.phase {
            Phase::Staged { waiting, .. } => waiting,
            Phase::Swapped { .. } => true,
            Phase::Staging { .. } | Phase::Swapping { .. } | Phase::RollingBack { .. } => false,
        };
        (!ended || !self.lift_maintenance.is_empty()) && !self.owner.as_ref().is_some_and(Owner::lives)
    }
}

impl Journal {
    /// The journal of a service; `folder` is the service's own below the plugin's data (`…/data/pgbackup/<service>`).
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        durable::make_folder(folder, 0o700).map_err(|error| {
            Failure::failed("The restore's journal can't be kept")
                .because(error)
                .hint("Its folder must be writable for the user dokku")
        })?;
        Ok(Self { path: folder.join("restore.json") })
    }

    /// Where it lies, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records a state; when this returns it survives a power cut.
    ///
    /// # Errors
    /// When it can't be written: the step it announces must not be taken then.
    pub fn write(&self, state: &State) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(state)
            .map_err(|error| Failure::failed("The restore's journal can't be written").because(error))?;
        text.push(b'\n');
        durable::write(&self.path, &text, 0o600).map_err(|error| {
            Failure::failed("The restore's journal can't be written").because(error).hint(format!(
                "Look at the space left with: df -h {}",
                self.path.parent().unwrap_or(&self.path).display()
            ))
        })
    }

    /// What was recorded last; `None` when nothing is under way or kept.
    ///
    /// # Errors
    /// When there is a journal that can't be read or that a newer pgbackup wrote.
    pub fn read(&self) -> Result<Option<State>, Failure> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unreadable = |error: anyhow::Error| {
            Failure::failed("The restore's journal can't be read, so it is not known what an earlier restore has done")
                .because(error)
                .hint(format!("Look at it: {}", self.path.display()))
                .hint("Without it the databases of the service must be looked at by hand before it is removed")
        };
        let Some(text) = durable::read(&self.path).map_err(unreadable)? else { return Ok(None) };
        let version: Version = serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))?;
        if version.format > FORMAT {
            return Err(Failure::failed(format!(
                "The restore's journal has format {}, which a newer pgbackup wrote",
                version.format
            ))
            .hint("Update the plugin with: dokku plugin:update pgbackup"));
        }
        serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(error.into()))
    }

    /// Ends it: nothing is under way and nothing is kept.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        durable::remove(&self.path)
            .map(drop)
            .map_err(|error| Failure::failed("The restore's journal can't be removed").because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase) -> State {
        let mut state = State::new("a1b2c3", "prod".parse().unwrap(), "standard input", phase);
        state.lift_maintenance = vec!["web".into()];
        state.backup = Some("postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap());
        state
    }

    #[test]
    fn keeps_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("prod")).unwrap();
        assert_eq!(journal.read().unwrap(), None);
        let (live, staging, previous) = ("prod".to_owned(), "prod_new".to_owned(), "prod_old".to_owned());
        for phase in [
            Phase::Staging { staging: staging.clone() },
            Phase::Staged { staging: staging.clone(), verified: true, waiting: false },
            Phase::Swapping { live: live.clone(), staging, previous: previous.clone() },
            Phase::Swapped {
                live: live.clone(),
                previous: previous.clone(),
                at: Timestamp::UNIX_EPOCH,
                keep_until: None,
            },
            Phase::RollingBack { live, previous, replaced: "prod_failed".into() },
        ] {
            let state = state(phase);
            journal.write(&state).unwrap();
            assert_eq!(journal.read().unwrap(), Some(state));
        }
        assert_eq!(Journal::open(&folder.path().join("prod")).unwrap().read().unwrap().unwrap().run, "a1b2c3");
        journal.clear().unwrap();
        journal.clear().unwrap();
        assert_eq!(journal.read().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_never_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        for text in ["", "{", "{\"format\":1}", "{\"format\":2,\"new\":true}"] {
            std::fs::write(journal.path(), text).unwrap();
            assert!(journal.read().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_interrupted_restore_is_told_from_one_that_waits_or_goes_on() {
        let staging = Phase::Staging { staging: "x".into() };
        let mut going_on = state(staging);
        assert!(!going_on.interrupted());
        going_on.owner = None;
        assert!(going_on.interrupted());
        let mut waiting = state(Phase::Staged { staging: "x".into(), verified: true, waiting: true });
        waiting.owner = None;
        assert!(waiting.interrupted(), "maintenance is still to be lifted");
        waiting.lift_maintenance.clear();
        assert!(!waiting.interrupted());
    }
}
