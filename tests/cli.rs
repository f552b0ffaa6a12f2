//! The shell around everything: how Dokku calls us and what a user reads. Runs the executable behind its links, in a Dokku
//! library folder of its own; nothing here needs docker.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use pgbackup::cli;
use pgbackup::settings::PROPERTIES;

/// A Dokku library folder with the plugin in it.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().unwrap() };
        let plugin = host.plugin();
        fs::create_dir_all(plugin.join("subcommands")).unwrap();
        fs::create_dir(plugin.join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_pgbackup"), plugin.join("bin/pgbackup")).unwrap();
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        for link in links("subcommands") {
            symlink(
                fs::read_link(repository.join("subcommands").join(&link)).unwrap(),
                plugin.join("subcommands").join(&link),
            )
            .unwrap();
        }
        for link in ["commands"].into_iter().chain(pgbackup::triggers::NAMES.iter().copied()) {
            symlink(fs::read_link(repository.join(link)).unwrap(), plugin.join(link)).unwrap();
        }
        host
    }

    fn plugin(&self) -> PathBuf {
        self.folder.path().join("plugins/enabled/pgbackup")
    }

    fn service(&self, name: &str, apps: &str) {
        let root = self.folder.path().join("services/postgres").join(name);
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("PASSWORD"), "secret").unwrap();
        fs::write(root.join("LINKS"), apps).unwrap();
    }

    fn property(&self, subject: &str, name: &str) -> PathBuf {
        self.folder.path().join("config/pgbackup").join(subject).join(name)
    }

    /// Runs `dokku pgbackup:<command> <words>` as Dokku would.
    fn run(&self, command: &str, words: &[&str]) -> Run {
        let mut all = vec![format!("pgbackup:{command}")];
        all.extend(words.iter().map(ToString::to_string));
        self.call(&format!("subcommands/{command}"), &all, &[], "")
    }

    #[expect(clippy::disallowed_methods, reason = "tests run the executable")]
    fn call(&self, file: &str, words: &[String], environment: &[(&str, &str)], input: &str) -> Run {
        let mut child = Command::new(self.plugin().join(file))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DOKKU_LIB_ROOT", self.folder.path())
            .env("DOKKU_NOT_IMPLEMENTED_EXIT", "10")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    /// Everything that a user would see, and the exit code.
    fn seen(&self) -> String {
        format!("{}{}exit {}", self.out, self.err, self.code)
    }
}

/// The names in a folder of the repository.
fn links(folder: &str) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_command_has_its_link_and_every_link_its_command() {
    let tree = cli::tree();
    let mut names: Vec<_> = tree.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.push("default".to_owned());
    names.sort();
    assert_eq!(links("subcommands"), names);
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for name in names {
        let target = fs::read_link(repository.join("subcommands").join(&name)).unwrap();
        assert_eq!(target, PathBuf::from("../bin/pgbackup"), "{name}");
    }
    for name in ["commands"].iter().chain(pgbackup::triggers::NAMES) {
        assert_eq!(fs::read_link(repository.join(name)).unwrap(), PathBuf::from("bin/pgbackup"), "{name}");
    }
    for name in ["install", "update", "uninstall"] {
        assert_ne!(fs::metadata(repository.join(name)).unwrap().permissions().mode() & 0o111, 0, "{name}");
    }
}

#[test]
fn the_version_has_one_value() {
    let text = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("plugin.toml")).unwrap();
    assert!(text.contains(&format!("version = \"{}\"", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn help_for_one_command() {
    let host = Host::new();
    assert_snapshot!(host.run("help", &["set"]).seen(), @r#"
    Usage: dokku pgbackup:set <service>|--global <property> [<value>]

    Set or clear a property of a service or of all

    Without a value the property is cleared: the global value or the default counts again. See what is
    set with pgbackup:report.

    Arguments:
        <service>   The service, or --global for all services that have no value of their own
        <property>  The name of the property
        <value>     The value; left out or empty it clears the property

    Properties:
        auth                  Whose keys open the store: own (pgbackup:auth), service (postgres:backup-auth), iam (instance role) or auto (the first that is there) (default: auto)
        backup-on-deploy      Whether a linked app's deploy is preceded by a backup; required stops the deploy when that fails (default: off)
        backup-on-destroy     Whether postgres:destroy is preceded by a backup, and stopped when that fails (default: off)
        bandwidth-limit       How fast backups are sent to and read from an S3 store at most
        checksums             Whether uploads carry CRC-32 headers (on) or Content-MD5 (off); auto: what the provider takes (default: auto)
        copy-auth             Whose keys open the store of copy-to: own (pgbackup:auth --copy), service, iam or auto; without it its own where they are set, else those of the destination
        copy-checksums        The property checksums for copy-to
        copy-endpoint-url     Address of the store of copy-to where it is another one than that of the destination
        copy-keep-daily       Keep the newest copy of each of so many days (UTC) in copy-to; without any copy-keep- rule those of the backups count
        copy-keep-hourly      Keep the newest copy of each of so many hours (UTC) in copy-to; without any copy-keep- rule those of the backups count
        copy-keep-last        Keep the newest so many copies in copy-to; without any copy-keep- rule those of the backups count
        copy-keep-monthly     Keep the newest copy of each of so many months (UTC) in copy-to; without any copy-keep- rule those of the backups count
        copy-keep-weekly      Keep the newest copy of each of so many weeks (UTC) in copy-to; without any copy-keep- rule those of the backups count
        copy-keep-yearly      Keep the newest copy of each of so many years (UTC) in copy-to; without any copy-keep- rule those of the backups count
        copy-max-size         Delete the oldest copies of a service when all of them take more than this
        copy-min-age          Never prune a copy younger than this
        copy-object-lock      For how long the store of copy-to keeps a new copy from being deleted
        copy-path-style       The property path-style for copy-to
        copy-provider         Whose store copy-to is in; known by the host name of its copy-endpoint-url
        copy-region           Region of the bucket of copy-to where it is another one
        copy-sse              Encryption of the copies by their store with its own keys
        copy-storage-class    Storage class of the copies
        copy-tags             Tags of the objects of the copies
        copy-to               Second place that each backup is copied to after it was saved
        destination           Where backups go
        drill-max-age         Within which time a restore drill must have passed for pgbackup:status to be content
        endpoint-url          Address of an S3-compatible store other than AWS
        fingerprint           What a restore is compared with: rows of every table (counts), also every object of the schema (schema), also a checksum of the rows of every table and of large objects (content) (default: schema)
        healthcheck-url       Address that is told of each backup's start and end, for a watchman such as healthchecks.io that cries when none comes
        keep-daily            Keep the newest backup of each of so many days (UTC) when pruning
        keep-hourly           Keep the newest backup of each of so many hours (UTC) when pruning
        keep-last             Keep the newest so many backups when pruning
        keep-monthly          Keep the newest backup of each of so many months (UTC) when pruning
        keep-previous         How long the database that a restore replaced stays for pgbackup:rollback (default: 48h)
        keep-weekly           Keep the newest backup of each of so many weeks (UTC) when pruning
        keep-yearly           Keep the newest backup of each of so many years (UTC) when pruning
        maintenance           Whether a restore puts the linked apps into maintenance mode (needs the maintenance plugin) (default: on)
        max-size              Delete the oldest backups of a service when all of them take more than this
        metrics-file          File that is written with metrics of all services after each run, for node_exporter (with --global only)
        min-age               Never prune a backup younger than this
        notify-on             Which events webhooks are told of (plugins and the healthcheck are told of all) (default: failed,suspicious,missed,recovered)
        object-lock           For how long the store keeps a new backup from being deleted (the bucket must have object lock)
        part-concurrency      How many parts are sent to the store at once (default: auto)
        path-style            Whether the bucket stands in the path (on) or in the host name (off); auto: in the path except on AWS (default: auto)
        provider              Whose S3-compatible store it is; auto: known by the host name of the endpoint-url (docs/providers.md) (default: auto)
        prune-after-backup    Whether a backup that succeeded is followed by pgbackup:prune; without a keep- rule or max-size nothing is ever deleted (default: on)
        prune-foreign         Whether backups that dokku-postgres made are counted and deleted like those of pgbackup (default: off)
        region                Region of the bucket
        schedule-concurrency  How many scheduled runs of this host go at once; the others wait (only --global) (default: 1)
        sse                   Encryption by the store with its own keys (SSE-S3 or SSE-KMS)
        storage-class         Storage class of new backups
        suspicious-drop       Mark a backup as suspicious when a table has lost this share of its rows or more since the one before (default: 50%)
        suspicious-ignore     Tables that may lose their rows without a backup being suspicious
        tags                  Tags of the objects of new backups
        webhook-url           Addresses that are told of events: those of Slack, Discord and Teams are known by their hosts, others get JSON

    Examples:

    Say where the backups of lollipop go

        dokku pgbackup:set lollipop destination s3://my-backups

    Use an S3-compatible store for all services

        dokku pgbackup:set --global endpoint-url https://minio.example.com:9000

    Go back to the global value or the default

        dokku pgbackup:set lollipop destination
    exit 0
    "#);
}

#[test]
fn help_is_reached_in_every_way() {
    let host = Host::new();
    let overview = host.run("help", &[]);
    assert_eq!(overview.code, 0);
    assert!(overview.out.starts_with("Usage: dokku pgbackup[:COMMAND]\n\nBack up and restore"), "{}", overview.out);
    assert!(overview.out.contains("\n    pgbackup:set <service>|--global <property> [<value>]  "), "{}", overview.out);
    let bare = host.call("subcommands/default", &["pgbackup".to_owned()], &[], "");
    assert_eq!(bare.out, overview.out);
    let by_commands = host.call("commands", &["pgbackup:help".to_owned()], &[], "");
    assert_eq!(by_commands.out, overview.out);
    let detail = host.run("help", &["report"]);
    assert_eq!(host.run("report", &["--help"]).out, detail.out);
    assert_eq!(host.run("report", &["prod", "-h"]).out, detail.out);
    assert_eq!(host.run("help", &["pgbackup:report"]).out, detail.out);
}

#[test]
fn dokku_help_has_one_line_of_us_and_all_lines_when_asked() {
    let host = Host::new();
    let one = host.call("commands", &["help".to_owned()], &[], "");
    assert_eq!(one.seen(), "    pgbackup, Back up and restore dokku-postgres services\nexit 0");
    // Dokku's `help --all` tells its plugins by its own command line alone.
    #[expect(clippy::disallowed_methods, reason = "tests run the executable")]
    let all = Command::new("/bin/sh")
        .args(["-c", "\"$0\" help; true", host.plugin().join("commands").to_str().unwrap(), "--all"])
        .output()
        .unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    assert_eq!(all.lines().count(), links("subcommands").len() - 1, "{all}");
    assert!(all.lines().all(|line| line.starts_with("    pgbackup:") && line.matches(", ").count() == 1), "{all}");
}

#[test]
fn what_is_not_ours_is_left_to_others() {
    let host = Host::new();
    for name in ["pgbackup:nosuch", "pgbackups", "apps:list", ""] {
        let run = host.call("commands", &[name.to_owned()], &[], "");
        assert_eq!(run.seen(), "exit 10", "{name}");
    }
}

#[test]
fn a_wrong_command_line_is_explained() {
    let host = Host::new();
    host.service("prod", "web\n");
    let seen = |command: &str, words: &[&str]| host.run(command, words).seen();
    assert_snapshot!(seen("set", &[]), @r"
     !     Please specify a valid name for the service
     !     Usage: dokku pgbackup:set <service>|--global <property> [<value>]
     !     More on it with: dokku pgbackup:help set
    exit 2
    ");
    assert_snapshot!(seen("set", &["../../etc", "region", "x"]), @r#"
     !     "../../etc" is not a valid service name, which has letters, digits, _ and - only and begins with no dash
     !     Usage: dokku pgbackup:set <service>|--global <property> [<value>]
     !     More on it with: dokku pgbackup:help set
    exit 2
    "#);
    assert_snapshot!(seen("set", &["prod", "region", "x", "y"]), @r"
     !     The argument y is one too many
     !     Usage: dokku pgbackup:set <service>|--global <property> [<value>]
     !     More on it with: dokku pgbackup:help set
    exit 2
    ");
    assert_snapshot!(seen("set", &["prod", "region", "--nosuch"]), @r"
     !     The flag --nosuch is not known
     !     Usage: dokku pgbackup:set <service>|--global <property> [<value>]
     !     More on it with: dokku pgbackup:help set
    exit 2
    ");
    assert_snapshot!(seen("report", &["prod", "--format", "xml"]), @r#"
     !     "xml" is not valid for --format <FORMAT>, which takes stdout, json
     !     Usage: dokku pgbackup:report [<service>|--global] [<flag>] [--format json]
     !     More on it with: dokku pgbackup:help report
    exit 2
    "#);
    // A flag is never taken for a backup.
    for command in ["restore", "verify"] {
        let run = host.run(command, &["prod", "--nosuch"]);
        assert_eq!((run.code, run.err.lines().next()), (2, Some(" !     The flag --nosuch is not known")));
    }
    assert_snapshot!(seen("help", &["nosuch"]), @r"
     !     pgbackup:nosuch is not a command
     !     See the commands with: dokku pgbackup:help
    exit 2
    ");
    let run = host.call("bin/pgbackup", &["nosuch".to_owned()], &[], "");
    assert_eq!(run.code, 2, "{}", run.err);
}

#[test]
fn set_stores_what_is_valid_and_nothing_else() {
    let host = Host::new();
    host.service("prod", "");
    assert_eq!(
        host.run("set", &["prod", "destination", "s3://sportfin-prod-database-backups"]).seen(),
        "=====> Setting destination to s3://sportfin-prod-database-backups\nexit 0"
    );
    let file = host.property("prod", "destination");
    assert_eq!(fs::read_to_string(&file).unwrap(), "s3://sportfin-prod-database-backups");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_snapshot!(host.run("set", &["prod", "destination", "bucket"]).seen(), @r#"
     !     Invalid value for destination: "bucket" is not a destination, which looks like s3://bucket, s3://bucket/prefix or file:///folder
     !     destination takes s3://bucket, s3://bucket/prefix or file:///folder
    exit 2
    "#);
    assert_snapshot!(host.run("set", &["prod", "nosuch", "x"]).seen(), @r#"
     !     Invalid property specified, valid properties include: auth, backup-on-deploy, backup-on-destroy, bandwidth-limit, checksums, copy-auth, copy-checksums, copy-endpoint-url, copy-keep-daily, copy-keep-hourly, copy-keep-last, copy-keep-monthly, copy-keep-weekly, copy-keep-yearly, copy-max-size, copy-min-age, copy-object-lock, copy-path-style, copy-provider, copy-region, copy-sse, copy-storage-class, copy-tags, copy-to, destination, drill-max-age, endpoint-url, fingerprint, healthcheck-url, keep-daily, keep-hourly, keep-last, keep-monthly, keep-previous, keep-weekly, keep-yearly, maintenance, max-size, metrics-file, min-age, notify-on, object-lock, part-concurrency, path-style, provider, prune-after-backup, prune-foreign, region, schedule-concurrency, sse, storage-class, suspicious-drop, suspicious-ignore, tags, webhook-url
    exit 2
    "#);
    assert_eq!(host.run("set", &["ghost", "region", "x"]).code, 1);
    assert_eq!(
        host.run("set", &["--global", "region", "eu-central-1"]).seen(),
        "=====> Setting region to eu-central-1\nexit 0"
    );
    // Dokku leaves its own flags among the arguments.
    assert_eq!(host.run("set", &["--global", "region", "eu-west-1", "--quiet"]).seen(), "exit 0");
    assert_eq!(fs::read_to_string(host.property("--global", "region")).unwrap(), "eu-west-1");
    assert_eq!(host.run("set", &["prod", "destination"]).seen(), "=====> Unsetting destination\nexit 0");
    assert_eq!(host.run("set", &["prod", "destination", ""]).code, 0);
    assert!(!file.exists());
    let secret = host.run("set", &["prod", "secret-access-key", "x"]);
    assert_eq!(secret.code, 2);
    assert!(secret.err.contains("pgbackup:auth prod"), "{}", secret.err);
}

#[test]
fn keys_come_in_by_standard_input_and_are_never_shown() {
    let host = Host::new();
    host.service("prod", "");
    let words = ["pgbackup:auth".to_owned(), "prod".to_owned(), "AKIA1".to_owned()];
    let run = host.call("subcommands/auth", &words, &[], "top/secret+key\n");
    assert_eq!(run.seen(), "=====> Setting access-key-id to AKIA1\n=====> Setting secret-access-key\nexit 0");
    assert_eq!(fs::read_to_string(host.property("prod", "secret-access-key")).unwrap(), "top/secret+key");
    let mode = fs::metadata(host.property("prod", "secret-access-key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!host.run("report", &["prod"]).out.contains("top/secret"));
    assert_eq!(host.run("report", &["prod", "--pgbackup-access-key-id"]).out, "AKIA1\n");
    let nothing = host.call("subcommands/auth", &words, &[], "");
    assert_eq!(nothing.seen(), " !     Please give the secret access key on standard input\nexit 2");
    // Temporary keys have a token behind the secret.
    let lone = ["pgbackup:auth".to_owned(), "prod".to_owned(), "ASIA1".to_owned()];
    let run = host.call("subcommands/auth", &lone, &[], "secret\ntoken\n");
    assert!(run.err.contains("give it with --session-token"), "{}", run.err);
    let pair = [lone.as_slice(), &["--session-token".to_owned()]].concat();
    let run = host.call("subcommands/auth", &pair, &[], "secret\nto/ken+==\n");
    assert_eq!(
        run.seen(),
        "=====> Setting access-key-id to ASIA1\n=====> Setting secret-access-key\n=====> Setting session-token\nexit 0"
    );
    let file = host.property("prod", "session-token");
    assert_eq!(fs::read_to_string(&file).unwrap(), "to/ken+==");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!host.run("report", &["prod"]).out.contains("to/ken"));
    let run = host.call("subcommands/auth", &pair, &[], "secret\n");
    assert_eq!(run.seen(), " !     Please give the session token on standard input\nexit 2");
    assert_eq!(fs::read_to_string(&file).unwrap(), "to/ken+==", "nothing is half replaced");
    assert_eq!(host.run("set", &["prod", "session-token", "x"]).code, 2);
    // Lasting keys do away with it.
    host.call("subcommands/auth", &words, &[], "top/secret+key\n");
    assert!(!file.exists());
    host.call("subcommands/auth", &pair, &[], "secret\ntoken\n");
    assert_eq!(host.run("auth", &["prod", "--clear"]).code, 0);
    assert!(!host.property("prod", "secret-access-key").exists() && !file.exists());
}

#[test]
fn report_has_dokkus_shape() {
    let host = Host::new();
    host.service("prod", "web\n");
    host.service("testapp", "");
    host.run("set", &["prod", "destination", "s3://own"]);
    host.run("set", &["--global", "destination", "s3://global"]);
    let whole = host.run("report", &["prod"]);
    assert_eq!(whole.code, 0);
    let lines: Vec<_> = whole.out.lines().collect();
    assert_eq!(lines[0], "=====> prod pgbackup information");
    assert_eq!(lines[1], "       Pgbackup access key id:");
    assert!(lines.contains(&"       Pgbackup computed destination:          s3://own"), "{}", whole.out);
    assert!(lines.contains(&"       Pgbackup computed keep previous:        48h"), "{}", whole.out);
    assert!(lines[1..].is_sorted(), "{}", whole.out);
    assert_eq!(host.run("report", &["prod", "--pgbackup-computed-destination"]).seen(), "s3://own\nexit 0");
    assert_eq!(host.run("report", &["testapp", "--pgbackup-computed-destination"]).seen(), "s3://global\nexit 0");
    assert_eq!(host.run("report", &["--pgbackup-destination"]).out, "s3://own\n\n");
    let global = host.run("report", &["--global"]).out;
    assert!(global.starts_with("=====> --global pgbackup information\n"), "{global}");
    assert!(!global.contains("Pgbackup destination") && global.contains("Pgbackup global destination"), "{global}");
    assert_eq!(
        host.run("report", &["prod", "--pgbackup-region", "--pgbackup-destination"]).err,
        " !     pgbackup:report command allows only a single flag\n"
    );
    assert_eq!(
        host.run("report", &["prod", "--pgbackup-region", "--format", "json"]).err,
        " !     --format flag cannot be specified when specifying an info flag\n"
    );
    for words in [&["prod", "--nosuch"][..], &["--nosuch"][..], &["--global", "--pgbackup-region"][..]] {
        let invalid = host.run("report", words);
        assert!(invalid.err.starts_with(" !     Invalid flag passed, valid flags: --pgbackup-"), "{}", invalid.err);
        assert_eq!(invalid.code, 2);
    }
    let json = host.run("report", &["--format", "json"]).out;
    let objects: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["computed-destination"], "s3://own");
    assert_eq!(objects[1]["destination"], "");
    let trigger = host.call("report", &["web".to_owned()], &[], "");
    assert_eq!(trigger.out, whole.out);
    assert_eq!(host.call("report", &["other".to_owned()], &[], "").seen(), "exit 0");
}

#[test]
fn an_app_stands_for_its_service_where_none_is_given() {
    let host = Host::new();
    host.service("prod", "web\n");
    let words = ["pgbackup:auth".to_owned(), "--clear".to_owned()];
    assert_eq!(host.call("subcommands/auth", &words, &[("DOKKU_APP_NAME", "web")], "").code, 0);
    assert_eq!(host.run("auth", &["--clear", "--app", "web"]).code, 0);
    // A service that is given counts more: Dokku's own client adds --app by itself.
    assert_eq!(host.run("auth", &["prod", "--clear", "--app", "other"]).code, 0);
    assert_snapshot!(host.run("auth", &["--clear", "--app", "other"]).seen(), @r"
     !     The app other has no postgres service linked to it
     !     List the services with: dokku postgres:list
    exit 2
    ");
}

/// What is generated is as the commands and settings are: the README's list, and the two pages of reference.
#[test]
fn the_readme_has_the_commands_as_they_are() {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tree = cli::tree();
    let commands = format!("```\n{}```\n", cli::help::readme_commands(&tree));
    let settings = PROPERTIES.iter().fold(
        "| Name | Description | Default |\n| --- | --- | --- |\n".to_owned(),
        |text, property| {
            let default = if property.default.is_empty() { String::new() } else { format!("`{}`", property.default) };
            text + &format!("| `{}` | {} | {default} |\n", property.name, property.help)
        },
    );
    for (page, name, generated) in [
        ("README.md", "commands", commands),
        ("docs/commands.md", "usage", cli::help::reference(&tree)),
        ("docs/settings.md", "settings", settings),
    ] {
        let path = house.join(page);
        let text = fs::read_to_string(&path).unwrap();
        let mut fresh = text.clone();
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
        let from = fresh.find(&begin).unwrap() + begin.len();
        let to = from + fresh[from..].find(&end).unwrap();
        fresh.replace_range(from..to, &generated);
        #[expect(clippy::disallowed_methods, reason = "a switch for whoever changes a command")]
        if std::env::var_os("UPDATE_README").is_some() {
            fs::write(&path, &fresh).unwrap();
        } else {
            assert!(text == fresh, "{page} is stale: UPDATE_README=1 cargo test the_readme_has writes it anew");
        }
    }
}

/// Words of a line as a shell would split them, up to what is a comment, a pipe or a redirection.
pub(crate) fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut quote, mut inside) = (Vec::new(), None, false);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                words.extend((!inside).then(String::new));
                inside = true;
            }
            (None, '#' | '|' | '<' | '>' | '&' | ';' | '`' | '\\') if !inside => break,
            (None, ')') => break,
            (None, ' ') => inside = false,
            _ => {
                words.extend((!inside).then(String::new));
                inside = true;
                words.last_mut().unwrap().push(letter);
            }
        }
    }
    words
}

/// Whoever types what a page shows in an emergency must not be told that there is no such flag.
#[test]
fn every_command_that_the_pages_show_is_understood() {
    let house = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![house.join("README.md")];
    pages.extend(fs::read_dir(house.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(page).unwrap();
        let blocks = text.split("```shell\n").skip(1).filter_map(|rest| rest.split("```").next());
        for line in blocks.flat_map(str::lines) {
            let Some((_, shown)) = line.split_once("pgbackup:") else { continue };
            // The usage of a command is no example of it, and a message no command.
            if shown.contains("<service>") || shown.contains('[') || shown.starts_with(' ') {
                continue;
            }
            let words = words_of(shown).into_iter().map(|word| match word.as_str() {
                "SERVICE" => "lollipop".to_owned(),
                "NEW" => "newpop".to_owned(),
                "BACKUP" => "latest".to_owned(),
                _ => word.replace("-SERVICE-", "-lollipop-"),
            });
            if let Err(error) = cli::tree().try_get_matches_from(words) {
                wrong.push(format!("{}: {line}: {error}", page.display()));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "{count} commands");
}

#[test]
fn addresses_of_webhooks_are_secrets() {
    let host = Host::new();
    host.service("prod", "");
    let url = "https://hooks.slack.com/services/T0/B0/verysecret";
    let set = host.run("set", &["prod", "webhook-url", url]);
    assert_eq!(set.seen(), "=====> Setting webhook-url to slack+https://hooks.slack.com/***\nexit 0");
    let mode = fs::metadata(host.property("prod", "webhook-url")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let words = ["pgbackup:set", "prod", "healthcheck-url", "-"].map(str::to_owned);
    let read = host.call("subcommands/set", &words, &[], "https://hc-ping.com/verysecret\n");
    assert_eq!(read.seen(), "=====> Setting healthcheck-url to https://hc-ping.com/***\nexit 0");
    let stored = fs::read_to_string(host.property("prod", "healthcheck-url")).unwrap();
    assert_eq!(stored, "https://hc-ping.com/verysecret");
    let report = host.run("report", &["prod"]);
    assert!(
        report.out.contains("slack+https://hooks.slack.com/***") && !report.out.contains("verysecret"),
        "{}",
        report.out
    );
    let bad = host.run("set", &["prod", "webhook-url", "hooks.slack.com/verysecret"]);
    assert!(bad.code == 2 && !bad.seen().contains("verysecret"), "{}", bad.seen());
    assert_eq!(host.run("set", &["prod", "metrics-file", "/tmp/x.prom"]).code, 2);
}

#[test]
fn status_shows_services_without_any_backup_too() {
    let host = Host::new();
    host.service("prod", "");
    host.service("testapp", "");
    host.run("set", &["prod", "destination", "s3://bucket"]);
    assert!(host.run("notify:test", &["prod"]).err.starts_with(" !     Nobody is told of events of prod\n"));
    assert_snapshot!(host.run("status", &[]).seen(), @r"
    =====> 2 services: all to look at
    service  state           age  last-backup  size  trend  rows  failed  drill  next-run  now
    prod     NEVER             -  -               -  -         -       0  -      -         -
    testapp  NO-DESTINATION    -  -               -  -         -       0  -      -         -
     !     prod: there is no backup made on this host
     !     testapp: no destination is set: it is not backed up
     !     testapp: there is no backup made on this host
     !     Not all is well with prod, testapp
     !     See what to do for one of them: dokku pgbackup:status SERVICE
    exit 1
    ");
    let one = host.run("status", &["testapp"]).seen();
    assert!(one.contains("Say where to: dokku pgbackup:set testapp destination s3://BUCKET\nexit 1"), "{one}");
    assert_snapshot!(host.run("status", &["prod", "--max-age", "26"]).seen(), @r#"
     !     "26" is not a duration, which looks like 90m, 48h or 7d
     !     Usage: dokku pgbackup:status [<service>] [--max-age AGE] [--remote] [--format FORMAT]
     !     More on it with: dokku pgbackup:help status
    exit 2
    "#);
    let metrics = host.run("status", &["--format", "openmetrics"]);
    assert_eq!(metrics.code, 1);
    check_openmetrics(&metrics.out);
    assert!(
        metrics.out.contains("pgbackup_problem{service=\"testapp\",problem=\"no-destination\"} 1\n"),
        "{}",
        metrics.out
    );
    let nobody = Host::new();
    assert_snapshot!(nobody.run("status", &[]).seen(), @r"
     !     There are no postgres services
    exit 0
    ");
}

/// The rules of OpenMetrics that promtool holds: types first, units as suffixes, no name twice, an end.
fn check_openmetrics(text: &str) {
    let mut families: Vec<&str> = Vec::new();
    let mut series: Vec<&str> = Vec::new();
    let (body, rest) = text.split_once("# EOF\n").expect("the text has an end");
    assert_eq!(rest, "");
    for line in body.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap();
            assert_eq!(kind, "gauge");
            assert!(!families.contains(&name), "{name} stands there twice");
            families.push(name);
        } else if let Some(of) = line.strip_prefix("# UNIT ") {
            let (name, unit) = of.split_once(' ').unwrap();
            assert_eq!(families.last(), Some(&name));
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
        } else if let Some(of) = line.strip_prefix("# HELP ") {
            assert_eq!(families.last(), of.split(' ').next().as_ref());
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert_eq!(families.last(), sample.split('{').next().as_ref(), "{line}");
            assert!(!series.contains(&sample), "{sample} stands there twice");
            series.push(sample);
        }
    }
    assert!(!families.is_empty());
}
