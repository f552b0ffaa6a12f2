//! The dump: archive bytes into a sink, and the exact number of rows of every table.
//!
//! pg_dump runs in the container inside our snapshot and writes the schema. The archive's table of contents stands at the
//! front of its output; once it is read there are two ways to the rows:
//!
//! - **by TCP**: pg_dump is held (it blocks on its full pipe) and a session of ours in the same snapshot writes each data block from
//!   `COPY … TO STDOUT` ([`rows`](crate::database::rows)). Two to three times as fast as `docker exec`'s stdout.
//! - **pg_dump's own stream**, for what that can't carry (large objects, tables of extensions dumped with a condition, foreign tables,
//!   anything unknown) or when asked for. It is read block by block, so a stream that was cut off is never taken for whole.
//!
//! Both give the same entries and the same rows; a restore by stock pg_restore can't tell them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use anyhow::{Context, Result, anyhow, bail};
use postgres::error::SqlState;

use crate::checksum::{Ranges, Sum};
use crate::custom_format::{self, Entry, Toc};
use crate::database::rows::{Refused, RowSession};
use crate::database::session::{self, Session};
use crate::database::snapshot::Snapshot;
use crate::database::{APPLICATION, conninfo, literal, words};
use crate::docker::{Docker, Input, Running};
use crate::interrupt;
use crate::manifest::Sequence;
use crate::service::RunningService;
use crate::step::step;

/// Bytes moved at once from pg_dump's stream.
const BUFFER: usize = 256 * 1024;
/// How long the sessions that dump wait for a table. The snapshot has it locked already: who is in the way is waiting for us.
const LOCK_WAIT: &str = "3s";

/// How rows travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// By TCP where that can carry everything, else by pg_dump.
    #[default]
    Auto,
    /// Always pg_dump's own stream.
    PgDump,
}

/// What a finished dump held.
#[derive(Debug)]
pub struct Dumped {
    /// Exact rows by table (qualified, quoted), of each table whose rows are in the dump in full.
    pub rows: BTreeMap<String, u64>,
    /// Number of large objects in it.
    pub large_objects: u64,
    /// Sequences as the dump sets them.
    pub sequences: BTreeMap<String, Sequence>,
    /// Checksums of the rows of the same tables, where they were asked for.
    pub contents: BTreeMap<String, String>,
    /// And of the large objects.
    pub large_object_contents: Ranges,
    /// Which way was taken, for the history.
    pub engine: &'static str,
}

/// A statement that changes tables came between the snapshot's locks and those of the sessions that dump. It waits for the snapshot,
/// and they would wait behind it for ever: with a new snapshot all of them get on. Nothing has been written into the sink.
#[derive(Debug, thiserror::Error)]
#[error(
    "Tables of the database are being changed all the time (migrations?), so that they can't be dumped in one snapshot: {0}"
)]
pub struct Overtaken(String);

/// Dumps the service's database as the snapshot sees it. `encoding` is the database's own; `sums` asks for checksums of the rows.
///
/// All locks are taken before the first byte is written: a statement that queues for a table later (a migration) waits for
/// us, and nothing of ours ever waits behind it.
///
/// # Errors
/// [`Overtaken`] before anything was written. Else when pg_dump fails, its output is not whole, a row session fails, or the sink
/// does; the sink has part of a dump then.
pub fn dump(
    docker: &Docker,
    service: &RunningService,
    snapshot: &Snapshot,
    encoding: &str,
    engine: Engine,
    sums: bool,
    sink: &mut dyn Write,
) -> Result<Dumped> {
    let rows = match engine {
        Engine::Auto => Some(lock_rows(service, snapshot, encoding)?),
        Engine::PgDump => None,
    };
    step!("dump.locked");
    let mut pg_dump = start(docker, service, snapshot, encoding)?;
    step!("dump.started");
    let mut stream = pg_dump.stdout()?;
    let toc = match Toc::read(&mut stream) {
        Ok(toc) => toc,
        Err(error) => {
            interrupt::check()?;
            // pg_dump's own words say more than "the archive ends early".
            drop(stream);
            pg_dump.finish().map_err(explain)?;
            return Err(anyhow!(error).context("pg_dump's output is not an archive"));
        }
    };
    sink.write_all(toc.bytes())?;
    step!("dump.schema");
    let sequences = sequences(&toc, &mut Names { service, encoding, client: None })?;
    let by_tcp = rows.and_then(|session| Some((session, blocks(&toc, snapshot)?)));
    if let Some((session, blocks)) = by_tcp {
        let (rows, contents) = copy_rows(session, &blocks, sums, sink)?;
        step!("dump.rows");
        drop(stream);
        pg_dump.cancel();
        let large_object_contents = Ranges::default();
        let engine = "rows by TCP";
        return Ok(Dumped { rows, large_objects: 0, sequences, contents, large_object_contents, engine });
    }
    let held = by_pg_dump(&toc, stream, pg_dump, sums, sink)?;
    let entries: BTreeMap<i32, Entry> = toc.tables().map(|entry| (entry.dump_id, entry)).collect();
    let through_root = summed_at_root(&toc);
    let named = |(id, sum): (&i32, &Sum)| {
        let is_whole = |entry: &&Entry| entry.definition.is_empty() || through_root.contains(&entry.dump_id);
        let entry = entries.get(id).filter(is_whole)?;
        let table = snapshot.tables().get(&entry.oid).filter(|table| !table.of_extension)?;
        Some((table.name.clone(), sum.to_string()))
    };
    Ok(Dumped {
        rows: named_rows(&toc, snapshot, &held),
        large_objects: held.large_objects,
        sequences,
        contents: held.sums.iter().filter_map(named).collect(),
        large_object_contents: held.large_object_sums,
        engine: "pg_dump",
    })
}

fn start(docker: &Docker, service: &RunningService, snapshot: &Snapshot, encoding: &str) -> Result<Running> {
    let snapshot = format!("--snapshot={}", snapshot.id());
    let lock_wait = format!("--lock-wait-timeout={LOCK_WAIT}");
    let encoding = format!("--encoding={encoding}");
    let database = conninfo(&service.service.database);
    let arguments =
        ["pg_dump", "--format=custom", "--compress=0", "--no-password", &lock_wait, &snapshot, &encoding, &database];
    // As our own sessions have it, so that both ways give the same bytes. (It sets the timeouts aside by itself, with a statement that a
    // timeout of milliseconds may end.)
    let options = format!("{} -c timezone=UTC -c bytea_output=hex", session::FROM_THE_START);
    let environment =
        [("PGPASSWORD", service.service.password.reveal()), ("PGAPPNAME", APPLICATION), ("PGOPTIONS", &options)];
    docker.exec(&service.service.container, &arguments, &environment, Input::Held)
}

/// Partitions whose rows are loaded through the root of their tree, each with that root. pg_dump asks for that where a row may come to lie in
/// another partition than before: with hash partitions by an enum type, whose values have other oids in each database.
pub fn loaded_through_root(toc: &Toc) -> BTreeMap<String, String> {
    toc.tables()
        .filter_map(|entry| {
            let (root, _) = entry.copy_target()?;
            let (root, name) = (String::from_utf8_lossy(root).into_owned(), entry.qualified_name());
            (root != name).then_some((name, root))
        })
        .collect()
}

/// Those of them whose rows have the same line whichever partition of their tree they lie in: its columns stand in the same order in all of
/// them. Only then their checksums add up to one of the whole tree.
fn summed_at_root(toc: &Toc) -> BTreeSet<i32> {
    let mut orders: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
    let mut partitions: Vec<(i32, &[u8])> = Vec::new();
    for entry in toc.tables() {
        let Some((root, columns)) = entry.copy_target() else { continue };
        if root != entry.qualified_name().as_bytes() {
            orders.entry(root).or_default().insert(columns);
            partitions.push((entry.dump_id, root));
        }
    }
    let even = |root: &[u8]| orders.get(root).is_some_and(|orders| orders.len() == 1);
    partitions.into_iter().filter(|(_, root)| even(root)).map(|(id, _)| id).collect()
}

/// The statements that read the rows of each table as the dump holds them (its columns, in its order), by table.
pub fn copy_statements(toc: &Toc) -> BTreeMap<String, String> {
    let through_root = summed_at_root(toc);
    toc.tables()
        .filter_map(|entry| {
            let columns = std::str::from_utf8(entry.copy_statement?).ok()?.strip_suffix(" FROM stdin;\n")?;
            let name = entry.qualified_name();
            if through_root.contains(&entry.dump_id) {
                let (root, _) = entry.copy_target()?;
                let columns = columns.get("COPY ".len() + root.len()..)?;
                return Some((name.clone(), format!("COPY {name}{columns} TO STDOUT")));
            }
            columns
                .strip_prefix("COPY ")?
                .strip_prefix(name.as_str())?
                .strip_prefix(' ')
                .filter(|_| entry.definition.is_empty())?;
            Some((name, format!("{columns} TO STDOUT")))
        })
        .collect()
}

/// A data block that a row session can write.
struct Block<'a> {
    dump_id: i32,
    table: &'a str,
    statement: String,
}

/// The data blocks in order, with the statement that pg_dump runs for each; `None` when one of them is more than a plain table.
fn blocks<'a>(toc: &Toc, snapshot: &'a Snapshot) -> Option<Vec<Block<'a>>> {
    if toc.int_size() != 4 || toc.compression() != custom_format::Compression::None {
        return None;
    }
    toc.entries()
        .filter(|entry| entry.has_data)
        .map(|entry| {
            let table = snapshot.tables().get(&entry.oid)?;
            // Data that goes through a partitioned table's root is marked in the entry's definition.
            if table.of_extension || !entry.is_table_data() || !entry.definition.is_empty() {
                return None;
            }
            let statement = std::str::from_utf8(entry.copy_statement?).ok()?;
            let columns = statement.strip_suffix(" FROM stdin;\n")?;
            // What it copies must be the very table, by the very name.
            columns.strip_prefix("COPY ")?.strip_prefix(table.name.as_str())?.strip_prefix(' ')?;
            Some(Block { dump_id: entry.dump_id, table: &table.name, statement: format!("{columns} TO STDOUT") })
        })
        .collect()
}

/// A session in the snapshot that holds the locks that it will need.
fn lock_rows(service: &RunningService, snapshot: &Snapshot, encoding: &str) -> Result<RowSession> {
    let mut session = RowSession::join(service, &service.service.database, encoding, snapshot.id())?;
    let names: Vec<&str> = snapshot.tables().values().map(|table| table.name.as_str()).collect();
    if !names.is_empty() {
        // These names are in our encoding; what is copied is in the database's.
        session.execute(&format!("SET client_encoding = 'UTF8'; SET lock_timeout = '{LOCK_WAIT}'"))?;
        session.execute(&format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY "))).map_err(
            |error| match error.downcast_ref::<Refused>() {
                Some(refused) if refused.code == SqlState::LOCK_NOT_AVAILABLE.code() => {
                    Overtaken(error.to_string()).into()
                }
                _ => error,
            },
        )?;
        session.execute(&format!("SET client_encoding = {}; SET lock_timeout = 0", literal(encoding)))?;
    }
    Ok(session)
}

/// What pg_dump says when a table, or something else that it looks at, was about to change or go. The messages are those of the
/// server, in the language of its logs; an unknown one is a failure like any other.
fn explain(error: anyhow::Error) -> anyhow::Error {
    const SIGNS: [&str; 4] = ["LOCK TABLE", "cache lookup failed", "could not open relation", "could not find tuple"];
    let text = error.to_string();
    if SIGNS.iter().any(|sign| text.contains(sign)) { Overtaken(text).into() } else { error }
}

/// Rows and, where they are asked for, checksums by table.
fn copy_rows(
    mut session: RowSession,
    blocks: &[Block],
    sums: bool,
    sink: &mut dyn Write,
) -> Result<(BTreeMap<String, u64>, BTreeMap<String, String>)> {
    let (mut rows, mut contents) = (BTreeMap::new(), BTreeMap::new());
    for Block { dump_id, table, statement } in blocks {
        interrupt::check()?;
        sink.write_all(&custom_format::block_start(*dump_id))?;
        let mut sum = sums.then(Sum::default);
        step!("dump.table");
        let count = session
            .copy_as_chunks(statement, sink, sum.as_mut())
            .with_context(|| format!("Reading the table {table}"))?;
        sink.write_all(&custom_format::END_MARK_CHUNK)?;
        sink.write_all(&custom_format::BLOCK_END)?;
        rows.insert((*table).to_owned(), count);
        contents.extend(sum.map(|sum| ((*table).to_owned(), sum.to_string())));
    }
    Ok((rows, contents))
}

fn by_pg_dump(
    toc: &Toc,
    mut stream: impl Read,
    pg_dump: Running,
    sums: bool,
    sink: &mut dyn Write,
) -> Result<custom_format::Contents> {
    let mut tally = custom_format::Tally::new(toc);
    if sums {
        tally = tally.with_sums();
    }
    let mut buffer = vec![0; BUFFER];
    let walked = loop {
        interrupt::check()?;
        let read = stream.read(&mut buffer).context("reading from pg_dump")?;
        if read == 0 {
            break tally.finish();
        }
        let bytes = buffer.get(..read).unwrap_or_default();
        tally.feed(bytes)?;
        sink.write_all(bytes)?;
    };
    drop(stream);
    pg_dump.finish()?;
    walked.map_err(|error| anyhow!(error).context("pg_dump says that it succeeded, but its output is not whole"))
}

/// Row counts of pg_dump's stream by table name; only of tables that are dumped in full.
fn named_rows(toc: &Toc, snapshot: &Snapshot, contents: &custom_format::Contents) -> BTreeMap<String, u64> {
    toc.entries()
        .filter(Entry::is_table_data)
        .filter_map(|entry| {
            let table = snapshot.tables().get(&entry.oid).filter(|table| !table.of_extension)?;
            let rows = contents.rows.get(&entry.dump_id).copied().flatten()?;
            Some((table.name.clone(), rows))
        })
        .collect()
}

/// The state that the dump gives each sequence: sequences don't obey snapshots, so what pg_dump read is the truth of this backup.
fn sequences(toc: &Toc, names: &mut Names) -> Result<BTreeMap<String, Sequence>> {
    toc.entries()
        .filter(|entry| entry.description == b"SEQUENCE SET")
        .map(|entry| {
            let (name, state) = parse_setval(entry.definition).with_context(|| {
                format!("pg_dump sets a sequence in an unknown way: {}", entry.definition.escape_ascii())
            })?;
            Ok((names.read(name)?, state))
        })
        .collect()
}

/// Reads names that pg_dump wrote, in the encoding of the database.
struct Names<'a> {
    service: &'a RunningService,
    encoding: &'a str,
    client: Option<Session>,
}

impl Names<'_> {
    fn read(&mut self, name: Vec<u8>) -> Result<String> {
        if name.is_ascii() || matches!(self.encoding, "UTF8" | "SQL_ASCII") {
            return Ok(String::from_utf8(name)?);
        }
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(session::connect(self.service, &self.service.service.database)?),
        };
        client
            .query_one(
                "SELECT pg_catalog.convert_from($1, $2::pg_catalog.text::pg_catalog.name)",
                &[&name, &self.encoding],
            )
            .and_then(|row| row.try_get(0))
            .map_err(|error| anyhow!("{}", words(&error)))
    }
}

/// Reads `SELECT pg_catalog.setval('public.users_id_seq', 562, true);`. No encoding of a server has quotes or backslashes inside
/// of other letters.
fn parse_setval(statement: &[u8]) -> Option<(Vec<u8>, Sequence)> {
    const CALL: &[u8] = b"setval(";
    let call = statement.windows(CALL.len()).position(|window| window == CALL)? + CALL.len();
    let call = statement.get(call..)?;
    let (escaped, quoted) = match call.strip_prefix(b"'") {
        Some(rest) => (false, rest),
        None => (true, call.strip_prefix(b"E'").or_else(|| call.strip_prefix(b" E'"))?),
    };
    let mut name = Vec::new();
    let mut letters = quoted.iter();
    loop {
        match *letters.next()? {
            b'\'' if letters.as_slice().starts_with(b"'") => name.push(*letters.next()?),
            b'\'' => break,
            b'\\' if escaped => name.push(*letters.next()?),
            letter => name.push(letter),
        }
    }
    let rest = std::str::from_utf8(letters.as_slice()).ok()?;
    let mut arguments = rest.strip_prefix(", ")?.split(')').next()?.split(", ");
    let value = arguments.next()?.parse().ok()?;
    let called = arguments.next()? == "true";
    Some((name, Sequence { value, called }))
}

/// Fails when a table's rows were neither counted by the dump nor can be (nothing of this kind is known).
///
/// # Errors
/// With the table's name.
pub fn require_all(
    tables: &BTreeMap<u32, crate::database::snapshot::Table>,
    rows: &BTreeMap<String, u64>,
) -> Result<()> {
    match tables.values().find(|table| !table.of_extension && !rows.contains_key(&table.name)) {
        None => Ok(()),
        Some(table) => bail!("The table {} is not in the dump", table.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pg_dump_sets() {
        let read = |statement: &[u8]| {
            let (name, state) = parse_setval(statement)?;
            Some((String::from_utf8(name).ok()?, state.value, state.called))
        };
        let expected = |name: &str, value, called| Some((name.to_owned(), value, called));
        assert_eq!(
            read(b"SELECT pg_catalog.setval('public.users_id_seq', 562, true);\n"),
            expected("public.users_id_seq", 562, true)
        );
        assert_eq!(
            read(br#"SELECT pg_catalog.setval('"Odd"."it''s, a seq"', -1, false);"#),
            expected(r#""Odd"."it's, a seq""#, -1, false)
        );
        assert_eq!(read(br"SELECT pg_catalog.setval( E'public.a\\b', 1, true);"), expected(r"public.a\b", 1, true));
        assert_eq!(read(b"SELECT 1"), None);
        let (latin, _) = parse_setval(b"SELECT pg_catalog.setval('public.caf\xe9', 1, true);").unwrap();
        assert_eq!(latin, b"public.caf\xe9");
    }
}
