//! What happens, printed while it happens: time, stage, what, why.

use std::collections::BTreeMap;

use reconcile::{Event, Severity};

/// Prints events once each, with the time since the demo began.
#[derive(Debug)]
pub struct Timeline {
    start: jiff::Timestamp,
    printed: BTreeMap<String, u64>,
}

impl Timeline {
    /// A timeline that begins now.
    pub fn new(start: jiff::Timestamp) -> Self {
        Self { start, printed: BTreeMap::new() }
    }

    /// Prints the events that were not printed yet.
    pub fn print(&mut self, events: &[Event]) {
        for event in events.iter().filter(|event| event.severity != Severity::Trace) {
            let about = &event.involved_object.reference;
            let key = format!("{about}\n{}\n{}", event.reason, event.message);
            if self.printed.insert(key, event.count).is_some_and(|count| count >= event.count) {
                continue;
            }
            let message = event.message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
            let mark = if event.severity == Severity::Error { "!" } else { " " };
            self.line(event.timestamp, stage(&about.kind), mark, &message.join(" | "));
        }
    }

    /// Prints a line about what the demo itself does.
    pub fn note(&self, now: jiff::Timestamp, what: &str) {
        self.line(now, "demo", ">", what);
    }

    fn line(&self, at: jiff::Timestamp, stage: &str, mark: &str, what: &str) {
        let seconds = at.duration_since(self.start).as_secs_f64().max(0.0);
        super::say(&format!("{seconds:>7.2}s  {stage:<12} {mark} {what}"));
    }
}

/// The stage that deals with a kind.
fn stage(kind: &str) -> &str {
    match kind {
        "ImageRepository" => "scanner",
        "ImagePolicy" => "policy",
        "ImageUpdateAutomation" => "updater",
        "GitRepository" | "Kustomization" => "delivery",
        "Canary" => "canary",
        "Alert" | "Provider" | "Receiver" => "notification",
        _ => "local",
    }
}
