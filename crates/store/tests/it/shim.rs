//! The C that stands between SQLite and libc, built once for each run of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Puts it before everything that the process loads.
pub(crate) fn preload(command: &mut Command, folder: &Path) {
    let folder = folder.canonicalize().expect("a folder");
    command
        .env("LD_PRELOAD", library())
        .env("SHIM_FOLDER", folder);
}

fn library() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = BUILT.get_or_init(|| {
        let target = env!("CARGO_TARGET_TMPDIR");
        let folder = tempfile::tempdir_in(target).expect("a folder");
        let library = folder.path().join("shim.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shim.c");
        let built = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"])
            .arg("-o")
            .arg(&library)
            .args([source, "-ldl", "-lpthread"])
            .status();
        let built = built.as_ref().is_ok_and(ExitStatus::success);
        assert!(built, "the C compiler that builds SQLite builds this too");
        (folder, library)
    });
    library
}
