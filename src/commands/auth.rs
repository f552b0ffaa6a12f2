//! `pgbackup:auth`: keys of a store that belong to pgbackup alone.
//!
//! The secret comes through standard input: arguments can be read by every user of the host while a command runs
//! (`postgres:backup-auth` takes it there).

use anyhow::Result;

use crate::commands::Context;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::Service;
use crate::service::credentials::BackupAuth;
use crate::settings::{Auth, KeysOf, OwnKeys, Settings};

/// Set or clear the keys that open the store
///
/// The secret access key is read from standard input or asked for without showing it; it is never an argument. Not needed
/// where the host has an instance role or where dokku postgres:backup-auth has set keys: those are used by themselves.
/// Temporary keys have a session token: it is read after the secret as a line of its own and the keys end with it.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--global <access-key-id>|--clear [--session-token] [--copy]",
    after_help = "Set the keys for lollipop and type the secret when asked

    dokku pgbackup:auth lollipop AKIAIOSFODNN7EXAMPLE

Set the keys for all services from a file

    dokku pgbackup:auth --global AKIAIOSFODNN7EXAMPLE < secret.txt

Set temporary keys: the file has the secret in its first line and the session token in its second

    dokku pgbackup:auth lollipop ASIAIOSFODNN7EXAMPLE --session-token < keys.txt

Set the keys for the second destination of lollipop

    dokku pgbackup:auth lollipop AKIAI44QH8DHBEXAMPLE --copy

Forget the keys of lollipop

    dokku pgbackup:auth lollipop --clear"
)]
pub struct Args {
    /// The service, or --global for all services that have no keys of their own
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Subject,
    /// The id of the key; the secret to it is read from standard input
    #[arg(value_name = "access-key-id", required_unless_present = "clear")]
    pub access_key_id: Option<String>,
    /// Read a session token too: the keys are temporary
    #[arg(long, conflicts_with = "clear")]
    pub session_token: bool,
    /// Forget the keys
    #[arg(long, conflicts_with = "access_key_id")]
    pub clear: bool,
    /// The keys for the second destination (property copy-to) where they are others
    #[arg(long)]
    pub copy: bool,
}

/// How the ids of AWS's temporary keys begin; those of lasting ones begin with `AKIA`.
const TEMPORARY: &str = "ASIA";

/// Sets or clears them.
///
/// # Errors
/// When there is no such service, or no secret comes in.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let (subject, properties) = (&args.service, context.properties());
    let of = if args.copy { KeysOf::Copy } else { KeysOf::Destination };
    let names = of.properties();
    let Some(id) = &args.access_key_id else {
        context.ui.header(format!("Unsetting {} and {}", names.id, names.secret));
        OwnKeys::clear(&properties, subject, of)?;
        return Ok(());
    };
    context.require(subject)?;
    if id.is_empty() || id.len() > 256 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Failure::usage(format!("{id:?} is not the id of an access key")).into());
    }
    let secret_access_key = context.ui.secret("secret access key")?;
    let session_token = args.session_token.then(|| context.ui.secret("session token")).transpose()?;
    context.ui.header(format!("Setting {} to {id}", names.id));
    context.ui.header(format!("Setting {}", names.secret));
    if session_token.is_some() {
        context.ui.header(format!("Setting {}", names.token));
    } else if id.starts_with(TEMPORARY) {
        context.ui.warn(format!(
            "{id} looks like a temporary key of AWS, which opens nothing without its session token: give it with --session-token"
        ));
    }
    OwnKeys { access_key_id: id.clone(), secret_access_key, session_token }.write(&properties, subject, of)?;
    if let (Subject::Service(name), KeysOf::Destination) = (subject, of) {
        let service = Service::find(&context.environment.lib_root, name)?;
        if let Some(what) = address_left_behind(&service, &context.settings(name)?) {
            context.ui.warn(what);
        }
    }
    Ok(())
}

/// The address that was given to `postgres:backup-auth` belongs to those keys alone: says so where other keys are used and no address is set
/// for them, with what to type if it is still the store's.
pub(super) fn address_left_behind(service: &Service, settings: &Settings) -> Option<String> {
    let address = BackupAuth::read(service).ok()??.endpoint?;
    let others = settings.own_keys.is_some() && settings.auth != Auth::Service || settings.auth == Auth::Iam;
    (others && settings.endpoint_url.is_none()).then(|| {
        let name = &service.name;
        format!("The address {address} of postgres:backup-auth counts only with its keys: dokku pgbackup:set {name} endpoint-url {address}")
    })
}
