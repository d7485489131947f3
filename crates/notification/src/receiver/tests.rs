//! Proofs, one table a type; tokens signed with keys made here; and no text that breaks a reader.

use api::notification::Receiver;
use base64::{Engine as _, prelude::*};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};

use super::{readiness::Network, *};

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let entry = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    list.iter().map(entry).collect()
}

fn secret(list: &[(&str, &str)]) -> SecretData {
    list.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
}

fn receiver(spec: Value) -> Receiver {
    api::manifest::typed(&json!({"metadata": {"name": "hook", "namespace": "apps"}, "spec": spec})).unwrap()
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn judged(spec: Value, list: &[(&str, &str)], body: &str, keys: Option<&KeySet>) -> Result<Option<Value>, Refusal> {
    let headers = headers(list);
    let data = secret(&[("token", "secret"), ("email", "me@example.com"), ("audience", "us")]);
    verify(&receiver(spec).spec, &data, Hook { headers: &headers, body: body.as_bytes() }, keys, now())
}

fn believed(kind: &str, list: &[(&str, &str)], body: &str) -> bool {
    judged(json!({"type": kind}), list, body, None).is_ok()
}

fn mac(algorithm: hmac::Algorithm, body: &str) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(algorithm, b"secret"), body.as_bytes()))
}

#[test]
fn a_signature_names_its_algorithm_and_is_that_of_the_body() {
    let body = r#"{"action":"push"}"#;
    let sha256 = format!("sha256={}", mac(hmac::HMAC_SHA256, body));
    let sha512 = format!("sha512={}", mac(hmac::HMAC_SHA512, body));
    let sha1 = format!("sha1={}", mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, body));
    let upper = format!("sha256={}", mac(hmac::HMAC_SHA256, body).to_uppercase());
    for good in [&sha256, &sha512, &sha1, &upper] {
        assert!(believed("generic-hmac", &[("x-signature", good)], body), "{good}");
        let hub = |kind: &str| believed(kind, &[("x-hub-signature", good), ("content-type", "application/json")], body);
        assert!(hub("github") && hub("bitbucket"), "{good}");
    }
    for bad in ["", "sha256=", "sha256", "md5=00", "SHA256=00", "sha256=xyz", &sha256[7..], &sha256[..70]] {
        assert!(!believed("generic-hmac", &[("x-signature", bad)], body), "{bad}");
    }
    assert!(!believed("generic-hmac", &[("x-signature", &sha256)], "{}"));
    let both =
        [("x-hub-signature-256", "sha256=00"), ("x-hub-signature", &*sha1), ("content-type", "application/json")];
    assert!(!believed("github", &both, body), "the stronger one counts");
    assert!(!believed("github", &[("x-hub-signature", &sha1)], body), "a type of body is required");
    let form = [("x-hub-signature", &*sha1), ("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    assert!(believed("github", &form, body));
}

#[test]
fn words_are_compared_whole() {
    for (kind, header) in [("gitlab", "x-gitlab-token"), ("harbor", "authorization")] {
        assert!(believed(kind, &[(header, "secret")], "null"));
        for wrong in ["", "secre", "secrets", "Bearer secret", "SECRET"] {
            assert!(!believed(kind, &[(header, wrong)], "null"), "{kind} {wrong}");
        }
        assert!(!believed(kind, &[], "null"));
    }
}

#[test]
fn events_are_compared_without_case_and_only_where_asked() {
    let gitlab = |events: Value, event: &str| {
        let spec = json!({"type": "gitlab", "events": events});
        judged(spec, &[("x-gitlab-token", "secret"), ("x-gitlab-event", event)], "", None).is_ok()
    };
    assert!(gitlab(json!(["Push Hook"]), "push hook"));
    assert!(gitlab(json!([]), "anything"));
    assert!(!gitlab(json!(["Push Hook"]), "Tag Push Hook"));
    assert!(!gitlab(json!(["Push Hook"]), ""));
}

#[test]
fn bodies_have_the_shape_that_their_service_sends() {
    for (kind, body, fits) in [
        ("dockerhub", r#"{"push_data":{"tag":"1"},"repository":{"repo_url":"u"}}"#, true),
        ("dockerhub", "{} and more", true),
        ("dockerhub", "null", true),
        ("dockerhub", r#"{"push_data":{"tag":1}}"#, false),
        ("dockerhub", r#"{"Push_Data":[]}"#, false),
        ("dockerhub", "", false),
        ("quay", r#"{"updated_tags":["v1"]}"#, true),
        ("quay", r#"{"updated_tags":[1]}"#, false),
        ("quay", r#"{"updated_tags":"v1"}"#, false),
        ("acr", r#"{"action":"push","target":{"repository":"r","tag":"t"}}"#, true),
        ("acr", "[]", false),
        ("acr", r#"{"target":"t"}"#, false),
    ] {
        assert_eq!(believed(kind, &[], body), fits, "{kind} {body}");
    }
    let nexus = |body: &str, wrong: &str| {
        let signature = mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, body) + wrong;
        believed("nexus", &[("x-nexus-webhook-signature", &signature)], body)
    };
    assert!(nexus(r#"{"action":"CREATED"}"#, "") && !nexus(r#"{"action":"CREATED"}"#, "0") && !nexus("no json", ""));
}

#[test]
fn cdevents_carry_what_their_specification_asks_for() {
    let event = || {
        json!({"context": {"version": "0.4.1", "id": "1", "source": "github", "type": "dev.cdevents.change.merged.0.2.0",
        "timestamp": "2023-12-07T14:51:29.9Z"}, "subject": {"id": "1", "type": "change"}})
    };
    let fits = |change: &dyn Fn(&mut Value)| {
        let mut event = event();
        change(&mut event);
        believed("cdevents", &[("ce-type", "cd.change.merged.v1")], &event.to_string())
    };
    assert!(fits(&|_| ()));
    assert!(fits(&|event| {
        event["context"]["type"] = json!("dev.cdevents.pipelinerun.started.0.2.0");
        event["subject"]["type"] = json!("pipelineRun");
    }));
    for (pointer, value) in [
        ("/context/version", json!("")),
        ("/context/id", Value::Null),
        ("/context/source", json!(1)),
        ("/context/timestamp", json!("yesterday")),
        ("/context/type", json!("dev.cdevents.change.eaten.0.2.0")),
        ("/context/type", json!("dev.cdevents.change.merged.2.0.0")),
        ("/context/type", json!("change.merged")),
        ("/subject/type", json!("branch")),
        ("/subject/id", json!("")),
    ] {
        assert!(!fits(&|event| *event.pointer_mut(pointer).unwrap() = value.clone()), "{pointer} {value}");
    }
    assert!(!believed("cdevents", &[], "null") && !believed("cdevents", &[], ""));
}

/// An issuer with a key of its own.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &SystemRandom::new());
        Self(pair.unwrap())
    }

    fn keys(&self) -> KeySet {
        let point = &self.0.public_key().as_ref()[1..];
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": part(&point[..32]), "y": part(&point[32..])});
        KeySet::parse(json!({"keys": [{"kty": "unknown"}, key]}).to_string().as_bytes()).unwrap()
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn google_claims() -> Value {
    json!({"iss": "https://accounts.google.com", "aud": "us", "email": "me@example.com", "email_verified": true,
        "exp": now().as_second() + 60})
}

#[test]
fn googles_token_must_be_for_us_from_the_account_and_valid() {
    let (signer, header) = (Signer::new(), json!({"alg": "ES256", "kid": "k"}));
    let body = json!({"message": {"data": BASE64_STANDARD.encode(r#"{"action":"INSERT","tag":"a/b:1"}"#)}}).to_string();
    let accepted = |token: &str, keys: &KeySet| {
        judged(json!({"type": "gcr"}), &[("authorization", token)], &body, Some(keys)).is_ok()
    };
    assert!(accepted(&signer.token(&header, &google_claims()), &signer.keys()));
    assert!(!accepted(&signer.token(&header, &google_claims()), &Signer::new().keys()), "another key");
    for (member, value) in [
        ("aud", json!("them")),
        ("email", json!("you@example.com")),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("iss", json!("https://accounts.evil.com")),
        ("exp", json!(now().as_second())),
        ("exp", Value::Null),
        ("nbf", json!(now().as_second() + 3600)),
    ] {
        let mut claims = google_claims();
        claims[member] = value.clone();
        assert!(!accepted(&signer.token(&header, &claims), &signer.keys()), "{member} {value}");
    }
    for header in [json!({"alg": "none"}), json!({"alg": "HS256", "kid": "k"}), json!({"alg": "RS256", "kid": "k"})] {
        assert!(!accepted(&signer.token(&header, &google_claims()), &signer.keys()), "{header}");
    }
    for token in ["", "token", "Bearer ", "Bearer token", "Bearer a.b.c"] {
        assert!(!accepted(token, &signer.keys()), "{token}");
    }
}

#[test]
fn an_issuers_token_must_fulfil_every_validation() {
    let (signer, header) = (Signer::new(), json!({"alg": "ES256"}));
    let spec = |validation: &str| {
        json!({"type": "generic-oidc", "oidcProviders": [{"issuerURL": "https://ci.example", "audience": "us",
            "variables": [{"name": "owner", "expression": "claims.repository.split('/').first().value()"}],
            "validations": [{"expression": validation, "message": "not ours"}]}]})
    };
    let claims = |issuer: &str| json!({"iss": issuer, "aud": ["x", "us"], "repository": "acme/app", "exp": now().as_second() + 60});
    let judge = |validation: &str, issuer: &str| {
        let token = signer.token(&header, &claims(issuer));
        judged(spec(validation), &[("authorization", &token)], "", Some(&signer.keys()))
    };
    assert_eq!(judge("vars.owner == 'acme'", "https://ci.example"), Ok(Some(claims("https://ci.example"))));
    let error = judge("vars.owner == 'evil'", "https://ci.example").expect_err("it is not fulfilled");
    assert_eq!(error.to_string(), "token validation failed: not ours");
    assert!(judge("vars.owner == 'acme'", "https://other.example").is_err());
    assert!(judge("claims.missing == 'acme'", "https://ci.example").is_err());
}

#[test]
fn a_receiver_says_why_it_cannot_be_used() {
    let check = |spec: Value, data: Option<&SecretData>| {
        readiness::check(&receiver(spec), data).map_err(|unready| (unready.reason, unready.is_terminal))
    };
    let token = secret(&[("token", "token")]);
    let named = |kind: &str| json!({"type": kind, "secretRef": {"name": "t"}, "resources": []});
    assert_eq!(
        readiness::path(b"token", "receiver", "default"),
        "/hook/8cc3207cffc97dc881eed557d9eb9348edf632357f3132b4f4d30188c54fc63d"
    );
    assert_eq!(check(named("github"), Some(&token)), Ok(readiness::path(b"token", "hook", "apps")));
    assert_eq!(check(named("github"), None), Err(("TokenNotFound", false)));
    assert_eq!(check(named("github"), Some(&secret(&[("token", "")]))), Err(("TokenNotFound", false)));
    assert_eq!(check(named("gcr"), Some(&token)), Err(("TokenNotFound", false)));
    let lacking = readiness::check(&receiver(named("gcr")), Some(&token)).map_err(|unready| unready.message);
    assert_eq!(lacking, Err("invalid 'apps/t' secret data: required fields 'email'".into()));
    assert_eq!(check(json!({"type": "github"}), None), Err(("ValidationFailed", true)));
    assert_eq!(check(json!({"secretRef": {"name": "t"}}), Some(&token)), Err(("ValidationFailed", true)));
    let mut filtered = named("generic");
    for (wrong, why) in [
        ("req.a ==", "Syntax error"),
        ("request.a == 1", "undeclared reference to 'request'"),
        ("claims.sub == 'a'", "undeclared reference to 'claims'"),
        ("isWanted(req.a)", "undeclared reference to 'isWanted'"),
        ("size(res.metadata.name)", "CEL expression output type mismatch: expected bool, got int"),
        ("req.wanted", "CEL expression output type mismatch: expected bool, got dyn"),
        ("1 + 'a' == req.a", "found no matching overload for '_+_' applied to '(int, string)'"),
    ] {
        filtered["resourceFilter"] = json!(wrong);
        let unready = readiness::check(&receiver(filtered.clone()), Some(&token)).unwrap_err();
        assert_eq!((unready.reason, unready.is_terminal), ("InvalidCELExpression", true), "{wrong}");
        assert!(unready.message.contains(why), "{wrong}: {}", unready.message);
    }
    let oidc = |validations: Value| json!({"type": "generic-oidc", "oidcProviders": [{"issuerURL": "https://a.io", "validations": validations}]});
    assert_eq!(check(oidc(json!([])), None), Err(("ValidationFailed", true)));
    let good = json!([{"expression": "true", "message": "m"}]);
    assert_eq!(check(oidc(good), None), Ok(readiness::path(b"", "hook", "apps")));
    for wrong in ["claims.admin", "claims.sub.size() == 'a'", "req.a == 1"] {
        let validations = json!([{"expression": wrong, "message": "m"}]);
        assert_eq!(check(oidc(validations), None), Err(("InvalidCELExpression", true)), "{wrong}");
    }
}

#[test]
fn networks_hold_their_addresses() {
    let with = |list: &str| {
        let mut receiver = receiver(json!({"type": "generic"}));
        receiver.annotations_mut().insert(readiness::ALLOW_FROM.into(), list.into());
        readiness::networks(&receiver)
    };
    let holds = |list: &str, address: &str| {
        with(list).unwrap().into_iter().any(|network: Network| network.holds(address.parse().unwrap()))
    };
    assert!(holds("10.0.0.0/8, 192.0.2.7", "10.200.3.4") && holds("10.0.0.0/8,192.0.2.7", "192.0.2.7"));
    assert!(
        holds("10.0.0.0/8", "::ffff:10.1.1.1")
            && holds("0.0.0.0/0", "8.8.8.8")
            && holds("2001:db8::/32", "2001:db8::1")
    );
    assert!(!holds("10.0.0.0/8", "11.0.0.1") && !holds("0.0.0.0/0", "2001:db8::1") && !holds("::/0", "8.8.8.8"));
    assert!(with("10.0.0.0/33").is_err() && with("").is_err() && with("example.com").is_err());
}

use kube::ResourceExt as _;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_call_breaks_a_judge(
        kind in 0usize..13, body in proptest::collection::vec(any::<u8>(), 0..200),
        value in "[ -~]{0,60}", media in "(application/json|application/x-www-form-urlencoded|[ -~]{0,20})",
    ) {
        let list: Vec<(&str, &str)> = ["x-signature", "x-hub-signature-256", "authorization", "x-gitlab-token", "ce-type",
            "x-nexus-webhook-signature"].into_iter().map(|name| (name, value.as_str())).chain([("content-type", media.as_str())]).collect();
        let headers = headers(&list);
        let hook = Hook { headers: &headers, body: &body };
        let spec = receiver(json!({"type": ReceiverType::ALL[kind], "events": ["push"], "resources": []})).spec;
        let _ = issuer(&spec, hook);
        let outcome = verify(&spec, &secret(&[("token", "secret"), ("email", "e"), ("audience", "a")]), hook, Some(&KeySet::default()), now());
        if !["generic", "dockerhub", "quay", "acr"].contains(&ReceiverType::ALL[kind].as_str()) {
            prop_assert!(outcome.is_err(), "nothing made up is believed");
        }
        let _ = payload::request(spec.kind, hook);
    }

    #[test]
    fn no_json_breaks_a_reader_of_bodies(text in "[{}\\[\\]\":,a-z0-9._-]{0,80}") {
        let _ = cdevents::check(text.as_bytes());
        let _ = payload::pubsub(text.as_bytes());
        let _ = KeySet::parse(text.as_bytes());
        let _ = Token::parse(&format!("{}.{}.x", BASE64_URL_SAFE_NO_PAD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)));
    }
}
