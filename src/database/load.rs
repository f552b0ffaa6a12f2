//! Loading a dump into a staging database: one stream for schema and rows, then indexes and constraints side by side.
//!
//! `pg_restore -j` wants a file it can seek in, and we have a stream and no scratch disk. But indexes and constraints need only the
//! archive's table of contents, which stands at its front: so the stream goes once through `pg_restore` for pre-data and data, and the
//! few bytes of the table of contents are then put into the container for `pg_restore -j --section=post-data`.
//! The staging database is nobody else's, so the first error ends it: nothing is ever "ignored on restore".

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result, anyhow, bail};
use postgres::Client;
use postgres::error::SqlState;

use crate::custom_format::{Contents, Tally, Toc};
use crate::database::{APPLICATION, conninfo, session, words};
use crate::docker::{Docker, Input};
use crate::error::Failure;
use crate::interrupt;
use crate::manifest::Manifest;
use crate::service::RunningService;
use crate::step::step;
use crate::text::printable;

/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;
/// Index builds side by side: more would take the server's memory from the application.
const JOBS: usize = 4;
/// The staging database can be loaded again: its rows needn't be on disk at each commit. The checkpoint before the swap sees to that. A server
/// whose `array_nulls` is off would take each NULL in an array for the text "NULL", and pg_dump doesn't say what it had.
const OPTIONS: &str = "-c synchronous_commit=off -c maintenance_work_mem=128MB -c default_transaction_read_only=off -c array_nulls=on -c quote_all_identifiers=off";

/// Refuses a dump that this server can't take, before anything is created.
///
/// # Errors
/// A [`Failure`] that names what doesn't fit.
pub fn check_fits(toc: &Toc, client: &mut Client, service: &RunningService) -> Result<()> {
    let (server, dump) = (toc.server_version(), toc.dump_version());
    refuse_newer(&[("PostgreSQL", &server), ("pg_dump", &dump)], client, service)?;
    let extensions = toc.entries().filter(|entry| entry.description == b"EXTENSION");
    let extensions: Vec<String> = extensions.map(|entry| String::from_utf8_lossy(entry.tag).into_owned()).collect();
    refuse_missing(&extensions, client, service)
}

/// The same of what a manifest says of a dump that is not read yet. (Which pg_dump has made it only the dump can say.)
///
/// # Errors
/// A [`Failure`] that names what doesn't fit.
pub fn check_described(manifest: &Manifest, client: &mut Client, service: &RunningService) -> Result<()> {
    refuse_newer(&[("PostgreSQL", &manifest.server.version)], client, service)?;
    let extensions: Vec<String> = manifest.fingerprint.extensions.keys().cloned().collect();
    refuse_missing(&extensions, client, service)
}

/// Refuses a dump by the versions of what has made it.
fn refuse_newer(made_with: &[(&str, &str)], client: &mut Client, service: &RunningService) -> Result<()> {
    let here = session::version_number(client)? / 10_000;
    let name = &service.service.name;
    for (what, version) in made_with {
        let major = version.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse::<i32>().ok());
        if major.is_some_and(|major| major > here) {
            return Err(Failure::failed(format!(
                "The backup was made with {what} {}, but {name} runs PostgreSQL {here}",
                printable(version)
            ))
            .hint(format!(
                "Restore it into a newer service, made with: dokku postgres:create <name> --image-version {}",
                major.unwrap_or_default()
            ))
            .into());
        }
    }
    Ok(())
}

/// Refuses a dump that needs an extension which the server's image doesn't have.
fn refuse_missing(wanted: &[String], client: &mut Client, service: &RunningService) -> Result<()> {
    let rows = client
        .query(
            "SELECT w FROM pg_catalog.unnest($1::pg_catalog.text[]) w WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = w)",
            &[&wanted],
        )
        .map_err(|error| anyhow!("{}", words(&error)))?;
    let missing: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    if missing.is_empty() {
        return Ok(());
    }
    let name = &service.service.name;
    Err(Failure::failed(format!("The image of {name} has no extension {}, which the backup needs", missing.join(", ")))
        .hint(format!("Restore it into a service with the image it was made on: dokku postgres:create <name> --image <image> ({name} runs {})", service.image))
        .into())
}

/// Roles that own something in the dump.
pub fn owners(toc: &Toc) -> Vec<String> {
    let mut owners: Vec<String> = toc
        .entries()
        .filter_map(|entry| entry.owner)
        .filter(|owner| !owner.is_empty())
        .map(|owner| String::from_utf8_lossy(owner).into_owned())
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// Loads schema and rows. `rest` is the dump behind its table of contents; it is read to its end. Returns what was in it.
///
/// # Errors
/// With pg_restore's words, or when the dump is damaged or cut off.
pub fn schema_and_rows(
    docker: &Docker,
    service: &RunningService,
    database: &str,
    toc: &Toc,
    rest: &mut dyn Read,
) -> Result<Contents> {
    let target = conninfo(database);
    let arguments = [
        "pg_restore",
        "--section=pre-data",
        "--section=data",
        "--exit-on-error",
        "--no-subscriptions",
        "--no-password",
        &target,
    ];
    let mut pg_restore =
        docker.exec(&service.service.container, &arguments, &environment(service, &options(service)?), Input::Piped)?;
    drop(pg_restore.stdout()?);
    let mut input = pg_restore.stdin()?;
    let mut tally = Tally::new(toc);
    let mut listening = write_unless_closed(&mut input, toc.bytes())?;
    step!("load.begun");
    let mut buffer = vec![0; BUFFER];
    loop {
        interrupt::check()?;
        let read = rest.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        tally.feed(bytes).context("The dump in the backup is damaged")?;
        if listening {
            listening = write_unless_closed(&mut input, bytes)?;
        }
        if !listening {
            // pg_restore has ended before its input did: it has something to say.
            break;
        }
    }
    // What we have seen of the dump comes first: pg_restore would speak of a file that it can't read.
    let contents = if listening { Some(tally.finish().context("The dump in the backup is cut off")?) } else { None };
    step!("load.fed");
    drop(input);
    pg_restore.finish().map_err(explain)?;
    step!("staging.loaded");
    contents.ok_or_else(|| anyhow!("pg_restore stopped reading before the dump's end"))
}

/// Whether the program still listens.
fn write_unless_closed(input: &mut impl Write, bytes: &[u8]) -> Result<bool> {
    match input.write_all(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("writing to pg_restore"),
    }
}

/// Builds indexes, constraints, triggers and the like, several at a time. Returns the foreign keys that the rows break.
///
/// Rows can break a foreign key that stands over them (`session_replication_role = replica`, as in many a runbook). pg_dump dumps such
/// a database without a word, and no tool can restore it; here the key comes back `NOT VALID`: it holds for what is written from now
/// on, and the rows are those that were saved.
///
/// Whatever else can't be built is returned as pg_restore says it, and is a difference: the rows are all there.
///
/// # Errors
/// When pg_restore can't be run.
pub fn indexes_and_constraints(
    docker: &Docker,
    service: &RunningService,
    database: &str,
    toc: &Toc,
) -> Result<PostData> {
    let container = &service.service.container;
    let target = conninfo(database);
    let contents = ContainerFile::write(docker, container, toc.bytes())?;
    let jobs = format!("--jobs={}", std::thread::available_parallelism().map_or(1, usize::from).clamp(1, JOBS));
    let arguments =
        ["pg_restore", "--section=post-data", "--no-subscriptions", "--no-password", &jobs, &target, &contents.path];
    step!("load.placed");
    let mut pg_restore = docker.exec(container, &arguments, &environment(service, &options(service)?), Input::Held)?;
    step!("load.building");
    // With a database to restore into it prints nothing.
    drop(pg_restore.stdout()?);
    let ended = pg_restore.ended()?;
    if ended.status.success() {
        return Ok(PostData::default());
    }
    let all = ended.words.join("; ");
    // Its last line when it has tried everything is "warning: errors ignored on restore: 2". The number is not the one that we want:
    // with several jobs pg_restore counts an error twice, once where it happened and once where it is heard of.
    if !ended.words.iter().any(|line| line.contains("errors ignored on restore: ")) {
        return Err(explain(anyhow!("pg_restore can't build the indexes and constraints: {all}")));
    }
    let keys = add_broken_foreign_keys(&mut *session::connect(service, database)?, toc)?;
    let missing = if ended.errors > keys.added { Some(all) } else { None };
    Ok(PostData { broken_keys: keys.broken, missing })
}

/// What became of indexes and constraints.
#[derive(Debug, Default)]
pub struct PostData {
    /// Foreign keys that the rows break, restored as `NOT VALID`: schema, table and key, quoted as the fingerprint has them.
    pub broken_keys: BTreeSet<String>,
    /// What pg_restore said of anything else that it could not build.
    pub missing: Option<String>,
}

/// Foreign keys that pg_restore could not add.
struct AddedKeys {
    /// How many were added here, whatever the reason was that they were missing.
    added: usize,
    /// Those that rows break.
    broken: BTreeSet<String>,
}

/// Adds each foreign key that is missing, without a look at the rows that are there; then looks. One that no row breaks was missing for
/// another reason, and is valid now; where the look itself fails nothing is said of the key, so that it stands out in the comparison.
///
/// # Errors
/// When the catalog can't be read.
fn add_broken_foreign_keys(client: &mut Client, toc: &Toc) -> Result<AddedKeys> {
    // The names as the fingerprint's `schema.sql` writes them.
    const NOT_VALID: &str = "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, k.conname),
            pg_catalog.format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I', n.nspname, c.relname, k.conname)
        FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE k.contype = 'f' AND NOT k.convalidated";
    let not_valid = |client: &mut Client| -> Result<BTreeMap<String, String>> {
        let rows = client.query(NOT_VALID, &[]).map_err(|error| anyhow!("{}", words(&error)))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    };
    let saved_so = not_valid(client)?;
    let mut keys = AddedKeys { added: 0, broken: BTreeSet::new() };
    for entry in toc.entries().filter(|entry| entry.description == b"FK CONSTRAINT") {
        let Ok(definition) = std::str::from_utf8(entry.definition) else { continue };
        let Some(statement) = definition.trim_end().strip_suffix(';').filter(|text| !text.ends_with("NOT VALID"))
        else {
            continue;
        };
        // One that is there already says so ("already exists"): only those that are missing are added.
        if client.execute(&format!("{statement} NOT VALID"), &[]).is_ok() {
            keys.added += 1;
        }
    }
    for (name, validate) in not_valid(client)? {
        if saved_so.contains_key(&name) {
            continue;
        }
        let breaks = |error: postgres::Error| error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION);
        if client.batch_execute(&validate).is_err_and(breaks) {
            keys.broken.insert(name);
        }
    }
    Ok(keys)
}

/// Gives the planner its statistics, so that the application is as fast as before from its first query.
///
/// # Errors
/// In PostgreSQL's words.
pub fn analyze(service: &RunningService, database: &str) -> Result<()> {
    session::connect(service, database)?.batch_execute("ANALYZE").map_err(|error| anyhow!("ANALYZE: {}", words(&error)))
}

/// Settings of pg_restore's sessions. They wait for a slow store, so no timeout of the role or the database may end them.
fn options(service: &RunningService) -> Result<String> {
    Ok(format!("{} {OPTIONS}", session::without_timeouts(service)?))
}

fn environment<'a>(service: &'a RunningService, options: &'a str) -> [(&'static str, &'a str); 3] {
    [("PGPASSWORD", service.service.password.reveal()), ("PGAPPNAME", APPLICATION), ("PGOPTIONS", options)]
}

/// Adds what a user can do about the errors of pg_restore that they will meet.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.contains("No space left on device") || text.contains("could not extend file") {
        return Failure::failed("The disk of the service's data is full")
            .hint("Free some space and run the restore again; the live database was not touched")
            .because(error)
            .into();
    }
    error
}

/// A small file in the container, for the user we run as there alone; removed when this is dropped.
struct ContainerFile<'a> {
    docker: &'a Docker,
    container: &'a str,
    path: String,
}

impl<'a> ContainerFile<'a> {
    fn write(docker: &'a Docker, container: &'a str, bytes: &[u8]) -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no random numbers: {error}"))?;
        let file = Self { docker, container, path: format!("/tmp/pgbackup-{:016x}.toc", u64::from_le_bytes(random)) };
        // Whoever holds the service's lock is alone here: others are those of runs that were killed.
        let write = r#"umask 077 && rm -f /tmp/pgbackup-????????????????.toc && exec cat >"$1""#;
        let arguments = ["sh", "-c", write, "sh", &file.path];
        let mut cat = docker.exec(container, &arguments, &[], Input::Piped)?;
        let mut input = cat.stdin()?;
        let written = write_unless_closed(&mut input, bytes)?;
        drop(input);
        cat.finish().context("Can't write the dump's table of contents into the container")?;
        if written { Ok(file) } else { bail!("Can't write the dump's table of contents into the container") }
    }
}

impl Drop for ContainerFile<'_> {
    fn drop(&mut self) {
        let _ = self.docker.exec_output(self.container, &["rm", "-f", &self.path], &[]);
    }
}
