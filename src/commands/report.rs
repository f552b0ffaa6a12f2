//! `pgbackup:report`: what is configured, in Dokku's shape: own, global and computed values.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches};

use crate::commands::Context;
use crate::commands::arguments::Output;
use crate::commands::backups::history;
use crate::dokku::properties::Subject;
use crate::error::Failure;
use crate::health::Health;
use crate::holds::Holds;
use crate::settings::{self, PROPERTIES};
use crate::ui::human;

/// Dokku's width of a report's first column.
const KEY_WIDTH: usize = 31;

/// Since when and why `pgbackup:hold` keeps all backups of a service.
const HOLD: &str = "--pgbackup-hold";

/// The last good backup that this host has made of a service and not deleted, and when it began.
const LAST_BACKUP: &str = "--pgbackup-last-backup";

/// Show the properties of a service or of all
///
/// For each property: the service's own value and the global one and the one in effect (computed). Of a service also its last good backup
/// made on this host and since when it is held. A flag such as --pgbackup-computed-destination prints that value alone.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "[<service>|--global] [<flag>] [--format json]",
    after_help = "Show what is set for lollipop

    dokku pgbackup:report lollipop

Show where its backups go

    dokku pgbackup:report lollipop --pgbackup-computed-destination

Show the values for all services

    dokku pgbackup:report --global"
)]
pub struct Args {
    /// The service, or --global; all services when left out
    #[arg(value_name = "service", allow_hyphen_values = true)]
    pub service: Option<Subject>,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub asked: Asked,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub output: Output,
}

/// The values that are asked for by their flags.
#[derive(Debug, Default)]
pub struct Asked(Vec<&'static str>);

impl FromArgMatches for Asked {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(FLAGS.iter().map(String::as_str).filter(|flag| matches.get_flag(flag)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Asked {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(FLAGS.iter().map(|flag| {
            let name = flag.trim_start_matches('-');
            Arg::new(flag.as_str()).long(name).action(ArgAction::SetTrue).hide(true)
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut flags: Vec<_> =
        names().flat_map(|name| ["", "global-", "computed-"].map(|kind| format!("--pgbackup-{kind}{name}"))).collect();
    flags.extend([HOLD, LAST_BACKUP].map(str::to_owned));
    flags.sort();
    flags
});

/// Every flag that prints one value alone, sorted.
pub fn flags() -> &'static [String] {
    &FLAGS
}

/// What is reported: every property and the id of the own keys (the secret never).
fn names() -> impl Iterator<Item = &'static str> {
    PROPERTIES.iter().map(|property| property.name).chain([settings::ACCESS_KEY_ID, settings::COPY_ACCESS_KEY_ID])
}

/// Prints it.
///
/// # Errors
/// When there is no such service, or flags don't go together.
pub fn run(args: &Args, context: &Context) -> Result<()> {
    let asked = match args.asked.0.as_slice() {
        [] => None,
        [_] if args.output.is_json() => {
            return Err(Failure::usage("--format flag cannot be specified when specifying an info flag").into());
        }
        [one] => Some(*one),
        _ => return Err(Failure::usage("pgbackup:report command allows only a single flag").into()),
    };
    if let Some(subject) = &args.service {
        context.require(subject)?;
        return report(context, subject, asked, args.output.is_json());
    }
    let services = context.visible_services()?;
    if services.is_empty() {
        context.ui.warn("There are no postgres services");
    }
    services.into_iter().try_for_each(|name| report(context, &Subject::Service(name), asked, args.output.is_json()))
}

/// Prints the report of one subject, or one value of it.
pub(crate) fn report(context: &Context, subject: &Subject, asked: Option<&str>, json: bool) -> Result<()> {
    let values = values(context, subject)?;
    let ui = &context.ui;
    if let Some(asked) = asked {
        let value = values.get(asked).ok_or_else(|| {
            let valid: Vec<_> = values.keys().map(String::as_str).collect();
            Failure::usage(format!("Invalid flag passed, valid flags: {}", valid.join(", ")))
        })?;
        return ui.line(value);
    }
    if json {
        let trimmed: BTreeMap<_, _> =
            values.iter().map(|(flag, value)| (flag.trim_start_matches("--pgbackup-"), value)).collect();
        return ui.json(&trimmed);
    }
    ui.header(format!("{subject} pgbackup information"));
    // As wide as Dokku's own: the flag's length, dashes included, and 31 at least.
    let width = values.keys().map(String::len).max().unwrap_or_default().max(KEY_WIDTH);
    for (flag, value) in &values {
        let words = flag.trim_start_matches("--").replace('-', " ");
        let mut letters = words.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().collect::<String>();
        let key = format!("{first}{}:", letters.as_str());
        ui.line(format!("       {key:width$}{value}").trim_end())?;
    }
    Ok(())
}

fn values(context: &Context, subject: &Subject) -> Result<BTreeMap<String, String>> {
    let properties = context.properties();
    let mut values = BTreeMap::new();
    if let Subject::Service(name) = subject {
        let holds = Holds::read(&context.environment.data_folder().join(name.as_str()))?;
        values.insert(HOLD.to_owned(), holds.service.map(|hold| hold.describe()).unwrap_or_default());
        // A report is no place to fail for a history that can't be read.
        let entries = history(name, context).read().unwrap_or_default();
        let last = Health::last_good(&entries).map(|good| format!("{} {}", human::time(good.started), good.key));
        values.insert(LAST_BACKUP.to_owned(), last.unwrap_or_default());
    }
    for name in names() {
        let default = settings::property(name).map_or("", |property| property.default);
        let own = if *subject == Subject::Global { None } else { properties.get(subject, name)? };
        let global = properties.get(&Subject::Global, name)?;
        let computed = own.as_ref().or(global.as_ref()).map_or(default, String::as_str);
        let shown = |value: &str| settings::shown(name, value);
        values.insert(format!("--pgbackup-computed-{name}"), shown(computed));
        values.insert(format!("--pgbackup-global-{name}"), shown(global.as_deref().unwrap_or_default()));
        if *subject != Subject::Global {
            values.insert(format!("--pgbackup-{name}"), shown(own.as_deref().unwrap_or_default()));
        }
    }
    Ok(values)
}
