//! A namespace of the test cluster, and slipway as a real process over it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use api::meta::ObjectReference;
use kube::Client;
use reconcile::{Cluster, Database, Event, Rate, Scope, Store, clock, store::EventFilter};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{manifests, proxy::Proxy, server, shared::shared};
use crate::{
    demo::parts::{self, Part},
    support::SLIPWAY,
};

/// How long anything may take before a test gives up; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// One test's part of the cluster.
pub struct World {
    /// The test's own namespace.
    pub namespace: String,
    /// A look at the cluster as an administrator.
    pub store: Store,
    pub client: Client,
    /// What reaches the cluster as its administrator.
    pub kubeconfig: PathBuf,
    /// What slipway reaches it by: with the rights that `slipway install` gives it and no others.
    pub account: PathBuf,
    /// What slipway's processes write.
    pub folder: TempDir,
    /// The running slipway, if one was started.
    pub slipway: Option<Part>,
    /// Where the slipway that was started last answers.
    pub listen: String,
    metrics_server: String,
    started: usize,
}

/// A store over a cluster, as fast as it goes. The folder holds its database.
pub fn store(client: Client, folder: &Path, scope: Scope) -> Store {
    let database = Database::open(&folder.join("store.db")).expect("a database");
    Store::Cluster(Cluster::new(client, database, scope, Rate { per_second: 0.0, burst: 0 }))
}

impl World {
    /// A fresh namespace of the shared cluster.
    pub async fn new(test: &str) -> Self {
        let shared = shared().await;
        Self { account: shared.account.clone(), ..Self::on(test, &shared.kubeconfig).await }
    }

    /// A fresh namespace of this cluster, where slipway is an administrator unless it is installed.
    pub async fn on(test: &str, kubeconfig: &Path) -> Self {
        let client = server::client(kubeconfig).await;
        let namespace = format!("{test}-{:08x}", clock::random() as u32);
        let folder = tempfile::Builder::new().prefix("slipway-test-").tempdir().expect("a folder");
        let store = store(client.clone(), folder.path(), Scope::default());
        let world = Self {
            metrics_server: format!("http://{}", shared().await.prometheus),
            folder,
            kubeconfig: kubeconfig.to_owned(),
            account: kubeconfig.to_owned(),
            slipway: None,
            listen: String::new(),
            started: 0,
            namespace,
            store,
            client,
        };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}});
        world.store.apply("kubectl", &namespace).await.expect("a namespace");
        // Pods are refused until their account is there.
        let account = world.id("v1", "ServiceAccount", "default");
        world.until("the default account", async || world.store.find(&account).await.ok().flatten()).await;
        world
    }

    /// Starts slipway over this namespace with these stages.
    pub fn start(&mut self, stages: &str, more: &[&str]) {
        let account = self.account.clone();
        self.slipway = Some(self.process(&account, stages, more));
    }

    /// Another slipway, reaching the cluster by this kubeconfig.
    pub fn process(&mut self, kubeconfig: &Path, stages: &str, more: &[&str]) -> Part {
        self.started += 1;
        let name = format!("slipway-{}", self.started);
        self.listen = parts::free_address().expect("a port").to_string();
        let storage = self.folder.path().join(&name).display().to_string();
        let kubeconfig = kubeconfig.display().to_string();
        let mut command = vec![SLIPWAY, "run", "--kubeconfig", &kubeconfig, "--controllers", stages];
        command.extend(["--watch-namespace", &self.namespace, "--listen", &self.listen, "--storage-path", &storage]);
        command.extend(["--metrics-server", &self.metrics_server, "--min-analysis-interval", "1s"]);
        command.extend(more);
        Part::start(Path::new(SLIPWAY), self.folder.path(), &name, &command).expect("slipway starts")
    }

    /// A proxy for slipway, which passes on what it does with slipway's rights.
    pub async fn proxy(&self) -> Proxy {
        Proxy::start(server::client(&self.account).await).await
    }

    /// Which object of this namespace is meant.
    pub fn id(&self, api_version: &str, kind: &str, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: self.namespace.clone(),
            name: name.into(),
        }
    }

    /// Applies an object as `kubectl apply --server-side` would.
    pub async fn apply(&self, mut object: Value) -> Value {
        object["metadata"]["namespace"] = self.namespace.clone().into();
        self.store.apply("kubectl", &object).await.unwrap_or_else(|error| panic!("{error}: {object:#}"))
    }

    /// The object; it must be there.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Value {
        let found = self.find(api_version, kind, name).await;
        found.unwrap_or_else(|| panic!("{kind} {name} is not there"))
    }

    /// The object, if it is there.
    pub async fn find(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        self.store.find(&self.id(api_version, kind, name)).await.expect("the API server answers")
    }

    /// Sets the number that the metric template `success` reads.
    pub async fn measure(&self, number: f64) {
        let shared = shared().await;
        shared.numbers.lock().expect("the numbers").insert(self.namespace.clone(), number);
        // Until Prometheus tells it, too.
        let http = reqwest::Client::new();
        let query = format!("http://{}/api/v1/query", shared.prometheus);
        let asked = [("query", format!("test_success{{name=\"{}\"}}", self.namespace))];
        let url = reqwest::Url::parse_with_params(&query, asked).expect("a URL");
        let told = format!("\"{number}\"]");
        self.until("the number in Prometheus", async || {
            let answer = http.get(url.clone()).send().await.ok()?.text().await.ok()?;
            answer.contains(&told).then_some(())
        })
        .await;
    }

    /// The metric template over the test's number, which is 100 at first.
    pub async fn measurable(&self) {
        self.apply(manifests::template(&self.metrics_server, &self.namespace)).await;
        self.measure(100.0).await;
    }

    /// The Canary `app` as it is.
    pub async fn canary(&self) -> Value {
        self.get("flagger.app/v1beta1", "Canary", "app").await
    }

    /// Waits until the Canary is in this phase; fails in any of `never`.
    pub async fn reaches(&self, phase: &str, never: &[&str]) -> Value {
        self.until(&format!("phase {phase}"), async || {
            let canary = self.store.find(&self.id("flagger.app/v1beta1", "Canary", "app")).await.ok()??;
            let now = canary["status"]["phase"].as_str().unwrap_or_default().to_owned();
            assert!(!never.contains(&now.as_str()), "the canary is {now}: {canary:#}\n{}", self.log());
            (now == phase).then_some(canary)
        })
        .await
    }

    /// Waits until the check gives something.
    pub async fn until<T>(&self, what: &str, check: impl AsyncFn() -> Option<T>) -> T {
        let start = clock::instant();
        loop {
            if let Some(found) = check().await {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "in vain: {what}\n{}", self.log());
            clock::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Events of the namespace, oldest first.
    pub async fn events(&self) -> Vec<Event> {
        let filter = EventFilter { namespace: Some(self.namespace.clone()), ..EventFilter::default() };
        self.store.events(&filter).await.expect("events")
    }

    /// Waits until an event says this.
    pub async fn told(&self, text: &str) -> Event {
        self.until(&format!("an event that says {text:?}"), async || {
            self.events().await.into_iter().find(|event| event.message.contains(text))
        })
        .await
    }

    /// The end of what slipway said, for the message of a failed test.
    pub fn log(&self) -> String {
        let mut text = String::new();
        for number in 1..=self.started {
            let log = fs::read_to_string(self.folder.path().join(format!("slipway-{number}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n  ");
            text += &format!("slipway-{number}:\n  {end}\n");
        }
        text
    }
}
