//! What is a version, and which of two comes first.

use proptest::prelude::*;

use super::*;

fn tag(text: &str) -> Option<String> {
    Version::tag(text).ok().map(|version| version.to_string())
}

#[test]
fn a_tag_needs_two_dots_anywhere() {
    assert_eq!(tag("v01.2.03-rc.1+x").as_deref(), Some("1.2.3-rc.1+x"));
    // The two dots may be in the pre-release: reference section 5.1.
    assert_eq!(tag("1.2-beta.5").as_deref(), Some("1.2.0-beta.5"));
    assert_eq!(tag("20221209-a.b.c").as_deref(), Some("20221209.0.0-a.b.c"));
    for text in
        ["1", "v1.2", "1.2-rc", "V1.2.3", "1.2.3.4", "1.2.x", "1.2.3-", "1.2.3-a..b", "1.2.3_1", "", "1.2.3-01.a"]
    {
        assert_eq!(tag(text), None, "{text}");
    }
    assert_eq!(Version::tag("1.2.18446744073709551616"), Err(InvalidVersion::TooLarge));
}

#[test]
fn a_strict_version_has_no_slack() {
    assert!(Version::strict("1.2.3-a.1+b").is_ok());
    for text in ["v1.2.3", "1.2", "01.2.3", "1.2.3-01"] {
        assert!(Version::strict(text).is_err(), "{text}");
    }
}

fn version() -> impl Strategy<Value = String> {
    ("[0-3]\\.[0-3]\\.[0-3]", prop::option::of("[0-9a-b]{1,2}(\\.[0-9a-b-]{1,2}){0,2}"))
        .prop_map(|(fields, pre)| fields + &pre.map(|pre| format!("-{pre}")).unwrap_or_default())
        .prop_filter("a version", |text| Version::strict(text).is_ok())
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(v|V)?[0-9x.+ -]{0,12}\\PC{0,6}") {
        let _ = (Version::loose(&text), Version::strict(&text), Version::tag(&text));
    }

    #[test]
    fn precedence_is_an_order(a in version(), b in version(), c in version()) {
        let parsed = |text| Version::strict(text).expect("generated as a version");
        let (a, b, c) = (parsed(&a), parsed(&b), parsed(&c));
        prop_assert_eq!(a.precedence(&b), b.precedence(&a).reverse());
        if a.precedence(&b).is_le() && b.precedence(&c).is_le() {
            prop_assert!(a.precedence(&c).is_le());
        }
    }

    #[test]
    fn printing_round_trips(text in version()) {
        prop_assert_eq!(Version::loose(&text).map(|version| version.to_string()), Ok(text.clone()));
    }
}
