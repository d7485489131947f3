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
            let (source, target) = expanded(source, target, branches).map_err(invalid)?;
            return Ok(Self { text: text.to_owned(), source, target, force });
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

/// What a pattern means for the branch that is pushed to, else for the one checked out.
fn expanded(source: &str, target: &str, branches: &Branches) -> Result<(Source, String), &'static str> {
    let (before, after) = source.split_once('*').filter(|(_, rest)| !rest.contains('*')).ok_or("is no pattern")?;
    if target.matches('*').count() != 1 {
        return Err("is no pattern");
    }
    let checkout = branches.checkout.branch.as_deref();
    let known = [(Source::Pushed, Some(branches.push.as_str())), (Source::Checkout, checkout)];
    let matched = known.into_iter().find_map(|(source, branch)| {
        let reference = format!("refs/heads/{}", branch?);
        let middle = reference.strip_prefix(before)?.strip_suffix(after)?;
        Some((source, target.replace('*', middle)))
    });
    matched.ok_or("matches neither the branch checked out nor the one pushed to")
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
            ("refs/heads/*:refs/heads/live/*", Source::Pushed, "refs/heads/live/auto", Force::No),
            ("+refs/heads/m*:refs/for/*/x", Source::Checkout, "refs/for/ain/x", Force::Yes),
        ];
        for (text, source, target, force) in cases {
            let expected = Refspec { text: text.into(), source, target: target.into(), force };
            assert_eq!(Refspec::parse(text, &branches), Ok(expected));
        }
        for wrong in
            ["", "auto", ":refs/heads/x", "refs/heads/*:refs/heads/x", "refs/tags/*:refs/tags/*", "*:**", "other:x"]
        {
            assert!(Refspec::parse(wrong, &branches).is_err(), "{wrong}");
        }
    }
}
