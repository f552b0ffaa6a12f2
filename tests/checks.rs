//! The user's own checks: recorded in the dump's snapshot, compared in each restored copy, unable to change or reach anything.

use insta::assert_snapshot;

use crate::host::{Host, Postgres, Service};

/// Adds a check with these words behind its query.
fn add(service: &Service, name: &str, sql: &str, words: &[&str]) -> crate::host::Run {
    service.pgbackup("checks:add", &[&[name, sql], words].concat())
}

#[test]
fn checks_are_recorded_compared_and_shown() {
    let service = Host::get().service("prod", Postgres::V15);
    let database = &service.database;
    service.sql(&format!(
        "CREATE SCHEMA app; ALTER DATABASE {database} SET search_path TO app, public;
         CREATE TABLE app.users AS SELECT i AS id, 'user' || i AS name FROM generate_series(1, 562) i;
         CREATE TABLE public.orders AS SELECT i AS id, timestamptz '2023-04-03 11:00:04+02' + i * interval '1 hour' AS at,
           CASE i % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' END AS state FROM generate_series(1, 90) i"
    ));
    add(&service, "users", "SELECT count(*) FROM users", &["--min", "500"]).succeeds().says("Its answer now: 562");
    add(&service, "newest-order", "SELECT max(at) FROM orders", &[]).succeeds();
    add(&service, "by-state", "SELECT state, count(*) FROM orders GROUP BY 1; -- all", &["--same-as-backup"])
        .succeeds();
    add(&service, "orphans", "SELECT count(*) FROM orders WHERE id IS NULL", &["--expect", "0"]).succeeds();
    add(&service, "nobody", "SELECT NULL::text", &["--expect", "NULL"]).succeeds();
    add(&service, "none", "SELECT id FROM users WHERE id < 0", &[]).succeeds().says("Its answer now: no rows");
    let key = service.backup();
    assert_snapshot!(service.pgbackup("checks", &[]).succeeds().seen(), @r"
    =====> prod checks
    name  wanted  last  query
    by-state  same as in the backup  3 rows: NULL|30; open|30; paid|30  SELECT state, count(*) FROM orders GROUP BY 1; -- all
    newest-order  same as in the backup  2023-04-07 03:00:04+00  SELECT max(at) FROM orders
    nobody  NULL  NULL  SELECT NULL::text
    none  same as in the backup  no rows  SELECT id FROM users WHERE id < 0
    orphans  0  0  SELECT count(*) FROM orders WHERE id IS NULL
    users  at least 500  562  SELECT count(*) FROM users
    exit 0
    ");
    service.pgbackup("info", &[&key]).succeeds().says("newest-order").says("2023-04-07 03:00:04+00");
    assert_snapshot!(service.pgbackup("verify", &[&key]).succeeds().seen(), @r"
    -----> Loading postgres-prod-<second>.tgz beside the live database
    -----> Building indexes and constraints
    -----> Comparing with what was saved
           Table  Expected  Found
           app.users  562  562  equal
           public.orders  90  90  equal
           Check  Expected  Found
           by-state  3 rows: NULL|30; open|30; paid|30  3 rows: NULL|30; open|30; paid|30  passed
           newest-order  2023-04-07 03:00:04+00  2023-04-07 03:00:04+00  passed
           nobody  NULL  NULL  passed
           none  no rows  no rows  passed
           orphans  0  0  passed
           users  at least 500  562  passed
           2 tables, 652 rows, 31 values compared: all equal
    =====> postgres-prod-<second>.tgz restores to what was saved (<duration>)
    exit 0
    ");
    let report = service.pgbackup("verify", &[&key, "--isolated", "--format", "json"]).succeeds().json();
    assert_eq!(report["checks"].as_array().unwrap().len(), 6);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["passed"] == true), "{report}");
    service.pgbackup("certificate", &[]).succeeds().says("Check passed: users: at least 500 expected, 562 found");
    service.pgbackup("certificate", &["--html"]).succeeds().says("<code>SELECT max(at) FROM orders</code>");

    // Of an encrypted backup they stand inside the archive alone, and are compared all the same.
    service.call("encryption", &["--passphrase"]).input("correct horse\n").run().succeeds();
    let sealed = service.backup();
    let sidecar = String::from_utf8(service.bucket().get(&format!("{sealed}.manifest.json"))).unwrap();
    assert!(!sidecar.contains("newest-order") && !sidecar.contains("SELECT"), "{sidecar}");
    service.pgbackup("verify", &[&sealed]).succeeds().says("newest-order");
    let result: serde_json::Value =
        serde_json::from_slice(&service.bucket().get(&format!("{sealed}.verified.json"))).unwrap();
    let fields: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    let known = [
        "bytes",
        "compared",
        "differences",
        "format",
        "good",
        "host_id",
        "key",
        "made_by",
        "at",
        "sha256_behind_head",
        "signature",
    ];
    assert!(fields.iter().all(|field| known.contains(field)), "no name beside what is encrypted: {result}");
    service.pgbackup("restore", &["latest", "--force", "--no-safety-backup"]).succeeds().says("passed");
    let certificate = service.pgbackup("certificate", &[]).succeeds();
    certificate.says("Certificate: Restore of").says("PASSED").says("6 passed").says(&sealed);
}

#[test]
fn a_check_that_fails_marks_the_backup_and_stops_its_restore() {
    let service = Host::get().service("prod", Postgres::V18);
    service.sql("CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 40) i; CREATE TABLE notes (id int)");
    add(&service, "users", "SELECT count(*) FROM users", &["--min", "10"]).succeeds();
    add(&service, "notes", "SELECT count(*) FROM notes", &[]).succeeds();
    let good = service.backup();
    service.sql("DELETE FROM users WHERE id > 5; DROP TABLE notes");
    let run = service.pgbackup("backup", &[]).succeeds();
    assert_snapshot!(crate::host::redaction::redact(&run.err), @r#"
    !  CHECKS FAILED: 2 of 2
    !  check notes: no answer (relation "notes" does not exist)
    !  check users: at least 10 expected, 5 found
    !  The backup is saved and marked, and the good ones before it are not pruned
    !  If this one is right all the same: dokku pgbackup:release prod postgres-prod-<second>.tgz
    !  If a check asks for too much: dokku pgbackup:checks prod
    "#);
    let bad = run.last_line().rsplit(' ').next().unwrap().to_owned();
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((&listed[0]["suspicious"], &listed[1]["suspicious"]), (&true.into(), &false.into()));
    service.pgbackup("list", &[]).succeeds().says("SUSPICIOUS");

    let stopped = service.pgbackup("restore", &[&bad, "--force", "--no-safety-backup"]).exits(3);
    stopped.says("check users: at least 10 expected, 5 (as when the backup was made) found").says("is suspicious");
    assert_eq!((service.rows("users"), service.databases().len()), (5, 1), "nothing was swapped");
    service.pgbackup("verify", &[&bad]).exits(3).says("check users");
    let told = service.history().pop().unwrap();
    assert!(told["differences"][0].as_str().unwrap().starts_with("check users: at least 10"), "{told}");
    service.pgbackup("certificate", &[]).succeeds().says("FAILED").says("Check FAILED: users");

    // The one before it passes; the failing one is accepted where the user says so.
    service.pgbackup("restore", &[&good, "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(service.rows("users"), 40);
    service.pgbackup("restore", &[&bad, "--force", "--no-safety-backup", "--accept-differences"]).succeeds();
    assert_eq!(service.rows("users"), 5);
    service.pgbackup("release", &[&bad]).succeeds();
    service.pgbackup("checks:remove", &["users"]).succeeds();
    service.pgbackup("checks:remove", &["users"]).exits(1).says("has no check users");
    service.pgbackup("checks:remove", &["--all"]).succeeds();
    service.pgbackup("backup", &[]).succeeds();
}

#[test]
fn a_check_can_neither_change_nor_reach_anything() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql(
        "CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 562) i; CREATE SEQUENCE numbers;
         CREATE TABLE secrets (id int); ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; INSERT INTO secrets VALUES (1);
         CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; RETURN 1; END'",
    );
    // The same goes for questions, of which the super user's may be asked for.
    service
        .pgbackup("query", &["SELECT pg_read_file('PG_VERSION')"])
        .exits(1)
        .says("permission denied")
        .says("--superuser");
    service.pgbackup("query", &["SELECT pg_read_file('PG_VERSION')", "--superuser"]).succeeds().says("15");
    service.pgbackup("query", &["SELECT count(*) FROM users"]).succeeds().says("562");
    service.pgbackup("query", &["SELECT count(*) FROM secrets"]).exits(1).says("row-level security");
    service.pgbackup("query", &["SELECT count(*) FROM secrets", "--superuser"]).succeeds().says(" 1");
    for (sql, why) in [
        ("DELETE FROM users", "a check is a query"),
        ("WITH gone AS (DELETE FROM users RETURNING 1) SELECT count(*) FROM gone", ""),
        ("SELECT 1; DELETE FROM users", "multiple commands"),
        ("SELECT 1; COMMIT; DROP TABLE users", "multiple commands"),
        ("SELECT sneaky()", ""),
        ("SELECT nextval('numbers')", ""),
        ("SELECT * FROM users INTO more", ""),
        ("COPY users TO PROGRAM 'touch /tmp/x'", "a check is a query"),
        ("SELECT pg_read_file('/etc/passwd')", "permission denied"),
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity", ""),
        ("SELECT lo_import('/etc/passwd')", "permission denied"),
        ("SELECT pg_reload_conf()", "permission denied"),
        ("SELECT count(*) FROM secrets", "row-level security"),
        ("SELECT id FROM users, generate_series(1, 3)", "longer than 1000 rows"),
        ("SELECT repeat('x', 20000)", "longer than"),
        ("SELECT nothing FROM users", "does not exist"),
        ("SELECT", "no columns"),
        ("EXPLAIN SELECT 1", "a check is a query"),
        ("", "needs a query"),
    ] {
        let run = add(&service, "evil", sql, &[]);
        assert!(run.code == 1 || run.code == 2, "{sql}: {}{}", run.out(), run.err);
        assert!(run.err.contains(why), "{sql}: {}", run.err);
    }
    let began = std::time::Instant::now();
    add(&service, "slow", "SELECT pg_sleep(100)", &["--timeout", "1"]).exits(1).says("takes longer than 1 s");
    assert!(began.elapsed().as_secs() < 20);
    for name in ["-x", "a b", "$(x)", "é", ""] {
        let run = add(&service, name, "SELECT 1", &[]);
        assert!(run.code == 2, "{name:?}: {}{}", run.code, run.err);
    }
    service.pgbackup("checks", &[]).succeeds().says("has no checks");
    assert_eq!(service.rows("users"), 562);
    add(&service, "secrets", "SELECT count(*) FROM secrets", &["--superuser"]).succeeds().says("Its answer now: 1");
    for number in 0..10 {
        add(&service, &format!("n{number}"), &format!("SELECT {number} AS \"odd \"\" name\", 'ü\n;--'"), &[])
            .succeeds();
    }
    // One that dies in the middle of the backup is an answer like any other.
    service.sql("CREATE VIEW later AS SELECT count(*) FROM users");
    add(&service, "view", "TABLE later", &[]).succeeds();
    service.sql("DROP VIEW later");
    service.pgbackup("backup", &[]).succeeds().says("12 checks recorded").says("CHECKS FAILED: 1 of 12");
    service.pgbackup("verify", &["latest"]).succeeds().says("check view: no answer");
    let file = service.host.lib_root.join("config/pgbackup").join(&service.name).join("checks");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&file, "{").unwrap();
    service.pgbackup("backup", &[]).exits(1).says("checks:remove");
    service.pgbackup("checks:remove", &["--all"]).succeeds();
}
