//! The test control plane, and what is installed into it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kube::{
    Client,
    api::{DynamicObject, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use reconcile::clock;
use serde_json::Value;

use super::manifests;

/// How long the control plane may take to start. It takes 3 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running control plane. It ends when its standard input closes: with this value, or with this process.
pub struct ControlPlane {
    child: Child,
    folder: PathBuf,
}

impl ControlPlane {
    /// Starts one in a folder; with `keep` over the objects that an earlier one left there, at the same address.
    pub async fn start(folder: &Path, keep: Option<u16>) -> Self {
        let mut command = Command::new(program());
        command.arg("--dir").arg(folder).arg("--until-eof").args(["--etcd-delay", "100ms"]);
        if let Some(port) = keep {
            command.args(["--keep", "--port", &port.to_string()]);
        }
        let log = fs::File::create(folder.join("kubetest.log")).expect("a log");
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a log")).stderr(log);
        let _ = fs::remove_file(folder.join("ready"));
        let child = command.spawn().expect("the control plane starts");
        let mut plane = Self { child, folder: folder.to_owned() };
        let start = clock::instant();
        while !folder.join("ready").exists() {
            let ended = plane.child.try_wait().expect("a child");
            let log = || fs::read_to_string(folder.join("kubetest.log")).unwrap_or_default();
            assert!(ended.is_none(), "the control plane ended: {}", log());
            assert!(start.elapsed() < PATIENCE, "the control plane is not ready: {}", log());
            clock::sleep(Duration::from_millis(20)).await;
        }
        plane
    }

    /// What reaches it as its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The port of its API server.
    pub fn port(&self) -> u16 {
        let read = Kubeconfig::read_from(self.kubeconfig()).expect("a kubeconfig");
        let server = read.clusters[0].cluster.as_ref().and_then(|cluster| cluster.server.clone()).expect("a server");
        server.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Makes its etcd take a tenth of a second longer for everything.
    pub fn slow_down(&self) {
        let sent = Command::new("kill").args(["-USR1", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, built first if this machine never did.
pub fn program() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube/build.sh");
    let built = Command::new(script).stderr(Stdio::inherit()).output().expect("tests/kube/build.sh runs");
    assert!(built.status.success(), "the test cluster cannot be built; see tests/kube/build.sh");
    String::from_utf8_lossy(&built.stdout).trim().to_owned()
}

/// Gateway API's resource definitions, which come beside the program.
fn gateway_definitions() -> Vec<Value> {
    let folder = Path::new(&program()).parent().expect("a folder").join("crds");
    let names = ["gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants"];
    let read = |name: &str| {
        let file = folder.join(format!("gateway.networking.k8s.io_{name}.yaml"));
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        manifests::parse(&text).remove(0)
    };
    names.into_iter().map(read).collect()
}

/// Flagger's resource definitions as it publishes them, which come beside the program, too.
pub fn flaggers_definitions() -> Vec<Value> {
    let file = Path::new(&program()).parent().expect("a folder").join("crds/flagger.yaml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    manifests::parse(&text)
}

/// The values of Flagger's chart, all of them as it sets them.
pub fn flaggers_values() -> Value {
    let file = Path::new(&program()).parent().expect("a folder").join("crds/flagger-values.yaml");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    manifests::parse(&text).remove(0)
}

/// A client with the rights of this kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// Installs the resource definitions and waits until they are served.
pub async fn install(client: &Client) {
    let definitions: Vec<Value> = manifests::definitions().into_iter().chain(gateway_definitions()).collect();
    define(client, &definitions).await;
}

/// Applies resource definitions and waits until they are served.
pub async fn define(client: &Client, definitions: &[Value]) {
    let kind = kube::api::ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&());
    let api: kube::Api<DynamicObject> = kube::Api::all_with(client.clone(), &kind);
    let mut names = Vec::new();
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
        let parameters = PatchParams::apply("kubectl").force();
        api.patch(&name, &parameters, &Patch::Apply(definition)).await.expect("a definition is accepted");
        names.push(name);
    }
    for name in names {
        let start = clock::instant();
        loop {
            let found = api.get(&name).await.expect("the definition");
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True") {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{name} is not served: {conditions:?}");
            clock::sleep(Duration::from_millis(20)).await;
        }
    }
}
