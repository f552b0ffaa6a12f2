//! The command line: clap reads it, Dokku's words come out.
//!
//! Doc comments of the `Args` are the help. What clap has to say about a command line is said as Dokku would, with exit code
//! 2 and the usage of the command. Where a service is missing and Dokku was told an app (`--app`), the service that is
//! linked to it is meant.

pub mod help;

use std::ffi::{OsStr, OsString};

use anyhow::Result;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::commands::arguments::Switches;
use crate::dokku::environment::Environment;
use crate::error::Failure;
use crate::service::Service;
use crate::service::name::ServiceName;

/// A command line.
#[derive(Debug, Parser)]
#[command(name = "pgbackup", no_binary_name = true, disable_help_subcommand = true, disable_version_flag = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[expect(missing_docs, reason = "documented by its type")]
    #[command(flatten)]
    pub switches: Switches,
}

impl Switches {
    /// What was written after the command counts as what Dokku found before it.
    pub fn apply(&self, environment: &mut Environment) {
        environment.quiet |= self.quiet;
        environment.trace |= self.trace;
        environment.force |= self.force;
    }
}

/// The tree of commands.
pub fn tree() -> clap::Command {
    let mut tree = Cli::command();
    tree.build();
    tree
}

/// Reads the arguments of a command.
///
/// # Errors
/// A [`Failure`] of kind `Usage`, or the user's wish for help, which is not one.
pub fn parse(name: &OsStr, arguments: &[OsString], environment: &Environment) -> Result<Cli> {
    let tree = tree();
    let Some(command) = name.to_str().and_then(|name| tree.find_subcommand(name)) else {
        return Err(unknown_command(&name.to_string_lossy()).into());
    };
    // A first word with a dash would be read as a flag of the tree: the name stands in front of all arguments.
    let words = |inserted: Option<&ServiceName>| {
        let mut words = vec![name.to_owned()];
        words.extend(inserted.map(|service| OsString::from(service.as_str())));
        words.extend_from_slice(arguments);
        words
    };
    let wants_service = command.get_positionals().next().is_some_and(|first| first.get_id() == "service");
    if wants_service && let Some(app) = app(arguments).or_else(|| environment.app.clone()) {
        // With --app no argument is the service; where one is given all the same, it is what counts.
        let service = linked_service(environment, &app);
        let with_app = service.as_ref().ok().and_then(|service| read(words(Some(service))).ok());
        return match with_app {
            Some(cli) => Ok(cli),
            None => read(words(None))
                .map_err(|error| service.err().unwrap_or_else(|| explain(&error, command, environment)).into()),
        };
    }
    let error = match read(words(None)) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelp {
        let topic = Some(command.get_name().to_owned());
        return Ok(Cli {
            command: Command::Help(crate::commands::help::Args { command: topic }),
            switches: Switches::default(),
        });
    }
    Err(explain(&error, command, environment).into())
}

fn read(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&Cli::command().try_get_matches_from(words)?)
}

/// The app of an `--app` that stands among the arguments (clap has not come so far).
fn app(arguments: &[OsString]) -> Option<String> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if argument == "--app" {
            return arguments.next().map(std::borrow::Cow::into_owned);
        }
        if let Some(app) = argument.strip_prefix("--app=") {
            return Some(app.to_owned());
        }
    }
    None
}

/// The one service that an app is linked to.
fn linked_service(environment: &Environment, app: &str) -> Result<ServiceName, Failure> {
    let mut linked = Vec::new();
    for name in Service::all(&environment.lib_root)? {
        let found = Service::find(&environment.lib_root, &name);
        if found.is_ok_and(|service| service.linked_apps.iter().any(|linked| linked == app)) {
            linked.push(name);
        }
    }
    match linked.as_slice() {
        [service] => Ok(service.clone()),
        [] => Err(Failure::usage(format!("The app {app} has no postgres service linked to it"))
            .hint("List the services with: dokku postgres:list")),
        several => {
            let names: Vec<_> = several.iter().map(ServiceName::as_str).collect();
            Err(Failure::usage(format!("The app {app} has several services linked to it: {}", names.join(", ")))
                .hint("Give the one that is meant as first argument"))
        }
    }
}

fn unknown_command(name: &str) -> Failure {
    Failure::usage(format!("pgbackup:{name} is not a command")).hint("See the commands with: dokku pgbackup:help")
}

/// Says in Dokku's words what clap has found wrong.
fn explain(error: &clap::Error, command: &clap::Command, environment: &Environment) -> Failure {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let value = context(ContextKind::InvalidValue);
    let message = match error.kind() {
        // dokku-postgres's own words.
        ErrorKind::MissingRequiredArgument if argument.starts_with("<service>") => {
            "Please specify a valid name for the service".to_owned()
        }
        ErrorKind::MissingRequiredArgument => format!("Please specify {argument}"),
        // An unknown flag may have been taken for the service, as --global is.
        ErrorKind::UnknownArgument | ErrorKind::ValueValidation
            if command.get_name() == "report" && [&argument, &value].iter().any(|text| text.starts_with("--")) =>
        {
            format!("Invalid flag passed, valid flags: {}", crate::commands::report::flags().join(", "))
        }
        // What is one too many here is the secret: it is not said again.
        ErrorKind::UnknownArgument if command.get_name() == "auth" && !argument.starts_with("--") => {
            "The secret access key is never an argument: it is asked for, or read from standard input".to_owned()
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues
            if command.get_name() == "encryption"
                && (error.kind() == ErrorKind::TooManyValues || !argument.starts_with("--")) =>
        {
            "The passphrase is never an argument: it is asked for, or read from standard input".to_owned()
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => format!("The flag {argument} is not known"),
        ErrorKind::UnknownArgument => format!("The argument {argument} is one too many"),
        ErrorKind::ArgumentConflict => {
            format!("{argument} and {} can't be given together", context(ContextKind::PriorArg))
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            format!("{value:?} is not valid for {argument}, which takes {}", context(ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => match std::error::Error::source(error) {
            Some(source) => source.to_string(),
            None => format!("{value:?} is not valid for {argument}"),
        },
        ErrorKind::InvalidUtf8 => "An argument is not valid UTF-8".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    let name = command.get_name();
    let split = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::ArgumentConflict);
    let mut failure = Failure::usage(message);
    if split && environment.is_over_ssh() {
        failure =
            failure.hint("Over ssh the first quotes are lost on the way: write a text with blanks as '\"this text\"'");
    }
    failure
        .hint(format!("Usage: dokku pgbackup:{}", help::usage(command)))
        .hint(format!("More on it with: dokku pgbackup:help {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
