//! `pgbackup:delete`: takes a backup out of its store, unless it is the last one that can be relied on.

use anyhow::Result;

use crate::catalog::selector::Selector;
use crate::catalog::{Backup, Catalog, store_failure};
use crate::commands::Context;
use crate::commands::arguments::Confirmation;
use crate::commands::backups::{copies, find};
use crate::commands::copying::of_the_copy;
use crate::commands::removal;
use crate::commands::turn::{self, Waiting};
use crate::commands::wanted;
use crate::error::{Failure, Kind};
use crate::holds::Holds;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::step::step;
use crate::store::{Store, StoreError};
use crate::ui::human;

/// Delete a backup from the store
///
/// The object and the manifest beside it are deleted. The last good backup of a service is only deleted with --last-good and what
/// pgbackup:hold holds not at all: release it first. A copy in the second destination stays: it goes by the copy-keep- rules or with
/// --copy.
#[derive(Debug, clap::Args)]
#[command(after_help = "Delete one backup of lollipop

    dokku pgbackup:delete lollipop postgres-lollipop-2023-04-03-11-00-04.tgz

Delete its copy in the second destination

    dokku pgbackup:delete lollipop postgres-lollipop-2023-04-03-11-00-04.tgz --copy")]
pub struct Args {
    /// The service whose backup it is
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of the key that fits only one
    #[arg(value_name = "backup")]
    pub backup: String,
    /// Delete the copy in the second destination (property copy-to) and not the backup itself
    #[arg(long)]
    pub copy: bool,
    /// Delete it although nothing that can be relied on is left then
    #[arg(long)]
    pub last_good: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub confirmation: Confirmation,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Deletes a backup.
///
/// # Errors
/// When there is no such backup, when it is held, or the last good one and `--last-good` was not given, when the service's name was
/// not typed, or when the store refuses.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    if !args.copy {
        return delete(args, context.store(&service)?.as_ref(), context);
    }
    let name = &service.name;
    let second = context.copy_store(&service)?.ok_or_else(|| {
        Failure::failed(format!("No second destination is set for {name}"))
            .hint(format!("The backup itself is deleted without --copy: dokku pgbackup:delete {name} {}", args.backup))
    })?;
    delete(args, second.as_ref(), context).map_err(|error| of_the_copy(Failure::from_error(error)).into())
}

fn delete(args: &Args, store: &dyn Store, context: &Context) -> Result<()> {
    let service = &args.service;
    let force = args.confirmation.force || context.environment.force;
    let mut selector = Selector::new(Some(&args.backup), None)?;
    if !force {
        // Asked before the service is taken: backups don't wait for somebody who has gone to lunch.
        let (catalog, backup) = find(&selector, service, store, context)?;
        guard(args, &catalog, &backup, context)?;
        let size = backup.bytes.map(|bytes| format!(" ({})", human::size(bytes))).unwrap_or_default();
        context
            .confirm(&format!("This deletes {}{size} from {} for good", backup.key, catalog.destination), service)?;
        selector = Selector::new(Some(&backup.key.to_string()), None)?;
    }
    // A restore may be reading it.
    let _lock = turn::take(context, service, "delete", args.waiting.patience())?;
    let (catalog, backup) = find(&selector, service, store, context)?;
    let key = &backup.key;
    let copy = copies(service, context)
        .and_then(|copies| copies.copied.get(key).map(|(_, copy)| copy.destination.clone()))
        .filter(|_| !args.copy);
    guard(args, &catalog, &backup, context)?;
    context.ui.step(format!("Deleting {key}"));
    step!("delete.confirmed");
    removal::take_out(&backup, store, context).map_err(|error| match error {
        retained @ StoreError::Retained { .. } => Failure::from_error(retained.into()),
        error => store_failure(format!("{key} can't be deleted"), error),
    })?;
    if let Some(place) = copy {
        context.ui.warn(format!("Its copy in {place} stays"));
        context.ui.warn(format!("Delete that as well: dokku pgbackup:delete {service} {key} --copy"));
    }
    context.ui.outcome(format!("Deleted {key}"), &key.to_string());
    Ok(())
}

/// Refuses to delete what is held, and the last good one unless that is what is wanted.
fn guard(args: &Args, catalog: &Catalog, backup: &Backup, context: &Context) -> Result<()> {
    let (service, key, place) = (&args.service, &backup.key, &catalog.destination);
    if is_last_good(catalog, backup) {
        // What scripts and habit add to every command must not be enough for this.
        if !args.last_good {
            return Err(Failure::failed(format!(
                "{key} is the last good backup of {service} in {place} and was not deleted"
            ))
            .hint(format!("Take another one first: dokku pgbackup:backup {service}"))
            .hint("Or add --last-good to be left without any")
            .into());
        }
        context.ui.warn(format!("{key} is the LAST GOOD BACKUP of {service} in {place}"));
    }
    if let Some(owner) = wanted::by(context, key) {
        let since = human::time(owner.since);
        let (doing, pid) = (&owner.doing, owner.pid);
        return Err(Failure::new(Kind::Busy, format!("A {doing} wants {key} since {since} (pid {pid})"))
            .hint(format!("Nothing was deleted; when that one has ended: dokku pgbackup:delete {service} {key}"))
            .into());
    }
    let holds = Holds::read(&context.environment.data_folder().join(service.as_str()))?;
    if let Some(hold) = holds.service.as_ref().or_else(|| holds.backups.get(&key.to_string())) {
        let (what, which) = if holds.service.is_some() {
            (format!("The backups of {service} are"), service.to_string())
        } else {
            (format!("{key} is"), format!("{service} {key}"))
        };
        return Err(Failure::failed(format!("{what} held {}", hold.describe()))
            .hint(format!("Nothing was deleted; release it first: dokku pgbackup:release {which}"))
            .into());
    }
    Ok(())
}

/// Whether nothing that can be relied on would be left. One that was found bad is no loss; one that is not known to be good
/// (dokku-postgres made it) counts as long as there is nothing better.
fn is_last_good(catalog: &Catalog, backup: &Backup) -> bool {
    let bad = |backup: &Backup| backup.verified.is_some_and(|tried| !tried.good);
    if bad(backup) {
        return false;
    }
    let mut others = catalog.backups.iter().filter(|other| other.key != backup.key);
    if backup.is_known_good() { !others.any(Backup::is_known_good) } else { !others.any(|other| !bad(other)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::catalog::tests::{Shelf, made};
    use crate::commands::backups::{catalog, history};
    use crate::commands::list::tests::world;
    use crate::error::Kind;
    use crate::history::tests::manifest;
    use crate::history::{Depth, Entry, Event, VerificationRecord};
    use crate::holds::Hold;

    use super::*;
    use crate::lock::Lock;

    const THEIRS: &str = "postgres-prod-2023-04-02-14-30-01.tgz";
    const OLD: &str = "postgres-prod-2023-04-02-15-00-00.tgz";
    const NEW: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn shelf() -> Shelf {
        let shelf = Shelf::with(&[THEIRS, OLD, NEW]);
        for key in [OLD, NEW] {
            shelf.place(&format!("{key}.manifest.json"), &manifest(key).to_json().unwrap());
        }
        shelf
    }

    fn args(backup: &str, force: bool) -> Args {
        Args {
            service: "prod".parse().unwrap(),
            backup: backup.into(),
            copy: false,
            last_good: false,
            confirmation: Confirmation { force },
            waiting: Waiting::default(),
        }
    }

    fn kind(result: Result<()>) -> Kind {
        Failure::from_error(result.unwrap_err()).kind
    }

    #[test]
    fn takes_object_and_sidecar_and_remembers() {
        let (_host, context, said) = world();
        let shelf = shelf();
        shelf.place(&format!("{OLD}.verified.json"), b"{}");
        delete(&args(OLD, true), &shelf, &context).unwrap();
        assert_eq!(shelf.names(), [THEIRS.to_owned(), NEW.to_owned(), format!("{NEW}.manifest.json")]);
        assert!(said.out().contains(&format!("=====> Deleted {OLD}")), "{}", said.out());
        let entries = history(&"prod".parse().unwrap(), &context).read().unwrap();
        assert!(matches!(&entries[0].event, Event::Deleted { key, .. } if key.to_string() == OLD));
        assert_eq!(kind(delete(&args(OLD, true), &shelf, &context)), Kind::NoSuchBackup);
    }

    #[test]
    fn nothing_goes_unasked() {
        let (_host, context, _) = world();
        let shelf = shelf();
        // There is no terminal to ask at.
        assert!(delete(&args(OLD, false), &shelf, &context).is_err());
        assert_eq!(kind(delete(&args("2023-04-02", true), &shelf, &context)), Kind::NoSuchBackup);
        assert_eq!(shelf.names().len(), 5);
        let _held = Lock::take(&context.environment.data_folder(), &"prod".parse().unwrap(), "restore", Duration::ZERO);
        assert_eq!(kind(delete(&args(OLD, true), &shelf, &context)), Kind::Busy);
    }

    #[test]
    fn the_last_good_one_stays() {
        let (_host, context, said) = world();
        let shelf = shelf();
        delete(&args(OLD, true), &shelf, &context).unwrap();
        for force in [false, true] {
            let failure = Failure::from_error(delete(&args(NEW, force), &shelf, &context).unwrap_err());
            assert!(failure.message.contains("is the last good backup of prod in s3://bucket/backups"), "{failure}");
            assert_eq!(shelf.names().len(), 3);
        }
        // Held, it stays whatever is said.
        let all = Args { last_good: true, ..args(NEW, true) };
        let folder = context.environment.data_folder().join("prod");
        let hold = Hold { since: context.now(), reason: None };
        Holds { service: Some(hold), ..Holds::default() }.write(&folder).unwrap();
        assert!(delete(&all, &shelf, &context).unwrap_err().to_string().contains("are held"));
        Holds::default().write(&folder).unwrap();
        delete(&all, &shelf, &context).unwrap();
        assert!(said.err().contains("is the LAST GOOD BACKUP of prod"), "{}", said.err());
        assert_eq!(shelf.names(), [THEIRS]);
    }

    #[test]
    fn what_counts_as_the_last_good_one() {
        let (_host, context, _) = world();
        let service: ServiceName = "prod".parse().unwrap();
        let last = |shelf: &Shelf, key: &str| {
            let catalog = catalog(&service, shelf, &context).unwrap();
            is_last_good(&catalog, catalog.select(&Selector::new(Some(key), None).unwrap()).unwrap())
        };
        let shelf = shelf();
        assert!(!last(&shelf, THEIRS) && !last(&shelf, OLD) && !last(&shelf, NEW));
        let tried = |key: &str, good| Entry {
            at: context.now(),
            seconds: None,
            event: Event::Verification(VerificationRecord {
                key: key.parse().unwrap(),
                depth: Depth::Restore,
                good,
                differences: Vec::new(),
            }),
        };
        history(&service, &context).append(&tried(NEW, false)).unwrap();
        assert!(last(&shelf, OLD), "the other one was found bad, the third is not known to be good");
        assert!(!last(&shelf, NEW), "a bad one is no loss");
        history(&service, &context).append(&tried(THEIRS, true)).unwrap();
        assert!(!last(&shelf, OLD) && !last(&shelf, THEIRS));
        let alone = Shelf::with(&["postgres-prod-2020-01-01-00-00-00.tgz"]);
        assert!(last(&alone, "latest"), "the only one there is");
    }

    #[test]
    fn an_object_that_will_not_go_keeps_its_sidecar() {
        let (_host, context, _) = world();
        let shelf = shelf();
        shelf.keep(OLD);
        let before = shelf.names();
        let failure = Failure::from_error(delete(&args(OLD, true), &shelf, &context).unwrap_err());
        assert!(failure.message.contains("can't be deleted"), "{failure}");
        assert_eq!(shelf.names(), before);
        assert_eq!(history(&"prod".parse().unwrap(), &context).read().unwrap(), []);
    }

    #[test]
    fn a_role_that_may_not_read_or_list_deletes_as_well() {
        let (_host, context, _) = world();
        let shelf = shelf();
        history(&"prod".parse().unwrap(), &context).append(&made(OLD)).unwrap();
        shelf.deny("s3:ListBucket");
        shelf.deny("s3:GetObject");
        // The only one that this host knows of.
        delete(&Args { last_good: true, ..args(OLD, true) }, &shelf, &context).unwrap();
        assert_eq!(shelf.names(), [THEIRS.to_owned(), NEW.to_owned(), format!("{NEW}.manifest.json")]);
    }
}
