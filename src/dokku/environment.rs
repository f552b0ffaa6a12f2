//! The environment that Dokku sets for its plugins, read once.
//!
//! Nothing else reads variables (a lint holds it), so what a run depends on stands here, with Dokku's own defaults for
//! calls from outside Dokku. Dokku takes `--quiet`, `--trace`, `--force` and `--app` out of its command line when they
//! stand before the command and only sets variables; written after it they reach us both ways.

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::tz::TimeZone;

/// Dokku's exit code for "not a command of mine".
const NOT_IMPLEMENTED: u8 = 10;

/// What Dokku tells a plugin.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each one variable")]
pub struct Environment {
    /// `DOKKU_ROOT`: home of user dokku, one folder per app.
    pub dokku_root: PathBuf,
    /// `DOKKU_LIB_ROOT`: plugins, services, properties.
    pub lib_root: PathBuf,
    /// `PLUGIN_PATH`.
    pub plugin_path: PathBuf,
    /// `PLUGIN_ENABLED_PATH`: where another plugin's files are called.
    pub plugin_enabled_path: PathBuf,
    /// `PLUGIN_AVAILABLE_PATH`.
    pub plugin_available_path: PathBuf,
    /// `PLUGIN_CORE_AVAILABLE_PATH`.
    pub plugin_core_available_path: PathBuf,
    /// `DOCKER_BIN`: the docker client; Dokku lets a host replace it.
    pub docker_bin: PathBuf,
    /// `DOKKU_QUIET_OUTPUT` is set to anything, or `--quiet`.
    pub quiet: bool,
    /// `DOKKU_TRACE` is 1, or `--trace`.
    pub trace: bool,
    /// `DOKKU_APPS_FORCE_DELETE` is set to anything, or `--force`: ask nothing.
    pub force: bool,
    /// `DOKKU_APP_NAME`, or `--app`.
    pub app: Option<String>,
    /// `SSH_USER`: the user who called Dokku (root on the host, dokku over ssh).
    pub ssh_user: String,
    /// `SSH_NAME`: the name of the ssh key, `default` on the host.
    pub ssh_name: String,
    /// `DOKKU_SYSTEM_USER`.
    pub system_user: String,
    /// `DOKKU_SYSTEM_GROUP`.
    pub system_group: String,
    /// `DOKKU_NOT_IMPLEMENTED_EXIT`.
    pub not_implemented_exit: u8,
    /// `DOKKU_LOGS_DIR`: where cron's output goes.
    pub logs_folder: PathBuf,
    /// `PGBACKUP_EVENT` is set: a plugin that was told of an event of ours calls us. It is not told of what comes of that, or two of
    /// them could go round in circles.
    pub in_event: bool,
}

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads variables from anywhere; one that is empty counts as not set.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str, default: PathBuf| get(name).map_or(default, PathBuf::from);
        let lib_root = path("DOKKU_LIB_ROOT", "/var/lib/dokku".into());
        let plugin_path = path("PLUGIN_PATH", lib_root.join("plugins"));
        let core_path = path("PLUGIN_CORE_PATH", lib_root.join("core-plugins"));
        Self {
            dokku_root: path("DOKKU_ROOT", "/home/dokku".into()),
            plugin_enabled_path: path("PLUGIN_ENABLED_PATH", plugin_path.join("enabled")),
            plugin_available_path: path("PLUGIN_AVAILABLE_PATH", plugin_path.join("available")),
            plugin_core_available_path: path("PLUGIN_CORE_AVAILABLE_PATH", core_path.join("available")),
            docker_bin: path("DOCKER_BIN", "docker".into()),
            quiet: get("DOKKU_QUIET_OUTPUT").is_some(),
            trace: text("DOKKU_TRACE").as_deref() == Some("1"),
            force: get("DOKKU_APPS_FORCE_DELETE").is_some(),
            app: text("DOKKU_APP_NAME"),
            ssh_user: text("SSH_USER").unwrap_or_else(|| "dokku".to_owned()),
            ssh_name: text("SSH_NAME").unwrap_or_else(|| "default".to_owned()),
            system_user: text("DOKKU_SYSTEM_USER").unwrap_or_else(|| "dokku".to_owned()),
            system_group: text("DOKKU_SYSTEM_GROUP").unwrap_or_else(|| "dokku".to_owned()),
            not_implemented_exit: text("DOKKU_NOT_IMPLEMENTED_EXIT")
                .and_then(|code| code.parse().ok())
                .unwrap_or(NOT_IMPLEMENTED),
            logs_folder: path("DOKKU_LOGS_DIR", "/var/log/dokku".into()),
            in_event: get("PGBACKUP_EVENT").is_some(),
            lib_root,
            plugin_path,
        }
    }

    /// Whether Dokku was called over ssh and not on the host.
    pub fn is_over_ssh(&self) -> bool {
        self.ssh_name != "default"
    }

    /// Where properties are kept: `$DOKKU_LIB_ROOT/config/pgbackup`.
    pub fn config_folder(&self) -> PathBuf {
        self.lib_root.join("config/pgbackup")
    }

    /// Where history, journals and locks are kept: `$DOKKU_LIB_ROOT/data/pgbackup`.
    pub fn data_folder(&self) -> PathBuf {
        self.lib_root.join("data/pgbackup")
    }

    /// Where dokku-postgres keeps its services: `$DOKKU_LIB_ROOT/services/postgres`.
    pub fn services_folder(&self) -> PathBuf {
        self.lib_root.join("services/postgres")
    }

    /// The time zone of this host, which is cron's. UTC where none is set, as the system has it then.
    pub fn time_zone(&self) -> TimeZone {
        const LOCAL: &str = "/etc/localtime";
        let name = std::fs::canonicalize(LOCAL).ok().and_then(|path| {
            path.to_str()?.split_once("/zoneinfo/").map(|(_, name)| name.trim_start_matches("posix/").to_owned())
        });
        let name = name.as_deref().unwrap_or("local");
        std::fs::read(LOCAL).ok().and_then(|rules| TimeZone::tzif(name, &rules).ok()).unwrap_or(TimeZone::UTC)
    }

    /// The host's name, as Dokku knows it, else as the kernel does; for the manifest.
    pub fn host_name(&self) -> String {
        [self.dokku_root.join("HOSTNAME"), PathBuf::from("/proc/sys/kernel/hostname")]
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .map(|text| text.trim().to_owned())
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| "localhost".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_dokkus_defaults() {
        let environment = Environment::from_lookup(|_| None);
        assert_eq!(environment.dokku_root, PathBuf::from("/home/dokku"));
        assert_eq!(environment.config_folder(), PathBuf::from("/var/lib/dokku/config/pgbackup"));
        assert_eq!(environment.data_folder(), PathBuf::from("/var/lib/dokku/data/pgbackup"));
        assert_eq!(environment.plugin_enabled_path, PathBuf::from("/var/lib/dokku/plugins/enabled"));
        assert_eq!(environment.plugin_core_available_path, PathBuf::from("/var/lib/dokku/core-plugins/available"));
        assert_eq!(environment.not_implemented_exit, 10);
        assert!(!environment.quiet && !environment.trace && !environment.force);
    }

    #[test]
    fn takes_what_dokku_sets() {
        let environment = Environment::from_lookup(|name| match name {
            "DOKKU_LIB_ROOT" => Some("/srv/dokku".into()),
            "DOKKU_QUIET_OUTPUT" | "DOKKU_TRACE" | "DOKKU_APPS_FORCE_DELETE" => Some("1".into()),
            "DOKKU_APP_NAME" => Some("web".into()),
            "DOCKER_BIN" => Some("".into()),
            _ => None,
        });
        assert_eq!(environment.services_folder(), PathBuf::from("/srv/dokku/services/postgres"));
        assert_eq!(environment.docker_bin, PathBuf::from("docker"));
        assert_eq!(environment.app.as_deref(), Some("web"));
        assert!(environment.quiet && environment.trace && environment.force);
    }
}
