//! Walks over the blocks as they pass, in pieces of any size: counts rows and large objects, and finds whatever is missing.
//!
//! It is the proof behind "this dump is whole": every entry with data has had its block, once, with all its chunks and its
//! end; nothing stands between the blocks. An uncompressed dump has one chunk per row, some hundred bytes each, so chunks that
//! lie within one piece take a short path of their own. Compressed rows are expanded in passing ([`Expand`]).

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::Xxh3Default;

use super::expand::{Expand, Stage};
use super::{BLOCK_DATA, BLOCK_LARGE_OBJECTS, Compression, END_MARK, FormatError, Toc, parse_number};
use crate::checksum::{Numbered, Ranges, Sum};

/// What the blocks held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows by the dump id of each `TABLE DATA` entry; `None` where they can't be counted in passing (`--inserts`, or a compression that
    /// refers back too far).
    pub rows: BTreeMap<i32, Option<u64>>,
    /// Number of large objects.
    pub large_objects: u64,
    /// Checksums of the rows by the same ids, where they were asked for and the rows could be counted.
    pub sums: BTreeMap<i32, Sum>,
    /// The same of the large objects.
    pub large_object_sums: Ranges,
}

impl Contents {
    /// Rows by table, with names as [`super::Entry::qualified_name`] makes them.
    pub fn tables(&self, toc: &Toc) -> BTreeMap<String, Option<u64>> {
        let counted = |id| self.rows.get(&id).copied();
        toc.tables().filter_map(|entry| Some((entry.qualified_name(), counted(entry.dump_id)?))).collect()
    }
}

/// Counts what follows a table of contents.
#[derive(Debug)]
pub struct Tally {
    expected: HashMap<i32, Expected>,
    compression: Compression,
    contents: Contents,
    state: State,
    /// The bytes of a number that began in an earlier piece.
    begun: Vec<u8>,
    /// Bytes taken so far.
    at: u64,
    block: Block,
    expand: Option<Expand>,
    summing: Option<Summing>,
}

/// Adds the lines of a text up, or the bytes of a large object, whatever pieces they come in.
#[derive(Default)]
struct Summing {
    sum: Sum,
    /// The line that has begun.
    open: Option<Box<Xxh3Default>>,
    /// The large object that has begun.
    large_object: Option<Numbered>,
}

impl std::fmt::Debug for Summing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Summing").field("sum", &self.sum).finish_non_exhaustive()
    }
}

impl Summing {
    fn take(&mut self, text: &[u8]) {
        if let Some(large_object) = &mut self.large_object {
            large_object.add(text);
            return;
        }
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let ended = line.ends_with(b"\n");
            match &mut self.open {
                None if ended => self.sum.add(line),
                open => {
                    let hash = open.get_or_insert_with(|| Box::new(Xxh3Default::new()));
                    hash.update(line);
                    if ended {
                        self.sum.add_hash(hash.digest128());
                        *open = None;
                    }
                }
            }
        }
    }

    /// The sum of a text that has ended, without pg_dump's own mark behind the rows.
    fn end(&mut self, marked: bool) -> Sum {
        if let Some(last) = self.open.take() {
            self.sum.add_hash(last.digest128());
        }
        let mut sum = std::mem::take(&mut self.sum);
        if marked {
            END_MARK.split_inclusive(|byte| *byte == b'\n').for_each(|line| sum.remove(line));
        }
        sum
    }
}

/// A block that has to come.
#[derive(Debug)]
struct Expected {
    name: String,
    kind: BlockKind,
    seen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// COPY text: a line is a row.
    Rows,
    /// Rows in a form that has no such rule.
    OtherRows,
    LargeObjects,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The type of a block, or nothing more.
    BlockType,
    /// The dump id of a block of this type.
    BlockId(u8),
    /// The oid of a large object, or the end of its block.
    LargeObject,
    /// The length of a chunk.
    Length,
    /// A chunk, of which so much is left.
    Chunk(usize),
}

/// The block at hand.
#[derive(Debug)]
struct Block {
    dump_id: i32,
    kind: BlockKind,
    lines: Lines,
}

/// Counts line ends and remembers how the text ended.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    ends: u64,
    /// The last eight bytes, the newest in the lowest place.
    tail: u64,
}

impl Lines {
    #[inline]
    fn take(&mut self, text: &[u8]) {
        self.ends += memchr::memchr_iter(b'\n', text).count() as u64;
        match text.last_chunk::<8>() {
            Some(last) => self.tail = u64::from_be_bytes(*last),
            None => self.tail = text.iter().fold(self.tail, |tail, &byte| tail << 8 | u64::from(byte)),
        }
    }

    /// Whether pg_dump's own mark stands behind the rows.
    fn marked(self) -> bool {
        self.tail.to_be_bytes().ends_with(END_MARK)
    }

    /// Rows of a text that has ended. A last line without a line end is one, as COPY would take it.
    fn rows(self) -> u64 {
        let ended = self.marked();
        let open = self.tail & 0xff != u64::from(b'\n') && self.tail != 0;
        if ended { self.ends.saturating_sub(3) } else { self.ends + u64::from(open) }
    }
}

impl Tally {
    /// Begins behind a table of contents.
    pub fn new(toc: &Toc) -> Self {
        let expected = toc.entries().filter(|entry| entry.has_data).map(|entry| {
            let kind = match entry.copy_statement {
                _ if entry.is_large_objects() => BlockKind::LargeObjects,
                Some(_) if entry.is_table_data() => BlockKind::Rows,
                _ => BlockKind::OtherRows,
            };
            (entry.dump_id, Expected { name: entry.qualified_name(), kind, seen: false })
        });
        Self {
            expected: expected.collect(),
            compression: toc.compression(),
            contents: Contents::default(),
            state: State::BlockType,
            begun: Vec::with_capacity(5),
            at: 0,
            block: Block { dump_id: 0, kind: BlockKind::OtherRows, lines: Lines::default() },
            expand: Expand::new(toc.compression()),
            summing: None,
        }
    }

    /// The same, with a checksum of the rows of each table.
    #[must_use]
    pub fn with_sums(self) -> Self {
        Self { summing: Some(Summing::default()), ..self }
    }

    /// Takes the next piece, of any size. After an error the tally is of no more use.
    ///
    /// # Errors
    /// [`FormatError::Damaged`].
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), FormatError> {
        let mut input = piece;
        let end = self.at + piece.len() as u64;
        while !input.is_empty() {
            self.at = end - input.len() as u64;
            input = self.step(input)?;
        }
        self.at = end;
        Ok(())
    }

    /// The dump has ended: was that all of it?
    ///
    /// # Errors
    /// [`FormatError::Truncated`] inside a block, or when blocks are missing.
    pub fn finish(self) -> Result<Contents, FormatError> {
        self.whole()?;
        Ok(self.contents)
    }

    /// Whether the dump may end here.
    pub(super) fn whole(&self) -> Result<(), FormatError> {
        if self.state != State::BlockType {
            let name = self.expected.get(&self.block.dump_id).map_or("an entry", |expected| expected.name.as_str());
            let inside = match self.state {
                State::BlockId(_) => "where a block begins".to_owned(),
                _ => format!("inside the data of {name}"),
            };
            return Err(FormatError::Truncated { inside });
        }
        let mut missing: Vec<_> = self.expected.iter().filter(|(_, expected)| !expected.seen).collect();
        missing.sort_by_key(|(id, _)| **id);
        match missing.as_slice() {
            [] => Ok(()),
            [(_, first), others @ ..] => {
                let more = if others.is_empty() { String::new() } else { format!(" and of {} more", others.len()) };
                Err(FormatError::Truncated { inside: format!("before the data of {}{more}", first.name) })
            }
        }
    }

    /// What has been counted so far.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// How many bytes have passed.
    pub fn bytes(&self) -> u64 {
        self.at
    }

    /// Takes at least one byte off the front.
    fn step<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FormatError> {
        match self.state {
            State::BlockType => {
                let Some((&kind, rest)) = input.split_first() else { return Ok(input) };
                if kind != BLOCK_DATA && kind != BLOCK_LARGE_OBJECTS {
                    return Err(self.damaged(format!("no block begins with the byte {kind}")));
                }
                self.state = State::BlockId(kind);
                Ok(rest)
            }
            State::BlockId(kind) => {
                let (id, rest) = self.number(input)?;
                if let Some(id) = id {
                    self.begin_block(kind, id)?;
                }
                Ok(rest)
            }
            State::LargeObject => {
                let (oid, rest) = self.number(input)?; // beyond 2^31 an oid is written as a negative number
                match oid {
                    Some(0) => self.state = State::BlockType,
                    Some(oid) => {
                        self.contents.large_objects += 1;
                        if let Some(summing) = &mut self.summing {
                            summing.large_object = Some(Numbered::new(oid.cast_unsigned()));
                        }
                        self.state = State::Length;
                    }
                    None => {}
                }
                Ok(rest)
            }
            State::Length => {
                let input = if self.begun.is_empty() { self.whole_chunks(input) } else { input };
                if input.is_empty() {
                    return Ok(input);
                }
                let (length, rest) = self.number(input)?;
                match length {
                    Some(0) => self.end_data()?,
                    Some(length) => match usize::try_from(length) {
                        Ok(length) => self.state = State::Chunk(length),
                        Err(_) => return Err(self.damaged(format!("a chunk has the length {length}"))),
                    },
                    None => {}
                }
                Ok(rest)
            }
            State::Chunk(left) => {
                let (chunk, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
                self.chunk(chunk)?;
                self.state = if left == chunk.len() { State::Length } else { State::Chunk(left - chunk.len()) };
                Ok(rest)
            }
        }
    }

    /// The short path: takes all chunks that lie whole within the input, as long as they are plain text that is counted.
    fn whole_chunks<'a>(&mut self, mut input: &'a [u8]) -> &'a [u8] {
        if self.compression != Compression::None || self.block.kind != BlockKind::Rows {
            return input;
        }
        let mut lines = self.block.lines;
        while let Some((&[0, a, b, c, d], rest)) = input.split_first_chunk() {
            let length = u32::from_le_bytes([a, b, c, d]);
            if length == 0 || length > i32::MAX as u32 {
                break;
            }
            let Some((chunk, rest)) = rest.split_at_checked(length as usize) else { break };
            lines.take(chunk);
            if let Some(summing) = &mut self.summing {
                summing.take(chunk);
            }
            input = rest;
        }
        self.block.lines = lines;
        input
    }

    /// Takes the bytes of a number; it may have begun earlier, and may end later (then there is none yet).
    fn number<'a>(&mut self, input: &'a [u8]) -> Result<(Option<i32>, &'a [u8]), FormatError> {
        let (bytes, rest) = input.split_at_checked(5 - self.begun.len()).unwrap_or((input, &[]));
        self.begun.extend_from_slice(bytes);
        let Ok(whole) = self.begun.as_slice().try_into() else { return Ok((None, rest)) };
        self.begun.clear();
        match parse_number(whole) {
            Some(number) => Ok((Some(number), rest)),
            None => Err(self.damaged("a number is out of range".to_owned())),
        }
    }

    fn begin_block(&mut self, kind: u8, dump_id: i32) -> Result<(), FormatError> {
        let Some(expected) = self.expected.get_mut(&dump_id) else {
            return Err(self.damaged(format!("a block belongs to the unknown entry {dump_id}")));
        };
        let fits = (kind == BLOCK_LARGE_OBJECTS) == (expected.kind == BlockKind::LargeObjects);
        if !fits || expected.seen {
            let name = expected.name.clone();
            let what = if fits { "a second block" } else { "a block of another kind" };
            return Err(self.damaged(format!("{what} belongs to the entry of {name}")));
        }
        expected.seen = true;
        self.block = Block { dump_id, kind: expected.kind, lines: Lines::default() };
        if let Some(expand) = &mut self.expand {
            expand.restart();
        }
        self.state = if kind == BLOCK_LARGE_OBJECTS { State::LargeObject } else { State::Length };
        Ok(())
    }

    fn chunk(&mut self, chunk: &[u8]) -> Result<(), FormatError> {
        if let Some(expand) = &mut self.expand {
            let lines = &mut self.block.lines;
            let mut summing = self.summing.as_mut().filter(|_| self.block.kind != BlockKind::OtherRows);
            let expanded = expand.take(chunk, &mut |text| {
                lines.take(text);
                if let Some(summing) = summing.as_deref_mut() {
                    summing.take(text);
                }
            });
            return expanded.map_err(|what| self.damaged(what.to_owned()));
        }
        if self.block.kind == BlockKind::Rows {
            self.block.lines.take(chunk);
        }
        if self.block.kind != BlockKind::OtherRows
            && let Some(summing) = &mut self.summing
        {
            summing.take(chunk);
        }
        Ok(())
    }

    /// A chunk of no length: the end of a table's rows or of one large object.
    fn end_data(&mut self) -> Result<(), FormatError> {
        let mut stage = Stage::Ended;
        if let Some(expand) = &mut self.expand {
            stage = expand.stage();
            expand.restart();
            if stage == Stage::Open {
                return Err(self.damaged("a compressed stream has no end".to_owned()));
            }
        }
        if self.block.kind == BlockKind::LargeObjects {
            if let Some(whole) = self.summing.as_mut().and_then(|summing| summing.large_object.take()) {
                self.contents.large_object_sums.add(&whole);
            }
            self.state = State::LargeObject;
            return Ok(());
        }
        let counted = self.block.kind == BlockKind::Rows && stage != Stage::Blind;
        if let Some(summing) = self.summing.as_mut().filter(|_| counted) {
            self.contents.sums.insert(self.block.dump_id, summing.end(self.block.lines.marked()));
        }
        self.contents.rows.insert(self.block.dump_id, counted.then(|| self.block.lines.rows()));
        self.state = State::BlockType;
        Ok(())
    }

    fn damaged(&self, what: String) -> FormatError {
        FormatError::Damaged { what, at: self.at }
    }
}
