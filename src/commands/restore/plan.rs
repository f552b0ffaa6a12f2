//! What a restore will do, shown before anything is asked or done: which backup, how old, what changes, whether it fits.

use anyhow::{Result, anyhow};

use crate::catalog::Backup;
use crate::changes::{self, Change};
use crate::commands::context::Context;
use crate::commands::present::present_rows;
use crate::commands::restore::UNTOUCHED;
use crate::commands::restore::source::Source;
use crate::database::{load, session, words};
use crate::error::Failure;
use crate::holds::Holds;
use crate::manifest::Manifest;
use crate::service::RunningService;
use crate::store::Store;
use crate::text::count;
use crate::ui::comparison::changes_table;
use crate::ui::human;
use crate::ui::table::{Column, Table};

/// Tables whose change is shown one by one.
const SHOWN: usize = 20;

/// Shows the plan.
///
/// # Errors
/// When it is clear by now that it can't work: the server is too old for it or lacks an extension, the disk is too small, or
/// the server can't be asked.
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
    if let Source::Stored { store, backup, .. } = source {
        facts.row(["From", &store.describe()]);
        facts.row([
            "Started",
            &format!("{} ({} ago)", human::time(backup.key.started()), human::age(backup.key.started(), context.now())),
        ]);
        if let Some(bytes) = backup.bytes {
            facts.row(["Size", &human::size(bytes)]);
        }
    }
    if let Source::Object(named) = source {
        facts.row(["From", &named.store.describe()]);
        if let Some(stored) = named.object.modified {
            let age = human::age(stored, context.now());
            facts.row(["Stored", &format!("{} ({age} ago)", human::time(stored))]);
        }
        facts.row(["Size", &human::size(named.object.bytes)]);
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
    if let Source::Stored { store, backup, .. } = source {
        warn_of_suspicion(context, store.as_ref(), backup);
    }
    match manifest {
        Some(manifest) => {
            load::check_described(manifest, &mut session::connect_beside(target)?, target)
                .map_err(|error| Failure::from_error(error).hint(UNTOUCHED))?;
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

/// The rows that somebody wants back may be those that this backup misses, too: names the newest one before it that has them.
fn warn_of_suspicion(context: &Context, store: &dyn Store, backup: &Backup) {
    let Some(manifest) = backup.manifest.as_ref().filter(|manifest| manifest.is_suspicious()) else { return };
    let service = backup.key.service();
    let folder = context.environment.data_folder().join(service.as_str());
    if Holds::read(&folder).is_ok_and(|holds| holds.has_released(&backup.key)) {
        return;
    }
    if manifest.failed_checks > 0 {
        let failed = count(manifest.failed_checks, "check");
        context.ui.warn(format!("{} is suspicious: when it was made {failed} failed", backup.key));
        for (name, check) in &manifest.fingerprint.checks {
            if let Some(failure) = check.failure() {
                context.ui.warn(format!("check {name}: {failure}"));
            }
        }
    }
    let Some(suspicion) = &manifest.suspicious else { return };
    context.ui.warn(format!("{} is suspicious: since {} rows are missing", backup.key, suspicion.compared_with));
    for loss in suspicion.tables.iter().take(SHOWN) {
        let now = loss.now.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
        context.ui.warn(format!("{}: {} rows then, {now} in this one", loss.table, loss.before));
    }
    if store.head(&suspicion.compared_with.to_string()).is_ok() {
        context.ui.warn(format!("The newest one before the loss is {}", suspicion.compared_with));
    }
}

/// Free bytes where the service's data lies; the data folder itself is closed to us, its parent is on the same disk.
fn free_space(target: &RunningService) -> Option<u64> {
    let space = rustix::fs::statvfs(&target.service.root).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Refuses what the disk is too small for.
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
        .hint("Free some space and try again: nothing was changed")
        .hint("pgbackup:rollback SERVICE --discard drops a database that an earlier restore replaced")
        .into()),
        _ => Ok(()),
    }
}

fn show_changes(context: &Context, manifest: &Manifest, client: &mut postgres::Client) -> Result<()> {
    let all = changes::compare(&present_rows(client)?, &changes::counted(&manifest.fingerprint.tables));
    let changed: Vec<&Change> = all.iter().filter(|change| !change.is_none()).collect();
    let (all, different) = (all.len(), changed.len());
    if different == 0 {
        context.ui.detail(format!("No table's number of rows changes ({})", count(all as u64, "table")));
        return Ok(());
    }
    context.ui.detail_table(&changes_table(changed.into_iter().take(SHOWN), "Now", "Then", false));
    if different > SHOWN {
        context.ui.detail(format!("and {} more", count((different - SHOWN) as u64, "table")));
    }
    if different < all {
        context.ui.detail(format!("The number of rows stays in {}", count((all - different) as u64, "table")));
    }
    Ok(())
}
