//! A file that tells when a change of a graph would strand instances.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::graph::{Fingerprint, Graph, Role, Version, Work};

/// Set to `write`, graphs that are not in the file are added to it.
const WRITE: &str = "BACKSTAY_LOCK";

const HEAD: &str = "# Graphs of sagas that may be under way somewhere. A line is taken out by hand, when no instance of it is.\n";

/// Why graphs and file do not agree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// A graph is not in the file.
    #[error("{saga} {} is not in {path:?}: run the test once with {WRITE}=write, and commit the file", version.0)]
    Missing {
        /// The file.
        path: PathBuf,
        /// The saga.
        saga: String,
        /// Its version.
        version: Version,
    },
    /// A graph is not as it was.
    #[error(
        "the graph of {saga} {} has changed, and its instances under way could not go on: give it a new version and keep the \
         old one registered, or take it out of {path:?} if none is under way\n- {old}\n+ {new}",
        version.0
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The saga.
        saga: String,
        /// Its version.
        version: Version,
        /// As it was.
        old: String,
        /// As it is.
        new: String,
    },
    /// A graph of the file is not in the code any more.
    #[error(
        "{saga} {} is in {path:?} and not in the code, and its instances under way could not go on: keep it registered, or take \
         it out of the file if none is under way",
        version.0
    )]
    Gone {
        /// The file.
        path: PathBuf,
        /// The saga.
        saga: String,
        /// Its version.
        version: Version,
    },
    /// The file is not as it was written.
    #[error("line {line} of {path:?} is not `saga version fingerprint steps`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1 on.
        line: usize,
    },
    /// The file can't be read or written.
    #[error("{path:?}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Compares graphs with the committed file of those that may be under way. For a test.
///
/// With `BACKSTAY_LOCK=write` in the environment, those that are missing are added. What is there is never changed: whoever
/// changes a graph under the same version takes its line out by hand, and says so by that.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # fn trip() -> backstay_saga::Saga<(), (), ()> { unreachable!() }
/// let file = concat!(env!("CARGO_MANIFEST_DIR"), "/sagas.lock");
/// backstay_saga::lock::check(file, [trip().graph()])?;
/// # Ok(()) }
/// ```
pub fn check<'g>(
    path: impl AsRef<Path>,
    graphs: impl IntoIterator<Item = &'g Graph>,
) -> Result<(), LockError> {
    let path = path.as_ref();
    let writes = std::env::var(WRITE).is_ok_and(|value| value == "write");
    compare(path, graphs, writes)
}

type Lines = BTreeMap<(String, Version), String>;

fn compare<'g>(
    path: &Path,
    graphs: impl IntoIterator<Item = &'g Graph>,
    writes: bool,
) -> Result<(), LockError> {
    let mut locked = read(path)?;
    let mut gone: Vec<_> = locked.keys().cloned().collect();
    for graph in graphs {
        let key = (graph.saga.clone(), graph.version);
        gone.retain(|locked| *locked != key);
        let new = line(&graph.fingerprint(), graph);
        let (saga, version) = key.clone();
        let path = path.to_owned();
        match locked.get(&key) {
            Some(old) if *old == new => {}
            Some(old) => {
                return Err(LockError::Changed {
                    path,
                    saga,
                    version,
                    old: old.clone(),
                    new,
                });
            }
            None if writes => {
                locked.insert(key, new);
            }
            None => {
                return Err(LockError::Missing {
                    path,
                    saga,
                    version,
                });
            }
        }
    }
    if let Some((saga, version)) = gone.into_iter().next() {
        let path = path.to_owned();
        return Err(LockError::Gone {
            path,
            saga,
            version,
        });
    }
    if writes { write(path, &locked) } else { Ok(()) }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LockError + use<'_> {
    move |source| LockError::Io {
        path: path.to_owned(),
        source,
    }
}

fn read(path: &Path) -> Result<Lines, LockError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io(path)(error)),
    };
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let malformed = || LockError::Malformed {
                path: path.to_owned(),
                line: number + 1,
            };
            let mut words = line.splitn(3, ' ');
            let (Some(saga), Some(version), Some(graph)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(malformed());
            };
            let version = version.parse().map(Version).map_err(|_| malformed())?;
            Ok(((saga.to_owned(), version), graph.to_owned()))
        })
        .collect()
}

fn write(path: &Path, locked: &Lines) -> Result<(), LockError> {
    let mut text = HEAD.to_owned();
    for ((saga, version), line) in locked {
        let _ = writeln!(text, "{saga} {} {line}", version.0);
    }
    std::fs::write(path, text).map_err(io(path))
}

/// The fingerprint, and the steps so that a person sees what has changed.
fn line(fingerprint: &Fingerprint, graph: &Graph) -> String {
    let mut line = fingerprint.to_string();
    for step in &graph.steps {
        let what = match step.role {
            Role::Undo => "",
            Role::NothingToUndo => "~",
            Role::Pivot => "!",
            Role::UntilDone => "+",
        };
        let work = match &step.work {
            Work::Call => String::new(),
            Work::Sleep(millis) => format!("=sleep({millis}ms)"),
            Work::Signal(None) => "=signal".to_owned(),
            Work::Signal(Some(millis)) => format!("=signal({millis}ms)"),
            Work::Child { saga, graph } => format!("={saga}({graph})"),
        };
        let once = if step.idempotent { "" } else { "?" };
        let before = step.needs.iter().chain(&step.after);
        let before: Vec<_> = before
            .map(|before| graph.steps[*before].name.as_str())
            .collect();
        let _ = write!(
            line,
            " {what}{}{once}{work}[{}]",
            step.name,
            before.join(",")
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Node;

    fn graph(version: u32, steps: &[&str]) -> Graph {
        let node = |name: &&str| Node {
            name: (*name).to_owned(),
            work: Work::Call,
            role: Role::Undo,
            needs: Vec::new(),
            after: Vec::new(),
            idempotent: true,
        };
        Graph {
            saga: "trip".to_owned(),
            version: Version(version),
            steps: steps.iter().map(node).collect(),
            outputs: Vec::new(),
        }
    }

    /// SAG-8: what would strand instances fails the test; what does not, does not.
    #[test]
    fn a_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sagas.lock");
        let (one, changed, two) = (
            graph(1, &["a"]),
            graph(1, &["a", "b"]),
            graph(2, &["a", "b"]),
        );
        let missing = compare(&path, [&one], false).unwrap_err();
        assert!(matches!(missing, LockError::Missing { .. }), "{missing}");
        compare(&path, [&one], true).unwrap();
        compare(&path, [&one], false).unwrap();
        for writes in [false, true] {
            let error = compare(&path, [&changed], writes).unwrap_err();
            assert!(matches!(error, LockError::Changed { .. }), "{error}");
        }
        compare(&path, [&one, &two], true).unwrap();
        let gone = compare(&path, [&two], false).unwrap_err();
        assert!(matches!(gone, LockError::Gone { .. }), "{gone}");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        let expected = [
            format!("trip 1 {} a[]", one.fingerprint()),
            format!("trip 2 {} a[] b[]", two.fingerprint()),
        ];
        assert_eq!(lines, expected);
        std::fs::write(&path, "trip one\n").unwrap();
        let malformed = compare(&path, [&one], false).unwrap_err();
        assert!(
            matches!(malformed, LockError::Malformed { line: 1, .. }),
            "{malformed}"
        );
    }
}
