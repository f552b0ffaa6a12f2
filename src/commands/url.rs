//! `pgbackup:url`: a presigned link to a backup, for a host or a person without keys.

use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::catalog::store_failure;
use crate::commands::Context;
use crate::commands::arguments::{Output, Which};
use crate::commands::backups::find;
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::Span;
use crate::store::Store;
use crate::store::key::BackupKey;
use crate::ui::human;

/// S3's own limit.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// A link that has expired before it is pasted helps nobody.
const SHORTEST: Duration = Duration::from_mins(1);

/// Print a link that opens one backup without keys
///
/// Whoever has the link can read the backup until it expires: treat it as a password. It can be given to pgbackup:restore and
/// pgbackup:verify in place of a key, on a host whose own keys may only write. Keys that may not read can't sign a link that
/// does. A link that was signed with temporary keys (an instance role) ends with them.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service> <backup>|--before TIME [--valid DURATION] [--format json]",
    after_help = "Print a link to the newest backup of lollipop that is valid for an hour

    dokku pgbackup:url lollipop latest

Restore by a link on a host whose role may only write

    dokku pgbackup:restore lollipop \"https://my-backups.s3.amazonaws.com/...\""
)]
pub struct Args {
    /// The service whose backup it is
    #[arg(value_name = "service")]
    pub service: ServiceName,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub which: Which,
    /// How long the link is valid: from 60s to 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", hide_default_value = true)]
    pub valid: Span,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// What `--format json` prints.
#[derive(Serialize)]
struct Report<'a> {
    key: &'a BackupKey,
    url: &'a str,
    valid_until: Timestamp,
}

/// Prints a link.
///
/// # Errors
/// When there is no such backup, the store is a folder, or its keys may not read.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let service = Service::find(&context.environment.lib_root, &args.service)?;
    url(args, context.store(&service)?.as_ref(), context)
}

fn url(args: &Args, store: &dyn Store, context: &Context) -> Result<()> {
    let ui = &context.ui;
    ui.reserve_output();
    let valid = args.valid.0;
    if !(SHORTEST..=LONGEST).contains(&valid) {
        return Err(Failure::usage("A link is valid for a time from 60s to 7d").into());
    }
    let (_, backup) = find(&args.which.selector()?, &args.service, store, context)?;
    let (key, name) = (&backup.key, backup.key.to_string());
    // A link can do no more than the keys that sign it: told now and not to whoever needs it.
    store.head(&name).map_err(|error| store_failure(format!("A link to {key} would not open it"), error))?;
    let now = context.now();
    let link = store.presign(&name, valid).map_err(|error| store_failure(format!("{key} can't be signed"), error))?;
    let Some(link) = link else {
        return Err(Failure::failed(format!("{} is a folder: there are no links to it", store.describe()))
            .hint(format!("Send the backup instead: dokku pgbackup:download {} {key} - > FILE", args.service))
            .into());
    };
    let until = now.saturating_add(SignedDuration::try_from(valid)?)?;
    if args.output.is_json() {
        return ui.json(&Report { key, url: &link, valid_until: until });
    }
    ui.detail(format!("Whoever has this link can read {key} until {}", human::time(until)));
    ui.line(link)
}

#[cfg(test)]
mod tests {
    use crate::catalog::tests::Shelf;
    use crate::commands::list::tests::world;
    use crate::error::Kind;

    use super::*;

    const KEY: &str = "postgres-prod-2023-04-03-11-00-04.tgz";

    fn args(valid: &str) -> Args {
        Args {
            service: "prod".parse().unwrap(),
            which: Which { backup: Some("latest".into()), before: None },
            valid: valid.parse().unwrap(),
            output: Output { format: crate::commands::arguments::Format::Stdout },
        }
    }

    #[test]
    fn says_what_stands_in_the_way() {
        let (_host, context, _) = world();
        let shelf = Shelf::with(&[KEY]);
        for bad in ["59s", "8d"] {
            assert_eq!(Failure::from_error(url(&args(bad), &shelf, &context).unwrap_err()).kind, Kind::Usage);
        }
        shelf.deny("s3:GetObject");
        let failure = Failure::from_error(url(&args("1h"), &shelf, &context).unwrap_err());
        assert!(failure.to_string().contains("permission s3:GetObject is missing"), "{failure}");
        let failure = Failure::from_error(url(&args("1h"), &Shelf::with(&[]), &context).unwrap_err());
        assert_eq!(failure.kind, Kind::NoSuchBackup);
    }
}
