//! Databases beside the live one: the staging database of a restore, the one that a restore replaced, the one of a drill.
//!
//! Each carries a comment that says what it is, whose, and until when, so that the server alone tells what is unfinished, even when
//! everything on the host's disk was lost.

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use postgres::Client;
use postgres::error::SqlState;
use serde::{Deserialize, Serialize};

use crate::database::description::PLACEHOLDER;
use crate::database::{literal, quote, session, words};
use crate::manifest::DatabaseDescription;
use crate::service::RunningService;
use crate::service::name::ServiceName;
use crate::step::step;
use crate::text::printable;

/// PostgreSQL cuts longer names off.
const LONGEST_NAME: usize = 63;
/// What the comment on such a database begins with.
const MARK: &str = "pgbackup ";

/// What a database beside the live one is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Being loaded, to take the live one's place.
    Staging,
    /// Replaced by a restore; kept for `rollback`.
    Previous,
    /// Loaded to be compared, then dropped.
    Drill,
}

/// The comment on a database beside the live one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What it is for.
    pub purpose: Purpose,
    /// The service it belongs to.
    pub service: ServiceName,
    /// The backup it was loaded from, or was replaced by.
    pub key: String,
    /// Since when it is what it is.
    pub since: Timestamp,
    /// Until when it is kept (previous ones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Kept on purpose, complete and verified, for `restore:commit`.
    #[serde(default)]
    pub kept: bool,
    /// The comment that the database itself has, or will have under the live name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A database beside the live one.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// What it is.
    pub marker: Marker,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Purpose {
    /// A name for a database of this purpose that belongs to `database`.
    pub fn name_for(self, database: &str, now: Timestamp) -> String {
        let what = match self {
            Self::Staging => "staging",
            Self::Previous => "previous",
            Self::Drill => "drill",
        };
        let full = format!("pgbackup_{what}_{}_{database}", now.strftime("%Y%m%d%H%M%S%3f"));
        let end = (0..=LONGEST_NAME.min(full.len())).rev().find(|at| full.is_char_boundary(*at)).unwrap_or_default();
        full.get(..end).unwrap_or_default().to_owned()
    }
}

/// The databases beside the live one that belong to a service, oldest first.
///
/// # Errors
/// When the server refuses.
pub fn list(client: &mut Client, service: &ServiceName) -> Result<Vec<Beside>> {
    let rows = client
        .query(
            "SELECT datname::pg_catalog.text, pg_catalog.shobj_description(oid, 'pg_database'), pg_catalog.pg_database_size(oid) \
             FROM pg_catalog.pg_database WHERE datname LIKE 'pgbackup\\_%' AND datconnlimit <> -2",
            &[],
        )
        .map_err(|error| anyhow!("{}", words(&error)))?;
    let mut beside = Vec::new();
    for row in rows {
        let comment: Option<String> = row.try_get(1)?;
        let marker = comment
            .as_deref()
            .and_then(|text| text.strip_prefix(MARK))
            .and_then(|text| serde_json::from_str::<Marker>(text).ok());
        if let Some(marker) = marker.filter(|marker| marker.service == *service) {
            let bytes: i64 = row.try_get(2)?;
            beside.push(Beside { name: row.try_get(0)?, marker, bytes: u64::try_from(bytes).unwrap_or_default() });
        }
    }
    beside.sort_by_key(|database| database.marker.since);
    Ok(beside)
}

/// The names of databases that were made to be loaded and bear no mark: a database can't be made and marked in one transaction.
///
/// # Errors
/// When the server refuses.
pub fn unmarked(client: &mut Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database \
             WHERE datname ~ '^pgbackup_(staging|drill)_[0-9]{17}_' AND pg_catalog.shobj_description(oid, 'pg_database') IS NULL",
            &[],
        )
        .map_err(|error| anyhow!("{}", words(&error)))?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The names of databases beside the live one whose dropping was broken off, by a server that was killed: nobody can connect to them, and their
/// marks, which are still there, are those of what they were.
///
/// # Errors
/// When the server refuses.
pub fn half_dropped(client: &mut Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database \
             WHERE datname ~ '^pgbackup_(staging|drill|previous)_[0-9]{17}_' AND datconnlimit = -2",
            &[],
        )
        .map_err(|error| anyhow!("{}", words(&error)))?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Makes an empty database like the described one, marked. On failure nothing is left.
///
/// # Errors
/// In PostgreSQL's words: a collation or encoding that this server doesn't have, a full disk.
pub fn create(
    client: &mut Client,
    name: &str,
    like: &DatabaseDescription,
    version_number: i32,
    marker: &Marker,
) -> Result<()> {
    client
        .batch_execute(&create_statement(name, like, version_number))
        .map_err(|error| anyhow!("{}", words(&error)))
        .with_context(|| format!("Can't create the database {name}"))?;
    step!("staging.made");
    if let Err(error) = mark(client, name, marker) {
        let _ = drop_database(client, name);
        return Err(error);
    }
    Ok(())
}

fn create_statement(name: &str, like: &DatabaseDescription, version_number: i32) -> String {
    let mut statement = format!(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quote(name),
        quote(&like.owner),
        literal(&like.encoding),
        literal(&like.collate),
        literal(&like.ctype)
    );
    let mut add = |option: &str, value: &str| {
        statement.push(' ');
        statement.push_str(option);
        statement.push(' ');
        statement.push_str(literal(value).trim_start());
    };
    match (like.locale_provider.as_str(), &like.locale) {
        ("i", Some(locale)) if version_number >= 150_000 => {
            add("LOCALE_PROVIDER", "icu");
            add("ICU_LOCALE", locale);
            if let Some(rules) = like.icu_rules.as_deref().filter(|_| version_number >= 160_000) {
                add("ICU_RULES", rules);
            }
        }
        ("b", Some(locale)) if version_number >= 170_000 => {
            add("LOCALE_PROVIDER", "builtin");
            add("BUILTIN_LOCALE", locale);
        }
        _ if version_number >= 150_000 => add("LOCALE_PROVIDER", "libc"),
        _ => {}
    }
    statement
}

/// Makes a role the owner of a database.
///
/// # Errors
/// When the server refuses.
pub fn give_to(client: &mut Client, name: &str, owner: &str) -> Result<()> {
    client
        .batch_execute(&format!("ALTER DATABASE {} OWNER TO {}", quote(name), quote(owner)))
        .map_err(|error| anyhow!("{}", words(&error)))
}

/// Sets the comment that says what a database is.
///
/// # Errors
/// When the server refuses.
pub fn mark(client: &mut Client, name: &str, marker: &Marker) -> Result<()> {
    client.batch_execute(&marker.statement(name)?).map_err(|error| anyhow!("{}", words(&error)))
}

/// The statement that sets a database's comment.
pub fn comment_statement(name: &str, comment: Option<&str>) -> String {
    format!("COMMENT ON DATABASE {} IS {}", quote(name), comment.map_or_else(|| "NULL".to_owned(), literal))
}

impl Marker {
    /// The statement that puts this mark on a database.
    ///
    /// # Errors
    /// Practically never: all of it is text.
    pub fn statement(&self, name: &str) -> Result<String> {
        Ok(comment_statement(name, Some(&format!("{MARK}{}", serde_json::to_string(self)?))))
    }
}

/// Brings back the database's grants, settings and connection limit, on a session beside it. Returns what was refused: a setting that
/// this server doesn't know any more must not keep the data away.
///
/// # Errors
/// When the manifest holds something else than such statements, or the session is gone.
pub fn apply(client: &mut Client, name: &str, description: &DatabaseDescription) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for statement in &description.statements {
        let Some((before, behind)) = around_name(statement) else {
            bail!("The manifest holds a statement that belongs in no manifest: {}", printable(statement));
        };
        let statement = format!("{before}{}{behind}", quote(name));
        // One statement and no more: the extended protocol takes no second one behind a semicolon.
        if let Err(error) = client.execute(&statement, &[]) {
            if client.is_closed() {
                bail!("{statement}: {}", words(&error));
            }
            refused.push(format!("{statement}: {}", words(&error)));
        }
    }
    client
        .batch_execute(&format!("ALTER DATABASE {} CONNECTION LIMIT {}", quote(name), description.connection_limit))
        .map_err(|error| anyhow!("{}", words(&error)))?;
    Ok(refused)
}

/// What stands before and behind the database's name in a statement of a manifest; `None` unless all of it, to its last character, is one of
/// the kinds that [`crate::database::description`] writes: a manifest may come from anywhere, and the live server runs this as super user.
fn around_name(statement: &str) -> Option<(&str, &str)> {
    let rest = if let Some(rest) = statement.strip_prefix("ALTER ROLE ") {
        behind_identifier(rest)?.strip_prefix(" IN DATABASE ")?
    } else if let Some(rest) = statement.strip_prefix("GRANT ") {
        let (privilege, rest) = rest.split_once(" ON DATABASE ")?;
        ["CONNECT", "CREATE", "TEMPORARY"].contains(&privilege).then_some(rest)?
    } else {
        statement.strip_prefix("ALTER DATABASE ").or_else(|| statement.strip_prefix("REVOKE ALL ON DATABASE "))?
    };
    let behind = rest.strip_prefix(PLACEHOLDER)?;
    let is_known = match statement.split_once(' ')?.0 {
        "REVOKE" => behind == " FROM PUBLIC",
        "GRANT" => behind.strip_prefix(" TO ").is_some_and(|to| {
            let to = to.strip_suffix(" WITH GRANT OPTION").unwrap_or(to);
            to == "PUBLIC" || behind_identifier(to) == Some("")
        }),
        _ => is_setting(behind),
    };
    let before = statement.get(..statement.len() - rest.len())?;
    is_known.then_some((before, behind))
}

/// Whether this is ` SET "name" TO 'value', …` and no more.
fn is_setting(text: &str) -> bool {
    let rest = || {
        let mut rest = behind_identifier(text.strip_prefix(" SET ")?)?;
        while let Some(part) = rest.strip_prefix('.') {
            rest = behind_identifier(part)?;
        }
        rest = behind_literal(rest.strip_prefix(" TO ")?)?;
        while let Some(more) = rest.strip_prefix(", ") {
            rest = behind_literal(more)?;
        }
        Some(rest)
    };
    rest() == Some("")
}

/// What stands behind an identifier as [`quote`] writes it.
fn behind_identifier(text: &str) -> Option<&str> {
    let mut text = text.strip_prefix('"')?;
    loop {
        let (_, behind) = text.split_once('"')?;
        match behind.strip_prefix('"') {
            Some(inside) => text = inside,
            None => return Some(behind),
        }
    }
}

/// What stands behind a text as [`literal`] writes it: backslashes only in its `E` form, and there in pairs.
fn behind_literal(text: &str) -> Option<&str> {
    let escaped = text.strip_prefix('E');
    let mut letters = escaped.unwrap_or(text).strip_prefix('\'')?.chars();
    loop {
        match letters.next()? {
            '\'' => match letters.as_str().strip_prefix('\'') {
                Some(inside) => letters = inside.chars(),
                None => return Some(letters.as_str()),
            },
            '\\' if escaped.is_none() || letters.next() != Some('\\') => return None,
            _ => {}
        }
    }
}

/// Drops a database and whoever is connected to it. One that doesn't exist counts as dropped.
///
/// # Errors
/// When the server refuses.
pub fn drop_database(client: &mut Client, name: &str) -> Result<()> {
    let force = if session::version_number(client)? >= 130_000 { " WITH (FORCE)" } else { "" };
    if force.is_empty() {
        client
            .execute(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1",
                &[&name],
            )
            .map_err(|error| anyhow!("{}", words(&error)))?;
    }
    match client.batch_execute(&format!("DROP DATABASE {}{force}", quote(name))) {
        Err(error) if error.code() != Some(&SqlState::UNDEFINED_DATABASE) => {
            Err(anyhow!("{}", words(&error))).with_context(|| format!("Can't drop the database {name}"))
        }
        _ => Ok(()),
    }
}

/// Roles that a restore had to make because the server doesn't have them. They can't log in and own nothing elsewhere; until
/// [`keep`](Self::keep) they are taken away again when this is dropped.
pub struct MissingRoles<'a> {
    service: &'a RunningService,
    made: Vec<String>,
}

impl<'a> MissingRoles<'a> {
    /// Makes those of `wanted` that don't exist.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn make(service: &'a RunningService, wanted: &[String]) -> Result<Self> {
        let mut missing = Self { service, made: Vec::new() };
        missing.add(wanted)?;
        step!("staging.roles");
        Ok(missing)
    }

    /// Makes more of them.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn add(&mut self, wanted: &[String]) -> Result<()> {
        let mut client = session::connect_beside(self.service)?;
        for role in wanted {
            let known = client
                .query_opt("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", &[role])
                .map_err(|error| anyhow!("{}", words(&error)))?;
            if known.is_none() {
                client
                    .batch_execute(&format!("CREATE ROLE {} NOLOGIN", quote(role)))
                    .map_err(|error| anyhow!("Can't create the role {role}: {}", words(&error)))?;
                self.made.push(role.clone());
                step!("staging.role");
            }
        }
        Ok(())
    }

    /// The restore went well: they stay. Returns their names.
    pub fn keep(mut self) -> Vec<String> {
        std::mem::take(&mut self.made)
    }
}

impl Drop for MissingRoles<'_> {
    fn drop(&mut self) {
        if self.made.is_empty() {
            return;
        }
        if let Some(mut client) = session::connect_to_clean_up(self.service) {
            for role in &self.made {
                let _ = client.batch_execute(&format!("DROP ROLE IF EXISTS {}", quote(role)));
            }
        }
    }
}

/// A database that is dropped when this is, unless it is [kept](Self::keep).
pub struct Temporary<'a> {
    service: &'a RunningService,
    name: Option<String>,
}

impl<'a> Temporary<'a> {
    /// Creates it, see [`create`].
    ///
    /// # Errors
    /// See [`create`].
    pub fn create(
        service: &'a RunningService,
        name: &str,
        like: &DatabaseDescription,
        version_number: i32,
        marker: &Marker,
    ) -> Result<Self> {
        create(&mut session::connect_beside(service)?, name, like, version_number, marker)?;
        step!("staging.created");
        Ok(Self { service, name: Some(name.to_owned()) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// It stays; its name.
    pub fn keep(mut self) -> String {
        self.name.take().unwrap_or_default()
    }

    /// Drops it now and says whether that went well.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn remove(mut self) -> Result<()> {
        match self.name.take() {
            Some(name) => drop_database(&mut session::connect_beside(self.service)?, &name),
            None => Ok(()),
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // Its mark tells the next run to drop it when this doesn't work out.
            if let Some(mut client) = session::connect_to_clean_up(self.service) {
                let _ = drop_database(&mut client, &name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        let now = Timestamp::from_second(1_680_519_604).unwrap();
        assert_eq!(Purpose::Previous.name_for("prod", now), "pgbackup_previous_20230403110004000_prod");
        let long = Purpose::Staging.name_for(&"é".repeat(40), now);
        assert!(long.len() <= 63 && long.starts_with("pgbackup_staging_20230403110004000_é"));
    }

    #[test]
    fn a_manifest_may_hold_grants_and_settings_only() {
        for known in [
            "REVOKE ALL ON DATABASE %DATABASE% FROM PUBLIC",
            "GRANT CONNECT ON DATABASE %DATABASE% TO \"app\"",
            "ALTER DATABASE %DATABASE% SET \"work_mem\" TO '8MB'",
            "ALTER ROLE \"app\" IN DATABASE %DATABASE% SET \"work_mem\" TO '8MB'",
            "GRANT TEMPORARY ON DATABASE %DATABASE% TO PUBLIC",
            r#"GRANT CREATE ON DATABASE %DATABASE% TO "a "" \ -- b;" WITH GRANT OPTION"#,
            r#"ALTER DATABASE %DATABASE% SET "search_path" TO 'app', '', 'it''s; -- '"#,
            r#"ALTER DATABASE %DATABASE% SET "my"."x" TO E'a\\b''\\'"#,
        ] {
            let (before, behind) = around_name(known).unwrap_or_else(|| panic!("{known}"));
            assert_eq!(format!("{before}{PLACEHOLDER}{behind}"), known);
        }
        let role = r#"ALTER ROLE "%DATABASE%" IN DATABASE %DATABASE% SET "a" TO '1'"#;
        assert_eq!(around_name(role).unwrap().0, r#"ALTER ROLE "%DATABASE%" IN DATABASE "#);
        for unknown in [
            "",
            "DROP TABLE users",
            "GRANT postgres TO app",
            "GRANT postgres TO app -- ON DATABASE %DATABASE% x",
            r#"GRANT postgres TO app -- ON DATABASE %DATABASE% TO "app""#,
            "GRANT CONNECT ON DATABASE %DATABASE% TO app",
            r#"GRANT CONNECT ON DATABASE %DATABASE% TO """"#,
            r#"GRANT CONNECT ON DATABASE %DATABASE% TO "a", "b""#,
            r#"GRANT CONNECT ON DATABASE %DATABASE% TO "a"; DROP TABLE users"#,
            "REVOKE ALL ON DATABASE %DATABASE% FROM PUBLIC; DROP TABLE users",
            "ALTER ROLE app SUPERUSER",
            "ALTER ROLE postgres PASSWORD 'a IN DATABASE %DATABASE% SET b'",
            r#"ALTER ROLE "postgres" PASSWORD 'a IN DATABASE %DATABASE% SET "b" TO ''c'''"#,
            r#"ALTER ROLE "app" SUPERUSER -- " IN DATABASE %DATABASE% SET "a" TO '1'"#,
            "ALTER DATABASE prod SET a TO 1",
            "ALTER DATABASE %DATABASE% SET a TO 1",
            r#"ALTER DATABASE %DATABASE% SET "a" TO '1' -- b"#,
            r#"ALTER DATABASE %DATABASE% SET "a" TO '1\', '; DROP TABLE users --'"#,
            r#"ALTER DATABASE %DATABASE% SET "a" TO E'1\''"#,
            r#"ALTER DATABASE %DATABASE% SET "a" TO '1"#,
            r#"ALTER DATABASE %DATABASE% SET "a" TO '1', "#,
        ] {
            assert_eq!(around_name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_database_is_made_like_the_other() {
        let mut like = DatabaseDescription {
            name: "prod".into(),
            owner: "postgres".into(),
            encoding: "UTF8".into(),
            locale_provider: "i".into(),
            collate: "en_US.utf8".into(),
            ctype: "en_US.utf8".into(),
            locale: Some("de-DE".into()),
            icu_rules: None,
            connection_limit: -1,
            comment: None,
            statements: vec![],
            roles: vec![],
            bytes: 0,
        };
        assert_eq!(
            create_statement("x", &like, 150_018),
            "CREATE DATABASE \"x\" TEMPLATE template0 OWNER \"postgres\" ENCODING 'UTF8' LC_COLLATE 'en_US.utf8' LC_CTYPE 'en_US.utf8' \
             LOCALE_PROVIDER 'icu' ICU_LOCALE 'de-DE'"
        );
        like.locale_provider = "c".into();
        assert!(create_statement("x", &like, 180_004).ends_with("LOCALE_PROVIDER 'libc'"));
        assert!(create_statement("x", &like, 140_000).ends_with("LC_CTYPE 'en_US.utf8'"));
    }
}
