//! The trail where everybody who may read ConfigMaps finds it: on a cluster the database is the pod's own, and goes with it.

use api::{
    flagger::{Canary, Phase},
    meta::ObjectReference,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{KEPT, Run};
use crate::router;

/// Key of the runs in the ConfigMap.
const RUNS: &str = "runs.json";
/// Largest text of the runs, in bytes. An object may have 1.5 MB; this is read by people and by a starting process.
const LARGEST: usize = 128 << 10;
/// Time between two publications of a run that goes on as before.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// Ticks published of a run: its beginning and its end.
const TICKS: usize = 64;

/// The ConfigMap that holds a Canary's runs.
pub fn id(canary: &Canary) -> ObjectReference {
    ObjectReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: canary.namespace().into(),
        name: format!("{}.slipway-runs", canary.name()),
    }
}

/// That ConfigMap with these runs, oldest first. It goes with the Canary. What does not fit is left out, oldest first.
pub fn object(canary: &Canary, runs: &[Run]) -> Value {
    let id = id(canary);
    json!({
        "apiVersion": id.api_version,
        "kind": id.kind,
        "metadata": {
            "namespace": id.namespace,
            "name": id.name,
            "labels": {"app.kubernetes.io/managed-by": "slipway"},
            "ownerReferences": router::owner(canary).into_iter().collect::<Vec<_>>(),
        },
        "data": {RUNS: text(&runs[runs.len().saturating_sub(KEPT)..])},
    })
}

/// The runs that a ConfigMap holds, oldest first. Those of another version are left out.
pub fn runs(object: &Value) -> Vec<Run> {
    let text = object.get("data").and_then(|data| data.get(RUNS)).and_then(Value::as_str).unwrap_or_default();
    let all: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    all.into_iter().filter_map(|run| serde_json::from_value(run).ok()).collect()
}

/// Whether a run is to be published now: it begins, ends or enters another phase, or was not published for a while.
/// `before` is the phase it was in, none if it begins.
pub fn is_due(run: &Run, before: Option<Phase>, last: Option<Timestamp>, now: Timestamp) -> bool {
    before != Some(run.phase) || run.ended.is_some() || last.is_none_or(|last| now.duration_since(last) >= PAUSE)
}

/// A line for each run, shortened until all fit.
fn text(runs: &[Run]) -> String {
    let (mut runs, mut most) = (runs, TICKS);
    loop {
        let lines: Vec<String> = runs.iter().map(|run| json!(shortened(run, most)).to_string()).collect();
        let text = format!("[{}]\n", lines.join(",\n"));
        if text.len() <= LARGEST {
            return text;
        }
        match runs {
            [_, newer @ ..] if !newer.is_empty() => runs = newer,
            _ => most /= 2,
        }
    }
}

/// The run with at most so many ticks: more of its end than of its beginning.
fn shortened(run: &Run, most: usize) -> Run {
    let mut run = run.clone();
    let left_out = run.ticks.len().saturating_sub(most);
    let first = (most / 4).min(run.ticks.len());
    run.ticks.drain(first..first + left_out);
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::Tick;

    fn canary() -> Canary {
        let mut canary = crate::cases::canary(&json!({"spec": {"provider": "kubernetes"}}));
        canary.metadata.uid = Some("u".into());
        canary
    }

    fn run(revision: &str, ticks: usize, event: &str) -> Run {
        let tick = |number| Tick { weight: number as i64, events: vec![event.to_owned()], ..Tick::default() };
        Run { revision: revision.to_owned(), ticks: (0..ticks).map(tick).collect(), ..Run::default() }
    }

    #[test]
    fn runs_are_read_as_they_were_written() {
        let written = [run("a", 2, "x"), run("b", 3, "y")];
        let object = object(&canary(), &written);
        assert_eq!(runs(&object), written);
        assert_eq!(object["metadata"]["name"], "podinfo.slipway-runs");
        assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "Canary");
        assert_eq!(runs(&json!({"data": {RUNS: "garbage"}})), []);
    }

    #[test]
    fn a_run_is_published_when_its_phase_changes_and_once_a_minute() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut goes_on = run("a", 3, "x");
        let before = Some(goes_on.phase);
        assert!(is_due(&goes_on, None, Some(at(0)), at(1)), "it begins");
        assert!(!is_due(&goes_on, before, Some(at(0)), at(59)));
        assert!(is_due(&goes_on, before, Some(at(0)), at(60)));
        assert!(is_due(&goes_on, before, None, at(0)), "this process has not published it yet");
        goes_on.phase = Phase::Promoting;
        assert!(is_due(&goes_on, before, Some(at(0)), at(1)));
        goes_on = Run { ended: Some(at(1)), ..run("a", 3, "x") };
        assert!(is_due(&goes_on, before, Some(at(0)), at(1)));
    }

    #[test]
    fn a_long_run_keeps_its_beginning_and_its_end() {
        let read = runs(&object(&canary(), &[run("a", 400, "x")]));
        let weights: Vec<_> = read[0].ticks.iter().map(|tick| tick.weight).collect();
        assert_eq!((weights.len(), weights[0], weights[15], weights[16], weights[63]), (TICKS, 0, 15, 352, 399));
    }

    #[test]
    fn what_does_not_fit_is_left_out_oldest_first() {
        let all: Vec<Run> = (0..KEPT).map(|number| run(&number.to_string(), 64, &"x".repeat(500))).collect();
        let object = object(&canary(), &all);
        assert!(object["data"][RUNS].as_str().is_some_and(|text| text.len() <= LARGEST));
        let read = runs(&object);
        assert_eq!(read.last(), all.last());
        assert!((1..KEPT).contains(&read.len()), "{}", read.len());
        let huge = runs(&super::object(&canary(), &[run("a", 64, &"x".repeat(LARGEST / 4))]));
        assert_eq!(huge[0].ticks.len(), 2);
        assert_eq!(runs(&super::object(&canary(), &[run("a", 1, &"x".repeat(LARGEST))]))[0].ticks, []);
    }
}
