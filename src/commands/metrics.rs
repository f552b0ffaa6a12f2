//! The state of all services as OpenMetrics text, for a scrape or for node_exporter's textfile collector.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;

use crate::commands::context::Context;
use crate::commands::status::{self, Status};
use crate::dokku::properties::Subject;
use crate::durable;
use crate::service::Service;

/// The file's name where a folder is set.
const FILE: &str = "pgbackup.prom";

/// A metric: its name, its unit, what it says, and its value where a service has one.
type Metric = (&'static str, &'static str, &'static str, fn(&Status) -> Option<f64>);

/// Gauges all of them: what is there now. The text format of Prometheus, which node_exporter reads, knows no more types than that and counters.
const METRICS: &[Metric] = &[
    ("pgbackup_healthy", "", "Whether nothing is late and nothing has failed.", |one| {
        Some(flag(one.problems.is_empty()))
    }),
    ("pgbackup_last_backup_timestamp_seconds", "seconds", "When the last good backup began.", |one| {
        one.health.last_backup.as_ref().map(|last| seconds(last.started))
    }),
    ("pgbackup_last_backup_size_bytes", "bytes", "Length of the last good backup.", |one| {
        one.health.last_backup.as_ref().map(|last| number(last.bytes))
    }),
    ("pgbackup_last_backup_rows", "", "Rows in the last good backup.", |one| {
        one.health.last_backup.as_ref().map(|last| number(last.rows))
    }),
    ("pgbackup_last_backup_tables", "", "Tables in the last good backup.", |one| {
        one.health.last_backup.as_ref().map(|last| number(last.tables))
    }),
    ("pgbackup_last_backup_duration_seconds", "seconds", "How long the last good backup took.", |one| {
        one.health.last_backup.as_ref().and_then(|last| last.seconds)
    }),
    ("pgbackup_failures_since_last_backup", "", "Backups that failed since the last good one.", |one| {
        Some(number(one.health.failures_since))
    }),
    ("pgbackup_last_drill_timestamp_seconds", "seconds", "When the last restore drill ended.", |one| {
        one.health.last_drill.as_ref().map(|drill| seconds(drill.at))
    }),
    ("pgbackup_last_drill_passed", "", "Whether the last restore drill passed.", |one| {
        one.health.last_drill.as_ref().map(|drill| flag(drill.good))
    }),
    ("pgbackup_running", "", "Whether a run has the service now.", |one| Some(flag(one.running.is_some()))),
];

/// The text.
pub fn text(all: &[Status], now: Timestamp) -> String {
    let mut text = String::new();
    for (name, unit, help, value) in METRICS {
        head(&mut text, name, unit, help);
        for one in all {
            if let Some(value) = value(one) {
                // Names of services have no character that would have to be written otherwise.
                let _ = writeln!(text, "{name}{{service=\"{}\"}} {value}", one.service);
            }
        }
    }
    let name = "pgbackup_problem";
    head(&mut text, name, "", "Something that somebody should look at.");
    for one in all {
        let mut known: Vec<&str> = one.problems.iter().map(|problem| problem.problem).collect();
        known.sort_unstable();
        known.dedup();
        for problem in known {
            let _ = writeln!(text, "{name}{{service=\"{}\",problem=\"{problem}\"}} 1", one.service);
        }
    }
    let name = "pgbackup_status_timestamp_seconds";
    head(&mut text, name, "seconds", "When this was written.");
    let _ = writeln!(text, "{name} {}", seconds(now));
    text.push_str("# EOF\n");
    text
}

fn head(text: &mut String, name: &str, unit: &str, help: &str) {
    let _ = writeln!(text, "# TYPE {name} gauge");
    if !unit.is_empty() {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
}

/// Writes the file of the property metrics-file, whole or not at all. Nothing is done where it is not set.
///
/// # Errors
/// When it can't be written.
pub fn write(context: &Context) -> Result<()> {
    let Some(path) = context.properties().get(&Subject::Global, "metrics-file")? else { return Ok(()) };
    let path = PathBuf::from(path);
    let path = if path.is_dir() { path.join(FILE) } else { path };
    let mut all = Vec::new();
    for name in Service::all(&context.environment.lib_root)? {
        all.push(status::of(context, &name, None, false));
    }
    durable::write(&path, text(&all, context.now()).as_bytes(), 0o644)
}

fn seconds(instant: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century are exact")]
    let milliseconds = instant.as_millisecond() as f64;
    milliseconds / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float; up to 2^53 it is exact")]
fn number(number: u64) -> f64 {
    number as f64
}

fn flag(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}
