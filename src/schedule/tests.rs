use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap()
}

fn why(text: &str) -> String {
    text.parse::<Schedule>().unwrap_err().to_string()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

#[test]
fn takes_what_every_cron_takes() {
    for (text, kept) in [
        ("0 3 * * *", "0 3 * * *"),
        ("  */15  0-6,22  1,15 JAN-mar\t* ", "*/15 0-6,22 1,15 jan-mar *"),
        ("30 4 * * mon-fri", "30 4 * * mon-fri"),
        ("0 0 1 * 7", "0 0 1 * 7"),
        ("0 0-23/6 * * 0", "0 0-23/6 * * 0"),
        ("@Daily", "@daily"),
        ("0 12 29 2 *", "0 12 29 2 *"),
    ] {
        assert_eq!(schedule(text).as_str(), kept);
    }
}

#[test]
fn refuses_with_the_reason() {
    for (text, reason) in [
        ("", "it has 0 fields instead of five"),
        ("0 3 * *", "it has 4 fields instead of five"),
        (
            "0 0 3 * * *",
            "it has 6 fields instead of five (minute, hour, day of the month, month, day of the week); cron has no seconds",
        ),
        ("\u{201c}0 3 * * *\u{201d}", "typographic quote \u{201c}"),
        ("\"0 3 * * *\"", "quotes inside"),
        ("0 3 * * *; rm -rf /", "a semicolon would end"),
        ("0 3 * * * %", "a percent sign is a line break"),
        ("0 3 * * *\n* * * * *", "a line break"),
        ("0 3 * * *\u{0}", "control character"),
        ("0 3\u{a0}* * *", "(U+00A0), which cron doesn't know"),
        ("0 3 * * 1\u{2013}5", "(U+2013)"),
        ("60 3 * * *", "the minute \"60\" is not made of numbers from 0 to 59"),
        ("0 24 * * *", "the hour \"24\""),
        ("0 3 0 * *", "the day of the month \"0\""),
        ("0 3 L * *", "the day of the month \"l\""),
        ("0 3 * * 1#2", "the day of the week \"1#2\""),
        ("0 3 ? * *", "\"?\""),
        ("0 3 * * fri-mon", "goes backwards"),
        ("*,5 * * * *", "a * among others"),
        ("5/15 * * * *", "a step behind a single number; write 5-59/15"),
        ("*/0 * * * *", "a step of 0"),
        ("*/x * * * *", "has \"x\" as its step"),
        ("0 3 */2 * 1", "read differently by different crons"),
        ("bin dev etc home lib", "the minute \"bin\""),
        ("0 0 30 2 *", "such a day never comes"),
        ("@reboot", "no time that could be missed"),
        ("@often", "cron knows @yearly, @annually"),
        ("-1 3 * * *", "the minute \"-1\""),
    ] {
        assert!(why(text).contains(reason), "{text:?}: {}", why(text));
    }
}

#[test]
fn the_next_runs_are_those_of_the_hosts_zone() {
    let runs = schedule("30 3 * * *").upcoming(&berlin(), at("2026-11-24T16:00:00Z"), 3);
    assert_eq!(runs, [at("2026-11-25T02:30:00Z"), at("2026-11-26T02:30:00Z"), at("2026-11-27T02:30:00Z")]);
    // Either day field is enough where both are limited.
    let runs = schedule("0 0 13 * 5").upcoming(&TimeZone::UTC, at("2026-11-07T00:00:00Z"), 3);
    assert_eq!(runs, [at("2026-11-13T00:00:00Z"), at("2026-11-20T00:00:00Z"), at("2026-11-27T00:00:00Z")]);
    // The night that has no 02:30 has a run all the same, and the one that has it twice has one.
    for (day, runs) in [(date(2026, 3, 28), 2), (date(2026, 10, 24), 2)] {
        let noon = day.at(12, 0, 0, 0).to_zoned(berlin()).unwrap().timestamp();
        let two_days = noon + SignedDuration::from_hours(48);
        let found = schedule("30 2 * * *").upcoming(&berlin(), noon, 3);
        assert_eq!(found.iter().filter(|run| **run < two_days).count(), runs, "{found:?}");
    }
}

#[test]
fn a_run_is_missed_when_it_was_due_and_did_not_begin() {
    let nightly = schedule("0 3 * * *");
    let missed = |since, last: Option<&str>, now| missed(&nightly, &TimeZone::UTC, at(since), last.map(at), at(now));
    let due = Some(at("2026-11-24T03:00:00Z"));
    assert_eq!(missed("2026-11-01T00:00:00Z", None, "2026-11-24T09:00:00Z"), due);
    assert_eq!(missed("2026-11-01T00:00:00Z", Some("2026-11-23T03:00:01Z"), "2026-11-24T03:06:00Z"), due);
    assert_eq!(missed("2026-11-01T00:00:00Z", Some("2026-11-23T03:00:01Z"), "2026-11-24T03:04:00Z"), None);
    assert_eq!(missed("2026-11-01T00:00:00Z", Some("2026-11-24T03:00:01Z"), "2026-11-24T09:00:00Z"), None);
    // Where the clock is put forward cron makes up for the hour that is not there at once; where it is put back it doesn't run twice.
    let in_the_gap = schedule("30 2 * * *");
    for (began, now) in
        [("2026-03-29T01:00:01Z", "2026-03-29T10:00:00Z"), ("2026-10-25T00:30:01Z", "2026-10-25T10:00:00Z")]
    {
        let since = at("2026-01-01T00:00:00Z");
        assert_eq!(super::missed(&in_the_gap, &berlin(), since, Some(at(began)), at(now)), None, "{began}");
        assert!(
            super::missed(&in_the_gap, &berlin(), since, Some(at(began) - SignedDuration::from_hours(24)), at(now))
                .is_some()
        );
    }
    // Set today: yesterday nobody promised anything.
    assert_eq!(missed("2026-11-24T08:00:00Z", None, "2026-11-24T09:00:00Z"), None);
}

#[test]
fn systemd_is_told_the_same() {
    for (cron, calendars) in [
        ("30 3 * * *", &["*-*-* 03:30:00"][..]),
        ("*/15 * * * *", &["*-*-* *:00,15,30,45:00"]),
        ("0 0 * * 1-5", &["Mon,Tue,Wed,Thu,Fri *-*-* 00:00:00"]),
        ("0 0 * * 7", &["Sun *-*-* 00:00:00"]),
        ("0 4 1,15 jan *", &["*-01-01,15 04:00:00"]),
        ("0 4 1 * sun", &["*-*-01 04:00:00", "Sun *-*-* 04:00:00"]),
        ("@hourly", &["*-*-* *:00:00"]),
    ] {
        assert_eq!(schedule(cron).calendars(), calendars, "{cron}");
    }
}

#[test]
fn names_are_words_of_a_command_line() {
    assert_eq!("nightly-2".parse::<Name>().unwrap().as_str(), "nightly-2");
    for bad in ["", "-x", "a b", "A", "a;b", "a%", "é", "x/y", &"x".repeat(33)] {
        assert!(bad.parse::<Name>().is_err(), "{bad:?}");
    }
}

fn planned(jitter: u64) -> Planned {
    Planned {
        name: "nightly".parse().unwrap(),
        cron: schedule("@daily"),
        task: Task::Backup,
        jitter,
        since: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn services_begin_at_different_seconds_and_each_at_its_own() {
    let delays: Vec<u64> = (0..50).map(|number| planned(600).delay(&format!("prod-{number}"))).collect();
    assert!(delays.iter().all(|delay| *delay <= 600));
    let mut different = delays.clone();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 40, "{delays:?}");
    assert_eq!(planned(600).delay("prod-0"), delays[0]);
    assert_eq!(planned(0).delay("prod"), 0);
    assert!(planned(u64::MAX).delay("prod") <= 86_400, "nonsense by hand does no harm");
}

/// A field's text, and what it means by the plainest reading.
fn field(least: u8, most: u8) -> impl Strategy<Value = (String, Vec<u8>)> {
    let item = prop_oneof![
        (least..=most).prop_map(|number| (number.to_string(), vec![number])),
        (least..=most, least..=most, 1..=most.max(1)).prop_map(|(a, b, step)| {
            let (from, to) = (a.min(b), a.max(b));
            (format!("{from}-{to}/{step}"), (from..=to).step_by(step.into()).collect())
        }),
        (1..=most.max(1)).prop_map(move |step| (format!("*/{step}"), (least..=most).step_by(step.into()).collect())),
    ];
    let list = proptest::collection::vec(item, 1..4).prop_map(|items| {
        let text: Vec<String> = items.iter().map(|(text, _)| text.clone()).collect();
        let mut numbers: Vec<u8> = items.into_iter().flat_map(|(_, numbers)| numbers).collect();
        numbers.sort_unstable();
        numbers.dedup();
        (text.join(","), numbers)
    });
    prop_oneof![Just(("*".to_owned(), (least..=most).collect())), list]
}

proptest! {
    #[test]
    fn whatever_is_taken_is_one_harmless_line(text in ".{0,60}") {
        if let Ok(schedule) = text.parse::<Schedule>() {
            prop_assert!(schedule.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b" *,-/@".contains(&b)));
            prop_assert_eq!(schedule.as_str().parse::<Schedule>().unwrap(), schedule);
        }
    }

    #[test]
    fn the_next_run_is_the_first_minute_that_fits(
        (minutes, m) in field(0, 59), (hours, h) in field(0, 23), (days, d) in field(1, 31), (months, o) in field(1, 12),
        start in 0_i64..2_000_000_000,
    ) {
        // The 31st of February alone never comes.
        let Ok(cron) = format!("{minutes} {hours} {days} {months} *").parse::<Schedule>() else { return Ok(()) };
        let start = Timestamp::from_second(start).unwrap();
        let next = cron.next(&TimeZone::UTC, start).unwrap();
        let fits = |time: Timestamp| {
            let civil = time.to_zoned(TimeZone::UTC);
            let has = |numbers: &[u8], number: i8| numbers.contains(&u8::try_from(number).unwrap());
            has(&m, civil.minute()) && has(&h, civil.hour()) && has(&d, civil.day()) && has(&o, civil.month()) && civil.second() == 0
        };
        prop_assert!(next > start && fits(next));
        // Nothing in between, as far as a test's patience goes.
        let mut minute = Timestamp::from_second(start.as_second() / 60 * 60 + 60).unwrap();
        for _ in 0..5_000 {
            if minute >= next { break; }
            prop_assert!(!fits(minute), "{minute} fits {cron} and is before {next}");
            minute += SignedDuration::from_mins(1);
        }
        prop_assert_eq!(cron.previous(&TimeZone::UTC, next), Some(next));
        prop_assert!(cron.previous(&TimeZone::UTC, next - SignedDuration::from_secs(1)).is_none_or(|before| before <= start));
    }
}

#[test]
fn a_backup_may_be_as_old_as_its_schedules_runs_lie_apart() {
    let of = |crons: &[(&str, u64)], now: &str| {
        let planned: Vec<Planned> = crons
            .iter()
            .map(|(cron, jitter)| Planned {
                name: "nightly".parse().unwrap(),
                cron: schedule(cron),
                task: Task::Backup,
                jitter: *jitter,
                since: at("2026-11-01T00:00:00Z"),
            })
            .collect();
        max_age(&planned, &TimeZone::UTC, at(now)).map(|age| age.as_secs() / 60)
    };
    let hours = |hours: u64| Some(hours * 60);
    assert_eq!(of(&[], "2026-11-24T09:00:00Z"), None);
    assert_eq!(of(&[("0 3 * * *", 0)], "2026-11-24T09:00:00Z"), hours(26));
    assert_eq!(of(&[("0 3 * * 0", 0)], "2026-11-24T09:00:00Z"), hours(7 * 24 + 2));
    assert_eq!(of(&[("0 * * * *", 0)], "2026-11-24T09:30:00Z"), hours(3));
    assert_eq!(of(&[("0 * * * *", 600)], "2026-11-24T09:30:00Z"), Some(60 + 120 + 10));
    assert_eq!(of(&[("0 3 * * 0", 0), ("0 * * * *", 0)], "2026-11-24T09:30:00Z"), hours(3), "the shortest one");
    // Monday's run, until it has had its time, is no reason to call the one of Friday late.
    let weekdays = [("0 3 * * 1-5", 0)];
    assert_eq!(of(&weekdays, "2026-11-23T03:30:00Z"), hours(72 + 2));
    assert_eq!(of(&weekdays, "2026-11-23T05:00:00Z"), hours(24 + 2));
    assert_eq!(of(&[("0 3 * * *", 0)], "2026-11-01T02:00:00Z"), None, "it was not yet due");
}
