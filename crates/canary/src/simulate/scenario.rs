//! The scenario language: a world, and steps run in order. Contract: DESIGN.md, "One-shot verbs".

use api::flagger::Canary;
use serde_json::{Map, Value};

use crate::{
    patch::patched,
    validate::{References, validate},
};

/// Most ticks that are played: each is kept until all are told.
pub const MOST_TICKS: u64 = 100_000;

/// A script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// What the target runs at the start, if the manifests do not say.
    pub image: Option<String>,
    /// How rollouts become ready.
    pub readiness: Readiness,
    /// What happens.
    pub steps: Vec<Step>,
}

/// How rollouts become ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// At once.
    #[default]
    Instant,
    /// Only by steps.
    Manual,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// So many intervals pass.
    Tick(u32),
    /// The target gets a new image.
    Image(String),
    /// The primary's pods are like this from now on.
    Primary(Health),
    /// The target's pods are like this from now on.
    Target(Health),
    /// What the metrics server returns, by metric or template name; kept until changed.
    Metrics(Map<String, Value>),
    /// The HTTP status a webhook answers, by its name; kept until changed.
    Hooks(Vec<(String, u16)>),
    /// A JSON merge patch of the Canary.
    Patch(Value),
    /// Data of ConfigMaps and Secrets, by `configmap/NAME` or `secret/NAME`; merged into what is there.
    Config(Vec<(String, Map<String, Value>)>),
    /// Replicas of the target.
    Replicas(i64),
}

/// How a workload's pods are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// All updated and available.
    Ready,
    /// Updated, none available yet.
    Updating,
    /// `ProgressDeadlineExceeded`.
    Stuck,
    /// None available, for longer than the deadline.
    Unavailable,
    /// Ten wanted, six available.
    Partial,
}

/// Why a scenario cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scenario: {place}: {problem}")]
pub struct ScenarioError {
    place: String,
    problem: String,
}

impl ScenarioError {
    /// Where in the scenario, such as `steps[2]`.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl Scenario {
    /// Reads a scenario in JSON form. A bare list is a scenario with the default world.
    pub fn parse(value: &Value) -> Result<Self, ScenarioError> {
        let wrong = |place: &str, problem: &str| ScenarioError { place: place.into(), problem: problem.into() };
        let (world, steps) = match value {
            Value::Array(steps) => (None, steps.as_slice()),
            Value::Object(members) => {
                if let Some(key) = members.keys().find(|key| !matches!(key.as_str(), "world" | "steps")) {
                    return Err(wrong(key, "unknown field; use world and steps"));
                }
                let steps = match members.get("steps") {
                    None | Some(Value::Null) => &[],
                    Some(Value::Array(steps)) => steps.as_slice(),
                    Some(_) => return Err(wrong("steps", "a list is expected")),
                };
                (members.get("world").filter(|world| !world.is_null()), steps)
            }
            _ => return Err(wrong("document", "a list of steps, or an object with world and steps, is expected")),
        };
        let mut scenario = Self::default();
        if let Some(world) = world {
            scenario.read_world(world).map_err(|(key, problem)| wrong(&format!("world{key}"), &problem))?;
        }
        let mut ticks = 0;
        for (index, step) in steps.iter().enumerate() {
            let place = format!("steps[{index}]");
            let step = step_of(step).map_err(|problem| wrong(&place, &problem))?;
            if let Step::Tick(count) = step {
                ticks += u64::from(count);
            }
            if ticks > MOST_TICKS {
                return Err(wrong(&place, &format!("more than {MOST_TICKS} ticks in all")));
            }
            scenario.steps.push(step);
        }
        Ok(scenario)
    }

    /// Refuses what an API server would refuse: patches after which the object is no valid Canary any more.
    pub fn check(&self, canary: &Canary) -> Result<(), ScenarioError> {
        let mut object = serde_json::to_value(canary).unwrap_or_default();
        for (index, step) in self.steps.iter().enumerate() {
            let Step::Patch(patch) = step else { continue };
            object = patched(&object, patch);
            let read = api::manifest::typed(&object).and_then(|canary| validate(&canary, References::Anywhere));
            read.map_err(|problem| ScenarioError {
                place: format!("steps[{index}]"),
                problem: format!("patch: {problem}"),
            })?;
        }
        Ok(())
    }

    fn read_world(&mut self, world: &Value) -> Result<(), (String, String)> {
        let members = world.as_object().ok_or((String::new(), "an object is expected".to_owned()))?;
        for (key, value) in members {
            let problem = |text: &str| (format!(".{key}"), text.to_owned());
            match key.as_str() {
                "image" => self.image = Some(value.as_str().ok_or_else(|| problem("a text is expected"))?.into()),
                "readiness" => {
                    self.readiness = match value.as_str() {
                        Some("instant") => Readiness::Instant,
                        Some("manual") => Readiness::Manual,
                        _ => return Err(problem("use instant or manual")),
                    }
                }
                _ => return Err(problem("unknown field; use image and readiness")),
            }
        }
        Ok(())
    }
}

fn step_of(step: &Value) -> Result<Step, String> {
    let empty = Value::Null;
    let (name, value) = match step {
        Value::String(name) => (name.as_str(), &empty),
        Value::Object(members) if members.len() == 1 => {
            members.iter().next().map_or(("", &empty), |(name, value)| (name.as_str(), value))
        }
        _ => return Err("one step is expected, such as `tick: 3`".into()),
    };
    let object = || value.as_object().cloned().ok_or_else(|| format!("{name}: an object is expected"));
    let text = || value.as_str().map(str::to_owned).ok_or_else(|| format!("{name}: a text is expected"));
    Ok(match name {
        "tick" => Step::Tick(match value {
            Value::Null => 1,
            value => value
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .filter(|&count| u64::from(count) <= MOST_TICKS)
                .ok_or("tick: a number from 0 to 100000 is expected")?,
        }),
        "image" => Step::Image(text()?),
        "primary" => Step::Primary(health(&text()?)?),
        "target" => Step::Target(health(&text()?)?),
        "metrics" => Step::Metrics(answers(object()?)?),
        "hooks" => Step::Hooks(object()?.iter().map(|(name, status)| answer(name, status)).collect::<Result<_, _>>()?),
        "patch" => Step::Patch(Value::Object(object()?)),
        "config" => Step::Config(object()?.iter().map(|(name, data)| config(name, data)).collect::<Result<_, _>>()?),
        "replicas" => {
            Step::Replicas(value.as_i64().filter(|&count| count >= 0).ok_or("replicas: a number is expected")?)
        }
        other => {
            let known = "tick, image, primary, target, metrics, hooks, patch, config, replicas";
            return Err(format!("unknown step {other:?}; use one of {known}"));
        }
    })
}

/// What a metrics server returns: a number, a text or nothing; beside it, under names with a dot, samples and shares.
fn answers(given: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let is_wrong = |name: &str, value: &Value| match value {
        Value::Null | Value::Number(_) | Value::String(_) => false,
        Value::Object(_) => !name.contains('.'),
        Value::Bool(_) | Value::Array(_) => true,
    };
    match given.iter().find(|(name, value)| is_wrong(name, value)) {
        Some((name, _)) => Err(format!("metrics.{name}: a number, a text or null is expected")),
        None => Ok(given),
    }
}

fn health(text: &str) -> Result<Health, String> {
    Ok(match text {
        "ready" => Health::Ready,
        "updating" | "notready" => Health::Updating,
        "stuck" => Health::Stuck,
        "unavailable" | "unavailable-past-deadline" => Health::Unavailable,
        "partial" => Health::Partial,
        _ => return Err(format!("unknown state {text:?}; use ready, updating, stuck, unavailable or partial")),
    })
}

fn answer(name: &str, status: &Value) -> Result<(String, u16), String> {
    let status =
        status.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..600).contains(status));
    status.map(|status| (name.to_owned(), status)).ok_or_else(|| format!("hooks.{name}: an HTTP status is expected"))
}

fn config(name: &str, data: &Value) -> Result<(String, Map<String, Value>), String> {
    let known = name.starts_with("configmap/") || name.starts_with("secret/");
    match data {
        Value::Object(data) if known => Ok((name.to_owned(), data.clone())),
        _ if known => Err(format!("config.{name}: an object is expected")),
        _ => Err(format!("config: {name:?} is not configmap/NAME or secret/NAME")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bare_list_is_a_scenario() {
        let scenario = Scenario::parse(&json!(["tick", {"tick": null}, {"tick": 3}, {"target": "ready"}])).unwrap();
        assert_eq!(scenario.steps, [Step::Tick(1), Step::Tick(1), Step::Tick(3), Step::Target(Health::Ready)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (value, expected) in [
            (json!([{"tock": 1}]), "scenario: steps[0]: unknown step \"tock\""),
            (json!({"world": {"readiness": "later"}}), "scenario: world.readiness: use instant or manual"),
            (
                json!([{"tick": 1}, {"hooks": {"gate": "no"}}]),
                "scenario: steps[1]: hooks.gate: an HTTP status is expected",
            ),
            (json!([{"tick": 1, "image": "x"}]), "scenario: steps[0]: one step is expected"),
            (json!("tick"), "scenario: document: a list of steps"),
            (json!({"world": []}), "scenario: world: an object is expected"),
            (json!([{"metrics": {"a": [1]}}]), "scenario: steps[0]: metrics.a: a number, a text or null is expected"),
            (json!([{"tick": 60_000}, "tick", {"tick": 60_000}]), "scenario: steps[2]: more than 100000 ticks in all"),
        ] {
            let error = Scenario::parse(&value).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_patch_that_no_api_server_takes_is_refused() {
        let canary = crate::cases::canary(&json!({"spec": {"analysis": {"interval": "1m", "stepWeight": 10}}}));
        let told =
            |patches: Value| Scenario::parse(&patches).unwrap().check(&canary).err().map(|error| error.to_string());
        assert_eq!(told(json!([{"patch": {"spec": {"suspend": true}}}, "tick"])), None);
        let ten = json!(["tick", {"patch": {"spec": {"analysis": {"stepWeight": "ten"}}}}]);
        let text = "scenario: steps[1]: patch: spec.analysis.stepWeight: a whole number is expected";
        assert_eq!(told(ten).as_deref(), Some(text));
        let same = json!([{"patch": {"spec": {"analysis": {"sessionAffinity": {"cookieName": "a"}}}}},
            {"patch": {"spec": {"analysis": {"sessionAffinity": {"primaryCookieName": "a"}}}}}]);
        let problem = told(same).unwrap();
        assert!(problem.starts_with("scenario: steps[1]: patch: ") && problem.contains("cookie"), "{problem}");
    }
}
