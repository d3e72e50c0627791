//! No Rust file over 600 lines: past that a file holds more than one concept.

use super::{Finding, Tree};

const MOST_LINES: usize = 600;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.of_kind("rs")
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| {
            Finding::new(
                path,
                lines,
                format!("{lines} lines, the limit is {MOST_LINES}: split it"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    /// 600 lines pass, 601 do not, and only Rust counts.
    #[test]
    fn a_file_over_the_limit_is_found() {
        let (full, over) = ("\n".repeat(600), "\n".repeat(601));
        let tree = Tree::of(&[("full.rs", &full), ("over.rs", &over), ("over.md", &over)]);
        assert_eq!(
            shown(&check(&tree)),
            ["over.rs:601: 601 lines, the limit is 600: split it"]
        );
    }
}
