//! The service's server and the programs in its container: reachable, of one version, with the rights and the disk that are needed.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::bounded::bounded;
use super::finding::{Finding, Group};
use crate::commands::context::Context;
use crate::database::session::CantConnect;
use crate::database::staging::{self, Beside, Purpose};
use crate::database::{session, swap, words};
use crate::docker::Docker;
use crate::error::Failure;
use crate::service::RunningService;
use crate::ui::human;

/// A server on the same host answers at once or is not there; a session waits ten seconds for it.
const LIMIT: Duration = Duration::from_secs(12);
/// The programs that run in the container.
const PROGRAMS: [&str; 3] = ["pg_dump", "pg_restore", "pg_dumpall"];
/// Their versions, then the disk that the data lies on.
const ASK: &str = r#"for program in pg_dump pg_restore pg_dumpall; do "$program" --version 2>/dev/null; done; df -Pk "$1" 2>/dev/null; true"#;

/// The first minor version of each major that has the fixes of pg_dump and pg_restore against hostile objects and servers, newest
/// first: CVE-2025-8714 and CVE-2025-8715, and before them CVE-2024-7348.
const FIXED_2025: [(i32, i32); 5] = [(17, 6), (16, 10), (15, 14), (14, 19), (13, 22)];
const FIXED_2024: [(i32, i32); 5] = [(16, 4), (15, 8), (14, 13), (13, 16), (12, 20)];

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// `15.18`.
    pub version: String,
    /// `150018`.
    pub version_number: i32,
    /// Whether our role may do everything.
    pub superuser: bool,
    /// Size of the service's database; `None` when it is gone.
    pub bytes: Option<u64>,
    /// Extensions in the service's database.
    pub extensions: Vec<String>,
    /// What stands in the way of an exchange now (a subscription, a slot, a prepared transaction), and what to do about it.
    pub obstacle: Option<(String, Vec<String>)>,
    /// Databases of ours beside the live one.
    pub beside: Vec<Beside>,
    /// What the programs in the container say of their version, in the order of [`PROGRAMS`]; `None` for one that is missing.
    pub programs: Vec<Option<String>>,
    /// Bytes that are free where the data lies.
    pub free: Option<u64>,
}

/// Asks a server; what it says, and what is wrong with it.
///
/// # Errors
/// When we were asked to stop.
pub fn examine(context: &Context, running: &RunningService) -> Result<(Option<Server>, Vec<Finding>)> {
    let (docker, service) = (context.docker.clone(), running.clone());
    match bounded(LIMIT, move || ask(&docker, &service)) {
        Ok(server) => {
            let mut findings =
                vec![Group::Service.ok("connection", format!("The server answers at {}", running.address))];
            findings.extend(judge(&server, running));
            Ok((Some(server), findings))
        }
        Err(error) => {
            crate::interrupt::check()?;
            Ok((None, vec![unreachable(&error, running)]))
        }
    }
}

fn unreachable(error: &anyhow::Error, running: &RunningService) -> Finding {
    let (name, container) = (&running.service.name, &running.service.container);
    if error.downcast_ref::<CantConnect>().is_some_and(|refused| refused.wrong_password) {
        return Group::Service
            .fail("password", "The server doesn't take the password that the service's files hold")
            .fix(format!("See the one of the files: sudo cat {}", running.service.root.join("PASSWORD").display()))
            .fix(format!(
                "Give it to the server: docker container exec -it {container} psql -U postgres -c '\\password'"
            ));
    }
    Group::Service
        .fail("connection", format!("The server can't be asked: {error:#}"))
        .fix(format!("See what it says: dokku postgres:logs {name}"))
        .fix(format!("Start it again: dokku postgres:restart {name}"))
}

fn ask(docker: &Docker, running: &RunningService) -> Result<Server> {
    let mut client = session::connect_beside(running)?;
    let failed = |error: postgres::Error| anyhow!("{}", words(&error));
    let row = client
        .query_one(
            "SELECT pg_catalog.current_setting('server_version'), rolsuper, pg_catalog.current_setting('data_directory') \
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
            &[],
        )
        .map_err(failed)?;
    let version: String = row.try_get(0)?;
    let data: String = row.try_get(2)?;
    let mut server = Server {
        version: first_word(&version),
        version_number: session::version_number(&mut client)?,
        superuser: row.try_get(1)?,
        beside: staging::list(&mut client, &running.service.name)?,
        ..Server::default()
    };
    if session::database_exists(running)? {
        let mut live = session::connect_to_look(running, &running.service.database)?;
        let row = live
            .query_one(
                "SELECT pg_catalog.pg_database_size(pg_catalog.current_database()), \
                 (SELECT pg_catalog.array_agg(extname::pg_catalog.text) FROM pg_catalog.pg_extension)",
                &[],
            )
            .map_err(failed)?;
        let bytes: i64 = row.try_get(0)?;
        server.bytes = Some(u64::try_from(bytes).unwrap_or_default());
        server.extensions = row.try_get::<_, Option<Vec<String>>>(1)?.unwrap_or_default();
        let refused = swap::refuse_obstacles(&mut client, &running.service.database).err().map(Failure::from_error);
        server.obstacle = refused.map(|failure| (failure.message, failure.hints));
    }
    let said = docker
        .exec_output(&running.service.container, &["sh", "-c", ASK, "sh", &data], &[])
        .context("The programs in the container can't be asked for their versions")?;
    let said = String::from_utf8_lossy(&said);
    server.programs = PROGRAMS.iter().map(|program| version_of(program, &said)).collect();
    server.free = free(&said);
    Ok(server)
}

/// Debian's packages add themselves in parentheses: `15.18 (Debian 15.18-0+deb12u1)`.
fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// From `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version_of(program: &str, said: &str) -> Option<String> {
    let start = format!("{program} (PostgreSQL) ");
    said.lines().find_map(|line| line.strip_prefix(&start)).map(first_word)
}

/// The fourth field of df's second line, in blocks of 1,024 bytes; a long name of a device breaks no line with `-P`.
fn free(said: &str) -> Option<u64> {
    let table = said.lines().skip_while(|line| !line.starts_with("Filesystem")).nth(1)?;
    table.split_whitespace().nth(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What there is to say of a server that answers.
pub fn judge(server: &Server, running: &RunningService) -> Vec<Finding> {
    let mut findings = vec![version(server, running)];
    findings.push(programs(server, running));
    findings.push(if server.superuser {
        Group::Service.ok("superuser", "The role postgres is a superuser")
    } else {
        Group::Service
            .fail("superuser", "The role postgres is no superuser: a dump and a restore can't reach everything")
            .fix(format!(
                "As another superuser: docker container exec -it {} psql -c 'ALTER ROLE postgres SUPERUSER'",
                running.service.container
            ))
    });
    findings
}

fn version(server: &Server, running: &RunningService) -> Finding {
    let (version, name) = (&server.version, &running.service.name);
    let (major, minor) = (server.version_number / 10_000, server.version_number % 10_000);
    let is_fixed = |fixed: &[(i32, i32)], newest: i32| {
        major >= newest || fixed.iter().any(|(known, least)| *known == major && minor >= *least)
    };
    if is_fixed(&FIXED_2025, 18) {
        return Group::Service.ok("version", format!("PostgreSQL {version}"));
    }
    let holes = if is_fixed(&FIXED_2024, 17) {
        "CVE-2025-8714 and CVE-2025-8715"
    } else {
        "CVE-2024-7348, CVE-2025-8714 and CVE-2025-8715"
    };
    let finding = Group::Service.warn(
        "version",
        format!("PostgreSQL {version} lacks fixes of pg_dump and pg_restore ({holes}): who may create objects in the database could run code in a dump or a restore"),
    );
    match FIXED_2025.iter().find(|(known, _)| *known == major) {
        Some((_, least)) => finding.fix(format!(
            "Use {major}.{least} or newer: dokku postgres:upgrade {name} --image-version {major}.{least}"
        )),
        None => finding.fix(format!(
            "PostgreSQL {major} gets no fixes any more: back up, make a service of a newer version and restore into it with pgbackup:restore {name} latest --to NEW"
        )),
    }
}

fn programs(server: &Server, running: &RunningService) -> Finding {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .zip(&server.programs)
        .filter(|(_, version)| version.is_none())
        .map(|(program, _)| *program)
        .collect();
    if !missing.is_empty() {
        return Group::Service
            .fail("programs", format!("The image {} has no {}", running.image, missing.join(", ")))
            .fix(format!(
                "Use an image that has them, such as postgres: dokku postgres:upgrade {} --image postgres",
                running.service.name
            ));
    }
    let major = |version: &str| version.split('.').next().unwrap_or_default().to_owned();
    let others: Vec<String> = PROGRAMS
        .iter()
        .zip(server.programs.iter().flatten())
        .filter(|(_, version)| **version != server.version)
        .map(|(program, version)| format!("{program} {version}"))
        .collect();
    if others.is_empty() {
        return Group::Service.ok("programs", format!("{} of the same version", PROGRAMS.join(", ")));
    }
    let text = format!("{} in the container, and the server has version {}", others.join(", "), server.version);
    let restart =
        format!("Make the container anew: dokku postgres:stop {0} && dokku postgres:start {0}", running.service.name);
    if server.programs.iter().flatten().all(|version| major(version) == major(&server.version)) {
        Group::Service.warn("programs", text).fix(restart)
    } else {
        Group::Service.fail("programs", text).fix(restart)
    }
}

/// What the server says of a restore: whether it will fit, and what would be in its way.
pub fn restore(server: &Server, running: &RunningService) -> Vec<Finding> {
    let name = &running.service.name;
    let mut findings = Vec::new();
    match server.bytes {
        None => findings.push(
            Group::Restore
                .fail(
                    "database",
                    format!("The database {} is gone: there is nothing to back up", running.service.database),
                )
                .fix(format!("Bring it back: dokku pgbackup:restore {name} latest"))
                .fix(format!(
                    "Or an empty one: dokku postgres:enter {name} createdb -U postgres {}",
                    running.service.database
                )),
        ),
        Some(bytes) => findings.push(disk(bytes, server, running)),
    }
    for (extension, why) in [
        ("timescaledb", "TimescaleDB wants steps around a restore that are not taken"),
        ("pg_cron", "pg_cron lives in one database alone"),
    ] {
        if server.extensions.iter().any(|known| known == extension) {
            findings.push(
                Group::Restore
                    .warn("extensions", format!("A restore will fail and leave the live database as it is: {why}"))
                    .fix(format!("Prove what works: dokku pgbackup:verify {name} latest")),
            );
        }
    }
    if let Some((obstacle, fixes)) = &server.obstacle {
        let found = Group::Restore.warn("obstacles", format!("A restore will be refused: {obstacle}"));
        findings.push(fixes.iter().fold(found, Finding::fix));
    }
    findings
}

fn disk(bytes: u64, server: &Server, running: &RunningService) -> Finding {
    let name = &running.service.name;
    let replaced: u64 = server
        .beside
        .iter()
        .filter(|database| database.marker.purpose == Purpose::Previous)
        .map(|database| database.bytes)
        .sum();
    let Some(free) = server.free else {
        return Group::Restore
            .warn("disk", "How much disk is free where the data lies is not known")
            .fix(format!("Look: docker container exec {} df -h", running.service.container));
    };
    let text = format!(
        "A restore needs about {} beside the live database, {} are free",
        human::size(bytes),
        human::size(free)
    );
    if free >= bytes {
        return Group::Restore.ok("disk", text);
    }
    let finding = Group::Restore.fail("disk", text);
    if replaced > 0 {
        return finding.fix(format!(
            "Drop what the last restore replaced ({}): dokku pgbackup:rollback {name} --discard",
            human::size(replaced)
        ));
    }
    finding.fix("Free some disk, or see what takes it: docker system df")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Verdict;
    use crate::commands::doctor::tests::running;

    fn server(version: &str) -> Server {
        let (major, minor) = version.split_once('.').unwrap();
        Server {
            version: version.to_owned(),
            version_number: major.parse::<i32>().unwrap() * 10_000 + minor.parse::<i32>().unwrap(),
            superuser: true,
            bytes: Some(1 << 20),
            programs: vec![Some(version.to_owned()); 3],
            free: Some(1 << 30),
            ..Server::default()
        }
    }

    fn verdicts(server: &Server) -> Vec<(&'static str, Verdict)> {
        let running = running();
        let findings = judge(server, &running).into_iter().chain(restore(server, &running));
        findings
            .map(|finding| (finding.check, finding.verdict))
            .filter(|(_, verdict)| *verdict != Verdict::Ok)
            .collect()
    }

    #[test]
    fn a_good_one_has_nothing() {
        for version in ["18.0", "17.6", "16.10", "15.18", "13.22"] {
            assert_eq!(verdicts(&server(version)), [], "{version}");
        }
    }

    #[test]
    fn known_holes_are_named() {
        let said = |text: &str| version(&server(text), &running());
        for old in ["17.5", "16.9", "15.13", "14.18", "13.21"] {
            let finding = said(old);
            assert!(finding.message.contains("(CVE-2025-8714 and CVE-2025-8715)"), "{}", finding.message);
        }
        for older in ["16.3", "15.7", "12.19", "11.22"] {
            assert!(said(older).message.contains("CVE-2024-7348"), "{older}");
        }
        assert_eq!(said("15.7").fixes, ["Use 15.14 or newer: dokku postgres:upgrade prod --image-version 15.14"]);
        assert!(said("12.22").fixes[0].contains("gets no fixes any more"));
    }

    #[test]
    fn what_is_missing_is_found() {
        let mut bad = server("15.18");
        bad.superuser = false;
        bad.programs[1] = None;
        bad.free = Some(1000);
        bad.extensions = vec!["timescaledb".into()];
        bad.obstacle = Some(("The subscription \"feed\" stands in the way".to_owned(), Vec::new()));
        assert_eq!(
            verdicts(&bad),
            [
                ("programs", Verdict::Fail),
                ("superuser", Verdict::Fail),
                ("disk", Verdict::Fail),
                ("extensions", Verdict::Warn),
                ("obstacles", Verdict::Warn)
            ]
        );
        let mut other = server("15.18");
        other.programs[0] = Some("15.17".into());
        assert_eq!(verdicts(&other), [("programs", Verdict::Warn)]);
        other.programs[0] = Some("14.17".into());
        other.free = None;
        assert_eq!(verdicts(&other), [("programs", Verdict::Fail), ("disk", Verdict::Warn)]);
        other.bytes = None;
        assert_eq!(verdicts(&other), [("programs", Verdict::Fail), ("database", Verdict::Fail)]);
    }

    #[test]
    fn reads_what_the_container_says() {
        let said = "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\npg_dumpall (PostgreSQL) 18.4\n\
            Filesystem     1024-blocks    Used Available Capacity Mounted on\n/dev/vda1         40000000 1000000      1234       3% /var\n";
        assert_eq!(version_of("pg_dump", said).as_deref(), Some("15.18"));
        assert_eq!(version_of("pg_restore", said), None);
        assert_eq!(version_of("pg_dumpall", said).as_deref(), Some("18.4"));
        assert_eq!(free(said), Some(1234 * 1024));
        assert_eq!(free("nothing"), None);
    }
}
