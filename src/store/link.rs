//! A presigned link: a URL that opens one object to whoever has it. So it is a secret, and only its host and path are ever shown.
//!
//! It is how a host whose role may only write comes to a backup all the same: somebody who may read signs a link
//! (`pgbackup:url`, `aws s3 presign`, a web console) and hands it over.

use std::fmt;
use std::str::FromStr;

use crate::secret::Secret;
use crate::text::printable;

/// More than any signer makes.
const LONGEST: usize = 8192;

/// A link to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    url: Secret,
    origin: String,
    path: String,
}

/// A text that is no such link. It is never shown: it may be a mutilated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is not a URL like https://bucket.s3.amazonaws.com/key?X-Amz-Signature=…")]
pub struct InvalidLink;

impl Link {
    /// Whether a text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("https://") || text.starts_with("http://")
    }

    /// `https://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The whole URL, for sending it.
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// The last part of its path: a backup's key, if the object is one.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for Link {
    type Err = InvalidLink;

    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidLink)?;
        let bad = |c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
        if !matches!(scheme, "https" | "http") || text.len() > LONGEST || rest.contains(bad) {
            return Err(InvalidLink);
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, behind) = rest.split_once('/').ok_or(InvalidLink)?;
        let path = behind.split('?').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(plain) || path.is_empty() {
            return Err(InvalidLink);
        }
        Ok(Self {
            url: Secret::new(format!("{scheme}://{rest}")),
            origin: format!("{scheme}://{host}"),
            path: percent_decoded(path),
        })
    }
}

/// Host and path, without what opens it.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.origin.split_once("://").map_or(self.origin.as_str(), |(_, host)| host);
        write!(f, "{host}/{}", printable(&self.path))
    }
}

/// Undoes the encoding of a path. What is no encoding stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = behind.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINK: &str = "https://bucket.s3.eu-central-1.amazonaws.com/a%20b/postgres-prod-2023-04-03-11-00-04.tgz?X-Amz-Signature=5ec3e7";

    #[test]
    fn only_host_and_path_are_shown() {
        let link: Link = LINK.parse().unwrap();
        assert_eq!(link.to_string(), "bucket.s3.eu-central-1.amazonaws.com/a b/postgres-prod-2023-04-03-11-00-04.tgz");
        assert_eq!(link.name(), "postgres-prod-2023-04-03-11-00-04.tgz");
        assert_eq!(link.origin(), "https://bucket.s3.eu-central-1.amazonaws.com");
        assert_eq!(link.url().reveal(), LINK);
        assert!(!format!("{link:?}").contains("5ec3e7"));
        assert!("http://127.0.0.1:8333/b/k".parse::<Link>().is_ok());
    }

    #[test]
    fn refuses_without_repeating_it() {
        for bad in [
            "https://",
            "https://host",
            "https://host/",
            "https://host/?X-Amz-Signature=5ec3e7",
            "ftp://host/key",
            "https://id:5ec3e7@host/key",
            "https://host/a b",
            "https://host/\n",
            "latest",
            "s3://bucket/key",
        ] {
            let error = bad.parse::<Link>().unwrap_err();
            assert!(!error.to_string().contains("5ec3e7"), "{bad}");
        }
        assert!(!Link::is_meant("postgres-prod") && Link::is_meant(LINK));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_shows_its_query(text in "https://[a-z.]{1,9}/\\PC{0,40}", secret in "S[0-9]{8}") {
            if let Ok(link) = format!("{text}?X-Amz-Signature={secret}").parse::<Link>() {
                let shown = format!("{link} {link:?}");
                prop_assert!(!shown.contains(&secret));
            }
        }
    }
}
