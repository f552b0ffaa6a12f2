//! The dialects of S3. Since 2025 the SDKs add checksum headers and trailers to every call, and half of the compatible
//! stores refuse or stall on them (R2, B2, OVH, Hetzner, GCS, older MinIO and Ceph); what all of them know is Content-MD5.
//!
//! The AWS dialect: a CRC-32 of each part and of the whole object, which AWS compares with what it stored, and no digest in
//! the signature (TLS protects the bytes on the way). The plain dialect, for every other endpoint: bucket in the path,
//! Content-MD5, a signed SHA-256 of the payload, nothing chunked. What a provider asks for beside that is its [`Preset`]; what the
//! user has set comes before it.
//!
//! [`Preset`]: crate::store::provider::Preset

use std::fmt;

use super::S3Settings;
use super::parts::Limits;
use crate::store::provider::Provider;

/// How we speak to one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// CRC-32 in `x-amz-checksum-crc32`, else Content-MD5.
    pub crc: bool,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// The signature covers a SHA-256 of the payload.
    pub sign_payload: bool,
    /// How an object may be cut.
    pub limits: Limits,
}

impl Dialect {
    /// Chooses the dialect that the settings lead to.
    pub fn of(settings: &S3Settings) -> Self {
        let endpoint = settings.endpoint.as_deref();
        let provider = settings.provider.resolved(endpoint);
        let preset = provider.preset();
        // A certificate for *.s3.amazonaws.com doesn't cover a bucket with dots in its name.
        let path_style = settings.path_style.unwrap_or(preset.path_style || settings.bucket.contains('.'));
        let tls = endpoint.is_none_or(|endpoint| endpoint.starts_with("https://"));
        let limits = Limits {
            most_parts: settings.max_parts.unwrap_or(preset.most_parts),
            equal_parts: preset.equal_parts,
            in_flight: preset.in_flight,
        };
        Self {
            crc: settings.checksums.unwrap_or(preset.crc),
            path_style,
            sign_payload: provider != Provider::Aws || !tls,
            limits,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksums = if self.crc { "CRC-32 of each part and of the whole" } else { "Content-MD5 of each part" };
        let place = if self.path_style { "in the path" } else { "in the host name" };
        write!(f, "{checksums}, bucket {place}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bucket: &str, endpoint: Option<&str>, change: impl Fn(&mut S3Settings)) -> Dialect {
        let mut settings =
            S3Settings { bucket: bucket.into(), endpoint: endpoint.map(Into::into), ..S3Settings::default() };
        change(&mut settings);
        Dialect::of(&settings)
    }

    #[test]
    fn aws_and_the_rest() {
        let usual = Limits { most_parts: 10_000, equal_parts: false, in_flight: 3 };
        let aws = Dialect { crc: true, path_style: false, sign_payload: false, limits: usual };
        let plain = Dialect { crc: false, path_style: true, sign_payload: true, limits: usual };
        assert_eq!(of("bucket", None, |_| ()), aws);
        assert_eq!(of("bucket", Some("https://s3.eu-central-1.amazonaws.com"), |_| ()), aws);
        assert_eq!(of("bucket", Some("https://amazonaws.com.example.org"), |_| ()), plain);
        assert_eq!(of("bucket", Some("http://127.0.0.1:8333"), |_| ()), plain);
        assert!(of("my.bucket", None, |_| ()).path_style);
    }

    #[test]
    fn a_setting_comes_before_the_provider() {
        let r2 = Some("https://0123abcd.r2.cloudflarestorage.com");
        let limits = Limits { most_parts: 10_000, equal_parts: true, in_flight: 2 };
        assert_eq!(of("bucket", r2, |_| ()), Dialect { crc: false, path_style: true, sign_payload: true, limits });
        let set = of("bucket", r2, |settings| {
            settings.path_style = Some(false);
            settings.checksums = Some(true);
            settings.max_parts = Some(50);
        });
        assert_eq!((set.path_style, set.crc, set.limits.most_parts), (false, true, 50));
        // A name that nobody could recognise.
        let named =
            of("bucket", Some("https://storage.example.org"), |settings| settings.provider = Provider::Scaleway);
        assert_eq!(named.limits.most_parts, 1_000);
        assert!(!of("bucket", None, |settings| settings.checksums = Some(false)).crc);
        assert!(!of("my.bucket", None, |settings| settings.path_style = Some(false)).path_style);
    }
}
