//! `azuredevops`: a status of a commit; the address is `HOST/ORGANISATION/PROJECT/_git/REPOSITORY`.

use http::Method;
use reconcile::Event;
use serde_json::{Value, json};

use super::{
    Plan, Settings, basic,
    commit_status::{commit, description, repository},
    post, request,
    words::by_severity,
};
use crate::Error;

/// What statuses of Flux are grouped under.
const GENRE: &str = "fluxcd";

/// The requests. Statuses are asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let (host, path) = repository(&settings.address)?;
    let [organisation, project, _, name] = path.as_slice() else {
        return Err(Error::Invalid("the address is not of the form HOST/ORGANISATION/PROJECT/_git/REPOSITORY".into()));
    };
    let commit = commit(event)?;
    let body = json!({
        "state": by_severity(event, "error", "succeeded"),
        "description": description(event),
        "context": {"genre": GENRE, "name": settings.status_context},
    });
    let login = match settings.token.as_str() {
        "" => format!("Bearer {}", settings.access),
        token => basic("", token),
    };
    let headers = [("authorization", login.as_str())];
    let statuses = format!(
        "{host}/{organisation}/{project}/_apis/git/repositories/{name}/commits/{commit}/statuses?api-version=7.1"
    );
    Ok(Plan {
        ask: vec![request(Method::GET, &statuses, Vec::new(), &headers)?],
        tell: vec![post(&statuses, body.to_string().into_bytes(), &headers)?],
        ..Plan::default()
    })
}

/// Whether the newest status of our name says the same.
pub fn knows(settings: &Settings, event: &Event, found: &Value) -> bool {
    let all = found["value"].as_array().into_iter().flatten();
    let ours = |status: &&Value| {
        status["context"]["genre"] == GENRE && status["context"]["name"] == settings.status_context.as_str()
    };
    all.rev().find(ours).is_some_and(|status| {
        status["state"] == by_severity(event, "error", "succeeded")
            && status["description"] == description(event).as_str()
    })
}
