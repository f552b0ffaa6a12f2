//! `schedule:run`: what cron runs. One of this host after another, each with a line in the log when it begins and when it ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::commands::context::Context;
use crate::commands::schedules::{self, Entry, LastRun};
use crate::commands::{backup, backups, missed, prune, verify};
use crate::dokku::properties::Subject;
use crate::durable::{self, Locked};
use crate::error::{Failure, Kind};
use crate::history::{self, Event};
use crate::holds::Holds;
use crate::interrupt;
use crate::lock::Owner;
use crate::schedule::{Name, Planned, Task};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::{self, Span};
use crate::text::count;
use crate::ui::human;

/// How long a scheduled run waits for a restore, or whatever else has its service, where nothing else is said.
const PATIENCE: Duration = Duration::from_hours(6);
/// How often a place among the runs of this host is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Run a schedule as cron does
///
/// Cron calls this at the times that pgbackup:schedule sets. It waits for its turn among the scheduled runs of this host (the
/// property schedule-concurrency says how many go at once) and for a restore of the service to end.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all <name> [--now] [--wait DURATION]",
    after_help = "See what cron will see

    dokku pgbackup:schedule:run lollipop backup --now"
)]
pub struct Args {
    /// The service, or with --all the name of the schedule
    #[arg(value_name = "service")]
    pub service: String,
    /// The name of the schedule
    #[arg(value_name = "name", required_unless_present = "all")]
    pub name: Option<Name>,
    /// A schedule that is for every service
    #[arg(long)]
    pub all: bool,
    /// Don't wait for the moment that the jitter has given this service
    #[arg(long)]
    pub now: bool,
    /// Wait at most this long for another run of the service (default: 6h)
    #[arg(long, value_name = "DURATION")]
    pub wait: Option<Span>,
}

impl Args {
    fn patience(&self) -> Duration {
        self.wait.map_or(PATIENCE, |span| span.0)
    }
}

/// Runs it.
///
/// # Errors
/// When there is no such schedule, or the run failed.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let entry = find(args, context)?;
    if let Err(error) = schedules::rotate_log(context, &entry.subject) {
        context.ui.warn(format!("The log can't be begun anew: {error:#}"));
    }
    // Before this run is noted: what it comes too late for is known until then.
    missed::tell(context);
    let Some(_only) = only_one(context, &entry)? else {
        missed::left_out(context, &entry);
        return Err(Failure::new(Kind::Busy, format!("{} is still under way from last time", title(&entry)))
            .hint("This run is left out; make the schedule's times lie further apart")
            .into());
    };
    let began = context.now();
    let clock = Instant::now();
    context.ui.header(format!("{} {} begins", human::time(began), title(&entry)));
    note(
        context,
        &entry,
        LastRun { began, ended: None, exit_code: None, owner: Owner::ourselves("schedule:run").ok() },
    );
    let result = wait_and_run(args, context, &entry);
    let failure = result.err().map(|error| Failure::from_error(error).of(&entry.subject));
    let exit_code = failure.as_ref().map_or(0, |failure| failure.kind.exit_code());
    let ended = context.now();
    note(context, &entry, LastRun { began, ended: Some(ended), exit_code: Some(exit_code), owner: None });
    let how = if failure.is_none() { "ended well" } else { "FAILED" };
    if let Some(failure) = &failure {
        context.ui.fail(failure);
    }
    let line = format!("{} {} {how} after {}", human::time(ended), title(&entry), human::duration(clock.elapsed()));
    context.ui.header(&line);
    match failure {
        None => Ok(()),
        Some(failure) => Err(Failure::new(failure.kind, format!("{} failed", title(&entry))).into()),
    }
}

/// `Schedule nightly of prod (backup)`.
fn title(entry: &Entry) -> String {
    format!("Schedule {} of {} ({})", entry.planned.name, entry.whose(), entry.planned.task.as_str())
}

fn find(args: &Args, context: &Context) -> Result<Entry> {
    let (subject, name) = match &args.name {
        Some(name) if !args.all => (Subject::Service(args.service.parse().map_err(usage)?), name.clone()),
        None if args.all => (Subject::Global, args.service.parse().map_err(Failure::usage)?),
        _ => return Err(Failure::usage("With --all there is one argument, the name of the schedule").into()),
    };
    context.require(&subject)?;
    let planned = schedules::of(context, &subject)?.into_iter().find(|planned| planned.name == name);
    let whose = schedules::whose(&subject);
    let planned = planned.ok_or_else(|| {
        Failure::failed(format!("{whose} has no schedule {name}"))
            .hint("See what is scheduled with: dokku pgbackup:schedule")
    })?;
    Ok(Entry { subject, planned })
}

fn usage(error: impl std::error::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// A schedule doesn't overtake itself.
fn only_one(context: &Context, entry: &Entry) -> Result<Option<std::fs::File>> {
    let folder = context.environment.data_folder().join(entry.subject.to_string());
    durable::make_folder(&folder, 0o700)?;
    match durable::lock(&folder.join(format!("schedule-{}.lock", entry.planned.name)), Duration::ZERO)? {
        Locked::Ours(file) => Ok(Some(file)),
        Locked::Theirs => Ok(None),
    }
}

/// What can't be written down is no reason to go without a backup.
fn note(context: &Context, entry: &Entry, run: LastRun) {
    if let Err(error) = schedules::remember(context, &entry.subject, &entry.planned.name, run) {
        context.ui.warn(format!("That this ran can't be remembered: {error:#}"));
    }
}

fn wait_and_run(args: &Args, context: &Context, entry: &Entry) -> Result<()> {
    let delay = if args.now { 0 } else { entry.planned.delay(&entry.whose()) };
    if delay > 0 {
        context.ui.detail(format!("Waiting for its own moment, {} later", human::duration(Duration::from_secs(delay))));
        sleep(Duration::from_secs(delay))?;
    }
    let most = settings::schedule_concurrency(&context.properties())?;
    let _place = place(context, &context.environment.data_folder().join("--global"), most)?;
    match &entry.subject {
        Subject::Service(name) => one(context, name, &entry.planned, args.patience()),
        Subject::Global => every(context, &entry.planned, args.patience()),
    }
}

/// A place among the scheduled runs of this host, until it is dropped.
fn place(context: &Context, folder: &Path, most: usize) -> Result<std::fs::File> {
    durable::make_folder(folder, 0o700)?;
    let mut told = false;
    loop {
        for number in 1..=most {
            if let Locked::Ours(file) = durable::lock(&folder.join(format!("turn-{number}.lock")), Duration::ZERO)? {
                return Ok(file);
            }
        }
        if !told {
            let runs = count(most as u64, "other scheduled run");
            context.ui.detail(format!("Waiting for {runs} of this host to end"));
            told = true;
        }
        sleep(LOOK)?;
    }
}

/// Sleeps, but not when asked to stop.
fn sleep(time: Duration) -> Result<(), interrupt::Interrupted> {
    let until = Instant::now() + time;
    loop {
        interrupt::check()?;
        match until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(Duration::from_millis(100))),
        }
    }
}

fn one(context: &Context, name: &ServiceName, planned: &Planned, patience: Duration) -> Result<()> {
    let wait = format!("{}s", patience.as_secs());
    let done = match planned.task {
        Task::Backup => backup::one(context, name, None, patience).and_then(backup::Saved::copied_as_well).map(drop),
        Task::Prune => {
            let folder = context.environment.data_folder().join(name.as_str());
            if let Some(hold) = Holds::read(&folder)?.service {
                // The switch of an incident is no failure each night.
                context.ui.warn(format!("Nothing of {name} is pruned: it is held {}", hold.describe()));
                return Ok(());
            }
            prune::run(&typed(&[name.as_str(), "--wait", &wait])?, context)
        }
        Task::Drill => verify::run(&typed(&[name.as_str(), "latest", "--wait", &wait])?, context),
    };
    done.inspect_err(|error| refused(context, name, planned, error))
}

/// The arguments of a command as somebody would type them.
fn typed<A: clap::Args>(words: &[&str]) -> Result<A> {
    let command = A::augment_args(clap::Command::new("scheduled").no_binary_name(true));
    Ok(A::from_arg_matches(&command.try_get_matches_from(words)?)?)
}

/// What has waited in vain has not begun, so nobody was told, and nothing of it is in the history yet.
fn refused(context: &Context, name: &ServiceName, planned: &Planned, error: &anyhow::Error) {
    let Some(failure) = error.downcast_ref::<Failure>().filter(|failure| failure.kind == Kind::Busy) else { return };
    missed::in_vain(context, name, planned, &failure.to_string());
    if planned.task != Task::Backup {
        return;
    }
    let destination = context.settings(name).ok().and_then(|settings| settings.destination);
    let destination = destination.map(|destination| destination.to_string()).unwrap_or_default();
    let event = Event::BackupFailed { destination, error: failure.to_string(), interrupted: false };
    if let Err(error) = backups::history(name, context).append(&history::Entry::now(event, None)) {
        context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
    }
}

/// All services that have a destination, one after another; what fails with one is no reason to go without the others.
fn every(context: &Context, planned: &Planned, patience: Duration) -> Result<()> {
    let (mut failed, mut not_copied) = (Vec::new(), Vec::new());
    let mut done: u64 = 0;
    let has_none = |name: &ServiceName| context.settings(name).is_ok_and(|settings| settings.destination.is_none());
    let mut names = Service::all(&context.environment.lib_root)?.into_iter();
    while let Some(name) = names.next() {
        if has_none(&name) {
            context.ui.detail(format!("{name} has no destination and is left out"));
            continue;
        }
        let Err(error) = one(context, &name, planned, patience) else {
            done += 1;
            continue;
        };
        let failure = Failure::from_error(error).of(&name);
        if failure.kind == Kind::NotCopied {
            not_copied.push(name);
            done += 1;
        } else {
            if let Err(interrupted) = interrupt::check() {
                // Whoever has ended the run of one service may not know that the others were to come.
                context.ui.record(None);
                names.filter(|name| !has_none(name)).for_each(|name| missed::not_reached(context, &name, planned));
                return Err(interrupted.into());
            }
            failed.push(name);
        }
        context.ui.fail(&failure);
    }
    // The last service's log is not about the others.
    context.ui.record(None);
    let outcome = backup::of_all(&format!("{} done", count(done, "service")), &failed, &not_copied);
    outcome.map(|done| context.ui.detail(done)).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::list::tests::world;

    #[test]
    fn so_many_at_once_and_the_next_one_waits() {
        let (host, context, said) = world();
        let folder = host.path().join("turns");
        let first = place(&context, &folder, 2).unwrap();
        let _second = place(&context, &folder, 2).unwrap();
        let (context_of_third, folder_of_third) = (context.clone(), folder.clone());
        let third = std::thread::spawn(move || place(&context_of_third, &folder_of_third, 2).map(drop));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!third.is_finished());
        drop(first);
        third.join().unwrap().unwrap();
        assert_eq!(said.out(), "       Waiting for 2 other scheduled runs of this host to end\n");
        place(&context, &folder, 2).unwrap();
    }
}
