//! The name of a dokku-postgres service, by dokku-postgres's own rule.
//!
//! It becomes a folder, a container name and part of every key, so it is checked once, here, and nothing else is ever
//! accepted in its place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name accepted: `dokku.postgres.<name>` must still be a container's host name part and a file name.
const LONGEST: usize = 100;

/// A valid service name: `[A-Za-z0-9_-]+`, not beginning with a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// Why a text is not a service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid service name, which has letters, digits, _ and - only and begins with no dash")]
pub struct InvalidServiceName(String);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = InvalidServiceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() || text.len() > LONGEST || text.starts_with('-') || !text.chars().all(allowed) {
            let shown: String = text.chars().take(LONGEST).collect();
            return Err(InvalidServiceName(shown));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ServiceName {
    type Error = InvalidServiceName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_dokku_postgres_accepts() {
        for good in ["prod", "prod-2", "Prod_2", "1", "a-b_c"] {
            assert_eq!(good.parse::<ServiceName>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn refuses_what_could_be_something_else() {
        for bad in ["", "-rf", "a b", "$(x)", ";x", "../x", "a/b", "a.b", "é", "a\n", &"x".repeat(101)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad:?}");
        }
    }
}
