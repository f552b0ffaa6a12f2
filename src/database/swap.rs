//! Two databases exchange their names, in one transaction, with connections barred.
//!
//! Apps of dokku-postgres connect as super user and reconnect within a millisecond: a connection limit doesn't bar them,
//! `ALLOW_CONNECTIONS false` does. So: bar, end the sessions, rename both in one transaction, open again, also on failure. At each
//! instant the live name leads to exactly one whole database: the old one until the commit, the new one after it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use postgres::Client;
use postgres::error::SqlState;

use crate::database::staging::{self, Marker};
use crate::database::{quote, session, words};
use crate::error::Failure;
use crate::interrupt;
use crate::service::RunningService;

/// How long sessions may take to end before the swap is given up and everything stays as it was.
const PATIENCE: Duration = Duration::from_secs(30);

/// The names in an exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The name that apps use.
    pub live: String,
    /// The database that is to have it.
    pub incoming: String,
    /// What the database that has it now will be called.
    pub outgoing: String,
    /// What that one says of itself from then on.
    pub outgoing_marker: Marker,
    /// The comment of the database that comes in, under the live name.
    pub incoming_comment: Option<String>,
}

/// Makes the exchange. Returns how long the live name was barred.
///
/// # Errors
/// When something stands in the way; the live database is then what it was, and open.
pub fn exchange(service: &RunningService, names: &Exchange) -> Result<Duration> {
    // What was loaded is on disk before it is live; this can take a while, and the last moment to say no is before the bar.
    session::connect(service, &names.live)?
        .batch_execute("CHECKPOINT")
        .map_err(|error| anyhow!("{}", words(&error)))?;
    interrupt::check()?;
    let mut client = session::connect_beside(service)?;
    refuse_obstacles(&mut client, &names.live)?;
    client.batch_execute("SET lock_timeout = '10s'").map_err(|error| anyhow!("{}", words(&error)))?;
    let barred = Barred { service, names: [&names.live, &names.incoming] };
    let began = Instant::now();
    for name in barred.names {
        allow(&mut client, name, false)?;
    }
    rename(&mut client, names)?;
    allow(&mut client, &names.live, true)?;
    let away = began.elapsed();
    std::mem::forget(barred);
    Ok(away)
}

/// Opens the live name again, whichever database has it: what is left to do after a run that died between bar and open.
///
/// # Errors
/// When the server refuses.
pub fn reopen(service: &RunningService, live: &str) -> Result<()> {
    allow(&mut session::connect_beside(service)?, live, true)
}

/// Whether the live name lets nobody in.
///
/// # Errors
/// When the server refuses, or there is no such database.
pub fn is_barred(client: &mut Client, live: &str) -> Result<bool> {
    let row = client
        .query_opt("SELECT NOT datallowconn FROM pg_catalog.pg_database WHERE datname = $1", &[&live])
        .map_err(|error| anyhow!("{}", words(&error)))?
        .ok_or_else(|| anyhow!("The database {live} doesn't exist"))?;
    Ok(row.try_get(0)?)
}

fn allow(client: &mut Client, name: &str, allowed: bool) -> Result<()> {
    client
        .batch_execute(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {allowed}", quote(name)))
        .map_err(|error| anyhow!("{}", words(&error)))
        .with_context(|| format!("Can't {} connections to {name}", if allowed { "allow" } else { "bar" }))
}

fn rename(client: &mut Client, names: &Exchange) -> Result<()> {
    let began = Instant::now();
    let both = format!(
        "BEGIN; ALTER DATABASE {} RENAME TO {}; ALTER DATABASE {} RENAME TO {}; {}; {}; COMMIT",
        quote(&names.live),
        quote(&names.outgoing),
        quote(&names.incoming),
        quote(&names.live),
        names.outgoing_marker.statement(&names.outgoing)?,
        staging::comment_statement(&names.live, names.incoming_comment.as_deref())
    );
    loop {
        end_sessions(client, &[&names.live, &names.incoming])?;
        let Err(error) = client.batch_execute(&both) else { return Ok(()) };
        client.batch_execute("ROLLBACK").map_err(|error| anyhow!("{}", words(&error)))?;
        let in_the_way = matches!(error.code(), Some(&SqlState::OBJECT_IN_USE | &SqlState::LOCK_NOT_AVAILABLE));
        if !in_the_way || began.elapsed() > PATIENCE {
            bail!("The databases can't be exchanged: {}", words(&error));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end_sessions(client: &mut Client, databases: &[&str]) -> Result<()> {
    client
        .execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE datname = ANY ($1) AND pid <> pg_catalog.pg_backend_pid()",
            &[&databases],
        )
        .map(|_| ())
        .map_err(|error| anyhow!("{}", words(&error)))
}

/// A prepared transaction belongs to a database and can't be ended for its owner: it is named instead.
fn refuse_obstacles(client: &mut Client, live: &str) -> Result<()> {
    let rows = client
        .query("SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = $1 ORDER BY prepared", &[&live])
        .map_err(|error| anyhow!("{}", words(&error)))?;
    let Some(first) = rows.first() else { return Ok(()) };
    let gid: String = first.try_get(0)?;
    Err(Failure::failed(format!(
        "The prepared transaction {gid:?} in the database {live} stands in the way of the swap"
    ))
    .hint("Commit it or roll it back (COMMIT PREPARED, ROLLBACK PREPARED) and run the command again")
    .into())
}

/// Opens both names again when the exchange didn't come to its end, on a session of its own: the other may be what died.
struct Barred<'a> {
    service: &'a RunningService,
    names: [&'a String; 2],
}

impl Drop for Barred<'_> {
    fn drop(&mut self) {
        for name in self.names {
            if let Ok(mut client) = session::connect_beside(self.service) {
                let _ = allow(&mut client, name, true);
            }
        }
    }
}
