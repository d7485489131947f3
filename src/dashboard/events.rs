//! `GET /events`: what happened, newest first.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Query, State},
    http::StatusCode,
};
use canary::machine::Signed;
use jiff::Timestamp;
use reconcile::{Event, Severity, clock, store::EventFilter};
use serde_json::{Value, json};

use super::{
    Dashboard,
    answer::{Answer, Answered, Refusal},
};

/// Events of a page, and the most that can be asked for.
const PAGE: usize = 100;
const MOST: usize = 1000;

/// Answers. `for` is `KIND[/NAMESPACE[/NAME]]`, `type` Normal or Warning, `since` a span such as 24h.
pub async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    Query(words): Query<BTreeMap<String, String>>,
) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let word = |key: &str| words.get(key).map(String::as_str).filter(|text| !text.is_empty());
    let mut object = word("for").into_iter().flat_map(|text| text.split('/')).map(str::to_owned);
    let filter = EventFilter { kind: object.next(), namespace: object.next(), name: object.next() };
    let since = word("since").map(str::parse::<api::Duration>).transpose();
    let since = since.map_err(|problem| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("since: {problem}")).with_hint("write it as 24h or 30m")
    })?;
    let oldest = since.and_then(|since| clock::now().checked_sub(since.get()).ok()).unwrap_or(Timestamp::MIN);
    let mut events = dashboard.context.store.events(&filter).await?;
    events.retain(|event| {
        let is_kind = word("type").is_none_or(|kind| kind.eq_ignore_ascii_case(event.kind()));
        let is_found = word("q").is_none_or(|text| event.message.to_lowercase().contains(&text.to_lowercase()));
        event.severity != Severity::Trace && event.timestamp >= oldest && is_kind && is_found
    });
    events.sort_by_key(|event| std::cmp::Reverse(event.timestamp));
    let number = |key: &str| word(key).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("cursor").unwrap_or(0), number("limit").unwrap_or(PAGE).min(MOST));
    let total = events.len();
    let items: Vec<Value> = events.iter().skip(from).take(limit).map(told).collect();
    let next = from + items.len();
    let cursor = (next < total).then(|| next.to_string());
    Ok(Answer(json!({"items": items, "total": total, "cursor": cursor, "now": clock::now()})))
}

/// One event.
pub fn told(event: &Event) -> Value {
    let about = &event.involved_object.reference;
    // What people ask for carries their name.
    let person = event.message.strip_prefix("Request accepted: ").map(|text| Signed::parse(text).by);
    let actor = event.metadata.get("by").cloned().or(person).filter(|by| !by.is_empty());
    json!({
        "at": event.timestamp, "type": event.kind(), "actor": actor.as_ref().unwrap_or(&event.reporting_controller),
        "isPerson": actor.is_some(), "object": {"kind": about.kind, "ns": about.namespace, "name": about.name},
        "reason": event.reason, "message": event.message, "count": event.count,
    })
}
