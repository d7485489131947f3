//! The shell: Deployments become processes, Gateways and HTTPRoutes a proxy, Services the endpoints between them.

mod deployment;
mod envoy;
mod haproxy;
mod network;
mod plane;
mod program;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use api::gateway::{Gateway, HttpRoute};
use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use reconcile::{Concerned, Context, Controller, Shutdown};

pub use self::plane::{Beside, Choice};
use self::{
    deployment::Deployments,
    envoy::Envoy,
    haproxy::HaProxy,
    network::{Gateways, Network, Routes, Services},
    plane::Plane,
    program::Program,
};
use crate::{
    Result,
    gateway::{Server, metrics::Clusters},
    supervisor::{Supervisor, refresh::Refresh},
};

/// Longest time for requests that are under way when slipway ends.
const DRAIN: Duration = Duration::from_secs(4);
/// Longest time for processes to end after that.
const END: Duration = Duration::from_secs(3);

/// Where and how this machine is a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for images and logs.
    pub folder: PathBuf,
    /// Address that the gateway listens on.
    pub address: IpAddr,
    /// Command line in front of that of each pod, which becomes it by [`crate::guard::become_command`].
    pub guard: Vec<String>,
    /// Who serves Gateways and HTTPRoutes.
    pub gateway: Choice,
}

impl Options {
    /// Listens on 127.0.0.1 and guards processes with this program's own `pod-process`.
    pub fn new(folder: PathBuf) -> Self {
        // By this name the program is found even when its file has been replaced.
        let guard = vec!["/proc/self/exe".to_owned(), "pod-process".to_owned()];
        Self { folder, address: IpAddr::from([127, 0, 0, 1]), guard, gateway: Choice::Builtin }
    }
}

/// The controllers of this machine, each a task that ends after `shutdown`: by then requests are answered and processes
/// have ended. Must be called inside the runtime.
pub fn controllers(context: &Context, options: Options, shutdown: &Shutdown) -> Result<Vec<BoxFuture<'static, ()>>> {
    let refresh = Arc::new(Refresh::default());
    let server = Server::new(options.address, Clusters::default());
    let page = server.clone();
    context.metrics.add_page(move || page.exposition());
    let supervisor = Supervisor::open(context.clone(), options.folder.clone(), options.guard.clone(), refresh.clone())?;
    let program = |beside: &Beside| Program {
        file: beside.program.clone(),
        admin: beside.admin,
        folder: supervisor.folder().join("gateway"),
        address: options.address,
        supervisor: supervisor.clone(),
    };
    let plane = match &options.gateway {
        Choice::Builtin => Plane::Builtin(server.clone()),
        Choice::HaProxy(beside) => Plane::HaProxy(HaProxy::new(program(beside))),
        Choice::Envoy(beside) => Plane::Envoy(Envoy::new(program(beside), context.http.clone())),
    };
    let network =
        Network::new(context.store.clone(), plane.clone(), server.clusters().clone(), supervisor.clone(), refresh);
    let deployments = Deployments::new(context.clone(), supervisor.clone());

    let serving = network.clone().run(shutdown.clone());
    let ending = end(shutdown.clone(), plane, supervisor);
    let deployments = Controller::new(context.clone(), deployments).run(shutdown.clone());
    let services = Controller::new(context.clone(), Services(network.clone())).run(shutdown.clone());
    let gateways = Controller::new(context.clone(), Gateways(network.clone()))
        .watches::<HttpRoute>(parents_of)
        .run(shutdown.clone());
    let routes = Controller::new(context.clone(), Routes(network))
        .watches::<Gateway>(routes_of)
        .watches::<Service>(routes_to)
        .run(shutdown.clone());
    Ok(vec![serving.boxed(), ending.boxed(), deployments.boxed(), services.boxed(), gateways.boxed(), routes.boxed()])
}

/// Waits for the end; then finishes requests, then ends processes.
async fn end(shutdown: Shutdown, plane: Plane, supervisor: Supervisor) {
    shutdown.cancelled().await;
    plane.shut_down(DRAIN).await;
    supervisor.shut_down(END).await;
}

/// Gateways that a route names, before or after a change.
fn parents_of<'a>(before: Option<&'a HttpRoute>, after: Option<&'a HttpRoute>) -> Concerned<'a, Gateway> {
    let names = |route: &HttpRoute, gateway: &Gateway| {
        let namespace = route.namespace().unwrap_or_default();
        let (own, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        route.spec.parent_refs.iter().any(|parent| parent.is_gateway(&namespace, &own, &name))
    };
    // Their status counts routes; a change of weights changes no count.
    let same = before.zip(after).is_some_and(|(before, after)| {
        (&before.spec.parent_refs, &before.spec.hostnames) == (&after.spec.parent_refs, &after.spec.hostnames)
    });
    if same {
        return None;
    }
    Some(Box::new(move |gateway| [before, after].into_iter().flatten().any(|route| names(route, gateway))))
}

/// Routes that name a Gateway.
fn routes_of<'a>(before: Option<&'a Gateway>, after: Option<&'a Gateway>) -> Concerned<'a, HttpRoute> {
    if before.zip(after).is_some_and(|(before, after)| before.spec == after.spec) {
        return None;
    }
    let gateway = after.or(before)?;
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    Some(Box::new(move |route| {
        let own = route.namespace().unwrap_or_default();
        route.spec.parent_refs.iter().any(|parent| parent.is_gateway(&own, &namespace, &name))
    }))
}

/// Routes that send to a Service which came or went or changed its ports.
fn routes_to<'a>(before: Option<&'a Service>, after: Option<&'a Service>) -> Concerned<'a, HttpRoute> {
    if before.zip(after).is_some_and(|(before, after)| before.spec == after.spec) {
        return None;
    }
    let service = after.or(before)?;
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    Some(Box::new(move |route| {
        let own = route.namespace().unwrap_or_default();
        let mut backends = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
        backends.any(|backend| backend.name == name && backend.namespace.as_deref().unwrap_or(&own) == namespace)
    }))
}
