//! The image that a policy's status reflects: whether its digest is looked up, what it replaces, how it is told.
//!
//! Source: reference image-automation.md sections 2.1 and 5.7.

use api::image::{DigestReflectionPolicy, ImageRef};

/// Where the digest of the chosen image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// It has none.
    Absent,
    /// The one that is stored stays.
    Kept(String),
    /// The registry is asked.
    LookUp,
}

/// Where the digest comes from, for an image that was chosen now and the one chosen before.
pub fn digest(policy: DigestReflectionPolicy, before: Option<&ImageRef>, name: &str, tag: &str) -> Digest {
    let stored = before
        .filter(|before| before.name == name && before.tag == tag && !before.digest.is_empty())
        .map(|before| before.digest.clone());
    match policy {
        DigestReflectionPolicy::Never => Digest::Absent,
        DigestReflectionPolicy::IfNotPresent => stored.map_or(Digest::LookUp, Digest::Kept),
        DigestReflectionPolicy::Always => Digest::LookUp,
    }
}

/// What was chosen before the last change: the image before if anything in it changes, a digest counting too.
pub fn previous<'a>(
    before: Option<&'a ImageRef>,
    now: &ImageRef,
    observed: Option<&'a ImageRef>,
) -> Option<&'a ImageRef> {
    match before {
        Some(before) if before != now => Some(before),
        _ => observed,
    }
}

/// The Ready message of a policy.
pub fn message(latest: &ImageRef, previous: Option<&ImageRef>) -> String {
    let ImageRef { name, tag, digest } = latest;
    let mut text = format!("Latest image tag for {name} resolved to {tag}");
    if !digest.is_empty() {
        text.push_str(&format!(" with digest {digest}"));
    }
    if let Some(previous) = previous {
        text.push_str(&format!(" (previously {previous})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use policy::Policy;
    use serde_json::{Value, json};

    use super::*;
    use crate::result::tests::rows;

    /// One reconcile of the row's policy, with a registry that has this digest for every tag.
    fn pass(row: &Value, pass: u8, before: Option<&ImageRef>, digests: &str) -> ImageRef {
        let spec = json!({"imageRepositoryRef": {"name": "r"}, "policy": {"semver": {"range": row[format!("range_pass{pass}")]}}});
        let policy = Policy::new(&serde_json::from_value(spec).expect("a spec")).expect("a policy");
        let tags: Vec<_> = row["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let tag = policy.latest(&tags).expect("a tag").to_owned();
        let reflection = serde_json::from_value(row[format!("reflection_pass{pass}")].clone()).expect("a policy");
        let digest = match digest(reflection, before, "image", &tag) {
            Digest::Absent => String::new(),
            Digest::Kept(digest) => digest,
            Digest::LookUp => format!("{digests}({tag})"),
        };
        ImageRef { name: "image".into(), tag, digest }
    }

    #[test]
    fn digests_are_reflected_as_in_flux() {
        let rows = rows("controller_decisions", "digestReflection");
        assert!(!rows.is_empty());
        for row in rows {
            let first = pass(&row, 1, None, "d1");
            assert_eq!(row["digest_after_pass1"].as_str().unwrap_or_default(), first.digest, "{row}");
            let second = pass(&row, 2, Some(&first), "d2");
            assert_eq!(row["digest_after_pass2"].as_str().unwrap_or_default(), second.digest, "{row}");
            let previous = previous(Some(&first), &second, None);
            let told = previous.map(|image| image.to_string().replacen("image:", "", 1));
            assert_eq!(row["observedPreviousRef_after_pass2"].as_str(), told.as_deref(), "{row}");
        }
    }

    #[test]
    fn messages_are_those_of_flux() {
        for row in rows("controller_decisions", "policyReadyMessage") {
            let image = |key: &str| serde_json::from_value::<Option<ImageRef>>(row[key].clone()).expect("an image");
            let latest = image("latestRef").expect("an image");
            assert_eq!(row["expected"], message(&latest, image("observedPreviousRef").as_ref()), "{row}");
        }
        let image = |tag: &str, digest: &str| ImageRef { name: "a/b".into(), tag: tag.into(), digest: digest.into() };
        assert_eq!(
            message(&image("2", "sha256:2"), Some(&image("1", "sha256:1"))),
            "Latest image tag for a/b resolved to 2 with digest sha256:2 (previously a/b:1@sha256:1)"
        );
    }

    #[test]
    fn what_was_before_is_remembered_until_the_next_change() {
        let image = |tag: &str| ImageRef { name: "a".into(), tag: tag.into(), digest: String::new() };
        let (one, two, three) = (image("1"), image("2"), image("3"));
        assert_eq!(previous(None, &one, None), None);
        assert_eq!(previous(Some(&two), &two, Some(&one)), Some(&one));
        assert_eq!(previous(Some(&two), &three, Some(&one)), Some(&two));
    }
}
