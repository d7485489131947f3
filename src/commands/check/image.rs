//! ImageRepository and ImagePolicy: names, patterns and ranges that are refused, can never match, or mean something else.

use api::{
    image::{DigestReflectionPolicy, ImagePolicy, ImagePolicySpec, ImageProvider, ImageRepository},
    manifest::typed,
};
use kube::ResourceExt as _;
use policy::{Filter, Policy, Range, Rules, Version, rules::RULES};
use reconcile::Store;
use scanner::result::Exclusions;
use serde_json::Value;

use super::{Complaint, Subject};
use crate::commands::{choose::manifest::field_of, kinds::similar, told};

/// Most patterns that the API server takes. Source: reference image-automation.md section 1.2.
const MAX_EXCLUSIONS: usize = 25;

/// The tags that a running slipway keeps for a policy's repository.
pub async fn kept_tags(store: &Store, object: &Value) -> anyhow::Result<Option<Vec<String>>> {
    let Ok(policy) = typed::<ImagePolicy>(object) else { return Ok(None) };
    let own = policy.namespace().unwrap_or_else(|| "default".into());
    let reference = &policy.spec.image_repository_ref;
    let kept = scanner::Tags::new(store.database().clone()).read(reference.namespace_or(&own), &reference.name).await?;
    let tags: Vec<String> = kept.iter().map(str::to_owned).collect();
    Ok(Some(tags).filter(|tags| !tags.is_empty()))
}

/// An ImageRepository.
pub fn repository(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(repository) = typed::<ImageRepository>(subject.object) else { return Vec::new() };
    let spec = &repository.spec;
    let mut found = deprecated(subject);
    if let Err(error) = oci::Name::parse(&spec.image) {
        found.push(Complaint::error("spec.image", error.to_string()));
    }
    let patterns = spec.exclusion_list();
    if patterns.len() > MAX_EXCLUSIONS {
        let message = format!("{} patterns; at most {MAX_EXCLUSIONS} are allowed", patterns.len());
        found.push(Complaint::error("spec.exclusionList", message));
    }
    if let Err(error) = Exclusions::new(&patterns) {
        found.push(Complaint::error("spec.exclusionList", error.to_string()));
    }
    let timeout = subject.object["spec"]["timeout"].as_str().unwrap_or_default();
    if timeout.contains('h') {
        found.push(Complaint::error("spec.timeout", "hours are not allowed here; write minutes"));
    }
    if spec.provider != ImageProvider::Generic && spec.secret_ref.is_some() {
        let message = format!("ignored: credentials come from the provider {}", spec.provider.as_str());
        found.push(Complaint::warning("spec.secretRef", message));
    }
    found
}

/// An ImagePolicy.
pub fn policy(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(policy) = typed::<ImagePolicy>(subject.object) else { return Vec::new() };
    let spec = &policy.spec;
    let mut found = deprecated(subject);
    found.extend(order(spec));
    found.extend(digest(spec));
    found.extend(reference(subject, &policy));
    found.extend(rules(&policy));
    match Policy::annotated(spec, policy.annotations()) {
        Err(error) => {
            let field = field_of(&error, spec);
            found.push(Complaint::error(field, told(&error.into()).join(": ")));
        }
        Ok(readable) => {
            if let Some(tags) = &subject.tags {
                found.extend(choice(spec, &readable, tags));
            }
        }
    }
    found
}

/// `v1beta2` still works here; the API server warns.
pub fn deprecated(subject: &Subject<'_>) -> Vec<Complaint> {
    let (kind, version) = (&subject.id.kind, subject.id.version());
    // Versions that are not served at all are told by the schema.
    let is_old = version == "v1beta2";
    is_old
        .then(|| Complaint::warning("apiVersion", format!("{version} {kind} is deprecated, upgrade to v1")))
        .into_iter()
        .collect()
}

/// The order that decides, the filter, and what they can never do.
fn order(spec: &ImagePolicySpec) -> Vec<Complaint> {
    let mut found = Vec::new();
    let choice = &spec.policy;
    let given = [
        ("semver", choice.semver.is_some()),
        ("alphabetical", choice.alphabetical.is_some()),
        ("numerical", choice.numerical.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
    if let Some(first) = given.next() {
        let ignored = |name| Complaint::warning(format!("spec.policy.{name}"), format!("ignored: {first} comes first"));
        found.extend(given.map(ignored));
    }
    if let Some(Ok(range)) = choice.semver.as_ref().map(|semver| Range::parse(&semver.range))
        && !range.is_satisfiable()
    {
        found.push(Complaint::error("spec.policy.semver.range", format!("no version can be in the range {range}")));
    }
    let is_numerical = choice.semver.is_none() && choice.alphabetical.is_none() && choice.numerical.is_some();
    if is_numerical && spec.filter_tags.as_ref().is_none_or(|filter| filter.pattern.is_empty()) {
        let message = "without spec.filterTags one tag that is not a number fails the whole policy";
        found.push(Complaint::warning("spec.policy.numerical", message));
    }
    if let Some(Ok(filter)) = spec.filter_tags.as_ref().map(Filter::new) {
        for name in filter.unknown_groups() {
            let message = format!("the pattern has no group {name}, so ${{{name}}} is always empty");
            found.push(Complaint::error("spec.filterTags.extract", message));
        }
    }
    found
}

/// What the API server refuses about digests. Source: reference image-automation.md section 1.3.
fn digest(spec: &ImagePolicySpec) -> Option<Complaint> {
    let is_always = spec.digest_reflection_policy == DigestReflectionPolicy::Always;
    let problem = match (is_always, spec.interval.is_some()) {
        (true, false) => "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
        (false, true) => "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        _ => return None,
    };
    Some(Complaint::error("spec.interval", problem))
}

/// The policy's own rules, in annotations.
fn rules(policy: &ImagePolicy) -> Vec<Complaint> {
    let field = "metadata.annotations";
    let broken = Rules::parse(policy.annotations()).err().map(|error| Complaint::error(field, error.to_string()));
    let unknown = policy.annotations().keys().filter(|name| !RULES.contains(&name.as_str())).filter_map(|name| {
        let meant = name.starts_with("slipway.dev/").then(|| similar(name, RULES)).flatten()?;
        Some(Complaint::warning(field, format!("{name} is no rule and ignored; {meant} is one")))
    });
    broken.into_iter().chain(unknown).collect()
}

/// The repository that the policy refers to, if the files hold any repository at all.
fn reference(subject: &Subject<'_>, policy: &ImagePolicy) -> Option<Complaint> {
    let reference = &policy.spec.image_repository_ref;
    let own = policy.namespace().unwrap_or_default();
    let namespace = reference.namespace_or(&own);
    let field = "spec.imageRepositoryRef";
    match subject.around.find("ImageRepository", namespace, &reference.name) {
        Some(found) if namespace != own && found["spec"]["accessFrom"].is_null() => Some(Complaint::error(
            field,
            format!("{namespace}/{} lets nobody in: it has no accessFrom", reference.name),
        )),
        None if subject.around.has("ImageRepository") => {
            Some(Complaint::warning(field, format!("none of the files holds the ImageRepository {}", reference.name)))
        }
        _ => None,
    }
}

/// What the policy makes of the present tags.
fn choice(spec: &ImagePolicySpec, policy: &Policy, tags: &[String]) -> Option<Complaint> {
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let error = policy.latest(&tags).err()?;
    let filter = spec.filter_tags.as_ref().filter(|filter| !filter.pattern.is_empty());
    if let (policy::Error::Empty, Some(filter)) = (&error, filter) {
        let message = format!("{} matches none of the {} tags", filter.pattern, tags.len());
        return Some(Complaint::warning("spec.filterTags.pattern", message));
    }
    let with_prereleases = spec.policy.semver.as_ref().and_then(|semver| {
        let range = Range::parse(&semver.range).ok()?;
        let release_fits = |version: Version<'_>| range.matches(&Version { pre: "", ..version });
        tags.iter().find(|tag| Version::tag(tag).is_ok_and(release_fits))
    });
    if let Some(tag) = with_prereleases {
        let message =
            format!("only pre-releases such as {tag} would fit; to take them write -0 behind a version of the range");
        return Some(Complaint::warning("spec.policy.semver.range", message));
    }
    Some(Complaint::warning("spec.policy", format!("chooses none of the {} tags: {error}", tags.len())))
}
