//! Roles with few rights, enforced by a real server: what works works in full, what doesn't names the permission and the ways out.

use std::sync::{Arc, Mutex};

use crate::host::{Host, Key, Postgres, Service};
use crate::store::server::{ACCESS_KEY, BUCKET, Call, Fault, SECRET_KEY, Seen, Server};

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
    let diff = service.pgbackup("diff", &[&key, &second, "--format", "json"]).succeeds().json();
    assert_eq!((diff["unchanged"].as_u64(), diff["after"].as_str()), (Some(1), Some(second.as_str())));
    service.pgbackup("diff", &["latest"]).succeeds();
    let status = service.pgbackup("status", &["--format", "json"]).succeeds().json();
    let status = status.as_array().unwrap().iter().find(|one| one["service"] == service.name.as_str()).unwrap().clone();
    assert_eq!(status["last_backup"]["key"], second.as_str(), "{status}");
    service.pgbackup("schedule", &["30 3 * * *"]).succeeds();
    service.pgbackup("schedule:run", &["backup", "--now"]).succeeds().says("saved as");
    service.pgbackup("unschedule", &[]).succeeds();

    // What needs reading or deleting names what is missing, on what, and what to do.
    let object = format!("{}/{key}", service.bucket().url());
    for command in ["restore", "verify", "check"] {
        let mut words = vec![key.as_str()];
        words.extend((command == "restore").then_some("--force"));
        let run = service.pgbackup(command, &words).exits(1).says(&format!("s3:GetObject is missing for {object}"));
        for way in [
            format!(
                "aws s3 cp --endpoint-url {} --region {} {object} - | ssh dokku@HOST pgbackup:{command} {} -{}",
                host.endpoint,
                host.region,
                service.name,
                if command == "restore" { " --force" } else { "" }
            ),
            format!("aws s3 presign --endpoint-url {} --region {} {object}", host.endpoint, host.region),
            "--file PATH".to_owned(),
            format!("pgbackup:iam-policy {} --role restore", service.name),
        ] {
            assert!(run.err.contains(&way), "{command} does not offer {way}:\n{}", run.err);
        }
    }
    let run = service.pgbackup("download", &[&key, "/tmp/never"]).exits(1).says("s3:GetObject is missing");
    run.says(&format!("iam-policy {} --role restore", service.name));
    service.set("keep-last", "1");
    let policy = format!("iam-policy {} --role prune", service.name);
    service.pgbackup("prune", &[]).exits(1).says("s3:ListBucket is missing").says(&policy);
    assert!(service.bucket().backups().starts_with(&[key.clone(), second]));

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

/// The host has never made a backup, its role may only write, and what is in the bucket was made by dokku-postgres or by a host that is gone.
#[test]
fn what_a_role_may_not_look_at_has_its_ways_out_too() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let made = service.backup();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.tgz");
    service.bucket().fetch(&made, &file);
    let key = format!("postgres-{}-2023-04-03-11-00-04.tgz", service.name);
    service.bucket().put(&key, &file);
    service.bucket().put("nightly.tgz", &file);
    for name in [made.clone(), format!("{made}.manifest.json")] {
        service.bucket().remove(&name);
    }
    std::fs::remove_file(host.data_of(&service.name).join("history.jsonl")).unwrap();
    // The address stands in backup-auth alone.
    service.authorize(Key::Writer);

    let place = service.bucket().url();
    let at = format!("--endpoint-url {} --region {}", host.endpoint, host.region);
    for (name, command) in [
        (key.as_str(), "restore"),
        (&key, "verify"),
        (&key, "check"),
        ("nightly.tgz", "restore"),
        ("nightly.tgz", "check"),
    ] {
        let unasked = if command == "restore" { " --force" } else { "" };
        let mut words = vec![name];
        words.extend(unasked.split_whitespace());
        let run = service.pgbackup(command, &words).exits(1);
        for said in [
            format!("s3:GetObject is missing for {place}/{name}"),
            format!("aws s3 cp {at} {place}/{name} - | ssh dokku@HOST pgbackup:{command} {} -{unasked}", service.name),
            format!("aws s3 presign {at} {place}/{name}"),
            format!("pgbackup:{command} {} --file PATH", service.name),
            format!("pgbackup:iam-policy {} --role restore", service.name),
        ] {
            assert!(run.err.contains(&said), "{command} {name} does not say {said}:\n{}", run.err);
        }
    }
    for command in ["info", "download", "url"] {
        service.pgbackup(command, &[&key]).exits(1).says(&format!("s3:GetObject is missing for {place}/{key}"));
    }
    service.pgbackup("info", &["nightly.tgz"]).exits(1).says("s3:GetObject is missing");
    for words in [&["latest", "--force"][..], &["--before", "2024-01-01", "--force"], &["2023-04-03", "--force"]] {
        let run = service.pgbackup("restore", words).exits(4).says("s3:ListBucket is missing");
        let run = run.says(&format!("aws s3 cp {at} {place}/KEY - | ssh")).says("--file PATH");
        run.says(&format!("pgbackup:iam-policy {} --role restore", service.name));
    }

    // The way that was offered, walked.
    let run = service.pgbackup("restore", &[&key, "--force"]);
    let line = run.err.split("from a machine that may read: ").nth(1).and_then(|rest| rest.split(" | ssh").next());
    let (id, secret) = Key::Reader.pair();
    let call = host.call("sh", &["-c", line.unwrap()]).env("AWS_ACCESS_KEY_ID", &id);
    let bytes = call.env("AWS_SECRET_ACCESS_KEY", &secret).run().succeeds().bytes;
    service.sql("DELETE FROM users");
    service.call("restore", &["-", "--force"]).input(bytes).run().succeeds();
    assert_eq!(service.rows("users"), 562);
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
    service
        .pgbackup("backup", &[])
        .exits(1)
        .says("s3:PutObject is missing")
        .says(&format!("iam-policy {} --role backup", service.name));
    service.pgbackup("delete", &[&key, "--force", "--last-good"]).exits(1).says("s3:DeleteObject is missing");
    let run = service.pgbackup("restore", &[&key, "--force"]).exits(1);
    assert!(run.err.contains("--no-safety-backup"), "{}", run.err);
    service.pgbackup("restore", &[&key, "--force", "--no-safety-backup"]).succeeds();
    assert_eq!(service.bucket().names(), objects);
    let rule = service.pgbackup("iam-policy", &["--lifecycle"]).succeeds();
    assert_eq!(rule.json()["Rules"].as_array().unwrap().len(), 1);
    rule.says("replaced all at once").says("get-bucket-lifecycle-configuration --bucket");
    // What a policy would have to hold is what was named.
    let policy = service.pgbackup("iam-policy", &["--role", "backup"]).succeeds().json();
    assert_eq!(policy["Statement"][0]["Action"][0], "s3:PutObject");
    let resource = format!("arn:aws:s3:::{}/*", service.bucket().url().trim_start_matches("s3://"));
    assert_eq!(policy["Statement"][0]["Resource"], resource.as_str());
}

/// What the policy of a role allows, in the calls that it is.
fn allowed(role: &str, seen: &Seen) -> bool {
    let of_retention = seen.query.split('&').any(|word| word == "retention" || word == "retention=");
    match (role, seen.call) {
        ("backup", call) => matches!(call, Call::Put | Call::Create | Call::Part(_) | Call::Complete | Call::Abort),
        ("restore", call) => matches!(call, Call::Get | Call::Head | Call::List) && !of_retention,
        // No backup is read by who may delete them.
        (_, Call::Get | Call::Head) => seen.path.ends_with(".manifest.json") || of_retention,
        (_, call) => matches!(call, Call::Delete | Call::List | Call::Abort),
    }
}

#[test]
fn what_a_killed_backup_has_left_is_found_by_a_role_that_may_only_write() {
    let service = Host::get().service("prod", Postgres::V15);
    let server = Server::start();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("destination", &format!("s3://{BUCKET}"));
    service.set("endpoint-url", &server.endpoint());
    service.call("auth", &[ACCESS_KEY]).input(format!("{SECRET_KEY}\n")).run().succeeds();
    let may_read = Arc::new(Mutex::new(false));
    let asked = Arc::clone(&may_read);
    let refused = move |seen: &Seen| !*asked.lock().unwrap() && !allowed("backup", seen);
    server.refuse(refused, usize::MAX, Fault::Answer(403, "AccessDenied", "Access Denied"));
    let killed_at = |step: &str| {
        let run = service.call("backup", &[]).env("PGBACKUP_STEP", &format!("kill {step}")).run();
        assert_ne!(run.code, 0, "{}", run.err);
    };

    // In the middle of an upload, which the note can name.
    killed_at("backup.dumped");
    assert_ne!(server.leftovers(), Vec::<String>::new());
    // While the store is away nothing can be taken back, and it is not forgotten.
    server.go_away();
    service.pgbackup("backup", &[]).exits(1).says("An interrupted backup has left the unfinished upload of");
    server.come_back();
    service.pgbackup("backup", &[]).succeeds().says("Took back the unfinished upload of");
    assert_eq!(server.leftovers(), Vec::<String>::new());

    // Behind the store's confirmation, before anything was said of it.
    killed_at("backup.stored");
    let rows = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let key = rows[0]["key"].as_str().unwrap().to_owned();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["rows"]), (2, &562.into()), "{rows}");
    service.pgbackup("backup", &[]).succeeds().says(&format!("Described {key}"));
    assert_eq!(service.pgbackup("list", &["--format", "json"]).succeeds().json().as_array().unwrap().len(), 3);

    // Before that nobody can tell whether it is complete: it is described by nobody, and said.
    killed_at("backup.noted");
    let run = service.pgbackup("backup", &[]).succeeds().says("which can't be told");
    assert!(!run.err.contains("Described") && !run.out().contains("Described"), "{}", run.err);
    assert_eq!(server.leftovers(), Vec::<String>::new());

    *may_read.lock().unwrap() = true;
    let rows = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    let ours = |row: &&serde_json::Value| row["made_by"] == "pgbackup";
    assert_eq!(
        (rows.as_array().unwrap().len(), rows.as_array().unwrap().iter().filter(ours).count()),
        (4, 4),
        "{rows}"
    );
    service.pgbackup("verify", &[&key]).succeeds().says("restores to what was saved");
}

#[test]
fn each_role_can_do_its_work_and_names_the_one_permission_that_it_misses() {
    let service = Host::get().service("prod", Postgres::V15);
    let server = Server::start();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("destination", &format!("s3://{BUCKET}"));
    service.set("endpoint-url", &server.endpoint());
    service.call("auth", &[ACCESS_KEY]).input(format!("{SECRET_KEY}\n")).run().succeeds();
    let role: Arc<Mutex<(&str, Option<Call>)>> = Arc::new(Mutex::new(("all", None)));
    let asked = Arc::clone(&role);
    let refused = move |seen: &Seen| {
        let (role, missing) = *asked.lock().unwrap();
        role != "all" && (!allowed(role, seen) || missing == Some(seen.call))
    };
    server.refuse(refused, usize::MAX, Fault::Answer(403, "AccessDenied", "Access Denied"));
    let act_as = |name: &'static str, missing: Option<Call>| *role.lock().unwrap() = (name, missing);
    let policy = |role: &str| service.pgbackup("iam-policy", &["--role", role]).succeeds().out();
    let keys = [service.backup(), service.backup(), service.backup()];

    act_as("backup", None);
    let ours = service.backup();
    service.pgbackup("list", &[]).succeeds().says(&ours);
    act_as("backup", Some(Call::Abort));
    service.backup();
    act_as("backup", Some(Call::Put));
    service.pgbackup("backup", &[]).says("s3:PutObject is missing");
    act_as("backup", Some(Call::Create));
    service.pgbackup("backup", &[]).exits(1).says("s3:PutObject is missing");
    assert!(policy("backup").contains("s3:PutObject"));

    act_as("restore", None);
    let drill = service.pgbackup("verify", &[&keys[0]]).succeeds().says("restores to what was saved");
    drill.says("on this host alone and not beside the backup: permission s3:PutObject is missing");
    service.pgbackup("check", &[&keys[0]]).succeeds();
    service.pgbackup("restore", &[&keys[0], "--force", "--no-safety-backup"]).succeeds();
    act_as("restore", Some(Call::List));
    service.pgbackup("list", &[]).succeeds().says("s3:ListBucket is missing");
    service.pgbackup("verify", &[&keys[0]]).succeeds();
    act_as("restore", Some(Call::Get));
    for command in ["verify", "check"] {
        service.pgbackup(command, &[&keys[0]]).exits(1).says("s3:GetObject is missing").says("--role restore");
    }
    for action in ["s3:GetObject", "s3:ListBucket"] {
        assert!(policy("restore").contains(action), "{action}");
    }

    act_as("prune", None);
    service.pgbackup("delete", &[&keys[0], "--force"]).succeeds();
    service.set("keep-last", "2");
    act_as("prune", Some(Call::Delete));
    let run = service.pgbackup("prune", &[]).exits(1).says("s3:DeleteObject is missing");
    run.says(&format!("iam-policy {} --role prune", service.name));
    service.pgbackup("delete", &[&keys[1], "--force"]).exits(1).says("s3:DeleteObject is missing");
    act_as("prune", Some(Call::List));
    service.pgbackup("prune", &[]).exits(1).says("s3:ListBucket is missing");
    act_as("prune", None);
    service.pgbackup("prune", &[]).succeeds();
    let left = service.pgbackup("list", &["--format", "json"]).succeeds().json();
    assert_eq!(left.as_array().unwrap().len(), 2, "{left}");
    for action in ["s3:DeleteObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"] {
        assert!(policy("prune").contains(action), "{action}");
    }
}
