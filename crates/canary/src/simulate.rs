//! A rehearsal: a Canary against a scripted world, tick by tick, in virtual time. No cluster, no clock, no network.
//!
//! The machine, the workload and the router are the ones the controller uses; only the world is made up.

mod made_up;
mod replay;
mod scenario;
mod state;

use api::flagger::{Canary, Hook, HookType, Phase, Severity};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use replay::{Recording, parse as recording, replay};
pub use scenario::{Health, MOST_TICKS, Readiness, Scenario, ScenarioError, Step};

use crate::{
    analysis::{self, Kind},
    events::{Event, Names},
    hooks,
    machine::{self, Answers, Decision, Effect, Measurement, Question},
    path::at,
    router::Weights,
    trail::{self, Run},
    world,
};
use state::State;

/// When virtual time begins.
const EPOCH: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// What one tick came to. The names are part of the command contract.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// Phase after the tick.
    pub phase: Phase,
    /// Weight as the status reports it.
    pub canary_weight: i64,
    /// Failed checks of the run.
    pub failed_checks: i64,
    /// Iterations of the run.
    pub iterations: i64,
    /// The shares in effect; absent without a router.
    pub route: Option<Weights>,
    /// The condition `Promoted`.
    pub condition: Option<Value>,
    /// `TYPE REASON text`, in order.
    pub events: Vec<String>,
    /// Alerts, in order.
    pub alerts: Vec<Value>,
    /// Calls of hooks, in order.
    pub webhook_calls: Vec<Call>,
    /// Image of the primary's first container.
    pub primary_image: Option<String>,
    /// `spec.replicas` of the primary.
    pub primary_replicas: Option<i64>,
    /// `spec.replicas` of the target.
    pub target_replicas: Option<i64>,
    /// What would let the rollout go on, in one sentence.
    pub waiting_for: String,
}

/// One call of a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Name of the hook.
    pub name: String,
    /// When it is called.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Phase reported to it.
    pub phase: Phase,
}

/// Plays a scenario. `others` may hold the Deployment, scaler, ConfigMaps, Secrets and MetricTemplates; what is missing is
/// made up.
pub fn run(canary: Canary, others: Vec<Value>, scenario: &Scenario, options: world::Options) -> Vec<Tick> {
    let mut rehearsal = Rehearsal::new(canary, others, scenario, options);
    let mut ticks = Vec::new();
    for step in &scenario.steps {
        rehearsal.play(step, &mut |_, tick| ticks.push(tick));
    }
    ticks
}

/// The runs that a scenario comes to, as the controller would keep them.
pub fn trail(canary: Canary, others: Vec<Value>, scenario: &Scenario, options: world::Options) -> Vec<Run> {
    let mut rehearsal = Rehearsal::new(canary, others, scenario, options);
    for step in &scenario.steps {
        rehearsal.play(step, &mut |_, _| {});
    }
    rehearsal.runs
}

/// A scenario being played.
struct Rehearsal {
    state: State,
    now: Timestamp,
    runs: Vec<Run>,
    events: Vec<Event>,
    alerts: Vec<Value>,
    calls: Vec<Call>,
}

impl Rehearsal {
    fn new(canary: Canary, others: Vec<Value>, scenario: &Scenario, options: world::Options) -> Self {
        Self {
            state: State::new(canary, others, scenario, options),
            now: EPOCH,
            runs: Vec::new(),
            events: Vec::new(),
            alerts: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Plays a step; `told` gets every tick of it with the world after it.
    fn play(&mut self, step: &Step, told: &mut dyn FnMut(&State, Tick)) {
        match step {
            Step::Tick(count) => {
                for _ in 0..*count {
                    let tick = self.tick();
                    told(&self.state, tick);
                }
            }
            other => self.state.change(other, self.now),
        }
    }

    fn tick(&mut self) -> Tick {
        let (answers, decision) = self.decide();
        self.note(&answers, &decision);
        self.perform(&decision);
        self.entry(decision.waiting_for)
    }

    /// Lets an interval pass, and answers the machine until it has decided.
    fn decide(&mut self) -> (Answers, Box<Decision>) {
        let options = self.state.machine_options();
        self.now += self.state.canary.analysis().interval(options.min_interval);
        self.state.settle(self.now);
        let mut answers = Answers::default();
        loop {
            match machine::step(&self.state.canary, &options, &answers, self.now) {
                machine::Step::Ask(question) => self.answer(question, &mut answers),
                machine::Step::Done(decision) => return (answers, decision),
            }
        }
    }

    fn note(&mut self, answers: &Answers, decision: &Decision) {
        let Some(tick) = trail::entry(&self.state.canary, answers, decision, self.now) else { return };
        let images = (self.state.target().and_then(image), self.state.primary().and_then(image));
        let last = self.runs.pop_if(|last| trail::goes_on(last, &self.state.canary, decision));
        self.runs.push(trail::record(last, &self.state.canary, images, decision, tick));
    }

    fn answer(&mut self, question: Question, answers: &mut Answers) {
        let now = self.now;
        match question {
            Question::Target => answers.target = Some(self.state.ask(now, |world| world.target())),
            Question::Ensure(part) => {
                let outcome = self.state.ensure(part, now);
                answers.ensured.insert(part, outcome);
            }
            Question::MetricsOnline => answers.online = Some(self.online()),
            Question::Ready(role) => {
                let ready = self.state.ask(now, |world| world.ready(role));
                answers.ready.insert(role, ready);
            }
            Question::Weights => answers.weights = Some(self.state.weights(now)),
            Question::Hook(index, phase) => {
                let outcome = self.call(index, phase);
                answers.hooks.insert(index, outcome);
            }
            Question::Metric(index) => {
                let measured = self.measure(index);
                answers.metrics.insert(index, measured);
            }
            Question::Requests(index) => {
                answers.requests.insert(index, self.state.requests(index));
            }
            Question::Samples(index) => {
                answers.samples.insert(index, self.state.samples(index));
            }
            Question::Shares(index) => {
                answers.shares.insert(index, self.state.shares(index));
            }
        }
    }

    fn perform(&mut self, decision: &Decision) {
        for effect in &decision.effects {
            match effect {
                Effect::WriteStatus => self.state.write_status(decision.status.clone()),
                Effect::PostRollout(phase) => self.post_rollout(*phase),
                Effect::Event(event) => self.record(event.clone()),
                Effect::Alert(alert) => self.alerts.push(alert_entry(alert)),
                effect => {
                    if let Err(problem) = self.state.act(effect, self.now) {
                        self.record(Event::warning(problem));
                        return;
                    }
                }
            }
        }
    }

    /// The first that fails stops the others.
    fn post_rollout(&mut self, phase: Phase) {
        let canary = self.state.canary.clone();
        let (analysis, names) = (canary.analysis(), Names::of(&canary));
        for (index, hook) in analysis.webhooks.iter().enumerate().filter(|(_, hook)| hook.kind == HookType::PostRollout)
        {
            let outcome = self.call(index, phase);
            let has_failed = outcome.is_err();
            let event = match outcome {
                Ok(()) => names.hook_passed("Post-rollout", &hook.name),
                Err(problem) => names.post_rollout_failed(&hook.name, &problem),
            };
            self.record(event.or_of(phase));
            if has_failed {
                break;
            }
        }
    }

    /// Keeps an event, and sends it to the event hooks.
    fn record(&mut self, event: Event) {
        let analysis = self.state.canary.analysis();
        let phase = event.phase.unwrap_or(self.state.canary.status().phase);
        let call = |hook: &Hook| Call { name: hook.name.clone(), kind: hook.kind.as_str(), phase };
        self.calls.extend(analysis.hooks(HookType::Event).map(call));
        self.events.push(event);
    }

    fn call(&mut self, index: usize, phase: Phase) -> Result<(), String> {
        let hook: Hook = self.state.canary.analysis().webhooks[index].clone();
        self.calls.push(Call { name: hook.name.clone(), kind: hook.kind.as_str(), phase });
        hooks::verdict(&hook, self.state.hooks.get(&hook.name).copied().unwrap_or(200), "")
    }

    /// Every template must exist; the servers always answer.
    fn online(&self) -> Result<(), String> {
        let analysis = self.state.canary.analysis();
        analysis.metrics.iter().try_for_each(|metric| self.state.template_problem(metric).map_or(Ok(()), Err))
    }

    fn measure(&self, index: usize) -> Measurement {
        let analysis = self.state.canary.analysis();
        let metric = &analysis.metrics[index];
        if let Some(problem) = self.state.template_problem(metric) {
            return Measurement::Invalid(problem);
        }
        let template = metric.template_ref.as_ref().and_then(|template| self.state.metrics.get(&template.name));
        let default = if metric.name == "request-success-rate" { 100.0 } else { 1.0 };
        let value = match self.state.metrics.get(&metric.name).or(template) {
            None => default,
            Some(Value::Null) => return no_data(),
            Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN),
            Some(Value::String(text)) => match text.as_str() {
                "error" => {
                    return Measurement::Error("error response: Status 500 Internal Server Error: ".into());
                }
                text => match text.trim_start_matches('+').parse::<f64>() {
                    Ok(value) => value,
                    Err(_) => return no_data(),
                },
            },
            Some(_) => return no_data(),
        };
        if value.is_nan() {
            return no_data();
        }
        let in_seconds = analysis::kind(metric) == Kind::Duration && self.state.measures_seconds();
        Measurement::Value(if in_seconds { value * 1000.0 } else { value })
    }

    fn entry(&mut self, waiting_for: String) -> Tick {
        let status = self.state.canary.status().into_owned();
        let condition = status.conditions.first().map(|condition| {
            json!({
                "type": condition.kind, "status": condition.status,
                "reason": condition.reason, "message": condition.message,
            })
        });
        let (target, primary) = (self.state.target(), self.state.primary());
        let replicas = |object: Option<&Value>| object.and_then(|object| at(object, "/spec/replicas")?.as_i64());
        Tick {
            phase: status.phase,
            canary_weight: status.canary_weight,
            failed_checks: status.failed_checks,
            iterations: status.iterations,
            route: self.state.route(self.now),
            condition,
            primary_image: primary.and_then(image),
            primary_replicas: replicas(primary),
            target_replicas: replicas(target),
            events: std::mem::take(&mut self.events).iter().map(Event::to_string).collect(),
            alerts: std::mem::take(&mut self.alerts),
            webhook_calls: std::mem::take(&mut self.calls),
            waiting_for,
        }
    }
}

/// Image of a workload's first container.
fn image(workload: &Value) -> Option<String> {
    at(workload, "/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned)
}

fn no_data() -> Measurement {
    Measurement::NoData("no values found".into())
}

fn alert_entry(alert: &crate::alerts::Alert) -> Value {
    let severity: Severity = alert.severity;
    let mut entry = json!({"severity": severity.as_str(), "message": alert.message});
    if !alert.fields.is_empty() {
        let fields: Map<_, _> = alert.fields.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        entry["fields"] = Value::Object(fields);
    }
    entry
}

#[cfg(test)]
mod tests;
