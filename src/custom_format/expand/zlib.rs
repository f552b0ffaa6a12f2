//! zlib: inflated, and its checksum compared.

use flate2::{Decompress, FlushDecompress, Status};

use super::{BEHIND, DAMAGED, Stage};

/// Space for inflated bytes.
const INFLATED: usize = 64 << 10;

/// A zlib stream at work.
pub struct Zlib {
    stream: Decompress,
    space: Vec<u8>,
    begun: bool,
    ended: bool,
}

impl std::fmt::Debug for Zlib {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zlib").field("begun", &self.begun).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Zlib {
    pub fn new() -> Self {
        Self { stream: Decompress::new(true), space: vec![0; INFLATED], begun: false, ended: false }
    }

    pub fn restart(&mut self) {
        if self.begun {
            self.stream.reset(true);
        }
        self.begun = false;
        self.ended = false;
    }

    pub fn stage(&self) -> Stage {
        match (self.begun, self.ended) {
            (_, true) => Stage::Ended,
            (true, _) => Stage::Open,
            _ => Stage::Before,
        }
    }

    pub fn take(&mut self, mut piece: &[u8], text: &mut dyn FnMut(&[u8])) -> Result<(), &'static str> {
        loop {
            if self.ended {
                return if piece.is_empty() { Ok(()) } else { Err(BEHIND) };
            }
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(piece, &mut self.space, FlushDecompress::None).map_err(|_| DAMAGED)?;
            self.begun = true;
            let taken = usize::try_from(self.stream.total_in() - before_in).unwrap_or(usize::MAX);
            let made = usize::try_from(self.stream.total_out() - before_out).unwrap_or(usize::MAX);
            text(self.space.get(..made).unwrap_or_default());
            piece = piece.get(taken..).unwrap_or_default();
            match status {
                Status::StreamEnd => self.ended = true,
                // A full space may be too small for all that the input gives: ask again.
                Status::Ok | Status::BufError if made == self.space.len() => {}
                Status::Ok | Status::BufError if piece.is_empty() => return Ok(()),
                Status::Ok | Status::BufError if made == 0 && taken == 0 => return Err(DAMAGED),
                Status::Ok | Status::BufError => {}
            }
        }
    }
}
