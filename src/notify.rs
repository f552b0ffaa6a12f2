//! Being told: what happens to a service goes to plugins, to webhooks and to a healthcheck, beside the work and never in its way.
//!
//! A [`Notice`] says what happened; an [`endpoint`] is who wants to know, and in which words; the [`Messenger`] carries it there from a
//! thread of its own. An endpoint that is dead, slow or refuses costs a warning and a line in the history: a backup is as good as it
//! was before anybody was told of it. Endpoints' addresses are secrets (who knows one can write there), so they are shown and
//! remembered without what opens them, and a notice never holds a key, a password or a row.

pub mod endpoint;
pub mod messenger;
pub mod post;
pub mod tls;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::service::name::ServiceName;
use crate::text::without_rows;

pub use endpoint::{Healthcheck, Webhook};
pub use messenger::{Messenger, Untold};

/// The version of the JSON that plugins and webhooks get.
const FORMAT: u32 = 1;

/// What was done, or was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A backup.
    Backup,
    /// A restore into the live database's place.
    Restore,
    /// A restore drill.
    Verify,
    /// Deletion by the rules of retention.
    Prune,
    /// A copy to a second destination.
    Copy,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It begins.
    Started,
    /// It has ended well.
    Succeeded,
    /// It has not.
    Failed,
    /// It has ended well, and what it found looks wrong: a table lost its rows.
    Suspicious,
    /// It was due and didn't begin.
    Missed,
    /// It has ended well, and had failed before.
    Recovered,
}

impl Work {
    /// Every kind of work.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Restore, Self::Verify, Self::Prune, Self::Copy];

    /// Its name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Prune => "prune",
            Self::Copy => "copy",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Started, Self::Succeeded, Self::Failed, Self::Suspicious, Self::Missed, Self::Recovered];

    /// Its name in events and in the property notify-on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Suspicious => "suspicious",
            Self::Missed => "missed",
            Self::Recovered => "recovered",
        }
    }

    /// Whether somebody should look at it.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Suspicious | Self::Missed)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened. What is not known or makes no sense for the event is left out of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// What was done.
    pub work: Work,
    /// What became of it.
    pub outcome: Outcome,
    /// The service it was done to.
    pub service: ServiceName,
    /// The Dokku host.
    pub host: String,
    /// When this happened.
    pub at: Timestamp,
    /// One sentence for people.
    pub message: String,
    /// The backup's key; for a restore its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where backups go, as `Store::describe` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Length of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Number of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Number of rows of all tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Why it failed, as the user reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// More lines: what differs, what looks wrong, what was deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Who called Dokku.
    pub by: By,
    /// Sent by `notify:test`: nothing has happened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

/// Who called Dokku, as it tells its plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// `SSH_USER`.
    pub user: String,
    /// `SSH_NAME`: the name of the ssh key.
    pub name: String,
}

impl Notice {
    /// `backup-failed`.
    pub fn event(&self) -> String {
        format!("{}-{}", self.work, self.outcome)
    }

    /// The same without what PostgreSQL's programs say of rows: an error of theirs may quote one.
    #[must_use]
    pub fn without_rows(&self) -> Self {
        let told = |text: &String| without_rows(text).into_owned();
        Self {
            message: told(&self.message),
            error: self.error.as_ref().map(told),
            details: self.details.iter().map(told).collect(),
            ..self.clone()
        }
    }

    /// As plugins and generic webhooks get it.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            format: u32,
            event: String,
            #[serde(flatten)]
            notice: &'a Notice,
            version: &'static str,
        }
        let document =
            Document { format: FORMAT, event: self.event(), notice: self, version: env!("CARGO_PKG_VERSION") };
        // Strings and numbers can't fail to be written; an event without its particulars is still one.
        serde_json::to_string(&document)
            .unwrap_or_else(|_| format!("{{\"format\":{FORMAT},\"event\":\"{}\"}}", self.event()))
    }
}

/// Of what webhooks are told: the property notify-on. Plugins and the healthcheck are always told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifyOn(Vec<(Option<Work>, Outcome)>);

impl NotifyOn {
    /// Whether this is wanted.
    pub fn wants(&self, work: Work, outcome: Outcome) -> bool {
        self.0.iter().any(|(of, wanted)| *wanted == outcome && of.is_none_or(|of| of == work))
    }
}

impl FromStr for NotifyOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut wanted = Vec::new();
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            match word {
                "all" => wanted.extend(Outcome::ALL.map(|outcome| (None, outcome))),
                "none" if text == "none" => {}
                _ => wanted.push(event(word).ok_or_else(|| {
                    let outcomes = Outcome::ALL.map(Outcome::as_str).join(", ");
                    format!("{word:?} is no event: it takes {outcomes}, or one of these of one kind of work (backup-succeeded), all, or none")
                })?),
            }
        }
        if wanted.is_empty() && text != "none" {
            return Err("to be told of nothing, write none".to_owned());
        }
        Ok(Self(wanted))
    }
}

/// `failed`, or `backup-failed`.
fn event(word: &str) -> Option<(Option<Work>, Outcome)> {
    let outcome = |word: &str| Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word);
    if let Some(outcome) = outcome(word) {
        return Some((None, outcome));
    }
    let (before, behind) = word.split_once('-')?;
    let of = Work::ALL.into_iter().find(|known| known.as_str() == before)?;
    Some((Some(of), outcome(behind)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn failed() -> Notice {
        Notice {
            work: Work::Backup,
            outcome: Outcome::Failed,
            service: "prod".parse().unwrap(),
            host: "dokku.example".to_owned(),
            at: "2026-11-23T14:00:04Z".parse().unwrap(),
            message: "Backup of prod failed: No space left on <device> & \"more\"".to_owned(),
            key: None,
            destination: Some("s3://bucket/backups".to_owned()),
            seconds: Some(1.5),
            bytes: None,
            tables: None,
            rows: None,
            error: Some("No space left on <device> & \"more\"".to_owned()),
            details: Vec::new(),
            by: By { user: "root".to_owned(), name: "default".to_owned() },
            test: false,
        }
    }

    #[test]
    fn the_document_is_as_documented() {
        insta::assert_snapshot!(failed().json().replace(env!("CARGO_PKG_VERSION"), "<version>"), @r#"{"format":1,"event":"backup-failed","work":"backup","outcome":"failed","service":"prod","host":"dokku.example","at":"2026-11-23T14:00:04Z","message":"Backup of prod failed: No space left on <device> & \"more\"","destination":"s3://bucket/backups","seconds":1.5,"error":"No space left on <device> & \"more\"","by":{"user":"root","name":"default"},"version":"<version>"}"#);
    }

    #[test]
    fn tells_of_what_is_wanted() {
        let wanted: NotifyOn = "failed,suspicious verify-succeeded".parse().unwrap();
        assert!(wanted.wants(Work::Prune, Outcome::Failed));
        assert!(wanted.wants(Work::Verify, Outcome::Succeeded));
        assert!(!wanted.wants(Work::Backup, Outcome::Succeeded));
        assert!("all".parse::<NotifyOn>().unwrap().wants(Work::Copy, Outcome::Started));
        assert!(!"none".parse::<NotifyOn>().unwrap().wants(Work::Backup, Outcome::Failed));
        for bad in ["", ",", "fail", "backup", "backup-", "none,failed", "dump-failed"] {
            assert!(bad.parse::<NotifyOn>().is_err(), "{bad}");
        }
    }
}
