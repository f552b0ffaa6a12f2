//! What runs by itself: the schedule of dokku-postgres.

use std::time::Duration;

use anyhow::Result;

use super::bounded::bounded;
use super::finding::{Finding, Group};
use crate::commands::context::Context;
use crate::service::arrangement::Scheduled;
use crate::service::name::ServiceName;

/// Another plugin's command is a shell script that starts others.
const LIMIT: Duration = Duration::from_secs(10);

/// Looks at the schedules of a service.
///
/// # Errors
/// When we were asked to stop.
pub fn examine(context: &Context, service: &ServiceName) -> Result<Vec<Finding>> {
    let (enabled, name) = (context.environment.plugin_enabled_path.clone(), service.clone());
    let theirs = bounded(LIMIT, move || Ok(Scheduled::of(&name, &enabled)?));
    crate::interrupt::check()?;
    Ok(vec![match theirs {
        Ok(Some(theirs)) => {
            Group::Schedule.ok("schedule", format!("dokku-postgres backs up at {} into {}", theirs.cron, theirs.bucket))
        }
        Ok(None) => Group::Schedule
            .warn("schedule", "Nothing is scheduled: backups are taken by hand alone")
            .fix(format!("Let cron run it each night: dokku --quiet pgbackup:backup {service}")),
        Err(error) => Group::Schedule.failed("schedule", error),
    }])
}
