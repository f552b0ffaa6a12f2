//! What a restore will do, shown before anything is asked or done: which backup, how old, what changes, whether it fits.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use crate::commands::context::Context;
use crate::commands::restore::source::Source;
use crate::database::{fingerprint, session, snapshot, words};
use crate::error::Failure;
use crate::manifest::Manifest;
use crate::service::RunningService;
use crate::text::count;
use crate::ui::human;
use crate::ui::table::{Column, Table};

/// Tables whose change is shown one by one.
const SHOWN: usize = 20;
/// A plan must not keep a worried user waiting: a table that takes longer to count is estimated.
const COUNT_TIMEOUT: &str = "SET statement_timeout = '3s'";
/// More tables than this are estimated all.
const COUNTED: usize = 500;

/// Shows the plan.
///
/// # Errors
/// When it is clear by now that it can't work: the disk is too small, or the server can't be asked.
pub fn show(context: &Context, source: &Source, target: &RunningService) -> Result<()> {
    let ui = &context.ui;
    let mut client = if session::database_exists(target)? {
        Some(session::connect(target, &target.service.database)?)
    } else {
        None
    };
    let live: Option<i64> = client
        .as_mut()
        .map(|client| {
            client
                .query_one("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", &[])
                .and_then(|row| row.try_get(0))
                .map_err(|error| anyhow!("{}", words(&error)))
        })
        .transpose()?;
    ui.step(format!("Plan for {}", target.service.name));
    let mut facts = Table::new(&[Column::left(""), Column::left("")]);
    facts.row(["Backup", &source.describe()]);
    if let Source::Stored { store, backup } = source {
        facts.row(["From", &store.describe()]);
        facts.row([
            "Started",
            &format!("{} ({} ago)", human::time(backup.key.started()), human::age(backup.key.started(), context.now())),
        ]);
        if let Some(bytes) = backup.bytes {
            facts.row(["Size", &human::size(bytes)]);
        }
    }
    let manifest = source.manifest();
    if let Some(manifest) = manifest {
        if manifest.is_brief() {
            facts.row(["Made with", &format!("PostgreSQL {}", manifest.server.version)]);
        } else {
            facts.row(["Made on", &format!("{} with PostgreSQL {}", manifest.host, manifest.server.version)]);
        }
        facts.row(["Holds", &format!("{}, {}", count(manifest.tables(), "table"), count(manifest.rows(), "row"))]);
    }
    facts.row([
        "Into",
        &format!(
            "database {} of {}, {} now",
            target.service.database,
            target.service.name,
            live.map_or_else(|| "gone".to_owned(), |live| human::size(u64::try_from(live).unwrap_or_default()))
        ),
    ]);
    let free = free_space(target);
    if let Some(free) = free {
        let needed = manifest.map_or_else(
            || "an unknown size is needed".to_owned(),
            |manifest| format!("about {} needed", human::size(manifest.database.bytes)),
        );
        facts.row(["Disk", &format!("{needed}, {} free", human::size(free))]);
    }
    ui.detail_table(&facts);
    match manifest {
        Some(manifest) => {
            refuse_small_disk(manifest, free)?;
            if manifest.is_brief() {
                ui.detail("Which tables change is not known beforehand: their counts stand in the encrypted archive");
            } else if let Some(client) = &mut client {
                show_changes(context, manifest, client)?;
            }
        }
        None => ui.detail("What changes is not known beforehand: the backup has no manifest beside it, its rows are counted as they are read"),
    }
    Ok(())
}

/// Free bytes where the service's data lies; the data folder itself is closed to us, its parent is on the same disk.
fn free_space(target: &RunningService) -> Option<u64> {
    let space = rustix::fs::statvfs(&target.service.root).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Refuses a drill for which the disk is too small.
///
/// # Errors
/// When it is.
pub fn refuse_if_too_large(source: &Source, target: &RunningService) -> Result<()> {
    source.manifest().map_or(Ok(()), |manifest| refuse_small_disk(manifest, free_space(target)))
}

fn refuse_small_disk(manifest: &Manifest, free: Option<u64>) -> Result<()> {
    let needed = manifest.database.bytes;
    match free {
        Some(free) if free < needed => Err(Failure::failed(format!(
            "The restored database needs about {} beside the live one, but only {} are free",
            human::size(needed),
            human::size(free)
        ))
        .hint("Free some space and run the restore again, nothing was changed")
        .hint("pgbackup:rollback SERVICE --discard drops a database that an earlier restore replaced")
        .into()),
        _ => Ok(()),
    }
}

fn show_changes(context: &Context, manifest: &Manifest, client: &mut postgres::Client) -> Result<()> {
    let now = present_rows(client)?;
    let expected = &manifest.fingerprint.tables;
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(now.keys()).collect();
    let all = names.len();
    let mut changes =
        Table::new(&[Column::left("Table"), Column::right("Now"), Column::left(""), Column::right("Then")]);
    let mut different = 0;
    for name in names {
        let present = now.get(name);
        let then = expected.get(name);
        if present.is_some_and(|present| present.exact) && present.map(|present| present.rows) == then.copied() {
            continue;
        }
        different += 1;
        if different <= SHOWN {
            let present = present.map_or_else(|| "no table".to_owned(), Present::to_string);
            let then = then.map_or_else(|| "no table".to_owned(), u64::to_string);
            changes.row([name.as_str(), &present, "->", &then]);
        }
    }
    if different == 0 {
        context.ui.detail(format!("No table's number of rows changes ({})", count(all as u64, "table")));
        return Ok(());
    }
    context.ui.detail_table(&changes);
    if different > SHOWN {
        context.ui.detail(format!("and {} more", count((different - SHOWN) as u64, "table")));
    }
    if different < all {
        context.ui.detail(format!("The number of rows stays in {}", count((all - different) as u64, "table")));
    }
    Ok(())
}

/// Rows that a table has at present.
struct Present {
    rows: u64,
    exact: bool,
}

impl std::fmt::Display for Present {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.exact { "" } else { "about " }, self.rows)
    }
}

fn present_rows(client: &mut postgres::Client) -> Result<BTreeMap<String, Present>> {
    let names: Vec<String> = snapshot::list_tables(client)?.into_iter().map(|table| table.name).collect();
    client.batch_execute(COUNT_TIMEOUT).map_err(|error| anyhow!("{}", words(&error)))?;
    let few = names.len() <= COUNTED;
    let mut present = BTreeMap::new();
    for name in names {
        crate::interrupt::check()?;
        let exact = if few { fingerprint::count(client, &name).ok() } else { None };
        let rows = match exact {
            Some(rows) => rows,
            None => estimate(client, &name)?,
        };
        present.insert(name, Present { rows, exact: exact.is_some() });
    }
    Ok(present)
}

fn estimate(client: &mut postgres::Client, table: &str) -> Result<u64> {
    let rows: f32 = client
        .query_one(
            "SELECT reltuples FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.text::pg_catalog.regclass",
            &[&table],
        )
        .and_then(|row| row.try_get(0))
        .map_err(|error| anyhow!("{}", words(&error)))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, negative when there is none"
    )]
    Ok(rows.max(0.0) as u64)
}
