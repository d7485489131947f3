//! When the next tick of a run is due. Source: reference progressive-delivery.md, B.1.
//!
//! Differs: the original ticks by a clock of its own and sees a new revision at the next tick. Here every change is seen at
//! once, and what must not come early, the next step of a run, waits for its interval.

use std::time::Duration;

use api::flagger::CanaryStatus;
use jiff::Timestamp;

/// Shortest wait between two looks at a Canary with nothing to do. Changes of the target and its configuration are watched;
/// a look only mends what somebody did to our own objects.
pub const IDLE: Duration = Duration::from_secs(60);

/// Whether the interval since the last tick has passed. A clock that jumped back by more than an interval counts as passed:
/// a tick then may come early once, and never has to wait for the clock to catch up.
pub fn is_due(status: &CanaryStatus, last_tick: Option<Timestamp>, interval: Duration, now: Timestamp) -> bool {
    wait(status, last_tick, interval, now).is_zero()
}

/// How long until the interval since the last tick has passed.
pub fn wait(status: &CanaryStatus, last_tick: Option<Timestamp>, interval: Duration, now: Timestamp) -> Duration {
    let written = status.last_transition_time.as_ref().map(|time| time.0);
    let Some(last) = written.max(last_tick) else { return Duration::ZERO };
    let since = now.duration_since(last);
    if since.is_negative() {
        let ahead = since.unsigned_abs();
        return if ahead > interval { Duration::ZERO } else { interval };
    }
    interval.saturating_sub(since.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a valid second")
    }

    fn check(written: Option<i64>, remembered: Option<i64>, now: i64, expected: u64) {
        let status =
            CanaryStatus { last_transition_time: written.map(|second| api::Time(at(second))), ..Default::default() };
        let waited = wait(&status, remembered.map(at), Duration::from_secs(10), at(now));
        assert_eq!(waited.as_secs(), expected, "{written:?} {remembered:?} {now}");
    }

    #[test]
    fn a_tick_is_due_one_interval_after_the_last() {
        check(None, None, 100, 0);
        check(Some(100), None, 104, 6);
        check(Some(100), Some(103), 104, 9);
        check(Some(103), Some(100), 104, 9);
        check(Some(100), None, 110, 0);
        check(Some(100), None, 1000, 0);
    }

    #[test]
    fn a_clock_that_went_back_delays_by_one_interval_at_most() {
        check(Some(105), None, 100, 10);
        check(Some(110), None, 100, 10);
        check(Some(500), None, 100, 0);
    }
}
