//! What a container of a pod template becomes on this machine: command line, environment, probes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, EnvVarSource, PodSpec, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use oci::manifest::Process;

use crate::{rollout::Problem, selector::Labels};

/// An object that values of the environment come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A ConfigMap of the pod's namespace.
    ConfigMap(String),
    /// A Secret of the pod's namespace.
    Secret(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConfigMap(name) => write!(f, "ConfigMap {name}"),
            Self::Secret(name) => write!(f, "Secret {name}"),
        }
    }
}

/// The data of the sources that exist.
pub type Data = BTreeMap<Source, BTreeMap<String, String>>;

/// What a pod is told about itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the pod.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Address of the pod, its own among all pods.
    pub address: Ipv4Addr,
    /// Labels of the pod.
    pub labels: Labels,
    /// Annotations of the pod.
    pub annotations: Labels,
}

/// The first field of a pod template that cannot be had on this machine, by its path.
pub fn unsupported(spec: &PodSpec) -> Option<String> {
    if spec.init_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        return Some("spec.template.spec.initContainers".into());
    }
    if spec.containers.is_empty() {
        return Some("spec.template.spec.containers: at least one container is needed".into());
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let value = serde_json::to_value(volume).unwrap_or_default();
        let kinds = value.as_object().into_iter().flat_map(|fields| fields.keys());
        if let Some(kind) = kinds.into_iter().find(|key| !matches!(key.as_str(), "name" | "emptyDir")) {
            return Some(format!("spec.template.spec.volumes[{index}].{kind}"));
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let probes = [
            ("readinessProbe", &container.readiness_probe),
            ("livenessProbe", &container.liveness_probe),
            ("startupProbe", &container.startup_probe),
        ];
        for (name, probe) in probes {
            let Some(probe) = probe else { continue };
            let at = format!("spec.template.spec.containers[{index}].{name}");
            match (&probe.exec, &probe.grpc, &probe.http_get, &probe.tcp_socket) {
                (Some(_), ..) => return Some(format!("{at}.exec")),
                (_, Some(_), ..) => return Some(format!("{at}.grpc")),
                (None, None, None, None) => return Some(format!("{at}: a probe needs httpGet or tcpSocket")),
                _ => {}
            }
        }
    }
    None
}

/// The objects that the environment of a container needs.
pub fn sources(container: &Container) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for from in container.env_from.iter().flatten() {
        sources.extend(from.config_map_ref.iter().map(|source| Source::ConfigMap(source.name.clone())));
        sources.extend(from.secret_ref.iter().map(|source| Source::Secret(source.name.clone())));
    }
    for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        sources.extend(from.config_map_key_ref.iter().map(|key| Source::ConfigMap(key.name.clone())));
        sources.extend(from.secret_key_ref.iter().map(|key| Source::Secret(key.name.clone())));
    }
    sources
}

/// The whole environment of a container's process: what every pod has, what the image sets, what the manifest sets.
///
/// Differs: `POD_IP` is set without being asked for, since programs must listen on it and on no other address.
pub fn environment(
    container: &Container,
    process: &Process,
    identity: &Identity,
    data: &Data,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOSTNAME".to_owned(), identity.name.clone()),
        ("POD_IP".to_owned(), identity.address.to_string()),
    ]);
    for variable in &process.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        variables.insert(name.to_owned(), value.to_owned());
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let config = from.config_map_ref.as_ref().map(|map| (Source::ConfigMap(map.name.clone()), map.optional));
        let secret = from.secret_ref.as_ref().map(|secret| (Source::Secret(secret.name.clone()), secret.optional));
        for (source, optional) in config.into_iter().chain(secret) {
            match data.get(&source) {
                Some(values) => {
                    variables.extend(values.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if optional == Some(true) => {}
                None => return Err(config_error(container, format!("{source} not found"))),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (_, Some(from)) => value_from(container, variable, from, identity, data)?,
            (value, None) => Some(expand(value.as_deref().unwrap_or_default(), &variables)),
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    // A process cannot be given what holds a null byte.
    variables.retain(|name, value| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    Ok(variables)
}

fn config_error(container: &Container, problem: String) -> Problem {
    ("CreateContainerConfigError", format!("container {}: {problem}", container.name))
}

/// The value that a reference leads to; none if an optional one leads nowhere.
fn value_from(
    container: &Container,
    variable: &EnvVar,
    from: &EnvVarSource,
    identity: &Identity,
    data: &Data,
) -> Result<Option<String>, Problem> {
    let key = if let Some(key) = &from.config_map_key_ref {
        Some((Source::ConfigMap(key.name.clone()), &key.key, key.optional))
    } else {
        from.secret_key_ref.as_ref().map(|key| (Source::Secret(key.name.clone()), &key.key, key.optional))
    };
    if let Some((source, key, optional)) = key {
        return match data.get(&source).and_then(|values| values.get(key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional == Some(true) => Ok(None),
            None => Err(config_error(container, format!("env {}: {source} has no key {key}", variable.name))),
        };
    }
    let path = from.field_ref.as_ref().map(|field| field.field_path.as_str()).unwrap_or("resourceFieldRef");
    let entry = |values: &Labels, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
        Some(values.get(key).cloned().unwrap_or_default())
    };
    let value = match path {
        "status.podIP" | "status.podIPs" => identity.address.to_string(),
        "metadata.name" => identity.name.clone(),
        "metadata.namespace" => identity.namespace.clone(),
        "metadata.uid" => format!("{}.{}", identity.namespace, identity.name),
        "status.hostIP" | "status.hostIPs" => Ipv4Addr::LOCALHOST.to_string(),
        "spec.nodeName" => "localhost".to_owned(),
        "spec.serviceAccountName" => "default".to_owned(),
        _ => entry(&identity.labels, "metadata.labels['")
            .or_else(|| entry(&identity.annotations, "metadata.annotations['"))
            .ok_or_else(|| config_error(container, format!("env {}: {path} is not supported", variable.name)))?,
    };
    Ok(Some(value))
}

/// The command line: the container's `command` and `args` in place of the image's entrypoint and command.
/// Source: Kubernetes documentation, "Define a Command and Arguments for a Container".
pub fn command(
    container: &Container,
    process: &Process,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<String>, Problem> {
    let expanded = |list: &[String]| list.iter().map(|word| expand(word, variables)).collect::<Vec<_>>();
    let own = container.command.as_deref().filter(|command| !command.is_empty());
    let arguments = container.args.as_deref().filter(|arguments| !arguments.is_empty());
    let mut words = own.map_or_else(|| process.entrypoint.clone(), expanded);
    match (own, arguments) {
        (_, Some(arguments)) => words.extend(expanded(arguments)),
        (None, None) => words.extend(process.cmd.iter().cloned()),
        (Some(_), None) => {}
    }
    if words.is_empty() {
        return Err(config_error(container, "neither the container nor the image names a command".into()));
    }
    Ok(words)
}

/// Replaces `$(NAME)` by the variable's value; `$$` stands for `$`, unknown names stay.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = match (after.strip_prefix('$'), name.and_then(|(name, tail)| Some((variables.get(name)?, tail)))) {
            (Some(tail), _) => {
                expanded.push('$');
                tail
            }
            (None, Some((value, tail))) => {
                expanded.push_str(value);
                tail
            }
            (None, None) => {
                expanded.push('$');
                after
            }
        };
    }
    expanded + rest
}

/// How a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A GET request; 200 to 399 is a yes.
    Http {
        /// Port.
        port: u16,
        /// Path with query.
        path: String,
        /// Further header fields.
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted.
    Tcp {
        /// Port.
        port: u16,
    },
}

/// A probe with its defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// How it asks.
    pub check: Check,
    /// Wait before the first time.
    pub initial_delay: Duration,
    /// From one time to the next.
    pub period: Duration,
    /// For one answer.
    pub timeout: Duration,
    /// Answers in a row that make it ready.
    pub success_threshold: u32,
    /// Failures in a row that make it not ready.
    pub failure_threshold: u32,
}

impl Probing {
    /// Reads a probe. None if it asks in a way that is not supported, or names a port that is not there.
    /// Source: Kubernetes API reference, `Probe`.
    pub fn of(probe: &Probe, ports: &BTreeMap<String, u16>) -> Option<Self> {
        let port = |port: &IntOrString| numbered(port, ports);
        let check = match (&probe.http_get, &probe.tcp_socket) {
            (Some(get), _) => Check::Http {
                port: port(&get.port)?,
                path: get.path.clone().filter(|path| path.starts_with('/')).unwrap_or_else(|| "/".to_owned()),
                headers: get
                    .http_headers
                    .iter()
                    .flatten()
                    .map(|header| (header.name.clone(), header.value.clone()))
                    .collect(),
            },
            (None, Some(socket)) => Check::Tcp { port: port(&socket.port)? },
            (None, None) => return None,
        };
        let seconds = |value: Option<i32>, default: u64, least: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value >= least).unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Some(Self {
            check,
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        })
    }
}

/// A port by number or by the name that a container gives it.
pub fn numbered(port: &IntOrString, ports: &BTreeMap<String, u16>) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => ports.get(name).copied().or_else(|| name.parse().ok()),
    }
}

/// The ports that containers name.
pub fn named_ports(spec: &PodSpec) -> BTreeMap<String, u16> {
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| Some((port.name.clone()?, u16::try_from(port.container_port).ok()?))).collect()
}

#[cfg(test)]
mod tests;
