//! `pgbackup:diff`: two backups side by side, or a backup and the live database: which tables gained, lost, came and went.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::selector::Selector;
use crate::changes::{self, Change, Rows};
use crate::commands::Context;
use crate::commands::arguments::Output;
use crate::commands::backups::catalog;
use crate::commands::present::present_rows;
use crate::database::session;
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::store::Store;
use crate::text::count;
use crate::ui::comparison::changes_table;

/// What stands for the database as it is now.
const LIVE: &str = "live";

/// Compare two backups or a backup with the live database
///
/// The rows of each table side by side: what was gained or lost and which tables are new or gone. Row counts of backups are exact
/// and come from their manifests: nothing is downloaded. Of very large live tables the number is estimated.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup> [<backup>|live] [--everything] [--format json]",
    after_help = "What has changed since the newest backup

    dokku pgbackup:diff lollipop latest

Between two backups

    dokku pgbackup:diff lollipop 2023-04-02 2023-04-03-11

The tables that have lost rows

    dokku pgbackup:diff lollipop latest --format json | jq '.tables[] | select(.change == \"lost\")'"
)]
pub struct Args {
    /// The service
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// The backup: its key or any part of the key that fits only one or latest
    #[arg(value_name = "backup")]
    pub before: String,
    /// What it is compared with: another backup or live
    #[arg(value_name = "other", default_value = LIVE)]
    pub after: String,
    /// Show also the tables whose number of rows is the same
    #[arg(long)]
    pub everything: bool,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// One of the two sides.
struct Side {
    name: String,
    tables: BTreeMap<String, Rows>,
}

/// What `--format json` prints; fields are only ever added.
#[derive(Debug, Serialize)]
struct Report<'a> {
    service: &'a ServiceName,
    before: &'a str,
    after: &'a str,
    tables: Vec<Row<'a>>,
    unchanged: usize,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    table: &'a str,
    before: Option<u64>,
    after: Option<u64>,
    exact: bool,
    change: &'static str,
    difference: i64,
}

/// Compares.
///
/// # Errors
/// When there is no such backup, it has no row counts, or the server can't be asked.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    if args.output.is_json() {
        context.ui.reserve_output();
    }
    if args.before == LIVE {
        return Err(Failure::usage("Please give the backup first and live after it").into());
    }
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    let store = context.store(&service)?;
    let catalog = catalog(&args.service, store.as_ref(), context)?;
    let before = saved(&catalog, store.as_ref(), &args.before)?;
    let after =
        if args.after == LIVE { live(context, &service)? } else { saved(&catalog, store.as_ref(), &args.after)? };
    show(args, &before, &after, context)
}

fn saved(catalog: &Catalog, store: &dyn Store, text: &str) -> Result<Side> {
    let mut backup = catalog.find(store, &Selector::new(Some(text), None)?)?;
    let name = backup.key.to_string();
    let Some(manifest) = backup.read_manifest(store)? else {
        return Err(Failure::failed(format!("How many rows {name} has is not known: it has no manifest beside it"))
            .hint("dokku-postgres made it; its rows are counted as it is restored or verified")
            .into());
    };
    Ok(Side { name, tables: changes::counted(&manifest.fingerprint.tables) })
}

fn live(context: &Context, service: &Service) -> Result<Side> {
    let running = service.running(&context.docker)?;
    let mut client = session::connect_to_look(&running, &service.database)?;
    Ok(Side { name: LIVE.to_owned(), tables: present_rows(&mut client)? })
}

fn show(args: &Args, before: &Side, after: &Side, context: &Context) -> Result<()> {
    let ui = &context.ui;
    let all = changes::compare(&before.tables, &after.tables);
    let shown: Vec<&Change> = all.iter().filter(|change| args.everything || !change.is_none()).collect();
    let unchanged = all.iter().filter(|change| change.is_none()).count();
    if args.output.is_json() {
        return ui.json(&Report {
            service: &args.service,
            before: &before.name,
            after: &after.name,
            tables: shown.into_iter().map(row).collect(),
            unchanged,
        });
    }
    ui.header(format!("{} -> {}", before.name, after.name));
    if shown.is_empty() {
        ui.line(format!("No table's number of rows differs ({})", count(all.len() as u64, "table")))?;
        return Ok(());
    }
    ui.table(&changes_table(shown.iter().copied(), "before", "after", true))?;
    ui.detail(Summary(&all).to_string());
    Ok(())
}

fn row(change: &Change) -> Row<'_> {
    Row {
        table: &change.table,
        before: change.before.map(|rows| rows.count),
        after: change.after.map(|rows| rows.count),
        exact: change.before.is_none_or(|rows| rows.exact) && change.after.is_none_or(|rows| rows.exact),
        change: change.word(),
        difference: i64::try_from(change.difference()).unwrap_or(i64::MAX),
    }
}

/// `2 tables gained, 1 lost, 1 new, 0 gone; 12 unchanged`.
struct Summary<'a>(&'a [Change]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |word: &str| self.0.iter().filter(|change| change.word() == word).count() as u64;
        write!(f, "{} gained rows, {} lost rows, ", count(of("gained"), "table"), of("lost"))?;
        write!(f, "{} new, {} gone, {} the same", of("new"), of("gone"), of("same"))
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::tests::Shelf;
    use crate::commands::arguments::Format;
    use crate::commands::list::tests::world;
    use crate::history::tests::manifest;

    use super::*;

    const OLD: &str = "postgres-prod-2023-04-02-14-30-01.tgz";
    const NEW: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn compare(format: Format, everything: bool, context: &Context) {
        let shelf = Shelf::with(&[OLD, NEW, "postgres-prod-2023-01-01-00-00-00.tgz"]);
        for (key, tables) in [
            (OLD, &[("public.users", 562), ("public.orders", 5_000), ("public.old", 1), ("public.same", 7)]),
            (NEW, &[("public.users", 0), ("public.orders", 5_020), ("public.new", 3), ("public.same", 7)]),
        ] {
            let mut manifest = manifest(key);
            manifest.fingerprint.tables = tables.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
            shelf.place(&manifest.key.sidecar(), &manifest.to_json().unwrap());
        }
        let service: ServiceName = "prod".parse().unwrap();
        let catalog = catalog(&service, &shelf, context).unwrap();
        let (before, after) =
            (saved(&catalog, &shelf, "2023-04-02").unwrap(), saved(&catalog, &shelf, "latest").unwrap());
        let args = Args { service, before: OLD.into(), after: NEW.into(), everything, output: Output { format } };
        show(&args, &before, &after, context).unwrap();
        let error = saved(&catalog, &shelf, "2023-01-01").err().unwrap();
        assert!(error.to_string().contains("has no manifest beside it"), "{error}");
    }

    #[test]
    fn shows_what_changed() {
        let (_host, context, said) = world();
        compare(Format::Stdout, false, &context);
        insta::assert_snapshot!(said.out(), @r"
        =====> postgres-prod-2023-04-02-14-30-01.tgz -> postgres-prod-2023-04-03-11-00-04.tgz
        table          before      after  change  difference
        public.new          -  ->      3  new             +3
        public.old          1  ->      -  gone            -1
        public.orders    5000  ->   5020  gained         +20
        public.users      562  ->      0  lost          -562
               1 table gained rows, 1 lost rows, 1 new, 1 gone, 1 the same
        ");
    }

    #[test]
    fn everything_and_json() {
        let (_host, context, said) = world();
        compare(Format::Json, true, &context);
        let report: serde_json::Value = serde_json::from_str(&said.out()).unwrap();
        assert_eq!(report["tables"].as_array().unwrap().len(), 5);
        let users = report["tables"].as_array().unwrap().iter().find(|row| row["table"] == "public.users").unwrap();
        assert_eq!(users["change"], "lost");
        assert_eq!(users["difference"], -562);
        assert_eq!(report["unchanged"], 1);
    }
}
