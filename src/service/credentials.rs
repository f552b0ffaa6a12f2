//! The keys that `dokku postgres:backup-auth` has stored for a service: they are honoured where they are set.
//!
//! Files in the service's folder `backup/`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, and where they were given
//! `AWS_DEFAULT_REGION`, `AWS_SIGNATURE_VERSION`, `ENDPOINT_URL`.

use crate::error::Failure;
use crate::secret::Secret;
use crate::service::Service;
use crate::service::discovery::text_file;

/// What `backup-auth` was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupAuth {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Secret,
    /// `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_SIGNATURE_VERSION` ("s3v4").
    pub signature_version: Option<String>,
    /// `ENDPOINT_URL`, for stores that are not AWS.
    pub endpoint: Option<String>,
}

impl BackupAuth {
    /// Reads the keys of a service; `None` when it has none (`backup-auth` was never called, or `backup-deauth` was).
    ///
    /// # Errors
    /// When one of the two keys is missing, or a file can't be read: falling back to another identity in silence would
    /// write to a place where nobody looks.
    pub fn read(service: &Service) -> Result<Option<Self>, Failure> {
        let folder = service.root.join("backup");
        let read = |name: &str| -> Result<Option<String>, Failure> {
            Ok(text_file(&folder.join(name))?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
        };
        let half = |missing: &str| {
            let name = &service.name;
            Err(Failure::failed(format!("The backup-auth of the service {name} is incomplete: {missing} is not set"))
                .hint(format!("Set both keys again with: dokku postgres:backup-deauth {name}"))
                .hint(format!("and: dokku postgres:backup-auth {name} ACCESS_KEY SECRET_KEY [REGION]")))
        };
        let (access_key, secret_key) = match (read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?) {
            (Some(access_key), Some(secret_key)) => (access_key, Secret::new(secret_key)),
            (None, None) => return Ok(None),
            (Some(_), None) => return half("AWS_SECRET_ACCESS_KEY"),
            (None, Some(_)) => return half("AWS_ACCESS_KEY_ID"),
        };
        Ok(Some(Self {
            access_key,
            secret_key,
            region: read("AWS_DEFAULT_REGION")?,
            signature_version: read("AWS_SIGNATURE_VERSION")?,
            endpoint: read("ENDPOINT_URL")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn service() -> (tempfile::TempDir, Service) {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("services/postgres/prod");
        fs::create_dir_all(root.join("backup")).unwrap();
        fs::write(root.join("PASSWORD"), "x\n").unwrap();
        let service = Service::find(host.path(), &"prod".parse().unwrap()).unwrap();
        (host, service)
    }

    #[test]
    fn reads_what_backup_auth_writes() {
        let (_host, service) = service();
        assert_eq!(BackupAuth::read(&service).unwrap(), None);
        let backup = service.root.join("backup");
        fs::write(backup.join("AWS_ACCESS_KEY_ID"), "AKIA\n").unwrap();
        assert!(BackupAuth::read(&service).unwrap_err().message.contains("AWS_SECRET_ACCESS_KEY is not set"));
        fs::write(backup.join("AWS_SECRET_ACCESS_KEY"), "s3cr3t/+\n").unwrap();
        fs::write(backup.join("ENDPOINT_URL"), "http://10.0.0.1:8333\n").unwrap();
        fs::write(backup.join("AWS_DEFAULT_REGION"), "\n").unwrap();
        let auth = BackupAuth::read(&service).unwrap().unwrap();
        assert_eq!((auth.access_key.as_str(), auth.secret_key.reveal()), ("AKIA", "s3cr3t/+"));
        assert_eq!(auth.endpoint.as_deref(), Some("http://10.0.0.1:8333"));
        assert_eq!(auth.region, None);
        assert!(!format!("{auth:?}").contains("s3cr3t"));
        fs::remove_file(backup.join("AWS_ACCESS_KEY_ID")).unwrap();
        assert!(BackupAuth::read(&service).unwrap_err().message.contains("AWS_ACCESS_KEY_ID is not set"));
    }
}
