//! `encryption:test`: proves that what is encrypted here can be decrypted again, before that is needed.
//!
//! A probe is encrypted as a backup would be and decrypted with what is given; then the beginning of the newest encrypted backup is
//! decrypted. A backup that nobody can decrypt looks as good as any other until the worst day.

use std::io::{self, Read, Write};

use anyhow::{Result, anyhow};

use crate::archive::encryption::{self, Recipient, Secrets};
use crate::commands::Context;
use crate::commands::backups;
use crate::commands::encryption::in_force::{How, InForce};
use crate::commands::encryption::unlock::{Unlock, explain};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::store::{Store, StoreError};

/// Length of the probe.
const PROBE: usize = 64 << 10;
/// How much of a backup is decrypted: enough for its first packets.
const ENOUGH: u64 = 64 << 10;

/// Prove that backups can be decrypted
///
/// A probe is encrypted as the backups of the service are and decrypted with what is given: the passphrase that is set or the one
/// in a file, or a private key. Then the beginning of the newest encrypted backup is decrypted. Nothing is written anywhere.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [--private-key FILE] [--passphrase-file FILE]",
    after_help = "Prove that the passphrase that is written down elsewhere is the one that is set

    dokku pgbackup:encryption:test lollipop --passphrase-file - < passphrase.txt

Prove that a private key opens what is encrypted for its public key

    dokku pgbackup:encryption:test lollipop --private-key - < key.asc"
)]
pub struct Args {
    /// The service whose backups are encrypted
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub unlock: Unlock,
}

/// Tries it.
///
/// # Errors
/// When backups are not encrypted, or can't be decrypted with what is given.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let subject = Subject::Service(name.clone());
    let in_force = InForce::of(context, &subject)?;
    let Some(recipient) = in_force.recipient(context, &subject)? else {
        return Err(Failure::failed(format!("The backups of {name} are not encrypted"))
            .hint(format!("Encrypt them: dokku pgbackup:encryption {name} --passphrase"))
            .into());
    };
    if matches!(in_force.how, How::PublicKey(_)) && args.unlock.private_key.is_none() {
        return Err(Failure::usage(format!(
            "The backups of {name} are encrypted for a public key: please give its private key"
        ))
        .hint(format!("dokku pgbackup:encryption:test {name} --private-key - < key.asc"))
        .into());
    }
    let secrets = args.unlock.secrets(context, name, false)?;

    context.ui.step(format!("Decrypting a probe that was encrypted with {}", in_force.describe()));
    comes_back(&recipient, &secrets)?;
    context.ui.detail("It came back as it was");

    let tried = match context.settings(name)?.destination {
        Some(_) => newest(context, name, context.store(&service)?.as_ref(), &secrets)?,
        None => None,
    };
    let and = tried.map(|key| format!(", and {key} too")).unwrap_or_default();
    context.ui.outcome(format!("New backups of {name} can be decrypted{and}"), "");
    Ok(())
}

/// Encrypts something and decrypts it again.
///
/// # Errors
/// When it can't be decrypted with these, or is something else then.
pub(crate) fn comes_back(recipient: &Recipient, secrets: &Secrets) -> Result<()> {
    let probe = probe()?;
    let mut sealed = Vec::new();
    encryption::seal(probe.as_slice(), &mut sealed, recipient)?;
    let opened = encryption::open(io::Cursor::new(sealed), secrets).map_err(|error| explain(error, "The probe"))?;
    let mut back = Vec::new();
    // No more than a little too much: what comes back is compared.
    let mut limited = opened.reader.take(2 * PROBE as u64);
    limited.read_to_end(&mut back)?;
    if back != probe {
        return Err(Failure::failed("The probe did not come back as it was").into());
    }
    Ok(())
}

/// Something that begins as an archive does.
fn probe() -> Result<Vec<u8>> {
    let mut random = vec![0; PROBE];
    getrandom::fill(&mut random).map_err(|error| anyhow!("The system gives no random numbers: {error}"))?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&random)?;
    Ok(gzip.finish()?)
}

/// Decrypts the beginning of the newest encrypted backup; its key. Where this host may not read it, that is said and no more.
fn newest(context: &Context, name: &ServiceName, store: &dyn Store, secrets: &Secrets) -> Result<Option<String>> {
    let catalog = backups::catalog(name, store, context)?;
    let Some(backup) = catalog.backups.iter().find(|backup| backup.key.encrypted()) else {
        context.ui.detail("There is no encrypted backup yet");
        return Ok(None);
    };
    let key = backup.key.to_string();
    context.ui.step(format!("Decrypting the beginning of {key}"));
    match beginning(&key, store, secrets) {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Denied { .. }))) => {
            context.ui.warn(format!("It can't be tried: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(explain(error, &key)),
    }
}

/// Decrypts the beginning of an object.
///
/// # Errors
/// When it can't be read, or the secrets don't open it.
pub(crate) fn beginning(name: &str, store: &dyn Store, secrets: &Secrets) -> Result<()> {
    let opened = encryption::open(store.open(name)?, secrets)?;
    io::copy(&mut opened.reader.take(ENOUGH), &mut io::sink())?;
    Ok(())
}
