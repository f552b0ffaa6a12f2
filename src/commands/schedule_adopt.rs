//! `schedule:adopt`: takes over what `postgres:backup-schedule` has set up.
//!
//! A schedule that works is not given up for one that may not: first it is tried whether ours would. Then the old one is removed before
//! ours is added, so that no two ever run; when it can't be removed, ours is not added, and when ours isn't active afterwards, the old
//! one is put back.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::commands::adopt::accompanying;
use crate::commands::context::Context;
use crate::commands::doctor::destination;
use crate::commands::doctor::finding::Verdict;
use crate::commands::encryption::in_force::InForce;
use crate::commands::schedule::plan;
use crate::commands::schedules::{self, Entry};
use crate::docker::run_plugin_command;
use crate::dokku::crontab;
use crate::dokku::properties::Subject;
use crate::error::{Failure, Kind};
use crate::schedule::{InvalidSchedule, Name, Planned, Schedule, Task};
use crate::service::Service;
use crate::service::arrangement::{Arrangement, Scheduled};
use crate::service::name::ServiceName;
use crate::settings::Auth;
use crate::store::destination::Destination;

/// What ours is called where a drill or a pruning has the usual name.
const ANOTHER_NAME: &str = "dokku-postgres";

/// Take over the schedule that postgres:backup-schedule has set up
///
/// Reads the times and the bucket and whether the role of the host is used; tries whether a backup would work; removes the schedule of
/// dokku-postgres and sets the same one here. A destination that is set already is kept, and so is a schedule of backups.
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

/// What becomes of a schedule of dokku-postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    theirs: Scheduled,
    mailto: Option<String>,
    /// Schedules of ours that take backups already: they stay, and theirs goes.
    kept: Vec<Entry>,
    /// What is set here where there are none.
    planned: Planned,
}

impl Takeover {
    /// Looks at what is scheduled here; `None` where dokku-postgres has nothing scheduled.
    ///
    /// # Errors
    /// When the schedule is none that we take, or those of ours can't be read.
    pub fn of(context: &Context, name: &ServiceName, found: &Arrangement) -> Result<Option<Self>> {
        let mut ours = Vec::new();
        for subject in [Subject::Global, Subject::Service(name.clone())] {
            let planned = schedules::of(context, &subject)?;
            ours.extend(planned.into_iter().map(|planned| Entry { subject: subject.clone(), planned }));
        }
        Ok(Self::beside(name, found, ours, context.now()).transpose()?)
    }

    /// The same, beside these schedules of ours.
    pub fn beside(
        name: &ServiceName,
        found: &Arrangement,
        ours: Vec<Entry>,
        now: Timestamp,
    ) -> Option<Result<Self, Failure>> {
        let theirs = found.scheduled.clone()?;
        let cron: Result<Schedule, InvalidSchedule> = theirs.cron.parse();
        Some(cron.map_err(|error| not_understood(name, &theirs).because(error)).and_then(|cron| {
            let usual = Task::Backup.as_str();
            let is_taken =
                ours.iter().any(|entry| entry.subject != Subject::Global && entry.planned.name.as_str() == usual);
            let called: Result<Name, String> = if is_taken { ANOTHER_NAME } else { usual }.parse();
            let planned =
                Planned { name: called.map_err(Failure::failed)?, cron, task: Task::Backup, jitter: 0, since: now };
            let kept = ours.into_iter().filter(|entry| entry.planned.task == Task::Backup).collect();
            Ok(Self { mailto: found.property("backup-mailto").map(str::to_owned), theirs, kept, planned })
        }))
    }
}

fn not_understood(name: &ServiceName, theirs: &Scheduled) -> Failure {
    Failure::failed(format!("dokku-postgres's schedule for {name} is not understood: {}", theirs.cron))
        .hint(format!("Set it by hand: dokku pgbackup:schedule {name} \"CRON\""))
        .hint(format!("And remove the other one: dokku postgres:backup-unschedule {name}"))
}

impl std::fmt::Display for Takeover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cron = &self.theirs.cron;
        if self.kept.is_empty() {
            return write!(f, "Take over the schedule {cron}: it is removed from dokku-postgres and set here");
        }
        write!(f, "Remove the schedule {cron} from dokku-postgres: {}", stays(&self.kept))
    }
}

/// `backup of prod (0 * * * *), which is set here, stays`.
fn stays(kept: &[Entry]) -> String {
    let kept: Vec<String> = kept
        .iter()
        .map(|entry| format!("{} of {} ({})", entry.planned.name, entry.whose(), entry.planned.cron))
        .collect();
    format!("what is set here stays, {}", kept.join(", "))
}

/// Takes it over.
///
/// # Errors
/// When there is none, it can't be understood, a backup would fail here, or it can't be removed: it stays as it is then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let (name, environment) = (&args.service, &context.environment);
    let service = Service::find(&environment.lib_root, name)?;
    let found = Arrangement::of(&service, &environment.lib_root, &environment.plugin_enabled_path)?;
    let Some(takeover) = Takeover::of(context, name, &found)? else {
        return Err(Failure::failed(format!("dokku-postgres has no schedule for {name}"))
            .hint(format!("Set one here: dokku pgbackup:schedule {name} \"30 3 * * *\""))
            .into());
    };
    let destination = destination_of(&takeover.theirs, name)?;
    context.ui.step(format!("dokku-postgres backs {name} up at {} into {destination}", takeover.theirs.cron));
    let set = settle(context, name, &found)?;
    take_over(context, &service, &takeover)
        .map_err(|error| what_then(name, Failure::from_error(error), &set, "pgbackup:schedule:adopt").into())
}

/// Adds what was set before the schedule could not be taken over.
pub fn what_then(name: &ServiceName, failure: Failure, set: &[&str], command: &str) -> Failure {
    let failure = match set.first() {
        None => failure,
        Some(first) => failure
            .hint(format!("What was set stays ({}); to clear it: dokku pgbackup:set {name} {first}", set.join(", "))),
    };
    failure.hint(format!("When that is mended: dokku {command} {name}"))
}

/// Its bucket as a destination of ours.
pub fn destination_of(theirs: &Scheduled, service: &ServiceName) -> Result<Destination, Failure> {
    format!("s3://{}", theirs.bucket).parse().map_err(|error| {
        Failure::failed(format!("The bucket of dokku-postgres's schedule can't be used: {error}"))
            .hint(format!("Say where backups go: dokku pgbackup:set {service} destination s3://BUCKET"))
    })
}

/// The destination and the keys of the old schedule, where the user has set none; the properties that were set.
fn settle(context: &Context, name: &ServiceName, found: &Arrangement) -> Result<Vec<&'static str>> {
    let subject = Subject::Service(name.clone());
    let settings = context.settings(name)?;
    let Some(scheduled) = &found.scheduled else { return Ok(Vec::new()) };
    let theirs = destination_of(scheduled, name)?;
    let mut wanted = Vec::new();
    match &settings.destination {
        None => wanted.push(("destination", theirs.to_string())),
        Some(kept) if *kept != theirs => {
            context.ui.warn(format!("Backups of {name} go to {kept}, as is set, and no longer to {theirs}"));
        }
        Some(_) => {}
    }
    if scheduled.use_iam && matches!(settings.auth, Auth::Own | Auth::Service) {
        context.ui.warn(format!("The property auth of {name} counts, and no longer the role of the host (--use-iam)"));
    }
    wanted.extend(accompanying(found, &settings));
    for (property, value) in &wanted {
        context.properties().set(&subject, property, value)?;
        context.ui.detail(format!("Set {property} to {value}"));
    }
    Ok(wanted.into_iter().map(|(property, _)| property).collect())
}

/// Takes the schedule over, when all else is set.
///
/// # Errors
/// When a backup would fail here, theirs can't be removed, or ours can't be activated: theirs is in place then, or it is said how to set
/// it again.
pub fn take_over(context: &Context, service: &Service, takeover: &Takeover) -> Result<()> {
    let (name, theirs) = (&service.name, &takeover.theirs);
    ready(context, service, takeover)?;
    postgres(context, "backup-unschedule", &[name.as_str()])
        .and_then(|_| match postgres(context, "backup-schedule-cat", &[name.as_str()]) {
            Ok(_) => anyhow::bail!("it is still there"),
            Err(_) => Ok(()),
        })
        .map_err(|error| {
            Failure::failed(format!("The schedule of dokku-postgres for {name} can't be removed"))
                .because(error)
                .hint("Nothing was scheduled here: two would run at once")
                .hint(format!("Remove it: dokku postgres:backup-unschedule {name}"))
        })?;
    context.ui.detail("Removed it there");
    if !takeover.kept.is_empty() {
        context.ui.detail(format!("{} is not set here: {}", theirs.cron, stays(&takeover.kept)));
        return Ok(());
    }
    let planned = Planned { since: context.now(), ..takeover.planned.clone() };
    let failure = match plan(context, Subject::Service(name.clone()), planned) {
        Ok(true) => return Ok(()),
        Ok(false) => Failure::failed(format!("The schedule of {name} is not in Dokku's crontab")),
        Err(error) => Failure::from_error(error),
    };
    Err(put_back(context, name, takeover, failure).into())
}

/// Ours goes and theirs comes back: a later crontab with both would run both.
fn put_back(context: &Context, name: &ServiceName, takeover: &Takeover, failure: Failure) -> Failure {
    let ours = &takeover.planned.name;
    let subject = Subject::Service(name.clone());
    let removed = schedules::change(context, &subject, |all| {
        all.retain(|other| other.name != *ours);
        Ok(())
    });
    if let Err(error) = removed {
        return failure
            .hint(format!("Ours can't be removed again: {error:#}"))
            .hint(format!("Remove it: dokku pgbackup:unschedule {name} --name {ours}"))
            .hint(format!("Then set theirs again: {}", in_words(name, takeover)));
    }
    // Where it can't be written now either, nothing of ours has come into it.
    let written = crontab::rewrite();
    let arguments = arguments(name, takeover);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_back = postgres(context, "backup-schedule", &arguments)
        .and_then(|_| Ok(Scheduled::of(name, &context.environment.plugin_enabled_path)?))
        .is_ok_and(|now| now.as_ref() == Some(&takeover.theirs));
    let failure = if is_back {
        failure.hint("The schedule of dokku-postgres is put back and goes on, and nothing is scheduled here")
    } else {
        failure.hint(format!(
            "The schedule of dokku-postgres is removed and can't be put back; set it again: {}",
            in_words(name, takeover)
        ))
    };
    match written {
        Ok(()) => failure,
        Err(_) => failure.hint("See what Dokku says: plugn trigger scheduler-cron-write docker-local \"\""),
    }
}

fn arguments(name: &ServiceName, takeover: &Takeover) -> Vec<String> {
    let Scheduled { cron, bucket, use_iam } = &takeover.theirs;
    let mut all = vec![name.to_string(), cron.clone(), bucket.clone()];
    all.extend(use_iam.then(|| "--use-iam".to_owned()));
    if let Some(mailto) = &takeover.mailto {
        all.extend(["--mailto".to_owned(), mailto.clone()]);
    }
    all
}

/// What sets theirs again.
fn in_words(name: &ServiceName, takeover: &Takeover) -> String {
    let arguments: Vec<String> = arguments(name, takeover)
        .into_iter()
        .map(|word| if word.contains([' ', '*']) { format!("\"{word}\"") } else { word })
        .collect();
    format!("dokku postgres:backup-schedule {}", arguments.join(" "))
}

/// Whether a backup would work here and would be begun; theirs is not touched before.
fn ready(context: &Context, service: &Service, takeover: &Takeover) -> Result<()> {
    let name = &service.name;
    let subject = Subject::Service(name.clone());
    context.ui.step(format!("Trying whether a backup of {name} would work here"));
    let unfit = |failure: Failure| {
        if failure.kind == Kind::Interrupted {
            return failure;
        }
        let hints = failure.hints.clone();
        hints
            .into_iter()
            .fold(
                Failure::failed(format!(
                    "The schedule of {name} stays with dokku-postgres, as pgbackup's would not work"
                ))
                .because(failure),
                Failure::hint,
            )
            .of(name)
    };
    InForce::of(context, &subject)
        .and_then(|in_force| in_force.recipient(context, &subject))
        .map_err(|error| unfit(Failure::from_error(error)))?;
    let (_, findings) = destination::examine(context, service)?;
    if let Some(finding) = findings.into_iter().find(|finding| finding.verdict == Verdict::Fail) {
        let failure = finding.fixes.into_iter().fold(Failure::failed(finding.message), Failure::hint);
        return Err(unfit(failure).into());
    }
    would_be_begun(context, name, takeover).map_err(|error| unfit(Failure::from_error(error)).into())
}

/// Whether cron would begin it, as far as that can be told without trying.
fn would_be_begun(context: &Context, name: &ServiceName, takeover: &Takeover) -> Result<()> {
    if !takeover.kept.is_empty() {
        let absent = schedules::not_in_crontab(context, &takeover.kept)?;
        if absent.len() == takeover.kept.len() {
            let whose = absent.first().map(Entry::whose).unwrap_or_default();
            return Err(Failure::failed("what is set here is not in Dokku's crontab and doesn't run")
                .hint(format!("Another way to run it: dokku pgbackup:schedule:export {whose}"))
                .hint(format!("When it runs: dokku postgres:backup-unschedule {name}"))
                .into());
        }
        return Ok(());
    }
    // With another scheduler for all apps Dokku writes a crontab all the same where one app has its own.
    let crontab = crontab::read(&context.environment.system_user)?;
    match crontab::global_scheduler() {
        Some(scheduler) if scheduler != crontab::SCHEDULER && crontab.trim().is_empty() => Err(Failure::failed(
            format!(
                "Dokku writes a crontab only where the scheduler {} is used, and on this host it is {scheduler}",
                crontab::SCHEDULER
            ),
        )
        .hint(format!("To run it by other means, first: dokku pgbackup:schedule {name} \"{}\"", takeover.theirs.cron))
        .hint(format!("Then: dokku pgbackup:schedule:export {name}"))
        .hint(format!("When it runs: dokku postgres:backup-unschedule {name}"))
        .into()),
        _ => Ok(()),
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

    fn entry(subject: Subject, name: &str, task: Task) -> Entry {
        let (name, cron) = (name.parse().unwrap(), "0 * * * *".parse().unwrap());
        Entry { subject, planned: Planned { name, cron, task, jitter: 0, since: Timestamp::UNIX_EPOCH } }
    }

    fn beside(cron: &str, ours: Vec<Entry>) -> Result<Takeover, Failure> {
        let scheduled = Scheduled { cron: cron.into(), bucket: "bucket".into(), use_iam: true };
        let otherwise = vec![("backup-mailto", "a@example.com".to_owned())];
        let found = Arrangement { scheduled: Some(scheduled), otherwise, ..Arrangement::default() };
        Takeover::beside(&"prod".parse().unwrap(), &found, ours, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn schedules_of_ours_stay_as_they_are() {
        let prod = || Subject::Service("prod".parse().unwrap());
        let alone = beside("@daily", vec![]).unwrap();
        assert_eq!(alone.to_string(), "Take over the schedule @daily: it is removed from dokku-postgres and set here");
        assert_eq!(alone.planned.name.as_str(), "backup");
        for (ours, whose) in [(prod(), "prod"), (Subject::Global, "--all")] {
            assert_eq!(
                beside("@daily", vec![entry(ours, "backup", Task::Backup)]).unwrap().to_string(),
                format!(
                    "Remove the schedule @daily from dokku-postgres: what is set here stays, backup of {whose} (0 * * * *)"
                )
            );
        }
        // A drill takes no backup, but it may have the name.
        let drill = beside("@daily", vec![entry(prod(), "backup", Task::Drill)]).unwrap();
        assert_eq!((drill.kept.len(), drill.planned.name.as_str()), (0, ANOTHER_NAME));
        let drill = beside("@daily", vec![entry(Subject::Global, "backup", Task::Drill)]).unwrap();
        assert_eq!(drill.planned.name.as_str(), "backup", "--all has its own names");
        let error = beside("99 3 * * *", vec![]).unwrap_err();
        assert!(error.message.contains("is not understood: 99 3 * * *"), "{error}");
    }

    #[test]
    fn theirs_is_set_again_as_it_was() {
        let takeover = beside("0 3 * * *", vec![]).unwrap();
        assert_eq!(
            in_words(&"prod".parse().unwrap(), &takeover),
            "dokku postgres:backup-schedule prod \"0 3 * * *\" bucket --use-iam --mailto a@example.com"
        );
    }
}
