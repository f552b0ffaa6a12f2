//! A command of the plugin that is watched while it runs, to be hit at a chosen moment.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Service;

/// Nothing in a test takes longer, also on a machine with far too much to do.
const LIMIT: Duration = Duration::from_mins(5);

/// A running pgbackup: the process itself and not a `dokku` around it, so that a signal hits what it is meant for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    listeners: Vec<JoinHandle<()>>,
}

/// One that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Both streams.
    pub said: String,
    /// How long it took from the moment that its end was waited for.
    pub took: Duration,
}

impl Service {
    /// Starts `pgbackup:COMMAND NAME WORDS…` as the user dokku, with these additions to the environment.
    pub fn start(&self, command: &str, words: &[&str], environment: &[(&str, &str)]) -> Process {
        let plugin = super::variable("PLUGIN_ENABLED_PATH") + "/pgbackup/subcommands/" + command;
        let command = format!("pgbackup:{command}");
        #[expect(clippy::disallowed_methods, reason = "tests run programs")]
        let mut process = Command::new("setpriv");
        process.args(["--reuid", "dokku", "--regid", "dokku", "--init-groups", "--", &plugin, &command, &self.name]);
        process.args(words).envs(environment.iter().copied()).current_dir(&self.host.root);
        Process::watch(&mut process)
    }

    /// `dokku pgbackup:COMMAND NAME WORDS…` at a terminal, where somebody types this as soon as the file is there.
    pub fn at_terminal(&self, command: &str, words: &[&str], typed: &str, when: &Path) -> Process {
        let line = format!("exec dokku pgbackup:{command} {} {}", self.name, words.join(" "));
        // Not for ever: a test that fails doesn't come to that.
        let typist = "n=0; until [ -e \"$1\" ] || [ $((n += 1)) -gt 6000 ]; do sleep 0.05; done; echo \"$2\"";
        let script = format!("{{ {typist}; }} | script --quiet --return --flush --command \"$3\" /dev/null");
        #[expect(clippy::disallowed_methods, reason = "tests run programs")]
        let mut process = Command::new("sh");
        process.args(["-c", &script, "sh"]).arg(when).args([typed, &line]).current_dir(&self.host.root);
        Process::watch(&mut process)
    }
}

impl Process {
    fn watch(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let listeners = streams
            .into_iter()
            .map(|stream| {
                let said = Arc::clone(&said);
                thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        said.lock().unwrap().push_str(&(line + "\n"));
                    }
                })
            })
            .collect();
        Self { child, said, listeners }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this; panics when it ends before.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        let said = Arc::clone(&self.said);
        self.until(text, || said.lock().unwrap().contains(text));
    }

    /// Waits until something is the case; panics when the process ends before.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().unwrap();
            let said = self.said.lock().unwrap().clone();
            assert!(ended.is_none(), "it ended ({ended:?}) before {what:?}:\n{said}");
            assert!(began.elapsed() < LIMIT, "{what:?} doesn't come:\n{said}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < LIMIT, "it doesn't end:\n{}", self.said.lock().unwrap());
            thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        for listener in self.listeners.drain(..) {
            listener.join().unwrap();
        }
        Ended { code: status.code().unwrap_or(-1), said: self.said.lock().unwrap().clone(), took }
    }
}

impl Ended {
    /// Panics unless it exited with this code and said this.
    #[track_caller]
    pub fn exits(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, code, "{}", self.said);
        assert!(self.said.contains(text), "it does not say {text:?}, but:\n{}", self.said);
        self
    }
}
