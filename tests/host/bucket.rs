//! A service's corner of the bucket, as the AWS command line sees it: an independent reader of what we have written.

use std::path::Path;

use super::{Host, Key, Run};

/// The objects below one prefix.
#[derive(Debug)]
pub struct Bucket {
    host: &'static Host,
    /// The prefix, without a slash at its end.
    pub prefix: String,
}

impl Bucket {
    pub(super) fn new(host: &'static Host, prefix: &str) -> Self {
        Self { host, prefix: prefix.to_owned() }
    }

    /// `s3://bucket/prefix`.
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.host.bucket, self.prefix)
    }

    /// `aws --endpoint-url … WORDS…` with the key that may do all in the bucket.
    pub fn aws(&self, words: &[&str]) -> Run {
        self.host.aws(Key::Full, words)
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Names of the objects below the prefix, sorted.
    pub fn names(&self) -> Vec<String> {
        let prefix = self.key("");
        let run =
            self.aws(&["s3api", "list-objects-v2", "--bucket", &self.host.bucket, "--prefix", &prefix]).succeeds();
        if run.bytes.is_empty() {
            return Vec::new();
        }
        let listing = run.json();
        let objects = listing["Contents"].as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> = objects
            .iter()
            .map(|object| object["Key"].as_str().unwrap().strip_prefix(&prefix).unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Backups below the prefix (without what lies beside them), sorted: oldest first.
    pub fn backups(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| !name.ends_with(".json")).collect()
    }

    /// Multipart uploads below the prefix that were begun and neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let prefix = self.key("");
        let run = self
            .aws(&["s3api", "list-multipart-uploads", "--bucket", &self.host.bucket, "--prefix", &prefix])
            .succeeds();
        if run.bytes.is_empty() {
            return Vec::new();
        }
        let uploads = run.json()["Uploads"].as_array().cloned().unwrap_or_default();
        uploads.iter().map(|upload| upload["Key"].as_str().unwrap().to_owned()).collect()
    }

    /// An object's bytes.
    pub fn get(&self, name: &str) -> Vec<u8> {
        self.aws(&["s3", "cp", "--no-progress", &format!("{}/{name}", self.url()), "-"]).succeeds().bytes
    }

    /// Fetches an object into a file.
    pub fn fetch(&self, name: &str, path: &Path) {
        let from = format!("{}/{name}", self.url());
        self.aws(&["s3", "cp", "--no-progress", &from, path.to_str().unwrap()]).succeeds();
    }

    /// Puts a file there.
    pub fn put(&self, name: &str, path: &Path) {
        let to = format!("{}/{name}", self.url());
        self.aws(&["s3", "cp", "--no-progress", path.to_str().unwrap(), &to]).succeeds();
    }

    /// Removes an object.
    pub fn remove(&self, name: &str) {
        self.aws(&["s3", "rm", &format!("{}/{name}", self.url())]).succeeds();
    }
}
