//! Foreign text made safe to show: names from a store, labels, a server's words may hold terminal escapes.

use std::borrow::Cow;

/// The text with every control character (and the marks that turn the reading direction) written out as `\u{…}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    let unsafe_to_show = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.chars().any(unsafe_to_show) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unsafe_to_show(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// What PostgreSQL and its programs say of rows, and of statements that may hold some, begins with one of these words.
const OF_ROWS: [&str; 6] = ["DETAIL:", "CONTEXT:", "Command was:", "QUERY:", "STATEMENT:", "LINE "];
/// The next line of a program, behind such words of any length.
const NEXT_LINE: [&str; 3] = ["; pg_restore: ", "; pg_dump: ", "; psql:"];

/// Words of PostgreSQL's programs, their lines joined by "; ", without what may be of a row: for everybody but who has typed the command. Of an
/// error that came up while rows were read, what it quotes is left out as well (`invalid input syntax for type integer: "…"`).
pub fn without_rows(text: &str) -> Cow<'_, str> {
    let begins = |text: &str| {
        let at = |word: &&str| text.match_indices(*word).map(|(at, _)| at).find(|at| begins_a_line(text, *at));
        OF_ROWS.iter().filter_map(at).min()
    };
    let Some(mut cut) = begins(text) else { return Cow::Borrowed(text) };
    let (mut told, mut rest) = (String::new(), text);
    loop {
        let (said, of_rows) = rest.split_at_checked(cut).unwrap_or((rest, ""));
        let end = NEXT_LINE.iter().filter_map(|next| of_rows.find(next)).min().unwrap_or(of_rows.len());
        let (of_rows, more) = of_rows.split_at_checked(end).unwrap_or((of_rows, ""));
        let said = said.strip_suffix("; ").or_else(|| said.strip_suffix(": ")).unwrap_or(said).trim_end();
        if of_rows.contains("CONTEXT:") || of_rows.contains("INSERT INTO ") {
            let (before, error) = said.rsplit_once("ERROR:").unwrap_or((said, ""));
            told.push_str(before);
            if !error.is_empty() {
                told.push_str("ERROR:");
                push_without_quoted(&mut told, error);
            }
        } else {
            told.push_str(said);
        }
        rest = more;
        match begins(rest) {
            Some(next) => cut = next,
            None => break,
        }
    }
    told.push_str(rest);
    Cow::Owned(told)
}

fn begins_a_line(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| {
        before.is_empty() || ["; ", ": ", "\n"].iter().any(|separator| before.ends_with(separator))
    })
}

/// From the first quote to the last: a value may hold quotes itself.
fn push_without_quoted(told: &mut String, text: &str) {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => {
            told.push_str(text.get(..first).unwrap_or_default());
            told.push_str("\"…\"");
            // A quote that isn't closed was cut off.
            told.push_str(text.get(last + 1..).filter(|_| last > first).unwrap_or_default());
        }
        _ => told.push_str(text),
    }
}

/// A number with its noun: `1 table`, `2 tables`. The noun is a regular one.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_words() {
        assert_eq!([count(0, "row"), count(1, "row"), count(2, "row")], ["0 rows", "1 row", "2 rows"]);
    }

    #[test]
    fn what_is_told_holds_nothing_of_a_row() {
        for (text, told) in [
            ("The disk is full; free some", "The disk is full; free some"),
            (
                "Drill failed: pg_restore failed with exit status 1: pg_restore: error: COPY failed for table \"users\": ERROR:  invalid input \
                 syntax for type integer: \"se\"cret\"; CONTEXT:  COPY users, line 3, column id: \"se\"cret\"",
                "Drill failed: pg_restore failed with exit status 1: pg_restore: error: COPY failed for table \"users\": ERROR:  invalid input \
                 syntax for type integer: \"…\"",
            ),
            (
                "pg_restore: while PROCESSING TOC:; pg_restore: from TOC entry 3; 2606 1 INDEX users_key; pg_restore: error: could not execute \
                 query: ERROR:  could not create unique index \"users_key\"; DETAIL:  Key (mail)=(sec; ret) is duplicated.; Command was: \
                 CREATE INDEX; pg_restore: warning: errors ignored on restore: 1",
                "pg_restore: while PROCESSING TOC:; pg_restore: from TOC entry 3; 2606 1 INDEX users_key; pg_restore: error: could not execute \
                 query: ERROR:  could not create unique index \"users_key\"; pg_restore: warning: errors ignored on restore: 1",
            ),
            (
                "psql failed with exit status 3: psql:<stdin>:9: ERROR:  invalid input value for enum mood: \"secret\"; LINE 1: INSERT INTO a \
                 VALUES ('secret');; ^",
                "psql failed with exit status 3: psql:<stdin>:9: ERROR:  invalid input value for enum mood: \"…\"",
            ),
            // The first of the lines that are kept.
            ("pg_restore failed: CONTEXT:  COPY a, line 1: \"secret\"", "pg_restore failed"),
            ("LINE secret", ""),
        ] {
            assert_eq!(without_rows(text), told);
        }
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(printable("Größe \"x\""), "Größe \"x\"");
        assert_eq!(printable("a\x1b[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
    }
}
