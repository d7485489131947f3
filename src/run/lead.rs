//! Which controllers run here: all of them, or those whose leases are ours.

use futures::{FutureExt as _, future::BoxFuture};
use kube::Client;
use reconcile::{
    Shutdown, clock,
    leader::{self, Candidate, Lost},
};

use crate::config::cluster::Election;

/// A controller that ends with the shutdown, or when the lead is lost.
pub type Guarded = BoxFuture<'static, Result<(), Lost>>;

/// How controllers come to run.
#[derive(Clone)]
pub struct Lead(Option<Candidacy>);

#[derive(Clone)]
struct Candidacy {
    client: Client,
    election: Election,
    selector: Option<String>,
    identity: String,
}

impl Lead {
    /// Without an election: everything runs here at once.
    pub const fn unopposed() -> Self {
        Self(None)
    }

    /// With one: each controller runs where its lease is held. The client is not held up by rate limits.
    pub fn elected(client: Client, election: Election, selector: Option<String>, instance: &str) -> Self {
        let identity = format!("{instance}_{:016x}", clock::random());
        Self(Some(Candidacy { client, election, selector, identity }))
    }

    /// The controller that runs once the leases of those it stands in for are ours. They have the names that Flux's and
    /// Flagger's own controllers use, so that old and new never act together.
    pub fn guard(
        &self,
        stands_in_for: &[&'static str],
        controller: impl Future<Output = ()> + Send + 'static,
        shutdown: &Shutdown,
    ) -> Guarded {
        let controller: Guarded = controller.map(Ok).boxed();
        let Some(candidacy) = &self.0 else { return controller };
        // The first lease outermost: all candidates take them in this order, so none waits for another's.
        stands_in_for
            .iter()
            .rev()
            .fold(controller, |inner, name| candidacy.clone().lead(name, inner, shutdown.clone()).boxed())
    }
}

impl Candidacy {
    async fn lead(self, stands_in_for: &str, controller: Guarded, shutdown: Shutdown) -> Result<(), Lost> {
        let Election { namespace, timing, release_on_end } = self.election;
        let lease = leader::name(stands_in_for, self.selector.as_deref());
        let mut candidate = Candidate::new(self.client, &namespace, lease, self.identity, timing);
        if !candidate.acquire(&shutdown).await {
            return Ok(());
        }
        // The lease is kept until the controller has ended, which may take a while after the shutdown.
        let ended = tokio::select! {
            ended = controller => ended,
            lost = candidate.keep() => Err(lost),
        };
        if ended.is_ok() && release_on_end {
            candidate.release().await;
        }
        ended
    }
}
