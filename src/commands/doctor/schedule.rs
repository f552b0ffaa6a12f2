//! What runs by itself: our schedules, whether they are really in the crontab, and the one of dokku-postgres.

use std::time::Duration;

use anyhow::Result;

use super::bounded::bounded;
use super::finding::{Finding, Group};
use crate::commands::context::Context;
use crate::commands::schedules;
use crate::dokku::properties::Subject;
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
    let mut found = ours(context, service);
    let scheduled = !found.is_empty();
    match theirs {
        Ok(Some(theirs)) if scheduled => found.push(
            Group::Schedule
                .warn("schedule", format!("dokku-postgres backs up at {} into {} as well", theirs.cron, theirs.bucket))
                .fix(format!("Let one of them do it: dokku postgres:backup-unschedule {service}")),
        ),
        Ok(Some(theirs)) => found.push(
            Group::Schedule
                .ok("schedule", format!("dokku-postgres backs up at {} into {}", theirs.cron, theirs.bucket)),
        ),
        Ok(None) if scheduled => {}
        Ok(None) => found.push(
            Group::Schedule
                .warn("schedule", "Nothing is scheduled: backups are taken by hand alone")
                .fix(format!("Let them run each night: dokku pgbackup:schedule {service} \"30 3 * * *\"")),
        ),
        Err(error) => found.push(Group::Schedule.failed("schedule", error)),
    }
    Ok(found)
}

/// What is scheduled here, and whether it will run.
fn ours(context: &Context, service: &ServiceName) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut entries = schedules::all(context, |_| {});
    entries.retain(|entry| [Subject::Global, Subject::Service(service.clone())].contains(&entry.subject));
    if entries.is_empty() {
        return found;
    }
    match schedules::not_in_crontab(context, &entries) {
        Ok(absent) if absent.is_empty() => {
            let times: Vec<String> = entries
                .iter()
                .map(|entry| format!("{} at {}", entry.planned.task.as_str(), entry.planned.cron))
                .collect();
            found.push(Group::Schedule.ok("schedule", format!("In the crontab: {}", times.join(", "))));
        }
        Ok(absent) => {
            for entry in absent {
                let (name, whose) = (&entry.planned.name, entry.whose());
                found.push(
                    Group::Schedule
                        .warn("schedule", format!("{name} of {whose} is not in Dokku's crontab and doesn't run"))
                        .fix(format!("Another way to run it: dokku pgbackup:schedule:export {whose}")),
                );
            }
        }
        Err(error) => found.push(Group::Schedule.failed("schedule", error)),
    }
    for missed in schedules::missed(context).into_iter().filter(|missed| {
        entries
            .iter()
            .any(|entry| entry.subject == missed.entry.subject && entry.planned.name == missed.entry.planned.name)
    }) {
        let fix = if missed.killed {
            format!("See what it said: dokku pgbackup:history {service} latest")
        } else {
            "Look whether a cron daemon runs: systemctl status cron".to_owned()
        };
        let what = format!("{} {}", missed.entry.planned.name, missed.what());
        found.push(Group::Schedule.warn("schedule", what).fix(fix));
    }
    found
}
