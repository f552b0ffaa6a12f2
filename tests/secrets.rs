//! No secret where somebody else could read it (faults.md A6, E1–E5): while commands run with marked ones and a umask of 000, the
//! arguments and the environment of every process of this machine are looked at, and afterwards all that was said and all files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::host::{Host, Postgres, Run, Service};
use crate::store::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use crate::told::{OK, endpoint};

/// What our processes, and those that they start on this host, have in their environment while they are watched.
const TAG: &str = "PGBACKUP_WATCHED=";
const PASSPHRASE: &str = "a passphrase that nobody may see";
const HOOK: &str = "the-secret-path-of-a-webhook";

/// What was looked at and what was found.
struct Watch {
    secrets: Vec<String>,
    password: String,
    tag: String,
    looked_at: AtomicUsize,
    inside: AtomicUsize,
    found: Mutex<BTreeSet<String>>,
}

impl Watch {
    /// Looks at every process once.
    fn look(&self) {
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let read = |name: &str| fs::read(path.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let (Ok(arguments), Ok(environment)) = (read("cmdline"), read("environ")) else { continue };
            let words = arguments.replace('\0', " ");
            let ours = environment.split('\0').any(|variable| variable == self.tag);
            self.looked_at.fetch_add(usize::from(ours), Ordering::Relaxed);
            // The other tests hand the store's keys around; the service's password is nobody else's.
            let secrets = self.secrets.iter().filter(|_| ours).chain([&self.password]);
            for secret in secrets.filter(|secret| words.contains(*secret)) {
                self.found.lock().unwrap().insert(format!("{secret} is an argument of {words}"));
            }
            for variable in environment.split('\0') {
                let Some((name, value)) = variable.split_once('=') else { continue };
                // PostgreSQL's own way: readable for the owner of the process alone, and who may read that may read the file.
                let for_postgres = value == self.password && ["PGPASSWORD", "POSTGRES_PASSWORD"].contains(&name);
                self.inside.fetch_add(usize::from(for_postgres && name == "PGPASSWORD"), Ordering::Relaxed);
                let shown =
                    value.contains(&self.password) || ours && self.secrets.iter().any(|secret| value.contains(secret));
                if shown && !for_postgres {
                    self.found.lock().unwrap().insert(format!("{variable} is in the environment of {words}"));
                }
            }
        }
    }
}

/// `pgbackup:COMMAND NAME WORDS…` as the user dokku, with a umask of 000 and a trace.
fn run(service: &Service, tag: &str, command: &str, words: &[&str], input: &str, more: (&str, &str)) -> Run {
    let plugin = service.host.lib_root.join("plugins/enabled/pgbackup/subcommands").join(command);
    let name = format!("pgbackup:{command}");
    let script = "umask 000; exec setpriv --reuid dokku --regid dokku --init-groups -- \"$@\"";
    let all = [&["-c", script, "sh", plugin.to_str().unwrap(), &name, &service.name], words].concat();
    let (variable, value) = tag.split_once('=').unwrap();
    service.host.call("sh", &all).env(variable, value).env("DOKKU_TRACE", "1").env(more.0, more.1).input(input).run()
}

/// Files and folders below a folder, with their modes.
fn below(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.clone(), fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// A command, its words, its input, a variable, its exit code.
type Act<'a> = (&'a str, &'a [&'a str], &'a str, (&'a str, &'a str), i32);

#[test]
#[expect(clippy::too_many_lines, reason = "a list of commands, and what is looked at after them")]
fn e1_e5_no_secret_is_an_argument_said_or_readable() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    let app = host.app("prod");
    app.link(&service);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let (server, copies) = (Server::start(), Server::start());
    let (hook, told) = endpoint(OK);
    // What the user types is in the arguments of what he types.
    service.set("destination", &format!("s3://{BUCKET}/prod"));
    service.set("endpoint-url", &server.endpoint());
    service.set("copy-to", &format!("s3://{BUCKET}/copies"));
    service.set("copy-endpoint-url", &copies.endpoint());
    for property in ["webhook-url", "healthcheck-url"] {
        service.set(property, &format!("{hook}/{HOOK}"));
    }
    service.set("notify-on", "all");
    service.set("keep-last", "2");
    let tag = format!("{TAG}{}", service.name);
    let password =
        fs::read_to_string(host.lib_root.join("services/postgres").join(&service.name).join("PASSWORD")).unwrap();
    let secrets = [SECRET_KEY, PASSPHRASE, HOOK].map(str::to_owned);
    let watch = Watch {
        secrets: secrets.to_vec(),
        password: password.trim().to_owned(),
        tag: tag.clone(),
        looked_at: AtomicUsize::default(),
        inside: AtomicUsize::default(),
        found: Mutex::default(),
    };
    let file = host.root.join("folders").join(&service.name);
    fs::create_dir_all(&file).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o777)).unwrap();
    let path = file.join("backup.tgz.gpg").to_str().unwrap().to_owned();
    let no = ("PGBACKUP_NOTHING", "");
    let panics = ("PGBACKUP_STEP", "panic backup.sent");
    let killed = ("PGBACKUP_STEP", "kill staging.loaded");
    let restore: &[&str] = &["latest", "--force"];
    #[rustfmt::skip]
    let acts: &[Act] = &[
        ("auth", &[ACCESS_KEY], SECRET_KEY, no, 0),
        ("auth", &[ACCESS_KEY, "--copy"], SECRET_KEY, no, 0),
        ("encryption", &["--passphrase"], PASSPHRASE, no, 0),
        ("encryption", &[], "", no, 0),
        ("backup", &[], "", no, 0),
        ("backup", &[], "", panics, 101),
        ("restore", restore, "", killed, -1),
        ("backup", &[], "", no, 0),
        ("list", &[], "", no, 0),
        ("info", &["latest"], "", no, 0),
        ("check", &["latest"], "", no, 0),
        ("diff", &["latest", "live"], "", no, 0),
        ("encryption:test", &[], "", no, 0),
        ("download", &["latest", &path], "", no, 0),
        ("verify", &["latest"], "", no, 0),
        ("verify", &["--file", &path], "", no, 0),
        ("restore", restore, "", no, 0),
        ("rollback", &["--force"], "", no, 0),
        ("query", &["SELECT count(*) FROM users"], "", no, 0),
        ("prune", &[], "", no, 0),
        ("report", &[], "", no, 0),
        // What a restore has saved first waits for its copy.
        ("status", &[], "", no, 1),
        ("history", &[], "", no, 0),
        ("notify:test", &[], "", no, 0),
        ("encryption", &["--passphrase"], "another one\n", no, 0),
        // Cannot be decrypted any more, and what is wrong is said.
        ("verify", &["latest"], "", no, 1),
        ("iam-policy", &[], "", no, 0),
        ("url", &["latest"], "", no, 0),
    ];
    let over = AtomicBool::new(false);
    let mut all = String::new();
    let mut link = String::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                watch.look();
                thread::sleep(Duration::from_millis(5));
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (command, words, input, more, code) in acts {
                let run = run(&service, &tag, command, words, input, *more);
                let _ = write!(all, "pgbackup:{command} {words:?}\n{}{}", run.out(), run.err);
                if *command == "url" {
                    link = run.out().trim().to_owned();
                }
                run.exits(*code);
            }
        }));
        over.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let found = watch.found.lock().unwrap();
    assert!(found.is_empty(), "{found:#?}");
    let (looked_at, inside) = (watch.looked_at.load(Ordering::Relaxed), watch.inside.load(Ordering::Relaxed));
    assert!(looked_at > acts.len() && inside > 0, "the watch has seen {looked_at} of ours, {inside} in the container");

    let all_secrets: Vec<&str> = secrets.iter().map(String::as_str).chain([password.trim()]).collect();
    assert!(all.contains("a test wants it so"), "the panic was seen");
    for secret in &all_secrets {
        assert!(!all.contains(secret), "{secret} was said:\n{all}");
    }
    for (_, body) in told.lock().unwrap().iter() {
        assert!(all_secrets.iter().all(|secret| !body.contains(secret)), "{body}");
    }
    let signature = link.split("X-Amz-Signature=").nth(1).unwrap_or_else(|| panic!("{link}"));
    let (data, config) = (host.data_of(&service.name), host.lib_root.join("config/pgbackup").join(&service.name));
    for (path, mode) in below(&data) {
        assert_eq!(mode & 0o077, 0, "{} has the mode {mode:o}", path.display());
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        for secret in all_secrets.iter().chain([&signature]) {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
    }
    for (path, mode) in below(&config) {
        let others = mode & 0o077;
        assert!(others == 0 || path.is_dir() && mode & 0o022 == 0, "{} has the mode {mode:o}", path.display());
    }
    for (path, mode) in below(&file) {
        assert_eq!(mode & 0o077, 0, "{} has the mode {mode:o}", path.display());
    }
    // What lies beside the encrypted backups, in the first place and in the second.
    for (path, _) in [below(server.root.path()), below(copies.root.path())].concat() {
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        assert!(
            all_secrets.iter().all(|secret| !String::from_utf8_lossy(&bytes).contains(secret)),
            "{}",
            path.display()
        );
    }
    fs::remove_dir_all(&file).unwrap();
}
