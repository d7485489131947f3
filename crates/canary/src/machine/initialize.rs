//! From a new Canary to a primary that serves, and the upkeep of what belongs to it (B.3 steps 3 to 12).

use api::flagger::{FirstDeployment, Phase};

use super::{Effect, Flow, Part, Question, Readiness, Role, Stop, Target, Tick};
use crate::workload::Kind;

impl Tick<'_> {
    /// Keeps services, primary, scaler and route in place; while initializing, waits for the primary.
    pub(super) fn prepare(&mut self, target: &Target) -> Flow {
        self.ensure(Part::Services)?;
        let awaits = self.is_initializing() && !self.canary.skip_analysis();
        if awaits {
            self.check_metrics()?;
        }
        self.ensure(Part::Primary)?;
        if self.is_initializing() && target.is_primary_outdated {
            // Differs: the original notes the newer revision as promoted, though the primary runs the older one.
            self.status.failed_checks = 0;
            self.is_changed = true;
            self.effect(Effect::CopyToPrimary);
            self.event(self.names.copying());
            return self.hold("the primary to run the target's present revision");
        }
        // Differs: the original does not wait when the analysis is skipped, and leaves nobody to serve meanwhile. A target that
        // serves nobody itself has nothing to lose.
        if awaits || self.is_initializing() && target.is_serving {
            // The original rolls back here too when the primary missed its deadline. Differs: there is nothing to go back
            // to, and the target still serves; it is left alone.
            match self.ready(Role::Primary)? {
                Readiness::Ready => {}
                Readiness::Waiting(problem) | Readiness::Failed(problem) => return self.stop(problem),
            }
        }
        if awaits && self.additions.first_deployment == FirstDeployment::Analyse {
            self.analyse_first()?;
        }
        self.ensure(Part::Scaler)?;
        if self.is_initializing() {
            self.effect(Effect::PauseScaler);
        }
        self.ensure(Part::Apex)?;
        if self.is_initializing() {
            self.effect(Effect::ScaleToZero);
        }
        self.ensure(Part::Route)
    }

    /// An unreachable provider is worth an event, and nothing more yet.
    fn check_metrics(&mut self) -> Flow {
        let event = match &self.answers.online {
            None => return Err(Stop::Ask(Question::MetricsOnline)),
            Some(Ok(())) => self.names.providers_available(),
            Some(Err(problem)) => self.names.providers_unavailable(problem),
        };
        self.event(event);
        Ok(())
    }

    /// Goes on once the first deployment passed its checks; until then nothing is taken from it.
    fn analyse_first(&mut self) -> Flow {
        let threshold = self.analysis.threshold();
        if self.status.failed_checks >= threshold {
            return self.hold("another revision of the target: the first one failed its checks");
        }
        self.rollout_hooks()?;
        let outcome = self.measure(0);
        if self.status.failed_checks >= threshold {
            self.alert(crate::alerts::threshold_reached(self.status.failed_checks));
        }
        outcome
    }

    /// The primary serves what the target ran.
    pub(super) fn initialized(&mut self, target: &Target) -> Flow {
        self.note(target);
        self.status.last_promoted_spec.clone_from(&target.revision);
        self.enter(Phase::Initialized);
        self.event(self.names.initialized());
        self.write_status();
        let alert = crate::alerts::initialized(self.canary);
        self.alert(alert);
        Err(Stop::Done)
    }

    /// No run is under way and the revision is known.
    pub(super) fn settled(&mut self, target: &Target) -> Flow {
        // A target put back to the promoted revision clears the memory of the failed one, so that it may be tried again.
        let status = &self.status;
        if target.revision == status.last_promoted_spec && target.revision != status.last_applied_spec {
            self.status.last_applied_spec.clone_from(&target.revision);
            self.is_changed = true;
        }
        // Nobody watches Services as targets; their changes are found by looking.
        self.is_idle = matches!(Kind::of(self.canary), Kind::Deployment | Kind::DaemonSet);
        self.hold("a new revision of the target")
    }

    /// Takes over an object that Flagger rolled out before. Its digests cannot be computed here, so what the primary
    /// runs decides: equal to the target means that nothing is new.
    pub(super) fn adopt(&mut self, target: &Target) {
        let applied = &self.status.last_applied_spec;
        if applied.is_empty() || format(applied) == format(&target.revision) || self.is_initializing() {
            return;
        }
        // A revision that waits to be judged, or that nobody has looked at yet, stays new.
        if matches!(self.status.phase, Phase::Initialized | Phase::Succeeded | Phase::Waiting) && !target.equals_primary
        {
            return;
        }
        self.status.last_applied_spec.clone_from(&target.revision);
        if target.equals_primary {
            self.status.last_promoted_spec.clone_from(&target.revision);
        }
        self.status.tracked_configs.clone_from(&target.configs);
        self.is_changed = true;
    }
}

/// What comes before the first `-` of a digest; nothing in the original's.
fn format(digest: &str) -> Option<&str> {
    digest.split_once('-').map(|(format, _)| format)
}
