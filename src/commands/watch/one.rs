//! One rollout on a screen: the sentence, the way, the checks, the stops, what happened.

use canary::{
    report::{Check, Rollout, State, StepState, quantity},
    trail::{Run, Verdict},
};
use jiff::Timestamp;

use super::{Line, lines::wrapped, list, sign};
use crate::commands::{
    mark::{Paint, is_ascii},
    table::{ago, span},
};

/// Values in a sparkline.
const LAST: usize = 12;
/// Below this width there is no sparkline.
const SPARK_FROM: usize = 76;

/// The screen.
pub fn lines(
    rollout: &Rollout,
    run: Option<&Run>,
    size: (usize, usize),
    now: Timestamp,
    stale: Option<u64>,
) -> Vec<Line> {
    let (width, height) = size;
    let row = &rollout.row;
    let (_, paint) = sign(row.state);
    let head = Line::default()
        .in_colour(format!("{}/{}", row.ns, row.name), Paint::Bold)
        .and("  ")
        .in_colour(row.state.as_str(), paint);
    let mut lines = vec![head.up_to(width.saturating_sub(14)).and(" ").stamp(now, stale)];
    let started = rollout.started_at.map(|at| match rollout.ended_at {
        Some(ended) => format!("   ran {}", span(ended.duration_since(at).as_secs().max(0).unsigned_abs())),
        None => format!("   started {} ago", ago(at, now)),
    });
    lines.push(Line::plain(list::versions(row)).in_colour(started.unwrap_or_default(), Paint::Dim));
    lines.extend(wrapped(&sentence(rollout, now), width).into_iter().map(|text| match row.state {
        State::Failed => Line::default().in_colour(text, Paint::Red),
        _ => Line::plain(text),
    }));
    lines.extend(way(rollout, width));
    lines.extend(checks(rollout, run, width));
    lines.extend(around(rollout, now));
    let room = height.saturating_sub(lines.len() + 1);
    let events = happened(run, room);
    if !events.is_empty() {
        lines.push(Line::default());
        lines.extend(events);
    }
    lines
}

/// The sentence, what is awaited, and when what comes next.
fn sentence(rollout: &Rollout, now: Timestamp) -> String {
    let row = &rollout.row;
    let mut text = row.sentence.clone();
    if let Some(waits) = rollout.waiting_for.as_ref().filter(|waits| !text.contains(*waits) && row.state.is_moving()) {
        text += &format!(" {waits}");
    }
    let rest = |at: Timestamp| at.duration_since(now).as_secs();
    if let Some(next) = row.next_check_at.filter(|_| row.state == State::Progressing) {
        text += &match rest(next) {
            seconds @ 1.. => format!(" Next check in {}.", span(seconds.unsigned_abs())),
            _ => " Next check now.".to_owned(),
        };
    }
    if let Some(eta) = rollout.eta_at.filter(|eta| row.reason.is_none() && rest(*eta) > 0) {
        text += &format!(" Promotion in {} if all checks pass.", span(rest(eta).unsigned_abs()));
    }
    if let Some(pending) = &rollout.pending {
        text += &format!(" Asked for: {} by {}.", pending.action, pending.signed.by);
    }
    text
}

/// The steps, and who gets how much.
fn way(rollout: &Rollout, width: usize) -> Vec<Line> {
    let row = &rollout.row;
    if rollout.steps.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::default()];
    let needed = 9 + 6 * rollout.steps.len() + 8;
    if needed > width {
        lines.push(Line::plain(format!("WEIGHT   step {}/{}  {}%", row.step.n, row.step.of, row.weight.asked)));
    } else {
        let (mut numbers, mut words) = (Line::plain("WEIGHT   "), Line::plain("         "));
        for step in &rollout.steps {
            let (word, paint) = match step.state {
                StepState::Done => ("ok", Some(Paint::Green)),
                StepState::Now => ("now", Some(Paint::Blue)),
                StepState::Failed => ("failed", Some(Paint::Red)),
                StepState::Next => ("-", None),
            };
            let number = match step.state {
                StepState::Now | StepState::Failed => format!("[{}]", step.weight),
                _ => step.weight.to_string(),
            };
            let cell = |text: &str| format!("{text:^6}");
            numbers = numbers.and(cell(&number));
            words = match paint {
                Some(paint) => words.in_colour(cell(word), paint),
                None => words.in_colour(cell(word), Paint::Dim),
            };
        }
        lines.extend([numbers.and(" promote"), words]);
    }
    if row.state != State::Ready && row.state != State::Failed {
        let asked = row.weight.asked;
        let actual = row.weight.actual.filter(|actual| i64::from(*actual) != asked);
        let actual = actual.map(|actual| format!(" (in effect {actual}%)")).unwrap_or_default();
        let bar = list::bar(asked, width.saturating_sub(44).clamp(10, 40));
        lines.push(Line::plain(format!("         canary {asked}%{actual} {bar} primary {}%", 100 - asked)));
    }
    lines
}

fn checks(rollout: &Rollout, run: Option<&Run>, width: usize) -> Vec<Line> {
    if rollout.checks.is_empty() {
        return Vec::new();
    }
    let name = rollout.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0).clamp(5, 24);
    let with_spark = width >= SPARK_FROM;
    let spark_title = if with_spark { format!("{:14}", "LAST 12") } else { String::new() };
    let title = format!("{:name$}  {:10}{:12}{spark_title}FAILED", "CHECK", "CANARY", "LIMIT");
    let mut lines = vec![Line::default(), Line::default().in_colour(title, Paint::Dim)];
    for check in &rollout.checks {
        let value = check.canary.and_then(|sample| sample.value).map(|value| quantity(value, check.unit));
        let bad = check.verdict.is_some_and(|verdict| verdict != Verdict::Passed);
        let shown: String = check.name.chars().take(name).collect();
        let value = format!("{:10}", value.unwrap_or_else(|| if bad { "no data".into() } else { "-".into() }));
        let mut line = Line::plain(format!("{shown:name$}  "));
        line = if bad { line.in_colour(value, Paint::Red) } else { line.and(value) };
        line = line.and(format!("{:12}", limit(check)));
        if with_spark {
            line = line.and(format!("{:14}", spark(check, run)));
        }
        lines.push(line.and(check.failed.to_string()));
    }
    let failed = rollout.row.failed;
    lines.push(Line::default().in_colour(format!("failed checks: {} of {} allowed", failed.n, failed.of), Paint::Dim));
    lines
}

fn limit(check: &Check) -> String {
    let bound = |value: f64| quantity(value, check.unit);
    match (check.min, check.max) {
        (Some(min), Some(max)) => format!("{} to {}", bound(min), bound(max)),
        (Some(min), None) => format!(">= {}", bound(min)),
        (None, Some(max)) => format!("<= {}", bound(max)),
        (None, None) => "none".into(),
    }
}

/// The last values, higher for more; what failed is `^`, what has no value `?`.
fn spark(check: &Check, run: Option<&Run>) -> String {
    let ticks = run.into_iter().flat_map(|run| &run.ticks);
    let values: Vec<_> = ticks.flat_map(|tick| tick.checks.iter().filter(|one| one.metric == check.name)).collect();
    let last = &values[values.len().saturating_sub(LAST)..];
    let known = || last.iter().filter_map(|one| one.value);
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let levels: &[char] =
        if is_ascii() { &['_', '-', '='] } else { &['▁', '▂', '▃', '▄', '▅', '▆', '▇'] };
    let level = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        // A share of one is the last of a handful.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let place = (share * (levels.len() - 1) as f64).round() as usize;
        levels[place.min(levels.len() - 1)]
    };
    let letter = |one: &&canary::trail::Check| match (one.verdict, one.value) {
        (Verdict::Failed, _) => '^',
        (_, None) => '?',
        (_, Some(value)) => level(value),
    };
    last.iter().map(letter).collect()
}

/// The stops and the pods.
fn around(rollout: &Rollout, now: Timestamp) -> Vec<Line> {
    let mut lines = Vec::new();
    if !rollout.gates.is_empty() {
        let gates: Vec<String> = rollout
            .gates
            .iter()
            .map(|gate| match (gate.is_waiting, gate.since) {
                (true, Some(since)) => format!("{} waiting for {}", gate.name, ago(since, now)),
                (true, None) => format!("{} waiting", gate.name),
                (false, _) => format!("{} ({})", gate.name, gate.kind.as_str()),
            })
            .collect();
        lines.extend([Line::default(), Line::plain(format!("GATES  {}", gates.join("   ")))]);
    }
    let pods = [("canary", &rollout.canary), ("primary", &rollout.primary)];
    let pods: Vec<String> = pods
        .into_iter()
        .filter_map(|(role, workload)| {
            workload.as_ref().map(|workload| format!("{role} {}/{} ready", workload.ready, workload.desired))
        })
        .collect();
    if !pods.is_empty() {
        lines.extend([Line::default(), Line::plain(format!("PODS   {}", pods.join("    ")))]);
    }
    lines
}

/// What happened in the run, newest first.
fn happened(run: Option<&Run>, room: usize) -> Vec<Line> {
    let ticks = run.into_iter().flat_map(|run| run.ticks.iter().rev());
    let told = ticks.flat_map(|tick| tick.events.iter().rev().map(move |text| (tick.at, text)));
    let line = |(at, text): (Timestamp, &String)| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Line::default().in_colour(at.strftime("%H:%M:%S").to_string(), Paint::Dim).and(format!("  {text}"))
    };
    told.take(room.min(100)).map(line).collect()
}
