//! A moment as people write it: `2023-04-03 11:30`, with a zone that is never left to guessing.
//!
//! UTC unless an offset is given, since keys are UTC and since the zone of a host is not the zone of the one who types.
//! Whoever shows a moment says the zone. The grammar is small and strict: a lenient parser's surprise (an offset that is
//! dropped in silence, a day read as a month) would choose another backup.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// A point in time, with the offset it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    instant: Timestamp,
    offset: Offset,
}

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time, which looks like \"2023-04-03 11:30\" (UTC), \"2023-04-03 11:30:00 +02:00\" or 2023-04-03 (its beginning)"
)]
pub struct InvalidMoment(String);

impl Moment {
    /// The instant.
    pub fn instant(self) -> Timestamp {
        self.instant
    }
}

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| InvalidMoment(text.chars().take(60).collect()))
    }
}

/// `2023-04-03 11:30:00 UTC`, or `2023-04-03 11:30:00 +02:00 (09:30:00 UTC)`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMAT: &str = "%Y-%m-%d %H:%M:%S";
        if self.offset == Offset::UTC {
            return write!(f, "{} UTC", self.instant.strftime(FORMAT));
        }
        let there = self.instant.to_zoned(TimeZone::fixed(self.offset));
        let utc = self.instant.to_zoned(TimeZone::UTC);
        let same_day = there.date() == utc.date();
        let utc = utc.strftime(if same_day { "%H:%M:%S" } else { FORMAT });
        write!(f, "{} ({utc} UTC)", there.strftime("%Y-%m-%d %H:%M:%S %:z"))
    }
}

/// `DATE [ (T|blank) HH:MM [ :SS [ .digits ] ] [ blank ] [ Z | UTC | ±HH[[:]MM] ] ]`.
fn parse(text: &str) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = plain_date(date)?;
    if rest.is_empty() {
        return moment(DateTime::from_parts(date, Time::midnight()), Offset::UTC);
    }
    let rest = rest.strip_prefix(['T', 't']).or_else(|| rest.strip_prefix(' ').map(str::trim_start))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let (time, zone) = rest.split_at_checked(end)?;
    moment(DateTime::from_parts(date, plain_time(time)?), zone_offset(zone.trim_start())?)
}

fn moment(time: DateTime, offset: Offset) -> Option<Moment> {
    Some(Moment { instant: offset.to_timestamp(time).ok()?, offset })
}

fn plain_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn plain_time(text: &str) -> Option<Time> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| digits(second, 2));
    let nanosecond = match fraction {
        None => 0,
        Some(_) if clock.len() != 8 => return None,
        Some(fraction) if (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{fraction:0<9}").parse().ok()?
        }
        Some(_) => return None,
    };
    if parts.next().is_some() {
        return None;
    }
    let part = |value: i16| i8::try_from(value).ok();
    Time::new(part(hour)?, part(minute)?, part(second?)?, nanosecond).ok()
}

fn zone_offset(text: &str) -> Option<Offset> {
    if text.is_empty() || text.eq_ignore_ascii_case("Z") || text.eq_ignore_ascii_case("UTC") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at_checked(2)?,
        5 => rest.split_once(':')?,
        _ => return None,
    };
    let (hours, minutes) = (i32::from(digits(hours, 2)?), i32::from(digits(minutes, 2)?));
    if hours > 14 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn digits(text: &str, count: usize) -> Option<i16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, instant, shown) in [
            ("2023-04-03 11:30", "2023-04-03T11:30:00Z", "2023-04-03 11:30:00 UTC"),
            (" 2023-04-03  11:30:15 ", "2023-04-03T11:30:15Z", "2023-04-03 11:30:15 UTC"),
            ("2023-04-03", "2023-04-03T00:00:00Z", "2023-04-03 00:00:00 UTC"),
            ("2023-04-03T11:30:00Z", "2023-04-03T11:30:00Z", "2023-04-03 11:30:00 UTC"),
            ("2023-04-03 11:30 utc", "2023-04-03T11:30:00Z", "2023-04-03 11:30:00 UTC"),
            ("2023-04-03T11:30:00.25+01:00", "2023-04-03T10:30:00.25Z", "2023-04-03 11:30:00 +01:00 (10:30:00 UTC)"),
            ("2023-04-03 11:30 +0200", "2023-04-03T09:30:00Z", "2023-04-03 11:30:00 +02:00 (09:30:00 UTC)"),
            ("2023-04-03 11:30-05", "2023-04-03T16:30:00Z", "2023-04-03 11:30:00 -05:00 (16:30:00 UTC)"),
            ("2023-04-03 01:30 +02:00", "2023-04-02T23:30:00Z", "2023-04-03 01:30:00 +02:00 (2023-04-02 23:30:00 UTC)"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.instant().to_string(), instant, "{text}");
            assert_eq!(moment.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_could_mean_something_else() {
        for bad in [
            "",
            "yesterday",
            "11:30",
            "2023-4-3",
            "03-04-2023",
            "2023/04/03",
            "2023-02-30",
            "2023-04-03 24:00",
            "2023-04-03 11",
            "2023-04-03 11:60",
            "2023-04-03 11:30:61",
            "2023-04-03 11:30.5",
            "2023-04-03 11:30 pm",
            "2023-04-03 11:30 CET",
            "2023-04-03 11:30+15:00",
            "2023-04-03 11:30[Europe/London]",
            "2023-04-03T11:30-04[America/New_York]",
            "2023-04-0311:30",
            "2023-04-03 11:30 +02:00 +02:00",
            "２０２３-04-03",
            "20230403",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_another_parser(second in 0i64..4_102_444_800, minutes in -14 * 60i32..=14 * 60) {
            let instant = Timestamp::from_second(second).unwrap();
            let offset = Offset::from_seconds(minutes * 60).unwrap();
            for format in ["%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%d %H:%M:%S %:z", "%Y-%m-%d %H:%M:%S%z"] {
                let text = instant.to_zoned(TimeZone::fixed(offset)).strftime(format).to_string();
                let moment: Moment = text.parse().unwrap();
                prop_assert_eq!(moment.instant(), instant);
                if format.contains("T%H") {
                    prop_assert_eq!(text.parse::<Timestamp>().unwrap(), instant);
                }
            }
            let utc = instant.strftime("%Y-%m-%d %H:%M:%S").to_string().parse::<Moment>().unwrap();
            prop_assert_eq!(utc.instant(), instant);
            prop_assert_eq!(utc.to_string().parse::<Moment>().unwrap(), utc, "what is shown can be typed");
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", tail in "[0-9:.+ TZ-]{0,20}") {
            let _ = text.parse::<Moment>();
            let _ = format!("2023-04-03{tail}").parse::<Moment>();
        }
    }
}
