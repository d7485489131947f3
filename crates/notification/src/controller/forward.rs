//! Posting our events to another server of events, as Flux's controllers do with `--events-addr`.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use reconcile::{Context, Endpoint, Event, Severity, Shutdown, clock};
use tokio::sync::broadcast::error::RecvError;

use crate::intake;

/// Tries for one event, and limit of one. Source: reference delivery.md section 3.1.
const TRIES: u32 = 5;
const TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Posts every event of this process to the address, until told to stop. Events that others posted to us stay here.
pub async fn forward(context: Context, address: String, shutdown: Shutdown) {
    let mut bus = context.events.subscribe();
    let posting = async {
        loop {
            match bus.recv().await {
                Ok(event) if event.severity == Severity::Trace => {}
                Ok(event) if event.reporting_instance != context.events.instance() => {}
                Ok(event) => post(&context, &address, &event).await,
                Err(RecvError::Lagged(count)) => tracing::warn!(count, "events are not posted: the server is too slow"),
                Err(RecvError::Closed) => return,
            }
        }
    };
    tokio::select! { () = posting => {}, () = shutdown.cancelled() => {} }
}

async fn post(context: &Context, address: &str, event: &Event) {
    let endpoint = Endpoint { timeout: TIMEOUT, ..Endpoint::default() };
    let body = Bytes::from(intake::write(event));
    let mut wait = FIRST_WAIT;
    for attempt in 1..=TRIES {
        let request = http::Request::post(address).header(header::CONTENT_TYPE, "application/json").body(body.clone());
        let Ok(request) = request else { return };
        let problem = match context.http.send(request, &endpoint).await {
            // 429 says that the same was posted a moment ago.
            Ok(answer) if answer.status().is_success() || answer.status().as_u16() == 429 => return,
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        tracing::debug!(attempt, problem, "event is not posted");
        if attempt < TRIES {
            clock::sleep(wait).await;
            wait *= 2;
        }
    }
    tracing::warn!(reason = event.reason, object = %event.involved_object.reference, "event could not be posted");
}
