//! LZ4 frames: a header, blocks of at most 4 MiB each, an end. A block may refer to the last 64 KiB before it, and no further.
//!
//! pg_dump's frames have blocks of 64 KiB and no checksums, so what is flipped in a literal is not noticed here (the object's SHA-256
//! notices it); checksums of other writers are compared.

use lz4_flex::block::decompress_into_with_dict;
use xxhash_rust::xxh32::{Xxh32, xxh32};

use super::{BEHIND, DAMAGED, Gathered, Stage};

const MAGIC: u32 = 0x184d_2204;
/// As far back as a block may refer.
const WINDOW: usize = 64 << 10;
/// Magic number, flags, size of blocks.
const FIRST: usize = 6;

/// A frame at work.
#[derive(Debug, Default)]
pub struct Lz4 {
    at: At,
    begun: bool,
    frame: Frame,
    gathered: Gathered,
    /// The text just before the next block.
    window: Vec<u8>,
    space: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Header,
    /// The rest of a header of this length.
    WholeHeader(usize),
    BlockSize,
    /// A block of so many bytes, and whether it is compressed.
    Block(usize, bool),
    /// The checksum of the whole text.
    Checksum,
    End,
}

/// What the header says.
#[derive(Default)]
struct Frame {
    /// Whether blocks know nothing of each other.
    independent: bool,
    block_checksums: bool,
    largest_block: usize,
    /// The checksum of the text so far, where the frame has one.
    sum: Option<Xxh32>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("largest_block", &self.largest_block).finish_non_exhaustive()
    }
}

impl Lz4 {
    pub fn restart(&mut self) {
        self.at = At::Header;
        self.begun = false;
        self.gathered.0.clear();
        self.window.clear();
    }

    pub fn stage(&self) -> Stage {
        match self.at {
            At::End => Stage::Ended,
            _ if self.begun => Stage::Open,
            _ => Stage::Before,
        }
    }

    pub fn take(&mut self, mut piece: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), &'static str> {
        loop {
            if self.at == At::End {
                return if piece.is_empty() { Ok(()) } else { Err(BEHIND) };
            }
            self.begun |= !piece.is_empty();
            let wanted = match self.at {
                At::Header => FIRST,
                At::WholeHeader(length) => length,
                At::Block(length, _) => length + if self.frame.block_checksums { 4 } else { 0 },
                At::BlockSize | At::Checksum | At::End => 4,
            };
            if !self.gathered.fill(&mut piece, wanted) {
                return Ok(());
            }
            self.at = self.step(text)?;
            // The first bytes of a header belong to the whole one.
            if !matches!(self.at, At::WholeHeader(_)) {
                self.gathered.0.clear();
            }
        }
    }

    /// What is wanted has been gathered.
    fn step(&mut self, text: &mut dyn FnMut(&[u8])) -> Result<At, &'static str> {
        match self.at {
            At::Header => self.header(),
            At::WholeHeader(length) => {
                let described = self.gathered.0.get(4..length - 1).unwrap_or_default();
                let sum = xxh32(described, 0).to_le_bytes()[1];
                if self.gathered.0.last() == Some(&sum) { Ok(At::BlockSize) } else { Err(DAMAGED) }
            }
            At::BlockSize => match self.gathered.number(0).ok_or(DAMAGED)? {
                0 if self.frame.sum.is_some() => Ok(At::Checksum),
                0 => Ok(At::End),
                word => {
                    let length = (word & 0x7fff_ffff) as usize;
                    let compressed = word >> 31 == 0;
                    if length == 0 || length > self.frame.largest_block {
                        return Err(DAMAGED);
                    }
                    Ok(At::Block(length, compressed))
                }
            },
            At::Block(length, compressed) => {
                self.block(length, compressed, text)?;
                Ok(At::BlockSize)
            }
            At::Checksum => {
                let sum = self.frame.sum.as_ref().map(Xxh32::digest);
                if self.gathered.number(0) == sum { Ok(At::End) } else { Err(DAMAGED) }
            }
            At::End => Ok(At::End),
        }
    }

    fn header(&mut self) -> Result<At, &'static str> {
        let (Some(MAGIC), Some(&[flags, sizes])) = (self.gathered.number(0), self.gathered.0.get(4..FIRST)) else {
            return Err(DAMAGED);
        };
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let size = sizes >> 4;
        // Version 1, no reserved bits; a dictionary is nothing that a dump could have.
        if flags >> 6 != 1 || flag(1) || flag(0) || sizes & 0x0f != 0 || !(4..=7).contains(&size) {
            return Err(DAMAGED);
        }
        self.frame = Frame {
            independent: flag(5),
            block_checksums: flag(4),
            largest_block: 1 << (2 * size + 8),
            sum: flag(2).then(|| Xxh32::new(0)),
        };
        Ok(At::WholeHeader(FIRST + if flag(3) { 8 } else { 0 } + 1))
    }

    fn block(&mut self, length: usize, compressed: bool, text: &mut dyn FnMut(&[u8])) -> Result<(), &'static str> {
        let block = self.gathered.0.get(..length).ok_or(DAMAGED)?;
        if self.frame.block_checksums && self.gathered.number(length) != Some(xxh32(block, 0)) {
            return Err(DAMAGED);
        }
        let text_of_block = if compressed {
            self.space.resize(self.frame.largest_block, 0);
            let made = decompress_into_with_dict(block, &mut self.space, &self.window).map_err(|_| DAMAGED)?;
            self.space.get(..made).ok_or(DAMAGED)?
        } else {
            block
        };
        text(text_of_block);
        if let Some(sum) = &mut self.frame.sum {
            sum.update(text_of_block);
        }
        if !self.frame.independent {
            let old = (self.window.len() + text_of_block.len()).saturating_sub(WINDOW).min(self.window.len());
            self.window.drain(..old);
            let new = text_of_block.len().saturating_sub(WINDOW);
            self.window.extend_from_slice(text_of_block.get(new..).unwrap_or_default());
        }
        Ok(())
    }
}
