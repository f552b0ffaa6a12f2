//! The object that is stored: a gzip'd tar whose first entry, `backup/export`, is the dump, as dokku-postgres makes it.
//!
//! ```text
//! member 1, 535 bytes      tar header of backup/export, in a stored (not compressed) deflate block
//! members 2 …              the dump, one member a block, compressed on several cores; then, still within tar's rules,
//!                          backup/manifest.json, backup/globals.sql and the two zero blocks
//! ```
//! A tar header tells the length of what follows, and pg_dump gives its length last. So the header is a member of constant
//! size that the store takes last and puts first ([`pack`]). Stock tools read the result: gzip's format allows joined members
//! (RFC 1952, 2.2), and GNU tar, `gzip -t` and Python's tarfile are tried in the tests. The way back is [`unpack`], which
//! takes archives of pgbackup and of dokku-postgres alike, and trusts neither.
//!
//! This module sees bytes alone: it knows no store, no database.

pub mod encryption;
pub mod pack;
pub mod peek;
pub mod proof;
pub mod unpack;

use std::fmt;
use std::io;

/// The entry that holds the dump.
pub const EXPORT: &str = "backup/export";
/// The entry that holds the manifest.
pub const MANIFEST: &str = "backup/manifest.json";
/// The entry that holds the roles.
pub const GLOBALS: &str = "backup/globals.sql";

/// Bytes of the head: gzip header 10, header of a stored deflate block 5, a tar header, gzip trailer 8.
pub const HEAD_BYTES: usize = 10 + 5 + TAR_BLOCK + 8;

/// tar works in blocks of this size.
const TAR_BLOCK: usize = 512;
/// A tar ends with (at least) two blocks of zeros.
static TAR_END: [u8; 2 * TAR_BLOCK] = [0; 2 * TAR_BLOCK];

/// The zero bytes that fill the last block of an entry of this length.
fn padding(length: u64) -> &'static [u8] {
    let last = usize::try_from(length % TAR_BLOCK as u64).unwrap_or_default();
    TAR_END.get(..(TAR_BLOCK - last) % TAR_BLOCK).unwrap_or_default()
}

/// An error that has travelled through [`io::Read`] or [`io::Write`], with what was made of it as its source.
///
/// `io::Error` hides the error that it was made of (a store's, an interruption) from the chain of causes, so that callers could
/// not branch on it: `error.chain().find_map(|cause| cause.downcast_ref::<StoreError>())` finds it again behind this one.
#[derive(Debug)]
pub struct Transfer {
    what: &'static str,
    error: io::Error,
}

impl Transfer {
    /// Says what was being done, without a word on why it failed.
    pub fn new(what: &'static str, error: io::Error) -> Self {
        Self { what, error }
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for Transfer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let mut error: &(dyn std::error::Error + 'static) = &self.error;
        while let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            error = inner;
        }
        Some(error)
    }
}

#[cfg(test)]
mod tests;
