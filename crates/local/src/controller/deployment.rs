//! Deployments: each has a task that compares pods with the spec, starts and stops, and writes the status.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::meta::ObjectReference;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use reconcile::{Context, Done, Failure, Notice, Reconciler, Style, clock, object};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    container,
    pods::{self, Plan, Wanted},
    rollout::{self, Counts, Facts, PROGRESS_DEADLINE, Problem, Progress},
    supervisor::{Order, Owner, Supervisor},
};

const CONTROLLER: &str = "deployment-controller";
/// Wait after a status could not be written.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait without a look: what was missed is seen then.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Runs Deployments.
pub struct Deployments {
    context: Context,
    supervisor: Supervisor,
    tasks: Mutex<HashMap<Owner, Task>>,
}

/// The task of one Deployment.
struct Task {
    spec: watch::Sender<Arc<Deployment>>,
    removed: CancellationToken,
}

impl Deployments {
    /// Runs none yet.
    pub fn new(context: Context, supervisor: Supervisor) -> Self {
        Self { context, supervisor, tasks: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(deployment: &Deployment) -> Owner {
    Owner { namespace: deployment.namespace().unwrap_or_default(), name: deployment.name_any() }
}

impl Reconciler for Deployments {
    type Kind = Deployment;
    const CONTROLLER: &'static str = CONTROLLER;
    const STYLE: Style = Style::Own;

    async fn reconcile(&self, deployment: Arc<Deployment>) -> Result<Done, Failure> {
        let owner = owner(&deployment);
        let mut tasks = self.lock();
        match tasks.get(&owner) {
            Some(task) => drop(task.spec.send_replace(deployment)),
            None => {
                let (spec, received) = watch::channel(deployment.clone());
                let removed = CancellationToken::new();
                let conditions = object::to_value(&*deployment).pointer("/status/conditions").cloned();
                let rollout = Rollout {
                    context: self.context.clone(),
                    supervisor: self.supervisor.clone(),
                    owner: owner.clone(),
                    wake: Arc::default(),
                    progress: None,
                    conditions: conditions.and_then(|list| list.as_array().cloned()).unwrap_or_default(),
                    written: Value::Null,
                    told: None,
                };
                tokio::spawn(rollout.run(received, removed.clone()));
                tasks.insert(owner, Task { spec, removed });
            }
        }
        Ok(Done::new("Deployment is run"))
    }

    fn removed(&self, deployment: &Deployment) {
        if let Some(task) = self.lock().remove(&owner(deployment)) {
            task.removed.cancel();
        }
    }
}

/// One Deployment and its pods.
struct Rollout {
    context: Context,
    supervisor: Supervisor,
    owner: Owner,
    wake: Arc<Notify>,
    progress: Option<Progress>,
    conditions: Vec<Value>,
    written: Value,
    told: Option<Problem>,
}

impl Rollout {
    /// Acts on every change of spec and pods until the Deployment is gone; then stops its pods.
    async fn run(mut self, mut spec: watch::Receiver<Arc<Deployment>>, removed: CancellationToken) {
        loop {
            let deployment = spec.borrow_and_update().clone();
            let wait = self.step(&deployment).await;
            tokio::select! {
                biased;
                // The status stays as it was: the next run goes on from it.
                () = self.supervisor.closing().cancelled() => return,
                changed = spec.changed() => if changed.is_err() { break },
                () = self.wake.notified() => {}
                () = clock::sleep(wait) => {}
                () = removed.cancelled() => break,
            }
        }
        if removed.is_cancelled() {
            for pod in self.supervisor.views(&self.owner, "").0 {
                self.supervisor.stop(&pod.name);
            }
        }
    }

    /// One comparison. Returns how long nothing is to be done unless something changes.
    async fn step(&mut self, deployment: &Deployment) -> Duration {
        let wanted = Wanted::of(deployment);
        let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
        let deadline =
            deadline.and_then(|seconds| u64::try_from(seconds).ok()).map_or(PROGRESS_DEADLINE, Duration::from_secs);
        let mut problem = self.act(deployment, &wanted).await;
        let now = clock::now();
        let (pods, pod_problem) = self.supervisor.views(&self.owner, &wanted.hash);
        problem = problem.or(pod_problem);
        let counts = Counts::of(&wanted, &pods, now);
        let progress = Progress::advance(self.progress.as_ref(), &wanted, counts, deadline, now);
        let facts = Facts {
            name: &self.owner.name,
            generation: deployment.metadata.generation.unwrap_or_default(),
            wanted: &wanted,
            counts,
            progress: &progress,
            problem: problem.as_ref(),
        };
        let status = rollout::status(&facts, &self.conditions, now);
        let timeout = progress.deadline(deadline);
        self.progress = Some(progress);
        self.tell(deployment, problem).await;
        if !self.write(status).await {
            return RETRY;
        }
        let ready =
            pods.iter().filter(|pod| !pod.is_available(wanted.min_ready, now)).filter_map(|pod| pod.ready_since);
        let available = ready.filter_map(|since| since.checked_add(wanted.min_ready).ok()).min();
        available
            .into_iter()
            .chain([timeout])
            .map(|time| until(time, now))
            .min()
            .unwrap_or(LONGEST_WAIT)
            .min(LONGEST_WAIT)
    }

    /// Starts and stops pods. What keeps it from starting is returned; pods that run stay.
    async fn act(&mut self, deployment: &Deployment, wanted: &Wanted) -> Option<Problem> {
        let template = deployment.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        let field = container::unsupported(&template.spec.clone().unwrap_or_default());
        if let Some(field) = field {
            return Some(("Unsupported", format!("{field} is not supported when running on one machine")));
        }
        let (views, _) = self.supervisor.views(&self.owner, &wanted.hash);
        let Plan { start, stop } = pods::plan(wanted, &views, clock::now());
        for name in &stop {
            self.supervisor.stop(name);
        }
        let order = Order { owner: self.owner.clone(), hash: wanted.hash.clone(), template, wake: self.wake.clone() };
        for _ in 0..start {
            if let Err(error) = self.supervisor.start(&order) {
                return Some((error.reason(), error.to_string()));
            }
        }
        if start > 0 || !stop.is_empty() {
            let message =
                format!("Started {start} and stopped {} pods of {}-{}", stop.len(), self.owner.name, wanted.hash);
            self.publish(deployment, &Notice::info("ScalingReplicaSet", message)).await;
        }
        None
    }

    /// Tells of a problem once.
    async fn tell(&mut self, deployment: &Deployment, problem: Option<Problem>) {
        if let Some((reason, message)) = problem.as_ref().filter(|problem| self.told.as_ref() != Some(problem)) {
            self.publish(deployment, &Notice::error(*reason, message.clone())).await;
        }
        self.told = problem;
    }

    async fn publish(&self, deployment: &Deployment, notice: &Notice) {
        if let Err(error) = self.context.events.publish(&object::to_value(deployment), CONTROLLER, notice).await {
            tracing::warn!(%error, "event cannot be kept");
        }
    }

    /// Writes the status if it differs from what was written last. False: it is to be tried again.
    async fn write(&mut self, status: Value) -> bool {
        if status == self.written {
            return true;
        }
        let id = ObjectReference {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            namespace: self.owner.namespace.clone(),
            name: self.owner.name.clone(),
        };
        match self.context.store.write_status(&id, CONTROLLER, &status).await {
            Ok(_) => {
                self.conditions = status["conditions"].as_array().cloned().unwrap_or_default();
                self.written = status;
                true
            }
            // Deleted meanwhile: its end is told in another way.
            Err(reconcile::Error::NotFound(_)) => true,
            Err(error) => {
                tracing::warn!(deployment = self.owner.name, %error, "status cannot be written");
                false
            }
        }
    }
}

/// From now until then; a little more than nothing, so that time has passed the point.
fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default() + Duration::from_millis(1)
}
