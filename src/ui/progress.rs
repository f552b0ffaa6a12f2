//! Progress of long work: a bar with rate and time left on a terminal, else a line now and then for the log.
//!
//! The handle is cheap to clone and to call from any thread: the loops that move bytes call [`Progress::add`] for every
//! block. Without a terminal a line appears at each tenth of the work, or after 30 s without one, also when nothing moves.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{Ui, human, lock};

/// A log that shows nothing for longer looks like a hung command.
const SILENCE: Duration = Duration::from_secs(30);
/// How often that is looked at while nothing moves.
const LOOK: Duration = Duration::from_secs(1);
/// A screen with so many columns shows a bar, too.
const WIDE: u16 = 120;
/// Work that is done sooner needs no line at all.
const SHORT: Duration = Duration::from_secs(5);

/// Long work in progress. Dropping the last clone ends it.
#[derive(Clone)]
pub struct Progress {
    work: Arc<Work>,
}

struct Work {
    ui: Ui,
    label: String,
    total: AtomicU64,
    done: AtomicU64,
    begun: Instant,
    bar: Option<ProgressBar>,
    told: Mutex<Told>,
}

/// What the log has been told.
struct Told {
    tenths: u64,
    at: Instant,
}

impl Progress {
    pub(super) fn new(ui: Ui, label: &str, total: Option<u64>) -> Self {
        let bar = ui.can_draw().then(|| draw(label, total));
        if let Some(bar) = &bar {
            ui.show_bar(Some(bar.clone()));
        }
        let now = Instant::now();
        let work = Work {
            ui,
            label: label.to_owned(),
            total: AtomicU64::new(total.unwrap_or_default()),
            done: AtomicU64::new(0),
            begun: now,
            bar,
            told: Mutex::new(Told { tenths: 0, at: now }),
        };
        let work = Arc::new(work);
        if work.bar.is_none() {
            look_from_time_to_time(Arc::downgrade(&work));
        }
        Self { work }
    }

    /// So many more bytes are done.
    pub fn add(&self, bytes: u64) {
        let done = self.work.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &self.work.bar {
            bar.inc(bytes);
        } else {
            self.work.tell(done, Instant::now());
        }
    }

    /// The total is known now, or known better.
    pub fn set_total(&self, total: u64) {
        self.work.total.store(total, Ordering::Relaxed);
        if let Some(bar) = &self.work.bar {
            bar.set_style(style(true, is_wide()));
            bar.set_length(total);
        }
    }

    /// Bytes done so far.
    pub fn done(&self) -> u64 {
        self.work.done.load(Ordering::Relaxed)
    }
}

impl Work {
    /// Tells the log how far it is, if it is time for that.
    fn tell(&self, done: u64, now: Instant) {
        let Ok(mut told) = self.told.try_lock() else { return };
        let total = self.total.load(Ordering::Relaxed);
        let tenths = (u128::from(done) * 10).checked_div(u128::from(total)).map_or(0, |tenths| tenths.min(10) as u64);
        let elapsed = now.duration_since(self.begun);
        let is_time = (tenths > told.tenths && elapsed >= SHORT) || now.duration_since(told.at) >= SILENCE;
        if is_time {
            *told = Told { tenths, at: now };
            drop(told);
            self.ui.detail(sentence(&self.label, done, total, elapsed));
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.ui.show_bar(None);
        }
        drop(lock(&self.told));
    }
}

/// Where nothing moves (a lock, a slow store, a large index), the log hears of that, too.
fn look_from_time_to_time(work: Weak<Work>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK);
            let Some(work) = work.upgrade() else { return };
            work.tell(work.done.load(Ordering::Relaxed), Instant::now());
        }
    });
}

/// `Saving prod: 40%, 1.2GiB of 3.0GiB, 85.0MiB/s, 21s left`.
fn sentence(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX);
    if total == 0 || done > total {
        return format!("{label}: {}, {}/s", human::size(done), human::size(rate));
    }
    let percent = u128::from(done) * 100 / u128::from(total);
    let left = match (total - done).checked_div(rate) {
        Some(seconds) if done < total => format!(", {} left", human::duration(Duration::from_secs(seconds))),
        _ => String::new(),
    };
    format!("{label}: {percent}%, {} of {}, {}/s{left}", human::size(done), human::size(total), human::size(rate))
}

fn draw(label: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
    bar.set_style(style(total.is_some(), is_wide()));
    bar.set_message(crate::text::printable(label).into_owned());
    bar
}

/// A screen that has room for a picture beside the name of a backup and the numbers.
fn is_wide() -> bool {
    rustix::termios::tcgetwinsize(io::stderr()).is_ok_and(|size| size.ws_col >= WIDE)
}

fn style(bounded: bool, wide: bool) -> ProgressStyle {
    let template = match (bounded, wide) {
        (true, true) => {
            "       {wide_msg} [{bar:24}] {percent:>3}% {binary_bytes} of {binary_total_bytes} {binary_bytes_per_sec} {left}"
        }
        (true, false) => {
            "       {wide_msg} {percent}% {binary_bytes} of {binary_total_bytes} {binary_bytes_per_sec} {left}"
        }
        (false, _) => "       {wide_msg} {binary_bytes} {binary_bytes_per_sec} {elapsed}",
    };
    // While nothing has moved nobody knows.
    let left = |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = if state.pos() == 0 { Ok(()) } else { write!(text, "{:#} left", HumanDuration(state.eta())) };
    };
    // A template that can't be read shows the default bar: a test reads both.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("left", left).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_hears_each_tenth_once() {
        let (ui, said) = Ui::captured(false);
        let progress = Progress::new(ui, "Saving", Some(1000));
        let later = progress.work.begun + Duration::from_secs(10);
        for done in [50, 100, 150, 199, 200] {
            progress.work.tell(done, later);
        }
        assert_eq!(
            said.out(),
            "       Saving: 10%, 100B of 1000B, 10B/s, 1m30s left\n       Saving: 20%, 200B of 1000B, 20B/s, 40.0s left\n"
        );
    }

    #[test]
    fn the_log_hears_something_every_half_minute() {
        let (ui, said) = Ui::captured(false);
        let progress = Progress::new(ui, "Saving", None);
        progress.work.tell(10, progress.work.begun + Duration::from_secs(29));
        progress.work.tell(2048, progress.work.begun + Duration::from_secs(31));
        assert_eq!(said.out(), "       Saving: 2.0KiB, 66B/s\n");
    }

    #[test]
    fn short_work_makes_no_lines() {
        let (ui, said) = Ui::captured(false);
        let progress = ui.progress("Saving", Some(100));
        let clone = progress.clone();
        std::thread::spawn(move || clone.add(100)).join().unwrap();
        assert_eq!(progress.done(), 100);
        drop(progress);
        assert_eq!(said.out(), "");
    }

    #[test]
    fn templates_are_readable() {
        let bar = ProgressBar::hidden();
        for (bounded, wide) in [(true, true), (true, false), (false, false)] {
            bar.set_style(style(bounded, wide));
        }
        assert!(ProgressStyle::with_template("{bar:24} {percent:>3}% {binary_bytes_per_sec} {eta}").is_ok());
    }
}
