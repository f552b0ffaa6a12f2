//! `pgbackup:query`: a question to the database, asked straight at the service's container.
//!
//! It can't change anything: [`question`] holds how.

use std::io::{self, BufWriter, Write};

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use postgres::types::Type;
use postgres::{Client, SimpleQueryRow};
use unicode_width::UnicodeWidthStr;

use crate::commands::Context;
use crate::commands::restore::swap_in;
use crate::commands::restore_commit::nothing_staged;
use crate::database::{question, session, words};
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::text::printable;
use crate::ui::OutputClosed;

/// Rows that are in memory, and aligned with each other, at a time.
const BATCH: usize = 1_000;
/// The name under which other commands of ours let the session live (they end leftovers of dead runs).
const APPLICATION: &str = "pgbackup query";

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// As psql shows it.
    #[default]
    Table,
    /// Comma-separated values with a heading (RFC 4180).
    Csv,
    /// An array with one object for each row.
    Json,
}

/// Ask the database of a service a read-only question
///
/// The query goes straight to the service's container in a read-only transaction that is rolled back. From PostgreSQL 14 on
/// it may read all tables and nothing else: no files, programs or other sessions of the server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Count the users of lollipop

    dokku pgbackup:query lollipop \"SELECT COUNT(*) FROM sportfin_sportfinuser\"")]
pub struct Args {
    /// The service that is asked
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The query in quotes
    // Over ssh the quotes are gone and its words come one by one.
    #[arg(value_name = "sql", required = true, num_args = 1..)]
    pub sql: Vec<String>,
    /// Ask the database that restore --stage-only has put beside the live one
    #[arg(long)]
    pub staged: bool,
    /// Ask with the rights of the super user, as row-level security and some functions of the server need it
    #[arg(long)]
    pub superuser: bool,
    /// Form of the output: table or csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    pub format: Format,
    /// Give up after so many seconds and 0 never
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u32,
}

/// Asks.
///
/// # Errors
/// In PostgreSQL's own words when it refuses; or when the service doesn't run.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    let running = service.running(&context.docker)?;
    let sql = args.sql.join(" ");
    refuse_copy(&sql, &args.service)?;
    let database = if args.staged {
        swap_in::waiting(&running)?.ok_or_else(|| nothing_staged(&args.service))?.name
    } else {
        service.database.clone()
    };
    let mut client = session::connect_to_look(&running, &database)?;
    let output = BufWriter::new(context.ui.bytes());
    let mut answer = Answer { format: args.format, output, begun: false, rows: 0 };
    ask(&mut client, &sql, args, &mut answer)
}

/// One statement, read-only, rolled back.
fn ask<W: Write>(client: &mut Client, sql: &str, args: &Args, answer: &mut Answer<W>) -> Result<()> {
    // The session was set up for dumping; the user's query sees what any other session of the database sees.
    let settings = format!(
        "RESET ALL; SET application_name = '{APPLICATION}'; SET statement_timeout = '{}s'; SET default_transaction_read_only = on",
        args.timeout
    );
    let role = if args.superuser { "" } else { question::as_reader(session::version_number(client)?) };
    client
        .batch_execute(&settings)
        .and_then(|()| question::begin(client, role))
        .map_err(|error| anyhow!(words(&error)))?;
    let statement = question::prepare(client, sql).map_err(|error| refused(&error, sql, args))?;
    let columns: Vec<Column> = statement
        .columns()
        .iter()
        .map(|column| Column { name: column.name().to_owned(), kind: Kind::of(column.type_()) })
        .collect();
    if columns.is_empty() {
        client.simple_query(sql).map_err(|error| refused(&error, sql, args))?;
        return Err(Failure::usage("The statement gives no rows, and nothing that it did was kept")
            .hint("pgbackup:query only reads, with SELECT, TABLE, VALUES, WITH, SHOW or EXPLAIN")
            .into());
    }
    if question::is_plain_query(sql) {
        // Row by row out of the server, so that a large table doesn't have to fit into memory.
        question::each_batch(client, sql, BATCH, |rows| answer.batch(&columns, rows).map(|()| true)).map_err(
            |error| match error.downcast::<postgres::Error>() {
                Ok(error) => refused(&error, sql, args),
                Err(error) => error,
            },
        )?;
    } else {
        let messages = client.simple_query(sql).map_err(|error| refused(&error, sql, args))?;
        answer.batch(&columns, &question::rows_of(&messages))?;
    }
    // Also what only a commit would find is not of interest.
    let _ = client.batch_execute("ROLLBACK");
    answer.end()
}

/// PostgreSQL's own words, as psql shows them: severity, message, the place, detail and hint.
fn refused(error: &postgres::Error, sql: &str, args: &Args) -> anyhow::Error {
    if crate::interrupt::requested() {
        return crate::interrupt::Interrupted.into();
    }
    let Some(said) = error.as_db_error() else {
        return anyhow!("The query failed: {}", words(error));
    };
    let mut text = format!("{}:  {}", said.severity(), printable(said.message()));
    if let Some(postgres::error::ErrorPosition::Original(position)) = said.position() {
        text.push_str(&place(sql, *position as usize));
    }
    for (name, more) in [("DETAIL", said.detail()), ("HINT", said.hint())] {
        if let Some(more) = more {
            text = format!("{text}\n{name}:  {}", printable(more));
        }
    }
    let failure = Failure::failed(text);
    let code = said.code().code();
    match code {
        "25006" | "25001" => failure
            .hint("pgbackup:query only reads")
            .hint(format!("To change something use: dokku postgres:connect {}", args.service)),
        "42501" if !args.superuser => failure
            .hint("pgbackup:query may read tables and nothing else")
            .hint("To ask with the rights of the super user: --superuser"),
        "57014" => failure.hint(format!("It ran for {} s; give it more with --timeout SECONDS", args.timeout)),
        "42601" if said.message().contains("multiple commands") => {
            failure.hint("pgbackup:query takes one statement at a time")
        }
        _ => failure,
    }
    .into()
}

/// `LINE 1: SELECT nothing` with a mark below the place; positions count characters from 1.
fn place(sql: &str, position: usize) -> String {
    let before: String = sql.chars().take(position.saturating_sub(1)).collect();
    let number = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let Some(line) = sql.split('\n').nth(number - 1) else { return String::new() };
    let label = format!("LINE {number}: ");
    let shown: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    if shown.chars().count() > 200 {
        return String::new();
    }
    format!("\n{label}{}\n{}^", printable(&shown), " ".repeat(label.len() + column))
}

fn refuse_copy(sql: &str, service: &ServiceName) -> Result<(), Failure> {
    if question::is_copy(sql) {
        return Err(Failure::usage("pgbackup:query only reads, and COPY can write files and run programs")
            .hint("For a table as CSV: --format csv \"TABLE name\"")
            .hint(format!("For COPY use: dokku postgres:connect {service}")));
    }
    Ok(())
}

struct Column {
    name: String,
    kind: Kind,
}

/// How a value is aligned, and what it is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Json,
    Text,
}

impl Kind {
    fn of(kind: &Type) -> Self {
        match *kind {
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
                Self::Number
            }
            Type::BOOL => Self::Boolean,
            Type::JSON | Type::JSONB => Self::Json,
            _ => Self::Text,
        }
    }
}

/// A row as the writer needs it: texts in PostgreSQL's own form, `None` for NULL.
trait Row {
    fn value(&self, index: usize) -> Option<&str>;
}

impl Row for &SimpleQueryRow {
    fn value(&self, index: usize) -> Option<&str> {
        self.try_get(index).ok().flatten()
    }
}

/// Writes an answer as it comes.
struct Answer<W: Write> {
    format: Format,
    output: W,
    begun: bool,
    rows: u64,
}

impl<W: Write> Answer<W> {
    /// Not before the first rows are there: an error that comes instead of them finds standard output untouched.
    fn begin(&mut self, columns: &[Column]) -> Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        match self.format {
            Format::Table => Ok(()),
            Format::Csv => {
                let names: Vec<String> = columns.iter().map(|column| csv_value(&column.name)).collect();
                self.write(&format!("{}\n", names.join(",")))
            }
            Format::Json => self.write("["),
        }
    }

    fn batch<R: Row>(&mut self, columns: &[Column], rows: &[R]) -> Result<()> {
        self.begin(columns)?;
        match self.format {
            Format::Table => self.table(columns, rows)?,
            Format::Csv => {
                for row in rows {
                    let values: Vec<String> = (0..columns.len())
                        .map(|index| match row.value(index) {
                            None => String::new(),
                            // An empty text is told from NULL, as in PostgreSQL's own CSV.
                            Some("") => "\"\"".to_owned(),
                            Some(text) => csv_value(text),
                        })
                        .collect();
                    self.write(&format!("{}\n", values.join(",")))?;
                }
            }
            Format::Json => {
                for (index, row) in rows.iter().enumerate() {
                    let comma = if self.rows == 0 && index == 0 { "" } else { ",\n" };
                    self.write(&format!("{comma}{}", json_object(columns, row)?))?;
                }
            }
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match self.format {
            Format::Table => {
                let plural = if self.rows == 1 { "" } else { "s" };
                self.write(&format!("({} row{plural})\n", self.rows))?;
            }
            Format::Csv => {}
            Format::Json => self.write("]\n")?,
        }
        self.output.flush().map_err(closed)
    }

    /// As psql aligns it; headings come once, widths are those of the batch.
    fn table<R: Row>(&mut self, columns: &[Column], rows: &[R]) -> Result<()> {
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                (0..columns.len()).map(|index| printable(row.value(index).unwrap_or_default()).into_owned()).collect()
            })
            .collect();
        let names: Vec<String> = columns.iter().map(|column| printable(&column.name).into_owned()).collect();
        let widths: Vec<usize> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let cell_widths = cells.iter().filter_map(|row| row.get(index)).map(|cell| width(cell));
                cell_widths.chain([width(name)]).max().unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        if self.rows == 0 {
            let heads: Vec<String> = names.iter().zip(&widths).map(|(name, width)| centred(name, *width)).collect();
            text = format!("{}\n", heads.join("|"));
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            text.push_str(&rules.join("+"));
            text.push('\n');
        }
        for row in &cells {
            let last = row.len().saturating_sub(1);
            for (index, ((cell, width), column)) in row.iter().zip(&widths).zip(columns).enumerate() {
                let space = " ".repeat(width.saturating_sub(self::width(cell)));
                text.push_str(if index == 0 { " " } else { "| " });
                let parts = match column.kind {
                    Kind::Number => [space.as_str(), cell],
                    _ if index == last => [cell, ""],
                    _ => [cell, space.as_str()],
                };
                text.extend(parts);
                if index != last {
                    text.push(' ');
                }
            }
            text.push('\n');
        }
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.output.write_all(text.as_bytes()).map_err(closed)
    }
}

fn closed(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return OutputClosed.into();
    }
    anyhow::Error::new(error).context("Standard output can't be written")
}

/// Columns that a text takes on a terminal; wide scripts take two for a letter.
fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

fn centred(name: &str, width: usize) -> String {
    let space = width.saturating_sub(self::width(name));
    let before = space / 2;
    format!(" {}{name}{} ", " ".repeat(before), " ".repeat(space - before))
}

fn csv_value(text: &str) -> String {
    // A lone \. would end a COPY that reads it.
    if text.contains([',', '"', '\n', '\r']) || text == "\\." {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn json_object(columns: &[Column], row: &impl Row) -> Result<String> {
    let mut object = String::from("{");
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            object.push(',');
        }
        object.push_str(&json_text(&column.name)?);
        object.push(':');
        let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        match (row.value(index), column.kind) {
            (None, _) => object.push_str("null"),
            (Some("t"), Kind::Boolean) => object.push_str("true"),
            (Some("f"), Kind::Boolean) => object.push_str("false"),
            // As PostgreSQL wrote it, digit by digit; NaN and Infinity are texts.
            (Some(text), Kind::Number | Kind::Json) if is_json(text) => object.push_str(text),
            (Some(text), _) => object.push_str(&json_text(text)?),
        }
    }
    object.push('}');
    Ok(object)
}

fn json_text(text: &str) -> Result<String> {
    serde_json::to_string(text).context("writing JSON")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Row for Vec<Option<&str>> {
        fn value(&self, index: usize) -> Option<&str> {
            self.get(index).copied().flatten()
        }
    }

    fn columns(names: &[(&str, Kind)]) -> Vec<Column> {
        names.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect()
    }

    fn answer(format: Format, columns: &[Column], batches: &[Vec<Vec<Option<&str>>>]) -> String {
        let mut answer = Answer { format, output: Vec::new(), begun: false, rows: 0 };
        for batch in batches {
            answer.batch(columns, batch).unwrap();
        }
        answer.end().unwrap();
        String::from_utf8(answer.output).unwrap()
    }

    #[test]
    fn looks_like_psql() {
        let count = columns(&[("count", Kind::Number)]);
        assert_eq!(answer(Format::Table, &count, &[vec![vec![Some("562")]]]), " count \n-------\n   562\n(1 row)\n");
        assert_eq!(answer(Format::Table, &count, &[vec![]]), " count \n-------\n(0 rows)\n");
        let two = columns(&[("id", Kind::Number), ("name", Kind::Text), ("ok", Kind::Boolean)]);
        let rows = vec![vec![Some("1"), Some("日本"), None], vec![Some("20"), Some("a\nb\x1b[2J"), Some("t")]];
        assert_eq!(
            answer(Format::Table, &two, &[rows]),
            " id |     name      | ok \n----+---------------+----\n  1 | 日本          | \n 20 | a\\nb\\u{1b}[2J | t\n(2 rows)\n"
        );
    }

    #[test]
    fn writes_csv() {
        let two = columns(&[("id", Kind::Number), ("a,b", Kind::Text)]);
        let rows = vec![
            vec![Some("1"), Some("plain")],
            vec![None, None],
            vec![Some("2"), Some("")],
            vec![Some("3"), Some("say \"no\"\n")],
        ];
        assert_eq!(answer(Format::Csv, &two, &[rows]), "id,\"a,b\"\n1,plain\n,\n2,\"\"\n3,\"say \"\"no\"\"\n\"\n");
    }

    #[test]
    fn writes_json_with_its_own_kinds() {
        let all = columns(&[("n", Kind::Number), ("b", Kind::Boolean), ("j", Kind::Json), ("t", Kind::Text)]);
        let rows = vec![
            vec![Some("12345678901234567890.123456789"), Some("t"), Some("{\"a\": [1]}"), Some("x\"\n")],
            vec![Some("NaN"), None, Some("null"), None],
        ];
        let text = answer(Format::Json, &all, &[rows.clone(), rows]);
        assert!(text.starts_with(
            "[{\"n\":12345678901234567890.123456789,\"b\":true,\"j\":{\"a\": [1]},\"t\":\"x\\\"\\n\"},\n"
        ));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.as_array().unwrap().len(), 4);
        assert_eq!(value[1]["n"], "NaN");
        assert_eq!(answer(Format::Json, &all, &[vec![]]), "[]\n");
    }

    #[test]
    fn refuses_copy() {
        assert!(refuse_copy("/**/copy t to '/x'", &"prod".parse().unwrap()).is_err());
    }

    #[test]
    fn shows_the_place_of_an_error() {
        assert_eq!(place("SELECT nothing", 8), "\nLINE 1: SELECT nothing\n               ^");
        assert_eq!(place("SELECT\n  größe, x", 17), "\nLINE 2:   größe, x\n                 ^");
        assert_eq!(place("", 9), "\nLINE 1: \n        ^");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "\\PC{0,30}", text in "\\PC{0,40}", position in 0usize..60) {
            let _ = place(&sql, position);
            let _ = place(&text, position);
            let one = columns(&[("x", Kind::Json)]);
            let json = answer(Format::Json, &one, &[vec![vec![Some(text.as_str())]]]);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}
