//! Which commit of a repository is wanted, and how an artifact's revision names it.
//!
//! Source: reference delivery.md section 5.9.

use api::source::GitRepositoryRef;
use policy::{Range, Version};
use sha2::{Digest as _, Sha256};

/// Branch where the manifest names nothing.
const DEFAULT_BRANCH: &str = "master";

/// Which commit is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The tip of a branch.
    Branch(String),
    /// A tag.
    Tag(String),
    /// The newest tag in this range.
    Semver(String),
    /// What a reference of this full name points to.
    Name(String),
    /// A commit, and the branch it is said to be on.
    Commit {
        /// The commit.
        id: git::Id,
        /// The branch.
        branch: Option<String>,
    },
}

impl Wanted {
    /// What `spec.ref` asks for. Precedence: branch < tag < semver < name < commit. The error names the field.
    pub fn new(reference: Option<&GitRepositoryRef>) -> Result<Self, String> {
        let reference = reference.cloned().unwrap_or_default();
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let branch = filled(reference.branch);
        if let Some(commit) = filled(reference.commit) {
            let id = commit.parse().map_err(|error| format!("spec.ref.commit: {commit:?}: {error}"))?;
            return Ok(Self::Commit { id, branch });
        }
        if let Some(name) = filled(reference.name) {
            return Ok(Self::Name(name));
        }
        if let Some(range) = filled(reference.semver) {
            Range::parse(&range).map_err(|error| format!("spec.ref.semver: {error}"))?;
            return Ok(Self::Semver(range));
        }
        let tag = filled(reference.tag).map(Self::Tag);
        Ok(tag.unwrap_or_else(|| Self::Branch(branch.unwrap_or_else(|| DEFAULT_BRANCH.to_owned()))))
    }
}

/// The newest tag in the range.
pub fn pick(range: &str, tags: &[String]) -> Option<String> {
    let range = Range::parse(range).ok()?;
    let versions = tags.iter().filter_map(|tag| Some((Version::tag(tag).ok()?, tag)));
    let matching = versions.filter(|(version, _)| range.matches(version));
    matching.max_by(|(one, _), (other, _)| one.precedence(other)).map(|(_, tag)| tag.clone())
}

/// The commit that a revision names, and the branch or tag before it: `main@sha1:<hash>`, `sha1:<hash>`.
pub fn parse(revision: &str) -> Option<(Option<&str>, git::Id)> {
    let (reference, hash) = match revision.rsplit_once("@sha1:") {
        Some((reference, hash)) => (Some(reference), hash),
        None => (None, revision.strip_prefix("sha1:")?),
    };
    Some((reference, hash.parse().ok()?))
}

/// Digest of an artifact: `sha256:<hex>` over the id of the commit's tree and the patterns that leave files out.
/// Differs: the artifact is the mirror at that commit, not a tarball, so its content is named by Git's own hash.
pub fn digest(tree: git::Id, ignore: Option<&str>) -> String {
    let text = format!("tree {tree}\n{}", ignore.unwrap_or_default());
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_field_wins() {
        let hash = "ab".repeat(20);
        let text = |text: &str| Some(text.to_owned());
        let empty = GitRepositoryRef::default;
        let cases = [
            (empty(), Wanted::Branch("master".into())),
            (GitRepositoryRef { branch: text("main"), ..empty() }, Wanted::Branch("main".into())),
            (GitRepositoryRef { branch: text("main"), tag: text("v1"), ..empty() }, Wanted::Tag("v1".into())),
            (GitRepositoryRef { tag: text("v1"), semver: text("1.x"), ..empty() }, Wanted::Semver("1.x".into())),
            (
                GitRepositoryRef { semver: text("1.x"), name: text("refs/pull/1/head"), ..empty() },
                Wanted::Name("refs/pull/1/head".into()),
            ),
            (
                GitRepositoryRef { branch: text("main"), name: text("x"), commit: text(&hash), ..empty() },
                Wanted::Commit { id: hash.parse().unwrap(), branch: text("main") },
            ),
        ];
        for (reference, expected) in cases {
            assert_eq!(Wanted::new(Some(&reference)), Ok(expected));
        }
        for wrong in [
            GitRepositoryRef { commit: text("abc"), ..empty() },
            GitRepositoryRef { semver: text("not a range"), ..empty() },
        ] {
            assert!(Wanted::new(Some(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_newest_tag_in_range_is_picked() {
        let tags: Vec<String> = ["v1.2.0", "v1.10.0", "v2.0.0", "latest", "v1.11.0-rc.1"].map(String::from).into();
        assert_eq!(pick("1.x", &tags).as_deref(), Some("v1.10.0"));
        assert_eq!(pick("3.x", &tags), None);
    }

    #[test]
    fn revisions_are_read_back() {
        let hash = "ab".repeat(20);
        let id: git::Id = hash.parse().unwrap();
        assert_eq!(parse(&format!("feature/x@sha1:{hash}")), Some((Some("feature/x"), id)));
        assert_eq!(parse(&format!("sha1:{hash}")), Some((None, id)));
        for wrong in ["", "main", "main@sha1:zz", "main@sha256:00"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
