//! The program in the pods.

use std::{convert::Infallible, net::SocketAddr, process::Command};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

pub fn main() {
    if variable("CHILD") == "yes" {
        // A child in a group of its own, as a program that turns into a daemon has.
        use std::os::unix::process::CommandExt as _;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["app", "child"])
            .env("CHILD", "")
            .process_group(0)
            .spawn()
            .unwrap();
        std::thread::spawn(move || child.wait());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve());
}

async fn serve() {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    if std::env::args().any(|word| word == "child") {
        terminate.recv().await;
        return;
    }
    let address: SocketAddr = format!("{}:8080", variable("MY_IP")).parse().unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    println!("listening on {address}");
    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            _ = terminate.recv() => break,
        };
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection =
                std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    stop.cancel();
    connections.close();
    connections.wait().await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    match request.uri().path() {
        "/exit" => std::process::exit(3),
        "/slow" => {
            println!("1 slow request");
            // Long enough for the pod to be told to end meanwhile.
            reconcile::clock::sleep(std::time::Duration::from_millis(700)).await;
        }
        _ => {}
    }
    let text = json!({
        "version": variable("VERSION"), "address": variable("MY_IP"), "pod": variable("HOSTNAME"),
        "colour": variable("COLOUR"), "password": variable("PASSWORD"), "process": std::process::id(),
    });
    Ok(Response::new(Full::from(text.to_string())))
}
