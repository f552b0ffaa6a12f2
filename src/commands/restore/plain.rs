//! A backup in SQL text takes a detour: psql loads it where there is nothing to reach, and pg_dump makes an ordinary dump of it there.
//!
//! Such a text drops and creates databases, and psql obeys more than SQL. It never meets a live server: it is loaded in a
//! [throw-away container](crate::database::throwaway) of the service's own image. The one database that is wanted is dumped from there in
//! pg_dump's custom format and goes the usual way into staging. Its rows are counted twice: in the text, as it passes by, and in
//! the staging database at the end.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context as _, Result, anyhow};

use crate::commands::context::Context;
use crate::database::throwaway::{self, Throwaway};
use crate::database::{APPLICATION, conninfo, description, quote, session, words};
use crate::docker::{Input, Running};
use crate::error::Failure;
use crate::manifest::DatabaseDescription;
use crate::plain_format::{Contents, Database, Filter, major};
use crate::service::RunningService;
use crate::text::printable;

/// Bytes of the text that are moved at once.
const BUFFER: usize = 256 << 10;
/// Where psql begins: a text of one database has no name for it, and one of several must be able to drop each of the others.
const FIRST: &str = "pgbackup_first";

/// A text that was loaded.
pub struct Detour {
    server: Throwaway,
    database: String,
    /// What the database itself is like, where the text made it.
    pub description: Option<DatabaseDescription>,
    /// What the text held of it.
    pub held: Database,
}

/// Loads a text of `length` bytes. `wanted` is the database that it must hold; without it one of `likely`, or the only one.
///
/// # Errors
/// When it is damaged or refused, when psql refuses a statement, or when the database is not in it.
pub fn load(
    context: &Context,
    service: &RunningService,
    text: &mut dyn Read,
    length: u64,
    wanted: Option<&str>,
    likely: &[String],
) -> Result<Detour> {
    // The text and its indexes; the copy in staging is the service's disk's affair.
    throwaway::refuse_small_disk(&context.docker, length.saturating_mul(2))?;
    context
        .ui
        .step(format!("The backup is SQL text: loading it into a throw-away container of {} first", service.image));
    let server = Throwaway::start(&context.docker, service)?;
    let running = server.server();
    let mut client = session::connect_beside(running)?;
    let here = session::version_number(&mut client)? / 10_000;
    let statement = format!("CREATE DATABASE {} TEMPLATE template0", quote(FIRST));
    client.batch_execute(&statement).map_err(|error| anyhow!("{}", words(&error)))?;
    drop(client);
    let mut psql = start(context, running)?;
    let fed = feed(text, &mut psql, here, service);
    let ended = psql.finish().context("psql can't load the backup's SQL text");
    // What the text itself is like explains psql's words; a text that was good to its end leaves only those.
    let contents = match fed {
        Ok(Some(contents)) => {
            ended?;
            contents
        }
        Ok(None) => return Err(ended.err().unwrap_or_else(|| anyhow!("psql stopped reading before the text's end"))),
        Err(error) => return Err(error),
    };
    let (name, held) = choose(&contents, wanted, likely)?;
    let database = name.unwrap_or(FIRST).to_owned();
    let held = held.clone();
    let description = match name {
        None => None,
        Some(name) => {
            let mut client = session::connect(running, name)?;
            let version_number = session::version_number(&mut client)?;
            Some(description::describe(&mut client, version_number)?)
        }
    };
    if contents.named().count() > 1 {
        context.ui.detail(format!("The backup holds {}; taking {}", names(&contents), printable(&database)));
    }
    Ok(Detour { server, database, description, held })
}

fn start(context: &Context, running: &RunningService) -> Result<Running> {
    let target = conninfo(FIRST);
    let arguments =
        ["psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null", &target];
    let environment = [
        ("PGPASSWORD", running.service.password.reveal()),
        ("PGAPPNAME", APPLICATION),
        ("PGOPTIONS", "-c client_min_messages=warning"),
    ];
    let mut psql = context.docker.exec(&running.service.container, &arguments, &environment, Input::Piped)?;
    drop(psql.stdout()?);
    Ok(psql)
}

/// Gives psql the text; `None` when it stops listening.
fn feed(text: &mut dyn Read, psql: &mut Running, here: i32, service: &RunningService) -> Result<Option<Contents>> {
    let mut input = psql.stdin()?;
    let mut filter = Filter::new();
    let mut buffer = vec![0; BUFFER];
    let mut passed = Vec::new();
    let mut write = |passed: &[u8]| match input.write_all(passed) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("writing to psql"),
    };
    loop {
        crate::interrupt::check()?;
        let read = text.read(&mut buffer)?;
        passed.clear();
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        filter.feed(piece, &mut passed)?;
        refuse_newer(filter.contents(), here, service)?;
        if !write(&passed)? {
            return Ok(None);
        }
    }
    let contents = filter.finish(&mut passed)?;
    Ok(write(&passed)?.then_some(contents))
}

fn refuse_newer(contents: &Contents, here: i32, service: &RunningService) -> Result<()> {
    for (what, version) in [("PostgreSQL", &contents.server_version), ("pg_dump", &contents.dump_version)] {
        let Some(version) = version.as_deref().filter(|version| major(version).is_some_and(|major| major > here))
        else {
            continue;
        };
        let name = &service.service.name;
        let version = printable(version);
        return Err(Failure::failed(format!(
            "The backup was made with {what} {version}, but {name} runs PostgreSQL {here}"
        ))
        .hint(format!(
            "Restore it into a newer service, made with: dokku postgres:create <name> --image-version {}",
            major(&version).unwrap_or_default()
        ))
        .into());
    }
    Ok(())
}

/// The database that is meant; without a name it is the one that the text has no name for.
fn choose<'a>(
    contents: &'a Contents,
    wanted: Option<&str>,
    likely: &[String],
) -> Result<(Option<&'a str>, &'a Database)> {
    let named: Vec<(&str, &Database)> = contents.named().collect();
    let find =
        |name: &str| named.iter().find(|(known, _)| *known == name).map(|(name, database)| (Some(*name), *database));
    if let Some(found) = wanted.and_then(find) {
        return Ok(found);
    }
    if named.is_empty() {
        let nameless = contents.databases.get(&None).map(|database| (None, database));
        return nameless.ok_or_else(|| Failure::failed("The backup holds no database but the server's own").into());
    }
    if let Some(wanted) = wanted {
        return Err(Failure::failed(format!("The backup holds no database {wanted}, but {}", names(contents)))
            .hint("Choose one of them with --database NAME")
            .into());
    }
    if let Some(found) = likely.iter().find_map(|name| find(name)) {
        return Ok(found);
    }
    match named.as_slice() {
        [(name, database)] => Ok((Some(name), database)),
        _ => Err(Failure::failed(format!("The backup holds several databases: {}", names(contents)))
            .hint("Choose one of them with --database NAME")
            .into()),
    }
}

fn names(contents: &Contents) -> String {
    contents.named().map(|(name, _)| printable(name).into_owned()).collect::<Vec<_>>().join(", ")
}

impl Detour {
    /// An ordinary dump of the database, from the throw-away server.
    ///
    /// # Errors
    /// When pg_dump can't be started.
    pub fn dump(&self, context: &Context) -> Result<Running> {
        let running = self.server.server();
        let target = conninfo(&self.database);
        let arguments = ["pg_dump", "--format=custom", "--compress=0", "--no-password", &target];
        let environment = [("PGPASSWORD", running.service.password.reveal()), ("PGAPPNAME", APPLICATION)];
        context.docker.exec(&running.service.container, &arguments, &environment, Input::Held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(names: &[Option<&str>]) -> Contents {
        let databases = names.iter().map(|name| (name.map(str::to_owned), Database::default())).collect();
        Contents { databases, ..Contents::default() }
    }

    fn chosen(names: &[Option<&str>], wanted: Option<&str>) -> Result<Option<String>, String> {
        match choose(&contents(names), wanted, &["my_prod".to_owned(), "my-prod".to_owned()]) {
            Ok((name, _)) => Ok(name.map(str::to_owned)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_database_that_is_meant() {
        let own = [None, Some("postgres"), Some("template1")];
        assert_eq!(chosen(&own, None), Ok(None));
        assert_eq!(chosen(&own, Some("prod")), Ok(None), "a text without a name can't be told from a wrong one");
        assert_eq!(chosen(&[None, Some("other")], None), Ok(Some("other".into())));
        assert_eq!(chosen(&[Some("a"), Some("my-prod"), Some("my_prod")], None), Ok(Some("my_prod".into())));
        assert_eq!(chosen(&[Some("a"), Some("my_prod")], Some("a")), Ok(Some("a".into())));
        assert_eq!(chosen(&[Some("a"), Some("b")], None), Err("The backup holds several databases: a, b".into()));
        assert_eq!(chosen(&[Some("a")], Some("b")), Err("The backup holds no database b, but a".into()));
    }
}
