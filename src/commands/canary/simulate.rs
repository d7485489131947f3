//! `slipway canary simulate`: a Canary against a script, tick by tick.

use api::flagger::Phase;
use canary::simulate::{self, Scenario, Tick};

use crate::{
    args::{Output, canary::Simulate},
    commands::{Exit, print, print_json},
};

/// Runs the verb. A rollout that ends in `Failed` is the honest negative answer.
pub fn run(args: &Simulate) -> anyhow::Result<Exit> {
    let ticks = play(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&serde_json::json!({ "ticks": ticks }))?,
        Output::Table => print(&table(&ticks)),
    }
    let has_failed = ticks.last().is_some_and(|tick| tick.phase == Phase::Failed);
    Ok(if has_failed { Exit::No } else { Exit::Done })
}

fn play(args: &Simulate) -> anyhow::Result<Vec<Tick>> {
    let mut manifests = super::manifests(&args.files)?;
    if manifests.canary.spec.provider.as_deref().is_none_or(str::is_empty) {
        manifests.canary.spec.provider = Some(args.mesh_provider.clone());
    }
    let text = crate::commands::read(&args.scenario)?;
    let script = api::manifest::parse(&text)
        .map_err(|(line, problem)| anyhow::anyhow!("{}: line {line}: {problem}", args.scenario))?;
    let scenario = Scenario::parse(&script).map_err(|error| anyhow::anyhow!("{}: {error}", args.scenario))?;
    Ok(simulate::run(manifests.canary, manifests.others, &scenario))
}

/// One block per tick: where it stands, what it said, what it waits for.
fn table(ticks: &[Tick]) -> String {
    let mut text = String::new();
    for (index, tick) in ticks.iter().enumerate() {
        let route = tick.route.map_or_else(String::new, |route| {
            let mirrored = if route.mirrored { " mirrored" } else { "" };
            format!("  {}/{}{mirrored}", route.primary, route.canary)
        });
        let failed = match tick.failed_checks {
            0 => String::new(),
            count => format!("  {count} failed"),
        };
        text += &format!("{:>4}  {}{route}{failed}\n", index + 1, tick.phase);
        for event in &tick.events {
            text += &format!("        {}\n", event.replacen(" Synced ", "  ", 1));
        }
        text += &format!("        waits for {}\n", tick.waiting_for);
    }
    text
}
