//! The database inside a service: dumped in one snapshot, loaded beside the live one, swapped in one transaction.
//!
//! pg_dump and pg_restore run in the service's own container, so their version always fits the server; queries and rows
//! go straight to the container's address. Nothing here knows of stores or archives: it reads and writes bytes.

pub mod session;
pub mod snapshot;

pub mod dump;
pub mod rows;

pub mod checks;
pub mod description;
pub mod fingerprint;
pub mod large_objects;
pub mod question;
pub mod schema;

pub mod load;
pub mod staging;
pub mod swap;
pub mod throwaway;

/// What all of our sessions call themselves begins with this; a run that finds others (it holds the service's lock, so they
/// are leftovers of one that died) ends them.
pub const APPLICATION: &str = "pgbackup";

/// Quotes an identifier for SQL.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as an SQL literal. The `E` form is used only where a backslash asks for it.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A libpq connection string for a program in the container: a database may have any name, even one that looks like options.
pub(crate) fn conninfo(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("--dbname=user=postgres dbname='{escaped}'")
}

/// What PostgreSQL said, without the wrapper's words: message, then detail and hint where it gave some.
pub fn words(error: &postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        return text;
    };
    let mut text = said.message().to_owned();
    // A key or a row is the detail of a constraint that is violated.
    let detail = said.detail().filter(|_| !said.code().code().starts_with("23"));
    for more in [detail, said.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_whatever_a_name_holds() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), " E'a\\\\b'''");
        assert_eq!(conninfo("a'b\\c d"), "--dbname=user=postgres dbname='a\\'b\\\\c d'");
    }
}
