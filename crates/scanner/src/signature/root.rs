//! Whom keyless signatures are checked against: authorities that issue certificates, and logs.
//!
//! Source: sigstore's protobuf-specs, `sigstore_trustroot.proto`, in its JSON form, as `cosign trusted-root create` writes it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::key::PublicKey;

/// The content of `trusted_root.json`.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    /// Who issues certificates.
    pub authorities: Vec<Authority>,
    /// Where signatures are recorded (Rekor).
    pub logs: Vec<Log>,
    /// Where certificates are recorded.
    pub certificate_logs: Vec<Log>,
    /// Who tells when signatures were made.
    pub stamp_authorities: Vec<Authority>,
}

/// An authority.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its certificates, the root last.
    pub chain: Vec<CertificateDer<'static>>,
    /// When it issues.
    pub valid: Period,
}

/// A log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Digest of its key.
    pub id: Vec<u8>,
    /// What it signs with.
    pub key: PublicKey,
    /// When it records.
    pub valid: Period,
}

/// A time with a beginning and perhaps an end.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Period {
    #[serde(default)]
    start: Option<Timestamp>,
    #[serde(default)]
    end: Option<Timestamp>,
}

impl Period {
    /// Whether it holds the time.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= at) && self.end.is_none_or(|end| at <= end)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    tlogs: Vec<LogEntry>,
    #[serde(default)]
    certificate_authorities: Vec<AuthorityEntry>,
    #[serde(default)]
    ctlogs: Vec<LogEntry>,
    #[serde(default)]
    timestamp_authorities: Vec<AuthorityEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    public_key: KeyEntry,
    log_id: KeyId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyEntry {
    raw_bytes: String,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityEntry {
    cert_chain: Chain,
    #[serde(default)]
    valid_for: Period,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<RawBytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBytes {
    raw_bytes: String,
}

impl TrustedRoot {
    /// Reads the file. A key that cannot be read is an error: without it, less would be asked of a signature.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let authority = |entry: AuthorityEntry| {
            let chain =
                entry.cert_chain.certificates.iter().map(|one| decode(&one.raw_bytes).map(CertificateDer::from));
            Ok::<_, String>(Authority { chain: chain.collect::<Result<_, _>>()?, valid: entry.valid_for })
        };
        let log = |entry: LogEntry| {
            let key = PublicKey::from_der(&decode(&entry.public_key.raw_bytes)?);
            let key = key.map_err(|problem| format!("the key of a log cannot be used: {problem}"))?;
            Ok::<_, String>(Log { id: decode(&entry.log_id.key_id)?, key, valid: entry.public_key.valid_for })
        };
        let root = Self {
            authorities: document.certificate_authorities.into_iter().map(authority).collect::<Result<_, _>>()?,
            logs: document.tlogs.into_iter().map(log).collect::<Result<_, _>>()?,
            certificate_logs: document.ctlogs.into_iter().map(log).collect::<Result<_, _>>()?,
            stamp_authorities: document.timestamp_authorities.into_iter().map(authority).collect::<Result<_, _>>()?,
        };
        match (root.authorities.is_empty(), root.logs.is_empty()) {
            (true, _) => Err("it names no certificate authority".into()),
            (_, true) => Err("it names no transparency log".into()),
            _ => Ok(root),
        }
    }
}

/// The log with that identifier, if it recorded at that time; at any if nobody says when.
pub(super) fn log<'a>(logs: &'a [Log], id: &[u8], at: Option<Timestamp>) -> Option<&'a Log> {
    logs.iter().find(|log| log.id == id && at.is_none_or(|at| log.valid.contains(at)))
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|_| "something that should be base64 is not".to_owned())
}
