//! What a rollout says about itself: the texts of Kubernetes events. Source: reference progressive-delivery.md, A.10.

use api::flagger::{Canary, Phase};

/// Reason of every event.
pub const REASON: &str = "Synced";
/// Source component of every event, and field manager of every object.
pub const SOURCE: &str = "flagger";

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No.
    Normal,
    /// Yes.
    Warning,
}

impl Kind {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: Kind,
    /// For people.
    pub text: String,
    /// The phase that it announces, if it does; the status may show it only later.
    pub phase: Option<Phase>,
}

impl Event {
    /// All is well.
    pub fn normal(text: impl Into<String>) -> Self {
        Self { kind: Kind::Normal, text: text.into(), phase: None }
    }

    /// Somebody should look.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { kind: Kind::Warning, text: text.into(), phase: None }
    }

    /// The same, as the announcement of a phase.
    fn of(self, phase: Phase) -> Self {
        Self { phase: Some(phase), ..self }
    }

    /// The same, told in that phase unless it announces another.
    pub(crate) fn or_of(self, phase: Phase) -> Self {
        Self { phase: self.phase.or(Some(phase)), ..self }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {REASON} {}", self.kind.as_str(), self.text)
    }
}

/// The names that events of one Canary use, and the events.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    canary: Qualified<'a>,
    target: Qualified<'a>,
    primary: Qualified<'a>,
}

/// `NAME.NAMESPACE` of an object.
#[derive(Clone, Copy, Debug)]
struct Qualified<'a> {
    name: &'a str,
    suffix: &'static str,
    namespace: &'a str,
}

impl std::fmt::Display for Qualified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}.{}", self.name, self.suffix, self.namespace)
    }
}

#[allow(missing_docs, reason = "each method is named as its text reads")]
impl<'a> Names<'a> {
    /// The names of that Canary's objects.
    pub fn of(canary: &'a Canary) -> Self {
        let (target, namespace) = (canary.spec.target_ref.name.as_str(), canary.namespace());
        Self {
            canary: Qualified { name: canary.name(), suffix: "", namespace },
            target: Qualified { name: target, suffix: "", namespace },
            primary: Qualified { name: target, suffix: "-primary", namespace },
        }
    }

    // What people ask for.

    pub fn paused(&self, text: &str) -> Event {
        Event::normal(format!("Rollout of {} paused {text}", self.canary))
    }

    pub fn resumed(&self) -> Event {
        Event::normal(format!("Rollout of {} resumed", self.canary))
    }

    pub fn request_accepted(&self, text: &str) -> Event {
        Event::normal(format!("Request accepted: {text}"))
    }

    pub fn request_refused(&self, text: &str, why: &str) -> Event {
        Event::warning(format!("Request refused, {why}: {text}"))
    }

    // Before a run.

    pub fn suspended(&self) -> Event {
        Event::normal("skipping canary run as object is suspended")
    }

    pub fn providers_available(&self) -> Event {
        Event::normal("all the metrics providers are available!")
    }

    pub fn providers_unavailable(&self, problem: &str) -> Event {
        let problem = problem.replacen("Metric template", "metric template", 1);
        Event::warning(format!("Error checking metric providers: {problem}"))
    }

    pub fn initialized(&self) -> Event {
        Event::normal(format!("Initialization done! {}", self.canary)).of(Phase::Initialized)
    }

    // A run begins.

    pub fn new_revision(&self) -> Event {
        Event::normal(format!("New revision detected! Scaling up {}", self.target)).of(Phase::Progressing)
    }

    pub fn restarting(&self) -> Event {
        Event::normal(format!("New revision detected! Restarting analysis for {}", self.target))
    }

    pub fn reverted(&self) -> Event {
        Event::normal(format!("Promoted revision restored! Scaling down {}", self.target))
    }

    pub fn starting(&self) -> Event {
        Event::normal(format!("Starting canary analysis for {}", self.target))
    }

    // Gates and hooks.

    pub fn waiting(&self, what: &str, hook: &str) -> Event {
        Event::warning(format!("Halt {} advancement waiting for {what} {hook}", self.canary))
    }

    pub fn gate_passed(&self, gate: &str, hook: &str) -> Event {
        Event::normal(format!("{gate} check {hook} passed"))
    }

    pub fn hook_passed(&self, kind: &str, hook: &str) -> Event {
        Event::normal(format!("{kind} check {hook} passed"))
    }

    pub fn hook_failed(&self, check: &str, hook: &str, problem: &str) -> Event {
        Event::warning(format!("Halt {} advancement {check} check {hook} failed {problem}", self.canary))
    }

    pub fn post_rollout_failed(&self, hook: &str, problem: &str) -> Event {
        Event::warning(format!("Post-rollout hook {hook} failed {problem}"))
    }

    pub fn halted(&self, why: &str) -> Event {
        Event::warning(format!("Halt {} advancement {why}", self.canary))
    }

    pub fn rollback_hook_passed(&self, hook: &str) -> Event {
        Event::warning(format!("Rollback check {hook} passed"))
    }

    pub fn rollback_hook_silent(&self, hook: &str) -> Event {
        Event::normal(format!("Rollback hook {hook} not signaling a rollback"))
    }

    // Steps.

    pub fn advance_canary(&self, weight: u32) -> Event {
        Event::normal(format!("Advance {} canary weight {weight}", self.canary))
    }

    pub fn put_back(&self, found: u32, weight: u32) -> Event {
        let canary = self.canary;
        Event::warning(format!("Route of {canary} sent {found}% to the canary, put back to its step of {weight}%"))
    }

    pub fn advance_iteration(&self, iteration: i64, total: i64) -> Event {
        Event::normal(format!("Advance {} canary iteration {iteration}/{total}", self.canary))
    }

    pub fn advance_primary(&self, weight: u32) -> Event {
        Event::normal(format!("Advance {} primary weight {weight}", self.canary))
    }

    pub fn all_to_canary(&self, was_mirrored: bool) -> Event {
        Event::normal(match was_mirrored {
            true => "Stop traffic mirroring and route all traffic to canary",
            false => "Routing all traffic to canary",
        })
    }

    pub fn all_to_primary(&self) -> Event {
        Event::normal("Routing all traffic to primary")
    }

    pub fn mirror_unsupported(&self, provider: &str) -> Event {
        Event::warning(format!("Traffic mirroring is not supported when using the {provider} provider"))
    }

    pub fn tests_unsupported(&self) -> Event {
        Event::warning("A/B testing is not supported when using the kubernetes provider")
    }

    pub fn weights_unsupported(&self) -> Event {
        Event::warning("Progressive traffic is not supported when using the kubernetes provider")
    }

    pub fn iterations_set(&self, iterations: i64) -> Event {
        Event::warning(format!("Setting canaryAnalysis.iterations: {iterations}"))
    }

    // The end.

    pub fn copying(&self) -> Event {
        Event::normal(format!("Copying {} template spec to {}", self.target, self.primary))
    }

    pub fn promoted(&self) -> Event {
        Event::normal(format!("Promotion completed! Scaling down {}", self.target)).of(Phase::Succeeded)
    }

    pub fn promoted_unjudged(&self) -> Event {
        Event::normal(format!("Promotion completed! Canary analysis was skipped for {}", self.target))
            .of(Phase::Succeeded)
    }

    pub fn promotion_failed(&self, problem: &str) -> Event {
        Event::warning(format!("Promotion of {} failed, primary not ready: {problem}", self.target))
    }

    pub fn manual_rollback(&self) -> Event {
        Event::warning(format!("Rolling back {} manual webhook invoked", self.canary))
    }

    pub fn threshold_reached(&self, failed_checks: i64) -> Event {
        Event::warning(format!("Rolling back {} failed checks threshold reached {failed_checks}", self.canary))
    }

    pub fn failed(&self) -> Event {
        Event::warning(format!("Canary failed! Scaling down {}", self.canary)).of(Phase::Failed)
    }

    pub fn terminating(&self) -> Event {
        Event::normal(format!("Terminating canary {}", self.canary))
    }

    pub fn terminated(&self) -> Event {
        Event::normal(format!("Terminated canary {}", self.canary))
    }
}
