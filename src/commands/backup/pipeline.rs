//! From a running service to a complete object: snapshot → dump → pack → store → manifest.
//!
//! An encrypted backup goes through a [`Spool`] between pack and store, as OpenPGP begins with what we know last. Nothing is called saved
//! before the dump ended well, the store has confirmed every byte, and the archive is complete. Whatever fails before that takes
//! the upload back as it drops.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use postgres::error::SqlState;

use super::past::Past;
use super::sink::{Digesting, Sink};
use super::{Occasion, suspicion};
use crate::archive::encryption::{self, Recipient};
use crate::archive::pack::{Options, Packed, Packer};
use crate::archive::proof::{self, Ledger};
use crate::archive::{GLOBALS, HEAD_BYTES, MANIFEST, Transfer};
use crate::commands::checks;
use crate::commands::context::Context;
use crate::commands::encryption::in_force::InForce;
use crate::commands::finishing;
use crate::commands::spool::{Spool, Spooled};
use crate::commands::upload::{NotedUpload, What};
use crate::database::snapshot::Snapshot;
use crate::database::{self, APPLICATION, description, dump, fingerprint, schema, session, words};
use crate::dokku::host_id;
use crate::dokku::properties::Subject;
use crate::holds::Holds;
use crate::manifest::checks::{Name, Recorded};
use crate::manifest::schema::Schema;
use crate::manifest::{
    self, DatabaseDescription, FORMAT, Fingerprint, Incident, Manifest, Object, Proof, Server, Signature,
};
use crate::service::RunningService;
use crate::service::options::CreateOptions;
use crate::settings::Fingerprints;
use crate::signing::Keys;
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError, UploadPlan};
use crate::text::count;
use crate::ui::Metered;

/// Snapshots that are tried where tables are being changed.
const ATTEMPTS: u32 = 10;
/// How long a change may take until the next one, times the number of attempts so far.
const PAUSE: Duration = Duration::from_millis(100);

/// Backups that are taken where another host was quicker with one of the same name each time.
const COLLISIONS: u32 = 3;
/// How often one looks whether the next second has come.
const TICK: Duration = Duration::from_millis(50);

/// Takes a backup and puts it into the store: its manifest, its size in bytes, and how the store has confirmed it.
pub(super) fn run(
    context: &Context,
    service: &RunningService,
    store: &dyn Store,
    occasion: Occasion,
    past: &Past,
) -> Result<(Manifest, u64, String)> {
    make_signing_key(context);
    let mut attempt = 1;
    loop {
        match once(context, service, store, occasion, past) {
            // Two hosts with one schedule begin in the same second, when neither's object is there: the store has taken the other one.
            Err(error) if attempt < COLLISIONS && is_taken(&error) => {
                context.ui.step(format!("Backing up once more: {error}"));
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::Taken { .. }))
}

/// The same, where nobody else comes first.
fn once(
    context: &Context,
    service: &RunningService,
    store: &dyn Store,
    occasion: Occasion,
    past: &Past,
) -> Result<(Manifest, u64, String)> {
    let name = &service.service.name;
    let subject = Subject::Service(name.clone());
    step!("backup.keyed");
    let recipient = InForce::of(context, &subject)?.recipient(context, &subject)?;
    let size = dump_size(service)?;
    let spool = match &recipient {
        Some(_) => {
            Some(Spool::begin(&context.environment.data_folder().join(name.as_str()), past.expected_bytes(size))?)
        }
        None => None,
    };
    let head = if recipient.is_some() { 0 } else { HEAD_BYTES };
    let plan = UploadPlan { head, expected: size };
    let mut attempt = 1;
    let (started, key, upload) = loop {
        let started = fresh_second(context, past)?;
        let key = BackupKey::new(name.clone(), started, recipient.is_some());
        // Wrong keys, bucket or endpoint are found here, before the database is touched.
        match NotedUpload::begin(context, What::Backup, store, &key, plan) {
            Ok(upload) => break (started, key, upload),
            // Another host saves a service of this name into the same place, or postgres:backup did in this second.
            Err(error) if attempt < ATTEMPTS && is_taken(&error) => {
                while context.now().as_second() == started.as_second() {
                    crate::interrupt::check()?;
                    std::thread::sleep(TICK);
                }
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    };
    let sink = match spool {
        Some(spool) => Sink::Spool(Box::new(spool)),
        None => Sink::Upload(upload.clone()),
    };
    fill(context, service, store, (key, started, size), occasion, (&upload, sink, recipient.as_ref()), past)
        .inspect_err(|error| {
            // Another one's object; else the next run looks whether it is there after all.
            if is_taken(error) {
                finishing::forget(context, name);
            }
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
    past: &Past,
) -> Result<(Manifest, u64, String)> {
    step!("backup.uploading");
    let globals = globals(context, service)?;
    step!("backup.globals");
    let folder = context.environment.data_folder().join(service.service.name.as_str());
    let incident = Holds::read(&folder)?.service.map(|hold| Incident { since: hold.since, reason: hold.reason });
    let modified = u64::try_from(started.as_second()).unwrap_or_default();
    let packer = Packer::new(sink, Options::new(modified))?;
    let progress = context.ui.progress(&format!("Saving {}", service.service.name), Some(size));
    let mut metered = Metered::new(packer, progress);
    let fingerprints = context.settings(&service.service.name)?.fingerprint;
    let (mut snapshot, database, version_number, dumped, schema) =
        dump_in_snapshot(context, service, fingerprints, &mut metered)?;
    step!("backup.dumped");
    let packer = metered.into_inner();

    let mut print = fingerprint::structure(snapshot.client())?;
    print.objects.remove(fingerprint::INVALID_INDEX);
    print.sequences = dumped.sequences;
    print.tables = dumped.rows;
    print.contents = dumped.contents;
    print.large_object_contents = dumped.large_object_contents;
    print.schema = schema.and_then(|schema| unchanged(context, &mut snapshot, schema));
    for table in snapshot.tables().clone().into_values().map(|table| table.name) {
        if let std::collections::btree_map::Entry::Vacant(uncounted) = print.tables.entry(table) {
            let rows = fingerprint::count(snapshot.client(), uncounted.key())?;
            uncounted.insert(rows);
        }
    }
    print.checks = ask_checks(context, service, &mut snapshot)?;
    if print.large_objects != dumped.large_objects {
        bail!("The dump holds {} large objects, but the snapshot has {}", dumped.large_objects, print.large_objects);
    }
    step!("backup.read");
    snapshot.confirm()?;
    context.ui.debug(format!("Dumped with {}", dumped.engine));

    let suspicious = if occasion.safety { None } else { suspicion::of(context, service, past, &database, &print)? };
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
        server: server(context, service, &mut snapshot, version_number)?,
        database,
        fingerprint: print,
        dump_bytes: packer.dump_bytes(),
        totals: None,
        object: None,
        signature: None,
        key,
    };
    drop(snapshot);
    step!("backup.described");
    if description.fingerprint.tables.is_empty() {
        context
            .ui
            .warn(format!("The database {} has no tables: is it the one your app uses?", description.database.name));
    }
    let what = format!("Sending the rest of {}", service.service.name);
    let show_rest = || upload.show_rest(&context.ui, &what);
    let mut rest = if recipient.is_none() { show_rest() } else { None };
    let archive = packer
        .finish(&[(MANIFEST, &description.to_json()?), (GLOBALS, &globals)])
        .map_err(|error| Transfer::new("packing the dump", error))?;
    step!("backup.packed");
    description.fingerprint = description.fingerprint.beside();
    crate::interrupt::check()?;
    let (head, bytes, digest, marks) = if let Some(recipient) = recipient {
        let (bytes, digest, marks) = encrypt(context, archive, recipient, upload)?;
        rest = show_rest();
        (Vec::new(), bytes, digest, marks)
    } else {
        let bytes = archive.object_bytes();
        (archive.head, bytes, archive.sha256_behind_head, archive.marks)
    };
    let head_bytes = head.len() as u64;
    description.object = Some(Object {
        bytes,
        head_bytes,
        sha256_behind_head: manifest::hex(&digest),
        finished: context.now(),
        proof: Some(Proof {
            sha256_head: manifest::hex(&proof::sha256(&head)),
            step: proof::STEP,
            marks: marks.iter().map(|mark| manifest::hex(mark)).collect(),
        }),
    });
    let completed = complete(context, store, upload, description, &head, recipient.is_some());
    drop(rest);
    completed
}

/// Completes the object and puts its description beside it, which is brief where the object is encrypted.
fn complete(
    context: &Context,
    store: &dyn Store,
    upload: &NotedUpload,
    mut description: Manifest,
    head: &[u8],
    brief: bool,
) -> Result<(Manifest, u64, String)> {
    let mut sidecar = if brief { description.brief() } else { description.clone() };
    sidecar.signature = sign(context, &sidecar);
    description.signature.clone_from(&sidecar.signature);
    let text = sidecar.to_json()?;
    step!("backup.sent");
    finishing::note(context, store, &description, &text);
    step!("backup.noted");
    let stored = upload.complete(head)?;
    finishing::completed(context, store, &description, &text);
    step!("backup.stored");
    match store.put(&description.key.sidecar(), &text) {
        Ok(()) if sidecar.signature.is_some() => {
            let data = context.environment.data_folder();
            if let Err(error) = Keys::begin(&data, &description.service, description.key.started()) {
                context.ui.warn(format!("It is signed, but that this has to be so can't be kept: {error:#}"));
            }
        }
        Ok(()) => {}
        // The object is complete and carries its own manifest: the backup is good.
        Err(error) => context.ui.warn(format!("The backup is saved, but its description beside it is not: {error}")),
    }
    step!("backup.beside");
    Ok((description, stored.bytes, stored.confirmed_by))
}

/// Signs a sidecar with this host's key. The backup is good without it, and is not given up for that: the history remembers that it is
/// not signed.
fn sign(context: &Context, sidecar: &Manifest) -> Option<Signature> {
    let data = context.environment.data_folder();
    Keys::read(&data).and_then(|keys| keys.sign(sidecar)).unwrap_or_else(|error| {
        context.ui.warn(format!("The backup is not signed: {error:#}"));
        context
            .ui
            .warn("Another host, or this one without its history, can't tell whether it was changed in the store");
        None
    })
}

/// Makes the key that signs where there is none.
fn make_signing_key(context: &Context) {
    let data = context.environment.data_folder();
    match Keys::read(&data).and_then(|mut keys| keys.make(&data, context.now())) {
        Ok(true) => {
            context.ui.detail("Backups of this host are signed from now on: see pgbackup:signing-key");
            context.ui.detail("Keep the key in another place too: dokku pgbackup:signing-key --secret");
        }
        Ok(false) => {}
        Err(error) => context.ui.warn(format!("There is no key to sign with: {error:#}")),
    }
}

/// Puts the head in front of what has waited and sends all of it encrypted; the length and the digest of what was sent.
fn encrypt(
    context: &Context,
    archive: Packed<Sink>,
    recipient: &Recipient,
    upload: &NotedUpload,
) -> Result<(u64, [u8; 32], Vec<[u8; 32]>)> {
    let Sink::Spool(spool) = archive.sink else { bail!("an encrypted backup was sent in clear") };
    let mut spooled: Spooled = spool.finish().context("The waiting backup can't be read")?;
    let progress = context.ui.progress("Encrypting", Some(spooled.left()));
    let mut sent = Metered::new(Digesting { inner: upload.clone(), ledger: Ledger::default() }, progress);
    encryption::seal(archive.head.as_slice().chain(&mut spooled), &mut sent, recipient)
        .map_err(|error| Transfer::new("encrypting the backup", error))?;
    step!("backup.encrypted");
    // Between the two lay a disk: what came back from it must be what the packer has digested.
    if spooled.sha256() != archive.sha256_behind_head {
        bail!("The disk of this host has given back other bytes than it took; the backup was not completed");
    }
    let ledger = sent.into_inner().ledger;
    let bytes = ledger.bytes();
    let (digest, marks) = ledger.finish();
    Ok((bytes, digest, marks))
}

/// Asks the user's checks in the dump's snapshot. One that fails is recorded as it is: the backup holds what there is.
fn ask_checks(
    context: &Context,
    service: &RunningService,
    snapshot: &mut Snapshot,
) -> Result<BTreeMap<Name, Recorded>> {
    let checks = checks::of(context, &service.service.name)?;
    if checks.is_empty() {
        return Ok(BTreeMap::new());
    }
    context.ui.debug(format!("Asking {}", count(checks.len() as u64, "check")));
    database::checks::ask_in_snapshot(snapshot, &checks)
}

fn failing(print: &Fingerprint) -> u64 {
    print.checks.values().filter(|check| !check.holds()).count() as u64
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
        step!("backup.snapshot");
        let version_number = session::version_number(snapshot.client())?;
        let database = description::describe(snapshot.client(), version_number)?;
        let schema = if fingerprints >= Fingerprints::Schema {
            read_schema(context, &mut snapshot, manifest::schema::LARGEST)
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
fn read_schema(context: &Context, snapshot: &mut Snapshot, largest: usize) -> Option<Schema> {
    schema::read_in_snapshot(snapshot, largest)
        .inspect_err(|error| {
            let what =
                "The objects of the schema can't be read one by one, so that a restore compares their numbers only";
            context.ui.warn(format!("{what}: {error:#}"));
        })
        .ok()
}

/// What of the schema was the same before and behind the dump: what lies in between is in it.
fn unchanged(context: &Context, snapshot: &mut Snapshot, mut before: Schema) -> Option<Schema> {
    let behind = read_schema(context, snapshot, before.form())?;
    before.retain_common(&behind);
    Some(before)
}

/// The second that names this backup: not that of another one, which would be overwritten.
fn fresh_second(context: &Context, past: &Past) -> Result<Timestamp> {
    loop {
        let now = context.now();
        // Also after the clock was set back; only the very seconds are taken.
        if !past.has(now) {
            return Ok(now);
        }
        crate::interrupt::check()?;
        std::thread::sleep(TICK);
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

fn server(context: &Context, service: &RunningService, snapshot: &mut Snapshot, version_number: i32) -> Result<Server> {
    // A file of dokku-postgres's that can't be read is no reason to go without a backup.
    let options = CreateOptions::read(&service.service).unwrap_or_else(|failure| {
        context.ui.warn(format!("What the service was made with is not saved: {failure}"));
        None
    });
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
        options,
    })
}

/// Roles and their memberships, for a new host. Without passwords: even hashed ones are nothing for a bucket.
fn globals(context: &Context, service: &RunningService) -> Result<Vec<u8>> {
    let arguments = ["pg_dumpall", "--globals-only", "--no-role-passwords", "--username=postgres", "--no-password"];
    // Unlike pg_dump it keeps the timeouts that the role has (seen with 20 ms).
    let options = session::without_timeouts(service)?;
    let environment =
        [("PGPASSWORD", service.service.password.reveal()), ("PGAPPNAME", APPLICATION), ("PGOPTIONS", &options)];
    context.docker.held_output(&service.service.container, &arguments, &environment).context("The roles can't be read")
}
