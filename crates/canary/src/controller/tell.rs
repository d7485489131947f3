//! Telling people: events in the store and on the bus, alerts in chat.

use api::flagger::{AlertProvider, AlertProviderSpec, Canary};
use bytes::Bytes;
use futures::FutureExt as _;
use reconcile::{Endpoint, Failure, Notice, Verb};
use std::time::Duration;

use super::{Rollouts, providers::credentials};
use crate::{
    alerts::{self, Alert},
    events::{Event, Kind, REASON, SOURCE},
};

/// Longest time for one chat message. Source: reference progressive-delivery.md, F.5.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A chat, and how it is reached.
#[derive(Clone)]
pub struct Notifier {
    /// Which, and where.
    pub provider: AlertProviderSpec,
    /// Bearer token; empty for none.
    pub token: String,
}

/// Addresses of chats hold secrets, as the token does.
impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("kind", &self.provider.kind).finish_non_exhaustive()
    }
}

impl Rollouts {
    /// Records an event and sends it to the event hooks.
    pub(super) async fn tell(&self, canary: &Canary, event: &Event) -> Result<(), Failure> {
        self.context.events.perform(SOURCE, vec![self.event(canary, event, &[])]).boxed().await?;
        self.call_event_hooks(canary, event).await;
        Ok(())
    }

    /// An event, with facts of the run, as it is to be recorded.
    pub(super) fn event(&self, canary: &Canary, event: &Event, facts: &[(String, String)]) -> Verb {
        let mut notice = match event.kind {
            Kind::Normal => Notice::info(REASON, &event.text),
            Kind::Warning => Notice::error(REASON, &event.text),
        };
        notice.metadata.extend(facts.iter().cloned());
        Verb::Record(self.context.events.about(canary, SOURCE, &notice))
    }

    /// Sends an alert to every provider that receives its severity, or to the controller's own if the Canary names none. A
    /// provider that fails stops nobody. Source: reference progressive-delivery.md, F.1.
    pub(super) async fn alert(&self, canary: &Canary, alert: &Alert) {
        let analysis = canary.analysis();
        if let (Some(notifier), []) = (&self.options.notifier, analysis.alerts.as_slice())
            && let Err(problem) = self.chat(canary, notifier, alert).await
        {
            tracing::warn!(problem, "alert was not sent to the controller's own provider");
        }
        for wanted in analysis.alerts.iter().filter(|wanted| wanted.receives(alert.severity)) {
            let namespace = wanted.provider_ref.namespace_or(canary.namespace());
            if let Err(problem) = self.send(canary, namespace, &wanted.provider_ref.name, alert).await {
                tracing::warn!(provider = wanted.provider_ref.name, problem, "alert was not sent");
            }
        }
    }

    async fn send(&self, canary: &Canary, namespace: &str, name: &str, alert: &Alert) -> Result<(), String> {
        let provider: AlertProvider = match self.context.store.get_cached(namespace, name).await {
            Ok(Some(provider)) => provider,
            Ok(None) => return Err("alert provider not found".into()),
            Err(error) => return Err(error.to_string()),
        };
        let mut provider = provider.spec;
        let secret = match &provider.secret_ref {
            Some(reference) => credentials(&self.context.store, namespace, reference).await?,
            None => Default::default(),
        };
        let text = |key: &str| secret.get(key).map(|value| String::from_utf8_lossy(value).trim().to_owned());
        provider.address = text("address").unwrap_or(provider.address);
        let token = text("token").unwrap_or_default();
        self.chat(canary, &Notifier { provider, token }, alert).await
    }

    /// Without an address nothing is sent.
    async fn chat(&self, canary: &Canary, to: &Notifier, alert: &Alert) -> Result<(), String> {
        let Notifier { provider, token } = to;
        let address = &provider.address;
        if address.is_empty() {
            return Ok(());
        }
        let payload = alerts::payload(canary, provider, address, alert)
            .ok_or_else(|| format!("alert provider type {:?} is not supported", provider.kind))?;
        let mut request = http::Request::post(alerts::address(&provider.kind, address))
            .header(http::header::CONTENT_TYPE, "application/json");
        // The other chats have their secret in the address.
        if provider.kind == "slack" && !token.is_empty() {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::from(payload.to_string())).map_err(|error| error.to_string())?;
        let proxy = Some(provider.proxy.clone()).filter(|proxy| !proxy.is_empty());
        let endpoint = Endpoint { timeout: TIMEOUT, proxy, ..Endpoint::default() };
        let response = self.context.http.send(request, &endpoint).await.map_err(|error| error.to_string())?;
        if response.status().is_success() { Ok(()) } else { Err(format!("answered {}", response.status())) }
    }
}
