//! Facts from hooks.

use std::time::Duration;

use api::flagger::{Canary, CanaryStatus, Hook, HookType, Phase};
use reconcile::{Endpoint, clock};
use serde_json::Value;

use super::Rollouts;
use crate::hooks;

/// First wait before a hook is called again; it doubles up to [`LONGEST_WAIT`]. Source: reference D.2.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Most bytes of a hook's answer that are read.
const ANSWER_LIMIT: usize = 64 << 10;

impl Rollouts {
    /// Calls a hook and says whether it agrees; an error holds what it said.
    pub(super) async fn call(
        &self,
        canary: &Canary,
        status: &CanaryStatus,
        index: usize,
        phase: Phase,
    ) -> Result<(), String> {
        let analysis = canary.analysis();
        let hook = &analysis.webhooks[index];
        self.post(hook, &hooks::payload(canary, status, hook, phase)).await
    }

    /// Whether anybody is sent the events of the Canary.
    pub(super) fn has_event_hooks(&self, canary: &Canary) -> bool {
        self.options.event_webhook.is_some() || canary.analysis().hooks(HookType::Event).next().is_some()
    }

    /// Sends an event to the event hooks. What they answer only matters to the log.
    pub(super) async fn call_event_hooks(&self, canary: &Canary, event: &crate::events::Event) {
        let analysis = canary.analysis();
        let mut receivers: Vec<Hook> = analysis.hooks(HookType::Event).cloned().collect();
        if let (Some(url), true) = (&self.options.event_webhook, receivers.is_empty()) {
            let name = "event-webhook".to_owned();
            receivers.push(Hook { kind: HookType::Event, name, url: url.clone(), ..Hook::default() });
        }
        for hook in &receivers {
            let payload = hooks::event_payload(canary, hook, event, clock::now());
            if let Err(problem) = self.post(hook, &payload).await {
                tracing::warn!(hook = hook.name, problem, "event hook failed");
            }
        }
    }

    async fn post(&self, hook: &api::flagger::Hook, payload: &Value) -> Result<(), String> {
        let endpoint = Endpoint {
            timeout: hook.timeout(),
            limit: ANSWER_LIMIT,
            insecure_skip_verify: hook.disable_tls,
            ..Endpoint::default()
        };
        let (mut attempt, mut wait) = (0, FIRST_WAIT);
        loop {
            let outcome = self.context.http.send(hooks::request(hook, payload)?, &endpoint).await;
            let status = outcome.as_ref().map(|response| response.status().as_u16());
            if attempt >= hook.retries() || !status.is_ok_and(hooks::may_retry) && outcome.is_ok() {
                return match outcome {
                    Ok(response) => {
                        let body = String::from_utf8_lossy(response.body()).trim().to_owned();
                        let reason = if body.is_empty() { response.status().to_string() } else { body };
                        hooks::verdict(hook, response.status().as_u16(), &reason)
                    }
                    Err(error) => Err(format!("POST {}: {error}", hooks::shown(&hook.url))),
                };
            }
            attempt += 1;
            clock::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
