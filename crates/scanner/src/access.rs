//! Who may refer to an object of another namespace. Source: reference image-automation.md section 2.6.

use std::collections::BTreeMap;

use api::image::AccessFrom;

/// Why a reference to another namespace is refused. The texts are Flux's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// All such references are, by a flag.
    #[error("cannot access '{kind}/{namespace}/{name}', cross-namespace references have been blocked")]
    Blocked {
        /// Kind referred to.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object says nothing about who may.
    #[error("access denied: '{namespace}/{name}' can't be accessed due to missing ACL labels on 'accessFrom'")]
    NoList {
        /// Namespace of the object referred to.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The labels of the other namespace fit none of the selectors.
    #[error("access denied: '{namespace}/{name}' can't be accessed due to ACL labels mismatch on namespace '{from}'")]
    Mismatch {
        /// Namespace of the object referred to.
        namespace: String,
        /// Its name.
        name: String,
        /// Namespace of the object that refers to it.
        from: String,
    },
}

/// Whether a namespace with these labels is let in.
pub fn admits(access: &AccessFrom, labels: &BTreeMap<String, String>) -> bool {
    let carries = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    access.namespace_selectors.iter().any(|selector| selector.match_labels.iter().all(carries))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::result::tests::rows;

    #[test]
    fn access_is_granted_as_in_flux() {
        let rows = rows("controller_decisions", "accessFrom");
        assert!(!rows.is_empty());
        for row in rows {
            let selectors: Vec<Value> = row["namespaceSelectors_matchLabels"]
                .as_array()
                .map(|all| all.iter().map(|labels| json!({"matchLabels": labels})).collect())
                .unwrap_or_default();
            let access = serde_json::from_value(json!({"namespaceSelectors": selectors})).expect("a list");
            let labels = serde_json::from_value(row["namespace_labels"].clone()).expect("labels");
            assert_eq!(Some(admits(&access, &labels)), row["allowed"].as_bool(), "{row}");
        }
    }
}
