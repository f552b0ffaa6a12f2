//! `pgbackup:set`: sets or clears a property of a service, or of all.

use anyhow::Result;

use crate::cli;
use crate::commands::Context;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::settings::{self, KeysOf, PROPERTIES};

/// Set or clear a property of a service or of all
///
/// Without a value the property is cleared: the global value or the default counts again. See what is set with
/// pgbackup:report.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "<service>|--global <property> [<value>]",
    before_long_help = properties(),
    after_help = "Say where the backups of lollipop go

    dokku pgbackup:set lollipop destination s3://my-backups

Use an S3-compatible store for all services

    dokku pgbackup:set --global endpoint-url https://minio.example.com:9000

Go back to the global value or the default

    dokku pgbackup:set lollipop destination"
)]
pub struct Args {
    /// The service, or --global for all services that have no value of their own
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Subject,
    /// The name of the property
    #[arg(value_name = "property")]
    pub property: String,
    /// The value; left out or empty it clears the property
    #[arg(value_name = "value", default_value = "", hide_default_value = true)]
    pub value: String,
}

/// The properties, for the help.
fn properties() -> String {
    let rows = PROPERTIES.iter().map(|property| {
        let default =
            if property.default.is_empty() { String::new() } else { format!(" (default: {})", property.default) };
        (property.name.to_owned(), format!("{}{default}", property.help))
    });
    format!("Properties:\n{}", cli::help::columns(rows.collect()))
}

/// Sets or clears it.
///
/// # Errors
/// When there is no such property or service, or the value is not valid.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let (subject, name, value) = (&args.service, args.property.as_str(), args.value.trim());
    let keys = [("", KeysOf::Destination), (" --copy", KeysOf::Copy)];
    if let Some((switch, _)) = keys.iter().find(|(_, of)| of.properties().all().contains(&name)) {
        return Err(Failure::usage(format!("{name} is not set this way: arguments can be seen by others"))
            .hint(format!("Type: dokku pgbackup:auth {subject} ACCESS_KEY_ID{switch}"))
            .into());
    }
    let Some(property) = settings::property(name) else {
        let names: Vec<_> = PROPERTIES.iter().map(|property| property.name).collect();
        return Err(Failure::usage(format!(
            "Invalid property specified, valid properties include: {}",
            names.join(", ")
        ))
        .into());
    };
    if name == "metrics-file" && *subject != Subject::Global {
        return Err(Failure::usage("The metrics of all services go into one file")
            .hint(format!("Type: dokku pgbackup:set --global {name} {value}"))
            .into());
    }
    if name == settings::SCHEDULE_CONCURRENCY && *subject != Subject::Global {
        return Err(Failure::usage(format!("{name} is a property of the host"))
            .hint(format!("Set it: dokku pgbackup:set --global {name} {value}"))
            .into());
    }
    let properties = context.properties();
    let read;
    let value = if value == "-" && settings::is_confidential(name) {
        read = context.ui.secret(name)?;
        read.reveal().trim()
    } else {
        value
    };
    if value.is_empty() {
        context.ui.header(format!("Unsetting {name}"));
        properties.unset(subject, name)?;
        return Ok(());
    }
    context.require(subject)?;
    property.check(value).map_err(|error| {
        Failure::usage(format!("Invalid value for {name}: {error}")).hint(format!("{name} takes {}", property.values))
    })?;
    context.ui.header(format!("Setting {name} to {}", settings::shown(name, value)));
    properties.set(subject, name, value)
}
