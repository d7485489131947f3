//! `slipway notify`: what each Alert and Provider would make of an event, without sending anything.

use std::collections::BTreeMap;

use anyhow::Context as _;
use api::notification::{Alert, Provider};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use notification::{
    alert, intake,
    provider::{self, Secrets, Service, Settings, nats::Publication},
};
use reconcile::Event;
use serde_json::{Value, json};

use super::{
    Exit,
    objects::{Placed, find},
    print, print_json, receive,
};
use crate::args::{Output, notify::Notify};

/// Stands where a cloud's or an App's token would be: nobody is asked for one here.
const UNASKED: &str = "TOKEN";

/// What one Alert makes of the event.
struct Told {
    alert: Alert,
    requests: Vec<Value>,
    /// Why nothing is sent.
    reason: Option<String>,
    is_wrong: bool,
}

/// Runs the verb.
pub fn run(args: &Notify) -> anyhow::Result<Exit> {
    notify(args).map_err(|error| super::wrong(args.output, error))
}

fn notify(args: &Notify) -> anyhow::Result<Exit> {
    let objects = receive::objects(&args.files)?;
    let event = intake::read(super::read(&args.event)?.as_bytes())
        .map_err(|problem| anyhow::anyhow!("{}: {problem}", args.event))?;
    let alerts = objects.iter().filter(|placed| placed.is("Alert"));
    let alerts: Vec<Alert> = alerts.map(Placed::typed).collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(!alerts.is_empty(), "no Alert in {}", args.files.join(", "));
    let told: Vec<Told> =
        alerts.into_iter().map(|alert| tell(&objects, alert, &event)).collect::<anyhow::Result<_>>()?;
    show(args, &told)?;
    let exit = match () {
        () if told.iter().any(|told| told.is_wrong) => Exit::Wrong,
        () if told.iter().all(|told| told.requests.is_empty()) => Exit::No,
        () => Exit::Done,
    };
    Ok(exit)
}

fn tell(objects: &[Placed], alert: Alert, event: &Event) -> anyhow::Result<Told> {
    let about = &event.involved_object.reference;
    let placed = find(objects, &about.kind, &about.namespace, &about.name);
    let object = placed.map(|placed| &placed.object);
    let verdict = alert::verdict(&alert, event, &object.map(alert::labels).unwrap_or_default());
    let nothing =
        |alert, reason: &str| Told { alert, requests: Vec::new(), reason: Some(reason.into()), is_wrong: false };
    if !verdict.takes {
        return Ok(nothing(alert, "the Alert does not take the event"));
    }
    let namespace = alert.namespace().unwrap_or_default();
    let name = alert.spec.provider_ref.name.clone();
    let Some(provider) = find(objects, "Provider", &namespace, &name) else {
        return Ok(Told { is_wrong: true, ..nothing(alert, &format!("Provider {namespace}/{name} not found")) });
    };
    let provider: Provider = provider.typed()?;
    if provider.spec.suspend {
        return Ok(nothing(alert, "the Provider is suspended"));
    }
    let outgoing = alert::outgoing(&alert, event, &object.map(alert::annotations).unwrap_or_default()).event;
    Ok(match requests(objects, &alert, &provider, &outgoing) {
        Ok(requests) if requests.is_empty() => nothing(alert, "the Provider's service does not take the event"),
        Ok(requests) => Told { alert, requests, reason: None, is_wrong: false },
        Err(error) => Told { is_wrong: true, ..nothing(alert, &format!("{error:#}")) },
    })
}

fn requests(objects: &[Placed], alert: &Alert, provider: &Provider, event: &Event) -> anyhow::Result<Vec<Value>> {
    let spec = &provider.spec;
    if !Service::of(&spec.kind)?.takes(event) {
        return Ok(Vec::new());
    }
    let namespace = provider.namespace().unwrap_or_default();
    let secret = |reference: Option<&api::meta::LocalReference>| -> anyhow::Result<Option<Secret>> {
        let Some(reference) = reference else { return Ok(None) };
        let found = find(objects, "Secret", &namespace, &reference.name);
        let found = found.with_context(|| format!("Secret {} not found", reference.name))?;
        receive::placed_secret(found).map(Some)
    };
    let (main, certificate, proxy) = (
        secret(spec.secret_ref.as_ref())?,
        secret(spec.cert_secret_ref.as_ref())?,
        secret(spec.proxy_secret_ref.as_ref())?,
    );
    let secrets = Secrets { main: main.as_ref(), certificate: certificate.as_ref(), proxy: proxy.as_ref() };
    let mut settings = Settings::read(spec, secrets)?.of(provider, Some(alert), event)?;
    if settings.login().is_some() {
        settings = settings.logged_in(UNASKED.into());
    }
    let plan = provider::plan(&settings, event, None, reconcile::clock::now())?;
    Ok(plan.ask.iter().chain(&plan.tell).map(request).chain(plan.publish.iter().map(publication)).collect())
}

/// What is published to a server that does not speak HTTP.
fn publication(publication: &Publication) -> Value {
    let server = publication.servers.first();
    let url = server.map(|server| format!("nats://{}:{}/{}", server.host, server.port, publication.subject));
    let body = serde_json::from_slice(&publication.payload).unwrap_or(Value::Null);
    json!({"method": "PUB", "url": url, "headers": {}, "body": body})
}

/// A request as JSON; a body that is JSON is shown as such.
fn request(request: &http::Request<bytes::Bytes>) -> Value {
    let headers: BTreeMap<&str, String> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let text = || Value::from(String::from_utf8_lossy(request.body()).into_owned());
    let body = serde_json::from_slice(request.body()).unwrap_or_else(|_| text());
    json!({"method": request.method().as_str(), "url": request.uri().to_string(), "headers": headers, "body": body})
}

fn show(args: &Notify, told: &[Told]) -> anyhow::Result<()> {
    if args.output == Output::Json {
        let rows: Vec<Value> = told
            .iter()
            .map(|told| {
                json!({"alert": format!("{}/{}", told.alert.namespace().unwrap_or_default(), told.alert.name_any()),
                    "provider": told.alert.spec.provider_ref.name, "requests": told.requests, "reason": told.reason})
            })
            .collect();
        return print_json(&rows);
    }
    for told in told {
        let heading = format!("alert {} to provider {}", told.alert.name_any(), told.alert.spec.provider_ref.name);
        match &told.reason {
            Some(reason) => print(&format!("{heading}: nothing is sent: {reason}\n")),
            None => print(&format!("{heading}:\n")),
        }
        for request in &told.requests {
            print(&format!(
                "  {} {}\n  {}\n",
                request["method"].as_str().unwrap_or_default(),
                request["url"].as_str().unwrap_or_default(),
                request["body"]
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: reference delivery.md section 3.2, "Metadata merge".
    #[test]
    fn annotations_are_weaker_than_the_alerts_facts() {
        let meta = |name: &str| json!({"name": name, "namespace": "apps"});
        let alert = json!({"providerRef": {"name": "sink"}, "eventMetadata": {"env": "alert"}, "summary": "S",
            "eventSources": [{"kind": "Kustomization", "name": "*"}]});
        let provider = json!({"type": "generic", "address": "https://sink.example"});
        let alerts = [
            json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": meta("all"), "spec": alert}),
            json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": meta("sink"), "spec": provider}),
        ];
        let web = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "web", "namespace": "apps", "annotations": {"event.toolkit.fluxcd.io/env": "obj"}}});
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("objects.yaml").display().to_string();
        for (fact, object, expected) in [
            ("event.toolkit.fluxcd.io/env", None, "alert"),
            ("kustomize.toolkit.fluxcd.io/env", None, "obj"),
            // We post annotations so: the object among the files tells what the fact is.
            ("kustomize.toolkit.fluxcd.io/env", Some(&web), "alert"),
        ] {
            let texts: Vec<String> = alerts.iter().chain(object).map(Value::to_string).collect();
            std::fs::write(&file, texts.join("\n---\n")).expect("a file");
            let objects = receive::objects(std::slice::from_ref(&file)).expect("objects");
            let posted = json!({"involvedObject": {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "namespace": "apps", "name": "web"}, "severity": "info", "timestamp": "2026-01-02T03:04:05Z", "message": "m",
                "metadata": {fact: "obj", "event.toolkit.fluxcd.io/summary": "obj"}});
            let event = intake::read(posted.to_string().as_bytes()).expect("an event");
            let told = tell(&objects, objects[0].typed().expect("an Alert"), &event).expect("an answer");
            let metadata = &told.requests[0]["body"]["metadata"];
            assert_eq!(*metadata, json!({"env": expected, "summary": "S"}), "{fact}");
        }
    }
}
