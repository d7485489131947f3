//! `bitbucketserver`: a build status on Bitbucket Server and Data Center; the address is that for cloning (`/scm/`).

use http::Method;
use reconcile::Event;
use serde_json::{Value, json};

use super::{
    Plan, Settings,
    commit_status::{commit, description, key, repository},
    login, post, request, words,
};
use crate::Error;

/// The requests. The status is asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let invalid = || Error::Invalid("the address is not of the form HOST/scm/PROJECT/REPOSITORY".into());
    let (host, path) = repository(&settings.address)?;
    let [before @ .., scm, project, name] = path.as_slice() else { return Err(invalid()) };
    if scm != "scm" {
        return Err(invalid());
    }
    let prefix: String = before.iter().filter(|part| !part.is_empty()).map(|part| format!("/{part}")).collect();
    let commit = commit(event)?;
    let builds = format!("{host}{prefix}/rest/api/latest/projects/{project}/repos/{name}/commits/{commit}/builds");
    let key = key(settings);
    let body = json!({
        "key": key,
        "state": words::by_severity(event, "FAILED", "SUCCESSFUL"),
        "url": settings.address,
        "description": description(event),
        "name": shown(event),
    });
    let login = login(settings).unwrap_or_default();
    let headers =
        [("authorization", login.as_str()), ("x-atlassian-token", "no-check"), ("x-requested-with", "XMLHttpRequest")];
    Ok(Plan {
        ask: vec![request(Method::GET, &format!("{builds}?key={key}"), Vec::new(), &headers)?],
        tell: vec![post(&builds, body.to_string().into_bytes(), &headers)?],
        ..Plan::default()
    })
}

/// The browser shows the name only, so it holds the description too.
fn shown(event: &Event) -> String {
    format!("{} [{}]", words::name(event), description(event))
}

/// Whether the status under our key says the same.
pub fn knows(event: &Event, found: &Value) -> bool {
    found["state"] == words::by_severity(event, "FAILED", "SUCCESSFUL")
        && found["description"] == description(event).as_str()
        && found["name"] == shown(event).as_str()
}
