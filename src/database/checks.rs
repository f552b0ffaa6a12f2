//! Asks the user's checks, each in a transaction of its own: an error of one is its answer and stops no other.
//!
//! They see what an app sees (its search path), in our own form of dates, times (UTC) and numbers, so that the same rows give the same text
//! on another server. They can't write ([`question`]), and may read every table and nothing else: from PostgreSQL 14 on they run with
//! the rights of `pg_read_all_data`, to whom the server's files, programs and other sessions are closed, unless the user has
//! said that a check needs the super user's.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use postgres::Client;

use crate::database::snapshot::Snapshot;
use crate::database::{literal, question, session, words};
use crate::interrupt;
use crate::manifest::checks::{Answer, Check, Name, Recorded};
use crate::service::RunningService;

/// Rows of an answer at most, and bytes: it is kept in every manifest.
const MOST_ROWS: usize = 1_000;
const MOST_BYTES: usize = 16 << 10;
/// A lock is waited for this long at most: a migration may be queueing behind the dump, and we would queue behind it.
const LOCK_TIMEOUT: &str = "10s";

/// Asks all of them in a snapshot, in the very session that holds its locks: another one would queue behind a migration that waits for the
/// first, and a check would fail for no fault of the rows. What a check does ends with its savepoint.
///
/// # Errors
/// When the session is gone, or we were asked to stop. What a check fails with is its answer.
pub fn ask_in_snapshot(snapshot: &mut Snapshot, checks: &BTreeMap<Name, Check>) -> Result<BTreeMap<Name, Recorded>> {
    let mut answered = BTreeMap::new();
    for (name, check) in checks {
        let mut given = None;
        snapshot.within_savepoint("", |client| {
            given = Some(ask(client, true, check));
            Ok(())
        })?;
        interrupt::check()?;
        let answer = given.unwrap_or_else(|| Err(anyhow!("it was not asked")));
        answered.insert(name.clone(), recorded(check, answer));
    }
    Ok(answered)
}

fn recorded(check: &Check, answer: Result<Answer>) -> Recorded {
    let answer = answer.unwrap_or_else(|error| Answer::Error { error: error_text(&error, check) });
    Recorded { check: check.clone(), answer }
}

/// Asks all of them as the database is now.
///
/// # Errors
/// When there is no session to be had, or we were asked to stop. What a check fails with is its answer.
pub fn ask_all(
    service: &RunningService,
    database: &str,
    checks: &BTreeMap<Name, Check>,
) -> Result<BTreeMap<Name, Recorded>> {
    let mut answered = BTreeMap::new();
    let mut session = None;
    for (name, check) in checks {
        let client = match &mut session {
            Some(client) => client,
            none => none.insert(session::connect(service, database)?),
        };
        let answer = ask(client, false, check);
        interrupt::check()?;
        let lost = client.is_closed() || client.batch_execute("ROLLBACK").is_err();
        if lost {
            session = None;
        }
        answered.insert(name.clone(), recorded(check, answer));
    }
    Ok(answered)
}

/// Asks one; where a read-only transaction is `begun` already, within it.
fn ask(client: &mut Client, begun: bool, check: &Check) -> Result<Answer> {
    let sql = check.sql.as_str();
    if !question::is_plain_query(sql) {
        return Err(anyhow!("a check is a query: SELECT, TABLE, VALUES or WITH"));
    }
    let version = session::version_number(client)?;
    let path = search_path(client)?;
    let role = if check.superuser { "" } else { question::as_reader(version) };
    let settings = format!(
        "SELECT pg_catalog.set_config('search_path', {}, true); SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; \
         SET LOCAL statement_timeout = '{}s'; {role}",
        literal(&path).trim_start(),
        check.timeout
    );
    if begun {
        client.batch_execute(&settings)?;
    } else {
        question::begin(client, &settings)?;
    }
    let statement = question::prepare(client, sql)?;
    if statement.columns().is_empty() {
        return Err(anyhow!("the query gives no columns"));
    }
    let columns = statement.columns().len();
    let mut all: Vec<Vec<Option<String>>> = Vec::new();
    let mut bytes = 0;
    question::each_batch(client, sql, MOST_ROWS + 1, |rows| {
        for row in rows {
            let values: Vec<Option<String>> =
                (0..columns).map(|index| row.try_get(index).ok().flatten().map(str::to_owned)).collect();
            bytes += values.iter().flatten().map(String::len).sum::<usize>();
            all.push(values);
        }
        if all.len() > MOST_ROWS || bytes > MOST_BYTES {
            return Err(anyhow!(
                "the answer is longer than {MOST_ROWS} rows or {} KiB; count or sum it in the query",
                MOST_BYTES >> 10
            ));
        }
        Ok(true)
    })?;
    Ok(Answer::of_rows(all))
}

/// The schemas that an app's session looks into, by name: what `"$user"` means must not depend on whose rights are used.
fn search_path(client: &mut Client) -> Result<String> {
    client.batch_execute("RESET search_path")?;
    let row = client.query_one(
        "SELECT COALESCE((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ' ORDER BY at) \
         FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS all_of_them (s, at)), '')",
        &[],
    )?;
    client.batch_execute("SET search_path = ''")?;
    Ok(row.try_get(0)?)
}

fn error_text(error: &anyhow::Error, check: &Check) -> String {
    let Some(postgres) = error.downcast_ref::<postgres::Error>() else { return format!("{error:#}") };
    let text = words(postgres);
    match postgres.code().map(postgres::error::SqlState::code) {
        Some("57014") => format!("it takes longer than {} s", check.timeout),
        Some("42501") if !check.superuser => {
            format!(
                "{text}; the check has the rights to read all tables, and those of the super user only with --superuser"
            )
        }
        _ => text,
    }
}
