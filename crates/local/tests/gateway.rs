//! The gateway over real sockets, with real backends in this process.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use local::gateway::{
    Server,
    compile::{Objects, compile},
    metrics::Clusters,
    table::{ServicePort, Socket},
    upstream::{Endpoint, Load, Upstream, Upstreams},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify};

type Caller = Client<HttpConnector, Full<Bytes>>;

fn caller() -> Caller {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A backend that answers with its name, the path, some fields and the body it got.
struct Backend {
    address: SocketAddr,
    load: Arc<Load>,
    seen: Arc<AtomicUsize>,
    gate: Arc<Notify>,
}

impl Backend {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let backend = Self { address, load: Arc::default(), seen: seen.clone(), gate: gate.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, gate) = (seen.clone(), gate.clone());
                let service = service_fn(move |request| answer(name, request, seen.clone(), gate.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        backend
    }
}

async fn answer(
    name: &'static str,
    request: Request<Incoming>,
    seen: Arc<AtomicUsize>,
    gate: Arc<Notify>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    seen.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if parts.uri.path() == "/slow" {
        gate.notified().await;
    }
    let fields: BTreeMap<_, _> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    let text = json!({"name": name, "target": parts.uri.to_string(), "headers": fields, "body": body.len()});
    let status = if parts.uri.path() == "/fail" { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let response =
        Response::builder().status(status).header("connection", "x-hop").header("x-hop", "1").header("x-kept", "1");
    Ok(response.body(Full::new(text.to_string().into())).unwrap())
}

struct World {
    server: Server,
    endpoints: BTreeMap<&'static str, Vec<(SocketAddr, Arc<Load>)>>,
}

impl World {
    fn new(endpoints: BTreeMap<&'static str, Vec<(SocketAddr, Arc<Load>)>>) -> Self {
        Self { server: Server::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Clusters::default()), endpoints }
    }

    /// Serves rules with the endpoints there are; returns where.
    async fn serve(&self, rules: Value) -> SocketAddr {
        let gateway = serde_json::from_value(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "gw", "namespace": "test"},
            "spec": {"gatewayClassName": "slipway", "listeners": [{"name": "http", "port": 0, "protocol": "HTTP"}]}}));
        let route = serde_json::from_value(json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "r", "namespace": "test"}, "spec": {"parentRefs": [{"name": "gw"}], "rules": rules}}));
        let port = |service: &str| ServicePort { namespace: "test".into(), service: service.into(), port: 80 };
        let services: BTreeSet<_> = self.endpoints.keys().map(|service| port(service)).collect();
        let (gateways, routes) = ([gateway.unwrap()], [route.unwrap()]);
        let objects = Objects { gateways: &gateways, routes: &routes, services: &services };
        let table = compile(&objects, &self.server.table()).table;
        let upstreams: Upstreams = self
            .endpoints
            .iter()
            .map(|(service, endpoints)| {
                let endpoints = endpoints.iter().map(|(address, load)| Endpoint::new(*address, load.clone())).collect();
                (port(service), Arc::new(Upstream::new(endpoints, self.server.clusters().of(&port(service)))))
            })
            .collect();
        let outcomes = self.server.serve(table, upstreams).await;
        let socket = Socket::Free { gateway: "test/gw".into(), listener: "http".into() };
        outcomes[&socket].clone().unwrap()
    }
}

async fn get(caller: &Caller, address: SocketAddr, target: &str) -> (StatusCode, Value, http::HeaderMap) {
    let response = caller.get(format!("http://{address}{target}").parse().unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, serde_json::from_slice(&body).unwrap_or_default(), parts.headers)
}

fn weights(canary: u32) -> Value {
    json!([{"backendRefs": [{"name": "primary", "port": 80, "weight": 100 - canary}, {"name": "canary", "port": 80, "weight": canary}]}])
}

async fn two() -> (World, Backend, Backend) {
    let (primary, canary) = (Backend::start("primary").await, Backend::start("canary").await);
    let world = World::new(BTreeMap::from([
        ("primary", vec![(primary.address, primary.load.clone())]),
        ("canary", vec![(canary.address, canary.load.clone())]),
    ]));
    (world, primary, canary)
}

#[tokio::test]
async fn weights_are_exact_and_counted() {
    let (world, _primary, _canary) = two().await;
    let address = world.serve(weights(10)).await;
    let caller = caller();
    let mut counts = BTreeMap::<String, u32>::new();
    for number in 0..200 {
        let (status, body, _) = get(&caller, address, if number % 50 == 0 { "/fail" } else { "/" }).await;
        assert!(status == StatusCode::OK || number % 50 == 0);
        *counts.entry(body["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("canary".into(), 20), ("primary".into(), 180)]));
    let text = world.server.exposition();
    assert!(text.contains("envoy_cluster_name=\"test_canary_80\",namespace=\"test\"} 20"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_weights_loses_no_request() {
    let (world, _primary, _canary) = two().await;
    let address = world.serve(weights(0)).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let caller = caller();
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) || sent < 50 {
                    let (status, ..) = get(&caller, address, "/").await;
                    assert_eq!(status, StatusCode::OK);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    for step in 0..100 {
        world.serve(weights(step)).await;
        tokio::task::yield_now().await;
    }
    world.serve(weights(100)).await;
    let (_, body, _) = get(&caller(), address, "/").await;
    assert_eq!(body["name"], "canary", "the new weights hold at once");
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.await.unwrap() >= 50);
    }
}

#[tokio::test]
async fn refused_connections_are_tried_elsewhere_and_nothing_left_is_503() {
    let backend = Backend::start("primary").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::new(BTreeMap::from([(
        "primary",
        vec![(gone, Arc::default()), (backend.address, backend.load.clone())],
    )]));
    let address = world.serve(json!([{"backendRefs": [{"name": "primary", "port": 80}]}])).await;
    for _ in 0..4 {
        let request = Request::post(format!("http://{address}/")).body(Full::from("x".repeat(100_000))).unwrap();
        let response = caller().request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(body["body"], 100_000, "the body is sent whole at the second attempt");
    }
    world.endpoints.insert("primary", vec![(gone, Arc::default())]);
    world.serve(json!([{"backendRefs": [{"name": "primary", "port": 80}]}])).await;
    assert_eq!(get(&caller(), address, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    world.endpoints.insert("primary", vec![]);
    world.serve(json!([{"backendRefs": [{"name": "primary", "port": 80}]}])).await;
    assert_eq!(get(&caller(), address, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.server.exposition().contains("envoy_response_code=\"503\",envoy_response_code_class=\"5\"} 2"));
    world.serve(json!([{"backendRefs": [{"name": "unknown", "port": 80}]}])).await;
    assert_eq!(get(&caller(), address, "/").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    world
        .serve(json!([{"matches": [{"path": {"value": "/a"}}], "backendRefs": [{"name": "primary", "port": 80}]}]))
        .await;
    assert_eq!(get(&caller(), address, "/").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn filters_change_what_the_backend_and_the_client_see() {
    let (world, _primary, canary) = two().await;
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-set", "value": "1"}], "remove": ["x-gone"]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-added", "value": "2"}]}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": "new.host", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "canary", "port": 80}}}
    ]);
    let redirect = json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]);
    let address = world
        .serve(json!([
            {"matches": [{"path": {"value": "/old"}}], "filters": filters, "backendRefs": [{"name": "primary", "port": 80}]},
            {"matches": [{"path": {"value": "/moved"}}], "filters": redirect}
        ]))
        .await;
    let request = Request::post(format!("http://{address}/old/x?q=1"))
        .header("x-gone", "1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .body(Full::from("body"))
        .unwrap();
    let response = caller().request(request).await.unwrap();
    assert_eq!(
        (&response.headers()["x-added"], &response.headers()["x-kept"]),
        (&"2".parse().unwrap(), &"1".parse().unwrap())
    );
    assert!(response.headers().get("x-hop").is_none());
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["target"], "/new/x?q=1");
    let headers = &body["headers"];
    assert_eq!((&headers["x-set"], &headers["host"]), (&json!("1"), &json!("new.host")));
    assert!(headers.get("x-gone").is_none() && headers.get("x-hop").is_none(), "{headers}");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    let mirrored = async {
        while !world
            .server
            .exposition()
            .contains("envoy_cluster_name=\"test_canary_80\",namespace=\"test\",envoy_response_code=\"200\"")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), mirrored).await.unwrap();
    assert_eq!(canary.seen.load(Ordering::SeqCst), 1);
    let (status, _, headers) = get(&caller(), address, "/moved/y?z").await;
    assert_eq!(status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(headers["location"], "https://127.0.0.1/moved/y?z");
}

#[tokio::test]
async fn a_slow_backend_is_answered_with_504() {
    let (world, primary, _canary) = two().await;
    let address =
        world.serve(json!([{"timeouts": {"request": "50ms"}, "backendRefs": [{"name": "primary", "port": 80}]}])).await;
    assert_eq!(get(&caller(), address, "/slow").await.0, StatusCode::GATEWAY_TIMEOUT);
    primary.load.wait_until_idle().await;
}

#[tokio::test]
async fn a_pod_that_leaves_finishes_its_requests() {
    let (mut world, primary, _canary) = two().await;
    let address = world.serve(weights(0)).await;
    let slow = tokio::spawn(async move { get(&caller(), address, "/slow").await });
    while primary.seen.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(primary.load.in_flight(), 1);
    world.endpoints.insert("primary", vec![]);
    world.serve(weights(0)).await;
    assert_eq!(get(&caller(), address, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let closing = tokio::spawn({
        let server = world.server.clone();
        async move { server.shut_down(Duration::from_secs(10)).await }
    });
    primary.gate.notify_one();
    let (status, body, _) = slow.await.unwrap();
    assert_eq!((status, &body["name"]), (StatusCode::OK, &json!("primary")));
    primary.load.wait_until_idle().await;
    closing.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the socket is closed");
}
