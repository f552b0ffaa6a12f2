//! What runs have said, kept for the day somebody asks why: one file per run, written line by line, so that also a run that was killed
//! has its log.
//!
//! `<data>/<service>/runs/20261124T030000.123456Z-backup-4711.log` (0600), each line with its time. Bounded: the newest 200 runs of a
//! service, and of each its first megabyte.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::durable;

/// How many runs of a service are kept.
const KEPT: usize = 200;
/// How much of one run.
const LARGEST: u64 = 1 << 20;
/// The time in a file's name: sorts as text.
const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";

/// The logs of a service.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: PathBuf,
}

/// A run's log on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    path: PathBuf,
    /// The command: `backup`.
    pub doing: String,
    /// When it began.
    pub began: Timestamp,
    /// When it said its last word.
    pub ended: Timestamp,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was said.
    pub at: Timestamp,
    /// What the user saw.
    pub text: String,
}

impl Logs {
    /// The logs of a service; `folder` is the service's own below the plugin's data (`…/data/pgbackup/<service>`).
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.join("runs") }
    }

    /// Begins the log of a run, and forgets the oldest ones.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(&self, doing: &str, began: Timestamp) -> Result<Recorder> {
        durable::make_folder(&self.folder, 0o700)?;
        for old in self.all().into_iter().rev().skip(KEPT - 1) {
            let _ = fs::remove_file(old.path);
        }
        let word: String = doing.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
        let path = self.folder.join(format!("{}-{word}-{}.log", began.strftime(TIME), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("{} can't be made", path.display()))?;
        Ok(Recorder { file, written: 0 })
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<Log> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut logs: Vec<Log> = entries.filter_map(|entry| Log::of_file(entry.path())).collect();
        logs.sort_by(|one, other| (one.began, &one.path).cmp(&(other.began, &other.path)));
        logs
    }
}

impl Log {
    fn of_file(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
        let (began, rest) = name.split_once('-')?;
        let (doing, _pid) = rest.rsplit_once('-')?;
        let began = jiff::civil::DateTime::strptime(TIME, began).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        let ended = Timestamp::try_from(fs::metadata(&path).ok()?.modified().ok()?).ok()?;
        Some(Self { doing: doing.to_owned(), began: began.timestamp(), ended, path })
    }

    /// Whether something that ended at this moment was done by this run: a service has one run at a time.
    pub fn holds(&self, at: Timestamp) -> bool {
        // What is written last (that the run is in the history) may be a moment later than the last word.
        self.began <= at && at <= self.ended + SignedDuration::from_secs(2)
    }

    /// What was said, in order. A line that a power cut left half is passed over.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn lines(&self) -> Result<Vec<Line>> {
        let text = durable::read(&self.path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = |line: &str| {
            let (at, text) = line.split_once(' ')?;
            Some(Line { at: at.parse().ok()?, text: text.to_owned() })
        };
        Ok(text.lines().filter_map(line).collect())
    }
}

/// A log being written.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    written: u64,
}

impl Recorder {
    fn line(&mut self, text: &str) -> io::Result<()> {
        if self.written > LARGEST {
            return Ok(());
        }
        let line = format!("{:.3} {text}\n", Timestamp::now());
        self.written += line.len() as u64;
        if self.written > LARGEST {
            return self
                .file
                .write_all(format!("{:.3} (what was said after this is not kept)\n", Timestamp::now()).as_bytes());
        }
        self.file.write_all(line.as_bytes())
    }
}

/// Takes whole lines.
impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.line(line)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn keeps_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::of(folder.path());
        assert_eq!(logs.all(), []);
        let mut recorder = logs.begin("restore:commit", at(1_700_000_000)).unwrap();
        recorder.write_all(b"-----> one\n       two\n").unwrap();
        let log = logs.all().remove(0);
        assert_eq!((log.doing.as_str(), log.began), ("restore:commit", at(1_700_000_000)));
        let said: Vec<String> = log.lines().unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(said, ["-----> one", "       two"]);
        assert!(log.holds(Timestamp::now()) && log.holds(log.began) && !log.holds(at(1_699_999_999)));
        assert_eq!(fs::metadata(&log.path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn is_bounded_in_number_and_in_size() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::of(folder.path());
        for second in 0..210 {
            logs.begin("backup", at(second)).unwrap();
        }
        let all = logs.all();
        assert_eq!((all.len(), all[0].began), (KEPT, at(10)));
        let mut recorder = logs.begin("backup", at(1_000)).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..2_000 {
            recorder.write_all(line.as_bytes()).unwrap();
        }
        let log = logs.all().pop().unwrap();
        assert!(fs::metadata(&log.path).unwrap().len() < LARGEST + 200);
        assert_eq!(log.lines().unwrap().pop().unwrap().text, "(what was said after this is not kept)");
    }
}
