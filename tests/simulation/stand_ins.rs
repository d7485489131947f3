//! A registry and a Prometheus in memory, and a machine whose Deployments are ready at once. The tests below hold the
//! first two to the real ones; `tests/pipeline.rs` holds the machine to the real one, by [`differences`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use k8s_openapi::api::apps::v1::Deployment;
use reconcile::{Context, Controller, Done, Failure, Http, HttpError, Reconciler, Shutdown, Style};
use serde_json::{Value, json};

/// Address under which the registry is known; nothing listens there.
pub const REGISTRY: &str = "127.0.0.1:1";
/// Address under which Prometheus is known; nothing listens there.
pub const PROMETHEUS: &str = "127.0.0.1:2";
/// Address under which the receiver of alerts is known; nothing listens there.
pub const SINK: &str = "127.0.0.1:3";

/// The three servers, and what is known of them outside.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Tags of the one repository.
    pub tags: Shared<Vec<String>>,
    /// Reason and message of each alert that came; commits have no names in them, as these depend on the time.
    pub alerts: Shared<Vec<String>>,
    /// What each metric is: a share of requests in percent, and a time in milliseconds.
    pub measured: Shared<Measured>,
}

/// What Prometheus answers to every metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measured {
    /// All requests succeed, in 100 ms.
    #[default]
    Good,
    /// Half of them succeed, in 50 ms.
    Bad,
}

/// Known inside and outside.
pub type Shared<T> = Arc<Mutex<T>>;

/// What is shared, for as long as the value lives.
pub fn locked<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Network {
    /// The way there.
    pub fn http(&self) -> Http {
        let this = self.clone();
        Http::to_handler(move |request| {
            let answer = this.answer(&request);
            async move { answer }
        })
    }

    fn answer(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let place = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        match (place.as_str(), request.uri().scheme_str()) {
            // As a registry without TLS answers a client that begins with it.
            (REGISTRY, Some("https")) => Err(HttpError::Unreachable("no TLS here".into())),
            (REGISTRY, _) => Ok(registry(request.uri().path(), &locked(&self.tags))),
            (PROMETHEUS, _) => Ok(prometheus(request.uri(), *locked(&self.measured))),
            (SINK, _) => {
                locked(&self.alerts).push(told(request.body()));
                Ok(Response::new(Bytes::new()))
            }
            _ => Err(HttpError::Unreachable(format!("nobody listens at {place}"))),
        }
    }
}

fn told(body: &Bytes) -> String {
    let event: Value = serde_json::from_slice(body).expect("an event");
    let [reason, message] = ["reason", "message"].map(|field| event[field].as_str().unwrap_or_default().to_owned());
    let is_commit = |word: &&str| word.len() == 9 && word.starts_with('\'') && word.ends_with('\'');
    let words: Vec<&str> = message.split(' ').filter(|word| !is_commit(word)).collect();
    format!("{reason}: {}", words.join(" "))
}

fn registry(path: &str, tags: &[String]) -> Response<Bytes> {
    match path {
        "/v2/" => reply(&json!({})),
        "/v2/demo/app/tags/list" => reply(&json!({"name": "demo/app", "tags": tags})),
        _ => missing(),
    }
}

fn prometheus(uri: &Uri, measured: Measured) -> Response<Bytes> {
    // The other query is whether it works.
    let value = match measured {
        _ if uri.query().unwrap_or_default().contains("vector%281%29") => "1",
        Measured::Good => "100",
        Measured::Bad => "50",
    };
    match uri.path() {
        "/api/v1/query" => reply(&json!({"status": "success", "data": {"resultType": "vector",
            "result": [{"metric": {}, "value": [1_700_000_000, value]}]}})),
        _ => missing(),
    }
}

fn reply(body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn missing() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// A machine on which every Deployment is ready as soon as it is seen.
pub struct Machine {
    context: Context,
}

impl Machine {
    /// Runs until told to stop.
    pub async fn run(context: Context, shutdown: Shutdown) {
        Controller::new(context.clone(), Self { context }).run(shutdown).await;
    }
}

impl Reconciler for Machine {
    type Kind = Deployment;
    const CONTROLLER: &'static str = "stand-in";
    const STYLE: Style = Style::Own;

    async fn reconcile(&self, deployment: Arc<Deployment>) -> Result<Done, Failure> {
        let id = reconcile::object::reference(&*deployment);
        let status = ready_status(&deployment);
        self.context.store.write_status(&id, Self::CONTROLLER, &status).await.map_err(Failure::from)?;
        Ok(Done::new("ready"))
    }
}

/// The status of a Deployment that is rolled out.
pub fn ready_status(deployment: &Deployment) -> Value {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "unavailableReplicas": null,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                "message": "Deployment has minimum availability.",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                "message": "ReplicaSet has successfully progressed.",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"},
        ],
    })
}

/// Where the status of a Deployment that really is rolled out differs from the stand-in's.
pub fn differences(deployment: &Deployment) -> Vec<String> {
    let real = serde_json::to_value(&deployment.status).expect("a status");
    let ours = ready_status(deployment);
    let numbers = ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    let mut found: Vec<String> = numbers
        .iter()
        .filter(|field| real[**field] != ours[**field])
        .map(|field| format!("{field}: {} is {} here", real[*field], ours[*field]))
        .collect();
    let states = |status: &Value| {
        let list = status["conditions"].as_array().cloned().unwrap_or_default();
        let mut states: Vec<String> =
            list.iter().map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"])).collect();
        states.sort();
        states
    };
    if states(&real) != states(&ours) {
        found.push(format!("conditions {:?} are {:?} here", states(&real), states(&ours)));
    }
    found
}

mod conformance {
    use std::path::Path;

    use super::*;
    use crate::{
        demo::{
            ci::{self, Program, Release},
            parts, transport,
        },
        support::SLIPWAY,
    };

    async fn tags(http: &Http, registry: &str) -> Vec<String> {
        let name = oci::Name::parse(&format!("{registry}/demo/app")).expect("a name").insecure();
        let listed = oci::Client::new(transport(http)).repository(&name, None).tags().await;
        let mut listed = listed.expect("a list");
        listed.sort();
        listed
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_registry_lists_tags_as_a_real_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut part, address) = parts::registry(Path::new(SLIPWAY), folder.path()).expect("a registry");
        parts::listening(&mut part, address).await.expect("it listens");
        let program = Program::script(Path::new(SLIPWAY));
        for version in ["1.0.0", "1.1.0"] {
            ci::push_image(address, Release { version, fail_percent: 0 }, &program).await.expect("a pushed image");
        }
        let network = Network::default();
        *locked(&network.tags) = vec!["1.0.0".into(), "1.1.0".into()];
        assert_eq!(tags(&Http::new("test"), &address.to_string()).await, tags(&network.http(), REGISTRY).await);
    }

    async fn query(http: &Http, server: &str) -> Value {
        let uri = format!("http://{server}/api/v1/query?query=vector(100)");
        let request = Request::builder().uri(uri).body(Bytes::new()).expect("a request");
        let answer = http.send(request, &reconcile::Endpoint::default()).await.expect("an answer");
        let mut answer: Value = serde_json::from_slice(answer.body()).expect("JSON");
        // The time of the sample is the only thing that may differ.
        answer["data"]["result"][0]["value"][0] = Value::Null;
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn prometheus_answers_as_a_real_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let nobody = parts::free_address().expect("an address");
        let (mut part, address) = parts::prometheus(Path::new(SLIPWAY), folder.path(), nobody).expect("a Prometheus");
        parts::listening(&mut part, address).await.expect("it listens");
        let http = Http::new("test");
        // It listens a moment before it answers queries.
        let start = reconcile::clock::instant();
        loop {
            let request = Request::builder().uri(format!("http://{address}/-/ready")).body(Bytes::new());
            let ready = http.send(request.expect("a request"), &reconcile::Endpoint::default()).await;
            if ready.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                break;
            }
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "Prometheus is not ready");
            reconcile::clock::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(query(&http, &address.to_string()).await, query(&Network::default().http(), PROMETHEUS).await);
    }
}
