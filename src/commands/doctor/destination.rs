//! Where backups go, tried out: an upload in parts begun and taken back, a small object stored, read, listed and deleted.
//!
//! A role that may only write is a good practice and no failure: what it can't do is said with what that is needed for. Only the test
//! object is changed, which no list takes for a backup. Where it may not be deleted it always has the same name, so that there is
//! never more than one. One that the bucket's own object lock keeps is not written again before it may go.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};

use super::bounded::{bounded, to_the_end};
use super::finding::{Finding, Group, Verdict};
use super::keys;
use crate::commands::auth;
use crate::commands::context::Context;
use crate::commands::copying::hint_of_the_copy;
use crate::error::Failure;
use crate::interrupt;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::{KeysOf, Settings};
use crate::store::destination::Destination;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError, Terms, Unfinished, UploadPlan};
use crate::text::count;
use crate::ui::human;

/// One call; a wrong address is told within ten seconds.
const LIMIT: Duration = Duration::from_secs(15);
/// An upload that is expected to be this long is made in parts.
const IN_PARTS: u64 = 64 << 20;
/// A clock that is this far off makes wrong names and, a little later, refused signatures.
const BAD_CLOCK: SignedDuration = SignedDuration::from_mins(5);
/// The `Date` of an answer has whole seconds, and answers take a while.
const POOR_CLOCK: SignedDuration = SignedDuration::from_secs(30);

/// An upload that has taken this long is nobody's any more, as a rule.
const LONG_UPLOAD: SignedDuration = SignedDuration::from_hours(24);

/// How a call went.
#[derive(Debug)]
pub enum Trial {
    /// It may be done.
    Granted,
    /// The keys may not do it.
    Denied {
        /// `s3:PutObject`.
        permission: String,
        /// On what.
        resource: String,
    },
    /// It may be done, once the store's object lock allows it.
    Retained,
    /// It failed for another reason.
    Failed(anyhow::Error),
    /// It was not tried, as what it needs had failed.
    Untried,
}

impl Trial {
    fn of<T>(result: Result<T>) -> Self {
        match result {
            Ok(_) => Self::Granted,
            Err(error) => match error.downcast_ref() {
                Some(StoreError::Denied { permission, resource }) => {
                    Self::Denied { permission: permission.clone(), resource: resource.clone() }
                }
                Some(StoreError::Retained { .. }) => Self::Retained,
                _ => Self::Failed(error),
            },
        }
    }

    fn is_granted(&self) -> bool {
        matches!(self, Self::Granted)
    }
}

/// What was tried.
#[derive(Debug)]
pub struct Trials {
    /// An upload in parts.
    pub parts: Trial,
    /// Taking it back.
    pub abort: Trial,
    /// A small object.
    pub write: Trial,
    /// Reading it.
    pub read: Trial,
    /// Listing the service's backups.
    pub list: Trial,
    /// Deleting the small object.
    pub delete: Trial,
    /// Uploads of the service's backups that nobody has completed for a while; none where that may not be seen.
    pub unfinished: Vec<Unfinished>,
    /// Its name, where it is still there.
    pub left: Option<String>,
    /// The newest backup that the list has.
    pub newest: Option<BackupKey>,
    /// How we get on with the store.
    pub terms: Terms,
}

/// Tries a service's destination; the newest backup there, and what was found.
///
/// # Errors
/// When we were asked to stop; nothing is left behind then, or it is said what.
pub fn examine(context: &Context, service: &Service) -> Result<(Option<BackupKey>, Vec<Finding>)> {
    let name = &service.name;
    let settings = match context.settings(name) {
        Ok(settings) => settings,
        Err(error) => return Ok((None, vec![Group::Destination.failed("settings", error)])),
    };
    let Some(destination) = &settings.destination else {
        let finding = Group::Destination
            .fail("destination", "No destination is set")
            .fix(format!("Set it: dokku pgbackup:set {name} destination s3://BUCKET"))
            .fix(format!("Or take over what dokku-postgres has: dokku pgbackup:adopt {name}"));
        return Ok((None, vec![finding]));
    };
    let mut findings = vec![Group::Destination.ok("destination", format!("Backups go to {destination}"))];
    let (newest, found) = place(context, (service, KeysOf::Destination), &settings, context.store(service))?;
    findings.extend(found);
    Ok((newest, findings))
}

/// Tries the second destination in the same way; nothing where none is set.
///
/// # Errors
/// See [`examine`].
pub fn examine_copy(context: &Context, service: &Service) -> Result<Vec<Finding>> {
    // Settings that can't be read are told by the first one.
    let Some(settings) = context.settings(&service.name).ok().and_then(|settings| settings.of_copy()) else {
        return Ok(Vec::new());
    };
    let second = settings.destination(&service.name)?;
    let mut findings = vec![Group::Copy.ok("destination", format!("Copies go to {second}"))];
    let store = context.copy_store(service).transpose().unwrap_or_else(|| Err(anyhow!("no second destination is set")));
    let (_, found) = place(context, (service, KeysOf::Copy), &settings, store)?;
    findings.extend(found.into_iter().map(|finding| Finding {
        group: Group::Copy,
        fixes: finding.fixes.iter().map(|fix| hint_of_the_copy(fix)).collect(),
        ..finding
    }));
    Ok(findings)
}

/// Tries one place.
fn place(
    context: &Context,
    (service, of): (&Service, KeysOf),
    settings: &Settings,
    store: Result<Box<dyn Store>>,
) -> Result<(Option<BackupKey>, Vec<Finding>)> {
    let name = &service.name;
    let destination = settings.destination(name)?;
    let mut findings = Vec::new();
    let store: Arc<dyn Store> = match store {
        Ok(store) => Arc::from(store),
        Err(error) => {
            findings.push(Group::Destination.failed("credentials", error));
            return Ok((None, findings));
        }
    };
    let host = context.environment.host_name();
    match try_out(&store, &host, name)? {
        Ok(trials) => {
            if matches!(destination, Destination::S3 { .. }) {
                findings.extend(keys::examine(context, settings, (service, of), &trials.terms)?);
                findings.extend(terms(&trials.terms));
            }
            findings.extend(judge(&trials, name, &store.describe(), settings.copy.is_some()));
            Ok((trials.newest, findings))
        }
        Err(error) => {
            if matches!(destination, Destination::S3 { .. }) {
                findings.extend(keys::examine(context, settings, (service, of), &store.terms())?);
                findings.extend(clock(&store.terms()));
            }
            findings.push(
                auth::address_left_behind(service, settings)
                    .into_iter()
                    .fold(Group::Destination.failed("store", error), Finding::fix),
            );
            Ok((None, findings))
        }
    }
}

/// One call, bounded in time.
fn call<T: Send + 'static>(
    store: &Arc<dyn Store>,
    what: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T> {
    let store = Arc::clone(store);
    bounded(LIMIT, move || Ok(what(store.as_ref())?))
}

/// Tries everything. The inner error is that of a store that can't be used at all: wrong keys, bucket, region or address.
fn try_out(store: &Arc<dyn Store>, host: &str, service: &ServiceName) -> Result<Result<Trials>> {
    let fixed = object_name(host);
    let chance = getrandom::u32().unwrap_or_else(|_| std::process::id());
    let random = format!("{fixed}-{chance:08x}");

    // First what is told within seconds when a setting is wrong.
    let name = random.clone();
    let begun = call(store, move |store| store.upload(&name, UploadPlan { head: 0, expected: IN_PARTS }));
    interrupt::check()?;
    let (parts, abort) = match begun {
        Ok(upload) => (Trial::Granted, Trial::of(to_the_end(LIMIT, move || Ok(upload.abort()?)))),
        Err(error) => match Trial::of::<()>(Err(error)) {
            Trial::Failed(error) => return Ok(Err(error)),
            other => (other, Trial::Untried),
        },
    };
    interrupt::check()?;
    // Deleting what is not there asks for the same permission.
    let name = random.clone();
    let may_delete = Trial::of(call(store, move |store| store.delete(&name)));
    interrupt::check()?;

    // In a bucket that retains what it is given by itself it can't go, whoever may delete.
    let may_be_kept = call(store, |store| store.may_retain()).unwrap_or(true);
    interrupt::check()?;
    let name = fixed.clone();
    let kept = may_be_kept && call(store, move |store| store.retained_until(&name)).is_ok_and(|until| until.is_some());
    interrupt::check()?;
    let object = TestObject { store, name: if may_delete.is_granted() && !may_be_kept { random } else { fixed } };
    // The same each time: another one may write it, too.
    let text = format!("A test of dokku pgbackup:doctor on {host}\n");
    let (name, bytes) = (object.name.clone(), text.clone().into_bytes());
    // One that an earlier run has left under a lock proves as much as a second one would.
    let write =
        if kept { Trial::Granted } else { Trial::of(call(store, move |store| store.put_for_a_moment(&name, &bytes))) };
    let stopped = interrupt::check();
    let read = match (&write, &stopped) {
        (_, Err(_)) => Trial::Untried,
        (Trial::Granted, Ok(())) => Trial::of(object.is_read_as(&text)),
        // What isn't there is answered differently to those who may read.
        _ => match Trial::of(object.is_read_as("")) {
            Trial::Failed(error) if matches!(error.downcast_ref(), Some(StoreError::NotFound { .. })) => Trial::Granted,
            other => other,
        },
    };
    let (delete, left) = object.remove(may_delete, &write, kept);
    stopped?;
    interrupt::check()?;

    let start = format!("postgres-{service}-");
    let listed = call(store, move |store| store.list(&start));
    interrupt::check()?;
    let newest =
        listed.as_ref().ok().and_then(|objects| newest(objects.iter().map(|object| object.name.as_str()), service));
    let list = Trial::of(listed);
    let start = format!("postgres-{service}-");
    let mut unfinished = call(store, move |store| store.unfinished(&start)).unwrap_or_default();
    interrupt::check()?;
    // `prod-2` is not `prod`, and what has just begun is somebody's work.
    let now = Timestamp::now();
    unfinished.retain(|upload| {
        upload.name.parse::<BackupKey>().is_ok_and(|key| key.service() == service)
            && upload.begun.is_none_or(|begun| now.duration_since(begun) > LONG_UPLOAD)
    });
    Ok(Ok(Trials { parts, abort, write, read, list, delete, unfinished, left, newest, terms: store.terms() }))
}

/// A name that says what it is, and that no list takes for a backup.
fn object_name(host: &str) -> String {
    let plain: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(100).collect();
    format!("pgbackup-doctor-{plain}")
}

/// The newest of the service's backups among these names.
fn newest<'a>(names: impl Iterator<Item = &'a str>, service: &ServiceName) -> Option<BackupKey> {
    names
        .filter_map(|name| name.parse::<BackupKey>().ok())
        .filter(|key| key.service() == service)
        .max_by_key(BackupKey::started)
}

struct TestObject<'a> {
    store: &'a Arc<dyn Store>,
    name: String,
}

impl TestObject<'_> {
    fn is_read_as(&self, text: &str) -> Result<()> {
        let (name, length) = (self.name.clone(), text.len() as u64);
        let found = {
            let store = Arc::clone(self.store);
            bounded(LIMIT, move || {
                let mut found = Vec::new();
                store.open(&name)?.take(length + 1).read_to_end(&mut found)?;
                Ok(found)
            })?
        };
        if found == text.as_bytes() { Ok(()) } else { Err(anyhow!("the store gave back other bytes than it was sent")) }
    }

    /// Deletes it, also when we were asked to stop; how that went, and its name where it is still there.
    fn remove(&self, may_delete: Trial, write: &Trial, kept: bool) -> (Trial, Option<String>) {
        let may_be_there = !matches!(write, Trial::Denied { .. } | Trial::Untried);
        let left = format!("{}/{}", self.store.describe(), self.name);
        if !may_be_there || !may_delete.is_granted() {
            return (may_delete, write.is_granted().then_some(left));
        }
        if kept {
            return (Trial::Retained, Some(left));
        }
        let (store, name) = (Arc::clone(self.store), self.name.clone());
        let deleted = Trial::of(to_the_end(LIMIT, move || Ok(store.delete(&name)?)));
        let left = (!deleted.is_granted()).then_some(left);
        (deleted, left)
    }
}

fn terms(terms: &Terms) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(region) = &terms.region {
        findings.push(Group::Destination.ok("region", format!("Requests are signed for the region {region}")));
    }
    if let Some(dialect) = &terms.dialect {
        findings.push(Group::Destination.ok("checksums", format!("The store checks {dialect}")));
    }
    findings.extend(clock(terms));
    findings
}

fn clock(terms: &Terms) -> Option<Finding> {
    let ahead = terms.clock_ahead?;
    let off = ahead.abs();
    if off <= POOR_CLOCK {
        return Some(Group::Destination.ok("clock", "The clock of this host agrees with the store's"));
    }
    let direction = if ahead.is_positive() { "behind" } else { "ahead of" };
    let text = format!(
        "The clock of this host is {} {direction} the store's: backups get wrong times in their names",
        human::duration(off.unsigned_abs())
    );
    let finding =
        if off > BAD_CLOCK { Group::Destination.fail("clock", text) } else { Group::Destination.warn("clock", text) };
    Some(finding.fix("Set the clock: sudo timedatectl set-ntp true"))
}

/// A permission, and who misses it.
struct Needed<'a> {
    check: &'static str,
    trial: &'a Trial,
    /// That it may be done.
    granted: &'a str,
    /// What doesn't work without it.
    without: &'a str,
    verdict: Verdict,
    /// Whose policy of `iam-policy` has it.
    role: &'static str,
    /// The ways out besides the policy.
    ways: &'a [String],
}

/// Prints the rule that does it.
const RULE: &str = "Or have the bucket remove such parts after a week: dokku pgbackup:iam-policy <service> --lifecycle";

/// What there is to say of a destination that was tried, and whether copies are read from it.
pub fn judge(trials: &Trials, service: &ServiceName, destination: &str, is_copied: bool) -> Vec<Finding> {
    let by_hand = [format!(
        "Or restore a file that comes by another way: ssh dokku@HOST pgbackup:restore {service} - < backup.tgz"
    )];
    let write = if trials.write.is_granted() { &trials.parts } else { &trials.write };
    let mut findings: Vec<Finding> = [
        Needed {
            check: "write",
            trial: write,
            granted: "Backups can be stored",
            without: "no backup can be stored",
            verdict: Verdict::Fail,
            role: "backup",
            ways: &[],
        },
        Needed {
            check: "abort",
            trial: &trials.abort,
            granted: "An interrupted upload can be taken back",
            without: "the parts of an interrupted upload stay, unseen and paid for",
            verdict: Verdict::Warn,
            role: "backup",
            // Its error names the command that removes this one.
            ways: &[format!("Allow s3:AbortMultipartUpload on {destination}/*"), RULE.to_owned()],
        },
        Needed {
            check: "read",
            trial: &trials.read,
            granted: "Backups can be read",
            without: if is_copied {
                "nothing can be copied to the second destination, nor restored or verified by its key"
            } else {
                "restore, verify, info and download by key need it, a backup does not"
            },
            verdict: if is_copied { Verdict::Fail } else { Verdict::Warn },
            role: if is_copied { "backup" } else { "restore" },
            ways: &by_hand,
        },
        Needed {
            check: "list",
            trial: &trials.list,
            granted: "Backups can be listed",
            without: "list, latest and --before know only what this host has made",
            verdict: Verdict::Warn,
            role: "restore",
            ways: &[],
        },
        Needed {
            check: "delete",
            trial: &trials.delete,
            granted: "Backups can be deleted",
            without: "deleting old backups needs it, a backup and a restore do not",
            verdict: Verdict::Warn,
            role: "prune",
            ways: &[],
        },
    ]
    .into_iter()
    .filter_map(|needed| permission(&needed, destination))
    .collect();
    if let Some(oldest) = trials.unfinished.iter().filter_map(|upload| upload.begun).min() {
        let number = count(trials.unfinished.len() as u64, "upload");
        findings.push(
            Group::Destination
                .warn(
                    "unfinished-uploads",
                    format!(
                        "{number} of backups never completed, the oldest begun at {}: their parts are paid for and no list shows them",
                        human::time(oldest)
                    ),
                )
                .fix(format!("See them: aws s3api list-multipart-uploads --bucket {}", bucket_of(destination)))
                .fix(RULE),
        );
    }
    if let (Some(left), Trial::Retained) = (&trials.left, &trials.delete) {
        let text = format!("The bucket's own object lock keeps the test object {left}: one, however often it is tried");
        findings.push(Group::Destination.ok("test-object", text));
    } else if let Some(left) = &trials.left {
        findings.push(
            Group::Destination
                .warn("test-object", format!("The test object {left} is left there, since it may not be deleted"))
                .fix("It is a few bytes long and is written over each time; delete it by hand where it disturbs"),
        );
    }
    findings
}

fn bucket_of(destination: &str) -> &str {
    let path = destination.strip_prefix("s3://").unwrap_or(destination);
    path.split('/').next().unwrap_or(path)
}

fn permission(needed: &Needed, destination: &str) -> Option<Finding> {
    let without = needed.without;
    let finding = match needed.trial {
        Trial::Granted => return Some(Group::Destination.ok(needed.check, needed.granted)),
        Trial::Retained => {
            let text = format!("{}, once the bucket's object lock no longer keeps them", needed.granted);
            return Some(Group::Destination.ok(needed.check, text));
        }
        Trial::Untried => return None,
        Trial::Denied { permission, resource } => {
            let text = format!("The permission {permission} is missing for {destination}: {without}");
            // The test object stands for all of them.
            let resource =
                resource.split_once("pgbackup-doctor-").map_or(resource.clone(), |(folder, _)| format!("{folder}*"));
            let allow =
                format!("Allow {permission} on {resource} in the policy of the role or user whose keys are used");
            let mut finding = if needed.verdict == Verdict::Fail {
                Group::Destination.fail(needed.check, text)
            } else {
                Group::Destination.warn(needed.check, text)
            };
            finding.fixes.push(allow);
            if destination.starts_with("s3://") {
                finding.fixes.push(format!(
                    "That policy is printed by: dokku pgbackup:iam-policy <service> --role {}",
                    needed.role
                ));
            }
            finding
        }
        Trial::Failed(error) => {
            // A store's error tells its cause itself.
            let why = if error.is::<StoreError>() { error.to_string() } else { format!("{error:#}") };
            let failure = Failure::failed(format!("{why}: {without}"));
            let mut finding = Group::Destination.failed(needed.check, failure);
            // A reason that nobody knows is worse than a permission that is withheld on purpose.
            finding.verdict = if needed.check == "abort" { Verdict::Warn } else { Verdict::Fail };
            finding.fixes.extend_from_slice(needed.ways);
            if let Some(StoreError::Misconfigured { hint, .. }) = error.downcast_ref() {
                finding.fixes.push(hint.clone());
            }
            return Some(finding);
        }
    };
    Some(needed.ways.iter().fold(finding, Finding::fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(permission: &str) -> Trial {
        Trial::Denied { permission: permission.to_owned(), resource: "s3://bucket/x".to_owned() }
    }

    fn granted() -> Trials {
        Trials {
            parts: Trial::Granted,
            abort: Trial::Granted,
            write: Trial::Granted,
            read: Trial::Granted,
            list: Trial::Granted,
            delete: Trial::Granted,
            unfinished: Vec::new(),
            left: None,
            newest: None,
            terms: Terms::default(),
        }
    }

    fn bad(trials: &Trials) -> Vec<(&'static str, Verdict)> {
        let findings = judge(trials, &"prod".parse().unwrap(), "s3://bucket", false);
        findings
            .iter()
            .map(|finding| (finding.check, finding.verdict))
            .filter(|(_, verdict)| *verdict != Verdict::Ok)
            .collect()
    }

    #[test]
    fn a_role_that_may_only_write_is_no_failure() {
        assert_eq!(bad(&granted()), []);
        let writer = Trials {
            read: denied("s3:GetObject"),
            list: denied("s3:ListBucket"),
            delete: denied("s3:DeleteObject"),
            left: Some("s3://bucket/pgbackup-doctor-host".into()),
            ..granted()
        };
        assert_eq!(bad(&writer), ["read", "list", "delete", "test-object"].map(|check| (check, Verdict::Warn)));
        // But copies are read from where it writes.
        let findings = judge(&writer, &"prod".parse().unwrap(), "s3://bucket", true);
        let read = findings.iter().find(|finding| finding.check == "read").unwrap();
        assert_eq!(read.verdict, Verdict::Fail);
        assert!(
            read.message
                .ends_with("nothing can be copied to the second destination, nor restored or verified by its key")
        );
    }

    #[test]
    fn what_an_object_lock_keeps_is_no_failure() {
        let left = Some("s3://bucket/pgbackup-doctor-host".to_owned());
        let locked = Trials { delete: Trial::Retained, left, ..granted() };
        assert_eq!(bad(&locked), []);
        let findings = judge(&locked, &"prod".parse().unwrap(), "s3://bucket", false);
        let said = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap().message.clone();
        assert!(said("delete").ends_with("once the bucket's object lock no longer keeps them"));
        assert!(said("test-object").contains("s3://bucket/pgbackup-doctor-host"));
    }

    #[test]
    fn a_role_that_may_not_write_is_one() {
        let reader =
            Trials { parts: denied("s3:PutObject"), abort: Trial::Untried, write: denied("s3:PutObject"), ..granted() };
        assert_eq!(bad(&reader), [("write", Verdict::Fail)]);
        let in_parts = Trials { parts: denied("s3:PutObject"), abort: Trial::Untried, ..granted() };
        assert_eq!(bad(&in_parts), [("write", Verdict::Fail)]);
        let no_abort =
            Trials { abort: Trial::Failed(anyhow!("permission s3:AbortMultipartUpload is missing")), ..granted() };
        assert_eq!(bad(&no_abort), [("abort", Verdict::Warn)]);
        let broken = Trials { read: Trial::Failed(anyhow!("the store gave back other bytes")), ..granted() };
        assert_eq!(bad(&broken), [("read", Verdict::Fail)]);
    }

    #[test]
    fn what_is_missing_has_its_policy_and_what_was_left_its_rule() {
        let judged = |trials: &Trials| judge(trials, &"prod".parse().unwrap(), "s3://bucket/db", false);
        let fixes = |findings: Vec<Finding>, check: &str| {
            findings.into_iter().find(|finding| finding.check == check).unwrap().fixes
        };
        let nobody = Trials {
            parts: denied("s3:PutObject"),
            write: denied("s3:PutObject"),
            abort: denied("s3:AbortMultipartUpload"),
            read: denied("s3:GetObject"),
            list: denied("s3:ListBucket"),
            delete: denied("s3:DeleteObject"),
            ..granted()
        };
        for (check, role) in
            [("write", "backup"), ("abort", "backup"), ("read", "restore"), ("list", "restore"), ("delete", "prune")]
        {
            let fixes = fixes(judged(&nobody), check);
            assert!(fixes.iter().any(|fix| fix.ends_with(&format!("--role {role}"))), "{check}: {fixes:?}");
        }
        let begun = "2026-01-02T03:04:05Z".parse().unwrap();
        let left = Unfinished { name: "postgres-prod-2026-01-02-03-04-05.tgz".into(), begun: Some(begun) };
        let trials = Trials { unfinished: vec![left], ..granted() };
        assert_eq!(bad(&trials), [("unfinished-uploads", Verdict::Warn)]);
        let fixes = fixes(judged(&trials), "unfinished-uploads");
        assert_eq!(fixes[0], "See them: aws s3api list-multipart-uploads --bucket bucket");
        assert!(fixes[1].ends_with("dokku pgbackup:iam-policy <service> --lifecycle"), "{}", fixes[1]);
    }

    #[test]
    fn clocks() {
        let off = |seconds| {
            let terms = Terms { clock_ahead: Some(SignedDuration::from_secs(seconds)), ..Terms::default() };
            clock(&terms).unwrap()
        };
        assert_eq!(off(-29).verdict, Verdict::Ok);
        assert_eq!(off(31).verdict, Verdict::Warn);
        assert!(off(31).message.starts_with("The clock of this host is 31.0s behind the store's"));
        assert_eq!(off(-301).verdict, Verdict::Fail);
        assert!(off(-301).message.starts_with("The clock of this host is 5m01s ahead of the store's"));
        assert!(clock(&Terms::default()).is_none());
    }

    #[test]
    fn the_test_object_is_no_backup_and_the_newest_is_found() {
        let service: ServiceName = "prod".parse().unwrap();
        let test = format!("{}-0a1b2c3d", object_name("a b.example/../x"));
        assert_eq!(test, "pgbackup-doctor-a-b.example-..-x-0a1b2c3d");
        let names = [
            "postgres-prod-2023-04-03-11-00-04.tgz",
            "postgres-prod-2023-04-03-11-00-04.tgz.manifest.json",
            "postgres-prod-2024-04-03-11-00-04.tgz.gpg",
            "postgres-prod-2-2025-04-03-11-00-04.tgz",
            &test,
        ];
        let found = newest(names.into_iter(), &service).unwrap();
        assert_eq!(found.to_string(), "postgres-prod-2024-04-03-11-00-04.tgz.gpg");
    }
}
