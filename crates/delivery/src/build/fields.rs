//! Places in objects by path, and the tables of places that transformers work on.
//!
//! Source: kustomize 5.8 `api/internal/konfig/builtinpluginconsts`.

use serde_json::{Map, Value};

/// A place in objects of some kinds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Kinds that have it; empty means all.
    pub kinds: &'static [&'static str],
    /// Field names with `/` between them; `[]` behind a name means every item of that list.
    pub path: &'static str,
    /// Whether it is made when it is missing.
    pub create: bool,
}

impl Place {
    const fn new(kinds: &'static [&'static str], path: &'static str, create: bool) -> Self {
        Self { kinds, path, create }
    }

    /// Whether objects of the kind have it.
    pub fn is_in(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// Calls `f` with every value at the path. Missing maps on the way, and the value itself, are made if `create` is set.
pub(crate) fn visit(value: &mut Value, path: &str, create: bool, f: &mut dyn FnMut(&mut Value)) {
    let (part, rest) = path.split_once('/').map_or((path, None), |(part, rest)| (part, Some(rest)));
    let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
    if value.is_null() && create {
        *value = Value::Object(Map::new());
    }
    let Value::Object(fields) = value else { return };
    let next = match fields.get_mut(name) {
        Some(next) => next,
        None if create && !is_list => fields.entry(name).or_insert(Value::Null),
        None => return,
    };
    match (is_list, rest) {
        (true, rest) => {
            for item in next.as_array_mut().into_iter().flatten() {
                match rest {
                    Some(rest) => visit(item, rest, create, f),
                    None => f(item),
                }
            }
        }
        (false, Some(rest)) => visit(next, rest, create, f),
        (false, None) => f(next),
    }
}

const WORKLOADS: &[&str] = &["ReplicationController", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job"];
const SELECTING: &[&str] = &["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"];
const SPREADING: &[&str] = &["Deployment", "StatefulSet"];

/// Labels of pod templates.
pub(crate) const TEMPLATE_LABELS: [Place; 4] = [
    Place::new(WORKLOADS, "spec/template/metadata/labels", true),
    Place::new(&["StatefulSet"], "spec/volumeClaimTemplates[]/metadata/labels", true),
    Place::new(&["CronJob"], "spec/jobTemplate/metadata/labels", true),
    Place::new(&["CronJob"], "spec/jobTemplate/spec/template/metadata/labels", true),
];

/// Label selectors.
pub(crate) const SELECTOR_LABELS: [Place; 12] = [
    Place::new(&["Service", "ReplicationController"], "spec/selector", true),
    Place::new(SELECTING, "spec/selector/matchLabels", true),
    Place::new(&["Job", "PodDisruptionBudget"], "spec/selector/matchLabels", false),
    Place::new(&["CronJob"], "spec/jobTemplate/spec/selector/matchLabels", false),
    Place::new(&["NetworkPolicy"], "spec/podSelector/matchLabels", false),
    Place::new(&["NetworkPolicy"], "spec/ingress[]/from[]/podSelector/matchLabels", false),
    Place::new(&["NetworkPolicy"], "spec/egress[]/to[]/podSelector/matchLabels", false),
    Place::new(
        SPREADING,
        "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution[]/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    Place::new(
        SPREADING,
        "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution[]/labelSelector/matchLabels",
        false,
    ),
    Place::new(
        SPREADING,
        "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution[]/podAffinityTerm/labelSelector/matchLabels",
        false,
    ),
    Place::new(
        SPREADING,
        "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution[]/labelSelector/matchLabels",
        false,
    ),
    Place::new(SPREADING, "spec/template/spec/topologySpreadConstraints[]/labelSelector/matchLabels", false),
];

/// Annotations, of objects and of pod templates.
pub(crate) const ANNOTATIONS: [Place; 4] = [
    Place::new(&[], "metadata/annotations", true),
    Place::new(WORKLOADS, "spec/template/metadata/annotations", true),
    Place::new(&["CronJob"], "spec/jobTemplate/metadata/annotations", true),
    Place::new(&["CronJob"], "spec/jobTemplate/spec/template/metadata/annotations", true),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_made_only_where_that_is_asked_for() {
        let set = |value: &mut Value| *value = json!(1);
        let mut object = json!({"list": [{"a": {}}, {}]});
        visit(&mut object, "x/y", false, &mut { set });
        visit(&mut object, "list[]/a/b", false, &mut { set });
        visit(&mut object, "none[]/a", true, &mut { set });
        assert_eq!(object, json!({"list": [{"a": {}}, {}]}));
        visit(&mut object, "x/y", true, &mut { set });
        visit(&mut object, "list[]/a/b", true, &mut { set });
        assert_eq!(object, json!({"list": [{"a": {"b": 1}}, {"a": {"b": 1}}], "x": {"y": 1}}));
    }
}
