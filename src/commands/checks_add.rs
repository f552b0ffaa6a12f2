//! `pgbackup:checks:add`: one more question that every backup records and every restore and drill asks again.
//!
//! It is asked at once: a query that the server refuses is found now and not at night.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::commands::Context;
use crate::commands::checks;
use crate::database;
use crate::error::Failure;
use crate::manifest::checks::{Answer, Check, Name, Number, Sql, Wants};
use crate::service::Service;
use crate::service::name::ServiceName;

/// Checks of a service at most: each takes part of every backup's time.
const MOST: usize = 100;

/// Add a query that every backup records and every restore compares
///
/// Without a flag the answer of a restored copy must be the one that was recorded in the dump's snapshot: the sum of all invoices or the
/// newest order. With --expect or --min it must always be that value or at least that number. The query can't write and has the
/// rights to read all tables and no more. It is asked once before it is added. A check that fails when a backup is made marks
/// that backup as suspicious; one that fails in a restored copy stops the restore. Queries whose answer changes by itself (now())
/// are no good: ask for max(created_at) instead.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <name> <sql> [--same-as-backup|--expect VALUE|--min N] [--timeout SECONDS] [--superuser]",
    after_help = "The newest order must come back

    dokku pgbackup:checks:add lollipop newest-order \"SELECT max(created_at) FROM orders\"

There must be at least 500 users

    dokku pgbackup:checks:add lollipop users \"SELECT count(*) FROM sportfin_sportfinuser\" --min 500

No order may be without a customer

    dokku pgbackup:checks:add lollipop orphans \"SELECT count(*) FROM orders WHERE customer_id IS NULL\" --expect 0"
)]
pub struct Args {
    /// The service that is asked
    #[arg(value_name = "service")]
    pub service: ServiceName,
    /// What the check is called; one of that name is replaced
    #[arg(value_name = "name")]
    pub name: Name,
    /// The query in quotes
    // Over ssh the quotes are gone and its words come one by one.
    #[arg(value_name = "sql", required = true, num_args = 1..)]
    pub sql: Vec<String>,
    /// The answer of a restored copy must be the one that was recorded (the default)
    #[arg(long)]
    pub same_as_backup: bool,
    /// The answer must always be this one value; NULL is NULL
    #[arg(long, value_name = "VALUE", conflicts_with = "same_as_backup", allow_hyphen_values = true)]
    pub expect: Option<String>,
    /// The answer must always be one number that is at least as large
    #[arg(long, value_name = "N", conflicts_with_all = ["same_as_backup", "expect"], allow_hyphen_values = true)]
    pub min: Option<Number>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout: u32,
    /// Ask with the super user's rights: for tables under row security or functions that not everybody may call
    #[arg(long)]
    pub superuser: bool,
}

/// Adds it.
///
/// # Errors
/// When the server refuses the query, or the service doesn't run; nothing is added then.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    let running = service.running(&context.docker)?;
    let sql: Sql = args.sql.join(" ").parse().map_err(Failure::usage)?;
    let wants = match (&args.expect, &args.min) {
        (Some(value), _) => Wants::Expect(value.clone()),
        (None, Some(least)) => Wants::Min(least.clone()),
        (None, None) => Wants::SameAsBackup,
    };
    let check = Check { sql, wants, timeout: args.timeout, superuser: args.superuser };
    let asked = BTreeMap::from([(args.name.clone(), check.clone())]);
    let answered = database::checks::ask_all(&running, &service.database, &asked)?;
    let Some(recorded) = answered.get(&args.name) else {
        return Err(Failure::failed("The check was not asked").into());
    };
    if let Answer::Error { error } = &recorded.answer {
        return Err(Failure::failed(format!("The query can't be a check: {error}"))
            .hint("Nothing was added")
            .hint(format!("Try it first: dokku pgbackup:query {} \"SELECT ...\"", service.name))
            .into());
    }
    let replaced = checks::change(context, &service.name, |checks| {
        if checks.len() >= MOST && !checks.contains_key(&args.name) {
            return Err(Failure::failed(format!("{} has {MOST} checks already", service.name))
                .hint(format!("Remove one: dokku pgbackup:checks:remove {} NAME", service.name))
                .into());
        }
        Ok(checks.insert(args.name.clone(), check).is_some())
    })?;
    let what = if replaced { "Replaced" } else { "Added" };
    context.ui.outcome(format!("{what} the check {} of {}", args.name, service.name), "");
    context.ui.detail(format!("Its answer now: {}", recorded.answer.describe()));
    if let Some(failure) = recorded.failure() {
        context.ui.warn(format!("As things are it fails: {failure}"));
        context.ui.warn("Backups are taken all the same, and are marked as suspicious until it passes");
    }
    Ok(())
}
