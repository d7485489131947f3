//! The range language: tables, and a model of intervals to agree with.

use proptest::prelude::*;

use super::*;

/// Checks that the range accepts the first versions and refuses the others.
fn check(range: &str, accepted: &[&str], refused: &[&str]) {
    let parsed = Range::parse(range).expect("a range");
    for (versions, expected) in [(accepted, true), (refused, false)] {
        for text in versions {
            let version = Version::loose(text).expect("a version");
            assert_eq!(parsed.matches(&version), expected, "{range} on {text}");
            assert_eq!(parsed.reasons(&version).is_empty(), expected, "{range} on {text}");
        }
    }
}

#[test]
fn a_range_that_no_version_fits_is_known() {
    for range in [
        ">2.0.0 <1.0.0",
        "1.x <1.0.0",
        "~1.2.3 ^2",
        ">1.0.0 <1.0.1",
        "=1.0.0 !=1.0.0",
        "^1.2.3 <1.2.3 || >3 <3",
        ">1.0.0-alpha <1.0.0-alpha",
    ] {
        assert!(!Range::parse(range).expect("a range").is_satisfiable(), "{range}");
    }
    for range in [
        "*",
        "<1.0.0",
        ">1.0.0 <1.0.2",
        ">1.0.0 !=1.0.1 <=1.0.2",
        ">1.0.0-alpha <1.0.0-beta",
        ">=1.0.0-0 <1.0.0",
        ">2 <1 || 1.x",
        "!=*",
        "<=*",
        ">1.2 <1.4",
        "0.0.0",
        "<1.0.0-beta >1.0.0-alpha.1",
        ">18446744073709551614.0.0",
    ] {
        assert!(Range::parse(range).expect("a range").is_satisfiable(), "{range}");
    }
}

#[test]
fn operators_mean_what_the_reference_says() {
    check(">11", &["12.0.0"], &["11.9.9"]);
    check(">11.1.x", &["11.2.0"], &["11.1.9"]);
    check("<=11", &["11.9.9", "0.1.0"], &["12.0.0"]);
    check("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]);
    check("^0.2", &["0.2.9"], &["0.3.0"]);
    check("^0.0", &["0.0.9"], &["0.1.0"]);
    check("^0", &["0.9.9"], &["1.0.0"]);
    check("1 - 2", &["2.9.9", "1.0.0"], &["3.0.0", "0.9.9"]);
    check("!=1.x", &["2.0.0"], &["1.5.0"]);
}

#[test]
fn wildcards_alone_keep_their_quirks() {
    check("^*", &["0.0.0"], &["0.0.1", "1.0.0"]);
    check("<=*", &["0.0.9"], &["0.1.0"]);
    check("!=*", &["0.0.1"], &["0.0.0"]);
    check(">*", &["0.0.1"], &["0.0.0"]);
    check("~0.0.0", &["9.9.9"], &[]);
    check("*-0", &["1.0.0", "1.0.0-rc.1"], &[]);
    check("1.x.3", &["1.9.0"], &["2.0.0"]);
}

#[test]
fn prereleases_are_refused_unless_a_term_of_the_group_names_one() {
    check(">=1.0.0-0 <2.0.0", &["1.5.0-rc.1", "2.0.0-alpha"], &["2.0.0"]);
    check(">=1.0.0 <2.0.0", &["1.5.0"], &["1.5.0-rc.1"]);
    check(">=1.0.0-0 || ~2", &["1.0.0-rc.1", "2.1.0-rc.1"], &[]);
    check("~1-0 || ~2", &["1.1.0-rc.1"], &["2.1.0-rc.1"]);
    check("<2.0.0-0", &["1.9.9-a"], &["2.0.0-alpha"]);
    check("^1.2.3-beta.2", &["1.9.0-a"], &["2.0.0-alpha", "1.2.3-beta.1"]);
    check("1.2.3-1 - 2.0.0", &["1.2.3-2"], &["2.0.1"]);
}

#[test]
fn malformed_ranges_have_masterminds_texts() {
    for (range, error) in [
        ("", "improper constraint: \"\""),
        ("1 || ", "improper constraint: \" \""),
        (">1<2", "improper constraint: \">1<2\""),
        ("==1.0.0", "improper constraint: \"==1.0.0\""),
        ("1,", "improper constraint: \"1,\""),
        ("1,,2", "improper constraint: \"1,,2\""),
        ("a\tb", "improper constraint: \"a\\tb\""),
        (">1 - 2", "improper constraint: \">>= 1, <= 2 \""),
        ("1 - 2 - 3", "improper constraint: \">= 1, <= 2 - 3\""),
        ("1|2", "constraint parser error"),
        ("1x", "constraint parser error"),
        ("1.2.3-01", "constraint parser error"),
    ] {
        assert_eq!(Range::parse(range).map_err(|error| error.to_string()), Err(error.to_owned()), "{range}");
    }
    assert!(Range::parse(&"1 || ".repeat(100_000)).is_err());
}

#[test]
fn hyphens_are_rewritten_before_anything_else() {
    assert_eq!(parse::rewrite_hyphens("2 - 3, 4.0.0 - 5.1"), ">= 2, <= 3 ,>= 4.0.0, <= 5.1 ");
    assert_eq!(Range::parse("1 - 2 || 1 - 2").map(|range| range.to_string()).as_deref(), Ok(">=1 <=2 || >=1 <=2"));
}

/// A term as an interval of releases, written down independently: from the first version in to the first one out.
fn interval(operator: &str, fields: &[u64]) -> (Option<[u64; 3]>, Option<[u64; 3]>) {
    let at = |index: usize| fields.get(index).copied().unwrap_or(0);
    let zero_filled = [at(0), at(1), at(2)];
    // The first version after all those that the given fields stand for.
    let after = match fields.len() {
        1 => [at(0) + 1, 0, 0],
        2 => [at(0), at(1) + 1, 0],
        _ => [at(0), at(1), at(2) + 1],
    };
    let next_minor = [at(0), at(1) + 1, 0];
    match operator {
        ">" => (Some(after), None),
        ">=" => (Some(zero_filled), None),
        "<" => (None, Some(zero_filled)),
        "<=" => (None, Some(after)),
        "=" => (Some(zero_filled), Some(after)),
        "~" if fields == [0, 0, 0] => (None, None),
        "~" if fields.len() == 1 => (Some(zero_filled), Some(after)),
        "~" => (Some(zero_filled), Some(next_minor)),
        _ if at(0) > 0 || fields.len() == 1 => (Some(zero_filled), Some([at(0) + 1, 0, 0])),
        _ if at(1) > 0 || fields.len() == 2 => (Some(zero_filled), Some(next_minor)),
        _ => (Some(zero_filled), Some(after)),
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "([0-9xX*.v|&=<>!~^, -]|\\PC){0,40}") {
        if let Ok(range) = Range::parse(&text) {
            let version = Version { major: 1, minor: 2, patch: 3, pre: "a", metadata: "" };
            prop_assert_eq!(range.matches(&version), range.reasons(&version).is_empty());
        }
    }

    #[test]
    fn terms_agree_with_intervals(
        operator in prop::sample::select(vec![">", ">=", "<", "<=", "=", "~", "^"]),
        fields in prop::collection::vec(0..4_u64, 1..=3),
        version in prop::array::uniform3(0..5_u64),
    ) {
        let text = fields.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        let range = Range::parse(&format!("{operator}{text}")).expect("a range");
        let (from, to) = interval(operator, &fields);
        let expected = from.is_none_or(|from| version >= from) && to.is_none_or(|to| version < to);
        let [major, minor, patch] = version;
        prop_assert_eq!(range.matches(&Version { major, minor, patch, pre: "", metadata: "" }), expected);
    }

    #[test]
    fn the_canonical_form_means_the_same(
        terms in prop::collection::vec((prop::sample::select(vec!["", "=", "!=", ">", "=>", "<=", "~>", "^"]), "[0-2x](\\.[0-2x]){0,2}(-[a-b0])?"), 1..4),
        version in "[0-2]\\.[0-2]\\.[0-2](-[a-b0])?",
    ) {
        let text = terms.iter().map(|(operator, version)| format!("{operator} {version}")).collect::<Vec<_>>().join(" , ");
        let range = Range::parse(&text).expect("a range");
        let again = Range::parse(&range.to_string()).expect("a range");
        prop_assert_eq!(&range, &again);
        let version = Version::loose(&version).expect("a version");
        prop_assert_eq!(range.matches(&version), range.reasons(&version).is_empty());
    }
}
