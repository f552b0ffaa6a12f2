//! What a user has configured for a service: properties turned into types, once, with their defaults.
//!
//! A property is resolved as everywhere in Dokku: the service's own, else the `--global` one, else the built-in default. The
//! same parser checks a value when it is set and when it is used, so a file edited by hand can't bring in what
//! `pgbackup:set` refuses. Keys of a store are kept as properties too, but are set by `pgbackup:auth` (never through
//! argv) and never shown.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;

use crate::changes::{TablePattern, Watch};
use crate::dokku::properties::{Properties, Subject};
use crate::error::Failure;
use crate::notify::endpoint::Webhooks;
use crate::notify::{Healthcheck, NotifyOn, Webhook};
use crate::retention::Rules;
use crate::secret::Secret;
use crate::service::name::ServiceName;
use crate::store::destination::{Destination, InvalidDestination};
use crate::store::features::{Features, ObjectLock, Rate, Sse, StorageClass, Tags};
use crate::store::provider::Provider;

/// Parts in flight at once: more than this only costs memory (part size × parts is the pipeline's bound).
const MOST_PARTS: usize = 32;

/// A property that `pgbackup:set` takes.
#[derive(Debug)]
pub struct Property {
    /// Its name, as AWS and Dokku users know it.
    pub name: &'static str,
    /// What is used when nobody sets it; empty for nothing.
    pub default: &'static str,
    /// What it takes, for messages and help.
    pub values: &'static str,
    /// What it does, one line.
    pub help: &'static str,
    check: fn(&str) -> Result<(), String>,
}

impl Property {
    /// Checks a value.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.chars().any(char::is_control) {
            return Err(format!("{value:?} has control characters"));
        }
        (self.check)(value)
    }
}

/// Every property, in alphabetical order.
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "auth",
        default: "auto",
        values: "auto, iam, service or own",
        help: "Whose keys open the store: own (pgbackup:auth), service (postgres:backup-auth), iam (instance role) or auto (the first that is there)",
        check: checked::<Auth>,
    },
    Property {
        name: "backup-on-deploy",
        default: "off",
        values: "off, warn or required",
        help: "Whether a linked app's deploy is preceded by a backup; required stops the deploy when that fails",
        check: checked::<OnDeploy>,
    },
    Property {
        name: "backup-on-destroy",
        default: "off",
        values: "on or off",
        help: "Whether postgres:destroy is preceded by a backup, and stopped when that fails",
        check: checked::<Switch>,
    },
    Property {
        name: "bandwidth-limit",
        default: "",
        values: "a rate such as 10MB/s or 512KiB/s",
        help: "How fast backups are sent to and read from an S3 store at most",
        check: checked::<Rate>,
    },
    Property {
        name: "checksums",
        default: "auto",
        values: "auto, on or off",
        help: "Whether uploads carry CRC-32 headers (on) or Content-MD5 (off); auto: what the provider takes",
        check: checked::<Choice>,
    },
    Property {
        name: "copy-auth",
        default: "",
        values: "auto, iam, service or own",
        help: "Whose keys open the store of copy-to: own (pgbackup:auth --copy), service, iam or auto; without it its own where they are set, else those of the destination",
        check: checked::<Auth>,
    },
    Property {
        name: "copy-checksums",
        default: "",
        values: "auto, on or off",
        help: "The property checksums for copy-to",
        check: checked::<Choice>,
    },
    Property {
        name: "copy-endpoint-url",
        default: "",
        values: "a URL such as https://minio.example.com:9000",
        help: "Address of the store of copy-to where it is another one than that of the destination",
        check: checked::<EndpointUrl>,
    },
    Property {
        name: "copy-keep-daily",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest copy of each of so many days (UTC) in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-keep-hourly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest copy of each of so many hours (UTC) in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-keep-last",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest so many copies in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-keep-monthly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest copy of each of so many months (UTC) in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-keep-weekly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest copy of each of so many weeks (UTC) in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-keep-yearly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest copy of each of so many years (UTC) in copy-to; without any copy-keep- rule those of the backups count",
        check: checked::<KeepCount>,
    },
    Property {
        name: "copy-max-size",
        default: "",
        values: "a size such as 500MB or 20GiB",
        help: "Delete the oldest copies of a service when all of them take more than this",
        check: checked::<Size>,
    },
    Property {
        name: "copy-min-age",
        default: "",
        values: "a duration such as 90m, 48h or 7d",
        help: "Never prune a copy younger than this",
        check: checked::<Span>,
    },
    Property {
        name: "copy-object-lock",
        default: "",
        values: "governance:DAYSd or compliance:DAYSd such as governance:30d",
        help: "For how long the store of copy-to keeps a new copy from being deleted",
        check: checked::<ObjectLock>,
    },
    Property {
        name: "copy-path-style",
        default: "",
        values: "auto, on or off",
        help: "The property path-style for copy-to",
        check: checked::<Choice>,
    },
    Property {
        name: "copy-provider",
        default: "",
        values: "auto, aws, r2, b2, spaces, hetzner, scaleway, wasabi, ovh, minio, ceph, garage, gcs or seaweedfs",
        help: "Whose store copy-to is in; known by the host name of its copy-endpoint-url",
        check: checked::<Provider>,
    },
    Property {
        name: "copy-region",
        default: "",
        values: "a region such as eu-central-1",
        help: "Region of the bucket of copy-to where it is another one",
        check: checked::<Region>,
    },
    Property {
        name: "copy-sse",
        default: "",
        values: "AES256, aws:kms or aws:kms:KEY",
        help: "Encryption of the copies by their store with its own keys",
        check: checked::<Sse>,
    },
    Property {
        name: "copy-storage-class",
        default: "",
        values: "a class such as STANDARD_IA or GLACIER_IR",
        help: "Storage class of the copies",
        check: checked::<StorageClass>,
    },
    Property {
        name: "copy-tags",
        default: "",
        values: "name=value,name=value",
        help: "Tags of the objects of the copies",
        check: checked::<Tags>,
    },
    Property {
        name: "copy-to",
        default: "",
        values: "s3://bucket, s3://bucket/prefix, file:///folder or off",
        help: "Second place that each backup is copied to after it was saved",
        check: |value| CopyTo::from_str(value).and_then(|CopyTo(place)| place.map_or(Ok(()), |place| fit(&place))),
    },
    Property {
        name: "destination",
        default: "",
        values: "s3://bucket, s3://bucket/prefix or file:///folder",
        help: "Where backups go",
        check: |value| Destination::from_str(value).map_err(|error| error.to_string()).and_then(|place| fit(&place)),
    },
    Property {
        name: "drill-max-age",
        default: "",
        values: "a duration such as 7d or 30d",
        help: "Within which time a restore drill must have passed for pgbackup:status to be content",
        check: checked::<Span>,
    },
    Property {
        name: "endpoint-url",
        default: "",
        values: "a URL such as https://minio.example.com:9000",
        help: "Address of an S3-compatible store other than AWS",
        check: checked::<EndpointUrl>,
    },
    Property {
        name: "fingerprint",
        default: "schema",
        values: "counts, schema or content",
        help: "What a restore is compared with: rows of every table (counts), also every object of the schema (schema), also a checksum of the rows of every table and of large objects (content)",
        check: checked::<Fingerprints>,
    },
    Property {
        name: "healthcheck-url",
        default: "",
        values: "a URL such as https://hc-ping.com/UUID, kuma+https://… for a push monitor of Uptime Kuma, or - to read it from standard input",
        help: "Address that is told of each backup's start and end, for a watchman such as healthchecks.io that cries when none comes",
        check: checked::<Healthcheck>,
    },
    Property {
        name: "keep-daily",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest backup of each of so many days (UTC) when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "keep-hourly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest backup of each of so many hours (UTC) when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "keep-last",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest so many backups when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "keep-monthly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest backup of each of so many months (UTC) when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "keep-previous",
        default: "48h",
        values: "a duration such as 90m, 48h or 7d",
        help: "How long the database that a restore replaced stays for pgbackup:rollback",
        check: checked::<Span>,
    },
    Property {
        name: "keep-weekly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest backup of each of so many weeks (UTC) when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "keep-yearly",
        default: "",
        values: "a number such as 7",
        help: "Keep the newest backup of each of so many years (UTC) when pruning",
        check: checked::<KeepCount>,
    },
    Property {
        name: "maintenance",
        default: "on",
        values: "on or off",
        help: "Whether a restore puts the linked apps into maintenance mode (needs the maintenance plugin)",
        check: checked::<Switch>,
    },
    Property {
        name: "max-size",
        default: "",
        values: "a size such as 500MB or 20GiB",
        help: "Delete the oldest backups of a service when all of them take more than this",
        check: checked::<Size>,
    },
    Property {
        name: "metrics-file",
        default: "",
        values: "an absolute path such as /var/lib/node_exporter/textfile/pgbackup.prom or that folder",
        help: "File that is written with metrics of all services after each run, for node_exporter (with --global only)",
        check: absolute,
    },
    Property {
        name: "min-age",
        default: "",
        values: "a duration such as 90m, 48h or 7d",
        help: "Never prune a backup younger than this",
        check: checked::<Span>,
    },
    Property {
        name: "notify-on",
        default: "failed,suspicious,missed,recovered",
        values: "started, succeeded, failed, suspicious, missed and recovered, or such as backup-succeeded, all or none",
        help: "Which events webhooks are told of (plugins and the healthcheck are told of all)",
        check: checked::<NotifyOn>,
    },
    Property {
        name: "object-lock",
        default: "",
        values: "governance:DAYSd or compliance:DAYSd such as governance:30d",
        help: "For how long the store keeps a new backup from being deleted (the bucket must have object lock)",
        check: checked::<ObjectLock>,
    },
    Property {
        name: "part-concurrency",
        default: "auto",
        values: "auto or a number from 1 to 32",
        help: "How many parts are sent to the store at once",
        check: checked::<PartConcurrency>,
    },
    Property {
        name: "path-style",
        default: "auto",
        values: "auto, on or off",
        help: "Whether the bucket stands in the path (on) or in the host name (off); auto: in the path except on AWS",
        check: checked::<Choice>,
    },
    Property {
        name: "provider",
        default: "auto",
        values: "auto, aws, r2, b2, spaces, hetzner, scaleway, wasabi, ovh, minio, ceph, garage, gcs or seaweedfs",
        help: "Whose S3-compatible store it is; auto: known by the host name of the endpoint-url (docs/providers.md)",
        check: checked::<Provider>,
    },
    Property {
        name: "prune-after-backup",
        default: "on",
        values: "on or off",
        help: "Whether a backup that succeeded is followed by pgbackup:prune; without a keep- rule or max-size nothing is ever deleted",
        check: checked::<Switch>,
    },
    Property {
        name: "prune-foreign",
        default: "off",
        values: "on or off",
        help: "Whether backups that dokku-postgres made are counted and deleted like those of pgbackup",
        check: checked::<Switch>,
    },
    Property {
        name: "region",
        default: "",
        values: "a region such as eu-central-1",
        help: "Region of the bucket",
        check: checked::<Region>,
    },
    Property {
        name: SCHEDULE_CONCURRENCY,
        default: "1",
        values: "a number from 1 to 16",
        help: "How many scheduled runs of this host go at once; the others wait (only --global)",
        check: checked::<ScheduleConcurrency>,
    },
    Property {
        name: "sse",
        default: "",
        values: "AES256, aws:kms or aws:kms:KEY",
        help: "Encryption by the store with its own keys (SSE-S3 or SSE-KMS)",
        check: checked::<Sse>,
    },
    Property {
        name: "storage-class",
        default: "",
        values: "a class such as STANDARD_IA or GLACIER_IR",
        help: "Storage class of new backups",
        check: checked::<StorageClass>,
    },
    Property {
        name: "suspicious-drop",
        default: "50%",
        values: "a percentage such as 50% or off",
        help: "Mark a backup as suspicious when a table has lost this share of its rows or more since the one before",
        check: checked::<Drop>,
    },
    Property {
        name: "suspicious-ignore",
        default: "",
        values: "names of tables with commas between them such as sessions,public.jobs,*_queue",
        help: "Tables that may lose their rows without a backup being suspicious",
        check: checked::<Tables>,
    },
    Property {
        name: "tags",
        default: "",
        values: "name=value,name=value",
        help: "Tags of the objects of new backups",
        check: checked::<Tags>,
    },
    Property {
        name: "webhook-url",
        default: "",
        values: "one or several URLs with commas or blanks between them, slack+https://…, discord+https://…, teams+https://… or json+https://… where the host doesn't tell, or - to read them from standard input",
        help: "Addresses that are told of events: those of Slack, Discord and Teams are known by their hosts, others get JSON",
        check: checked::<Webhooks>,
    },
];

/// A property of the host, which no service can have of its own.
pub const SCHEDULE_CONCURRENCY: &str = "schedule-concurrency";

/// The properties that only `pgbackup:auth` writes.
pub const ACCESS_KEY_ID: &str = "access-key-id";
/// See [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "secret-access-key";
/// See [`ACCESS_KEY_ID`]; only temporary keys have one.
pub const SESSION_TOKEN: &str = "session-token";
/// The same for the second destination.
pub const COPY_ACCESS_KEY_ID: &str = "copy-access-key-id";
/// See [`COPY_ACCESS_KEY_ID`].
pub const COPY_SECRET_ACCESS_KEY: &str = "copy-secret-access-key";
/// See [`COPY_ACCESS_KEY_ID`].
pub const COPY_SESSION_TOKEN: &str = "copy-session-token";
/// The property that only `pgbackup:encryption` writes.
pub const ENCRYPTION: &str = "encryption";

/// The properties that let in whoever knows them.
const CONFIDENTIAL: [&str; 2] = ["healthcheck-url", "webhook-url"];

/// Whether a property's value is a secret: it can be read from standard input, and is shown without what opens it.
pub fn is_confidential(name: &str) -> bool {
    CONFIDENTIAL.contains(&name)
}

/// A property's value as it may be shown.
pub fn shown(name: &str, value: &str) -> String {
    let shown = match name {
        "webhook-url" => value.parse::<Webhooks>().map(|webhooks| webhooks.to_string()),
        "healthcheck-url" => value.parse::<Healthcheck>().map(|healthcheck| healthcheck.to_string()),
        _ => return value.to_owned(),
    };
    // A file edited by hand may hold anything.
    shown.unwrap_or_else(|_| if value.is_empty() { String::new() } else { "***".to_owned() })
}

fn absolute(value: &str) -> Result<(), String> {
    if value.starts_with('/') { Ok(()) } else { Err(format!("{value:?} is no absolute path")) }
}

fn checked<T: FromStr<Err: fmt::Display>>(value: &str) -> Result<(), String> {
    value.parse::<T>().map(drop).map_err(|error| error.to_string())
}

/// What is set is to be written to.
fn fit(place: &Destination) -> Result<(), String> {
    place.unfit().map_or(Ok(()), Err)
}

/// Finds a property by its name.
pub fn property(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| property.name == name)
}

/// A service's configuration, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a deploy of a linked app asks for.
    pub backup_on_deploy: OnDeploy,
    /// Whether the service is backed up before it is destroyed.
    pub backup_on_destroy: bool,
    /// Where backups go.
    pub destination: Option<Destination>,
    /// Region of the bucket.
    pub region: Option<Region>,
    /// Address of an S3-compatible store other than AWS.
    pub endpoint_url: Option<EndpointUrl>,
    /// Whose store it is.
    pub provider: Provider,
    /// Whether the bucket stands in the path (on) or in the host name (off).
    pub path_style: Choice,
    /// Whether uploads carry CRC-32 headers.
    pub checksums: Choice,
    /// What is asked for beside the bytes when an object is stored.
    pub features: Features,
    /// How fast bytes go at most.
    pub bandwidth_limit: Option<Rate>,
    /// Parts in flight at once; the store knows best where it is not set.
    pub part_concurrency: Option<usize>,
    /// Whose keys open the store.
    pub auth: Auth,
    /// Keys set by `pgbackup:auth`.
    pub own_keys: Option<OwnKeys>,
    /// What backups remember to be compared with.
    pub fingerprint: Fingerprints,
    /// How long a replaced database stays for `rollback`.
    pub keep_previous: Duration,
    /// Whether a restore puts the linked apps into maintenance mode.
    pub maintenance: bool,
    /// Within which time a drill must have passed.
    pub drill_max_age: Option<Duration>,
    /// Who is told of events.
    pub webhooks: Vec<Webhook>,
    /// Who is told of each backup's start and end.
    pub healthcheck: Option<Healthcheck>,
    /// Of what webhooks are told.
    pub notify_on: NotifyOn,
    /// Which losses of rows are suspicious.
    pub watch: Watch,
    /// Which backups stay.
    pub retention: Rules,
    /// Whether a backup that succeeded is followed by pruning.
    pub prune_after_backup: bool,
    /// The second destination.
    pub copy: Option<CopySettings>,
}

/// What is set for the second destination; the rest is that of the first.
#[derive(Debug, Clone)]
pub struct CopySettings {
    /// Where copies go.
    pub destination: Destination,
    region: Option<Region>,
    endpoint_url: Option<EndpointUrl>,
    provider: Option<Provider>,
    path_style: Option<Choice>,
    checksums: Option<Choice>,
    features: Features,
    auth: Option<Auth>,
    own_keys: Option<OwnKeys>,
    /// Which copies stay; `None` for the rules of the backups.
    retention: Option<Rules>,
    min_age: Option<Duration>,
}

impl Settings {
    /// Reads a service's settings.
    ///
    /// # Errors
    /// When a stored value can't be read or is not valid.
    pub fn of(properties: &Properties, service: &ServiceName) -> Result<Self> {
        Self::resolve(properties, &Subject::Service(service.clone()))
    }

    /// Reads the settings of a service, or those that hold for all of them.
    ///
    /// # Errors
    /// See [`Self::of`].
    pub fn resolve(properties: &Properties, subject: &Subject) -> Result<Self> {
        let settings = Resolver { properties, subject };
        Ok(Self {
            backup_on_deploy: settings.get("backup-on-deploy")?.unwrap_or_default(),
            backup_on_destroy: settings.get::<Switch>("backup-on-destroy")?.unwrap_or(Switch::Off) == Switch::On,
            destination: settings.get("destination")?,
            region: settings.get("region")?,
            endpoint_url: settings.get("endpoint-url")?,
            provider: settings.get("provider")?.unwrap_or_default(),
            path_style: settings.get("path-style")?.unwrap_or_default(),
            checksums: settings.get("checksums")?.unwrap_or_default(),
            features: Features {
                class: settings.get("storage-class")?,
                sse: settings.get("sse")?,
                lock: settings.get("object-lock")?,
                tags: settings.get("tags")?.unwrap_or_default(),
            },
            bandwidth_limit: settings.get("bandwidth-limit")?,
            part_concurrency: settings.get::<PartConcurrency>("part-concurrency")?.and_then(|parts| parts.0),
            auth: settings.get("auth")?.unwrap_or_default(),
            own_keys: OwnKeys::read(properties, subject, KeysOf::Destination)?,
            fingerprint: settings.get("fingerprint")?.unwrap_or_default(),
            keep_previous: settings.get::<Span>("keep-previous")?.unwrap_or_default().0,
            maintenance: settings.get::<Switch>("maintenance")?.unwrap_or(Switch::On) == Switch::On,
            drill_max_age: settings.get::<Span>("drill-max-age")?.map(|span| span.0),
            webhooks: settings.get::<Webhooks>("webhook-url")?.unwrap_or_default().0,
            healthcheck: settings.get("healthcheck-url")?,
            notify_on: settings.get("notify-on")?.unwrap_or_default(),
            watch: Watch {
                drop: settings.get::<Drop>("suspicious-drop")?.and_then(|drop| drop.0),
                ignore: settings.get::<Tables>("suspicious-ignore")?.unwrap_or_default().0,
            },
            retention: settings.retention()?,
            prune_after_backup: settings.get::<Switch>("prune-after-backup")?.unwrap_or(Switch::On) == Switch::On,
            copy: settings.copy()?,
        })
    }

    /// Whether this place is the second destination.
    pub fn is_copied_to(&self, place: &Destination) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.destination == *place)
    }

    /// The settings of the second destination, as if it were the first; `None` where none is set. What is not set for it is as for the
    /// first one while both are in one store; where it has an address of its own nothing that describes the other store counts.
    pub fn of_copy(&self) -> Option<Self> {
        let copy = self.copy.clone()?;
        let mut settings = self.clone();
        settings.copy = None;
        settings.destination = Some(copy.destination);
        if copy.endpoint_url.is_some() {
            settings.region = None;
            settings.provider = Provider::default();
            settings.path_style = Choice::default();
            settings.checksums = Choice::default();
        }
        settings.endpoint_url = copy.endpoint_url.or(settings.endpoint_url);
        settings.region = copy.region.or(settings.region);
        settings.provider = copy.provider.unwrap_or(settings.provider);
        settings.path_style = copy.path_style.unwrap_or(settings.path_style);
        settings.checksums = copy.checksums.unwrap_or(settings.checksums);
        settings.features = copy.features;
        match (copy.auth, copy.own_keys) {
            (Some(auth), keys) => (settings.auth, settings.own_keys) = (auth, keys),
            (None, Some(keys)) => (settings.auth, settings.own_keys) = (Auth::Own, Some(keys)),
            (None, None) => {}
        }
        let first = settings.retention;
        settings.retention = Rules {
            min_age: copy.min_age.unwrap_or(first.min_age),
            // What dokku-postgres makes is not copied.
            foreign: false,
            ..copy.retention.unwrap_or(first)
        };
        Some(settings)
    }

    /// The destination, which must be set by now.
    ///
    /// # Errors
    /// With the command that sets it.
    pub fn destination(&self, service: &ServiceName) -> Result<&Destination> {
        Ok(self.destination.as_ref().ok_or_else(|| {
            Failure::failed(format!("No destination is set for {service}"))
                .hint(format!("Set it: dokku pgbackup:set {service} destination s3://BUCKET"))
                .hint(format!("Or take over what dokku-postgres has: dokku pgbackup:adopt {service}"))
        })?)
    }
}

struct Resolver<'a> {
    properties: &'a Properties,
    subject: &'a Subject,
}

impl Resolver<'_> {
    fn get<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>> {
        for subject in [self.subject, &Subject::Global] {
            if let Some(value) = self.properties.get(subject, name)? {
                return match value.parse() {
                    Ok(value) => Ok(Some(value)),
                    Err(error) => {
                        Err(Failure::failed(format!("The property {name} of {subject} is not valid: {error}"))
                            .hint(format!("Set it anew: dokku pgbackup:set {subject} {name} VALUE"))
                            .into())
                    }
                };
            }
        }
        let default = property(name).map_or("", |property| property.default);
        Ok(default.parse().ok())
    }

    fn retention(&self) -> Result<Rules> {
        let rules = self.rules("")?.unwrap_or_default();
        Ok(Rules {
            min_age: self.get::<Span>("min-age")?.unwrap_or_default().0,
            foreign: self.get::<Switch>("prune-foreign")? == Some(Switch::On),
            ..rules
        })
    }

    /// The rules that delete and whose properties begin so; `None` when none of them is set.
    fn rules(&self, start: &str) -> Result<Option<Rules>> {
        let mut set = false;
        let mut count = |name: &str| {
            let count = self.get::<KeepCount>(&format!("{start}{name}"))?;
            set |= count.is_some();
            Ok::<_, anyhow::Error>(count.map_or(0, |count| count.0))
        };
        let mut rules = Rules {
            last: count("keep-last")?,
            hourly: count("keep-hourly")?,
            daily: count("keep-daily")?,
            weekly: count("keep-weekly")?,
            monthly: count("keep-monthly")?,
            yearly: count("keep-yearly")?,
            ..Rules::default()
        };
        rules.max_size = self.get::<Size>(&format!("{start}max-size"))?.map(|size| size.0);
        Ok((set || rules.max_size.is_some()).then_some(rules))
    }

    fn copy(&self) -> Result<Option<CopySettings>> {
        let Some(CopyTo(Some(destination))) = self.get("copy-to")? else { return Ok(None) };
        Ok(Some(CopySettings {
            destination,
            region: self.get("copy-region")?,
            endpoint_url: self.get("copy-endpoint-url")?,
            provider: self.get("copy-provider")?,
            path_style: self.get("copy-path-style")?,
            checksums: self.get("copy-checksums")?,
            features: Features {
                class: self.get("copy-storage-class")?,
                sse: self.get("copy-sse")?,
                lock: self.get("copy-object-lock")?,
                tags: self.get("copy-tags")?.unwrap_or_default(),
            },
            auth: self.get("copy-auth")?,
            own_keys: OwnKeys::read(self.properties, self.subject, KeysOf::Copy)?,
            retention: self.rules("copy-")?,
            min_age: self.get::<Span>("copy-min-age")?.map(|span| span.0),
        }))
    }
}

/// Whose keys open the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auth {
    /// Own keys, else the service's, else the default chain.
    #[default]
    Auto,
    /// AWS's default chain: environment, files, instance role.
    Iam,
    /// What `postgres:backup-auth` stored.
    Service,
    /// What `pgbackup:auth` stored.
    Own,
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "iam" => Ok(Self::Iam),
            "service" => Ok(Self::Service),
            "own" => Ok(Self::Own),
            _ => Err(format!("{text:?} is none of auto, iam, service, own")),
        }
    }
}

/// Where copies go, or `off` for one service where they go somewhere for all.
struct CopyTo(Option<Destination>);

impl FromStr for CopyTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|destination| Self(Some(destination))).map_err(|error: InvalidDestination| error.to_string())
    }
}

/// What a backup remembers of its database, to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fingerprints {
    /// Rows of every table, sequences, extensions, numbers of objects.
    Counts,
    /// Also each object of the schema with its definition.
    #[default]
    Schema,
    /// Also a checksum of the rows of each table.
    Content,
}

impl FromStr for Fingerprints {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "counts" => Ok(Self::Counts),
            "schema" => Ok(Self::Schema),
            "content" => Ok(Self::Content),
            _ => Err(format!("{text:?} is none of counts, schema, content")),
        }
    }
}

/// What a deploy of a linked app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeploy {
    /// Nothing.
    #[default]
    Off,
    /// A backup; without one it goes on, and says so.
    Warn,
    /// A backup; without one it is stopped.
    Required,
}

impl FromStr for OnDeploy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "warn" => Ok(Self::Warn),
            "required" => Ok(Self::Required),
            _ => Err(format!("{text:?} is none of off, warn, required")),
        }
    }
}

/// Something that the store's provider decides, unless it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// As the provider has it.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

impl Choice {
    /// What is set; `None` leaves it to the provider.
    pub fn set(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::On => Some(true),
            Self::Off => Some(false),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => {
                Ok(if text.parse::<Switch>().map_err(|_| format!("{text:?} is none of auto, on, off"))? == Switch::On {
                    Self::On
                } else {
                    Self::Off
                })
            }
        }
    }
}

/// On or off; `true` and `false` are understood, as Dokku's own plugins differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" | "true" => Ok(Self::On),
            "off" | "false" => Ok(Self::Off),
            _ => Err(format!("{text:?} is neither on nor off")),
        }
    }
}

/// A region's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl Region {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
            return Err(format!("{text:?} is not the name of a region, which looks like eu-central-1"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An S3-compatible store's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(String);

impl EndpointUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some(rest) = rest else {
            return Err(format!("{text:?} is not a URL, which begins with https:// or http://"));
        };
        let host = rest.split('/').next().unwrap_or_default();
        if host.contains('@') {
            return Err("the URL has keys in it, which belong into dokku pgbackup:auth".to_owned());
        }
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '"' | '\\' | '<' | '>');
        if host.is_empty() || host.starts_with(':') || rest.contains(bad) {
            return Err(format!("{text:?} is not the address of a store, which looks like https://host:port"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// A length of time as a user writes it: `90m`, `48h`, `7d`, `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration, which looks like 90m, 48h or 7d");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(wrong()),
        };
        // A hundred years: longer can only be a slip, and arithmetic with it must not overflow.
        number
            .checked_mul(seconds)
            .filter(|total| *total <= 3_155_760_000)
            .map(|total| Self(Duration::from_secs(total)))
            .ok_or_else(wrong)
    }
}

/// A share in percent, or off.
struct Drop(Option<u8>);

impl FromStr for Drop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.strip_suffix('%')
            .unwrap_or(text)
            .parse()
            .ok()
            .filter(|percent| (1..=100).contains(percent))
            .map(|percent| Self(Some(percent)))
            .ok_or_else(|| format!("{text:?} is neither off nor a percentage from 1% to 100%"))
    }
}

/// Names of tables, commas between them.
#[derive(Default)]
struct Tables(Vec<TablePattern>);

impl FromStr for Tables {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|name| name.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

/// How many periods a `keep-` rule counts; 0 unsets a rule that is set for all services.
struct KeepCount(u32);

impl FromStr for KeepCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| format!("{text:?} is not a number such as 7"))
    }
}

/// Bytes as a user writes them: `500MB`, `20GiB`, `20G` (as `du` and `ls` mean it: GiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size, which looks like 500MB or 20GiB");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (factor, letter) = match unit.as_bytes() {
            [b'B'] => (1, b'B'),
            [letter] | [letter, b'i', b'B'] => (1024u64, *letter),
            [letter, b'B'] => (1000, *letter),
            _ => return Err(wrong()),
        };
        let power = match letter.to_ascii_uppercase() {
            b'B' => 0,
            b'K' => 1,
            b'M' => 2,
            b'G' => 3,
            b'T' => 4,
            _ => return Err(wrong()),
        };
        factor.checked_pow(power).and_then(|unit| number.checked_mul(unit)).map(Self).ok_or_else(wrong)
    }
}

struct ScheduleConcurrency(usize);

impl FromStr for ScheduleConcurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<usize>().ok().filter(|number| (1..=16).contains(number));
        number.map(Self).ok_or_else(|| format!("{text:?} is not a number from 1 to 16"))
    }
}

/// How many scheduled runs of this host go at once.
///
/// # Errors
/// When the stored value can't be read or is not valid.
pub fn schedule_concurrency(properties: &Properties) -> Result<usize> {
    let settings = Resolver { properties, subject: &Subject::Global };
    Ok(settings.get::<ScheduleConcurrency>(SCHEDULE_CONCURRENCY)?.map_or(1, |number| number.0))
}

struct PartConcurrency(Option<usize>);

impl FromStr for PartConcurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        text.parse::<usize>()
            .ok()
            .filter(|number| (1..=MOST_PARTS).contains(number))
            .map(|number| Self(Some(number)))
            .ok_or_else(|| format!("{text:?} is neither auto nor a number from 1 to {MOST_PARTS}"))
    }
}

/// Keys of a store that belong to pgbackup alone.
#[derive(Debug, Clone)]
pub struct OwnKeys {
    /// The key's id, which is no secret.
    pub access_key_id: String,
    /// The secret to it.
    pub secret_access_key: Secret,
    /// What belongs to temporary keys, until they expire.
    pub session_token: Option<Secret>,
}

/// Which of the two places keys are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysOf {
    /// The destination.
    Destination,
    /// The second one, `copy-to`.
    Copy,
}

/// Names of the properties that hold keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyProperties {
    /// The id's.
    pub id: &'static str,
    /// The secret's.
    pub secret: &'static str,
    /// The session token's.
    pub token: &'static str,
}

impl KeyProperties {
    /// All of them.
    pub fn all(self) -> [&'static str; 3] {
        [self.id, self.secret, self.token]
    }
}

impl KeysOf {
    /// The properties that hold them.
    pub fn properties(self) -> KeyProperties {
        match self {
            Self::Destination => KeyProperties { id: ACCESS_KEY_ID, secret: SECRET_ACCESS_KEY, token: SESSION_TOKEN },
            Self::Copy => {
                KeyProperties { id: COPY_ACCESS_KEY_ID, secret: COPY_SECRET_ACCESS_KEY, token: COPY_SESSION_TOKEN }
            }
        }
    }

    /// The words of the command that sets them.
    fn switch(self) -> &'static str {
        match self {
            Self::Destination => "",
            Self::Copy => " --copy",
        }
    }
}

impl OwnKeys {
    /// Reads them: both of the subject, else both of `--global`. A pair is never mixed from two subjects.
    ///
    /// # Errors
    /// When they can't be read, or one of a pair is missing.
    pub fn read(properties: &Properties, subject: &Subject, of: KeysOf) -> Result<Option<Self>> {
        let names = of.properties();
        for subject in [subject, &Subject::Global] {
            match (properties.get(subject, names.id)?, properties.get(subject, names.secret)?) {
                (None, None) => {}
                (Some(access_key_id), Some(secret)) => {
                    return Ok(Some(Self {
                        access_key_id,
                        secret_access_key: Secret::new(secret),
                        session_token: properties.get(subject, names.token)?.map(Secret::new),
                    }));
                }
                _ => {
                    return Err(Failure::failed(format!("Of the keys of {subject} one half is missing"))
                        .hint(format!("Set them anew: dokku pgbackup:auth {subject} ACCESS_KEY_ID{}", of.switch()))
                        .into());
                }
            }
        }
        Ok(None)
    }

    /// Stores them.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write(&self, properties: &Properties, subject: &Subject, of: KeysOf) -> Result<()> {
        let names = of.properties();
        properties.set(subject, names.secret, self.secret_access_key.reveal())?;
        match &self.session_token {
            Some(token) => properties.set(subject, names.token, token.reveal())?,
            None => drop(properties.unset(subject, names.token)?),
        }
        properties.set(subject, names.id, &self.access_key_id)
    }

    /// Forgets them; returns whether there were any.
    ///
    /// # Errors
    /// When they can't be removed.
    pub fn clear(properties: &Properties, subject: &Subject, of: KeysOf) -> Result<bool> {
        let names = of.properties();
        let secret = properties.unset(subject, names.secret)? | properties.unset(subject, names.token)?;
        Ok(properties.unset(subject, names.id)? || secret)
    }
}

/// How backups are encrypted, as `pgbackup:encryption` has set it. One file holds it, so that it is never half of one thing and
/// half of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnEncryption {
    /// Not, on purpose, whatever is set elsewhere.
    Off,
    /// With a passphrase.
    Passphrase(Secret),
    /// With a public key, in its armor.
    PublicKey(String),
}

impl OwnEncryption {
    /// Reads what is set for this very subject.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(properties: &Properties, subject: &Subject) -> Result<Option<Self>> {
        let Some(text) = properties.get(subject, ENCRYPTION)? else { return Ok(None) };
        match text.split_once('\n') {
            None if text == "off" => Ok(Some(Self::Off)),
            Some(("passphrase", passphrase)) if !passphrase.is_empty() => {
                Ok(Some(Self::Passphrase(Secret::new(passphrase))))
            }
            Some(("public-key", armored)) => Ok(Some(Self::PublicKey(armored.to_owned()))),
            _ => Err(Failure::failed(format!("The encryption that is set for {subject} can't be read"))
                .hint(format!("Set it anew: dokku pgbackup:encryption {subject} --passphrase"))
                .into()),
        }
    }

    /// Stores it, in place of what was set for the subject.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, properties: &Properties, subject: &Subject) -> Result<()> {
        let text = match self {
            Self::Off => "off".to_owned(),
            Self::Passphrase(passphrase) => format!("passphrase\n{}", passphrase.reveal()),
            Self::PublicKey(armored) => format!("public-key\n{armored}"),
        };
        properties.set(subject, ENCRYPTION, &text)
    }

    /// Forgets it; returns whether there was something.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn clear(properties: &Properties, subject: &Subject) -> Result<bool> {
        properties.unset(subject, ENCRYPTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> (tempfile::TempDir, Properties) {
        let folder = tempfile::tempdir().unwrap();
        let properties = Properties::new(folder.path());
        (folder, properties)
    }

    #[test]
    fn names_are_sorted_and_defaults_are_valid() {
        let names: Vec<_> = PROPERTIES.iter().map(|property| property.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        for property in PROPERTIES {
            assert!(property.default.is_empty() || property.check(property.default).is_ok(), "{}", property.name);
        }
    }

    #[test]
    fn resolves_own_then_global_then_default() {
        let (_folder, properties) = properties();
        let service: ServiceName = "prod".parse().unwrap();
        let settings = Settings::of(&properties, &service).unwrap();
        assert_eq!(settings.destination, None);
        assert_eq!(settings.keep_previous, Duration::from_hours(48));
        assert!(settings.maintenance);
        assert_eq!(settings.part_concurrency, None);
        properties.set(&Subject::Global, "destination", "s3://global").unwrap();
        properties.set(&Subject::Global, "maintenance", "off").unwrap();
        properties.set(&Subject::Service(service.clone()), "destination", "s3://own/a").unwrap();
        let settings = Settings::of(&properties, &service).unwrap();
        assert_eq!(settings.destination(&service).unwrap().to_string(), "s3://own/a");
        assert!(!settings.maintenance);
    }

    #[test]
    fn a_file_edited_by_hand_is_checked_too() {
        let (_folder, properties) = properties();
        properties.set(&Subject::Global, "keep-previous", "forever").unwrap();
        let error = Settings::of(&properties, &"prod".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"The property keep-previous of --global is not valid: "forever" is not a duration, which looks like 90m, 48h or 7d"#
        );
    }

    #[test]
    fn keys_are_never_mixed_from_two_subjects() {
        let (_folder, properties) = properties();
        let prod = Subject::Service("prod".parse().unwrap());
        let keys = OwnKeys {
            access_key_id: "GLOBAL".to_owned(),
            secret_access_key: Secret::new("s"),
            session_token: Some(Secret::new("t")),
        };
        keys.write(&properties, &Subject::Global, KeysOf::Destination).unwrap();
        let read = OwnKeys::read(&properties, &prod, KeysOf::Destination).unwrap().unwrap();
        assert_eq!((read.access_key_id.as_str(), read.session_token), ("GLOBAL", Some(Secret::new("t"))));
        // Lasting keys take no token over from temporary ones.
        OwnKeys { session_token: None, ..keys }.write(&properties, &Subject::Global, KeysOf::Destination).unwrap();
        assert_eq!(OwnKeys::read(&properties, &prod, KeysOf::Destination).unwrap().unwrap().session_token, None);
        properties.set(&prod, ACCESS_KEY_ID, "OWN").unwrap();
        assert!(OwnKeys::read(&properties, &prod, KeysOf::Destination).is_err());
        assert!(OwnKeys::clear(&properties, &prod, KeysOf::Destination).unwrap());
        assert!(OwnKeys::read(&properties, &prod, KeysOf::Destination).unwrap().is_some());
    }

    #[test]
    fn encryption_comes_back_as_it_was_set() {
        let (_folder, properties) = properties();
        assert_eq!(OwnEncryption::read(&properties, &Subject::Global).unwrap(), None);
        for set in [
            OwnEncryption::Off,
            OwnEncryption::Passphrase(Secret::new(" off * \"ü\" $(x) ")),
            OwnEncryption::PublicKey(
                "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n-----END PGP PUBLIC KEY BLOCK-----".into(),
            ),
        ] {
            set.write(&properties, &Subject::Global).unwrap();
            assert_eq!(OwnEncryption::read(&properties, &Subject::Global).unwrap(), Some(set));
        }
        properties.set(&Subject::Global, ENCRYPTION, "passphrase").unwrap();
        assert!(OwnEncryption::read(&properties, &Subject::Global).is_err(), "nothing is taken for no encryption");
        assert!(OwnEncryption::clear(&properties, &Subject::Global).unwrap());
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("90m", 5400), ("48h", 172_800), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), seconds);
        }
        for bad in ["", "h", "48", "-1h", "1.5h", "48 h", "99999999999w", "1y", "é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_counts() {
        for (text, bytes) in [
            ("0B", 0),
            ("512B", 512),
            ("1K", 1024),
            ("500MB", 500_000_000),
            ("20GiB", 21_474_836_480),
            ("2T", 2_199_023_255_552),
        ] {
            assert_eq!(text.parse::<Size>().unwrap().0, bytes);
        }
        for bad in ["", "20", "GB", "-1GB", "1.5GB", "20 GB", "1EB", "99999999999T", "1iB", "é"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(["off", "50%", "100"].map(|text| text.parse::<Drop>().unwrap().0), [None, Some(50), Some(100)]);
        for bad in ["", "0", "101%", "half", "5%%"] {
            assert!(bad.parse::<Drop>().is_err(), "{bad}");
        }
        assert_eq!("a, public.b,*_c".parse::<Tables>().unwrap().0.len(), 3);
        assert!("a,,b".parse::<Tables>().is_err() && "*".parse::<Tables>().is_err());
        for bad in ["", "-1", "+7", "7d", "all", "99999999999"] {
            assert!(bad.parse::<KeepCount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_can_do_without_a_rule_of_all() {
        let (_folder, properties) = properties();
        let service: ServiceName = "prod".parse().unwrap();
        assert!(!Settings::of(&properties, &service).unwrap().retention.any());
        properties.set(&Subject::Global, "keep-daily", "7").unwrap();
        assert_eq!(Settings::of(&properties, &service).unwrap().retention.daily, 7);
        properties.set(&Subject::Service(service.clone()), "keep-daily", "0").unwrap();
        assert!(!Settings::of(&properties, &service).unwrap().retention.any());
    }

    #[test]
    fn the_second_destination_has_what_is_set_for_it_and_the_rest_of_the_first() {
        let (_folder, properties) = properties();
        let service: ServiceName = "prod".parse().unwrap();
        let settings = || Settings::of(&properties, &service).unwrap();
        let set = |name: &str, value: &str| properties.set(&Subject::Global, name, value).unwrap();
        set("destination", "s3://first");
        set("region", "eu-central-1");
        set("endpoint-url", "https://minio.example.com");
        set("path-style", "on");
        set("keep-daily", "7");
        set("storage-class", "STANDARD_IA");
        assert!(settings().of_copy().is_none());
        set("copy-to", "s3://second/x");
        let copy = settings().of_copy().unwrap();
        assert_eq!(copy.destination.unwrap().to_string(), "s3://second/x");
        assert_eq!(copy.region.unwrap().as_str(), "eu-central-1");
        assert_eq!(copy.endpoint_url.unwrap().as_str(), "https://minio.example.com");
        assert_eq!((copy.path_style, copy.retention.daily), (Choice::On, 7));
        assert_eq!(copy.features, Features::default(), "a class of one store is none of another");

        set("copy-endpoint-url", "https://other.example.com");
        set("copy-keep-monthly", "12");
        let copy = settings().of_copy().unwrap();
        assert_eq!((copy.region, copy.path_style), (None, Choice::Auto));
        assert_eq!((copy.retention.daily, copy.retention.monthly), (0, 12));
        set("copy-keep-monthly", "0");
        assert!(!settings().of_copy().unwrap().retention.any(), "set to keep all");

        let keys = |id: &str| OwnKeys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new("s"),
            session_token: None,
        };
        let id = || settings().of_copy().unwrap().own_keys.unwrap().access_key_id;
        keys("FIRST").write(&properties, &Subject::Global, KeysOf::Destination).unwrap();
        assert_eq!(id(), "FIRST");
        keys("SECOND").write(&properties, &Subject::Global, KeysOf::Copy).unwrap();
        assert_eq!((id().as_str(), settings().own_keys.unwrap().access_key_id.as_str()), ("SECOND", "FIRST"));
        set("copy-auth", "iam");
        assert_eq!(settings().of_copy().unwrap().auth, Auth::Iam);
        properties.set(&Subject::Service(service.clone()), "copy-to", "off").unwrap();
        assert!(settings().of_copy().is_none());
    }

    #[test]
    fn endpoints() {
        assert_eq!("http://127.0.0.1:8333/".parse::<EndpointUrl>().unwrap().as_str(), "http://127.0.0.1:8333");
        for bad in
            ["", "minio:9000", "https://", "https://key:secret@host", "https://a b", "https://host?x", "https://:9"]
        {
            assert!(bad.parse::<EndpointUrl>().is_err(), "{bad}");
        }
    }
}
