//! Objects that dokku-postgres has saved under a name of the user's choice, and the versions that a bucket keeps of any object. Such a name
//! doesn't say whose backup it is: another service's is never taken for this one's.

use std::fs;

use crate::host::{Host, Key, Postgres, Run, Service};

/// What newer generations of dokku-postgres keep as properties of a service.
fn name_objects(service: &Service, name: &str, timestamp: &str) {
    let properties = service.host.lib_root.join("config/postgres").join(&service.name);
    fs::create_dir_all(&properties).unwrap();
    fs::write(properties.join("backup-object-name"), name).unwrap();
    fs::write(properties.join("backup-timestamp"), timestamp).unwrap();
}

/// An archive as `postgres:backup` makes it; nothing of it stays in the bucket.
fn archive(service: &Service) -> Vec<u8> {
    let host = service.host;
    host.dokku(&["postgres:backup", &service.name, &format!("{}/{}", host.bucket, service.name)]).run().succeeds();
    let key = service.bucket().backups().pop().unwrap();
    let bytes = service.bucket().get(&key);
    service.bucket().remove(&key);
    bytes
}

fn put(service: &Service, name: &str, bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    service.bucket().put(name, file.path());
}

fn shell(host: &'static Host, key: Key, line: &str) -> Run {
    let (id, secret) = key.pair();
    host.call("sh", &["-c", line]).env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &secret).run()
}

fn keys(listed: &serde_json::Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect()
}

#[test]
fn objects_with_names_of_their_own_are_at_home() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let bytes = archive(&service);
    let deep = "deep/er/db-2026-11-20-03-00-00.tgz";
    put(&service, "latest.tgz", &bytes);
    put(&service, deep, &bytes);
    put(&service, "latest-2.tgz", &bytes);

    // Listed where dokku-postgres's settings name them, and nothing else is.
    let listed = || service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert!(keys(&listed()).is_empty());
    name_objects(&service, "latest", "false");
    assert_eq!(keys(&listed()), ["latest.tgz"]);
    service.pgbackup("list", &[]).succeeds().says("latest.tgz").says("dokku-postgres");
    name_objects(&service, "deep/er/db", "");
    assert_eq!(keys(&listed()), [deep]);
    assert_eq!(listed()[0]["started"], "2026-11-20T03:00:00Z");
    // What is stored in the very second of the first signed backup has to be signed as well.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let own = service.backup();
    assert_eq!(keys(&listed()), [own.as_str(), deep]);

    // Used by their names, whatever the settings say.
    let url = format!("{}/latest.tgz", service.bucket().url());
    for name in ["latest.tgz", deep, &url] {
        service.pgbackup("check", &[name]).succeeds().says("1 table, 562 rows");
        service.sql("DELETE FROM users");
        service.pgbackup("restore", &[name, "--force", "--no-safety-backup"]).succeeds().says("all equal");
        assert_eq!(service.rows("users"), 562, "{name}");
    }
    service.pgbackup("verify", &["latest.tgz"]).succeeds().says("restores to what was saved");
    assert!(service.pgbackup("download", &["latest.tgz", "-"]).succeeds().bytes == bytes);
    let told = service.pgbackup("info", &[deep, "--format", "json"]).succeeds().json();
    service.sql("DROP TABLE users");
    shell(host, Key::Reader, told["by_hand"].as_str().unwrap()).succeeds();
    assert_eq!(service.rows("users"), 562);
    service.pgbackup("info", &["latest.tgz"]).succeeds().says("pgbackup:check").says("Restore by hand");

    // Another service's is refused by what is in it.
    let other = host.service("other", Postgres::V15);
    other.sql("CREATE TABLE theirs AS SELECT generate_series(1, 7) AS id");
    put(&service, "shared.tgz", &archive(&other));
    let databases = service.databases();
    for (command, more) in [("restore", &["--force", "--allow-unsigned"][..]), ("verify", &["--allow-unsigned"])] {
        service
            .pgbackup(command, &[&["shared.tgz"], more].concat())
            .exits(1)
            .says("is it another service's?")
            .says("--database other");
    }
    service.pgbackup("check", &["shared.tgz", "--allow-unsigned"]).succeeds().says("is it another service's?");
    assert_eq!((service.databases(), service.rows("users")), (databases, 562));
    service.pgbackup("restore", &["nothere.tgz", "--force"]).exits(4).says("No backup of");
    service.pgbackup("restore", &["s3://another-bucket/latest.tgz", "--force"]).exits(2).says("--from");
    service.pgbackup("restore", &["../other/latest.tgz", "--force"]).exits(2);

    // Where there are no versions that is said.
    service.pgbackup("list", &["--versions"]).succeeds().says("keeps no versions").says(&own);
    service.pgbackup("restore", &["latest.tgz", "--version-id", "abc", "--force"]).exits(1).says("keeps no versions");
    service.pgbackup("check", &["latest", "--version-id", "abc"]).exits(2).says("full name");
    service.pgbackup("check", &["latest.tgz", "--version-id", "a b"]).exits(2);
    let folder = tempfile::tempdir_in(&host.root).unwrap();
    let folder = format!("file://{}", folder.path().display());
    service.pgbackup("list", &["--versions", "--from", &folder]).exits(1).says("keeps no versions");
    service
        .pgbackup("check", &["latest.tgz", "--version-id", "abc", "--from", &folder])
        .exits(1)
        .says("keeps no versions");
}

#[test]
fn a_bucket_with_versions_gives_back_what_was_replaced_or_deleted() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    let (name, bucket) = (service.name.as_str(), service.name.as_str());
    let place = format!("s3://{bucket}/backups");
    let aws = |words: &[&str]| host.aws(Key::Admin, words).succeeds();
    let file = tempfile::NamedTempFile::new().unwrap();
    let replace = |bytes: &[u8]| {
        fs::write(file.path(), bytes).unwrap();
        aws(&["s3", "cp", "--quiet", file.path().to_str().unwrap(), &format!("{place}/daily.tgz")]);
    };
    aws(&["s3api", "create-bucket", "--bucket", bucket]);
    aws(&["s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled"]);

    // One name for all, as with backup-timestamp false; and one of ours that somebody deletes.
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    replace(&archive(&service));
    service.authorize(Key::Admin);
    service.set("destination", &place);
    let own = service.backup();
    aws(&["s3", "rm", "--quiet", &format!("{place}/{own}")]);
    service.sql("DELETE FROM users WHERE id > 100");
    service.set("destination", &service.bucket().url());
    replace(&archive(&service));
    service.set("destination", &place);
    name_objects(&service, "daily", "false");

    // (What was deleted a moment ago is still there for a listing that may lag behind.)
    let present = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(keys(&present).iter().filter(|key| **key == "daily.tgz").count(), 1, "{present}");
    let listed = service.pgbackup("list", &["--versions", "--format", "json"]).succeeds().json();
    let version = |key: &str, present: bool| {
        let rows = listed.as_array().unwrap().iter();
        let mut fitting = rows.filter(|row| row["key"] == key && row["present"] == present && row["deleted"] == false);
        fitting.next().unwrap_or_else(|| panic!("{key} {present}: {listed}"))["version_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(keys(&listed).len(), 4, "two of the one, one of the other and the mark of its deletion: {listed}");
    let (old, new, deleted) = (version("daily.tgz", false), version("daily.tgz", true), version(&own, false));
    service.pgbackup("list", &["--versions"]).succeeds().says("DELETED").says(&old);
    let of_one = service.pgbackup("list", &["--versions", "daily.tgz", "--format", "json"]).succeeds().json();
    assert_eq!(keys(&of_one), ["daily.tgz", "daily.tgz"]);

    let restore = |words: &[&str], rows| {
        service.pgbackup("restore", &[words, &["--force", "--no-safety-backup"]].concat()).succeeds().says("all equal");
        assert_eq!(service.rows("users"), rows, "{words:?}");
    };
    restore(&["daily.tgz", "--version-id", &old, "--allow-unsigned"], 562);
    restore(&["daily.tgz", "--allow-unsigned"], 100);
    restore(&["daily.tgz", "--version-id", &new, "--allow-unsigned"], 100);
    service.pgbackup("restore", &[&own, "--force"]).exits(4);
    // Its description is proven with it, whichever version of that it is; nothing vouches for what lies beside the signed ones.
    restore(&[&own, "--version-id", &deleted], 562);
    let forge = |name: &str| aws(&["s3", "cp", "--quiet", file.path().to_str().unwrap(), &format!("{place}/{name}")]);
    let description = format!("{own}.manifest.json");
    forge(&description);
    aws(&["s3", "rm", "--quiet", &format!("{place}/{description}")]);
    restore(&[&own, "--version-id", &deleted], 562);
    forge(&own);
    let forged = service.pgbackup("list", &["--versions", &own, "--format", "json"]).succeeds().json();
    let forged = forged.as_array().unwrap().iter().find(|row| row["present"] == true).unwrap()["version_id"].clone();
    let words = [own.as_str(), "--version-id", forged.as_str().unwrap(), "--force"];
    service.pgbackup("restore", &words).exits(1).says("--allow-unsigned");
    service.pgbackup("check", &["daily.tgz", "--version-id", &new]).exits(1).says("--allow-unsigned");
    for command in ["check", "verify"] {
        service.pgbackup(command, &["daily.tgz", "--version-id", &old, "--allow-unsigned"]).succeeds().says("562 rows");
    }
    let bytes = service.pgbackup("download", &["daily.tgz", "-", "--version-id", &new]).succeeds().bytes;
    assert!(bytes == fs::read(file.path()).unwrap());
    let told = service.pgbackup("info", &["daily.tgz", "--version-id", &old, "--format", "json"]).succeeds().json();
    assert_eq!(told["version_id"], old.as_str());
    service.sql("DROP TABLE users");
    shell(host, Key::Admin, told["by_hand"].as_str().unwrap()).succeeds();
    assert_eq!(service.rows("users"), 562);

    // Neither a version nor a deletion makes another service's backup this one's.
    let other = host.service("other", Postgres::V18);
    other.authorize(Key::Admin);
    other.set("destination", &place);
    let words = [own.as_str(), "--version-id", &deleted, "--force"];
    other.pgbackup("restore", &words).exits(4).says(&format!("is a backup of the service {name}"));
    let words = ["daily.tgz", "--version-id", &old, "--force", "--no-safety-backup", "--allow-unsigned"];
    other.pgbackup("restore", &words).exits(1).says("is it another service's?");
    let words =
        [own.as_str(), "--version-id", &deleted, "--from", &place, "--force", "--no-safety-backup", "--allow-unsigned"];
    other.pgbackup("restore", &words).succeeds();
    assert_eq!(other.rows("users"), 562);
    let mark =
        listed.as_array().unwrap().iter().find(|row| row["deleted"] == true).unwrap()["version_id"].as_str().unwrap();
    service.pgbackup("check", &[&own, "--version-id", mark]).exits(4);
    service.pgbackup("check", &["daily.tgz", "--version-id", "nosuchversion"]).exits(4).says("--versions");
}
