//! What Dokku and its plugins tell us: one function per trigger, each with a link of its name at the plugin's top.

use std::ffi::{OsStr, OsString};

use anyhow::Result;

use crate::commands::{Context, report};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::Service;

/// The triggers we answer; a test compares them with the links.
pub const NAMES: &[&str] = &["report"];

/// Answers a trigger.
///
/// # Errors
/// What happened; Dokku's own action may be stopped by it.
pub fn run(name: &OsStr, arguments: &[OsString], context: &Context) -> Result<()> {
    match name.to_str() {
        Some("report") => report(arguments, context),
        _ => Err(Failure::usage(format!("{} is no trigger of pgbackup", name.display())).into()),
    }
}

/// `report APP`: our part of `dokku report`, for the services that are linked to the app.
fn report(arguments: &[OsString], context: &Context) -> Result<()> {
    let Some(app) = arguments.first().and_then(|app| app.to_str()) else { return Ok(()) };
    let lib_root = &context.environment.lib_root;
    for name in Service::all(lib_root)? {
        // A service that an interrupted postgres:create has left must not spoil everybody's report.
        if Service::find(lib_root, &name).is_ok_and(|service| service.linked_apps.iter().any(|linked| linked == app)) {
            report::report(context, &Subject::Service(name), None, false)?;
        }
    }
    Ok(())
}
