//! Properties as Dokku keeps them: one file per property, below the subject's folder or below `--global`.
//!
//! Files have mode 0600 and folders 0755, as Dokku's own. `--global` can't be a service's name, so neither can hide the
//! other. This module knows files only; which properties exist and what they mean is `settings`' matter.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::durable;
use crate::service::name::{InvalidServiceName, ServiceName};

/// Whose property it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One service's own.
    Service(ServiceName),
    /// Every service's, unless it has its own.
    Global,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.pad(name.as_str()),
            Self::Global => f.pad("--global"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidServiceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "--global" { Ok(Self::Global) } else { text.parse().map(Self::Service) }
    }
}

/// The plugin's properties.
#[derive(Debug, Clone)]
pub struct Properties {
    folder: PathBuf,
}

impl Properties {
    /// Properties in this folder (`Environment::config_folder`), which may not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self, subject: &Subject, property: &str) -> PathBuf {
        self.folder.join(subject.to_string()).join(property)
    }

    /// The stored value, without the newline that an editor leaves; an empty one counts as none.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn get(&self, subject: &Subject, property: &str) -> Result<Option<String>> {
        let path = self.path(subject, property);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim_end_matches('\n').to_owned()).filter(|text| !text.is_empty())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// When it can't be written; the old value is still there then.
    pub fn set(&self, subject: &Subject, property: &str, value: &str) -> Result<()> {
        let path = self.path(subject, property);
        if let Some(folder) = path.parent() {
            durable::make_folder(folder, 0o755)?;
        }
        durable::write(&path, value.as_bytes(), 0o600)
    }

    /// Forgets a value; returns whether there was one.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn unset(&self, subject: &Subject, property: &str) -> Result<bool> {
        durable::remove(&self.path(subject, property))
    }

    /// Forgets all that is stored of a subject but these properties: for a service that was destroyed.
    ///
    /// # Errors
    /// When something can't be removed.
    pub fn destroy(&self, subject: &Subject, but: &[&str]) -> Result<()> {
        let path = self.folder.join(subject.to_string());
        let removed = (|| {
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if !but.iter().any(|kept| entry.file_name() == *kept) {
                    fs::remove_file(entry.path())?;
                }
            }
            match fs::remove_dir(&path) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            }
        })();
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{} can't be removed", path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keeps_subjects_apart() {
        let folder = tempfile::tempdir().unwrap();
        let properties = Properties::new(folder.path().join("config/pgbackup"));
        let prod = Subject::Service("prod".parse().unwrap());
        assert_eq!(properties.get(&prod, "region").unwrap(), None);
        properties.set(&prod, "region", "eu-central-1").unwrap();
        properties.set(&Subject::Global, "region", "us-east-1").unwrap();
        assert_eq!(properties.get(&prod, "region").unwrap().as_deref(), Some("eu-central-1"));
        let file = folder.path().join("config/pgbackup/prod/region");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(folder.path().join("config/pgbackup/--global/region").exists());
        assert!(properties.unset(&prod, "region").unwrap());
        assert!(!properties.unset(&prod, "region").unwrap());
        properties.set(&prod, "region", "eu-central-1").unwrap();
        properties.set(&prod, "encryption", "kept").unwrap();
        properties.destroy(&prod, &["encryption"]).unwrap();
        assert_eq!(properties.get(&prod, "region").unwrap(), None);
        assert_eq!(properties.get(&prod, "encryption").unwrap().as_deref(), Some("kept"));
        properties.destroy(&prod, &[]).unwrap();
        properties.destroy(&prod, &[]).unwrap();
        assert!(!folder.path().join("config/pgbackup/prod").exists());
        assert_eq!(properties.get(&Subject::Global, "region").unwrap().as_deref(), Some("us-east-1"));
    }

    #[test]
    fn forgives_an_editors_newline() {
        let folder = tempfile::tempdir().unwrap();
        let properties = Properties::new(folder.path());
        properties.set(&Subject::Global, "region", "eu-west-1\n").unwrap();
        assert_eq!(properties.get(&Subject::Global, "region").unwrap().as_deref(), Some("eu-west-1"));
    }
}
