//! `GET …/runs/RUN/series?metric=NAME`: what was measured in a run, beside the primary of the same time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::flagger::Metric;
use axum::extract::{Path, Query, State};
use canary::{
    recorded::{Sample, Span},
    report,
    trail::Run,
};
use jiff::Timestamp;
use reconcile::clock;
use serde_json::{Value, json};

use super::{
    Dashboard,
    answer::{Answer, Answered, Refusal},
    rollouts::{find, kept},
};

/// Samples of the primary.
const POINTS: u64 = 120;

/// Answers.
pub async fn series(
    State(dashboard): State<Arc<Dashboard>>,
    Path((namespace, name, run)): Path<(String, String, String)>,
    Query(words): Query<BTreeMap<String, String>>,
) -> Answered<Value> {
    let _turn = dashboard.answers.acquire().await;
    let canary = find(&dashboard, &namespace, &name).await?;
    let run = kept(&dashboard, &canary, &run).await?;
    let wanted = words.get("metric").map_or("", String::as_str);
    let now = clock::now();
    let mut answer = measured(&run, wanted);
    answer["unit"] = json!(report::unit(&canary, wanted));
    let analysis = canary.analysis();
    let Some(metric) = analysis.metrics.iter().find(|metric| metric.name == wanted) else {
        // A metric may have left the Canary since; without a name the weights alone are asked for.
        let is_known = run.ticks.iter().flat_map(|tick| &tick.checks).any(|check| check.metric == wanted);
        return match is_known || wanted.is_empty() {
            true => Ok(Answer(answer)),
            false => Err(Refusal::not_found(format_args!("metric {wanted}"))),
        };
    };
    let (min, max) = canary::analysis::bounds(metric);
    answer["limit"] = json!({"min": min, "max": max});
    let (samples, problem) = match primary(&dashboard, &canary, metric, &run, now).await {
        Ok(samples) => (samples, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    answer["primary"] = json!(samples.iter().map(|(at, value)| json!([at, finite(*value)])).collect::<Vec<_>>());
    answer["primaryProblem"] = json!(problem);
    answer["now"] = json!(now);
    Ok(Answer(answer))
}

/// The judged values and the weights of a run.
fn measured(run: &Run, metric: &str) -> Value {
    let (mut values, mut weights) = (Vec::new(), vec![json!([run.began, 0])]);
    for tick in &run.ticks {
        weights.push(json!([tick.at, tick.weight]));
        let check = tick.checks.iter().find(|check| check.metric == metric);
        values.extend(check.map(|check| json!([tick.at, check.value, check.verdict])));
    }
    json!({"metric": metric, "startedAt": run.began, "endedAt": run.ended, "canary": values, "weight": weights})
}

async fn primary(
    dashboard: &Dashboard,
    canary: &api::flagger::Canary,
    metric: &Metric,
    run: &Run,
    now: Timestamp,
) -> Result<Vec<Sample>, String> {
    let to = run.ended.unwrap_or(now);
    let length = to.duration_since(run.began).unsigned_abs();
    let step = Duration::from_secs((length.as_secs() / POINTS).max(1));
    dashboard.asker().primary(canary, &[], metric, Span { from: run.began, to, step }).await
}

/// JSON knows neither infinity nor what is no number.
fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
