//! The receiver of alerts: prints what a chat would show.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::mpsc;

/// Listens on loopback; every alert that arrives is sent to the channel.
pub async fn listen() -> anyhow::Result<(SocketAddr, mpsc::UnboundedReceiver<Value>)> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok((listener.local_addr()?, take(listener)))
}

#[allow(dead_code, reason = "used by tests and benches, which include this file")]
/// The same at a given address.
pub async fn listen_at(address: SocketAddr) -> anyhow::Result<mpsc::UnboundedReceiver<Value>> {
    Ok(take(tokio::net::TcpListener::bind(address).await?))
}

fn take(listener: tokio::net::TcpListener) -> mpsc::UnboundedReceiver<Value> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receive = move |Json(alert): Json<Value>| {
        let sender = sender.clone();
        async move {
            // The demo may be over already.
            let _ = sender.send(alert);
        }
    };
    let router = Router::new().fallback(receive);
    tokio::spawn(async move { axum::serve(listener, router).await });
    receiver
}
