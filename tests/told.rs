//! Being told and being looked at: plugins, webhooks and healthchecks of a real backup, whatever they answer; `status`; metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::host::{Host, Postgres, Service};

/// Requests that came in: the first line and the body of each.
pub(crate) type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// An endpoint on this machine, which answers all in the same way.
pub(crate) fn endpoint(answer: &'static str) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let written = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 8192];
            let (line, body) = loop {
                let read = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..read]);
                let seen = String::from_utf8_lossy(&text).into_owned();
                let Some((head, body)) = seen.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break (head.lines().next().unwrap().to_owned(), body.to_owned());
                }
            };
            written.lock().unwrap().push((line, body));
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, requests)
}

/// A plugin of the host that writes down what it is told; gone when dropped. One at a time: the first that reads a trigger's
/// standard input leaves nothing for the next.
struct Hook {
    folder: PathBuf,
    link: PathBuf,
    _only: MutexGuard<'static, ()>,
}

impl Hook {
    /// It is told of every service of the host, and refuses to hear of this one.
    fn new(host: &Host, service: &str) -> Self {
        static ONLY: Mutex<()> = Mutex::new(());
        let only = ONLY.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("hook-{service}");
        let folder = host.lib_root.join("plugins/available").join(&name);
        let link = host.lib_root.join("plugins/enabled").join(&name);
        fs::create_dir_all(&folder).unwrap();
        let heard = folder.join("heard");
        fs::write(&heard, "").unwrap();
        for (trigger, input) in [("pgbackup-action", "$(cat)"), ("service-action", "")] {
            let heard = heard.display();
            let script = format!(
                "#!/bin/sh\necho \"{trigger} [$1] [$2] [$3] [$4] [$5] {input}\" >>{heard}\n[ \"$2\" != {service} ] || exit 3\n"
            );
            fs::write(folder.join(trigger), script).unwrap();
            fs::set_permissions(folder.join(trigger), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&heard, fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        Self { folder, link, _only: only }
    }

    fn heard(&self, service: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("heard")).unwrap();
        text.lines().filter(|line| line.contains(&format!("[{service}]"))).map(str::to_owned).collect()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const BROKEN: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[test]
fn a_backup_is_told_to_everybody_and_suffers_from_none() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let name = service.name.clone();
    // Before any backup.
    let status = service.pgbackup("status", &["--format", "json"]).exits(1).json();
    assert_eq!(status[0]["problems"][0]["problem"], "never");

    let (webhook, posted) = endpoint(OK);
    let (healthcheck, pinged) = endpoint(OK);
    let (broken, _) = endpoint(BROKEN);
    let hook = Hook::new(host, &name);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    service.set("healthcheck-url", &format!("{healthcheck}/uuid"));
    service.set("webhook-url", &format!("{webhook}/hook/secret {broken}/secret http://127.0.0.1:9/secret"));
    service.set("notify-on", "all");
    let run = host.dokku(&["--quiet", "pgbackup:backup", &name]).run().succeeds();
    let key = run.out().trim().to_owned();
    assert!(
        run.err.contains(&format!("The webhook {broken}/*** was not told of backup-started: it answers 500")),
        "{}",
        run.err
    );
    assert!(
        run.err.contains("The webhook http://127.0.0.1:9/*** was not told of backup-started: it can't be reached"),
        "{}",
        run.err
    );
    assert!(
        run.err.contains(
            "A plugin's trigger pgbackup-action was not told of backup-started: it failed with exit status 3"
        ),
        "{}",
        run.err
    );
    assert!(!run.err.contains("secret"), "{}", run.err);
    assert!(service.bucket().names().contains(&key));

    let posted: Vec<Value> =
        posted.lock().unwrap().iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(posted.len(), 2, "{posted:?}");
    assert_eq!(posted[0]["event"], "backup-started");
    assert_eq!(posted[1]["event"], "backup-succeeded");
    assert_eq!((&posted[1]["key"], &posted[1]["rows"]), (&Value::from(key.as_str()), &Value::from(562)));
    assert_eq!(posted[1]["by"]["user"], "root");
    let pings: Vec<String> = pinged.lock().unwrap().iter().map(|(line, _)| line.clone()).collect();
    assert_eq!(pings, ["POST /uuid/start HTTP/1.1", "POST /uuid HTTP/1.1"]);
    let heard = hook.heard(&name);
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard[0].starts_with(&format!("pgbackup-action [backup-started] [{name}] [] [] [] {{\"format\":1")),
        "{heard:?}"
    );
    assert!(heard[1].starts_with(&format!("pgbackup-action [backup-succeeded] [{name}] [{key}]")), "{heard:?}");
    let bucket = service.bucket().url().trim_start_matches("s3://").to_owned();
    assert_eq!(heard[2].trim_end(), format!("service-action [post-backup] [postgres] [{name}] [{bucket}] [success]"));

    // A failure and what follows it.
    service.set("webhook-url", &format!("{webhook}/hook/secret"));
    service.pgbackup("set", &["notify-on"]).succeeds();
    host.dokku(&["postgres:pause", &name]).run().succeeds();
    service.pgbackup("backup", &[]).exits(1);
    let failed = service.pgbackup("status", &[]).exits(1);
    assert!(failed.says("failed once since the last good backup: The service").code == 1);
    host.dokku(&["postgres:start", &name]).run().succeeds();
    let mut service = service;
    service.read_connection();
    while service.try_client("postgres").is_err() {
        thread::sleep(std::time::Duration::from_millis(50));
    }
    service.backup();
    let told: Vec<String> = pinged.lock().unwrap().iter().skip(2).map(|(line, _)| line.clone()).collect();
    assert_eq!(
        told,
        ["POST /uuid/start HTTP/1.1", "POST /uuid/fail HTTP/1.1", "POST /uuid/start HTTP/1.1", "POST /uuid HTTP/1.1"]
    );
    assert!(hook.heard(&name).iter().any(|line| line.starts_with("pgbackup-action [backup-recovered]")));
    assert!(hook.heard(&name).iter().any(|line| line.ends_with("[failure] ")));

    // A drill, the page, and the file for node_exporter.
    drop(hook);
    let metrics = host.root.join("dokku").join(format!("{name}.prom"));
    host.dokku(&["pgbackup:set", "--global", "metrics-file", metrics.to_str().unwrap()]).run().succeeds();
    service.pgbackup("verify", &["latest"]).succeeds();
    host.dokku(&["pgbackup:set", "--global", "metrics-file"]).run().succeeds();
    let certificate = service.pgbackup("certificate", &["--format", "json"]).succeeds().json();
    assert_eq!((&certificate["work"], &certificate["passed"]), (&Value::from("verify"), &Value::from(true)));
    assert_eq!(certificate["tables"][0]["found"], 562);
    assert_eq!(certificate["backup"]["destination"], service.bucket().url());
    service.pgbackup("certificate", &[]).succeeds().says("PASSED").says("public.users");
    service.pgbackup("certificate", &["latest", "--html"]).succeeds().says("<svg").says("Restore drill of");
    service.pgbackup("certificate", &["1999-"]).exits(4);
    let text = fs::read_to_string(&metrics).unwrap();
    assert!(text.contains(&format!("pgbackup_healthy{{service=\"{name}\"}} 1\n")), "{text}");
    assert!(text.contains(&format!("pgbackup_last_drill_passed{{service=\"{name}\"}} 1\n")), "{text}");
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(fs::metadata(&metrics).unwrap().permissions().mode() & 0o777, 0o644);
    fs::remove_file(&metrics).unwrap();
    let status = service.pgbackup("status", &["--remote", "--format", "json"]).succeeds().json();
    assert_eq!(status[0]["last_backup"]["rows"], 562);
    assert_eq!(status[0]["last_drill"]["good"], true);
    assert_eq!(status[0]["trend"].as_array().unwrap().len(), 2);
    service.pgbackup("status", &["--max-age", "0s"]).exits(1).says("is wanted");
}

#[test]
fn a_missed_run_is_told_once_by_whatever_runs_next() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let name = service.name.clone();
    let (webhook, posted) = endpoint(OK);
    let hook = Hook::new(host, "nobody");
    service.set("webhook-url", &format!("{webhook}/x"));
    service.pgbackup("schedule", &["0 * * * *", "--name", "hourly"]).succeeds();
    service.pgbackup("schedule", &["0 * * * *", "--name", "drill", "--drill"]).succeeds();
    // As if they had been set three hours ago on a host that was off since.
    let file = host.lib_root.join("config/pgbackup").join(&name).join("schedules");
    let text = fs::read_to_string(&file).unwrap();
    let mut planned: Vec<Value> = serde_json::from_str(&text).unwrap();
    for one in &mut planned {
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
        one["since"] = since.to_string().into();
    }
    fs::write(&file, serde_json::to_string(&planned).unwrap()).unwrap();
    let told = || -> Vec<Value> {
        let all = std::mem::take(&mut *posted.lock().unwrap());
        all.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    };
    service.pgbackup("status", &[]).exits(1).says("the scheduled backup hourly was due").says("and did not run");
    // Whatever runs next tells of it: this backup, or one of another test a moment before or beside it. A backup that is saved
    // after that is a recovery, the first or the second; that the outage goes on is no news.
    service.backup();
    service.backup();
    let all = told();
    let mut events: Vec<&str> = all.iter().map(|one| one["event"].as_str().unwrap()).collect();
    events.sort_unstable();
    assert_eq!(events, ["backup-missed", "backup-recovered", "verify-missed"]);
    let missed = all.iter().find(|one| one["event"] == "backup-missed").unwrap();
    let message = missed["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("The scheduled backup hourly of {name} was due at 20")), "{message}");
    let heard = |event: &str| hook.heard(&name).iter().filter(|line| line.contains(&format!("[{event}]"))).count();
    assert_eq!((heard("backup-missed"), heard("verify-missed")), (1, 1));
    let rows = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    let missed: Vec<&Value> = rows.as_array().unwrap().iter().filter(|row| row["event"] == "missed").collect();
    assert_eq!(missed.len(), 2);
    assert_eq!(missed[0]["result"], "MISSED");

    // Cron is back: once it has begun nothing is missed.
    service.pgbackup("schedule:run", &["hourly", "--now"]).succeeds();
    service.pgbackup("schedule:run", &["drill", "--now"]).succeeds();
    let events: Vec<Value> = told().iter().map(|one| one["event"].clone()).collect();
    assert_eq!(events, ["verify-recovered"]);
    service.pgbackup("status", &[]).succeeds();
    drop(hook);
}

#[test]
fn a_drill_that_can_not_begin_is_told_and_so_is_the_first_good_one_after_it() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let (webhook, posted) = endpoint(OK);
    service.set("webhook-url", &format!("{webhook}/x"));
    service.pgbackup("schedule", &["@yearly", "--drill"]).succeeds();
    let told = || -> Vec<String> {
        let all = std::mem::take(&mut *posted.lock().unwrap());
        let event = |body: &str| serde_json::from_str::<Value>(body).unwrap()["event"].as_str().unwrap().to_owned();
        all.iter().map(|(_, body)| event(body)).collect()
    };
    // There is no backup yet.
    service.pgbackup("schedule:run", &["drill", "--now"]).exits(4);
    assert_eq!(told(), ["verify-failed"]);
    let rows = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    assert_eq!((&rows[0]["event"], &rows[0]["result"]), (&"verification".into(), &"FAILED".into()), "{rows}");
    service.backup();
    service.pgbackup("status", &[]).exits(1).says("the last drill could not be run");
    // A name that somebody has mistyped is no news.
    service.pgbackup("verify", &["1999"]).exits(4);
    assert!(told().is_empty());
    service.pgbackup("schedule:run", &["drill", "--now"]).succeeds();
    assert_eq!(told(), ["verify-recovered"]);
    service.pgbackup("status", &[]).succeeds();
}

#[test]
fn a_run_that_is_left_out_is_told_as_missed() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let (webhook, posted) = endpoint(OK);
    service.set("webhook-url", &format!("{webhook}/x"));
    service.pgbackup("schedule", &["* * * * *"]).succeeds();
    // As if it had been set a minute ago.
    let file = host.lib_root.join("config/pgbackup").join(&service.name).join("schedules");
    let mut planned: Vec<Value> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    planned[0]["since"] = (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(61)).to_string().into();
    fs::write(&file, serde_json::to_string(&planned).unwrap()).unwrap();
    service.backup();
    let lock = host.data_of(&service.name).join("schedule-backup.lock");
    let path = lock.to_str().unwrap();
    host.call("install", &["-o", "dokku", "-g", "dokku", "-m", "600", "/dev/null", path]).run().succeeds();
    let lock = fs::File::open(&lock).unwrap();
    lock.lock().unwrap();
    for _ in 0..2 {
        service.pgbackup("schedule:run", &["backup"]).exits(5).says("is still under way from last time");
    }
    drop(lock);
    let told = || std::mem::take(&mut *posted.lock().unwrap());
    let once = told();
    assert_eq!(once.len(), 1, "{once:?}");
    assert!(once[0].1.contains("is left out, since its last run is still under way"), "{once:?}");

    // One that has waited in vain for another run of the service, of a backup and of a drill.
    service.pgbackup("schedule", &["* * * * *", "--drill"]).succeeds();
    let mut client = service.client();
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let mut held = client.transaction().unwrap();
    held.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut running = service.start("backup", &[], &[]);
    running.says("Backing up");
    told();
    for (schedule, event) in [("backup", "backup-missed"), ("drill", "verify-missed")] {
        let run = service.pgbackup("schedule:run", &[schedule, "--now", "--wait", "1s"]).exits(5);
        run.says("Waiting: Backup of").says("FAILED after");
        let once = told();
        assert_eq!(once.len(), 1, "{once:?}");
        assert!(once[0].1.contains(event) && once[0].1.contains("has waited in vain: Backup of"), "{once:?}");
    }
    held.rollback().unwrap();
    running.end().exits(0, "saved as");
    let rows = service.pgbackup("history", &["--format", "json"]).succeeds().json();
    let results: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(results[..3], ["good", "MISSED", "FAILED"], "{rows}");
    // What cron runs next has nothing to add.
    told();
    service.pgbackup("schedule:run", &["backup", "--now"]).succeeds();
    service.pgbackup("schedule:run", &["drill", "--now"]).succeeds();
    let events: Vec<Value> =
        told().iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["event"].clone()).collect();
    assert_eq!(events, ["verify-recovered"]);
    service.pgbackup("unschedule", &["--every"]).succeeds();
}

#[test]
fn callers_see_the_services_that_a_plugin_allows_them() {
    let host = Host::get();
    let seen = host.service("prod", Postgres::V15);
    let hidden = host.service("secret", Postgres::V15);
    let folder = host.lib_root.join("plugins/available").join(format!("acl-{}", hidden.name));
    let link = host.lib_root.join("plugins/enabled").join(format!("acl-{}", hidden.name));
    fs::create_dir_all(&folder).unwrap();
    // As dokku-acl answers, for this caller and nobody else: none of all it is given but one. So no other test's service is touched.
    let caller = format!("key-{}", seen.name);
    let script = format!(
        "#!/bin/sh\n[ \"$2\" != {caller} ] || {{ echo {}; exit; }}\nshift 3\nprintf '%s\\n' \"$@\"\n",
        seen.name
    );
    fs::write(folder.join("user-auth-service"), script).unwrap();
    fs::set_permissions(folder.join("user-auth-service"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    for service in [&seen, &hidden] {
        service.set("copy-to", "off");
        service.backup();
        service.set("copy-to", &service.second_bucket().url());
    }
    let runs = [
        &["pgbackup:status", "--format", "json"][..],
        &["pgbackup:prune", "--all", "--dry-run"],
        &["pgbackup:report"],
        &["pgbackup:backup", "--all"],
        &["pgbackup:copy", "--all", "--everything"],
        &["pgbackup:doctor", "--all"],
        &["pgbackup:adopt", "--all", "--force"],
    ]
    .map(|words| (words, host.dokku(words).env("SSH_NAME", &caller).run()));
    fs::remove_file(&link).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    for (what, run) in runs {
        let run = run.succeeds();
        let said = run.seen() + &run.err + &run.out();
        assert!(said.contains(&seen.name) && !said.contains(&hidden.name), "{what:?}: {said}");
    }
    let backups = |service: &Service| (service.bucket().backups().len(), service.second_bucket().backups().len());
    assert_eq!((backups(&seen), backups(&hidden)), ((2, 2), (1, 0)));
}

#[test]
fn a_test_message_shows_what_came_back() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let (good, posted) = endpoint(OK);
    service.set("webhook-url", &format!("slack+{good}/x"));
    let rows = service.pgbackup("notify:test", &["--format", "json"]).succeeds().json();
    // Another test's plugin may hear of it, too.
    let webhook = rows.as_array().unwrap().iter().find(|row| row["receiver"].as_str().unwrap().contains("webhook"));
    assert_eq!(webhook.unwrap()["answer"], "200 ok");
    assert!(posted.lock().unwrap()[0].1.contains("This is a test"));
    let (broken, _) = endpoint(BROKEN);
    service.set("webhook-url", &format!("{good}/x {broken}/x"));
    service.pgbackup("notify:test", &[]).exits(1).says("messages did not arrive");
}

#[test]
fn what_others_are_told_of_a_failed_drill_holds_no_row() {
    let service = Host::get().service("prod", Postgres::V15);
    let (webhook, posted) = endpoint(OK);
    service.set("webhook-url", &format!("{webhook}/hook"));
    service.set("notify-on", "failed");
    let told = |work: &str| {
        let mut posted = posted.lock().unwrap();
        let (_, body) = posted.pop().unwrap();
        assert!(posted.is_empty() && body.contains(work) && !body.contains("marked"), "{body}");
        body
    };
    // Rows that their own index and their own CHECK do not take any more: no dump says so.
    service.sql(
        "CREATE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE TABLE users (mail text); INSERT INTO users VALUES ('marked@example.com'), ('marked@example.org');
         CREATE UNIQUE INDEX by_key ON users (public.key(mail));
         CREATE OR REPLACE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT left($1, 9)'",
    );
    service.backup();
    service.pgbackup("verify", &["latest"]).exits(3).says("(marked@ex) is duplicated");
    let body = told("verify-failed");
    assert!(body.contains("could not create unique index") && body.contains("by_key"), "{body}");
    for command in [&["certificate"][..], &["certificate", "--html"], &["history", "--format", "json"]] {
        let run = service.pgbackup(command[0], &command[1..]).succeeds();
        assert!(run.out().contains("by_key") && !run.out().contains("marked"), "{command:?}: {}", run.out());
    }

    service.sql(
        "DROP INDEX by_key; CREATE FUNCTION is_good(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
         ALTER TABLE users ADD CHECK (is_good(mail));
         CREATE OR REPLACE FUNCTION is_good(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false'",
    );
    service.backup();
    service.pgbackup("verify", &["latest"]).exits(1).says("CONTEXT:  COPY users, line 1: \"marked@example.com\"");
    let body = told("verify-failed");
    assert!(body.contains("COPY failed for table") && body.contains("users"), "{body}");
}
