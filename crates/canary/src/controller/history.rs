//! The trail of rollouts, kept in the store's database: one record per run. On a cluster it is published, too.

use std::sync::PoisonError;

use api::flagger::Canary;
use jiff::Timestamp;
use reconcile::{Failure, object};
use serde_json::Value;

use super::{Rollouts, tick::Scene};
use crate::{
    events::SOURCE,
    machine::{Answers, Decision},
    trail::{self, Run, published},
};

impl Rollouts {
    /// The run with what the tick adds to it, if that is anything; to be asked before the decision is performed.
    pub(super) async fn told_run(
        &self,
        scene: &Scene,
        answers: &Answers,
        decision: &Decision,
    ) -> Result<Option<Run>, Failure> {
        let Some(tick) = trail::entry(&scene.canary, answers, decision, scene.now) else { return Ok(None) };
        let last = self.last_run(&scene.canary).await?;
        let target = &scene.canary.spec.target_ref;
        let image = |name: &str| {
            let is_it = |one: &&Value| one["kind"] == target.kind && one["metadata"]["name"] == name;
            let workload = scene.objects.iter().find(is_it)?;
            workload.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned)
        };
        let images = (image(&target.name), image(&scene.canary.primary_name()));
        Ok(Some(trail::record(last, &scene.canary, images, decision, tick)))
    }

    /// Keeps the run after the tick was performed.
    pub(super) async fn keep(&self, canary: &Canary, run: &Run, now: Timestamp) -> Result<(), Failure> {
        let database = self.context.store.database();
        self.note_run(canary, run).await?;
        if run.ticks.len() == 1 {
            let known = database.scan(trail::BUCKET, &trail::prefix(canary.namespace(), canary.name())).await?;
            for (key, _) in known.iter().take(known.len().saturating_sub(trail::KEPT)) {
                database.remove(trail::BUCKET, key).await?;
            }
        }
        self.publish(canary, run, now).await;
        Ok(())
    }

    async fn note_run(&self, canary: &Canary, run: &Run) -> Result<(), Failure> {
        let value = serde_json::to_vec(run).map_err(|error| Failure::new("Failed", error.to_string()))?;
        Ok(self.context.store.database().note(trail::BUCKET, &trail::key(canary, run), &value).await?)
    }

    /// The runs that the database holds, oldest first. A record of another version is history that nobody can read.
    async fn kept_runs(&self, canary: &Canary) -> Result<Vec<Run>, Failure> {
        let prefix = trail::prefix(canary.namespace(), canary.name());
        let records = self.context.store.database().scan(trail::BUCKET, &prefix).await?;
        Ok(records.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect())
    }

    /// Writes the runs where others can read them, if it is time to. A rollout does not fail because nobody can look at it.
    async fn publish(&self, canary: &Canary, run: &Run, now: Timestamp) {
        let id = object::reference(canary);
        let last = self.published.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        if self.context.store.is_standalone() || !published::is_due(run, last, now) {
            return;
        }
        let written = async {
            let runs = self.kept_runs(canary).await.map_err(|failure| failure.message)?;
            let object = published::object(canary, &runs);
            self.context.store.apply(SOURCE, &object).await.map_err(|error| error.to_string())
        };
        match written.await {
            Ok(_) => drop(self.published.lock().unwrap_or_else(PoisonError::into_inner).insert(id, now)),
            Err(problem) => tracing::warn!(problem, "runs cannot be published"),
        }
    }

    /// The last run. It is read whenever it is needed: a thousand Canaries' runs do not stay in memory.
    async fn last_run(&self, canary: &Canary) -> Result<Option<Run>, Failure> {
        let (store, prefix) = (&self.context.store, trail::prefix(canary.namespace(), canary.name()));
        if let Some(record) = store.database().last(trail::BUCKET, &prefix).await? {
            return Ok(serde_json::from_slice(&record).ok());
        }
        if store.is_standalone() {
            return Ok(None);
        }
        // The database is the pod's; the one before this may have had another.
        let found = store.find_cached(&published::id(canary)).await?;
        let mut runs = found.as_ref().map(published::runs).unwrap_or_default();
        for run in &runs {
            self.note_run(canary, run).await?;
        }
        Ok(runs.pop())
    }
}
