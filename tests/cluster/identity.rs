//! Cloud identities of service accounts: the API server vouches for them, and clouds are asked as they document it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::Uri};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reconcile::{Http, Identities, identity::account::Account};
use serde_json::{Value, json};

use super::world::World;

/// What a cloud was asked: path and form, or path and body.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A cloud that hands out logins to everybody, and keeps what it was asked.
async fn cloud() -> (String, Asked) {
    let asked = Asked::default();
    let answer = async |State(asked): State<Asked>, uri: Uri, body: Bytes| {
        let body = String::from_utf8_lossy(&body).into_owned();
        asked.lock().unwrap_or_else(PoisonError::into_inner).push((uri.path().to_owned(), body));
        let keys = json!({"AccessKeyId": "I", "SecretAccessKey": "S", "SessionToken": "T"});
        let result = json!({"AssumeRoleWithWebIdentityResult": {"Credentials": keys}});
        let all = json!({"access_token": "federated", "accessToken": "impersonated", "expires_in": 3600,
            "AssumeRoleWithWebIdentityResponse": result});
        match uri.path().rsplit('/').next() {
            Some("project-id") => "acme".to_owned(),
            Some("cluster-location") => "europe-west1".to_owned(),
            Some("cluster-name") => "main".to_owned(),
            _ => all.to_string(),
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let app = Router::new().fallback(answer).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, asked)
}

/// Our own identity nowhere; clouds at that address.
fn identities(address: &str) -> Identities {
    let url = format!("http://{address}");
    let variables = HashMap::from([
        ("AWS_ENDPOINT_URL_STS", url.clone()),
        ("AZURE_AUTHORITY_HOST", url.clone()),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", url.clone()),
        ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", url),
        ("GCE_METADATA_HOST", address.to_owned()),
    ]);
    Identities::in_environment(Http::new("test"), move |name| variables.get(name).cloned())
}

/// What the API server says in its token.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap_or_default();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("claims")
}

fn fields(body: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://form/?{body}")).expect("a form");
    url.query_pairs().into_owned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_are_asked_in_the_name_of_a_service_account() {
    let world = World::new("identity").await;
    let (address, asked) = cloud().await;
    let identities = identities(&address);
    let take = || std::mem::take(&mut *asked.lock().unwrap_or_else(PoisonError::into_inner));
    let account = async |annotations: Value| {
        world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})).await;
        let id = world.id("v1", "ServiceAccount", "reader");
        let patch = json!({"metadata": {"annotations": annotations}});
        world.store.patch(&id, "test", &patch).await.expect("patched");
        Account::find(&world.store, &world.namespace, "reader").await.expect("an account")
    };
    let subject = format!("system:serviceaccount:{}:reader", world.namespace);
    let vouched = |token: &str, audience: &str| {
        let claims = claims(token);
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(subject), &json!([audience])), "{claims:#}");
    };

    let bare = account(json!({})).await;
    let lacks = identities.aws_of(&bare, "eu-west-1").await.expect_err("no role");
    assert!(lacks.ends_with("/reader' lacks annotation eks.amazonaws.com/role-arn"), "{lacks}");
    let lacks = identities.azure_of(&bare, "https://management.azure.com/").await.expect_err("no client");
    assert!(lacks.ends_with("lacks annotation azure.workload.identity/client-id"), "{lacks}");
    assert_eq!(take(), []);

    let role = "arn:aws:iam::123456789012:role/reader";
    let amazons = account(json!({"eks.amazonaws.com/role-arn": role})).await;
    for _ in 0..2 {
        assert_eq!(identities.aws_of(&amazons, "eu-west-1").await.expect("keys").session.as_deref(), Some("T"));
    }
    let requests = take();
    assert_eq!(requests.len(), 1, "keys are kept");
    let form = fields(&requests[0].1);
    assert_eq!((form["Action"].as_str(), form["RoleArn"].as_str()), ("AssumeRoleWithWebIdentity", role));
    vouched(&form["WebIdentityToken"], "sts.amazonaws.com");

    let names = json!({"azure.workload.identity/client-id": "client", "azure.workload.identity/tenant-id": "tenant"});
    let azures = account(names).await;
    let token = identities.azure_of(&azures, "https://management.azure.com/").await;
    assert_eq!(token.as_deref(), Ok("federated"));
    let requests = take();
    assert_eq!(requests[0].0, "/tenant/oauth2/v2.0/token");
    let form = fields(&requests[0].1);
    assert_eq!(
        (form["client_id"].as_str(), form["scope"].as_str()),
        ("client", "https://management.azure.com/.default")
    );
    vouched(&form["client_assertion"], "api://AzureADTokenExchange");

    let provider = "projects/1/locations/global/workloadIdentityPools/p/providers/q";
    let googles = account(json!({"gcp.auth.fluxcd.io/workload-identity-provider": provider})).await;
    assert_eq!(identities.google_of(&googles).await.map(|(token, _)| token).as_deref(), Ok("federated"));
    let requests = take();
    let form = fields(&requests[0].1);
    let audience = format!("//iam.googleapis.com/{provider}");
    assert_eq!((requests[0].0.as_str(), form["audience"].as_str()), ("/v1/token", audience.as_str()));
    vouched(&form["subject_token"], &audience);

    let email = "reader@acme.iam.gserviceaccount.com";
    let on_gke =
        json!({"iam.gke.io/gcp-service-account": email, "gcp.auth.fluxcd.io/workload-identity-provider": null});
    let googles = account(on_gke).await;
    assert_eq!(identities.google_of(&googles).await.map(|(token, _)| token).as_deref(), Ok("impersonated"));
    let requests = take();
    let exchanged = requests.iter().find(|(path, _)| path == "/v1/token").expect("an exchange");
    let form = fields(&exchanged.1);
    vouched(&form["subject_token"], "acme.svc.id.goog");
    let cluster = "https://container.googleapis.com/v1/projects/acme/locations/europe-west1/clusters/main";
    assert_eq!(form["audience"], format!("identitynamespace:acme.svc.id.goog:{cluster}"));
    let last = requests.last().expect("a request");
    assert_eq!(last.0, "/v1/projects/-/serviceAccounts/reader%40acme.iam.gserviceaccount.com:generateAccessToken");
}
