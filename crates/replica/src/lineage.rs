//! Epochs of sources that can be told apart, and have no room for an epoch of ours.

use sha2::{Digest, Sha256};

use crate::Version;

/// The epoch of the history that has this name and is at this number.
///
/// Its lower half is of the name, so that another source is known, also by a later process. Its upper half counts how often
/// whoever holds this has seen a history begin anew; all who have seen none agree on the whole.
pub(crate) fn epoch(held: Option<Version>, name: &[u8], number: u64) -> u64 {
    let print = fingerprint(name);
    match held {
        None => print,
        Some(held) if held.epoch & LOWER == print && held.number <= number => held.epoch,
        Some(held) => ((held.epoch | LOWER).saturating_add(1)) | print,
    }
}

const LOWER: u64 = 0xffff_ffff;

fn fingerprint(name: &[u8]) -> u64 {
    let digest = Sha256::digest(name);
    u64::from(u32::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REP-3: a source keeps its epoch while it goes on, also for a later process; one that went back or is another gets a
    /// higher one.
    #[test]
    fn an_epoch_lasts_as_long_as_the_history() {
        let first = epoch(None, b"one", 7);
        // docs/formats.md: it lies in files.
        assert_eq!(first, 0x7692_c3ad);
        assert_eq!(first, epoch(None, b"one", 9_000));
        let held = |epoch, number| Some(Version::new(epoch, number));
        assert_eq!(epoch(held(first, 7), b"one", 7), first);
        assert_eq!(epoch(held(first, 7), b"one", 8), first);

        let restored = epoch(held(first, 8), b"one", 7);
        assert!(restored > first);
        assert_eq!(epoch(held(restored, 7), b"one", 7), restored);
        let another = epoch(held(restored, 7), b"two", 9);
        assert!(another > restored);
        assert_eq!(epoch(held(another, 9), b"two", 9), another);
        // And back again, as after a move there and back.
        assert!(epoch(held(another, 9), b"one", 9) > another);
    }

    /// REP-3: whatever number the name comes to, a history that begins anew is above.
    #[test]
    fn a_new_history_is_above_whatever_its_name() {
        for name in 0_u32..1_000 {
            let name = name.to_be_bytes();
            let mut last = epoch(None, b"first", 1);
            for (name, head) in [(&name[..], 1), (b"first", 1), (&name, 1), (&name, 0)] {
                let next = epoch(Some(Version::new(last, 1)), name, head);
                assert!(next > last, "{last} and {next}");
                last = next;
            }
        }
    }
}
