//! `cargo xtask loom`: every interleaving of the lock-free structures.

use anyhow::Result;

use crate::cargo::{self, Workspace};

/// More preemptions find little more and cost minutes; loom's own guide advises two or three.
const PREEMPTIONS: &str = "3";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    cargo::run(
        workspace
            .cargo()
            .args([
                "test",
                "--release",
                "--package",
                "backstay-core",
                "--test",
                "loom",
            ])
            .env("RUSTFLAGS", "--cfg loom")
            .env("LOOM_MAX_PREEMPTIONS", PREEMPTIONS)
            // Other flags rebuild everything, so these builds live apart from the ordinary ones.
            .env("CARGO_TARGET_DIR", workspace.target.join("loom")),
    )
}
