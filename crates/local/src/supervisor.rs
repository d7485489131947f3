//! The pods of this machine: starts them, watches them, drains and stops them. The shell around the plans.

pub mod address;
pub mod leftovers;
pub mod log;
pub mod pod;
pub mod probe;
pub mod process;
pub mod refresh;
pub mod spawner;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use reconcile::{Context, clock};
use tokio::{process::Child, sync::Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{address::Addresses, leftovers::Mark, process::Launch, refresh::Refresh, spawner::Spawner};
use crate::{
    Result, container::Identity, gateway::upstream::Load, image::Images, pods::View, rollout::Problem, selector::Labels,
};

/// What names a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Namespace of the Deployment.
    pub namespace: String,
    /// Name of the Deployment.
    pub name: String,
}

/// A pod as it is at this moment.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Whose it is.
    pub owner: Owner,
    /// Name, namespace, address, labels.
    pub identity: Identity,
    /// Names the template.
    pub hash: String,
    /// Ports that its containers name.
    pub ports: BTreeMap<String, u16>,
    /// Since when it has been ready without a break.
    pub ready_since: Option<Timestamp>,
    /// It was told to stop.
    pub stopping: bool,
    /// When it was started.
    pub started: Timestamp,
    /// Why it does not run, if it does not.
    pub problem: Option<Problem>,
    /// Requests that it is working on.
    pub load: Arc<Load>,
    /// Told when the pod changes.
    wake: Arc<Notify>,
    /// Ends its processes.
    stop: CancellationToken,
    /// Longest time from being told to stop to the end.
    grace: Duration,
    /// When it was told to stop.
    told: Arc<OnceLock<tokio::time::Instant>>,
}

impl Pod {
    /// What is left of the grace period.
    fn grace_left(&self) -> Duration {
        self.grace.saturating_sub(self.told.get().map(tokio::time::Instant::elapsed).unwrap_or_default())
    }
}

/// A pod to be started.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose it is.
    pub owner: Owner,
    /// Names the template.
    pub hash: String,
    /// The template.
    pub template: PodTemplateSpec,
    /// Told when the pod changes.
    pub wake: Arc<Notify>,
}

/// Runs pods. Cheap to clone; all clones are the same supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    images: Images,
    folder: PathBuf,
    spawner: Spawner,
    mark: Mark,
    addresses: Addresses,
    pods: Mutex<BTreeMap<String, Pod>>,
    refresh: Arc<Refresh>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Supervisor {
    /// A supervisor that keeps images and logs below a folder. Processes that a killed run left behind are ended first.
    pub fn open(context: Context, folder: PathBuf, guard: Vec<String>, refresh: Arc<Refresh>) -> Result<Self> {
        // Processes have working directories of their own.
        let folder = std::path::absolute(&folder).map_err(crate::Error::file(&folder))?;
        let mark = leftovers::end(&folder)?;
        let inner = Inner {
            images: Images::open(&folder.join("images"), &context.http)?,
            spawner: Spawner::start(guard)?,
            mark,
            addresses: Addresses::new(clock::random()),
            pods: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            context,
            folder,
            refresh,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where images and logs are kept.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Starts a program of this machine beside the pods, with its output in a log of its name. It ends with us as they do.
    pub async fn start_program(&self, name: &str, program: &Path, arguments: Vec<String>) -> std::io::Result<Child> {
        let logs = self.inner.folder.join("logs");
        std::fs::create_dir_all(&logs)?;
        let (reader, output) = std::io::pipe()?;
        tokio::spawn(log::copy(reader, logs.join(format!("{name}.log"))));
        let mark = self.inner.mark.of(name);
        let (program, folder) = (program.to_owned(), self.inner.folder.clone());
        let launch = Launch { program, arguments, environment: BTreeMap::new(), mark, folder, output };
        self.inner.spawner.spawn(launch).await
    }

    /// The pods there are, those that stop too.
    pub fn pods(&self) -> Vec<Pod> {
        self.lock().values().cloned().collect()
    }

    /// The pods of a Deployment as planning sees them, and why those of a template do not run, if they do not.
    pub fn views(&self, owner: &Owner, hash: &str) -> (Vec<View>, Option<Problem>) {
        let pods = self.lock();
        let own = || pods.values().filter(|pod| pod.owner == *owner);
        let views = own().map(|pod| View {
            name: pod.identity.name.clone(),
            hash: pod.hash.clone(),
            ready_since: pod.ready_since,
            stopping: pod.stopping,
            started: pod.started,
        });
        let problem = own().filter(|pod| pod.hash == hash && !pod.stopping).find_map(|pod| pod.problem.clone());
        (views.collect(), problem)
    }

    /// Cancelled when slipway ends: from then on no pod starts.
    pub fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// Starts a pod in the background.
    pub fn start(&self, order: &Order) -> Result<()> {
        if self.inner.closing.is_cancelled() {
            return Ok(());
        }
        let (address, lease) = self.inner.addresses.take()?;
        let pod = self.pod(order, address);
        tracing::info!(pod = pod.identity.name, %address, "starting pod");
        self.lock().insert(pod.identity.name.clone(), pod.clone());
        let (supervisor, template) = (self.clone(), order.template.clone());
        self.inner.tasks.spawn(async move {
            pod::live(&supervisor, &pod, &template).await;
            supervisor.inner.mark.end(&pod.identity.name);
            supervisor.lock().remove(&pod.identity.name);
            drop(lease);
            pod.wake.notify_one();
            tracing::info!(pod = pod.identity.name, "pod has ended");
        });
        Ok(())
    }

    fn pod(&self, order: &Order, address: Ipv4Addr) -> Pod {
        let metadata = order.template.metadata.clone().unwrap_or_default();
        let mut labels: Labels = metadata.labels.unwrap_or_default();
        labels.insert("pod-template-hash".to_owned(), order.hash.clone());
        let spec = order.template.spec.as_ref();
        let grace = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let name = loop {
            let suffix = clock::random() % 0x10_0000;
            let name = format!("{}-{}-{suffix:05x}", order.owner.name, order.hash);
            if !self.lock().contains_key(&name) {
                break name;
            }
        };
        Pod {
            identity: Identity {
                name,
                namespace: order.owner.namespace.clone(),
                address,
                labels,
                annotations: metadata.annotations.unwrap_or_default(),
            },
            owner: order.owner.clone(),
            hash: order.hash.clone(),
            ports: spec.map(crate::container::named_ports).unwrap_or_default(),
            ready_since: None,
            stopping: false,
            started: clock::now(),
            problem: None,
            load: Arc::default(),
            wake: order.wake.clone(),
            stop: CancellationToken::new(),
            told: Arc::default(),
            grace: Duration::from_secs(u64::try_from(grace).unwrap_or_default()),
        }
    }

    /// Stops a pod in the background: it leaves the endpoints, finishes its requests, is asked to end, and is killed if it
    /// does not.
    pub fn stop(&self, name: &str) {
        let mut pods = self.lock();
        let Some(pod) = pods.get_mut(name).filter(|pod| !pod.stopping) else { return };
        pod.stopping = true;
        pod.ready_since = None;
        let _ = pod.told.set(clock::instant());
        let pod = pod.clone();
        drop(pods);
        tracing::info!(pod = name, "stopping pod");
        let refresh = self.inner.refresh.clone();
        self.inner.tasks.spawn(async move {
            let drained = async {
                refresh.done().await;
                pod.load.wait_until_idle().await;
            };
            if tokio::time::timeout(pod.grace, drained).await.is_err() {
                tracing::warn!(pod = pod.identity.name, "requests did not end in the grace period");
            }
            pod.stop.cancel();
        });
    }

    /// Stops all pods at once and waits for their end, at most that long; what is left is killed with us.
    pub async fn shut_down(&self, limit: Duration) {
        self.inner.closing.cancel();
        for pod in self.lock().values_mut() {
            pod.stopping = true;
            pod.stop.cancel();
        }
        self.inner.tasks.close();
        let _ = tokio::time::timeout(limit, self.inner.tasks.wait()).await;
        self.inner.mark.end_all();
    }

    /// Notes that a pod is ready or is not.
    fn set_ready(&self, name: &str, ready: bool) {
        let mut pods = self.lock();
        let Some(pod) = pods.get_mut(name) else { return };
        let ready = ready && !pod.stopping;
        if pod.ready_since.is_some() == ready {
            return;
        }
        pod.ready_since = ready.then(clock::now);
        if ready {
            pod.problem = None;
        }
        tracing::info!(pod = name, ready, "readiness of pod changed");
        pod.wake.notify_one();
        drop(pods);
        self.inner.refresh.request();
    }

    /// Notes why a pod does not run.
    fn set_problem(&self, name: &str, problem: Problem) {
        let mut pods = self.lock();
        let Some(pod) = pods.get_mut(name).filter(|pod| pod.problem.as_ref() != Some(&problem)) else { return };
        tracing::warn!(pod = name, reason = problem.0, problem = problem.1, "pod does not run");
        pod.problem = Some(problem);
        pod.wake.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pod>> {
        self.inner.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
