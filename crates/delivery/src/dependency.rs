//! Whether what a Kustomization depends on is ready, and which fields of it are not supported yet.
//!
//! Source: reference delivery.md section 5.2.

use api::{
    conditions::{self, READY},
    kustomize::{Kustomization, KustomizationSpec, SourceReference},
    source::GitRepositorySpec,
};

/// Whether the dependency is ready for a dependent of this source at this revision; the error says why not.
/// `found` is `None` when there is no such Kustomization; `id` is its `namespace/name`.
pub fn check(
    id: &str,
    found: Option<&Kustomization>,
    source: (&SourceReference, &str),
    revision: &str,
) -> Result<(), String> {
    let Some(dependency) = found else { return Err(format!("dependency '{id}' not found")) };
    let status = dependency.status.as_ref();
    let observed = status.map(|status| status.observed_generation);
    let ready = status.is_some_and(|status| conditions::is_true(&status.conditions, READY));
    if observed != dependency.metadata.generation || !ready {
        return Err(format!("dependency '{id}' is not ready"));
    }
    let namespace = dependency.metadata.namespace.as_deref().unwrap_or_default();
    let applied = status.and_then(|status| status.last_applied_revision.as_deref());
    if is_same_source(source, (&dependency.spec.source_ref, namespace)) && applied != Some(revision) {
        return Err(format!("dependency '{id}' revision is not up to date"));
    }
    Ok(())
}

/// Whether both references, each seen from its namespace, mean the same source.
fn is_same_source(one: (&SourceReference, &str), other: (&SourceReference, &str)) -> bool {
    let key = |(source, own): (&SourceReference, &str)| {
        let namespace = source.namespace.clone().unwrap_or_else(|| own.to_owned());
        (source.kind.clone(), namespace, source.name.clone())
    };
    key(one) == key(other)
}

/// The first field of a Kustomization that is set and not supported yet. Ignoring it would apply something else than
/// what was asked for.
pub fn unsupported(spec: &KustomizationSpec) -> Option<&'static str> {
    let decryption = spec.decryption.as_ref();
    let fields = [
        ("spec.decryption.provider", decryption.is_some_and(|decryption| decryption.provider != "sops")),
        ("spec.decryption.serviceAccountName", decryption.is_some_and(|one| one.service_account_name.is_some())),
        ("spec.kubeConfig", spec.kube_config.is_some()),
        ("spec.healthCheckExprs", !spec.health_check_exprs.is_empty()),
        ("spec.dependsOn[].readyExpr", spec.depends_on.iter().any(|dependency| dependency.ready_expr.is_some())),
        ("spec.buildMetadata", !spec.build_metadata.is_empty()),
        ("spec.ignore", !spec.ignore.is_empty()),
    ];
    fields.into_iter().find(|(_, set)| *set).map(|(field, _)| field)
}

/// The first field of a GitRepository that is set and not supported yet.
pub fn unsupported_source(spec: &GitRepositorySpec) -> Option<&'static str> {
    let fields = [
        ("spec.serviceAccountName", spec.service_account_name.is_some()),
        ("spec.verify", spec.verify.is_some()),
        ("spec.recurseSubmodules", spec.recurse_submodules),
        ("spec.sparseCheckout", !spec.sparse_checkout.is_empty()),
    ];
    fields.into_iter().find(|(_, set)| *set).map(|(field, _)| field)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn dependency(source: &str, status: Value) -> Kustomization {
        let object = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "infra", "namespace": "flux-system", "generation": 2},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": source}},
            "status": status});
        api::manifest::typed(&object).unwrap()
    }

    #[test]
    fn a_dependency_is_ready_at_the_same_revision_of_the_same_source() {
        let ready = |status: &str, generation: i64, revision: &str| {
            json!({"observedGeneration": generation, "lastAppliedRevision": revision, "conditions": [{"type": "Ready",
                "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let own = SourceReference { kind: "GitRepository".into(), name: "fleet".into(), ..SourceReference::default() };
        let cases = [
            ("fleet", ready("True", 2, "main@sha1:b"), None),
            ("fleet", ready("True", 1, "main@sha1:b"), Some("dependency 'flux-system/infra' is not ready")),
            ("fleet", ready("False", 2, "main@sha1:b"), Some("dependency 'flux-system/infra' is not ready")),
            ("fleet", json!({}), Some("dependency 'flux-system/infra' is not ready")),
            (
                "fleet",
                ready("True", 2, "main@sha1:a"),
                Some("dependency 'flux-system/infra' revision is not up to date"),
            ),
            ("other", ready("True", 2, "main@sha1:a"), None),
        ];
        for (source, status, expected) in cases {
            let found = dependency(source, status);
            let outcome = check("flux-system/infra", Some(&found), (&own, "flux-system"), "main@sha1:b");
            assert_eq!(outcome.err().as_deref(), expected, "{:?}", found.status);
        }
        let missing = check("flux-system/infra", None, (&own, "flux-system"), "r");
        assert_eq!(missing.unwrap_err(), "dependency 'flux-system/infra' not found");
    }
}
