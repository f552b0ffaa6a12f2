//! Many backups under load, each of them tried: no good one may ever be called bad. The suite tries a few; `SOAK=1000 make test T=soak` tries a
//! thousand, and tells how long that took.

use std::ffi::{OsStr, OsString};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgbackup::cli;
use pgbackup::commands::Context;
use pgbackup::dokku::environment::Environment;
use pgbackup::ui::Ui;

use crate::host::{Host, Postgres, Service};

/// How many the suite tries.
const FEW: usize = 5;

const SCHEMA: &str = "CREATE TYPE state AS ENUM ('new', 'paid', 'sent');
     CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL, seen timestamptz DEFAULT now(), note jsonb);
     CREATE TABLE orders (id bigserial, user_id bigint REFERENCES users ON DELETE CASCADE, state state NOT NULL, amount numeric(10,2),
       PRIMARY KEY (id, state)) PARTITION BY LIST (state);
     CREATE TABLE orders_new PARTITION OF orders FOR VALUES IN ('new');
     CREATE TABLE orders_rest PARTITION OF orders DEFAULT;
     CREATE TABLE queue (id serial PRIMARY KEY, body text);
     CREATE UNLOGGED TABLE cache (id int PRIMARY KEY, value float8);
     CREATE INDEX ON users (lower(name)); CREATE VIEW rich AS SELECT user_id, sum(amount) FROM orders GROUP BY 1 HAVING sum(amount) > 100;
     INSERT INTO users (name) SELECT 'user ' || i FROM generate_series(1, 500) i";

/// What the writers do, again and again; `{n}` is a number that grows.
const WRITES: [&str; 8] = [
    "INSERT INTO users (name, note) VALUES ('written {n}', '{\"n\": {n}}')",
    "INSERT INTO orders (user_id, state, amount) SELECT max(id), 'new', {n} % 1000 / 7.0 FROM users",
    "UPDATE orders SET state = 'paid' WHERE id IN (SELECT id FROM orders WHERE state = 'new' ORDER BY id LIMIT 3)",
    "DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY id DESC OFFSET 600 LIMIT 20)",
    "INSERT INTO queue (body) SELECT md5(i::text) FROM generate_series(1, 20) i",
    "DELETE FROM queue WHERE id % 3 = 0",
    "INSERT INTO cache SELECT {n} % 400, random() ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value",
    "SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid % 2 = 0; SELECT lo_from_bytea(0, decode(md5('{n}'), 'hex'))",
];

fn write(service: &Service, stop: &AtomicBool, done: &AtomicU64, begin: usize) {
    let mut client = service.client();
    for (number, &statement) in WRITES.iter().cycle().skip(begin).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let statement = if number % RARELY == RARELY / 2 { "TRUNCATE queue" } else { statement };
        // A deadlock with the other writer, or a lock that a backup holds for a moment, is the app's affair.
        if client.batch_execute(&statement.replace("{n}", &number.to_string())).is_ok() {
            done.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// A TRUNCATE now and then: it waits for a dump that has the table, and whatever comes behind it waits as well. (One that comes all the time
/// lets no dump through, which fails and says so.)
const RARELY: usize = 300;

/// Ends the writers also when the test fails: a scope waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "how many is said by the environment")]
fn rounds() -> usize {
    std::env::var("SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(FEW)
}

#[test]
fn no_good_backup_is_ever_called_bad() {
    let host = Host::get();
    let service = host.service("soak", Postgres::V15);
    service.sql(SCHEMA);
    service.set("fingerprint", "content");
    service.set("keep-last", "3");
    service.set("suspicious-drop", "off");
    for (name, sql) in [
        ("newest", "SELECT max(id), max(seen) FROM users"),
        ("sums", "SELECT state, sum(amount) FROM orders GROUP BY 1"),
    ] {
        service.pgbackup("checks:add", &[name, sql]).succeeds();
    }
    let rounds = rounds();
    let lib_root = host.lib_root.clone();
    let environment = Environment::from_lookup(|name| (name == "DOKKU_LIB_ROOT").then(|| lib_root.clone().into()));
    let call = |command: &str, words: &[&str]| {
        let (ui, said) = Ui::captured(false);
        let context = Context::new(environment.clone(), ui);
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let parsed = cli::parse(OsStr::new(command), &words, &context.environment).unwrap();
        let result = parsed.command.run(&context);
        (result, format!("{}{}", said.out(), said.err()))
    };
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for begin in [0, 4] {
            let (service, stop, done) = (&service, &stop, &done);
            scope.spawn(move || write(service, stop, done, begin));
        }
        for round in 1..=rounds {
            let before = done.load(Ordering::Relaxed);
            let (result, said) = call("backup", &[&service.name]);
            result.unwrap_or_else(|error| panic!("backup {round} of {rounds}: {error:#}\n{said}"));
            assert!(done.load(Ordering::Relaxed) > before, "nobody writes");
            let (result, said) = call("verify", &[&service.name, "latest"]);
            result.unwrap_or_else(|error| panic!("a false alarm at {round} of {rounds}: {error:#}\n{said}"));
            assert!(said.contains("passed") && said.contains("all equal"), "{said}");
            if round % 50 == 0 {
                eprintln!(
                    "{round} of {rounds} good after {:?}, {} writes",
                    began.elapsed(),
                    done.load(Ordering::Relaxed)
                );
            }
        }
    });
    assert!(done.load(Ordering::Relaxed) > rounds as u64 * 4);
}
