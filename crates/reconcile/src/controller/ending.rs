//! The end of a run: what is written, told and asked for.

use api::meta::{ObjectReference, REQUESTED_AT};
use kube::Resource as _;
use serde_json::{Value, json};

use super::{Done, Failure, Reconciler, Retry, Runner, Style, outcome, status};
use crate::{Error, clock};

impl<R: Reconciler> Runner<R> {
    /// Writes the outcome and tells it. `before` is the JSON form of the object, where it is known.
    pub(super) async fn keep(
        &self,
        object: &R::Kind,
        before: Option<Value>,
        outcome: &Result<Done, Failure>,
    ) -> Result<(), Error> {
        if let Err(Failure { retry: Retry::Unsaid(_), message, .. }) = outcome {
            tracing::debug!(outcome = message, "run waits");
            self.context.metrics.count(&R::Kind::kind(&()), outcome::ending(outcome));
            return Ok(());
        }
        match self.conclude(object, before, outcome).await {
            Ok(()) => {}
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

    /// Writes what the run leaves, and what is told of it, if there is any.
    async fn conclude(
        &self,
        object: &R::Kind,
        before: Option<Value>,
        outcome: &Result<Done, Failure>,
    ) -> Result<(), Error> {
        let known = before.as_ref().unwrap_or(&Value::Null);
        let notices = status::notices(known, outcome, R::STYLE, R::ANNOUNCE);
        let written = match R::STYLE {
            Style::Flux => Some(status::after(known, outcome, clock::now())),
            Style::Own => status::own(outcome),
        };
        if written.is_none() && notices.is_empty() {
            return Ok(());
        }
        // Events and the write ask for no more than what it is called.
        let named =
            || json!({"apiVersion": R::Kind::api_version(&()), "kind": R::Kind::kind(&()), "metadata": object.meta()});
        let before = before.unwrap_or_else(named);
        let stored = self.context.events.conclude(&before, R::CONTROLLER, written.as_ref(), &notices).await?;
        if let Some(stored) = stored {
            self.note(&stored);
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
