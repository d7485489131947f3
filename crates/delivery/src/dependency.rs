//! Whether what a Kustomization depends on is ready, and which fields of it are not supported yet.
//!
//! Source: reference delivery.md section 5.2; Flux kustomize-controller 1.9, `checkDependencies` and `evalReadyExpr`.

use api::{
    conditions::{self, READY},
    kustomize::{DependencyReference, Kustomization, KustomizationSpec, SourceReference},
    source::GitRepositorySpec,
};
use expression::Expression;
use kube::ResourceExt as _;
use reconcile::object;

/// What a `readyExpr` is beside the check of the Ready condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyExpr {
    /// It stands in its place.
    #[default]
    Replaces,
    /// Both must hold: Flux's feature gate `AdditiveCELDependencyCheck`.
    Adds,
}

/// Why a dependent has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unready {
    /// Until the dependency is another: what is missing.
    NotYet(String),
    /// Until its `readyExpr` is another: why it cannot be read.
    Invalid(String),
}

/// A Kustomization that depends on others, and the revision that it is about to apply.
#[derive(Clone, Copy, Debug)]
pub struct Dependent<'a> {
    /// The Kustomization.
    pub kustomization: &'a Kustomization,
    /// Revision of its source's artifact.
    pub revision: &'a str,
    /// What its expressions are beside the check of the Ready condition.
    pub ready_expr: ReadyExpr,
}

impl Dependent<'_> {
    /// Whether a dependency is ready; the error says why not. `found` is `None` when there is no such Kustomization.
    pub fn check(&self, reference: &DependencyReference, found: Option<&Kustomization>) -> Result<(), Unready> {
        let own = self.kustomization.namespace().unwrap_or_default();
        let id = format!("{}/{}", reference.namespace.as_deref().unwrap_or(&own), reference.name);
        let not_yet = |what: &str| Unready::NotYet(format!("dependency '{id}' {what}"));
        let Some(dependency) = found else { return Err(not_yet("not found")) };
        if let Some(source) = &reference.ready_expr {
            if !self.holds(source, dependency)? {
                return Err(not_yet("is not ready according to readyExpr eval"));
            }
            if self.ready_expr == ReadyExpr::Replaces {
                return Ok(());
            }
        }
        let status = dependency.status.as_ref();
        let observed = status.map(|status| status.observed_generation);
        let ready = status.is_some_and(|status| conditions::is_true(&status.conditions, READY));
        if observed != dependency.metadata.generation || !ready {
            return Err(not_yet("is not ready"));
        }
        let namespace = dependency.metadata.namespace.as_deref().unwrap_or_default();
        let applied = status.and_then(|status| status.last_applied_revision.as_deref());
        let source = (&self.kustomization.spec.source_ref, own.as_str());
        if is_same_source(source, (&dependency.spec.source_ref, namespace)) && applied != Some(self.revision) {
            return Err(not_yet("revision is not up to date"));
        }
        Ok(())
    }

    /// Whether the expression holds for the dependent, `self`, and the dependency, `dep`.
    fn holds(&self, source: &str, dependency: &Kustomization) -> Result<bool, Unready> {
        let expression = Expression::predicate(source, &["self", "dep"]).map_err(|error| {
            let name = dependency.name_any();
            let what = format!("failed to parse the CEL expression '{source}': {error}");
            Unready::Invalid(format!("failed to evaluate dependency {name}: {what}"))
        })?;
        let (own, other) = (object::to_value(self.kustomization), object::to_value(dependency));
        expression
            .holds(&[("self", &own), ("dep", &other)])
            .map_err(|error| Unready::NotYet(format!("failed to evaluate the CEL expression '{source}': {error}")))
    }
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
        let own = dependency("fleet", json!({}));
        let dependent = Dependent { kustomization: &own, revision: "main@sha1:b", ready_expr: ReadyExpr::default() };
        let reference = DependencyReference { name: "infra".into(), ..DependencyReference::default() };
        let not_yet = |text: &str| Unready::NotYet(text.to_owned());
        for (source, status, expected) in cases {
            let found = dependency(source, status);
            let outcome = dependent.check(&reference, Some(&found));
            assert_eq!(outcome.err(), expected.map(not_yet), "{:?}", found.status);
        }
        let missing = dependent.check(&reference, None);
        assert_eq!(missing.unwrap_err(), not_yet("dependency 'flux-system/infra' not found"));
    }

    fn labelled(version: &str, status: Value) -> Kustomization {
        let mut labelled = dependency("fleet", status);
        labelled.labels_mut().insert("app/version".into(), version.into());
        labelled
    }

    fn check(source: &str, found: &Kustomization, ready_expr: ReadyExpr) -> Option<Unready> {
        let own = labelled("v1", json!({}));
        let reference = DependencyReference {
            name: "infra".into(),
            ready_expr: Some(source.into()),
            ..DependencyReference::default()
        };
        Dependent { kustomization: &own, revision: "main@sha1:b", ready_expr }.check(&reference, Some(found)).err()
    }

    /// Source: Flux kustomize-controller 1.9, `TestKustomizationReconciler_DependsOn_CEL`.
    #[test]
    fn an_expression_stands_in_the_place_of_the_check_or_is_added_to_it() {
        let same = "self.metadata.labels['app/version'] == dep.metadata.labels['app/version']";
        let not_yet = |text: &str| Some(Unready::NotYet(format!("dependency 'flux-system/infra' {text}")));
        let (alike, other) = (labelled("v1", json!({})), labelled("v2", json!({})));
        assert_eq!(check(same, &alike, ReadyExpr::Replaces), None);
        assert_eq!(check(same, &alike, ReadyExpr::Adds), not_yet("is not ready"));
        for ready_expr in [ReadyExpr::Replaces, ReadyExpr::Adds] {
            assert_eq!(check(same, &other, ready_expr), not_yet("is not ready according to readyExpr eval"));
        }
        assert_eq!(check("dep.metadata.generation + 1 == 3", &alike, ReadyExpr::Replaces), None);
    }

    #[test]
    fn an_expression_that_cannot_be_read_is_told_apart_from_one_without_an_answer() {
        let found = labelled("v1", json!({}));
        let check = |source: &str| check(source, &found, ReadyExpr::Replaces);
        for source in [
            "self.generation == deps.generation",
            "dep.metadata.",
            "dep.status.ready",
            "size(dep.spec)",
            "self.metadata.name + 1 == 'infra'",
            "dep.status.conditions.exists(e, e.type.startsWith(1))",
        ] {
            let Some(Unready::Invalid(why)) = check(source) else { panic!("{source} can be read") };
            let begins =
                format!("failed to evaluate dependency infra: failed to parse the CEL expression '{source}': ");
            assert!(why.starts_with(&begins), "{why}");
        }
        let Some(Unready::NotYet(why)) = check("dep.status.nothing == 1") else { panic!("there is an answer") };
        assert_eq!(why, "failed to evaluate the CEL expression 'dep.status.nothing == 1': No such key: nothing");
    }
}
