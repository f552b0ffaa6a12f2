//! pg_dump's custom format (`-Fc`), read as it streams by: its table of contents, its blocks, its rows.
//!
//! An archive is a header, a table of contents ([`Toc`]), then one block for each entry with data, each cut in chunks. It is
//! described by `pg_backup_archiver.c` and `pg_backup_custom.c` of PostgreSQL alone; versions 1.12 (PostgreSQL 9.0) to 1.16 (17, 18).
//! Three things need it: the row engine (which rows to carry, and in which form), `check` (is the dump whole?) and the row
//! counts of backups that have no manifest: a COPY block has one line a row, so [`Tally`] counts them as they pass.
//!
//! Why not the `libpgdump` crate (2.3.1): it needs `Seek` to reach the data, wants every name to be UTF-8 (a LATIN1 or
//! SQL_ASCII database has others), and allocates what a length in the file claims: a flipped bit asks for 2 GB. Here
//! nothing is allocated before it was read, names are bytes, and what follows the table of contents takes constant memory.
//!
//! Numbers: a sign byte (0 or 1), then four bytes, least significant first. Strings: a number, then as many bytes; -1 is NULL.

mod expand;
mod tally;
mod toc;

use std::fmt;
use std::io;

pub use tally::{Contents, Tally};
pub use toc::{Compression, Entry, Section, Toc};

/// What every archive begins with.
pub const MAGIC: &[u8; 5] = b"PGDMP";
/// The newest version of the format that is understood (minor number; the major one has been 1 since 2000).
pub const NEWEST_MINOR: u8 = 16;
/// The oldest: PostgreSQL 9.0.
pub const OLDEST_MINOR: u8 = 12;

/// Type byte of a block with rows.
pub(crate) const BLOCK_DATA: u8 = 1;
/// Type byte of a block with large objects.
pub(crate) const BLOCK_LARGE_OBJECTS: u8 = 3;

/// pg_dump ends the rows of each block with this line and two empty ones.
pub const END_MARK: &[u8; 5] = b"\\.\n\n\n";
/// [`END_MARK`] as a chunk of its own, as pg_dump writes it.
pub const END_MARK_CHUNK: [u8; 10] = *b"\0\x05\0\0\0\\.\n\n\n";
/// The end of a block: a chunk of no length.
pub const BLOCK_END: [u8; 5] = [0; 5];

/// How a block of rows begins: its type and the dump id of its entry.
pub fn block_start(dump_id: i32) -> [u8; 6] {
    let [sign, a, b, c, d] = number(dump_id);
    [BLOCK_DATA, sign, a, b, c, d]
}

/// How a chunk begins. It is as long as the header of a CopyData message (`d`, then four bytes, most significant first, that
/// count themselves too), so the one can be written over the other.
///
/// `length` is at most `i32::MAX` (a COPY row is at most 1 GB) and not 0, which would be [`BLOCK_END`].
pub fn chunk_header(length: u32) -> [u8; 5] {
    let [a, b, c, d] = length.to_le_bytes();
    [0, a, b, c, d]
}

/// A number as the format writes it.
fn number(value: i32) -> [u8; 5] {
    let [a, b, c, d] = value.unsigned_abs().to_le_bytes();
    [u8::from(value < 0), a, b, c, d]
}

/// Reads a number; `None` when it doesn't fit (a magnitude that no C int has, a sign other than 0 and 1, a zero below
/// zero).
fn parse_number([sign, a, b, c, d]: [u8; 5]) -> Option<i32> {
    let magnitude = i64::from(u32::from_le_bytes([a, b, c, d]));
    match sign {
        0 => i32::try_from(magnitude).ok(),
        1 if magnitude > 0 => i32::try_from(-magnitude).ok(),
        _ => None,
    }
}

/// What a dump is, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// pg_dump's custom format.
    Archive,
    /// SQL text, as `pg_dump` and `pg_dumpall` write it without `-F`. It is never fed to a live server: it may drop databases.
    PlainSql,
    /// A tar archive of pg_dump (`-Ft`), or any other tar.
    Tar,
    /// No byte at all.
    Empty,
    /// Something else.
    Unknown,
}

impl Kind {
    /// Looks at the beginning of a dump; 512 bytes are enough, fewer than 5 only for a shorter dump.
    pub fn of(beginning: &[u8]) -> Self {
        /// What SQL text may begin with, apart from comments and psql's own commands.
        const WORDS: [&[u8]; 12] = [
            b"set ",
            b"create ",
            b"drop ",
            b"alter ",
            b"begin",
            b"start ",
            b"select ",
            b"copy ",
            b"insert ",
            b"comment ",
            b"grant ",
            b"update ",
        ];
        if beginning.is_empty() {
            return Self::Empty;
        }
        if beginning.starts_with(MAGIC) {
            return Self::Archive;
        }
        if beginning.get(257..262) == Some(b"ustar".as_slice()) {
            return Self::Tar;
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
        let sql = text.starts_with(b"--")
            || text.starts_with(b"/*")
            || text.starts_with(b"\\")
            || WORDS.iter().any(|word| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)));
        if sql && !beginning.contains(&0) { Self::PlainSql } else { Self::Unknown }
    }
}

/// Why a dump can't be read. A caller branches on plain SQL, on a newer version, and on "damaged or not".
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is nothing in it.
    #[error("the dump is empty")]
    Empty,
    /// It is SQL text.
    #[error("the dump is plain SQL, not an archive of pg_dump -Fc")]
    PlainSql,
    /// It is something else.
    #[error("it is not an archive of pg_dump -Fc: it begins with {}", Shown(.beginning))]
    NotAnArchive {
        /// Its first bytes.
        beginning: Vec<u8>,
    },
    /// A pg_dump newer than this code wrote it.
    #[error("the dump has format version 1.{minor}, newer than 1.{NEWEST_MINOR}: update the plugin to read it")]
    Newer {
        /// The minor number of its version.
        minor: u8,
    },
    /// It is a pg_dump archive of a kind that is not read.
    #[error("the dump can't be read: {0}")]
    Unsupported(String),
    /// It ends too early.
    #[error("the dump is cut off: it ends {inside}")]
    Truncated {
        /// "inside the table of contents", "inside the block of public.users".
        inside: String,
    },
    /// It contradicts itself.
    #[error("the dump is damaged: {what}, {at} bytes behind its table of contents")]
    Damaged {
        /// What is wrong.
        what: String,
        /// Where.
        at: u64,
    },
    /// Its table of contents contradicts itself.
    #[error("the dump's table of contents is damaged: {what}, at byte {at}")]
    DamagedToc {
        /// What is wrong.
        what: String,
        /// Where.
        at: u64,
    },
    /// Reading failed; the dump itself may be good.
    #[error("reading the dump failed")]
    Read(#[from] io::Error),
}

/// The first bytes of a thing, made safe for a terminal.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests;
