//! Sending an object: a multipart upload whose part 1 goes last.
//!
//! The check before the dump is a call that the backup needs anyway: the upload is created at once, a small object's too, so
//! that wrong keys, bucket, region or endpoint and a key that may only read are found before the database is touched.
//!
//! Nothing is visible before `CompleteMultipartUpload` has been answered, and every reply is compared
//! with what we sent: a CRC-32 of each part and of the whole (AWS), or MD5 (all others). Buffers go round: a part's memory is
//! filled again when the store has taken it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectLockMode, ServerSideEncryption,
    StorageClass,
};
use aws_smithy_types::base64;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::task::JoinSet;

use super::LAST_WORD;
use super::call::{Act, Patience, Progress, Watched};
use super::client::Client;
use super::errors::NotKnown;
use super::parts::Cut;
use crate::step::step;
use crate::store::features::{Features, Sse};
use crate::store::{StoreError, Stored, Traffic, Upload, UploadPlan};

/// `If-None-Match: *`: only where nothing has that name.
const ANY: &str = "*";

/// How the store confirmed some bytes, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    /// It took them with a checksum, but returned none that we know (ETags of encrypted buckets, of R2).
    Sent,
    /// Its ETag is our MD5.
    Md5,
    /// It returned our CRC-32.
    Crc,
}

/// What a part or an object is compared by.
#[derive(Debug, Clone)]
struct Digests {
    crc: u32,
    md5: Option<[u8; 16]>,
}

impl Digests {
    fn of(bytes: &[u8], with_md5: bool) -> Self {
        Self { crc: crc32fast::hash(bytes), md5: with_md5.then(|| Md5::digest(bytes).into()) }
    }

    fn crc_header(&self) -> String {
        base64::encode(self.crc.to_be_bytes())
    }

    fn md5_header(&self) -> Option<String> {
        self.md5.map(base64::encode)
    }

    /// Compares what the store returned for `bytes`.
    fn proof(
        &mut self,
        act: &Act,
        bytes: &[u8],
        (crc, etag): (Option<&str>, Option<&str>),
    ) -> Result<Proof, StoreError> {
        let ours = self.crc_header();
        match crc {
            Some(crc) if crc == ours => return Ok(Proof::Crc),
            Some(crc) => {
                return Err(
                    act.failed(anyhow!("the store has other bytes than we sent: CRC-32 {crc} instead of {ours}"))
                );
            }
            None => {}
        }
        let md5 = hex(self.md5.get_or_insert_with(|| Md5::digest(bytes).into()));
        let same = etag.is_some_and(|etag| unquoted(etag).eq_ignore_ascii_case(&md5));
        Ok(if same { Proof::Md5 } else { Proof::Sent })
    }
}

/// A part that the store has taken.
#[derive(Debug)]
struct Part {
    bytes: u64,
    etag: String,
    digests: Digests,
    proof: Proof,
}

/// Buffers that have been sent and may be filled again.
#[derive(Debug, Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self, size: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve_exact(size);
        buffer
    }
}

/// A buffer on its way; it goes back to the pool when the last who sends it lets go.
struct Lent {
    buffer: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.pool.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// An object in the making.
pub struct S3Upload {
    client: Arc<Client>,
    name: String,
    head: usize,
    cut: Cut,
    /// Of the multipart upload, until it has become an object or was taken back.
    id: Option<String>,
    /// Part 1, while others are sent; it begins with room for the head.
    first: Option<Vec<u8>>,
    filling: Vec<u8>,
    /// The number of the part that is being filled, and its size.
    number: u32,
    size: usize,
    in_flight: JoinSet<Result<(u32, Part), StoreError>>,
    taken: BTreeMap<u32, Part>,
    pool: Arc<Pool>,
    traffic: Traffic,
}

impl S3Upload {
    /// Checks that the object can be stored.
    pub fn begin(client: Arc<Client>, name: &str, plan: UploadPlan) -> Result<Self, StoreError> {
        let cut = client.cut(plan.expected);
        let mut upload = Self {
            name: name.to_owned(),
            head: plan.head,
            cut,
            id: None,
            first: None,
            filling: Vec::new(),
            number: 0,
            size: 0,
            in_flight: JoinSet::new(),
            taken: BTreeMap::new(),
            pool: Arc::default(),
            traffic: Traffic::default(),
            client,
        };
        upload.begin_part()?;
        if plan.head > upload.size {
            return Err(upload.act("sending").failed(anyhow!("a head of {} bytes is larger than a part", plan.head)));
        }
        upload.filling.resize(plan.head, 0);
        upload.traffic.write(plan.head as u64);
        upload.look_for_another()?;
        upload.create()?;
        Ok(upload)
    }

    fn act(&self, doing: impl Into<String>) -> Act {
        Act::new(doing, "s3:PutObject", self.client.url(&self.name))
    }

    /// Whether the name is free, for stores that don't know `If-None-Match`; a role that may not list goes without.
    fn look_for_another(&self) -> Result<(), StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let act = Act::new("looking into", "s3:ListBucket", format!("s3://{bucket}"));
        let listed = self.client.wait(self.client.call(&act, Patience::BRIEF, None, |s3| {
            s3.list_objects_v2().bucket(bucket).prefix(&key).max_keys(1).send()
        }))?;
        match listed {
            // A sidecar's name begins the same way, but comes behind it in the list.
            Ok(listed) if listed.contents().iter().any(|object| object.key() == Some(&key)) => {
                Err(StoreError::Taken { what: self.client.url(&self.name) })
            }
            Ok(_) | Err(StoreError::Denied { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self) -> Result<(), StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let act = self.act("beginning the upload of");
        let crc = self.client.dialect().crc;
        let asked = Asked::of(&self.client.settings().features, true);
        let reply = self.client.wait_on(
            self.client.call(&act, Patience::BRIEF, None, |s3| {
                s3.create_multipart_upload()
                    .bucket(bucket)
                    .key(&key)
                    .set_storage_class(asked.class.clone())
                    .set_server_side_encryption(asked.sse.clone())
                    .set_ssekms_key_id(asked.kms_key.clone())
                    .set_object_lock_mode(asked.lock.clone())
                    .set_object_lock_retain_until_date(asked.until)
                    .set_tagging(asked.tags.clone())
                    .set_checksum_algorithm(crc.then_some(ChecksumAlgorithm::Crc32))
                    .set_checksum_type(crc.then_some(ChecksumType::FullObject))
                    .send()
            }),
            // Without the answer nobody knows what to abort.
            || Duration::from_secs(3),
        )??;
        let id = reply.upload_id().filter(|id| !id.is_empty());
        self.id = Some(id.ok_or_else(|| act.failed(anyhow!("the store gave no upload id")))?.to_owned());
        step!("s3.created");
        Ok(())
    }

    /// Gets room for the next part.
    fn begin_part(&mut self) -> Result<(), StoreError> {
        self.number += 1;
        let size = self.cut.size_of(self.number).and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
            self.act("sending").failed(anyhow!(
                "it is far larger than expected and needs more than the {} parts that the store takes",
                self.cut.most()
            ))
        })?;
        self.size = size;
        self.filling = self.pool.take(size);
        Ok(())
    }

    /// Sends the part that is full, except the first, which waits for its head.
    fn end_part(&mut self) -> Result<(), StoreError> {
        let full = std::mem::take(&mut self.filling);
        if self.number == 1 {
            self.first = Some(full);
        } else {
            self.send(self.number, full)?;
        }
        self.begin_part()
    }

    fn send(&mut self, number: u32, buffer: Vec<u8>) -> Result<(), StoreError> {
        while self.in_flight.len() >= self.cut.in_flight(buffer.len() as u64) {
            self.take_answer()?;
        }
        let part = SentPart {
            act: self.act(format!("uploading part {number} of")),
            key: self.client.key(&self.name),
            id: self.id.clone().unwrap_or_default(),
            number,
            bytes: Bytes::from_owner(Lent { buffer, pool: Arc::clone(&self.pool) }),
            traffic: self.traffic.clone(),
        };
        let client = Arc::clone(&self.client);
        let runtime = self.client.runtime()?;
        self.in_flight.spawn_on(async move { part.send(&client).await }, runtime.handle());
        Ok(())
    }

    /// Waits until one part has been answered.
    fn take_answer(&mut self) -> Result<(), StoreError> {
        match self.client.wait(self.in_flight.join_next())? {
            None => Ok(()),
            Some(Ok(answer)) => {
                let (number, part) = answer?;
                self.taken.insert(number, part);
                Ok(())
            }
            Some(Err(error)) => Err(self.act("uploading a part of").failed(error.into())),
        }
    }

    fn finish(&mut self, head: &[u8]) -> Result<Stored, StoreError> {
        if head.len() != self.head {
            return Err(self.act("sending").failed(anyhow!(
                "a head of {} bytes was planned, not {}",
                self.head,
                head.len()
            )));
        }
        let last = std::mem::take(&mut self.filling);
        let (mut first, last) = match self.first.take() {
            Some(first) => (first, Some(last)),
            None => (last, None),
        };
        if let Some(place) = first.get_mut(..head.len()) {
            place.copy_from_slice(head);
        }
        if let Some(last) = last {
            self.send(self.number, last)?;
        }
        self.send(1, first)?;
        while !self.in_flight.is_empty() {
            self.take_answer()?;
        }
        step!("s3.parts");
        self.put_together()
    }

    fn put_together(&mut self) -> Result<Stored, StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let act = self.act("completing the upload of");
        let id = self.id.clone().unwrap_or_default();
        let with_crc = self.client.dialect().crc;
        let mut whole = Whole::default();
        let mut parts = CompletedMultipartUpload::builder();
        for (number, part) in &self.taken {
            whole.add(part);
            let number = i32::try_from(*number).unwrap_or(i32::MAX);
            let crc = (part.proof == Proof::Crc).then(|| part.digests.crc_header());
            let part = CompletedPart::builder().part_number(number).e_tag(&part.etag).set_checksum_crc32(crc).build();
            parts = parts.parts(part);
        }
        let parts = parts.build();
        let length = whole.bytes;
        let crc = with_crc.then(|| base64::encode(whole.crc.clone().finalize().to_be_bytes()));
        let complete = |only_new: bool| {
            self.client.wait_on(
                self.client.call(&act, Patience::COMPLETING, None, |s3| {
                    s3.complete_multipart_upload()
                        .bucket(bucket)
                        .key(&key)
                        .upload_id(&id)
                        .multipart_upload(parts.clone())
                        .set_if_none_match(only_new.then(|| ANY.to_owned()))
                        .set_checksum_crc32(crc.clone())
                        .set_checksum_type(with_crc.then_some(ChecksumType::FullObject))
                        .set_mpu_object_size(with_crc.then(|| i64::try_from(length).unwrap_or(i64::MAX)))
                        .send()
                }),
                || LAST_WORD,
            )
        };
        let reply = match complete(true)? {
            Err(error) if NotKnown::is(&error) => complete(false)?,
            reply => reply,
        };
        let proven = match reply {
            Ok(reply) => {
                // From here on there is no upload to abort, but an object.
                self.id = None;
                match (reply.checksum_crc32(), &crc) {
                    (Some(theirs), Some(ours)) if !theirs.contains('-') && theirs != ours => {
                        return Err(self.take_back(&act, anyhow!("the store put other bytes together than we sent")));
                    }
                    (Some(theirs), Some(ours)) => theirs == ours,
                    _ => whole.is(reply.e_tag()),
                }
            }
            // An answer got lost, and the second call finds the upload gone because the first has done it. Or not.
            Err(StoreError::NotFound { .. }) => false,
            // Or the second call finds the first one's object.
            Err(StoreError::Taken { what }) => {
                if !self.is_ours(&act, &whole)? {
                    return Err(StoreError::Taken { what });
                }
                // Where it was there before (the same bytes), the parts of this upload are still there as well.
                self.take_back_parts()?;
                true
            }
            Err(error) => return Err(error),
        };
        if !proven {
            self.look(&act, &whole)?;
            self.id = None;
        }
        let parts = self.taken.len();
        let over_all = if proven && with_crc && parts > 1 { " and over all" } else { "" };
        let proof = self.taken.values().map(|part| part.proof).min().unwrap_or(Proof::Sent);
        Ok(Stored { bytes: length, confirmed_by: format!("{}{over_all}", confirmation(parts, proof)) })
    }

    /// Whether the object that has our name is the one that we have put together; one that can't be looked at is not.
    fn is_ours(&self, act: &Act, whole: &Whole) -> Result<bool, StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let head = self.client.wait_on(
            self.client.call(act, Patience::INTERACTIVE, None, |s3| s3.head_object().bucket(bucket).key(&key).send()),
            || LAST_WORD,
        )?;
        Ok(head.is_ok_and(|head| super::size(head.content_length()) == whole.bytes && whole.is(head.e_tag())))
    }

    /// Looks at an object whose completion the reply didn't prove. A role that may not look is believed, unless the answer
    /// to the completion itself is missing.
    fn look(&self, act: &Act, whole: &Whole) -> Result<(), StoreError> {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let answered = self.id.is_none();
        let head = self.client.wait_on(
            self.client.call(act, Patience::INTERACTIVE, None, |s3| s3.head_object().bucket(bucket).key(&key).send()),
            || LAST_WORD,
        )?;
        match head {
            Ok(head)
                if super::size(head.content_length()) == whole.bytes && (answered || !whole.is_not(head.e_tag())) =>
            {
                Ok(())
            }
            Ok(head) => Err(act.failed(anyhow!(
                "the store says it is complete, but shows {} bytes instead of {}",
                super::size(head.content_length()),
                whole.bytes
            ))),
            Err(StoreError::NotFound { .. }) => {
                Err(act.failed(anyhow!("the store says it is complete, but doesn't show the object")))
            }
            Err(_) if answered => Ok(()),
            Err(error) => {
                Err(act.failed(anyhow!("the store's answer got lost, and looking for the object failed: {error}")))
            }
        }
    }

    /// Deletes an object that is visible and wrong.
    fn take_back(&self, act: &Act, why: anyhow::Error) -> StoreError {
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let delete = Act::new("deleting", "s3:DeleteObject", self.client.url(&self.name));
        let deleted = self.client.runtime().and_then(|runtime| {
            runtime.block_on(
                self.client
                    .call(&delete, Patience::CLEANING, None, |s3| s3.delete_object().bucket(bucket).key(&key).send()),
            )
        });
        act.failed(match deleted {
            Ok(_) => why,
            Err(error) => anyhow!("{why:#}; and the bad object is still there: {error}"),
        })
    }

    /// Takes back what was sent. Not cut short by Ctrl-C: it is what Ctrl-C is followed by.
    fn take_back_parts(&mut self) -> Result<(), StoreError> {
        let Some(id) = self.id.take() else { return Ok(()) };
        let (bucket, key) = (self.client.bucket(), self.client.key(&self.name));
        let act =
            Act::new("taking back the unfinished upload of", "s3:AbortMultipartUpload", self.client.url(&self.name));
        let runtime = self.client.runtime()?;
        let aborted = runtime.block_on(async {
            // A part that arrives after the abort would stay.
            self.in_flight.shutdown().await;
            self.client
                .call(&act, Patience::CLEANING, None, |s3| {
                    s3.abort_multipart_upload().bucket(bucket).key(&key).upload_id(&id).send()
                })
                .await
        });
        match aborted {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => {
                let mut command =
                    format!("aws s3api abort-multipart-upload --bucket {bucket} --key '{key}' --upload-id '{id}'");
                if let Some(endpoint) = &self.client.settings().endpoint {
                    let _ = write!(command, " --endpoint-url {endpoint}");
                }
                Err(act.failed(anyhow!(
                    "{error}; its parts stay in the bucket, unseen but stored, until somebody removes them: {command}"
                )))
            }
        }
    }
}

impl Upload for S3Upload {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.traffic.write(bytes.len() as u64);
        while !bytes.is_empty() {
            // Only now, when more is to come: an object of exactly one part has no empty second one.
            if self.filling.len() == self.size {
                self.end_part()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.size - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn complete(mut self: Box<Self>, head: &[u8]) -> Result<Stored, StoreError> {
        match self.finish(head) {
            Ok(stored) => Ok(stored),
            Err(StoreError::Failed { action, source }) => match self.take_back_parts() {
                Ok(()) => Err(StoreError::Failed { action, source }),
                Err(left) => Err(StoreError::Failed { action, source: anyhow!("{source:#}; {left}") }),
            },
            Err(error) => Err(error),
        }
    }

    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.take_back_parts()
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        // Who wants to know calls abort().
        let _ = self.take_back_parts();
    }
}

/// The object as the parts make it.
#[derive(Default)]
struct Whole {
    bytes: u64,
    crc: crc32fast::Hasher,
    parts: usize,
    /// MD5 of the parts' MD5s, which most stores use as the ETag of the whole.
    md5: Md5,
    md5_known: bool,
}

impl Whole {
    fn add(&mut self, part: &Part) {
        self.bytes += part.bytes;
        self.crc.combine(&crc32fast::Hasher::new_with_initial_len(part.digests.crc, part.bytes));
        self.md5_known = part.proof == Proof::Md5 && (self.parts == 0 || self.md5_known);
        self.parts += 1;
        if let Some(md5) = part.digests.md5 {
            self.md5.update(md5);
        }
    }

    fn etag(&self) -> Option<String> {
        self.md5_known.then(|| format!("{}-{}", hex(&self.md5.clone().finalize()), self.parts))
    }

    /// Whether an ETag proves that it is this object.
    fn is(&self, etag: Option<&str>) -> bool {
        self.etag().is_some_and(|ours| etag.is_some_and(|etag| unquoted(etag).eq_ignore_ascii_case(&ours)))
    }

    /// Whether an ETag of that kind shows that it is another object.
    fn is_not(&self, etag: Option<&str>) -> bool {
        self.etag().is_some() && etag.is_some_and(|etag| etag.contains('-')) && !self.is(etag)
    }
}

/// What is asked for beside the bytes, in the SDK's types.
struct Asked {
    class: Option<StorageClass>,
    sse: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    lock: Option<ObjectLockMode>,
    until: Option<DateTime>,
    tags: Option<String>,
}

impl Asked {
    fn of(features: &Features, backup: bool) -> Self {
        let (sse, kms_key) = match &features.sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        let mode = |compliance| if compliance { ObjectLockMode::Compliance } else { ObjectLockMode::Governance };
        Self {
            class: features.class.as_ref().filter(|_| backup).map(|class| StorageClass::from(class.as_str())),
            sse,
            kms_key,
            lock: features.lock.map(|lock| mode(lock.compliance)),
            until: features.lock.map(|lock| DateTime::from(SystemTime::now() + lock.period)),
            tags: (!features.tags.is_empty()).then(|| features.tags.to_string()),
        }
    }
}

/// One part with all that its sending needs.
struct SentPart {
    act: Act,
    key: String,
    id: String,
    number: u32,
    bytes: Bytes,
    traffic: Traffic,
}

impl SentPart {
    async fn send(self, client: &Client) -> Result<(u32, Part), StoreError> {
        let Self { act, key, id, number, bytes, traffic } = self;
        let dialect = client.dialect();
        let mut digests = Digests::of(&bytes, !dialect.crc);
        let progress = Progress::in_traffic(traffic);
        let reply = client
            .call(&act, Patience::STEADY, Some(&progress), |s3| {
                let call = s3
                    .upload_part()
                    .bucket(client.bucket())
                    .key(&key)
                    .upload_id(&id)
                    .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                    .set_checksum_crc32(dialect.crc.then(|| digests.crc_header()))
                    .set_content_md5(digests.md5_header())
                    .body(ByteStream::from(bytes.clone()))
                    .customize()
                    .interceptor(Watched {
                        bytes: bytes.clone(),
                        progress: progress.clone(),
                        pace: client.settings().pace.clone(),
                    });
                if dialect.sign_payload { call } else { call.disable_payload_signing() }.send()
            })
            .await?;
        let proof = digests.proof(&act, &bytes, (reply.checksum_crc32(), reply.e_tag()))?;
        let etag = reply.e_tag().ok_or_else(|| act.failed(anyhow!("the store gave no ETag for it")))?.to_owned();
        Ok((number, Part { bytes: bytes.len() as u64, etag, digests, proof }))
    }
}

/// Stores a small object beside a backup in one call, replacing what has that name. `lasting`: under the lock that is set.
pub fn put(client: &Client, name: &str, bytes: &[u8], lasting: bool) -> Result<(), StoreError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let act = Act::new("storing", "s3:PutObject", client.url(name));
    let (bucket, key) = (client.bucket(), client.key(name));
    let dialect = client.dialect();
    let mut digests = Digests::of(&bytes, !dialect.crc);
    let progress = Progress::new();
    let asked = Asked::of(&client.settings().features, false);
    let reply = client.wait_on(
        client.call(&act, Patience::STEADY, Some(&progress), |s3| {
            let call = s3
                .put_object()
                .bucket(bucket)
                .key(&key)
                .set_server_side_encryption(asked.sse.clone())
                .set_ssekms_key_id(asked.kms_key.clone())
                .set_object_lock_mode(asked.lock.clone().filter(|_| lasting))
                .set_object_lock_retain_until_date(asked.until.filter(|_| lasting))
                .set_tagging(asked.tags.clone())
                .set_checksum_crc32(dialect.crc.then(|| digests.crc_header()))
                .set_content_md5(digests.md5_header())
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .interceptor(Watched {
                    bytes: bytes.clone(),
                    progress: progress.clone(),
                    pace: client.settings().pace.clone(),
                });
            if dialect.sign_payload { call } else { call.disable_payload_signing() }.send()
        }),
        // Cut off before its last byte, the store keeps nothing; after it, the answer says what there is.
        || if progress.all_sent() { LAST_WORD } else { Duration::ZERO },
    )??;
    digests.proof(&act, &bytes, (reply.checksum_crc32(), reply.e_tag()))?;
    Ok(())
}

/// In the words of the history: `12 parts, MD5 each`.
fn confirmation(parts: usize, proof: Proof) -> String {
    let how = match proof {
        Proof::Crc => "CRC-32",
        Proof::Md5 => "MD5",
        Proof::Sent => "checksum accepted",
    };
    if parts == 1 { format!("1 part, {how}") } else { format!("{parts} parts, {how} each") }
}

fn unquoted(etag: &str) -> &str {
    etag.trim_matches('"')
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
