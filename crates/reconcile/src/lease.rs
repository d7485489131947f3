//! Who leads, as a function of the Lease, of when it was last seen to change, and of time. Pure.
//!
//! The rules are those of Kubernetes' own leader election, so that Flux's and Flagger's controllers and we understand
//! each other: a lease is free when nobody holds it, or when it did not change for as long as we would hold it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use sha2::{Digest as _, Sha256};

/// How long a lease lasts, and how it is kept. Defaults: Flux's. Source: reference image-automation.md section 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a sign of life before they take over.
    pub lease: Duration,
    /// How long the leader tries to renew before it gives up; shorter than `lease`, so that it stops first.
    pub renew: Duration,
    /// Time between two tries.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(35), renew: Duration::from_secs(30), retry: Duration::from_secs(5) }
    }
}

impl Timing {
    /// Whether the leader stops before others begin, and tries more than once before it stops.
    pub fn is_safe(&self) -> bool {
        self.lease > self.renew && self.renew > self.retry && !self.retry.is_zero()
    }
}

/// The name of a controller's Lease; another one for each shard.
/// Source: Flux `runtime/leaderelection`, `GenerateID`: the first 8 hex digits of the selector's SHA-256.
pub fn name(controller: &str, selector: Option<&str>) -> String {
    let base = match controller {
        // Flagger's own name for it.
        "flagger" => "flagger-leader-election".to_owned(),
        controller => format!("{controller}-leader-election"),
    };
    match selector.filter(|selector| !selector.is_empty()) {
        None => base,
        Some(selector) => {
            let digest = Sha256::digest(selector.as_bytes());
            let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("{base}-{hex}")
        }
    }
}

/// Whether `identity` may write itself into the lease, which nobody changed for `unchanged`.
pub(crate) fn is_free(lease: &LeaseSpec, identity: &str, unchanged: Duration, timing: &Timing) -> bool {
    match lease.holder_identity.as_deref() {
        None | Some("") => true,
        Some(holder) => holder == identity || unchanged >= timing.lease,
    }
}

/// The lease as its holder writes it.
pub(crate) fn held(before: Option<&LeaseSpec>, identity: &str, timing: &Timing, now: Timestamp) -> LeaseSpec {
    let ours = before.filter(|lease| lease.holder_identity.as_deref() == Some(identity));
    let transitions = before.map_or(0, |lease| lease.lease_transitions.unwrap_or(0) + i32::from(ours.is_none()));
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(i32::try_from(timing.lease.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: ours.and_then(|lease| lease.acquire_time.clone()).or_else(|| Some(micro(now))),
        renew_time: Some(micro(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// The lease as its holder gives it back: free at once.
pub(crate) fn released(before: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(micro(now)),
        renew_time: Some(micro(now)),
        lease_transitions: before.lease_transitions,
        ..LeaseSpec::default()
    }
}

fn micro(now: Timestamp) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn leases_are_named_as_the_controllers_we_stand_in_for_name_them() {
        assert_eq!(name("image-reflector-controller", None), "image-reflector-controller-leader-election");
        assert_eq!(name("flagger", None), "flagger-leader-election");
        // The digest that Flux's own tests expect of "bar".
        assert_eq!(name("kustomize-controller", Some("bar")), "kustomize-controller-leader-election-fcde2b2e");
    }

    #[test]
    fn a_lease_is_free_when_nobody_holds_it_or_its_holder_is_silent() {
        let timing = Timing::default();
        let lease = held(None, "a", &timing, NOW);
        let cases = [("a", 0, true), ("b", 0, false), ("b", 34, false), ("b", 35, true)];
        for (who, unchanged, free) in cases {
            assert_eq!(is_free(&lease, who, Duration::from_secs(unchanged), &timing), free, "{who} {unchanged}");
        }
        assert!(is_free(&released(&lease, NOW), "b", Duration::ZERO, &timing));
        assert!(is_free(&LeaseSpec::default(), "b", Duration::ZERO, &timing));
    }

    #[test]
    fn changes_of_the_holder_are_counted_and_renewals_are_not() {
        let timing = Timing::default();
        let first = held(None, "a", &timing, NOW);
        let later = NOW + Duration::from_secs(5);
        let renewed = held(Some(&first), "a", &timing, later);
        assert_eq!((renewed.lease_transitions, &renewed.acquire_time), (Some(0), &first.acquire_time));
        assert_ne!(renewed.renew_time, first.renew_time);
        let taken = held(Some(&renewed), "b", &timing, later);
        assert_eq!((taken.lease_transitions, &taken.acquire_time), (Some(1), &taken.renew_time));
        assert_eq!(held(Some(&released(&taken, later)), "c", &timing, later).lease_transitions, Some(2));
    }

    #[test]
    fn the_leader_must_stop_before_others_begin() {
        assert!(Timing::default().is_safe());
        let with = |lease, renew, retry| Timing {
            lease: Duration::from_secs(lease),
            renew: Duration::from_secs(renew),
            retry: Duration::from_secs(retry),
        };
        assert!(!with(10, 10, 2).is_safe() && !with(15, 10, 10).is_safe() && !with(15, 10, 0).is_safe());
    }
}
