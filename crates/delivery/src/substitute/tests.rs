//! What each operator of a substitution does, as cases.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn given() -> Variables {
    let pairs = [("name", "Web.App.io"), ("empty", ""), ("n", "8080"), ("path", "a/b/c")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn operators_do_what_a_shell_does() {
    let cases = [
        ("a ${n} b", "a 8080 b"),
        ("${name}${n}", "Web.App.io8080"),
        ("${#name}", "10"),
        ("${name^^} ${name,,}", "WEB.APP.IO web.app.io"),
        ("${name,}", "web.App.io"),
        ("${name:4}", "App.io"),
        ("${name:4:3}", "App"),
        ("${name:40}", ""),
        ("${name#*.}", "App.io"),
        ("${name##*.}", "io"),
        ("${name#[A-Z]}", "eb.App.io"),
        ("${name##[^.]*.}", "io"),
        ("${name%[a-n]o}", "Web.App."),
        ("${name#[}", "Web.App.io"),
        ("${name%.*}", "Web.App"),
        ("${name%%.*}", "Web"),
        ("${none:-x}", "x"),
        ("${none:=x}", "x"),
        ("${none-x}", "x"),
        ("${none=x}", "x"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${empty:=x}", "x"),
        ("${none:=}", ""),
        ("${none:-${n}}", "8080"),
        ("${none:-a-${other:-${n}}-b}", "a-8080-b"),
        ("${n:?say which}", "8080"),
        ("${path/b/x}", "a/x/c"),
        ("${n//8/9}", "9090"),
        ("${n/#80/1}", "180"),
        ("${n/%80/1}", "801"),
        ("$${n} $n $", "${n} $n $"),
        ("$$$${n}", "$${n}"),
    ];
    for (text, expected) in cases {
        assert_eq!(expand(text, &given(), 0).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_set_or_not_understood_is_named() {
    let cases = [
        ("${none}", "variable not set (strict mode): \"none\""),
        ("${none^^}", "variable not set (strict mode): \"none\""),
        ("${n", "missing closing brace: ${n"),
        ("${}", "unable to parse variable name in '${}'"),
        ("${1x}", "unable to parse variable name in '${1x}'"),
        ("${none:?say which}", "variable not set: \"none\": say which"),
        ("${empty:?}", "variable not set: \"empty\": "),
        ("${n:+x}", "unsupported substitution '${n:+x}'"),
        ("${n+x}", "unsupported substitution '${n+x}'"),
    ];
    for (text, expected) in cases {
        assert_eq!(expand(text, &given(), 0).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn objects_are_read_again_and_marked_ones_are_left_alone() {
    let object = json!({"kind": "Service", "metadata": {"name": "web"}, "spec": {"port": "${n}", "host": "${name}"}});
    let replaced = substitute(&object, &given()).unwrap();
    assert_eq!((&replaced["spec"]["port"], &replaced["spec"]["host"]), (&json!(8080), &json!("Web.App.io")));
    let mut marked = object.clone();
    marked["metadata"]["annotations"] = json!({SUBSTITUTE: "disabled"});
    assert_eq!(substitute(&marked, &given()), Ok(marked));
    let script = json!({"kind": "ConfigMap", "data": {"run.sh": "#!/bin/sh\necho $HOME $${n}\n"}});
    assert_eq!(substitute(&script, &given()).unwrap()["data"]["run.sh"], "#!/bin/sh\necho $HOME ${n}\n");
}

#[test]
fn what_stands_unquoted_takes_the_type_that_yaml_gives_it() {
    let variables: Variables = [("t", "true"), ("l", "[a, b]"), ("e", ""), ("m", "a: b"), ("q", "\"7\"")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    let object = |text: &str| json!({"v": text});
    let cases = [
        ("${t}", json!(true)),
        ("${l}", json!(["a", "b"])),
        ("${e}", Value::Null),
        ("${q}", json!("7")),
        ("x ${t}", json!("x true")),
        ("a: ${t}", json!("a: true")),
        ("'${t}'", json!("'true'")),
        ("${t}\n${l}", json!("true\n[a, b]")),
    ];
    for (text, expected) in cases {
        assert_eq!(substitute(&object(text), &variables).unwrap()["v"], expected, "{text}");
    }
    assert!(substitute(&object("${m}"), &variables).unwrap_err().contains("mapping values are not allowed"));
}

#[test]
fn later_sources_win_and_names_are_checked() {
    let source = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let merged = variables([source("a", "1\n"), source("b", "2"), source("a", "3\n4")]).unwrap();
    assert_eq!(merged, BTreeMap::from([("a".into(), "34".into()), ("b".into(), "2".into())]));
    assert!(variables([source("a-b", "1")]).unwrap_err().starts_with("'a-b' var name is invalid"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(\\$\\{|\\}|\\$|n|name|none|:|-|=|#|%|/|\\^|,|\\*|\\?|é|1|\\PC){0,24}") {
        let _ = expand(&text, &given(), 0);
    }

    #[test]
    fn text_without_dollars_stays(text in "[^$]{0,40}") {
        prop_assert_eq!(expand(&text, &given(), 0), Ok(text));
    }
}
