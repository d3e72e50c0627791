//! What goes to the terminal. A reader that has gone (`lab | head`) does not stop a run.

use std::io::{IsTerminal, Write, stderr, stdout};

/// Prints a line, or several.
pub(crate) fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints one line to the error stream.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(stderr(), "lab: {line}");
}

pub(crate) fn is_terminal() -> bool {
    stdout().is_terminal()
}
