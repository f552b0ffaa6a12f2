//! `schedule`: sets when backups and drills run by themselves, and shows it.

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::commands::arguments::Output;
use crate::commands::context::Context;
use crate::commands::schedules::{self, Entry, LastRun};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::schedule::{self, Name, Planned, Schedule, Task};
use crate::service::name::ServiceName;
use crate::settings::Span;
use crate::ui::human;
use crate::ui::{Column, Table};

/// How many of the next runs are shown.
const SHOWN: usize = 3;

/// Set when backups or drills or prunings run by themselves or show it
///
/// The five fields are those of cron: minute and hour and day of the month and month and day of the week in the time zone of
/// the host. A service has any number of schedules with a name each; setting a name again changes it. They run through the
/// crontab that Dokku writes and are active at once. Without a schedule all of them are shown.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "[<service>|--all] [\"CRON\"] [--name NAME] [--drill|--prune] [--jitter DURATION] [--format json]",
    after_help = "Back up lollipop every night

    dokku pgbackup:schedule lollipop \"30 3 * * *\"

Prove each Sunday that its newest backup restores

    dokku pgbackup:schedule lollipop \"0 5 * * 0\" --drill

Back up all services each hour one after another and not at the full hour

    dokku pgbackup:schedule --all \"0 * * * *\" --name hourly --jitter 10m

Prune each night what no rule keeps and not after each backup

    dokku pgbackup:set lollipop prune-after-backup off
    dokku pgbackup:schedule lollipop \"0 6 * * *\" --prune

Show what is scheduled

    dokku pgbackup:schedule"
)]
pub struct Args {
    /// The service; left out all schedules are shown
    #[arg(value_name = "service")]
    pub service: Option<String>,
    /// The schedule in quotes
    #[arg(value_name = "CRON", num_args = 0..)]
    pub cron: Vec<String>,
    /// For every service that has a destination
    #[arg(long)]
    pub all: bool,
    /// What it is called; without it backup or drill or prune
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,
    /// Run a restore drill of the newest backup instead of a backup
    #[arg(long)]
    pub drill: bool,
    /// Delete what no rule keeps instead of taking a backup
    #[arg(long, conflicts_with = "drill")]
    pub prune: bool,
    /// Begin up to this much later and each schedule of a service at its own moment (one for --all is one run): 10m
    #[arg(long, value_name = "DURATION")]
    pub jitter: Option<Span>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A schedule as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Row {
    service: Option<ServiceName>,
    name: Name,
    task: Task,
    cron: Schedule,
    time_zone: String,
    jitter_seconds: u64,
    next: Vec<Timestamp>,
    last: Option<LastRun>,
    missed: Option<Timestamp>,
    command: String,
    in_crontab: Option<bool>,
}

/// Sets a schedule, or shows those there are.
///
/// # Errors
/// When it is no schedule, or can't be kept or activated.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    // With --all what would be the service is the schedule's beginning.
    let (subject, words) = match &args.service {
        Some(word) if args.all => (Some(Subject::Global), [std::slice::from_ref(word), &args.cron].concat()),
        None if args.all => (Some(Subject::Global), Vec::new()),
        Some(word) => {
            let name: ServiceName = word.parse().map_err(|error| not_a_service(word, &error))?;
            (Some(Subject::Service(name)), args.cron.clone())
        }
        None => (None, Vec::new()),
    };
    if let Some(subject) = &subject {
        context.require(subject)?;
    }
    match subject {
        Some(subject) if !words.is_empty() => set(args, context, subject, &words.join(" ")),
        subject => {
            if args.name.is_some() || args.drill || args.prune || args.jitter.is_some() {
                return Err(Failure::usage("Please specify the schedule")
                    .hint("For each night at half past three: dokku pgbackup:schedule SERVICE \"30 3 * * *\"")
                    .into());
            }
            show(args, context, subject.as_ref())
        }
    }
}

fn not_a_service(word: &str, error: &dyn std::error::Error) -> Failure {
    let failure = Failure::usage(error.to_string());
    if word.parse::<Schedule>().is_ok()
        || word.starts_with(|first: char| first.is_ascii_digit() || first == '*' || first == '@')
    {
        return failure.hint(format!("For all services: dokku pgbackup:schedule --all {word:?}"));
    }
    failure
}

fn set(args: &Args, context: &Context, subject: Subject, text: &str) -> Result<()> {
    let cron: Schedule = text.parse().map_err(|error: schedule::InvalidSchedule| {
        let failure = Failure::usage(capitalized(&error.to_string()));
        if args.cron.len() > usize::from(!args.all) {
            return failure.hint("Put quotes around it: the shell takes a bare * for the names of files");
        }
        failure.hint("For each night at half past three: \"30 3 * * *\"")
    })?;
    let task = match (args.drill, args.prune) {
        (true, _) => Task::Drill,
        (_, true) => Task::Prune,
        _ => Task::Backup,
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => task.as_str().parse().map_err(|error: String| Failure::usage(error))?,
    };
    let jitter = args.jitter.unwrap_or_default().0.as_secs();
    let planned = Planned { name, cron, task, jitter, since: context.now() };
    plan(context, subject, planned).map(drop)
}

/// Keeps a schedule, activates it and tells of it. One of that name is replaced. Returns whether it will run.
///
/// # Errors
/// When it can't be kept or activated.
pub fn plan(context: &Context, subject: Subject, planned: Planned) -> Result<bool> {
    warn_without_destination(context, &subject)?;
    warn_without_rule(context, &subject, planned.task)?;
    let replaced = schedules::change(context, &subject, |all| {
        let before = all.iter().position(|other| other.name == planned.name).map(|index| all.remove(index));
        all.push(planned.clone());
        Ok(before)
    })?;
    let entry = Entry { subject, planned };
    let Planned { name, cron, task, jitter, .. } = &entry.planned;
    context.ui.header(format!("Schedule {name} of {}: a {} at {cron}", entry.whose(), task.as_str()));
    if let Some(before) = replaced.filter(|before| before.cron != *cron || before.task != *task) {
        context.ui.detail(format!("In place of the {} at {}", before.task.as_str(), before.cron));
    }
    let zone = context.environment.time_zone();
    for (index, run) in cron.upcoming(&zone, context.now(), SHOWN).into_iter().enumerate() {
        let label = if index == 0 { "Next runs:" } else { "" };
        context.ui.detail(format!("{label:<11}{} ({})", local(run, &zone), human::time(run)));
    }
    context.ui.detail(format!("{:<11}{}, that of this host", "Time zone:", zone_name(&zone)));
    if *jitter > 0 {
        let later = std::time::Duration::from_secs(entry.planned.delay(&entry.whose()));
        context.ui.detail(format!("{:<11}each run begins {} later", "Jitter:", human::duration(later)));
    }
    context.ui.detail(format!("{:<11}{}", "Log:", schedules::log_file(context, &entry.subject).display()));
    schedules::activate(context, &[entry])
}

/// A schedule without a destination would fail each time; it may be set a moment later, so it is no error.
fn warn_without_destination(context: &Context, subject: &Subject) -> Result<()> {
    if let Subject::Service(name) = subject
        && context.settings(name)?.destination.is_none()
    {
        context.ui.warn(format!("{name} has no destination yet: its scheduled runs would fail"));
        context.ui.warn(format!("Set it: dokku pgbackup:set {name} destination s3://BUCKET"));
    }
    Ok(())
}

/// A pruning without a rule deletes nothing, each time.
fn warn_without_rule(context: &Context, subject: &Subject, task: Task) -> Result<()> {
    if let Subject::Service(name) = subject
        && task == Task::Prune
        && !context.settings(name)?.retention.any()
    {
        context.ui.warn(format!("No rule is set for {name} yet: nothing would be deleted"));
        context.ui.warn(format!("Set one: dokku pgbackup:set {name} keep-daily 7"));
    }
    Ok(())
}

fn show(args: &Args, context: &Context, subject: Option<&Subject>) -> Result<()> {
    let mut entries = schedules::all(context, |error| context.ui.warn(Failure::from_error(error).to_string()));
    // What runs for all services runs for this one, too.
    entries.retain(|entry| subject.is_none_or(|subject| entry.subject == *subject || entry.subject == Subject::Global));
    let zone = context.environment.time_zone();
    let absent = match schedules::not_in_crontab(context, &entries) {
        Ok(absent) => Some(absent),
        Err(_) if entries.is_empty() => None,
        Err(error) => {
            context.ui.warn(format!("Whether they are active is not known: {error:#}"));
            None
        }
    };
    let rows: Vec<Row> = entries.iter().map(|entry| row(context, entry, &zone, absent.as_deref())).collect();
    if args.output.is_json() {
        return context.ui.json(&rows);
    }
    if rows.is_empty() {
        let whose = subject.map_or("SERVICE".to_owned(), schedules::whose);
        context.ui.warn("Nothing is scheduled");
        context.ui.warn(format!("For each night at half past three: dokku pgbackup:schedule {whose} \"30 3 * * *\""));
        return Ok(());
    }
    context.ui.header(format!("Schedules in the time zone of this host, {}", zone_name(&zone)));
    context.ui.table(&table(&rows, context.now()))?;
    for row in &rows {
        let whose = row.service.as_ref().map_or("--all", ServiceName::as_str);
        if row.in_crontab == Some(false) {
            context.ui.warn(format!("{} of {whose} is not in Dokku's crontab and doesn't run", row.name));
            context.ui.warn(format!("Another way to run it: dokku pgbackup:schedule:export {whose}"));
        }
        if let Some(due) = row.missed {
            context.ui.warn(format!("{} of {whose} was due at {} and didn't run", row.name, human::time(due)));
        }
    }
    Ok(())
}

fn row(context: &Context, entry: &Entry, zone: &TimeZone, absent: Option<&[Entry]>) -> Row {
    let Planned { name, cron, task, jitter, since } = entry.planned.clone();
    let last = schedules::last_run(context, entry);
    let now = context.now();
    Row {
        service: match &entry.subject {
            Subject::Service(name) => Some(name.clone()),
            Subject::Global => None,
        },
        missed: schedule::missed(&cron, zone, since, last.as_ref().map(|last| last.began), now),
        next: cron.upcoming(zone, now, SHOWN),
        time_zone: zone_name(zone),
        jitter_seconds: jitter,
        command: entry.command(),
        in_crontab: absent
            .map(|absent| !absent.iter().any(|other| other.subject == entry.subject && other.planned.name == name)),
        name,
        task,
        cron,
        last,
    }
}

fn table(rows: &[Row], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        Column::left("service"),
        Column::left("name"),
        Column::left("task"),
        Column::left("next"),
        Column::left("last"),
        Column::left("result"),
        Column::left("schedule"),
    ]);
    for row in rows {
        let last = row.last.as_ref().map(|last| human::age(last.began, now)).unwrap_or_default();
        let result = row.last.as_ref().map(LastRun::word).unwrap_or_default();
        table.row([
            row.service.as_ref().map_or("--all", ServiceName::as_str).to_owned(),
            row.name.to_string(),
            row.task.as_str().to_owned(),
            row.next.first().map(|next| human::time(*next)).unwrap_or_default(),
            last,
            result,
            row.cron.to_string(),
        ]);
    }
    table
}

/// `2026-11-25 03:30 CET`.
fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%F %H:%M %Z").to_string()
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
