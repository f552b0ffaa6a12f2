//! The host that the suite works on: real PostgreSQL containers, a real S3 server, and a `dokku` that runs the plugin as Dokku does.
//!
//! `make test` makes it and says where it is by environment variables (`sandbox/env`). A test that needs it and doesn't find
//! it fails and says so: a suite that skips quietly proves nothing.
//!
//! ```text
//! let prod = Host::get().service("prod", Postgres::V15);      // fresh, with a destination of its own; gone when dropped
//! prod.sql("CREATE TABLE users AS SELECT generate_series(1, 562) AS id");
//! let key = prod.backup();                                      // dokku --quiet pgbackup:backup prod-t0123abcd
//! assert_eq!(prod.bucket().names(), [key, …]);                  // seen by the AWS command line, not by us
//! assert_snapshot!(prod.pgbackup("restore", &["latest", "--force"]).succeeds().seen(), @"…");
//! ```

pub mod app;
mod aws;
pub mod bucket;
pub mod call;
pub mod process;
pub mod redaction;
pub mod service;

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use app::App;
pub use bucket::Bucket;
pub use call::{Call, Run};
pub use process::Process;
pub use service::{Postgres, Service};

/// Keys of the S3 server, named after their rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// All on the server: the only one who makes buckets.
    Admin,
    /// All on the bucket.
    Full,
    /// May only put objects (and take part uploads back): no listing, no reading.
    Writer,
    /// May only list and read.
    Reader,
    /// Is valid, and may do nothing.
    Nobody,
}

impl Key {
    /// Its id and its secret.
    pub fn pair(self) -> (String, String) {
        let who = format!("{self:?}").to_uppercase();
        (variable(&format!("SANDBOX_S3_{who}_KEY_ID")), variable(&format!("SANDBOX_S3_{who}_SECRET")))
    }
}

/// The sandbox's host.
#[derive(Debug)]
pub struct Host {
    /// `$SANDBOX_ROOT`.
    pub root: PathBuf,
    /// `$DOKKU_LIB_ROOT`: services, properties, the plugin's own data.
    pub lib_root: PathBuf,
    /// Address of the S3 server.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// Its one bucket.
    pub bucket: String,
}

impl Host {
    /// The host. Panics where there is none.
    pub fn get() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(|| Self {
            root: variable("SANDBOX_ROOT").into(),
            lib_root: variable("DOKKU_LIB_ROOT").into(),
            endpoint: variable("SANDBOX_S3_ENDPOINT"),
            region: variable("SANDBOX_S3_REGION"),
            bucket: variable("SANDBOX_S3_BUCKET"),
        })
    }

    /// A fresh service with a destination of its own, and keys for it (as `postgres:backup-auth` keeps them).
    pub fn service(&'static self, name: &str, postgres: Postgres) -> Service {
        Service::create(self, &unique(name), postgres, &[])
    }

    /// The same, with more words for `postgres:create`.
    pub fn service_with(&'static self, name: &str, postgres: Postgres, words: &[&str]) -> Service {
        Service::create(self, &unique(name), postgres, words)
    }

    /// A service that a test has made by itself.
    pub fn existing(&'static self, name: &str) -> Service {
        Service::existing(self, name)
    }

    /// A fresh app, not linked to anything.
    pub fn app(&'static self, name: &str) -> App {
        App::create(self, &unique(name))
    }

    /// `dokku WORDS…`, as root of the host would type it, without a terminal.
    pub fn dokku(&self, words: &[&str]) -> Call {
        self.call("dokku", words)
    }

    /// Any program, without a host.
    pub fn anywhere(program: &str, words: &[&str]) -> Call {
        Call::new(program, words, &env::temp_dir())
    }

    /// The image of the services, without its tag.
    pub fn image() -> String {
        variable("SANDBOX_IMAGE")
    }

    /// `aws --endpoint-url … --output json WORDS…` with a key of the S3 server.
    pub fn aws(&self, key: Key, words: &[&str]) -> Run {
        aws::call(self, key, words)
    }

    /// The AWS command line as a program.
    pub fn aws_program() -> String {
        variable("SANDBOX_CACHE") + "/venv/bin/aws"
    }

    /// Any program of the host.
    pub fn call(&self, program: &str, words: &[&str]) -> Call {
        Call::new(program, words, &self.root)
    }

    /// The plugin's own folder of a service: history, journal, lock.
    pub fn data_of(&self, service: &str) -> PathBuf {
        self.lib_root.join("data/pgbackup").join(service)
    }
}

/// The library's docker client.
pub fn docker() -> pgbackup::docker::Docker {
    pgbackup::docker::Docker::new(env_value("DOCKER_BIN").unwrap_or_else(|| "docker".to_owned()))
}

/// A name that nobody else on this machine has, not even another sandbox: containers share one name space. Snapshots show
/// it without the addition (see [`redaction`]).
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{name}-t{:08x}", hasher.finish() & 0xffff_ffff)
}

fn variable(name: &str) -> String {
    env_value(name).unwrap_or_else(|| {
        panic!("{name} is not set: this test needs the sandbox's host; run the suite with `make test` (one test: make test T=NAME)")
    })
}

#[expect(clippy::disallowed_methods, reason = "the suite finds its host by the environment")]
fn env_value(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
