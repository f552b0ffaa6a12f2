//! `verify`: the restore drill. A backup is loaded into a throw-away database, compared with what was saved, and dropped.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::archive::encryption::Secrets;
use crate::certificate::Work as Certified;
use crate::commands::arguments::{Chosen, Output};
use crate::commands::certificate;
use crate::commands::check::damage;
use crate::commands::context::Context;
use crate::commands::encryption::unlock::Unlock;
use crate::commands::recovery;
use crate::commands::restore::source::Source;
use crate::commands::restore::{plan, source, staged};
use crate::commands::telling::{self, Telling};
use crate::commands::turn::{self, Waiting};
use crate::commands::wanted::Wanted;
use crate::database::staging::Purpose;
use crate::database::throwaway::{self, Throwaway};
use crate::dokku::host_id;
use crate::drill::{self, Drill};
use crate::error::{Failure, Kind};
use crate::history::{Depth, Entry, Event, History, VerificationRecord};
use crate::lock::Lock;
use crate::notify::{Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::signing::Keys;
use crate::step::step;
use crate::store::{Store, StoreError};
use crate::text::count;
use crate::ui::comparison::show_verification;
use crate::ui::human;
use crate::verification::{Difference, Verification};

/// Prove that a backup restores
///
/// The backup is loaded into a throw-away database of the service and compared with what was saved: the rows of every table
/// and the sequences and objects of the schema. The database is dropped again and the result recorded. With --isolated that happens
/// in a container of its own that has no network and the running server is not touched at all. The result is recorded here and beside
/// the backup. Exit code 3 says that the backup is damaged or differs, or that nothing could be compared.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup>|--before TIME|--file PATH [--from DESTINATION] [--isolated] [--format json]",
    after_help = "Prove that the newest backup of lollipop restores

    dokku pgbackup:verify lollipop latest

Try it far from the running server

    dokku pgbackup:verify lollipop latest --isolated

Prove one of another host in a service of this one

    dokku pgbackup:verify newpop latest --from s3://my-backups/prod --service lollipop"
)]
pub struct Args {
    /// The service in whose container the backup is loaded
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub chosen: Chosen,
    /// Load it in a throw-away container of the service's image without a network instead of beside the live database
    #[arg(long)]
    pub isolated: bool,
    /// Take this database of a backup that holds several
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub unlock: Unlock,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    service: &'a ServiceName,
    backup: &'a str,
    verified: bool,
    isolated: bool,
    seconds: f64,
    #[serde(flatten)]
    verification: &'a Verification,
}

/// Runs a drill.
///
/// # Errors
/// [`Kind::Difference`] when something differs; or when the backup can't be loaded.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    let name = &args.service;
    let Ready { source, secrets, running, _wanted, _lock } =
        ready(args, context).map_err(|error| could_not_begin(args, context, error))?;

    let began = Instant::now();
    let backup = source.describe();
    let named = || source.named_for().map(|whose| source::database_of(context, whose));
    let wanted = args.database.clone().or_else(named);
    let own_store = source.own_store();
    let of_store = matches!(source, Source::Stored { .. });
    let described = certificate::describe(&source);
    let length = match &source {
        Source::Stored { backup, .. } => backup.bytes,
        _ => None,
    };
    let telling = Telling::begin(context, Work::Verify, name);
    let result = source.open(context, "verify", &secrets).and_then(|fetched| {
        let isolated = if args.isolated {
            context.ui.step(format!("Starting a throw-away container of {}", running.image));
            Some(Throwaway::start(&context.docker, &running)?)
        } else {
            None
        };
        step!("verify.opened");
        let server = isolated.as_ref().map_or(&running, Throwaway::server);
        let staged = staged::load(context, server, Purpose::Drill, fetched, wanted.as_deref())?;
        context.ui.step("Comparing with what was saved");
        let verification = staged.compare()?;
        step!("verify.compared");
        staged.remove()?;
        step!("verify.removed");
        Ok(verification)
    });
    let seconds = began.elapsed().as_secs_f64();
    tell(context, &telling, name, &backup, &result);
    if let Some(store) = own_store
        && let Some(record) = remember(context, name, &backup, seconds, &result)
    {
        let compared = result.as_ref().map_or(0, |verification| verification.compared as u64);
        let differences =
            result.as_ref().map_or(record.differences.len(), |verification| verification.differences.len());
        let drill = Drill {
            differences: differences as u64,
            compared,
            bytes: length.or(described.bytes),
            sha256_behind_head: described.sha256_behind_head.clone(),
            ..drill_of(context, record)
        };
        leave_beside(context, store.as_ref(), drill);
    }
    let verification = result.map_err(|error| {
        let damaged = damage(&error).is_some();
        let mut failure = Failure::from_error(error);
        if damaged && failure.kind == Kind::Failed {
            failure.kind = Kind::Difference;
        }
        if damaged && of_store {
            let list = args.chosen.elsewhere.list(name);
            failure = failure.hint(format!("Choose another one: {list}"));
        }
        failure
    })?;
    step!("verify.remembered");
    certificate::keep(context, &running, Certified::Verify, described, seconds, &verification);
    step!("verify.certified");
    if args.output.is_json() {
        context.ui.json(&Report {
            service: name,
            backup: &backup,
            verified: verification.passed(),
            isolated: args.isolated,
            seconds,
            verification: &verification,
        })?;
    } else {
        show_verification(&context.ui, &verification);
    }
    if !verification.passed() {
        return Err(Failure::new(Kind::Difference, verdict(&backup, &verification))
            .hint(format!("Take a new backup: dokku pgbackup:backup {name}"))
            .into());
    }
    let verdict = verdict(&backup, &verification);
    context.ui.outcome(format!("{verdict} ({})", human::duration(began.elapsed())), &backup);
    Ok(())
}

/// All that a drill needs.
struct Ready {
    source: Source,
    secrets: Secrets,
    running: RunningService,
    /// It is not pruned while the drill waits for its turn.
    _wanted: Option<Wanted>,
    _lock: Lock,
}

fn ready(args: &Args, context: &Context) -> Result<Ready> {
    let name = &args.service;
    let source = source::choose(context, "verify", name, name, &args.chosen)?;
    let wanted = source.key().map(|key| Wanted::note(context, key, "drill"));
    let secrets = args.unlock.secrets(context, name, source.is_stdin())?;
    let service = Service::find(&context.environment.lib_root, name)?;
    let lock = turn::take(context, name, "verify", args.waiting.patience())?;
    let running = service.running(&context.docker)?;
    recovery::settle(context, &running, &lock)?;
    step!("verify.settled");
    if args.isolated {
        let needed = source.manifest().map_or(0, |manifest| manifest.database.bytes);
        throwaway::refuse_small_disk(&context.docker, needed)?;
    } else {
        plan::refuse_if_too_large(&source, &running)?;
    }
    Ok(Ready { source, secrets, running, _wanted: wanted, _lock: lock })
}

/// A drill that could not even begin (the store is down, the service is stopped, the disk is too small) proves nothing, and whoever counts
/// on it must hear of that. That another run has the service is no failure of this one, and neither is a name that was mistyped.
fn could_not_begin(args: &Args, context: &Context, error: anyhow::Error) -> anyhow::Error {
    let failure = Failure::from_error(error);
    let name = &args.service;
    let chosen = &args.chosen;
    let word = chosen.backup.as_deref().unwrap_or("latest");
    let of_others = chosen.elsewhere.from.is_some() || chosen.file.is_some() || word == "-" || word.contains("://");
    let mistyped = match failure.kind {
        Kind::Usage => true,
        Kind::NoSuchBackup => word != "latest",
        _ => false,
    };
    let is_here = Service::find(&context.environment.lib_root, name).is_ok();
    if is_here && failure.kind != Kind::Busy && !of_others && !mistyped {
        not_run(context, name, word, failure.to_string(), failure.kind == Kind::Interrupted, None);
        Telling::begin(context, Work::Verify, name).failed(&failure, None, None);
    }
    failure.into()
}

fn not_run(
    context: &Context,
    name: &ServiceName,
    source: &str,
    error: String,
    interrupted: bool,
    seconds: Option<f64>,
) {
    let event = Event::VerificationFailed { source: source.to_owned(), error, interrupted };
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(event, seconds)) {
        context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
    }
}

/// What came out, in words.
fn verdict(backup: &str, verification: &Verification) -> String {
    match verification.not_compared.len() as u64 {
        _ if !verification.differences.is_empty() => format!("{backup} does not restore to what was saved"),
        0 => format!("{backup} restores to what was saved"),
        not if verification.compared_nothing() => {
            format!("{backup} can be loaded, but nothing of it could be compared: {} not compared", count(not, "table"))
        }
        not => format!("{backup} restores to what was saved as far as it was compared: {} not", count(not, "table")),
    }
}

/// Tells how it went: a drill that could not be run at all proves nothing, which is news too.
fn tell(context: &Context, telling: &Telling, name: &ServiceName, backup: &str, result: &Result<Verification>) {
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    let of = |outcome, message: String| Notice { key: Some(backup.to_owned()), ..telling.notice(outcome, message) };
    let verification = match result {
        Ok(verification) => verification,
        Err(error) => {
            let error = format!("{error:#}");
            let message = if crate::interrupt::requested() {
                format!("Drill of {name} with {backup} was interrupted")
            } else {
                format!("Drill of {name} with {backup} failed: {error}")
            };
            return telling.tell(&Notice { error: Some(error), ..of(Outcome::Failed, message) });
        }
    };
    let counted = |notice| Notice {
        tables: Some(verification.tables.len() as u64),
        rows: Some(verification.rows()),
        details: findings(verification).collect(),
        ..notice
    };
    if !verification.passed() {
        let message = verdict(backup, verification);
        return telling.tell(&counted(Notice { error: Some(message.clone()), ..of(Outcome::Failed, message) }));
    }
    telling.tell(&counted(of(Outcome::Succeeded, verdict(backup, verification))));
    if telling::drill_had_failed(&history.read().unwrap_or_default()) {
        telling.tell(&counted(of(
            Outcome::Recovered,
            format!("Drills of {name} pass again: {}", verdict(backup, verification)),
        )));
    }
}

/// Every difference, and what was not compared.
fn findings(verification: &Verification) -> impl Iterator<Item = String> {
    verification.differences.iter().map(Difference::sentence).chain(verification.gap_sentences())
}

/// The result goes into the history of the service whose backup it was. One that was interrupted or could not be run says nothing about the
/// backup: then there is no result, and that alone is remembered.
fn remember(
    context: &Context,
    name: &ServiceName,
    backup: &str,
    seconds: f64,
    result: &Result<Verification>,
) -> Option<VerificationRecord> {
    let key = backup.parse().ok()?;
    let (good, differences) = match result {
        Ok(verification) => (verification.passed(), findings(verification).take(10).collect()),
        Err(error) => {
            let interrupted = crate::interrupt::requested();
            // That it could not be tried (no container, no disk, no connection) says nothing about the backup; that it is damaged does.
            let Some(damage) = damage(error).filter(|_| !interrupted) else {
                not_run(context, name, backup, format!("{error:#}"), interrupted, Some(seconds));
                return None;
            };
            (false, vec![damage])
        }
    };
    let record = VerificationRecord { key, depth: Depth::Restore, good, differences };
    let history = History::of(&context.environment.data_folder().join(name.as_str()));
    if let Err(error) = history.append(&Entry::now(Event::Verification(record.clone()), Some(seconds))) {
        context.ui.warn(format!("The history can't be written: {error:#}"));
    }
    Some(record)
}

/// The same for others, without what is said of the backup's contents.
fn drill_of(context: &Context, record: VerificationRecord) -> Drill {
    let environment = &context.environment;
    Drill {
        format: drill::FORMAT,
        made_by: format!("pgbackup {}", env!("CARGO_PKG_VERSION")),
        at: context.now(),
        good: record.good,
        differences: 0,
        compared: 0,
        bytes: None,
        sha256_behind_head: None,
        host: (!record.key.encrypted()).then(|| environment.host_name()),
        host_id: host_id::of_this_host(&environment.data_folder()),
        signature: None,
        key: record.key,
    }
}

/// The result is put beside the backup, for other hosts and for a new one. The drill has proven what it has proven: that this can't be
/// written there is told and no failure.
fn leave_beside(context: &Context, store: &dyn Store, mut drill: Drill) {
    let stored = (|| {
        drill.signature = Keys::read(&context.environment.data_folder())?.sign_drill(&drill)?;
        store.put(&drill.key.drill(), &drill.to_json()?)?;
        Ok::<_, anyhow::Error>(())
    })();
    let Err(error) = stored else { return };
    let what = "The result is kept on this host alone and not beside the backup";
    match error.downcast_ref() {
        // Many roles that may read may not write.
        Some(StoreError::Denied { .. }) => context.ui.detail(format!("{what}: {error}")),
        _ => context.ui.warn(format!("{what}: {error:#}")),
    }
}
