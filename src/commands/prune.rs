//! `pgbackup:prune`: what the rules say goes, the oldest first; each backup is shown with the rule that decides.
//!
//! The decision is [`crate::retention`]'s; here are the facts it needs and the deletions. Only a full listing will do: what this host
//! remembers is not all that there is.

use std::collections::HashSet;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Backup, Catalog, Maker, store_failure};
use crate::commands::arguments::Output;
use crate::commands::backups::catalog;
use crate::commands::context::Context;
use crate::commands::copying;
use crate::commands::hold::refuse_while_held;
use crate::commands::removal::Here;
use crate::commands::telling::Telling;
use crate::commands::turn::{self, Waiting};
use crate::commands::{removal, upload, wanted};
use crate::error::Failure;
use crate::history::{Depth, Entry, Event, History};
use crate::holds::Holds;
use crate::lock::Lock;
use crate::manifest::Manifest;
use crate::notify::{Notice, Outcome, Work};
use crate::retention::{self, Candidate, Origin, Rules, Verdict, Worth};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::Settings;
use crate::signing::Keys;
use crate::step::step;
use crate::store::key::BackupKey;
use crate::store::{Store, StoreError};
use crate::text::count;
use crate::ui::human;
use crate::ui::{Column, Table};

/// Delete the backups that no rule keeps
///
/// The rules are the properties keep-last and keep-hourly to keep-yearly and max-size and min-age: see pgbackup:help set. A backup
/// stays when any rule keeps it. The last good one and the newest verified one and held ones and those of other hosts stay
/// in any case. Without a rule nothing is deleted. Nothing is asked: --dry-run shows what would go. Copies in the second destination
/// go by the copy-keep- rules where any of them is set and else by the same ones.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--dry-run] [--wait [DURATION]] [--format json]",
    after_help = "Keep a week of daily backups and a year of monthly ones

    dokku pgbackup:set lollipop keep-daily 7
    dokku pgbackup:set lollipop keep-monthly 12

See what would go

    dokku pgbackup:prune lollipop --dry-run

Let it go

    dokku pgbackup:prune lollipop"
)]
pub struct Args {
    /// The service whose backups are pruned
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// Prune the backups of every service
    #[arg(long)]
    pub all: bool,
    /// Show what would go and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub waiting: Waiting,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A backup as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Row {
    service: ServiceName,
    destination: String,
    key: BackupKey,
    started: Timestamp,
    bytes: Option<u64>,
    action: &'static str,
    reasons: Vec<String>,
    deleted: bool,
}

/// Prunes.
///
/// # Errors
/// When the bucket can't be listed, the service is held, or something won't go; with `--all` the others are still pruned.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    let (rows, result) = match &args.service {
        Some(name) => {
            let mut rows = Vec::new();
            let result = one(args, name, context, &mut rows);
            (rows, result)
        }
        None => all(args, context)?,
    };
    if args.output.is_json() {
        context.ui.json(&rows)?;
    }
    result
}

fn all(args: &Args, context: &Context) -> Result<(Vec<Row>, Result<()>)> {
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for name in context.visible_services()? {
        // What can't be read of one is its own failure, below.
        if context.settings(&name).is_ok_and(|settings| settings.destination.is_none()) {
            context.ui.detail(format!("{name} has no destination and no backups to prune"));
            continue;
        }
        let held = Holds::read(&folder(&name, context)).ok().and_then(|holds| holds.service);
        if let Some(hold) = held.filter(|_| !args.dry_run) {
            context.ui.warn(format!("{name} is held {} and is not pruned", hold.describe()));
            continue;
        }
        if let Err(error) = one(args, &name, context, &mut rows) {
            crate::interrupt::check()?;
            context.ui.fail(&Failure::from_error(error).of(&name));
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok((rows, Ok(())));
    }
    let names: Vec<&str> = failed.iter().map(ServiceName::as_str).collect();
    Ok((rows, Err(Failure::failed(format!("Not pruned: {}", names.join(", "))).into())))
}

fn one(args: &Args, name: &ServiceName, context: &Context, rows: &mut Vec<Row>) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, name)?;
    let store = context.store(&service)?;
    let settings = context.settings(name)?;
    let lock = if args.dry_run { None } else { Some(turn::take(context, name, "prune", args.waiting.patience())?) };
    let telling = lock.is_some().then(|| Telling::begin(context, Work::Prune, name));
    let from = rows.len();
    let first = prune(args, name, &settings.retention, store.as_ref(), context, lock.as_ref(), rows);
    // What is wrong with one of the two places is no reason to leave the other as it is.
    let second = (|| {
        let Some((settings, second)) = settings.of_copy().zip(context.copy_store(&service)?) else { return Ok(()) };
        prune(args, name, &settings.retention, second.as_ref(), context, lock.as_ref(), rows)
            .map_err(|error| copying::of_the_copy(Failure::from_error(error)).into())
    })();
    if lock.is_some() {
        upload::sweep(context, &service);
    }
    let result = match (first, second) {
        (Err(error), Err(other)) => {
            context.ui.fail(&Failure::from_error(error).of(name));
            Err(other)
        }
        (first, second) => first.and(second),
    };
    tell(telling.as_ref(), rows.get(from..).unwrap_or_default(), &store.describe(), result)
}

/// Tells how a pruning by hand or by schedule has ended.
fn tell(telling: Option<&Telling>, rows: &[Row], destination: &str, result: Result<()>) -> Result<()> {
    let Some(telling) = telling else { return result };
    result.map_err(Failure::from_error).inspect_err(|failure| {
        telling.failed(failure, None, Some(destination.to_owned()));
    })?;
    let gone = rows.iter().filter(|row| row.deleted).count() as u64;
    let bytes = rows.iter().filter(|row| row.deleted).filter_map(|row| row.bytes).fold(0, u64::saturating_add);
    let what = format!("{} deleted, {} kept", count(gone, "backup"), rows.len() as u64 - gone);
    let notice = telling.notice(Outcome::Succeeded, format!("Pruned {}: {what}", telling.service()));
    telling.tell(&Notice { destination: Some(destination.to_owned()), bytes: Some(bytes), ..notice });
    Ok(())
}

/// Prunes in a store; without a lock it only shows what would go.
fn prune(
    args: &Args,
    name: &ServiceName,
    rules: &Rules,
    store: &dyn Store,
    context: &Context,
    lock: Option<&Lock>,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let ui = &context.ui;
    let plan = Plan::make(name, rules, store, context)?;
    if lock.is_some() {
        refuse_while_held(&plan.holds, name)?;
    }
    let now = context.now();
    if !args.output.is_json() {
        ui.header(format!("{name} backups in {}", store.describe()));
        if !plan.decisions.is_empty() {
            ui.table(&plan.table(now))?;
        }
    }
    if !rules.any() {
        ui.detail(format!("No rule is set for {name}: nothing is ever deleted"));
        ui.detail(format!("Set one: dokku pgbackup:set {name} keep-daily 7"));
    }
    let going = plan.going();
    let first = rows.len();
    rows.extend(plan.decisions.iter().map(|(backup, verdict)| Row {
        service: name.clone(),
        destination: store.describe(),
        key: backup.key.clone(),
        started: backup.key.started(),
        bytes: backup.bytes,
        action: action(verdict),
        reasons: verdict.reasons.iter().map(ToString::to_string).collect(),
        deleted: false,
    }));
    let Some(lock) = lock else {
        if rules.any() {
            let bytes = human::size(bytes(&going));
            ui.outcome(format!("Would delete {} of {name} ({bytes})", count(going.len() as u64, "backup")), "");
        }
        return Ok(());
    };
    let (deleted, result) = plan.carry_out(store, context, lock);
    for row in rows.iter_mut().skip(first) {
        row.deleted = deleted.contains(&row.key);
    }
    result
}

/// Prunes after a backup that has succeeded, where that is wanted. The backup is good whatever happens here: what fails is told.
pub fn after_backup(context: &Context, service: &ServiceName, store: &dyn Store, lock: &Lock) {
    match context.settings(service) {
        Ok(settings) => after_saving(context, service, &settings, store, lock, "The backup is saved, but older ones"),
        Err(error) => context.ui.warn(format!("Nothing is pruned: {error:#}")),
    }
}

/// Prunes the second destination after something was copied there.
pub fn copies_after(context: &Context, service: &Service, lock: &Lock) {
    let name = &service.name;
    let opened = (|| {
        let settings = context.settings(name)?.of_copy();
        Ok::<_, anyhow::Error>(settings.zip(context.copy_store(service)?))
    })();
    match opened {
        Ok(Some((settings, second))) => {
            after_saving(context, name, &settings, second.as_ref(), lock, "The backup is copied, but older copies");
        }
        Ok(None) => {}
        Err(error) => context.ui.warn(format!("The copies are not pruned: {error:#}")),
    }
}

fn after_saving(
    context: &Context,
    service: &ServiceName,
    settings: &Settings,
    store: &dyn Store,
    lock: &Lock,
    what: &str,
) {
    let pruned = (|| {
        if !settings.prune_after_backup || !settings.retention.any() {
            return Ok(());
        }
        let plan = Plan::make(service, &settings.retention, store, context)?;
        if let Some(hold) = &plan.holds.service {
            context.ui.detail(format!("Nothing is pruned: {service} is held {}", hold.describe()));
            return Ok(());
        }
        for (backup, verdict) in plan.going() {
            context.ui.detail(format!("Pruning {} ({})", backup.key, verdict.why()));
        }
        plan.carry_out(store, context, lock).1
    })();
    if let Err(error) = pruned {
        let failure = Failure::from_error(error).of(service);
        context.ui.warn(format!("{what} could not be pruned: {failure}"));
        failure.hints.iter().for_each(|hint| context.ui.warn(hint));
        Telling::aside(context, Work::Prune, service).failed(&failure, None, Some(store.describe()));
        let event = Event::PruneFailed { destination: store.describe(), error: failure.to_string() };
        if let Err(error) = History::of(&folder(service, context)).append(&Entry::now(event, None)) {
            context.ui.warn(format!("The failure can't be written into the history: {error:#}"));
        }
    }
}

/// What becomes of each backup.
struct Plan<'a> {
    service: &'a ServiceName,
    catalog: Catalog,
    holds: Holds,
    /// Newest first.
    decisions: Vec<(Backup, Verdict)>,
}

impl<'a> Plan<'a> {
    fn make(service: &'a ServiceName, rules: &Rules, store: &dyn Store, context: &Context) -> Result<Self> {
        let mut catalog = catalog(service, store, context)?;
        if let Some(reason) = &catalog.not_listed {
            return Err(Failure::failed(format!("The backups of {service} can't be pruned: {reason}"))
                .hint(format!("Pruning needs to see all backups; what the role or keys must be allowed is printed by: dokku pgbackup:iam-policy {service} --role prune"))
                .hint("A host whose role may only write is pruned by another one, or by a lifecycle rule of the bucket")
                .into());
        }
        catalog.read_sidecars(store, usize::MAX);
        catalog.read_newest_drill(store, &Keys::read(&context.environment.data_folder())?);
        crate::interrupt::check()?;
        let holds = Holds::read(&folder(service, context))?;
        let mut backups = std::mem::take(&mut catalog.backups);
        for backup in &mut backups {
            // Of old backups with very large manifests the history has only a summary.
            if backup.record.is_some()
                && let Err(error) = backup.read_manifest(store)
            {
                backup.trouble = Some(format!("{error:#}"));
            }
        }
        let here = Here::of(context);
        let mut candidates: Vec<Candidate> =
            backups.iter().map(|backup| candidate(backup, |manifest| here.made(manifest), &holds)).collect();
        let mut asked = HashSet::new();
        // What the store keeps is asked of those alone that would go; one that stays may let another one go.
        let verdicts = loop {
            let verdicts = retention::decide(&candidates, rules, context.now());
            let mut found = false;
            for (candidate, _) in candidates.iter_mut().zip(&verdicts).filter(|(_, verdict)| verdict.delete) {
                if asked.insert(candidate.key.clone()) {
                    crate::interrupt::check()?;
                    candidate.retained_until = store
                        .retained_until(&candidate.key.to_string())
                        .map_err(|error| store_failure(format!("{} can't be looked up", candidate.key), error))?;
                    found |= candidate.retained_until.is_some();
                }
            }
            if !found {
                break verdicts;
            }
        };
        Ok(Self { service, catalog, holds, decisions: backups.into_iter().zip(verdicts).collect() })
    }

    fn going(&self) -> Vec<&(Backup, Verdict)> {
        self.decisions.iter().filter(|(_, verdict)| verdict.delete).collect()
    }

    fn table(&self, now: Timestamp) -> Table {
        let mut table = Table::new(&[
            // The key says it, too.
            Column::left("started").spare(1),
            Column::right("age"),
            Column::left("key"),
            Column::right("size"),
            Column::left("action"),
            Column::left("why"),
        ]);
        for (backup, verdict) in &self.decisions {
            table.row([
                human::time(backup.key.started()),
                human::age(backup.key.started(), now),
                backup.key.to_string(),
                backup.bytes.map(human::size).unwrap_or_default(),
                action(verdict).to_owned(),
                verdict.why(),
            ]);
        }
        table
    }

    /// Deletes what goes, the oldest first, and says what was done. Returns what is gone, also when it ends with an error.
    fn carry_out(&self, store: &dyn Store, context: &Context, _lock: &Lock) -> (Vec<BackupKey>, Result<()>) {
        step!("prune.planned");
        let going = self.going();
        let mut deleted: Vec<&(Backup, Verdict)> = Vec::new();
        let result = (|| {
            for one in going.iter().rev() {
                crate::interrupt::check()?;
                // The switch of an incident stops a pruning that is under way.
                refuse_while_held(&Holds::read(&folder(self.service, context))?, self.service)?;
                if let Some(owner) = wanted::by(context, &one.0.key) {
                    let (key, since) = (&one.0.key, human::time(owner.since));
                    let (doing, pid) = (&owner.doing, owner.pid);
                    context.ui.detail(format!("{key} stays for now: a {doing} wants it since {since} (pid {pid})"));
                    continue;
                }
                match removal::take_out(&one.0, store, context) {
                    Ok(()) => deleted.push(one),
                    // The store has said so only now.
                    Err(retained @ StoreError::Retained { .. }) => context.ui.detail(retained.to_string()),
                    Err(error) => return Err(store_failure(format!("{} can't be deleted", one.0.key), error).into()),
                }
            }
            step!("prune.deleted");
            match removal::sweep(&self.catalog, store, context) {
                Ok(0) => {}
                Ok(swept) => context.ui.detail(format!("Swept away {} without a backup", count(swept, "description"))),
                Err(error) => {
                    context.ui.warn(format!("Descriptions of deleted backups are left in the store: {error}"));
                }
            }
            Ok(())
        })();
        let freed = bytes(&deleted);
        let kept = (self.decisions.len() - deleted.len()) as u64;
        let gone = deleted.len() as u64;
        if gone > 0 {
            let event = Event::Pruned { destination: store.describe(), deleted: gone, kept, bytes: freed };
            if let Err(error) = History::of(&folder(self.service, context)).append(&Entry::now(event, None)) {
                context.ui.warn(format!("The history can't be written: {error:#}"));
            }
        }
        step!("prune.remembered");
        if result.is_ok() || gone > 0 {
            let what = count(gone, "backup");
            let (service, place) = (self.service, store.describe());
            let freed = human::size(freed);
            context.ui.outcome(format!("Pruned {service}: {what} deleted ({freed}), {kept} kept in {place}"), "");
        }
        (deleted.into_iter().map(|(backup, _)| backup.key.clone()).collect(), result)
    }
}

fn bytes(backups: &[&(Backup, Verdict)]) -> u64 {
    backups.iter().filter_map(|(backup, _)| backup.bytes).fold(0, u64::saturating_add)
}

fn action(verdict: &Verdict) -> &'static str {
    if verdict.delete { "delete" } else { "keep" }
}

fn folder(service: &ServiceName, context: &Context) -> std::path::PathBuf {
    context.environment.data_folder().join(service.as_str())
}

/// What retention needs to know of a backup.
fn candidate(backup: &Backup, made_here: impl Fn(&Manifest) -> bool, holds: &Holds) -> Candidate {
    let manifest = backup.manifest.as_ref();
    let origin = match (&backup.record, manifest, backup.maker()) {
        _ if backup.replaced || backup.trouble.is_some() => Origin::Unknown,
        (Some(_), ..) => Origin::Ours,
        (None, Some(manifest), _) if made_here(manifest) => Origin::Ours,
        (None, Some(manifest), _) => Origin::OtherHost(manifest.host.clone()),
        (None, None, Maker::DokkuPostgres) => Origin::DokkuPostgres,
        (None, None, _) => Origin::Unknown,
    };
    let worth = match backup.verified.filter(|verified| verified.proven) {
        Some(tried) if !tried.good => Worth::Bad,
        Some(tried) if tried.depth == Depth::Restore => Worth::Verified,
        // That all of it can be read doesn't say that it can be restored.
        Some(_) => Worth::Good,
        None if backup.maker() == Maker::Pgbackup => Worth::Good,
        None => Worth::Untried,
    };
    Candidate {
        key: backup.key.clone(),
        bytes: backup.bytes.unwrap_or_default(),
        origin,
        worth,
        suspicious: manifest.is_some_and(Manifest::is_suspicious) && !holds.has_released(&backup.key),
        held: holds.holds(&backup.key),
        safety: manifest.is_some_and(|manifest| manifest.safety),
        retained_until: None,
    }
}

#[cfg(test)]
mod tests;
