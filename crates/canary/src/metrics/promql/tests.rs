//! Queries that Prometheus takes and refuses; a test with the real one compares the same table.

use std::process::Command;

use proptest::prelude::*;
use serde_json::json;

use super::check;

/// Queries, and whether Prometheus takes them.
const QUERIES: &[(&str, bool)] = &[
    ("up", true),
    ("up == 1", true),
    ("a:b:c{x='1',y!=\"2\",z=~`a.*`,}", true),
    ("{__name__=~\"a.+\"}", true),
    ("{x=''}", false),
    ("{x=~'.*'}", false),
    ("{x!~'.+'}", false),
    ("{x!~'a'}", false),
    ("{}", false),
    ("up{", false),
    ("up{x}", false),
    ("up{x=1}", false),
    ("up{x=~'('}", false),
    ("sum(rate(http_requests_total{code!~\"5..\"}[1m])) / sum(rate(http_requests_total[1m])) * 100", true),
    ("histogram_quantile(0.99, sum by (le) (rate(d_bucket[30s])))", true),
    ("sum(rate(x[1m])) by (le, a)", true),
    ("SUM BY (a) (x)", true),
    ("sum without () (x)", true),
    ("sum by (a,) (x)", true),
    ("sum(x, y)", false),
    ("sum()", false),
    ("sum(1)", false),
    ("topk(3, x)", true),
    ("topk(x, 3)", false),
    ("count_values('v', x)", true),
    ("rate(x)", false),
    ("rate(x[5m])", true),
    ("rate(sum(x)[5m])", false),
    ("rate(sum(x)[5m:])", true),
    ("max_over_time(rate(x[5m])[1h:1m])", true),
    ("x[5m][5m]", false),
    ("x[0s]", false),
    ("x[5]m", false),
    ("x[]", false),
    ("x[5m", false),
    ("x[1h30m]", true),
    ("x[30m1h]", false),
    ("x offset 5m", true),
    ("x offset -5m", true),
    ("x[5m] offset 1w", true),
    ("sum(x) offset 5m", false),
    ("x @ 1609746000", true),
    ("x @ end()", true),
    ("x @ start() offset 1m", true),
    ("1 + 2 * 3 ^ -2", true),
    ("-x ^ 2", true),
    ("-'a'", false),
    ("'a' + 1", false),
    ("1 == 1", false),
    ("1 == bool 1", true),
    ("1 + bool 1", false),
    ("x > bool 1 and y", true),
    ("1 and x", false),
    ("x and on(a) group_left(b) y", false),
    ("x / on(a) group_left(b) y", true),
    ("x / on(a) group_left y", true),
    ("x / on(a) group_left(a) y", false),
    ("x / ignoring(a) 2", false),
    ("x atan2 y", true),
    ("x unless ignoring(a) y or z", true),
    ("vector(1)", true),
    ("scalar(x) > 1", false),
    ("time() > bool pi()", true),
    ("round(x)", true),
    ("round(x, 5)", true),
    ("round(x, 5, 6)", false),
    ("label_replace(x, 'a', '$1', 'b', '(.*)')", true),
    ("label_replace(x, 'a', '$1', 'b')", false),
    ("label_join(x, 'a', ',', 'b', 'c')", true),
    ("day_of_week()", true),
    ("nope(x)", false),
    ("foo bar", false),
    ("foo +", false),
    ("+ + foo", true),
    ("(foo", false),
    ("foo)", false),
    ("", false),
    ("# only a comment", false),
    ("foo # a comment\n + bar", true),
    ("0x1F + 1e3 + .5 + 5. + Inf + NaN", true),
    ("1_0x", false),
    ("'text'", true),
    ("'text", false),
    ("'\\q'", false),
    ("\"\\n\"", true),
    ("x{a=\"\\d\"}", false),
    ("sum", true),
    ("by", true),
    ("x and", false),
    ("offset", true),
    ("bool", false),
    ("on{a=\"b\"}", false),
    ("up{__name__=~\"u.\"}", false),
    ("start / end", true),
    ("x == == y", false),
    ("x =~ y", false),
    ("x !y", false),
    ("{{ name }}", false),
    ("sum(rate(x{a=\"b\",[1m]))", false),
    ("x[5m] + 1", false),
    ("é", false),
];

#[test]
fn queries_are_judged_as_prometheus_judges_them() {
    for (query, is_taken) in QUERIES {
        let outcome = check(query);
        assert_eq!(outcome.is_ok(), *is_taken, "{query}: {outcome:?}");
    }
}

#[test]
fn the_real_prometheus_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    let group = |(number, (query, _)): (usize, &(&str, bool))| json!({"name": format!("q{number}"), "rules": [{"record": "r", "expr": query}]});
    let groups: Vec<_> = QUERIES.iter().enumerate().map(group).collect();
    std::fs::write(&file, json!({ "groups": groups }).to_string()).expect("written");
    let promtool = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    let said = promtool.expect("promtool starts (apt-get install prometheus)");
    let said = String::from_utf8_lossy(&said.stderr);
    for (number, (query, is_taken)) in QUERIES.iter().enumerate() {
        let complaint = said.lines().find(|line| line.contains(&format!("group \"q{number}\"")));
        assert_eq!(complaint.is_none(), *is_taken, "{query}: {complaint:?}");
    }
}

#[test]
fn a_problem_says_where_it_is_and_what_was_expected() {
    for (query, expected) in [
        ("sum(rate(x[1m])", "1:16: expected \",\" or \")\", found the end"),
        ("x +\n  sum(y) by le", "2:13: expected \"(\", found \"le\""),
        ("rate(x)", "1:6: rate takes a range vector here, not an instant vector"),
        ("avg_overtime(x[1m])", "1:1: Prometheus has no function \"avg_overtime\""),
        ("é", "1:1: expected an expression, found \"é\""),
        ("x{a=\"b\" c=\"d\"}", "1:9: expected \",\" or \"}\", found \"c\""),
    ] {
        assert_eq!(check(query).expect_err(query).to_string(), expected);
    }
    assert!(!check("rate(x)").expect_err("a wrong type").is_syntax);
    assert!(check("rate(x").expect_err("no query").is_syntax);
    for deep in ["(", "-", "sum(", "1+(", "x[5m:", "{a=~'("] {
        assert!(check(&deep.repeat(20_000)).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(query in "(\\PC|\n){0,60}") {
        let _ = check(&query);
    }

    #[test]
    fn nothing_like_a_query_breaks_the_reader(query in "(sum|rate|x|by|on|bool|offset|and|5m|[0-9.]{1,3}|[(){}\\[\\],:=~!<>+*/^@'\"# \\-]){0,25}") {
        if let Err(problem) = check(&query) {
            prop_assert!(problem.line >= 1 && problem.column <= query.chars().count() + 1);
        }
    }
}
