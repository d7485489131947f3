//! The client against the real `docker-registry`: anonymous, Basic, and token login; tags, digests, push and pull.

#[path = "registry/server.rs"]
mod server;
#[path = "registry/tokens.rs"]
mod tokens;

use bytes::Bytes;
use futures::StreamExt as _;
use oci::{
    Client, Credential, Name, Repository,
    image::{File, pack},
    manifest::{Platform, Process},
};
use server::{Registry, transport};

fn repository(registry: &Registry, path: &str, credential: Option<Credential>) -> Repository {
    let name = Name::parse(&format!("{}/{path}", registry.address)).expect("the name is good");
    Client::new(transport()).repository(&name, credential)
}

fn image(content: &str) -> oci::image::Packed {
    let file = File { path: "bin/app".into(), mode: 0o755, content: Bytes::from(content.to_owned()) };
    let process = Process { entrypoint: vec!["/bin/app".into()], env: vec!["A=b".into()], ..Process::default() };
    pack(&[vec![file]], process).expect("packing succeeds")
}

fn user(password: &str) -> Option<Credential> {
    Some(Credential::Basic { username: "ada".into(), password: password.into() })
}

#[tokio::test]
async fn a_pushed_image_is_pulled_back_and_verified() {
    let registry = Registry::anonymous();
    let repository = repository(&registry, "team/app", None);
    let packed = image("hello");
    let digest = repository.push_image("1.0.0", &packed).await.expect("the push succeeds");
    assert_eq!(digest, packed.digest());
    assert_eq!(repository.digest("1.0.0").await.expect("the tag is there"), digest);

    let pulled = repository.image("1.0.0", &Platform::linux_amd64()).await.expect("the pull succeeds");
    assert_eq!(
        (&pulled.digest, pulled.config.config.entrypoint.as_slice()),
        (&digest, ["/bin/app".to_owned()].as_slice())
    );
    let mut layer = Vec::new();
    let mut chunks = repository.blob(&pulled.manifest.layers[0]).await.expect("the blob is there");
    while let Some(chunk) = chunks.next().await {
        layer.extend_from_slice(&chunk.expect("the blob is whole"));
    }
    assert_eq!(Bytes::from(layer), packed.layers[0]);

    let mut wrong = pulled.manifest.layers[0].clone();
    wrong.size -= 1;
    let error = repository.blob_bytes(&wrong, 1 << 20).await.expect_err("the size is wrong");
    assert!(matches!(error, oci::Error::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn an_index_leads_to_the_image_of_the_platform() {
    let registry = Registry::anonymous();
    let repository = repository(&registry, "team/app", None);
    let packed = image("amd64");
    let digest = repository.push_image("single", &packed).await.expect("the push succeeds");
    let entry = |os: &str, architecture: &str| serde_json::json!({"mediaType": oci::manifest::MANIFEST, "digest": digest, "size": packed.manifest.len(), "platform": {"os": os, "architecture": architecture}});
    let index = |entries: Vec<serde_json::Value>| {
        Bytes::from(
            serde_json::json!({"schemaVersion": 2, "mediaType": oci::manifest::INDEX, "manifests": entries})
                .to_string(),
        )
    };
    let both = repository
        .push_manifest("both", oci::manifest::INDEX, &index(vec![entry("unknown", "unknown"), entry("linux", "amd64")]))
        .await
        .expect("the push succeeds");
    let pulled = repository.image("both", &Platform::linux_amd64()).await.expect("the pull succeeds");
    assert_eq!(pulled.digest, both);
    repository
        .push_manifest("other", oci::manifest::INDEX, &index(vec![entry("linux", "arm64")]))
        .await
        .expect("the push succeeds");
    let error = repository.image("other", &Platform::linux_amd64()).await.expect_err("there is no such platform");
    assert!(error.to_string().ends_with("has no image for linux/amd64"), "{error}");
}

#[tokio::test]
async fn an_unknown_repository_is_named_in_the_error() {
    let registry = Registry::anonymous();
    let error = repository(&registry, "no/such", None).tags().await.expect_err("there is nothing");
    assert_eq!(
        error.to_string(),
        format!(
            "GET http://{}/v2/no/such/tags/list?n=1000: NAME_UNKNOWN: repository name not known to registry; map[name:no/such]",
            registry.address
        )
    );
    assert_eq!((error.reason(), error.is_transient()), ("ReadOperationFailed", false));
}

#[tokio::test]
async fn basic_login_needs_the_right_password() {
    let registry = Registry::with_htpasswd();
    let good = repository(&registry, "team/app", user("open-sesame"));
    good.push_image("1.0.0", &image("secret")).await.expect("the push succeeds");
    assert_eq!(good.tags().await.expect("the list is there"), ["1.0.0"]);
    for credential in [None, user("hunter2")] {
        let error = repository(&registry, "team/app", credential).tags().await.expect_err("the door is closed");
        assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{error}");
        assert!(error.to_string().contains("UNAUTHORIZED") && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_per_scope() {
    let tokens = tokens::Server::start().await;
    let registry = Registry::with_tokens(&tokens);
    let repository = repository(&registry, "team/app", user("open-sesame"));
    repository.push_image("1.0.0", &image("token")).await.expect("the push succeeds");
    assert_eq!(repository.tags().await.expect("the list is there"), ["1.0.0"]);
    assert_eq!(repository.tags().await.expect("the list is there"), ["1.0.0"]);
    let expected = ["repository:team/app:push,pull", "repository:team/app:pull"];
    assert_eq!(tokens.seen().iter().map(|request| request.scope.as_str()).collect::<Vec<_>>(), expected);
    assert!(
        tokens
            .seen()
            .iter()
            .all(|request| request.authorization == "Basic YWRhOm9wZW4tc2VzYW1l" && request.method == "GET")
    );
}

#[tokio::test]
async fn identity_tokens_are_posted_and_fall_back_to_get() {
    let tokens = tokens::Server::start().await;
    let registry = Registry::with_tokens(&tokens);
    let login = |token: &str| Some(Credential::IdentityToken { username: "ada".into(), token: token.into() });
    repository(&registry, "team/app", login("refresh"))
        .push_image("1", &image("token"))
        .await
        .expect("the push succeeds");
    assert!(tokens.seen().iter().all(|request| request.method == "POST" && request.authorization.is_empty()));
    tokens.refuse_post();
    repository(&registry, "team/app", login("open-sesame")).tags().await.expect("the list is there");
    let last: Vec<_> = tokens.seen().iter().rev().take(2).map(|request| request.method.clone()).collect();
    assert_eq!(last, ["GET", "POST"]);
    let error = repository(&registry, "team/app", user("hunter2")).tags().await.expect_err("the password is wrong");
    assert!(error.status().is_some_and(|status| status == 401) && !error.to_string().contains("hunter2"), "{error}");
}
