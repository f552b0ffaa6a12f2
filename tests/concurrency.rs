//! Two runs at once: one waits or is refused, one is ended cleanly, and two hosts never overwrite each other.

use std::fs;
use std::time::{Duration, Instant};

use crate::host::{Host, Postgres};
use crate::lost_host::NewHost;

#[test]
fn a_second_run_waits_and_a_running_one_is_ended() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let other = host.service("other", Postgres::V15);
    for service in [&service, &other] {
        service.pgbackup("schedule", &["@yearly"]).succeeds();
    }
    service.backup();
    service.pgbackup("cancel", &[]).succeeds().says("Nothing is running for");

    // A backup that is held by a lock on its table.
    let mut client = service.client();
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut running = service.start("backup", &[], &[]);
    running.says("Backing up");
    service.pgbackup("restore", &["latest", "--force"]).exits(5).says("Backup of prod");
    service.pgbackup("backup", &["--wait", "1s"]).exits(5).says("Waiting: Backup of prod");
    let mut waiting = service.start("backup", &["--wait"], &[]);
    waiting.says("Waiting: Backup of");
    let mut scheduled = service.start("schedule:run", &["backup", "--now"], &[]);
    scheduled.says("Waiting: Backup of");
    // It doesn't overtake itself.
    service.pgbackup("schedule:run", &["backup", "--now"]).exits(5).says("still under way from last time");
    // Others of this host wait for their turn.
    let mut turn = other.start("schedule:run", &["backup", "--now"], &[]);
    turn.says("other scheduled run");

    let began = Instant::now();
    let ended = service.pgbackup("cancel", &[]).succeeds();
    ended.says("Ended the backup of prod").says("taken back");
    assert!(began.elapsed() < Duration::from_secs(30));
    running.end().exits(130, "Interrupted");
    held.rollback().unwrap();
    waiting.end().exits(0, "saved as");
    scheduled.end().exits(0, "ended well");
    turn.end().exits(0, "ended well");
    assert_eq!(service.bucket().backups().len(), 3);
    assert!(service.bucket().unfinished_uploads().is_empty());

    // What each has said is kept.
    let history = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    let runs = history.as_array().unwrap();
    let results: Vec<_> = runs.iter().map(|run| run["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["good", "good", "interrupted", "good"], "{history}");
    assert!(runs.iter().all(|run| run["has_log"] == true), "{history}");
    let failed = runs[2]["run"].as_str().unwrap();
    let log = service.pgbackup("history", &[failed]).succeeds();
    log.says("-----> Backing up prod").says("Interrupted; what was begun has been taken back");
    let log = service.pgbackup("history", &["latest", "--format", "json"]).succeeds().json();
    assert!(
        log["log"].as_array().unwrap().iter().any(|line| line["text"].as_str().unwrap().contains("saved as")),
        "{log}"
    );
    service.pgbackup("history", &["nosuch"]).exits(4).says("has no run nosuch");

    // Who is asked whether holds nobody back, and the backup that the question names is not pruned away meanwhile.
    service.set("copy-to", "off");
    service.set("keep-last", "1");
    let wanted = service.bucket().backups()[0].clone();
    let answer = host.root.join(format!("{}-answer", service.name));
    let mut asked = service.at_terminal("restore", &[&wanted, "--no-safety-backup"], &service.name, &answer);
    asked.says("To proceed, type");
    let pruned = service.pgbackup("backup", &[]).succeeds();
    pruned.says(&format!("{wanted} stays for now: a restore wants it since"));
    assert_eq!(service.bucket().backups().len(), 2);
    service.pgbackup("delete", &[&wanted, "--force"]).exits(5).says(&format!("A restore wants {wanted}"));
    // What runs when the answer comes is waited for.
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut running = service.start("backup", &[], &[]);
    running.says("Backing up");
    fs::write(&answer, "").unwrap();
    asked.says("Waiting: Backup of");
    asked.says(&format!("To end it: dokku pgbackup:cancel {}", service.name));
    held.rollback().unwrap();
    drop(client);
    running.end().exits(0, "saved as");
    asked.end().exits(0, &format!("is restored from {wanted}"));
    service.pgbackup("prune", &[]).succeeds().says("1 backup deleted");

    // What was shown and is so no longer is not done.
    service.pgbackup("restore", &["latest", "--stage-only"]).succeeds();
    for (command, meanwhile, words, why) in [
        ("restore:commit", "restore:abort", &[][..], "what was staged was dropped"),
        ("rollback", "rollback", &["--force"], "its database was replaced"),
        ("rollback", "rollback", &["--discard", "--force"], "what its last restore has replaced was dropped"),
    ] {
        fs::remove_file(&answer).unwrap();
        let mut asked = service.at_terminal(command, &[], &service.name, &answer);
        asked.says("To proceed, type");
        service.pgbackup(meanwhile, words).succeeds();
        fs::write(&answer, "").unwrap();
        asked.end().exits(1, &format!("While you were asked about {} {why}: nothing was done", service.name));
    }
    fs::remove_file(&answer).unwrap();
    for service in [&service, &other] {
        service.pgbackup("unschedule", &["--every"]).succeeds();
    }
}

#[test]
fn two_hosts_of_one_name_share_a_place_and_touch_nothing_of_each_other() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let (name, bucket) = (service.name.as_str(), service.bucket());
    let other = NewHost::new();
    other.has(name);
    other.run("set", &[name, "destination", &bucket.url()]).succeeds();
    for _ in 0..2 {
        service.backup();
        other.run("backup", &[name]).succeeds();
    }
    // Each sees all, and deletes its own alone.
    service.set("keep-last", "1");
    let dry = service.pgbackup("prune", &["--dry-run"]).succeeds().says("Would delete 1 backup");
    assert_eq!(dry.out().matches("made on ").count(), 2, "{}", dry.out());
    service.pgbackup("prune", &[]).succeeds();
    other.run("set", &[name, "keep-last", "1"]).succeeds();
    other.run("prune", &[name]).succeeds().says("1 backup deleted");
    let left = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(left.as_array().unwrap().len(), 2, "{left}");

    // Both have begun in one second, and the other one ends first: its object stays what it is, and this host takes another second.
    let mut client = service.client();
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut running = service.start("backup", &[], &[]);
    let note = service.host.data_of(name).join("upload.json");
    let waits = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE%' AND wait_event_type = 'Lock'";
    running.until("LOCK TABLE", || !service.values(waits).is_empty());
    let note: serde_json::Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    let key = note["key"].as_str().unwrap();
    let object = service.host.root.join(key);
    fs::write(&object, "of the other host").unwrap();
    bucket.put(key, &object);
    fs::remove_file(&object).unwrap();
    held.rollback().unwrap();
    let ended = running.end().exits(0, "Backing up once more").exits(0, "is not overwritten");
    let saved = ended.said.split("saved as ").nth(1).unwrap().trim().to_owned();
    assert!(saved != key && bucket.get(key) == b"of the other host");
    service.pgbackup("verify", &[&saved]).succeeds();
    assert!(bucket.unfinished_uploads().is_empty());
}
