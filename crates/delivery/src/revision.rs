//! How an artifact's revision names a commit.
//!
//! Source: reference delivery.md section 5.9.

use api::source::{Artifact, GitRepositoryInclude};
use sha2::{Digest as _, Sha256};

/// The commit that a revision names, and the branch or tag before it: `main@sha1:<hash>`, `sha1:<hash>`.
pub fn parse(revision: &str) -> Option<(Option<&str>, git::Id)> {
    let (reference, hash) = match revision.rsplit_once("@sha1:") {
        Some((reference, hash)) => (Some(reference), hash),
        None => (None, revision.strip_prefix("sha1:")?),
    };
    Some((reference, hash.parse().ok()?))
}

/// Digest of an artifact: `sha256:<hex>` over the id of the commit's tree, the patterns that leave files out, and what is
/// included, each as where it comes from and goes to with its own digest.
/// Differs: the artifact is the mirror at that commit, not a tarball, so its content is named by Git's own hash.
pub fn digest(tree: git::Id, ignore: Option<&str>, included: &[(GitRepositoryInclude, Artifact)]) -> String {
    let mut text = format!("tree {tree}\n{}", ignore.unwrap_or_default());
    for (include, artifact) in included {
        let (from, to) = include.paths();
        let digest = artifact.digest.as_deref().unwrap_or(&artifact.revision);
        text.push_str(&format!("\ninclude {from} {to} {digest}"));
    }
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
