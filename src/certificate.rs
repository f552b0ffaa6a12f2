//! A certificate: that a backup was restored or tried, what was expected and what was found, for somebody who was not there.
//!
//! Kept in the plugin's own folder, the newest [`KEPT`] of a service. As a page it is one file without anything from outside: it can be
//! mailed, printed and opened in ten years. Names of tables come from databases, so everything in it is escaped.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::service::name::ServiceName;
use crate::text::{count, printable};
use crate::verification::Verification;

/// How many of a service are kept.
const KEPT: usize = 200;
/// The version of the JSON.
const FORMAT: u32 = 1;

/// What was done to the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// It was restored into the live database's place.
    Restore,
    /// It was loaded into a throw-away database.
    Verify,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The version of this structure.
    pub format: u32,
    /// What was done.
    pub work: Work,
    /// Whether everything that was compared was equal.
    pub passed: bool,
    /// The service it was done in.
    pub service: ServiceName,
    /// The Dokku host.
    pub host: String,
    /// `SSH_USER` of the caller.
    pub user: String,
    /// `SSH_NAME` of the caller.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The backup.
    pub backup: Backup,
    /// The image of the server it was loaded into.
    pub image: String,
    /// The version of pgbackup.
    pub version: String,
    /// Every table expected and found, and what differs.
    #[serde(flatten)]
    pub verification: Verification,
}

/// The backup, as its manifest and its place describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its key, a file or standard input.
    pub source: String,
    /// Where it lay.
    pub destination: Option<String>,
    /// SHA-256 of the object behind its header, which the load has checked.
    pub sha256_behind_head: Option<String>,
    /// Length of the object.
    pub bytes: Option<u64>,
    /// The state of the database that it holds.
    pub snapshot: Option<Timestamp>,
    /// What made it.
    pub made_by: Option<String>,
    /// The server it was made on.
    pub server: Option<String>,
}

/// One point of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// When the backup began.
    pub started: Timestamp,
    /// Length of the object.
    pub bytes: u64,
    /// Number of rows.
    pub rows: u64,
}

/// The certificates of a service; `folder` is the service's own below the plugin's data.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Nothing is made before the first certificate.
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.join("certificates") }
    }

    /// Keeps one, and lets the oldest go.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&self, certificate: &Certificate) -> Result<()> {
        durable::make_folder(&self.folder, 0o700)?;
        let name = format!("{}.json", certificate.began.strftime("%Y-%m-%d-%H-%M-%S-%3f"));
        durable::write(&self.folder.join(name), &serde_json::to_vec(certificate)?, 0o600)?;
        let mut names = self.names()?;
        let surplus = names.len().saturating_sub(KEPT);
        for name in names.drain(..surplus) {
            durable::remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    /// Names of the files, oldest first.
    fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{} can't be read", self.folder.display())),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".json") && !name.starts_with('.'))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The newest one of a backup whose source has this in it, or of all; what can't be read is passed over.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn newest(&self, part: Option<&str>) -> Result<Option<Certificate>> {
        for name in self.names()?.iter().rev() {
            let read = durable::read(&self.folder.join(name))?;
            let certificate = read.and_then(|text| serde_json::from_slice::<Certificate>(&text).ok());
            if let Some(certificate) = certificate
                && part.is_none_or(|part| certificate.backup.source.contains(part))
            {
                return Ok(Some(certificate));
            }
        }
        Ok(None)
    }
}

impl Certificate {
    /// The version that this code writes.
    pub const FORMAT: u32 = FORMAT;

    fn verdict(&self) -> &'static str {
        if self.passed { "PASSED" } else { "FAILED" }
    }

    fn title(&self) -> String {
        let what = match self.work {
            Work::Restore => "Restore",
            Work::Verify => "Restore drill",
        };
        format!("{what} of {}", self.service)
    }

    /// Name and value of everything but the comparison.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let time = |instant: Timestamp| instant.round(Unit::Second).unwrap_or(instant).to_string();
        let backup = &self.backup;
        let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
        vec![
            ("Verdict", self.verdict().to_owned()),
            ("Service", format!("{} on {}", self.service, self.host)),
            ("Backup", backup.source.clone()),
            ("Kept in", known(&backup.destination)),
            ("State of", backup.snapshot.map_or_else(|| "not known".to_owned(), time)),
            ("Size", backup.bytes.map_or_else(|| "not known".to_owned(), |bytes| count(bytes, "byte"))),
            ("SHA-256 behind its header", known(&backup.sha256_behind_head)),
            ("Made by", known(&backup.made_by)),
            ("Made on", known(&backup.server)),
            ("Loaded into", self.image.clone()),
            ("Called by", format!("{} ({})", self.user, self.name)),
            ("Began", time(self.began)),
            ("Took", format!("{:.1} seconds", self.seconds)),
            ("Tables", self.verification.tables.len().to_string()),
            ("Rows found", self.verification.rows().to_string()),
            ("Values compared", self.verification.compared.to_string()),
            ("Checks", self.checks()),
            ("Differences", self.verification.differences.len().to_string()),
            ("Checked by", format!("pgbackup {}", self.version)),
        ]
    }

    /// `3 passed`, `2 of 3 passed`.
    fn checks(&self) -> String {
        let checks = &self.verification.checks;
        let passed = checks.iter().filter(|check| check.passed).count();
        match checks.len() {
            0 => "none are set".to_owned(),
            all if all == passed => format!("{passed} passed"),
            all => format!("{passed} of {all} passed"),
        }
    }

    /// For a terminal, a mail or a file; lines without terminal escapes.
    pub fn text(&self) -> Vec<String> {
        let mut lines = vec![format!("Certificate: {}", self.title()), String::new()];
        for (name, value) in self.facts() {
            lines.push(format!("{:27}{}", format!("{name}:"), printable(&value)));
        }
        lines.push(String::new());
        let side = |rows: Option<u64>| rows.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
        lines.push(format!("{:>14} {:>14}  {:9} Table", "Expected", "Found", ""));
        for table in &self.verification.tables {
            let mark = if table.matches() { "equal" } else { "DIFFERENT" };
            lines.push(format!(
                "{:>14} {:>14}  {mark:9} {}",
                side(table.expected),
                side(table.found),
                printable(&table.table)
            ));
        }
        for check in &self.verification.checks {
            let mark = if check.passed { "passed" } else { "FAILED" };
            let (name, expected, found) = (&check.check, &check.expected, &check.found);
            lines.push(printable(&format!("Check {mark}: {name}: {expected} expected, {found} found")).into_owned());
            lines.push(format!("    {}", printable(check.sql.as_str())));
        }
        let others = [("Difference", &self.verification.differences), ("Note", &self.verification.notes)];
        for (word, ones) in others {
            for one in ones {
                lines.push(printable(&format!("{word}: {}", one.sentence())).into_owned());
            }
        }
        for sentence in self.verification.gap_sentences() {
            lines.push(printable(&sentence).into_owned());
        }
        lines
    }

    /// As one page.
    pub fn html(&self, points: &[Point]) -> String {
        let mut facts = String::new();
        for (name, value) in self.facts().into_iter().skip(1) {
            let _ = writeln!(facts, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
        }
        let side = |rows: Option<u64>| rows.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
        let mut tables = String::new();
        for table in &self.verification.tables {
            let (class, mark) = if table.matches() { ("equal", "equal") } else { ("different", "different") };
            let _ = writeln!(
                tables,
                "<tr class=\"{class}\"><td>{}</td><td class=\"number\" data-label=\"Expected\">{}</td><td class=\"number\" data-label=\"Found\">{}</td><td class=\"mark\">{mark}</td></tr>",
                escaped(&table.table),
                side(table.expected),
                side(table.found),
            );
        }
        let mut findings = String::new();
        for (title, ones) in [("Differences", &self.verification.differences), ("Notes", &self.verification.notes)] {
            if ones.is_empty() {
                continue;
            }
            let _ = writeln!(findings, "<h2>{title}</h2>\n<ul>");
            for one in ones {
                let _ = writeln!(findings, "<li>{}</li>", escaped(&one.sentence()));
            }
            findings.push_str("</ul>\n");
        }
        for sentence in self.verification.gap_sentences() {
            let _ = writeln!(findings, "<p>{}</p>", escaped(&sentence));
        }
        let mut checks = String::new();
        if !self.verification.checks.is_empty() {
            checks.push_str(
                "<h2>Checks</h2>\n<table>\n<thead><tr><th>Check</th><th>Expected</th><th>Found</th><th></th></tr></thead>\n<tbody>\n",
            );
        }
        for check in &self.verification.checks {
            let (class, mark) = if check.passed { ("equal", "passed") } else { ("different", "failed") };
            let _ = writeln!(
                checks,
                "<tr class=\"{class}\"><td>{}<br/><code>{}</code></td><td data-label=\"Expected\">{}</td><td data-label=\"Found\">{}</td><td class=\"mark\">{mark}</td></tr>",
                escaped(&check.check.to_string()),
                escaped(check.sql.as_str()),
                escaped(&check.expected),
                escaped(&check.found),
            );
        }
        if !checks.is_empty() {
            checks.push_str("</tbody>\n</table>\n");
        }
        let title = escaped(&self.title());
        let verdict = self.verdict();
        let class = if self.passed { "passed" } else { "failed" };
        let sentence = if self.passed {
            "What was restored is what was saved: every value compared is equal."
        } else if self.verification.differences.is_empty() {
            "Nothing of what was restored could be compared with what was saved."
        } else {
            "What was restored differs from what was saved."
        };
        let charts = chart("Size of each backup in bytes", points, |point| point.bytes)
            + &chart("Rows in each backup", points, |point| point.rows);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n<p class=\"verdict {class}\"><strong>{verdict}</strong> {sentence}</p>\n\
             <dl>\n{facts}</dl>\n{findings}{checks}{charts}<h2>Tables</h2>\n<table>\n\
             <thead><tr><th>Table</th><th class=\"number\">Expected</th><th class=\"number\">Found</th><th></th></tr></thead>\n\
             <tbody>\n{tables}</tbody>\n</table>\n</body>\n</html>\n"
        )
    }
}

/// Readable on a phone, on a screen and on paper, in light and dark.
const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 52rem; margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { border-left: .4rem solid; padding: .6rem 1rem; margin: 0 0 1.5rem; }
.passed { border-color: #1e8e3e; } .failed { border-color: #d93025; }
dl { display: grid; grid-template-columns: minmax(7rem, 14rem) 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: GrayText; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #8884; vertical-align: top; }
.mark { white-space: nowrap; overflow-wrap: normal; } code { font-size: .85em; } .number { text-align: right; overflow-wrap: normal; }
.different { font-weight: bold; } .different td { border-bottom-color: #d93025; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
@media (max-width: 34rem) {
  dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .5rem; } svg text { font-size: 20px; }
  thead { display: none; } tr { display: block; padding: .4rem 0; border-bottom: 1px solid #8884; } .different { border-bottom-color: #d93025; }
  td { display: block; border: 0; padding: .1rem .3rem; } .number { text-align: left; } .number, .mark { display: inline-block; }
  td[data-label]::before { content: attr(data-label) ': '; color: GrayText; }
}
@media print {
  :root { color-scheme: light; } body { margin: 0; max-width: none; font-size: 11pt; }
  h2 { break-after: avoid; } tr, dl, svg { break-inside: avoid; } thead { display: table-header-group; }
}
";

/// A line over time, from nought to the largest.
fn chart(title: &str, points: &[Point], value: impl Fn(&Point) -> u64) -> String {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 120.0;
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let most = points.iter().map(&value).max().unwrap_or_default();
    let span = last.started.as_second() - first.started.as_second();
    if span <= 0 {
        return String::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
    let place = |point: &Point| {
        let x = (point.started.as_second() - first.started.as_second()) as f64 / span as f64 * WIDTH;
        let y = HEIGHT - value(point) as f64 / most.max(1) as f64 * HEIGHT;
        (x + 10.0, y + 24.0)
    };
    let mut line = String::new();
    let mut dots = String::new();
    for point in points {
        let (x, y) = place(point);
        let _ = write!(line, "{x:.1},{y:.1} ");
        let _ = write!(dots, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"currentColor\"/>");
    }
    let day = |point: &Point| point.started.strftime("%F").to_string();
    format!(
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 620 170\" role=\"img\" aria-label=\"{title}, {} backups\">\n\
         <line x1=\"10\" y1=\"144\" x2=\"610\" y2=\"144\" stroke=\"currentColor\" opacity=\"0.4\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.5\"/>\n{dots}\n\
         <text x=\"10\" y=\"14\">{most}</text><text x=\"10\" y=\"162\">{}</text>\
         <text x=\"610\" y=\"162\" text-anchor=\"end\">{}, {}</text>\n</svg>\n",
        points.len(),
        line.trim_end(),
        day(first),
        day(last),
        value(last)
    )
}

/// Text that is text and nothing else in HTML, in an element or an attribute.
fn escaped(text: &str) -> String {
    printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::{Checked, Difference, NotCompared, Reason, TableRows};

    fn certificate() -> Certificate {
        let table = |name: &str, expected, found| TableRows { table: name.to_owned(), expected, found };
        Certificate {
            format: FORMAT,
            work: Work::Verify,
            passed: false,
            service: "prod".parse().unwrap(),
            host: "dokku.example".to_owned(),
            user: "root".to_owned(),
            name: "<b>key</b>".to_owned(),
            began: "2026-11-23T14:00:04.123Z".parse().unwrap(),
            seconds: 12.34,
            backup: Backup {
                source: "postgres-prod-2026-11-23-11-00-04.tgz".to_owned(),
                bytes: Some(1),
                ..Backup::default()
            },
            image: "postgres:15.18".to_owned(),
            version: "0.1.0".to_owned(),
            verification: Verification {
                tables: vec![
                    table("public.\"<script>alert('x')</script>\"", Some(562), Some(0)),
                    table("public.\"a\u{202e}\u{1b}[31m & b\"", Some(1), Some(1)),
                ],
                checks: vec![Checked {
                    check: "users".parse().unwrap(),
                    sql: "SELECT count(*) AS \"<i>\" FROM users -- \u{202e}".parse().unwrap(),
                    expected: "at least 500".to_owned(),
                    found: "<b>0</b>".to_owned(),
                    passed: false,
                }],
                differences: vec![Difference {
                    what: "table \"><img src=x onerror=alert(1)>".to_owned(),
                    expected: "562 rows".to_owned(),
                    found: "0 rows".to_owned(),
                }],
                notes: Vec::new(),
                not_compared: vec![NotCompared { table: "public.\"<i>\"".to_owned(), reason: Reason::Inserts }],
                compared: 2,
            },
        }
    }

    fn points() -> Vec<Point> {
        let point = |day: i64| Point {
            started: Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap(),
            bytes: 1_000 + u64::try_from(day).unwrap() * 10,
            rows: u64::MAX / 2,
        };
        (0..30).map(point).collect()
    }

    /// Every tag is closed, in order, and nothing is left over: what an XML parser would ask for.
    fn tags(html: &str) -> Vec<String> {
        let mut open = Vec::new();
        let mut seen = Vec::new();
        let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a page begins with its type");
        while let Some(begin) = rest.find('<') {
            let text = &rest[..begin];
            assert!(open.last().is_some_and(|tag| tag == "style") || !text.contains('>'), "a stray > in {text:?}");
            let end = begin + rest[begin..].find('>').expect("a tag ends");
            let tag = &rest[begin + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop().as_ref(), Some(&name));
            } else {
                seen.push(name.clone());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
            rest = &rest[end + 1..];
        }
        assert_eq!(open, Vec::<String>::new());
        seen
    }

    #[test]
    fn the_page_is_whole_and_takes_nothing_from_outside_and_no_orders_from_a_name() {
        let html = certificate().html(&points());
        let known = "html head meta title style body h1 p strong dl dt dd h2 ul li svg line polyline circle text table thead tbody tr th td br code";
        for tag in tags(&html) {
            assert!(known.split(' ').any(|one| one == tag), "<{tag}>");
        }
        for outside in ["http:", "https:", "//", "url(", "src=x>", "@import", "\u{1b}", "\u{202e}"] {
            assert!(!html.contains(outside), "{outside:?}");
        }
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
        assert!(html.contains("a\\u{202e}\\u{1b}[31m &amp; b"));
        assert!(html.contains("FAILED"));
        assert!(html.contains("<code>SELECT count(*) AS &quot;&lt;i&gt;&quot; FROM users -- \\u{202e}</code>"));
        tags(&certificate().html(&[]));
    }

    #[test]
    fn the_text_has_everything() {
        let text = certificate().text().join("\n");
        for word in [
            "FAILED",
            "postgres:15.18",
            "root",
            "562",
            "DIFFERENT",
            "Difference: table",
            "12.3 seconds",
            "Check FAILED: users: at least 500 expected",
            "0 of 1 passed",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_newest_are_kept_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(folder.path());
        assert_eq!(shelf.newest(None).unwrap(), None);
        for second in 0..i64::try_from(KEPT).unwrap() + 5 {
            let mut one = certificate();
            one.began = Timestamp::from_second(1_700_000_000 + second).unwrap();
            one.backup.source = format!("key-{second}-");
            shelf.keep(&one).unwrap();
        }
        assert_eq!(shelf.names().unwrap().len(), KEPT);
        assert_eq!(shelf.newest(None).unwrap().unwrap().backup.source, format!("key-{}-", KEPT + 4));
        assert_eq!(shelf.newest(Some("key-7-")).unwrap().unwrap().backup.source, "key-7-");
        assert_eq!(shelf.newest(Some("key-2-")).unwrap(), None);
        let json = serde_json::to_string(&certificate()).unwrap();
        assert_eq!(serde_json::from_str::<Certificate>(&json).unwrap(), certificate());
    }
}
