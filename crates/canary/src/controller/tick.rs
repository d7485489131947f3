//! One tick: ask until the machine decides, then do what it decided, in its order.

use std::sync::Arc;

use api::{
    flagger::{Canary, CanaryStatus, FINALIZER, HookType, Phase},
    meta::ObjectReference,
};
use futures::FutureExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use reconcile::{Done, Failure, Verb, clock, object};
use serde_json::{Value, json};

use super::{Rollouts, history::Told};
use crate::{
    events::{Event, Names, SOURCE},
    machine::{self, Answers, Decision, Effect, Question, Step},
    patch, router,
    validate::validate,
    world::{self, World, Write},
};

/// The Canary and the objects around it, as read at the beginning of the tick and changed by its own writes since.
pub(super) struct Scene {
    pub id: ObjectReference,
    pub canary: Canary,
    pub objects: Vec<Value>,
    pub now: Timestamp,
    pub random: u64,
    /// What people are told of the run beside words.
    pub facts: Vec<(String, String)>,
}

impl Scene {
    pub fn world<'a>(&'a self, options: &'a world::Options) -> World<'a> {
        World { canary: &self.canary, options, objects: &self.objects, random: self.random, now: self.now }
    }

    /// Takes a written object into the picture.
    pub(super) fn put(&mut self, object: Arc<Value>) {
        let Some(id) = ObjectReference::of(&object).filter(|id| id.kind != self.id.kind) else { return };
        match self.objects.iter_mut().find(|known| router::is_named(known, &id)) {
            Some(known) => *known = Arc::unwrap_or_clone(object),
            None => self.objects.push(Arc::unwrap_or_clone(object)),
        }
    }
}

impl Rollouts {
    pub(super) async fn tick(&self, canary: &Canary) -> Result<Done, Failure> {
        let start = clock::instant();
        let id = object::reference(canary);
        if let Err(problem) = validate(canary, self.references()) {
            self.tell(canary, &Event::warning(problem.clone())).await?;
            return Err(Failure::terminal("Invalid", problem));
        }
        self.keep_finalizer(&id, canary).await?;
        let mut scene = self.look(id.clone(), canary.clone()).await?;
        let options = self.machine_options(&id);
        let mut answers = Answers::default();
        let decision = loop {
            match machine::step(&scene.canary, &options, &answers, scene.now) {
                Step::Ask(question) => self.answer(&mut scene, question, &mut answers).await?,
                Step::Done(decision) => break decision,
            }
        };
        let told = self.told_run(&scene, &answers, &decision).await?;
        scene.facts = told.as_ref().map(|told| told.run.facts()).unwrap_or_default();
        // On the heap, as a worker's stack is small.
        self.perform(&mut scene, &decision, told.as_ref()).boxed().await?;
        if let Some(told) = &told {
            self.tidy(&scene.canary, told, scene.now).await?;
        }
        if decision.is_full {
            self.remember(&id, scene.now);
        }
        self.numbers.note(&scene.canary, &answers, &decision, start.elapsed());
        // The interval counts from this tick, not from when it was done with.
        let now = clock::now();
        let since = now.duration_since(scene.now).try_into().unwrap_or_default();
        let wait = self.apart(&id, decision.next, decision.next.saturating_sub(since), now);
        Ok(Done::new(decision.waiting_for).requeue(wait))
    }

    /// Reads what the tick may need.
    pub(super) async fn look(&self, id: ObjectReference, canary: Canary) -> Result<Scene, Failure> {
        let wanted = match world::references(&canary, &self.objects) {
            Ok(wanted) => wanted,
            Err(problem) => {
                self.tell(&canary, &Event::warning(problem.clone())).await?;
                return Err(Failure::terminal("Unsupported", problem));
            }
        };
        let mut objects = self.context.store.find_all_cached(&wanted).await?;
        if let Some(rival) = world::rival(&canary, &objects) {
            objects.extend(self.context.store.find_cached(&rival).await?);
        }
        let target = &canary.spec.target_ref;
        let is_target = |one: &&Value| one["kind"] == target.kind && one["metadata"]["name"] == target.name;
        let configs =
            objects.iter().find(is_target).map(|target| world::dependencies(&canary, target)).unwrap_or_default();
        objects.extend(self.context.store.find_all_cached(&configs).await?);
        Ok(Scene { id, canary, objects, now: clock::now(), random: clock::random(), facts: Vec::new() })
    }

    /// Reads what a copy to the primary writes over.
    async fn look_at_copies(&self, scene: &mut Scene) -> Result<(), Failure> {
        let target = scene.world(&self.objects).target_object().ok();
        let wanted = target.map(|target| world::copies(&scene.canary, target)).unwrap_or_default();
        let found = self.context.store.find_all_cached(&wanted).await?;
        found.into_iter().for_each(|object| scene.put(Arc::new(object)));
        Ok(())
    }

    async fn answer(&self, scene: &mut Scene, question: Question, answers: &mut Answers) -> Result<(), Failure> {
        match question {
            Question::Target => answers.target = Some(scene.world(&self.objects).target()),
            Question::Ready(role) => {
                let ready = scene.world(&self.objects).ready(role);
                answers.ready.insert(role, ready);
            }
            Question::Weights => answers.weights = Some(scene.world(&self.objects).weights()),
            Question::Ensure(part) => {
                if scene.world(&self.objects).copies_for(part) {
                    self.look_at_copies(scene).await?;
                }
                let wanted = scene.world(&self.objects).ensure(part);
                let outcome = match wanted {
                    Ok(writes) => self.write(scene, writes).await.map_err(|error| error.to_string()),
                    Err(problem) => Err(problem),
                };
                answers.ensured.insert(part, outcome);
            }
            Question::MetricsOnline => answers.online = Some(self.online(&scene.canary).await),
            Question::Hook(index, phase) => {
                let status = scene.canary.status().into_owned();
                let outcome = self.call(&scene.canary, &status, index, phase).await;
                answers.hooks.insert(index, outcome);
            }
            Question::Metric(index) => {
                let measured = self.measure(&scene.canary, &scene.objects, index).await;
                answers.metrics.insert(index, measured);
            }
            Question::Requests(index) => {
                let counted = self.requests(&scene.canary, &scene.objects, index).await;
                answers.requests.insert(index, counted);
            }
            Question::Samples(index) => {
                let samples = self.samples(&scene.canary, &scene.objects, index).await;
                answers.samples.insert(index, samples);
            }
            Question::Shares(index) => {
                let shares = self.shares(&scene.canary, &scene.objects, index).await;
                answers.shares.insert(index, shares);
            }
        }
        Ok(())
    }

    /// From first to last; the first failure ends it, and the next tick begins afresh. What goes into the store is written
    /// together as far as nothing outside comes in between: most ticks write once. The trail follows the status.
    async fn perform(&self, scene: &mut Scene, decision: &Decision, told: Option<&Told>) -> Result<(), Failure> {
        let mut trail = told.map(|told| told.records(&scene.canary)).unwrap_or_default();
        let mut verbs = Vec::new();
        for effect in &decision.effects {
            match effect {
                Effect::WriteStatus => {
                    verbs.extend(decided(scene, decision));
                    verbs.extend(trail.drain(..).map(Verb::Note));
                }
                Effect::Event(event) => {
                    verbs.push(self.event(&scene.canary, event, &scene.facts));
                    if self.has_event_hooks(&scene.canary) {
                        self.store(scene, &mut verbs).await?;
                        self.call_event_hooks(&scene.canary, event).await;
                    }
                }
                Effect::Alert(alert) => {
                    self.store(scene, &mut verbs).await?;
                    self.alert(&scene.canary, &alert.clone().and(&scene.facts)).await;
                }
                Effect::PostRollout(phase) => {
                    self.store(scene, &mut verbs).await?;
                    self.post_rollout(scene, decision, *phase).await?;
                }
                effect => {
                    // What an effect writes depends on what those before it left.
                    self.store(scene, &mut verbs).await?;
                    if matches!(effect, Effect::CopyToPrimary) {
                        self.look_at_copies(scene).await?;
                    }
                    match scene.world(&self.objects).act(effect) {
                        Ok(writes) => verbs.extend(writes.into_iter().filter_map(|write| verb(scene, write))),
                        Err(problem) => return Err(self.failed(scene, problem).await),
                    }
                }
            }
        }
        verbs.extend(trail.into_iter().map(Verb::Note));
        // Nothing looks at the picture any more.
        self.stored(scene, verbs).await.map(drop)
    }

    /// Performs the writes that were gathered, and takes what they led to into the picture.
    async fn store(&self, scene: &mut Scene, verbs: &mut Vec<Verb>) -> Result<(), Failure> {
        if verbs.is_empty() {
            return Ok(());
        }
        let stored = self.stored(scene, std::mem::take(verbs)).await?;
        stored.into_iter().for_each(|object| scene.put(object));
        Ok(())
    }

    /// The objects as the writes left them.
    async fn stored(&self, scene: &Scene, verbs: Vec<Verb>) -> Result<Vec<Arc<Value>>, Failure> {
        match self.context.events.perform(SOURCE, verbs).boxed().await {
            Ok(stored) => Ok(stored),
            Err(error) => Err(self.failed(scene, error.to_string()).await),
        }
    }

    /// Tells of a write that could not be made up or was not taken; what the tick ends with.
    async fn failed(&self, scene: &Scene, problem: String) -> Failure {
        match self.tell(&scene.canary, &Event::warning(problem.clone())).await {
            Ok(()) => Failure::new("Failed", problem),
            Err(failure) => failure,
        }
    }

    /// The first that fails stops the others. Source: reference progressive-delivery.md, D.1.
    async fn post_rollout(&self, scene: &Scene, decision: &Decision, phase: Phase) -> Result<(), Failure> {
        let (analysis, names) = (scene.canary.analysis(), Names::of(&scene.canary));
        for (index, hook) in analysis.webhooks.iter().enumerate() {
            if hook.kind != HookType::PostRollout {
                continue;
            }
            let outcome = self.call(&scene.canary, &decision.status, index, phase).await;
            let event = match &outcome {
                Ok(()) => names.hook_passed("Post-rollout", &hook.name),
                Err(problem) => names.post_rollout_failed(&hook.name, problem),
            };
            self.tell(&scene.canary, &event.or_of(phase)).await?;
            if outcome.is_err() {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn write(&self, scene: &mut Scene, writes: Vec<Write>) -> Result<(), reconcile::Error> {
        let verbs: Vec<Verb> = writes.into_iter().filter_map(|write| verb(scene, write)).collect();
        if verbs.is_empty() {
            return Ok(());
        }
        let stored = self.context.store.perform(SOURCE, verbs).boxed().await?;
        stored.into_iter().for_each(|object| scene.put(object));
        Ok(())
    }

    pub(super) async fn put_status(&self, scene: &mut Scene, status: CanaryStatus) -> Result<(), reconcile::Error> {
        let verbs = changed(scene, status).into_iter().collect();
        self.context.store.perform(SOURCE, verbs).boxed().await.map(drop)
    }

    /// The finalizer is there exactly while `revertOnDeletion` is.
    async fn keep_finalizer(&self, id: &ObjectReference, canary: &Canary) -> Result<(), Failure> {
        let has = canary.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        if has == canary.spec.revert_on_deletion {
            return Ok(());
        }
        let others = canary.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).map(String::as_str);
        let ours = canary.spec.revert_on_deletion.then_some(FINALIZER);
        let finalizers: Vec<_> = others.chain(ours).collect();
        self.context.store.patch(id, SOURCE, &json!({"metadata": {"finalizers": finalizers}})).await?;
        Ok(())
    }
}

/// The write that a change to the world is in the store, if it changes anything.
fn verb(scene: &mut Scene, write: Write) -> Option<Verb> {
    match write {
        Write::Apply(ours) => Some(Verb::Apply(ours)),
        Write::Patch(id, patch) => Some(Verb::Patch(id, patch)),
        Write::Delete(id) => Some(Verb::Delete(id)),
        Write::Cookies(cookies) => {
            let status = CanaryStatus {
                session_affinity_cookie: cookies.session_affinity_cookie,
                primary_session_affinity_cookie: cookies.primary_session_affinity_cookie,
                previous_session_affinity_cookie: cookies.previous_session_affinity_cookie,
                ..scene.canary.status().into_owned()
            };
            changed(scene, status)
        }
    }
}

/// The decided status; the cookies are the router's and stay.
fn decided(scene: &mut Scene, decision: &Decision) -> Option<Verb> {
    let now = scene.canary.status().into_owned();
    let status = CanaryStatus {
        session_affinity_cookie: now.session_affinity_cookie,
        primary_session_affinity_cookie: now.primary_session_affinity_cookie,
        previous_session_affinity_cookie: now.previous_session_affinity_cookie,
        ..decision.status.clone()
    };
    changed(scene, status)
}

/// Takes another status into the picture: the write that leads to it, if it is another one.
fn changed(scene: &mut Scene, status: CanaryStatus) -> Option<Verb> {
    let value = |status: &CanaryStatus| serde_json::to_value(status).unwrap_or_default();
    let before = scene.canary.status.as_ref().map_or_else(|| json!({}), value);
    let patch = patch::difference(&before, &value(&status));
    scene.canary.status = Some(status);
    (patch != json!({})).then(|| Verb::Status(scene.id.clone(), patch))
}
