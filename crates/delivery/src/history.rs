//! The last builds of a Kustomization and how their reconciliations went.
//!
//! Source: reference delivery.md section 5.8; Flux `meta.History`.

use api::{Duration, Time, kustomize::Snapshot};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Builds remembered.
const MAX_ENTRIES: usize = 5;

/// What stands for a build: `sha256:<hex>` over its objects.
/// Differs: Flux hashes its own YAML text; the value is only ever compared with values of the same writer.
pub fn digest(objects: &[Value]) -> String {
    let mut hasher = Sha256::new();
    for object in objects {
        hasher.update(object.to_string());
        hasher.update("\n");
    }
    format!("sha256:{}", hex::encode(hasher.finalize()))
}

/// The history after one more reconciliation of a build, newest first.
pub fn with(
    mut history: Vec<Snapshot>,
    digest: &str,
    revision: &str,
    reason: &str,
    took: std::time::Duration,
    now: jiff::Timestamp,
) -> Vec<Snapshot> {
    let known = history.iter().position(|snapshot| snapshot.digest == digest).map(|index| history.remove(index));
    let (first_reconciled, total) =
        known.map_or((Time(now), 0), |known| (known.first_reconciled, known.total_reconciliations));
    let snapshot = Snapshot {
        digest: digest.to_owned(),
        first_reconciled,
        last_reconciled: Time(now),
        last_reconciled_duration: Duration(took),
        last_reconciled_status: reason.to_owned(),
        total_reconciliations: total + 1,
        metadata: [("revision".to_owned(), revision.to_owned())].into(),
    };
    history.insert(0, snapshot);
    history.truncate(MAX_ENTRIES);
    history
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_build_comes_first_and_a_known_one_is_counted() {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let mut history = Vec::new();
        for (second, digest) in (1..).zip(["a", "b", "c", "d", "e", "f", "b"]) {
            history =
                with(history, digest, "main@sha1:x", "ReconciliationSucceeded", std::time::Duration::ZERO, at(second));
        }
        let seen: Vec<_> = history
            .iter()
            .map(|entry| (entry.digest.as_str(), entry.total_reconciliations, entry.first_reconciled.0))
            .collect();
        assert_eq!(seen, [("b", 2, at(2)), ("f", 1, at(6)), ("e", 1, at(5)), ("d", 1, at(4)), ("c", 1, at(3))]);
    }
}
