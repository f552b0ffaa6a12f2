//! How many rows the tables of a live database have now: counted where that is quick, else estimated.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use crate::changes::Rows;
use crate::database::{fingerprint, snapshot, words};

/// Nobody waits long for a look: a table that takes longer to count is estimated.
const COUNT_TIMEOUT: &str = "SET statement_timeout = '3s'";
/// More tables than this are estimated all.
const COUNTED: usize = 500;

/// Rows of every table.
///
/// # Errors
/// When the server can't be asked.
pub fn present_rows(client: &mut postgres::Client) -> Result<BTreeMap<String, Rows>> {
    let names: Vec<String> = snapshot::list_tables(client)?.into_iter().map(|table| table.name).collect();
    client.batch_execute(COUNT_TIMEOUT).map_err(|error| anyhow!("{}", words(&error)))?;
    let few = names.len() <= COUNTED;
    let mut present = BTreeMap::new();
    for name in names {
        crate::interrupt::check()?;
        let exact = if few { fingerprint::count(client, &name).ok() } else { None };
        let rows = match exact {
            Some(count) => Rows::counted(count),
            None => Rows { count: estimate(client, &name)?, exact: false },
        };
        present.insert(name, rows);
    }
    Ok(present)
}

fn estimate(client: &mut postgres::Client, table: &str) -> Result<u64> {
    let rows: f32 = client
        .query_one(
            "SELECT reltuples FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.text::pg_catalog.regclass",
            &[&table],
        )
        .and_then(|row| row.try_get(0))
        .map_err(|error| anyhow!("{}", words(&error)))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, negative when there is none"
    )]
    Ok(rows.max(0.0) as u64)
}
