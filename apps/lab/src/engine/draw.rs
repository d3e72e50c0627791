//! Draws that depend only on the seed and on what they are for.
//!
//! No generator state: the same question gets the same answer in every arm, whatever the other
//! arms did before.

use std::time::Duration;

/// What a draw is for. Draws for different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Arrival,
    Service,
    Jitter,
    Loss,
    Silence,
    Amount,
    Turn,
    Moment,
}

/// A number in `[0, 1)` for this purpose, call and attempt.
pub(crate) fn unit(seed: u64, purpose: Purpose, call: u64, attempt: u32) -> f64 {
    // 53 bits are what an f64 holds exactly.
    (mixed(seed, purpose, call, attempt) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A whole number below this bound, which is far below 2^64, for this purpose and call.
pub(crate) fn below(bound: u64, seed: u64, purpose: Purpose, call: u64) -> u64 {
    mixed(seed, purpose, call, 0) % bound
}

fn mixed(seed: u64, purpose: Purpose, call: u64, attempt: u32) -> u64 {
    [purpose as u64, call, u64::from(attempt)]
        .into_iter()
        .fold(scramble(seed), |state, part| {
            scramble(state ^ scramble(part))
        })
}

/// An exponential time with this mean, from a number in `[0, 1)`.
pub(crate) fn exponential(unit: f64, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - unit).ln())
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014): every input bit moves every output bit.
fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_all_of_its_question() {
        let draw = unit(1, Purpose::Service, 7, 0);
        assert_eq!(draw.to_bits(), unit(1, Purpose::Service, 7, 0).to_bits());
        for other in [
            unit(2, Purpose::Service, 7, 0),
            unit(1, Purpose::Jitter, 7, 0),
            unit(1, Purpose::Service, 8, 0),
            unit(1, Purpose::Service, 7, 1),
        ] {
            assert_ne!(draw.to_bits(), other.to_bits());
        }
    }

    #[test]
    fn exponential_draws_have_their_mean() {
        let mean = Duration::from_millis(20);
        let total: Duration = (0..20_000)
            .map(|call| exponential(unit(1, Purpose::Service, call, 0), mean))
            .sum();
        let measured = total.as_secs_f64() / 20_000.0;
        assert!((0.0195..0.0205).contains(&measured), "{measured}");
    }
}
