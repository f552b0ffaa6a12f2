//! Random sequences of what people and cron do (backup, verify, hold, delete, prune, restore, rollback, and a `kill -9` at any step of them),
//! against a model of what has to be there then. What can't be foreseen of a killed run is whether it had come far enough: it must be one
//! or the other.
//!
//! `STEPS=300 make test T=sequences` goes on for longer, `SEED=…` repeats one: a test that fails tells its seed.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::at_every_step;
use crate::host::{Host, Postgres, Service};

/// How many the suite takes.
const FEW: usize = 14;
/// The restore without another backup, which would be a backup more to foresee.
const RESTORE: [&str; 2] = ["--force", "--no-safety-backup"];

#[expect(clippy::disallowed_methods, reason = "how many, and which, is said by the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The same for a seed each time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
}

/// What has to be there. A state of the database is a number: that many rows.
struct Model {
    service: Service,
    chance: Chance,
    live: u64,
    /// What each backup holds, and whether it is on hold.
    backups: BTreeMap<String, (u64, bool)>,
    /// What killed backups would have saved: one that was complete is remembered by a later run.
    killed: Vec<u64>,
    /// What restores have replaced, the newest last.
    replaced: Vec<u64>,
    written: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let service = Host::get().service("prod", Postgres::V15);
        service.sql(
            "CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE state (number bigint); INSERT INTO state VALUES (0)",
        );
        service.set("suspicious-drop", "off");
        let chance = Chance(seed | 1);
        Self {
            service,
            chance,
            live: 0,
            backups: BTreeMap::new(),
            killed: Vec::new(),
            replaced: Vec::new(),
            written: 0,
        }
    }

    fn any_key(&mut self) -> Option<String> {
        let keys: Vec<String> = self.backups.keys().cloned().collect();
        self.chance.one(&keys).cloned()
    }

    /// Runs a command to be killed at any step of any command; whether it was.
    fn killed_at_random(&mut self, command: &str, words: &[&str]) -> bool {
        let steps = at_every_step::all_steps();
        let at = self.chance.one(&steps).unwrap();
        let ended = self.service.start(command, words, &[("PGBACKUP_STEP", &format!("kill {at}"))]).end();
        assert!(
            [-1, 0].contains(&ended.code),
            "{command}, to be killed at {at}, ended with {}:\n{}",
            ended.code,
            ended.said
        );
        ended.code == -1
    }

    /// One step; what it was.
    fn step(&mut self) -> String {
        match self.chance.below(11) {
            0 | 1 => {
                self.written += 7;
                let number = self.written;
                self.service.sql(&format!(
                    "TRUNCATE users; INSERT INTO users SELECT generate_series(1, {number}); UPDATE state SET number = {number}"
                ));
                self.live = number;
                format!("write {number}")
            }
            2 => {
                let key = self.service.backup();
                self.backups.insert(key.clone(), (self.live, false));
                format!("backup {key}")
            }
            3 => {
                let was = self.killed_at_random("backup", &[]);
                self.killed.push(self.live);
                format!("backup, killed: {was}")
            }
            4 => {
                let Some(key) = self.any_key() else { return "nothing".to_owned() };
                self.service.pgbackup("verify", &[&key]).succeeds();
                format!("verify {key}")
            }
            5 => {
                let Some(key) = self.any_key() else { return "nothing".to_owned() };
                let (_, held) = self.backups.get_mut(&key).unwrap();
                *held = !*held;
                let command = if *held { "hold" } else { "release" };
                self.service.pgbackup(command, &[&key]).succeeds();
                format!("{command} {key}")
            }
            6 => {
                let keep = self.chance.below(3) + 1;
                self.service.set("keep-last", &keep.to_string());
                self.service.pgbackup("prune", &[]).succeeds();
                let left = self.listed();
                self.service.pgbackup("prune", &[]).succeeds();
                assert_eq!(self.listed(), left, "pruned again, it deletes more");
                self.service.pgbackup("set", &["keep-last"]).succeeds();
                let newest = self.backups.keys().next_back().cloned();
                let gone: Vec<String> = self.backups.keys().filter(|key| !left.contains_key(*key)).cloned().collect();
                for key in &gone {
                    let (_, held) = self.backups.remove(key).unwrap();
                    assert!(!held && Some(key) != newest.as_ref(), "{key} is pruned");
                }
                format!("prune to {keep}: {gone:?}")
            }
            7 => {
                let Some(key) = self.any_key() else { return "nothing".to_owned() };
                let kept = self.backups[&key].1 || self.backups.len() == 1;
                let run = self.service.pgbackup("delete", &[&key, "--force"]);
                assert_eq!(run.code != 0, kept, "{}", run.seen());
                if !kept {
                    self.backups.remove(&key);
                }
                format!("delete {key}, refused: {kept}")
            }
            8 => {
                let Some(key) = self.any_key() else { return "nothing".to_owned() };
                self.service.pgbackup("restore", &[&[key.as_str()], &RESTORE[..]].concat()).succeeds();
                self.replaced.push(self.live);
                self.live = self.backups[&key].0;
                format!("restore {key}")
            }
            9 => {
                let Some(key) = self.any_key() else { return "nothing".to_owned() };
                let was = self.killed_at_random("restore", &[&[key.as_str()], &RESTORE[..]].concat());
                // Whether it had come so far is told by the databases.
                if self.previous() > self.replaced.len() {
                    self.replaced.push(self.live);
                    self.live = self.backups[&key].0;
                }
                format!("restore {key}, killed: {was}")
            }
            _ => {
                let Some(before) = self.replaced.pop() else { return "nothing".to_owned() };
                self.service.pgbackup("rollback", &["--force"]).succeeds();
                self.replaced.push(self.live);
                self.live = before;
                "rollback".to_owned()
            }
        }
    }

    fn previous(&self) -> usize {
        self.service.databases().iter().filter(|name| name.starts_with("pgbackup_previous_")).count()
    }

    /// The keys that are listed without a word against them, with their rows.
    fn listed(&self) -> BTreeMap<String, u64> {
        let said = self.service.start("list", &["--format", "json"], &[]).end().exits(0, "").said;
        let rows = said.lines().find(|line| line.starts_with('[')).unwrap_or_else(|| panic!("{said}"));
        let rows: Vec<serde_json::Value> = serde_json::from_str(rows).unwrap();
        let good = rows.iter().filter(|row| row["trouble"].is_null());
        good.map(|row| (row["key"].as_str().unwrap().to_owned(), row["rows"].as_u64().unwrap())).collect()
    }

    #[track_caller]
    fn holds(&mut self, after: &str) {
        let (users, number) = (self.service.rows("users"), self.service.value("SELECT number FROM state"));
        assert_eq!((users, number), (self.live, self.live.to_string()), "after {after}");
        assert_eq!(self.previous(), self.replaced.len(), "after {after}");
        let listed = self.listed();
        for (key, (rows, _)) in &self.backups {
            assert_eq!(listed.get(key), Some(&(rows + 1)), "{key} after {after}: {listed:?}");
        }
        for (key, rows) in listed {
            if !self.backups.contains_key(&key) {
                let at = self.killed.iter().position(|killed| killed + 1 == rows);
                let rows = self.killed.remove(at.unwrap_or_else(|| panic!("{key} with {rows} rows after {after}")));
                self.backups.insert(key, (rows, false));
            }
        }
    }
}

#[test]
fn whatever_comes_after_whatever_nothing_is_lost() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = number("SEED").unwrap_or(u64::from(now));
    let steps = number("STEPS").map_or(FEW, |number| usize::try_from(number).unwrap());
    eprintln!("SEED={seed}");
    let mut model = Model::new(seed);
    let mut done = Vec::new();
    for _ in 0..steps {
        let step = model.step();
        done.push(step);
        let told = format!("SEED={seed} STEPS={} after {done:#?}", done.len());
        model.holds(&told);
    }
    // What is left of killed runs goes with the next one, and each backup restores.
    model.service.backup();
    let staging = |name: &String| name.starts_with("pgbackup_") && !name.starts_with("pgbackup_previous_");
    assert!(!model.service.databases().iter().any(staging), "SEED={seed} after {done:#?}");
    for key in model.listed().into_keys() {
        let run = model.service.pgbackup("verify", &[&key]);
        assert_eq!(run.code, 0, "SEED={seed} {key} after {done:#?}: {}", run.seen());
    }
}
