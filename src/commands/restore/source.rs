//! Where a backup's bytes come from: a store, a file, standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};

use crate::archive::encryption::{self, Secrets, Seen};
use crate::archive::proof::{Expected, Proven};
use crate::archive::{Transfer, peek};
use crate::catalog::Backup;
use crate::catalog::selector::Selector;
use crate::commands::arguments::{Chosen, Trust};
use crate::commands::backups::{self, Place};
use crate::commands::context::Context;
use crate::commands::encryption::unlock::explain;
use crate::commands::objects::{Asked, Named};
use crate::commands::renewal;
use crate::custom_format::Toc;
use crate::error::Failure;
use crate::interrupt::Awaited;
use crate::manifest::{Manifest, Object, unhex};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::signing::{Keys, Standing};
use crate::store::key::BackupKey;
use crate::store::link::{InvalidLink, Link};
use crate::store::s3::open_link;
use crate::store::{Store, StoreError, VersionId, Whereabouts};
use crate::ui::Metered;

/// What every gzip stream begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How much of the beginning tells what it is: the first line of an armor, at most.
const BEGINNING: usize = 32;
/// What is read at most before anybody wants to see how far it is.
const LOOKED_AT: u64 = 64 << 10;

/// A backup that was chosen.
pub enum Source {
    /// One that a store keeps.
    Stored {
        /// The store.
        store: Rc<dyn Store>,
        /// What is known of it.
        backup: Box<Backup>,
        /// It is not the service's own destination.
        elsewhere: bool,
        /// Who vouches for it.
        standing: Standing,
    },
    /// An object with a name of its own, or an earlier version: that it is the service's, only its dump can say.
    Object(Box<Named>),
    /// A file on this host.
    File(PathBuf),
    /// An object that a presigned link opens.
    Link(Link),
    /// Standard input.
    Stdin,
}

/// A backup that is being read.
pub struct Fetched {
    /// The archive's bytes, decrypted.
    pub reader: Box<dyn Read + Send>,
    /// What the object itself was, where it is encrypted.
    pub encrypted: Option<Seen>,
    /// Its manifest, where it is known before the archive's end (from the sidecar or the history).
    pub manifest: Option<Manifest>,
    /// What to call it.
    pub name: String,
    /// Whether the store, and not the user, says whose backup it is.
    pub stored: bool,
}

/// It was read, and is something else.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not a backup: {what}")]
pub struct NotABackup {
    /// What it is called.
    pub name: String,
    /// "it is empty".
    pub what: &'static str,
}

/// The store has less of it, or more, than was saved.
#[derive(Debug, thiserror::Error)]
#[error("{key} is damaged: {}", self.what())]
pub struct WrongLength {
    key: BackupKey,
    /// Bytes that the store has.
    there: u64,
    /// Bytes that were saved.
    saved: u64,
}

impl WrongLength {
    /// What is wrong, without its name.
    pub fn what(&self) -> String {
        format!(
            "it is {} bytes long and was saved with {}: it was cut off, changed or replaced",
            self.there, self.saved
        )
    }
}

/// Finds the backup that the arguments mean. Another destination is opened with the keys of `host`, if this host has a service of that name.
///
/// # Errors
/// When there is none, or more than one.
pub fn choose(
    context: &Context,
    doing: &str,
    service: &ServiceName,
    host: &ServiceName,
    chosen: &Chosen,
) -> Result<Source> {
    let backup = chosen.backup.as_deref();
    if let Some(path) = &chosen.file {
        if let Err(error) = File::open(path)
            .and_then(|file| if file.metadata()?.is_file() { Ok(()) } else { Err(io::Error::other("it is no file")) })
        {
            let shown = path.display();
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let failure = Failure::failed(format!("{shown} can't be read by the user dokku")).because(error);
            return Err(if denied {
                failure.hint(format!(
                    "From any place, with the same options: dokku pgbackup:{doing} {service} - < {shown}"
                ))
            } else {
                failure
            }
            .into());
        }
        return Ok(Source::File(path.to_owned()));
    }
    let has_place = chosen.elsewhere.from.is_some() || chosen.at.version_id.is_some();
    if has_place && backup.is_some_and(|text| text == "-" || Link::is_meant(text)) {
        return Err(Failure::usage(
            "A backup that comes by itself, as a link or on standard input, has no --from and no --version-id",
        )
        .into());
    }
    if backup == Some("-") {
        if io::stdin().is_terminal() {
            return Err(Failure::usage("Standard input is a terminal, not a backup")
                .hint(format!("Pipe one in: dokku pgbackup:{doing} {service} - < backup.tgz"))
                .into());
        }
        return Ok(Source::Stdin);
    }
    if let Some(text) = backup.filter(|text| Link::is_meant(text)) {
        let link = text.parse().map_err(|error: InvalidLink| {
            Failure::usage(format!("That is no link to a backup: {error}")).hint("Give the whole link, in quotes")
        })?;
        return Ok(Source::Link(link));
    }
    let elsewhere = &chosen.elsewhere;
    let keys_of = if elsewhere.from.is_some() { host } else { service };
    let asked = Asked { text: backup, version: chosen.at.version_id.as_ref() };
    let store = backups::open(context, keys_of, elsewhere)?;
    let explained = |error| {
        let error = backups::explain(error, context, keys_of, elsewhere);
        let wanted = Wanted { doing, service, version: chosen.at.version_id.as_ref(), object: None };
        ways_out(error, &wanted, store.as_ref(), elsewhere.from.is_some())
    };
    let found = Named::find(context, service, keys_of, elsewhere, asked).map_err(explained)?;
    let unseen = match found {
        Ok(named) => return choose_object(context, named, chosen.trust),
        Err(unseen) => unseen,
    };
    let selector = Selector::new(backup, chosen.before)?;
    let place = Place::of(store.as_ref(), service, elsewhere, Some(&selector));
    let mut backup = place
        .catalog(context)
        .and_then(|catalog| Ok(place.choose(&selector, &catalog)?))
        .map_err(|error| explained(unseen.explain(error)))?;
    if let Err(error) = backup.read_manifest(store.as_ref()) {
        // The archive carries its own manifest; what is lost is the plan and the object's checksum.
        context.ui.warn(format!("The description of {} can't be used: {error:#}", backup.key));
    }
    let known = (&backup.key, backup.manifest.as_ref(), backup.is_remembered());
    let standing = judge(context, &backup.key.to_string(), known, chosen.trust)?;
    let elsewhere = place.elsewhere;
    Ok(Source::Stored { store: store.into(), backup: Box::new(backup), elsewhere, standing })
}

/// An object with a name of its own.
fn choose_object(context: &Context, mut named: Named, trust: Trust) -> Result<Source> {
    // Beside a name of its own nothing vouches for it; beside a version of a backup of ours lies a version of its description.
    if let Ok(keys) = Keys::read(&context.environment.data_folder()) {
        named.find_description(&keys);
    }
    judge(context, &named.describe(), (&named.key(context.now()), named.manifest.as_ref(), false), trust)?;
    Ok(Source::Object(Box::new(named)))
}

/// Refuses what has to be signed and is not, before anything of it is read.
fn judge(
    context: &Context,
    shown: &str,
    (key, manifest, is_remembered): (&BackupKey, Option<&Manifest>, bool),
    trust: Trust,
) -> Result<Standing> {
    let standing = Keys::read(&context.environment.data_folder())
        .map(|keys| keys.judge(key, manifest, is_remembered))
        .or_else(|error| if trust.allow_unsigned { Ok(Standing::Refused(format!("{error:#}"))) } else { Err(error) })?;
    match &standing {
        Standing::Signed(_) | Standing::Unsigned => {}
        Standing::Unknown(key) => {
            context.ui.warn(format!("{shown} is signed with the key {key}, which this host doesn't know"));
            context.ui.warn(
                "Whether it is what was saved can't be told; if its host was yours, take its key over: dokku pgbackup:signing-key --import < signing-key.txt",
            );
        }
        Standing::Refused(why) if trust.allow_unsigned => {
            context.ui.warn(format!("{shown} is not proven to be what was saved: {why}"));
        }
        Standing::Refused(why) => {
            return Err(Failure::failed(format!("{shown} is refused: {why}"))
                .hint("Since this host signs the backups of this service each of them has to be signed: somebody else may have put this one there")
                .hint("If another host of yours has made it, let this one know its key: dokku pgbackup:signing-key --import < signing-key.txt")
                .hint("If you know that it is right (dokku postgres:backup has made it), add --allow-unsigned")
                .into());
        }
    }
    Ok(standing)
}

impl Source {
    /// What to call it in sentences.
    pub fn describe(&self) -> String {
        match self {
            Self::Stored { backup, .. } => backup.key.to_string(),
            Self::Object(named) => named.describe(),
            Self::File(path) => path.display().to_string(),
            Self::Link(link) => link.to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }

    /// Whether it is a backup of the service's own destination, of which this host keeps a record.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Stored { elsewhere: false, .. })
    }

    /// The key of a backup that a store keeps.
    pub fn key(&self) -> Option<&BackupKey> {
        match self {
            Self::Stored { backup, .. } => Some(&backup.key),
            Self::Object(_) | Self::File(_) | Self::Link(_) | Self::Stdin => None,
        }
    }

    /// That destination, if it is one of those.
    pub fn own_store(&self) -> Option<Rc<dyn Store>> {
        match self {
            Self::Stored { store, elsewhere: false, .. } => Some(Rc::clone(store)),
            _ => None,
        }
    }

    /// Whether it is standard input.
    pub fn is_stdin(&self) -> bool {
        matches!(self, Self::Stdin)
    }

    /// Its manifest, where it is known already.
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Stored { backup, .. } => backup.manifest.as_ref(),
            Self::Object(named) => named.manifest.as_ref(),
            Self::File(_) | Self::Link(_) | Self::Stdin => None,
        }
    }

    /// Whose backup it is to be, where only what is in it can say whether it is.
    pub fn named_for(&self) -> Option<&ServiceName> {
        match self {
            Self::Object(named) => Some(&named.service),
            _ => None,
        }
    }

    /// Refuses an object of another length than the one that was saved, as far as the store and its manifest say so: that takes no byte of it.
    ///
    /// # Errors
    /// [`WrongLength`].
    pub fn refuse_wrong_length(&self) -> Result<(), WrongLength> {
        let Self::Stored { backup, .. } = self else { return Ok(()) };
        let object = backup.manifest.as_ref().and_then(|manifest| manifest.object.as_ref());
        match (backup.bytes, object) {
            (Some(there), Some(object)) if there != object.bytes => {
                Err(WrongLength { key: backup.key.clone(), there, saved: object.bytes })
            }
            _ => Ok(()),
        }
    }

    /// Begins to read it, far enough to know that it can be read and decrypted and is no other kind of file.
    ///
    /// # Errors
    /// When the store or the file can't be read, or the secrets don't open it; [`WrongLength`].
    pub fn open(self, context: &Context, doing: &str, secrets: &Secrets) -> Result<Fetched> {
        self.refuse_wrong_length()?;
        let name = self.describe();
        let encrypted = match &self {
            Self::Stored { backup, .. } => Some(backup.key.encrypted()),
            Self::Object(named) => Some(named.encrypted()),
            Self::File(_) | Self::Link(_) | Self::Stdin => None,
        };
        let Fetched { reader, manifest, stored, .. } = self.begin(context, doing)?;
        let (mut beginning, mut reader) = begin_of(reader)?;
        let mut seen = None;
        if encryption::looks_encrypted(&beginning) {
            let opened = encryption::open(reader, secrets).map_err(|error| explain(error, &name))?;
            seen = Some(opened.seen);
            (beginning, reader) = begin_of(opened.reader)?;
        } else if encrypted == Some(true) && beginning.starts_with(&GZIP_MAGIC) {
            return Err(Failure::failed(format!("{name} is to be encrypted, and is not: it was not saved like this"))
                .hint("Somebody who can't decrypt may have put another one in its place")
                .hint("To restore it all the same: dokku pgbackup:download it, and give the file with --file")
                .into());
        }
        if !beginning.starts_with(&GZIP_MAGIC) {
            let what = if beginning.is_empty() { "it is empty" } else { "it is not a gzip'd archive" };
            return Err(NotABackup { name, what }.into());
        }
        Ok(Fetched { reader, encrypted: seen, manifest, name, stored })
    }

    fn begin(self, context: &Context, doing: &str) -> Result<Fetched> {
        let name = self.describe();
        let label = format!("Reading {name}");
        Ok(match self {
            Self::Stored { store, backup, elsewhere, standing } => {
                let object = backup.key.to_string();
                let wanted = Wanted { doing, service: backup.key.service(), version: None, object: Some(&object) };
                let reader =
                    store.open(&object).map_err(|error| ways_out(error.into(), &wanted, store.as_ref(), elsewhere))?;
                let reader = metered(reader, context, label, backup.bytes);
                let signed = backup.manifest.as_ref().filter(|_| matches!(standing, Standing::Signed(_)));
                let reader = proven(reader, signed)?;
                Fetched { reader, encrypted: None, manifest: backup.manifest, name, stored: true }
            }
            Self::Object(named) => {
                let Named { service, version, object, elsewhere, .. } = named.as_ref();
                let wanted = Wanted { doing, service, version: version.as_ref(), object: Some(&object.name) };
                let reader =
                    named.open().map_err(|error| ways_out(error.into(), &wanted, named.store.as_ref(), *elsewhere))?;
                let reader = metered(reader, context, label, Some(named.object.bytes));
                let reader = proven(reader, named.manifest.as_ref())?;
                Fetched { reader, encrypted: None, manifest: named.manifest, name, stored: false }
            }
            Self::File(path) => {
                let file = File::open(&path).with_context(|| format!("{} can't be read", path.display()))?;
                let bytes = file.metadata().ok().map(|file| file.len());
                Fetched {
                    reader: Box::new(metered(file, context, label, bytes)),
                    encrypted: None,
                    manifest: None,
                    name,
                    stored: false,
                }
            }
            Self::Link(link) => {
                let (reader, total) = open_link(link, None)?;
                Fetched {
                    reader: Box::new(metered(reader, context, label, total)),
                    encrypted: None,
                    manifest: None,
                    name,
                    stored: false,
                }
            }
            Self::Stdin => {
                // The file beneath the library's buffer, so that Ctrl-C ends the wait for a sender that is stuck.
                let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().context("reading standard input")?);
                Fetched {
                    reader: Box::new(metered(Awaited(stdin), context, label, None)),
                    encrypted: None,
                    manifest: None,
                    name,
                    stored: false,
                }
            }
        })
    }
}

impl Fetched {
    /// What the dump's header says, where nothing beside it has said it and it is an archive of pg_dump at the front of its archive. The
    /// reader still gives everything.
    ///
    /// # Errors
    /// When it can't be read; what is damaged is for whoever reads on to name.
    pub fn dump_header(&mut self) -> Result<Option<Toc>> {
        if self.manifest.is_some() {
            return Ok(None);
        }
        let reader = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        let mut kept = Kept { reader, bytes: Vec::new(), failure: None };
        // What was looked at for its beginning counts as read, too.
        let front = kept.by_ref().take(LOOKED_AT - 2 * BEGINNING as u64);
        let header = peek::dump_at_front(front).and_then(|mut dump| Toc::read_header(&mut dump).ok());
        let Kept { reader, bytes, failure } = kept;
        if let Some(error) = failure {
            return Err(Transfer::new("its beginning can't be read", error).into());
        }
        self.reader = Box::new(io::Cursor::new(bytes).chain(reader));
        Ok(header)
    }

    /// The database whose dump it must hold: a file can be anything, and another service's dump would replace this one's data.
    ///
    /// # Errors
    /// When the service can't be read.
    pub fn database_name(&self, context: &Context, service: &ServiceName) -> Result<Option<String>> {
        if self.stored {
            return Ok(None);
        }
        Ok(Some(database_of(context, service)))
    }
}

/// Keeps what is read, and why it could not be.
struct Kept {
    reader: Box<dyn Read + Send>,
    bytes: Vec<u8>,
    failure: Option<io::Error>,
}

impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(read) => {
                self.bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let text = io::Error::other(error.to_string());
                self.failure = Some(error);
                Err(text)
            }
        }
    }
}

/// Proves what is read by its description, where that is signed.
fn proven<R: Read + Send + 'static>(reader: R, signed: Option<&Manifest>) -> Result<Box<dyn Read + Send>> {
    let object = signed.and_then(|manifest| manifest.object.as_ref());
    Ok(match object.and_then(expected) {
        Some(expected) => Box::new(Proven::new(reader, expected)?),
        None => Box::new(reader),
    })
}

/// What a signed description says of its object.
fn expected(object: &Object) -> Option<Expected> {
    let proof = object.proof.as_ref()?;
    Some(Expected {
        bytes: object.bytes,
        head_bytes: object.head_bytes,
        head: unhex(&proof.sha256_head)?,
        step: proof.step,
        marks: proof.marks.iter().map(|mark| unhex(mark)).collect::<Option<_>>()?,
        behind_head: unhex(&object.sha256_behind_head)?,
    })
}

/// Looks at the beginning of what is read; the reader still gives it.
fn begin_of(mut reader: Box<dyn Read + Send>) -> Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut beginning = Vec::with_capacity(BEGINNING);
    // An error of the reader's own keeps its kind: that an object is not the one that was signed is damage.
    reader
        .by_ref()
        .take(BEGINNING as u64)
        .read_to_end(&mut beginning)
        .map_err(|error| Transfer::new("its beginning can't be read", error))?;
    let whole = io::Cursor::new(beginning.clone()).chain(reader);
    Ok((beginning, Box::new(whole)))
}

/// What the database of a service is called; of one that this host doesn't have, what dokku-postgres would call it.
pub fn database_of(context: &Context, service: &ServiceName) -> String {
    Service::find(&context.environment.lib_root, service)
        .map_or_else(|_| renewal::database_of(service), |service| service.database)
}

/// What the database of a service may be called: as this host knows it, else as dokku-postgres would call it.
pub fn likely_databases(context: &Context, service: &ServiceName) -> Vec<String> {
    match Service::find(&context.environment.lib_root, service) {
        Ok(service) => vec![service.database],
        Err(_) => vec![service.as_str().replace('-', "_"), service.to_string()],
    }
}

/// What was to be read.
struct Wanted<'a> {
    /// `restore`.
    doing: &'a str,
    /// Into which service.
    service: &'a ServiceName,
    version: Option<&'a VersionId>,
    /// Its name in the store, where that is known.
    object: Option<&'a str>,
}

/// What to do where the keys may not read: good practice, which must not stand in the way on the worst day.
fn ways_out(error: anyhow::Error, wanted: &Wanted, store: &dyn Store, elsewhere: bool) -> anyhow::Error {
    let cause = error.downcast_ref::<Failure>().map_or(Some(&error), |failure| failure.source.as_ref());
    let Some(StoreError::Denied { permission, resource }) = cause.and_then(|cause| cause.downcast_ref()) else {
        return error;
    };
    let destination = store.describe();
    // What is missing is missing for the object that was asked for, or else for the bucket.
    let of_object = Some(resource.as_str()).filter(|_| permission.starts_with("s3:GetObject"));
    let of_object = of_object.and_then(|resource| resource.split(" (version ").next()?.rsplit_once('/'));
    let (folder, name) = match (wanted.object, of_object) {
        (Some(name), _) => (destination.as_str(), name),
        (None, Some((folder, name))) => (folder, name),
        (None, None) => (destination.as_str(), "KEY"),
    };
    let Whereabouts { endpoint, region } = store.whereabouts();
    let place = renewal::Place { destination: folder, endpoint: endpoint.as_deref(), region: region.as_deref() };
    let object = renewal::Object { name, version: wanted.version };
    let (fetch, presign) = (renewal::fetch(&place, &object), renewal::presign(&place, &object));
    let Wanted { doing, service, .. } = wanted;
    // Standard input leaves nobody to ask.
    let unasked = if *doing == "restore" { " --force" } else { "" };
    let mut failure = Failure::from_error(error);
    if elsewhere {
        failure.hints.retain(|hint| !hint.contains("iam-policy"));
        if !failure.hints.iter().any(|hint| hint.contains("pgbackup:auth")) {
            failure = failure.hint("Other keys are set with: dokku pgbackup:auth --global ACCESS_KEY_ID");
        }
    }
    failure = failure.hint("Or, with the same options, in place of the key:").hint(format!(
        "- from a machine that may read: {fetch} | ssh dokku@HOST pgbackup:{doing} {service} -{unasked}"
    ));
    if let Some(presign) = presign {
        failure =
            failure.hint(format!("- by a link made there ({presign}): dokku pgbackup:{doing} {service} \"LINK\""));
    }
    failure.hint(format!("- from a file of this host: dokku pgbackup:{doing} {service} --file PATH")).into()
}

/// Of a known length, only once it is read on behind the beginning: until then a plan is shown and a safety backup taken, which no bar
/// should stand still in. Who sends it without a length may be slow from the first byte on.
fn metered<R: Read>(reader: R, context: &Context, label: String, total: Option<u64>) -> Metered<R> {
    match total {
        Some(_) => Metered::shown_behind(LOOKED_AT, reader, &context.ui, label, total),
        None => Metered::new(reader, context.ui.progress(&label, None)),
    }
}
