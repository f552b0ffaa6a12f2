//! Two databases exchange their names, in one transaction.
//!
//! A rename takes an exclusive lock on the database and waits until nobody is connected to it, while new connections wait for the lock.
//! So the sessions are ended from a second session for as long as the transaction needs: apps of dokku-postgres connect as super user
//! and come back within a millisecond, which neither a connection limit nor politeness would stop. At each instant the live name leads
//! to exactly one whole database: the old one until the commit, the new one after it. Nothing is barred that would have to be opened
//! again: when we die in the middle, so does the transaction, and everything is as it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use postgres::Client;
use postgres::error::SqlState;

use crate::database::staging::{self, Marker};
use crate::database::{literal, quote, session, words};
use crate::error::Failure;
use crate::interrupt;
use crate::service::RunningService;
use crate::step::step;

/// How long sessions may take to end before the exchange is given up and everything stays as it was.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often sessions that came back are ended while the transaction waits.
const PAUSE: Duration = Duration::from_millis(5);

/// The names in an exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The name that apps use.
    pub live: String,
    /// The database that is to have it.
    pub incoming: String,
    /// The comment of the database that comes in, under the live name.
    pub incoming_comment: Option<String>,
    /// What becomes of the database that has the live name now; `None` when none has it (it was dropped by mistake).
    pub outgoing: Option<Outgoing>,
}

/// What becomes of the replaced database. It lets nobody in: nobody shall go on writing there.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its name from then on.
    pub name: String,
    /// What it says of itself from then on.
    pub marker: Marker,
}

/// Makes the exchange. Returns how long nobody could work under the live name.
///
/// # Errors
/// When something stands in the way; nothing has changed then.
pub fn exchange(service: &RunningService, names: &Exchange) -> Result<Duration> {
    // What was loaded is on disk before it is live; this can take a while, and is the last moment to say no.
    let mut client = session::connect_beside(service)?;
    client.batch_execute("CHECKPOINT").map_err(|error| anyhow!("{}", words(&error)))?;
    step!("exchange.flushed");
    interrupt::check()?;
    refuse_obstacles(&mut client, &names.live)?;
    client.batch_execute("SET lock_timeout = '10s'").map_err(|error| anyhow!("{}", words(&error)))?;
    // Opened before it is needed: when all connections are taken there would be none.
    let mut ender = session::connect_beside(service)?;
    let transaction = transaction(names)?;
    end_sessions(&mut ender, &names.incoming).map_err(|error| anyhow!("{}", words(&error)))?;
    let replaced = number(&mut client, &names.live)?;
    let coming = number(&mut client, &names.incoming)?;
    step!("exchange.begins");
    let done = AtomicBool::new(false);
    let began = Instant::now();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // By its number, which stays when the name goes to the other one. What goes wrong here shows in the transaction.
                let _ = ender.execute(END_SESSIONS_OF, &[&replaced]);
                std::thread::sleep(PAUSE);
            }
        });
        // Also when it panics: the scope waits for the other thread.
        let _done = Done(&done);
        let result = commit(&mut client, &transaction, began);
        step!("exchange.committed");
        result
    });
    match result {
        // The connection broke: the answer may have been lost and not the transaction.
        Err(error) if client.is_closed() => find_out(service, &names.live, coming, error)?,
        result => result?,
    }
    Ok(began.elapsed())
}

/// Nobody could be asked whether the exchange has taken place.
#[derive(Debug, thiserror::Error)]
#[error(
    "The connection was lost while the databases were exchanged, and the server can't be asked which of them is live now: {0}"
)]
pub struct Unanswered(String);

/// Asks which database has the live name, as soon as the server answers again.
fn find_out(service: &RunningService, live: &str, coming: Option<u32>, lost: anyhow::Error) -> Result<()> {
    let began = Instant::now();
    loop {
        match session::connect_beside(service).and_then(|mut client| number(&mut client, live)) {
            Ok(there) if there.is_some() && there == coming => return Ok(()),
            Ok(_) => return Err(lost),
            Err(error) if began.elapsed() > PATIENCE => return Err(Unanswered(format!("{error:#}")).into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The number of a database, which it keeps when it is renamed.
fn number(client: &mut Client, database: &str) -> Result<Option<u32>> {
    client
        .query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&database])
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(|error| anyhow!("{}", words(&error)))
}

/// Ends the thread that ends sessions, on every way out.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn transaction(names: &Exchange) -> Result<String> {
    let (live, incoming) = (quote(&names.live), quote(&names.incoming));
    let mut statements = vec!["BEGIN".to_owned()];
    if let Some(Outgoing { name, marker }) = &names.outgoing {
        statements.push(format!("ALTER DATABASE {live} RENAME TO {}", quote(name)));
        statements.push(format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", quote(name)));
        statements.push(marker.statement(name)?);
    }
    statements.push(format!("ALTER DATABASE {incoming} RENAME TO {live}"));
    statements.push(format!("ALTER DATABASE {live} WITH ALLOW_CONNECTIONS true"));
    statements.push(staging::comment_statement(&names.live, names.incoming_comment.as_deref()));
    statements.push("COMMIT".to_owned());
    Ok(statements.join("; "))
}

fn commit(client: &mut Client, transaction: &str, began: Instant) -> Result<()> {
    loop {
        let Err(error) = client.batch_execute(transaction) else { return Ok(()) };
        let rolled_back = client.batch_execute("ROLLBACK");
        let in_the_way = matches!(error.code(), Some(&SqlState::OBJECT_IN_USE | &SqlState::LOCK_NOT_AVAILABLE));
        if !in_the_way || rolled_back.is_err() || began.elapsed() > PATIENCE {
            bail!("The databases can't be exchanged: {}", words(&error));
        }
    }
}

const END_SESSIONS_OF: &str =
    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datid = $1";

fn end_sessions(client: &mut Client, database: &str) -> Result<(), postgres::Error> {
    client
        .execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1",
            &[&database],
        )
        .map(|_| ())
}

/// What belongs to the live database itself, would go with it behind another name, and is for its owner to end: a prepared transaction,
/// whose locks nobody could open; a slot of logical replication, for which the server would keep its WAL until the disk is full; a
/// subscription, which would fail without end. None of the three databases could be dropped.
///
/// # Errors
/// The first of them, with what to do about it.
pub fn refuse_obstacles(client: &mut Client, live: &str) -> Result<()> {
    let row = client
        .query_opt(
            "SELECT * FROM (
               SELECT 'prepared transaction' AS what, gid AS name FROM pg_catalog.pg_prepared_xacts WHERE database = $1
               UNION ALL SELECT 'replication slot', slot_name::pg_catalog.text FROM pg_catalog.pg_replication_slots WHERE database = $1 AND NOT temporary
               UNION ALL SELECT 'subscription', s.subname::pg_catalog.text FROM pg_catalog.pg_subscription s
                 JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = $1) o
             ORDER BY what, name LIMIT 1",
            &[&live],
        )
        .map_err(|error| anyhow!("{}", words(&error)))?;
    let Some(row) = row else { return Ok(()) };
    let (what, obstacle): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let failure =
        Failure::failed(format!("The {what} {obstacle:?} of the database {live} stands in the way of the exchange"));
    let again = "and run the command again";
    Err(match what.as_str() {
        "replication slot" => failure
            .hint(format!("Drop it {again}: SELECT pg_drop_replication_slot({})", literal(&obstacle).trim_start()))
            .hint("Who reads from it needs a new one afterwards: it can't follow to the restored database"),
        "subscription" => {
            let name = quote(&obstacle);
            failure
                .hint("Write it down: SELECT subname, subconninfo, subslotname, subpublications FROM pg_subscription")
                .hint(format!("Drop it {again}: ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"))
                .hint("Make it again in the restored database: a restore leaves subscriptions out")
        }
        _ => failure.hint(format!("Commit it or roll it back (COMMIT PREPARED, ROLLBACK PREPARED) {again}")),
    }
    .into())
}
