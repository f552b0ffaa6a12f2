//! A bucket that holds anything: other services' backups, keys that no terminal should see, archived objects, what was put in the place of a
//! backup, and very many of all. Each has a clear result, nothing of others is touched, and nothing is swapped in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::host::{Host, Postgres, Service};
use crate::store::server::{ACCESS_KEY, BUCKET, Call, Fault, SECRET_KEY, Server};

/// The service's backups go to a server in this process.
fn at(service: &Service, server: &Server) {
    service.set("destination", &format!("s3://{BUCKET}"));
    service.set("endpoint-url", &server.endpoint());
    service.call("auth", &[ACCESS_KEY]).input(format!("{SECRET_KEY}\n")).run().succeeds();
}

fn users(service: &Service) {
    service.sql("CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 562) n");
}

/// A page of a list, which stays for as long as the test.
fn page(keys: &[String], size: u64, class: &str, next: Option<usize>) -> Fault {
    use std::fmt::Write as _;
    let mut text = "<ListBucketResult><EncodingType>url</EncodingType>".to_owned();
    for key in keys {
        let _ = write!(
            text,
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>{class}</StorageClass></Contents>"
        );
    }
    let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    let _ =
        write!(text, "<IsTruncated>{}</IsTruncated>{}</ListBucketResult>", next.is_some(), next.unwrap_or_default());
    Fault::Plain(200, text.leak())
}

#[test]
fn twenty_thousand_objects_are_read_page_by_page() {
    let service = Host::get().service("prod", Postgres::V18);
    let server = Server::start();
    at(&service, &server);
    users(&service);
    let key = service.backup();
    let folder = server.root.path().join(BUCKET);
    let sidecar = fs::read_to_string(folder.join(format!("{key}.manifest.json"))).unwrap();
    let start = jiff::civil::date(2016, 1, 1).at(0, 0, 0, 0);
    let mut names = Vec::new();
    for number in 0..10_000 {
        let time = start + jiff::SignedDuration::from_hours(number * 9);
        let other = format!("postgres-{}-{}.tgz", service.name, time.strftime("%Y-%m-%d-%H-%M-%S"));
        let beside = format!("{other}.manifest.json");
        fs::write(folder.join(&beside), sidecar.replace(&key, &other)).unwrap();
        names.extend([other, beside]);
    }
    let timed = |command: &str, words: &[&str], most_calls: usize| {
        let pages: Vec<&[String]> = names.chunks(1_000).collect();
        for (number, keys) in pages.iter().enumerate() {
            server.fail(Call::List, 1, page(keys, 1, "STANDARD", (number + 1 < pages.len()).then_some(number)));
        }
        server.seen();
        let began = Instant::now();
        let run = service.pgbackup(command, words).succeeds();
        let calls = server.calls();
        assert_eq!(calls.iter().filter(|call| **call == Call::List).count(), 20, "{command}");
        assert!(calls.len() <= most_calls, "{command} makes {} calls", calls.len());
        assert!(began.elapsed() < Duration::from_mins(1), "{command} took {:?}", began.elapsed());
        run
    };
    // What is shown is read; what isn't costs twenty pages.
    // (What this host has just made is known to it, although the list is silent of it.)
    let run = timed("list", &["--limit", "20"], 40);
    assert!(run.out().contains("9981 older ones are not shown"), "{}", run.out());
    timed("info", &[names[0].as_str()], 22);
    // Of each it is asked whether it was suspicious, and of those that go whether a lock keeps them.
    service.set("keep-daily", "30");
    service.set("prune-foreign", "on");
    let run = timed("prune", &["--dry-run", "--format", "json"], 20_020).json();
    assert_eq!(run.as_array().unwrap().len(), 10_001);
}

#[test]
fn what_is_no_backup_of_the_service_is_neither_shown_nor_touched() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    users(&service);
    let name = service.name.as_str();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "somebody's").unwrap();
    let foreign = [
        format!("postgres-{name}-2-2020-01-01-00-00-00.tgz"),
        format!("postgres-{name}-2-2020-01-01-00-00-00.tgz.manifest.json"),
        format!("postgres-{name}-2-2020-01-01-00-00-00.tgz.verified.json"),
        format!("postgres-{name}x-2020-01-01-00-00-00.tgz"),
        format!("postgres-{name}-2020-13-41-00-00-00.tgz"),
        format!("postgres-{name}-2020-01-01-00-00-00.tgz.part"),
        format!("postgres-{name}-2020-01-01-00-00-00.tgz\u{7}"),
        format!("postgres-{name}-2020-01-01-00-00-0\n0.tgz"),
        format!("postgres-{name}-\u{1b}[31m.tgz"),
        format!("postgres-{name}-latest.tgz"),
        format!("deeper/postgres-{name}-2020-01-01-00-00-00.tgz"),
        "notes.txt".to_owned(),
    ];
    for key in &foreign {
        service.bucket().put(key, file.path());
    }
    service.set("keep-last", "1");
    service.set("prune-foreign", "on");
    service.backup();
    let key = service.backup();
    let run = service.pgbackup("list", &[]).succeeds();
    assert!(!run.out().chars().any(|letter| letter.is_control() && letter != '\n'), "{:?}", run.out());
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let keys: Vec<&str> = listed.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, [key.as_str()]);
    service.pgbackup("restore", &["2020-01-01", "--force"]).exits(4);
    let mut left: Vec<String> = foreign.to_vec();
    left.extend([key.clone(), format!("{key}.manifest.json")]);
    left.sort();
    assert_eq!(service.bucket().names(), left);
}

#[test]
fn an_archived_backup_is_shown_as_such_and_its_restore_refused_with_the_command_that_thaws_it() {
    let service = Host::get().service("prod", Postgres::V15);
    let server = Server::start();
    at(&service, &server);
    users(&service);
    let key = service.backup();
    service.sql("DELETE FROM users WHERE id > 500");
    let objects = || fs::read_dir(server.root.path().join(BUCKET)).unwrap().count();
    let before = objects();
    server.refuse(
        |seen| seen.call == Call::Get && seen.path.ends_with(".tgz"),
        usize::MAX,
        Fault::Answer(403, "InvalidObjectState", "not valid for its storage class"),
    );
    let size = fs::metadata(server.root.path().join(BUCKET).join(&key)).unwrap().len();
    let both = [key.clone(), format!("{key}.manifest.json")];
    server.fail(Call::List, usize::MAX, page(&both, size, "DEEP_ARCHIVE", None));
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(listed[0]["storage_class"], "DEEP_ARCHIVE");
    service.pgbackup("list", &[]).succeeds().says("deep_archive");
    let command =
        format!("aws s3api restore-object --bucket {BUCKET} --key '{key}' --endpoint-url {}", server.endpoint());
    let run = service.pgbackup("restore", &[&key, "--force"]).exits(1).says(&command);
    run.says("The live database was not touched");
    for other in ["verify", "check", "download"] {
        let words = if other == "download" { vec![key.as_str(), "/tmp/never"] } else { vec![key.as_str()] };
        service.pgbackup(other, &words).exits(1).says(&command);
    }
    assert_eq!((service.databases().len(), service.rows("users"), objects()), (1, 500, before));
    let last = service.history().into_iter().filter(|entry| entry["event"] == "verification").count();
    assert_eq!(last, 0, "nobody has found it bad");
}

#[test]
fn an_encrypted_object_under_a_plain_key_is_known_by_its_content() {
    let service = Host::get().service("prod", Postgres::V15);
    users(&service);
    let plain = service.backup();
    service.call("encryption", &["--passphrase"]).input(" a * 'b' $c\n").run().succeeds();
    let encrypted = service.backup();
    let file = tempfile::NamedTempFile::new().unwrap();
    service.bucket().fetch(&encrypted, file.path());
    service.bucket().put(&plain, file.path());
    service.sql("DELETE FROM users WHERE id > 500");
    let refused = |text: &str| {
        let run = service.pgbackup("restore", &[&plain, "--force", "--no-safety-backup"]).exits(1);
        run.says(text).says("The live database was not touched");
        assert_eq!((service.databases().len(), service.rows("users")), (1, 500));
    };
    refused("changed or replaced");
    service.pgbackup("encryption", &["--off"]).succeeds();
    refused("changed or replaced");
    // As a file it is what it is, whatever it was called.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let pass = tempfile::NamedTempFile::new().unwrap();
    fs::write(pass.path(), " a * 'b' $c").unwrap();
    fs::set_permissions(pass.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let words = ["--file", file.path().to_str().unwrap(), "--passphrase-file", pass.path().to_str().unwrap()];
    service.pgbackup("verify", &words).succeeds();
}

#[test]
fn a_disk_that_is_full_ends_the_restore_of_an_encrypted_backup_and_nothing_else() {
    let service = Host::get().service("prod", Postgres::V15);
    service.sql(
        "CREATE TABLE large AS SELECT n AS id, (SELECT string_agg(md5((n * 200 + m)::text), '') FROM generate_series(1, 200) m) AS text \
         FROM generate_series(1, 16000) n",
    );
    service.call("encryption", &["--passphrase"]).input("secret\n").run().succeeds();
    let key = service.backup();
    // New databases lie in the memory that docker gives to a container: 64 MiB.
    service.exec(&["install", "-d", "-o", "postgres", "/dev/shm/small"]).run().succeeds();
    let mut client = service.client_of("postgres");
    client.batch_execute("CREATE TABLESPACE small LOCATION '/dev/shm/small'").unwrap();
    client.batch_execute("ALTER DATABASE template0 SET TABLESPACE small").unwrap();
    service.sql("DELETE FROM large WHERE id > 15000");
    let run = service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).exits(1);
    run.says("disk of the service's data is full").says("The live database was not touched");
    assert_eq!((service.databases().len(), service.rows("large")), (1, 15_000));
    service.pgbackup("verify", &[&key]).exits(1).says("disk of the service's data is full");
    assert_eq!(service.databases().len(), 1);
    client.batch_execute("ALTER DATABASE template0 SET TABLESPACE pg_default").unwrap();
    service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(service.rows("large"), 16_000);
}
