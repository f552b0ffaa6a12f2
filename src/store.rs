//! Where backups are kept: a small trait, and the two kinds of places behind it.
//!
//! A store sees names and bytes. It knows nothing of databases, archives or manifests. Two things are unusual and both
//! come from the archive's shape (a tar header needs the length that pg_dump gives last): an [`Upload`] takes the first
//! bytes of the object *last*, and a part of an object exists for nobody until [`Upload::complete`] has returned.

pub mod destination;
pub mod features;
pub mod folder;
pub mod key;
pub mod link;
pub mod provider;
pub mod s3;

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A place that keeps objects by name. Names are relative to the destination's prefix (a [`key::BackupKey`] or a sidecar).
pub trait Store: Send + Sync {
    /// The destination as the user wrote it, for messages.
    fn describe(&self) -> String;

    /// Begins an object, which is never to take the place of another one. Wrong keys, bucket, region or endpoint are found here, before any dump begins.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Taken`] when there is one of that name, as far as that can be seen yet.
    fn upload(&self, name: &str, plan: UploadPlan) -> Result<Box<dyn Upload>, StoreError>;

    /// Stores a small object at once (a sidecar), replacing what has that name.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Stores a small object that we ask no object lock to keep; the store may keep it by a rule of its own.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn put_for_a_moment(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(name, bytes)
    }

    /// Size and time of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    fn head(&self, name: &str) -> Result<ObjectInfo, StoreError>;

    /// Reads an object from its beginning. A broken connection is taken up again where it broke; the reader fails when
    /// the object ends before its length.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, StoreError>;

    /// Size and time of one version of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such version; [`StoreError::Misconfigured`] where there are none at all.
    fn head_version(&self, _name: &str, _version: &VersionId) -> Result<ObjectInfo, StoreError> {
        Err(self.no_versions())
    }

    /// Reads one version of an object, as [`Self::open`] does the present one.
    ///
    /// # Errors
    /// See [`Self::head_version`].
    fn open_version(&self, _name: &str, _version: &VersionId) -> Result<Box<dyn Read + Send>, StoreError> {
        Err(self.no_versions())
    }

    /// All versions of the objects whose names begin with `start`, also of those that are deleted.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] where there are none at all.
    fn versions(&self, _start: &str) -> Result<Vec<Version>, StoreError> {
        Err(self.no_versions())
    }

    /// What a store without versions says.
    fn no_versions(&self) -> StoreError {
        StoreError::Misconfigured {
            message: format!("{} keeps no versions: what is replaced or deleted there is gone", self.describe()),
            hint: "Only a bucket keeps versions, once it is told to: aws s3api put-bucket-versioning --bucket BUCKET --versioning-configuration Status=Enabled".to_owned(),
        }
    }

    /// All objects whose names begin with `start`, in no particular order, however many pages the store needs for it.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn list(&self, start: &str) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Deletes an object. One that is not there counts as deleted.
    ///
    /// # Errors
    /// [`StoreError::Retained`] while the store's object lock keeps it.
    fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// Whether the store may keep objects by a lock: "no" only where it has said so.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] when we were asked to stop.
    fn may_retain(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Until when the store's object lock keeps an object; `None` where it doesn't, or nobody may know.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] when we were asked to stop.
    fn retained_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        check_name(name).map(|()| None)
    }

    /// Takes back what a run that died has left of an upload of this very name: of the one that had this [`Upload::id`], or of all where that
    /// is not known. Returns how many such uploads there were.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn take_back(&self, name: &str, id: Option<&str>) -> Result<u64, StoreError>;

    /// Uploads of objects whose names begin with `start` that were begun and not completed, as far as the store keeps them apart from
    /// its objects.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn unfinished(&self, _start: &str) -> Result<Vec<Unfinished>, StoreError> {
        Ok(Vec::new())
    }

    /// A link that lets anyone read the object for `valid`; `None` where the store has no such thing (a folder).
    ///
    /// # Errors
    /// See [`StoreError`].
    fn presign(&self, name: &str, valid: Duration) -> Result<Option<String>, StoreError>;

    /// For how long a new object may be missing from a list: some stores are behind with theirs.
    fn listing_lag(&self) -> SignedDuration {
        SignedDuration::from_mins(10)
    }

    /// What stock tools must be told to find the same place.
    fn whereabouts(&self) -> Whereabouts {
        Whereabouts::default()
    }

    /// How we get on with the store, as far as its answers so far have shown it.
    fn terms(&self) -> Terms {
        Terms::default()
    }
}

/// Where a bucket is kept, as far as that was set: as a property, or together with the keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The store's address, where it isn't AWS.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
}

/// How we get on with a store; what doesn't apply (to a folder) or is not known yet is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// How we speak to it, and prove that the bytes have arrived.
    pub dialect: Option<String>,
    /// Who gave the keys, where that was left to the host.
    pub keys_from: Option<String>,
    /// How far the store's clock is ahead of ours (negative: behind).
    pub clock_ahead: Option<SignedDuration>,
}

/// What is known of an object before its first byte.
#[derive(Debug, Clone, Copy)]
pub struct UploadPlan {
    /// How many bytes at the front are given to [`Upload::complete`] instead of [`Upload::write`].
    pub head: usize,
    /// An upper bound of the size, in bytes, to choose the parts' size by; a wrong guess must not fail.
    pub expected: u64,
}

/// An object in the making. Dropping it without [`Upload::complete`] takes back all that was sent.
pub trait Upload: Send {
    /// Adds bytes behind the head, in order. Blocks while the store is slower than we are: memory is bounded.
    ///
    /// # Errors
    /// See [`StoreError`]; after an error the upload can only be aborted or dropped.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Adds the head (exactly as long as planned) and makes the object visible under its name, in one step.
    /// Returns when the store has confirmed every byte by checksum.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is left behind then. [`StoreError::Taken`] when another one has got that name meanwhile, in every
    /// store that can tell.
    fn complete(self: Box<Self>, head: &[u8]) -> Result<Stored, StoreError>;

    /// What the store calls it, where it can be taken back by that.
    fn id(&self) -> Option<&str> {
        None
    }

    /// How far it is, to be looked at from outside while it is completed; nothing ever moves where nobody has to wait for a network.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// Gives the object up and says whether all that was sent could be taken back.
    ///
    /// # Errors
    /// When something is left in the store; the message says what.
    fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Bytes that an upload has been given, and those that are on their way to the store: what is in between waits in memory.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Bytes that it has been given.
    pub fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// Bytes of those that a connection has taken; fewer again when some have to be sent once more.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    fn write(&self, bytes: u64) {
        self.0.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Of something that had `before` bytes left to send there are `left` now.
    fn send(&self, before: u64, left: u64) {
        // Around the corner where there are more again.
        self.0.sent.fetch_add(before.wrapping_sub(left), Ordering::Relaxed);
    }
}

/// A finished upload.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Length in bytes, head included.
    pub bytes: u64,
    /// How the store confirmed it, for the history: "12 parts, CRC-32 each".
    pub confirmed_by: String,
}

/// An object as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Name without the destination's prefix.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When it was stored, by the store's clock.
    pub modified: Option<Timestamp>,
    /// Storage class where it is not the ordinary one ("GLACIER").
    pub class: Option<String>,
}

/// An upload that was begun and not completed: its parts are paid for, and no list shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Name of the object that it was to be, without the destination's prefix.
    pub name: String,
    /// When it was begun, by the store's clock.
    pub begun: Option<Timestamp>,
}

/// One of the versions that a bucket keeps of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The object as it was then.
    pub object: ObjectInfo,
    /// Which version it is; buckets that keep none call the only one `null`.
    pub id: VersionId,
    /// It is the one that is read when none is named.
    pub present: bool,
    /// No object but the mark that it was deleted.
    pub deleted: bool,
}

/// The name that a store has given to a version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionId(String);

impl VersionId {
    /// As the store calls it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the only one of a bucket that keeps no versions, or was stored before it did.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }
}

impl FromStr for VersionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 1024 || !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("{text:?} is not the id of a version, which pgbackup:list --versions shows"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The bytes of a small object, at most `most` of them; `None` when it isn't there.
///
/// # Errors
/// When the store fails.
pub fn read_small(store: &dyn Store, name: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let reader = match store.open(name) {
        Ok(reader) => reader,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    let action = format!("reading {}/{name}", store.describe());
    reader.take(most).read_to_end(&mut text).map_err(|error| StoreError::Failed { action, source: error.into() })?;
    Ok(Some(text))
}

/// Why a store refused, sorted by what a caller or a user does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object.
    #[error("{what} does not exist")]
    NotFound {
        /// The object, with its destination.
        what: String,
    },
    /// An object has this name already: another host saves into the same place.
    #[error("{what} exists already and is not overwritten")]
    Taken {
        /// The object, with its destination.
        what: String,
    },
    /// The keys are right but may not do this.
    #[error("permission {permission} is missing for {resource}")]
    Denied {
        /// In the words of an IAM policy: `s3:PutObject`.
        permission: String,
        /// What it is missing for.
        resource: String,
    },
    /// Keys, bucket, region or endpoint are wrong: trying again can't help until someone changes a setting.
    #[error("{message}")]
    Misconfigured {
        /// What is wrong, in one sentence.
        message: String,
        /// What to type or look at.
        hint: String,
    },
    /// Everything else, after the retries that made sense.
    #[error("{action} failed: {source:#}")]
    Failed {
        /// What was tried: `uploading part 3 of s3://bucket/key`.
        action: String,
        /// Why.
        source: anyhow::Error,
    },
    /// The store keeps it from being deleted (object lock).
    #[error("{what} is retained {}", until.map_or_else(|| "by the store's object lock".to_owned(), |until| format!("until {until:.0} by the store's object lock")))]
    Retained {
        /// The object, with its destination.
        what: String,
        /// Until when, where the store says so.
        until: Option<Timestamp>,
    },
    /// We were asked to stop. (Not `transparent`: who looks through the causes must find [`crate::interrupt::Interrupted`].)
    #[error("stopped on request")]
    Interrupted(#[from] crate::interrupt::Interrupted),
}

/// For readers: the store's error stays findable behind an [`io::Error`], whose own `source()` skips what it holds.
#[derive(Debug, thiserror::Error)]
#[error("reading from the store: {0}")]
struct WhileReading(#[source] StoreError);

impl From<StoreError> for io::Error {
    /// The kind is never `ErrorKind::Interrupted`, which `read_exact` and `io::copy` take as "try again".
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound { .. } => io::ErrorKind::NotFound,
            StoreError::Denied { .. } => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, WhileReading(error))
    }
}

/// Whether a name may be given to a store: one part of a path, printable, and not hidden. Keys of backups and the names of
/// their sidecars always are; this is the last door before a name becomes a path or a URL.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let bad = name.is_empty()
        || name.len() > 240
        || name.starts_with('.')
        || name.contains('/')
        || name.contains('\\')
        || name.chars().any(char::is_control);
    if bad {
        return Err(StoreError::Failed {
            action: format!("naming an object {name:?}"),
            source: anyhow::anyhow!("such a name is not for a store"),
        });
    }
    Ok(())
}
