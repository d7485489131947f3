//! Which pods to start and which to stop, so that a Deployment becomes what its spec says. Pure.
//!
//! Follows the rolling update of Kubernetes' Deployment controller: start before stop, never more than `maxSurge` above,
//! never fewer available than `maxUnavailable` below. Source: Kubernetes documentation, "Deployments", and
//! `pkg/controller/deployment/rolling.go` as to the order of steps.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};
use sha2::Digest as _;

/// What a Deployment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Names the pod template.
    pub hash: String,
    /// Number of pods.
    pub replicas: usize,
    /// How old pods are replaced.
    pub strategy: Strategy,
    /// `spec.paused`: the template is not rolled out.
    pub paused: bool,
    /// `spec.minReadySeconds`: how long a pod is ready before it counts as available.
    pub min_ready: Duration,
}

/// How old pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Step by step.
    RollingUpdate {
        /// Pods above the number wanted.
        max_surge: usize,
        /// Pods that may be missing.
        max_unavailable: usize,
    },
    /// All old ones go before the first new one comes.
    Recreate,
}

/// A pod as far as planning needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Names the template it was started from.
    pub hash: String,
    /// Since when it has been ready without a break.
    pub ready_since: Option<Timestamp>,
    /// It was told to stop.
    pub stopping: bool,
    /// When it was started.
    pub started: Timestamp,
}

impl View {
    /// Whether it counts as available.
    pub fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.ready_since
            .is_some_and(|since| now.duration_since(since).unsigned_abs() >= min_ready || min_ready.is_zero())
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many pods of the wanted template to start.
    pub start: usize,
    /// Names of pods to stop.
    pub stop: Vec<String>,
}

impl Wanted {
    /// Reads the spec.
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.clone().unwrap_or_default();
        let replicas = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
        let strategy = spec.strategy.unwrap_or_default();
        let strategy = match strategy.type_.as_deref() {
            Some("Recreate") => Strategy::Recreate,
            _ => {
                let rolling = strategy.rolling_update.unwrap_or_default();
                let quarter = IntOrString::String("25%".to_owned());
                let max_surge = share(rolling.max_surge.as_ref().unwrap_or(&quarter), replicas, Rounding::Up);
                let unavailable = share(rolling.max_unavailable.as_ref().unwrap_or(&quarter), replicas, Rounding::Down);
                // With neither no step would be possible.
                let max_unavailable = if max_surge == 0 && unavailable == 0 { 1 } else { unavailable };
                Strategy::RollingUpdate { max_surge, max_unavailable }
            }
        };
        Self {
            hash: template_hash(deployment),
            replicas,
            strategy,
            paused: spec.paused.unwrap_or_default(),
            min_ready: Duration::from_secs(
                u64::try_from(spec.min_ready_seconds.unwrap_or_default()).unwrap_or_default(),
            ),
        }
    }

    /// Most pods that may be missing.
    pub fn max_unavailable(&self) -> usize {
        match self.strategy {
            Strategy::RollingUpdate { max_unavailable, .. } => max_unavailable.min(self.replicas),
            Strategy::Recreate => 0,
        }
    }
}

/// Names the pod template: ten hexadecimal digits that change with it.
pub fn template_hash(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let text = serde_json::to_vec(&template).unwrap_or_default();
    hex::encode(sha2::Sha256::digest(text)).chars().take(10).collect()
}

#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
}

/// A number, or a percentage of `whole`.
fn share(value: &IntOrString, whole: usize, rounding: Rounding) -> usize {
    match value {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or_default(),
        IntOrString::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or_default();
            let product = whole.saturating_mul(percent);
            match rounding {
                Rounding::Up => product.div_ceil(100),
                Rounding::Down => product / 100,
            }
        }
    }
}

/// The next steps. Asked again whenever a pod or the spec changes, it ends with the pods that are wanted.
pub fn plan(wanted: &Wanted, pods: &[View], now: Timestamp) -> Plan {
    let active: Vec<&View> = pods.iter().filter(|pod| !pod.stopping).collect();
    // While paused, the template that runs is the one that is wanted.
    let newest = active.iter().max_by_key(|pod| pod.started).filter(|_| wanted.paused).map(|pod| pod.hash.as_str());
    let hash = newest.unwrap_or(&wanted.hash);
    let (mut new, old): (Vec<&View>, Vec<&View>) = active.iter().partition(|pod| pod.hash == hash);
    if newest.is_some() && !old.is_empty() {
        return Plan { start: 0, stop: Vec::new() };
    }
    let is_available = |pod: &&View| pod.is_available(wanted.min_ready, now);
    // Too many: those that serve least go first.
    new.sort_by_key(|pod| (is_available(pod), pod.ready_since.is_some(), std::cmp::Reverse(pod.started)));
    let excess = new.len().saturating_sub(wanted.replicas);
    let mut stop: Vec<String> = new.drain(..excess).map(|pod| pod.name.clone()).collect();
    let missing = wanted.replicas - new.len();
    let Strategy::RollingUpdate { max_surge, max_unavailable } = wanted.strategy else {
        stop.extend(old.iter().map(|pod| pod.name.clone()));
        let old_left = pods.iter().any(|pod| pod.hash != hash);
        return Plan { start: if old_left { 0 } else { missing }, stop };
    };
    let room = (wanted.replicas + max_surge).saturating_sub(new.len() + old.len());
    let start = missing.min(room);
    let new_available = new.iter().filter(|pod| is_available(pod)).count();
    let (mut serving, idle): (Vec<&View>, Vec<&View>) = old.iter().partition(|pod| is_available(pod));
    let least = wanted.replicas.saturating_sub(max_unavailable);
    let new_unavailable = new.len() + start - new_available;
    let mut spare = (new.len() + start + old.len()).saturating_sub(least + new_unavailable);
    for pod in idle.iter().take(spare) {
        stop.push(pod.name.clone());
    }
    spare = spare.saturating_sub(idle.len());
    let spare = spare.min((new_available + serving.len()).saturating_sub(least));
    serving.sort_by_key(|pod| pod.started);
    stop.extend(serving.iter().take(spare).map(|pod| pod.name.clone()));
    Plan { start, stop }
}

#[cfg(test)]
mod tests;
