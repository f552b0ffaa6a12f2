//! A verification as the user sees it: each table with what was expected and what was found.

use crate::changes::{Change, Rows};
use crate::text::count;
use crate::ui::Ui;
use crate::ui::table::{Column, Table};
use crate::verification::{Difference, Verification};

/// Tables shown one by one; those that differ come first, then the largest.
const SHOWN: usize = 25;

/// Tables in two states, one a row, with what has changed between them where that is wanted.
pub fn changes_table<'a>(
    changes: impl Iterator<Item = &'a Change>,
    before: &'static str,
    after: &'static str,
    in_words: bool,
) -> Table {
    let heading = if in_words { "table" } else { "Table" };
    let mut columns = vec![Column::left(heading), Column::right(before), Column::left(""), Column::right(after)];
    if in_words {
        columns.extend([Column::left("change"), Column::right("difference")]);
    }
    let mut table = Table::new(&columns);
    for change in changes {
        let side = |rows: Option<Rows>| {
            rows.map_or_else(|| if in_words { "-" } else { "no table" }.to_owned(), |rows| rows.to_string())
        };
        let mut row = vec![change.table.clone(), side(change.before), "->".to_owned(), side(change.after)];
        if in_words {
            row.extend([change.word().to_owned(), format!("{:+}", change.difference())]);
        }
        table.row(row);
    }
    table
}

/// Shows what was compared, and every difference.
pub fn show_verification(ui: &Ui, verification: &Verification) {
    let mut tables: Vec<_> = verification.tables.iter().collect();
    tables.sort_by_key(|table| (table.matches(), std::cmp::Reverse(table.found), &table.table));
    let mut shown =
        Table::new(&[Column::left("Table"), Column::right("Expected"), Column::right("Found"), Column::left("")]);
    for table in tables.iter().take(SHOWN) {
        let side = |rows: Option<u64>| rows.map_or_else(|| "no table".to_owned(), |rows| rows.to_string());
        let mark = if table.matches() { "equal" } else { "DIFFERENT" };
        shown.row([table.table.as_str(), &side(table.expected), &side(table.found), mark]);
    }
    if !shown.is_empty() {
        ui.detail_table(&shown);
    }
    if tables.len() > SHOWN {
        let rest = tables.iter().skip(SHOWN);
        let different = rest.filter(|table| !table.matches()).count();
        ui.detail(format!("and {} more tables, {different} of them different", tables.len() - SHOWN));
    }
    let mut checks =
        Table::new(&[Column::left("Check"), Column::right("Expected"), Column::right("Found"), Column::left("")]);
    for check in &verification.checks {
        let mark = if check.passed { "passed" } else { "FAILED" };
        checks.row([check.check.to_string(), check.expected.clone(), check.found.clone(), mark.to_owned()]);
    }
    if !checks.is_empty() {
        ui.detail_table(&checks);
    }
    // What the lines above have said of the rows of a table.
    let said: Vec<Difference> = tables.iter().take(SHOWN).filter_map(|table| table.difference()).collect();
    for difference in verification.differences.iter().filter(|difference| !said.contains(difference)) {
        ui.warn(difference.sentence());
    }
    for note in &verification.notes {
        ui.detail(format!("{}: {} then, {} now", note.what, note.expected, note.found));
    }
    for sentence in verification.gap_sentences() {
        ui.warn(sentence);
    }
    if verification.compared_nothing() && verification.differences.is_empty() {
        ui.warn("Nothing could be compared");
    } else if verification.passed() {
        let not = verification.not_compared.len() as u64;
        let equal =
            if not == 0 { "all equal".to_owned() } else { format!("equal, but {} not compared", count(not, "table")) };
        ui.detail(format!(
            "{}, {}, {} compared: {equal}",
            count(verification.tables.len() as u64, "table"),
            count(verification.rows(), "row"),
            count(verification.compared as u64, "value")
        ));
    } else {
        ui.warn(format!("{} of {} values compared differ", verification.differences.len(), verification.compared));
    }
}
