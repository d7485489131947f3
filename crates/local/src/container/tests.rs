//! Manifests and what becomes of them.

use serde_json::{Value, json};

use super::*;

fn container(fields: Value) -> Container {
    let mut object = json!({"name": "app", "image": "a:1"});
    for (key, value) in fields.as_object().unwrap() {
        object[key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn identity() -> Identity {
    Identity {
        name: "app-1".into(),
        namespace: "test".into(),
        address: Ipv4Addr::new(127, 64, 0, 1),
        labels: Labels::from([("app".into(), "x".into())]),
        annotations: Labels::new(),
    }
}

fn data() -> Data {
    let values = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Data::from([
        (Source::ConfigMap("config".into()), values("colour", "blue")),
        (Source::Secret("login".into()), values("password", "p")),
    ])
}

fn read(fields: Value) -> Result<BTreeMap<String, String>, Problem> {
    let process = Process { env: vec!["A=image".into(), "PATH=/bin".into()], ..Process::default() };
    environment(&container(fields), &process, &identity(), &data())
}

#[test]
fn the_environment_is_built_in_order() {
    let variables = read(json!({
        "envFrom": [{"configMapRef": {"name": "config"}}, {"prefix": "P_", "secretRef": {"name": "login"}},
            {"configMapRef": {"name": "none", "optional": true}}],
        "env": [
            {"name": "B", "value": "$(A)-$(colour)-$$(A)-$(NONE)-$"},
            {"name": "C", "value": "$(B)"},
            {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "colour"}}},
            {"name": "E", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            {"name": "F", "valueFrom": {"secretKeyRef": {"name": "login", "key": "none", "optional": true}}},
            {"name": "G", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "H", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
        ]
    }))
    .unwrap();
    for (name, value) in [
        ("A", "image"),
        ("B", "image-blue-$(A)-$(NONE)-$"),
        ("C", "image-blue-$(A)-$(NONE)-$"),
        ("D", "blue"),
        ("E", "p"),
        ("G", "127.64.0.1"),
        ("H", "x"),
        ("I", "test"),
        ("P_password", "p"),
        ("PATH", "/bin"),
        ("HOSTNAME", "app-1"),
        ("POD_IP", "127.64.0.1"),
    ] {
        assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!variables.contains_key("F"));
}

#[test]
fn what_is_missing_is_told_by_name() {
    for (fields, expected) in [
        (json!({"envFrom": [{"secretRef": {"name": "none"}}]}), "container app: Secret none not found"),
        (
            json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "size"}}}]}),
            "container app: env X: ConfigMap config has no key size",
        ),
        (
            json!({"env": [{"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}),
            "container app: env X: resourceFieldRef is not supported",
        ),
    ] {
        assert_eq!(read(fields).unwrap_err(), ("CreateContainerConfigError", expected.to_owned()));
    }
}

#[test]
fn command_and_args_replace_entrypoint_and_cmd() {
    let process = Process { entrypoint: vec!["/e".into()], cmd: vec!["c".into()], ..Process::default() };
    for (fields, expected) in [
        (json!({}), Some("/e c")),
        (json!({"args": ["a"]}), Some("/e a")),
        (json!({"command": ["/x"]}), Some("/x")),
        (json!({"command": ["/x"], "args": ["$(A)"]}), Some("/x 1")),
    ] {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let words = command(&container(fields.clone()), &process, &variables).ok().map(|words| words.join(" "));
        assert_eq!(words.as_deref(), expected, "{fields}");
    }
    assert!(command(&container(json!({})), &Process::default(), &BTreeMap::new()).is_err());
}

#[test]
fn what_cannot_be_had_is_named_by_its_field() {
    for (spec, expected) in [
        (json!({"containers": [{"name": "a"}]}), None),
        (json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}), None),
        (json!({"containers": []}), Some("spec.template.spec.containers: at least one container is needed")),
        (
            json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]}),
            Some("spec.template.spec.volumes[1].configMap"),
        ),
        (
            json!({"containers": [{"name": "a"}], "initContainers": [{"name": "b"}]}),
            Some("spec.template.spec.initContainers"),
        ),
        (
            json!({"containers": [{"name": "a", "readinessProbe": {"exec": {"command": ["x"]}}}]}),
            Some("spec.template.spec.containers[0].readinessProbe.exec"),
        ),
    ] {
        let parsed: PodSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(unsupported(&parsed).as_deref(), expected, "{spec}");
    }
}

#[test]
fn probes_have_kubernetes_defaults_and_find_ports_by_name() {
    let ports = BTreeMap::from([("http".to_owned(), 8080)]);
    let probe = |value| Probing::of(&serde_json::from_value(value).unwrap(), &ports);
    let probing = probe(json!({"httpGet": {"path": "/healthz", "port": "http"}})).unwrap();
    assert_eq!(probing.check, Check::Http { port: 8080, path: "/healthz".into(), headers: vec![] });
    assert_eq!((probing.period.as_secs(), probing.timeout.as_secs(), probing.initial_delay.as_secs()), (10, 1, 0));
    assert_eq!((probing.success_threshold, probing.failure_threshold), (1, 3));
    assert_eq!(probe(json!({"tcpSocket": {"port": 9}})).unwrap().check, Check::Tcp { port: 9 });
    assert_eq!(probe(json!({"tcpSocket": {"port": "none"}})), None);
}

proptest::proptest! {
    #[test]
    fn expansion_never_panics(text in "[$()A-B é]{0,20}") {
        let variables = BTreeMap::from([("A".to_owned(), "$(A)".to_owned())]);
        let _ = expand(&text, &variables);
    }
}
