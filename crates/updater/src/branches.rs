//! Which branch is checked out and which is pushed. Pure.
//! Source: reference image-automation.md section 6.3.

use api::{
    image::{GitCheckoutSpec, PushSpec},
    source::{GitRepositoryRef, GitRepositorySpec},
};

/// Branch that is checked out where nothing says otherwise.
const DEFAULT_BRANCH: &str = "master";

/// Text of the error when no branch to push to can be told.
const NO_PUSH_BRANCH: &str =
    "push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref";

/// What is checked out and where the commit goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branches {
    /// What the work begins at.
    pub checkout: GitRepositoryRef,
    /// Where the commit goes.
    pub push: String,
    /// Whether that is another branch than the one checked out.
    pub switches: bool,
}

/// Reads the automation's and the GitRepository's fields. Errs when no branch to push to can be told.
pub fn configure(
    checkout: Option<&GitCheckoutSpec>,
    push: Option<&PushSpec>,
    repository: Option<&GitRepositoryRef>,
) -> Result<Branches, &'static str> {
    let given = checkout.map(|checkout| &checkout.reference).or(repository);
    let branch = |reference: &GitRepositoryRef| reference.branch.clone().filter(|branch| !branch.is_empty());
    let asked = push.map(|push| push.branch.as_str()).filter(|branch| !branch.is_empty());
    let default = GitRepositoryRef { branch: Some(DEFAULT_BRANCH.into()), ..GitRepositoryRef::default() };
    let from = match given {
        Some(reference) => branch(reference),
        None => Some(DEFAULT_BRANCH.to_owned()),
    };
    let target = match asked {
        Some(asked) => asked.to_owned(),
        None => given.and_then(branch).ok_or(NO_PUSH_BRANCH)?,
    };
    let switches = asked.is_some_and(|asked| from.as_deref() != Some(asked));
    Ok(Branches { checkout: given.cloned().unwrap_or(default), push: target, switches })
}

/// Whether a GitRepository follows a branch of the repository at this URL, however its user wrote the URL.
pub fn follows(spec: &GitRepositorySpec, url: &str, branch: &str) -> bool {
    let wanted = spec.reference.clone().unwrap_or_default();
    let is_set = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let by_branch = ![&wanted.tag, &wanted.semver, &wanted.name, &wanted.commit].into_iter().any(is_set);
    let followed = wanted.branch.filter(|branch| !branch.is_empty()).unwrap_or_else(|| DEFAULT_BRANCH.into());
    by_branch && followed == branch && place(&spec.url) == place(url)
}

/// Host and path of a URL, without what may differ between two that mean the same.
fn place(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
    format!("{host}/{}", path.trim_end_matches('/').trim_end_matches(".git"))
}

/// What a push is called in events. Source: reference image-automation.md section 2.5.
pub fn summary(commit: &str, branch: &str, refspecs: &[&str], message: &str) -> String {
    let short = commit.get(..7).unwrap_or(commit);
    let mut text = format!("pushed commit '{short}' to branch '{branch}'");
    match refspecs {
        [] => {}
        [one] => text.push_str(&format!(" and refspecs '{one}'")),
        many => {
            let quoted: Vec<_> = many.iter().map(|refspec| format!("'{refspec}'")).collect();
            text.push_str(&format!(" and refspecs {}", quoted.join(", ")));
        }
    }
    if !message.is_empty() {
        text.push('\n');
        text.push_str(message);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cases(kind: &str) -> Vec<Value> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/image/controller_decisions.jsonl");
        let text = std::fs::read_to_string(file).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let rows: Vec<_> = rows.filter(|row| row["kind"] == kind).collect();
        assert!(!rows.is_empty(), "{kind}");
        rows
    }

    fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
        (!value.is_null()).then(|| serde_json::from_value(value.clone()).unwrap())
    }

    #[test]
    fn branches_are_told_as_the_reference_tells_them() {
        for row in cases("configurePush") {
            let checkout =
                read::<GitRepositoryRef>(&row["checkout_ref"]).map(|reference| GitCheckoutSpec { reference });
            let push = read::<PushSpec>(&row["push"]);
            let found = configure(checkout.as_ref(), push.as_ref(), read(&row["gitrepo_ref"]).as_ref());
            let wanted = &row["expected"];
            match found {
                Err(error) => assert_eq!(json!(error), row["error"], "{row}"),
                Ok(found) => {
                    assert_eq!(
                        (json!(found.push), json!(found.switches)),
                        (wanted["push_branch"].clone(), wanted["switch_branch"].clone()),
                        "{row}"
                    );
                    assert_eq!(Some(found.checkout), read(&wanted["checkout"]), "{row}");
                }
            }
        }
    }

    #[test]
    fn a_full_reference_name_counts_as_a_switch() {
        let reference = GitRepositoryRef { name: Some("refs/heads/main".into()), ..Default::default() };
        let push = PushSpec { branch: "main".into(), ..Default::default() };
        assert!(configure(None, Some(&push), Some(&reference)).unwrap().switches);
        assert_eq!(configure(None, None, Some(&reference)), Err(NO_PUSH_BRANCH));
        assert_eq!(configure(None, None, None), Err(NO_PUSH_BRANCH));
        let master = PushSpec { branch: "master".into(), ..Default::default() };
        assert!(!configure(None, Some(&master), None).unwrap().switches);
    }

    #[test]
    fn a_repository_follows_the_branch_that_its_reference_names() {
        let spec = |url: &str, reference: Value| -> GitRepositorySpec {
            serde_json::from_value(json!({"url": url, "interval": "1m", "ref": reference})).unwrap()
        };
        let url = "https://bot@Example.com/team/fleet.git";
        for (other, reference, expected) in [
            ("https://example.com/team/fleet", json!({"branch": "main"}), true),
            ("ssh://git@example.com/team/fleet.git/", json!({"branch": "main"}), true),
            ("https://example.com/team/other", json!({"branch": "main"}), false),
            ("https://example.com/team/fleet", json!({"branch": "dev"}), false),
            ("https://example.com/team/fleet", json!({"branch": "main", "tag": "v1"}), false),
            ("https://example.com/team/fleet", json!({}), false),
        ] {
            assert_eq!(follows(&spec(other, reference.clone()), url, "main"), expected, "{other} {reference}");
        }
    }

    #[test]
    fn pushes_are_summed_up_as_the_reference_does() {
        for row in cases("pushSummary") {
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let refspecs: Vec<_> = row["refspecs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let found = summary(&text("revision"), &text("branch"), &refspecs, &text("message"));
            assert_eq!(found, text("expected"));
        }
    }
}
