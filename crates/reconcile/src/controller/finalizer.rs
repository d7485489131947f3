//! Flux's finalizer: on before an object's first run, off after its last. Source: reference image-automation.md section 1.5.

use std::sync::Arc;

use api::meta::FLUX_FINALIZER;
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};

use super::{Next, Reconciler, Runner, Style};
use crate::{Error, object};

impl<R: Reconciler> Runner<R> {
    /// Puts the finalizer on.
    pub(super) async fn claim(&self, object: &R::Kind, value: Value) -> Result<Value, Error> {
        if !R::FINALIZES || object.finalizers().iter().any(|finalizer| finalizer == FLUX_FINALIZER) {
            return Ok(value);
        }
        let finalizers: Vec<_> = object.finalizers().iter().map(String::as_str).chain([FLUX_FINALIZER]).collect();
        // The list is replaced as a whole: somebody else's finalizer must not get lost.
        let version = &object.meta().resource_version;
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        self.context.store.patch(&object::reference(object), R::CONTROLLER, &patch).await
    }

    /// Lets the stage clean up, then the object go.
    pub(super) async fn delete(&self, object: Arc<R::Kind>) -> Result<Next, Error> {
        if R::STYLE == Style::Flux && !object.finalizers().iter().any(|finalizer| finalizer == FLUX_FINALIZER) {
            return Ok(Next::Gone);
        }
        if let Err(failure) = self.reconciler.finalize(object.clone()).await {
            tracing::warn!(reason = failure.reason, outcome = failure.message, "object cannot be finalized yet");
            return Ok(self.next(&object, &Err(failure)));
        }
        if R::STYLE == Style::Flux {
            let left: Vec<_> = object.finalizers().iter().filter(|finalizer| *finalizer != FLUX_FINALIZER).collect();
            let version = &object.meta().resource_version;
            let patch = json!({"metadata": {"finalizers": left, "resourceVersion": version}});
            match self.context.store.patch(&object::reference(&*object), R::CONTROLLER, &patch).await {
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Gone)
    }
}
