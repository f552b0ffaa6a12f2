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
