//! The trail as records of the store's database: one for each run, and one for each tick of it, so that a tick adds a few
//! bytes and rewrites none of those before it.

use api::flagger::Canary;
use reconcile::Record;
use serde::{Deserialize, Serialize};

use super::{MOST, Run};

/// Bucket of the database that holds the runs without their ticks, as [`Head`]; see [`key`].
pub const BUCKET: &str = "canary-runs";
/// Bucket that holds the ticks, each under its run's key, a slash, and its number in the run.
pub const TICKS: &str = "canary-ticks";

/// What a tick needs to know of the run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The run with no tick but the last one that measured something.
    pub run: Run,
    /// Ticks so far, with those that are not kept any more.
    pub count: usize,
}

/// Key of a run: keys of one Canary sort by time.
pub fn key(canary: &Canary, run: &Run) -> String {
    format!("{}{:020}", prefix(canary.namespace(), canary.name()), run.began.as_nanosecond())
}

/// What all keys of a Canary begin with.
pub fn prefix(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}/")
}

/// Key of the tick that is not kept any more once a run has `count` ticks: the middle goes, the beginning and the end stay.
pub fn surplus(canary: &Canary, run: &Run, count: usize) -> Option<String> {
    (count > MOST).then(|| tick_key(&key(canary, run), count - 1 - MOST / 2))
}

/// Key of the tick of that number, from 0.
fn tick_key(run: &str, number: usize) -> String {
    format!("{run}/{number:08}")
}

/// What to store of a run of `count` ticks, the last `new` of which are not stored yet.
pub fn records(canary: &Canary, run: &Run, new: usize, count: usize) -> Vec<Record> {
    let key = key(canary, run);
    let measured = run.ticks.iter().rev().find(|tick| !tick.checks.is_empty());
    let head = Head { run: Run { ticks: measured.cloned().into_iter().collect(), ..run.clone() }, count };
    let ticks = run.ticks.iter().rev().take(new).zip(1..);
    let ticks = ticks.map(|(tick, back)| Record::new(TICKS, tick_key(&key, count - back), json(tick)));
    [Record::new(BUCKET, key.as_str(), json(&head))].into_iter().chain(ticks).collect()
}

/// The runs that records hold, oldest first. A record of another version is history that nobody can read.
pub fn runs(heads: &[(String, Vec<u8>)], ticks: &[(String, Vec<u8>)]) -> Vec<Run> {
    let whole = |(run, head): &(String, Vec<u8>)| {
        let head: Head = serde_json::from_slice(head).ok()?;
        let own = ticks.iter().filter(|(key, _)| key.strip_prefix(run).is_some_and(|rest| rest.starts_with('/')));
        let ticks = own.filter_map(|(_, tick)| serde_json::from_slice(tick).ok()).collect();
        Some(Run { ticks, ..head.run })
    };
    heads.iter().filter_map(whole).collect()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trail::{Check, Tick, Verdict};

    #[test]
    fn a_run_that_was_stored_tick_by_tick_is_read_whole() {
        let canary = crate::cases::canary(&json!({"spec": {"provider": "kubernetes"}}));
        let check = Check {
            metric: "m".into(),
            value: Some(1.0),
            min: None,
            max: None,
            verdict: Verdict::Passed,
            problem: None,
        };
        let tick = |weight, checks: &[Check]| Tick { weight, checks: checks.to_vec(), ..Tick::default() };
        let all = [tick(1, &[]), tick(2, &[check]), tick(3, &[])];
        let whole = Run { revision: "r".into(), ticks: all.to_vec(), ..Run::default() };
        let (mut heads, mut ticks) = (Vec::new(), Vec::new());
        let mut known = Head { run: Run { ticks: Vec::new(), ..whole.clone() }, count: 0 };
        for tick in all {
            known.run.ticks.push(tick);
            let stored = records(&canary, &known.run, 1, known.count + 1);
            let [head, tick] = stored.try_into().expect("a head and a tick");
            known = serde_json::from_slice(head.value()).expect("a head");
            heads = vec![(head.key().to_owned(), head.value().to_vec())];
            ticks.push((tick.key().to_owned(), tick.value().to_vec()));
        }
        assert_eq!(runs(&heads, &ticks), std::slice::from_ref(&whole));
        assert_eq!((known.count, known.run.facts()), (3, whole.facts()));
        let at_once = records(&canary, &whole, 3, 3);
        assert_eq!(at_once.len(), 4);
        assert!(at_once[1..].iter().all(|record| ticks.contains(&(record.key().to_owned(), record.value().to_vec()))));
    }
}
