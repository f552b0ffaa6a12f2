//! Reads an archive as it streams in: finds `backup/export`, hands it on, and goes on to the true end of the object.
//!
//! Archives come from buckets that others may write to, and from years ago. Nothing in one is trusted: no entry is ever
//! written anywhere, names are compared and never used as paths, lengths are never allocated, and what surrounds the dump may
//! be 1 GiB at most when inflated (gzip makes a thousand bytes out of one). The dump itself has no limit, and takes constant
//! memory. A dump counts as read only when the gzip stream, the tar around it and the object have all come to their ends, so a
//! cut anywhere is an error: dokku-postgres's own tar pipeline has called an empty object a success (dokku-postgres#274).
//!
//! Inflating runs in a thread of its own beside whoever takes the dump, with three blocks of 256 KiB between them.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{EXPORT, HEAD_BYTES, MANIFEST, TAR_BLOCK, Transfer, padding};

/// Inflated bytes that travel from thread to thread at once.
const BLOCK: usize = 256 << 10;
/// Filled blocks that may wait for the taker of the dump.
const WAITING: usize = 2;
/// Bytes of the object that are read at once.
const READ: usize = 64 << 10;
/// Inflated bytes of everything but the dump: other entries, padding.
const LARGEST_REST: u64 = 1 << 30;
/// The largest manifest that is kept; as `manifest::LARGEST`.
const LARGEST_MANIFEST: u64 = 64 << 20;
/// The largest header in a pax or GNU extension (a long name, a length beyond 8 GiB).
const LARGEST_EXTENSION: u64 = 64 << 10;

/// What fails when the reader fails.
const READING: &str = "reading the object failed";

/// What an archive held.
#[derive(Debug)]
pub struct Unpacked<T> {
    /// What the taker of the dump made of it.
    pub value: T,
    /// `backup/manifest.json`; archives of dokku-postgres have none.
    pub manifest: Option<Vec<u8>>,
    /// Length of the object.
    pub object_bytes: u64,
    /// SHA-256 of everything behind the first [`HEAD_BYTES`] of the object.
    pub sha256_behind_head: [u8; 32],
    /// Length of the dump.
    pub export_bytes: u64,
}

/// What is wrong with an archive. Errors of the reader itself (a store, a file) are passed on as they are.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is nothing in it.
    #[error("the object is empty")]
    Empty,
    /// It is something else.
    #[error("the object is not a gzip'd archive: {looks_like}")]
    NotGzip {
        /// "it looks like an OpenPGP message", "it begins with …".
        looks_like: String,
    },
    /// It ends too early.
    #[error("the archive is cut off inside {inside}")]
    Truncated {
        /// "a gzip member, after 4096 bytes", "backup/export".
        inside: String,
    },
    /// It contradicts itself.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// It is a good tar of something else.
    #[error("there is no {EXPORT} in the archive{}", found(.instead))]
    NoExport {
        /// The first few names that are in it, escaped.
        instead: Vec<String>,
    },
    /// It holds something that no backup holds.
    #[error("the archive is refused: {name} {why}")]
    Refused {
        /// The entry, escaped.
        name: String,
        /// "is a symbolic link", "leads out of the archive".
        why: &'static str,
    },
    /// What surrounds the dump is larger than any backup's.
    #[error("the archive is refused: more than {} MiB surround the dump", LARGEST_REST >> 20)]
    TooLarge,
}

fn found(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", but {}", names.join(", ")) }
}

/// Reads an archive to its end; `take` gets the dump while it streams by.
///
/// What `take` leaves unread is read (and checked) after it. When `take` fails, its error counts, unless the archive
/// broke under its hands: then that is the error. When `take` succeeds although the archive is broken, the archive's error counts:
/// whatever it made must not be used.
///
/// # Errors
/// [`ArchiveError`]; the reader's own errors in a [`Transfer`]; those of `take`.
pub fn unpack<T>(
    reader: impl Read + Send,
    take: impl FnOnce(&mut dyn BufRead) -> anyhow::Result<T>,
) -> anyhow::Result<Unpacked<T>> {
    unpack_sized(reader, |dump, _| take(dump))
}

/// The same for a taker that wants to know beforehand how long the dump is.
///
/// # Errors
/// See [`unpack`].
pub fn unpack_sized<T>(
    reader: impl Read + Send,
    take: impl FnOnce(&mut dyn BufRead, u64) -> anyhow::Result<T>,
) -> anyhow::Result<Unpacked<T>> {
    thread::scope(|scope| {
        let (full, blocks) = mpsc::sync_channel(WAITING);
        let (give_back, used) = mpsc::channel();
        let inflating = thread::Builder::new()
            .name("unpack".to_owned())
            .spawn_scoped(scope, move || inflate(reader, &full, &used))?;
        let mut stream = Stream { blocks, give_back, block: Vec::new(), at: 0, ended: false, failure: None };
        let walked = walk(&mut stream, take);
        // The thread ends at its next block when nobody waits for it any more.
        let Stream { failure, blocks, ended, .. } = stream;
        drop(blocks);
        let object = inflating.join();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let (value, tar) = walked?;
        let Ok(Some(object)) = object else { anyhow::bail!("the thread that unpacks the archive has failed") };
        debug_assert!(ended, "walk() returns at the end of the stream");
        Ok(Unpacked {
            value,
            manifest: tar.manifest,
            object_bytes: object.bytes,
            sha256_behind_head: object.sha256_behind_head,
            export_bytes: tar.export_bytes,
        })
    })
}

/// The object's length and digest.
struct Object {
    bytes: u64,
    sha256_behind_head: [u8; 32],
}

/// What travels from the inflating thread.
enum Message {
    Block(Vec<u8>),
    /// The gzip stream and the object have ended as they should.
    End,
    Failed(anyhow::Error),
}

/// Inflates the object block by block; `None` when it failed (and said so) or nobody listens any more.
fn inflate(reader: impl Read, full: &SyncSender<Message>, used: &Receiver<Vec<u8>>) -> Option<Object> {
    let mut source =
        BufReader::with_capacity(READ, Digesting { reader, bytes: 0, sha256: Sha256::new(), failure: None });
    match source.fill_buf() {
        Ok(beginning) => {
            if let Some(error) = foreign(beginning) {
                let _ = full.send(Message::Failed(error.into())); // nobody may listen any more
                return None;
            }
        }
        Err(error) => {
            let error = source.get_mut().failure.take().unwrap_or(error);
            let _ = full.send(Message::Failed(Transfer::new(READING, error).into()));
            return None;
        }
    }
    let mut gzip = MultiGzDecoder::new(source);
    loop {
        let mut block = used.try_recv().unwrap_or_else(|_| vec![0; BLOCK]);
        block.resize(BLOCK, 0); // costs nothing: a block comes back as long as it was
        let (filled, result) = fill(&mut gzip, &mut block);
        if filled > 0 {
            // What was inflated before an error is handed on: a taker that stops there is told of the error anyway.
            let whole = filled == block.len();
            block.truncate(filled);
            full.send(Message::Block(block)).ok()?;
            if whole && result.is_ok() {
                continue;
            }
        }
        let digesting = gzip.into_inner().into_inner();
        let bytes = digesting.bytes;
        let message = match (result, digesting.failure) {
            (_, Some(error)) => Message::Failed(Transfer::new(READING, error).into()),
            (Ok(()), None) => Message::End,
            (Err(error), None) => Message::Failed(broken_gzip(&error, bytes).into()),
        };
        let ended = matches!(message, Message::End);
        full.send(message).ok()?;
        return ended.then(|| Object { bytes, sha256_behind_head: digesting.sha256.finalize().into() });
    }
}

/// Fills a block; fewer bytes mean the end, or an error.
fn fill(gzip: &mut impl Read, block: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while let Some(space) = block.get_mut(filled..).filter(|space| !space.is_empty()) {
        match gzip.read(space) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

/// Says what an object is that is no gzip file.
fn foreign(beginning: &[u8]) -> Option<ArchiveError> {
    let looks_like = match beginning {
        [] => return Some(ArchiveError::Empty),
        [0x1f] | [0x1f, 0x8b, ..] => return None,
        [b'P', b'G', b'D', b'M', b'P', ..] => "it is a bare dump of pg_dump -Fc".to_owned(),
        // Packets 1 and 3 in old and new form: a session key for a public key or for a passphrase.
        [0x84..=0x87 | 0x8c..=0x8f | 0xc1 | 0xc3, ..] => "it looks like an encrypted OpenPGP message".to_owned(),
        _ if beginning.starts_with(b"-----BEGIN PGP") => "it looks like an encrypted OpenPGP message".to_owned(),
        _ if beginning.starts_with(b"<?xml") || beginning.starts_with(b"<!DOCTYPE") => {
            "it is a page of XML or HTML, perhaps an error of the store".to_owned()
        }
        _ => {
            let start = beginning.get(..beginning.len().min(16)).unwrap_or_default();
            format!("it begins with \"{}\"", start.escape_ascii())
        }
    };
    Some(ArchiveError::NotGzip { looks_like })
}

/// Sorts flate2's errors.
fn broken_gzip(error: &io::Error, after: u64) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            ArchiveError::Truncated { inside: format!("a gzip member, after {after} bytes") }
        }
        io::ErrorKind::InvalidInput => ArchiveError::Damaged(format!(
            "{error} within {after} bytes; something else than gzip stands in it or behind it"
        )),
        _ => ArchiveError::Damaged(format!("{error} within {after} bytes")),
    }
}

/// Takes length and digest of what is read, and keeps the reader's error, which flate2 might put into other words.
struct Digesting<R> {
    reader: R,
    bytes: u64,
    sha256: Sha256,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::other("reading the object has failed"));
        }
        let read = loop {
            match self.reader.read(buffer) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let text = io::Error::other(error.to_string());
                    self.failure = Some(error);
                    return Err(text);
                }
            }
        };
        let head_left = usize::try_from((HEAD_BYTES as u64).saturating_sub(self.bytes)).unwrap_or_default();
        self.sha256.update(buffer.get(head_left.min(read)..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// The inflated stream, at the end of the thread's queue.
struct Stream {
    blocks: Receiver<Message>,
    give_back: Sender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    ended: bool,
    /// The first error, as it was; readers get its text.
    failure: Option<anyhow::Error>,
}

impl Stream {
    /// Keeps an error and gives the reader its text.
    fn fail(&mut self, error: impl Into<anyhow::Error>) -> io::Error {
        let failure = self.failure.get_or_insert_with(|| error.into());
        io::Error::other(format!("{failure:#}"))
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() && !self.ended {
            if let Some(failure) = &self.failure {
                return Err(io::Error::other(format!("{failure:#}")));
            }
            match self.blocks.recv() {
                Ok(Message::Block(block)) => {
                    let used = std::mem::replace(&mut self.block, block);
                    self.at = 0;
                    if used.capacity() > 0 {
                        let _ = self.give_back.send(used); // the thread may have ended
                    }
                }
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => return Err(self.fail(error)),
                Err(_) => return Err(self.fail(anyhow::anyhow!("the thread that unpacks the archive has failed"))),
            }
        }
        Ok(self.block.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.block.len());
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// The dump within the stream.
struct Export<'a> {
    stream: &'a mut Stream,
    left: u64,
}

impl BufRead for Export<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        if self.stream.fill_buf()?.is_empty() {
            return Err(self.stream.fail(cut(EXPORT)));
        }
        let there = self.stream.fill_buf()?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(there.len());
        Ok(there.get(..most).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.stream.consume(amount);
        self.left -= amount as u64;
    }
}

impl Read for Export<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// The gzip stream is whole, but the tar in it is not: it was cut between two members, or before it was compressed.
fn cut(inside: &str) -> ArchiveError {
    ArchiveError::Truncated { inside: inside.to_owned() }
}

/// What a walk over the tar has brought.
struct Tar {
    manifest: Option<Vec<u8>>,
    export_bytes: u64,
}

/// Goes over the tar from its first header to the end of the stream.
fn walk<T>(
    stream: &mut Stream,
    take: impl FnOnce(&mut dyn BufRead, u64) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Tar)> {
    let mut take = Some(take);
    let mut taken = None;
    let mut manifest = None;
    let mut others = Vec::new();
    let mut budget = LARGEST_REST;
    while let Some(entry) = next_entry(stream, &mut budget)? {
        entry.refuse_hostile()?;
        let is_file = entry.kind == tar::EntryType::Regular || entry.kind == tar::EntryType::Continuous;
        if entry.is(EXPORT) {
            if !is_file {
                return Err(entry.refused("is not a regular file").into());
            }
            let Some(take) = take.take() else { return Err(entry.refused("is there twice").into()) };
            let mut export = Export { stream: &mut *stream, left: entry.length };
            let value = take(&mut export, entry.length)?;
            let left = export.left;
            skip(stream, left, EXPORT)?;
            skip_padding(stream, entry.length)?;
            taken = Some((value, entry.length));
            continue;
        }
        spend(&mut budget, entry.length)?;
        if entry.is(MANIFEST) && is_file {
            if manifest.is_some() {
                return Err(entry.refused("is there twice").into());
            }
            if entry.length > LARGEST_MANIFEST {
                return Err(entry.refused("is too large").into());
            }
            manifest = Some(read_all(stream, entry.length, MANIFEST)?);
        } else {
            skip(stream, entry.length, &entry.shown())?;
            if others.len() < 5 {
                others.push(entry.shown());
            }
        }
        skip_padding(stream, entry.length)?;
    }
    end_of_tar(stream, &mut budget)?;
    let Some((value, export_bytes)) = taken else { return Err(ArchiveError::NoExport { instead: others }.into()) };
    Ok((value, Tar { manifest, export_bytes }))
}

/// An entry's header, with what extensions before it have said.
struct Entry {
    name: Vec<u8>,
    kind: tar::EntryType,
    length: u64,
}

impl Entry {
    fn is(&self, name: &str) -> bool {
        self.name.strip_prefix(b"./").unwrap_or(&self.name) == name.as_bytes()
    }

    fn shown(&self) -> String {
        let start = self.name.get(..self.name.len().min(200)).unwrap_or_default();
        match std::str::from_utf8(start) {
            Ok(text) => text.escape_debug().to_string(),
            Err(_) => start.escape_ascii().to_string(),
        }
    }

    fn refused(&self, why: &'static str) -> ArchiveError {
        ArchiveError::Refused { name: self.shown(), why }
    }

    /// No backup holds links, devices or names that lead elsewhere; one that does was made to harm, or is no backup.
    fn refuse_hostile(&self) -> Result<(), ArchiveError> {
        use tar::EntryType as Kind;
        let why = match self.kind {
            Kind::Regular | Kind::Continuous | Kind::Directory => None,
            Kind::Link => Some("is a hard link"),
            Kind::Symlink => Some("is a symbolic link"),
            Kind::Char | Kind::Block => Some("is a device"),
            Kind::Fifo => Some("is a pipe"),
            Kind::GNUSparse => Some("is a sparse file"),
            _ => Some("is of an unknown kind"),
        };
        let why = why.or_else(|| {
            let leads_out =
                self.name.starts_with(b"/") || self.name.split(|&byte| byte == b'/').any(|part| part == b"..");
            leads_out.then_some("leads out of the archive")
        });
        why.map_or(Ok(()), |why| Err(self.refused(why)))
    }
}

/// Reads the next header; `None` at the first block of zeros.
fn next_entry(stream: &mut Stream, budget: &mut u64) -> anyhow::Result<Option<Entry>> {
    let mut long_name = None;
    let mut long_length = None;
    loop {
        let mut header = tar::Header::new_old();
        read_exact(stream, header.as_mut_bytes(), "the list of its entries")?;
        spend(budget, TAR_BLOCK as u64)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum = header.cksum().ok();
        let counted = header
            .as_bytes()
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) });
        if sum != Some(counted.sum()) {
            return Err(ArchiveError::Damaged("a tar header has a wrong checksum".to_owned()).into());
        }
        let length =
            header.entry_size().map_err(|_| ArchiveError::Damaged("a tar header has a wrong length".to_owned()))?;
        let kind = header.entry_type();
        let extension = kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions();
        if extension || kind.is_pax_global_extensions() {
            if length > LARGEST_EXTENSION {
                return Err(ArchiveError::Damaged("a tar header is too long".to_owned()).into());
            }
            spend(budget, length)?;
            let text = read_all(stream, length, "the list of its entries")?;
            skip_padding(stream, length)?;
            if kind.is_gnu_longname() {
                let end = memchr::memchr(0, &text).unwrap_or(text.len());
                long_name = text.get(..end).map(<[u8]>::to_vec);
            } else if kind.is_pax_local_extensions() {
                for record in tar::PaxExtensions::new(&text) {
                    let record = record.map_err(|_| ArchiveError::Damaged("a pax header can't be read".to_owned()))?;
                    match record.key_bytes() {
                        b"path" => long_name = Some(record.value_bytes().to_vec()),
                        b"size" => {
                            let value = record.value().ok().and_then(|value| value.parse().ok());
                            let wrong = || ArchiveError::Damaged("a pax header has a wrong length".to_owned());
                            long_length = Some(value.ok_or_else(wrong)?);
                        }
                        key if key.starts_with(b"GNU.sparse") => {
                            return Err(ArchiveError::Damaged("it holds a sparse file".to_owned()).into());
                        }
                        _ => {}
                    }
                }
            }
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let has_content = matches!(kind, tar::EntryType::Regular | tar::EntryType::Continuous);
        let length = if has_content { long_length.unwrap_or(length) } else { 0 };
        // Before POSIX a folder was a file whose name ends with a slash.
        let kind =
            if name.ends_with(b"/") && kind == tar::EntryType::Regular { tar::EntryType::Directory } else { kind };
        return Ok(Some(Entry { name, kind, length }));
    }
}

/// Behind the first block of zeros there is one more, then padding, then nothing.
fn end_of_tar(stream: &mut Stream, budget: &mut u64) -> anyhow::Result<()> {
    let mut zeros = 0;
    loop {
        let bytes = stream.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(ArchiveError::Damaged("something stands behind the end of the tar in it".to_owned()).into());
        }
        let length = bytes.len();
        stream.consume(length);
        zeros += length;
        spend(budget, length as u64)?;
    }
    if zeros < TAR_BLOCK {
        return Err(cut("its end mark").into());
    }
    Ok(())
}

fn spend(budget: &mut u64, bytes: u64) -> Result<(), ArchiveError> {
    *budget = budget.checked_sub(bytes).ok_or(ArchiveError::TooLarge)?;
    Ok(())
}

fn read_exact(stream: &mut Stream, space: &mut [u8], inside: &str) -> anyhow::Result<()> {
    match stream.read_exact(space) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut(inside).into()),
        other => Ok(other?),
    }
}

/// Reads an entry into memory, no faster than it comes.
fn read_all(stream: &mut Stream, length: u64, inside: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.by_ref().take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(cut(inside).into());
    }
    Ok(bytes)
}

fn skip(stream: &mut Stream, mut length: u64, inside: &str) -> anyhow::Result<()> {
    while length > 0 {
        let there = stream.fill_buf()?.len();
        if there == 0 {
            return Err(cut(inside).into());
        }
        let amount = usize::try_from(length).unwrap_or(usize::MAX).min(there);
        stream.consume(amount);
        length -= amount as u64;
    }
    Ok(())
}

fn skip_padding(stream: &mut Stream, length: u64) -> anyhow::Result<()> {
    skip(stream, padding(length).len() as u64, "the padding of an entry")
}
