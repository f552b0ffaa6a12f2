//! Encrypts an archive as it streams by, into what gpg 2.2 and newer read.
//!
//! AES-256 with a modification detection code, in partial packets; not compressed, as the archive is. A passphrase is prepared with
//! the most rounds of SHA-256 that OpenPGP knows, as gpg does on a fast machine.

use std::io::{self, Read, Write};

use pgp::composed::MessageBuilder;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{Password, StringToKey};
use rand::rngs::OsRng;

use super::{PublicKey, words};
use crate::secret::Secret;

/// 65,011,712 bytes are hashed for one try of a passphrase: the most that can be said in this one byte.
const MOST_ROUNDS: u8 = 0xff;

/// Who will be able to read it.
#[derive(Debug, Clone)]
pub enum Recipient {
    /// Whoever knows this passphrase.
    Passphrase(Secret),
    /// The owner of this key.
    Key(Box<PublicKey>),
}

/// Encrypts everything that the reader gives.
///
/// # Errors
/// Those of reader and writer, as they are.
pub fn seal(reader: impl Read, writer: impl Write, recipient: &Recipient) -> io::Result<()> {
    let (mut read_failure, mut write_failure) = (None, None);
    let reader = Kept { inner: reader, failure: &mut read_failure };
    let writer = Kept { inner: writer, failure: &mut write_failure };
    let result = message(reader, writer, recipient);
    match (read_failure, write_failure, result) {
        (Some(error), _, _) | (None, Some(error), _) => Err(error),
        (None, None, Err(error)) => Err(io::Error::other(format!("encrypting failed: {}", words(&error)))),
        (None, None, Ok(())) => Ok(()),
    }
}

fn message(reader: impl Read, writer: impl Write, recipient: &Recipient) -> pgp::errors::Result<()> {
    let mut message = MessageBuilder::from_reader("", reader).seipd_v1(OsRng, SymmetricKeyAlgorithm::AES256);
    match recipient {
        Recipient::Passphrase(passphrase) => {
            let rounds = StringToKey::new_iterated(OsRng, HashAlgorithm::Sha256, MOST_ROUNDS);
            message.encrypt_with_password(rounds, &Password::from(passphrase.reveal()))?;
        }
        Recipient::Key(key) => key.add_to(&mut message, OsRng)?,
    }
    message.to_writer(OsRng, writer)
}

/// Keeps the first error of a reader or writer, which rPGP would put into other words.
struct Kept<'a, T> {
    inner: T,
    failure: &'a mut Option<io::Error>,
}

impl<T> Kept<'_, T> {
    fn keep<V>(&mut self, result: io::Result<V>) -> io::Result<V> {
        result.map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let text = io::Error::other(error.to_string());
            self.failure.get_or_insert(error);
            text
        })
    }
}

impl<R: Read> Read for Kept<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        self.keep(result)
    }
}

impl<W: Write> Write for Kept<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.keep(result)
    }
}
