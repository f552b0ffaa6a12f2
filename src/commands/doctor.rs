//! `doctor`: everything that a backup and a restore will need, looked at while nothing has gone wrong yet.
//!
//! Each check is a function from what was asked to what was found, in one sentence, with the command that mends it. What is asked of
//! others (docker, the server, the store) is bounded in time. Nothing is changed but a test object of a few bytes in the destination,
//! which is deleted again.

pub mod apps;
pub mod backups;
pub mod bounded;
pub mod destination;
pub mod encryption;
pub mod finding;
pub mod host;
pub mod keys;
pub mod schedule;
pub mod server;

use std::time::Duration;

use anyhow::Result;

use self::bounded::bounded;
use self::finding::{Finding, Group, Report, Verdict};
use crate::commands::arguments::Output;
use crate::commands::backups as known;
use crate::commands::context::Context;
use crate::database::throwaway;
use crate::error::Failure;
use crate::lock::Lock;
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::text::count;
use crate::ui::Ui;

/// A docker that doesn't answer by then hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// Check all that a backup and a restore will need
///
/// The container and its server and the programs in it; whose keys are used; the destination with a small test object that is
/// written and read and listed and deleted; disk and apps for a restore; the schedule; the last backup and drill; holds;
/// encryption and whether it can be undone here; what interrupted runs have left; folders and secrets. Each thing that is
/// missing is shown with the command that mends it. Exit code 1 says that a backup or a restore would fail; warnings
/// leave it at 0. With --quiet only what is not ok is shown.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--all [--format json]",
    after_help = "Check lollipop

    dokku pgbackup:doctor lollipop

Check all services and show only what is not as it must be

    dokku --quiet pgbackup:doctor --all"
)]
pub struct Args {
    /// The service to check
    #[arg(value_name = "service", required_unless_present = "all", conflicts_with = "all")]
    pub service: Option<ServiceName>,
    /// Check every service
    #[arg(long)]
    pub all: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// Checks.
///
/// # Errors
/// When a backup or a restore of a service would fail.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let json = args.output.is_json();
    if json {
        context.ui.reserve_output();
    }
    let names = match &args.service {
        Some(name) => vec![name.clone()],
        None => context.visible_services()?,
    };
    if names.is_empty() {
        context.ui.warn("There are no postgres services");
    }
    let mut reports = Vec::new();
    for name in names {
        let report = examine(context, &name)?;
        if !json {
            show(&context.ui, &report)?;
        }
        reports.push(report);
    }
    if json {
        match reports.as_slice() {
            [report] if !args.all => context.ui.json(report)?,
            all => context.ui.json(&all)?,
        }
    }
    let broken: Vec<String> = reports
        .iter()
        .filter(|report| report.verdict == Verdict::Fail)
        .map(|report| format!("{} ({})", report.service, report.summary()))
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!("Backups or restores will fail: {}", broken.join(", "))).into())
}

/// All that can be found out about a service.
///
/// # Errors
/// When we were asked to stop.
pub fn examine(context: &Context, name: &ServiceName) -> Result<Report> {
    let service = match Service::find(&context.environment.lib_root, name) {
        Ok(service) => service,
        Err(failure) => return Ok(Report::new(name.clone(), vec![Group::Service.failed("service", failure)])),
    };
    let busy = Lock::owner(&context.environment.data_folder(), name).is_some();
    let now = context.now();
    let mut findings = vec![Group::Service.ok("service", format!("Its database is {}", service.database))];
    let (running, found) = container(context, &service)?;
    findings.push(found);
    if let Some(running) = running {
        let (server, found) = server::examine(context, &running)?;
        findings.extend(found);
        if let Some(server) = server {
            findings.extend(server::restore(&server, &running));
            findings.extend(backups::beside(&server.beside, name, busy, now));
        }
    }
    let (newest, found) = destination::examine(context, &service)?;
    findings.extend(found);
    findings.extend(destination::examine_copy(context, &service)?);
    findings.extend(apps::examine(context, &service));
    findings.extend(schedule::examine(context, name)?);
    let entries = match known::history(name, context).read() {
        Ok(entries) => {
            // Settings that can't be read are told of with the destination.
            let drill_max_age = context.settings(name).ok().and_then(|settings| settings.drill_max_age);
            findings.extend(backups::history(&entries, newest.as_ref(), name, drill_max_age, now));
            findings.extend(backups::copies(context, &entries, name));
            entries
        }
        Err(error) => {
            findings.push(Group::Backups.failed("history", error));
            Vec::new()
        }
    };
    findings.extend(backups::held(context, &entries, name));
    findings.extend(encryption::examine(context, &service, newest.as_ref(), backups::last_size(&entries))?);
    findings.extend(backups::unfinished(context, name));
    if !busy {
        findings.extend(throwaways(context, &service)?);
    }
    findings.extend(host::examine(context, &service));
    Ok(Report::new(name.clone(), findings))
}

fn container(context: &Context, service: &Service) -> Result<(Option<RunningService>, Finding)> {
    let (docker, of) = (context.docker.clone(), service.clone());
    match bounded(LIMIT, move || Ok(of.running(&docker)?)) {
        Ok(running) => {
            let found = Group::Service.ok("container", format!("{} runs {}", service.container, running.image));
            Ok((Some(running), found))
        }
        Err(error) => {
            crate::interrupt::check()?;
            Ok((None, Group::Service.failed("container", error)))
        }
    }
}

/// Containers that killed drills have left.
fn throwaways(context: &Context, service: &Service) -> Result<Option<Finding>> {
    let (docker, name) = (context.docker.clone(), service.name.clone());
    // A docker that can't be asked is told of elsewhere.
    let left = bounded(LIMIT, move || throwaway::left_behind(&docker, &name)).unwrap_or_default();
    crate::interrupt::check()?;
    Ok((!left.is_empty()).then(|| {
        Group::Backups
            .warn(
                "unfinished",
                format!("{} left by an interrupted run", count(left.len() as u64, "throw-away container")),
            )
            .fix(format!("Any next run removes it, such as: dokku pgbackup:verify {} latest", service.name))
            .fix(format!("Or at once: docker container rm --force --volumes {}", left.join(" ")))
    }))
}

/// One line for each thing that was found, and below it what to type.
fn show(ui: &Ui, report: &Report) -> Result<()> {
    let shown: Vec<&Finding> =
        report.checks.iter().filter(|finding| !ui.is_quiet() || finding.verdict != Verdict::Ok).collect();
    if shown.is_empty() {
        return Ok(());
    }
    ui.line(format!("=====> Checking {}", report.service))?;
    let mut group = None;
    for finding in shown {
        if group != Some(finding.group) {
            group = Some(finding.group);
            ui.line(format!("-----> {}", finding.group.title()))?;
        }
        ui.line(format!("       {:<5} {}", finding.verdict.word(), finding.message))?;
        for fix in &finding.fixes {
            ui.line(format!("             {fix}"))?;
        }
    }
    ui.line(format!("=====> {}: {}", report.service, report.summary()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;
    use crate::dokku::environment::Environment;
    use crate::secret::Secret;
    use crate::ui::Captured;

    /// A host with a service on disk; docker is not there.
    pub(crate) fn world() -> (tempfile::TempDir, Context, Service) {
        let (folder, context, service, _) = world_with(false);
        (folder, context, service)
    }

    fn world_with(quiet: bool) -> (tempfile::TempDir, Context, Service, Captured) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let environment = Environment::from_lookup(|name| match name {
            "DOKKU_LIB_ROOT" => Some(root.clone().into()),
            "DOKKU_ROOT" => Some(root.join("home").into()),
            "DOCKER_BIN" => Some(root.join("no-docker").into()),
            _ => None,
        });
        fs::create_dir_all(root.join("services/postgres/prod")).unwrap();
        fs::write(root.join("services/postgres/prod/PASSWORD"), "secret").unwrap();
        fs::write(root.join("services/postgres/prod/LINKS"), "web\n").unwrap();
        let (ui, said) = Ui::captured(quiet);
        let context = Context::new(environment, ui);
        let service = Service::find(&root, &"prod".parse().unwrap()).unwrap();
        (folder, context, service, said)
    }

    pub(crate) fn running() -> RunningService {
        RunningService {
            service: Service {
                name: "prod".parse().unwrap(),
                root: "/var/lib/dokku/services/postgres/prod".into(),
                container: "dokku.postgres.prod".to_owned(),
                database: "prod".to_owned(),
                password: Secret::new(""),
                linked_apps: Vec::new(),
            },
            address: crate::service::Address::Network("172.17.0.2".parse().unwrap()),
            image: "postgres:15.18".to_owned(),
        }
    }

    #[test]
    fn shows_groups_words_and_what_to_type() {
        let report = Report::new(
            "prod".parse().unwrap(),
            vec![
                Group::Service.ok("version", "PostgreSQL 15.18"),
                Group::Service.failed(
                    "container",
                    Failure::failed("It is stopped").hint("Start it with: dokku postgres:start prod"),
                ),
                Group::Host.warn("folders", "Something"),
            ],
        );
        let (ui, said) = Ui::captured(false);
        show(&ui, &report).unwrap();
        insta::assert_snapshot!(said.out(), @r"
        =====> Checking prod
        -----> Service
               ok    PostgreSQL 15.18
               FAIL  It is stopped
                     Start it with: dokku postgres:start prod
        -----> Host
               warn  Something
        =====> prod: 1 check ok, 1 warning, 1 failure
        ");
        let (ui, said) = Ui::captured(true);
        show(&ui, &report).unwrap();
        assert!(!said.out().contains("15.18") && said.out().contains("FAIL"), "{}", said.out());
        let (ui, said) = Ui::captured(true);
        show(&ui, &Report::new("prod".parse().unwrap(), vec![Group::Host.ok("a", "A")])).unwrap();
        assert_eq!(said.out(), "");
    }

    #[test]
    fn finds_all_that_is_wrong_at_once() {
        let (_folder, context, service, _) = world_with(false);
        let report = examine(&context, &service.name).unwrap();
        let failed: Vec<_> = report
            .checks
            .iter()
            .filter(|finding| finding.verdict == Verdict::Fail)
            .map(|finding| finding.check)
            .collect();
        assert_eq!(failed, ["container", "destination", "folders"]);
        let unknown = examine(&context, &"ghost".parse().unwrap()).unwrap();
        assert_eq!((unknown.verdict, unknown.checks[0].check), (Verdict::Fail, "service"));
    }
}
