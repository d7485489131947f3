//! What is fuzzed: readers of what others write, and what must hold whatever they are given. `cargo fuzz` finds the bytes;
//! `tests/fuzz.rs` includes this file and tries made-up ones with every test run.

use std::cmp::Ordering;

use api::{
    image::{ImageRef, TagFilter},
    notification::{ReceiverSpec, ReceiverType},
};
use jiff::Timestamp;
use notification::receiver::{Hook, SecretData, cdevents, jwt::KeySet, payload, verify};
use oci::{Keychain, Name, manifest};
use policy::{Filter, Number, Range, Version, calver::Format};
use scanner::signature::{Proof, key::PublicKey, root::TrustedRoot};
use updater::setters::{Policies, edit};

/// A reader and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them: `fuzz_targets` has a file for each.
pub const TARGETS: [Target; 11] = [
    ("challenge", challenge),
    ("docker_config", docker_config),
    ("filter", filter),
    ("hook", hook),
    ("link", link),
    ("manifest", manifest),
    ("range", range),
    ("setters", setters),
    ("signature", signature),
    ("tag_list", tag_list),
    ("version", version),
];

/// The text in the bytes, cut at its first line break.
fn halves(data: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.split_once('\n').unwrap_or((text, "")))
}

/// `WWW-Authenticate`.
pub fn challenge(data: &[u8]) {
    let Some((value, more)) = halves(data) else { return };
    let _ = (oci::challenge::parse(value), oci::challenge::demand([value, more]));
}

/// Pull secrets and Docker's own configuration.
pub fn docker_config(data: &[u8]) {
    let name = Name::parse("registry.example.com:5000/team/app").expect("because it is a name");
    let read = [Keychain::from_dockerconfigjson, Keychain::from_dockercfg, Keychain::from_config_file];
    for keychain in read.iter().filter_map(|read| read(data).ok()) {
        let _ = keychain.merge(Keychain::default()).find(&name);
    }
}

/// Pattern, template and tag, one a line.
pub fn filter(data: &[u8]) {
    let Some((pattern, rest)) = halves(data) else { return };
    let (extract, tag) = rest.split_once('\n').unwrap_or((rest, ""));
    if let Ok(filter) = Filter::new(&TagFilter { pattern: pattern.into(), extract: extract.into() }) {
        let _ = filter.extractor()(tag);
    }
}

/// Calls of Receivers: the type by the first byte, a header to the line break, then the body.
pub fn hook(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (value, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let kind = ReceiverType::ALL[usize::from(*first) % ReceiverType::ALL.len()].as_str();
    let spec = serde_json::json!({"type": kind, "resources": [], "events": ["push"]});
    let spec: ReceiverSpec = serde_json::from_value(spec).expect("because these are its fields");
    let mut headers = http::HeaderMap::new();
    let names = ["x-signature", "x-hub-signature-256", "authorization", "x-gitlab-token", "ce-type", "content-type"];
    if let Ok(value) = http::HeaderValue::from_bytes(value) {
        names.iter().for_each(|name| drop(headers.insert(*name, value.clone())));
    }
    let call = Hook { headers: &headers, body };
    let secret = SecretData::from([("token".to_owned(), k8s_openapi::ByteString(b"a long secret".to_vec()))]);
    let believed = verify(&spec, &secret, call, Some(&KeySet::default()), Timestamp::UNIX_EPOCH).is_ok();
    let proves = |kind| matches!(kind, "generic" | "dockerhub" | "quay" | "acr");
    assert!(!believed || proves(kind) || value == b"a long secret", "{kind} believed what proves nothing");
    let _ = (payload::request(spec.kind, call), payload::pubsub(body), cdevents::check(body), KeySet::parse(body));
    let _ = payload::check(spec.kind.unwrap_or(ReceiverType::Generic), body);
}

/// `Link`.
pub fn link(data: &[u8]) {
    let Some((value, _)) = halves(data) else { return };
    let page = "https://registry.example.com/v2/team/app/tags/list?n=1000".parse().expect("because it is a URL");
    if let Ok(Some(next)) = oci::link::next(value, &page) {
        assert_eq!(next.origin(), page.origin(), "pages stay on the registry's host");
    }
}

/// Manifests, indexes and configurations.
pub fn manifest(data: &[u8]) {
    let _ = serde_json::from_slice::<manifest::Index>(data);
    let _ = serde_json::from_slice::<manifest::Manifest>(data);
    let _ = serde_json::from_slice::<manifest::Config>(data);
}

/// A range, and a version that it is asked about.
pub fn range(data: &[u8]) {
    let Some((range, version)) = halves(data) else { return };
    let (Ok(range), Ok(version)) = (Range::parse(range), Version::loose(version)) else { return };
    let matches = range.matches(&version);
    assert_eq!(matches, range.reasons(&version).is_empty(), "what is out of range has a reason");
    assert!(!matches || range.is_satisfiable(), "something is in range");
    assert!(!matches || range.including_prereleases().matches(&version), "more is in range with pre-releases");
}

/// A manifest with markers.
pub fn setters(data: &[u8]) {
    let image = ImageRef { name: "r.example/app".into(), tag: "2.0.0".into(), digest: "sha256:00".into() };
    let policies = Policies::new([("a:b".to_owned(), image)]);
    let Some(content) = edit("app.yaml", data, &policies).content else { return };
    let again = edit("app.yaml", &content, &policies);
    assert_eq!(again.content, None, "what was written is what is wanted");
}

/// What registries keep of signatures, and what Secrets hold of keys.
pub fn signature(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let names = ["dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"];
    let annotations = names.map(|name| (name.to_owned(), text.clone())).into();
    let _ = (Proof::simple(data, &annotations), Proof::bundle(data), TrustedRoot::parse(data));
    let _ = (PublicKey::from_pem(data), PublicKey::from_der(data));
}

/// A registry's list of tags.
pub fn tag_list(data: &[u8]) {
    let _ = oci::listing::tags_of(data);
}

/// Two tags, read as each of the orders reads them.
pub fn version(data: &[u8]) {
    let Some((one, other)) = halves(data) else { return };
    if let (Ok(one), Ok(other)) = (Version::tag(one), Version::tag(other)) {
        assert_eq!(one.precedence(&other), other.precedence(&one).reverse(), "both ways agree");
        assert_eq!(one.precedence(&one), Ordering::Equal, "nothing precedes itself");
    }
    let _ = (Version::strict(one), Version::loose(other));
    if let (Some(one), Some(other)) = (Number::parse(one), Number::parse(other)) {
        let _ = one.compare(&other);
    }
    if let Some(format) = Format::parse(one) {
        let _ = format.read(other);
    }
}
