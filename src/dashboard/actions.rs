//! `POST …/actions/ACTION`: steering a rollout, by the annotations that the verbs of `slipway canary` write.
//!
//! Asked on what was seen: if the rollout has moved since, nothing is done. An event says who asked, before it is done.

use std::{
    collections::VecDeque,
    path::Path as FilePath,
    sync::{Arc, Mutex, PoisonError},
};

use api::flagger::Canary;
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
};
use canary::{
    machine::{PAUSED, REQUEST, Signed},
    report::{Consent, Row, Steer, refusal},
};
use reconcile::{Notice, clock, object};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Dashboard,
    answer::{Answer, Answered, Refusal},
    guard,
    rollouts::find,
};
use crate::args::run::Dashboard as Mode;

/// Answers that are kept for repeated requests.
const KEPT: usize = 256;
/// Longest reason, in bytes.
const LONGEST: usize = 500;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    /// The rollout's `seen` as the person saw it.
    seen: String,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
    /// The rollout's name, typed, where that is asked for.
    #[serde(default)]
    typed_name: Option<String>,
}

/// What was answered lately, by idempotency key.
#[derive(Default)]
pub struct Asked(Mutex<VecDeque<(String, Value)>>);

/// Answers.
pub async fn act(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name, action)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<Value> {
    let by = who(&dashboard, &headers).await?;
    let steer = Steer::parse(&action).ok_or_else(|| Refusal::not_found(format_args!("the action {action:?}")))?;
    let wish: Wish = serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the request cannot be read: {error}"))
    })?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.map(|key| format!("{by}\n{namespace}/{name}/{action}\n{key}"));
    if let Some(answered) = key.as_ref().and_then(|key| dashboard.asked.find(key)) {
        return Ok(Answer(answered));
    }
    let canary = find(&dashboard, &namespace, &name).await?;
    let row = dashboard.rollouts.row(&canary).await?;
    check(&canary, &row, steer, &wish)?;
    let signed = Signed {
        at: Some(clock::now()),
        until: None,
        by: by.clone(),
        reason: wish.reason.as_deref().map(one_line).filter(|reason| !reason.is_empty()),
    };
    announce(&dashboard, &canary, steer, &signed).await?;
    annotate(&dashboard, &canary, steer, &signed).await?;
    let request = format!("{:016x}", clock::random());
    let answer = json!({"requestId": request, "pending": {"action": steer, "by": by, "at": signed.at}});
    if let Some(key) = key {
        dashboard.asked.keep(key, answer.clone());
    }
    Ok(Answer(answer))
}

/// Who asks, if they may.
async fn who(dashboard: &Dashboard, headers: &HeaderMap) -> Result<String, Refusal> {
    let forbidden = |text: &str| Refusal::new(StatusCode::FORBIDDEN, text);
    if dashboard.options.mode != Mode::Act {
        return Err(forbidden("the dashboard is read-only").with_hint("slipway run --dashboard act"));
    }
    let is_json =
        headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"application/json"));
    if !is_json || !guard::is_same_origin(headers) {
        return Err(forbidden("the request does not come from the dashboard"));
    }
    let Some(file) = &dashboard.options.tokens else {
        // The command line sees to it that without tokens only this machine can connect.
        return match dashboard.guard.is_loopback() {
            true => Ok("somebody on this machine".into()),
            false => Err(forbidden("no tokens are configured").with_hint("slipway run --dashboard-tokens FILE")),
        };
    };
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = text.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    // Read every time: a token that is taken away is of no use any more.
    let found = tokio::task::spawn_blocking({
        let file = file.clone();
        move || holder(&file, &shown)
    });
    match found.await.unwrap_or_else(|_| Err("the tokens cannot be read".into())) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "no token, or one that nobody holds")
            .with_hint("ask whoever runs slipway for a token of yours")),
        Err(problem) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, problem)),
    }
}

/// Whose token it is.
fn holder(file: &FilePath, shown: &str) -> Result<Option<String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("the tokens cannot be read: {error}"))?;
    Ok(named(&text, shown))
}

/// The name that stands before the token; every line is looked at, whichever fits.
fn named(text: &str, shown: &str) -> Option<String> {
    let mut found = None;
    for line in text.lines() {
        let Some((name, token)) = line.split_once(':') else { continue };
        let (name, token) = (one_line(name), token.trim());
        if !token.is_empty() && !name.is_empty() && is_same(token, shown) {
            found = Some(name);
        }
    }
    found
}

/// Compares digests, so that the time taken says nothing about the token.
fn is_same(one: &str, other: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(one) == Sha256::digest(other)
}

/// Whether the rollout, as it stands, takes that.
fn check(canary: &Canary, row: &Row, steer: Steer, wish: &Wish) -> Result<(), Refusal> {
    let name = canary.name();
    if row.seen != wish.seen {
        let weight = |seen: &str| seen.split('/').nth(2).map(|weight| format!("{weight}%")).unwrap_or_default();
        let moved = match (weight(&wish.seen), weight(&row.seen)) {
            (before, now) if before != now => format!("went from {before} to {now}"),
            _ => format!("is {} now", row.state.as_str()),
        };
        let text = format!("Nothing done: {name} {moved} while this was open.");
        return Err(Refusal::new(StatusCode::CONFLICT, text).with_hint("look again"));
    }
    if canary.spec.suspend {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("{name} is suspended")));
    }
    if let Some(why) = refusal(canary, steer) {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("{name} cannot be asked to {}: {why}", steer.as_str())));
    }
    if wish.reason.as_ref().is_some_and(|reason| reason.len() > LONGEST) {
        let text = format!("the reason is longer than {LONGEST} bytes");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let has_reason = wish.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
    if steer.consent() == Consent::Name && (wish.typed_name.as_deref() != Some(name) || !has_reason) {
        let text = format!("{} needs the name typed and a reason", steer.as_str());
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok(())
}

/// Says who asks for what, before it is done; what cannot be told is not done.
async fn announce(dashboard: &Dashboard, canary: &Canary, steer: Steer, signed: &Signed) -> Result<(), Refusal> {
    let about = serde_json::to_value(canary).unwrap_or_default();
    let notice = Notice::info("Asked", format!("{} asked for on the dashboard {signed}", steer.as_str()));
    let notice = notice.with("by", signed.by.clone()).with("client", "dashboard");
    Ok(dashboard.context.events.publish(&about, "slipway", &notice).await?)
}

/// Writes the annotation that the controller obeys, unless the object has changed since it was looked at.
async fn annotate(dashboard: &Dashboard, canary: &Canary, steer: Steer, signed: &Signed) -> Result<(), Refusal> {
    let (key, value) = match steer {
        Steer::Pause => (PAUSED, json!(signed.to_string())),
        Steer::Resume => (PAUSED, Value::Null),
        steer => (REQUEST, json!(format!("{} {signed}", steer.as_str()))),
    };
    let mut metadata = json!({"annotations": {key: value}});
    if let Some(version) = &canary.metadata.resource_version {
        metadata["resourceVersion"] = json!(version);
    }
    let id = object::reference(canary);
    dashboard.context.store.patch(&id, "slipway", &json!({"metadata": metadata})).await?;
    Ok(())
}

/// Text of a person as one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Asked {
    fn find(&self, key: &str) -> Option<Value> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().find(|(known, _)| known == key).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: String, answer: Value) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() == KEPT {
            asked.pop_front();
        }
        asked.push_back((key, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_holder() {
        let text = "ada: s3cret \n# note\nbo:other\n:nobody\neve:\n";
        for (shown, expected) in
            [("s3cret", Some("ada")), ("other", Some("bo")), ("nobody", None), ("", None), ("wrong", None)]
        {
            assert_eq!(named(text, shown).as_deref(), expected, "{shown:?}");
        }
    }
}
