//! `pgbackup:download`: a backup as a file, complete or not at all.
//!
//! Written beside its place (0600: it is the whole database) and renamed when its length, and its digest where a sidecar
//! has one, are what they should be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, RenameFlags};
use sha2::{Digest, Sha256};

use crate::archive::encryption::{self, Secrets};
use crate::catalog::selector::Selector;
use crate::catalog::{Backup, store_failure};
use crate::commands::Context;
use crate::commands::arguments::Elsewhere;
use crate::commands::backups::{self, Place};
use crate::commands::encryption::unlock::{Unlock, explain};
use crate::commands::objects::{Asked, Named};
use crate::commands::renewal::quoted;
use crate::error::Failure;
use crate::manifest::{self, Object};
use crate::service::name::ServiceName;
use crate::store::{Store, StoreError, VersionId};
use crate::ui::human;

/// How much is read at once.
const BLOCK: usize = 256 << 10;

/// Download a backup as a file
///
/// The file is an ordinary .tgz: tar -xf unpacks backup/export from it, which dokku postgres:import takes. An encrypted backup is
/// downloaded as it is, a .tgz.gpg that gpg decrypts, unless --decrypt is given.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup> [<path>] [--from DESTINATION] [--decrypt] [--private-key FILE] [--passphrase-file FILE]",
    after_help = "Download the newest backup of lollipop into the current folder

    dokku pgbackup:download lollipop latest

Take it to another machine

    ssh dokku@host pgbackup:download lollipop latest - > lollipop.tgz

Decrypt it on the way

    dokku pgbackup:download lollipop latest --decrypt

Download one of a host that is gone

    dokku pgbackup:download lollipop latest - --from s3://my-backups/prod > lollipop.tgz"
)]
pub struct Args {
    /// The service whose backup it is
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of the key that fits only one or latest
    #[arg(value_name = "backup")]
    pub backup: String,
    /// Where to put it: a file or a folder, or - for standard output; the current folder when left out
    #[arg(value_name = "path")]
    pub path: Option<PathBuf>,
    /// Read this version of the object, as pgbackup:list --versions shows it: one that was replaced or deleted
    #[arg(long, value_name = "ID")]
    pub version_id: Option<VersionId>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    /// Decrypt it: the file is the .tgz that is in the .tgz.gpg
    #[arg(long)]
    pub decrypt: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub unlock: Unlock,
}

/// Downloads a backup.
///
/// # Errors
/// When there is no such backup, when the place is taken and `--force` was not given, or when what arrives is not what
/// was saved; no file is left then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let store = backups::open(context, &args.service, &args.elsewhere)?;
    let asked = Asked { text: Some(&args.backup), version: args.version_id.as_ref() };
    Named::find(context, &args.service, &args.service, &args.elsewhere, asked)
        .and_then(|named| match named {
            Ok(named) => save(args, context, Wanted::Named(&named)),
            Err(unseen) => download(args, store.as_ref(), context).map_err(|error| unseen.explain(error)),
        })
        .map_err(|error| backups::explain(error, context, &args.service, &args.elsewhere))
}

/// What is downloaded.
enum Wanted<'a> {
    /// A backup, with its sidecar.
    Backup(Box<Backup>, &'a dyn Store),
    /// An object with a name of its own, or an earlier version.
    Named(&'a Named),
}

impl Wanted<'_> {
    /// What it is called in its store.
    fn name(&self) -> String {
        match self {
            Self::Backup(backup, _) => backup.key.to_string(),
            Self::Named(named) => named.object.name.clone(),
        }
    }

    fn encrypted(&self) -> bool {
        match self {
            Self::Backup(backup, _) => backup.key.encrypted(),
            Self::Named(named) => named.encrypted(),
        }
    }

    /// Its length, and what is recorded of it.
    fn facts(&mut self, context: &Context) -> Result<(u64, Option<Object>)> {
        let (backup, store) = match self {
            Self::Named(named) => return Ok((named.object.bytes, None)),
            Self::Backup(backup, store) => (backup, store),
        };
        let object = match backup.read_manifest(*store) {
            Ok(manifest) => manifest.and_then(|manifest| manifest.object.clone()),
            Err(error) => {
                context.ui.warn(format!("Its checksum can't be compared: {error:#}"));
                None
            }
        };
        let bytes = match (backup.bytes, &object) {
            (Some(bytes), _) => bytes,
            (None, Some(object)) => object.bytes,
            (None, None) => {
                let name = backup.key.to_string();
                store.head(&name).map_err(|error| store_failure(format!("{name} can't be read"), error))?.bytes
            }
        };
        Ok((bytes, object))
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, StoreError> {
        match self {
            Self::Backup(backup, store) => store.open(&backup.key.to_string()),
            Self::Named(named) => named.open(),
        }
    }
}

fn download(args: &Args, store: &dyn Store, context: &Context) -> Result<()> {
    refuse_terminal(args, context)?;
    let selector = Selector::new(Some(&args.backup), None)?;
    let (_, backup) = Place::of(store, &args.service, &args.elsewhere, Some(&selector)).find(&selector, context)?;
    save(args, context, Wanted::Backup(Box::new(backup), store))
}

fn to_output(args: &Args) -> bool {
    args.path.as_deref() == Some(Path::new("-"))
}

/// The same command with standard output as its place.
fn to_output_instead(args: &Args) -> String {
    let mut line = format!("dokku pgbackup:download {} {} -", args.service, quoted(&args.backup));
    let mut add = |flag: &str, value: Option<String>| {
        line.extend(value.map(|value| format!(" {flag} {}", quoted(&value))));
    };
    add("--version-id", args.version_id.as_ref().map(ToString::to_string));
    add("--from", args.elsewhere.from.as_ref().map(ToString::to_string));
    add("--service", args.elsewhere.source.as_ref().map(ToString::to_string));
    if args.decrypt {
        line.push_str(" --decrypt");
    }
    line
}

fn refuse_terminal(args: &Args, context: &Context) -> Result<()> {
    if to_output(args) {
        context.ui.reserve_output();
        if io::stdout().is_terminal() {
            return Err(Failure::usage("A backup is not for the terminal, and standard output is one")
                .hint(format!("Send it to a file or a program: {} > {}.tgz", to_output_instead(args), args.service))
                .into());
        }
    }
    Ok(())
}

fn save(args: &Args, context: &Context, mut wanted: Wanted) -> Result<()> {
    refuse_terminal(args, context)?;
    let secrets = if args.decrypt && wanted.encrypted() {
        Some(args.unlock.secrets(context, &args.service, false)?)
    } else {
        None
    };
    if to_output(args) {
        let mut output = BufWriter::new(context.ui.bytes());
        let checked = fetch(args, &mut wanted, &mut output, context, secrets.as_ref())?;
        output.flush().map_err(|error| output_error(error, "standard output"))?;
        context.ui.detail(checked);
        return Ok(());
    }
    let name = wanted.name();
    let path = place(args.path.as_deref(), &name, secrets.is_some());
    let force = context.environment.force;
    if !force && fs::symlink_metadata(&path).is_ok() {
        return Err(taken(&path).into());
    }
    let mut unfinished = Unfinished::create(&path, &to_output_instead(args))?;
    let checked = fetch(args, &mut wanted, &mut unfinished, context, secrets.as_ref())?;
    unfinished.finish(&path, force)?;
    context.ui.detail(checked);
    context.ui.outcome(format!("Downloaded {name} to {}", path.display()), &path.display().to_string());
    Ok(())
}

/// Brings the object over, decrypts it where there are secrets for that, and compares it; returns how it was checked, in words.
fn fetch(
    args: &Args,
    wanted: &mut Wanted,
    output: &mut impl Write,
    context: &Context,
    secrets: Option<&Secrets>,
) -> Result<String> {
    let name = wanted.name();
    let damaged = |how: &str| damaged(&name, how, &args.service);
    let (bytes, object) = wanted.facts(context)?;
    if let Some(object) = &object
        && object.bytes != bytes
    {
        return Err(damaged(&format!("it is {bytes} bytes long, its sidecar says {}", object.bytes)).into());
    }
    context.ui.step(format!("Downloading {name} ({})", human::size(bytes)));
    let mut input = wanted.open().map_err(|error| store_failure(format!("{name} can't be read"), error))?;
    let mut seen = None;
    if let Some(secrets) = secrets {
        let opened = encryption::open(input, secrets).map_err(|error| explain(error, &name))?;
        (input, seen) = (opened.reader, Some(opened.seen));
    }
    let progress = context.ui.progress("Downloading", Some(bytes));
    let mut digest = BehindHead::new(object.as_ref());
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        crate::interrupt::check()?;
        let count = input.read(&mut block).with_context(|| format!("{name} can't be read to its end"))?;
        let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else { break };
        digest.update(read);
        output.write_all(read).map_err(|error| output_error(error, "the download"))?;
        length += count as u64;
        progress.add(count as u64);
    }
    drop(progress);
    // What is compared is the object as it is stored.
    let (length, digest) = match seen.map(|seen| seen.so_far()) {
        Some((length, digest)) => (length, manifest::hex(&digest)),
        None => (length, digest.hex()),
    };
    if length != bytes {
        return Err(damaged(&format!("{length} of {bytes} bytes came")).into());
    }
    match object {
        Some(object) if digest == object.sha256_behind_head => Ok(format!("{bytes} bytes, SHA-256 as in its sidecar")),
        Some(_) => Err(damaged("its SHA-256 is not the one in its sidecar").into()),
        None => Ok(format!("{bytes} bytes; no checksum is recorded for it")),
    }
}

/// The digest of everything behind the object's head.
struct BehindHead {
    skip: u64,
    digest: Sha256,
}

impl BehindHead {
    fn new(object: Option<&Object>) -> Self {
        Self { skip: object.map_or(0, |object| object.head_bytes), digest: Sha256::new() }
    }

    fn update(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        self.digest.update(bytes.get(skipped..).unwrap_or_default());
    }

    fn hex(self) -> String {
        manifest::hex(&self.digest.finalize())
    }
}

fn damaged(name: &str, how: &str, service: &ServiceName) -> Failure {
    Failure::failed(format!("{name} is damaged: {how}"))
        .hint(format!("Nothing was kept of it; choose another one with: dokku pgbackup:list {service}"))
}

/// A folder takes the file under the backup's own name.
fn place(path: Option<&Path>, name: &str, decrypted: bool) -> PathBuf {
    let name = if decrypted { name.trim_end_matches(".gpg") } else { name };
    match path {
        None => PathBuf::from(name),
        Some(path) if path.is_dir() => path.join(name),
        Some(path) => path.to_owned(),
    }
}

fn taken(path: &Path) -> Failure {
    Failure::failed(format!("{} exists already", path.display())).hint("Give another path, or --force to replace it")
}

fn output_error(error: io::Error, what: &str) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::failed("Whoever read standard output has gone, the backup is not complete there").into();
    }
    let full = error.kind() == io::ErrorKind::StorageFull;
    let failure = Failure::failed(format!("Can't write {what}")).because(error);
    if full { failure.hint("Give a path on a disk with more space").into() } else { failure.into() }
}

/// A file in the making, gone when it is dropped unfinished.
struct Unfinished {
    path: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl Unfinished {
    fn create(path: &Path, instead: &str) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| Failure::usage(format!("{} is no file", path.display())))?;
        let beside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(|error| {
            let failure = Failure::failed(format!("Can't write {}", path.display()));
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let failure = failure.because(error);
            if denied {
                failure
                    .hint("Dokku runs its commands as the user dokku, who may not write there")
                    .hint(format!("Write it as yourself: {instead} > {}", path.display()))
            } else {
                failure
            }
        })?;
        Ok(Self { path: beside, file: BufWriter::with_capacity(BLOCK, file), finished: false })
    }

    fn finish(mut self, path: &Path, force: bool) -> Result<()> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|error| output_error(error, &path.display().to_string()))?;
        if force {
            fs::rename(&self.path, path).with_context(|| format!("Can't write {}", path.display()))?;
        } else {
            // In one step: a file that has appeared meanwhile is not replaced either.
            match rustix::fs::renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => return Err(taken(path).into()),
                // Some file systems know no such rename; it was looked for before.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    fs::rename(&self.path, path).with_context(|| format!("Can't write {}", path.display()))?;
                }
                Err(error) => {
                    return Err(io::Error::from(error)).with_context(|| format!("Can't write {}", path.display()));
                }
            }
        }
        self.finished = true;
        Ok(())
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use crate::catalog::tests::Shelf;
    use crate::commands::list::tests::world;
    use crate::error::Kind;
    use crate::history::tests::manifest;

    use super::*;

    const OURS: &str = "postgres-prod-2023-04-03-11-00-04.tgz";
    const THEIRS: &str = "postgres-prod-2023-04-02-14-30-01.tgz";
    /// A head of four bytes, and `rest`, whose SHA-256 is below.
    const OBJECT: &[u8] = b"headrest";

    fn shelf() -> Shelf {
        let shelf = Shelf::with(&[THEIRS]);
        shelf.place(OURS, OBJECT);
        let mut manifest = manifest(OURS);
        manifest.object = Some(Object {
            bytes: 8,
            head_bytes: 4,
            sha256_behind_head: BehindHead { skip: 0, digest: Sha256::new().chain_update(b"rest") }.hex(),
            finished: manifest.started,
            proof: None,
        });
        shelf.place(&format!("{OURS}.manifest.json"), &manifest.to_json().unwrap());
        shelf
    }

    fn args(backup: &str, path: &Path) -> Args {
        Args {
            service: "prod".parse().unwrap(),
            backup: backup.into(),
            path: Some(path.to_owned()),
            version_id: None,
            elsewhere: Elsewhere::default(),
            decrypt: false,
            unlock: Unlock::default(),
        }
    }

    #[test]
    fn writes_a_private_file_whole() {
        let (host, context, said) = world();
        download(&args("latest", host.path()), &shelf(), &context).unwrap();
        let path = host.path().join(OURS);
        assert_eq!(fs::read(&path).unwrap(), OBJECT);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(said.out().contains("8 bytes, SHA-256 as in its sidecar"), "{}", said.out());
        download(&args(THEIRS, &host.path().join("x.tgz")), &shelf(), &context).unwrap();
        assert!(said.out().contains("6 bytes; no checksum is recorded"), "{}", said.out());
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 2, "nothing beside");
    }

    #[test]
    fn replaces_nothing_unless_forced() {
        let (host, mut context, _) = world();
        let path = host.path().join("mine");
        fs::write(&path, "mine").unwrap();
        let failure = Failure::from_error(download(&args("latest", &path), &shelf(), &context).unwrap_err());
        assert!(failure.message.ends_with("exists already"), "{failure}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let unfinished = Unfinished::create(&path, "").unwrap();
        assert!(unfinished.finish(&path, false).is_err(), "also one that appears in the meantime");
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 1);
        context.environment.force = true;
        download(&args("latest", &path), &shelf(), &context).unwrap();
        assert_eq!(fs::read(&path).unwrap(), OBJECT);
    }

    #[test]
    fn what_is_damaged_is_not_kept() {
        let (host, context, _) = world();
        for (bytes, why) in [(b"headrost".as_slice(), "SHA-256"), (b"headres", "7 bytes long, its sidecar says 8")] {
            let shelf = shelf();
            shelf.place(OURS, bytes);
            let failure = Failure::from_error(download(&args("latest", host.path()), &shelf, &context).unwrap_err());
            assert!(failure.message.contains("is damaged") && failure.message.contains(why), "{failure}");
            assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn says_why_it_can_not_be_read_or_written() {
        let (host, context, _) = world();
        let shelf = shelf();
        let missing = host.path().join("no/such/folder/x");
        let failure = Failure::from_error(download(&args("latest", &missing), &shelf, &context).unwrap_err());
        assert!(failure.to_string().contains("Can't write"), "{failure}");
        let failure = Failure::from_error(download(&args("nothing", host.path()), &shelf, &context).unwrap_err());
        assert_eq!(failure.kind, Kind::NoSuchBackup);
        shelf.deny("s3:GetObject");
        let failure = Failure::from_error(download(&args("latest", host.path()), &shelf, &context).unwrap_err());
        assert!(failure.to_string().contains("permission s3:GetObject is missing"), "{failure}");
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_head_is_left_out_of_the_digest_however_it_comes() {
        for cut in 0..=OBJECT.len() {
            let mut digest = BehindHead { skip: 4, digest: Sha256::new() };
            let (front, back) = OBJECT.split_at(cut);
            digest.update(front);
            digest.update(back);
            assert_eq!(
                digest.hex(),
                BehindHead { skip: 0, digest: Sha256::new().chain_update(b"rest") }.hex(),
                "{cut}"
            );
        }
    }
}
