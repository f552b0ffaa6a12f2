//! The few statements of a dump that mean something to us, told by how pg_dump and pg_dumpall write them.

/// One statement, comment or command of psql, with its line's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    /// `-- …`, without its dashes.
    Comment(&'a [u8]),
    /// `\restrict` and `\unrestrict`: fences of newer psqls, for which we stand in.
    Restrict,
    /// `\connect`.
    Connect(String),
    /// `\encoding`, which stands before a name that is not plain.
    Encoding,
    /// Any other command of psql.
    Command,
    /// Rows follow.
    Copy {
        /// The table's name, as it is written.
        table: String,
    },
    /// A row or several, in a form that is not counted.
    Insert {
        /// The table's name, as it is written.
        table: String,
    },
    /// A large object is made.
    LargeObject,
    /// Not wanted in a throw-away server.
    Needless,
    /// `CREATE ROLE`, of which there may be one already.
    CreateRole(Vec<u8>),
    /// This instead.
    Instead(Vec<u8>),
    /// Any other.
    Other {
        /// Roles that it wants to be there, as they are written.
        roles: Vec<Vec<u8>>,
    },
}

impl<'a> Statement<'a> {
    pub(super) fn parse(held: &'a [u8]) -> Self {
        let text = held.trim_ascii();
        if let Some(comment) = text.strip_prefix(b"--") {
            return Self::Comment(comment.trim_ascii());
        }
        if text.first() == Some(&b'\\') {
            return command(text);
        }
        if let Some(rest) = text.strip_prefix(b"COPY ")
            && let Some((table, rest)) = qualified(rest)
            && behind_columns(rest).trim_ascii_start() == b"FROM stdin;"
        {
            return Self::Copy { table };
        }
        if let Some(rest) = text.strip_prefix(b"INSERT INTO ")
            && let Some((table, _)) = qualified(rest)
        {
            return Self::Insert { table };
        }
        if text.starts_with(b"SELECT pg_catalog.lo_create(") {
            return Self::LargeObject;
        }
        if let Some(role) = text.strip_prefix(b"CREATE ROLE ").and_then(|rest| rest.strip_suffix(b";")) {
            return Self::CreateRole(role.to_owned());
        }
        let superuser =
            text.starts_with(b"ALTER ROLE postgres ") && !text.starts_with(b"ALTER ROLE postgres IN DATABASE ");
        let needless: [&[u8]; 5] = [
            b"DROP ROLE ",
            b"CREATE TABLESPACE ",
            b"DROP TABLESPACE ",
            b"ALTER TABLESPACE ",
            b"COMMENT ON TABLESPACE ",
        ];
        if superuser || needless.iter().any(|start| text.starts_with(start)) {
            return Self::Needless;
        }
        if text.starts_with(b"SET default_tablespace = ") {
            return Self::Instead(b"SET default_tablespace = '';\n".to_vec());
        }
        if let Some(rest) = text.strip_prefix(b"DROP DATABASE ")
            && !rest.starts_with(b"IF EXISTS ")
        {
            return Self::Instead([b"DROP DATABASE IF EXISTS ", rest, b"\n"].concat());
        }
        Self::Other { roles: roles(text) }
    }
}

/// Roles that a statement names as owner or grantee.
fn roles(text: &[u8]) -> Vec<Vec<u8>> {
    let Some(text) = text.strip_suffix(b";") else { return Vec::new() };
    let behind = |word: &[u8]| {
        let at = memchr::memmem::rfind(text, word)?;
        let rest = text.get(at + word.len()..)?;
        let rest = rest.strip_suffix(b" WITH GRANT OPTION").unwrap_or(rest);
        (name(rest).is_some_and(|(_, rest)| rest.is_empty()) && rest != b"PUBLIC").then(|| rest.to_owned())
    };
    let mut roles = Vec::new();
    if text.starts_with(b"ALTER ") {
        roles.extend(behind(b" OWNER TO "));
    }
    if text.starts_with(b"GRANT ") || text.starts_with(b"ALTER DEFAULT PRIVILEGES ") {
        roles.extend(behind(b" TO "));
    }
    if text.starts_with(b"REVOKE ") || text.starts_with(b"ALTER DEFAULT PRIVILEGES ") {
        roles.extend(behind(b" FROM "));
    }
    if let Some((role, _)) = text.strip_prefix(b"ALTER DEFAULT PRIVILEGES FOR ROLE ").and_then(name) {
        roles.push(role.to_owned());
    }
    if text.starts_with(b"CREATE SCHEMA ") {
        roles.extend(behind(b" AUTHORIZATION "));
    }
    roles
}

/// Makes a role unless there is one. `role` is a name as it is written.
pub(super) fn create_role(role: &[u8]) -> Vec<u8> {
    let start = b"DO $pgbackup$ BEGIN CREATE ROLE ".as_slice();
    [start, role, b"; EXCEPTION WHEN duplicate_object THEN NULL; END $pgbackup$;\n"].concat()
}

/// A `\connect` that any name survives.
pub(super) fn connect(name: &str) -> Vec<u8> {
    // A value within a connection string within psql's double quotes.
    let value = name.replace('\\', "\\\\").replace('\'', "\\'");
    let value = value.replace('"', "\"\"");
    format!("\\connect -reuse-previous=on \"dbname='{value}'\"\n").into_bytes()
}

/// What `SET standard_conforming_strings` is set to, if this is it.
pub(super) fn standard_conforming_strings(held: &[u8]) -> Option<bool> {
    let value = held.trim_ascii().strip_prefix(b"SET standard_conforming_strings = ")?;
    Some(value != b"off;")
}

fn command(text: &[u8]) -> Statement<'_> {
    let word = |name: &[u8]| text.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(b" "));
    if word(b"\\restrict")
        .or_else(|| word(b"\\unrestrict"))
        .is_some_and(|rest| rest.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' '))
    {
        return Statement::Restrict;
    }
    match word(b"\\connect").and_then(|rest| connected(rest.trim_ascii())) {
        Some(name) => Statement::Connect(name),
        None if word(b"\\encoding").is_some_and(is_word) => Statement::Encoding,
        None => Statement::Command,
    }
}

fn is_word(argument: &[u8]) -> bool {
    argument.trim_ascii().iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The database of a `\connect`, in the two forms that pg_dump writes.
fn connected(argument: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(argument).ok()?;
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if plain(text) {
        return Some(text.to_owned());
    }
    let value = match text.strip_prefix("-reuse-previous=on ") {
        Some(rest) => {
            let rest = rest.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\"");
            let value = rest.strip_prefix("dbname=")?.to_owned();
            match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
                Some(quoted) => unescaped(quoted)?,
                None => value,
            }
        }
        None => text.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\""),
    };
    (!value.is_empty() && !value.chars().any(char::is_control)).then_some(value)
}

/// A value of a connection string, without its escapes.
fn unescaped(quoted: &str) -> Option<String> {
    let mut value = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?),
            '\'' => return None,
            letter => value.push(letter),
        }
    }
    Some(value)
}

/// What stands behind a list of columns; all of it where there is no such list.
fn behind_columns(text: &[u8]) -> &[u8] {
    let list = || {
        let mut rest = text.strip_prefix(b" (")?;
        loop {
            rest = name(rest)?.1;
            match rest.strip_prefix(b", ") {
                Some(next) => rest = next,
                None => return rest.strip_prefix(b")"),
            }
        }
    };
    list().unwrap_or(text)
}

/// A name in up to two parts, as it is written, and what stands behind it.
fn qualified(text: &[u8]) -> Option<(String, &[u8])> {
    let (_, mut rest) = name(text)?;
    if let Some(second) = rest.strip_prefix(b".") {
        rest = name(second)?.1;
    }
    let written = text.get(..text.len() - rest.len())?;
    Some((String::from_utf8_lossy(written).into_owned(), rest))
}

/// One name, quoted or not, and what stands behind it.
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = if text.first() == Some(&b'"') {
        let mut at = 1;
        loop {
            at += memchr::memchr(b'"', text.get(at..)?)? + 1;
            if text.get(at) != Some(&b'"') {
                break at;
            }
            at += 1;
        }
    } else {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'$' || *byte >= 0x80;
        text.iter().position(|byte| !plain(byte)).unwrap_or(text.len())
    };
    let (name, rest) = text.split_at_checked(end)?;
    (!name.is_empty()).then_some((name, rest))
}
