//! The only place that starts processes: `$DOCKER_BIN`, argument vectors, and children that can't outlive us.
//!
//! Killing the client of `docker container exec` leaves the program inside the container running, with its session and
//! its locks (seen with pg_dump). So a program in a container is started under a dead man's handle: a few lines of constant
//! shell in the container run it and hold our standard input; when that closes, by drop, by SIGKILL or with the host's
//! docker client, the program is killed. Arguments are never part of the shell's text.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::interrupt::{self, Watch};

/// Lines of a child's stderr that are kept for its error.
const KEPT_LINES: usize = 12;

/// Runs `"$@"` with nothing to read, and ends it when our own input ends. A background job's input is /dev/null, so ours is kept
/// as 3.
///
/// PostgreSQL is process 1 of its container, so every orphan becomes its child, and up to version 17 it takes a child that died of
/// a signal for a crashed backend: it ends every session and goes through recovery (seen with 15). Therefore nobody here dies of
/// a signal without being waited for by this shell; SIGPIPE is ignored, which programs inherit (the workers of a pg_restore that was
/// killed would die of it, orphaned: seen); and the program gets SIGTERM, on which pg_dump and pg_restore exit with 1, which is
/// harmless even for an orphan. SIGKILL is for one that doesn't listen. The watcher looks every second whether there is still a
/// program to wait for, so that one whose shell was killed doesn't stay as an orphan for somebody else to kill.
const HELD: &str = r#"trap '' PIPE
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{
  while read -r _ <&3; do :; done
  kill $child
  for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 $child || exit; done
  kill -9 $child
} >/dev/null 2>&1 &
watch=$!
wait $child
status=$?
kill $watch 2>/dev/null
wait $watch 2>/dev/null
exit $status"#;

/// How often a program's end is looked for.
const WAIT: Duration = Duration::from_millis(5);

/// The docker command line.
#[derive(Debug, Clone)]
pub struct Docker {
    program: PathBuf,
}

/// A container as `docker container inspect` shows it.
#[derive(Debug, Clone)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// `running`, `paused`, `exited`, `restarting`, `created`, `dead`.
    pub status: String,
    /// The image it was made from, as it was named then.
    pub image: String,
    /// The id of that image, which keeps it apart from a newer one of the same name.
    pub image_id: String,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Its address on the first network that gives it one.
    pub address: Option<IpAddr>,
    /// Memory limit in bytes, 0 for none.
    pub memory_limit: u64,
}

impl Docker {
    /// Uses this program (`$DOCKER_BIN`, or `docker`).
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// The program in use.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        let mut command = Command::new(&self.program);
        command.args(arguments);
        // Ctrl-C at a terminal reaches every process of the group: the client must live until *we* end it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }

    /// Looks a container up; `None` when there is none of that name.
    ///
    /// # Errors
    /// When docker can't be run or doesn't answer.
    pub fn inspect(&self, name: &str) -> Result<Option<Container>> {
        let output = self
            .command(["container", "inspect", "--format", "{{json .}}", name])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("Can't run {}", self.program.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if text.to_lowercase().contains("no such container") {
                return Ok(None);
            }
            bail!("docker can't be asked about the container {name}: {text}");
        }
        Ok(Some(Inspected::parse(&output.stdout)?))
    }

    /// Starts a container that runs on its own, from an image that is there. `environment` goes through the docker client's own
    /// environment, never through an argument; the arguments name what of it the container gets.
    ///
    /// # Errors
    /// In docker's words.
    pub fn start_container(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        let all = ["container", "run", "--detach", "--pull", "never"].iter().chain(arguments);
        let mut command = self.command(all);
        command.envs(environment.iter().copied());
        self.output_of(command).map(drop)
    }

    /// Ends a container and removes it with its own volumes. One that is not there counts as removed.
    ///
    /// # Errors
    /// In docker's words.
    pub fn remove_container(&self, name: &str) -> Result<()> {
        match self.output_of(self.command(["container", "rm", "--force", "--volumes", name])) {
            Err(error) if error.to_string().to_lowercase().contains("no such container") => Ok(()),
            other => other.map(drop),
        }
    }

    /// The ids of all containers that carry a label (`name=value`), running or not.
    ///
    /// # Errors
    /// In docker's words.
    pub fn containers_with_label(&self, label: &str) -> Result<Vec<String>> {
        let filter = format!("label={label}");
        let text =
            self.output_of(self.command(["container", "ls", "--all", "--quiet", "--no-trunc", "--filter", &filter]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The last lines that a container has logged, as far as docker knows them.
    pub fn last_words(&self, name: &str) -> Vec<String> {
        let kept = KEPT_LINES.to_string();
        let output = self.command(["container", "logs", "--tail", &kept, name]).stdin(Stdio::null()).output();
        let Ok(output) = output else { return Vec::new() };
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Where docker keeps containers and volumes, where it tells.
    pub fn root_folder(&self) -> Option<PathBuf> {
        let text = self.output_of(self.command(["info", "--format", "{{.DockerRootDir}}"])).ok()?;
        Some(PathBuf::from(text.trim()))
    }

    /// Runs the client to its end and returns what it prints.
    fn output_of(&self, mut command: Command) -> Result<String> {
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("Can't run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("docker: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a short program in a container and returns what it prints. It goes on to its end when we are asked to stop, as what cleans up must.
    ///
    /// # Errors
    /// With the program's last words when it fails.
    pub fn exec_output(&self, container: &str, program: &[&str], environment: &[(&str, &str)]) -> Result<Vec<u8>> {
        self.output_in(container, program, environment, Input::Nothing)
    }

    /// The same for one that may take a while, or a lock: it ends when we are asked to stop, also where the container is paused.
    ///
    /// # Errors
    /// With the program's last words when it fails.
    pub fn held_output(&self, container: &str, program: &[&str], environment: &[(&str, &str)]) -> Result<Vec<u8>> {
        self.output_in(container, program, environment, Input::Held)
    }

    fn output_in(
        &self,
        container: &str,
        program: &[&str],
        environment: &[(&str, &str)],
        input: Input,
    ) -> Result<Vec<u8>> {
        let mut child = self.exec(container, program, environment, input)?;
        let mut output = Vec::new();
        child.stdout()?.read_to_end(&mut output).context("reading from docker")?;
        child.finish()?;
        Ok(output)
    }

    /// Starts a program in a container. `environment` goes through the docker client's own environment, never through
    /// an argument, so it may hold a password.
    ///
    /// # Errors
    /// When docker can't be started.
    pub fn exec(
        &self,
        container: &str,
        program: &[&str],
        environment: &[(&str, &str)],
        input: Input,
    ) -> Result<Running> {
        let mut arguments: Vec<&str> = vec!["container", "exec"];
        if !matches!(input, Input::Nothing) {
            arguments.push("--interactive");
        }
        for (name, _) in environment {
            arguments.extend(["--env", name]);
        }
        arguments.push(container);
        if matches!(input, Input::Held) {
            arguments.extend(["sh", "-c", HELD, "sh"]);
        }
        arguments.extend(program);
        let mut command = self.command(&arguments);
        command.envs(environment.iter().copied());
        command.stdin(if matches!(input, Input::Nothing) { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("Can't run {}", self.program.display()))?;
        let said = child.stderr.take().map(|stderr| std::thread::spawn(move || listen(stderr)));
        let watch = if matches!(input, Input::Nothing) { None } else { end_when_asked_to_stop(&child) };
        Ok(Running {
            watch,
            name: program.first().copied().unwrap_or_default().to_owned(),
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            said,
            child: Some(child),
        })
    }
}

/// What a program in a container gets as its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Nothing; for programs that end by themselves at once.
    Nothing,
    /// Nothing, but it lives only as long as we hold it.
    Held,
    /// Bytes that we write; it ends when they do.
    Piped,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// The last lines of its standard error.
    pub words: Vec<String>,
    /// How many lines there were of the form `pg_restore: error: …`, also before the last ones.
    pub errors: usize,
}

/// What a program said on its standard error.
#[derive(Debug, Default)]
struct Said {
    last: Vec<String>,
    errors: usize,
}

/// A program running in a container. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Before `child`, so that it has looked away by the time the process id is free again.
    watch: Option<Watch>,
    name: String,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    said: Option<JoinHandle<Said>>,
    child: Option<Child>,
}

impl Running {
    /// What it prints. To be taken once.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.stdout.take().ok_or_else(|| anyhow!("the output of {} is read already", self.name))
    }

    /// What it reads, of [`Input::Piped`]. To be taken once, and dropped when all is written.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.stdin.take().ok_or_else(|| anyhow!("the input of {} is written already", self.name))
    }

    /// Waits for its end; its output must have been read (or be dropped) by then.
    ///
    /// # Errors
    /// With its exit status and its last words when it failed.
    pub fn finish(self) -> Result<()> {
        let name = self.name.clone();
        let ended = self.ended()?;
        if ended.status.success() { Ok(()) } else { Err(anyhow!(failure(&name, ended.status, &ended.words))) }
    }

    /// Waits for its end, whichever it is.
    ///
    /// # Errors
    /// When it can't be waited for, or we are asked to stop meanwhile.
    pub fn ended(mut self) -> Result<Ended> {
        drop(self.stdout.take());
        let mut child = self.child.take().ok_or_else(|| anyhow!("{} has ended already", self.name))?;
        let status = loop {
            if let Some(status) = child.try_wait().with_context(|| format!("waiting for {}", self.name))? {
                break status;
            }
            if let Err(interrupted) = interrupt::check() {
                self.child = Some(child);
                self.end();
                return Err(interrupted.into());
            }
            std::thread::sleep(WAIT);
        };
        drop(self.watch.take());
        drop(self.stdin.take());
        let said = self.said.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ended { status, words: said.last, errors: said.errors })
    }

    /// Ends it, whatever it is doing, and waits until it is gone; how it ended doesn't matter any more.
    pub fn cancel(mut self) {
        self.end();
    }

    /// Lets go of its input, which ends the program in the container (see the module), then of the docker client.
    fn end(&mut self) {
        drop(self.watch.take());
        drop(self.stdin.take());
        drop(self.stdout.take());
        if let Some(mut child) = self.child.take() {
            // The client ends by itself once the program is gone; after a second something is stuck and the client is killed. The
            // program ends all the same: its input has.
            for _ in 0..100 {
                if !matches!(child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A pipe of a paused container blocks for ever, and nobody can look at the flag then: without its client it ends at once, and so
/// does the program (its input does).
fn end_when_asked_to_stop(child: &Child) -> Option<Watch> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)?;
    interrupt::watch(move || {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    })
}

/// The error of a program that failed, with a word on what its status means when it said nothing itself.
fn failure(name: &str, status: ExitStatus, words: &[String]) -> String {
    let code = status.code();
    let why = match code {
        Some(137) => " (killed: the container was stopped or the program was ended from outside, or memory ran out)",
        Some(143) => " (terminated from outside)",
        Some(126 | 127) => " (it can't be run in the container)",
        _ => "",
    };
    let code = code.map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
    if words.is_empty() {
        format!("{name} failed with {code}{why}")
    } else {
        format!("{name} failed with {code}{why}: {}", words.join("; "))
    }
}

/// Reads a child's stderr to its end and keeps the last lines.
fn listen(stderr: ChildStderr) -> Said {
    let mut kept = std::collections::VecDeque::new();
    let mut errors = 0;
    let mut of_a_row = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        if line.split(": ").nth(1) == Some("error") {
            errors += 1;
        }
        // A value of several lines: only its first one can be told from other words when it comes to who may read them.
        let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        if begins(&["DETAIL:", "CONTEXT:"]) {
            of_a_row = true;
        } else if begins(&["pg_restore: ", "pg_dump: ", "psql:", "HINT:", "Command was:"]) {
            of_a_row = false;
        } else if of_a_row {
            continue;
        }
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line.chars().take(500).collect());
    }
    Said { last: kept.into(), errors }
}

/// Runs another plugin's subcommand file as Dokku does and returns what it prints. It is never the `dokku` program: Dokku
/// forbids that to plugins.
///
/// It runs in a process group of its own, so that Ctrl-C ends it neither half way nor while we clean up after that very
/// Ctrl-C; and without what `--app` and `--force` have set for *our* command, which its own would obey.
///
/// # Errors
/// With the program's last words when it fails.
pub fn run_plugin_command(program: &Path, arguments: &[&str]) -> Result<String> {
    use std::os::unix::process::CommandExt;

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new(program);
    command.args(arguments).env_remove("DOKKU_APP_NAME").env_remove("DOKKU_APPS_FORCE_DELETE");
    let output = command
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .with_context(|| format!("Can't run {}", program.display()))?;
    if !output.status.success() {
        let words: Vec<String> =
            String::from_utf8_lossy(&output.stderr).lines().rev().take(KEPT_LINES).map(str::to_owned).collect();
        let words: Vec<String> =
            words.into_iter().rev().map(|line| line.trim_start_matches([' ', '!']).to_owned()).collect();
        bail!(failure(&program.display().to_string(), output.status, &words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks a trigger of the enabled plugins and returns what they print.
///
/// # Errors
/// With a plugin's last words when it fails.
pub fn trigger_output(plugin_path: &Path, name: &str, arguments: &[&str]) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new("plugn");
    command.args(["trigger", name]).args(arguments).env("PLUGIN_PATH", plugin_path);
    let output = command.stdin(Stdio::null()).output().context("Can't run plugn")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect::<Vec<_>>();
        bail!(failure(&format!("The trigger {name}"), output.status, &words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fires a trigger in every enabled plugin, as Dokku's own plugins do. The document is each one's standard input, and since the first
/// that reads it leaves nothing for the next, also in the environment (`PGBACKUP_EVENT`). What the plugins print is not ours to show.
///
/// # Errors
/// With a plugin's last words when it fails, and when all of them take longer than `limit`: they are ended then.
pub fn run_trigger(
    plugin_path: &Path,
    name: &str,
    arguments: &[String],
    document: &str,
    limit: Duration,
) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::process::CommandExt;

    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new("plugn");
    let mut child = command
        .args(["trigger", name])
        .args(arguments)
        .env("PLUGIN_PATH", plugin_path)
        .env("PGBACKUP_EVENT", document)
        .env_remove("DOKKU_APP_NAME")
        .env_remove("DOKKU_APPS_FORCE_DELETE")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("Can't run plugn")?;
    let said = child.stderr.take().map(|stderr| std::thread::spawn(move || listen(stderr)));
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that reads none of it is no failure; a document fits into the pipe.
        let _ = stdin.write_all(document.as_bytes());
    }
    let until = std::time::Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().context("waiting for plugn")? {
            break status;
        }
        if std::time::Instant::now() >= until {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
            bail!("it took longer than {} seconds and was ended", limit.as_secs());
        }
        std::thread::sleep(WAIT);
    };
    if status.success() {
        return Ok(());
    }
    // What a plugin has left running may hold its standard error for ever.
    let words = said.filter(JoinHandle::is_finished).and_then(|said| said.join().ok()).unwrap_or_default().last;
    let words: Vec<String> = words.iter().map(|line| line.trim_start_matches([' ', '!']).to_owned()).collect();
    bail!(failure("it", status, &words))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    /// The image's id.
    image: Option<String>,
    state: State,
    config: Config,
    network_settings: NetworkSettings,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
    labels: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<std::collections::BTreeMap<String, Network>>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress")]
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    memory: Option<u64>,
}

impl Inspected {
    fn parse(text: &[u8]) -> Result<Container> {
        let seen: Self = serde_json::from_slice(text).context("docker's description of the container can't be read")?;
        // The top-level IPAddress is gone from newer Docker: the networks have it.
        let address = seen
            .network_settings
            .networks
            .unwrap_or_default()
            .into_values()
            .find_map(|network| network.address?.parse().ok());
        Ok(Container {
            id: seen.id,
            status: seen.state.status,
            image_id: seen.image.unwrap_or_else(|| seen.config.image.clone()),
            image: seen.config.image,
            labels: seen.config.labels.unwrap_or_default(),
            address,
            memory_limit: seen.host_config.memory.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_address_from_the_networks() {
        let text = br#"{"Id":"ab","State":{"Status":"running"},"Config":{"Image":"postgres:15","Labels":null},
            "NetworkSettings":{"Networks":{"none":{"IPAddress":""},"bridge":{"IPAddress":"172.17.0.2"}}},"HostConfig":{"Memory":0}}"#;
        let container = Inspected::parse(text).unwrap();
        assert_eq!(container.address, Some("172.17.0.2".parse().unwrap()));
        assert_eq!(container.status, "running");
    }
}
