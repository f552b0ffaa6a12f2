//! The bytes of large objects, added up as a dump's own are while it passes: page by page, so that memory is bounded whatever their size.
//!
//! A large object lies in pages, of which those that were never written, and the end of each that was written in part, are nothing but zeros
//! to whoever reads it; a dump holds these zeros, and in a restored database they are written.

use anyhow::{Result, anyhow};
use fallible_iterator::FallibleIterator;
use postgres::Client;

use crate::checksum::{Numbered, Ranges};
use crate::database::words;
use crate::interrupt;

/// Also those that have no page.
const PAGES: &str = "SELECT m.oid, l.pageno, l.data FROM pg_catalog.pg_largeobject_metadata m \
     LEFT JOIN pg_catalog.pg_largeobject l ON l.loid = m.oid ORDER BY m.oid, l.pageno";
/// A page has a quarter of the server's blocks.
const PAGE_SIZE: &str = "SELECT pg_catalog.current_setting('block_size')::pg_catalog.int8 / 4";
const ZEROS: [u8; 8192] = [0; 8192];

/// Checksums of all that the session sees.
///
/// # Errors
/// In the server's words; or when we were asked to stop.
pub fn sums(client: &mut Client) -> Result<Ranges> {
    let said = |error: postgres::Error| anyhow!("The large objects can't be read: {}", words(&error));
    let page_size: i64 = client.query_one(PAGE_SIZE, &[]).and_then(|row| row.try_get(0)).map_err(said)?;
    let page_size = u64::try_from(page_size)?;
    let mut sums = Ranges::default();
    let mut open: Option<Growing> = None;
    let mut rows = client.query_raw(PAGES, std::iter::empty::<&str>()).map_err(said)?;
    while let Some(row) = rows.next().map_err(said)? {
        interrupt::check()?;
        let oid: u32 = row.try_get(0)?;
        if open.as_ref().is_none_or(|open| open.oid != oid)
            && let Some(whole) = open.replace(Growing::new(oid))
        {
            sums.add(&whole.hash);
        }
        let page: Option<i32> = row.try_get(1)?;
        if let Some((page, open)) = page.zip(open.as_mut()) {
            open.add_at(u64::try_from(page)? * page_size, row.try_get(2)?);
        }
    }
    if let Some(last) = open {
        sums.add(&last.hash);
    }
    Ok(sums)
}

/// A large object of which so many bytes have passed.
struct Growing {
    oid: u32,
    length: u64,
    hash: Numbered,
}

impl Growing {
    fn new(oid: u32) -> Self {
        Self { oid, length: 0, hash: Numbered::new(oid) }
    }

    /// Adds what stands at a place, with zeros for all that is missing before it.
    fn add_at(&mut self, at: u64, bytes: &[u8]) {
        while self.length < at {
            let missing = usize::try_from(at - self.length).unwrap_or(usize::MAX);
            self.add(ZEROS.get(..missing).unwrap_or(&ZEROS));
        }
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.add(bytes);
        self.length += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_is_zeros() {
        let mut sparse = Growing::new(7);
        sparse.add_at(0, b"ab");
        sparse.add_at(2048, b"c");
        sparse.add_at(100_000, b"d");
        let mut dense = Numbered::new(7);
        let mut bytes = vec![0; 100_001];
        for (at, byte) in [(0, b'a'), (1, b'b'), (2048, b'c'), (100_000, b'd')] {
            bytes[at] = byte;
        }
        for piece in bytes.chunks(997) {
            dense.add(piece);
        }
        let sum = |one: &Numbered| {
            let mut ranges = Ranges::default();
            ranges.add(one);
            ranges
        };
        assert_eq!(sum(&sparse.hash), sum(&dense));
    }
}
