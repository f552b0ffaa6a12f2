//! Questions to the user: the word that confirms something dangerous, and secrets that don't show while typed.
//!
//! A question is only asked of a person: where standard input is no terminal (cron, ssh without `-t`, a dump coming in), a
//! confirmation is refused and the way around it named. Nothing is ever confirmed by silence.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::Failure;
use crate::interrupt;
use crate::secret::Secret;
use crate::ui::Ui;

/// No key and no session token is longer; more means that something else was piped in.
const LONGEST_SECRET: u64 = 16 * 1024;

impl Ui {
    /// Asks the user to type a word (the service's name) before something dangerous is done.
    ///
    /// # Errors
    /// A [`Failure`] when the word is another one, or when there is no terminal to ask at.
    pub fn confirm(&self, warning: &str, word: &str) -> Result<()> {
        if !io::stdin().is_terminal() {
            return Err(Failure::failed(format!("{warning}, and there is no terminal to ask for a confirmation"))
                .hint("Add --force to go ahead without being asked")
                .hint("Over ssh, ssh -t brings a terminal")
                .into());
        }
        self.warn("WARNING: Potentially Destructive Action");
        self.warn(warning);
        self.warn(format!("To proceed, type \"{word}\""));
        let mut error_output = io::stderr();
        let _ = write!(error_output, "> ");
        let _ = error_output.flush();
        // In the log of the run, too: what comes behind it is no part of the question.
        self.shared.write_down("> ", "");
        if first_line().context("Reading the confirmation")? == word {
            return Ok(());
        }
        Err(Failure::failed(format!("Confirmation did not match {word}, nothing was done")).into())
    }

    /// Reads a passphrase, which may hold anything but the end of its line: typed without being shown, or the first line of what is
    /// piped in.
    ///
    /// # Errors
    /// A [`Failure`] when there is none.
    pub fn passphrase(&self, name: &str) -> Result<Secret> {
        if !io::stdin().is_terminal() {
            // The file beneath the library's buffer, so that Ctrl-C ends the wait for a sender that is stuck.
            let input = File::from(io::stdin().as_fd().try_clone_to_owned().context("Reading standard input")?);
            return passphrase_of(&mut interrupt::Awaited(input));
        }
        let text = hidden(name, || passphrase_line(&mut io::stdin().lock()))?;
        if text.is_empty() { Err(empty(name).into()) } else { Ok(Secret::new(text)) }
    }

    /// Reads a passphrase that is about to be set: typed twice, so that a slip doesn't lock everybody out.
    ///
    /// # Errors
    /// A [`Failure`] when there is none, or the two differ.
    pub fn new_passphrase(&self, name: &str) -> Result<Secret> {
        let passphrase = self.passphrase(name)?;
        if io::stdin().is_terminal() && self.passphrase(&format!("{name} again"))? != passphrase {
            return Err(Failure::failed(format!("The two are not the same, the {name} is not set")).into());
        }
        Ok(passphrase)
    }

    /// Reads a secret: typed without being shown, or the first line of what is piped in.
    ///
    /// # Errors
    /// A [`Failure`] when there is none.
    pub fn secret(&self, name: &str) -> Result<Secret> {
        let stdin = io::stdin();
        let text = if stdin.is_terminal() { hidden(name, || line_of(&mut io::stdin().lock())) } else { first_line() }
            .with_context(|| format!("Reading the {name}"))?;
        if text.is_empty() {
            return Err(Failure::usage(format!("Please give the {name} on standard input")).into());
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Failure::usage(format!("The {name} has blanks or control characters in it")).into());
        }
        Ok(Secret::new(text))
    }
}

/// Asks at the terminal, which shows nothing of what is typed.
fn hidden(name: &str, read: impl FnOnce() -> io::Result<String> + Send + 'static) -> Result<String> {
    let mut error_output = io::stderr();
    let _ = write!(error_output, "{name}: ");
    let _ = error_output.flush();
    let stdin = io::stdin();
    let hidden = Hidden::begin(&stdin)?;
    let read = in_thread(read);
    drop(hidden);
    let _ = writeln!(error_output);
    read
}

/// Reads a line of standard input.
fn first_line() -> Result<String> {
    in_thread(|| line_of(&mut io::stdin().lock()))
}

/// Reads in a thread of its own: a read is not ended by Ctrl-C, which only sets our flag.
fn in_thread(read: impl FnOnce() -> io::Result<String> + Send + 'static) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(read()));
    loop {
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => return Ok(line?),
            Err(mpsc::RecvTimeoutError::Timeout) => interrupt::check()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(String::new()),
        }
    }
}

/// The passphrase that a file or a pipe holds: its first line without the end of the line, everything else as it is.
///
/// # Errors
/// A [`Failure`] when it is empty or no text, or why it can't be read.
pub fn passphrase_of(input: &mut impl Read) -> Result<Secret> {
    let text = passphrase_line(&mut io::BufReader::new(input)).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::usage("The passphrase is not text in UTF-8").into(),
        _ => anyhow::Error::new(error),
    })?;
    if text.is_empty() { Err(empty("passphrase").into()) } else { Ok(Secret::new(text)) }
}

fn passphrase_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LONGEST_SECRET).read_line(&mut line)?;
    let text = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(text.to_owned())
}

fn empty(name: &str) -> Failure {
    Failure::usage(format!("The {name} is empty"))
        .hint("Type it when asked for, or give it on standard input: its first line counts")
}

fn line_of(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LONGEST_SECRET).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// A terminal that doesn't show what is typed, until it is dropped.
struct Hidden<'a> {
    stdin: &'a io::Stdin,
    before: rustix::termios::Termios,
}

impl<'a> Hidden<'a> {
    fn begin(stdin: &'a io::Stdin) -> Result<Self> {
        let before = tcgetattr(stdin.as_fd()).context("Asking the terminal for its settings")?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &hidden).context("Hiding what is typed")?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin.as_fd(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line() {
        assert_eq!(line_of(&mut "abc\r\nmore".as_bytes()).unwrap(), "abc");
        assert_eq!(line_of(&mut "".as_bytes()).unwrap(), "");
    }

    #[test]
    fn a_passphrase_is_a_line_as_it_is() {
        for (given, taken) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\nmore", "secret"),
            ("  a * \"ü\" $(x) \t\n", "  a * \"ü\" $(x) \t"),
            ("two\n\nlines", "two"),
        ] {
            assert_eq!(passphrase_of(&mut given.as_bytes()).unwrap().reveal(), taken);
        }
        for empty in ["", "\n", "\r\n", "\nsecond"] {
            let failure = passphrase_of(&mut empty.as_bytes()).unwrap_err();
            assert_eq!(failure.to_string(), "The passphrase is empty");
        }
        assert!(passphrase_of(&mut b"\xff\n".as_slice()).unwrap_err().to_string().contains("UTF-8"));
    }
}
