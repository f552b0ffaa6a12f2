//! OpenPGP around an archive: the `.tgz.gpg` that `gpg` makes for dokku-postgres, read and written without a gpg.
//!
//! Two ways, as there: a passphrase (`gpg --symmetric`), or a public key, whose private half need not be on this host
//! (`gpg --encrypt`). What is written is what every gpg from 2.2 on reads: AES-256 with a modification detection code. What is
//! read is that, gpg's newer OCB packet, its compressed packets and its armor.
//!
//! ```text
//! the store's bytes ─▶ open ─▶ the .tgz          the .tgz ─▶ seal ─▶ the store's bytes
//! ```
//! Both stream, in constant memory. Of a message with a modification detection code the plaintext is therefore known before it is
//! known to be whole: an error at the very end must undo all that was made of it. A restore does so: it loads into a staging
//! database, and its swap waits for the end of the stream ([`super::unpack`] returns nothing before).
//!
//! The bytes are somebody else's: no packet is taken into memory whole, packets are compressed at most once, and a
//! passphrase is tried on few packets only.

pub mod keys;
pub mod open;
pub mod seal;

pub use keys::{KeyError, PrivateKey, PublicKey};
pub use open::{Opened, Secrets, Seen, looks_encrypted, open};
pub use seal::{Recipient, seal};

/// Why an encrypted object can't be read.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// A passphrase opens it, and none is known.
    #[error("it is encrypted with a passphrase, and none is set")]
    NoPassphrase,
    /// Of a passphrase alone nobody can say whether it is wrong: what comes out is noise then, as it is where a short message was damaged.
    #[error("the passphrase is wrong, or what it opens is damaged or no .tgz")]
    WrongPassphrase,
    /// A private key opens it, and none was given.
    #[error("it is encrypted for the key {recipients}, and that private key was not given")]
    NoKey {
        /// Ids of keys.
        recipients: String,
    },
    /// It is not for the private key that was given.
    #[error("it is encrypted for the key {recipients}, and not for the private key that was given ({given})")]
    OtherKey {
        /// Ids of keys.
        recipients: String,
        /// The fingerprint of the one that was given.
        given: String,
    },
    /// The private key has a passphrase of its own.
    #[error("the private key is locked with a passphrase of its own, which was not given")]
    Locked,
    /// The private key has another one.
    #[error("the passphrase of the private key is wrong")]
    WrongKeyPassphrase,
    /// It is OpenPGP, but no encrypted message that we read.
    #[error("the OpenPGP message can't be read: {0}")]
    Unsupported(String),
    /// It was changed or cut off.
    #[error("the encrypted object is damaged or cut off: {0}")]
    Damaged(String),
}

impl EncryptionError {
    /// Whether the object itself is bad, and not the key that it was tried with.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// What rPGP says, in words that belong into a sentence.
fn words(error: &pgp::errors::Error) -> String {
    match error {
        pgp::errors::Error::MdcError => "its integrity check fails".to_owned(),
        pgp::errors::Error::Aead { .. } => "the integrity check of one of its chunks fails".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
