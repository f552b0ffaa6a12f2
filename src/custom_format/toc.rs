//! The header and the table of contents, read from a stream to their exact end and kept as the bytes they were.
//!
//! The bytes themselves are kept because `pg_restore` wants them again (the section after the data is built from the table
//! of contents alone), and entries are views into them: 50,000 tables make 200,000 entries, which as separate strings would
//! take more memory than the dump's own text. One `u32` per entry is all that is added.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use super::{FormatError, Kind, MAGIC, NEWEST_MINOR, OLDEST_MINOR, parse_number};

/// A table of contents larger than this is not read. 50,000 tables with their indexes take about 100 MB. All of it is held, and a gzip of a
/// thousandth of that makes it.
const LARGEST: usize = 256 << 20;
/// One of more entries neither: each takes memory besides its bytes. 50,000 tables make 200,000.
const MOST_ENTRIES: u32 = 2_000_000;
/// What an entry is called has at most so many bytes: names have 63, those of functions bring the types of up to 100 arguments.
const LONGEST_TAG: usize = 64 << 10;
/// A schema, an owner, or a table whose rows follow, whose name is kept for each of them.
const LONGEST_NAME: usize = 1 << 10;
/// How much is asked of the reader at once: a length in the file must not decide how much memory is taken.
const STEP: usize = 64 << 10;
/// How many bytes of a thing that is no archive are looked at (a tar header is as long).
const BEGINNING: usize = 512;

/// How the blocks' contents are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all (`-Z0`).
    None,
    /// One zlib stream for each block or large object.
    Gzip,
    /// LZ4 frames (PostgreSQL 16).
    Lz4,
    /// Zstandard frames (PostgreSQL 16).
    Zstd,
}

/// When an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Comments, grants: with what they belong to.
    None,
    /// Schemas, types, tables, functions.
    PreData,
    /// Rows, large objects, values of sequences, statistics.
    Data,
    /// Indexes, constraints, triggers.
    PostData,
}

/// One entry of the table of contents. Texts are in the database's encoding, so they are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number in this archive; blocks name it.
    pub dump_id: i32,
    /// Whether a block with its data follows.
    pub has_data: bool,
    /// Oid of the catalog that `oid` is in (1259 is `pg_class`); 0 for things that are in none.
    pub catalog: u32,
    /// Oid of the object in the dumped database; for `TABLE DATA` the table's.
    pub oid: u32,
    /// The object's name without schema, or a short description.
    pub tag: &'a [u8],
    /// What it is: `TABLE`, `TABLE DATA`, `INDEX`, `BLOBS` …
    pub description: &'a [u8],
    /// When it is restored.
    pub section: Section,
    /// The SQL that makes it; empty when there is none. For `TABLE DATA` pg_dump leaves a comment here when the rows
    /// have to be loaded through the root of a partition tree.
    pub definition: &'a [u8],
    /// `COPY schema.table (columns) FROM stdin;` with a line end; `None` for a dump made with `--inserts`.
    pub copy_statement: Option<&'a [u8]>,
    /// Its schema.
    pub namespace: Option<&'a [u8]>,
    /// Its owner.
    pub owner: Option<&'a [u8]>,
}

/// The header and the table of contents of an archive.
#[derive(Debug, Clone)]
pub struct Toc {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    layout: Layout,
    database: Option<Range<usize>>,
    server_version: Option<Range<usize>>,
    dump_version: Option<Range<usize>>,
}

/// What the header says of how the rest is written.
#[derive(Debug, Clone, Copy)]
struct Layout {
    minor: u8,
    revision: u8,
    int_size: u8,
    off_size: u8,
    compression: Compression,
}

impl Toc {
    /// Reads header and table of contents, and not one byte more: the reader then stands at the first block.
    /// Many small reads are made; give it a buffered reader.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub fn read(reader: &mut (impl Read + ?Sized)) -> Result<Self, FormatError> {
        let mut input = Recorder { reader, bytes: Vec::with_capacity(STEP) };
        let begun = Self::begin(&mut input)?;
        let count = input.number()?;
        let count = u32::try_from(count).map_err(|_| input.damaged(format!("it claims {count} entries")))?;
        if count > MOST_ENTRIES {
            return Err(FormatError::Unsupported(format!(
                "its table of contents has {count} entries, more than {MOST_ENTRIES}"
            )));
        }
        let mut starts = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..count {
            // `LARGEST` fits in 32 bits, so this never fails.
            starts.push(u32::try_from(input.bytes.len()).map_err(|_| input.too_large())?);
            ids.push(Spans::parse(&mut input, begun.layout)?.dump_id);
        }
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        }) {
            return Err(input.damaged(format!("two entries have the dump id {twice}")));
        }
        let mut bytes = input.bytes;
        bytes.shrink_to_fit();
        starts.shrink_to_fit();
        Ok(Self { bytes, starts, ..begun })
    }

    /// Reads the header alone, which names the database and the versions: a table of contents without entries.
    ///
    /// # Errors
    /// See [`FormatError`].
    pub fn read_header(reader: &mut (impl Read + ?Sized)) -> Result<Self, FormatError> {
        let mut input = Recorder { reader, bytes: Vec::new() };
        let begun = Self::begin(&mut input)?;
        Ok(Self { bytes: input.bytes, ..begun })
    }

    /// Reads what stands before the number of entries. The bytes stay with the input.
    fn begin<R: Read + ?Sized>(input: &mut Recorder<'_, R>) -> Result<Self, FormatError> {
        let layout = header(input)?;
        for _ in 0..7 {
            input.number()?; // second, minute, hour, day, month, year, summer time
        }
        let database = input.string()?;
        let server_version = input.string()?;
        let dump_version = input.string()?;
        Ok(Self { bytes: Vec::new(), starts: Vec::new(), layout, database, server_version, dump_version })
    }

    /// Exactly the bytes that were read: the beginning of the archive up to its first block.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Version of the format: major, minor, revision.
    pub fn version(&self) -> (u8, u8, u8) {
        (1, self.layout.minor, self.layout.revision)
    }

    /// Bytes in a number (behind its sign); always 4, others are refused.
    pub fn int_size(&self) -> u8 {
        self.layout.int_size
    }

    /// Bytes in a file offset.
    pub fn off_size(&self) -> u8 {
        self.layout.off_size
    }

    /// How the blocks are compressed.
    pub fn compression(&self) -> Compression {
        self.layout.compression
    }

    /// The dumped database.
    pub fn database(&self) -> Cow<'_, str> {
        lossy(&self.bytes, self.database.as_ref())
    }

    /// Version of the server that it was dumped from ("15.18 (Debian 15.18-0+deb12u1)").
    pub fn server_version(&self) -> Cow<'_, str> {
        lossy(&self.bytes, self.server_version.as_ref())
    }

    /// Version of the pg_dump that wrote it.
    pub fn dump_version(&self) -> Cow<'_, str> {
        lossy(&self.bytes, self.dump_version.as_ref())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no entry at all (pg_dump always writes a few).
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The entries, in the order in which pg_dump restores them and wrote their blocks.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.starts.iter().filter_map(|&start| {
            let mut cursor = Cursor { bytes: &self.bytes, at: start as usize };
            let spans = Spans::parse(&mut cursor, self.layout).ok()?; // parsed before, when it was read
            Some(spans.entry(&self.bytes))
        })
    }

    /// The entries whose rows follow.
    pub fn tables(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(|entry| entry.has_data && entry.is_table_data())
    }

    /// The encoding of all texts and rows, as PostgreSQL calls it ("UTF8"), when the archive tells.
    pub fn encoding(&self) -> Option<Cow<'_, str>> {
        let entry = self.entries().find(|entry| entry.description == b"ENCODING")?;
        let value = entry.definition.split(|&byte| byte == b'\'').nth(1)?; // SET client_encoding = 'UTF8';
        Some(String::from_utf8_lossy(value))
    }
}

impl<'a> Entry<'a> {
    /// Whether its block holds the rows of a table.
    pub fn is_table_data(&self) -> bool {
        self.description == b"TABLE DATA"
    }

    /// Whether its block holds large objects.
    pub fn is_large_objects(&self) -> bool {
        self.description == b"BLOBS"
    }

    /// The table's name, qualified and quoted as PostgreSQL does it (`public.users`, `"Odd"."x y"`), with a replacement
    /// character for what is not UTF-8.
    ///
    /// Which words have to be quoted is the server's knowledge (it has a list of keywords); so the name is taken from the
    /// COPY statement, where pg_dump has written it by the same rule. Where that names another table (rows that are loaded
    /// through the root of a partition tree) or is missing, a name that isn't plain lower case is quoted.
    pub fn qualified_name(&self) -> String {
        let wanted = (self.namespace.unwrap_or_default(), self.tag);
        if let Some((name, (namespace, table))) = self.copy_statement.and_then(copied_table)
            && (namespace.as_ref(), table.as_ref()) == wanted
        {
            return String::from_utf8_lossy(name).into_owned();
        }
        let tag = quoted(self.tag);
        match self.namespace {
            Some(namespace) => format!("{}.{tag}", quoted(namespace)),
            None => tag,
        }
    }

    /// The table that the COPY statement names, as it is written there, and everything behind it: ` (columns) FROM stdin;`.
    pub fn copy_target(&self) -> Option<(&'a [u8], &'a [u8])> {
        let statement = self.copy_statement?;
        let (name, _) = copied_table(statement)?;
        Some((name, statement.get(b"COPY ".len() + name.len()..)?))
    }
}

/// A name in two parts, without quotes.
type Parts<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The table's name in a COPY statement: as it is written, and its two parts without quotes.
fn copied_table(statement: &[u8]) -> Option<(&[u8], Parts<'_>)> {
    let text = statement.strip_prefix(b"COPY ")?;
    let (first, behind) = identifier(text)?;
    let (second, rest) = identifier(behind.strip_prefix(b".")?)?;
    let name = text.get(..text.len() - rest.len())?;
    rest.starts_with(b" ").then_some((name, (first, second)))
}

/// Takes one identifier off the front of a statement.
fn identifier(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'.' | b'(' | b'"'))?;
        let (name, rest) = text.split_at_checked(end)?;
        return (!name.is_empty()).then_some((Cow::Borrowed(name), rest));
    };
    let mut name = Vec::new();
    loop {
        let end = memchr::memchr(b'"', rest)?;
        name.extend_from_slice(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix(b"\"") {
            Some(behind) => {
                name.push(b'"');
                rest = behind;
            }
            None => return Some((Cow::Owned(name), rest)),
        }
    }
}

/// A name in quotes, unless it is plain lower case.
fn quoted(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain = name.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'_')
        && name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
    if plain { text.into_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn lossy<'a>(bytes: &'a [u8], range: Option<&Range<usize>>) -> Cow<'a, str> {
    String::from_utf8_lossy(range.and_then(|range| bytes.get(range.clone())).unwrap_or_default())
}

/// Where the parts of an entry stand.
struct Spans {
    dump_id: i32,
    has_data: bool,
    catalog: u32,
    oid: u32,
    section: Section,
    tag: Option<Range<usize>>,
    description: Option<Range<usize>>,
    definition: Option<Range<usize>>,
    copy_statement: Option<Range<usize>>,
    namespace: Option<Range<usize>>,
    owner: Option<Range<usize>>,
}

impl Spans {
    fn parse(input: &mut impl Input, layout: Layout) -> Result<Self, FormatError> {
        let dump_id = input.number()?;
        if dump_id <= 0 {
            return Err(input.damaged(format!("an entry has the dump id {dump_id}")));
        }
        let has_data = match input.number()? {
            0 => false,
            1 => true,
            other => return Err(input.damaged(format!("entry {dump_id} has the data mark {other}"))),
        };
        let catalog = input.oid()?;
        let oid = input.oid()?;
        let tag = input.string()?;
        let description = input.string()?;
        let section = match input.number()? {
            1 => Section::None,
            2 => Section::PreData,
            3 => Section::Data,
            4 => Section::PostData,
            other => return Err(input.damaged(format!("entry {dump_id} is of section {other}"))),
        };
        let definition = input.string()?;
        input.string()?; // the statement that drops it
        let copy_statement = input.string()?;
        let namespace = input.string()?;
        input.string()?; // tablespace
        if layout.minor >= 14 {
            input.string()?; // table access method
        }
        if layout.minor >= 16 {
            input.number()?; // kind of relation
        }
        let owner = input.string()?;
        let longest_tag = if has_data { LONGEST_NAME } else { LONGEST_TAG };
        for (what, name, longest) in [
            ("tag", &tag, longest_tag),
            ("kind", &description, LONGEST_NAME),
            ("schema", &namespace, LONGEST_NAME),
            ("owner", &owner, LONGEST_NAME),
        ] {
            if let Some(length) = name.as_ref().map(Range::len).filter(|length| *length > longest) {
                return Err(input.damaged(format!("the {what} of entry {dump_id} is {length} bytes long")));
            }
        }
        input.string()?; // WITH OIDS, "false" since PostgreSQL 12
        while input.string()?.is_some() {} // dump ids of what it depends on
        let [state] = input.array()?;
        input.take(usize::from(layout.off_size))?;
        // 1: not known, as on every pipe; 2: known; 3: no data.
        if !matches!((state, has_data), (1 | 2, true) | (3, false)) {
            return Err(input.damaged(format!("entry {dump_id} has a wrong offset mark ({state})")));
        }
        Ok(Self {
            dump_id,
            has_data,
            catalog,
            oid,
            section,
            tag,
            description,
            definition,
            copy_statement,
            namespace,
            owner,
        })
    }

    fn entry(self, bytes: &[u8]) -> Entry<'_> {
        let text = |range: Option<Range<usize>>| range.and_then(|range| bytes.get(range));
        let filled = |range| text(range).filter(|text| !text.is_empty());
        Entry {
            dump_id: self.dump_id,
            has_data: self.has_data,
            catalog: self.catalog,
            oid: self.oid,
            tag: text(self.tag).unwrap_or_default(),
            description: text(self.description).unwrap_or_default(),
            section: self.section,
            definition: text(self.definition).unwrap_or_default(),
            copy_statement: filled(self.copy_statement),
            namespace: filled(self.namespace),
            owner: filled(self.owner),
        }
    }
}

/// Bytes that are parsed: new ones from a reader, or those that were kept.
trait Input {
    /// Moves on by `length` bytes and says where they stand.
    fn take(&mut self, length: usize) -> Result<Range<usize>, FormatError>;

    /// What has been read.
    fn bytes(&self) -> &[u8];

    /// Where the next byte will stand.
    fn position(&self) -> usize;

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let range = self.take(N)?;
        self.bytes().get(range).and_then(|bytes| bytes.try_into().ok()).ok_or_else(truncated)
    }

    fn number(&mut self) -> Result<i32, FormatError> {
        let bytes = self.array()?;
        parse_number(bytes).ok_or_else(|| self.damaged("a number is out of range".to_owned()))
    }

    fn string(&mut self) -> Result<Option<Range<usize>>, FormatError> {
        match usize::try_from(self.number()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// An oid, which is written as text.
    fn oid(&mut self) -> Result<u32, FormatError> {
        let range = self.string()?.unwrap_or_default();
        let text = self.bytes().get(range).unwrap_or_default();
        let oid = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        oid.ok_or_else(|| self.damaged("an oid is not a number".to_owned()))
    }

    fn damaged(&self, what: String) -> FormatError {
        FormatError::DamagedToc { what, at: self.position() as u64 }
    }

    fn too_large(&self) -> FormatError {
        FormatError::Unsupported(format!("its table of contents is larger than {} MiB", LARGEST >> 20))
    }
}

fn truncated() -> FormatError {
    FormatError::Truncated { inside: "inside its table of contents".to_owned() }
}

/// Reads, and keeps what it has read.
struct Recorder<'a, R: ?Sized> {
    reader: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: Read + ?Sized> Input for Recorder<'_, R> {
    fn take(&mut self, length: usize) -> Result<Range<usize>, FormatError> {
        let start = self.bytes.len();
        if length > LARGEST - start {
            return Err(self.too_large());
        }
        let end = start + length;
        while self.bytes.len() < end {
            let from = self.bytes.len();
            self.bytes.resize(end.min(from + STEP), 0);
            let Some(space) = self.bytes.get_mut(from..) else { break };
            match self.reader.read_exact(space) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(truncated()),
                Err(error) => return Err(FormatError::Read(error)),
            }
        }
        Ok(start..end)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn position(&self) -> usize {
        self.bytes.len()
    }
}

/// Goes over bytes that were kept.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input for Cursor<'_> {
    fn take(&mut self, length: usize) -> Result<Range<usize>, FormatError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(truncated)?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    fn bytes(&self) -> &[u8] {
        self.bytes
    }

    fn position(&self) -> usize {
        self.at
    }
}

/// Reads what stands before the time of the dump.
fn header<R: Read + ?Sized>(input: &mut Recorder<'_, R>) -> Result<Layout, FormatError> {
    let mut beginning = Vec::new();
    (&mut *input.reader).take(MAGIC.len() as u64).read_to_end(&mut beginning)?;
    if beginning != MAGIC {
        if beginning.len() == MAGIC.len() {
            (&mut *input.reader).take((BEGINNING - MAGIC.len()) as u64).read_to_end(&mut beginning)?;
        }
        return Err(match Kind::of(&beginning) {
            Kind::Empty => FormatError::Empty,
            Kind::PlainSql => FormatError::PlainSql,
            Kind::Archive | Kind::Tar | Kind::Unknown if MAGIC.starts_with(&beginning) => truncated(),
            Kind::Archive | Kind::Tar | Kind::Unknown => {
                beginning.truncate(16);
                FormatError::NotAnArchive { beginning }
            }
        });
    }
    input.bytes.append(&mut beginning);
    let [major, minor, revision] = input.array()?;
    if major != 1 || minor < OLDEST_MINOR {
        return Err(FormatError::Unsupported(format!(
            "its format version {major}.{minor} is older than PostgreSQL 9.0 or was never written by PostgreSQL"
        )));
    }
    if minor > NEWEST_MINOR {
        return Err(FormatError::Newer { minor });
    }
    let [int_size, off_size, format] = input.array()?;
    if int_size != 4 || !(1..=8).contains(&off_size) {
        return Err(FormatError::Unsupported(format!(
            "it was made on a machine with numbers of {int_size} and offsets of {off_size} bytes"
        )));
    }
    if format != 1 {
        return Err(FormatError::Unsupported(
            "it is the table of contents of a directory or tar dump (-Fd, -Ft)".to_owned(),
        ));
    }
    let compression = if minor >= 15 {
        let [algorithm] = input.array()?;
        match algorithm {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Lz4,
            3 => Compression::Zstd,
            other => return Err(FormatError::Unsupported(format!("its compression ({other}) is not known"))),
        }
    } else if input.number()? == 0 {
        Compression::None
    } else {
        Compression::Gzip // a level; -1 is zlib's own choice
    };
    Ok(Layout { minor, revision, int_size, off_size, compression })
}
