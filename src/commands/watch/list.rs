//! All rollouts on a screen: a line for each, and its sentence below where somebody or something is awaited.

use canary::report::{Row, State};
use jiff::Timestamp;

use super::{Line, sign};
use crate::commands::{
    mark::{Paint, is_ascii},
    table::ago,
};

/// Below this width or height there is one line for each rollout: its sentence.
const NARROW: usize = 60;
const LOW: usize = 15;
/// Below these widths FAILED and the bar are left out.
const FAILED_FROM: usize = 76;
const BAR_FROM: usize = 70;

/// The screen.
pub fn lines(rows: &[Row], place: &str, size: (usize, usize), now: Timestamp, stale: Option<u64>) -> Vec<Line> {
    let (width, height) = size;
    let mut lines = vec![head(rows, place, width, now, stale)];
    if rows.is_empty() {
        lines.extend([Line::default(), Line::plain("No rollouts here.")]);
        return lines;
    }
    if width < NARROW || height < LOW {
        lines.extend(rows.iter().map(|row| {
            let (sign, paint) = sign(row.state);
            Line::default().in_colour(sign, paint).and(format!(" {}/{}: {}", row.ns, row.name, row.sentence))
        }));
    } else {
        lines.extend(table(rows, width, now));
    }
    let all = lines.len();
    if all > height {
        lines.truncate(height.saturating_sub(1));
        lines.push(Line::default().in_colour(format!("{} more lines", all - lines.len()), Paint::Dim));
    }
    lines
}

fn head(rows: &[Row], place: &str, width: usize, now: Timestamp, stale: Option<u64>) -> Line {
    let count = |wanted: fn(&Row) -> bool| rows.iter().filter(|row| wanted(row)).count();
    let mut line = Line::default().in_colour("SLIPWAY", Paint::Bold).and(format!("  {place}   "));
    for (number, word, paint) in [
        (count(|row| row.state == State::Failed), "failed", Paint::Red),
        (count(|row| row.state == State::Waiting), "waiting", Paint::Yellow),
        (count(|row| row.state == State::Paused), "paused", Paint::Magenta),
        (count(|row| row.state.is_moving()), "moving", Paint::Blue),
    ] {
        if number > 0 {
            line = line.in_colour(format!("{number} {word}"), paint).and("  ");
        }
    }
    line.up_to(width.saturating_sub(14)).and(" ").stamp(now, stale)
}

impl Line {
    /// The time, or how old what is shown is.
    pub fn stamp(self, now: Timestamp, stale: Option<u64>) -> Self {
        match stale {
            Some(age) => self.in_colour(format!("STALE {:02}:{:02}", age / 60, age % 60), Paint::Yellow),
            None => self.in_colour(format!("live {}", now.strftime("%H:%M:%S")), Paint::Dim),
        }
    }
}

fn table(rows: &[Row], width: usize, now: Timestamp) -> Vec<Line> {
    let longest = |text: fn(&Row) -> usize, title: usize| rows.iter().map(text).max().unwrap_or(0).max(title);
    let most = (width / 4).max(10);
    let namespace = longest(|row| row.ns.chars().count(), 9).min(most);
    let name = longest(|row| row.name.chars().count(), 7).min(most);
    let (with_bar, with_failed) = (width >= BAR_FROM, width >= FAILED_FROM);
    let cell = |text: &str, width: usize| {
        let text: String = text.chars().take(width).collect();
        format!("{text:width$}  ")
    };
    let mut title = format!(
        "   {}{}{}{}",
        cell("NAMESPACE", namespace),
        cell("ROLLOUT", name),
        cell("STATE", 11),
        cell("WEIGHT", 6)
    );
    if with_bar {
        title.push_str(&cell("", 10));
    }
    if with_failed {
        title.push_str(&cell("FAILED", 6));
    }
    let mut lines = vec![Line::default(), Line::default().in_colour(title + "VERSION", Paint::Dim)];
    for row in rows {
        let (sign, paint) = sign(row.state);
        let moves = row.state != State::Ready && row.state != State::Suspended;
        let weight = if moves { format!("{:>4}%", row.weight.asked) } else { "    -".into() };
        let mut line = Line::default()
            .in_colour(sign, paint)
            .and(format!("  {}", cell(&row.ns, namespace)))
            .in_colour(cell(&row.name, name), Paint::Bold)
            .in_colour(cell(row.state.as_str(), 11), paint)
            .and(cell(&weight, 6));
        if with_bar {
            line = line.and(if moves { bar(row.weight.asked, 10) + "  " } else { cell("", 10) });
        }
        if with_failed {
            let failed = if moves { format!("{}/{}", row.failed.n, row.failed.of) } else { "-".into() };
            line = line.and(cell(&failed, 6));
        }
        let since = row.since.map(|since| format!("  {}", ago(since, now))).unwrap_or_default();
        lines.push(line.and(versions(row)).in_colour(since, Paint::Dim));
        if moves {
            lines.push(Line::default().in_colour(format!("   {}", row.sentence), Paint::Dim));
        }
    }
    lines
}

/// `a > b`: going to b; `a < b`: returned to a.
pub fn versions(row: &Row) -> String {
    let to = row.to.as_deref().unwrap_or("-");
    match &row.from {
        Some(from) if row.state == State::Failed => format!("{from} < {to}"),
        Some(from) => format!("{from} > {to}"),
        None => to.to_owned(),
    }
}

/// A share of a hundred.
pub fn bar(share: i64, width: usize) -> String {
    let (full, empty) = if is_ascii() { ("#", ".") } else { ("█", "░") };
    let share = usize::try_from(share.clamp(0, 100)).unwrap_or(0);
    let filled = (share * width + 50) / 100;
    full.repeat(filled) + &empty.repeat(width - filled)
}

/// A rollout in one line for pipes.
pub fn plain(row: &Row) -> String {
    let Row { ns, name, state, sentence, .. } = row;
    let step = if row.step.of > 0 { format!("  {}/{}", row.step.n, row.step.of) } else { String::new() };
    format!("{ns}/{name}  {}  {}%{step}  {}  {sentence}", state.as_str(), row.weight.asked, versions(row))
}
