//! `notify:test`: one message to everybody who would be told of an event, and what came back.

use std::collections::HashSet;
use std::sync::OnceLock;

use anyhow::Result;
use serde::Serialize;

use crate::commands::arguments::Output;
use crate::commands::context::Context;
use crate::commands::telling::{self, Telling};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::notify::messenger::Errand;
use crate::notify::{Notice, NotifyOn, Outcome, Work};
use crate::service::name::ServiceName;
use crate::settings::Settings;
use crate::text::count;
use crate::ui::{Column, Table};

/// Send a test message to everybody who is told of events
///
/// Each webhook gets the message of a failed backup that says it is a test. The healthcheck is told of a start and a success (a
/// failure would wake somebody) and plugins of one event of each kind. What came back is shown; exit code 1 says that somebody could
/// not be told.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--global [--format json]",
    after_help = "Try who is told of lollipop's backups

    dokku pgbackup:notify:test lollipop"
)]
pub struct Args {
    /// The service, or --global for what holds for all services
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Subject,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// One line of `--format json`.
#[derive(Serialize)]
struct Row {
    receiver: String,
    event: String,
    told: bool,
    answer: String,
}

/// Sends them.
///
/// # Errors
/// When somebody could not be told, or nobody is to be.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    context.require(&args.service)?;
    let settings = Settings::resolve(&context.properties(), &args.service)?;
    let name: ServiceName = match &args.service {
        Subject::Service(name) => name.clone(),
        Subject::Global => "example".parse()?,
    };
    let errands = errands(context, &settings, &name);
    if errands.is_empty() {
        return Err(Failure::failed(format!("Nobody is told of events of {}", args.service))
            .hint(format!("Set a webhook: dokku pgbackup:set {} webhook-url https://HOST/HOOK", args.service))
            .hint(format!(
                "Set a healthcheck: dokku pgbackup:set {} healthcheck-url https://hc-ping.com/UUID",
                args.service
            ))
            .into());
    }
    context.ui.step(format!("Sending {}", count(errands.len() as u64, "test message")));
    let post = OnceLock::new();
    let mut rows = Vec::new();
    for (event, errand) in errands {
        crate::interrupt::check()?;
        let answer = errand.run(&post);
        rows.push(Row {
            receiver: errand.shown(),
            event,
            told: answer.is_ok(),
            answer: answer.unwrap_or_else(|error| error),
        });
    }
    show(context, args, &rows)?;
    let untold = rows.iter().filter(|row| !row.told).count();
    if untold > 0 {
        return Err(Failure::failed(format!("{untold} of {} did not arrive", count(rows.len() as u64, "message")))
            .hint(format!("See what is set with: dokku pgbackup:report {}", args.service))
            .into());
    }
    Ok(())
}

fn show(context: &Context, args: &Args, rows: &[Row]) -> Result<()> {
    if args.output.is_json() {
        return context.ui.json(&rows);
    }
    let mut table =
        Table::new(&[Column::left("receiver"), Column::left("event"), Column::left("told"), Column::left("answer")]);
    for row in rows {
        let told = if row.told { "yes" } else { "NO" };
        table.row([row.receiver.as_str(), &row.event, told, &row.answer]);
    }
    context.ui.table(&table)
}

/// Everybody, each with what they can be sent without harm.
fn errands(context: &Context, settings: &Settings, name: &ServiceName) -> Vec<(String, Errand)> {
    let telling = Telling::aside(context, Work::Backup, name);
    let all: NotifyOn = "all".parse().unwrap_or_default();
    let settings = Settings { notify_on: all, ..settings.clone() };
    let mut seen = HashSet::new();
    let mut errands = Vec::new();
    for outcome in [
        Outcome::Started,
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Suspicious,
        Outcome::Missed,
        Outcome::Recovered,
    ] {
        let notice = Notice {
            test: true,
            key: (outcome != Outcome::Missed).then(|| format!("postgres-{name}-2026-11-23-14-00-04.tgz")),
            ..telling
                .notice(outcome, format!("This is a test: nothing is {} with the backups of {name}", word(outcome)))
        };
        for errand in telling::errands(&settings, &context.environment, &notice, false) {
            let wanted = match &errand {
                Errand::Letter(letter) if letter.kind == "healthcheck" => outcome != Outcome::Failed,
                // One message is enough for people.
                Errand::Letter(letter) => outcome == Outcome::Failed && seen.insert(letter.url.reveal().to_owned()),
                Errand::Trigger { .. } => true,
            };
            if wanted {
                errands.push((notice.event(), errand));
            }
        }
    }
    errands
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Started | Outcome::Succeeded | Outcome::Recovered => "new",
        Outcome::Failed | Outcome::Suspicious | Outcome::Missed => "wrong",
    }
}
