//! Tables for the matching of credentials to images.

use super::*;

fn keychain(json: &str) -> Keychain {
    Keychain::from_dockerconfigjson(json.as_bytes()).expect("the secret is good")
}

fn user(keychain: &Keychain, image: &str) -> Option<String> {
    match keychain.find(&Name::parse(image).expect("a good name")) {
        Source::Known(Credential::Basic { username, .. }) => Some(username),
        Source::Anonymous => None,
        other => panic!("{other:?}"),
    }
}

/// A secret whose users are named like their registries.
fn secret(registries: &[&str]) -> Keychain {
    let auths: BTreeMap<_, _> =
        registries.iter().map(|r| (*r, serde_json::json!({"username": r, "password": "p"}))).collect();
    keychain(&serde_json::json!({ "auths": auths }).to_string())
}

#[test]
fn the_longest_matching_entry_wins() {
    let all = secret(&[
        "ghcr.io",
        "ghcr.io/org",
        "https://index.docker.io/v1/",
        "*.example.com",
        "localhost:5000",
        "http://r.test/v2/team",
    ]);
    for (image, expected) in [
        ("ghcr.io/other/app", Some("ghcr.io")),
        ("ghcr.io/org/app", Some("ghcr.io/org")),
        ("ghcr.io/organisation/app", Some("ghcr.io/org")),
        ("alpine", Some("https://index.docker.io/v1/")),
        ("a.example.com/app", Some("*.example.com")),
        ("a.b.example.com/app", None),
        ("example.com/app", None),
        ("localhost:5000/app", Some("localhost:5000")),
        ("localhost:5001/app", None),
        ("a.example.com:443/app", None),
        ("r.test/team/app", Some("http://r.test/v2/team")),
        ("r.test/other/app", None),
        ("quay.io/app", None),
    ] {
        assert_eq!(user(&all, image).as_deref(), expected, "{image}");
    }
}

#[test]
fn docker_hub_is_found_under_its_usual_name() {
    assert_eq!(user(&secret(&["docker.io"]), "alpine").as_deref(), Some("docker.io"));
}

#[test]
fn globs_match_within_one_label() {
    for (glob, text, expected) in [
        ("*", "", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[ab", "a", false),
    ] {
        assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
    }
}

#[test]
fn auth_is_preferred_and_may_lack_padding() {
    // base64 of `user:pass:word`, and of `me:p` followed by NULs.
    for (auth, username, password) in [
        ("dXNlcjpwYXNzOndvcmQ=", "user", "pass:word"),
        ("dXNlcjpwYXNzOndvcmQ", "user", "pass:word"),
        ("bWU6cAAA", "me", "p"),
    ] {
        let found =
            keychain(&format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{auth}","username":"x","password":"y"}}}}}}"#));
        let expected = Credential::Basic { username: username.into(), password: password.into() };
        assert_eq!(found.find(&Name::parse("ghcr.io/ab").unwrap()), Source::Known(expected));
    }
}

#[test]
fn tokens_are_told_from_passwords() {
    let found = keychain(
        r#"{"auths":{"a.io":{"auth":"PHRva2VuPjo=","identitytoken":"t"},"b.io":{"registrytoken":"r"},"c.io":{}}}"#,
    );
    let find = |image: &str| found.find(&Name::parse(image).unwrap());
    assert_eq!(
        find("a.io/xx"),
        Source::Known(Credential::IdentityToken { username: "<token>".into(), token: "t".into() })
    );
    assert_eq!(find("b.io/xx"), Source::Known(Credential::RegistryToken("r".into())));
    assert_eq!(find("c.io/xx"), Source::Anonymous);
}

#[test]
fn helpers_are_taken_from_the_users_file_only() {
    let file = br#"{"auths":{"ghcr.io":{}},"credHelpers":{"gcr.io":"gcloud"},"credsStore":"pass"}"#;
    let helper = |program: &str, server: &str| Source::Helper { program: program.into(), server: server.into() };
    let own = Keychain::from_config_file(file).unwrap();
    assert_eq!(own.find(&Name::parse("gcr.io/xx").unwrap()), helper("gcloud", "gcr.io"));
    assert_eq!(own.find(&Name::parse("ghcr.io/xx").unwrap()), helper("pass", "ghcr.io"));
    assert_eq!(own.find(&Name::parse("alpine").unwrap()), helper("pass", "https://index.docker.io/v1/"));
    let secret = Keychain::from_dockerconfigjson(file).unwrap();
    assert_eq!(secret.find(&Name::parse("gcr.io/xx").unwrap()), Source::Anonymous);
}

#[test]
fn the_older_form_has_no_auths() {
    let found = Keychain::from_dockercfg(br#"{"ghcr.io":{"username":"u","password":"p"}}"#).unwrap();
    assert_eq!(user(&found, "ghcr.io/xx").as_deref(), Some("u"));
}

#[test]
fn merged_keychains_prefer_the_first() {
    let second = keychain(
        r#"{"auths":{"https://ghcr.io":{"username":"second","password":"p"},"quay.io":{"username":"q","password":"p"}}}"#,
    );
    let both = secret(&["ghcr.io"]).merge(second);
    assert_eq!(user(&both, "ghcr.io/xx").as_deref(), Some("ghcr.io"));
    assert_eq!(user(&both, "quay.io/xx").as_deref(), Some("q"));
}

#[test]
fn messages_and_debug_forms_hold_no_secret() {
    for content in
        [r#"{"auths":{"a.io":{"auth":"c2VjcmV0"}}}"#, r#"{"auths":{"a.io":{"password":{"hunter2":1}}}}"#, "hunter2"]
    {
        let error = Keychain::from_dockerconfigjson(content.as_bytes()).expect_err("the secret is bad");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(!format!("{error}").contains("secret\""), "{error}");
        assert_eq!(error.reason(), "AuthenticationFailed");
    }
    assert!(!format!("{:?}", secret(&["ghcr.io"])).contains("\"p\""));
}
