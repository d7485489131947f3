//! `bitbucket`: a build status on Bitbucket Cloud; the token is `user:password`.

use http::Method;
use reconcile::Event;
use serde_json::{Value, json};

use super::{
    Plan, Settings, basic,
    commit_status::{commit, description, key, owner_and_name},
    post, request, words,
};
use crate::Error;

/// The requests. The status is asked for first: the same one is not set twice.
pub fn plan(settings: &Settings, event: &Event) -> Result<Plan, Error> {
    let (host, owner, name) = owner_and_name(&settings.address)?;
    let api =
        if host == "https://bitbucket.org" { "https://api.bitbucket.org/2.0".into() } else { format!("{host}/2.0") };
    let (user, password) = settings
        .token
        .split_once(':')
        .ok_or_else(|| Error::Invalid("the token is not of the form user:password".into()))?;
    let (commit, key, login) = (commit(event)?, key(settings), basic(user, password));
    let body = json!({
        "key": key,
        "state": words::by_severity(event, "FAILED", "SUCCESSFUL"),
        "name": words::name(event),
        "description": description(event),
        "url": "https://bitbucket.org",
    });
    let statuses = format!("{api}/repositories/{owner}/{name}/commit/{commit}/statuses/build");
    let headers = [("authorization", login.as_str())];
    Ok(Plan {
        ask: vec![request(Method::GET, &format!("{statuses}/{key}"), Vec::new(), &headers)?],
        tell: vec![post(&statuses, body.to_string().into_bytes(), &headers)?],
        ..Plan::default()
    })
}

/// Whether the status under our key says the same.
pub fn knows(event: &Event, found: &Value) -> bool {
    found["state"] == words::by_severity(event, "FAILED", "SUCCESSFUL")
        && found["description"] == description(event).as_str()
}
