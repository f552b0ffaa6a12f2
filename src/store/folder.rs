//! A folder as a store: an external disk, a mounted share, a test.
//!
//! An object is written into a hidden file beside its final name, synced, and renamed: it is there in full or not at all,
//! also after a power loss. Hidden files, folders and links are not objects.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{ObjectInfo, Store, StoreError, Stored, Upload, UploadPlan, check_name};
use crate::interrupt;
use crate::step::step;

/// A folder that holds objects as files.
#[derive(Debug, Clone)]
pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    /// The store in `folder`, an absolute path; it is looked at when it is used.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(self.folder.join(name))
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.folder.join(name).display())
    }

    fn begin(&self, name: &str, plan: UploadPlan, only_new: bool) -> Result<FolderUpload, StoreError> {
        let path = self.path(name)?;
        check_folder(&self.folder)?;
        let mut upload =
            FolderUpload::begin(&self.folder, path, plan.head).map_err(|error| self.failure("making", name, error))?;
        upload.only_new = only_new;
        // Room for the head, which comes last.
        upload.append(&vec![0; plan.head]).map_err(|error| self.failure("writing", name, error))?;
        Ok(upload)
    }

    /// The error of a look at one object.
    fn failure(&self, doing: &str, name: &str, error: io::Error) -> StoreError {
        failure(&self.folder, &format!("{doing} {}", self.url(name)), error)
    }

    /// A file's facts, if it is an object: links and folders are not.
    fn look(&self, name: &str) -> Result<fs::Metadata, StoreError> {
        let facts = fs::symlink_metadata(self.path(name)?).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.folder.is_dir() => StoreError::NotFound { what: self.url(name) },
            _ => self.failure("looking for", name, error),
        })?;
        if facts.is_file() { Ok(facts) } else { Err(StoreError::NotFound { what: self.url(name) }) }
    }
}

impl Store for FolderStore {
    fn describe(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    fn listing_lag(&self) -> SignedDuration {
        SignedDuration::ZERO
    }

    fn upload(&self, name: &str, plan: UploadPlan) -> Result<Box<dyn Upload>, StoreError> {
        if fs::symlink_metadata(self.path(name)?).is_ok() {
            return Err(StoreError::Taken { what: self.url(name) });
        }
        Ok(Box::new(self.begin(name, plan, true)?))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut upload = self.begin(name, UploadPlan { head: 0, expected: bytes.len() as u64 }, false)?;
        upload.write(bytes)?;
        Box::new(upload).complete(&[])?;
        Ok(())
    }

    fn head(&self, name: &str) -> Result<ObjectInfo, StoreError> {
        let facts = self.look(name)?;
        Ok(ObjectInfo { name: name.to_owned(), bytes: facts.len(), modified: modified(&facts), class: None })
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, StoreError> {
        let left = self.look(name)?.len();
        let file = File::open(self.path(name)?).map_err(|error| self.failure("reading", name, error))?;
        Ok(Box::new(FolderReader { file, left, url: self.url(name) }))
    }

    fn list(&self, start: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let failed = |error| failure(&self.folder, &format!("listing {}", self.describe()), error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || !name.starts_with(start) || !entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                continue;
            }
            match entry.metadata() {
                Ok(facts) => {
                    found.push(ObjectInfo { name, bytes: facts.len(), modified: modified(&facts), class: None });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // deleted meanwhile
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(name)?) {
            Ok(()) => sync_folder(&self.folder).map_err(|error| self.failure("deleting", name, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Ok(()),
            Err(error) => Err(self.failure("deleting", name, error)),
        }
    }

    fn take_back(&self, name: &str, _id: Option<&str>) -> Result<u64, StoreError> {
        check_name(name)?;
        let failed = |error| failure(&self.folder, &format!("looking into {}", self.describe()), error);
        let start = format!(".{name}.");
        let mut taken_back = 0;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let hidden = entry.file_name();
            let hidden = hidden.to_string_lossy();
            if hidden.strip_prefix(&start).is_some_and(|rest| rest.ends_with(".part")) {
                fs::remove_file(entry.path()).map_err(failed)?;
                taken_back += 1;
            }
        }
        Ok(taken_back)
    }

    fn presign(&self, name: &str, _valid: Duration) -> Result<Option<String>, StoreError> {
        self.path(name)?;
        Ok(None)
    }
}

/// A hidden file that becomes an object.
struct FolderUpload {
    folder: PathBuf,
    path: PathBuf,
    /// Where it is written; `None` once it has its name.
    hidden: Option<PathBuf>,
    file: File,
    head: usize,
    bytes: u64,
    /// It must not take the place of another one.
    only_new: bool,
}

impl FolderUpload {
    fn begin(folder: &Path, path: PathBuf, head: usize) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden =
            folder.join(format!(".{name}.{:08x}.part", getrandom::u32().unwrap_or_else(|_| std::process::id())));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
        Ok(Self { folder: folder.to_owned(), path, hidden: Some(hidden), file, head, bytes: 0, only_new: true })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(&mut self, head: &[u8]) -> io::Result<()> {
        self.file.write_all_at(head, 0)?;
        self.file.sync_all()?;
        step!("folder.written");
        // What a full or broken disk swallowed without a word would be found here.
        let length = self.file.metadata()?.len();
        if length != self.bytes {
            return Err(io::Error::other(format!("the file has {length} bytes instead of {}", self.bytes)));
        }
        if let Some(hidden) = &self.hidden {
            if self.only_new { rename_to_new(hidden, &self.path)? } else { fs::rename(hidden, &self.path)? }
        }
        self.hidden = None;
        step!("folder.named");
        sync_folder(&self.folder)
    }

    fn failure(&self, error: io::Error) -> StoreError {
        failure(&self.folder, &format!("writing file://{}", self.path.display()), error)
    }

    fn remove(&mut self) -> io::Result<()> {
        match self.hidden.take() {
            Some(hidden) => fs::remove_file(hidden),
            None => Ok(()),
        }
    }
}

impl Upload for FolderUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        interrupt::check()?;
        self.append(bytes).map_err(|error| self.failure(error))
    }

    fn complete(mut self: Box<Self>, head: &[u8]) -> Result<Stored, StoreError> {
        interrupt::check()?;
        if head.len() != self.head {
            let planned = self.head;
            return Err(
                self.failure(io::Error::other(format!("a head of {planned} bytes was planned, not {}", head.len())))
            );
        }
        self.finish(head).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Taken { what: format!("file://{}", self.path.display()) },
            _ => self.failure(error),
        })?;
        Ok(Stored { bytes: self.bytes, confirmed_by: "written and synced to the disk".to_owned() })
    }

    fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        let hidden = self.hidden.clone().unwrap_or_default();
        self.remove().map_err(|error| StoreError::Failed {
            action: format!("removing the unfinished {}", hidden.display()),
            source: error.into(),
        })
    }
}

impl Drop for FolderUpload {
    fn drop(&mut self) {
        // Who wants to know calls abort().
        let _ = self.remove();
    }
}

/// A file that must not end before the length it had when it was opened.
struct FolderReader {
    file: File,
    left: u64,
    url: String,
}

impl Read for FolderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        interrupt::check().map_err(StoreError::from)?;
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(buffer.get_mut(..length).unwrap_or_default())?;
        if read == 0 && length > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} ended {} bytes before its length", self.url, self.left),
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn modified(facts: &fs::Metadata) -> Option<Timestamp> {
    Timestamp::new(facts.mtime(), i32::try_from(facts.mtime_nsec()).unwrap_or(0)).ok()
}

/// Renames where nothing has that name. Some network file systems have no such call: looking first is all that is left there.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

/// A rename is on the disk when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn check_folder(folder: &Path) -> Result<(), StoreError> {
    let facts =
        fs::metadata(folder).map_err(|error| failure(folder, &format!("looking into {}", folder.display()), error))?;
    if !facts.is_dir() {
        return Err(StoreError::Misconfigured {
            message: format!("{} is not a folder", folder.display()),
            hint: "Name a folder: dokku pgbackup:set <service> destination file:///FOLDER".to_owned(),
        });
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| failure(folder, &format!("looking into {}", folder.display()), error.into()))
}

/// What a system's error means for a folder of backups.
fn failure(folder: &Path, action: &str, error: io::Error) -> StoreError {
    let shown = folder.display();
    match error.kind() {
        io::ErrorKind::NotFound if !folder.exists() => StoreError::Misconfigured {
            message: format!("The folder {shown} does not exist"),
            hint: format!(
                "Type, as root: install -d -m 0700 -o dokku -g dokku {shown} (or mount what should be there)"
            ),
        },
        io::ErrorKind::PermissionDenied => StoreError::Misconfigured {
            message: format!("The user who runs this may not use the folder {shown} ({action})"),
            // One of its own, whatever it lies in: the folder itself may belong to somebody who needs it.
            hint: format!(
                "Give backups one of their own: as root, install -d -m 0700 -o dokku -g dokku {shown}/pgbackup; then dokku pgbackup:set \
                 <service> destination file://{shown}/pgbackup"
            ),
        },
        io::ErrorKind::ReadOnlyFilesystem => StoreError::Misconfigured {
            message: format!("The folder {shown} lies on a disk that can only be read"),
            hint: "Look at the mount (findmnt, dmesg): a damaged disk is often mounted so".to_owned(),
        },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Failed { action: action.to_owned(), source: anyhow!("the disk of {shown} is full") }
        }
        _ => StoreError::Failed { action: action.to_owned(), source: error.into() },
    }
}
