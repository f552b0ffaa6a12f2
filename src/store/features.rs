//! What a store can be asked for beside keeping bytes: a storage class, encryption at rest, a lock against deletion, tags.
//! Parsed once, where they are set; a store that doesn't know one of them refuses the upload and says so.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// All of them; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Storage class of the backups themselves. What lies beside them stays in the ordinary one: it must be readable at once.
    pub class: Option<StorageClass>,
    /// Encryption by the store.
    pub sse: Option<Sse>,
    /// Kept from being deleted.
    pub lock: Option<ObjectLock>,
    /// Tags.
    pub tags: Tags,
}

/// A storage class, as its store calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageClass(String);

impl StorageClass {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || text.len() > 40 || !text.chars().all(plain) {
            return Err(format!("{text:?} is not a storage class, which looks like STANDARD_IA or GLACIER_IR"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Encryption by the store, with keys of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// `AES256`: the store's own key (SSE-S3).
    Aes256,
    /// `aws:kms`: a key of the key management service, which has its own permissions.
    Kms(Option<String>),
}

impl FromStr for Sse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "AES256" {
            return Ok(Self::Aes256);
        }
        let wrong = || format!("{text:?} is none of AES256, aws:kms, aws:kms:KEY");
        match text.strip_prefix("aws:kms").ok_or_else(wrong)? {
            "" => Ok(Self::Kms(None)),
            rest => {
                let key = rest.strip_prefix(':').ok_or_else(wrong)?;
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '-' | '_');
                let fits = !key.is_empty() && key.len() <= 2048 && key.chars().all(plain);
                if fits { Ok(Self::Kms(Some(key.to_owned()))) } else { Err(wrong()) }
            }
        }
    }
}

/// For how long an object can't be deleted, and by whom all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Nobody at all may delete it, the account's owner included; else who has a special permission may.
    pub compliance: bool,
    /// Counted from the start of the upload.
    pub period: Duration,
}

impl FromStr for ObjectLock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a lock, which looks like governance:30d or compliance:30d");
        let (mode, days) = text.split_once(':').ok_or_else(wrong)?;
        let compliance = match mode.to_ascii_lowercase().as_str() {
            "governance" => false,
            "compliance" => true,
            _ => return Err(wrong()),
        };
        let days: u64 = days.strip_suffix('d').and_then(|days| days.parse().ok()).ok_or_else(wrong)?;
        // S3's own bound is a hundred years, and nobody can take back a slip.
        if !(1..=36_500).contains(&days) {
            return Err(format!("{text:?} locks for {days} days; from 1 to 36500 are possible"));
        }
        Ok(Self { compliance, period: Duration::from_hours(24 * days) })
    }
}

/// Names and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

/// S3's own bound.
const MOST_TAGS: usize = 10;

impl Tags {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Tags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for pair in text.split(',').map(str::trim) {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| format!("{pair:?} is not a tag, which looks like name=value"))?;
            let plain =
                |c: char| c.is_alphanumeric() || matches!(c, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@');
            if name.is_empty()
                || name.len() > 128
                || value.len() > 256
                || !pair.chars().all(plain)
                || name.starts_with("aws:")
            {
                return Err(format!(
                    "{pair:?} can't be a tag: names have up to 128 letters, values up to 256, and + - = . _ : / @"
                ));
            }
            if tags.iter().any(|(known, _)| known == name) {
                return Err(format!("the tag {name} is given twice"));
            }
            tags.push((name.to_owned(), value.to_owned()));
        }
        if tags.len() > MOST_TAGS {
            return Err(format!("an object has {MOST_TAGS} tags at most"));
        }
        Ok(Self(tags))
    }
}

/// As the header `x-amz-tagging` wants them: encoded like the query of a URL.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("&")?;
            }
            write!(f, "{}={}", Encoded(name), Encoded(value))?;
        }
        Ok(())
    }
}

struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// Bytes a second: `10MB/s`, `512KiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

/// Below this a part of 8 MiB would take longer than stores wait for it.
const SLOWEST: u64 = 64 * 1024;

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate, which looks like 10MB/s or 512KiB/s");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim().strip_suffix("/s").unwrap_or(unit.trim()) {
            "B" => 1,
            "kB" | "KB" => 1_000,
            "KiB" => 1_024,
            "MB" => 1_000_000,
            "MiB" => 1_048_576,
            "GB" => 1_000_000_000,
            "GiB" => 1_073_741_824,
            _ => return Err(wrong()),
        };
        let rate = number.checked_mul(factor).ok_or_else(wrong)?;
        if rate < SLOWEST {
            return Err(format!("{text:?} is too slow: stores give up what takes for ever; 64KiB/s is the least"));
        }
        Ok(Self(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_of_the_store() {
        assert_eq!("AES256".parse(), Ok(Sse::Aes256));
        assert_eq!("aws:kms".parse(), Ok(Sse::Kms(None)));
        let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab";
        assert_eq!(format!("aws:kms:{key}").parse(), Ok(Sse::Kms(Some(key.into()))));
        for bad in ["", "aes256", "aws:kms:", "aws:kmsx", "aws:kms:a b", "kms"] {
            assert!(bad.parse::<Sse>().is_err(), "{bad}");
        }
    }

    #[test]
    fn locks() {
        let lock = ObjectLock { compliance: true, period: Duration::from_hours(24 * 30) };
        assert_eq!("compliance:30d".parse(), Ok(lock));
        assert_eq!("GOVERNANCE:1d".parse(), Ok(ObjectLock { compliance: false, period: Duration::from_hours(24) }));
        for bad in [
            "",
            "30d",
            "compliance",
            "compliance:30",
            "compliance:0d",
            "governance:36501d",
            "legal:1d",
            "governance:-1d",
        ] {
            assert!(bad.parse::<ObjectLock>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_are_encoded_as_in_a_query() {
        assert_eq!("team=data, stage=a b+c".parse::<Tags>().unwrap().to_string(), "team=data&stage=a%20b%2Bc");
        assert_eq!("a=".parse::<Tags>().unwrap().to_string(), "a=");
        for bad in ["", "a", "=b", "a=1,a=2", "a=b&c", "aws:x=1", "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1"] {
            assert!(bad.parse::<Tags>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates() {
        for (text, rate) in
            [("10MB/s", 10_000_000), ("512KiB/s", 524_288), ("1GB", 1_000_000_000), ("2 MiB/s", 2_097_152)]
        {
            assert_eq!(text.parse(), Ok(Rate(rate)));
        }
        for bad in ["", "10", "10Mbit/s", "MB/s", "1KB/s", "-1MB/s", "99999999999999GB/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn classes() {
        assert_eq!("GLACIER_IR".parse::<StorageClass>().unwrap().as_str(), "GLACIER_IR");
        for bad in ["", "glacier", "A B"] {
            assert!(bad.parse::<StorageClass>().is_err(), "{bad}");
        }
    }
}
