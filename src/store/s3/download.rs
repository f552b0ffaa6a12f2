//! Reading an object: one GET that is taken up again where it broke, at the same version of the same object.
//!
//! A task on the store's runtime reads ahead by a bounded number of chunks. A connection that breaks or stands still is
//! replaced by a ranged GET with `If-Match`; how often doesn't matter as long as bytes arrive in between. At the end the
//! length is compared, and the CRC-32 where the store keeps one over the whole object.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use aws_smithy_types::base64;
use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::call::{Act, Patience, jittered, moving};
use super::client::Client;
use super::errors::Trouble;
use crate::store::{StoreError, VersionId};

/// Chunks are what one read from the socket gave, some 8 to 400 KB: a few megabytes read ahead.
const READ_AHEAD: usize = 16;
/// Without a byte for this long, the connection is replaced.
const IDLE: Duration = Duration::from_secs(30);
/// Without a byte for this long, in all attempts together, the reading has failed.
const GIVE_UP: Duration = Duration::from_mins(2);

/// An object being read.
pub struct S3Reader {
    client: Arc<Client>,
    chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
    chunk: Bytes,
    total: Option<u64>,
    task: JoinHandle<()>,
}

impl S3Reader {
    /// Waits for the store's first answer: an object that isn't there is told here.
    pub fn open(client: &Arc<Client>, name: &str, version: Option<&VersionId>) -> Result<Self, StoreError> {
        let act = match version {
            None => Act::new("reading", "s3:GetObject", client.url(name)),
            Some(version) => super::of_version("reading", &client.url(name), version),
        };
        let mut source = Source {
            client: Arc::clone(client),
            key: client.key(name),
            version: version.cloned(),
            act,
            etag: None,
            total: None,
            offset: 0,
            crc: crc32fast::Hasher::new(),
            expected_crc: None,
        };
        let first = client.wait(source.get(Patience::INTERACTIVE))??;
        let total = source.total;
        let (sender, chunks) = mpsc::channel(READ_AHEAD);
        let task = client.runtime()?.spawn(async move {
            if let Err(error) = Box::pin(source.pump(first, &sender)).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(Self { client: Arc::clone(client), chunks, chunk: Bytes::new(), total, task })
    }

    /// The object's length, where the store says it.
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl Read for S3Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !buffer.is_empty() {
            match self.client.wait(self.chunks.recv())? {
                None => return Ok(0),
                Some(chunk) => self.chunk = chunk?,
            }
        }
        let length = self.chunk.len().min(buffer.len());
        if let Some(place) = buffer.get_mut(..length) {
            self.chunk.copy_to_slice(place);
        }
        Ok(length)
    }
}

impl Drop for S3Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Source {
    client: Arc<Client>,
    key: String,
    version: Option<VersionId>,
    act: Act,
    /// Of the version that we began with.
    etag: Option<String>,
    total: Option<u64>,
    offset: u64,
    crc: crc32fast::Hasher,
    expected_crc: Option<String>,
}

impl Source {
    async fn get(&mut self, patience: Patience) -> Result<GetObjectOutput, StoreError> {
        let again = self.offset > 0 || self.total.is_some();
        let with_crc = self.client.dialect().crc && !again;
        let reply = self
            .client
            .call(&self.act, patience, None, |s3| {
                s3.get_object()
                    .bucket(self.client.bucket())
                    .key(&self.key)
                    .set_version_id(self.version.as_ref().map(|version| version.as_str().to_owned()))
                    .set_range(again.then(|| format!("bytes={}-", self.offset)))
                    .set_if_match(self.etag.clone().filter(|_| again))
                    .set_checksum_mode(with_crc.then_some(ChecksumMode::Enabled))
                    .send()
            })
            .await?;
        if let Some(version) = &self.version
            && !super::is_version(reply.version_id(), version)
        {
            return Err(self.act.failed(anyhow!("the store answers with another version")));
        }
        if !again {
            self.etag = reply.e_tag().map(str::to_owned);
            self.total = reply.content_length().and_then(|length| u64::try_from(length).ok());
            // Only where the store says that it is one over the whole: others are of parts, or (seen) of an object before.
            let whole = reply.checksum_type() == Some(&ChecksumType::FullObject);
            self.expected_crc = reply.checksum_crc32().filter(|_| whole).map(str::to_owned);
        } else if reply.e_tag().zip(self.etag.as_deref()).is_some_and(|(now, before)| now != before) {
            // Not every store looks at If-Match.
            return Err(self.act.failed(anyhow!("another object has replaced it meanwhile; try again")));
        }
        Ok(reply)
    }

    /// Sends everything to the reader. Ends early, without an error, when nobody reads any more.
    async fn pump(
        &mut self,
        first: GetObjectOutput,
        sender: &mpsc::Sender<Result<Bytes, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut reply = first;
        let mut moved = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            // A store that doesn't know ranges begins anew.
            let began = if reply.content_range().is_some() { self.offset } else { 0 };
            let mut skip = self.offset - began;
            let trouble = loop {
                match moving(reply.body.next(), IDLE, None).await {
                    Some(Some(Ok(mut chunk))) => {
                        let known = skip.min(chunk.len() as u64);
                        skip -= known;
                        chunk.advance(usize::try_from(known).unwrap_or(usize::MAX));
                        if chunk.is_empty() {
                            continue;
                        }
                        if let Some(pace) = &self.client.settings().pace {
                            tokio::time::sleep_until(pace.book(chunk.len()).into()).await;
                        }
                        self.offset += chunk.len() as u64;
                        self.crc.update(&chunk);
                        if sender.send(Ok(chunk)).await.is_err() {
                            return Ok(());
                        }
                        // After the sending, which waits for the reader: a slow reader is not a slow store.
                        moved = Instant::now();
                        pause = Duration::from_millis(100);
                    }
                    Some(Some(Err(error))) => break Trouble::cut(&error),
                    Some(None) => break Trouble::cut(&io::Error::from(io::ErrorKind::UnexpectedEof)),
                    None => break Trouble::silent(IDLE),
                }
            };
            // Without a length, the end of the body is all there is to know.
            if self.total.is_none_or(|total| self.offset >= total) {
                return self.check_end();
            }
            if moved.elapsed() + pause > GIVE_UP {
                return Err(trouble.into_error(&self.act, self.client.settings()));
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
            reply = self.get(Patience::STEADY).await?;
        }
    }

    fn check_end(&self) -> Result<(), StoreError> {
        if let Some(total) = self.total.filter(|total| *total != self.offset) {
            return Err(self.act.failed(anyhow!("it has {} bytes instead of {total}", self.offset)));
        }
        let crc = base64::encode(self.crc.clone().finalize().to_be_bytes());
        match &self.expected_crc {
            Some(expected) if *expected != crc => {
                Err(self.act.failed(anyhow!("its bytes are damaged: CRC-32 {crc} instead of {expected}")))
            }
            _ => Ok(()),
        }
    }
}
