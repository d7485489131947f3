//! What a tick comes to: one more question, or the status and the effects that it decides.

use std::time::Duration;

use api::flagger::{CanaryStatus, Phase};
use jiff::Timestamp;

use super::Question;
use crate::{alerts::Alert, events::Event, router::Weights};

/// What the controller's own options say about a tick.
#[derive(Clone, Debug)]
pub struct Options {
    /// Provider of Canaries that name none (`--mesh-provider`).
    pub mesh_provider: String,
    /// Shortest interval between ticks (`--min-analysis-interval`).
    pub min_interval: Duration,
    /// Name of the cluster, shown in alerts.
    pub cluster: String,
    /// When the last tick ran, as far as the shell remembers; a restart forgets it, the status' time stands in.
    pub last_tick: Option<Timestamp>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mesh_provider: "istio".into(),
            min_interval: api::flagger::MIN_INTERVAL,
            cluster: String::new(),
            last_tick: None,
        }
    }
}

/// One more fact is needed, or the tick is decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Answer this and call `step` again with the answer added.
    Ask(Question),
    /// Perform this.
    Done(Box<Decision>),
}

/// What a tick comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status as [`Effect::WriteStatus`] writes it.
    pub status: CanaryStatus,
    /// What to do, in this order; see the module's documentation.
    pub effects: Vec<Effect>,
    /// When to look again, if nothing happens before.
    pub next: Duration,
    /// How a run ended, if it did.
    pub outcome: Option<Outcome>,
    /// What would let the rollout go on, in one sentence for people; empty when nothing is awaited.
    pub waiting_for: String,
    /// Whether the next step waits for a whole interval from now: not if the tick came early, or stopped at a problem that
    /// may be gone in a moment.
    pub is_full: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Judged good and promoted.
    Promoted,
    /// Promoted without being judged.
    Skipped,
    /// Rolled back.
    Failed,
}

/// One act upon the world. Doing it twice is the same as doing it once.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send requests by these shares.
    SetWeights(Weights),
    /// Give the target replicas, unless it has some.
    ScaleUp,
    /// Take the target's replicas.
    ScaleToZero,
    /// Copy the target's template and configuration to the primary, unless they are equal.
    CopyToPrimary,
    /// Bring the primary's scaler in line with the target's.
    UpdateScaler,
    /// Keep the target's scaler from scaling it up.
    PauseScaler,
    /// Let the target's scaler work again.
    ResumeScaler,
    /// Write [`Decision::status`].
    WriteStatus,
    /// Call the post-rollout hooks in their order until one fails, reporting that phase. Their answers change nothing but
    /// events.
    PostRollout(Phase),
    /// Record an event.
    Event(Event),
    /// Tell people.
    Alert(Alert),
}
