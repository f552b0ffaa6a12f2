//! Copies of backups in a second destination (property copy-to): read from the first one as they lie there, compared with their
//! manifests on the way, and confirmed by the second store like any upload. No byte touches the disk of this host.
//!
//! The backup is as good as it was, whatever happens here: what fails is told, kept in the history, and copied by the next run. The
//! second place has keys and rules of its own, so that whoever gets hold of the first can't delete what lies in the second.

use std::collections::HashSet;
use std::io::{Read, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use sha2::{Digest as _, Sha256};

use crate::catalog::store_failure;
use crate::commands::backups;
use crate::commands::context::Context;
use crate::commands::telling::Telling;
use crate::commands::upload::{NotedUpload, What};
use crate::copies::Copies;
use crate::drill;
use crate::error::{Failure, Kind};
use crate::history::{CopyRecord, Entry, Event};
use crate::lock::Lock;
use crate::manifest::{self, LARGEST, Manifest};
use crate::notify::{Notice, Outcome, Work};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{self, Store, StoreError, UploadPlan};
use crate::text::count;
use crate::ui::human;

/// Which copies a store lists.
pub type Listed = HashSet<BackupKey>;

/// What is read at once.
const PIECE: usize = 256 << 10;

/// Copies a backup that was just saved, and whatever earlier runs could not copy. The caller holds the service's lock.
///
/// # Errors
/// When something is not copied; that was told then, and the next run tries it again.
pub fn after_backup(
    context: &Context,
    service: &Service,
    first: &dyn Store,
    key: &BackupKey,
    lock: &Lock,
) -> Result<(), Failure> {
    let name = &service.name;
    match context.settings(name).map(|settings| settings.copy.map(|copy| copy.destination.to_string())) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let mut wanted = vec![key.clone()];
            copy(context, service, first, lock, move |state, present| {
                wanted.extend(state.missing.iter().filter(|other| *other != key).cloned());
                wanted.extend(gone(state, present).filter(|other| other != key));
                wanted
            })
            .map(drop)
        }
        Err(error) => Err(Failure::from_error(error)),
    }
}

/// Copies that were made and are no longer there, though nobody of us has deleted them.
pub fn gone<'a>(state: &'a Copies, present: Option<&'a Listed>) -> impl Iterator<Item = BackupKey> + 'a {
    let is_gone = move |key: &&BackupKey| present.is_some_and(|present| !present.contains(*key));
    state.copied.keys().filter(is_gone).cloned()
}

/// Copies those backups that `choose` names, newest first, and remembers and tells how that went. It is handed what the history says, and
/// which copies are listed where they may be. Returns how many were copied.
///
/// # Errors
/// When no second destination is set, or something is not copied.
pub fn copy(
    context: &Context,
    service: &Service,
    first: &dyn Store,
    _lock: &Lock,
    choose: impl FnOnce(&Copies, Option<&Listed>) -> Vec<BackupKey>,
) -> Result<u64, Failure> {
    let name = &service.name;
    let history = backups::history(name, context);
    let entries = history.read().unwrap_or_default();
    let settings = context.settings(name).map_err(Failure::from_error)?;
    let Some(destination) = settings.copy.map(|copy| copy.destination.to_string()) else {
        return Err(Failure::failed(format!("No second destination is set for {name}"))
            .hint(format!("Set it: dokku pgbackup:set {name} copy-to s3://OTHER-BUCKET")));
    };
    let state = Copies::of(&entries, &first.describe(), &destination);
    let opened = match context.copy_store(service).map_err(|error| of_the_copy(Failure::from_error(error))) {
        Ok(Some(second)) => Ok(second),
        Ok(None) => return Ok(0),
        Err(failure) => Err(failure),
    };
    let present = opened.as_ref().ok().and_then(|second| listed(context, name, second.as_ref()));
    let wanted = choose(&state, present.as_ref());
    let Some(newest) = wanted.first().cloned() else { return opened.map(|_| 0) };
    let telling = Telling::begin(context, Work::Copy, name);
    step!("copy.chosen");
    let began = Instant::now();
    let mut done = Done::default();
    let result = opened.and_then(|second| {
        context.ui.step(format!("Copying to {}", second.describe()));
        all(context, service, (first, second.as_ref()), &wanted, &entries, &mut done)
    });
    match result {
        Ok(()) => {
            step!("copy.remembered");
            tell_success(&telling, &done, &destination, state.failed.is_some());
            Ok(done.copied)
        }
        Err(failure) => {
            let key = done.failed.clone().unwrap_or(newest);
            if !done.noted {
                remember_failure(context, &key, &destination, &failure, began.elapsed(), false);
            }
            telling.failed(&failure, Some(&key.to_string()), Some(destination));
            Err(failure)
        }
    }
}

/// What a run has done.
#[derive(Default)]
struct Done {
    copied: u64,
    bytes: u64,
    last: Option<BackupKey>,
    /// Which one failed.
    failed: Option<BackupKey>,
    /// Whether that is in the history.
    noted: bool,
}

fn tell_success(telling: &Telling, done: &Done, destination: &str, had_failed: bool) {
    let what = match &done.last {
        Some(key) if done.copied == 1 => key.to_string(),
        _ => count(done.copied, "backup"),
    };
    let size = human::size(done.bytes);
    let of = |outcome, message: String| Notice {
        key: done.last.as_ref().map(ToString::to_string),
        destination: Some(destination.to_owned()),
        bytes: Some(done.bytes),
        ..telling.notice(outcome, message)
    };
    telling.tell(&of(Outcome::Succeeded, format!("Copied {what} to {destination} ({size})")));
    if had_failed {
        telling.tell(&of(Outcome::Recovered, format!("Copies to {destination} work again: {what} ({size})")));
    }
}

/// Which copies lie there, where that may be asked.
fn listed(context: &Context, name: &ServiceName, second: &dyn Store) -> Option<Listed> {
    let catalog = backups::catalog(name, second, context).ok().filter(|catalog| catalog.not_listed.is_none())?;
    // Those that a listing doesn't show yet are among its backups.
    Some(catalog.backups.into_iter().map(|backup| backup.key).collect())
}

/// One after the other; what is wrong with one backup is no reason to go without the others, a store that can't be used is.
fn all(
    context: &Context,
    service: &Service,
    (first, second): (&dyn Store, &dyn Store),
    wanted: &[BackupKey],
    entries: &[Entry],
    done: &mut Done,
) -> Result<(), Failure> {
    let history = backups::history(&service.name, context);
    let mut bad: Option<Failure> = None;
    for key in wanted {
        let began = Instant::now();
        match one(context, (first, second), key, entries) {
            Ok(record) => {
                done.copied += 1;
                done.bytes += record.bytes;
                done.last.get_or_insert_with(|| key.clone());
                let entry = Entry::now(Event::Copy(record), Some(began.elapsed().as_secs_f64()));
                if let Err(error) = history.append(&entry) {
                    context
                        .ui
                        .warn(format!("{key} is copied, but this host's history could not take note of it: {error:#}"));
                }
            }
            Err(Trouble { failure, of }) => {
                let destination = second.describe();
                remember_failure(context, key, &destination, &failure, began.elapsed(), of == Of::Lost);
                if of == Of::Lost && wanted.len() > 1 {
                    context.ui.warn(failure.to_string());
                    continue;
                }
                done.failed.get_or_insert_with(|| key.clone());
                done.noted = true;
                if of == Of::Store {
                    return Err(failure);
                }
                if let Some(before) = bad.replace(failure) {
                    context.ui.warn(before.to_string());
                }
            }
        }
    }
    bad.map_or(Ok(()), Err)
}

fn remember_failure(
    context: &Context,
    key: &BackupKey,
    destination: &str,
    failure: &Failure,
    took: Duration,
    lost: bool,
) {
    let event =
        Event::CopyFailed { key: key.clone(), destination: destination.to_owned(), error: failure.to_string(), lost };
    let entry = Entry::now(event, Some(took.as_secs_f64()));
    if let Err(error) = backups::history(key.service(), context).append(&entry) {
        context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
    }
}

/// What stopped a copy.
struct Trouble {
    failure: Failure,
    of: Of,
}

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A store's, or ours: the next one would fail the same way.
    Store,
    /// This backup's alone.
    Backup,
    /// The same, and it will not get better: it is no longer in the first place.
    Lost,
}

impl Trouble {
    fn store(failure: Failure) -> Self {
        Self { failure, of: Of::Store }
    }

    fn backup(failure: Failure) -> Self {
        Self { failure, of: Of::Backup }
    }

    /// What the first store says while it is read.
    fn reading(key: &BackupKey, first: &dyn Store, error: StoreError) -> Self {
        if matches!(error, StoreError::NotFound { .. }) {
            let failure = Failure::failed(format!("{key} can't be copied: it is no longer in {}", first.describe()));
            return Self { failure, of: Of::Lost };
        }
        let message = format!("{key} can't be read for its copy");
        Self::store(match &error {
            // Good practice for a role that takes backups alone, and not enough for one that copies them.
            StoreError::Denied { permission, .. } => {
                let service = key.service();
                Failure::failed(message)
                    .hint(format!("A copy is read from the first destination, whose keys need {permission} for that"))
                    .hint(format!("The policy that has it is printed by: dokku pgbackup:iam-policy {service}"))
                    .because(error)
            }
            _ => store_failure(message, error),
        })
    }

    /// What the second store says.
    fn writing(key: &BackupKey, second: &dyn Store, error: StoreError) -> Self {
        Self::store(of_the_copy(store_failure(format!("{key} can't be copied to {}", second.describe()), error)))
    }
}

/// Copies one backup with what lies beside it.
fn one(
    context: &Context,
    (first, second): (&dyn Store, &dyn Store),
    key: &BackupKey,
    entries: &[Entry],
) -> Result<CopyRecord, Trouble> {
    let name = key.to_string();
    let sidecar =
        store::read_small(first, &key.sidecar(), LARGEST).map_err(|error| Trouble::reading(key, first, error))?;
    let remembered = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Backup(record) if record.key == *key => record.manifest.clone(),
        _ => None,
    });
    let sidecar = match sidecar {
        Some(text) => Some(text),
        // It could not be stored when the backup was; what it would say is known here.
        None => remembered.as_ref().and_then(|manifest| {
            let manifest = if key.encrypted() { manifest.brief() } else { manifest.clone() };
            manifest.to_json().ok()
        }),
    };
    let described = sidecar.as_deref().and_then(|text| Manifest::parse(text, Some(key)).ok());
    // What this host remembers can't have been changed in the store.
    let expected = remembered.and_then(|manifest| manifest.object).or_else(|| described.and_then(|it| it.object));
    let began = Instant::now();
    let there = match second.head(&name) {
        Ok(info) => Some(info),
        // A role that may only write is told when the upload is begun or completed.
        Err(StoreError::NotFound { .. } | StoreError::Denied { .. }) => None,
        Err(error) => return Err(Trouble::writing(key, second, error)),
    };
    let (bytes, confirmed_by) = if there.is_some() {
        compare(context, (first, second), key, expected.as_ref())?
    } else {
        let length = first.head(&name).map_err(|error| Trouble::reading(key, first, error))?.bytes;
        transfer(context, (first, second), key, length, expected.as_ref())?
    };
    step!("copy.stored");
    if let Some(text) = sidecar {
        second.put(&key.sidecar(), &text).map_err(|error| {
            let text = format!("What lies beside {key} can't be copied to {}", second.describe());
            Trouble::store(of_the_copy(store_failure(text, error)))
        })?;
    }
    let tried = |entry: &Entry| matches!(&entry.event, Event::Verification(tried) if tried.key == *key);
    if entries.iter().any(tried)
        && let Some(text) = drill::bytes(first, key).map_err(|error| Trouble::reading(key, first, error))?
    {
        second.put(&key.drill(), &text).map_err(|error| Trouble::writing(key, second, error))?;
    }
    step!("copy.beside");
    let how = if expected.is_some() { "SHA-256 as in its manifest" } else { "nothing to compare it with" };
    let (size, took) = (human::size(bytes), human::duration(began.elapsed()));
    context.ui.detail(format!("{key}: {size} in {took}, {how}, confirmed by the store ({confirmed_by})"));
    Ok(CopyRecord { key: key.clone(), destination: second.describe(), bytes, confirmed_by })
}

/// Reads and sends. Nothing is visible in the second place before all of it is known to be what was saved.
fn transfer(
    context: &Context,
    (first, second): (&dyn Store, &dyn Store),
    key: &BackupKey,
    length: u64,
    expected: Option<&manifest::Object>,
) -> Result<(u64, String), Trouble> {
    let mut reader = first.open(&key.to_string()).map_err(|error| Trouble::reading(key, first, error))?;
    let plan = UploadPlan { head: 0, expected: length };
    let mut upload =
        NotedUpload::begin(context, What::Copy, second, key, plan).map_err(|error| sending(key, second, error))?;
    let copied = (|| {
        let progress = context.ui.progress(&format!("Copying {}", key.service()), Some(length));
        let mut sum = Sum::new(expected);
        let mut buffer = vec![0; PIECE];
        loop {
            crate::interrupt::check().map_err(|stopped| Trouble::store(Failure::from_error(stopped.into())))?;
            let read = reader.read(&mut buffer).map_err(|error| {
                let failure = Failure::from_error(anyhow!(error));
                let cause = failure.to_string();
                Trouble::store(Failure { message: format!("{key} can't be read for its copy: {cause}"), ..failure })
            })?;
            if read == 0 {
                break;
            }
            let piece = buffer.get(..read).unwrap_or_default();
            sum.add(piece);
            upload.write_all(piece).map_err(|error| sending(key, second, error.into()))?;
            progress.add(read as u64);
        }
        step!("copy.sent");
        sum.check(key, first)?;
        drop(progress);
        let _rest = upload.show_rest(&context.ui, &format!("Sending the rest of {}", key.service()));
        let stored = upload.complete(&[]).map_err(|error| sending(key, second, error))?;
        Ok((stored.bytes, stored.confirmed_by))
    })();
    if copied.is_err()
        && let Err(left) = upload.give_up()
    {
        context.ui.warn(left.to_string());
    }
    copied
}

/// An error of the second store on its way through a stream.
fn sending(key: &BackupKey, second: &dyn Store, error: anyhow::Error) -> Trouble {
    let failure = of_the_copy(Failure::from_error(error));
    if failure.kind == Kind::Interrupted {
        return Trouble::store(failure);
    }
    let message = format!("{key} can't be copied to {}: {failure}", second.describe());
    Trouble::store(Failure { message, source: None, kind: Kind::Failed, ..failure })
}

/// What lies in the second place already is read: it may be what an earlier run has sent and could not take note of.
fn compare(
    context: &Context,
    (first, second): (&dyn Store, &dyn Store),
    key: &BackupKey,
    expected: Option<&manifest::Object>,
) -> Result<(u64, String), Trouble> {
    let differs = |why: &str| {
        let place = second.describe();
        Trouble::backup(
            Failure::failed(format!("{place} has another object named {key} already, which is not overwritten: {why}"))
                .hint("Look at it, and delete or move it by hand if it is nobody's"),
        )
    };
    let Some(expected) = expected else { return Err(differs("nothing says whether it is the same")) };
    let mut reader = second.open(&key.to_string()).map_err(|error| Trouble::writing(key, second, error))?;
    let progress = context.ui.progress(&format!("Comparing {}", key.service()), Some(expected.bytes));
    let mut sum = Sum::new(Some(expected));
    let mut buffer = vec![0; PIECE];
    loop {
        crate::interrupt::check().map_err(|stopped| Trouble::store(Failure::from_error(stopped.into())))?;
        let read = reader.read(&mut buffer).map_err(|error| sending(key, second, error.into()))?;
        if read == 0 {
            break;
        }
        sum.add(buffer.get(..read).unwrap_or_default());
        progress.add(read as u64);
    }
    let bytes = sum.bytes;
    match sum.check(key, first) {
        Ok(()) => Ok((bytes, "it was there, and was read and compared".to_owned())),
        Err(_) => Err(differs("its bytes differ")),
    }
}

/// The checksum of what went by.
struct Sum<'a> {
    expected: Option<&'a manifest::Object>,
    /// Bytes of the head that are still to come: a backup's digest begins behind them.
    head: u64,
    bytes: u64,
    sha256: Sha256,
}

impl<'a> Sum<'a> {
    fn new(expected: Option<&'a manifest::Object>) -> Self {
        let head = expected.map_or(0, |object| object.head_bytes);
        Self { expected, head, bytes: 0, sha256: Sha256::new() }
    }

    fn add(&mut self, piece: &[u8]) {
        let head = self.head.min(piece.len() as u64);
        self.head -= head;
        self.sha256.update(piece.get(usize::try_from(head).unwrap_or(usize::MAX)..).unwrap_or_default());
        self.bytes += piece.len() as u64;
    }

    fn check(self, key: &BackupKey, place: &dyn Store) -> Result<(), Trouble> {
        let Some(expected) = self.expected else { return Ok(()) };
        let found = manifest::hex(&self.sha256.finalize());
        if self.bytes == expected.bytes && found == expected.sha256_behind_head {
            return Ok(());
        }
        let why = if self.bytes == expected.bytes {
            format!("its SHA-256 is {found} and not {}", expected.sha256_behind_head)
        } else {
            format!("it has {} bytes and not {}", self.bytes, expected.bytes)
        };
        Err(Trouble::backup(
            Failure::failed(format!("{key} is DAMAGED in {} and was not copied: {why}", place.describe()))
                .hint(format!("Take a new backup: dokku pgbackup:backup {}", key.service()))
                .hint(format!("See what can be read of this one: dokku pgbackup:check {} {key}", key.service())),
        ))
    }
}

/// A store doesn't know that it is the second one: what to type names the properties of the first.
pub fn of_the_copy(mut failure: Failure) -> Failure {
    failure.hints.iter_mut().for_each(|hint| *hint = hint_of_the_copy(hint));
    failure
}

/// The same for one hint.
pub fn hint_of_the_copy(hint: &str) -> String {
    let words: Vec<&str> = hint.split(' ').collect();
    let mut mapped: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let is_property = before(2).ends_with("pgbackup:set");
        mapped.push(match *word {
            "destination" if is_property => "copy-to".to_owned(),
            "endpoint-url" | "region" | "path-style" | "provider" | "checksums" | "auth" if is_property => {
                format!("copy-{word}")
            }
            word if before(1).ends_with("pgbackup:auth") || before(1).ends_with("pgbackup:iam-policy") => {
                format!("{word} --copy")
            }
            word => word.to_owned(),
        });
    }
    mapped.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_somebody_has_removed_is_missed_where_that_can_be_seen() {
        let key: BackupKey = "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap();
        let record = CopyRecord {
            key: key.clone(),
            destination: "s3://second".into(),
            bytes: 1,
            confirmed_by: "1 part, MD5".into(),
        };
        let state = Copies::of(&[Entry::now(Event::Copy(record), None)], "s3://first", "s3://second");
        assert_eq!(gone(&state, None).count(), 0, "nobody may look");
        assert_eq!(gone(&state, Some(&HashSet::from([key.clone()]))).count(), 0);
        assert_eq!(gone(&state, Some(&HashSet::new())).collect::<Vec<_>>(), [key]);
    }

    #[test]
    fn hints_name_the_properties_of_the_copy() {
        for (first, second) in [
            (
                "Look whether the endpoint is right (dokku pgbackup:set <service> endpoint-url https://HOST) and whether",
                "Look whether the endpoint is right (dokku pgbackup:set <service> copy-endpoint-url https://HOST) and whether",
            ),
            (
                "Give the right keys: dokku pgbackup:auth <service> ACCESS_KEY_ID",
                "Give the right keys: dokku pgbackup:auth <service> --copy ACCESS_KEY_ID",
            ),
            (
                "The policy that has it is printed by: dokku pgbackup:iam-policy <service> --role backup",
                "The policy that has it is printed by: dokku pgbackup:iam-policy <service> --copy --role backup",
            ),
            (
                "Type: dokku pgbackup:set prod region eu-central-1",
                "Type: dokku pgbackup:set prod copy-region eu-central-1",
            ),
            (
                "Name a folder: dokku pgbackup:set <service> destination file:///FOLDER",
                "Name a folder: dokku pgbackup:set <service> copy-to file:///FOLDER",
            ),
            ("Make the bucket, or ask", "Make the bucket, or ask"),
        ] {
            assert_eq!(hint_of_the_copy(first), second);
        }
    }

    #[test]
    fn the_digest_begins_behind_the_head() {
        let object = manifest::Object {
            bytes: 9,
            head_bytes: 4,
            sha256_behind_head: manifest::hex(&Sha256::digest(b"dumps")),
            finished: jiff::Timestamp::UNIX_EPOCH,
            proof: None,
        };
        let key: BackupKey = "postgres-prod-2023-04-03-11-00-04.tgz".parse().unwrap();
        let place = crate::store::folder::FolderStore::new("/x");
        let good = |pieces: &[&[u8]]| {
            let mut sum = Sum::new(Some(&object));
            for piece in pieces {
                sum.add(piece);
            }
            sum.check(&key, &place).map_err(|trouble| trouble.failure.to_string())
        };
        assert_eq!(good(&[b"head", b"dumps"]), Ok(()));
        assert_eq!(good(&[b"he", b"addu", b"mps"]), Ok(()));
        assert!(good(&[b"headdumpS"]).unwrap_err().contains("its SHA-256 is"));
        assert!(good(&[b"headdum"]).unwrap_err().contains("it has 7 bytes and not 9"));
    }
}
