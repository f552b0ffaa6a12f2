//! Retention on real parts: what a run deletes from the bucket, what a hold and a suspicious backup keep, and what `diff` shows of it.

use insta::assert_snapshot;

use crate::host::redaction::redact;
use crate::host::{Host, Key, Postgres};

#[test]
fn what_an_object_lock_keeps_is_said_and_is_no_error() {
    let host = Host::get();
    let service = host.service("locked", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 562) i");
    // Only the server's own user makes buckets; such a one keeps the versions of its objects, too.
    let bucket = format!("locked{}", service.name.rsplit("-t").next().unwrap());
    let aws =
        |words: &[&str]| host.aws(Key::Admin, &[&["s3api"], words, &["--bucket", bucket.as_str()]].concat()).succeeds();
    aws(&["create-bucket", "--object-lock-enabled-for-bucket"]);
    service.authorize(Key::Admin);
    service.set("destination", &format!("s3://{bucket}/here"));
    service.set("object-lock", "compliance:1d");
    service.set("tags", "team=data,stage=a b");
    let locked = service.backup();
    let key = format!("here/{locked}");
    let head = aws(&["head-object", "--key", &key]).json();
    assert_eq!(head["ObjectLockMode"], "COMPLIANCE");
    assert_eq!(aws(&["head-object", "--key", &format!("{key}.manifest.json")]).json()["ObjectLockMode"], "COMPLIANCE");
    let tags = aws(&["get-object-tagging", "--key", &key]).json();
    assert_eq!(tags["TagSet"].as_array().unwrap().len(), 2, "{tags}");
    assert!(tags["TagSet"].as_array().unwrap().iter().any(|tag| tag["Key"] == "stage" && tag["Value"] == "a b"));

    service.set("object-lock", "");
    let free = service.backup();
    service.set("keep-last", "1");
    let last = service.backup();
    let rows = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let left: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(left, [last.as_str(), &locked], "{free} is gone, the locked one is not");
    let until = &head["ObjectLockRetainUntilDate"].as_str().unwrap()[..13];
    service
        .pgbackup("prune", &["--dry-run"])
        .succeeds()
        .says(&format!("retained until {until}"))
        .says("Would delete 0");
    service.pgbackup("prune", &[]).succeeds().says("retained until").says("0 backups deleted");
    let refused = service.pgbackup("delete", &[&locked, "--force"]).exits(1);
    refused.says("is retained until").says("It can be deleted when that time has passed");
    assert_eq!(aws(&["list-object-versions", "--prefix", &key]).json()["DeleteMarkers"], serde_json::Value::Null);
}

#[test]
fn a_doctor_leaves_at_most_one_object_under_a_lock() {
    let host = Host::get();
    let service = host.service("locked", Postgres::V15);
    let bucket = format!("doctor{}", service.name.rsplit("-t").next().unwrap());
    let aws =
        |words: &[&str]| host.aws(Key::Admin, &[&["s3api"], words, &["--bucket", bucket.as_str()]].concat()).succeeds();
    aws(&["create-bucket", "--object-lock-enabled-for-bucket"]);
    service.authorize(Key::Admin);
    service.set("destination", &format!("s3://{bucket}/here"));
    service.set("object-lock", "compliance:1d");
    let examined = || {
        let report = service.pgbackup("doctor", &["--format", "json"]).json();
        let checks = report["checks"].as_array().unwrap().clone();
        let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "fail").cloned().collect();
        assert!(failed.is_empty(), "{failed:?}");
        checks
    };
    let versions = || {
        let found = aws(&["list-object-versions", "--prefix", "here/pgbackup-doctor"]).json();
        found["Versions"].as_array().cloned().unwrap_or_default()
    };
    // The lock is for backups.
    examined();
    let test = versions().into_iter().next().map(|version| version["Key"].as_str().unwrap().to_owned());
    if let Some(test) = test {
        let id = versions()[0]["VersionId"].as_str().unwrap().to_owned();
        aws(&["delete-object", "--key", &test, "--version-id", &id]);
        assert!(versions().is_empty());
    }
    // The bucket's own lock keeps all that it is given.
    let rule = r#"{"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Mode":"COMPLIANCE","Days":1}}}"#;
    aws(&["put-object-lock-configuration", "--object-lock-configuration", rule]);
    for _ in 0..2 {
        let checks = examined();
        assert!(checks.iter().any(|check| check["check"] == "test-object" && check["verdict"] == "ok"), "{checks:?}");
        assert_eq!(versions().len(), 1);
    }
}

#[test]
fn the_accident_is_seen_told_and_its_last_good_backup_stays() {
    let host = Host::get();
    let service = host.service("prune", Postgres::V15);
    service.sql(
        "CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 562) i;
         CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 1000) i;
         CREATE TABLE queue AS SELECT i AS id FROM generate_series(1, 1000) i",
    );
    service.set("suspicious-ignore", "queue");
    service.set("keep-last", "2");
    let keys = [service.backup(), service.backup(), service.backup()];
    assert_eq!(service.bucket().backups(), keys[1..], "pruned after each backup");

    // The accident; queues come and go.
    service.sql("DELETE FROM users; DELETE FROM queue; INSERT INTO orders SELECT generate_series(1001, 1010)");
    let run = service.pgbackup("backup", &[]).succeeds();
    let told = redact(&run.err);
    assert_snapshot!(told, @r"
    !  SUSPICIOUS: rows are missing since postgres-prune-<second>.tgz
    !  public.users: 562 rows then, 0 now
    !  The backup is saved and marked, and the good ones before it are not pruned
    !  Look: dokku pgbackup:diff prune postgres-prune-<second>.tgz postgres-prune-<second>.tgz
    !  If the rows were meant to go: dokku pgbackup:release prune postgres-prune-<second>.tgz
    ");
    let suspicious = run.last_line().rsplit(' ').next().unwrap().to_owned();
    let later = service.backup();
    let status = service.pgbackup("status", &[]).exits(1);
    let why = format!("the last backup, {later}, is suspicious: public.users: 562 rows then, 0 now");
    service
        .pgbackup("info", &[&later])
        .succeeds()
        .says(&format!("rows are missing since {}: public.users: 562", keys[2]));
    status.says(&why).says(&format!("dokku pgbackup:release {} {later}", service.name));
    let expected = [&keys[1], &keys[2], &suspicious, &later].map(String::clone);
    assert_eq!(service.bucket().backups(), expected, "those before the loss stay");
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let marks: Vec<bool> = listed.as_array().unwrap().iter().map(|row| row["suspicious"] == true).collect();
    assert_eq!(marks, [true, true, false, false]);
    let sidecar: serde_json::Value =
        serde_json::from_slice(&service.bucket().get(&format!("{later}.manifest.json"))).unwrap();
    assert_eq!(sidecar["suspicious"]["compared_with"], keys[2].as_str());

    let diff = service.pgbackup("diff", &[&keys[2], &suspicious]).succeeds();
    assert_snapshot!(diff.seen(), @r"
    =====> postgres-prune-<second>.tgz -> postgres-prune-<second>.tgz
    table  before  after  change  difference
    public.orders  1000  ->  1010  gained  +10
    public.queue  1000  ->  0  lost  -1000
    public.users  562  ->  0  lost  -562
           1 table gained rows, 2 lost rows, 0 new, 0 gone, 0 the same
    exit 0
    ");
    let live = service.pgbackup("diff", &["latest", "--format", "json"]).succeeds().json();
    assert_eq!((live["after"].as_str(), live["unchanged"].as_u64()), (Some("live"), Some(3)));
    let restore = service.pgbackup("restore", &["latest", "--stage-only"]).succeeds();
    restore.says(&format!("The newest one before the loss is {}", keys[2]));
    service.pgbackup("restore:abort", &[]).succeeds();

    // During a hold nothing goes, whatever else is said.
    service.pgbackup("hold", &["--reason", "users gone"]).succeeds();
    service.pgbackup("prune", &[]).exits(1).says("are held since");
    service.pgbackup("delete", &[&keys[1]]).exits(1).says("are held since");
    let during = service.backup();
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(listed[0]["incident"]["reason"], "users gone");
    assert_eq!(service.bucket().backups().len(), 5);
    service.pgbackup("release", &[]).succeeds();

    // The rows were meant to go: all is as ever.
    service.pgbackup("release", &[&during]).succeeds();
    service.pgbackup("status", &[]).succeeds();
    service.pgbackup("hold", &[&keys[1], "--reason", "for ever"]).succeeds();
    let dry = service.pgbackup("prune", &["--dry-run"]).succeeds();
    dry.says("before a suspicious one").says("Would delete 1 backup of");
    service.pgbackup("release", &[&later]).succeeds();
    service.pgbackup("release", &[&suspicious]).succeeds();
    service.pgbackup("prune", &[]).succeeds();
    assert_eq!(service.bucket().backups(), [&keys[1], &later, &during].map(String::clone));
    assert_eq!(service.bucket().names().len(), 6, "sidecars go with their objects");
    let quiet = service.pgbackup("backup", &[]).succeeds();
    assert_eq!(quiet.err, "", "it is compared with the released one");

    // A role that may not delete: the backup is good all the same.
    service.authorize(Key::Writer);
    let run = service.pgbackup("backup", &[]).succeeds();
    run.says("The backup is saved, but older ones could not be pruned").says("s3:ListBucket");
    assert!(service.history().iter().any(|entry| entry["event"] == "prune-failed"));
}
