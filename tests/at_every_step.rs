//! `kill -9` at every named point of every command that changes something: `step!` in the sources, see src/step.rs.
//!
//! The names are read out of the sources, so that none can be forgotten: each belongs to an area (what stands before its dot), each area to a
//! test, and that test fails when none of its commands passes the point. A command is killed at one point after the other: the next run has
//! to put right what the last one has left before it is killed itself, and the last one goes through. `KILL=term make test T=every_step` and
//! `KILL=panic …` do the same by SIGTERM and by a panic; `KILL=all …` takes each command to each of its points in all three ways, and lets a whole run
//! follow each time (hours).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::host::{App, Host, Postgres, Process, Service};
use crate::layers::sources;

/// Areas by the test that kills there.
const OF_BACKUP: [&str; 10] =
    ["backup", "dump", "upload", "s3", "folder", "copy", "prune", "removal", "delete", "turn"];
const OF_RESTORE: [&str; 6] = ["restore", "staging", "load", "swap", "maintenance", "exchange"];
const OF_DECISION: [&str; 3] = ["rollback", "commit", "abort"];
const OF_DRILL: [&str; 4] = ["verify", "throwaway", "discard", "recovery"];

/// All names in the sources that are in these areas.
fn steps(areas: &[&str]) -> BTreeSet<String> {
    all_steps().into_iter().filter(|name| areas.contains(&area(name))).collect()
}

fn area(name: &str) -> &str {
    name.split('.').next().unwrap()
}

pub fn all_steps() -> Vec<String> {
    let (mut names, mut files) = (Vec::new(), Vec::new());
    sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        names.extend(code.split("step!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    names
}

#[test]
fn every_step_has_a_name_of_its_own_and_a_test() {
    let names = all_steps();
    assert!(names.len() > 90, "{names:?}");
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for name in &names {
        *count.entry(name).or_default() += 1;
        let known = [&OF_BACKUP[..], &OF_RESTORE, &OF_DECISION, &OF_DRILL].concat().contains(&area(name));
        assert!(known, "no test of tests/at_every_step.rs kills in the area of {name}");
    }
    count.retain(|_, count| *count > 1);
    assert!(count.is_empty(), "more than one step is called {count:?}");
}

/// How a run dies: `kill`, `term`, `panic`, or in `all` ways.
#[expect(clippy::disallowed_methods, reason = "how much is tried is said by the environment")]
fn way() -> String {
    let way = std::env::var("KILL").unwrap_or_else(|_| "kill".to_owned());
    assert!(["kill", "term", "panic", "all"].contains(&way.as_str()), "KILL={way}");
    way
}

/// A command, and what is done before it.
struct Act<'a> {
    command: &'a str,
    words: &'a [&'a str],
    prepare: &'a dyn Fn(&World),
}

/// A small service with a folder that the user dokku may write in.
struct World {
    service: Service,
    folder: PathBuf,
    app: Option<App>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl World {
    fn new() -> Self {
        let host = Host::get();
        let service = host.service("prod", Postgres::V15);
        service.sql(
            "CREATE TABLE users (id serial PRIMARY KEY, name text UNIQUE); INSERT INTO users (name) SELECT md5(n::text) FROM generate_series(1, 562) n; \
             CREATE TABLE orders AS SELECT n AS id, n % 562 + 1 AS user_id FROM generate_series(1, 1000) n; \
             ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE",
        );
        let folder = host.root.join("folders").join(&service.name);
        let world = Self { service, folder, app: None };
        for folder in [world.folder.clone(), world.folder.join("store"), world.folder.join("copies")] {
            fs::create_dir_all(&folder).unwrap();
            let dokku = fs::metadata(host.root.join("dokku")).unwrap();
            chown(&folder, Some(dokku.uid()), Some(dokku.gid())).unwrap();
        }
        world
    }

    fn start(&self, act: &Act, wish: &str) -> Process {
        self.service.start(act.command, act.words, &[("PGBACKUP_STEP", wish)])
    }

    /// The points that a run passes, in their order.
    fn passes(&self, act: &Act) -> Vec<String> {
        (act.prepare)(self);
        let notes = self.folder.join("notes");
        self.start(act, &format!("note {}", notes.display())).end().exits(0, "");
        let text = fs::read_to_string(&notes).unwrap();
        fs::remove_file(&notes).unwrap();
        let mut seen = BTreeSet::new();
        text.lines().filter(|name| seen.insert(*name)).map(str::to_owned).collect()
    }

    /// Databases of ours that are neither the live one nor one that may be gone back to.
    fn staging(&self) -> Vec<String> {
        let mut databases = self.service.databases();
        databases.retain(|name| name.starts_with("pgbackup_") && !name.starts_with("pgbackup_previous_"));
        databases
    }

    /// Whether a staged restore waits for a decision.
    fn waits(&self) -> bool {
        let comments =
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname LIKE 'pgbackup_staging_%'";
        self.service.values(comments).iter().any(|comment| comment.contains("\"kept\":true"))
    }

    /// The live database is there, open, and one of the two in full.
    #[track_caller]
    fn whole(&self, at: &str) {
        let live = self.service.databases().into_iter().filter(|name| *name == self.service.database).count();
        assert_eq!(live, 1, "at {at}");
        let rows = (self.service.rows("users"), self.service.rows("orders"));
        assert!(rows == (562, 1000) || rows == (0, 0), "half a database at {at}: {rows:?}");
    }

    /// Everything that a run may leave has been put right.
    #[track_caller]
    fn settled(&self, at: &str) {
        self.whole(at);
        let staging = self.staging();
        assert!(staging.is_empty() || (staging.len() == 1 && self.waits()), "left after {at}: {staging:?}");
        let data = self.service.host.data_of(&self.service.name);
        for note in ["restore.json", "upload.json", "copy.json"] {
            assert!(!data.join(note).exists(), "{note} is left after {at}");
        }
        for folder in ["store", "copies"] {
            let hidden =
                names(&self.folder.join(folder)).into_iter().filter(|name| name.starts_with('.')).collect::<Vec<_>>();
            assert!(hidden.is_empty(), "left after {at}: {hidden:?}");
        }
        assert!(self.app.as_ref().is_none_or(|app| !app.in_maintenance()), "still in maintenance after {at}");
        let label = format!("label=com.dokku.pgbackup.service={}", self.service.name);
        let containers =
            self.service.host.call("docker", &["ps", "--all", "--quiet", "--filter", &label]).run().succeeds();
        assert_eq!(containers.out(), "", "a throw-away container is left after {at}");
    }

    /// The keys that are listed without a word against them.
    fn listed(&self) -> Vec<String> {
        // One that was killed behind a deletion has not remembered it: that is said as well.
        let said = self.service.start("list", &["--format", "json"], &[]).end().exits(0, "").said;
        let rows = said.lines().find(|line| line.starts_with('[')).unwrap_or_else(|| panic!("{said}"));
        let rows: serde_json::Value = serde_json::from_str(rows).unwrap();
        let rows = rows.as_array().unwrap().iter().filter(|row| row["trouble"].is_null());
        rows.map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    }

    /// Restores each listed backup that is not among the proven ones yet, in a drill.
    #[track_caller]
    fn prove(&self, proven: &mut BTreeSet<String>, at: &str) {
        for key in self.listed() {
            if proven.insert(key.clone()) {
                let ended = self.service.start("verify", &[&key], &[]).end();
                assert_eq!(ended.code, 0, "{key} is listed after {at}, but does not restore:\n{}", ended.said);
            }
        }
    }

    /// Kills a run at a point; true when it came so far.
    #[track_caller]
    fn strike(&self, act: &Act, how: &str, at: &str) {
        (act.prepare)(self);
        let ended = self.start(act, &format!("{how} {at}")).end();
        let expected: &[i32] = match how {
            "kill" => &[-1],
            // What is done already when the signal comes is done.
            "term" => &[130, 0],
            _ => &[101],
        };
        assert!(
            expected.contains(&ended.code),
            "{} with {how} at {at} ended with {}:\n{}",
            act.command,
            ended.code,
            ended.said
        );
        self.whole(at);
    }

    #[track_caller]
    fn goes_through(&self, act: &Act, at: &str) {
        (act.prepare)(self);
        let ended = self.service.start(act.command, act.words, &[]).end();
        assert_eq!(ended.code, 0, "{} after {at}:\n{}", act.command, ended.said);
        self.settled(at);
    }

    /// Kills the acts at all points of these areas.
    #[expect(clippy::print_stderr, reason = "what is tried alone takes its time, and says how far it is")]
    fn killed_everywhere(&self, areas: &[&str], acts: &[Act]) {
        let way = way();
        let mut left = steps(areas);
        let mut proven = BTreeSet::new();
        for act in acts {
            let passed = self.passes(act);
            self.settled(act.command);
            // A backup may be complete and not remembered yet.
            let place = |name: &str| passed.iter().position(|passed| passed == name);
            let saves = |at: &str| place("backup.sent") <= place(at) && place(at) <= place("backup.remembered");
            self.prove(&mut proven, act.command);
            if way == "all" {
                for at in &passed {
                    for how in ["kill", "term", "panic"] {
                        let what = format!("{} with {how} at {at}", act.command);
                        eprintln!("{what}");
                        self.strike(act, how, at);
                        self.prove(&mut proven, &what);
                        self.goes_through(act, &what);
                        self.prove(&mut proven, &what);
                    }
                    left.remove(at);
                }
                continue;
            }
            let mut last = String::new();
            for at in passed.iter().filter(|at| left.remove(*at)) {
                let before = self.staging();
                self.strike(act, &way, at);
                if past_recovery(&passed, at) && !self.waits() {
                    let there = self.staging();
                    let kept: Vec<_> = before.iter().filter(|name| there.contains(name)).collect();
                    assert!(kept.is_empty(), "left at {last} and still there at {at}: {kept:?}");
                }
                if saves(at) {
                    self.prove(&mut proven, at);
                }
                last.clone_from(at);
            }
            if !last.is_empty() {
                self.goes_through(act, &last);
                self.prove(&mut proven, act.command);
            }
        }
        assert!(left.is_empty(), "no command of this test passes {left:?}");
    }
}

fn past_recovery(passed: &[String], at: &str) -> bool {
    let place = |name: &str| passed.iter().position(|passed| passed == name);
    place("recovery.done").is_some_and(|done| place(at).is_some_and(|here| here > done))
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a1_a_backup_that_is_killed_at_any_step_leaves_nothing_bad() {
    let world = World::new();
    let service = &world.service;
    // So that one run saves, copies and prunes: the newest verified one stays beside the last.
    service.backup();
    service.pgbackup("verify", &["latest"]).succeeds();
    service.set("copy-to", &format!("file://{}", world.folder.join("copies").display()));
    service.set("keep-last", "1");
    service.backup();
    let two = |world: &World| {
        while world.listed().len() < 2 {
            world.service.backup();
        }
    };
    // Each backup replaces the last but one.
    let nothing = |_: &World| {};
    let encrypted = |world: &World| {
        world.service.call("encryption", &["--passphrase"]).input("correct horse\n").run().succeeds();
    };
    world.killed_everywhere(
        &OF_BACKUP,
        &[
            Act { command: "backup", words: &[], prepare: &nothing },
            Act { command: "delete", words: &["latest", "--force"], prepare: &two },
            Act { command: "backup", words: &[], prepare: &encrypted },
        ],
    );
    assert_eq!(service.bucket().unfinished_uploads(), [""; 0]);
}

const RESTORE: [&str; 3] = ["latest", "--force", "--no-safety-backup"];

/// A service with an app and a backup, and a role that the backup needs.
fn restorable() -> World {
    let mut world = World::new();
    let app = world.service.host.app("prod");
    app.link(&world.service);
    world.app = Some(app);
    world.service.set("destination", &format!("file://{}", world.folder.join("store").display()));
    world.service.sql("CREATE ROLE ghost; CREATE TABLE of_ghost (); ALTER TABLE of_ghost OWNER TO ghost");
    world.service.backup();
    world
}

/// The rows are lost, and the role, which a restore makes again then.
fn emptied(world: &World) {
    world.service.sql("DROP TABLE IF EXISTS of_ghost; DELETE FROM users");
    // Replaced databases may still need it.
    let _ = world.service.client().batch_execute("DROP ROLE IF EXISTS ghost");
}

fn replaced(world: &World) {
    if !world.service.databases().iter().any(|name| name.starts_with("pgbackup_previous_")) {
        world.service.pgbackup("restore", &RESTORE).succeeds();
    }
}

fn free(world: &World) {
    if world.waits() {
        world.service.pgbackup("restore:abort", &[]).succeeds();
    }
}

fn waiting(world: &World) {
    if !world.waits() {
        world.service.pgbackup("restore", &["latest", "--stage-only"]).succeeds();
    }
}

#[test]
fn a2_a_restore_that_is_killed_at_any_step_leaves_one_whole_database() {
    restorable().killed_everywhere(
        &OF_RESTORE,
        &[
            Act { command: "restore", words: &RESTORE, prepare: &emptied },
            Act { command: "restore", words: &["latest", "--stage-only"], prepare: &free },
        ],
    );
}

#[test]
fn a2_a_decision_that_is_killed_at_any_step_leaves_one_whole_database() {
    restorable().killed_everywhere(
        &OF_DECISION,
        &[
            Act { command: "rollback", words: &["--force"], prepare: &replaced },
            Act { command: "restore:commit", words: &["--force"], prepare: &waiting },
            Act { command: "restore:abort", words: &[], prepare: &waiting },
        ],
    );
}

#[test]
fn a2_a_drill_or_a_clean_up_that_is_killed_at_any_step_leaves_nothing() {
    let world = restorable();
    let nothing = |_: &World| {};
    // What puts right can be killed as well.
    let interrupted = |world: &World| {
        world.strike(&Act { command: "restore", words: &RESTORE, prepare: &emptied }, "kill", "maintenance.entered");
        let app = &world.app.as_ref().unwrap().name;
        let said = world.service.start("status", &[], &[]).end().said;
        assert!(said.contains(&format!("with {app} in maintenance")), "{said}");
    };
    world.killed_everywhere(
        &OF_DRILL,
        &[
            Act { command: "rollback", words: &["--discard", "--force"], prepare: &replaced },
            Act { command: "verify", words: &["latest"], prepare: &nothing },
            Act { command: "verify", words: &["latest"], prepare: &interrupted },
            Act { command: "verify", words: &["latest", "--isolated"], prepare: &nothing },
        ],
    );
    // An app that can't be taken out of maintenance is told aloud, and the restore is good (B16).
    emptied(&world);
    let mut process = world.service.start("restore", &RESTORE, &[("PGBACKUP_STEP", "stop swap.maintained")]);
    let status = format!("/proc/{}/status", process.id());
    process.until("it to stop", || fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tT")));
    let app = world.app.as_ref().unwrap();
    let folder = world.service.host.root.join("dokku").join(&app.name).join("nginx.conf.d");
    let owner = fs::metadata(&folder).unwrap();
    chown(&folder, Some(0), Some(0)).unwrap();
    process.signal(Signal::CONT);
    let ended = process.end().exits(0, "is restored from");
    chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    assert!(ended.said.contains(&format!("The app {} may still be in maintenance", app.name)), "{}", ended.said);
    assert!(ended.said.contains(&format!("dokku maintenance:disable {}", app.name)), "{}", ended.said);
    assert_eq!(world.service.rows("users"), 562);
    app.set_maintenance(false);
    // One that can't be put into it ends a rollback; what the user does then by hand is no later command's to undo.
    chown(&folder, Some(0), Some(0)).unwrap();
    world.service.pgbackup("rollback", &["--force"]).exits(1).says("can't be put into maintenance");
    chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    assert!(!world.service.host.data_of(&world.service.name).join("restore.json").exists());
    app.set_maintenance(true);
    world.service.backup();
    assert!(app.in_maintenance());
    app.set_maintenance(false);
}
