//! A limit for what may never answer: a docker that hangs, a server that accepts and is silent, a share that is away.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::interrupt;

/// How often we look whether we were asked to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Does something in a thread of its own and waits as long as `limit` for it; what hasn't answered by then is left behind, and ends
/// with the process.
///
/// # Errors
/// What it failed with, that it took too long, or that we were asked to stop.
pub fn bounded<T: Send + 'static>(limit: Duration, what: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    wait(limit, true, what)
}

/// The same for what has to be cleaned up: also when we were asked to stop.
///
/// # Errors
/// See [`bounded`].
pub fn to_the_end<T: Send + 'static>(limit: Duration, what: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    wait(limit, false, what)
}

fn wait<T: Send + 'static>(
    limit: Duration,
    stops: bool,
    what: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(what()));
    let began = Instant::now();
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("the check ended without a result")),
            Err(RecvTimeoutError::Timeout) if began.elapsed() >= limit => {
                return Err(anyhow!("no answer within {} seconds", limit.as_secs()));
            }
            Err(RecvTimeoutError::Timeout) if stops => interrupt::check()?,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever() {
        assert_eq!(bounded(Duration::from_secs(5), || Ok(1)).unwrap(), 1);
        assert!(bounded::<()>(Duration::from_secs(5), || Err(anyhow!("no"))).is_err());
        let began = Instant::now();
        let error = bounded(Duration::from_millis(200), || {
            std::thread::sleep(Duration::from_mins(1));
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "no answer within 0 seconds");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
