use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn golden(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// What a text holds and what psql gets of it, read in pieces of this size.
fn read(text: &[u8], piece: usize) -> Result<(Contents, Vec<u8>), PlainError> {
    let mut filter = Filter::new();
    let mut passed = Vec::new();
    for piece in text.chunks(piece.max(1)) {
        filter.feed(piece, &mut passed)?;
    }
    Ok((filter.finish(&mut passed)?, passed))
}

fn refused(text: &str) -> PlainError {
    read(text.as_bytes(), 7).unwrap_err()
}

const TABLES: [(&str, Option<u64>); 8] = [
    ("\"Odd \"\"schema\"\".\".\"täble (x) FROM\ny\"", Some(2)),
    ("public.\"user\"", Some(3)),
    ("public.empty", Some(0)),
    ("public.moods", None), // through the root of its partitions
    ("public.no_columns", Some(7)),
    ("public.parts_a", Some(33)),
    ("public.parts_b", Some(67)),
    ("public.users", Some(562)),
];

#[test]
fn counts_the_rows_of_every_database() {
    for name in ["pg15-cluster.sql", "pg18-databases.sql"] {
        let text = golden(name);
        let (contents, passed) = read(&text, text.len()).unwrap();
        let named: Vec<&str> = contents.named().map(|(name, _)| name).collect();
        assert_eq!(named, ["Odd base' x", "golden"], "{name}");
        let golden = &contents.databases[&Some("golden".to_owned())];
        let tables: Vec<(&str, Option<u64>)> = golden.rows.iter().map(|(name, rows)| (name.as_str(), *rows)).collect();
        assert_eq!(tables, TABLES, "{name}");
        assert_eq!(golden.large_objects, 3);
        let other = &contents.databases[&Some("Odd base' x".to_owned())];
        assert_eq!(other.rows, [("public.other".to_owned(), Some(5))].into());
        assert!(contents.marked);
        let major_of = |version: &Option<String>| version.as_deref().and_then(major);
        assert_eq!(major_of(&contents.server_version), major_of(&contents.dump_version));
        assert!([Some(15), Some(18)].contains(&major_of(&contents.server_version)));
        for piece in [1, 2, 3, 5, 64, 1000, 4096] {
            assert_eq!(read(&text, piece).unwrap(), (contents.clone(), passed.clone()), "in pieces of {piece}");
        }
        let passed = String::from_utf8(passed).unwrap();
        assert!(!passed.contains("restrict"), "psql's own fence may be unknown to an older psql");
        assert!(!passed.contains("DROP ROLE") && !passed.contains("ALTER ROLE postgres WITH"), "{name}");
        assert!(passed.contains("BEGIN CREATE ROLE app; EXCEPTION"));
        assert!(passed.contains(r#"\connect -reuse-previous=on "dbname='Odd base\' x'""#));
    }
}

#[test]
fn a_dump_of_one_database_has_no_name() {
    let (contents, _) = read(&golden("pg15-plain.sql"), 100).unwrap();
    assert_eq!(contents.databases.keys().collect::<Vec<_>>(), [&None]);
    assert_eq!(contents.databases[&None].rows, [("public.empty".to_owned(), Some(0))].into());
}

#[test]
fn a_cut_anywhere_is_an_error() {
    for name in ["pg15-cluster.sql", "pg18-databases.sql", "pg15-plain.sql"] {
        let text = golden(name);
        let last = memchr::memmem::rfind(&text, b"dump complete").unwrap();
        for cut in (0..last).step_by(if last > 10_000 { 97 } else { 1 }) {
            // Between two dumps that are joined nothing is missing that the text itself could tell.
            let whole = text[..cut].trim_ascii_end();
            let between = memchr::memmem::rfind(whole, b"dump complete\n--").is_some_and(|at| {
                !whole[at + 16..]
                    .split(|b| *b == b'\n')
                    .any(|line| !line.is_empty() && !line.starts_with(b"--") && !line.starts_with(b"\\unres"))
            });
            if name == "pg18-databases.sql" && between {
                continue;
            }
            let error = read(&text[..cut], 4096).expect_err(&format!("{name} cut at {cut}"));
            assert!(matches!(error, PlainError::Truncated(_)) || cut > 0, "{error}");
        }
    }
    let cut = |text: &str| read(text.as_bytes(), 3).unwrap_err().to_string();
    assert!(cut("COPY public.a (b) FROM stdin;\n1\n2\n").ends_with("inside the rows of public.a"));
    assert!(cut("SELECT 'a").ends_with("inside a statement"));
    assert!(cut("").ends_with("before anything is in it"));
    let begun = "\\connect prod\n-- PostgreSQL database dump\nSELECT 1;\n";
    assert!(cut(begun).ends_with("inside the dump of the database prod"));
}

#[test]
fn names_without_end_are_refused() {
    let mut filter = Filter::new();
    let mut passed = Vec::new();
    let mut feed = |text: String| {
        passed.clear();
        filter.feed(text.as_bytes(), &mut passed)
    };
    let name = "x".repeat(900_000);
    for number in 0..60 {
        feed(format!("INSERT INTO a{number}{name} VALUES (1);\n")).unwrap();
        // One that is known takes nothing.
        feed(format!("INSERT INTO a{number}{name} VALUES (2);\n")).unwrap();
    }
    feed(format!("\\connect b{name}\n")).unwrap();
    let mut rest = (0..20).map(|number| feed(format!("COPY a{number}{name} (b) FROM stdin;\n1\n\\.\n")));
    assert_eq!(rest.find_map(Result::err), Some(PlainError::TooManyNames));
}

#[test]
fn commands_of_psql_are_refused_wherever_they_stand() {
    for text in [
        "\\! id\n",
        "  \\! id\n",
        "SELECT 1; \\! id\n",
        "SELECT 1 \\g |id\n",
        "\\copy a from program 'id'\n",
        "\\i /etc/passwd\n",
        "\\o |id\n",
        "\\set x `id`\n",
        "\\connect `id`\n",
        "\\connect \"a\" `id`\n",
        "\\connect a b c d\n",
        "\\encoding `id`\n",
        "\\restrict `id`\n",
        "SELECT '\\'; \\! id\n",
        "SELECT E'\\'' \\! id\n",
        "SELECT $a$ $$ $a$ \\! id\n",
        "/* /* */ */ \\! id\n",
        "-- '\n\\! id\n",
        "SELECT 'it''s' \\! id\n",
        "SET standard_conforming_strings = off;\nSELECT 'a\\'' \\! id\n",
        "COPY public.a (b) FROM stdin;\n\\\\.\n\\.\n\\! id\n",
        "\\!id",
    ] {
        let error = refused(text);
        assert!(matches!(error, PlainError::Refused { .. }), "{text:?}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
    let PlainError::Refused { line, command } = refused("SELECT 1;\n\\! rm -rf /\n") else { panic!() };
    assert_eq!((line, command.as_str()), (2, "\\\\! rm -rf /"));
}

#[test]
fn a_copy_of_anything_but_the_rows_that_follow_is_refused() {
    let long = format!("SELECT '{}'; COPY a FROM PROGRAM 'id';\n", "x".repeat(LONGEST + 9));
    let commented = format!("COPY /* {} */ a FROM PROGRAM 'id';\n", "x".repeat(LONGEST + 9));
    for text in [
        "COPY public.a FROM PROGRAM 'id';\n",
        "COPY public.a (b) FROM PROGRAM 'id';\n",
        "  copy public.a from program 'id';\n",
        "\u{feff}COPY a FROM PROGRAM 'id';\n",
        "COPY a FROM '/etc/passwd';\n",
        "COPY a TO PROGRAM 'sh';\n",
        "COPY a TO '/tmp/a';\n",
        "COPY a TO stdout;\n",
        "COPY (SELECT 1) TO PROGRAM 'sh';\n",
        "COPY(SELECT 1) TO PROGRAM 'sh';\n",
        "CoPy\n\"a\"\nFROM\nPROGRAM 'id';\n",
        "copy\"a\"FROM PROGRAM 'id';\n",
        "copy/**/a from program 'id';\n",
        "/* ; */ COPY a FROM PROGRAM 'id';\n",
        "SELECT 1; COPY a FROM PROGRAM 'id';\n",
        "COPY a (b) FROM PROGRAM 'id'; SELECT (1) FROM stdin;\n",
        "COPY a (b) FROM PROGRAM 'id'; COPY a (b) FROM stdin;\n",
        "COPY a (b) FROM stdin; COPY a (b) FROM PROGRAM 'id';\n",
        "COPY a FROM stdin WITH (FORMAT csv);\n",
        "COPY a FROM PROGRAM 'id';",
        &long,
        &commented,
    ] {
        let error = refused(text);
        let shown = &text[..text.len().min(60)];
        assert!(matches!(error, PlainError::RefusedCopy { .. }), "{shown:?}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
    let error = refused("SELECT 1;\nCOPY public.a FROM PROGRAM 'id';\n").to_string();
    assert!(error.contains("line 2 holds COPY public.a FROM PROGRAM \\'id\\';, a COPY"), "{error}");
}

#[test]
fn what_only_looks_like_a_copy_is_none() {
    for text in [
        "SELECT 'COPY a FROM PROGRAM';\n",
        "-- COPY a FROM PROGRAM 'id';\nSELECT 1;\n",
        "/* ; COPY a */ SELECT 1;\n",
        "CREATE TABLE copy (copy text);\n",
        "COMMENT ON TABLE a IS '; COPY a';\n",
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$\nSELECT 1;\nCOPY a FROM stdin;\n$$;\n",
        "copyright;\n",
        "copy_a;\n",
        "\"copy\";\n",
        "COPY public.a (b, \"c, d) \"\"FROM\", é) FROM stdin;\n1\t2\t3\nCOPY a FROM PROGRAM 'id';\n\\.\nSELECT 1;\n",
        "COPY public.no_columns  FROM stdin;\n\n\\.\n",
    ] {
        for piece in [1, 5, 1000] {
            read(text.as_bytes(), piece).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        }
    }
}

#[test]
fn rows_that_are_not_counted_say_why() {
    let text = "INSERT INTO public.a VALUES (1);\n-- load via partition root public.p\nCOPY public.p (i) FROM stdin;\n1\n\\.\n";
    let (contents, _) = read(text.as_bytes(), 9).unwrap();
    let held = &contents.databases[&None];
    assert_eq!(held.rows, [("public.a".to_owned(), None), ("public.p".to_owned(), None)].into());
    assert_eq!(held.through_root, ["public.p".to_owned()].into());
}

#[test]
fn a_backslash_that_psql_does_not_obey_is_none_of_its_commands() {
    for text in [
        "SELECT '\\! id';\n",
        "SELECT E'\\\\! \\' id';\n",
        "SELECT \"\\! id\";\n",
        "SELECT $$\n\\! id\n$$, $1, a$b$c;\n",
        "SELECT $x$ ' \\! $y$ $x$;\n",
        "-- \\! id\nSELECT 1;\n",
        "/* /* \\! */ \\! */ SELECT 1;\n",
        "COPY public.a (b) FROM stdin;\n\\! id\n\\\\.\n\\.x\n\\N\n\\.\n",
        "SELECT 'E''\\! id', e'it''s \\'';\n",
    ] {
        read(text.as_bytes(), 1).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    }
}

#[test]
fn roles_are_made_before_they_are_needed() {
    let text = "ALTER TABLE public.a OWNER TO app;\nALTER TABLE public.b OWNER TO app;\nGRANT SELECT ON TABLE public.a TO \"a b\" WITH GRANT OPTION;\n\
                GRANT ALL ON SCHEMA public TO PUBLIC;\nDROP DATABASE prod;\nSET default_tablespace = fast;\nCREATE TABLESPACE fast LOCATION '/x';\n";
    let (_, passed) = read(text.as_bytes(), 9).unwrap();
    let made = |role: &str| {
        format!("DO $pgbackup$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $pgbackup$;\n")
    };
    assert_eq!(
        String::from_utf8(passed).unwrap(),
        format!(
            "{}ALTER TABLE public.a OWNER TO app;\nALTER TABLE public.b OWNER TO app;\n{}GRANT SELECT ON TABLE public.a TO \"a b\" WITH GRANT OPTION;\n\
             GRANT ALL ON SCHEMA public TO PUBLIC;\nDROP DATABASE IF EXISTS prod;\nSET default_tablespace = '';\n",
            made("app"),
            made("\"a b\"")
        )
    );
}

#[test]
fn a_statement_of_any_length_takes_constant_memory() {
    let mut filter = Filter::new();
    let mut passed = Vec::new();
    filter.feed(b"SELECT '", &mut passed).unwrap();
    for _ in 0..3000 {
        filter.feed(&[b'x'; 1024], &mut passed).unwrap();
        passed.clear();
        assert!(filter.held.len() <= LONGEST + 1024);
    }
    filter.feed(b"';\nCOPY public.a (b) FROM stdin;\n1\n\\.\n", &mut passed).unwrap();
    assert_eq!(filter.finish(&mut passed).unwrap().databases[&None].rows, [("public.a".to_owned(), Some(1))].into());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..20) {
        let whole = read(&text, text.len().max(1));
        prop_assert_eq!(read(&text, piece), whole);
    }

    #[test]
    fn any_rows_are_counted(values in prop::collection::vec("[a-z\\\\.\u{e9} ]{0,6}", 0..30), piece in 1usize..9) {
        let mut text = "COPY public.a (b) FROM stdin;\n".to_owned();
        for value in &values {
            text += &value.replace('\\', "\\\\");
            text.push('\n');
        }
        text += "\\.\n";
        let (contents, passed) = read(text.as_bytes(), piece).unwrap();
        prop_assert_eq!(contents.databases[&None].rows["public.a"], Some(values.len() as u64));
        prop_assert_eq!(passed, text.into_bytes());
    }

    #[test]
    fn any_name_survives_its_connect(name in "[^\\p{Cc}]{1,20}") {
        let text = statement::connect(&name);
        let text = [&text[..], b"SELECT 1;\n"].concat();
        let (contents, passed) = read(&text, 5).unwrap();
        prop_assert_eq!(contents.databases.keys().flatten().collect::<Vec<_>>(), [&name]);
        prop_assert_eq!(passed, text);
    }
}
