//! Tables without borders: aligned for the eye, one row a line, columns that awk and cut can take apart.
//!
//! On a screen that is too narrow for all of it, a table whose columns say what they are worth leaves out those that say least.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::text::printable;

/// What the last column keeps before another one is left out for it.
const LAST_AT_LEAST: usize = 20;

/// A column's heading and side.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    alignment: CellAlignment,
    spare: Option<u8>,
}

impl Column {
    /// For words.
    pub const fn left(heading: &'static str) -> Self {
        Self { heading, alignment: CellAlignment::Left, spare: None }
    }

    /// For numbers.
    pub const fn right(heading: &'static str) -> Self {
        Self { heading, alignment: CellAlignment::Right, spare: None }
    }

    /// Left out where the screen is too narrow, those of the lowest rank first.
    #[must_use]
    pub const fn spare(self, rank: u8) -> Self {
        Self { spare: Some(rank), ..self }
    }
}

/// A table in the making.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. Give no headings (`""`) to have none shown.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; an empty cell is shown as `-`, so that no column is missing to awk.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let shown = |text: T| {
            let text = text.as_ref();
            if text.is_empty() { "-".to_owned() } else { printable(text).into_owned() }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines, headings first.
    pub fn lines(&self) -> Vec<String> {
        self.rendered(&(0..self.columns.len()).collect::<Vec<_>>(), usize::MAX)
    }

    /// Its lines for a screen of so many columns: where some of them may be spared, those go that are too much, and what the last one is
    /// too long for ends in `…`.
    pub fn lines_within(&self, width: usize) -> Vec<String> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut spares: Vec<(u8, usize)> =
            self.columns.iter().enumerate().filter_map(|(place, column)| Some((column.spare?, place))).collect();
        if spares.is_empty() {
            return self.lines();
        }
        spares.sort_unstable();
        let mut spares = spares.into_iter();
        loop {
            let fits = self.rendered(&shown, LAST_AT_LEAST).iter().all(|line| line.width() <= width);
            let spare = if fits { None } else { spares.next() };
            let Some((_, place)) = spare else {
                return self.rendered(&shown, usize::MAX).iter().map(|line| cut(line, width)).collect();
            };
            shown.retain(|column| *column != place);
        }
    }

    /// With so many columns of a screen at most for the last cell of a row.
    fn rendered(&self, shown: &[usize], last: usize) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        // Never wrapped: a row is a line, whatever the terminal's width.
        table.set_content_arrangement(ContentArrangement::Disabled);
        let columns: Vec<(usize, &Column)> =
            shown.iter().filter_map(|place| Some((*place, self.columns.get(*place)?))).collect();
        if columns.iter().any(|(_, column)| !column.heading.is_empty()) {
            table.set_header(
                columns.iter().map(|(_, column)| Cell::new(column.heading).set_alignment(column.alignment)),
            );
        }
        for row in &self.rows {
            table.add_row(columns.iter().map(|(place, column)| {
                let text = row.get(*place).map_or("-", String::as_str);
                let most = if place + 1 == self.columns.len() { last } else { usize::MAX };
                Cell::new(cut(text, most)).set_alignment(column.alignment)
            }));
        }
        // comfy-table pads each cell with a blank on both sides: the first one is no use at the line's beginning.
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect()
    }
}

/// The beginning of a line that is too long.
fn cut(line: &str, width: usize) -> String {
    if line.width() <= width {
        return line.to_owned();
    }
    let mut used = 1;
    let begin = line.chars().take_while(|letter| {
        used += letter.width().unwrap_or_default();
        used <= width
    });
    begin.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_words_left_and_numbers_right() {
        let mut table = Table::new(&[Column::left("key"), Column::right("rows"), Column::left("label")]);
        table.row(["größe", "5", ""]);
        table.row(["日本", "562", "before the migration\x1b[31m"]);
        let lines = table.lines();
        assert_eq!(lines, ["key    rows  label", "größe     5  -", "日本    562  before the migration\\u{1b}[31m"]);
    }

    #[test]
    fn has_no_heading_where_there_is_none() {
        let mut table = Table::new(&[Column::left(""), Column::right("")]);
        assert!(table.is_empty());
        table.row(["a", "1"]);
        assert_eq!(table.lines(), ["a  1"]);
    }

    #[test]
    fn a_narrow_screen_shows_what_says_most() {
        let columns = [
            Column::left("started").spare(1),
            Column::left("key"),
            Column::right("rows").spare(2),
            Column::left("label"),
        ];
        let mut table = Table::new(&columns);
        table.row(["11:00", "postgres-prod-1", "562", "日本 before the migration"]);
        assert_eq!(table.lines_within(80), table.lines());
        assert_eq!(table.lines_within(53)[1], "11:00    postgres-prod-1   562  日本 before the migr…");
        assert_eq!(table.lines_within(50)[1], "postgres-prod-1   562  日本 before the migration");
        assert_eq!(table.lines_within(44)[1], "postgres-prod-1   562  日本 before the migr…");
        assert_eq!(table.lines_within(25), ["key              label", "postgres-prod-1  日本 be…"]);
        let mut whole = Table::new(&[Column::left("key")]);
        whole.row(["postgres-prod-1"]);
        assert_eq!(whole.lines_within(5), whole.lines(), "nothing of it is spare");
    }
}
