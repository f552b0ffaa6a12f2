//! Finds a service on disk and its container, and says what to type when either is not as it must be.
//!
//! A service is a folder `services/postgres/<name>` of Dokku's library root. dokku-postgres writes into it: `PASSWORD`,
//! `DATABASE_NAME` (the name with dashes as underscores; services made before that file existed use their name as it is),
//! `LINKS` (one app a line), `IMAGE`, `IMAGE_VERSION`. Its container is `dokku.postgres.<name>` with the labels
//! `dokku=service` and `dokku.service=postgres`; `postgres:pause` and `postgres:stop` stop it, they don't freeze it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::docker::{Container, Docker};
use crate::error::Failure;
use crate::secret::Secret;
use crate::service::name::ServiceName;
use crate::service::{Address, RunningService, Service};

/// The datastore whose services we back up, as folder, label and command prefix.
const DATASTORE: &str = "postgres";
/// How many names an error shows before it only counts.
const SHOWN: usize = 12;

impl Service {
    /// Finds a service by its name.
    ///
    /// # Errors
    /// When there is none of that name (the ones that exist are named), when it belongs to another datastore, or when
    /// its files can't be read.
    pub fn find(lib_root: &Path, name: &ServiceName) -> Result<Self, Failure> {
        let root = folder(lib_root).join(name.as_str());
        match fs::metadata(&root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(Failure::failed(format!("{} is not the folder of a service", root.display()))
                    .hint("List the services with: dokku postgres:list"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(lib_root, name)),
            Err(error) => return Err(unreadable(&root, error)),
        }
        let database = match text_file(&root.join("DATABASE_NAME"))? {
            None => name.to_string(),
            Some(text) if text.is_empty() => {
                return Err(Failure::failed(format!("The file {} is empty", root.join("DATABASE_NAME").display()))
                    .hint("It must hold the name of the service's database")
                    .hint(format!("The databases are shown by \\l in: dokku postgres:connect {name}")));
            }
            Some(text) => text,
        };
        let password = match text_file(&root.join("PASSWORD"))? {
            Some(text) if !text.is_empty() => Secret::new(text),
            _ => {
                return Err(Failure::failed(format!(
                    "The service {name} has no password: {} is missing or empty",
                    root.join("PASSWORD").display()
                ))
                .hint(format!("The link's URL holds the same password: dokku postgres:info {name} --dsn"))
                .hint("An interrupted postgres:create leaves such a service behind"));
            }
        };
        let linked_apps = lines(text_file(&root.join("LINKS"))?);
        Ok(Self {
            container: format!("dokku.{DATASTORE}.{name}"),
            name: name.clone(),
            root,
            database,
            password,
            linked_apps,
        })
    }

    /// The names of all services on this host, sorted. None when dokku-postgres is not installed or has made none.
    ///
    /// # Errors
    /// When the folder of the services can't be read.
    pub fn all(lib_root: &Path) -> Result<Vec<ServiceName>, Failure> {
        names_in(&folder(lib_root))
    }

    /// The image that the service was made of, as its files record it ("postgres:15.18"); for a container that is not there.
    ///
    /// # Errors
    /// When the files are there and can't be read.
    pub fn recorded_image(&self) -> Result<Option<String>, Failure> {
        let image = text_file(&self.root.join("IMAGE"))?;
        let version = text_file(&self.root.join("IMAGE_VERSION"))?;
        Ok(match (image, version) {
            (Some(image), Some(version)) if !image.is_empty() && !version.is_empty() => {
                Some(format!("{image}:{version}"))
            }
            _ => None,
        })
    }

    /// Looks at the service's container, which must run.
    ///
    /// # Errors
    /// When it is missing, stopped, frozen, restarting, not dokku-postgres's or without an address, each with what to
    /// type next; or when docker doesn't answer.
    pub fn running(&self, docker: &Docker) -> Result<RunningService, Failure> {
        let found = docker.inspect(&self.container).map_err(|error| {
            Failure::failed(format!("The container of the service {} can't be looked up", self.name))
                .because(error)
                .hint(format!("Docker must answer to: {} container ls", docker.program().display()))
        })?;
        self.running_as(found)
    }

    fn running_as(&self, found: Option<Container>) -> Result<RunningService, Failure> {
        let name = &self.name;
        let container = &self.container;
        let start = format!("dokku postgres:start {name}");
        let logs = format!("See why with: dokku postgres:logs {name}");
        let Some(found) = found else {
            return Err(Failure::failed(format!("The service {name} has no container ({container})"))
                .hint(format!("Make it again from its data with: {start}")));
        };
        let labels =
            [found.labels.get("dokku"), found.labels.get("dokku.service")].map(|label| label.map(String::as_str));
        if labels != [Some("service"), Some(DATASTORE)] {
            let label = labels[1].map_or_else(
                || "it has no label dokku.service".to_owned(),
                |label| format!("its label says dokku.service={label}"),
            );
            return Err(Failure::failed(format!(
                "The container {container} was not made by dokku-postgres: {}",
                crate::text::printable(&label)
            ))
            .hint(format!("Look at it with: docker container inspect {container}")));
        }
        match found.status.as_str() {
            "running" => {}
            "exited" => {
                return Err(Failure::failed(format!("The service {name} is stopped"))
                    .hint(format!("Start it with: {start}"))
                    .hint(logs));
            }
            "paused" => {
                return Err(Failure::failed(format!("The container of the service {name} is paused"))
                    .hint(format!("Let it go on with: docker container unpause {container}")));
            }
            "restarting" => {
                return Err(Failure::failed(format!(
                    "The service {name} is restarting again and again: its server doesn't come up"
                ))
                .hint(logs));
            }
            // postgres:start looks for containers that have exited; it would try to make this one a second time.
            "created" => {
                return Err(Failure::failed(format!("The container of the service {name} was made but never started"))
                    .hint(format!("Start it with: docker container start {container}")));
            }
            other => {
                return Err(Failure::failed(format!(
                    "The container of the service {name} does not run, its state is {:?}",
                    crate::text::printable(other)
                ))
                .hint(logs)
                .hint(format!("Start it with: {start}")));
            }
        }
        let Some(address) = found.address else {
            return Err(Failure::failed(format!("The container {container} has no address on any network"))
                .hint(format!("Its networks are shown by: docker container inspect {container}"))
                .hint(format!("Connect it to one with: docker network connect bridge {container}")));
        };
        Ok(RunningService { service: self.clone(), address: Address::Network(address), image: found.image })
    }
}

fn folder(lib_root: &Path) -> PathBuf {
    lib_root.join("services").join(DATASTORE)
}

/// The services below a datastore's folder; anything that could not be a service's name is not one.
fn names_in(folder: &Path) -> Result<Vec<ServiceName>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        if let Some(Ok(name)) = entry.file_name().to_str().map(str::parse::<ServiceName>)
            && fs::metadata(entry.path()).is_ok_and(|found| found.is_dir())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The error for a name that no service has: who else has it, and which services there are.
fn missing(lib_root: &Path, name: &ServiceName) -> Failure {
    let services = lib_root.join("services");
    let other = fs::read_dir(&services)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() != DATASTORE && entry.path().join(name.as_str()).is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .min();
    if let Some(other) = other {
        let other = crate::text::printable(&other);
        return Failure::failed(format!(
            "{name} is a service of dokku-{other}; only those of dokku-postgres are backed up"
        ))
        .hint("List the services with: dokku postgres:list");
    }
    let failure = Failure::failed(format!("Postgres service {name} does not exist"));
    match Service::all(lib_root) {
        Ok(names) if names.is_empty() => failure
            .hint("There are no services of dokku-postgres on this host")
            .hint(format!("Make one with: dokku postgres:create {name}")),
        Ok(names) => {
            let rest = names.len().saturating_sub(SHOWN);
            let mut shown = names.iter().take(SHOWN).map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
            if rest > 0 {
                shown = format!("{shown} and {rest} more (dokku postgres:list)");
            }
            failure.hint(format!("Existing services: {shown}"))
        }
        // That the list can't be read is said when it is asked for; here the name is the matter.
        Err(_) => failure.hint("List the services with: dokku postgres:list"),
    }
}

/// Reads a small file as bash's `$(cat …)` does: without the newlines at its end. `None` when there is none.
pub(super) fn text_file(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes)
                .map_err(|_| Failure::failed(format!("The file {} is not text", path.display())))?;
            let text = text.trim_end_matches('\n');
            if text.contains('\0') {
                return Err(Failure::failed(format!("The file {} is not text", path.display())));
            }
            Ok(Some(text.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn lines(text: Option<String>) -> Vec<String> {
    let mut lines: Vec<String> =
        text.unwrap_or_default().lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let failure = Failure::failed(format!("Can't read {}", path.display())).because(error);
    if denied {
        failure
            .hint("Call pgbackup through Dokku: it runs as the user dokku, who owns the services")
            .hint(format!("See who owns it with: ls -ld {}", path.display()))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn host() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("services/postgres/prod/PASSWORD", "se cret\n"),
            ("services/postgres/prod/LINKS", "web\n\nadmin\nweb\n"),
            ("services/postgres/prod/IMAGE", "postgres\n"),
            ("services/postgres/prod/IMAGE_VERSION", "15.18\n"),
            ("services/postgres/prod-2/PASSWORD", "x\n"),
            ("services/postgres/prod-2/DATABASE_NAME", "prod_2\n"),
            ("services/postgres/half/LINKS", ""),
            ("services/postgres/not a name/PASSWORD", "x"),
            ("services/postgres/.TMP_CRON_FILE", "x"),
            ("services/postgres/afile", "x"),
            ("services/mysql/shop/PASSWORD", "x"),
        ] {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        host
    }

    fn find(host: &tempfile::TempDir, name: &str) -> Result<Service, Failure> {
        Service::find(host.path(), &name.parse().unwrap())
    }

    fn container(status: &str) -> Container {
        Container {
            id: "ab".into(),
            status: status.into(),
            image: "postgres:15.18".into(),
            image_id: "sha256:ab".into(),
            labels: BTreeMap::from([
                ("dokku".to_owned(), "service".to_owned()),
                ("dokku.service".to_owned(), "postgres".to_owned()),
            ]),
            address: Some("172.17.0.2".parse().unwrap()),
            memory_limit: 0,
        }
    }

    #[test]
    fn reads_what_dokku_postgres_writes() {
        let host = host();
        let prod = find(&host, "prod").unwrap();
        assert_eq!(prod.container, "dokku.postgres.prod");
        assert_eq!(prod.password.reveal(), "se cret");
        assert_eq!(prod.linked_apps, ["admin", "web"]);
        assert_eq!(prod.recorded_image().unwrap().unwrap(), "postgres:15.18");
        // Without the file the name stays as it is: dokku-postgres itself writes it so then.
        assert_eq!(prod.database, "prod");
        assert_eq!(find(&host, "prod-2").unwrap().database, "prod_2");
        assert!(!format!("{prod:?}").contains("cret"));
    }

    #[test]
    fn a_missing_service_is_answered_with_those_that_exist() {
        let host = host();
        let error = find(&host, "prd").unwrap_err();
        assert_eq!(error.message, "Postgres service prd does not exist");
        assert_eq!(error.hints, ["Existing services: half, prod, prod-2"]);
        let nothing = tempfile::tempdir().unwrap();
        assert!(find(&nothing, "prd").unwrap_err().hints[0].contains("no services"));
        assert_eq!(Service::all(nothing.path()).unwrap(), []);
    }

    #[test]
    fn another_datastore_is_told_apart() {
        let error = find(&host(), "shop").unwrap_err();
        assert!(error.message.starts_with("shop is a service of dokku-mysql"), "{error}");
    }

    #[test]
    fn lists_services_only() {
        let host = host();
        let names: Vec<String> = Service::all(host.path()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["half", "prod", "prod-2"]);
    }

    #[test]
    fn no_password_no_name_and_no_text_are_named() {
        let host = host();
        assert!(find(&host, "half").unwrap_err().message.contains("has no password"));
        fs::write(host.path().join("services/postgres/prod-2/DATABASE_NAME"), "\n").unwrap();
        assert!(find(&host, "prod-2").unwrap_err().message.contains("DATABASE_NAME is empty"));
        fs::write(host.path().join("services/postgres/prod/PASSWORD"), b"\xff\n").unwrap();
        assert!(find(&host, "prod").unwrap_err().message.contains("is not text"));
        assert!(find(&host, "afile").unwrap_err().message.contains("not the folder"));
    }

    #[test]
    fn a_file_of_someone_else_is_named() {
        let host = host();
        let path = host.path().join("services/postgres/prod/PASSWORD");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(&path).is_ok() {
            return; // root reads everything
        }
        let error = find(&host, "prod").unwrap_err();
        assert!(error.message.starts_with("Can't read"), "{error}");
        assert!(error.hints[0].contains("the user dokku"));
    }

    #[test]
    fn each_state_of_the_container_has_its_next_command() {
        let prod = find(&host(), "prod").unwrap();
        for (status, message, hint) in [
            ("exited", "is stopped", "dokku postgres:start prod"),
            ("paused", "is paused", "docker container unpause dokku.postgres.prod"),
            ("restarting", "restarting again", "dokku postgres:logs prod"),
            ("created", "never started", "docker container start dokku.postgres.prod"),
            ("dead", "\"dead\"", "dokku postgres:logs prod"),
        ] {
            let error = prod.running_as(Some(container(status))).unwrap_err();
            assert!(error.message.contains(message), "{error}");
            assert!(error.hints[0].contains(hint), "{:?}", error.hints);
        }
        let error = prod.running_as(None).unwrap_err();
        assert!(error.hints[0].contains("dokku postgres:start prod"));
        let running = prod.running_as(Some(container("running"))).unwrap();
        assert_eq!(running.address.to_string(), "172.17.0.2");
    }

    #[test]
    fn a_stranger_of_that_name_is_refused() {
        let prod = find(&host(), "prod").unwrap();
        let mut other = container("running");
        other.labels.insert("dokku.service".into(), "mysql".into());
        assert!(prod.running_as(Some(other)).unwrap_err().message.contains("dokku.service=mysql"));
        let mut bare = container("running");
        bare.labels.clear();
        assert!(prod.running_as(Some(bare)).unwrap_err().message.contains("no label"));
        let mut nowhere = container("running");
        nowhere.address = None;
        assert!(prod.running_as(Some(nowhere)).unwrap_err().message.contains("no address"));
    }
}
