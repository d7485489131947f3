//! From a judged revision to the primary, and the way past the judge (B.4, B.5).

use api::flagger::Phase;

use super::{Effect, Flow, Outcome, Part, Readiness, Role, Stop, Target, Tick};
use crate::{alerts, router::Weights};

impl Tick<'_> {
    /// The new revision is good: the primary gets it. The phase is written first; see the module's documentation.
    pub(super) fn promote(&mut self) -> Flow {
        let before = self.status.phase;
        self.enter(Phase::Promoting);
        self.write_status();
        self.effect(Effect::CopyToPrimary);
        self.event(self.names.copying().or_of(before));
        Err(Stop::Done)
    }

    /// The primary runs the new revision and is ready: traffic goes back to it, at once or step by step.
    pub(super) fn shift(&mut self, target: &Target, weights: Weights) -> Flow {
        if !target.is_applied_to_primary {
            return self.copy_again(target);
        }
        self.effect(Effect::UpdateScaler);
        if self.is_kubernetes() {
            return self.shifted();
        }
        let step = self.analysis.step_weight_promotion.unwrap_or_default();
        let Ok(step @ 1..) = u32::try_from(step) else {
            self.effect(Effect::SetWeights(Weights::PRIMARY));
            self.event(self.names.all_to_primary());
            return self.shifted();
        };
        let primary = weights.primary.saturating_add(step).min(100);
        self.effect(Effect::SetWeights(Weights { primary, canary: 100 - primary, mirrored: false }));
        self.event(self.names.advance_primary(primary));
        if primary == 100 {
            return self.shifted();
        }
        self.status.canary_weight = i64::from(100 - primary);
        self.write_status();
        Err(Stop::Done)
    }

    /// A promotion that was cut short before the copy was made. What was not judged is never copied.
    fn copy_again(&mut self, target: &Target) -> Flow {
        if target.revision != self.status.last_applied_spec || target.configs != self.status.tracked_configs {
            return self.restart(target);
        }
        self.effect(Effect::CopyToPrimary);
        self.event(self.names.copying());
        Err(Stop::Done)
    }

    fn shifted(&mut self) -> Flow {
        (self.status.canary_weight, self.status.iterations) = (0, 0);
        self.enter(Phase::Finalising);
        Err(Stop::Done)
    }

    /// All traffic is on the primary: the target is no longer needed.
    pub(super) fn finalise(&mut self, weights: Weights) -> Flow {
        self.return_traffic(weights);
        self.effect(Effect::PauseScaler);
        self.effect(Effect::ScaleToZero);
        self.succeeded(Outcome::Promoted);
        self.alert(alerts::promoted());
        Err(Stop::Done)
    }

    /// Promotes without judging. The target's readiness was awaited.
    ///
    /// Differs: the original does not await the primary's, and takes the target's pods away before there are others.
    pub(super) fn skip(&mut self, target: &Target) -> Flow {
        if self.is_new(target) {
            return self.restart(target);
        }
        if target.is_primary_outdated {
            self.event(self.names.copying());
        }
        self.ensure(Part::Promotion)?;
        match self.ready(Role::Primary)? {
            Readiness::Ready => {}
            // Nobody judged the target, so it gets no traffic in the primary's place.
            Readiness::Waiting(problem) | Readiness::Failed(problem) => return self.stop(problem),
        }
        if !target.is_primary_outdated && matches!(self.status.phase, Phase::Promoting | Phase::Finalising) {
            // The original copies once more what the promotion has copied, and says so.
            self.event(self.names.copying());
        }
        self.effect(Effect::SetWeights(Weights::PRIMARY));
        self.effect(Effect::UpdateScaler);
        self.effect(Effect::PauseScaler);
        self.effect(Effect::ScaleToZero);
        self.succeeded(Outcome::Skipped);
        self.alert(alerts::skipped());
        Err(Stop::Done)
    }

    fn succeeded(&mut self, outcome: Outcome) {
        self.post_rollout_hooks(Phase::Succeeded);
        (self.status.canary_weight, self.status.iterations) = (0, 0);
        self.forget_marks();
        self.status.last_promoted_spec = self.status.last_applied_spec.clone();
        self.enter(Phase::Succeeded);
        self.event(match outcome {
            Outcome::Skipped => self.names.promoted_unjudged(),
            _ => self.names.promoted(),
        });
        self.write_status();
        self.outcome = Some(outcome);
    }
}
