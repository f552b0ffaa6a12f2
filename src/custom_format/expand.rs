//! Compressed rows, expanded in passing: a stream comes in pieces of any size, its text goes out in pieces, and nothing is kept that
//! the stream itself doesn't refer back to.
//!
//! pg_dump writes one stream for the rows of each table and for each large object: zlib always could, LZ4 and Zstandard since
//! PostgreSQL 16. The readers of the two libraries for those want to pull their input; here it is pushed, so the frames are taken apart
//! here and only whole blocks are handed on, which also bounds what a block may ask for.

mod lz4;
mod zlib;
mod zstd;

use super::Compression;

/// A stream of one of the three kinds.
#[derive(Debug)]
pub enum Expand {
    /// What `-Z1` to `-Z9` and older versions make.
    Zlib(zlib::Zlib),
    /// What `-Z lz4` makes.
    Lz4(lz4::Lz4),
    /// What `-Z zstd` makes.
    Zstd(Box<zstd::Zstd>),
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No byte of it has come.
    Before,
    /// Its beginning has come, and not its end.
    Open,
    /// It is whole.
    Ended,
    /// It is read no further: it refers back further than we remember. What it holds is not known.
    Blind,
}

/// Behind the end of a stream nothing may stand.
const BEHIND: &str = "bytes stand behind a compressed stream";
/// What can't be what was compressed.
const DAMAGED: &str = "a compressed stream is damaged";

impl Expand {
    /// For a dump of this kind; `None` where nothing is compressed.
    pub fn new(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Gzip => Some(Self::Zlib(zlib::Zlib::new())),
            Compression::Lz4 => Some(Self::Lz4(lz4::Lz4::default())),
            Compression::Zstd => Some(Self::Zstd(Box::default())),
        }
    }

    /// Another stream comes.
    pub fn restart(&mut self) {
        match self {
            Self::Zlib(stream) => stream.restart(),
            Self::Lz4(stream) => stream.restart(),
            Self::Zstd(stream) => stream.restart(),
        }
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Zlib(stream) => stream.stage(),
            Self::Lz4(stream) => stream.stage(),
            Self::Zstd(stream) => stream.stage(),
        }
    }

    /// Takes a piece and gives the text that it yields.
    ///
    /// # Errors
    /// When the stream is damaged, in words.
    pub fn take(&mut self, piece: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), &'static str> {
        match self {
            Self::Zlib(stream) => stream.take(piece, text),
            Self::Lz4(stream) => stream.take(piece, text),
            Self::Zstd(stream) => stream.take(piece, text),
        }
    }
}

/// Bytes of something that is only of use as a whole, gathered from pieces.
#[derive(Debug, Default)]
struct Gathered(Vec<u8>);

impl Gathered {
    /// Takes from the piece what is still missing; whether there are so many bytes now.
    fn fill(&mut self, piece: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.0.len());
        let (bytes, rest) = piece.split_at_checked(missing).unwrap_or((piece, &[]));
        self.0.extend_from_slice(bytes);
        *piece = rest;
        self.0.len() >= wanted
    }

    /// The number that its first bytes are, least significant first.
    fn number(&self, at: usize) -> Option<u32> {
        self.0.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }
}
