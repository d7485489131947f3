//! `Link: <url>; rel="next"`: where the next page of a list is.

use url::Url;

/// Why the next page cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The header's value does not start with `<`, or never closes it.
    #[error("failed to parse link header: {0}")]
    Malformed(String),
    /// It leads to another server, which has no claim on our credentials and our trust.
    #[error("the link to the next page leads to another origin: {0}")]
    OtherOrigin(String),
}

/// The address of the next page, resolved against the page's own; `None` on the last page.
/// A link without any `rel` counts as `next`, because go-containerregistry does not look at `rel`.
pub fn next(header: &str, page: &Url) -> Result<Option<Url>, LinkError> {
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let malformed = || LinkError::Malformed(header.chars().take(200).collect());
        let (target, after) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or_else(malformed)?;
        let (parameters, after) = split_unquoted(after);
        if is_next(parameters) {
            let url = page.join(target.trim()).map_err(|_| malformed())?;
            return match url.origin() == page.origin() && matches!(url.scheme(), "http" | "https") {
                true => Ok(Some(url)),
                false => Err(LinkError::OtherOrigin(url.origin().ascii_serialization())),
            };
        }
        rest = after.trim_start();
    }
    Ok(None)
}

/// Splits at the first comma outside of quotes.
fn split_unquoted(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&text[..position], &text[position + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn is_next(parameters: &str) -> bool {
    let relations = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"'))
    });
    relations.is_none_or(|relations| relations.split_whitespace().any(|relation| relation.eq_ignore_ascii_case("next")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page() -> Url {
        Url::parse("https://r.example:5000/v2/a/b/tags/list?n=2").expect("a good address")
    }

    #[test]
    fn links_resolve_against_the_page() {
        for (header, expected) in [
            (
                r#"</v2/a/b/tags/list?n=2&last=x>; rel="next""#,
                Some("https://r.example:5000/v2/a/b/tags/list?n=2&last=x"),
            ),
            (r#"<list?last=y>;rel=NEXT"#, Some("https://r.example:5000/v2/a/b/tags/list?last=y")),
            (r#"<https://r.example:5000/x>"#, Some("https://r.example:5000/x")),
            (r#"</p>; rel="prev"; title="a,b", </n>; rel="last next""#, Some("https://r.example:5000/n")),
            (r#"</p>; rel=prev"#, None),
            ("", None),
        ] {
            assert_eq!(next(header, &page()).expect("a good link").as_ref().map(Url::as_str), expected, "{header}");
        }
    }

    #[test]
    fn other_origins_and_malformed_links_are_refused() {
        for header in
            ["<https://evil.example/x>; rel=next", "<//evil/x>", "<http://r.example:5000/x>", "<https://r.example/x>"]
        {
            assert!(matches!(next(header, &page()), Err(LinkError::OtherOrigin(_))), "{header}");
        }
        for header in ["/v2/x; rel=next", "</v2/x; rel=next", "<https://[>"] {
            assert!(matches!(next(header, &page()), Err(LinkError::Malformed(_))), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(value in "\\PC{0,60}|[<>a-z/;=\", ]{0,60}") {
            let _ = next(&value, &page());
        }
    }
}
