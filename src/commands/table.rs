//! Tables for people: columns as wide as what stands in them.

use std::fmt;

/// A table.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    /// With these headings.
    pub(super) fn new(headings: &[&str]) -> Table {
        let mut table = Table(Vec::new());
        table.row(headings);
        table
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: &[&str]) {
        self.0.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let columns = self.0.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths);
            let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        f.write_str(&self.0.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["A", "BB"]);
        table.row(&["long", "x"]);
        assert_eq!(table.to_string(), "A     BB\nlong  x");
    }
}
