//! OpenPGP keys as gpg exports them, armored or not: the public one that backups are encrypted for, the private one that opens them.

use std::fmt;

use pgp::composed::{ArmorOptions, Deserializable, SignedPublicKey, SignedPublicSubKey, SignedSecretKey};
use pgp::packet::{PublicKeyEncryptedSessionKey, PublicSubkey, Signature, SignatureType};
use pgp::types::{KeyDetails, Password, Tag, Timestamp};

use crate::secret::Secret;

/// No key is larger: one with hundreds of signatures has 1 MB.
pub const LARGEST: u64 = 4 << 20;

/// What is wrong with a key that was given.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is something else.
    #[error("it is not an OpenPGP key: {0}")]
    NotAKey(String),
    /// The private one was given where the public one belongs.
    #[error("it is a private key, which must not lie on this host")]
    Private,
    /// The public one was given where the private one belongs.
    #[error("it is a public key, which can't decrypt")]
    Public,
    /// Which one is meant?
    #[error("it holds several keys")]
    Several,
    /// Its owner's signature is missing or wrong.
    #[error("its owner has not signed it, or it was changed since")]
    NotSigned,
    /// It was taken back.
    #[error("it has been revoked")]
    Revoked,
    /// No part of it encrypts.
    #[error("no part of it may encrypt")]
    CannotEncrypt,
    /// Too late.
    #[error("it has expired")]
    Expired,
}

/// A public key that backups are encrypted for.
#[derive(Clone)]
pub struct PublicKey {
    key: SignedPublicKey,
    part: Part,
    expired: bool,
}

/// Which part of it encrypts.
#[derive(Clone)]
enum Part {
    Primary,
    Subkey(Box<PublicSubkey>),
}

impl PublicKey {
    /// Reads a key and chooses the part of it that encrypts, as gpg does: the newest valid one.
    ///
    /// # Errors
    /// When it is no key, or none that can be used. One that has expired is read: see [`Self::expired`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = match single::<SignedPublicKey>(bytes) {
            Err(KeyError::NotAKey(_)) if single::<SignedSecretKey>(bytes).is_ok() => return Err(KeyError::Private),
            other => other?,
        };
        let now = Timestamp::now();
        if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(&key.primary_key).is_ok()) {
            return Err(KeyError::Revoked);
        }
        let own = own_signature(&key).ok_or(KeyError::NotSigned)?;
        let primary_expired = has_expired(own, key.primary_key.created_at(), now);
        let mut parts: Vec<(Timestamp, bool, Part)> = key
            .public_subkeys
            .iter()
            .filter_map(|subkey| {
                let binding = binding(&key, subkey)?;
                let flags = binding.key_flags();
                let encrypts =
                    subkey.key.algorithm().can_encrypt() && (flags.encrypt_storage() || flags.encrypt_comms());
                let created = subkey.key.created_at();
                encrypts
                    .then(|| (created, has_expired(binding, created, now), Part::Subkey(Box::new(subkey.key.clone()))))
            })
            .collect();
        let flags = own.key_flags();
        if key.primary_key.algorithm().can_encrypt() && (flags.encrypt_storage() || flags.encrypt_comms()) {
            parts.push((Timestamp::from_secs(0), false, Part::Primary));
        }
        // One that is still valid, and of those the newest.
        parts.sort_by_key(|(created, expired, _)| (!expired, created.as_secs()));
        let (_, part_expired, part) = parts.pop().ok_or(KeyError::CannotEncrypt)?;
        Ok(Self { expired: primary_expired || part_expired, part, key })
    }

    /// Whether it has expired. Its owner can still decrypt with it, so a backup is not refused for it.
    pub fn expired(&self) -> bool {
        self.expired
    }

    /// Its fingerprint, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.key.primary_key.fingerprint())
    }

    /// Whose it is, as its owner says.
    pub fn users(&self) -> Vec<String> {
        users(&self.key.details.users)
    }

    /// As text, to be stored.
    ///
    /// # Errors
    /// Practically never.
    pub fn armored(&self) -> Result<String, KeyError> {
        self.key.to_armored_string(ArmorOptions::default()).map_err(|error| KeyError::NotAKey(error.to_string()))
    }

    /// Adds the packet for this key to a message in the making.
    pub(super) fn add_to<R: std::io::Read, G: rand::CryptoRng + rand::Rng>(
        &self,
        message: &mut pgp::composed::MessageBuilder<'_, R, pgp::composed::EncryptionSeipdV1>,
        random: G,
    ) -> pgp::errors::Result<()> {
        match &self.part {
            Part::Primary => message.encrypt_to_key(random, &self.key.primary_key)?,
            Part::Subkey(key) => message.encrypt_to_key(random, key.as_ref())?,
        };
        Ok(())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

/// A private key, perhaps locked with a passphrase.
pub struct PrivateKey {
    pub(super) key: SignedSecretKey,
}

impl PrivateKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When it is no private key.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        match single::<SignedSecretKey>(bytes) {
            Err(KeyError::NotAKey(_)) if single::<SignedPublicKey>(bytes).is_ok() => Err(KeyError::Public),
            other => Ok(Self { key: other? }),
        }
    }

    /// Its fingerprint, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.key.primary_key.public_key().fingerprint())
    }

    /// Whether a passphrase unlocks it.
    pub fn is_locked(&self) -> bool {
        let subkeys = self.key.secret_subkeys.iter().any(|subkey| subkey.key.secret_params().is_encrypted());
        subkeys || self.key.primary_key.secret_params().is_encrypted()
    }

    /// Whether the packet is for this key.
    pub(super) fn fits(&self, packet: &PublicKeyEncryptedSessionKey) -> bool {
        let key = &self.key;
        packet.match_identity(key.primary_key.public_key())
            || key.secret_subkeys.iter().any(|subkey| packet.match_identity(subkey.key.public_key()))
    }

    /// Whether the passphrase unlocks the parts of the key that the packets are for.
    pub(super) fn unlocks(&self, packets: &[&PublicKeyEncryptedSessionKey], passphrase: &Secret) -> bool {
        let password = Password::from(passphrase.reveal());
        let key = &self.key;
        let wanted =
            |public: &dyn Fn(&PublicKeyEncryptedSessionKey) -> bool| packets.iter().any(|packet| public(packet));
        let primary = wanted(&|packet| packet.match_identity(key.primary_key.public_key()))
            && matches!(key.primary_key.unlock(&password, |_, _| Ok(())), Ok(Ok(())));
        primary
            || key.secret_subkeys.iter().any(|subkey| {
                wanted(&|packet| packet.match_identity(subkey.key.public_key()))
                    && matches!(subkey.key.unlock(&password, |_, _| Ok(())), Ok(Ok(())))
            })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.fingerprint())
    }
}

/// Reads the one key that is there.
fn single<K: Deserializable>(bytes: &[u8]) -> Result<K, KeyError> {
    let wrong = |error: pgp::errors::Error| KeyError::NotAKey(super::words(&error));
    let (mut keys, _) = K::from_reader_many(bytes).map_err(wrong)?;
    let key = keys.next().ok_or_else(|| KeyError::NotAKey("there is none in it".to_owned()))?.map_err(wrong)?;
    if keys.next().is_some_and(|another| another.is_ok()) { Err(KeyError::Several) } else { Ok(key) }
}

fn users(users: &[pgp::types::SignedUser]) -> Vec<String> {
    users.iter().map(|user| String::from_utf8_lossy(user.id.id()).into_owned()).collect()
}

/// The newest valid signature of the owner over the key itself or a name on it; it carries flags and expiry.
fn own_signature(key: &SignedPublicKey) -> Option<&Signature> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
    let names = key.details.users.iter().flat_map(|user| {
        user.signatures
            .iter()
            .filter(|signature| signature.is_certification())
            .filter(|signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok())
    });
    names.chain(direct).max_by_key(|signature| signature.created().map(Timestamp::as_secs))
}

/// The newest valid signature that makes a subkey part of the key; `None` when there is none, or it was taken back.
fn binding<'a>(key: &SignedPublicKey, subkey: &'a SignedPublicSubKey) -> Option<&'a Signature> {
    let valid = |kind: SignatureType| {
        subkey.signatures.iter().filter(move |signature| {
            signature.typ() == Some(kind) && signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
        })
    };
    if valid(SignatureType::SubkeyRevocation).next().is_some() {
        return None;
    }
    valid(SignatureType::SubkeyBinding).max_by_key(|signature| signature.created().map(Timestamp::as_secs))
}

fn has_expired(signature: &Signature, created: Timestamp, now: Timestamp) -> bool {
    let lifetime = signature.key_expiration_time().map_or(0, pgp::types::Duration::as_secs);
    lifetime > 0 && u64::from(created.as_secs()) + u64::from(lifetime) <= u64::from(now.as_secs())
}
