//! `pgbackup:checks:remove`: a question that is no longer asked. Backups that have recorded it still compare it.

use anyhow::Result;

use crate::commands::Context;
use crate::commands::checks;
use crate::error::Failure;
use crate::manifest::checks::Name;
use crate::service::Service;
use crate::service::name::ServiceName;

/// Remove a check of a service
///
/// The next backups don't record it any more. Backups that have recorded it are still compared with it when they are restored.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <name>|--all",
    after_help = "Remove the check users of lollipop

    dokku pgbackup:checks:remove lollipop users"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The check
    #[arg(value_name = "name", required_unless_present = "all")]
    pub name: Option<Name>,
    /// Remove all of them
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
}

/// Removes it.
///
/// # Errors
/// When there is no such service or check.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?.name;
    let Some(name) = &args.name else {
        if !checks::forget(context, &service)? {
            return Err(Failure::failed(format!("{service} has no checks")).into());
        }
        context.ui.outcome(format!("Removed all checks of {service}"), "");
        return Ok(());
    };
    let removed = checks::change(context, &service, |checks| Ok(checks.remove(name).is_some()))?;
    if !removed {
        return Err(Failure::failed(format!("{service} has no check {name}"))
            .hint(format!("See which there are: dokku pgbackup:checks {service}"))
            .into());
    }
    context.ui.outcome(format!("Removed the check {name} of {service}"), "");
    Ok(())
}
