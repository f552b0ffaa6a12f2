//! `status`: all services on one page, from this host's memory, with an exit code that monitoring can use.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::metrics;
use crate::commands::schedules;
use crate::commands::upload::{self, What};
use crate::copies::Copies;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::health::{Health, Problem, Wanted};
use crate::history::{Entry, History};
use crate::holds::Holds;
use crate::journal::Journal;
use crate::lock::{Lock, Owner};
use crate::manifest::{Manifest, Suspicion};
use crate::schedule::{self, Task};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::{Settings, Span};
use crate::store::key::BackupKey;
use crate::text::count;
use crate::ui::{Column, Table, human};

/// A day and some leeway: what a nightly backup keeps to. For services that no schedule backs up.
const MAX_AGE: Duration = Duration::from_hours(26);

/// Show how the backups of all services are
///
/// The last good backup of each service and whether it is as young as its schedule wants it; how size and rows have changed; the last drill; what is running or was
/// interrupted; until when a restore can be undone. All of it comes from the memory of this host: nothing is asked of the store unless
/// --remote is given. Exit code 1 says that something is late or has failed; services without any backup count as late.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "[<service>] [--max-age AGE] [--remote] [--format FORMAT]",
    after_help = "Show all services

    dokku pgbackup:status

Check lollipop from a monitoring system

    dokku --quiet pgbackup:status lollipop --max-age 26h

Hand it to Prometheus

    dokku pgbackup:status --format openmetrics"
)]
pub struct Args {
    /// The service; all services when left out
    #[arg(value_name = "service")]
    pub service: Option<ServiceName>,
    /// How old the last good backup may be (default: what its schedule says and 2h more, or 26h without one)
    #[arg(long, value_name = "AGE")]
    pub max_age: Option<Span>,
    /// Look into the store too and say what is gone from there
    #[arg(long)]
    pub remote: bool,
    /// Form of the output: stdout or json or openmetrics
    #[arg(long, value_name = "FORMAT", default_value = "stdout", hide_default_value = true)]
    pub format: Format,
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Stdout,
    /// For programs: see docs/json-output.md.
    Json,
    /// For Prometheus and its kin: see docs/monitoring.md.
    Openmetrics,
}

/// A service's state; `--format json` prints an array of these.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The service.
    pub service: ServiceName,
    /// `ok`, or `problem`.
    pub state: &'static str,
    /// Where its backups go.
    pub destination: Option<String>,
    /// What the history says.
    #[serde(flatten)]
    pub health: Health,
    /// How copying to the second destination stands, where one is set.
    pub copies: Option<CopyStatus>,
    /// Which run has it now.
    pub running: Option<Running>,
    /// When the next scheduled backup or drill is due.
    pub next_run: Option<Timestamp>,
    /// Since when nothing of it is deleted (`pgbackup:hold`).
    pub held_since: Option<Timestamp>,
    /// Why, where that was said.
    pub held_reason: Option<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The backup of the problem `suspicious`, which needn't be the last good one.
    #[serde(skip)]
    pub doubted: Option<BackupKey>,
}

/// How copying stands, as this host remembers it.
#[derive(Debug, Serialize)]
pub struct CopyStatus {
    /// Where copies go.
    pub destination: String,
    /// How many lie there.
    pub copied: u64,
    /// The newest of them.
    pub newest: Option<BackupKey>,
    /// How many should lie there and don't.
    pub missing: u64,
    /// Why the last copying failed, if it did.
    pub error: Option<String>,
}

impl CopyStatus {
    fn of(entries: &[Entry], settings: &Settings) -> Option<Self> {
        let destination = settings.copy.as_ref()?.destination.to_string();
        let copies = Copies::of(entries, &settings.destination.as_ref()?.to_string(), &destination);
        Some(Self {
            destination,
            copied: copies.copied.len() as u64,
            newest: copies.copied.keys().max_by_key(|key| key.started()).cloned(),
            missing: copies.missing.len() as u64,
            error: copies.failed.map(|(_, _, error)| error),
        })
    }

    fn problem(&self) -> Option<Problem> {
        let why = self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let missing = match self.missing {
            0 if self.error.is_none() => return None,
            0 => format!("the last copy to {} failed", self.destination),
            missing => format!("{} not copied to {}", count(missing, "backup"), self.destination),
        };
        Some(Problem::new("not-copied", format!("{missing}{why}")))
    }
}

/// A run that goes on.
#[derive(Debug, Serialize)]
pub struct Running {
    /// The command.
    pub doing: String,
    /// Since when.
    pub since: Timestamp,
    /// Its process.
    pub pid: u32,
}

/// Shows it.
///
/// # Errors
/// When something is late or has failed, or there is no such service.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.format != Format::Stdout {
        context.ui.reserve_output();
    }
    let names = match &args.service {
        Some(name) => vec![Service::find(&context.environment.lib_root, name)?.name],
        None => context.visible_services()?,
    };
    let mut all = Vec::new();
    for name in &names {
        crate::interrupt::check()?;
        all.push(of(context, name, args.max_age.map(|age| age.0), args.remote));
    }
    match args.format {
        Format::Json => context.ui.json(&all)?,
        Format::Openmetrics => metrics::text(&all, context.now()).lines().try_for_each(|line| context.ui.line(line))?,
        Format::Stdout => match (&args.service, all.as_slice()) {
            (Some(_), [one]) => page(context, one)?,
            _ => overview(context, &all)?,
        },
    }
    let wrong: Vec<&str> = all.iter().filter(|one| !one.problems.is_empty()).map(|one| one.service.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    // The problems themselves are on the page; programs have them in their data.
    if args.format == Format::Stdout {
        for one in all.iter().filter(|_| args.service.is_none()) {
            for problem in &one.problems {
                context.ui.warn(format!("{}: {}", one.service, problem.message));
            }
        }
    }
    let failure = Failure::failed(format!("Not all is well with {}", wrong.join(", ")));
    let hints = match (&args.service, all.as_slice()) {
        (Some(_), [one]) => next_steps(one),
        _ => vec!["See what to do for one of them: dokku pgbackup:status SERVICE".to_owned()],
    };
    Err(hints.into_iter().fold(failure, Failure::hint).into())
}

/// What to type about the problems of a service, each once.
fn next_steps(one: &Status) -> Vec<String> {
    let name = &one.service;
    let is = |problem: &str| one.problems.iter().any(|other| other.problem == problem);
    let mut steps = Vec::new();
    let mut add = |applies: bool, step: String| steps.extend(applies.then_some(step));
    add(is("no-destination"), format!("Say where to: dokku pgbackup:set {name} destination s3://BUCKET"));
    add(is("store") || is("gone"), format!("See what is wrong with the store: dokku pgbackup:doctor {name}"));
    add(is("unreadable"), format!("See what is wrong: dokku pgbackup:doctor {name}"));
    add(is("failed"), format!("See why it failed: dokku pgbackup:history {name}"));
    let backup = (is("never") || is("late") || is("interrupted")) && !is("no-destination") && !is("failed");
    add(backup, format!("Take a backup now: dokku pgbackup:backup {name}"));
    add(is("late") || is("missed"), "See when what is due: dokku pgbackup:schedule".to_owned());
    add(is("not-copied"), format!("Copy what is missing: dokku pgbackup:copy {name}"));
    if let Some(key) = &one.doubted {
        add(true, format!("See all of it: dokku pgbackup:info {name} {key}"));
        add(true, format!("If that is right: dokku pgbackup:release {name} {key}"));
    }
    add(is("drill-failed"), format!("See what differed: dokku pgbackup:history {name}"));
    add(is("drill-late"), format!("Prove the newest one: dokku pgbackup:verify {name} latest"));
    steps
}

/// The state of one service. That something of it can't be read is a problem of this one, and none of the others.
pub fn of(context: &Context, name: &ServiceName, max_age: Option<Duration>, remote: bool) -> Status {
    read(context, name, max_age, remote).unwrap_or_else(|error| {
        let wanted = Wanted { max_age: Duration::MAX, drill_max_age: None, keep_previous: Duration::ZERO };
        Status {
            service: name.clone(),
            state: "problem",
            destination: None,
            health: Health::of(&[], &wanted, context.now()),
            copies: None,
            running: None,
            next_run: None,
            held_since: None,
            held_reason: None,
            problems: vec![Problem::new("unreadable", Failure::from_error(error).to_string())],
            doubted: None,
        }
    })
}

fn read(context: &Context, name: &ServiceName, max_age: Option<Duration>, remote: bool) -> Result<Status> {
    let settings = context.settings(name)?;
    let folder = context.environment.data_folder().join(name.as_str());
    let now = context.now();
    let scheduled = Scheduled::of(context, name, now);
    // Without --max-age it is the schedule that says how old.
    let max_age = max_age.or(scheduled.max_age).unwrap_or(MAX_AGE);
    let wanted = Wanted { max_age, drill_max_age: settings.drill_max_age, keep_previous: settings.keep_previous };
    let entries = History::of(&folder).read()?;
    let health = Health::of(&entries, &wanted, now);
    let mut problems = Vec::new();
    if settings.destination.is_none() {
        problems.push(Problem::new("no-destination", "no destination is set: it is not backed up"));
    }
    problems.extend(health.problems(&wanted, now));
    let copies = CopyStatus::of(&entries, &settings);
    problems.extend(scheduled.missed);
    let holds = Holds::read(&folder).unwrap_or_else(|error| {
        problems.push(Problem::new("unreadable", Failure::from_error(error).to_string()));
        Holds::default()
    });
    let doubted = backups::doubted(&entries, &holds);
    problems.extend(doubted.map(suspicious));
    let held = holds.service;
    let running = Lock::owner(&context.environment.data_folder(), name);
    // A run that goes on may be copying it at this moment.
    problems.extend(copies.as_ref().filter(|_| running.is_none()).and_then(CopyStatus::problem));
    if running.is_none() {
        problems.extend(interrupted(context, name));
    }
    if remote && settings.destination.is_some() {
        problems.extend(gone(context, name));
        problems.extend(gone_copies(context, name));
    }
    let running = running.map(|Owner { doing, since, pid, .. }| Running { doing, since, pid });
    Ok(Status {
        service: name.clone(),
        state: if problems.is_empty() { "ok" } else { "problem" },
        destination: settings.destination.map(|destination| destination.to_string()),
        health,
        copies,
        running,
        next_run: scheduled.next,
        held_since: held.as_ref().map(|hold| hold.since),
        held_reason: held.and_then(|hold| hold.reason),
        problems,
        doubted: doubted.map(|manifest| manifest.key.clone()),
    })
}

/// The newest backup is saved, but what it holds looks wrong.
fn suspicious(manifest: &Manifest) -> Problem {
    let lost = manifest.suspicious.as_ref().map(Suspicion::in_one_line);
    let why = lost.unwrap_or_else(|| "checks of yours fail".to_owned());
    Problem::new("suspicious", format!("the last backup, {}, is suspicious: {why}", manifest.key))
}

/// What the schedules say of a service.
struct Scheduled {
    /// How old the last good backup may be.
    max_age: Option<Duration>,
    next: Option<Timestamp>,
    missed: Vec<Problem>,
}

impl Scheduled {
    fn of(context: &Context, name: &ServiceName, now: Timestamp) -> Self {
        let zone = context.environment.time_zone();
        let ours = |entry: &schedules::Entry| match &entry.subject {
            Subject::Global => true,
            Subject::Service(service) => service == name,
        };
        // Schedules that can't be read are the doctor's affair.
        let all = schedules::all(context, |_| {});
        let next = all.iter().filter(|entry| ours(entry)).filter_map(|entry| entry.planned.cron.next(&zone, now)).min();
        let backups = all.iter().filter(|entry| ours(entry)).map(|entry| &entry.planned);
        let max_age = schedule::max_age(backups.filter(|planned| planned.task == Task::Backup), &zone, now);
        let missed = schedules::missed(context).into_iter().filter(|missed| ours(&missed.entry)).map(|missed| {
            let planned = &missed.entry.planned;
            let message = format!("the scheduled {} {} {}", planned.task.as_str(), planned.name, missed.what());
            Problem::new("missed", message)
        });
        Self { max_age, next, missed: missed.collect() }
    }
}

/// What an earlier run has left; the next one puts it right.
fn interrupted(context: &Context, name: &ServiceName) -> Vec<Problem> {
    let mut problems = Vec::new();
    let folder = context.environment.data_folder().join(name.as_str());
    match Journal::at(&folder).read() {
        Ok(Some(state)) if state.interrupted() => {
            let apps = if state.lift_maintenance.is_empty() {
                String::new()
            } else {
                format!(", with {} in maintenance", state.lift_maintenance.join(", "))
            };
            let message =
                format!("a restore from {} was interrupted{apps}: the next run puts that right", state.source);
            problems.push(Problem::new("interrupted", message));
        }
        Ok(_) => {}
        Err(error) => problems.push(Problem::new("interrupted", error.to_string())),
    }
    for (what, key) in upload::noted(&folder) {
        let upload = if what == What::Copy { "copying" } else { "upload" };
        let message = format!("the {upload} of {key} was interrupted: the next backup takes back what it has left");
        problems.push(Problem::new("interrupted", message));
    }
    problems
}

/// Backups of this host that the store has no more. A store that can't be listed is a problem of its own.
fn gone(context: &Context, name: &ServiceName) -> Vec<Problem> {
    let found = Service::find(&context.environment.lib_root, name)
        .map_err(anyhow::Error::from)
        .and_then(|service| context.store(&service))
        .and_then(|store| backups::catalog(name, store.as_ref(), context));
    match found {
        Err(error) => vec![Problem::new("store", Failure::from_error(error).to_string())],
        Ok(catalog) => {
            let mut problems = Vec::new();
            if let Some(reason) = &catalog.not_listed {
                problems.push(Problem::new("store", format!("the store can't be listed: {reason}")));
            }
            if let Some(key) = catalog.gone.first() {
                let gone = count(catalog.gone.len() as u64, "backup");
                problems.push(Problem::new("gone", format!("{gone} made here can't be found in the store: {key}")));
            }
            problems
        }
    }
}

/// The same for the second destination.
fn gone_copies(context: &Context, name: &ServiceName) -> Vec<Problem> {
    let found = Service::find(&context.environment.lib_root, name)
        .map_err(anyhow::Error::from)
        .and_then(|service| context.copy_store(&service))
        .and_then(|store| store.map(|store| backups::catalog(name, store.as_ref(), context)).transpose());
    match found {
        Err(error) => vec![Problem::new("store", format!("the copies: {}", Failure::from_error(error)))],
        // A role that may only write is the best one for a second place.
        Ok(catalog) => catalog
            .filter(|catalog| !catalog.gone.is_empty())
            .map(|catalog| {
                let gone = catalog.gone.len();
                Problem::new("gone", format!("of the copies in {} {gone} can't be found any more", catalog.destination))
            })
            .into_iter()
            .collect(),
    }
}

fn overview(context: &Context, all: &[Status]) -> Result<()> {
    let ui = &context.ui;
    if all.is_empty() {
        ui.warn("There are no postgres services");
        return Ok(());
    }
    let wrong = all.iter().filter(|one| !one.problems.is_empty()).count() as u64;
    let services = count(all.len() as u64, "service");
    ui.header(if wrong == 0 {
        format!("{services}: all is well")
    } else {
        format!(
            "{services}: {} to look at",
            if wrong == all.len() as u64 { "all".to_owned() } else { wrong.to_string() }
        )
    });
    let now = context.now();
    let mut table = Table::new(&[
        Column::left("service"),
        Column::left("state"),
        Column::right("age"),
        Column::left("last-backup"),
        Column::right("size").spare(3),
        Column::left("trend").spare(1),
        Column::right("rows").spare(2),
        Column::right("failed"),
        Column::left("drill"),
        Column::left("next-run").spare(4),
        Column::left("now"),
    ]);
    for one in all {
        let last = one.health.last_backup.as_ref();
        table.row([
            one.service.to_string(),
            if one.problems.is_empty() { "ok".to_owned() } else { first_word(&one.problems).to_uppercase() },
            last.map(|last| human::age(last.started, now)).unwrap_or_default(),
            last.map(|last| human::time(last.started)).unwrap_or_default(),
            last.map(|last| human::size(last.bytes)).unwrap_or_default(),
            trend(one, context.ui.shows_pictures()),
            last.map(|last| last.rows.to_string()).unwrap_or_default(),
            one.health.failures_since.to_string(),
            drill(one, now),
            one.next_run.map(human::time).unwrap_or_default(),
            one.running.as_ref().map(|running| running.doing.clone()).unwrap_or_default(),
        ]);
    }
    ui.table(&table)
}

fn first_word(problems: &[Problem]) -> &'static str {
    problems.first().map_or("ok", |problem| problem.problem)
}

fn drill(one: &Status, now: Timestamp) -> String {
    one.health.last_drill.as_ref().map_or_else(String::new, |drill| {
        format!("{}:{}", if drill.good { "passed" } else { "FAILED" }, human::age(drill.at, now))
    })
}

/// One service in full.
fn page(context: &Context, one: &Status) -> Result<()> {
    let ui = &context.ui;
    let now = context.now();
    ui.header(format!("{} backup status", one.service));
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.push(("Destination", one.destination.clone().unwrap_or_else(|| "none is set".to_owned())));
    match &one.health.last_backup {
        None => facts.push(("Last good backup", "none made on this host".to_owned())),
        Some(last) => {
            let ago = human::age(last.started, now);
            facts.push(("Last good backup", format!("{} ({ago} ago)", human::time(last.started))));
            facts.push(("Key", last.key.to_string()));
            let (tables, rows) = (count(last.tables, "table"), count(last.rows, "row"));
            facts.push(("Holds", format!("{}, {tables}, {rows}", human::size(last.bytes))));
        }
    }
    if one.health.trend.len() > 1 {
        facts.push(("Sizes", trend_in_full(one, ui.shows_pictures(), |point| point.bytes, human::size)));
        facts.push(("Rows", trend_in_full(one, ui.shows_pictures(), |point| point.rows, |rows| rows.to_string())));
    }
    if let Some(drill) = &one.health.last_drill {
        let how = if drill.good { "passed" } else { "FAILED" };
        facts.push(("Last drill", format!("{how} {} ago with {}", human::age(drill.at, now), drill.key)));
    } else {
        facts.push(("Last drill", "none".to_owned()));
    }
    if let Some(copies) = &one.copies {
        let newest = copies.newest.as_ref().map(|key| format!(", the newest {key}")).unwrap_or_default();
        facts.push(("Copies", format!("{} in {}{newest}", count(copies.copied, "backup"), copies.destination)));
    }
    if let Some(staged) = &one.health.staged {
        let since = human::time(staged.at);
        facts.push(("Staged", format!("{} waits since {since} for restore:commit or restore:abort", staged.source)));
    }
    if let Some(until) = one.health.rollback_until {
        facts.push(("Rollback", format!("possible until {} at least", human::time(until))));
    }
    if let Some(next) = one.next_run {
        facts.push(("Next run", human::time(next)));
    }
    if let Some(since) = one.held_since {
        let why = one.held_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        facts.push(("Held", format!("nothing is deleted since {}{why}", human::time(since))));
    }
    if let Some(running) = &one.running {
        let since = human::time(running.since);
        facts.push(("Running", format!("{} since {since} (pid {})", running.doing, running.pid)));
    }
    for (name, value) in facts {
        ui.line(format!("       {:18}{value}", format!("{name}:")))?;
    }
    for problem in &one.problems {
        ui.warn(&problem.message);
    }
    Ok(())
}

/// The last sizes as a picture, or the first and the last as numbers.
fn trend(one: &Status, picture: bool) -> String {
    let sizes: Vec<u64> = one.health.trend.iter().map(|point| point.bytes).collect();
    match sizes.as_slice() {
        [] | [_] => String::new(),
        _ if picture => human::sparkline(&sizes),
        [first, .., last] => human::change(*first, *last),
    }
}

fn trend_in_full(
    one: &Status,
    picture: bool,
    value: impl Fn(&crate::health::Point) -> u64,
    text: impl Fn(u64) -> String,
) -> String {
    let values: Vec<u64> = one.health.trend.iter().map(value).collect();
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
    let ends = format!("{} → {} over {} backups", text(*first), text(*last), values.len());
    if picture { format!("{} {ends}", human::sparkline(&values)) } else { ends.replace('→', "->") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::list::tests::world;
    use crate::history::tests::manifest;
    use crate::history::{BackupRecord, Event};

    #[test]
    fn what_can_not_be_read_of_one_service_is_its_own_problem() {
        let (host, context, said) = world();
        for name in ["prod", "spoiled"] {
            let service = host.path().join("services/postgres").join(name);
            std::fs::create_dir_all(&service).unwrap();
            std::fs::write(service.join("PASSWORD"), "x").unwrap();
        }
        let spoiled = Subject::Service("spoiled".parse().unwrap());
        context.properties().set(&spoiled, "keep-previous", "for long").unwrap();
        let args = Args { service: None, max_age: None, remote: false, format: Format::Stdout };
        let failure = Failure::from_error(run(&args, &context).unwrap_err());
        assert_eq!(failure.message, "Not all is well with prod, spoiled");
        assert!(said.out().contains("NO-DESTINATION") && said.out().contains("UNREADABLE"), "{}", said.out());
        let file = host.path().join("all.prom");
        context.properties().set(&Subject::Global, "metrics-file", file.to_str().unwrap()).unwrap();
        metrics::write(&context).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("pgbackup_problem{service=\"spoiled\",problem=\"unreadable\"} 1"), "{text}");
        assert!(text.contains("pgbackup_healthy{service=\"prod\"} 0"), "{text}");
        // Holds alone take nothing from the rest.
        let folder = context.environment.data_folder().join("prod");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("holds.json"), "{").unwrap();
        let problems: Vec<_> = of(&context, &"prod".parse().unwrap(), None, false).problems;
        let names: Vec<_> = problems.iter().map(|one| one.problem).collect();
        assert_eq!(names, ["no-destination", "never", "unreadable"], "{problems:?}");
    }

    #[test]
    fn a_backup_is_late_by_its_schedule_unless_something_else_is_said() {
        let (host, context, _) = world();
        let name: ServiceName = "prod".parse().unwrap();
        let service = host.path().join("services/postgres/prod");
        std::fs::create_dir_all(&service).unwrap();
        std::fs::write(service.join("PASSWORD"), "x").unwrap();
        // It is 2023-04-03, a Monday, 12:00.
        let record = BackupRecord::new(
            manifest("postgres-prod-2023-04-01-11-00-04.tgz"),
            "s3://bucket".into(),
            1,
            "1 part, CRC-32".into(),
        );
        backups::history(&name, &context).append(&Entry::now(Event::Backup(Box::new(record)), None)).unwrap();
        let late = |max_age: Option<u64>| {
            let one = of(&context, &name, max_age.map(Duration::from_hours), false);
            one.problems.into_iter().find(|one| one.problem == "late").map(|one| one.message)
        };
        let plan = |subject: &Subject, cron: &str, task| {
            let (cron, since) = (cron.parse().unwrap(), "2023-03-01T00:00:00Z".parse().unwrap());
            let planned = schedule::Planned { name: "one".parse().unwrap(), cron, task, jitter: 0, since };
            schedules::change(&context, subject, |all| {
                *all = vec![planned];
                Ok(())
            })
            .unwrap();
        };
        let said = |wanted: &str| Some(format!("the last good backup is 48h old, and {wanted} is wanted"));
        assert_eq!(late(None), said("26h"));
        let own = Subject::Service(name.clone());
        plan(&own, "0 11 * * 6", Task::Backup);
        assert_eq!(late(None), None, "weekly");
        assert_eq!(late(Some(30)), said("30h"));
        plan(&Subject::Global, "0 * * * *", Task::Prune);
        assert_eq!(late(None), None, "a pruning is no backup");
        plan(&Subject::Global, "0 * * * *", Task::Backup);
        assert_eq!(late(None), said("3h"), "for all of them, and so for this one");
    }
}
