//! What differs from run to run, taken out of what is compared: times, sizes, durations, the suite's own additions to names.

use std::sync::LazyLock;

use regex_lite::Regex;

/// Pattern and what stands in its place, in order.
static REDACTIONS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // The suite's additions to the names of services, databases and apps.
        (r"[-_]t[0-9a-f]{8}\b", ""),
        (r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d", "<second>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"pgbackup_(previous|staging|drill)_\d{14,17}_", "pgbackup_${1}_<second>_"),
        (r"\b\d+(\.\d+)?(B|KiB|MiB|GiB|TiB)\b", "<size>"),
        (r"\b(\d+\.\d+s|\d+m\d\ds|\d+h\d\dm)", "<duration>"),
        (r"\b\d+[smhd]\b", "<age>"),
        (r"Made on \S+ with PostgreSQL [0-9.]+", "Made on <host> with PostgreSQL <version>"),
        (r"SANDBOX[A-Z]+[0-9A-F]{8}\b", "<key>"),
        (r"http://127\.0\.0\.1:\d+", "<endpoint>"),
        (r"\b[0-9a-f]{64}\b", "<digest>"),
        // Progress is told from time to time where there is no terminal.
        (r"(?m)^ +(Saving|Reading|Copying|Comparing) [^\n]*: [^\n]*\n", ""),
        // Columns are as wide as what was in them.
        (r"(\S) {2,}", "$1  "),
        (r"(?m) +$", ""),
    ]
    .into_iter()
    .map(|(pattern, replacement)| (Regex::new(pattern).unwrap(), replacement))
    .collect()
});

/// The text without them.
pub fn redact(text: &str) -> String {
    REDACTIONS
        .iter()
        .fold(text.to_owned(), |text, (pattern, replacement)| pattern.replace_all(&text, *replacement).into_owned())
}
