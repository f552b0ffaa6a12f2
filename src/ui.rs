//! Dokku's voice, and everything else that a user sees. Nothing else in the house prints.
//!
//! Standard output is for data and for the voice that goes with it; warnings and failures go to standard error. The shapes
//! are Dokku's: `-----> ` begins a step, `=====> ` is a header or an outcome, seven spaces are a detail, ` !     ` warns or
//! fails, ` ?     ` is for `--trace`. `--quiet` silences steps, headers, details and progress, never data, outcomes,
//! warnings or failures. What came from outside (names, labels, a server's words) is shown with its terminal escapes
//! written out.
//!
//! The voice ignores a standard output that was closed (`… | head`): a backup must not die of it. Data doesn't: it returns
//! [`OutputClosed`], which ends the command and counts as success.

pub mod comparison;
pub mod human;
pub mod metered;
pub mod progress;
pub mod prompt;
pub mod table;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::error::Failure;
use crate::text::printable;

pub use metered::Metered;
pub use progress::Progress;
pub use table::{Column, Table};

/// Whoever read our standard output has gone; there is nothing more to do, and nothing wrong.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct OutputClosed;

/// The voice. Clones speak through the same mouth, from any thread.
#[derive(Clone)]
pub struct Ui {
    shared: Arc<Shared>,
}

#[expect(clippy::struct_excessive_bools, reason = "switches of a process and what it is connected to")]
struct Shared {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    /// The bar on the screen, which must step aside for every line.
    bar: Mutex<Option<ProgressBar>>,
    quiet: bool,
    trace: bool,
    /// Standard error is a terminal: bars can be drawn.
    draws: bool,
    /// Standard output is a terminal: pictures made of letters can be shown.
    screen: bool,
    /// Where what is said is written down as well.
    record: Mutex<Option<Box<dyn Write + Send>>>,
    /// Standard output belongs to data alone: the voice speaks on standard error.
    reserved: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Ui {
    /// The voice of a process.
    pub fn of_process(quiet: bool, trace: bool) -> Self {
        let draws = io::stderr().is_terminal() && !quiet;
        let mut ui = Self::new(Box::new(io::stdout()), Box::new(io::stderr()), quiet, trace, draws);
        if let Some(shared) = Arc::get_mut(&mut ui.shared) {
            shared.screen = io::stdout().is_terminal();
        }
        ui
    }

    fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, quiet: bool, trace: bool, draws: bool) -> Self {
        let shared = Shared {
            out: Mutex::new(out),
            err: Mutex::new(err),
            bar: Mutex::new(None),
            quiet,
            trace,
            draws,
            screen: false,
            record: Mutex::new(None),
            reserved: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A voice that is written down instead, for tests.
    pub fn captured(quiet: bool) -> (Self, Captured) {
        let captured = Captured::default();
        let ui = Self::new(Box::new(captured.out.clone()), Box::new(captured.err.clone()), quiet, false, false);
        (ui, captured)
    }

    /// Keeps standard output for data alone from here on; the voice moves to standard error. For `--format json` and for
    /// commands that write an object to standard output.
    pub fn reserve_output(&self) {
        self.shared.reserved.store(true, Ordering::Relaxed);
    }

    /// Has everything that is said from here on written down there too, line by line, with `--quiet` as well: all but data.
    pub fn record(&self, record: Option<Box<dyn Write + Send>>) {
        *lock(&self.shared.record) = record;
    }

    /// Whether `--quiet` was given.
    pub fn is_quiet(&self) -> bool {
        self.shared.quiet
    }

    /// Whether pictures made of letters have somebody to look at them.
    pub fn shows_pictures(&self) -> bool {
        self.shared.screen
    }

    /// A step begins: `-----> Dumping prod`.
    pub fn step(&self, text: impl AsRef<str>) {
        self.voice("-----> ", text.as_ref());
    }

    /// A header: `=====> prod pgbackup information`.
    pub fn header(&self, text: impl AsRef<str>) {
        self.voice("=====> ", text.as_ref());
    }

    /// A detail of the step or header above it.
    pub fn detail(&self, text: impl AsRef<str>) {
        self.voice("       ", text.as_ref());
    }

    /// What a command has achieved: `=====> Saved prod as postgres-prod-….tgz`. With `--quiet`, `bare` alone (the key), for
    /// scripts; nothing where it is empty.
    pub fn outcome(&self, text: impl AsRef<str>, bare: &str) {
        self.voice("=====> ", text.as_ref());
        if self.shared.quiet && !bare.is_empty() {
            let _ = self.shared.line(self.shared.voice_stream(), "", bare);
        }
    }

    /// A warning, on standard error, also with `--quiet`.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.shared.write_down(" !     ", text.as_ref());
        let _ = self.shared.line(Stream::Err, " !     ", text.as_ref());
    }

    /// What only `--trace` shows, on standard error.
    pub fn debug(&self, text: impl AsRef<str>) {
        if self.shared.trace {
            self.shared.write_down(" ?     ", text.as_ref());
            let _ = self.shared.line(Stream::Err, " ?     ", text.as_ref());
        }
    }

    /// A failure, with what to type next below it, on standard error.
    pub fn fail(&self, failure: &Failure) {
        self.warn(failure.to_string());
        for hint in &failure.hints {
            self.warn(hint);
        }
    }

    /// One line of data, as it is but for terminal escapes, also with `--quiet`.
    ///
    /// # Errors
    /// [`OutputClosed`], or why it can't be written.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        data(self.shared.line(Stream::Out, "", text.as_ref()))
    }

    /// A table of data.
    ///
    /// # Errors
    /// See [`Self::line`].
    pub fn table(&self, table: &Table) -> Result<()> {
        let lines = self.width().map_or_else(|| table.lines(), |width| table.lines_within(width));
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// A table as details of a step (a restore's plan, a comparison), silenced by `--quiet`.
    pub fn detail_table(&self, table: &Table) {
        table.lines().into_iter().for_each(|line| self.detail(line));
    }

    /// How many columns the screen has, where there is one.
    fn width(&self) -> Option<usize> {
        let size = self.shared.screen.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten()?;
        Some(usize::from(size.ws_col)).filter(|width| *width > 0)
    }

    /// One JSON value on one line.
    ///
    /// # Errors
    /// See [`Self::line`].
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        // JSON has its own way of writing control characters.
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        let mut out = lock(&self.shared.out);
        data(out.write_all(&text).and_then(|()| out.flush()))
    }

    /// Standard output for bytes: an object that is downloaded to `-`. Call [`Self::reserve_output`] first.
    pub fn bytes(&self) -> impl Write + Send + use<> {
        Bytes(Arc::clone(&self.shared))
    }

    /// Progress of long work; `total` in bytes where it is known. It goes away when all clones of the handle are dropped.
    pub fn progress(&self, label: &str, total: Option<u64>) -> Progress {
        Progress::new(self.clone(), label, total)
    }

    fn voice(&self, prefix: &str, text: &str) {
        self.shared.write_down(prefix, text);
        if !self.shared.quiet {
            let _ = self.shared.line(self.shared.voice_stream(), prefix, text);
        }
    }

    fn can_draw(&self) -> bool {
        self.shared.draws
    }

    /// Takes a bar onto the screen, or the last one away.
    fn show_bar(&self, bar: Option<ProgressBar>) {
        *lock(&self.shared.bar) = bar;
    }
}

impl Shared {
    fn voice_stream(&self) -> Stream {
        if self.reserved.load(Ordering::Relaxed) { Stream::Err } else { Stream::Out }
    }

    /// For the log of the run. One that can't be written is no reason to stop a backup.
    fn write_down(&self, prefix: &str, text: &str) {
        if let Some(record) = lock(&self.record).as_mut() {
            let _ = record.write_all(block(prefix, text).as_bytes());
        }
    }

    /// Writes a text, each of its lines with the prefix, in one call.
    fn line(&self, stream: Stream, prefix: &str, text: &str) -> io::Result<()> {
        let block = block(prefix, text);
        // The bar is taken out of its lock: a bar being dropped in another thread takes that lock too.
        let bar = lock(&self.bar).clone();
        let write = || {
            let mut writer = lock(if stream == Stream::Out { &self.out } else { &self.err });
            writer.write_all(block.as_bytes())?;
            writer.flush()
        };
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// A text with the prefix before each of its lines.
fn block(prefix: &str, text: &str) -> String {
    let mut block = String::with_capacity(text.len() + prefix.len() + 1);
    for line in text.split('\n') {
        let line = printable(line);
        block.push_str(if line.is_empty() { prefix.trim_end() } else { prefix });
        block.push_str(&line);
        block.push('\n');
    }
    block
}

struct Bytes(Arc<Shared>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0.out).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0.out).flush()
    }
}

fn data(written: io::Result<()>) -> Result<()> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("Standard output can't be written"),
    })
}

/// A thread that panicked while printing has done no harm to the next one.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a captured voice has said.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    out: Buffer,
    err: Buffer,
}

impl Captured {
    /// What went to standard output so far.
    pub fn out(&self) -> String {
        self.out.text()
    }

    /// What went to standard error so far.
    pub fn err(&self) -> String {
        self.err.text()
    }
}

#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(ui: &Ui) {
        ui.step("Dumping prod");
        ui.detail("two\nlines");
        ui.warn("Careful");
        ui.debug("never");
        ui.outcome("Saved as k.tgz", "k.tgz");
        ui.line("data\n\nmore").unwrap();
    }

    #[test]
    fn speaks_as_dokku_does() {
        let (ui, said) = Ui::captured(false);
        say(&ui);
        assert_eq!(said.out(), "-----> Dumping prod\n       two\n       lines\n=====> Saved as k.tgz\ndata\n\nmore\n");
        assert_eq!(said.err(), " !     Careful\n");
    }

    #[test]
    fn quiet_leaves_data_and_warnings() {
        let (ui, said) = Ui::captured(true);
        say(&ui);
        assert_eq!(said.out(), "k.tgz\ndata\n\nmore\n");
        assert_eq!(said.err(), " !     Careful\n");
    }

    #[test]
    fn what_is_said_is_written_down_and_data_is_not() {
        let (ui, _) = Ui::captured(true);
        let record = Buffer::default();
        ui.record(Some(Box::new(record.clone())));
        say(&ui);
        let written = "-----> Dumping prod\n       two\n       lines\n !     Careful\n=====> Saved as k.tgz\n";
        assert_eq!(record.text(), written);
        ui.record(None);
        say(&ui);
        assert_eq!(record.text(), written);
    }

    #[test]
    fn json_never_mixes_with_the_voice() {
        let (ui, said) = Ui::captured(false);
        ui.reserve_output();
        ui.step("Reading");
        ui.json(&["a\u{1b}\u{202e}"]).unwrap();
        assert_eq!(said.out(), "[\"a\\u001b\u{202e}\"]\n");
        assert_eq!(said.err(), "-----> Reading\n");
    }

    #[test]
    fn a_failure_names_the_next_step() {
        let (ui, said) = Ui::captured(true);
        ui.fail(
            &Failure::failed("No destination is set for prod")
                .hint("Set it: dokku pgbackup:set prod destination s3://BUCKET"),
        );
        assert_eq!(
            said.err(),
            " !     No destination is set for prod\n !     Set it: dokku pgbackup:set prod destination s3://BUCKET\n"
        );
    }

    #[test]
    fn a_name_can_not_drive_the_terminal() {
        let (ui, said) = Ui::captured(false);
        ui.step("Found \x1b[2J");
        assert_eq!(said.out(), "-----> Found \\u{1b}[2J\n");
    }

    #[test]
    fn a_closed_output_ends_data_and_not_the_voice() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let ui = Ui::new(Box::new(Closed), Box::new(Closed), false, false, false);
        ui.step("Dumping");
        assert!(ui.line("data").unwrap_err().is::<OutputClosed>());
    }
}
