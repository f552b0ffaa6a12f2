//! Where the bytes of a backup go, and who takes their digest on the way.

use std::io::{self, Write};

use crate::archive::proof::Ledger;
use crate::commands::spool::Spool;
use crate::commands::upload::NotedUpload;

/// Where the packer writes to.
pub(super) enum Sink {
    /// The store.
    Upload(NotedUpload),
    /// This host's disk, to be encrypted from there.
    Spool(Box<Spool>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Upload(upload) => upload.write(bytes),
            Self::Spool(spool) => spool.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Upload(upload) => upload.flush(),
            Self::Spool(spool) => spool.flush(),
        }
    }
}

/// Takes the digest of what is written.
pub(super) struct Digesting {
    pub(super) inner: NotedUpload,
    pub(super) ledger: Ledger,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.ledger.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
