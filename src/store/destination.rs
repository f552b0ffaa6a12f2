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

/// Folders that belong to the system: with all that is in them.
const SYSTEM: &[&str] =
    &["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr"];
/// What others keep, Docker and Dokku among them: who cleans up or moves there doesn't know of backups.
const OTHERS: &[&str] = &["/home/dokku", "/var/lib/docker", "/var/lib/containerd", "/var/lib/dokku"];
/// Places in those that are meant for files of one's own: disks that a desktop has mounted, programs, Dokku's storage of apps.
const WITHIN: &[&str] = &["/run/media", "/run/mount", "/usr/local", "/var/lib/dokku/data/storage"];
/// Folders of folders: only what is in them can be a place for backups.
const SHARED: &[&str] = &[
    "/home",
    "/root",
    "/tmp",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/spool",
    "/var/tmp",
];

impl Destination {
    /// Why backups should not be put there, where that can be told by the path: a typing error must not fill `/etc`. What lies in such a
    /// folder can be read all the same.
    pub fn unfit(&self) -> Option<String> {
        let Self::Folder(path) = self else { return None };
        let shown = path.display();
        let within = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        let is = |folders: &[&str]| folders.iter().any(|folder| path == Path::new(folder));
        if within(WITHIN) && !is(WITHIN) {
            return None;
        }
        if within(SYSTEM) || is(WITHIN) {
            return Some(format!("{shown} belongs to the system; name a folder that is for backups alone"));
        }
        if within(OTHERS) {
            return Some(format!("{shown} belongs to Dokku or Docker; name a folder that is for backups alone"));
        }
        is(SHARED).then(|| format!("{shown} is shared by others; name a folder in it that is for backups alone"))
    }
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
    fn folders_of_others_are_no_place_for_backups() {
        let unfit = |text: &str| format!("file://{text}").parse::<Destination>().unwrap().unfit();
        for bad in [
            "/etc",
            "/etc/backups",
            "/usr/lib/x",
            "/usr/local",
            "/dev/shm",
            "/home",
            "/home/dokku/x",
            "/var",
            "/var/lib/dokku",
            "/var/lib/dokku/services/postgres/prod/data",
            "/var/lib/dokku/data/storage",
            "/var/lib/docker/volumes",
            "/tmp",
        ] {
            assert!(unfit(bad).is_some_and(|why| why.starts_with(bad)), "{bad}");
        }
        for good in [
            "/mnt",
            "/backups",
            "/etcetera",
            "/home/backups",
            "/srv/backups",
            "/tmp/x",
            "/usr/local/backups",
            "/var/backups/dokku",
            "/var/lib/dokku/data/storage/backups",
            "/var/lib/pgbackup",
            "/run/media/me/disk",
        ] {
            assert_eq!(unfit(good), None, "{good}");
        }
        assert_eq!("s3://etc".parse::<Destination>().unwrap().unfit(), None);
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
