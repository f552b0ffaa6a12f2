//! Objects of a schema against each other, one by one.
//!
//! PostgreSQL keeps expressions parsed and writes them anew. It may write what it has read from its own dump in other words: `CHECK (state
//! IN ('a', 'b'))` over a varchar column changes its casts and parentheses. So definitions that hold expressions are compared without
//! them. Another major version writes more in words of its own: there the objects must be there, and what is stable is compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::schema::Schema;
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
const STABLE: [&str; 6] =
    ["column ", "comment on ", "enum type ", "owner of ", "row security of ", "schema of extension "];
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
    if !expected.digests.is_empty() {
        return if depth == Depth::Full {
            (digests(expected, found), Vec::new(), expected.digests.len())
        } else {
            // A digest knows nothing of versions: what stands by itself has to be there.
            let mut differences = digests(expected, found);
            differences.retain(|difference| difference.found == NONE && Kind::of(&difference.what).lasting);
            (differences, Vec::new(), expected.digests.len())
        };
    }
    let (mut differences, mut notes) = (Vec::new(), Vec::new());
    let mut compared = 0;
    for (name, definition) in &expected.objects {
        let kind = Kind::of(name);
        if depth != Depth::Full && !kind.lasting {
            continue;
        }
        compared += 1;
        let difference = |found: &str| {
            let (expected, found) = excerpts(definition, found);
            Difference { what: name.clone(), expected, found }
        };
        match found.objects.get(name) {
            None => differences.push(Difference { found: NONE.to_owned(), ..difference("") }),
            Some(found) if found == definition || (depth != Depth::Full && !kind.stable) => {}
            Some(found) if kind.expression && plain(found) == plain(definition) => {}
            // The rows that were saved break it.
            Some(found) if name.starts_with("foreign key ") && found.strip_suffix(" NOT VALID") == Some(definition) => {
                notes.push(Difference {
                    what: name.clone(),
                    expected: "valid".to_owned(),
                    found: "NOT VALID (the saved rows break it)".to_owned(),
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
            let (found, _) = excerpts(definition, "");
            differences.push(Difference { what: name.clone(), expected: NONE.to_owned(), found });
        }
    }
    (without_parts(differences), notes, compared)
}

fn digests(expected: &Schema, found: &Schema) -> Vec<Difference> {
    let names: BTreeSet<&String> = expected.digests.keys().chain(found.digests.keys()).collect();
    let side = |schema: &Schema, name: &String| match schema.digests.get(name) {
        Some(digest) => format!("digest {digest:.8}"),
        None => NONE.to_owned(),
    };
    names
        .into_iter()
        .filter(|name| expected.digests.get(*name) != found.digests.get(*name))
        .map(|name| Difference { what: name.clone(), expected: side(expected, name), found: side(found, name) })
        .collect()
}

/// When a table is missing, its columns, grants and comments are too: the table alone is told.
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
    differences
        .into_iter()
        .filter(|difference| {
            let (all, relations) = if difference.found == NONE {
                (&gone, &gone_relations)
            } else if difference.expected == NONE {
                (&new, &new_relations)
            } else {
                return true;
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

/// The definitions around the first letter that differs, when they are long.
fn excerpts(expected: &str, found: &str) -> (String, String) {
    const SHOWN: usize = 160;
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

/// A definition without casts, parentheses and blanks; what stands in quotes stays as it is.
fn plain(definition: &str) -> String {
    let mut kept = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(letter) = rest.chars().next() {
        if let Some(cast) = rest.strip_prefix("::") {
            rest = behind_type(cast);
            continue;
        }
        if letter == '\'' || letter == '"' {
            // A doubled quote ends one text and begins the next at once.
            let end = rest.get(1..).and_then(|text| text.find(letter)).map_or(rest.len(), |at| at + 2);
            let (quoted, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            kept.push_str(quoted);
            rest = behind;
            continue;
        }
        if !letter.is_whitespace() && letter != '(' && letter != ')' {
            kept.push(letter);
        }
        rest = rest.get(letter.len_utf8()..).unwrap_or_default();
    }
    kept
}

/// What stands behind the name of a type.
fn behind_type(text: &str) -> &str {
    const MORE: [&str; 8] = [
        " varying",
        " precision",
        " without time zone",
        " with time zone",
        " year to month",
        " day to second",
        " hour to minute",
        " minute to second",
    ];
    let mut rest = text;
    // The parts of a name that has a schema.
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, behind)| behind);
        } else {
            rest = rest.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$');
        }
        match rest.chars().next() {
            Some('"') => {}
            Some('.') => rest = rest.strip_prefix('.').unwrap_or_default(),
            _ => break,
        }
    }
    loop {
        let before = rest.len();
        for more in MORE {
            rest = rest.strip_prefix(more).unwrap_or(rest);
        }
        if let Some((inside, behind)) = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'))
            && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        {
            rest = behind;
        }
        rest = rest.strip_prefix("[]").unwrap_or(rest);
        if rest.len() == before {
            return rest;
        }
    }
}

/// Objects as a map, for tests and callers that have some.
impl FromIterator<(String, String)> for Schema {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(objects: I) -> Self {
        Self { objects: objects.into_iter().collect(), digests: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn broken_foreign_keys_are_a_note() {
        let expected = schema(&[("foreign key public.a.b", "FOREIGN KEY (b) REFERENCES public.b(id)")]);
        let found = schema(&[("foreign key public.a.b", "FOREIGN KEY (b) REFERENCES public.b(id) NOT VALID")]);
        let (differences, notes, _) = compare(&expected, &found, Depth::Full);
        assert!(differences.is_empty());
        assert_eq!(notes.len(), 1);
        assert_eq!(told(&found, &expected, Depth::Full).len(), 1);
    }

    #[test]
    fn casts_and_parentheses_of_expressions_dont_count() {
        for (before, after) in [
            (
                "CHECK (((state)::text = ANY ((ARRAY['a'::character varying, 'b (::x)'::character varying])::text[])))",
                "CHECK (((state)::text = ANY (ARRAY[('a'::character varying)::text, ('b (::x)'::character varying)::text])))",
            ),
            ("('now'::timestamp(3) without time zone)", "'now'"),
            ("x::app.\"Odd type\"[] || 1", "(x || 1)"),
            ("n::numeric(10,2) > 1", "n > 1"),
        ] {
            assert_eq!(plain(before), plain(after));
        }
        assert_ne!(plain("CHECK (a > 1)"), plain("CHECK (a > 2)"));
        assert_ne!(plain("'a b'"), plain("'ab'"));
    }

    proptest! {
        #[test]
        fn whatever_is_written_can_be_made_plain(text in r#"[a-z'":()\[\], é.$]{0,40}"#) {
            let once = plain(&text);
            prop_assert!(once.len() <= text.len());
        }
    }
}
