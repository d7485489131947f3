//! What a metric is asked beyond its one value, and what its silence means. Everything here is off unless the annotation
//! `slipway.dev/analysis` asks for it.

use std::time::Duration;

use api::flagger::{Comparison, ErrorShare, Metric, NoData};
use jiff::Timestamp;

use super::{Flow, Measurement, Question, Samples, Shares, Stop, Tick};
use crate::{
    conditions,
    events::Event,
    judge::{
        self, Class, Direction, EffectSize, Measure, Settings,
        proportion::{self, Proportion},
    },
};

impl Tick<'_> {
    /// What was measured, or silence if too few requests came.
    pub(super) fn measured(&self, index: usize, metric: &Metric) -> Flow<Measurement> {
        let answer = self.answers.metrics.get(&index).cloned().ok_or(Stop::Ask(Question::Metric(index)))?;
        let Some(more) = self.additions.metrics.get(&metric.name).filter(|more| more.requests.is_some()) else {
            return Ok(answer);
        };
        let requests = self.answers.requests.get(&index).ok_or(Stop::Ask(Question::Requests(index)))?;
        Ok(match requests {
            Measurement::Value(count) if *count >= more.min_requests => answer,
            Measurement::Value(count) => {
                Measurement::NoData(format!("{count:.0} of at least {:.0} requests", more.min_requests))
            }
            Measurement::NoData(problem) => Measurement::NoData(problem.clone()),
            other => other.clone(),
        })
    }

    /// What silence of a metric means: passed, or (an error) nothing more in this tick.
    pub(super) fn silent(&mut self, metric: &Metric, event: Event) -> Flow {
        let more = self.additions.metrics.get(&metric.name).cloned().unwrap_or_default();
        match more.no_data {
            NoData::Fail => self.check_failed(event),
            NoData::Pass => Ok(()),
            NoData::Hold => {
                let reason = metric.name.as_str();
                let conditions = &mut self.status.conditions;
                let is_new =
                    conditions::tell(conditions, conditions::SILENT, reason, Some(event.text.as_str()), self.now);
                let since = conditions::since(conditions, conditions::SILENT, reason).unwrap_or(self.now);
                if is_over(since, more.deadline.map(api::Duration::get), self.now) {
                    return self.check_failed(event);
                }
                self.is_retold |= is_new;
                if is_new {
                    self.event(event);
                }
                self.hold(format!("metric {reason} to have data"))
            }
        }
    }

    /// There is data again.
    pub(super) fn heard(&mut self, metric: &Metric) {
        let conditions = &mut self.status.conditions;
        if conditions::since(conditions, conditions::SILENT, &metric.name).is_some() {
            self.is_retold |= conditions::tell(conditions, conditions::SILENT, "", None, self.now);
        }
    }

    /// Judges a metric by the primary, where that is asked for.
    pub(super) fn compared(&mut self, index: usize, metric: &Metric) -> Flow {
        let Some(more) = self.additions.metrics.get(&metric.name).cloned() else { return Ok(()) };
        if let Some(comparison) = &more.compare {
            self.compare_samples(index, metric, comparison)?;
        }
        match &more.errors {
            Some(share) => self.compare_shares(index, metric, share),
            None => Ok(()),
        }
    }

    fn compare_samples(&mut self, index: usize, metric: &Metric, comparison: &Comparison) -> Flow {
        let name = &metric.name;
        let samples = match self.answers.samples.get(&index).ok_or(Stop::Ask(Question::Samples(index)))? {
            Ok(samples) => samples,
            Err(problem) => return self.unanswered(name, problem),
        };
        match differs(samples, comparison) {
            Difference::None => Ok(()),
            Difference::Silent(problem) => self.silent(metric, no_values(name, &problem)),
            Difference::Bad(ratio) => {
                let text = format!("{name} is {ratio:.2} times the primary's");
                self.check_failed(self.names.halted(&text))
            }
        }
    }

    fn compare_shares(&mut self, index: usize, metric: &Metric, share: &ErrorShare) -> Flow {
        let name = &metric.name;
        let Shares { canary, primary } =
            match self.answers.shares.get(&index).ok_or(Stop::Ask(Question::Shares(index)))? {
                Ok(shares) => *shares,
                Err(problem) => return self.unanswered(name, problem),
            };
        match proportion::compare(canary, primary, share.margin, share.confidence, share.min_requests) {
            Proportion::Alike => Ok(()),
            Proportion::TooFew => {
                let few = format!("{:.0} requests of the canary, {:.0} of the primary", canary.total, primary.total);
                self.silent(metric, no_values(name, &few))
            }
            Proportion::Worse => {
                let (own, primary) = (canary.rate() * 100.0, primary.rate() * 100.0);
                let text = format!("{name} {own:.2}% of requests fail, {primary:.2}% of the primary's");
                self.check_failed(self.names.halted(&text))
            }
        }
    }

    fn unanswered(&mut self, metric: &str, problem: &str) -> Flow {
        self.check_failed(Event::warning(format!("Metric query failed for {metric}: {problem}")))
    }

    /// Notes when the step at that weight began, if it has a time of its own; gives that time and the beginning.
    pub(super) fn mark_step(&mut self, weight: u32) -> Option<(Duration, Timestamp)> {
        let bake = self.additions.step(weight)?.bake?;
        let reason = format!("Weight{weight}");
        let text = format!("The step at {weight}% is looked at for {bake}.");
        let conditions = &mut self.status.conditions;
        self.is_retold |= conditions::tell(conditions, conditions::STEP, &reason, Some(text.as_str()), self.now);
        Some((bake.get(), conditions::since(conditions, conditions::STEP, &reason)?))
    }

    /// Whether the step at that weight is still to be looked at.
    pub(super) fn bakes(&mut self, weight: u32) -> bool {
        self.mark_step(weight).is_some_and(|(bake, since)| !is_over(since, Some(bake), self.now))
    }

    /// Whether a metric is judged at that weight.
    pub(super) fn is_judged_at(&self, weight: u32, metric: &Metric) -> bool {
        let step = self.additions.step(weight);
        step.and_then(|step| step.metrics.as_ref()).is_none_or(|names| names.contains(&metric.name))
    }
}

fn is_over(since: Timestamp, deadline: Option<Duration>, now: Timestamp) -> bool {
    deadline.is_some_and(|deadline| since.saturating_add(deadline).is_ok_and(|end| end <= now))
}

enum Difference {
    None,
    Silent(String),
    Bad(f64),
}

fn differs(samples: &Samples, comparison: &Comparison) -> Difference {
    let count = |values: &[f64]| values.iter().filter(|value| !value.is_nan()).count();
    let (own, primary) = (count(&samples.canary), count(&samples.primary));
    if own.min(primary) < comparison.min_samples.max(1) {
        return Difference::Silent(format!("{own} samples of the canary, {primary} of the primary"));
    }
    let settings = Settings {
        direction: match comparison.direction.as_str() {
            "decrease" => Direction::Decrease,
            "either" => Direction::Either,
            _ => Direction::Increase,
        },
        effect: EffectSize {
            allowed_increase: comparison.allowed_increase,
            allowed_decrease: comparison.allowed_decrease,
            ..EffectSize::none(Measure::MeanRatio)
        },
        ..Settings::default()
    };
    let verdict = judge::classify(&samples.canary, &samples.primary, &settings);
    match verdict.class {
        Class::Pass => Difference::None,
        Class::High | Class::Low => Difference::Bad(verdict.ratio),
        Class::Nodata | Class::NodataFail => Difference::Silent("no samples".into()),
    }
}

fn no_values(metric: &str, problem: &str) -> Event {
    Event::warning(format!("Halt advancement no values found for metric: {metric}: {problem}"))
}
