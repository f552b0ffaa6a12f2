//! `check`: reads a whole backup without a database: is every byte there, does it unpack, how many rows does each table have?
//!
//! The object is compared with its sidecar, the gzip and the tar around the dump are read to their ends, the dump's blocks are
//! walked one by one and their rows counted, and where there is a manifest each table is compared with it. Constant memory, no disk,
//! no container: what [`super::verify`] proves by a restore this says of the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use crate::archive::encryption::EncryptionError;
use crate::archive::proof::Unproven;
use crate::archive::unpack::{ArchiveError, Unpacked, unpack};
use crate::commands::arguments::{Chosen, Output};
use crate::commands::context::Context;
use crate::commands::encryption::unlock::Unlock;
use crate::commands::restore::source::{self, Fetched, NotABackup, WrongLength};
use crate::commands::restore::staged;
use crate::custom_format::{FormatError, Kind as DumpKind, Tally, Toc};
use crate::error::{Failure, Kind};
use crate::history::{Depth, Entry, Event, History, VerificationRecord};
use crate::manifest::{self, Manifest};
use crate::plain_format::{Filter, PlainError};
use crate::service::name::ServiceName;
use crate::store::key::BackupKey;
use crate::text::{count, printable};
use crate::ui::comparison::show_verification;
use crate::ui::human;
use crate::ui::{Column, Table};
use crate::verification::{Difference, NotCompared, Reason, TableRows, Verification};

/// Bytes of a dump that are looked at at once.
const BUFFER: usize = 256 << 10;
/// Tables that are shown one by one.
const SHOWN: usize = 25;

/// Read a whole backup and count its rows
///
/// Every byte is read and no database is touched: the checksum is compared with the recorded one and the archive unpacked to
/// its end; the rows of every table are counted and compared with the manifest where there is one. It takes no disk and works for
/// backups that dokku postgres:backup made years ago. Exit code 3 says that the backup is damaged.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup>|--before TIME|--file PATH [--from DESTINATION] [--format json]",
    after_help = "Check the newest backup of lollipop

    dokku pgbackup:check lollipop latest

Check a file from anywhere

    ssh dokku@host pgbackup:check lollipop - < backup.tgz

Check one of a host that is gone

    dokku pgbackup:check lollipop latest --from s3://my-backups/prod"
)]
pub struct Args {
    /// The service whose backup is read
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub chosen: Chosen,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub unlock: Unlock,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// What `--format json` prints; fields are only ever added.
#[derive(Debug, Serialize)]
struct Report<'a> {
    service: &'a ServiceName,
    backup: &'a str,
    good: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a str>,
    #[serde(flatten)]
    reading: Option<&'a Reading>,
}

/// What reading a whole object has brought.
#[derive(Debug, Serialize)]
struct Reading {
    bytes: u64,
    dump_bytes: u64,
    /// `archive` (pg_dump's custom format) or `sql`.
    dump: &'static str,
    server_version: Option<String>,
    dump_version: Option<String>,
    /// Databases in it; a dump in SQL may hold several.
    databases: Vec<String>,
    large_objects: u64,
    /// What it was compared with.
    compared_with: Option<&'static str>,
    #[serde(flatten)]
    verification: Verification,
}

/// A dump, read to its end.
#[derive(Debug)]
struct Dump {
    kind: &'static str,
    server_version: Option<String>,
    made_by: Option<String>,
    databases: Vec<String>,
    tables: BTreeMap<String, Option<u64>>,
    /// Those of them whose rows could not be counted.
    uncounted: BTreeMap<String, Reason>,
    /// Tables that are made by an extension, of which a dump holds only what was added.
    of_extensions: BTreeSet<String>,
    large_objects: u64,
    notes: Vec<Difference>,
}

/// Reads a backup.
///
/// # Errors
/// [`Kind::Difference`] when it is damaged; or when it can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    let name = &args.service;
    let source = source::choose(context, "check", name, name, &args.chosen)?;
    let secrets = args.unlock.secrets(context, name, source.is_stdin())?;
    let backup = source.describe();
    let own = source.is_own();
    let database = source.named_for().map(|whose| source::database_of(context, whose));
    context.ui.step(format!("Reading {backup}"));
    let began = Instant::now();
    let result = source.open(context, "check", &secrets).and_then(read);
    let seconds = began.elapsed().as_secs_f64();
    let (reading, damage) = match result {
        Ok(reading) => (Some(reading), None),
        Err(error) => match damage(&error) {
            Some(damage) => (None, Some(damage)),
            None => return Err(error.context(format!("{backup} can't be read"))),
        },
    };
    let differences = reading.as_ref().map(|reading| reading.verification.differences.as_slice()).unwrap_or_default();
    let good = damage.is_none() && differences.is_empty();
    let databases = reading.as_ref().map(|reading| reading.databases.as_slice()).unwrap_or_default();
    if let Some(database) = database.filter(|wanted| !databases.is_empty() && !databases.contains(wanted)) {
        let found = databases.join(", ");
        context.ui.warn(format!("It holds the database {found} and not {database}: is it another service's?"));
    }
    if own {
        remember(context, name, &backup, seconds, good, damage.as_deref(), differences);
    }
    if args.output.is_json() {
        let report = Report {
            service: name,
            backup: &backup,
            good,
            seconds,
            damage: damage.as_deref(),
            reading: reading.as_ref(),
        };
        context.ui.json(&report)?;
    } else if let Some(reading) = &reading {
        show(context, reading);
    }
    if !good {
        let what = match &damage {
            Some(damage) => damage.clone(),
            None => count(differences.len() as u64, "difference") + " to what was saved",
        };
        return Err(Failure::new(Kind::Difference, format!("{backup} is damaged: {what}"))
            .hint(format!("Choose another one: dokku pgbackup:list {name}"))
            .hint(format!("Or take a new one: dokku pgbackup:backup {name}"))
            .into());
    }
    context.ui.outcome(format!("{backup} is whole ({})", human::duration(began.elapsed())), &backup);
    Ok(())
}

/// What is wrong with a backup itself, where an error says that; others say that it could not be tried.
pub fn damage(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let of_archive = cause.downcast_ref::<ArchiveError>().map(ToString::to_string);
        of_archive
            .or_else(|| match cause.downcast_ref::<FormatError>()? {
                FormatError::Read(_) | FormatError::Newer { .. } => None,
                damage => Some(damage.to_string()),
            })
            .or_else(|| {
                let encryption = cause.downcast_ref::<EncryptionError>().filter(|error| error.is_damage());
                encryption.map(ToString::to_string)
            })
            .or_else(|| cause.downcast_ref::<PlainError>().map(ToString::to_string))
            .or_else(|| cause.downcast_ref::<Unproven>().map(ToString::to_string))
            .or_else(|| cause.downcast_ref::<WrongLength>().map(WrongLength::what))
            .or_else(|| cause.downcast_ref::<NotABackup>().map(|damage| damage.what.to_owned()))
            .or_else(|| cause.downcast_ref::<BadManifest>().map(|bad| format!("its manifest can't be used: {}", bad.0)))
    })
}

/// The manifest in an archive is not one, or not its own.
#[derive(Debug, thiserror::Error)]
#[error("the manifest in the archive can't be used: {0}")]
struct BadManifest(String);

fn read(fetched: Fetched) -> Result<Reading> {
    let Fetched { reader, encrypted, manifest: beside, name, stored } = fetched;
    let key: Option<BackupKey> = if stored { name.parse().ok() } else { None };
    let mut unpacked = unpack(reader, read_dump)?;
    if let Some(seen) = encrypted {
        // Of an encrypted object its own bytes count, not those of the archive in it.
        (unpacked.object_bytes, unpacked.sha256_behind_head) = seen.so_far();
    }
    let inside = match &unpacked.manifest {
        None => None,
        Some(text) => Some(
            Manifest::parse(text, key.as_ref())
                .map_err(|error| BadManifest(printable(&format!("{error:#}")).into_owned()))?,
        ),
    };
    Ok(compare(&unpacked, beside.as_ref(), inside.as_ref()))
}

fn read_dump(dump: &mut dyn BufRead) -> Result<Dump> {
    let beginning = dump.fill_buf()?;
    match DumpKind::of(beginning.get(..beginning.len().min(512)).unwrap_or_default()) {
        DumpKind::PlainSql => read_sql(dump),
        // Whatever it is, the reader of archives knows how to say it.
        _ => read_archive(dump),
    }
}

fn read_archive(mut dump: &mut dyn BufRead) -> Result<Dump> {
    let toc = Toc::read(&mut dump)?;
    let mut tally = Tally::new(&toc);
    each_piece(dump, |piece| tally.feed(piece).map_err(Into::into))?;
    let contents = tally.finish()?;
    let made: BTreeSet<(&[u8], &[u8])> = toc
        .entries()
        .filter(|entry| entry.description == b"TABLE")
        .map(|entry| (entry.namespace.unwrap_or_default(), entry.tag))
        .collect();
    let of_extensions = toc
        .tables()
        .filter(|entry| !made.contains(&(entry.namespace.unwrap_or_default(), entry.tag)))
        .map(|entry| entry.qualified_name())
        .collect();
    Ok(Dump {
        kind: "archive",
        server_version: version(&toc.server_version()),
        made_by: version(&toc.dump_version()),
        databases: vec![toc.database().into_owned()],
        tables: contents.tables(&toc),
        uncounted: staged::uncounted_of_archive(&toc, &contents),
        of_extensions,
        large_objects: contents.large_objects,
        notes: Vec::new(),
    })
}

/// Debian's packages add themselves in parentheses: "15.18 (Debian 15.18-0+deb12u1)".
fn version(text: &str) -> Option<String> {
    text.split_whitespace().next().map(str::to_owned)
}

fn read_sql(dump: &mut dyn BufRead) -> Result<Dump> {
    let mut filter = Filter::new();
    let mut passed = Vec::new();
    each_piece(dump, |piece| {
        passed.clear();
        filter.feed(piece, &mut passed).map_err(Into::into)
    })?;
    let contents = filter.finish(&mut passed)?;
    let several = contents.databases.len() > 1;
    let mut tables = BTreeMap::new();
    let mut uncounted = BTreeMap::new();
    for (database, held) in &contents.databases {
        let named = |table: &String| match database {
            Some(database) if several => format!("{database}: {table}"),
            _ => table.clone(),
        };
        tables.extend(held.rows.iter().map(|(table, rows)| (named(table), *rows)));
        uncounted.extend(staged::uncounted_of_text(held).iter().map(|(table, reason)| (named(table), *reason)));
    }
    let notes = (!contents.marked).then(|| Difference {
        what: "end of the dump".to_owned(),
        expected: "the line that pg_dump ends with".to_owned(),
        found: "none, so whether it is whole is not known".to_owned(),
    });
    Ok(Dump {
        kind: "sql",
        large_objects: contents.databases.values().map(|database| database.large_objects).sum(),
        databases: contents.named().map(|(name, _)| name.to_owned()).collect(),
        server_version: contents.server_version,
        made_by: contents.dump_version,
        tables,
        uncounted,
        of_extensions: BTreeSet::new(),
        notes: notes.into_iter().collect(),
    })
}

fn each_piece(dump: &mut dyn BufRead, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        crate::interrupt::check()?;
        let read = dump.read(&mut buffer).context("reading the dump")?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(()),
            Some(piece) => take(piece)?,
        }
    }
}

/// Compares what was read with what the manifests say.
fn compare(unpacked: &Unpacked<Dump>, beside: Option<&Manifest>, inside: Option<&Manifest>) -> Reading {
    let dump = &unpacked.value;
    let mut differences = Vec::new();
    let mut compared = 0;
    let mut expect = |what: &str, expected: String, found: String| {
        compared += 1;
        if expected != found {
            differences.push(Difference { what: what.to_owned(), expected, found });
        }
    };
    if let Some(object) = beside.and_then(|manifest| manifest.object.as_ref()) {
        expect("length of the object", object.bytes.to_string(), unpacked.object_bytes.to_string());
        expect("SHA-256 of the object", object.sha256_behind_head.clone(), manifest::hex(&unpacked.sha256_behind_head));
    }
    if let (Some(beside), Some(inside)) = (beside, inside) {
        let said = |manifest: &Manifest| format!("{} with {} rows", manifest.snapshot, manifest.rows());
        let same = inside.is_described_by(beside);
        expect(
            "manifest in the archive",
            said(beside),
            if same { said(beside) } else { said(inside) + ", another one" },
        );
    } else if beside.is_some() {
        expect("manifest in the archive", "the one beside it".to_owned(), "none".to_owned());
    }
    // Beside an encrypted one stands only how much there is.
    let manifest = beside.filter(|beside| !beside.is_brief()).or(inside);
    if let Some(manifest) = manifest {
        expect("length of the dump", manifest.dump_bytes.to_string(), unpacked.export_bytes.to_string());
        expect(
            "number of large objects",
            manifest.fingerprint.large_objects.to_string(),
            dump.large_objects.to_string(),
        );
    }
    let mut notes = dump.notes.clone();
    let tables = compare_tables(dump, manifest, &mut differences, &mut notes);
    compared += tables.iter().filter(|table| table.expected.is_some()).count();
    // Without a manifest nothing is compared at all.
    let uncounted = dump.uncounted.iter().filter(|_| manifest.is_some());
    let not_compared = uncounted.map(|(table, reason)| NotCompared { table: table.clone(), reason: *reason }).collect();
    Reading {
        bytes: unpacked.object_bytes,
        dump_bytes: unpacked.export_bytes,
        dump: dump.kind,
        server_version: dump.server_version.clone(),
        dump_version: dump.made_by.clone(),
        databases: dump.databases.clone(),
        large_objects: dump.large_objects,
        compared_with: match (beside, inside) {
            (Some(_), _) => Some("sidecar"),
            (None, Some(_)) => Some("manifest"),
            (None, None) => None,
        },
        verification: Verification { tables, checks: Vec::new(), differences, notes, not_compared, compared },
    }
}

fn compare_tables(
    dump: &Dump,
    manifest: Option<&Manifest>,
    differences: &mut Vec<Difference>,
    notes: &mut Vec<Difference>,
) -> Vec<TableRows> {
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    for reason in dump.uncounted.values().filter(|_| manifest.is_none()) {
        *reasons.entry(*reason).or_default() += 1;
    }
    notes.extend(reasons.into_iter().map(|(reason, number)| Difference {
        what: format!("{} not counted", count(number, "table")),
        expected: "rows counted".to_owned(),
        found: reason.describe().to_owned(),
    }));
    let found = dump.tables.iter().filter_map(|(name, rows)| Some((name, (*rows)?)));
    let Some(manifest) = manifest else {
        return found
            .map(|(name, rows)| TableRows { table: name.clone(), expected: None, found: Some(rows) })
            .collect();
    };
    // An extension fills its tables itself: what of them isn't in the dump belongs to the image.
    let has_extensions = manifest.fingerprint.extensions.keys().any(|name| name != "plpgsql");
    let expected = &manifest.fingerprint.tables;
    let names: BTreeSet<&String> = expected.keys().chain(dump.tables.keys()).collect();
    let mut tables = Vec::new();
    for name in names {
        let found = match dump.tables.get(name) {
            Some(None) => continue,
            Some(rows) => *rows,
            None => None,
        };
        if dump.of_extensions.contains(name) || (found.is_none() && has_extensions) {
            continue;
        }
        let row = TableRows { table: name.clone(), expected: expected.get(name).copied(), found };
        if !row.matches() {
            let text =
                |rows: Option<u64>| rows.map_or_else(|| "no such table".to_owned(), |rows| format!("{rows} rows"));
            differences.push(Difference {
                what: format!("table {name}"),
                expected: text(row.expected),
                found: text(row.found),
            });
        }
        tables.push(row);
    }
    tables
}

fn show(context: &Context, reading: &Reading) {
    let ui = &context.ui;
    let with =
        |what: &Option<String>| what.as_deref().map_or_else(|| "?".to_owned(), |text| printable(text).into_owned());
    let rows = reading.verification.rows();
    ui.detail(format!(
        "{} read, the dump in it is {} long",
        human::size(reading.bytes),
        human::size(reading.dump_bytes)
    ));
    let databases = if reading.databases.is_empty() { "one database".to_owned() } else { reading.databases.join(", ") };
    ui.detail(format!(
        "Dump of {} by pg_dump {} from PostgreSQL {}",
        printable(&databases),
        with(&reading.dump_version),
        with(&reading.server_version)
    ));
    if reading.compared_with.is_some() {
        show_verification(ui, &reading.verification);
        return;
    }
    let mut tables: Vec<&TableRows> = reading.verification.tables.iter().collect();
    tables.sort_by_key(|table| (std::cmp::Reverse(table.found), &table.table));
    let mut shown = Table::new(&[Column::left("Table"), Column::right("Rows")]);
    for table in tables.iter().take(SHOWN) {
        shown.row([table.table.clone(), table.found.map(|rows| rows.to_string()).unwrap_or_default()]);
    }
    if !shown.is_empty() {
        ui.detail_table(&shown);
    }
    if tables.len() > SHOWN {
        ui.detail(format!("and {} more tables", tables.len() - SHOWN));
    }
    for note in &reading.verification.notes {
        ui.warn(format!("{}: {}", note.what, note.found));
    }
    let objects = count(reading.large_objects, "large object");
    let counted = count(tables.len() as u64, "table");
    ui.detail(format!("{counted}, {}, {objects}; no manifest to compare with", count(rows, "row")));
}

/// The result goes into the history of the service whose backup it was.
fn remember(
    context: &Context,
    name: &ServiceName,
    backup: &str,
    seconds: f64,
    good: bool,
    damage: Option<&str>,
    differences: &[Difference],
) {
    let Ok(key) = backup.parse::<BackupKey>() else { return };
    let text = |difference: &Difference| {
        format!("{}: {} expected, {} found", difference.what, difference.expected, difference.found)
    };
    let differences = damage.map(str::to_owned).into_iter().chain(differences.iter().take(10).map(text)).collect();
    let event = Event::Verification(VerificationRecord { key, depth: Depth::Read, good, differences });
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(event, Some(seconds))) {
        context.ui.warn(format!("The history can't be written: {:#}", anyhow!(error)));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Read, Write};
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A golden dump as dokku-postgres packs it.
    fn packed(dump: &str) -> Vec<u8> {
        let dump = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dump)).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(dump.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, "backup/export", &dump[..]).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    fn unzipped(object: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(object).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn check(object: &[u8]) -> Result<Reading> {
        let reader = Box::new(Cursor::new(object.to_vec()));
        read(Fetched { reader, encrypted: None, manifest: None, name: "standard input".into(), stored: false })
    }

    #[test]
    fn counts_what_every_generation_has_written() {
        for (dump, kind, users) in [
            ("pg15-gzip.dump", "archive", "public.users"),
            ("pg18-plain.dump", "archive", "public.users"),
            ("pg15-cluster.sql", "sql", "golden: public.users"),
            ("pg18-databases.sql", "sql", "golden: public.users"),
        ] {
            let reading = check(&packed(dump)).unwrap();
            assert_eq!(reading.dump, kind, "{dump}");
            let row = reading.verification.tables.iter().find(|row| row.table == users).unwrap();
            assert_eq!((row.expected, row.found), (None, Some(562)), "{dump}");
            assert_eq!(reading.large_objects, 3, "{dump}");
            assert!(reading.verification.passed());
        }
    }

    #[test]
    fn damage_anywhere_is_damage() {
        for dump in ["pg15-gzip.dump", "pg18-plain.dump", "pg15-cluster.sql"] {
            let object = packed(dump);
            for at in (0..object.len()).step_by(61) {
                let error = check(&object[..at]).unwrap_err();
                assert!(damage(&error).is_some(), "{dump} cut at {at}: {error:#}");
                // The time in gzip's header says nothing of what is in it.
                if (4..10).contains(&at) {
                    continue;
                }
                let mut flipped = object.clone();
                flipped[at] ^= 0x40;
                match check(&flipped) {
                    Err(error) => assert!(damage(&error).is_some(), "{dump} flipped at {at}: {error:#}"),
                    // A run of equal bytes can be written in several ways: such a flip changes nothing of what is in it.
                    Ok(_) => assert!(unzipped(&flipped) == unzipped(&object), "{dump} flipped at {at} is not seen"),
                }
            }
        }
    }
}
