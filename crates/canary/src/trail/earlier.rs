//! Which image a rollout that was promoted can go back to, by the runs that are kept. Pure.

use api::flagger::Phase;

use super::Run;

/// An image that the primary ran before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The image, as the target had it.
    pub image: String,
    /// The images that were tried after it, oldest first: what must not be chosen again.
    pub since: Vec<String>,
}

/// The image that `wanted` names among those that the primary ran before `current`: by itself, by its tag, or by the digest
/// of the revision that brought it. The latest one counts.
pub fn earlier(runs: &[Run], current: &str, wanted: &str) -> Option<Earlier> {
    let tried = tried(runs);
    let is_meant = |one: &Tried<'_>| {
        let names = one.image == wanted || parts(one.image).1 == Some(wanted) || one.revision == Some(wanted);
        one.was_primary && one.image != current && names
    };
    let place = tried.iter().rposition(is_meant)?;
    let image = tried[place].image;
    let mut since: Vec<String> = Vec::new();
    for later in tried[place + 1..].iter().map(|one| one.image).chain([current]) {
        if later != image && !since.iter().any(|known| known == later) {
            since.push(later.to_owned());
        }
    }
    Some(Earlier { image: image.to_owned(), since })
}

/// The images that the primary ran before `current`, latest first, each once.
pub fn kept(runs: &[Run], current: &str) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in tried(runs).iter().rev().filter(|one| one.was_primary && one.image != current) {
        if !kept.iter().any(|known| known == one.image) {
            kept.push(one.image.to_owned());
        }
    }
    kept
}

/// Name and tag of an image: `ghcr.io:443/app:1.2@sha256:…` is `ghcr.io:443/app` and `1.2`.
pub fn parts(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

struct Tried<'a> {
    image: &'a str,
    revision: Option<&'a str>,
    was_primary: bool,
}

/// Every image of the runs, oldest first: what the primary ran when a run began, and what the run tried.
fn tried(runs: &[Run]) -> Vec<Tried<'_>> {
    let mut tried = Vec::new();
    for run in runs {
        tried.extend(run.from_image.as_deref().map(|image| Tried { image, revision: None, was_primary: true }));
        let was_primary = run.phase == Phase::Succeeded;
        let revision = Some(run.revision.as_str());
        tried.extend(run.image.as_deref().map(|image| Tried { image, revision, was_primary }));
    }
    tried
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: &str, to: &str, phase: Phase) -> Run {
        let image = |tag: &str| Some(format!("ghcr.io:443/app:{tag}"));
        Run { revision: format!("sw1-{to}"), image: image(to), from_image: image(from), phase, ..Run::default() }
    }

    fn runs() -> Vec<Run> {
        vec![run("1", "2", Phase::Succeeded), run("2", "3", Phase::Failed), run("2", "4", Phase::Succeeded)]
    }

    const CURRENT: &str = "ghcr.io:443/app:4";

    #[test]
    fn an_image_is_named_by_itself_its_tag_or_its_revision() {
        for (wanted, tag) in [("2", "2"), ("ghcr.io:443/app:1", "1"), ("sw1-2", "2"), ("1", "1")] {
            let found = earlier(&runs(), CURRENT, wanted).map(|earlier| earlier.image);
            assert_eq!(found, Some(format!("ghcr.io:443/app:{tag}")), "{wanted}");
        }
    }

    #[test]
    fn what_was_never_promoted_or_runs_now_is_no_way_back() {
        for wanted in ["3", "4", "5", "", CURRENT, "sw1-4"] {
            assert_eq!(earlier(&runs(), CURRENT, wanted), None, "{wanted}");
        }
        assert_eq!(kept(&runs(), CURRENT), ["ghcr.io:443/app:2", "ghcr.io:443/app:1"]);
    }

    #[test]
    fn everything_tried_since_is_held_back() {
        let since = |wanted: &str| earlier(&runs(), CURRENT, wanted).unwrap().since;
        assert_eq!(since("2"), ["ghcr.io:443/app:4"]);
        assert_eq!(since("1"), ["2", "3", "4"].map(|tag| format!("ghcr.io:443/app:{tag}")));
    }

    #[test]
    fn a_port_is_no_tag_and_a_digest_neither() {
        assert_eq!(parts("ghcr.io:443/app"), ("ghcr.io:443/app", None));
        assert_eq!(parts("app:1.2@sha256:ab"), ("app", Some("1.2")));
    }
}
