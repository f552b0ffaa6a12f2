//! Help in Dokku's shape, from the tree of commands: lists of `name:cmd <arg>, description`, one command in full, the command
//! block of the README, and docs/commands.md.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// Usage longer than this is cut in lists: flags are for the command's own help.
const LIST_WIDTH: usize = 62;

/// What the plugin is, in one line (no comma: Dokku cuts its columns there).
pub const ABOUT: &str = "Back up and restore dokku-postgres services";

/// The commands that are shown, in alphabetical order.
pub fn commands(tree: &Command) -> Vec<&Command> {
    let mut commands: Vec<_> = tree.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    commands.sort_by_key(|command| command.get_name());
    commands
}

/// A command's first line of help.
pub fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// A command's usage without `dokku pgbackup:`: `list <service> [--limit N]`.
pub fn usage(command: &Command) -> String {
    let mut usage = command.get_name().to_owned();
    for word in usage_words(command) {
        usage.push(' ');
        usage.push_str(&word);
    }
    usage
}

/// The same, short enough for a list.
fn short_usage(command: &Command) -> String {
    let whole = usage(command);
    if whole.len() <= LIST_WIDTH {
        return whole;
    }
    let mut short = command.get_name().to_owned();
    for word in usage_words(command).into_iter().filter(|word| !word.starts_with("[-")) {
        short.push(' ');
        short.push_str(&word);
    }
    short + " [flags...]"
}

/// What the command says of its usage itself, else its arguments in order.
fn usage_words(command: &Command) -> Vec<String> {
    let rendered = command.clone().render_usage().to_string();
    let rendered = rendered.trim().strip_prefix("Usage: ").unwrap_or_default();
    if !rendered.is_empty() && !rendered.starts_with("pgbackup ") {
        return split_outside_brackets(rendered);
    }
    let positionals = command.get_positionals().map(positional);
    positionals.chain(flags(command).map(|flag| format!("[{}]", flag_usage(flag)))).collect()
}

/// Splits at blanks, but not inside `[--limit N]`.
fn split_outside_brackets(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words
}

fn value_name(argument: &Arg) -> String {
    argument
        .get_value_names()
        .and_then(|names| names.first())
        .map_or_else(|| argument.get_id().to_string(), ToString::to_string)
}

fn positional(argument: &Arg) -> String {
    let name = format!("<{}>", value_name(argument));
    if argument.is_required_set() { name } else { format!("[{name}]") }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_opts()
        .chain(command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue)))
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
}

fn flag_usage(flag: &Arg) -> String {
    let mut usage = String::new();
    if let Some(short) = flag.get_short() {
        let _ = write!(usage, "-{short}|");
    }
    let _ = write!(usage, "--{}", flag.get_long().unwrap_or_default());
    if flag.get_action().takes_values() {
        let _ = write!(usage, " {}", value_name(flag));
    }
    usage
}

fn help_of(argument: &Arg) -> String {
    argument.get_help().map(ToString::to_string).unwrap_or_default()
}

/// `dokku help --all`: one line per command, usage and description parted by Dokku's comma.
pub fn lines(tree: &Command) -> Vec<String> {
    commands(tree)
        .into_iter()
        .map(|command| format!("    pgbackup:{}, {}", short_usage(command), about(command)))
        .collect()
}

/// `dokku help`: the plugin in one line.
pub fn line() -> String {
    format!("    pgbackup, {ABOUT}")
}

/// `dokku pgbackup` and `dokku pgbackup:help`.
pub fn overview(tree: &Command) -> String {
    let rows = commands(tree).into_iter().map(|command| (format!("pgbackup:{}", short_usage(command)), about(command)));
    format!(
        "Usage: dokku pgbackup[:COMMAND]\n\n{ABOUT}\n\nAdditional commands:\n{}\nMore on one of them with: dokku pgbackup:help COMMAND",
        columns(rows.collect())
    )
}

/// `dokku pgbackup:help <cmd>`.
pub fn detail(command: &Command) -> String {
    let mut text = format!("Usage: dokku pgbackup:{}\n", usage(command));
    let long = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{}\n", wrap(&long, 100));
    let arguments: Vec<_> = command
        .get_positionals()
        .filter(|argument| !argument.is_hide_set())
        .map(|argument| (positional_name(argument), help_of(argument)))
        .collect();
    if !arguments.is_empty() {
        let _ = write!(text, "\nArguments:\n{}", columns(arguments));
    }
    let flags: Vec<_> = flags(command).map(|flag| (flag_usage(flag), help_of(flag))).collect();
    if !flags.is_empty() {
        let _ = write!(text, "\nFlags:\n{}", columns(flags));
    }
    if let Some(notes) = command.get_before_long_help() {
        let _ = write!(text, "\n{}\n", notes.to_string().trim_end());
    }
    if let Some(examples) = command.get_after_help() {
        let _ = write!(text, "\nExamples:\n\n{examples}\n");
    }
    text.truncate(text.trim_end().len());
    text
}

fn positional_name(argument: &Arg) -> String {
    format!("<{}>", value_name(argument))
}

/// The README's block: aligned, each with `# description`.
pub fn readme_commands(tree: &Command) -> String {
    let rows: Vec<_> = commands(tree).into_iter().map(|command| (short_usage(command), about(command))).collect();
    let width = rows.iter().map(|(usage, _)| usage.len()).max().unwrap_or_default();
    rows.iter().fold(String::new(), |mut text, (usage, about)| {
        let mut letters = about.chars();
        let about = letters.next().map(|first| first.to_lowercase().to_string() + letters.as_str()).unwrap_or_default();
        let _ = writeln!(text, "pgbackup:{usage:width$} # {about}");
        text
    })
}

/// docs/commands.md: each command's usage, flags and examples.
pub fn reference(tree: &Command) -> String {
    let mut text = String::new();
    for command in commands(tree) {
        let about = about(command);
        let name = command.get_name();
        let _ = write!(text, "\n## pgbackup:{name}\n\n{about}.\n\n```shell\ndokku pgbackup:{}\n```\n", usage(command));
        let flags: Vec<_> = flags(command).collect();
        if !flags.is_empty() {
            text.push_str("\nFlags:\n\n");
        }
        for flag in flags {
            let _ = writeln!(text, "- `{}`: {}", flag_usage(flag), help_of(flag));
        }
        let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
        let long = long.strip_prefix(&about).unwrap_or(&long).trim();
        if !long.is_empty() {
            let _ = write!(text, "\n{}\n", wrap(long, 100));
        }
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for paragraph in examples.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            if paragraph.starts_with("    ") {
                let code: Vec<_> = paragraph.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
                let _ = write!(text, "\n```shell\n{}\n```\n", code.join("\n"));
            } else {
                let _ = write!(text, "\n{paragraph}:\n");
            }
        }
    }
    text.push('\n');
    text
}

/// Two columns, indented.
pub fn columns(rows: Vec<(String, String)>) -> String {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or_default();
    rows.into_iter().fold(String::new(), |mut text, (left, right)| {
        let _ = writeln!(text, "    {left:width$}  {right}");
        text
    })
}

/// Breaks paragraphs into lines no longer than `width`, at blanks.
fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            wrapped.push_str("\n\n");
        }
        let mut column = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > width {
                wrapped.push('\n');
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += length;
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dokkus_columns_survive() {
        let tree = crate::cli::tree();
        assert!(!ABOUT.contains(','));
        for (line, command) in lines(&tree).iter().zip(commands(&tree)) {
            assert_eq!(line.matches(',').count(), 1, "{line}");
            assert!(line.len() < 150, "{line}");
            let about = about(command);
            assert!(about.chars().next().is_some_and(char::is_uppercase) && !about.ends_with('.'), "{line}");
            assert!(command.get_after_help().is_some() || ["help", "version"].contains(&command.get_name()), "{line}");
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(!help_of(argument).is_empty() && !help_of(argument).ends_with('.'), "{line}: {argument}");
            }
        }
    }

    #[test]
    fn flags_with_a_value_stay_together() {
        assert_eq!(split_outside_brackets("<a>|--b [--c D] e"), ["<a>|--b", "[--c D]", "e"]);
    }

    #[test]
    fn wraps_at_blanks() {
        assert_eq!(wrap("aa bb cc\n\ndd", 5), "aa bb\ncc\n\ndd");
    }
}
