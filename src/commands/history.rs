//! `history`: what was done to a service on this host, and what each run has said.

use std::collections::HashMap;
use std::num::NonZero;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::commands::arguments::{Output, how_many};
use crate::commands::backups;
use crate::commands::context::Context;
use crate::error::{Failure, Kind};
use crate::history::{Entry, Event};
use crate::run_log::{Line, Log, Logs};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::ui::human;
use crate::ui::{Column, Table};

/// Show what was done to a service or what one run has said
///
/// Backups and restores and drills and deletions and all failures of this host with the newest first. With the name of a run
/// (or latest) that one with its log. The logs of the newest 200 runs are kept.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [<run>] [--limit N] [--format json]",
    after_help = "Show the newest runs

    dokku pgbackup:history lollipop

Read why the last one failed

    dokku pgbackup:history lollipop latest"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// A run of the list or any part of its name that fits only one or latest
    #[arg(value_name = "run")]
    pub run: Option<String>,
    /// Show this many at most
    #[arg(long, value_name = "N", value_parser = how_many, default_value = "20")]
    pub limit: NonZero<usize>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A run as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the name of the field in JSON")]
struct Run {
    run: String,
    event: String,
    result: &'static str,
    began: Timestamp,
    ended: Timestamp,
    seconds: Option<f64>,
    what: Option<String>,
    error: Option<String>,
    has_log: bool,
    #[serde(skip)]
    log: Option<Log>,
}

/// One of them in full.
#[derive(Debug, Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    run: &'a Run,
    log: Vec<Line>,
}

/// Shows it.
///
/// # Errors
/// When there is no such service or run, or the history can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    let name = &args.service;
    let folder = context.environment.data_folder().join(name.as_str());
    // What was done to a service that is gone is asked for, too.
    if !folder.is_dir() {
        Service::find(&context.environment.lib_root, name)?;
    }
    let runs = runs(&backups::history(name, context).read()?, Logs::of(&folder).all());
    match &args.run {
        Some(wanted) => one(args, context, find(&runs, wanted, name)?),
        None => list(args, context, &runs),
    }
}

/// What is in the history with the log of its run, and runs that only have a log; newest first.
fn runs(entries: &[Entry], logs: Vec<Log>) -> Vec<Run> {
    let mut unclaimed = vec![true; logs.len()];
    let mut runs: Vec<Run> = Vec::new();
    for entry in entries {
        let log = logs.iter().rposition(|log| log.holds(entry.at));
        if let Some(claimed) = log.and_then(|index| unclaimed.get_mut(index)) {
            *claimed = false;
        }
        runs.push(of_entry(entry, log.and_then(|index| logs.get(index)).cloned()));
    }
    let alone = logs.into_iter().zip(unclaimed).filter(|(_, unclaimed)| *unclaimed);
    runs.extend(alone.map(|(log, _)| of_log(log)));
    runs.sort_by_key(|run| run.ended);
    let mut seen: HashMap<String, usize> = HashMap::new();
    for run in &mut runs {
        let name = run.ended.strftime("%Y%m%dT%H%M%SZ").to_string();
        let number = seen.entry(name.clone()).and_modify(|number| *number += 1).or_insert(1);
        run.run = if *number == 1 { name } else { format!("{name}.{number}") };
    }
    runs.reverse();
    runs
}

/// By the fields that events have in common, so that an event of tomorrow is shown as well.
fn of_entry(entry: &Entry, log: Option<Log>) -> Run {
    let value = serde_json::to_value(entry).unwrap_or_default();
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let event = text("event").unwrap_or_default();
    let (event, failed) = match event.strip_suffix("-failed") {
        Some(event) => (event.to_owned(), true),
        None => (event, false),
    };
    let is = |field: &str, wanted: bool| value.get(field).and_then(Value::as_bool) == Some(wanted);
    let result = if is("interrupted", true) {
        "interrupted"
    } else if failed {
        "FAILED"
    } else if matches!(entry.event, Event::Missed { .. }) {
        "MISSED"
    } else if matches!(entry.event, Event::Untold { .. }) {
        "NOT TOLD"
    } else if is("good", false) || is("matched", false) {
        "DIFFERENT"
    } else {
        "good"
    };
    let differences = value.get("differences").and_then(Value::as_array);
    let difference = differences.and_then(|all| all.first()?.as_str().map(str::to_owned));
    let seconds = entry.seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let took = SignedDuration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default();
    Run {
        run: String::new(),
        event,
        result,
        began: entry.at.checked_sub(took).unwrap_or(entry.at),
        ended: entry.at,
        seconds,
        what: text("key").or_else(|| text("source")).or_else(|| text("replaced")).or_else(|| text("destination")),
        error: text("error").or(difference),
        has_log: log.is_some(),
        log,
    }
}

/// A run that is not in the history: it staged a restore, was refused, was killed, or goes on.
fn of_log(log: Log) -> Run {
    let lines = log.lines().unwrap_or_default();
    let said_an_outcome = lines.iter().any(|line| line.text.starts_with("=====>"));
    let interrupted = lines.iter().any(|line| line.text.starts_with(" !     Interrupted;"));
    // What failed, and behind it the lines that say what to do.
    let block = lines.iter().rev().take_while(|line| line.text.starts_with(" !"));
    let failure = block.last().map(|line| line.text.trim_start_matches([' ', '!']).to_owned());
    Run {
        run: String::new(),
        event: log.doing.clone(),
        result: match (failure.is_some(), said_an_outcome) {
            (true, _) if interrupted => "interrupted",
            (true, _) => "FAILED",
            (false, true) => "ended",
            (false, false) => "unfinished",
        },
        began: log.began,
        ended: log.ended,
        seconds: Some(log.ended.duration_since(log.began).as_secs_f64()),
        what: None,
        error: failure,
        has_log: true,
        log: Some(log),
    }
}

fn find<'a>(runs: &'a [Run], wanted: &str, name: &ServiceName) -> Result<&'a Run, Failure> {
    let see = format!("See them with: dokku pgbackup:history {name}");
    let fits = |run: &&Run| wanted == "latest" || run.run.contains(wanted);
    let found: Vec<&Run> = match runs.iter().find(|run| run.run == wanted) {
        Some(exact) => vec![exact],
        None => runs.iter().filter(fits).collect(),
    };
    match found.as_slice() {
        [] => Err(Failure::new(Kind::NoSuchBackup, format!("{name} has no run {wanted}")).hint(see)),
        [first, ..] if wanted == "latest" || found.len() == 1 => Ok(first),
        several => {
            Err(Failure::new(Kind::NoSuchBackup, format!("{} runs of {name} fit {wanted}", several.len())).hint(see))
        }
    }
}

fn list(args: &Args, context: &Context, runs: &[Run]) -> Result<()> {
    let shown = runs.get(..args.limit.get().min(runs.len())).unwrap_or_default();
    if args.output.is_json() {
        return context.ui.json(&shown);
    }
    if shown.is_empty() {
        context.ui.warn(format!("Nothing was done to {} on this host so far", args.service));
        return Ok(());
    }
    context.ui.header(format!("{} on this host", args.service));
    let mut table = Table::new(&[
        Column::left("run"),
        Column::right("age"),
        Column::right("took").spare(1),
        Column::left("event"),
        Column::left("result"),
        Column::left("what"),
    ]);
    for run in shown {
        let took = run.seconds.map(|seconds| human::duration(std::time::Duration::from_secs_f64(seconds.max(0.0))));
        // Why something failed says more than what it was about.
        let what = run.error.clone().or_else(|| run.what.clone()).unwrap_or_default();
        table.row([
            run.run.clone(),
            human::age(run.ended, context.now()),
            took.unwrap_or_default(),
            run.event.clone(),
            run.result.to_owned(),
            what.lines().next().unwrap_or_default().to_owned(),
        ]);
    }
    context.ui.table(&table)?;
    if runs.len() > shown.len() {
        context.ui.detail(format!("{} older ones are not shown", runs.len() - shown.len()));
    }
    Ok(())
}

fn one(args: &Args, context: &Context, run: &Run) -> Result<()> {
    let log = run.log.as_ref().map(Log::lines).transpose()?.unwrap_or_default();
    if args.output.is_json() {
        return context.ui.json(&Full { run, log });
    }
    let took = run.seconds.map(|seconds| human::duration(std::time::Duration::from_secs_f64(seconds.max(0.0))));
    let took = took.map(|took| format!(" after {took}")).unwrap_or_default();
    context.ui.header(format!("{} of {}: {}{took}", run.event, args.service, run.result));
    context.ui.detail(format!("Began: {}", human::time(run.began)));
    context.ui.detail(format!("Ended: {}", human::time(run.ended)));
    for (label, text) in [("What:  ", &run.what), ("Why:   ", &run.error)] {
        if let Some(text) = text {
            context.ui.detail(format!("{label}{text}"));
        }
    }
    if log.is_empty() {
        context.ui.detail("Its log is not kept");
        return Ok(());
    }
    context.ui.detail("Log:");
    log.iter().try_for_each(|line| context.ui.line(format!("{} {}", line.at.strftime("%H:%M:%S"), line.text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::VerificationRecord;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn shows_any_event_and_gives_each_a_name() {
        let failed = |second, error: &str| Entry {
            at: at(second),
            seconds: Some(3.0),
            event: Event::BackupFailed { destination: "s3://b".into(), error: error.into(), interrupted: false },
        };
        let bad = Entry {
            at: at(9),
            seconds: None,
            event: Event::Verification(VerificationRecord {
                key: "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap(),
                depth: crate::history::Depth::Restore,
                good: false,
                differences: vec!["public.users: 562 expected, 0 found".into()],
            }),
        };
        let runs = runs(&[failed(5, "one"), failed(5, "two"), bad], Vec::new());
        let shown: Vec<_> = runs.iter().map(|run| (run.run.as_str(), run.event.as_str(), run.result)).collect();
        assert_eq!(
            shown,
            [
                ("20231114T221329Z", "verification", "DIFFERENT"),
                ("20231114T221325Z.2", "backup", "FAILED"),
                ("20231114T221325Z", "backup", "FAILED")
            ]
        );
        assert_eq!(runs[0].error.as_deref(), Some("public.users: 562 expected, 0 found"));
        assert_eq!(runs[2].began, at(2));
        let name = "prod".parse().unwrap();
        assert_eq!(find(&runs, "latest", &name).unwrap().run, "20231114T221329Z");
        assert_eq!(find(&runs, "221325Z.2", &name).unwrap().error.as_deref(), Some("two"));
        assert_eq!(find(&runs, "20231114T221325Z", &name).unwrap().error.as_deref(), Some("one"), "an exact name wins");
        assert_eq!(find(&runs, "2023", &name).unwrap_err().kind, Kind::NoSuchBackup);
        assert_eq!(find(&runs, "x", &name).unwrap_err().message, "prod has no run x");
    }
}
