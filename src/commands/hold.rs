//! `pgbackup:hold`: the switch for the day of an accident. Until it is released nothing of the service is pruned or deleted.
//!
//! It takes effect at once, also while a backup or a pruning runs: it waits for no lock, and pruning looks at it before each deletion.

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::commands::Context;
use crate::commands::backups::find;
use crate::error::Failure;
use crate::holds::{Hold, Holds};
use crate::service::Service;
use crate::service::name::ServiceName;

/// Keep the backups of a service from being deleted
///
/// The switch for the day of an accident: until pgbackup:release nothing of the service is pruned or deleted and new backups are
/// marked as taken during the incident. With a backup given that one alone is kept: whatever the rules say it is never pruned.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [<backup>] [--reason TEXT]",
    after_help = "Stop all deleting while you look into an accident

    dokku pgbackup:hold lollipop --reason \"users gone since 11:30\"

Keep one backup for good

    dokku pgbackup:hold lollipop postgres-lollipop-2023-04-03-11-00-04.tgz --reason \"end of the fiscal year\""
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of the key that fits only one or latest
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// Why, for those who read the list later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Holds.
///
/// # Errors
/// When there is no such service or backup, or it can't be written down.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let service = Service::find(&context.environment.lib_root, name)?;
    let reason = args.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty()).map(str::to_owned);
    let hold = Hold { since: context.now(), reason };
    let folder = context.environment.data_folder().join(name.as_str());
    let Some(backup) = &args.backup else {
        let mut holds = Holds::read(&folder)?;
        let since = holds.service.as_ref().map_or(hold.since, |before| before.since);
        holds.service = Some(Hold { since, ..hold });
        holds.write(&folder)?;
        context.ui.outcome(format!("Holding all backups of {name}"), "");
        context
            .ui
            .detail("Nothing of it is pruned or deleted, and new backups are marked as taken during the incident");
        context.ui.detail(format!("When it is over: dokku pgbackup:release {name}"));
        return Ok(());
    };
    let store = context.store(&service)?;
    let (_, backup) = find(&Selector::new(Some(backup), None)?, name, store.as_ref(), context)?;
    let mut holds = Holds::read(&folder)?;
    holds.backups.insert(backup.key.to_string(), hold);
    holds.write(&folder)?;
    context.ui.outcome(format!("Holding {}", backup.key), &backup.key.to_string());
    context.ui.detail("It is never pruned; this host alone knows of that");
    Ok(())
}

/// Refuses while the service is held.
///
/// # Errors
/// When it is, with how to end that.
pub fn refuse_while_held(holds: &Holds, service: &ServiceName) -> Result<(), Failure> {
    match &holds.service {
        None => Ok(()),
        Some(hold) => Err(Failure::failed(format!("The backups of {service} are held {}", hold.describe()))
            .hint(format!("Nothing was deleted; when the incident is over: dokku pgbackup:release {service}"))),
    }
}
