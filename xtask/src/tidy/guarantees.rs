//! Every promise names a test that exists and says which rule it shows.
//!
//! A row of `docs/guarantees.md` is `| RULE | promise | test | not promised |`. The test cell holds one or more of
//! `` `path/to/file.rs::test_fn` ``, or `` `path/to/case.rs` `` alone for code that must not compile.

use super::tree::has_extension;
use super::{Finding, Tree};

const PAGE: &str = "docs/guarantees.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else {
        return vec![Finding::new(PAGE, 1, "missing")];
    };
    let rows = rows(page);
    if rows.is_empty() {
        return vec![Finding::new(PAGE, 1, "has no row")];
    }
    let mut findings = Vec::new();
    for (at, cells) in rows {
        findings.extend(
            wrong(tree, &cells)
                .into_iter()
                .map(|what| Finding::new(PAGE, at, what)),
        );
    }
    findings
}

/// The rows of every table, with their line; neither heads nor rulers.
fn rows(page: &str) -> Vec<(usize, Vec<&str>)> {
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    let is_ruler = |line: &str| {
        line.starts_with('|') && line.contains('-') && line.chars().all(|c| "|-: ".contains(c))
    };
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| is_ruler(next));
    let rows = lines.iter().enumerate();
    rows.filter(|&(at, line)| line.starts_with('|') && !is_ruler(line) && !is_head(at))
        .map(|(at, line)| (at + 1, cells(line)))
        .collect()
}

/// The cells between the bars; `\|` is a bar inside one.
fn cells(line: &str) -> Vec<&str> {
    let line = line.strip_prefix('|').unwrap_or(line);
    let line = line.strip_suffix('|').unwrap_or(line);
    let mut cells = Vec::new();
    let mut start = 0;
    for (at, _) in line
        .match_indices('|')
        .filter(|&(at, _)| !line[..at].ends_with('\\'))
    {
        cells.push(line[start..at].trim());
        start = at + 1;
    }
    cells.push(line[start..].trim());
    cells
}

fn wrong(tree: &Tree, cells: &[&str]) -> Vec<String> {
    let &[rule, _, tests, _] = cells else {
        return vec![format!("a row has 4 cells, this one {}", cells.len())];
    };
    let rule = rule.trim_matches('`');
    if !is_rule(rule) {
        return vec![format!("`{rule}` is not the name of a rule")];
    }
    // Split at the back quotes, every second piece is between two of them.
    let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
    if tests.is_empty() {
        return vec![format!("{rule} names no test")];
    }
    tests
        .iter()
        .filter_map(|test| no_such_test(tree, rule, test))
        .collect()
}

fn no_such_test(tree: &Tree, rule: &str, test: &str) -> Option<String> {
    let (path, function) = test
        .split_once("::")
        .map_or((test, None), |(path, name)| (path, Some(name)));
    let Some(source) = tree.text(path).filter(|_| has_extension(path, &["rs"])) else {
        return Some(format!("{rule}: there is no file `{path}`"));
    };
    if !mentions(source, rule) {
        return Some(format!("{rule}: `{path}` does not mention it"));
    }
    match function {
        Some(name) if !has_test(source, name) && !is_case(tree, path, name) => {
            Some(format!("{rule}: `{path}` has no test `{name}`"))
        }
        // Only a case that must not compile has no name to give.
        None if source.contains("#[test]") => Some(format!("{rule}: which test of `{path}`?")),
        _ => None,
    }
}

/// `CALL-14`.
fn is_rule(text: &str) -> bool {
    let parts = text.split_once('-');
    parts.is_some_and(|(area, number)| {
        let all =
            |text: &str, is: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| is(&c));
        all(area, char::is_ascii_uppercase) && all(number, char::is_ascii_digit)
    })
}

/// Whether the rule is named; `CALL-14` does not name `CALL-1`.
fn mentions(text: &str, rule: &str) -> bool {
    text.match_indices(rule)
        .any(|(at, _)| !text[at + rule.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a function of that name carries a test attribute. Inside `proptest!` too: there it is what makes it run.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    (0..lines.len()).any(|at| {
        defines(lines[at], name)
            && lines[..at]
                .iter()
                .rev()
                .take_while(|line| is_above_fn(line))
                .any(|line| is_test(line))
    })
}

/// Whether it is a case of a conformance suite, which the suite's macro makes a test of every backend.
fn is_case(tree: &Tree, path: &str, name: &str) -> bool {
    let Some((suite, _)) = path.rsplit_once('/') else {
        return false;
    };
    let line_of = |path: &str, is: &dyn Fn(&str) -> bool| {
        let text = tree.text(path).unwrap_or_default();
        text.lines().any(|line| is(line.trim()))
    };
    suite.ends_with("/conformance")
        && line_of(path, &|line| defines(line, name))
        && line_of(&format!("{suite}/mod.rs"), &|line| {
            line.strip_suffix(',') == Some(name)
        })
}

fn defines(line: &str, name: &str) -> bool {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line
        .strip_prefix("fn ")
        .and_then(|line| line.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with(['(', '<']))
}

/// Comments and attributes, which may take several lines, stand between a function and what came before it.
fn is_above_fn(line: &str) -> bool {
    let ends_something =
        line.is_empty() || line.starts_with('}') || line.ends_with(['{', ';', '}']);
    line.starts_with("//") || !ends_something
}

fn is_test(line: &str) -> bool {
    ["#[test]", "#[tokio::test]", "#[tokio::test("]
        .iter()
        .any(|attribute| line.starts_with(attribute))
}

#[cfg(test)]
mod tests;
