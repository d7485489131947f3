//! The gateway as a whole: its sockets and the routing they serve.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Proxy, Routing, listen::Listening, upstream::Upstreams};
use crate::gateway::{
    metrics::Clusters,
    table::{Socket, Table},
};

/// Serves routing tables. Cheap to clone; all clones are the same gateway.
#[derive(Clone, Debug)]
pub struct Server {
    proxy: Arc<Proxy>,
    address: IpAddr,
    sockets: Arc<tokio::sync::Mutex<BTreeMap<Socket, Listening>>>,
    outcomes: Arc<Mutex<Outcomes>>,
    clusters: Clusters,
}

/// For each socket where it listens, or why it cannot.
pub type Outcomes = BTreeMap<Socket, Result<SocketAddr, String>>;

impl Server {
    /// A gateway that listens on that address and serves nothing yet.
    pub fn new(address: IpAddr, clusters: Clusters) -> Self {
        Self { proxy: Arc::default(), address, sockets: Arc::default(), outcomes: Arc::default(), clusters }
    }

    /// Serves this table from now on: stops sockets that are not needed, swaps the routing, opens new sockets.
    /// Requests that are under way end by the rules they began with.
    pub async fn serve(&self, table: Table, upstreams: Upstreams) -> Outcomes {
        let mut sockets = self.sockets.lock().await;
        let mut outcomes = Outcomes::new();
        let wanted: Vec<Socket> = table.sockets.keys().cloned().collect();
        sockets.retain(|socket, listening| {
            let keep = wanted.contains(socket);
            if !keep {
                listening.stop();
            }
            keep
        });
        self.proxy.swap(Routing { table, upstreams });
        for socket in wanted {
            let outcome = match sockets.get(&socket) {
                Some(listening) => Ok(listening.address),
                None => self.open(&socket).await.map(|listening| {
                    let address = listening.address;
                    sockets.insert(socket.clone(), listening);
                    address
                }),
            };
            outcomes.insert(socket, outcome);
        }
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner) = outcomes.clone();
        outcomes
    }

    async fn open(&self, socket: &Socket) -> Result<Listening, String> {
        let port = match socket {
            Socket::Port(port) => *port,
            Socket::Free { .. } => 0,
        };
        let address = SocketAddr::new(self.address, port);
        let listening = Listening::begin(address, socket.clone(), self.proxy.clone()).await;
        listening.map_err(|error| format!("cannot listen on {address}: {error}"))
    }

    /// The table that is served.
    pub fn table(&self) -> Table {
        self.proxy.with(|routing| routing.table.clone())
    }

    /// Where the gateway listens, and where it cannot.
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts of all backends in Prometheus' text format, to be appended to a metrics page.
    pub fn exposition(&self) -> String {
        self.clusters.exposition()
    }

    /// The counts of all backends.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Accepts nothing more and waits until the requests that are under way have ended, at most that long.
    pub async fn shut_down(&self, limit: Duration) {
        let sockets = std::mem::take(&mut *self.sockets.lock().await);
        sockets.values().for_each(Listening::stop);
        let all = futures::future::join_all(sockets.values().map(Listening::stopped));
        let _ = tokio::time::timeout(limit, all).await;
    }
}
