//! `pgbackup:version`: what to write into a bug report.

use anyhow::Result;

use crate::commands::Context;

/// Print the version of the plugin
#[derive(Debug, clap::Args)]
pub struct Args {}

/// The version, with the commit it was built from where the build knew it.
pub fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("PGBACKUP_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => version.to_owned(),
    }
}

/// Prints it.
///
/// # Errors
/// When standard output can't be written.
pub fn run(_: &Args, context: &Context) -> Result<()> {
    context.ui.line(format!("pgbackup {}", version()))
}
