//! The judgement: what a backup's manifest expects against what was found by direct queries. Pure: values in, differences out.
//!
//! Only what the manifest knows is compared: a backup of dokku-postgres brings no manifest, and then the rows of its own dump
//! are what is expected.

mod expression;
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::checksum::{Ranges, Sum};
use crate::manifest::Fingerprint;
use crate::manifest::checks::{Answer, Name as CheckName, Recorded, Sql, Wants};
use crate::text::count;

/// Tables that a sentence names.
const NAMED: usize = 5;
/// What is said of a side that has no such thing.
pub(crate) const NONE: &str = "none";

/// One line of the comparison that a user is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRows {
    /// Qualified and quoted name.
    pub table: String,
    /// Rows in the backup; absent when the backup has no such table.
    pub expected: Option<u64>,
    /// Rows in the restored database; absent when it has no such table.
    pub found: Option<u64>,
}

impl TableRows {
    /// Whether both sides agree.
    pub fn matches(&self) -> bool {
        self.expected == self.found
    }

    /// How they don't.
    pub fn difference(&self) -> Option<Difference> {
        let side = |rows: Option<u64>| rows.map_or_else(|| "no such table".to_owned(), |rows| format!("{rows} rows"));
        let (expected, found) = (side(self.expected), side(self.found));
        (!self.matches()).then(|| Difference { what: format!("table {}", self.table), expected, found })
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What: a table, a sequence, an extension, a kind of object.
    pub what: String,
    /// What the backup says.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Difference {
    /// The difference in words.
    pub fn sentence(&self) -> String {
        let Self { what, expected, found } = self;
        match (expected.as_str(), found.as_str()) {
            (_, NONE) => format!("{what} is missing"),
            (NONE, _) => format!("{what} is there, but not in the backup"),
            _ => format!("{what}: {expected} expected, {found} found"),
        }
    }
}

/// One of the user's checks as it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Its name.
    pub check: CheckName,
    /// The question.
    pub sql: Sql,
    /// What the answer had to be, in words.
    pub expected: String,
    /// The answer of the restored database, in words.
    pub found: String,
    /// Whether it is what was wanted.
    pub passed: bool,
}

/// Why nothing was compared with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The dump holds them as INSERT statements.
    Inserts,
    /// They are compressed in a way that refers back too far.
    Compression,
    /// They are loaded through the root of a partition tree.
    ThroughRoot,
    /// The dump says nothing of them.
    NotInDump,
}

impl Reason {
    /// In words, behind the tables that it concerns.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Inserts => "the dump holds their rows as INSERT statements, which are not counted",
            Self::Compression => "the dump's compression refers back too far to count their rows",
            Self::ThroughRoot => "their rows are loaded through the root of a partition tree",
            Self::NotInDump => "the dump holds no rows of them",
        }
    }
}

/// A table whose rows nothing was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// Qualified and quoted name.
    pub table: String,
    /// Why.
    pub reason: Reason,
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Every table of either side, in order of name.
    pub tables: Vec<TableRows>,
    /// The user's own checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Checked>,
    /// What differs, tables included; empty when all is equal.
    pub differences: Vec<Difference>,
    /// What is not the same and need not be: a dump says which extensions it needs and not in which version.
    pub notes: Vec<Difference>,
    /// Tables whose rows nothing was compared with: a dump without a manifest doesn't tell all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<NotCompared>,
    /// How many single values were compared.
    pub compared: usize,
}

impl Verification {
    /// Whether the restored database is what was saved, as far as that can be told: where nothing could be compared, it can't.
    pub fn passed(&self) -> bool {
        self.differences.is_empty() && !self.compared_nothing()
    }

    /// Whether there are tables, and not one of them could be compared.
    pub fn compared_nothing(&self) -> bool {
        self.tables.is_empty() && !self.not_compared.is_empty()
    }

    /// Tables that were not compared, by reason.
    pub fn gaps(&self) -> BTreeMap<Reason, Vec<&str>> {
        let mut gaps: BTreeMap<Reason, Vec<&str>> = BTreeMap::new();
        for NotCompared { table, reason } in &self.not_compared {
            gaps.entry(*reason).or_default().push(table);
        }
        gaps
    }

    /// That and why tables were not compared, a sentence for each reason.
    pub fn gap_sentences(&self) -> Vec<String> {
        let shown = |tables: &[&str]| {
            let more = if tables.len() > NAMED { ", \u{2026}" } else { "" };
            format!("{}{more}", tables.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "))
        };
        let sentence = |(reason, tables): (Reason, Vec<&str>)| {
            let number = count(tables.len() as u64, "table");
            format!("{number} not compared ({}): {}", shown(&tables), reason.describe())
        };
        self.gaps().into_iter().map(sentence).collect()
    }

    /// Rows found in all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.found).sum()
    }
}

/// Tables of either side that the other one can't be compared with, as a dump without a manifest doesn't tell their rows.
pub fn not_compared(
    expected: &Fingerprint,
    found: &Fingerprint,
    uncounted: &BTreeMap<String, Reason>,
) -> Vec<NotCompared> {
    let names: BTreeSet<&String> = found.tables.keys().chain(uncounted.keys()).collect();
    names
        .into_iter()
        .filter(|name| !expected.tables.contains_key(*name))
        .map(|name| NotCompared {
            table: name.clone(),
            reason: uncounted.get(name).copied().unwrap_or(Reason::NotInDump),
        })
        .collect()
}

/// How far two sides may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Depth {
    /// Rows only: all that a dump without a manifest tells.
    Rows,
    /// Everything but what differs between major versions of PostgreSQL.
    AcrossMajors,
    /// Everything.
    Full,
}

/// Compares.
pub fn compare(expected: &Fingerprint, found: &Fingerprint, depth: Depth) -> Verification {
    // A dump without a manifest may leave the rows of some tables out, or hold them in a way that can't be counted.
    let others = found.tables.keys().filter(|_| depth != Depth::Rows);
    let names: BTreeSet<&String> = expected.tables.keys().chain(others).collect();
    let tables: Vec<TableRows> = names
        .into_iter()
        .map(|name| TableRows {
            table: name.clone(),
            expected: expected.tables.get(name).copied(),
            found: found.tables.get(name).copied(),
        })
        .collect();
    let mut differences: Vec<Difference> = tables.iter().filter_map(TableRows::difference).collect();
    let mut compared = tables.len();
    for (table, sum) in &expected.contents {
        let Some(there) = found.contents.get(table) else { continue };
        compared += 1;
        // That rows are missing has been said.
        if there != sum && expected.tables.get(table) == found.tables.get(table) {
            differences.push(Difference {
                what: format!("content of table {table}"),
                expected: format!("checksum {sum:.8}"),
                found: format!("checksum {there:.8}"),
            });
        }
    }
    if !expected.large_object_contents.is_empty() {
        compared += 1;
        differences.extend(large_objects(&expected.large_object_contents, &found.large_object_contents));
    }
    let mut notes = Vec::new();
    let checks = judge_checks(expected, found, &mut notes);
    compared += checks.len();
    differences.extend(checks.iter().filter(|check| !check.passed).map(|check| Difference {
        what: format!("check {}", check.check),
        expected: check.expected.clone(),
        found: check.found.clone(),
    }));
    if depth != Depth::Rows {
        let text = |sequence: &crate::manifest::Sequence| {
            format!("{}{}", sequence.value, if sequence.called { "" } else { " (not used yet)" })
        };
        compared += maps("sequence", &expected.sequences, &found.sequences, text, &mut differences);
        let installed = |_: &String| "installed".to_owned();
        compared += maps("extension", &expected.extensions, &found.extensions, installed, &mut differences);
        notes.extend(other_versions(expected, found));
        if let (Some(expected), Some(found)) = (&expected.schema, &found.schema) {
            let (of_objects, more_notes, number) = objects::compare(expected, found, depth);
            // A table that is missing was told with its rows.
            let tables: BTreeSet<String> = tables
                .iter()
                .filter(|table| table.expected.is_none() != table.found.is_none())
                .map(|table| format!("table {}", table.table))
                .collect();
            differences.extend(of_objects.into_iter().filter(|difference| !tables.contains(&difference.what)));
            notes.extend(more_notes);
            compared += number;
        } else if depth == Depth::Full {
            // A backup of an earlier pgbackup, or one that was told to count only.
            compared += maps(
                "number of objects of the kind",
                &expected.objects,
                &found.objects,
                u64::to_string,
                &mut differences,
            );
        }
        compared += 1;
        if expected.large_objects != found.large_objects {
            differences.push(Difference {
                what: "number of large objects".to_owned(),
                expected: expected.large_objects.to_string(),
                found: found.large_objects.to_string(),
            });
        }
    }
    Verification { tables, checks, differences, notes, not_compared: Vec::new(), compared }
}

/// Large objects whose bytes differ: by oid, or by range of oids where there are many.
fn large_objects(expected: &Ranges, found: &Ranges) -> Option<Difference> {
    let differing = expected.differing(found);
    let name = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first} to {last}") }
    };
    let named: Vec<String> = differing.iter().take(NAMED).map(name).collect();
    let one = matches!(differing.as_slice(), [(first, last)] if first == last);
    let (plural, more) = (if one { "" } else { "s" }, if differing.len() > NAMED { ", \u{2026}" } else { "" });
    (!differing.is_empty()).then(|| Difference {
        what: format!("content of large object{plural} {}{more}", named.join(", ")),
        expected: format!("checksum {:.8}", expected.total().to_string()),
        found: format!("checksum {:.8}", found.total().to_string()),
    })
}

/// Judges the user's checks. One that the restored database can't be asked has failed: what it asks of may be what is missing.
fn judge_checks(expected: &Fingerprint, found: &Fingerprint, notes: &mut Vec<Difference>) -> Vec<Checked> {
    let mut judged = Vec::new();
    for (name, then) in &expected.checks {
        let Some(now) = found.checks.get(name) else { continue };
        let (passed, expected) = match &then.check.wants {
            Wants::SameAsBackup if matches!(then.answer, Answer::Error { .. }) => {
                // There is nothing to compare with; that was told when the backup was made.
                notes.push(Difference {
                    what: format!("check {name}"),
                    expected: then.answer.describe(),
                    found: now.answer.describe(),
                });
                continue;
            }
            Wants::SameAsBackup => (now.answer == then.answer, then.answer.describe()),
            wants @ (Wants::Expect(_) | Wants::Min(_)) => (now.holds(), wants.describe()),
        };
        judged.push(Checked {
            check: name.clone(),
            sql: then.check.sql.clone(),
            expected,
            found: describe_found(then, now, passed),
            passed,
        });
    }
    judged
}

/// A check that had failed before already is no fault of the restore.
fn describe_found(then: &Recorded, now: &Recorded, passed: bool) -> String {
    let found = now.answer.describe();
    if !passed && now.answer == then.answer { format!("{found} (as when the backup was made)") } else { found }
}

/// Counts the rows of partitions whose rows may lie in another one of their tree at the root of that tree, and adds up their checksums there
/// where that side has all of them.
pub fn count_at_root(side: &mut Fingerprint, through_root: &BTreeMap<String, String>) {
    let mut sums: BTreeMap<&String, Option<Sum>> = BTreeMap::new();
    for (partition, root) in through_root {
        let sum = side.contents.remove(partition).and_then(|sum| sum.parse::<Sum>().ok());
        let all = sums.entry(root).or_insert_with(|| Some(Sum::default()));
        *all = all.zip(sum).map(|(all, sum)| all.and(sum));
        let Some(rows) = side.tables.remove(partition) else { continue };
        let all = side.tables.entry(root.clone()).or_default();
        *all = all.saturating_add(rows);
    }
    side.contents.extend(sums.into_iter().filter_map(|(root, sum)| Some((root.clone(), sum?.to_string()))));
}

/// Extensions that are there in another version: the image's, not the backup's.
pub fn other_versions(expected: &Fingerprint, found: &Fingerprint) -> Vec<Difference> {
    let pairs =
        expected.extensions.iter().filter_map(|(name, version)| Some((name, version, found.extensions.get(name)?)));
    pairs
        .filter(|(_, expected, found)| expected != found)
        .map(|(name, expected, found)| Difference {
            what: format!("extension {name}"),
            expected: format!("version {expected}"),
            found: format!("version {found}"),
        })
        .collect()
}

fn maps<V>(
    what: &str,
    expected: &BTreeMap<String, V>,
    found: &BTreeMap<String, V>,
    text: impl Fn(&V) -> String,
    differences: &mut Vec<Difference>,
) -> usize {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in &names {
        let side = |map: &BTreeMap<String, V>| map.get(*name).map_or_else(|| "none".to_owned(), &text);
        let (expected, found) = (side(expected), side(found));
        if expected != found {
            differences.push(Difference { what: format!("{what} {name}"), expected, found });
        }
    }
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Numbered;
    use crate::manifest::Sequence;

    fn sample() -> Fingerprint {
        Fingerprint {
            tables: BTreeMap::from([("public.users".to_owned(), 562), ("public.orders".to_owned(), 5000)]),
            sequences: BTreeMap::from([("public.users_id_seq".to_owned(), Sequence { value: 562, called: true })]),
            large_objects: 2,
            extensions: BTreeMap::from([("citext".to_owned(), "1.6".to_owned())]),
            objects: BTreeMap::from([("index".to_owned(), 3)]),
            schema: None,
            contents: BTreeMap::from([("public.users".to_owned(), "00ff".to_owned())]),
            large_object_contents: large_objects(&[(16_385, b"a"), (16_386, b"b")]),
            checks: BTreeMap::new(),
        }
    }

    fn large_objects(all: &[(u32, &[u8])]) -> Ranges {
        let mut sums = Ranges::default();
        for (oid, bytes) in all {
            let mut one = Numbered::new(*oid);
            one.add(bytes);
            sums.add(&one);
        }
        sums
    }

    #[test]
    fn equal_sides_pass() {
        let verification = compare(&sample(), &sample(), Depth::Full);
        assert!(verification.passed());
        assert_eq!(verification.rows(), 5562);
        assert_eq!(verification.compared, 8);
    }

    #[test]
    fn every_single_break_is_found() {
        type Break = (&'static str, fn(&mut Fingerprint));
        let breaks: [Break; 11] = [
            ("table public.users", |f| *f.tables.get_mut("public.users").unwrap() -= 1),
            ("table public.users", |f| {
                f.tables.remove("public.users");
            }),
            ("table public.new", |f| {
                f.tables.insert("public.new".to_owned(), 0);
            }),
            ("sequence public.users_id_seq", |f| f.sequences.get_mut("public.users_id_seq").unwrap().value += 1),
            ("sequence public.users_id_seq", |f| f.sequences.get_mut("public.users_id_seq").unwrap().called = false),
            ("extension citext", |f| drop(f.extensions.remove("citext"))),
            ("number of objects of the kind index", |f| *f.objects.get_mut("index").unwrap() = 2),
            ("number of large objects", |f| f.large_objects = 1),
            ("content of table public.users", |f| {
                drop(f.contents.insert("public.users".to_owned(), "00fe".to_owned()));
            }),
            ("content of large object 16386", |f| {
                f.large_object_contents = large_objects(&[(16_385, b"a"), (16_386, b"c")]);
            }),
            ("content of large objects 7, 16385, 16386", |f| f.large_object_contents = large_objects(&[(7, b"a")])),
        ];
        for (what, change) in breaks {
            let mut found = sample();
            change(&mut found);
            let verification = compare(&sample(), &found, Depth::Full);
            let named: Vec<&str> = verification.differences.iter().map(|difference| difference.what.as_str()).collect();
            assert_eq!(named, [what]);
        }
    }

    #[test]
    fn another_version_of_an_extension_is_told_and_no_difference() {
        let mut found = sample();
        found.extensions.insert("citext".to_owned(), "1.7".to_owned());
        let verification = compare(&sample(), &found, Depth::Full);
        assert!(verification.passed());
        assert_eq!(verification.notes.len(), 1);
    }

    #[test]
    fn checks_are_judged_by_what_each_wants() {
        use crate::manifest::checks::tests::{one, recorded};
        let name = |text: &str| text.parse::<CheckName>().unwrap();
        let lost = || Answer::Error { error: "relation \"users\" does not exist".to_owned() };
        let min = || Wants::Min("500".parse().unwrap());
        let mut expected = sample();
        let mut found = sample();
        for (text, wants, then, now) in [
            ("same", Wants::SameAsBackup, one(Some("562")), one(Some("562"))),
            ("other", Wants::SameAsBackup, one(Some("562")), one(Some("561"))),
            ("null", Wants::SameAsBackup, one(None), one(Some(""))),
            ("gone", Wants::SameAsBackup, one(Some("562")), lost()),
            ("never-known", Wants::SameAsBackup, lost(), one(Some("1"))),
            ("expected", Wants::Expect("7".to_owned()), one(Some("7")), one(Some("7"))),
            ("enough", min(), one(Some("600")), one(Some("500"))),
            ("too-few", min(), one(Some("600")), one(Some("499"))),
            ("too-few-before", min(), one(Some("1")), one(Some("1"))),
        ] {
            expected.checks.insert(name(text), recorded(wants.clone(), then));
            found.checks.insert(name(text), recorded(wants, now));
        }
        for depth in [Depth::Rows, Depth::AcrossMajors, Depth::Full] {
            let verification = compare(&expected, &found, depth);
            let told: Vec<String> = verification.differences.iter().map(Difference::sentence).collect();
            assert_eq!(
                told,
                [
                    "check gone: 562 expected, no answer (relation \"users\" does not exist) found",
                    "check null: NULL expected, \"\" found",
                    "check other: 562 expected, 561 found",
                    "check too-few: at least 500 expected, 499 found",
                    "check too-few-before: at least 500 expected, 1 (as when the backup was made) found",
                ]
            );
            assert_eq!((verification.checks.len(), verification.notes.len()), (8, 1));
        }
    }

    #[test]
    fn partitions_that_rows_may_change_are_counted_together() {
        let root = |name: &str| (name.to_owned(), "public.p".to_owned());
        let through_root = BTreeMap::from([root("public.p1"), root("public.p2"), root("public.p3")]);
        let side = |rows: &[(&str, u64)]| {
            let tables = rows.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
            let contents = rows.iter().map(|(name, rows)| ((*name).to_owned(), format!("{rows:032x}"))).collect();
            let mut side = Fingerprint { tables, contents, ..Fingerprint::default() };
            count_at_root(&mut side, &through_root);
            side
        };
        let expected = side(&[("public.p1", 10), ("public.p2", 0), ("public.p3", 5), ("public.other", 1)]);
        let moved = side(&[("public.p1", 3), ("public.p2", 12), ("public.p3", 0), ("public.other", 1)]);
        assert!(compare(&expected, &moved, Depth::Full).passed());
        let lost = side(&[("public.p1", 3), ("public.p2", 11), ("public.p3", 0), ("public.other", 1)]);
        let told: Vec<String> =
            compare(&expected, &lost, Depth::Full).differences.iter().map(Difference::sentence).collect();
        assert_eq!(told, ["table public.p: 15 rows expected, 14 rows found"]);
        let changed = Fingerprint {
            contents: [
                ("public.p".to_owned(), format!("{:032x}", 16)),
                ("public.other".to_owned(), format!("{:032x}", 1)),
            ]
            .into(),
            ..moved
        };
        let told = compare(&expected, &changed, Depth::Full).differences;
        assert_eq!((told.len(), told[0].what.as_str()), (1, "content of table public.p"));
        // One of an earlier pgbackup has none of partitions, and nothing can be said of the tree.
        let partly = side(&[("public.p1", 15)]);
        assert!(!partly.contents.contains_key("public.p"));
    }

    #[test]
    fn rows_alone_can_be_compared() {
        let expected = Fingerprint { tables: sample().tables, ..Fingerprint::default() };
        assert!(compare(&expected, &sample(), Depth::Rows).passed());
        let fewer = Fingerprint { tables: [("public.users".to_owned(), 561)].into(), ..Fingerprint::default() };
        assert_eq!(compare(&fewer, &sample(), Depth::Rows).differences.len(), 1);
    }

    #[test]
    fn what_was_not_compared_is_told_and_nothing_compared_is_no_success() {
        let judge = |expected: &[(&str, u64)], uncounted: &[(&str, Reason)]| {
            let tables = expected.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
            let expected = Fingerprint { tables, ..Fingerprint::default() };
            let uncounted = uncounted.iter().map(|(name, reason)| ((*name).to_owned(), *reason)).collect();
            let mut verification = compare(&expected, &sample(), Depth::Rows);
            verification.not_compared = not_compared(&expected, &sample(), &uncounted);
            verification
        };
        let all = judge(&[("public.users", 562), ("public.orders", 5000)], &[]);
        assert!(all.passed() && all.gap_sentences().is_empty());
        let some = judge(&[("public.users", 562)], &[("public.orders", Reason::Inserts)]);
        assert!(some.passed());
        assert_eq!(
            some.gap_sentences(),
            [
                "1 table not compared (public.orders): the dump holds their rows as INSERT statements, which are not counted"
            ]
        );
        let none = judge(&[], &[("public.orders", Reason::Compression)]);
        assert!(!none.passed() && none.compared_nothing());
        assert_eq!(none.gap_sentences().len(), 2);
        let empty = compare(&Fingerprint::default(), &Fingerprint::default(), Depth::Rows);
        assert!(empty.passed(), "a database without tables");
    }
}
