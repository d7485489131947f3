//! The demo's world: all parts started, the manifests written, slipway running over them. The pipeline's tests live in it too.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use api::meta::ObjectReference;
use reconcile::{Directory, Event, Store, clock, store::EventFilter};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    ci::{self, Program, Release},
    git_server::GitServer,
    manifests::{self, Addresses},
    parts::{self, Part},
    sink, traffic,
};

/// User and password of the demo's Git server.
pub const LOGIN: (&str, &str) = ("slipway", "demo-password");
/// How long any one thing may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything the demo started.
pub struct World {
    /// The folder that holds it all.
    pub folder: PathBuf,
    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// The slipway binary.
    pub binary: PathBuf,
    /// The running slipway.
    pub slipway: Part,
    /// Address of its pages.
    pub listen: SocketAddr,
    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// Address of Prometheus.
    pub metrics_server: SocketAddr,
    /// The registry, as it runs.
    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    pub registry: Part,
    /// Where the parts are.
    pub addresses: Addresses,
    /// A look into slipway's state from outside.
    pub store: Store,
    /// Alerts that reached the sink.
    pub alerts: mpsc::UnboundedReceiver<Value>,
    program: Program,
    gateway: Gateway,
    _prometheus: Part,
    _git: GitServer,
}

impl World {
    /// Starts all parts in `folder` and slipway over them; the first image is in the registry and named in Git.
    /// `more` files, by path and content, are in the repository beside the application.
    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    pub async fn start(
        folder: &Path,
        binary: &Path,
        program: Program,
        first: Release,
        more: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        Self::start_behind(OWN_GATEWAY, folder, binary, program, first, more).await
    }

    /// The same with another program as the gateway, by the name that `slipway run --gateway` knows.
    pub async fn start_behind(
        gateway: &'static str,
        folder: &Path,
        binary: &Path,
        program: Program,
        first: Release,
        more: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        parts::require_tools()?;
        let (mut registry, registry_address) = parts::registry(binary, folder)?;
        let listen = parts::free_address()?;
        let admin = parts::free_address()?;
        let pages = match gateway {
            OWN_GATEWAY => vec![(listen, "/metrics")],
            "envoy" => vec![(listen, "/metrics"), (admin, "/stats/prometheus")],
            _ => vec![(listen, "/metrics"), (admin, "/metrics")],
        };
        let (mut prometheus, metrics_server) = parts::prometheus_of(binary, folder, &pages)?;
        let git = GitServer::start(&folder.join("git"), Some(LOGIN)).await?;
        let repository = git.create_repository("app")?;
        let (sink, alerts) = sink::listen().await?;
        let addresses = Addresses {
            registry: registry_address,
            repository,
            login: (LOGIN.0.into(), LOGIN.1.into()),
            gateway: parts::free_address()?.port(),
            sink,
        };
        parts::listening(&mut registry, registry_address).await?;
        ci::push_image(registry_address, first, &program).await?;
        let clone = folder.join("clone");
        let url = with_login(&addresses.repository);
        let application = manifests::application(registry_address, first.version);
        let mut files = vec![("deploy/app.yaml".to_owned(), application)];
        files.extend(more);
        // Git's own programs block; the server that answers them runs on this runtime.
        tokio::task::spawn_blocking(move || ci::Clone { folder: &clone }.create(&url, &files)).await??;
        fs::create_dir_all(folder.join("manifests"))?;
        fs::write(folder.join("manifests/platform.yaml"), manifests::platform(&addresses))?;
        parts::listening(&mut prometheus, metrics_server).await?;
        let gateway = Gateway { name: gateway, admin };
        let slipway = run(binary, folder, listen, metrics_server, gateway)?;
        let store = attach(folder).await?;
        Ok(Self {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            slipway,
            listen,
            metrics_server,
            gateway,
            registry,
            addresses,
            store,
            alerts,
            program,
            _prometheus: prometheus,
            _git: git,
        })
    }

    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// Starts slipway again over the same folder, after it was killed.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.slipway = run(&self.binary, &self.folder, self.listen, self.metrics_server, self.gateway)?;
        Ok(())
    }

    /// Where the gateway answers.
    pub fn gateway(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.addresses.gateway))
    }

    /// Pushes a release to the registry, as CI would.
    pub async fn push(&self, release: Release) -> anyhow::Result<()> {
        ci::push_image(self.addresses.registry, release, &self.program).await
    }

    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// Waits until slipway knows an object of the notification group in the namespace `default`.
    pub async fn exists(&mut self, kind: &str, name: &str) -> anyhow::Result<()> {
        let id = ObjectReference {
            api_version: "notification.toolkit.fluxcd.io/v1beta3".into(),
            kind: kind.into(),
            namespace: "default".into(),
            name: name.into(),
        };
        let start = clock::instant();
        while self.store.find(&id).await?.is_none() {
            self.pause(start, &format!("{kind} {name} is not read")).await?;
        }
        Ok(())
    }

    /// The commits on `main`, newest first.
    pub async fn log(&self) -> anyhow::Result<Vec<String>> {
        let clone = self.folder.join("clone");
        tokio::task::spawn_blocking(move || ci::Clone { folder: &clone }.log()).await?
    }

    /// The object, if slipway knows it.
    pub async fn object(&self, api_version: &str, kind: &str, namespace: &str) -> anyhow::Result<Option<Value>> {
        let id = ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: "app".into(),
        };
        Ok(self.store.find(&id).await?)
    }

    /// Phase of the Canary, empty before it has one.
    pub async fn phase(&self) -> anyhow::Result<String> {
        let canary = self.object("flagger.app/v1beta1", "Canary", "default").await?.unwrap_or_default();
        Ok(canary.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    #[allow(dead_code, reason = "used by tests and benches, which include this file")]
    /// Share of requests that the Canary's route sends to the new revision, in percent.
    pub async fn canary_weight(&self) -> anyhow::Result<i64> {
        let canary = self.object("flagger.app/v1beta1", "Canary", "default").await?.unwrap_or_default();
        Ok(canary.pointer("/status/canaryWeight").and_then(Value::as_i64).unwrap_or_default())
    }

    /// All events so far, oldest first.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        Ok(self.store.events(&EventFilter::default()).await?)
    }

    /// Waits until the Canary is in one of these phases and says in which; errs in any phase of `never`.
    pub async fn reaches(&mut self, phases: &[&str], never: &[&str]) -> anyhow::Result<String> {
        let start = clock::instant();
        loop {
            let phase = self.phase().await?;
            if phases.contains(&phase.as_str()) {
                return Ok(phase);
            }
            if never.contains(&phase.as_str()) {
                let said = self.said_of_canary().await?;
                bail!("the canary is {phase}; {} was expected. Its events:\n  {said}", phases.join(" or "));
            }
            self.pause(start, &format!("the canary is still {phase:?}, not {}", phases.join(" or "))).await?;
        }
    }

    /// What its events say of the Canary, a line each, oldest first.
    async fn said_of_canary(&self) -> anyhow::Result<String> {
        let mut events = self.events().await?;
        events.retain(|event| event.involved_object.reference.kind == "Canary");
        let lines: Vec<String> = events.iter().map(|event| format!("{} {}", event.timestamp, event.message)).collect();
        Ok(lines.join("\n  "))
    }

    /// Waits until the gateway answers `times` requests in a row with this version.
    pub async fn serves(&mut self, version: &str, times: usize) -> anyhow::Result<()> {
        let (start, client) = (clock::instant(), traffic::client());
        let mut streak = 0;
        let mut last = String::new();
        while streak < times {
            let (found, good) = traffic::ask(&client, self.gateway()).await;
            if good && found == version {
                streak += 1;
                continue;
            }
            (streak, last) = (0, found);
            self.pause(start, &format!("the gateway answers with {last:?}, not {version}")).await?;
        }
        drop(last);
        Ok(())
    }

    /// Waits until an event holds this text, and gives it.
    pub async fn told(&mut self, text: &str) -> anyhow::Result<Event> {
        let start = clock::instant();
        loop {
            if let Some(event) = self.events().await?.into_iter().rev().find(|event| event.message.contains(text)) {
                return Ok(event);
            }
            self.pause(start, &format!("no event says {text:?}")).await?;
        }
    }

    /// A moment's wait; errs when it has been too long or a part has ended.
    pub async fn pause(&mut self, start: tokio::time::Instant, waiting: &str) -> anyhow::Result<()> {
        self.slipway.check()?;
        if start.elapsed() > PATIENCE {
            bail!("{waiting} after {PATIENCE:?}; logs are in {}", self.folder.display());
        }
        clock::sleep(Duration::from_millis(25)).await;
        Ok(())
    }
}

/// The gateway that slipway itself is.
const OWN_GATEWAY: &str = "slipway";

/// Who serves the traffic.
#[derive(Clone, Copy, Debug)]
struct Gateway {
    /// As `slipway run --gateway` knows it.
    name: &'static str,
    /// Its own pages, if it is not slipway.
    admin: SocketAddr,
}

/// Starts `slipway run` over the folder's manifests and state.
fn run(
    binary: &Path,
    folder: &Path,
    listen: SocketAddr,
    metrics_server: SocketAddr,
    gateway: Gateway,
) -> anyhow::Result<Part> {
    let program = binary.display().to_string();
    let manifests = folder.join("manifests").display().to_string();
    let state = folder.join("state.db").display().to_string();
    let (listen, metrics_server) = (listen.to_string(), format!("http://{metrics_server}"));
    let admin = gateway.admin.to_string();
    let command = [
        program.as_str(),
        "run",
        "--manifests",
        &manifests,
        "--state",
        &state,
        "--listen",
        &listen,
        "--metrics-server",
        &metrics_server,
        "--receiver-listen",
        "127.0.0.1:0",
        "--min-analysis-interval",
        "2s",
        "--dashboard",
        "act",
        "--gateway",
        gateway.name,
        "--gateway-admin",
        &admin,
    ];
    Part::start(binary, folder, "slipway", &command)
}

/// Looks into the state file as soon as it is there.
async fn attach(folder: &Path) -> anyhow::Result<Store> {
    let state = folder.join("state.db");
    for _ in 0..400 {
        if folder.join("state.db-wal").exists()
            && let Ok(directory) = Directory::attach(&state)
        {
            return Ok(Store::Directory(directory));
        }
        clock::sleep(Duration::from_millis(25)).await;
    }
    let log = fs::read_to_string(folder.join("slipway.log")).unwrap_or_default();
    Err(anyhow::anyhow!("slipway did not start:\n{log}")).context("no state file after 10 s")
}

/// The repository's URL with the demo's login in it, for git's own programs.
pub fn with_login(url: &str) -> String {
    url.replacen("://", &format!("://{}:{}@", LOGIN.0, LOGIN.1), 1)
}
