//! `slipway canary simulate`: a Canary against a script or against recorded metrics, tick by tick.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use api::{flagger::Phase, manifest::Fields};
use canary::{
    metrics::{self, Observer, Scene},
    recorded::{self, Span},
    simulate::{self, Recording, Scenario, Tick},
    validate::{References, validate},
    world::Options,
};
use jiff::Timestamp;
use reconcile::{Endpoint, Http, clock};

use super::Manifests;
use crate::{
    args::{Output, canary::Simulate},
    commands::{Exit, print, print_json, read, wait_for},
};

/// Runs the verb. A rollout that ends in `Failed` is the honest negative answer.
pub fn run(args: &Simulate) -> anyhow::Result<Exit> {
    let (ticks, interval) = play(args).map_err(|error| super::wrong(args.output, error))?;
    match args.output {
        Output::Json => print_json(&serde_json::json!({ "ticks": ticks }))?,
        Output::Table => print(&format!("{}{}\n", table(&ticks), sum(&ticks, interval))),
    }
    let has_failed = ticks.last().is_some_and(|tick| tick.phase == Phase::Failed);
    Ok(if has_failed { Exit::No } else { Exit::Done })
}

/// The ticks, and how far they are apart.
fn play(args: &Simulate) -> anyhow::Result<(Vec<Tick>, Duration)> {
    let manifests = super::manifests(&args.files)?;
    let references = match args.no_cross_namespace_refs {
        true => References::OwnNamespace,
        false => References::Anywhere,
    };
    validate(&manifests.canary, references).map_err(|problem| manifests.refused("spec", problem))?;
    let options = Options { router: super::options(&args.router), workload: args.workloads.clone().options() };
    let others = manifests.beside();
    let interval = manifests.canary.analysis().interval(api::flagger::MIN_INTERVAL);
    if let Some(file) = &args.scenario {
        let (text, script) = parsed(file)?;
        let read = Scenario::parse(&script);
        let read = read.and_then(|scenario| scenario.check(&manifests.canary).map(|()| scenario));
        let scenario = read.map_err(|error| {
            let place = error.place();
            // A bare list is the steps.
            let place = place.strip_prefix("steps").filter(|_| script.is_array()).unwrap_or(place);
            let line = Fields::of(&text).line(place).unwrap_or(1);
            anyhow::anyhow!("{file}, line {line}: {error}")
        })?;
        return Ok((simulate::run(manifests.canary, others, &scenario, options), interval));
    }
    let (recording, span) = match (&args.samples, &args.prometheus) {
        (Some(file), _) => {
            let recording =
                simulate::recording(&parsed(file)?.1).map_err(|problem| anyhow::anyhow!("{file}: {problem}"))?;
            let span =
                given_span(args)?.or_else(|| whole(&recording)).with_context(|| format!("{file}: no samples"))?;
            (recording, span)
        }
        (None, Some(address)) => {
            let span = given_span(args)?.context("--prometheus needs --from TIME or --since DURATION")?;
            (wait_for(record(args, &manifests, address, span))?, span)
        }
        (None, None) => bail!("give --scenario FILE, --samples FILE, or --prometheus URL"),
    };
    let ticks = span.1.duration_since(span.0).as_secs().unsigned_abs() / interval.as_secs().max(1);
    ensure!(
        ticks <= simulate::MOST_TICKS,
        "from {} to {} are {ticks} ticks; at most {} are played",
        span.0,
        span.1,
        simulate::MOST_TICKS
    );
    Ok((simulate::replay(manifests.canary, others, &recording, span, options), interval))
}

/// The text of a file, and what it says.
fn parsed(file: &str) -> anyhow::Result<(String, serde_json::Value)> {
    let text = read(file)?;
    let parsed =
        api::manifest::parse(&text).map_err(|(line, problem)| anyhow::anyhow!("{file}, line {line}: {problem}"))?;
    Ok((text, parsed))
}

/// The span that the command line names.
fn given_span(args: &Simulate) -> anyhow::Result<Option<(Timestamp, Timestamp)>> {
    let to = args.to.unwrap_or_else(clock::now);
    let from = match (args.from, args.since) {
        (Some(from), _) => Some(from),
        (None, Some(since)) => Some(to.checked_sub(since.get()).context("--since begins before time does")?),
        (None, None) => None,
    };
    match from {
        Some(from) if from > to => bail!("--from {from} is after --to {to}"),
        from => Ok(from.map(|from| (from, to))),
    }
}

/// From the first sample to the last.
fn whole(recording: &Recording) -> Option<(Timestamp, Timestamp)> {
    let times = || recording.values().flatten().map(|(at, _)| *at);
    Some((times().min()?, times().max()?))
}

/// Asks Prometheus for what every metric of the Canary was.
async fn record(
    args: &Simulate,
    manifests: &Manifests,
    address: &str,
    (from, to): (Timestamp, Timestamp),
) -> anyhow::Result<Recording> {
    let canary = &manifests.canary;
    let (templates, others) = (manifests.templates()?, manifests.beside());
    let observer = Observer::of_canary(canary, &args.router.mesh_provider);
    let scene = Scene { observer, revision: metrics::revision(canary, &others) };
    let queries = metrics::queries(canary, scene, &args.router.mesh_provider, &templates)
        .map_err(|unaskable| manifests.unaskable(unaskable))?;
    let span = Span { from, to, step: canary.analysis().interval(api::flagger::MIN_INTERVAL) };
    let http = Http::new("slipway");
    let mut recording = Recording::new();
    for query in queries {
        let text = if args.primary { recorded::of_primary(canary, &query.query) } else { query.query };
        let request = recorded::request(address, &text, span).map_err(anyhow::Error::msg)?;
        let answer = http.send(request, &Endpoint::default()).await.with_context(|| format!("ask {address}"))?;
        let samples = recorded::samples(&answer).map_err(|problem| anyhow::anyhow!("{}: {problem}", query.metric))?;
        recording.insert(query.metric, samples);
    }
    Ok(recording)
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

/// How the last rollout ends, and after what time.
fn sum(ticks: &[Tick], interval: Duration) -> String {
    use Phase::{Failed, Finalising, Progressing, Promoting, Succeeded, Waiting, WaitingPromotion};
    let moves = |tick: &Tick| matches!(tick.phase, Waiting | Progressing | WaitingPromotion | Promoting | Finalising);
    let begins = |index: &usize| moves(&ticks[*index]) && !index.checked_sub(1).is_some_and(|last| moves(&ticks[last]));
    let Some(begun) = (0..ticks.len()).rev().find(begins) else {
        return "Nothing would roll out.".into();
    };
    let run = &ticks[begun..];
    let took = run.iter().take_while(|tick| moves(tick)).count();
    let end = &run[took.min(run.len() - 1)];
    let ticks = u32::try_from(took.min(run.len() - 1)).unwrap_or(u32::MAX);
    let time = api::Duration(interval * ticks);
    match end.phase {
        Succeeded => format!("Would promote {time} after the rollout began."),
        Failed => format!("Would roll back {time} after the rollout began."),
        phase => format!("Would be {phase} {time} after the rollout began."),
    }
}
