//! When objects run next. Those that ran together, as at a start, are moved apart: a run that falls into a crowded moment
//! comes at another one, once, and from then on at its interval.
//!
//! Differs: the originals keep together what was together.

use std::{collections::HashMap, hash::Hash, time::Duration};

use jiff::Timestamp;

/// From when on runs that fall together are too many.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// How near two runs have to be to be at the same time.
    pub moment: Duration,
    /// So many of them are no crowd, however seldom the objects run.
    pub few: u32,
    /// From this multiple of a mean moment's runs on they are one.
    pub multiple: f64,
    /// The same for an object that keeps to its interval: most of those are apart already.
    pub kept: f64,
}

/// The next run of every object of a kind.
#[derive(Debug)]
pub struct Timetable<Id> {
    plans: HashMap<Id, Plan>,
    /// How many runs are planned, by moment.
    moments: HashMap<i64, u32>,
    crowd: Crowd,
    /// Runs in a mean moment.
    rate: f64,
}

#[derive(Debug)]
struct Plan {
    at: Timestamp,
    interval: Duration,
}

impl<Id: Eq + Hash> Timetable<Id> {
    /// Nothing planned.
    pub fn new(crowd: Crowd) -> Self {
        Self { plans: HashMap::new(), moments: HashMap::new(), crowd, rate: 0.0 }
    }

    /// Plans the next run of an object that runs once an interval: at the best time, or at the first of the other times at
    /// which not many others are planned. If there is none it is the best time all the same.
    pub fn plan(
        &mut self,
        id: Id,
        interval: Duration,
        best: Timestamp,
        others: impl IntoIterator<Item = Timestamp>,
    ) -> Timestamp {
        let keeps = self.plans.get(&id).is_some_and(|plan| plan.interval == interval);
        self.remove(&id);
        self.rate += self.share(interval);
        let multiple = if keeps { self.crowd.kept } else { self.crowd.multiple };
        let most = (self.rate * multiple).ceil().max(f64::from(self.crowd.few));
        let is_free =
            |at: &Timestamp| self.moments.get(&self.moment(*at)).is_none_or(|planned| f64::from(*planned) < most);
        let at = [best].into_iter().chain(others).find(is_free).unwrap_or(best);
        *self.moments.entry(self.moment(at)).or_default() += 1;
        self.plans.insert(id, Plan { at, interval });
        at
    }

    /// When the object is to run next, if that is planned.
    pub fn planned(&self, id: &Id) -> Option<Timestamp> {
        self.plans.get(id).map(|plan| plan.at)
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: &Id) {
        let Some(plan) = self.plans.remove(id) else { return };
        self.rate = (self.rate - self.share(plan.interval)).max(0.0);
        let moment = self.moment(plan.at);
        if let Some(planned) = self.moments.get_mut(&moment) {
            *planned -= 1;
            if *planned == 0 {
                self.moments.remove(&moment);
            }
        }
    }

    /// What an object adds to a mean moment; one that never rests runs once a second.
    fn share(&self, interval: Duration) -> f64 {
        self.crowd.moment.as_secs_f64() / interval.as_secs_f64().max(1.0)
    }

    fn moment(&self, at: Timestamp) -> i64 {
        let length = i64::try_from(self.crowd.moment.as_millis()).unwrap_or(i64::MAX).max(1);
        at.as_millisecond().div_euclid(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const MOMENT: Duration = Duration::from_millis(100);

    fn crowd(few: u32) -> Crowd {
        Crowd { moment: MOMENT, few, multiple: 2.0, kept: 4.0 }
    }

    fn start() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().expect("a time")
    }

    fn later(best: Timestamp) -> impl Iterator<Item = Timestamp> {
        (1..=50).map(move |moments| best + MOMENT * moments)
    }

    #[test]
    fn a_few_keep_their_interval() {
        let (mut timetable, due) = (Timetable::new(crowd(10)), start() + INTERVAL);
        for number in 0..10 {
            assert_eq!(timetable.plan(number, INTERVAL, due, later(due)), due);
        }
        assert_eq!(timetable.plan(10, INTERVAL, due, later(due)), due + MOMENT);
        assert_eq!(timetable.plan(0, INTERVAL, due, later(due)), due, "its own plan is no crowd");
        assert_eq!(timetable.planned(&10), Some(due + MOMENT));
        timetable.remove(&0);
        assert_eq!(timetable.planned(&0), None);
        assert_eq!(timetable.plan(11, INTERVAL, due, later(due)), due);
        (1..=11).for_each(|number| timetable.remove(&number));
        assert!(timetable.moments.is_empty() && timetable.plans.is_empty() && timetable.rate.abs() < 1e-9);
    }

    #[test]
    fn a_crowd_is_moved_apart_once() {
        let mut timetable = Timetable::new(crowd(10));
        let mut due = vec![start(); 1000];
        for round in 0..4 {
            let mut order: Vec<usize> = (0..due.len()).collect();
            order.sort_by_key(|number| due[*number]);
            let mut moved = 0;
            for number in order {
                // Runs begin up to a moment late, each a little later than the one before.
                let best = due[number] + INTERVAL + Duration::from_millis(number as u64 % 7);
                due[number] = timetable.plan(number, INTERVAL, best, later(best));
                assert!(due[number] <= best + INTERVAL / 2);
                moved += usize::from(due[number] != best);
            }
            assert_eq!(moved > 0, round == 0, "{moved} moved in round {round}");
            let most = timetable.moments.values().max().copied().unwrap_or_default();
            assert!(most <= 40, "{most} at once, where the mean is 10");
        }
    }

    #[test]
    fn where_there_is_no_room_the_best_time_stays() {
        let mut timetable = Timetable::new(crowd(1));
        let due = start();
        timetable.plan(0, INTERVAL, due, []);
        assert_eq!(timetable.plan(1, INTERVAL, due, [due]), due);
    }
}
