//! Logs of pods on a cluster, through its API.

use anyhow::{Context as _, anyhow};
use api::manifest;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, LogParams},
    core::Selector,
};
use reconcile::clock;
use serde_json::Value;

use super::Wanted;
use crate::{
    commands::{
        Exit, get,
        streams::{is_heard, print_raw},
        system,
    },
    deploy,
};

/// Prints them, and goes on where that is asked for.
pub(super) async fn run(wanted: &Wanted<'_>) -> anyhow::Result<Exit> {
    let (store, client, _records) = system::open_cluster(&wanted.args.place.access).await?;
    let (pods, is_own) = match wanted.workload() {
        Some((kind, name)) => {
            wanted.check_pods()?;
            let Some(pods) = of_workload(&client, &wanted.namespace, kind.kind, name).await? else {
                get::missing(&store, kind, &wanted.namespace, name).await?;
                return Ok(Exit::No);
            };
            (pods, false)
        }
        None => {
            let api = objects::<Pod>(&client, &wanted.args.slipway_namespace);
            let labels = ListParams::default().labels(&format!("app.kubernetes.io/name={}", deploy::NAME));
            (api.list(&labels).await?.items, true)
        }
    };
    if pods.is_empty() {
        let namespace = if is_own { &wanted.args.slipway_namespace } else { &wanted.namespace };
        eprintln!("No such pod runs in namespace {namespace:?}.");
        if is_own {
            eprintln!("hint: --slipway-namespace says where slipway runs");
            return Ok(Exit::No);
        }
    }
    read(wanted, &client, &pods, is_own).await
}

async fn read(wanted: &Wanted<'_>, client: &Client, pods: &[DynamicObject], is_own: bool) -> anyhow::Result<Exit> {
    let now = clock::now();
    let seconds = wanted.from.map(|from| now.duration_since(from).as_secs().max(1));
    // The server cannot tell lines of one object from others: what is cut there must not be filtered here.
    let tail = wanted.args.tail.filter(|_| !is_own || wanted.object.is_none());
    let params = LogParams {
        follow: wanted.args.follow,
        since_seconds: seconds,
        tail_lines: tail.and_then(|tail| i64::try_from(tail).ok()),
        ..LogParams::default()
    };
    let mut streams = Vec::new();
    for pod in pods {
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let containers = pod.data.pointer("/spec/containers").and_then(Value::as_array);
        for container in containers.into_iter().flatten() {
            let container = container["name"].as_str().map(str::to_owned);
            let params = LogParams { container, ..params.clone() };
            let lines = match api.log_stream(&name, &params).await {
                Ok(log) => log.lines(),
                // One container that has not started must not hide what the others write.
                Err(kube::Error::Api(status)) if status.code == 400 => {
                    eprintln!("{}", status.message);
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("the log of pod {name}")),
            };
            let name = name.clone();
            streams.push(lines.map_ok(move |line| (name.clone(), line)).boxed());
        }
    }
    let mut lines = stream::select_all(streams);
    let mut kept = Vec::new();
    while let Some(line) = lines.next().await {
        let (pod, line) = line.context("the log broke off")?;
        let shown = if is_own { wanted.own(&line) } else { Some(wanted.of_pod(&pod, &line)) };
        match wanted.args.follow {
            true => print_raw(&shown.unwrap_or_default()),
            false => kept.extend(shown),
        }
        if !is_heard() {
            break;
        }
    }
    if is_own {
        wanted.show(&kept);
    } else {
        print_raw(&kept.concat());
    }
    Ok(Exit::Done)
}

/// The pods that a workload selects; none if it is not there.
async fn of_workload(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
) -> anyhow::Result<Option<Vec<DynamicObject>>> {
    let pods = objects::<Pod>(client, namespace);
    let workloads = match kind {
        "Pod" => return Ok(pods.get_opt(name).await?.map(|pod| vec![pod])),
        "DaemonSet" => objects::<DaemonSet>(client, namespace),
        _ => objects::<Deployment>(client, namespace),
    };
    let Some(workload) = workloads.get_opt(name).await? else { return Ok(None) };
    let selector: LabelSelector =
        manifest::typed(&workload.data["spec"]["selector"]).map_err(|error| anyhow!("spec.selector.{error}"))?;
    let selector = Selector::try_from(selector).context("spec.selector")?;
    Ok(Some(pods.list(&ListParams::default().labels_from(&selector)).await?.items))
}

/// Objects of a kind as they come: reading pods and workloads whole would take half a megabyte of code.
fn objects<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}
