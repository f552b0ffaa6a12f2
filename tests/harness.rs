//! The suite's own promises: what it works on is real, nothing is left out by mistake, and nothing is seen that differs by chance.

use std::fs;
use std::path::PathBuf;

use crate::host::redaction::redact;
use crate::host::{Host, Postgres};
use crate::layers::sources;

#[test]
fn every_test_file_is_registered() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let suite = fs::read_to_string(folder.join("suite.rs")).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "suite" {
            assert!(suite.lines().any(|line| line == format!("mod {name};")), "tests/suite.rs lacks `mod {name};`");
        }
    }
}

/// docs/restore-safety.md and docs/reliability.md name a test for each promise: no promise outlives its test.
#[test]
fn every_test_that_the_docs_name_is_there() {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&house.join("src"), &mut files);
    sources(&house.join("tests"), &mut files);
    let code: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for page in ["restore-safety.md", "reliability.md"] {
        let text = fs::read_to_string(house.join("docs").join(page)).unwrap();
        // A test's name has several words.
        let named = text.split('`').skip(1).step_by(2).filter(|name| {
            name.matches('_').count() >= 3 && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        });
        let mut count = 0;
        for name in named {
            assert!(code.contains(&format!("fn {name}()")), "docs/{page} names {name}, which is no test");
            count += 1;
        }
        assert!(count > 10, "docs/{page} names {count} tests");
    }
}

/// The headings of docs/troubleshooting.md are what users read: whoever looks for the words of an error finds it.
#[test]
fn troubleshooting_has_the_words_that_are_said() {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&house.join("src"), &mut files);
    let code: Vec<_> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let said = |piece: &[&str]| {
        code.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with("//")).any(|line| {
            let mut rest = line;
            piece.iter().all(|words| rest.split_once(words).map(|(_, after)| rest = after).is_some())
        })
    };
    let page = fs::read_to_string(house.join("docs/troubleshooting.md")).unwrap();
    let mut count = 0;
    for heading in page.lines().filter(|line| line.starts_with("## ")) {
        for message in heading.split('`').skip(1).step_by(2) {
            // What differs from case to case stands there as … or in capitals.
            let fixed = ["SERVICE", "BACKUP", "APP", "N"].iter().fold(message.to_owned(), |text, name| {
                let words = text.split(' ').map(|word| if word == *name { "…" } else { word });
                words.collect::<Vec<_>>().join(" ")
            });
            let pieces: Vec<_> = fixed.split('…').map(str::trim).filter(|piece| piece.len() > 1).collect();
            assert!(pieces.iter().map(|piece| piece.len()).sum::<usize>() > 8, "{message} is too short to be found");
            assert!(said(&pieces), "nothing in src/ says {message:?}, of which docs/troubleshooting.md has {pieces:?}");
            count += 1;
        }
    }
    assert!(count > 20, "{count} messages");
}

/// A link in a page leads to a file that is there.
#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "fuzz/README.md"]
        .iter()
        .map(|name| house.join(name))
        .collect();
    for folder in ["docs", "docs/design"] {
        let entries = fs::read_dir(house.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let mut count = 0;
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if link.starts_with("http") || file.is_empty() {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{} links to {link}", page.display());
            count += 1;
        }
    }
    assert!(count > 60, "{count} links");
    let readme = fs::read_to_string(house.join("README.md")).unwrap();
    for page in &pages[1..] {
        let name = page.strip_prefix(&house).unwrap().display().to_string();
        assert!(readme.contains(&format!("({name})")), "README.md leads nobody to {name}");
    }
}

#[test]
fn a_service_is_fresh_and_gone_afterwards() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V15);
    assert_eq!(service.databases(), [service.database.as_str()]);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    assert_eq!(service.rows("users"), 562);
    assert!(service.value("SELECT version()").starts_with("PostgreSQL 15."));
    assert!(service.bucket().names().is_empty());
    assert!(service.bucket().unfinished_uploads().is_empty());
    let container = service.container();
    drop(service);
    host.call("docker", &["container", "inspect", &container]).run().exits(1);
}

#[test]
fn what_differs_by_chance_is_not_seen() {
    assert_eq!(
        redact(
            "=====> Backup of prod-t0012abff saved as postgres-prod-t0012abff-2026-11-23-17-08-06.tgz\n       \
             1.7KiB in 0.8s: 2 tables, 562 rows\n       table a     12.4MiB     2m05s  \n\
             Undo until 2026-11-25T17:08:06Z: pgbackup_previous_20261123170806_prod_t0012abff\n"
        ),
        "=====> Backup of prod saved as postgres-prod-<second>.tgz\n       \
         <size> in <duration>: 2 tables, 562 rows\n       table a  <size>  <duration>\n\
         Undo until <time>: pgbackup_previous_<second>_prod\n"
    );
}
