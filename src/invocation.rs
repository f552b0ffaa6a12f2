//! How Dokku calls us: one executable behind many names.
//!
//! Dokku runs `…/pgbackup/subcommands/<cmd>` for a command, `…/pgbackup/commands` for help and for names that nobody knows,
//! and `…/pgbackup/<trigger>` when something happens; all of them are links to one executable. A subcommand gets its own
//! name (`pgbackup:<cmd>`) as first argument from Dokku and not from another plugin, so that is dropped only when it is
//! there. Called by its own name (`pgbackup <cmd> …`), as in tests, it takes the command from its arguments.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use crate::cli;
use crate::commands::{self, Context};
use crate::dokku::environment::Environment;
use crate::error::{Failure, Kind};
use crate::interrupt;
use crate::service::name::ServiceName;
use crate::triggers;
use crate::ui::{OutputClosed, Ui};

/// The plugin's name, which is the executable's too.
const PLUGIN: &str = "pgbackup";

/// What we were called for.
#[derive(Debug, PartialEq, Eq)]
enum Invocation {
    /// A command of ours with its arguments.
    Command(OsString, Vec<OsString>),
    /// Dokku asks all plugins: for help, or whether a name is ours.
    Commands(Vec<OsString>),
    /// Something happened.
    Trigger(OsString, Vec<OsString>),
}

impl Invocation {
    fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments = arguments.into_iter();
        let called = arguments.next().unwrap_or_default();
        let called = Path::new(&called);
        let mut rest: Vec<OsString> = arguments.collect();
        let name = called.file_name().unwrap_or(OsStr::new(PLUGIN)).to_owned();
        if called.parent().and_then(Path::file_name) == Some(OsStr::new("subcommands")) {
            let ours = |first: &OsString| {
                let first = first.to_string_lossy();
                let command = first.strip_prefix(PLUGIN).map(|rest| rest.strip_prefix(':').unwrap_or("default"));
                command.is_some_and(|command| OsStr::new(command) == name)
            };
            if rest.first().is_some_and(ours) {
                rest.remove(0);
            }
            return Self::Command(if name == "default" { "help".into() } else { name }, rest);
        }
        if name == "commands" {
            return Self::Commands(rest);
        }
        // A new executable is tried before it gets its name (`.pgbackup.123`, `pgbackup-x86_64`).
        if name.to_string_lossy().trim_start_matches('.').starts_with(PLUGIN) {
            if rest.is_empty() {
                return Self::Command("help".into(), rest);
            }
            let command = rest.remove(0);
            let command = match command.to_str().and_then(|text| text.strip_prefix("pgbackup:")) {
                Some(command) => command.into(),
                None => command,
            };
            return Self::Command(command, rest);
        }
        Self::Trigger(name, rest)
    }
}

/// Does what the process was called for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut environment = Environment::of_process();
    match Invocation::of(arguments) {
        Invocation::Command(name, arguments) => match cli::parse(&name, &arguments, &environment) {
            Ok(cli) => {
                let subject = subject(&arguments, &environment);
                cli.switches.apply(&mut environment);
                let context = context(environment);
                let done = listen(&context).and_then(|()| cli.command.run(&context));
                end(&context, done, subject.as_deref())
            }
            Err(error) => exit_code(&Ui::of_process(environment.quiet, environment.trace), error, None),
        },
        Invocation::Commands(arguments) => {
            let not_ours = ExitCode::from(environment.not_implemented_exit);
            let context = context(environment);
            match commands::help::answer(&arguments, &context) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => not_ours,
                Err(error) => exit_code(&context.ui, error, None),
            }
        }
        Invocation::Trigger(name, arguments) => {
            let context = context(environment);
            let done = listen(&context).and_then(|()| triggers::run(&name, &arguments, &context));
            end(&context, done, None)
        }
    }
}

/// Whom the arguments are about: the first word that is a service of this host, wherever it stands among the flags; or else all of them.
fn subject(arguments: &[OsString], environment: &Environment) -> Option<String> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let names = words.iter().filter(|word| word.parse::<ServiceName>().is_ok());
    let services = environment.lib_root.join("services/postgres");
    let exists = names.clone().find(|name| services.join(name).is_dir());
    let global = words.iter().find(|word| **word == "--global");
    let first = words.first().filter(|first| first.parse::<ServiceName>().is_ok());
    exists.or(first).or(global).map(ToString::to_string)
}

/// Shows how it went; whoever is told of it has no say in that, so they come last.
fn end(context: &Context, done: anyhow::Result<()>, subject: Option<&str>) -> ExitCode {
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit_code(&context.ui, error, subject),
    };
    commands::telling::finish(context);
    code
}

fn context(environment: Environment) -> Context {
    let ui = Ui::of_process(environment.quiet, environment.trace);
    Context::new(environment, ui)
}

fn listen(context: &Context) -> anyhow::Result<()> {
    context.ui.debug(format!("pgbackup {}", commands::version::version()));
    Ok(interrupt::listen()?)
}

/// Shows what went wrong, and says it in one number.
fn exit_code(ui: &Ui, error: anyhow::Error, subject: Option<&str>) -> ExitCode {
    // `dokku pgbackup:list prod | head -1` is no failure.
    if error.chain().any(<dyn std::error::Error>::is::<OutputClosed>) {
        return ExitCode::SUCCESS;
    }
    let mut failure = Failure::from_error(error);
    // A store doesn't know whose it is; the user shall be able to copy what to type.
    if let Some(subject) = subject {
        failure = failure.of(&subject);
    }
    ui.fail(&failure);
    // What could be read as "no such command" by Dokku is never said.
    ExitCode::from(match failure.kind.exit_code() {
        10 => Kind::Failed.exit_code(),
        code => code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn command(name: &str, rest: &[&str]) -> Invocation {
        Invocation::Command(name.into(), words(rest))
    }

    #[test]
    fn is_told_by_the_name_it_is_called_by() {
        let enabled = "/var/lib/dokku/plugins/enabled/pgbackup";
        let of = |name: &str, rest: &[&str]| {
            let mut all = words(&[&format!("{enabled}/{name}")]);
            all.extend(words(rest));
            Invocation::of(all)
        };
        assert_eq!(of("subcommands/list", &["pgbackup:list", "prod"]), command("list", &["prod"]));
        assert_eq!(of("subcommands/list", &["prod"]), command("list", &["prod"]));
        assert_eq!(of("subcommands/list", &["pgbackup:info", "prod"]), command("list", &["pgbackup:info", "prod"]));
        assert_eq!(
            of("subcommands/restore:commit", &["pgbackup:restore:commit", "prod"]),
            command("restore:commit", &["prod"])
        );
        assert_eq!(of("subcommands/default", &["pgbackup"]), command("help", &[]));
        assert_eq!(of("commands", &["pgbackup:nosuch"]), Invocation::Commands(words(&["pgbackup:nosuch"])));
        assert_eq!(of("report", &["web"]), Invocation::Trigger("report".into(), words(&["web"])));
    }

    #[test]
    fn who_is_meant_is_known_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let lib_root = folder.path().to_owned();
        std::fs::create_dir_all(lib_root.join("services/postgres/prod")).unwrap();
        let environment = Environment::from_lookup(|name| (name == "DOKKU_LIB_ROOT").then(|| lib_root.clone().into()));
        let of = |line: &str| subject(&words(&line.split(' ').collect::<Vec<_>>()), &environment);
        assert_eq!(of("prod latest").as_deref(), Some("prod"));
        assert_eq!(of("--limit 5 prod").as_deref(), Some("prod"));
        assert_eq!(of("gone latest").as_deref(), Some("gone"));
        assert_eq!(of("--global KEY").as_deref(), Some("--global"));
        assert_eq!(of("--all"), None);
        let failure = Failure::failed("x").hint("dokku pgbackup:auth <service> ACCESS_KEY_ID").of(&"prod");
        assert_eq!(failure.hints, ["dokku pgbackup:auth prod ACCESS_KEY_ID"]);
    }

    #[test]
    fn works_by_its_own_name_too() {
        let of = |rest: &[&str]| Invocation::of(words(rest));
        assert_eq!(of(&["bin/pgbackup", "list", "prod"]), command("list", &["prod"]));
        assert_eq!(of(&["pgbackup", "pgbackup:list", "prod"]), command("list", &["prod"]));
        assert_eq!(of(&["pgbackup"]), command("help", &[]));
        assert_eq!(of(&[]), command("help", &[]));
    }
}
