//! How the backups of a service are encrypted: its own setting, else that for all services, else dokku-postgres's.

use std::fmt;

use anyhow::Result;

use crate::archive::encryption::{PublicKey, Recipient};
use crate::commands::Context;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::secret::Secret;
use crate::service::Service;
use crate::service::encryption::BackupEncryption;
use crate::settings::OwnEncryption;

/// What is in force, and who has set it.
#[derive(Debug)]
pub struct InForce {
    /// How backups are encrypted.
    pub how: How,
    /// Who says so; nobody where nothing is set.
    pub origin: Option<Origin>,
}

/// How backups are encrypted.
#[derive(Debug)]
pub enum How {
    /// Not at all: nothing is set.
    Plain,
    /// Not at all, on purpose.
    Off,
    /// With a passphrase.
    Passphrase(Secret),
    /// With a public key.
    PublicKey(Box<PublicKey>),
    /// With a public key of which only the id is known here.
    PublicKeyId(String),
}

/// Who has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `pgbackup:encryption` for this subject.
    Own(Subject),
    /// dokku-postgres, for the service.
    DokkuPostgres,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(subject) => write!(f, "pgbackup:encryption {subject}"),
            Self::DokkuPostgres => f.write_str("dokku-postgres"),
        }
    }
}

impl InForce {
    /// What holds for a subject.
    ///
    /// # Errors
    /// When something is set and can't be read: taking that for "not encrypted" would save in clear what was to be encrypted.
    pub fn of(context: &Context, subject: &Subject) -> Result<Self> {
        let properties = context.properties();
        let subjects = if *subject == Subject::Global { vec![subject] } else { vec![subject, &Subject::Global] };
        for subject in subjects {
            let how = match OwnEncryption::read(&properties, subject)? {
                None => continue,
                Some(OwnEncryption::Off) => How::Off,
                Some(OwnEncryption::Passphrase(passphrase)) => How::Passphrase(passphrase),
                Some(OwnEncryption::PublicKey(armored)) => {
                    How::PublicKey(Box::new(PublicKey::parse(armored.as_bytes()).map_err(|error| {
                        Failure::failed(format!("The public key that is set for {subject} can't be used"))
                            .because(error)
                            .hint(format!("Set it anew: dokku pgbackup:encryption {subject} --public-key FILE"))
                    })?))
                }
            };
            return Ok(Self { how, origin: Some(Origin::Own(subject.clone())) });
        }
        let Subject::Service(name) = subject else { return Ok(Self { how: How::Plain, origin: None }) };
        let service = Service::find(&context.environment.lib_root, name)?;
        let origin = Some(Origin::DokkuPostgres);
        Ok(match BackupEncryption::read(&service)? {
            None => Self { how: How::Plain, origin: None },
            Some(BackupEncryption::Passphrase(passphrase)) => Self { how: How::Passphrase(passphrase), origin },
            Some(BackupEncryption::PublicKeyId(id)) => Self { how: How::PublicKeyId(id), origin },
        })
    }

    /// Who will be able to read a backup that is taken now; `None` where it is not to be encrypted.
    ///
    /// # Errors
    /// When it is to be encrypted and can't be: it is never saved in clear instead.
    pub fn recipient(&self, context: &Context, subject: &Subject) -> Result<Option<Recipient>> {
        match &self.how {
            How::Plain | How::Off => Ok(None),
            How::Passphrase(passphrase) => Ok(Some(Recipient::Passphrase(passphrase.clone()))),
            How::PublicKey(key) => {
                if key.expired() {
                    context.ui.warn(format!("The public key {} has expired; it is still used", key.fingerprint()));
                }
                Ok(Some(Recipient::Key(key.clone())))
            }
            How::PublicKeyId(id) => Err(Failure::failed(format!(
                "dokku-postgres encrypts the backups of {subject} for the public key {id}, of which only the id is known here, and \
                 pgbackup asks no key server for it"
            ))
            .hint(format!("Give the key itself: gpg --export --armor {id} | dokku pgbackup:encryption {subject} --public-key -"))
            .hint(format!("To back up without encryption, on purpose: dokku pgbackup:encryption {subject} --off"))
            .into()),
        }
    }

    /// The passphrase, where it is one.
    pub fn passphrase(&self) -> Option<&Secret> {
        match &self.how {
            How::Passphrase(passphrase) => Some(passphrase),
            _ => None,
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let how = match &self.how {
            How::Plain => return "backups are not encrypted".to_owned(),
            How::Off => "off".to_owned(),
            How::Passphrase(_) => "a passphrase".to_owned(),
            How::PublicKey(key) => format!("the public key {}", key.fingerprint()),
            How::PublicKeyId(id) => format!("the public key {id}"),
        };
        match &self.origin {
            Some(origin) => format!("{how} (set by {origin})"),
            None => how,
        }
    }
}
