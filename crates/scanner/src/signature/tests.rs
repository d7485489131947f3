//! Signatures made by openssl, written as cosign writes them.

use std::{path::Path, process::Command};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _, asn1::OctetStringRef},
};

use super::*;

mod cosign;
mod stamps;

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const SUBJECT: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main";
/// In the ten minutes for which the signer's certificate is valid.
const SIGNED_AT: &str = "2026-01-01T00:05:00Z";

/// A folder in which openssl makes keys, certificates and signatures.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authority.cnf"), AUTHORITY).expect("written");
        Self { folder }
    }

    fn openssl(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        let output = output.expect("openssl runs (apt-get install openssl)");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key; the options are those of `openssl genpkey`.
    pub(crate) fn key(&self, name: &str, options: &str) {
        let mut arguments = vec!["genpkey", "-out", name];
        arguments.extend(options.split(' '));
        self.openssl(&arguments);
    }

    /// Makes a key as cosign does.
    pub(crate) fn usual_key(&self, name: &str) {
        self.key(name, "-algorithm EC -pkeyopt ec_paramgen_curve:P-256");
    }

    /// A key's public half in PEM.
    pub(crate) fn public(&self, name: &str) -> String {
        String::from_utf8(self.openssl(&["pkey", "-in", name, "-pubout"])).expect("PEM")
    }

    fn public_der(&self, name: &str) -> Vec<u8> {
        self.openssl(&["pkey", "-in", name, "-pubout", "-outform", "DER"])
    }

    pub(crate) fn sign(&self, key: &str, message: &[u8]) -> Vec<u8> {
        self.sign_by(key, "-sha256", message)
    }

    fn sign_by(&self, key: &str, hash: &str, message: &[u8]) -> Vec<u8> {
        std::fs::write(self.path("message"), message).expect("written");
        match hash {
            "" => self.openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", "message"]),
            hash => self.openssl(&["dgst", hash, "-sign", key, "message"]),
        }
    }

    /// Issues a certificate for a key.
    fn issue(&self, key: &str, by: &str, section: &str, from: &str, until: &str) -> Vec<u8> {
        let (request, certificate) = (format!("{key}.csr"), format!("{key}.crt"));
        let (authority, authority_key) = (format!("{by}.crt"), by);
        let subject = format!("/CN={key}");
        // The same number each time: a certificate with and without stamps must not differ in it.
        for (name, content) in [("serial", "42\n"), ("index.txt", "")] {
            std::fs::write(self.path(name), content).expect("written");
        }
        self.openssl(&["req", "-new", "-config", "authority.cnf", "-key", key, "-out", &request, "-subj", &subject]);
        let issue = ["ca", "-batch", "-notext", "-config", "authority.cnf", "-in", &request, "-out", &certificate];
        let how = ["-cert", &authority, "-keyfile", authority_key, "-extensions", section];
        self.openssl(&[&issue[..], &how, &["-startdate", from, "-enddate", until]].concat());
        self.der(&certificate)
    }

    fn der(&self, certificate: &str) -> Vec<u8> {
        self.openssl(&["x509", "-in", certificate, "-outform", "DER"])
    }

    fn pem(&self, certificate: &str) -> String {
        std::fs::read_to_string(Path::new(&self.path(certificate))).expect("a certificate")
    }
}

/// What openssl's own small authority needs to know.
const AUTHORITY: &str = "
[req]
distinguished_name = none
[none]
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[middle]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
extendedKeyUsage = codeSigning
[stamper]
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[stamps]
serial = stamp-serial
default_policy = 1.2.3.4
digests = sha256, sha512
signer_digest = sha384
ess_cert_id_alg = sha256
[leaf]
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
subjectAltName = critical, URI:https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main
1.3.6.1.4.1.57264.1.8 = ASN1:UTF8String:https://token.actions.githubusercontent.com
[server]
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = critical, URI:https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main
1.3.6.1.4.1.57264.1.8 = ASN1:UTF8String:https://token.actions.githubusercontent.com
";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// An image's digest.
fn digest(of: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(of)))
}

/// What `cosign sign` signs. Source: cosign's `SIGNATURE_SPEC.md`.
pub(crate) fn payload(digest: &str) -> Vec<u8> {
    let critical = json!({"identity": {"docker-reference": "r.example/app"},
        "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"});
    json!({"critical": critical, "optional": null}).to_string().into_bytes()
}

/// The annotations of a layer with a signature by a key.
pub(crate) fn annotations(signature: &[u8]) -> BTreeMap<String, String> {
    [("dev.cosignproject.cosign/signature".to_owned(), encode(signature))].into()
}

/// The statement of a bundle, and the bytes that are signed for it.
fn statement(digest: &str, predicate: &str) -> (Vec<u8>, Vec<u8>) {
    let hex = digest.trim_start_matches("sha256:");
    let statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": hex}}],
        "predicateType": predicate, "predicate": {}});
    let text = statement.to_string();
    let enveloped = format!("DSSEv1 28 application/vnd.in-toto+json {} {text}", text.len());
    (text.into_bytes(), enveloped.into_bytes())
}

/// A bundle by a key. Source: cosign's `BUNDLE_SPEC.md`, sigstore's `sigstore_bundle.proto`.
pub(crate) fn bundle(workshop: &Workshop, key: &str, digest: &str, predicate: &str) -> Value {
    let (text, enveloped) = statement(digest, predicate);
    let signature = workshop.sign(key, &enveloped);
    json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {"payload": encode(text), "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": encode(signature)}]}})
}

fn checked(trust: &Trust, proof: Result<Proof, Refusal>, digest: &str) -> Result<(), String> {
    proof.and_then(|proof| trust.check(&proof, digest)).map_err(|refusal| refusal.to_string())
}

fn trusting(workshop: &Workshop, key: &str) -> Trust {
    Trust::Keys(PublicKey::from_pem(workshop.public(key).as_bytes()).expect(key))
}

#[test]
fn keys_of_each_kind_sign() {
    let workshop = Workshop::new();
    let image = digest("image");
    let p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    for (name, options, hashes) in [
        ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", &["-sha256"][..]),
        ("p384", p384, &["-sha256", "-sha384"]),
        ("p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", &["-sha256", "-sha512"]),
        ("ed25519", "-algorithm ed25519", &[""]),
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", &["-sha256"]),
    ] {
        workshop.key(name, options);
        workshop.key("other", options);
        let (trust, others) = (trusting(&workshop, name), trusting(&workshop, "other"));
        for hash in hashes {
            let payload = payload(&image);
            let annotations = annotations(&workshop.sign_by(name, hash, &payload));
            let proof = || Proof::simple(&payload, &annotations);
            assert_eq!(checked(&trust, proof(), &image), Ok(()), "{name} {hash}");
            let refused = checked(&others, proof(), &image);
            assert_eq!(refused, Err("no trusted key has made the signature".into()), "{name} {hash}");
            let told = format!("the signature is about {image}");
            assert_eq!(checked(&trust, proof(), &digest("another")), Err(told), "{name} {hash}");
            let mut tampered = payload.clone();
            tampered.push(b' ');
            let refused = checked(&trust, Proof::simple(&tampered, &annotations), &image);
            assert_eq!(refused, Err("no trusted key has made the signature".into()), "{name} {hash}");
        }
    }
    workshop.key("k1", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1");
    let problem = PublicKey::from_pem(workshop.public("k1").as_bytes()).expect_err("it cannot be checked");
    assert_eq!(problem, "it is neither ECDSA on P-256, P-384 or P-521, nor Ed25519, nor RSA");
    assert!(PublicKey::from_pem(b"").is_err());
}

#[test]
fn what_is_no_signature_is_refused() {
    let workshop = Workshop::new();
    workshop.usual_key("key");
    let (trust, image) = (trusting(&workshop, "key"), digest("image"));
    let signed = |payload: &[u8]| Proof::simple(payload, &annotations(&workshop.sign("key", payload)));
    let unnamed = "the signature cannot be read: what is signed does not name an image";
    for text in ["{}", "[]", "no JSON", "{\"critical\": {\"image\": {\"docker-manifest-digest\": \"x\"}}}"] {
        assert_eq!(checked(&trust, signed(text.as_bytes()), &image), Err(unnamed.into()), "{text}");
    }
    let missing = Proof::simple(b"{}", &BTreeMap::new()).expect_err("nothing");
    assert_eq!(missing.to_string(), "the signature cannot be read: the annotation with the signature is missing");
    let good = bundle(&workshop, "key", &image, SIGNED);
    assert_eq!(checked(&trust, Proof::bundle(good.to_string().as_bytes()), &image), Ok(()));
    let told = format!("the signature is about {image}");
    assert_eq!(checked(&trust, Proof::bundle(good.to_string().as_bytes()), &digest("another")), Err(told));
    let attested = bundle(&workshop, "key", &image, "https://slsa.dev/provenance/v1");
    let told = "the signature cannot be read: the statement is not a signature but attests something else";
    assert_eq!(checked(&trust, Proof::bundle(attested.to_string().as_bytes()), &image), Err(told.into()));
    let message = json!({"messageSignature": {}});
    assert!(Proof::bundle(message.to_string().as_bytes()).is_err());
}

/// An authority, a log, a log of certificates, and a signer whose certificate they know.
struct Keyless {
    workshop: Workshop,
}

impl Keyless {
    fn new() -> Self {
        let workshop = Workshop::new();
        for key in ["root", "middle", "signer", "log", "certificates", "stranger"] {
            workshop.usual_key(key);
        }
        let root = ["req", "-x509", "-config", "authority.cnf", "-extensions", "root", "-key", "root"];
        workshop.openssl(&[&root[..], &["-out", "root.crt", "-subj", "/CN=root", "-days", "30"]].concat());
        workshop.issue("middle", "root", "middle", "20250101000000Z", "20350101000000Z");
        let keyless = Self { workshop };
        keyless.stamped("certificates");
        keyless
    }

    fn leaf(&self, section: &str) -> Vec<u8> {
        self.workshop.issue("signer", "middle", section, "20260101000000Z", "20260101001000Z")
    }

    /// Issues the signer's certificate with the stamp of a log that has this key.
    fn stamped(&self, key: &str) {
        let workshop = &self.workshop;
        let certificate = Certificate::from_der(&self.leaf("leaf")).expect("a certificate");
        let bare = certificate.tbs_certificate.to_der().expect("DER");
        let middle = Certificate::from_der(&workshop.der("middle.crt")).expect("a certificate");
        let issuer = Sha256::digest(middle.tbs_certificate.subject_public_key_info.to_der().expect("DER"));
        let time = at("2026-01-01T00:00:00Z").as_millisecond().to_be_bytes();
        let length = u32::try_from(bare.len()).expect("short").to_be_bytes();
        let covered = [&[0, 0][..], &time, &[0, 1], &issuer, &length[1..], &bare, &[0, 0]].concat();
        let signature = workshop.sign(key, &covered);
        let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat();
        let log = Sha256::digest(workshop.public_der("certificates"));
        let stamp = [&[0][..], &log, &time, &[0, 0], &[4, 3], &counted(&signature)].concat();
        let list = counted(&counted(&stamp));
        let extension = hex::encode(OctetStringRef::new(&list).and_then(|list| list.to_der()).expect("DER"));
        let leaf = AUTHORITY.split("[leaf]").nth(1).and_then(|rest| rest.split("[server]").next()).expect("a section");
        let section = format!("{AUTHORITY}[stamped]{leaf}1.3.6.1.4.1.11129.2.4.2 = DER:{extension}\n");
        std::fs::write(workshop.path("authority.cnf"), section).expect("written");
        self.leaf("stamped");
    }

    fn root(&self) -> Value {
        let key = |name: &str| {
            let der = self.workshop.public_der(name);
            json!({"logId": {"keyId": encode(Sha256::digest(&der))}, "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": encode(der), "validFor": {"start": "2025-01-01T00:00:00Z"}}})
        };
        let chain = ["middle.crt", "root.crt"].map(|name| json!({"rawBytes": encode(self.workshop.der(name))}));
        json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [key("log")], "ctlogs": [key("certificates")],
            "certificateAuthorities": [{"certChain": {"certificates": chain},
                "validFor": {"start": "2025-01-01T00:00:00Z"}}]})
    }

    fn trust(&self, root: &Value, issuer: &str, subject: &str) -> Trust {
        let root = Box::new(TrustedRoot::parse(root.to_string().as_bytes()).expect("a root"));
        let identity = OidcIdentity { issuer: issuer.into(), subject: subject.into() };
        Trust::Identities { root, identities: vec![Identity::new(&identity).expect("patterns")] }
    }

    fn usual_trust(&self) -> Trust {
        self.trust(&self.root(), &format!("^{ISSUER}$"), "^https://github.com/acme/.*$")
    }

    /// What Rekor records of a signature.
    fn record(&self, signed: &[u8], signature: &[u8]) -> String {
        let key = json!({"content": encode(self.workshop.pem("signer.crt"))});
        let hash = json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(signed))});
        let spec = json!({"data": {"hash": hash}, "signature": {"content": encode(signature), "publicKey": key}});
        encode(json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}).to_string())
    }

    /// The log's promise.
    fn promise(&self, log: &str, body: &str, recorded: Timestamp) -> String {
        let id = hex::encode(Sha256::digest(self.workshop.public_der("log")));
        let time = recorded.as_second();
        let text = format!("{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"{id}\",\"logIndex\":7}}");
        encode(self.workshop.sign(log, text.as_bytes()))
    }

    /// A signature with everything that cosign leaves beside it.
    fn proof(&self, payload: &[u8], recorded: &str) -> BTreeMap<String, String> {
        let signature = self.workshop.sign("signer", payload);
        let body = self.record(payload, &signature);
        let mut all = annotations(&signature);
        all.insert("dev.sigstore.cosign/certificate".into(), self.workshop.pem("signer.crt"));
        all.insert("dev.sigstore.cosign/bundle".into(), self.entry("log", &body, recorded));
        all
    }

    fn entry(&self, log: &str, body: &str, recorded: &str) -> String {
        let id = hex::encode(Sha256::digest(self.workshop.public_der("log")));
        let time = at(recorded);
        json!({"SignedEntryTimestamp": self.promise(log, body, time),
            "Payload": {"body": body, "integratedTime": time.as_second(), "logIndex": 7, "logID": id}})
        .to_string()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn an_identity_is_proven_by_its_certificate_and_the_logs() {
    let keyless = Keyless::new();
    let image = digest("image");
    let payload = payload(&image);
    let proof = keyless.proof(&payload, SIGNED_AT);
    let by = |trust: &Trust, annotations: &BTreeMap<String, String>| {
        checked(trust, Proof::simple(&payload, annotations), &image)
    };
    assert_eq!(by(&keyless.usual_trust(), &proof), Ok(()));
    for (issuer, subject) in [("^https://accounts", ".*"), (".*", "^https://github.com/evil/.*$")] {
        let told = format!("signed by {SUBJECT}, for whom {ISSUER} vouches: not an identity that is asked for");
        assert_eq!(by(&keyless.trust(&keyless.root(), issuer, subject), &proof), Err(told));
    }
    for (recorded, problem) in [
        ("2026-01-01T00:10:01Z", "it had expired when the signature was made"),
        ("2025-12-31T23:59:59Z", "it was not valid yet when the signature was made"),
    ] {
        let told = format!("the certificate does not count: {problem}");
        assert_eq!(by(&keyless.usual_trust(), &keyless.proof(&payload, recorded)), Err(told));
    }

    let without = |name: &str| {
        let mut all = proof.clone();
        all.remove(name);
        by(&keyless.usual_trust(), &all).expect_err(name)
    };
    assert_eq!(without("dev.sigstore.cosign/certificate"), "the signature carries no certificate");
    assert!(without("dev.sigstore.cosign/bundle").contains("no entry of a transparency log"));
    let keys = trusting(&keyless.workshop, "stranger");
    assert_eq!(by(&keys, &proof), Err("no trusted key has made the signature".into()));
}

#[test]
fn entries_of_the_log_must_be_signed_and_about_this_signature() {
    let keyless = Keyless::new();
    let image = digest("image");
    let payload = payload(&image);
    let with = |entry: String| {
        let mut all = keyless.proof(&payload, SIGNED_AT);
        all.insert("dev.sigstore.cosign/bundle".into(), entry);
        let told = checked(&keyless.usual_trust(), Proof::simple(&payload, &all), &image).expect_err("refused");
        told.trim_start_matches("the entry of the transparency log does not count: ").to_owned()
    };
    let another = keyless.record(b"another", &keyless.workshop.sign("signer", b"another"));
    assert_eq!(with(keyless.entry("log", &another, SIGNED_AT)), "it records another signature");
    assert_eq!(with(keyless.entry("stranger", &another, SIGNED_AT)), "the log has not signed it");
    let unknown = encode(json!({"apiVersion": "0.0.1", "kind": "helm", "spec": {}}).to_string());
    assert_eq!(with(keyless.entry("log", &unknown, SIGNED_AT)), "it is of a type that is not known");
    assert_eq!(with(keyless.entry("log", &another, "2024-12-31T00:00:00Z")), "it is of a log that is not trusted");
    assert!(with("{}".into()).contains("no entry"));
}

#[test]
fn certificates_must_be_issued_for_code_by_a_trusted_authority_and_stamped() {
    let keyless = Keyless::new();
    let image = digest("image");
    let payload = payload(&image);
    let by = |root: &Value| {
        let trust = keyless.trust(root, ".*", ".*");
        checked(&trust, Proof::simple(&payload, &keyless.proof(&payload, SIGNED_AT)), &image)
    };
    let told = |root: &Value| {
        let told = by(root).expect_err("refused");
        told.trim_start_matches("the certificate does not count: ").to_owned()
    };
    let mut late = keyless.root();
    late["certificateAuthorities"][0]["validFor"] = json!({"start": "2026-06-01T00:00:00Z"});
    assert_eq!(told(&late), "no authority of the trusted root issued certificates then");
    let other = Keyless::new();
    let mut foreign = keyless.root();
    foreign["certificateAuthorities"] = other.root()["certificateAuthorities"].clone();
    assert_eq!(told(&foreign), "no authority of the trusted root issued it");
    keyless.stamped("stranger");
    assert_eq!(told(&keyless.root()), "no certificate log of the trusted root has stamped it");
    keyless.leaf("leaf");
    assert_eq!(told(&keyless.root()), "it has no stamp of a certificate log");
    let mut unlogged = keyless.root();
    unlogged["ctlogs"] = json!([]);
    assert_eq!(by(&unlogged), Ok(()), "who names no certificate log asks for no stamp");
    keyless.leaf("server");
    assert_eq!(told(&unlogged), "it is not for signing code");
}

#[test]
fn a_bundle_proves_an_identity_too() {
    let keyless = Keyless::new();
    let image = digest("image");
    let mut bundle = bundle(&keyless.workshop, "signer", &image, SIGNED);
    let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].clone();
    let (text, _) = statement(&image, SIGNED);
    let hash = json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(&text))});
    let verifier = encode(keyless.workshop.pem("signer.crt"));
    let spec = json!({"payloadHash": hash, "signatures": [{"signature": signature, "verifier": verifier}]});
    let body = encode(json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).to_string());
    let time = at(SIGNED_AT);
    let entry = json!({"logIndex": "7", "logId": {"keyId": encode(Sha256::digest(keyless.workshop.public_der("log")))},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"}, "integratedTime": time.as_second().to_string(),
        "inclusionPromise": {"signedEntryTimestamp": keyless.promise("log", &body, time)},
        "canonicalizedBody": body});
    bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": encode(keyless.workshop.der("signer.crt"))},
        "tlogEntries": [entry]});
    let by = |bundle: &Value| checked(&keyless.usual_trust(), Proof::bundle(bundle.to_string().as_bytes()), &image);
    assert_eq!(by(&bundle), Ok(()));
    let mut unpromised = bundle.clone();
    unpromised["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"] = Value::Null;
    assert!(by(&unpromised).expect_err("no promise").contains("no entry of a transparency log"));
    bundle["dsseEnvelope"]["payload"] = encode(statement(&digest("another"), SIGNED).0).into();
    assert!(by(&bundle).is_err());
}

#[test]
fn a_root_that_lacks_something_is_refused() {
    for (text, problem) in [
        ("{}", "it names no certificate authority"),
        ("{\"certificateAuthorities\": [{\"certChain\": {\"certificates\": []}}]}", "it names no transparency log"),
        (
            "{\"tlogs\": [{\"publicKey\": {\"rawBytes\": \"AA==\"}, \"logId\": {\"keyId\": \"AA==\"}}]}",
            "the key of a log",
        ),
        ("no JSON", ""),
    ] {
        let told = TrustedRoot::parse(text.as_bytes()).expect_err(text);
        assert!(told.contains(problem), "{text}: {told}");
    }
}

proptest! {
    #[test]
    fn no_answer_of_a_registry_brings_the_reader_down(bytes: Vec<u8>, text: String) {
        let all = ["dev.cosignproject.cosign/signature", "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle"];
        let annotations = all.map(|name| (name.to_owned(), text.clone())).into();
        let _ = (Proof::simple(&bytes, &annotations), Proof::bundle(&bytes), TrustedRoot::parse(&bytes));
        let _ = (PublicKey::from_pem(&bytes), PublicKey::from_der(&bytes), certificate::stamps(&bytes));
    }
}
