//! Back to the primary, or, when the primary is the broken one, to the canary (B.8).

use api::flagger::Phase;

use super::{Effect, Flow, Outcome, Readiness, Role, Stop, Target, Tick};
use crate::{alerts, events::Event, router::Weights};

impl Tick<'_> {
    /// Traffic to the primary first, then the target to zero. If the first fails the rest waits for the next tick.
    pub(super) fn rollback(&mut self) -> Flow {
        let alert = (self.status.failed_checks >= self.analysis.threshold()).then(|| {
            self.event(self.names.threshold_reached(self.status.failed_checks));
            alerts::threshold_reached(self.status.failed_checks)
        });
        self.effect(Effect::SetWeights(Weights::PRIMARY));
        self.event(self.names.failed());
        self.effect(Effect::PauseScaler);
        self.effect(Effect::ScaleToZero);
        self.fail(0);
        if let Some(alert) = alert {
            self.alert(alert);
        }
        Err(Stop::Done)
    }

    /// The primary does not come up with the new revision: the canary, which was judged good, is the only healthy copy.
    ///
    /// Differs: the original does not look whether it still is.
    pub(super) fn promotion_failed(&mut self, target: &Target, problem: String) -> Flow {
        if target.is_at_zero {
            self.effect(Effect::ScaleUp);
            return self.stop(problem);
        }
        if self.ready(Role::Canary)? != Readiness::Ready {
            return self.stop(problem);
        }
        self.event(Event::warning(problem.clone()));
        self.event(self.names.promotion_failed(&problem));
        self.effect(Effect::SetWeights(Weights { primary: 0, canary: 100, mirrored: false }));
        self.fail(100);
        self.alert(alerts::promotion_failed(&problem));
        Err(Stop::Done)
    }

    /// Ends the run as failed. The revision of the run is not tried again; one that came since will be.
    ///
    /// Differs: the original notes whatever the target holds now, judged or not, and so loses revisions (B.8 defect 1).
    fn fail(&mut self, weight: i64) {
        self.post_rollout_hooks(Phase::Failed);
        self.reset_counters();
        self.status.canary_weight = weight;
        self.enter(Phase::Failed);
        self.write_status();
        self.outcome = Some(Outcome::Failed);
    }
}
