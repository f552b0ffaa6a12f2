//! Decrypts an object as it streams in.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use pgp::composed::{DecryptionOptions, Edata, Esk, Message, TheRing};
use pgp::packet::PublicKeyEncryptedSessionKey;
use pgp::types::{Password, Seipdv1ReadMode, StringToKey};
use sha2::{Digest, Sha256};

use super::{EncryptionError, PrivateKey, words};
use crate::secret::Secret;

/// Bytes of the object that are read at once.
const READ: usize = 64 << 10;
/// How much of the object may be read without anything coming out. A packet of gpg's needs 8 KiB, a chunk of its OCB packet
/// 4 MiB; more would be a packet that is made to fill our memory.
const MOST_WITHOUT_OUTPUT: u64 = 32 << 20;
/// Packets with the key of the message. Each for a passphrase costs some tenths of a second to try.
const MOST_KEY_PACKETS: usize = 16;
/// What an archive begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What opens encrypted objects, as far as it is known.
#[derive(Debug, Default)]
pub struct Secrets {
    /// The passphrase of the message.
    pub passphrase: Option<Secret>,
    /// A private key.
    pub private_key: Option<PrivateKey>,
    /// The passphrase that the private key is locked with.
    pub key_passphrase: Option<Secret>,
}

/// An object that is being decrypted.
pub struct Opened {
    /// The archive in it. It must be read to its end: only then is it known to be whole.
    pub reader: Box<dyn Read + Send>,
    /// What the object itself was, once it is read.
    pub seen: Seen,
}

/// Whether something begins as an encrypted OpenPGP message does, armored or not.
pub fn looks_encrypted(beginning: &[u8]) -> bool {
    match beginning {
        // Packets 1 and 3 (a session key for a public key, for a passphrase) and the bare 9, 18 and 20, in old and new form.
        [0x84..=0x87 | 0x8c..=0x8f | 0xa4..=0xa7 | 0xc1 | 0xc3 | 0xc9 | 0xd2 | 0xd4, ..] => true,
        _ => beginning.trim_ascii_start().starts_with(b"-----BEGIN PGP"),
    }
}

/// Begins to decrypt an object, far enough to know that the key fits.
///
/// # Errors
/// [`EncryptionError`]; the reader's own errors as they are.
pub fn open(reader: impl Read + Send + 'static, secrets: &Secrets) -> Result<Opened> {
    let shared = Shared::default();
    let source = Source { reader, shared: shared.clone() };
    let failed = |error: EncryptionError| match shared.failure() {
        Some(error) => anyhow::Error::new(error),
        None => error.into(),
    };
    let (message, by_passphrase) = decrypted(source, secrets).map_err(failed)?;
    let mut plain = Plain { message: Some(message), shared: shared.clone() };
    let mut beginning = vec![0; GZIP_MAGIC.len()];
    let read = fill(&mut plain, &mut beginning);
    if by_passphrase && (read.is_err() || beginning != GZIP_MAGIC) {
        return Err(failed(EncryptionError::WrongPassphrase));
    }
    beginning.truncate(read?);
    Ok(Opened { reader: Box::new(Cursor::new(beginning).chain(plain)), seen: Seen { shared } })
}

/// Finds the content of the message; and whether a passphrase is what opened it.
fn decrypted(
    source: impl Read + Send + fmt::Debug + 'static,
    secrets: &Secrets,
) -> Result<(Message<'static>, bool), EncryptionError> {
    let unsupported = |what: &str| EncryptionError::Unsupported(what.to_owned());
    let parsed = Message::from_reader(BufReader::with_capacity(READ, source));
    let (message, _) = parsed.map_err(|error| EncryptionError::Damaged(words(&error)))?;
    let Message::Encrypted { esk, edata, .. } = &message else {
        return Err(unsupported("it is not encrypted"));
    };
    if matches!(edata, Edata::SymEncryptedData { .. }) {
        return Err(unsupported("it has no integrity check, so nobody could say whether it was changed"));
    }
    if esk.len() > MOST_KEY_PACKETS {
        return Err(unsupported("it is encrypted for too many keys"));
    }
    let mut for_keys = Vec::new();
    let mut for_passphrase = false;
    for packet in esk {
        match packet {
            Esk::PublicKeyEncryptedSessionKey(packet) => for_keys.push(packet),
            Esk::SymKeyEncryptedSessionKey(packet) if matches!(packet.s2k(), Some(StringToKey::Argon2 { .. })) => {
                return Err(unsupported("its passphrase is prepared with Argon2"));
            }
            Esk::SymKeyEncryptedSessionKey(_) => for_passphrase = true,
        }
    }

    let mut ring = TheRing {
        decrypt_options: DecryptionOptions::new().enable_gnupg_aead().set_seipdv1_read_mode(Seipdv1ReadMode::Streaming),
        ..TheRing::default()
    };
    let password;
    let fitting = secrets.private_key.as_ref().filter(|key| for_keys.iter().any(|packet| key.fits(packet)));
    let by_passphrase = match (fitting, &secrets.passphrase) {
        (Some(key), _) => {
            password = key_password(key, &for_keys, secrets.key_passphrase.as_ref())?;
            ring.secret_keys.push(&key.key);
            ring.key_passwords.push(&password);
            false
        }
        (None, Some(passphrase)) if for_passphrase => {
            password = Password::from(passphrase.reveal());
            ring.message_password.push(&password);
            true
        }
        (None, None) if for_passphrase => return Err(EncryptionError::NoPassphrase),
        (None, _) => return Err(missing_key(&for_keys, secrets.private_key.as_ref())),
    };
    let (mut message, _) = message.decrypt_the_ring(ring, true).map_err(|error| {
        if by_passphrase { EncryptionError::WrongPassphrase } else { EncryptionError::Damaged(words(&error)) }
    })?;
    let no_content = |error: &pgp::errors::Error| {
        if by_passphrase { EncryptionError::WrongPassphrase } else { EncryptionError::Damaged(words(error)) }
    };
    if message.is_compressed() {
        message = message.decompress().map_err(|error| no_content(&error))?;
    }
    match message {
        // A signature around it is not asked for: the key is what says who could have written it.
        Message::Literal { .. } | Message::Signed { .. } => Ok((message, by_passphrase)),
        // The noise behind a wrong passphrase may look like any packet.
        _ if by_passphrase => Err(EncryptionError::WrongPassphrase),
        Message::Compressed { .. } => Err(unsupported("it is compressed several times over")),
        Message::Encrypted { .. } => Err(unsupported("it is encrypted several times over")),
    }
}

/// What unlocks the key, tried.
fn key_password(
    key: &PrivateKey,
    packets: &[&PublicKeyEncryptedSessionKey],
    passphrase: Option<&Secret>,
) -> Result<Password, EncryptionError> {
    let none = Secret::new("");
    if key.unlocks(packets, passphrase.unwrap_or(&none)) {
        return Ok(passphrase.map_or_else(Password::empty, |passphrase| Password::from(passphrase.reveal())));
    }
    Err(if passphrase.is_none() { EncryptionError::Locked } else { EncryptionError::WrongKeyPassphrase })
}

fn missing_key(packets: &[&PublicKeyEncryptedSessionKey], given: Option<&PrivateKey>) -> EncryptionError {
    let ids: Vec<String> = packets
        .iter()
        .map(|packet| match packet.id() {
            Ok(id) if id.is_wildcard() => "of somebody unnamed".to_owned(),
            Ok(id) => id.to_string().to_uppercase(),
            Err(_) => "of somebody unnamed".to_owned(),
        })
        .collect();
    let recipients = if ids.is_empty() { "of nobody".to_owned() } else { ids.join(", ") };
    match given {
        None => EncryptionError::NoKey { recipients },
        Some(key) => EncryptionError::OtherKey { recipients, given: key.fingerprint() },
    }
}

/// Fills the space as far as there is something.
fn fill(reader: &mut impl Read, space: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = space.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What is known of the object's own bytes.
#[derive(Default)]
struct State {
    bytes: u64,
    sha256: Sha256,
    /// Read since something came out.
    without_output: u64,
    /// The reader's own error, which rPGP would put into other words.
    failure: Option<io::Error>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> Option<io::Error> {
        self.lock().failure.take()
    }
}

/// Length and digest of an encrypted object, as it was stored.
#[derive(Clone)]
pub struct Seen {
    shared: Shared,
}

impl Seen {
    /// Length and SHA-256 of what was read so far: of the whole object, when [`Opened::reader`] has come to its end.
    pub fn so_far(&self) -> (u64, [u8; 32]) {
        let state = self.shared.lock();
        (state.bytes, state.sha256.clone().finalize().into())
    }
}

/// The object on its way into rPGP.
struct Source<R> {
    reader: R,
    shared: Shared,
}

impl<R> fmt::Debug for Source<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let mut state = self.shared.lock();
        let read = match result {
            Ok(read) => read,
            Err(error) => {
                let text = io::Error::other(error.to_string());
                state.failure = Some(error);
                return Err(text);
            }
        };
        state.bytes += read as u64;
        state.sha256.update(buffer.get(..read).unwrap_or_default());
        state.without_output += read as u64;
        if state.without_output > MOST_WITHOUT_OUTPUT {
            let refused = EncryptionError::Unsupported("one of its packets is larger than any of gpg's".to_owned());
            state.failure = Some(io::Error::other(refused));
            return Err(io::Error::other("a packet is too large"));
        }
        Ok(read)
    }
}

/// The content on its way out of rPGP. After an error nothing is asked of rPGP any more.
struct Plain {
    message: Option<Message<'static>>,
    shared: Shared,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(message) = &mut self.message else {
            return Err(io::Error::other("reading the encrypted object has failed"));
        };
        self.shared.lock().without_output = 0;
        let error = match message.read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        self.message = None;
        Err(self.shared.failure().unwrap_or_else(|| {
            let found = error.get_ref().and_then(|inner| inner.downcast_ref::<pgp::errors::Error>());
            let text = found.map_or_else(|| error.to_string(), words);
            io::Error::other(EncryptionError::Damaged(text))
        }))
    }
}
