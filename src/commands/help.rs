//! `pgbackup:help`, bare `dokku pgbackup`, and our part of `dokku help`.

use std::ffi::OsString;

use anyhow::Result;

use crate::cli;
use crate::commands::Context;
use crate::error::Failure;

/// Show the commands or one of them in full
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command to show in full, with arguments and flags and examples
    #[arg(value_name = "command")]
    pub command: Option<String>,
}

/// Prints the overview, or one command.
///
/// # Errors
/// When there is no such command.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let tree = cli::tree();
    let Some(name) = &args.command else {
        return context.ui.line(cli::help::overview(&tree));
    };
    let name = name.strip_prefix("pgbackup:").unwrap_or(name);
    let command = tree.find_subcommand(name).ok_or_else(|| {
        Failure::usage(format!("pgbackup:{name} is not a command")).hint("See the commands with: dokku pgbackup:help")
    })?;
    context.ui.line(cli::help::detail(command))
}

/// Answers Dokku, which asks every plugin in turn (`…/commands`). Returns whether the question was ours.
///
/// # Errors
/// When standard output can't be written.
pub fn answer(arguments: &[OsString], context: &Context) -> Result<bool> {
    let first = arguments.first().map(|first| first.to_string_lossy()).unwrap_or_default();
    match &*first {
        "help" => {
            if parent_asks_for_all() {
                cli::help::lines(&cli::tree()).iter().try_for_each(|line| context.ui.line(line))?;
            } else {
                context.ui.line(cli::help::line())?;
            }
            Ok(true)
        }
        "pgbackup" | "pgbackup:default" => run(&Args { command: None }, context).map(|()| true),
        "pgbackup:help" => {
            let command = arguments.get(1).map(|command| command.to_string_lossy().into_owned());
            run(&Args { command }, context).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// `dokku help --all` calls us with `help` alone: only its own command line tells (as Dokku's own plugins look at it).
fn parent_asks_for_all() -> bool {
    let Some(parent) = rustix::process::getppid() else { return false };
    std::fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero()))
        .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"--all"))
}
