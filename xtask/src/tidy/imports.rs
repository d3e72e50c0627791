//! Who may import whom: arrows point down, and a pattern never imports its sibling.

use super::{Finding, Tree};
use crate::cargo::{Package, Workspace};

const CORE: &str = "backstay-core";
const CALL: &str = "backstay-call";
const STORE: &str = "backstay-store";
const ETCD: &str = "backstay-etcd";

/// Each of our crates and what it may import of ours. Every crate has its row.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (CORE, &[]),
    (CALL, &[CORE]),
    (STORE, &[CORE]),
    (ETCD, &[CORE]),
    ("backstay-telemetry", &[CALL, CORE]),
    ("backstay-replica", &[CALL, STORE, ETCD, CORE]),
    ("backstay-chaos", &[CALL, CORE]),
    ("backstay-saga", &[STORE, CORE]),
    ("backstay-cqrs", &[STORE, CORE]),
    ("backstay-idempotency", &[STORE, CORE]),
    ("backstay-lease", &[STORE, ETCD, CORE]),
    // All but itself, which cargo refuses anyway.
    ("backstay", APP),
    ("lab", APP),
    ("gateway", APP),
    ("ctl", APP),
    ("shop", APP),
    ("keyring", APP),
    ("backstay-bench", APP),
    ("compile-fail", APP),
    ("test-servers", &[]),
    ("xtask", &[]),
];

/// The face and everything below it.
const APP: &[&str] = &[
    "backstay",
    "backstay-telemetry",
    "backstay-replica",
    "backstay-chaos",
    "backstay-saga",
    "backstay-cqrs",
    "backstay-idempotency",
    "backstay-lease",
    STORE,
    ETCD,
    CALL,
    CORE,
];

/// What would bring a clock, a random source or I/O into the core.
const NOT_IN_CORE: &[&str] = &["tokio", "rand", "fastrand", "getrandom"];

pub(super) fn check(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let manifest = workspace.relative(&package.manifest_path);
        let text = tree.text(&manifest).unwrap_or_default();
        for (name, what) in wrong(package, &workspace.packages) {
            findings.push(Finding::new(&manifest, line_of(text, name), what));
        }
    }
    findings
}

/// The name at fault and what is wrong with it. Tests may import what they like.
fn wrong<'p>(package: &'p Package, ours: &[Package]) -> Vec<(&'p str, String)> {
    let name = package.name.as_str();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == name) else {
        let what = format!("`{name}` has no row in the table of xtask/src/tidy/imports.rs");
        return vec![(name, what)];
    };
    let imports = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind.as_deref() != Some("dev"));
    imports
        .map(|dependency| dependency.name.as_str())
        .filter(|import| {
            let is_ours = ours.iter().any(|package| package.name == *import);
            let forbidden = name == CORE && NOT_IN_CORE.contains(import);
            forbidden || (is_ours && !allowed.contains(import))
        })
        .map(|import| (import, format!("`{name}` may not import `{import}`")))
        .collect()
}

/// Where the manifest names it: as a key of a dependency table, or as the package's own name.
fn line_of(manifest: &str, name: &str) -> usize {
    let quoted = format!("\"{name}\"");
    let names = |line: &str| {
        let key = line.split(['.', '=', ' ']).next();
        key == Some(name) || line.contains(&quoted)
    };
    manifest.lines().position(names).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::shown;
    use super::*;
    use crate::cargo::Dependency;

    /// A crate and its imports; `dev:` and `build:` before a name say of which kind.
    fn package(folder: &str, name: &str, imports: &[&str]) -> Package {
        let dependencies = imports.iter().map(|import| match import.split_once(':') {
            Some((kind, name)) => Dependency {
                name: name.into(),
                kind: Some(kind.into()),
            },
            None => Dependency {
                name: (*import).into(),
                kind: None,
            },
        });
        Package {
            name: name.into(),
            manifest_path: Path::new("/root-of-it").join(folder).join("Cargo.toml"),
            features: [].into(),
            dependencies: dependencies.collect(),
        }
    }

    fn found(packages: Vec<Package>, tree: &Tree) -> Vec<String> {
        let workspace = Workspace {
            root: "/root-of-it".into(),
            target: PathBuf::new(),
            packages,
        };
        shown(&check(&workspace, tree))
    }

    /// Downward imports pass, and dev-dependencies go anywhere.
    #[test]
    fn downward_imports_pass() {
        let packages = vec![
            package(
                "crates/core",
                "backstay-core",
                &["serde", "dev:tokio", "dev:backstay-call"],
            ),
            package("crates/call", "backstay-call", &["backstay-core", "tokio"]),
            package("crates/store", "backstay-store", &["backstay-core"]),
            package(
                "crates/saga",
                "backstay-saga",
                &["backstay-store", "backstay-core", "dev:lab"],
            ),
            package(
                "crates/backstay",
                "backstay",
                &["backstay-saga", "backstay-call"],
            ),
            package("apps/lab", "lab", &["backstay", "backstay-core"]),
            package("xtask", "xtask", &["anyhow"]),
        ];
        assert_eq!(found(packages, &Tree::of(&[])), [""; 0]);
    }

    /// An import that points up or sideways is found, at its line of the manifest.
    #[test]
    fn an_import_up_or_sideways_is_found() {
        let manifest =
            "[package]\nname = \"backstay-saga\"\n[dependencies]\nbackstay-call.workspace = true\n";
        let packages = vec![
            package("crates/core", "backstay-core", &["build:backstay-call"]),
            package("crates/call", "backstay-call", &["lab"]),
            package("crates/saga", "backstay-saga", &["backstay-call"]),
            package("apps/lab", "lab", &[]),
            package("xtask", "xtask", &["backstay-core"]),
        ];
        let tree = Tree::of(&[("crates/saga/Cargo.toml", manifest)]);
        assert_eq!(
            found(packages, &tree),
            [
                "crates/core/Cargo.toml:1: `backstay-core` may not import `backstay-call`",
                "crates/call/Cargo.toml:1: `backstay-call` may not import `lab`",
                "crates/saga/Cargo.toml:4: `backstay-saga` may not import `backstay-call`",
                "xtask/Cargo.toml:1: `xtask` may not import `backstay-core`",
            ]
        );
    }

    /// The core gets no runtime and no random source, from anybody.
    #[test]
    fn a_runtime_in_the_core_is_found() {
        for import in NOT_IN_CORE {
            let packages = vec![package("crates/core", "backstay-core", &[import])];
            let expected =
                format!("crates/core/Cargo.toml:1: `backstay-core` may not import `{import}`");
            assert_eq!(found(packages, &Tree::of(&[])), [expected]);
        }
    }

    /// A new crate has to take its place in the table.
    #[test]
    fn a_crate_without_a_row_is_found() {
        let found = found(
            vec![package("crates/new", "backstay-new", &[])],
            &Tree::of(&[]),
        );
        assert!(
            found[0].starts_with("crates/new/Cargo.toml:1: `backstay-new` has no row"),
            "{found:?}"
        );
    }
}
