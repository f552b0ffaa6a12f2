//! How dokku-postgres backs a service up: what `postgres:backup-schedule`, `backup-auth` and `backup-set-encryption` have set up.
//!
//! Up to 1.48 a schedule is a file in `/etc/cron.d`, later it is a property of Dokku's: `postgres:backup-schedule-cat` prints the line of
//! either. Keys and encryption lie in the service's folder in both generations. Later ones can give objects names of their own, and
//! leave things out of every export.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::docker::run_plugin_command;
use crate::error::Failure;
use crate::service::Service;
use crate::service::credentials::BackupAuth;
use crate::service::discovery::text_file;
use crate::service::encryption::BackupEncryption;
use crate::service::name::ServiceName;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// When it backs up, and where to.
    pub scheduled: Option<Scheduled>,
    /// The keys it uses.
    pub keys: Option<BackupAuth>,
    /// How it encrypts.
    pub encryption: Option<Encryption>,
    /// Properties of later generations that we do otherwise: their names and values.
    pub otherwise: Vec<(&'static str, String)>,
}

/// A scheduled backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The expression, as it stands there: `0 3 * * *` or `@daily`.
    pub cron: String,
    /// The bucket, with a path in it where there is one.
    pub bucket: String,
    /// Whether the host's role is used instead of keys.
    pub use_iam: bool,
}

/// How backups are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With a passphrase.
    Passphrase,
    /// To a public key, by its id; it comes from a key server.
    PublicKey(String),
}

/// What later generations can be told about backups, and we do otherwise.
const OTHERWISE: [&str; 6] = [
    "backup-object-name",
    "backup-timestamp",
    "backup-storage-class",
    "backup-mailto",
    "backup-keyserver",
    "export-args",
];

impl Arrangement {
    /// Reads it; nothing is changed. `enabled` is Dokku's folder of enabled plugins.
    ///
    /// # Errors
    /// When a file can't be read, keys are half there, or a schedule is not understood.
    pub fn of(service: &Service, lib_root: &Path, enabled: &Path) -> Result<Self, Failure> {
        let encryption = BackupEncryption::read(service)?.map(|how| match how {
            BackupEncryption::Passphrase(_) => Encryption::Passphrase,
            BackupEncryption::PublicKeyId(id) => Encryption::PublicKey(id),
        });
        let properties = lib_root.join("config/postgres").join(service.name.as_str());
        let mut otherwise = Vec::new();
        for name in OTHERWISE {
            let value = text_file(&properties.join(name))?.map(|value| value.trim().to_owned());
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                otherwise.push((name, value));
            }
        }
        let scheduled = Scheduled::of(&service.name, enabled)?;
        Ok(Self { scheduled, keys: BackupAuth::read(service)?, encryption, otherwise })
    }

    /// One of the properties that we do otherwise.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.otherwise.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.scheduled.is_none() && self.keys.is_none() && self.encryption.is_none()
    }
}

/// The name that dokku-postgres saves a service's backups under, where it was given another one than `postgres-<service>-<time>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// What stands before the time and the ending; may have a folder in front.
    pub base: String,
    /// Whether a time stands behind it; without one each backup replaces the one before.
    pub timestamp: bool,
}

impl ObjectName {
    /// What is set: `backup-object-name` and `backup-timestamp`; `None` where both are as they always were.
    ///
    /// # Errors
    /// When a file can't be read.
    pub fn of(service: &ServiceName, lib_root: &Path) -> Result<Option<Self>, Failure> {
        let properties = lib_root.join("config/postgres").join(service.as_str());
        let read = |name: &str| -> Result<Option<String>, Failure> {
            let value = text_file(&properties.join(name))?.map(|value| value.trim().to_owned());
            Ok(value.filter(|value| !value.is_empty()))
        };
        let (name, timestamp) = (read("backup-object-name")?, read("backup-timestamp")?.as_deref() != Some("false"));
        if name.is_none() && timestamp {
            return Ok(None);
        }
        Ok(Some(Self { base: name.unwrap_or_else(|| format!("postgres-{service}")), timestamp }))
    }

    /// Whether an object's name is this one: the time in it, if it has one. `db-2` is not `db`.
    pub fn reads(&self, name: &str) -> Option<Option<Timestamp>> {
        let rest = name.strip_prefix(&self.base)?;
        let rest = rest.strip_suffix(".tgz").or_else(|| rest.strip_suffix(".tgz.gpg"))?;
        if !self.timestamp {
            return rest.is_empty().then_some(None);
        }
        let time = DateTime::strptime("%Y-%m-%d-%H-%M-%S", rest.strip_prefix('-')?).ok()?;
        Some(Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    }
}

impl Scheduled {
    /// What is scheduled for a service; `None` when nothing is, or dokku-postgres is not enabled.
    ///
    /// # Errors
    /// When it is not understood, or can't be asked for.
    pub fn of(service: &ServiceName, enabled: &Path) -> Result<Option<Self>, Failure> {
        let command: PathBuf = enabled.join("postgres/subcommands/backup-schedule-cat");
        if !command.exists() {
            return Ok(None);
        }
        match run_plugin_command(&command, &["postgres:backup-schedule-cat", service.as_str()]) {
            Ok(text) => Self::read(&text, service).map(Some),
            Err(error) if format!("{error:#}").contains("no scheduled backup") => Ok(None),
            Err(error) => Err(Failure::failed(format!("The schedule of dokku-postgres for {service} can't be read"))
                .because(error)
                .hint(format!("See what it says: dokku postgres:backup-schedule-cat {service}"))),
        }
    }

    /// `0 3 * * * dokku /usr/bin/dokku postgres:backup prod bucket --use-iam`, or `0 3 * * * dokku postgres:backup prod bucket &>> LOG`.
    fn read(text: &str, service: &ServiceName) -> Result<Self, Failure> {
        let line = text.lines().map(str::trim).find(|line| line.contains("postgres:backup ")).unwrap_or_default();
        let unknown = || {
            Failure::failed(format!("The schedule of dokku-postgres for {service} is not understood: {line:?}"))
                .hint(format!("See it: dokku postgres:backup-schedule-cat {service}"))
                .hint(format!("Remove it there: dokku postgres:backup-unschedule {service}"))
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = words.iter().position(|word| *word == "postgres:backup").ok_or_else(unknown)?;
        let (times, arguments) = words.split_at_checked(command).ok_or_else(unknown)?;
        let fields = if times.first().is_some_and(|first| first.starts_with('@')) { 1 } else { 5 };
        let cron = times.get(..fields).ok_or_else(unknown)?.join(" ");
        let end = arguments.iter().position(|word| word.contains(">>")).unwrap_or(arguments.len());
        match arguments.get(1..end).unwrap_or_default() {
            [named, bucket, flags @ ..] if *named == service.as_str() => Ok(Self {
                cron,
                bucket: bucket.trim_matches(['"', '\'', '/']).to_owned(),
                use_iam: flags.iter().any(|flag| matches!(*flag, "--use-iam" | "-u")),
            }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn host() -> (tempfile::TempDir, Service, PathBuf) {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("services/postgres/prod");
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("PASSWORD"), "x\n").unwrap();
        let service = Service::find(host.path(), &"prod".parse().unwrap()).unwrap();
        let enabled = host.path().join("plugins/enabled");
        (host, service, enabled)
    }

    fn answer(enabled: &Path, script: &str) {
        let command = enabled.join("postgres/subcommands/backup-schedule-cat");
        fs::create_dir_all(command.parent().unwrap()).unwrap();
        fs::write(&command, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn reads_the_line_of_both_generations() {
        let name = "prod".parse().unwrap();
        let read = |line: &str| Scheduled::read(line, &name);
        let found = |cron: &str, bucket: &str, use_iam| Scheduled { cron: cron.into(), bucket: bucket.into(), use_iam };
        assert_eq!(
            read("0 3 * * * dokku /usr/bin/dokku postgres:backup prod my-bucket --use-iam\n").unwrap(),
            found("0 3 * * *", "my-bucket", true)
        );
        assert_eq!(
            read("@daily dokku /usr/bin/dokku postgres:backup prod my-bucket/folder \n").unwrap(),
            found("@daily", "my-bucket/folder", false)
        );
        assert_eq!(
            read("*/5 * * * * dokku postgres:backup prod b &>> /var/log/dokku/postgres.log").unwrap(),
            found("*/5 * * * *", "b", false)
        );
        for bad in ["", "0 3 * * * dokku postgres:backup other b", "0 3 * dokku postgres:backup prod b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_its_own_are_told_from_those_of_others() {
        let (host, service, _) = host();
        let read = || ObjectName::of(&service.name, host.path()).unwrap();
        assert_eq!(read(), None);
        let properties = host.path().join("config/postgres/prod");
        fs::create_dir_all(&properties).unwrap();
        fs::write(properties.join("backup-timestamp"), "false\n").unwrap();
        let fixed = read().unwrap();
        assert_eq!(fixed, ObjectName { base: "postgres-prod".into(), timestamp: false });
        assert_eq!(fixed.reads("postgres-prod.tgz"), Some(None));
        assert_eq!(fixed.reads("postgres-prod.tgz.gpg"), Some(None));
        for other in ["postgres-prod-2.tgz", "postgres-prod.tgz.manifest.json", "postgres-prod-2026-11-24-03-00-00.tgz"]
        {
            assert_eq!(fixed.reads(other), None, "{other}");
        }
        fs::remove_file(properties.join("backup-timestamp")).unwrap();
        fs::write(properties.join("backup-object-name"), "db\n").unwrap();
        let timed = read().unwrap();
        assert_eq!(timed, ObjectName { base: "db".into(), timestamp: true });
        let time = timed.reads("db-2026-11-24-03-00-00.tgz").unwrap().unwrap();
        assert_eq!(time.to_string(), "2026-11-24T03:00:00Z");
        for other in ["db.tgz", "db-2-2026-11-24-03-00-00.tgz", "db-2026-11-24-03-00.tgz", "db-2026-13-24-03-00-00.tgz"]
        {
            assert_eq!(timed.reads(other), None, "{other}");
        }
    }

    #[test]
    fn reads_all_that_is_there_and_nothing_else() {
        let (host, service, enabled) = host();
        let read = || Arrangement::of(&service, host.path(), &enabled);
        assert!(read().unwrap().is_empty());
        answer(&enabled, "echo ' !     There is no scheduled backup for prod.' >&2; exit 1");
        assert!(read().unwrap().is_empty());
        answer(&enabled, "echo ' !     Out of memory' >&2; exit 1");
        assert!(read().is_err(), "not to know is not to have none");
        answer(&enabled, "echo '0 3 * * * dokku /usr/bin/dokku postgres:backup prod bucket '");
        fs::create_dir_all(service.root.join("backup-encryption")).unwrap();
        fs::write(service.root.join("backup-encryption/ENCRYPT_WITH_PUBLIC_KEY_ID"), "ABCD\n").unwrap();
        let properties = host.path().join("config/postgres/prod");
        fs::create_dir_all(&properties).unwrap();
        fs::write(properties.join("backup-object-name"), "daily").unwrap();
        let found = read().unwrap();
        assert_eq!(found.scheduled.as_ref().unwrap().bucket, "bucket");
        assert_eq!(found.encryption, Some(Encryption::PublicKey("ABCD".into())));
        assert_eq!((found.property("backup-object-name"), found.property("backup-mailto")), (Some("daily"), None));
        assert_eq!(found.otherwise, [("backup-object-name", "daily".to_owned())]);
        // As for a backup: with both the public key counts.
        fs::write(service.root.join("backup-encryption/ENCRYPTION_KEY"), "a passphrase\n").unwrap();
        assert_eq!(read().unwrap().encryption, Some(Encryption::PublicKey("ABCD".into())));
    }
}
