//! Pruning against a store in memory: what is deleted, in which order, and what stops it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::catalog::tests::{Shelf, made};
use crate::commands::arguments::Format;
use crate::commands::list::tests::world;
use crate::drill::Drill;
use crate::drill::tests::drill;
use crate::history::VerificationRecord;
use crate::history::tests::manifest;
use crate::holds::Hold;
use crate::manifest::Manifest;

use super::*;

const DAYS: [&str; 4] = ["2023-03-31", "2023-04-01", "2023-04-02", "2023-04-03"];

fn key(day: &str) -> String {
    format!("postgres-prod-{day}-11-00-04.tgz")
}

/// One of ours a day, one of dokku-postgres, one of another host.
fn shelf(context: &Context) -> Shelf {
    let shelf = Shelf::with(&["postgres-prod-2023-01-01-00-00-00.tgz", "postgres-prod-2-2023-01-01-00-00-00.tgz"]);
    for day in DAYS {
        let manifest = Manifest { host: context.environment.host_name(), ..manifest(&key(day)) };
        shelf.place(&key(day), b"object");
        shelf.place(&manifest.key.sidecar(), &manifest.to_json().unwrap());
    }
    let theirs = manifest("postgres-prod-2023-02-01-00-00-00.tgz");
    shelf.place(&theirs.key.to_string(), b"object");
    shelf.place(&theirs.key.sidecar(), &theirs.to_json().unwrap());
    shelf
}

fn run(shelf: &Shelf, rules: Rules, context: &Context, dry_run: bool, format: Format) -> Result<Vec<Row>> {
    let name: ServiceName = "prod".parse().unwrap();
    let args = Args {
        service: Some(name.clone()),
        all: false,
        dry_run,
        waiting: Waiting::default(),
        output: Output { format },
    };
    let lock = Lock::take(&context.environment.data_folder(), &name, "prune", Duration::ZERO)?;
    let mut rows = Vec::new();
    prune(&args, &name, &rules, shelf, context, Some(&lock).filter(|_| !dry_run), &mut rows).map(|()| rows)
}

fn last(last: u32) -> Rules {
    Rules { last, ..Rules::default() }
}

fn of_days(shelf: &Shelf) -> BTreeSet<String> {
    shelf.names().into_iter().filter(|name| DAYS.iter().any(|day| name.contains(day))).collect()
}

#[test]
fn deletes_what_no_rule_keeps_with_what_lies_beside_it() {
    let (_host, context, said) = world();
    let shelf = shelf(&context);
    let before = shelf.names();
    run(&shelf, last(2), &context, true, Format::Stdout).unwrap();
    assert_eq!(shelf.names(), before, "a dry run deletes nothing");
    insta::assert_snapshot!(said.out(), @r"
    =====> prod backups in s3://bucket/backups
    started               age  key                                    size  action  why
    2023-04-03T11:00:04Z  59m  postgres-prod-2023-04-03-11-00-04.tgz    6B  keep    last good one, keep-last
    2023-04-02T11:00:04Z  24h  postgres-prod-2023-04-02-11-00-04.tgz    6B  keep    keep-last
    2023-04-01T11:00:04Z   2d  postgres-prod-2023-04-01-11-00-04.tgz    6B  delete  no rule keeps it
    2023-03-31T11:00:04Z   3d  postgres-prod-2023-03-31-11-00-04.tgz    6B  delete  no rule keeps it
    2023-02-01T00:00:00Z  61d  postgres-prod-2023-02-01-00-00-00.tgz    6B  keep    made on dokku.example
    2023-01-01T00:00:00Z  92d  postgres-prod-2023-01-01-00-00-00.tgz    6B  keep    made by dokku-postgres
    =====> Would delete 2 backups of prod (12B)
    ");
    let rows = run(&shelf, last(2), &context, false, Format::Json).unwrap();
    assert_eq!(rows.iter().map(|row| row.deleted).collect::<Vec<_>>(), [false, false, true, true, false, false]);
    assert!(
        said.out().ends_with("=====> Pruned prod: 2 backups deleted (12B), 4 kept in s3://bucket/backups\n"),
        "{}",
        said.out()
    );
    let gone = before.iter().filter(|name| name.contains("2023-03-31") || name.contains("2023-04-01"));
    let gone: BTreeSet<&String> = gone.collect();
    assert_eq!(
        shelf.names().iter().collect::<BTreeSet<_>>(),
        before.iter().filter(|name| !gone.contains(name)).collect()
    );
    let events = History::of(&folder(&"prod".parse().unwrap(), &context)).read().unwrap();
    assert_eq!(events.len(), 3);
    assert!(matches!(events[2].event, Event::Pruned { deleted: 2, kept: 4, bytes: 12, .. }), "{events:?}");
    // A second time there is nothing to do.
    let left = shelf.names();
    run(&shelf, last(2), &context, false, Format::Json).unwrap();
    assert_eq!(shelf.names(), left);
    let foreign = Rules { foreign: true, ..last(2) };
    run(&shelf, foreign, &context, false, Format::Json).unwrap();
    assert!(!shelf.names().contains(&"postgres-prod-2023-01-01-00-00-00.tgz".to_owned()));
    assert!(shelf.names().contains(&"postgres-prod-2-2023-01-01-00-00-00.tgz".to_owned()), "another service's");
    assert!(shelf.names().contains(&"postgres-prod-2023-02-01-00-00-00.tgz".to_owned()), "another host's");
}

#[test]
fn without_rules_nothing_goes_and_the_way_to_set_one_is_told() {
    let (_host, context, said) = world();
    let shelf = shelf(&context);
    let before = shelf.names();
    run(&shelf, Rules::default(), &context, false, Format::Stdout).unwrap();
    assert_eq!(shelf.names(), before);
    assert!(said.out().contains("dokku pgbackup:set prod keep-daily 7"), "{}", said.out());
}

#[test]
fn a_hold_stops_it() {
    let (_host, context, _) = world();
    let shelf = shelf(&context);
    let folder = folder(&"prod".parse().unwrap(), &context);
    let hold = Hold { since: context.now(), reason: Some("users gone".into()) };
    Holds { service: Some(hold.clone()), ..Holds::default() }.write(&folder).unwrap();
    let before = shelf.names();
    let error = run(&shelf, last(1), &context, false, Format::Stdout).unwrap_err();
    assert_eq!(error.to_string(), "The backups of prod are held since 2023-04-03T12:00:00Z: users gone");
    run(&shelf, last(1), &context, true, Format::Stdout).unwrap();
    assert_eq!(shelf.names(), before);
    Holds { backups: [(key(DAYS[0]), hold)].into(), ..Holds::default() }.write(&folder).unwrap();
    run(&shelf, last(1), &context, false, Format::Stdout).unwrap();
    let expected = [key(DAYS[0]), key(DAYS[3])].into_iter().flat_map(|key| [format!("{key}.manifest.json"), key]);
    assert_eq!(of_days(&shelf), expected.collect());
}

#[test]
fn what_may_not_be_listed_or_deleted_is_named() {
    let (_host, context, _) = world();
    let listless = shelf(&context);
    listless.deny("s3:ListBucket");
    let error = run(&listless, last(1), &context, true, Format::Stdout).unwrap_err();
    assert!(error.to_string().contains("permission s3:ListBucket is missing"), "{error}");

    let shelf = shelf(&context);
    shelf.deny("s3:DeleteObject");
    let before = shelf.names();
    let failure = Failure::from_error(run(&shelf, last(1), &context, false, Format::Stdout).unwrap_err());
    assert!(failure.to_string().contains("permission s3:DeleteObject is missing"), "{failure}");
    assert_eq!(shelf.names(), before);
}

#[test]
fn a_sidecar_alone_is_swept_when_it_is_ours_and_old() {
    let (_host, context, _) = world();
    let shelf = shelf(&context);
    let host = context.environment.host_name();
    let ours = Manifest { host, ..manifest("postgres-prod-2023-01-02-00-00-00.tgz") };
    let theirs = manifest("postgres-prod-2023-01-03-00-00-00.tgz");
    let namesake = Manifest {
        host_id: Some("b".repeat(16)),
        key: "postgres-prod-2023-01-04-00-00-00.tgz".parse().unwrap(),
        ..ours.clone()
    };
    for orphan in [&ours, &theirs, &namesake] {
        shelf.place(&orphan.key.sidecar(), &orphan.to_json().unwrap());
    }
    let host_id = Here::of(&context).id;
    let tried = Drill { host_id, ..drill(&ours.key.to_string(), true) };
    for orphan in [&tried, &drill(&theirs.key.to_string(), true)] {
        shelf.place(&orphan.key.drill(), &orphan.to_json().unwrap());
    }
    run(&shelf, last(9), &context, false, Format::Stdout).unwrap();
    assert!(!shelf.names().contains(&ours.key.sidecar()) && !shelf.names().contains(&ours.key.drill()));
    assert!(shelf.names().contains(&theirs.key.sidecar()) && shelf.names().contains(&theirs.key.drill()));
    assert!(shelf.names().contains(&namesake.key.sidecar()), "another host of this name");
}

#[test]
fn a_drill_that_was_signed_elsewhere_keeps_its_backup_and_goes_with_it() {
    let (_host, context, _) = world();
    let shelf = shelf(&context);
    let mut keys = Keys::default();
    // Younger than the backups: they need not be signed.
    keys.make(&context.environment.data_folder(), "2023-05-01T00:00:00Z".parse().unwrap()).unwrap();
    let mut proven = drill(&key(DAYS[1]), true);
    proven.signature = keys.sign_drill(&proven).unwrap();
    let forged = Drill { key: key(DAYS[2]).parse().unwrap(), ..proven.clone() };
    for tried in [&drill(&key(DAYS[0]), true), &proven, &forged] {
        shelf.place(&tried.key.drill(), &tried.to_json().unwrap());
    }
    run(&shelf, last(1), &context, false, Format::Stdout).unwrap();
    let beside = |key: &str| [format!("{key}.manifest.json"), key.to_owned()];
    let mut expected: BTreeSet<String> = [key(DAYS[1]), key(DAYS[3])].iter().flat_map(|key| beside(key)).collect();
    expected.insert(proven.key.drill());
    assert_eq!(of_days(&shelf), expected);
}

#[test]
fn what_is_remembered_and_what_was_replaced() {
    let (_host, context, _) = world();
    let shelf = shelf(&context);
    // Without what lies beside it, it is still known to be ours.
    let history = History::of(&folder(&"prod".parse().unwrap(), &context));
    history.append(&made(&key(DAYS[0]))).unwrap();
    shelf.objects.lock().unwrap().remove(&format!("{}.manifest.json", key(DAYS[0])));
    // And one that is no longer what was saved is nobody's to delete.
    history.append(&made(&key(DAYS[1]))).unwrap();
    shelf.place(&key(DAYS[1]), b"something else");
    run(&shelf, last(1), &context, false, Format::Stdout).unwrap();
    let expected = [key(DAYS[1]), key(DAYS[3])].into_iter().flat_map(|key| [format!("{key}.manifest.json"), key]);
    assert_eq!(of_days(&shelf), expected.collect());
}

#[test]
fn a_host_of_the_same_name_is_another_one_by_its_id() {
    let of = |id: Option<&str>| Manifest {
        host: "dokku".to_owned(),
        host_id: id.map(str::to_owned),
        ..crate::history::tests::manifest("postgres-prod-2023-04-03-11-00-04.tgz")
    };
    let made = |manifest: &Manifest, name: &str, id: Option<&str>| {
        Here { name: name.to_owned(), id: id.map(str::to_owned) }.made(manifest)
    };
    assert!(made(&of(Some("a")), "dokku", Some("a")));
    assert!(made(&of(None), "dokku", Some("a")), "older ones have no id");
    assert!(!made(&of(Some("b")), "dokku", Some("a")));
    assert!(!made(&of(Some("a")), "dokku", None), "nobody knows");
    assert!(!made(&of(Some("a")), "other", Some("a")), "a machine that was copied is another host");
    assert!(made(&of(Some("a")).brief(), "dokku", Some("a")), "beside an encrypted one no name stands");
    assert!(!made(&of(Some("b")).brief(), "dokku", Some("a")));
    assert!(!made(&of(None).brief(), "dokku", Some("a")));
}

/// The only one that was proven to restore stays, whatever a check that reads alone says of a newer one.
#[test]
fn a_check_proves_no_backup_and_clears_no_drill() {
    let (_host, context, _) = world();
    let history = History::of(&folder(&"prod".parse().unwrap(), &context));
    let tried = |day: &str, depth, good| {
        let key = key(day).parse().unwrap();
        let record = VerificationRecord { key, depth, good, differences: Vec::new() };
        history.append(&Entry::now(Event::Verification(record), None)).unwrap();
    };
    let left = |shelf: &Shelf| {
        let of = |day: &&str| shelf.names().contains(&key(day));
        DAYS.into_iter().filter(of).collect::<Vec<_>>()
    };
    tried(DAYS[1], Depth::Restore, true);
    tried(DAYS[2], Depth::Read, true);
    let first = shelf(&context);
    run(&first, last(1), &context, false, Format::Json).unwrap();
    assert_eq!(left(&first), [DAYS[1], DAYS[3]], "to be read is not to be restored");
    tried(DAYS[3], Depth::Restore, false);
    tried(DAYS[3], Depth::Read, true);
    let second = shelf(&context);
    run(&second, last(1), &context, false, Format::Json).unwrap();
    assert_eq!(left(&second), [DAYS[1], DAYS[2], DAYS[3]], "one that failed its drill is none of those that count");
}
