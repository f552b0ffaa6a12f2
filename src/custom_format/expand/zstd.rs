//! Zstandard frames: a header, blocks of at most 128 KiB of text each, perhaps a checksum.
//!
//! Blocks refer back as far as the header says: 2 MiB as pg_dump does it by itself, 8 MiB at level 19, 128 MiB with `long` or at level 22.
//! That much is remembered and no more; a frame that asks for more is not looked into.

use std::io::Read;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{BEHIND, DAMAGED, Gathered, Stage};

const MAGIC: u32 = 0xfd2f_b528;
/// As far back as we remember.
const WINDOW: u64 = 128 << 20;
/// No block is larger, and none makes more text.
const LARGEST_BLOCK: usize = 128 << 10;
/// Magic number, descriptor.
const FIRST: usize = 5;

/// A frame at work.
pub struct Zstd {
    at: At,
    begun: bool,
    has_sum: bool,
    gathered: Gathered,
    decoder: FrameDecoder,
    space: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Header,
    /// The rest of a header of this length.
    WholeHeader(usize),
    BlockHeader,
    /// A block of this length with its header and what stands behind the last one.
    Block(usize),
    End,
    Blind,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Self {
            at: At::Header,
            begun: false,
            has_sum: false,
            gathered: Gathered::default(),
            decoder,
            space: vec![0; LARGEST_BLOCK],
        }
    }
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Zstd {
    pub fn restart(&mut self) {
        self.at = At::Header;
        self.begun = false;
        self.gathered.0.clear();
    }

    pub fn stage(&self) -> Stage {
        match self.at {
            At::End => Stage::Ended,
            At::Blind => Stage::Blind,
            _ if self.begun => Stage::Open,
            _ => Stage::Before,
        }
    }

    pub fn take(&mut self, mut piece: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), &'static str> {
        loop {
            match self.at {
                At::Blind => return Ok(()),
                At::End => return if piece.is_empty() { Ok(()) } else { Err(BEHIND) },
                _ => {}
            }
            self.begun |= !piece.is_empty();
            let wanted = match self.at {
                At::Header => FIRST,
                At::WholeHeader(length) | At::Block(length) => length,
                At::BlockHeader | At::End | At::Blind => 3,
            };
            if !self.gathered.fill(&mut piece, wanted) {
                return Ok(());
            }
            self.at = self.step(text)?;
            // What has been looked at, but not been handed on yet.
            if !matches!(self.at, At::WholeHeader(_) | At::Block(_)) {
                self.gathered.0.clear();
            }
        }
    }

    /// What is wanted has been gathered.
    fn step(&mut self, text: &mut dyn FnMut(&[u8])) -> Result<At, &'static str> {
        match self.at {
            At::Header => {
                let (Some(MAGIC), Some(&descriptor)) = (self.gathered.number(0), self.gathered.0.get(4)) else {
                    return Err(DAMAGED);
                };
                let single = descriptor >> 5 & 1 == 1;
                self.has_sum = descriptor >> 2 & 1 == 1;
                let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied().unwrap_or_default();
                let size = match descriptor >> 6 {
                    0 => usize::from(single),
                    power => 1 << power,
                };
                let header = FIRST + usize::from(!single) + dictionary + size;
                // Nothing more may be to come.
                if header == FIRST { self.begin() } else { Ok(At::WholeHeader(header)) }
            }
            At::WholeHeader(_) => self.begin(),
            At::BlockHeader => {
                let Some(&[a, b, c]) = self.gathered.0.get(..3) else { return Err(DAMAGED) };
                let word = u32::from_le_bytes([a, b, c, 0]);
                let size = (word >> 3) as usize;
                if size > LARGEST_BLOCK {
                    return Err(DAMAGED);
                }
                // One byte stands for a run of it.
                let content = if word >> 1 & 3 == 1 { 1 } else { size };
                let sum = if word & 1 == 1 && self.has_sum { 4 } else { 0 };
                let whole = 3 + content + sum;
                if whole == 3 { self.block(text) } else { Ok(At::Block(whole)) }
            }
            At::Block(_) => self.block(text),
            At::End | At::Blind => Ok(self.at),
        }
    }

    fn begin(&mut self) -> Result<At, &'static str> {
        match self.decoder.reset(self.gathered.0.as_slice()) {
            Ok(()) => Ok(At::BlockHeader),
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => Ok(At::Blind),
            Err(_) => Err(DAMAGED),
        }
    }

    fn block(&mut self, text: &mut dyn FnMut(&[u8])) -> Result<At, &'static str> {
        let ended = self
            .decoder
            .decode_blocks(self.gathered.0.as_slice(), BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| DAMAGED)?;
        loop {
            let made = self.decoder.read(&mut self.space).map_err(|_| DAMAGED)?;
            match self.space.get(..made) {
                Some(piece) if !piece.is_empty() => text(piece),
                _ => return Ok(if ended { At::End } else { At::BlockHeader }),
            }
        }
    }
}
