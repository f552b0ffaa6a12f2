//! What a user can ask for: one file per command, holding its arguments (their doc comments are the help) and its `run`.
//!
//! A new command is its file, a `mod` line, a variant and an arm here, and a link in `subcommands/`; a test compares the
//! tree with the links, the compiler the rest.

pub mod arguments;
pub mod auth;
pub mod context;
pub mod help;
pub mod report;
pub mod set;
pub mod version;

use anyhow::Result;

pub use context::Context;

/// A command with its arguments.
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "each is documented by its Args, which is its help")]
pub enum Command {
    Auth(auth::Args),
    Help(help::Args),
    Report(report::Args),
    Set(set::Args),
    Version(version::Args),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// A [`crate::error::Failure`] where the command knows what to say, else what happened below it.
    pub fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Auth(args) => auth::run(args, context),
            Self::Help(args) => help::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::Set(args) => set::run(args, context),
            Self::Version(args) => version::run(args, context),
        }
    }
}
