//! Signatures of manifests: whether a backup is the one that this host, or one that it trusts, has saved.
//!
//! The store is another's machine, and a dump is SQL that runs as super user: whoever can write to the bucket could otherwise have a restore
//! do what they want. So each backup's description is signed (Ed25519) with a key that never leaves the host, and through it the object
//! ([`crate::manifest::Proof`]). From a service's first signed backup on each of its backups has to be signed: a signature that is missing is as
//! bad as a wrong one.
//!
//! One small file, `<data>/--global/signing-keys.json` (0600): the key that signs, and the public halves of others that are trusted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::drill::Drill;
use crate::durable::{self, Locked};
use crate::manifest::{Manifest, Signature, hex, unhex};
use crate::secret::Secret;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;

/// What is signed begins with this, so that a signature can mean nothing else.
const DOMAIN: &[u8] = b"pgbackup manifest 1\0";
/// The same for what lies beside a backup that was tried.
const DRILL_DOMAIN: &[u8] = b"pgbackup drill 1\0";
/// How long a change waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);
/// The words that a secret key and a public one begin with where they are kept elsewhere.
const SECRET: &str = "pgbackup-secret-key";
const PUBLIC: &str = "pgbackup-public-key";

/// The keys of this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The one that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signing: Option<SecretKey>,
    /// Public halves that are trusted: of other hosts, and of keys that signed here before.
    #[serde(default)]
    trusted: Vec<PublicKey>,
    /// Since when the backups of a service have to be signed: its first signed one of this host.
    #[serde(default)]
    since: BTreeMap<ServiceName, Timestamp>,
}

/// A key that signs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SecretKey {
    secret: Bytes,
    made: Timestamp,
    /// It signed on another host before: there every service was signed since its making, as far as is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    imported: bool,
}

/// A key that proves signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    public: Bytes,
    /// When it was made.
    pub made: Timestamp,
}

/// 32 bytes, in hex.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Bytes([u8; 32]);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        unhex(text).map(Self).ok_or_else(|| "it is not 64 hexadecimal digits".to_owned())
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        hex(&bytes.0)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl SecretKey {
    fn make(now: Timestamp) -> Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| anyhow!("there are no random numbers: {error}"))?;
        Ok(Self { secret: Bytes(secret), made: Timestamp::from_second(now.as_second())?, imported: false })
    }

    fn public(&self) -> PublicKey {
        let public = SigningKey::from_bytes(&self.secret.0).verifying_key();
        PublicKey { public: Bytes(public.to_bytes()), made: self.made }
    }
}

impl PublicKey {
    /// Sixteen digits that name it.
    pub fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        hex(Sha256::digest(self.public.0).as_slice()).chars().take(16).collect()
    }

    /// For another host: `pgbackup-public-key 2026-11-24T19:00:00Z 0123…`.
    pub fn text(&self) -> String {
        format!("{PUBLIC} {} {}", self.made, hex(&self.public.0))
    }

    fn proves(&self, domain: &[u8], digest: &[u8; 32], signature: &str) -> bool {
        let Some(signature) = unhex(signature) else { return false };
        let Ok(key) = VerifyingKey::from_bytes(&self.public.0) else { return false };
        key.verify_strict(&message(domain, digest), &ed25519_dalek::Signature::from_bytes(&signature)).is_ok()
    }
}

/// What is known of where a backup comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Signed with a key that this host knows; its id.
    Signed(String),
    /// Nobody has signed it, and nobody had to: it is older than the key, or this host has none, or remembers that it was not signed.
    Unsigned,
    /// Signed with a key that this host doesn't know (its id), while it has none that would have to be there.
    Unknown(String),
    /// It has to be signed with a key that this host knows, and isn't; why.
    Refused(String),
}

impl Standing {
    /// In a word, for lists and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Signed(_) => "signed",
            Self::Unsigned => "unsigned",
            Self::Unknown(_) => "unknown-key",
            Self::Refused(_) => "NOT-PROVEN",
        }
    }
}

impl Keys {
    /// Reads them; `data` is the plugin's data folder. None are there before the first is made.
    ///
    /// # Errors
    /// When the file is there and can't be read: nobody may take that for "nothing has to be signed".
    pub fn read(data: &Path) -> Result<Self> {
        let path = path(data);
        let Some(text) = durable::read(&path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&text).with_context(|| format!("The signing keys in {} can't be read", path.display()))
    }

    fn write(&self, data: &Path) -> Result<()> {
        let path = path(data);
        durable::make_folder(path.parent().unwrap_or(data), 0o700)?;
        durable::write(&path, &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// Changes them, alone.
    fn change<T>(data: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<(Self, T)> {
        let path = path(data);
        durable::make_folder(path.parent().unwrap_or(data), 0o700)?;
        let Locked::Ours(_held) = durable::lock(&path.with_extension("lock"), PATIENCE)? else {
            bail!("{} is held by another process", path.display())
        };
        let mut keys = Self::read(data)?;
        let before = keys.clone();
        let result = change(&mut keys)?;
        if keys != before {
            keys.write(data)?;
        }
        Ok((keys, result))
    }

    /// Makes the key that signs where there is none. Whether it is a new one.
    ///
    /// # Errors
    /// When it can't be kept.
    pub fn make(&mut self, data: &Path, now: Timestamp) -> Result<bool> {
        if self.signing.is_some() {
            return Ok(false);
        }
        let new;
        (*self, new) = Self::change(data, |keys| {
            let none = keys.signing.is_none();
            if none {
                keys.signing = Some(SecretKey::make(now)?);
            }
            Ok(none)
        })?;
        Ok(new)
    }

    /// From this backup on those of its service have to be signed.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn begin(data: &Path, service: &ServiceName, started: Timestamp) -> Result<()> {
        Self::change(data, |keys| {
            keys.since.entry(service.clone()).or_insert(started);
            Ok(())
        })
        .map(drop)
    }

    /// Takes a key that was kept elsewhere: a secret one signs from now on, the one before stays trusted; a public one is trusted.
    ///
    /// # Errors
    /// When it is no key, or can't be kept.
    pub fn import(&mut self, data: &Path, text: &Secret) -> Result<PublicKey> {
        let words: Vec<&str> = text.reveal().split_whitespace().collect();
        let [kind, made, bytes] = words.as_slice() else { bail!("it is not three words: {SECRET} TIME DIGITS") };
        let made: Timestamp = made.parse().map_err(|_| anyhow!("its second word is not a time"))?;
        let bytes: Bytes = bytes.parse().map_err(|error: String| anyhow!("of its third word {error}"))?;
        let imported;
        (*self, imported) = Self::change(data, |keys| {
            let imported = match *kind {
                SECRET => {
                    let key = SecretKey { secret: bytes, made, imported: true };
                    let public = key.public();
                    if let Some(before) = keys.signing.replace(key).map(|before| before.public()) {
                        keys.trusted.push(before);
                    }
                    public
                }
                PUBLIC => {
                    VerifyingKey::from_bytes(&bytes.0).map_err(|_| anyhow!("its third word is not a public key"))?;
                    let public = PublicKey { public: bytes, made };
                    keys.trusted.push(public.clone());
                    public
                }
                _ => bail!("its first word is neither {SECRET} nor {PUBLIC}"),
            };
            let signing = keys.signing.as_ref().map(SecretKey::public);
            keys.trusted.sort_by_key(PublicKey::id);
            keys.trusted.dedup_by_key(|key| key.id());
            keys.trusted.retain(|key| signing.as_ref().is_none_or(|signing| signing.id() != key.id()));
            Ok(imported)
        })?;
        Ok(imported)
    }

    /// No longer trusts a public key. Whether it was trusted.
    ///
    /// # Errors
    /// When that can't be written down.
    pub fn forget(&mut self, data: &Path, id: &str) -> Result<bool> {
        let forgot;
        (*self, forgot) = Self::change(data, |keys| {
            let before = keys.trusted.len();
            keys.trusted.retain(|key| key.id() != id);
            Ok(keys.trusted.len() < before)
        })?;
        Ok(forgot)
    }

    /// The public half of the key that signs.
    pub fn signing(&self) -> Option<PublicKey> {
        self.signing.as_ref().map(SecretKey::public)
    }

    /// The others that are trusted.
    pub fn trusted(&self) -> &[PublicKey] {
        &self.trusted
    }

    /// The key that signs, to be kept elsewhere.
    pub fn secret_text(&self) -> Option<Secret> {
        let key = self.signing.as_ref()?;
        Some(Secret::new(format!("{SECRET} {} {}", key.made, hex(&key.secret.0))))
    }

    /// Signs a manifest. `None` where there is no key.
    ///
    /// # Errors
    /// Practically never: a manifest can be written as JSON.
    pub fn sign(&self, manifest: &Manifest) -> Result<Option<Signature>> {
        self.sign_text(DOMAIN, &manifest.to_json()?)
    }

    /// Signs the result of a drill. `None` where there is no key.
    ///
    /// # Errors
    /// Practically never: it can be written as JSON.
    pub fn sign_drill(&self, drill: &Drill) -> Result<Option<Signature>> {
        self.sign_text(DRILL_DOMAIN, &drill.to_json()?)
    }

    fn sign_text(&self, domain: &[u8], text: &[u8]) -> Result<Option<Signature>> {
        let Some(key) = &self.signing else { return Ok(None) };
        let digest = Manifest::digest(text)?;
        let signature = SigningKey::from_bytes(&key.secret.0).sign(&message(domain, &digest));
        Ok(Some(Signature { key: key.public().id(), value: hex(&signature.to_bytes()), over: Some(digest) }))
    }

    /// Whether a backup has to be signed: the service's first signed one is not younger. Where that is not known, because the keys came from
    /// another host, their making counts.
    fn has_to_be_signed(&self, key: &BackupKey) -> bool {
        let started = key.started();
        if let Some(since) = self.since.get(key.service()) {
            return *since <= started;
        }
        let imported = self.signing.iter().filter(|key| key.imported).map(|key| key.made);
        imported.chain(self.trusted.iter().map(|key| key.made)).any(|made| made <= started)
    }

    /// Judges the description of a backup. One that this host `remembers` is what it wrote itself.
    pub fn judge(&self, backup: &BackupKey, description: Option<&Manifest>, remembers: bool) -> Standing {
        let has_to_be = self.has_to_be_signed(backup);
        let Some(signature) = description.and_then(|manifest| manifest.signature.as_ref()) else {
            return match (remembers && description.is_some(), has_to_be, description) {
                (true, _, _) | (_, false, _) => Standing::Unsigned,
                (_, _, Some(_)) => Standing::Refused("its description is not signed".to_owned()),
                (_, _, None) => Standing::Refused("it has no description that could be signed".to_owned()),
            };
        };
        let Some(digest) = signature.over.filter(|_| !remembers) else {
            return Standing::Signed(signature.key.clone());
        };
        self.proven(DOMAIN, signature, &digest, has_to_be)
            .unwrap_or_else(|| Standing::Refused("its description was changed after it was signed".to_owned()))
    }

    /// Judges the result of a drill as it lies beside the backup, by the same rules.
    pub fn judge_drill(&self, drill: &Drill) -> Standing {
        let has_to_be = self.has_to_be_signed(&drill.key);
        match drill.signature.as_ref().and_then(|signature| Some((signature, signature.over?))) {
            Some((signature, digest)) => {
                self.proven(DRILL_DOMAIN, signature, &digest, has_to_be).unwrap_or_else(|| {
                    Standing::Refused("the result of its drill was changed after it was signed".to_owned())
                })
            }
            None if has_to_be => Standing::Refused("the result of its drill is not signed".to_owned()),
            None => Standing::Unsigned,
        }
    }

    /// Whose signature it is; `None` where it is that of a known key, and wrong.
    fn proven(&self, domain: &[u8], signature: &Signature, digest: &[u8; 32], has_to_be: bool) -> Option<Standing> {
        let id = &signature.key;
        match self.signing().into_iter().chain(self.trusted.iter().cloned()).find(|key| key.id() == *id) {
            Some(key) => key.proves(domain, digest, &signature.value).then(|| Standing::Signed(id.clone())),
            None if has_to_be => {
                Some(Standing::Refused(format!("it is signed with the key {id:.16}, which this host doesn't know")))
            }
            None => Some(Standing::Unknown(id.chars().take(16).collect())),
        }
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("--global").join("signing-keys.json")
}

fn message(domain: &[u8], digest: &[u8; 32]) -> Vec<u8> {
    [domain, digest].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::drill::tests::drill;
    use crate::history::tests::manifest;

    const KEY: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn now() -> Timestamp {
        "2023-04-03T11:00:04.7Z".parse().unwrap()
    }

    /// A host with a key, and a manifest that it has signed, as it comes back from the store.
    fn signed() -> (tempfile::TempDir, Keys, Vec<u8>) {
        let data = tempfile::tempdir().unwrap();
        let mut keys = Keys::default();
        assert!(keys.make(data.path(), now()).unwrap());
        let mut manifest = manifest(KEY);
        manifest.signature = keys.sign(&manifest).unwrap();
        (data, keys, manifest.to_json().unwrap())
    }

    fn judged(keys: &Keys, text: &[u8]) -> Standing {
        let manifest = Manifest::parse(text, None).unwrap();
        keys.judge(&manifest.key, Some(&manifest), false)
    }

    #[test]
    fn a_signature_holds_and_every_change_breaks_it() {
        let (data, keys, text) = signed();
        let id = keys.signing().unwrap().id();
        assert_eq!(judged(&keys, &text), Standing::Signed(id));
        assert_eq!(Keys::read(data.path()).unwrap(), keys);
        let mode = std::fs::metadata(path(data.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Blanks and the order of fields are no change; a field that this version doesn't know is one.
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(matches!(judged(&keys, &serde_json::to_vec(&value).unwrap()), Standing::Signed(_)));
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [
            ("562", "561"),
            ("\"host\": \"dokku.example\"", "\"host\": \"other.example\""),
            ("\"format\": 1,", "\"format\": 1, \"of-tomorrow\": 2,"),
            ("\"label\": \"before the release\",", ""),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = text.replacen(from, to, 1);
            assert!(matches!(judged(&keys, changed.as_bytes()), Standing::Refused(_)), "{from}");
        }
        let digits = text.find("\"value\": \"").unwrap() + 10;
        let other = if text[digits..].starts_with('0') { "1" } else { "0" };
        let changed = format!("{}{other}{}", &text[..digits], &text[digits + 1..]);
        assert!(matches!(judged(&keys, changed.as_bytes()), Standing::Refused(_)));
        for value in ["", "zz", "é"] {
            let mut manifest = Manifest::parse(text.as_bytes(), None).unwrap();
            manifest.signature.as_mut().unwrap().value = value.to_owned();
            assert!(matches!(judged(&keys, &manifest.to_json().unwrap()), Standing::Refused(_)));
        }
    }

    #[test]
    fn what_has_to_be_signed_is_asked_for_from_the_first_signed_one_on() {
        let (data, keys, text) = signed();
        let unsigned = manifest(KEY);
        let key = &unsigned.key;
        assert_eq!(keys.judge(key, None, false), Standing::Unsigned, "dokku-postgres may still be what saves it");
        Keys::begin(data.path(), key.service(), key.started()).unwrap();
        Keys::begin(data.path(), key.service(), Timestamp::MAX).unwrap();
        let keys = Keys::read(data.path()).unwrap();
        let before: BackupKey = "postgres-prod-2023-04-03-11-00-03.tgz".parse().unwrap();
        let of_another: BackupKey = "postgres-other-2023-04-03-11-00-04.tgz".parse().unwrap();
        assert!(matches!(keys.judge(key, Some(&unsigned), false), Standing::Refused(_)));
        assert!(matches!(keys.judge(key, None, false), Standing::Refused(_)), "also one of dokku-postgres");
        assert_eq!(keys.judge(&before, Some(&unsigned), false), Standing::Unsigned);
        assert_eq!(keys.judge(&before, None, false), Standing::Unsigned);
        assert_eq!(keys.judge(&of_another, None, false), Standing::Unsigned);
        assert_eq!(keys.judge(key, Some(&unsigned), true), Standing::Unsigned, "this host knows that it wasn't signed");
        assert!(matches!(keys.judge(key, None, true), Standing::Refused(_)));
        assert_eq!(Keys::default().judge(key, None, false), Standing::Unsigned);

        // Another host, and one that has lost its key.
        assert!(matches!(judged(&Keys::default(), &text), Standing::Unknown(_)));
        let (data, _, _) = signed();
        Keys::begin(data.path(), key.service(), key.started()).unwrap();
        assert!(matches!(judged(&Keys::read(data.path()).unwrap(), &text), Standing::Refused(_)));
    }

    #[test]
    fn keys_travel() {
        let (_first, keys, text) = signed();
        let data = tempfile::tempdir().unwrap();
        let mut other = Keys::default();
        other.make(data.path(), now()).unwrap();
        let own = other.signing().unwrap();
        let public = keys.signing().unwrap();
        other.import(data.path(), &Secret::new(public.text())).unwrap();
        assert!(matches!(judged(&other, &text), Standing::Signed(_)));
        let key: BackupKey = KEY.parse().unwrap();
        assert!(matches!(other.judge(&key, None, false), Standing::Refused(_)), "that host has signed it all");
        assert_eq!(other.signing(), Some(own.clone()), "a public key changes nothing of what signs");
        other.import(data.path(), &keys.secret_text().unwrap()).unwrap();
        other.import(data.path(), &keys.secret_text().unwrap()).unwrap();
        assert_eq!((other.signing(), other.trusted()), (Some(public), [own.clone()].as_slice()));
        assert_eq!(Keys::read(data.path()).unwrap(), other);
        assert!(other.forget(data.path(), &own.id()).unwrap() && !other.forget(data.path(), "x").unwrap());
        for bad in [
            "",
            "pgbackup-secret-key x",
            "pgbackup-secret-key 2023-04-03T11:00:04Z 00",
            "a b c",
            "pgbackup-public-key now 00",
        ] {
            assert!(other.import(data.path(), &Secret::new(bad)).is_err(), "{bad:?}");
        }
        let shown = format!("{other:?}");
        assert!(!shown.contains(other.secret_text().unwrap().reveal().rsplit(' ').next().unwrap()), "{shown}");
    }

    #[test]
    fn the_result_of_a_drill_is_judged_by_the_same_rules() {
        let (data, keys, text) = signed();
        let mut tried = drill(KEY, true);
        tried.signature = keys.sign_drill(&tried).unwrap();
        let judge = |keys: &Keys, tried: &Drill| {
            keys.judge_drill(&Drill::parse(&tried.to_json().unwrap(), &tried.key).unwrap())
        };
        assert!(matches!(judge(&keys, &tried), Standing::Signed(_)));
        assert!(matches!(judge(&Keys::default(), &tried), Standing::Unknown(_)));
        assert_eq!(judge(&keys, &drill(KEY, true)), Standing::Unsigned);
        assert!(matches!(judge(&keys, &Drill { good: false, ..tried.clone() }), Standing::Refused(_)));
        // The signature of a manifest is none of a drill.
        let signature = Manifest::parse(&text, None).unwrap().signature;
        assert!(matches!(judge(&keys, &Drill { signature, ..tried.clone() }), Standing::Refused(_)));
        Keys::begin(data.path(), tried.key.service(), tried.key.started()).unwrap();
        let keys = Keys::read(data.path()).unwrap();
        assert!(matches!(judge(&keys, &drill(KEY, true)), Standing::Refused(_)), "it has to be signed");
    }

    #[test]
    fn a_spoiled_file_is_no_permission() {
        let (data, _, _) = signed();
        std::fs::write(path(data.path()), "{").unwrap();
        assert!(Keys::read(data.path()).is_err());
    }
}
