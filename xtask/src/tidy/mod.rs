//! `cargo xtask tidy`: the conventions no compiler knows, as tests.
//!
//! A check is a function from the files to findings, so each is tested on made-up files.

mod banned;
mod guarantees;
mod imports;
mod length;
mod links;
mod markdown;
mod readme;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use self::tree::Tree;
use crate::cargo::Workspace;

/// Runs every check and prints each finding; any finding is an error.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(&workspace.root)?;
    let findings = [
        imports::check(workspace, &tree),
        length::check(&tree),
        guarantees::check(&tree),
        readme::check(&tree),
        links::check(&tree),
        banned::check(&tree),
    ]
    .concat();

    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy has 1 finding"),
        n => bail!("tidy has {n} findings"),
    }
}

/// A place and what is wrong there.
#[derive(Clone, Debug, PartialEq)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// How findings read, for the checks' own tests.
#[cfg(test)]
fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
