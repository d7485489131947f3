//! One update: edit on the last known head, commit, push; when somebody was faster, fetch, edit again, push again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use api::source::GitRepositoryRef;
use git::{Author, Commit, Draft, Expected, Mirror};
use reconcile::{Failure, clock};

use super::{Automations, Run, edit::edit, failed_checkout, intent, memory::Memory, source};
use crate::{Error, message, refspec::Source, setters};

/// Pushes tried within one run before it is left to the next.
const TRIES: usize = 10;

/// How an update ended.
pub(super) struct Outcome {
    /// The commit worked on.
    pub(super) base: Commit,
    /// What was pushed; none if nothing was due.
    pub(super) pushed: Option<Pushed>,
    /// Markers and files that could not be used, in words.
    pub(super) warnings: Vec<String>,
}

/// What was pushed.
pub(super) struct Pushed {
    pub(super) commit: Commit,
    pub(super) message: String,
    /// Where else it went.
    pub(super) refspecs: Vec<String>,
    /// Whether people have yet to be told.
    pub(super) is_news: bool,
}

/// Where the work stands on.
struct Base {
    commit: Commit,
    /// What was checked out, where the push goes to another branch than that.
    checkout: Option<Commit>,
    expected: Expected,
    /// Whether the server said so in this run.
    fresh: bool,
}

/// Brings the branch in line with what the policies chose.
pub(super) async fn update(
    automations: &Automations,
    run: &mut Run<'_>,
    mirror: Arc<Mirror>,
) -> Result<Outcome, Failure> {
    let memory = &automations.memory;
    let mut base = match known(run, &mirror).await? {
        Some(base) => base,
        None => fresh(run, &mirror).await?,
    };
    for _ in 0..TRIES {
        let edited = edit(run, &mirror, &base.commit, memory).await?;
        if edited.files.is_empty() && !base.fresh {
            base = fresh(run, &mirror).await?;
            continue;
        }
        let pushed = match edited.files.is_empty() {
            true if is_untold(automations, run, &base.commit).await || is_half_done(run, &base.commit) => {
                let (commit, is_news) = (base.commit.clone(), run.group.is_none());
                Some(Pushed { message: commit.message.clone(), commit, refspecs: Vec::new(), is_news })
            }
            true => None,
            false => match commit_and_push(automations, run, &mirror, &base, edited.files, &edited.changes).await {
                Ok(pushed) => pushed,
                Err(Stop::Rejected) => {
                    base = fresh(run, &mirror).await?;
                    run.renew(automations).await?;
                    continue;
                }
                Err(Stop::Failed(failure)) => return Err(failure),
            },
        };
        let pushed = match pushed {
            Some(pushed) => Some(push_refspec(run, &mirror, base.checkout.as_ref(), pushed).await?),
            None => None,
        };
        return Ok(Outcome { base: base.checkout.unwrap_or(base.commit), pushed, warnings: edited.warnings });
    }
    let problem = format!("failed to update source: the branch '{}' moved {TRIES} times meanwhile", run.branches.push);
    Err(Failure::new("GitOperationFailed", problem))
}

impl Run<'_> {
    /// Takes what its policies choose now: to go by an older choice would undo what somebody else has pushed since.
    pub(super) async fn renew(&mut self, automations: &Automations) -> Result<(), Failure> {
        let (chosen, known) = automations.chosen(self.automation, &self.namespace).await?;
        let own = |(name, image)| self.chosen.contains_key(&name).then_some((name, image));
        self.chosen = chosen.into_iter().filter_map(own).collect();
        self.known = known;
        Ok(())
    }
}

/// What is due on the commit that is checked out.
pub(super) struct Due {
    pub(super) base: Commit,
    /// Policies with a marker that is behind.
    pub(super) policies: BTreeSet<String>,
    /// Markers and files that could not be used, in words.
    pub(super) warnings: Vec<String>,
}

/// Looks for what is due, without changing anything.
pub(super) async fn due(run: &Run<'_>, mirror: &Arc<Mirror>, memory: &Arc<Memory>) -> Result<Due, Failure> {
    let base = source::fetch(mirror, &run.branches.checkout).await.map_err(|error| failed_checkout(&error))?;
    let edited = edit(run, mirror, &base, memory).await?;
    let policies = edited.changes.iter().filter_map(|change| change.setter.split(':').nth(1).map(str::to_owned));
    Ok(Due { base, policies: policies.collect(), warnings: edited.warnings })
}

/// Whether an earlier run pushed this commit of ours and was stopped before it could tell, or had no answer to its push.
async fn is_untold(automations: &Automations, run: &Run<'_>, head: &Commit) -> bool {
    run.group.is_none()
        && head.id.to_string() != last_push(run)
        && intent::is_noted(automations.context.store.database(), run, head).await
}

/// The commit that the status says was pushed last.
fn last_push(run: &Run<'_>) -> String {
    run.automation.status.as_ref().map(|status| status.last_push_commit.clone()).unwrap_or_default()
}

/// Whether an earlier run pushed this commit of ours and was stopped before the refspec or the pull request.
/// Differs: Flux never goes back to it. Source: reference image-automation.md section 6.4, step 6.
fn is_half_done(run: &Run<'_>, head: &Commit) -> bool {
    let author = &run.git.commit.author;
    let ours = head.author.name == author.name && head.author.email == author.email;
    // The status remembers one commit, and there is a branch for each group: theirs are looked after in every run.
    let is_unrecorded = run.group.is_some() || head.id.to_string() != last_push(run);
    (run.refspec.is_some() || run.forge.is_some()) && ours && is_unrecorded
}

/// The second push, if one is asked for.
async fn push_refspec(
    run: &Run<'_>,
    mirror: &Arc<Mirror>,
    checkout: Option<&Commit>,
    pushed: Pushed,
) -> Result<Pushed, Failure> {
    let Some(refspec) = &run.refspec else { return Ok(pushed) };
    let commit = match refspec.source {
        Source::Pushed => &pushed.commit,
        Source::Checkout => checkout.unwrap_or(&pushed.commit),
    };
    let (at, commit, options) = (Arc::clone(mirror), commit.clone(), options(run));
    let (target, force) = (refspec.target.clone(), refspec.force);
    let outcome = source::step("push", move || at.publish(&commit, &target, force, &options)).await;
    outcome.map_err(|error| {
        Failure::new(
            "GitOperationFailed",
            format!("failed to update source: refspec {}: {}", refspec.text, error.chain()),
        )
    })?;
    Ok(Pushed { refspecs: vec![refspec.text.clone()], ..pushed })
}

/// The push options, as Git writes them.
fn options(run: &Run<'_>) -> Vec<String> {
    let options = run.git.push.as_ref().map(|push| &push.options);
    options.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect()
}

/// The head as it was last seen. To build on it is safe: if it moved, the push is refused.
async fn known(run: &Run<'_>, mirror: &Arc<Mirror>) -> Result<Option<Base>, Failure> {
    if run.branches.switches {
        return Ok(None);
    }
    let last = source::last(mirror, &run.branches.checkout).await.map_err(|error| failed_checkout(&error))?;
    Ok(last.map(|commit| Base { expected: Expected::At(commit.id), commit, checkout: None, fresh: false }))
}

/// The head as the server has it now: of the push branch if it is there, else of the checkout.
///
/// Differs: the push branch is never overwritten by force. The work is done on top of what it holds, so force would only
/// lose what somebody else pushes meanwhile. Source: reference image-automation.md section 6.4, steps 3 and 6.
async fn fresh(run: &Run<'_>, mirror: &Arc<Mirror>) -> Result<Base, Failure> {
    let failed = |error: Error| failed_checkout(&error);
    let commit = source::fetch(mirror, &run.branches.checkout).await.map_err(failed)?;
    if !run.branches.switches {
        return Ok(Base { expected: Expected::At(commit.id), commit, checkout: None, fresh: true });
    }
    let checkout = Some(commit.clone());
    let target = GitRepositoryRef { branch: Some(run.branches.push.clone()), ..GitRepositoryRef::default() };
    match source::fetch(mirror, &target).await {
        Ok(commit) => Ok(Base { expected: Expected::At(commit.id), commit, checkout, fresh: true }),
        Err(Error::Git(git::Error::ReferenceNotFound { .. })) => {
            Ok(Base { commit, checkout, expected: Expected::Absent, fresh: true })
        }
        Err(error) => Err(failed(error)),
    }
}

enum Stop {
    Rejected,
    Failed(Failure),
}

async fn commit_and_push(
    automations: &Automations,
    run: &Run<'_>,
    mirror: &Arc<Mirror>,
    base: &Base,
    files: BTreeMap<PathBuf, Vec<u8>>,
    changes: &[setters::Change],
) -> Result<Option<Pushed>, Stop> {
    let now = clock::now();
    let message = message::render(run.automation, changes, now);
    let message = message.map_err(|error| Stop::Failed(message_failure(&error)))?;
    let failed = |error: Error| match error {
        Error::Git(error) if error.is_rejected() => Stop::Rejected,
        error => {
            Stop::Failed(Failure::new("GitOperationFailed", format!("failed to update source: {}", error.chain())))
        }
    };
    let author = &run.git.commit.author;
    let author = Author { name: author.name.clone(), email: author.email.clone() };
    let (at, text) = (Arc::clone(mirror), message.clone());
    let (parent, signing) = (base.commit.clone(), run.signing.clone());
    let made = source::step("commit", move || {
        let draft = Draft { author: &author, message: &text, time: now, signing: signing.as_ref() };
        at.commit(Some(&parent), &files, &draft)
    });
    let intent = intent::of(base.commit.id, now, &message);
    let (made, noted) = futures::join!(made, intent::note(automations.context.store.database(), run, &intent));
    let Some(commit) = made.map_err(failed)? else { return Ok(None) };
    noted.map_err(|error| Stop::Failed(error.into()))?;
    let (at, new, expected) = (Arc::clone(mirror), commit.clone(), base.expected);
    let reference = format!("refs/heads/{}", run.branches.push);
    let options = options(run);
    source::step("push", move || at.push(&new, &reference, expected, &options)).await.map_err(failed)?;
    let mut commit = commit.commit;
    commit.reference = format!("refs/heads/{}", run.branches.push);
    Ok(Some(Pushed { commit, message, refspecs: Vec::new(), is_news: true }))
}

/// Source: reference image-automation.md section 7.4.
fn message_failure(error: &message::Error) -> Failure {
    let text = format!("failed to update source: {error}");
    match error.is_removed_field() {
        true => Failure::terminal("RemovedTemplateField", error.to_string()),
        false => Failure::new("GitOperationFailed", text),
    }
}
