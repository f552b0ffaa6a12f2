//! `schedule:adopt`: takes over what `postgres:backup-schedule` has set up.
//!
//! Both generations of dokku-postgres say what they have scheduled by the command `postgres:backup-schedule-cat`, whether it lies in
//! `/etc/cron.d` or in Dokku's properties. The old one is removed before ours is added, so that no two ever run; when it can't be
//! removed, ours is not added.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::commands::context::Context;
use crate::commands::schedule::plan;
use crate::docker::run_plugin_command;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::schedule::{Planned, Schedule, Task};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::store::destination::Destination;

/// Take over the schedule that postgres:backup-schedule has set up
///
/// Reads the times and the bucket and whether the role of the host is used; removes the schedule of dokku-postgres and sets the
/// same one here. A destination that is set already is kept.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>",
    after_help = "Let pgbackup do what dokku-postgres has done so far

    dokku pgbackup:schedule:adopt lollipop"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
}

/// What dokku-postgres has scheduled.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    cron: Schedule,
    bucket: String,
    use_iam: bool,
}

/// Takes it over.
///
/// # Errors
/// When there is none, it can't be understood, or it can't be removed: nothing is changed then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    Service::find(&context.environment.lib_root, name)?;
    let line = postgres(context, "backup-schedule-cat", &[name.as_str()]).map_err(|error| {
        Failure::failed(format!("dokku-postgres has no schedule for {name}"))
            .because(error)
            .hint(format!("Set one here: dokku pgbackup:schedule {name} \"30 3 * * *\""))
    })?;
    let found = read(&line, name)?;
    let destination: Destination = format!("s3://{}", found.bucket)
        .parse()
        .map_err(|error| Failure::failed(format!("The bucket of dokku-postgres's schedule can't be used: {error}")))?;
    context.ui.step(format!("dokku-postgres backs {name} up at {} into {destination}", found.cron));

    postgres(context, "backup-unschedule", &[name.as_str()])
        .and_then(|_| match postgres(context, "backup-schedule-cat", &[name.as_str()]) {
            Ok(_) => anyhow::bail!("it is still there"),
            Err(_) => Ok(()),
        })
        .map_err(|error| {
            Failure::failed(format!("The schedule of dokku-postgres for {name} can't be removed"))
                .because(error)
                .hint("Nothing was scheduled here: two would run at once")
                .hint(format!("Remove it, then try again: dokku postgres:backup-unschedule {name}"))
        })?;
    context.ui.detail("Removed it there");
    settle(context, name, &destination, found.use_iam)
        .and_then(|()| {
            let task = Task::Backup;
            let called = task.as_str().parse().map_err(|error: String| anyhow::anyhow!(error))?;
            let planned = Planned { name: called, cron: found.cron.clone(), task, jitter: 0, since: context.now() };
            plan(context, Subject::Service(name.clone()), planned)
        })
        .map_err(|error| {
            let flag = if found.use_iam { " --use-iam" } else { "" };
            Failure::from_error(error)
                .hint("The schedule of dokku-postgres is removed; set it again where ours can't be used:")
                .hint(format!("dokku postgres:backup-schedule {name} \"{}\" {}{flag}", found.cron, found.bucket))
                .into()
        })
}

/// The destination and the keys of the old schedule, where the user has set none.
fn settle(context: &Context, name: &ServiceName, destination: &Destination, use_iam: bool) -> Result<()> {
    let subject = Subject::Service(name.clone());
    let settings = context.settings(name)?;
    match &settings.destination {
        None => {
            context.properties().set(&subject, "destination", &destination.to_string())?;
            context.ui.detail(format!("Set destination to {destination}"));
        }
        Some(kept) if kept != destination => {
            context.ui.warn(format!("Backups of {name} go to {kept}, as is set, and no longer to {destination}"));
        }
        Some(_) => {}
    }
    if use_iam && context.properties().get(&subject, "auth")?.is_none() {
        context.properties().set(&subject, "auth", "iam")?;
        context.ui.detail("Set auth to iam, as --use-iam says");
    }
    Ok(())
}

/// `0 3 * * * dokku /usr/bin/dokku postgres:backup prod bucket --use-iam`, or `0 3 * * * dokku postgres:backup prod bucket &>> LOG`.
fn read(text: &str, name: &ServiceName) -> Result<Found> {
    let line = text.lines().map(str::trim).find(|line| line.contains("postgres:backup ")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let command = words.iter().position(|word| *word == "postgres:backup");
    let unknown = || {
        Failure::failed(format!("dokku-postgres's schedule for {name} is not understood: {line:?}"))
            .hint(format!("Set it by hand: dokku pgbackup:schedule {name} \"CRON\""))
            .hint(format!("And remove the other one: dokku postgres:backup-unschedule {name}"))
    };
    let (times, arguments) = words.split_at_checked(command.ok_or_else(unknown)?).ok_or_else(unknown)?;
    let number = if times.first().is_some_and(|first| first.starts_with('@')) { 1 } else { 5 };
    let cron = times.get(..number).ok_or_else(unknown)?.join(" ");
    let cron = cron.parse().map_err(|error: crate::schedule::InvalidSchedule| unknown().because(error))?;
    let end = arguments.iter().position(|word| word.contains(">>")).unwrap_or(arguments.len());
    match arguments.get(1..end).unwrap_or_default() {
        [service, bucket, flags @ ..] if *service == name.as_str() => Ok(Found {
            cron,
            bucket: bucket.trim_matches(['"', '\'', '/']).to_owned(),
            use_iam: flags.iter().any(|flag| matches!(*flag, "--use-iam" | "-u")),
        }),
        _ => Err(unknown().into()),
    }
}

fn postgres(context: &Context, command: &str, arguments: &[&str]) -> Result<String> {
    let path: PathBuf = context.environment.plugin_enabled_path.join("postgres/subcommands").join(command);
    let name = format!("postgres:{command}");
    let mut all = vec![name.as_str()];
    all.extend(arguments);
    run_plugin_command(&path, &all).with_context(|| format!("{name} failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_both_generations_write() {
        let name = "prod".parse().unwrap();
        let read = |line: &str| read(line, &name);
        let found = read("0 3 * * * dokku /usr/bin/dokku postgres:backup prod my-bucket --use-iam\n").unwrap();
        assert_eq!(found, Found { cron: "0 3 * * *".parse().unwrap(), bucket: "my-bucket".into(), use_iam: true });
        let found = read("@daily dokku /usr/bin/dokku postgres:backup prod my-bucket/folder \n").unwrap();
        assert_eq!(found, Found { cron: "@daily".parse().unwrap(), bucket: "my-bucket/folder".into(), use_iam: false });
        let found = read("*/5 * * * * dokku postgres:backup prod b &>> /var/log/dokku/postgres-backup.log").unwrap();
        assert_eq!(found, Found { cron: "*/5 * * * *".parse().unwrap(), bucket: "b".into(), use_iam: false });
        for bad in [
            "",
            "0 3 * * * dokku postgres:backup other b",
            "0 3 * dokku postgres:backup prod b",
            "99 3 * * * dokku x postgres:backup prod b",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
