//! `pgbackup:encryption`: whether and how a service's backups are encrypted.
//!
//! A passphrase is never an argument and never shown. A public key is enough to make backups: its private half need not come near
//! this host. Turning encryption off is a word of its own, so that clearing a setting never leads to a backup in clear that nobody
//! asked for where dokku-postgres's own encryption is set.

pub mod in_force;
pub mod unlock;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::archive::encryption::{KeyError, PublicKey};
use crate::commands::Context;
use crate::commands::arguments::Output;
use crate::commands::encryption::in_force::{How, InForce};
use crate::commands::encryption::unlock::read_key;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::settings::{self, OwnEncryption};
use crate::ui::{Column, Table};

/// Encrypt backups or show how they are encrypted
///
/// With a passphrase, which is read from standard input or asked for twice without showing it, and is never an argument; or for a
/// public key, whose private half is then needed to restore. Backups are OpenPGP messages that gpg can decrypt. What dokku
/// postgres:backup-set-encryption has set is used by itself where nothing is set here. Without a flag it is shown what is in force.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--global [--passphrase|--public-key FILE|--off|--clear] [--format json]",
    after_help = "Encrypt the backups of lollipop with a passphrase and type it when asked

    dokku pgbackup:encryption lollipop --passphrase

Take the passphrase from a file

    dokku pgbackup:encryption lollipop --passphrase < passphrase.txt

Encrypt the backups of all services for a public key

    gpg --export --armor ops@example.com | dokku pgbackup:encryption --global --public-key -

Show what is in force

    dokku pgbackup:encryption lollipop

Prove that the backups can be decrypted

    dokku pgbackup:encryption:test lollipop"
)]
pub struct Args {
    /// The service, or --global for all services that have nothing of their own
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Subject,
    /// Encrypt with a passphrase
    #[arg(long, conflicts_with_all = ["public_key", "off", "clear", "format"])]
    pub passphrase: bool,
    /// Encrypt for the public key in this file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["off", "clear", "format"])]
    pub public_key: Option<PathBuf>,
    /// Don't encrypt, even where dokku-postgres does or a passphrase or key is set for all services
    #[arg(long, conflicts_with_all = ["clear", "format"])]
    pub off: bool,
    /// Forget what was set here
    #[arg(long, conflicts_with = "format")]
    pub clear: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// What `--format json` shows; fields are only ever added.
#[derive(Debug, Serialize)]
struct Report {
    subject: String,
    encryption: &'static str,
    set_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

/// Sets, clears or shows it.
///
/// # Errors
/// When there is no such service, or what was given is no passphrase or no usable key; what was set before is still set then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let subject = &args.service;
    let properties = context.properties();
    if !args.clear {
        context.require(subject)?;
    }
    if args.passphrase {
        let passphrase = context.ui.new_passphrase("passphrase")?;
        OwnEncryption::Passphrase(passphrase).write(&properties, subject)?;
        context.ui.header(format!("Setting {} to a passphrase", settings::ENCRYPTION));
        context.ui.detail("Keep the passphrase in another place too: without it nobody can restore these backups");
    } else if let Some(path) = &args.public_key {
        if path.as_os_str() == "-" && io::stdin().is_terminal() {
            return Err(Failure::usage("A key is expected on standard input, but that is a terminal")
                .hint(format!(
                    "Pipe it in: gpg --export --armor ID | dokku pgbackup:encryption {subject} --public-key -"
                ))
                .into());
        }
        let key = PublicKey::parse(&read_key(path, "--public-key")?).map_err(|error| unusable(error, subject))?;
        if key.expired() {
            return Err(unusable(KeyError::Expired, subject).into());
        }
        let armored = key.armored().map_err(|error| unusable(error, subject))?;
        OwnEncryption::PublicKey(armored).write(&properties, subject)?;
        context.ui.header(format!("Setting {} to the public key {}", settings::ENCRYPTION, key.fingerprint()));
        for user in key.users() {
            context.ui.detail(user);
        }
        context.ui.detail("Its private key is needed to restore these backups; prove that you have it with:");
        let service = if *subject == Subject::Global { "SERVICE".to_owned() } else { subject.to_string() };
        context.ui.detail(format!("dokku pgbackup:encryption:test {service} --private-key FILE"));
    } else if args.off {
        OwnEncryption::Off.write(&properties, subject)?;
        context.ui.header(format!("Setting {} to off", settings::ENCRYPTION));
        context
            .ui
            .detail("New backups are not encrypted; those that are need their passphrase or private key as before");
    } else if args.clear {
        context.ui.header(format!("Unsetting {}", settings::ENCRYPTION));
        OwnEncryption::clear(&properties, subject)?;
        // Of a service that is gone there is nothing more to say.
        if context.require(subject).is_ok() {
            let now = InForce::of(context, subject)?;
            context.ui.detail(format!("In force now: {}", now.describe()));
        }
    } else {
        return show(args, context);
    }
    Ok(())
}

fn show(args: &Args, context: &Context) -> Result<()> {
    let in_force = InForce::of(context, &args.service)?;
    let key = match &in_force.how {
        How::PublicKey(key) => Some(key),
        _ => None,
    };
    let report = Report {
        subject: args.service.to_string(),
        encryption: match &in_force.how {
            How::Plain => "none",
            How::Off => "off",
            How::Passphrase(_) => "passphrase",
            How::PublicKey(_) => "public-key",
            How::PublicKeyId(_) => "public-key-id",
        },
        set_by: in_force.origin.as_ref().map(ToString::to_string),
        fingerprint: key.map(|key| key.fingerprint()),
        users: key.map(|key| key.users()).unwrap_or_default(),
        expired: key.map(|key| key.expired()),
        key_id: match &in_force.how {
            How::PublicKeyId(id) => Some(id.clone()),
            _ => None,
        },
    };
    if args.output.is_json() {
        context.ui.reserve_output();
        return context.ui.json(&report);
    }
    context.ui.header(format!("{} encryption information", args.service));
    let mut lines = Table::new(&[Column::left(""), Column::left("")]);
    lines.row(["Encryption:", report.encryption]);
    if let Some(set_by) = &report.set_by {
        lines.row(["Set by:", set_by]);
    }
    if let Some(fingerprint) = &report.fingerprint {
        lines.row(["Fingerprint:", fingerprint]);
    }
    for user in &report.users {
        lines.row(["User:", user]);
    }
    if report.expired == Some(true) {
        lines.row(["Expired:", "yes"]);
    }
    if let Some(id) = &report.key_id {
        lines.row(["Key id:", id]);
    }
    for line in lines.lines() {
        context.ui.line(format!("       {line}"))?;
    }
    if matches!(in_force.how, How::PublicKeyId(_))
        && let Err(error) = in_force.recipient(context, &args.service)
    {
        context.ui.fail(&Failure::from_error(error));
    }
    Ok(())
}

fn unusable(error: KeyError, subject: &Subject) -> Failure {
    let export = format!("gpg --export --armor ID | dokku pgbackup:encryption {subject} --public-key -");
    let hint = match &error {
        KeyError::Expired => "Extend it (gpg --quick-set-expire) and give it again".to_owned(),
        KeyError::Revoked | KeyError::CannotEncrypt | KeyError::NotSigned => "Give another key".to_owned(),
        KeyError::Several => format!("Export the one that is meant: {export}"),
        KeyError::NotAKey(_) | KeyError::Private | KeyError::Public => format!("Export the public key: {export}"),
    };
    Failure::failed("The key can't be used").because(error).hint(hint)
}
