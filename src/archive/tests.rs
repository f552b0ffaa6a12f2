#![allow(clippy::cast_possible_truncation, clippy::similar_names)] // small numbers; packer, packed, pack

use std::io::{Cursor, Write};

use super::pack::{Options, Packed, Packer};
use super::unpack::{Unpacked, unpack};
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

#[test]
fn what_is_packed_is_unpacked() {
    for length in [0, 1, 511, 512, 513, 999, 1000, 1001, 2000, 30_000] {
        let dump: Vec<u8> = (0..length).map(|i: u32| (i * 7 % 251) as u8).collect();
        for threads in 1..=3 {
            let (object, packed) = pack(&dump, 333, options(threads, 1000), &[(MANIFEST, b"{}"), (GLOBALS, b"--")]);
            assert_eq!(packed.head.len(), HEAD_BYTES);
            let unpacked = unpacked(&object).unwrap();
            assert!(unpacked.value == dump);
            assert_eq!(unpacked.manifest.as_deref(), Some(b"{}".as_slice()));
            assert_eq!(unpacked.object_bytes, packed.object_bytes());
            assert_eq!(unpacked.export_bytes, packed.dump_bytes);
            assert_eq!(unpacked.sha256_behind_head, packed.sha256_behind_head);
        }
    }
}
