//! What opens an encrypted backup: gathered before anything is begun, so that nothing is asked half-way.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::archive::encryption::keys::LARGEST;
use crate::archive::encryption::{EncryptionError, KeyError, PrivateKey, Secrets};
use crate::commands::Context;
use crate::commands::encryption::in_force::InForce;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::name::ServiceName;

/// For commands that read backups.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Unlock {
    /// Decrypt with the private key in this file, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// Decrypt with the passphrase in this file instead of the one that is set, or - to type it or pipe it in; with --private-key it is the one of that key
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

impl Unlock {
    /// Reads and asks for what is needed to open backups of a service. `input_is_taken` says that standard input is the backup itself.
    ///
    /// # Errors
    /// When a file can't be read or is no private key, or standard input is wanted twice.
    pub fn secrets(&self, context: &Context, service: &ServiceName, input_is_taken: bool) -> Result<Secrets> {
        let is_input = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
        let wanted = [is_input(&self.private_key), is_input(&self.passphrase_file), input_is_taken];
        if wanted.iter().filter(|wanted| **wanted).count() > 1 {
            return Err(Failure::usage("Standard input can only be one of backup, private key and passphrase")
                .hint("Put the others into files that the user dokku may read")
                .into());
        }
        let private_key = self.private_key.as_deref().map(private_key).transpose()?;
        let mut given = match self.passphrase_file.as_deref() {
            None => None,
            Some(path) if path == Path::new("-") => Some(context.ui.passphrase("passphrase")?),
            Some(path) => {
                let mut file = File::open(path).map_err(|error| unreadable(path, "--passphrase-file", error))?;
                let passphrase = crate::ui::prompt::passphrase_of(&mut file);
                Some(passphrase.with_context(|| format!("{} holds no passphrase", path.display()))?)
            }
        };
        let may_ask = !input_is_taken && !is_input(&self.private_key) && io::stdin().is_terminal();
        if given.is_none() && may_ask && private_key.as_ref().is_some_and(PrivateKey::is_locked) {
            given = Some(context.ui.passphrase("passphrase of the private key")?);
        }
        // What is set is only a default: where it can't be read, that is said when it is needed.
        let set = InForce::of(context, &Subject::Service(service.clone())).ok();
        let passphrase = given.clone().or_else(|| set.and_then(|set| set.passphrase().cloned()));
        Ok(Secrets { passphrase, key_passphrase: given, private_key })
    }
}

fn private_key(path: &Path) -> Result<PrivateKey> {
    let bytes = read_key(path, "--private-key")?;
    PrivateKey::parse(&bytes).map_err(|error| {
        let hint = match &error {
            KeyError::Several => "Export the one that is meant: gpg --export-secret-keys --armor ID > key.asc",
            _ => "Export it: gpg --export-secret-keys --armor ID > key.asc",
        };
        Failure::failed("The private key can't be used").because(error).hint(hint).into()
    })
}

/// Reads the file of a key, or standard input.
///
/// # Errors
/// When it can't be read, or is too large to be a key.
pub fn read_key(path: &Path, flag: &str) -> Result<Vec<u8>> {
    let failed = |error| unreadable(path, flag, error);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::failed(format!("{} is too large to be a key", path.display())).into());
    }
    Ok(bytes)
}

fn unreadable(path: &Path, flag: &str, error: io::Error) -> Failure {
    let failure = Failure::failed(format!("{} can't be read by the user dokku", path.display())).because(error);
    failure.hint(format!("Or hand it over on standard input, from any place: add {flag} - < {}", path.display()))
}

/// Says of an object that can't be opened what opens it.
pub fn explain(error: anyhow::Error, name: &str) -> anyhow::Error {
    let error = match error.downcast::<EncryptionError>() {
        Ok(error) => error,
        Err(error) => return error,
    };
    let by_gpg = format!("Decrypt it by hand: gpg --decrypt {name} | dokku pgbackup:restore <service> - --force");
    let hints: &[&str] = match &error {
        EncryptionError::WrongPassphrase => &[
            "A passphrase that was in force when it was made may be another one than is set now",
            "Give that one with --passphrase-file FILE; --passphrase-file - asks for it, or reads it from standard input",
        ],
        EncryptionError::NoKey { .. } | EncryptionError::OtherKey { .. } => &[
            "Give the right one with --private-key FILE, or --private-key - for standard input",
            "Where the key is, this writes it: gpg --export-secret-keys --armor ID > key.asc",
        ],
        EncryptionError::NoPassphrase | EncryptionError::Locked | EncryptionError::WrongKeyPassphrase => {
            &["Give it with --passphrase-file FILE; --passphrase-file - asks for it, or reads it from standard input"]
        }
        // As it is: whoever keeps a record of damaged backups must find it.
        EncryptionError::Damaged(_) => return anyhow::Error::new(error).context(format!("{name} can't be decrypted")),
        EncryptionError::Unsupported(_) => &[&by_gpg],
    };
    let failure = Failure::failed(format!("{name} can't be decrypted")).because(error);
    hints.iter().fold(failure, |failure, hint| failure.hint(*hint)).into()
}
