//! ImagePolicy: chooses among the kept tags. Source: reference image-automation.md sections 2.1, 2.4, 2.6 and 5.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::policy::{Bar, Candidate, Facts, Policy, Rules, rules::RULES};
use api::{
    image::{DigestReflectionPolicy, IMAGE_LABELS, ImagePolicy, ImageProvider, ImageRef, ImageRepository},
    meta::REQUESTED_AT,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use reconcile::{Done, Failure, Notice, ObjectRef, Reconciler, Store, clock, controller};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    CONTROLLER, Options, awaits_scan,
    images::{Asking, Images},
    numbers::Numbers,
    repository, scanned_image,
};
use crate::{
    Tags,
    access::{self, Denied},
    reflection,
    tags::Stored,
};

/// How long a policy waits for the first scan of its repository while no other ends. Source: section 2.4, four tries from
/// 1 s on.
const FIRST_SCAN: Duration = Duration::from_millis(4_750);
/// A signature is not looked for more often.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// A choice that comes later than this after a request to scan was not brought about by it.
const LONGEST_WAY_SECONDS: f64 = 300.0;
/// Source: section 2.1.
const WORKLOAD_IDENTITY: &str = "to use spec.serviceAccountName in the ImageRepository for provider authentication please \
    enable the ObjectLevelWorkloadIdentity feature gate in the controller";

/// The loop's part for ImagePolicy.
#[derive(Debug)]
pub(super) struct Policies {
    pub options: Options,
    pub tags: Tags,
    pub images: Images,
    pub numbers: Numbers,
    pub store: Store,
    /// Policies whose repository awaits its first scan, and since when.
    pub waiting: Mutex<HashMap<ObjectRef<ImagePolicy>, Instant>>,
}

impl Reconciler for Policies {
    type Kind = ImagePolicy;
    const CONTROLLER: &'static str = CONTROLLER;
    // Differs: Flux puts one on, and only counts when it takes it off.
    const FINALIZES: bool = false;

    fn suspended(&self, object: &ImagePolicy) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, object: Arc<ImagePolicy>) -> Result<Done, Failure> {
        let repository = self.repository(&object).await?;
        self.check(&object, &repository)?;
        let Chosen { tag, verified, barred, again } = self.choose(&object, &repository).await?;
        let status = object.status.as_ref();
        let before = status.and_then(|status| status.latest_ref.as_ref());
        let digest = self.digest(&object, &repository, &tag, verified).await?;
        let latest = ImageRef { name: repository.spec.image.clone(), tag, digest };
        let observed = status.and_then(|status| status.observed_previous_ref.as_ref());
        let previous = reflection::previous(before, &latest, observed);
        if before.is_some_and(|before| before.tag != latest.tag) {
            self.measure(&repository);
        }
        let mut message = reflection::message(&latest, previous);
        if let Some((better, bar @ Bar::Unsigned(_))) = &barred {
            message = format!("{message}; {better} would come first: {bar}");
        }
        let labels = self.images.labels(&object, &repository, &latest).await;
        let done = Done::new(message).status(json!({
            "latestRef": image(&latest),
            "observedPreviousRef": previous.map(image),
            "latestLabels": labels,
        }));
        let done = match barred {
            Some((better, bar)) => done.notice(Notice::trace("Barred", format!("{better} would come first: {bar}"))),
            None => done,
        };
        let refresh = object.spec.refresh_interval().map(|interval| interval.get());
        Ok(match refresh.into_iter().chain(again).min() {
            Some(wait) => done.requeue(wait),
            None => done,
        })
    }

    fn removed(&self, object: &ImagePolicy) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectRef::from_obj(object));
    }

    /// The rules stand in annotations, which do not change the generation.
    fn fingerprint(&self, object: &ImagePolicy) -> u64 {
        let mut hasher = DefaultHasher::new();
        controller::fingerprint(object, Self::STYLE).hash(&mut hasher);
        let annotations = object.annotations();
        RULES
            .iter()
            .chain([&IMAGE_LABELS])
            .filter_map(|rule| annotations.get(*rule).map(|value| (rule, value)))
            .for_each(|rule| rule.hash(&mut hasher));
        hasher.finish()
    }
}

/// The tag that the policy wants.
struct Chosen {
    tag: String,
    /// The digest that was proven to be signed.
    verified: Option<String>,
    /// The best tag that a rule of the policy bars, if it is better.
    barred: Option<(String, Bar)>,
    /// When another tag may be chosen without anything changing.
    again: Option<Duration>,
}

impl Policies {
    /// The repository whose tags are considered, if the policy may look at it.
    async fn repository(&self, object: &ImagePolicy) -> Result<ImageRepository, Failure> {
        let own = object.namespace().unwrap_or_default();
        let reference = &object.spec.image_repository_ref;
        let (namespace, name) = (reference.namespace_or(&own), reference.name.as_str());
        let failed = |reason, problem: String| {
            Failure::new(reason, format!("failed to get the referred ImageRepository: {problem}"))
        };
        if namespace != own && self.options.no_cross_namespace_refs {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let denied = Denied::Blocked { kind: "ImageRepository", namespace, name };
            return Err(failed("AccessDenied", denied.to_string()));
        }
        let found = self.store.get_cached::<ImageRepository>(namespace, name).await;
        let found = found.map_err(|error| failed("Failed", error.to_string()))?;
        let repository = found.ok_or_else(|| {
            // The kind in the place of the resource: Flux reads it from controller-runtime's cache, which says so.
            let problem = format!("ImageRepository.image.toolkit.fluxcd.io \"{name}\" not found");
            failed("DependencyNotReady", format!("referenced ImageRepository does not exist: {problem}"))
        })?;
        if namespace != own {
            self.admit(&repository, namespace, &own).await.map_err(|denied| match denied {
                Ok(denied) => failed("AccessDenied", denied.to_string()),
                Err(error) => failed("Failed", error.to_string()),
            })?;
        }
        Ok(repository)
    }

    /// Whether the repository lets in policies of that namespace.
    async fn admit(
        &self,
        repository: &ImageRepository,
        namespace: &str,
        from: &str,
    ) -> Result<(), Result<Denied, reconcile::Error>> {
        let (namespace, name) = (namespace.to_owned(), repository.name_any());
        let Some(access) = &repository.spec.access_from else { return Err(Ok(Denied::NoList { namespace, name })) };
        let object = self.store.get::<Namespace>("", from).await.map_err(Err)?;
        let mut labels: BTreeMap<_, _> = object.and_then(|object| object.metadata.labels).unwrap_or_default();
        // The API server puts this label on every namespace; standalone there may be no object to carry it.
        labels.entry("kubernetes.io/metadata.name".to_owned()).or_insert_with(|| from.to_owned());
        match access::admits(access, &labels) {
            true => Ok(()),
            false => Err(Ok(Denied::Mismatch { namespace, name, from: from.to_owned() })),
        }
    }

    /// Notes how long it took from the request to scan, which registries' notifications are turned into, to this choice.
    fn measure(&self, repository: &ImageRepository) {
        let requested = repository.annotations().get(REQUESTED_AT).and_then(|at| at.parse::<Timestamp>().ok());
        let Some(seconds) = requested.map(|at| clock::now().duration_since(at).as_secs_f64()) else { return };
        // An older request has nothing to do with this choice.
        if (0.0..LONGEST_WAY_SECONDS).contains(&seconds) {
            self.numbers.push_to_choice.observe(seconds);
        }
    }

    /// What no retry can mend.
    fn check(&self, object: &ImagePolicy, repository: &ImageRepository) -> Result<(), Failure> {
        repository::name(repository).map_err(|error| Failure::terminal("ImageURLInvalid", error.to_string()))?;
        let by_account =
            repository.spec.service_account_name.is_some() && repository.spec.provider != ImageProvider::Generic;
        if by_account && !self.options.object_level_workload_identity {
            return Err(Failure::terminal("FeatureGateDisabled", WORKLOAD_IDENTITY));
        }
        if object.spec.digest_reflection_policy == DigestReflectionPolicy::Always && object.spec.interval.is_none() {
            let text = "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'";
            return Err(Failure::terminal("IntervalNotConfigured", text));
        }
        Ok(())
    }

    /// The tag that the policy wants.
    async fn choose(&self, object: &ImagePolicy, repository: &ImageRepository) -> Result<Chosen, Failure> {
        let policy = Policy::annotated(&object.spec, object.annotations()).map_err(|error| {
            let problem = match &error {
                ::policy::Error::Pattern { .. } => format!("failed to filter tags: {error}"),
                _ => format!("invalid policy: {error}"),
            };
            Failure::terminal("InvalidPolicy", problem)
        })?;
        let rules = Rules::parse(object.annotations())
            .map_err(|error| Failure::terminal("InvalidPolicy", format!("invalid policy: {error}")))?;
        let (namespace, name) = (repository.namespace().unwrap_or_default(), repository.name_any());
        let stored = self.tags.read(&namespace, &name).await?;
        if let Some(left) = self.patience(object, repository, &stored) {
            return Err(Failure::unsaid("the repository is not scanned yet", left));
        }
        let tags: Vec<&str> = stored.iter().collect();
        if tags.is_empty() || is_of_another_image(repository) {
            let wait = self.options.requeue_dependency;
            let text = format!("retrying in {} error: no tags in database", api::Duration(wait));
            return Err(Failure::new("DependencyNotReady", text).after(wait));
        }
        if !rules.is_empty() {
            return self.choose_by(&rules, &policy, object, repository, &stored).await;
        }
        let tag = policy.latest(&tags).map_err(|error| Failure::new("Failure", error.to_string()))?;
        Ok(Chosen { tag: tag.to_owned(), verified: None, barred: None, again: None })
    }

    /// How much longer the policy may wait for tags of its repository: not at all where they are here, or none are to come.
    fn patience(&self, object: &ImagePolicy, repository: &ImageRepository, stored: &Stored) -> Option<Duration> {
        let (now, id) = (clock::instant(), ObjectRef::from_obj(object));
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.count() > 0 || !awaits_scan(repository) {
            waiting.remove(&id);
            return None;
        }
        let since = *waiting.entry(id).or_insert(now);
        // A thousand repositories are scanned one after another.
        let since = self.tags.last_scan().map_or(since, |last| last.max(since));
        FIRST_SCAN.checked_sub(now - since).filter(|left| !left.is_zero())
    }

    /// The best tag that the policy's own rules do not bar.
    async fn choose_by(
        &self,
        rules: &Rules,
        policy: &Policy,
        object: &ImagePolicy,
        repository: &ImageRepository,
        stored: &Stored,
    ) -> Result<Chosen, Failure> {
        let tags: Vec<&str> = stored.iter().collect();
        let latest = object.status.as_ref().and_then(|status| status.latest_ref.as_ref());
        let current = latest.filter(|latest| latest.name == repository.spec.image).map(|latest| latest.tag.as_str());
        let first_seen = stored.seen().filter_map(|(tag, seen)| Some((tag, seen?))).collect();
        let mut facts = Facts { now: clock::now(), current, first_seen, ..Facts::default() };
        let asking = Asking { policy: object, repository };
        let selection = self.images.select(asking, (policy, rules), &tags, &mut facts).await?;
        let barred = selection.best_barred();
        let grown = selection.next_grown().map(|at| at.duration_since(facts.now));
        let grown = grown.map(|wait| Duration::try_from(wait).unwrap_or_default());
        // A signature often comes a moment after its image, and no scan sees it.
        let signed = selection.awaits_signature().then(|| repository.spec.interval.get().max(SHORTEST_WAIT));
        let again = grown.into_iter().chain(signed).min();
        match (selection.latest(), &selection.error) {
            (Some(chosen), _) => {
                let is_better =
                    |one: &Candidate<'_>| !policy.is_worse(one.value.as_deref().unwrap_or_default(), chosen.tag);
                let barred = barred.filter(|(one, _)| is_better(one));
                let barred = barred.map(|(one, bar)| (one.tag.to_owned(), bar.clone()));
                let verified = facts.signatures.remove(chosen.tag).and_then(Result::ok);
                Ok(Chosen { tag: chosen.tag.to_owned(), verified, barred, again })
            }
            (None, error) => {
                let why = error.as_ref().map(ToString::to_string).unwrap_or_default();
                let example = barred.map(|(one, bar)| format!("; {}: {bar}", one.tag)).unwrap_or_default();
                let failure = Failure::new("Failure", format!("{why}{example}"));
                Err(match again {
                    Some(wait) => failure.after(wait),
                    None => failure,
                })
            }
        }
    }

    /// The digest of the chosen tag, empty if it is not to be reflected. Which image was verified and which is reflected
    /// must be one.
    async fn digest(
        &self,
        object: &ImagePolicy,
        repository: &ImageRepository,
        tag: &str,
        verified: Option<String>,
    ) -> Result<String, Failure> {
        if object.spec.digest_reflection_policy == DigestReflectionPolicy::Never {
            return Ok(String::new());
        }
        if let Some(digest) = verified {
            return Ok(digest);
        }
        let found = self.images.reflected(Asking { policy: object, repository }, tag).await;
        let image = &repository.spec.image;
        found.map_err(|error| Failure::new("Failed", format!("failed fetching digest of {image}:{tag}: {error}")))
    }
}

/// Whether the kept tags are those of an image that the repository named before.
///
/// Differs: Flux chooses among them for a moment, and reflects an image that may not exist.
fn is_of_another_image(repository: &ImageRepository) -> bool {
    let named = repository::name(repository).map(|name| name.to_string()).unwrap_or_default();
    let scanned = scanned_image(repository);
    !scanned.is_empty() && scanned != named
}

/// An image as a merge patch: a digest that is gone is taken away.
fn image(image: &ImageRef) -> Value {
    let digest = if image.digest.is_empty() { Value::Null } else { image.digest.as_str().into() };
    json!({ "name": image.name, "tag": image.tag, "digest": digest })
}
