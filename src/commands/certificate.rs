//! `certificate`: the proof of a restore or a drill, to be handed to somebody who was not there.

use std::path::PathBuf;

use anyhow::Result;

use crate::certificate::{Backup, Certificate, Point, Shelf, Work};
use crate::commands::arguments::Output;
use crate::commands::context::Context;
use crate::commands::restore::source::Source;
use crate::durable;
use crate::error::{Failure, Kind};
use crate::history::{Event, History};
use crate::service::name::ServiceName;
use crate::service::{RunningService, Service};
use crate::verification::Verification;

/// How many backups the charts show.
const CHARTED: usize = 120;

/// Show the certificate of a restore or a drill
///
/// Each restore and each drill leaves a certificate: which backup with which checksum; who and when; every table with what was expected and
/// found; the verdict. Shown is the newest one or the newest one of a backup. --html writes one page that needs nothing else: with
/// charts of sizes and rows over time and fit for printing.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> [<backup>] [--html [FILE]] [--format json]",
    after_help = "Show the newest certificate of lollipop

    dokku pgbackup:certificate lollipop

Prove a backup and keep the proof as a page

    dokku pgbackup:verify lollipop latest
    ssh dokku@host pgbackup:certificate lollipop --html > lollipop.html"
)]
pub struct Args {
    /// The service that was restored or tried
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of it; the newest certificate of any when left out
    #[arg(value_name = "backup")]
    pub backup: Option<String>,
    /// Write a page into this file; standard output when left out
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub html: Option<PathBuf>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// Shows it.
///
/// # Errors
/// When there is none.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let name = Service::find(&context.environment.lib_root, &args.service)?.name;
    let folder = context.environment.data_folder().join(name.as_str());
    let part = args.backup.as_deref().filter(|part| *part != "latest");
    let Some(certificate) = Shelf::of(&folder).newest(part)? else {
        let of = part.map_or_else(|| name.to_string(), |part| format!("a backup of {name} with {part} in its name"));
        return Err(Failure::new(Kind::NoSuchBackup, format!("There is no certificate of {of}"))
            .hint(format!("A drill makes one: dokku pgbackup:verify {name} latest"))
            .into());
    };
    if args.output.is_json() {
        return context.ui.json(&certificate);
    }
    let Some(path) = &args.html else {
        return certificate.text().iter().try_for_each(|line| context.ui.line(line));
    };
    let page = certificate.html(&points(&History::of(&folder))?);
    if path.as_os_str() == "-" {
        return page.lines().try_for_each(|line| context.ui.line(line));
    }
    durable::write(path, page.as_bytes(), 0o644)?;
    context.ui.outcome(format!("Certificate written to {}", path.display()), "");
    Ok(())
}

/// Sizes and rows of the last backups.
fn points(history: &History) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = history
        .read()?
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Backup(record) => {
                Some(Point { started: record.key.started(), bytes: record.bytes, rows: record.rows })
            }
            _ => None,
        })
        .collect();
    points.sort_by_key(|point| point.started);
    let surplus = points.len().saturating_sub(CHARTED);
    Ok(points.split_off(surplus))
}

/// What a certificate says of a backup, to be asked before it is opened.
pub fn describe(source: &Source) -> Backup {
    let manifest = source.manifest();
    let object = manifest.and_then(|manifest| manifest.object.as_ref());
    Backup {
        source: source.describe(),
        destination: match source {
            Source::Stored { store, .. } => Some(store.describe()),
            Source::Object(named) => Some(named.store.describe()),
            _ => None,
        },
        sha256_behind_head: object.map(|object| object.sha256_behind_head.clone()),
        bytes: object.map(|object| object.bytes),
        snapshot: manifest.map(|manifest| manifest.snapshot),
        made_by: manifest.map(|manifest| manifest.made_by.clone()),
        server: manifest.map(|manifest| format!("{} (PostgreSQL {})", manifest.host, manifest.server.version)),
    }
}

/// Keeps a certificate. That it can't be kept is told: what it says has happened all the same.
pub fn keep(
    context: &Context,
    service: &RunningService,
    work: Work,
    backup: Backup,
    seconds: f64,
    verification: &Verification,
) {
    let environment = &context.environment;
    let now = context.now();
    let took = jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    let certificate = Certificate {
        format: Certificate::FORMAT,
        work,
        passed: verification.passed(),
        service: service.service.name.clone(),
        host: environment.host_name(),
        user: environment.ssh_user.clone(),
        name: environment.ssh_name.clone(),
        began: now.checked_sub(took).unwrap_or(now),
        seconds,
        backup,
        image: service.image.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        verification: verification.clone(),
    };
    let folder = environment.data_folder().join(service.service.name.as_str());
    if let Err(error) = Shelf::of(&folder).keep(&certificate) {
        context.ui.warn(format!("The certificate can't be kept: {error:#}"));
    }
}
