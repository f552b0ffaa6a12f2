//! What is done with bytes that somebody else has made, one function for each kind. Whatever comes in, none of them may panic, hang or take
//! memory without bound; what can be checked beside that is checked here.
//!
//! Two run them: libFuzzer (`fuzz_targets/`, see README.md), for as long as one likes; and the test suite (`tests/fuzz.rs`), which takes
//! the kept corpus and bytes near to it for a few seconds.

use std::io::{Cursor, Read, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pgbackup::archive::encryption::{self, PrivateKey, PublicKey, Secrets};
use pgbackup::archive::{peek, unpack};
use pgbackup::custom_format::{Tally, Toc};
use pgbackup::manifest::Manifest;
use pgbackup::plain_format::Filter;
use pgbackup::schedule::Schedule;
use pgbackup::secret::Secret;
use pgbackup::settings::PROPERTIES;
use pgbackup::store::key::BackupKey;

/// Takes bytes of any kind.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("archive", archive),
    ("cron", cron),
    ("custom", custom),
    ("key", key),
    ("manifest", manifest),
    ("openpgp", openpgp),
    ("plain", plain),
    ("properties", properties),
    ("tar", tar),
];

/// No more than this of what comes out is read: a small input can be a bomb, whose length is nothing to be afraid of.
const MOST: u64 = 8 << 20;

/// An object as a store would give it: gzip members with a tar in them.
pub fn archive(bytes: &[u8]) {
    let _ = unpack::unpack(Cursor::new(bytes), |dump| {
        std::io::copy(&mut dump.take(MOST), &mut std::io::sink())?;
        Ok(())
    });
    if let Some(dump) = peek::dump_at_front(bytes) {
        let _ = std::io::copy(&mut dump.take(MOST), &mut std::io::sink());
    }
}

/// The tar in it: no checksum of gzip's stands in the way.
pub fn tar(bytes: &[u8]) {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    if gzip.write_all(bytes).is_ok()
        && let Ok(object) = gzip.finish()
    {
        archive(&object);
    }
}

/// A dump in pg_dump's custom format: the rows are the same, however it comes in.
pub fn custom(bytes: &[u8]) {
    let _ = Toc::read_header(&mut &*bytes);
    let mut rest = bytes;
    let Ok(toc) = Toc::read(&mut rest) else { return };
    for entry in toc.entries() {
        let _ = (entry.qualified_name(), entry.copy_target(), entry.is_table_data(), entry.is_large_objects());
    }
    let _ = (toc.database().len(), toc.encoding().is_some(), toc.server_version().len());
    let read = |piece: usize| {
        let mut tally = Tally::new(&toc).with_sums();
        for piece in rest.chunks(piece) {
            tally.feed(piece).ok()?;
        }
        Some(tally.finish().ok()?.tables(&toc))
    };
    assert_eq!(read(7), read(4096), "pieces make a difference");
}

/// SQL text on its way to psql: the same passes, however it comes in.
pub fn plain(bytes: &[u8]) {
    let read = |piece: usize| {
        let (mut filter, mut passed) = (Filter::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            filter.feed(piece, &mut passed).ok()?;
        }
        let contents = filter.finish(&mut passed).ok()?;
        Some((contents, passed))
    };
    assert_eq!(read(3), read(4096), "pieces make a difference");
}

/// The name of an object.
pub fn key(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(key) = text.parse::<BackupKey>() {
        assert_eq!(key.to_string(), text);
        assert!(!key.sidecar().contains('/'), "{key}");
    }
}

/// What lies beside an object.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes, None) else { return };
    let written = manifest.to_json().unwrap_or_else(|error| panic!("{error:#}"));
    let again = Manifest::parse(&written, Some(&manifest.key)).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(again.to_json().ok(), Some(written));
    let _ = (manifest.brief().outline(), manifest.tables(), manifest.is_suspicious(), again.is_described_by(&manifest));
}

/// An encrypted object, and keys.
pub fn openpgp(bytes: &[u8]) {
    let _ = (encryption::looks_encrypted(bytes), PublicKey::parse(bytes).map(|key| (key.expired(), key.users())));
    let _ = PrivateKey::parse(bytes).map(|key| (key.fingerprint(), key.is_locked()));
    let secrets = Secrets { passphrase: Some(Secret::new("correct horse")), ..Secrets::default() };
    if let Ok(opened) = encryption::open(Cursor::new(bytes.to_vec()), &secrets) {
        let _ = std::io::copy(&mut opened.reader.take(MOST), &mut std::io::sink());
    }
}

/// When something is to run.
pub fn cron(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(schedule) = text.parse::<Schedule>() else { return };
    // It becomes a field of a line that Dokku and cron read.
    assert!(!schedule.as_str().chars().any(|letter| letter.is_control() || letter == ';' || letter == '%'), "{text:?}");
    let now = Timestamp::constant(1_790_000_000, 0);
    for time in schedule.upcoming(&TimeZone::UTC, now, 3) {
        assert!(time > now, "{text:?}");
    }
    assert!(schedule.previous(&TimeZone::UTC, now).is_none_or(|time| time <= now), "{text:?}");
    let _ = schedule.calendars();
}

/// The value of any property.
pub fn properties(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for property in PROPERTIES {
        if property.check(&text).is_ok() {
            assert!(!text.chars().any(char::is_control), "{} takes {text:?}", property.name);
        }
    }
}
