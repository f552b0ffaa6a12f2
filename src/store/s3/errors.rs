//! What went wrong, in words: which permission, which resource, which setting, and what to type.
//!
//! S3 answers with a code and a status; networks with a chain of causes. A [`Trouble`] takes what is worth knowing out of
//! either, says whether trying again makes sense, and becomes a [`StoreError`]. Only the store's own `Message` is ever
//! shown: its other fields repeat the access key and the string that was signed.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::call::Act;
use super::dialect::Dialect;
use super::{Credentials, S3Settings};
use crate::store::StoreError;

/// What a store says of a bucket without one: no object of it is kept.
const NO_LOCK: &str = "ObjectLockConfigurationNotFoundError";

/// What a failed call told us.
#[derive(Debug)]
pub struct Trouble {
    kind: Kind,
    status: u16,
    code: String,
    /// The store's message, or the innermost causes of a network failure.
    detail: String,
    /// The region that the store says it should have been.
    region: Option<String>,
}

/// The store doesn't know this kind of request, or a header of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotKnown(String);

impl NotKnown {
    /// Whether that is what an error says.
    pub fn is(error: &StoreError) -> bool {
        matches!(error, StoreError::Failed { source, .. } if source.is::<Self>())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The store answered with an error.
    Answered,
    /// Something answered, but not as S3 does.
    Garbled,
    /// No connection: refused, unknown host, no route.
    Unreachable,
    /// A connection without trust: certificate, or no TLS on the other side.
    Untrusted,
    /// The connection broke.
    Cut,
    /// Nothing moved any more.
    Silent,
    /// No keys to sign with.
    NoCredentials,
    /// The request could not be made.
    Unsent,
}

/// Whether to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// It would fail the same way.
    Never,
    /// After a pause.
    Again,
    /// After a pause, but only one more time.
    AgainOnce,
    /// After a pause, but not for long where nobody answers.
    AgainWhenReachable,
    /// At once, with fresh keys or in another region.
    Reconnect {
        /// The region that the store named.
        region: Option<String>,
    },
}

impl Trouble {
    /// Reads the SDK's error.
    pub fn new<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let causes = causes(error);
        let blank = Self { kind: Kind::Unsent, status: 0, code: String::new(), detail: causes.clone(), region: None };
        if error.as_service_error().is_none() && causes.to_ascii_lowercase().contains("credential") {
            return Self { kind: Kind::NoCredentials, ..blank };
        }
        match error {
            SdkError::ServiceError(refused) => {
                let raw = refused.raw();
                let body = raw.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
                let code = error.code().unwrap_or_default().to_owned();
                let foreign = code.is_empty() && !body.trim().is_empty();
                Self {
                    kind: if foreign { Kind::Garbled } else { Kind::Answered },
                    status: raw.status().as_u16(),
                    code,
                    detail: printable(error.message().unwrap_or_default()),
                    region: raw
                        .headers()
                        .get("x-amz-bucket-region")
                        .or_else(|| between(&body, "<Region>", "</Region>"))
                        .filter(|region| is_region(region))
                        .map(str::to_owned),
                }
            }
            SdkError::ResponseError(garbled) => {
                Self { kind: Kind::Garbled, status: garbled.raw().status().as_u16(), ..blank }
            }
            SdkError::TimeoutError(_) => Self { kind: Kind::Silent, ..blank },
            SdkError::DispatchFailure(failure) => Self { kind: network_kind(failure.is_timeout(), &causes), ..blank },
            _ => blank,
        }
    }

    /// Nothing moved for this long.
    pub fn silent(idle: Duration) -> Self {
        Self {
            kind: Kind::Silent,
            status: 0,
            code: String::new(),
            detail: format!("no answer for {} seconds", idle.as_secs()),
            region: None,
        }
    }

    /// A connection that broke while a body was read.
    pub fn cut(error: &(dyn Error + 'static)) -> Self {
        Self { kind: Kind::Cut, status: 0, code: String::new(), detail: causes(error), region: None }
    }

    /// Whether to try again, and how.
    pub fn advice(&self, settings: &S3Settings) -> Advice {
        match self.kind {
            Kind::Unreachable => Advice::AgainWhenReachable,
            Kind::Cut | Kind::Silent => Advice::Again,
            Kind::Garbled if self.status == 200 || self.status >= 500 || self.status == 429 => Advice::Again,
            Kind::Garbled | Kind::Untrusted | Kind::NoCredentials | Kind::Unsent => Advice::Never,
            Kind::Answered => match (self.code.as_str(), self.status) {
                // Keys from a file, a role or an instance may have been renewed since.
                ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => match settings.credentials {
                    Credentials::Chain => Advice::Reconnect { region: None },
                    Credentials::Static { .. } | Credentials::Link(_) => Advice::Never,
                },
                _ if self.names_another_region() && settings.region.is_none() => {
                    Advice::Reconnect { region: self.region.clone() }
                }
                // The SDK learns the store's clock from the first answer. BadDigest: flipped on the way, perhaps.
                ("RequestTimeTooSkewed" | "BadDigest" | "XAmzContentSHA256Mismatch", _) => Advice::AgainOnce,
                (
                    "RequestTimeout"
                    | "SlowDown"
                    | "Throttling"
                    | "ThrottlingException"
                    | "TooManyRequests"
                    | "RequestLimitExceeded"
                    | "InternalError"
                    | "ServiceUnavailable"
                    | "OperationAborted"
                    | "IncompleteBody",
                    _,
                ) => Advice::Again,
                ("NotImplemented", _) | (_, 501 | 505 | 507) => Advice::Never,
                (_, 408 | 425 | 429) => Advice::Again,
                // A 200 with an error inside is how CompleteMultipartUpload says that it has failed after all.
                (code, 200) => {
                    if matches!(code, "InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" | "NoSuchUpload") {
                        Advice::Never
                    } else {
                        Advice::Again
                    }
                }
                (_, status) if status >= 500 => Advice::Again,
                _ => Advice::Never,
            },
        }
    }

    fn names_another_region(&self) -> bool {
        self.region.is_some()
            && (matches!(
                self.code.as_str(),
                "AuthorizationHeaderMalformed"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "IllegalLocationConstraintException"
            ) || matches!(self.status, 301 | 307)
                || (self.status == 400 && self.code.is_empty()))
    }

    /// The error as a caller branches on it and a user reads it.
    pub fn into_error(self, act: &Act, settings: &S3Settings) -> StoreError {
        let store = settings.endpoint.as_deref().unwrap_or("AWS");
        let bucket = &settings.bucket;
        let auth = "Give the right keys: dokku pgbackup:auth <service> ACCESS_KEY_ID";
        let misconfigured = |message: String, hint: &str| StoreError::Misconfigured { message, hint: hint.to_owned() };
        if let Some(error) = self.of_the_link(settings).or_else(|| self.of_the_dialect(act, settings, store)) {
            return error;
        }
        match self.kind {
            Kind::NoCredentials => no_credentials(&self.detail),
            Kind::Unreachable => misconfigured(
                format!("{store} can't be reached: {}", self.detail),
                "Look whether the endpoint is right (dokku pgbackup:set <service> endpoint-url https://HOST) and whether this host's network, DNS and firewall let it through",
            ),
            Kind::Untrusted => misconfigured(
                format!("{store} can't be trusted: {}", self.detail),
                "Look whether the endpoint's name, port and http:// or https:// are right (dokku pgbackup:set <service> endpoint-url https://HOST); a private certificate authority must be known to this host (update-ca-certificates)",
            ),
            Kind::Garbled if self.status != 200 && self.status < 500 => misconfigured(
                format!("{store} answers, but not as an S3 store does (HTTP {})", self.status),
                "Look whether the endpoint is that of the S3 service and not of its web console: dokku pgbackup:set <service> endpoint-url https://HOST",
            ),
            Kind::Cut => act.failed(anyhow::anyhow!("the connection to {store} broke: {}", self.detail)),
            Kind::Silent => act.failed(anyhow::anyhow!("{store} stopped answering: {}", self.detail)),
            Kind::Garbled => act.failed(anyhow::anyhow!(
                "{store} answers, but not as an S3 store does (HTTP {}): {}",
                self.status,
                self.detail
            )),
            Kind::Unsent => act.failed(anyhow::anyhow!("the request could not be made: {}", self.detail)),
            Kind::Answered => match (self.code.as_str(), self.status) {
                _ if self.names_another_region() => {
                    let right = self.region.as_deref().unwrap_or_default();
                    misconfigured(
                        format!(
                            "Bucket {bucket} is in region {right}, not in {}",
                            settings.region.as_deref().unwrap_or("ours")
                        ),
                        &format!("Type: dokku pgbackup:set <service> region {right}"),
                    )
                }
                ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _) | (_, 301 | 307) => {
                    misconfigured(
                        format!("Bucket {bucket} is in another region, or has another endpoint{}", self.quoted()),
                        "Name the bucket's region: dokku pgbackup:set <service> region REGION",
                    )
                }
                ("NoSuchBucket", _) => misconfigured(
                    format!("Bucket {bucket} does not exist at {store}"),
                    "Make the bucket, or name the right one: dokku pgbackup:set <service> destination s3://BUCKET[/PREFIX]",
                ),
                ("InvalidBucketName", _) => misconfigured(
                    format!("{store} takes no bucket named {bucket}"),
                    "Name the right one: dokku pgbackup:set <service> destination s3://BUCKET[/PREFIX]",
                ),
                ("InvalidAccessKeyId", _) => {
                    misconfigured(format!("{store} doesn't know the access key id of {}", key_source(settings)), auth)
                }
                ("SignatureDoesNotMatch", _) => misconfigured(
                    format!("The secret key of {} doesn't fit its access key id", key_source(settings)),
                    auth,
                ),
                ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired", _) => misconfigured(
                    format!("The session token of {} has expired", key_source(settings)),
                    "Renew the temporary keys (dokku pgbackup:auth <service> ACCESS_KEY_ID --session-token), or use lasting ones: dokku pgbackup:auth <service> ACCESS_KEY_ID",
                ),
                ("InvalidToken" | "InvalidSecurity" | "Unauthorized", _) | (_, 401) => misconfigured(
                    format!("{store} doesn't take the keys of {}{}", key_source(settings), self.quoted()),
                    auth,
                ),
                ("RequestTimeTooSkewed", _) => misconfigured(
                    format!("The clock of this host and that of {store} differ by more than 15 minutes"),
                    "Set the clock: timedatectl set-ntp true",
                ),
                ("InvalidObjectState", _) => misconfigured(
                    format!("{} lies in an archive class (such as GLACIER) and can't be read at once", act.resource),
                    &thaw(&act.resource, settings),
                ),
                ("NoSuchUpload", _) => StoreError::NotFound { what: format!("The upload of {}", act.resource) },
                ("NoSuchKey" | "NotFound" | "NoSuchVersion" | NO_LOCK, _) | ("", 404) => {
                    StoreError::NotFound { what: act.resource.clone() }
                }
                ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden", _) | (_, 403) => {
                    StoreError::Denied {
                        permission: self.named_permission().unwrap_or_else(|| act.permission.to_owned()),
                        resource: act.resource.clone(),
                    }
                }
                // "Only if there is none": of two hosts the second one is told.
                ("PreconditionFailed", _) | (_, 412) if act.permission == "s3:PutObject" => {
                    StoreError::Taken { what: act.resource.clone() }
                }
                ("PreconditionFailed", _) | (_, 412) => {
                    act.failed(anyhow::anyhow!("another object has replaced it meanwhile; try again"))
                }
                ("NotImplemented", _) | (_, 501) => {
                    act.failed(NotKnown(format!("{store} doesn't know this kind of request{}", self.quoted())).into())
                }
                _ => act.failed(anyhow::anyhow!("{store} answers {}{}", self.named(), self.quoted())),
            },
        }
    }

    /// `SlowDown (HTTP 503)`.
    fn named(&self) -> String {
        match self.code.as_str() {
            "" => format!("HTTP {}", self.status),
            code => format!("{} (HTTP {})", printable(code), self.status),
        }
    }

    fn quoted(&self) -> String {
        if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) }
    }

    /// Why a presigned link opens nothing. The store's own words are left out: they can repeat what they refuse.
    fn of_the_link(&self, settings: &S3Settings) -> Option<StoreError> {
        let Credentials::Link(link) = &settings.credentials else { return None };
        let answered = matches!(self.kind, Kind::Answered | Kind::Garbled);
        if !answered || self.status == 412 || self.status >= 500 {
            return None;
        }
        if matches!(self.code.as_str(), "NoSuchKey" | "NoSuchBucket") || self.status == 404 {
            return Some(StoreError::NotFound { what: link.to_string() });
        }
        let expired = self.detail.to_ascii_lowercase().contains("expired") || self.code.starts_with("ExpiredToken");
        let message = if expired {
            format!("The link to {link} has expired")
        } else {
            format!("The link to {link} is refused: {}", self.named())
        };
        let hint = if expired {
            "Have a new one made: dokku pgbackup:url <service> <backup> where the bucket may be read, or aws s3 presign s3://BUCKET/KEY"
        } else {
            "Give the whole link, in quotes (& ends a command in a shell); it opens only what the keys that signed it may read"
        };
        Some(StoreError::Misconfigured { message, hint: hint.to_owned() })
    }

    /// What the store's code says nothing of: R2 has answered "Unauthorized" to a checksum header.
    fn of_the_dialect(&self, act: &Act, settings: &S3Settings, store: &str) -> Option<StoreError> {
        let dialect = Dialect::of(settings);
        match self.kind {
            // The id of a version that is none, or that of the mark of a deletion.
            Kind::Answered
                if act.permission == super::OF_VERSION
                    && matches!(self.status, 400 | 405)
                    && matches!(self.code.as_str(), "" | "BadRequest" | "InvalidArgument" | "MethodNotAllowed") =>
            {
                Some(StoreError::NotFound { what: act.resource.clone() })
            }
            Kind::Answered if self.tells_of_a_lock(act) => {
                Some(StoreError::Retained { what: act.resource.clone(), until: None })
            }
            Kind::Answered if self.tells_of_checksums() => {
                let (said, set) = if dialect.crc {
                    ("doesn't take CRC-32 headers", "off")
                } else {
                    ("asks for checksum headers", "on")
                };
                Some(StoreError::Misconfigured {
                    message: format!("{store} {said}{}", self.quoted()),
                    hint: format!(
                        "Type: dokku pgbackup:set <service> checksums {set}; or say whose store it is: dokku pgbackup:set <service> provider PROVIDER"
                    ),
                })
            }
            Kind::Unreachable if settings.endpoint.is_some() && !dialect.path_style => {
                Some(StoreError::Misconfigured {
                    message: format!("{store} can't be reached with the bucket in its host name: {}", self.detail),
                    hint: "Put the bucket into the path: dokku pgbackup:set <service> path-style on".to_owned(),
                })
            }
            _ => None,
        }
    }

    fn tells_of_checksums(&self) -> bool {
        let detail = self.detail.to_ascii_lowercase();
        let words = [
            "x-amz-checksum",
            "x-amz-sdk-checksum",
            "checksum-algorithm",
            "checksum algorithm",
            "x-amz-trailer",
            "content-md5",
        ];
        words.iter().any(|word| detail.contains(word))
    }

    /// "Access Denied because object protected by object lock" (AWS), "Object is WORM protected" (MinIO).
    fn tells_of_a_lock(&self, act: &Act) -> bool {
        let detail = self.detail.to_ascii_lowercase();
        let words = ["object lock", "object-lock", "worm protected", "retention"];
        act.permission == "s3:DeleteObject"
            && (self.code == "ObjectLocked" || words.iter().any(|word| detail.contains(word)))
    }

    /// AWS names what is missing: "… is not authorized to perform: kms:GenerateDataKey on resource: …".
    fn named_permission(&self) -> Option<String> {
        let (_, rest) = self.detail.split_once("not authorized to perform: ")?;
        let permission = rest.split_whitespace().next()?;
        let plain = permission.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '*'));
        (plain && permission.contains(':')).then(|| permission.to_owned())
    }
}

/// Keys that were there when the connection was made, and are not any more.
fn no_credentials(detail: &str) -> StoreError {
    StoreError::Misconfigured {
        message: format!("There are no keys for the store any more: {detail}"),
        hint: "See who gives them: dokku pgbackup:doctor <service>".to_owned(),
    }
}

/// How an archived object is brought back; the store says the same of one that is on its way.
fn thaw(resource: &str, settings: &S3Settings) -> String {
    let key = resource.strip_prefix("s3://").and_then(|path| path.split_once('/')).map_or("KEY", |(_, key)| key);
    let endpoint = settings.endpoint.as_ref().map(|endpoint| format!(" --endpoint-url {endpoint}")).unwrap_or_default();
    let object = format!("--bucket {} --key '{key}'{endpoint}", settings.bucket);
    format!(
        "Have it brought back, which takes minutes to hours: aws s3api restore-object {object} --restore-request Days=3; it is there when this says \
         ongoing-request=\"false\": aws s3api head-object {object} --query Restore"
    )
}

fn key_source(settings: &S3Settings) -> &'static str {
    match settings.credentials {
        Credentials::Static { .. } => "the settings",
        Credentials::Link(_) => "the link",
        Credentials::Chain => "the environment, profile or instance role",
    }
}

/// What kind of failure a chain of causes tells of. The SDK has only "io" and "other" for it, the words are the system's.
fn network_kind(timeout: bool, causes: &str) -> Kind {
    let causes = causes.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| causes.contains(word));
    if any(&["certificate", "tls", "corrupt message", "invalidcontenttype", "handshake"]) {
        Kind::Untrusted
    } else if any(&["connection refused", "dns error", "lookup address", "no route", "unreachable", "tcp connect"])
        || (timeout && causes.contains("connect timeout"))
    {
        Kind::Unreachable
    } else {
        Kind::Cut
    }
}

/// The innermost words of a chain: outer ones are "dispatch failure" and "io error".
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut all: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = printable(&error.to_string());
        // Many layers repeat the words of the one inside.
        if let Some(last) = all.last_mut().filter(|last| last.ends_with(&text)) {
            let shorter = last.len() - text.len();
            last.truncate(shorter);
            let trimmed = last.trim_end_matches([':', ' ']).len();
            last.truncate(trimmed);
        }
        all.push(text);
        next = error.source();
    }
    let mut said: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|text| {
            !text.is_empty()
                && !matches!(
                    *text,
                    "dispatch failure"
                        | "io error"
                        | "timeout"
                        | "other"
                        | "client error (Connect)"
                        | "error trying to connect"
                        | "client error (SendRequest)"
                )
        })
        .collect();
    said.dedup();
    let skip = said.len().saturating_sub(2);
    said.drain(..skip);
    said.join(": ")
}

/// One line of a foreign text: no control characters (a terminal would obey them), and not endless.
fn printable(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn between<'text>(text: &'text str, start: &str, end: &str) -> Option<&'text str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

fn is_region(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().unwrap();
        Layer(first, (!rest.is_empty()).then(|| Box::new(layers(rest))))
    }

    #[test]
    fn the_innermost_causes_are_told_once() {
        let error = layers(&[
            "dispatch failure",
            "io error",
            "client error (Connect)",
            "tcp connect error: Connection refused (os error 111)",
            "Connection refused (os error 111)",
        ]);
        assert_eq!(causes(&error), "tcp connect error: Connection refused (os error 111)");
        assert_eq!(causes(&layers(&["a\n\u{1b}[31m b"])), "a [31m b");
    }

    #[test]
    fn networks_fail_in_several_ways() {
        for (text, kind) in [
            ("tcp connect error: Connection refused (os error 111)", Kind::Unreachable),
            ("dns error: failed to lookup address information: Name or service not known", Kind::Unreachable),
            ("Network is unreachable (os error 101)", Kind::Unreachable),
            ("invalid peer certificate: UnknownIssuer", Kind::Untrusted),
            ("received corrupt message of type InvalidContentType", Kind::Untrusted),
            ("connection closed before message completed", Kind::Cut),
            ("Connection reset by peer (os error 104)", Kind::Cut),
        ] {
            assert_eq!(network_kind(false, text), kind, "{text}");
        }
        assert_eq!(network_kind(true, "HTTP connect timeout occurred after 10s"), Kind::Unreachable);
    }
}
