//! Rollouts of a store, as `canary::report` tells them: what `describe`, `watch` and the dashboard look at.

use api::{
    flagger::{Canary, Phase},
    meta::ObjectReference,
};
use canary::{
    report::{self, Known, Rollout, Row, Workload},
    router,
    trail::{self, Run, published},
};
use reconcile::{Result, Store};
use serde_json::Value;

/// Reads what a report needs.
#[derive(Clone, Debug)]
pub struct Rollouts {
    store: Store,
    router: router::Options,
}

/// What was read about one rollout.
struct Read {
    run: Option<Run>,
    target: Option<Workload>,
    primary: Option<Workload>,
    actual: Option<u32>,
}

impl Read {
    fn known(&self) -> Known<'_> {
        Known {
            run: self.run.as_ref(),
            target: self.target.as_ref(),
            primary: self.primary.as_ref(),
            actual: self.actual,
        }
    }
}

impl Rollouts {
    /// Over a store; the options say which routers serve Canaries that name none.
    pub fn new(store: Store, router: router::Options) -> Self {
        Self { store, router }
    }

    /// All rollouts, or those of a namespace, those first that need somebody.
    pub async fn rows(&self, namespace: Option<&str>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for canary in self.store.list::<Canary>(namespace).await? {
            rows.push(self.row(&canary).await?);
        }
        rows.sort_by(urgency);
        Ok(rows)
    }

    /// Where a rollout stands, in one line.
    pub async fn row(&self, canary: &Canary) -> Result<Row> {
        let run = self.last_run(canary).await?;
        let mut read = Read { run, target: None, primary: None, actual: None };
        // The last run tells the versions, unless another has begun of which nothing is kept yet.
        let phase = canary.status().phase;
        let is_past = |run: &Run| run.image.is_none() || (run.ended.is_some() && run.phase != phase);
        if read.run.as_ref().is_none_or(is_past) {
            read.target = self.workload(canary, &canary.spec.target_ref.name).await?;
            read.primary = self.workload(canary, &canary.primary_name()).await?;
        }
        read.actual = self.actual(canary).await;
        Ok(report::row(canary, read.known()))
    }

    /// All that is known of a rollout, and its last run.
    pub async fn rollout(&self, canary: &Canary) -> Result<(Rollout, Option<Run>)> {
        let read = Read {
            run: self.last_run(canary).await?,
            target: self.workload(canary, &canary.spec.target_ref.name).await?,
            primary: self.workload(canary, &canary.primary_name()).await?,
            actual: self.actual(canary).await,
        };
        Ok((report::rollout(canary, read.known()), read.run))
    }

    /// The runs that were kept, oldest first.
    pub async fn runs(&self, canary: &Canary) -> Result<Vec<Run>> {
        let (database, prefix) = (self.store.database(), trail::prefix(canary.namespace(), canary.name()));
        let heads = database.scan(trail::BUCKET, &prefix).await?;
        let runs = trail::runs(&heads, &database.scan(trail::TICKS, &prefix).await?);
        Ok(if runs.is_empty() { self.published(canary).await } else { runs })
    }

    /// The runs that a controller on a cluster publishes: its database is out of reach from outside.
    async fn published(&self, canary: &Canary) -> Vec<Run> {
        if self.store.is_standalone() {
            return Vec::new();
        }
        match self.store.find(&published::id(canary)).await {
            Ok(found) => found.as_ref().map(published::runs).unwrap_or_default(),
            // Who may not see ConfigMaps still sees Canaries.
            Err(error) => {
                tracing::debug!(%error, "runs cannot be read");
                Vec::new()
            }
        }
    }

    async fn last_run(&self, canary: &Canary) -> Result<Option<Run>> {
        let (database, prefix) = (self.store.database(), trail::prefix(canary.namespace(), canary.name()));
        let Some((key, head)) = database.last(trail::BUCKET, &prefix).await? else {
            return Ok(self.published(canary).await.pop());
        };
        let ticks = database.scan(trail::TICKS, &key).await?;
        match trail::runs(&[(key, head)], &ticks).pop() {
            Some(run) => Ok(Some(run)),
            None => Ok(self.published(canary).await.pop()),
        }
    }

    async fn workload(&self, canary: &Canary, name: &str) -> Result<Option<Workload>> {
        let target = &canary.spec.target_ref;
        let id = ObjectReference {
            api_version: target.api_version.clone(),
            kind: target.kind.clone(),
            namespace: canary.namespace().into(),
            name: name.into(),
        };
        let found = match self.store.find(&id).await {
            Ok(found) => found,
            // Who may not see workloads still sees Canaries.
            Err(error) => {
                tracing::debug!(%error, "workload cannot be read");
                None
            }
        };
        let count = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        Ok(found.map(|object| Workload {
            name: name.to_owned(),
            image: object.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned),
            ready: count(&object, "/status/readyReplicas")
                .or_else(|| count(&object, "/status/numberReady"))
                .unwrap_or(0),
            desired: count(&object, "/spec/replicas")
                .or_else(|| count(&object, "/status/desiredNumberScheduled"))
                .unwrap_or(1),
        }))
    }

    /// The canary's share of traffic as the route has it, while a rollout is under way.
    async fn actual(&self, canary: &Canary) -> Option<u32> {
        let moves = matches!(canary.status().phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting);
        if !moves {
            return None;
        }
        let mut current = Vec::new();
        for id in router::objects(canary, &self.router).ok()? {
            current.extend(self.store.find(&id).await.ok().flatten());
        }
        router::weights(canary, &self.router, &current).ok().map(|weights| weights.canary)
    }
}

/// The order in which people want to see rollouts: failed and waiting first, the latest change first.
pub fn urgency(one: &Row, other: &Row) -> std::cmp::Ordering {
    let key = |row: &Row| (row.state, std::cmp::Reverse(row.since));
    key(one).cmp(&key(other)).then_with(|| (&one.ns, &one.name).cmp(&(&other.ns, &other.name)))
}
