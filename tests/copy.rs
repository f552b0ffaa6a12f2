//! The second destination: what is copied there and compared, what becomes of the backup when that fails, and what is left behind.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::faults_store::{Wire, large_service};
use crate::host::{Host, Key, Postgres, Service};
use crate::lost_host::NewHost;
use crate::told::{OK, endpoint};

fn with_users() -> Service {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("copy-to", &service.second_bucket().url());
    service
}

/// Events of the history that copying has written, oldest first.
fn copies(service: &Service) -> Vec<Value> {
    let is_copy = |entry: &Value| entry["event"].as_str().unwrap().starts_with("copy");
    service.history().into_iter().filter(is_copy).collect()
}

#[test]
fn each_backup_is_copied_compared_and_kept_by_rules_of_its_own() {
    let service = with_users();
    let name = service.name.as_str();
    let (first, second) = (service.bucket(), service.second_bucket());
    // One that is older than the property is not copied by itself.
    service.set("copy-to", "off");
    let old = service.backup();
    service.set("copy-to", &second.url());
    let run = service.pgbackup("backup", &[]).succeeds();
    let run = run
        .says(&format!("Copying to {}", second.url()))
        .says("SHA-256 as in its manifest, confirmed by the store (1 part, MD5)");
    let key = run.last_line().rsplit(' ').next().unwrap().to_owned();
    let sidecar = format!("{key}.manifest.json");
    assert_eq!(second.names(), [key.clone(), sidecar.clone()]);
    for object in [&key, &sidecar] {
        assert_eq!(second.get(object), first.get(object), "{object}");
    }
    service.pgbackup("copy", &[]).succeeds().says("Nothing of").says("1 backup from before it was set");

    // It is shown wherever one looks.
    let rows = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((&rows[0]["copied_to"], &rows[1]["copied_to"]), (&Value::from(second.url()), &Value::Null));
    service.pgbackup("list", &[]).succeeds().says(" copied ");
    let info = service.pgbackup("info", &["latest", "--format", "json"]).succeeds().json();
    assert_eq!(info["copies"][0]["destination"], second.url());
    service.pgbackup("info", &["latest"]).succeeds().says(&format!("Copied:         {} at 20", second.url()));
    let status = service.pgbackup("status", &["--format", "json", "--remote"]).succeeds().json();
    assert_eq!((&status[0]["copies"]["copied"], &status[0]["copies"]["missing"]), (&Value::from(1), &Value::from(0)));
    service.pgbackup("status", &[]).succeeds().says(&format!("1 backup in {}", second.url()));
    let doctor = service.pgbackup("doctor", &[]).succeeds();
    doctor.says("-----> Second destination").says("1 copied backup in");
    assert_eq!(second.names().len(), 2, "the doctor leaves nothing there");

    // What there was before, on demand; and what somebody has removed there (a listing may lag behind: by itself after some minutes).
    service.pgbackup("copy", &["--everything"]).succeeds().says("Copied 1 backup");
    assert_eq!(second.backups(), [old.clone(), key.clone()]);
    second.remove(&key);
    service.pgbackup("copy", &["latest"]).succeeds().says("Copied 1 backup");
    assert_eq!(second.backups(), [old.clone(), key.clone()]);

    // Rules of its own; what they have deleted is not copied again.
    service.set("keep-last", "3");
    service.set("copy-keep-last", "1");
    let next = service.backup();
    assert_eq!((first.backups().len(), second.backups()), (3, vec![next.clone()]));
    service.pgbackup("copy", &[]).succeeds().says("Nothing of");
    let last = service.backup();
    assert_eq!(first.backups(), [key.clone(), next.clone(), last.clone()]);
    assert_eq!(second.backups(), std::slice::from_ref(&last));
    service.set("copy-keep-last", "2");
    let rows = service.pgbackup("prune", &["--dry-run", "--format", "json"]).succeeds().json();
    let places: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["destination"].as_str().unwrap()).collect();
    assert_eq!(places, [first.url(), first.url(), first.url(), second.url()]);

    // A deletion speaks of one place.
    let deleted = service.pgbackup("delete", &[&last, "--force"]).succeeds();
    deleted.says(&format!("Its copy in {} stays", second.url()));
    assert_eq!((first.backups().len(), second.backups().len()), (2, 1));

    // The first place is lost: the copy is a whole backup.
    service.set("copy-to", "off");
    service.set("destination", &second.url());
    service.pgbackup("verify", &["latest"]).succeeds().says("restores to what was saved");
    service.set("destination", &first.url());
    service.set("copy-to", &second.url());
    let refused = service.pgbackup("delete", &[&last, "--copy", "--force"]).exits(1);
    refused.says(&format!("is the last good backup of {name} in {}", second.url()));
    service.pgbackup("delete", &[&last, "--copy", "--force", "--last-good"]).succeeds().says("LAST GOOD BACKUP");
    assert!(second.names().is_empty());
    service.set("copy-to", &first.url());
    service.pgbackup("copy", &[]).exits(1).says("is its destination itself");
    service.pgbackup("set", &["copy-to", "nowhere"]).exits(2).says("is not a destination");
    for property in ["copy-to", "destination"] {
        service.pgbackup("set", &[property, "file:///etc"]).exits(2).says("/etc belongs to the system");
    }
    let policy = service.set_and_policy(&second.url());
    assert!(policy.contains(&format!("arn:aws:s3:::{}/{name}-copies/*", service.host.bucket)), "{policy}");
}

impl Service {
    fn set_and_policy(&self, second: &str) -> String {
        self.set("copy-to", second);
        self.pgbackup("iam-policy", &["--copy"]).succeeds().out()
    }
}

#[test]
fn a_backup_without_its_copy_is_good_told_and_made_up_for() {
    let service = with_users();
    let second = service.second_bucket();
    let (webhook, posted) = endpoint(OK);
    service.set("webhook-url", &format!("{webhook}/x"));
    let told = || -> Vec<String> {
        let all = std::mem::take(&mut *posted.lock().unwrap());
        let event = |body: &str| serde_json::from_str::<Value>(body).unwrap()["event"].as_str().unwrap().to_owned();
        all.iter().map(|(_, body)| event(body)).collect()
    };
    // Nobody listens there.
    service.set("copy-endpoint-url", "http://127.0.0.1:9");
    let run = service.pgbackup("backup", &[]).exits(6);
    let run =
        run.says("IS SAVED, BUT NOT COPIED").says("can't be reached").says("pgbackup:set").says("copy-endpoint-url");
    run.says(&format!("or: dokku pgbackup:copy {}", service.name));
    assert_eq!(told(), ["copy-failed"]);
    let quiet = service.host.dokku(&["--quiet", "pgbackup:backup", &service.name]).run().exits(6);
    let key = quiet.out().trim().to_owned();
    assert!(service.bucket().names().contains(&key), "the key alone, also then: {key:?}");
    service.pgbackup("verify", &[&key]).succeeds();
    let status = service.pgbackup("status", &["--format", "json"]).exits(1).json();
    assert_eq!(status[0]["problems"][0]["problem"], "not-copied");
    assert_eq!(status[0]["copies"]["missing"], 2);
    service.pgbackup("list", &[]).succeeds().says("NOT-COPIED");
    service.pgbackup("doctor", &[]).exits(1).says("can't be reached").says("copy-endpoint-url");
    let listed = service.pgbackup("list", &["--from", &second.url()]).exits(1);
    listed.says(&format!("pgbackup:set {} copy-endpoint-url", service.name));
    let rows = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    assert!(rows.as_array().unwrap().iter().any(|row| row["event"] == "copy" && row["result"] == "FAILED"));

    // A schedule for all services knows a failed copy from a failed backup, too.
    let other = NewHost::new();
    other.has(&service.name);
    other.is_scheduled("nightly");
    for (property, value) in [
        ("destination", format!("{}-other", service.bucket().url())),
        ("copy-to", second.url()),
        ("copy-endpoint-url", "http://127.0.0.1:9".into()),
    ] {
        other.run("set", &[&service.name, property, &value]).succeeds();
    }
    let run = other.run("schedule:run", &["nightly", "--all", "--now"]).exits(6);
    run.says("IS SAVED, BUT NOT COPIED").says(&format!("1 service done; not copied: {}", service.name));
    other.run("set", &[&service.name, "destination", "file:///nowhere"]).succeeds();
    let run = other.run("schedule:run", &["nightly", "--all", "--now"]).exits(1);
    run.says(&format!("0 services done, but not {}", service.name));

    // Keys that are wrong there, then some that may only write there.
    service.set("copy-endpoint-url", &service.host.endpoint);
    service.call("auth", &["NOSUCHKEY", "--copy"]).input("x").run().succeeds();
    let run = service.pgbackup("backup", &[]).exits(6);
    run.says("doesn't know the access key id").says("pgbackup:auth").says("--copy");
    let (nobody, secret) = Key::Nobody.pair();
    service.call("auth", &[&nobody, "--copy"]).input(secret).run().succeeds();
    service.pgbackup("copy", &[]).exits(1).says("s3:PutObject is missing");
    assert!(second.names().is_empty() && second.unfinished_uploads().is_empty());
    told();
    let (writer, secret) = Key::Writer.pair();
    service.call("auth", &[&writer, "--copy"]).input(secret).run().succeeds();
    let run = service.pgbackup("backup", &[]).succeeds();
    assert!(!run.err.contains("copied"), "{}", run.err);
    assert_eq!(second.backups(), service.bucket().backups(), "all four, by a key that may not look");
    assert_eq!(told(), ["copy-recovered"]);
    service.pgbackup("status", &[]).succeeds();

    // Copies are read from the first place, which a role for backups alone may not do.
    service.authorize(Key::Writer);
    let run =
        service.pgbackup("backup", &[]).exits(6).says("can't be read for its copy").says("s3:GetObject is missing");
    run.says(&format!("The policy that has it is printed by: dokku pgbackup:iam-policy {}", service.name));
    service.pgbackup("iam-policy", &[]).succeeds().says("s3:GetObject");
    service.pgbackup("doctor", &[]).exits(1).says("nothing can be copied to the second destination");
    service.authorize(Key::Full);
    service.pgbackup("copy", &[]).succeeds().says("Copied 1 backup");

    // What is damaged in the first place is seen and not spread.
    service.pgbackup("auth", &["--clear", "--copy"]).succeeds();
    service.set("copy-to", "off");
    let key = service.backup();
    service.set("copy-to", &second.url());
    let mut bytes = service.bucket().get(&key);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let file = service.host.root.join(format!("{key}.damaged"));
    fs::write(&file, bytes).unwrap();
    service.bucket().put(&key, &file);
    let damaged = service.pgbackup("copy", &[&key]).exits(1);
    damaged.says("is DAMAGED in").says("its SHA-256 is");
    assert!(!second.names().contains(&key) && second.unfinished_uploads().is_empty());
    // Another object in its place is never overwritten.
    second.put(&key, &file);
    fs::remove_file(&file).unwrap();
    service.pgbackup("copy", &[&key]).exits(1).says("which is not overwritten");
}

#[test]
fn a_copy_that_is_cut_off_is_taken_back_and_made_again() {
    let service = large_service();
    let (first, second) = (service.bucket(), service.second_bucket());
    service.set("copy-to", &second.url());
    service.set("bandwidth-limit", "20MB/s");

    // Ctrl-C.
    let mut process = service.start("backup", &[], &[]);
    process.until("a copy", || !second.unfinished_uploads().is_empty());
    process.signal(Signal::INT);
    process.end().exits(130, "is saved, but not copied");
    assert_eq!((first.backups().len(), second.names().len(), second.unfinished_uploads().len()), (1, 0, 0));
    assert_eq!(copies(&service).last().unwrap()["event"], "copy-failed");

    // kill -9; another run at the same time is refused.
    let mut process = service.start("copy", &[], &[]);
    process.until("a copy", || !second.unfinished_uploads().is_empty());
    service.pgbackup("copy", &[]).exits(5).says("copy");
    process.signal(Signal::KILL);
    process.end();
    assert_eq!((second.names().len(), second.unfinished_uploads().len()), (0, 1));
    service.pgbackup("status", &[]).exits(1).says("the copying of").says("was interrupted");
    // At a terminal what has left us and is not there yet is seen to go: a bar doesn't stand still at its end.
    let copied = service.at_terminal("copy", &[], "", &service.host.root).end();
    let copied = copied.exits(0, "Took back the unfinished upload").exits(0, "parts, MD5 each");
    copied.exits(0, "Sending the rest of prod");
    assert_eq!((second.backups(), second.unfinished_uploads().len()), (first.backups(), 0));
    let key = first.backups()[0].clone();
    assert!(second.get(&key) == first.get(&key));

    // The second store goes away for a while, and for good.
    let wire = Wire::to(&service.host.endpoint);
    service.set("copy-endpoint-url", &wire.address);
    service.pgbackup("copy", &[&key]).succeeds().says("it was there, and was read and compared");
    second.remove(&key);
    let mut process = service.start("copy", &[&key], &[]);
    process.until("a copy", || !second.unfinished_uploads().is_empty());
    wire.cut();
    thread::sleep(Duration::from_secs(3));
    wire.mend();
    process.end().exits(0, "Copied 1 backup");
    assert!(second.get(&key) == first.get(&key));
}

#[test]
fn a_folder_that_is_full_or_gone_costs_the_copy_alone() {
    let service = large_service();
    let host = service.host;
    let folder = host.root.join(format!("{}-disk", service.name));
    let path = folder.to_str().unwrap().to_owned();
    fs::create_dir(&folder).unwrap();
    service.set("copy-to", &format!("file://{path}"));
    service.pgbackup("backup", &[]).exits(6).says("may not use the folder").says(&path);
    host.call("mount", &["-t", "tmpfs", "-o", "size=4m,mode=0700,uid=dokku,gid=dokku", "none", &path]).run().succeeds();
    let run = service.pgbackup("copy", &[]);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
    host.call("umount", &[&path]).run().succeeds();
    run.exits(1).says("is full");
    assert_eq!(left.len(), 0, "{left:?}");
    host.call("chown", &["dokku:dokku", &path]).run().succeeds();
    service.pgbackup("copy", &[]).succeeds().says("written and synced to the disk");
    let key = service.bucket().backups()[0].clone();
    assert!(fs::read(folder.join(&key)).unwrap() == service.bucket().get(&key));
    fs::remove_dir_all(&folder).unwrap();
    service.pgbackup("backup", &[]).exits(6).says(&format!("The folder {path} does not exist"));
}
