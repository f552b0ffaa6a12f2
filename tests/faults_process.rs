//! What a backup and a restore leave behind when they, or what they work with, are stopped in the middle (faults.md A1–A3, B1–B4):
//! the live database whole and open, nothing of ours in the container, nothing in the store but what the next run takes away.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::{Host, Postgres, Process, Service};

/// Rows of the large table: enough that a signal lands inside of its COPY.
const ROWS: u64 = 4000;

/// What must be the same before and after a fault.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    rows: u64,
    databases: Vec<String>,
    objects: Vec<String>,
    uploads: Vec<String>,
    /// A crashed server starts again, too, but without this having changed: see `crashes`.
    server_since: String,
    crashes: Vec<String>,
}

impl Whole {
    fn of(service: &Service) -> Self {
        Self {
            rows: service.rows("large"),
            databases: service.databases(),
            objects: service.bucket().names(),
            uploads: service.bucket().unfinished_uploads(),
            server_since: service.value("SELECT pg_postmaster_start_time()"),
            crashes: crashes(service),
        }
    }
}

/// What the server said each time that it ended every session, because it took the death of a process for a crash.
fn crashes(service: &Service) -> Vec<String> {
    let run = service.host.call("docker", &["container", "logs", &service.container()]).run().succeeds();
    let said = format!("{}{}", run.out(), run.err);
    let lines: Vec<&str> = said.lines().collect();
    let ends = |at: &usize| lines[*at].contains("terminating any other active server processes");
    // The line before says which process, and of what.
    (0..lines.len()).filter(ends).map(|at| lines[at.saturating_sub(1)..=at].join("\n")).collect()
}

/// Sessions of ours on the server.
fn sessions(service: &Service) -> Vec<String> {
    service.values(
        "SELECT application_name || ': ' || query FROM pg_stat_activity WHERE application_name LIKE 'pgbackup%'",
    )
}

/// Programs of ours in the container, and the shells that hold them.
fn programs(service: &Service) -> Vec<String> {
    let run =
        service.host.call("docker", &["container", "top", &service.container(), "-eo", "pid,comm"]).run().succeeds();
    let ours = |line: &&str| line.contains("pg_dump") || line.contains("pg_restore") || line.ends_with(" sh");
    run.out().lines().filter(ours).map(str::to_owned).collect()
}

/// Waits until nothing of ours is left in the container.
#[track_caller]
fn nothing_is_left(service: &Service) {
    let began = Instant::now();
    loop {
        let left = [sessions(service), programs(service)].concat();
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "left in the container: {left:#?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A service whose backup and restore take a few seconds.
fn service() -> Service {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql(&format!(
        "CREATE TABLE users (id serial PRIMARY KEY, name text); INSERT INTO users (name) SELECT md5(n::text) FROM generate_series(1, 562) n; \
         CREATE TABLE large AS SELECT n AS id, (SELECT string_agg(md5((n * 200 + m)::text), '') FROM generate_series(1, 200) m) AS text FROM generate_series(1, {ROWS}) n; \
         CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN $1; END'; \
         CREATE INDEX ON large (slow(id)) WHERE id <= 60"
    ));
    service
}

/// The large table is being read (backup) or filled (restore).
fn in_the_rows(service: &Service, process: &mut Process) {
    process.until("COPY", || {
        sessions(service).iter().any(|session| session.contains("COPY") && session.contains("large"))
    });
}

fn told_to_stop(service: &Service, command: &str, words: &[&str], signal: Signal, until: impl FnOnce(&mut Process)) {
    let before = Whole::of(service);
    let mut process = service.start(command, words, &[]);
    until(&mut process);
    process.signal(signal);
    let ended = process.end().exits(130, "Interrupted");
    // Far more than it takes, far less than the work would: this machine may be busy.
    assert!(ended.took < Duration::from_secs(20), "{signal:?} was obeyed after {:?}", ended.took);
    nothing_is_left(service);
    assert_eq!(Whole::of(service), before);
}

#[test]
fn a3_a_backup_that_is_told_to_stop_leaves_nothing() {
    let service = service();
    told_to_stop(&service, "backup", &[], Signal::INT, |process| process.says("Backing up"));
    told_to_stop(&service, "backup", &[], Signal::TERM, |process| in_the_rows(&service, process));
    // A lock that somebody holds is waited for.
    let mut client = service.client();
    let mut migration = client.transaction().unwrap();
    migration.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    told_to_stop(&service, "backup", &[], Signal::HUP, |process| {
        process.until("LOCK", || sessions(&service).iter().any(|session| session.contains("LOCK TABLE")));
    });
    migration.rollback().unwrap();
    // A large object makes the rows come by pg_dump.
    service.sql("SELECT lo_from_bytea(0, 'picture')");
    told_to_stop(&service, "backup", &[], Signal::QUIT, |process| in_the_rows(&service, process));
    // The plugin is replaced meanwhile, as its installation does it (A11).
    let mut process = service.start("backup", &[], &[]);
    in_the_rows(&service, &mut process);
    let plugin = service.host.lib_root.join("plugins/enabled/pgbackup/bin");
    let script = "cp -p pgbackup \".$1\" && mv \".$1\" pgbackup";
    service.host.call("sh", &["-c", script, "sh", &service.name]).folder(&plugin).run().succeeds();
    process.end().exits(0, "saved as");
    service.pgbackup("verify", &["latest"]).succeeds();
}

#[test]
fn a3_a_restore_that_is_told_to_stop_leaves_the_database_as_it_was() {
    let service = service();
    service.backup();
    service.sql("DELETE FROM users");
    let words = ["latest", "--force", "--no-safety-backup"];
    told_to_stop(&service, "restore", &words, Signal::TERM, |process| in_the_rows(&service, process));
    told_to_stop(&service, "restore", &words, Signal::INT, |process| {
        process.says("Building indexes");
        process.until("CREATE INDEX", || sessions(&service).iter().any(|session| session.contains("CREATE INDEX")));
    });
    told_to_stop(&service, "restore", &words, Signal::HUP, |process| process.says("Comparing"));
    service.pgbackup("restore", &words).succeeds();
    assert_eq!((service.rows("users"), service.rows("large")), (562, ROWS));
}

/// kill -9 at a moment, then the next run of `command`.
fn killed(service: &Service, command: &str, words: &[&str], until: impl FnOnce(&mut Process)) {
    let mut process = service.start(command, words, &[]);
    until(&mut process);
    process.signal(Signal::KILL);
    process.end();
    nothing_is_left(service);
}

#[test]
fn a1_c18_a_killed_backup_is_cleaned_up_by_the_next_one() {
    let service = service();
    let foreign = format!("{}/postgres-other-2026-11-23-10-00-00.tgz", service.bucket().prefix);
    let bucket = ["--bucket", &service.host.bucket];
    service.bucket().aws(&["s3api", "create-multipart-upload", bucket[0], bucket[1], "--key", &foreign]).succeeds();
    // So that the upload has several parts, and is begun before the dump.
    let before = Whole::of(&service);
    killed(&service, "backup", &[], |process| in_the_rows(&service, process));
    assert_eq!(service.bucket().unfinished_uploads().len(), 2);
    service.sql("SELECT lo_from_bytea(0, 'picture')");
    killed(&service, "backup", &[], |process| in_the_rows(&service, process));
    assert_eq!(service.bucket().unfinished_uploads().len(), 2, "the first one's is gone");
    service.pgbackup("backup", &[]).succeeds().says("Took back the unfinished upload of");
    service.pgbackup("verify", &["latest"]).succeeds();
    assert_eq!(Whole { objects: service.bucket().names(), ..before }, Whole::of(&service), "the other's upload stays");
}

#[test]
fn a2_a_killed_restore_is_cleaned_up_by_the_next_command() {
    let service = service();
    let app = service.host.app("prod");
    app.link(&service);
    service.backup();
    service.sql("DELETE FROM users");
    let words = ["latest", "--force", "--no-safety-backup"];
    let databases = service.databases();
    for moment in ["Loading", "Building", "Comparing", "Putting the"] {
        killed(&service, "restore", &words, |process| {
            process.says(moment);
            if moment == "Loading" {
                in_the_rows(&service, process);
            }
        });
        // Old or new in full, and open or opened by the next command.
        assert_eq!(crashes(&service), Vec::<String>::new());
        service.pgbackup("backup", &[]).succeeds();
        assert!(!app.in_maintenance(), "killed at {moment:?}");
        let left: Vec<String> = service.databases().into_iter().filter(|name| !name.contains("previous")).collect();
        assert_eq!(left, databases, "killed at {moment:?}");
        assert_eq!(service.rows("large"), ROWS);
        if service.rows("users") == 562 {
            service.sql("DELETE FROM users");
        }
        // The newest backup is one of the damaged state: what is restored is the first.
        let newest = service.bucket().backups().pop().unwrap();
        service.bucket().remove(&newest);
        service.bucket().remove(&format!("{newest}.manifest.json"));
        std::fs::remove_file(service.host.data_of(&service.name).join("history.jsonl")).unwrap();
    }
    service.pgbackup("restore", &words).succeeds();
    assert_eq!((service.rows("users"), service.rows("large")), (562, ROWS));
}

#[test]
fn a2_a_database_that_a_dead_server_has_dropped_by_half_is_dropped() {
    let service = service();
    let databases = service.databases();
    let names = ["staging", "drill", "previous"].map(|what| format!("pgbackup_{what}_20230403110004000_prod"));
    let mut beside = service.client_of("postgres");
    for name in names.iter().chain([&"mine".to_owned()]) {
        let comment = format!(
            "pgbackup {{\"purpose\":\"staging\",\"service\":\"{}\",\"key\":\"a\",\"since\":\"2023-04-03T11:00:04Z\",\"kept\":true}}",
            service.name
        );
        beside.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        beside.batch_execute(&format!("COMMENT ON DATABASE {name} IS '{comment}'")).unwrap();
        // What DROP DATABASE writes first, and outside of its transaction.
        beside.batch_execute(&format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{name}'")).unwrap();
    }
    let run = service.pgbackup("backup", &[]).succeeds();
    names.iter().fold(run, |run, name| run.says(&format!("Dropped the database {name}")));
    beside.batch_execute("DROP DATABASE mine").unwrap();
    assert_eq!(service.databases(), databases);
}

/// Kills a program in the container by the beginning of its name: the one that started the others of that name, as process ids
/// begin anew after the highest and tell nothing about who was first.
fn kill_inside(service: &Service, name: &str, signal: Signal) {
    let run = service
        .host
        .call("docker", &["container", "top", &service.container(), "-eo", "pid,ppid,comm"])
        .run()
        .succeeds();
    let named = run
        .out()
        .lines()
        .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [pid, parent, program] if program.starts_with(name) => Some((pid.to_owned(), parent.to_owned())),
            _ => None,
        })
        .collect::<Vec<_>>();
    let first = named.iter().find(|(_, parent)| named.iter().all(|(pid, _)| pid != parent));
    let (pid, _) = first.unwrap_or_else(|| panic!("no {name}: {}", run.out()));
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn b3_programs_that_die_in_the_container_take_no_session_with_them() {
    let service = service();
    service.sql("SELECT lo_from_bytea(0, 'picture')");
    let before = Whole::of(&service);
    for (program, signal) in [("pg_dump", Signal::KILL), ("pg_dump", Signal::TERM), ("sh", Signal::KILL)] {
        let mut process = service.start("backup", &[], &[]);
        in_the_rows(&service, &mut process);
        kill_inside(&service, program, signal);
        process.end().exits(1, "pg_dump failed with exit status");
        nothing_is_left(&service);
        assert_eq!(Whole::of(&service), before, "{program} {signal:?}");
    }
    service.backup();
    let before = Whole::of(&service);
    for (moment, program) in [("Loading", "pg_restore"), ("Building", "pg_restore"), ("Building", "sh")] {
        let mut process = service.start("restore", &["latest", "--force", "--no-safety-backup"], &[]);
        process.says(moment);
        let statement = if moment == "Loading" { "COPY" } else { "CREATE INDEX" };
        process.until(statement, || sessions(&service).iter().any(|session| session.contains(statement)));
        kill_inside(&service, program, Signal::KILL);
        process.end().exits(1, "pg_restore");
        nothing_is_left(&service);
        assert_eq!(Whole::of(&service), before, "{program} while {moment}");
    }
    // Sessions that the administrator ends.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgbackup%'";
    for command in [&["backup"][..], &["restore", "latest", "--force", "--no-safety-backup"]] {
        let mut process = service.start(command[0], &command[1..], &[]);
        in_the_rows(&service, &mut process);
        service.sql(end);
        process.end().exits(1, " !     ");
        nothing_is_left(&service);
        assert_eq!(Whole::of(&service), before, "{command:?}");
    }
    service.pgbackup("verify", &["latest"]).succeeds();
}

#[test]
fn b4_a_dump_that_ends_early_is_a_failure_although_its_exit_code_is_0() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT i AS id, md5(i::text) AS mail FROM generate_series(1, 5620) i");
    // In front of the container's own pg_dump, which it calls.
    let instead = |body: &str| {
        let script = "rm -f /usr/local/sbin/pg_dump; printf '#!/bin/sh\nreal() { %s \"$@\"; }\n%s\n' \"$(command -v pg_dump)\" \"$1\" >/tmp/fake; \
             chmod 755 /tmp/fake; mv /tmp/fake /usr/local/sbin/pg_dump";
        let body = format!("[ \"$1\" != --version ] || {{ real --version; exit; }}\n{body}");
        service.exec(&["sh", "-c", script, "sh", &body]).run().succeeds();
    };
    for rows_by_pg_dump in [false, true] {
        if rows_by_pg_dump {
            service.sql("SELECT lo_from_bytea(0, 'picture')");
        }
        // Nothing; less than a header; a whole header; most of it.
        for body in [
            "exit 0",
            "\"$0.real\" \"$@\" | head -c 7",
            "\"$0.real\" \"$@\" | head -c 900",
            "\"$0.real\" \"$@\" | head -c -40",
        ] {
            instead(body);
            let refused = service.pgbackup("backup", &[]).exits(1).seen();
            assert!(refused.contains(" !  ") && refused.contains("pg_dump"), "{body}: {refused}");
            assert_eq!(service.bucket().names(), [""; 0], "{body}");
            assert!(service.bucket().unfinished_uploads().is_empty(), "{body}");
        }
    }
    instead("real \"$@\"");
    service.backup();
    service.pgbackup("verify", &["latest"]).succeeds();
}

/// Starts its container, and waits until the server answers.
fn start_again(service: &mut Service) {
    service.host.call("docker", &["container", "start", &service.container()]).run().succeeds();
    service.wait_until_up();
}

#[test]
fn b1_a_server_that_goes_away_in_the_exchange_is_asked_when_it_is_back() {
    let mut service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.backup();
    service.sql("DELETE FROM users");
    for comes_back in [true, false] {
        let words = ["latest", "--force", "--no-safety-backup"];
        let mut process = service.start("restore", &words, &[("PGBACKUP_STEP", "stop exchange.begins")]);
        let status = format!("/proc/{}/status", process.id());
        process.until("it to stop", || fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tT")));
        service.host.call("docker", &["container", "kill", &service.container()]).run().succeeds();
        process.signal(Signal::CONT);
        if comes_back {
            start_again(&mut service);
            let said = process.end().exits(1, "The live database was not touched").said;
            assert!(!said.contains("can't be asked"), "{said}");
        } else {
            let said = process.end().exits(1, "the server can't be asked which of them is live now").said;
            assert!(said.contains("pgbackup:status") && !said.contains("not touched"), "{said}");
            start_again(&mut service);
        }
        assert_eq!(service.rows("users"), 0);
    }
    service.pgbackup("restore", &["latest", "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(service.rows("users"), 562);
    assert!(!service.databases().iter().any(|name| name.contains("staging")));
}

#[test]
fn b1_b2_a_container_that_goes_away_fails_the_run_and_nothing_else() {
    let mut service = service();
    service.backup();
    for docker in ["kill", "restart"] {
        for command in [&["backup"][..], &["restore", "latest", "--force", "--no-safety-backup"]] {
            // A staging database that is left goes with the next command.
            let databases =
                service.databases().into_iter().filter(|name| !name.contains("staging")).collect::<Vec<_>>();
            let before = (service.rows("large"), databases, service.bucket().names());
            let mut process = service.start(command[0], &command[1..], &[]);
            in_the_rows(&service, &mut process);
            service.host.call("docker", &["container", docker, "--signal=KILL", &service.container()]).run().succeeds();
            process.end().exits(1, " !     ");
            start_again(&mut service);
            let databases =
                service.databases().into_iter().filter(|name| !name.contains("staging")).collect::<Vec<_>>();
            assert_eq!((service.rows("large"), databases, service.bucket().names()), before, "{docker} {command:?}");
            assert!(service.bucket().unfinished_uploads().is_empty());
        }
    }
    service.pgbackup("restore", &["latest", "--force", "--no-safety-backup"]).succeeds();
    assert!(!service.databases().iter().any(|name| name.contains("staging")));
    // A page of a table is damaged on the disk (B12).
    service.sql("CREATE TABLE damaged AS SELECT generate_series(1, 562) AS id; CHECKPOINT");
    let data = service.host.lib_root.join("services/postgres").join(&service.name).join("data");
    let file = data.join(service.value("SELECT pg_relation_filepath('damaged')"));
    service.host.call("docker", &["container", "stop", &service.container()]).run().succeeds();
    let mut page = fs::OpenOptions::new().write(true).open(&file).unwrap();
    page.write_all(&[0xff; 24]).unwrap();
    start_again(&mut service);
    let before = service.bucket().names();
    service.pgbackup("backup", &[]).exits(1).says("public.damaged").says("invalid page");
    assert_eq!(service.bucket().names(), before);
    service.sql("DROP TABLE damaged");
    // Paused, it is waited for.
    let mut process = service.start("backup", &[], &[]);
    in_the_rows(&service, &mut process);
    // Docker may be unable to freeze one that starts programs at that moment.
    process.until("it to pause", || {
        service.host.call("docker", &["container", "pause", &service.container()]).run().code == 0
    });
    thread::sleep(Duration::from_secs(3));
    service.host.call("docker", &["container", "unpause", &service.container()]).run().succeeds();
    process.end().exits(0, "saved as");
    service.pgbackup("verify", &["latest"]).succeeds();
    // Who asks to stop is obeyed also then.
    let mut process = service.start("backup", &[], &[]);
    in_the_rows(&service, &mut process);
    process.until("it to pause", || {
        service.host.call("docker", &["container", "pause", &service.container()]).run().code == 0
    });
    process.signal(Signal::TERM);
    let ended = process.end();
    service.host.call("docker", &["container", "unpause", &service.container()]).run().succeeds();
    let took = ended.exits(130, "Interrupted").took;
    assert!(took < Duration::from_secs(20), "{took:?}");
    nothing_is_left(&service);
    service.pgbackup("verify", &["latest"]).succeeds();
}

#[test]
fn a9_two_at_once_are_refused_by_name() {
    let service = service();
    service.backup();
    let mut first = service.start("backup", &[], &[]);
    first.says("Backing up");
    let restore = ["latest", "--force"];
    for (command, words) in [("backup", &[][..]), ("restore", &restore), ("verify", &["latest"])] {
        service.pgbackup(command, words).exits(5).says("Backup of").says(&first.id().to_string());
    }
    first.signal(Signal::KILL);
    first.end();
    // Its lock went with it.
    let mut second = service.start("restore", &restore, &[]);
    second.says("Backing up");
    service.pgbackup("backup", &[]).exits(5).says("Restore of");
    second.end().exits(0, "is restored");
    assert_eq!(service.rows("large"), ROWS);
}

#[test]
fn b7_b9_settings_and_obstacles_of_the_server() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.sql("ALTER SYSTEM SET max_prepared_transactions = 5");
    service.sql("ALTER SYSTEM SET wal_level = logical");
    let database = &service.database;
    service.client_of("postgres").batch_execute(&format!(
        "ALTER ROLE postgres SET statement_timeout = '20ms'; ALTER ROLE postgres SET lock_timeout = '1ms'; \
         ALTER ROLE postgres SET idle_in_transaction_session_timeout = '10ms'; ALTER DATABASE \"{database}\" SET idle_session_timeout = '1s'; \
         ALTER DATABASE \"{database}\" SET default_transaction_read_only = on; ALTER DATABASE \"{database}\" CONNECTION LIMIT 7"
    )).unwrap();
    service.backup();
    let words = ["latest", "--force", "--no-safety-backup"];
    service.pgbackup("restore", &words).succeeds();
    let mut client = service.client_of("postgres");
    client.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").unwrap();
    let row = client.query_one("SELECT datconnlimit, (SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = $1", &[database]).unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    assert_eq!(row.get::<_, String>(1), "{idle_session_timeout=1s,default_transaction_read_only=on}");
    client.batch_execute(&format!("ALTER ROLE postgres RESET ALL; ALTER DATABASE \"{database}\" RESET ALL")).unwrap();
    drop(client);
    // A prepared transaction can't be ended for its owner.
    let mut service = service;
    service.host.call("docker", &["container", "restart", &service.container()]).run().succeeds();
    service.wait_until_up();
    service.sql("BEGIN; DELETE FROM users; PREPARE TRANSACTION 'stuck'");
    let databases = service.databases();
    service.pgbackup("restore", &words).exits(1).says("The prepared transaction \"stuck\"").says("ROLLBACK PREPARED");
    assert_eq!(service.databases(), databases);
    service.sql("ROLLBACK PREPARED 'stuck'");
    // What would stay with the replaced database, and keep the server's WAL or fail without end; a later exchange finds it as well.
    service.sql("SELECT pg_create_logical_replication_slot('reader', 'pgoutput')");
    let refused = service.pgbackup("restore", &words).exits(1).says("The replication slot \"reader\"");
    assert!(!refused.says("pg_drop_replication_slot('reader')").seen().contains("Loading"));
    service.pgbackup("rollback", &["--force"]).exits(1).says("The replication slot \"reader\"");
    service.pgbackup("doctor", &[]).says("A restore will be refused: The replication slot");
    service.sql("SELECT pg_drop_replication_slot('reader')");
    service.sql("CREATE SUBSCRIPTION \"the feed\" CONNECTION 'host=192.0.2.1' PUBLICATION far WITH (connect = false, slot_name = NONE)");
    service
        .pgbackup("restore", &words)
        .exits(1)
        .says("The subscription \"the feed\"")
        .says("DROP SUBSCRIPTION \"the feed\"");
    assert_eq!(service.databases(), databases);
    service.sql("DROP SUBSCRIPTION \"the feed\"");
    service.pgbackup("restore", &words).succeeds();
    assert_eq!(service.rows("users"), 562);
}
