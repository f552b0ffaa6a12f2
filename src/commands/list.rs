//! `pgbackup:list`: the backups of a service, newest first.
//!
//! Also those that `dokku postgres:backup` has made. Where the role may not list the bucket, this host's history is shown
//! and said to be all that is known.

use std::num::NonZero;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Backup, Maker, Verified};
use crate::commands::Context;
use crate::commands::arguments::{Elsewhere, Output, how_many};
use crate::commands::backups::{self, Place, standing};
use crate::commands::objects::{self, Listed};
use crate::copies::Copies;
use crate::error::Failure;
use crate::history::Depth;
use crate::holds::Holds;
use crate::manifest::{Incident, Manifest};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::signing::{Keys, Standing};
use crate::store::{Store, Version};
use crate::ui::human;
use crate::ui::{Column, Table};

/// List the backups of a service
///
/// Newest first, also those that dokku postgres:backup has made. Where this host may not list the bucket the local history
/// is shown. A terminal that is too narrow shows fewer columns; a pipe gets all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "List the backups of lollipop

    dokku pgbackup:list lollipop

Print the key of the newest one

    dokku pgbackup:list lollipop --limit 1 --format json | jq -r '.[0].key'

List those of a host that is gone

    dokku pgbackup:list lollipop --from s3://my-backups/prod

Find one that was deleted from a bucket with versions

    dokku pgbackup:list lollipop --versions")]
pub struct Args {
    /// The service whose backups are listed
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// Show this many at most
    #[arg(long, value_name = "N", value_parser = how_many)]
    pub limit: Option<NonZero<usize>>,
    /// Show every version that the bucket keeps, also of backups that were replaced or deleted; with a name those of that object alone
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub versions: Option<String>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// A backup as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Row<'a> {
    key: String,
    service: &'a ServiceName,
    started: Timestamp,
    bytes: Option<u64>,
    tables: Option<u64>,
    rows: Option<u64>,
    made_by: &'static str,
    encrypted: bool,
    label: Option<&'a str>,
    stored: Option<Timestamp>,
    storage_class: Option<&'a str>,
    verified: Option<VerifiedRow>,
    trouble: Option<&'a str>,
    suspicious: bool,
    held: bool,
    incident: Option<&'a Incident>,
    copied_to: Option<&'a str>,
    signed: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct VerifiedRow {
    at: Timestamp,
    depth: Depth,
    good: bool,
    proven: bool,
}

/// Lists the backups of a service.
///
/// # Errors
/// When the service is unknown, or the store or the history can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let store = backups::open(context, &args.service, &args.elsewhere)?;
    let shown = if args.versions.is_some() {
        versions(args, store.as_ref(), context)
    } else {
        list(args, store.as_ref(), context)
    };
    shown.map_err(|error| backups::explain(error, context, &args.service, &args.elsewhere))
}

fn list(args: &Args, store: &dyn Store, context: &Context) -> Result<()> {
    let ui = &context.ui;
    if args.output.is_json() {
        ui.reserve_output();
    }
    let place = Place::of(store, &args.service, &args.elsewhere, None);
    let service = &place.service;
    let mut catalog = place.catalog(context)?;
    let shown = args.limit.map_or(usize::MAX, NonZero::get);
    let keys = Keys::read(&context.environment.data_folder())?;
    catalog.read_sidecars(store, shown);
    catalog.read_drills(store, &keys, shown);
    crate::interrupt::check()?;
    if let Some(reason) = &catalog.not_listed {
        if place.elsewhere {
            return Err(Failure::failed(format!("The backups in {} can't be listed: {reason}", catalog.destination))
                .hint("A key that is known can still be given to info or restore or download")
                .into());
        }
        ui.warn(format!("Only what this host remembers is shown: {reason}"));
    }
    let holds = if place.elsewhere {
        Holds::default()
    } else {
        Holds::read(&context.environment.data_folder().join(service.as_str()))?
    };
    // What was copied from here is no news of another place.
    let copies = if place.elsewhere { None } else { backups::copies(service, context) }.unwrap_or_default();
    let named = match Service::find(&context.environment.lib_root, service) {
        Ok(found) if !place.elsewhere => objects::listed(context, &found)?,
        _ => Vec::new(),
    };
    let backups = catalog.backups.get(..shown.min(catalog.backups.len())).unwrap_or_default();
    let all = catalog.backups.len().saturating_add(named.len());
    if args.output.is_json() {
        let mut rows: Vec<Row> = backups.iter().map(|backup| row(backup, &holds, &copies, &keys)).collect();
        rows.extend(named.iter().map(|object| named_row(object, service)));
        rows.sort_by_key(|row| std::cmp::Reverse(row.started));
        rows.truncate(shown);
        ui.json(&rows)?;
    } else if all == 0 && catalog.not_listed.is_some() {
        return Err(Failure::failed(format!("Which backups of {service} there are is not known"))
            .hint(format!("This host may not list {} and remembers no backup there", catalog.destination))
            .hint("A key that is known can still be given to restore or verify or download")
            .into());
    } else if all == 0 {
        ui.warn(format!("There are no backups of {service} in {}", catalog.destination));
        if place.elsewhere {
            place.others().into_iter().for_each(|hint| ui.warn(hint));
        } else {
            ui.warn(format!("Take one with: dokku pgbackup:backup {service}"));
        }
    } else {
        ui.header(format!("{service} backups in {}", catalog.destination));
        ui.table(&table(backups, &named, (&holds, &copies, &keys), context.now(), shown))?;
        match all.saturating_sub(shown.min(all)) {
            0 => {}
            1 => ui.detail("An older one is not shown"),
            rest => ui.detail(format!("{rest} older ones are not shown")),
        }
    }
    if let Some(hold) = &holds.service {
        ui.warn(format!("The backups of {service} are held {}", hold.describe()));
    }
    for backup in backups {
        if let Some(trouble) = &backup.trouble {
            ui.warn(format!("What {} holds is not known: {trouble}", backup.key));
        }
    }
    if !catalog.gone.is_empty() {
        let keys: Vec<String> = catalog.gone.iter().take(3).map(ToString::to_string).collect();
        let more = if catalog.gone.len() > keys.len() { " …" } else { "" };
        let count = catalog.gone.len();
        let what = if count == 1 { "1 backup".to_owned() } else { format!("{count} backups") };
        ui.warn(format!("{what} made here can't be found there any more: {}{more}", keys.join(" ")));
    }
    Ok(())
}

fn row<'a>(backup: &'a Backup, holds: &Holds, copies: &'a Copies, keys: &Keys) -> Row<'a> {
    Row {
        key: backup.key.to_string(),
        service: backup.key.service(),
        started: backup.key.started(),
        bytes: backup.bytes,
        tables: backup.tables(),
        rows: backup.rows(),
        made_by: backup.maker().as_str(),
        encrypted: backup.key.encrypted(),
        label: backup.label(),
        stored: backup.stored,
        storage_class: backup.class.as_deref(),
        verified: backup.verified.map(|Verified { at, depth, good, proven }| VerifiedRow { at, depth, good, proven }),
        trouble: backup.trouble.as_deref(),
        suspicious: is_suspicious(backup, holds),
        held: holds.holds(&backup.key),
        incident: backup.manifest.as_ref().and_then(|manifest| manifest.incident.as_ref()),
        copied_to: copies.copied.get(&backup.key).map(|(_, copy)| copy.destination.as_str()),
        signed: standing(backup, keys).map(|standing| standing.word()),
    }
}

/// What dokku-postgres has saved under a name of its own.
fn named_row<'a>(named: &'a Listed, service: &'a ServiceName) -> Row<'a> {
    Row {
        key: named.name.clone(),
        service,
        started: named.started,
        bytes: Some(named.object.bytes),
        tables: None,
        rows: None,
        made_by: Maker::DokkuPostgres.as_str(),
        encrypted: named.name.ends_with(".gpg"),
        label: None,
        stored: named.object.modified,
        storage_class: named.object.class.as_deref(),
        verified: None,
        trouble: None,
        suspicious: false,
        held: false,
        incident: None,
        copied_to: None,
        signed: None,
    }
}

fn table(
    backups: &[Backup],
    named: &[Listed],
    (holds, copies, keys): (&Holds, &Copies, &Keys),
    now: Timestamp,
    shown: usize,
) -> Table {
    let mut table = Table::new(&[
        // The key says it, too.
        Column::left("started").spare(1),
        Column::right("age"),
        Column::left("key"),
        Column::right("size"),
        Column::right("tables").spare(3),
        Column::right("rows").spare(4),
        Column::left("made-by").spare(2),
        Column::left("flags"),
        Column::left("label"),
    ]);
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let mut rows = Vec::new();
    for backup in backups {
        let cells = [
            human::time(backup.key.started()),
            human::age(backup.key.started(), now),
            backup.key.to_string(),
            backup.bytes.map(human::size).unwrap_or_default(),
            number(backup.tables()),
            number(backup.rows()),
            if backup.maker() == Maker::Unknown { String::new() } else { backup.maker().as_str().to_owned() },
            flags(backup, holds, copies, keys),
            backup.label().unwrap_or_default().to_owned(),
        ];
        rows.push((backup.key.started(), cells));
    }
    for object in named {
        let encrypted = object.name.ends_with(".gpg").then(|| "encrypted".to_owned());
        let class = object.object.class.as_ref().map(|class| class.to_lowercase());
        let cells = [
            human::time(object.started),
            human::age(object.started, now),
            object.name.clone(),
            human::size(object.object.bytes),
            String::new(),
            String::new(),
            Maker::DokkuPostgres.as_str().to_owned(),
            encrypted.into_iter().chain(class).collect::<Vec<_>>().join(","),
            String::new(),
        ];
        rows.push((object.started, cells));
    }
    rows.sort_by_key(|(started, _)| std::cmp::Reverse(*started));
    for (_, cells) in rows.into_iter().take(shown) {
        table.row(cells);
    }
    table
}

/// A version as `--format json` shows it; fields are only ever added.
#[derive(Debug, Serialize)]
struct VersionRow<'a> {
    key: &'a str,
    version_id: &'a str,
    stored: Option<Timestamp>,
    bytes: u64,
    storage_class: Option<&'a str>,
    present: bool,
    deleted: bool,
}

/// Shows what the bucket keeps of its past.
fn versions(args: &Args, store: &dyn Store, context: &Context) -> Result<()> {
    let ui = &context.ui;
    if args.output.is_json() {
        ui.reserve_output();
    }
    let place = Place::of(store, &args.service, &args.elsewhere, None);
    let asked = args.versions.as_deref().filter(|name| !name.is_empty());
    let mut found = objects::versions(context, &args.service, &place.service, &args.elsewhere, asked)?;
    if !found.is_empty() && found.iter().all(|(_, version)| version.id.is_null()) {
        ui.warn(format!("{} keeps no versions: what is replaced or deleted there is gone", store.describe()));
    }
    let all = found.len();
    found.truncate(args.limit.map_or(usize::MAX, NonZero::get));
    if args.output.is_json() {
        let rows = found.iter().map(|(name, Version { object, id, present, deleted })| VersionRow {
            key: name,
            version_id: id.as_str(),
            stored: object.modified,
            bytes: object.bytes,
            storage_class: object.class.as_deref(),
            present: *present,
            deleted: *deleted,
        });
        return ui.json(&rows.collect::<Vec<_>>());
    }
    if found.is_empty() {
        let what = asked.map_or_else(|| format!("a backup of {}", place.service), str::to_owned);
        ui.warn(format!("There is no version of {what} in {}", store.describe()));
        return Ok(());
    }
    ui.header(format!("{} versions in {}", asked.unwrap_or(place.service.as_str()), store.describe()));
    let mut table = Table::new(&[
        Column::left("stored"),
        Column::right("age"),
        Column::left("key"),
        Column::right("size"),
        Column::left("version-id"),
        Column::left("flags"),
    ]);
    for (name, version) in &found {
        let stored = version.object.modified;
        table.row([
            stored.map(human::time).unwrap_or_default(),
            stored.map(|stored| human::age(stored, context.now())).unwrap_or_default(),
            name.clone(),
            if version.deleted { String::new() } else { human::size(version.object.bytes) },
            version.id.to_string(),
            match (version.present, version.deleted) {
                (true, false) => "present",
                (_, true) => "DELETED",
                (false, false) => "",
            }
            .to_owned(),
        ]);
    }
    ui.table(&table)?;
    if all > found.len() {
        ui.detail(format!("{} older ones are not shown", all - found.len()));
    }
    Ok(())
}

/// Without blanks: `encrypted,verified:2026-11-23`.
fn flags(backup: &Backup, holds: &Holds, copies: &Copies, keys: &Keys) -> String {
    let mut flags = Vec::new();
    if backup.key.encrypted() {
        flags.push("encrypted".to_owned());
    }
    if let Some(Verified { at, good, .. }) = backup.verified {
        flags.push(format!("{}:{}", if good { "verified" } else { "BAD" }, at.strftime("%F")));
    }
    // Signed ones are as they should be; on a host without a key nobody asks.
    if let Some(standing) = standing(backup, keys).filter(|_| keys.signing().is_some()) {
        flags.extend((!matches!(standing, Standing::Signed(_))).then(|| standing.word().to_owned()));
    }
    if backup.replaced {
        flags.push("REPLACED".to_owned());
    }
    if is_suspicious(backup, holds) {
        flags.push("SUSPICIOUS".to_owned());
    }
    if holds.holds(&backup.key) {
        flags.push("held".to_owned());
    }
    if let Some(manifest) = &backup.manifest {
        if manifest.safety {
            flags.push("safety".to_owned());
        }
        if manifest.incident.is_some() {
            flags.push("incident".to_owned());
        }
    }
    if copies.copied.contains_key(&backup.key) {
        flags.push("copied".to_owned());
    } else if copies.missing.contains(&backup.key) {
        flags.push("NOT-COPIED".to_owned());
    }
    if let Some(class) = &backup.class {
        flags.push(class.to_lowercase());
    }
    flags.join(",")
}

/// Whether a table had lost its rows, and nobody has said that this is right.
fn is_suspicious(backup: &Backup, holds: &Holds) -> bool {
    backup.manifest.as_ref().is_some_and(Manifest::is_suspicious) && !holds.has_released(&backup.key)
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::catalog::tests::{Shelf, made};
    use crate::commands::arguments::Format;
    use crate::commands::backups::history;
    use crate::dokku::environment::Environment;
    use crate::history::tests::manifest;
    use crate::ui::{Captured, Ui};

    use super::*;

    const OLD: &str = "postgres-prod-2023-04-02-14-30-01.tgz.gpg";
    const NEW: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    pub(crate) fn world() -> (tempfile::TempDir, Context, Captured) {
        let host = tempfile::tempdir().unwrap();
        let root = host.path().to_owned();
        let environment = Environment::from_lookup(|name| (name == "DOKKU_LIB_ROOT").then(|| root.clone().into()));
        let (ui, said) = Ui::captured(false);
        let context = Context::new(environment, ui).with_clock(|| "2023-04-03T12:00:00Z".parse().unwrap());
        (host, context, said)
    }

    fn args(format: Format, limit: Option<usize>) -> Args {
        let limit = limit.and_then(NonZero::new);
        Args {
            service: "prod".parse().unwrap(),
            limit,
            versions: None,
            elsewhere: Elsewhere::default(),
            output: Output { format },
        }
    }

    fn shelf() -> Shelf {
        let shelf = Shelf::with(&[OLD, NEW, "postgres-prod-2-2023-04-03-11-00-04.tgz"]);
        shelf.place(&format!("{NEW}.manifest.json"), &manifest(NEW).to_json().unwrap());
        shelf
    }

    #[test]
    fn shows_a_table() {
        let (_host, context, said) = world();
        list(&args(Format::Stdout, None), &shelf(), &context).unwrap();
        insta::assert_snapshot!(said.out(), @r#"
        =====> prod backups in s3://bucket/backups
        started               age  key                                        size  tables  rows  made-by         flags      label
        2023-04-03T11:00:04Z  59m  postgres-prod-2023-04-03-11-00-04.tgz        6B       2  5562  pgbackup        -          before the release
        2023-04-02T14:30:01Z  21h  postgres-prod-2023-04-02-14-30-01.tgz.gpg    6B       -     -  dokku-postgres  encrypted  -
        "#);
        assert_eq!(said.err(), "");
    }

    #[test]
    fn shows_json_and_nothing_else() {
        let (_host, context, said) = world();
        list(&args(Format::Json, Some(1)), &shelf(), &context).unwrap();
        insta::assert_snapshot!(said.out(), @r#"[{"key":"postgres-prod-2023-04-03-11-00-04.tgz","service":"prod","started":"2023-04-03T11:00:04Z","bytes":6,"tables":2,"rows":5562,"made_by":"pgbackup","encrypted":false,"label":"before the release","stored":"1970-01-01T00:00:00Z","storage_class":null,"verified":null,"trouble":null,"suspicious":false,"held":false,"incident":null,"copied_to":null,"signed":"unsigned"}]"#);
        let (_host, context, said) = world();
        list(&args(Format::Json, None), &Shelf::default(), &context).unwrap();
        assert_eq!(said.out(), "[]\n");
    }

    #[test]
    fn says_when_there_is_none_or_when_it_can_not_know() {
        let (_host, context, said) = world();
        list(&args(Format::Stdout, None), &Shelf::default(), &context).unwrap();
        insta::assert_snapshot!(said.err(), @r#"
        !     There are no backups of prod in s3://bucket/backups
        !     Take one with: dokku pgbackup:backup prod
        "#);

        let (_host, context, said) = world();
        let shelf = shelf();
        shelf.deny("s3:ListBucket");
        history(&"prod".parse().unwrap(), &context).append(&made(NEW)).unwrap();
        list(&args(Format::Stdout, None), &shelf, &context).unwrap();
        insta::assert_snapshot!(format!("{}{}", said.out(), said.err()), @r#"
        =====> prod backups in s3://bucket/backups
        started               age  key                                    size  tables  rows  made-by   flags  label
        2023-04-03T11:00:04Z  59m  postgres-prod-2023-04-03-11-00-04.tgz    6B       2  5562  pgbackup  -      before the release
         !     Only what this host remembers is shown: permission s3:ListBucket is missing for s3://bucket/backups
        "#);
    }

    #[test]
    fn says_what_is_gone_and_what_is_left_out() {
        let (_host, context, said) = world();
        history(&"prod".parse().unwrap(), &context).append(&made("postgres-prod-2023-01-01-00-00-00.tgz")).unwrap();
        list(&args(Format::Stdout, Some(1)), &shelf(), &context).unwrap();
        insta::assert_snapshot!(format!("{}{}", said.out(), said.err()), @r#"
        =====> prod backups in s3://bucket/backups
        started               age  key                                    size  tables  rows  made-by   flags  label
        2023-04-03T11:00:04Z  59m  postgres-prod-2023-04-03-11-00-04.tgz    6B       2  5562  pgbackup  -      before the release
               An older one is not shown
         !     1 backup made here can't be found there any more: postgres-prod-2023-01-01-00-00-00.tgz
        "#);
    }
}
