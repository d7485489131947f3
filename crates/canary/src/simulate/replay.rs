//! A rehearsal of the past: what a new revision would have gone through, had the metrics been those recorded.

use std::collections::BTreeMap;

use api::flagger::Canary;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Scenario, Step, Tick};
use crate::{recorded::Sample, world};

/// Samples by metric name, oldest first.
pub type Recording = BTreeMap<String, Vec<Sample>>;

/// Plays a new revision over a recording, one tick per analysis interval from its first time to its last. A metric without a
/// sample in an interval has no data in it.
pub fn replay(
    canary: Canary,
    others: Vec<Value>,
    recording: &Recording,
    (from, to): (Timestamp, Timestamp),
    options: world::Options,
) -> Vec<Tick> {
    let scenario = script(&canary, recording, (from, to));
    let mut ticks = super::run(canary, others, &scenario, options);
    // The first tick makes the primary; it is no part of the past.
    ticks.drain(..ticks.len().min(1));
    ticks
}

fn script(canary: &Canary, recording: &Recording, (from, to): (Timestamp, Timestamp)) -> Scenario {
    let interval = canary.analysis().interval(api::flagger::MIN_INTERVAL);
    let mut steps = vec![Step::Tick(1), Step::Image("recorded".into())];
    let mut now = from;
    while now <= to {
        let before = now.saturating_sub(interval).unwrap_or(now);
        let value = |samples: &Vec<Sample>| {
            let until_now = &samples[..samples.partition_point(|(at, _)| *at <= now)];
            let found = until_now.last().filter(|(at, _)| *at > before);
            found.map_or(Value::Null, |(_, value)| match value.is_finite() {
                true => json!(value),
                false => json!(value.to_string()),
            })
        };
        let values: Map<_, _> = recording.iter().map(|(name, samples)| (name.clone(), value(samples))).collect();
        steps.extend([Step::Metrics(values), Step::Tick(1)]);
        let Ok(next) = now.checked_add(interval) else { break };
        now = next;
    }
    Scenario { steps, ..Scenario::default() }
}

/// Reads a recording: `{"METRIC": [[unix seconds, value], …], …}`.
pub fn parse(value: &Value) -> Result<Recording, String> {
    let members = value.as_object().ok_or("an object from metric names to lists of samples is expected")?;
    let series = members.iter().map(|(name, samples)| {
        let list = samples.as_array().ok_or_else(|| format!("{name}: a list of samples is expected"))?;
        let mut read =
            list.iter().map(|pair| sample(pair).ok_or_else(|| format!("{name}: {pair} is no [seconds, value]")));
        let mut samples = read.by_ref().collect::<Result<Vec<_>, _>>()?;
        samples.sort_by_key(|(at, _)| *at);
        Ok((name.clone(), samples))
    });
    series.collect()
}

fn sample(pair: &Value) -> Option<Sample> {
    let seconds = pair[0].as_f64().filter(|seconds| seconds.abs() < 1e11)?;
    // The bound was just checked.
    #[allow(clippy::cast_possible_truncation)]
    let at = Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()?;
    let value = match &pair[1] {
        Value::String(text) => text.trim_start_matches('+').parse().ok()?,
        Value::Null => f64::NAN,
        other => other.as_f64()?,
    };
    Some((at, value))
}

#[cfg(test)]
mod tests {
    use api::flagger::Phase;

    use super::*;

    fn canary() -> Canary {
        crate::cases::canary(&json!({"spec": {"provider": "istio", "analysis": {"interval": "60s", "threshold": 2,
            "stepWeight": 20, "maxWeight": 60, "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}}}))
    }

    fn phases(values: &[f64]) -> Vec<(Phase, i64)> {
        let samples: Vec<_> = (0..).map(|place: u32| 60.0 * f64::from(place)).zip(values).collect();
        let recording = parse(&json!({"request-success-rate": samples})).unwrap();
        let at = |minutes: usize| Timestamp::from_second(60 * i64::try_from(minutes).unwrap()).unwrap();
        let ticks = replay(canary(), Vec::new(), &recording, (at(0), at(values.len() - 1)), world::Options::default());
        ticks.iter().map(|tick| (tick.phase, tick.canary_weight)).collect()
    }

    #[test]
    fn a_good_past_promotes_and_a_bad_one_rolls_back() {
        let good = phases(&[99.9; 8]);
        assert_eq!(
            good[..5],
            [
                (Phase::Progressing, 0),
                (Phase::Progressing, 20),
                (Phase::Progressing, 40),
                (Phase::Progressing, 60),
                (Phase::Promoting, 60)
            ]
        );
        assert_eq!(good.last(), Some(&(Phase::Succeeded, 0)));
        assert_eq!(phases(&[99.9, 99.9, 99.9, 98.0, 98.0, 98.0]).last(), Some(&(Phase::Failed, 0)));
    }

    #[test]
    fn a_gap_in_the_recording_is_no_data() {
        let recording = parse(&json!({"request-success-rate": [[0, 100], [60, 100], ["x", 1]]}));
        assert_eq!(recording, Err("request-success-rate: [\"x\",1] is no [seconds, value]".into()));
        let recording = parse(&json!({"request-success-rate": [[0, 100], [60, "100"]]})).unwrap();
        let (from, to) = (Timestamp::from_second(0).unwrap(), Timestamp::from_second(240).unwrap());
        let ticks = replay(canary(), Vec::new(), &recording, (from, to), world::Options::default());
        assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Failed));
        assert!(ticks[3].failed_checks == 2, "{:?}", ticks[3].events);
    }
}
