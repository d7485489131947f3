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

use crate::{
    CONTROLLER,
    receiver::readiness::{self, Unready},
};

/// The reconciler of Receivers.
pub(super) struct Receivers {
    pub(super) store: Store,
}

impl Reconciler for Receivers {
    type Kind = Receiver;
    const CONTROLLER: &'static str = CONTROLLER;
    // The path is a secret where nothing else proves a call: it stands in the status, and in no event.
    const ANNOUNCE: Announce = Announce::Never;

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
        let path = readiness::check(&receiver, data.as_ref())
            .map_err(|unready| unusable(unready).status(json!({"webhookPath": Value::Null})))?;
        let next = receiver.spec.interval();
        Ok(Done::new(format!("Receiver initialized for path: {path}"))
            .status(json!({"webhookPath": path}))
            .requeue(next)
            .notice(Notice::trace("Succeeded", format!("Reconciliation finished, next run in {}", Duration(next)))))
    }
}

/// A Receiver that cannot be used. The event of a failure that is retried has a reason of its own.
/// Source: notification-controller `internal/controller/receiver_controller.go`, `Reconcile`.
fn unusable(unready: Unready) -> Failure {
    let Unready { reason, message, is_terminal } = unready;
    match is_terminal {
        true => Failure::terminal(reason, message),
        false => Failure::new(reason, message.clone()).telling(vec![Notice::error("Failed", message)]),
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

#[cfg(test)]
mod tests {
    use reconcile::{Context, Directory, Http, Shutdown, clock, store::EventFilter};

    use super::*;
    use crate::controller::{Settings, controllers};

    /// The events about the Receiver once there is one of that reason.
    async fn events(store: &Store, reason: &str) -> Vec<(String, String)> {
        let start = clock::instant();
        loop {
            let filter = EventFilter { kind: Some("Receiver".into()), ..EventFilter::default() };
            let events = store.events(&filter).await.expect("events are read");
            if events.iter().any(|event| event.reason == reason) {
                return events.into_iter().map(|event| (event.reason, event.message)).collect();
            }
            assert!(start.elapsed().as_secs() < 20, "{events:?}");
            clock::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_receivers_events_are_those_of_flux_and_never_hold_its_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("the store opens");
        let store = Store::Directory(directory);
        let receiver = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": {"name": "push", "namespace": "apps"},
            "spec": {"type": "generic", "secretRef": {"name": "token"}, "resources": [{"kind": "ImageRepository", "name": "app"}]}});
        store.apply("user", &receiver).await.expect("it is applied");
        let shutdown = Shutdown::new();
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let running = tokio::spawn(controllers(context, Settings::default(), shutdown.clone()));
        let message = "unable to read token from secret 'apps/token' error: secrets \"token\" not found";
        let failed = ("Failed".to_owned(), message.to_owned());
        assert_eq!(events(&store, "Failed").await, std::slice::from_ref(&failed));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"},
            "stringData": {"token": "t"}});
        store.apply("user", &secret).await.expect("it is applied");
        let finished = ("Succeeded".to_owned(), "Reconciliation finished, next run in 10m0s".to_owned());
        assert_eq!(events(&store, "Succeeded").await, [failed, finished]);
        shutdown.cancel();
        running.await.expect("the loop ends");
    }
}
