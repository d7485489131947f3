//! Events of the Continuous Delivery Foundation: the kinds of version 0.4 and what each must carry. Pure.

use serde_json::Value;

use super::Refusal;

/// Subjects, in the case that `subject.type` has, with their predicates.
const KINDS: [(&str, &[&str]); 14] = [
    ("artifact", &["packaged", "signed", "published", "downloaded", "deleted"]),
    ("branch", &["created", "deleted"]),
    ("build", &["queued", "started", "finished"]),
    ("change", &["created", "reviewed", "merged", "abandoned", "updated"]),
    ("environment", &["created", "modified", "deleted"]),
    ("incident", &["detected", "reported", "resolved"]),
    ("pipelineRun", &["queued", "started", "finished"]),
    ("repository", &["created", "modified", "deleted"]),
    ("service", &["deployed", "upgraded", "rolledback", "removed", "published"]),
    ("taskRun", &["started", "finished"]),
    ("testCaseRun", &["queued", "started", "finished", "skipped"]),
    ("testOutput", &["published"]),
    ("testSuiteRun", &["queued", "started", "finished"]),
    ("ticket", &["created", "updated", "closed"]),
];

/// Whether the body is an event as the specification describes it.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    let event: Value = serde_json::from_slice(body).map_err(|_| Refusal::new("the body is not JSON"))?;
    let text = |pointer: &str| {
        let found = event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        found.ok_or_else(|| Refusal::new(format!("the event has no {}", pointer[1..].replace('/', "."))))
    };
    for pointer in ["/context/version", "/context/id", "/context/source", "/subject/id"] {
        text(pointer)?;
    }
    let time = text("/context/timestamp")?;
    time.parse::<jiff::Timestamp>().map_err(|_| Refusal::new("context.timestamp is not a time"))?;
    let subject = subject(text("/context/type")?)?;
    if text("/subject/type")? != subject {
        return Err(Refusal::new("subject.type is not that of context.type"));
    }
    match event.pointer("/subject/content") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(Refusal::new("subject.content is not an object")),
    }
}

/// The subject of `dev.cdevents.<subject>.<predicate>.<version>`; major version 0.
fn subject(kind: &str) -> Result<&'static str, Refusal> {
    let unknown = || Refusal::new("context.type is no event of CDEvents");
    let mut parts = kind.strip_prefix("dev.cdevents.").ok_or_else(unknown)?.splitn(3, '.');
    let (subject, predicate) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let version = parts.next().unwrap_or_default();
    let found =
        KINDS.iter().find(|(name, predicates)| name.to_lowercase() == subject && predicates.contains(&predicate));
    let numbers = version.split('-').next().unwrap_or_default().split('.');
    let is_version = numbers.clone().count() == 3 && numbers.clone().all(|number| number.parse::<u32>().is_ok());
    found.filter(|_| is_version && version.starts_with("0.")).map(|(name, _)| *name).ok_or_else(unknown)
}
