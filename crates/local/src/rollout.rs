//! The status of a Deployment as Kubernetes' own controller writes it. Pure.
//!
//! Source: Kubernetes 1.33 `pkg/controller/deployment/sync.go` and `progress.go`, as to fields, reasons and messages.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::pods::{View, Wanted};

/// Default of `spec.progressDeadlineSeconds`.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);

/// Numbers of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not stopping.
    pub replicas: usize,
    /// Of the wanted template.
    pub updated: usize,
    /// Ready.
    pub ready: usize,
    /// Ready for long enough.
    pub available: usize,
}

impl Counts {
    /// Counts pods.
    pub fn of(wanted: &Wanted, pods: &[View], now: Timestamp) -> Self {
        let active = || pods.iter().filter(|pod| !pod.stopping);
        Self {
            replicas: active().count(),
            updated: active().filter(|pod| pod.hash == wanted.hash).count(),
            ready: active().filter(|pod| pod.ready_since.is_some()).count(),
            available: active().filter(|pod| pod.is_available(wanted.min_ready, now)).count(),
        }
    }

    fn is_complete(&self, wanted: &Wanted) -> bool {
        [self.replicas, self.updated, self.available] == [wanted.replicas; 3]
    }

    /// Whether anything came nearer to its end since `before`.
    fn is_ahead_of(&self, before: &Self) -> bool {
        self.updated > before.updated
            || self.replicas.saturating_sub(self.updated) < before.replicas.saturating_sub(before.updated)
            || self.ready > before.ready
            || self.available > before.available
    }
}

/// How far the rollout of a template has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    hash: String,
    counts: Counts,
    moved: Timestamp,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Created,
    Updated,
    Complete,
    TimedOut,
}

impl Progress {
    /// Goes on from what was seen before; none was, or another template: the rollout begins.
    pub fn advance(before: Option<&Self>, wanted: &Wanted, counts: Counts, deadline: Duration, now: Timestamp) -> Self {
        let Some(before) = before.filter(|before| before.hash == wanted.hash) else {
            let stage = if counts.is_complete(wanted) { Stage::Complete } else { Stage::Created };
            return Self { hash: wanted.hash.clone(), counts, moved: now, stage };
        };
        let mut after = Self { counts, ..before.clone() };
        if counts.is_complete(wanted) {
            if before.stage != Stage::Complete {
                (after.stage, after.moved) = (Stage::Complete, now);
            }
        } else if counts.is_ahead_of(&before.counts) && before.stage != Stage::Complete {
            (after.stage, after.moved) = (Stage::Updated, now);
        } else if matches!(before.stage, Stage::Created | Stage::Updated)
            && after.deadline(deadline) <= now
            && !wanted.paused
        {
            (after.stage, after.moved) = (Stage::TimedOut, now);
        }
        after
    }

    /// When the rollout times out unless something moves; the end of time if it cannot.
    pub fn deadline(&self, deadline: Duration) -> Timestamp {
        match self.stage {
            Stage::Created | Stage::Updated => self.moved.checked_add(deadline).unwrap_or(Timestamp::MAX),
            Stage::Complete | Stage::TimedOut => Timestamp::MAX,
        }
    }

    /// The condition `Progressing`: status, reason, message.
    fn condition(&self, name: &str) -> (&'static str, &'static str, String) {
        let set = format!("ReplicaSet \"{name}-{}\"", self.hash);
        match self.stage {
            Stage::Created => {
                ("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}-{}\"", self.hash))
            }
            Stage::Updated => ("True", "ReplicaSetUpdated", format!("{set} is progressing.")),
            Stage::Complete => ("True", "NewReplicaSetAvailable", format!("{set} has successfully progressed.")),
            Stage::TimedOut => ("False", "ProgressDeadlineExceeded", format!("{set} has timed out progressing.")),
        }
    }
}

/// Why pods of the wanted template cannot run: reason and message.
pub type Problem = (&'static str, String);

/// What the status of a Deployment says.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Name of the Deployment.
    pub name: &'a str,
    /// Generation of the spec that was acted on.
    pub generation: i64,
    /// What the spec asks for.
    pub wanted: &'a Wanted,
    /// Numbers of pods.
    pub counts: Counts,
    /// How far the rollout has come.
    pub progress: &'a Progress,
    /// Why pods cannot run, if they cannot.
    pub problem: Option<&'a Problem>,
}

/// The status as a merge patch. `previous` are the conditions there are, which keep their times.
pub fn status(facts: &Facts<'_>, previous: &[Value], now: Timestamp) -> Value {
    let Facts { wanted, counts, .. } = facts;
    let enough = counts.available + wanted.max_unavailable() >= wanted.replicas;
    let available = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned())
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.".to_owned())
    };
    let progressing = facts.progress.condition(facts.name);
    let mut conditions = vec![
        condition("Available", &available, previous, now, now),
        condition("Progressing", &progressing, previous, facts.progress.moved, now),
    ];
    if let Some((reason, message)) = facts.problem {
        conditions.push(condition("ReplicaFailure", &("True", reason, message.clone()), previous, now, now));
    }
    let number = |count: usize| if count == 0 { Value::Null } else { json!(count) };
    json!({
        "observedGeneration": facts.generation,
        "replicas": number(counts.replicas),
        "updatedReplicas": number(counts.updated),
        "readyReplicas": number(counts.ready),
        "availableReplicas": number(counts.available),
        "unavailableReplicas": number(counts.replicas.max(wanted.replicas).saturating_sub(counts.available)),
        "conditions": conditions,
    })
}

/// A condition; what stays the same keeps its times.
fn condition(
    kind: &str,
    (status, reason, message): &(&str, &str, String),
    previous: &[Value],
    updated: Timestamp,
    now: Timestamp,
) -> Value {
    let second = |time: Timestamp| format!("{:.0}", time);
    let before = previous.iter().find(|condition| condition["type"] == kind);
    let same = |field: &str, value: &str| before.is_some_and(|before| before[field] == value);
    let kept = |field: &str| before.map(|before| before[field].clone()).filter(Value::is_string);
    let transition = if same("status", status) { kept("lastTransitionTime") } else { None };
    let update = if same("status", status) && same("reason", reason) && same("message", message) {
        kept("lastUpdateTime")
    } else {
        None
    };
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": update.unwrap_or_else(|| second(updated).into()),
        "lastTransitionTime": transition.unwrap_or_else(|| second(now).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Strategy;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn wanted(hash: &str) -> Wanted {
        let strategy = Strategy::RollingUpdate { max_surge: 1, max_unavailable: 0 };
        Wanted { hash: hash.into(), replicas: 2, strategy, paused: false, min_ready: Duration::ZERO }
    }

    fn counts(replicas: usize, updated: usize, available: usize) -> Counts {
        Counts { replicas, updated, ready: available, available }
    }

    fn read<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
        let conditions = status["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        (found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    }

    #[test]
    fn a_rollout_moves_completes_and_times_out_as_in_kubernetes() {
        let mut progress: Option<Progress> = None;
        for (second, hash, counts, reason) in [
            (0, "a", counts(0, 0, 0), "NewReplicaSetCreated"),
            (1, "a", counts(2, 2, 0), "ReplicaSetUpdated"),
            (60, "a", counts(2, 2, 0), "ReplicaSetUpdated"),
            (61, "a", counts(2, 2, 0), "ProgressDeadlineExceeded"),
            (62, "a", counts(2, 2, 1), "ReplicaSetUpdated"),
            (63, "a", counts(2, 2, 2), "NewReplicaSetAvailable"),
            (900, "a", counts(2, 2, 1), "NewReplicaSetAvailable"),
            (901, "a", counts(2, 2, 2), "NewReplicaSetAvailable"),
            (902, "b", counts(3, 1, 2), "NewReplicaSetCreated"),
            (903, "b", counts(3, 1, 3), "ReplicaSetUpdated"),
            (904, "b", counts(2, 2, 2), "NewReplicaSetAvailable"),
        ] {
            let wanted = wanted(hash);
            progress = Some(Progress::advance(progress.as_ref(), &wanted, counts, DEADLINE, at(second)));
            let progress = progress.as_ref().unwrap();
            let facts = Facts { name: "x", generation: 1, wanted: &wanted, counts, progress, problem: None };
            let status = status(&facts, &[], at(second));
            assert_eq!(read(&status, "Progressing").1, reason, "at {second}");
        }
    }

    #[test]
    fn counts_of_nothing_are_left_out_and_availability_is_told() {
        let wanted = wanted("a");
        let progress = Progress::advance(None, &wanted, counts(0, 0, 0), DEADLINE, at(0));
        let problem = ("ErrImagePull", "image a:1 is gone".to_owned());
        let mut facts = Facts {
            name: "x",
            generation: 7,
            wanted: &wanted,
            counts: counts(0, 0, 0),
            progress: &progress,
            problem: Some(&problem),
        };
        let first = status(&facts, &[], at(0));
        assert_eq!((&first["observedGeneration"], &first["unavailableReplicas"]), (&json!(7), &json!(2)));
        assert!(first["replicas"].is_null() && first["readyReplicas"].is_null());
        assert_eq!(read(&first, "Available"), ("False", "MinimumReplicasUnavailable"));
        assert_eq!(read(&first, "ReplicaFailure"), ("True", "ErrImagePull"));
        facts.counts = counts(2, 2, 2);
        let second = status(&facts, first["conditions"].as_array().unwrap(), at(5));
        assert_eq!(read(&second, "Available"), ("True", "MinimumReplicasAvailable"));
        assert!(second["unavailableReplicas"].is_null());
        let times = |status: &Value, index: usize| status["conditions"][index]["lastTransitionTime"].clone();
        assert_eq!(times(&first, 0), "1970-01-01T00:00:00Z");
        assert_eq!(times(&second, 0), "1970-01-01T00:00:05Z");
        assert_eq!(times(&second, 1), times(&first, 1), "a condition that stays keeps its time");
    }
}
