//! Ctrl-C, a closed ssh session and `kill` as a flag that the pipeline looks at.
//!
//! Signals only set a flag: the loops that move bytes look at it, return [`Interrupted`], and the guards on the way out do
//! the cleaning (staging database dropped, multipart upload aborted, connections opened again, lock released). A second
//! signal doesn't cut that short: half a clean-up is what a user must never be left with. Ctrl-\ is taken the same way: whoever types it
//! wants the command to end, and not an image of our memory with its passwords on the disk.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// We were asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Starts listening. Called once, by `main`.
///
/// # Errors
/// When the system refuses the signal handlers.
pub fn listen() -> std::io::Result<()> {
    let flag = FLAG.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

/// Whether we were asked to stop.
pub fn requested() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Returns [`Interrupted`] once we were asked to stop.
///
/// # Errors
/// [`Interrupted`].
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}

/// How often a watch looks at the flag.
const LOOK: Duration = Duration::from_millis(50);

/// Does something as soon as we are asked to stop, until this is dropped.
#[derive(Debug)]
pub struct Watch(Arc<AtomicBool>);

/// Has `action` done when we are asked to stop: for calls that block where nobody can look at the flag (a query, a pipe). `None` when
/// we were asked already: what is begun after that is the clean-up, and is not to be cut short.
pub fn watch(action: impl FnOnce() + Send + 'static) -> Option<Watch> {
    if requested() {
        return None;
    }
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            if requested() {
                action();
                return;
            }
            std::thread::sleep(LOOK);
        }
    });
    Some(Watch(over))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream whose other end may be stuck (a pipe into our standard input): waiting for it ends when we are asked to stop. It must not be
/// buffered: what waits in a buffer can't be seen from outside.
#[derive(Debug)]
pub struct Awaited<S>(pub S);

impl<S: AsFd + Read> Read for Awaited<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pause = Timespec::try_from(LOOK).map_err(io::Error::other)?;
        loop {
            check().map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&pause)) {
                // Also when it is closed or broken: the read says so.
                Ok(ready) if ready > 0 => return self.0.read(buffer),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_awaited_arrives_whole() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let sent = vec![7; 300_000];
        let mut received = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).unwrap();
                drop(writer);
            });
            Awaited(reader).read_to_end(&mut received).unwrap();
        });
        assert_eq!(received, sent);
    }
}
