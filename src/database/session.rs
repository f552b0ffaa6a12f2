//! A session on the service's server, straight to the container's address.
//!
//! Settings that a role, the database or the server may carry (timeouts, search path, row security) are set aside first:
//! what we read must not depend on them.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};

use crate::database::{APPLICATION, words};
use crate::interrupt::{self, Watch};
use crate::service::RunningService;
use crate::service::name::ServiceName;

/// The port inside the container; dokku-postgres never changes it.
pub const PORT: u16 = 5432;
/// A server on the same host answers at once or is not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Who asked us to stop waits for this.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(8);

/// What every session sets aside, as pg_dump does it; and the time zone and the form of bytes, so that the same row is the same text
/// wherever and whenever it is read.
pub const PLAIN_SETTINGS: &str = "SET ROLE NONE; SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     SET default_transaction_read_only = off; SET row_security = off; SET search_path = ''; SET synchronize_seqscans = off; SET datestyle = ISO; \
     SET intervalstyle = postgres; SET extra_float_digits = 3; SET quote_all_identifiers = off; \
     SET timezone = 'UTC'; SET bytea_output = 'hex'";

/// Those of them that could end the very statement that sets them aside, on a busy server with a role-level timeout of milliseconds: they
/// go with the start of the session, and come before what a role or a database has.
pub const FROM_THE_START: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

/// Timeouts that not every server knows, and since which one they are known.
const LATER_TIMEOUTS: [(&str, i32); 2] = [("idle_session_timeout", 140_000), ("transaction_timeout", 170_000)];

/// All timeouts that the server knows, set aside from the start: `PGOPTIONS` of a program that works for us.
///
/// # Errors
/// When the server can't be asked for its version.
pub fn without_timeouts(service: &RunningService) -> Result<String> {
    let version_number = version_number(&mut connect_beside(service)?)?;
    let later = LATER_TIMEOUTS.iter().filter(|(_, since)| version_number >= *since);
    Ok(later.fold(FROM_THE_START.to_owned(), |options, (setting, _)| options + " -c " + setting + "=0"))
}

/// Sets those aside that the server knows.
pub const SET_LATER_TIMEOUTS: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
     WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

/// What sessions are called that run beside another one's work.
const LOOKING: &str = "pgbackup look";

/// No session could be opened.
#[derive(Debug, thiserror::Error)]
#[error("Can't connect to the database {database} of {service}: {words}")]
pub struct CantConnect {
    database: String,
    service: ServiceName,
    words: String,
    /// The server is there, and knows another password than the service's files.
    pub wrong_password: bool,
}

/// A session whose statements end when we are asked to stop.
pub struct Session {
    client: Client,
    _watch: Option<Watch>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Opens a session of the super user on one of the service's databases. Ctrl-C cancels what it is doing.
///
/// # Errors
/// In PostgreSQL's words, with the database's name.
pub fn connect(service: &RunningService, database: &str) -> Result<Session> {
    open(service, database, APPLICATION).map(watched)
}

/// The same for one who only looks, and holds no lock of the service: what is cleaned up before a run ([`end_leftovers`]) leaves it alone.
///
/// # Errors
/// In PostgreSQL's words, with the database's name.
pub fn connect_to_look(service: &RunningService, database: &str) -> Result<Session> {
    open(service, database, LOOKING).map(watched)
}

fn watched(client: Client) -> Session {
    let cancel = client.cancel_token();
    let watch = interrupt::watch(move || drop(cancel.cancel_query(NoTls)));
    Session { client, _watch: watch }
}

/// Opens a session on a database that is not the service's own, for statements about databases. Those are short, and half of an
/// exchange or of a clean-up is worse than a late Ctrl-C: nothing cancels them.
///
/// # Errors
/// When neither `postgres` nor `template1` lets us in.
pub fn connect_beside(service: &RunningService) -> Result<Client> {
    let others = ["postgres", "template1"].into_iter().filter(|name| *name != service.service.database);
    let mut outcome = Err(anyhow!("there is no other database"));
    for other in others {
        outcome = open(service, other, APPLICATION);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The same for what is cleaned up on every way out: `None` when the server can't be reached, or takes the connection and says nothing (its
/// container is paused). What is left then goes with the next run.
pub fn connect_to_clean_up(service: &RunningService) -> Option<Client> {
    let (sender, receiver) = mpsc::channel();
    let service = service.clone();
    std::thread::spawn(move || sender.send(connect_beside(&service)).is_ok());
    receiver.recv_timeout(CLEAN_UP_TIMEOUT).ok()?.ok()
}

/// Whether the service's own database is there: it may have been dropped by mistake, and that is what a restore is for.
///
/// # Errors
/// When the server can't be asked.
pub fn database_exists(service: &RunningService) -> Result<bool> {
    connect_beside(service)?
        .query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&service.service.database])
        .map(|row| row.is_some())
        .map_err(|error| anyhow!("{}", words(&error)))
}

/// Which database has the service's name: another one after each exchange. `None` when none has.
///
/// # Errors
/// When the server can't be asked.
pub fn identity(service: &RunningService) -> Result<Option<String>> {
    connect_beside(service)?
        .query_opt(
            "SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()) || '/' || oid \
             FROM pg_catalog.pg_database WHERE datname = $1",
            &[&service.service.database],
        )
        .and_then(|row| row.map(|row| row.try_get(0)).transpose())
        .map_err(|error| anyhow!("{}", words(&error)))
}

fn open(service: &RunningService, database: &str, application: &str) -> Result<Client> {
    let mut client = Config::new()
        .host(&service.address.to_string())
        .port(PORT)
        .user("postgres")
        .password(service.service.password.reveal())
        .dbname(database)
        .application_name(application)
        .options(FROM_THE_START)
        .connect_timeout(CONNECT_TIMEOUT)
        .keepalives_idle(Duration::from_mins(1))
        .connect(NoTls)
        .map_err(|error| CantConnect {
            database: database.to_owned(),
            service: service.service.name.clone(),
            words: words(&error),
            wrong_password: error.code() == Some(&SqlState::INVALID_PASSWORD),
        })?;
    client.batch_execute(PLAIN_SETTINGS).map_err(|error| anyhow!("{}", words(&error)))?;
    client.simple_query(SET_LATER_TIMEOUTS).map_err(|error| anyhow!("{}", words(&error)))?;
    Ok(client)
}

/// `server_version_num`: 150018 for 15.18.
///
/// # Errors
/// When the session is gone.
pub fn version_number(client: &mut Client) -> Result<i32> {
    let row = client
        .query_one("SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4", &[])
        .map_err(|e| anyhow!("{}", words(&e)))?;
    Ok(row.try_get(0)?)
}

/// Ends what a run of ours that died has left on the server: its sessions hold locks and snapshots. Only to be called while
/// the service's lock is held. Returns how many there were.
///
/// # Errors
/// When the server refuses.
pub fn end_leftovers(service: &RunningService) -> Result<u64> {
    let mut client = connect_beside(service)?;
    client
        .execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
             WHERE pid <> pg_catalog.pg_backend_pid() AND application_name = 'pgbackup'",
            &[],
        )
        .map_err(|error| anyhow!("{}", words(&error)))
}
