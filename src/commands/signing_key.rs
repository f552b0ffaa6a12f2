//! `pgbackup:signing-key`: the key that proves which backups are this host's own.

use anyhow::Result;
use serde::Serialize;

use crate::commands::Context;
use crate::commands::arguments::Output;
use crate::error::Failure;
use crate::signing::{Keys, PublicKey};

/// Show or move the key that signs backups
///
/// Each backup's description is signed with a key of this host and through it every byte of the backup: what was changed or replaced in the
/// store is refused by restore and verify and check. The key is made by the first backup or by this command. Keep a copy in
/// another place: a new host that imports it knows the backups of the lost one.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "[--secret|--public|--import|--forget ID] [--format json]",
    after_help = "Show which keys this host knows

    dokku pgbackup:signing-key

Keep the key in another place

    ssh dokku@host pgbackup:signing-key --secret > signing-key.txt

Take it to a new host

    ssh dokku@new-host pgbackup:signing-key --import < signing-key.txt

Let another host check the backups of this one

    ssh dokku@host pgbackup:signing-key --public | ssh dokku@other pgbackup:signing-key --import"
)]
pub struct Args {
    /// Print the key that signs; who has it can make backups that this host takes for its own
    #[arg(long, conflicts_with_all = ["public", "import", "forget", "format"])]
    pub secret: bool,
    /// Print its public half for other hosts
    #[arg(long, conflicts_with_all = ["import", "forget", "format"])]
    pub public: bool,
    /// Take a key from standard input: a secret one signs from now on; a public one is trusted
    #[arg(long, conflicts_with_all = ["forget", "format"])]
    pub import: bool,
    /// No longer trust the public key with this id
    #[arg(long, value_name = "ID", conflicts_with = "format")]
    pub forget: Option<String>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A key as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    made: jiff::Timestamp,
    public: String,
    signs: bool,
}

impl Row {
    fn of(key: &PublicKey, signs: bool) -> Self {
        Self { id: key.id(), made: key.made, public: key.text(), signs }
    }
}

/// Shows, makes, exports or imports it.
///
/// # Errors
/// When the keys can't be read or kept, or what was given is no key.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let data = context.environment.data_folder();
    let mut keys = Keys::read(&data)?;
    if args.import {
        let text = context.ui.passphrase("signing key")?;
        let key = keys.import(&data, &text).map_err(|error| {
            Failure::failed("That is not a signing key")
                .because(error)
                .hint("Print one on the other host: dokku pgbackup:signing-key --secret, or --public")
        })?;
        let signs = keys.signing().is_some_and(|signing| signing.id() == key.id());
        let what = if signs { "signs the backups of this host from now on" } else { "is trusted" };
        context.ui.outcome(format!("The key {} {what}", key.id()), &key.id());
        return Ok(());
    }
    if let Some(id) = &args.forget {
        if !keys.forget(&data, id)? {
            return Err(Failure::failed(format!("No public key with the id {id:?} is trusted"))
                .hint("See which are: dokku pgbackup:signing-key")
                .into());
        }
        context.ui.outcome(format!("The key {id} is not trusted any more"), "");
        return Ok(());
    }
    let new = keys.make(&data, context.now())?;
    let Some(signing) = keys.signing() else { return Err(Failure::failed("There is no signing key").into()) };
    if args.secret || args.public {
        context.ui.reserve_output();
        let secret = keys.secret_text().filter(|_| args.secret);
        return context.ui.line(secret.map_or_else(|| signing.text(), |secret| secret.reveal().to_owned()));
    }
    if args.output.is_json() {
        let trusted = keys.trusted().iter().map(|key| Row::of(key, false));
        return context.ui.json(&[Row::of(&signing, true)].into_iter().chain(trusted).collect::<Vec<_>>());
    }
    context.ui.header(if new { "A new key signs the backups of this host" } else { "Signing keys of this host" });
    context.ui.line(format!("       {}  signs since {}", signing.id(), signing.made))?;
    for key in keys.trusted() {
        context.ui.line(format!("       {}  trusted, made {}", key.id(), key.made))?;
    }
    if new {
        context.ui.detail("Keep it in another place: dokku pgbackup:signing-key --secret");
    }
    Ok(())
}
