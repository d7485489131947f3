//! What a Canary that asks for it gives back when it is deleted. Source: reference progressive-delivery.md, A.9.

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{World, Write, has_no_pods};
use crate::{
    patch::difference,
    router,
    workload::{self, Kind, daemonset, deployment, scaler, service},
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
        let Some((live, id)) = live.and_then(|live| Some((live, ObjectReference::of(live)?))) else {
            return Vec::new();
        };
        if has_no_pods(self.canary) {
            return Vec::new();
        }
        let mut patch = json!({});
        if let Some(selector) = self.selector_before(live) {
            patch["spec"]["selector"] = difference(&live["spec"]["selector"], &selector);
        }
        if !service::is_own(self.canary, live) {
            let unmanaged = router::UNMANAGED.map(|(key, _)| (key.to_owned(), Value::Null));
            patch["metadata"]["annotations"] = Value::Object(unmanaged.into_iter().collect());
        }
        vec![Write::Patch(id, patch)]
    }

    /// The selector of the apex service before the Canary: as kubectl applied it, else the target's label.
    fn selector_before(&self, live: &Value) -> Option<Value> {
        let applied = live["metadata"]["annotations"].get(router::KUBECTL).and_then(Value::as_str);
        let applied = applied.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let applied = applied.and_then(|service| service.pointer("/spec/selector").cloned());
        applied.filter(|_| !service::is_own(self.canary, live)).or_else(|| {
            let selector = workload::selector(self.canary, self.target_object().ok()?, &self.options.workload).ok()?;
            Some(json!({selector.label: selector.value}))
        })
    }

    /// The objects whose state before the Canary may be known.
    pub fn given_back(&self) -> Vec<ObjectReference> {
        let apex = self.get("Service", &service::name(self.canary, service::Role::Apex)).and_then(ObjectReference::of);
        let routes = router::objects(self.canary, &self.options.router).unwrap_or_default();
        apex.into_iter().chain(routes).collect()
    }

    /// What gives the routes back that were there before, where they are known, when the Canary is deleted.
    pub fn restore_routes(&self) -> Vec<Write> {
        let end = router::finalize(self.canary, &self.options.router, self.objects);
        let patches = end.patch.into_iter().map(|(id, patch)| Write::Patch(id, patch));
        let writes = end.apply.into_iter().map(Write::Apply).chain(patches);
        writes.chain(end.delete.into_iter().map(Write::Delete)).collect()
    }
}
