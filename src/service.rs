//! A dokku-postgres service as it lies on disk. Everything known of dokku-postgres's layout is in this folder.
//!
//! The plugin's maintainers are rewriting it; that day this folder changes and nothing else. None of its code is called:
//! only its documented files and its container's name and labels are read.

pub mod arrangement;
pub mod credentials;
pub mod discovery;
pub mod encryption;
pub mod name;
pub mod options;

use std::fmt;
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

/// Where a server is reached from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The container's address on its network.
    Network(IpAddr),
    /// A folder with a socket that leads into a container without a network.
    Socket(PathBuf),
}

impl fmt::Display for Address {
    /// As a host in PostgreSQL's sense, where a path means a socket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Socket(folder) => folder.display().fmt(f),
        }
    }
}

/// A service whose container runs, with what a connection to it needs.
#[derive(Debug, Clone)]
pub struct RunningService {
    /// The service.
    pub service: Service,
    /// Where its server is reached.
    pub address: Address,
    /// The image it runs ("postgres:15.18").
    pub image: String,
}
