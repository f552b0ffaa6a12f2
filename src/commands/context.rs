//! What every command is handed: the environment, docker, the voice, the clock. Passed, never global.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use jiff::Timestamp;

use crate::commands::telling;
use crate::docker::{Docker, trigger_output};
use crate::dokku::environment::Environment;
use crate::dokku::properties::{Properties, Subject};
use crate::error::Failure;
use crate::notify::Messenger;
use crate::service::Service;
use crate::service::credentials::BackupAuth;
use crate::service::name::ServiceName;
use crate::settings::{Auth, OwnKeys, Settings};
use crate::store::Store;
use crate::store::destination::Destination;
use crate::store::folder::FolderStore;
use crate::store::s3::{Answer, Credentials, Pace, S3Settings, S3Store, Source};
use crate::ui::Ui;

/// The world as a command sees it.
#[derive(Clone)]
pub struct Context {
    /// What Dokku told us, switches of the command line included.
    pub environment: Environment,
    /// The docker client.
    pub docker: Docker,
    /// The voice.
    pub ui: Ui,
    /// Who carries news to others.
    pub messenger: Messenger,
    /// Something was done that changes how a service's backups are.
    pub has_run: Arc<AtomicBool>,
    host_keys: Arc<OnceLock<Vec<(Source, Answer)>>>,
    clock: fn() -> Timestamp,
}

/// Whose keys open a service's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoseKeys {
    /// Those of `pgbackup:auth`.
    Own,
    /// Those of `postgres:backup-auth`.
    Service,
    /// Those that the host has.
    Host,
}

impl Context {
    /// The world of this process.
    pub fn new(environment: Environment, ui: Ui) -> Self {
        let docker = Docker::new(&environment.docker_bin);
        Self {
            environment,
            docker,
            ui,
            messenger: Messenger::default(),
            has_run: Arc::default(),
            host_keys: Arc::default(),
            clock: Timestamp::now,
        }
    }

    /// The same world at another time, for tests.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> Timestamp) -> Self {
        Self { clock, ..self }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The plugin's properties.
    pub fn properties(&self) -> Properties {
        Properties::new(self.environment.config_folder())
    }

    /// A service's settings, resolved.
    ///
    /// # Errors
    /// When a stored value can't be read or is not valid.
    pub fn settings(&self, service: &ServiceName) -> Result<Settings> {
        Settings::of(&self.properties(), service)
    }

    /// Opens the store that a service's backups go to. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When no destination is set, or the keys that the settings call for are not there.
    pub fn store(&self, service: &Service) -> Result<Box<dyn Store>> {
        let settings = self.settings(&service.name)?;
        open(settings.destination(&service.name)?, &settings, &service.name, Some(service))
    }

    /// Opens another destination with a service's keys and settings: the backups of another service or host, or with those of the second
    /// destination its copies.
    ///
    /// # Errors
    /// See [`Self::store`].
    pub fn store_at(&self, destination: &Destination, service: &Service) -> Result<Box<dyn Store>> {
        let settings = in_force_at(destination, self.settings(&service.name)?);
        open(destination, &settings, &service.name, Some(service))
    }

    /// Opens another destination with the keys and settings of this host: of the service where it has one of that name, else those that hold
    /// for all.
    ///
    /// # Errors
    /// When the keys that the settings call for are not there.
    pub fn store_elsewhere(
        &self,
        destination: &Destination,
        name: &ServiceName,
        service: Option<&Service>,
    ) -> Result<Box<dyn Store>> {
        let subject = service.map_or(Subject::Global, |_| Subject::Service(name.clone()));
        let settings = in_force_at(destination, Settings::resolve(&self.properties(), &subject)?);
        open(destination, &settings, name, service)
    }

    /// Opens the store that copies of a service's backups go to; `None` when no second destination is set.
    ///
    /// # Errors
    /// When it is the first one, or the keys that the settings call for are not there.
    pub fn copy_store(&self, service: &Service) -> Result<Option<Box<dyn Store>>> {
        let settings = self.settings(&service.name)?;
        let Some(copy) = settings.of_copy() else { return Ok(None) };
        let name = &service.name;
        let second = copy.destination(name)?;
        // Also where they are in two stores: what is remembered of a place is kept under its name.
        if settings.destination.as_ref() == Some(second) {
            return Err(Failure::failed(format!("The property copy-to of {name} is its destination itself: {second}"))
                .hint(format!("Name another place: dokku pgbackup:set {name} copy-to s3://OTHER-BUCKET"))
                .hint("A bucket of the same name in another store needs a prefix: s3://BUCKET/copies")
                .into());
        }
        open(second, &copy, name, Some(service)).map(Some)
    }

    /// Whose keys open a service's store, and the same in words.
    ///
    /// # Errors
    /// When the settings call for keys that are not there.
    pub fn keys_of(&self, settings: &Settings, service: &Service) -> Result<(WhoseKeys, String)> {
        Ok(match Keys::choose(settings, &service.name, Some(service))? {
            Keys::Own(keys) => {
                let temporary = if keys.session_token.is_some() { ", temporary ones" } else { "" };
                (WhoseKeys::Own, format!("those of pgbackup:auth ({}){temporary}", keys.access_key_id))
            }
            Keys::Service(keys) => (WhoseKeys::Service, format!("those of postgres:backup-auth ({})", keys.access_key)),
            Keys::Chain => (WhoseKeys::Host, "those of the host".to_owned()),
        })
    }

    /// The keys that this host itself has, in the order in which they are used. They are asked for once: a host that is no instance
    /// takes seconds to say so.
    ///
    /// # Errors
    /// When we were asked to stop.
    pub fn keys_of_host(&self) -> Result<&[(Source, Answer)]> {
        if let Some(known) = self.host_keys.get() {
            return Ok(known);
        }
        let found = S3Store::open(S3Settings::default())?.keys_of_host()?;
        Ok(self.host_keys.get_or_init(|| found))
    }

    /// The services of this host that the caller may see: a plugin that answers Dokku's trigger `user-auth-service` decides.
    ///
    /// # Errors
    /// When the services can't be listed, or that plugin fails.
    pub fn visible_services(&self) -> Result<Vec<ServiceName>> {
        let all = Service::all(&self.environment.lib_root)?;
        let environment = &self.environment;
        if all.is_empty() || !telling::is_answered(&environment.plugin_enabled_path, "user-auth-service") {
            return Ok(all);
        }
        let mut words = vec![environment.ssh_user.as_str(), &environment.ssh_name, "postgres"];
        words.extend(all.iter().map(ServiceName::as_str));
        let allowed = trigger_output(&environment.plugin_path, "user-auth-service", &words)?;
        let allowed: Vec<&str> = allowed.split_whitespace().collect();
        Ok(all.into_iter().filter(|name| allowed.contains(&name.as_str())).collect())
    }

    /// Refuses a subject that doesn't exist.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn require(&self, subject: &Subject) -> Result<()> {
        if let Subject::Service(name) = subject {
            Service::find(&self.environment.lib_root, name)?;
        }
        Ok(())
    }

    /// Asks the user to type the service's name before something dangerous is done; `--force` asks nothing.
    ///
    /// # Errors
    /// When another word is typed, or nobody can be asked.
    pub fn confirm(&self, warning: &str, service: &ServiceName) -> Result<()> {
        if self.environment.force { Ok(()) } else { self.ui.confirm(warning, service.as_str()) }
    }
}

/// The settings that count for a place: the second destination has its own.
fn in_force_at(destination: &Destination, settings: Settings) -> Settings {
    match settings.of_copy() {
        Some(copy) if settings.is_copied_to(destination) => copy,
        _ => settings,
    }
}

/// From settings to a store.
fn open(
    destination: &Destination,
    settings: &Settings,
    name: &ServiceName,
    service: Option<&Service>,
) -> Result<Box<dyn Store>> {
    let (bucket, prefix) = match destination {
        Destination::Folder(path) => return Ok(Box::new(FolderStore::new(path))),
        Destination::S3 { bucket, prefix } => (bucket.clone(), prefix.clone()),
    };
    let keys = Keys::choose(settings, name, service)?;
    let (mut region, mut endpoint) = (None, None);
    let credentials = match keys {
        Keys::Own(keys) => Credentials::Static {
            access_key: keys.access_key_id,
            secret_key: keys.secret_access_key,
            session_token: keys.session_token,
        },
        Keys::Service(keys) => {
            // What was given together with the keys belongs to them, unless a property says otherwise.
            (region, endpoint) = (keys.region, keys.endpoint);
            Credentials::Static { access_key: keys.access_key, secret_key: keys.secret_key, session_token: None }
        }
        Keys::Chain => Credentials::Chain,
    };
    Ok(Box::new(S3Store::open(S3Settings {
        bucket,
        prefix,
        region: settings.region.as_ref().map(|region| region.as_str().to_owned()).or(region),
        endpoint: settings.endpoint_url.as_ref().map(|url| url.as_str().to_owned()).or(endpoint),
        provider: settings.provider,
        path_style: settings.path_style.set(),
        checksums: settings.checksums.set(),
        credentials,
        part_concurrency: settings.part_concurrency,
        max_parts: None,
        features: settings.features.clone(),
        pace: settings.bandwidth_limit.map(Pace::new),
    })?))
}

/// The keys that open a store.
enum Keys {
    Own(OwnKeys),
    Service(BackupAuth),
    Chain,
}

impl Keys {
    /// For a service of this host, or for one that is only known by its name.
    fn choose(settings: &Settings, name: &ServiceName, service: Option<&Service>) -> Result<Self> {
        let own = || settings.own_keys.clone().map(Self::Own);
        let of_service = || -> Result<Option<Self>> {
            let keys = service.map(BackupAuth::read).transpose()?.flatten();
            Ok(keys.map(Self::Service))
        };
        match settings.auth {
            Auth::Iam => Ok(Self::Chain),
            Auth::Own => own().ok_or_else(|| {
                Failure::failed(format!("The property auth of {name} is own, and no keys are set"))
                    .hint(format!("Set them: dokku pgbackup:auth {name} ACCESS_KEY_ID"))
                    .into()
            }),
            Auth::Service => of_service()?.ok_or_else(|| {
                Failure::failed(format!(
                    "The property auth of {name} is service, and postgres:backup-auth has set no keys"
                ))
                .hint(format!("Set them: dokku postgres:backup-auth {name} ACCESS_KEY SECRET_KEY [REGION]"))
                .into()
            }),
            Auth::Auto => match own() {
                Some(keys) => Ok(keys),
                None => Ok(of_service()?.unwrap_or(Self::Chain)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::secret::Secret;
    use crate::settings::KeysOf;
    use crate::store::Whereabouts;

    fn world() -> (tempfile::TempDir, Context, Service) {
        let folder = tempfile::tempdir().unwrap();
        let lib_root = folder.path().to_owned();
        let root = lib_root.join("services/postgres/prod");
        fs::create_dir_all(root.join("backup")).unwrap();
        let environment = Environment::from_lookup(|name| (name == "DOKKU_LIB_ROOT").then(|| lib_root.clone().into()));
        let service = Service {
            name: "prod".parse().unwrap(),
            root,
            container: "dokku.postgres.prod".to_owned(),
            database: "prod".to_owned(),
            password: Secret::new(""),
            linked_apps: Vec::new(),
        };
        (folder, Context::new(environment, Ui::captured(false).0), service)
    }

    fn chosen(context: &Context, service: &Service) -> String {
        match Keys::choose(&context.settings(&service.name).unwrap(), &service.name, Some(service)) {
            Ok(Keys::Own(keys)) => keys.access_key_id,
            Ok(Keys::Service(keys)) => keys.access_key,
            Ok(Keys::Chain) => "chain".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn own_keys_come_before_the_services_and_those_before_the_chain() {
        let (_folder, context, service) = world();
        let set = |name, value| context.properties().set(&Subject::Global, name, value).unwrap();
        assert_eq!(chosen(&context, &service), "chain");
        set("auth", "own");
        assert_eq!(chosen(&context, &service), "The property auth of prod is own, and no keys are set");
        set("auth", "service");
        assert!(chosen(&context, &service).ends_with("postgres:backup-auth has set no keys"));
        set("auth", "auto");
        fs::write(service.root.join("backup/AWS_ACCESS_KEY_ID"), "SERVICE\n").unwrap();
        fs::write(service.root.join("backup/AWS_SECRET_ACCESS_KEY"), "x\n").unwrap();
        assert_eq!(chosen(&context, &service), "SERVICE");
        OwnKeys { access_key_id: "OWN".to_owned(), secret_access_key: Secret::new("x"), session_token: None }
            .write(&context.properties(), &Subject::Global, KeysOf::Destination)
            .unwrap();
        assert_eq!(chosen(&context, &service), "OWN");
        set("auth", "iam");
        assert_eq!(chosen(&context, &service), "chain");
    }

    #[test]
    fn opens_what_is_set() {
        let (folder, context, service) = world();
        let error = context.store(&service).err().unwrap();
        assert_eq!(error.to_string(), "No destination is set for prod");
        let path = folder.path().join("backups");
        fs::create_dir(&path).unwrap();
        let folder = format!("file://{}", path.display());
        context.properties().set(&Subject::Global, "destination", &folder).unwrap();
        assert_eq!(context.store(&service).unwrap().describe(), folder);
        let other = "s3://bucket/other".parse().unwrap();
        context.properties().set(&Subject::Global, "region", "eu-central-1").unwrap();
        assert_eq!(context.store_at(&other, &service).unwrap().describe(), "s3://bucket/other");
    }

    #[test]
    fn each_place_says_where_it_is_kept() {
        let (_folder, context, service) = world();
        let set = |name, value| context.properties().set(&Subject::Global, name, value).unwrap();
        let (first, second): (Destination, Destination) =
            ("s3://first".parse().unwrap(), "s3://second".parse().unwrap());
        let told = |place: &Destination| {
            let store = context.store_elsewhere(place, &service.name, Some(&service)).unwrap();
            let Whereabouts { endpoint, region } = store.whereabouts();
            (endpoint.unwrap_or_default(), region.unwrap_or_default())
        };
        set("destination", "s3://first");
        // Together with the keys.
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_DEFAULT_REGION", "here"),
            ("ENDPOINT_URL", "http://keys:1"),
        ] {
            fs::write(service.root.join("backup").join(name), value).unwrap();
        }
        assert_eq!(told(&first), ("http://keys:1".to_owned(), "here".to_owned()));
        set("endpoint-url", "http://first:1");
        set("copy-to", "s3://second");
        set("copy-endpoint-url", "http://second:1");
        set("copy-region", "there");
        assert_eq!(told(&first), ("http://first:1".to_owned(), "here".to_owned()));
        assert_eq!(told(&second), ("http://second:1".to_owned(), "there".to_owned()));
    }
}
