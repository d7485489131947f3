//! The trail of rollouts, kept in the store's database: one record per run.

use std::sync::PoisonError;

use api::flagger::Canary;
use reconcile::{Failure, object};
use serde_json::Value;

use super::{Rollouts, tick::Scene};
use crate::{
    machine::{Answers, Decision},
    trail::{self, Change, Run},
};

impl Rollouts {
    /// What the tick adds to the trail; to be asked before the decision is performed.
    pub(super) async fn change(
        &self,
        scene: &Scene,
        answers: &Answers,
        decision: &Decision,
    ) -> Result<Change, Failure> {
        let current = self.current_run(&scene.canary).await?;
        let target = &scene.canary.spec.target_ref;
        let image = |name: &str| {
            let is_it = |one: &&Value| one["kind"] == target.kind && one["metadata"]["name"] == name;
            let workload = scene.objects.iter().find(is_it)?;
            workload.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned)
        };
        let images = (image(&target.name), image(&scene.canary.primary_name()));
        Ok(trail::record(current.as_ref(), &scene.canary, images, (answers, decision), scene.now))
    }

    /// Keeps what a performed tick added.
    pub(super) async fn keep(&self, canary: &Canary, change: Change) -> Result<(), Failure> {
        let Change::Run(run) = change else { return Ok(()) };
        let database = self.context.store.database();
        let value = serde_json::to_vec(&run).map_err(|error| Failure::new("Failed", error.to_string()))?;
        database.note(trail::BUCKET, &trail::key(canary, &run), &value).await?;
        if run.ticks.len() == 1 {
            let known = database.scan(trail::BUCKET, &trail::prefix(canary.namespace(), canary.name())).await?;
            for (key, _) in known.iter().take(known.len().saturating_sub(trail::KEPT)) {
                database.remove(trail::BUCKET, key).await?;
            }
        }
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.insert(object::reference(canary), Some(run));
        Ok(())
    }

    /// The last run; read from the database once per life of the process.
    async fn current_run(&self, canary: &Canary) -> Result<Option<Run>, Failure> {
        let id = object::reference(canary);
        let known = self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(run) = known {
            return Ok(run);
        }
        let prefix = trail::prefix(canary.namespace(), canary.name());
        let records = self.context.store.database().scan(trail::BUCKET, &prefix).await?;
        // A record of another version is history that nobody can read; a new one is begun.
        let run = records.last().and_then(|(_, value)| serde_json::from_slice(value).ok());
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, run.clone());
        Ok(run)
    }
}
