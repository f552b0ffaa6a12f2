//! How backups are encrypted, and whether this host can read them again: a backup that nobody can decrypt looks as good as any other until
//! the worst day.

use std::time::Duration;

use anyhow::Result;

use super::bounded::bounded;
use super::finding::{Finding, Group};
use crate::archive::encryption::{EncryptionError, Recipient, Secrets};
use crate::commands::context::Context;
use crate::commands::encryption::in_force::{How, InForce};
use crate::commands::{encryption_test, spool};
use crate::dokku::properties::Subject;
use crate::service::Service;
use crate::store::StoreError;
use crate::store::key::BackupKey;
use crate::ui::human;

/// Deriving a key from a passphrase takes tenths of a second, the beginning of an object a call.
const LIMIT: Duration = Duration::from_secs(20);

/// Looks at how a service's backups are encrypted. `newest` is the newest backup that the store lists, `expected` about what a backup
/// takes.
///
/// # Errors
/// When we were asked to stop.
pub fn examine(
    context: &Context,
    service: &Service,
    newest: Option<&BackupKey>,
    expected: Option<u64>,
) -> Result<Vec<Finding>> {
    let subject = Subject::Service(service.name.clone());
    let in_force = match InForce::of(context, &subject) {
        Ok(in_force) => in_force,
        Err(error) => return Ok(vec![Group::Backups.failed("encryption", error)]),
    };
    let recipient = match in_force.recipient(context, &subject) {
        Ok(recipient) => recipient,
        Err(error) => return Ok(vec![Group::Backups.failed("encryption", error)]),
    };
    let how = in_force.describe();
    let Some(recipient) = recipient else {
        let text = if matches!(in_force.how, How::Off) {
            format!("Backups are not encrypted, on purpose: {how}")
        } else {
            "Backups are not encrypted".to_owned()
        };
        return Ok(vec![Group::Backups.ok("encryption", text)]);
    };
    let mut findings = match &in_force.how {
        How::Passphrase(passphrase) => {
            let secrets = || Secrets { passphrase: Some(passphrase.clone()), ..Secrets::default() };
            opened(context, service, (&how, recipient, &secrets), newest)?
        }
        How::PublicKey(key) if key.expired() => vec![
            Group::Backups
                .warn("encryption", format!("Backups are encrypted with {how}, which has expired; it is still used"))
                .fix(format!("Give a new one: dokku pgbackup:encryption {} --public-key FILE", service.name)),
        ],
        _ => vec![Group::Backups.ok(
            "encryption",
            format!(
                "Backups are encrypted with {how}; only its private key decrypts them, which is not on this host (prove that it does with \
                 pgbackup:encryption:test)"
            ),
        )],
    };
    findings.extend(room(context, service, expected));
    Ok(findings)
}

/// Tries the passphrase: on a probe, and on the newest backup, which may have been made with another one.
fn opened(
    context: &Context,
    service: &Service,
    (how, recipient, secrets): (&str, Recipient, &dyn Fn() -> Secrets),
    newest: Option<&BackupKey>,
) -> Result<Vec<Finding>> {
    let of_probe = secrets();
    let probed = bounded(LIMIT, move || encryption_test::comes_back(&recipient, &of_probe));
    crate::interrupt::check()?;
    if let Err(error) = probed {
        return Ok(vec![Group::Backups.failed("encryption", error)]);
    }
    let text = format!("Backups are encrypted with {how}, and this host decrypts them");
    let Some(newest) = newest.filter(|key| key.encrypted()) else {
        return Ok(vec![Group::Backups.ok("encryption", text)]);
    };
    let Ok(store) = context.store(service) else { return Ok(vec![Group::Backups.ok("encryption", text)]) };
    let (name, of_newest) = (newest.to_string(), secrets());
    let read = bounded(LIMIT, move || encryption_test::beginning(&name, store.as_ref(), &of_newest));
    crate::interrupt::check()?;
    let is = |wanted: fn(&EncryptionError) -> bool, error: &anyhow::Error| {
        error.chain().any(|cause| cause.downcast_ref().is_some_and(wanted))
    };
    Ok(vec![match read {
        Ok(()) => Group::Backups.ok("encryption", format!("{text}, the newest one ({newest}) too")),
        Err(error) if is(|error| matches!(error, EncryptionError::WrongPassphrase), &error) => Group::Backups
            .warn("encryption", format!("The newest backup, {newest}, was encrypted with another passphrase than is set now"))
            .fix(format!("Prove that the one it was made with is still known: dokku pgbackup:encryption:test {} --passphrase-file -", service.name))
            .fix(format!("Take one with the present one: dokku pgbackup:backup {}", service.name)),
        Err(error) if is(|error| matches!(error, EncryptionError::NoKey { .. } | EncryptionError::OtherKey { .. }), &error) => {
            Group::Backups
                .warn("encryption", format!("The newest backup, {newest}, was encrypted for a public key, and a passphrase is set now"))
                .fix(format!("Take one with the passphrase: dokku pgbackup:backup {}", service.name))
        }
        // A role that may only write: said elsewhere.
        Err(error) if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(StoreError::Denied { .. }))) => {
            Group::Backups.ok("encryption", text)
        }
        Err(error) => Group::Backups
            .warn("encryption", format!("{text}; of the newest one, {newest}, that is not known: {error:#}"))
            .fix(format!("Look at it: dokku pgbackup:check {} {newest}", service.name)),
    }])
}

/// An encrypted backup waits on this host's disk before it is sent.
fn room(context: &Context, service: &Service, expected: Option<u64>) -> Option<Finding> {
    let folder = context.environment.data_folder();
    let (expected, free) = (expected?, spool::free(&folder)?);
    let needed = expected.saturating_add(spool::LEFT_FREE);
    let text = format!(
        "An encrypted backup waits in {} before it is sent and needs about {} there; {} are free",
        folder.display(),
        human::size(expected),
        human::size(free)
    );
    Some(if free >= needed {
        Group::Backups.ok("spool", text)
    } else {
        Group::Backups
            .fail("spool", format!("{text}, of which {} stay free", human::size(spool::LEFT_FREE)))
            .fix(format!("Free some space and take the backup again: dokku pgbackup:backup {}", service.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;
    use crate::commands::doctor::tests::world;
    use crate::durable;
    use crate::secret::Secret;
    use crate::settings::OwnEncryption;

    #[test]
    fn what_is_in_force_is_tried() {
        let (_folder, context, service) = world();
        durable::make_folder(&context.environment.data_folder(), 0o700).unwrap();
        let found = |expected| {
            let found = examine(&context, &service, None, expected).unwrap();
            found.into_iter().map(|finding| (finding.check, finding.verdict, finding.message)).collect::<Vec<_>>()
        };
        assert_eq!(found(Some(1)), [("encryption", Verdict::Ok, "Backups are not encrypted".to_owned())]);
        let properties = context.properties();
        OwnEncryption::Passphrase(Secret::new("a * b?")).write(&properties, &Subject::Global).unwrap();
        let [encryption, spool] = found(Some(1)).try_into().unwrap();
        assert_eq!(
            encryption.2,
            "Backups are encrypted with a passphrase (set by pgbackup:encryption --global), and this host decrypts them"
        );
        assert_eq!((spool.0, spool.1), ("spool", Verdict::Ok));
        assert_eq!(found(Some(u64::MAX / 2))[1].1, Verdict::Fail);
        OwnEncryption::Off.write(&properties, &Subject::Service(service.name.clone())).unwrap();
        assert!(found(None)[0].2.starts_with("Backups are not encrypted, on purpose"));
        properties.set(&Subject::Service(service.name.clone()), "encryption", "nonsense").unwrap();
        assert_eq!(found(None)[0].1, Verdict::Fail);
    }
}
