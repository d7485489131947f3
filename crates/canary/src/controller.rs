//! The shell of the canary stage: answers the machine's questions from the store, performs its decisions.

mod ask;
mod compare;
mod finalize;
mod history;
mod hooks;
mod measure;
mod numbers;
mod providers;
mod tell;
mod tick;
mod triggers;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::{flagger::Canary, meta::ObjectReference};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{ConfigMap, Secret},
};
use reconcile::{Announce, Context, Controller, Crowd, Done, Failure, Reconciler, Shutdown, Style, Timetable};

pub use self::{ask::Asker, tell::Notifier};
use self::{numbers::Numbers, providers::Providers};
use crate::{
    events::SOURCE,
    machine,
    metrics::{GatewayMetrics, Implementation},
    router,
    validate::References,
    workload, world,
};

/// Ticks one after the other take less processor time than each on its own, so they are kept together as far as each still
/// comes in time.
const CROWD: Crowd = Crowd { moment: Duration::from_millis(500), few: 200, multiple: 4.0, kept: 8.0 };
/// How far a tick is moved at most.
const MOST_MOMENTS: u32 = 120;

/// What the command line may change. The defaults are Flagger's.
#[derive(Clone, Debug)]
pub struct Options {
    /// Prometheus of Canaries that name none (`--metrics-server`).
    pub metrics_server: String,
    /// Router of Canaries that name none (`--mesh-provider`).
    pub mesh_provider: String,
    /// Whose series builtin metrics read where a Gateway serves (`--gateway-metrics`).
    pub gateway_metrics: GatewayMetrics,
    /// `ingressClassName` of routing objects (`--ingress-class`); empty leaves it out.
    pub ingress_class: String,
    /// Prefix of ingress-nginx's annotations (`--ingress-annotations-prefix`).
    pub ingress_annotations_prefix: String,
    /// Shortest interval between two steps (`--min-analysis-interval`).
    pub min_analysis_interval: Duration,
    /// What is copied to primaries, and how pods are found (`--selector-labels`, `--include-label-prefix`,
    /// `--enable-config-tracking`).
    pub workload: workload::Options,
    /// Whether references may leave a Canary's namespace.
    pub no_cross_namespace_refs: bool,
    /// Name of the cluster, shown in alerts (`--cluster-name`).
    pub cluster: String,
    /// Receives the events of Canaries without an event hook of their own (`--event-webhook`).
    pub event_webhook: Option<String>,
    /// Receives the alerts of Canaries without alerts of their own (`--slack-url`, `--msteams-url`).
    pub notifier: Option<Notifier>,
    /// Canaries worked on at the same time.
    pub concurrency: u16,
}

impl Default for Options {
    fn default() -> Self {
        let router::Options { mesh_provider, ingress_class, ingress_annotations_prefix, .. } =
            router::Options::default();
        Self {
            metrics_server: "http://prometheus:9090".into(),
            gateway_metrics: GatewayMetrics::default(),
            mesh_provider,
            ingress_class,
            ingress_annotations_prefix,
            min_analysis_interval: api::flagger::MIN_INTERVAL,
            workload: workload::Options::default(),
            no_cross_namespace_refs: false,
            cluster: String::new(),
            event_webhook: None,
            notifier: None,
            concurrency: 16,
        }
    }
}

impl Options {
    /// What of it concerns routes.
    pub fn router(&self) -> router::Options {
        router::Options {
            mesh_provider: self.mesh_provider.clone(),
            ingress_class: self.ingress_class.clone(),
            ingress_annotations_prefix: self.ingress_annotations_prefix.clone(),
            min_interval: self.min_analysis_interval,
            ..Default::default()
        }
    }
}

/// Runs the loop until told to stop.
pub async fn controllers(context: Context, options: Options, shutdown: Shutdown) {
    let concurrency = options.concurrency;
    let rollouts = Rollouts::new(context.clone(), options);
    Controller::new(context, rollouts)
        .concurrency(concurrency)
        .watches_part::<Deployment>(triggers::trim_deployment, triggers::deployment)
        .watches_part::<DaemonSet>(triggers::trim_daemonset, triggers::daemonset)
        .watches_metadata::<ConfigMap>(triggers::config_map)
        .watches_metadata::<Secret>(triggers::secret)
        .run(shutdown)
        .await;
}

/// The reconciler of Canaries.
struct Rollouts {
    context: Context,
    options: Options,
    objects: world::Options,
    numbers: Numbers,
    providers: Providers,
    /// What serves each Gateway, and until when that is taken for true.
    gateways: Mutex<HashMap<ObjectReference, (Option<Implementation>, Timestamp)>>,
    /// When each Canary's last full tick was. Forgotten with the process: the status' time stands in then.
    last_ticks: Mutex<HashMap<ObjectReference, Timestamp>>,
    /// When each Canary's next tick is due.
    timetable: Mutex<Timetable<ObjectReference>>,
    /// When the runs of each Canary were published last.
    published: Mutex<HashMap<ObjectReference, Timestamp>>,
}

impl Rollouts {
    fn new(context: Context, options: Options) -> Self {
        let numbers = Numbers::register(&context.metrics, &options.mesh_provider);
        let objects = world::Options { router: options.router(), workload: options.workload.clone() };
        let providers = Providers::new(&context);
        Self {
            context,
            options,
            objects,
            numbers,
            providers,
            gateways: Mutex::default(),
            last_ticks: Mutex::default(),
            timetable: Mutex::new(Timetable::new(CROWD)),
            published: Mutex::default(),
        }
    }

    fn machine_options(&self, id: &ObjectReference) -> machine::Options {
        machine::Options {
            mesh_provider: self.options.mesh_provider.clone(),
            min_interval: self.options.min_analysis_interval,
            cluster: self.options.cluster.clone(),
            last_tick: self.last_ticks.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied(),
        }
    }

    fn remember(&self, id: &ObjectReference, now: Timestamp) {
        self.last_ticks.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), now);
    }

    /// How long until the next tick of a Canary that is due after `wait`: where more are due at the same time than a while
    /// needs, longer by up to half. Nothing comes early: a step's time is how long the canary bakes.
    fn apart(&self, id: &ObjectReference, interval: Duration, wait: Duration, now: Timestamp) -> Duration {
        let due = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let later = (1..=MOST_MOMENTS).map(|moments| CROWD.moment * moments).take_while(|longer| *longer <= wait / 2);
        let later = later.map(|longer| due.checked_add(longer).unwrap_or(due));
        let planned =
            self.timetable.lock().unwrap_or_else(PoisonError::into_inner).plan(id.clone(), interval, due, later);
        planned.duration_since(now).try_into().unwrap_or_default()
    }

    const fn references(&self) -> References {
        match self.options.no_cross_namespace_refs {
            true => References::OwnNamespace,
            false => References::Anywhere,
        }
    }
}

impl Reconciler for Rollouts {
    type Kind = Canary;
    const CONTROLLER: &'static str = SOURCE;
    const STYLE: Style = Style::Own;
    const ANNOUNCE: Announce = Announce::Never;

    async fn reconcile(&self, object: Arc<Canary>) -> Result<Done, Failure> {
        self.tick(&object).await
    }

    async fn finalize(&self, object: Arc<Canary>) -> Result<(), Failure> {
        self.terminate(&object).await
    }

    fn removed(&self, canary: &Canary) {
        let id = reconcile::object::reference(canary);
        self.last_ticks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.timetable.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.published.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.numbers.forget(canary);
    }
}

#[cfg(test)]
mod tests;
