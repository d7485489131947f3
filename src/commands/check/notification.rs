//! Providers, Alerts and Receivers: what is refused, what is skipped, and what never matches.

use std::collections::BTreeMap;

use api::{
    manifest::typed,
    notification::{Alert, Provider, Receiver},
};
use k8s_openapi::ByteString;
use notification::{
    alert,
    provider::{Secrets, Service, Settings},
    receiver::{SecretData, readiness},
};
use reconcile::Event;
use regex::Regex;
use serde_json::Value;

use super::{Complaint, Subject};
use crate::commands::receive;

/// A Provider: a type that nobody speaks, an address or a Secret that cannot be used.
pub fn provider(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(provider) = typed::<Provider>(subject.object) else { return Vec::new() };
    let spec = &provider.spec;
    if let Err(error) = Service::of(&spec.kind) {
        return vec![Complaint::error("spec.type", error.to_string())];
    }
    let named = |reference: Option<&api::meta::LocalReference>| match reference {
        Some(reference) => secret(subject, &reference.name).map(Some),
        None => Some(None),
    };
    // Whoever keeps Secrets elsewhere gets no complaint about what is in them.
    let (Some(main), Some(certificate), Some(proxy)) =
        (named(spec.secret_ref.as_ref()), named(spec.cert_secret_ref.as_ref()), named(spec.proxy_secret_ref.as_ref()))
    else {
        return Vec::new();
    };
    let secrets = Secrets { main: main.as_ref(), certificate: certificate.as_ref(), proxy: proxy.as_ref() };
    let wrong = Settings::read(spec, secrets).err();
    wrong.into_iter().map(|error| Complaint::error("spec", error.to_string())).collect()
}

/// A Secret of the same namespace among the files.
fn secret(subject: &Subject<'_>, name: &str) -> Option<k8s_openapi::api::core::v1::Secret> {
    let namespace = |object: &Value| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let is_it = |object: &&Value| {
        object["kind"] == "Secret"
            && object["metadata"]["name"] == name
            && namespace(object) == namespace(subject.object)
    };
    subject.all.iter().find(is_it).and_then(|object| receive::secret(object).ok())
}

/// An Alert: patterns that cannot be read, and such that match nothing that its sources said.
pub fn alert(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(alert) = typed::<Alert>(subject.object) else { return Vec::new() };
    let lists = [("inclusionList", &alert.spec.inclusion_list), ("exclusionList", &alert.spec.exclusion_list)];
    let mut found = Vec::new();
    for (name, patterns) in lists {
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| Regex::new(pattern).is_err()) {
            let message = format!("{pattern:?} is not a regular expression and is skipped");
            found.push(Complaint::error(format!("spec.{name}[{index}]"), message));
        }
    }
    found.extend(unmatched(&alert, subject.events));
    found
}

/// Entries of the inclusion list that match none of the events which the Alert's sources said.
fn unmatched(alert: &Alert, events: &[Event]) -> Vec<Complaint> {
    let verdicts = events.iter().map(|event| alert::verdict(alert, event, &BTreeMap::new()));
    let verdicts: Vec<_> = verdicts.filter(|verdict| verdict.is_of_source).collect();
    if verdicts.is_empty() {
        return Vec::new();
    }
    let patterns = alert.spec.inclusion_list.iter().enumerate();
    let never = patterns.filter(|(index, _)| !verdicts.iter().any(|verdict| verdict.included_by.contains(index)));
    never
        .map(|(index, pattern)| {
            let last = verdicts.len();
            let message = format!(
                "{pattern:?} matches none of the last {last} events of the sources; patterns are case-sensitive"
            );
            Complaint::warning(format!("spec.inclusionList[{index}]"), message)
        })
        .collect()
}

/// A Receiver: what only a change of it can mend.
pub fn receiver(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(receiver) = typed::<Receiver>(subject.object) else { return Vec::new() };
    // Its Secret is there or not when it runs; here one is made up.
    let secret: SecretData =
        ["token", "email", "audience"].map(|key| (key.to_owned(), ByteString(b"x".to_vec()))).into();
    let unready = readiness::check(&receiver, Some(&secret)).err().filter(|unready| unready.is_terminal);
    unready.into_iter().map(|unready| Complaint::error("spec", unready.message)).collect()
}
