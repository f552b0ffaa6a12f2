//! The edge between what went wrong and what the user reads: one [`Failure`] with a kind and hints.
//!
//! Inside the house errors are `anyhow` with context. A command turns what it knows into a `Failure` (what failed, why,
//! what to type next); anything else becomes a plain one. The kinds are few because scripts branch on exit codes, and
//! 10 is never among them: Dokku reads 10 as "not a command of mine".

use std::fmt;

use crate::store::StoreError;

/// What stands in a hint for the service, until somebody who knows it names it: [`Failure::of`].
pub const SERVICE: &str = "<service>";

/// What scripts may branch on; see `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something failed; the message says what.
    Failed,
    /// The command was not understood; nothing was tried.
    Usage,
    /// A verification found a difference between a backup and what was restored.
    Difference,
    /// The backup asked for does not exist, or the words fit several.
    NoSuchBackup,
    /// Another run of pgbackup holds this service.
    Busy,
    /// The backup is saved and good, but not copied to the second destination.
    NotCopied,
    /// The user, or the system, asked us to stop.
    Interrupted,
}

impl Kind {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Difference => 3,
            Self::NoSuchBackup => 4,
            Self::Busy => 5,
            Self::NotCopied => 6,
            Self::Interrupted => 130,
        }
    }
}

/// An error as the user reads it.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What failed: a sentence without a full stop.
    pub message: String,
    /// What to type or look at next, one sentence each.
    pub hints: Vec<String>,
    /// Why it failed, if another error stands behind it.
    pub source: Option<anyhow::Error>,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), source: None }
    }

    /// A plain failure (exit code 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A command that was not understood (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Adds what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Names the service in what to type: a store doesn't know whose it is, and its hints say `<service>`.
    #[must_use]
    pub fn of(mut self, subject: &impl fmt::Display) -> Self {
        let subject = subject.to_string();
        self.hints.iter_mut().for_each(|hint| *hint = hint.replace(SERVICE, &subject));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The failure that the user reads for an error: the one inside it, else what a store or an interruption means, else its text.
    pub fn from_error(error: anyhow::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        // Whatever broke after we were asked to stop broke because of it: a query that was cancelled, a pipe that was closed.
        if crate::interrupt::requested() || find::<crate::interrupt::Interrupted>(&error).is_some() {
            return Self::new(Kind::Interrupted, "Interrupted; what was begun has been taken back");
        }
        match find::<StoreError>(&error) {
            Some(StoreError::Interrupted(_)) => {
                Self::new(Kind::Interrupted, "Interrupted; what was begun has been taken back")
            }
            Some(store) => {
                let kind = if matches!(store, StoreError::NotFound { .. }) { Kind::NoSuchBackup } else { Kind::Failed };
                let failure = Self::new(kind, capitalized(&store.to_string()));
                match store {
                    StoreError::Denied { permission, resource } => {
                        hints_of_denied(permission, resource).into_iter().fold(failure, Self::hint)
                    }
                    StoreError::Misconfigured { hint, .. } => failure.hint(hint),
                    StoreError::Retained { .. } => failure.hint("It can be deleted when that time has passed"),
                    StoreError::Taken { .. } => failure.hint(
                        "Another host has saved a service of this name there in the same second; take the backup again",
                    ),
                    _ => failure,
                }
            }
            None => Self::failed(capitalized(&format!("{error:#}"))),
        }
    }
}

/// What to type where a permission is missing.
pub fn hints_of_denied(permission: &str, resource: &str) -> Vec<String> {
    let mut hints = vec![
        format!("Allow {permission} on {resource} in the policy of the role or user whose keys are used"),
        format!("That policy is printed by: dokku pgbackup:iam-policy {SERVICE} --role {}", role_with(permission)),
    ];
    if permission.starts_with("kms:") {
        hints.push(format!("With the key in it once that is said: dokku pgbackup:set {SERVICE} sse aws:kms:KEY_ARN"));
    }
    hints
}

/// Whose policy of `pgbackup:iam-policy` holds a permission.
pub fn role_with(permission: &str) -> &'static str {
    match permission {
        "s3:PutObject"
        | "s3:AbortMultipartUpload"
        | "s3:PutObjectTagging"
        | "s3:PutObjectRetention"
        | "kms:GenerateDataKey" => "backup",
        "s3:DeleteObject"
        | "s3:ListBucketMultipartUploads"
        | "s3:GetObjectRetention"
        | "s3:GetBucketObjectLockConfiguration" => "prune",
        _ => "restore",
    }
}

/// Looks for an error of a type in the chain of causes, through `io::Error`s too: they hide what they were made of.
fn find<T: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&T> {
    error.chain().find_map(|cause| {
        let mut cause = cause;
        loop {
            if let Some(found) = cause.downcast_ref::<T>() {
                return Some(found);
            }
            cause = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
        }
    })
}

/// With a capital at the front, where that is a plain word: not a key, a URL or a program's name, which one may want to copy.
fn capitalized(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if !first.trim_end_matches(':').chars().all(|letter| letter.is_ascii_lowercase()) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source:#}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
