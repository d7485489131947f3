//! The loop of Receivers: whether each can be used, and its path.

use std::sync::Arc;

use api::{
    Duration,
    notification::{Receiver, ReceiverType},
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{Announce, Concerned, Done, Failure, Notice, Reconciler, Store};
use serde_json::{Value, json};

use crate::{CONTROLLER, receiver::readiness};

/// The reconciler of Receivers.
pub(super) struct Receivers {
    pub(super) store: Store,
}

impl Reconciler for Receivers {
    type Kind = Receiver;
    const CONTROLLER: &'static str = CONTROLLER;
    const ANNOUNCE: Announce = Announce::BecameReady;

    fn suspended(&self, receiver: &Receiver) -> bool {
        receiver.spec.suspend
    }

    async fn reconcile(&self, receiver: Arc<Receiver>) -> Result<Done, Failure> {
        let namespace = receiver.namespace().unwrap_or_default();
        let reference = receiver.spec.secret_ref.as_ref();
        let reference = reference.filter(|_| receiver.spec.kind != Some(ReceiverType::GenericOidc));
        let secret = match reference {
            Some(reference) => self.store.get::<Secret>(&namespace, &reference.name).await?,
            None => None,
        };
        let data = secret.map(|secret| secret.data.unwrap_or_default());
        let path = readiness::check(&receiver, data.as_ref()).map_err(|unready| {
            let build = if unready.is_terminal { Failure::terminal } else { Failure::new };
            build(unready.reason, unready.message).status(json!({"webhookPath": Value::Null}))
        })?;
        let next = receiver.spec.interval();
        Ok(Done::new(format!("Receiver initialized for path: {path}"))
            .status(json!({"webhookPath": path}))
            .requeue(next)
            .notice(Notice::trace("Succeeded", format!("Reconciliation finished, next run in {}", Duration(next)))))
    }
}

/// Receivers whose Secret changed: their path changes with it.
///
/// Differs: Flux notices at the next interval.
pub(super) fn secret_changed<'a>(before: Option<&'a Secret>, after: Option<&'a Secret>) -> Concerned<'a, Receiver> {
    let secret = after.or(before)?;
    if before.map(|secret| &secret.data) == after.map(|secret| &secret.data) {
        return None;
    }
    Some(Box::new(|receiver| {
        receiver.namespace() == secret.namespace()
            && receiver.spec.secret_ref.as_ref().is_some_and(|reference| reference.name == secret.name_any())
    }))
}
