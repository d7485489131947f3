//! `WWW-Authenticate`: how a registry says what proof it wants. Tolerant, since registries are sloppy; it never fails.

use std::collections::BTreeMap;

/// One challenge of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case, such as `bearer`.
    pub scheme: String,
    /// Parameters by their lower-case name.
    pub parameters: BTreeMap<String, String>,
}

/// The proofs that we can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing is asked.
    Open,
    /// User and password with each request.
    Basic,
    /// A token from the realm.
    Bearer(Bearer),
}

/// Where to fetch a token, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// Address of the token server.
    pub realm: String,
    /// Name of the registry at the token server.
    pub service: Option<String>,
    /// Scopes that the registry names, often none.
    pub scopes: Vec<String>,
}

/// The first `Basic` or `Bearer` challenge among the header's values; `None` if there is none that we can meet.
pub fn demand<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Demand> {
    values.into_iter().flat_map(parse).find_map(|mut challenge| match challenge.scheme.as_str() {
        "basic" => Some(Demand::Basic),
        "bearer" => Some(Demand::Bearer(Bearer {
            realm: challenge.parameters.remove("realm")?,
            service: challenge.parameters.remove("service"),
            scopes: challenge
                .parameters
                .get("scope")
                .map_or_else(Vec::new, |scope| scope.split_whitespace().map(Into::into).collect()),
        })),
        _ => None,
    })
}

/// All challenges of one header value, in order.
pub fn parse(value: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let (word, after) = token(rest);
        if word.is_empty() {
            // A separator, or a character that has no business here.
            let mut characters = rest.chars();
            characters.next();
            rest = characters.as_str();
            continue;
        }
        rest = after.trim_start();
        match (rest.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let (text, after) = parameter(after.trim_start());
                challenge.parameters.entry(word.to_ascii_lowercase()).or_insert(text);
                rest = after;
            }
            _ => challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() }),
        }
    }
    challenges
}

/// The token at the start, and what follows it.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A parameter's value, quoted or not, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = token(text);
        return (word.into(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_challenge_that_we_can_meet_is_taken() {
        let bearer = |realm: &str, service: Option<&str>, scopes: &[&str]| {
            Some(Demand::Bearer(Bearer {
                realm: realm.into(),
                service: service.map(Into::into),
                scopes: scopes.iter().map(|s| (*s).into()).collect(),
            }))
        };
        for (header, expected) in [
            (r#"Basic realm="Registry Realm""#, Some(Demand::Basic)),
            (
                r#"BEARER realm="https://a/t",service="a,b",scope="x:y:pull z""#,
                bearer("https://a/t", Some("a,b"), &["x:y:pull", "z"]),
            ),
            (r#"Negotiate abc==, Bearer realm = https://a/t"#, bearer("https://a/t", None, &[])),
            (r#"Digest realm="x, Basic", Basic realm=y"#, Some(Demand::Basic)),
            (r#"Bearer realm="a\"b", Basic"#, bearer("a\"b", None, &[])),
            ("Bearer service=x", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(demand([header]), expected, "{header}");
        }
        assert_eq!(demand(["Negotiate", "Basic"]), Some(Demand::Basic));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(value in "\\PC{0,60}|[a-zA-Z=\",\\\\ ]{0,60}") {
            let _ = demand([value.as_str()]);
        }
    }
}
