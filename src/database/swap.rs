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
use crate::database::{quote, session, words};
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
    let replaced: Option<u32> = client
        .query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&names.live])
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(|error| anyhow!("{}", words(&error)))?;
    step!("exchange.begins");
    let done = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
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
    })?;
    Ok(began.elapsed())
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
        client.batch_execute("ROLLBACK").map_err(|error| anyhow!("{}", words(&error)))?;
        let in_the_way = matches!(error.code(), Some(&SqlState::OBJECT_IN_USE | &SqlState::LOCK_NOT_AVAILABLE));
        if !in_the_way || began.elapsed() > PATIENCE {
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

/// A prepared transaction belongs to a database and can't be ended for its owner: it is named instead.
fn refuse_obstacles(client: &mut Client, live: &str) -> Result<()> {
    let rows = client
        .query("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared", &[&live])
        .map_err(|error| anyhow!("{}", words(&error)))?;
    let Some(first) = rows.first() else { return Ok(()) };
    let gid: String = first.try_get(0)?;
    Err(Failure::failed(format!(
        "The prepared transaction {gid:?} in the database {live} stands in the way of the exchange"
    ))
    .hint("Commit it or roll it back (COMMIT PREPARED, ROLLBACK PREPARED) and run the command again")
    .into())
}
