//! One run per service at a time, held by the kernel: `flock` on a file, gone with the process that has it.
//!
//! What stands in the file is only for the message of the one who is refused. It names the process by id, boot and
//! start time, so that a text left behind by `kill -9` or a reboot is never taken for a run that still goes on.
//!
//! What brings a database back doesn't queue behind what cron has begun: a second file says that it waits, and others let it go first.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::durable::{self, Locked};
use crate::error::{Failure, Kind};
use crate::service::name::ServiceName;

/// Commands that go first where several wait.
const FIRST: [&str; 3] = ["restore", "restore:commit", "rollback"];

/// A service that is ours until this is dropped, or until we die.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Who has a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process id.
    pub pid: u32,
    /// `/proc/sys/kernel/random/boot_id`: ids are given again after a reboot.
    pub boot: String,
    /// The process's start in clock ticks since that boot: ids are given again within one, too.
    pub process_start: u64,
    /// The command: `backup`.
    pub doing: String,
    /// Since when.
    pub since: Timestamp,
}

impl Lock {
    /// Takes a service for one run, waiting as long as `wait` for the one that has it. `data` is the plugin's data folder
    /// (`$DOKKU_LIB_ROOT/data/pgbackup`), `doing` the command's name.
    ///
    /// # Errors
    /// [`Kind::Busy`] when another run has it, with who that is.
    pub fn take(data: &Path, service: &ServiceName, doing: &str, wait: Duration) -> Result<Self, Failure> {
        let path = path(data, service);
        let locked = (|| {
            durable::make_folder(path.parent().unwrap_or(data), 0o700)?;
            if FIRST.contains(&doing) { take_first(&path, wait) } else { take_behind(&path, wait) }
        })();
        match locked {
            Ok(Locked::Ours(file)) => {
                let mut lock = Self { file };
                // Without the text the lock is as good; the one who is refused is told less.
                let _ = Owner::ourselves(doing).and_then(|owner| lock.write(&owner));
                Ok(lock)
            }
            Ok(Locked::Theirs) => Err(busy(service, doing, Self::owner(data, service).as_ref(), Timestamp::now())),
            Err(error) if error.is::<crate::interrupt::Interrupted>() => Err(Failure::from_error(error)),
            Err(error) => Err(Failure::failed(format!("The service {service} can't be locked for this run"))
                .because(error)
                .hint(format!("The folder {} must be writable for the user dokku", data.display()))),
        }
    }

    /// Who has a service at this moment, as far as it is known; takes no lock itself, so it is in nobody's way.
    pub fn owner(data: &Path, service: &ServiceName) -> Option<Owner> {
        let text = durable::read(&path(data, service)).ok()??;
        let owner: Owner = serde_json::from_slice(&text).ok()?;
        owner.lives().then_some(owner)
    }

    fn write(&mut self, owner: &Owner) -> Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(owner)?)?;
        Ok(())
    }
}

/// Waits in front of all others.
fn take_first(path: &Path, wait: Duration) -> Result<Locked> {
    if wait.is_zero() {
        return durable::lock(path, wait);
    }
    let until = Instant::now() + wait;
    let Locked::Ours(_place) = durable::lock(&first(path), wait)? else { return Ok(Locked::Theirs) };
    durable::lock(path, until.saturating_duration_since(Instant::now()))
}

/// Waits until nobody goes first.
fn take_behind(path: &Path, wait: Duration) -> Result<Locked> {
    durable::lock_when(path, wait, || Ok(!durable::is_locked(&first(path))?))
}

/// The file that is held by the one who goes first.
fn first(path: &Path) -> PathBuf {
    path.with_extension("first")
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The text first: closing the file is what lets others in.
        let _ = self.file.set_len(0);
    }
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn ourselves(doing: &str) -> Result<Self> {
        let pid = std::process::id();
        Ok(Self {
            pid,
            boot: boot_id()?,
            process_start: process_start(pid)?,
            doing: doing.to_owned(),
            since: Timestamp::now(),
        })
    }

    /// Whether that very process is still there.
    pub fn lives(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
            && process_start(self.pid).is_ok_and(|start| start == self.process_start)
    }
}

impl Owner {
    /// Asks that very process to stop, as Ctrl-C would. Returns whether it was still there.
    ///
    /// # Errors
    /// When the system refuses (it runs as another user).
    pub fn ask_to_stop(&self) -> Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        // The handle is taken first and the process looked at then: whatever gets its id later is not what the handle means.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !self.lives() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, Signal::TERM) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn path(data: &Path, service: &ServiceName) -> PathBuf {
    data.join(service.as_str()).join("lock")
}

fn boot_id() -> Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("Can't read the boot id")?;
    Ok(text.trim().to_owned())
}

/// Field 22 of `/proc/<pid>/stat`; the second one is a program's name in parentheses, which may hold anything.
fn process_start(pid: u32) -> Result<u64> {
    let mut text = Vec::new();
    File::open(format!("/proc/{pid}/stat"))?.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (_, rest) = text.rsplit_once(')').context("no program name")?;
    rest.split_whitespace().nth(19).context("no start time")?.parse().context("no number")
}

fn busy(service: &ServiceName, doing: &str, owner: Option<&Owner>, now: Timestamp) -> Failure {
    let Some(owner) = owner else {
        return Failure::new(Kind::Busy, format!("Another run of pgbackup has the service {service}"))
            .hint(format!("Nothing was done; run {doing} again when it has ended"));
    };
    // The day only when it is not today.
    let format = if now.strftime("%F").to_string() == owner.since.strftime("%F").to_string() {
        "%H:%M:%S UTC"
    } else {
        "%F %H:%M:%S UTC"
    };
    let what = crate::text::printable(&owner.doing);
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let what = format!("{first}{}", letters.as_str());
    Failure::new(
        Kind::Busy,
        format!("{what} of {service} is running since {} (pid {})", owner.since.strftime(format), owner.pid),
    )
    .hint(format!("Nothing was done; run {doing} again when it has ended, or with --wait"))
    .hint(format!("Or end it: dokku pgbackup:cancel {service}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prod() -> ServiceName {
        "prod".parse().unwrap()
    }

    #[test]
    fn the_second_run_is_told_who_has_it() {
        let data = tempfile::tempdir().unwrap();
        let held = Lock::take(data.path(), &prod(), "backup", Duration::ZERO).unwrap();
        let refused = Lock::take(data.path(), &prod(), "restore", Duration::from_millis(20)).unwrap_err();
        assert_eq!(refused.kind, Kind::Busy);
        let pid = std::process::id();
        assert!(refused.message.starts_with("Backup of prod is running since "), "{refused}");
        assert!(refused.message.ends_with(&format!(" UTC (pid {pid})")), "{refused}");
        assert!(Lock::take(data.path(), &"other".parse().unwrap(), "backup", Duration::ZERO).is_ok());
        assert_eq!(Lock::owner(data.path(), &prod()).unwrap().doing, "backup");
        drop(held);
        assert_eq!(Lock::owner(data.path(), &prod()), None);
        // A program that another test starts holds what was open for a moment, until it is itself.
        Lock::take(data.path(), &prod(), "restore", Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn what_a_dead_run_left_is_no_lock_and_no_owner() {
        let data = tempfile::tempdir().unwrap();
        let mut owner = Owner::ourselves("backup").unwrap();
        std::fs::create_dir_all(data.path().join("prod")).unwrap();
        for change in ["boot", "start", "garbage"] {
            match change {
                "boot" => owner.boot = "before the reboot".into(),
                "start" => {
                    owner = Owner::ourselves("backup").unwrap();
                    owner.process_start += 1;
                }
                _ => {}
            }
            let text = if change == "garbage" { b"{".to_vec() } else { serde_json::to_vec(&owner).unwrap() };
            std::fs::write(path(data.path(), &prod()), text).unwrap();
            assert_eq!(Lock::owner(data.path(), &prod()), None, "{change}");
            Lock::take(data.path(), &prod(), "backup", Duration::from_secs(10)).unwrap();
        }
    }

    #[test]
    fn waits_for_its_turn() {
        let data = tempfile::tempdir().unwrap();
        let held = Lock::take(data.path(), &prod(), "backup", Duration::ZERO).unwrap();
        let release = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(120));
            drop(held);
        });
        Lock::take(data.path(), &prod(), "restore", Duration::from_secs(10)).unwrap();
        release.join().unwrap();
    }

    #[test]
    fn a_restore_goes_before_those_who_waited_longer() {
        let data = tempfile::tempdir().unwrap();
        let held = Lock::take(data.path(), &prod(), "verify", Duration::ZERO).unwrap();
        let (sender, order) = std::sync::mpsc::channel();
        let wait = |doing: &'static str| {
            let (data, sender) = (data.path().to_owned(), sender.clone());
            std::thread::spawn(move || {
                let lock = Lock::take(&data, &prod(), doing, Duration::from_secs(10)).unwrap();
                sender.send(doing).unwrap();
                drop(lock);
            })
        };
        let waiting = [wait("backup"), wait("prune"), wait("rollback")];
        let first = first(&path(data.path(), &prod()));
        while !durable::is_locked(&first).unwrap() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Not even in the moment in between.
        drop(held);
        for thread in waiting {
            thread.join().unwrap();
        }
        assert_eq!(order.recv().unwrap(), "rollback");
        assert!(!durable::is_locked(&first).unwrap());
    }

    #[test]
    fn yesterdays_run_shows_its_day() {
        let mut owner = Owner::ourselves("verify").unwrap();
        owner.since = "2026-11-22T23:59:01Z".parse().unwrap();
        owner.pid = 7;
        let text = busy(&prod(), "backup", Some(&owner), "2026-11-23T00:01:00Z".parse().unwrap()).message;
        assert_eq!(text, "Verify of prod is running since 2026-11-22 23:59:01 UTC (pid 7)");
        let text = busy(&prod(), "backup", Some(&owner), "2026-11-22T23:59:59Z".parse().unwrap()).message;
        assert_eq!(text, "Verify of prod is running since 23:59:01 UTC (pid 7)");
    }
}
