//! How a run ended, as a stage says it. Pure.

use std::time::Duration;

use api::meta::ObjectReference;
use serde_json::Value;

use crate::{Error, Notice, telemetry::Ending};

/// When a success becomes an event. Source: reference image-automation.md section 2.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// When the object became Ready or its Ready message changed.
    MessageChange,
    /// When the object became Ready.
    BecameReady,
    /// Never: the reconciler's own notices say all.
    Never,
}

/// When a failed run is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After 750 ms, doubling to 15 minutes.
    Backoff,
    /// After this time.
    After(Duration),
    /// After this time, and until then nothing is written or told: what is needed is about to come.
    Unsaid(Duration),
    /// Not before somebody changes the object: it is Stalled.
    Never,
}

/// A run that ended well.
#[derive(Clone, Debug)]
pub struct Done {
    /// Merge patch of `.status`, without what the loop writes; null for nothing.
    pub status: Value,
    /// Reason of the Ready condition.
    pub reason: &'static str,
    /// Message of the Ready condition.
    pub message: String,
    /// Next run without a change; none waits for one.
    pub requeue: Option<Duration>,
    /// What else is to be told.
    pub notices: Vec<Notice>,
    /// Whom it concerns: they are asked for a run as soon as the end is written, as `slipway reconcile` asks. One that
    /// cannot be asked is left to its interval.
    pub asks: Vec<ObjectReference>,
}

impl Done {
    /// A success with reason `Succeeded` and no next run.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: Value::Null, reason: "Succeeded", message, requeue: None, notices: Vec::new(), asks: Vec::new() }
    }

    /// With this merge patch of `.status`.
    #[must_use]
    pub fn status(mut self, status: Value) -> Self {
        self.status = status;
        self
    }

    /// With the next run after an interval. One of no length asks for no run until something changes, as in
    /// controller-runtime: else the loop would never rest.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        if interval.is_zero() { self } else { self.requeue(interval) }
    }

    /// With the next run after this time.
    #[must_use]
    pub fn requeue(mut self, after: Duration) -> Self {
        self.requeue = Some(after);
        self
    }

    /// With one more notice.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }
}

/// A run that did not end well.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Reason of the Ready condition.
    pub reason: &'static str,
    /// Message of the Ready condition: what failed, on what, and why.
    pub message: String,
    /// When it is tried again.
    pub retry: Retry,
    /// Merge patch of `.status`, without what the loop writes; null for nothing.
    pub status: Value,
    /// What is told; none tells the message as an error. Waiting for another object is no error.
    pub notices: Option<Vec<Notice>>,
}

impl Failure {
    /// A failure that is tried again with back-off.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: Retry::Backoff, status: Value::Null, notices: None }
    }

    /// A failure that only a change of the object can mend.
    pub fn terminal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { retry: Retry::Never, ..Self::new(reason, message) }
    }

    /// No failure yet: what is needed is about to come and starts another run. After this time at the latest it is looked at
    /// again. Nothing is written or told until then.
    pub fn unsaid(message: impl Into<String>, after: Duration) -> Self {
        Self { retry: Retry::Unsaid(after), ..Self::new("DependencyNotReady", message) }
    }

    /// Tried again after this time.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.retry = Retry::After(time);
        self
    }

    /// With this merge patch of `.status`.
    #[must_use]
    pub fn status(mut self, status: Value) -> Self {
        self.status = status;
        self
    }

    /// With these notices in place of the error that is told otherwise.
    #[must_use]
    pub fn telling(mut self, notices: Vec<Notice>) -> Self {
        self.notices = Some(notices);
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new("Failed", error.to_string())
    }
}

/// What the scraper is told of a run.
pub(super) const fn ending(outcome: &Result<Done, Failure>) -> Ending {
    match outcome {
        Ok(Done { requeue: Some(_), .. }) | Err(Failure { retry: Retry::Unsaid(_), .. }) => Ending::RequeueAfter,
        Ok(_) => Ending::Success,
        Err(_) => Ending::Error,
    }
}
