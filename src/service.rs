//! A dokku-postgres service as it lies on disk. Everything known of dokku-postgres's layout is in this folder.
//!
//! The plugin's maintainers are rewriting it; that day this folder changes and nothing else. None of its code is called:
//! only its documented files and its container's name and labels are read.

pub mod arrangement;
pub mod credentials;
pub mod discovery;
pub mod encryption;
pub mod name;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::secret::Secret;
use crate::service::name::ServiceName;

/// A service that exists on this host.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Its folder: `$DOKKU_LIB_ROOT/services/postgres/<name>`.
    pub root: PathBuf,
    /// `dokku.postgres.<name>`.
    pub container: String,
    /// The database that apps use: what the file `DATABASE_NAME` says (`prod_2` for `prod-2`), else the service's name as it is.
    pub database: String,
    /// Password of the super user `postgres`.
    pub password: Secret,
    /// Apps that are linked (file `LINKS`).
    pub linked_apps: Vec<String>,
}

/// A service whose container runs, with what a connection to it needs.
#[derive(Debug, Clone)]
pub struct RunningService {
    /// The service.
    pub service: Service,
    /// The container's address on its network.
    pub address: IpAddr,
    /// The image it runs ("postgres:15.18").
    pub image: String,
}
