//! The end of a run: what is written, told and asked for.

use api::meta::{ObjectReference, REQUESTED_AT};
use kube::Resource as _;
use serde_json::{Value, json};

use super::{Done, Failure, Reconciler, Retry, Runner, Style, outcome, status};
use crate::{Error, clock};

impl<R: Reconciler> Runner<R> {
    /// Writes the outcome and tells it.
    pub(super) async fn keep(&self, before: &Value, outcome: &Result<Done, Failure>) -> Result<(), Error> {
        if let Err(Failure { retry: Retry::Unsaid(_), message, .. }) = outcome {
            tracing::debug!(outcome = message, "run waits");
            self.context.metrics.count(&R::Kind::kind(&()), outcome::ending(outcome));
            return Ok(());
        }
        let written = match R::STYLE {
            Style::Flux => Some(status::after(before, outcome, clock::now())),
            Style::Own => status::own(outcome),
        };
        let notices = status::notices(before, outcome, R::STYLE, R::ANNOUNCE);
        match self.context.events.conclude(before, R::CONTROLLER, written.as_ref(), &notices).await {
            Ok(Some(stored)) => self.note(&stored),
            Ok(None) => {}
            // Deleted meanwhile: nobody is left to tell.
            Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.context.metrics.count(&R::Kind::kind(&()), outcome::ending(outcome));
        match outcome {
            Ok(done) => {
                tracing::debug!(outcome = done.message, "run ended well");
                self.ask(&done.asks).await;
            }
            Err(failure) => tracing::warn!(reason = failure.reason, outcome = failure.message, "run failed"),
        }
        Ok(())
    }

    /// Asks for runs of other objects.
    async fn ask(&self, others: &[ObjectReference]) {
        let request = json!({"metadata": {"annotations": {REQUESTED_AT: clock::now().to_string()}}});
        for other in others {
            if let Err(error) = self.context.store.patch(other, R::CONTROLLER, &request).await {
                tracing::warn!(%other, %error, "cannot be asked for a run");
            }
        }
    }
}
