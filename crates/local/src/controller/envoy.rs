//! Keeps an Envoy process in line with the routing table by the files that it watches, and asks it what it has taken over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use reconcile::{Endpoint, Http};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::Mutex;

use super::program::{self, Program, Running, eventually};
use crate::gateway::{
    envoy::{Files, active, bootstrap, busy, clusters, file, healthy, listeners, name, versions},
    outside::{Addresses, Endpoints, services},
    proxy::server::Outcomes,
    table::{ServicePort, Table},
};

/// Longest time for its end, once nothing is under way.
const END: Duration = Duration::from_secs(1);
/// Where it tells the endpoints of its clusters.
const CLUSTERS: &str = "/clusters?format=json";
/// Where it tells how many requests are under way.
const ACTIVE: &str = "/stats?format=json&filter=%5Ehttp.gateway_.*downstream_rq_active";

/// An Envoy that serves the gateway. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Envoy {
    program: Arc<Program>,
    http: Http,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<Running>,
    addresses: Addresses,
    /// What was served last.
    endpoints: Endpoints,
    services: BTreeSet<ServicePort>,
    /// What was last written to each file, and under which version.
    written: BTreeMap<String, (Vec<Value>, u64)>,
    /// The greatest version so far.
    version: u64,
}

impl Envoy {
    /// Nothing runs before there is something to serve.
    pub fn new(program: Program, http: Http) -> Self {
        Self { program: Arc::new(program), http, state: Arc::default() }
    }

    /// Serves this table from now on. When it returns, Envoy has said so itself, and no endpoint that left is at work.
    pub async fn serve(&self, table: &Table, endpoints: &Endpoints) -> Result<Outcomes, String> {
        let mut state = self.state.lock().await;
        if state.running.is_none() && table.sockets.is_empty() {
            return Ok(Outcomes::new());
        }
        let served = self.hand_over(&mut state, table, endpoints).await;
        if served.is_err() {
            // What Envoy has refused it does not look at again, unless it is written again.
            state.written.clear();
        }
        served
    }

    async fn hand_over(&self, state: &mut State, table: &Table, endpoints: &Endpoints) -> Result<Outcomes, String> {
        let folder = &self.program.folder;
        state.addresses = self.program.addresses(table, &state.addresses)?;
        let (needed, leaving) = (services(table), leaving(&state.endpoints, endpoints));
        // Routes before their clusters, and clusters that go before their routes, would be answered with 503.
        let both: BTreeSet<_> = needed.union(&state.services).cloned().collect();
        self.write(state, clusters(folder, &both, endpoints, &leaving))?;
        let is_alive = state.running.as_mut().is_some_and(|running| running.id().is_some());
        let routing = listeners(folder, table, &state.addresses);
        if !is_alive {
            self.write(state, routing.clone())?;
            state.running = Some(self.start().await?);
        }
        eventually("Envoy's taking over of endpoints", || async {
            let answer = self.ask(CLUSTERS).await?;
            let known = |service| endpoints.get(service).into_iter().flatten().copied().collect::<BTreeSet<_>>();
            Ok(needed.iter().all(|service| healthy(&answer, service) == known(service)))
        })
        .await?;
        self.write(state, routing)?;
        self.taken_over(state).await?;
        if leaving.values().any(|addresses| !addresses.is_empty()) {
            let idle = || async { Ok(busy(&self.ask(CLUSTERS).await?, &both) == 0) };
            eventually("the end of requests to pods that left", idle).await?;
        }
        self.write(state, clusters(folder, &needed, endpoints, &Endpoints::new()))?;
        state.endpoints.clone_from(endpoints);
        state.services = needed;
        Ok(program::open(&state.addresses))
    }

    /// Lets it answer what is under way, at most that long, and ends it.
    pub async fn shut_down(&self, limit: Duration) {
        let Some(running) = self.state.lock().await.running.take() else { return };
        let idle = async {
            self.send(Method::POST, "/drain_listeners").await?;
            eventually("the end of requests", || async { Ok(active(&self.ask(ACTIVE).await?) == 0) }).await
        };
        let idle = tokio::time::timeout(limit, idle).await;
        tracing::debug!(?idle, "Envoy ends");
        running.end(Signal::TERM, END).await;
    }

    async fn start(&self) -> Result<Running, String> {
        let config = bootstrap(&self.program.folder, self.program.admin);
        self.program.write("bootstrap.json", &config.to_string())?;
        let path = self.program.folder.join("bootstrap.json").display().to_string();
        let words = ["-c", path.as_str(), "--disable-hot-restart", "--concurrency", "2", "--log-level", "warn"];
        let running = self.program.start("envoy", words.map(str::to_owned).to_vec()).await?;
        eventually("the start of Envoy", || async { Ok(self.get("/ready").await?.starts_with("LIVE")) }).await?;
        Ok(running)
    }

    /// Writes those files whose contents have changed.
    fn write(&self, state: &mut State, files: Files) -> Result<(), String> {
        for (path, resources) in files {
            if state.written.get(&path).is_some_and(|(before, _)| *before == resources) {
                continue;
            }
            state.version += 1;
            self.program.write(&path, &file(&resources, state.version).to_string())?;
            state.written.insert(path, (resources, state.version));
        }
        Ok(())
    }

    /// Waits until the routes and listeners in force are those that were written. Envoy without any has no page of them.
    async fn taken_over(&self, state: &State) -> Result<(), String> {
        if state.addresses.is_empty() {
            return Ok(());
        }
        let version = |path: &str| state.written.get(path).map(|(_, version)| version.to_string());
        let (all, one) = ("/config_dump?resource=dynamic_listeners", "/config_dump?resource=dynamic_route_configs");
        eventually("Envoy's taking over of routes", || async {
            let (open, routes) = (versions(&self.ask(all).await?), versions(&self.ask(one).await?));
            Ok(state.addresses.values().all(|&address| {
                let name = name(address);
                open.contains_key(&name) && routes.get(&name) == version(&format!("routes/{name}.json")).as_ref()
            }))
        })
        .await
    }

    async fn ask(&self, path: &str) -> Result<Value, String> {
        serde_json::from_str(&self.get(path).await?).map_err(|error| format!("Envoy's answer to {path}: {error}"))
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        self.send(Method::GET, path).await
    }

    async fn send(&self, method: Method, path: &str) -> Result<String, String> {
        let failed = |error: &dyn std::fmt::Display| format!("Envoy's admin page {path}: {error}");
        let request = http::Request::builder().method(method).uri(format!("http://{}{path}", self.program.admin));
        let request = request.body(Bytes::new());
        let request = request.map_err(|error| failed(&error))?;
        let answer = self.http.send(request, &Endpoint::default()).await.map_err(|error| failed(&error))?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }
}

/// The endpoints that are no longer there.
fn leaving(before: &Endpoints, after: &Endpoints) -> Endpoints {
    let gone = before.iter().map(|(service, addresses)| {
        let now = after.get(service).map_or(&[] as &[_], Vec::as_slice);
        (service.clone(), addresses.iter().filter(|address| !now.contains(address)).copied().collect())
    });
    gone.collect()
}
