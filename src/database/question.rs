//! A question of a user's own, that can't change anything.
//!
//! It is one statement (the extended protocol parses no more than one, so `COMMIT; DELETE …` is refused before anything runs) in a
//! read-only transaction that has taken its snapshot already (so that even `SET TRANSACTION READ WRITE` comes too late) and that is
//! rolled back. `COPY` is refused on top: to a program or a file of the server it writes in read-only transactions too. Rows come through
//! a cursor, so that a large answer need not fit into memory. Values come in PostgreSQL's own text form.

use anyhow::Result;
use postgres::{Client, SimpleQueryMessage, SimpleQueryRow, Statement};

/// The first version with `pg_read_all_data`.
const READERS_SINCE: i32 = 140_000;

/// For [`begin`]: the rights of whom may read all tables, and to whom the server's files, programs and other sessions are closed. Rows that a
/// policy hides from that role are an error and not fewer rows. Nothing before PostgreSQL 14, which has no such role.
pub fn as_reader(version_number: i32) -> &'static str {
    if version_number >= READERS_SINCE { "SET LOCAL row_security = off; SET LOCAL ROLE pg_read_all_data;" } else { "" }
}

/// Begins a read-only transaction; `within` is what belongs between its beginning and its first snapshot.
///
/// # Errors
/// In the server's words.
pub fn begin(client: &mut Client, within: &str) -> Result<(), postgres::Error> {
    client.batch_execute(&format!(
        "SET cursor_tuple_fraction = 1; BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; {within} SELECT 1"
    ))
}

/// Has the server parse it, alone: more than one statement is an error, and nothing has run.
///
/// # Errors
/// In the server's words.
pub fn prepare(client: &mut Client, sql: &str) -> Result<Statement, postgres::Error> {
    client.prepare(sql)
}

/// Hands the rows of a question that was [prepared](prepare) to `take`, some at a time, until it wants no more.
///
/// # Errors
/// A [`postgres::Error`], or what `take` fails with.
pub fn each_batch(
    client: &mut Client,
    sql: &str,
    size: usize,
    mut take: impl FnMut(&[&SimpleQueryRow]) -> Result<bool>,
) -> Result<()> {
    // The prefix would shift the position of an error, but what it could find was found by `prepare`.
    client.simple_query(&format!("DECLARE pgbackup_query NO SCROLL CURSOR FOR {sql}"))?;
    loop {
        let messages = client.simple_query(&format!("FETCH {size} FROM pgbackup_query"))?;
        let rows = rows_of(&messages);
        if !take(&rows)? || rows.len() < size {
            return Ok(());
        }
    }
}

/// The rows among what the server has sent.
pub fn rows_of(messages: &[SimpleQueryMessage]) -> Vec<&SimpleQueryRow> {
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .collect()
}

/// Whether it is a `COPY`.
pub fn is_copy(sql: &str) -> bool {
    first_word(sql) == "copy"
}

/// Whether a cursor can be declared for it.
pub fn is_plain_query(sql: &str) -> bool {
    matches!(first_word(sql).as_str(), "select" | "table" | "values" | "with")
}

/// The first word of a statement behind blanks, comments and parentheses, in lower case.
fn first_word(sql: &str) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // They nest.
            let mut depth = 1;
            rest = comment;
            while depth > 0 {
                match (rest.find("/*"), rest.find("*/")) {
                    (Some(open), Some(close)) if open < close => {
                        depth += 1;
                        rest = rest.get(open + 2..).unwrap_or_default();
                    }
                    (_, Some(close)) => {
                        depth -= 1;
                        rest = rest.get(close + 2..).unwrap_or_default();
                    }
                    _ => return String::new(),
                }
            }
        } else {
            return rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .flat_map(char::to_lowercase)
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_first_word() {
        for (sql, word) in [
            ("SELECT 1", "select"),
            ("  ((select 1) union select 2)", "select"),
            ("-- a\n/* b /* c */ */Copy x TO PROGRAM 'y'", "copy"),
            (";COPY x TO STDOUT", "copy"),
            ("/* never ends", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(sql), word, "{sql:?}");
        }
        assert!(is_copy("/**/copy t to '/x'") && !is_copy("SELECT 1"));
        assert!(is_plain_query("TABLE t") && !is_plain_query("EXPLAIN SELECT 1"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[-/*a-z(; \n]{0,30}") {
            let _ = first_word(&sql);
        }
    }
}
