//! `pgbackup:check`: every byte is read and every row counted without a database, and damage of any kind is found and named.

use std::fs;

use insta::assert_snapshot;

use crate::host::{Host, Postgres};

#[test]
fn a_backup_is_read_to_its_end_and_damage_is_named() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql(
        "CREATE EXTENSION citext;
         CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 562) i;
         CREATE TABLE empty (id serial);
         SELECT lo_from_bytea(1, 'large')",
    );
    host.dokku(&["postgres:backup", &service.name, &format!("{}/{}", host.bucket, service.name)]).run().succeeds();
    let theirs = service.bucket().names().pop().unwrap();
    let ours = service.backup();
    let folder = tempfile::tempdir().unwrap();
    let sql = service.exec(&["pg_dumpall", "--clean", "--if-exists", "-U", "postgres"]).run().succeeds().bytes;
    // No database is touched: there is none.
    host.dokku(&["postgres:stop", &service.name]).run().succeeds();

    let read = service.pgbackup("check", &[&ours]).succeeds();
    // (Without the line that names the versions of the image.)
    let without_versions = |seen: String| {
        let kept = |line: &&str| !line.contains(" by pg_dump 15");
        seen.lines().filter(kept).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(without_versions(read.seen()), @r"
    -----> Reading postgres-prod-<second>.tgz
           <size> read, the dump in it is <size> long
           Table  Expected  Found
           public.users  562  562  equal
           public.empty  0  0  equal
           2 tables, 562 rows, 7 values compared: all equal
    =====> postgres-prod-<second>.tgz is whole (<duration>)
    exit 0
    ");
    let report = service.pgbackup("check", &[&ours, "--format", "json"]).succeeds().json();
    assert_eq!((&report["good"], &report["compared_with"]), (&true.into(), &"sidecar".into()));
    assert_eq!(report["tables"][1]["found"], 562);
    let read = service.pgbackup("check", &[&theirs]).succeeds();
    assert_snapshot!(without_versions(read.seen()), @r"
    -----> Reading postgres-prod-<second>.tgz
           <size> read, the dump in it is <size> long
           Table  Rows
           public.users  562
           public.empty  0
           2 tables, 562 rows, 1 large object; no manifest to compare with
    =====> postgres-prod-<second>.tgz is whole (<duration>)
    exit 0
    ");
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((&listed[0]["verified"]["depth"], &listed[0]["verified"]["good"]), (&"read".into(), &true.into()));

    // All databases in SQL, as the second generation of dokku-postgres writes them.
    let backup = folder.path().join("backup");
    fs::create_dir(&backup).unwrap();
    fs::write(backup.join("export"), &sql).unwrap();
    let packed = || {
        let words = ["-czO", "-C", folder.path().to_str().unwrap(), "backup/export"];
        host.call("tar", &words).run().succeeds().bytes
    };
    let report = service.call("check", &["-", "--format", "json"]).input(packed()).run().succeeds().json();
    assert_eq!(report["dump"], "sql");
    assert_eq!(report["databases"], serde_json::json!([service.database]));
    let users = format!("{}: public.users", service.database);
    let tables = report["tables"].as_array().unwrap();
    assert!(tables.iter().any(|table| table["table"] == users.as_str() && table["found"] == 562), "{report}");
    fs::write(backup.join("export"), &sql[..sql.len() / 2]).unwrap();
    service.call("check", &["-"]).input(packed()).run().exits(3).says("cut off");

    // (Cuts and flips at every byte of small ones: `commands::check::tests`.)
    let object = service.bucket().get(&ours);
    let end = object.len();
    let mut flipped = object.clone();
    flipped[end / 2] ^= 0x10;
    for bytes in [&object[..end / 2], &object[..end - 1], &flipped, b"", b"<?xml version=\"1.0\"?><Error/>"] {
        service.call("check", &["-"]).input(bytes).run().exits(3).says("is damaged");
    }
    // Another good backup in its place is another one.
    let file = folder.path().join("bytes");
    fs::write(&file, service.bucket().get(&theirs)).unwrap();
    service.bucket().put(&ours, &file);
    service.pgbackup("check", &[&ours]).exits(3).says("is damaged").says("changed or replaced");
    let last = service.history().pop().unwrap();
    assert_eq!(
        (&last["event"], &last["depth"], &last["good"]),
        (&"verification".into(), &"read".into(), &false.into())
    );
    service.pgbackup("check", &["postgres-x-2023-04-03-11-00-04.tgz"]).exits(4);
}

#[test]
fn dumps_that_pg_dump_has_compressed_are_counted_whichever_way() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    service.sql(
        "CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 300000) i;
         CREATE TABLE noise AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS text FROM generate_series(1, 100000) i;
         CREATE TABLE wide AS SELECT i AS id, repeat(md5(i::text), 20000) AS text FROM generate_series(1, 20) i;
         CREATE TABLE empty (id serial);
         SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'))",
    );
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("backup/export");
    fs::create_dir(folder.path().join("backup")).unwrap();
    for kind in ["0", "6", "lz4", "lz4:9", "zstd", "zstd:level=19", "zstd:long=1"] {
        let dump = service.exec(&["pg_dump", "-Fc", "-Z", kind, "-U", "postgres", &service.database]);
        fs::write(&export, dump.run().succeeds().bytes).unwrap();
        let words = ["-czO", "-C", folder.path().to_str().unwrap(), "backup/export"];
        let packed = host.call("tar", &words).run().succeeds().bytes;
        let report = service.call("check", &["-", "--format", "json"]).input(packed).run().succeeds().json();
        let found: Vec<_> = report["tables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|table| (table["table"].as_str().unwrap(), table["found"].as_u64()))
            .collect();
        let expected = [
            ("public.empty", Some(0)),
            ("public.noise", Some(100_000)),
            ("public.users", Some(300_000)),
            ("public.wide", Some(20)),
        ];
        assert!(found.len() == 4 && expected.iter().all(|table| found.contains(table)), "{kind}: {found:?}");
        assert_eq!(report["large_objects"], 1, "{kind}");
    }
}
