//! Routes and endpoints: one task makes the routing table from all objects and pods; the reconcilers ask for it and write
//! what it says about their object.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::gateway::{Gateway, HttpRoute, Listener};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use reconcile::{Done, Failure, Reconciler, Shutdown, Store, Style, clock};

use super::plane::Plane;
use crate::{
    endpoints::{self, Ready},
    gateway::{
        compile::{self, Compiled, Objects},
        metrics::Clusters,
        proxy::server::Outcomes,
        status,
        upstream::{Endpoint, Upstream, Upstreams},
    },
    supervisor::{Supervisor, refresh::Refresh},
};

/// Wait after the objects could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Routes and endpoints of this machine. Clones share them.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    store: Store,
    plane: Plane,
    /// The counts of all backends.
    clusters: Clusters,
    supervisor: Supervisor,
    refresh: Arc<Refresh>,
    latest: Mutex<(Arc<Compiled>, Outcomes)>,
}

impl Network {
    /// Nothing is served before `run`.
    pub fn new(store: Store, plane: Plane, clusters: Clusters, supervisor: Supervisor, refresh: Arc<Refresh>) -> Self {
        Self(Arc::new(Inner { store, plane, clusters, supervisor, refresh, latest: Mutex::default() }))
    }

    /// Makes new routes whenever somebody asks. Pods that drain while slipway ends need it to the last.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            let number = tokio::select! {
                number = self.0.refresh.asked() => number,
                () = shutdown.cancelled() => return,
            };
            match self.make().await {
                Ok(()) => self.0.refresh.serve(number),
                Err(problem) => {
                    tracing::warn!(%problem, "routes cannot be made; those that are served stay");
                    clock::sleep(RETRY).await;
                }
            }
        }
    }

    async fn make(&self) -> Result<(), String> {
        let inner = &self.0;
        let (gateways, routes, services) = self.objects().await.map_err(|error| error.to_string())?;
        let ports = endpoints::service_ports(&services);
        let objects = Objects { gateways: &gateways, routes: &routes, services: &ports };
        let mut compiled = compile::compile(&objects, &inner.plane.table());
        inner.plane.refuse(&mut compiled);
        let outcomes = inner.plane.serve(&compiled.table, self.upstreams(&services)).await?;
        *inner.latest.lock().unwrap_or_else(PoisonError::into_inner) = (Arc::new(compiled), outcomes);
        Ok(())
    }

    async fn objects(&self) -> reconcile::Result<(Vec<Gateway>, Vec<HttpRoute>, Vec<Service>)> {
        let store = &self.0.store;
        Ok((store.list(None).await?, store.list(None).await?, store.list(None).await?))
    }

    /// The endpoints of all Services among the pods that are ready.
    fn upstreams(&self, services: &[Service]) -> Upstreams {
        let pods = self.0.supervisor.pods();
        let ready: Vec<_> = pods
            .iter()
            .filter(|pod| pod.ready_since.is_some() && !pod.stopping)
            .map(|pod| Ready {
                namespace: &pod.identity.namespace,
                labels: &pod.identity.labels,
                address: pod.identity.address,
                ports: &pod.ports,
                load: pod.load.clone(),
            })
            .collect();
        let found = endpoints::endpoints(services, &ready);
        let upstreams = found.into_iter().map(|(service, endpoints)| {
            let endpoints = endpoints.into_iter().map(|(address, load)| Endpoint::new(address, load)).collect();
            let upstream = Upstream::new(endpoints, self.0.clusters.of(&service));
            (service, Arc::new(upstream))
        });
        upstreams.collect::<HashMap<_, _>>()
    }

    /// New routes, and what they say.
    async fn latest(&self) -> (Arc<Compiled>, Outcomes) {
        self.0.refresh.done().await;
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves Gateways.
pub struct Gateways(pub Network);

impl Reconciler for Gateways {
    type Kind = Gateway;
    const CONTROLLER: &'static str = "local-gateway";
    const STYLE: Style = Style::Own;

    async fn reconcile(&self, gateway: Arc<Gateway>) -> Result<Done, Failure> {
        let (compiled, outcomes) = self.0.latest().await;
        let opened = |listener: &Listener| outcomes.get(&compile::socket(&gateway, listener)).cloned();
        let status = status::gateway(&gateway, &compiled, opened, clock::now());
        let failed = outcomes.values().any(Result::is_err);
        let done = Done::new("Gateway is served").status(status);
        // A port that somebody else has may become free.
        Ok(if failed { done.requeue(RETRY * 5) } else { done })
    }

    fn removed(&self, _gateway: &Gateway) {
        self.0.0.refresh.request();
    }
}

/// Serves HTTPRoutes.
pub struct Routes(pub Network);

impl Reconciler for Routes {
    type Kind = HttpRoute;
    const CONTROLLER: &'static str = "local-gateway";
    const STYLE: Style = Style::Own;

    async fn reconcile(&self, route: Arc<HttpRoute>) -> Result<Done, Failure> {
        let (compiled, _) = self.0.latest().await;
        let key = (route.namespace().unwrap_or_default(), route.name_any());
        let verdicts = compiled.verdicts.get(&key).map(Vec::as_slice).unwrap_or_default();
        Ok(Done::new("HTTPRoute is served").status(status::route(&route, verdicts, clock::now())))
    }

    fn removed(&self, _route: &HttpRoute) {
        self.0.0.refresh.request();
    }
}

/// Keeps the endpoints of Services.
pub struct Services(pub Network);

impl Reconciler for Services {
    type Kind = Service;
    const CONTROLLER: &'static str = "local-endpoints";
    const STYLE: Style = Style::Own;

    async fn reconcile(&self, _service: Arc<Service>) -> Result<Done, Failure> {
        self.0.0.refresh.done().await;
        Ok(Done::new("Service has its endpoints"))
    }

    fn removed(&self, _service: &Service) {
        self.0.0.refresh.request();
    }
}
