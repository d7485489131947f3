//! How a run begins, begins again, and is called off (B.3 steps 13 to 17).

use api::flagger::{HookType, Phase};

use super::{Effect, Flow, Readiness, Role, Stop, Target, Tick};
use crate::{alerts, events::Event, router::Weights, workload::Kind};

impl Tick<'_> {
    /// Whether the target or its configuration differs from what was last seen. Going back to the promoted revision is not
    /// new, as long as the primary runs it. Source: B.2.
    pub(super) fn is_new(&self, target: &Target) -> bool {
        let status = &self.status;
        let is_seen = match target.revision {
            _ if status.last_applied_spec.is_empty() => false,
            ref revision if *revision == status.last_applied_spec => true,
            ref revision => *revision == status.last_promoted_spec && target.equals_primary,
        };
        !is_seen || target.configs != status.tracked_configs
    }

    /// Whether the target was put back to the promoted revision in the middle of a run.
    pub(super) fn is_reverted(&self, target: &Target) -> bool {
        let status = &self.status;
        target.revision == status.last_promoted_spec
            && status.last_applied_spec != status.last_promoted_spec
            && target.configs == status.tracked_configs
    }

    /// Whether the primary runs this run's revision, because it was promoted unjudged and the tick was cut short, or because
    /// its promotion failed and is tried again. There is nothing left to judge it against.
    pub(super) fn is_promoted_already(&self, target: &Target) -> bool {
        let is_copy = !matches!(Kind::of(self.canary), Kind::Service);
        is_copy && target.is_applied_to_primary && self.status.last_applied_spec != self.status.last_promoted_spec
    }

    /// Whether all traffic is on the target because a promotion failed, and the target is the promoted revision again.
    pub(super) fn is_recovering(&self, target: &Target) -> bool {
        self.status.phase == Phase::Failed && self.status.canary_weight == 100 && self.is_reverted(target)
    }

    /// Goes on only if the primary is ready, unless nothing is judged anyway.
    pub(super) fn primary_ready(&mut self, target: &Target) -> Flow {
        if self.canary.skip_analysis() {
            return Ok(());
        }
        match self.ready(Role::Primary)? {
            Readiness::Ready => Ok(()),
            Readiness::Waiting(problem) => self.stop(problem),
            Readiness::Failed(problem) => match self.status.phase {
                Phase::Promoting | Phase::Finalising => self.promotion_failed(target, problem),
                Phase::Progressing | Phase::WaitingPromotion => {
                    self.event(Event::warning(problem));
                    self.rollback()
                }
                // Differs: no run is under way, so there is nothing to roll back. The original does, and thereby loses the
                // revision, or, after a failed promotion, takes the traffic away from the only healthy copy.
                _ => self.stop(problem),
            },
        }
    }

    /// Goes on only if the target is ready.
    pub(super) fn canary_ready(&mut self, target: &Target) -> Flow {
        if self.status.phase == Phase::Finalising {
            // Differs: all traffic is on the primary, so how the target fares no longer matters; the original waits for it.
            return Ok(());
        }
        if target.is_at_zero && self.status.phase != Phase::Promoting {
            // A rollback was cut short, or somebody took the pods away. For the original a target without pods is ready.
            if self.status.failed_checks >= self.analysis.threshold() {
                return self.rollback();
            }
            self.effect(Effect::ScaleUp);
            return self.hold("the target's pods");
        }
        match self.ready(Role::Canary)? {
            Readiness::Ready => Ok(()),
            Readiness::Waiting(problem) => self.stop(problem),
            // Differs: once the primary runs the new revision and is ready, traffic is safest there; the original rolls back.
            Readiness::Failed(_) if self.status.phase == Phase::Promoting && target.is_applied_to_primary => Ok(()),
            Readiness::Failed(problem) => {
                // Differs: the original sends no alert.
                self.event(Event::warning(problem.clone()));
                self.alert(alerts::deadline_exceeded(&problem));
                self.rollback()
            }
        }
    }

    /// Asks the gates and starts the run.
    pub(super) fn begin(&mut self, target: &Target, weights: Weights) -> Flow {
        if self.status.phase == Phase::Waiting {
            if !self.is_new(target) {
                return self.call_off(target, weights);
            }
            // Differs: the original asks rollback hooks only once the run has begun (B.8 defect 6).
            if self.wants_rollback(Phase::Waiting)? {
                self.event(self.names.manual_rollback());
                self.alert(alerts::manual_rollback());
                self.note(target);
                return self.rollback();
            }
        }
        self.confirm_rollout()?;
        if self.retries() {
            self.accept();
        }
        self.return_traffic(weights);
        self.effect(Effect::ResumeScaler);
        self.effect(Effect::ScaleUp);
        self.note(target);
        self.enter(Phase::Progressing);
        self.event(self.names.new_revision());
        self.write_status();
        let alert = alerts::new_revision(self.canary);
        self.alert(alert);
        Err(Stop::Done)
    }

    /// After a failed promotion all traffic is on the target; the primary, which was just found ready, takes it back.
    pub(super) fn return_traffic(&mut self, weights: Weights) {
        if weights.canary > 0 && !self.is_kubernetes() {
            self.effect(Effect::SetWeights(Weights::PRIMARY));
        }
    }

    /// Waits until every confirm-rollout hook agrees.
    fn confirm_rollout(&mut self) -> Flow {
        let phase = self.status.phase;
        let gates = self.hooks(HookType::ConfirmRollout);
        if !gates.is_empty() && self.is_let_through() {
            return Ok(());
        }
        for (index, name) in gates {
            if self.hook(index, phase)?.is_ok() {
                self.event(self.names.gate_passed("Confirm-rollout", &name));
                continue;
            }
            if phase != Phase::Waiting {
                self.enter(Phase::Waiting);
                self.event(self.names.waiting("approval", &name));
                self.write_status();
                if !self.analysis.webhooks[index].mute_alert {
                    self.alert(alerts::waiting_for_rollout());
                }
            }
            return self.hold(format!("hook {name} to approve the rollout"));
        }
        Ok(())
    }

    /// Whether one of the rollback hooks asks for a rollback.
    pub(super) fn wants_rollback(&mut self, phase: Phase) -> Flow<bool> {
        for (index, name) in self.hooks(HookType::Rollback) {
            if self.hook(index, phase)?.is_ok() {
                self.event(self.names.rollback_hook_passed(&name));
                return Ok(true);
            }
            self.event(self.names.rollback_hook_silent(&name));
        }
        Ok(false)
    }

    /// A newer revision came in the middle of a run: traffic goes back, and the run begins again.
    pub(super) fn restart(&mut self, target: &Target) -> Flow {
        self.effect(Effect::SetWeights(Weights::PRIMARY));
        self.note(target);
        self.enter(Phase::Progressing);
        self.event(self.names.restarting());
        Err(Stop::Done)
    }

    /// The promoted revision came back in the middle of a run: there is nothing left to judge.
    ///
    /// Differs: the original goes on, promotes the old revision under the new one's name, and starts again (B.8 defect 2).
    pub(super) fn cancel(&mut self) -> Flow {
        self.effect(Effect::SetWeights(Weights::PRIMARY));
        self.event(self.names.reverted());
        self.effect(Effect::PauseScaler);
        self.effect(Effect::ScaleToZero);
        self.post_rollout_hooks(Phase::Succeeded);
        self.status.last_applied_spec = self.status.last_promoted_spec.clone();
        self.reset_counters();
        self.enter(Phase::Succeeded);
        Err(Stop::Done)
    }

    /// The primary that did not come up gets the revision that it had before.
    ///
    /// Differs: the original leaves all traffic on the target.
    pub(super) fn recover(&mut self, target: &Target) -> Flow {
        self.note(target);
        self.status.canary_weight = 100;
        self.promote()
    }

    /// The revision went away while a gate held it back: everything is as it was before.
    fn call_off(&mut self, target: &Target, weights: Weights) -> Flow {
        let is_promoted = target.revision == self.status.last_promoted_spec && target.equals_primary;
        self.event(self.names.reverted());
        self.return_traffic(weights);
        self.effect(Effect::ScaleToZero);
        self.status.last_applied_spec.clone_from(&target.revision);
        self.reset_counters();
        self.enter(if is_promoted { Phase::Succeeded } else { Phase::Failed });
        Err(Stop::Done)
    }
}
