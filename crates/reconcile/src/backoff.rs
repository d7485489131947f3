//! How long to wait after a failure. Pure.

use std::time::Duration;

/// Wait after the first failure. Source: Flux `--min-retry-delay`.
pub(crate) const MIN: Duration = Duration::from_millis(750);
/// Longest wait. Source: Flux `--max-retry-delay`.
pub(crate) const MAX: Duration = Duration::from_secs(15 * 60);

/// Wait before try number `failures + 1`: [`MIN`] doubling to [`MAX`], then up to a tenth shorter by chance, so that
/// many objects which failed together do not come back together.
pub(crate) fn delay(failures: u32, chance: u64) -> Duration {
    let full = MIN.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20))).min(MAX);
    let tenth = full.as_millis() as u64 / 10;
    full - Duration::from_millis(chance % (tenth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_fifteen_minutes() {
        assert_eq!(delay(1, 0), Duration::from_millis(750));
        assert_eq!(delay(2, 0), Duration::from_millis(1500));
        assert_eq!(delay(11, 0), Duration::from_secs(768));
        assert_eq!(delay(12, 0), MAX);
        assert_eq!(delay(u32::MAX, 0), MAX);
    }

    proptest::proptest! {
        #[test]
        fn jitter_takes_at_most_a_tenth(failures in 1..100u32, chance in proptest::num::u64::ANY) {
            let (full, jittered) = (delay(failures, 0), delay(failures, chance));
            proptest::prop_assert!(jittered <= full && jittered >= full.mul_f64(0.899));
        }
    }
}
