//! How dokku-postgres encrypts a service's backups: honoured where it is set, so that nothing is saved in clear by mistake.
//!
//! Files in the service's folder `backup-encryption/`: `ENCRYPTION_KEY`, the passphrase of `postgres:backup-set-encryption`, and
//! `ENCRYPT_WITH_PUBLIC_KEY_ID`, the id of `postgres:backup-set-public-key-encryption`, whose key is fetched from a key server each
//! time. Where both are set the public key counts, as in the image that dokku-postgres runs for a backup.

use crate::error::Failure;
use crate::secret::Secret;
use crate::service::Service;
use crate::service::discovery::text_file;

/// What was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupEncryption {
    /// A passphrase.
    Passphrase(Secret),
    /// The id of a public key, not the key.
    PublicKeyId(String),
}

impl BackupEncryption {
    /// Reads what is set for a service; `None` when its backups are not encrypted.
    ///
    /// # Errors
    /// When a file can't be read: going on without it would save in clear what was to be encrypted.
    pub fn read(service: &Service) -> Result<Option<Self>, Failure> {
        let folder = service.root.join("backup-encryption");
        let read = |name: &str| -> Result<Option<String>, Failure> {
            Ok(text_file(&folder.join(name))?.filter(|text| !text.is_empty()))
        };
        let id = read("ENCRYPT_WITH_PUBLIC_KEY_ID")?.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        if let Some(id) = id {
            return Ok(Some(Self::PublicKeyId(id)));
        }
        Ok(read("ENCRYPTION_KEY")?.map(|passphrase| Self::Passphrase(Secret::new(passphrase))))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_what_dokku_postgres_writes() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().join("services/postgres/prod");
        let folder = root.join("backup-encryption");
        fs::create_dir_all(&folder).unwrap();
        fs::write(root.join("PASSWORD"), "x\n").unwrap();
        let service = Service::find(host.path(), &"prod".parse().unwrap()).unwrap();
        assert_eq!(BackupEncryption::read(&service).unwrap(), None);
        fs::write(folder.join("ENCRYPTION_KEY"), " a * \"passphrase\" ü \n").unwrap();
        let passphrase = BackupEncryption::Passphrase(Secret::new(" a * \"passphrase\" ü "));
        assert_eq!(BackupEncryption::read(&service).unwrap(), Some(passphrase));
        fs::write(folder.join("ENCRYPT_WITH_PUBLIC_KEY_ID"), "DEADBEEF\n").unwrap();
        let id = BackupEncryption::PublicKeyId("DEADBEEF".to_owned());
        assert_eq!(BackupEncryption::read(&service).unwrap(), Some(id));
        fs::remove_file(folder.join("ENCRYPTION_KEY")).unwrap();
        fs::remove_file(folder.join("ENCRYPT_WITH_PUBLIC_KEY_ID")).unwrap();
        fs::create_dir(folder.join("ENCRYPTION_KEY")).unwrap();
        assert!(BackupEncryption::read(&service).is_err(), "unreadable is not the same as not set");
    }
}
