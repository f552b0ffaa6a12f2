//! What a check has found, in words, and what to type where it is not as it must be.

use serde::Serialize;

use crate::error::{Failure, SERVICE};
use crate::service::name::ServiceName;
use crate::text::count;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Something that is worth knowing or will be missed one day; backups and restores work.
    Warn,
    /// A backup or a restore will fail.
    Fail,
}

impl Verdict {
    /// The word that stands before it; what fails is seen without colours.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What checks belong together, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The service, its container and its server.
    Service,
    /// Where backups go, and what its keys may do there.
    Destination,
    /// Where copies of them go.
    Copy,
    /// What a restore needs besides.
    Restore,
    /// When backups run by themselves.
    Schedule,
    /// What has been done so far.
    Backups,
    /// The folders and secrets of this host.
    Host,
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Destination => "Destination",
            Self::Copy => "Second destination",
            Self::Restore => "Restore",
            Self::Schedule => "Schedule",
            Self::Backups => "Backups",
            Self::Host => "Host",
        }
    }

    /// It is as it must be.
    pub fn ok(self, check: &'static str, message: impl Into<String>) -> Finding {
        self.finding(check, Verdict::Ok, message)
    }

    /// It is worth knowing.
    pub fn warn(self, check: &'static str, message: impl Into<String>) -> Finding {
        self.finding(check, Verdict::Warn, message)
    }

    /// It will make a backup or a restore fail.
    pub fn fail(self, check: &'static str, message: impl Into<String>) -> Finding {
        self.finding(check, Verdict::Fail, message)
    }

    /// What failed, with its own hints.
    pub fn failed(self, check: &'static str, error: impl Into<anyhow::Error>) -> Finding {
        let failure = Failure::from_error(error.into());
        Finding { fixes: failure.hints.clone(), ..self.fail(check, failure.to_string()) }
    }

    fn finding(self, check: &'static str, verdict: Verdict, message: impl Into<String>) -> Finding {
        Finding { group: self, check, verdict, message: message.into(), fixes: Vec::new() }
    }
}

/// What one check has found. `--format json` shows it as it is; fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it belongs.
    pub group: Group,
    /// The check's name, for programs.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// A sentence without a full stop.
    pub message: String,
    /// What to type or look at, where it is not as it must be.
    #[serde(rename = "fix")]
    pub fixes: Vec<String>,
}

impl Finding {
    /// Adds what to type.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }
}

/// All that was found about a service.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The service.
    pub service: ServiceName,
    /// The worst verdict.
    pub verdict: Verdict,
    /// What was found, group by group.
    pub checks: Vec<Finding>,
}

impl Report {
    /// Puts the findings in their order. A store doesn't know whose it is: its hints get the service's name here.
    pub fn new(service: ServiceName, mut checks: Vec<Finding>) -> Self {
        for fix in checks.iter_mut().flat_map(|finding| &mut finding.fixes) {
            *fix = fix.replace(SERVICE, service.as_str());
        }
        checks.sort_by_key(|finding| finding.group as u8);
        let verdict = checks.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Self { service, verdict, checks }
    }

    fn number(&self, verdict: Verdict) -> u64 {
        self.checks.iter().filter(|finding| finding.verdict == verdict).count() as u64
    }

    /// `21 checks ok, 2 warnings`.
    pub fn summary(&self) -> String {
        let mut summary = format!("{} ok", count(self.number(Verdict::Ok), "check"));
        for (number, noun) in [(self.number(Verdict::Warn), "warning"), (self.number(Verdict::Fail), "failure")] {
            if number > 0 {
                summary = format!("{summary}, {}", count(number, noun));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sorted_and_as_bad_as_its_worst() {
        let checks = vec![
            Group::Host.warn("b", "B").fix("dokku pgbackup:auth <service> KEY"),
            Group::Service.ok("a", "A"),
            Group::Service.ok("c", "C"),
        ];
        let report = Report::new("prod".parse().unwrap(), checks);
        assert_eq!(report.checks.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["a", "c", "b"]);
        assert_eq!(report.checks[2].fixes, ["dokku pgbackup:auth prod KEY"]);
        assert_eq!(report.verdict, Verdict::Warn);
        assert_eq!(report.summary(), "2 checks ok, 1 warning");
        assert!(Verdict::Fail > Verdict::Warn);
        let broken = Report::new(
            "prod".parse().unwrap(),
            vec![Group::Service.failed("container", Failure::failed("It is stopped").hint("Start it"))],
        );
        assert_eq!(broken.summary(), "0 checks ok, 1 failure");
        assert_eq!(broken.checks[0].fixes, ["Start it"]);
    }
}
