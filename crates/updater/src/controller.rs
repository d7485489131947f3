//! The shell: ImageUpdateAutomations in, commits out.
//! Source: reference image-automation.md sections 2 and 6.

mod edit;
mod grouped;
mod intent;
mod links;
mod memory;
mod pull_request;
mod push;
mod source;
mod told;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use api::{
    Time,
    image::{GitSpec, ImagePolicy, ImageRef, ImageUpdateAutomation},
    meta::REQUESTED_AT,
    source::GitRepository,
};
use git::{Mirrors, Remote, SigningKey};
use kube::ResourceExt as _;
use reconcile::{
    Announce, Concerned, Context, Controller, Done, Failure, Identities, Notice, Reconciler, Shutdown, clock,
};
use serde_json::json;

use crate::{
    batch::{Batching, Waiting},
    branches::{self, Branches},
    groups,
    pull_request::Repository,
    refspec::Refspec,
    selector,
    setters::Labels,
};
use memory::Memory;
use pull_request::Forge;
use push::Outcome;
use source::Keys;
use told::done;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kept Git mirrors, shared with delivery.
    pub mirrors: Mirrors,
    /// Whether automations may only refer to GitRepositories of their own namespace.
    pub no_cross_namespace_refs: bool,
    /// Whether GitRepositories may name a ServiceAccount of their own for a cloud.
    pub object_level_workload_identity: bool,
}

/// Reason where the spec asks for what cannot be.
const INVALID: &str = "InvalidSourceConfiguration";
/// Name of the controller as Flux users know it.
const MANAGER: &str = "image-automation-controller";

/// Runs the loop until told to stop.
pub async fn controllers(context: Context, options: Options, shutdown: Shutdown) {
    let automations = Automations {
        context: context.clone(),
        mirrors: options.mirrors.clone(),
        options,
        memory: Arc::default(),
        waiting: Mutex::default(),
        keys: Keys::default(),
        identities: Identities::new(context.http.clone()),
    };
    Controller::new(context, automations)
        .watches::<ImagePolicy>(chosen_anew)
        .watches::<GitRepository>(source_changed)
        .run(shutdown)
        .await;
}

/// All automations of a policy's namespace, when the policy has chosen another image.
fn chosen_anew<'a>(
    before: Option<&'a ImagePolicy>,
    after: Option<&'a ImagePolicy>,
) -> Concerned<'a, ImageUpdateAutomation> {
    let (before, after) = before.zip(after)?;
    let latest = |policy: &ImagePolicy| policy.status.as_ref().and_then(|status| status.latest_ref.clone());
    if latest(after).is_none() || latest(after) == latest(before) {
        return None;
    }
    Some(Box::new(|automation| automation.namespace() == after.namespace()))
}

/// The automations that work on a GitRepository whose spec changed.
fn source_changed<'a>(
    before: Option<&'a GitRepository>,
    after: Option<&'a GitRepository>,
) -> Concerned<'a, ImageUpdateAutomation> {
    let (before, after) = before.zip(after)?;
    if before.metadata.generation == after.metadata.generation {
        return None;
    }
    Some(Box::new(|automation| {
        let source = &automation.spec.source_ref;
        source.name == after.name_any()
            && source.namespace.clone().or_else(|| automation.namespace()) == after.namespace()
    }))
}

struct Automations {
    context: Context,
    options: Options,
    mirrors: Mirrors,
    memory: Arc<Memory>,
    /// What automations hold back for a quieter moment, by namespace and name. A restart begins the wait anew.
    waiting: Mutex<BTreeMap<(String, String), Waiting>>,
    keys: Keys,
    identities: Identities,
}

/// The images that an automation may write, by policy name.
type Chosen = BTreeMap<String, ImageRef>;

/// What is known about the images, by policy name. A policy that has chosen nothing yet is in it, too.
type Known = BTreeMap<String, Labels>;

/// One run, after its fields were checked.
struct Run<'a> {
    automation: &'a ImageUpdateAutomation,
    namespace: String,
    git: &'a GitSpec,
    repository: GitRepository,
    branches: Branches,
    refspec: Option<Refspec>,
    /// Where a pull request is kept for what is pushed.
    forge: Option<Repository>,
    signing: Option<SigningKey>,
    chosen: Chosen,
    known: Known,
    /// The policies of the branch, with commas between, where the push branch is a template.
    group: Option<String>,
}

impl Reconciler for Automations {
    type Kind = ImageUpdateAutomation;
    const CONTROLLER: &'static str = MANAGER;
    const ANNOUNCE: Announce = Announce::BecameReady;

    fn suspended(&self, automation: &ImageUpdateAutomation) -> bool {
        automation.spec.suspend
    }

    async fn reconcile(&self, automation: Arc<ImageUpdateAutomation>) -> Result<Done, Failure> {
        let started = json!({ "lastAutomationRunTime": Time(clock::now()) });
        match self.run(&automation).await {
            Ok(mut done) => {
                done.status["lastAutomationRunTime"] = started["lastAutomationRunTime"].clone();
                Ok(if done.requeue.is_some() { done } else { done.every(automation.spec.interval.get()) })
            }
            Err(failure) => Err(failure.status(started)),
        }
    }

    fn removed(&self, automation: &ImageUpdateAutomation) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(automation));
    }
}

impl Automations {
    async fn run(&self, automation: &ImageUpdateAutomation) -> Result<Done, Failure> {
        let git = check(automation)?;
        let namespace = automation.namespace().unwrap_or_default();
        let repository = self.repository(automation, &namespace).await?;
        source::check_account(&repository, &self.options)?;
        if let Some(held) = self.held_back(automation, &namespace).await? {
            return Ok(held);
        }
        let push = git.push.as_ref();
        let branches = branches::configure(git.checkout.as_ref(), push, repository.spec.reference.as_ref())
            .map_err(source_failure)?;
        let refspec = refspec(git, &branches)?;
        let forge = Repository::read(automation.annotations(), &repository.spec.url)
            .map_err(|problem| Failure::terminal(INVALID, problem))?;
        if forge.is_some() && !branches.switches {
            let problem = "a pull request needs a spec.git.push.branch that is not the one checked out";
            return Err(Failure::terminal(INVALID, problem));
        }
        let key = git.commit.signing_key.as_ref();
        let signing = self.keys.signing(&self.context.store, &namespace, key).await?;
        let remote = source::remote(&self.context.store, &self.identities, &repository).await?;
        let mirror = source::open(&self.mirrors, &remote).await?;
        // Not before: whoever had the mirror until now may have pushed what was chosen meanwhile.
        let (chosen, known) = self.chosen(automation, &namespace).await?;
        let mut run = Run {
            automation,
            namespace,
            git,
            repository,
            branches,
            refspec,
            forge,
            signing,
            chosen,
            known,
            group: None,
        };
        if self.is_unchanged(&run, &mirror).await? {
            return Ok(told::unchanged(automation));
        }
        if groups::is_template(&run.branches.push) {
            return self.run_grouped(&run, &mirror, &remote).await;
        }
        let outcome = push::update(self, &mut run, mirror).await?;
        self.finish(&run, &remote, &outcome).await
    }

    /// Tells whom the push concerns, and keeps the pull request.
    async fn finish(&self, run: &Run<'_>, remote: &Remote, outcome: &Outcome) -> Result<Done, Failure> {
        let mut done = done(run, outcome);
        let Some(pushed) = &outcome.pushed else { return Ok(told::rested(run.automation, done)) };
        if pushed.is_news {
            done.asks = source::followers(&self.context.store, &run.repository.spec.url, &run.branches.push).await;
        }
        if let Some(repository) = &run.forge {
            let forge = Forge { http: &self.context.http, mirrors: &self.mirrors, remote };
            let url = forge.keep(run, repository, &pushed.message).await?;
            if let Some(url) = url.filter(|_| pushed.is_news) {
                done = done.notice(Notice::info("Succeeded", format!("pull request {url}")));
            }
        }
        Ok(done)
    }

    /// The end of a run that waits for a quieter moment; none if it is time. Who asks for a run, changes the spec or is
    /// new does not wait.
    async fn held_back(&self, automation: &ImageUpdateAutomation, namespace: &str) -> Result<Option<Done>, Failure> {
        let batching =
            Batching::read(automation.annotations()).map_err(|problem| Failure::terminal(INVALID, problem))?;
        let chosen = match batching {
            Some(_) if !is_asked(automation) => Some(self.chosen(automation, namespace).await?.0),
            _ => None,
        };
        let observed = automation.status.clone().unwrap_or_default().observed_policies;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(batching), Some(chosen)) = (batching, chosen.filter(|chosen| observed != *chosen)) else {
            waiting.remove(&key(automation));
            return Ok(None);
        };
        let now = clock::now();
        let waits = Waiting::with(waiting.get(&key(automation)), &chosen, now);
        let due = batching.due(&waits);
        if due <= now {
            waiting.remove(&key(automation));
            return Ok(None);
        }
        waiting.insert(key(automation), waits);
        let done = Done::new(format!("waiting until {due} for further image updates")).status(json!({}));
        let rest = std::time::Duration::try_from(due.duration_since(now)).unwrap_or_default();
        Ok(Some(done.requeue(rest)))
    }

    /// The policies of the namespace that the selector takes, with what they chose and what is known about it. Whether they
    /// are Ready does not matter.
    async fn chosen(&self, automation: &ImageUpdateAutomation, namespace: &str) -> Result<(Chosen, Known), Failure> {
        let selector = automation.spec.policy_selector.as_ref();
        let policies = self.context.store.list::<ImagePolicy>(Some(namespace)).await?;
        let (mut chosen, mut known) = (Chosen::new(), Known::new());
        for policy in policies {
            let selected = selector::selects(selector, policy.metadata.labels.as_ref());
            let selected = selected.map_err(|problem| bad_selector(&problem))?;
            if !selected {
                continue;
            }
            let status = policy.status.clone().unwrap_or_default();
            chosen.extend(status.latest_ref.map(|latest| (policy.name_any(), latest)));
            known.insert(policy.name_any(), status.latest_labels);
        }
        Ok((chosen, known))
    }

    async fn repository(&self, automation: &ImageUpdateAutomation, own: &str) -> Result<GitRepository, Failure> {
        let source = &automation.spec.source_ref;
        let namespace = source.namespace.as_deref().unwrap_or(own);
        if self.options.no_cross_namespace_refs && namespace != own {
            let problem = format!(
                "can't access 'GitRepository/{namespace}/{}', cross-namespace references have been blocked",
                source.name
            );
            return Err(Failure::terminal("AccessDenied", problem));
        }
        let found = self.context.store.get::<GitRepository>(namespace, &source.name).await?;
        found.ok_or_else(|| {
            let what = format!("GitRepository.source.toolkit.fluxcd.io {:?} not found", source.name);
            source_failure(&format!("referenced git repository does not exist: {what}"))
        })
    }

    /// Whether nothing can have changed: same policies, same spec, same commit at the server.
    ///
    /// Differs: a new generation or a request is a reason for a full run. Source: reference image-automation.md section 6.5.
    async fn is_unchanged(&self, run: &Run<'_>, mirror: &Arc<git::Mirror>) -> Result<bool, Failure> {
        let status = run.automation.status.clone().unwrap_or_default();
        let elsewhere = run.branches.switches || run.refspec.is_some();
        if elsewhere || is_asked(run.automation) || status.observed_policies != run.chosen {
            return Ok(false);
        }
        let head = source::head(mirror, &run.branches.checkout).await;
        let head = head.map_err(|error| failed_checkout(&error))?;
        Ok(head.revision() == status.observed_source_revision)
    }
}

/// Whether somebody changed the spec or asked for a run since the last one.
fn is_asked(automation: &ImageUpdateAutomation) -> bool {
    let status = automation.status.clone().unwrap_or_default();
    // Who takes the annotation away asks for nothing.
    let requested = automation.annotations().get(REQUESTED_AT);
    requested.is_some_and(|token| Some(token) != status.last_handled_reconcile_at.as_ref())
        || automation.metadata.generation != Some(status.observed_generation)
}

/// Which automation it is.
fn key(automation: &ImageUpdateAutomation) -> (String, String) {
    (automation.namespace().unwrap_or_default(), automation.name_any())
}

/// Checks the fields that no store and no server is needed for.
fn check(automation: &ImageUpdateAutomation) -> Result<&GitSpec, Failure> {
    let spec = &automation.spec;
    selector::check(spec.policy_selector.as_ref()).map_err(|problem| bad_selector(&problem))?;
    let kind = &spec.source_ref.kind;
    if kind != "GitRepository" {
        let problem = format!("source kind '{kind}' not supported: invalid source configuration");
        return Err(Failure::terminal(INVALID, problem));
    }
    let Some(git) = &spec.git else {
        let problem = format!("source kind '{kind}' necessitates field .spec.git: invalid source configuration");
        return Err(Failure::terminal(INVALID, problem));
    };
    spec.update().check().map_err(|problem| Failure::terminal("InvalidUpdateStrategy", problem))?;
    Ok(git)
}

/// The second push, if the automation asks for one.
fn refspec(git: &GitSpec, branches: &Branches) -> Result<Option<Refspec>, Failure> {
    let text = git.push.as_ref().map(|push| push.refspec.as_str()).filter(|refspec| !refspec.is_empty());
    let parsed = text.map(|text| Refspec::parse(text, branches)).transpose();
    parsed.map_err(|problem| source_failure(&problem))
}

fn bad_selector(problem: &str) -> Failure {
    Failure::terminal("InvalidPolicySelector", format!("failed to parse policy selector: {problem}"))
}

fn source_failure(problem: &str) -> Failure {
    Failure::new("SourceManagerFailed", format!("failed configuring source manager: {problem}"))
}

fn failed_checkout(error: &crate::Error) -> Failure {
    Failure::new("GitOperationFailed", format!("failed to checkout source: {}", error.chain()))
}

#[cfg(test)]
mod tests;
