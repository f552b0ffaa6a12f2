//! How fast bytes go: one clock for all that is sent and read, so that a host's line stays usable while a backup runs.
//!
//! Each piece books its time behind all booked before it and waits for its turn. Several parts on their way share the rate
//! in turns; nothing is saved up while nobody sends, so there are no bursts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::features::Rate;

/// A rate that many share.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: u64,
    free: Arc<Mutex<Instant>>,
}

impl Pace {
    /// At most so fast.
    pub fn new(rate: Rate) -> Self {
        Self { rate: rate.0.max(1), free: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Books the time for so many bytes; they may go at the returned moment.
    pub fn book(&self, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free).max(Instant::now());
        *free = turn + self.duration(bytes);
        turn
    }

    fn duration(&self, bytes: usize) -> Duration {
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// The size of pieces that keep it moving: a quarter of a second each.
    pub fn piece(&self, most: usize) -> usize {
        usize::try_from(self.rate / 4).unwrap_or(usize::MAX).clamp(1, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_one_rate_and_nothing_is_saved_up() {
        let pace = Pace::new(Rate(1_000_000));
        std::thread::sleep(Duration::from_millis(20));
        let began = Instant::now();
        let other = pace.clone();
        let turns = [pace.book(100_000), other.book(100_000), pace.book(100_000), other.book(0)];
        for (number, turn) in turns.into_iter().enumerate() {
            let wanted = Duration::from_millis(100 * number as u64);
            let waits = turn.saturating_duration_since(began);
            assert!(
                waits >= wanted.saturating_sub(Duration::from_millis(1)) && waits < wanted + Duration::from_millis(50),
                "{waits:?}"
            );
        }
        assert_eq!((pace.piece(256 * 1024), Pace::new(Rate(65_536)).piece(256 * 1024)), (250_000, 16_384));
    }
}
