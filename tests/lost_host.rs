//! The host is gone. A new one has the bucket and keys that may read it: no history, no settings, no service.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::encryption::Gpg;
use crate::host::{Call, Host, Key, Postgres, Run, Service};

/// A Dokku host on which nothing was ever set or backed up.
pub(crate) struct NewHost {
    host: &'static Host,
    folder: tempfile::TempDir,
}

impl NewHost {
    pub(crate) fn new() -> Self {
        Self { host: Host::get(), folder: tempfile::tempdir().unwrap() }
    }

    /// `pgbackup COMMAND WORDS…` there.
    pub(crate) fn call(&self, command: &str, words: &[&str]) -> Call {
        let all = [&[command], words].concat();
        Host::anywhere(env!("CARGO_BIN_EXE_pgbackup"), &all)
            .env("DOKKU_LIB_ROOT", self.folder.path().to_str().unwrap())
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn run(&self, command: &str, words: &[&str]) -> Run {
        self.call(command, words).run()
    }

    /// Address and keys of the store, for all services: all that a new host is told.
    fn authorize(&self, key: Key) {
        self.run("set", &["--global", "endpoint-url", &self.host.endpoint]).succeeds();
        self.run("set", &["--global", "region", &self.host.region]).succeeds();
        let (id, secret) = key.pair();
        self.call("auth", &["--global", &id]).input(secret).run().succeeds();
    }

    /// Runs a line of `postgres:create`; the service is there then.
    fn create(&self, line: &str) -> Service {
        self.host.call("sh", &["-c", line]).run().succeeds();
        let name = line.split(' ').nth(2).unwrap();
        self.has(name);
        self.host.existing(name)
    }

    /// Gives it a service of the other host.
    pub(crate) fn has(&self, name: &str) {
        let services = self.folder.path().join("services/postgres");
        fs::create_dir_all(&services).unwrap();
        symlink(self.host.lib_root.join("services/postgres").join(name), services.join(name)).unwrap();
    }

    /// Gives it a schedule of that name for all its services, a backup: written as it is kept, since Dokku writes one crontab for all hosts of
    /// a sandbox.
    pub(crate) fn is_scheduled(&self, name: &str) {
        let folder = self.folder.path().join("config/pgbackup/--global");
        fs::create_dir_all(&folder).unwrap();
        let schedule = format!(
            "[{{\"name\":\"{name}\",\"cron\":\"@yearly\",\"task\":\"backup\",\"since\":\"{}\"}}]",
            jiff::Timestamp::now()
        );
        fs::write(folder.join("schedules"), schedule).unwrap();
    }

    /// Runs a line in a shell that has the keys, and `aws` and `docker` on its path, and nothing of pgbackup.
    fn shell(&self, line: &str, environment: &[(&str, &str)]) -> Run {
        let (id, secret) = Key::Reader.pair();
        let call =
            self.host.call("sh", &["-c", line]).env("AWS_ACCESS_KEY_ID", &id).env("AWS_SECRET_ACCESS_KEY", &secret);
        environment.iter().fold(call, |call, (name, value)| call.env(name, value)).run()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data/pgbackup")
    }
}

/// The line below the one that announces it.
fn line_after<'a>(text: &'a str, title: &str) -> &'a str {
    let behind = text.split(title).nth(1).unwrap_or_else(|| panic!("{title} is not in\n{text}"));
    behind.lines().nth(1).unwrap().trim()
}

const CREATE: &str = "Make a service for it on a new host:";
const BY_HAND: &str = "Restore by hand without pgbackup";

const TABLES: &str = "CREATE ROLE shop NOLOGIN;
     CREATE TABLE users AS SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 562) i;
     ALTER TABLE users ADD PRIMARY KEY (id); ALTER TABLE users OWNER TO shop;
     CREATE TABLE orders (id serial PRIMARY KEY, buyer int REFERENCES users);
     INSERT INTO orders (buyer) SELECT 1 + i % 562 FROM generate_series(1, 5000) i";

#[test]
fn a_host_that_is_gone_comes_back_from_its_bucket_alone() {
    let host = Host::get();
    let options =
        ["--config-options", "-c work_mem=8MB -c max_connections=50", "--custom-env", "TZ=UTC;APP_TOKEN=hunter2"];
    let lost = host.service_with("prod", Postgres::V15, &options);
    lost.sql(TABLES);
    let key = lost.backup();
    let sidecar = String::from_utf8(lost.bucket().get(&format!("{key}.manifest.json"))).unwrap();
    assert!(sidecar.contains("custom-env APP_TOKEN") && !sidecar.contains("hunter2"), "{sidecar}");
    lost.pgbackup("verify", &[&key]).succeeds();
    let before = lost.plain_dump(&lost.database);
    let (name, place) = (lost.name.clone(), lost.bucket().url());
    let name = name.as_str();
    drop(lost);

    // Nothing is known, and each step says the next one.
    let new = NewHost::new();
    new.run("list", &[name]).exits(1).says("does not exist");
    new.run("set", &["--global", "endpoint-url", &host.endpoint]).succeeds();
    new.run("list", &[name, "--from", &place])
        .exits(1)
        .says("There are no keys for the store")
        .says("dokku pgbackup:auth --global ACCESS_KEY_ID, or give");
    new.authorize(Key::Reader);
    let listed = new.run("list", &[name, "--from", &place, "--format", "json"]).succeeds().json();
    assert_eq!((&listed[0]["key"], &listed[0]["rows"]), (&key.as_str().into(), &5562.into()));
    // The host that has proven it is gone; what it has said of it is not, though nobody here knows its key.
    assert_eq!((&listed[0]["verified"]["good"], &listed[0]["verified"]["proven"]), (&true.into(), &false.into()));
    new.run("list", &[name, "--from", &place]).succeeds().says("verified:20");
    new.run("info", &[name, &key, "--from", &place]).succeeds().says("good (restored and compared, as nobody");
    new.run("list", &["prud", "--from", &place]).succeeds().says(&format!("There are backups of: {name}"));
    new.run("check", &[name, "latest", "--from", &place]).succeeds().says("2 tables, 5562 rows");
    let file = new.folder.path().join("file.tgz");
    new.run("download", &[name, "latest", file.to_str().unwrap(), "--from", &place]).succeeds();
    assert!(!new.data().join(name).join("history.jsonl").exists(), "what is elsewhere is no history of this host");

    // What a new service must be like, and the way in by stock tools.
    let shown = new.run("info", &[name, "latest", "--from", &place]).succeeds();
    let told = new.run("info", &[name, "latest", "--from", &place, "--format", "json"]).succeeds().json();
    let (shown, create) = (shown.out(), told["create"].as_str().unwrap());
    assert_eq!(
        create
            .replace(name, "NAME")
            .replace(&told["manifest"]["server"]["image"].as_str().unwrap().replace(":15", ""), "IMAGE"),
        "dokku postgres:create NAME --image IMAGE --image-version 15 --config-options '-c work_mem=8MB -c max_connections=50' --custom-env TZ=UTC"
    );
    assert_eq!(line_after(&shown, CREATE), create);
    assert!(shown.contains("(Also given then and not kept since it may be a secret: custom-env APP_TOKEN)"), "{shown}");
    let by_hand = line_after(&shown, BY_HAND);
    assert_eq!(by_hand, told["by_hand"].as_str().unwrap());
    new.run("restore", &[name, "latest", "--from", &place, "--force"])
        .exits(1)
        .says(&format!("Postgres service {name} does not exist"))
        .says(create);

    let service = new.create(create);
    assert_eq!(service.value("SHOW work_mem"), "8MB");
    new.shell(by_hand, &[]).succeeds();
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));
    // A second time it replaces what is there; one that is cut off changes nothing.
    service.sql("DELETE FROM orders; DELETE FROM users");
    let cut = by_hand.replace("tar -xzO backup/export", "tar -xzO backup/export | head -c 40000");
    assert_ne!(new.shell(&cut, &[]).code, 0);
    assert_eq!((service.rows("users"), service.rows("orders")), (0, 0));
    new.shell(by_hand, &[]).succeeds();
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));

    // The safe way: compared, and with what belongs to the database itself.
    service.sql("DROP TABLE orders");
    new.run("verify", &[name, "latest", "--from", &place]).succeeds().says("restores to what was saved");
    new.run("restore", &[name, "--before", "2100-01-01", "--from", &place, "--force"])
        .succeeds()
        .says("has no destination")
        .says("all equal");
    assert_eq!(before, service.plain_dump(&service.database));
    new.run("rollback", &[name, "--force"]).succeeds();
    assert_eq!(service.rows("users"), 562);
    let history = fs::read_to_string(new.data().join(name).join("history.jsonl")).unwrap();
    assert!(history.contains("\"restore\"") && !history.contains("\"verification\""), "{history}");

    // Into a service of another name, said in either way.
    let other = host.service("other", Postgres::V18);
    new.has(&other.name);
    for words in [
        &[other.name.as_str(), "latest", "--service", name][..],
        &[&other.name, &key],
        &[name, "latest", "--to", &other.name],
    ] {
        let words = [words, &["--from", &place, "--force"]].concat();
        new.run("restore", &words).succeeds().says("all equal");
        assert_eq!((other.rows("users"), other.rows("orders")), (562, 5000));
        other.sql("DROP TABLE orders, users");
    }
    new.run("restore", &[&other.name, "latest", "--from", &place, "--force"])
        .exits(4)
        .says(&format!("There are backups of: {name}"))
        .says("--service NAME");
    // As a folder, too, and without a store.
    let folder = new.folder.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::rename(&file, folder.join(&key)).unwrap();
    let folder = format!("file://{}", folder.display());
    let by_hand = new.run("info", &[name, "latest", "--from", &folder, "--format", "json"]).succeeds().json();
    service.sql("DROP TABLE users");
    new.shell(by_hand["by_hand"].as_str().unwrap(), &[]).succeeds();
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));
}

#[test]
fn an_encrypted_backup_comes_back_with_its_passphrase_or_private_key() {
    let host = Host::get();
    let gpg = Gpg::new();
    let (private, public) = gpg.key("ops@example.com", "future-default", "");
    let lost = host.service("prod", Postgres::V18);
    lost.sql(TABLES);
    lost.call("encryption", &["--public-key", "-"]).input(public).run().succeeds();
    let for_key = lost.backup();
    lost.call("encryption", &["--passphrase"]).input("pass * \"phrase\"\n").run().succeeds();
    let key = lost.backup();
    assert!(key.ends_with(".tgz.gpg"));
    let (name, place) = (lost.name.clone(), lost.bucket().url());
    let name = name.as_str();
    drop(lost);

    let new = NewHost::new();
    new.authorize(Key::Reader);
    let shown = new.run("info", &[name, &key, "--from", &place]).succeeds().out();
    let create = line_after(&shown, CREATE);
    assert!(create.starts_with(&format!("dokku postgres:create {name} --image-version 18")), "{create}");
    assert!(shown.contains("named inside the encrypted archive only"), "{shown}");
    let image = format!("--image {} --image-version 18", Host::image());
    let (line, _) = create.split_once("--image-version").unwrap();
    let service = new.create(&format!("{line}{image}"));
    let databases = service.databases();

    // Without the passphrase nothing is touched, and it is said how to give it.
    for (command, more) in [("restore", &["--force"][..]), ("verify", &[]), ("check", &[])] {
        new.run(command, &[&[name, "latest", "--from", &place], more].concat())
            .exits(1)
            .says("encrypted with a passphrase, and none is set")
            .says("--passphrase-file");
    }
    assert_eq!(service.databases(), databases);
    let words = [name, "latest", "--from", place.as_str(), "--passphrase-file", "-", "--force"];
    new.call("restore", &words).input("pass * \"phrase\"\n").run().succeeds().says("all equal");
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));

    // One that only the private key opens, which nobody keeps on a host: from standard input, and by hand from gpg's own keyring.
    service.sql("DROP TABLE orders, users");
    let databases = service.databases();
    new.run("restore", &[name, &for_key, "--from", &place, "--force"])
        .exits(1)
        .says("gpg --export-secret-keys")
        .says("--private-key");
    assert_eq!(service.databases(), databases);
    let words = [name, for_key.as_str(), "--from", place.as_str(), "--private-key", "-", "--force"];
    new.call("restore", &words).input(private).run().succeeds().says("all equal");
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));
    service.sql("DROP TABLE orders, users");
    let shown_of_key = new.run("info", &[name, &for_key, "--from", &place]).succeeds().out();
    new.shell(line_after(&shown_of_key, BY_HAND), &[("GNUPGHOME", gpg.home.path().to_str().unwrap())]).succeeds();
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));

    // By hand: gpg asks for the passphrase; here it has it from its own settings.
    service.sql("DROP TABLE orders, users");
    let home = tempfile::tempdir().unwrap();
    let passphrase = home.path().join("passphrase");
    fs::write(&passphrase, "pass * \"phrase\"\n").unwrap();
    let settings = format!("batch\npinentry-mode loopback\npassphrase-file {}\n", passphrase.display());
    fs::write(home.path().join("gpg.conf"), settings).unwrap();
    let by_hand = line_after(&shown, BY_HAND);
    assert!(by_hand.contains("| gpg --decrypt |"), "{by_hand}");
    new.shell(by_hand, &[("GNUPGHOME", home.path().to_str().unwrap())]).succeeds();
    assert_eq!((service.rows("users"), service.rows("orders")), (562, 5000));
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let host = Host::get();
    let service = host.service("prod", Postgres::V18);
    service.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
    let key = service.backup();
    let (name, place) = (service.name.as_str(), service.bucket().url());
    let place = place.as_str();
    let new = NewHost::new();
    new.authorize(Key::Reader);

    // The command line.
    for (words, why) in [
        (&["latest", "--from", place, "--file", "/tmp/x"][..], "can't be given together"),
        (&["--file", "/tmp/x", "--from", place], "can't be given together"),
        (&["-", "--from", place], "has no --from"),
        (&["https://h/k?X-Amz-Signature=1", "--from", place], "has no --from"),
        (&["latest", "--service", "prod"], "--from"),
        (&["latest", "--from", "bucket"], "is not a destination"),
        (&["--from", place], "Please specify"),
    ] {
        for command in ["restore", "verify", "check"] {
            new.run(command, &[&[name], words].concat()).exits(2).says(why);
        }
    }
    new.run("restore", &[name, "latest", "--from", place, "--service", "a", "--to", "b"])
        .exits(2)
        .says("can't be given together");
    let object = format!("{place}/{key}");
    new.run("info", &[name, "latest", "--from", &object]).exits(2).says(&format!("{key} --from {place}"));

    // The place.
    new.run("list", &[name, "--from", "s3://no-such-bucket-here"]).exits(1).says("no-such-bucket-here");
    let elsewhere = format!("{place}/deeper");
    new.run("list", &[name, "--from", &elsewhere]).succeeds().says("no backup of any service");
    new.run("check", &[name, "latest", "--from", &elsewhere]).exits(4).says("no backup of any service");
    new.run("check", &[name, "latest", "--from", "file:///nowhere/at/all"])
        .exits(1)
        .says("/nowhere/at/all does not exist");
    new.run("check", &["other", &key, "--from", place, "--service", "other"])
        .exits(4)
        .says(&format!("is a backup of the service {name}, not of other"));
    // Without --from a key of another service is still nobody's business.
    let other = host.service("other", Postgres::V18);
    other.pgbackup("restore", &[&key, "--force"]).exits(4).says(&format!("is a backup of the service {name}"));

    // The rights.
    new.authorize(Key::Writer);
    for command in ["list", "info", "check"] {
        let words = if command == "list" { vec![name, "--from", place] } else { vec![name, "latest", "--from", place] };
        let run = new.run(command, &words);
        assert!(run.code == 1 || run.code == 4, "{}", run.code);
        run.says("s3:ListBucket");
    }
    let run = new.run("check", &[name, &key, "--from", place]).exits(1);
    run.says(&format!("s3:GetObject is missing for {place}/{key}")).says("pgbackup:auth").says("--file PATH");
    new.authorize(Key::Nobody);
    new.run("list", &[name, "--from", place]).exits(1).says("pgbackup:auth --global ACCESS_KEY_ID");
    let (id, _) = Key::Reader.pair();
    new.call("auth", &["--global", &id]).input("wrong").run().succeeds();
    new.run("list", &[name, "--from", place])
        .exits(1)
        .says("doesn't fit its access key id")
        .says("pgbackup:auth --global");

    // Nobody is asked where nobody sits, and nothing is done then.
    new.authorize(Key::Reader);
    new.has(name);
    new.run("restore", &[name, "latest", "--from", place]).exits(1).says("no terminal to ask for a confirmation");
    assert_eq!(service.databases(), [service.database.as_str()]);
}
