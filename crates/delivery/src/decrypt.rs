//! SOPS: the encrypted values of objects are replaced by what they stand for.
//!
//! The data key is encrypted for age recipients; other key services are not asked. Source: reference delivery.md section 5.10.
//! As in Flux the message authentication code over the whole is not checked, since a build changes what it covers; each value
//! has one of its own, which is.

mod age;
mod bech32;

use std::collections::BTreeMap;

use aes_gcm::{
    AesGcm, KeyInit as _,
    aead::{Aead as _, Payload, consts::U32},
    aes::Aes256,
};
use api::meta::ObjectReference;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use age::Identity;

/// Name of the field that says how the others are encrypted.
const SOPS: &str = "sops";
/// Set to `disabled` on an object that stays as it is.
const OPT_OUT: &str = "kustomize.toolkit.fluxcd.io/decrypt";
/// Where an encrypted value of each kind of key service would be named.
const OTHER_SERVICES: [&str; 5] = ["kms", "gcp_kms", "azure_kv", "hc_vault", "pgp"];

/// Why an object cannot be decrypted. Holds nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key of the Secret is no list of age identities.
    #[error("{0} holds no age identity")]
    Identity(String),
    /// None of the identities opens the data key.
    #[error("no age identity of the Secret fits; the data key is for {recipients}")]
    NoIdentity {
        /// Whom it is for.
        recipients: String,
    },
    /// The data key is with a service that is not supported.
    #[error("its key is with {0}, which is not supported; use age")]
    Service(&'static str),
    /// The `sops` field names no key at all.
    #[error("its sops field names no key")]
    NoKey,
    /// A value cannot be decrypted.
    #[error("{0} cannot be decrypted: it was changed after it was encrypted")]
    Value(String),
}

/// The keys that things may be encrypted for.
#[derive(Clone, Default)]
pub struct Keys {
    identities: Vec<Identity>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.identities.len())
    }
}

impl Keys {
    /// The keys of a Secret: the age identities of members whose names end in `.agekey`.
    pub fn new(secret: &BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        let mut identities = Vec::new();
        for (name, content) in secret.iter().filter(|(name, _)| name.ends_with(".agekey")) {
            let text = String::from_utf8_lossy(content);
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let parsed: Option<Vec<_>> = lines.map(Identity::parse).collect();
            let parsed = parsed.filter(|parsed| !parsed.is_empty()).ok_or_else(|| Error::Identity(name.clone()))?;
            identities.extend(parsed);
        }
        Ok(Self { identities })
    }
}

/// Whether the object is encrypted as a whole.
pub fn is_encrypted(object: &Value) -> bool {
    object.get(SOPS).is_some_and(|sops| sops.as_object().is_some_and(|sops| !sops.is_empty()))
}

/// The objects in plain. The error names the object.
pub fn objects(objects: Vec<Value>, keys: &Keys) -> Result<Vec<Value>, String> {
    let plain = objects.into_iter().map(|object| {
        let id = ObjectReference::of(&object).map(|id| id.to_string()).unwrap_or_default();
        decrypt(object, keys).map_err(|error| format!("decryption failed for '{id}': {error}"))
    });
    plain.collect()
}

/// The object in plain, and so what a Secret holds as files that are encrypted.
fn decrypt(mut object: Value, keys: &Keys) -> Result<Value, Error> {
    if object["metadata"]["annotations"][OPT_OUT] == "disabled" {
        return Ok(object);
    }
    if is_encrypted(&object) {
        object = tree(object, keys)?;
    }
    if object["kind"] == "Secret"
        && let Some(data) = object.get_mut("data").and_then(Value::as_object_mut)
    {
        for (name, value) in data {
            let content = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
            if let Some(plain) = content.and_then(|content| file(name, &content, keys).transpose()) {
                *value = BASE64_STANDARD.encode(plain?).into();
            }
        }
    }
    Ok(object)
}

/// An encrypted file in plain; none if it is not encrypted. Its name tells the form of what comes out.
fn file(name: &str, content: &[u8], keys: &Keys) -> Result<Option<Vec<u8>>, Error> {
    let Ok(text) = std::str::from_utf8(content) else { return Ok(None) };
    if text.contains("\nsops_") && text.contains("=ENC[") {
        return dotenv(text, keys).map(|plain| Some(plain.into_bytes()));
    }
    if !text.contains("sops") || !text.contains("ENC[") {
        return Ok(None);
    }
    let Ok(parsed) = api::manifest::parse(text) else { return Ok(None) };
    if !is_encrypted(&parsed) {
        return Ok(None);
    }
    let plain = tree(parsed, keys)?;
    let is_one_of = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if is_one_of(&[".yaml", ".yml"]) {
        return Ok(serde_saphyr::to_string(&plain).ok().map(String::into_bytes));
    }
    match plain.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("data")) {
        // A file of any other form is kept as one value.
        Some(Value::String(data)) if !is_one_of(&["json"]) => Ok(Some(data.clone().into_bytes())),
        _ => Ok(Some(plain.to_string().into_bytes())),
    }
}

/// The lines of an environment file. SOPS keeps what it knows about the file in lines of its own.
fn dotenv(text: &str, keys: &Keys) -> Result<String, Error> {
    let lines = || text.lines().filter_map(|line| line.split_once('='));
    let sealed: Vec<_> = lines()
        .filter(|(name, _)| name.starts_with("sops_age__list_") && name.ends_with("__map_enc"))
        .map(|(_, sealed)| sealed.replace("\\n", "\n"))
        .collect();
    let key = keys.open(sealed.iter().map(String::as_str)).ok_or(Error::NoIdentity { recipients: "others".into() })?;
    let mut plain = String::new();
    for line in text.lines().filter(|line| !line.starts_with("sops_")) {
        match line.split_once('=') {
            Some((name, value)) if is_sealed(value) => {
                let opened = open(value, &format!("{name}:"), &key).ok_or_else(|| Error::Value(name.into()))?;
                let text = opened.as_str().map_or_else(|| opened.to_string(), str::to_owned);
                plain.push_str(&format!("{name}={text}\n"));
            }
            // A comment is sealed too, and says nothing to a program.
            None if is_sealed(line.trim_start_matches('#')) => {}
            _ => plain.push_str(&format!("{line}\n")),
        }
    }
    Ok(plain)
}

/// The tree in plain, without its `sops` field.
fn tree(value: Value, keys: &Keys) -> Result<Value, Error> {
    let Value::Object(mut members) = value else { return Ok(value) };
    let key = keys.data_key(&members.remove(SOPS).unwrap_or_default())?;
    let mut value = Value::Object(members);
    replace(&mut value, "", &key)?;
    Ok(value)
}

/// Every sealed text below `value`. `path` is the names that lead to it, each with a colon; places in lists have none.
fn replace(value: &mut Value, path: &str, key: &[u8]) -> Result<(), Error> {
    match value {
        Value::Object(members) => {
            members.iter_mut().try_for_each(|(name, value)| replace(value, &format!("{path}{name}:"), key))
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, path, key)),
        Value::String(text) if is_sealed(text) => {
            *value = open(text, path, key).ok_or_else(|| Error::Value(path.trim_end_matches(':').replace(':', ".")))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_sealed(text: &str) -> bool {
    text.starts_with("ENC[AES256_GCM,") && text.ends_with(']')
}

/// What `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` stands for at a path.
fn open(sealed: &str, path: &str, key: &[u8]) -> Option<Value> {
    let inner = sealed.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
    let part = |name: &str| inner.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix(':'));
    let bytes = |name: &str| BASE64_STANDARD.decode(part(name)?).ok();
    let (mut sealed, nonce) = (bytes("data")?, bytes("iv")?);
    sealed.extend(bytes("tag")?);
    let nonce: [u8; 32] = nonce.try_into().ok()?;
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(key).ok()?;
    let plain = cipher.decrypt(&nonce.into(), Payload { msg: &sealed, aad: path.as_bytes() }).ok()?;
    let text = String::from_utf8(plain).ok()?;
    match part("type")? {
        "int" => Some(Value::from(text.parse::<i64>().ok()?)),
        "float" => serde_json::Number::from_f64(text.parse().ok()?).map(Value::Number),
        "bool" => Some(Value::Bool(text.eq_ignore_ascii_case("true"))),
        _ => Some(Value::String(text)),
    }
}

impl Keys {
    /// The key of the values, which the `sops` field holds once for each recipient.
    fn data_key(&self, sops: &Value) -> Result<Vec<u8>, Error> {
        let entries: Vec<&Map<String, Value>> =
            sops["age"].as_array().into_iter().flatten().filter_map(Value::as_object).collect();
        if entries.is_empty() {
            let is_used = |name: &&&str| sops[**name].as_array().is_some_and(|entries| !entries.is_empty());
            return Err(OTHER_SERVICES.iter().find(is_used).map_or(Error::NoKey, |name| Error::Service(name)));
        }
        let text = |name: &'static str| move |entry: &&Map<String, Value>| Some(entry.get(name)?.as_str()?.to_owned());
        let sealed: Vec<String> = entries.iter().filter_map(text("enc")).collect();
        self.open(sealed.iter().map(String::as_str)).ok_or_else(|| {
            let recipients: Vec<_> = entries.iter().filter_map(text("recipient")).collect();
            Error::NoIdentity { recipients: recipients.join(", ") }
        })
    }

    fn open<'a>(&self, mut sealed: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
        sealed.find_map(|sealed| age::decrypt(sealed, &self.identities))
    }
}

#[cfg(test)]
mod tests;
