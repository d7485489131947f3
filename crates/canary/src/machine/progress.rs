//! The analysis and the step that follows it (B.3 steps 19 to 25).

use std::borrow::Cow;

use api::flagger::{Analysis, Failures, HookType, Phase, Strategy};

use super::{Effect, Flow, Measurement, Stop, Tick, weights};
use crate::{
    alerts, analysis,
    events::Event,
    router::{self, Weights},
};

impl<'a> Tick<'a> {
    /// One interval of a run: roll back, fail a check, or go one step further.
    pub(super) fn progress(&mut self, weights: Weights) -> Flow {
        if self.wants_rollback(self.status.phase)? {
            self.event(self.names.manual_rollback());
            self.alert(alerts::manual_rollback());
            return self.rollback();
        }
        if self.status.failed_checks >= self.analysis.threshold() {
            return self.rollback();
        }
        self.report_weight(weights)?;
        if weights.canary == 0 && self.status.iterations == 0 && !(self.analysis.mirror && weights.mirrored) {
            self.event(self.names.starting());
            self.pre_rollout()?;
        } else {
            self.rollout_hooks()?;
            self.measure(weights.canary)?;
        }
        self.advance(weights)
    }

    /// A weight one step above the reported one means that a tick was cut short after it moved traffic: this tick only
    /// reports it. So nobody gains two steps in one interval, nor a step without an analysis at the one before. Any other
    /// weight above was written by somebody else, and goes back. One below goes back too, but only once the checks pass, as
    /// before every step; see [`Tick::advance_weight`].
    ///
    /// Differs: the original goes on from whatever the route says.
    fn report_weight(&mut self, weights: Weights) -> Flow {
        let Some(reached) = self.reached().filter(|reached| weights.canary > *reached) else { return Ok(()) };
        if weights::next(&self.analysis, reached) == Some(weights.canary) {
            self.status.canary_weight = i64::from(weights.canary);
            self.write_status();
        } else {
            self.put_back(weights, reached);
        }
        Err(Stop::Done)
    }

    /// The weight of the step that the run is at, where the route can be held to it: with a match some routers read all or
    /// nothing, and Flagger reports none while a gate holds the promotion back.
    fn reached(&self) -> Option<u32> {
        let is_weighted =
            self.analysis.strategy() == Strategy::Canary && self.analysis.matches.is_empty() && !self.is_kubernetes();
        let is_told = self.status.phase == Phase::Progressing || self.status.canary_weight > 0;
        (is_weighted && is_told).then(|| u32::try_from(self.status.canary_weight).unwrap_or_default())
    }

    fn put_back(&mut self, found: Weights, reached: u32) {
        let primary = 100_u32.saturating_sub(reached);
        self.effect(Effect::SetWeights(Weights { primary, canary: reached, mirrored: false }));
        self.event(self.names.put_back(found.canary, reached));
    }

    fn pre_rollout(&mut self) -> Flow {
        for (index, name) in self.hooks(HookType::PreRollout) {
            match self.hook(index, Phase::Progressing)? {
                Ok(()) => self.event(self.names.hook_passed("Pre-rollout", &name)),
                Err(problem) => {
                    let event = self.names.hook_failed("pre-rollout", &name, &problem);
                    return self.check_failed(event);
                }
            }
        }
        Ok(())
    }

    pub(super) fn rollout_hooks(&mut self) -> Flow {
        for (index, name) in self.hooks(HookType::Rollout) {
            if let Err(problem) = self.hook(index, Phase::Progressing)? {
                let event = self.names.hook_failed("external", &name, &problem);
                return self.check_failed(event);
            }
        }
        Ok(())
    }

    /// Measures one metric after the other; the first bad one ends it.
    pub(super) fn measure(&mut self, weight: u32) -> Flow {
        for index in analysis::order(&self.analysis.metrics) {
            let metric = self.analysis.metrics[index].clone();
            if !self.is_judged_at(weight, &metric) {
                continue;
            }
            let measured = match analysis::kind(&metric) {
                analysis::Kind::Unusable => Measurement::Invalid(analysis::UNUSABLE.into()),
                _ => self.measured(index, &metric)?,
            };
            match analysis::judge(self.canary, &self.options.mesh_provider, &metric, &measured) {
                Err(text) if matches!(measured, Measurement::NoData(_)) => {
                    self.silent(&metric, Event::warning(text))?;
                    continue;
                }
                Err(text) => return self.check_failed(Event::warning(text)),
                Ok(()) => {}
            }
            self.compared(index, &metric)?;
            self.heard(&metric);
        }
        if self.additions.failures == Failures::Consecutive && self.status.failed_checks > 0 {
            self.status.failed_checks = 0;
            self.is_changed = true;
        }
        Ok(())
    }

    /// Exactly one check failed; it is never taken back within the run, unless failures are counted in a row.
    pub(super) fn check_failed(&mut self, event: Event) -> Flow {
        self.waiting_for = format!("this check to pass: {}", event.text);
        self.status.failed_checks += 1;
        self.event(event);
        self.write_status();
        Err(Stop::Done)
    }

    fn advance(&mut self, weights: Weights) -> Flow {
        let analysis = self.supported();
        match analysis.strategy() {
            Strategy::AbTesting => self.advance_test(&analysis),
            Strategy::BlueGreen => self.advance_blue_green(&analysis, weights),
            Strategy::Canary => self.advance_weight(&analysis, weights),
        }
    }

    /// The analysis as far as the provider can carry it out: without a router there is only blue/green.
    ///
    /// Differs: the original warns at every tick; once per run says the same.
    fn supported(&mut self) -> Cow<'a, Analysis> {
        let mut analysis = self.analysis.clone();
        if !self.is_kubernetes() {
            return analysis;
        }
        let is_first = self.status.iterations == 0;
        if !analysis.matches.is_empty() {
            analysis.to_mut().matches.clear();
            if is_first {
                self.event(self.names.tests_unsupported());
            }
        }
        if analysis.iterations() < 1 {
            analysis.to_mut().iterations = Some(10);
            if is_first {
                self.event(self.names.weights_unsupported());
                self.event(self.names.iterations_set(10));
            }
        }
        analysis
    }

    fn advance_test(&mut self, analysis: &Analysis) -> Flow {
        if self.status.iterations < analysis.iterations() {
            self.effect(Effect::SetWeights(Weights { primary: 0, canary: 100, mirrored: false }));
            return self.iterate(analysis.iterations());
        }
        self.confirm_promotion(analysis)?;
        self.promote()
    }

    fn advance_blue_green(&mut self, analysis: &Analysis, weights: Weights) -> Flow {
        let iterations = analysis.iterations();
        if self.status.iterations < iterations {
            if analysis.mirror && !weights.mirrored {
                self.effect(Effect::SetWeights(Weights { mirrored: true, ..Weights::PRIMARY }));
            }
            return self.iterate(iterations);
        }
        self.confirm_promotion(analysis)?;
        if self.status.iterations > iterations {
            return self.promote();
        }
        if !self.is_kubernetes() {
            self.event(self.names.all_to_canary(analysis.mirror));
            self.effect(Effect::SetWeights(Weights { primary: 0, canary: 100, mirrored: false }));
        }
        self.status.iterations += 1;
        self.write_status();
        Err(Stop::Done)
    }

    /// One iteration more, and the event that says so.
    fn iterate(&mut self, total: i64) -> Flow {
        self.status.iterations += 1;
        self.event(self.names.advance_iteration(self.status.iterations, total));
        self.write_status();
        Err(Stop::Done)
    }

    fn advance_weight(&mut self, analysis: &Analysis, weights: Weights) -> Flow {
        let is_at_top = i64::from(weights.canary) >= analysis.max_weight();
        let Some(next) = weights::next(analysis, weights.canary).or(is_at_top.then_some(weights.canary)) else {
            return self.hold("spec.analysis to set stepWeight, stepWeights or iterations");
        };
        if self.bakes(weights.canary) {
            return self.hold(format!("the step at {}% to be looked at long enough", weights.canary));
        }
        if !weights.mirrored && self.status.phase == Phase::Progressing {
            self.confirm_traffic_increase()?;
        }
        if is_at_top {
            self.confirm_promotion(analysis)?;
            return self.promote();
        }
        if let Some(reached) = self.reached().filter(|reached| weights.canary < *reached) {
            self.put_back(weights, reached);
            return Err(Stop::Done);
        }
        let next = match analysis.mirror && !weights.mirrored && weights.canary == 0 && self.can_mirror() {
            true => Weights { mirrored: true, ..Weights::PRIMARY },
            false => Weights { primary: 100 - next, canary: next, mirrored: false },
        };
        self.effect(Effect::SetWeights(next));
        self.mark_step(next.canary);
        self.status.canary_weight = i64::from(next.canary);
        self.event(self.names.advance_canary(next.canary));
        self.write_status();
        Err(Stop::Done)
    }

    /// Whether the router can copy requests, which is told if it cannot.
    ///
    /// Differs: the original waits for ever for a mirror that its router cannot make.
    fn can_mirror(&mut self) -> bool {
        let can = router::mirrors(self.provider());
        if !can {
            self.event(self.names.mirror_unsupported(self.provider()));
        }
        can
    }

    fn confirm_traffic_increase(&mut self) -> Flow {
        let gates = self.hooks(HookType::ConfirmTrafficIncrease);
        if !gates.is_empty() && self.is_let_through() {
            return Ok(());
        }
        for (index, name) in gates {
            if self.hook(index, Phase::Progressing)?.is_ok() {
                self.event(self.names.gate_passed("Confirm-traffic-increase", &name));
                continue;
            }
            self.event(self.names.waiting("traffic increase approval", &name));
            if !self.analysis.webhooks[index].mute_alert {
                self.alert(alerts::waiting_for_traffic());
            }
            return self.hold(format!("hook {name} to approve the traffic increase"));
        }
        Ok(())
    }

    /// Waits until every confirm-promotion hook agrees.
    ///
    /// Differs: a weighted canary's weight and iterations stay as they are, since its traffic does (B.8 defect 3). With
    /// iterations, the last one is done again before the gate is asked again, as in the original.
    fn confirm_promotion(&mut self, analysis: &Analysis) -> Flow {
        let gates = self.hooks(HookType::ConfirmPromotion);
        if !gates.is_empty() && self.is_let_through() {
            return Ok(());
        }
        for (index, name) in gates {
            if self.hook(index, Phase::Progressing)?.is_ok() {
                self.event(self.names.gate_passed("Confirm-promotion", &name));
                continue;
            }
            let is_new = self.status.phase != Phase::WaitingPromotion;
            if is_new {
                self.event(self.names.waiting("promotion approval", &name));
                self.enter(Phase::WaitingPromotion);
            }
            if analysis.iterations() > 0 {
                self.status.iterations = analysis.iterations() - 1;
                self.is_changed = true;
            }
            if self.is_changed {
                self.write_status();
            }
            if is_new && !self.analysis.webhooks[index].mute_alert {
                self.alert(alerts::waiting_for_promotion());
            }
            return self.hold(format!("hook {name} to approve the promotion"));
        }
        Ok(())
    }
}
