//! The name of a backup in its store: `postgres-<service>-YYYY-MM-DD-HH-MM-SS.tgz`, the pattern of dokku-postgres.
//!
//! The time is UTC and is when the backup *started*; `.gpg` at the end says that it is encrypted. A service's name may
//! itself hold dashes and digits, so the time is read from the end. The prefix of the destination is not part of the key.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::service::name::ServiceName;

/// What the names of all backups begin with.
pub const PREFIX: &str = "postgres-";
const PLAIN: &str = ".tgz";
const ENCRYPTED: &str = ".tgz.gpg";
const TIME_FORMAT: &str = "%Y-%m-%d-%H-%M-%S";
/// Length of a time in that format.
const TIME_LENGTH: usize = 19;
/// What stands behind a key in the name of its sidecar.
pub const SIDECAR_SUFFIX: &str = ".manifest.json";
/// What stands behind a key in the name of the result of its last drill.
pub const DRILL_SUFFIX: &str = ".verified.json";

/// A backup's key: which service, when its backup started, and whether it is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupKey {
    service: ServiceName,
    started: Timestamp,
    encrypted: bool,
}

/// A text that is no backup's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the key of a backup, which looks like postgres-prod-2023-04-03-11-00-04.tgz")]
pub struct InvalidKey(String);

impl BackupKey {
    /// The key of a backup of `service` that starts now; parts of a second are dropped.
    pub fn new(service: ServiceName, started: Timestamp, encrypted: bool) -> Self {
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        Self { service, started, encrypted }
    }

    /// The service that was backed up.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// When the backup started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Whether the object is encrypted (`.gpg`).
    pub fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// The name of the sidecar beside it.
    pub fn sidecar(&self) -> String {
        format!("{self}{SIDECAR_SUFFIX}")
    }

    /// The name of the result of its last drill, beside it.
    pub fn drill(&self) -> String {
        format!("{self}{DRILL_SUFFIX}")
    }

    /// What the names of all keys of a service begin with. Other services' keys may begin with it too
    /// (`prod` and `prod-2`), so every name that is found must still be parsed and compared.
    pub fn common_prefix(service: &ServiceName) -> String {
        format!("{PREFIX}{service}-")
    }
}

impl FromStr for BackupKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidKey(text.chars().take(200).collect());
        let (rest, encrypted) = match (text.strip_suffix(ENCRYPTED), text.strip_suffix(PLAIN)) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Err(invalid()),
        };
        let rest = rest.strip_prefix(PREFIX).ok_or_else(invalid)?;
        let (service, time) =
            rest.len().checked_sub(TIME_LENGTH).and_then(|at| rest.split_at_checked(at)).ok_or_else(invalid)?;
        let service = service.strip_suffix('-').ok_or_else(invalid)?.parse().map_err(|_| invalid())?;
        let started = DateTime::strptime(TIME_FORMAT, time)
            .ok()
            .and_then(|time| time.to_zoned(TimeZone::UTC).ok())
            .ok_or_else(invalid)?
            .timestamp();
        let key = Self { service, started, encrypted };
        // Only the one way of writing it: no signs, spaces or short numbers that a lenient parser lets through.
        if key.to_string() == text { Ok(key) } else { Err(invalid()) }
    }
}

impl fmt::Display for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.started.strftime(TIME_FORMAT);
        let ending = if self.encrypted { ENCRYPTED } else { PLAIN };
        f.pad(&format!("{PREFIX}{}-{time}{ending}", self.service))
    }
}

impl TryFrom<String> for BackupKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BackupKey> for String {
    fn from(key: BackupKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_key_of_the_runbook() {
        let key: BackupKey = "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap();
        assert_eq!(key.service().as_str(), "prod");
        assert_eq!(key.started().to_string(), "2023-04-03T11:00:04Z");
        assert!(!key.encrypted());
    }

    #[test]
    fn a_service_name_may_look_like_a_time() {
        let text = "postgres-prod-2023-04-03-11-00-04-2024-01-02-03-04-05.tgz.gpg";
        let key: BackupKey = text.parse().unwrap();
        assert_eq!(key.service().as_str(), "prod-2023-04-03-11-00-04");
        assert!(key.encrypted());
        assert_eq!(key.to_string(), text);
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            "",
            ".tgz",
            "postgres-.tgz",
            "postgres--2023-04-03-11-00-04.tgz",
            "postgres-prod-2023-13-03-11-00-04.tgz",
            "postgres-prod-2023-02-30-11-00-04.tgz",
            "postgres-prod-2023-04-03-11-00-60.tgz",
            "postgres-prod-2023-04-03-11-00-04.tar",
            "postgres-prod-2023-04-03-11-00-04.tgz.manifest.json",
            "postgres-prod-2023-04-03-11-00-04.tgz.verified.json",
            "postgres-../x-2023-04-03-11-00-04.tgz",
            "x/postgres-prod-2023-04-03-11-00-04.tgz",
            "postgres-é2023-04-03-11-00-04.tgz",
        ] {
            assert!(bad.parse::<BackupKey>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn text_and_key_are_the_same_thing(
            service in "[A-Za-z0-9_][A-Za-z0-9_-]{0,40}",
            second in 0i64..4_102_444_800,
            encrypted in any::<bool>(),
        ) {
            let key = BackupKey::new(service.parse().unwrap(), Timestamp::from_second(second).unwrap(), encrypted);
            prop_assert_eq!(key.to_string().parse::<BackupKey>().unwrap(), key);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = text.parse::<BackupKey>();
        }
    }
}
