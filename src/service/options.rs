//! How a service was made, as far as its image doesn't say it: what `postgres:create` was given, so that a new host can make the same.
//!
//! dokku-postgres keeps it in the service's folder: `CONFIG_OPTIONS`, `ENV` (a variable a line), `SERVICE_MEMORY`, `SHM_SIZE`. It goes into
//! the manifest, and a manifest lies in a bucket: of what may be a secret only the name goes there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::service::Service;
use crate::service::discovery::text_file;

/// Variables of PostgreSQL's image and of the system's that hold no secret. Anything else a user has thought of.
const HARMLESS: [&str; 8] = [
    "LANG",
    "LC_ALL",
    "PGDATA",
    "PGTZ",
    "POSTGRES_HOST_AUTH_METHOD",
    "POSTGRES_INITDB_ARGS",
    "POSTGRES_INITDB_WALDIR",
    "TZ",
];
/// Words that a harmless option has no use for.
const CONFIDENTIAL: [&str; 6] = ["pass", "secret", "token", "credential", "apikey", "://"];

/// What a service was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOptions {
    /// Arguments of the server (`--config-options`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_options: Option<String>,
    /// Variables of the container (`--custom-env`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Limit of the container's memory in megabytes (`--memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Size of its shared memory (`--shm-size`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
    /// What was set, too, and may be a secret: `custom-env APP_TOKEN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
}

impl CreateOptions {
    /// Reads what a service was made with; `None` when nothing was given.
    ///
    /// # Errors
    /// When a file is there and can't be read.
    pub fn read(service: &Service) -> Result<Option<Self>, Failure> {
        let read = |name: &str| -> Result<Option<String>, Failure> {
            let text = text_file(&service.root.join(name))?;
            Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
        };
        let mut options = Self { memory: read("SERVICE_MEMORY")?, shm_size: read("SHM_SIZE")?, ..Self::default() };
        match read("CONFIG_OPTIONS")? {
            Some(text) if is_confidential(&text) => options.withheld.push("config-options".to_owned()),
            text => options.config_options = text,
        }
        for line in read("ENV")?.unwrap_or_default().lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            // A semicolon would end it where it is given again.
            if HARMLESS.contains(&name) && !is_confidential(value) && !value.contains(';') {
                options.environment.insert(name.to_owned(), value.to_owned());
            } else {
                options.withheld.push(format!("custom-env {name}"));
            }
        }
        Ok(Some(options).filter(|options| *options != Self::default()))
    }

    /// The flags of `postgres:create` that make the same again.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let environment: Vec<String> = self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [
            ("--config-options", self.config_options.clone()),
            ("--custom-env", Some(environment.join(";")).filter(|text| !text.is_empty())),
            ("--memory", self.memory.clone()),
            ("--shm-size", self.shm_size.clone()),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some((flag, value?)))
        .collect()
    }
}

fn is_confidential(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    CONFIDENTIAL.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_what_create_was_given_and_no_secret() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("services/postgres/prod");
        fs::create_dir_all(&root).unwrap();
        for (name, text) in [("PASSWORD", "x\n"), ("CONFIG_OPTIONS", "\n"), ("ENV", "\n")] {
            fs::write(root.join(name), text).unwrap();
        }
        let service = Service::find(host.path(), &"prod".parse().unwrap()).unwrap();
        assert_eq!(
            CreateOptions::read(&service).unwrap(),
            None,
            "as dokku-postgres leaves them where nothing is given"
        );
        for (name, text) in [
            ("CONFIG_OPTIONS", "-c shared_buffers=1GB -c max_connections=200\n"),
            ("ENV", "TZ=Europe/London\nPOSTGRES_INITDB_ARGS=--data-checksums\nAPP_TOKEN=hunter2\nLANG=a;b\n"),
            ("SERVICE_MEMORY", "512\n"),
            ("SHM_SIZE", "256m\n"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let options = CreateOptions::read(&service).unwrap().unwrap();
        assert_eq!(options.withheld, ["custom-env APP_TOKEN", "custom-env LANG"]);
        assert!(!serde_json::to_string(&options).unwrap().contains("hunter2"));
        let flags: Vec<String> = options.flags().iter().map(|(flag, value)| format!("{flag} {value}")).collect();
        assert_eq!(
            flags,
            [
                "--config-options -c shared_buffers=1GB -c max_connections=200",
                "--custom-env POSTGRES_INITDB_ARGS=--data-checksums;TZ=Europe/London",
                "--memory 512",
                "--shm-size 256m",
            ]
        );
        fs::write(root.join("CONFIG_OPTIONS"), "-c primary_conninfo='password=hunter3'\n").unwrap();
        let options = CreateOptions::read(&service).unwrap().unwrap();
        assert_eq!(
            (options.config_options, options.withheld.first().map(String::as_str)),
            (None, Some("config-options"))
        );
    }
}
