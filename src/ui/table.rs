//! Tables without borders: aligned for the eye, one row a line, columns that awk and cut can take apart.

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};

use crate::text::printable;

/// A column's heading and side.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    alignment: CellAlignment,
}

impl Column {
    /// For words.
    pub const fn left(heading: &'static str) -> Self {
        Self { heading, alignment: CellAlignment::Left }
    }

    /// For numbers.
    pub const fn right(heading: &'static str) -> Self {
        Self { heading, alignment: CellAlignment::Right }
    }
}

/// A table in the making.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    table: comfy_table::Table,
}

impl Table {
    /// An empty table. Give no headings (`""`) to have none shown.
    pub fn new(columns: &[Column]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        // Never wrapped: a row is a line, whatever the terminal's width.
        table.set_content_arrangement(ContentArrangement::Disabled);
        let table = Self { columns: columns.to_vec(), table };
        if columns.iter().all(|column| column.heading.is_empty()) {
            return table;
        }
        table.with_header()
    }

    fn with_header(mut self) -> Self {
        let cells: Vec<_> =
            self.columns.iter().map(|column| Cell::new(column.heading).set_alignment(column.alignment)).collect();
        self.table.set_header(cells);
        self
    }

    /// Adds a row; an empty cell is shown as `-`, so that no column is missing to awk.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells: Vec<_> = cells
            .into_iter()
            .zip(&self.columns)
            .map(|(text, column)| {
                let text = text.as_ref();
                Cell::new(if text.is_empty() { "-".into() } else { printable(text) }).set_alignment(column.alignment)
            })
            .collect();
        self.table.add_row(cells);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Its lines, headings first.
    pub fn lines(&self) -> impl Iterator<Item = String> + use<> {
        let lines: Vec<_> = self.table.lines().collect();
        // comfy-table pads each cell with a blank on both sides: the first one is no use at the line's beginning.
        lines.into_iter().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_words_left_and_numbers_right() {
        let mut table = Table::new(&[Column::left("key"), Column::right("rows"), Column::left("label")]);
        table.row(["größe", "5", ""]);
        table.row(["日本", "562", "before the migration\x1b[31m"]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines, ["key    rows  label", "größe     5  -", "日本    562  before the migration\\u{1b}[31m"]);
    }

    #[test]
    fn has_no_heading_where_there_is_none() {
        let mut table = Table::new(&[Column::left(""), Column::right("")]);
        assert!(table.is_empty());
        table.row(["a", "1"]);
        assert_eq!(table.lines().collect::<Vec<_>>(), ["a  1"]);
    }
}
