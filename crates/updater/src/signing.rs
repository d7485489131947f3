//! The key that signs commits, out of its Secret. Pure.
//! Source: reference image-automation.md section 6.6.

use std::collections::BTreeMap;

use git::{InvalidKey, SigningKey};
use jiff::Timestamp;

/// Which key of a Secret holds what, for one type of signing key.
struct Layout {
    key: &'static str,
    article: &'static str,
    passphrase: &'static str,
}

/// Reads the key of a type (`gpg` or `ssh`) from the Secret of that name. The error texts are Flux's.
pub fn read(kind: &str, secret: &str, data: &BTreeMap<String, Vec<u8>>, now: Timestamp) -> Result<SigningKey, String> {
    let layout = match kind {
        "gpg" => Layout { key: "git.asc", article: "a", passphrase: "passphrase" },
        "ssh" => Layout { key: "identity", article: "an", passphrase: "password" },
        other => return Err(format!("unknown signing key type {other:?}")),
    };
    let Layout { key, article, passphrase } = layout;
    let material = data.get(key);
    let material =
        material.ok_or_else(|| format!("signing key secret '{secret}' does not contain {article} '{key}' key"))?;
    let opens = data.get(passphrase).map(|text| text.trim_ascii_end()).filter(|text| !text.is_empty());
    let found = match kind {
        "ssh" => SigningKey::ssh(material, opens),
        _ => SigningKey::openpgp(material, opens, now),
    };
    found.map_err(|error| match (error, kind) {
        (InvalidKey::SeveralEntities, _) => {
            format!("multiple entities read from secret '{secret}', could not determine which signing key to use")
        }
        (InvalidKey::PassphraseMissing, _) => format!(
            "can not use passphrase protected signing key without '{passphrase}' field present in secret {secret}"
        ),
        (error, "ssh") => format!("could not parse SSH signing key from secret '{secret}': {error}"),
        (InvalidKey::PassphraseWrong(error), _) => {
            format!("could not decrypt private key of the signing key present in secret {secret}: {error}")
        }
        (error, _) => format!("could not read signing key from secret '{secret}': {error}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_type_says_which_key_of_the_secret_is_read() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/image/controller_decisions.jsonl");
        let cases = std::fs::read_to_string(file).unwrap();
        let rows = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut count = 0;
        for row in rows.filter(|row| row["kind"] == "signingKeyType") {
            count += 1;
            let keys = row["secret_keys"].as_array().unwrap().iter().filter_map(Value::as_str);
            let data = keys.map(|key| (key.to_owned(), b"not a key".to_vec())).collect();
            let kind = row["type"].as_str().unwrap_or("gpg");
            let error = read(kind, "s", &data, Timestamp::UNIX_EPOCH).unwrap_err();
            match row["error_contains"].as_str() {
                Some(expected) => assert!(error.contains(expected), "{row}: {error}"),
                // What is looked for is there; only that it is no key is complained about.
                None => assert!(error.starts_with("could not "), "{row}: {error}"),
            }
        }
        assert!(count > 0);
        let error = read("x509", "s", &BTreeMap::new(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error, "unknown signing key type \"x509\"");
    }
}
