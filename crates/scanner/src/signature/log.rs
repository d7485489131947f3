//! Entries of the transparency log (Rekor): that it holds this very signature, and perhaps since when.
//!
//! A log of the first version promises to record an entry, with the time; one of the second proves that it has, and a time
//! stamp tells when. Source: Rekor's types `hashedrekord` and `dsse` 0.0.1 and 0.0.2; cosign's `SIGNATURE_SPEC.md`;
//! sigstore's `sigstore_rekor.proto`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{
    Proof, Refusal,
    inclusion::Inclusion,
    root::{Log, TrustedRoot},
};

/// An entry. At least one of a promise and a proof says that the log holds it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is recorded, in base64.
    body: String,
    index: i64,
    /// Digest of the log's key.
    log: Vec<u8>,
    promise: Option<Promise>,
    inclusion: Option<Inclusion>,
}

/// That the log will record the entry.
#[derive(Clone, Debug)]
struct Promise {
    /// When it was asked to, in seconds since 1970.
    recorded: i64,
    /// The log's signature over all of it.
    signature: Vec<u8>,
}

impl Entry {
    /// Reads the annotation `dev.sigstore.cosign/bundle`.
    pub fn from_annotation(json: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        let payload = &value["Payload"];
        Some(Self {
            body: payload["body"].as_str()?.to_owned(),
            index: payload["logIndex"].as_i64()?,
            log: hex::decode(payload["logID"].as_str()?).ok()?,
            promise: Some(Promise {
                recorded: payload["integratedTime"].as_i64()?,
                signature: decoded(&value["SignedEntryTimestamp"])?,
            }),
            inclusion: None,
        })
    }

    /// Reads an item of `tlogEntries`, where protobuf writes 64-bit numbers as text, and leaves out those that are 0.
    pub fn from_bundle(value: &Value) -> Option<Self> {
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let promise = decoded(&value["inclusionPromise"]["signedEntryTimestamp"]);
        let promise =
            promise.zip(number(&value["integratedTime"])).map(|(signature, recorded)| Promise { recorded, signature });
        let inclusion = match &value["inclusionProof"] {
            Value::Null => None,
            proof => Some(Inclusion::read(proof)?),
        };
        if promise.is_none() && inclusion.is_none() {
            return None;
        }
        Some(Self {
            body: value["canonicalizedBody"].as_str()?.to_owned(),
            index: number(&value["logIndex"]).unwrap_or_default(),
            log: decoded(&value["logId"]["keyId"])?,
            promise,
            inclusion,
        })
    }

    /// Where it stands, and nothing else does.
    pub fn place(&self) -> (&[u8], i64) {
        (&self.log, self.index)
    }

    /// When the log says that it recorded the entry.
    pub fn recorded(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.promise.as_ref()?.recorded).ok()
    }

    /// The log of the trusted root that the entry is of. An entry of which a promise is not signed is of nobody known. The
    /// signature was seen at `stamped` if anybody says so.
    pub fn log<'a>(&self, root: &'a TrustedRoot, stamped: Option<Timestamp>) -> Result<&'a Log, Refusal> {
        let refused = |problem: &str| Refusal::Log(problem.to_owned());
        let at = match self.promise {
            Some(_) => Some(self.recorded().ok_or_else(|| refused("its time cannot be read"))?),
            None => stamped,
        };
        let log =
            super::root::log(&root.logs, &self.log, at).ok_or_else(|| refused("it is of a log that is not trusted"))?;
        match &self.promise {
            Some(promise) if !log.key.signed(self.promised(promise.recorded).as_bytes(), &promise.signature) => {
                Err(refused("the log has not signed it"))
            }
            _ => Ok(log),
        }
    }

    /// Checks that the log holds the entry, as far as it is proven, and that the entry is about this very signature.
    pub fn check(&self, log: &Log, proof: &Proof) -> Result<(), Refusal> {
        let refused = |problem: &str| Refusal::Log(problem.to_owned());
        let body = STANDARD.decode(&self.body).map_err(|_| refused("it cannot be read"))?;
        if let Some(inclusion) = &self.inclusion {
            inclusion.check(&body, &log.key).map_err(refused)?;
        }
        match is_about(&body, proof) {
            Some(true) => Ok(()),
            Some(false) => Err(refused("it records another signature")),
            None => Err(refused("it is of a type that is not known")),
        }
    }

    /// The bytes that the log signed: JSON in canonical form. None of the texts needs escapes. Source: RFC 8785.
    fn promised(&self, recorded: i64) -> String {
        let Self { body, index, .. } = self;
        let log = hex::encode(&self.log);
        format!("{{\"body\":\"{body}\",\"integratedTime\":{recorded},\"logID\":\"{log}\",\"logIndex\":{index}}}")
    }
}

/// Whether the entry records this signature by this certificate; none if it is of another type.
fn is_about(body: &[u8], proof: &Proof) -> Option<bool> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let spec = &body["spec"];
    let is_signature = |content: &Value| decoded(content).is_some_and(|bytes| bytes == proof.signature);
    // In the first version a certificate is PEM in base64, in the second DER.
    let by_pem = |value: &Value| {
        let pem = decoded(value).and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
        pem.is_some() && pem == proof.certificate
    };
    let by_der = |verifier: &Value| {
        let der = decoded(&verifier["x509Certificate"]["rawBytes"]).map(CertificateDer::from);
        der.is_some() && der == proof.certificate
    };
    let hexadecimal = |value: &Value| hex::decode(value["value"].as_str()?).ok();
    Some(match (body["kind"].as_str()?, body["apiVersion"].as_str()?) {
        ("hashedrekord", "0.0.1") => {
            let (signature, hash) = (&spec["signature"], &spec["data"]["hash"]);
            is_signature(&signature["content"])
                && by_pem(&signature["publicKey"]["content"])
                && is_digest(&hash["algorithm"], hexadecimal(hash), &proof.signed)
        }
        ("dsse", "0.0.1") => {
            let hash = &spec["payloadHash"];
            let is_ours = |one: &Value| is_signature(&one["signature"]) && by_pem(&one["verifier"]);
            spec["signatures"].as_array()?.iter().any(is_ours)
                && is_digest(&hash["algorithm"], hexadecimal(hash), &proof.payload)
        }
        ("hashedrekord", "0.0.2") => {
            let record = &spec["hashedRekordV002"];
            let (signature, data) = (&record["signature"], &record["data"]);
            is_signature(&signature["content"])
                && by_der(&signature["verifier"])
                && is_digest(&data["algorithm"], decoded(&data["digest"]), &proof.signed)
        }
        ("dsse", "0.0.2") => {
            let (record, hash) = (&spec["dsseV002"], &spec["dsseV002"]["payloadHash"]);
            let is_ours = |one: &Value| is_signature(&one["content"]) && by_der(&one["verifier"]);
            record["signatures"].as_array()?.iter().any(is_ours)
                && is_digest(&hash["algorithm"], decoded(&hash["digest"]), &proof.payload)
        }
        _ => return None,
    })
}

/// Whether it is the digest of the content by the algorithm of that name.
fn is_digest(algorithm: &Value, digest: Option<Vec<u8>>, content: &[u8]) -> bool {
    let expected = match algorithm.as_str() {
        Some("sha256" | "SHA2_256") => Sha256::digest(content).to_vec(),
        Some("sha384" | "SHA2_384") => Sha384::digest(content).to_vec(),
        Some("sha512" | "SHA2_512") => Sha512::digest(content).to_vec(),
        _ => return false,
    };
    digest == Some(expected)
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
