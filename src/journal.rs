//! The journal of a restore or rollback: that one is under way, and which apps it has put into maintenance.
//!
//! What became of the databases is told by the databases themselves: their marks are set and their names exchanged in the same
//! transactions, so they can't disagree with the server after `kill -9` or a power cut. The journal keeps only what the server can't
//! know. One JSON file per service, replaced as a whole and flushed *before* the step that it announces; it is removed when
//! the work has ended, well or not. A journal that can't be read is an error and never "nothing to do".

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::durable::{self, Locked};
use crate::error::Failure;
use crate::lock::Owner;
use crate::service::name::ServiceName;

/// The format this code writes.
const FORMAT: u32 = 1;
/// How long another process may be at the file.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service's journal on disk.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

/// A restore or rollback under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The version of this structure.
    pub format: u32,
    /// The service whose database is to be replaced.
    pub service: ServiceName,
    /// What it is to be replaced with: a key, a file, `standard input`.
    pub source: String,
    /// When this began.
    pub started: Timestamp,
    /// The process that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Apps that this has put, or is about to put, into maintenance, to be lifted again.
    #[serde(default)]
    pub lift_maintenance: Vec<String>,
}

impl State {
    /// Work that begins now.
    pub fn new(service: ServiceName, source: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            service,
            source: source.into(),
            started: Timestamp::now(),
            owner: Owner::ourselves("restore").ok(),
            lift_maintenance: Vec::new(),
        }
    }

    /// Whether nobody is at it any more.
    pub fn interrupted(&self) -> bool {
        !self.owner.as_ref().is_some_and(Owner::lives)
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

    /// The journal of a service to be looked at: nothing is made where there is none.
    pub fn at(folder: &Path) -> Self {
        Self { path: folder.join("restore.json") }
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
        let _alone = self.alone();
        self.put(state)
    }

    fn put(&self, state: &State) -> Result<(), Failure> {
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

    /// An app is called otherwise now, or another one was made of it (`stays`): Dokku copies its folder, and with it the maintenance mode
    /// that is to be lifted.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub fn follow(&self, app: &str, new: &str, stays: bool) -> Result<(), Failure> {
        if !self.path.exists() {
            return Ok(());
        }
        let _alone = self.alone();
        let Some(mut state) = self.read()? else { return Ok(()) };
        let apps = &mut state.lift_maintenance;
        let Some(at) = apps.iter().position(|other| other == app) else { return Ok(()) };
        if !stays {
            apps.remove(at);
        }
        apps.push(new.to_owned());
        self.put(&state)
    }

    /// One who changes it at a time: `apps:rename` may come in the middle of a restore. It is no reason to wait long, or to do nothing.
    fn alone(&self) -> Option<Locked> {
        durable::lock(&self.path.with_extension("lock"), PATIENCE).ok()
    }

    /// Ends it: nothing is under way and nothing is kept.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn clear(&self) -> Result<(), Failure> {
        let _alone = self.alone();
        durable::remove(&self.path)
            .map(drop)
            .map_err(|error| Failure::failed("The restore's journal can't be removed").because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("prod")).unwrap();
        assert_eq!(journal.read().unwrap(), None);
        let mut state = State::new("prod".parse().unwrap(), "standard input");
        for apps in [vec![], vec!["web".to_owned()]] {
            state.lift_maintenance = apps;
            journal.write(&state).unwrap();
            assert_eq!(journal.read().unwrap().as_ref(), Some(&state));
        }
        journal.clear().unwrap();
        journal.clear().unwrap();
        assert_eq!(journal.read().unwrap(), None);
    }

    #[test]
    fn goes_with_apps_that_are_renamed_or_cloned() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        journal.follow("web", "site", false).unwrap();
        assert_eq!(journal.read().unwrap(), None);
        let mut state = State::new("prod".parse().unwrap(), "standard input");
        state.lift_maintenance = vec!["web".to_owned(), "worker".to_owned()];
        journal.write(&state).unwrap();
        for (app, new, stays, apps) in [
            ("other", "another", false, &["web", "worker"][..]),
            ("web", "site", false, &["worker", "site"]),
            ("site", "copy", true, &["worker", "site", "copy"]),
        ] {
            journal.follow(app, new, stays).unwrap();
            let now = journal.read().unwrap().unwrap();
            assert_eq!(now.lift_maintenance, apps);
            assert_eq!(now.owner, state.owner);
        }
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
    fn an_interrupted_restore_is_told_from_one_that_goes_on() {
        let mut state = State::new("prod".parse().unwrap(), "standard input");
        assert!(!state.interrupted());
        state.owner = None;
        assert!(state.interrupted());
    }
}
