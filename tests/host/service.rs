//! A dokku-postgres service with a container of its own.

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use pgbackup::service::RunningService;
use postgres::{Client, NoTls, SimpleQueryMessage};

use super::{Bucket, Call, Host, Key, Run};

/// Versions of PostgreSQL that the sandbox has images of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Postgres {
    /// From Debian's packages.
    V15,
    /// The newest.
    V18,
}

impl Postgres {
    /// The image's tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::V15 => "15",
            Self::V18 => "18",
        }
    }
}

/// A service that is gone when this is dropped, with its container and all that the plugin kept of it. Its objects in
/// the bucket stay until the sandbox goes.
#[derive(Debug)]
pub struct Service {
    /// The host it is on.
    pub host: &'static Host,
    /// Its name.
    pub name: String,
    /// The name of the database that apps use.
    pub database: String,
    address: IpAddr,
    password: String,
}

impl Service {
    fn nowhere(host: &'static Host, name: &str) -> Self {
        Self {
            host,
            name: name.to_owned(),
            database: name.replace('-', "_"),
            address: IpAddr::from([0, 0, 0, 0]),
            password: String::new(),
        }
    }

    pub(super) fn existing(host: &'static Host, name: &str) -> Self {
        let mut service = Self::nowhere(host, name);
        service.read_connection();
        service
    }

    pub(super) fn create(host: &'static Host, name: &str, postgres: Postgres, more: &[&str]) -> Self {
        let image = super::variable("SANDBOX_IMAGE");
        // From here on a panic removes what there is.
        let mut service = Self::nowhere(host, name);
        let words = ["postgres:create", name, "--image", &image, "--image-version", postgres.tag()];
        host.dokku(&[&words[..], more].concat()).run().succeeds();
        service.read_connection();
        service.authorize(Key::Full);
        service.set("destination", &service.bucket().url());
        service
    }

    /// Address and password; to be read again after a restart of the container.
    pub fn read_connection(&mut self) {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let run = self.host.call("docker", &["container", "inspect", "--format", format, &self.container()]).run();
        self.address = run.succeeds().out().trim().parse().unwrap();
        let file = self.host.lib_root.join("services/postgres").join(&self.name).join("PASSWORD");
        fs::read_to_string(file).unwrap().trim().clone_into(&mut self.password);
    }

    /// After its container was started again: waits until the server answers.
    pub fn wait_until_up(&mut self) {
        self.read_connection();
        let began = Instant::now();
        while self.try_client(&self.database).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// `dokku.postgres.NAME`.
    pub fn container(&self) -> String {
        format!("dokku.postgres.{}", self.name)
    }

    /// `postgres:backup-auth` with a key of the S3 server.
    pub fn authorize(&self, key: Key) {
        if self.host.lib_root.join("services/postgres").join(&self.name).join("backup").exists() {
            self.host.dokku(&["postgres:backup-deauth", &self.name]).run().succeeds();
        }
        let (id, secret) = key.pair();
        let (region, endpoint) = (&self.host.region, &self.host.endpoint);
        let words = ["postgres:backup-auth", &self.name, &id, &secret, region, "s3v4", endpoint];
        self.host.dokku(&words).run().succeeds();
    }

    /// `pgbackup:set NAME PROPERTY VALUE`.
    pub fn set(&self, property: &str, value: &str) {
        self.pgbackup("set", &[property, value]).succeeds();
    }

    /// The place that its backups go to.
    pub fn bucket(&self) -> Bucket {
        Bucket::new(self.host, &self.name)
    }

    /// A second place, beside the first one.
    pub fn second_bucket(&self) -> Bucket {
        Bucket::new(self.host, &format!("{}-copies", self.name))
    }

    /// `dokku pgbackup:COMMAND NAME WORDS…`, ready to run.
    pub fn call(&self, command: &str, words: &[&str]) -> Call {
        let command = format!("pgbackup:{command}");
        let mut all = vec![command.as_str(), self.name.as_str()];
        all.extend(words);
        self.host.dokku(&all)
    }

    /// The same, run.
    pub fn pgbackup(&self, command: &str, words: &[&str]) -> Run {
        self.call(command, words).run()
    }

    /// Takes a backup; its key.
    #[track_caller]
    pub fn backup(&self) -> String {
        let run = self.host.dokku(&["--quiet", "pgbackup:backup", &self.name]).run().succeeds();
        run.out().trim().to_owned()
    }

    /// A session of the super user in the service's database.
    pub fn client(&self) -> Client {
        self.client_of(&self.database)
    }

    /// The same in another of its databases.
    pub fn client_of(&self, database: &str) -> Client {
        self.try_client(database).unwrap_or_else(|error| panic!("{} can't be reached: {error:?}", self.name))
    }

    /// The same where it may fail: the database is gone, or lets nobody in.
    pub fn try_client(&self, database: &str) -> Result<Client, postgres::Error> {
        postgres::Config::new()
            .host(&self.address.to_string())
            .user("postgres")
            .password(&self.password)
            .dbname(database)
            // A test may give the role a timeout of milliseconds, for others.
            .options("-c statement_timeout=0 -c idle_in_transaction_session_timeout=0")
            .connect(NoTls)
    }

    /// Runs statements in the service's database.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        self.client().batch_execute(statements).unwrap_or_else(|error| panic!("{error:?}\n{statements}"));
    }

    /// The first column of the first row as text; empty for NULL or no row.
    #[track_caller]
    pub fn value(&self, query: &str) -> String {
        self.values(query).into_iter().next().unwrap_or_default()
    }

    /// The first column of every row as text.
    #[track_caller]
    pub fn values(&self, query: &str) -> Vec<String> {
        let messages = self.client().simple_query(query).unwrap_or_else(|error| panic!("{error:?}\n{query}"));
        messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                _ => None,
            })
            .collect()
    }

    /// Rows of a table.
    #[track_caller]
    pub fn rows(&self, table: &str) -> u64 {
        self.value(&format!("SELECT count(*) FROM {table}")).parse().unwrap()
    }

    /// Names of the server's databases, sorted, without the templates and `postgres`.
    pub fn databases(&self) -> Vec<String> {
        let mut client = self.client_of("postgres");
        let rows = client.query("SELECT datname::text FROM pg_database WHERE NOT datistemplate ORDER BY 1", &[]);
        rows.unwrap().iter().map(|row| row.get(0)).filter(|name: &String| name != "postgres").collect()
    }

    /// Makes the service's database anew, with these options of `CREATE DATABASE`.
    pub fn recreate_database(&self, options: &str) {
        let mut client = self.client_of("postgres");
        let name = &self.database;
        client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}")).unwrap();
    }

    /// Runs a script with psql: one statement after the other, each its own transaction.
    #[track_caller]
    pub fn psql(&self, script: &str) {
        let words = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-U", "postgres", "-d", &self.database];
        self.exec(&words).input(script).run().succeeds();
    }

    /// Runs a program in the container, as a person would by hand.
    pub fn exec(&self, words: &[&str]) -> Call {
        let container = self.container();
        let mut all = vec!["container", "exec", "-i", container.as_str()];
        all.extend(words);
        self.host.call("docker", &all)
    }

    /// A plain dump of one of its databases by stock pg_dump, with what belongs to the database itself: two databases of one
    /// server whose plain dumps are equal are equal. (The random word of `\restrict` and the comment at the top go.)
    #[track_caller]
    pub fn plain_dump(&self, database: &str) -> String {
        let run = self.exec(&["pg_dump", "--username=postgres", "--create", "--dbname", database]).run().succeeds();
        let text = String::from_utf8_lossy(&run.bytes).into_owned();
        let kept = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
        text.lines().filter(kept).collect::<Vec<_>>().join("\n")
    }

    /// What [`Self::plain_dump`] says, with the database's name taken out: to compare databases of different names.
    #[track_caller]
    pub fn nameless_dump(&self, database: &str) -> String {
        self.plain_dump(database).replace(database, "DATABASE")
    }

    /// The library's view of the service.
    pub fn running(&self) -> RunningService {
        let name = self.name.parse().unwrap();
        let service = pgbackup::service::Service::find(&self.host.lib_root, &name).unwrap();
        service.running(&super::docker()).unwrap()
    }

    /// What the plugin has written into the service's history, one JSON value for each entry.
    pub fn history(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.host.data_of(&self.name).join("history.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Quicker than postgres:destroy, and the same in the end. A failure here would hide the test's own.
        let _ = self.host.call("docker", &["container", "rm", "--force", "--volumes", &self.container()]).run();
        let _ = fs::remove_dir_all(self.host.lib_root.join("services/postgres").join(&self.name));
        let _ = fs::remove_dir_all(self.host.lib_root.join("config/pgbackup").join(&self.name));
        let _ = fs::remove_dir_all(self.host.data_of(&self.name));
    }
}
