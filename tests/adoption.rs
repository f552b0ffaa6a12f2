//! Backups that dokku-postgres has made are as good as ours: listed, shown, restored and checked by the rows of the dump.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use insta::assert_snapshot;

use crate::cli::words_of;
use crate::host::{Host, Key, Postgres};
use crate::schedule::with_another_dokku;

#[test]
fn backups_of_dokku_postgres_are_at_home() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql(
        "CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 562) i;
         ALTER TABLE users ADD PRIMARY KEY (id);
         CREATE TABLE empty (id serial);
         SELECT lo_from_bytea(1, 'large')",
    );
    let destination = format!("{}/{}", host.bucket, service.name);
    host.dokku(&["postgres:backup", &service.name, &destination]).run().succeeds();
    let key = service.bucket().names().pop().unwrap();
    let before = service.plain_dump(&service.database);

    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(listed[0]["key"], key.as_str());
    assert_eq!(listed[0]["made_by"], "dokku-postgres");
    assert_eq!(service.pgbackup("info", &["latest", "--format", "json"]).succeeds().json()["key"], key.as_str());
    let drill = service.pgbackup("verify", &["latest"]).succeeds();
    assert_snapshot!(drill.seen(), @r#"
    -----> Loading postgres-prod-<second>.tgz beside the live database
    -----> Building indexes and constraints
    -----> Comparing with what was saved
           Table  Expected  Found
           public.users  562  562  equal
           public.empty  0  0  equal
           2 tables, 562 rows, 2 values compared: all equal
    =====> postgres-prod-<second>.tgz restores to what was saved (<duration>)
    exit 0
    "#);
    assert_eq!(service.databases(), [service.database.as_str()]);

    service.sql("DROP TABLE users; SELECT lo_unlink(1)");
    let restored = service.pgbackup("restore", &["latest", "--force"]).succeeds();
    assert_snapshot!(restored.seen(), @r#"
    -----> Plan for prod
           Backup  postgres-prod-<second>.tgz
           From  s3://sportfin-prod-database-backups/prod
           Started  <time> (<age> ago)
           Size  <size>
           Into  database prod of prod, <size> now
           Disk  an unknown size is needed, <size> free
           What changes is not known beforehand: the backup has no manifest beside it, its rows are counted as they are read
    -----> Backing up prod to s3://sportfin-prod-database-backups/prod
           <size> in <duration>: 1 table, 0 rows, confirmed by the store (1 part, MD5)
           Present state saved as postgres-prod-<second>.tgz
    -----> Loading postgres-prod-<second>.tgz beside the live database
    -----> Building indexes and constraints
    -----> Comparing with what was saved
           Table  Expected  Found
           public.users  562  562  equal
           public.empty  0  0  equal
           2 tables, 562 rows, 2 values compared: all equal
    -----> Putting the database of prod in place
    =====> prod is restored from postgres-prod-<second>.tgz; the database was away for <duration>
           The replaced database is kept until <time> at least
           Undo this with: dokku pgbackup:rollback prod
    exit 0
    "#);
    assert_eq!(before, service.plain_dump(&service.database));

    // The object as it is, into a file and through a pipe.
    let original = service.bucket().get(&key);
    let folder = tempfile::tempdir().unwrap();
    let piped = service.pgbackup("download", &[&key, "-"]).succeeds();
    assert!(piped.bytes == original);
    // A file that a person has put somewhere.
    let path = folder.path().join("backup.tgz");
    fs::write(&path, &original).unwrap();
    service.sql("DELETE FROM users");
    service.call("restore", &["-", "--force", "--no-safety-backup"]).input_file(&path).run().succeeds();
    assert_eq!(service.rows("users"), 562);

    // It is the only one of its kind, but the safety backup is younger: deleting needs no more than a yes.
    service.pgbackup("delete", &[&key, "--force"]).succeeds();
    assert!(!service.bucket().names().contains(&key));
    service.pgbackup("restore", &[&key, "--force"]).exits(4);
}

/// Whoever types what the README begins with has the rows back, with nothing but an archive of dokku-postgres and the keys of the one service.
#[test]
fn what_the_readme_begins_with_brings_the_rows_back() {
    let host = Host::get();
    let (service, other) = (host.service("lollipop", Postgres::V15), host.service("testapp", Postgres::V15));
    for one in [&service, &other] {
        one.pgbackup("set", &["destination"]).succeeds();
    }
    host.dokku(&["postgres:backup-deauth", &other.name]).run().succeeds();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let place = format!("{}/{}", host.bucket, service.name);
    host.dokku(&["postgres:backup", &service.name, &place]).run().succeeds();
    // The loss comes later than the second of the key.
    sleep(Duration::from_millis(1100));
    let moment = jiff::Timestamp::now().strftime("%F %H:%M:%S").to_string();
    service.sql("DELETE FROM users");

    let readme = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let page = readme.split("\n## ").find(|section| section.starts_with("I lost data")).unwrap();
    let (mut typed, mut counts) = (Vec::new(), Vec::new());
    for line in page.lines().filter(|line| line.starts_with("dokku pgbackup:")) {
        let mut words: Vec<_> = words_of(line)
            .into_iter()
            .map(|word| match word.as_str() {
                "lollipop" => service.name.clone(),
                "testapp" => other.name.clone(),
                "s3://BUCKET" => format!("s3://{place}"),
                "2026-11-23 11:30" => moment.clone(),
                _ => word,
            })
            .collect();
        let command = words[1].trim_start_matches("pgbackup:").to_owned();
        if command == "restore" || command == "rollback" {
            words.push("--force".to_owned());
        }
        let run = host.dokku(&words[1..].iter().map(String::as_str).collect::<Vec<_>>()).run().succeeds();
        if command == "query" {
            counts.push(run.out().lines().any(|line| line.trim() == "562"));
        }
        typed.push(command);
    }
    assert_eq!(typed, ["set", "hold", "list", "restore", "query", "restore", "query", "rollback", "release"]);
    assert_eq!(counts, [true, true]);
    assert_eq!(service.rows("users"), 0, "the rollback was the last word");
}

#[test]
fn what_dokku_postgres_has_set_up_is_taken_over() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let bucket = format!("{}/{}", host.bucket, service.name);
    let destination = || service.pgbackup("report", &["--pgbackup-destination"]).succeeds().out().trim().to_owned();

    // Set up by dokku-postgres alone.
    service.pgbackup("set", &["destination"]).succeeds();
    let unknown = service.pgbackup("adopt", &["--force"]).exits(1);
    assert_snapshot!(unknown.seen(), @r"
    -----> What dokku-postgres has for prod
           Schedule  none
           Keys  <key>, region us-east-1, at <endpoint>
           Encryption  none
     !  dokku-postgres has no schedule for prod, so it is not known where its backups go
     !  Say it: dokku pgbackup:set prod destination s3://BUCKET
     !  The keys of dokku-postgres are used by themselves
    exit 1
    ");
    host.dokku(&["postgres:backup-schedule", &service.name, "30 14 * * *", &bucket]).run().succeeds();
    host.dokku(&["postgres:backup", &service.name, &bucket]).run().succeeds();
    let key = service.bucket().names().pop().unwrap();

    // Nothing happens to those who aren't asked.
    service.pgbackup("adopt", &[]).exits(1).says("no terminal to ask for a confirmation");
    assert_eq!(destination(), "");
    let theirs = || host.dokku(&["postgres:backup-schedule-cat", &service.name]).run().code;
    let line = format!("30 14 * * * dokku pgbackup:schedule:run {} backup", service.name);
    let crontab = || host.call("crontab", &["-l"]).run().out();
    let in_crontab = || crontab().lines().filter(|line| line.contains(&service.name)).count();
    let adopted = service.pgbackup("adopt", &["--force", "--no-schedule"]).succeeds();
    let (done, checked) =
        adopted.seen().split_once("=====> Checking").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_snapshot!(done, @r"
    -----> What dokku-postgres has for prod
           Schedule  30 14 * * * into sportfin-prod-database-backups/prod
           Keys  <key>, region us-east-1, at <endpoint>
           Encryption  none
    -----> What will be done for prod
           Set destination to s3://sportfin-prod-database-backups/prod
    =====> Setting destination to s3://sportfin-prod-database-backups/prod
    ");
    assert!(!checked.contains("FAIL"), "{checked}");
    assert_eq!((theirs(), in_crontab()), (0, 0), "the schedule stays where it is");

    // One of the two runs, never both.
    let adopted = service.pgbackup("adopt", &["--force"]).succeeds();
    assert!(!adopted.out().contains("FAIL"), "{}", adopted.out());
    assert_eq!((theirs(), in_crontab()), (1, 1));
    assert!(crontab().contains(&line), "{}", crontab());
    assert_eq!(destination(), service.bucket().url());
    assert_eq!(service.pgbackup("list", &["--format", "json"]).succeeds().json()[0]["key"], key.as_str());
    service.pgbackup("verify", &["latest"]).succeeds();

    // Once is enough, and nobody's own choice is changed.
    service.pgbackup("adopt", &[]).succeeds().says("Nothing: all of it is taken over");
    assert_eq!((theirs(), in_crontab()), (1, 1));
    host.dokku(&["postgres:backup-schedule", &service.name, "30 14 * * *", &bucket]).run().succeeds();
    service.set("destination", "s3://another-bucket");
    let ambiguous = service.pgbackup("adopt", &["--force"]).exits(1);
    assert_snapshot!(ambiguous.seen(), @r"
    -----> What dokku-postgres has for prod
           Schedule  30 14 * * * into sportfin-prod-database-backups/prod
           Keys  <key>, region us-east-1, at <endpoint>
           Encryption  none
     !  Backups of prod go to s3://another-bucket here and to s3://sportfin-prod-database-backups/prod by dokku-postgres's schedule
     !  To go on with the latter: dokku pgbackup:set prod destination s3://sportfin-prod-database-backups/prod
     !  To keep the former: dokku postgres:backup-unschedule prod
     !  Nothing was changed
    exit 1
    ");
    assert_eq!(destination(), "s3://another-bucket");
    assert_eq!((theirs(), in_crontab()), (0, 1));
    service.pgbackup("doctor", &[]).says("dokku-postgres backs up at 30 14 * * * into");
    service.pgbackup("unschedule", &["--every"]).succeeds();
    host.dokku(&["postgres:backup-unschedule", &service.name]).run().succeeds();
}

#[test]
fn a_schedule_that_works_is_not_given_up_for_one_that_would_not() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    let name = service.name.as_str();
    let bucket = format!("{}/{name}", host.bucket);
    let crontab = || host.call("crontab", &["-l"]).run().out();
    let ours = || crontab().lines().filter(|line| line.contains(name)).map(str::to_owned).collect::<Vec<_>>();
    let kept = || fs::read_to_string(host.lib_root.join("config/pgbackup").join(name).join("schedules"));
    service.pgbackup("set", &["destination"]).succeeds();
    service.pgbackup("backup", &[]).exits(1).says("No destination is set");
    let cron = "30 14 * * *";
    host.dokku(&["postgres:backup-schedule", name, cron, &bucket]).run().succeeds();
    let theirs = || host.dokku(&["postgres:backup-schedule-cat", name]).run().out();
    let before = theirs();
    assert!(before.starts_with(cron), "{before}");
    let stays = || {
        assert_eq!(theirs(), before);
        assert_eq!((ours(), kept().is_err()), (Vec::new(), true));
    };

    // Of a public key dokku-postgres has the id alone.
    host.dokku(&["postgres:backup-set-public-key-encryption", name, "DEADBEEF"]).run().succeeds();
    let refused = service.pgbackup("adopt", &["--force"]).exits(1);
    assert_snapshot!(refused.seen(), @r"
    -----> What dokku-postgres has for prod
           Schedule  30 14 * * * into sportfin-prod-database-backups/prod
           Keys  <key>, region us-east-1, at <endpoint>
           Encryption  to the public key DEADBEEF
    -----> What will be done for prod
           Set destination to s3://sportfin-prod-database-backups/prod
           Take over the schedule 30 14 * * *: it is removed from dokku-postgres and set here
    =====> Setting destination to s3://sportfin-prod-database-backups/prod
    -----> Trying whether a backup of prod would work here
     !  dokku-postgres fetches the public key DEADBEEF from a key server; pgbackup asks for it once: dokku pgbackup:encryption prod --public-key FILE
     !  The schedule of prod stays with dokku-postgres, as pgbackup's would not work: dokku-postgres encrypts the backups of prod for the public key DEADBEEF, of which only the id is known here, and pgbackup asks no key server for it
     !  Give the key itself: gpg --export --armor DEADBEEF | dokku pgbackup:encryption prod --public-key -
     !  To back up without encryption, on purpose: dokku pgbackup:encryption prod --off
     !  What was set stays (destination); to clear it: dokku pgbackup:set prod destination
     !  When that is mended: dokku pgbackup:adopt prod
    exit 1
    ");
    stays();
    host.dokku(&["postgres:backup-unset-public-key-encryption", name]).run().succeeds();

    // Keys that may not write.
    service.authorize(Key::Reader);
    for command in ["adopt", "schedule:adopt"] {
        let refused = service.pgbackup(command, if command == "adopt" { &["--force"] } else { &[] }).exits(1);
        refused.says("stays with dokku-postgres").says("The permission s3:PutObject is missing");
        stays();
    }
    service.authorize(Key::Full);

    // A Dokku that writes no crontab and is known to, one of which it turns out, and one that says that it can't.
    for (triggers, crontab, why, then) in [
        (
            "scheduler-detect) echo k3s ;; scheduler-cron-write) ;;",
            "echo 'no crontab for dokku' >&2; exit 1",
            "stays with dokku-postgres",
            "on this host it is k3s",
        ),
        ("scheduler-cron-write) ;;", "", "is not in Dokku's crontab", "is put back and goes on"),
        (
            "scheduler-cron-write) echo no disk >&2; exit 1 ;;",
            "",
            "Dokku's crontab was not written",
            "is put back and goes on",
        ),
    ] {
        let (folder, path) = with_another_dokku(&service, triggers, crontab);
        let refused = service.start("adopt", &["--force"], &[("PATH", &path)]).end();
        refused.exits(1, why).exits(1, then);
        stays();
        fs::remove_dir_all(folder).unwrap();
    }

    // What the user has scheduled here is not replaced by theirs.
    service.pgbackup("schedule", &["0 * * * *"]).succeeds();
    let hourly = ours();
    let adopted = service.pgbackup("adopt", &["--force"]).succeeds();
    adopted.says(&format!(
        "Remove the schedule {cron} from dokku-postgres: what is set here stays, backup of {name} (0 * * * *)"
    ));
    host.dokku(&["postgres:backup-schedule-cat", name]).run().exits(1);
    assert_eq!((ours(), hourly.len()), (hourly, 1));
    service.pgbackup("unschedule", &["--every"]).succeeds();

    // A failure of the past, here one without a destination, doesn't speak against a service that is well now.
    host.dokku(&["postgres:backup-schedule", name, cron, &bucket]).run().succeeds();
    let adopted = service.pgbackup("adopt", &["--force"]).succeeds();
    adopted.says("warn  The last backup,").says("failed: No destination is set");
    assert_eq!(ours().len(), 1);
    service.pgbackup("unschedule", &["--every"]).succeeds();
}

/// Containers of ours that are left over.
fn throwaways(service: &crate::host::Service) -> String {
    let filter = format!("label=com.dokku.pgbackup.service={}", service.name);
    service.host.call("docker", &["container", "ls", "--all", "--quiet", "--filter", &filter]).run().succeeds().out()
}

#[test]
fn all_databases_in_sql_are_restored_by_way_of_a_throwaway_container() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    service.sql(
        "CREATE ROLE app; CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 562) i;
         ALTER TABLE users ADD PRIMARY KEY (id); ALTER TABLE users OWNER TO app; CREATE TABLE \"Odd \"\"name\" (v text);
         INSERT INTO \"Odd \"\"name\" VALUES (E'\\\\! touch /tmp/x'), (E'\\\\.'), (NULL);
         SELECT lo_from_bytea(1, 'large')",
    );
    service.client().batch_execute("CREATE DATABASE other").unwrap();
    service.client_of("other").batch_execute("CREATE TABLE theirs AS SELECT generate_series(1, 7) AS i").unwrap();
    let before = service.plain_dump(&service.database);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    fs::create_dir(&backup).unwrap();
    let pack = |text: &[u8]| {
        fs::write(backup.join("export"), text).unwrap();
        host.call("tar", &["-czO", "-C", folder.path().to_str().unwrap(), "backup"]).run().succeeds().bytes
    };
    // As the second generation of dokku-postgres stores it.
    let cluster = service.exec(&["pg_dumpall", "--clean", "--if-exists", "-U", "postgres"]).run().succeeds().bytes;
    let key = format!("postgres-{}-2026-10-01-03-00-00.tgz", service.name);
    let object = folder.path().join("object");
    fs::write(&object, pack(&cluster)).unwrap();
    service.bucket().put(&key, &object);

    let drill = service.pgbackup("verify", &[&key]).succeeds().says("into a throw-away container").says("taking");
    assert!(drill.out().contains("2 tables, 565 rows"), "{}", drill.out());
    service.sql("DROP TABLE users; SELECT lo_unlink(1)");
    service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(before, service.plain_dump(&service.database));
    let mut other = service.client_of("other");
    assert_eq!(
        other.query("TABLE theirs", &[]).unwrap().len(),
        7,
        "the other database of the live server is not touched"
    );
    drop(other);

    // One database after the other, the wanted one told by its name; and one without a name, with an owner that is nowhere.
    let other = service.exec(&["pg_dump", "--create", "--clean", "--if-exists", "-U", "postgres", "other"]);
    let both = [cluster_of(&service, &service.database), other.run().succeeds().bytes].concat();
    service
        .call("restore", &["-", "--database", "other", "--force", "--no-safety-backup"])
        .input(pack(&both))
        .run()
        .succeeds();
    assert_eq!(service.rows("theirs"), 7);
    let nameless = before.replace("OWNER TO app", "OWNER TO gone_since").into_bytes();
    let start = memchr(&nameless, b"\\connect ");
    let single = [
        b"SET standard_conforming_strings = on;\n",
        &nameless[start + nameless[start..].iter().position(|b| *b == b'\n').unwrap() + 1..],
    ]
    .concat();
    service.call("restore", &["-", "--force", "--no-safety-backup"]).input(pack(&single)).run().succeeds();
    assert_eq!(service.rows("users"), 562);

    // What does harm does none, and says why it was refused; so does a broken one.
    let (databases, rows) = (service.databases(), service.rows("users"));
    for (text, exit, why) in [
        (&b"SELECT 1;\n\\! touch /tmp/x\n"[..], 1, "psql command"),
        (b"CREATE TABLE a (i text);\nCOPY public.a FROM PROGRAM 'id';\n", 1, "line 2 holds COPY public.a FROM PROGRAM"),
        (b"CREATE TABLE a (i text);\nCOPY public.a FROM '/etc/passwd';\n", 1, "which no dump holds"),
        (b"CREATE TABLE a (i int);\nSELECT 1 / 0;\n", 1, "division by zero"),
        (&cluster[..cluster.len() / 2], 1, "cut off"),
        (b"-- PostgreSQL database dump\n-- Dumped from database version 99.1\nSELECT 1;\n", 1, "PostgreSQL 99.1"),
    ] {
        let run = service.call("restore", &["-", "--force", "--no-safety-backup"]).input(pack(text)).run();
        run.exits(exit).says(why).says("The live database was not touched");
        assert_eq!((service.databases(), service.rows("users")), (databases.clone(), rows));
    }
    assert_eq!(throwaways(&service), "");

    // Killed in the middle, it is swept by the next command; and told to stop, it goes at once.
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let mut process = service.start("verify", &[&key], &[]);
        process.until("a container", || !throwaways(&service).is_empty());
        process.signal(signal);
        let ended = process.end();
        if signal == rustix::process::Signal::INT {
            assert_eq!((ended.code, throwaways(&service)), (130, String::new()), "{}", ended.said);
        } else {
            assert_ne!(throwaways(&service), "");
            service.pgbackup("rollback", &["--discard", "--force"]);
            assert_eq!(throwaways(&service), "");
        }
    }
}

fn cluster_of(service: &crate::host::Service, database: &str) -> Vec<u8> {
    service.exec(&["pg_dump", "--create", "--clean", "--if-exists", "-U", "postgres", database]).run().succeeds().bytes
}

fn memchr(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len()).position(|part| part == word).unwrap()
}
