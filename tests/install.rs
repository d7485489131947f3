//! What is installed into a cluster: `deploy/` is what `slipway install --export` prints, and the Helm chart says the same.
//! `SLIPWAY_UPDATE=1 cargo test -p slipway --test all install` writes the generated files anew.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use template::{Functions, Options, Template};

use crate::support::{SLIPWAY, slipway};

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn documents(text: &str) -> Vec<Value> {
    api::manifest::documents(text).into_iter().map(|document| document.expect("good YAML").object).collect()
}

fn exported(flags: &[&str]) -> Vec<Value> {
    let run = slipway(&[&["install", "--export"], flags].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    documents(&run.stdout)
}

/// The file holds this text, or is made to where an update is asked for.
fn holds(path: &str, text: &str) {
    let file = deploy(path);
    if std::env::var_os("SLIPWAY_UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
        fs::write(&file, text).expect("the file is written");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{} is stale: SLIPWAY_UPDATE=1 cargo test -p slipway --test all install", file.display());
}

#[test]
fn crds_are_current() {
    let definitions = slipway(&["install", "--export"]).stdout;
    let mut names = Vec::new();
    for document in definitions.split("---\n").filter(|text| text.contains("kind: CustomResourceDefinition")) {
        let name = api::manifest::parse(document).expect("good YAML")["metadata"]["name"].clone();
        let name = format!("{}.yaml", name.as_str().expect("a name"));
        holds(&format!("crds/{name}"), &format!("# Generated: see tests/install.rs.\n{document}"));
        names.push(name);
    }
    assert_eq!(names.len(), 11);
    let list: String = names.iter().map(|name| format!("- {name}\n")).collect();
    let head = "# Generated: see tests/install.rs.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n";
    holds("crds/kustomization.yaml", &format!("{head}{list}"));
    let stored = |folder: &str| fs::read_dir(deploy(folder)).expect("the folder is there").count();
    assert_eq!(stored("crds"), names.len() + 1, "deploy/crds holds a file of a kind that is gone");
    // Links, as a chart has its own folder for them.
    assert_eq!(stored("helm/slipway/crds"), names.len());
    assert!(names.iter().all(|name| deploy("helm/slipway/crds").join(name).exists()));
}

#[test]
fn the_kustomize_base_is_current() {
    let text = slipway(&["install", "--export", "--crds=false"]).stdout;
    holds("kustomize/slipway.yaml", &format!("# Generated: see tests/install.rs.\n{text}"));
}

/// The rules of the role by which slipway works.
fn rules(flags: &[&str]) -> Vec<Value> {
    let objects = exported(&[&["--crds=false"], flags].concat());
    let is_it = |object: &&Value| {
        object["metadata"]["name"] == "slipway" && object["kind"].as_str().is_some_and(|kind| kind.ends_with("Role"))
    };
    let role = objects.iter().find(is_it).expect("there is a role");
    role["rules"].as_array().cloned().unwrap_or_default()
}

/// The lines of a chart that give these rules, each under the conditions that the exports tell.
fn lines(flags: &[&str], skip: usize) -> String {
    let with = |flag: &str| rules(&[flags, &[flag]].concat());
    let (all, untracked, narrow) = (rules(flags), with("--config-tracking=false"), with("--watch-namespace=x"));
    let mut text = String::new();
    for (rule, other) in all.iter().zip(&untracked).skip(skip) {
        let line = |rule: &Value| format!("- {rule}\n");
        text.push_str(&match (rule == other, narrow.contains(rule)) {
            (true, true) => line(rule),
            (true, false) => format!("{{{{- if not .Values.namespace }}}}\n{}{{{{- end }}}}\n", line(rule)),
            (false, _) => {
                let (on, off) = (line(rule), line(other));
                format!("{{{{- if .Values.configTracking.enabled }}}}\n{on}{{{{- else }}}}\n{off}{{{{- end }}}}\n")
            }
        });
    }
    text
}

#[test]
fn the_charts_rights_are_current() {
    let mut text = String::new();
    let common = rules(&["--controllers=delivery"]);
    text.push_str(&format!("- {}\n", common[0]));
    for stage in ["image", "notification", "delivery", "canary"] {
        let rules = lines(&[&format!("--controllers={stage}"), "--routers=kubernetes"], 1);
        text.push_str(&format!("{{{{- if has {stage:?} .Values.controllers }}}}\n{rules}"));
        if stage == "canary" {
            let skip = self::rules(&["--controllers=canary", "--routers=kubernetes"]).len();
            for router in [
                "gatewayapi",
                "istio",
                "nginx",
                "contour",
                "traefik",
                "apisix",
                "gloo",
                "skipper",
                "knative",
                "kuma",
                "smi",
                "keda",
            ] {
                let rules = lines(&["--controllers=canary", &format!("--routers={router}")], skip);
                text.push_str(&format!("{{{{- if has {router:?} .Values.routers }}}}\n{rules}{{{{- end }}}}\n"));
            }
        }
        text.push_str("{{- end }}\n");
    }
    let frame = fs::read_to_string(deploy("helm/rbac.yaml.in")).expect("the frame is there");
    let head = "{{- /* Generated: see tests/install.rs. */}}\n";
    holds("helm/slipway/templates/rbac.yaml", &format!("{head}{}", frame.replace("@rules@\n", &text)));
}

/// Values of Flagger's chart that mean nothing in ours, unless they ask for something.
const MEANINGLESS: [&str; 6] =
    ["crd", "prometheus", "linkerdAuthPolicy", "controlplane", "nameOverride", "fullnameOverride"];

/// The schema that takes nothing else than what is given.
fn fixed(value: &Value) -> Value {
    let Value::Object(fields) = value else { return json!({"const": value}) };
    let properties: serde_json::Map<_, _> = fields.iter().map(|(name, value)| (name.clone(), fixed(value))).collect();
    json!({"type": "object", "properties": properties})
}

/// A value that the chart does not know is refused in place of doing nothing.
#[test]
fn the_charts_values_are_known() {
    let values = fs::read_to_string(deploy("helm/slipway/values.yaml")).expect("the values");
    let values = api::manifest::parse(&values).expect("good YAML");
    // Parents of a chart may give it `global`.
    let mut known = json!({"global": {"type": "object"}});
    for (name, value) in values.as_object().expect("an object") {
        known[name] = match value {
            _ if MEANINGLESS.contains(&name.as_str()) => fixed(value),
            Value::Object(_) => json!({"type": "object"}),
            Value::Array(_) => json!({"type": "array"}),
            Value::Bool(_) => json!({"type": "boolean"}),
            _ => json!({"type": ["string", "number"]}),
        };
    }
    let schema = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": known,
        "additionalProperties": false});
    let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
    holds("helm/slipway/values.schema.json", &text);
}

/// Objects by kind and name.
fn named(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let name = |object: &Value| format!("{}/{}", object["kind"], object["metadata"]["name"]);
    objects.into_iter().map(|object| (name(&object), object)).collect()
}

/// Puts values over others, as Helm does.
fn merge(value: &mut Value, change: &Value) {
    match change {
        Value::Object(fields) if value.is_object() => {
            fields.iter().for_each(|(name, change)| merge(&mut value[name], change));
        }
        _ => *value = change.clone(),
    }
}

/// The chart's objects with these values over its own.
fn chart(changes: Value) -> BTreeMap<String, Value> {
    let read = |path: &str| fs::read_to_string(deploy("helm/slipway").join(path)).expect("the chart has the file");
    let mut values = api::manifest::parse(&read("values.yaml")).expect("good YAML");
    for (key, value) in changes.as_object().expect("an object") {
        merge(&mut values[key], value);
    }
    let about = api::manifest::parse(&read("Chart.yaml")).expect("good YAML");
    let dot = json!({"Values": values, "Release": {"Namespace": "slipway-system"}, "Chart": {"AppVersion": about["appVersion"]}});
    let mut objects = Vec::new();
    for entry in fs::read_dir(deploy("helm/slipway/templates")).expect("templates").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a template");
        let name = entry.file_name().to_string_lossy().into_owned();
        let template =
            Template::parse(&name, &text, Functions::sprig()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rendered = template.render(&(&dot).into(), &Options::default());
        objects.extend(documents(&rendered.unwrap_or_else(|error| panic!("{name}: {error}"))));
    }
    named(objects)
}

/// The exported objects, without those that Helm makes itself.
fn like_chart(flags: &[&str]) -> BTreeMap<String, Value> {
    let mut objects = exported(&[&["--crds=false"], flags].concat());
    objects.retain(|object| object["kind"] != "Namespace");
    named(objects)
}

fn same(chart: &BTreeMap<String, Value>, exported: &BTreeMap<String, Value>) {
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(chart), names(exported));
    for (name, object) in exported {
        assert_eq!(&chart[name], object, "{name}");
    }
}

#[test]
fn the_chart_says_what_install_says() {
    same(&chart(json!({})), &like_chart(&[]));
    let changes = json!({"controllers": ["image", "canary"], "routers": ["istio", "gloo"], "meshProvider": "istio",
        "namespace": "apps", "configTracking": {"enabled": false}, "noCrossNamespaceRefs": true,
        "metricsServer": "http://prometheus.monitoring:9090", "networkPolicy": {"create": false},
        "serviceMonitor": {"enabled": true, "labels": {}}, "leaderElection": {"replicaCount": 2}});
    let flags = [
        "--controllers=image,canary",
        "--routers=istio,gloo",
        "--mesh-provider=istio",
        "--watch-namespace=apps",
        "--config-tracking=false",
        "--no-cross-namespace-refs",
        "--metrics-server=http://prometheus.monitoring:9090",
        "--network-policy=false",
        "--service-monitor",
        "--replicas=2",
    ];
    same(&chart(changes), &like_chart(&flags));
}

/// The arguments of the container, without `run`.
fn arguments(deployment: &Value) -> Vec<String> {
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
    arguments.iter().skip(1).map(|one| one.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn flaggers_values_become_flags_that_slipway_knows() {
    let rendered = chart(json!({
        "logLevel": "warning", "metricsServer": "http://prometheus:9090", "meshProvider": "nginx", "clusterName": "east",
        "eventWebhook": "http://events", "selectorLabels": "app,name", "includeLabelPrefix": "app.", "kubeconfigQPS": 100,
        "kubeconfigBurst": 250, "ingressClass": "contour", "ingressAnnotationsPrefix": "nginx.example.com",
        "slack": {"user": "flagger", "channel": "#releases", "url": "https://hooks", "proxyUrl": "http://proxy"},
        "msteams": {"url": "https://teams", "proxyUrl": "http://proxy"},
        "serviceAccount": {"create": true, "name": "flagger", "annotations": {}}, "podPriorityClassName": "high",
        "image": {"repository": "example.com/slipway", "tag": "v1", "pullPolicy": "Always", "pullSecret": "pull"},
    }));
    let deployment = &rendered[r#""Deployment"/"slipway""#];
    let given = arguments(deployment);
    let flags: Vec<&str> = given.iter().map(String::as_str).collect();
    assert_eq!(flags.len(), 4 + 1 + 16, "{flags:?}");
    let understood = slipway(&[&["install", "--export", "--crds=false", "--"], flags.as_slice()].concat());
    assert_eq!((understood.code, understood.stderr.as_str()), (0, ""));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!((&pod["serviceAccountName"], &pod["priorityClassName"]), (&json!("flagger"), &json!("high")));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(rendered[r#""ClusterRoleBinding"/"slipway""#]["subjects"][0]["name"], "flagger");
}

/// What follows a word at the beginning of the Dockerfile's lines.
fn instructions<'a>(dockerfile: &'a str, word: &str) -> Vec<&'a str> {
    dockerfile.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

#[test]
fn the_image_runs_as_the_pod_does() {
    let dockerfile = fs::read_to_string(deploy("Dockerfile")).expect("the Dockerfile");
    let instruction = |word: &str| instructions(&dockerfile, word).pop().unwrap_or_else(|| panic!("no {word}"));
    let list = |word: &str| serde_json::from_str::<Vec<String>>(instruction(word)).expect("a list");
    let objects = named(exported(&["--crds=false"]));
    let deployment = &objects[r#""Deployment"/"slipway""#];
    let pod = &deployment["spec"]["template"]["spec"];
    let each = |field: &str, part: &str| -> Vec<Value> {
        pod["containers"][0][field].as_array().expect("a list").iter().map(|one| one[part].clone()).collect()
    };
    let user = &pod["securityContext"];
    assert_eq!(instruction("USER"), format!("{}:{}", user["runAsUser"], user["runAsGroup"]));
    let ports: Vec<_> = each("ports", "containerPort").iter().map(Value::to_string).collect();
    assert_eq!(instruction("EXPOSE"), ports.join(" "));
    assert_eq!(json!(list("VOLUME")), json!(each("volumeMounts", "mountPath")));
    let (command, given) = (list("CMD"), arguments(deployment));
    assert_eq!(command[0], "run");
    assert!(command[1..].iter().all(|argument| given.contains(argument)), "{command:?} {given:?}");

    assert_eq!(list("ENTRYPOINT"), ["/usr/local/bin/slipway"]);
    // Nothing else is in it than what the build lays out.
    assert_eq!(instructions(&dockerfile, "FROM")[1..], ["scratch"]);
    assert!(instructions(&dockerfile, "COPY")[1..].iter().all(|copy| copy.starts_with("--from=build ")));
    let builder = instructions(&dockerfile, "FROM")[0].to_owned();
    let least = fs::read_to_string(deploy("../Cargo.toml")).expect("the manifest");
    let least =
        least.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version").trim_matches('"');
    assert!(builder.starts_with(&format!("rust:{least}-")), "{builder} builds what needs Rust {least}");
}

/// Files below a folder, as paths in it.
fn files(folder: &Path, below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(below)).expect("a folder").flatten() {
        let path = below.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => found.extend(files(folder, &path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn the_image_holds_what_its_programs_load_and_no_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let laid = Command::new(deploy("rootfs.sh")).arg(SLIPWAY).arg(root).output().expect("deploy/rootfs.sh runs");
    assert!(laid.status.success(), "{}", String::from_utf8_lossy(&laid.stderr));
    let held = files(root, Path::new(""));
    let is_program = |path: &&PathBuf| {
        let mode = fs::metadata(root.join(path)).expect("a file").permissions().mode();
        mode & 0o111 != 0 && !path.to_string_lossy().contains(".so")
    };
    let mut programs: Vec<_> = held.iter().filter(is_program).map(|path| path.display().to_string()).collect();
    programs.sort();
    assert_eq!(programs, ["usr/bin/ssh", "usr/local/bin/slipway"]);
    let is_loader =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux"));
    let loader = held.iter().find(is_loader).expect("the loader");
    let libc = held.iter().find(|path| path.ends_with("libc.so.6")).expect("the C library");
    let load = |more: &[&str]| {
        let mut command = Command::new(root.join(loader));
        command.arg("--inhibit-cache").arg("--library-path").arg(root.join(libc).parent().expect("a folder"));
        let run = command.args(more).output().expect("the loader runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).expect("text")
    };
    for program in &programs {
        let program = root.join(program).display().to_string();
        let loaded = load(&["--list", &program]);
        let mut paths = loaded.lines().filter_map(|line| line.split_once(" => "));
        assert!(paths.all(|(_, path)| Path::new(path).starts_with(root)), "{loaded}");
    }
    assert!(load(&[&root.join(&programs[1]).display().to_string(), "--version"]).starts_with("slipway "));
    let held: Vec<_> = held.iter().map(|path| path.display().to_string()).collect();
    for needed in ["etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo/Europe/Berlin"] {
        assert!(held.iter().any(|path| path == needed), "{needed}");
    }
}

#[test]
fn the_pod_passes_the_restricted_standard() {
    let objects = named(exported(&["--crds=false"]));
    let pod = &objects[r#""Deployment"/"slipway""#]["spec"]["template"]["spec"];
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    assert!(pod["volumes"].as_array().expect("volumes").iter().all(|volume| volume.get("emptyDir").is_some()));
}

#[test]
fn what_the_schema_refuses_is_found_before_a_server_sees_it() {
    let canary = |analysis: &str| {
        format!(
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: a}}\nspec:\n  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: a}}\n  \
             service: {{port: 80}}\n  analysis: {analysis}\n"
        )
    };
    for (analysis, code, found) in [
        ("{interval: 1m, threshold: 5, stepWeight: 10}", 0, ""),
        ("{interval: 1h, threshold: 5, stepWeight: 10}", 1, "does not match ^[0-9]+(m|s)"),
        ("{interval: 1m, threshold: 5, stepWeight: 10, iterations: 2}", 1, "exactly one of"),
        ("{interval: 1m, threshold: 5, iterations: 2, match: [{uri: {exact: /}}]}", 0, "the API server drops it"),
    ] {
        let run = crate::support::slipway_with(&["check", "-", "-o", "json"], &canary(analysis));
        assert_eq!(run.code, code, "{analysis}: {}", run.stdout);
        assert!(run.stdout.contains(found), "{analysis}: {}", run.stdout);
    }
}

#[test]
fn a_cluster_that_cannot_be_reached_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
                clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n";
    fs::write(&file, text).expect("the file is written");
    let file = file.display().to_string();
    for verb in [
        ["check", "--pre"].as_slice(),
        &["check", "--takeover"],
        &["install"],
        &["uninstall", "--yes"],
        &["get", "canary"],
    ] {
        let run = slipway(&[verb, &["--kubeconfig", &file]].concat());
        assert_eq!(run.code, 3, "{verb:?}: {}", run.stderr);
    }
    let run = slipway(&["check", "--pre", "--kubeconfig", "/no/such/file"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
}

#[test]
fn what_no_cluster_or_pod_would_take_is_refused_before_anything_is_printed() {
    for (flags, told) in [
        (["--namespace", "Bad_NS"].as_slice(), "lower case letters"),
        (&["--watch-namespace=-a"], "lower case letters"),
        (&["--image", "no image"], "no image"),
        (&["--metrics-server", "prometheus"], "--metrics-server prometheus: an http or https URL is expected"),
        (&["--controllers", "local"], "works standalone only"),
        (&["--", "--events-addr", "here"], "--events-addr here: an http or https URL is expected"),
        (&["--", "--no-such-flag"], "slipway run: unexpected argument '--no-such-flag'"),
    ] {
        let run = slipway(&[&["install", "--export"], flags].concat());
        assert!((run.code, run.stdout.as_str()) == (2, "") && run.stderr.contains(told), "{flags:?}: {}", run.stderr);
    }
}

#[test]
fn shells_can_complete_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let run = slipway(&["completion", shell]);
        assert!(run.code == 0 && run.stdout.contains("reconcile") && run.stdout.contains("takeover"), "{shell}");
    }
}
