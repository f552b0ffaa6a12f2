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
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(printable("Größe \"x\""), "Größe \"x\"");
        assert_eq!(printable("a\x1b[31mb\n\u{202e}"), "a\\u{1b}[31mb\\n\\u{202e}");
    }
}
