//! `alertmanager`: an alert for the event, and the end of the one for the error before it.

use bytes::Bytes;
use reconcile::{Event, Severity};
use serde_json::{Value, json};

use super::{Settings, authorized, basic, login, post, words};
use crate::Error;

/// The request.
///
/// Differs: Flux never says that an alert is over. A recovery ends the alert of the object's last error here.
pub fn message(settings: &Settings, event: &Event, firing: Option<&Event>) -> Result<http::Request<Bytes>, Error> {
    let mut alerts = vec![alert(event)];
    if let Some(firing) = firing.filter(|_| event.severity != Severity::Error) {
        let mut over = alert(firing);
        over["status"] = "resolved".into();
        over["endsAt"] = words::time(event).into();
        alerts.push(over);
    }
    let has_login = !settings.username.is_empty() && !settings.password.is_empty();
    let login = if has_login { Some(basic(&settings.username, &settings.password)) } else { login(settings) };
    post(&settings.address, Value::from(alerts).to_string().into_bytes(), &authorized(login.as_ref()))
}

fn alert(event: &Event) -> Value {
    let about = &event.involved_object.reference;
    let mut labels = event.metadata.clone();
    let mut annotations = json!({"message": event.message});
    if let Some(summary) = labels.remove("summary") {
        annotations["summary"] = summary.into();
    }
    let own = [
        ("alertname", format!("Flux{}{}", about.kind, titled(&event.reason))),
        ("severity", words::severity(event).to_owned()),
        ("reason", event.reason.clone()),
        ("kind", about.kind.clone()),
        ("name", about.name.clone()),
        ("namespace", about.namespace.clone()),
        ("reportingcontroller", event.reporting_controller.clone()),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
    json!({"status": "firing", "labels": labels, "annotations": annotations, "startsAt": words::time(event)})
}

/// Only the first letter in upper case, as the title case of Go's text library writes one word.
fn titled(reason: &str) -> String {
    let mut characters = reason.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + &characters.as_str().to_lowercase()
}
