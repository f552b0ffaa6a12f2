//! Roles with few rights, enforced by a real server: what works works in full, what doesn't names the permission and the ways out.

use crate::host::{Host, Key, Postgres, Service};

fn act_as(service: &Service, key: Key) {
    let (id, secret) = key.pair();
    service.call("auth", &[&id]).input(secret).run().succeeds();
}

#[test]
fn a_role_that_may_only_write_takes_backups_and_restores_by_what_it_is_handed() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("endpoint-url", &host.endpoint);
    service.set("region", &host.region);
    act_as(&service, Key::Writer);
    let key = service.backup();
    let second = service.backup();
    assert!(service.bucket().unfinished_uploads().is_empty());

    // From this host's own history, and it says so.
    let listed = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!((listed[0]["key"].as_str(), listed[1]["key"].as_str()), (Some(second.as_str()), Some(key.as_str())));
    assert_eq!(listed[0]["rows"], 562);
    service.pgbackup("info", &["latest"]).succeeds().says("public.users");
    service.pgbackup("report", &[]).succeeds();

    // What needs reading or deleting names what is missing, on what, and what to do.
    let object = format!("{}/{key}", service.bucket().url());
    for command in ["restore", "verify"] {
        let mut words = vec![key.as_str()];
        words.extend((command == "restore").then_some("--force"));
        let run = service.pgbackup(command, &words).exits(1).says(&format!("s3:GetObject is missing for {object}"));
        for way in [
            format!("aws s3 cp {object} - | ssh dokku@HOST pgbackup:restore"),
            format!("aws s3 presign {object}"),
            "--file PATH".to_owned(),
            "pgbackup:iam-policy".to_owned(),
        ] {
            assert!(run.err.contains(&way), "{command} does not offer {way}:\n{}", run.err);
        }
    }
    service.pgbackup("download", &[&key, "/tmp/never"]).exits(1).says("s3:GetObject is missing");
    assert_eq!(service.bucket().backups(), [key.as_str(), &second]);

    // Somebody who may read signs a link.
    act_as(&service, Key::Reader);
    let link = service.pgbackup("url", &[&key, "--valid", "10m"]).succeeds().last_line();
    act_as(&service, Key::Writer);
    service.pgbackup("verify", &[&link]).succeeds().says("restores to what was saved");
    service.sql("DELETE FROM users");
    let run = service.pgbackup("restore", &[&link, "--force"]).succeeds();
    assert_eq!(service.rows("users"), 562);
    let signature = link.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap();
    let history = serde_json::to_string(&service.history()).unwrap();
    for text in [&run.out(), &run.err, &history] {
        assert!(!text.contains(signature), "the link's signature is shown");
    }
    assert!(history.contains(&key), "the object that it led to is remembered");
    // A signature that was tampered with opens nothing.
    let broken = link.replace(signature, &"0".repeat(signature.len()));
    service.pgbackup("verify", &[&broken]).exits(1).says("is refused");
}

#[test]
fn a_role_that_may_only_read_restores_and_changes_nothing() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let key = service.backup();
    let objects = service.bucket().names();
    service.set("endpoint-url", &host.endpoint);
    service.set("region", &host.region);
    act_as(&service, Key::Reader);
    service.pgbackup("verify", &[&key]).succeeds();
    service.pgbackup("backup", &[]).exits(1).says("s3:PutObject is missing");
    service.pgbackup("delete", &[&key, "--force"]).exits(1).says("s3:DeleteObject is missing");
    let run = service.pgbackup("restore", &[&key, "--force"]).exits(1);
    assert!(run.err.contains("--no-safety-backup"), "{}", run.err);
    service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(service.bucket().names(), objects);
    // What a policy would have to hold is what was named.
    let policy = service.pgbackup("iam-policy", &["--role", "backup"]).succeeds().json();
    assert_eq!(policy["Statement"][0]["Action"][0], "s3:PutObject");
    let resource = format!("arn:aws:s3:::{}/*", service.bucket().url().trim_start_matches("s3://"));
    assert_eq!(policy["Statement"][0]["Resource"], resource.as_str());
}
