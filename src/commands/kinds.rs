//! The kinds that people name on the command line, in all the ways they name them.

use api::meta::ObjectReference;

/// A kind and its names.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `group/version`.
    pub api_version: &'static str,
    /// As in manifests.
    pub kind: &'static str,
    /// As in sentences.
    pub singular: &'static str,
    /// As in sentences.
    pub plural: &'static str,
    /// Other words for it, in lower case, beside its kind, singular and plural.
    words: &'static [&'static str],
    /// Whether `get all` shows it.
    pub is_shown_by_all: bool,
}

impl Kind {
    /// The reference to an object of this kind.
    pub fn object(&self, namespace: &str, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: self.api_version.into(),
            kind: self.kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `kind/name`, in the form that every verb takes.
    pub fn slash(&self, name: &str) -> String {
        format!("{}/{name}", self.kind.to_lowercase())
    }

    fn is_called(&self, word: &str) -> bool {
        let squeezed = |text: &str| text.replace(' ', "");
        word == self.kind.to_lowercase()
            || word == squeezed(self.singular)
            || word == squeezed(self.plural)
            || self.words.contains(&word)
    }
}

/// What a command line names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// Objects of one kind; all of them without a name.
    Kind(&'static Kind, Vec<String>),
    /// Everything that slipway is about.
    All,
}

const fn kind(
    api_version: &'static str,
    kind: &'static str,
    singular: &'static str,
    plural: &'static str,
    words: &'static [&'static str],
) -> Kind {
    Kind { api_version, kind, singular, plural, words, is_shown_by_all: true }
}

const fn other(
    api_version: &'static str,
    kind: &'static str,
    singular: &'static str,
    plural: &'static str,
    words: &'static [&'static str],
) -> Kind {
    Kind { api_version, kind, singular, plural, words, is_shown_by_all: false }
}

const IMAGE: &str = "image.toolkit.fluxcd.io/v1";
const NOTIFICATION: &str = "notification.toolkit.fluxcd.io/v1beta3";
const FLAGGER: &str = "flagger.app/v1beta1";
const GATEWAY: &str = "gateway.networking.k8s.io/v1";

/// In the order in which an image travels.
pub const KINDS: [Kind; 19] = [
    kind(
        IMAGE,
        "ImageRepository",
        "image repository",
        "image repositories",
        &["ir", "imgrepo", "imagerepo", "repository"],
    ),
    kind(IMAGE, "ImagePolicy", "image policy", "image policies", &["ip", "imgpol", "imagepol", "policy"]),
    kind(
        IMAGE,
        "ImageUpdateAutomation",
        "image update",
        "image updates",
        &["iu", "iua", "imgupd", "imgauto", "imageupdateautomations", "update"],
    ),
    kind(
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        "source git",
        "source gits",
        &["gitrepositories", "gitrepo", "git"],
    ),
    kind("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "kustomization", "kustomizations", &["ks"]),
    kind(FLAGGER, "Canary", "canary", "canaries", &["cd", "rollout", "rollouts"]),
    kind(FLAGGER, "MetricTemplate", "metric", "metrics", &["metrictemplates"]),
    kind(FLAGGER, "AlertProvider", "alert provider", "alert providers", &[]),
    kind(NOTIFICATION, "Alert", "alert", "alerts", &[]),
    kind(NOTIFICATION, "Provider", "provider", "providers", &[]),
    kind("notification.toolkit.fluxcd.io/v1", "Receiver", "receiver", "receivers", &[]),
    other("apps/v1", "Deployment", "deployment", "deployments", &["deploy"]),
    other("apps/v1", "DaemonSet", "daemonset", "daemonsets", &["ds"]),
    other("v1", "Service", "service", "services", &["svc"]),
    other("v1", "ConfigMap", "configmap", "configmaps", &["cm"]),
    other("v1", "Pod", "pod", "pods", &["po"]),
    other(GATEWAY, "Gateway", "gateway", "gateways", &["gtw"]),
    other(GATEWAY, "HTTPRoute", "httproute", "httproutes", &[]),
    other(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "autoscaler",
        "autoscalers",
        &["hpa", "horizontalpodautoscalers"],
    ),
];

/// The kind that a word means.
pub fn find(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    KINDS.iter().find(|kind| kind.is_called(&word))
}

/// Reads `KIND [NAME…]`, where the kind may be two words, and `KIND/NAME…`. The error is a sentence, with a tip where one helps.
pub fn parse(words: &[String]) -> Result<Named, String> {
    let [first, rest @ ..] = words else { return Err("a kind is missing".into()) };
    if first.eq_ignore_ascii_case("all") && rest.is_empty() {
        return Ok(Named::All);
    }
    if first.contains('/') {
        return slashes(words);
    }
    if let [second, names @ ..] = rest
        && let Some(kind) = find(&format!("{first}{second}"))
            .filter(|_| matches!(first.to_lowercase().as_str(), "image" | "images" | "source" | "sources" | "alert"))
    {
        return Ok(Named::Kind(kind, names.to_vec()));
    }
    // `images policy`, as Flux's `get images` says it.
    if let ([second, names @ ..], true) = (rest, matches!(first.to_lowercase().as_str(), "images" | "sources"))
        && let Some(kind) = find(&format!("{}{second}", first.trim_end_matches(['s', 'S'])))
    {
        return Ok(Named::Kind(kind, names.to_vec()));
    }
    find(first).map(|kind| Named::Kind(kind, rest.to_vec())).ok_or_else(|| unknown(first))
}

/// Reads `KIND/NAME`.
pub fn parse_one(text: &str) -> Result<(&'static Kind, String), String> {
    let (kind, name) = text
        .split_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(|| format!("{text:?} is not KIND/NAME"))?;
    Ok((find(kind).ok_or_else(|| unknown(kind))?, name.to_owned()))
}

fn slashes(words: &[String]) -> Result<Named, String> {
    let mut found: Option<(&'static Kind, Vec<String>)> = None;
    for word in words {
        let (kind, name) = parse_one(word)?;
        match &mut found {
            Some((first, names)) if *first == kind => names.push(name),
            Some((first, _)) => {
                return Err(format!("name objects of one kind at a time, not {} and {}", first.plural, kind.plural));
            }
            None => found = Some((kind, vec![name])),
        }
    }
    found.map(|(kind, names)| Named::Kind(kind, names)).ok_or_else(|| "a kind is missing".into())
}

fn unknown(word: &str) -> String {
    let begun: Vec<&str> =
        KINDS.iter().map(|kind| kind.singular).filter(|singular| singular.starts_with(&format!("{word} "))).collect();
    if !begun.is_empty() {
        return format!("no kind is called {word:?} alone\ntip: kinds that begin so are {}", begun.join(", "));
    }
    let candidates =
        KINDS.iter().flat_map(|kind| [kind.singular, kind.plural].into_iter().chain(kind.words.iter().copied()));
    match similar(&word.to_lowercase(), candidates) {
        Some(tip) => format!("no kind is called {word:?}\ntip: a similar kind exists: {tip}"),
        None => format!("no kind is called {word:?}\ntip: kinds are {}", KINDS.map(|kind| kind.singular).join(", ")),
    }
}

/// The candidate nearest to what was typed: within two edits, or one of which it is the beginning.
pub fn similar<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = candidates.into_iter().filter_map(|candidate| {
        let distance = distance(typed, candidate);
        let begins = typed.len() >= 3 && candidate.starts_with(typed);
        // Two edits turn any short word into any other.
        let near = distance <= 2 && distance < candidate.chars().count().min(typed.chars().count());
        (near || begins).then_some((distance, candidate))
    });
    rated.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out or replaced.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn kinds_are_known_by_all_their_names() {
        for (text, kind, names) in [
            ("canary", "Canary", vec![]),
            ("canaries podinfo", "Canary", vec!["podinfo"]),
            ("rollout a b", "Canary", vec!["a", "b"]),
            ("image policy", "ImagePolicy", vec![]),
            ("image policy podinfo", "ImagePolicy", vec!["podinfo"]),
            ("images policy podinfo", "ImagePolicy", vec!["podinfo"]),
            ("imagepolicies", "ImagePolicy", vec![]),
            ("ip/podinfo", "ImagePolicy", vec!["podinfo"]),
            ("imgrepo podinfo", "ImageRepository", vec!["podinfo"]),
            ("image update apps", "ImageUpdateAutomation", vec!["apps"]),
            ("source git apps", "GitRepository", vec!["apps"]),
            ("ks", "Kustomization", vec![]),
            ("alert all", "Alert", vec!["all"]),
            ("HTTPRoute app", "HTTPRoute", vec!["app"]),
        ] {
            let expected = Named::Kind(find(kind).unwrap(), names.into_iter().map(str::to_owned).collect());
            assert_eq!(parse(&words(text)), Ok(expected), "{text}");
        }
        assert_eq!(parse(&words("all")), Ok(Named::All));
    }

    #[test]
    fn a_mistyped_kind_gets_a_tip() {
        assert_eq!(
            parse(&words("canry")).unwrap_err(),
            "no kind is called \"canry\"\ntip: a similar kind exists: canary"
        );
        assert_eq!(
            parse(&words("kust")).unwrap_err(),
            "no kind is called \"kust\"\ntip: a similar kind exists: kustomization"
        );
        let image = "no kind is called \"image\" alone\ntip: kinds that begin so are image repository, image policy, image update";
        assert_eq!(parse(&words("image")).unwrap_err(), image);
        assert!(parse(&words("xyzzy")).unwrap_err().contains("tip: kinds are image repository, "));
        assert!(parse(&words("canary/a ip/b")).is_err());
    }

    #[test]
    fn two_edits_are_near() {
        assert_eq!(similar("podifno", ["redis", "podinfo"]), Some("podinfo"));
        assert_eq!(similar("ab", ["xy", "cd"]), None);
    }
}
