//! Who may use whom: the house stays as it was drawn. Reads the sources, so that a new `use` that breaks it is seen at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use, besides itself. `checksum`, `interrupt`, `secret`, `step` and `text` are plain helpers for
/// everybody.
const ALLOWED: &[(&str, &[&str])] = &[
    ("checksum", &[]),
    ("interrupt", &[]),
    ("secret", &[]),
    ("step", &[]),
    ("text", &[]),
    ("docker", &[]),
    ("durable", &[]),
    // The only edge that branches on a store's errors: what is said of them stands in one place.
    ("error", &["store"]),
    ("service", &["docker", "error"]),
    ("dokku", &["docker", "durable", "service"]),
    // Bytes to it: a store knows nothing of databases, archives and manifests.
    ("store", &["service"]),
    // Who wants to know, and how it gets there: neither what happened nor who decides.
    ("notify", &["docker", "service"]),
    ("settings", &["changes", "dokku", "error", "notify", "retention", "service", "store"]),
    ("custom_format", &[]),
    ("plain_format", &[]),
    ("manifest", &["service", "store"]),
    ("changes", &["manifest"]),
    ("retention", &["store"]),
    ("verification", &["manifest"]),
    ("run_log", &["durable"]),
    ("schedule", &[]),
    ("drill", &["manifest", "store"]),
    ("signing", &["drill", "durable", "manifest", "service", "store"]),
    // Only Read and Write.
    ("archive", &[]),
    ("database", &["custom_format", "docker", "error", "manifest", "plain_format", "service"]),
    ("history", &["durable", "manifest", "store"]),
    ("catalog", &["drill", "error", "history", "manifest", "service", "signing", "store"]),
    ("certificate", &["durable", "service", "verification"]),
    ("copies", &["history", "store"]),
    ("health", &["history", "store"]),
    ("holds", &["durable", "store"]),
    ("lock", &["durable", "error", "service"]),
    ("journal", &["durable", "error", "lock", "service"]),
    ("ui", &["changes", "error", "verification"]),
    ("cli", &["commands", "dokku", "error", "service"]),
    ("invocation", &["cli", "commands", "dokku", "error", "service", "triggers", "ui"]),
    ("triggers", &["commands", "dokku", "error", "journal", "service"]),
    (
        "commands",
        &[
            "archive",
            "catalog",
            "certificate",
            "changes",
            "cli",
            "copies",
            "custom_format",
            "database",
            "docker",
            "dokku",
            "drill",
            "durable",
            "error",
            "health",
            "history",
            "holds",
            "journal",
            "lock",
            "manifest",
            "notify",
            "plain_format",
            "retention",
            "run_log",
            "schedule",
            "service",
            "settings",
            "signing",
            "store",
            "ui",
            "verification",
        ],
    ),
];
const HELPERS: [&str; 5] = ["checksum", "interrupt", "secret", "step", "text"];

/// Words and the only files that may hold them.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws_", &["store/s3"]),
    ("tokio::", &["store/s3"]),
    ("std::process::Command", &["docker.rs"]),
    ("println!", &[]),
    ("process::exit", &[]),
];

/// The Rust files below a folder.
pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path below `src`, room, and the code without comments and tests.
fn rooms() -> Vec<(String, String, String)> {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&house, &mut found);
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&house).unwrap().to_str().unwrap().to_owned();
            let room = name.split(['/', '.']).next().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            (name, room, code)
        })
        .filter(|(name, room, _)| !["lib", "main"].contains(&room.as_str()) && !name.ends_with("tests.rs"))
        .collect()
}

#[test]
fn every_room_uses_only_what_it_may() {
    let mut wrong = Vec::new();
    for (name, room, code) in rooms() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == room) else {
            wrong.push(format!("{name}: the room {room} is not in the table of tests/layers.rs"));
            continue;
        };
        let used: BTreeSet<&str> = code
            .split("crate::")
            .skip(1)
            .filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_').next())
            .filter(|used| ALLOWED.iter().any(|(known, _)| known == used))
            .collect();
        for used in used {
            if used != room && !HELPERS.contains(&used) && !allowed.contains(&used) {
                wrong.push(format!("{name} uses crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_words_stand_in_few_files() {
    let mut wrong = Vec::new();
    for (name, _, code) in rooms() {
        for (word, files) in RESERVED {
            if code.contains(word) && !files.iter().any(|file| name.starts_with(file)) {
                wrong.push(format!("{name} holds {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
