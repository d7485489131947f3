//! Leader election over a Lease: the shell around `lease`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::Instant;

use crate::{Shutdown, clock, fence, lease};

pub use crate::lease::{Timing, name};

/// A candidate for one Lease. It asks the API server past the rate limit: throttling must never cost us the lead.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    /// The lease as last seen, and when we first saw it so. Clocks of other machines play no part.
    seen: Option<(Lease, Instant)>,
    /// Start of the last try that made or kept the lease ours.
    renewed: Option<Instant>,
}

/// The lead is lost; whatever is not done yet is the next leader's.
#[derive(Debug, thiserror::Error)]
#[error("lease {0} is lost")]
pub struct Lost(pub String);

impl Candidate {
    /// A candidate for the Lease of that name. The identity must be this process's alone.
    pub fn new(client: Client, namespace: &str, name: String, identity: String, timing: Timing) -> Self {
        Self { api: Api::namespaced(client, namespace), name, identity, timing, seen: None, renewed: None }
    }

    /// Waits until we lead; false if the shutdown came first.
    pub async fn acquire(&mut self, shutdown: &Shutdown) -> bool {
        loop {
            if self.turn().await {
                tracing::info!(lease = self.name, identity = self.identity, "became leader");
                return true;
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = clock::sleep(self.pause()) => {}
            }
        }
    }

    /// Renews the lease until it is lost.
    pub async fn keep(&mut self) -> Lost {
        loop {
            let Some(deadline) = self.renewed.map(|renewed| renewed + self.timing.renew) else {
                return Lost(self.name.clone());
            };
            clock::sleep(self.timing.retry.min(deadline.duration_since(clock::instant()))).await;
            // After a long freeze the deadline may be over before the first look.
            let in_time = clock::instant() < deadline && tokio::time::timeout_at(deadline, self.turn()).await.is_ok();
            if !in_time || self.is_anothers() {
                return Lost(self.name.clone());
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait.
    pub async fn release(mut self) {
        let Some((mut lease, _)) = self.seen.take().filter(|_| !self.is_anothers() && fence::is_open()) else { return };
        lease.spec = Some(lease::released(&lease.spec.unwrap_or_default(), clock::now()));
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => tracing::info!(lease = self.name, "gave the lead back"),
            Err(error) => tracing::warn!(%error, lease = self.name, "the lead could not be given back; it runs out"),
        }
        fence::release(&self.name);
    }

    /// One try to take or renew the lease; true if it is ours from the start of the try on.
    async fn turn(&mut self) -> bool {
        let start = clock::instant();
        let outcome = tokio::time::timeout(self.timing.renew, self.write(start)).await;
        match outcome {
            Ok(Ok(true)) => {
                self.renewed = Some(start);
                fence::hold(&self.name, start + self.timing.renew);
                true
            }
            Ok(Ok(false)) => false,
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = self.name, "lease could not be read or written");
                // What we know may be old: somebody else wrote, or our own write came through after all.
                self.look().await;
                false
            }
            Err(_) => false,
        }
    }

    async fn write(&mut self, now: Instant) -> kube::Result<bool> {
        let spec = |lease: &Lease| lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(lease, _)| spec(lease).holder_identity.as_ref() != Some(&self.identity)) {
            self.read(now).await?;
        }
        let Some((lease, since)) = &self.seen else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.ours(None)) };
            let made = self.api.create(&PostParams::default(), &lease).await?;
            self.seen = Some((made, now));
            return Ok(true);
        };
        if !lease::is_free(&spec(lease), &self.identity, now.duration_since(*since), &self.timing) {
            return Ok(false);
        }
        let wanted = Lease { spec: Some(self.ours(lease.spec.as_ref())), ..lease.clone() };
        // With the resource version we saw: only one of several candidates can win.
        let written = self.api.replace(&self.name, &PostParams::default(), &wanted).await?;
        self.seen = Some((written, now));
        Ok(true)
    }

    fn ours(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        lease::held(before, &self.identity, &self.timing, clock::now())
    }

    /// Reads the lease; the time it was first seen stays while it does not change.
    async fn read(&mut self, now: Instant) -> kube::Result<()> {
        let found = self.api.get_opt(&self.name).await?;
        self.seen = found.map(|lease| {
            let since = match &self.seen {
                Some((known, since)) if known.spec == lease.spec => *since,
                _ => now,
            };
            (lease, since)
        });
        Ok(())
    }

    async fn look(&mut self) {
        let now = clock::instant();
        let read = tokio::time::timeout(self.timing.retry, self.read(now)).await;
        if !matches!(read, Ok(Ok(()))) {
            tracing::debug!(lease = self.name, "lease could not be read either");
        }
    }

    /// Whether somebody else was seen to hold the lease.
    fn is_anothers(&self) -> bool {
        let holder = self.seen.as_ref().and_then(|(lease, _)| lease.spec.as_ref()?.holder_identity.clone());
        holder.is_some_and(|holder| holder != self.identity)
    }

    /// Time to the next try, a fifth longer by chance, so that candidates do not run abreast.
    fn pause(&self) -> Duration {
        let fifth = self.timing.retry.as_millis() as u64 / 5;
        self.timing.retry + Duration::from_millis(clock::random() % (fifth + 1))
    }
}
