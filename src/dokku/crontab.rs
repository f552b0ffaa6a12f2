//! The user dokku's crontab, which Dokku writes: asked for anew after each change, and looked at afterwards.
//!
//! Dokku asks its plugins for lines (`cron-entries`) only for schedulers that use the host's cron. A host whose apps all run on k3s
//! or nowhere gets no crontab at all, and nobody is told: so what counts is what is really in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::docker::run_plugin_command;

/// Dokku's scheduler that uses the host's cron.
pub const SCHEDULER: &str = "docker-local";

/// Has Dokku write the crontab anew, at once.
///
/// # Errors
/// With what Dokku says.
pub fn rewrite() -> Result<()> {
    run_plugin_command(Path::new("plugn"), &["trigger", "scheduler-cron-write", SCHEDULER, ""])
        .context("Dokku can't write its crontab anew")
        .map(drop)
}

/// The crontab of a user as it is now; empty when there is none.
///
/// # Errors
/// When it can't be read.
pub fn read(user: &str) -> Result<String> {
    let crontab = Path::new("crontab");
    let read = run_plugin_command(crontab, &["-u", user, "-l"])
        // Some crontabs take -u from root alone; we are that user then.
        .or_else(|error| {
            if format!("{error:#}").contains("privileged") { run_plugin_command(crontab, &["-l"]) } else { Err(error) }
        });
    match read {
        Ok(text) => Ok(text),
        Err(error) if format!("{error:#}").contains("no crontab for") => Ok(String::new()),
        Err(error) => Err(error.context(format!("The crontab of {user} can't be read"))),
    }
}

/// Whether a crontab has a line that runs a command at these times.
pub fn has(crontab: &str, schedule: &str, command: &str) -> bool {
    let start = format!("{schedule} {command}");
    crontab.lines().any(|line| {
        line.trim().strip_prefix(&start).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    })
}

/// The scheduler of all apps that have none of their own, where Dokku can say.
pub fn global_scheduler() -> Option<String> {
    let said = run_plugin_command(Path::new("plugn"), &["trigger", "scheduler-detect", "--global"]).ok()?;
    said.split_whitespace().last().map(str::to_owned)
}

/// Whether a cron daemon runs on this host.
pub fn daemon_runs() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    processes
        .filter_map(Result::ok)
        .filter_map(|process| fs::read_to_string(process.path().join("comm")).ok())
        .any(|name| matches!(name.trim(), "cron" | "crond" | "fcron" | "anacron" | "busybox-crond"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_line_and_no_other() {
        let crontab =
            "PATH=/usr/bin\nSHELL=/bin/bash\n\n0 3 * * * dokku pgbackup:schedule:run prod backup &>> /var/log/x\n";
        assert!(has(crontab, "0 3 * * *", "dokku pgbackup:schedule:run prod backup"));
        assert!(!has(crontab, "0 3 * * *", "dokku pgbackup:schedule:run prod back"));
        assert!(!has(crontab, "0 4 * * *", "dokku pgbackup:schedule:run prod backup"));
        assert!(!has("# 0 3 * * * x", "0 3 * * *", "x"));
    }
}
