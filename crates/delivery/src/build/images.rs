//! The `images` transformer: names, tags and digests of container images.
//!
//! Source: kustomize 5.8 `api/filters/imagetag`.

use serde_json::Value;

use super::{kustomization::ImageRule, resource::Resource};

/// Applies one rule to the containers of all objects.
pub(crate) fn set_images(resources: &mut [Resource], rule: &ImageRule) {
    for resource in resources.iter_mut().filter(|resource| resource.kind() != "CustomResourceDefinition") {
        walk(&mut resource.object, rule);
    }
}

fn walk(value: &mut Value, rule: &ImageRule) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if matches!(name.as_str(), "containers" | "initContainers") {
                    for container in inner.as_array_mut().into_iter().flatten() {
                        if let Some(Value::String(image)) = container.get_mut("image")
                            && let Some(replaced) = replace(image, rule)
                        {
                            *image = replaced;
                        }
                    }
                }
                walk(inner, rule);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, rule)),
        _ => {}
    }
}

/// The image as the rule wants it; `None` if the rule is about another one.
pub(crate) fn replace(image: &str, rule: &ImageRule) -> Option<String> {
    let (name, mut tag, mut digest) = split(image);
    if name != rule.name {
        return None;
    }
    let name = if rule.new_name.is_empty() { name } else { &rule.new_name };
    let suffixed = format!("{tag}{}", rule.tag_suffix);
    // A new tag or digest replaces both: an old digest under a new tag would still be what runs.
    match (rule.new_tag.is_empty(), rule.digest.is_empty()) {
        (true, true) if rule.tag_suffix.is_empty() => {}
        (true, true) => (tag, digest) = (&suffixed, ""),
        _ => (tag, digest) = (&rule.new_tag, &rule.digest),
    }
    let tag = if tag.is_empty() { String::new() } else { format!(":{tag}") };
    let digest = if digest.is_empty() { String::new() } else { format!("@{digest}") };
    Some(format!("{name}{tag}{digest}"))
}

/// Name, tag and digest; the last two are empty where they are missing.
fn split(image: &str) -> (&str, &str, &str) {
    let (rest, digest) = image.split_once('@').unwrap_or((image, ""));
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag, digest),
        _ => (rest, "", digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_and_digest_are_replaced_as_one() {
        let rule = |new_name: &str, new_tag: &str, digest: &str| ImageRule {
            name: "registry:5000/app".into(),
            new_name: new_name.into(),
            new_tag: new_tag.into(),
            digest: digest.into(),
            tag_suffix: String::new(),
        };
        let cases = [
            ("registry:5000/app", rule("", "2", ""), Some("registry:5000/app:2")),
            ("registry:5000/app:1@sha256:aa", rule("", "2", ""), Some("registry:5000/app:2")),
            ("registry:5000/app:1", rule("", "", "sha256:bb"), Some("registry:5000/app@sha256:bb")),
            ("registry:5000/app:1", rule("new", "2", "sha256:bb"), Some("new:2@sha256:bb")),
            ("registry:5000/app:1@sha256:aa", rule("new", "", ""), Some("new:1@sha256:aa")),
            ("registry:5000/application:1", rule("new", "", ""), None),
            ("app:1", rule("new", "", ""), None),
        ];
        for (image, rule, expected) in cases {
            assert_eq!(replace(image, &rule).as_deref(), expected, "{image}");
        }
    }
}
