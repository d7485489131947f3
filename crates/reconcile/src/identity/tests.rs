//! Clouds that answer by host and path, in the place of the network that tests do not have.

use std::{process::Command, sync::atomic::Ordering};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::*;
use crate::simulation::clouds::identities;

#[tokio::test]
async fn keys_of_the_environment_come_first() {
    let given = &[("AWS_ACCESS_KEY_ID", "I"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_SESSION_TOKEN", "T")];
    let (identities, asked) = identities(&[], given);
    let keys = identities.aws("eu-west-1").await.expect("keys");
    assert_eq!((keys.id.as_str(), keys.session.as_deref()), ("I", Some("T")));
    assert_eq!(format!("{keys:?}"), "Keys(I)");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_machine_is_asked_last_and_once() {
    let (identities, asked) = identities(
        &[
            ("169.254.169.254/latest/api/token", "T"),
            ("169.254.169.254/latest/meta-data/iam/security-credentials/", "role"),
            (
                "169.254.169.254/latest/meta-data/iam/security-credentials/role",
                "{\"AccessKeyId\": \"I\", \"SecretAccessKey\": \"S\", \"Token\": \"T\"}",
            ),
        ],
        &[],
    );
    for _ in 0..2 {
        assert_eq!(identities.aws("eu-west-1").await.expect("keys").id, "I");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let error = identities.google(None, "s").await.expect_err("no such server");
    assert_eq!(error, "metadata.google.internal answered 404 Not Found");
}

#[tokio::test]
async fn an_account_signs_for_its_token() {
    let output = Command::new("openssl").args(["genrsa", "2048"]).output().expect("apt-get install openssl");
    let pem = String::from_utf8(output.stdout).expect("text");
    let key = serde_json::json!({"client_email": "a@p.iam", "private_key": pem, "token_uri": "http://tokens/t"});
    let account = google::Account::parse(key.to_string().as_bytes()).expect("an account");
    let now = "2026-11-21T12:00:00Z".parse().expect("a time");
    let request = google::ask(&account, "scope", now).expect("a request");
    assert_eq!(request.uri(), "http://tokens/t");
    let fields: HashMap<String, String> = url::form_urlencoded::parse(request.body()).into_owned().collect();
    assert_eq!(fields["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let parts: Vec<_> = fields["assertion"].split('.').collect();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!((&claims["iss"], &claims["aud"]), (&"a@p.iam".into(), &"http://tokens/t".into()));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|issued| issued + 3600));
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[2]).expect("base64").len(), 256);
    assert!(google::Account::parse(b"{}").is_err());

    let (identities, _) = identities(&[("tokens/t", "{\"access_token\": \"A\"}")], &[]);
    assert_eq!(identities.google(Some(key.to_string().as_bytes()), "scope").await.expect("a token"), "A");
}

#[tokio::test]
async fn an_app_is_exchanged_for_a_token_of_its_installation() {
    let output = Command::new("openssl").args(["genrsa", "2048"]).output().expect("apt-get install openssl");
    let pem = String::from_utf8(output.stdout).expect("text");
    let app = |key: &str, value: &str| {
        let data = [("githubAppID", "7"), ("githubAppPrivateKey", pem.as_str()), (key, value)];
        github::App::read(&data.into_iter().map(|(key, value)| (key, value.to_owned())).collect())
    };
    let (identities, asked) = identities(
        &[
            ("api.github.com/users/me/installation", "{\"id\": 42}"),
            ("api.github.com/app/installations/42/access_tokens", "{\"token\": \"ghs\"}"),
        ],
        &[],
    );
    let given = app("githubAppInstallationID", "42").expect("it can be read").expect("an app");
    assert_eq!(format!("{given:?}"), "App(7)");
    for _ in 0..2 {
        assert_eq!(identities.github(&given).await.as_deref(), Ok("ghs"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let owned = app("githubAppInstallationOwner", "me").expect("it can be read").expect("an app");
    assert_eq!(identities.github(&owned).await.as_deref(), Ok("ghs"));
    assert_eq!(github::App::read(&[("githubAppBaseURL", String::new())].into()), Ok(None));
    let error = app("githubAppBaseURL", "https://ghe.example").expect_err("no installation");
    assert_eq!(error, "github app data lacks 'githubAppInstallationID' or 'githubAppInstallationOwner'");
}
