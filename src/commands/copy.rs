//! `pgbackup:copy`: what the second destination lacks, copied now instead of after the next backup.

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::commands::backups::{catalog, copies, find};
use crate::commands::context::Context;
use crate::commands::copying::{self, Listed};
use crate::commands::turn::{self, Waiting};
use crate::commands::{prune, upload};
use crate::copies::Copies;
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;
use crate::text::count;

/// Copy backups to the second destination
///
/// Each backup is copied to the place that the property copy-to names as soon as it is saved. This copies now what could not be
/// copied then. With a backup given that one; with --everything also those that are older than the property. A copy is read from
/// the first destination and compared with its manifest on the way. The service may be stopped.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [<backup>] [--everything] [--wait [DURATION]]",
    after_help = "Copy each backup of lollipop to another bucket from now on

    dokku pgbackup:set lollipop copy-to s3://my-other-backups

Copy those that there are already

    dokku pgbackup:copy lollipop --everything

Copy again what could not be copied

    dokku pgbackup:copy lollipop"
)]
pub struct Args {
    /// The service whose backups are copied
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// The backup: its key or any part of the key that fits only one or latest
    #[arg(value_name = "backup", conflicts_with_all = ["all", "everything"])]
    pub backup: Option<String>,
    /// Copy the backups of every service that has a second destination
    #[arg(long)]
    pub all: bool,
    /// Also those that were made before copy-to was set
    #[arg(long)]
    pub everything: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Copies.
///
/// # Errors
/// When something is not copied; with `--all` the others are still copied.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if let Some(name) = &args.service {
        return one(args, context, name);
    }
    let mut failed = Vec::new();
    for name in context.visible_services()? {
        // What is wrong with the settings of one is its own failure, below.
        if context.settings(&name).is_ok_and(|settings| settings.copy.is_none()) {
            continue;
        }
        if let Err(error) = one(args, context, &name) {
            crate::interrupt::check()?;
            context.ui.fail(&Failure::from_error(error).of(&name));
            failed.push(name);
        }
    }
    context.ui.record(None);
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = failed.iter().map(ServiceName::as_str).collect();
    Err(Failure::failed(format!("Not copied: {}", names.join(", "))).into())
}

fn one(args: &Args, context: &Context, name: &ServiceName) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "copy", args.waiting.patience())?;
    upload::sweep(context, &service);
    let first = context.store(&service)?;
    let first = first.as_ref();
    let chosen: Option<Vec<BackupKey>> = if let Some(backup) = &args.backup {
        Some(vec![find(&Selector::new(Some(backup), None)?, name, first, context)?.1.key])
    } else if args.everything {
        let catalog = catalog(name, first, context)?;
        if let Some(reason) = &catalog.not_listed {
            return Err(Failure::failed(format!("Which backups of {name} there are is not known: {reason}")).into());
        }
        Some(catalog.backups.into_iter().map(|backup| backup.key).collect())
    } else {
        None
    };
    let everything = args.everything;
    let choose = |state: &Copies, present: Option<&Listed>| {
        let Some(chosen) = chosen else {
            return state.missing.iter().cloned().chain(copying::gone(state, present)).collect();
        };
        let is_there = |key: &BackupKey| match present {
            Some(present) => present.contains(key),
            None => state.copied.contains_key(key),
        };
        chosen.into_iter().filter(|key| !everything || !is_there(key)).collect()
    };
    let copied = copying::copy(context, &service, first, &lock, choose)?;
    if copied == 0 {
        context.ui.outcome(format!("Nothing of {name} is missing in its second destination"), "");
        let older = copies(name, context).map_or(0, |copies| copies.older as u64);
        if older > 0 {
            let older = count(older, "backup");
            context.ui.detail(format!("{older} from before it was set can be copied as well:"));
            context.ui.detail(format!("dokku pgbackup:copy {name} --everything"));
        }
        return Ok(());
    }
    prune::copies_after(context, &service, &lock);
    context.ui.outcome(format!("Copied {} of {name}", count(copied, "backup")), "");
    Ok(())
}
