//! One try to deliver a notification.

use api::notification::{Alert, Provider};
use http::HeaderValue;
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Context, Event};

use crate::{
    Error,
    outbox::Entry,
    provider::{self, Secrets, Service, commit_status},
};

/// Tells the Provider's service. Provider and Secrets are read anew, so that a mended one helps what is waiting.
/// `firing` is the last error of the same object that the service was told of.
pub(super) async fn send(context: &Context, key: &str, entry: &Entry, firing: Option<&Event>) -> Result<(), Error> {
    let found = context.store.get::<Provider>(&entry.namespace, &entry.provider).await?;
    let provider = found.ok_or_else(|| Error::Missing(format!("Provider {}/{}", entry.namespace, entry.provider)))?;
    if provider.spec.suspend {
        return Ok(());
    }
    let spec = &provider.spec;
    if !Service::of(&spec.kind)?.takes(&entry.event) {
        return Ok(());
    }
    let main = secret(context, &entry.namespace, spec.secret_ref.as_ref()).await?;
    let certificate = secret(context, &entry.namespace, spec.cert_secret_ref.as_ref()).await?;
    let proxy = secret(context, &entry.namespace, spec.proxy_secret_ref.as_ref()).await?;
    let secrets = Secrets { main: main.as_ref(), certificate: certificate.as_ref(), proxy: proxy.as_ref() };
    let mut settings = provider::Settings::read(spec, secrets)?;
    if settings.service.has_commit_status() {
        let found = context.store.get::<Alert>(&entry.namespace, &entry.alert).await?;
        let alert = found.ok_or_else(|| Error::Missing(format!("Alert {}/{}", entry.namespace, entry.alert)))?;
        settings.status_context = commit_status::context(&provider, &alert, &entry.event)?;
    }
    let plan = provider::plan(&settings, &entry.event, firing)?;
    if let Some(ask) = plan.ask {
        let answer = context.http.send(ask, &settings.endpoint).await?;
        if provider::knows(&settings, &entry.event, &answer)? {
            return Ok(());
        }
    }
    for mut request in plan.tell {
        if let (Service::Generic | Service::GenericHmac, Ok(key)) = (settings.service, HeaderValue::from_str(key)) {
            // A try whose answer was lost can be told from a second event.
            request.headers_mut().insert("idempotency-key", key);
        }
        let answer = context.http.send(request, &settings.endpoint).await?;
        provider::answered(&settings, &answer)?;
    }
    Ok(())
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
