//! `backup`: service → snapshot → dump → pack → store → manifest → history, on one screen.
//!
//! An encrypted backup goes through a [`Spool`] between pack and store, as OpenPGP begins with what we know last.
//!
//! Nothing is called saved before the dump ended well, the store has confirmed every byte, and the archive is complete. Whatever
//! fails before that takes the upload back as it drops.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use postgres::error::SqlState;
use sha2::{Digest, Sha256};

use crate::archive::encryption::{self, Recipient};
use crate::archive::pack::{Options, Packed, Packer};
use crate::archive::{GLOBALS, HEAD_BYTES, MANIFEST, Transfer};
use crate::changes;
use crate::commands::checks;
use crate::commands::context::Context;
use crate::commands::encryption::in_force::InForce;
use crate::commands::prune;
use crate::commands::recovery;
use crate::commands::spool::{Spool, Spooled};
use crate::commands::telling::{self, Telling};
use crate::commands::turn::{self, Waiting};
use crate::commands::upload::NotedUpload;
use crate::database::snapshot::Snapshot;
use crate::database::{self, APPLICATION, description, dump, fingerprint, schema, session, words};
use crate::dokku::host_id;
use crate::dokku::properties::Subject;
use crate::error::{Failure, Kind};
use crate::history::{BackupRecord, Entry, Event, History};
use crate::holds::Holds;
use crate::lock::Lock;
use crate::manifest::checks::{Name, Recorded};
use crate::manifest::schema::Schema;
use crate::manifest::{
    self, DatabaseDescription, FORMAT, Fingerprint, Incident, Loss, Manifest, Object, Server, Suspicion,
};
use crate::notify::{Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::settings::Fingerprints;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError, UploadPlan};
use crate::text::count;
use crate::ui::Progress;
use crate::ui::human;

/// Snapshots that are tried where tables are being changed.
const ATTEMPTS: u32 = 10;
/// Tables that a suspicious backup's warning names.
const LOSSES_SHOWN: usize = 10;
/// How long a change may take until the next one, times the number of attempts so far.
const PAUSE: Duration = Duration::from_millis(100);

/// Take a backup now
///
/// The database is dumped in one snapshot while apps go on writing. The dump streams straight into the destination and takes
/// no space on the disk of the host, unless it is encrypted (pgbackup:encryption): then its compressed bytes wait there, unreadable for
/// anybody. The last line names the key of the backup; with --quiet the key alone is printed.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--label TEXT] [--wait [DURATION]]",
    after_help = "Back up lollipop

    dokku pgbackup:backup lollipop

Say what it is for

    dokku pgbackup:backup lollipop --label \"before the migration\"

Back up every service that has a destination

    dokku pgbackup:backup --all

Get the key alone in a script

    key=$(dokku --quiet pgbackup:backup lollipop)"
)]
pub struct Args {
    /// The service to back up
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// Back up every service
    #[arg(long)]
    pub all: bool,
    /// A note that is kept with the backup
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Takes backups.
///
/// # Errors
/// When one of them fails; with `--all` the others are still taken.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let (label, patience) = (args.label.as_deref(), args.waiting.patience());
    match &args.service {
        Some(service) => one(context, service, label, patience).map(drop),
        None => all(context, label, patience),
    }
}

/// Backs one service up, waiting as long as `patience` for another run that has it, and tells the key.
///
/// # Errors
/// When the backup failed; that is in the history then, unless another run has the service.
pub fn one(context: &Context, name: &ServiceName, label: Option<&str>, patience: Duration) -> Result<Manifest> {
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock =
        turn::take(context, name, "backup", patience).map_err(|error| could_not_begin(context, name, error.into()))?;
    let (store, running) = ready(context, &service, &lock).map_err(|error| could_not_begin(context, name, error))?;
    let manifest = take(context, &running, &lock, store.as_ref(), Occasion { label, safety: false })?;
    prune::after_backup(context, name, store.as_ref(), &lock);
    let key = manifest.key.to_string();
    context.ui.outcome(format!("Backup of {name} saved as {key}"), &key);
    Ok(manifest)
}

fn ready(context: &Context, service: &Service, lock: &Lock) -> Result<(Box<dyn Store>, RunningService)> {
    let store = context.store(service)?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, lock)?;
    Ok((store, running))
}

/// A backup that could not even begin (the service is stopped, no destination is set) is one that failed: whoever waits for it must hear
/// of it. That another run has the service is no failure of this one.
fn could_not_begin(context: &Context, name: &ServiceName, error: anyhow::Error) -> anyhow::Error {
    let failure = Failure::from_error(error);
    if failure.kind != Kind::Busy {
        let settings = context.settings(name).ok();
        let destination = settings.and_then(|settings| settings.destination).map(|destination| destination.to_string());
        let event =
            Event::BackupFailed { destination: destination.clone().unwrap_or_default(), error: failure.to_string() };
        let history = History::of(&context.environment.data_folder().join(name.as_str()));
        if let Err(error) = history.append(&Entry::now(event, None)) {
            context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
        }
        Telling::begin(context, Work::Backup, name).failed(&failure, None, destination);
    }
    failure.into()
}

fn all(context: &Context, label: Option<&str>, patience: Duration) -> Result<()> {
    let mut failed = Vec::new();
    let mut taken = 0;
    for name in context.visible_services()? {
        if context.settings(&name)?.destination.is_none() {
            context.ui.warn(format!("{name} has no destination and is not backed up"));
            context.ui.warn(format!("Set it: dokku pgbackup:set {name} destination s3://BUCKET"));
            failed.push(name);
            continue;
        }
        match one(context, &name, label, patience) {
            Ok(_) => taken += 1,
            Err(error) => {
                crate::interrupt::check()?;
                context.ui.fail(&Failure::from_error(error));
                failed.push(name);
            }
        }
    }
    // The last service's log is not about the others.
    context.ui.record(None);
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = failed.iter().map(ServiceName::as_str).collect();
    let taken = count(taken, "service");
    Err(Failure::failed(format!("{taken} backed up, but not {}", names.join(", "))).into())
}

/// What a backup is taken for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Occasion<'a> {
    /// What the user calls it.
    pub label: Option<&'a str>,
    /// A restore takes it of the state that it is about to replace.
    pub safety: bool,
}

/// Backs a service up and remembers how that went. The caller holds the service's lock.
///
/// # Errors
/// When the backup failed; nothing of it is left in the store then, or the error says what is.
pub fn take(
    context: &Context,
    service: &RunningService,
    _lock: &Lock,
    store: &dyn Store,
    occasion: Occasion,
) -> Result<Manifest> {
    let name = &service.service.name;
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    let began = Instant::now();
    context.ui.step(format!("Backing up {name} to {}", store.describe()));
    let telling = if occasion.safety {
        Telling::aside(context, Work::Backup, name)
    } else {
        Telling::begin(context, Work::Backup, name)
    };
    let had_failed = telling::backup_had_failed(&history.read().unwrap_or_default());
    let result = pipeline(context, service, store, occasion, &history);
    let seconds = Some(began.elapsed().as_secs_f64());
    match result {
        Ok((manifest, bytes, confirmed_by)) => {
            let rows = manifest.fingerprint.rows();
            context.ui.detail(format!(
                "{} in {}: {}, {}, confirmed by the store ({confirmed_by})",
                human::size(bytes),
                human::duration(began.elapsed()),
                count(manifest.fingerprint.tables.len() as u64, "table"),
                count(rows, "row"),
            ));
            if let Some(incident) = &manifest.incident {
                let since = human::time(incident.since);
                context.ui.detail(format!("Marked as taken during the incident that is held since {since}"));
            }
            if !manifest.fingerprint.checks.is_empty() {
                context.ui.detail(count(manifest.fingerprint.checks.len() as u64, "check") + " recorded");
            }
            if let Some(suspicion) = &manifest.suspicious {
                warn_of_loss(context, &manifest, suspicion);
            }
            if manifest.failed_checks > 0 {
                warn_of_checks(context, &manifest);
            }
            let record = BackupRecord::new(manifest.clone(), store.describe(), bytes, confirmed_by);
            if let Err(error) = history.append(&Entry::now(Event::Backup(Box::new(record)), seconds)) {
                context.ui.warn(format!("The backup is saved, but not in the history of this host: {error:#}"));
            }
            tell_success(&telling, &manifest, bytes, &store.describe(), had_failed);
            Ok(manifest)
        }
        Err(error) => {
            let failure = Failure::from_error(error);
            let event = Event::BackupFailed { destination: store.describe(), error: failure.to_string() };
            if let Err(error) = history.append(&Entry::now(event, seconds)) {
                context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
            }
            telling.failed(&failure, None, Some(store.describe()));
            Err(failure.into())
        }
    }
}

fn tell_success(telling: &Telling, manifest: &Manifest, bytes: u64, destination: &str, had_failed: bool) {
    let name = &manifest.service;
    let (tables, rows) = (manifest.fingerprint.tables.len() as u64, manifest.fingerprint.rows());
    let of = |outcome, message| Notice {
        key: Some(manifest.key.to_string()),
        destination: Some(destination.to_owned()),
        bytes: Some(bytes),
        tables: Some(tables),
        rows: Some(rows),
        ..telling.notice(outcome, message)
    };
    let saved =
        format!("{} ({}, {}, {})", manifest.key, human::size(bytes), count(tables, "table"), count(rows, "row"));
    telling.tell(&of(Outcome::Succeeded, format!("Backup of {name} saved as {saved}")));
    if manifest.is_suspicious() {
        let lost = manifest.suspicious.iter().flat_map(|suspicion| &suspicion.tables).take(LOSSES_SHOWN);
        let mut why: Vec<String> = lost.map(describe_loss).collect();
        why.extend(failed_checks(manifest).take(LOSSES_SHOWN));
        let message = format!("Backup of {name} is suspicious: {}", why.join("; "));
        telling.tell(&of(Outcome::Suspicious, message));
    }
    if had_failed {
        telling.tell(&of(Outcome::Recovered, format!("Backups of {name} work again: saved as {saved}")));
    }
}

fn pipeline(
    context: &Context,
    service: &RunningService,
    store: &dyn Store,
    occasion: Occasion,
    history: &History,
) -> Result<(Manifest, u64, String)> {
    let name = &service.service.name;
    let subject = Subject::Service(name.clone());
    let recipient = InForce::of(context, &subject)?.recipient(context, &subject)?;
    let size = dump_size(service)?;
    let spool = match &recipient {
        Some(_) => {
            Some(Spool::begin(&context.environment.data_folder().join(name.as_str()), spooled(history, name, size))?)
        }
        None => None,
    };
    let head = if recipient.is_some() { 0 } else { HEAD_BYTES };
    let plan = UploadPlan { head, expected: size };
    let mut attempt = 1;
    let (started, key, upload) = loop {
        let started = fresh_second(context, name, history)?;
        let key = BackupKey::new(name.clone(), started, recipient.is_some());
        // Wrong keys, bucket or endpoint are found here, before the database is touched.
        match NotedUpload::begin(context, service, store, &key, plan) {
            Ok(upload) => break (started, key, upload),
            // Another host saves a service of this name into the same place.
            Err(error) if attempt < ATTEMPTS && matches!(error.downcast_ref(), Some(StoreError::Taken { .. })) => {
                crate::interrupt::check()?;
                std::thread::sleep(Duration::from_secs(1));
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    };
    let sink = match spool {
        Some(spool) => Sink::Spool(Box::new(spool)),
        None => Sink::Upload(upload.clone()),
    };
    fill(context, service, store, (key, started, size), occasion, (&upload, sink, recipient.as_ref()), history)
        .inspect_err(|_| {
            if let Err(left) = upload.give_up() {
                context.ui.warn(left.to_string());
            }
        })
}

/// From the snapshot to the complete object.
fn fill(
    context: &Context,
    service: &RunningService,
    store: &dyn Store,
    (key, started, size): (BackupKey, Timestamp, u64),
    occasion: Occasion,
    (upload, sink, recipient): (&NotedUpload, Sink, Option<&Recipient>),
    history: &History,
) -> Result<(Manifest, u64, String)> {
    let globals = globals(context, service)?;
    let folder = context.environment.data_folder().join(service.service.name.as_str());
    let incident = Holds::read(&folder)?.service.map(|hold| Incident { since: hold.since, reason: hold.reason });
    let modified = u64::try_from(started.as_second()).unwrap_or_default();
    let packer = Packer::new(sink, Options::new(modified))?;
    let mut metered =
        Metered { packer, progress: context.ui.progress(&format!("Saving {}", service.service.name), Some(size)) };
    let fingerprints = context.settings(&service.service.name)?.fingerprint;
    let (mut snapshot, database, version_number, dumped, schema) =
        dump_in_snapshot(context, service, fingerprints, &mut metered)?;
    let Metered { packer, progress } = metered;
    drop(progress);

    let mut print = fingerprint::structure(snapshot.client())?;
    print.objects.remove(fingerprint::INVALID_INDEX);
    print.sequences = dumped.sequences;
    print.tables = dumped.rows;
    print.contents = dumped.contents;
    print.schema = schema.and_then(|schema| unchanged(context, service, &snapshot, schema));
    for table in snapshot.tables().clone().into_values().map(|table| table.name) {
        if let std::collections::btree_map::Entry::Vacant(uncounted) = print.tables.entry(table) {
            let rows = fingerprint::count(snapshot.client(), uncounted.key())?;
            uncounted.insert(rows);
        }
    }
    print.checks = ask_checks(context, service, &snapshot)?;
    if print.large_objects != dumped.large_objects {
        bail!("The dump holds {} large objects, but the snapshot has {}", dumped.large_objects, print.large_objects);
    }
    snapshot.confirm()?;
    context.ui.debug(format!("Dumped with {}", dumped.engine));

    let suspicious = if occasion.safety { None } else { suspicion(context, service, history, &database, &print)? };
    let mut description = Manifest {
        format: FORMAT,
        made_by: concat!("pgbackup ", env!("CARGO_PKG_VERSION")).to_owned(),
        service: service.service.name.clone(),
        host: context.environment.host_name(),
        host_id: host_id::of_this_host(&context.environment.data_folder()),
        label: occasion.label.map(str::to_owned),
        safety: occasion.safety,
        incident,
        suspicious,
        // A restore saves what it replaces, whatever state that is in.
        failed_checks: if occasion.safety { 0 } else { failing(&print) },
        started,
        snapshot: snapshot.taken(),
        server: server(service, &mut snapshot, version_number)?,
        database,
        fingerprint: print,
        dump_bytes: packer.dump_bytes(),
        totals: None,
        object: None,
        key,
    };
    drop(snapshot);
    if description.fingerprint.tables.is_empty() {
        context
            .ui
            .warn(format!("The database {} has no tables: is it the one your app uses?", description.database.name));
    }
    let archive = packer
        .finish(&[(MANIFEST, &description.to_json()?), (GLOBALS, &globals)])
        .map_err(|error| Transfer::new("packing the dump", error))?;
    // Only who reads the archive asks for it.
    description.fingerprint.schema = None;
    crate::interrupt::check()?;
    let (head, digest) = match recipient {
        Some(recipient) => (Vec::new(), encrypt(context, archive, recipient, upload)?),
        None => (archive.head, archive.sha256_behind_head),
    };
    let head_bytes = head.len() as u64;
    let stored = upload.complete(&head)?;
    description.object = Some(Object {
        bytes: stored.bytes,
        head_bytes,
        sha256_behind_head: manifest::hex(&digest),
        finished: context.now(),
    });
    let sidecar = if recipient.is_some() { description.brief() } else { description.clone() };
    if let Err(error) = store.put(&description.key.sidecar(), &sidecar.to_json()?) {
        // The object is complete and carries its own manifest: the backup is good.
        context.ui.warn(format!("The backup is saved, but its description beside it is not: {error}"));
    }
    Ok((description, stored.bytes, stored.confirmed_by))
}

/// Puts the head in front of what has waited and sends all of it encrypted; the digest of what was sent.
fn encrypt(context: &Context, archive: Packed<Sink>, recipient: &Recipient, upload: &NotedUpload) -> Result<[u8; 32]> {
    let Sink::Spool(spool) = archive.sink else { bail!("an encrypted backup was sent in clear") };
    let mut spooled: Spooled = spool.finish().context("The waiting backup can't be read")?;
    let progress = context.ui.progress("Encrypting", Some(spooled.left()));
    let mut sent = Digesting { inner: upload.clone(), progress, sha256: Sha256::new() };
    encryption::seal(archive.head.as_slice().chain(&mut spooled), &mut sent, recipient)
        .map_err(|error| Transfer::new("encrypting the backup", error))?;
    // Between the two lay a disk: what came back from it must be what the packer has digested.
    if spooled.sha256() != archive.sha256_behind_head {
        bail!("The disk of this host has given back other bytes than it took; the backup was not completed");
    }
    Ok(sent.sha256.finalize().into())
}

/// About how many bytes a backup will be: as many as the last one and some, else a third of the tables.
fn spooled(history: &History, name: &ServiceName, size: u64) -> u64 {
    let last = history.read().unwrap_or_default().into_iter().rev().find_map(|entry| match entry.event {
        Event::Backup(record) if record.key.service() == name => Some(record.bytes),
        _ => None,
    });
    last.map_or(size / 3, |last| last.saturating_add(last / 4))
}

/// What has been lost since the last backup that is not suspicious itself, or that the user has released: so each backup is
/// suspicious until the rows are back or the user says that they were meant to go.
fn suspicion(
    context: &Context,
    service: &RunningService,
    history: &History,
    database: &DatabaseDescription,
    print: &Fingerprint,
) -> Result<Option<Suspicion>> {
    let name = &service.service.name;
    let watch = context.settings(name)?.watch;
    let holds = Holds::read(&context.environment.data_folder().join(name.as_str()))?;
    // A history that can't be read is no reason to go without a backup.
    let before = history.read().unwrap_or_default().into_iter().rev().find_map(|entry| match entry.event {
        Event::Backup(record) => record.manifest.filter(|manifest| {
            let right = manifest.suspicious.is_none() || holds.has_released(&manifest.key);
            right && !manifest.safety && manifest.database.name == database.name
        }),
        _ => None,
    });
    let Some(before) = before else { return Ok(None) };
    let tables = changes::losses(&before.fingerprint.tables, &print.tables, &watch);
    Ok((!tables.is_empty()).then_some(Suspicion { compared_with: before.key, tables }))
}

/// Tells of it, aloud: nobody looks into a manifest.
fn warn_of_loss(context: &Context, manifest: &Manifest, suspicion: &Suspicion) {
    let (ui, name, key) = (&context.ui, &manifest.service, &manifest.key);
    ui.warn(format!("SUSPICIOUS: rows are missing since {}", suspicion.compared_with));
    for loss in suspicion.tables.iter().take(LOSSES_SHOWN) {
        ui.warn(describe_loss(loss));
    }
    if let Some(more) = suspicion.tables.len().checked_sub(LOSSES_SHOWN).filter(|more| *more > 0) {
        ui.warn(format!("and {}", count(more as u64, "more table")));
    }
    ui.warn("The backup is saved and marked, and the good ones before it are not pruned");
    ui.warn(format!("Look: dokku pgbackup:diff {name} {} {key}", suspicion.compared_with));
    ui.warn(format!("If the rows were meant to go: dokku pgbackup:release {name} {key}"));
}

fn describe_loss(loss: &Loss) -> String {
    let now = loss.now.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
    format!("{}: {} rows then, {now} now", loss.table, loss.before)
}

/// Asks the user's checks in the dump's snapshot. One that fails is recorded as it is: the backup holds what there is.
fn ask_checks(context: &Context, service: &RunningService, snapshot: &Snapshot) -> Result<BTreeMap<Name, Recorded>> {
    let checks = checks::of(context, &service.service.name)?;
    if checks.is_empty() {
        return Ok(BTreeMap::new());
    }
    context.ui.debug(format!("Asking {}", count(checks.len() as u64, "check")));
    database::checks::ask_all(service, &service.service.database, Some(snapshot.id()), &checks)
}

fn failing(print: &Fingerprint) -> u64 {
    print.checks.values().filter(|check| !check.holds()).count() as u64
}

/// `check users: at least 500 expected, 0 found`, for each that failed.
fn failed_checks(manifest: &Manifest) -> impl Iterator<Item = String> {
    let checks = manifest.fingerprint.checks.iter();
    checks.filter_map(|(name, check)| Some(format!("check {name}: {}", check.failure()?)))
}

fn warn_of_checks(context: &Context, manifest: &Manifest) {
    let (ui, name, key) = (&context.ui, &manifest.service, &manifest.key);
    let failed = manifest.failed_checks;
    ui.warn(format!("CHECKS FAILED: {failed} of {}", manifest.fingerprint.checks.len()));
    for failure in failed_checks(manifest) {
        ui.warn(failure);
    }
    ui.warn("The backup is saved and marked, and the good ones before it are not pruned");
    ui.warn(format!("If this one is right all the same: dokku pgbackup:release {name} {key}"));
    ui.warn(format!("If a check asks for too much: dokku pgbackup:checks {name}"));
}

/// Takes a snapshot and dumps in it, again when a change to the tables came in between.
fn dump_in_snapshot(
    context: &Context,
    service: &RunningService,
    fingerprints: Fingerprints,
    sink: &mut dyn Write,
) -> Result<(Snapshot, DatabaseDescription, i32, dump::Dumped, Option<Schema>)> {
    let mut attempt = 1;
    loop {
        let mut snapshot = Snapshot::take(service)?;
        let version_number = session::version_number(snapshot.client())?;
        let database = description::describe(snapshot.client(), version_number)?;
        let schema = if fingerprints >= Fingerprints::Schema {
            read_schema(context, service, &snapshot, manifest::schema::LARGEST)
        } else {
            None
        };
        let sums = fingerprints == Fingerprints::Content;
        match dump::dump(&context.docker, service, &snapshot, &database.encoding, dump::Engine::Auto, sums, sink) {
            Ok(dumped) => return Ok((snapshot, database, version_number, dumped, schema)),
            Err(error) if attempt < ATTEMPTS && error.is::<dump::Overtaken>() => {
                // Lets the change through.
                drop(snapshot);
                context.ui.debug(format!("Begins again: {error:#}"));
                std::thread::sleep(PAUSE * attempt);
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The objects of the schema. While some are being dropped the catalog may not be readable: then they are not in the manifest, whose
/// numbers of objects are compared instead.
fn read_schema(context: &Context, service: &RunningService, snapshot: &Snapshot, largest: usize) -> Option<Schema> {
    schema::read_in_snapshot(service, snapshot.id(), largest)
        .inspect_err(|error| {
            let what =
                "The objects of the schema can't be read one by one, so that a restore compares their numbers only";
            context.ui.warn(format!("{what}: {error:#}"));
        })
        .ok()
}

/// What of the schema was the same before and behind the dump: what lies in between is in it.
fn unchanged(context: &Context, service: &RunningService, snapshot: &Snapshot, mut before: Schema) -> Option<Schema> {
    let behind = read_schema(context, service, snapshot, before.form())?;
    before.retain_common(&behind);
    Some(before)
}

/// The second that names this backup: not that of another one, which would be overwritten.
fn fresh_second(context: &Context, service: &ServiceName, history: &History) -> Result<Timestamp> {
    let taken: HashSet<i64> = history
        .read()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Backup(record) if record.key.service() == service => Some(record.key.started().as_second()),
            _ => None,
        })
        .collect();
    loop {
        let now = context.now();
        // Also after the clock was set back; only the very seconds are taken.
        if !taken.contains(&now.as_second()) {
            return Ok(now);
        }
        crate::interrupt::check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// About how long the dump will be, in bytes: tables without their indexes. Where one of them is locked (a migration), the whole
/// database instead, which is measured without asking for any table: how long a lock is waited for is the snapshot's affair.
fn dump_size(service: &RunningService) -> Result<u64> {
    let mut client = session::connect(service, &service.service.database)?;
    client.batch_execute("SET lock_timeout = '1s'").map_err(|error| anyhow!("{}", words(&error)))?;
    let tables = "SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(c.oid)), 0)::pg_catalog.int8 \
         + pg_catalog.pg_table_size('pg_catalog.pg_largeobject') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";
    let row = match client.query_one(tables, &[]) {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            client.query_one("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())", &[])
        }
        other => other,
    };
    let bytes: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| anyhow!("{}", words(&error)))?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

fn server(service: &RunningService, snapshot: &mut Snapshot, version_number: i32) -> Result<Server> {
    let version: String = snapshot
        .client()
        .query_one("SELECT pg_catalog.current_setting('server_version')", &[])
        .and_then(|row| row.try_get(0))
        .map_err(|error| anyhow!("{}", words(&error)))?;
    // Debian's packages add themselves in parentheses: "15.18 (Debian 15.18-0+deb12u1)".
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    Ok(Server {
        version,
        version_number,
        image: service.image.clone(),
        linked_apps: service.service.linked_apps.clone(),
    })
}

/// Roles and their memberships, for a new host. Without passwords: even hashed ones are nothing for a bucket.
fn globals(context: &Context, service: &RunningService) -> Result<Vec<u8>> {
    let arguments = ["pg_dumpall", "--globals-only", "--no-role-passwords", "--username=postgres", "--no-password"];
    let environment = [("PGPASSWORD", service.service.password.reveal()), ("PGAPPNAME", APPLICATION)];
    context.docker.exec_output(&service.service.container, &arguments, &environment).context("The roles can't be read")
}

/// Where the packer writes to.
enum Sink {
    /// The store.
    Upload(NotedUpload),
    /// This host's disk, to be encrypted from there.
    Spool(Box<Spool>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Upload(upload) => upload.write(bytes),
            Self::Spool(spool) => spool.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Upload(upload) => upload.flush(),
            Self::Spool(spool) => spool.flush(),
        }
    }
}

/// Takes the digest of what is written.
struct Digesting {
    inner: NotedUpload,
    progress: Progress,
    sha256: Sha256,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha256.update(bytes.get(..written).unwrap_or_default());
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The packer, telling how much it has been given.
struct Metered {
    packer: Packer<Sink>,
    progress: Progress,
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.packer.write(bytes)?;
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.packer.flush()
    }
}
