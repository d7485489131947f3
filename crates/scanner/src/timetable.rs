//! When repositories are scanned next: where many scans fall into one second, some come earlier, by up to half of their wait.

use std::time::Duration;

use jiff::Timestamp;
use reconcile::Crowd;

/// A scan whose time comes within this is done now, as in [`crate::schedule`].
const ALMOST_DUE: Duration = Duration::from_secs(1);

/// A second is crowded from twice the scans of a mean second on.
const CROWD: Crowd = Crowd { moment: Duration::from_secs(1), few: 1, multiple: 2.0, kept: 2.0 };

/// The next scan of every repository, by its namespace and name.
#[derive(Debug)]
pub struct Timetable(reconcile::Timetable<(String, String)>);

impl Default for Timetable {
    fn default() -> Self {
        Self(reconcile::Timetable::new(CROWD))
    }
}

impl Timetable {
    /// Plans the next scan of a repository with that interval: after `wait`, or earlier if many others are planned then.
    /// Answers how long to wait.
    pub fn plan(&mut self, id: (String, String), interval: Duration, wait: Duration, now: Timestamp) -> Duration {
        let latest = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        // Half of the wait is left in any case: nobody is asked twice in a row.
        let earlier = (1..=wait.as_secs() / 2).map(|seconds| latest - Duration::from_secs(seconds));
        self.0.plan(id, interval, latest, earlier).duration_since(now).try_into().unwrap_or_default()
    }

    /// Whether the planned time of a repository has come.
    pub fn is_due(&self, id: &(String, String), now: Timestamp) -> bool {
        let almost = ALMOST_DUE.try_into().unwrap_or_default();
        self.0.planned(id).is_some_and(|at| at.duration_since(now) < almost)
    }

    /// Takes a repository out.
    pub fn forget(&mut self, id: &(String, String)) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    fn id(number: usize) -> (String, String) {
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
        assert!(timetable.0.planned(&id(0)).is_none() && timetable.0.planned(&id(1)).is_some());
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
