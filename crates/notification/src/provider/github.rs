//! `github`: a status of a commit; and `githubdispatch`: a run of workflows.

use bytes::Bytes;
use http::Method;
use reconcile::Event;
use serde_json::{Value, json};

use super::{
    Plan, Settings,
    commit_status::{commit, description, owner_and_name},
    post, request,
    words::by_severity,
};
use crate::Error;

/// The requests. Statuses are asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let (api, owner, name) = api(settings)?;
    let (commit, bearer) = (commit(event)?, bearer(settings));
    let body = json!({
        "state": by_severity(event, "failure", "success"),
        "context": settings.status_context,
        "description": description(event),
    });
    let list = format!("{api}/repos/{owner}/{name}/commits/{commit}/statuses?per_page=50");
    let headers = [("authorization", bearer.as_str()), ("accept", "application/vnd.github+json")];
    Ok(Plan {
        ask: vec![request(Method::GET, &list, Vec::new(), &headers)?],
        tell: vec![post(
            &format!("{api}/repos/{owner}/{name}/statuses/{commit}"),
            body.to_string().into_bytes(),
            &headers,
        )?],
        ..Plan::default()
    })
}

/// Whether the newest status of our context says the same.
pub fn knows(settings: &Settings, event: &Event, found: &Value) -> bool {
    let newest =
        found.as_array().into_iter().flatten().find(|status| status["context"] == settings.status_context.as_str());
    newest.is_some_and(|status| {
        let state = status.get("state").or(status.get("status")).and_then(Value::as_str);
        state == Some(by_severity(event, "failure", "success")) && status["description"] == description(event).as_str()
    })
}

/// The request that starts workflows which wait for a `repository_dispatch`.
pub fn dispatch(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let (api, owner, name) = api(settings)?;
    let about = &event.involved_object.reference;
    let body =
        json!({"event_type": format!("{}/{}.{}", about.kind, about.name, about.namespace), "client_payload": event});
    let bearer = bearer(settings);
    let headers = [("authorization", bearer.as_str()), ("accept", "application/vnd.github+json")];
    post(&format!("{api}/repos/{owner}/{name}/dispatches"), body.to_string().into_bytes(), &headers)
}

fn bearer(settings: &Settings) -> String {
    format!("Bearer {}", settings.token)
}

/// The API of github.com stands elsewhere than that of an installation of one's own.
pub(super) fn api(settings: &Settings) -> Result<(String, String, String), Error> {
    let (host, owner, name) = owner_and_name(&settings.address)?;
    let api = if host == "https://github.com" { "https://api.github.com".into() } else { format!("{host}/api/v3") };
    Ok((api, owner, name))
}
