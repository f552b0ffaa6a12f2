//! What has changed between two states of a database, as far as the numbers of rows tell; and which of it is suspicious. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::manifest::Loss;

/// Losing fewer rows than this is never suspicious: a table of three rows must not cry wolf.
const LEAST_LOSS: u64 = 50;

/// Rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// Whether they were counted; else it is the planner's estimate.
    pub exact: bool,
}

impl Rows {
    /// Rows that were counted.
    pub fn counted(count: u64) -> Self {
        Self { count, exact: true }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.exact { "" } else { "about " }, self.count)
    }
}

/// One table in two states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its qualified and quoted name.
    pub table: String,
    /// Before; absent when there was no such table.
    pub before: Option<Rows>,
    /// After; absent when there is no such table.
    pub after: Option<Rows>,
}

impl Change {
    /// Whether the number of rows is known to be the same.
    pub fn is_none(&self) -> bool {
        self.before == self.after && self.before.is_none_or(|rows| rows.exact)
    }

    /// Rows gained, less those lost.
    pub fn difference(&self) -> i128 {
        let count = |rows: Option<Rows>| i128::from(rows.map_or(0, |rows| rows.count));
        count(self.after) - count(self.before)
    }

    /// In a word: `new`, `gone`, `gained`, `lost`, `same`.
    pub fn word(&self) -> &'static str {
        match (self.before, self.after) {
            (None, Some(_)) => "new",
            (Some(_), None) => "gone",
            _ if self.difference() > 0 => "gained",
            _ if self.difference() < 0 => "lost",
            _ => "same",
        }
    }
}

/// Counted rows, ready to compare.
pub fn counted(tables: &BTreeMap<String, u64>) -> BTreeMap<String, Rows> {
    tables.iter().map(|(name, rows)| (name.clone(), Rows::counted(*rows))).collect()
}

/// Every table of either side, in order of name.
pub fn compare(before: &BTreeMap<String, Rows>, after: &BTreeMap<String, Rows>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .map(|name| Change { table: name.clone(), before: before.get(name).copied(), after: after.get(name).copied() })
        .collect()
}

/// What is suspicious.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// A table that lost this share of its rows or more, in percent; `None` watches nothing.
    pub drop: Option<u8>,
    /// Tables that may lose their rows: queues, sessions, partitions that are rotated.
    pub ignore: Vec<TablePattern>,
}

/// Tables that have lost too much between two backups, the greatest loss first. A table that is gone counts as having lost all its rows,
/// unless a new one has about as many: it was renamed.
pub fn losses(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>, watch: &Watch) -> Vec<Loss> {
    let Some(drop) = watch.drop else { return Vec::new() };
    let too_much = |before: u64, now: u64| {
        let lost = before.saturating_sub(now);
        lost >= LEAST_LOSS && u128::from(lost) * 100 >= u128::from(before) * u128::from(drop)
    };
    let mut new: Vec<u64> = now.iter().filter(|(name, _)| !before.contains_key(*name)).map(|(_, rows)| *rows).collect();
    let mut losses = Vec::new();
    for (table, &rows) in before {
        let left = now.get(table).copied();
        if !too_much(rows, left.unwrap_or_default()) || watch.ignore.iter().any(|pattern| pattern.fits(table)) {
            continue;
        }
        if left.is_none()
            && let Some(at) = new.iter().position(|&found| found > 0 && !too_much(rows, found))
        {
            // Each new table explains one that is gone.
            new.swap_remove(at);
            continue;
        }
        losses.push(Loss { table: table.clone(), before: rows, now: left });
    }
    losses.sort_by_key(|loss| std::cmp::Reverse(loss.before - loss.now.unwrap_or_default().min(loss.before)));
    losses
}

/// Names of tables: `public.jobs`, `*_2023_*`, `sessions` (in any schema).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern(String);

impl TablePattern {
    /// Whether a qualified name fits.
    pub fn fits(&self, table: &str) -> bool {
        let bare = table.rsplit('.').next().unwrap_or(table);
        fits(&self.0, table) || (!self.0.contains('.') && fits(&self.0, bare))
    }
}

impl FromStr for TablePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().all(|letter| letter == '*') {
            return Err(format!("{text:?} is not the name of a table, which looks like public.sessions or *_queue"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `*` stands for any number of letters.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| text.get(at..).is_some_and(|tail| fits(rest, tail)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tables(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
        rows.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
    }

    fn watch(drop: u8, ignore: &[&str]) -> Watch {
        Watch { drop: Some(drop), ignore: ignore.iter().map(|text| text.parse().unwrap()).collect() }
    }

    fn lost(before: &[(&str, u64)], now: &[(&str, u64)], watch: &Watch) -> Vec<String> {
        losses(&tables(before), &tables(now), watch)
            .into_iter()
            .map(|loss| format!("{} {} {:?}", loss.table, loss.before, loss.now))
            .collect()
    }

    #[test]
    fn the_accident_of_the_story_is_seen() {
        let users = ("public.sportfin_sportfinuser", 562);
        let emptied = ("public.sportfin_sportfinuser", 0);
        assert_eq!(lost(&[users], &[emptied], &watch(50, &[])), ["public.sportfin_sportfinuser 562 Some(0)"]);
        assert_eq!(lost(&[users], &[], &watch(50, &[])), ["public.sportfin_sportfinuser 562 None"]);
        assert!(lost(&[users], &[emptied], &Watch { drop: None, ignore: Vec::new() }).is_empty());
    }

    #[test]
    fn what_is_everyday_life_is_not() {
        let half = watch(50, &["sessions", "public.jobs", "*_2023_*"]);
        for (before, now) in [
            (("public.users", 1_000), ("public.users", 501)),
            (("public.small", 49), ("public.small", 0)),
            (("public.users", 10), ("public.users", 1_000)),
            (("public.jobs", 5_000), ("public.jobs", 0)),
            (("web.sessions", 5_000), ("web.sessions", 1)),
            (("public.log_2023_04", 5_000), ("public.log_2024_04", 0)),
            (("public.renamed", 5_000), ("public.new_name", 5_010)),
        ] {
            assert!(lost(&[before], &[now], &half).is_empty(), "{before:?} {now:?}");
        }
        assert_eq!(lost(&[("public.users", 1_000)], &[("public.users", 500)], &half).len(), 1);
        // One new table is not two old ones.
        let two = [("a.x", 100), ("a.y", 100)];
        assert_eq!(lost(&two, &[("a.z", 100)], &half), ["a.y 100 None"]);
        // The greatest loss comes first.
        assert_eq!(lost(&[("a.x", 100), ("a.y", 900)], &[("a.x", 0), ("a.y", 0)], &half)[0], "a.y 900 Some(0)");
    }

    #[test]
    fn changes_have_a_word() {
        let before = counted(&tables(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]));
        let mut after = counted(&tables(&[("a", 1), ("b", 5), ("c", 0), ("e", 9)]));
        let words = |after: &BTreeMap<String, Rows>| -> Vec<String> {
            let changes = compare(&before, after);
            changes.iter().map(|change| format!("{} {} {}", change.table, change.word(), change.difference())).collect()
        };
        assert_eq!(words(&after), ["a same 0", "b gained 3", "c lost -3", "d gone -4", "e new 9"]);
        assert!(compare(&before, &after)[0].is_none());
        after.insert("a".into(), Rows { count: 1, exact: false });
        assert!(!compare(&before, &after)[0].is_none(), "an estimate proves nothing");
    }

    proptest! {
        #[test]
        fn a_loss_is_large_and_each_table_is_named_once(
            before in prop::collection::btree_map("[a-c]\\.[a-c]{1,2}", 0u64..2_000, 0..8),
            now in prop::collection::btree_map("[a-c]\\.[a-c]{1,2}", 0u64..2_000, 0..8),
            drop in 1u8..=100,
        ) {
            let found = losses(&before, &now, &watch(drop, &[]));
            for loss in &found {
                let lost = before[&loss.table] - loss.now.unwrap_or_default();
                prop_assert!(lost >= LEAST_LOSS && lost * 100 >= loss.before * u64::from(drop));
                prop_assert_eq!(loss.now, now.get(&loss.table).copied());
            }
            let names: BTreeSet<_> = found.iter().map(|loss| &loss.table).collect();
            prop_assert_eq!(names.len(), found.len());
            for (table, rows) in &before {
                if let Some(left) = now.get(table) && *left == 0 && *rows >= LEAST_LOSS {
                    prop_assert!(names.contains(table), "an emptied table is always told");
                }
            }
            prop_assert!(losses(&before, &before, &watch(drop, &[])).is_empty());
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in "\\PC{1,8}", text in "\\PC{0,12}") {
            if let Ok(pattern) = pattern.parse::<TablePattern>() {
                let _ = pattern.fits(&text);
            }
        }
    }
}
