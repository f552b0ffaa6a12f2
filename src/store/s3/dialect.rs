//! The dialects of S3. Since 2025 the SDKs add checksum headers and trailers to every call, and half of the compatible
//! stores refuse or stall on them (R2, B2, OVH, Hetzner, GCS, older MinIO and Ceph); what all of them know is Content-MD5.
//!
//! The AWS dialect: a CRC-32 of each part and of the whole object, which AWS compares with what it stored, and no digest in
//! the signature (TLS protects the bytes on the way). The plain dialect, for every other endpoint: bucket in the path,
//! Content-MD5, a signed SHA-256 of the payload, nothing chunked.

use std::fmt;

use super::S3Settings;

/// How we speak to one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// CRC-32 in `x-amz-checksum-crc32`, else Content-MD5.
    pub crc: bool,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// The signature covers a SHA-256 of the payload.
    pub sign_payload: bool,
}

impl Dialect {
    /// Chooses the dialect that the settings lead to.
    pub fn of(settings: &S3Settings) -> Self {
        let aws = settings.endpoint.as_deref().is_none_or(is_aws);
        // A certificate for *.s3.amazonaws.com doesn't cover a bucket with dots in its name.
        let path_style = settings.path_style.unwrap_or(!aws || settings.bucket.contains('.'));
        let tls = settings.endpoint.as_deref().is_none_or(|endpoint| endpoint.starts_with("https://"));
        let crc = settings.checksums.unwrap_or(aws);
        Self { crc, path_style, sign_payload: !aws || !tls }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksums = if self.crc { "CRC-32 of each part and of the whole" } else { "Content-MD5 of each part" };
        let place = if self.path_style { "in the path" } else { "in the host name" };
        write!(f, "{checksums}, bucket {place}")
    }
}

/// Whether an endpoint is one of Amazon's own (as `postgres:backup-auth` users sometimes write it).
fn is_aws(endpoint: &str) -> bool {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bucket: &str, endpoint: Option<&str>, path_style: Option<bool>) -> Dialect {
        Dialect::of(&S3Settings {
            bucket: bucket.into(),
            endpoint: endpoint.map(Into::into),
            path_style,
            ..S3Settings::default()
        })
    }

    #[test]
    fn aws_and_the_rest() {
        let aws = Dialect { crc: true, path_style: false, sign_payload: false };
        let plain = Dialect { crc: false, path_style: true, sign_payload: true };
        assert_eq!(of("bucket", None, None), aws);
        assert_eq!(of("bucket", Some("https://s3.eu-central-1.amazonaws.com"), None), aws);
        assert_eq!(of("bucket", Some("https://amazonaws.com.example.org"), None), plain);
        assert_eq!(of("bucket", Some("http://127.0.0.1:8333"), None), plain);
        assert!(of("my.bucket", None, None).path_style);
        assert!(!of("bucket", Some("https://s3.example.org"), Some(false)).path_style);
    }
}
