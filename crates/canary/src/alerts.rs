//! What people are told in chat: the messages, their fields, and the payload. Source: reference progressive-delivery.md, F.

use api::flagger::{AlertProviderSpec, Canary, Severity, Strategy};
use serde_json::{Value, json};

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    pub message: String,
    /// Names and values, in order.
    pub fields: Vec<(String, String)>,
}

impl Alert {
    fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), fields: Vec::new() }
    }

    fn with(mut self, fields: Vec<(String, String)>) -> Self {
        self.fields = fields;
        self
    }

    /// The alert with the name of the cluster before everything else, if there is one.
    pub fn in_cluster(mut self, cluster: &str) -> Self {
        if !cluster.is_empty() {
            self.fields.insert(0, ("Cluster".into(), cluster.into()));
        }
        self
    }
}

/// The primary serves.
pub fn initialized(canary: &Canary) -> Alert {
    let message = format!("New {} detected, initialization completed.", canary.spec.target_ref.kind);
    Alert::new(Severity::Info, message).with(fields(canary))
}

/// A run began.
pub fn new_revision(canary: &Canary) -> Alert {
    Alert::new(Severity::Info, "New revision detected, progressing canary analysis.").with(fields(canary))
}

/// A gate holds the rollout back.
pub fn waiting_for_rollout() -> Alert {
    Alert::new(Severity::Warn, "Canary is waiting for approval.")
}

/// A gate holds the promotion back.
pub fn waiting_for_promotion() -> Alert {
    Alert::new(Severity::Warn, "Canary promotion is waiting for approval.")
}

/// A gate holds the next step back.
pub fn waiting_for_traffic() -> Alert {
    Alert::new(Severity::Warn, "Canary traffic increase is waiting for approval.")
}

/// A rollback hook asked for it.
pub fn manual_rollback() -> Alert {
    Alert::new(Severity::Warn, "Rolling back manual webhook invoked")
}

/// Too many checks failed.
pub fn threshold_reached(failed_checks: i64) -> Alert {
    Alert::new(Severity::Error, format!("Failed checks threshold reached {failed_checks}"))
}

/// The target did not come up in time.
pub fn deadline_exceeded(problem: &str) -> Alert {
    Alert::new(Severity::Error, format!("Progress deadline exceeded {problem}"))
}

/// The primary did not come up with the new revision.
pub fn promotion_failed(problem: &str) -> Alert {
    Alert::new(Severity::Error, format!("Promotion failed, primary not ready: {problem}"))
}

/// The new revision serves.
pub fn promoted() -> Alert {
    Alert::new(Severity::Info, "Canary analysis completed successfully, promotion finished.")
}

/// The new revision serves, unjudged.
pub fn skipped() -> Alert {
    Alert::new(Severity::Info, "Canary analysis was skipped, promotion finished.")
}

/// The fields that tell what is rolled out, and how.
fn fields(canary: &Canary) -> Vec<(String, String)> {
    let analysis = canary.analysis();
    let target = &canary.spec.target_ref;
    let routing = match analysis.strategy() {
        Strategy::AbTesting => "A/B Testing".to_owned(),
        Strategy::BlueGreen => "Blue/Green".to_owned(),
        Strategy::Canary => {
            let max = analysis.max_weight.unwrap_or_default();
            match (analysis.step_weight, analysis.step_weights.as_slice()) {
                (Some(step @ 1..), _) => format!("Weight step: {step} max: {max}"),
                (_, [_, ..]) => {
                    let steps: Vec<_> = analysis.step_weights.iter().map(i64::to_string).collect();
                    format!("Weight steps: {} max: {max}", steps.join(","))
                }
                (step, []) => format!("Weight step: {} max: {max}", step.unwrap_or_default()),
            }
        }
    };
    [
        ("Target", format!("{}/{}.{}", target.kind, target.name, canary.namespace())),
        ("Failed checks threshold", analysis.threshold().to_string()),
        ("Progress deadline", format!("{}s", canary.progress_deadline().as_secs())),
        ("Traffic routing", routing),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The body of a chat message in Slack's form, which Discord and Rocket.Chat read too; nothing for other kinds.
pub fn payload(canary: &Canary, provider: &AlertProviderSpec, alert: &Alert) -> Option<Value> {
    let is_bad = alert.severity == Severity::Error;
    let color = match (provider.kind.as_str(), is_bad) {
        ("slack" | "discord", false) => "good",
        ("slack" | "discord", true) => "danger",
        ("rocket", false) => "#0076D7",
        ("rocket", true) => "#FF0000",
        _ => return None,
    };
    let fields: Vec<_> =
        alert.fields.iter().map(|(title, value)| json!({"title": title, "value": value, "short": false})).collect();
    Some(json!({
        "channel": provider.channel(),
        "username": provider.username(),
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": color,
            "author_name": format!("{}.{}", canary.name(), canary.namespace()),
            "text": alert.message,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    }))
}

/// Where a chat message goes. Discord takes Slack's form at a path of its own.
pub fn address(kind: &str, address: &str) -> String {
    match kind {
        "discord" if !address.ends_with("/slack") => format!("{}/slack", address.trim_end_matches('/')),
        _ => address.to_owned(),
    }
}
