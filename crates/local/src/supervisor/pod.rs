//! The life of one pod: its containers are started, probed, started again when they end, and ended with the pod.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, PodTemplateSpec, Secret};
use oci::Keychain;
use reconcile::{Site, clock, effect};
use tokio::process::Child;

use super::{
    Pod, Supervisor, log,
    probe::{self, Eager, Verdict},
    process::{self, Launch},
};
use crate::{
    Error,
    container::{self, Data, Probing, Source},
    image::{PullPolicy, Unpacked},
    rollout::Problem,
};

/// First wait before a container is started again; doubles. Source: Kubernetes documentation, "Pod Lifecycle".
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest wait before a container is started again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Time that a process has to end itself even if its requests took all of the grace period.
const LEAST_GRACE: Duration = Duration::from_millis(500);
/// A container that ran for so long begins with the first wait again.
const GOOD_RUN: Duration = Duration::from_secs(600);

/// Readiness of a pod's containers.
struct Readiness {
    containers: usize,
    ready: AtomicUsize,
}

/// Runs the containers of a pod until it is told to stop and they have ended.
pub async fn live(supervisor: &Supervisor, pod: &Pod, template: &PodTemplateSpec) {
    let Some(spec) = &template.spec else { return };
    let readiness = Readiness { containers: spec.containers.len(), ready: AtomicUsize::new(0) };
    let lives = spec.containers.iter().map(|container| {
        let run = Run { supervisor, pod, spec, container, readiness: &readiness };
        async move { run.live().await }
    });
    futures::future::join_all(lives).await;
}

/// One container of a pod.
struct Run<'a> {
    supervisor: &'a Supervisor,
    pod: &'a Pod,
    spec: &'a PodSpec,
    container: &'a Container,
    readiness: &'a Readiness,
}

/// Why a run of the process ended.
enum Ended {
    /// The pod was told to stop.
    Stopped,
    /// By itself, or because a probe said so.
    Exited(String),
}

impl Run<'_> {
    async fn live(&self) {
        let mut backoff = FIRST_BACKOFF;
        let mut image = None;
        loop {
            let begun = clock::instant();
            let outcome = tokio::select! {
                biased;
                () = self.pod.stop.cancelled() => return,
                started = self.start(&mut image) => started,
            };
            let problem = match outcome {
                Ok((child, signal)) => match self.attend(child, &signal).await {
                    Ended::Stopped => return,
                    Ended::Exited(how) => {
                        let message = format!(
                            "container {} {how}; its log is {}",
                            self.container.name,
                            self.log_path().display()
                        );
                        ("CrashLoopBackOff", message)
                    }
                },
                Err(problem) => problem,
            };
            self.supervisor.set_problem(&self.pod.identity.name, problem);
            if begun.elapsed() >= GOOD_RUN {
                backoff = FIRST_BACKOFF;
            }
            tokio::select! {
                () = self.pod.stop.cancelled() => return,
                () = clock::sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Starts the process; returns it with its stop signal.
    async fn start(&self, image: &mut Option<Unpacked>) -> Result<(Child, String), Problem> {
        let unpacked = match image {
            Some(unpacked) => unpacked,
            None => image.insert(self.image().await?),
        };
        let data = self.data().await.map_err(|error| ("CreateContainerConfigError", error.to_string()))?;
        let environment = container::environment(self.container, &unpacked.process, &self.pod.identity, &data)?;
        let mut words = container::command(self.container, &unpacked.process, &environment)?.into_iter();
        let name = words.next().unwrap_or_default();
        let failed =
            |problem: String| ("CreateContainerError", format!("container {}: {problem}", self.container.name));
        let wanted = self.container.working_dir.as_deref().unwrap_or(&unpacked.process.working_dir);
        let folder = process::working_directory(wanted, &unpacked.root).map_err(|error| failed(error.to_string()))?;
        for mount in self.container.volume_mounts.iter().flatten() {
            // Volumes are empty folders: the others were refused before.
            process::working_directory(&mount.mount_path, &unpacked.root).map_err(|error| failed(error.to_string()))?;
        }
        let path = environment.get("PATH").cloned().unwrap_or_default();
        let program = process::program(&name, &unpacked.root, &folder, &path)
            .ok_or_else(|| failed(format!("command {name:?} is neither in the image nor on this machine")))?;
        let output = self.log().map_err(|error| failed(format!("log: {error}")))?;
        let mark = self.supervisor.inner.mark.of(&self.pod.identity.name);
        let launch = Launch { program, arguments: words.collect(), environment, mark, folder, output };
        let child = effect(Site::Process, &self.pod.identity.name, async {
            let started = self.supervisor.inner.spawner.spawn(launch).await;
            started.map_err(|source| Error::Process { act: format!("start {name}"), source })
        });
        let child = child.await.map_err(|error| failed(error.to_string()))?;
        Ok((child, unpacked.stop_signal.clone()))
    }

    /// The file that holds the container's output.
    fn log_path(&self) -> PathBuf {
        self.logs().join(&self.pod.identity.name).join(format!("{}.log", self.container.name))
    }

    /// The folder with the logs of the namespace's pods.
    fn logs(&self) -> PathBuf {
        self.supervisor.inner.folder.join("logs").join(&self.pod.identity.namespace)
    }

    /// The pipe that leads into the container's log.
    fn log(&self) -> std::io::Result<std::io::PipeWriter> {
        log::folder(&self.logs(), &self.pod.identity.name, &self.pod.owner.name)?;
        let (reader, writer) = std::io::pipe()?;
        tokio::spawn(log::copy(reader, self.log_path()));
        Ok(writer)
    }

    async fn image(&self) -> Result<Unpacked, Problem> {
        let image = self.container.image.clone().unwrap_or_default();
        let policy = PullPolicy::of(self.container.image_pull_policy.as_deref(), &image);
        let keychain = self.keychain().await.map_err(|error| ("ErrImagePull", error))?;
        let unpacked = self.supervisor.inner.images.get(&image, policy, &keychain).await;
        unpacked.map_err(|error| (error.reason(), reconcile::causes(&error)))
    }

    /// Credentials of the pod's `imagePullSecrets`, then of this machine's Docker configuration.
    async fn keychain(&self) -> Result<Keychain, String> {
        let mut keychain = Keychain::default();
        for reference in self.spec.image_pull_secrets.iter().flatten() {
            let values = self.secret(&reference.name).await.map_err(|error| error.to_string())?.unwrap_or_default();
            let read = match (values.get(".dockerconfigjson"), values.get(".dockercfg")) {
                (Some(text), _) => Keychain::from_dockerconfigjson(text.as_bytes()),
                (None, Some(text)) => Keychain::from_dockercfg(text.as_bytes()),
                (None, None) => continue,
            };
            keychain = keychain.merge(read.map_err(|error| format!("imagePullSecret {}: {error}", reference.name))?);
        }
        let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| Some(std::path::Path::new(&std::env::var_os("HOME")?).join(".docker")));
        let file = folder.and_then(|folder| std::fs::read(folder.join("config.json")).ok());
        let own = file.and_then(|content| Keychain::from_config_file(&content).ok()).unwrap_or_default();
        Ok(keychain.merge(own))
    }

    /// The ConfigMaps and Secrets that the environment needs, as far as they exist.
    async fn data(&self) -> reconcile::Result<Data> {
        let mut data = Data::new();
        for source in container::sources(self.container) {
            let values = match &source {
                Source::Secret(name) => self.secret(name).await?,
                Source::ConfigMap(name) => {
                    let store = &self.supervisor.inner.context.store;
                    let found: Option<ConfigMap> = store.get(&self.pod.identity.namespace, name).await?;
                    found.map(|config| config.data.unwrap_or_default())
                }
            };
            data.extend(values.map(|values| (source, values)));
        }
        Ok(data)
    }

    async fn secret(&self, name: &str) -> reconcile::Result<Option<BTreeMap<String, String>>> {
        let store = &self.supervisor.inner.context.store;
        let found: Option<Secret> = store.get(&self.pod.identity.namespace, name).await?;
        Ok(found.map(|secret| {
            let bytes = secret.data.unwrap_or_default().into_iter();
            let mut values: BTreeMap<String, String> =
                bytes.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect();
            values.extend(secret.string_data.unwrap_or_default());
            values
        }))
    }

    /// Watches a running process until it ends.
    async fn attend(&self, mut child: Child, signal: &str) -> Ended {
        let group = process::identify(&child);
        let ended = tokio::select! {
            status = child.wait() => Ended::Exited(match status {
                Ok(status) => format!("ended with {status}"),
                Err(error) => format!("is lost: {error}"),
            }),
            () = self.pod.stop.cancelled() => Ended::Stopped,
            () = self.probe() => Ended::Exited("was ended because its liveness probe failed".into()),
        };
        self.ready(false);
        process::sweep(group.filter(|_| child.id().is_none()));
        if child.id().is_some() {
            let grace = self.pod.grace_left().max(LEAST_GRACE);
            let _ = process::end(&mut child, process::stop_signal(signal), grace).await;
        }
        ended
    }

    /// Runs the probes; ends when the process is to be started again.
    async fn probe(&self) {
        let read = |probe: &Option<_>| probe.as_ref().and_then(|probe| Probing::of(probe, &self.pod.ports));
        let address = self.pod.identity.address;
        if let Some(startup) = read(&self.container.startup_probe) {
            let (verdict, told) = tokio::sync::oneshot::channel();
            let mut verdict = Some(verdict);
            let watching = probe::watch(&startup, address, Eager::No, |found| {
                let _ = verdict.take().map(|verdict| verdict.send(found));
            });
            let found = tokio::select! { () = watching => return, found = told => found };
            if found != Ok(Verdict::Well) {
                return;
            }
        }
        let readiness = async {
            match read(&self.container.readiness_probe) {
                // A probe that names no port never succeeds, as in Kubernetes.
                None if self.container.readiness_probe.is_some() => futures::future::pending().await,
                None => {
                    self.ready(true);
                    futures::future::pending().await
                }
                Some(probing) => {
                    probe::watch(&probing, address, Eager::Yes, |verdict| self.ready(verdict == Verdict::Well)).await;
                }
            }
        };
        let failed = Arc::new(tokio::sync::Notify::new());
        let liveness = async {
            match read(&self.container.liveness_probe) {
                None => futures::future::pending().await,
                Some(probing) => {
                    probe::watch(&probing, address, Eager::No, |verdict| {
                        if verdict == Verdict::Unwell {
                            failed.notify_one();
                        }
                    })
                    .await;
                }
            }
        };
        tokio::select! { () = readiness => {}, () = liveness => {}, () = failed.notified() => {} }
    }

    /// Notes the readiness of this container; the pod is ready when all are.
    fn ready(&self, ready: bool) {
        self.readiness.note(self.container_bit(), ready);
        let all = self.readiness.all();
        self.supervisor.set_ready(&self.pod.identity.name, all);
    }

    fn container_bit(&self) -> usize {
        let position = self.spec.containers.iter().position(|container| container.name == self.container.name);
        position.unwrap_or_default()
    }
}

impl Readiness {
    /// Containers beyond the width of the counter share its last bit; nobody has so many.
    fn note(&self, container: usize, ready: bool) {
        let bit = 1 << container.min(usize::BITS as usize - 1);
        if ready {
            self.ready.fetch_or(bit, Ordering::SeqCst);
        } else {
            self.ready.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    fn all(&self) -> bool {
        self.ready.load(Ordering::SeqCst).count_ones() as usize == self.containers
    }
}
