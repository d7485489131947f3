//! Where requests can go now: the ready endpoints of each Service port, and how many requests each pod is working on.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::uri::Authority;
use tokio::sync::Notify;

use crate::gateway::{metrics::Cluster, table::ServicePort};

/// Requests that a pod is working on.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicUsize,
    idle: Notify,
}

impl Load {
    /// How many requests are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until no request is under way. Only meaningful after the pod has left the endpoints.
    pub async fn wait_until_idle(&self) {
        loop {
            let changed = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// One request under way; ends when dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

impl InFlight {
    /// A request that begins.
    pub fn begin(load: Arc<Load>) -> Self {
        load.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(load)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A port of a ready pod.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// The pod's requests.
    pub load: Arc<Load>,
    /// The address as it stands in a URI.
    pub authority: Authority,
}

impl Endpoint {
    /// An endpoint of a pod.
    pub fn new(address: SocketAddr, load: Arc<Load>) -> Self {
        let authority = address.to_string().parse().expect("a socket address is a valid authority");
        Self { address, load, authority }
    }
}

/// The endpoints of one Service port. They take turns.
#[derive(Debug)]
pub struct Upstream {
    endpoints: Vec<Endpoint>,
    turn: AtomicUsize,
    /// Counts of the backend.
    pub cluster: Arc<Cluster>,
}

impl Upstream {
    /// Endpoints of a Service port, with the counts of the backend.
    pub fn new(endpoints: Vec<Endpoint>, cluster: Arc<Cluster>) -> Self {
        Self { endpoints, turn: AtomicUsize::new(0), cluster }
    }

    /// Addresses of all endpoints.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints.iter().map(|endpoint| endpoint.address).collect()
    }

    /// The endpoint whose turn it is, leaving out those that were tried before.
    pub fn pick(&self, tried: &[SocketAddr]) -> Option<&Endpoint> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.endpoints.len();
        (0..count)
            .map(|offset| &self.endpoints[(turn.wrapping_add(offset)) % count])
            .find(|endpoint| !tried.contains(&endpoint.address))
    }
}

/// All Service ports there are; those without ready pods have no endpoints.
pub type Upstreams = HashMap<ServicePort, Arc<Upstream>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_turns_and_tried_ones_are_left_out() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let endpoints = [1, 2].map(|port| Endpoint::new(address(port), Arc::default())).to_vec();
        let upstream = Upstream::new(endpoints, Arc::default());
        let picks: Vec<_> = (0..4).map(|_| upstream.pick(&[]).unwrap().address.port()).collect();
        assert_eq!(picks, [1, 2, 1, 2]);
        assert_eq!(upstream.pick(&[address(1)]).unwrap().address.port(), 2);
        assert!(upstream.pick(&[address(1), address(2)]).is_none());
        assert!(Upstream::new(vec![], Arc::default()).pick(&[]).is_none());
    }

    #[tokio::test]
    async fn a_pod_is_idle_when_its_last_request_ends() {
        let load = Arc::new(Load::default());
        let (first, second) = (InFlight::begin(load.clone()), InFlight::begin(load.clone()));
        let waiting = tokio::spawn({
            let load = load.clone();
            async move { load.wait_until_idle().await }
        });
        drop(first);
        assert_eq!(load.in_flight(), 1);
        drop(second);
        waiting.await.unwrap();
    }
}
