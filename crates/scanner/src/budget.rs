//! How much is asked of one registry: a pace, and pauses that it asks for itself.
//!
//! Differs: Flux has no budget, and reads neither `Retry-After` nor `RateLimit-*`.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

/// Requests that may come at once after a rest, as a multiple of what one second allows: a start with a thousand objects
/// is not slowed down.
const BURST_SECONDS: u32 = 10;
/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(900);

/// What the command line allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second to one host; 0 means as many as come.
    pub per_second: u32,
    /// Requests to one host that are under way at the same time.
    pub at_once: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_second: 100, at_once: 16 }
    }
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// After this time; it has its place in the queue.
    After(Duration),
    /// Not at all: the host asked to be left alone for so long.
    Paused(Duration),
}

/// The budget of one host.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    per_second: u32,
    /// When the next request would be due if they came evenly.
    due: Timestamp,
    paused_until: Timestamp,
}

impl Budget {
    /// A budget of which nothing is spent.
    pub fn new(limits: Limits) -> Self {
        Self { per_second: limits.per_second, due: Timestamp::MIN, paused_until: Timestamp::MIN }
    }

    /// Takes a place for a request that comes now.
    pub fn admit(&mut self, now: Timestamp) -> Admission {
        if self.paused_until > now {
            return Admission::Paused(between(now, self.paused_until));
        }
        let Some(gap) = Duration::from_secs(1).checked_div(self.per_second) else {
            return Admission::After(Duration::ZERO);
        };
        let due = self.due.max(now);
        self.due = later(due, gap);
        Admission::After(between(now, due).saturating_sub(Duration::from_secs(BURST_SECONDS.into())))
    }

    /// Learns from an answer whether the host wants to be left alone.
    pub fn note(&mut self, status: StatusCode, headers: &HeaderMap, now: Timestamp) {
        let seconds = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs);
        let is_refusal = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let asked = seconds(header::RETRY_AFTER.as_str()).filter(|_| is_refusal);
        // Docker Hub writes `0;w=21600`, and no reset: its limit is for pulls, not for lists.
        let is_spent = headers.get("ratelimit-remaining").is_some_and(|left| left == "0");
        let spent = seconds("ratelimit-reset").filter(|_| is_spent);
        if let Some(pause) = asked.max(spent) {
            self.paused_until = self.paused_until.max(later(now, pause.min(MAX_PAUSE)));
        }
    }
}

/// The time from one moment to a later one.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        entries
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().expect("text")))
            .collect()
    }

    #[test]
    fn requests_beyond_the_burst_are_spread() {
        let mut budget = Budget::new(Limits { per_second: 2, at_once: 1 });
        for _ in 0..20 {
            assert_eq!(budget.admit(at(0)), Admission::After(Duration::ZERO));
        }
        let waits: Vec<_> = (0..4).map(|_| budget.admit(at(0))).collect();
        let expected = [0, 500, 1000, 1500].map(|wait| Admission::After(Duration::from_millis(wait)));
        assert_eq!(waits, expected);
        assert_eq!(budget.admit(at(60)), Admission::After(Duration::ZERO));
        let mut free = Budget::new(Limits { per_second: 0, at_once: 1 });
        assert!((0..1000).all(|_| free.admit(at(0)) == Admission::After(Duration::ZERO)));
    }

    #[test]
    fn a_host_that_asks_for_it_is_left_alone() {
        for (status, entries, pause) in [
            (429, headers(&[("retry-after", "7")]), Some(7)),
            (503, headers(&[("retry-after", "7")]), Some(7)),
            (200, headers(&[("retry-after", "7")]), None),
            (200, headers(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "9")]), Some(9)),
            (200, headers(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "9")]), None),
            (200, headers(&[("ratelimit-remaining", "0;w=21600")]), None),
            (429, headers(&[("retry-after", "999999")]), Some(900)),
            (429, headers(&[]), None),
        ] {
            let mut budget = Budget::new(Limits::default());
            budget.note(StatusCode::from_u16(status).expect("a status"), &entries, at(0));
            let expected =
                pause.map_or(Admission::After(Duration::ZERO), |pause| Admission::Paused(Duration::from_secs(pause)));
            assert_eq!(budget.admit(at(0)), expected, "{status} {entries:?}");
            assert_eq!(budget.admit(at(1000)), Admission::After(Duration::ZERO));
        }
    }
}
