//! ImageUpdateAutomation: what the controller refuses, now or with the first commit, and what nobody will ever follow.

use api::{
    image::{ImageUpdateAutomation, ImageUpdateAutomationSpec},
    manifest::typed,
    source::{GitRepository, GitRepositoryRef},
};
use kube::ResourceExt as _;
use reconcile::clock;
use serde_json::Value;
use updater::{batch::Batching, branches, groups, message, refspec::Refspec, selector, setters::Change};

use super::{Complaint, Subject, image::deprecated};

/// An ImageUpdateAutomation.
pub fn check(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(automation) = typed::<ImageUpdateAutomation>(subject.object) else { return Vec::new() };
    let mut found = deprecated(subject);
    if let Err(problem) = automation.spec.update().check() {
        found.push(Complaint::error("spec.update.strategy", problem));
    }
    if let Err(problem) = Batching::read(automation.annotations()) {
        found.push(Complaint::error("metadata.annotations", problem));
    }
    found.extend(selected(subject, &automation));
    found.extend(template(&automation));
    let (repository, missing) = repository(subject, &automation);
    found.extend(missing);
    found.extend(push(&automation.spec, repository));
    found
}

/// The policies that are applied.
fn selected(subject: &Subject<'_>, automation: &ImageUpdateAutomation) -> Option<Complaint> {
    let wanted = automation.spec.policy_selector.as_ref();
    if let Err(problem) = selector::check(wanted) {
        return Some(Complaint::error("spec.policySelector", format!("failed to parse policy selector: {problem}")));
    }
    let is_near = |object: &&Value| object["metadata"]["namespace"] == subject.object["metadata"]["namespace"];
    let labels = |object: &Value| serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
    let mut policies = subject.around.of_kind("ImagePolicy").filter(is_near).peekable();
    policies.peek()?;
    let is_taken = policies.any(|policy| selector::selects(wanted, Some(&labels(policy))).unwrap_or(true));
    let message = "selects none of the ImagePolicies of this namespace in the files";
    (!is_taken).then(|| Complaint::warning("spec.policySelector", message))
}

/// The message of the commit, tried on a change.
fn template(automation: &ImageUpdateAutomation) -> Option<Complaint> {
    let text = |text: &str| text.to_owned();
    let change = Change {
        file: text("app.yaml"),
        api_version: text("apps/v1"),
        kind: text("Deployment"),
        namespace: text("default"),
        name: text("app"),
        setter: text("default:app"),
        old: text("example.com/app:1.0.0"),
        new: text("example.com/app:1.0.1"),
        ..Change::default()
    };
    let error = message::render(automation, &[change], clock::now()).err()?;
    let field = "spec.git.commit.messageTemplate";
    // What fails on this change may be right for others, unless it asks for what no change has.
    let is_certain = !matches!(&error, message::Error::Run(text) if !text.contains("can't evaluate field"));
    Some(if is_certain {
        Complaint::error(field, error.to_string())
    } else {
        Complaint::warning(field, error.to_string())
    })
}

/// The repository in the files, or that it is missing there though others are not.
fn repository(subject: &Subject<'_>, automation: &ImageUpdateAutomation) -> (Option<GitRepository>, Option<Complaint>) {
    let source = &automation.spec.source_ref;
    let own = automation.namespace().unwrap_or_default();
    let namespace = source.namespace.as_deref().unwrap_or(&own);
    if !subject.around.has("GitRepository") {
        return (None, None);
    }
    let found = subject.around.find("GitRepository", namespace, &source.name);
    let missing = || {
        let message = format!("none of the files holds the GitRepository {}", source.name);
        Complaint::warning("spec.sourceRef", message)
    };
    (found.and_then(|object| typed(object).ok()), found.is_none().then(missing))
}

/// Where the commit goes. Without the repository only as far as the automation says itself what is checked out.
fn push(spec: &ImageUpdateAutomationSpec, repository: Option<GitRepository>) -> Option<Complaint> {
    let Some(git) = &spec.git else {
        let problem = "source kind 'GitRepository' necessitates field .spec.git";
        return Some(Complaint::error("spec.git", problem));
    };
    let push = git.push.as_ref().filter(|push| !groups::is_template(&push.branch));
    let reference: Option<GitRepositoryRef> = match (&git.checkout, repository) {
        (Some(_), _) => None,
        (None, Some(repository)) => repository.spec.reference,
        (None, None) => return None,
    };
    let branches = match branches::configure(git.checkout.as_ref(), git.push.as_ref(), reference.as_ref()) {
        Ok(branches) => branches,
        Err(problem) => return Some(Complaint::error("spec.git.push", problem)),
    };
    let refspec = push.filter(|push| !push.refspec.is_empty())?;
    let problem = Refspec::parse(&refspec.refspec, &branches).err()?;
    Some(Complaint::error("spec.git.push.refspec", problem))
}
