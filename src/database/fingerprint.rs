//! What a database holds, read by direct queries: the side of a comparison that is *found*, and the parts of the *expected* side
//! that the dump itself doesn't tell.
//!
//! Counts are exact (`count(*)`), spread over a few sessions. Objects of extensions are left out: `CREATE EXTENSION` makes them,
//! and the extension's version is compared instead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use postgres::Client;
use postgres::error::SqlState;

use crate::checksum::Sum;
use crate::database::rows::{Refused, RowSession};
use crate::database::{large_objects, schema, session, snapshot, words};
use crate::interrupt;
use crate::manifest::{Fingerprint, Sequence};
use crate::service::RunningService;

/// Sessions that count side by side; a count of one large table is spread by the server itself.
const COUNTERS: usize = 2;
/// Sequences asked about in one statement.
const SEQUENCES_AT_ONCE: usize = 200;

/// Kinds of objects and how many there are, outside of the system's schemas and of extensions. Constraints that only say NOT NULL
/// are left out: PostgreSQL 18 lists them, its predecessors don't. The schema public is left out: every new database has it, and
/// pg_dump doesn't say when it was dropped.
const OBJECTS: &str = "
WITH ours AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
     member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
     class AS (SELECT c.* FROM pg_catalog.pg_class c WHERE c.relnamespace IN (SELECT oid FROM ours)
               AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid))
SELECT kind, pg_catalog.count(*)::pg_catalog.int8 FROM (
  SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'f' THEN 'foreign table'
              WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'composite type'
              WHEN 'm' THEN CASE WHEN c.relispopulated THEN 'materialized view' ELSE 'materialized view (not populated)' END END AS kind
    FROM class c WHERE c.relkind IN ('r', 'p', 'v', 'f', 'S', 'c', 'm')
  UNION ALL SELECT CASE WHEN c.relkind = 'I' THEN 'partitioned index' WHEN i.indisvalid THEN 'index' ELSE 'index (invalid)' END
    FROM class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  UNION ALL SELECT 'column' FROM class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT 'column default' FROM class c JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid
  UNION ALL SELECT CASE k.contype WHEN 'c' THEN 'check constraint' WHEN 'f' THEN 'foreign key' WHEN 'p' THEN 'primary key'
              WHEN 'u' THEN 'unique constraint' WHEN 'x' THEN 'exclusion constraint' ELSE 'other constraint' END
    FROM pg_catalog.pg_constraint k WHERE k.connamespace IN (SELECT oid FROM ours) AND k.contype <> 'n'
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = k.conrelid)
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = k.contypid)
  UNION ALL SELECT 'trigger' FROM class c JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
  UNION ALL SELECT 'rule' FROM class c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
  UNION ALL SELECT 'policy' FROM class c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
  UNION ALL SELECT 'function' FROM pg_catalog.pg_proc f WHERE f.pronamespace IN (SELECT oid FROM ours)
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = f.oid)
  UNION ALL SELECT CASE t.typtype WHEN 'e' THEN 'enum type' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range type' END
    FROM pg_catalog.pg_type t WHERE t.typnamespace IN (SELECT oid FROM ours) AND t.typtype IN ('e', 'd', 'r')
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
  UNION ALL SELECT 'enum value' FROM pg_catalog.pg_enum v JOIN pg_catalog.pg_type t ON t.oid = v.enumtypid WHERE t.typnamespace IN (SELECT oid FROM ours)
     AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)
  UNION ALL SELECT 'schema' FROM ours o JOIN pg_catalog.pg_namespace n ON n.oid = o.oid WHERE n.nspname <> 'public' AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = o.oid)
  UNION ALL SELECT 'event trigger' FROM pg_catalog.pg_event_trigger
  UNION ALL SELECT 'publication' FROM pg_catalog.pg_publication
) objects GROUP BY kind";

/// The kind of an index that a failed CREATE INDEX CONCURRENTLY has left. pg_dump doesn't dump it, so no backup holds one; in a restored
/// database it would be a difference.
pub const INVALID_INDEX: &str = "index (invalid)";

/// Extensions, objects by kind and large objects, as the session sees them: in the dump's snapshot for a backup, in the restored
/// database for a comparison. Rows and sequences are not in it.
///
/// # Errors
/// When the server refuses.
pub fn structure(client: &mut Client) -> Result<Fingerprint> {
    read_structure(client).map_err(|error| anyhow!("{}", words(&error))).context("Reading the catalog")
}

fn read_structure(client: &mut Client) -> Result<Fingerprint, postgres::Error> {
    let extensions = client
        // Every new database has plpgsql, and pg_dump doesn't say when it was dropped.
        .query(
            "SELECT extname::pg_catalog.text, extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'",
            &[],
        )?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, postgres::Error>>()?;
    let objects = client
        .query(OBJECTS, &[])?
        .iter()
        .map(|row| Ok((row.try_get(0)?, u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default())))
        .collect::<Result<_, postgres::Error>>()?;
    let large_objects: i64 = client
        .query_one("SELECT pg_catalog.count(*)::pg_catalog.int8 FROM pg_catalog.pg_largeobject_metadata", &[])?
        .try_get(0)?;
    Ok(Fingerprint {
        extensions,
        objects,
        large_objects: u64::try_from(large_objects).unwrap_or_default(),
        ..Fingerprint::default()
    })
}

/// Everything that is compared, read from a database that nobody else changes (a staging database); and which of its tables
/// belong to extensions. Of what costs something, only what is `expected` is read; `statements` are those that read the rows of each table
/// ([`copy_statements`](crate::database::dump::copy_statements)), and `encoding` is the database's own.
///
/// # Errors
/// When a table can't be read; the message names it.
pub fn read(
    service: &RunningService,
    database: &str,
    expected: &Fingerprint,
    statements: &BTreeMap<String, String>,
    encoding: &str,
) -> Result<(Fingerprint, BTreeSet<String>)> {
    let mut client = session::connect(service, database)?;
    let mut fingerprint = structure(&mut client)?;
    if let Some(expected) = &expected.schema {
        fingerprint.schema = Some(schema::read(&mut client, schema::Side::Found, expected.form())?);
    }
    fingerprint.sequences = sequences(&mut client)?;
    if !expected.large_object_contents.is_empty() {
        fingerprint.large_object_contents = large_objects::sums(&mut client)?;
    }
    let tables = snapshot::list_tables(&mut client)?;
    drop(client);
    let of_extensions = tables.iter().filter(|table| table.of_extension).map(|table| table.name.clone()).collect();
    let questions = tables
        .into_iter()
        .map(|table| {
            let statement = statements.get(&table.name).filter(|_| expected.contents.contains_key(&table.name));
            (table.name, statement.cloned())
        })
        .collect();
    for (table, rows, sum) in ask_all(service, database, encoding, questions)? {
        fingerprint.contents.extend(sum.map(|sum| (table.clone(), sum.to_string())));
        fingerprint.tables.insert(table, rows);
    }
    Ok((fingerprint, of_extensions))
}

/// Exact rows of one table as the session sees them.
///
/// # Errors
/// With the table's name.
pub fn count(client: &mut Client, table: &str) -> Result<u64> {
    let rows: i64 = client
        .query_one(&format!("SELECT pg_catalog.count(*)::pg_catalog.int8 FROM ONLY {table}"), &[])
        .and_then(|row| row.try_get(0))
        .map_err(|error| anyhow!("The table {table} can't be read: {}", words(&error)))?;
    Ok(u64::try_from(rows).unwrap_or_default())
}

/// Counts the rows of each table, or reads them with the statement that stands beside it and adds them up.
fn ask_all(
    service: &RunningService,
    database: &str,
    encoding: &str,
    questions: Vec<(String, Option<String>)>,
) -> Result<Vec<(String, u64, Option<Sum>)>> {
    let readers = COUNTERS.min(questions.len());
    let todo = Mutex::new(questions);
    let next = || todo.lock().map(|mut questions| questions.pop()).unwrap_or_default();
    let reader = || -> Result<Vec<(String, u64, Option<Sum>)>> {
        let mut client = session::connect(service, database)?;
        let mut rows_session = None;
        let mut answers = Vec::new();
        while let Some((table, statement)) = next() {
            interrupt::check()?;
            let Some(statement) = statement else {
                let rows = count(&mut client, &table)?;
                answers.push((table, rows, None));
                continue;
            };
            let session = match &mut rows_session {
                Some(session) => session,
                none => none.insert(RowSession::open(service, database, encoding)?),
            };
            let mut sum = Sum::default();
            match session.copy_as_chunks(&statement, &mut io::sink(), Some(&mut sum)) {
                Ok(rows) => answers.push((table, rows, Some(sum))),
                // A column is missing: that is a difference of the schema, and the rows can be counted all the same.
                Err(error) if is_undefined_column(&error) => {
                    rows_session = None;
                    let rows = count(&mut client, &table)?;
                    answers.push((table, rows, None));
                }
                Err(error) => return Err(error.context(format!("The table {table} can't be read"))),
            }
        }
        Ok(answers)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..readers).map(|_| scope.spawn(reader)).collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| anyhow!("a counting thread panicked"))??);
        }
        Ok(all)
    })
}

fn is_undefined_column(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == SqlState::UNDEFINED_COLUMN.code())
}

/// Those that a dump sets: an extension's own only where the extension has them dumped.
fn sequences(client: &mut Client) -> Result<BTreeMap<String, Sequence>> {
    read_sequences(client).map_err(|error| anyhow!("{}", words(&error))).context("Reading the sequences")
}

fn read_sequences(client: &mut Client) -> Result<BTreeMap<String, Sequence>, postgres::Error> {
    let names: Vec<String> = client
        .query(
            "SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
             AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
                              AND e.objid = c.oid AND e.deptype = 'e') \
                  OR EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE c.oid = ANY (x.extconfig)))",
            &[],
        )?
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let mut sequences = BTreeMap::new();
    for some in names.chunks(SEQUENCES_AT_ONCE) {
        let selects: Vec<String> = some
            .iter()
            .enumerate()
            .map(|(at, name)| format!("SELECT {at}::pg_catalog.int4, last_value, is_called FROM {name}"))
            .collect();
        for row in client.query(&selects.join(" UNION ALL "), &[])? {
            let at: i32 = row.try_get(0)?;
            if let Some(name) = usize::try_from(at).ok().and_then(|at| some.get(at)) {
                sequences.insert(name.clone(), Sequence { value: row.try_get(1)?, called: row.try_get(2)? });
            }
        }
    }
    Ok(sequences)
}
