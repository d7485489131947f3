//! Entries of the transparency log (Rekor): that a signature was made while its certificate was valid.
//!
//! What is checked is the log's promise to record the entry, and that the entry is about this very signature. Source:
//! Rekor's types `hashedrekord` 0.0.1 and `dsse` 0.0.1; cosign's `SIGNATURE_SPEC.md`; sigstore's `sigstore_rekor.proto`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Proof, Refusal,
    root::{TrustedRoot, log},
};

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is recorded, in base64.
    body: String,
    /// When, in seconds since 1970.
    recorded: i64,
    index: i64,
    /// Digest of the log's key.
    log: Vec<u8>,
    /// The log's signature over all of it.
    promise: Vec<u8>,
}

impl Entry {
    /// Reads the annotation `dev.sigstore.cosign/bundle`.
    pub fn from_annotation(json: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        let payload = &value["Payload"];
        Some(Self {
            body: payload["body"].as_str()?.to_owned(),
            recorded: payload["integratedTime"].as_i64()?,
            index: payload["logIndex"].as_i64()?,
            log: hex::decode(payload["logID"].as_str()?).ok()?,
            promise: STANDARD.decode(value["SignedEntryTimestamp"].as_str()?).ok()?,
        })
    }

    /// Reads an item of `tlogEntries`, where protobuf writes 64-bit numbers as text.
    pub fn from_bundle(value: &Value) -> Option<Self> {
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        Some(Self {
            body: value["canonicalizedBody"].as_str()?.to_owned(),
            recorded: number(&value["integratedTime"])?,
            index: number(&value["logIndex"])?,
            log: STANDARD.decode(value["logId"]["keyId"].as_str()?).ok()?,
            promise: STANDARD.decode(value["inclusionPromise"]["signedEntryTimestamp"].as_str()?).ok()?,
        })
    }

    /// When a log of the trusted root recorded this very signature.
    pub fn recorded(&self, proof: &Proof, root: &TrustedRoot) -> Result<Timestamp, Refusal> {
        let refused = |problem: &str| Refusal::Log(problem.to_owned());
        let at = Timestamp::from_second(self.recorded).map_err(|_| refused("its time cannot be read"))?;
        let log = log(&root.logs, &self.log, at).ok_or_else(|| refused("it is of a log that is not trusted"))?;
        let body = STANDARD.decode(&self.body).map_err(|_| refused("it cannot be read"))?;
        if !log.key.signed(self.promised().as_bytes(), &self.promise) {
            return Err(refused("the log has not signed it"));
        }
        match is_about(&body, proof) {
            Some(true) => Ok(at),
            Some(false) => Err(refused("it records another signature")),
            None => Err(refused("it is of a type that is not known")),
        }
    }

    /// The bytes that the log signed: JSON in canonical form. None of the texts needs escapes. Source: RFC 8785.
    fn promised(&self) -> String {
        let Self { body, recorded, index, .. } = self;
        let log = hex::encode(&self.log);
        format!("{{\"body\":\"{body}\",\"integratedTime\":{recorded},\"logID\":\"{log}\",\"logIndex\":{index}}}")
    }
}

/// Whether the entry records this signature by this certificate; none if it is of another type.
fn is_about(body: &[u8], proof: &Proof) -> Option<bool> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let spec = &body["spec"];
    let is = |value: &Value, expected: &[u8]| decoded(value).is_some_and(|bytes| bytes == expected);
    let by = |value: &Value| {
        let pem = decoded(value).and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
        pem.is_some() && pem == proof.certificate
    };
    let hash = |value: &Value, content: &[u8]| {
        value["algorithm"] == "sha256" && value["value"] == hex::encode(Sha256::digest(content)).as_str()
    };
    match (body["kind"].as_str()?, body["apiVersion"].as_str()?) {
        ("hashedrekord", "0.0.1") => {
            let signature = &spec["signature"];
            let is_signature = is(&signature["content"], &proof.signature) && by(&signature["publicKey"]["content"]);
            Some(is_signature && hash(&spec["data"]["hash"], &proof.signed))
        }
        ("dsse", "0.0.1") => {
            let mut signatures = spec["signatures"].as_array()?.iter();
            let is_signature = |one: &Value| is(&one["signature"], &proof.signature) && by(&one["verifier"]);
            Some(signatures.any(is_signature) && hash(&spec["payloadHash"], &proof.payload))
        }
        _ => None,
    }
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value.as_str()?).ok()
}
