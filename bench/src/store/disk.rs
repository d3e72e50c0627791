//! Whether files lie on a disk.

use std::path::Path;

use anyhow::Result;

/// The numbers of statfs(2) for file systems that a loss of power takes along.
#[cfg(target_os = "linux")]
const IN_MEMORY: [(u32, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// Refuses a folder where `fsync` costs nothing, and says what to do instead.
#[cfg(target_os = "linux")]
pub(crate) fn refuse_memory(folder: &Path, advice: &str) -> Result<()> {
    let found = rustix::fs::statfs(folder)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers have 32 bits; some systems hold them in 64"
    )]
    let number = found.f_type as u32;
    if let Some((_, kind)) = IN_MEMORY.iter().find(|(known, _)| *known == number) {
        anyhow::bail!(
            "{} is in memory ({kind}), where fsync costs nothing: {advice}",
            folder.display()
        );
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn refuse_memory(_: &Path, _: &str) -> Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What is in memory is refused in one line, with what to do; a folder that is not there is an error too.
    #[test]
    fn memory_is_refused() {
        // Most Linux machines have it, a container may not.
        let memory = Path::new("/dev/shm");
        if let Err(error) = refuse_memory(memory, "go elsewhere") {
            let line = error.to_string();
            assert!(
                line.ends_with("where fsync costs nothing: go elsewhere"),
                "{line}"
            );
        }
        refuse_memory(Path::new("/no such folder"), "").unwrap_err();
    }
}
