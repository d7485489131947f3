//! `slipway check --takeover`: what would change if slipway took the place of Flux's image controllers,
//! notification-controller, source and kustomize controllers, and Flagger, in a cluster that they run now.

use api::{crd, meta::ObjectReference};
use reconcile::{Error, Store};
use serde_json::Value;

use super::{Line, tell};
use crate::{
    args::{
        check::Check,
        install::Install,
        run::{Run, Stage},
    },
    commands::{Exit, system},
};

/// A controller of Flux or Flagger that runs in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Controller {
    pub(super) name: String,
    pub(super) namespace: String,
    stage: Stage,
    arguments: Vec<String>,
}

/// Arguments that need no counterpart: ports, logs and storage are the installation's, and it elects its leader the same.
const OF_NO_MATTER: [&str; 17] = [
    "events-addr",
    "metrics-addr",
    "health-addr",
    "log-level",
    "log-encoding",
    "enable-leader-election",
    "leader-election-namespace",
    "zap-encoding",
    "zap-replace-globals",
    "port",
    "storage-path",
    "storage-value-log-file-size",
    "storage-compression-threshold",
    "gc-interval",
    "storage-adv-addr",
    "threadiness",
    "control-loop-interval",
];

/// Runs the verb.
pub fn run(args: &Check) -> anyhow::Result<Exit> {
    crate::commands::wait_for(async {
        let (store, _client, _records) = system::open_cluster(&args.access).await?;
        let deployments =
            ObjectReference { api_version: "apps/v1".into(), kind: "Deployment".into(), ..Default::default() };
        let found = controllers(&store.list_values(&deployments, None).await?);
        if found.is_empty() {
            let none = Line::Note("neither Flux's controllers nor Flagger run in this cluster".into());
            return tell(&[none], args.output);
        }
        let mut lines = vec![Line::Step("controllers that run now".into())];
        lines.extend(found.iter().flat_map(settings));
        lines.push(Line::Step("definitions of the kinds".into()));
        lines.extend(definitions(&store, &found).await?);
        lines.push(Line::Step("objects".into()));
        lines.extend(objects(&store, &found).await?);
        lines.push(summary(&lines, &found));
        tell(&lines, args.output)
    })
}

/// The controllers among these Deployments whose work we do.
pub(super) fn controllers(deployments: &[Value]) -> Vec<Controller> {
    let found = deployments.iter().filter_map(|deployment| {
        let text = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let image = text("/spec/template/spec/containers/0/image");
        let program = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
        let stage = match program {
            "image-reflector-controller" | "image-automation-controller" => Stage::Image,
            "notification-controller" => Stage::Notification,
            "source-controller" | "kustomize-controller" => Stage::Delivery,
            "flagger" => Stage::Canary,
            _ => return None,
        };
        let is_off = deployment.pointer("/spec/replicas").is_some_and(|replicas| *replicas == 0);
        let arguments = deployment.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array);
        let arguments = arguments.into_iter().flatten().filter_map(|argument| argument.as_str().map(str::to_owned));
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        (!is_off).then(|| Controller { name, namespace, stage, arguments: arguments.collect() })
    });
    found.collect()
}

/// The flag's name and value.
fn flag(argument: &str) -> (&str, Option<&str>) {
    let bare = argument.trim_start_matches('-');
    bare.split_once('=').map_or((bare, None), |(name, value)| (name, Some(value)))
}

/// The name of a verb's flag that is also known by this one, with its default.
fn known<A: clap::Args>(name: &str) -> Option<(String, Option<String>)> {
    let command = A::augment_args(clap::Command::new(""));
    let found = command.get_arguments().find(|argument| {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        argument.get_long() == Some(name) || aliases.contains(&name)
    })?;
    let default = found.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    Some((found.get_long()?.to_owned(), default))
}

/// What a controller is told, and whether we can be told the same.
fn settings(controller: &Controller) -> Vec<Line> {
    let mut lines = vec![Line::Good(format!("{} in namespace {:?}", controller.name, controller.namespace))];
    let unknown = controller.arguments.iter().filter(|argument| {
        let (name, value) = flag(argument);
        !OF_NO_MATTER.contains(&name) && known::<Run>(name).is_none() && !matches!(value, Some("" | "false"))
    });
    lines.extend(unknown.map(|argument| Line::Bad(format!("{}: slipway has nothing for {argument}", controller.name))));
    lines
}

/// What `slipway install` has to be told to say the same: its own flags, then those that it hands on.
fn translated(found: &[Controller]) -> Vec<String> {
    let (mut own, mut more) = (Vec::new(), Vec::new());
    for (name, value) in found.iter().flat_map(|controller| &controller.arguments).map(|argument| flag(argument)) {
        let Some((ours, default)) = known::<Run>(name).filter(|_| !OF_NO_MATTER.contains(&name)) else { continue };
        let is_default = match value {
            Some("" | "false") => default.is_none(),
            Some(value) => default.as_deref() == Some(value),
            None => false,
        };
        if is_default {
            continue;
        }
        let argument = value.map_or_else(|| format!("--{ours}"), |value| format!("--{ours}={value}"));
        let list = if known::<Install>(&ours).is_some() { &mut own } else { &mut more };
        if !list.contains(&argument) {
            list.push(argument);
        }
    }
    if !more.is_empty() {
        own.push("--".to_owned());
        own.extend(more);
    }
    own
}

/// Our definitions of the kinds that these controllers work on.
fn wanted(found: &[Controller]) -> Vec<Value> {
    let groups: Vec<&str> =
        found.iter().flat_map(|controller| crate::deploy::groups(controller.stage)).copied().collect();
    let mut definitions = crd::definitions();
    definitions.retain(|definition| groups.iter().any(|group| definition["spec"]["group"] == *group));
    definitions
}

/// Whether the definitions may be replaced: every version that objects are stored in must stay.
async fn definitions(store: &Store, found: &[Controller]) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for ours in wanted(found) {
        let Some(id) = ObjectReference::of(&ours) else { continue };
        let Some(theirs) = store.find(&id).await? else {
            lines.push(Line::Note(format!("{} would be added", id.name)));
            continue;
        };
        let served = |definition: &Value, name: &Value| {
            definition["spec"]["versions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|version| version["name"] == *name))
        };
        let stored = theirs.pointer("/status/storedVersions").and_then(Value::as_array);
        let lost: Vec<&str> =
            stored.into_iter().flatten().filter(|version| !served(&ours, version)).filter_map(Value::as_str).collect();
        lines.push(match lost.as_slice() {
            [] => Line::Good(format!("{}: every stored version stays", id.name)),
            lost => Line::Bad(format!(
                "{}: objects are stored as {}, which slipway does not serve",
                id.name,
                lost.join(", ")
            )),
        });
    }
    Ok(lines)
}

async fn objects(store: &Store, found: &[Controller]) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for definition in wanted(found) {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let kind = ObjectReference {
            api_version: format!("{}/{}", text("/spec/group"), text("/spec/versions/0/name")),
            kind: text("/spec/names/kind").to_owned(),
            ..Default::default()
        };
        let all = match store.list_values(&kind, None).await {
            Err(Error::UnknownKind { .. }) => continue,
            all => all?,
        };
        let changes: Vec<Line> = all.iter().flat_map(changes).collect();
        if changes.is_empty() && !all.is_empty() {
            lines.push(Line::Good(format!("{} of {}: nothing changes", all.len(), text("/spec/names/plural"))));
        }
        lines.extend(changes);
    }
    Ok(lines)
}

/// What would change for one object.
fn changes(object: &Value) -> Vec<Line> {
    let Some(id) = ObjectReference::of(object) else { return Vec::new() };
    crd::problems(object).into_iter().map(|problem| Line::Bad(format!("{id}: {problem}"))).collect()
}

fn summary(lines: &[Line], found: &[Controller]) -> Line {
    let mut stages: Vec<Stage> = found.iter().map(|controller| controller.stage).collect();
    stages.sort_unstable();
    stages.dedup();
    let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
    let namespace = found.first().map_or("", |controller| controller.namespace.as_str());
    let arguments = translated(found).join(" ");
    let command = format!("slipway install -n {namespace} --controllers {} {arguments}", stages.join(","));
    match lines.iter().filter(|line| matches!(line, Line::Bad(_))).count() {
        0 => Line::Good(format!("nothing would change. Take over with: {}", command.trim_end())),
        count => {
            Line::Bad(format!("{count} things would change, as said above. Take over with: {}", command.trim_end()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, image: &str, arguments: &[&str]) -> Value {
        json!({"metadata": {"name": name, "namespace": "flux-system"}, "spec": {"replicas": 1, "template": {"spec": {
            "containers": [{"image": image, "args": arguments}]}}}})
    }

    #[test]
    fn controllers_are_known_by_their_image() {
        let arguments = ["-mesh-provider=nginx", "-made-up=bot", "-selector-labels=app", "-log-level=debug"];
        let flagger = deployment("mesh-flagger", "ghcr.io/fluxcd/flagger:1.44.0", &arguments);
        let other = deployment("web", "nginx:1", &[]);
        let found = controllers(&[flagger, other]);
        assert_eq!(
            found.iter().map(|one| (one.name.as_str(), one.stage)).collect::<Vec<_>>(),
            [("mesh-flagger", Stage::Canary)]
        );
        assert_eq!(translated(&found), ["--mesh-provider=nginx", "--", "--selector-labels=app"]);
        let told = settings(&found[0]);
        assert!(matches!(&told[1], Line::Bad(text) if text.ends_with("nothing for -made-up=bot")));
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn what_is_the_default_here_too_need_not_be_said() {
        let arguments =
            ["--watch-all-namespaces=true", "--concurrent=10", "--no-cross-namespace-refs", "--kubeconfig-qps=100"];
        let image = "ghcr.io/fluxcd/image-reflector-controller:v1.2.0";
        let found = controllers(&[deployment("image-reflector-controller", image, &arguments)]);
        assert_eq!(translated(&found), ["--no-cross-namespace-refs", "--", "--concurrent=10", "--kube-api-qps=100"]);
        let flags = ["-namespace=apps", "-no-cross-namespace-refs=false"];
        let found = controllers(&[deployment("flagger", "flagger:1", &flags)]);
        assert_eq!(translated(&found), ["--watch-namespace=apps"]);
    }

    #[test]
    fn an_object_that_the_new_definitions_refuse_is_told() {
        let canary = |interval: &str| {
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "service": {"port": 80},
                "analysis": {"interval": interval, "threshold": 5, "stepWeight": 10}}, "status": {"phase": "Progressing"}})
        };
        assert!(changes(&canary("1m")).is_empty());
        assert_eq!(changes(&canary("an hour")).len(), 1);
    }
}
