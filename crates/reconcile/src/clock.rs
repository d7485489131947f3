//! Time and chance. Nothing else in the workspace reads a clock; tests make both virtual.

use std::time::Duration;

/// The time now.
#[allow(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub fn now() -> jiff::Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(now) = crate::simulation::now() {
        return now;
    }
    jiff::Timestamp::now()
}

/// A point to measure a span from; it does not jump when the wall clock is set.
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits.
pub async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// A number nobody can foresee; for jitter and names, not for keys.
pub fn random() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(number) = crate::simulation::random() {
        return number;
    }
    uuid::Uuid::new_v4().as_u64_pair().0
}
