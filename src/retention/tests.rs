//! Hand-made histories, a year in fast motion, and random ones.

use std::collections::BTreeSet;

use jiff::civil::Date;
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn candidate(started: Timestamp) -> Candidate {
    Candidate {
        key: BackupKey::new("prod".parse().unwrap(), started, false),
        bytes: 100,
        origin: Origin::Ours,
        worth: Worth::Good,
        suspicious: false,
        held: false,
        safety: false,
        retained_until: None,
    }
}

/// One a day, the newest first; the newest is an hour old.
fn daily(count: i64) -> Vec<Candidate> {
    (0..count).map(|day| candidate(at("2026-11-23T11:00:00Z") - SignedDuration::from_hours(24 * day))).collect()
}

fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

/// What is kept, by its place.
fn kept(candidates: &[Candidate], rules: &Rules) -> Vec<usize> {
    let verdicts = decide(candidates, rules, now());
    (0..candidates.len()).filter(|at| !verdicts[*at].delete).collect()
}

fn why(candidates: &[Candidate], rules: &Rules, index: usize) -> String {
    let verdict = &decide(candidates, rules, now())[index];
    format!("{}: {}", if verdict.delete { "delete" } else { "keep" }, verdict.why())
}

#[test]
fn without_a_rule_nothing_is_ever_deleted() {
    let all = daily(1_000);
    assert_eq!(kept(&all, &Rules::default()).len(), 1_000);
    assert_eq!(why(&all, &Rules::default(), 999), "keep: no rule is set");
    let alone = Rules { min_age: Duration::from_secs(1), foreign: true, ..Rules::default() };
    assert_eq!(kept(&all, &alone).len(), 1_000, "min-age alone deletes nothing");
}

#[test]
fn each_rule_keeps_the_newest_of_each_period() {
    let all = daily(800);
    let dates = |rules: &Rules| -> Vec<String> {
        kept(&all, rules).into_iter().map(|at| all[at].key.started().strftime("%F").to_string()).collect()
    };
    let none = Rules::default();
    assert_eq!(dates(&Rules { last: 2, ..none }), ["2026-11-23", "2026-11-22"]);
    assert_eq!(dates(&Rules { daily: 3, ..none }), ["2026-11-23", "2026-11-22", "2026-11-21"]);
    // The 23rd is a Monday: it is a week of its own so far.
    assert_eq!(dates(&Rules { weekly: 3, ..none }), ["2026-11-23", "2026-11-22", "2026-11-15"]);
    assert_eq!(dates(&Rules { monthly: 3, ..none }), ["2026-11-23", "2026-10-31", "2026-09-30"]);
    assert_eq!(dates(&Rules { yearly: 9, ..none }), ["2026-11-23", "2025-12-31", "2024-12-31"]);
    // Any rule is enough.
    assert_eq!(dates(&Rules { last: 1, monthly: 2, yearly: 2, ..none }), ["2026-11-23", "2026-10-31", "2025-12-31"]);
    assert_eq!(why(&all, &Rules { last: 1, yearly: 1, ..none }, 0), "keep: last good one, keep-last, keep-yearly");
    assert_eq!(why(&all, &Rules { last: 1, ..none }, 1), "delete: no rule keeps it");
    // Hours without a backup don't count: periods are those that have one.
    assert_eq!(dates(&Rules { hourly: 2, ..none }), ["2026-11-23", "2026-11-22"]);
    assert_eq!(kept(&all, &Rules { last: 5_000, ..none }).len(), 800, "more than there are");
}

#[test]
fn the_turn_of_the_year_belongs_to_one_week() {
    let days = ["2027-01-04", "2027-01-03", "2027-01-01", "2026-12-31", "2026-12-28", "2026-12-27"];
    let all: Vec<_> = days.iter().map(|day| candidate(at(&format!("{day}T00:00:00Z")))).collect();
    let verdicts = decide(&all, &Rules { weekly: 3, ..Rules::default() }, at("2027-01-04T01:00:00Z"));
    let kept: Vec<_> = days.iter().zip(verdicts).filter(|(_, verdict)| !verdict.delete).map(|(day, _)| *day).collect();
    assert_eq!(kept, ["2027-01-04", "2027-01-03", "2026-12-27"]);
}

#[test]
fn a_bad_one_takes_no_place_of_a_good_one() {
    let mut all = daily(5);
    all[0].worth = Worth::Bad;
    all[2].worth = Worth::Bad;
    let rules = Rules { last: 2, ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 1, 3]);
    assert_eq!(why(&all, &rules, 0), "keep: bad but nothing newer is good");
    assert_eq!(why(&all, &rules, 2), "delete: found bad");
    for candidate in &mut all {
        candidate.worth = Worth::Bad;
    }
    assert_eq!(kept(&all, &rules).len(), 5, "where nothing is good nothing goes");
}

#[test]
fn safety_backups_take_no_place_and_stay_a_week() {
    let mut all = daily(12);
    for index in [0, 6, 7] {
        all[index].safety = true;
    }
    let rules = Rules { last: 1, ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 1, 6]);
    assert_eq!(why(&all, &rules, 6), "keep: safety backup of a restore");
    assert_eq!(why(&all, &rules, 7), "delete: safety backup of a restore, older than 7d");
    all[1..].iter_mut().for_each(|candidate| candidate.safety = true);
    assert_eq!(why(&all, &rules, 0), "keep: last good one, safety backup of a restore");
}

#[test]
fn the_good_ones_before_a_suspicious_one_stay_until_it_is_released() {
    let mut all = daily(6);
    all[1].suspicious = true;
    all[2].suspicious = true;
    all[4].worth = Worth::Bad;
    let rules = Rules { last: 1, ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 1, 3, 5]);
    assert_eq!(why(&all, &rules, 1), "keep: suspicious and not released");
    assert_eq!(why(&all, &rules, 3), "keep: before a suspicious one");
    all[1].suspicious = false;
    all[2].suspicious = false;
    assert_eq!(kept(&all, &rules), [0]);
}

#[test]
fn guards_are_told() {
    let mut all = daily(7);
    all[1].held = true;
    all[2].retained_until = Some(at("2027-01-01T00:00:00Z"));
    all[3].worth = Worth::Verified;
    all[4].origin = Origin::OtherHost("other.example".into());
    all[5].origin = Origin::DokkuPostgres;
    let rules = Rules { last: 1, ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 1, 2, 3, 4, 5]);
    assert_eq!(why(&all, &rules, 1), "keep: held");
    assert_eq!(why(&all, &rules, 2), "keep: retained until 2027-01-01T00:00:00Z");
    assert_eq!(why(&all, &rules, 3), "keep: newest verified one");
    assert_eq!(why(&all, &rules, 4), "keep: made on other.example");
    assert_eq!(why(&all, &rules, 5), "keep: made by dokku-postgres");
    assert_eq!(why(&all, &Rules { foreign: true, ..rules }, 5), "delete: no rule keeps it");
    let young = Rules { min_age: Duration::from_hours(72), ..rules };
    assert_eq!(why(&daily(4), &young, 2), "keep: min-age");
    assert_eq!(why(&daily(4), &young, 3), "delete: no rule keeps it");
}

#[test]
fn a_clock_that_was_wrong_costs_no_backup() {
    let mut all = daily(3);
    all.push(candidate(at("2037-01-01T00:00:00Z")));
    let rules = Rules { last: 1, ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 3], "the one of the future is not the newest");
    assert_eq!(why(&all, &rules, 3), "keep: its start lies in the future");
}

#[test]
fn size_cuts_the_oldest() {
    let mut all = daily(6);
    all[5].held = true;
    let rules = Rules { max_size: Some(350), ..Rules::default() };
    assert_eq!(kept(&all, &rules), [0, 1, 5]);
    assert_eq!(why(&all, &rules, 1), "keep: max-size");
    assert_eq!(why(&all, &rules, 2), "delete: max-size");
    assert_eq!(kept(&all, &Rules { daily: 4, max_size: Some(350), ..Rules::default() }), [0, 1, 5]);
    assert_eq!(kept(&all, &Rules { max_size: Some(1), ..Rules::default() }), [0, 5], "never the last good one");
}

/// What stands at the end of a year in which a backup was taken each night and the rules were applied after each.
#[test]
fn a_year_of_daily_weekly_and_monthly_backups() {
    let rules = Rules { daily: 7, weekly: 4, monthly: 12, ..Rules::default() };
    let mut there: Vec<Candidate> = Vec::new();
    let first = at("2025-11-24T02:00:00Z");
    let mut most = 0;
    for day in 0..=364 {
        let now = Timestamp::from_second(first.as_second() + day * DAY).unwrap();
        there.push(candidate(now));
        let verdicts = decide(&there, &rules, now);
        let mut verdicts = verdicts.iter();
        there.retain(|_| !verdicts.next().unwrap().delete);
        most = most.max(there.len());
    }
    let dates: BTreeSet<Date> =
        there.iter().map(|candidate| candidate.key.started().to_zoned(TimeZone::UTC).date()).collect();
    let days = ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"];
    let sundays = ["2026-11-22", "2026-11-15", "2026-11-08"]; // the fourth week is that of Monday the 23rd
    let ends = [
        "2025-12-31",
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
        "2026-05-31",
        "2026-06-30",
        "2026-07-31",
        "2026-08-31",
        "2026-09-30",
        "2026-10-31",
    ];
    let expected: BTreeSet<Date> = days.iter().chain(&sundays).chain(&ends).map(|date| date.parse().unwrap()).collect();
    assert_eq!(dates, expected);
    assert!(most <= 7 + 4 + 12, "never more than the rules ask for: {most}");
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let origin = prop_oneof![
        6 => Just(Origin::Ours),
        1 => Just(Origin::OtherHost("other".into())),
        1 => Just(Origin::DokkuPostgres),
        1 => Just(Origin::Unknown),
    ];
    let worth = prop_oneof![
        2 => Just(Worth::Bad),
        1 => Just(Worth::Untried),
        5 => Just(Worth::Good),
        2 => Just(Worth::Verified),
    ];
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.2));
    // Up to three years back, a little ahead, many on the same day.
    (-7_200i64..3 * 365 * DAY, 0u64..1_000, origin, worth, flags, prop::option::weighted(0.1, -DAY..DAY)).prop_map(
        |(age, bytes, origin, worth, (suspicious, held, safety), retained)| {
            let started = Timestamp::from_second(now().as_second() - age * age / (3 * 365 * DAY)).unwrap();
            Candidate {
                bytes,
                origin,
                worth,
                suspicious,
                held,
                safety,
                retained_until: retained.map(|ahead| Timestamp::from_second(now().as_second() + ahead).unwrap()),
                ..candidate(started)
            }
        },
    )
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let count = || prop_oneof![2 => Just(0u32), 3 => 1u32..6, 1 => Just(100_000)];
    (
        [count(), count(), count(), count(), count(), count()],
        prop_oneof![2 => Just(0), 1 => 0..60 * u64::try_from(DAY).unwrap()],
        prop::option::weighted(0.3, 0u64..8_000),
        any::<bool>(),
    )
        .prop_map(|([last, hourly, daily, weekly, monthly, yearly], min_age, max_size, foreign)| Rules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            min_age: Duration::from_secs(min_age),
            max_size,
            foreign,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_must_stay_stays(all in prop::collection::vec(any_candidate(), 0..40), rules in any_rules()) {
        let verdicts = decide(&all, &rules, now());
        prop_assert_eq!(verdicts.len(), all.len());
        let stays = |candidate: &Candidate| all.iter().zip(&verdicts).any(|(one, verdict)| one == candidate && !verdict.delete);
        for (candidate, verdict) in all.iter().zip(&verdicts) {
            prop_assert!(!verdict.reasons.is_empty());
            if !verdict.delete {
                continue;
            }
            prop_assert!(rules.any());
            prop_assert!(!candidate.held);
            prop_assert!(candidate.retained_until.is_none_or(|until| until <= now()));
            let ours = candidate.origin == Origin::Ours || candidate.origin == Origin::DokkuPostgres && rules.foreign;
            prop_assert!(ours, "{:?}", candidate);
            let age = now().duration_since(candidate.started());
            prop_assert!(age.is_negative() || age.unsigned_abs() >= rules.min_age);
            let mine = |other: &&Candidate| is_counted(other, &rules, now());
            let newer = |other: &&Candidate| other.started() >= candidate.started() && stays(other);
            if candidate.worth >= Worth::Good {
                let good = |other: &&Candidate| mine(other) && stays(other) && other.worth >= Worth::Good;
                prop_assert!(all.iter().any(|other| good(&other)), "a good one stays");
                let newer_good = all.iter().any(|other| good(&other) && newer(&other) && !other.safety);
                prop_assert!(candidate.safety || newer_good, "the last good one stays");
            }
            if candidate.worth == Worth::Verified {
                prop_assert!(all.iter().filter(mine).filter(newer).any(|other| other.worth == Worth::Verified));
            }
            if candidate.worth != Worth::Bad && !candidate.suspicious {
                let later = all.iter().filter(mine).any(|other| other.suspicious && other.started() > candidate.started());
                prop_assert!(!later, "it was before a suspicious one");
            }
        }
    }

    #[test]
    fn a_second_time_changes_nothing_and_the_order_given_neither(
        all in prop::collection::vec(any_candidate(), 0..40),
        rules in any_rules(),
    ) {
        let verdicts = decide(&all, &rules, now());
        let left: Vec<Candidate> =
            all.iter().zip(&verdicts).filter(|(_, verdict)| !verdict.delete).map(|(one, _)| one.clone()).collect();
        let again = decide(&left, &rules, now());
        prop_assert!(again.iter().all(|verdict| !verdict.delete), "{again:?}");
        let seconds: HashSet<_> = all.iter().map(Candidate::started).collect();
        if seconds.len() == all.len() {
            let mut turned = all.clone();
            turned.reverse();
            let mut verdicts_turned = decide(&turned, &rules, now());
            verdicts_turned.reverse();
            prop_assert_eq!(verdicts, verdicts_turned);
        }
    }

    /// The count rules alone, against another way of saying them: a backup stays when it is the newest of its period and
    /// fewer than N newer periods have one.
    #[test]
    fn counting_agrees_with_its_definition(
        seconds in prop::collection::btree_set(0i64..800 * DAY, 0..60),
        rules in any_rules(),
    ) {
        let rules = Rules { min_age: Duration::ZERO, max_size: None, ..rules };
        prop_assume!(rules.any());
        let all: Vec<Candidate> =
            seconds.iter().map(|age| candidate(Timestamp::from_second(now().as_second() - age).unwrap())).collect();
        let label = |period: Period, one: &Candidate| {
            let format = match period {
                Period::Each => "%s",
                Period::Hour => "%Y%m%d%H",
                Period::Day => "%Y%m%d",
                Period::Week => "%G%V",
                Period::Month => "%Y%m",
                Period::Year => "%Y",
            };
            one.started().strftime(format).to_string()
        };
        for (one, verdict) in all.iter().zip(decide(&all, &rules, now())) {
            let wanted = rules.counts().into_iter().any(|(period, count)| {
                let same = all.iter().filter(|other| label(period, other) == label(period, one));
                let newest = same.max_by_key(|other| other.started()) == Some(one);
                let newer: BTreeSet<String> = all
                    .iter()
                    .filter(|other| other.started() > one.started())
                    .map(|other| label(period, other))
                    .filter(|other| *other != label(period, one))
                    .collect();
                newest && newer.len() < usize::try_from(count).unwrap()
            });
            let newest = all.iter().all(|other| other.started() <= one.started());
            prop_assert_eq!(!verdict.delete, wanted || newest);
        }
    }
}
