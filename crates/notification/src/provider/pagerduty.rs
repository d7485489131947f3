//! `pagerduty`: an incident for an error, its end for anything else, and a change for what went well.

use reconcile::{Event, Severity};
use serde_json::{Value, json};

use super::{Plan, Settings, post, words};
use crate::Error;

/// The requests. The routing key is the Provider's channel; the object's UID ties an incident to its end.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    let host = &url[..url::Position::BeforePath];
    let summary = format!("{}: {}", words::reason(event), words::name(event));
    let source = format!("Flux {}", event.reporting_controller);
    let metadata = if event.metadata.is_empty() { Value::Null } else { json!(event.metadata) };
    let details = json!({"message": event.message, "metadata": metadata});
    let mut incident = json!({
        "routing_key": settings.channel,
        "event_action": words::by_severity(event, "trigger", "resolve"),
        "dedup_key": event.involved_object.uid,
    });
    if event.severity == Severity::Error {
        incident["payload"] = json!({
            "summary": summary,
            "source": source,
            "severity": "error",
            "timestamp": words::time(event),
            "component": event.involved_object.reference.name,
            "group": event.involved_object.reference.kind,
            "custom_details": details,
        });
    }
    let mut tell = vec![post(&format!("{host}/v2/enqueue"), incident.to_string().into_bytes(), &[])?];
    if event.severity == Severity::Info {
        let change = json!({
            "routing_key": settings.channel,
            "payload": {"summary": summary, "source": source, "timestamp": words::time(event), "custom_details": details},
        });
        tell.push(post(&format!("{host}/v2/change/enqueue"), change.to_string().into_bytes(), &[])?);
    }
    Ok(Plan { tell, ..Plan::default() })
}
