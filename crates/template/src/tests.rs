//! Claims about the engine, each as Go 1.26 answers.

use super::*;

fn render(text: &str, data: &Value) -> String {
    try_render(text, data).unwrap_or_else(|error| format!("error: {error}"))
}

fn try_render(text: &str, data: &Value) -> Result<String, Error> {
    Template::parse("t", text, Functions::sprig())?.render(data, &Options::default())
}

fn data() -> Value {
    Value::from(&serde_json::json!({
        "name": "app", "empty": "", "list": ["a", "b", "c"], "map": {"x": 1, "y": 2}, "yes": true, "n": 3, "f": 1.5,
        "nested": {"deep": {"er": "v"}}, "null": null,
    }))
}

/// Renders each template with the data above and compares.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(render(text, &data()), *expected, "{text}");
    }
}

#[test]
fn text_actions_and_trimming() {
    check(&[
        ("plain }} text", "plain }} text"),
        ("a {{ .name }} b", "a app b"),
        ("a \n {{- .name -}} \n b", "aappb"),
        ("{{/* gone */}}x{{- /* gone */ -}} y", "xy"),
        ("{{ \"a\\tb\\u00e9\" }}{{ `raw\\n` }}{{ 'x' }}", "a\tbéraw\\n120"),
        ("{{ 0x1F }} {{ 1_000 }} {{ 1e3 }} {{ -5 }} {{ .5 }} {{ 1e21 }}", "31 1000 1000 -5 0.5 1e+21"),
        ("{{ true }} {{ .missing }} {{ .missing.deeper }} {{ .null }}", "true <no value> <no value> <no value>"),
        ("{{ .list }} {{ .map }} {{ .f }}", "[a b c] map[x:1 y:2] 1.5"),
    ]);
}

#[test]
fn control_structures() {
    check(&[
        ("{{ if .empty }}a{{ else if .yes }}b{{ else }}c{{ end }}", "b"),
        ("{{ with .nested.deep }}{{ .er }}{{ $.name }}{{ else }}no{{ end }}", "vapp"),
        ("{{ with .empty }}a{{ else with .name }}{{ . }}{{ end }}", "app"),
        ("{{ range .list }}{{ . }},{{ end }}", "a,b,c,"),
        ("{{ range $i, $e := .list }}{{ $i }}{{ $e }} {{ end }}", "0a 1b 2c "),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "x=1;y=2;"),
        ("{{ range .missing }}a{{ else }}none{{ end }}", "none"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range .list }}{{ if eq . \"b\" }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
        ("{{ range .list }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ $x := 1 }}{{ range .list }}{{ $x = add $x 1 }}{{ end }}{{ $x }}", "4"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ define \"T\" }}<{{ . }}>{{ end }}{{ template \"T\" .name }}{{ template \"T\" }}", "<app><<no value>>"),
        ("{{ block \"B\" .list }}{{ len . }}{{ end }}", "3"),
    ]);
}

#[test]
fn builtin_functions() {
    check(&[
        ("{{ and .name .n }} {{ and .empty .n }}|{{ or .empty .n }} {{ not .yes }}", "3 |3 false"),
        ("{{ or true (fail \"never\") }}", "true"),
        (
            "{{ eq .n 1 2 3 }} {{ ne .n 3 }} {{ lt 1 2 }} {{ ge \"b\" \"a\" }} {{ gt 1.5 1.0 }} {{ le 2 2 }}",
            "true false true true true true",
        ),
        ("{{ index .list 1 }} {{ index .map \"y\" }} {{ index .nested \"deep\" \"er\" }}", "b 2 v"),
        ("{{ print 1 2 \"a\" \"b\" 3 }}|{{ println 1 \"x\" }}", "1 2ab3|1 x\n"),
        (
            "{{ html \"<a href='x'>&\" }} {{ urlquery \"a b&c\" }} {{ js \"it's <b>\" }}",
            "&lt;a href=&#39;x&#39;&gt;&amp; a+b%26c it\\'s \\u003Cb\\u003E",
        ),
        ("{{ .name | printf \"%s-%s\" \"x\" | upper | len }}", "5"),
        ("{{ (index .list 0) | printf \"%q\" }} {{ ((.nested).deep).er }}", "\"a\" v"),
    ]);
}

#[test]
fn printf_verbs_are_gos() {
    check(&[
        (
            "{{ printf \"%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c\" 42 42 42 42 42 255 255 8 5 65 }}",
            "42|   42|42   |00042|+42|ff|FF|10|101|A",
        ),
        (
            "{{ printf \"%s|%10s|%-10s|%.2s|%q|%x|%v\" \"abc\" \"abc\" \"abc\" \"abc\" \"a\\\"b\" \"hi\" \"v\" }}",
            "abc|       abc|abc       |ab|\"a\\\"b\"|6869|v",
        ),
        (
            "{{ printf \"%.2f|%8.3f|%e|%g|%v|%6.1f%%\" 3.14159 2.5 12345.678 0.000001 1e6 99.5 }}",
            "3.14|   2.500|1.234568e+04|1e-06|1e+06|  99.5%",
        ),
        ("{{ printf \"%t %v %T %T %T\" true false 1 \"s\" 1.5 }}", "true false int string float64"),
        (
            "{{ printf \"%d\" \"x\" }} {{ printf \"%s\" 1 }} {{ printf \"%d\" }} {{ printf \"x\" 1 }}",
            "%!d(string=x) %!s(int=1) %!d(MISSING) x%!(EXTRA int=1)",
        ),
        ("{{ printf \"%s %v\" .missing .missing }} {{ print .missing }}", "%!s(<nil>) <nil> <nil>"),
        ("{{ printf \"%q %v %s\" .list .list .list }}", "[\"a\" \"b\" \"c\"] [a b c] [a b c]"),
        ("{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%*d\" 5 1 }} {{ printf \"%\" }}", "2 1     1 %!(NOVERB)"),
    ]);
}

#[test]
fn sprig_functions() {
    check(&[
        (
            "{{ trim \" a \" }}{{ upper \"b\" }}{{ title \"hello world\" }}{{ untitle \"Hello World\" }}",
            "aBHello Worldhello world",
        ),
        (
            "{{ trunc 3 \"abcdef\" }} {{ trunc -3 \"abcdef\" }} {{ substr 1 3 \"abcdef\" }} {{ abbrev 5 \"hello world\" }}",
            "abc def bc he...",
        ),
        (
            "{{ abbrevboth 5 10 \"1234 5678 9123\" }} {{ nospace \" a b \" }} {{ initials \"First Try\" }} {{ repeat 3 \"ab\" }}",
            "...5678... ab FT ababab",
        ),
        ("{{ wrap 5 \"aaa bbb ccc\" }} {{ wrapWith 3 \"-\" \"abcdef\" }}", "aaa\nbbb\nccc abc-def"),
        ("{{ quote \"a\" 1 nil }} {{ squote \"b\" }} {{ cat \"x\" 1 \"y\" }}", "\"a\" \"1\" 'b' x 1 y"),
        (
            "{{ indent 2 \"a\\nb\" }}{{ nindent 1 \"c\" }} {{ replace \"a\" \"b\" \"banana\" }} {{ plural \"one\" \"many\" 2 }}",
            "  a\n  b\n c bbnbnb many",
        ),
        (
            "{{ snakecase \"FirstName\" }} {{ kebabcase \"HTTPServer\" }} {{ camelcase \"http_server\" }} {{ swapcase \"aB\" }}",
            "first_name http-server HttpServer Ab",
        ),
        (
            "{{ splitList \"/\" \"a/b\" | last }} {{ (split \":\" \"x:y\")._1 }} {{ join \"-\" .list }} {{ sortAlpha (list \"b\" \"a\") }}",
            "b y a-b-c [a b]",
        ),
        (
            "{{ default \"d\" .empty }} {{ default \"d\" .name }} {{ coalesce .empty .name }} {{ ternary \"t\" \"f\" true }} {{ empty .list }}",
            "d app app t false",
        ),
        (
            "{{ first .list }} {{ rest .list }} {{ initial .list }} {{ append .list \"d\" }} {{ prepend .list \"z\" }} {{ reverse .list }}",
            "a [b c] [a b] [a b c d] [z a b c] [c b a]",
        ),
        (
            "{{ uniq (list 1 1 2) }} {{ without .list \"b\" }} {{ has \"b\" .list }} {{ slice .list 1 }} {{ concat .list (list 1) }} {{ compact (list \"\" \"a\") }}",
            "[1 2] [a c] true [b c] [a b c 1] [a]",
        ),
        (
            "{{ $d := dict \"a\" 1 }}{{ $_ := set $d \"b\" 2 }}{{ $d }} {{ get $d \"b\" }} {{ hasKey $d \"c\" }} {{ keys $d }} {{ values $d }} {{ pick $d \"a\" }} {{ omit $d \"a\" }}",
            "map[a:1 b:2] 2 false [a b] [1 2] map[a:1] map[b:2]",
        ),
        (
            "{{ merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3) }} {{ dig \"a\" \"b\" \"none\" (dict \"a\" (dict \"b\" 1)) }} {{ pluck \"x\" .map }}",
            "map[a:1 b:3] 1 [1]",
        ),
        (
            "{{ add 1 2 3 }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 3 2 }} {{ min 2 1 }} {{ add1 1 }} {{ addf 0.1 0.2 }}",
            "6 3 6 3 1 3 1 2 0.3",
        ),
        (
            "{{ ceil 1.2 }} {{ floor 1.8 }} {{ round 123.5555 3 }} {{ until 3 }} {{ untilStep 1 6 2 }} {{ seq 3 }} {{ seq 2 2 6 }}",
            "2 1 123.556 [0 1 2] [1 3 5] 1 2 3 2 4 6",
        ),
        (
            "{{ toJson .map }} {{ toJson \"<a>\" }} {{ toRawJson \"<a>\" }} {{ (fromJson \"{\\\"a\\\":[1]}\").a }}",
            "{\"x\":1,\"y\":2} \"\\u003ca\\u003e\" \"<a>\" [1]",
        ),
        (
            "{{ b64enc \"hello\" }} {{ b64dec \"aGVsbG8=\" }} {{ b32enc \"hello\" }} {{ b32dec \"NBSWY3DP\" }}",
            "aGVsbG8= hello NBSWY3DP hello",
        ),
        (
            "{{ sha1sum \"a\" }} {{ sha256sum \"a\" | trunc 8 }} {{ sha512sum \"a\" | trunc 8 }} {{ adler32sum \"a\" }}",
            "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8 ca978112 1f40fc92 6422626",
        ),
        (
            "{{ regexMatch \"^a.c$\" \"abc\" }} {{ regexFind \"[0-9]+\" \"a12\" }} {{ regexFindAll \"\\\\d\" \"1a2\" -1 }} {{ regexReplaceAll \"a(x*)b\" \"-ab-axxb-\" \"${1}W\" }}",
            "true 12 [1 2] -W-xxW-",
        ),
        (
            "{{ base \"a/b.c\" }} {{ dir \"a/b.c\" }} {{ ext \"a/b.c\" }} {{ clean \"a/../b\" }} {{ (urlParse \"https://u@h:1/p?q\").hostname }}",
            "b.c a .c b h",
        ),
        (
            "{{ atoi \"12\" }} {{ int \"0x10\" }} {{ float64 \"1.5\" }} {{ toString 1 }} {{ kindOf .list }} {{ typeOf .name }}",
            "12 16 1.5 1 slice string",
        ),
    ]);
}

#[test]
fn sprig_versions_and_dates() {
    check(&[
        (
            "{{ $v := semver \"v1.2.3-rc.1+b5\" }}{{ $v }} {{ $v.Major }}.{{ $v.Minor }} {{ $v.Prerelease }} {{ $v.Metadata }} {{ $v.Original }}",
            "1.2.3-rc.1+b5 1.2 rc.1 b5 v1.2.3-rc.1+b5",
        ),
        ("{{ semverCompare \"^1.2.0\" \"1.4.0\" }} {{ semverCompare \">=2\" \"1.4.0\" }}", "true false"),
        (
            "{{ duration \"95\" }} {{ duration \"3661\" }} {{ duration \"0\" }} {{ duration \"x\" }}",
            "1m35s 1h1m1s 0s 0s",
        ),
        ("{{ durationRound \"2h10m5s\" }} {{ durationRound \"2400h10m5s\" }} {{ durationRound \"90s\" }}", "2h 3mo 1m"),
        ("{{ toDate \"2006-01-02\" \"2017-12-31\" }}", "2017-12-31 00:00:00 +0000 UTC"),
        ("{{ unixEpoch (toDate \"2006-01-02T15:04:05Z07:00\" \"1970-01-02T00:00:00+01:00\") }}", "82800"),
        ("{{ mustDateModify \"-1.5h\" (toDate \"2006-01-02\" \"2017-12-31\") }}", "2017-12-30 22:30:00 +0000 UTC"),
        (
            "{{ (toDate \"Jan 2, 2006\" \"May 4, 2024\").Month }} {{ toDate \"2006\" \"x\" }}",
            "May 0001-01-01 00:00:00 +0000 UTC",
        ),
    ]);
    assert!(render("{{ semver \"x\" }}", &data()).ends_with("error calling semver: invalid semantic version"));
    assert!(render("{{ mustToDate \"2006\" \"x\" }}", &data()).contains("parsing time \"x\" as \"2006\""));
}

#[test]
fn errors_are_worded_like_gos() {
    check(&[
        (
            "{{ .name.x }}",
            "error: template: t:1:8: executing \"t\" at <.name.x>: can't evaluate field x in type string",
        ),
        ("\n {{ nope }}", "error: template: t:2: function \"nope\" not defined"),
        ("{{ if }}{{ end }}", "error: template: t:1: missing value for if"),
        ("{{ if true }}", "error: template: t:1: unexpected EOF"),
        ("{{ end }}", "error: template: t:1: unexpected {{end}}"),
        ("{{ $x }}", "error: template: t:1: undefined variable \"$x\""),
        ("{{ .name", "error: template: t:1: unclosed action"),
        ("{{ \"a }}", "error: template: t:1: unterminated quoted string"),
        (
            "{{ upper }}",
            "error: template: t:1:3: executing \"t\" at <upper>: wrong number of args for upper: want 1 got 0",
        ),
        ("{{ upper 1 }}", "error: template: t:1:9: executing \"t\" at <1>: expected string; found 1"),
        (
            "{{ upper .n }}",
            "error: template: t:1:9: executing \"t\" at <.n>: wrong type for value; expected string; got int",
        ),
        (
            "{{ .missing | upper }}",
            "error: template: t:1:14: executing \"t\" at <upper>: invalid value; expected string",
        ),
        ("{{ fail \"no\" }}", "error: template: t:1:3: executing \"t\" at <fail \"no\">: error calling fail: no"),
        (
            "{{ index .list 5 }}",
            "error: template: t:1:3: executing \"t\" at <index .list 5>: error calling index: index out of range: 5",
        ),
        (
            "{{ range .n.x }}{{ end }}",
            "error: template: t:1:11: executing \"t\" at <.n.x>: can't evaluate field x in type int",
        ),
        (
            "{{ range .name }}{{ end }}",
            "error: template: t:1:9: executing \"t\" at <.name>: range can't iterate over app",
        ),
        (
            "{{ template \"none\" }}",
            "error: template: t:1:12: executing \"t\" at <{{template \"none\"}}>: template \"none\" not defined",
        ),
        ("{{ nil }}", "error: template: t:1:3: executing \"t\" at <nil>: nil is not a command"),
        (
            "{{ eq 1 \"a\" }}",
            "error: template: t:1:3: executing \"t\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison: int and string",
        ),
        ("{{ 1 | 2 }}", "error: template: t:1: non executable command in pipeline stage 2"),
        ("{{ .name 1 }}", "error: template: t:1:3: executing \"t\" at <.name>: name is not a method but has arguments"),
        ("{{ break }}", "error: template: t:1: {{break}} outside {{range}}"),
    ]);
}

#[test]
fn a_missing_key_is_an_error_when_asked_for() {
    let functions = Functions::builtin().with(
        "variables",
        Function::constant(Value::Map(Map::new("map[string]string", "".into(), [("a".into(), "1".into())]))),
    );
    let options = Options { missing_key: MissingKey::Error, ..Options::default() };
    let render = |text: &str| Template::parse("tmpl", text, functions.clone()).unwrap().render(&Value::Nil, &options);
    assert_eq!(render("{{ variables.a }}").unwrap(), "1");
    assert_eq!(
        render("{{ variables.zz }}").unwrap_err().to_string(),
        "template: tmpl:1:3: executing \"tmpl\" at <variables>: map has no entry for key \"zz\""
    );
    assert!(render("{{ .Name }}").is_err());
}

#[test]
fn runaway_templates_are_stopped() {
    for text in [
        "{{ define \"T\" }}{{ template \"T\" }}{{ end }}{{ template \"T\" }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
        "{{ range 1000000000 }}aaaaaaaaaaaaaaaaaaaaa{{ end }}",
        "{{ repeat 1000000000 \"a\" }}",
        "{{ until 1000000000 }}",
    ] {
        assert!(try_render(text, &data()).is_err(), "{text}");
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(try_render(&deep, &data()).is_err());
    assert!(try_render(&"{{ if true }}".repeat(5000), &data()).is_err());
    let own = "{{ $d := dict }}{{ $_ := set $d \"self\" $d }}{{ $d }}{{ toJson $d }}";
    assert!(try_render(own, &data()).is_ok());
}

proptest::proptest! {
    #[test]
    fn text_without_actions_is_copied(text in "[^{]{0,100}") {
        proptest::prop_assert_eq!(render(&text, &Value::Nil), text);
    }

    #[test]
    fn no_text_makes_it_panic(text in r#"(\{\{|\}\}|\{\{- | -\}\}|/\*|\*/|if |else|end|range |with |define "x"|template "x"|block "x" |\.|\$x|:=|=|,|\||\(|\)|"a"|`b`|'c'|[0-9.e_x+-]{1,5}| |\n|printf |index |slice |upper |dict |set |nil|true|[a-zé%]){0,25}"#) {
        let _ = try_render(&text, &data());
    }

    #[test]
    fn no_format_makes_printf_panic(format in r"(%|[-+# 0]|\[[0-9]\]|\*|[0-9.]|[vdsqxXeEfgGtTcUob]|é){0,20}") {
        let text = format!("{{{{ printf {} 1 1.5 \"é\" .list nil 7 }}}}", print::quote(&format));
        let _ = try_render(&text, &data());
    }
}

/// Found by comparing 6,500 made-up templates with Go 1.26 and Sprig 3.3.
#[test]
fn edges_are_those_of_go_and_sprig() {
    check(&[
        (
            "{{ printf \"%5v|%-5v|%+v\" (list 1 \"a\") (list nil true) (dict \"k\" 1) }}",
            "[    1     a]|[<nil> true ]|map[k:1]",
        ),
        ("{{ printf \"%4d\" (list 1 nil) }}", "[   1 <nil>]"),
        ("{{ printf \"%5t\" \"x\" }}", "%!t(string=    x)"),
        ("{{ html nil }} {{ urlquery nil }}", "&lt;no value&gt; %3Cno+value%3E"),
        ("{{ cat \" a\" \"b \" }}|", " a b |"),
        ("{{ splitn \"\" 2 \"abc\" }}", "map[_0:a _1:bc]"),
        ("{{ len (regexSplit \"a*\" \"é\" -1) }} {{ regexSplit \",\" \"a,b,c\" 2 }}", "1 [a b,c]"),
        ("{{ chunk -1 (list 1 2) }}", "[]"),
        ("{{ merge (dict \"a\" 1) (dict \"b\" nil) }}", "map[a:1]"),
        ("{{ printf \"%.3T\" 1.5 }}", "flo"),
        ("{{ printf \"%b|%-12bq|%b\" 0.1 1.5 0.0 }}", "7205759403792794p-56|6755399441055744p-52q|0p-1074"),
        (
            "{{ printf \"%x|%X|%x|%+10.1x\" 0.1 1e21 5e-324 0.0 }}",
            "0x1.999999999999ap-04|0X1.B1AE4D6E2EF5P+69|0x1p-1074|+0x0.0p+00",
        ),
        (
            "{{ printf \"%.0x|%.2x|%.20x|%012x\" 1.5 255.9999 1.0 -3.25 }}",
            "0x1p+01|0x1.00p+08|0x1.00000000000000000000p+00|-000x1.ap+01",
        ),
        ("{{ printf \"%+v %+v %+d\" 5 1.5 5 }}", "5 1.5 +5"),
        (
            "{{ printf \"%#v %#v\" (dict \"k\" (list 1 \"a\" nil 1.5 true)) \"q\" }}",
            "map[string]interface {}{\"k\":[]interface {}{1, \"a\", interface {}(nil), 1.5, true}} \"q\"",
        ),
        ("{{ printf \"%[3]d %d\" 1 }} {{ printf \"%[2]d %d\" 1 2 }}", "%!d(BADINDEX) 1 2 %!d(MISSING)"),
        ("{{ printf \"%.*f %*d\" \"x\" 1.5 nil 7 }}", "%!(BADPREC)1.500000 %!(BADWIDTH)7"),
        ("{{ printf \"%#o|%.0d|%[3]*d\" 0 0 4 }}", "0||%!d(MISSING)"),
        ("{{ wrap 5 \"naïve ☃ Ünï\" }}", "naïve\n☃\nÜnï"),
        ("{{ mulf -3 0 }} {{ addf 0.1 0.2 }} {{ int 1e21 }}", "0 0.3 -9223372036854775808"),
        ("{{ substr 1 9 \"abc\" }}{{ substr -1 2 \"abc\" }}", "bcab"),
        ("{{ typeOf (fromJson \"5\") }} {{ fromJson \"[12345678]\" }}", "float64 [1.2345678e+07]"),
        (
            "{{ toJson 0.000001 }} {{ toJson 1e21 }} {{ toJson 2.0 }} {{ toPrettyJson (dict \"a\" (list)) }}",
            "0.000001 1e+21 2 {\n  \"a\": []\n}",
        ),
    ]);
    for (text, cause) in [
        ("{{ substr 2 1 \"abc\" }}", "runtime error: slice bounds out of range [2:1]"),
        ("{{ substr -1 9 \"abc\" }}", "runtime error: slice bounds out of range [:9] with length 3"),
        ("{{ divf 1 0 }}", "decimal division by 0"),
        ("{{ round 1 2 .name }}", "wrong type for value; expected float64; got string"),
        ("{{ lt \"a\" 1 }}", "incompatible types for comparison: string and int"),
        ("{{ first \"a\" }}", "Cannot find first on type string"),
        ("{{ concat (list) 1 }}", "Cannot concat type int as list"),
        ("{{{ .name }}}", "unexpected \"{\" in command"),
        ("{{ 1e400 }}", "illegal number syntax: \"1e400\""),
        ("{{ define \"t\" }}a{{ end }}b", "template: multiple definition of template \"t\""),
    ] {
        let error = try_render(text, &data()).unwrap_err().to_string();
        assert!(error.contains(cause), "{text}: {error}");
    }
}

/// Each as Go 1.26.8 and Sprig 3.3 answer.
#[test]
fn small_print_is_that_of_go_and_sprig() {
    check(&[
        ("{{ \"a\" | }}{{ upper \"b\" | }}{{ (\"c\" |) }}{{ if 1 | }}d{{ end }}{{ $x := 2 | }}{{ $x }}", "aBcd2"),
        ("{{ upper \"ŉ ﬁ ΐ ςß\" }} {{ lower \"İ ΑΣ\" }} {{ title \"ßa ǆb\" }}", "ŉ ﬁ ΐ Σß i ασ ßa ǅb"),
        (
            "{{ swapcase \"ßİǅ\" }} {{ untitle \"İx Ǆ\" }} {{ camelcase \"ß_ǆ\" }} {{ snakecase \"AİX\" }}",
            "ßiǆ ix ǆ ßǄ aix",
        ),
        ("{{ printf \"%+q %+q\" \"a☃😀\\n\" (list \"é\\\"\") }}", r#""a\u2603\U0001f600\n" ["\u00e9\""]"#),
        ("{{ printf \"%+q %+q %+q %#+q\" 233 128512 39 \"é\" }}", r"'\u00e9' '\U0001f600' '\'' `é`"),
        (
            "{{ printf \"%.\" \"a\" }}|{{ printf \"%5.\" 1 }}|{{ printf \"%.s%.\" \"a\" }}",
            "%!.(string=a)|%!.(int=    1)|%!.(MISSING)",
        ),
        (
            "{{ atoi \"9999999999999999999\" }} {{ atoi \"-9999999999999999999\" }} {{ atoi \"99999999999999999999x\" }}",
            "9223372036854775807 -9223372036854775808 9223372036854775807",
        ),
        (
            "{{ atoi \"+5\" }} {{ atoi \"-5\" }} {{ atoi \"++5\" }} {{ atoi \"-\" }} {{ atoi \"9x\" }} {{ atoi \"\" }}",
            "5 -5 0 0 0 0",
        ),
        (
            "{{ dig \"a\" \"d\" (dict) }} {{ dig \"a\" \"b\" 0 (dict \"a\" (dict \"b\" 1)) }} {{ dig \"a\" 0 (dict \"a\" 2) }}",
            "d 1 2",
        ),
        (
            "{{ values nil }} {{ keys (dict \"a\" 1) nil }} {{ get nil \"a\" }}{{ hasKey nil \"a\" }} {{ pluck \"a\" nil }}",
            "[] [a] false []",
        ),
        ("{{ pick nil \"a\" }} {{ omit nil \"a\" }} {{ unset nil \"a\" }}", "map[] map[] map[]"),
        (
            "{{ $v := semver \"v1.2.3-rc.1+x\" }}{{ $v.IncMajor }} {{ $v.IncMinor }} {{ $v.IncPatch }} {{ $v.IncPatch.IncPatch }} {{ $v.IncMinor.Minor }}",
            "2.0.0 1.3.0 1.2.3 1.2.4 3",
        ),
        (
            "{{ typeOf (semver \"1.2.3\").IncMajor }} {{ printf \"%s %v\" (semver \"1\").IncPatch (semver \"1\").IncMajor }}",
            "semver.Version 1.0.1 2.0.0",
        ),
    ]);
    for (text, cause) in [
        ("{{ dig 0 0 }}", "error calling dig: dig needs at least three arguments"),
        ("{{ dig \"d\" (dict) }}", "error calling dig: dig needs at least three arguments"),
        ("{{ dig }}", "error calling dig: dig needs at least three arguments"),
        ("{{ dig 0 \"d\" (dict) }}", "interface conversion: interface {} is int, not string"),
        ("{{ dig \"a\" \"d\" nil }}", "interface conversion: interface {} is nil, not map[string]interface {}"),
        (
            "{{ dig \"_0\" \"d\" (split \",\" \"a\") }}",
            "interface {} is map[string]string, not map[string]interface {}",
        ),
        ("{{ dig \"a\" \"b\" 0 (dict \"a\" 1) }}", "interface {} is int, not map[string]interface {}"),
        ("{{ deepCopy .missing }}", "error calling deepCopy: reflect: call of reflect.Value.Type on zero Value"),
        ("{{ set nil \"a\" 1 }}", "assignment to entry in nil map"),
        ("{{ \"a\" | | upper }}", "unexpected \"|\" in command"),
        ("{{ | upper }}", "unexpected \"|\" in command"),
        ("{{ (semver \"v1\").IncMajor.Original }}", "can't evaluate field Original in type semver.Version"),
    ] {
        let error = try_render(text, &data()).unwrap_err().to_string();
        assert!(error.contains(cause), "{text}: {error}");
    }
}
