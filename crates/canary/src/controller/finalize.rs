//! The end of a Canary with `revertOnDeletion`: the workload gets its replicas and its traffic back (A.9).

use std::{sync::Arc, time::Duration};

use api::{
    flagger::{Canary, FINALIZER, Phase},
    meta::ObjectReference,
};
use kube::ResourceExt as _;
use reconcile::{Failure, clock, object};
use serde_json::json;

use super::{Rollouts, tick::Scene};
use crate::{
    conditions,
    events::{Names, SOURCE},
    machine::{Readiness, Role},
};

/// How long the target's readiness is waited for, in all: 3, 6, 12 and 24 seconds.
const PATIENCE: Duration = Duration::from_secs(45);
/// Wait between two looks.
const PAUSE: Duration = Duration::from_secs(3);

impl Rollouts {
    pub(super) async fn terminate(&self, canary: &Canary) -> Result<(), Failure> {
        if !canary.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let id = object::reference(canary);
        let names = Names::of(canary);
        let mut scene = self.look(id.clone(), canary.clone()).await?;
        if scene.world(&self.objects).unrivalled().is_err() {
            return self.release(&id, canary).await;
        }
        if canary.status().phase != Phase::Terminating {
            self.tell(canary, &names.terminating()).await?;
            self.announce_end(&mut scene).await?;
        }
        let writes = scene.world(&self.objects).revert().map_err(|problem| Failure::new("Failed", problem));
        // A target that is gone has nothing to get back.
        if let Ok(writes) = writes {
            self.write(&mut scene, writes).await?;
        }
        let since = scene.canary.status().last_transition_time.as_ref().map_or(scene.now, |time| time.0);
        let waited = clock::now().duration_since(since).unsigned_abs();
        let ready = scene.world(&self.objects).ready(Role::Canary);
        if let (Readiness::Waiting(problem), true) = (ready, waited < PATIENCE) {
            return Err(Failure::new("Terminating", problem).after(PAUSE));
        }
        self.look_closely(&mut scene).await?;
        let writes = scene.world(&self.objects).restore_apex();
        self.write(&mut scene, writes).await?;
        let writes = scene.world(&self.objects).restore_routes();
        self.write(&mut scene, writes).await?;
        self.tell(canary, &names.terminated()).await?;
        self.release(&id, canary).await
    }

    /// Reads the services and routes whole: what kubectl applied tells how they were, and is not kept in memory.
    async fn look_closely(&self, scene: &mut Scene) -> Result<(), Failure> {
        for id in scene.world(&self.objects).given_back() {
            if let Some(object) = self.context.store.find(&id).await? {
                scene.put(Arc::new(object));
            }
        }
        Ok(())
    }

    /// Takes the finalizer off.
    async fn release(&self, id: &ObjectReference, canary: &Canary) -> Result<(), Failure> {
        let left: Vec<_> = canary.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        match self.context.store.patch(id, SOURCE, &json!({"metadata": {"finalizers": left}})).await {
            Ok(_) | Err(reconcile::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn announce_end(&self, scene: &mut Scene) -> Result<(), Failure> {
        let mut status = scene.canary.status().into_owned();
        status.phase = Phase::Terminating;
        let kind = scene.canary.spec.target_ref.kind.clone();
        conditions::set(&mut status.conditions, Phase::Terminating, &kind, scene.now);
        status.last_transition_time = Some(api::Time(scene.now));
        Ok(self.put_status(scene, status).await?)
    }
}
