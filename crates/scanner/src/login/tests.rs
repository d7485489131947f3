//! Hosts, requests and answers.

use reconcile::identity::aws::Keys;
use serde_json::json;

use super::*;

#[test]
fn hosts_belong_to_their_provider_alone() {
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    for (provider, host, expected) in [
        (ImageProvider::Aws, ecr, true),
        (ImageProvider::Aws, "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", true),
        (ImageProvider::Aws, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", true),
        (ImageProvider::Aws, "123456789012.dkr-ecr.eu-west-1.on.aws", true),
        (ImageProvider::Aws, "public.ecr.aws", true),
        (ImageProvider::Aws, "12345.dkr.ecr.eu-west-1.amazonaws.com", false),
        (ImageProvider::Aws, "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.io", false),
        (ImageProvider::Azure, "team.azurecr.io", true),
        (ImageProvider::Azure, "azurecr.io.evil.com", false),
        (ImageProvider::Gcp, "eu.gcr.io", true),
        (ImageProvider::Gcp, "europe-docker.pkg.dev", true),
        (ImageProvider::Gcp, "evilgcr.io", false),
        (ImageProvider::Gcp, ecr, false),
        (ImageProvider::Generic, ecr, false),
    ] {
        assert_eq!(target(provider, host, &azure::Cloud::default()).is_some(), expected, "{provider:?} {host}");
    }
}

#[test]
fn amazons_password_is_in_the_answer() {
    let registry = aws::Registry::parse("123456789012.dkr.ecr.eu-west-1.amazonaws.com").expect("a registry");
    let keys = Keys { id: "ID".into(), secret: "SECRET".into(), session: Some("SESSION".into()) };
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    let request = registry.ask(&keys, None, now).expect("a request");
    assert_eq!(request.uri(), "https://api.ecr.eu-west-1.amazonaws.com/");
    assert_eq!(request.headers()["x-amz-date"], "20260102T030405Z");
    let authorization = request.headers()["authorization"].to_str().expect("a text");
    let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
    assert!(
        authorization.contains(signed) && authorization.contains("ID/20260102/eu-west-1/ecr/aws4_request"),
        "{authorization}"
    );
    // `AWS:password` in base64.
    let answer = json!({"authorizationData": [{"authorizationToken": "QVdTOnBhc3N3b3Jk"}]});
    let login = registry.login(&answer).expect("a login");
    assert_eq!(login.credential, Credential::Basic { username: "AWS".into(), password: "password".into() });
    assert_eq!(registry.login(&json!({})), Err("the answer has no authorizationData.0.authorizationToken".into()));
}

#[test]
fn azure_exchanges_its_token_at_the_registry() {
    let request = azure::exchange(oci::name::Scheme::Https, "team.azurecr.io", "t").expect("a request");
    assert_eq!(request.uri(), "https://team.azurecr.io/oauth2/exchange");
    assert_eq!(request.body(), "grant_type=access_token&service=team.azurecr.io&access_token=t");
    let login = azure::login(&json!({"refresh_token": "r"})).expect("a login");
    let username = "00000000-0000-0000-0000-000000000000".into();
    assert_eq!(login.credential, Credential::Basic { username, password: "r".into() });
}

#[test]
fn googles_token_is_the_password() {
    let login = gcp::login(&json!({"access_token": "t", "expires_in": 3599})).expect("a login");
    assert_eq!(login.credential, Credential::Basic { username: "oauth2accesstoken".into(), password: "t".into() });
    assert_eq!(login.lasts_seconds, 3599);
}

#[test]
fn a_private_cloud_has_registries_of_its_own() {
    let file = r#"{"resourceManagerEndpoint": "https://management.local.example", "containerRegistryDNSSuffix": "azurecr.local.example", "name": "x"}"#;
    let cloud = azure::Cloud::parse(file).expect("a cloud");
    assert!(cloud.is_registry("team.azurecr.local.example") && cloud.is_registry("team.azurecr.io"));
    assert!(!cloud.is_registry("azurecr.local.example.com"));
    assert_eq!(cloud.resource(), "https://management.local.example/");
}
