//! The made-up world: objects in memory, and rollouts whose health is scripted.

use std::collections::BTreeMap;

use api::{
    flagger::{Canary, CanaryStatus, Metric, MetricTemplate},
    meta::ObjectReference,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    made_up,
    scenario::{Health, Readiness, Scenario, Step},
};
use crate::{
    judge::proportion::Share,
    machine::{self, Effect, Measurement, Part, Samples, Shares},
    metrics::{self, Observer, Scene, Source},
    patch,
    path::at,
    router::{self, Weights},
    workload::Kind,
    world::{self, World, Write},
};

/// The world between two ticks.
pub(super) struct State {
    pub canary: Canary,
    pub metrics: Map<String, Value>,
    pub hooks: BTreeMap<String, u16>,
    objects: Vec<Value>,
    options: world::Options,
    readiness: Readiness,
    /// Scripted health of primary and target; absent until a step says.
    health: [Option<Health>; 2],
    /// Whether the provider's objects are built in.
    has_built_in_route: bool,
    /// The shares in effect, for providers whose objects are not.
    route: Option<Weights>,
}

impl State {
    pub fn new(mut canary: Canary, others: Vec<Value>, scenario: &Scenario, options: world::Options) -> Self {
        canary.status = None;
        let mut state = Self {
            has_built_in_route: router::objects(&canary, &options.router).is_ok(),
            canary,
            metrics: Map::new(),
            hooks: BTreeMap::new(),
            objects: others,
            options,
            readiness: scenario.readiness,
            health: [None, None],
            route: None,
        };
        let configs = scenario.steps.iter().filter_map(|step| match step {
            Step::Config(configs) => Some(configs.iter().map(|(name, _)| name.clone())),
            _ => None,
        });
        state.make_up(&configs.flatten().collect::<Vec<_>>(), scenario.image.as_deref());
        if let Some(image) = &scenario.image {
            state.set_image(image);
        }
        state
    }

    /// Adds what the manifests left out: the target, its scaler, and the configuration that the scenario changes.
    fn make_up(&mut self, configs: &[String], image: Option<&str>) {
        for object in &mut self.objects {
            if object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = json!(self.canary.namespace());
            }
        }
        let mut wanted = vec![made_up::target(&self.canary, configs, image)];
        wanted.extend(self.canary.spec.autoscaler_ref.iter().map(|scaler| made_up::scaler(&self.canary, scaler)));
        wanted.extend(self.canary.spec.ingress_ref.iter().map(|ingress| made_up::ingress(&self.canary, ingress)));
        wanted.extend(self.canary.spec.route_ref.iter().map(|route| made_up::route(&self.canary, route)));
        wanted.extend(configs.iter().map(|config| made_up::config(&self.canary, config)));
        for object in wanted {
            let id = ObjectReference::of(&object).unwrap_or_default();
            if self.find(&id.kind, &id.name).is_none() {
                self.objects.push(object);
            }
        }
    }

    // What happens from outside.

    pub fn change(&mut self, step: &Step, now: Timestamp) {
        match step {
            Step::Tick(_) => {}
            Step::Image(image) => self.set_image(image),
            Step::Primary(health) => self.set_health(0, *health, now),
            Step::Target(health) => self.set_health(1, *health, now),
            Step::Metrics(metrics) => self.metrics.extend(metrics.clone()),
            Step::Hooks(hooks) => self.hooks.extend(hooks.iter().cloned()),
            Step::Patch(patch) => self.patch_canary(patch),
            Step::Config(configs) => configs.iter().for_each(|(name, data)| self.set_config(name, data)),
            Step::Replicas(count) => self.edit_target(|target| target["spec"]["replicas"] = json!(count)),
        }
    }

    fn set_image(&mut self, image: &str) {
        let image = json!(image);
        self.edit_target(|target| match target.pointer_mut("/spec/template/spec/containers/0") {
            Some(container) => container["image"] = image,
            // A Service has no image; a label of its pods stands for it.
            None => target["spec"]["selector"]["version"] = image,
        });
    }

    /// A patch that makes the Canary unreadable changes nothing: an API server would have refused it.
    fn patch_canary(&mut self, patch: &Value) {
        let Ok(canary) = serde_json::to_value(&self.canary) else { return };
        if let Ok(canary) = api::manifest::typed(&patch::patched(&canary, patch)) {
            self.has_built_in_route = router::objects(&canary, &self.options.router).is_ok();
            self.canary = canary;
        }
    }

    fn set_config(&mut self, name: &str, data: &Map<String, Value>) {
        let (kind, name) = made_up::config_parts(name);
        let is_secret = kind == "Secret";
        if let Some(object) = self.find_mut(kind, name) {
            let member = if is_secret { "stringData" } else { "data" };
            for (key, value) in data {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                object[member][key] = json!(text);
            }
        }
    }

    #[cfg(test)]
    pub fn patch_primary(&mut self, patch: &Value) {
        let (kind, name) = (self.canary.spec.target_ref.kind.clone(), self.canary.primary_name());
        if let Some(primary) = self.find_mut(&kind, &name) {
            *primary = patch::patched(primary, patch);
        }
    }

    fn set_health(&mut self, who: usize, health: Health, now: Timestamp) {
        self.health[who] = Some(health);
        self.write_health(who, health, now);
    }

    /// Rollouts that become ready by themselves do so.
    pub fn settle(&mut self, now: Timestamp) {
        if Kind::of(&self.canary) == Kind::Knative {
            return self.settle_knative();
        }
        if self.readiness == Readiness::Manual {
            return;
        }
        for who in [0, 1] {
            self.write_health(who, self.health[who].unwrap_or(Health::Ready), now);
        }
    }

    fn settle_knative(&mut self) {
        let target = self.canary.spec.target_ref.clone();
        let Some(service) = self.find_mut(&target.kind, &target.name) else { return };
        let image = at(service, "/spec/template/spec/containers/0/image").and_then(Value::as_str);
        let image = image.unwrap_or_default().to_owned();
        let revision = made_up::knative(service, &image);
        self.put(revision);
    }

    fn write_health(&mut self, who: usize, health: Health, now: Timestamp) {
        if Kind::of(&self.canary) == Kind::Knative {
            return;
        }
        let name = match who {
            0 => self.canary.primary_name(),
            _ => self.canary.spec.target_ref.name.clone(),
        };
        let kind = self.canary.spec.target_ref.kind.clone();
        if let Some(object) = self.find_mut(&kind, &name) {
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1).max(1);
            object["status"] = made_up::status(health, wanted, now);
        }
    }

    // What the machine asks and does.

    pub fn machine_options(&self) -> machine::Options {
        machine::Options { mesh_provider: self.options.router.mesh_provider.clone(), ..machine::Options::default() }
    }

    pub fn ask<T>(&self, now: Timestamp, question: impl FnOnce(&World<'_>) -> T) -> T {
        question(&World {
            canary: &self.canary,
            options: &self.options,
            objects: &self.objects,
            random: seed(now),
            now,
        })
    }

    pub fn ensure(&mut self, part: Part, now: Timestamp) -> Result<(), String> {
        if part == Part::Route && !self.has_built_in_route {
            self.route.get_or_insert(Weights::PRIMARY);
            return Ok(());
        }
        let writes = self.ask(now, |world| world.ensure(part))?;
        self.write(writes, now);
        Ok(())
    }

    pub fn act(&mut self, effect: &Effect, now: Timestamp) -> Result<(), String> {
        if let (Effect::SetWeights(weights), false) = (effect, self.has_built_in_route) {
            self.route = Some(*weights);
            return Ok(());
        }
        let writes = self.ask(now, |world| world.act(effect))?;
        self.write(writes, now);
        Ok(())
    }

    pub fn weights(&self, now: Timestamp) -> Result<Weights, String> {
        match self.has_built_in_route {
            true => self.ask(now, |world| world.weights()),
            false => Ok(self.route.unwrap_or(Weights::PRIMARY)),
        }
    }

    /// The shares in effect; nothing without a router, or before there is a route.
    pub fn route(&self, now: Timestamp) -> Option<Weights> {
        let options = &self.options.router;
        match router::is_kubernetes(&self.canary, options) {
            true => None,
            false if self.has_built_in_route => self.weights(now).ok(),
            false => self.route,
        }
    }

    pub fn write_status(&mut self, status: CanaryStatus) {
        let cookies = self.canary.status().into_owned();
        self.canary.status = Some(CanaryStatus {
            session_affinity_cookie: cookies.session_affinity_cookie,
            primary_session_affinity_cookie: cookies.primary_session_affinity_cookie,
            previous_session_affinity_cookie: cookies.previous_session_affinity_cookie,
            ..status
        });
    }

    /// What the scenario says about a metric beside its value: requests, samples, shares.
    fn beside(&self, index: usize, what: &str) -> Option<&Value> {
        let name = &self.canary.analysis().metrics[index].name;
        self.metrics.get(&format!("{name}.{what}"))
    }

    /// Requests of a metric; plenty until a step says otherwise under `METRIC.requests`.
    pub fn requests(&self, index: usize) -> Measurement {
        Measurement::Value(self.beside(index, "requests").and_then(Value::as_f64).unwrap_or(1e6))
    }

    /// Samples of a metric; none until a step gives `METRIC.samples: {canary: […], primary: […]}`.
    pub fn samples(&self, index: usize) -> Result<Samples, String> {
        let list = |side: &str| -> Vec<f64> {
            let values = self.beside(index, "samples").and_then(|samples| samples[side].as_array());
            values.into_iter().flatten().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
        };
        Ok(Samples { canary: list("canary"), primary: list("primary") })
    }

    /// Failed of all requests; none until a step gives `METRIC.errors: {canary: [1, 100], primary: [0, 100]}`.
    pub fn shares(&self, index: usize) -> Result<Shares, String> {
        let share = |side: &str| {
            let pair = self.beside(index, "errors").map(|errors| &errors[side]);
            let number = |place: usize| pair.and_then(|pair| pair[place].as_f64()).unwrap_or_default();
            Share { failed: number(0), total: number(1) }
        };
        Ok(Shares { canary: share("canary"), primary: share("primary") })
    }

    /// Why the template of a metric cannot be used. Templates that no manifest gives are taken to exist if none is given at
    /// all, or if the scenario says what they return.
    pub fn template_problem(&self, metric: &Metric) -> Option<String> {
        let template = metric.template_ref.as_ref()?;
        let (name, namespace) = (&template.name, template.namespace_or(self.canary.namespace()));
        let mut given = self.objects.iter().filter(|object| object["kind"] == "MetricTemplate").peekable();
        let is_scripted = self.metrics.contains_key(name) || self.metrics.contains_key(&metric.name);
        let is_left_out = given.peek().is_none();
        let found =
            given.find(|object| object["metadata"]["name"] == **name && object["metadata"]["namespace"] == namespace);
        let exists = is_left_out || is_scripted || found.is_some();
        if !exists {
            return Some(format!(
                "Metric template {name}.{namespace} error: metrictemplate.flagger.app {name:?} not found"
            ));
        }
        let template: MetricTemplate = found.and_then(|found| api::manifest::typed(found).ok())?;
        let observer = Observer::of_canary(&self.canary, &self.options.router.mesh_provider);
        let scene = Scene { observer, revision: metrics::revision(&self.canary, &self.objects) };
        metrics::query(&self.canary, metric, scene, Some(&template))
            .err()
            .map(|problem| problem.of(Source::Template(namespace, name)))
    }

    /// Whether the builtin duration query answers in seconds. Source: reference progressive-delivery.md, C.3.
    pub fn measures_seconds(&self) -> bool {
        Observer::of_canary(&self.canary, &self.options.router.mesh_provider) == Observer::Http
    }

    pub fn target(&self) -> Option<&Value> {
        self.find(&self.canary.spec.target_ref.kind, &self.canary.spec.target_ref.name)
    }

    pub fn primary(&self) -> Option<&Value> {
        self.find(&self.canary.spec.target_ref.kind, &self.canary.primary_name())
    }

    fn write(&mut self, writes: Vec<Write>, now: Timestamp) {
        if writes.is_empty() {
            return;
        }
        for write in writes {
            match write {
                Write::Apply(ours) => self.put(router::applied(&self.objects, &ours)),
                Write::Patch(id, patch) => {
                    if let Some(object) = self.find_mut(&id.kind, &id.name) {
                        *object = patch::patched(object, &patch);
                    }
                }
                Write::Delete(id) => self.objects.retain(|object| ObjectReference::of(object).as_ref() != Some(&id)),
                Write::Cookies(cookies) => {
                    let status = self.canary.status.get_or_insert_default();
                    status.session_affinity_cookie = cookies.session_affinity_cookie;
                    status.primary_session_affinity_cookie = cookies.primary_session_affinity_cookie;
                    status.previous_session_affinity_cookie = cookies.previous_session_affinity_cookie;
                }
            }
        }
        self.settle(now);
    }

    fn put(&mut self, object: Value) {
        // Some routes have no namespace.
        fn id(object: &Value) -> [&Value; 3] {
            [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]]
        }
        match self.objects.iter_mut().find(|live| id(live) == id(&object)) {
            Some(existing) => *existing = object,
            None => self.objects.push(object),
        }
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| is_named(object, kind, name, self.canary.namespace()))
    }

    fn find_mut(&mut self, kind: &str, name: &str) -> Option<&mut Value> {
        let namespace = self.canary.namespace().to_owned();
        self.objects.iter_mut().find(|object| is_named(object, kind, name, &namespace))
    }

    fn edit_target(&mut self, edit: impl FnOnce(&mut Value)) {
        let target = self.canary.spec.target_ref.clone();
        if let Some(target) = self.find_mut(&target.kind, &target.name) {
            edit(target);
        }
    }
}

fn is_named(object: &Value, kind: &str, name: &str, namespace: &str) -> bool {
    object["kind"] == kind && object["metadata"]["name"] == name && object["metadata"]["namespace"] == namespace
}

/// A random number that is the same in every run.
fn seed(now: Timestamp) -> u64 {
    now.as_second().unsigned_abs()
}
