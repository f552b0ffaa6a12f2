//! The question before a database is replaced. It is asked while the service is free: backups don't wait for somebody who has gone to lunch.
//!
//! So much may happen before the answer: what was shown counts only for the database that it was shown of.

use anyhow::Result;

use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::turn;
use crate::database::session;
use crate::error::Failure;
use crate::lock::Lock;
use crate::service::{RunningService, Service};

/// Asks for the service's name and takes the service again; then `still` looks whether all else that was shown is still so. With `--force`
/// nothing is asked, the service stays taken and nothing has to be looked at again.
///
/// # Errors
/// When another word is typed, nobody can be asked, the database was replaced meanwhile, or `still` says so.
pub fn confirm(
    context: &Context,
    (running, lock): (RunningService, Lock),
    doing: &str,
    warning: &str,
    still: impl FnOnce(&RunningService) -> Result<()>,
) -> Result<(RunningService, Lock)> {
    if context.environment.force {
        return Ok((running, lock));
    }
    let name = &running.service.name;
    let asked_of = session::identity(&running)?;
    drop(lock);
    context.confirm(warning, name)?;
    let lock = turn::again(context, name, doing)?;
    // Another address, other links, another password: whatever was changed meanwhile.
    let running = Service::find(&context.environment.lib_root, name)?.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    if session::identity(&running)? != asked_of {
        return Err(otherwise(&running, "its database was replaced"));
    }
    still(&running)?;
    Ok((running, lock))
}

/// The failure of who has said yes to something that is no longer so.
pub fn otherwise(running: &RunningService, what: &str) -> anyhow::Error {
    let name = &running.service.name;
    Failure::failed(format!("While you were asked about {name} {what}: nothing was done"))
        .hint(format!("See what was done to it meanwhile: dokku pgbackup:history {name}"))
        .hint("Then give the command again: it shows what it would do now")
        .into()
}
