//! One try to deliver a notification.

use api::notification::{Alert, Provider};
use http::HeaderValue;
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Context, Event, clock};
use serde_json::Value;

use super::{login::Logins, publish::publish};
use crate::{
    Error,
    outbox::Entry,
    provider::{self, Origin, Secrets, Service, Settings},
};

/// How a try went that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The service was told.
    Told,
    /// The service takes no such event, or the Provider is suspended.
    Skipped,
}

/// Tells the Provider's service. Provider and Secrets are read anew, so that a mended one helps what is waiting.
/// `firing` is the last error of the same object that the service was told of.
pub(super) async fn send(
    context: &Context,
    logins: &Logins,
    key: &str,
    entry: &Entry,
    firing: Option<&Event>,
) -> Result<Sent, Error> {
    let found = context.store.get::<Provider>(&entry.namespace, &entry.provider).await?;
    let provider = found.ok_or_else(|| Error::Missing(format!("Provider {}/{}", entry.namespace, entry.provider)))?;
    if provider.spec.suspend || !Service::of(&provider.spec.kind)?.takes(&entry.event) {
        return Ok(Sent::Skipped);
    }
    let settings = settings(context, &provider, entry).await?;
    let settings = logins.log_in(&context.store, &provider, settings).await?;
    let plan = provider::plan(&settings, &entry.event, firing, clock::now())?;
    let mut answers = Vec::new();
    for ask in plan.ask {
        answers.push(context.http.send(ask, &settings.endpoint).await?);
    }
    for mut request in provider::rest(&settings, &entry.event, &answers, plan.tell)? {
        if let (Service::Generic | Service::GenericHmac, Ok(key)) = (settings.service, HeaderValue::from_str(key)) {
            // A try whose answer was lost can be told from a second event.
            request.headers_mut().insert("idempotency-key", key);
        }
        let answer = context.http.send(request, &settings.endpoint).await?;
        provider::answered(&settings, &answer)?;
    }
    if let Some(publication) = plan.publish {
        publish(&publication, &settings.endpoint).await?;
    }
    Ok(Sent::Told)
}

/// The Provider as it is used for this message.
async fn settings(context: &Context, provider: &Provider, entry: &Entry) -> Result<Settings, Error> {
    let spec = &provider.spec;
    let main = secret(context, &entry.namespace, spec.secret_ref.as_ref()).await?;
    let certificate = secret(context, &entry.namespace, spec.cert_secret_ref.as_ref()).await?;
    let proxy = secret(context, &entry.namespace, spec.proxy_secret_ref.as_ref()).await?;
    let secrets = Secrets { main: main.as_ref(), certificate: certificate.as_ref(), proxy: proxy.as_ref() };
    let settings = Settings::read(spec, secrets)?;
    let mut alert = None;
    if settings.service.names_alert() {
        let found = context.store.get::<Alert>(&entry.namespace, &entry.alert).await?;
        alert = Some(found.ok_or_else(|| Error::Missing(format!("Alert {}/{}", entry.namespace, entry.alert)))?);
    }
    let settings = settings.of(provider, alert.as_ref(), &entry.event)?;
    if settings.service != Service::Otel {
        return Ok(settings);
    }
    let source_uid = source(context, &entry.event).await?;
    Ok(Settings { origin: Origin { source_uid, ..settings.origin.clone() }, ..settings })
}

/// UID of the source that the event's object is made from; empty if it names none that is there.
async fn source(context: &Context, event: &Event) -> Result<String, Error> {
    let about = &event.involved_object.reference;
    let object = context.store.find(about).await?.unwrap_or_default();
    let Some(reference) = object.pointer("/spec/sourceRef").or(object.pointer("/spec/chartRef")) else {
        return Ok(String::new());
    };
    let text = |key: &str| reference[key].as_str().map(str::to_owned);
    let source = api::meta::ObjectReference {
        api_version: text("apiVersion").unwrap_or_else(|| "source.toolkit.fluxcd.io/v1".into()),
        kind: text("kind").unwrap_or_default(),
        namespace: text("namespace").unwrap_or_else(|| about.namespace.clone()),
        name: text("name").unwrap_or_default(),
    };
    let found = context.store.find(&source).await?.unwrap_or_default();
    Ok(found.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned())
}

async fn secret(
    context: &Context,
    namespace: &str,
    reference: Option<&api::meta::LocalReference>,
) -> Result<Option<Secret>, Error> {
    let Some(reference) = reference else { return Ok(None) };
    let found = context.store.get::<Secret>(namespace, &reference.name).await?;
    found.map(Some).ok_or_else(|| Error::Missing(format!("Secret {namespace}/{}", reference.name)))
}
