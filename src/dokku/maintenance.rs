//! Maintenance mode of the apps that use a database, where the plugin dokku-maintenance is installed.
//!
//! Its subcommand files are run (`maintenance:enable`, `:disable`, `:report`), as one plugin may call another. Apps that
//! were in maintenance before stay in it; the others are put back whatever happens, and a failure to do so is told aloud,
//! since an app that stays in maintenance without a word is an outage of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::docker::run_plugin_command;
use crate::step::step;

/// How often `disable` is tried: nginx refuses to reload for a moment when another plugin is writing its files.
const TRIES: usize = 3;
/// The time between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// The plugin dokku-maintenance.
#[derive(Debug, Clone)]
pub struct Maintenance {
    subcommands: PathBuf,
    pause: Duration,
}

/// What the apps of a service are in, before anything is changed.
#[derive(Debug, Default)]
pub struct Survey {
    /// Apps that serve: they will be put into maintenance, and taken out of it again. Record them before.
    pub off: Vec<String>,
    /// Apps that are in maintenance already, and stay in it.
    pub on: Vec<String>,
    /// Apps that can't be asked (one was deleted and is still in the service's `LINKS`), with the reason.
    pub unknown: Vec<(String, anyhow::Error)>,
}

/// An app that could not be taken out of maintenance.
#[derive(Debug)]
pub struct StillOn {
    /// The app.
    pub app: String,
    /// Why.
    pub error: anyhow::Error,
}

impl StillOn {
    /// What the user must know: a sentence, and what to type.
    pub fn warning(&self) -> (String, String) {
        (
            format!("The app {} may still be in maintenance: {:#}", self.app, self.error),
            format!("dokku maintenance:disable {0} && dokku proxy:build-config {0}", self.app),
        )
    }
}

impl Maintenance {
    /// The plugin below `$PLUGIN_ENABLED_PATH`; `None` when it is not installed or not enabled.
    pub fn find(enabled_path: &Path) -> Option<Self> {
        let subcommands = enabled_path.join("maintenance").join("subcommands");
        let there = ["enable", "disable", "report"].iter().all(|name| {
            std::fs::metadata(subcommands.join(name))
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        });
        there.then_some(Self { subcommands, pause: PAUSE })
    }

    /// Whether an app is in maintenance.
    ///
    /// # Errors
    /// When the plugin can't say: there is no such app, for one.
    pub fn is_on(&self, app: &str) -> Result<bool> {
        // Older versions know no --format; in newer ones it needs jq.
        let json = self.run("report", &[app, "--format", "json"]).ok().and_then(|text| enabled_in_json(&text));
        if let Some(enabled) = json {
            return Ok(enabled);
        }
        let text = self.run("report", &[app, "--maintenance-enabled"])?;
        match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => {
                Err(anyhow!("maintenance:report {app} says neither true nor false: {}", crate::text::printable(other)))
            }
        }
    }

    /// Puts an app into maintenance.
    ///
    /// # Errors
    /// When the plugin fails, or the app is not in maintenance afterwards.
    pub fn enable(&self, app: &str) -> Result<()> {
        self.run("enable", &[app])?;
        if !self.is_on(app)? {
            bail!("maintenance:enable {app} ended well, but the app is not in maintenance");
        }
        Ok(())
    }

    /// Takes an app out of maintenance, trying more than once.
    ///
    /// # Errors
    /// When the plugin fails, or the app is still in maintenance afterwards.
    pub fn disable(&self, app: &str) -> Result<()> {
        let mut tries = 1;
        loop {
            let result = self.disable_once(app);
            let Err(error) = result else { return Ok(()) };
            if tries == TRIES {
                return Err(error);
            }
            tries += 1;
            std::thread::sleep(self.pause);
            // It removes its file before it reloads nginx. When the reload failed, another disable would find nothing to
            // do and call it well while nginx goes on with what it has: so it is put on again first.
            if matches!(self.is_on(app), Ok(false)) {
                let _ = self.run("enable", &[app]);
            }
        }
    }

    /// Asks after the apps, changing nothing.
    pub fn survey(&self, apps: &[String]) -> Survey {
        let mut survey = Survey::default();
        for app in apps {
            match self.is_on(app) {
                Ok(true) => survey.on.push(app.clone()),
                Ok(false) => survey.off.push(app.clone()),
                Err(error) => survey.unknown.push((app.clone(), error)),
            }
        }
        survey
    }

    /// Puts apps into maintenance that were not ([`Survey::off`]) until the guard is left or dropped. `warn` is told, at a
    /// drop, which apps could not be put back: a sentence, and what to type.
    ///
    /// # Errors
    /// When one of them can't be put into maintenance; those that were are put back then.
    pub fn enter(&self, apps: &[String], warn: impl Fn(&str, &str) + Send + 'static) -> Result<InMaintenance> {
        let mut entered = InMaintenance { maintenance: self.clone(), apps: Vec::new(), warn: Box::new(warn) };
        for app in apps {
            // First: one that fails half way must be put back as well.
            entered.apps.push(app.clone());
            step!("maintenance.enters");
            self.enable(app).with_context(|| format!("The app {app} can't be put into maintenance"))?;
            step!("maintenance.entered");
        }
        Ok(entered)
    }

    /// The guard for apps that an interrupted run has left in maintenance (its journal names them).
    pub fn resume(&self, apps: &[String], warn: impl Fn(&str, &str) + Send + 'static) -> InMaintenance {
        InMaintenance { maintenance: self.clone(), apps: apps.to_vec(), warn: Box::new(warn) }
    }

    fn disable_once(&self, app: &str) -> Result<()> {
        self.run("disable", &[app])?;
        if self.is_on(app)? {
            bail!("maintenance:disable {app} ended well, but the app is still in maintenance");
        }
        Ok(())
    }

    fn run(&self, subcommand: &str, arguments: &[&str]) -> Result<String> {
        let name = format!("maintenance:{subcommand}");
        let mut all = vec![name.as_str()];
        all.extend(arguments);
        run_plugin_command(&self.subcommands.join(subcommand), &all).with_context(|| format!("{name} failed"))
    }
}

/// Takes a sentence and what to type.
type Warn = Box<dyn Fn(&str, &str) + Send>;

/// Apps that are in maintenance because of us.
pub struct InMaintenance {
    maintenance: Maintenance,
    apps: Vec<String>,
    warn: Warn,
}

impl InMaintenance {
    /// The apps that will be put back.
    pub fn apps(&self) -> &[String] {
        &self.apps
    }

    /// Some are called otherwise by now.
    pub fn now_called(&mut self, apps: Vec<String>) {
        self.apps = apps;
    }

    /// Takes them out of maintenance, each of them whatever becomes of the others.
    ///
    /// # Errors
    /// The apps that may still be in it.
    pub fn leave(mut self) -> Result<(), Vec<StillOn>> {
        let failed = self.put_back();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn put_back(&mut self) -> Vec<StillOn> {
        let mut failed = Vec::new();
        for app in std::mem::take(&mut self.apps) {
            if let Err(error) = self.maintenance.disable(&app) {
                failed.push(StillOn { app, error });
            }
        }
        failed
    }
}

impl Drop for InMaintenance {
    fn drop(&mut self) {
        for failed in self.put_back() {
            let (sentence, next) = failed.warning();
            (self.warn)(&sentence, &next);
        }
    }
}

impl std::fmt::Debug for InMaintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMaintenance").field("apps", &self.apps).finish_non_exhaustive()
    }
}

/// `{"enabled":"false",…}`, all values being texts.
fn enabled_in_json(text: &str) -> Option<bool> {
    #[derive(serde::Deserialize)]
    struct Report {
        enabled: String,
    }
    let report: Report = serde_json::from_str(text.trim()).ok()?;
    report.enabled.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The plugin as far as we use it: a file per app that is in maintenance, `exists-<app>` for apps, `break-<subcommand>`
    /// to make one fail that often, `log` for what was called.
    const PLUGIN: &str = r#"#!/bin/sh
cd "$(dirname "$0")/../state" || exit 1
name=$1; app=$2
echo "$* $DOKKU_APP_NAME" >> log
[ -e "exists-$app" ] || { echo " !     App $app does not exist" >&2; exit 20; }
sub=${name#maintenance:}
broken=$(cat "break-$sub" 2>/dev/null || echo 0)
if [ "$broken" -gt 0 ]; then
  echo $((broken - 1)) > "break-$sub"
  [ "$sub" = disable ] && rm -f "on-$app"
  echo " !     nginx can't be reloaded" >&2
  exit 1
fi
case $sub in
  enable) touch "on-$app" ;;
  disable) rm -f "on-$app" ;;
  report)
    [ -e "on-$app" ] && on=true || on=false
    case "$3" in
      --format) [ -e old ] && { echo 'Invalid flag passed' >&2; exit 1; }; echo "{\"enabled\":\"$on\",\"custom-page-sha256\":\"\"}" ;;
      *) echo $on ;;
    esac ;;
esac
"#;

    struct Plugin {
        folder: tempfile::TempDir,
        maintenance: Maintenance,
    }

    impl Plugin {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let subcommands = folder.path().join("maintenance/subcommands");
            fs::create_dir_all(&subcommands).unwrap();
            fs::create_dir_all(folder.path().join("maintenance/state")).unwrap();
            assert!(Maintenance::find(folder.path()).is_none());
            for name in ["enable", "disable", "report"] {
                fs::write(subcommands.join(name), PLUGIN).unwrap();
                assert!(Maintenance::find(folder.path()).is_none(), "not executable yet");
                fs::set_permissions(subcommands.join(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let mut maintenance = Maintenance::find(folder.path()).unwrap();
            maintenance.pause = Duration::from_millis(1);
            let plugin = Self { folder, maintenance };
            for app in ["web", "admin", "shop"] {
                plugin.put(&format!("exists-{app}"), "");
            }
            plugin
        }

        fn state(&self, name: &str) -> PathBuf {
            self.folder.path().join("maintenance/state").join(name)
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.state(name), text).unwrap();
        }

        fn on(&self) -> Vec<String> {
            let mut on: Vec<String> = fs::read_dir(self.state(""))
                .unwrap()
                .filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().strip_prefix("on-").map(str::to_owned))
                .collect();
            on.sort();
            on
        }
    }

    fn apps(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn quiet(_: &str, _: &str) {}

    #[test]
    fn puts_back_exactly_what_was() {
        for old in [false, true] {
            let plugin = Plugin::new();
            if old {
                plugin.put("old", "");
            }
            plugin.put("on-admin", "");
            let survey = plugin.maintenance.survey(&apps(&["admin", "web", "gone", "shop"]));
            assert_eq!((survey.off.clone(), survey.on), (apps(&["web", "shop"]), apps(&["admin"])));
            assert_eq!(survey.unknown[0].0, "gone");
            assert!(format!("{:#}", survey.unknown[0].1).contains("App gone does not exist"));
            let guard = plugin.maintenance.enter(&survey.off, quiet).unwrap();
            assert_eq!(plugin.on(), ["admin", "shop", "web"]);
            guard.leave().unwrap();
            assert_eq!(plugin.on(), ["admin"]);
            // With --app in front of our command Dokku sets DOKKU_APP_NAME, which maintenance:enable would obey.
            let log = fs::read_to_string(plugin.state("log")).unwrap();
            assert!(log.contains("maintenance:enable web \n"), "{log}");
        }
    }

    #[test]
    fn a_drop_puts_back_too() {
        let plugin = Plugin::new();
        drop(plugin.maintenance.enter(&apps(&["web"]), quiet).unwrap());
        assert_eq!(plugin.on(), [""; 0]);
        plugin.put("on-web", "");
        drop(plugin.maintenance.resume(&apps(&["web"]), quiet));
        assert_eq!(plugin.on(), [""; 0]);
    }

    #[test]
    fn an_enable_that_fails_takes_the_others_back() {
        let plugin = Plugin::new();
        let error = plugin.maintenance.enter(&apps(&["web", "gone"]), quiet).unwrap_err();
        assert!(format!("{error:#}").contains("The app gone can't be put into maintenance"), "{error:#}");
        assert_eq!(plugin.on(), [""; 0]);
    }

    #[test]
    fn a_disable_that_fails_is_tried_again_and_its_reload_too() {
        let plugin = Plugin::new();
        let guard = plugin.maintenance.enter(&apps(&["web"]), quiet).unwrap();
        plugin.put("break-disable", "2");
        guard.leave().unwrap();
        let log = fs::read_to_string(plugin.state("log")).unwrap();
        assert_eq!(log.matches("maintenance:enable web").count(), 3, "on again before each further try: {log}");
        assert_eq!(plugin.on(), [""; 0]);
    }

    #[test]
    fn what_stays_on_is_told_aloud() {
        let plugin = Plugin::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let guard = {
            let told = Arc::clone(&told);
            let warn = move |sentence: &str, next: &str| told.lock().unwrap().push(format!("{sentence} | {next}"));
            plugin.maintenance.enter(&apps(&["web", "shop"]), warn).unwrap()
        };
        plugin.put("break-disable", "3");
        drop(guard);
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "the other app was put back");
        assert!(told[0].contains("The app web may still be in maintenance"), "{}", told[0]);
        assert!(told[0].contains("nginx can't be reloaded"), "{}", told[0]);
        assert!(told[0].contains("dokku maintenance:disable web"), "{}", told[0]);
        drop(told);

        let guard = plugin.maintenance.resume(&apps(&["web"]), quiet);
        plugin.put("break-disable", "3");
        assert_eq!(guard.leave().unwrap_err()[0].app, "web");
    }
}
