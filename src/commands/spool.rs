//! Where the compressed bytes of an encrypted backup wait for its head.
//!
//! The first bytes of an archive are known last (pg_dump gives the dump's length at its end), and the store takes them last. OpenPGP
//! doesn't: it encrypts and digests from the first byte on. So an encrypted backup waits on this host's disk: compressed, in a
//! file that has no name, which goes with the process whatever becomes of it, and encrypted with a key that is in our memory alone.
//! Nothing in clear ever lies on the disk.
//!
//! The database may lie on the same disk. It must not be us who fill it: some space is left, whatever happens.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aes::Aes256;
use anyhow::{Context as _, Result, anyhow};
use ctr::Ctr64BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};

use crate::durable;
use crate::error::Failure;
use crate::ui::human;

/// What is left free on the disk: PostgreSQL stops when it can't write.
pub const LEFT_FREE: u64 = 512 << 20;
/// How often the free space is looked at.
const LOOK: u64 = 32 << 20;
/// Bytes that are encrypted at once.
const BLOCK: usize = 64 << 10;

/// The waiting bytes, while they come in.
pub struct Spool {
    folder: PathBuf,
    file: File,
    key: [u8; 32],
    cipher: Ctr64BE<Aes256>,
    block: Vec<u8>,
    written: u64,
}

/// The waiting bytes, on their way out.
pub struct Spooled {
    file: File,
    cipher: Ctr64BE<Aes256>,
    left: u64,
    sha256: Sha256,
}

fn cipher(key: &[u8; 32]) -> Ctr64BE<Aes256> {
    // Each key is used once: the counter may begin at zero.
    Ctr64BE::new(key.into(), &[0; 16].into())
}

impl Spool {
    /// Makes room in a folder for about so many bytes.
    ///
    /// # Errors
    /// When there is too little space, or the folder can't be written.
    pub fn begin(folder: &Path, expected: u64) -> Result<Self> {
        durable::make_folder(folder, 0o700)?;
        let free = free(folder);
        if free.is_some_and(|free| free < expected.saturating_add(LEFT_FREE)) {
            let free = human::size(free.unwrap_or_default());
            return Err(Failure::failed(format!(
                "An encrypted backup waits compressed on this host's disk and needs about {} there; {} has only {free} free, of which {} stay free",
                human::size(expected),
                folder.display(),
                human::size(LEFT_FREE)
            ))
            .hint("Free some space and take the backup again")
            .into());
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| anyhow!("The system gives no random numbers: {error}"))?;
        let failed = || format!("{} can't be written", folder.display());
        let path = folder.join(format!(".spool.{}", std::process::id()));
        // A leftover of a run that was killed between these lines is empty.
        durable::remove(&path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(failed)?;
        durable::remove(&path)?;
        Ok(Self { folder: folder.to_owned(), file, cipher: cipher(&key), key, block: Vec::new(), written: 0 })
    }

    /// Gives them back, from the first on.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn finish(mut self) -> io::Result<Spooled> {
        self.file.rewind()?;
        Ok(Spooled { file: self.file, cipher: cipher(&self.key), left: self.written, sha256: Sha256::new() })
    }
}

/// Free bytes on the disk of a folder.
pub fn free(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.get(..bytes.len().min(BLOCK)).unwrap_or_default();
        if self.written / LOOK != (self.written + now.len() as u64) / LOOK {
            crate::interrupt::check().map_err(io::Error::other)?;
            if free(&self.folder).is_some_and(|free| free < LEFT_FREE) {
                return Err(io::Error::other(format!(
                    "the disk of {} is nearly full, and the encrypted backup waits there: free some space",
                    self.folder.display()
                )));
            }
        }
        self.block.clear();
        self.block.extend_from_slice(now);
        self.cipher.apply_keystream(&mut self.block);
        self.file.write_all(&self.block)?;
        self.written += now.len() as u64;
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spooled {
    /// How many are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// SHA-256 of all that was read.
    pub fn sha256(self) -> [u8; 32] {
        self.sha256.finalize().into()
    }
}

impl Read for Spooled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::interrupt::check().map_err(io::Error::other)?;
        let read = self.file.read(buffer)?;
        let bytes = buffer.get_mut(..read).unwrap_or_default();
        self.cipher.apply_keystream(bytes);
        self.sha256.update(&*bytes);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn gives_back_what_it_took_and_shows_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::begin(folder.path(), 1 << 20).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
        let secret = b"sportfin_sportfinuser 562 ".repeat(20_000);
        spool.write_all(&secret).unwrap();
        let mut on_disk = Vec::new();
        let mut beside = spool.file.try_clone().unwrap();
        beside.rewind().unwrap();
        beside.read_to_end(&mut on_disk).unwrap();
        assert_eq!(on_disk.len(), secret.len());
        assert!(memchr::memmem::find(&on_disk, b"sportfin").is_none());
        let mut spooled = spool.finish().unwrap();
        assert_eq!(spooled.left(), secret.len() as u64);
        let mut back = Vec::new();
        spooled.read_to_end(&mut back).unwrap();
        assert!(back == secret);
        assert_eq!(spooled.sha256()[..], Sha256::digest(&secret)[..]);
    }

    #[test]
    fn two_never_have_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = || Spool::begin(folder.path(), 0).unwrap().key;
        assert_ne!(key(), key());
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_before_anything_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let error = Spool::begin(folder.path(), u64::MAX / 2).err().unwrap().to_string();
        assert!(error.contains(&folder.path().display().to_string()) && error.contains("free"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
