//! Arguments that several commands share: which backup, which form of output, and the switches that Dokku knows everywhere.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::catalog::moment::Moment;
use crate::catalog::selector::Selector;
use crate::commands::renewal;
use crate::error::Failure;
use crate::service::name::ServiceName;
use crate::store::VersionId;
use crate::store::destination::Destination;

/// Dokku's own flags, taken before the command by Dokku and after it by us.
#[derive(Debug, Clone, Default, Args)]
pub struct Switches {
    /// Print results, warnings and errors only
    #[arg(long, global = true, hide = true)]
    pub quiet: bool,
    /// Show what is being done, on standard error
    #[arg(long, global = true, hide = true)]
    pub trace: bool,
    /// Go ahead without asking
    #[arg(long, global = true, hide = true)]
    pub force: bool,
    /// The app whose linked service is meant where no service is given
    #[arg(long, global = true, hide = true, value_name = "APP")]
    pub app: Option<String>,
}

/// For commands that ask before they act; `Context::confirm` does what it says.
#[derive(Debug, Clone, Args)]
pub struct Confirmation {
    /// Go ahead without asking for the service's name
    #[arg(short, long)]
    pub force: bool,
}

/// For commands that read backups: what is done with one that nobody vouches for.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Trust {
    /// Take a backup that is not signed, or not by a key that this host knows, although it has to be
    #[arg(long)]
    pub allow_unsigned: bool,
}

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Stdout,
    /// For programs: see docs/json-output.md.
    Json,
}

/// For commands that print data.
#[derive(Debug, Clone, Default, Args)]
pub struct Output {
    /// Form of the output: stdout or json
    #[arg(long, value_name = "FORMAT", default_value = "stdout", hide_default_value = true)]
    pub format: Format,
}

impl Output {
    /// Whether JSON is asked for.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Which backup is meant: one of the two is given.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The backup: its key, any part of the key that fits only one, or latest
    #[arg(value_name = "backup", required_unless_present = "before")]
    pub backup: Option<String>,
    /// Take the newest backup that began before this time (UTC unless it has an offset): "2023-04-03 11:30"
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub before: Option<Moment>,
}

impl Which {
    /// What was asked for.
    ///
    /// # Errors
    /// When nothing was, or two things.
    pub fn selector(&self) -> Result<Selector, Failure> {
        Selector::new(self.backup.as_deref(), self.before)
    }
}

/// Backups of another host, or of another service: where they are is all that this host need be told.
#[derive(Debug, Clone, Default, Args)]
pub struct Elsewhere {
    /// Read backups here instead of in the service's own destination: s3://bucket/prefix or file:///folder; of a host that is gone nothing else is needed
    #[arg(long, value_name = "DESTINATION")]
    pub from: Option<Destination>,
    /// With --from: what the service was called there, where it has another name
    #[arg(long = "service", value_name = "SERVICE", requires = "from")]
    pub source: Option<ServiceName>,
}

impl Elsewhere {
    /// The command that lists the backups there.
    pub fn list(&self, service: &ServiceName) -> String {
        let from = self
            .from
            .as_ref()
            .map(|from| format!(" --from {}", renewal::quoted(&from.to_string())))
            .unwrap_or_default();
        let source = self.source.as_ref().map(|source| format!(" --service {source}")).unwrap_or_default();
        format!("dokku pgbackup:list {service}{from}{source}")
    }
}

/// Which backup is read: from the service's store or another one, a file, a link, standard input.
#[derive(Debug, Clone, Default, Args)]
pub struct Chosen {
    /// The backup: its key or any part of the key that fits only one or latest; the full name of any other object there; a presigned https link; - reads it from standard input
    #[arg(value_name = "backup", required_unless_present_any = ["before", "file"])]
    pub backup: Option<String>,
    /// Take the newest backup that began before this time (UTC unless it has an offset): "2023-04-03 11:30"
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    pub before: Option<Moment>,
    /// Read this file of the host instead of an object of a store
    #[arg(long, value_name = "PATH", conflicts_with_all = ["backup", "before", "from", "source", "version_id"])]
    pub file: Option<PathBuf>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub at: AtVersion,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub trust: Trust,
}

/// An earlier version of an object, where the bucket keeps them.
#[derive(Debug, Clone, Default, Args)]
pub struct AtVersion {
    /// Read this version of the object, as pgbackup:list --versions shows it: one that was replaced or deleted
    #[arg(long, value_name = "ID", conflicts_with = "before")]
    pub version_id: Option<VersionId>,
}
/// A number of things to show.
///
/// # Errors
/// In words for a user, where it is none.
pub fn how_many(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| "it is not a number from 1 on".to_owned())
}
