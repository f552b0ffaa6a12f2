//! Which backup is meant: a key, a part of one, `latest`, or the newest that started before a moment.
//!
//! It always comes to exactly one backup or to an error that lists what it could have been: restoring the wrong one is
//! worse than asking again.

use super::moment::Moment;
use super::{Backup, Catalog};
use crate::error::{self, Failure, Kind};
use crate::store::StoreError;
use crate::store::key::BackupKey;
use crate::text::printable;

/// How many candidates an error shows.
const SHOWN: usize = 8;

/// What the user typed in the place of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// `latest`.
    Latest,
    /// `--before`: the newest that started before this moment.
    Before(Moment),
    /// A key, with or without the destination in front, or any part of one.
    Part(String),
}

impl Selector {
    /// From an argument and the option `--before`, of which exactly one must be given.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it is none or both.
    pub fn new(argument: Option<&str>, before: Option<Moment>) -> Result<Self, Failure> {
        match (argument.map(str::trim), before) {
            (None, Some(moment)) => Ok(Self::Before(moment)),
            (Some("latest"), None) => Ok(Self::Latest),
            (Some(text), None) if !text.is_empty() => Ok(Self::Part(text.to_owned())),
            (Some(_), Some(_)) => {
                Err(Failure::usage("Please give a backup or --before, not both of them")
                    .hint("latest counts as a backup"))
            }
            (_, None) => Err(Failure::usage("Please specify a backup").hint(
                "A backup is a full key, any part that only one key has, latest, or --before \"2023-04-03 11:30\"",
            )),
        }
    }

    /// The key it names in full, if it does.
    pub fn key(&self) -> Option<BackupKey> {
        match self {
            Self::Part(text) => text.rsplit('/').next()?.parse().ok(),
            Self::Latest | Self::Before(_) => None,
        }
    }

    /// What was chosen, for the plan that a user reads: `the newest backup before 2023-04-03 11:30:00 UTC (safety backups aside)`.
    pub fn describe(&self) -> String {
        match self {
            Self::Latest => "the newest backup (safety backups aside)".to_owned(),
            Self::Before(moment) => format!("the newest backup before {moment} (safety backups aside)"),
            Self::Part(text) => format!("the backup that fits {}", printable(text)),
        }
    }
}

impl Catalog {
    /// The one backup that is meant.
    ///
    /// # Errors
    /// [`Kind::NoSuchBackup`] when there is none, or more than one; the hints list what there is.
    pub fn select(&self, selector: &Selector) -> Result<&Backup, Failure> {
        let service = &self.service;
        if let Some(key) = selector.key().filter(|key| key.service() != service) {
            return Err(Failure::new(
                Kind::NoSuchBackup,
                format!("{key} is a backup of the service {}, not of {service}", key.service()),
            )
            .hint(format!("See the backups of {service} with: dokku pgbackup:list {service}")));
        }
        match selector {
            Selector::Latest => self.backups.first().ok_or_else(|| self.none(&self.nothing())),
            Selector::Before(moment) => {
                self.backups.iter().find(|backup| backup.key.started() < moment.instant()).ok_or_else(|| {
                    if self.backups.is_empty() {
                        self.none(&self.nothing())
                    } else {
                        self.none(&format!("No backup of {service} started before {moment}"))
                    }
                })
            }
            Selector::Part(text) => self.by_part(text),
        }
    }

    fn by_part(&self, text: &str) -> Result<&Backup, Failure> {
        // A full key first: without it `….tgz` would also fit `….tgz.gpg`.
        if let Some(backup) = self.backups.iter().find(|backup| self.is_full_name(text, &backup.key)) {
            return Ok(backup);
        }
        let fitting: Vec<&Backup> = if text.contains('/') {
            Vec::new() // another destination's
        } else {
            self.backups.iter().filter(|backup| backup.key.to_string().contains(text)).collect()
        };
        match *fitting.as_slice() {
            [backup] => Ok(backup),
            [] if self.backups.is_empty() => Err(self.none(&self.nothing())),
            [] => Err(self.none(&format!("No backup of {} is called {}", self.service, printable(text)))),
            ref several => {
                let mut failure = Failure::new(
                    Kind::NoSuchBackup,
                    format!("{} fits {} backups of {}", printable(text), several.len(), self.service),
                );
                failure.hints = candidates(several);
                Err(failure.hint("Give more of the key"))
            }
        }
    }

    /// `key`, `prefix/key` and `s3://bucket/prefix/key` are the same backup.
    fn is_full_name(&self, text: &str, key: &BackupKey) -> bool {
        let full = format!("{}/{key}", self.destination);
        full == text
            || full.strip_suffix(text).is_some_and(|front| front.ends_with('/') && text.ends_with(&key.to_string()))
    }

    fn nothing(&self) -> String {
        if self.not_listed.is_some() {
            return format!("Which backups of {} there are in {} is not known", self.service, self.destination);
        }
        format!("There are no backups of {} in {}", self.service, self.destination)
    }

    fn none(&self, message: &str) -> Failure {
        let service = &self.service;
        let mut failure = Failure::new(Kind::NoSuchBackup, message);
        if !self.backups.is_empty() {
            failure.hints = candidates(&self.backups.iter().collect::<Vec<_>>());
        }
        match &self.not_listed {
            Some(StoreError::Denied { permission, resource }) => {
                let hints = error::hints_of_denied(permission, resource);
                let reason = StoreError::Denied { permission: permission.clone(), resource: resource.clone() };
                let failure = failure.because(reason).hint("Only this host's own history could be searched");
                hints.into_iter().fold(failure, Failure::hint)
            }
            Some(reason) => failure.hint(format!("Only this host's own history could be searched: {reason}")),
            None if self.backups.is_empty() => failure
                .hint(format!("Take one with: dokku pgbackup:backup {service}"))
                .hint(format!("See where they are looked for with: dokku pgbackup:report {service}")),
            None => failure,
        }
    }
}

fn candidates(backups: &[&Backup]) -> Vec<String> {
    let mut hints: Vec<String> = backups.iter().take(SHOWN).map(|backup| backup.key.to_string()).collect();
    if let Some(rest) = backups.len().checked_sub(SHOWN).filter(|rest| *rest > 0)
        && let Some(first) = backups.first()
    {
        hints.push(format!("and {rest} more, see them with: dokku pgbackup:list {}", first.key.service()));
    }
    hints
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::catalog_of;
    use super::*;

    const KEYS: [&str; 4] = [
        "postgres-prod-2023-04-03-14-30-02.tgz",
        "postgres-prod-2023-04-03-11-00-04.tgz.gpg",
        "postgres-prod-2023-04-03-11-00-04.tgz",
        "postgres-prod-2023-04-02-14-30-01.tgz",
    ];

    fn select(text: &str) -> Result<String, Failure> {
        let catalog = catalog_of("prod", &KEYS);
        catalog.select(&Selector::new(Some(text), None)?).map(|backup| backup.key.to_string())
    }

    fn before(text: &str) -> Result<String, Failure> {
        let catalog = catalog_of("prod", &KEYS);
        catalog.select(&Selector::new(None, Some(text.parse().unwrap()))?).map(|backup| backup.key.to_string())
    }

    #[test]
    fn finds_the_one_that_is_meant() {
        for (text, index) in [
            ("latest", 0),
            ("2023-04-02", 3),
            ("04-03-14", 0),
            ("postgres-prod-2023-04-03-11-00-04.tgz", 2),
            ("postgres-prod-2023-04-03-11-00-04.tgz.gpg", 1),
            ("gpg", 1),
            ("backups/postgres-prod-2023-04-03-11-00-04.tgz", 2),
            ("s3://bucket/backups/postgres-prod-2023-04-03-11-00-04.tgz", 2),
        ] {
            assert_eq!(select(text).unwrap(), KEYS[index], "{text}");
        }
    }

    #[test]
    fn before_is_before_its_start() {
        assert_eq!(before("2023-04-03 11:30").unwrap(), KEYS[1]);
        assert_eq!(before("2023-04-03 11:00:04").unwrap(), KEYS[3]);
        assert_eq!(before("2023-04-03 11:00:05").unwrap(), KEYS[1]);
        assert_eq!(before("2023-04-03 13:30 +02:00").unwrap(), KEYS[1]);
        assert_eq!(before("2030-01-01").unwrap(), KEYS[0]);
        let error = before("2023-04-02").unwrap_err();
        assert_eq!(error.kind, Kind::NoSuchBackup);
        assert_eq!(error.message, "No backup of prod started before 2023-04-02 00:00:00 UTC");
        assert_eq!(error.hints, KEYS);
    }

    #[test]
    fn refuses_to_guess() {
        let error = select("2023-04-03").unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (Kind::NoSuchBackup, "2023-04-03 fits 3 backups of prod"));
        assert_eq!(error.hints.len(), 4);
        for text in [
            "nothing",
            "postgres-prod-2024-01-01-00-00-00.tgz",
            "s3://other/backups/postgres-prod-2023-04-03-11-00-04.tgz",
            "ups/postgres-prod-2023-04-03-11-00-04.tgz",
        ] {
            assert_eq!(select(text).unwrap_err().kind, Kind::NoSuchBackup, "{text}");
        }
        let error = select("postgres-prod-2-2023-04-03-11-00-04.tgz").unwrap_err();
        assert!(error.message.contains("is a backup of the service prod-2, not of prod"), "{error}");
        let none = catalog_of("prod", &[]).select(&Selector::Latest).unwrap_err();
        assert_eq!(none.message, "There are no backups of prod in s3://bucket/backups");
    }

    #[test]
    fn exactly_one_of_two() {
        for (argument, moment) in [(None, None), (Some(""), None), (Some("latest"), Some("2023-04-03"))] {
            let moment = moment.map(|text: &str| text.parse().unwrap());
            assert_eq!(Selector::new(argument, moment).unwrap_err().kind, Kind::Usage);
        }
    }

    proptest! {
        #[test]
        fn one_backup_or_an_error_and_never_another(text in "[a-z0-9./-]{1,45}|\\PC{1,20}") {
            if let Ok(key) = select(&text) {
                prop_assert!(key.contains(&text) || text.ends_with(&key) || text == "latest");
            }
        }

        #[test]
        fn before_is_the_newest_that_fits(second in 1_680_000_000i64..1_681_000_000) {
            let moment: Moment = jiff::Timestamp::from_second(second).unwrap().to_string().parse().unwrap();
            let catalog = catalog_of("prod", &KEYS);
            let fits = |backup: &&Backup| backup.key.started().as_second() < second;
            let expected = catalog.backups.iter().filter(fits).map(|backup| backup.key.started()).max();
            let found = catalog.select(&Selector::Before(moment)).ok().map(|backup| backup.key.started());
            prop_assert_eq!(found, expected);
        }
    }
}
