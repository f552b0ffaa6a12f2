//! Objects of a schema against each other, one by one.
//!
//! PostgreSQL keeps expressions parsed and writes them anew. It may write what it has read from its own dump in other words: `CHECK (state
//! IN ('a', 'b'))` over a varchar column changes its casts and parentheses. So definitions that hold expressions are compared by what these
//! [mean](expression). Another major version writes more in words of its own: there the objects must be there, and what is stable is compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::schema::{READING, Schema};
use crate::verification::expression::normal;
use crate::verification::{Depth, Difference, NONE};

/// What of an object can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Its definition is written by PostgreSQL from what it has parsed.
    expression: bool,
    /// Its definition is the same in every major version.
    stable: bool,
    /// It has to be there in another major version.
    lasting: bool,
}

/// Kinds whose definitions are expressions.
const EXPRESSIONS: [&str; 16] = [
    "arguments of function ",
    "body of function ",
    "check constraint ",
    "default of column ",
    "domain ",
    "exclusion constraint ",
    "index ",
    "materialized view ",
    "partitioned table ",
    "policy ",
    "rule ",
    "statistics ",
    "table ",
    "trigger ",
    "view ",
    "foreign key ",
];
/// Kinds whose definitions don't depend on the version.
const STABLE: [&str; 9] = [
    "column ",
    "comment on ",
    "enum type ",
    "order of columns of ",
    "owner of ",
    "row security of ",
    "schema of extension ",
    "security label",
    "user mapping of ",
];
/// What a newer major version may give or write otherwise by itself.
const PASSING: [&str; 3] = ["revoke ", "default privileges ", "body of function "];

impl Kind {
    fn of(name: &str) -> Self {
        let one_of = |kinds: &[&str]| kinds.iter().any(|kind| name.starts_with(kind));
        Self { expression: one_of(&EXPRESSIONS), stable: one_of(&STABLE), lasting: !one_of(&PASSING) }
    }
}

/// Compares; returns the differences, the notes and how much was compared.
pub fn compare(expected: &Schema, found: &Schema, depth: Depth) -> (Vec<Difference>, Vec<Difference>, usize) {
    // Another version of ours may write what is the same in other words.
    let same_words = expected.reading == found.reading;
    let depth = if same_words { depth } else { Depth::AcrossMajors };
    if !expected.digests.is_empty() {
        let (left_out, mut differences): (Vec<_>, Vec<_>) = digests(expected, found).into_iter().partition(is_left_out);
        if depth != Depth::Full {
            // A digest knows nothing of versions: what stands by itself has to be there.
            differences.retain(|difference| difference.found == NONE && Kind::of(&difference.what).lasting);
        }
        return (differences, left_out.into_iter().map(as_note).collect(), expected.digests.len());
    }
    let (mut differences, mut notes) = (Vec::new(), Vec::new());
    let mut compared = 0;
    if !same_words {
        notes.push(Difference {
            what: "objects of the schema".to_owned(),
            expected: "written by another version of pgbackup".to_owned(),
            found: "compared by name".to_owned(),
        });
    }
    for (name, definition) in &expected.objects {
        let kind = Kind::of(name);
        if depth != Depth::Full && !kind.lasting {
            continue;
        }
        compared += 1;
        let difference = |found: &str| {
            let (expected, found) = excerpts(name, definition, found);
            Difference { what: name.clone(), expected, found }
        };
        match found.objects.get(name) {
            None => {
                let missing = Difference { found: NONE.to_owned(), ..difference("") };
                if is_left_out(&missing) { notes.push(as_note(missing)) } else { differences.push(missing) }
            }
            Some(found) if found == definition => {}
            Some(_) if depth != Depth::Full && !(kind.stable && same_words) => {}
            Some(found) if kind.expression && normal(found) == normal(definition) => {}
            // The rows that were saved break it.
            Some(found) if name.starts_with("foreign key ") && found.strip_suffix(" NOT VALID") == Some(definition) => {
                notes.push(Difference {
                    what: name.clone(),
                    expected: "valid".to_owned(),
                    found: "NOT VALID".to_owned(),
                });
            }
            Some(found) => differences.push(difference(found)),
        }
    }
    // A schema public that was dropped before the backup is there again in every new database.
    let public = expected.objects.contains_key("owner of schema public");
    if depth == Depth::Full {
        let more = found.objects.iter().filter(|(name, _)| !expected.objects.contains_key(*name));
        for (name, definition) in more.filter(|(name, _)| public || !name.contains(" schema public")) {
            compared += 1;
            let (found, _) = excerpts(name, definition, "");
            differences.push(Difference { what: name.clone(), expected: NONE.to_owned(), found });
        }
    }
    (without_parts(differences), notes, compared)
}

/// What a restore leaves out on purpose: a copy must not compete with the original for its slot.
fn is_left_out(difference: &Difference) -> bool {
    difference.what.starts_with("subscription ") && difference.found == NONE
}

fn as_note(left_out: Difference) -> Difference {
    Difference { found: "not restored".to_owned(), ..left_out }
}

fn digests(expected: &Schema, found: &Schema) -> Vec<Difference> {
    let names: BTreeSet<&String> = expected.digests.keys().chain(found.digests.keys()).collect();
    let side = |schema: &Schema, name: &String| match schema.digests.get(name) {
        // With a server go the mappings of users, of whose secrets nothing is told.
        Some(_) if name.starts_with("server ") => "a digest that is not shown".to_owned(),
        Some(digest) => format!("digest {digest:.8}"),
        None => NONE.to_owned(),
    };
    names
        .into_iter()
        .filter(|name| expected.digests.get(*name) != found.digests.get(*name))
        .map(|name| Difference { what: name.clone(), expected: side(expected, name), found: side(found, name) })
        .collect()
}

/// When a table is missing, its columns, grants and comments are too: the table alone is told. When a column is, so is the order of columns.
fn without_parts(differences: Vec<Difference>) -> Vec<Difference> {
    let names = |of_side: fn(&Difference) -> &String| -> BTreeSet<String> {
        differences
            .iter()
            .filter(|difference| of_side(difference) == NONE)
            .map(|difference| difference.what.clone())
            .collect()
    };
    let (gone, new) = (names(|difference| &difference.found), names(|difference| &difference.expected));
    let relations = |names: &BTreeSet<String>| -> BTreeSet<String> {
        const RELATIONS: [&str; 6] =
            ["table ", "partitioned table ", "view ", "materialized view ", "foreign table ", "composite type "];
        let relation = |name: &String| RELATIONS.iter().find_map(|kind| name.strip_prefix(kind)).map(str::to_owned);
        names.iter().filter_map(relation).collect()
    };
    let (gone_relations, new_relations) = (relations(&gone), relations(&new));
    let columns: Vec<&str> = gone.iter().chain(&new).filter_map(|name| name.strip_prefix("column ")).collect();
    let other_columns = |relation: &str| {
        let is_of = |column: &&str| column.strip_prefix(relation).is_some_and(|rest| rest.starts_with('.'));
        columns.iter().any(is_of)
    };
    differences
        .into_iter()
        .filter(|difference| {
            let (all, relations) = if difference.found == NONE {
                (&gone, &gone_relations)
            } else if difference.expected == NONE {
                (&new, &new_relations)
            } else {
                let ordered = difference.what.strip_prefix("order of columns of ");
                return ordered.is_none_or(|of| {
                    !of.match_indices(' ').any(|(at, _)| other_columns(of.get(at + 1..).unwrap_or_default()))
                });
            };
            !is_part(&difference.what, all, relations)
        })
        .collect()
}

/// Whether a name is one of a part: `column public.users.mail` of the relation `public.users`, `owner of index public.i` of `index public.i`.
fn is_part(name: &str, all: &BTreeSet<String>, relations: &BTreeSet<String>) -> bool {
    let starts = name.match_indices(' ').map(|(at, _)| at + 1);
    starts.into_iter().any(|start| {
        let rest = name.get(start..).unwrap_or_default();
        if all.contains(rest) {
            return true;
        }
        rest.char_indices().filter(|(_, letter)| matches!(letter, '.' | ' ')).any(|(end, letter)| {
            let whole = rest.get(..end).unwrap_or_default();
            // Only parts of a relation are named behind a dot; what stands behind a blank is a grant's "to" or the like.
            (letter == '.' && relations.contains(whole)) || (letter == ' ' && all.contains(whole))
        })
    })
}

/// The definitions around the first letter that differs, when they are long. Of the options of a user's mapping the names alone are shown.
fn excerpts(name: &str, expected: &str, found: &str) -> (String, String) {
    const SHOWN: usize = 160;
    if name.starts_with("user mapping of ") {
        let names = |text: &str| text.split_once(" values ").map_or("no options", |(names, _)| names).to_owned();
        let (expected, found) = (names(expected), names(found));
        return if expected == found { (expected, "other values".to_owned()) } else { (expected, found) };
    }
    let same = expected.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    let excerpt = |text: &str| {
        if text.is_empty() {
            return "there".to_owned();
        }
        if text.chars().count() <= SHOWN {
            return one_line(text);
        }
        let skipped = same.saturating_sub(SHOWN / 4);
        let shown: String = text.chars().skip(skipped).take(SHOWN).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let behind = if text.chars().count() > skipped + SHOWN { "…" } else { "" };
        one_line(&format!("{before}{shown}{behind}"))
    };
    (excerpt(expected), excerpt(found))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Objects as a map, for tests and callers that have some.
impl FromIterator<(String, String)> for Schema {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(objects: I) -> Self {
        Self { reading: READING, objects: objects.into_iter().collect(), digests: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(objects: &[(&str, &str)]) -> Schema {
        objects.iter().map(|(name, definition)| ((*name).to_owned(), (*definition).to_owned())).collect()
    }

    fn sample() -> Schema {
        schema(&[
            ("table public.users", ""),
            ("column public.users.mail", "text NOT NULL"),
            ("owner of table public.users", "postgres"),
            ("grant SELECT on table public.users to report", ""),
            ("index public.users_mail", "CREATE INDEX users_mail ON public.users USING btree (mail)"),
            ("owner of schema public", "pg_database_owner"),
        ])
    }

    fn told(expected: &Schema, found: &Schema, depth: Depth) -> Vec<String> {
        compare(expected, found, depth).0.iter().map(Difference::sentence).collect()
    }

    #[test]
    fn a_difference_has_a_name() {
        let mut found = sample();
        found.objects.remove("index public.users_mail");
        found.objects.remove("grant SELECT on table public.users to report");
        found.objects.insert("column public.users.mail".to_owned(), "character varying(20) NOT NULL".to_owned());
        found.objects.insert("trigger public.users.evil".to_owned(), "CREATE TRIGGER".to_owned());
        assert_eq!(
            told(&sample(), &found, Depth::Full),
            [
                "column public.users.mail: text NOT NULL expected, character varying(20) NOT NULL found",
                "grant SELECT on table public.users to report is missing",
                "index public.users_mail is missing",
                "trigger public.users.evil is there, but not in the backup",
            ]
        );
        assert!(told(&sample(), &sample(), Depth::Full).is_empty());
    }

    #[test]
    fn of_a_missing_table_the_table_alone_is_told() {
        let found = schema(&[
            ("owner of schema public", "pg_database_owner"),
            ("index public.users_mail", "CREATE INDEX users_mail ON public.users USING btree (mail)"),
        ]);
        assert_eq!(told(&sample(), &found, Depth::Full), ["table public.users is missing"]);
        assert_eq!(told(&found, &sample(), Depth::Full), ["table public.users is there, but not in the backup"]);
    }

    #[test]
    fn across_majors_only_what_is_stable_counts() {
        let mut found = sample();
        found.objects.insert("index public.users_mail".to_owned(), "CREATE INDEX in other words".to_owned());
        found.objects.insert("revoke MAINTAIN on table public.users from postgres".to_owned(), String::new());
        assert!(told(&sample(), &found, Depth::AcrossMajors).is_empty());
        found.objects.remove("index public.users_mail");
        found.objects.insert("column public.users.mail".to_owned(), "citext".to_owned());
        assert_eq!(told(&sample(), &found, Depth::AcrossMajors).len(), 2);
    }

    #[test]
    fn a_schema_public_that_was_dropped_may_come_back() {
        let expected = schema(&[("schema app", "")]);
        let found = schema(&[
            ("schema app", ""),
            ("owner of schema public", "pg_database_owner"),
            ("grant USAGE on schema public to PUBLIC", ""),
            ("comment on schema public", "standard public schema"),
        ]);
        assert!(told(&expected, &found, Depth::Full).is_empty());
    }

    #[test]
    fn what_another_version_of_ours_has_read_is_compared_by_name() {
        let mut old = sample();
        old.reading = 1;
        let mut found = sample();
        found.objects.insert("order of columns of table public.users".to_owned(), "mail".to_owned());
        found.objects.insert("column public.users.mail".to_owned(), "text, NOT NULL".to_owned());
        assert!(told(&old, &found, Depth::Full).is_empty());
        assert_eq!(compare(&old, &found, Depth::Full).1.len(), 1, "a note says so");
        found.objects.remove("column public.users.mail");
        assert_eq!(told(&old, &found, Depth::Full), ["column public.users.mail is missing"]);
        let digests = |reading, digest: &str| Schema {
            reading,
            digests: BTreeMap::from([("table public.users".to_owned(), digest.to_owned())]),
            ..Schema::default()
        };
        assert!(told(&digests(1, "00"), &digests(READING, "01"), Depth::Full).is_empty());
        assert_eq!(told(&digests(READING, "00"), &digests(READING, "01"), Depth::Full).len(), 1);
        let read: Schema = serde_json::from_str("{}").unwrap();
        assert_eq!(read.reading, 1);
    }

    #[test]
    fn the_order_of_columns_is_told_where_all_are_there() {
        let ordered = |columns: &[&str]| -> Schema {
            let parts = columns.iter().map(|column| (format!("column public.t.{column}"), "text".to_owned()));
            let order = ("order of columns of table public.t".to_owned(), columns.join(", "));
            parts.chain([order, ("table public.t".to_owned(), String::new())]).collect()
        };
        assert_eq!(
            told(&ordered(&["a", "b"]), &ordered(&["b", "a"]), Depth::AcrossMajors),
            ["order of columns of table public.t: a, b expected, b, a found"]
        );
        assert_eq!(told(&ordered(&["a", "b"]), &ordered(&["b"]), Depth::Full), ["column public.t.a is missing"]);
    }

    #[test]
    fn secrets_of_user_mappings_are_compared_and_not_told() {
        let name = "user mapping of app on server s";
        let mapping = |definition: &str| schema(&[(name, definition)]);
        let before = mapping("with password, user values 0123456789abcdef");
        let said = |found: &Schema| told(&before, found, Depth::AcrossMajors);
        assert_eq!(
            said(&mapping("with password, user values 123456789abcdef0")),
            [format!("{name}: with password, user expected, other values found")]
        );
        assert_eq!(
            said(&mapping("with user values 123456789abcdef0")),
            [format!("{name}: with password, user expected, with user found")]
        );
        assert_eq!(said(&mapping("")), [format!("{name}: with password, user expected, no options found")]);
        assert_eq!(said(&schema(&[])), [format!("{name} is missing")]);
        let (differences, ..) = compare(&schema(&[]), &before, Depth::Full);
        assert!(!format!("{differences:?}").contains("0123"), "{differences:?}");
    }

    #[test]
    fn subscriptions_that_a_restore_leaves_out_are_a_note() {
        let with = schema(&[("subscription s", "to p")]);
        let (differences, notes, _) = compare(&with, &schema(&[]), Depth::Full);
        assert!(differences.is_empty());
        assert_eq!(notes[0].sentence(), "subscription s: to p expected, not restored found");
        assert_eq!(told(&schema(&[]), &with, Depth::Full), ["subscription s is there, but not in the backup"]);
    }

    #[test]
    fn broken_foreign_keys_are_a_note() {
        let expected = schema(&[("foreign key public.a.b", "FOREIGN KEY (b) REFERENCES public.b(id)")]);
        let found = schema(&[("foreign key public.a.b", "FOREIGN KEY (b) REFERENCES public.b(id) NOT VALID")]);
        let (differences, notes, _) = compare(&expected, &found, Depth::Full);
        assert!(differences.is_empty());
        assert_eq!(notes.len(), 1);
        assert_eq!(told(&found, &expected, Depth::Full).len(), 1);
    }
}
