//! The image flow on a cluster: a real registry, a real Git server, and the API server between.

use std::path::Path;

use serde_json::{Value, json};

use super::{manifests, world::World};
use crate::{
    demo::{
        ci::{self, Clone, Program, Release},
        git_server::GitServer,
        parts::{self, Part},
    },
    support::SLIPWAY,
};

/// API version of the kinds of the image flow.
pub const IMAGE: &str = "image.toolkit.fluxcd.io/v1";

/// A registry with 1.0.0 and a repository that deploys it.
pub struct Supply {
    registry: std::net::SocketAddr,
    program: Program,
    folder: std::path::PathBuf,
    _parts: (Part, GitServer),
}

impl Supply {
    /// Starts both, and applies the manifests of the image flow to the world.
    pub async fn start(world: &World) -> Self {
        let folder = world.folder.path().to_owned();
        let (mut part, registry) = parts::registry(Path::new(SLIPWAY), &folder).expect("a registry");
        let git = GitServer::start(&folder.join("git"), None).await.expect("a Git server");
        let url = git.create_repository("app").expect("a repository");
        parts::listening(&mut part, registry).await.expect("the registry listens");
        let program = Program::script(Path::new(SLIPWAY));
        let supply = Self { registry, program, folder, _parts: (part, git) };
        supply.push("1.0.0").await;
        let text = format!("image: {registry}/demo/app:1.0.0 # {{\"$imagepolicy\": \"{}:app\"}}\n", world.namespace);
        let (clone, remote) = (supply.clone_folder(), url.clone());
        let create = move || Clone { folder: &clone }.create(&remote, &[("deploy/app.yaml".to_owned(), text)]);
        tokio::task::spawn_blocking(create).await.expect("git runs").expect("the repository is filled");
        for object in flow(&supply.image(), &url) {
            world.apply(object).await;
        }
        supply
    }

    /// Pushes a version, as CI would.
    pub async fn push(&self, version: &'static str) {
        let release = Release { version, fail_percent: 0 };
        ci::push_image(self.registry, release, &self.program).await.expect("the image is pushed");
    }

    fn clone_folder(&self) -> std::path::PathBuf {
        self.folder.join("clone")
    }

    /// The image, without a tag.
    pub fn image(&self) -> String {
        format!("{}/demo/app", self.registry)
    }

    /// Hash of the newest commit.
    pub async fn head(&self) -> String {
        self.log().await;
        let clone = self.clone_folder();
        let head = tokio::task::spawn_blocking(move || Clone { folder: &clone }.git(&["rev-parse", "FETCH_HEAD"]));
        head.await.expect("git runs").expect("a hash").trim().to_owned()
    }

    /// Subjects of the commits, newest first.
    pub async fn log(&self) -> Vec<String> {
        let clone = self.clone_folder();
        let log = tokio::task::spawn_blocking(move || Clone { folder: &clone }.log());
        log.await.expect("git runs").expect("a log")
    }

    /// Waits until the newest commit names this version.
    pub async fn committed(&self, world: &World, version: &str) {
        world
            .until(&format!("a commit for {version}"), async || {
                self.log().await.first().is_some_and(|subject| subject.contains(version)).then_some(())
            })
            .await;
    }
}

fn flow(image: &str, url: &str) -> Vec<Value> {
    manifests::parse(&format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1m, url: {url:?}, ref: {{branch: main}}}}
---
apiVersion: {IMAGE}
kind: ImageRepository
metadata: {{name: app}}
spec: {{image: {image:?}, interval: 1s, insecure: true}}
---
apiVersion: {IMAGE}
kind: ImagePolicy
metadata: {{name: app}}
spec: {{imageRepositoryRef: {{name: app}}, policy: {{semver: {{range: '>=1.0.0'}}}}}}
---
apiVersion: {IMAGE}
kind: ImageUpdateAutomation
metadata: {{name: app}}
spec:
  interval: 1m
  sourceRef: {{kind: GitRepository, name: app}}
  git:
    commit:
      author: {{name: slipway, email: slipway@example.com}}
      messageTemplate: 'Update to {{{{ range .Changed.Changes }}}}{{{{ .NewValue }}}}{{{{ end }}}}'
    push: {{branch: main}}
  update: {{path: ./deploy, strategy: Setters}}
"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_becomes_one_commit() {
    let mut world = World::new("image").await;
    let supply = Supply::start(&world).await;
    world.start("image", &[]);
    world.told("Latest image tag for").await;
    supply.push("1.1.0").await;
    supply.committed(&world, "1.1.0").await;
    let ready = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    for kind in ["ImageRepository", "ImagePolicy", "ImageUpdateAutomation"] {
        let object = world
            .until(&format!("{kind} to be ready"), async || world.find(IMAGE, kind, "app").await.filter(ready))
            .await;
        let finalizer = (kind != "ImagePolicy").then(|| json!(["finalizers.fluxcd.io"]));
        assert_eq!(object["metadata"].get("finalizers"), finalizer.as_ref(), "{kind}");
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"], "{kind}");
    }
    let policy = world.get(IMAGE, "ImagePolicy", "app").await;
    assert_eq!(policy["status"]["latestRef"]["tag"], "1.1.0");
    // Deleted objects leave: their finalizers are taken off, also one that Flux put on.
    let fluxs = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    world.store.patch(&world.id(IMAGE, "ImagePolicy", "app"), "flux", &fluxs).await.expect("patched");
    for kind in ["ImageUpdateAutomation", "ImagePolicy", "ImageRepository"] {
        let id = world.id(IMAGE, kind, "app");
        assert!(world.store.delete(&id).await.expect("deleted"));
        world.until("it to be gone", async || world.store.find(&id).await.ok()?.is_none().then_some(())).await;
    }
    assert_eq!(supply.log().await.len(), 2, "one commit for one image");
}
