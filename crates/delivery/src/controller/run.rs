//! One run of a Kustomization over one artifact: build, apply, prune, wait for health, and what is written on the way.
//!
//! Source: reference delivery.md sections 5.2, 5.5 to 5.8.

use std::time::Duration;

use api::{
    Condition,
    conditions::{self, New, READY, RECONCILING, Status},
    kustomize::{Kustomization, ResourceInventory},
    meta::{ObjectReference, REQUESTED_AT},
    source::{Artifact, GitRepository},
};
use kube::ResourceExt as _;
use reconcile::{Context, Done, Failure, Notice, Store, clock, object};
use serde_json::{Map, Value, json};

use super::{
    apply::{self, How, Planned},
    jittered,
    pending::Pending,
    wait::{self, Unhealthy},
};
use crate::{
    apply::{Action, Change, MANAGER, prepare, report},
    build,
    decrypt::{self, Keys},
    drift::IgnoreRules,
    health::Expressions,
    history, inventory,
    order::{self, Stage},
    substitute::{Variables, substitute},
    tree::{self, Tree},
};

/// The health checks passed.
const HEALTHY: &str = "Healthy";
/// Limit for the objects of an early stage to become usable. Source: Flux `pkg/ssa`, `DefaultWaitOptions`.
const STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// A run under way.
pub(super) struct Run<'a> {
    context: &'a Context,
    /// The store with the rights of whom the objects are applied for.
    tenant: Store,
    kustomization: &'a Kustomization,
    /// How kinds are judged that the Kustomization has expressions for.
    judged: &'a Expressions,
    /// Managers whose fields are taken over besides `kubectl`'s.
    managers: &'a [String],
    source: ObjectReference,
    id: ObjectReference,
    revision: String,
    start: tokio::time::Instant,
    /// Merge patch of the status, as far as it is known.
    status: Map<String, Value>,
    /// What the status holds as inventory now.
    inventory: ResourceInventory,
    conditions: Vec<Condition>,
}

impl<'a> Run<'a> {
    /// Begins a run, and says so where the revision is a new one.
    pub(super) async fn begin(
        context: &'a Context,
        tenant: Store,
        kustomization: &'a Kustomization,
        judged: &'a Expressions,
        managers: &'a [String],
        (source, artifact): &(GitRepository, Artifact),
    ) -> Result<Self, Failure> {
        let known = kustomization.status.clone().unwrap_or_default();
        let mut run = Self {
            context,
            tenant,
            kustomization,
            judged,
            managers,
            source: object::reference(source),
            id: object::reference(kustomization),
            revision: artifact.revision.clone(),
            start: clock::instant(),
            status: Map::new(),
            inventory: known.inventory.unwrap_or_default(),
            conditions: known.conditions,
        };
        run.status.insert("lastAttemptedRevision".into(), run.revision.as_str().into());
        // Differs: Flux says this at every interval; here nothing is written while nothing changes.
        if known.last_attempted_revision.as_ref() != Some(&run.revision) {
            let timeout = api::Duration(kustomization.spec.timeout());
            let message = format!("Building manifests for revision {} with a timeout of {timeout}", run.revision);
            run.progress(&message).await?;
        }
        Ok(run)
    }

    /// Builds the folder and brings the objects in line with it.
    pub(super) async fn deliver(
        &mut self,
        tree: &Tree,
        keys: Option<&Keys>,
        variables: Option<&Variables>,
    ) -> Result<Done, Failure> {
        let spec = &self.kustomization.spec;
        let is_there = tree::join("", spec.path.trim_start_matches('/')).is_some_and(|path| tree.is_directory(&path));
        if !is_there {
            let message = format!("kustomization path not found: '{}' is no directory of {}", spec.path, self.revision);
            return Err(self.failure("ArtifactFailed", message));
        }
        let built = build::build(tree, spec).map_err(|error| format!("kustomize build failed: {error}"));
        let plain = built.and_then(|objects| match keys {
            Some(keys) => decrypt::objects(objects, keys),
            None => Ok(objects),
        });
        let built = plain.and_then(|objects| replace_variables(objects, variables));
        let objects = built.map_err(|message| self.failure("BuildFailed", message))?;
        let digest = history::digest(&objects);
        let outcome = self.bring_in_line(objects).await;
        let reason = outcome.as_ref().err().map_or("ReconciliationSucceeded", |failure| failure.reason);
        self.remember(&digest, reason);
        match outcome {
            Ok(()) => Ok(self.success()),
            Err(failure) => Err(failure.status(Value::Object(self.status.clone()))),
        }
    }

    /// Applies, prunes, and waits for health.
    async fn bring_in_line(&mut self, objects: Vec<Value>) -> Result<(), Failure> {
        let mut pending = Pending::read(self.context.store.database(), &self.id, &self.revision).await;
        let mut changes = self.apply(objects, &mut pending).await?;
        pending.complete(&mut changes);
        let new = inventory::of(changes.iter().map(|change| &change.object));
        if let Some(message) = report(&changes) {
            self.tell(&Notice::info("Progressing", message)).await?;
        }
        pending.applied_is_told().await;
        self.prune(new, &mut pending).await?;
        pending.all_is_told().await;
        self.check_health(&changes).await
    }

    /// Applies stage by stage. What is about to be applied is in the inventory before it is, so that a run which is cut
    /// leaves nothing behind that nobody would prune.
    async fn apply(&mut self, objects: Vec<Value>, pending: &mut Pending) -> Result<Vec<Change>, Failure> {
        let failed = |run: &Self, message: String| run.failure("ReconciliationFailed", message);
        let (namespace, name) = (self.kustomization.namespace().unwrap_or_default(), self.kustomization.name_any());
        let objects = prepare(objects, &namespace, &name).map_err(|message| failed(self, message))?;
        let ignored = IgnoreRules::read(&self.kustomization.spec.ignore).map_err(|message| failed(self, message))?;
        let how = How { force: self.kustomization.spec.force, ignored: &ignored, managers: self.managers };
        let store = &self.tenant.clone();
        let mut changes = Vec::new();
        for (stage, objects) in order::stages(objects) {
            let planned = apply::plan(store, objects, how).await;
            let planned = planned.map_err(|message| failed(self, message))?;
            self.claim(planned.iter().map(|planned| &planned.id)).await?;
            pending.note(planned.iter().filter_map(Planned::change)).await?;
            let written = apply::write(store, planned, how).await.map_err(|message| failed(self, message))?;
            if stage != Stage::Rest && !store.is_standalone() {
                let ids: Vec<_> = written.iter().map(|change| change.object.clone()).collect();
                let waited = wait::healthy(store, &ids, self.judged, STAGE_TIMEOUT, || async { Ok(None) }).await;
                if let Err(Unhealthy::Failed(message)) = waited {
                    return Err(failed(self, message));
                }
            }
            changes.extend(written);
        }
        Ok(changes)
    }

    /// Writes objects into the inventory that it does not hold yet.
    async fn claim(&mut self, ids: impl Iterator<Item = &ObjectReference>) -> Result<(), Failure> {
        let known = |entry: &_| self.inventory.entries.contains(entry);
        let new: Vec<_> = ids.map(inventory::entry).filter(|entry| !known(entry)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.inventory = inventory::with(std::mem::take(&mut self.inventory), &new);
        let status = json!({ "inventory": self.inventory });
        self.context.store.write_status(&self.id, MANAGER, &status).await?;
        Ok(())
    }

    /// Deletes what has left the source, and settles the inventory.
    async fn prune(&mut self, new: ResourceInventory, pending: &mut Pending) -> Result<(), Failure> {
        let (namespace, name) = (self.kustomization.namespace().unwrap_or_default(), self.kustomization.name_any());
        let stale = inventory::stale(&self.inventory, &new);
        let mut pruned = apply::Pruned::default();
        if self.kustomization.spec.prune {
            let deleted = pending.deletions();
            let ids: Vec<_> = stale.iter().filter_map(inventory::object).collect();
            pending.note(ids.iter().map(|id| (id, Action::Deleted))).await?;
            let was_ours = |id: &ObjectReference| deleted.contains(&id.to_string());
            pruned = apply::prune(&self.tenant, &stale, (&namespace, &name), was_ours).await;
        }
        self.inventory = inventory::with(new, &pruned.left);
        self.status.insert("inventory".into(), json!(self.inventory));
        if let Some(message) = report(&pruned.changes) {
            self.tell(&Notice::info("Progressing", message)).await?;
        }
        match pruned.errors.is_empty() {
            true => Ok(()),
            false => Err(self.failure("PruneFailed", pruned.errors.join("; "))),
        }
    }

    /// Waits until what was applied, or what is listed, is healthy.
    async fn check_health(&mut self, changes: &[Change]) -> Result<(), Failure> {
        let spec = &self.kustomization.spec;
        let applied = changes.iter().filter(|change| spec.wait && change.action != Action::Skipped);
        let mut ids: Vec<ObjectReference> = applied.map(|change| change.object.clone()).collect();
        if !spec.wait {
            ids = spec.health_checks.iter().map(|check| check.object()).collect();
        }
        if ids.is_empty() {
            return Ok(());
        }
        let was_healthy = conditions::is_true(&self.conditions, HEALTHY);
        let is_new = self.kustomization.status.as_ref().and_then(|status| status.last_applied_revision.as_ref())
            != Some(&self.revision);
        let timeout = spec.timeout();
        if !was_healthy || is_new {
            let limit = api::Duration(timeout);
            let message = format!("Running health checks for revision {} with a timeout of {limit}", self.revision);
            self.set(HEALTHY, Status::Unknown, "Progressing", &message);
            self.progress(&message).await?;
        }
        let start = clock::instant();
        let waited = wait::healthy(&self.tenant, &ids, self.judged, timeout, || self.newer_work()).await;
        let took = rounded(start.elapsed());
        match waited {
            Ok(()) => {
                let message = format!("Health check passed in {took}");
                self.set(HEALTHY, Status::True, "Succeeded", &message);
                let changed = report(changes).is_some();
                if !was_healthy || (is_new && changed) {
                    self.tell(&Notice::info("Progressing", message)).await?;
                }
                Ok(())
            }
            Err(Unhealthy::Store(error)) => Err(self.failure("HealthCheckFailed", error.to_string())),
            Err(Unhealthy::Failed(why)) => {
                let message = format!("health check failed after {took}: {why}");
                self.set(HEALTHY, Status::False, "HealthCheckFailed", &message);
                Err(self.failure("HealthCheckFailed", message))
            }
            Err(Unhealthy::Cancelled(why)) => {
                let message = format!("New reconciliation triggered by {why}, health checks are cancelled");
                self.set(HEALTHY, Status::False, "HealthCheckCanceled", &message);
                let notice = Notice::info("HealthCheckCanceled", &*message);
                Err(self.failure("HealthCheckCanceled", message).after(Duration::ZERO).telling(vec![notice]))
            }
        }
    }

    /// What has happened since the run began that makes waiting for its end pointless.
    async fn newer_work(&self) -> Result<Option<String>, reconcile::Error> {
        let own = self.kustomization.metadata.generation.unwrap_or_default();
        let requested = |annotations: Option<&Value>| {
            annotations.and_then(|all| all.get(REQUESTED_AT)).and_then(Value::as_str).map(str::to_owned)
        };
        let Some(live) = self.context.store.find(&self.id).await? else { return Ok(Some("deletion".into())) };
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(Some("deletion".into()));
        }
        if live.pointer("/metadata/generation").and_then(Value::as_i64).is_some_and(|generation| generation != own) {
            return Ok(Some("a change of the Kustomization".into()));
        }
        let before = self.kustomization.annotations().get(REQUESTED_AT).cloned();
        if requested(live.pointer("/metadata/annotations")) != before {
            return Ok(Some("a request".into()));
        }
        let source = self.context.store.find(&self.source).await?;
        let revision = source.as_ref().and_then(|source| source.pointer("/status/artifact/revision")?.as_str());
        Ok(revision.filter(|revision| *revision != self.revision).map(|revision| format!("revision {revision}")))
    }

    /// The outcome of a run that went well.
    fn success(&mut self) -> Done {
        self.status.insert("lastAppliedRevision".into(), self.revision.as_str().into());
        let next = jittered(self.kustomization.spec.interval.get());
        let took = rounded(self.start.elapsed());
        let told = format!("Reconciliation finished in {took}, next run in {}", self.kustomization.spec.interval);
        let notice = self.about(Notice::info("ReconciliationSucceeded", told));
        let done = Done::new(format!("Applied revision: {}", self.revision));
        let done = done.status(Value::Object(self.status.clone())).every(next);
        let done = done.notice(notice.with("commit_status", "update"));
        Done { reason: "ReconciliationSucceeded", ..done }
    }

    /// The outcome of a run that did not; tried again after the retry interval.
    pub(super) fn failure(&self, reason: &'static str, message: String) -> Failure {
        let notice = self.about(Notice::error(reason, &*message));
        let status = Value::Object(self.status.clone());
        let retry = self.kustomization.spec.retry_interval();
        Failure::new(reason, message).after(retry).status(status).telling(vec![notice])
    }

    /// Puts the build into the history.
    fn remember(&mut self, digest: &str, reason: &str) {
        let known = self.kustomization.status.as_ref().map(|status| status.history.clone()).unwrap_or_default();
        let took = self.start.elapsed();
        let history = history::with(known, digest, &self.revision, reason, round(took), clock::now());
        self.status.insert("history".into(), json!(history));
    }

    /// Says in the status what goes on.
    async fn progress(&mut self, message: &str) -> Result<(), Failure> {
        let mut conditions = self.conditions.clone();
        let generation = self.kustomization.metadata.generation.unwrap_or_default();
        let new = |kind, status, message| New { kind, status, reason: "Progressing", message, generation };
        conditions::set(&mut conditions, new(READY, Status::Unknown, "Reconciliation in progress"), clock::now());
        conditions::set(&mut conditions, new(RECONCILING, Status::True, message), clock::now());
        let mut status = self.status.clone();
        status.insert("conditions".into(), json!(conditions));
        self.context.store.write_status(&self.id, MANAGER, &Value::Object(status)).await?;
        Ok(())
    }

    /// Sets a condition of the stage's own, which the loop writes with the others.
    fn set(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        let generation = self.kustomization.metadata.generation.unwrap_or_default();
        conditions::set(&mut self.conditions, New { kind, status, reason, message, generation }, clock::now());
        let own = conditions::find(&self.conditions, kind);
        self.status.insert("conditions".into(), json!([own]));
    }

    /// The notice with the facts that go with every event of the run.
    fn about(&self, notice: Notice) -> Notice {
        notice.with("revision", &*self.revision)
    }

    async fn tell(&self, notice: &Notice) -> Result<(), Failure> {
        let notice = self.about(notice.clone());
        self.context.events.publish(&object::to_value(self.kustomization), MANAGER, &notice).await?;
        Ok(())
    }
}

/// The objects after substitution, if there is something to substitute.
fn replace_variables(objects: Vec<Value>, variables: Option<&Variables>) -> Result<Vec<Value>, String> {
    let Some(variables) = variables else { return Ok(objects) };
    let replaced = objects.into_iter().map(|object| {
        let failed = |error| {
            let id = ObjectReference::of(&object).map(|id| id.to_string()).unwrap_or_default();
            format!("post build failed for '{id}': {error}")
        };
        substitute(&object, variables).map_err(failed)
    });
    replaced.collect()
}

/// A span as people read it, in whole milliseconds.
fn rounded(span: Duration) -> api::Duration {
    api::Duration(round(span))
}

fn round(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
