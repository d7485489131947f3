//! ImageRepository: scans when it is due. Source: reference image-automation.md sections 2.1 to 2.5 and 4.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{
    conditions::{self, READY},
    image::{ImageProvider, ImageRepository, ImageRepositoryStatus, ScanResult},
    meta::{self, REQUESTED_AT},
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use oci::{Listed, Name};
use reconcile::{Done, Failure, Notice, Reconciler, clock};
use serde_json::{Value, json};

use super::{
    CONTROLLER, Options,
    numbers::{Numbers, RepositoryLabels},
    registry::{Opened, Registries},
};
use crate::{
    Error, Listing, Tags,
    result::Exclusions,
    schedule::{self, Decision, Facts, Reason},
    tags::{Origin, Stored},
    timetable::Timetable,
};

/// The loop's part for ImageRepository.
#[derive(Debug)]
pub(super) struct Repositories {
    pub options: Options,
    pub tags: Tags,
    pub registries: Arc<Registries>,
    pub numbers: Numbers,
    pub timetable: Mutex<Timetable>,
}

impl Reconciler for Repositories {
    type Kind = ImageRepository;
    const CONTROLLER: &'static str = CONTROLLER;

    fn suspended(&self, object: &ImageRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, object: Arc<ImageRepository>) -> Result<Done, Failure> {
        let name = name(&object).map_err(|error| Failure::terminal("ImageURLInvalid", error.to_string()))?;
        let by_account = object.spec.service_account_name.is_some() && object.spec.provider != ImageProvider::Generic;
        if by_account && !self.options.object_level_workload_identity {
            return Err(Failure::terminal("FeatureGateDisabled", WORKLOAD_IDENTITY));
        }
        // One limit for the login and the scan.
        let (limit, begun) = (object.spec.timeout(), clock::instant());
        let late = || Error::Timeout(api::Duration(limit));
        // Before the question whether a scan is due, so that wrong credentials show at once.
        let opened = tokio::time::timeout(limit, self.registries.open(&object, &name)).await;
        let opened = opened.unwrap_or_else(|_| Err(late())).map_err(|error| {
            Failure::new("AuthenticationFailed", format!("failed to configure authentication options: {error}"))
        })?;
        let requested_at = object.annotations().get(REQUESTED_AT).map(String::as_str);
        let kept = self.tags.read(&object.namespace().unwrap_or_default(), &object.name_any()).await;
        let decide = |requested_at| decide(&object, &name, requested_at, kept.as_ref().map(Stored::count));
        let mut decision = decide(requested_at)?;
        let unproven = match decision {
            Decision::Scan(Reason::Requested) => unproven(&object, &opened, limit).await,
            _ => None,
        };
        if unproven.is_some() {
            decision = decide(None)?;
        }
        if matches!(decision, Decision::Wait(_)) && self.timetable().is_due(&id(&object), clock::now()) {
            decision = Decision::Scan(Reason::Interval);
        }
        match decision {
            Decision::Wait(left) => {
                let done = self.planned(&object, rested(&object, left));
                Ok(match unproven {
                    Some(names) => done.notice(Notice::trace(UNCONFIRMED, not_there(&names))),
                    None => done,
                })
            }
            Decision::Scan(reason) => {
                tracing::debug!(%reason, "scan is due");
                let left = limit.saturating_sub(begun.elapsed());
                let scan = tokio::time::timeout(left, self.scan(&object, &opened, reason, kept)).await;
                let scanned = scan.unwrap_or_else(|_| Err(late())).map_err(|error| unreadable(&error))?;
                Ok(self.planned(&object, scanned))
            }
        }
    }

    async fn finalize(&self, object: Arc<ImageRepository>) -> Result<(), Failure> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        self.numbers.forget(&labels(&object));
        self.timetable().forget(&id(&object));
        Ok(self.tags.remove(&namespace, &name).await?)
    }
}

/// Bounds of a pause that a registry asks for: those of the back-off.
const MIN_PAUSE: Duration = Duration::from_millis(750);
const MAX_PAUSE: Duration = Duration::from_secs(900);
/// Reason of the note that a webhook was not believed.
const UNCONFIRMED: &str = "Unconfirmed";
/// Source: reference image-automation.md section 2.1.
const WORKLOAD_IDENTITY: &str = "to use spec.serviceAccountName for provider authentication please enable the \
    ObjectLevelWorkloadIdentity feature gate in the controller";

/// The image of a repository, with plain HTTP allowed if it says so.
pub(super) fn name(object: &ImageRepository) -> Result<Name, oci::NameError> {
    let name = Name::parse(&object.spec.image)?;
    Ok(if object.spec.insecure { name.insecure() } else { name })
}

impl Repositories {
    /// The next scan somewhat later, and not together with too many others.
    fn planned(&self, object: &ImageRepository, done: Done) -> Done {
        let (interval, percentage) = (object.spec.interval.get(), self.options.interval_jitter_percentage);
        let requeue = done.requeue.map(|wait| {
            let wait = schedule::spread(wait, percentage, clock::random());
            self.timetable().plan(id(object), interval, wait, clock::now())
        });
        Done { requeue, ..done }
    }

    fn timetable(&self) -> MutexGuard<'_, Timetable> {
        self.timetable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists, filters, keeps. A listing that breaks off is discarded whole by the registry client.
    async fn scan(
        &self,
        object: &ImageRepository,
        opened: &Opened,
        reason: Reason,
        kept: reconcile::Result<Stored>,
    ) -> Result<Done, Error> {
        let kept = kept?;
        let patterns = object.spec.exclusion_list();
        let exclusions = Exclusions::new(&patterns)?;
        let image = opened.repository.name().to_string();
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        // What is kept has passed the exclusion list of that time.
        let observed = object.status.as_ref().map_or(&[][..], |status| &status.observed_exclusion_list);
        let known = kept.etag(&image).filter(|_| *observed == patterns);
        let listed = self.registries.list(opened, known.map(str::to_owned), earliest(object, reason)).await?;
        let (listing, etag) = match Arc::try_unwrap(listed).unwrap_or_else(|shared| (*shared).clone()) {
            Listed::Unchanged => (Listing::kept(kept.iter()), known.map(str::to_owned)),
            Listed::Tags { tags, etag } => (Listing::new(tags, &exclusions), etag),
        };
        let origin = Origin { image: &image, etag: etag.as_deref() };
        let put = self.tags.put(&namespace, &name, &kept, &listing, origin).await;
        let revision = put.map_err(|source| Error::Put { image: image.clone(), source })?;
        let count = i64::try_from(listing.tags().len()).unwrap_or(i64::MAX);
        self.numbers.tags.get_or_create(&labels(object)).set(count);
        let message = message(listing.tags().len(), &revision);
        let interval = object.spec.interval.get();
        let before = last_scan(object).map(|result| result.revision.as_str());
        let outcome = if before == Some(&revision) { "tags did not change" } else { "successful scan" };
        let done = Done::new(message).every(interval).status(json!({
            "canonicalImageName": image,
            "lastScanResult": {
                "revision": revision,
                "tagCount": listing.tags().len(),
                "scanTime": api::Time(clock::now()),
                "latestTags": list(listing.latest()),
            },
            "observedExclusionList": list(&patterns),
        }));
        Ok(told(done, object.status.as_ref(), outcome, interval))
    }
}

/// Whether to scan; `stored_tags` as in [`schedule::decide`].
fn decide(
    object: &ImageRepository,
    name: &Name,
    requested_at: Option<&str>,
    stored_tags: Result<usize, &reconcile::Error>,
) -> Result<Decision, Failure> {
    let status = object.status.clone().unwrap_or_default();
    let facts = Facts { spec: &object.spec, status: &status, requested_at, canonical_image_name: &name.to_string() };
    schedule::decide(facts, stored_tags, clock::now())
        .map_err(|error| Failure::new("Failure", format!("failed to determine if it's scan time: {error}")))
}

/// What a webhook says was pushed, if the registry has none of it. A registry that does not answer is scanned: the scan
/// tells better what is wrong.
async fn unproven<'a>(object: &'a ImageRepository, opened: &Opened, limit: Duration) -> Option<Vec<&'a str>> {
    let names = meta::announced(object.annotations())?;
    for name in &names {
        match tokio::time::timeout(limit, opened.repository.digest(name)).await {
            Ok(Err(error)) if error.status().is_some_and(|status| matches!(status.as_u16(), 400 | 404)) => {}
            _ => return None,
        }
    }
    Some(names)
}

fn not_there(names: &[&str]) -> String {
    format!("a webhook announced {}, which the registry does not have", names.join(", "))
}

/// When a listing must have begun to answer the request for a scan: what was pushed before the request must be in it.
fn earliest(object: &ImageRepository, reason: Reason) -> Option<Timestamp> {
    let requested = object.annotations().get(REQUESTED_AT).filter(|_| reason == Reason::Requested)?;
    Some(requested.parse().unwrap_or_else(|_| clock::now()))
}

/// Which repository it is.
fn id(object: &ImageRepository) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// By which the object is told apart in numbers.
pub(super) fn labels(object: &ImageRepository) -> RepositoryLabels {
    RepositoryLabels { name: object.name_any(), namespace: object.namespace().unwrap_or_default() }
}

/// A scan that failed, tried again with back-off, or when the registry wants to be asked again.
fn unreadable(error: &Error) -> Failure {
    let failure = Failure::new("ReadOperationFailed", format!("scan failed: {error}"));
    match error {
        // Differs: Flux does not read `Retry-After`.
        Error::Registry(registry) => match registry.retry_after() {
            Some(wait) => failure.after(wait.clamp(MIN_PAUSE, MAX_PAUSE)),
            None => failure,
        },
        _ => failure,
    }
}

/// The outcome of a run in which no scan was due.
fn rested(object: &ImageRepository, left: Duration) -> Done {
    let (count, revision) = last_scan(object).map_or((0, ""), |result| (result.tag_count, result.revision.as_str()));
    let done = Done::new(message(count, revision)).every(left);
    told(done, object.status.as_ref(), "no change in repository configuration since last scan", left)
}

/// The Ready message.
fn message(count: usize, revision: &str) -> String {
    format!("successful scan: found {count} tags with checksum {revision}")
}

/// With the note that nothing changed, unless the Ready message, which the loop tells, says more.
fn told(done: Done, status: Option<&ImageRepositoryStatus>, outcome: &str, next: Duration) -> Done {
    let ready = status.and_then(|status| conditions::find(&status.conditions, READY));
    if ready.is_none_or(|ready| ready.status != "True" || ready.message != done.message) {
        return done;
    }
    // Whole seconds, so that the same note is counted and not repeated.
    let next = api::Duration::from_secs(next.as_secs_f64().round() as u64);
    done.notice(Notice::trace("Succeeded", format!("{outcome}, next scan in {next}")))
}

/// The last scan that succeeded.
fn last_scan(object: &ImageRepository) -> Option<&ScanResult> {
    object.status.as_ref()?.last_scan_result.as_ref()
}

/// A list as a merge patch: an empty one takes the field away.
fn list(items: &[String]) -> Value {
    if items.is_empty() { Value::Null } else { items.into() }
}
