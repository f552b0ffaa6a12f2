//! The edge between what went wrong and what the user reads: one [`Failure`] with a kind and hints.
//!
//! Inside the house errors are `anyhow` with context. A command turns what it knows into a `Failure` (what failed, why,
//! what to type next); anything else becomes a plain one. The kinds are few because scripts branch on exit codes, and
//! 10 is never among them: Dokku reads 10 as "not a command of mine".

use std::fmt;

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

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Finds the `Failure` inside an error, keeping the context that was put around it, or makes a plain one.
    pub fn from_error(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) if error.chain().any(<dyn std::error::Error>::is::<crate::interrupt::Interrupted>) => {
                Self::new(Kind::Interrupted, "Interrupted")
            }
            Err(error) => Self::failed(format!("{error:#}")),
        }
    }
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
