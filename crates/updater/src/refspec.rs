//! `push.refspec`: where else the commit goes. Pure.
//! Source: reference image-automation.md section 6.4, step 6; Git `git-push(1)`.

use git::Force;

use crate::branches::Branches;

/// One refspec, `[+]source:target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refspec {
    /// As the manifest has it.
    pub text: String,
    /// Which commit goes there.
    pub source: Source,
    /// The reference that is pushed to, by its full name.
    pub target: String,
    /// Whether `+` stands before it.
    pub force: Force,
}

/// Which commit a refspec means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The one that was pushed.
    Pushed,
    /// The one that was checked out, where that is another branch.
    Checkout,
}

impl Refspec {
    /// Reads a refspec. A clone of ours knows the branches that it works on and no others.
    pub fn parse(text: &str, branches: &Branches) -> Result<Self, String> {
        let invalid = |problem: &str| format!("spec.git.push.refspec: {text:?} {problem}");
        let (force, rest) = match text.strip_prefix('+') {
            Some(rest) => (Force::Yes, rest),
            None => (Force::No, text),
        };
        let (source, target) = rest.split_once(':').ok_or_else(|| invalid("is no source:target"))?;
        if source.is_empty() {
            return Err(invalid("would delete a reference"));
        }
        if text.contains('*') {
            return Err(invalid("has a wildcard, which is not supported"));
        }
        let branch = |name: &str| source == name || source.strip_prefix("refs/heads/") == Some(name);
        let source = match () {
            () if source == "HEAD" || branch(&branches.push) => Source::Pushed,
            () if branches.checkout.branch.as_deref().is_some_and(branch) => Source::Checkout,
            () => return Err(invalid("names a source that is neither the branch checked out nor the one pushed to")),
        };
        let target = if target.starts_with("refs/") { target.to_owned() } else { format!("refs/heads/{target}") };
        Ok(Self { text: text.to_owned(), source, target, force })
    }
}

#[cfg(test)]
mod tests {
    use api::source::GitRepositoryRef;

    use super::*;

    #[test]
    fn a_refspec_names_one_of_our_branches_and_a_target() {
        let checkout = GitRepositoryRef { branch: Some("main".into()), ..Default::default() };
        let branches = Branches { checkout, push: "auto".into(), switches: true };
        let cases = [
            ("refs/heads/auto:refs/heads/live", Source::Pushed, "refs/heads/live", Force::No),
            ("HEAD:refs/for/main%topic=x", Source::Pushed, "refs/for/main%topic=x", Force::No),
            ("+auto:live", Source::Pushed, "refs/heads/live", Force::Yes),
            ("refs/heads/main:refs/heads/copy", Source::Checkout, "refs/heads/copy", Force::No),
        ];
        for (text, source, target, force) in cases {
            let expected = Refspec { text: text.into(), source, target: target.into(), force };
            assert_eq!(Refspec::parse(text, &branches), Ok(expected));
        }
        for wrong in ["", "auto", ":refs/heads/x", "refs/heads/*:refs/heads/*", "other:x"] {
            assert!(Refspec::parse(wrong, &branches).is_err(), "{wrong}");
        }
    }
}
