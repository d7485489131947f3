//! The status as a tick will leave it.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use api::flagger::{Canary, CanaryStatus};

/// The Canary's own status until something in it changes: a tick is asked again after every answer, and most ask only.
pub(super) struct Draft<'a>(Cow<'a, CanaryStatus>);

impl<'a> Draft<'a> {
    /// The status as it is.
    pub(super) fn of(canary: &'a Canary) -> Self {
        Self(canary.status())
    }

    /// The status as it is to be.
    pub(super) fn into_status(self) -> CanaryStatus {
        self.0.into_owned()
    }
}

impl Deref for Draft<'_> {
    type Target = CanaryStatus;

    fn deref(&self) -> &CanaryStatus {
        &self.0
    }
}

impl DerefMut for Draft<'_> {
    fn deref_mut(&mut self) -> &mut CanaryStatus {
        self.0.to_mut()
    }
}
