//! Signatures in a registry, where cosign puts them.

use bytes::Bytes;
use oci::{image::Packed, manifest::MANIFEST};

use super::*;
use crate::signature::tests::{Workshop, annotations, bundle, payload};

/// A manifest with one layer, as `cosign sign` pushes it.
fn signature(layer: &Bytes, media_type: &str, annotations: &Value) -> Packed {
    let config = Bytes::from_static(b"{}");
    let described = |content: &Bytes| json!({"digest": oci::Digest::of(content).as_str(), "size": content.len()});
    let (mut own, mut first) = (described(&config), described(layer));
    own["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    first["mediaType"] = media_type.into();
    first["annotations"] = annotations.clone();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": own, "layers": [first]});
    Packed { manifest: manifest.to_string().into(), config, layers: vec![layer.clone()] }
}

fn repository_of(registry: &Registry) -> oci::Repository {
    let way = Http::new("test").streaming(Endpoint::default());
    let client = oci::Client::new(oci::Transport::over(way, HttpError::is_transient, clock::sleep));
    client.repository(&Name::parse(&registry.image()).expect("a name"), None)
}

/// Signs a tag's image under the tag that is made of its digest.
async fn sign(registry: &Registry, workshop: &Workshop, key: &str, tag: &str) {
    let repository = repository_of(registry);
    let digest = repository.digest(tag).await.expect("a digest");
    let content = payload(digest.as_str());
    let noted = json!(annotations(&workshop.sign(key, &content)));
    let packed = signature(&content.into(), "application/vnd.dev.cosign.simplesigning.v1+json", &noted);
    let name = format!("{}.sig", digest.as_str().replace(':', "-"));
    repository.push_image(&name, &packed).await.expect("pushed");
}

/// Attaches a bundle to a tag's image, in the way for registries that list no referrers.
async fn attach(registry: &Registry, workshop: &Workshop, key: &str, tag: &str) {
    let repository = repository_of(registry);
    let digest = repository.digest(tag).await.expect("a digest");
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let content = bundle(workshop, key, digest.as_str(), "https://sigstore.dev/cosign/sign/v1").to_string();
    let packed = signature(&content.into(), kind, &json!({}));
    for blob in packed.layers.iter().chain([&packed.config]) {
        repository.push_blob(blob).await.expect("pushed");
    }
    let own = packed.digest();
    repository.push_manifest(own.as_str(), MANIFEST, &packed.manifest).await.expect("pushed");
    let entry =
        json!({"mediaType": MANIFEST, "artifactType": kind, "digest": own.as_str(), "size": packed.manifest.len()});
    let index = json!({"schemaVersion": 2, "mediaType": oci::manifest::INDEX, "manifests": [entry]}).to_string();
    let name = digest.as_str().replace(':', "-");
    repository.push_manifest(&name, oci::manifest::INDEX, &index.into()).await.expect("pushed");
}

async fn secret(world: &World, name: &str, data: Value) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "apps", "name": name},
        "stringData": data});
    world.store.apply("test", &secret).await.expect("applied");
}

async fn annotate(world: &World, annotations: Value) {
    let id = object::named::<ImagePolicy>("apps", "app");
    world.store.patch(&id, "test", &json!({"metadata": {"annotations": annotations}})).await.expect("patched");
}

/// A policy that wants its images signed by the keys, and their digests.
async fn guarded(world: &World, range: &str) {
    let spec = json!({"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": range}},
        "digestReflectionPolicy": "IfNotPresent"});
    let policy = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "spec": spec,
        "metadata": {"namespace": "apps", "name": "app",
            "annotations": {"slipway.dev/signature": "secretRef: {name: keys}"}}});
    world.store.apply("test", &policy).await.expect("applied");
}

fn message(object: &Value) -> String {
    condition(object, READY).map(|(.., message)| message).unwrap_or_default()
}

#[tokio::test]
async fn only_what_a_trusted_key_signed_is_chosen() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0", "1.1.0", "1.2.0", "1.3.0"]).await;
    let workshop = Workshop::new();
    workshop.usual_key("ours");
    workshop.usual_key("theirs");
    sign(&registry, &workshop, "ours", "1.0.0").await;
    sign(&registry, &workshop, "theirs", "1.2.0").await;
    let world = World::new().await;
    secret(&world, "keys", json!({"cosign.pub": workshop.public("ours")})).await;
    guarded(&world, "1.x").await;
    // Soon asked again: no scan tells of a signature that comes later.
    world.repository(&registry.image(), json!({"interval": "1s"})).await;
    let chosen = |tag: &'static str| move |policy: &Value| policy["status"]["latestRef"]["tag"] == tag;
    let policy = world.until::<ImagePolicy>("apps/app", chosen("1.0.0")).await;
    let digest = repository_of(&registry).digest("1.0.0").await.expect("a digest");
    assert_eq!(policy["status"]["latestRef"]["digest"], digest.as_str());
    let (image, unsigned) = (registry.image(), "not signed as slipway.dev/signature asks for");
    let told = format!(
        "Latest image tag for {image} resolved to 1.0.0 with digest {digest}; 1.3.0 would come first: {unsigned}: there is no signature"
    );
    assert_eq!(message(&policy), told);

    attach(&registry, &workshop, "ours", "1.1.0").await;
    world.until::<ImagePolicy>("apps/app", chosen("1.1.0")).await;
    sign(&registry, &workshop, "ours", "1.3.0").await;
    let policy = world.until::<ImagePolicy>("apps/app", chosen("1.3.0")).await;
    assert!(!message(&policy).contains("would come first"), "{}", message(&policy));

    guarded(&world, "1.2.x").await;
    let policy = world.until::<ImagePolicy>("apps/app", |object| failed(object, "Failure")).await;
    let told = format!(
        "every tag that fits is barred by a rule of the policy; 1.2.0: {unsigned}: no trusted key has made the signature"
    );
    assert_eq!(message(&policy), told);
    assert_eq!(policy["status"]["latestRef"]["tag"], "1.3.0", "what was chosen stays");
    world.finish().await;
}

#[tokio::test]
async fn where_nobody_can_tell_what_was_chosen_stays() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0", "1.1.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", "1.0.x").await;
    world.until::<ImagePolicy>("apps/app", is_ready).await;
    world.policy("apps/app", "1.x").await;
    annotate(&world, json!({"slipway.dev/signature": "secretRef: {name: keys}"})).await;
    let lacks = |text: &'static str| move |policy: &Value| failed(policy, "Failed") && message(policy) == text;
    let missing = "failed to verify signatures: secret 'apps/keys' not found";
    world.until::<ImagePolicy>("apps/app", lacks(missing)).await;
    let workshop = Workshop::new();
    workshop.usual_key("ours");
    secret(&world, "keys", json!({"readme": "x"})).await;
    let empty =
        "failed to verify signatures: secret 'apps/keys': there is no public key under a name that ends in '.pub'";
    annotate(&world, json!({REQUESTED_AT: "1"})).await;
    world.until::<ImagePolicy>("apps/app", lacks(empty)).await;
    secret(&world, "keys", json!({"cosign.pub": workshop.public("ours")})).await;
    drop(registry);
    annotate(&world, json!({REQUESTED_AT: "2"})).await;
    let unreachable =
        |policy: &Value| failed(policy, "Failed") && message(policy).starts_with("failed fetching signatures of ");
    world.until::<ImagePolicy>("apps/app", unreachable).await;
    annotate(&world, json!({"slipway.dev/signature": "{secretRef: {name: keys}, matchOidcIdentity: []}"})).await;
    let stalled = world.until::<ImagePolicy>("apps/app", |object| condition(object, STALLED).is_some()).await;
    assert!(message(&stalled).starts_with("invalid policy: annotation slipway.dev/signature: "), "{stalled:#}");
    world.finish().await;
}
