//! One socket: accepts connections and hands their requests to the proxy, until it is told to stop.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Proxy;
use crate::gateway::table::Socket;

/// Wait after an accept that failed, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that is being served.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens; the port is the real one.
    pub address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Listening {
    /// Binds the address and serves it in the background.
    pub async fn begin(address: SocketAddr, socket: Socket, proxy: Arc<Proxy>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(listener, Arc::new(socket), proxy, stop.clone(), connections.clone());
        connections.spawn(accepting);
        Ok(Self { address, stop, connections })
    }

    /// Accepts no more connections; those that are open end after the request they are working on.
    pub fn stop(&self) {
        self.stop.cancel();
        self.connections.close();
    }

    /// Waits until all connections have ended, after `stop`.
    pub async fn stopped(&self) {
        self.connections.wait().await;
    }
}

async fn accept(
    listener: TcpListener,
    socket: Arc<Socket>,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let port = listener.local_addr().map(|address| address.port()).unwrap_or_default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, peer, port, socket.clone(), proxy.clone(), stop.clone());
                connections.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(port, %error, "gateway cannot accept a connection");
                reconcile::clock::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    socket: Arc<Socket>,
    proxy: Arc<Proxy>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let client = HeaderValue::from_str(&peer.ip().to_string()).unwrap_or(HeaderValue::from_static("unknown"));
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(proxy.serve(&socket, port, &client, request).await) });
    let connection = http1::Builder::new().half_close(false).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "client connection ended early");
    }
}
