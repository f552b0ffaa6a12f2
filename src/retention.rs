//! Which backups stay and which go: a pure function of what there is, what the user wants, and the time.
//!
//! The rules are those that users of restic, rustic and Proxmox know. Each `keep-…` counts periods that have a backup and keeps the newest
//! one of each; a backup stays when *any* rule keeps it; where no rule is set nothing is ever deleted. All periods are UTC, weeks
//! begin on Monday (ISO 8601), and backups are ordered by their recorded start, never by what the store says.
//!
//! Some stay whatever the rules say: the last good one, the newest that was verified, one that is held, those before a suspicious
//! one, and all that is not ours. What was found bad, and what a restore saved of the state it replaced, takes no place of a good one.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::store::key::BackupKey;

/// How long a backup stays that a restore took of the state it replaced: who restored the wrong thing on a Friday finds out on Monday.
pub const SAFETY_STAY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A start further ahead than this was written by a clock that was wrong.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// What a user wants to keep. A count of 0 is a rule that is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the last so many hours that have one.
    pub hourly: u32,
    /// The same for days.
    pub daily: u32,
    /// The same for weeks.
    pub weekly: u32,
    /// The same for months.
    pub monthly: u32,
    /// The same for years.
    pub yearly: u32,
    /// Nothing younger is deleted. Alone it deletes nothing.
    pub min_age: Duration,
    /// Bytes that all counted backups may take; the oldest go first.
    pub max_size: Option<u64>,
    /// Whether backups that dokku-postgres made are counted, and deleted, like our own.
    pub foreign: bool,
}

impl Rules {
    /// Whether any of them can delete something.
    pub fn any(&self) -> bool {
        self.max_size.is_some() || self.counts().iter().any(|(_, count)| *count > 0)
    }

    fn counts(&self) -> [(Period, u32); 6] {
        [
            (Period::Each, self.last),
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ]
    }
}

/// What a `keep-…` rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Each backup by itself.
    Each,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// Weeks, Monday to Sunday.
    Week,
    /// Months.
    Month,
    /// Years.
    Year,
}

impl Period {
    /// The property that counts it.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Each => "keep-last",
            Self::Hour => "keep-hourly",
            Self::Day => "keep-daily",
            Self::Week => "keep-weekly",
            Self::Month => "keep-monthly",
            Self::Year => "keep-yearly",
        }
    }

    /// A number that all instants of one period share, and no two periods; `None` where each counts by itself.
    fn number(self, started: Timestamp) -> Option<i64> {
        let date = started.to_zoned(TimeZone::UTC).date();
        let (year, month) = (i64::from(date.year()), i64::from(date.month()));
        let week = date.iso_week_date();
        match self {
            Self::Each => None,
            Self::Hour => Some(started.as_second().div_euclid(3_600)),
            Self::Day => Some(started.as_second().div_euclid(86_400)),
            Self::Week => Some(i64::from(week.year()) * 100 + i64::from(week.week())),
            Self::Month => Some(year * 100 + month),
            Self::Year => Some(year),
        }
    }
}

/// Who made a backup, as far as deleting it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// pgbackup on this host.
    Ours,
    /// pgbackup on another host that saves into the same place.
    OtherHost(String),
    /// `dokku postgres:backup`, or whatever else names its objects so.
    DokkuPostgres,
    /// Not known: what lies beside it can't be read.
    Unknown,
}

/// How far a backup can be relied on, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// It was tried and found bad.
    Bad,
    /// Nobody knows: dokku-postgres made it.
    Untried,
    /// The store has confirmed it, or all of it was read.
    Good,
    /// A drill has restored it.
    Verified,
}

/// A backup, as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its key, which has its start.
    pub key: BackupKey,
    /// What it takes in the store.
    pub bytes: u64,
    /// Who made it.
    pub origin: Origin,
    /// How far it can be relied on.
    pub worth: Worth,
    /// A table had lost its rows when it was taken, and nobody has said since that this is right.
    pub suspicious: bool,
    /// The user has said that it stays.
    pub held: bool,
    /// A restore took it of the state that it was about to replace.
    pub safety: bool,
    /// The store lets nobody delete it before.
    pub retained_until: Option<Timestamp>,
}

impl Candidate {
    fn started(&self) -> Timestamp {
        self.key.started()
    }
}

/// Why a backup stays or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A rule counts it.
    Counted(Period),
    /// Nothing is set that deletes.
    NoRules,
    /// It is the business of someone else.
    NotOurs(Origin),
    /// The user holds it.
    Held,
    /// The store holds it.
    Retained(Timestamp),
    /// It is younger than `min-age`.
    MinAge,
    /// Nothing newer can be relied on.
    LastGood,
    /// Nothing newer was verified.
    LastVerified,
    /// It is suspicious, and nobody has released it.
    Suspicious,
    /// A newer one is suspicious: this may be the last with all its rows.
    BeforeSuspicious,
    /// It was found bad, but nothing newer is good: there may be something to be had from it.
    NewestData,
    /// A restore took it, not long ago.
    Safety,
    /// It fits into `max-size`, and no other rule is set.
    Fits,
    /// It began in the future: a clock was wrong. It is nobody's newest one.
    Ahead,
    /// Goes: no rule counts it.
    Uncounted,
    /// Goes: what is newer fills `max-size`.
    MaxSize,
    /// Goes: it was found bad and there is a good one.
    Bad,
    /// Goes: a restore took it, long ago.
    SafetyOver,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counted(period) => period.rule(),
            Self::NoRules => "no rule is set",
            // Beside an encrypted backup no name stands.
            Self::NotOurs(Origin::OtherHost(host)) if host.is_empty() => "made on another host",
            Self::NotOurs(Origin::OtherHost(host)) => return write!(f, "made on {host}"),
            Self::NotOurs(Origin::DokkuPostgres) => "made by dokku-postgres",
            Self::NotOurs(Origin::Unknown | Origin::Ours) => "maker not known",
            Self::Held => "held",
            Self::Retained(until) => return write!(f, "retained until {}", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Self::MinAge => "min-age",
            Self::LastGood => "last good one",
            Self::LastVerified => "newest verified one",
            Self::Suspicious => "suspicious and not released",
            Self::BeforeSuspicious => "before a suspicious one",
            Self::NewestData => "bad but nothing newer is good",
            Self::Safety => "safety backup of a restore",
            Self::Fits | Self::MaxSize => "max-size",
            Self::Ahead => "its start lies in the future",
            Self::Uncounted => "no rule keeps it",
            Self::Bad => "found bad",
            Self::SafetyOver => "safety backup of a restore, older than 7d",
        })
    }
}

/// What becomes of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it goes.
    pub delete: bool,
    /// Why, never empty: all that keep it, or what decides that it goes.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// The reasons in words.
    pub fn why(&self) -> String {
        self.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Decides on each candidate, in the order in which they are given. Candidates are the backups of one service in one place.
pub fn decide(candidates: &[Candidate], rules: &Rules, now: Timestamp) -> Vec<Verdict> {
    let mut kept: Vec<Vec<Reason>> = candidates.iter().map(|candidate| guards(candidate, rules, now)).collect();
    let keep = |kept: &mut Vec<Vec<Reason>>, at: usize, reason: Reason| {
        if let Some(reasons) = kept.get_mut(at) {
            reasons.push(reason);
        }
    };
    // Newest first, and only those that rules may speak of.
    let mut counted: Vec<(usize, &Candidate)> =
        candidates.iter().enumerate().filter(|(_, candidate)| is_counted(candidate, rules, now)).collect();
    counted.sort_by_key(|(_, candidate)| std::cmp::Reverse((candidate.started(), candidate.key.encrypted())));

    let last_good = last_good(&counted);
    if let Some((at, _)) = last_good {
        keep(&mut kept, at, Reason::LastGood);
    }
    if let Some((at, _)) = counted.iter().find(|(_, candidate)| candidate.worth == Worth::Verified) {
        keep(&mut kept, *at, Reason::LastVerified);
    }
    // The newest suspicious one stays as well, so that those before it are still known to be that the next time.
    let mut newest_first = counted.iter().skip_while(|(_, candidate)| !candidate.suspicious);
    if let Some((at, _)) = newest_first.next() {
        keep(&mut kept, *at, Reason::Suspicious);
    }
    for (at, _) in newest_first.filter(|(_, candidate)| !candidate.suspicious && candidate.worth != Worth::Bad) {
        keep(&mut kept, *at, Reason::BeforeSuspicious);
    }
    let newer_than_good =
        |candidate: &Candidate| last_good.is_none_or(|(_, good)| candidate.started() > good.started());
    for (at, candidate) in &counted {
        if candidate.worth == Worth::Bad && newer_than_good(candidate) {
            keep(&mut kept, *at, Reason::NewestData);
        }
        if candidate.safety && now.duration_since(candidate.started()) < SAFETY_STAY {
            keep(&mut kept, *at, Reason::Safety);
        }
    }
    let guarded: Vec<bool> = kept.iter().map(|reasons| !reasons.is_empty()).collect();
    let is_guarded = |at: usize| guarded.get(at).copied().unwrap_or(true);

    let places: Vec<(usize, &Candidate)> =
        counted.iter().copied().filter(|(_, candidate)| takes_a_place(candidate)).collect();
    for (period, count) in rules.counts() {
        for at in newest_of_each(&places, period, count) {
            keep(&mut kept, at, Reason::Counted(period));
        }
    }
    if rules.counts().iter().all(|(_, count)| *count == 0) {
        for (at, _) in places.iter().filter(|(at, _)| !is_guarded(*at)) {
            keep(&mut kept, *at, Reason::Fits);
        }
    }

    let too_much = rules.max_size.map(|most| beyond(most, &counted, &kept, &guarded)).unwrap_or_default();
    candidates
        .iter()
        .zip(kept)
        .enumerate()
        .map(|(at, (candidate, reasons))| match reasons.as_slice() {
            [] => Verdict { delete: true, reasons: vec![why_not(candidate)] },
            _ if too_much.contains(&at) => Verdict { delete: true, reasons: vec![Reason::MaxSize] },
            _ => Verdict { delete: false, reasons },
        })
        .collect()
}

/// What keeps a backup whatever else there is.
fn guards(candidate: &Candidate, rules: &Rules, now: Timestamp) -> Vec<Reason> {
    let ours = candidate.origin == Origin::Ours || (rules.foreign && candidate.origin == Origin::DokkuPostgres);
    if !ours {
        return vec![Reason::NotOurs(candidate.origin.clone())];
    }
    if !rules.any() {
        return vec![Reason::NoRules];
    }
    let age = now.duration_since(candidate.started());
    let mut reasons = Vec::new();
    if candidate.held {
        reasons.push(Reason::Held);
    }
    if let Some(until) = candidate.retained_until.filter(|until| *until > now) {
        reasons.push(Reason::Retained(until));
    }
    if is_ahead(candidate, now) {
        reasons.push(Reason::Ahead);
    } else if !rules.min_age.is_zero() && SignedDuration::try_from(rules.min_age).is_ok_and(|min_age| age < min_age) {
        reasons.push(Reason::MinAge);
    }
    reasons
}

fn is_counted(candidate: &Candidate, rules: &Rules, now: Timestamp) -> bool {
    let ours = candidate.origin == Origin::Ours || (rules.foreign && candidate.origin == Origin::DokkuPostgres);
    ours && rules.any() && !is_ahead(candidate, now)
}

fn is_ahead(candidate: &Candidate, now: Timestamp) -> bool {
    candidate.started().duration_since(now) > CLOCKS_DIFFER
}

fn takes_a_place(candidate: &Candidate) -> bool {
    candidate.worth != Worth::Bad && !candidate.safety
}

/// The newest that can be relied on: made by us and not found bad, else one that nobody has tried, else one that a restore took.
fn last_good<'a>(counted: &[(usize, &'a Candidate)]) -> Option<(usize, &'a Candidate)> {
    let newest = |fits: fn(&Candidate) -> bool| counted.iter().copied().find(|(_, candidate)| fits(candidate));
    newest(|candidate| candidate.worth >= Worth::Good && !candidate.safety)
        .or_else(|| newest(|candidate| candidate.worth >= Worth::Good))
        .or_else(|| newest(|candidate| candidate.worth == Worth::Untried))
}

/// Of the newest `count` periods that have a backup, the newest backup of each.
fn newest_of_each(newest_first: &[(usize, &Candidate)], period: Period, count: u32) -> Vec<usize> {
    let mut seen = HashSet::new();
    let first_of_its_period = |(_, candidate): &&(usize, &Candidate)| {
        period.number(candidate.started()).is_none_or(|number| seen.insert(number))
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    newest_first.iter().filter(first_of_its_period).take(count).map(|(at, _)| *at).collect()
}

/// Those that are kept by a rule alone and don't fit: from the first that doesn't, all that are older.
fn beyond(most: u64, counted: &[(usize, &Candidate)], kept: &[Vec<Reason>], guarded: &[bool]) -> HashSet<usize> {
    let is_guarded = |at: usize| guarded.get(at).copied().unwrap_or(true);
    let bytes = |sum: u64, (_, candidate): &(usize, &Candidate)| sum.saturating_add(candidate.bytes);
    let mut taken = counted.iter().filter(|(at, _)| is_guarded(*at)).fold(0, bytes);
    let mut full = false;
    let mut beyond = HashSet::new();
    for one in counted {
        let at = one.0;
        if is_guarded(at) || kept.get(at).is_none_or(Vec::is_empty) {
            continue;
        }
        taken = bytes(taken, one);
        full |= taken > most;
        if full {
            beyond.insert(at);
        }
    }
    beyond
}

fn why_not(candidate: &Candidate) -> Reason {
    if candidate.worth == Worth::Bad {
        Reason::Bad
    } else if candidate.safety {
        Reason::SafetyOver
    } else {
        Reason::Uncounted
    }
}

#[cfg(test)]
mod tests;
