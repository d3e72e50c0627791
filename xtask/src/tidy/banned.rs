//! Text that may not be in the repository: unfinished work, and the folders of one machine.
//!
//! The needles are put together from pieces, or this file would be its own first finding.

use super::tree::has_extension;
use super::{Finding, Tree};

const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unim", "plemented!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Folders where people and machines keep their checkouts.
const MACHINE: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
];

/// Where a path of one machine would be read by another.
const WRITTEN_BY_HAND: &[&str] = &["rs", "md", "toml", "yml"];

/// Tests wait for an event or on paused time.
const SLEEP: &str = concat!("thread::", "sleep");

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.all().filter(|(path, _)| !is_generated(path)) {
        for (at, line) in text.lines().enumerate() {
            let found = found(path, line);
            findings
                .extend(found.map(|needle| {
                    Finding::new(path, at + 1, format!("`{needle}` is not allowed"))
                }));
        }
    }
    findings
}

fn found<'l>(path: &str, line: &'l str) -> impl Iterator<Item = &'static str> + use<'l> {
    let by_hand = has_extension(path, WRITTEN_BY_HAND);
    let machine = if by_hand { MACHINE } else { &[] };
    let sleep = if is_test(path) { &[SLEEP][..] } else { &[] };
    let has = |needle: &str| {
        line.match_indices(needle)
            .any(|(at, _)| stands_alone(line, at, needle))
    };
    [UNFINISHED, machine, sleep]
        .into_iter()
        .flatten()
        .copied()
        .filter(move |needle| has(needle))
}

/// Whether the needle is a word, or begins a path; in the middle of a longer one it is something else.
fn stands_alone(line: &str, at: usize, needle: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    let joins_path = |c: char| joins(c) || ".-~}>".contains(c);
    let (before, after) = (&line[..at], &line[at + needle.len()..]);
    if needle.starts_with('/') {
        // A name follows: `{` or `:` there makes it the route of a server.
        return !before.ends_with(joins_path) && after.starts_with(joins);
    }
    let joined_before = needle.starts_with(joins) && before.ends_with(joins);
    let joined_after = needle.ends_with(joins) && after.starts_with(joins);
    !joined_before && !joined_after
}

fn is_test(path: &str) -> bool {
    has_extension(path, &["rs"])
        && path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
}

/// Lock files, and libraries packed by others.
fn is_generated(path: &str) -> bool {
    has_extension(path, &["lock"]) || path.contains(".min.")
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        shown(&check(&Tree::of(&[(path, text)])))
    }

    /// Each marker of unfinished work is found in any file, at its line.
    #[test]
    fn unfinished_work_is_found() {
        for needle in UNFINISHED {
            for path in ["src/a.rs", "page.html", "LICENSE"] {
                let text = format!("fine\nbefore {needle} after");
                assert_eq!(
                    found(path, &text),
                    [format!("{path}:2: `{needle}` is not allowed")]
                );
            }
        }
    }

    /// A folder of one machine is found where people write; in a page or a log it is data.
    #[test]
    fn machine_folders_are_found() {
        for folder in MACHINE {
            for text in [
                format!("\"{folder}me\""),
                format!("see {folder}me"),
                format!("file://{folder}me"),
            ] {
                assert_eq!(
                    found("a.toml", &text),
                    [format!("a.toml:1: `{folder}` is not allowed")],
                    "{text}"
                );
            }
            assert_eq!(found("a.html", &format!("{folder}me")), [""; 0]);
        }
    }

    /// A blocking sleep is found in tests, and only there.
    #[test]
    fn a_sleep_in_tests_is_found() {
        let text = format!("std::{SLEEP}(long);");
        for path in ["a/tests/it/main.rs", "a/src/b/tests.rs"] {
            assert_eq!(
                found(path, &text),
                [format!("{path}:1: `{SLEEP}` is not allowed")]
            );
        }
        assert_eq!(found("a/src/driver.rs", &text), [""; 0]);
    }

    /// Words that only look like it, generated files, and paths below another folder pass.
    #[test]
    fn clean_text_passes() {
        let [.., fix, three] = UNFINISHED else {
            unreachable!("a list of five")
        };
        let long = format!("mktemp {three}{three} {fix}D my_{three}_");
        let text = format!(
            "{long}\nhttps://example.org/work/it target/root/it {{base}}/home/it ../work/it /work/{{it}}"
        );
        assert_eq!(found("a.md", &text), [""; 0]);
        assert_eq!(found("Cargo.lock", three), [""; 0]);
        assert_eq!(found("plot.min.js", fix), [""; 0]);
    }
}
