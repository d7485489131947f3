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

    /// The alert with further fields after its own.
    #[must_use]
    pub fn and(mut self, facts: &[(String, String)]) -> Self {
        self.fields.extend_from_slice(facts);
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

/// Somebody asked for it.
pub fn requested_rollback() -> Alert {
    Alert::new(Severity::Warn, "Rolling back on request")
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
        Strategy::AbTesting => Some("A/B Testing".to_owned()),
        Strategy::BlueGreen => Some("Blue/Green".to_owned()),
        Strategy::Canary => {
            let max = analysis.max_weight.unwrap_or_default();
            match (analysis.step_weight, analysis.step_weights.as_slice()) {
                (Some(step @ 1..), _) => Some(format!("Weight step: {step} max: {max}")),
                (_, [_, ..]) => {
                    let steps: Vec<_> = analysis.step_weights.iter().map(i64::to_string).collect();
                    Some(format!("Weight steps: {} max: {max}", steps.join(",")))
                }
                (_, []) => None,
            }
        }
    };
    [
        ("Target", Some(format!("{}/{}.{}", target.kind, target.name, canary.namespace()))),
        ("Failed checks threshold", Some(analysis.threshold().to_string())),
        ("Progress deadline", Some(format!("{}s", canary.progress_deadline().as_secs()))),
        ("Traffic routing", routing),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect()
}

/// The body of a chat message; nothing for other kinds than the five of F.5.
///
/// Differs: a Microsoft Teams URL of Workflows gets an Adaptive Card; connectors, whose form the original sends, are
/// retired.
pub fn payload(canary: &Canary, provider: &AlertProviderSpec, address: &str, alert: &Alert) -> Option<Value> {
    let who = format!("{}.{}", canary.name(), canary.namespace());
    let is_bad = alert.severity == Severity::Error;
    let color = |good: &'static str, bad: &'static str| if is_bad { bad } else { good };
    Some(match provider.kind.as_str() {
        "slack" | "discord" => slack(provider, &who, color("good", "danger"), alert),
        "rocket" => slack(provider, &who, color("#0076D7", "#FF0000"), alert),
        "msteams" if is_workflow(address) => adaptive_card(&who, color("accent", "attention"), alert),
        "msteams" => message_card(&who, color("0076D7", "FF0000"), alert),
        "gchat" => google_card(&who, alert),
        _ => return None,
    })
}

/// Slack's form, which Discord and Rocket.Chat read too.
fn slack(provider: &AlertProviderSpec, who: &str, color: &str, alert: &Alert) -> Value {
    let field = |(title, value): &(String, String)| json!({"title": title, "value": value, "short": false});
    json!({
        "channel": provider.channel(),
        "username": provider.username(),
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": color,
            "author_name": who,
            "text": alert.message,
            "mrkdwn_in": ["text"],
            "fields": alert.fields.iter().map(field).collect::<Vec<_>>(),
        }],
    })
}

fn message_card(who: &str, color: &str, alert: &Alert) -> Value {
    let fact = |(name, value): &(String, String)| json!({"name": name, "value": value});
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": color,
        "summary": who,
        "sections": [{
            "activityTitle": alert.message,
            "activitySubtitle": who,
            "facts": alert.fields.iter().map(fact).collect::<Vec<_>>(),
        }],
    })
}

/// Whether a Microsoft Teams URL belongs to a workflow.
fn is_workflow(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    host.ends_with(".logic.azure.com") || host.ends_with(".api.powerplatform.com")
}

fn adaptive_card(who: &str, color: &str, alert: &Alert) -> Value {
    let fact = |(name, value): &(String, String)| json!({"title": name, "value": value});
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": who, "weight": "bolder", "color": color},
            {"type": "TextBlock", "text": alert.message, "wrap": true},
            {"type": "FactSet", "facts": alert.fields.iter().map(fact).collect::<Vec<_>>()},
        ],
    });
    json!({
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    })
}

fn google_card(who: &str, alert: &Alert) -> Value {
    let strong = |text: &str| format!("<font color=#848484><strong>{text}</strong></font>");
    let paragraph = |text: String| json!({"widgets": [{"textParagraph": {"text": text}}]});
    let fields = alert.fields.iter().map(|(name, value)| paragraph(format!("{name}<br>{}", strong(value))));
    let sections: Vec<_> = std::iter::once(paragraph(strong(&alert.message))).chain(fields).collect();
    json!({"cards": [{
        "header": {"title": "Flagger", "subtitle": who, "imageUrl": "https://flagger.app/favicon.png"},
        "sections": sections,
    }]})
}

/// Where a chat message goes. Discord takes Slack's form at a path of its own.
pub fn address(kind: &str, address: &str) -> String {
    match kind {
        "discord" if !address.ends_with("/slack") => {
            let (path, query) = address.split_at(address.find('?').unwrap_or(address.len()));
            format!("{}/slack{query}", path.trim_end_matches('/'))
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    #[test]
    fn chat_messages_are_those_of_the_reference() {
        for case in cases::lines("canary/notifiers.jsonl") {
            let given = &case["alert"];
            let text = |member: &str| given[member].as_str().unwrap_or_default().to_owned();
            let provider = AlertProviderSpec {
                kind: case["provider"].as_str().unwrap_or_default().into(),
                channel: text("channel"),
                username: text("username"),
                ..Default::default()
            };
            let alert = Alert {
                severity: serde_json::from_value(given["severity"].clone()).unwrap(),
                message: text("message"),
                fields: cases::list(&given["fields"])
                    .iter()
                    .map(|field| ["name", "value"].map(|member| field[member].as_str().unwrap().to_owned()).into())
                    .collect(),
            };
            let canary =
                cases::canary(&json!({"metadata": {"name": text("workload"), "namespace": text("namespace")}}));
            let url = format!("http://chat{}", case["addressPath"].as_str().unwrap_or_default());
            let body = payload(&canary, &provider, &url, &alert);
            match case.get("error") {
                Some(_) => assert_eq!(body, None, "{}", case["name"]),
                None => {
                    assert_eq!(body.as_ref(), Some(&case["requestBody"]), "{}", case["name"]);
                    let path = address(&provider.kind, &url);
                    assert_eq!(path.strip_prefix("http://chat"), case["requestPath"].as_str(), "{}", case["name"]);
                }
            }
        }
    }

    #[test]
    fn a_thread_of_discord_stays_in_the_query() {
        let thread = "https://discord.example/api/webhooks/1/x/?thread_id=2";
        assert_eq!(address("discord", thread), "https://discord.example/api/webhooks/1/x/slack?thread_id=2");
    }

    #[test]
    fn workflows_of_teams_get_an_adaptive_card() {
        let alert = waiting_for_rollout();
        let provider = AlertProviderSpec { kind: "msteams".into(), ..Default::default() };
        let canary = cases::canary(&json!({}));
        let url = "https://prod-1.westeurope.logic.azure.com:443/workflows/x/triggers/manual/paths/invoke?sig=y";
        let body = payload(&canary, &provider, url, &alert).unwrap();
        let content = &body["attachments"][0]["content"];
        assert_eq!((&content["type"], &content["body"][1]["text"]), (&json!("AdaptiveCard"), &json!(alert.message)));
        let fake = "https://evil.example/.logic.azure.com";
        assert_eq!(payload(&canary, &provider, fake, &alert).unwrap()["@type"], "MessageCard");
    }
}
