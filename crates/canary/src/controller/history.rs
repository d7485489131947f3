//! The trail of rollouts, kept in the store's database. On a cluster it is published, too.

use std::sync::PoisonError;

use api::flagger::{Canary, Phase};
use jiff::Timestamp;
use reconcile::{Failure, Record, object};
use serde_json::Value;

use super::{Rollouts, tick::Scene};
use crate::{
    events::SOURCE,
    machine::{Answers, Decision},
    trail::{self, BUCKET, Head, Run, TICKS, published},
};

/// A run with what a tick adds to it.
pub(super) struct Told {
    /// The run; of its earlier ticks only the last one that measured something.
    pub run: Run,
    /// Its ticks so far, this one included.
    count: usize,
    /// The phase it was in before the tick; none if it begins.
    before: Option<Phase>,
}

impl Told {
    /// What is to be stored of it.
    pub fn records(&self, canary: &Canary) -> Vec<Record> {
        trail::records(canary, &self.run, 1, self.count)
    }
}

impl Rollouts {
    /// The run with what the tick adds to it, if that is anything; to be asked before the decision is performed.
    pub(super) async fn told_run(
        &self,
        scene: &Scene,
        answers: &Answers,
        decision: &Decision,
    ) -> Result<Option<Told>, Failure> {
        let Some(tick) = trail::entry(&scene.canary, answers, decision, scene.now) else { return Ok(None) };
        let last = self.last_run(&scene.canary).await?;
        let last = last.filter(|last| trail::goes_on(&last.run, &scene.canary, decision));
        let target = &scene.canary.spec.target_ref;
        let image = |name: &str| {
            let is_it = |one: &&Value| one["kind"] == target.kind && one["metadata"]["name"] == name;
            let workload = scene.objects.iter().find(is_it)?;
            workload.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned)
        };
        let images = (image(&target.name), image(&scene.canary.primary_name()));
        let (count, before) = last.as_ref().map_or((1, None), |last| (last.count + 1, Some(last.run.phase)));
        let run = trail::record(last.map(|last| last.run), &scene.canary, images, decision, tick);
        Ok(Some(Told { run, count, before }))
    }

    /// Tidies up after a run was stored, and publishes it.
    pub(super) async fn tidy(&self, canary: &Canary, told: &Told, now: Timestamp) -> Result<(), Failure> {
        let database = self.context.store.database();
        if told.count == 1 {
            let known = database.scan(BUCKET, &trail::prefix(canary.namespace(), canary.name())).await?;
            for (key, _) in known.iter().take(known.len().saturating_sub(trail::KEPT)) {
                database.remove_all(TICKS, &format!("{key}/")).await?;
                database.remove(BUCKET, key).await?;
            }
        }
        if let Some(surplus) = trail::surplus(canary, &told.run, told.count) {
            database.remove(TICKS, &surplus).await?;
        }
        self.publish(canary, told, now).await;
        Ok(())
    }

    /// The runs that the database holds, oldest first.
    async fn kept_runs(&self, canary: &Canary) -> Result<Vec<Run>, Failure> {
        let (database, prefix) = (self.context.store.database(), trail::prefix(canary.namespace(), canary.name()));
        Ok(trail::runs(&database.scan(BUCKET, &prefix).await?, &database.scan(TICKS, &prefix).await?))
    }

    /// Writes the runs where others can read them, if it is time to. A rollout does not fail because nobody can look at it.
    async fn publish(&self, canary: &Canary, told: &Told, now: Timestamp) {
        let id = object::reference(canary);
        let last = self.published.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        if self.context.store.is_standalone() || !published::is_due(&told.run, told.before, last, now) {
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
    async fn last_run(&self, canary: &Canary) -> Result<Option<Head>, Failure> {
        let (store, prefix) = (&self.context.store, trail::prefix(canary.namespace(), canary.name()));
        if let Some((_, record)) = store.database().last(BUCKET, &prefix).await? {
            return Ok(serde_json::from_slice(&record).ok());
        }
        if store.is_standalone() {
            return Ok(None);
        }
        // The database is the pod's; the one before this may have had another.
        let found = store.find_cached(&published::id(canary)).await?;
        let mut runs = found.as_ref().map(published::runs).unwrap_or_default();
        for run in &runs {
            let count = run.ticks.len();
            store.database().note_all(trail::records(canary, run, count, count)).await?;
        }
        Ok(runs.pop().map(|run| Head { count: run.ticks.len(), run }))
    }
}
