//! `gitlab`: a status of a commit, shown as a pipeline.

use http::Method;
use reconcile::{Event, http::escaped};
use serde_json::{Value, json};

use super::{
    Plan, Settings,
    commit_status::{commit, description, repository},
    post, request,
    words::by_severity,
};
use crate::Error;

/// The requests. Statuses are asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let (host, path) = repository(&settings.address)?;
    let (commit, project) = (commit(event)?, escaped(&path.join("/")));
    let body = json!({
        "state": by_severity(event, "failed", "success"),
        "name": settings.status_context,
        "description": description(event),
    });
    let api = format!("{host}/api/v4/projects/{project}");
    let headers = [("private-token", settings.token.as_str())];
    let list = format!("{api}/repository/commits/{commit}/statuses?name={}", escaped(&settings.status_context));
    Ok(Plan {
        ask: vec![request(Method::GET, &list, Vec::new(), &headers)?],
        tell: vec![post(&format!("{api}/statuses/{commit}"), body.to_string().into_bytes(), &headers)?],
        ..Plan::default()
    })
}

/// Whether a status of our name says the same.
pub fn knows(settings: &Settings, event: &Event, found: &Value) -> bool {
    found.as_array().into_iter().flatten().any(|status| {
        status["name"] == settings.status_context.as_str()
            && status["status"] == by_severity(event, "failed", "success")
            && status["description"] == description(event).as_str()
    })
}
