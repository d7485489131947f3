//! A rollout as it was: a sentence, the checks, the runs before, and what can be done next.

use api::flagger::{Canary, Phase};
use canary::{
    conditions,
    trail::{self, Check, Run, Verdict},
};
use reconcile::Store;
use serde_json::{Value, json};

use crate::commands::table::render;

/// Runs shown to people; programs get all that are kept.
const RUNS: usize = 5;

/// A Canary and what it went through.
pub struct Rollout {
    canary: Canary,
    runs: Vec<Run>,
}

impl Rollout {
    /// Reads the runs that the store has kept.
    pub async fn read(store: &Store, object: &Value) -> anyhow::Result<Self> {
        let canary: Canary = api::manifest::typed(object).map_err(anyhow::Error::msg)?;
        let prefix = trail::prefix(canary.namespace(), canary.name());
        let records = store.database().scan(trail::BUCKET, &prefix).await?;
        let runs = records.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect();
        Ok(Self { canary, runs })
    }

    /// For programs. The names are part of the command contract.
    pub fn json(&self) -> Value {
        let Self { canary, runs } = self;
        let status = canary.status();
        json!({
            "name": canary.name(), "namespace": canary.namespace(), "phase": status.phase, "sentence": self.sentence(),
            "waitingFor": conditions::message(&status.conditions, conditions::WAITING), "runs": runs,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let waits = conditions::message(&self.canary.status().conditions, conditions::WAITING).map(str::to_owned);
        let mut text = self.sentence() + "\n";
        text.extend(waits.map(|waits| waits + "\n"));
        text + &checks(self.runs.last()) + &history(&self.runs) + &next(&self.canary)
    }

    /// Where it stands, in one sentence.
    fn sentence(&self) -> String {
        sentence(&self.canary, self.runs.last())
    }
}

fn sentence(canary: &Canary, run: Option<&Run>) -> String {
    let status = canary.status();
    let target = run.and_then(|run| run.image.as_deref()).unwrap_or("the new revision");
    let source = run.and_then(|run| run.from_image.as_deref()).unwrap_or("the primary");
    let at = run.and_then(|run| run.ended).map(|at| format!(" at {at:.0}")).unwrap_or_default();
    match status.phase {
        Phase::Unset | Phase::Initializing => "The primary is being made.".into(),
        Phase::Initialized => "The primary serves; no revision was tried yet.".into(),
        Phase::Waiting => format!("{target} waits to be tried."),
        Phase::Progressing => format!("{}% of traffic goes to {target}.", status.canary_weight),
        Phase::WaitingPromotion => format!("{target} was judged good and waits to be promoted."),
        Phase::Promoting | Phase::Finalising => format!("{target} is being promoted."),
        Phase::Succeeded => format!("Promoted {target}{at}."),
        Phase::Failed => format!("Rolled back to {source}{at}{}.", reason(run)),
        Phase::Terminating | Phase::Terminated => "The Canary is being deleted.".into(),
    }
}

/// Which checks of a failed run were bad.
fn reason(run: Option<&Run>) -> String {
    let all = run.into_iter().flat_map(|run| &run.ticks).flat_map(|tick| &tick.checks);
    let bad: Vec<&Check> = all.filter(|check| check.verdict != Verdict::Passed).collect();
    match bad.last() {
        Some(last) => {
            let failed = bad.iter().filter(|check| check.metric == last.metric).count();
            format!(" because {} failed {failed} times", last.metric)
        }
        None => String::new(),
    }
}

/// The last value of each metric of a run.
fn checks(run: Option<&Run>) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for tick in run.into_iter().flat_map(|run| run.ticks.iter().rev()) {
        for check in &tick.checks {
            if rows.iter().all(|row| row[0] != check.metric) {
                let value = check.value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
                let sampled = format!("{:.0}", tick.at);
                rows.push(vec![check.metric.clone(), value, limit(check), sampled, check.verdict.to_string()]);
            }
        }
    }
    let titles = ["CHECK", "CANARY", "LIMIT", "SAMPLED", "VERDICT"];
    if rows.is_empty() { String::new() } else { format!("\n{}", render(Some(&titles), &rows)) }
}

fn limit(check: &Check) -> String {
    match (check.min, check.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!(">= {min}"),
        (None, Some(max)) => format!("<= {max}"),
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
