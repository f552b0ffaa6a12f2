//! The connection to one bucket: runtime, HTTP client, credentials, region, and the blocking wait around everything async.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, IdentityCache, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, SharedCredentialsProvider, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::clock::Clock;
use super::dialect::Dialect;
use super::keys::{self, Answer, Source};
use super::parts::Cut;
use super::{Credentials, S3Settings};
use crate::interrupt;
use crate::store::StoreError;
use crate::store::link::Link;

/// How often a blocked thread looks whether we were asked to stop.
const TICK: Duration = Duration::from_millis(200);
/// A host that doesn't even take the connection by then is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One for the network, one for signing and digests.
const WORKERS: usize = 2;

/// The SDK's client, and how it was made.
#[derive(Clone)]
pub struct Connection {
    /// The SDK.
    pub s3: aws_sdk_s3::Client,
    /// The region that requests are signed for.
    pub region: String,
    /// Counts the connections made, so that of several calls that fail at once only one makes a new one.
    pub generation: u32,
    /// Who gave the keys, where the default chain was asked for them.
    keys_from: Option<String>,
}

/// One bucket, shared by the store, its uploads and its readers.
pub struct Client {
    settings: S3Settings,
    dialect: Dialect,
    runtime: std::sync::Mutex<Option<Arc<Runtime>>>,
    http: std::sync::OnceLock<SharedHttpClient>,
    connection: Mutex<Option<Connection>>,
    clock: Clock,
}

impl Client {
    /// Checks the settings.
    pub fn new(settings: S3Settings) -> Result<Self, StoreError> {
        match (&settings.endpoint, settings.provider.example()) {
            (Some(endpoint), _) => check_endpoint(endpoint)?,
            (None, Some(example)) => {
                return Err(StoreError::Misconfigured {
                    message: format!("The provider is {}, and its address is not set", settings.provider),
                    hint: format!("Type: dokku pgbackup:set <service> endpoint-url {example}"),
                });
            }
            (None, None) => {}
        }
        Ok(Self {
            dialect: Dialect::of(&settings),
            settings,
            runtime: std::sync::Mutex::default(),
            http: std::sync::OnceLock::new(),
            connection: Mutex::default(),
            clock: Clock::default(),
        })
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.settings.bucket
    }

    /// The key of a name.
    pub fn key(&self, name: &str) -> String {
        if self.settings.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.settings.prefix) }
    }

    /// The name of a key; `None` for keys elsewhere in the bucket.
    pub fn name_of<'key>(&self, key: &'key str) -> Option<&'key str> {
        if self.settings.prefix.is_empty() {
            return Some(key);
        }
        key.strip_prefix(&self.settings.prefix)?.strip_prefix('/')
    }

    /// `s3://bucket/prefix`.
    pub fn destination(&self) -> String {
        match self.settings.prefix.as_str() {
            "" => format!("s3://{}", self.settings.bucket),
            prefix => format!("s3://{}/{prefix}", self.settings.bucket),
        }
    }

    /// `s3://bucket/prefix/name`.
    pub fn url(&self, name: &str) -> String {
        if let Credentials::Link(link) = &self.settings.credentials {
            return link.to_string();
        }
        format!("s3://{}/{}", self.settings.bucket, self.key(name))
    }

    /// How we speak to this store.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The store's clock beside ours.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The region and who gave the keys, once there is a connection.
    pub fn agreed(&self) -> (Option<String>, Option<String>) {
        let slot = self.connection.try_lock().ok();
        let connection = slot.as_ref().and_then(|slot| slot.as_ref());
        (connection.map(|known| known.region.clone()), connection.and_then(|known| known.keys_from.clone()))
    }

    /// The settings that led here.
    pub fn settings(&self) -> &S3Settings {
        &self.settings
    }

    /// How an object of at most `expected` bytes is cut.
    pub fn cut(&self, expected: u64) -> Cut {
        Cut::new(expected, self.dialect.limits, self.settings.part_concurrency)
    }

    /// The runtime, made when it is first needed: `help` must not start threads.
    pub fn runtime(&self) -> Result<Arc<Runtime>, StoreError> {
        let mut slot = self.runtime.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = slot.as_ref() {
            return Ok(Arc::clone(runtime));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(2) // name look-ups
            .thread_name("pgbackup-s3")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Failed {
                action: format!("starting threads for {}", self.destination()),
                source: error.into(),
            })?;
        Ok(Arc::clone(slot.insert(Arc::new(runtime))))
    }

    /// Blocks until the future is ready, or we were asked to stop.
    pub fn wait<F: Future>(&self, future: F) -> Result<F::Output, StoreError> {
        self.runtime()?.block_on(async {
            let mut future = pin!(future);
            loop {
                match tokio::time::timeout(TICK, future.as_mut()).await {
                    Ok(output) => return Ok(output),
                    Err(_tick) => interrupt::check()?,
                }
            }
        })
    }

    /// Blocks until the future is ready, for at most `patience` after we were asked to stop: for calls whose answer decides
    /// whether something is left behind.
    pub fn wait_on<F: Future>(&self, future: F, patience: impl Fn() -> Duration) -> Result<F::Output, StoreError> {
        self.runtime()?.block_on(async {
            let mut future = pin!(future);
            let mut asked = None;
            loop {
                match tokio::time::timeout(TICK, future.as_mut()).await {
                    Ok(output) => return Ok(output),
                    Err(_tick) => {
                        if let Err(interrupted) = interrupt::check() {
                            let asked = *asked.get_or_insert_with(std::time::Instant::now);
                            if asked.elapsed() >= patience() {
                                return Err(interrupted.into());
                            }
                        }
                    }
                }
            }
        })
    }

    /// The connection, made when it is first needed.
    pub async fn connection(&self) -> Result<Connection, StoreError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(connection.clone());
        }
        let connection = self.connect(None, 0).await?;
        Ok(slot.insert(connection).clone())
    }

    /// Makes the connection anew after `old` failed: with fresh credentials, and in the region that the store named.
    pub async fn reconnect(&self, old: &Connection, region: Option<String>) -> Result<(), StoreError> {
        let mut slot = self.connection.lock().await;
        if slot.as_ref().is_some_and(|now| now.generation != old.generation) {
            return Ok(()); // another call was quicker
        }
        let region = region.unwrap_or_else(|| old.region.clone());
        let connection = self.connect(Some(region), old.generation + 1).await?;
        *slot = Some(connection);
        Ok(())
    }

    async fn connect(&self, region: Option<String>, generation: u32) -> Result<Connection, StoreError> {
        let http = self.http();
        let environment = ProviderConfig::default().with_http_client(http.clone());
        let region = match region.or_else(|| self.settings.region.clone()) {
            Some(region) => region,
            None => self.region_of(&environment).await,
        };
        let region_of_keys = Region::new(region.clone());
        let (credentials, keys_from) = self.credentials(&environment, region_of_keys.clone()).await?;
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .credentials_provider(credentials)
            .region(region_of_keys)
            // As long as when they were first asked for.
            .identity_cache(IdentityCache::lazy().load_timeout(keys::LIMIT).build())
            .force_path_style(self.dialect.path_style)
            .interceptor(self.clock.clone())
            // Ours: call.rs knows which calls may take how long, and survives a store that is away for a while.
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Ours too (upload.rs, download.rs), so that the replies can be compared and a resumed reading is checked.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.settings.endpoint {
            config = config.endpoint_url(endpoint.trim_end_matches('/'));
        }
        if let Credentials::Link(link) = &self.settings.credentials {
            config = config.interceptor(Signed { link: link.clone() });
        }
        Ok(Connection { s3: aws_sdk_s3::Client::from_conf(config.build()), region, generation, keys_from })
    }

    /// The region when the settings have none. Stores with an endpoint rarely care, and their hosts have no instance
    /// metadata to ask; AWS itself answers a wrong region with the right one, which call.rs follows.
    async fn region_of(&self, environment: &ProviderConfig) -> String {
        let endpoint = self.settings.endpoint.as_deref();
        let provider = self.settings.provider.resolved(endpoint);
        // An address knows better than the environment, which speaks of AWS.
        let told = endpoint.and_then(|endpoint| provider.region_in(endpoint));
        if let Some(region) = told.or_else(|| provider.preset().region.map(str::to_owned)) {
            return region;
        }
        let region = if self.settings.endpoint.is_some() {
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .region()
                .await
        } else {
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(imds::region::ImdsRegionProvider::builder().configure(environment).build())
                .region()
                .await
        };
        region.map_or_else(|| "us-east-1".to_owned(), |region| region.to_string())
    }

    async fn credentials(
        &self,
        environment: &ProviderConfig,
        region: Region,
    ) -> Result<(SharedCredentialsProvider, Option<String>), StoreError> {
        match &self.settings.credentials {
            Credentials::Static { access_key, secret_key, session_token } => {
                let keys = aws_sdk_s3::config::Credentials::new(
                    access_key,
                    secret_key.reveal(),
                    session_token.as_ref().map(|token| token.reveal().to_owned()),
                    None,
                    "pgbackup",
                );
                Ok((SharedCredentialsProvider::new(keys), None))
            }
            // Signed with nothing: the link takes the place of what is signed.
            Credentials::Link(_) => {
                let nothing = aws_sdk_s3::config::Credentials::new("link", "link", None, None, "pgbackup");
                Ok((SharedCredentialsProvider::new(nothing), None))
            }
            Credentials::Chain => {
                let environment = environment.clone().with_region(Some(region));
                let (provider, source) = keys::first(keys::sources(&environment)).await?;
                Ok((provider, Some(source.name().to_owned())))
            }
        }
    }

    /// Asks every source of keys that this host has, also those that are not used.
    pub async fn keys_of_host(&self) -> Vec<(Source, Answer)> {
        let region = self.settings.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let environment =
            ProviderConfig::default().with_http_client(self.http()).with_region(Some(Region::new(region)));
        let mut found = Vec::new();
        for (source, provider) in keys::sources(&environment) {
            found.push((source, keys::ask(source, &provider).await));
        }
        found
    }

    fn http(&self) -> SharedHttpClient {
        self.http
            .get_or_init(|| {
                aws_smithy_http_client::Builder::new()
                    .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                    .build_https()
            })
            .clone()
    }
}

/// Sends a request to where a link leads, and with nothing that its signature doesn't allow.
#[derive(Debug)]
struct Signed {
    link: Link,
}

/// What may stand beside a link: it is not signed, and no header of S3's own.
const BESIDE_A_LINK: [&str; 4] = ["host", "range", "if-match", "user-agent"];

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "Signed"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        // Without the error's own words, which hold what could not be read.
        request.set_uri(self.link.url().reveal()).map_err(|_| "the link is not a URL")?;
        let headers = request.headers_mut();
        let others: Vec<String> = headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| !BESIDE_A_LINK.contains(&name.as_str()))
            .collect();
        for name in others {
            headers.remove(&name);
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The last owner may be a task on the runtime itself, and a name look-up may hang: nobody waits for either.
        let slot = self.runtime.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(runtime) = slot.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

/// An endpoint is `http[s]://host[:port]`, without a path or keys in it.
fn check_endpoint(endpoint: &str) -> Result<(), StoreError> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if rest.map(|rest| rest.trim_end_matches('/')).is_some_and(|host| !host.is_empty() && host.chars().all(plain)) {
        return Ok(());
    }
    Err(StoreError::Misconfigured {
        // Not quoted: people have pasted keys into it.
        message: "The endpoint is not a URL like https://host or http://host:port".to_owned(),
        hint: "Type: dokku pgbackup:set <service> endpoint-url https://HOST".to_owned(),
    })
}
