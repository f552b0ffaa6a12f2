//! From bytes to a database that is known to be right: loaded beside the live one, compared, and only then fit to be swapped in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::unpack::unpack_sized;
use crate::certificate::Backup;
use crate::commands::context::Context;
use crate::commands::recovery;
use crate::commands::restore::plain;
use crate::commands::restore::source::{self, Fetched};
use crate::commands::restore::swap_in::Incoming;
use crate::custom_format::{Contents, Kind as DumpKind, Toc};
use crate::database::staging::{self, Marker, MissingRoles, Purpose, Temporary};
use crate::database::{checks, description, dump, fingerprint, load, session};
use crate::durable;
use crate::error::{Failure, Kind};
use crate::journal::State;
use crate::manifest::{DatabaseDescription, Fingerprint, Manifest};
use crate::plain_format::Database;
use crate::service::name::ServiceName;
use crate::service::{Address, RunningService};
use crate::step::step;
use crate::store::key::BackupKey;
use crate::text::{count, without_rows};
use crate::ui::comparison::show_verification;
use crate::verification::{self, Depth, Difference, Reason, Verification};

/// A backup that was loaded, in full, into a database beside the live one. Dropping it drops that database.
pub struct Staged<'a> {
    service: &'a RunningService,
    database: Temporary<'a>,
    roles: MissingRoles<'a>,
    marker: Marker,
    expectation: Expectation,
}

/// What a loaded database is compared with. It is kept for a database that waits for `restore:commit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Expectation {
    expected: Fingerprint,
    depth: Depth,
    /// How the dump's tables are read, for a comparison of their rows.
    statements: BTreeMap<String, String>,
    /// Partitions whose rows may lie in another one of the same tree than before, each with its root.
    through_root: BTreeMap<String, String>,
    /// Tables whose rows could not be counted in the dump.
    uncounted: BTreeMap<String, Reason>,
    /// Settings of the database that this server refused.
    refused: Vec<String>,
    description: DatabaseDescription,
    /// Foreign keys that the saved rows break, as the comparison calls them.
    #[serde(default)]
    broken_keys: BTreeSet<String>,
    /// What could not be built, in pg_restore's words.
    missing: Option<String>,
}

/// A staged database that was compared with what was saved.
pub struct Verified<'a> {
    staged: Staged<'a>,
    verification: Verification,
}

/// What is known once the schema and rows are in.
struct Loaded<'a> {
    toc: Toc,
    contents: Contents,
    database: Temporary<'a>,
    roles: MissingRoles<'a>,
    marker: Marker,
    /// Of a backup in SQL text.
    of_text: Option<OfText>,
}

/// What a backup in SQL text tells of itself, as it has no manifest.
struct OfText {
    /// What its database is like, where the text makes it.
    description: Option<DatabaseDescription>,
    /// What the text holds of it.
    held: Database,
}

/// Bytes of a dump that come from a program at once.
const BUFFER: usize = 256 << 10;

/// Loads a backup into a database of the given purpose. `database_name` is what the dumped database must be called.
///
/// # Errors
/// When the backup is damaged, not for this server, or can't be loaded; nothing is left then.
pub fn load<'a>(
    context: &Context,
    service: &'a RunningService,
    purpose: Purpose,
    fetched: Fetched,
    database_name: Option<&str>,
) -> Result<Staged<'a>> {
    let mut client = session::connect_beside(service)?;
    let version_number = session::version_number(&mut client)?;
    let live = describe_live(service, &mut client, version_number)?;
    let Fetched { reader, encrypted, manifest: beside, name, stored } = fetched;
    let key: Option<BackupKey> = if stored { Some(name.parse()?) } else { None };
    let model = beside.as_ref().map_or_else(|| live.clone(), |manifest| manifest.database.clone());
    // A brief manifest tells what the database is like, not whose it is: that stands in the archive.
    let brief = beside.as_ref().is_some_and(Manifest::is_brief);
    let model = if brief { DatabaseDescription { owner: live.owner.clone(), ..model } } else { model };
    let now = context.now();
    let marker = marker(service, purpose, &name, now);
    if purpose == Purpose::Staging {
        recovery::journal(context, service)?.write(&State::new(service.service.name.clone(), &name))?;
        step!("staging.announced");
    }

    let place = match service.address {
        Address::Network(_) => "beside the live database",
        Address::Socket(_) => "into a throw-away container",
    };
    context.ui.step(format!("Loading {name} {place}"));
    let mut load_archive = |mut dump: &mut dyn BufRead, model: &DatabaseDescription, database_name: Option<&str>| {
        let toc = Toc::read(&mut dump).map_err(|error| anyhow!(error).context("The backup's dump can't be read"))?;
        refuse_foreign(&toc, database_name)?;
        load::check_fits(&toc, &mut client, service)?;
        let mut roles = load::owners(&toc);
        roles.extend(model.roles.iter().cloned());
        roles.push(model.owner.clone());
        let roles = MissingRoles::make(service, &roles)?;
        let database = Temporary::create(
            service,
            &purpose.name_for(&service.service.database, now),
            model,
            version_number,
            &marker,
        )?;
        let contents =
            load::schema_and_rows(&context.docker, service, database.name(), &toc, &mut dump as &mut dyn Read)?;
        Ok(Loaded { toc, contents, database, roles, marker: marker.clone(), of_text: None })
    };
    let unpacked = unpack_sized(reader, |mut dump: &mut dyn BufRead, length| {
        let beginning = dump.fill_buf()?;
        if DumpKind::of(beginning.get(..beginning.len().min(512)).unwrap_or_default()) != DumpKind::PlainSql {
            return load_archive(dump, &model, database_name);
        }
        let likely = key.as_ref().map(|key| source::likely_databases(context, key.service())).unwrap_or_default();
        let detour = plain::load(context, service, &mut dump, length, database_name, &likely)?;
        let mut pg_dump = detour.dump(context)?;
        let mut out = BufReader::with_capacity(BUFFER, pg_dump.stdout()?);
        let mut loaded = load_archive(&mut out, detour.description.as_ref().unwrap_or(&model), None)?;
        pg_dump.finish()?;
        let plain::Detour { description, held, .. } = detour;
        loaded.of_text = Some(OfText { description, held });
        Ok(loaded)
    })
    .with_context(|| format!("{name} can't be restored"))?;

    let inside = match &unpacked.manifest {
        None => None,
        Some(text) => Some(Manifest::parse(text, key.as_ref()).context("The manifest in the archive can't be used")?),
    };
    // Of an encrypted object its own bytes count, not those of the archive in it.
    let (bytes, digest) = match &encrypted {
        Some(seen) => seen.so_far(),
        None => (unpacked.object_bytes, unpacked.sha256_behind_head),
    };
    refuse_replaced(beside.as_ref(), inside.as_ref(), bytes, &digest)?;
    // In this order: the database goes before the roles that own what is in it.
    let Loaded { toc, contents, mut roles, database, mut marker, of_text } = unpacked.value;
    let (of_text, held) = of_text.map_or((None, None), |of_text| (of_text.description, Some(of_text.held)));
    // Whose it is stands in the archive alone where nothing, or only what is brief, lies beside it.
    if let Some(inside) = inside.as_ref().filter(|_| brief || beside.is_none()) {
        roles.add(&inside.database.roles)?;
        roles.add(std::slice::from_ref(&inside.database.owner))?;
        staging::give_to(&mut session::connect_beside(service)?, database.name(), &inside.database.owner)?;
    }

    step!("staging.read");
    context.ui.step("Building indexes and constraints");
    let post_data = load::indexes_and_constraints(&context.docker, service, database.name(), &toc)
        .with_context(|| format!("{name} can't be restored"))?;
    warn_of(context, &post_data);
    // A brief one has nothing to compare with; without one in the archive it was refused.
    let manifest = inside.or(beside);
    let description = manifest.as_ref().map(|manifest| manifest.database.clone()).or(of_text).unwrap_or(live);
    marker.comment.clone_from(&description.comment);
    let refused = complete(context, service, database.name(), &marker, &description)?;

    let (rows, uncounted) = counted(held, &toc, &contents);
    let (expected, depth) = expectation(manifest, version_number, rows);
    let statements = dump::copy_statements(&toc);
    let through_root = dump::loaded_through_root(&toc);
    let load::PostData { broken_keys, missing } = post_data;
    let expectation = Expectation {
        expected,
        depth,
        statements,
        through_root,
        uncounted,
        refused,
        description,
        broken_keys,
        missing,
    };
    Ok(Staged { service, database, roles, marker, expectation })
}

/// Says which indexes and constraints are not as they were.
fn warn_of(context: &Context, post_data: &load::PostData) {
    for key in &post_data.broken_keys {
        context.ui.warn(format!("The saved rows break the foreign key {key}: it is restored as NOT VALID"));
    }
    if let Some(missing) = &post_data.missing {
        context.ui.warn(format!("Not all indexes and constraints could be built: {missing}"));
    }
}

/// What is written on a database that is being loaded.
fn marker(service: &RunningService, purpose: Purpose, name: &str, now: Timestamp) -> Marker {
    Marker {
        purpose,
        service: service.service.name.clone(),
        key: name.to_owned(),
        since: now,
        until: None,
        kept: false,
        comment: None,
    }
}

/// What the loaded database is compared with, and how far: the manifest, else the rows of the dump itself.
fn expectation(
    manifest: Option<Manifest>,
    version_number: i32,
    rows: BTreeMap<String, Option<u64>>,
) -> (Fingerprint, Depth) {
    match manifest {
        Some(manifest) if manifest.server.version_number / 10_000 == version_number / 10_000 => {
            (manifest.fingerprint, Depth::Full)
        }
        Some(manifest) => (manifest.fingerprint, Depth::AcrossMajors),
        None => (rows_of_dump(rows), Depth::Rows),
    }
}

/// What the live database is like, or, where there is none, the one beside it.
fn describe_live(
    service: &RunningService,
    beside: &mut postgres::Client,
    version_number: i32,
) -> Result<DatabaseDescription> {
    if session::database_exists(service)? {
        description::describe(&mut *session::connect(service, &service.service.database)?, version_number)
    } else {
        description::describe(beside, version_number)
    }
}

/// What a database has besides its contents: the mark, its settings (those that the server refuses are returned), statistics.
fn complete(
    context: &Context,
    service: &RunningService,
    database: &str,
    marker: &Marker,
    description: &DatabaseDescription,
) -> Result<Vec<String>> {
    step!("staging.built");
    // The session that made it may have been idle for hours.
    let mut client = session::connect_beside(service)?;
    staging::mark(&mut client, database, marker)?;
    let refused = staging::apply(&mut client, database, description)?;
    for refused in &refused {
        context.ui.warn(format!("A setting of the database is not brought back: {refused}"));
    }
    if let Err(error) = load::analyze(service, database) {
        crate::interrupt::check()?;
        context.ui.warn(format!("The planner's statistics are missing until the next ANALYZE: {error:#}"));
    }
    step!("staging.completed");
    Ok(refused)
}

/// Rows as the dump itself tells them: a COPY block has one line a row.
fn rows_of_dump(tables: BTreeMap<String, Option<u64>>) -> Fingerprint {
    let tables: BTreeMap<String, u64> = tables.into_iter().filter_map(|(name, rows)| Some((name, rows?))).collect();
    Fingerprint { tables, ..Fingerprint::default() }
}

/// Rows by table as the backup has them, in its text where it is one, and why some are not known.
fn counted(
    text: Option<Database>,
    toc: &Toc,
    contents: &Contents,
) -> (BTreeMap<String, Option<u64>>, BTreeMap<String, Reason>) {
    match text {
        Some(held) => {
            let uncounted = uncounted_of_text(&held);
            (held.rows, uncounted)
        }
        None => (contents.tables(toc), uncounted_of_archive(toc, contents)),
    }
}

/// Tables of an archive whose rows could not be counted, and why.
pub fn uncounted_of_archive(toc: &Toc, contents: &Contents) -> BTreeMap<String, Reason> {
    let uncounted = toc.tables().filter(|entry| contents.rows.get(&entry.dump_id) == Some(&None));
    let reason = |inserts| if inserts { Reason::Inserts } else { Reason::Compression };
    uncounted.map(|entry| (entry.qualified_name(), reason(entry.copy_statement.is_none()))).collect()
}

/// Tables of an SQL text whose rows could not be counted, and why.
pub fn uncounted_of_text(held: &Database) -> BTreeMap<String, Reason> {
    let reason = |name: &String| if held.through_root.contains(name) { Reason::ThroughRoot } else { Reason::Inserts };
    held.rows.iter().filter(|(_, rows)| rows.is_none()).map(|(name, _)| (name.clone(), reason(name))).collect()
}

/// Refuses another service's dump, or one of a newer server, by the first bytes of what was fetched: before anything is saved or loaded.
///
/// # Errors
/// When it is one, or can't be read.
pub fn refuse_unfit(service: &RunningService, fetched: &mut Fetched, wanted: Option<&str>) -> Result<()> {
    let Some(header) = fetched.dump_header()? else { return Ok(()) };
    refuse_foreign(&header, wanted)?;
    load::check_fits(&header, &mut session::connect_beside(service)?, service)
}

fn refuse_foreign(toc: &Toc, wanted: Option<&str>) -> Result<()> {
    match wanted {
        Some(wanted) if toc.database() != wanted => Err(Failure::failed(format!(
            "The dump is one of a database called {:?}, not of {wanted:?}: is it another service's?",
            toc.database()
        ))
        .hint(format!(
            "If it is the right one name it: --database {}",
            crate::commands::renewal::quoted(&toc.database())
        ))
        .into()),
        _ => Ok(()),
    }
}

/// The object must be the one that was stored, and say of itself what its sidecar says.
fn refuse_replaced(beside: Option<&Manifest>, inside: Option<&Manifest>, bytes: u64, digest: &[u8; 32]) -> Result<()> {
    let Some(beside) = beside else { return Ok(()) };
    if let Some(object) = &beside.object
        && (object.bytes != bytes || object.sha256_behind_head != crate::manifest::hex(digest))
    {
        bail!("The object is not the one that was saved: its length or checksum differs from what its manifest says");
    }
    match inside {
        Some(inside) if inside.is_described_by(beside) => Ok(()),
        Some(_) => bail!("The manifest in the archive and the one beside it contradict each other"),
        None => bail!("The archive has no manifest, but there is one beside it: the object was replaced"),
    }
}

/// A staged database that waits for a decision: what it was compared with, and what came out. It may be changed while it waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// The name of the database.
    database: String,
    /// The backup, for the certificate.
    pub backup: Backup,
    expectation: Expectation,
    /// What came out when it was staged.
    verification: Verification,
}

impl Waiting {
    fn path(context: &Context, service: &ServiceName) -> PathBuf {
        context.environment.data_folder().join(service.as_str()).join("staged.json")
    }

    fn write(&self, context: &Context, service: &ServiceName) -> Result<()> {
        let text = serde_json::to_vec(self).context("writing what a staged restore is compared with")?;
        durable::write(&Self::path(context, service), &text, 0o600)
    }

    /// What was noted of this very database; `None` when nothing was, or an earlier pgbackup has staged it.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub fn read(context: &Context, service: &ServiceName, database: &str) -> Result<Option<Self>> {
        let path = Self::path(context, service);
        let Some(text) = durable::read(&path)? else { return Ok(None) };
        let waiting: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} can't be read", path.display()))?;
        Ok(Some(waiting).filter(|waiting| waiting.database == database))
    }

    /// The decision was made.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn forget(context: &Context, service: &ServiceName) -> Result<()> {
        durable::remove(&Self::path(context, service)).map(drop)
    }

    /// Compares again, by direct queries.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn compare(&self, service: &RunningService) -> Result<Verification> {
        self.expectation.compare(service, &self.database)
    }

    /// Whether this is what came out when it was staged: whoever accepted that then need not do it again.
    pub fn is_as_staged(&self, verification: &Verification) -> bool {
        let said = |one: &Verification| (one.tables.clone(), one.checks.clone(), one.differences.clone());
        said(verification) == said(&self.verification)
    }
}

impl<'a> Staged<'a> {
    /// Compares it with what was saved, by direct queries.
    ///
    /// # Errors
    /// [`Kind::Difference`] when something differs, unless that is accepted; the differences are shown.
    pub fn verify(self, context: &Context, accept_differences: bool) -> Result<Verified<'a>> {
        context.ui.step("Comparing with what was saved");
        let verification = self.compare()?;
        step!("staging.compared");
        if verification.passed() || accept_differences {
            return Ok(Verified { staged: self, verification });
        }
        show_verification(&context.ui, &verification);
        let number = verification.differences.len() as u64;
        let said = if number == 0 {
            let tables = count(verification.not_compared.len() as u64, "table");
            format!("Nothing of what was loaded could be compared with the backup: {tables} not compared")
        } else {
            format!("What was loaded is not what was saved: {}", count(number, "difference"))
        };
        let failure = Failure::new(Kind::Difference, said);
        Err(if self.marker.purpose == Purpose::Drill {
            failure.hint("Take a new backup and verify that one; the live database was not touched")
        } else {
            failure.hint("Choose another backup, or look at this one with --stage-only --accept-differences")
        }
        .into())
    }

    /// Compares it with what was saved and returns what came out, whatever it is.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn compare(&self) -> Result<Verification> {
        self.expectation.compare(self.service, self.database.name())
    }

    /// Drops the database now.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn remove(self) -> Result<()> {
        self.database.remove()
    }
}

impl Expectation {
    /// Compares a database with what was saved and returns what came out, whatever it is.
    ///
    /// # Errors
    /// When the server can't be asked.
    pub fn compare(&self, service: &RunningService, database: &str) -> Result<Verification> {
        let encoding = &self.description.encoding;
        let (mut found, of_extensions) =
            fingerprint::read(service, database, &self.expected, &self.statements, encoding)?;
        let asked = self.expected.checks.iter().map(|(name, check)| (name.clone(), check.check.clone())).collect();
        found.checks = checks::ask_all(service, database, &asked)?;
        let mut expected = self.expected.clone();
        if self.depth == Depth::Rows || !verification::other_versions(&expected, &found).is_empty() {
            // Extensions fill their tables themselves, each version in its way, and the dump holds only what was added to them.
            found.tables.retain(|name, _| !of_extensions.contains(name));
            expected.tables.retain(|name, _| !of_extensions.contains(name));
        }
        let mut uncounted = BTreeMap::new();
        for (name, reason) in self.uncounted.iter().filter(|(name, _)| !of_extensions.contains(*name)) {
            let root = self.through_root.get(name);
            uncounted.insert(root.unwrap_or(name).clone(), *reason);
        }
        for side in [&mut expected, &mut found] {
            verification::count_at_root(side, &self.through_root);
        }
        if self.depth == Depth::Rows {
            // Of a tree of partitions that was counted in part nothing is known.
            expected.tables.retain(|name, _| !uncounted.contains_key(name));
        }
        let mut verification = verification::compare(&expected, &found, self.depth);
        if self.depth == Depth::Rows {
            verification.not_compared = verification::not_compared(&expected, &found, &uncounted);
        }
        for mut note in std::mem::take(&mut verification.notes) {
            let Some(key) = note.what.strip_prefix("foreign key ") else {
                verification.notes.push(note);
                continue;
            };
            // The comparison alone can't know why it is not valid.
            if self.broken_keys.contains(key) {
                note.found += " (the saved rows break it)";
                verification.notes.push(note);
            } else {
                verification.differences.push(note);
            }
        }
        if self.depth == Depth::Full {
            self.compare_database(service, database, &mut verification)?;
        }
        if let Some(missing) = &self.missing {
            verification.differences.push(Difference {
                what: "indexes and constraints".to_owned(),
                expected: "all of them".to_owned(),
                // The comparison goes into the history, the certificate and to others.
                found: without_rows(missing).into_owned(),
            });
        }
        Ok(verification)
    }

    /// Compares what the database itself has been given: its owner, encoding and collation, grants and settings.
    fn compare_database(
        &self,
        service: &RunningService,
        database: &str,
        verification: &mut Verification,
    ) -> Result<()> {
        let mut client = session::connect(service, database)?;
        let version_number = session::version_number(&mut client)?;
        let found = description::describe(&mut client, version_number)?;
        let expected = &self.description;
        // A locale belongs to its provider; that of libc is the collation itself.
        let collation = |of: &DatabaseDescription| {
            let more = [of.locale.as_deref(), of.icu_rules.as_deref()].map(Option::unwrap_or_default).join(" ");
            let more = more.trim();
            if more.is_empty() { of.collate.clone() } else { format!("{} {more}", of.collate) }
        };
        let limit = |of: &DatabaseDescription| match of.connection_limit {
            -1 => "no limit".to_owned(),
            limit => limit.to_string(),
        };
        for (what, expected, found) in [
            ("owner", &expected.owner, &found.owner),
            ("encoding", &expected.encoding, &found.encoding),
            ("collation", &collation(expected), &collation(&found)),
            ("character type", &expected.ctype, &found.ctype),
            ("connection limit", &limit(expected), &limit(&found)),
        ] {
            verification.compared += 1;
            if expected != found {
                let (expected, found) = (expected.clone(), found.clone());
                verification.differences.push(Difference { what: format!("{what} of the database"), expected, found });
            }
        }
        for statement in &expected.statements {
            verification.compared += 1;
            let refused =
                self.refused.iter().any(|refused| refused.contains(statement.trim_start_matches(|c| c != '%')));
            if !refused && !found.statements.contains(statement) {
                verification.differences.push(Difference {
                    what: format!("setting or grant of the database: {statement}"),
                    expected: "set".to_owned(),
                    found: verification::NONE.to_owned(),
                });
            }
        }
        // What nobody had set is no part of the backup.
        for statement in found.statements.iter().filter(|statement| !expected.statements.contains(statement)) {
            verification.differences.push(Difference {
                what: format!("setting or grant of the database: {statement}"),
                expected: verification::NONE.to_owned(),
                found: "set".to_owned(),
            });
        }
        Ok(())
    }
}

impl Verified<'_> {
    /// What was compared.
    pub fn verification(&self) -> &Verification {
        &self.verification
    }

    /// Whether nothing differed.
    pub fn matched(&self) -> bool {
        self.verification.passed()
    }

    /// What a swap needs to know.
    pub fn incoming(&self) -> Incoming {
        Incoming {
            database: self.staged.database.name().to_owned(),
            comment: self.staged.expectation.description.comment.clone(),
            key: self.staged.marker.key.clone(),
        }
    }

    /// It has been swapped in: it is the live database now and stays.
    pub fn swapped(self) {
        self.staged.database.keep();
        self.staged.roles.keep();
    }

    /// Leaves it beside the live one for `restore:commit` or `restore:abort`; its name.
    ///
    /// # Errors
    /// When the server refuses, or it can't be noted what it has to be compared with then.
    pub fn keep(self, context: &Context, backup: Backup) -> Result<String> {
        let Staged { service, roles, database, marker, expectation } = self.staged;
        let waiting =
            Waiting { database: database.name().to_owned(), backup, expectation, verification: self.verification };
        waiting.write(context, &service.service.name)?;
        let marker = Marker { kept: true, ..marker };
        staging::mark(&mut session::connect_beside(service)?, database.name(), &marker)?;
        step!("staging.kept");
        roles.keep();
        recovery::journal(context, service)?.clear()?;
        Ok(database.keep())
    }
}
