//! What goes to the terminal or to a script.

mod table;
mod time;

use std::io::{self, Write, stdout};

use serde::Serialize;
use unicode_width::UnicodeWidthChar;

pub(crate) use table::Table;
pub(crate) use time::time;

/// For whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    People,
    /// A document a line.
    Json,
}

/// Prints a text, and ends its line.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints a document in a line of its own.
pub(crate) fn document(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(say(&serde_json::to_string(value)?)?)
}

/// A text from elsewhere as a part of a line: nothing in it moves the cursor.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.trim_end().chars() {
        match char {
            '\n' | '\r' | '\t' => line.push(' '),
            // Control characters, and what turns the direction of writing.
            char if char.is_control() || is_invisible(char) => line.extend(char.escape_unicode()),
            char => line.push(char),
        }
    }
    line
}

fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// As many columns of a text from elsewhere; `--json` and `export` have all of it.
const MOST_COLUMNS: usize = 300;

/// [`one_line`] of bounded width.
pub(crate) fn cut(text: &str) -> String {
    let line = one_line(text);
    let mut columns = 0;
    for (at, char) in line.char_indices() {
        columns += char.width().unwrap_or(0);
        if columns > MOST_COLUMNS {
            return format!("{}…", &line[..at]);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a step said neither breaks a line nor reaches the terminal as a command.
    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(one_line("a\nb\tc\r\n"), "a b c");
        assert_eq!(one_line("\u{1b}[2Jgone\u{202e}"), "\\u{1b}[2Jgone\\u{202e}");
        assert_eq!(cut(&"x".repeat(1_000)).chars().count(), MOST_COLUMNS + 1);
        assert_eq!(
            cut(&"銀".repeat(1_000)).chars().count(),
            MOST_COLUMNS / 2 + 1
        );
    }
}
