//! Who wants to know, and in which words: webhooks of four dialects, healthchecks of two. Pure: addresses in, letters out.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::notify::{Notice, Outcome};
use crate::secret::Secret;
use crate::text::printable;

/// Chat programs cut or refuse long messages (Discord: 2,000 characters in a text, 4,096 in an embed).
const LONGEST: usize = 1_500;
/// Lines of details that a chat is shown.
const SHOWN: usize = 10;

/// What a webhook understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Our own JSON.
    Json,
    /// Slack, and what takes the same: Mattermost, Rocket.Chat.
    Slack,
    /// Discord.
    Discord,
    /// Microsoft Teams (Workflows).
    Teams,
}

impl Dialect {
    /// Its name, which is also the prefix that chooses it: `slack+https://…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
            Self::Discord => "discord",
            Self::Teams => "teams",
        }
    }

    /// By the host that is known for it.
    fn of_host(host: &str) -> Self {
        let host = host.split(':').next().unwrap_or_default();
        let within = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if within("hooks.slack.com") || within("hooks.slack-gov.com") {
            Self::Slack
        } else if within("discord.com") || within("discordapp.com") {
            Self::Discord
        } else if ["webhook.office.com", "logic.azure.com", "api.powerplatform.com"].into_iter().any(within) {
            Self::Teams
        } else {
            Self::Json
        }
    }
}

/// An address whose path is a secret.
#[derive(Clone, PartialEq, Eq)]
struct Address {
    url: Secret,
    /// What may be shown of it.
    shown: String,
}

impl Address {
    fn host(&self) -> &str {
        self.shown.split('/').nth(2).unwrap_or_default()
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What is wrong is said without the address: it may be one but for a slip.
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        if !["https", "http"].contains(&scheme) {
            return Err("an address begins with https:// or http://".to_owned());
        }
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let fine = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
        if host.is_empty() || host.starts_with(':') || !text.chars().all(fine) {
            return Err("an address looks like https://host/path, without blanks".to_owned());
        }
        let bare = rest.len() == host.len() || rest == format!("{host}/");
        let shown = if bare { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/***") };
        Ok(Self { url: Secret::new(text), shown })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// What is sent to an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where to.
    pub url: Secret,
    /// How that may be shown.
    pub shown: String,
    /// What kind of endpoint it is, for people.
    pub kind: &'static str,
    /// The body of a POST; a GET without.
    pub body: Option<String>,
    /// Its type.
    pub content_type: &'static str,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.body.as_deref().unwrap_or_default(), self.shown)
    }
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    dialect: Dialect,
    address: Address,
}

impl Webhook {
    /// What is sent of this.
    pub fn letter(&self, notice: &Notice) -> Letter {
        let body = match self.dialect {
            Dialect::Json => notice.json(),
            Dialect::Slack => slack(notice).to_string(),
            Dialect::Discord => discord(notice).to_string(),
            Dialect::Teams => teams(notice).to_string(),
        };
        Letter {
            url: self.address.url.clone(),
            shown: self.address.shown.clone(),
            kind: self.dialect.as_str(),
            body: Some(body),
            content_type: "application/json",
        }
    }
}

impl FromStr for Webhook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (dialect, address) = match text.split_once("+http") {
            None => (None, text),
            Some((prefix, _)) if prefix.contains(['/', ':']) => (None, text),
            Some((prefix, _)) => {
                let known = [Dialect::Json, Dialect::Slack, Dialect::Discord, Dialect::Teams];
                let dialect = known.into_iter().find(|dialect| dialect.as_str() == prefix);
                let dialect = dialect.ok_or("what stands before the + is none of json, slack, discord, teams")?;
                (Some(dialect), text.get(prefix.len() + 1..).unwrap_or_default())
            }
        };
        let address: Address = address.parse()?;
        let dialect = dialect.unwrap_or_else(|| Dialect::of_host(address.host()));
        Ok(Self { dialect, address })
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.dialect.as_str(), self.address.shown)
    }
}

/// Any number of webhooks, with blanks or commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhooks(pub Vec<Webhook>);

impl FromStr for Webhooks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        Ok(Self(words.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&shown.join(" "))
    }
}

/// A watchman that cries when nothing comes: healthchecks.io (and what takes the same), or a push monitor of Uptime Kuma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    kuma: bool,
    address: Address,
}

impl Healthcheck {
    /// What is sent of this; it wants to know of beginnings, good ends and bad ends alone.
    pub fn letter(&self, notice: &Notice) -> Option<Letter> {
        let good = match notice.outcome {
            Outcome::Started => None,
            Outcome::Succeeded => Some(true),
            Outcome::Failed => Some(false),
            Outcome::Suspicious | Outcome::Missed | Outcome::Recovered => return None,
        };
        let (path, query) = split_query(self.address.url.reveal());
        let (url, body) = if self.kuma {
            let status = if good? { "up" } else { "down" };
            let message: String = notice.message.chars().take(200).collect();
            let ping = notice.seconds.map(|seconds| format!("{:.0}", seconds * 1000.0)).unwrap_or_default();
            (format!("{path}?status={status}&msg={}&ping={ping}", percent_encoded(&message)), None)
        } else {
            let ending = match good {
                None => "/start",
                Some(true) => "",
                Some(false) => "/fail",
            };
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (format!("{}{ending}{query}", path.trim_end_matches('/')), Some(log(notice)))
        };
        Some(Letter {
            url: Secret::new(url),
            shown: self.address.shown.clone(),
            kind: "healthcheck",
            body,
            content_type: "text/plain; charset=utf-8",
        })
    }
}

impl FromStr for Healthcheck {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kuma, address) = match text.strip_prefix("kuma+") {
            Some(address) => (true, address),
            None => (text.contains("/api/push/"), text),
        };
        Ok(Self { kuma, address: address.parse()? })
    }
}

impl fmt::Display for Healthcheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.kuma { "kuma+" } else { "" }, self.address.shown)
    }
}

fn split_query(url: &str) -> (&str, Option<&str>) {
    url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)))
}

/// As RFC 3986 wants a value in a query.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The body that a healthcheck keeps as its log.
fn log(notice: &Notice) -> String {
    let mut lines = vec![notice.message.clone()];
    lines.extend(notice.details.iter().cloned());
    lines.push(format!("{} on {} at {}", notice.event(), notice.host, notice.at));
    lines.join("\n")
}

/// What chats show: the sentence and the first details.
fn words(notice: &Notice) -> (String, Vec<String>) {
    let cut = |text: &str, most: usize| {
        let text = printable(text);
        match text.char_indices().nth(most) {
            None => text.into_owned(),
            Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        }
    };
    let mut details: Vec<String> = notice.details.iter().take(SHOWN).map(|line| cut(line, 200)).collect();
    if notice.details.len() > SHOWN {
        details.push(format!("and {} more", notice.details.len() - SHOWN));
    }
    (cut(&notice.message, LONGEST), details)
}

fn emoji(notice: &Notice) -> &'static str {
    match notice.outcome {
        Outcome::Started => "🕒",
        Outcome::Succeeded | Outcome::Recovered => "✅",
        Outcome::Failed => "❌",
        Outcome::Suspicious | Outcome::Missed => "⚠️",
    }
}

fn footer(notice: &Notice) -> String {
    let test = if notice.test { "a test of " } else { "" };
    format!("{test}pgbackup on {}", notice.host)
}

/// Slack's mrkdwn knows three characters that must be written otherwise; links and mentions are made of them alone.
fn slack(notice: &Notice) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (message, details) = words(notice);
    let mut text = format!("{} {}", emoji(notice), escaped(&message));
    for line in &details {
        text.push_str("\n• ");
        text.push_str(&escaped(line));
    }
    text.push_str("\n_");
    text.push_str(&escaped(&footer(notice)));
    text.push('_');
    json!({ "text": text })
}

/// An embed's text is Markdown; nobody is mentioned, whatever a table is called.
fn discord(notice: &Notice) -> Value {
    let (message, details) = words(notice);
    let mut lines = vec![markdown(&message)];
    lines.extend(details.iter().map(|line| format!("- {}", markdown(line))));
    let colour = if notice.outcome.is_bad() { 0x00d9_3025 } else { 0x001e_8e3e };
    json!({
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": format!("{} {}", emoji(notice), notice.event()),
            "description": lines.join("\n"),
            "color": colour,
            "timestamp": notice.at.to_string(),
            "footer": { "text": footer(notice) },
        }],
    })
}

fn markdown(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if matches!(c, '*' | '_' | '`' | '~' | '|' | '>' | '[' | ']' | '<' | '\\' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
        escaped
    })
}

/// A message with one Adaptive Card, as Teams' Workflows take it (its older connectors too).
fn teams(notice: &Notice) -> Value {
    let (message, details) = words(notice);
    let colour = if notice.outcome.is_bad() { "Attention" } else { "Good" };
    let block = |text: String| json!({ "type": "TextBlock", "text": text, "wrap": true });
    let mut body = vec![
        json!({ "type": "TextBlock", "text": format!("{} {}", emoji(notice), notice.event()), "weight": "Bolder", "color": colour, "wrap": true }),
        block(markdown(&message)),
    ];
    body.extend(details.iter().map(|line| block(format!("- {}", markdown(line)))));
    body.push(json!({ "type": "TextBlock", "text": footer(notice), "isSubtle": true, "size": "Small", "wrap": true }));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": { "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::failed;

    fn body(url: &str, notice: &Notice) -> String {
        let letter = url.parse::<Webhook>().unwrap().letter(notice);
        let value: Value = serde_json::from_str(letter.body.as_deref().unwrap()).unwrap();
        serde_json::to_string_pretty(&value).unwrap()
    }

    #[test]
    fn knows_a_webhook_by_its_host_or_its_prefix() {
        for (url, shown) in [
            ("https://hooks.slack.com/services/T0/B0/xyz", "slack+https://hooks.slack.com/***"),
            ("https://discord.com/api/webhooks/1/xyz", "discord+https://discord.com/***"),
            ("https://acme.webhook.office.com/webhookb2/xyz", "teams+https://acme.webhook.office.com/***"),
            (
                "https://prod-1.westeurope.logic.azure.com:443/workflows/x?sig=y",
                "teams+https://prod-1.westeurope.logic.azure.com:443/***",
            ),
            ("slack+https://chat.example.com/hooks/xyz", "slack+https://chat.example.com/***"),
            ("https://example.com/x?next=a+https://b", "json+https://example.com/***"),
            ("https://user:secret@example.com", "json+https://example.com/***"),
            ("https://nothooks.slack.com.example.com/xyz", "json+https://nothooks.slack.com.example.com/***"),
            ("http://127.0.0.1:8080/", "json+http://127.0.0.1:8080"),
        ] {
            assert_eq!(url.parse::<Webhook>().unwrap().to_string(), shown, "{url}");
        }
        for bad in
            ["", "example.com/x", "ftp://x", "https://", "https:///x", "https://a b", "irc+https://a", "https://:1/"]
        {
            let error = bad.parse::<Webhook>().unwrap_err();
            assert!(bad.len() < 9 || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn several_webhooks_stand_in_one_property() {
        let both: Webhooks = "https://a.example/1, slack+https://b.example/2".parse().unwrap();
        assert_eq!(both.to_string(), "json+https://a.example/*** slack+https://b.example/***");
        assert!(!format!("{both:?}").contains("/1"));
        assert!("https://a.example/1 nonsense".parse::<Webhooks>().is_err());
    }

    #[test]
    fn speaks_slack() {
        insta::assert_snapshot!(body("slack+https://x/1", &failed()), @r#"
        {
          "text": "❌ Backup of prod failed: No space left on &lt;device&gt; &amp; \"more\"\n_pgbackup on dokku.example_"
        }
        "#);
    }

    #[test]
    fn speaks_discord_and_mentions_nobody() {
        let notice = Notice { details: vec!["public.\"@everyone\" 562 → 0".to_owned()], ..failed() };
        insta::assert_snapshot!(body("discord+https://x/1", &notice), @r#"
        {
          "allowed_mentions": {
            "parse": []
          },
          "embeds": [
            {
              "color": 14233637,
              "description": "Backup of prod failed: No space left on \\<device\\> & \"more\"\n- public.\"@everyone\" 562 → 0",
              "footer": {
                "text": "pgbackup on dokku.example"
              },
              "timestamp": "2026-11-23T14:00:04Z",
              "title": "❌ backup-failed"
            }
          ]
        }
        "#);
    }

    #[test]
    fn speaks_teams() {
        insta::assert_snapshot!(body("teams+https://x/1", &failed()), @r#"
        {
          "attachments": [
            {
              "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "body": [
                  {
                    "color": "Attention",
                    "text": "❌ backup-failed",
                    "type": "TextBlock",
                    "weight": "Bolder",
                    "wrap": true
                  },
                  {
                    "text": "Backup of prod failed: No space left on \\<device\\> & \"more\"",
                    "type": "TextBlock",
                    "wrap": true
                  },
                  {
                    "isSubtle": true,
                    "size": "Small",
                    "text": "pgbackup on dokku.example",
                    "type": "TextBlock",
                    "wrap": true
                  }
                ],
                "type": "AdaptiveCard",
                "version": "1.4"
              },
              "contentType": "application/vnd.microsoft.card.adaptive"
            }
          ],
          "type": "message"
        }
        "#);
    }

    #[test]
    fn chats_are_told_no_more_than_they_take() {
        let notice = Notice {
            message: "é".repeat(10_000),
            details: (0..30).map(|number| format!("table {number} {}", "x".repeat(500))).collect(),
            ..failed()
        };
        for dialect in ["slack", "discord", "teams"] {
            let body = body(&format!("{dialect}+https://x/1"), &notice);
            assert!(body.chars().count() < 6_000, "{}", body.chars().count());
            assert!(body.contains("and 20 more"));
        }
    }

    #[test]
    fn a_healthcheck_hears_of_start_and_end() {
        let url = |check: &str, outcome| {
            let letter = check.parse::<Healthcheck>().unwrap().letter(&Notice { outcome, ..failed() });
            letter.map(|letter| letter.url.reveal().to_owned())
        };
        let check = "https://hc-ping.com/uuid/?create=1";
        assert_eq!(url(check, Outcome::Started).unwrap(), "https://hc-ping.com/uuid/start?create=1");
        assert_eq!(url(check, Outcome::Succeeded).unwrap(), "https://hc-ping.com/uuid?create=1");
        assert_eq!(url(check, Outcome::Failed).unwrap(), "https://hc-ping.com/uuid/fail?create=1");
        assert_eq!(url(check, Outcome::Recovered), None);
        let kuma = "https://kuma.example/api/push/TOKEN?status=up&msg=OK&ping=";
        assert_eq!(url(kuma, Outcome::Started), None);
        assert_eq!(
            url(kuma, Outcome::Failed).unwrap(),
            "https://kuma.example/api/push/TOKEN?status=down&msg=Backup%20of%20prod%20failed%3A%20No%20space%20left%20on%20%3Cdevice%3E%20%26%20%22more%22&ping=1500"
        );
        assert_eq!(check.parse::<Healthcheck>().unwrap().to_string(), "https://hc-ping.com/***");
    }
}
