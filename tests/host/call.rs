//! Programs as a user runs them: words in, exit code and both streams out.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::redaction::redact;

/// A program that is about to run.
#[derive(Debug)]
pub struct Call {
    command: Command,
    line: String,
    input: Option<Vec<u8>>,
}

impl Call {
    pub(super) fn new(program: &str, words: &[&str], folder: &Path) -> Self {
        #[expect(clippy::disallowed_methods, reason = "tests run programs")]
        let mut command = Command::new(program);
        // A folder that the user dokku can enter, too.
        command.args(words).current_dir(folder).stdin(Stdio::null());
        Self { command, line: format!("{program} {}", words.join(" ")), input: None }
    }

    /// With this in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With this on its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// With this file as its standard input.
    #[must_use]
    pub fn input_file(mut self, path: &Path) -> Self {
        self.command.stdin(File::open(path).unwrap());
        self
    }

    /// In this folder.
    #[must_use]
    pub fn folder(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Starts it with both outputs held for the caller, in a process group of its own (so that a signal to the group
    /// reaches it as Ctrl-C would).
    pub fn spawn(mut self) -> Child {
        assert!(self.input.is_none(), "a call with input is run, not spawned");
        std::os::unix::process::CommandExt::process_group(&mut self.command, 0);
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.line))
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Run {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.line));
        let feeder = self.input.take().map(|bytes| {
            let mut stdin = child.stdin.take().unwrap();
            // A program that doesn't read its input to the end is no failure of the test.
            thread::spawn(move || drop(stdin.write_all(&bytes)))
        });
        let output = child.wait_with_output().unwrap();
        if let Some(feeder) = feeder {
            feeder.join().unwrap();
        }
        Run::new(self.line, output.status.code().unwrap_or(-1), output.stdout, &output.stderr)
    }
}

/// A program that has run.
#[derive(Debug)]
pub struct Run {
    /// The command line, for messages.
    line: String,
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub bytes: Vec<u8>,
    /// What it wrote to standard error.
    pub err: String,
}

impl Run {
    pub(super) fn new(line: String, code: i32, bytes: Vec<u8>, err: &[u8]) -> Self {
        Self { line, code, bytes, err: String::from_utf8_lossy(err).into_owned() }
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap_or_else(|_| panic!("{} wrote no text", self.line))
    }

    /// Panics unless it exited with 0.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Panics unless it exited with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let out = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.code, code, "exit code of {}\n{out}{}", self.line, self.err);
        self
    }

    /// Panics unless it said this, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let seen = format!("{}{}", self.out(), self.err);
        assert!(seen.contains(text), "{} does not say {text:?}, but:\n{seen}", self.line);
        self
    }

    /// Everything that a user saw, and the exit code, without what differs from run to run.
    pub fn seen(&self) -> String {
        format!("{}exit {}", redact(&format!("{}{}", self.out(), self.err)), self.code)
    }

    /// Its last line.
    pub fn last_line(&self) -> String {
        self.out().lines().last().unwrap_or_default().to_owned()
    }

    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.out()))
    }
}
