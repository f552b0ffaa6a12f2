//! Small files that are there whole or not at all (settings, journals, histories), and files that one process has alone.
//!
//! A file is written beside its place, brought to the disk and renamed over it, so that neither a full disk nor a power
//! cut leaves half a setting behind. Run as root (by `install`), a new file is given to the owner of its folder: Dokku's
//! commands run as user `dokku` and could not read it otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// A file beside another one that is as old was left there by a dead run: writing takes moments.
const LEFT: Duration = Duration::from_mins(10);

/// Replaces a file's content in one step. `mode` is the file's mode (0o600).
///
/// # Errors
/// When the folder is missing, not writable or full; the old content is still there then.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let (folder, new) = beside(path)?;
    let written = write_new(&new, content, mode)
        .and_then(|()| fs::rename(&new, path).map_err(Into::into))
        .and_then(|()| sync_folder(&folder));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("{} can't be written", path.display()))
}

/// Removes a file; one that is not there counts as removed. Returns whether it was there.
///
/// # Errors
/// When it is there and can't be removed.
pub fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => {
            if let Some(folder) = path.parent() {
                sync_folder(folder)?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} can't be removed", path.display())),
    }
}

/// Removes what runs that were killed in the middle of a [`write()`] have left in a folder, once that is so old that nobody can be at it.
pub fn sweep(folder: &Path) {
    let left = |name: &str| {
        let (_, process) = name.strip_prefix('.')?.rsplit_once('.')?;
        let process: u32 = process.parse().ok()?;
        (!Path::new(&format!("/proc/{process}")).exists()).then_some(())
    };
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let is_old = || {
            let there = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            there.modified().ok()?.elapsed().ok().filter(|age| *age > LEFT)
        };
        if entry.file_name().to_str().and_then(left).and_then(|()| is_old()).is_some() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes a folder and those above it, each with this mode where it is new.
///
/// # Errors
/// When one of them can't be made.
pub fn make_folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => inherit_owner(path),
        // Another run was quicker.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error.into()),
    }
    .with_context(|| format!("The folder {} can't be made", path.display()))
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// When it is there and can't be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
    }
}

/// A file that was to be locked.
#[derive(Debug)]
pub enum Locked {
    /// Ours until it is closed; the kernel sees to that when we die.
    Ours(File),
    /// Someone else's.
    Theirs,
}

/// Opens a file for reading and writing (made with mode 0600 when missing) and locks it for us alone, waiting as long as
/// `wait` for whoever has it. The file that is locked is the one at the path: one that was replaced meanwhile is let go.
///
/// # Errors
/// When the file can't be opened or locked, or when we were asked to stop while waiting.
pub fn lock(path: &Path, wait: Duration) -> Result<Locked> {
    lock_when(path, wait, || Ok(true))
}

/// The same, for one who tries only while he may.
///
/// # Errors
/// Those of [`lock`], and whatever `may` says.
pub fn lock_when(path: &Path, wait: Duration, may: impl Fn() -> Result<bool>) -> Result<Locked> {
    let until = Instant::now() + wait;
    let failed = || format!("{} can't be locked", path.display());
    loop {
        if may()? {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
            let file = file.with_context(failed)?;
            match file.try_lock() {
                Ok(()) => {
                    let ours = file.metadata().with_context(failed)?;
                    match fs::metadata(path) {
                        Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                            if ours.len() == 0 {
                                inherit_owner(path).with_context(failed)?;
                            }
                            return Ok(Locked::Ours(file));
                        }
                        _ => continue,
                    }
                }
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error).with_context(failed),
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Locked::Theirs);
        }
        crate::interrupt::check()?;
        std::thread::sleep(Duration::from_millis(50).min(left));
    }
}

/// Whether somebody has locked a file: looked at without being in anybody's way.
///
/// # Errors
/// When the file is there and can't be opened or looked at.
pub fn is_locked(path: &Path) -> Result<bool> {
    let failed = || format!("{} can't be looked at", path.display());
    match File::open(path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(failed),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(failed),
    }
}

fn beside(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let folder = path.parent().ok_or_else(|| anyhow!("{} is no file", path.display()))?;
    let name = path.file_name().ok_or_else(|| anyhow!("{} is no file", path.display()))?;
    // The process id keeps two runs apart; [`sweep`] removes the leftover of a dead one.
    Ok((folder.to_owned(), folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()))))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    inherit_owner(path)?;
    file.sync_all()?;
    Ok(())
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()?;
    Ok(())
}

/// Gives what root made to the owner of the folder it is in.
fn inherit_owner(path: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        let owner = fs::metadata(folder)?;
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/file");
        make_folder(path.parent().unwrap(), 0o755).unwrap();
        write(&path, b"one, long", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn what_a_dead_run_has_left_beside_a_file_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, minutes: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_mins(minutes)).unwrap();
        };
        let ours = format!(".history.jsonl.{}", std::process::id());
        // No process has an id as high.
        for name in ["history.jsonl", "a.4294967295", ".profile", ".a.b", ".history.jsonl.4294967295", &ours] {
            place(name, 11);
        }
        place(".journal.4294967295", 9);
        sweep(folder.path());
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".a.b", &ours, ".journal.4294967295", ".profile", "a.4294967295", "history.jsonl"]);
    }

    #[test]
    fn locks_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(read(&path).unwrap(), None);
        let Locked::Ours(held) = lock(&path, Duration::ZERO).unwrap() else { panic!("nobody had it") };
        assert!(matches!(lock(&path, Duration::from_millis(60)).unwrap(), Locked::Theirs));
        drop(held);
        assert!(matches!(lock(&path, Duration::ZERO).unwrap(), Locked::Ours(_)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"new", 0o600).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn says_which_file_can_not_be_written() {
        let error = write(Path::new("/nonexistent/folder/file"), b"", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/folder/file can't be written");
    }
}
