//! What `CREATE DATABASE` and the statements behind it need: pg_restore brings back what is *in* a database, not the database's own
//! encoding, collation, owner, grants, settings and comment. Read in the dump's snapshot, kept in the manifest.

use anyhow::{Result, anyhow};
use postgres::{Client, Row};

use crate::database::{literal, quote, words};
use crate::manifest::DatabaseDescription;

/// Stands for the database's quoted name in [`DatabaseDescription::statements`].
pub const PLACEHOLDER: &str = "%DATABASE%";

/// Describes the database that the session is connected to.
///
/// # Errors
/// When the server refuses.
pub fn describe(client: &mut Client, version_number: i32) -> Result<DatabaseDescription> {
    read(client, version_number).map_err(|error| anyhow!("{}", words(&error)))
}

fn read(client: &mut Client, version_number: i32) -> Result<DatabaseDescription, postgres::Error> {
    // The locale columns were renamed and added over time; absent ones are NULL here.
    let (provider, locale, rules) = match version_number {
        170_000.. => ("d.datlocprovider::pg_catalog.text", "d.datlocale", "d.daticurules"),
        160_000.. => ("d.datlocprovider::pg_catalog.text", "d.daticulocale", "d.daticurules"),
        150_000.. => ("d.datlocprovider::pg_catalog.text", "d.daticulocale", "NULL::pg_catalog.text"),
        _ => ("'c'::pg_catalog.text", "NULL::pg_catalog.text", "NULL::pg_catalog.text"),
    };
    let row = client.query_one(
        &format!(
            "SELECT d.datname::pg_catalog.text, pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text, \
             pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text, {provider}, \
             d.datcollate::pg_catalog.text, d.datctype::pg_catalog.text, {locale}, {rules}, d.datconnlimit, \
             pg_catalog.shobj_description(d.oid, 'pg_database'), pg_catalog.pg_database_size(d.oid) \
             FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"
        ),
        &[],
    )?;
    let bytes: i64 = row.try_get(10)?;
    Ok(DatabaseDescription {
        name: row.try_get(0)?,
        owner: row.try_get(1)?,
        encoding: row.try_get(2)?,
        locale_provider: row.try_get(3)?,
        collate: row.try_get(4)?,
        ctype: row.try_get(5)?,
        locale: row.try_get(6)?,
        icu_rules: row.try_get(7)?,
        connection_limit: row.try_get(8)?,
        comment: row.try_get(9)?,
        bytes: u64::try_from(bytes).unwrap_or_default(),
        statements: statements(client)?,
        roles: roles(client)?,
    })
}

/// Grants and settings of the database, as statements.
fn statements(client: &mut Client) -> Result<Vec<String>, postgres::Error> {
    let mut statements = Vec::new();
    let grants = client.query(
        "SELECT CASE WHEN g.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(g.grantee)::pg_catalog.text END, \
         g.privilege_type, g.is_grantable \
         FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) g \
         WHERE d.datname = pg_catalog.current_database() ORDER BY 1 NULLS FIRST, 2",
        &[],
    )?;
    let default_grants: bool = client
        .query_one(
            "SELECT datacl IS NULL FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
            &[],
        )?
        .try_get(0)?;
    if !default_grants {
        statements.push(format!("REVOKE ALL ON DATABASE {PLACEHOLDER} FROM PUBLIC"));
        for grant in &grants {
            statements.push(grant_statement(grant)?);
        }
    }
    let settings = client.query(
        "SELECT CASE WHEN s.setrole = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(s.setrole)::pg_catalog.text END, \
         c.setting FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, \
         pg_catalog.unnest(s.setconfig) WITH ORDINALITY c (setting, at) \
         WHERE d.datname = pg_catalog.current_database() ORDER BY 1 NULLS FIRST, c.at",
        &[],
    )?;
    for setting in &settings {
        let role: Option<String> = setting.try_get(0)?;
        let text: String = setting.try_get(1)?;
        statements.extend(setting_statement(role.as_deref(), &text));
    }
    Ok(statements)
}

fn grant_statement(row: &Row) -> Result<String, postgres::Error> {
    let grantee: Option<String> = row.try_get(0)?;
    let privilege: String = row.try_get(1)?;
    let grantable: bool = row.try_get(2)?;
    let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), |role| quote(&role));
    let option = if grantable { " WITH GRANT OPTION" } else { "" };
    Ok(format!("GRANT {privilege} ON DATABASE {PLACEHOLDER} TO {grantee}{option}"))
}

/// Settings whose value is a list of names keep their own quoting; as one literal they would become a single name
/// (pg_dump's `variable_is_guc_list_quote` names the same ones).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

fn setting_statement(role: Option<&str>, text: &str) -> Option<String> {
    let (name, value) = text.split_once('=')?;
    let value = if LISTS.contains(&name.to_lowercase().as_str()) {
        list(value)
    } else {
        literal(value).trim_start().to_owned()
    };
    // A setting of an extension has a dot in its name: each part is a name of its own.
    let name = name.split('.').map(quote).collect::<Vec<_>>().join(".");
    Some(match role {
        None => format!("ALTER DATABASE {PLACEHOLDER} SET {name} TO {value}"),
        Some(role) => format!("ALTER ROLE {} IN DATABASE {PLACEHOLDER} SET {name} TO {value}", quote(role)),
    })
}

/// A list of names as stored (`app, "Odd, one", ""`) as a list of literals, as pg_dump writes it: an empty name has no other form.
fn list(value: &str) -> String {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            ' ' if !quoted => {}
            letter => name.push(letter),
        }
    }
    names.push(name);
    names.iter().map(|name| literal(name).trim_start().to_owned()).collect::<Vec<_>>().join(", ")
}

/// Roles that own something in the database, are granted something, or are named by its settings: all that pg_restore
/// and the statements above will name. System roles are everywhere.
fn roles(client: &mut Client) -> Result<Vec<String>, postgres::Error> {
    let rows = client.query(
        "SELECT DISTINCT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r \
         JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database() \
         WHERE r.rolname !~ '^pg_' AND r.oid <> 10 AND (r.oid = d.datdba \
           OR EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
                      AND s.refobjid = r.oid AND (s.dbid = d.oid OR (s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid))) \
           OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting c WHERE c.setdatabase = d.oid AND c.setrole = r.oid)) ORDER BY 1",
        &[],
    )?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_statements() {
        assert_eq!(
            setting_statement(None, "statement_timeout=5s").unwrap(),
            r#"ALTER DATABASE %DATABASE% SET "statement_timeout" TO '5s'"#
        );
        assert_eq!(
            setting_statement(Some("app"), "search_path=app, public").unwrap(),
            r#"ALTER ROLE "app" IN DATABASE %DATABASE% SET "search_path" TO 'app', 'public'"#
        );
        assert_eq!(list("\"\""), "''");
        assert_eq!(list("\"Odd, \"\"one\", b"), "'Odd, \"one', 'b'");
        assert_eq!(
            setting_statement(None, "my.x=it's").unwrap(),
            r#"ALTER DATABASE %DATABASE% SET "my"."x" TO 'it''s'"#
        );
    }
}
