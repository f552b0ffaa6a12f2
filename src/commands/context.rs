//! What every command is handed: the environment, docker, the voice, the clock. Passed, never global.

use anyhow::Result;
use jiff::Timestamp;

use crate::docker::Docker;
use crate::dokku::environment::Environment;
use crate::dokku::properties::{Properties, Subject};
use crate::service::Service;
use crate::service::name::ServiceName;
use crate::settings::Settings;
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
    clock: fn() -> Timestamp,
}

impl Context {
    /// The world of this process.
    pub fn new(environment: Environment, ui: Ui) -> Self {
        let docker = Docker::new(&environment.docker_bin);
        Self { environment, docker, ui, clock: Timestamp::now }
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
