//! Looks at the front of an archive, for what its dump says of itself long before anybody reads on.
//!
//! Nothing is decided here: what can't be found at once (an entry in front of the dump, a damaged gzip) is simply not found, and the
//! real reader ([`unpack`](super::unpack)) says what is wrong with it.

use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{EXPORT, TAR_BLOCK};

/// Bytes of the object that are read at once: no more than needed.
const READ: usize = 4 << 10;
/// Folders that may stand in front of the dump.
const MOST_FOLDERS: usize = 4;

/// The dump in an archive, where it stands at the front, from its first byte on.
pub fn dump_at_front(archive: impl Read) -> Option<impl Read> {
    let mut inflated = MultiGzDecoder::new(BufReader::with_capacity(READ, archive));
    for _ in 0..=MOST_FOLDERS {
        let mut block = [0; TAR_BLOCK];
        inflated.read_exact(&mut block).ok()?;
        let header = tar::Header::from_byte_slice(&block);
        let name = header.path_bytes();
        match header.entry_type() {
            tar::EntryType::Directory => {}
            tar::EntryType::Regular if name.strip_prefix(b"./").unwrap_or(&name) == EXPORT.as_bytes() => {
                return Some(inflated);
            }
            _ => return None,
        }
    }
    None
}
