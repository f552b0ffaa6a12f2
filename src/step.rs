//! Named points in what a command does, where tests have it die: `step!("swap.exchanged")` stands right behind what it is named after.
//!
//! Only debug builds know them, and tests run those; nothing of it is in a release. The variable `PGBACKUP_STEP` says what is done there:
//! `note FILE` writes the name of each point that is passed into a file; `kill NAME`, `term NAME`, `stop NAME` and `panic NAME` strike when
//! that one is passed for the first time. The names are read out of the sources by tests/at_every_step.rs, which fails when a point is passed by
//! none of its runs.

macro_rules! step {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::step::passed($name);
    };
}
pub(crate) use step;

/// Does what the environment says is to be done at this point.
///
/// # Panics
/// When it says so.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "for tests alone, and in no release")]
pub fn passed(name: &str) {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static STRUCK: AtomicBool = AtomicBool::new(false);
    let Ok(wish) = std::env::var("PGBACKUP_STEP") else { return };
    let Some((what, of)) = wish.split_once(' ') else { return };
    if what == "note" {
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(of) {
            let _ = file.write_all(format!("{name}\n").as_bytes());
        }
    } else if of == name && !STRUCK.swap(true, Ordering::Relaxed) {
        let signal = match what {
            "kill" => Signal::KILL,
            "term" => Signal::TERM,
            "stop" => Signal::STOP,
            _ => panic!("a test wants it so at {name}"),
        };
        let _ = kill_process(getpid(), signal);
        // The signal may reach another thread: nothing goes on before it has.
        while signal == Signal::KILL || signal == Signal::TERM && !crate::interrupt::requested() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
