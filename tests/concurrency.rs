//! Two runs at once: one waits or is refused, one is ended cleanly, and two hosts never overwrite each other.

use std::time::{Duration, Instant};

use crate::host::{Host, Postgres};

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
    assert_eq!(results, ["good", "good", "FAILED", "good"], "{history}");
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
}
