//! What the README shows is run: its Rust as doc tests, its first two commands by a reader.

use super::markdown::{self, Line};
use super::{Finding, Tree};

const README: &str = "README.md";
const FACE: &str = "crates/backstay/src/lib.rs";
const INCLUDE: &str = "include_str!(\"../../../README.md\")";
const FIRST_COMMANDS: [&str; 2] = ["cargo run --release", "cargo xtask test"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(readme) = tree.text(README) else {
        return vec![Finding::new(README, 1, "missing")];
    };
    let mut findings = Vec::new();
    if !tree.text(FACE).is_some_and(includes_readme) {
        let what = format!(
            "does not include the README as doc tests: `#[doc = {INCLUDE}]` under `#[cfg(doctest)]`"
        );
        findings.push(Finding::new(FACE, 1, what));
    }
    let lines = markdown::lines(readme);
    findings.extend(ignored_blocks(&lines));
    findings.extend(first_commands(&lines));
    findings
}

/// On an item of its own, or as the attribute of the crate itself.
fn includes_readme(face: &str) -> bool {
    let lines: Vec<_> = face.lines().map(str::trim).collect();
    let attribute = format!("#[doc = {INCLUDE}]");
    let in_one = format!("[cfg_attr(doctest, doc = {INCLUDE})]");
    let in_two =
        |pair: &[&str]| pair.contains(&"#[cfg(doctest)]") && pair.contains(&attribute.as_str());
    lines.windows(2).any(in_two)
        || lines
            .iter()
            .any(|line| line.trim_start_matches(['#', '!']) == in_one)
}

fn ignored_blocks(lines: &[Line<'_>]) -> Vec<Finding> {
    let ignored = lines.iter().filter_map(|line| match line {
        Line::Open(at, info) if words(info).any(|word| word.starts_with("ignore")) => Some(*at),
        _ => None,
    });
    ignored
        .map(|at| {
            Finding::new(
                README,
                at,
                "an ignored block is never compiled; use `no_run`",
            )
        })
        .collect()
}

fn first_commands(lines: &[Line<'_>]) -> Vec<Finding> {
    let mut commands = lines.iter().filter_map(|line| match line {
        Line::Code(at, info, code) if is_shell(info) => command(code).map(|command| (*at, command)),
        _ => None,
    });
    let mut findings = Vec::new();
    for expected in FIRST_COMMANDS {
        match commands.next() {
            Some((_, found)) if found == expected => {}
            Some((at, found)) => {
                findings.push(Finding::new(
                    README,
                    at,
                    format!("`{found}` should be `{expected}`"),
                ));
            }
            None => findings.push(Finding::new(README, 1, format!("never says `{expected}`"))),
        }
    }
    findings
}

/// A call of cargo, without the prompt and the remark behind it.
fn command(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line = line.split(" #").next().unwrap_or(line).trim_end();
    line.starts_with("cargo").then_some(line)
}

fn is_shell(info: &str) -> bool {
    words(info).any(|word| ["sh", "console"].contains(&word))
}

fn words(info: &str) -> impl Iterator<Item = &str> {
    info.split([',', ' '])
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    const GOOD: &str = "# It\n```sh\ncd it\ncargo run --release   # the lab\n```\n\
        ```rust,no_run\nfn main() {}\n```\n```console\n$ cargo xtask test\n12 passed\n$ cargo doc\n```\n";
    const FACE_TEXT: &str =
        "//! It.\n#[cfg(doctest)]\n#[doc = include_str!(\"../../../README.md\")]\nstruct Readme;\n";

    fn found(readme: &str, face: &str) -> Vec<String> {
        shown(&check(&Tree::of(&[(README, readme), (FACE, face)])))
    }

    /// A README whose code is compiled and whose commands are right passes.
    #[test]
    fn a_tested_readme_passes() {
        assert_eq!(found(GOOD, FACE_TEXT), [""; 0]);
        let in_one = format!("#![cfg_attr(doctest, doc = {INCLUDE})]");
        assert_eq!(found(GOOD, &in_one), [""; 0]);
    }

    /// A README that no doc test includes is found: always-on docs and a comment don't count.
    #[test]
    fn a_readme_outside_the_doc_tests_is_found() {
        let always = format!("#[doc = {INCLUDE}]\nstruct Readme;");
        let comment = format!("// #[cfg(doctest)]\n// #[doc = {INCLUDE}]");
        for face in ["", &always, &comment] {
            let found = found(GOOD, face);
            assert!(
                found.len() == 1 && found[0].starts_with("crates/backstay/src/lib.rs:1: does not"),
                "{found:?}"
            );
        }
        assert_eq!(shown(&check(&Tree::of(&[]))), ["README.md:1: missing"]);
    }

    /// A block marked `ignore` is found.
    #[test]
    fn an_ignored_block_is_found() {
        for mark in ["rust,ignore", "ignore", "rust, ignore-windows"] {
            let readme = GOOD.replace("rust,no_run", mark);
            assert_eq!(
                found(&readme, FACE_TEXT),
                ["README.md:6: an ignored block is never compiled; use `no_run`"],
                "{mark}"
            );
        }
    }

    /// The first two commands are exactly the ones a reader should try first.
    #[test]
    fn other_first_commands_are_found() {
        let swapped = GOOD.replace("cargo run --release", "cargo run");
        assert_eq!(
            found(&swapped, FACE_TEXT),
            ["README.md:4: `cargo run` should be `cargo run --release`"]
        );
        let without = GOOD
            .replace("cargo xtask test", "make")
            .replace("cargo doc", "make");
        assert_eq!(
            found(&without, FACE_TEXT),
            ["README.md:1: never says `cargo xtask test`"]
        );
    }
}
