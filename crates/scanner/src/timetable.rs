//! When repositories are scanned next. Those that were scanned together, as at a start, are moved apart: a scan that falls
//! into a crowded second comes earlier, once, and from then on at its interval.
//!
//! Differs: Flux keeps together what was together.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

/// A second is crowded from this multiple of the scans of a mean second on.
const CROWD: f64 = 2.0;
/// A scan whose time comes within this is done now, as in [`crate::schedule`].
const ALMOST_DUE: Duration = Duration::from_secs(1);

/// The next scan of every repository.
#[derive(Debug, Default)]
pub struct Timetable {
    plans: HashMap<Id, Plan>,
    /// How many scans are planned, by second.
    seconds: HashMap<i64, u32>,
    /// Scans in a mean second.
    rate: f64,
}

/// Namespace and name of a repository.
type Id = (String, String);

#[derive(Debug)]
struct Plan {
    at: Timestamp,
    rate: f64,
}

impl Timetable {
    /// Plans the next scan of a repository with that interval: after `wait`, or earlier if many others are planned then.
    /// Answers how long to wait.
    pub fn plan(&mut self, id: Id, interval: Duration, wait: Duration, now: Timestamp) -> Duration {
        self.forget(&id);
        let rate = 1.0 / interval.as_secs_f64().max(1.0);
        self.rate += rate;
        let room = (self.rate * CROWD).ceil();
        let is_free =
            |at: Timestamp| self.seconds.get(&at.as_second()).is_none_or(|planned| f64::from(*planned) < room);
        let latest = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        // Half of the wait is left in any case: nobody is asked twice in a row.
        let candidates = (0..=wait.as_secs() / 2).map(|earlier| latest - Duration::from_secs(earlier));
        let at = candidates.into_iter().find(|at| is_free(*at)).unwrap_or(latest);
        *self.seconds.entry(at.as_second()).or_default() += 1;
        self.plans.insert(id, Plan { at, rate });
        at.duration_since(now).try_into().unwrap_or_default()
    }

    /// Whether the planned time of a repository has come.
    pub fn is_due(&self, id: &Id, now: Timestamp) -> bool {
        self.plans.get(id).is_some_and(|plan| plan.at.duration_since(now) < ALMOST_DUE.try_into().unwrap_or_default())
    }

    /// Takes a repository out.
    pub fn forget(&mut self, id: &Id) {
        let Some(plan) = self.plans.remove(id) else { return };
        self.rate = (self.rate - plan.rate).max(0.0);
        if let Some(planned) = self.seconds.get_mut(&plan.at.as_second()) {
            *planned -= 1;
            if *planned == 0 {
                self.seconds.remove(&plan.at.as_second());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn id(number: usize) -> Id {
        ("apps".into(), number.to_string())
    }

    fn start() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().expect("a time")
    }

    #[test]
    fn a_few_repositories_keep_their_interval() {
        let mut timetable = Timetable::default();
        assert_eq!(timetable.plan(id(0), INTERVAL, INTERVAL, start()), INTERVAL);
        let second = timetable.plan(id(1), INTERVAL, INTERVAL, start());
        assert_eq!(second, INTERVAL - Duration::from_secs(1), "one a second");
        assert_eq!(timetable.plan(id(0), INTERVAL, INTERVAL, start()), INTERVAL, "its own plan is no crowd");
        assert!(!timetable.is_due(&id(0), start() + Duration::from_secs(598)));
        assert!(timetable.is_due(&id(0), start() + Duration::from_millis(599_500)));
        timetable.forget(&id(0));
        assert!(!timetable.is_due(&id(0), start() + INTERVAL));
        assert!(timetable.seconds.len() == 1 && timetable.plans.len() == 1);
    }

    #[test]
    fn a_crowd_is_moved_apart_once_and_nobody_waits_longer() {
        let mut timetable = Timetable::default();
        let mut due: Vec<Timestamp> =
            (0..10_000).map(|number| start() + timetable.plan(id(number), INTERVAL, INTERVAL, start())).collect();
        for _ in 0..3 {
            let mut seconds: HashMap<i64, usize> = HashMap::new();
            due.iter().for_each(|at| *seconds.entry(at.as_second()).or_default() += 1);
            let most = seconds.values().max().copied().unwrap_or_default();
            assert!(most <= 34, "{most} scans in one second, where the mean is 17");
            let mut order: Vec<usize> = (0..due.len()).collect();
            order.sort_by_key(|number| due[*number]);
            for number in order {
                let wait = timetable.plan(id(number), INTERVAL, INTERVAL, due[number]);
                assert!(wait <= INTERVAL && wait >= INTERVAL / 2, "{wait:?}");
                due[number] += wait;
            }
        }
    }
}
