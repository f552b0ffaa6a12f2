//! Sizes, ages and durations for people: short, without spaces (so that awk finds its columns). JSON has the exact numbers.

use std::time::Duration;

use jiff::{Timestamp, Unit};

/// A size with the unit it is counted in: `812B`, `12.4MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in UNITS.into_iter().skip(1) {
        // What would be shown as 1024.0 is one of the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1}{unit}")
}

/// How long something took: `0.4s`, `12.3s`, `2m05s`, `1h02m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long ago something was, in its largest unit: `12s`, `5m`, `3h`, `2d`; `0s` for what lies ahead (clocks differ).
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(then).as_secs()).unwrap_or_default();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Numbers as a picture one line high, the smallest at the bottom: `▁▂▂▃█`.
pub fn sparkline(numbers: &[u64]) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (Some(least), Some(most)) = (numbers.iter().min(), numbers.iter().max()) else { return String::new() };
    let range = u128::from(most - least);
    let step = |number: &u64| {
        let above = u128::from(number - least) * (STEPS.len() as u128 - 1);
        let index = usize::try_from(above.checked_div(range).unwrap_or(3)).unwrap_or_default();
        STEPS.get(index).copied().unwrap_or('█')
    };
    numbers.iter().map(step).collect()
}

/// How a number has changed: `+12%`, `-100%`, `+0%`.
pub fn change(from: u64, to: u64) -> String {
    let (from, to) = (i128::from(from), i128::from(to));
    if from == 0 {
        return if to == 0 { "+0%".to_owned() } else { "new".to_owned() };
    }
    format!("{:+}%", (to - from) * 100 / from)
}

/// An instant, in UTC, to the second: `2026-11-23T14:00:04Z`.
pub fn time(instant: Timestamp) -> String {
    instant.round(Unit::Second).unwrap_or(instant).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (13_002_342, "12.4MiB"),
            (1_073_741_823, "1.0GiB"),
            (u64::MAX, "16384.0PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        for (millis, text) in [(0, "0.0s"), (12_340, "12.3s"), (125_000, "2m05s"), (3_725_000, "1h02m")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn ages() {
        let now: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        for (then, text) in [
            ("2026-11-23T13:59:50Z", "10s"),
            ("2026-11-23T13:00:01Z", "59m"),
            ("2026-11-22T13:00:00Z", "25h"),
            ("2026-11-20T13:00:00Z", "3d"),
            ("2026-11-24T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now), text);
        }
    }

    #[test]
    fn pictures_and_changes() {
        assert_eq!(sparkline(&[1, 2, 3, 8]), "▁▂▃█");
        assert_eq!(sparkline(&[5, 5]), "▄▄");
        assert_eq!(sparkline(&[0, u64::MAX]), "▁█");
        assert_eq!(sparkline(&[]), "");
        assert_eq!([change(562, 0), change(100, 112), change(0, 0), change(0, 1)], ["-100%", "+12%", "+0%", "new"]);
    }

    #[test]
    fn times() {
        assert_eq!(time("2026-11-23T14:00:04.25Z".parse().unwrap()), "2026-11-23T14:00:04Z");
    }
}
