//! Telling people: events in the store and on the bus, alerts in chat.

use api::flagger::{AlertProvider, Canary};
use bytes::Bytes;
use reconcile::{Endpoint, Failure, Notice, object};
use std::time::Duration;

use super::{Rollouts, providers::credentials};
use crate::{
    alerts::{self, Alert},
    events::{Event, Kind, REASON, SOURCE},
};

/// Longest time for one chat message. Source: reference progressive-delivery.md, F.5.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Rollouts {
    /// Records an event and sends it to the event hooks.
    pub(super) async fn tell(&self, canary: &Canary, event: &Event) -> Result<(), Failure> {
        let notice = match event.kind {
            Kind::Normal => Notice::info(REASON, &event.text),
            Kind::Warning => Notice::error(REASON, &event.text),
        };
        self.context.events.publish(&object::to_value(canary), SOURCE, &notice).await?;
        self.call_event_hooks(canary, event).await;
        Ok(())
    }

    /// Sends an alert to every provider that receives its severity. A provider that fails stops nobody.
    pub(super) async fn alert(&self, canary: &Canary, alert: &Alert) {
        for wanted in canary.analysis().alerts.iter().filter(|wanted| wanted.receives(alert.severity)) {
            let namespace = wanted.provider_ref.namespace_or(canary.namespace());
            if let Err(problem) = self.send(canary, namespace, &wanted.provider_ref.name, alert).await {
                tracing::warn!(provider = wanted.provider_ref.name, problem, "alert was not sent");
            }
        }
    }

    async fn send(&self, canary: &Canary, namespace: &str, name: &str, alert: &Alert) -> Result<(), String> {
        let provider: AlertProvider = match self.context.store.get(namespace, name).await {
            Ok(Some(provider)) => provider,
            Ok(None) => return Err("alert provider not found".into()),
            Err(error) => return Err(error.to_string()),
        };
        let provider = provider.spec;
        let secret = match &provider.secret_ref {
            Some(reference) => credentials(&self.context.store, namespace, reference).await?,
            None => Default::default(),
        };
        let text = |key: &str| secret.get(key).map(|value| String::from_utf8_lossy(value).trim().to_owned());
        let address = text("address").unwrap_or_else(|| provider.address.clone());
        if address.is_empty() {
            return Ok(());
        }
        let payload = alerts::payload(canary, &provider, &address, alert)
            .ok_or_else(|| format!("alert provider type {:?} is not supported", provider.kind))?;
        let mut request = http::Request::post(alerts::address(&provider.kind, &address))
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = text("token").filter(|token| !token.is_empty()) {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Bytes::from(payload.to_string())).map_err(|error| error.to_string())?;
        let proxy = Some(provider.proxy.clone()).filter(|proxy| !proxy.is_empty());
        let endpoint = Endpoint { timeout: TIMEOUT, proxy, ..Endpoint::default() };
        let response = self.context.http.send(request, &endpoint).await.map_err(|error| error.to_string())?;
        if response.status().is_success() { Ok(()) } else { Err(format!("answered {}", response.status())) }
    }
}
