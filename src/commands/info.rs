//! `pgbackup:info`: one backup in full, and the one line that restores it by hand with stock tools.
//!
//! For an object of dokku-postgres there is no manifest: what the store and the key say is shown, and that nothing more is known.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Backup, Maker, Verified};
use crate::commands::Context;
use crate::commands::arguments::{Output, Which};
use crate::commands::backups::find;
use crate::history::Depth;
use crate::manifest::Manifest;
use crate::service::Service;
use crate::service::credentials::BackupAuth;
use crate::service::name::ServiceName;
use crate::settings::Auth;
use crate::store::Store;
use crate::store::key::BackupKey;
use crate::ui::human;
use crate::ui::{Column, Table};

/// Show one backup in full
///
/// What its manifest says: when and where it was made and from which server; the row counts of its tables; its size and
/// checksum.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup>|--before TIME [--format json]",
    after_help = "Show the newest backup of lollipop

    dokku pgbackup:info lollipop latest

Show the one of the 3rd of April at 11

    dokku pgbackup:info lollipop 2023-04-03-11"
)]
pub struct Args {
    /// The service whose backup is shown
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub which: Which,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// What `--format json` shows; fields are only ever added.
#[derive(Debug, Serialize)]
struct Report<'a> {
    key: &'a BackupKey,
    service: &'a ServiceName,
    destination: &'a str,
    started: Timestamp,
    bytes: Option<u64>,
    made_by: &'static str,
    encrypted: bool,
    stored: Option<Timestamp>,
    storage_class: Option<&'a str>,
    verified: Option<Tried>,
    by_hand: String,
    manifest: Option<&'a Manifest>,
    trouble: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Tried {
    at: Timestamp,
    depth: Depth,
    good: bool,
}

/// Shows one backup.
///
/// # Errors
/// When there is no such backup, or the store or the history can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    let store = context.store(&service)?;
    info(args, store.as_ref(), endpoint(&service, context)?.as_deref(), context)
}

/// The endpoint in effect: the property, else what was given together with the service's own keys.
fn endpoint(service: &Service, context: &Context) -> Result<Option<String>> {
    let settings = context.settings(&service.name)?;
    if let Some(url) = settings.endpoint_url {
        return Ok(Some(url.as_str().to_owned()));
    }
    let keys_of_service = match settings.auth {
        Auth::Auto => settings.own_keys.is_none(),
        Auth::Service => true,
        Auth::Iam | Auth::Own => false,
    };
    if !keys_of_service {
        return Ok(None);
    }
    Ok(BackupAuth::read(service)?.and_then(|keys| keys.endpoint))
}

fn info(args: &Args, store: &dyn Store, endpoint: Option<&str>, context: &Context) -> Result<()> {
    let ui = &context.ui;
    if args.output.is_json() {
        ui.reserve_output();
    }
    let (catalog, mut backup) = find(&args.which.selector()?, &args.service, store, context)?;
    if let Err(error) = backup.read_manifest(store) {
        let error = format!("{error:#}");
        ui.warn(format!("Its manifest can't be read: {error}"));
        backup.trouble = Some(error);
    }
    let by_hand = by_hand(&catalog.destination, &backup.key, endpoint);
    if args.output.is_json() {
        return ui.json(&Report {
            key: &backup.key,
            service: backup.key.service(),
            destination: &catalog.destination,
            started: backup.key.started(),
            bytes: backup.bytes,
            made_by: backup.maker().as_str(),
            encrypted: backup.key.encrypted(),
            stored: backup.stored,
            storage_class: backup.class.as_deref(),
            verified: backup.verified.map(|Verified { at, depth, good }| Tried { at, depth, good }),
            by_hand,
            manifest: backup.manifest.as_ref(),
            trouble: backup.trouble.as_deref(),
        });
    }
    ui.header(format!("{} information", backup.key));
    let mut lines = Table::new(&[Column::left(""), Column::left("")]);
    for (name, value) in facts(&backup, &catalog.destination, context.now()) {
        lines.row([format!("{name}:"), value]);
    }
    for line in lines.lines() {
        ui.line(format!("       {line}"))?;
    }
    if backup.manifest.as_ref().is_some_and(Manifest::is_brief) {
        ui.line("")?;
        ui.line("       Its tables are named inside the encrypted archive only, and in the history of the host that made it")?;
    } else if let Some(manifest) = &backup.manifest {
        ui.line("")?;
        let mut tables = Table::new(&[Column::left("table"), Column::right("rows")]);
        for (table, rows) in &manifest.fingerprint.tables {
            tables.row([table.clone(), rows.to_string()]);
        }
        for line in tables.lines().filter(|_| !tables.is_empty()) {
            ui.line(format!("       {line}"))?;
        }
        let mut checks = Table::new(&[Column::left("check"), Column::left("wanted"), Column::left("answer")]);
        for (name, check) in &manifest.fingerprint.checks {
            let mark = if check.holds() { "" } else { " (FAILED)" };
            let answer = format!("{}{mark}", check.answer.describe());
            checks.row([name.to_string(), check.check.wants.describe(), answer]);
        }
        if !checks.is_empty() {
            ui.line("")?;
        }
        for line in checks.lines().filter(|_| !checks.is_empty()) {
            ui.line(format!("       {line}"))?;
        }
    } else if backup.maker() == Maker::DokkuPostgres {
        ui.line("")?;
        ui.line("       What it holds is not recorded: it has no manifest, as all that dokku postgres:backup makes")?;
        ui.line(format!("       Find out with: dokku pgbackup:verify {} {}", args.service, backup.key))?;
    }
    ui.line("")?;
    ui.line("       Restore by hand without pgbackup (into the live database, not undoable):")?;
    ui.line(format!("       {by_hand}"))
}

/// Name and value of all that is known, in the order of a reader's questions.
fn facts(backup: &Backup, destination: &str, now: Timestamp) -> Vec<(&'static str, String)> {
    let key = &backup.key;
    let mut facts = vec![
        ("Service", key.service().to_string()),
        ("Destination", destination.to_owned()),
        ("Started", format!("{} ({} ago)", human::time(key.started()), human::age(key.started(), now))),
        ("Made by", backup.maker().as_str().to_owned()),
        ("Encrypted", if key.encrypted() { "yes" } else { "no" }.to_owned()),
    ];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("Size", backup.bytes.map(|bytes| format!("{} ({bytes} bytes)", human::size(bytes))));
    add("Stored", backup.stored.map(human::time));
    add("Storage class", backup.class.clone());
    add("Label", backup.label().map(str::to_owned));
    add(
        "Verified",
        Some(backup.verified.map_or_else(
            || "never on this host".to_owned(),
            |tried| {
                let how = match tried.depth {
                    Depth::Restore => "restored and compared",
                    Depth::Read => "read and checksum compared",
                };
                let outcome = if tried.good { "good" } else { "BAD" };
                format!("{} {outcome} ({how})", human::time(tried.at))
            },
        )),
    );
    add("Confirmed", backup.record.as_ref().map(|record| record.confirmed_by.clone()));
    let Some(manifest) = &backup.manifest else {
        add("Tables", backup.tables().map(|count| count.to_string()));
        add("Rows", backup.rows().map(|count| count.to_string()));
        return facts;
    };
    let list = |names: Vec<String>| if names.is_empty() { None } else { Some(names.join(" ")) };
    let database = &manifest.database;
    let print = &manifest.fingerprint;
    add("Snapshot", Some(human::time(manifest.snapshot)));
    add("Finished", manifest.object.as_ref().map(|object| human::time(object.finished)));
    add(
        "SHA-256",
        manifest.object.as_ref().map(|object| {
            let how = match object.head_bytes {
                0 => "sha256sum FILE".to_owned(),
                head => format!("tail -c +{} FILE | sha256sum", head + 1),
            };
            format!("{} ({how})", object.sha256_behind_head)
        }),
    );
    add("Made with", Some(manifest.made_by.clone()));
    if manifest.is_brief() {
        add("PostgreSQL", Some(manifest.server.version.clone()));
        add("Database size", Some(format!("{} ({} bytes)", human::size(database.bytes), database.bytes)));
        add("Dump size", Some(format!("{} ({} bytes)", human::size(manifest.dump_bytes), manifest.dump_bytes)));
        add("Tables", Some(manifest.tables().to_string()));
        add("Rows", Some(manifest.rows().to_string()));
        add("Checks", (manifest.failed_checks > 0).then(|| format!("{} FAILED", manifest.failed_checks)));
        return facts;
    }
    add("Host", Some(manifest.host.clone()));
    add("PostgreSQL", Some(format!("{} ({})", manifest.server.version, manifest.server.image)));
    add("Linked apps", list(manifest.server.linked_apps.clone()));
    add("Database", Some(database.name.clone()));
    add("Database size", Some(format!("{} ({} bytes)", human::size(database.bytes), database.bytes)));
    add("Owner", Some(database.owner.clone()));
    add("Encoding", Some(format!("{} {}", database.encoding, database.locale.as_ref().unwrap_or(&database.collate))));
    add("Roles", list(database.roles.clone()));
    add("Extensions", list(print.extensions.iter().map(|(name, version)| format!("{name}-{version}")).collect()));
    add("Dump size", Some(format!("{} ({} bytes)", human::size(manifest.dump_bytes), manifest.dump_bytes)));
    add("Sequences", Some(print.sequences.len().to_string()));
    add("Large objects", Some(print.large_objects.to_string()));
    add("Tables", Some(print.tables.len().to_string()));
    add("Rows", Some(print.rows().to_string()));
    facts
}

/// The shell line that restores with nothing but aws, gpg, tar and dokku-postgres.
fn by_hand(destination: &str, key: &BackupKey, endpoint: Option<&str>) -> String {
    let service = key.service();
    let read = match destination.strip_prefix("file://") {
        Some(folder) if key.encrypted() => format!("gpg --decrypt {}", quoted(&format!("{folder}/{key}"))),
        Some(folder) => {
            return format!(
                "tar -xzOf {} backup/export | dokku postgres:import {service}",
                quoted(&format!("{folder}/{key}"))
            );
        }
        None => {
            let endpoint = endpoint.map(|url| format!(" --endpoint-url {}", quoted(url))).unwrap_or_default();
            let copy = format!("aws s3 cp{endpoint} {} -", quoted(&format!("{destination}/{key}")));
            if key.encrypted() { format!("{copy} | gpg --decrypt") } else { copy }
        }
    };
    format!("{read} | tar -xzO backup/export | dokku postgres:import {service}")
}

/// For a shell: as it is where it is plain, else in single quotes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+=@%,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use crate::catalog::tests::Shelf;
    use crate::commands::arguments::Format;
    use crate::commands::list::tests::world;
    use crate::history::tests::manifest;
    use crate::manifest::Object;

    use super::*;

    const THEIRS: &str = "postgres-prod-2023-04-02-14-30-01.tgz.gpg";
    const OURS: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn shelf() -> Shelf {
        let shelf = Shelf::with(&[THEIRS, OURS]);
        let mut manifest = manifest(OURS);
        manifest.object = Some(Object {
            bytes: 6,
            head_bytes: 535,
            sha256_behind_head: "ab".repeat(32),
            finished: "2023-04-03T11:00:09Z".parse().unwrap(),
        });
        shelf.place(&format!("{OURS}.manifest.json"), &manifest.to_json().unwrap());
        shelf
    }

    fn show(backup: &str, format: Format) -> (String, String) {
        let (_host, context, said) = world();
        let args = Args {
            service: "prod".parse().unwrap(),
            which: Which { backup: Some(backup.into()), before: None },
            output: Output { format },
        };
        info(&args, &shelf(), Some("http://10.0.0.1:8333"), &context).unwrap();
        (said.out(), said.err())
    }

    #[test]
    fn shows_one_of_ours() {
        let (out, err) = show("latest", Format::Stdout);
        insta::assert_snapshot!(out, @r#"
               The newest backup is postgres-prod-2023-04-03-11-00-04.tgz
        =====> postgres-prod-2023-04-03-11-00-04.tgz information
               Service:        prod
               Destination:    s3://bucket/backups
               Started:        2023-04-03T11:00:04Z (59m ago)
               Made by:        pgbackup
               Encrypted:      no
               Size:           6B (6 bytes)
               Stored:         1970-01-01T00:00:00Z
               Label:          before the release
               Verified:       never on this host
               Snapshot:       2023-04-03T11:00:04Z
               Finished:       2023-04-03T11:00:09Z
               SHA-256:        abababababababababababababababababababababababababababababababab (tail -c +536 FILE | sha256sum)
               Made with:      pgbackup 0.1.0
               Host:           dokku.example
               PostgreSQL:     15.18 (postgres:15.18)
               Linked apps:    web
               Database:       prod
               Database size:  7.6MiB (8000000 bytes)
               Owner:          postgres
               Encoding:       UTF8 en_US.utf8
               Roles:          postgres
               Dump size:      72.4KiB (74088 bytes)
               Sequences:      0
               Large objects:  0
               Tables:         2
               Rows:           5562

               table                         rows
               public.orders                 5000
               public.sportfin_sportfinuser   562

               Restore by hand without pgbackup (into the live database, not undoable):
               aws s3 cp --endpoint-url http://10.0.0.1:8333 s3://bucket/backups/postgres-prod-2023-04-03-11-00-04.tgz - | tar -xzO backup/export | dokku postgres:import prod
        "#);
        assert_eq!(err, "");
    }

    #[test]
    fn shows_one_of_dokku_postgres() {
        let (out, err) = show("gpg", Format::Stdout);
        insta::assert_snapshot!(out, @r#"
               The backup that fits gpg is postgres-prod-2023-04-02-14-30-01.tgz.gpg
        =====> postgres-prod-2023-04-02-14-30-01.tgz.gpg information
               Service:      prod
               Destination:  s3://bucket/backups
               Started:      2023-04-02T14:30:01Z (21h ago)
               Made by:      dokku-postgres
               Encrypted:    yes
               Size:         6B (6 bytes)
               Stored:       1970-01-01T00:00:00Z
               Verified:     never on this host

               What it holds is not recorded: it has no manifest, as all that dokku postgres:backup makes
               Find out with: dokku pgbackup:verify prod postgres-prod-2023-04-02-14-30-01.tgz.gpg

               Restore by hand without pgbackup (into the live database, not undoable):
               aws s3 cp --endpoint-url http://10.0.0.1:8333 s3://bucket/backups/postgres-prod-2023-04-02-14-30-01.tgz.gpg - | gpg --decrypt | tar -xzO backup/export | dokku postgres:import prod
        "#);
        assert_eq!(err, "");
    }

    #[test]
    fn shows_json_alone() {
        let (out, err) = show("latest", Format::Json);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["manifest"]["fingerprint"]["tables"]["public.sportfin_sportfinuser"], 562);
        assert_eq!(value["made_by"], "pgbackup");
        assert!(err.contains("The newest backup is postgres-prod-"), "{err}");
    }

    #[test]
    fn the_line_for_a_folder_survives_its_name() {
        let key = OURS.parse().unwrap();
        let line = by_hand("file:///mnt/my backup's", &key, None);
        assert_eq!(line, format!("tar -xzOf '/mnt/my backup'\\''s/{OURS}' backup/export | dokku postgres:import prod"));
        let line = by_hand("file:///mnt", &THEIRS.parse().unwrap(), None);
        assert_eq!(line, format!("gpg --decrypt /mnt/{THEIRS} | tar -xzO backup/export | dokku postgres:import prod"));
    }
}
