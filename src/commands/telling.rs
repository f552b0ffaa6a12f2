//! From what a command has done to who is told of it: plugins (`pgbackup-action`, and dokku-postgres's own `service-action
//! post-backup`), webhooks, the healthcheck, each beside the work and after its result is certain.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::commands::context::Context;
use crate::commands::{metrics, missed};
use crate::dokku::environment::Environment;
use crate::error::{Failure, Kind, SERVICE};
use crate::history::{Depth, Entry, Event, History};
use crate::notify::messenger::Errand;
use crate::notify::{By, Notice, Outcome, Work};
use crate::service::name::ServiceName;
use crate::settings::Settings;

/// Our own trigger: `pgbackup-action EVENT SERVICE KEY`.
const ACTION: &str = "pgbackup-action";
/// dokku-postgres's: its second generation fires `service-action post-backup postgres SERVICE BUCKET success|failure`.
const SERVICE_ACTION: &str = "service-action";

/// A piece of work whose beginning was told, and whose end will be.
pub struct Telling<'a> {
    context: &'a Context,
    work: Work,
    service: ServiceName,
    began: Instant,
    /// Kept apart from the others: the healthcheck and other plugins wait for regular backups, not for this one.
    aside: bool,
}

impl<'a> Telling<'a> {
    /// Tells that it begins.
    pub fn begin(context: &'a Context, work: Work, service: &ServiceName) -> Self {
        let telling = Self { context, work, service: service.clone(), began: Instant::now(), aside: false };
        let what = match work {
            Work::Backup => "Backup",
            Work::Restore => "Restore",
            Work::Verify => "Drill",
            Work::Prune => "Pruning",
            Work::Copy => "Copying",
        };
        telling.tell(&telling.notice(Outcome::Started, format!("{what} of {service} begins")));
        telling
    }

    /// The same for a backup that a restore takes of what it is about to replace: no news for who waits for the regular ones.
    pub fn aside(context: &'a Context, work: Work, service: &ServiceName) -> Self {
        Self { context, work, service: service.clone(), began: Instant::now(), aside: true }
    }

    /// Whose it is.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// A notice of this work, to be filled in.
    pub fn notice(&self, outcome: Outcome, message: impl Into<String>) -> Notice {
        let environment = &self.context.environment;
        Notice {
            work: self.work,
            outcome,
            service: self.service.clone(),
            host: environment.host_name(),
            at: self.context.now(),
            message: message.into(),
            key: None,
            destination: None,
            seconds: (outcome != Outcome::Started)
                .then(|| (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0),
            bytes: None,
            tables: None,
            rows: None,
            error: None,
            details: Vec::new(),
            by: By { user: environment.ssh_user.clone(), name: environment.ssh_name.clone() },
            test: false,
        }
    }

    /// Tells that it failed, or was interrupted. Another run that has the service is no failure: that one will tell how it went.
    pub fn failed(&self, failure: &Failure, key: Option<&str>, destination: Option<String>) {
        if failure.kind == Kind::Busy {
            return;
        }
        let what = match self.work {
            Work::Backup => "Backup of",
            Work::Restore => "Restore of",
            Work::Verify => "Drill of",
            Work::Prune => "Pruning the backups of",
            Work::Copy => "Copying the backups of",
        };
        let message = if failure.kind == Kind::Interrupted {
            format!("{what} {} was interrupted", self.service)
        } else {
            format!("{what} {} failed: {failure}", self.service)
        };
        self.tell(&Notice {
            key: key.map(str::to_owned),
            destination,
            error: Some(failure.to_string()),
            details: failure.hints.iter().map(|hint| hint.replace(SERVICE, self.service.as_str())).collect(),
            ..self.notice(Outcome::Failed, message)
        });
    }

    /// Hands a notice to everybody who wants it, and comes back at once.
    pub fn tell(&self, notice: &Notice) {
        if !self.aside || notice.outcome != Outcome::Started {
            tell(self.context, notice, self.aside);
        }
    }
}

/// Hands a notice to everybody who wants it, and comes back at once.
pub fn tell(context: &Context, notice: &Notice, aside: bool) {
    context.has_run.store(true, Ordering::Relaxed);
    let settings = match context.settings(&notice.service) {
        Ok(settings) => settings,
        Err(error) => {
            context.ui.warn(format!("Nobody is told of {}: {error:#}", notice.event()));
            return;
        }
    };
    for errand in errands(&settings, &context.environment, &notice.without_rows(), aside) {
        context.messenger.take(&notice.service, &notice.event(), errand);
    }
}

/// Who is told of a notice.
pub fn errands(settings: &Settings, environment: &Environment, notice: &Notice, aside: bool) -> Vec<Errand> {
    let mut errands = Vec::new();
    if !aside
        && notice.work == Work::Backup
        && let Some(healthcheck) = &settings.healthcheck
    {
        errands.extend(healthcheck.letter(notice).map(Errand::Letter));
    }
    if settings.notify_on.wants(notice.work, notice.outcome) {
        errands.extend(settings.webhooks.iter().map(|webhook| Errand::Letter(webhook.letter(notice))));
    }
    errands.extend(triggers(environment, notice, aside));
    errands
}

/// The plugin triggers of a notice, where a plugin answers them.
fn triggers(environment: &Environment, notice: &Notice, aside: bool) -> Vec<Errand> {
    if environment.in_event {
        return Vec::new();
    }
    let trigger = |name: &'static str, arguments: Vec<String>| Errand::Trigger {
        name,
        arguments,
        document: notice.json(),
        plugin_path: environment.plugin_path.clone(),
    };
    let mut triggers = Vec::new();
    if is_answered(&environment.plugin_enabled_path, ACTION) {
        let key = notice.key.clone().unwrap_or_default();
        triggers.push(trigger(ACTION, vec![notice.event(), notice.service.to_string(), key]));
    }
    let status = match notice.outcome {
        Outcome::Succeeded => "success",
        Outcome::Failed => "failure",
        _ => return triggers,
    };
    // Those plugins know of backups, and not that some are tests.
    if notice.work == Work::Backup
        && !aside
        && !notice.test
        && is_answered(&environment.plugin_enabled_path, SERVICE_ACTION)
    {
        let destination = notice.destination.clone().unwrap_or_default();
        let bucket = destination.strip_prefix("s3://").unwrap_or(&destination).to_owned();
        let words = ["post-backup", "postgres", notice.service.as_str(), &bucket, status].map(str::to_owned);
        triggers.push(trigger(SERVICE_ACTION, words.to_vec()));
    }
    triggers
}

/// Whether another plugin than ours has this trigger: starting plugn for nobody would cost more than a small backup's dump.
pub fn is_answered(enabled: &Path, name: &str) -> bool {
    std::fs::read_dir(enabled)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .any(|plugin| plugin.file_name() != "pgbackup" && plugin.path().join(name).is_file())
}

/// Waits for what is still on its way, and says who could not be told. Called when the result is certain and shown.
pub fn finish(context: &Context) {
    let ui = &context.ui;
    if context.has_run.load(Ordering::Relaxed) {
        missed::tell(context);
    }
    if context.has_run.load(Ordering::Relaxed)
        && let Err(error) = metrics::write(context)
    {
        ui.warn(format!("The metrics can't be written: {error:#}"));
    }
    for untold in context.messenger.finish() {
        ui.warn(format!("{} was not told of {}: {}", untold.receiver, untold.event, untold.error));
        let history = History::of(&context.environment.data_folder().join(untold.service.as_str()));
        let event = Event::Untold { receiver: untold.receiver, of: untold.event, error: untold.error };
        if let Err(error) = history.append(&Entry::now(event, None)) {
            ui.warn(format!("The history can't be written: {error:#}"));
        }
    }
}

/// Whether the last of a service's backups before now failed or did not begin: the next good one is news.
pub fn backup_had_failed(entries: &[Entry]) -> bool {
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Backup(_) => Some(false),
        Event::BackupFailed { .. } => Some(true),
        Event::Missed { task, .. } if task == "backup" => Some(true),
        _ => None,
    });
    last == Some(true)
}

/// The same for drills, and for one that could not be run.
pub fn drill_had_failed(entries: &[Entry]) -> bool {
    let last = entries.iter().rev().find_map(|entry| match &entry.event {
        // A check that only reads clears no drill.
        Event::Verification(record) if record.depth == Depth::Restore || !record.good => Some(record.good),
        Event::VerificationFailed { .. } => Some(false),
        Event::Missed { task, .. } if task == "drill" => Some(false),
        _ => None,
    });
    last == Some(false)
}
