//! `cancel`: ends the run that has a service, as Ctrl-C in its terminal would.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::commands::backups::history;
use crate::commands::context::Context;
use crate::error::Failure;
use crate::history::{Entry, Event};
use crate::interrupt;
use crate::lock::{Lock, Owner};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::text::count;
use crate::ui::human;

/// How long a run may take to put everything back.
const PATIENCE: Duration = Duration::from_mins(2);

/// End a run that is under way
///
/// The backup or restore or drill of the service is asked to stop and takes back what it has begun, as with Ctrl-C. What a pruning has
/// deleted and what is copied stays so. Waits until that is done.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>",
    after_help = "End the backup of lollipop that is running

    dokku pgbackup:cancel lollipop"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
}

/// Ends it.
///
/// # Errors
/// When it may not be ended, or doesn't end.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = &args.service;
    let data = context.environment.data_folder();
    Service::find(&context.environment.lib_root, name)?;
    let Some(owner) = Lock::owner(&data, name) else {
        context.ui.outcome(format!("Nothing is running for {name}"), "");
        return Ok(());
    };
    let what = format!("{} of {name} (pid {}, since {})", owner.doing, owner.pid, human::time(owner.since));
    context.ui.step(format!("Ending the {what}"));
    // That it has ended by itself meanwhile is as good.
    if !owner.ask_to_stop().map_err(|error| {
        Failure::failed(format!("The {what} can't be ended"))
            .because(error)
            .hint(format!("As root: kill {}", owner.pid))
    })? {
        context.ui.outcome(format!("The {what} had just ended"), "");
        return Ok(());
    }
    let began = Instant::now();
    // The lock is what it lets go of last, when all is taken back.
    while holds(&data, name, &owner) {
        interrupt::check()?;
        if began.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("The {what} was asked to stop and is still there"))
                .hint("It may be taking back what it had begun: look again in a moment")
                .hint(format!("See what it says with: dokku pgbackup:history {name} latest"))
                .into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let entries = history(name, context).read().unwrap_or_default();
    let outcome = match done_already(&entries, &owner) {
        None => format!("Ended the {what}; {}", left(&entries, &owner, name)),
        Some(done) => format!("The {what} has ended, but was done already: {done}"),
    };
    context.ui.outcome(outcome, "");
    Ok(())
}

/// What the run had done before it could be stopped, as the history has it.
fn done_already(entries: &[Entry], owner: &Owner) -> Option<String> {
    let mut own = entries.iter().rev().take_while(|entry| entry.at >= owner.since);
    own.find_map(|entry| match (&entry.event, owner.doing.as_str()) {
        (Event::Backup(record), "backup") => Some(format!("{} is saved", record.key)),
        (Event::Restore(record), doing) if doing.starts_with("restore") => {
            Some(format!("{} is restored", record.source))
        }
        (Event::Verification(record), "verify") => Some(format!("{} was tried", record.key)),
        (Event::Rollback { .. }, "rollback") => Some("the restore is undone".to_owned()),
        _ => None,
    })
}

/// What is left of a run that was stopped: single deletions and copies that were done stay done.
fn left(entries: &[Entry], owner: &Owner, name: &ServiceName) -> String {
    let done = |is: fn(&Event) -> bool| {
        let own = entries.iter().rev().take_while(|entry| entry.at >= owner.since);
        own.filter(|entry| is(&entry.event)).count() as u64
    };
    match owner.doing.as_str() {
        "prune" | "delete" => {
            let gone = count(done(|event| matches!(event, Event::Deleted { .. })), "backup");
            format!("it had deleted {gone}")
        }
        "copy" => {
            let copied = count(done(|event| matches!(event, Event::Copy(_))), "backup");
            format!("it had copied {copied}, and what was under way is taken back")
        }
        doing if doing == "backup" || doing == "verify" || doing.starts_with("restore") => {
            "what it had begun is taken back".to_owned()
        }
        _ => format!("see what it did with: dokku pgbackup:history {name} latest"),
    }
}

fn holds(data: &std::path::Path, name: &ServiceName, owner: &Owner) -> bool {
    Lock::owner(data, name).is_some_and(|now| now.pid == owner.pid && now.process_start == owner.process_start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::made;

    #[test]
    fn what_was_done_already_is_not_called_taken_back() {
        let saved = made("postgres-prod-2023-04-03-11-00-04.tgz");
        let owner = |doing: &str, since| Owner { since, ..Owner::ourselves(doing).unwrap() };
        let done = |owner: &Owner| done_already(std::slice::from_ref(&saved), owner);
        let before = saved.at - jiff::SignedDuration::from_mins(1);
        assert_eq!(done(&owner("backup", before)).unwrap(), "postgres-prod-2023-04-03-11-00-04.tgz is saved");
        assert_eq!(
            done(&owner("restore", before)),
            None,
            "what a restore has saved before it is not what was asked for"
        );
        let deleted = Entry {
            event: Event::Deleted {
                key: "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap(),
                destination: "s3://b".into(),
            },
            ..saved.clone()
        };
        let left = |owner: &Owner| left(std::slice::from_ref(&deleted), owner, &"prod".parse().unwrap());
        assert_eq!(left(&owner("prune", before)), "it had deleted 1 backup");
        assert_eq!(left(&owner("copy", before)), "it had copied 0 backups, and what was under way is taken back");
        assert_eq!(left(&owner("backup", before)), "what it had begun is taken back");
        assert_eq!(left(&owner("rollback", before)), "see what it did with: dokku pgbackup:history prod latest");
        assert_eq!(done(&owner("backup", saved.at + jiff::SignedDuration::from_mins(1))), None, "an earlier one");
    }
}
