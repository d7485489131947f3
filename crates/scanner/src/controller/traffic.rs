//! Requests to registries: each host at its pace, whatever object asks, and counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use http::{StatusCode, header};
use oci::Transport;
use reconcile::{Body, Endpoint, Http, HttpError, clock};
use tokio::sync::Semaphore;

use super::numbers::{HostLabels, Numbers, RequestLabels};
use crate::budget::{Admission, Budget, Limits};

/// The ways to all hosts.
#[derive(Debug)]
pub(super) struct Traffic {
    limits: Limits,
    numbers: Numbers,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

/// The way to one host.
#[derive(Debug)]
struct Lane {
    budget: Mutex<Budget>,
    places: Arc<Semaphore>,
}

/// An answer that is awaited.
type Awaited = BoxFuture<'static, Result<http::Response<Body>, HttpError>>;

impl Traffic {
    pub fn new(limits: Limits, numbers: Numbers) -> Self {
        Self { limits, numbers, lanes: Mutex::default() }
    }

    /// A way to send requests with the settings of an endpoint, within the budget of each host.
    pub fn transport(self: &Arc<Self>, http: &Http, endpoint: Endpoint) -> Transport {
        let (traffic, send) = (self.clone(), http.streaming(endpoint));
        let send = move |request: http::Request<Bytes>| {
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let labels = RequestLabels { host, status: String::new(), reason: reason(request.uri().path()) };
            traffic.clone().pass(labels, send(request))
        };
        Transport::over(send, HttpError::is_transient, clock::sleep)
    }

    /// Lets a request through when its turn comes.
    async fn pass(self: Arc<Self>, labels: RequestLabels, answer: Awaited) -> Result<http::Response<Body>, HttpError> {
        let lane = self.lane(&labels.host);
        let admission = lane.budget().admit(clock::now());
        match admission {
            Admission::Paused(left) => {
                self.count(labels, "paused");
                return Ok(answer_of_a_pause(left.as_secs() + 1));
            }
            Admission::After(wait) if wait.is_zero() => {}
            Admission::After(wait) => clock::sleep(wait).await,
        }
        let place = lane.places.clone().acquire_owned().await;
        let answer = answer.await;
        let bytes = self.numbers.bytes.get_or_create_owned(&HostLabels { host: labels.host.clone() });
        match &answer {
            Ok(answer) => {
                lane.budget().note(answer.status(), answer.headers(), clock::now());
                self.count(labels, answer.status().as_str());
            }
            Err(_) => self.count(labels, "error"),
        }
        Ok(answer?.map(|body| {
            body.inspect(move |piece| {
                // The place is given back with the body.
                let _ = &place;
                bytes.inc_by(piece.as_ref().map_or(0, |piece| piece.len() as u64));
            })
            .boxed()
        }))
    }

    fn lane(&self, host: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(host) {
            return lane.clone();
        }
        let places = Arc::new(Semaphore::new(usize::from(self.limits.at_once.max(1))));
        let lane = Arc::new(Lane { budget: Mutex::new(Budget::new(self.limits)), places });
        lanes.insert(host.to_owned(), lane.clone());
        lane
    }

    fn count(&self, labels: RequestLabels, status: &str) {
        self.numbers.requests.get_or_create(&RequestLabels { status: status.to_owned(), ..labels }).inc();
    }
}

impl Lane {
    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request is for, told by its path.
fn reason(path: &str) -> &'static str {
    match path {
        "/v2/" => "ping",
        _ if !path.starts_with("/v2/") => "token",
        _ if path.ends_with("/tags/list") => "tags",
        _ if path.contains("/blobs/") => "blob",
        _ if path.contains("/referrers/") => "referrers",
        _ => "manifest",
    }
}

/// What the host would answer if it were asked in spite of its wish.
fn answer_of_a_pause(seconds: u64) -> http::Response<Body> {
    let words = "{\"errors\": [{\"code\": \"TOOMANYREQUESTS\", \"message\": \"the registry asked to be left alone\"}]}";
    let mut answer = http::Response::new(futures::stream::iter([Ok(Bytes::from_static(words.as_bytes()))]).boxed());
    *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    answer
}
