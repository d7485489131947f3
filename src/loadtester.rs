//! Flagger's load tester API, so that webhooks written for it keep working: gates, rollback gates, and tasks.
//! Source: reference progressive-delivery.md, section D.5.

mod concord;
mod ngrinder;
mod remote;
mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use reconcile::{Http, Shutdown};
use regex::Regex;
use serde::Deserialize;

pub use tasks::{Kind, Permitted};

/// Most bytes of a body: a webhook's payload is small.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// What tasks may run.
    pub permitted: Permitted,
    /// Longest time for a task.
    pub timeout: Duration,
    /// Namespaces whose canaries may call.
    pub namespaces: Option<Regex>,
}

/// The server's memory. Gates are closed until they are opened, and after a restart.
struct LoadTester {
    options: Options,
    open: Mutex<BTreeSet<String>>,
    tasks: tasks::Running,
    http: Http,
}

/// The body of a webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    name: String,
    namespace: String,
    metadata: Option<BTreeMap<String, String>>,
}

/// Answers until told to stop.
pub async fn serve(listener: tokio::net::TcpListener, options: Options, shutdown: Shutdown) -> std::io::Result<()> {
    let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
    let tester = Arc::new(LoadTester { options, open: Mutex::default(), tasks: tasks::Running::default(), http });
    let ok = async || "OK";
    let router = Router::new()
        .route("/healthz", any(ok))
        .route("/gate/approve", any(ok))
        .route("/gate/halt", any(async || (StatusCode::FORBIDDEN, "Forbidden")))
        .route("/gate/check", any(async |state, body| gate(state, body, "", Act::Check)))
        .route("/gate/open", any(async |state, body| gate(state, body, "", Act::Open)))
        .route("/gate/close", any(async |state, body| gate(state, body, "", Act::Close)))
        .route("/rollback/check", any(async |state, body| gate(state, body, "rollback.", Act::Check)))
        .route("/rollback/open", any(async |state, body| gate(state, body, "rollback.", Act::Open)))
        .route("/rollback/close", any(async |state, body| gate(state, body, "rollback.", Act::Close)))
        .route("/", any(task))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(no_browsers))
        .with_state(tester);
    let stop = async move { shutdown.cancelled().await };
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// What is done with a gate.
#[derive(Clone, Copy)]
enum Act {
    Check,
    Open,
    Close,
}

fn gate(State(tester): State<Arc<LoadTester>>, body: Bytes, prefix: &str, act: Act) -> Response {
    let payload = match tester.payload(&body) {
        Ok(payload) => payload,
        Err(refused) => return refused.into_response(),
    };
    let key = format!("{prefix}{}.{}", payload.name, payload.namespace);
    let mut open = tester.open.lock().unwrap_or_else(PoisonError::into_inner);
    match act {
        Act::Check if open.contains(&key) => (StatusCode::OK, "Approved").into_response(),
        Act::Check => (StatusCode::FORBIDDEN, "Forbidden").into_response(),
        Act::Open => {
            open.insert(key);
            StatusCode::ACCEPTED.into_response()
        }
        Act::Close => {
            open.remove(&key);
            StatusCode::ACCEPTED.into_response()
        }
    }
}

async fn task(State(tester): State<Arc<LoadTester>>, body: Bytes) -> Response {
    let payload = match tester.payload(&body) {
        Ok(payload) => payload,
        Err(refused) => return refused.into_response(),
    };
    let Some(metadata) = payload.metadata.filter(|metadata| !metadata.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "metadata not found in payload").into_response();
    };
    let task = match tasks::Task::new(&metadata, &tester.options.permitted) {
        Ok(task) => task,
        Err(tasks::Refusal::Wrong(problem)) => return (StatusCode::BAD_REQUEST, problem).into_response(),
        Err(tasks::Refusal::Unusable(problem)) => return (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response(),
        Err(tasks::Refusal::NotPermitted(problem)) => return (StatusCode::FORBIDDEN, problem).into_response(),
    };
    let canary = format!("{}.{}", payload.name, payload.namespace);
    if task.is_started_only() {
        tester.tasks.start(canary, task, tester.http.clone(), tester.options.timeout);
        return StatusCode::ACCEPTED.into_response();
    }
    match task.run(&tester.http, tester.options.timeout).await {
        Ok(output) if task.returns_output => output.into_response(),
        Ok(_) => StatusCode::OK.into_response(),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response(),
    }
}

impl LoadTester {
    fn payload(&self, body: &[u8]) -> Result<Payload, StatusCode> {
        let payload: Option<Payload> = serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let payload = payload.unwrap_or_default();
        match &self.options.namespaces {
            Some(allowed) if !allowed.is_match(&payload.namespace) => Err(StatusCode::FORBIDDEN),
            _ => Ok(payload),
        }
    }
}

/// Pages of other sites must not be able to start tasks through the browser of whoever runs this.
async fn no_browsers(headers: HeaderMap, request: Request, next: Next) -> Response {
    if headers.contains_key("origin") || headers.contains_key("sec-fetch-site") {
        return (StatusCode::FORBIDDEN, "requests of browsers are refused").into_response();
    }
    next.run(request).await
}
