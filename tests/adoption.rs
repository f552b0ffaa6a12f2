//! Backups that dokku-postgres has made are as good as ours: listed, shown, restored and checked by the rows of the dump.

use std::fs;

use insta::assert_snapshot;

use crate::host::{Host, Postgres};

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
    let adopted = service.pgbackup("adopt", &["--force"]).succeeds();
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
    assert_eq!(destination(), service.bucket().url());
    assert_eq!(service.pgbackup("list", &["--format", "json"]).succeeds().json()[0]["key"], key.as_str());
    service.pgbackup("verify", &["latest"]).succeeds();

    // Once is enough, and nobody's own choice is changed.
    service.pgbackup("adopt", &[]).succeeds().says("Nothing: all of it is taken over");
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
    host.dokku(&["postgres:backup-unschedule", &service.name]).run().succeeds();
}
