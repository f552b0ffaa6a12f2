#![allow(clippy::cast_possible_truncation, clippy::similar_names)] // small numbers; packer, packed, pack
#![allow(clippy::disallowed_methods)] // tar, gzip and python3 are asked what they think of our archives

use std::io::{Cursor, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::pack::{Options, Packed, Packer};
use super::unpack::{ArchiveError, Unpacked, unpack};
use super::*;

fn options(threads: usize, block: usize) -> Options {
    Options { threads, level: 1, block, modified: 1_700_000_000 }
}

/// An object as the store holds it.
fn pack(dump: &[u8], piece: usize, options: Options, entries: &[(&str, &[u8])]) -> (Vec<u8>, Packed<Vec<u8>>) {
    let mut packer = Packer::new(Vec::new(), options).unwrap();
    for piece in dump.chunks(piece.max(1)) {
        packer.write_all(piece).unwrap();
    }
    let packed = packer.finish(entries).unwrap();
    let object = [packed.head.as_slice(), &packed.sink].concat();
    (object, packed)
}

fn unpacked(object: &[u8]) -> anyhow::Result<Unpacked<Vec<u8>>> {
    unpack(Cursor::new(object), |dump| {
        let mut bytes = Vec::new();
        dump.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

fn archive_error(object: &[u8]) -> ArchiveError {
    match unpacked(object) {
        Ok(_) => panic!("it was unpacked"),
        Err(error) => error.downcast().unwrap(),
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).flat_map(|i| format!("{i}\tuser {}\n", i * 7 % 251).into_bytes()).take(length).collect()
}

/// A tar of these entries, compressed in one member as dokku-postgres does it.
fn tgz(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    gzip(&builder.into_inner().unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Adds an entry under a name that the builder would refuse.
fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn what_is_packed_is_unpacked() {
    for length in [0, 1, 511, 512, 513, 999, 1000, 1001, 2000, 30_000] {
        let dump = text(length);
        for threads in 1..=3 {
            let (object, packed) = pack(&dump, 333, options(threads, 1000), &[(MANIFEST, b"{}"), (GLOBALS, b"--")]);
            assert_eq!(packed.head.len(), HEAD_BYTES);
            assert_eq!(packed.object_bytes(), object.len() as u64);
            assert_eq!(packed.sha256_behind_head, <[u8; 32]>::from(Sha256::digest(&object[HEAD_BYTES..])));
            let unpacked = unpacked(&object).unwrap();
            assert!(unpacked.value == dump);
            assert_eq!(unpacked.manifest.as_deref(), Some(b"{}".as_slice()));
            assert_eq!(unpacked.object_bytes, packed.object_bytes());
            assert_eq!(unpacked.export_bytes, packed.dump_bytes);
            assert_eq!(unpacked.sha256_behind_head, packed.sha256_behind_head);
        }
    }
}

#[test]
fn a_dump_at_the_front_is_found_by_its_first_bytes() {
    let found = |mut object: &[u8]| {
        let mut beginning = [0; 64];
        peek::dump_at_front(&mut object)?.read_exact(&mut beginning).ok()?;
        Some((beginning.to_vec(), object.len()))
    };
    let dump: Vec<u8> = text(1 << 20).into_iter().rev().collect();
    let (object, _) = pack(&dump, 4096, options(2, 128 << 10), &[(MANIFEST, b"{}")]);
    let (beginning, unread) = found(&object).unwrap();
    assert_eq!(beginning, dump[..64]);
    assert!(object.len() - unread <= 16 << 10, "{unread} of {} are left", object.len());
    let folder = tar::EntryType::Directory;
    let theirs = |name: &'static str, kind| {
        tgz(|builder| {
            add(builder, "./backup/", folder, b"");
            add(builder, name, kind, &dump);
        })
    };
    assert_eq!(found(&theirs("./backup/export", FILE)).unwrap().0, dump[..64]);
    // Everything else is for the real reader to judge.
    for object in
        [theirs("other", FILE), theirs(EXPORT, tar::EntryType::Symlink), gzip(b"short"), text(2000), Vec::new()]
    {
        assert_eq!(found(&object), None);
    }
}

#[test]
fn blocks_are_taken_without_copying_and_in_order() {
    let dump = text(100_000);
    let mut packer = Packer::new(Vec::new(), options(2, 4096)).unwrap();
    let mut buffer = packer.buffer();
    let mut rest = dump.as_slice();
    for size in [1, 4096, 5000, 100, 0, 20_000].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (block, behind) = rest.split_at(size.min(rest.len()));
        assert!(buffer.is_empty());
        buffer.extend_from_slice(block);
        buffer = packer.block(buffer).unwrap();
        let (written, behind) = behind.split_at(77.min(behind.len()));
        packer.write_all(written).unwrap();
        rest = behind;
    }
    assert_eq!(packer.dump_bytes(), 100_000);
    let packed = packer.finish(&[]).unwrap();
    assert!(unpacked(&[packed.head, packed.sink].concat()).unwrap().value == dump);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_dump_in_any_pieces_comes_back(
        dump in proptest::collection::vec(any::<u8>(), 0..5000),
        piece in 1usize..3000, threads in 1usize..4, block in 1usize..2000, level in 1u32..=9,
        manifest in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..1500)),
    ) {
        let entries: Vec<_> = manifest.iter().map(|text| (MANIFEST, text.as_slice())).collect();
        let (object, _) = pack(&dump, piece, Options { level, ..options(threads, block) }, &entries);
        let unpacked = unpacked(&object).unwrap();
        prop_assert_eq!(unpacked.value, dump);
        prop_assert_eq!(unpacked.manifest, manifest);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(unpacked(&bytes).is_err());
        prop_assert!(unpacked(&gzip(&bytes)).is_err());
    }
}

#[test]
fn a_cut_anywhere_is_an_error() {
    let (object, _) = pack(&text(3000), 500, options(2, 600), &[(MANIFEST, b"{}")]);
    for end in 0..object.len() {
        match archive_error(&object[..end]) {
            ArchiveError::Empty => assert_eq!(end, 0),
            ArchiveError::Truncated { .. } => {}
            other => panic!("cut at {end}: {other}"),
        }
    }
    let old = tgz(|tar| {
        add(tar, "backup/", tar::EntryType::Directory, b"");
        add(tar, "backup/export", FILE, &text(3000));
    });
    for end in 0..old.len() {
        assert!(unpacked(&old[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_damaged_byte_anywhere_is_an_error_or_changes_nothing() {
    let dump = text(3000);
    let (object, _) = pack(&dump, 500, options(2, 600), &[(MANIFEST, b"{}")]);
    for at in 0..object.len() {
        for flip in [0x01, 0x10, 0xff] {
            let mut object = object.clone();
            object[at] ^= flip;
            if let Ok(unpacked) = unpacked(&object) {
                assert!(unpacked.value == dump, "byte {at}");
                assert_eq!(unpacked.manifest.as_deref(), Some(b"{}".as_slice()), "byte {at}");
            }
        }
    }
}

#[test]
fn what_stands_behind_an_archive_is_an_error() {
    let (object, _) = pack(b"dump", 4, options(1, 100), &[]);
    for behind in [b"x".as_slice(), b"\0", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"\x1f\x8b\x08", &gzip(b"more"), &object] {
        let error = archive_error(&[&object, behind].concat());
        assert!(matches!(error, ArchiveError::Damaged(_) | ArchiveError::Truncated { .. }), "{error}");
    }
    // tar's own padding is no garbage.
    unpacked(&[object.as_slice(), &gzip(&[0; 8192])].concat()).unwrap();
}

#[test]
fn what_is_no_archive_is_named() {
    let named = |bytes: &[u8]| archive_error(bytes).to_string();
    assert_eq!(named(b""), "the object is empty");
    assert_eq!(named(b"PGDMP\x01\x0e"), "the object is not a gzip'd archive: it is a bare dump of pg_dump -Fc");
    assert_eq!(
        named(b"\x8c\x0d\x04\x09"),
        "the object is not a gzip'd archive: it looks like an encrypted OpenPGP message"
    );
    assert_eq!(
        named(b"\x85\x02\x0c\x03"),
        "the object is not a gzip'd archive: it looks like an encrypted OpenPGP message"
    );
    assert_eq!(
        named(b"<?xml version='1.0'?><Error>"),
        "the object is not a gzip'd archive: it is a page of XML or HTML, perhaps an error of the store"
    );
    assert_eq!(
        named(b"\x1b]0;title\x07 and more than a few bytes"),
        "the object is not a gzip'd archive: it begins with \"\\x1b]0;title\\x07 and m\""
    );
    assert_eq!(named(&gzip(b"hello")), "the archive is cut off inside the list of its entries");
    assert_eq!(named(&tgz(|_| {})), "there is no backup/export in the archive");
    let other = tgz(|tar| {
        add(tar, "backup/", tar::EntryType::Directory, b"");
        add(tar, "backup/\x1b[2Jimport", FILE, b"x");
    });
    assert_eq!(named(&other), "there is no backup/export in the archive, but backup/, backup/\\u{1b}[2Jimport");
}

#[test]
fn hostile_tars_are_refused() {
    let with = |name: &str, kind| {
        archive_error(&tgz(|tar| {
            add(tar, "backup/export", FILE, b"dump");
            add(tar, name, kind, b"");
        }))
        .to_string()
    };
    assert_eq!(with("../../etc/cron.d/x", FILE), "the archive is refused: ../../etc/cron.d/x leads out of the archive");
    assert_eq!(with("backup/../x", FILE), "the archive is refused: backup/../x leads out of the archive");
    assert_eq!(with("/etc/passwd", FILE), "the archive is refused: /etc/passwd leads out of the archive");
    assert_eq!(with("backup/link", tar::EntryType::Symlink), "the archive is refused: backup/link is a symbolic link");
    assert_eq!(with("backup/link", tar::EntryType::Link), "the archive is refused: backup/link is a hard link");
    assert_eq!(with("backup/disk", tar::EntryType::Block), "the archive is refused: backup/disk is a device");
    assert_eq!(with("backup/pipe", tar::EntryType::Fifo), "the archive is refused: backup/pipe is a pipe");
    assert_eq!(
        with("backup/holes", tar::EntryType::GNUSparse),
        "the archive is refused: backup/holes is a sparse file"
    );
    assert_eq!(with("backup/export", FILE), "the archive is refused: backup/export is there twice");
    assert_eq!(with("./backup/export", FILE), "the archive is refused: ./backup/export is there twice");
    let twice = tgz(|tar| {
        add(tar, "backup/export", FILE, b"dump");
        add(tar, "backup/manifest.json", FILE, b"{}");
        add(tar, "./backup/manifest.json", FILE, b"{}");
    });
    assert!(matches!(archive_error(&twice), ArchiveError::Refused { .. }));
    // As the first entry it never reaches whoever takes the dump.
    let object = tgz(|tar| add(tar, "backup/export", tar::EntryType::Symlink, b""));
    let result = unpack(Cursor::new(object), |_| -> anyhow::Result<()> { panic!("it was handed on") });
    assert!(matches!(result.unwrap_err().downcast().unwrap(), ArchiveError::Refused { .. }));
}

#[test]
fn lengths_that_lie_are_found_without_memory() {
    let claims = |name: &str, length: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_size(length);
        header.set_cksum();
        archive_error(&gzip(&[header.as_bytes().as_slice(), &[0; 2048]].concat()))
    };
    assert!(matches!(claims("backup/export", 1 << 60), ArchiveError::Truncated { .. }));
    assert!(matches!(claims("backup/manifest.json", 1 << 20), ArchiveError::Truncated { .. }));
    assert!(matches!(claims("backup/manifest.json", 65 << 20), ArchiveError::Refused { .. }));
    assert!(matches!(claims("backup/other", 1 << 40), ArchiveError::TooLarge));
    assert!(matches!(claims("backup/other", u64::MAX), ArchiveError::TooLarge));
    // A name of 1 GB, of which there is nothing.
    let error = archive_error(&tgz(|tar| add(tar, "x", tar::EntryType::GNULongName, &vec![b'x'; 100 << 10])));
    assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
}

#[test]
fn a_dump_as_long_as_a_bomb_passes_in_little_memory() {
    // 64 MiB of zeros in 64 KiB; more would only take longer. Nothing but the taker's own buffer grows.
    let (object, packed) = {
        let mut packer = Packer::new(Vec::new(), Options::new(0)).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            packer.write_all(&zeros).unwrap();
        }
        let packed = packer.finish(&[]).unwrap();
        ([packed.head.as_slice(), &packed.sink].concat(), packed)
    };
    assert!(object.len() < 1 << 20);
    let unpacked = unpack(Cursor::new(object), |dump| {
        let mut length = 0;
        loop {
            let there = dump.fill_buf()?.len();
            if there == 0 {
                return Ok(length);
            }
            assert!(there <= 256 << 10);
            length += there as u64;
            dump.consume(there);
        }
    });
    assert_eq!(unpacked.unwrap().value, packed.dump_bytes);
}

#[test]
fn an_early_end_of_the_taker_is_no_end_of_the_check() {
    let (object, _) = pack(&text(50_000), 5000, options(2, 1000), &[(MANIFEST, b"{}")]);
    let first = |dump: &mut dyn io::BufRead| {
        let mut byte = [0];
        dump.read_exact(&mut byte)?;
        Ok(byte)
    };
    let unpacked = unpack(Cursor::new(&object), first).unwrap();
    assert_eq!((unpacked.value, unpacked.export_bytes), (*b"0", 50_000));
    assert_eq!(unpacked.manifest.as_deref(), Some(b"{}".as_slice()));
    let cut = &object[..object.len() - 5];
    assert!(matches!(unpack(Cursor::new(cut), first).unwrap_err().downcast().unwrap(), ArchiveError::Truncated { .. }));
}

#[derive(Debug, thiserror::Error)]
#[error("the store said no")]
struct StoreSaid;

/// A reader that breaks where another would end.
struct Breaks<R>(R);

impl<R: Read> Read for Breaks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other(StoreSaid)),
            read => Ok(read),
        }
    }
}

#[test]
fn the_first_cause_counts() {
    let (object, _) = pack(&text(500_000), 5000, options(2, 10_000), &[]);
    // The taker's own error.
    let error = unpack(Cursor::new(&object), |_| -> anyhow::Result<()> { Err(StoreSaid.into()) }).unwrap_err();
    error.downcast::<StoreSaid>().unwrap();
    // The reader's, though the taker puts it into words of its own, or keeps silent.
    for swallow in [false, true] {
        let broken = Breaks(Cursor::new(&object[..object.len() / 2]));
        let error = unpack(broken, |dump| {
            let result = io::copy(dump, &mut io::sink());
            anyhow::ensure!(swallow || result.is_ok(), "pg_restore has failed");
            Ok(())
        });
        let error = error.unwrap_err();
        assert_eq!(format!("{error:#}"), "reading the object failed: the store said no");
        assert!(error.chain().any(<dyn std::error::Error>::is::<StoreSaid>), "{error:?}");
    }
    // Also before the first byte: that is how a missing permission arrives.
    let error = unpack(Breaks(io::empty()), |_| Ok(())).unwrap_err();
    assert!(error.chain().any(<dyn std::error::Error>::is::<StoreSaid>), "{error:?}");
}

/// A sink that breaks, and tells when it is gone.
struct Sink {
    left: usize,
    panics: bool,
    gone: Arc<AtomicBool>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left < bytes.len() {
            assert!(!self.panics, "the sink panics");
            return Err(io::Error::other(StoreSaid));
        }
        self.left -= bytes.len();
        std::thread::sleep(std::time::Duration::from_micros(200)); // queues fill
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_broken_sink_is_reported_as_it_was() {
    for left in [0, 1000, 5000, 20_000] {
        for threads in [1, 2, 4] {
            let gone = Arc::new(AtomicBool::new(false));
            let sink = Sink { left, panics: false, gone: Arc::clone(&gone) };
            let mut packer = Packer::new(sink, options(threads, 500)).unwrap();
            let error = loop {
                if let Err(error) = packer.write_all(&text(3000)) {
                    break error;
                }
            };
            assert!(said(error));
            assert_eq!(packer.write_all(&[0; 1000]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            assert!(gone.load(Ordering::SeqCst));
            packer.finish(&[]).err().unwrap();
        }
    }
    // Only the last write fails.
    let sink = Sink { left: 10, panics: false, gone: Arc::default() };
    let mut packer = Packer::new(sink, options(2, 500)).unwrap();
    packer.write_all(b"short").unwrap();
    assert!(said(packer.finish(&[]).err().unwrap()));
}

#[test]
fn a_sink_that_panics_is_an_error() {
    let sink = Sink { left: 0, panics: true, gone: Arc::default() };
    let mut packer = Packer::new(sink, options(2, 500)).unwrap();
    packer.write_all(b"short").unwrap();
    assert!(packer.finish(&[]).err().unwrap().to_string().contains("panicked"));
}

#[test]
fn a_packer_dropped_half_way_leaves_nothing() {
    for length in [0, 10, 100_000] {
        let gone = Arc::new(AtomicBool::new(false));
        let sink = Sink { left: usize::MAX, panics: false, gone: Arc::clone(&gone) };
        let mut packer = Packer::new(sink, options(2, 500)).unwrap();
        packer.write_all(&text(length)).unwrap();
        drop(packer);
        assert!(gone.load(Ordering::SeqCst), "the sink is dropped when drop() returns");
    }
}

/// Whether an error of the sink can be branched on.
fn said(error: io::Error) -> bool {
    anyhow::Error::from(Transfer::new("packing failed", error)).chain().any(<dyn std::error::Error>::is::<StoreSaid>)
}

#[test]
fn causes_are_found_inside_io_errors() {
    assert!(said(io::Error::other(io::Error::other(StoreSaid))));
    let plain = anyhow::Error::from(Transfer::new("packing failed", io::Error::from(io::ErrorKind::BrokenPipe)));
    assert_eq!(format!("{plain:#}"), "packing failed: broken pipe");
}

/// Runs a program over an object; `None` when this machine doesn't have it.
fn run(program: &str, arguments: &[&str], object: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        other => other.unwrap(),
    };
    let mut stdin = child.stdin.take().unwrap();
    let object = object.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&object));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{program}");
    Some(output.stdout)
}

#[test]
fn stock_tools_read_our_archives() {
    for length in [0, 1, 512, 700_000] {
        let dump = text(length);
        let entries: [(&str, &[u8]); 2] = [(MANIFEST, b"{}\n"), (GLOBALS, b"CREATE ROLE x;\n")];
        let (object, _) = pack(&dump, 5000, options(2, 100_000), &entries);
        if let Some(export) = run("tar", &["-xzO", "-f", "-", EXPORT], &object) {
            assert!(export == dump);
        }
        if let Some(list) = run("tar", &["-tvzf", "-", "--utc", "--numeric-owner"], &object) {
            let list = String::from_utf8(list).unwrap();
            let first = list.lines().next().unwrap();
            let words: Vec<_> = first.split_whitespace().collect();
            assert_eq!(words, ["-rw-r--r--", "0/0", &length.to_string(), "2023-11-14", "22:13", "backup/export"]);
            assert_eq!(list.lines().count(), 3);
        }
        run("gzip", &["-t"], &object);
        let script = "import io, sys, tarfile\n\
            tar = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()), mode='r:gz')\n\
            for entry in tar: sys.stdout.buffer.write(tar.extractfile(entry).read())";
        if let Some(all) = run("python3", &["-c", script], &object) {
            assert!(all == [dump.as_slice(), entries[0].1, entries[1].1].concat());
        }
    }
}

#[test]
fn lengths_beyond_8_gib_are_written_as_gnu_tar_does() {
    // The header alone: the store would have the 9 GiB behind it.
    let header = super::pack::tar_header(EXPORT, 9 << 30, 0).unwrap();
    assert_eq!(header.entry_size().unwrap(), 9 << 30);
    let script = "import sys, tarfile\n\
        print(tarfile.TarInfo.frombuf(sys.stdin.buffer.read(512), 'utf-8', 'strict').size, end='')";
    if let Some(size) = run("python3", &["-c", script], header.as_bytes()) {
        assert_eq!(String::from_utf8(size).unwrap(), (9u64 << 30).to_string());
    }
}

#[test]
fn archives_of_gnu_tar_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let dump = text(20_000);
    std::fs::create_dir(folder.path().join("backup")).unwrap();
    std::fs::write(folder.path().join("backup/export"), &dump).unwrap();
    let folder = folder.path().to_str().unwrap();
    for arguments in [
        ["-cz", "-C", folder, "backup"].as_slice(), // as dokku-postgres makes them
        &["-cz", "-C", folder, "./backup"],
        &["-cz", "-C", folder, "."],
        &["-cz", "--format=posix", "-C", folder, "backup"],
        &["-cz", "--format=v7", "-C", folder, "backup"],
        &["-cz", "--format=ustar", "-b", "200", "-C", folder, "backup"],
    ] {
        let Some(object) = run("tar", arguments, b"") else { return };
        let unpacked = unpacked(&object).unwrap();
        assert!(unpacked.value == dump, "{arguments:?}");
        assert_eq!((unpacked.manifest, unpacked.object_bytes), (None, object.len() as u64));
    }
}

#[test]
fn lengths_in_pax_headers_count() {
    // As other writers do it for more than 8 GiB: the header says 0.
    let object = tgz(|tar| {
        tar.append_pax_extensions([("size", b"5".as_slice()), ("path", b"backup/export")]).unwrap();
        add(tar, "backup/expo", FILE, b"");
        tar.get_mut().extend_from_slice(&[b"12345".as_slice(), &[0; 507]].concat());
    });
    assert_eq!(unpacked(&object).unwrap().value, b"12345");
}
