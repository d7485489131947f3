//! What is told of expressions before there is data. Each case was compared with cel-go 0.31, set up as Flux does.

use proptest::prelude::*;
use serde_json::json;

use crate::{Expression, Output};

/// The type of what the expression gives, or why there is none.
fn told(source: &str) -> Result<String, String> {
    let read = Expression::compile(source, &["req", "res"]);
    read.map(|expression| expression.output.declared()).map_err(|error| error.to_string())
}

#[test]
fn what_an_expression_gives_is_told() {
    for (source, expected) in [
        ("req", "map(string, dyn)"),
        ("req.a", "dyn"),
        ("req['a'][0].b", "dyn"),
        ("req.a == 1 && size(res.metadata.name) > 2", "bool"),
        ("size(res.metadata.name)", "int"),
        ("req.a + 1", "int"),
        ("req.a + req.b", "dyn"),
        ("req.a + 'x'", "string"),
        ("req.a ? 1 : req.b", "dyn"),
        ("dyn('a') ? 1 : 2", "int"),
        ("1 < 2.0 && 1u >= 1 && 2.0 <= 3u", "bool"),
        ("req.tag.split('/').last().value().split(':').first().orValue('x')", "string"),
        ("req.?a.?b", "optional_type(dyn)"),
        ("req.?a.?b[?0]", "dyn"),
        ("optional.of({'a': {'b': 1}}).a.?b", "optional_type(int)"),
        ("optional.of(1).optMap(v, [v]).value()[0]", "int"),
        ("{'a': optional.of(1)}.?a", "optional_type(optional_type(int))"),
        ("[]", "list(dyn)"),
        ("[[], [1]]", "list(list(int))"),
        ("[].map(x, x + 1)", "list(int)"),
        ("[[]].map(x, x + [1])", "list(list(int))"),
        ("[1, 2].filter(x, x > 1)", "list(int)"),
        ("{'a': 1}.map(k, k + 'x')", "list(string)"),
        ("req.map(k, k)", "list(string)"),
        ("{?'a': req.?b, 'c': req.d}", "map(string, dyn)"),
        ("[?optional.of(1), 2]", "list(int)"),
        ("timestamp(0) - timestamp(1) + duration('1s')", "google.protobuf.Duration"),
        ("timestamp(0) == null || optional.none() == null", "bool"),
        ("type(req.a) == double && type([]) == list", "bool"),
        ("type(int) == type && type(null) == null_type", "bool"),
        ("google.protobuf.Timestamp", "type(google.protobuf.Timestamp)"),
        ("null", "null_type"),
        (".size(.req) == 1", "bool"),
        ("[1].exists(req, req == 1 && .req.a == 1)", "bool"),
        ("'%s %.2f %%'.format([[1, 'a'], req.a])", "string"),
        ("[1, 2, 3].all(i, ['a'].exists(j, i > size(j)))", "bool"),
        ("[req.?a, req.?b].unwrapOpt()", "list(dyn)"),
        ("optional.unwrap([optional.of(1)])[0]", "int"),
        ("base64.encode(bytes('x')) + string(b'y')", "string"),
    ] {
        assert_eq!(told(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn what_takes_other_types_is_named_with_those_that_it_was_given() {
    for (source, function, applied) in [
        ("1 + 'a'", "_+_", "(int, string)"),
        ("1 == 'a'", "_==_", "(int, string)"),
        ("1 < 'a'", "_<_", "(int, string)"),
        ("!1", "!_", "(int)"),
        ("-'a'", "-_", "(string)"),
        ("1 ? 2 : 3", "_?_:_", "(int, int, int)"),
        ("'a' in 'b'", "@in", "(string, string)"),
        ("[1]['a']", "_[_]", "(list(int), string)"),
        ("req[0]", "_[_]", "(map(string, dyn), int)"),
        ("req == 'bar'", "_==_", "(map(string, dyn), string)"),
        ("req == null", "_==_", "(map(string, dyn), null)"),
        ("optional.of(1) == 1", "_==_", "(optional_type(int), int)"),
        ("type(1) == 1", "_==_", "(type(int), int)"),
        ("size(1)", "size", "(int)"),
        ("size(1, 2)", "size", "(int, int)"),
        ("timestamp(1.5)", "timestamp", "(double)"),
        ("duration(1)", "duration", "(int)"),
        ("timestamp(0) + 1", "_+_", "(timestamp, int)"),
        ("startsWith('a', 'b')", "startsWith", "(string, string)"),
        ("'a'.string()", "string", "string.()"),
        ("res.name.startsWith(1)", "startsWith", "dyn.(int)"),
        ("['a'].join(1)", "join", "list(string).(int)"),
        ("[1].join()", "join", "list(int).()"),
        ("[].first().value().lowerAscii() + 1", "_+_", "(string, int)"),
        ("sets.contains([1], ['a'])", "sets.contains", "(list(int), list(string))"),
        ("req.all(k, k > 1)", "_>_", "(string, int)"),
        ("[1].exists(x, x.contains('a'))", "contains", "int.(string)"),
    ] {
        let expected = format!("found no matching overload for '{function}' applied to '{applied}'");
        assert_eq!(told(source), Err(expected), "{source}");
    }
}

#[test]
fn other_types_that_do_not_fit_are_named_too() {
    let formatting = |what: &str| format!("error during formatting: {what}");
    let mixed = |expected: &str, found: &str| format!("expected type '{expected}' but found '{found}'");
    let range = |given: &str| {
        format!("expression of type '{given}' cannot be range of a comprehension (must be list, map, or dynamic)")
    };
    for (source, expected) in [
        ("'x' && true", mixed("bool", "string")),
        ("[1].all(x, x)", mixed("bool", "int")),
        ("[].first() && true", mixed("bool", "optional_type(dyn)")),
        ("[req.a, 'x']", mixed("dyn", "string")),
        ("[1, null]", mixed("int", "null")),
        ("[[], ['a'], [1]]", mixed("list(string)", "list(int)")),
        ("{'a': 1, 'b': 'c'}", mixed("int", "string")),
        ("{'a': 1, 2: 1}", mixed("string", "int")),
        ("[?1]", mixed("optional_type(int)", "int")),
        ("{?'a': 1}", mixed("optional_type(int)", "int")),
        ("1.all(x, true)", range("int")),
        ("'a'.map(x, x)", range("string")),
        ("1.a", "type 'int' does not support field selection".into()),
        ("google.protobuf.Timestamp.a", "type 'type(timestamp)' does not support field selection".into()),
        ("google", "undeclared reference to 'google'; there are req, res".into()),
        ("[1].filter(.x, true)", "undeclared reference to '.x'; there are req, res".into()),
        ("Foo{a: 1}", "undeclared reference to 'Foo'".into()),
        ("base64 == 1", "undeclared reference to 'base64'; there are req, res".into()),
        ("'%s'.format([])", "index 0 out of range".into()),
        ("'%s'.format([1, 2])", "too many arguments supplied to string.format (expected 1, got 2)".into()),
        ("'%'.format([1])", "unexpected end of string".into()),
        ("'%q'.format([1])", "could not parse formatting clause: unrecognized formatting clause \"q\"".into()),
        (
            "'%.2d %b'.format([1.5, 1.5])",
            formatting("only ints, uints, and bools can be formatted as binary, was given double"),
        ),
        ("'%o'.format(['a'])", formatting("octal clause can only be used on ints and uints, was given string")),
    ] {
        assert_eq!(told(source), Err(expected), "{source}");
    }
    for clause in ["%.f", "%.200f", "%.2"] {
        assert!(told(&format!("'{clause}'.format([1])")).is_err(), "{clause}");
    }
    assert!(told("'%s'.format([[optional.none()]])").is_err());
}

#[test]
fn functions_that_nobody_knows_are_named() {
    for source in [
        "req.flag",
        "req.a.b.split(':').last().orValue('x').lowerAscii().contains('y')",
        "base64.decode(req.a) == b'x' && string(req.b) + 'z' in [strings.quote('z')]",
        "req.list.map(e, e.name).filter(e, size(e) > 2).exists(e, e.charAt(0) == 'a')",
        "optional.of(req.a).optMap(v, v + 1).hasValue() && req.?b.or(optional.none()).orValue(true)",
        "duration('1h') < timestamp(req.t) - timestamp(0) && type(req.a) == string",
        "sets.intersects(req.a, [1]) || 'a%d'.format([1]).matches('^a') || -req.n % 2 == int('1')",
    ] {
        assert!(told(source).is_ok(), "{source}: {:?}", told(source));
    }
    for (source, function) in [
        ("req.body.flatMap(1)", "flatMap"),
        ("isTrue(req.flag)", "isTrue"),
        ("req.list.all(e, lower(e) == 'a')", "lower"),
        ("{'a': nothing(1)}.a == 1", "nothing"),
    ] {
        assert_eq!(told(source), Err(format!("undeclared reference to '{function}'")), "{source}");
    }
    assert!(Expression::open("nothing(a) + 1 + 'b'").is_ok(), "because Flux only parses what judges health");
}

#[test]
fn what_must_be_true_or_false_has_to_be_so_for_all_data() {
    for (source, expected) in [
        ("dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')", None),
        ("dep.a == 1 && !dep.b || dep.c in [1, 2]", None),
        ("has(dep.a) ? dep.a > 1 : false", None),
        ("dep.list.exists_one(e, e.name.startsWith('a'))", None),
        ("dep.a.?b.hasValue() && sets.contains(dep.c, ['x'])", None),
        ("timestamp(dep.time).getHours() > 3 && 'x'.matches('y')", None),
        ("bool(dep.a)", None),
        ("true", None),
        ("dep.ready", Some("expected bool, got dyn")),
        ("dep.list[0]", Some("expected bool, got dyn")),
        ("dep.a ? dep.b : true", Some("expected bool, got dyn")),
        ("'true'", Some("expected bool, got string")),
        ("size(dep.list)", Some("expected bool, got int")),
        ("dep.list.map(e, e == 1)", Some("expected bool, got list(bool)")),
        ("dep.list.filter(e, e == 1)", Some("expected bool, got list(dyn)")),
        ("[timestamp(0)]", Some("expected bool, got list(google.protobuf.Timestamp)")),
        ("null", Some("expected bool, got null_type")),
    ] {
        let error = Expression::predicate(source, &["self", "dep"]).err().map(|error| error.to_string());
        let expected = expected.map(|part| format!("CEL expression output type mismatch: {part}"));
        assert_eq!(error, expected, "{source}");
    }
    let text = |source: &str| Expression::compile(source, &["event"])?.giving(Output::String).map(drop);
    assert!(text("event.kind + '/' + event.name").is_ok());
    assert_eq!(
        text("event.kind").map_err(|error| error.to_string()),
        Err("CEL expression output type mismatch: expected string, got dyn".into())
    );
}

#[test]
fn types_that_double_with_each_step_and_chains_take_no_time() {
    let doubling = |macros: &str| format!("optional.of({{1: 1}}){}", macros.repeat(60));
    for source in [
        doubling(".optMap(a, {a: a})"),
        format!("[{{1: 1}}]{} == []", ".map(a, {a: a})".repeat(60)),
        format!("1{} == true", " in [1]".repeat(1200)),
        format!("[{}]", "[],".repeat(3000)),
        format!("[{}]", "size(req),".repeat(900)),
        format!("true{}", " && true".repeat(1200)),
    ] {
        let _ = told(&source);
    }
}

/// Expressions that could be: parts of all types, put together by all operators, loops and some functions.
fn expressions() -> impl Strategy<Value = String> {
    let words = |all: &'static str| prop::sample::select(all.split(' ').collect::<Vec<_>>());
    let part = words(
        "1 2u 1.5 'a' b'a' true null [] {} [1] {'a':1} req req.a req.list x int timestamp(0) duration('1s') \
         optional.none() optional.of(1)",
    );
    let operator = words("+ - * == != < >= && || in");
    let member = words(
        ".a .?a [0] [?0] .size() .first() .value() .hasValue() .split('a') .join() .getHours() .orValue(1) .unwrapOpt()",
    );
    let looped = words("all exists exists_one map filter optMap optFlatMap");
    let function = words("size type string dyn int optional.of ! -");
    part.prop_map(str::to_owned).prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            (inner.clone(), operator.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} {b} {c})")),
            (inner.clone(), member.clone()).prop_map(|(a, b)| format!("({a}){b}")),
            (inner.clone(), looped.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}).{b}(x, {c})")),
            (function.clone(), inner.clone()).prop_map(|(a, b)| format!("{a}({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Nothing breaks the check, and where nothing is `dyn`, what is told is what is given.
    #[test]
    fn an_evaluation_gives_what_was_told(source in expressions()) {
        if let Ok(expression) = Expression::compile(&source, &["req"]) {
            // What the evaluation calls them.
            let told = match &*expression.output.erased() {
                "optional_type" | "google.protobuf.Timestamp" | "google.protobuf.Duration" => "opaque".to_owned(),
                "type" => "string".to_owned(),
                "double" => "float".to_owned(),
                other => other.to_owned(),
            };
            let given = expression.evaluate(&[("req", &json!({"a": "b", "list": [1, "a"]}))]);
            let is_open = told == "dyn" || source.contains("req") || source.contains("dyn");
            if let (Ok(given), false) = (given, is_open) {
                let given = given.type_of().to_string();
                // Null stands for a time or an optional, and these for it.
                prop_assert!(told == given || told == "null_type" || given == "null", "{source}: {told}, {given}");
            }
        }
    }
}
