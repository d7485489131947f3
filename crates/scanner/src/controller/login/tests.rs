//! Clouds in the place of the network, and over it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reconcile::{Http, Metrics, simulation::clouds};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Logins in an environment of these variables, and how often the network was asked.
fn logins(
    answers: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
) -> (Logins, Arc<AtomicUsize>) {
    let (identities, asked) = clouds::identities(answers, variables);
    (Logins::new(identities, LoginCache::default(), Numbers::new(&Metrics::default())), asked)
}

/// An image in a registry.
fn name(registry: &str) -> Name {
    Name::parse(&format!("{registry}/team/app")).expect("a name")
}

fn asked(provider: ImageProvider, image: &Name) -> Asked<'_> {
    let object = RepositoryLabels { name: "app".into(), namespace: "apps".into() };
    Asked { provider, image, account: None, object }
}

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic { username: username.into(), password: password.into() }
}

#[tokio::test]
async fn a_login_is_kept_while_it_lasts() {
    let token = "metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
    let answers = Box::leak(Box::new([(token, "{\"access_token\": \"t\", \"expires_in\": 3600}")]));
    let (logins, requests) = logins(answers, &[]);
    for _ in 0..2 {
        let login = logins.credential(asked(ImageProvider::Gcp, &name("eu.gcr.io"))).await.expect("a login");
        assert_eq!(login, basic("oauth2accesstoken", "t"));
    }
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let looks = ["cache_hit", "cache_miss"].map(|event| {
        let object = RepositoryLabels { name: "app".into(), namespace: "apps".into() };
        logins.numbers.login_events.get_or_create(&object.looking(event)).get()
    });
    assert_eq!((looks, logins.numbers.kept_logins.get()), ([1, 1], 1));
}

#[tokio::test]
async fn amazons_machine_is_asked_where_the_environment_says_nothing() {
    let (logins, _) = logins(
        &[
            ("169.254.169.254/latest/api/token", "T"),
            ("169.254.169.254/latest/meta-data/iam/security-credentials/", "role"),
            (
                "169.254.169.254/latest/meta-data/iam/security-credentials/role",
                "{\"AccessKeyId\": \"I\", \"SecretAccessKey\": \"S\", \"Token\": \"T\"}",
            ),
            (
                "api.ecr.eu-west-1.amazonaws.com/",
                "{\"authorizationData\": [{\"authorizationToken\": \"QVdTOnBhc3N3b3Jk\"}]}",
            ),
        ],
        &[],
    );
    let registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let login = logins.credential(asked(ImageProvider::Aws, &name(registry))).await.expect("a login");
    assert_eq!(login, basic("AWS", "password"));
}

#[tokio::test]
async fn a_registry_of_somebody_else_gets_no_login() {
    let (logins, requests) = logins(&[], &[("AWS_ACCESS_KEY_ID", "I"), ("AWS_SECRET_ACCESS_KEY", "S")]);
    let error = logins.credential(asked(ImageProvider::Aws, &name("ghcr.io"))).await.expect_err("not Amazon's");
    assert_eq!(
        error.to_string(),
        "login with provider 'aws' for ghcr.io: the registry does not belong to the provider"
    );
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let error = logins.credential(asked(ImageProvider::Aws, &name("public.ecr.aws"))).await.expect_err("no answer");
    assert!(error.to_string().ends_with("answered 404 Not Found"), "{error}");
}

/// A server on loopback that answers by path and keeps what it was asked: head and body.
async fn server(answers: &'static [(&'static str, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let kept = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let is_whole = |text: &str| {
                let length =
                    text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length.unwrap_or(0))
            };
            while !is_whole(&text) {
                let mut piece = [0; 4096];
                let Ok(length @ 1..) = stream.read(&mut piece).await else { break };
                text.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
            let path = text.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
            let body = answers.iter().find(|(known, _)| *known == path).map_or("{}", |(_, answer)| answer);
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, asked)
}

/// Logins over the network with these variables, in which `SERVER` stands for the server's address.
fn networked(address: &str, variables: &[(&str, &str)]) -> Logins {
    let replaced = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("SERVER", address));
    let variables: HashMap<String, String> = variables.iter().map(replaced).collect();
    let identities = Identities::in_environment(Http::new("test"), move |name| variables.get(name).cloned());
    Logins::new(identities, LoginCache::default(), Numbers::new(&Metrics::default()))
}

#[tokio::test]
async fn each_provider_is_asked_as_it_documents() {
    let (address, received) = server(&[
        ("/latest/api/token", "SESSION"),
        ("/latest/meta-data/iam/security-credentials/", "reader"),
        (
            "/latest/meta-data/iam/security-credentials/reader",
            r#"{"AccessKeyId": "I", "SecretAccessKey": "S", "Token": "T"}"#,
        ),
        ("/", r#"{"authorizationData": [{"authorizationToken": "QVdTOnBhc3N3b3Jk"}]}"#),
        ("/computeMetadata/v1/instance/service-accounts/default/token", r#"{"access_token": "g", "expires_in": 60}"#),
        ("/metadata/identity/oauth2/token", r#"{"access_token": "a"}"#),
        ("/oauth2/exchange", r#"{"refresh_token": "r"}"#),
    ])
    .await;
    let take = || std::mem::take(&mut *received.lock().unwrap_or_else(PoisonError::into_inner));

    let variables =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://SERVER/"), ("AWS_ENDPOINT_URL_ECR", "http://SERVER")];
    let registry = name("123456789012.dkr.ecr.eu-west-1.amazonaws.com");
    let login =
        networked(&address, &variables).credential(asked(ImageProvider::Aws, &registry)).await.expect("a login");
    assert_eq!(login, basic("AWS", "password"));
    let requests = take();
    assert!(
        requests[0].starts_with("PUT /latest/api/token ")
            && requests[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 300")
    );
    assert!(requests[2].contains("x-aws-ec2-metadata-token: SESSION"), "{}", requests[2]);
    assert!(requests[3].starts_with("POST / ") && requests[3].contains("x-amz-security-token: T"), "{}", requests[3]);
    assert!(requests[3].contains("x-amz-target: AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"));
    assert!(requests[3].contains("/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;"), "{}", requests[3]);

    let logins = networked(&address, &[("GCE_METADATA_HOST", "SERVER")]);
    let login = logins.credential(asked(ImageProvider::Gcp, &name("europe-docker.pkg.dev"))).await.expect("a login");
    assert_eq!(login, basic("oauth2accesstoken", "g"));
    assert!(take()[0].contains("metadata-flavor: Google"));

    // The registry itself exchanges the token: loopback in the place of a private cloud's registry.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cloud.json");
    let port = address.split(':').nth(1).unwrap_or_default();
    std::fs::write(&file, json!({"containerRegistryDNSSuffix": format!("0.0.1:{port}")}).to_string()).expect("written");
    let file = file.display().to_string();
    let variables =
        [("AZURE_ENVIRONMENT_FILEPATH", file.as_str()), ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://SERVER")];
    let login = networked(&address, &variables)
        .credential(asked(ImageProvider::Azure, &name(&address)))
        .await
        .expect("a login");
    assert_eq!(login, basic("00000000-0000-0000-0000-000000000000", "r"));
    let requests = take();
    assert!(requests[0].starts_with("GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https"));
    assert!(
        requests[1].ends_with(&format!("grant_type=access_token&service=127.0.0.1%3A{port}&access_token=a")),
        "{}",
        requests[1]
    );
}
