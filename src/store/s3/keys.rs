//! The keys of the host, where none are set: what AWS calls the default chain, asked source by source in its order.
//!
//! The SDK's own chain asks the same sources, but of a failure it doesn't say whose it is, and what to do differs: a role is missing, a
//! token request is lost in a container, a profile is misspelt. The source that answers first is kept while a connection lasts: its keys
//! are renewed, and no other one takes its place in the middle of a transfer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};

use super::errors::causes;
use crate::store::StoreError;

/// A source that says nothing for this long has no keys: programs that give them ask somebody else, who may be slow.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Somebody who may have keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `AWS_ACCESS_KEY_ID` and what belongs to it.
    Environment,
    /// `~/.aws/credentials` and `~/.aws/config`.
    Profile,
    /// A token in a file, for which STS gives keys.
    WebIdentity,
    /// What ECS and its like tell a container.
    Container,
    /// The metadata service of an instance.
    Instance,
}

impl Source {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Environment => "the environment",
            Self::Profile => "the profile in ~/.aws",
            Self::WebIdentity => "the web identity",
            Self::Container => "the container's credentials service",
            Self::Instance => "the instance role",
        }
    }

    /// What to look at when it fails.
    fn remedy(self) -> &'static str {
        match self {
            Self::Environment => "Look at the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the user dokku",
            Self::Profile => {
                "Look at ~dokku/.aws/config and ~dokku/.aws/credentials (and AWS_PROFILE): the user dokku must be able to read them, and to run what credential_process names"
            }
            Self::WebIdentity => {
                "Look at AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, and whether the role trusts who made the token"
            }
            Self::Container => {
                "Look at AWS_CONTAINER_CREDENTIALS_FULL_URI (or _RELATIVE_URI) and whether its service is up"
            }
            Self::Instance => {
                "Look what the service says: curl -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"
            }
        }
    }
}

/// What a source says.
#[derive(Debug)]
pub enum Answer {
    /// It has keys; the id of them, which is no secret.
    Keys(String),
    /// It has none; why, where that is worth a word.
    Nothing(Option<Why>),
    /// It is there, and gives none.
    Fails(Why),
}

/// Why there are no keys, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// A clause: `its metadata service answers HTTP 500`.
    pub what: String,
    /// What to type.
    pub remedy: String,
}

/// All of them, in the order in which they are asked.
pub fn sources(environment: &ProviderConfig) -> Vec<(Source, SharedCredentialsProvider)> {
    // A host that is no instance answers nothing at the metadata address: told after seconds, not after a minute.
    let instance = imds::Client::builder()
        .configure(environment)
        .connect_timeout(Duration::from_secs(1))
        .read_timeout(Duration::from_secs(2))
        .max_attempts(2)
        .build();
    vec![
        (Source::Environment, SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new())),
        (
            Source::Profile,
            SharedCredentialsProvider::new(ProfileFileCredentialsProvider::builder().configure(environment).build()),
        ),
        (
            Source::WebIdentity,
            SharedCredentialsProvider::new(
                WebIdentityTokenCredentialsProvider::builder().configure(environment).build(),
            ),
        ),
        (
            Source::Container,
            SharedCredentialsProvider::new(
                aws_config::ecs::EcsCredentialsProvider::builder().configure(environment).build(),
            ),
        ),
        (
            Source::Instance,
            SharedCredentialsProvider::new(
                ImdsCredentialsProvider::builder().configure(environment).imds_client(instance).build(),
            ),
        ),
    ]
}

/// Asks a source.
pub async fn ask(source: Source, provider: &SharedCredentialsProvider) -> Answer {
    match credentials(source, provider).await {
        Ok(keys) => Answer::Keys(keys.access_key_id().to_owned()),
        Err(answer) => answer,
    }
}

/// Its keys, or what it says instead.
async fn credentials(source: Source, provider: &SharedCredentialsProvider) -> Result<Credentials, Answer> {
    tokio::time::timeout(LIMIT, asked(source, provider)).await.unwrap_or_else(|_| {
        let what = format!("gives none within {} seconds", LIMIT.as_secs());
        Err(Answer::Fails(Why { what, remedy: source.remedy().to_owned() }))
    })
}

async fn asked(source: Source, provider: &SharedCredentialsProvider) -> Result<Credentials, Answer> {
    let mut answer = provider.provide_credentials().await;
    // The role's name and its keys are two questions: another role may have come between them.
    if source == Source::Instance && answer.as_ref().is_err_and(|error| causes(error).contains("(code: 404)")) {
        answer = provider.provide_credentials().await;
    }
    answer.map_err(|error| judge(source, matches!(error, CredentialsError::CredentialsNotLoaded(_)), &causes(&error)))
}

/// A source that has just given keys: those are used before it is asked again, which may start a program or take seconds.
#[derive(Debug)]
struct Answered {
    keys: Mutex<Option<Credentials>>,
    source: SharedCredentialsProvider,
}

impl ProvideCredentials for Answered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self.keys.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(keys) => future::ProvideCredentials::ready(Ok(keys)),
            None => self.source.provide_credentials(),
        }
    }
}

/// The first one that has keys.
///
/// # Errors
/// When nobody has, or one whose turn it is fails: to go on to the next would mean to write with another identity in silence.
pub async fn first(
    sources: Vec<(Source, SharedCredentialsProvider)>,
) -> Result<(SharedCredentialsProvider, Source), StoreError> {
    let mut why_not = None;
    for (source, provider) in sources {
        match credentials(source, &provider).await {
            Ok(keys) => {
                let answered = Answered { keys: Mutex::new(Some(keys)), source: provider };
                return Ok((SharedCredentialsProvider::new(answered), source));
            }
            Err(Answer::Keys(_)) => {}
            Err(Answer::Nothing(why)) => why_not = why,
            Err(Answer::Fails(why)) => {
                return Err(StoreError::Misconfigured {
                    message: format!("There are no keys for the store: {} {}", source.name(), why.what),
                    hint: format!(
                        "{}; or use keys of your own: dokku pgbackup:auth <service> ACCESS_KEY_ID",
                        why.remedy
                    ),
                });
            }
        }
    }
    Err(none(why_not))
}

/// Nobody has keys; of the last one asked, the instance, it can be known why.
fn none(why: Option<Why>) -> StoreError {
    let nobody = "neither the settings nor the environment, a profile or an instance role has any";
    let set = "Type: dokku pgbackup:auth <service> ACCESS_KEY_ID";
    match why {
        None => StoreError::Misconfigured {
            message: format!("There are no keys for the store: {nobody}"),
            hint: format!("{set}, or give this host an instance role"),
        },
        Some(Why { what, remedy }) => StoreError::Misconfigured {
            message: format!("There are no keys for the store: {nobody} ({} {what})", Source::Instance.name()),
            hint: format!("{remedy}; or: {}", set.trim_start_matches("Type: ")),
        },
    }
}

/// The SDK's words, taken apart: its types say no more than its texts.
fn judge(source: Source, absent: bool, said: &str) -> Answer {
    let why = |what: &str, remedy: &str| Why { what: what.to_owned(), remedy: remedy.to_owned() };
    let low = said.to_ascii_lowercase();
    let options = "aws ec2 modify-instance-metadata-options --instance-id ID";
    if source == Source::Instance {
        if low.contains("received 404 from imds") {
            return Answer::Nothing(Some(why(
                "is missing: this instance has none",
                "Give the instance a role: aws ec2 associate-iam-instance-profile --instance-id ID --iam-instance-profile Name=PROFILE",
            )));
        }
        if low.contains("read timeout") || low.contains("timed out") && !low.contains("connect") {
            return Answer::Nothing(Some(why(
                "is not told: the metadata service takes connections and doesn't answer, as it does to a container with hop limit 1",
                &format!("Let its answers through: {options} --http-put-response-hop-limit 2"),
            )));
        }
        if low.contains("forbidden") {
            return Answer::Fails(why(
                "is not told: the metadata service is switched off or forbids it (HTTP 403)",
                &format!("Switch it on: {options} --http-endpoint enabled"),
            ));
        }
        if low.contains("ttl") || low.contains("session token") {
            return Answer::Fails(why(
                "is not told: the metadata service gives no session tokens, it may know version 1 (IMDSv1) alone",
                &format!("Have version 2 answered: {options} --http-tokens optional --http-endpoint enabled"),
            ));
        }
    }
    if low.contains("cargo feature") {
        let kind = if low.contains("sso") { "sso" } else { "login" };
        return Answer::Fails(why(
            &format!("is one of {kind}, which is not read: somebody has to sign in again and again"),
            "Give this host keys that last, or a role; or have the AWS command line hand over those of the sign-in, by a line of \
             ~dokku/.aws/config: credential_process = aws configure export-credentials --profile NAME --format process",
        ));
    }
    if let Some((_, how)) = said.split_once("external process exited with code ") {
        return Answer::Fails(why(&format!("gives none: its credential_process ended with {how}"), source.remedy()));
    }
    // A profile that somebody has named and that is not there: the SDK would go on to the next source.
    let named = source == Source::Profile && low.contains("was not defined") && !low.contains("profile `default`");
    if absent && !named {
        return Answer::Nothing(None);
    }
    if low.contains("json") || low.contains("expected field") || low.contains("in response") || low.contains("utf-8") {
        return Answer::Fails(why("answers with something that is no keys", source.remedy()));
    }
    if let Some(code) = said.split_once("(code: ").and_then(|(_, rest)| rest.split_once(')')).map(|(code, _)| code) {
        return Answer::Fails(why(&format!("is not told: the metadata service answers HTTP {code}"), source.remedy()));
    }
    Answer::Fails(why(&format!("gives none: {said}"), source.remedy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: Source, absent: bool, said: &str) -> String {
        match judge(source, absent, said) {
            Answer::Keys(id) => id,
            Answer::Nothing(why) => format!("nothing: {}", why.map(|why| why.what).unwrap_or_default()),
            Answer::Fails(why) => format!("fails: {}", why.what),
        }
    }

    #[test]
    fn the_sdks_words_are_told_apart() {
        use Source::{Container, Environment, Instance, Profile};
        assert_eq!(told(Environment, true, "environment variable not set"), "nothing: ");
        assert_eq!(told(Profile, true, "No profiles were defined"), "nothing: ");
        assert_eq!(told(Profile, true, "profile `default` was not defined: could not find it"), "nothing: ");
        assert!(told(Profile, true, "profile `x` was not defined").contains("gives none: profile `x`"));
        assert_eq!(told(Instance, true, "tcp connect error: Connection refused (os error 111)"), "nothing: ");
        assert!(told(Instance, true, "HTTP read timeout occurred after 2s").contains("hop limit 1"));
        assert_eq!(told(Instance, true, "HTTP connect timeout occurred after 1s"), "nothing: ");
        assert!(told(Instance, true, "received 404 from IMDS").contains("this instance has none"));
        assert!(told(Instance, false, "failed to load IMDS session token").contains("IMDSv1"));
        assert!(told(Instance, false, "failed to load IMDS session token: request forbidden").contains("switched off"));
        assert!(told(Instance, false, "error response from IMDS (code: 500). Response {").contains("answers HTTP 500"));
        assert!(told(Container, false, "invalid JSON in response: x").contains("no keys"));
        let sso = "could not be built: This behavior requires following cargo feature(s) enabled: sso. ";
        assert!(told(Profile, false, sso).starts_with("fails: is one of sso, which is not read"));
        let process = "Error retrieving credentials: external process exited with code exit status: 1. Stderr: sign in";
        let how = "fails: gives none: its credential_process ended with exit status: 1. Stderr: sign in";
        assert_eq!(told(Profile, false, process), how);
    }
}
