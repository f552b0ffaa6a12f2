//! `unschedule`: what ran by itself no longer does.

use anyhow::Result;

use crate::commands::context::Context;
use crate::commands::schedules;
use crate::dokku::crontab;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::schedule::{Name, Planned};
use crate::service::name::ServiceName;

/// Remove a schedule
///
/// Without a name the only one that there is. It ends at once; a run under way goes on to its end.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--name NAME|--every]",
    after_help = "Remove the only schedule of lollipop

    dokku pgbackup:unschedule lollipop

Remove one of several

    dokku pgbackup:unschedule lollipop --name nightly

Remove all that lollipop has of its own

    dokku pgbackup:unschedule lollipop --every"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// A schedule that is for every service
    #[arg(long)]
    pub all: bool,
    /// The schedule's name
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// All schedules that the service has of its own
    #[arg(long, conflicts_with = "name")]
    pub every: bool,
}

/// Removes it.
///
/// # Errors
/// When there is none of that name, or several without one.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let subject = args.service.clone().map_or(Subject::Global, Subject::Service);
    let whose = schedules::whose(&subject);
    if args.every {
        // Also what was spoiled by hand and can't be read.
        if !schedules::forget(context, &subject)? {
            context.ui.warn(format!("{whose} has no schedules"));
        }
        crontab::rewrite()?;
        context.ui.outcome(format!("Nothing of {whose} is scheduled any more"), "");
        return Ok(());
    }
    let removed = schedules::change(context, &subject, |planned| choose(args, &whose, planned))?;
    crontab::rewrite()?;
    context.ui.outcome(format!("{} of {whose} ({}) is not scheduled any more", removed.name, removed.cron), "");
    Ok(())
}

fn choose(args: &Args, whose: &str, planned: &mut Vec<Planned>) -> Result<Planned> {
    let names: Vec<String> = planned.iter().map(|planned| planned.name.to_string()).collect();
    let index = match (&args.name, planned.len()) {
        (_, 0) => None,
        (None, 1) => Some(0),
        (None, _) => {
            return Err(Failure::usage(format!("{whose} has several schedules: {}", names.join(", ")))
                .hint(format!("Name one: dokku pgbackup:unschedule {whose} --name {}", names.join("|")))
                .hint(format!("Or remove them all: dokku pgbackup:unschedule {whose} --every"))
                .into());
        }
        (Some(name), _) => planned.iter().position(|planned| planned.name == *name),
    };
    if let Some(index) = index {
        return Ok(planned.remove(index));
    }
    let what = args.name.as_ref().map_or("no schedule".to_owned(), |name| format!("no schedule {name}"));
    let failure = Failure::failed(format!("{whose} has {what}"));
    Err(if names.is_empty() {
        failure.hint("See what is scheduled with: dokku pgbackup:schedule")
    } else {
        failure.hint(format!("It has: {}", names.join(", ")))
    }
    .into())
}
