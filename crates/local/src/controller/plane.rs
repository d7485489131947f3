//! Who serves the routing table: slipway itself, or a program beside it that slipway runs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{envoy::Envoy, haproxy::HaProxy};
use crate::gateway::{
    compile::Compiled,
    envoy, haproxy, outside,
    proxy::server::{Outcomes, Server},
    table::Table,
    upstream::Upstreams,
};

/// Who is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Slipway itself.
    #[default]
    Builtin,
    /// HAProxy.
    HaProxy(Beside),
    /// Envoy.
    Envoy(Beside),
}

/// A program beside us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its file.
    pub program: PathBuf,
    /// Where its own pages and metrics are served.
    pub admin: SocketAddr,
}

/// Who serves. Clones are the same one.
#[derive(Clone, Debug)]
pub enum Plane {
    /// Slipway itself.
    Builtin(Server),
    /// HAProxy.
    HaProxy(HaProxy),
    /// Envoy.
    Envoy(Envoy),
}

impl Plane {
    /// The table that is served, where the rounds of its rules go on from one table to the next.
    pub fn table(&self) -> Table {
        match self {
            Self::Builtin(server) => server.table(),
            Self::HaProxy(_) | Self::Envoy(_) => Table::default(),
        }
    }

    /// Refuses the routes that ask for what the program cannot do.
    pub fn refuse(&self, compiled: &mut Compiled) {
        match self {
            Self::Builtin(_) => {}
            Self::HaProxy(_) => outside::refuse(compiled, haproxy::unsupported),
            Self::Envoy(_) => outside::refuse(compiled, envoy::unsupported),
        }
    }

    /// Serves this table from now on. Once it returns the table is in force, by the program's own word.
    pub async fn serve(&self, table: &Table, upstreams: Upstreams) -> Result<Outcomes, String> {
        match self {
            Self::Builtin(server) => Ok(server.serve(table.clone(), upstreams).await),
            Self::HaProxy(proxy) => proxy.serve(table, &outside::endpoints(&upstreams)).await,
            Self::Envoy(proxy) => proxy.serve(table, &outside::endpoints(&upstreams)).await,
        }
    }

    /// Accepts nothing more and waits until the requests that are under way have ended, at most that long.
    pub async fn shut_down(&self, limit: Duration) {
        match self {
            Self::Builtin(server) => server.shut_down(limit).await,
            Self::HaProxy(proxy) => proxy.shut_down(limit).await,
            Self::Envoy(proxy) => proxy.shut_down(limit).await,
        }
    }
}
