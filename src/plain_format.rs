//! SQL text as `pg_dump` and `pg_dumpall` write it without `-F`, read as it streams by: its databases, its rows, its end.
//!
//! The second generation of dokku-postgres keeps every database of a service in one such text, each dropped and created again. It is
//! never given to a live server; [`crate::database::throwaway`] is where it is loaded, by psql, and this is the filter in front of psql:
//!
//! - rows are counted (a COPY block has one line a row), database by database, so that what comes out can be compared;
//! - a text that was cut off is told: each dump in it has a first and a last line;
//! - psql's own commands (`\!`, `\copy … program`) are refused, wherever they stand. A dump holds `\connect` and nothing else that
//!   psql obeys. So is a COPY from or to a file or a program: the rows of a dump stand in it. This is the first of two fences (a function's
//!   body can hold anything): the second is that psql runs where there is nothing to reach;
//! - roles are made as they are named, since the server it is loaded into has none.
//!
//! Bounded memory: a statement is held until its end, or until it is too long to be one that matters; rows are never held, and of names no more
//! than [`MOST_NAMES`].

mod lexer;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use lexer::{Lexer, Step};
use statement::Statement;

/// A longer statement is none of those that are looked at: a COPY with 1600 columns of the longest names has 200 KB.
const LONGEST: usize = 1 << 20;
/// What ends the rows of a COPY.
const END_OF_ROWS: &[u8; 3] = b"\\.\n";
/// Roles that are remembered as made.
const MOST_ROLES: usize = 10_000;
/// A longer name of a role is not remembered: PostgreSQL has none (63 bytes, and its quotes).
const LONGEST_ROLE: usize = 256;
/// What the names of databases and tables that are remembered may take: some 500,000 tables.
const MOST_NAMES: usize = 64 << 20;
/// What each of them takes besides its bytes.
const NAME: usize = 64;

/// What a text holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// By name; the one under `None` has no name in the text: it is whichever psql was connected to.
    pub databases: BTreeMap<Option<String>, Database>,
    /// The newest server version that the text names ("15.18").
    pub server_version: Option<String>,
    /// The newest pg_dump version that it names.
    pub dump_version: Option<String>,
    /// Whether it said where it begins and ends, as pg_dump does.
    pub marked: bool,
}

/// What one database in it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// Rows by table, as its COPY statement writes the name; `None` where they can't be counted in passing: `--inserts`, or [`through_root`](Self::through_root).
    pub rows: BTreeMap<String, Option<u64>>,
    /// Tables whose partitions' rows are loaded through them, wherever they come to lie.
    pub through_root: BTreeSet<String>,
    /// Number of large objects.
    pub large_objects: u64,
    /// Whether anything was done in it at all.
    pub statements: u64,
}

impl Contents {
    /// Databases that are not the server's own, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Database)> {
        let own = |name: &str| ["postgres", "template0", "template1"].contains(&name);
        self.databases
            .iter()
            .filter_map(|(name, database)| Some((name.as_deref()?, database)))
            .filter(move |(name, _)| !own(name))
    }
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlainError {
    /// It ends too early.
    #[error("the SQL text is cut off: it ends {0}")]
    Truncated(String),
    /// It holds what no dump holds.
    #[error("the SQL text is refused: line {line} holds the psql command {command}, which no dump holds")]
    Refused {
        /// Where.
        line: u64,
        /// Its first characters, escaped.
        command: String,
    },
    /// It names more than can be remembered.
    #[error("the SQL text is refused: the names of its databases and tables take more than {} MiB", MOST_NAMES >> 20)]
    TooManyNames,
    /// It copies from or to somewhere else than the text.
    #[error(
        "the SQL text is refused: line {line} holds {statement}, a COPY of other rows than those that follow it, which no dump holds"
    )]
    RefusedCopy {
        /// Where it ends.
        line: u64,
        /// Its first characters, escaped.
        statement: String,
    },
}

/// Reads a text piece by piece and passes on what psql may see.
#[derive(Debug, Default)]
pub struct Filter {
    lexer: Lexer,
    /// The statement, comment or command at hand, until its end.
    held: Vec<u8>,
    /// It was too long to be held and is passed on as it comes.
    passing: bool,
    /// A statement has ended, its line has not.
    ended: bool,
    rows: Option<Rows>,
    line: u64,
    database: Option<String>,
    contents: Contents,
    /// Dumps that have begun and ended: of a database, of a cluster.
    begun: [u64; 2],
    completed: [u64; 2],
    through_root: bool,
    roles: BTreeSet<Vec<u8>>,
    /// What the names in `contents` take.
    names: usize,
}

/// A COPY block under way.
#[derive(Debug)]
struct Rows {
    table: String,
    counted: bool,
    lines: u64,
    /// How much of [`END_OF_ROWS`] stands at the beginning of this line; `None` inside a line.
    mark: Option<usize>,
}

impl Filter {
    /// Begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, of any size, and adds to `passed` what psql may have of it. After an error it is of no more use.
    ///
    /// # Errors
    /// [`PlainError::Refused`], [`PlainError::RefusedCopy`], [`PlainError::TooManyNames`].
    pub fn feed(&mut self, piece: &[u8], passed: &mut Vec<u8>) -> Result<(), PlainError> {
        let mut input = piece;
        while !input.is_empty() {
            input = if self.rows.is_some() { self.take_rows(input, passed) } else { self.take_text(input, passed)? };
        }
        Ok(())
    }

    /// The text has ended: was that all of it?
    ///
    /// # Errors
    /// [`PlainError::Truncated`], or [`PlainError::Refused`] for its last line.
    pub fn finish(mut self, passed: &mut Vec<u8>) -> Result<Contents, PlainError> {
        if let Some(rows) = &self.rows {
            return Err(PlainError::Truncated(format!("inside the rows of {}{}", rows.table, self.of_database())));
        }
        if (self.passing || !self.held.is_empty()) && !self.held.ends_with(b"\n") {
            self.take_text(b"\n", passed)?;
        }
        if self.passing || !self.held.trim_ascii().is_empty() || !self.lexer.is_plain() {
            return Err(PlainError::Truncated(format!("inside a statement{}", self.of_database())));
        }
        if self.begun[0] > self.completed[0] {
            return Err(PlainError::Truncated(format!("inside the dump{}", self.of_database())));
        }
        if self.begun[1] > self.completed[1] {
            return Err(PlainError::Truncated("before the end of the dump of all databases".to_owned()));
        }
        if self.contents.databases.is_empty() {
            return Err(PlainError::Truncated("before anything is in it".to_owned()));
        }
        self.contents.marked = self.begun[0] + self.begun[1] > 0;
        Ok(self.contents)
    }

    /// What has been seen so far.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    fn of_database(&self) -> String {
        self.database.as_ref().map(|name| format!(" of the database {name}")).unwrap_or_default()
    }

    fn here(&mut self) -> &mut Database {
        self.contents.databases.entry(self.database.clone()).or_default()
    }

    fn take_rows<'a>(&mut self, mut input: &'a [u8], passed: &mut Vec<u8>) -> &'a [u8] {
        let Some(rows) = &mut self.rows else { return input };
        let all = input;
        let mut over = false;
        while let Some((&byte, rest)) = input.split_first() {
            match rows.mark {
                Some(matched) if END_OF_ROWS.get(matched) == Some(&byte) => {
                    input = rest;
                    rows.mark = Some(matched + 1);
                    if matched + 1 == END_OF_ROWS.len() {
                        over = true;
                        break;
                    }
                }
                Some(_) => rows.mark = None,
                None => match memchr::memchr(b'\n', input) {
                    Some(at) => {
                        rows.lines += 1;
                        rows.mark = Some(0);
                        input = input.get(at + 1..).unwrap_or_default();
                    }
                    None => input = &[],
                },
            }
        }
        passed.extend_from_slice(all.get(..all.len() - input.len()).unwrap_or_default());
        if over && let Some(Rows { table, counted, lines, .. }) = self.rows.take() {
            self.line += lines + 1;
            let here = self.here();
            if !counted {
                here.through_root.insert(table.clone());
            }
            let known = here.rows.entry(table).or_insert(Some(0));
            *known = known.filter(|_| counted).map(|before| before + lines);
        }
        input
    }

    fn take_text<'a>(&mut self, input: &'a [u8], passed: &mut Vec<u8>) -> Result<&'a [u8], PlainError> {
        for (at, &byte) in input.iter().enumerate() {
            let step = self.lexer.step(byte);
            if self.passing {
                passed.push(byte);
            } else {
                self.held.push(byte);
            }
            // No such statement of a dump is as long, or stands behind another one on a line.
            if self.lexer.copies() && (self.passing || self.held.len() > LONGEST) {
                return Err(self.refused_copy(&self.held));
            }
            match step {
                Step::Within => {}
                Step::Command => {
                    // At the beginning of a line of its own it is looked at when that line has ended.
                    if self.passing || self.held.trim_ascii() != b"\\" {
                        return Err(self.refused(b"\\"));
                    }
                }
                Step::StatementEnd => self.ended = true,
                Step::LineEnd => {
                    self.line += 1;
                    if self.ended
                        || self.held.trim_ascii_start().starts_with(b"--")
                        || self.held.trim_ascii_start().starts_with(b"\\")
                    {
                        self.end_of_statement(passed)?;
                    } else if self.held.trim_ascii().is_empty() && !self.passing {
                        passed.append(&mut self.held);
                    }
                    if self.rows.is_some() {
                        return Ok(input.get(at + 1..).unwrap_or_default());
                    }
                }
            }
            if self.held.len() > LONGEST {
                if self.lexer.in_command() {
                    return Err(self.refused(&self.held.clone()));
                }
                passed.append(&mut self.held);
                self.passing = true;
            }
        }
        Ok(&[])
    }

    fn refused(&self, command: &[u8]) -> PlainError {
        let command = if self.held.trim_ascii_start().starts_with(b"\\") { self.held.trim_ascii() } else { command };
        PlainError::Refused { line: self.line.max(1), command: beginning(command) }
    }

    fn refused_copy(&self, held: &[u8]) -> PlainError {
        let statement = if held.is_empty() { "COPY".to_owned() } else { beginning(held) };
        PlainError::RefusedCopy { line: self.line.max(1), statement }
    }

    fn end_of_statement(&mut self, passed: &mut Vec<u8>) -> Result<(), PlainError> {
        self.ended = false;
        let copies = self.lexer.copies();
        self.lexer.next_statement();
        if std::mem::take(&mut self.passing) {
            self.here().statements += 1;
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        match Statement::parse(&held) {
            statement if copies && !matches!(statement, Statement::Copy { .. }) => return Err(self.refused_copy(&held)),
            Statement::Comment(text) => {
                self.comment(text);
                passed.extend_from_slice(&held);
            }
            Statement::Restrict | Statement::Needless => {}
            Statement::Encoding => passed.extend_from_slice(&held),
            Statement::Connect(name) => {
                if !self.contents.databases.contains_key(&Some(name.clone())) {
                    self.remember(&name)?;
                }
                passed.extend_from_slice(&statement::connect(&name));
                self.database = Some(name);
                self.here();
            }
            Statement::Command => return Err(self.refused(&held)),
            Statement::Copy { table } => {
                self.remember_table(&table)?;
                self.here().statements += 1;
                passed.extend_from_slice(&held);
                let counted = !std::mem::take(&mut self.through_root);
                self.rows = Some(Rows { table, counted, lines: 0, mark: Some(0) });
            }
            Statement::Insert { table } => {
                self.remember_table(&table)?;
                let here = self.here();
                here.statements += 1;
                here.rows.insert(table, None);
                passed.extend_from_slice(&held);
            }
            Statement::LargeObject => {
                let here = self.here();
                here.statements += 1;
                here.large_objects += 1;
                passed.extend_from_slice(&held);
            }
            Statement::CreateRole(role) => self.make_role(&role, passed),
            Statement::Instead(text) => passed.extend_from_slice(&text),
            Statement::Other { roles } => {
                // What a cluster's dump says before its first \connect concerns no database's contents.
                if self.database.is_some() || self.begun[1] == 0 {
                    self.here().statements += 1;
                }
                for role in roles {
                    self.make_role(&role, passed);
                }
                if let Some(on) = statement::standard_conforming_strings(&held) {
                    self.lexer.set_standard_conforming_strings(on);
                }
                passed.extend_from_slice(&held);
            }
        }
        Ok(())
    }

    /// Takes what a new table's name will take.
    fn remember_table(&mut self, table: &str) -> Result<(), PlainError> {
        if self.here().rows.contains_key(table) { Ok(()) } else { self.remember(table) }
    }

    fn remember(&mut self, name: &str) -> Result<(), PlainError> {
        self.names += name.len() + NAME;
        if self.names > MOST_NAMES { Err(PlainError::TooManyNames) } else { Ok(()) }
    }

    fn make_role(&mut self, role: &[u8], passed: &mut Vec<u8>) {
        if self.roles.contains(role) {
            return;
        }
        passed.extend_from_slice(&statement::create_role(role));
        if self.roles.len() < MOST_ROLES && role.len() <= LONGEST_ROLE {
            self.roles.insert(role.to_owned());
        }
    }

    fn comment(&mut self, text: &[u8]) {
        let version = |rest: &[u8]| {
            let text = String::from_utf8_lossy(rest);
            text.split_whitespace().next().unwrap_or_default().to_owned()
        };
        match text {
            b"PostgreSQL database dump" => {
                self.begun[0] += 1;
                self.here();
            }
            b"PostgreSQL database dump complete" => self.completed[0] += 1,
            b"PostgreSQL database cluster dump" => self.begun[1] += 1,
            b"PostgreSQL database cluster dump complete" => self.completed[1] += 1,
            _ => {
                self.through_root |= text.starts_with(b"load via partition root ");
                if let Some(rest) = text.strip_prefix(b"Dumped from database version ") {
                    newest(&mut self.contents.server_version, version(rest));
                } else if let Some(rest) = text.strip_prefix(b"Dumped by pg_dump version ") {
                    newest(&mut self.contents.dump_version, version(rest));
                }
            }
        }
    }
}

/// The first characters of something that is refused, escaped.
fn beginning(text: &[u8]) -> String {
    let text = text.trim_ascii();
    text.get(..40).unwrap_or(text).escape_ascii().to_string()
}

/// Keeps the version with the higher major number.
fn newest(known: &mut Option<String>, version: String) {
    if known.as_deref().is_none_or(|known| major(known) < major(&version)) {
        *known = Some(version);
    }
}

/// The major number of a version: 15 of "15.18".
pub fn major(version: &str) -> Option<i32> {
    version.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests;
