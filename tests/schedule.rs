//! Schedules: what Dokku's crontab gets, what a real cron makes of it, and what is refused before it could spoil anybody's lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::host::{Host, Key, Postgres, Service};

/// The lines of the user dokku's crontab that name this service.
fn lines_of(service: &Service) -> Vec<String> {
    let crontab = fs::read_to_string(Host::get().lib_root.join("crontab")).unwrap_or_default();
    let own = format!(" {} ", service.name);
    crontab.lines().filter(|line| line.contains(&own)).map(str::to_owned).collect()
}

/// The suite runs in any time zone.
fn without_the_hosts_zone(text: &str) -> String {
    let local = regex_lite::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+ \(").unwrap();
    let zone = regex_lite::Regex::new(r"Time zone: +[^,]+,").unwrap();
    zone.replace_all(&local.replace_all(text, "<local> ("), "Time zone: <zone>,").into_owned()
}

#[test]
fn schedules_are_lines_of_dokkus_crontab() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let name = service.name.as_str();

    let set = service.pgbackup("schedule", &["30  3 * * *"]).succeeds();
    assert_snapshot!(without_the_hosts_zone(&set.seen()).replace(host.root.to_str().unwrap(), "<root>"), @r#"
    =====> Schedule backup of prod: a backup at 30 3 * * *
           Next runs: <local> (<time>)
                      <local> (<time>)
                      <local> (<time>)
           Time zone: <zone>, that of this host
           Log:  <root>/log/pgbackup-prod.log
    exit 0
    "#);
    service.pgbackup("schedule", &["0 5 * * SUN", "--drill", "--name", "weekly", "--jitter", "10m"]).succeeds();
    // Five words are one schedule: ssh takes quotes away.
    service.pgbackup("schedule", &["15", "*/6", "*", "*", "*", "--name", "often"]).succeeds();
    let log = host.root.join(format!("log/pgbackup-{name}.log"));
    let log = log.display();
    let mut lines = lines_of(&service);
    lines.sort();
    assert_eq!(
        lines,
        [
            format!("0 5 * * sun dokku pgbackup:schedule:run {name} weekly &>> {log}"),
            format!("15 */6 * * * dokku pgbackup:schedule:run {name} often &>> {log}"),
            format!("30 3 * * * dokku pgbackup:schedule:run {name} backup &>> {log}"),
        ]
    );
    let listed = host.dokku(&["cron:list", "--global"]).run().succeeds().out();
    assert_eq!(listed.matches(name).count(), 3, "{listed}");

    // The same name again is a change.
    service.pgbackup("schedule", &["@daily"]).succeeds().says("In place of the backup at 30 3 * * *");
    assert_eq!(lines_of(&service).len(), 3);
    let shown = service.pgbackup("schedule", &[]).succeeds();
    let shown: Vec<String> = shown.seen().lines().filter(|line| line.starts_with("prod ")).map(str::to_owned).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    let json = service.pgbackup("schedule", &["--format", "json"]).succeeds().json();
    let rows = json.as_array().unwrap();
    let own: Vec<_> = rows.iter().filter(|row| row["service"] == name).collect();
    assert_eq!(own.len(), 3);
    assert_eq!(own[2]["name"], "weekly");
    assert_eq!(own[2]["task"], "drill");
    assert_eq!(own[2]["jitter_seconds"], 600);
    assert_eq!(own[2]["in_crontab"], true);
    assert_eq!(own[2]["next"].as_array().unwrap().len(), 3);

    // What is refused changes nothing.
    for (words, reason) in [
        (&["\u{201c}0 3 * * *\u{201d}"][..], "typographic quote"),
        (&["0 3 * *"], "4 fields instead of five"),
        (&["0 3 * * *;reboot"], "a semicolon"),
        (&["0 3 * * *\n* * * * *"], "a line break"),
        (&["0", "3", "bin", "dev", "etc"], "Put quotes around it"),
        (&["0 3 * * *", "--name", "a;b"], "not a valid name"),
    ] {
        service.pgbackup("schedule", words).exits(2).says(reason);
    }
    host.dokku(&["pgbackup:schedule", "0 3 * * *"])
        .run()
        .exits(2)
        .says("For all services: dokku pgbackup:schedule --all");
    assert_eq!(lines_of(&service).len(), 3);

    // Spoiled by hand: its own lines are gone, those of others are not.
    let other = host.service("other", Postgres::V15);
    other.pgbackup("schedule", &["@weekly"]).succeeds();
    let file = host.lib_root.join("config/pgbackup").join(&other.name).join("schedules");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("@weekly", "* * * * *;x\\n\\n")).unwrap();
    service.pgbackup("schedule", &["@daily"]).succeeds();
    assert_eq!((lines_of(&service).len(), lines_of(&other).len()), (3, 0));
    other.pgbackup("schedule", &[]).says("can't be read");
    other.pgbackup("unschedule", &["--every"]).succeeds();

    // And out again.
    service.pgbackup("unschedule", &[]).exits(2).says("several schedules: backup, often, weekly");
    service.pgbackup("unschedule", &["--name", "never"]).exits(1).says("has no schedule never");
    service.pgbackup("unschedule", &["--name", "often"]).succeeds();
    assert_eq!(lines_of(&service).len(), 2);
    let exported = service.pgbackup("schedule:export", &["--systemd"]).succeeds().out();
    assert!(
        exported.contains("OnCalendar=*-*-* 00:00:00\n") && exported.contains("OnCalendar=Sun *-*-* 05:00:00\n"),
        "{exported}"
    );
    let exported = service.pgbackup("schedule:export", &[]).succeeds().out();
    assert!(exported.contains(&format!("@daily dokku dokku pgbackup:schedule:run {name} backup >> ")), "{exported}");

    // What ran is known, and that it ran for nothing as well; the schedule goes with its service, the history stays.
    let run = service.pgbackup("schedule:run", &["backup", "--now"]).succeeds();
    run.says("ended well after");
    service.set("destination", "file:///nowhere");
    service.pgbackup("schedule:run", &["backup", "--now"]).exits(1).says("FAILED after");
    let json = service.pgbackup("schedule", &["--format", "json"]).succeeds().json();
    let row =
        json.as_array().unwrap().iter().find(|row| row["service"] == name && row["name"] == "backup").unwrap().clone();
    assert_eq!(row["last"]["exit_code"], 1);
    let history = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    assert_eq!(history[0]["result"], "FAILED");
    assert_eq!(history[1]["result"], "good");
    host.dokku(&["--force", "postgres:destroy", name]).run().succeeds();
    assert_eq!(lines_of(&service), [""; 0]);
    assert!(!host.lib_root.join("config/pgbackup").join(name).exists());
    assert_eq!(host.dokku(&["pgbackup:history", name, "--format", "json"]).run().succeeds().json(), history);
}

#[test]
fn takes_over_what_dokku_postgres_has_scheduled() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let name = service.name.as_str();
    service.pgbackup("set", &["destination"]).succeeds();
    service.pgbackup("schedule:adopt", &[]).exits(1).says("dokku-postgres has no schedule for");
    let bucket = service.bucket().url();
    let theirs = bucket.trim_start_matches("s3://");
    host.dokku(&["postgres:backup-schedule", name, "0 4 * * *", theirs, "--use-iam"]).run().succeeds();
    // The role of this host, as far as it has one.
    let (id, secret) = Key::Full.pair();
    let role = [("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str())];

    // One that can't be removed is not joined by a second one.
    let subcommand = host.lib_root.join("plugins/enabled/postgres/subcommands/backup-unschedule");
    let link = fs::read_link(&subcommand).unwrap();
    fs::remove_file(&subcommand).unwrap();
    fs::write(&subcommand, "#!/bin/sh\necho ' !     sudo: a password is required' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&subcommand, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = service.start("schedule:adopt", &[], &role).end();
    fs::remove_file(&subcommand).unwrap();
    std::os::unix::fs::symlink(link, &subcommand).unwrap();
    let refused = refused.exits(1, "two would run at once").exits(1, "a password is required");
    let refused = refused.exits(1, &format!("Set destination to {bucket}"));
    refused.exits(1, "What was set stays (destination, auth, region, endpoint-url)");
    assert_eq!(lines_of(&service), [""; 0]);

    service.start("schedule:adopt", &[], &role).end().exits(0, "Removed it there");
    host.dokku(&["postgres:backup-schedule-cat", name]).run().exits(1);
    assert!(!Path::new("/etc/cron.d").join(format!("dokku-postgres-{name}")).exists());
    assert!(lines_of(&service)[0].starts_with(&format!("0 4 * * * dokku pgbackup:schedule:run {name} backup ")));
    let property =
        |property: &str| fs::read_to_string(host.lib_root.join("config/pgbackup").join(name).join(property)).unwrap();
    assert_eq!((property("destination"), property("auth").as_str()), (bucket, "iam"));
    assert_eq!((property("region"), property("endpoint-url")), (host.region.clone(), host.endpoint.clone()));
}

/// A search path on which Dokku's triggers are these, and `crontab` is this where it is not empty. Where all apps run on k3s Dokku asks no
/// plugin for lines and writes no crontab, and tells nobody.
pub fn with_another_dokku(service: &Service, triggers: &str, crontab: &str) -> (PathBuf, String) {
    let root = &service.host.root;
    let folder = tempfile::tempdir_in(root).unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let plugn = format!("case \"$2\" in {triggers} *) exec {}/bin/plugn \"$@\" ;; esac", root.display());
    for (name, script) in [("plugn", plugn.as_str()), ("crontab", crontab)] {
        if !script.is_empty() {
            fs::write(folder.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let path = format!("{}:{}/bin:/usr/local/bin:/usr/bin:/bin", folder.display(), root.display());
    (folder, path)
}

#[test]
fn a_host_whose_apps_run_elsewhere_is_offered_another_way() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let (folder, path) = with_another_dokku(
        &service,
        "scheduler-detect) echo k3s ;; scheduler-cron-write) ;;",
        "echo 'no crontab for dokku' >&2; exit 1",
    );
    let there = [("PATH", path.as_str())];
    let set = service.start("schedule", &["30 3 * * *"], &there).end();
    let set = set.exits(0, "is not in the crontab of dokku: nothing will run");
    let set = set
        .exits(0, "Dokku writes a crontab only where the scheduler docker-local is used, and on this host it is k3s");
    let set = set.exits(0, &format!("pgbackup:schedule:export {} --cron", service.name));
    set.exits(0, &format!("pgbackup:schedule:export {} --systemd", service.name));
    let shown = service.start("schedule", &[], &there).end();
    shown.exits(0, "is not in Dokku's crontab and doesn't run");
    let doctor = service.start("doctor", &[], &there).end();
    assert!(doctor.said.contains("is not in Dokku's crontab and doesn't run"), "{}", doctor.said);
    let exported = service.start("schedule:export", &["--systemd"], &there).end();
    exported.exits(0, "OnCalendar=*-*-* 03:30:00");
    service.pgbackup("unschedule", &["--every"]).succeeds();
    fs::remove_dir_all(&folder).unwrap();
}

/// A cron daemon with nothing but this crontab of the user dokku, in a mount namespace of its own: Debian's cron knows one place only.
struct Cron(Child);

impl Cron {
    fn start(host: &'static Host, crontab: &str) -> Self {
        let folder = tempfile::tempdir_in(&host.root).unwrap().keep();
        let spool = folder.join("spool/crontabs");
        fs::create_dir_all(&spool).unwrap();
        fs::create_dir(folder.join("cron.d")).unwrap();
        for file in ["crontab", "pid"] {
            fs::write(folder.join(file), "").unwrap();
        }
        let table = spool.join("dokku");
        fs::write(&table, crontab).unwrap();
        fs::set_permissions(&table, fs::Permissions::from_mode(0o600)).unwrap();
        let script = format!(
            "set -e; cd '{}'; chown dokku spool/crontabs/dokku; touch /etc/crontab /run/crond.pid
             mount --bind spool /var/spool/cron; mount --bind cron.d /etc/cron.d
             mount --bind crontab /etc/crontab; mount --bind pid /run/crond.pid
             exec /usr/sbin/cron -f",
            folder.display()
        );
        Self(host.call("unshare", &["--mount", "sh", "-c", &script]).spawn())
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_cron_takes_the_backup_proves_it_and_prunes() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.backup();
    service.set("prune-after-backup", "off");
    service.set("keep-last", "1");
    service.pgbackup("schedule", &["* * * * *"]).succeeds();
    service.pgbackup("schedule", &["* * * * *", "--drill"]).succeeds();
    service.pgbackup("schedule", &["* * * * *", "--prune", "--jitter", "20s"]).succeeds().says("a prune at");
    service.pgbackup("schedule", &["* * * * *", "--prune", "--drill"]).exits(2);
    let lines = lines_of(&service);
    assert_eq!(lines.len(), 3);
    let json = service.pgbackup("schedule", &["--format", "json"]).succeeds().json();
    let task = |row: &serde_json::Value| row["service"] == service.name.as_str() && row["task"] == "prune";
    let row = json.as_array().unwrap().iter().find(|row| task(row)).unwrap();
    assert_eq!(
        (&row["name"], &row["jitter_seconds"]),
        (&serde_json::Value::from("prune"), &serde_json::Value::from(20))
    );
    // A log that has grown too long is begun anew by the first run.
    let log = host.root.join(format!("log/pgbackup-{}.log", service.name));
    fs::write(&log, "=====> long ago\n".repeat(80_000)).unwrap();
    host.call("chown", &["dokku:dokku", log.to_str().unwrap()]).run().succeeds();
    // As Dokku writes it, but for this sandbox's `dokku` on the path.
    let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", host.root.display());
    let cron = Cron::start(host, &format!("PATH={path}\nSHELL=/bin/bash\n\n{}\n", lines.join("\n")));
    let began = Instant::now();
    loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let ended = |task: &str| said.lines().any(|line| line.contains(&format!("({task}) ended well after")));
        if !said.contains("long ago") && ["backup", "drill", "prune"].into_iter().all(ended) {
            assert!(said.lines().any(|line| line.starts_with("=====> 20") && line.ends_with(" begins")), "{said}");
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(150),
            "not all have run yet:\n{}",
            said.replace("=====> long ago\n", "")
        );
        sleep(Duration::from_millis(200));
    }
    drop(cron);
    service.pgbackup("unschedule", &["--every"]).succeeds();
    let kept = fs::read_to_string(log.with_extension("log.1")).unwrap();
    assert!(kept.starts_with("=====> long ago\n"));
    assert!(!service.bucket().backups().is_empty());
    let history = service.history();
    let has = |event: &str| history.iter().any(|entry| entry["event"] == event);
    assert!(has("verification"));
    // The runs come in any order: a pruning before the first backup has nothing to delete.
    service.pgbackup("prune", &[]).succeeds();
    assert!(service.bucket().backups().len() <= 2, "the newest one, and the newest that was proven");
}

#[test]
fn scheduled_runs_of_one_host_go_one_after_another_or_as_many_as_are_wanted() {
    let host = Host::get();
    let [first, second, third] = ["first", "second", "third"].map(|name| {
        let service = host.service(name, Postgres::V15);
        service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
        service.pgbackup("schedule", &["0 0 1 1 *"]).succeeds();
        service
    });
    let mut client = first.client();
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut has_its_place = first.start("schedule:run", &["backup", "--now"], &[]);
    has_its_place.says("Backing up");
    let mut waits = second.start("schedule:run", &["backup", "--now"], &[]);
    waits.says("Waiting for 1 other scheduled run of this host to end");
    // Two at once: there is a place beside the first.
    host.dokku(&["pgbackup:set", "--global", "schedule-concurrency", "2"]).run().succeeds();
    let beside = third.pgbackup("schedule:run", &["backup", "--now"]);
    host.dokku(&["pgbackup:set", "--global", "schedule-concurrency"]).run().succeeds();
    beside.succeeds().says("ended well");
    assert_eq!(second.bucket().backups(), Vec::<String>::new(), "one more has begun");
    held.rollback().unwrap();
    has_its_place.end().exits(0, "ended well");
    waits.end().exits(0, "ended well");
    for service in [first, second, third] {
        assert_eq!(service.bucket().backups().len(), 1);
        service.pgbackup("unschedule", &["--every"]).succeeds();
    }
}
