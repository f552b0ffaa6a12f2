//! What a backup asks of those before it, read out of the history once: that may hold a thousand manifests, which must not stay in
//! memory while the database is dumped.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use jiff::Timestamp;

use crate::commands::context::Context;
use crate::history::{Event, History};
use crate::holds::Holds;
use crate::manifest::Manifest;
use crate::service::name::ServiceName;

/// The backups before this one.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Seconds that name one.
    seconds: HashSet<i64>,
    /// Length of the newest one.
    bytes: Option<u64>,
    /// Of each database the newest one that is right: rows are missing when they were there then.
    right: BTreeMap<String, Manifest>,
}

impl Past {
    /// Reads it. A history that can't be read is no reason to go without a backup.
    ///
    /// # Errors
    /// When the holds can't be read: they say which losses were meant.
    pub(super) fn of(context: &Context, service: &ServiceName) -> Result<Self> {
        let folder = context.environment.data_folder().join(service.as_str());
        let holds = Holds::read(&folder)?;
        let mut past = Self::default();
        for entry in History::of(&folder).read().unwrap_or_default() {
            let Event::Backup(record) = entry.event else { continue };
            if record.key.service() == service {
                past.seconds.insert(record.key.started().as_second());
                past.bytes = Some(record.bytes);
            }
            let Some(manifest) = record.manifest.filter(|manifest| !manifest.safety) else { continue };
            if manifest.suspicious.is_none() || holds.has_released(&manifest.key) {
                past.right.insert(manifest.database.name.clone(), manifest);
            }
        }
        Ok(past)
    }

    /// Whether another backup has this second in its name.
    pub(super) fn has(&self, moment: Timestamp) -> bool {
        self.seconds.contains(&moment.as_second())
    }

    /// About how many bytes the next one will be: as many as the last one and some, else a third of the tables.
    pub(super) fn expected_bytes(&self, tables: u64) -> u64 {
        self.bytes.map_or(tables / 3, |last| last.saturating_add(last / 4))
    }

    /// The newest backup of a database that is not suspicious itself, or that the user has released: so each one is suspicious until
    /// the rows are back or the user says that they were meant to go.
    pub(super) fn right(&self, database: &str) -> Option<&Manifest> {
        self.right.get(database)
    }
}
