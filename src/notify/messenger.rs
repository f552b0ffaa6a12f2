//! Carries notices from threads of its own: one for each receiver, so that a slow one holds up nobody, and what one receiver hears
//! stays in order.

use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::docker;
use crate::notify::endpoint::Letter;
use crate::notify::post::Post;
use crate::service::name::ServiceName;

/// How long the process stays for what is still on its way when its work is done.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same when we were asked to stop.
const HURRY: Duration = Duration::from_secs(5);
/// How long a plugin may take over one event.
const HOOK: Duration = Duration::from_mins(1);
/// How often a thread's end is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// One message to one receiver.
#[derive(Debug, Clone)]
pub enum Errand {
    /// Over HTTP.
    Letter(Letter),
    /// `plugn trigger NAME ARGUMENTS…`, with the notice on standard input and in the environment.
    Trigger {
        /// The trigger's name.
        name: &'static str,
        /// Its arguments.
        arguments: Vec<String>,
        /// The notice.
        document: String,
        /// `PLUGIN_PATH`.
        plugin_path: PathBuf,
    },
}

impl Errand {
    /// What keeps receivers apart.
    fn receiver(&self) -> String {
        match self {
            // The whole address but for a healthcheck's ending: its pings must stay in order.
            Self::Letter(letter) if letter.kind == "healthcheck" => format!("healthcheck {}", letter.shown),
            Self::Letter(letter) => format!("{} {}", letter.kind, letter.url.reveal()),
            Self::Trigger { .. } => "plugins".to_owned(),
        }
    }

    /// The receiver as it may be shown.
    pub fn shown(&self) -> String {
        match self {
            Self::Letter(letter) => {
                format!("The {} {}", if letter.kind == "healthcheck" { "healthcheck" } else { "webhook" }, letter.shown)
            }
            Self::Trigger { name, .. } => format!("A plugin's trigger {name}"),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// Why the receiver was not told, in words without a secret.
    pub fn run(&self, post: &OnceLock<Post>) -> Result<String, String> {
        match self {
            Self::Letter(letter) => {
                let answer = post.get_or_init(Post::default).send(letter).map_err(|refused| refused.to_string())?;
                Ok(answer.to_string())
            }
            Self::Trigger { name, arguments, document, plugin_path } => {
                docker::run_trigger(plugin_path, name, arguments, document, HOOK)
                    .map_err(|error| format!("{error:#}"))?;
                Ok(String::new())
            }
        }
    }
}

/// Somebody who was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The service it was about.
    pub service: ServiceName,
    /// Who, without secrets.
    pub receiver: String,
    /// Of what: `backup-failed`.
    pub event: String,
    /// Why.
    pub error: String,
}

struct Line {
    receiver: String,
    sender: Sender<(Untold, Errand)>,
    thread: JoinHandle<()>,
    /// What was handed over last.
    last: Untold,
}

/// Carries errands. Clones share one bag.
#[derive(Clone, Default)]
pub struct Messenger {
    lines: Arc<Mutex<Vec<Line>>>,
    untold: Arc<Mutex<Vec<Untold>>>,
    post: Arc<OnceLock<Post>>,
}

impl Messenger {
    /// Takes an errand and comes back at once.
    pub fn take(&self, service: &ServiceName, event: &str, errand: Errand) {
        let label = Untold {
            service: service.clone(),
            receiver: errand.shown(),
            event: event.to_owned(),
            error: "it was not told in time".to_owned(),
        };
        let receiver = errand.receiver();
        let mut lines = lock(&self.lines);
        if !lines.iter().any(|line| line.receiver == receiver) {
            let (sender, errands) = mpsc::channel::<(Untold, Errand)>();
            let (untold, post) = (Arc::clone(&self.untold), Arc::clone(&self.post));
            let thread = thread::spawn(move || {
                for (label, errand) in errands {
                    if let Err(error) = errand.run(&post) {
                        lock(&untold).push(Untold { error, ..label });
                    }
                }
            });
            lines.push(Line { receiver: receiver.clone(), sender, thread, last: label.clone() });
        }
        if let Some(line) = lines.iter_mut().find(|line| line.receiver == receiver) {
            line.last.clone_from(&label);
            // The thread lives as long as we hold the other end.
            let _ = line.sender.send((label, errand));
        }
    }

    /// Waits until all is told, and no longer than is bearable; who was not told, each receiver once.
    pub fn finish(&self) -> Vec<Untold> {
        let lines = std::mem::take(&mut *lock(&self.lines));
        let began = Instant::now();
        let waiting: Vec<(JoinHandle<()>, Untold)> = lines
            .into_iter()
            .map(|Line { thread, last, sender, .. }| {
                drop(sender);
                (thread, last)
            })
            .collect();
        for (thread, last) in waiting {
            let patience = || if crate::interrupt::requested() { HURRY } else { PATIENCE };
            while !thread.is_finished() && began.elapsed() < patience() {
                thread::sleep(LOOK);
            }
            if !thread.is_finished() {
                lock(&self.untold).push(last);
            }
        }
        let mut untold = std::mem::take(&mut *lock(&self.untold));
        let mut seen = std::collections::HashSet::new();
        untold.retain(|one| seen.insert((one.service.clone(), one.receiver.clone(), one.error.clone())));
        untold
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::notify::endpoint::Webhook;
    use crate::notify::tests::failed;

    #[test]
    fn a_slow_receiver_holds_up_nobody_and_who_was_not_told_is_named_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = format!("http://{}/secret", listener.local_addr().unwrap());
        let told = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 8192];
            let _ = stream.read(&mut buffer).unwrap();
            let at = Instant::now();
            stream.write_all(b"HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n").unwrap();
            at
        });
        let dead = "http://127.0.0.1:9/secret";
        let messenger = Messenger::default();
        let prod: ServiceName = "prod".parse().unwrap();
        let began = Instant::now();
        for url in [dead, dead, &good] {
            let letter = url.parse::<Webhook>().unwrap().letter(&failed());
            messenger.take(&prod, "backup-failed", Errand::Letter(letter));
        }
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        let untold = messenger.finish();
        assert!(told.join().unwrap() - began < Duration::from_secs(2));
        assert_eq!(untold.len(), 1, "{untold:?}");
        assert_eq!(untold[0].receiver, "The webhook http://127.0.0.1:9/***");
        assert!(untold[0].error.contains("can't be reached"), "{}", untold[0].error);
        assert_eq!(messenger.finish(), []);
    }
}
