//! A backup that has lost rows since the last good one, or that fails a check of the user: found, and said aloud.

use anyhow::Result;

use crate::changes;
use crate::commands::context::Context;
use crate::history::{Event, History};
use crate::holds::Holds;
use crate::manifest::{DatabaseDescription, Fingerprint, Loss, Manifest, Suspicion};
use crate::service::RunningService;
use crate::text::count;

/// Tables that a suspicious backup's warning names.
const LOSSES_SHOWN: usize = 10;

/// What has been lost since the last backup that is not suspicious itself, or that the user has released: so each backup is
/// suspicious until the rows are back or the user says that they were meant to go.
pub(super) fn of(
    context: &Context,
    service: &RunningService,
    history: &History,
    database: &DatabaseDescription,
    print: &Fingerprint,
) -> Result<Option<Suspicion>> {
    let name = &service.service.name;
    let watch = context.settings(name)?.watch;
    let holds = Holds::read(&context.environment.data_folder().join(name.as_str()))?;
    // A history that can't be read is no reason to go without a backup.
    let before = history.read().unwrap_or_default().into_iter().rev().find_map(|entry| match entry.event {
        Event::Backup(record) => record.manifest.filter(|manifest| {
            let right = manifest.suspicious.is_none() || holds.has_released(&manifest.key);
            right && !manifest.safety && manifest.database.name == database.name
        }),
        _ => None,
    });
    let Some(before) = before else { return Ok(None) };
    let tables = changes::losses(&before.fingerprint.tables, &print.tables, &watch);
    Ok((!tables.is_empty()).then_some(Suspicion { compared_with: before.key, tables }))
}

/// Tells of what was lost and of the user's checks that failed, aloud: nobody looks into a manifest.
pub(super) fn warn(context: &Context, manifest: &Manifest) {
    if let Some(suspicion) = &manifest.suspicious {
        warn_of_loss(context, manifest, suspicion);
    }
    if manifest.failed_checks > 0 {
        warn_of_checks(context, manifest);
    }
}

fn warn_of_loss(context: &Context, manifest: &Manifest, suspicion: &Suspicion) {
    let (ui, name, key) = (&context.ui, &manifest.service, &manifest.key);
    ui.warn(format!("SUSPICIOUS: rows are missing since {}", suspicion.compared_with));
    for loss in suspicion.tables.iter().take(LOSSES_SHOWN) {
        ui.warn(describe(loss));
    }
    if let Some(more) = suspicion.tables.len().checked_sub(LOSSES_SHOWN).filter(|more| *more > 0) {
        ui.warn(format!("and {}", count(more as u64, "more table")));
    }
    ui.warn("The backup is saved and marked, and the good ones before it are not pruned");
    ui.warn(format!("Look: dokku pgbackup:diff {name} {} {key}", suspicion.compared_with));
    ui.warn(format!("If the rows were meant to go: dokku pgbackup:release {name} {key}"));
}

fn warn_of_checks(context: &Context, manifest: &Manifest) {
    let (ui, name, key) = (&context.ui, &manifest.service, &manifest.key);
    let failed = manifest.failed_checks;
    ui.warn(format!("CHECKS FAILED: {failed} of {}", manifest.fingerprint.checks.len()));
    for failure in failed_checks(manifest) {
        ui.warn(failure);
    }
    ui.warn("The backup is saved and marked, and the good ones before it are not pruned");
    ui.warn(format!("If this one is right all the same: dokku pgbackup:release {name} {key}"));
    ui.warn(format!("If a check asks for too much: dokku pgbackup:checks {name}"));
}

fn describe(loss: &Loss) -> String {
    let now = loss.now.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
    format!("{}: {} rows then, {now} now", loss.table, loss.before)
}

/// `check users: at least 500 expected, 0 found`, for each that failed.
fn failed_checks(manifest: &Manifest) -> impl Iterator<Item = String> {
    let checks = manifest.fingerprint.checks.iter();
    checks.filter_map(|(name, check)| Some(format!("check {name}: {}", check.failure()?)))
}

/// What makes a backup suspicious in one line, for messages to others.
pub(super) fn in_one_line(manifest: &Manifest) -> String {
    let lost = manifest.suspicious.iter().flat_map(|suspicion| &suspicion.tables).take(LOSSES_SHOWN);
    let mut why: Vec<String> = lost.map(describe).collect();
    why.extend(failed_checks(manifest).take(LOSSES_SHOWN));
    why.join("; ")
}
