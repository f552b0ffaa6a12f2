//! The user's own checks: a question in SQL, what its answer has to be, and what it was when a backup was made.
//!
//! Counts and checksums say that the rows are the same; a check says that they are right for whom they belong to: the newest order, the sum of
//! all invoices, that there is a customer at all. Pure: how a question is asked is the `database`'s affair.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The longest name: one column of a table on a screen.
const LONGEST_NAME: usize = 60;
/// The longest question.
const LONGEST_SQL: usize = 10_000;
/// How much of an answer is shown.
const SHOWN: usize = 160;

/// What a check is called: part of command lines and of a table on a screen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a check's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid name for a check, which has letters, digits, _ . and - only and begins with no dash")]
pub struct InvalidName(String);

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > LONGEST_NAME || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(InvalidName(text.chars().take(LONGEST_NAME).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A question in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sql(String);

impl Sql {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sql {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("A check needs a query in SQL".to_owned());
        }
        if text.len() > LONGEST_SQL {
            return Err(format!("A check's query is at most {LONGEST_SQL} bytes long"));
        }
        if text.contains('\0') {
            return Err("A query can't hold a NUL".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Sql {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sql> for String {
    fn from(sql: Sql) -> Self {
        sql.0
    }
}

/// A number as PostgreSQL writes it: `500`, `-1.5`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(String);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text.len() > 38 || !all_digits(whole) || !all_digits(part) {
            return Err(format!("{:?} is not a number such as 500 or -1.5", text.chars().take(40).collect::<String>()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Number {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Number {
    /// Whether a value of the server is a number that is as large.
    fn is_reached_by(&self, value: &str) -> bool {
        match (self.0.parse::<i128>(), value.parse::<i128>()) {
            (Ok(least), Ok(value)) => value >= least,
            _ => match (self.0.parse::<f64>(), value.parse::<f64>()) {
                (Ok(least), Ok(value)) => value >= least,
                _ => false,
            },
        }
    }
}

/// What an answer has to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "wants", content = "wanted", rename_all = "kebab-case")]
pub enum Wants {
    /// In a restored copy what it was when the backup was made.
    #[default]
    SameAsBackup,
    /// This one value, always; `NULL` is NULL.
    Expect(String),
    /// One number that is at least as large, always.
    Min(Number),
}

impl Wants {
    /// In words: `562`, `at least 500`, `same as in the backup`.
    pub fn describe(&self) -> String {
        match self {
            Self::SameAsBackup => "same as in the backup".to_owned(),
            Self::Expect(value) => value.clone(),
            Self::Min(least) => format!("at least {least}"),
        }
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The question.
    pub sql: Sql,
    /// What its answer has to be.
    #[serde(flatten)]
    pub wants: Wants,
    /// After so many seconds there is no answer.
    pub timeout: u32,
    /// Whether it is asked with the super user's rights, and not only with that of reading all tables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superuser: bool,
}

/// What a question was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Rows of values in PostgreSQL's text form, sorted: without an ORDER BY no order is promised, and a restored table has another one.
    Rows {
        /// The rows; NULL is none.
        rows: Vec<Vec<Option<String>>>,
    },
    /// The server's refusal.
    Error {
        /// In its words.
        error: String,
    },
}

impl Answer {
    /// Rows in any order.
    pub fn of_rows(mut rows: Vec<Vec<Option<String>>>) -> Self {
        rows.sort();
        Self::Rows { rows }
    }

    /// The one value, where it is one.
    #[expect(clippy::option_option, reason = "no single value, and a single one that is NULL")]
    fn single(&self) -> Option<Option<&str>> {
        match self {
            Self::Rows { rows } => match rows.as_slice() {
                [row] => match row.as_slice() {
                    [value] => Some(value.as_deref()),
                    _ => None,
                },
                _ => None,
            },
            Self::Error { .. } => None,
        }
    }

    /// As a user is shown it, on one line.
    pub fn describe(&self) -> String {
        let value = |value: &Option<String>| match value.as_deref() {
            None => "NULL".to_owned(),
            Some("") => "\"\"".to_owned(),
            Some(text) => text.to_owned(),
        };
        let text = match self {
            Self::Error { error } => format!("no answer ({})", error.split_whitespace().collect::<Vec<_>>().join(" ")),
            Self::Rows { rows } => match rows.as_slice() {
                [] => "no rows".to_owned(),
                [row] => row.iter().map(value).collect::<Vec<_>>().join("|"),
                several => {
                    let shown: Vec<String> = several
                        .iter()
                        .take(10)
                        .map(|row| row.iter().map(value).collect::<Vec<_>>().join("|"))
                        .collect();
                    format!("{} rows: {}", several.len(), shown.join("; "))
                }
            },
        };
        let text = printable(&text);
        if text.chars().count() <= SHOWN {
            return text.into_owned();
        }
        text.chars().take(SHOWN).chain(['…']).collect()
    }
}

/// A check with the answer that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The check.
    #[serde(flatten)]
    pub check: Check,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

impl Recorded {
    /// Whether the answer is what the check wants by itself, without another one to compare with.
    pub fn holds(&self) -> bool {
        match (&self.check.wants, &self.answer) {
            (_, Answer::Error { .. }) => false,
            (Wants::SameAsBackup, Answer::Rows { .. }) => true,
            (Wants::Expect(wanted), answer) => match answer.single() {
                Some(None) => wanted == "NULL",
                Some(Some(value)) => value == wanted && value != "NULL",
                None => false,
            },
            (Wants::Min(least), answer) => answer.single().flatten().is_some_and(|value| least.is_reached_by(value)),
        }
    }

    /// What is wrong with it, where it doesn't hold: `at least 500 expected, 0 found`.
    pub fn failure(&self) -> Option<String> {
        if self.holds() {
            return None;
        }
        let answer = self.answer.describe();
        Some(match (&self.answer, &self.check.wants) {
            (Answer::Error { .. }, _) | (_, Wants::SameAsBackup) => answer,
            (_, wants) => format!("{} expected, {answer} found", wants.describe()),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn recorded(wants: Wants, answer: Answer) -> Recorded {
        let sql = "SELECT count(*) FROM users".parse().unwrap();
        Recorded { check: Check { sql, wants, timeout: 60, superuser: false }, answer }
    }

    pub(crate) fn one(value: Option<&str>) -> Answer {
        Answer::of_rows(vec![vec![value.map(str::to_owned)]])
    }

    fn error() -> Answer {
        Answer::Error { error: "relation \"users\"\ndoes not exist".to_owned() }
    }

    #[test]
    fn names_are_words_of_a_command_line() {
        for good in ["users", "newest-order", "a.b_c", "1"] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        for bad in ["", "-x", "a b", "a;b", "é", "a\n", "../x/", "$(x)", &"x".repeat(61)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("  ".parse::<Sql>().is_err() && "x\0".parse::<Sql>().is_err());
        for bad in ["", "-", "1e5", "NaN", "1.", ".5", "5 ", "--1", "inf"] {
            assert!(bad.parse::<Number>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn holds_what_is_wanted_and_nothing_else() {
        let min = |least: &str| Wants::Min(least.parse().unwrap());
        let expect = |value: &str| Wants::Expect(value.to_owned());
        let two = Answer::of_rows(vec![vec![Some("1".to_owned())], vec![None]]);
        for (wants, answer, holds) in [
            (Wants::SameAsBackup, one(Some("562")), true),
            (Wants::SameAsBackup, error(), false),
            (expect("562"), one(Some("562")), true),
            (expect("562"), one(Some("562 ")), false),
            (expect("NULL"), one(None), true),
            (expect("NULL"), one(Some("NULL")), false),
            (expect(""), one(None), false),
            (expect("1"), two.clone(), false),
            (expect("1"), Answer::of_rows(Vec::new()), false),
            (min("500"), one(Some("500")), true),
            (min("500"), one(Some("499")), false),
            (min("99999999999999999999"), one(Some("100000000000000000000")), true),
            (min("-1.5"), one(Some("-1.25")), true),
            (min("1"), one(Some("NaN")), false),
            (min("0"), one(None), false),
            (min("0"), one(Some("many")), false),
            (min("0"), two, false),
        ] {
            assert_eq!(recorded(wants.clone(), answer.clone()).holds(), holds, "{wants:?} {answer:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_on_one_line() {
        let min = Wants::Min("500".parse().unwrap());
        assert_eq!(recorded(min.clone(), one(Some("0"))).failure().unwrap(), "at least 500 expected, 0 found");
        assert_eq!(recorded(min, error()).failure().unwrap(), "no answer (relation \"users\" does not exist)");
        let rows = Answer::of_rows(vec![vec![Some("b\u{1b}".to_owned()), None], vec![Some("a".to_owned()), None]]);
        assert_eq!(rows.describe(), "2 rows: a|NULL; b\\u{1b}|NULL");
        assert_eq!(Answer::of_rows(Vec::new()).describe(), "no rows");
    }

    #[test]
    fn is_the_same_in_json() {
        let json = serde_json::to_string(&recorded(Wants::Min("5".parse().unwrap()), one(Some("7")))).unwrap();
        assert_eq!(
            json,
            r#"{"sql":"SELECT count(*) FROM users","wants":"min","wanted":"5","timeout":60,"rows":[["7"]]}"#
        );
        for wants in [Wants::SameAsBackup, Wants::Expect("x".into()), Wants::Min("-2.5".parse().unwrap())] {
            for answer in [one(None), one(Some("")), error(), Answer::of_rows(Vec::new())] {
                let one = recorded(wants.clone(), answer);
                assert_eq!(serde_json::from_str::<Recorded>(&serde_json::to_string(&one).unwrap()).unwrap(), one);
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_answered_can_be_shown_on_one_line(text in "\\PC{0,300}", number in "\\PC{0,10}") {
            let answer = Answer::of_rows(vec![vec![Some(text.clone()), Some(number.clone())], vec![Some(text)]]);
            let shown = answer.describe();
            prop_assert!(!shown.contains('\n') && shown.chars().count() <= SHOWN + 1);
            if let Ok(number) = number.parse::<Number>() {
                prop_assert!(number.to_string().parse::<f64>().is_ok());
            }
        }
    }
}
