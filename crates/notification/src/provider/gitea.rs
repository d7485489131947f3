//! `gitea`: a status of a commit, on Gitea and Forgejo.

use http::Method;
use reconcile::Event;
use serde_json::json;

use super::{
    Plan, Settings,
    commit_status::{commit, description, owner_and_name},
    post, request,
    words::by_severity,
};
use crate::Error;

/// The requests. Statuses are asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let (host, owner, name) = owner_and_name(&settings.address)?;
    let commit = commit(event)?;
    let body = json!({
        "state": by_severity(event, "failure", "success"),
        "target_url": "",
        "description": description(event),
        "context": settings.status_context,
    });
    let token = format!("token {}", settings.token);
    let headers = [("authorization", token.as_str())];
    let list = format!("{host}/api/v1/repos/{owner}/{name}/commits/{commit}/statuses?limit=50");
    Ok(Plan {
        ask: vec![request(Method::GET, &list, Vec::new(), &headers)?],
        tell: vec![post(
            &format!("{host}/api/v1/repos/{owner}/{name}/statuses/{commit}"),
            body.to_string().into_bytes(),
            &headers,
        )?],
        ..Plan::default()
    })
}
