//! `slipway run`: opens the store, starts the controllers, waits for the end.

mod lead;
pub mod log;

use std::{fs, time::Duration};

use anyhow::{Context as _, bail};
use canary::metrics::{GatewayMetrics, Observer};
use futures::FutureExt as _;
use reconcile::{Awaited, Cluster, Context, Database, Directory, Http, Metrics, Shutdown, Store, leader::Lost};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use self::lead::{Guarded, Lead};
use crate::{
    args::run::Stage,
    config::{Config, Place, cluster},
    dashboard,
    serve::{self, Server},
};

/// Where the state says where else the process that runs over it keeps things.
pub const INSTANCE: &str = "instance";
/// Key of the storage folder there.
pub const STORAGE: &str = "storage";
/// How long what is under way may take after a signal to end.
const GRACE: Duration = Duration::from_secs(9);

/// Runs until a signal to end, or until something that must run has ended.
pub async fn run(config: Config) -> anyhow::Result<()> {
    fs::create_dir_all(&config.storage)
        .with_context(|| format!("cannot make the storage folder {}", config.storage.display()))?;
    let standalone = matches!(config.place, Place::Standalone { .. });
    let kept = Some(config.storage.as_path()).filter(|_| standalone);
    log::start(&config.log_level, config.log_encoding, kept)?;
    for flag in &config.idle_flags {
        tracing::warn!(flag, "the flag has no effect: it is about a store that slipway does not have");
    }
    let http = Http::new(concat!("slipway/", env!("CARGO_PKG_VERSION")));
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "slipway".into());
    let metrics = Metrics::default();
    let (store, lead) = open(&config, &instance, &metrics).await?;
    let context = Context { metrics, ..Context::new(store, http, instance) };
    let server = Server::bind(config.listen, context.metrics.clone()).await?;
    tracing::info!(listen = %server.address()?, "slipway starts");

    let shutdown = Shutdown::new();
    let mut tasks = JoinSet::new();
    for controller in controllers(&config, &context, &lead, &shutdown)? {
        tasks.spawn(announced(controller, context.metrics.readiness().wait_for()));
    }
    let pages = dashboard::routes(
        config.dashboard.clone(),
        server.address()?,
        &context,
        canary_options(&config),
        shutdown.clone(),
    );
    let serving = tokio::spawn(server.run(pages, shutdown.clone()));
    let followers = follow(&context.store);

    let ended = wait(&mut tasks).await;
    if ended.as_ref().is_err_and(|error| error.is::<Lost>()) {
        // Somebody else may be at work by now: what is under way is not finished.
        return ended;
    }
    tracing::info!("slipway ends: what is under way is finished");
    shutdown.cancel();
    if tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("some work did not end in time; the next start takes it up again");
    }
    followers.iter().for_each(tokio::task::AbortHandle::abort);
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    ended
}

/// Waits for SIGTERM or SIGINT.
pub async fn signalled() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Waits for a signal to end; a controller that ends by itself is an error.
async fn wait(tasks: &mut JoinSet<Result<(), Lost>>) -> anyhow::Result<()> {
    tokio::select! {
        signalled = signalled() => signalled,
        Some(ended) = tasks.join_next() => {
            ended.context("a controller broke off")??;
            bail!("a controller ended before it was told to")
        }
    }
}

async fn open(config: &Config, instance: &str, metrics: &Metrics) -> anyhow::Result<(Store, Lead)> {
    match &config.place {
        Place::Standalone { state, manifests } => {
            let directory = Directory::open(state, manifests.clone()).await?;
            // Other verbs find the logs by it.
            if let Ok(storage) = config.storage.canonicalize() {
                let storage = storage.to_string_lossy();
                Store::Directory(directory.clone()).database().note(INSTANCE, STORAGE, storage.as_bytes()).await?;
            }
            Ok((Store::Directory(directory), Lead::unopposed()))
        }
        Place::Cluster { kubeconfig, settings } => {
            let client = cluster::client(kubeconfig.as_deref()).await?;
            let scope = settings.scope.clone();
            let lead = match &settings.election {
                None => Lead::unopposed(),
                Some(election) => Lead::elected(client.clone(), election.clone(), scope.selector.clone(), instance),
            };
            let database = Database::open(&config.storage.join("slipway.db"))?;
            let cluster = Cluster::new(client, database, scope, settings.rate).measured(metrics);
            Ok((Store::Cluster(cluster), lead))
        }
    }
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

fn updater_options(config: &Config, mirrors: &git::Mirrors) -> updater::controller::Options {
    updater::controller::Options {
        mirrors: mirrors.clone(),
        no_cross_namespace_refs: config.no_cross_namespace_refs,
        object_level_workload_identity: config.scanner.object_level_workload_identity,
    }
}

/// The controllers that the configuration asks for, each a task.
fn controllers(config: &Config, context: &Context, lead: &Lead, shutdown: &Shutdown) -> anyhow::Result<Vec<Guarded>> {
    let mut running = Vec::new();
    let mut guard = |stands_in_for: &[&'static str], controller| {
        running.push(lead.guard(stands_in_for, controller, shutdown));
    };
    // One set of mirrors: what the updater pushed, delivery need not fetch.
    let mirrors = git::Mirrors::new(config.storage.join("git"));
    if let Some(address) = config.events_addr.clone() {
        guard(&[], notification::forward(context.clone(), address, shutdown.clone()).boxed());
    }
    for stage in &config.stages {
        let (context, shutdown) = (context.clone(), shutdown.clone());
        match stage {
            Stage::Image => {
                let controller = scanner::controllers(context.clone(), config.scanner, shutdown.clone());
                guard(&["image-reflector-controller"], controller.boxed());
                let controller = updater::controller::controllers(context, updater_options(config, &mirrors), shutdown);
                guard(&["image-automation-controller"], controller.boxed());
            }
            Stage::Notification => {
                let settings = config.notification.clone();
                let hooks = notification::Hooks::new(context.clone(), &settings);
                let serving =
                    serve::hooks::serve(config.receiver_listen, hooks.clone(), &context.metrics, shutdown.clone())?;
                // Calls and events of others are taken by every replica; they meet the leader's work in the store.
                guard(&[], serving.boxed());
                guard(&[], hooks.run(shutdown.clone()).boxed());
                if let Some(address) = config.events_listen {
                    guard(&[], serve::events::serve(address, context.clone(), shutdown.clone())?.boxed());
                }
                let controller = notification::controllers(context, settings, shutdown);
                guard(&["notification-controller"], controller.boxed());
            }
            Stage::Canary => {
                let options = canary_options(config);
                guard(&["flagger"], canary::controller::controllers(context, options, shutdown).boxed());
            }
            Stage::Local => {
                let mut options = local::Options::new(config.storage.join("local"));
                options.gateway = config.gateway.clone();
                for controller in local::controllers(&context, options, &shutdown)? {
                    guard(&[], controller);
                }
            }
            Stage::Delivery => {
                let options = delivery::controller::Options {
                    no_cross_namespace_refs: config.no_cross_namespace_refs,
                    default_service_account: config.place.default_service_account(),
                    ready_expr: config.ready_expr,
                    override_managers: config.place.override_managers(),
                    ..delivery::controller::Options::new(mirrors.clone())
                };
                let controller = delivery::controller::controllers(context, options, shutdown);
                guard(&["source-controller", "kustomize-controller"], controller.boxed());
            }
        }
    }
    Ok(running)
}

fn canary_options(config: &Config) -> canary::controller::Options {
    canary::controller::Options {
        metrics_server: config.metrics_server.clone(),
        mesh_provider: config.mesh_provider.clone(),
        gateway_metrics: match (config.gateway_metrics, &config.gateway) {
            // Envoy names its series as our own gateway does.
            (GatewayMetrics::Detect, local::Choice::HaProxy(_)) => GatewayMetrics::Of(Observer::HaProxy),
            (given, _) => given,
        },
        notifier: config.notifier.clone(),
        ingress_class: config.ingress_class.clone(),
        ingress_annotations_prefix: config.ingress_annotations_prefix.clone(),
        min_analysis_interval: config.min_analysis_interval,
        workload: config.workloads.clone(),
        no_cross_namespace_refs: config.no_cross_namespace_refs,
        cluster: config.cluster_name.clone(),
        event_webhook: config.event_webhook.clone(),
        ..Default::default()
    }
}

/// The controller, and a word once it has begun: from then on it is known which caches it has to fill.
async fn announced(mut controller: Guarded, begun: Awaited) -> Result<(), Lost> {
    let mut begun = Some(begun);
    std::future::poll_fn(|context| {
        let outcome = controller.poll_unpin(context);
        if let Some(begun) = begun.take() {
            begun.came();
        }
        outcome
    })
    .await
}
