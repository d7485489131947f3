//! Kustomization: what must be there before a run can begin, and what is left to do when it goes.
//!
//! Source: reference delivery.md section 5.2; Flux kustomize-controller.

use std::{sync::Arc, time::Duration};

use api::{
    kustomize::{DeletionPolicy, Kustomization},
    source::{Artifact, GitRepository},
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt as _;
use reconcile::{Announce, Context, Done, Failure, Identities, Notice, Reconciler, Store, clock, object};

use super::{
    Options, apply, keys,
    mirror::{self, Trees},
    run::Run,
    variables,
};
use crate::{
    apply::{MANAGER, report},
    dependency::{self, Dependent, Unready},
    health::Expressions,
    inventory, revision,
    tree::Tree,
};

/// Reason of the Ready condition while a dependency is not ready.
pub(super) const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";

/// Wait between two looks at objects that are being deleted.
const TERMINATION_POLL: Duration = Duration::from_secs(2);

/// Keeps Kustomizations applied.
pub(super) struct Kustomizations {
    pub(super) context: Context,
    pub(super) trees: Trees,
    pub(super) options: Options,
    pub(super) identities: Identities,
}

impl Reconciler for Kustomizations {
    type Kind = Kustomization;
    const CONTROLLER: &'static str = MANAGER;
    const ANNOUNCE: Announce = Announce::Never;

    fn suspended(&self, kustomization: &Kustomization) -> bool {
        kustomization.spec.suspend
    }

    async fn reconcile(&self, kustomization: Arc<Kustomization>) -> Result<Done, Failure> {
        if let Some(field) = dependency::unsupported(&kustomization.spec) {
            return Err(Failure::terminal("BuildFailed", format!("{field} is not supported yet")));
        }
        let judged = Expressions::read(&kustomization.spec.health_check_exprs);
        let judged = judged.map_err(|problem| invalid_expression(&problem))?;
        let source = self.source(&kustomization).await?;
        self.check_dependencies(&kustomization, &source.1.revision).await?;
        let tenant = self.tenant(&kustomization)?;
        let managers = &self.options.override_managers;
        let mut run = Run::begin(&self.context, tenant, &kustomization, &judged, managers, &source).await?;
        let tree = self.files(&source.0, &source.1).await;
        let tree = tree.map_err(|message| run.failure("ArtifactFailed", message))?;
        let variables = variables::read(&self.context.store, &kustomization).await;
        let variables = variables.map_err(|message| run.failure("BuildFailed", message))?;
        let keys = keys::read(&self.context.store, &kustomization).await;
        let keys = keys.map_err(|message| run.failure("BuildFailed", message))?;
        run.deliver(&tree, keys.as_ref(), variables.as_ref()).await
    }

    async fn finalize(&self, kustomization: Arc<Kustomization>) -> Result<(), Failure> {
        let (spec, policy) = (&kustomization.spec, kustomization.spec.deletion_policy());
        let deletes = match policy {
            DeletionPolicy::MirrorPrune => spec.prune,
            DeletionPolicy::Delete | DeletionPolicy::WaitForTermination => true,
            DeletionPolicy::Orphan => false,
        };
        if !deletes || spec.suspend {
            return Ok(());
        }
        let (namespace, name) = (kustomization.namespace().unwrap_or_default(), kustomization.name_any());
        let old = kustomization.status.as_ref().and_then(|status| status.inventory.clone()).unwrap_or_default();
        let stale = inventory::stale(&old, &Default::default());
        let Some(tenant) = self.remaining_tenant(&kustomization).await? else { return Ok(()) };
        let pruned = apply::prune(&tenant, &stale, (&namespace, &name), |_| false).await;
        if let Some(message) = report(&pruned.changes) {
            let about = object::to_value(&*kustomization);
            self.context.events.publish(&about, MANAGER, &Notice::info("Progressing", message)).await?;
        }
        if !pruned.errors.is_empty() {
            return Err(Failure::new("PruneFailed", pruned.errors.join("; ")));
        }
        if policy == DeletionPolicy::WaitForTermination && !self.is_past_timeout(&kustomization) {
            self.check_gone(&stale, &namespace, &name).await?;
        }
        Ok(())
    }
}

/// Only a change of the object can mend an expression. Source: Flux `TerminalErrorMessage`.
fn invalid_expression(problem: &str) -> Failure {
    let message = format!("Reconciliation failed terminally due to configuration error: {problem}");
    Failure::terminal("InvalidCELExpression", message)
}

impl Kustomizations {
    /// The store with the rights that the Kustomization's objects are applied with.
    fn tenant(&self, kustomization: &Kustomization) -> Result<Store, Failure> {
        let store = &self.context.store;
        let Some(account) = self.account(kustomization) else { return Ok(store.clone()) };
        if store.is_standalone() {
            let message = "spec.serviceAccountName is not supported standalone: one machine has no service accounts";
            return Err(Failure::terminal("BuildFailed", message));
        }
        let namespace = kustomization.namespace().unwrap_or_default();
        store
            .acting_as(&namespace, account)
            .map_err(|error| Failure::terminal("ReconciliationFailed", error.to_string()))
    }

    /// The same when the Kustomization goes. None: its account went before it, and nobody may prune in its name; Flux
    /// lets the object go then, too.
    async fn remaining_tenant(&self, kustomization: &Kustomization) -> Result<Option<Store>, Failure> {
        if let Some(account) = self.account(kustomization) {
            let namespace = kustomization.namespace().unwrap_or_default();
            if self.context.store.get::<ServiceAccount>(&namespace, account).await?.is_none() {
                let message = format!("nothing is pruned: service account {namespace}/{account} is gone");
                let about = object::to_value(kustomization);
                self.context.events.publish(&about, MANAGER, &Notice::error("PruneFailed", message)).await?;
                return Ok(None);
            }
        }
        self.tenant(kustomization).map(Some)
    }

    fn account<'a>(&'a self, kustomization: &'a Kustomization) -> Option<&'a str> {
        let own = kustomization.spec.service_account_name.as_deref();
        own.or(self.options.default_service_account.as_deref()).filter(|account| !account.is_empty())
    }

    /// The source and its artifact, or why there is none yet.
    async fn source(&self, kustomization: &Kustomization) -> Result<(GitRepository, Artifact), Failure> {
        let reference = &kustomization.spec.source_ref;
        let own = kustomization.namespace().unwrap_or_default();
        let namespace = reference.namespace.clone().unwrap_or_else(|| own.clone());
        if self.options.no_cross_namespace_refs && namespace != own {
            let id = format!("{}/{namespace}/{}", reference.kind, reference.name);
            let message = format!("can't access '{id}', cross-namespace references have been blocked");
            return Err(Failure::terminal("AccessDenied", message));
        }
        if reference.kind != "GitRepository" {
            let message = format!("spec.sourceRef.kind {:?} is not supported yet", reference.kind);
            return Err(Failure::terminal("ArtifactFailed", message));
        }
        let found = self.context.store.get::<GitRepository>(&namespace, &reference.name).await;
        let found = found.map_err(|error| Failure::new("ArtifactFailed", error.to_string()))?;
        let Some(source) = found else {
            let message = format!("Source 'GitRepository/{namespace}/{}' not found", reference.name);
            let failure = Failure::new("ArtifactFailed", message).telling(Vec::new());
            return Err(failure.after(kustomization.spec.retry_interval()));
        };
        match source.status.as_ref().and_then(|status| status.artifact.clone()) {
            Some(artifact) => Ok((source, artifact)),
            None => {
                let wait = api::Duration(self.options.requeue_dependency);
                let message = format!("Source artifact not found, retrying in {wait}");
                let failure = Failure::new("ArtifactFailed", message).telling(Vec::new());
                Err(failure.after(self.options.requeue_dependency))
            }
        }
    }

    async fn check_dependencies(&self, kustomization: &Kustomization, revision: &str) -> Result<(), Failure> {
        let own = kustomization.namespace().unwrap_or_default();
        let dependent = Dependent { kustomization, revision, ready_expr: self.options.ready_expr };
        for reference in &kustomization.spec.depends_on {
            let namespace = reference.namespace.as_deref().unwrap_or(&own);
            let found = self.context.store.get::<Kustomization>(namespace, &reference.name).await?;
            let problem = match dependent.check(reference, found.as_ref()) {
                Ok(()) => continue,
                Err(Unready::Invalid(problem)) => return Err(invalid_expression(&problem)),
                Err(Unready::NotYet(problem)) => problem,
            };
            let wait = api::Duration(self.options.requeue_dependency);
            let message = format!("Dependencies do not meet ready condition, retrying in {wait}");
            // Waiting for another object is no error: nobody is to be called for it.
            let notice = Notice::info("DependencyNotReady", message);
            let failure = Failure::new(DEPENDENCY_NOT_READY, problem).telling(vec![notice]);
            return Err(failure.after(self.options.requeue_dependency));
        }
        Ok(())
    }

    /// The files of the source's artifact, with those that it includes.
    async fn files(&self, source: &GitRepository, artifact: &Artifact) -> Result<Arc<Tree>, String> {
        let files = self.own_files(source, artifact).await?;
        let Some(status) = source.status.as_ref().filter(|status| !status.observed_include.is_empty()) else {
            return Ok(files);
        };
        let mut tree = Tree::clone(&files);
        let namespace = source.namespace().unwrap_or_default();
        for (include, artifact) in status.observed_include.iter().zip(&status.included_artifacts) {
            let name = &include.repository.name;
            let failed = |problem: String| format!("include of '{name}': {problem}");
            let found = self.context.store.get::<GitRepository>(&namespace, name).await;
            let found = found.map_err(|error| failed(error.to_string()))?;
            let found = found.ok_or_else(|| failed("not found".into()))?;
            let files = self.own_files(&found, artifact).await.map_err(failed)?;
            let (from, to) = include.paths();
            tree.graft(&files, from, to).map_err(failed)?;
        }
        Ok(Arc::new(tree))
    }

    /// The files of the commit that an artifact names.
    async fn own_files(&self, source: &GitRepository, artifact: &Artifact) -> Result<Arc<Tree>, String> {
        let (_, commit) = revision::parse(&artifact.revision)
            .ok_or_else(|| format!("artifact revision '{}' names no commit", artifact.revision))?;
        let remote = mirror::remote(&self.context.store, &self.identities, source).await;
        let remote = remote.map_err(|error| error.to_string())?;
        let ignored = source.spec.ignore.clone();
        let tree = mirror::files(&self.options.mirrors, &self.trees, remote, commit, ignored).await;
        tree.map_err(|error| error.to_string())
    }

    /// Errs while objects that were deleted are still there.
    async fn check_gone(
        &self,
        entries: &[api::kustomize::ResourceRef],
        namespace: &str,
        name: &str,
    ) -> Result<(), Failure> {
        for id in entries.iter().filter_map(inventory::object) {
            let live = self.context.store.find(&id).await?;
            if live.is_some_and(|live| crate::apply::is_pruned(&live, namespace, name)) {
                return Err(Failure::new("PruneFailed", format!("{id} is not gone yet")).after(TERMINATION_POLL));
            }
        }
        Ok(())
    }

    /// Whether the deletion has waited for as long as it may.
    fn is_past_timeout(&self, kustomization: &Kustomization) -> bool {
        let since = kustomization.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let timeout = i64::try_from(kustomization.spec.timeout().as_secs()).unwrap_or(i64::MAX);
        since.is_some_and(|since| clock::now().as_second().saturating_sub(since.as_second()) > timeout)
    }
}
