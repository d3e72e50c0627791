//! Just enough Markdown: which lines are prose and which are in a code block.

/// One line of a page, numbered from 1.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'t> {
    Prose(usize, &'t str),
    /// The opening fence with its info string: ```` ```rust,no_run ````.
    Open(usize, &'t str),
    /// A line of the block that the info string opened.
    Code(usize, &'t str, &'t str),
}

pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut open: Option<(&str, &str)> = None;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        match (open, fence(line)) {
            // A block ends at the same mark, at least as long, with nothing after it.
            (Some((mark, _)), Some((end, ""))) if end.starts_with(mark) => open = None,
            (Some((_, info)), _) => lines.push(Line::Code(at, info, line)),
            (None, Some((mark, info))) => {
                open = Some((mark, info));
                lines.push(Line::Open(at, info));
            }
            (None, None) => lines.push(Line::Prose(at, line)),
        }
    }
    lines
}

/// The marks and the info string of a line that opens or closes a block.
fn fence(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let info = line.trim_start_matches(if line.starts_with('~') { '~' } else { '`' });
    let marks = &line[..line.len() - info.len()];
    // ```` ```code``` ```` on one line is prose.
    (marks.len() >= 3 && !info.contains('`')).then_some((marks, info.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block keeps what looks like a shorter fence, and prose goes on after it.
    #[test]
    fn code_is_told_from_prose() {
        let text =
            "before\n````rust,no_run\n```\ncode\n````\n```one line```\nafter\n~~~\nopen to the end";
        assert_eq!(
            lines(text),
            [
                Line::Prose(1, "before"),
                Line::Open(2, "rust,no_run"),
                Line::Code(3, "rust,no_run", "```"),
                Line::Code(4, "rust,no_run", "code"),
                Line::Prose(6, "```one line```"),
                Line::Prose(7, "after"),
                Line::Open(8, ""),
                Line::Code(9, "", "open to the end"),
            ]
        );
    }
}
