//! What the end of a run tells: status, Ready message, events. Source: reference image-automation.md sections 1.4, 2.5, 6.4.

use api::{
    Time,
    conditions::{self, READY},
    image::ImageUpdateAutomation,
};
use reconcile::{Done, Notice, clock};
use serde_json::json;

use super::{Run, push::Outcome};
use crate::branches;

/// The Ready message.
const UP_TO_DATE: &str = "repository up-to-date";

/// The end of a run for which there was nothing to look at.
pub(super) fn unchanged(automation: &ImageUpdateAutomation) -> Done {
    noted(automation, Done::new(UP_TO_DATE).status(json!({})), "no change since last reconciliation")
}

/// The end of a run that looked and pushed nothing.
pub(super) fn rested(automation: &ImageUpdateAutomation, done: Done) -> Done {
    noted(automation, done, UP_TO_DATE)
}

/// With a note, unless the object becomes Ready, which the loop tells.
fn noted(automation: &ImageUpdateAutomation, done: Done, note: &str) -> Done {
    let was_ready = automation.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, READY));
    if was_ready { done.notice(Notice::trace("Succeeded", note)) } else { done }
}

/// The outcome as status, conditions and events tell it.
pub(super) fn done(run: &Run<'_>, outcome: &Outcome) -> Done {
    // Where there are none, the field goes, as it does with Flux.
    let mut status = json!({ "observedPolicies": null });
    let mut done = Done::new(UP_TO_DATE);
    for warning in &outcome.warnings {
        done = done.notice(Notice::error("MarkerIgnored", warning.clone()));
    }
    match outcome.pushed.as_ref().filter(|pushed| pushed.is_news) {
        None => status["observedSourceRevision"] = outcome.base.revision().into(),
        Some(pushed) => {
            let commit = pushed.commit.id.to_string();
            status["lastPushCommit"] = commit.clone().into();
            status["lastPushTime"] = json!(Time(clock::now()));
            let observed = if run.branches.switches { &outcome.base } else { &pushed.commit };
            status["observedSourceRevision"] = observed.revision().into();
            let refspecs: Vec<&str> = pushed.refspecs.iter().map(String::as_str).collect();
            let told = branches::summary(&commit, &run.branches.push, &refspecs, &pushed.message);
            let revision = format!("{}@sha1:{commit}", run.branches.push);
            done = done.notice(Notice::info("Succeeded", told).with("revision", revision));
        }
    }
    // A merge patch keeps what it does not name: policies that are gone are taken out by name.
    let before = run.automation.status.as_ref().map(|status| status.observed_policies.clone()).unwrap_or_default();
    let mut observed = serde_json::Map::new();
    for name in before.keys().filter(|name| !run.chosen.contains_key(*name)) {
        observed.insert(name.clone(), serde_json::Value::Null);
    }
    for (name, image) in &run.chosen {
        observed.insert(name.clone(), {
            // A digest that is gone must not stay in the status.
            let digest = Some(&image.digest).filter(|digest| !digest.is_empty());
            json!({"name": image.name, "tag": image.tag, "digest": digest})
        });
    }
    if !run.chosen.is_empty() {
        status["observedPolicies"] = observed.into();
    }
    done.status(status)
}
