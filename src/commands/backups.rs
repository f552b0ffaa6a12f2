//! What the commands that read backups have in common: the catalog of a service, and finding the one that is meant, in the service's own
//! destination or in another one.

use std::collections::{BTreeSet, HashSet};

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::catalog::{Backup, Catalog, Maker};
use crate::commands::Context;
use crate::commands::arguments::Elsewhere;
use crate::commands::copying::hint_of_the_copy;
use crate::commands::finishing;
use crate::copies::Copies;
use crate::dokku::properties::Subject;
use crate::error::{Failure, Kind};
use crate::history::{Entry, Event, History};
use crate::holds::Holds;
use crate::manifest::Manifest;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::Settings;
use crate::signing::{Keys, Standing};
use crate::store::Store;
use crate::store::destination::Destination;
use crate::store::key::{self, BackupKey};

/// Services that an error names.
const NAMED: usize = 12;

/// The backups of a service: what the store lists and what this host remembers.
///
/// # Errors
/// When the history or the store can't be read.
pub fn catalog(service: &ServiceName, store: &dyn Store, context: &Context) -> Result<Catalog> {
    Place { store, service: service.clone(), elsewhere: false }.catalog(context)
}

/// Finds the one backup that is meant. How it was chosen is told where the user didn't give its key.
///
/// # Errors
/// When there is none, or more than one; or when the store fails.
pub fn find(
    selector: &Selector,
    service: &ServiceName,
    store: &dyn Store,
    context: &Context,
) -> Result<(Catalog, Backup)> {
    Place { store, service: service.clone(), elsewhere: false }.find(selector, context)
}

/// The newest of the regular backups that this host has made and not deleted, where it is suspicious and nobody has released it.
pub fn doubted<'a>(entries: &'a [Entry], holds: &Holds) -> Option<&'a Manifest> {
    let deleted: HashSet<(&BackupKey, &str)> = entries
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Deleted { key, destination } => Some((key, destination.as_str())),
            _ => None,
        })
        .collect();
    let regular = |entry: &'a Entry| match &entry.event {
        Event::Backup(record) if !deleted.contains(&(&record.key, record.destination.as_str())) => {
            record.manifest.as_ref().filter(|manifest| !manifest.safety)
        }
        _ => None,
    };
    let newest = entries.iter().rev().find_map(regular)?;
    (newest.is_suspicious() && !holds.has_released(&newest.key)).then_some(newest)
}

/// Which backups lie in the second destination, as this host remembers it; `None` where none is set.
pub fn copies(service: &ServiceName, context: &Context) -> Option<Copies> {
    let settings = context.settings(service).ok()?;
    let (first, second) = (settings.destination?, settings.copy?.destination);
    let entries = history(service, context).read().ok()?;
    Some(Copies::of(&entries, &first.to_string(), &second.to_string()))
}

/// Who vouches for a backup; `None` where that can't be told because its description was not read.
pub fn standing(backup: &Backup, keys: &Keys) -> Option<Standing> {
    let unread = backup.manifest.is_none() && (backup.trouble.is_some() || backup.maker() != Maker::DokkuPostgres);
    (!unread).then(|| keys.judge(&backup.key, backup.manifest.as_ref(), backup.is_remembered()))
}

/// The history of a service on this host.
pub fn history(service: &ServiceName, context: &Context) -> History {
    History::of(&context.environment.data_folder().join(service.as_str()))
}

/// Where backups are looked for, and whose.
pub struct Place<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// Whose backups; elsewhere it may be a service that this host doesn't have.
    pub service: ServiceName,
    /// It is not the service's own destination: what this host remembers says nothing of what is there.
    pub elsewhere: bool,
}

impl<'a> Place<'a> {
    /// What the arguments mean: elsewhere a full key says itself whose it is.
    pub fn of(store: &'a dyn Store, named: &ServiceName, elsewhere: &Elsewhere, selector: Option<&Selector>) -> Self {
        let service = if elsewhere.from.is_some() {
            let of_key = || Some(selector?.key()?.service().clone());
            elsewhere.source.clone().or_else(of_key).unwrap_or_else(|| named.clone())
        } else {
            named.clone()
        };
        Self { store, service, elsewhere: elsewhere.from.is_some() }
    }

    /// The backups that are there.
    ///
    /// # Errors
    /// When the history or the store can't be read.
    pub fn catalog(&self, context: &Context) -> Result<Catalog> {
        let mut history = if self.elsewhere { Vec::new() } else { history(&self.service, context).read()? };
        if !self.elsewhere {
            history.extend(finishing::in_full(context, &self.service, self.store));
        }
        Ok(Catalog::read(self.store, &self.service, &history, context.now())?)
    }

    /// Finds the one backup that is meant. How it was chosen is told where the user didn't give its key.
    ///
    /// # Errors
    /// When there is none, or more than one; or when the store fails.
    pub fn find(&self, selector: &Selector, context: &Context) -> Result<(Catalog, Backup)> {
        let catalog = self.catalog(context)?;
        let backup = self.choose(selector, &catalog)?;
        if selector.key().is_none() {
            let chosen = selector.describe();
            context.ui.detail(format!("{} is {}", chosen.replacen("the ", "The ", 1), backup.key));
        }
        Ok((catalog, backup))
    }

    /// The one backup of a catalog that is meant.
    ///
    /// # Errors
    /// When there is none, or more than one; or when the store fails.
    pub fn choose(&self, selector: &Selector, catalog: &Catalog) -> Result<Backup, Failure> {
        catalog.find(self.store, selector).map_err(|failure| self.no_such(failure, catalog))
    }

    /// Elsewhere nobody can take a backup now, and a name that was remembered wrongly is the likeliest reason that there is none.
    fn no_such(&self, mut failure: Failure, catalog: &Catalog) -> Failure {
        if self.elsewhere && failure.kind == Kind::NoSuchBackup && catalog.backups.is_empty() {
            failure.hints = match &catalog.not_listed {
                Some(reason) => {
                    vec![
                        format!("The backups there can't be listed: {reason}"),
                        "Give the full key of the one that is meant".to_owned(),
                    ]
                }
                None => self.others(),
            };
        }
        failure
    }

    /// Whose backups there are, as hints.
    pub fn others(&self) -> Vec<String> {
        let objects = self.store.list(key::PREFIX).unwrap_or_default();
        let services: BTreeSet<String> = objects
            .iter()
            .filter_map(|object| Some(object.name.parse::<BackupKey>().ok()?.service().to_string()))
            .collect();
        if services.is_empty() {
            return vec!["There is no backup of any service; look at the bucket and the prefix".to_owned()];
        }
        let mut shown = services.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if let Some(rest) = services.len().checked_sub(NAMED).filter(|rest| *rest > 0) {
            shown = format!("{shown} and {rest} more");
        }
        vec![format!("There are backups of: {shown}"), "Name the one that is meant with --service NAME".to_owned()]
    }
}

/// Opens the store that the arguments mean: the service's own, or another one with this host's keys (those of the service, if it exists).
///
/// # Errors
/// When there is no such service or destination, or the keys that the settings call for are not there.
pub fn open(context: &Context, service: &ServiceName, elsewhere: &Elsewhere) -> Result<Box<dyn Store>> {
    let Some(destination) = &elsewhere.from else {
        return context.store(&Service::find(&context.environment.lib_root, service)?);
    };
    if let Destination::S3 { prefix, .. } = destination
        && let Some(key) = prefix.rsplit('/').next().filter(|name| name.parse::<BackupKey>().is_ok())
    {
        let place = destination.to_string();
        let place = place.strip_suffix(key).unwrap_or(&place).trim_end_matches('/');
        return Err(Failure::usage(format!("{destination} is a backup and not a place of backups"))
            .hint(format!("Give both: {key} --from {place}"))
            .into());
    }
    let found = Service::find(&context.environment.lib_root, service).ok();
    context.store_elsewhere(destination, service, found.as_ref())
}

/// Says of another destination that can't be read what to type on this host.
pub fn explain(error: anyhow::Error, context: &Context, service: &ServiceName, elsewhere: &Elsewhere) -> anyhow::Error {
    let Some(destination) = &elsewhere.from else { return error };
    let mut failure = Failure::from_error(error);
    let exists = Service::find(&context.environment.lib_root, service).is_ok();
    let subject = if exists { Subject::Service(service.clone()) } else { Subject::Global };
    let is_denied = failure.to_string().contains("permission s3:");
    // It is of the place that is set.
    failure.hints.retain(|hint| !hint.contains("iam-policy"));
    let of_store = is_denied || failure.hints.iter().any(|hint| hint.contains("<service>"));
    let settings = Settings::resolve(&context.properties(), &subject).ok();
    // The place of the copies is opened with what is set for them.
    let is_copy = settings.as_ref().is_some_and(|settings| settings.is_copied_to(destination));
    for hint in &mut failure.hints {
        *hint = hint.replace("dokku pgbackup:set <service> destination ", "--from ");
        if is_copy {
            *hint = hint_of_the_copy(hint);
        }
        *hint = hint.replace("<service>", &subject.to_string());
    }
    if !of_store || failure.kind != Kind::Failed || !matches!(destination, Destination::S3 { .. }) {
        return failure.into();
    }
    if is_denied {
        let switch = if is_copy { " --copy" } else { "" };
        failure = failure.hint(format!("Other keys are set with: dokku pgbackup:auth {subject} ACCESS_KEY_ID{switch}"));
    }
    let endpoint = settings.is_some_and(|settings| settings.endpoint_url.is_some());
    if !endpoint && !exists && !is_copy {
        failure = failure
            .hint("A store other than AWS needs its address: dokku pgbackup:set --global endpoint-url https://HOST");
    }
    failure.into()
}
