//! `pgbackup:release`: ends what `hold` began; of a single backup it also says that nothing is wrong with it.

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::commands::Context;
use crate::commands::backups::find;
use crate::error::Failure;
use crate::holds::Holds;
use crate::manifest::Manifest;
use crate::service::Service;
use crate::service::name::ServiceName;

/// Let backups be deleted again
///
/// Ends pgbackup:hold. With a backup given that one is no longer held. A backup that is marked as suspicious counts as right from
/// then on: the next ones are compared with it and the older ones are no longer kept because of it.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [<backup>]",
    after_help = "The incident is over

    dokku pgbackup:release lollipop

The rows that a suspicious backup has lost were meant to go

    dokku pgbackup:release lollipop latest"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of the key that fits only one or latest
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
}

/// Releases.
///
/// # Errors
/// When there is no such service or backup, when nothing is held, or it can't be written down.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let folder = context.environment.data_folder().join(name.as_str());
    let Some(backup) = &args.backup else {
        let mut holds = Holds::read(&folder)?;
        if holds.service.take().is_none() {
            context.ui.warn(format!("The backups of {name} are not held"));
            return Ok(());
        }
        holds.write(&folder)?;
        context.ui.outcome(format!("Released the backups of {name}"), "");
        return Ok(());
    };
    let store = context.store(&service)?;
    let (_, mut backup) = find(&Selector::new(Some(backup), None)?, name, store.as_ref(), context)?;
    let suspicious = backup.read_manifest(store.as_ref())?.is_some_and(Manifest::is_suspicious);
    let mut holds = Holds::read(&folder)?;
    let key = backup.key.to_string();
    let was_held = holds.backups.remove(&key).is_some();
    let was_suspicious = suspicious && holds.released.insert(key.clone(), context.now()).is_none();
    if !was_held && !was_suspicious {
        return Err(Failure::failed(format!("{key} is neither held nor suspicious"))
            .hint(format!("See which ones are: dokku pgbackup:list {name}"))
            .into());
    }
    holds.write(&folder)?;
    context.ui.outcome(format!("Released {key}"), &key);
    if was_suspicious {
        context.ui.detail("It counts as right now: the next backups are compared with it");
    }
    Ok(())
}
