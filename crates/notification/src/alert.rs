//! Which Alerts take an event, and the facts that travel with it. Pure.
//! Source: reference delivery.md sections 3.1 and 3.2.

use std::collections::BTreeMap;

use api::{
    meta::EVENT_ANNOTATION_PREFIX,
    notification::{Alert, AlertSeverity, EventSource},
};
use kube::ResourceExt as _;
use reconcile::{Event, Severity};
use regex::Regex;
use serde_json::Value;

/// Longest message that is sent, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 39_000;
/// Facts that never leave: what identifies repetitions rather than informs.
const INTERNAL_FACTS: [&str; 3] = ["checksum", "digest", "token"];
/// The fact by which an updater marks an event as a commit status.
pub const COMMIT_STATUS: &str = "commit_status";

/// What an Alert says to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the event is sent.
    pub takes: bool,
    /// Patterns that could not be read and were skipped.
    pub problems: Vec<String>,
    /// Whether the event is of one of the Alert's sources.
    pub is_of_source: bool,
    /// Entries of the inclusion list that matched.
    pub included_by: Vec<usize>,
}

/// Whether the object's labels decide: some source matches but for its labels.
pub fn needs_labels(alert: &Alert, event: &Event) -> bool {
    let mut sources = alert.spec.event_sources.iter().filter(|source| source_matches(source, alert, event));
    !alert.spec.suspend && sources.any(|source| !source.match_labels.is_empty())
}

/// What the Alert says to the event, in Flux's order: suspended, sources, inclusion list, exclusion list.
/// `labels` are those of the object that the event is about; they count only where a source asks for some.
pub fn verdict(alert: &Alert, event: &Event, labels: &BTreeMap<String, String>) -> Verdict {
    let spec = &alert.spec;
    let mut sources = spec.event_sources.iter();
    let carries = |source: &EventSource| source.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    if spec.suspend || !sources.any(|source| source_matches(source, alert, event) && carries(source)) {
        return Verdict::default();
    }
    let mut problems = Vec::new();
    let mut matches = |patterns: &[String], list: &str| {
        let mut found = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            match Regex::new(pattern) {
                Ok(regex) if regex.is_match(&event.message) => found.push(index),
                Ok(_) => {}
                Err(_) => problems.push(format!("{list}: {pattern:?} is not a regular expression and is skipped")),
            }
        }
        found
    };
    let included_by = matches(&spec.inclusion_list, "inclusionList");
    let included = spec.inclusion_list.is_empty() || !included_by.is_empty();
    let excluded = included && !matches(&spec.exclusion_list, "exclusionList").is_empty();
    Verdict { takes: included && !excluded, problems, is_of_source: true, included_by }
}

fn source_matches(source: &EventSource, alert: &Alert, event: &Event) -> bool {
    let about = &event.involved_object.reference;
    let own = alert.namespace().unwrap_or_default();
    let severe_enough = match alert.spec.event_severity {
        AlertSeverity::Info => true,
        AlertSeverity::Error => event.severity == Severity::Error,
    };
    source.kind == about.kind
        && source.namespace.as_deref().unwrap_or(&own) == about.namespace
        && severe_enough
        && (source.name == "*" || source.name == about.name)
}

/// The event as it is sent, and the facts that were set twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// With the Alert's facts, without internal ones.
    pub event: Event,
    /// Keys where a stronger source of facts hid a weaker one.
    pub conflicts: Vec<String>,
}

/// Adds the Alert's facts. Weakest first: the object's annotations, `eventMetadata`, `summary`, the controller's own.
///
/// What a controller posted under `event.toolkit.fluxcd.io/` is an annotation, whatever the object says now. Events of ours
/// have theirs among the facts, where a value that `annotations`, the object's as [`annotations`] reads them, has too tells.
pub fn outgoing(alert: &Alert, event: &Event, annotations: &BTreeMap<String, String>) -> Outgoing {
    let (mut metadata, mut strong) = (BTreeMap::new(), BTreeMap::new());
    let is_told_apart = |key: &str| event.metadata.contains_key(&format!("{EVENT_ANNOTATION_PREFIX}{key}"));
    for (key, value) in &event.metadata {
        let posted = key.strip_prefix(EVENT_ANNOTATION_PREFIX);
        let is_ours = annotations.get(key) == Some(value) && !is_told_apart(key);
        let layer = if posted.is_some() || is_ours { &mut metadata } else { &mut strong };
        layer.insert(posted.unwrap_or(key).to_owned(), value.clone());
    }
    let summary = Some(&alert.spec.summary).filter(|summary| !summary.is_empty());
    let summary = summary.map(|summary| ("summary".to_owned(), summary.clone()));
    let mut conflicts = Vec::new();
    for layer in [alert.spec.event_metadata.clone(), summary.into_iter().collect(), strong] {
        for (key, value) in layer {
            if metadata.insert(key.clone(), value.clone()).is_some_and(|before| before != value) {
                conflicts.push(key);
            }
        }
    }
    metadata.retain(|key, _| !INTERNAL_FACTS.contains(&key.as_str()));
    let message = event.message.chars().take(MAX_MESSAGE_CHARACTERS).collect();
    Outgoing { event: Event { metadata, message, count: 1, ..event.clone() }, conflicts }
}

/// The object's labels.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    texts(object, "/metadata/labels")
}

/// The object's annotations that travel with its events, without their prefix.
pub fn annotations(object: &Value) -> BTreeMap<String, String> {
    let all = texts(object, "/metadata/annotations").into_iter();
    all.filter_map(|(key, value)| Some((key.strip_prefix(EVENT_ANNOTATION_PREFIX)?.to_owned(), value))).collect()
}

fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object.pointer(pointer).and_then(|map| serde_json::from_value(map.clone()).ok()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
