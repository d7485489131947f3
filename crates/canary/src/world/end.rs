//! What a Canary that asks for it gives back when it is deleted. Source: reference progressive-delivery.md, A.9.

use api::meta::ObjectReference;
use serde_json::json;

use super::{World, Write, has_no_pods};
use crate::{
    router,
    workload::{self, Kind, Selector, daemonset, deployment, scaler, service},
};

impl World<'_> {
    /// What gives the target its replicas back when the Canary is deleted.
    pub fn revert(&self) -> Result<Vec<Write>, String> {
        let mut writes = self.patch_scaler(scaler::resume_patch);
        let scaler = self.canary.spec.autoscaler_ref.as_ref();
        let scaler = scaler.and_then(|reference| self.get(&reference.kind, &reference.name));
        writes.extend(match Kind::of(self.canary) {
            Kind::DaemonSet => self.patch_target(daemonset::scale_up_patch())?,
            _ => {
                let (target, primary) = (self.target_object()?, self.primary_object());
                self.patch_target(deployment::revert_patch(self.canary, target, primary, scaler))?
            }
        });
        Ok(writes)
    }

    /// What makes the apex service lead to the target again when the Canary is deleted.
    ///
    /// Differs: the original leaves a service that the Canary owns alone, and with it no way to the target until it is
    /// garbage collected; here every apex service leads to the target again.
    pub fn restore_apex(&self) -> Vec<Write> {
        let live = self.get("Service", &service::name(self.canary, service::Role::Apex));
        let selector = self
            .target_object()
            .ok()
            .and_then(|target| workload::selector(self.canary, target, &self.options.workload).ok());
        let id = live.and_then(ObjectReference::of);
        let patch = |selector: Selector| json!({"spec": {"selector": {selector.label: selector.value}}});
        let pair = id.zip(selector).filter(|_| !has_no_pods(self.canary));
        pair.map(|(id, selector)| Write::Patch(id, patch(selector))).into_iter().collect()
    }

    /// What gives the routes back that were there before, where they are known, when the Canary is deleted.
    pub fn restore_routes(&self) -> Vec<Write> {
        let end = router::finalize(self.canary, &self.options.router, self.objects);
        let patches = end.patch.into_iter().map(|(id, patch)| Write::Patch(id, patch));
        let writes = end.apply.into_iter().map(Write::Apply).chain(patches);
        writes.chain(end.delete.into_iter().map(Write::Delete)).collect()
    }
}
