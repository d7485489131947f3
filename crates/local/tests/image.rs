//! Images from a real registry to a folder.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "support/registry.rs"]
mod registry;

use bytes::Bytes;
use local::{
    Error,
    image::{Images, PullPolicy, Unpacked},
};
use oci::{Digest, Keychain, Name, image::File, manifest::Process};
use reconcile::Http;
use registry::Registry;

fn file(path: &str, content: &str) -> File {
    File { path: path.into(), mode: 0o755, content: Bytes::from(content.to_owned()) }
}

/// Pushes an image of two layers under a tag.
async fn push(images: &oci::Client, image: &str, tag: &str, text: &str) -> (Digest, oci::image::Packed) {
    let process = Process { entrypoint: vec!["/bin/app".into()], env: vec!["A=1".into()], ..Process::default() };
    let layers = [vec![file("bin/app", "old"), file("etc/a", "a")], vec![file("bin/app", text), file("etc/.wh.a", "")]];
    let packed = oci::image::pack(&layers, process).unwrap();
    let repository = images.repository(&Name::parse(image).unwrap(), None);
    (repository.push_image(tag, &packed).await.unwrap(), packed)
}

struct World {
    registry: Registry,
    state: tempfile::TempDir,
    image: String,
    client: oci::Client,
    images: Images,
}

fn world() -> World {
    let registry = Registry::start();
    let state = tempfile::tempdir().unwrap();
    let image = format!("{}/demo/app", registry.address);
    let http = Http::new("test");
    let images = Images::open(state.path(), &http).unwrap();
    World { registry, state, image, client: oci::Client::new(local::image::transport(&http)), images }
}

impl World {
    async fn get(&self, tag: &str, policy: PullPolicy) -> Result<Unpacked, Error> {
        self.images.get(&format!("{}{tag}", self.image), policy, &Keychain::default()).await
    }
}

fn app(unpacked: &Unpacked) -> String {
    std::fs::read_to_string(unpacked.root.join("bin/app")).unwrap()
}

#[tokio::test]
async fn an_image_is_pulled_once_and_kept_by_digest() {
    let world = world();
    let (first, _) = push(&world.client, &world.image, "1.0.0", "one").await;
    let unpacked = world.get(":1.0.0", PullPolicy::IfNotPresent).await.unwrap();
    assert_eq!((unpacked.digest.clone(), app(&unpacked).as_str()), (first.clone(), "one"));
    assert_eq!(unpacked.process.entrypoint, ["/bin/app"]);
    assert!(!unpacked.root.join("etc/a").exists(), "whiteouts are honoured");
    let (second, _) = push(&world.client, &world.image, "1.0.0", "two").await;
    assert_ne!(first, second);
    assert_eq!(world.get(":1.0.0", PullPolicy::IfNotPresent).await.unwrap().digest, first);
    assert_eq!(app(&world.get(":1.0.0", PullPolicy::Always).await.unwrap()), "two");
    assert_eq!(world.get(&format!("@{first}"), PullPolicy::Always).await.unwrap(), unpacked);
    let World { registry, state, image, .. } = world;
    drop(registry);
    let images = Images::open(state.path(), &Http::new("test")).unwrap();
    let again = images.get(&format!("{image}:1.0.0"), PullPolicy::IfNotPresent, &Keychain::default()).await.unwrap();
    assert_eq!(again.digest, second, "a restart needs no registry");
}

#[tokio::test]
async fn a_layer_that_was_tampered_with_is_refused_and_leaves_nothing() {
    let world = world();
    let (_, packed) = push(&world.client, &world.image, "1.0.0", "one").await;
    let blob = world.registry.blob(&Digest::of(&packed.layers[1]));
    let mut content = std::fs::read(&blob).unwrap();
    let last = content.len() - 9;
    content[last] ^= 1;
    std::fs::write(&blob, content).unwrap();
    let error = world.get(":1.0.0", PullPolicy::Always).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImagePull", "{error}");
    let left: Vec<_> = std::fs::read_dir(world.state.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "only the folders for tags and unfinished images: {left:?}");
}

#[tokio::test]
async fn old_images_go_unless_somebody_uses_them() {
    let world = world();
    let mut pulled = Vec::new();
    let mut used = None;
    for number in 0..14 {
        let tag = format!("1.0.{number}");
        push(&world.client, &world.image, &tag, &tag).await;
        let unpacked = world.get(&format!(":{tag}"), PullPolicy::IfNotPresent).await.unwrap();
        pulled.push(unpacked.root.clone());
        used = used.or(Some(unpacked));
    }
    let here: Vec<bool> = pulled.iter().map(|root| root.exists()).collect();
    assert!(here[0], "the first is in use");
    assert_eq!(here.iter().filter(|here| **here).count(), 12, "the one in use, ten others, the newest: {here:?}");
    drop(used);
}

#[tokio::test]
async fn what_is_not_there_is_told_by_name() {
    let world = world();
    let error = world.get(":9.9.9", PullPolicy::Always).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImagePull");
    assert!(error.to_string().contains(":9.9.9"), "{error}");
    let error = world.get(":9.9.9", PullPolicy::Never).await.unwrap_err();
    assert_eq!(error.reason(), "ErrImageNeverPull");
}

#[tokio::test]
async fn what_a_killed_run_left_is_removed() {
    let world = world();
    std::fs::create_dir_all(world.state.path().join("unfinished/x/root")).unwrap();
    Images::open(world.state.path(), &Http::new("test")).unwrap();
    assert_eq!(std::fs::read_dir(world.state.path().join("unfinished")).unwrap().count(), 0);
}
