//! Where backups go: `s3://bucket/prefix` or `file:///path`.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// A place that holds backups, as the user writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `s3://bucket[/prefix]`; the prefix has no slash at either end and may be empty.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What stands before each key, without slashes at the ends.
        prefix: String,
    },
    /// `file:///absolute/folder`.
    Folder(PathBuf),
}

/// Why a text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDestination {
    /// Neither `s3://` nor `file:///`.
    #[error("{0:?} is not a destination, which looks like s3://bucket, s3://bucket/prefix or file:///folder")]
    Scheme(String),
    /// Not a bucket name (AWS: 3 to 63 of `a-z0-9.-`; some stores allow upper case and `_`).
    #[error("{0:?} is not a bucket name, which has 3 to 63 letters, digits, dots, dashes and underscores")]
    Bucket(String),
    /// A prefix with `..`, empty parts or control characters.
    #[error("{0:?} can't be the prefix of keys: it has empty parts, dots as a part, or control characters")]
    Prefix(String),
    /// Not an absolute, plain path.
    #[error("{0:?} is not an absolute folder without . and .. in it")]
    Folder(String),
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            if !(3..=63).contains(&bucket.len())
                || !bucket.chars().all(allowed)
                || !edge(bucket.chars().next())
                || !edge(bucket.chars().last())
                || bucket.contains("..")
            {
                return Err(InvalidDestination::Bucket(bucket.to_owned()));
            }
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
            if prefix.len() > 500
                || prefix.chars().any(char::is_control)
                || (!prefix.is_empty() && prefix.split('/').any(bad_part))
            {
                return Err(InvalidDestination::Prefix(prefix.to_owned()));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        if let Some(path) = text.strip_prefix("file://") {
            let plain =
                Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
            let no_dots = !path.split('/').any(|part| part == "." || part == "..");
            if !path.starts_with('/') || path.len() < 2 || !plain || !no_dots || path.chars().any(char::is_control) {
                return Err(InvalidDestination::Folder(path.to_owned()));
            }
            return Ok(Self::Folder(PathBuf::from(path.trim_end_matches('/'))));
        }
        Err(InvalidDestination::Scheme(text.to_owned()))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for text in
            ["s3://sportfin-prod-database-backups", "s3://bucket/a/b", "file:///var/backups", "s3://my.bucket_1"]
        {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        assert_eq!("s3://bucket/a/".parse::<Destination>().unwrap().to_string(), "s3://bucket/a");
        assert_eq!("file:///a/b/".parse::<Destination>().unwrap().to_string(), "file:///a/b");
    }

    #[test]
    fn refuses_what_would_surprise() {
        for bad in [
            "",
            "bucket",
            "s3://",
            "s3://ab",
            "s3://-abc",
            "s3://a b c",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://bucket/a\nb",
            "file://",
            "file:///",
            "file://relative",
            "file:///a/../b",
            "file:///a/./b",
            "http://x",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
        }
    }
}
