//! What a database may hold, on both versions of PostgreSQL: it comes back equal, and both ways to the rows carry the same.
//!
//! The judge is not our own comparison but stock pg_dump: the plain text that it writes of the database before and after,
//! database settings included.

use std::fs;

use pgbackup::database::snapshot::Snapshot;
use pgbackup::database::{dump, fingerprint};

use crate::host::{Host, Postgres, Service, docker};

const TABLES: &str = include_str!("corpus/tables.sql");
const BEYOND_TABLES: &str = include_str!("corpus/beyond_tables.sql");

/// Where the header of an archive keeps the time of the dump: behind magic, versions, sizes and compression.
const HEADER_TIME: std::ops::Range<usize> = 11..60;

fn load_corpus(service: &Service) {
    service.psql(TABLES);
}

/// Large objects, and an extension whose tables are dumped with a condition.
pub fn load_beyond_tables(service: &Service) {
    let folder = service.exec(&["pg_config", "--sharedir"]).run();
    let folder = if folder.code == 0 { folder.out().trim().to_owned() } else { "/usr/share/postgresql/15".to_owned() };
    for file in ["corpus.control", "corpus--1.0.sql"] {
        let path = format!("{}/tests/corpus/{file}", env!("CARGO_MANIFEST_DIR"));
        let target = format!("{folder}/extension/{file}");
        let script = ["sh", "-c", "cat >\"$1\" && chmod 644 \"$1\"", "sh", &target];
        service.exec(&script).input(fs::read(path).unwrap()).run().succeeds();
    }
    service.psql(BEYOND_TABLES);
}

/// Dumps the service's database both ways in one snapshot; what the automatic way was called.
fn assert_both_ways_are_equal(service: &Service) -> &'static str {
    let running = service.running();
    let mut snapshot = Snapshot::take(&running).unwrap();
    let encoding: String =
        snapshot.client().query_one("SELECT current_setting('server_encoding')", &[]).unwrap().get(0);
    let dumped = |engine| {
        let mut bytes = Vec::new();
        let dumped = dump::dump(&docker(), &running, &snapshot, &encoding, engine, true, &mut bytes).unwrap();
        (bytes, dumped)
    };
    let (bytes, by_us) = dumped(dump::Engine::Auto);
    let (expected, by_pg_dump) = dumped(dump::Engine::PgDump);
    assert_eq!(bytes.len(), expected.len());
    let different = bytes
        .iter()
        .zip(&expected)
        .enumerate()
        .position(|(at, (ours, theirs))| ours != theirs && !HEADER_TIME.contains(&at));
    assert_eq!(different, None, "the first byte that differs, of {}", bytes.len());
    assert_eq!(by_us.rows, by_pg_dump.rows);
    assert_eq!(by_us.sequences, by_pg_dump.sequences);
    assert_eq!(by_us.contents, by_pg_dump.contents);
    assert!(by_us.contents.len() >= 2);
    assert_eq!(by_us.large_objects, by_pg_dump.large_objects);
    for (table, rows) in &by_us.rows {
        assert_eq!(fingerprint::count(snapshot.client(), table).unwrap(), *rows, "{table}");
    }
    by_us.engine
}

/// Backs up, deletes everything, restores: stock pg_dump sees no difference.
fn assert_comes_back_equal(service: &Service) {
    let before = service.plain_dump(&service.database);
    service.set("fingerprint", "content");
    let key = service.backup();
    let mut client = service.client_of("postgres");
    // A drill first: it must not leave a trace.
    service.pgbackup("verify", &[&key]).succeeds();
    assert_eq!(service.databases(), [service.database.as_str()]);
    client
        .batch_execute(&format!("ALTER DATABASE {0} RESET ALL; COMMENT ON DATABASE {0} IS 'lost'", service.database))
        .unwrap();
    service.sql("CREATE TABLE public.made_later AS SELECT 1 AS id");
    service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).succeeds().says("all equal");
    assert_same_text(&before, &service.plain_dump(&service.database));
    service.pgbackup("rollback", &["--discard", "--force"]).succeeds();
}

/// Says the first line that differs instead of two dumps.
fn assert_same_text(before: &str, after: &str) {
    let mut lines = before.lines().zip(after.lines()).enumerate();
    if let Some((number, (before, after))) = lines.find(|(_, (before, after))| before != after) {
        panic!("line {number} differs\nbefore: {before:.400}\nafter:  {after:.400}");
    }
    assert_eq!(before.lines().count(), after.lines().count());
}

fn everything_comes_back(postgres: Postgres, options: &str) {
    let service = Host::get().service("corpus", postgres);
    service.recreate_database(options);
    load_corpus(&service);
    let name = &service.database;
    service.psql(&format!(
        "ALTER DATABASE {name} OWNER TO corpus_owner;
         ALTER DATABASE {name} SET search_path TO app, \"$user\", \"Odd \"\"schema\"\", é\";
         ALTER DATABASE {name} SET statement_timeout TO '45s';
         ALTER DATABASE {name} SET default_transaction_read_only TO on;
         ALTER DATABASE {name} SET my.own_setting TO 'it''s \\ \"odd\"';
         ALTER ROLE corpus_reader IN DATABASE {name} SET work_mem TO '8MB';
         ALTER DATABASE {name} CONNECTION LIMIT 50;
         REVOKE ALL ON DATABASE {name} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {name} TO corpus_reader WITH GRANT OPTION;
         GRANT CREATE ON DATABASE {name} TO \"odd \"\"role\"\" é\";
         COMMENT ON DATABASE {name} IS 'it''s \\ the \"corpus\"';",
    ));
    assert_eq!(assert_both_ways_are_equal(&service), "rows by TCP");
    service
        .client_of("postgres")
        .batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only"))
        .unwrap();
    load_beyond_tables(&service);
    assert_eq!(assert_both_ways_are_equal(&service), "pg_dump");
    assert_comes_back_equal(&service);
}

#[test]
fn everything_comes_back_equal_on_15() {
    everything_comes_back(Postgres::V15, "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C' LC_CTYPE 'en_US.utf8'");
}

#[test]
fn everything_comes_back_equal_on_18() {
    everything_comes_back(
        Postgres::V18,
        "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'en_US.utf8'",
    );
}

#[test]
fn other_encodings_come_back_equal() {
    let service = Host::get().service("corpus", Postgres::V15);
    for (encoding, more) in [
        ("LATIN1", ""),
        // Bytes that are no text in any encoding.
        ("SQL_ASCII", r"INSERT INTO café (größe) VALUES (E'\xff\xfe caf\xe9'), (E'\x80')"),
    ] {
        service.recreate_database(&format!("ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"));
        service.psql(&format!(
            "SET client_encoding TO 'UTF8';
             CREATE TABLE café (id serial PRIMARY KEY, größe text);
             COMMENT ON TABLE café IS 'naïve';
             INSERT INTO café (größe) VALUES ('ß'), ('tab\t\\.');
             CREATE TABLE plain (id serial PRIMARY KEY, value text);
             INSERT INTO plain (value) SELECT 'é' || i FROM generate_series(1, 1000) i;
             {more}"
        ));
        assert_both_ways_are_equal(&service);
        assert_comes_back_equal(&service);
    }
}
