//! `slipway run`: opens the store, starts the controllers, waits for the end.

use std::{fs, sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, bail};
use futures::{FutureExt as _, future::BoxFuture};
use reconcile::{Cluster, Context, Database, Directory, Events, Http, Metrics, Shutdown, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::{
    args::run::{LogEncoding, Stage},
    config::{Config, Place},
    serve::Server,
};

/// How long what is under way may take after a signal to end.
const GRACE: Duration = Duration::from_secs(9);

/// Runs until a signal to end, or until something that must run has ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    start_log(&config)?;
    fs::create_dir_all(&config.storage)
        .with_context(|| format!("cannot make the storage folder {}", config.storage.display()))?;
    let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
    let store = open(&config).await?;
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "slipway".into());
    let context = Context { events: Events::new(store.clone(), instance), store, http, metrics: Metrics::default() };
    let server = Server::bind(config.listen, context.metrics.clone()).await?;
    tracing::info!(listen = %server.address()?, "slipway starts");
    let ready = server.ready();

    let shutdown = Shutdown::new();
    let mut tasks = JoinSet::new();
    for controller in controllers(&config, &context, &shutdown)? {
        tasks.spawn(controller);
    }
    let serving = tokio::spawn(server.run(shutdown.clone()));
    let followers = follow(&context.store);
    ready.store(true, Ordering::SeqCst);

    let ended = wait(&mut tasks).await;
    tracing::info!("slipway ends: what is under way is finished");
    shutdown.cancel();
    if tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("some work did not end in time; the next start takes it up again");
    }
    followers.iter().for_each(tokio::task::AbortHandle::abort);
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    ended
}

/// Waits for SIGTERM or SIGINT; a controller that ends by itself is an error.
async fn wait(tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = tasks.join_next() => {
            ended.context("a controller broke off")?;
            bail!("a controller ended before it was told to")
        }
    }
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    match &config.place {
        Place::Standalone { state, manifests } => {
            Ok(Store::Directory(Directory::open(state, manifests.clone()).await?))
        }
        Place::Cluster { kubeconfig } => {
            let client = client(kubeconfig.as_deref()).await?;
            let database = Database::open(&config.storage.join("slipway.db"))?;
            Ok(Store::Cluster(Cluster::new(client, database)))
        }
    }
}

async fn client(kubeconfig: Option<&std::path::Path>) -> anyhow::Result<kube::Client> {
    let config = match kubeconfig {
        None => kube::Config::incluster().context("the cluster we run in cannot be reached")?,
        Some(path) => {
            let read = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await?
        }
    };
    kube::Client::try_from(config).context("the cluster's settings cannot be used")
}

/// Standalone, the folders and other processes' small writes are followed.
fn follow(store: &Store) -> Vec<tokio::task::AbortHandle> {
    let Store::Directory(directory) = store else { return Vec::new() };
    let (files, others) = (directory.clone(), directory.clone());
    vec![
        tokio::spawn(async move { files.follow_files().await }).abort_handle(),
        tokio::spawn(async move { others.follow_other_processes().await }).abort_handle(),
    ]
}

/// The controllers that the configuration asks for, each a task.
fn controllers(config: &Config, context: &Context, shutdown: &Shutdown) -> anyhow::Result<Vec<BoxFuture<'static, ()>>> {
    let mut running: Vec<BoxFuture<'static, ()>> = Vec::new();
    // One set of mirrors: what the updater pushed, delivery need not fetch.
    let mirrors = git::Mirrors::new(config.storage.join("git"));
    for stage in &config.stages {
        let (context, shutdown) = (context.clone(), shutdown.clone());
        match stage {
            Stage::Image => {
                running.push(scanner::controllers(context.clone(), config.scanner, shutdown.clone()).boxed());
                let options = updater::controller::Options {
                    mirrors: mirrors.clone(),
                    no_cross_namespace_refs: config.no_cross_namespace_refs,
                };
                running.push(updater::controller::controllers(context, options, shutdown).boxed());
            }
            Stage::Notification => {
                let settings = notification::controller::Settings::default();
                running.push(notification::controller::Notification::new(context, settings).run(shutdown).boxed());
            }
            Stage::Canary => {
                let options = canary::controller::Options {
                    metrics_server: config.metrics_server.clone(),
                    mesh_provider: config.mesh_provider.clone(),
                    gateway_metrics: config.gateway_metrics,
                    min_analysis_interval: config.min_analysis_interval,
                    workload: config.workloads.clone(),
                    no_cross_namespace_refs: config.no_cross_namespace_refs,
                    cluster: config.cluster_name.clone(),
                    event_webhook: config.event_webhook.clone(),
                    ..Default::default()
                };
                running.push(canary::controller::controllers(context, options, shutdown).boxed());
            }
            Stage::Local => {
                let options = local::Options::new(config.storage.join("local"));
                running.extend(local::controllers(&context, options, &shutdown)?);
            }
            Stage::Delivery => {
                let options = delivery::controller::Options {
                    no_cross_namespace_refs: config.no_cross_namespace_refs,
                    ..delivery::controller::Options::new(mirrors.clone())
                };
                running.push(delivery::controller::controllers(context, options, shutdown).boxed());
            }
        }
    }
    Ok(running)
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    // kube-runtime opens a span of its own around ours; what it says is not for users.
    let filter = tracing_subscriber::EnvFilter::try_new(format!("{},kube_runtime=warn", config.log_level))
        .with_context(|| format!("--log-level {}", config.log_level))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_encoding {
        LogEncoding::Console => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogEncoding::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
