//! S3 and what speaks its language. The one place with an async runtime: it is small, made when it is first needed, and
//! nothing async leaves this folder.
//!
//! What real failures taught it: a key, bucket or region that is wrong is told before the dump and by its name (not as
//! "Unable to locate credentials" after an hour, dokku-postgres #209); nothing is visible in the bucket before the store
//! has confirmed all of it (#274: 111 bytes reported as success); transfers are given up for lack of progress, never for
//! their length; a role that may only write is enough for a backup.
//!
//! [`client`] connects and waits, [`call`] tries again, [`clock`] looks at the time, [`errors`] names what went wrong, [`parts`] and [`dialect`] decide,
//! [`upload`] and [`download`] move the bytes.

mod call;
mod client;
mod clock;
mod dialect;
mod download;
mod errors;
mod keys;
mod pace;
mod parts;
mod upload;

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;
use jiff::Timestamp;

use self::call::{Act, Patience};
use self::client::Client;
use super::features::Features;
use super::link::Link;
use super::provider::Provider;
use super::{
    ObjectInfo, Store, StoreError, Terms, Unfinished, Upload, UploadPlan, Version, VersionId, Whereabouts, check_name,
};
use crate::secret::Secret;

pub use self::keys::{Answer, Source, Why};
pub use self::pace::Pace;

/// What reading a version that isn't the present one needs.
const OF_VERSION: &str = "s3:GetObjectVersion";
/// A signed link is valid for seven days at most: S3's own limit.
const LONGEST_LINK: Duration = Duration::from_hours(7 * 24);
/// How long we wait, after Ctrl-C, for the answer that decides whether an object is there.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Where the keys come from.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// The SDK's default chain: environment, profile, web identity, container, instance role (`IMDSv2`).
    #[default]
    Chain,
    /// These.
    Static {
        /// Access key id.
        access_key: String,
        /// Secret access key.
        secret_key: Secret,
        /// Session token, for temporary keys.
        session_token: Option<Secret>,
    },
    /// None: a link that somebody has signed opens one object.
    Link(Link),
}

/// Everything that leads to a bucket. `..Default::default()` for what isn't set.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// What stands before each name, without slashes at the ends; may be empty.
    pub prefix: String,
    /// The bucket's region. Without it: what the environment, profile or instance say; without those too, the store is asked.
    pub region: Option<String>,
    /// `https://host[:port]` of a store that is not AWS.
    pub endpoint: Option<String>,
    /// Who keeps it; what it asks for is chosen by that.
    pub provider: Provider,
    /// Whether the bucket stands in the path instead of the host name. Default: in the path, except for AWS.
    pub path_style: Option<bool>,
    /// Whether to send CRC-32 checksums, which many stores refuse, instead of Content-MD5. Default: for AWS alone.
    pub checksums: Option<bool>,
    /// Where the keys come from.
    pub credentials: Credentials,
    /// How many parts are uploaded at once. Default: 3 (R2: 2), fewer when parts are large; memory is (this + 1) × part size + 8 MiB.
    pub part_concurrency: Option<usize>,
    /// How many parts the store takes for one object. Default: 10,000; Scaleway takes 1,000.
    pub max_parts: Option<u32>,
    /// What is asked for beside the bytes when an object is stored.
    pub features: Features,
    /// How fast bytes go either way; shared by all stores that are given the same one.
    pub pace: Option<Pace>,
}

/// A bucket, or a folder in it.
pub struct S3Store {
    client: Arc<Client>,
    /// Whether its bucket may keep objects by a lock, once that was asked.
    has_lock: OnceLock<bool>,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("destination", &self.client.destination()).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Checks the settings; nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] when the endpoint is no URL.
    pub fn open(settings: S3Settings) -> Result<Self, StoreError> {
        Ok(Self { client: Arc::new(Client::new(settings)?), has_lock: OnceLock::new() })
    }

    /// Asks every source of keys that this host has, in the order in which they are used where none are set.
    ///
    /// # Errors
    /// When we were asked to stop.
    pub fn keys_of_host(&self) -> Result<Vec<(Source, Answer)>, StoreError> {
        self.client.wait(self.client.keys_of_host())
    }

    /// Whether the bucket's objects can be kept by a lock: one question instead of one for each of them. Only a clear "no" counts: a store
    /// or a role that doesn't answer is asked for each object.
    fn has_lock(&self) -> Result<bool, StoreError> {
        if let Some(known) = self.has_lock.get() {
            return Ok(*known);
        }
        let bucket = self.client.bucket();
        let act =
            Act::new("looking for the object lock of", "s3:GetBucketObjectLockConfiguration", format!("s3://{bucket}"));
        let asked = self.client.wait_on(
            self.client
                .call(&act, Patience::CLEANING, None, |s3| s3.get_object_lock_configuration().bucket(bucket).send()),
            || LAST_WORD,
        )?;
        let has_lock = match asked {
            Err(StoreError::Interrupted(stopped)) => return Err(stopped.into()),
            answer => !matches!(answer, Err(StoreError::NotFound { .. })),
        };
        Ok(*self.has_lock.get_or_init(|| has_lock))
    }
}

/// Reads the object that a presigned link opens, as any other one: taken up again where a connection breaks. Its length stands beside
/// it, where the server says it.
///
/// # Errors
/// When the link is refused or has expired, or its server can't be reached. No error holds the link.
pub fn open_link(link: Link, pace: Option<Pace>) -> Result<(Box<dyn Read + Send>, Option<u64>), StoreError> {
    let settings = S3Settings {
        bucket: "link".to_owned(),
        // Nothing is looked up for what isn't signed.
        region: Some("us-east-1".to_owned()),
        endpoint: Some(link.origin().to_owned()),
        provider: Provider::Other,
        path_style: Some(true),
        // A header of S3's that the link's signature doesn't cover would make it invalid.
        checksums: Some(false),
        credentials: Credentials::Link(link),
        pace,
        ..S3Settings::default()
    };
    let reader = download::S3Reader::open(&Arc::new(Client::new(settings)?), "link", None)?;
    let total = reader.total();
    Ok((Box::new(reader), total))
}

impl Store for S3Store {
    fn describe(&self) -> String {
        self.client.destination()
    }

    fn upload(&self, name: &str, plan: UploadPlan) -> Result<Box<dyn Upload>, StoreError> {
        check_name(name)?;
        Ok(Box::new(upload::S3Upload::begin(Arc::clone(&self.client), name, plan)?))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        upload::put(&self.client, name, bytes, true)
    }

    fn put_for_a_moment(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        upload::put(&self.client, name, bytes, false)
    }

    fn head(&self, name: &str) -> Result<ObjectInfo, StoreError> {
        check_name(name)?;
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let act = Act::new("looking for", "s3:GetObject", self.client.url(name));
        let reply =
            self.client
                .wait(self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
                    s3.head_object().bucket(bucket).key(&key).send()
                }))??;
        Ok(ObjectInfo {
            name: name.to_owned(),
            bytes: size(reply.content_length()),
            modified: reply.last_modified().and_then(time),
            class: reply.storage_class().and_then(|class| class_of(class.as_str())),
        })
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, StoreError> {
        check_name(name)?;
        Ok(Box::new(download::S3Reader::open(&self.client, name, None)?))
    }

    fn head_version(&self, name: &str, version: &VersionId) -> Result<ObjectInfo, StoreError> {
        check_name(name)?;
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let act = of_version("looking for", &self.client.url(name), version);
        let reply = self.client.wait(self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
            s3.head_object().bucket(bucket).key(&key).version_id(version.as_str()).send()
        }))??;
        if !is_version(reply.version_id(), version) {
            return Err(self.no_versions());
        }
        Ok(ObjectInfo {
            name: name.to_owned(),
            bytes: size(reply.content_length()),
            modified: reply.last_modified().and_then(time),
            class: reply.storage_class().and_then(|class| class_of(class.as_str())),
        })
    }

    fn open_version(&self, name: &str, version: &VersionId) -> Result<Box<dyn Read + Send>, StoreError> {
        check_name(name)?;
        Ok(Box::new(download::S3Reader::open(&self.client, name, Some(version))?))
    }

    fn versions(&self, start: &str) -> Result<Vec<Version>, StoreError> {
        let (bucket, prefix) = (self.client.bucket(), self.client.key(start));
        let act = Act::new("listing the versions in", "s3:ListBucketVersions", format!("s3://{bucket}"));
        let mut found = Vec::new();
        let mut page: (Option<String>, Option<String>) = (None, None);
        let mut pages = HashSet::new();
        loop {
            let reply = self.client.wait(self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
                s3.list_object_versions()
                    .bucket(bucket)
                    .prefix(&prefix)
                    .delimiter("/")
                    .encoding_type(EncodingType::Url)
                    .set_key_marker(page.0.clone())
                    .set_version_id_marker(page.1.clone())
                    .send()
            }))??;
            let encoded = reply.encoding_type() == Some(&EncodingType::Url);
            let version = |key: Option<&str>, id: Option<&str>, present: Option<bool>, modified: Option<&DateTime>| {
                let name = self.listed_name(key?, encoded)?;
                let object = ObjectInfo { name, bytes: 0, modified: modified.and_then(time), class: None };
                let id = id.unwrap_or("null").parse().ok()?;
                Some(Version { object, id, present: present.unwrap_or(false), deleted: false })
            };
            for listed in reply.versions() {
                let Some(mut version) =
                    version(listed.key(), listed.version_id(), listed.is_latest(), listed.last_modified())
                else {
                    continue;
                };
                version.object.bytes = size(listed.size());
                version.object.class = listed.storage_class().and_then(|class| class_of(class.as_str()));
                found.push(version);
            }
            for mark in reply.delete_markers() {
                if let Some(version) = version(mark.key(), mark.version_id(), mark.is_latest(), mark.last_modified()) {
                    found.push(Version { deleted: true, ..version });
                }
            }
            if !reply.is_truncated().unwrap_or(false) {
                return Ok(found);
            }
            // Encoded like the keys, but given back as it is.
            let key = reply.next_key_marker().map(|key| if encoded { percent_decoded(key) } else { key.to_owned() });
            page = (key, reply.next_version_id_marker().map(str::to_owned));
            if page.0.is_none() || !pages.insert(page.clone()) {
                return Err(act.failed(anyhow::anyhow!("the store says there is more, but not where it goes on")));
            }
        }
    }

    fn list(&self, start: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let (bucket, prefix) = (self.client.bucket(), self.client.key(start));
        let act = Act::new("listing", "s3:ListBucket", format!("s3://{bucket}"));
        let mut found = Vec::new();
        let mut page: Option<String> = None;
        let mut pages = HashSet::new();
        loop {
            let reply = self.client.wait(self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
                s3.list_objects_v2()
                    .bucket(bucket)
                    .prefix(&prefix)
                    .delimiter("/") // what lies deeper is never ours, and may be a million objects
                    .encoding_type(EncodingType::Url) // a key with a control character would make bad XML
                    .set_continuation_token(page.clone())
                    .send()
            }))??;
            let encoded = reply.encoding_type() == Some(&EncodingType::Url);
            for object in reply.contents() {
                let Some(key) = object.key() else { continue };
                let Some(name) = self.listed_name(key, encoded) else { continue };
                found.push(ObjectInfo {
                    name,
                    bytes: size(object.size()),
                    modified: object.last_modified().and_then(time),
                    class: object.storage_class().and_then(|class| class_of(class.as_str())),
                });
            }
            if !reply.is_truncated().unwrap_or(false) {
                return Ok(found);
            }
            page = reply.next_continuation_token().map(str::to_owned);
            // Some stores have sent the same page for ever; a list that is cut short must not look like a whole one.
            if !page.as_ref().is_some_and(|token| pages.insert(token.clone())) {
                return Err(act.failed(anyhow::anyhow!("the store says there is more, but not where it goes on")));
            }
        }
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        // A bucket with object lock has versions: a deletion there only hides the object, and says that it went well.
        if let Some(until) = self.retained_until(name)? {
            return Err(StoreError::Retained { what: self.client.url(name), until: Some(until) });
        }
        let act = Act::new("deleting", "s3:DeleteObject", self.client.url(name));
        // After Ctrl-C, too: without the answer nobody knows whether it is gone.
        let deleted = self.client.wait_on(
            self.client
                .call(&act, Patience::INTERACTIVE, None, |s3| s3.delete_object().bucket(bucket).key(&key).send()),
            || LAST_WORD,
        )?;
        match deleted {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn may_retain(&self) -> Result<bool, StoreError> {
        self.has_lock()
    }

    /// A role that may not look is not told, and tries.
    fn retained_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        check_name(name)?;
        if !self.has_lock()? {
            return Ok(None);
        }
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let act = Act::new("looking for", "s3:GetObject", self.client.url(name));
        let head = self.client.wait_on(
            self.client.call(&act, Patience::INTERACTIVE, None, |s3| s3.head_object().bucket(bucket).key(&key).send()),
            || LAST_WORD,
        )?;
        match head {
            Ok(head) => {
                let until = head.object_lock_retain_until_date().and_then(time);
                Ok(until.filter(|until| *until > Timestamp::now()))
            }
            Err(StoreError::Denied { .. }) => self.retention(name),
            Err(StoreError::Interrupted(stopped)) => Err(stopped.into()),
            Err(_) => Ok(None),
        }
    }

    fn take_back(&self, name: &str, id: Option<&str>) -> Result<u64, StoreError> {
        check_name(name)?;
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let look =
            Act::new("looking for unfinished uploads of", "s3:ListBucketMultipartUploads", self.client.url(name));
        let abort = Act::new("taking back the unfinished upload of", "s3:AbortMultipartUpload", self.client.url(name));
        let listed = self.client.wait(self.client.call(&look, Patience::CLEANING, None, |s3| {
            s3.list_multipart_uploads().bucket(bucket).prefix(&key).send()
        }))?;
        let ids: Vec<String> = match (listed, id) {
            (Ok(listed), _) => listed
                .uploads()
                .iter()
                .filter(|upload| upload.key() == Some(&key))
                .filter_map(|upload| upload.upload_id())
                .filter(|found| id.is_none_or(|id| id == *found))
                .map(str::to_owned)
                .collect(),
            // Who may only write may take back what it has begun.
            (Err(StoreError::Denied { .. }), Some(id)) => vec![id.to_owned()],
            (Err(error), _) => return Err(error),
        };
        let mut taken_back = 0;
        for id in &ids {
            let aborted = self.client.wait(self.client.call(&abort, Patience::CLEANING, None, |s3| {
                s3.abort_multipart_upload().bucket(bucket).key(&key).upload_id(id).send()
            }))?;
            match aborted {
                Ok(_) => taken_back += 1,
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken_back)
    }

    fn unfinished(&self, start: &str) -> Result<Vec<Unfinished>, StoreError> {
        let (bucket, prefix) = (self.client.bucket(), self.client.key(start));
        let look =
            Act::new("looking for unfinished uploads in", "s3:ListBucketMultipartUploads", format!("s3://{bucket}"));
        let mut found = Vec::new();
        let (mut key, mut id) = (None, None);
        // A page has a thousand; who has left more knows by then.
        for _ in 0..10 {
            let reply = self.client.wait(self.client.call(&look, Patience::INTERACTIVE, None, |s3| {
                s3.list_multipart_uploads()
                    .bucket(bucket)
                    .prefix(&prefix)
                    .set_key_marker(key.clone())
                    .set_upload_id_marker(id.clone())
                    .send()
            }))??;
            found.extend(reply.uploads().iter().filter_map(|upload| {
                let name = self.client.name_of(upload.key()?)?;
                let begun = upload.initiated().and_then(time);
                Some(Unfinished { name: name.to_owned(), begun })
            }));
            if !reply.is_truncated().unwrap_or(false) {
                break;
            }
            (key, id) = (reply.next_key_marker().map(str::to_owned), reply.next_upload_id_marker().map(str::to_owned));
            if key.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn presign(&self, name: &str, valid: Duration) -> Result<Option<String>, StoreError> {
        check_name(name)?;
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let act = Act::new("signing a link to", "s3:GetObject", self.client.url(name));
        if valid > LONGEST_LINK {
            return Err(act.failed(anyhow::anyhow!("a link can be valid for 7 days at most")));
        }
        let config = PresigningConfig::expires_in(valid).map_err(|error| act.failed(error.into()))?;
        let signed = self.client.wait(self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
            s3.get_object().bucket(bucket).key(&key).presigned(config.clone())
        }))??;
        Ok(Some(signed.uri().to_owned()))
    }

    fn whereabouts(&self) -> Whereabouts {
        let S3Settings { endpoint, region, .. } = self.client.settings();
        Whereabouts { endpoint: endpoint.clone(), region: region.clone() }
    }

    fn terms(&self) -> Terms {
        let (region, keys_from) = self.client.agreed();
        Terms {
            region,
            dialect: Some(self.client.dialect().to_string()),
            keys_from,
            clock_ahead: self.client.clock().ahead(),
        }
    }
}

impl S3Store {
    /// Until when an object is retained, for a role that may ask just that and read nothing.
    fn retention(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(name));
        let act = Act::new("asking for the retention of", "s3:GetObjectRetention", self.client.url(name));
        let answer = self.client.wait_on(
            self.client.call(&act, Patience::INTERACTIVE, None, |s3| {
                s3.get_object_retention().bucket(bucket).key(&key).send()
            }),
            || LAST_WORD,
        )?;
        match answer {
            Ok(answer) => {
                let until = answer.retention().and_then(|retention| time(retention.retain_until_date()?));
                Ok(until.filter(|until| *until > Timestamp::now()))
            }
            Err(StoreError::Interrupted(stopped)) => Err(stopped.into()),
            Err(_) => Ok(None),
        }
    }

    /// An object's name by its key in a list.
    fn listed_name(&self, key: &str, encoded: bool) -> Option<String> {
        let decoded = if encoded { percent_decoded(key) } else { key.to_owned() };
        // Some stores say that they have encoded, and haven't: such a prefix is right as it stands.
        let name = self.client.name_of(&decoded).or_else(|| self.client.name_of(key));
        // Markers of folders, and whatever has no name of its own.
        name.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned)
    }
}

/// A call for one version of an object.
fn of_version(doing: &str, url: &str, version: &VersionId) -> Act {
    Act::new(doing, OF_VERSION, format!("{url} (version {version})"))
}

/// Whether the store has answered with the version that was asked for: where there are none, some give what there is (seen: SeaweedFS).
fn is_version(answered: Option<&str>, asked: &VersionId) -> bool {
    answered.unwrap_or("null") == asked.as_str()
}

/// Sizes are signed on the wire.
fn size(bytes: Option<i64>) -> u64 {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

fn time(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).unwrap_or(0)).ok()
}

fn class_of(class: &str) -> Option<String> {
    (!class.is_empty() && class != "STANDARD").then(|| class.to_owned())
}

/// Undoes the encoding of keys in lists (`%41` and, from some stores, `+` for a space).
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let hex = behind.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (_, Some(byte)) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            (b'+', None) => bytes.push(b' '),
            (byte, None) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_lists_are_decoded() {
        assert_eq!(percent_decoded("postgres-prod%2Bx%20y+z%0A"), "postgres-prod+x y z\n");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
        assert_eq!(percent_decoded("%C3%A9"), "é");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = S3Settings {
            credentials: Credentials::Static {
                access_key: "AKIA".into(),
                secret_key: Secret::new("hunter2"),
                session_token: Some(Secret::new("hunter3")),
            },
            ..S3Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter"));
    }
}
