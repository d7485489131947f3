//! The controller over a directory store, posting to a listener of this test.

use std::{sync::Arc, time::Duration};

use notification::{Notification, Settings};
use reconcile::{Context, Directory, Http, Notice, Shutdown, Store, store::EventFilter};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::{Mutex, mpsc},
};

/// A listener that answers the scripted statuses, then 200, and hands on what it was sent.
struct Sink {
    address: String,
    /// Each message with what it was answered.
    received: mpsc::UnboundedReceiver<(u16, Value)>,
}

impl Sink {
    async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (send, received) = mpsc::unbounded_channel();
        let statuses = Arc::new(Mutex::new(statuses.iter()));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = Vec::new();
                let body = loop {
                    let mut chunk = [0; 4096];
                    let Ok(length @ 1..) = stream.read(&mut chunk).await else { break None };
                    text.extend_from_slice(&chunk[..length]);
                    let whole = String::from_utf8_lossy(&text).into_owned();
                    let body = whole.split_once("\r\n\r\n").map(|(_, body)| body);
                    if let Some(value) = body.and_then(|body| serde_json::from_str(body).ok()) {
                        break Some(value);
                    }
                };
                let status = statuses.lock().await.next().copied().unwrap_or(200);
                let answer = match status {
                    1 => "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nhalf".to_owned(),
                    2 => {
                        // Kept open and never answered.
                        tokio::spawn(async move { stream.read(&mut [0; 1]).await });
                        body.into_iter().for_each(|body| drop(send.send((status, body))));
                        continue;
                    }
                    429 => "HTTP/1.1 429 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_owned(),
                    status => format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
                body.into_iter().for_each(|body| drop(send.send((status, body))));
            }
        });
        Self { address, received }
    }

    async fn next(&mut self) -> Value {
        self.answered().await.1
    }

    /// The next message, and what it was answered.
    async fn answered(&mut self) -> (u16, Value) {
        tokio::time::timeout(Duration::from_secs(20), self.received.recv())
            .await
            .expect("a message in time")
            .expect("the sink lives")
    }
}

struct World {
    folder: tempfile::TempDir,
    context: Context,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start(folder: tempfile::TempDir) -> Self {
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("the store opens");
        let store = Store::Directory(directory);
        let context = Context::new(store, Http::new("test"), "test");
        let shutdown = Shutdown::new();
        let controller = Notification::new(
            context.clone(),
            Settings { first_wait: Duration::from_millis(50), ..Settings::default() },
        );
        let task = tokio::spawn(controller.run(shutdown.clone()));
        Self { folder, context, shutdown, task }
    }

    async fn new() -> Self {
        Self::start(tempfile::tempdir().expect("a temporary folder")).await
    }

    /// Stops everything and gives back the folder.
    async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        self.task.await.expect("the controller ends");
        self.folder
    }

    async fn apply(&self, object: Value) {
        self.context.store.apply("user", &object).await.expect("the object is applied");
    }

    async fn provider(&self, kind: &str, address: &str) {
        self.apply(json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": {"name": "sink", "namespace": "apps"}, "spec": {"type": kind, "address": address}})).await;
        self.apply(json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": {"name": "all", "namespace": "apps"},
            "spec": {"providerRef": {"name": "sink"}, "eventSources": [{"kind": "ConfigMap", "name": "*"}], "eventMetadata": {"env": "test"}}})).await;
    }

    async fn tell(&self, notice: Notice) {
        let about = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "apps"}});
        self.context.events.publish(&about, "tester", &notice).await.expect("the event is published");
    }

    /// Waits until the object is as wanted.
    async fn reaches(&self, kind: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let id = api::meta::ObjectReference {
            api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
            kind: kind.into(),
            namespace: "apps".into(),
            name: name.into(),
        };
        let start = reconcile::clock::instant();
        loop {
            let object = self.context.store.find(&id).await.expect("the store").unwrap_or_default();
            if holds(&object) {
                return object;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{object:#}");
            reconcile::clock::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for an event about an object of the kind.
    async fn event(&self, kind: &str) -> reconcile::Event {
        let mut bus = self.context.events.subscribe();
        loop {
            let kept = self
                .context
                .store
                .events(&EventFilter { kind: Some(kind.into()), ..EventFilter::default() })
                .await
                .expect("events are read");
            if let Some(event) = kept.into_iter().next_back() {
                return event;
            }
            tokio::time::timeout(Duration::from_secs(20), bus.recv())
                .await
                .expect("an event in time")
                .expect("the bus lives");
        }
    }
}

#[tokio::test]
async fn an_event_reaches_the_service_once_with_the_alerts_facts() {
    let mut sink = Sink::start(&[]).await;
    let world = World::new().await;
    world.provider("generic", &sink.address).await;
    world.tell(Notice::info("Synced", "one").with("revision", "1")).await;
    world.tell(Notice::info("Synced", "one").with("revision", "1")).await;
    world.tell(Notice::trace("Synced", "nothing")).await;
    world.tell(Notice::error("Failed", "two")).await;
    world.tell(Notice::info("Synced", "one").with("revision", "1")).await;
    let first = sink.next().await;
    assert_eq!((&first["message"], &first["metadata"]), (&json!("one"), &json!({"env": "test", "revision": "1"})));
    assert_eq!(
        (&first["involvedObject"]["kind"], &first["reportingController"]),
        (&json!("ConfigMap"), &json!("tester"))
    );
    assert_eq!(sink.next().await["message"], "two");
    // The state changed in between: it is news again.
    assert_eq!(sink.next().await["message"], "one");
    world.stop().await;
}

#[tokio::test]
async fn a_failing_service_is_tried_again() {
    let mut sink = Sink::start(&[503]).await;
    let world = World::new().await;
    world.provider("generic", &sink.address).await;
    world.tell(Notice::info("Synced", "hello")).await;
    assert_eq!(sink.next().await["message"], "hello");
    assert_eq!(sink.next().await["message"], "hello");
    world.stop().await;
}

#[tokio::test]
async fn an_incident_begins_with_an_error_and_ends_when_it_heals() {
    let mut sink = Sink::start(&[]).await;
    let world = World::new().await;
    world.provider("pagerduty", &sink.address).await;
    let id = api::meta::ObjectReference {
        api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
        kind: "Provider".into(),
        namespace: "apps".into(),
        name: "sink".into(),
    };
    let key = json!({"spec": {"channel": "ROUTING_KEY"}});
    world.context.store.patch(&id, "user", &key).await.expect("the Provider is changed");
    world.tell(Notice::error("HealthCheckFailed", "it is broken")).await;
    world.tell(Notice::info("Progressing", "it is worked on")).await;
    // As a Kustomization ends: for Git services, and for who was told of the error.
    world.tell(Notice::info("ReconciliationSucceeded", "it works").with("commit_status", "update")).await;
    let trigger = sink.next().await;
    assert_eq!((&trigger["event_action"], &trigger["routing_key"]), (&json!("trigger"), &json!("ROUTING_KEY")));
    assert_eq!(trigger["payload"]["summary"], "health check failed: configmap/c");
    let resolve = sink.next().await;
    assert_eq!((&resolve["event_action"], &resolve["dedup_key"]), (&json!("resolve"), &trigger["dedup_key"]));
    assert_eq!(sink.next().await["payload"]["summary"], "reconciliation succeeded: configmap/c");
    world.stop().await;
}

#[tokio::test]
async fn whatever_a_service_does_messages_arrive_in_order_once_it_heals() {
    // 1 closes the connection within the answer, 2 never answers.
    let mut sink = Sink::start(&[500, 1, 2, 429, 503]).await;
    let world = World::new().await;
    world.provider("generic", &sink.address).await;
    let limit = json!({"spec": {"timeout": "1s"}});
    let id = api::meta::ObjectReference {
        api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
        kind: "Provider".into(),
        namespace: "apps".into(),
        name: "sink".into(),
    };
    world.context.store.patch(&id, "user", &limit).await.expect("the Provider is changed");
    for message in ["one", "two", "three"] {
        world.tell(Notice::info("Synced", message)).await;
    }
    let mut heard = Vec::new();
    while heard.last() != Some(&(200, "three".to_owned())) {
        let (status, message) = sink.answered().await;
        heard.push((status, message["message"].as_str().unwrap_or_default().to_owned()));
    }
    let taken: Vec<_> =
        heard.iter().filter(|(status, _)| *status == 200).map(|(_, message)| message.as_str()).collect();
    assert_eq!(taken, ["one", "two", "three"], "{heard:?}");
    assert!(heard[..5].iter().all(|(_, message)| message == "one"), "nothing overtakes what waits: {heard:?}");
    world.stop().await;
}

#[tokio::test]
async fn an_alert_tells_how_it_fares_and_which_pattern_never_matches() {
    let mut sink = Sink::start(&[]).await;
    let world = World::new().await;
    world.provider("generic", &sink.address).await;
    world.apply(json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": {"name": "never", "namespace": "apps"},
        "spec": {"providerRef": {"name": "sink"}, "eventSources": [{"kind": "ConfigMap", "name": "*"}], "inclusionList": [".*reconciliation.*"]}})).await;
    for number in 0..5 {
        world.tell(Notice::info("Synced", format!("Reconciliation finished {number}"))).await;
        sink.next().await;
    }
    let condition = |object: &Value, kind: &str| {
        let all = object["status"]["conditions"].as_array();
        all.into_iter().flatten().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
    };
    let never =
        world.reaches("Alert", "never", |object| condition(object, "InclusionListMatches")["status"] == "False").await;
    assert_eq!(
        condition(&never, "InclusionListMatches")["message"],
        "inclusionList: \".*reconciliation.*\" matched none of the last 5 events of the sources; patterns are case-sensitive"
    );
    let all = world.reaches("Alert", "all", |object| object["status"]["delivery"]["pending"] == 0).await;
    assert_eq!(condition(&all, "Delivered")["status"], "True");
    assert!(all["status"]["delivery"]["lastSuccess"].is_string() && all["status"]["delivery"]["lastError"].is_null());
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_on_the_alert() {
    let sink = Sink::start(&[403]).await;
    let world = World::new().await;
    world.provider("generic", &sink.address).await;
    world.tell(Notice::info("Synced", "hello")).await;
    let event = world.event("Alert").await;
    assert_eq!(event.reason, "NotificationDispatchFailed");
    assert_eq!(
        event.message,
        "failed to send notification for ConfigMap/apps/c to provider sink: the service answered 403"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_providers_own_account_is_used_only_where_that_is_allowed() {
    let world = World::new().await;
    world.provider("googlepubsub", "project").await;
    let id = api::meta::ObjectReference {
        api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
        kind: "Provider".into(),
        namespace: "apps".into(),
        name: "sink".into(),
    };
    let account = json!({"spec": {"channel": "topic", "serviceAccountName": "sender"}});
    world.context.store.patch(&id, "user", &account).await.expect("the Provider is changed");
    world.tell(Notice::info("Synced", "hello")).await;
    let event = world.event("Alert").await;
    assert!(event.message.contains("enable the ObjectLevelWorkloadIdentity feature gate"), "{}", event.message);
    world.stop().await;
}

#[tokio::test]
async fn a_type_we_cannot_speak_is_told_on_the_provider() {
    let world = World::new().await;
    world.provider("carrierpigeon", "http://pigeon.example").await;
    let event = world.event("Provider").await;
    assert_eq!(
        (event.reason.as_str(), event.message.as_str()),
        ("InvalidConfig", "type carrierpigeon is not supported yet")
    );
    world.stop().await;
}

/// A NATS server on a free port of loopback; ended with the value.
struct Nats {
    process: std::process::Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Nats {
    /// `more` are further lines of its configuration.
    async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = folder.path().join("configuration");
        std::fs::write(&configuration, more).expect("the configuration is written");
        let ports = folder.path().join("ports");
        std::fs::create_dir(&ports).expect("a folder");
        let process = std::process::Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", "-1", "--user", "me", "--pass", "pw", "--ports_file_dir"])
            .arg(&ports)
            .arg("--config")
            .arg(&configuration)
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("nats-server starts: apt-get install nats-server");
        let start = reconcile::clock::instant();
        let port = loop {
            let file = std::fs::read_dir(&ports).expect("the folder").flatten().next();
            let text = file.and_then(|file| std::fs::read_to_string(file.path()).ok()).unwrap_or_default();
            let told: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(port) = told["nats"][0].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok()) {
                break port;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "nats-server does not say its port");
            reconcile::clock::sleep(Duration::from_millis(10)).await;
        };
        Self { process, port, _folder: folder }
    }

    /// Subscribes to a subject; gives its messages.
    async fn subscribe(&self, subject: &str) -> mpsc::UnboundedReceiver<Value> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.expect("the server listens");
        let mut stream = BufReader::new(stream);
        let words =
            format!("CONNECT {{\"user\":\"me\",\"pass\":\"pw\",\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        stream.write_all(words.as_bytes()).await.expect("the words are sent");
        let (send, messages) = mpsc::unbounded_channel();
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.expect("a line"), 0, "the server hung up");
        }
        tokio::spawn(async move {
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                if let Ok(value) = serde_json::from_str(&line) {
                    let _ = send.send(value);
                }
                line.clear();
            }
        });
        messages
    }
}

#[tokio::test]
async fn an_event_is_published_to_nats() {
    let nats = Nats::start("").await;
    let mut messages = nats.subscribe("events.*").await;
    let world = World::new().await;
    // The first server of the list is down.
    let address = format!("nats://127.0.0.1:1,nats://me:pw@127.0.0.1:{}", nats.port);
    world.provider("nats", &address).await;
    let id = api::meta::ObjectReference {
        api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
        kind: "Provider".into(),
        namespace: "apps".into(),
        name: "sink".into(),
    };
    let subject = json!({"spec": {"channel": "events.apps"}});
    world.context.store.patch(&id, "user", &subject).await.expect("the Provider is changed");
    world.tell(Notice::info("Synced", "hello")).await;
    let heard = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("a message in time");
    assert_eq!(heard.expect("the server lives")["message"], "hello");

    let wrong = json!({"spec": {"address": format!("nats://me:no@127.0.0.1:{}", nats.port)}});
    world.context.store.patch(&id, "user", &wrong).await.expect("the Provider is changed");
    world.tell(Notice::info("Synced", "refused")).await;
    let event = world.event("Alert").await;
    let expected = "to provider sink: the server refuses: Authorization Violation";
    assert!(event.message.ends_with(expected), "{}", event.message);
    world.stop().await;
}

/// A server that vouches for itself, as documentations make its certificate, is taken where it is trusted itself.
#[tokio::test]
async fn an_event_is_published_to_nats_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, certificate) = (folder.path().join("tls.key"), folder.path().join("tls.crt"));
    let output = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=nats", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("apt-get install openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\nallow_non_tls: true\n");
    let nats = Nats::start(&tls).await;
    let mut messages = nats.subscribe("events.*").await;
    let world = World::new().await;
    world.provider("nats", &format!("tls://me:pw@localhost:{}", nats.port)).await;
    let id = api::meta::ObjectReference {
        api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
        kind: "Provider".into(),
        namespace: "apps".into(),
        name: "sink".into(),
    };
    let authority = std::fs::read_to_string(&certificate).expect("a certificate");
    world.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "trusted", "namespace": "apps"}, "stringData": {"ca.crt": authority}})).await;
    let subject = json!({"spec": {"channel": "events.apps"}});
    world.context.store.patch(&id, "user", &subject).await.expect("the Provider is changed");
    world.tell(Notice::info("Synced", "to a stranger")).await;
    let event = world.event("Alert").await;
    assert!(event.message.contains("certificate"), "{}", event.message);

    let trusted = json!({"spec": {"certSecretRef": {"name": "trusted"}}});
    world.context.store.patch(&id, "user", &trusted).await.expect("the Provider is changed");
    world.tell(Notice::info("Synced", "hello")).await;
    let heard = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("a message in time");
    let heard = heard.expect("the server lives");
    assert!(["hello", "to a stranger"].map(Value::from).contains(&heard["message"]), "{heard}");
    world.stop().await;
}

#[tokio::test]
async fn what_happened_before_a_restart_is_sent_after_it() {
    let world = World::new().await;
    world.provider("generic", "http://127.0.0.1:1/closed").await;
    world.tell(Notice::info("Synced", "put into the outbox")).await;
    let event = world.event("ConfigMap").await;
    let folder = world.stop().await;
    // An event that nobody heard: it was recorded when the process ended.
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("the store opens");
    let unheard =
        reconcile::Event { message: "unheard".into(), timestamp: event.timestamp + Duration::from_millis(1), ..event };
    Store::Directory(directory.clone()).record(&unheard).await.expect("the event is recorded");
    drop(directory);
    let mut sink = Sink::start(&[]).await;
    let world = World::start(folder).await;
    world.provider("generic", &sink.address).await;
    let mut messages = vec![sink.next().await["message"].clone(), sink.next().await["message"].clone()];
    messages.sort_by_key(ToString::to_string);
    assert_eq!(messages, ["put into the outbox", "unheard"]);
    world.stop().await;
}
