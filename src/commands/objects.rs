//! Objects that are asked for by a name of their own, or in an earlier version.
//!
//! Newer generations of dokku-postgres save under a name that the user chose, with or without a time in it, and leave it to the bucket's
//! versions to keep the older ones. Such a name doesn't say whose backup it is: what decides is the database that is dumped in it.

use std::io::Read as _;

use anyhow::Result;
use jiff::Timestamp;

use crate::catalog::store_failure;
use crate::commands::Context;
use crate::commands::arguments::Elsewhere;
use crate::error::{Failure, Kind};
use crate::manifest::{LARGEST, Manifest};
use crate::service::Service;
use crate::service::arrangement::ObjectName;
use crate::service::name::ServiceName;
use crate::signing::{Keys, Standing};
use crate::store::destination::Destination;
use crate::store::key::BackupKey;
use crate::store::{ObjectInfo, Store, StoreError, Version, VersionId};
use crate::text::printable;

/// How many versions of a description are read at most: it is written once, but somebody may have put others over it.
const DESCRIPTIONS: usize = 20;
/// What the names of such objects end with.
const ENDINGS: [&str; 2] = [".tgz", ".tgz.gpg"];

/// An object that is there.
pub struct Named {
    /// The store, at the folder that the object lies in.
    pub store: Box<dyn Store>,
    /// Whose backup it is to be.
    pub service: ServiceName,
    /// What the store says of it; its name is without a folder.
    pub object: ObjectInfo,
    /// Which version is meant, where it isn't the present one.
    pub version: Option<VersionId>,
    /// Its description, where one was found that a key of this host has signed.
    pub manifest: Option<Manifest>,
    /// It is not the service's own destination.
    pub elsewhere: bool,
    /// As the user calls it: with its folder, seen from the destination.
    name: String,
}

/// No such object, as far as one may look.
#[derive(Debug)]
pub struct Unseen(Option<(String, StoreError)>);

impl Unseen {
    /// Of a word that fits no backup either, and that could be the name of an object which may not be looked at: what is missing, and not that
    /// there is none.
    pub fn explain(self, error: anyhow::Error) -> anyhow::Error {
        let none = error.downcast_ref::<Failure>().filter(|failure| failure.kind == Kind::NoSuchBackup);
        match (self.0, none) {
            (Some((text, denied)), Some(none)) => {
                let mut failure = store_failure(format!("{} can't be looked up", printable(&text)), denied);
                let own = std::mem::take(&mut failure.hints);
                failure.hints.extend(none.hints.iter().filter(|hint| !own.contains(hint)).cloned());
                failure.hints.extend(own);
                failure.into()
            }
            _ => error,
        }
    }
}

/// A word of the command line that could be one.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The word.
    pub text: Option<&'a str>,
    /// The version that is asked for.
    pub version: Option<&'a VersionId>,
}

impl Named {
    /// What to call it in sentences.
    pub fn describe(&self) -> String {
        match &self.version {
            None => self.name.clone(),
            Some(version) => format!("{} (version {version})", self.name),
        }
    }

    /// Whether its name says that it is encrypted.
    pub fn encrypted(&self) -> bool {
        self.name.ends_with(".gpg")
    }

    /// The key that it would have as a backup of that service, by its name or by when it was stored.
    pub fn key(&self, now: Timestamp) -> BackupKey {
        let stored = || BackupKey::new(self.service.clone(), self.object.modified.unwrap_or(now), self.encrypted());
        self.object.name.parse().unwrap_or_else(|_| stored())
    }

    /// Begins to read it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(&self) -> Result<Box<dyn std::io::Read + Send>, StoreError> {
        match &self.version {
            None => self.store.open(&self.object.name),
            Some(version) => self.store.open_version(&self.object.name, version),
        }
    }

    /// Looks for the description that lay beside an earlier version: signed with a key that is known, and of an object of just this length.
    /// Whoever reads the object proves the rest. What can't be found or read vouches for nothing, and is no error.
    pub fn find_description(&mut self, keys: &Keys) {
        let (Some(_), Ok(key)) = (&self.version, self.object.name.parse::<BackupKey>()) else { return };
        let sidecar = key.sidecar();
        let mut versions = self.store.versions(&sidecar).unwrap_or_default();
        versions.retain(|version| version.object.name == sidecar && !version.deleted);
        versions.sort_by_key(|version| std::cmp::Reverse(version.object.modified));
        self.manifest = versions.iter().take(DESCRIPTIONS).find_map(|version| {
            let mut text = Vec::new();
            let reader = self.store.open_version(&sidecar, &version.id).ok()?;
            reader.take(LARGEST + 1).read_to_end(&mut text).ok()?;
            let manifest = Manifest::parse(&text, Some(&key)).ok()?;
            let fits = manifest.object.as_ref().is_some_and(|object| object.bytes == self.object.bytes);
            let signed = matches!(keys.judge(&key, Some(&manifest), false), Standing::Signed(_));
            (fits && signed).then_some(manifest)
        });
    }

    /// The object that is asked for, if it is one of these: a name that is no backup's key and that an object has, or any name with a version.
    /// Another destination is opened with the keys of `host`.
    ///
    /// # Errors
    /// When a version is asked for that doesn't exist or is another service's; or when the store fails.
    pub fn find(
        context: &Context,
        service: &ServiceName,
        host: &ServiceName,
        elsewhere: &Elsewhere,
        asked: Asked,
    ) -> Result<Result<Self, Unseen>> {
        let Some(text) = asked.text.map(str::trim) else { return Ok(Err(Unseen(None))) };
        let last = text.rsplit('/').next().unwrap_or_default();
        let key: Option<BackupKey> = last.parse().ok();
        if !ENDINGS.iter().any(|ending| last.ends_with(ending)) {
            return match asked.version {
                None => Ok(Err(Unseen(None))),
                Some(_) => Err(Failure::usage("A version is one of a single object: give its full name")
                    .hint(format!("See names and versions with: dokku pgbackup:list {service} --versions"))
                    .into()),
            };
        }
        if key.is_some() && asked.version.is_none() {
            return Ok(Err(Unseen(None)));
        }
        let whose = match (&elsewhere.from, &elsewhere.source, &key) {
            (Some(_), Some(source), _) => source.clone(),
            (Some(_), None, Some(key)) => key.service().clone(),
            _ => service.clone(),
        };
        if let Some(key) = key.filter(|key| *key.service() != whose) {
            let message = format!("{key} is a backup of the service {}, not of {whose}", key.service());
            return Err(Failure::new(Kind::NoSuchBackup, message).into());
        }
        let (store, folder, name) = open(context, host, elsewhere, text)?;
        let found = match asked.version {
            None => store.head(&name),
            Some(version) => store.head_version(&name, version),
        };
        let named = |object| Self {
            store,
            service: whose.clone(),
            object,
            version: asked.version.cloned(),
            manifest: None,
            elsewhere: elsewhere.from.is_some(),
            name: if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") },
        };
        match (found, asked.version) {
            (Ok(object), _) => Ok(Ok(named(object))),
            (Err(StoreError::NotFound { .. }), None) => Ok(Err(Unseen(None))),
            // Without the right to list, S3 says "denied" of objects that don't exist as well: it may be a part of a key.
            (Err(denied @ StoreError::Denied { .. }), None) => Ok(Err(Unseen(Some((text.to_owned(), denied))))),
            (Err(error @ StoreError::NotFound { .. }), Some(_)) => {
                Err(Failure::new(Kind::NoSuchBackup, error.to_string())
                    .hint(format!("See the versions with: dokku pgbackup:list {service} --versions"))
                    .into())
            }
            (Err(error), _) => Err(store_failure(format!("{text} can't be looked up"), error).into()),
        }
    }
}

/// The store at the folder of an object, that folder as seen from the destination, and the object's name in it.
fn open(
    context: &Context,
    host: &ServiceName,
    elsewhere: &Elsewhere,
    text: &str,
) -> Result<(Box<dyn Store>, String, String)> {
    let found = Service::find(&context.environment.lib_root, host);
    let destination = match &elsewhere.from {
        Some(destination) => destination.clone(),
        None => context.settings(host)?.destination(host)?.clone(),
    };
    let relative = if text.contains("://") {
        let base = format!("{destination}/");
        text.strip_prefix(&base).ok_or_else(|| {
            Failure::usage(format!("{text} does not lie in {destination}"))
                .hint("Say where it lies with --from, and give its name in there")
        })?
    } else {
        text
    };
    let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    let place: Destination = if folder.is_empty() {
        destination
    } else {
        format!("{destination}/{folder}").parse().map_err(|error| Failure::usage(format!("{text}: {error}")))?
    };
    let store = match &elsewhere.from {
        Some(_) => context.store_elsewhere(&place, host, found.ok().as_ref())?,
        None => context.store_at(&place, &found?)?,
    };
    Ok((store, folder.to_owned(), name.to_owned()))
}

/// One that dokku-postgres has saved under a name of its own, as `list` shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name, with the folder, seen from the destination.
    pub name: String,
    /// When it began where the name says it, else when it was stored.
    pub started: Timestamp,
    /// What the store says.
    pub object: ObjectInfo,
}

/// What dokku-postgres has saved for a service under the name that its settings give, newest first; nothing where they give none.
///
/// # Errors
/// When the settings can't be read, or the store fails.
pub fn listed(context: &Context, service: &Service) -> Result<Vec<Listed>> {
    let Some(wanted) = ObjectName::of(&service.name, &context.environment.lib_root)? else { return Ok(Vec::new()) };
    let elsewhere = Elsewhere::default();
    let (store, folder, base) = open(context, &service.name, &elsewhere, &wanted.base)?;
    let objects = match store.list(&base) {
        Ok(objects) => objects,
        // That is said of the others already.
        Err(StoreError::Denied { .. }) => return Ok(Vec::new()),
        Err(error) => {
            let what = format!("What dokku-postgres saves as {} can't be listed", wanted.base);
            return Err(store_failure(what, error).into());
        }
    };
    let mut found: Vec<Listed> = objects
        .into_iter()
        .filter_map(|object| {
            // One of the usual names is listed among the others.
            if object.name.parse::<BackupKey>().is_ok_and(|key| *key.service() == service.name) {
                return None;
            }
            let time = ObjectName { base: base.clone(), ..wanted }.reads(&object.name)?;
            let name = if folder.is_empty() { object.name.clone() } else { format!("{folder}/{}", object.name) };
            let started = time.or(object.modified).unwrap_or_default();
            Some(Listed { name, started, object })
        })
        .collect();
    found.sort_by(|a, b| (b.started, &b.name).cmp(&(a.started, &a.name)));
    Ok(found)
}

/// All versions of a service's backups, the newest first: of those with the usual names, of those that dokku-postgres's settings name; or of
/// the one object that is asked for.
///
/// # Errors
/// When the store keeps no versions, or fails.
pub fn versions(
    context: &Context,
    host: &ServiceName,
    whose: &ServiceName,
    elsewhere: &Elsewhere,
    asked: Option<&str>,
) -> Result<Vec<(String, Version)>> {
    let mut found = Vec::new();
    let mut look = |text: &str, wanted: &dyn Fn(&str, &str) -> bool| -> Result<()> {
        let (store, folder, start) = open(context, host, elsewhere, text)?;
        let versions = store.versions(&start).map_err(|error| store_failure("The versions can't be listed", error))?;
        for version in versions.into_iter().filter(|version| wanted(&start, &version.object.name)) {
            let name = &version.object.name;
            found.push((if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") }, version));
        }
        Ok(())
    };
    if let Some(asked) = asked {
        look(asked, &|start, name| name == start)?;
    } else {
        let is_theirs = |name: &str| name.parse::<BackupKey>().is_ok_and(|key| key.service() == whose);
        look(&BackupKey::common_prefix(whose), &|_, name| is_theirs(name))?;
        let of_settings =
            if elsewhere.from.is_some() { None } else { ObjectName::of(whose, &context.environment.lib_root)? };
        if let Some(wanted) = of_settings {
            let reads = |base: &str, name: &str| {
                !is_theirs(name) && ObjectName { base: base.to_owned(), ..wanted }.reads(name).is_some()
            };
            look(&wanted.base, &reads)?;
        }
    }
    found.sort_by(|(name_a, a), (name_b, b)| {
        (b.object.modified, b.present, name_b).cmp(&(a.object.modified, a.present, name_a))
    });
    Ok(found)
}
