//! `push.branch` as a template: which policies share a branch. Pure.
//!
//! Differs: in Flux the branch is a plain text. A template names a branch for each policy, image or update.

use std::collections::BTreeMap;

use api::image::{ImageRef, ImageUpdateAutomation};
use kube::ResourceExt as _;
use template::{Functions, Options, Struct, Template, Value};

use crate::message::{field, named, record, values};

/// Images by policy name.
type Chosen = BTreeMap<String, ImageRef>;

/// Whether a push branch is a template.
pub fn is_template(branch: &str) -> bool {
    branch.contains("{{")
}

/// The policies by the branch that each is pushed to. The template sees `.Policy` (`Namespace`, `Name`), `.Image` (`Name`,
/// `Tag`, `Digest`), `.AutomationObject` and `.Values`; what Git takes in no name becomes a dash.
pub fn branches(
    automation: &ImageUpdateAutomation,
    branch: &str,
    chosen: &Chosen,
) -> Result<BTreeMap<String, Chosen>, String> {
    let invalid = |problem: String| format!("spec.git.push.branch: {problem}");
    let parsed = Template::parse("push branch", branch, Functions::sprig());
    let template = parsed.map_err(|error| invalid(error.to_string()))?;
    let given = automation.spec.git.as_ref().map(|git| git.commit.message_template_values.clone());
    let given = given.unwrap_or_default();
    let namespace = automation.namespace().unwrap_or_default();
    let mut groups: BTreeMap<String, Chosen> = BTreeMap::new();
    for (policy, image) in chosen {
        let image_fields = vec![
            field("Name", image.name.as_str()),
            field("Tag", image.tag.as_str()),
            field("Digest", image.digest.as_str()),
        ];
        let data = Value::Struct(std::sync::Arc::new(Struct {
            type_name: "source.BranchData",
            fields: vec![
                field("Policy", named(&namespace, policy)),
                field("Image", record("reflector.ImageRef", image_fields)),
                field("AutomationObject", named(&namespace, &automation.name_any())),
                field("Values", values(&given)),
            ],
            ..Struct::default()
        }));
        let rendered = template.render(&data, &Options::default()).map_err(|error| invalid(error.to_string()))?;
        let name = branch_name(&rendered).ok_or_else(|| invalid(format!("{rendered:?} is no name of a branch")))?;
        groups.entry(name).or_default().insert(policy.clone(), image.clone());
    }
    Ok(groups)
}

/// The text as a branch: what Git refuses becomes a dash. Source: `git-check-ref-format(1)`.
fn branch_name(text: &str) -> Option<String> {
    let refused = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\@{}".contains(c);
    let dashed: String = text.trim().chars().map(|c| if refused(c) { '-' } else { c }).collect();
    let parts = dashed.split('/').map(|part| {
        let part = part.replace("..", "-");
        let part = part.trim_matches('.');
        part.strip_suffix(".lock").unwrap_or(part).to_owned()
    });
    let name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    (!name.is_empty() && !name.starts_with('-')).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn automation() -> ImageUpdateAutomation {
        serde_json::from_value(json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
            "metadata": {"name": "fleet", "namespace": "apps"}, "spec": {"interval": "1m", "sourceRef": {"kind": "GitRepository", "name": "r"},
            "git": {"commit": {"author": {"email": "a@b"}, "messageTemplateValues": {"env": "prod"}}}}}))
        .unwrap()
    }

    fn chosen() -> Chosen {
        let image = |name: &str, tag: &str| ImageRef { name: name.into(), tag: tag.into(), ..ImageRef::default() };
        [
            ("db".to_owned(), image("localhost:5000/team/db", "5.1.0")),
            ("web".to_owned(), image("localhost:5000/team/web", "1.2.0")),
            ("web-admin".to_owned(), image("localhost:5000/team/web", "1.2.0")),
        ]
        .into()
    }

    fn groups(branch: &str) -> Vec<(String, Vec<String>)> {
        let groups = branches(&automation(), branch, &chosen()).expect("a template");
        groups.into_iter().map(|(branch, chosen)| (branch, chosen.into_keys().collect())).collect()
    }

    #[test]
    fn policies_share_the_branch_that_the_template_names() {
        let group =
            |branch: &str, policies: &[&str]| (branch.to_owned(), policies.iter().map(|p| (*p).to_owned()).collect());
        for (template, expected) in [
            (
                "images/{{ .Policy.Name }}",
                vec![
                    group("images/db", &["db"]),
                    group("images/web", &["web"]),
                    group("images/web-admin", &["web-admin"]),
                ],
            ),
            (
                "{{ .Values.env }}/{{ base .Image.Name }}",
                vec![group("prod/db", &["db"]), group("prod/web", &["web", "web-admin"])],
            ),
            (
                "{{ .Image.Name }}/{{ .Image.Tag }}",
                vec![
                    group("localhost-5000/team/db/5.1.0", &["db"]),
                    group("localhost-5000/team/web/1.2.0", &["web", "web-admin"]),
                ],
            ),
            ("{{ .AutomationObject }}", vec![group("apps/fleet", &["db", "web", "web-admin"])]),
        ] {
            assert_eq!(groups(template), expected, "{template}");
        }
    }

    #[test]
    fn what_names_no_branch_is_refused() {
        for template in ["{{ .Missing }}", "{{", "{{ .Image.Digest }}", "{{ \"-x\" }}", "{{ \"../..\" }}"] {
            let error = branches(&automation(), template, &chosen()).expect_err(template);
            assert!(error.starts_with("spec.git.push.branch: "), "{error}");
        }
        assert!(is_template("a-{{ .Policy.Name }}") && !is_template("main"));
        for (text, expected) in [("a b", "a-b"), ("/a//b/", "a/b"), ("x.lock", "x"), ("a..b", "a-b"), (".a.", "a")] {
            assert_eq!(branch_name(text).as_deref(), Some(expected));
        }
    }
}
