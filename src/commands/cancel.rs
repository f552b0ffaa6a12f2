//! `cancel`: ends the run that has a service, as Ctrl-C in its terminal would.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::commands::context::Context;
use crate::error::Failure;
use crate::interrupt;
use crate::lock::{Lock, Owner};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::ui::human;

/// How long a run may take to put everything back.
const PATIENCE: Duration = Duration::from_mins(2);

/// End a run that is under way
///
/// The backup or restore or drill of the service is asked to stop and takes back what it has begun, as with Ctrl-C. Waits until
/// that is done.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>",
    after_help = "End the backup of lollipop that is running

    dokku pgbackup:cancel lollipop"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
}

/// Ends it.
///
/// # Errors
/// When it may not be ended, or doesn't end.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let data = context.environment.data_folder();
    Service::find(&context.environment.lib_root, name)?;
    let Some(owner) = Lock::owner(&data, name) else {
        context.ui.outcome(format!("Nothing is running for {name}"), "");
        return Ok(());
    };
    let what = format!("{} of {name} (pid {}, since {})", owner.doing, owner.pid, human::time(owner.since));
    context.ui.step(format!("Ending the {what}"));
    // That it has ended by itself meanwhile is as good.
    if !owner.ask_to_stop().map_err(|error| {
        Failure::failed(format!("The {what} can't be ended"))
            .because(error)
            .hint(format!("As root: kill {}", owner.pid))
    })? {
        context.ui.outcome(format!("The {what} had just ended"), "");
        return Ok(());
    }
    let began = Instant::now();
    // The lock is what it lets go of last, when all is taken back.
    while holds(&data, name, &owner) {
        interrupt::check()?;
        if began.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("The {what} was asked to stop and is still there"))
                .hint("It may be taking back what it had begun: look again in a moment")
                .hint(format!("See what it says with: dokku pgbackup:history {name} latest"))
                .into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    context.ui.outcome(format!("Ended the {what}; what it had begun is taken back"), "");
    Ok(())
}

fn holds(data: &std::path::Path, name: &ServiceName, owner: &Owner) -> bool {
    Lock::owner(data, name).is_some_and(|now| now.pid == owner.pid && now.process_start == owner.process_start)
}
