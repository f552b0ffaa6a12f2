//! Bytes that somebody else has made (faults.md D11): the corpus of the fuzzer, the golden files, and what is near to them, for a moment in
//! the suite; `FUZZ=60 make test T=d11` takes a minute for each kind, `SEED=…` the same bytes again. fuzz/README.md has the real fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[path = "../fuzz/targets.rs"]
mod targets;

use targets::TARGETS;

/// How long the suite tries each kind.
const MOMENT: Duration = Duration::from_millis(250);

/// Numbers that look like chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }

    /// Bytes near to some of these.
    fn near(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let to = at + self.below(bytes.len() - at + 1).min(64);
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..to)),
                2 => {
                    let piece = bytes[at..to].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    let piece = other[from..(from + 200).min(other.len())].to_vec();
                    bytes.splice(at..to, piece);
                }
                4 if at < bytes.len() => bytes[at] = [0, 0x7f, 0x80, 0xff, b'"', b'\\', b'\n', b'9'][self.below(8)],
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.push(u8::try_from(self.below(256)).unwrap()),
            }
        }
        bytes
    }
}

fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(ending));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[expect(clippy::disallowed_methods, reason = "what is tried is said by the environment")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn d11_no_bytes_make_a_reader_panic() {
    let seed = variable("SEED").unwrap_or_else(|| u64::try_from(jiff::Timestamp::now().as_nanosecond() >> 10).unwrap());
    let time = variable("FUZZ").map_or(MOMENT, Duration::from_secs);
    for (name, target) in TARGETS {
        let mut seeds = files(&format!("fuzz/corpus/{name}"), "");
        match name {
            "custom" => seeds.extend(files("tests/golden", ".dump")),
            "plain" => seeds.extend(files("tests/golden", ".sql")),
            _ => {}
        }
        let mut chance = Chance(seed | 1);
        let attempt = |bytes: &[u8], number: u64| {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(bytes))) {
                let path = std::env::temp_dir().join(format!("pgbackup-{name}-{seed}-{number}"));
                fs::write(&path, bytes).unwrap();
                eprintln!("{name} panics at {} (SEED={seed}, number {number})", path.display());
                resume_unwind(panic);
            }
        };
        assert!(!seeds.is_empty(), "{name} has no corpus");
        for (number, bytes) in (0..).zip(&seeds) {
            attempt(bytes, number);
        }
        let (began, mut number) = (Instant::now(), 1000);
        while began.elapsed() < time {
            attempt(&chance.near(&seeds), number);
            number += 1;
        }
        eprintln!("{name}: {} attempts in {time:?}", number - 1000);
    }
}
