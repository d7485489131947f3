//! What cosign 3 writes: bundles whose time an authority for time stamps tells, with an entry in a log of Rekor's second version.

use super::*;
use crate::signature::{inclusion::tests::tree, timestamp};

const LOG: &str = "log.example";
/// Validity of certificates of which nothing is to be tested.
const LONG: (&str, &str) = ("20250101000000Z", "20350101000000Z");

/// The world of [`Keyless`] with an authority for time stamps, and a second log, which promises nothing.
struct Stamped {
    keyless: Keyless,
}

impl Stamped {
    fn new() -> Self {
        let stamped = Self { keyless: Keyless::new() };
        let workshop = stamped.workshop();
        workshop.key("stamper", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384");
        workshop.key("second", "-algorithm ed25519");
        workshop.issue("stamper", "root", "stamper", LONG.0, LONG.1);
        workshop.issue("signer", "middle", "leaf", LONG.0, LONG.1);
        stamped
    }

    fn workshop(&self) -> &Workshop {
        &self.keyless.workshop
    }

    /// A trusted root with these certificates of the authority for time stamps.
    fn root(&self, stampers: &[&str]) -> Value {
        let mut root = self.keyless.root();
        let chain: Vec<Value> =
            stampers.iter().map(|name| json!({"rawBytes": encode(self.workshop().der(name))})).collect();
        root["timestampAuthorities"] =
            json!([{"certChain": {"certificates": chain}, "validFor": {"start": "2025-01-01T00:00:00Z"}}]);
        let der = self.workshop().public_der("second");
        let second = json!({"logId": {"keyId": encode(Sha256::digest(&der))}, "hashAlgorithm": "SHA2_256",
            "publicKey": {"rawBytes": encode(der), "validFor": {"start": "2025-01-01T00:00:00Z"}}});
        root["tlogs"].as_array_mut().expect("logs").push(second);
        root["ctlogs"] = json!([]);
        root
    }

    fn usual_root(&self) -> Value {
        self.root(&["stamper.crt", "root.crt"])
    }

    /// The authority's answer, as openssl gives it.
    fn stamp(&self, message: &[u8], query: &[&str]) -> Vec<u8> {
        let workshop = self.workshop();
        std::fs::write(workshop.path("stamped"), message).expect("written");
        std::fs::write(workshop.path("stamp-serial"), "01\n").expect("written");
        let query = [&["ts", "-query", "-data", "stamped", "-out", "query"], query].concat();
        workshop.openssl(&query);
        let reply = ["ts", "-reply", "-config", "authority.cnf", "-section", "stamps", "-queryfile", "query"];
        let by = ["-signer", "stamper.crt", "-inkey", "stamper", "-out", "reply"];
        workshop.openssl(&[&reply[..], &by].concat());
        std::fs::read(workshop.path("reply")).expect("a reply")
    }

    /// An entry of the second log, which stands between others.
    fn entry(&self, body: &Value, signer: &str) -> Value {
        let body = body.to_string().into_bytes();
        let entries = [b"one".to_vec(), body.clone(), b"three".to_vec()];
        let (root, path) = tree(&entries, 1);
        let text = format!("{LOG}\n{}\n{}\n", entries.len(), encode(root));
        let signature = self.workshop().sign_by(signer, "", text.as_bytes());
        let note = encode([&[1, 2, 3, 4], &signature[..]].concat());
        let path: Vec<String> = path.iter().map(encode).collect();
        let log = encode(Sha256::digest(self.workshop().public_der("second")));
        json!({"logIndex": "1", "logId": {"keyId": log}, "canonicalizedBody": encode(body),
            "inclusionProof": {"logIndex": "1", "treeSize": entries.len().to_string(), "hashes": path,
                "checkpoint": {"envelope": format!("{text}\n\u{2014} {LOG} {note}\n")}}})
    }

    /// A bundle as cosign 3 writes it, recorded as that kind of entry.
    fn bundle(&self, image: &str, kind: &str) -> Value {
        let mut bundle = bundle(self.workshop(), "signer", image, SIGNED);
        let (text, enveloped) = statement(image, SIGNED);
        let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].clone();
        let certificate = json!({"rawBytes": encode(self.workshop().der("signer.crt"))});
        let verifier = json!({"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": certificate});
        let signed = json!({"content": signature, "verifier": verifier});
        let hash = |content: &[u8]| json!({"algorithm": "SHA2_256", "digest": encode(Sha256::digest(content))});
        let spec = match kind {
            "dsse" => json!({"dsseV002": {"payloadHash": hash(&text), "signatures": [signed]}}),
            _ => json!({"hashedRekordV002": {"data": hash(&enveloped), "signature": signed}}),
        };
        let entry = self.entry(&json!({"apiVersion": "0.0.2", "kind": kind, "spec": spec}), "second");
        let stamp = self.stamp(&STANDARD.decode(signature.as_str().expect("base64")).expect("base64"), &["-sha256"]);
        bundle["verificationMaterial"] = json!({"certificate": certificate, "tlogEntries": [entry],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": encode(stamp)}]}});
        bundle
    }

    fn checked(&self, root: &Value, bundle: &Value, image: &str) -> Result<(), String> {
        let trust = self.keyless.trust(root, &format!("^{ISSUER}$"), "^https://github.com/acme/.*$");
        checked(&trust, Proof::bundle(bundle.to_string().as_bytes()), image)
    }
}

#[test]
fn a_time_stamp_and_a_proof_of_inclusion_prove_an_identity() {
    let world = Stamped::new();
    let image = digest("image");
    let root = world.usual_root();
    for kind in ["dsse", "hashedrekord"] {
        let bundle = world.bundle(&image, kind);
        assert_eq!(world.checked(&root, &bundle, &image), Ok(()), "{kind}");
        let told = format!("the signature is about {image}");
        assert_eq!(world.checked(&root, &bundle, &digest("another")), Err(told));
    }
    let good = world.bundle(&image, "dsse");
    let refused = |pointer: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&format!("/verificationMaterial{pointer}")).expect(pointer) = value;
        world.checked(&root, &bundle, &image).expect_err(pointer)
    };
    let untimed = "neither a log nor a time stamp tells when the signature was made";
    assert_eq!(refused("/timestampVerificationData", Value::Null), untimed);
    let foreign = json!([{"signedTimestamp": encode(world.stamp(b"another", &["-sha256"]))}]);
    let told = refused("/timestampVerificationData/rfc3161Timestamps", foreign);
    assert_eq!(told, "the time stamp does not count: it is about something else");
    let proof = "/tlogEntries/0/inclusionProof";
    let elsewhere = "the entry of the transparency log does not count: the log's tree does not include it";
    assert_eq!(refused(&format!("{proof}/logIndex"), json!("0")), elsewhere);
    assert_eq!(refused(&format!("{proof}/treeSize"), json!("4")), elsewhere);
    assert_eq!(refused(&format!("{proof}/hashes/0"), json!(encode([7; 32]))), elsewhere);
    let other = json!({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": {"signatures": []}}});
    world.workshop().key("stranger-ed", "-algorithm ed25519");
    let unsigned = refused("/tlogEntries/0", world.entry(&other, "stranger-ed"));
    assert_eq!(unsigned, "the entry of the transparency log does not count: the log has not signed its checkpoint");
    let records_other = refused("/tlogEntries/0", world.entry(&other, "second"));
    assert_eq!(records_other, "the entry of the transparency log does not count: it records another signature");
    assert!(refused("/tlogEntries", json!([])).contains("no entry of a transparency log"));

    world.workshop().issue("signer", "middle", "leaf", "20240101000000Z", "20240102000000Z");
    let expired = world.bundle(&image, "dsse");
    let told = "the certificate does not count: it had expired when the signature was made";
    assert_eq!(world.checked(&root, &expired, &image), Err(told.into()));
}

#[test]
fn one_entry_of_a_trusted_log_must_count_and_none_be_wrong() {
    let world = Stamped::new();
    let (image, root) = (digest("image"), world.usual_root());
    let bundle = world.bundle(&image, "dsse");
    let good = bundle["verificationMaterial"]["tlogEntries"][0].clone();
    let with = |entries: &[&Value]| {
        let mut bundle = bundle.clone();
        bundle["verificationMaterial"]["tlogEntries"] = json!(entries);
        let told = world.checked(&root, &bundle, &image);
        told.map_err(|told| told.trim_start_matches("the entry of the transparency log does not count: ").to_owned())
    };
    let changed = |entry: &Value, pointer: &str, value: Value| {
        let mut entry = entry.clone();
        *entry.pointer_mut(pointer).expect(pointer) = value;
        entry
    };
    let unknown = changed(&good, "/logId/keyId", json!(encode([7; 32])));
    assert_eq!(with(&[&unknown, &good]), Ok(()));
    assert_eq!(with(&[&unknown]), Err("it is of a log that is not trusted".into()));
    let other = world
        .entry(&json!({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": {"signatures": []}}}), "second");
    let other = changed(&other, "/logIndex", json!("9"));
    assert_eq!(with(&[&good, &other]), Err("it records another signature".into()));
    assert_eq!(with(&[&good, &good]), Err("it is there twice".into()));
    assert!(with(&[&good, &json!({})]).expect_err("unreadable").contains("no entry of a transparency log"));
    let many = "the signature cannot be read: there are too many log entries or time stamps";
    assert_eq!(with(&[&good; 33]), Err(many.into()));

    // The first log promises, and may prove besides.
    let payload = bundle["dsseEnvelope"]["payload"].as_str().map(|text| STANDARD.decode(text).expect("base64"));
    let hash = json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(payload.expect("a payload")))});
    let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"].clone();
    let signatures = json!([{"signature": signature, "verifier": encode(world.workshop().pem("signer.crt"))}]);
    let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {"payloadHash": hash, "signatures": signatures}});
    let body = encode(body.to_string());
    let log = encode(Sha256::digest(world.workshop().public_der("log")));
    let promised = json!({"logIndex": "7", "logId": {"keyId": log}, "canonicalizedBody": body, "inclusionProof": null,
        "integratedTime": at(SIGNED_AT).as_second().to_string(),
        "inclusionPromise": {"signedEntryTimestamp": world.keyless.promise("log", &body, at(SIGNED_AT))}});
    assert_eq!(with(&[&promised]), Ok(()));
    assert_eq!(with(&[&promised, &good]), Ok(()));
    let late = changed(&promised, "/integratedTime", json!("1"));
    assert_eq!(with(&[&late]), Err("it is of a log that is not trusted".into()));
    let later = changed(&promised, "/integratedTime", json!((at(SIGNED_AT).as_second() + 1).to_string()));
    assert_eq!(with(&[&later]), Err("the log has not signed it".into()));
    assert_eq!(with(&[&later, &good]), Ok(()));
    let unproven = changed(&promised, "/inclusionProof", good["inclusionProof"].clone());
    assert_eq!(with(&[&unproven, &good]), Err("the log has not signed its checkpoint".into()));
}

#[test]
fn a_time_stamp_counts_only_as_a_trusted_authority_made_it() {
    let world = Stamped::new();
    let root = |chain: &[&str]| TrustedRoot::parse(world.root(chain).to_string().as_bytes()).expect("a root");
    let (bare, told) = (world.stamp(b"message", &["-sha512"]), world.stamp(b"message", &["-sha256", "-cert"]));
    let usual = root(&["stamper.crt", "root.crt"]);
    let at = timestamp::stamped(&bare, b"message", &usual).expect("a time");
    assert!(at > super::at("2025-01-01T00:00:00Z"), "{at}");
    // Only the token holds the authority's own certificate.
    assert!(timestamp::stamped(&told, b"message", &root(&["root.crt"])).is_ok());
    let refused = Err(Refusal::Stamp("no authority of the trusted root has made it".into()));
    assert_eq!(timestamp::stamped(&bare, b"message", &root(&["root.crt"])), refused);
    assert_eq!(timestamp::stamped(&told, b"message", &root(&["signer.crt", "middle.crt"])), refused);
    assert_eq!(timestamp::stamped(&told, b"message", &root(&[])), refused);
    let unreadable = Err(Refusal::Stamp("it cannot be read".into()));
    assert_eq!(timestamp::stamped(&bare[..bare.len() - 1], b"message", &usual), unreadable);
    // No bit of what is signed can be changed.
    for place in (0..bare.len()).step_by(3) {
        let mut changed = bare.clone();
        changed[place] ^= 1;
        if let Ok(found) = timestamp::stamped(&changed, b"message", &usual) {
            assert_eq!(found, at, "byte {place}");
        }
    }
}

proptest! {
    #[test]
    fn no_answer_of_an_authority_brings_the_reader_down(bytes in nested()) {
        let root = TrustedRoot {
            authorities: Vec::new(),
            logs: Vec::new(),
            certificate_logs: Vec::new(),
            stamp_authorities: Vec::new(),
        };
        prop_assert!(timestamp::stamped(&bytes, b"message", &root).is_err());
    }
}

/// Values of DER within each other, of the kinds that time stamps are made of.
fn nested() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop::sample::select(vec![0x02_u8, 0x04, 0x06, 0x18, 0x30, 0x31, 0xa0, 0xa1]);
    let leaf = (tag.clone(), prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(tag, content)| value(tag, &content));
    leaf.prop_recursive(8, 64, 6, move |inner| {
        (tag.clone(), prop::collection::vec(inner, 0..6)).prop_map(|(tag, parts)| value(tag, &parts.concat()))
    })
}

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

#[test]
fn a_time_stamp_stands_beside_a_promise_too() {
    let world = Stamped::new();
    let image = digest("image");
    let payload = payload(&image);
    let mut annotations = world.keyless.proof(&payload, SIGNED_AT);
    let signature = STANDARD.decode(&annotations["dev.cosignproject.cosign/signature"]).expect("base64");
    let stamp = json!({"SignedRFC3161Timestamp": encode(world.stamp(&signature, &["-sha256"]))});
    annotations.insert("dev.sigstore.cosign/rfc3161timestamp".into(), stamp.to_string());
    let trust = world.keyless.trust(&world.usual_root(), ".*", ".*");
    assert_eq!(checked(&trust, Proof::simple(&payload, &annotations), &image), Ok(()));
    // A stamp that nobody vouches for neither helps nor harms.
    annotations.insert("dev.sigstore.cosign/rfc3161timestamp".into(), "{}".into());
    assert_eq!(checked(&trust, Proof::simple(&payload, &annotations), &image), Ok(()));
}
