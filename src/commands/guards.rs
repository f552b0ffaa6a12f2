//! Backups that Dokku's own actions ask for: before a deploy's release, and before a service is destroyed.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::commands::backup;
use crate::commands::context::Context;
use crate::commands::encryption::in_force::{How, InForce, Origin};
use crate::docker::run_plugin_command;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::interrupt;
use crate::manifest::Manifest;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::OnDeploy;

/// How long a deploy or a destruction waits for another run that has the service.
const PATIENCE: Duration = Duration::from_mins(15);

/// Backs up the services of an app whose image is built and is about to be released, as far as they are set to be.
///
/// # Errors
/// When a backup fails that the deploy is set to need: Dokku stops it then, and the release that runs goes on running.
pub fn before_deploy(context: &Context, app: &str) -> Result<()> {
    let lib_root = &context.environment.lib_root;
    for name in Service::all(lib_root)? {
        // Read fresh each time: links that were made, removed or renamed with their app are followed.
        let Ok(service) = Service::find(lib_root, &name) else { continue };
        if !service.linked_apps.iter().any(|linked| linked == app) {
            continue;
        }
        let wish = context.settings(&name)?.backup_on_deploy;
        if wish == OnDeploy::Off {
            continue;
        }
        let label = match revision(app) {
            Some(revision) => format!("before the deploy of {app} at {revision}"),
            None => format!("before the deploy of {app}"),
        };
        let error = match backup::one(context, &name, Some(&label), PATIENCE) {
            Ok(saved) => {
                warn_of_missing_copy(context, &name, saved)?;
                continue;
            }
            Err(error) => error,
        };
        interrupt::check()?;
        let failure = Failure::from_error(error).of(&name);
        if wish == OnDeploy::Required {
            let mut stopped = Failure::new(
                failure.kind,
                format!("The deploy of {app} is stopped, since {name} can't be backed up first: {failure}"),
            );
            stopped.hints = failure.hints;
            return Err(stopped
                .hint(format!("To deploy without a backup: dokku pgbackup:set {name} backup-on-deploy off"))
                .into());
        }
        context.ui.fail(&failure);
        context.ui.warn(format!("{app} IS DEPLOYED WITHOUT A FRESH BACKUP of {name}"));
        context.ui.warn(format!("To stop deploys that have none: dokku pgbackup:set {name} backup-on-deploy required"));
    }
    Ok(())
}

/// A backup that is saved is what a deploy or a destruction asks for: that its copy is missing is said, and stops neither.
fn warn_of_missing_copy(context: &Context, name: &ServiceName, saved: backup::Saved) -> Result<Manifest> {
    let manifest = saved.manifest.clone();
    if let Err(error) = saved.copied_as_well() {
        interrupt::check()?;
        context.ui.fail(&Failure::from_error(error).of(name));
    }
    Ok(manifest)
}

/// The revision that is deployed, as Dokku keeps it: set before the build begins.
fn revision(app: &str) -> Option<String> {
    let said = run_plugin_command(Path::new("plugn"), &["trigger", "git-revision", app]).ok()?;
    let word = said.split_whitespace().last()?;
    // A commit is known by its first letters; anything else stays as it is, if it is short enough for a label.
    let is_commit = word.len() >= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(word.chars().take(if is_commit { 12 } else { 60 }).collect())
}

/// Backs a service up that is about to be destroyed, if it is set to be, and tells how to get it back.
///
/// # Errors
/// When the backup fails: dokku-postgres stops then, and the service stays.
pub fn before_destroy(context: &Context, name: &ServiceName) -> Result<()> {
    let settings = context.settings(name)?;
    if !settings.backup_on_destroy {
        return Ok(());
    }
    let saved = backup::one(context, name, Some("before it was destroyed"), PATIENCE).map_err(|error| {
        let failure = Failure::from_error(error).of(name);
        let mut stopped = Failure::new(
            failure.kind,
            format!("{name} is not destroyed, since it can't be backed up first: {failure}"),
        );
        stopped.hints = failure.hints;
        stopped.hint(format!("To destroy it without a backup: dokku pgbackup:set {name} backup-on-destroy off"))
    })?;
    let manifest = warn_of_missing_copy(context, name, saved)?;
    let in_force = InForce::of(context, &Subject::Service(name.clone()))?;
    if let InForce { how: How::Passphrase(_), origin: Some(Origin::DokkuPostgres) } = in_force {
        context.ui.warn(format!(
            "The passphrase of postgres:backup-set-encryption goes with {name} and is not kept: without it none of its backups can be read"
        ));
        context
            .ui
            .warn(format!("Have it at hand for: dokku pgbackup:restore {name} {} --passphrase-file -", manifest.key));
    }
    context.ui.detail("To get it back:");
    context.ui.detail(format!("    dokku postgres:create {name}"));
    // The service's own settings go with it.
    for property in ["destination", "endpoint-url", "region"] {
        if let Some(value) = context.properties().get(&Subject::Service(name.clone()), property)? {
            context.ui.detail(format!("    dokku pgbackup:set {name} {property} {value}"));
        }
    }
    context.ui.detail(format!("    dokku pgbackup:restore {name} {}", manifest.key));
    Ok(())
}
