//! The same times for systemd, for hosts where Dokku writes no crontab.

use super::{FIELDS, Field, Schedule, WEEKDAYS};

impl Schedule {
    /// The values of `OnCalendar=`, all of which count: where both day fields are limited cron runs on either, and systemd on days that
    /// fit both, so there are two.
    pub fn calendars(&self) -> Vec<String> {
        let fields = self.fields();
        let texts = |index: usize| fields.get(index).copied().unwrap_or("*");
        let numbers = |index: usize, field: &Field| (texts(index) != "*").then(|| field.numbers(texts(index)));
        let [minute, hour, day, month, weekday] = &FIELDS;
        let time = format!("{}:{}:00", list(numbers(1, hour).as_deref()), list(numbers(0, minute).as_deref()));
        let month = list(numbers(3, month).as_deref());
        let (day, weekday) = (numbers(2, day), numbers(4, weekday));
        let on_day = |day: Option<&[u8]>| format!("*-{month}-{} {time}", list(day));
        let on_weekday = |weekday: &[u8]| format!("{} {}", weekdays(weekday), on_day(None));
        match (day.as_deref(), weekday.as_deref()) {
            (day, None) => vec![on_day(day)],
            (None, Some(weekday)) => vec![on_weekday(weekday)],
            (day, Some(weekday)) => vec![on_day(day), on_weekday(weekday)],
        }
    }
}

fn list(numbers: Option<&[u8]>) -> String {
    let Some(numbers) = numbers else { return "*".to_owned() };
    numbers.iter().map(|number| format!("{number:02}")).collect::<Vec<_>>().join(",")
}

/// `Mon,Fri`: systemd has names only, and Sunday is both 0 and 7 for cron.
fn weekdays(numbers: &[u8]) -> String {
    let mut days: Vec<usize> = numbers.iter().map(|number| usize::from(number % 7)).collect();
    days.sort_unstable();
    days.dedup();
    let name = |day: usize| {
        let word = WEEKDAYS.get(day).copied().unwrap_or_default();
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    days.into_iter().map(name).collect::<Vec<_>>().join(",")
}
