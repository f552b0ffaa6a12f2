//! One snapshot that everything of a backup is read in: the dump, the rows, the counts.
//!
//! Tables are locked (ACCESS SHARE, as pg_dump does it) *before* the snapshot is taken: TRUNCATE and table rewrites are not
//! bound to snapshots, so a table that is truncated between a snapshot and its lock would be dumped empty. The locks and
//! the snapshot live as long as this value, whatever pg_dump does meanwhile.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use postgres::Client;

use crate::database::session::{self, Session};
use crate::database::words;
use crate::service::RunningService;

/// How long a table's lock is waited for; a longer wait would queue the application's own statements behind ours.
const LOCK_TIMEOUT: &str = "60s";
/// Tables may come and go while they are listed and locked.
const ATTEMPTS: u32 = 5;

/// A table that holds rows of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Qualified and quoted: `public.users`.
    pub name: String,
    /// Whether its rows come from an extension, which may have the dump keep only some of them.
    pub of_extension: bool,
}

/// Tables with rows of their own, outside of the system's schemas: ordinary ones, partitions, unlogged ones. Tables of
/// extensions only where the extension has them dumped.
const TABLES: &str = "SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), e.objid IS NOT NULL \
     FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_depend e ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e' \
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
     AND (e.objid IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE c.oid = ANY (x.extconfig)))";

/// An exported snapshot, and the session that keeps it.
pub struct Snapshot {
    client: Session,
    id: String,
    taken: Timestamp,
    tables: BTreeMap<u32, Table>,
}

impl Snapshot {
    /// Locks the tables of the service's database and takes the snapshot.
    ///
    /// # Errors
    /// When a table stays locked by somebody else, or the server refuses.
    pub fn take(service: &RunningService) -> Result<Self> {
        let mut client = session::connect(service, &service.service.database)?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            crate::interrupt::check()?;
            match Self::lock_and_export(&mut client) {
                Ok((id, taken, tables)) => return Ok(Self { client, id, taken, tables }),
                Err(Obstacle::Moved(error)) => {
                    client.batch_execute("ROLLBACK").map_err(|error| anyhow!("{}", words(&error)))?;
                    last = Some(error);
                }
                Err(Obstacle::Final(error)) => return Err(error),
            }
        }
        bail!(
            "Tables of {} come and go too quickly to be locked: {}",
            service.service.database,
            last.unwrap_or_default()
        )
    }

    fn lock_and_export(client: &mut Client) -> Result<(String, Timestamp, BTreeMap<u32, Table>), Obstacle> {
        let known = tables(client)?;
        client
            .batch_execute(&format!(
                "SET lock_timeout = '{LOCK_TIMEOUT}'; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            ))
            .map_err(Obstacle::of)?;
        lock(client, known.values())?;
        let row = client
            .query_one("SELECT pg_catalog.pg_export_snapshot(), pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::pg_catalog.float8", &[])
            .map_err(Obstacle::of)?;
        let id: String = row.try_get(0).map_err(Obstacle::of)?;
        let seconds: f64 = row.try_get(1).map_err(Obstacle::of)?;
        // A table made between list and snapshot is locked now, as late as pg_dump would have done it.
        let seen = tables(client)?;
        let new: Vec<&Table> =
            seen.iter().filter(|(oid, _)| !known.contains_key(oid)).map(|(_, table)| table).collect();
        lock(client, new.into_iter())?;
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
        let taken = Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|e| Obstacle::Final(e.into()))?;
        Ok((id, taken, seen))
    }

    /// The name under which other sessions join the snapshot.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it was taken, by the server's clock.
    pub fn taken(&self) -> Timestamp {
        self.taken
    }

    /// The tables with rows of their own, by oid.
    pub fn tables(&self) -> &BTreeMap<u32, Table> {
        &self.tables
    }

    /// A session inside the snapshot, for further questions. It holds the locks: never end its transaction.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Asks something that may fail without an end to the transaction: all of it, its settings included, is taken back.
    ///
    /// # Errors
    /// What `ask` fails with; or when the session is gone.
    pub fn within_savepoint<T>(&mut self, settings: &str, ask: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let client = &mut self.client;
        client
            .batch_execute(&format!("SAVEPOINT pgbackup_asking; {settings}"))
            .map_err(|error| anyhow!("{}", words(&error)))?;
        let answer = ask(client);
        client
            .batch_execute("ROLLBACK TO SAVEPOINT pgbackup_asking; RELEASE SAVEPOINT pgbackup_asking")
            .map_err(|error| anyhow!("{}", words(&error)))
            .context("The session that held the snapshot was ended before the dump was complete")?;
        answer
    }

    /// Makes sure that the snapshot was held to the end: a session that died has let tables change under the dump.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn confirm(&mut self) -> Result<()> {
        self.client
            .simple_query("SELECT")
            .map(|_| ())
            .map_err(|error| anyhow!("{}", words(&error)))
            .context("The session that held the snapshot was ended before the dump was complete")
    }
}

/// Lists the tables with rows of their own as the session's snapshot sees them.
fn tables(client: &mut Client) -> Result<BTreeMap<u32, Table>, Obstacle> {
    let rows = client.query(TABLES, &[]).map_err(Obstacle::of)?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, Table { name: row.try_get(1)?, of_extension: row.try_get(2)? })))
        .collect::<Result<_, postgres::Error>>()
        .map_err(Obstacle::of)
}

/// Lists the tables with rows of their own in any session.
///
/// # Errors
/// When the server refuses.
pub fn list_tables(client: &mut Client) -> Result<Vec<Table>> {
    match tables(client) {
        Ok(tables) => Ok(tables.into_values().collect()),
        Err(Obstacle::Moved(text)) => bail!("{text}"),
        Err(Obstacle::Final(error)) => Err(error),
    }
}

fn lock<'a>(client: &mut Client, tables: impl Iterator<Item = &'a Table>) -> Result<(), Obstacle> {
    let names: Vec<&str> = tables.map(|table| table.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    client
        .batch_execute(&format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY ")))
        .map_err(Obstacle::of)
}

/// Why locking didn't work out.
enum Obstacle {
    /// The tables changed meanwhile: worth another look.
    Moved(String),
    Final(anyhow::Error),
}

impl Obstacle {
    #[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
    fn of(error: postgres::Error) -> Self {
        use postgres::error::SqlState;
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::T_R_DEADLOCK_DETECTED) => {
                Self::Moved(words(&error))
            }
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Final(anyhow!(
                "A table is locked by another session for more than {LOCK_TIMEOUT} (a migration, VACUUM FULL or the like): {}",
                words(&error)
            )),
            _ => Self::Final(anyhow!("{}", words(&error))),
        }
    }
}
