//! A relative link in a page points to a file of the repository.

use super::markdown::{self, Line};
use super::{Finding, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in tree.of_kind("md") {
        for line in markdown::lines(text) {
            let Line::Prose(at, line) = line else {
                continue;
            };
            for target in targets(line)
                .into_iter()
                .filter(|target| leads_nowhere(tree, page, target))
            {
                findings.push(Finding::new(page, at, format!("`{target}` leads nowhere")));
            }
        }
    }
    findings
}

/// The targets of `[text](target "title")`, of images, and of `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line
        .match_indices("](")
        .map(|(at, mark)| &line[at + mark.len()..]);
    let inline = inline.filter_map(|rest| rest.split([')', ' ']).next());
    let label = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|line| line.split_once("]: "));
    let label = label.and_then(|(_, rest)| rest.split_whitespace().next());
    inline.chain(label).collect()
}

fn leads_nowhere(tree: &Tree, page: &str, target: &str) -> bool {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    // An address, or a place on the same page.
    let elsewhere = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
    !elsewhere && !resolve(page, path).is_some_and(|path| tree.has(&path))
}

/// The link as a path from the root; none when it leaves the repository.
fn resolve(page: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    if link.starts_with('/') {
        parts.clear();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    fn found(page: &str) -> Vec<String> {
        shown(&check(&Tree::of(&[
            ("README.md", ""),
            ("docs/page.md", page),
            ("docs/img/a.svg", ""),
        ])))
    }

    /// Links to files, folders, addresses and places on the page pass; code is no link.
    #[test]
    fn links_that_lead_somewhere_pass() {
        let page = "[a](page.md#part \"title\") ![b](img/a.svg) [c](../README.md) [d](/docs/img) [e](#part) [f](..)\n\
            [g](https://example.org/none.md) [h](mailto:a@example.org)\n\
            [label]: ./img/a.svg\n```\n[x](none.md)\n```\n";
        assert_eq!(found(page), [""; 0]);
    }

    /// A link to no file, and one out of the repository, are found.
    #[test]
    fn links_that_lead_nowhere_are_found() {
        let page =
            "[a](page.md) and [b](none.md#part)\n[c](../../README.md)\n\n[label]: img/b.svg\n";
        assert_eq!(
            found(page),
            [
                "docs/page.md:1: `none.md#part` leads nowhere",
                "docs/page.md:2: `../../README.md` leads nowhere",
                "docs/page.md:4: `img/b.svg` leads nowhere",
            ]
        );
    }
}
