//! Full references, `name[:tag][@digest]`, as containers and commands write them.

use std::fmt;

use crate::{Digest, Name, NameError};

/// A name with the tag or digest that picks one image of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    name: Name,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads `name`, `name:tag`, `name@digest` or `name:tag@digest`.
    /// Source: go-containerregistry `name.ParseReference`, weak validation.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Self::read(text).ok_or_else(|| NameError::Unparsable(text.into()))
    }

    fn read(text: &str) -> Option<Self> {
        let (base, digest) = match text.split_once('@') {
            Some((base, digest)) => (base, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        // What follows the last colon is a tag unless it holds a slash: then the colon belongs to the registry's port.
        let (path, tag) = match base.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (base, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return None;
        }
        Some(Self { name: Name::repository_from(path)?, tag: tag.map(Into::into), digest })
    }

    /// The repository.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The repository, by value.
    pub fn into_name(self) -> Name {
        self.name
    }

    /// The tag as written; a reference without one means `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest as written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn identifier(&self) -> &str {
        self.digest().map(Digest::as_str).or(self.tag()).unwrap_or("latest")
    }

    /// The same reference with plain HTTP allowed.
    #[must_use]
    pub fn insecure(self) -> Self {
        Self { name: self.name.insecure(), ..self }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Whether the text is a tag: 1 to 128 letters, digits, `_`, `-` and `.`.
pub fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn tag_and_digest_are_told_from_the_port() {
        let both = format!("localhost:5000/app:1.0@sha256:{HEX}");
        for (text, tag, identifier) in [
            ("localhost:5000/app", None, "latest".to_owned()),
            ("localhost:5000/app:1.0", Some("1.0"), "1.0".to_owned()),
            (both.as_str(), Some("1.0"), format!("sha256:{HEX}")),
        ] {
            let reference = Reference::parse(text).expect("the reference is good");
            assert_eq!((reference.tag(), reference.identifier().to_owned()), (tag, identifier));
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn bad_tags_and_digests_are_refused() {
        let long = format!("ghcr.io/ab:{}", "a".repeat(129));
        let upper = format!("ghcr.io/ab@sha256:{}", HEX.to_uppercase());
        for text in [
            "ghcr.io/ab:",
            "ghcr.io/ab:a b",
            "ghcr.io/ab@sha256:ab",
            "ghcr.io/ab@md5:ab",
            "ghcr.io/ab@",
            "ab@cd@ef",
            &long,
            &upper,
        ] {
            assert_eq!(Reference::parse(text), Err(NameError::Unparsable(text.into())));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-zA-Z0-9:/@.\\[\\]%_-]{0,40}|\\PC{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
            let _ = Name::parse(&text);
        }
    }
}
