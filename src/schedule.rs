//! When something runs by itself: cron expressions that any cron reads the same way, and what follows from them.
//!
//! A schedule becomes a line of the user dokku's crontab, through Dokku's own trigger, where a `;`, a `%` or a line break would mean
//! something else for everybody's lines. So it is a parsed type, and what is refused is refused with its reason. Cron programs
//! differ in their extensions (`L`, `#`, `?`, steps behind a single number, day fields that begin with a star): only what all of them
//! read alike is taken. Cron's times are those of the host's time zone, which is an argument everywhere here: nothing in this room
//! asks the clock or the disk.

pub mod timer;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// The fields of an expression, in their order, with the names that may stand for numbers and the numbers themselves.
const FIELDS: [Field; 5] = [
    Field { name: "minute", words: &[], least: 0, most: 59 },
    Field { name: "hour", words: &[], least: 0, most: 23 },
    Field { name: "day of the month", words: &[], least: 1, most: 31 },
    Field { name: "month", words: &MONTHS, least: 1, most: 12 },
    Field { name: "day of the week", words: &WEEKDAYS, least: 0, most: 7 },
];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Words that cron takes for a whole expression, and what they stand for. `@reboot` has no time and is not among them.
const WORDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A run that begins a day later than it is due is another one.
const LONGEST_JITTER: u64 = 86_400;
/// How long after its time cron may begin a run before that counts as missed.
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// How long a scheduled backup may take, and wait for its turn, before the one before it is too old.
const LEEWAY: SignedDuration = SignedDuration::from_hours(2);

struct Field {
    name: &'static str,
    words: &'static [&'static str],
    least: u8,
    most: u8,
}

/// A cron expression with five fields, or a word such as `@daily`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// Why a text is no schedule: a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

impl Schedule {
    /// The expression, fields parted by one blank.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first run after a moment, on a host in this time zone.
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&after.to_zoned(zone.clone()), false).ok().map(|found| found.timestamp())
    }

    /// The next runs, the first of them first.
    pub fn upcoming(&self, zone: &TimeZone, after: Timestamp, number: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next(zone, after), |last| self.next(zone, *last)).take(number).collect()
    }

    /// The last time that it was due, that very moment included.
    pub fn previous(&self, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
        let before: Zoned = before.to_zoned(zone.clone());
        self.cron.find_previous_occurrence(&before, true).ok().map(|found| found.timestamp())
    }

    /// The five fields, also of a word.
    fn fields(&self) -> Vec<&str> {
        let text = WORDS.iter().find(|(word, _)| *word == self.text).map_or(self.text.as_str(), |(_, fields)| fields);
        text.split(' ').collect()
    }
}

/// A run that was due and didn't begin: the moment it was due. `since` is when the schedule was set, `last` when its last run began.
pub fn missed(
    schedule: &Schedule,
    zone: &TimeZone,
    since: Timestamp,
    last: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let due = schedule.previous(zone, now.checked_sub(PATIENCE).ok()?)?;
    (due > since && last.is_none_or(|last| last < due)).then_some(due)
}

/// How old the last good backup may be where these schedules take them: as far as their runs lie apart at this time, and some time for the run
/// itself. `None` when none of them was due yet.
pub fn max_age<'a>(
    schedules: impl IntoIterator<Item = &'a Planned>,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Duration> {
    let ages = schedules.into_iter().filter_map(|planned| {
        let leeway = LEEWAY.checked_add(SignedDuration::from_secs(i64::try_from(planned.jitter).ok()?))?;
        // The run that is due now still has the leeway: until then the gap before it counts.
        let then = now.checked_sub(leeway).ok()?;
        let due = planned.cron.previous(zone, then).filter(|due| *due >= planned.since)?;
        let gap = planned.cron.next(zone, then)?.duration_since(due);
        Duration::try_from(gap.checked_add(leeway)?).ok()
    });
    ages.min()
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let shown: String = text.chars().take(100).collect::<String>().escape_debug().to_string();
        let refused = |why: &str| Err(InvalidSchedule(format!("\"{shown}\" is no schedule: {why}")));
        if let Some(why) = text.trim().chars().find_map(foreign) {
            return refused(&why);
        }
        let fields: Vec<String> = text.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
        let text = match fields.as_slice() {
            [word] if word.starts_with('@') => match WORDS.iter().find(|(known, _)| known == word) {
                Some(_) => word.clone(),
                None if word == "@reboot" => return refused("@reboot has no time that could be missed"),
                None => {
                    let known: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
                    return refused(&format!("of such words cron knows {}", known.join(", ")));
                }
            },
            fields if fields.len() == FIELDS.len() => {
                for (text, field) in fields.iter().zip(&FIELDS) {
                    if let Err(why) = field.check(text) {
                        return refused(&format!("the {} {text:?} {why}", field.name));
                    }
                }
                if let [_, _, day, _, weekday] = fields
                    && [day, weekday].iter().any(|field| field.starts_with("*/"))
                    && day != "*"
                    && weekday != "*"
                {
                    return refused(
                        "a step in one day field and a limit in the other are read differently by different crons",
                    );
                }
                fields.join(" ")
            }
            fields => {
                let more = if fields.len() > FIELDS.len() { "; cron has no seconds and no years" } else { "" };
                let number = crate::text::count(fields.len() as u64, "field");
                return refused(&format!(
                    "it has {number} instead of five (minute, hour, day of the month, month, day of the week){more}"
                ));
            }
        };
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = match parser.parse(&text) {
            Ok(cron) => cron,
            Err(error) => return refused(&error.to_string()),
        };
        let schedule = Self { text, cron };
        if schedule.next(&TimeZone::UTC, Timestamp::UNIX_EPOCH).is_none() {
            return refused("such a day never comes");
        }
        Ok(schedule)
    }
}

/// What is wrong with a character that no cron expression has.
fn foreign(letter: char) -> Option<String> {
    let why = match letter {
        '\n' | '\r' => "a line break would make a second line of the crontab".to_owned(),
        letter if letter.is_control() && letter != '\t' => "it has a control character".to_owned(),
        '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2039}' | '\u{203a}' => {
            format!("it has the typographic quote {letter}; type straight quotes around it")
        }
        '"' | '\'' | '`' => "it has quotes inside; one pair around all of it is for the shell".to_owned(),
        ';' => "a semicolon would end the schedule in Dokku's list".to_owned(),
        '%' => "a percent sign is a line break in a crontab".to_owned(),
        letter if !letter.is_ascii() => {
            format!("it has the letter {letter} (U+{:04X}), which cron doesn't know", u32::from(letter))
        }
        _ => return None,
    };
    Some(why)
}

impl Field {
    /// Checks a field of an expression: `*`, `5`, `1-5`, lists of them, and steps of `*` and of ranges.
    fn check(&self, text: &str) -> Result<(), String> {
        for item in text.split(',') {
            if item == "*" && text != "*" {
                return Err("has a * among others, which alone means every one".to_owned());
            }
            let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
            let is_range = match range.split_once('-') {
                Some((first, last)) => {
                    let (first, last) = (self.number(first)?, self.number(last)?);
                    if first > last {
                        return Err(format!(
                            "goes backwards; write the two parts apart: {range} is {first}-{} and {}-{last}",
                            self.most, self.least
                        ));
                    }
                    true
                }
                None => {
                    range == "*" || {
                        self.number(range)?;
                        false
                    }
                }
            };
            if let Some(step) = step {
                if !is_range {
                    return Err(format!("has a step behind a single number; write {range}-{}/{step}", self.most));
                }
                let step: u8 = step.parse().map_err(|_| format!("has {step:?} as its step"))?;
                if step == 0 || step > self.most {
                    return Err(format!("has a step of {step}"));
                }
            }
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        if let Some(index) = self.words.iter().position(|word| *word == text) {
            return Ok(self.least + u8::try_from(index).unwrap_or_default());
        }
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (self.least..=self.most).contains(number)).ok_or_else(|| {
            format!(
                "is not made of numbers from {} to {}, *, commas, ranges (1-5) and steps (*/15)",
                self.least, self.most
            )
        })
    }

    /// The numbers that a valid field means, sorted.
    fn numbers(&self, text: &str) -> Vec<u8> {
        let mut numbers = Vec::new();
        for item in text.split(',') {
            let (range, step) = item.split_once('/').unwrap_or((item, "1"));
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.least, self.most),
                Some((first, last)) => {
                    (self.number(first).unwrap_or(self.least), self.number(last).unwrap_or(self.most))
                }
                None => {
                    let number = self.number(range).unwrap_or(self.least);
                    (number, number)
                }
            };
            numbers.extend((first..=last).step_by(step.parse::<usize>().unwrap_or(1).max(1)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl TryFrom<String> for Schedule {
    type Error = InvalidSchedule;

    fn try_from(text: String) -> Result<Self, InvalidSchedule> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

/// What a schedule is called: part of a command line in a crontab, so nothing but small letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 32 || text.starts_with('-') || !text.chars().all(allowed) {
            return Err(format!(
                "{text:?} is not a valid name of a schedule, which has small letters, digits and dashes only"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// What is done at its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A backup.
    Backup,
    /// A restore drill of the newest backup.
    Drill,
    /// Deletion of what no rule keeps.
    Prune,
}

impl Task {
    /// Its name, which is also that of a schedule nobody has named.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Drill => "drill",
            Self::Prune => "prune",
        }
    }
}

/// A schedule that a user has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What it is called; one service has each name once.
    pub name: Name,
    /// Its times.
    pub cron: Schedule,
    /// What is done.
    pub task: Task,
    /// Runs begin up to so many seconds later, each service at its own second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter: u64,
    /// When it was set: nothing was due before.
    pub since: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Planned {
    /// How many seconds after its time a run of this subject begins: always the same, different for each of them.
    pub fn delay(&self, subject: &str) -> u64 {
        // FNV-1a: the same number on every host and in every version, which std's hasher doesn't promise.
        let text = format!("{subject}/{}", self.name);
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        hash % (self.jitter.min(LONGEST_JITTER) + 1)
    }
}

#[cfg(test)]
mod tests;
