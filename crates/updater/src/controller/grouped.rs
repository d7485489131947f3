//! A run whose push branch is a template: one commit on each branch that has something to do.

use std::sync::Arc;

use git::{Mirror, Remote};
use reconcile::{Done, Failure};

use super::{
    Automations, Chosen, INVALID, Run,
    push::{self, Due, Outcome},
    refspec, told,
};
use crate::{branches::Branches, groups};

impl Automations {
    /// Updates each branch with the policies that share it. Those with nothing due on the checkout are left alone.
    pub(super) async fn run_grouped(
        &self,
        run: &Run<'_>,
        mirror: &Arc<Mirror>,
        remote: &Remote,
    ) -> Result<Done, Failure> {
        let groups = groups::branches(run.automation, &run.branches.push, &run.chosen);
        let groups = groups.map_err(|problem| Failure::terminal(INVALID, problem))?;
        let Due { base, policies, warnings } = push::due(run, mirror, &self.memory).await?;
        let mut all = told::done(run, &Outcome { base, pushed: None, warnings });
        let mut is_rested = true;
        for (branch, chosen) in groups {
            if !chosen.keys().any(|policy| policies.contains(policy)) {
                continue;
            }
            let mut own = run.on(branch, chosen)?;
            let outcome = push::update(self, &mut own, Arc::clone(mirror)).await?;
            if outcome.pushed.is_none() {
                continue;
            }
            is_rested = false;
            // What could not be used is the same on every branch and told once.
            let outcome = Outcome { warnings: Vec::new(), ..outcome };
            let finished = self.finish(&own, remote, &outcome).await?;
            all.notices.extend(finished.notices);
            all.asks.extend(finished.asks);
            for field in ["lastPushCommit", "lastPushTime"] {
                if let Some(value) = finished.status.get(field) {
                    all.status[field] = value.clone();
                }
            }
        }
        Ok(if is_rested { told::rested(run.automation, all) } else { all })
    }
}

impl Run<'_> {
    /// The same for some of the policies, pushed to that branch.
    fn on(&self, branch: String, chosen: Chosen) -> Result<Self, Failure> {
        let switches = self.branches.checkout.branch.as_ref() != Some(&branch);
        let branches = Branches { push: branch, switches, ..self.branches.clone() };
        let policies: Vec<&str> = chosen.keys().map(String::as_str).collect();
        Ok(Self {
            automation: self.automation,
            namespace: self.namespace.clone(),
            git: self.git,
            repository: self.repository.clone(),
            refspec: refspec(self.git, &branches)?,
            branches,
            forge: self.forge.clone(),
            signing: self.signing.clone(),
            group: Some(policies.join(",")),
            chosen,
            known: self.known.clone(),
        })
    }
}
