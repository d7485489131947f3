//! Providers, Alerts and Receivers: what is refused, what is skipped, and what never matches.

use std::collections::BTreeMap;

use api::{
    manifest::typed,
    notification::{Alert, Provider, Receiver},
};
use k8s_openapi::ByteString;
use notification::{
    alert::{self, Verdict},
    provider::{Secrets, Service, Settings},
    receiver::{SecretData, readiness},
};
use reconcile::Event;
use regex::Regex;

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
    subject.around.find("Secret", &subject.id.namespace, name).and_then(|object| receive::secret(object).ok())
}

/// An Alert: patterns that cannot be read, and such that match nothing that its sources said, or mostly say.
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
    match of_sources(&alert, subject.events) {
        verdicts if verdicts.is_empty() => found.extend(miscased(&alert)),
        verdicts => found.extend(unmatched(&alert, &verdicts)),
    }
    found
}

/// What the Alert says to the events of its sources.
fn of_sources(alert: &Alert, events: &[Event]) -> Vec<Verdict> {
    let verdicts = events.iter().map(|event| alert::verdict(alert, event, &BTreeMap::new()));
    verdicts.filter(|verdict| verdict.is_of_source).collect()
}

/// What sources say mostly, by kind: the words that people write patterns for.
const USUAL: [(&str, &[&str]); 8] = [
    (
        "Kustomization",
        &[
            "Reconciliation finished in 1s, next run in 10m0s",
            "Health check passed in 1s",
            "Health check failed after 1s",
        ],
    ),
    ("GitRepository", &["stored artifact for commit 'Update'", "Fetched revision: main@sha1:0"]),
    (
        "HelmRelease",
        &[
            "Helm install succeeded for release a/a.v1",
            "Helm upgrade succeeded for release a/a.v2",
            "Helm upgrade failed",
        ],
    ),
    ("HelmRepository", &["stored fetched index of size 1kB"]),
    ("ImageRepository", &["successful scan: found 1 tags with checksum 0", "scan failed"]),
    ("ImagePolicy", &["Latest image tag for a resolved to 1.0.0"]),
    ("ImageUpdateAutomation", &["pushed commit '0' to branch 'main'"]),
    (
        "Canary",
        &[
            "New revision detected! Scaling up a.b",
            "Advance a.b canary weight 10",
            "Halt a.b advancement success rate 98.00% < 99%",
            "Promotion completed! Scaling down a.b",
            "Rolling back a.b failed checks threshold reached 5",
            "Canary failed! Scaling down a.b",
        ],
    ),
];

/// Entries of the inclusion list that take nothing of what the sources mostly say, and would if case did not count.
fn miscased(alert: &Alert) -> Vec<Complaint> {
    let is_source = |kind: &str| alert.spec.event_sources.iter().any(|source| source.kind == kind);
    let said = USUAL.iter().filter(|(kind, _)| is_source(kind)).flat_map(|(_, said)| *said);
    let said: Vec<&str> = said.copied().collect();
    let meant = |pattern: &str| {
        let (strict, lax) = (Regex::new(pattern).ok()?, Regex::new(&format!("(?i){pattern}")).ok()?);
        if said.iter().any(|message| strict.is_match(message)) {
            return None;
        }
        said.iter().find(|message| lax.is_match(message)).copied()
    };
    let entries = alert.spec.inclusion_list.iter().enumerate();
    let found = entries.filter_map(|(index, pattern)| Some((index, pattern, meant(pattern)?)));
    found
        .map(|(index, pattern, message)| {
            let text = format!(
                "{pattern:?} does not match {message:?}: patterns are case-sensitive; (?i) before it lifts that"
            );
            Complaint::warning(format!("spec.inclusionList[{index}]"), text)
        })
        .collect()
}

/// Entries of the inclusion list that match none of the events which the Alert's sources said.
fn unmatched(alert: &Alert, verdicts: &[Verdict]) -> Vec<Complaint> {
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
