//! `schedule:export`: the same times for hosts where Dokku writes no crontab.

use anyhow::Result;

use crate::commands::context::Context;
use crate::commands::schedules::{self, Entry};
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::service::name::ServiceName;

/// Print schedules as a file for cron or as timers of systemd
///
/// For hosts where Dokku writes no crontab because all apps run on k3s or on no scheduler. The text is for an administrator
/// to put in place; nothing is changed.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--cron|--systemd]",
    after_help = "Let cron run what is scheduled for lollipop

    dokku pgbackup:schedule:export lollipop --cron | sudo tee /etc/cron.d/pgbackup-lollipop

Let systemd do it

    dokku pgbackup:schedule:export lollipop --systemd"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// The schedules that are for every service
    #[arg(long)]
    pub all: bool,
    /// A file for /etc/cron.d (this is the default)
    #[arg(long, conflicts_with = "systemd")]
    pub cron: bool,
    /// A service and a timer for each schedule
    #[arg(long)]
    pub systemd: bool,
}

/// Prints them.
///
/// # Errors
/// When nothing is scheduled.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let subject = args.service.clone().map_or(Subject::Global, Subject::Service);
    let whose = schedules::whose(&subject);
    let entries: Vec<Entry> = schedules::of(context, &subject)?
        .into_iter()
        .map(|planned| Entry { subject: subject.clone(), planned })
        .collect();
    if entries.is_empty() {
        return Err(Failure::failed(format!("Nothing is scheduled for {whose}"))
            .hint(format!("Set it first: dokku pgbackup:schedule {whose} \"30 3 * * *\""))
            .into());
    }
    let user = &context.environment.system_user;
    let log = schedules::log_file(context, &subject);
    let log = log.display();
    let text = if args.systemd {
        let units: Vec<String> = entries.iter().map(|entry| units(entry, user)).collect();
        units.join("\n")
    } else {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {user} {} >> {log} 2>&1", entry.planned.cron, entry.command()))
            .collect();
        format!("# /etc/cron.d/{}\nPATH=/usr/local/bin:/usr/bin:/bin\n{}", file_name(&whose), lines.join("\n"))
    };
    context.ui.line(text.trim_end())
}

/// Debian's cron passes over files with a dot in their name.
fn file_name(whose: &str) -> String {
    format!("pgbackup-{}", whose.trim_start_matches('-'))
}

fn units(entry: &Entry, user: &str) -> String {
    let (whose, name) = (entry.whose(), &entry.planned.name);
    let unit = format!("{}-{name}", file_name(&whose));
    let calendars: Vec<String> =
        entry.planned.cron.calendars().iter().map(|time| format!("OnCalendar={time}\n")).collect();
    let calendars = calendars.concat();
    let command = entry.command().replacen("dokku", "/usr/bin/env dokku", 1);
    format!(
        "# /etc/systemd/system/{unit}.service\n[Unit]\nDescription=pgbackup: {} of {whose}\n\n[Service]\nType=oneshot\nUser={user}\nExecStart={command}\n\n\
         # /etc/systemd/system/{unit}.timer\n[Unit]\nDescription=pgbackup: {} of {whose} at {}\n\n[Timer]\n{calendars}Persistent=true\n\n[Install]\nWantedBy=timers.target\n\n\
         # Then: systemctl daemon-reload && systemctl enable --now {unit}.timer\n",
        entry.planned.task.as_str(),
        entry.planned.task.as_str(),
        entry.planned.cron,
    )
}
