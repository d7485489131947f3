//! A rollout as it was: a sentence, the checks, the runs before, and what can be done next.

use api::flagger::{Canary, Phase};
use canary::{
    report::{self, quantity},
    router,
    trail::{Check, Run},
};
use reconcile::Store;
use serde_json::{Value, json};

use crate::{commands::table::render, rollouts::Rollouts};

/// Runs shown to people; programs get all that are kept.
const RUNS: usize = 5;

/// A Canary and what it went through.
pub struct Rollout {
    canary: Canary,
    told: report::Rollout,
    runs: Vec<Run>,
}

impl Rollout {
    /// Reads the runs that the store has kept: on this machine its database, on a cluster what the controller publishes.
    pub async fn read(store: &Store, object: &Value) -> anyhow::Result<Self> {
        let canary: Canary = api::manifest::typed(object).map_err(anyhow::Error::msg)?;
        let rollouts = Rollouts::new(store.clone(), router::Options::default());
        let (told, _) = rollouts.rollout(&canary).await?;
        Ok(Self { told, runs: rollouts.runs(&canary).await?, canary })
    }

    /// For programs. The names are part of the command contract.
    pub fn json(&self) -> Value {
        let mut record = serde_json::to_value(&self.told).unwrap_or_default();
        record["namespace"] = json!(self.canary.namespace());
        record["runs"] = json!(self.runs);
        record
    }

    /// For people.
    pub fn text(&self) -> String {
        let sentence = &self.told.row.sentence;
        let waits = self.told.waiting_for.as_ref().filter(|waits| !sentence.contains(*waits));
        let mut text = format!("{sentence}\n");
        text.extend(waits.map(|waits| format!("{waits}\n")));
        text + &checks(&self.canary, self.runs.last()) + &history(&self.runs) + &next(&self.canary)
    }
}

/// The last value of each metric of a run.
fn checks(canary: &Canary, run: Option<&Run>) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for tick in run.into_iter().flat_map(|run| run.ticks.iter().rev()) {
        for check in &tick.checks {
            if rows.iter().all(|row| row[0] != check.metric) {
                let unit = report::unit(canary, &check.metric);
                let value = check.value.map_or_else(|| "-".into(), |value| quantity(value, unit));
                let sampled = format!("{:.0}", tick.at);
                rows.push(vec![check.metric.clone(), value, limit(check, unit), sampled, check.verdict.to_string()]);
            }
        }
    }
    let titles = ["CHECK", "CANARY", "LIMIT", "SAMPLED", "VERDICT"];
    if rows.is_empty() { String::new() } else { format!("\n{}", render(Some(&titles), &rows)) }
}

fn limit(check: &Check, unit: &str) -> String {
    let bound = |value: f64| quantity(value, unit);
    match (check.min, check.max) {
        (Some(min), Some(max)) => format!("{} to {}", bound(min), bound(max)),
        (Some(min), None) => format!(">= {}", bound(min)),
        (None, Some(max)) => format!("<= {}", bound(max)),
        (None, None) => "none".into(),
    }
}

fn history(runs: &[Run]) -> String {
    let row = |run: &Run| {
        let tag = |image: &Option<String>| image.clone().unwrap_or_else(|| "-".into());
        let top = run.ticks.iter().map(|tick| tick.weight).max().unwrap_or_default();
        let failed = run.ticks.iter().map(|tick| tick.failed_checks).max().unwrap_or_default();
        let ended = run.ended.map_or_else(|| "-".into(), |at| format!("{at:.0}"));
        let began = format!("{:.0}", run.began);
        vec![
            began,
            ended,
            tag(&run.from_image),
            tag(&run.image),
            format!("{top}%"),
            failed.to_string(),
            run.phase.to_string(),
        ]
    };
    let rows: Vec<_> = runs.iter().rev().take(RUNS).map(row).collect();
    let titles = ["BEGAN", "ENDED", "FROM", "TO", "REACHED", "FAILED", "END"];
    if rows.is_empty() { String::new() } else { format!("\n{}", render(Some(&titles), &rows)) }
}

fn next(canary: &Canary) -> String {
    let name = canary.name();
    match canary.status().phase {
        Phase::Failed => format!("\nNext  Try it again: slipway canary retry {name}\n"),
        Phase::Waiting | Phase::WaitingPromotion => format!("\nNext  Approve it: slipway canary promote {name}\n"),
        Phase::Progressing => format!("\nNext  Take the traffic back: slipway canary rollback {name}\n"),
        _ => String::new(),
    }
}
