#![allow(clippy::cast_possible_truncation)] // small numbers all

use std::io::{Cursor, Read};

use super::*;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Reads a whole dump in pieces of this size.
fn read(dump: &[u8], piece: usize) -> Result<(Toc, Contents), FormatError> {
    let mut rest = Cursor::new(dump);
    let toc = Toc::read(&mut rest)?;
    assert_eq!(toc.bytes(), &dump[..toc.bytes().len()]);
    let mut tally = Tally::new(&toc);
    for piece in dump[toc.bytes().len()..].chunks(piece) {
        tally.feed(piece)?;
    }
    assert_eq!(tally.bytes() as usize, dump.len() - toc.bytes().len());
    let contents = tally.finish()?;
    Ok((toc, contents))
}

/// The rows of the golden database (tests/golden/database.sql).
fn rows() -> Vec<(&'static str, u64)> {
    vec![
        ("\"Odd \"\"schema\"\".\".\"täble (x) FROM\ny\"", 2),
        ("public.\"user\"", 3),
        ("public.empty", 0),
        ("public.moods_0", 10),
        ("public.moods_1", 10),
        ("public.no_columns", 7),
        ("public.parts_a", 33),
        ("public.parts_b", 67),
        ("public.users", 562),
    ]
}

#[test]
fn rows_and_large_objects_of_real_dumps_are_counted() {
    for name in [
        "pg15-plain.dump",
        "pg15-gzip.dump",
        "pg15-seekable.dump",
        "pg18-plain.dump",
        "pg18-gzip.dump",
        "pg18-lz4.dump",
        "pg18-zstd.dump",
    ] {
        let dump = golden(name);
        for piece in [1, 2, 3, 5, 7, 100, 4096, usize::MAX] {
            let (toc, contents) = read(&dump, piece).unwrap();
            let tables = contents.tables(&toc);
            let counted: Vec<_> = tables.iter().map(|(name, rows)| (name.as_str(), rows.unwrap())).collect();
            assert_eq!(counted, rows(), "{name} in pieces of {piece}");
            assert_eq!(contents.large_objects, 3, "{name}");
            assert_eq!(toc.database(), "golden");
            assert_eq!(toc.encoding().unwrap(), "UTF8");
        }
    }
}

#[test]
fn the_header_is_told() {
    for (name, version, compression, server) in [
        ("pg15-plain.dump", (1, 14, 0), Compression::None, "15.20"),
        ("pg15-gzip.dump", (1, 14, 0), Compression::Gzip, "15.20"),
        ("pg18-plain.dump", (1, 16, 0), Compression::None, "18.6"),
        ("pg18-gzip.dump", (1, 16, 0), Compression::Gzip, "18.6"),
        ("pg18-lz4.dump", (1, 16, 0), Compression::Lz4, "18.6"),
        ("pg18-zstd.dump", (1, 16, 0), Compression::Zstd, "18.6"),
    ] {
        let toc = Toc::read(&mut golden(name).as_slice()).unwrap();
        assert_eq!((toc.version(), toc.compression()), (version, compression), "{name}");
        assert!(toc.server_version().starts_with(server) && toc.dump_version().starts_with(server), "{name}");
        assert_eq!(toc.entries().count(), toc.len());
        // The header alone is a small part of it.
        let header = Toc::read_header(&mut &golden(name)[..200]).unwrap();
        assert!(header.is_empty());
        assert_eq!((header.database(), header.server_version()), (toc.database(), toc.server_version()), "{name}");
    }
}

#[test]
fn what_cannot_be_counted_is_unknown_and_still_checked() {
    let (toc, contents) = read(&golden("pg15-inserts.dump"), 1000).unwrap();
    assert!(contents.rows.values().all(Option::is_none));
    assert_eq!(contents.rows.len(), toc.tables().count());
    // A window that nobody should have to keep: the frame's own header asks for it.
    let mut dump = golden("pg18-zstd.dump");
    let (toc, good) = read(&dump, 1000).unwrap();
    let frame = dump.windows(4).position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    assert_eq!(dump[frame + 4] & 0x20, 0, "a window is written");
    dump[frame + 5] = 0xa0; // 2^30 bytes
    let (_, contents) = read(&dump, 1000).unwrap();
    let unknown: Vec<_> = toc.tables().filter(|entry| contents.rows[&entry.dump_id].is_none()).collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!((contents.rows.len(), contents.large_objects), (good.rows.len(), 3));
}

#[test]
fn partitions_loaded_through_their_root_keep_their_own_names() {
    let (toc, contents) = read(&golden("pg15-root.dump"), 1000).unwrap();
    let tables = contents.tables(&toc);
    assert_eq!(
        tables.into_iter().collect::<Vec<_>>(),
        [("public.parts_a".to_owned(), Some(33)), ("public.parts_b".to_owned(), Some(67))]
    );
    let entry = toc.tables().next().unwrap();
    assert!(
        entry.definition.starts_with(b"-- load via partition root public.parts"),
        "{}",
        entry.definition.escape_ascii()
    );
    assert_eq!(entry.copy_target().unwrap().0, b"public.parts");
}

#[test]
fn names_that_are_not_utf8_survive() {
    let (toc, contents) = read(&golden("pg15-latin1.dump"), 1000).unwrap();
    let table = toc.tables().next().unwrap();
    assert_eq!(table.tag, b"caf\xe9");
    assert_eq!(toc.encoding().unwrap(), "LATIN1");
    assert_eq!(contents.tables(&toc).into_iter().collect::<Vec<_>>(), [("public.\"caf\u{fffd}\"".to_owned(), Some(3))]);
}

#[test]
fn copy_statements_are_taken_apart() {
    let toc = Toc::read(&mut golden("pg18-plain.dump").as_slice()).unwrap();
    let statement = |name: &str| {
        let entry = toc.tables().find(|entry| entry.qualified_name() == name).unwrap();
        let (table, rest) = entry.copy_target().unwrap();
        (String::from_utf8_lossy(table).into_owned(), String::from_utf8_lossy(rest).into_owned())
    };
    assert_eq!(statement("public.users"), ("public.users".into(), " (id, name, note) FROM stdin;\n".into()));
    assert_eq!(statement("public.no_columns"), ("public.no_columns".into(), "  FROM stdin;\n".into()));
    assert_eq!(statement("public.\"user\"").1, " (\"Name\", \"order\") FROM stdin;\n");
}

#[test]
fn a_cut_anywhere_is_an_error() {
    for name in ["pg15-plain.dump", "pg18-gzip.dump", "pg18-lz4.dump", "pg18-zstd.dump"] {
        let dump = golden(name);
        let toc = Toc::read(&mut dump.as_slice()).unwrap();
        let start = toc.bytes().len();
        for end in 0..start {
            let error = Toc::read(&mut &dump[..end]).unwrap_err();
            let expected = match end {
                0 => matches!(error, FormatError::Empty),
                _ => matches!(error, FormatError::Truncated { .. }),
            };
            assert!(expected, "{name} cut at {end}: {error}");
        }
        let mut tally = Tally::new(&toc);
        for (end, byte) in dump.iter().enumerate().skip(start) {
            let error = tally.whole().unwrap_err();
            assert!(matches!(error, FormatError::Truncated { .. }), "{name} cut at {end}: {error}");
            tally.feed(&[*byte]).unwrap();
        }
        tally.finish().unwrap();
    }
}

#[test]
fn a_flipped_byte_in_the_table_of_contents_is_an_error_or_changes_no_more_than_text() {
    let dump = golden("pg15-root.dump");
    let (toc, good) = read(&dump, usize::MAX).unwrap();
    for at in 0..toc.bytes().len() {
        for flip in [1, 0x80, 0xff] {
            let mut dump = dump.clone();
            dump[at] ^= flip;
            if let Ok((_, contents)) = read(&dump, usize::MAX) {
                assert_eq!(contents.rows.len(), good.rows.len(), "byte {at}");
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_compressed_rows_is_an_error() {
    let dump = golden("pg15-gzip.dump");
    let toc = Toc::read(&mut dump.as_slice()).unwrap();
    let good = &dump[toc.bytes().len()..];
    let mut unnoticed = 0;
    // In the middle is one large object that can't be compressed.
    for at in (0..4000).chain(good.len() - 200..good.len()) {
        let mut blocks = good.to_vec();
        blocks[at] ^= 1;
        let mut tally = Tally::new(&toc);
        unnoticed += usize::from(tally.feed(&blocks).and_then(|()| tally.finish()).is_ok());
    }
    // The oids of the three large objects can be other ones; of all else zlib keeps a checksum.
    assert!(unnoticed <= 3 * 5, "{unnoticed}");
}

#[test]
fn a_flipped_bit_in_lz4_or_zstandard_is_an_error_or_changes_text_alone() {
    for name in ["pg18-lz4.dump", "pg18-zstd.dump"] {
        let dump = golden(name);
        let toc = Toc::read(&mut dump.as_slice()).unwrap();
        let good = &dump[toc.bytes().len()..];
        let mut noticed = 0;
        for at in (0..4000).chain(good.len() - 200..good.len()) {
            let mut blocks = good.to_vec();
            blocks[at] ^= 1 << (at % 8);
            let mut tally = Tally::new(&toc);
            noticed += usize::from(tally.feed(&blocks).and_then(|()| tally.finish()).is_err());
        }
        // pg_dump asks neither for checksums: what notices the rest is the checksum of the whole object.
        assert!(noticed > 300, "{name}: {noticed}");
    }
}

#[test]
fn lengths_that_lie_cost_no_memory() {
    let dump = golden("pg15-plain.dump");
    let mut header = dump[..200].to_vec();
    // The name of the database claims 2 GB.
    let name = header.windows(6).position(|text| text == b"golden").unwrap();
    header[name - 5..name].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0x7f]);
    let error = Toc::read(&mut header.as_slice()).unwrap_err();
    assert!(matches!(error, FormatError::Unsupported(_)), "{error}");
    header[name - 5..name].copy_from_slice(&[0, 0, 0, 0, 0x08]);
    let error = Toc::read(&mut header.as_slice()).unwrap_err();
    assert!(matches!(error, FormatError::Truncated { .. }), "{error}");
}

/// An archive's table of contents of some entries with this tag, schema and owner; a table's rows follow the first.
fn toc_of(entries: u32, tag: &[u8], schema: &[u8], owner: &[u8]) -> Vec<u8> {
    let number = |number: u32| [&[0], number.to_le_bytes().as_slice()].concat();
    let string = |text: &[u8]| [number(u32::try_from(text.len()).unwrap()), text.to_vec()].concat();
    let none = [1, 1, 0, 0, 0];
    let mut bytes =
        [MAGIC.as_slice(), &[1, 14, 0, 4, 8, 1], &number(0).repeat(8), &string(b"a").repeat(3), &number(entries)]
            .concat();
    for id in 1..=entries.min(10) {
        let has_data = id == 1;
        bytes.extend([number(id), number(has_data.into()), string(b"0").repeat(2), string(tag)].concat());
        bytes.extend([string(b"TABLE DATA"), number(3), string(b"").repeat(3), string(schema)].concat());
        bytes.extend([string(b"").repeat(2), string(owner), string(b"false")].concat());
        bytes.extend([none.as_slice(), &[if has_data { 1 } else { 3 }], &[0; 8]].concat());
    }
    bytes
}

#[test]
fn names_and_numbers_of_entries_that_no_dump_has_are_refused() {
    let read = |bytes: &[u8]| Toc::read(&mut &bytes[..]).map(|toc| toc.len()).map_err(|error| error.to_string());
    let long = vec![b'x'; 1025];
    assert_eq!(read(&toc_of(2, &long[..1024], &long[..1024], &long[..1024])), Ok(2));
    for (toc, what) in [
        (toc_of(1, &long, b"a", b"a"), "the tag of entry 1 is 1025 bytes long"),
        (toc_of(1, b"a", &long, b"a"), "the schema of entry 1 is 1025 bytes long"),
        (toc_of(1, b"a", b"a", &long), "the owner of entry 1 is 1025 bytes long"),
        (toc_of(2_000_001, b"a", b"a", b"a"), "2000001 entries, more than 2000000"),
    ] {
        let error = read(&toc).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn what_is_no_archive_is_told_apart() {
    let error = |bytes: &[u8]| Toc::read(&mut &bytes[..]).unwrap_err();
    assert!(matches!(error(b""), FormatError::Empty));
    assert!(matches!(error(b"PGD"), FormatError::Truncated { .. }));
    assert!(matches!(error(&golden("pg15-plain.sql")), FormatError::PlainSql));
    assert!(matches!(error(b"\n  SET x = 1;"), FormatError::PlainSql));
    assert!(matches!(error(b"\\connect template1"), FormatError::PlainSql));
    assert!(matches!(error(b"hello, world"), FormatError::NotAnArchive { .. }));
    assert!(matches!(error(&[0; 1000]), FormatError::NotAnArchive { .. }));
    let mut newer = golden("pg18-plain.dump");
    newer[6] = 17;
    assert!(matches!(error(&newer), FormatError::Newer { minor: 17 }));
    newer[6] = 11;
    assert!(matches!(error(&newer), FormatError::Unsupported(_)));
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert_eq!(Kind::of(&tar), Kind::Tar);
}

#[test]
fn what_stands_between_or_behind_blocks_is_found() {
    let dump = golden("pg15-plain.dump");
    let toc = Toc::read(&mut dump.as_slice()).unwrap();
    let blocks = &dump[toc.bytes().len()..];
    let feed = |bytes: &[u8]| {
        let mut tally = Tally::new(&toc);
        tally.feed(bytes).and_then(|()| tally.finish())
    };
    feed(blocks).unwrap();
    assert!(matches!(feed(&[blocks, b"x"].concat()), Err(FormatError::Damaged { .. })));
    assert!(matches!(feed(&[blocks, b"\0"].concat()), Err(FormatError::Damaged { .. })));
    // A whole block for an entry that doesn't exist, and a second one for one that does.
    let first = toc.tables().next().unwrap().dump_id;
    for id in [999_999, first] {
        let block = [block_start(id).as_slice(), &END_MARK_CHUNK, &BLOCK_END].concat();
        assert!(matches!(feed(&[blocks, &block].concat()), Err(FormatError::Damaged { .. })));
    }
}

#[test]
fn blocks_that_we_write_are_read_and_are_those_of_pg_dump() {
    let dump = golden("pg18-plain.dump");
    let toc = Toc::read(&mut dump.as_slice()).unwrap();
    let users = toc.tables().find(|entry| entry.tag == b"users").unwrap();
    let rows = (1..=562).map(|i| format!("{i}\tuser {i}\ta\\ttab, a \\\\ and a\\nnew line\n"));
    let mut block = block_start(users.dump_id).to_vec();
    for row in rows {
        block.extend_from_slice(&chunk_header(row.len() as u32));
        block.extend_from_slice(row.as_bytes());
    }
    block.extend_from_slice(&END_MARK_CHUNK);
    block.extend_from_slice(&BLOCK_END);
    assert!(dump.windows(block.len()).any(|window| window == block));
}

#[test]
fn rows_count_whatever_the_chunks_are() {
    let dump = golden("pg18-plain.dump");
    let toc = Toc::read(&mut dump.as_slice()).unwrap();
    let id = toc.tables().find(|entry| entry.tag == b"users").unwrap().dump_id;
    for (chunks, expected) in [
        (vec!["\\.\n\n\n"], 0),
        (vec!["a\n\\.\n\n\n"], 1),
        (vec!["a\nb\n", "c\n", "\\", ".", "\n\n", "\n"], 3),
        (vec!["\n", "\n", "\\.\n\n\n"], 2),
        (vec!["a\n", "b\n"], 2), // without an end mark, as other writers may leave it
        (vec!["a\n", "b"], 2),
        (vec![], 0),
    ] {
        let mut tally = Tally::new(&toc);
        tally.feed(&block_start(id)).unwrap();
        for chunk in chunks {
            tally.feed(&chunk_header(chunk.len() as u32)).unwrap();
            tally.feed(chunk.as_bytes()).unwrap();
        }
        tally.feed(&BLOCK_END).unwrap();
        assert_eq!(tally.contents().rows.get(&id), Some(&Some(expected)));
    }
}

#[test]
fn the_reader_stops_at_the_first_block() {
    let dump = golden("pg15-plain.dump");
    let mut reader = Cursor::new(&dump);
    let toc = Toc::read(&mut reader).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!([toc.bytes(), &rest].concat(), dump);
}
