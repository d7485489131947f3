//! Proofs that a log includes an entry: the way from the entry to the root of the log's tree, and the root that the log signed.
//!
//! Source: RFC 9162 sections 2.1.1 and 2.1.3.2; C2SP `tlog-checkpoint` and `signed-note`; sigstore's `sigstore_rekor.proto`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::key::PublicKey;

/// More than the tree of any log that fits into this world is high.
const MAX_HEIGHT: usize = 64;

/// A proof.
#[derive(Clone, Debug)]
pub(super) struct Inclusion {
    index: u64,
    size: u64,
    /// Digests of the trees beside the way, lowest first.
    path: Vec<Vec<u8>>,
    /// What the log signed.
    checkpoint: String,
}

impl Inclusion {
    /// Reads an `inclusionProof`, where protobuf writes 64-bit numbers as text, and leaves out those that are 0.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let number = |value: &Value| match value {
            Value::Null => Some(0),
            value => value.as_u64().or_else(|| value.as_str()?.parse().ok()),
        };
        let path = value["hashes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let decoded = |hash: &Value| STANDARD.decode(hash.as_str()?).ok();
        Some(Self {
            index: number(&value["logIndex"])?,
            size: number(&value["treeSize"])?,
            path: path.iter().take(MAX_HEIGHT + 1).map(decoded).collect::<Option<_>>()?,
            checkpoint: value["checkpoint"]["envelope"].as_str()?.to_owned(),
        })
    }

    /// Whether the log with this key signed a tree that includes the entry; else what is wrong.
    pub(super) fn check(&self, entry: &[u8], key: &PublicKey) -> Result<(), &'static str> {
        let (size, root) = signed(&self.checkpoint, key).ok_or("the log has not signed its checkpoint")?;
        match self.root(entry) {
            Some(found) if size == self.size && found == root => Ok(()),
            _ => Err("the log's tree does not include it"),
        }
    }

    /// The root of the tree in which the entry would be; none if there is no such tree.
    fn root(&self, entry: &[u8]) -> Option<Vec<u8>> {
        let (mut place, mut last) = (self.index, self.size.checked_sub(1)?);
        if place > last || self.path.len() > MAX_HEIGHT {
            return None;
        }
        let mut root = digest(&[&[0], entry]);
        for beside in &self.path {
            if last == 0 {
                return None;
            }
            if place % 2 == 1 || place == last {
                root = digest(&[&[1], beside, &root]);
                // Whoever is last and has nobody beside goes up as it is.
                while place % 2 == 0 && place != 0 {
                    (place, last) = (place / 2, last / 2);
                }
            } else {
                root = digest(&[&[1], &root, beside]);
            }
            (place, last) = (place / 2, last / 2);
        }
        (last == 0).then_some(root)
    }
}

fn digest(parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(parts.concat()).to_vec()
}

/// Size and root of the tree of a checkpoint, if one of its signatures is by this key.
fn signed(checkpoint: &str, key: &PublicKey) -> Option<(u64, Vec<u8>)> {
    let end = checkpoint.find("\n\n")? + 1;
    let (text, signatures) = checkpoint.split_at(end);
    let is_signed = signatures.lines().any(|line| {
        let signature = line.strip_prefix("\u{2014} ").and_then(|rest| rest.rsplit_once(' '));
        let signature = signature.and_then(|(_, encoded)| STANDARD.decode(encoded).ok());
        // Four bytes tell keys apart.
        signature.is_some_and(|bytes| bytes.get(4..).is_some_and(|signature| key.signed(text.as_bytes(), signature)))
    });
    if !is_signed {
        return None;
    }
    let mut lines = text.lines().skip(1);
    Some((lines.next()?.parse().ok()?, STANDARD.decode(lines.next()?).ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Root of the tree over these entries, and the way to one of them. Source: RFC 9162 sections 2.1.1 and 2.1.3.1.
    pub(crate) fn tree(entries: &[Vec<u8>], index: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
        if let [entry] = entries {
            return (digest(&[&[0], entry]), Vec::new());
        }
        let half = entries.len().next_power_of_two() / 2;
        let (left, right) = entries.split_at(half);
        let is_left = index < half;
        let ((left, left_path), (right, right_path)) =
            (tree(left, if is_left { index } else { 0 }), tree(right, if is_left { 0 } else { index - half }));
        let root = digest(&[&[1], &left, &right]);
        let mut path = if is_left { left_path } else { right_path };
        path.push(if is_left { right } else { left });
        (root, path)
    }

    proptest! {
        #[test]
        fn the_way_leads_to_the_root_from_its_entry_alone(size in 1..40_usize, place: prop::sample::Index) {
            let entries: Vec<Vec<u8>> = (0..size).map(|number| vec![number as u8]).collect();
            let index = place.index(size);
            let (root, path) = tree(&entries, index);
            let proof = |index: usize, size: usize| Inclusion {
                index: index as u64, size: size as u64, path: path.clone(), checkpoint: String::new(),
            };
            prop_assert_eq!(proof(index, size).root(&entries[index]), Some(root.clone()));
            prop_assert_ne!(proof(index, size).root(b"another"), Some(root.clone()));
            prop_assert_ne!(proof((index + 1) % size.max(2), size.max(2)).root(&entries[index]), Some(root));
        }

        #[test]
        fn no_proof_brings_the_reader_down(index: u64, size: u64, steps in 0..70_usize, text: String) {
            let proof = Inclusion { index, size, path: vec![vec![1]; steps], checkpoint: text };
            let _ = proof.root(b"entry");
        }
    }
}
