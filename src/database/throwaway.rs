//! A server of our own for as long as it is needed: a container of the service's very image, without a network, gone on every way out.
//!
//! Two things run there: the isolated drill, and psql with the SQL text of a backup, which may drop databases, run programs and do
//! whatever else a super user can. So it must be a place where there is nothing to harm and nobody to call: `--network none` (an
//! internal network of docker's would still reach the host itself), no mount, few capabilities, limits of memory, CPU and processes.
//!
//! Without a network there is no address to connect to. The official images need bash for their entrypoint, and bash opens TCP
//! connections (`/dev/tcp`): each session of ours is a `docker exec` of it that copies between its own loopback and a
//! socket in a folder that only we can enter. `pg_restore` and `pg_dump` run in the container as they do in a service's.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::database::session::{self, PORT};
use crate::docker::{Docker, Input};
use crate::error::Failure;
use crate::interrupt;
use crate::secret::Secret;
use crate::service::name::ServiceName;
use crate::service::{Address, RunningService, Service};
use crate::step::step;

/// The label that says whose such a container is.
const LABEL: &str = "com.dokku.pgbackup.service";
/// What the folder of a socket into such a container is called, before sixteen digits.
const FOLDER: &str = "pgbackup-";
/// The name by which libpq finds a socket in its folder; ends with [`PORT`].
const SOCKET: &str = ".s.PGSQL.5432";
/// How long a server may take to come up: initdb on a slow disk.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often it is asked whether it is up.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of a session that are moved at once.
const BUFFER: usize = 64 << 10;
/// Memory of the container at most: index builds take 128 MB each.
const MEMORY: u64 = 2 << 30;
/// And at least, however small the host.
const LEAST_MEMORY: u64 = 512 << 20;

/// Copies between its own input and output and the server, until either ends.
const RELAY: &str = r#"exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
{ cat <&3; kill $$ 2>/dev/null; exit 0; } &
exec cat >&3"#;

/// A server in a container that nobody else knows. Dropping it removes the container and all that was in it.
#[derive(Debug)]
pub struct Throwaway {
    running: RunningService,
    _container: Container,
    _relay: Relay,
}

impl Throwaway {
    /// Starts one of the service's image and waits until it answers. It has no database but the server's own.
    ///
    /// # Errors
    /// When it doesn't come up; nothing is left then.
    pub fn start(docker: &Docker, service: &RunningService) -> Result<Self> {
        let name = format!("pgbackup.{}.{}", service.service.name, random()?);
        let password = Secret::new(random()? + &random()?);
        let label = format!("{LABEL}={}", service.service.name);
        let memory = format!("{}", (total_memory().unwrap_or(MEMORY * 2) / 2).clamp(LEAST_MEMORY, MEMORY));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).to_string();
        let preload = preloaded(service)?;
        // The very image, even if its name means a newer one by now.
        let image =
            docker.inspect(&service.service.container)?.map_or_else(|| service.image.clone(), |found| found.image_id);
        let mut arguments: Vec<&str> = vec!["--name", &name, "--label", &label];
        // `dokku cleanup` takes away what has these two and has ended.
        arguments.extend(["--label", "dokku=pgbackup", "--label", "com.dokku.app-name=pgbackup"]);
        arguments.extend([
            "--network",
            "none",
            "--memory",
            &memory,
            "--cpus",
            &cpus,
            "--pids-limit",
            "512",
            "--shm-size",
            "256m",
        ]);
        arguments.extend(["--security-opt", "no-new-privileges", "--cap-drop", "ALL"]);
        // What the entrypoint needs to give the data to its user and become that user.
        for capability in ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] {
            arguments.extend(["--cap-add", capability]);
        }
        arguments.extend(["--env", "POSTGRES_PASSWORD", &image, "postgres"]);
        // What is lost in a crash is thrown away anyway.
        arguments.extend([
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "autovacuum=off",
        ]);
        let settings: Vec<String> = preload.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for setting in &settings {
            arguments.extend(["-c", setting]);
        }
        // From here on the container may exist.
        let container = Container { docker: docker.clone(), name: name.clone() };
        docker
            .start_container(&arguments, &[("POSTGRES_PASSWORD", password.reveal())])
            .with_context(|| format!("A throw-away container of {} can't be started", service.image))?;
        step!("throwaway.started");
        container.wait_until_up()?;
        step!("throwaway.up");
        let relay = Relay::listen(docker, &name)?;
        let running = RunningService {
            service: Service { container: name, password, linked_apps: Vec::new(), ..service.service.clone() },
            address: Address::Socket(relay.folder.clone()),
            image: service.image.clone(),
        };
        Ok(Self { running, _container: container, _relay: relay })
    }

    /// The server, to be used as a service's.
    pub fn server(&self) -> &RunningService {
        &self.running
    }

    /// The name of its container.
    pub fn container(&self) -> &str {
        &self.running.service.container
    }
}

/// A container that goes when this does.
#[derive(Debug)]
struct Container {
    docker: Docker,
    name: String,
}

impl Container {
    /// Waits until the server answers on TCP: while the entrypoint initialises the data it runs one that doesn't.
    fn wait_until_up(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            interrupt::check()?;
            let port = PORT.to_string();
            if self
                .docker
                .exec_output(
                    &self.name,
                    &[
                        "pg_isready",
                        "--quiet",
                        "--username=postgres",
                        "--dbname=postgres",
                        "--host=127.0.0.1",
                        "--port",
                        &port,
                    ],
                    &[],
                )
                .is_ok()
            {
                return Ok(());
            }
            let status = self.docker.inspect(&self.name)?.map(|container| container.status);
            if status.as_deref() != Some("running") || began.elapsed() > PATIENCE {
                let logs = self.docker.last_words(&self.name);
                bail!("The server in the throw-away container does not come up: {}", logs.join("; "));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.docker.remove_container(&self.name);
    }
}

/// Removes what killed runs have left for a service; only to be called while its lock is held. Returns how many there were.
///
/// # Errors
/// When docker doesn't answer.
pub fn sweep(docker: &Docker, service: &ServiceName) -> Result<usize> {
    sweep_sockets(&std::env::temp_dir());
    let left = left_behind(docker, service)?;
    for container in &left {
        docker.remove_container(container)?;
    }
    Ok(left.len())
}

/// Removes the folders of sockets at which nobody listens any more. A run of another service may just be making its own.
fn sweep_sockets(folder: &Path) {
    let is_ours = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        random.is_some_and(|random| random.len() == 16 && random.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for path in entries.filter(is_ours).map(|entry| entry.path()) {
        let Ok(there) = fs::symlink_metadata(&path) else { continue };
        let is_old = there.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > PATIENCE));
        if there.is_dir() && there.uid() == rustix::process::geteuid().as_raw() && is_old {
            let socket = path.join(SOCKET);
            if UnixStream::connect(&socket).is_err() {
                let _ = fs::remove_file(&socket);
                let _ = fs::remove_dir(&path);
            }
        }
    }
}

/// The ids of such containers. While a run is under way they may be its own.
///
/// # Errors
/// When docker doesn't answer.
pub fn left_behind(docker: &Docker, service: &ServiceName) -> Result<Vec<String>> {
    docker.containers_with_label(&format!("{LABEL}={service}"))
}

/// Refuses to go on where docker's disk has no room for so many bytes. Where that can't be seen (docker on another host) it is not known.
///
/// # Errors
/// A [`Failure`] with both numbers.
pub fn refuse_small_disk(docker: &Docker, needed: u64) -> Result<()> {
    let Some(free) = docker
        .root_folder()
        .and_then(|folder| rustix::fs::statvfs(&folder).ok())
        .map(|space| space.f_bavail.saturating_mul(space.f_frsize))
    else {
        return Ok(());
    };
    if free >= needed {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "A throw-away container needs about {} MiB of docker's disk, but only {} MiB are free",
        needed >> 20,
        free >> 20
    ))
    .hint("Free some space and try again; nothing was changed")
    .into())
}

/// Libraries that the service's server preloads (an extension may insist on it), and how many objects a transaction may lock: a dump
/// takes one for each table. An answer is only to be had while it runs.
fn preloaded(service: &RunningService) -> Result<Vec<(String, String)>> {
    let Ok(mut client) = session::connect_beside(service) else { return Ok(Vec::new()) };
    let rows = client
        .query(
            "SELECT name::pg_catalog.text, setting::pg_catalog.text FROM pg_catalog.pg_settings \
             WHERE name IN ('shared_preload_libraries', 'max_locks_per_transaction') AND setting <> ''",
            &[],
        )
        .map_err(|error| anyhow!("{}", super::words(&error)))?;
    Ok(rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, postgres::Error>>()?)
}

fn random() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

/// A socket on the host that leads into the container.
#[derive(Debug)]
struct Relay {
    folder: PathBuf,
    over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Relay {
    fn listen(docker: &Docker, container: &str) -> Result<Self> {
        // Short, since a socket's path may have 107 bytes, and closed to others: whoever connects is super user there.
        let folder = std::env::temp_dir().join(format!("{FOLDER}{}", random()?));
        fs::DirBuilder::new().mode(0o700).create(&folder).context("a folder for a socket")?;
        let mut relay = Self { folder, over: Arc::default(), listening: None };
        let listener = UnixListener::bind(relay.socket()).context("a socket into the container")?;
        let (docker, container, over) = (docker.clone(), container.to_owned(), Arc::clone(&relay.over));
        relay.listening = Some(std::thread::spawn(move || {
            for session in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(session) = session else { continue };
                let (docker, container) = (docker.clone(), container.clone());
                std::thread::spawn(move || drop(carry(&docker, &container, &session)));
            }
        }));
        Ok(relay)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the listener, which looks at the flag then.
        let _ = UnixStream::connect(self.socket());
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Copies until either side ends. Not `io::copy`: it would splice, and a splice
/// from a socket holds the pipe's lock while it waits, so that the docker client at the other end gets nothing.
fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if buffer.get(..read).is_none_or(|bytes| to.write_all(bytes).and_then(|()| to.flush()).is_err()) {
            return;
        }
    }
}

/// One session: from the socket into the container and back, until either side ends.
fn carry(docker: &Docker, container: &str, session: &UnixStream) -> Result<()> {
    let port = PORT.to_string();
    let mut bash = docker.exec(container, &["bash", "-c", RELAY, "bash", &port], &[], Input::Piped)?;
    let (mut into, mut out) = (bash.stdin()?, bash.stdout()?);
    let mut from = session.try_clone()?;
    let forth = std::thread::spawn(move || copy(&mut from, &mut into));
    let mut to = session.try_clone()?;
    copy(&mut out, &mut to);
    // The server has ended: so has whoever still writes.
    let _ = session.shutdown(std::net::Shutdown::Both);
    let _ = forth.join();
    bash.cancel();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn sockets_at_which_nobody_listens_are_swept() {
        assert!(SOCKET.ends_with(&PORT.to_string()));
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            let listener = UnixListener::bind(path.join(SOCKET)).unwrap();
            fs::File::open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
            listener
        };
        let old = PATIENCE + Duration::from_secs(1);
        let _listening = place("pgbackup-000000000000000a", old);
        for (name, age) in [
            ("pgbackup-000000000000000b", old),
            ("pgbackup-000000000000000c", Duration::ZERO),
            ("pgbackup-of-another", old),
        ] {
            drop(place(name, age));
        }
        sweep_sockets(folder.path());
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["pgbackup-000000000000000a", "pgbackup-000000000000000c", "pgbackup-of-another"]);
    }
}
