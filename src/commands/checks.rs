//! The user's own checks of a service, as they are kept: a property, so that they go with its other settings. What they were answered
//! stands in each backup's manifest.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::commands::Context;
use crate::commands::arguments::Output;
use crate::commands::backups::history;
use crate::dokku::properties::Subject;
use crate::durable::{self, Locked};
use crate::error::{Failure, Kind};
use crate::history::Event;
use crate::manifest::Manifest;
use crate::manifest::checks::{Check, Name, Recorded};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;
use crate::ui::{Column, Table};

/// The property that holds them; only the commands for checks write it.
const PROPERTY: &str = "checks";
/// How long a change waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// List the checks of a service
///
/// Checks are queries of your own. Each backup records their answers in the snapshot of the dump and each restore and drill asks them
/// again and compares. Shown is what each wants and what the newest backup has recorded.
#[derive(Debug, clap::Args)]
#[command(after_help = "List the checks of lollipop

    dokku pgbackup:checks lollipop

Add one

    dokku pgbackup:checks:add lollipop users \"SELECT count(*) FROM users\" --min 500")]
pub struct Args {
    /// The service whose checks are listed
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A check as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a Name,
    #[serde(flatten)]
    check: &'a Check,
    last: Option<Last<'a>>,
}

#[derive(Debug, Serialize)]
struct Last<'a> {
    backup: &'a BackupKey,
    snapshot: Timestamp,
    answer: String,
    good: bool,
}

/// Lists them.
///
/// # Errors
/// When there is no such service, or they can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = Service::find(&context.environment.lib_root, &args.service)?.name;
    let checks = of(context, &name)?;
    let newest = newest_manifest(context, &name);
    let last = |check: &Name| -> Option<(&Manifest, &Recorded)> {
        let manifest = newest.as_ref()?;
        Some((manifest, manifest.fingerprint.checks.get(check)?))
    };
    if args.output.is_json() {
        let rows: Vec<Row> = checks
            .iter()
            .map(|(name, check)| Row {
                name,
                check,
                last: last(name).map(|(manifest, recorded)| Last {
                    backup: &manifest.key,
                    snapshot: manifest.snapshot,
                    answer: recorded.answer.describe(),
                    good: recorded.holds(),
                }),
            })
            .collect();
        return context.ui.json(&rows);
    }
    if checks.is_empty() {
        context.ui.warn(format!("{name} has no checks of your own; rows and schema are compared without them"));
        context.ui.warn(format!("Add one: dokku pgbackup:checks:add {name} users \"SELECT count(*) FROM users\""));
        return Ok(());
    }
    context.ui.header(format!("{name} checks"));
    let mut table =
        Table::new(&[Column::left("name"), Column::left("wanted"), Column::left("last"), Column::left("query")]);
    for (name, check) in &checks {
        let last = last(name).map_or_else(String::new, |(_, recorded)| {
            let mark = if recorded.holds() { "" } else { " (FAILED)" };
            format!("{}{mark}", recorded.answer.describe())
        });
        let sql = check.sql.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
        table.row([name.to_string(), check.wants.describe(), last, sql]);
    }
    context.ui.table(&table)
}

fn newest_manifest(context: &Context, service: &ServiceName) -> Option<Manifest> {
    history(service, context).read().ok()?.into_iter().rev().find_map(|entry| match entry.event {
        Event::Backup(record) => record.manifest,
        _ => None,
    })
}

/// The checks of a service by name.
///
/// # Errors
/// When they can't be read, or were spoiled by hand: nobody may take that for "there are none".
pub fn of(context: &Context, service: &ServiceName) -> Result<BTreeMap<Name, Check>> {
    let subject = Subject::Service(service.clone());
    let Some(text) = context.properties().get(&subject, PROPERTY)? else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!("The checks of {service} can't be read"))
            .because(error)
            .hint(format!("Forget them all: dokku pgbackup:checks:remove {service} --all"))
            .into()
    })
}

/// Changes the checks of a service, alone.
///
/// # Errors
/// When they can't be read or written.
pub fn change<T>(
    context: &Context,
    service: &ServiceName,
    change: impl FnOnce(&mut BTreeMap<Name, Check>) -> Result<T>,
) -> Result<T> {
    let folder = context.environment.data_folder().join("--global");
    durable::make_folder(&folder, 0o700)?;
    let Locked::Ours(_held) = durable::lock(&folder.join("checks.lock"), PATIENCE)? else {
        return Err(Failure::new(Kind::Busy, "Another command is changing checks")
            .hint("Nothing was changed; try again when it has ended")
            .into());
    };
    let mut checks = of(context, service)?;
    let result = change(&mut checks)?;
    let subject = Subject::Service(service.clone());
    if checks.is_empty() {
        context.properties().unset(&subject, PROPERTY)?;
    } else {
        context.properties().set(&subject, PROPERTY, &serde_json::to_string(&checks)?)?;
    }
    Ok(result)
}

/// Forgets all checks of a service, also spoiled ones. Returns whether there were any.
///
/// # Errors
/// When the file can't be removed.
pub fn forget(context: &Context, service: &ServiceName) -> Result<bool> {
    context.properties().unset(&Subject::Service(service.clone()), PROPERTY)
}
