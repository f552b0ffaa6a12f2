//! Damaged, foreign and hostile input of a restore (faults.md C5, D1, D3, D5, D7): named, refused, and the live database untouched.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::host::{Host, Postgres, Service};

const WORDS: [&str; 2] = ["--force", "--no-safety-backup"];

fn restored_from(service: &Service, words: &[&str]) -> crate::host::Run {
    service.pgbackup("restore", &[words, &WORDS].concat())
}

/// Replaces an object by these bytes.
fn replace(service: &Service, folder: &Path, name: &str, bytes: &[u8]) {
    let file = folder.join("bytes");
    fs::write(&file, bytes).unwrap();
    service.bucket().put(name, &file);
}

#[test]
fn c5_d1_a_damaged_object_is_never_swapped_in() {
    let service = Host::get().service("prod", Postgres::V18);
    service.sql("CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 562) n");
    let key = service.backup();
    let sidecar = format!("{key}.manifest.json");
    let (object, description) = (service.bucket().get(&key), service.bucket().get(&sidecar));
    service.sql("DELETE FROM users WHERE id > 500");
    let folder = tempfile::tempdir().unwrap();
    let untouched = || {
        assert_eq!(service.databases(), [service.database.as_str()]);
        assert_eq!(service.rows("users"), 500);
    };
    let end = object.len();
    for cut in [0, 700, end / 2, end - 1] {
        replace(&service, folder.path(), &key, &object[..cut]);
        // Known from the list: neither a question nor a backup of the present state comes first.
        let there = service.bucket().names();
        let refused = service.pgbackup("restore", &[&key, "--force"]).exits(1);
        let refused = refused.says(&format!("it is {cut} bytes long and was saved with {end}"));
        let list = format!("dokku pgbackup:list {}", service.name);
        assert!(!refused.says("The live database was not touched").says(&list).out().contains("Plan for"));
        assert_eq!(service.bucket().names(), there);
        service.pgbackup("verify", &[&key]).exits(3).says("cut off, changed or replaced").says(&list);
        service.pgbackup("check", &[&key]).exits(3).says("cut off, changed or replaced");
        untouched();
    }
    for flip in [3, 300, end / 2, end - 2] {
        let mut flipped = object.clone();
        flipped[flip] ^= 0x10;
        replace(&service, folder.path(), &key, &flipped);
        restored_from(&service, &[&key]).exits(1).says("The live database was not touched");
        untouched();
    }
    // Another valid backup in its place, and the other way round another's description beside it.
    service.sql("CREATE TABLE later (id int)");
    let other = service.backup();
    service.sql("DROP TABLE later");
    replace(&service, folder.path(), &key, &service.bucket().get(&other));
    restored_from(&service, &[&key]).exits(1).says("changed or replaced");
    untouched();
    replace(&service, folder.path(), &key, &object);
    // A description that is another's or can't be read is done without: the archive has its own. (This host remembers the right
    // one; another host doesn't.)
    let others = service.bucket().get(&format!("{other}.manifest.json"));
    for beside in [&others[..], b"{\"format\":", b"\xff\xfe", &b"[".repeat(100_000)] {
        fs::remove_file(service.host.data_of(&service.name).join("history.jsonl")).unwrap();
        replace(&service, folder.path(), &sidecar, beside);
        // Nothing vouches for the object then, and this host signs what it saves: the user has to.
        restored_from(&service, &[&key]).exits(1).says("can't be used").says("--allow-unsigned");
        restored_from(&service, &[&key, "--allow-unsigned"]).succeeds().says("can't be used");
        assert_eq!(service.rows("users"), 562);
    }
    replace(&service, folder.path(), &sidecar, &description);
    assert_eq!(service.rows("users"), 562);
}

#[test]
fn d3_d5_only_a_dump_in_its_place_is_restored_from_a_file() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 562) n");
    let folder = tempfile::Builder::new().prefix("pgbackup-input").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dump = service.exec(&["pg_dump", "-Fc", "-U", "postgres", &service.database]).run().succeeds().bytes;
    let sql = service.exec(&["pg_dump", "-U", "postgres", &service.database]).run().succeeds().bytes;
    let backup = folder.path().join("backup");
    fs::create_dir(&backup).unwrap();
    fs::write(backup.join("export"), &dump).unwrap();
    fs::write(backup.join("half"), &dump[..dump.len() / 2]).unwrap();
    fs::write(backup.join("sql"), &sql).unwrap();
    fs::write(backup.join("empty"), "").unwrap();
    symlink("/etc/passwd", backup.join("link")).unwrap();
    let archive = folder.path().join("archive.tgz");
    let path = archive.to_str().unwrap();
    let pack = |words: &[&str]| {
        let all = [&["-czf", path, "-C", folder.path().to_str().unwrap()], words].concat();
        service.host.call("tar", &all).run().succeeds();
        restored_from(&service, &["--file", path])
    };
    let as_export = |name: &str| pack(&[&format!("--transform=s,{name}$,export,"), &format!("backup/{name}")]);
    as_export("half").exits(1).says("cut off");
    as_export("empty").exits(1);
    as_export("link").exits(1).says("symbolic link");
    pack(&["--transform=s,export,other,", "backup/export"]).exits(1).says("backup/export");
    pack(&["-P", "--transform=s,backup/,backup/../../,", "backup/export"]).exits(1);
    pack(&["-P", "--transform=s,^,/,", "backup/export"]).exits(1);
    pack(&["--hard-dereference", "backup/export", "backup/export"]).exits(1).says("twice");
    for (bytes, what) in [
        (&dump[..], "not a gzip'd archive"),
        (&sql, "not a gzip'd archive"),
        (b"", "empty"),
        (b"\x8c\x0d\x04\x09", "can't be decrypted"),
    ] {
        fs::write(&archive, bytes).unwrap();
        restored_from(&service, &["--file", path]).exits(1).says(what);
    }
    restored_from(&service, &["--file", "/nonexistent"]).exits(1).says("can't be read by the user dokku");
    service.call("restore", &["-", "--force", "--no-safety-backup"]).input("").run().exits(1).says("empty");
    assert_eq!((service.databases().len(), service.rows("users")), (1, 562));
    // The right one, and the same as SQL text, which goes by way of a throw-away container.
    for name in ["export", "sql"] {
        service.sql("DELETE FROM users");
        as_export(name).succeeds();
        assert_eq!(service.rows("users"), 562, "{name}");
    }
}

#[test]
fn what_could_not_be_compared_is_never_called_equal() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 562) n; CREATE TABLE empty (id int)");
    let folder = tempfile::Builder::new().prefix("pgbackup-input").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path().join("backup")).unwrap();
    let archive = folder.path().join("archive.tgz");
    let path = archive.to_str().unwrap();
    let pack = |dump: &[u8]| {
        fs::write(folder.path().join("backup/export"), dump).unwrap();
        let words = ["-czf", path, "-C", folder.path().to_str().unwrap(), "backup/export"];
        service.host.call("tar", &words).run().succeeds();
    };
    let dump = |words: &[&str]| {
        service.exec(&[&["pg_dump", "-U", "postgres", &service.database], words].concat()).run().succeeds().bytes
    };
    let never_equal = |run: crate::host::Run| assert!(!run.seen().contains("all equal"), "{}", run.seen());
    let file = ["--file", path];
    // Nothing of it can be compared: it is restored when that is accepted.
    for (words, reason) in [(&["--inserts"][..], "INSERT statements"), (&["--inserts", "-Fc"], "INSERT statements")] {
        pack(&dump(words));
        let run = restored_from(&service, &file).exits(3).says("Nothing of what was loaded could be compared");
        never_equal(run.says(reason).says("2 tables not compared").says("--accept-differences"));
        never_equal(service.pgbackup("verify", &file).exits(3).says("nothing of it could be compared").says(reason));
        assert_eq!((service.databases().len(), service.rows("users")), (1, 562));
        service.sql("DELETE FROM users");
        never_equal(restored_from(&service, &["--file", path, "--accept-differences"]).succeeds().says(reason));
        assert_eq!(service.rows("users"), 562, "{words:?}");
        service.pgbackup("rollback", &["--discard", "--force"]).succeeds();
    }
    // A part of it can.
    let mut text = dump(&[]);
    text.extend(b"CREATE TABLE public.more (id int);\nINSERT INTO public.more VALUES (1), (2);\n");
    pack(&text);
    let drill = service.pgbackup("verify", &file).succeeds().says("as far as it was compared: 1 table not");
    never_equal(drill.says("1 table not compared (public.more): the dump holds their rows as INSERT statements"));
    never_equal(
        restored_from(&service, &file).succeeds().says("2 tables, 562 rows, 2 values compared: equal, but 1 table"),
    );
    assert_eq!((service.rows("users"), service.rows("more")), (562, 2));
    service.pgbackup("rollback", &["--discard", "--force"]).succeeds();
    // Rows that stand elsewhere are no dump's.
    pack(
        b"-- PostgreSQL database dump\n\nCREATE TABLE public.a(x text);\nCOPY public.a FROM PROGRAM 'id';\n\n\
          -- PostgreSQL database dump complete\n",
    );
    for command in ["restore", "verify", "check"] {
        let words = if command == "restore" { [&file[..], &WORDS].concat() } else { file.to_vec() };
        let run = service.pgbackup(command, &words);
        assert_ne!(run.code, 0);
        never_equal(run.says("line 4 holds COPY public.a FROM PROGRAM"));
    }
    assert_eq!((service.databases().len(), service.rows("users")), (1, 562));
}

#[test]
fn b13_a_dump_of_a_newer_major_is_refused_before_anything_changes() {
    let (older, newer) = (Host::get().service("prod", Postgres::V15), Host::get().service("next", Postgres::V18));
    newer.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let key = newer.backup();
    // Its manifest says so: no question is asked, and no backup of the present state is left by each try.
    newer.pgbackup("restore", &["latest", "--to", &older.name]).exits(1).says("runs PostgreSQL 15");
    let run = newer.pgbackup("restore", &["latest", "--to", &older.name, "--force"]);
    run.exits(1).says("runs PostgreSQL 15").says("--image-version 18");
    // Of a file its dump says it.
    let object = newer.bucket().get(&key);
    let run = older.call("restore", &["-", "--force", "--foreign"]).input(object).run();
    run.exits(1).says("runs PostgreSQL 15").says("--image-version 18");
    older.call("restore", &["-", "--force"]).input(newer.bucket().get(&key)).run().exits(1).says("another service's");
    assert_eq!(older.bucket().names(), [""; 0]);
    assert_eq!(older.databases().len(), 1);
}

#[test]
fn d7_names_are_refused_by_the_rule_of_dokku_postgres() {
    let host = Host::get();
    let long = "a".repeat(300);
    for name in ["-rf", "a b", "$(touch x)", "ünï", "../prod", "", ";x", long.as_str()] {
        for command in ["pgbackup:backup", "pgbackup:verify"] {
            let run = host.dokku(&[command, name, "latest"][..if command == "pgbackup:backup" { 2 } else { 3 }]).run();
            assert!(run.code == 1 || run.code == 2, "{command} {name:?}: {}", run.code);
            assert!(run.err.contains(" !     "), "{command} {name:?}: {}", run.err);
        }
    }
    host.dokku(&["pgbackup:backup", "no-such-service"]).run().exits(1).says("no-such-service");
}
