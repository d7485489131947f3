//! Where Go's dialect and the engine's differ.

use proptest::prelude::*;

use super::*;

/// What the pattern finds first in the text.
fn found<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    Pattern::new(pattern).expect(pattern).regex.find(text).map(|found| found.as_str())
}

#[test]
fn patterns_of_go_mean_what_they_mean_in_go() {
    for (pattern, text, expected) in [
        (r"\Qa.b\E+", "xa.bbb", Some("a.bbb")),
        (r"\Q[", "a[", Some("[")),
        (r"\101", "xA", Some("A")),
        (r"\x41\x{42}", "AB", Some("AB")),
        ("x{,3}", "x{,3}", Some("x{,3}")),
        ("a{", "a{", Some("a{")),
        ("a{01}", "a{01}", Some("a{01}")),
        ("a{2}", "aaa", Some("aa")),
        ("[a&&b]", "&", Some("&")),
        ("[[a]", "[", Some("[")),
        ("[]a]+", "a]", Some("a]")),
        ("[a~~b-]", "~", Some("~")),
        (r"[\d-z]+", "1-z", Some("1-z")),
        (r"[^\D]+", "a12", Some("12")),
        (r"\d", "\u{663}", None),
        (r"\w+", "é_1", Some("_1")),
        (r"\bv1", "v1", Some("v1")),
        (r"\<v1", "<v1", Some("<v1")),
        (r"\_", "_", Some("_")),
        ("(?)a", "a", Some("a")),
        ("(?ii-s:A)", "a", Some("a")),
        ("(?U)a+", "aaa", Some("a")),
        ("(?<1>a)", "a", Some("a")),
        ("[[:digit:]]+", "a12", Some("12")),
        (r"\p{^L}", "a1", Some("1")),
        (r"\P{^L}", "1a", Some("a")),
        (r"\pl+", "1aé", Some("aé")),
        (r"\p{lowercase letter}", "Aa", Some("a")),
        (r"\p{ASCII}+", "éa1", Some("a1")),
        (r"(?i)\P{Lu}+", "aA1", Some("1")),
        (r"[\p{greek}-]+", "aβ-", Some("β-")),
        (r"[^\p{^Nd}]+", "a12", Some("12")),
        (r"\p{Cs}", "a", None),
        (r"\P{Surrogate}", "a", Some("a")),
        (r"[\p{^Cs}]+", "aé", Some("aé")),
        ("a$", "a\n", None),
        ("a*?b", "aab", Some("aab")),
    ] {
        assert_eq!(found(pattern, text), expected, "{pattern} in {text}");
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (pattern, error) in [
        ("(?<=v)1", "invalid named capture: `(?<=v)1`"),
        ("(?=v)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("a++", "invalid nested repetition operator: `++`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(|+a)", "missing argument to repetition operator: `+`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("((a{40}b){5}|c){6}", "invalid repeat count: `{6}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("[a--c]", "invalid character class range: `a--`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"a\", "trailing backslash at end of expression: ``"),
    ] {
        let message = Pattern::new(pattern).map_err(|error| error.to_string()).expect_err(pattern);
        assert_eq!(message, format!("error parsing regexp: {error}"), "{pattern}");
    }
}

/// Source: `regexp.Compile` of Go 1.26.8.
#[test]
fn unicode_classes_have_gos_names_and_no_others() {
    let accepted = "L l lu LU N-d _Greek gReek LC Cn C Any any ASCII Assigned Cs Surrogate surrogate Combining_Mark M Mark \
                    Titlecase_Letter digit punct cntrl Nko Han Toto Kawi Vithkuqi Nandinagari Common Inherited Co Zp";
    for name in accepted.split_whitespace().chain(["lowercase letter", "L u"]) {
        for pattern in [format!(r"\p{{{name}}}"), format!(r"(?i)[^\P{{^{name}}}]")] {
            assert!(Pattern::new(&pattern).is_ok(), "{pattern}");
        }
    }
    let refused = "alpha Alphabetic Uppercase Lowercase Upper White_Space Emoji Math Dash Hex_Digit Ideographic XID_Start \
                   IDS Grek Zyyy Qaai isGreek isL Garay Todhri Old_Italic SignWriting gc=L sc:Greek ^^Greek Letters Lé";
    for name in refused.split_whitespace().chain(["", "^", " "]) {
        for (pattern, at) in [(r"a\p{}b", r"\p{}"), (r"[a\P{^}]", r"\P{^}")] {
            let [pattern, at] = [pattern, at].map(|text| text.replace('}', &format!("{name}}}")));
            let message = Pattern::new(&pattern).map_err(|error| error.to_string()).expect_err(&pattern);
            assert_eq!(message, format!("error parsing regexp: invalid character class range: `{at}`"), "{pattern}");
        }
    }
    for (pattern, at) in
        [(r"a\p{Gre", r"\p{Gre"), (r"\pé", r"\pé"), (r"[\p]", r"\p]"), (r"\p", r"\p"), (r"\p^", r"\p^")]
    {
        let message = Pattern::new(pattern).map_err(|error| error.to_string()).expect_err(pattern);
        assert_eq!(message, format!("error parsing regexp: invalid character class range: `{at}`"), "{pattern}");
    }
}

#[test]
fn large_classes_may_be_repeated_hundreds_of_times() {
    for pattern in [r"\pL{500}", r"(?i)\pL{300}", r"(?:\pL{1,255})(?:\pN{1,255})", r"[\pL\pN._-]{1,128}"] {
        assert!(Pattern::new(pattern).is_ok(), "{pattern}");
    }
    let error = Pattern::new(r"\pL{1000}").expect_err("more than fits into memory");
    assert_eq!(error.to_string(), r"error parsing regexp: expression too large: `\pL{1000}`");
}

#[test]
fn repetitions_side_by_side_do_not_multiply() {
    for pattern in ["(a{100}){10}", "a{900}b{900}", "(a{900}|b{900}){1}", "(a{900}){0}", "((a{900})(b{2}))"] {
        assert!(Pattern::new(pattern).is_ok(), "{pattern}");
    }
}

#[test]
fn groups_nest_deeper_than_anybody_writes_them() {
    let pattern = "(".repeat(190) + "a" + &")".repeat(190);
    assert!(Pattern::new(&pattern).expect("a pattern").is_match("a"));
}

#[test]
fn monstrous_patterns_are_refused_quickly() {
    for pattern in [
        "(".repeat(100_000),
        "[".repeat(100_000),
        "(a|b)".repeat(20_000) + &"{9}".repeat(1000),
        "((a{30}){30}|".repeat(500),
    ] {
        assert!(Pattern::new(&pattern).is_err());
    }
}

proptest! {
    #[test]
    fn compiling_never_panics(pattern in "([a-z0-9(){}\\[\\]*+?|^$.\\\\,:<>P=&~-]|\\PC){0,24}", text in "\\PC{0,12}") {
        if let Ok(pattern) = Pattern::new(&pattern) {
            pattern.is_match(&text);
        }
    }
}
