//! What a user can ask for: one file per command, holding its arguments (their doc comments are the help) and its `run`.
//!
//! A new command is its file, a `mod` line, a variant and an arm here, and a link in `subcommands/`; a test compares the
//! tree with the links, the compiler the rest.

pub mod adopt;
pub mod arguments;
pub mod asked;
pub mod auth;
pub mod backup;
pub mod backups;
pub mod cancel;
pub mod certificate;
pub mod check;
pub mod checks;
pub mod checks_add;
pub mod checks_remove;
pub mod context;
pub mod copy;
pub mod copying;
pub mod delete;
pub mod diff;
pub mod doctor;
pub mod download;
pub mod encryption;
pub mod encryption_test;
pub mod finishing;
pub mod guards;
pub mod help;
pub mod history;
pub mod hold;
pub mod iam_policy;
pub mod info;
pub mod list;
pub mod metrics;
pub mod missed;
pub mod notify_test;
pub mod objects;
pub mod present;
pub mod prune;
pub mod query;
pub mod recovery;
pub mod release;
pub mod removal;
pub mod renewal;
pub mod report;
pub mod restore;
pub mod restore_abort;
pub mod restore_commit;
pub mod rollback;
pub mod schedule;
pub mod schedule_adopt;
pub mod schedule_export;
pub mod schedule_run;
pub mod schedules;
pub mod set;
pub mod signing_key;
pub mod spool;
pub mod status;
pub mod telling;
pub mod turn;
pub mod unschedule;
pub mod upload;
pub mod url;
pub mod verify;
pub mod version;
pub mod wanted;

use anyhow::Result;

pub use context::Context;

/// A command with its arguments.
#[derive(Debug, clap::Subcommand)]
#[expect(missing_docs, reason = "each is documented by its Args, which is its help")]
pub enum Command {
    Adopt(adopt::Args),
    Auth(auth::Args),
    Backup(backup::Args),
    Certificate(certificate::Args),
    Cancel(cancel::Args),
    Check(check::Args),
    Checks(checks::Args),
    #[command(name = "checks:add")]
    ChecksAdd(checks_add::Args),
    #[command(name = "checks:remove")]
    ChecksRemove(checks_remove::Args),
    Copy(copy::Args),
    Delete(delete::Args),
    Diff(diff::Args),
    Doctor(doctor::Args),
    Download(download::Args),
    Encryption(encryption::Args),
    #[command(name = "encryption:test")]
    EncryptionTest(encryption_test::Args),
    Help(help::Args),
    Hold(hold::Args),
    IamPolicy(iam_policy::Args),
    History(history::Args),
    Info(info::Args),
    List(list::Args),
    #[command(name = "notify:test")]
    NotifyTest(notify_test::Args),
    Prune(prune::Args),
    Query(query::Args),
    Release(release::Args),
    Report(report::Args),
    Restore(restore::Args),
    #[command(name = "restore:abort")]
    RestoreAbort(restore_abort::Args),
    #[command(name = "restore:commit")]
    RestoreCommit(restore_commit::Args),
    Rollback(rollback::Args),
    Schedule(schedule::Args),
    #[command(name = "schedule:adopt")]
    ScheduleAdopt(schedule_adopt::Args),
    #[command(name = "schedule:export")]
    ScheduleExport(schedule_export::Args),
    #[command(name = "schedule:run")]
    ScheduleRun(schedule_run::Args),
    Set(set::Args),
    SigningKey(signing_key::Args),
    Status(status::Args),
    Url(url::Args),
    Unschedule(unschedule::Args),
    Verify(verify::Args),
    Version(version::Args),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// A [`crate::error::Failure`] where the command knows what to say, else what happened below it.
    pub fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Adopt(args) => adopt::run(args, context),
            Self::Auth(args) => auth::run(args, context),
            Self::Backup(args) => backup::run(args, context),
            Self::Certificate(args) => certificate::run(args, context),
            Self::Cancel(args) => cancel::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::Checks(args) => checks::run(args, context),
            Self::ChecksAdd(args) => checks_add::run(args, context),
            Self::ChecksRemove(args) => checks_remove::run(args, context),
            Self::Copy(args) => copy::run(args, context),
            Self::Delete(args) => delete::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Download(args) => download::run(args, context),
            Self::Encryption(args) => encryption::run(args, context),
            Self::EncryptionTest(args) => encryption_test::run(args, context),
            Self::Help(args) => help::run(args, context),
            Self::Hold(args) => hold::run(args, context),
            Self::IamPolicy(args) => iam_policy::run(args, context),
            Self::History(args) => history::run(args, context),
            Self::Info(args) => info::run(args, context),
            Self::List(args) => list::run(args, context),
            Self::NotifyTest(args) => notify_test::run(args, context),
            Self::Prune(args) => prune::run(args, context),
            Self::Query(args) => query::run(args, context),
            Self::Release(args) => release::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::Restore(args) => restore::run(args, context),
            Self::RestoreAbort(args) => restore_abort::run(args, context),
            Self::RestoreCommit(args) => restore_commit::run(args, context),
            Self::Rollback(args) => rollback::run(args, context),
            Self::Schedule(args) => schedule::run(args, context),
            Self::ScheduleAdopt(args) => schedule_adopt::run(args, context),
            Self::ScheduleExport(args) => schedule_export::run(args, context),
            Self::ScheduleRun(args) => schedule_run::run(args, context),
            Self::Unschedule(args) => unschedule::run(args, context),
            Self::Verify(args) => verify::run(args, context),
            Self::Set(args) => set::run(args, context),
            Self::SigningKey(args) => signing_key::run(args, context),
            Self::Status(args) => status::run(args, context),
            Self::Url(args) => url::run(args, context),
            Self::Version(args) => version::run(args, context),
        }
    }
}
