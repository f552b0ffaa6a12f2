//! What Dokku and its plugins tell us: one function per trigger, each with a link of its name at the plugin's top.

use std::ffi::{OsStr, OsString};

use anyhow::Result;

use crate::commands::{Context, guards, report, schedules};
use crate::dokku::crontab;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::journal::Journal;
use crate::service::Service;
use crate::service::name::ServiceName;

/// The triggers we answer; a test compares them with the links.
pub const NAMES: &[&str] =
    &["cron-entries", "post-app-clone-setup", "post-app-rename-setup", "post-build", "report", "service-action"];

/// Answers a trigger.
///
/// # Errors
/// What happened; Dokku's own action may be stopped by it.
pub fn run(name: &OsStr, arguments: &[OsString], context: &Context) -> Result<()> {
    match name.to_str() {
        Some("cron-entries") => {
            cron_entries(arguments, context);
            Ok(())
        }
        Some("post-app-clone-setup") => {
            follow_app(arguments, context, true);
            Ok(())
        }
        Some("post-app-rename-setup") => {
            follow_app(arguments, context, false);
            Ok(())
        }
        Some("post-build") => post_build(arguments, context),
        Some("service-action") => service_action(arguments, context),
        Some("report") => report(arguments, context),
        _ => Err(Failure::usage(format!("{} is no trigger of pgbackup", name.display())).into()),
    }
}

/// `report APP`: our part of `dokku report`, for the services that are linked to the app.
fn report(arguments: &[OsString], context: &Context) -> Result<()> {
    let Some(app) = arguments.first().and_then(|app| app.to_str()) else { return Ok(()) };
    let lib_root = &context.environment.lib_root;
    for name in Service::all(lib_root)? {
        // A service that an interrupted postgres:create has left must not spoil everybody's report.
        if Service::find(lib_root, &name).is_ok_and(|service| service.linked_apps.iter().any(|linked| linked == app)) {
            report::report(context, &Subject::Service(name), None, false)?;
        }
    }
    Ok(())
}

/// `cron-entries SCHEDULER`: a line `SCHEDULE;COMMAND;LOGFILE` for each schedule. Never fails, and never prints an empty line: Dokku
/// would drop the lines of every plugin.
fn cron_entries(arguments: &[OsString], context: &Context) {
    if arguments.first().is_none_or(|scheduler| scheduler != crontab::SCHEDULER) {
        return;
    }
    for entry in schedules::all(context, |error| context.ui.fail(&Failure::from_error(error))) {
        // Whoever asked has gone.
        if context.ui.line(entry.line(context)).is_err() {
            return;
        }
    }
}

/// `post-app-rename-setup OLD NEW` and `post-app-clone-setup OLD NEW`: links are read fresh each time, but a restore that was interrupted has
/// noted by its name which app is to be lifted out of maintenance. Never fails: renaming is Dokku's affair.
fn follow_app(arguments: &[OsString], context: &Context, stays: bool) {
    let mut words = arguments.iter().map(|word| word.to_str().unwrap_or_default());
    let (Some(old), Some(new)) = (words.next(), words.next()) else { return };
    for name in Service::all(&context.environment.lib_root).unwrap_or_default() {
        let journal = Journal::at(&context.environment.data_folder().join(name.as_str()));
        if let Err(failure) = journal.follow(old, new, stays) {
            context.ui.warn(format!("That {old} goes by the name {new}, too, can't be noted for {name}: {failure}"));
        }
    }
}

/// `post-build BUILDER APP SOURCE`: the image is built, and nothing of it runs yet, not even the app's `predeploy` script.
fn post_build(arguments: &[OsString], context: &Context) -> Result<()> {
    match arguments.get(1).and_then(|app| app.to_str()) {
        Some(app) => guards::before_deploy(context, app),
        None => Ok(()),
    }
}

/// `service-action ACTION postgres SERVICE`: what happens to a service.
fn service_action(arguments: &[OsString], context: &Context) -> Result<()> {
    let mut words = arguments.iter().map(|word| word.to_str().unwrap_or_default());
    let (Some(action), Some("postgres"), Some(service)) = (words.next(), words.next(), words.next()) else {
        return Ok(());
    };
    let Ok(name) = service.parse::<ServiceName>() else { return Ok(()) };
    match action {
        "pre-delete" => guards::before_destroy(context, &name),
        "post-delete" => {
            // It is gone: nothing that happens here may look like a failure of that.
            let removed = schedules::remove_service(context, &name)
                .and_then(|scheduled| if scheduled { crontab::rewrite() } else { Ok(()) });
            if let Err(error) = removed {
                context.ui.warn(format!("The settings of {name} for backups can't be removed: {error:#}"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
