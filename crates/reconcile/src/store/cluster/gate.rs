//! What every request to the API server passes: not faster than allowed, not after the lease ran out, not for ever.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, header::RETRY_AFTER};
use kube::{Client, client::Body};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;
use tower::Service;

use crate::{clock, fence};

/// Longest wait for the head of an answer; watches answer at once and then go on.
const ANSWER: Duration = Duration::from_secs(60);
/// What is said when it is over.
const SILENCE: &str = "the API server did not answer in time";
/// Tries of a request that the server was too busy for, or that got no sensible answer. Every request of ours can be
/// repeated: it is a read, says how things shall be, or names the version it is about.
const TRIES: u32 = 4;
/// Wait before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait that the server may ask for. Longer ones are left to the loop's back-off, which blocks no worker.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How fast the API server may be asked. Leases are not held up by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests per second in the long run (`--kube-api-qps`).
    pub per_second: f32,
    /// Requests at once after a pause (`--kube-api-burst`).
    pub burst: u32,
}

impl Default for Rate {
    /// Source: reference image-automation.md section 3.2.
    fn default() -> Self {
        Self { per_second: 50.0, burst: 300 }
    }
}

/// Labels of client-go's count of requests, without the host: there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    code: String,
    method: String,
}

/// Label of client-go's durations, without the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
}

/// What is counted of the requests. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    /// Requests by their answer; those without one have the code `<error>`, as in client-go.
    answers: Family<RequestLabels, Counter>,
    /// Seconds to the head of the answer.
    durations: Family<VerbLabels, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { answers: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

/// The buckets of Kubernetes' own programs. Source: component-base 0.36, `metrics/prometheus/restclient`.
fn histogram() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0])
}

impl Requests {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Number of HTTP requests, partitioned by status code and method.";
        registry.register("rest_client_requests", help, self.answers.clone());
        let help = "Request latency in seconds. Broken down by verb.";
        registry.register("rest_client_request_duration_seconds", help, self.durations.clone());
    }

    fn observe(&self, method: &Method, code: String, took: Duration) {
        let method = method.to_string();
        let verb = VerbLabels { verb: method.clone() };
        self.durations.get_or_create(&verb).observe(took.as_secs_f64());
        self.answers.get_or_create(&RequestLabels { code, method }).inc();
    }
}

/// The gate before a client.
#[derive(Clone)]
pub(super) struct Gate {
    inner: Client,
    limiter: Arc<Limiter>,
    requests: Requests,
    contact: Arc<Contact>,
    user: Option<HeaderValue>,
}

/// Whether the API server answers. The log is told when that changes, not by every request.
#[derive(Debug, Default)]
struct Contact {
    is_lost: AtomicBool,
}

impl Contact {
    fn made(&self) {
        if self.is_lost.swap(false, Ordering::Relaxed) {
            tracing::info!("the API server answers again");
        }
    }

    fn lost(&self, error: &str) {
        if !self.is_lost.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the API server cannot be reached and is asked again until it answers");
        }
    }
}

impl Gate {
    pub(super) fn new(inner: Client, rate: Rate) -> Self {
        let (limiter, contact) = (Arc::new(Limiter::new(rate)), Arc::default());
        Self { inner, limiter, requests: Requests::default(), contact, user: None }
    }

    /// What passed so far.
    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// A client behind this gate, acting as that user. All of a gate's clients share its rate.
    pub(super) fn client(&self, user: Option<HeaderValue>) -> Client {
        Client::new(Self { user, ..self.clone() }, self.inner.default_namespace().to_owned())
    }

    /// Sends one request, again where the server asks for patience.
    async fn send(self, mut request: Request<Body>) -> Result<Response<Body>, Error> {
        if let Some(user) = self.user {
            request.headers_mut().insert("impersonate-user", user);
        }
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let mut attempt = 1;
        loop {
            let again = (attempt < TRIES).then(|| copy(&request)).flatten();
            self.limiter.pass().await;
            if writes {
                fence::pass().await;
            }
            let (method, path, begun) = (request.method().clone(), request.uri().clone(), clock::instant());
            let answer = tokio::time::timeout(ANSWER, self.inner.send(request)).await;
            let code = match &answer {
                Ok(Ok(response)) => response.status().as_str().to_owned(),
                _ => "<error>".to_owned(),
            };
            tracing::trace!(%method, %path, code, "asked the API server");
            self.requests.observe(&method, code, begun.elapsed());
            let answer = answer.map_err(|_| SILENCE).inspect_err(|error| self.contact.lost(error))?;
            match (pause(&answer, attempt), again) {
                (Some(time), Some(again)) => {
                    tracing::debug!(attempt, "request to the API server is repeated");
                    clock::sleep(time).await;
                    request = again;
                    attempt += 1;
                }
                _ => {
                    match &answer {
                        Ok(_) => self.contact.made(),
                        Err(error) => self.contact.lost(&crate::causes(error)),
                    }
                    return Ok(answer?);
                }
            }
        }
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}

/// The same request once more, if its body is at hand.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// How long to wait before the next try: as long as the server asks for, else a moment that doubles. None where the answer
/// stands, or where the server wants more patience than a worker has.
fn pause(answer: &kube::Result<Response<Body>>, attempt: u32) -> Option<Duration> {
    let own = FIRST_PAUSE * 2u32.saturating_pow(attempt - 1);
    let response = match answer {
        Ok(response) => response,
        Err(kube::Error::HyperError(_) | kube::Error::Service(_)) => return Some(own),
        Err(_) => return None,
    };
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    match response.status().as_u16() {
        429 | 503 => Some(asked.map_or(own, Duration::from_secs)).filter(|time| *time <= LONGEST_PAUSE),
        500 | 502 | 504 => Some(own),
        _ => None,
    }
}

/// A bucket of requests that fills at a constant rate.
#[derive(Debug)]
struct Limiter {
    interval: Duration,
    slack: Duration,
    /// When the bucket would be full again.
    full_at: Mutex<Option<Instant>>,
}

impl Limiter {
    fn new(rate: Rate) -> Self {
        let interval = match rate.per_second > 0.0 {
            true => Duration::from_secs_f32(1.0 / rate.per_second),
            false => Duration::ZERO,
        };
        Self { interval, slack: interval * rate.burst.saturating_sub(1), full_at: Mutex::default() }
    }

    async fn pass(&self) {
        let wait = self.take(clock::instant());
        if !wait.is_zero() {
            clock::sleep(wait).await;
        }
    }

    /// Takes one request out and says when it may go.
    fn take(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = full_at.map_or(now, |at| at.max(now));
        *full_at = Some(start + self.interval);
        start.duration_since(now).saturating_sub(self.slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let limiter = Limiter::new(Rate { per_second: 10.0, burst: 3 });
        let now = clock::instant();
        let waits: Vec<_> = (0..6).map(|_| limiter.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        let later = now + Duration::from_secs(10);
        assert_eq!((limiter.take(later), limiter.take(later)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn no_rate_means_no_waiting() {
        let limiter = Limiter::new(Rate { per_second: 0.0, burst: 0 });
        let now = clock::instant();
        assert!((0..1000).all(|_| limiter.take(now).is_zero()));
    }

    #[test]
    fn only_short_pauses_are_waited_out() {
        let answer = |status: u16, after: &str| {
            let response = Response::builder().status(status).header(RETRY_AFTER, after).body(Body::empty());
            pause(&Ok(response.expect("a response")), 2).map(|time| time.as_millis())
        };
        assert_eq!(answer(429, "1"), Some(1000));
        assert_eq!(answer(503, "0"), Some(0));
        assert_eq!(answer(429, "3600"), None);
        assert_eq!(answer(429, "garbage"), Some(200));
        assert_eq!(answer(500, "3600"), Some(200));
        assert_eq!(answer(409, "1"), None);
        assert_eq!(answer(200, "1"), None);
    }
}
