//! Who keeps the bucket, and what that one asks for: the differences between the stores that speak S3, as one table.
//!
//! Nobody has to name his provider: most are known by the host name of their endpoint, and what is not known gets the dialect
//! that all of them understand. Each row stands in `docs/providers.md` with where it comes from; a setting of its own
//! (`path-style`, `checksums`, `part-concurrency`, `region`) comes before the row.

use std::fmt;
use std::str::FromStr;

/// A maker of S3-compatible stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// Whoever the endpoint's host name tells of.
    #[default]
    Auto,
    /// Amazon.
    Aws,
    /// Cloudflare R2.
    R2,
    /// Backblaze B2.
    B2,
    /// DigitalOcean Spaces.
    Spaces,
    /// Hetzner Object Storage.
    Hetzner,
    /// Scaleway Object Storage.
    Scaleway,
    /// Wasabi.
    Wasabi,
    /// OVHcloud Object Storage.
    Ovh,
    /// `MinIO`, on a host of one's own.
    Minio,
    /// Ceph's RADOS gateway.
    Ceph,
    /// Garage.
    Garage,
    /// Google Cloud Storage by its interoperable interface (HMAC keys).
    Gcs,
    /// `SeaweedFS`.
    Seaweedfs,
    /// None of these that we know of.
    Other,
}

/// What a provider asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// CRC-32 in `x-amz-checksum-crc32`; else Content-MD5, which all of them check.
    pub crc: bool,
    /// `https://endpoint/bucket/key` instead of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// The most parts of one object.
    pub most_parts: u32,
    /// All parts but the last must be of equal size.
    pub equal_parts: bool,
    /// Parts in flight when the user doesn't say.
    pub in_flight: usize,
    /// What requests are signed for when neither the settings nor the host name say it; `None` asks the environment.
    pub region: Option<&'static str>,
}

/// What every store understands: Content-MD5, the bucket in the path, 10,000 parts, three at once.
const PLAIN: Preset =
    Preset { crc: false, path_style: true, most_parts: 10_000, equal_parts: false, in_flight: 3, region: None };

/// A word for each provider, and the ends of its hosts' names.
const KNOWN: &[(Provider, &str, &[&str])] = &[
    (Provider::Auto, "auto", &[]),
    (Provider::Aws, "aws", &["amazonaws.com", "amazonaws.com.cn"]),
    (Provider::R2, "r2", &["r2.cloudflarestorage.com"]),
    (Provider::B2, "b2", &["backblazeb2.com"]),
    (Provider::Spaces, "spaces", &["digitaloceanspaces.com"]),
    (Provider::Hetzner, "hetzner", &["your-objectstorage.com"]),
    (Provider::Scaleway, "scaleway", &["scw.cloud"]),
    (Provider::Wasabi, "wasabi", &["wasabisys.com"]),
    (Provider::Ovh, "ovh", &["cloud.ovh.net", "cloud.ovh.us"]),
    (Provider::Minio, "minio", &[]),
    (Provider::Ceph, "ceph", &[]),
    (Provider::Garage, "garage", &[]),
    (Provider::Gcs, "gcs", &["storage.googleapis.com"]),
    (Provider::Seaweedfs, "seaweedfs", &[]),
];

impl Provider {
    /// The provider in effect, by the setting and the endpoint.
    #[must_use]
    pub fn resolved(self, endpoint: Option<&str>) -> Self {
        match (self, endpoint) {
            (Self::Auto, None) => Self::Aws,
            (Self::Auto, Some(endpoint)) => {
                let host = host(endpoint);
                let ends =
                    |end: &&str| host.strip_suffix(*end).is_some_and(|left| left.is_empty() || left.ends_with('.'));
                let known = KNOWN.iter().find(|(_, _, ends_with)| ends_with.iter().any(ends));
                known.map_or(Self::Other, |(provider, _, _)| *provider)
            }
            (named, _) => named,
        }
    }

    /// What it asks for; only for a provider that is [`resolved`](Self::resolved).
    pub fn preset(self) -> Preset {
        match self {
            Self::Aws => Preset { crc: true, path_style: false, ..PLAIN },
            // Two parts at once per upload; all but the last of equal size; the region is called "auto".
            Self::R2 => Preset { equal_parts: true, in_flight: 2, region: Some("auto"), ..PLAIN },
            Self::Scaleway => Preset { most_parts: 1_000, ..PLAIN },
            Self::Gcs => Preset { region: Some("auto"), ..PLAIN },
            // Garage refuses every region but the one of its configuration, which is called so when nobody has named it.
            Self::Garage => Preset { region: Some("garage"), ..PLAIN },
            // Spaces and Wasabi's newer regions are documented with the bucket in the host name, and take both.
            _ => PLAIN,
        }
    }

    /// The region that the endpoint's name tells: `s3.fr-par.scw.cloud` is `fr-par`.
    pub fn region_in(self, endpoint: &str) -> Option<String> {
        let host = host(endpoint);
        let labels: Vec<&str> = host.split('.').collect();
        let at = |index: usize| labels.get(index).copied();
        let behind_s3 = || labels.iter().position(|label| *label == "s3").and_then(|s3| at(s3 + 1));
        let region = match self {
            Self::Aws => behind_s3().filter(|region| *region != "amazonaws"),
            Self::B2 | Self::Scaleway => behind_s3(),
            // `s3.gra.io.cloud.ovh.net`, `s3.gra.perf.cloud.ovh.net`.
            Self::Ovh => behind_s3().filter(|region| *region != "cloud"),
            // `s3.wasabisys.com` is its first region.
            Self::Wasabi => behind_s3().map(|region| if region == "wasabisys" { "us-east-1" } else { region }),
            // The region is the label before the domain, whether or not a bucket stands before it.
            Self::Spaces | Self::Hetzner => labels.len().checked_sub(3).and_then(at),
            _ => None,
        };
        region.filter(|region| !region.is_empty()).map(str::to_owned)
    }

    /// What its address looks like, for who has named it and no endpoint.
    pub fn example(self) -> Option<&'static str> {
        Some(match self {
            Self::R2 => "https://ACCOUNT_ID.r2.cloudflarestorage.com",
            Self::B2 => "https://s3.us-west-004.backblazeb2.com",
            Self::Spaces => "https://fra1.digitaloceanspaces.com",
            Self::Hetzner => "https://fsn1.your-objectstorage.com",
            Self::Scaleway => "https://s3.fr-par.scw.cloud",
            Self::Wasabi => "https://s3.eu-central-1.wasabisys.com",
            Self::Ovh => "https://s3.gra.io.cloud.ovh.net",
            Self::Minio => "https://minio.example.com:9000",
            Self::Ceph => "https://rgw.example.com",
            Self::Garage => "https://garage.example.com:3900",
            Self::Gcs => "https://storage.googleapis.com",
            Self::Seaweedfs => "https://seaweedfs.example.com:8333",
            Self::Auto | Self::Aws | Self::Other => return None,
        })
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = KNOWN.iter().find(|(_, name, _)| *name == text);
        found.map(|(provider, _, _)| *provider).ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().map(|(_, name, _)| *name).collect();
            format!("{text:?} is none of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = KNOWN.iter().find(|(provider, _, _)| provider == self);
        f.write_str(known.map_or("other", |(_, name, _)| name))
    }
}

/// The host of `http[s]://host[:port][/…]`, in small letters.
fn host(endpoint: &str) -> String {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(endpoint: &str) -> (String, Option<String>) {
        let provider = Provider::Auto.resolved(Some(endpoint));
        (provider.to_string(), provider.region_in(endpoint))
    }

    #[test]
    fn a_provider_is_known_by_its_hosts() {
        for (endpoint, provider, region) in [
            ("https://s3.amazonaws.com", "aws", None),
            ("https://s3.eu-central-1.amazonaws.com", "aws", Some("eu-central-1")),
            ("https://s3.cn-north-1.amazonaws.com.cn", "aws", Some("cn-north-1")),
            ("https://0123abcd.r2.cloudflarestorage.com", "r2", None),
            ("https://0123abcd.eu.r2.cloudflarestorage.com/", "r2", None),
            ("https://s3.us-west-004.backblazeb2.com", "b2", Some("us-west-004")),
            ("https://FRA1.digitaloceanspaces.com:443", "spaces", Some("fra1")),
            ("https://fsn1.your-objectstorage.com", "hetzner", Some("fsn1")),
            ("https://bucket.fsn1.your-objectstorage.com", "hetzner", Some("fsn1")),
            ("https://s3.fr-par.scw.cloud", "scaleway", Some("fr-par")),
            ("https://s3.wasabisys.com", "wasabi", Some("us-east-1")),
            ("https://s3.eu-central-2.wasabisys.com", "wasabi", Some("eu-central-2")),
            ("https://s3.gra.io.cloud.ovh.net", "ovh", Some("gra")),
            ("https://storage.googleapis.com", "gcs", None),
            ("http://127.0.0.1:8333", "other", None),
            ("http://[::1]:9000", "other", None),
            ("https://amazonaws.com.example.org", "other", None),
            ("https://notr2.cloudflarestorage.com", "other", None),
            ("https://myscw.cloud", "other", None),
        ] {
            assert_eq!(known(endpoint), (provider.to_owned(), region.map(str::to_owned)), "{endpoint}");
        }
        assert_eq!(Provider::Auto.resolved(None), Provider::Aws);
        assert_eq!(Provider::R2.resolved(Some("https://s3.amazonaws.com")), Provider::R2);
    }

    #[test]
    fn every_provider_has_a_name_and_an_address_of_its_own() {
        for (provider, name, _) in KNOWN {
            assert_eq!(name.parse(), Ok(*provider));
            assert_eq!(provider.to_string(), *name);
            if let Some(example) = provider.example() {
                let seen = Provider::Auto.resolved(Some(example));
                assert!(seen == *provider || seen == Provider::Other, "{example} is {seen}");
            }
        }
        assert!("R2".parse::<Provider>().is_err());
        assert!("other".parse::<Provider>().is_err());
    }

    #[test]
    fn what_is_not_known_gets_what_all_understand() {
        let preset = Provider::Other.preset();
        assert!(!preset.crc && preset.path_style && !preset.equal_parts);
        let r2 = Provider::R2.preset();
        assert!(r2.equal_parts && r2.in_flight == 2 && r2.region == Some("auto"));
        assert_eq!(Provider::Scaleway.preset().most_parts, 1_000);
    }
}
