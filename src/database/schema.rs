//! The objects of a database one by one, read from the catalog in a few queries.
//!
//! What PostgreSQL writes of an object (`pg_get_…`) it writes in part from the present state and not from the snapshot, while DDL goes
//! on: so a backup reads twice, before and behind the dump, and keeps what was the same both times. Names are qualified and quoted:
//! the search path of our sessions is empty.

use anyhow::{Context, Result, anyhow};
use fallible_iterator::FallibleIterator;
use postgres::Client;

use crate::database::snapshot::Snapshot;
use crate::database::{session, words};
use crate::manifest::schema::{Object, Schema};

/// A lock that the snapshot doesn't hold already (on a view, on the root of partitions) is waited for this long: whoever has it may be waiting
/// for us.
const LOCK_TIMEOUT: &str = "3s";

/// Name, what it is part of, definition; see there.
const QUERIES: &str = include_str!("schema.sql");

/// What stands in front of each query. `foreign_acl`: what was given of objects that are not dumped themselves but for their grants,
/// the server's own and those of extensions.
const VIEWS: &str = "WITH ours AS (SELECT oid, nspname, nspowner, nspacl, pg_catalog.quote_ident(nspname) AS name FROM pg_catalog.pg_namespace
    WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'),
  member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'),
  class AS (SELECT c.oid, c.relkind, c.relpersistence, c.relispopulated, c.relispartition, c.relpartbound, c.reloftype, c.reloptions, c.relreplident,
      c.relrowsecurity, c.relforcerowsecurity, c.relowner, c.relacl, c.reltype, c.reltoastrelid, c.relam, o.name || '.' || pg_catalog.quote_ident(c.relname) AS name,
      CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
        WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'composite type' END AS kind
    FROM pg_catalog.pg_class c JOIN ours o ON o.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid)),
  type AS (SELECT t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault, t.typcollation, t.typowner, t.typacl, o.name || '.' || pg_catalog.quote_ident(t.typname) AS name,
      CASE t.typtype WHEN 'e' THEN 'enum type' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range type' WHEN 'c' THEN 'composite type' WHEN 'p' THEN 'type without definition' ELSE 'type' END AS kind
    FROM pg_catalog.pg_type t JOIN ours o ON o.oid = t.typnamespace
    WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'p' AND NOT t.typisdefined) OR (t.typtype = 'b' AND t.typcategory <> 'A')
        OR (t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')))
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid)),
  owned (what, part_of, owner, acl, acl_kind, acl_owner) AS (
    SELECT kind || ' ' || name, kind || ' ' || name, relowner, relacl, (CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::pg_catalog.\"char\", relowner FROM class WHERE relkind <> 'c'
    UNION ALL SELECT 'column ' || c.name || '.' || pg_catalog.quote_ident(a.attname), c.kind || ' ' || c.name, NULL, a.attacl, 'c'::pg_catalog.\"char\", c.relowner
      FROM class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT kind || ' ' || name, kind || ' ' || name, typowner, typacl, 'T', typowner FROM type
    UNION ALL SELECT 'function ' || o.name || '.' || pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
        'function ' || o.name || '.' || pg_catalog.quote_ident(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', p.proowner, p.proacl, 'f', p.proowner
      FROM pg_catalog.pg_proc p JOIN ours o ON o.oid = p.pronamespace
      WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid)
    UNION ALL SELECT 'schema ' || o.name, 'schema ' || o.name, o.nspowner, o.nspacl, 'n', o.nspowner FROM ours o WHERE (o.nspname <> 'public' OR %PUBLIC%)
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = o.oid)
    UNION ALL SELECT 'server ' || pg_catalog.quote_ident(s.srvname), 'server ' || pg_catalog.quote_ident(s.srvname), s.srvowner, s.srvacl, 'S', s.srvowner FROM pg_catalog.pg_foreign_server s
      WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass AND m.objid = s.oid)
    UNION ALL SELECT 'publication ' || pg_catalog.quote_ident(p.pubname), 'publication ' || pg_catalog.quote_ident(p.pubname), p.pubowner, NULL, NULL, NULL FROM pg_catalog.pg_publication p
    UNION ALL SELECT 'event trigger ' || pg_catalog.quote_ident(e.evtname), 'event trigger ' || pg_catalog.quote_ident(e.evtname), e.evtowner, NULL, NULL, NULL FROM pg_catalog.pg_event_trigger e
      WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND m.objid = e.oid)
    UNION ALL SELECT 'statistics ' || o.name || '.' || pg_catalog.quote_ident(s.stxname), 'statistics ' || o.name || '.' || pg_catalog.quote_ident(s.stxname), s.stxowner, NULL, NULL, NULL
      FROM pg_catalog.pg_statistic_ext s JOIN ours o ON o.oid = s.stxnamespace JOIN class c ON c.oid = s.stxrelid),
  foreign_acl (classid, objid, objsubid, acl, kind, owner) AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, oid, 0, relacl, (CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::pg_catalog.\"char\", relowner FROM pg_catalog.pg_class WHERE relacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, a.attnum, a.attacl, 'c', c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, 0, proacl, 'f', proowner FROM pg_catalog.pg_proc WHERE proacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, 0, typacl, 'T', typowner FROM pg_catalog.pg_type WHERE typacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, 0, nspacl, 'n', nspowner FROM pg_catalog.pg_namespace WHERE nspacl IS NOT NULL AND nspname NOT IN ('public', 'information_schema')
    UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, oid, 0, lanacl, 'l', lanowner FROM pg_catalog.pg_language WHERE lanacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, 0, fdwacl, 'F', fdwowner FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwacl IS NOT NULL
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, 0, srvacl, 'S', srvowner FROM pg_catalog.pg_foreign_server WHERE srvacl IS NOT NULL),
  thing (what, part_of, owner, acl, acl_base) AS (
    SELECT what, part_of, owner, acl, pg_catalog.acldefault(acl_kind, acl_owner) FROM owned
    UNION ALL SELECT i.type || ' ' || i.identity, i.type || ' ' || i.identity, NULL, f.acl, COALESCE(p.initprivs, pg_catalog.acldefault(f.kind, f.owner))
      FROM foreign_acl f LEFT JOIN pg_catalog.pg_init_privs p ON p.classoid = f.classid AND p.objoid = f.objid AND p.objsubid = f.objsubid,
        LATERAL pg_catalog.pg_identify_object(f.classid, f.objid, f.objsubid) i
      WHERE f.acl IS DISTINCT FROM p.initprivs AND i.schema IS DISTINCT FROM 'information_schema'
        AND (f.objid < 16384 OR f.classid IN ('pg_catalog.pg_language'::pg_catalog.regclass, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass)
          OR EXISTS (SELECT FROM member m WHERE m.classid = f.classid AND m.objid = f.objid)))
";

/// Columns and rows of a table that a publication is limited to, and schemas in a publication: since PostgreSQL 15.
const PUBLISHED: &str = "pg_catalog.concat_ws(' ', (SELECT '(' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attname) || ')'
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)), 'where ' || pg_catalog.pg_get_expr(r.prqual, r.prrelid))";
const PUBLISHED_SCHEMAS: &str = "UNION ALL SELECT 'schema ' || o.name || ' in publication ' || pg_catalog.quote_ident(p.pubname), 'publication ' || pg_catalog.quote_ident(p.pubname), ''
FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_namespace s ON s.pnpubid = p.oid JOIN ours o ON o.oid = s.pnnspid";

/// Which side of a comparison is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What a dump holds: without what pg_dump leaves out.
    Dumped,
    /// What is there.
    Found,
}

/// Reads the objects that a snapshot sees, in the very session that holds its locks: what PostgreSQL writes of an index or a constraint needs
/// a lock on the table, and in another session that would queue behind a TRUNCATE or a migration that waits for the first one, for ever
/// and unseen by the server's search for deadlocks. An error in there ends nothing else: it is taken back to a savepoint.
///
/// # Errors
/// In the server's words; while objects are dropped it may be one of a lost object.
pub fn read_in_snapshot(snapshot: &mut Snapshot, largest: usize) -> Result<Schema> {
    snapshot.within_savepoint(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"), |client| {
        read(client, Side::Dumped, largest)
    })
}

/// Reads the objects of the session's database. Definitions of more than `largest` bytes become digests ([`Schema::collect`]).
///
/// # Errors
/// In the server's words.
pub fn read(client: &mut Client, side: Side, largest: usize) -> Result<Schema> {
    let version = session::version_number(client)?;
    let mut batches = Vec::new();
    // Compiling queries of such a shape takes longer than running them.
    client.batch_execute("SET jit = off").map_err(|error| anyhow!("{}", words(&error)))?;
    for query in queries(version, side) {
        let rows = client.query_raw(&query, std::iter::empty::<&str>()).map_err(|error| anyhow!("{}", words(&error)));
        let rows = rows.with_context(|| format!("Reading the catalog: {query:.200}"))?;
        let objects: Vec<Object> = rows
            .filter_map(|row| {
                // An object that was dropped meanwhile has no name any more.
                let (Some(name), Some(part_of)) = (row.try_get(0)?, row.try_get(1)?) else { return Ok(None) };
                Ok(Some(Object { name, part_of, definition: row.try_get::<_, Option<String>>(2)?.unwrap_or_default() }))
            })
            .collect()
            .map_err(|error| anyhow!("{}", words(&error)))?;
        batches.push(objects);
    }
    let all = batches.into_iter().flatten().map(Ok::<_, std::convert::Infallible>);
    let Ok(schema) = Schema::collect(all, largest);
    Ok(schema)
}

/// The queries of a version of PostgreSQL.
fn queries(version: i32, side: Side) -> impl Iterator<Item = String> {
    // Before PostgreSQL 15 pg_dump treats the schema public as a part of the server.
    let public = if version >= 150_000 { "true" } else { "false" };
    let invalid = if side == Side::Found { "true" } else { "false" };
    let sql_body =
        if version >= 140_000 { "pg_catalog.pg_get_function_sqlbody(p.oid)" } else { "NULL::pg_catalog.text" };
    let compression =
        if version >= 140_000 { "'COMPRESSION ' || NULLIF(a.attcompression::pg_catalog.text, '')" } else { "NULL" };
    let (published, schemas) = if version >= 150_000 { (PUBLISHED, PUBLISHED_SCHEMAS) } else { ("''", "") };
    QUERIES.split(";\n").filter(|query| query.contains("SELECT")).map(move |query| {
        format!("{VIEWS}{query}")
            .replace("%PUBLIC%", public)
            .replace("%INVALID%", invalid)
            .replace("%SQLBODY%", sql_body)
            .replace("%COMPRESSION%", compression)
            .replace("%PUBLISHED%", published)
            .replace("%PUBLISHED_SCHEMAS%", schemas)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_whole_and_filled_in() {
        for version in [120_000, 150_018, 180_001] {
            let all: Vec<String> = queries(version, Side::Found).collect();
            assert_eq!(all.len(), 31);
            for query in all {
                // One capital alone is for format().
                let open = query
                    .split('%')
                    .skip(1)
                    .any(|rest| rest.chars().take(2).filter(char::is_ascii_uppercase).count() == 2);
                assert!(!open, "{query}");
                assert_eq!(query.matches('(').count(), query.matches(')').count(), "{query}");
            }
        }
    }
}
