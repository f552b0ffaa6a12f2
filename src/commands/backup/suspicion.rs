//! A backup that has lost rows since the last good one, or that fails a check of the user: found, and said aloud.

use anyhow::Result;

use super::past::Past;
use crate::changes;
use crate::commands::context::Context;
use crate::manifest::{DatabaseDescription, Fingerprint, LOSSES_SHOWN, Manifest, Suspicion};
use crate::service::RunningService;
use crate::text::count;

/// What has been lost since the last backup that was right.
pub(super) fn of(
    context: &Context,
    service: &RunningService,
    past: &Past,
    database: &DatabaseDescription,
    print: &Fingerprint,
) -> Result<Option<Suspicion>> {
    let Some(before) = past.right(&database.name) else { return Ok(None) };
    let watch = context.settings(&service.service.name)?.watch;
    let tables = changes::losses(&before.fingerprint.tables, &print.tables, &watch);
    Ok((!tables.is_empty()).then(|| Suspicion { compared_with: before.key.clone(), tables }))
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
        ui.warn(loss.to_string());
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

/// `check users: at least 500 expected, 0 found`, for each that failed.
fn failed_checks(manifest: &Manifest) -> impl Iterator<Item = String> {
    let checks = manifest.fingerprint.checks.iter();
    checks.filter_map(|(name, check)| Some(format!("check {name}: {}", check.failure()?)))
}

/// What makes a backup suspicious in one line, for messages to others.
pub(super) fn in_one_line(manifest: &Manifest) -> String {
    let mut why: Vec<String> = manifest.suspicious.iter().map(Suspicion::in_one_line).collect();
    why.extend(failed_checks(manifest).take(LOSSES_SHOWN));
    why.join("; ")
}
