//! `/overview`, `/rollouts` and what lies below: lists, one rollout, its runs.

use std::{collections::BTreeMap, sync::Arc};

use api::flagger::Canary;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
};
use canary::{
    report::{self, Row},
    trail::Run,
};
use reconcile::clock;
use serde_json::{Value, json};

use super::{
    Dashboard,
    answer::{Answer, Answered, Refusal},
};
use crate::{args::run::Dashboard as Mode, rollouts};

/// Rows of a page, and the most that can be asked for.
const PAGE: usize = 200;
const MOST: usize = 1000;

/// What was typed behind the question mark.
type Words = Query<BTreeMap<String, String>>;

/// `GET /overview`
pub async fn overview(State(dashboard): State<Arc<Dashboard>>) -> Answered<Value> {
    let board = dashboard.live.board().await.ok_or_else(unlisted)?;
    let options = &dashboard.options;
    let acts = options.mode == Mode::Act;
    let needs_token = acts && (options.tokens.is_some() || !dashboard.guard.is_loopback());
    Ok(Answer(json!({
        "cluster": options.cluster, "counts": board.counts(), "version": env!("CARGO_PKG_VERSION"),
        "build": super::page::build(), "now": clock::now(), "standalone": dashboard.context.store.is_standalone(),
        "you": {"name": null, "readOnly": !acts, "needsToken": needs_token},
    })))
}

/// `GET /rollouts`
pub async fn list(State(dashboard): State<Arc<Dashboard>>, Query(words): Words) -> Answered<Value> {
    let board = dashboard.live.board().await.ok_or_else(unlisted)?;
    let all = board.rows();
    let total = all.len();
    let mut rows: Vec<Row> = all.into_iter().filter(|row| is_wanted(row, &words)).collect();
    match words.get("sort").map_or("urgency", String::as_str) {
        "name" => {}
        "since" => rows.sort_by_key(|row| std::cmp::Reverse(row.since)),
        "urgency" => rows.sort_by(rollouts::urgency),
        other => {
            let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{other:?} is no order"));
            return Err(refusal.with_hint("sort by urgency, name or since"));
        }
    }
    let number = |key: &str| words.get(key).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("cursor").unwrap_or(0), number("limit").unwrap_or(PAGE).min(MOST));
    let found = rows.len();
    let items: Vec<Row> = rows.into_iter().skip(from).take(limit).collect();
    let next = from + items.len();
    let cursor = (next < found).then(|| next.to_string());
    Ok(Answer(json!({"items": items, "total": found, "hidden": total - found, "cursor": cursor, "now": clock::now()})))
}

fn is_wanted(row: &Row, words: &BTreeMap<String, String>) -> bool {
    let named = |key: &str, own: &str| {
        let given = words.get(key).filter(|text| !text.is_empty());
        given.is_none_or(|text| text.split(',').any(|word| word.eq_ignore_ascii_case(own)))
    };
    let found = words.get("q").is_none_or(|text| {
        let text = text.to_lowercase();
        let versions = [row.from.as_deref(), row.to.as_deref()].into_iter().flatten();
        format!("{}/{}", row.ns, row.name).contains(&text) || versions.into_iter().any(|one| one.contains(&text))
    });
    found && named("ns", &row.ns) && named("state", row.state.as_str())
}

fn unlisted() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the rollouts are not listed yet").with_hint("try again in a second")
}

/// `GET /rollouts/NAMESPACE/NAME`
pub async fn one(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Answered<Value> {
    record(&dashboard, &namespace, &name).await.map(Answer)
}

/// All that is known of a rollout, with the queries of its checks.
pub async fn record(dashboard: &Dashboard, namespace: &str, name: &str) -> Result<Value, Refusal> {
    let _turn = dashboard.answers.acquire().await;
    let canary = find(dashboard, namespace, name).await?;
    let (mut rollout, _) = dashboard.rollouts.rollout(&canary).await?;
    let analysis = canary.analysis();
    for check in &mut rollout.checks {
        let Some(metric) = analysis.metrics.iter().find(|metric| metric.name == check.name) else { continue };
        match dashboard.asker().query(&canary, &[], metric).await {
            Ok(query) => (check.query, check.source) = (Some(query.query), Some(query.provider)),
            Err(problem) => check.error = check.error.take().or(Some(problem)),
        }
    }
    let acts = dashboard.options.mode == Mode::Act;
    if !acts {
        for action in &mut rollout.actions {
            action.allowed = false;
            action.why.get_or_insert_with(|| "the dashboard is read-only (slipway run --dashboard act)".to_owned());
        }
    }
    let mut record = serde_json::to_value(&rollout).unwrap_or_default();
    record["now"] = json!(clock::now());
    Ok(record)
}

/// The Canary, or that it is not there.
pub async fn find(dashboard: &Dashboard, namespace: &str, name: &str) -> Result<Canary, Refusal> {
    let found = dashboard.context.store.get::<Canary>(namespace, name).await?;
    found.ok_or_else(|| Refusal::not_found(format_args!("rollout {namespace}/{name}")))
}

/// `GET …/runs`
pub async fn runs(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name)): Path<(String, String)>,
) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let canary = find(&dashboard, &namespace, &name).await?;
    let runs = dashboard.rollouts.runs(&canary).await?;
    let items: Vec<Value> = runs.iter().rev().map(summary).collect();
    Ok(Answer(json!({"items": items, "now": clock::now()})))
}

/// `GET …/runs/RUN`, `last` for the last one.
pub async fn run(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name, run)): Path<(String, String, String)>,
) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let canary = find(&dashboard, &namespace, &name).await?;
    let run = kept(&dashboard, &canary, &run).await?;
    let mut answer = summary(&run);
    answer["ticks"] = json!(run.ticks);
    Ok(Answer(answer))
}

/// The run of that id.
pub async fn kept(dashboard: &Dashboard, canary: &Canary, id: &str) -> Result<Run, Refusal> {
    let mut runs = dashboard.rollouts.runs(canary).await?;
    let found = match id {
        "last" => runs.pop(),
        id => runs.into_iter().find(|run| run.began.as_second().to_string() == id),
    };
    found.ok_or_else(|| Refusal::not_found(format_args!("run {id}")).with_hint("the last 11 runs are kept"))
}

fn summary(run: &Run) -> Value {
    let most = |value: fn(&canary::trail::Tick) -> i64| run.ticks.iter().map(value).max().unwrap_or(0);
    json!({
        "id": run.began.as_second().to_string(), "startedAt": run.began, "endedAt": run.ended, "result": run.phase,
        "from": run.from_image.as_deref().map(report::version), "to": run.image.as_deref().map(report::version),
        "fromImage": run.from_image, "toImage": run.image,
        "reached": most(|tick| tick.weight), "failed": most(|tick| tick.failed_checks),
    })
}
