//! A store that refuses, is the wrong one, or goes away (faults.md C2, C7, C11): found before the dump, named with the next step, and
//! nothing left behind without a word.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::host::{Host, Key, Postgres, Service};

/// A wire to the S3 server that can be cut.
pub(crate) struct Wire {
    pub(crate) address: String,
    up: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub(crate) fn to(endpoint: &str) -> Self {
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (up, connections) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let (is_up, all) = (Arc::clone(&up), Arc::clone(&connections));
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                if !is_up.load(Ordering::Relaxed) {
                    continue; // dropped at once
                }
                let far = TcpStream::connect(&server).unwrap();
                for (mut from, mut to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far.try_clone().unwrap(), near.try_clone().unwrap()),
                ] {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                all.lock().unwrap().extend([near, far]);
            }
        });
        Self { address, up, connections }
    }

    pub(crate) fn cut(&self) {
        self.up.store(false, Ordering::Relaxed);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.up.store(true, Ordering::Relaxed);
    }
}

/// A service whose dump takes a few seconds and several parts.
pub(crate) fn large_service() -> Service {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql(
        "CREATE TABLE large AS SELECT n AS id, (SELECT string_agg(md5((n * 200 + m)::text), '') FROM generate_series(1, 200) m) AS text \
         FROM generate_series(1, 10000) n",
    );
    service
}

#[test]
fn c7_c11_what_is_wrong_with_the_store_is_said_before_the_dump() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let key = service.backup();
    let objects = service.bucket().names();
    let refused = |text: &str| {
        let began = Instant::now();
        // Were a dump begun, it would wait for this lock.
        let mut client = service.client();
        let mut migration = client.transaction().unwrap();
        migration.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
        let run = service.pgbackup("backup", &[]).exits(1).says(text);
        assert!(run.err.lines().count() >= 2, "no next step: {}", run.err);
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!(service.bucket().names(), objects);
        assert!(service.bucket().unfinished_uploads().is_empty());
    };
    let own_keys = |id: &str, secret: &str| {
        service.call("auth", &[id]).input(secret).run().succeeds();
    };
    let (id, secret) = Key::Full.pair();
    // Keys of our own don't come with the endpoint of postgres:backup-auth.
    service.set("endpoint-url", &service.host.endpoint);
    service.set("region", &service.host.region);
    own_keys("NOSUCHKEY", &secret);
    refused("doesn't know the access key id");
    own_keys(&id, "wrong");
    refused("doesn't fit its access key id");
    let (nobody, its_secret) = Key::Nobody.pair();
    own_keys(&nobody, &its_secret);
    refused("s3:PutObject is missing");
    // A key that may only read looks right until something is stored.
    let (reader, its_secret) = Key::Reader.pair();
    own_keys(&reader, &its_secret);
    refused("s3:PutObject is missing");
    own_keys(&id, &secret);
    service.set("endpoint-url", "http://127.0.0.1:9");
    refused("can't be reached");
    service.set("endpoint-url", "http://no-such-host.invalid");
    refused("can't be reached");
    service.set("endpoint-url", &service.host.endpoint);
    service.set("destination", "s3://no-such-bucket/here");
    refused("no-such-bucket");
    service.set("destination", &service.bucket().url());
    service.backup();
    service.pgbackup("verify", &[&key]).succeeds();
}

#[test]
fn c2_a_store_that_goes_away_for_a_while_costs_nothing() {
    let service = large_service();
    let wire = Wire::to(&service.host.endpoint);
    service.set("endpoint-url", &wire.address);
    let mut process = service.start("backup", &[], &[]);
    process.until("an upload", || !service.bucket().unfinished_uploads().is_empty());
    wire.cut();
    thread::sleep(Duration::from_secs(5));
    wire.mend();
    process.end().exits(0, "saved as");
    service.pgbackup("verify", &["latest"]).succeeds();
    // And while it is read.
    let mut process = service.start("verify", &["latest"], &[]);
    process.says("Loading");
    wire.cut();
    thread::sleep(Duration::from_secs(2));
    wire.mend();
    process.end().exits(0, "restores to what was saved");
}

#[test]
fn c18_what_can_not_be_taken_back_is_said_and_taken_back_later() {
    let service = large_service();
    let wire = Wire::to(&service.host.endpoint);
    service.set("endpoint-url", &wire.address);
    let mut process = service.start("backup", &[], &[]);
    process.until("an upload", || !service.bucket().unfinished_uploads().is_empty());
    wire.cut();
    process.signal(Signal::INT);
    let ended = process.end().exits(130, "abort-multipart-upload");
    assert!(ended.took < Duration::from_secs(25), "{:?}", ended.took);
    assert_eq!(service.bucket().unfinished_uploads().len(), 1);
    wire.mend();
    service.pgbackup("backup", &[]).succeeds().says("Took back the unfinished upload of");
    assert!(service.bucket().unfinished_uploads().is_empty());
    service.pgbackup("verify", &["latest"]).succeeds();
}
