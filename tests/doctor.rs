//! A doctor that calls the healthy ill is not asked again, and one that overlooks something is worse: all is well, and then each
//! thing is broken and must be found, with what mends it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pgbackup::commands::Context;
use pgbackup::commands::doctor::destination;
use pgbackup::commands::doctor::finding::{Finding, Verdict};
use pgbackup::dokku::environment::Environment;
use pgbackup::dokku::properties::Subject;
use pgbackup::secret::Secret;
use pgbackup::service::Service as OnDisk;
use pgbackup::settings::{KeysOf, OwnKeys};
use pgbackup::ui::Ui;
use rustix::process::Signal;

use crate::host::{Host, Key, Postgres, Service};
use crate::store::server::{ACCESS_KEY, BUCKET, Call, Fault, SECRET_KEY, Server};

/// What is not ok, by the names of the checks, and the exit code.
fn checked(service: &Service) -> (BTreeMap<String, String>, i32) {
    let run = service.pgbackup("doctor", &["--format", "json"]);
    let checks = run.json()["checks"].as_array().unwrap().clone();
    let text = |check: &serde_json::Value, field: &str| check[field].as_str().unwrap().to_owned();
    for check in checks.iter().filter(|check| check["verdict"] != "ok") {
        assert!(!check["fix"].as_array().unwrap().is_empty(), "nothing to type for {check}");
    }
    let bad = checks.iter().filter(|check| check["verdict"] != "ok");
    (bad.map(|check| (text(check, "check"), text(check, "verdict"))).collect(), run.code)
}

#[track_caller]
fn finds(service: &Service, expected: &[(&str, &str)]) {
    let (bad, code) = checked(service);
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(check, verdict)| ((*check).to_owned(), (*verdict).to_owned())).collect();
    assert_eq!(bad, expected);
    assert_eq!(code, i32::from(expected.values().any(|verdict| verdict == "fail")));
}

#[test]
fn the_healthy_is_well_and_each_illness_is_found() {
    let host = Host::get();
    let mut service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    // As dokku-postgres leaves it, and before anything was done.
    finds(
        &service,
        &[("last-backup", "warn"), ("last-drill", "warn"), ("schedule", "warn"), ("service-secrets", "warn")],
    );

    // All that it has said to do.
    let app = host.app("web");
    app.link(&service);
    let root = host.lib_root.join("services/postgres").join(&service.name);
    fs::set_permissions(root.join("backup/AWS_SECRET_ACCESS_KEY"), fs::Permissions::from_mode(0o600)).unwrap();
    schedule(&service);
    let key = service.backup();
    service.pgbackup("verify", &["latest"]).succeeds();
    let began = Instant::now();
    let well = service.pgbackup("doctor", &[]).succeeds();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    assert!(!well.out().contains("warn") && well.out().contains(&key), "{}", well.out());
    finds(&service, &[]);
    assert_eq!(service.pgbackup("doctor", &["--quiet"]).succeeds().out(), "");
    assert_eq!(service.bucket().backups(), [key]);

    // Keys that may do less.
    let secret = root.join("backup/AWS_SECRET_ACCESS_KEY");
    let authorize = |key: Key| {
        service.authorize(key);
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    };
    authorize(Key::Writer);
    finds(&service, &[("list", "warn"), ("read", "warn")]);
    authorize(Key::Reader);
    finds(&service, &[("delete", "warn"), ("write", "fail")]);
    authorize(Key::Nobody);
    finds(&service, &[("delete", "warn"), ("list", "warn"), ("read", "warn"), ("write", "fail")]);
    authorize(Key::Full);

    // A secret, a bucket and an address that are wrong. The address of backup-auth doesn't go with other keys.
    let address = format!("dokku pgbackup:set {} endpoint-url {}", service.name, host.endpoint);
    service.call("auth", &[&Key::Full.pair().0]).input("wrong\n").run().succeeds().says(&address);
    service.pgbackup("doctor", &[]).exits(1).says(&address);
    service.set("endpoint-url", &host.endpoint);
    finds(&service, &[("store", "fail")]);
    service.pgbackup("doctor", &[]).exits(1).says("The secret key of the settings doesn't fit its access key id");
    service.pgbackup("auth", &["--clear"]).succeeds();
    // To those who may use one bucket alone the others are closed, whether they are there or not.
    service.set("destination", "s3://no-such-bucket-of-ours");
    finds(&service, &[("delete", "warn"), ("list", "warn"), ("read", "warn"), ("write", "fail")]);
    service.set("destination", &service.bucket().url());
    service.set("endpoint-url", "http://127.0.0.1:9");
    finds(&service, &[("store", "fail")]);
    service.pgbackup("set", &["endpoint-url"]).succeeds();

    // The folders of the host.
    let data = host.data_of(&service.name);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    finds(&service, &[("folders", "warn")]);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let password = fs::read_to_string(root.join("PASSWORD")).unwrap();
    fs::write(root.join("PASSWORD"), "another\n").unwrap();
    finds(&service, &[("password", "fail")]);
    fs::write(root.join("PASSWORD"), password).unwrap();

    // What a killed run has left.
    fs::write(data.join("upload.json"), "{}").unwrap();
    let mut client = service.client_of("postgres");
    client.batch_execute("CREATE DATABASE pgbackup_drill_1").unwrap();
    let mark = r#"{"purpose":"drill","service":"SERVICE","key":"x","since":"2026-01-01T00:00:00Z"}"#;
    let mark = mark.replace("SERVICE", &service.name);
    client.batch_execute(&format!("COMMENT ON DATABASE pgbackup_drill_1 IS 'pgbackup {mark}'")).unwrap();
    drop(client);
    finds(&service, &[("unfinished", "warn")]);
    service.backup();
    finds(&service, &[]);

    // The database, the programs and the server itself.
    service.client_of("postgres").batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", service.database)).unwrap();
    finds(&service, &[("database", "fail")]);
    service.client_of("postgres").batch_execute(&format!("CREATE DATABASE {}", service.database)).unwrap();
    let container = service.container();
    service.exec(&["sh", "-c", "for file in $(which -a pg_restore); do mv $file $file.away; done"]).run().succeeds();
    finds(&service, &[("programs", "fail")]);
    service
        .exec(&["sh", "-c", "for file in $(find / -xdev -name pg_restore.away); do mv $file ${file%.away}; done"])
        .run()
        .succeeds();
    finds(&service, &[]);
    host.call("docker", &["container", "pause", &container]).run().succeeds();
    finds(&service, &[("container", "fail")]);
    service.pgbackup("doctor", &["--quiet"]).exits(1).says("docker container unpause");
    host.call("docker", &["container", "unpause", &container]).run().succeeds();
    host.call("docker", &["container", "stop", &container]).run().succeeds();
    finds(&service, &[("container", "fail")]);
    service.pgbackup("doctor", &["--quiet"]).exits(1).says(&format!("dokku postgres:start {}", service.name));
    host.dokku(&["postgres:start", &service.name]).run().succeeds();
    service.read_connection();
    while service.try_client(&service.database).is_err() {
        assert!(began.elapsed() < Duration::from_mins(5), "the server doesn't come back");
        thread::sleep(Duration::from_millis(100));
    }
    finds(&service, &[]);
    host.dokku(&["postgres:backup-unschedule", &service.name]).run().succeeds();
}

#[test]
fn holds_encryption_and_what_killed_drills_have_left_are_told() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let secret = host.lib_root.join("services/postgres").join(&service.name).join("backup/AWS_SECRET_ACCESS_KEY");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    schedule(&service);
    service.backup();
    service.pgbackup("verify", &["latest"]).succeeds();
    finds(&service, &[]);
    let label = format!("com.dokku.pgbackup.service={}", service.name);
    let image = host.call("docker", &["container", "inspect", "--format", "{{.Image}}", &service.container()]);
    let image = image.run().succeeds().out().trim().to_owned();
    host.call("docker", &["container", "create", "--label", &label, &image]).run().succeeds();
    finds(&service, &[("unfinished", "warn")]);
    service.pgbackup("doctor", &[]).succeeds().says("1 throw-away container left by an interrupted run");
    service.pgbackup("verify", &["latest"]).succeeds();
    finds(&service, &[]);

    // An incident, and how backups are encrypted.
    service.pgbackup("hold", &["--reason", "the accident of this morning"]).succeeds();
    finds(&service, &[("holds", "warn")]);
    service.pgbackup("release", &[]).succeeds();
    service.pgbackup("doctor", &[]).succeeds().says("Backups are not encrypted");
    for passphrase in ["first * and 'only' $HOME\n", "second\n"] {
        service.call("encryption", &["--passphrase"]).input(passphrase).run().succeeds();
        if passphrase.starts_with("first") {
            let encrypted = service.backup();
            let text = format!("and this host decrypts them, the newest one ({encrypted}) too");
            service.pgbackup("doctor", &[]).succeeds().says(&text);
        } else {
            finds(&service, &[("encryption", "warn")]);
        }
    }
    service.backup();
    finds(&service, &[]);
    service.pgbackup("encryption", &["--off"]).succeeds();
    service.backup();
    service.pgbackup("verify", &["latest"]).succeeds();
    finds(&service, &[]);
    host.dokku(&["postgres:backup-unschedule", &service.name]).run().succeeds();
}

/// Something that runs by itself.
fn schedule(service: &Service) {
    let words = ["postgres:backup-schedule", &service.name, "0 3 * * *", &service.host.bucket];
    service.host.dokku(&words).run().succeeds();
}

/// A service on disk whose backups go to a server in this process.
fn patient(server: &Server) -> (tempfile::TempDir, Context, OnDisk) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let environment = Environment::from_lookup(|name| (name == "DOKKU_LIB_ROOT").then(|| root.clone().into()));
    fs::create_dir_all(root.join("services/postgres/prod")).unwrap();
    fs::write(root.join("services/postgres/prod/PASSWORD"), "x").unwrap();
    let context = Context::new(environment, Ui::captured(false).0);
    let properties = context.properties();
    properties.set(&Subject::Global, "destination", &format!("s3://{BUCKET}")).unwrap();
    properties.set(&Subject::Global, "endpoint-url", &server.endpoint()).unwrap();
    OwnKeys { access_key_id: ACCESS_KEY.into(), secret_access_key: Secret::new(SECRET_KEY), session_token: None }
        .write(&properties, &Subject::Global, KeysOf::Destination)
        .unwrap();
    let service = OnDisk::find(&root, &"prod".parse().unwrap()).unwrap();
    (folder, context, service)
}

fn bad(findings: &[Finding]) -> Vec<(&'static str, Verdict)> {
    let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Ok);
    bad.map(|finding| (finding.check, finding.verdict)).collect()
}

/// The objects of the server in this process, and what it keeps of unfinished uploads.
fn objects(server: &Server) -> Vec<String> {
    let names = fs::read_dir(server.root.path().join(BUCKET)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.extend(server.leftovers());
    names.sort();
    names
}

#[test]
fn each_missing_permission_is_found_alone() {
    use Verdict::{Fail, Warn};
    for (call, expected) in [
        (None, vec![]),
        (Some(Call::Create), vec![("write", Fail)]),
        (Some(Call::Put), vec![("write", Fail)]),
        (Some(Call::Get), vec![("read", Warn)]),
        (Some(Call::List), vec![("list", Warn)]),
        (Some(Call::Delete), vec![("delete", Warn), ("test-object", Warn)]),
        (Some(Call::Abort), vec![("abort", Warn)]),
    ] {
        let server = Server::start();
        let (_folder, context, service) = patient(&server);
        if let Some(call) = call {
            server.fail(call, 100, Fault::Answer(403, "AccessDenied", "Access Denied"));
        }
        for _ in 0..2 {
            let (_, findings) = destination::examine(&context, &service).unwrap();
            assert_eq!(bad(&findings), expected, "{call:?}: {findings:?}");
        }
        match call {
            // However often: one.
            Some(Call::Delete) => {
                let left = objects(&server);
                assert!(left.len() == 1 && left[0].starts_with("pgbackup-doctor-"), "{left:?}");
            }
            Some(Call::Abort) => {}
            _ => assert_eq!(objects(&server), Vec::<String>::new(), "{call:?}"),
        }
    }
}

#[test]
fn a_clock_or_a_region_that_is_wrong_is_found() {
    let clocks = [(0, None), (90, Some(Verdict::Warn)), (-400, Some(Verdict::Fail))];
    for (ahead, expected) in clocks {
        let server = Server::start();
        let (_folder, context, service) = patient(&server);
        server.fail_where(|_| true, 1000, Fault::Clock(ahead));
        let (_, findings) = destination::examine(&context, &service).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|verdict| ("clock", verdict)).collect();
        assert_eq!(bad(&findings), expected, "{findings:?}");
    }
    let server = Server::start();
    let (_folder, context, service) = patient(&server);
    context.properties().set(&Subject::Global, "region", "eu-west-1").unwrap();
    let answer = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message></Error>";
    server.fail_where(|_| true, 1000, Fault::Header(400, answer, ("x-amz-bucket-region", "eu-central-1")));
    let (_, findings) = destination::examine(&context, &service).unwrap();
    assert_eq!(bad(&findings), [("store", Verdict::Fail)]);
    let fix = &findings.last().unwrap().fixes[0];
    assert!(fix.contains("region eu-central-1"), "{fix}");
}

#[test]
fn keys_in_force_and_those_behind_them_are_named() {
    let server = Server::start();
    let (_folder, context, service) = patient(&server);
    let said = || {
        let (_, findings) = destination::examine(&context, &service).unwrap();
        let of =
            |check: &str| findings.iter().find(|finding| finding.check == check).map(|found| found.message.clone());
        (of("credentials").unwrap_or_default(), of("other-keys").unwrap_or_default())
    };
    let (used, others) = said();
    assert_eq!(used, format!("The keys are those of pgbackup:auth ({ACCESS_KEY})"));
    assert!(!others.contains("backup-auth"), "{others}");
    // A pair of the service's own comes before that of all, and both before what dokku-postgres has.
    let own = OwnKeys {
        access_key_id: ACCESS_KEY.into(),
        secret_access_key: Secret::new(SECRET_KEY),
        session_token: Some(Secret::new("token")),
    };
    own.write(&context.properties(), &Subject::Service(service.name.clone()), KeysOf::Destination).unwrap();
    context.properties().set(&Subject::Global, "access-key-id", "GLOBAL").unwrap();
    let backup = service.root.join("backup");
    fs::create_dir(&backup).unwrap();
    fs::write(backup.join("AWS_ACCESS_KEY_ID"), "POSTGRES\n").unwrap();
    let (used, others) = said();
    assert_eq!(used, format!("The keys are those of pgbackup:auth ({ACCESS_KEY}), temporary ones"));
    assert!(
        others.starts_with(
            "Other keys are there and not used: those of pgbackup:auth --global (GLOBAL); those of postgres:backup-auth \
             (The backup-auth of the service prod is incomplete: AWS_SECRET_ACCESS_KEY is not set)"
        ),
        "{others}"
    );
    fs::write(backup.join("AWS_SECRET_ACCESS_KEY"), SECRET_KEY).unwrap();
    fs::write(backup.join("AWS_ACCESS_KEY_ID"), ACCESS_KEY).unwrap();
    context.properties().set(&Subject::Global, "auth", "service").unwrap();
    let (used, others) = said();
    assert_eq!(used, format!("The keys are those of postgres:backup-auth ({ACCESS_KEY})"));
    assert!(
        others.starts_with(&format!(
            "Other keys are there and not used (property auth is service): those of pgbackup:auth ({ACCESS_KEY}); those of pgbackup:auth --global"
        )),
        "{others}"
    );
}

#[test]
fn a_folder_that_is_not_there_or_not_ours_is_found() {
    let server = Server::start();
    let (folder, context, service) = patient(&server);
    let path = folder.path().join("backups");
    context.properties().set(&Subject::Global, "destination", &format!("file://{}", path.display())).unwrap();
    let (_, findings) = destination::examine(&context, &service).unwrap();
    assert_eq!(bad(&findings), [("store", Verdict::Fail)]);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("postgres-prod-2023-04-03-11-00-04.tgz"), "x").unwrap();
    let (newest, findings) = destination::examine(&context, &service).unwrap();
    assert_eq!(bad(&findings), []);
    assert_eq!(newest.unwrap().to_string(), "postgres-prod-2023-04-03-11-00-04.tgz");
    assert_eq!(names(&path), ["postgres-prod-2023-04-03-11-00-04.tgz"]);
}

fn names(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_doctor_who_is_told_to_stop_takes_its_test_object_along() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    let server = Server::start();
    service.set("destination", &format!("s3://{BUCKET}"));
    service.set("endpoint-url", &server.endpoint());
    service.call("auth", &[ACCESS_KEY]).input(format!("{SECRET_KEY}\n")).run().succeeds();
    // It is written, and its reading takes a while.
    server.fail_where(
        |call| {
            if call == Call::Get {
                thread::sleep(Duration::from_secs(2));
            }
            false
        },
        1,
        Fault::Reset,
    );
    let mut process = service.start("doctor", &[], &[]);
    process.until("the test object", || !objects(&server).is_empty());
    process.signal(Signal::INT);
    process.end().exits(130, "Interrupted");
    assert_eq!(objects(&server), Vec::<String>::new());
}
