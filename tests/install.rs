//! `install`, `update` and `uninstall`, in a folder of their own: every way to an executable, and what happens without one.
//! Docker is a small program of the test; nothing is built or downloaded from elsewhere.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// What passes for the executable: it says that it is this version, and what it is called for.
fn executable(version: &str, mark: &str) -> String {
    format!("#!/bin/sh\n# {mark}\n[ \"$1\" = version ] && echo 'pgbackup {version}'\n")
}

struct Plugin {
    folder: tempfile::TempDir,
}

impl Plugin {
    fn new() -> Self {
        let plugin = Self { folder: tempfile::tempdir().unwrap() };
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["install", "update", "uninstall", "plugin.toml", "Cargo.toml", "Cargo.lock", "release.sha256"] {
            fs::create_dir_all(plugin.path("plugin/src")).unwrap();
            fs::copy(repository.join(name), plugin.path("plugin").join(name)).unwrap();
        }
        fs::write(plugin.path("plugin/src/main.rs"), "fn main() {}").unwrap();
        plugin.program("docker", "#!/bin/sh\nexit 1\n");
        plugin
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn installed(&self) -> String {
        fs::read_to_string(self.path("plugin/bin/pgbackup")).unwrap_or_default()
    }

    /// Runs a script of the plugin from another folder, as Dokku does.
    fn run(&self, script: &str, words: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        self.pipe(script, words, environment, "")
    }

    /// The same, with something on its standard input.
    #[expect(clippy::disallowed_methods, reason = "tests run the scripts")]
    fn pipe(&self, script: &str, words: &[&str], environment: &[(&str, &str)], input: &str) -> (i32, String) {
        let mut child = Command::new(self.path("plugin").join(script))
            .args(words)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("DOCKER_BIN", self.path("docker"))
            .env("DOKKU_LIB_ROOT", self.path("lib"))
            .env("DOKKU_SYSTEM_USER", "nobody")
            .env("DOKKU_SYSTEM_GROUP", "nogroup")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn takes_what_is_handed_over_and_keeps_it() {
    let plugin = Plugin::new();
    plugin.program("handed", &executable(VERSION, "handed over"));
    let handed = plugin.path("handed");
    let (code, text) = plugin.run("install", &[], &[("PGBACKUP_BINARY", handed.to_str().unwrap())]);
    assert_eq!(code, 0, "{text}");
    assert!(plugin.installed().contains("handed over"));
    for (folder, mode) in [("lib/config/pgbackup", 0o755), ("lib/data/pgbackup", 0o700)] {
        assert_eq!(fs::metadata(plugin.path(folder)).unwrap().permissions().mode() & 0o777, mode, "{folder}");
    }
    // Dokku runs it again whenever any plugin is installed: nothing is said and nothing done.
    for script in ["install", "update"] {
        assert_eq!(plugin.run(script, &[], &[]), (0, String::new()));
    }
    assert_eq!(fs::read_dir(plugin.path("plugin/bin")).unwrap().count(), 2);
}

#[test]
fn takes_the_real_executable() {
    let plugin = Plugin::new();
    let (code, text) = plugin.run("install", &[], &[("PGBACKUP_BINARY", env!("CARGO_BIN_EXE_pgbackup"))]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(plugin.run("bin/pgbackup", &["version"], &[]), (0, format!("pgbackup {VERSION}\n")));
    assert_eq!(plugin.run("install", &[], &[]), (0, String::new()));
}

#[test]
fn refuses_another_version_and_what_does_not_run() {
    let plugin = Plugin::new();
    plugin.program("other", &executable("9.9.9", ""));
    plugin.program("broken", "no program");
    for name in ["other", "broken", "missing"] {
        let path = plugin.path(name);
        let (code, text) = plugin.run("install", &[], &[("PGBACKUP_BINARY", path.to_str().unwrap())]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(" !     ") && text.contains(name), "{text}");
        assert_eq!(plugin.installed(), "");
    }
}

#[test]
fn builds_in_a_container_when_the_source_is_another() {
    let plugin = Plugin::new();
    plugin.program("handed", &executable(VERSION, "handed over"));
    let handed = plugin.path("handed");
    plugin.run("install", &[], &[("PGBACKUP_BINARY", handed.to_str().unwrap())]);
    fs::write(plugin.path("plugin/src/main.rs"), "fn main() { todo() }").unwrap();
    // Takes the source from its standard input as the real one would, and gives back an executable.
    let docker = format!(
        "#!/bin/sh\n[ $1 = version ] && exit 0\ntar -tf - > {}\necho \"$@\" > {}\ncat {}\n",
        plugin.path("source").display(),
        plugin.path("arguments").display(),
        plugin.path("built").display()
    );
    plugin.program("docker", &docker);
    plugin.program("built", &executable(VERSION, "built"));
    let (code, text) = plugin.run("install", &[], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("Building in a container of rust:"), "{text}");
    assert!(plugin.installed().contains("built"));
    let source = fs::read_to_string(plugin.path("source")).unwrap();
    assert!(
        source.contains("./Cargo.lock") && source.contains("./src/main.rs") && !source.contains("./bin"),
        "{source}"
    );
    assert!(fs::read_to_string(plugin.path("arguments")).unwrap().contains("com.dokku.app-name="));
}

#[test]
fn downloads_only_what_is_pinned() {
    let plugin = Plugin::new();
    #[expect(clippy::disallowed_methods, reason = "the machine's name for itself, as the script asks for it")]
    let architecture = String::from_utf8(Command::new("uname").arg("-m").output().unwrap().stdout).unwrap();
    let name = format!("pgbackup-{}", architecture.trim());
    let release = executable(VERSION, "released");
    fs::create_dir(plugin.path("releases")).unwrap();
    fs::write(plugin.path("releases").join(&name), &release).unwrap();
    let url = format!("file://{}", plugin.path("releases").display());
    let pin = |text: &str| {
        let digest =
            Sha256::digest(text.as_bytes()).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        fs::write(plugin.path("plugin/release.sha256"), format!("# comment\n{digest}  {VERSION}/{name}\n")).unwrap();
    };
    let (code, text) = plugin.run("install", &[], &[("PGBACKUP_RELEASE_URL", &url)]);
    assert_eq!((code, text.contains("Downloading")), (1, false), "{text}");
    pin("another");
    let (code, text) = plugin.run("install", &[], &[("PGBACKUP_RELEASE_URL", &url)]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("its SHA-256 differs") && plugin.installed().is_empty(), "{text}");
    pin(&release);
    let (code, text) = plugin.run("install", &[], &[("PGBACKUP_RELEASE_URL", &url)]);
    assert_eq!(code, 0, "{text}");
    assert!(plugin.installed().contains("released"));
}

#[test]
fn says_what_to_do_when_nothing_works() {
    let plugin = Plugin::new();
    let (code, text) = plugin.run("install", &[], &[]);
    assert_eq!(code, 1);
    assert!(text.contains("pgbackup has no executable") && text.contains("PGBACKUP_BINARY="), "{text}");
}

#[test]
fn uninstall_leaves_the_history_and_other_plugins_alone() {
    let plugin = Plugin::new();
    for folder in ["lib/config/pgbackup/prod", "lib/data/pgbackup/prod", "lib/config/other"] {
        fs::create_dir_all(plugin.path(folder)).unwrap();
    }
    fs::write(plugin.path("lib/config/pgbackup/prod/secret-access-key"), "secret").unwrap();
    assert_eq!(plugin.run("uninstall", &["other"], &[]), (0, String::new()));
    assert!(plugin.path("lib/config/pgbackup/prod").exists());
    let (code, text) = plugin.run("uninstall", &["pgbackup"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(!plugin.path("lib/config/pgbackup").exists() && plugin.path("lib/data/pgbackup/prod").exists());
    assert!(text.contains("The history, holds, certificates and the keys that sign backups stay in"), "{text}");
    plugin.run("uninstall", &["pgbackup"], &[("PGBACKUP_PURGE", "1")]);
    assert!(!plugin.path("lib/data/pgbackup").exists() && plugin.path("lib/config/other").exists());
}

#[test]
fn a_passphrase_outlives_the_plugin() {
    let plugin = Plugin::new();
    let binary = [("PGBACKUP_BINARY", env!("CARGO_BIN_EXE_pgbackup"))];
    plugin.run("install", &[], &binary);
    let words = ["encryption", "--global", "--passphrase"];
    let (code, text) = plugin.pipe("bin/pgbackup", &words, &[], "correct horse battery staple\n");
    assert_eq!(code, 0, "{text}");
    plugin.run("bin/pgbackup", &["set", "--global", "region", "eu-central-1"], &[]);
    let settings = plugin.path("lib/config/pgbackup/--global");
    let kept = fs::read_to_string(settings.join("encryption")).unwrap();
    let (code, text) = plugin.run("uninstall", &["pgbackup"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("Passphrases and public keys of encrypted backups stay in"), "{text}");
    assert!(!settings.join("region").exists());
    // Another executable in its place finds it again.
    fs::remove_dir_all(plugin.path("plugin/bin")).unwrap();
    plugin.run("install", &[], &binary);
    let (code, text) = plugin.run("bin/pgbackup", &["encryption", "--global"], &[]);
    assert!(code == 0 && text.contains("passphrase"), "{text}");
    assert_eq!(fs::read_to_string(settings.join("encryption")).unwrap(), kept);
    let (code, text) = plugin.run("uninstall", &["pgbackup"], &[("PGBACKUP_PURGE", "1")]);
    assert!(code == 0 && text.contains("Removed settings, keys of stores, passphrases"), "{text}");
    assert!(!plugin.path("lib/config/pgbackup").exists() && !plugin.path("lib/data/pgbackup").exists());
}

/// Somebody who sits at a terminal is asked before anything goes for good; a script has said it already.
#[test]
fn a_purge_is_asked_about_at_a_terminal() {
    let plugin = Plugin::new();
    let secret = plugin.path("lib/config/pgbackup/prod/encryption");
    fs::create_dir_all(secret.parent().unwrap()).unwrap();
    fs::create_dir_all(plugin.path("lib/data/pgbackup/prod")).unwrap();
    fs::write(&secret, "passphrase\nx").unwrap();
    plugin.program("terminal", "#!/bin/sh\nexec script -qec \"$1 pgbackup\" /dev/null\n");
    let uninstall = plugin.path("plugin/uninstall");
    let words = [uninstall.to_str().unwrap()];
    for answer in ["y\n", "\n", "\u{4}"] {
        let (code, text) = plugin.pipe("../terminal", &words, &[("PGBACKUP_PURGE", "1")], answer);
        assert!(code == 1 && text.contains("can never be read again"), "{text}");
        assert!(text.contains("Nothing was removed") && secret.exists(), "{text}");
    }
    let (code, text) = plugin.pipe("../terminal", &words, &[("PGBACKUP_PURGE", "1")], "pgbackup\n");
    assert!(code == 0 && !secret.exists() && !plugin.path("lib/data/pgbackup").exists(), "{text}");
}
