use unicode_width::UnicodeWidthStr;

use super::cut;

/// Columns that stand below each other.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

/// Between two columns.
const GAP: usize = 2;

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        let rows = vec![head.map(str::to_owned).to_vec()];
        Self { rows }
    }

    /// Cells of the row that is next; an empty one shows as `-`.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let cell = |text: String| {
            let text = cut(&text);
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        self.rows.push(cells.map(cell).to_vec());
    }

    /// With spaces between the columns, and none at the end of a line.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                // By what is seen, not by characters: some are two columns wide.
                line.push_str(&" ".repeat(width - cell.width() + GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns stand below each other, however wide a character is.
    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(["ID", "STATE"]);
        table.row(["銀行".to_owned(), "done".to_owned()]);
        table.row(["7".to_owned(), String::new()]);
        assert_eq!(table.text(), "ID    STATE\n銀行  done\n7     -\n");
    }
}
