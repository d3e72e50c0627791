//! What a loss of power leaves of the writes that the shim has seen.
//!
//! What was synced before is there. Of the rest each write is there, or not, or some of its sectors are; a file that
//! grew has its new size or not, with zeros where nothing was written; a name that was made or taken away since its
//! folder was synced is there or not. Sectors are 512 bytes, and a write harms no sector beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SECTOR: usize = 512;

/// One line of the shim's log. Files are told by a number that is another each time one is made.
#[derive(Debug)]
pub(crate) enum Op {
    Made {
        name: String,
        file: usize,
    },
    Gone {
        name: String,
    },
    Written {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: usize,
        size: usize,
    },
    Synced {
        name: String,
        file: usize,
    },
    FolderSynced,
    /// The process has said this.
    Said(String),
}

/// Reads the log of one process or of several that followed each other.
pub(crate) fn read_log(path: &Path) -> Vec<Op> {
    let log = fs::read(path).expect("a log");
    let (mut rest, mut ops) = (&log[..], Vec::new());
    // By name the file that has it now; by descriptor the file and the name it was opened by.
    let mut named = BTreeMap::<String, usize>::new();
    let mut opened = BTreeMap::<String, (usize, String)>::new();
    let mut files = 0;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a line");
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        let words: Vec<_> = line.split(' ').collect();
        let [what, name, number, length] = words[..] else {
            panic!("no line of the shim: {line}");
        };
        let number: usize = number.parse().expect("a number");
        let length: usize = length.parse().expect("a length");
        let file = || opened[name].0;
        match what {
            "P" => opened.clear(),
            "C" => {
                files += 1;
                named.insert(name.to_owned(), files);
                opened.insert(number.to_string(), (files, name.to_owned()));
                let name = name.to_owned();
                ops.push(Op::Made { name, file: files });
            }
            "O" => {
                opened.insert(number.to_string(), (named[name], name.to_owned()));
            }
            "T" => ops.push(Op::Cut {
                file: file(),
                size: number,
            }),
            "S" => {
                let (file, name) = opened[name].clone();
                ops.push(Op::Synced { name, file });
            }
            "D" => ops.push(Op::FolderSynced),
            "U" => {
                named.remove(name);
                ops.push(Op::Gone {
                    name: name.to_owned(),
                });
            }
            "W" | "M" => {
                let bytes = rest[..length].to_vec();
                rest = &rest[length..];
                ops.push(if what == "W" {
                    Op::Written {
                        file: file(),
                        at: number,
                        bytes,
                    }
                } else {
                    Op::Said(String::from_utf8_lossy(&bytes).into_owned())
                });
            }
            _ => panic!("what is lost of a {what} is not said: {line}"),
        }
    }
    ops
}

/// How much of what was not synced is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    All,
    Nothing,
    /// Each write or none of it.
    Writes,
    /// Each sector of each write.
    Sectors,
}

pub(crate) const KEPT: [Kept; 4] = [Kept::All, Kept::Nothing, Kept::Writes, Kept::Sectors];

#[derive(Default)]
struct File<'l> {
    synced: Vec<u8>,
    since: Vec<&'l Op>,
}

/// The files after a loss of power after these operations. Only syncs that `count` do what they say.
pub(crate) fn after_power_loss(
    ops: &[Op],
    kept: Kept,
    chance: &mut fastrand::Rng,
    count: impl Fn(&Op) -> bool,
) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::<usize, File<'_>>::new();
    // Of each name what it stood for when the folder was synced, and everything since.
    let mut names = BTreeMap::<&str, Vec<Option<usize>>>::new();
    for op in ops {
        match op {
            Op::Made { name, file } => names
                .entry(name)
                .or_insert_with(|| vec![None])
                .push(Some(*file)),
            Op::Gone { name } => names.entry(name).or_insert_with(|| vec![None]).push(None),
            Op::Written { file, .. } | Op::Cut { file, .. } => {
                files.entry(*file).or_default().since.push(op);
            }
            Op::Synced { file, .. } if count(op) => {
                let file = files.entry(*file).or_default();
                for op in std::mem::take(&mut file.since) {
                    apply(&mut file.synced, op, |_| true);
                }
            }
            Op::FolderSynced if count(op) => {
                for states in names.values_mut() {
                    states.drain(..states.len() - 1);
                }
            }
            Op::Synced { .. } | Op::FolderSynced | Op::Said(_) => {}
        }
    }
    let mut left = BTreeMap::new();
    for (name, states) in names {
        let state = match kept {
            Kept::All => states.len() - 1,
            Kept::Nothing => 0,
            Kept::Writes | Kept::Sectors => chance.usize(..states.len()),
        };
        if let Some(file) = states[state] {
            let file = files.entry(file).or_default();
            left.insert(name.to_owned(), content(file, kept, chance));
        }
    }
    left
}

fn content(file: &File<'_>, kept: Kept, chance: &mut fastrand::Rng) -> Vec<u8> {
    let mut content = file.synced.clone();
    let mut size = content.len();
    for op in &file.since {
        let whole = chance.bool();
        apply(&mut content, op, |_| match kept {
            Kept::All => true,
            Kept::Nothing => false,
            Kept::Writes => whole,
            Kept::Sectors => chance.bool(),
        });
        size = match op {
            Op::Written { at, bytes, .. } => size.max(at + bytes.len()),
            Op::Cut { size, .. } => *size,
            _ => size,
        };
    }
    if size > content.len() && matches!(kept, Kept::Writes | Kept::Sectors) && chance.bool() {
        content.resize(size, 0);
    }
    content
}

/// Does to a file what `keeps` keeps of an operation, which it is asked for each sector.
fn apply(content: &mut Vec<u8>, op: &Op, mut keeps: impl FnMut(usize) -> bool) {
    match op {
        Op::Cut { size, .. } if keeps(0) => content.resize(*size, 0),
        Op::Written { at, bytes, .. } => {
            let mut from = 0;
            while from < bytes.len() {
                let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
                if keeps((at + from) / SECTOR) {
                    if content.len() < at + to {
                        content.resize(at + to, 0);
                    }
                    content[at + from..at + to].copy_from_slice(&bytes[from..to]);
                }
                from = to;
            }
        }
        _ => {}
    }
}
