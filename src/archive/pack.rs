//! Makes an archive out of a dump that streams in: compresses on several cores, writes in order, takes digest and length on the way.
//!
//! The dump is cut into blocks; block *i* goes to thread *i mod n*, which makes a gzip member of it, and the writer takes
//! the members in the same turn, so order needs no bookkeeping and every queue has room for one. Compression is nearly all
//! of the work; the writer's SHA-256 and the store's copy run beside it.
//!
//! **Memory** is bounded and does not depend on the dump: with `n` threads and blocks of `b` bytes at most `2n + 2` blocks
//! of the dump and `3n` members (in the worst case as large as their blocks) are in the house, so `(5n + 2) · b`, 6 MiB with
//! two threads and the default block. All buffers go round: on small machines a fresh large buffer costs more system time (page
//! faults) than its compression.
//!
//! A dropped [`Packer`] ends its threads and drops the sink, which takes back what was sent. An error of the sink reaches
//! the caller at its next write, as it was; a [`super::Transfer`] around it shows the store's own error.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor};

use super::proof::Ledger;
use super::{EXPORT, HEAD_BYTES, TAR_END, padding};

/// How a dump is packed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Compressing threads, at least one.
    pub threads: usize,
    /// libdeflate's level, 1 to 12.
    pub level: u32,
    /// Bytes of the dump in one gzip member.
    pub block: usize,
    /// Modification time of the entries, in seconds since 1970.
    pub modified: u64,
}

/// Bytes of the dump in one gzip member. Measured from 128 KiB to 1 MiB: below 512 KiB the handing over between threads shows
/// (5 to 10 % of the time), above it nothing is gained but memory used.
pub const BLOCK: usize = 512 << 10;
/// More threads than this are not used by default: the dump does not come in faster.
const MOST_THREADS: usize = 4;
/// The default level. On a database of half numbers and names, half random bytes in hex (1.1 GB) a core takes 170 MB/s and leaves
/// 350 MB; zlib-rs needs its level 2 and half as much time again for that, and leaves 553 MB at its level 1. Levels 2 and 3
/// leave 329 MB for a third to a half more time, on hosts where that is the scarce thing.
pub const LEVEL: u32 = 1;

impl Options {
    /// The defaults, for entries modified at this time (seconds since 1970).
    pub fn new(modified: u64) -> Self {
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads: cores.min(MOST_THREADS), level: LEVEL, block: BLOCK, modified }
    }
}

/// A finished archive, but for its head.
#[derive(Debug)]
pub struct Packed<W> {
    /// What belongs in front of everything that the sink got; [`HEAD_BYTES`] long.
    pub head: Vec<u8>,
    /// The sink, to be completed with the head.
    pub sink: W,
    /// Length of the dump.
    pub dump_bytes: u64,
    /// How many bytes the sink got.
    pub bytes_behind_head: u64,
    /// Their SHA-256.
    pub sha256_behind_head: [u8; 32],
    /// What it was on the way ([`super::proof`]).
    pub marks: Vec<[u8; 32]>,
}

impl<W> Packed<W> {
    /// Length of the whole object.
    pub fn object_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + self.bytes_behind_head
    }
}

/// Takes a dump, gives an archive. See the module's text.
#[derive(Debug)]
pub struct Packer<W: Write + Send + 'static> {
    options: Options,
    /// One queue for each compressing thread; emptied when the packer ends.
    queues: Vec<SyncSender<Vec<u8>>>,
    /// Whose turn it is.
    turn: usize,
    /// Blocks that were compressed come back here.
    used: Receiver<Vec<u8>>,
    /// What [`Write::write`] has gathered.
    gathered: Vec<u8>,
    taken: u64,
    threads: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<Option<Written<W>>>>,
    failure: Failure,
}

/// The first error of any thread.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// What the writer hands back.
#[derive(Debug)]
struct Written<W> {
    sink: W,
    bytes: u64,
    sha256: [u8; 32],
    marks: Vec<[u8; 32]>,
}

impl<W: Write + Send + 'static> Packer<W> {
    /// Starts the threads. The sink gets everything behind the head.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(sink: W, options: Options) -> io::Result<Self> {
        let options = Options { threads: options.threads.max(1), block: options.block.max(1), ..options };
        let failure = Failure::default();
        let (give_back, used) = mpsc::channel();
        let mut packer = Self {
            options,
            queues: Vec::new(),
            turn: 0,
            used,
            gathered: Vec::new(),
            taken: 0,
            threads: Vec::new(),
            writer: None,
            failure: Arc::clone(&failure),
        };
        let mut members = Vec::new();
        for number in 0..options.threads {
            let (queue, blocks) = mpsc::sync_channel::<Vec<u8>>(1);
            let (finished, from_thread) = mpsc::sync_channel::<Vec<u8>>(1);
            let (return_member, returned) = mpsc::channel::<Vec<u8>>();
            let give_back = give_back.clone();
            let failure = Arc::clone(&failure);
            let thread = thread::Builder::new().name(format!("pack-{number}")).spawn(move || {
                let work = Work { blocks, used: give_back, finished, returned };
                if let Err(error) = work.run(options.level) {
                    report(&failure, error);
                }
            })?;
            packer.threads.push(thread);
            packer.queues.push(queue);
            members.push(Members { from_thread, return_member });
        }
        packer.writer =
            Some(thread::Builder::new().name("pack-write".to_owned()).spawn(move || {
                match write_members(sink, &members) {
                    Ok(written) => Some(written),
                    Err(error) => {
                        report(&failure, error);
                        None
                    }
                }
            })?);
        Ok(packer)
    }

    /// How many bytes of the dump were taken so far.
    pub fn dump_bytes(&self) -> u64 {
        self.taken
    }

    /// An empty buffer with room for a block, to be filled and handed to [`Packer::block`].
    pub fn buffer(&mut self) -> Vec<u8> {
        self.used.try_recv().unwrap_or_else(|_| Vec::with_capacity(self.options.block))
    }

    /// Takes a filled buffer without copying it and gives an empty one for it. Blocks while the compression or the store is
    /// slower than the dump. Each call makes one gzip member, so fill buffers to about [`Options::block`].
    ///
    /// # Errors
    /// What the sink has said meanwhile.
    pub fn block(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        if !self.gathered.is_empty() {
            let next = self.buffer();
            let before = std::mem::replace(&mut self.gathered, next);
            self.send(before)?;
        }
        self.taken += block.len() as u64;
        self.send(block)?;
        Ok(self.buffer())
    }

    /// Ends the dump, adds the further entries and the end of the tar, and waits until the sink has everything.
    ///
    /// # Errors
    /// What the sink has said, or an entry whose name is too long for tar.
    pub fn finish(mut self, entries: &[(&str, &[u8])]) -> io::Result<Packed<W>> {
        let dump_bytes = self.taken;
        let modified = self.options.modified;
        let head = stored_member(tar_header(EXPORT, dump_bytes, modified)?.as_bytes());
        self.gather(padding(dump_bytes))?;
        for (name, content) in entries {
            self.gather(tar_header(name, content.len() as u64, modified)?.as_bytes())?;
            self.gather(content)?;
            self.gather(padding(content.len() as u64))?;
        }
        self.gather(&TAR_END)?;
        let last = std::mem::take(&mut self.gathered);
        self.send(last)?;
        let written = self.stop()?.ok_or_else(|| self.broken())?;
        Ok(Packed {
            head,
            sink: written.sink,
            dump_bytes,
            bytes_behind_head: written.bytes,
            sha256_behind_head: written.sha256,
            marks: written.marks,
        })
    }

    /// Adds bytes to the block in the making.
    fn gather(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.gathered.capacity() == 0 {
                self.gathered = self.buffer();
            }
            let room = self.options.block.saturating_sub(self.gathered.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.gathered.extend_from_slice(now);
            bytes = later;
            if self.gathered.len() >= self.options.block {
                let next = self.buffer();
                let full = std::mem::replace(&mut self.gathered, next);
                self.send(full)?;
            }
        }
        Ok(())
    }

    /// Gives a block to the thread whose turn it is.
    fn send(&mut self, block: Vec<u8>) -> io::Result<()> {
        if block.is_empty() {
            return Ok(()); // a member of nothing would be allowed, and useless
        }
        let sent = self.queues.get(self.turn).is_some_and(|queue| queue.send(block).is_ok());
        if !sent {
            self.stop()?;
            return Err(self.broken());
        }
        self.turn = (self.turn + 1) % self.options.threads;
        Ok(())
    }

    /// Lets all threads come to their end, and takes what they leave: the first error, or what the writer has written.
    fn stop(&mut self) -> io::Result<Option<Written<W>>> {
        self.queues.clear();
        let mut panicked = false;
        for thread in self.threads.drain(..) {
            panicked |= thread.join().is_err();
        }
        let written =
            self.writer.take().and_then(|writer| writer.join().inspect_err(|_| panicked = true).ok().flatten());
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None if panicked => Err(io::Error::other("a thread that packs the archive has panicked")),
            None => Ok(written),
        }
    }

    /// What a caller gets who goes on after an error.
    #[allow(clippy::unused_self)] // reads as what it is at its callers
    fn broken(&self) -> io::Error {
        io::Error::new(io::ErrorKind::BrokenPipe, "the archive was given up after an earlier error")
    }
}

impl<W: Write + Send + 'static> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gather(bytes)?;
        self.taken += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// Does nothing: blocks are sent when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for Packer<W> {
    /// Ends the threads; waits for the sink to return from a write that is under way.
    fn drop(&mut self) {
        let _ = self.stop(); // whoever drops a packer half-way has an error of their own
    }
}

/// Keeps the first error.
fn report(failure: &Failure, error: io::Error) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}

/// One compressing thread.
struct Work {
    blocks: Receiver<Vec<u8>>,
    used: Sender<Vec<u8>>,
    finished: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
}

impl Work {
    fn run(self, level: u32) -> io::Result<()> {
        let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
        let level = level.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such level of compression"))?;
        let mut deflate = Compressor::new(level);
        for mut block in self.blocks {
            let mut member = self.returned.try_recv().unwrap_or_default();
            compress(&mut deflate, &block, &mut member)?;
            block.clear();
            let _ = self.used.send(block); // the packer may be gone; what was taken is still finished
            if self.finished.send(member).is_err() {
                break; // the writer has failed and has said so
            }
        }
        Ok(())
    }
}

/// The gzip header of all members: deflate, no name, no time, fastest, Unix.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];
/// A member ends with CRC-32 and length.
const GZIP_TRAILER: usize = 8;

/// Makes one gzip member of a block.
fn compress(deflate: &mut Compressor, block: &[u8], member: &mut Vec<u8>) -> io::Result<()> {
    // The length that even bytes without any pattern need: a member never grows beyond it, and its memory is used again.
    let most = GZIP_HEADER.len() + deflate.deflate_compress_bound(block.len());
    member.clear();
    member.reserve(most + GZIP_TRAILER);
    member.extend_from_slice(&GZIP_HEADER);
    member.resize(most, 0);
    let room = member.get_mut(GZIP_HEADER.len()..).unwrap_or_default();
    let length = deflate.deflate_compress(block, room).map_err(io::Error::other)?;
    member.truncate(GZIP_HEADER.len() + length);
    member.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
    #[allow(clippy::cast_possible_truncation)] // gzip keeps the length modulo 2^32
    member.extend_from_slice(&(block.len() as u32).to_le_bytes());
    Ok(())
}

/// The writer's end of a compressing thread.
struct Members {
    from_thread: Receiver<Vec<u8>>,
    return_member: Sender<Vec<u8>>,
}

/// Writes the members in turn until there are no more.
fn write_members<W: Write>(mut sink: W, members: &[Members]) -> io::Result<Written<W>> {
    let mut ledger = Ledger::default();
    for thread in members.iter().cycle() {
        let Ok(member) = thread.from_thread.recv() else { break };
        ledger.update(&member);
        sink.write_all(&member)?;
        let _ = thread.return_member.send(member); // the thread may have ended
    }
    sink.flush()?;
    let bytes = ledger.bytes();
    let (sha256, marks) = ledger.finish();
    Ok(Written { sink, bytes, sha256, marks })
}

/// A tar header as GNU tar writes it: lengths beyond 8 GiB in base 256.
pub(super) fn tar_header(name: &str, length: u64, modified: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root")?;
    header.set_groupname("root")?;
    header.set_mtime(modified);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

/// A gzip member that holds a short text as it is: its length depends on the text's length alone.
fn stored_member(text: &[u8]) -> Vec<u8> {
    let mut member = Vec::with_capacity(HEAD_BYTES);
    member.extend_from_slice(&GZIP_HEADER);
    member.push(1); // the last block, stored
    #[allow(clippy::cast_possible_truncation)] // 512
    let length = text.len() as u16;
    member.extend_from_slice(&length.to_le_bytes());
    member.extend_from_slice(&(!length).to_le_bytes());
    member.extend_from_slice(text);
    member.extend_from_slice(&crc32fast::hash(text).to_le_bytes());
    member.extend_from_slice(&u32::from(length).to_le_bytes());
    member
}
