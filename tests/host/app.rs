//! An app of the host: linked to a service, put into maintenance.

use super::{Host, Service};

/// An app that is gone when this is dropped.
#[derive(Debug)]
pub struct App {
    host: &'static Host,
    /// Its name.
    pub name: String,
}

impl App {
    pub(super) fn create(host: &'static Host, name: &str) -> Self {
        host.dokku(&["apps:create", name]).run().succeeds();
        Self { host, name: name.to_owned() }
    }

    /// Links it to a service.
    pub fn link(&self, service: &Service) {
        self.host.dokku(&["postgres:link", &service.name, &self.name]).run().succeeds();
    }

    /// Whether it is in maintenance mode.
    pub fn in_maintenance(&self) -> bool {
        let run = self.host.dokku(&["maintenance:report", &self.name, "--maintenance-enabled"]).run().succeeds();
        run.out().trim() == "true"
    }

    /// Puts it into maintenance mode, or takes it out.
    pub fn set_maintenance(&self, on: bool) {
        let command = if on { "maintenance:enable" } else { "maintenance:disable" };
        self.host.dokku(&[command, &self.name]).run().succeeds();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A link that is left is unlinked as the app goes; a failure here would hide the test's own.
        let _ = self.host.dokku(&["--force", "apps:destroy", &self.name]).run();
    }
}
