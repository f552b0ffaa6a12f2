//! `pgbackup:info`: one backup in full, and the lines that make a service like it and restore by hand with stock tools.
//!
//! For an object of dokku-postgres there is no manifest: what the store and the key say is shown, and that nothing more is known.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::catalog::{Backup, Maker, Verified};
use crate::commands::Context;
use crate::commands::arguments::{AtVersion, Elsewhere, Output, Which};
use crate::commands::backups::{self, Place, standing};
use crate::commands::objects::{Asked, Named};
use crate::commands::renewal;
use crate::history::{CopyRecord, Depth};
use crate::manifest::Manifest;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::service::options::CreateOptions;
use crate::signing::{Keys, Standing};
use crate::store::key::BackupKey;
use crate::store::{Store, VersionId, Whereabouts};
use crate::ui::human;
use crate::ui::{Column, Table};

/// Show one backup in full
///
/// What its manifest says: when and where it was made and from which server; the row counts of its tables; its size and
/// checksum. Also the line that makes a service like it on a new host and the line that restores it by hand without pgbackup.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup>|--before TIME [--version-id ID] [--from DESTINATION] [--format json]",
    after_help = "Show the newest backup of lollipop

    dokku pgbackup:info lollipop latest

Show the one of the 3rd of April at 11

    dokku pgbackup:info lollipop 2023-04-03-11

Show one of a host that is gone and what a new host needs for it

    dokku pgbackup:info lollipop latest --from s3://my-backups/prod"
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
    pub at: AtVersion,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub elsewhere: Elsewhere,
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
    create: String,
    by_hand: String,
    manifest: Option<&'a Manifest>,
    trouble: Option<&'a str>,
    copies: Vec<Copied<'a>>,
    signed: Option<&'static str>,
}

/// Where else it lies.
#[derive(Debug, Serialize)]
struct Copied<'a> {
    at: Timestamp,
    #[serde(flatten)]
    copy: &'a CopyRecord,
}

#[derive(Debug, Serialize)]
struct Tried {
    at: Timestamp,
    depth: Depth,
    good: bool,
    proven: bool,
}

/// Shows one backup.
///
/// # Errors
/// When there is no such backup, or the store or the history can't be read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let store = backups::open(context, &args.service, &args.elsewhere)?;
    let service = Service::find(&context.environment.lib_root, &args.service).ok();
    let Whereabouts { endpoint, region } = store.whereabouts();
    let here = Here {
        endpoint: endpoint.as_deref(),
        region: region.as_deref(),
        database: service.map_or_else(|| renewal::database_of(&args.service), |service| service.database),
    };
    let asked = Asked { text: args.which.backup.as_deref(), version: args.at.version_id.as_ref() };
    Named::find(context, &args.service, &args.service, &args.elsewhere, asked)
        .and_then(|named| match named {
            Ok(named) => info_of_object(args, &named, &here, context),
            Err(unseen) => info(args, store.as_ref(), &here, context).map_err(|error| unseen.explain(error)),
        })
        .map_err(|error| backups::explain(error, context, &args.service, &args.elsewhere))
}

/// What `--format json` shows of an object with a name of its own, or of an earlier version; fields are only ever added.
#[derive(Debug, Serialize)]
struct ObjectReport<'a> {
    key: &'a str,
    version_id: Option<&'a str>,
    service: &'a ServiceName,
    destination: &'a str,
    bytes: u64,
    encrypted: bool,
    stored: Option<Timestamp>,
    storage_class: Option<&'a str>,
    create: String,
    by_hand: String,
}

fn info_of_object(args: &Args, named: &Named, here: &Here, context: &Context) -> Result<()> {
    let ui = &context.ui;
    let destination = named.store.describe();
    let place = renewal::Place { destination: &destination, endpoint: here.endpoint, region: here.region };
    let object = renewal::Object { name: &named.object.name, version: named.version.as_ref() };
    let by_hand = renewal::by_hand(&place, &object, &args.service, &here.database);
    let create = renewal::create(&args.service, None);
    if args.output.is_json() {
        ui.reserve_output();
        return ui.json(&ObjectReport {
            key: object.name,
            version_id: object.version.map(VersionId::as_str),
            service: &named.service,
            destination: &destination,
            bytes: named.object.bytes,
            encrypted: named.encrypted(),
            stored: named.object.modified,
            storage_class: named.object.class.as_deref(),
            create,
            by_hand,
        });
    }
    ui.header(format!("{} information", named.describe()));
    let mut lines = Table::new(&[Column::left(""), Column::left("")]);
    lines.row(["Destination:", &destination]);
    lines.row(["Encrypted:", if named.encrypted() { "yes" } else { "no" }]);
    lines.row(["Size:", &format!("{} ({} bytes)", human::size(named.object.bytes), named.object.bytes)]);
    if let Some(stored) = named.object.modified {
        lines.row(["Stored:", &format!("{} ({} ago)", human::time(stored), human::age(stored, context.now()))]);
    }
    if let Some(class) = &named.object.class {
        lines.row(["Storage class:", class]);
    }
    for line in lines.lines() {
        ui.line(format!("       {line}"))?;
    }
    ui.line("")?;
    ui.line(
        "       What it holds only the object itself says; a restore takes it when its database is that of the service",
    )?;
    let version = object.version.map(|version| format!(" --version-id {version}")).unwrap_or_default();
    let from = args.elsewhere.from.as_ref().map(|from| format!(" --from {}", renewal::quoted(&from.to_string())));
    let (name, from) = (args.which.backup.as_deref().unwrap_or_default(), from.unwrap_or_default());
    ui.line(format!(
        "       Find out with: dokku pgbackup:check {} {}{version}{from}",
        args.service,
        renewal::quoted(name)
    ))?;
    ui.line("")?;
    ui.line("       Restore by hand without pgbackup (as root; into the live database, not undoable):")?;
    ui.line(format!("       {by_hand}"))
}

/// What the lines for a shell need to know beside the backup.
struct Here<'a> {
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
    /// The database of the service, as it is or as it would be made.
    database: String,
}

fn info(args: &Args, store: &dyn Store, here: &Here, context: &Context) -> Result<()> {
    let ui = &context.ui;
    if args.output.is_json() {
        ui.reserve_output();
    }
    let selector = args.which.selector()?;
    let place = Place::of(store, &args.service, &args.elsewhere, Some(&selector));
    let (catalog, mut backup) = place.find(&selector, context)?;
    if let Err(error) = backup.read_manifest(store) {
        let error = format!("{error:#}");
        ui.warn(format!("Its manifest can't be read: {error}"));
        backup.trouble = Some(error);
    }
    let object = renewal::Place { destination: &catalog.destination, endpoint: here.endpoint, region: here.region };
    let name = backup.key.to_string();
    let asked = renewal::Object { name: &name, version: None };
    let by_hand = renewal::by_hand(&object, &asked, &args.service, &here.database);
    let create = renewal::create(&args.service, backup.manifest.as_ref());
    let copies = backups::copies(&args.service, context).unwrap_or_default();
    let keys = Keys::read(&context.environment.data_folder())?;
    // One that can't be read is as if it were not there.
    let _ = backup.read_drill(store, &keys);
    let standing = standing(&backup, &keys);
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
            verified: backup.verified.map(|Verified { at, depth, good, proven }| Tried { at, depth, good, proven }),
            create,
            by_hand,
            manifest: backup.manifest.as_ref(),
            trouble: backup.trouble.as_deref(),
            copies: copies.copied.get(&backup.key).map(|(at, copy)| Copied { at: *at, copy }).into_iter().collect(),
            signed: standing.as_ref().map(Standing::word),
        });
    }
    ui.header(format!("{} information", backup.key));
    let mut lines = Table::new(&[Column::left(""), Column::left("")]);
    let mut facts = facts(&backup, &catalog.destination, standing.as_ref(), context.now());
    facts.extend(copies.copied.get(&backup.key).map(|(at, copy)| {
        let when = human::time(*at);
        ("Copied", format!("{} at {when} ({})", copy.destination, copy.confirmed_by))
    }));
    if copies.missing.contains(&backup.key) {
        facts.push(("Copied", format!("not yet; try it with: dokku pgbackup:copy {}", args.service)));
    }
    for (name, value) in facts {
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
        for line in tables.lines().into_iter().filter(|_| !tables.is_empty()) {
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
        for line in checks.lines().into_iter().filter(|_| !checks.is_empty()) {
            ui.line(format!("       {line}"))?;
        }
    } else if backup.maker() == Maker::DokkuPostgres {
        ui.line("")?;
        ui.line("       What it holds is not recorded: it has no manifest, as all that dokku postgres:backup makes")?;
        let from = args.elsewhere.from.as_ref().map(|from| format!(" --from {}", renewal::quoted(&from.to_string())));
        let from = from.unwrap_or_default();
        ui.line(format!("       Find out with: dokku pgbackup:check {} {}{from}", args.service, backup.key))?;
    }
    ui.line("")?;
    ui.line("       Make a service for it on a new host:")?;
    ui.line(format!("       {create}"))?;
    for line in unknown(&backup) {
        ui.line(format!("       ({line})"))?;
    }
    ui.line("")?;
    ui.line("       Restore by hand without pgbackup (as root; into the live database, not undoable):")?;
    ui.line(format!("       {by_hand}"))
}

/// What the line that makes a service can't know.
fn unknown(backup: &Backup) -> Vec<String> {
    let Some(manifest) = &backup.manifest else {
        return vec![
            "Which image it had is not recorded; the newest one that dokku-postgres knows reads every backup"
                .to_owned(),
        ];
    };
    if manifest.is_brief() {
        return vec![
            "Which image it had is named inside the encrypted archive only; extensions need one that has them"
                .to_owned(),
        ];
    }
    let withheld = manifest.server.options.iter().flat_map(|options| &options.withheld);
    let withheld: Vec<&str> = withheld.map(String::as_str).collect();
    if withheld.is_empty() {
        return Vec::new();
    }
    vec![format!("Also given then and not kept since it may be a secret: {}", withheld.join(", "))]
}

/// Name and value of all that is known, in the order of a reader's questions.
fn facts(
    backup: &Backup,
    destination: &str,
    standing: Option<&Standing>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let key = &backup.key;
    let mut facts = vec![
        ("Service", key.service().to_string()),
        ("Destination", destination.to_owned()),
        ("Started", format!("{} ({} ago)", human::time(key.started()), human::age(key.started(), now))),
        ("Made by", backup.maker().as_str().to_owned()),
        ("Encrypted", if key.encrypted() { "yes" } else { "no" }.to_owned()),
    ];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add(
        "Signed",
        standing.map(|standing| match standing {
            Standing::Signed(key) => format!("yes, with the key {key}"),
            Standing::Unsigned => "no (unsigned)".to_owned(),
            Standing::Unknown(key) => format!("with the key {key}, which this host doesn't know"),
            Standing::Refused(why) => format!("NOT PROVEN: {why}"),
        }),
    );
    add("Size", backup.bytes.map(|bytes| format!("{} ({bytes} bytes)", human::size(bytes))));
    add("Stored", backup.stored.map(human::time));
    add("Storage class", backup.class.clone());
    add("Label", backup.label().map(str::to_owned));
    let suspicion = backup.manifest.as_ref().and_then(|manifest| manifest.suspicious.as_ref());
    add(
        "Suspicious",
        suspicion.map(|lost| format!("rows are missing since {}: {}", lost.compared_with, lost.in_one_line())),
    );
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
                let said = if tried.proven { "" } else { ", as nobody whom this host knows says" };
                format!("{} {outcome} ({how}{said})", human::time(tried.at))
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
    add(
        "Made with flags",
        list(
            manifest
                .server
                .options
                .iter()
                .flat_map(CreateOptions::flags)
                .map(|(flag, value)| format!("{flag} {}", renewal::quoted(&value)))
                .collect(),
        ),
    );
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
            proof: None,
        });
        shelf.place(&format!("{OURS}.manifest.json"), &manifest.to_json().unwrap());
        shelf
    }

    fn show(backup: &str, format: Format) -> (String, String) {
        let (_host, context, said) = world();
        let args = Args {
            service: "prod".parse().unwrap(),
            which: Which { backup: Some(backup.into()), before: None },
            at: AtVersion::default(),
            elsewhere: Elsewhere::default(),
            output: Output { format },
        };
        let here = Here { endpoint: Some("http://10.0.0.1:8333"), region: None, database: "prod".into() };
        info(&args, &shelf(), &here, &context).unwrap();
        (said.out(), said.err())
    }

    #[test]
    fn shows_one_of_ours() {
        let (out, err) = show("latest", Format::Stdout);
        insta::assert_snapshot!(out, @r#"
               The newest backup (safety backups aside) is postgres-prod-2023-04-03-11-00-04.tgz
        =====> postgres-prod-2023-04-03-11-00-04.tgz information
               Service:        prod
               Destination:    s3://bucket/backups
               Started:        2023-04-03T11:00:04Z (59m ago)
               Made by:        pgbackup
               Encrypted:      no
               Signed:         no (unsigned)
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

               Make a service for it on a new host:
               dokku postgres:create prod --image postgres --image-version 15.18

               Restore by hand without pgbackup (as root; into the live database, not undoable):
               aws s3 cp --endpoint-url http://10.0.0.1:8333 s3://bucket/backups/postgres-prod-2023-04-03-11-00-04.tgz - | tar -xzO backup/export | docker exec -i dokku.postgres.prod pg_restore -U postgres -d prod --clean --if-exists --no-owner --no-acl --single-transaction
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
               Signed:       no (unsigned)
               Size:         6B (6 bytes)
               Stored:       1970-01-01T00:00:00Z
               Verified:     never on this host

               What it holds is not recorded: it has no manifest, as all that dokku postgres:backup makes
               Find out with: dokku pgbackup:check prod postgres-prod-2023-04-02-14-30-01.tgz.gpg

               Make a service for it on a new host:
               dokku postgres:create prod
               (Which image it had is not recorded; the newest one that dokku-postgres knows reads every backup)

               Restore by hand without pgbackup (as root; into the live database, not undoable):
               aws s3 cp --endpoint-url http://10.0.0.1:8333 s3://bucket/backups/postgres-prod-2023-04-02-14-30-01.tgz.gpg - | gpg --decrypt | tar -xzO backup/export | docker exec -i dokku.postgres.prod pg_restore -U postgres -d prod --clean --if-exists --no-owner --no-acl --single-transaction
        "#);
        assert_eq!(err, "");
    }

    #[test]
    fn shows_json_alone() {
        let (out, err) = show("latest", Format::Json);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["manifest"]["fingerprint"]["tables"]["public.sportfin_sportfinuser"], 562);
        assert_eq!(value["made_by"], "pgbackup");
        assert!(err.contains("The newest backup (safety backups aside) is postgres-prod-"), "{err}");
    }
}
