//! Against ourselves here; against the real gpg in `tests/encryption.rs`.

use std::io::{self, Cursor, Read, Write};

use pgp::composed::{
    ArmorOptions, EncryptionCaps, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{CompressionAlgorithm, Password, StringToKey};
use proptest::prelude::*;
use rand::rngs::OsRng;

use super::*;
use crate::secret::Secret;

/// Few rounds: what is tried here is not how long a passphrase takes to try.
const FEW_ROUNDS: u8 = 0;

fn passphrase(text: &str) -> Secrets {
    Secrets { passphrase: Some(Secret::new(text)), ..Secrets::default() }
}

/// Begins as an archive does, and goes on with noise that is the same each time.
fn archive(length: usize) -> Vec<u8> {
    let mut state = 562_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    [0x1f, 0x8b].into_iter().chain(noise).take(length).collect()
}

fn sealed(archive: &[u8], passphrase: &str, compression: Option<CompressionAlgorithm>) -> Vec<u8> {
    let mut message = MessageBuilder::from_reader("", archive).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    if let Some(algorithm) = compression {
        message.compression(algorithm);
    }
    message.partial_chunk_size(1024).unwrap();
    let rounds = StringToKey::new_iterated(OsRng, HashAlgorithm::Sha256, FEW_ROUNDS);
    message.encrypt_with_password(rounds, &Password::from(passphrase)).unwrap();
    message.to_vec(OsRng).unwrap()
}

fn key(user: &str, lock: Option<&str>) -> SignedSecretKey {
    let subkey = SubkeyParamsBuilder::default()
        .key_type(KeyType::ECDH(ECCCurve::Curve25519Legacy))
        .can_encrypt(EncryptionCaps::All)
        .passphrase(lock.map(str::to_owned))
        .build()
        .unwrap();
    SecretKeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id(user.to_owned())
        .passphrase(lock.map(str::to_owned))
        .subkey(subkey)
        .build()
        .unwrap()
        .generate(OsRng)
        .unwrap()
}

fn private(key: &SignedSecretKey) -> PrivateKey {
    PrivateKey::parse(&key.to_armored_bytes(ArmorOptions::default()).unwrap()).unwrap()
}

fn public(key: &SignedSecretKey) -> PublicKey {
    PublicKey::parse(&key.to_public_key().to_armored_bytes(ArmorOptions::default()).unwrap()).unwrap()
}

fn read(object: &[u8], secrets: &Secrets) -> anyhow::Result<Vec<u8>> {
    let mut opened = open(Cursor::new(object.to_vec()), secrets)?;
    let mut archive = Vec::new();
    opened.reader.read_to_end(&mut archive)?;
    let (bytes, digest) = opened.seen.so_far();
    assert_eq!(bytes, object.len() as u64);
    assert_eq!(digest[..], <sha2::Sha256 as sha2::Digest>::digest(object)[..]);
    Ok(archive)
}

/// The error as it was, through what `io` made of it.
fn error(result: anyhow::Result<Vec<u8>>) -> EncryptionError {
    let error = result.expect_err("it was read");
    match error.downcast::<EncryptionError>() {
        Ok(error) => error,
        Err(error) => *error.downcast::<io::Error>().unwrap().into_inner().unwrap().downcast().unwrap(),
    }
}

#[test]
fn a_passphrase_goes_there_and_back() {
    let archive = archive(3 << 20);
    for word in ["x", "  a * \"ü\" $(x)\t", "日本語"] {
        let mut object = Vec::new();
        seal(archive.as_slice(), &mut object, &Recipient::Passphrase(Secret::new(word))).unwrap();
        assert!(looks_encrypted(&object));
        assert!(read(&object, &passphrase(word)).unwrap() == archive);
        assert!(matches!(error(read(&object, &passphrase("wrong"))), EncryptionError::WrongPassphrase));
        assert!(matches!(error(read(&object, &Secrets::default())), EncryptionError::NoPassphrase));
    }
}

#[test]
fn a_wrong_passphrase_never_looks_like_anything_else() {
    let object = sealed(&archive(2000), "right", None);
    for number in 0..500 {
        let wrong = error(read(&object, &passphrase(&format!("wrong {number}"))));
        assert!(matches!(wrong, EncryptionError::WrongPassphrase), "{number}: {wrong}");
    }
}

#[test]
fn a_key_goes_there_and_back() {
    let (owner, other) = (key("Owner <owner@example.com>", None), key("Other", None));
    let recipient = public(&owner);
    assert_eq!(recipient.users(), ["Owner <owner@example.com>"]);
    assert_eq!(recipient.fingerprint(), private(&owner).fingerprint());
    assert!(!recipient.expired());
    let archive = archive(100_000);
    let mut object = Vec::new();
    seal(archive.as_slice(), &mut object, &Recipient::Key(Box::new(recipient))).unwrap();
    assert!(looks_encrypted(&object));
    let with = |key: &SignedSecretKey| Secrets { private_key: Some(private(key)), ..passphrase("no matter") };
    assert!(read(&object, &with(&owner)).unwrap() == archive);
    let EncryptionError::OtherKey { given, .. } = error(read(&object, &with(&other))) else { panic!("another error") };
    assert_eq!(given, private(&other).fingerprint());
    assert!(matches!(error(read(&object, &passphrase("x"))), EncryptionError::NoKey { .. }));
    assert!(matches!(error(read(&object, &Secrets::default())), EncryptionError::NoKey { .. }));
}

#[test]
fn a_locked_key_wants_its_passphrase() {
    let owner = key("Owner", Some("a lock"));
    assert!(private(&owner).is_locked());
    let mut object = Vec::new();
    seal(archive(5000).as_slice(), &mut object, &Recipient::Key(Box::new(public(&owner)))).unwrap();
    let with = |word: Option<&str>| Secrets {
        private_key: Some(private(&owner)),
        key_passphrase: word.map(Secret::new),
        ..Secrets::default()
    };
    assert!(read(&object, &with(Some("a lock"))).unwrap() == archive(5000));
    assert!(matches!(error(read(&object, &with(Some("a key")))), EncryptionError::WrongKeyPassphrase));
    assert!(matches!(error(read(&object, &with(None))), EncryptionError::Locked));
}

#[test]
fn keys_are_told_apart() {
    let owner = key("Owner", None);
    let secret = owner.to_armored_bytes(ArmorOptions::default()).unwrap();
    let open = owner.to_public_key().to_armored_bytes(ArmorOptions::default()).unwrap();
    assert!(matches!(PublicKey::parse(&secret), Err(KeyError::Private)));
    assert!(matches!(PrivateKey::parse(&open), Err(KeyError::Public)));
    assert!(matches!(PublicKey::parse(b"ssh-ed25519 AAAA"), Err(KeyError::NotAKey(_))));
    assert!(matches!(PublicKey::parse(b""), Err(KeyError::NotAKey(_))));
    // It comes back from a setting as it was, and without its armor.
    let stored = public(&owner).armored().unwrap();
    assert_eq!(PublicKey::parse(stored.trim().as_bytes()).unwrap().fingerprint(), public(&owner).fingerprint());
    let mut binary = Vec::new();
    pgp::ser::Serialize::to_writer(&owner.to_public_key(), &mut binary).unwrap();
    assert_eq!(PublicKey::parse(&binary).unwrap().fingerprint(), public(&owner).fingerprint());
    binary.extend_from_within(..);
    assert!(matches!(PublicKey::parse(&binary), Err(KeyError::Several)));
}

#[test]
fn compressed_packets_are_read_once_and_no_more() {
    let archive = archive(50_000);
    for algorithm in [CompressionAlgorithm::ZIP, CompressionAlgorithm::ZLIB, CompressionAlgorithm::BZip2] {
        let object = sealed(&archive, "x", Some(algorithm));
        assert!(read(&object, &passphrase("x")).unwrap() == archive, "{algorithm:?}");
    }
}

#[test]
fn armor_is_read() {
    let archive = archive(50_000);
    let mut message =
        MessageBuilder::from_reader("", archive.as_slice()).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES128);
    let rounds = StringToKey::new_iterated(OsRng, HashAlgorithm::Sha512, FEW_ROUNDS);
    message.encrypt_with_password(rounds, &Password::from("x")).unwrap();
    let object = message.to_armored_string(OsRng, ArmorOptions::default()).unwrap();
    assert!(looks_encrypted(object.as_bytes()));
    let mut opened = open(Cursor::new(object.into_bytes()), &passphrase("x")).unwrap();
    let mut back = Vec::new();
    opened.reader.read_to_end(&mut back).unwrap();
    assert!(back == archive);
}

#[test]
fn a_cut_anywhere_is_an_error() {
    let object = sealed(&archive(20_000), "x", None);
    for length in (0..object.len()).step_by(97).chain(object.len() - 60..object.len()) {
        let cut = object.get(..length).unwrap();
        assert!(read(cut, &passphrase("x")).is_err(), "{length} of {}", object.len());
    }
}

#[test]
fn a_changed_bit_anywhere_is_an_error() {
    let object = sealed(&archive(5_000), "x", None);
    for at in (0..object.len()).step_by(31).chain(object.len() - 40..object.len()) {
        let mut changed = object.clone();
        *changed.get_mut(at).unwrap() ^= 1;
        assert!(read(&changed, &passphrase("x")).is_err(), "byte {at} of {}", object.len());
    }
}

#[test]
fn what_is_appended_is_an_error() {
    let object = sealed(&archive(5_000), "x", None);
    for tail in [&b"x"[..], &[0; 100], &object.clone()] {
        assert!(read(&[&object, tail].concat(), &passphrase("x")).is_err());
    }
}

#[test]
fn a_packet_that_is_made_to_fill_the_memory_is_refused() {
    // Behind the message, and in front of it: a padding packet (21) and a session key of nearly 4 GiB.
    let huge = |tag: u8| {
        let header = [0xc0 | tag, 0xff, 0xff, 0xff, 0xff, 0xf0];
        Cursor::new(header).chain(io::repeat(3).take(0xffff_fff0))
    };
    let message = sealed(&archive(5_000), "x", None);
    let mut opened = open(Cursor::new(message).chain(huge(21)), &passphrase("x")).unwrap();
    let error = io::copy(&mut opened.reader, &mut io::sink()).unwrap_err();
    assert!(error.to_string().contains("larger than any"), "{error}");
    for tag in [1, 3] {
        assert!(open(huge(tag), &passphrase("x")).is_err(), "{tag}");
    }
}

#[test]
fn the_readers_own_error_comes_through() {
    struct Broken(Cursor<Vec<u8>>);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the store is gone")),
                read => Ok(read),
            }
        }
    }
    let object = sealed(&archive(200_000), "x", None);
    let half = object.get(..object.len() / 2).unwrap().to_vec();
    let mut opened = open(Broken(Cursor::new(half)), &passphrase("x")).unwrap();
    let error = io::copy(&mut opened.reader, &mut io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "the store is gone");
    assert!(opened.reader.read(&mut [0]).is_err(), "and nothing comes after it");
    let error = open(Broken(Cursor::default()), &passphrase("x")).err().unwrap();
    assert_eq!(error.to_string(), "the store is gone");
}

#[test]
fn the_writers_own_error_comes_through() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("the store is full"))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let recipient = Recipient::Passphrase(Secret::new("x"));
    let error = seal(archive(3 << 20).as_slice(), Full(1 << 20), &recipient).unwrap_err();
    assert_eq!(error.to_string(), "the store is full");
}

#[test]
fn what_is_not_encrypted_does_not_look_so() {
    for plain in [&b""[..], &[0x1f, 0x8b, 8], b"PGDMP", b"<?xml", b"\n\n--\n-- PostgreSQL"] {
        assert!(!looks_encrypted(plain));
    }
}

/// Far longer than any buffer: both directions stream at the same time, through a socket that holds little.
#[test]
fn a_long_stream_goes_there_and_back() {
    let length: u64 = 64 << 20;
    let noise = archive(1 << 20);
    let source = || Cursor::new(&noise).chain(io::repeat(7)).take(length);
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = io::BufWriter::with_capacity(1 << 20, writer);
            seal(source(), &mut writer, &Recipient::Passphrase(Secret::new("x"))).unwrap();
            writer.flush().unwrap();
        });
        let mut opened = open(reader, &passphrase("x")).unwrap();
        assert_eq!(io::copy(&mut opened.reader, &mut io::sink()).unwrap(), length);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, &passphrase("x"));
        let _ = PublicKey::parse(&bytes);
        let _ = PrivateKey::parse(&bytes);
    }

    #[test]
    fn no_change_makes_it_panic(at in 0usize..2_000, by in 1u8..) {
        let mut object = sealed(&archive(1_500), "x", Some(CompressionAlgorithm::ZLIB));
        let at = at % object.len();
        *object.get_mut(at).unwrap() ^= by;
        prop_assert!(read(&object, &passphrase("x")).is_err());
    }
}
