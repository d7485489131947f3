//! Requests and values as the reference has them: `tests/cases/canary/metrics_providers.jsonl`.

use std::collections::BTreeMap;

use reconcile::identity::aws::Keys;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::*;
use crate::cases;

const NOW: i64 = 1_790_000_000;

fn of_kind(kind: &str) -> Vec<Value> {
    cases::lines("canary/metrics_providers.jsonl").into_iter().filter(|case| case["kind"] == kind).collect()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_default()
}

fn secret(data: &Value) -> Credentials {
    let data = data.as_object().into_iter().flatten();
    data.map(|(key, value)| (key.clone(), value.as_str().unwrap().into())).collect()
}

/// The provider of a case, at the address that its server had.
fn provider(case: &Value) -> MetricProvider {
    let address = match text(case, "provider") {
        "keptn" | "externalmetrics" => String::new(),
        _ => format!("http://server:9090{}", text(case, "addressPath")),
    };
    MetricProvider { kind: text(case, "provider").into(), address, ..MetricProvider::default() }
}

fn response(case: &Value) -> Response {
    let status = u16::try_from(case["responseStatus"].as_u64().unwrap_or(200)).unwrap();
    let body = Bytes::from(text(case, "responseBody").to_owned());
    http::Response::builder().status(status).body(body).unwrap()
}

/// The query fields of a request, times replaced as in the cases.
fn fields(request: &Request) -> Value {
    let fields = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let fields: BTreeMap<String, String> = fields.into_owned().collect();
    let hide = |(name, value): (String, String)| {
        let is_time = ["from", "to"].contains(&name.as_str());
        (name, Value::from(if is_time { "<epoch>".into() } else { value }))
    };
    Value::Object(fields.into_iter().map(hide).collect())
}

/// Checks what a case says of the request.
fn check_request(case: &Value, request: &Request) {
    let (sent, id) = (&case["request"][0], &case["id"]);
    assert_eq!(request.method(), text(sent, "method"), "{id}");
    assert_eq!(request.uri().path(), sent["path"], "{id}");
    assert_eq!(fields(request), sent["query"], "{id}");
    for (name, value) in sent["headers"].as_object().unwrap() {
        match name.as_str() {
            "Content-Length" => assert_eq!(request.body().len().to_string(), *value, "{id}"),
            name => assert_eq!(request.headers()[name], value.as_str().unwrap(), "{id} {name}"),
        }
    }
}

#[test]
fn providers_are_asked_and_read_as_in_the_reference() {
    let mut checked = 0;
    for case in of_kind("query") {
        let id = &case["id"];
        // These two have no constructor of their own here: the cluster is asked, or there is none.
        if ["keptn-no-kubeconfig", "externalmetrics-no-kubeconfig"].contains(&text(&case, "name")) {
            continue;
        }
        let provider = provider(&case);
        let credentials = case.get("credentials").map(secret);
        let now = Timestamp::from_second(NOW).unwrap();
        let (query, interval) = (text(&case, "query"), text(&case, "interval"));
        let ask = Ask { provider: &provider, secret: credentials.as_ref(), login: None, query, interval, now };
        let is_online = case["isOnline"] == true;
        let request = match if is_online { online(&ask) } else { request(&ask) } {
            Ok(request) => request,
            Err(error) => {
                let expected = text(&case, "constructorError");
                assert!(error.to_string().starts_with(expected) && !expected.is_empty(), "{id}: {error} {expected}");
                checked += 1;
                continue;
            }
        };
        assert!(case.get("constructorError").is_none(), "{id}: {}", case["constructorError"]);
        check_request(&case, &request);
        let outcome = match is_online {
            true => super::is_online(&provider, &response(&case)).map(|()| 1.0),
            false => value(&provider, &response(&case)),
        };
        match outcome {
            Ok(_) if is_online => assert_eq!(case["online"], true, "{id}"),
            Ok(value) => assert_eq!(Some(value), case["value"].as_f64(), "{id}"),
            Err(error) => {
                assert!(case.get("error").is_some(), "{id}: {error}");
                assert_eq!(error == Error::NoValues, case["noValues"] == true, "{id}: {error}");
            }
        }
        checked += 1;
    }
    assert!(checked >= 30, "{checked} cases");
}

/// The answer over HTTP that a cloud's library turns into the parsed one of the case.
fn over_http(case: &Value) -> Response {
    let parsed = &case["response"];
    let body = match text(case, "provider") {
        "splunk" => {
            let payloads = parsed["payloads"].as_array().unwrap().iter();
            let event = |payload: &Value| {
                let data = json!({"data": [{"tsId": payload["tsid"], "value": payload["double"]}]});
                format!("event: data\ndata: {data}\n\n")
            };
            payloads.map(event).collect()
        }
        _ => parsed.to_string(),
    };
    let status = if parsed["grpc"] == "PermissionDenied" { 403 } else { 200 };
    http::Response::builder().status(status).body(Bytes::from(body)).unwrap()
}

#[test]
fn clouds_are_read_as_in_the_reference() {
    for case in of_kind("sdk-response") {
        let (id, expected, provider) = (&case["id"], &case["expected"], provider(&case));
        if provider.kind == keptn::NAME {
            assert_eq!(keptn::value(&case["response"]).ok(), expected["value"].as_f64(), "{id}");
            continue;
        }
        let response = over_http(&case);
        if case["isOnline"] == true {
            assert_eq!(is_online(&provider, &response).is_ok(), expected["online"] == true, "{id}");
            continue;
        }
        match value(&provider, &response) {
            Ok(value) => assert_eq!(Some(value), expected["value"].as_f64(), "{id}"),
            Err(error) => {
                assert_eq!(expected["error"], true, "{id}: {error}");
                assert_eq!(error == Error::NoValues, expected["noValues"] == true, "{id}: {error}");
            }
        }
    }
}

#[test]
fn queries_of_the_cluster_are_parsed_as_in_the_reference() {
    for case in of_kind("query-parse") {
        let (id, query, expected) = (&case["id"], text(&case, "query"), &case["expected"]);
        match text(&case, "provider") {
            "keptn" => assert_eq!(keptn::question(query).is_err(), expected["error"] == true, "{id}"),
            "externalmetrics" => {
                let provider = provider(&case);
                let request = request(&ask(&provider, None, query)).unwrap();
                let place = format!("/namespaces/{}/{}", text(expected, "namespace"), text(expected, "metric"));
                assert!(request.uri().path().ends_with(&place) && request.uri().authority().is_none(), "{id}");
                let selector = fields(&request)["labelSelector"].as_str().unwrap_or_default().to_owned();
                assert_eq!(selector, text(expected, "labelSelector"), "{id}");
            }
            other => panic!("{id}: {other}"),
        }
    }
}

#[test]
fn addresses_are_made_as_in_the_reference() {
    for case in of_kind("url-derivation") {
        let (id, expected) = (&case["id"], &case["expected"]);
        let provider =
            MetricProvider { kind: "splunk".into(), address: text(&case, "address").into(), ..Default::default() };
        let secret = secret(&json!({"sf_token_key": "t"}));
        let asked = request(&ask(&provider, Some(&secret), "data('x').publish()")).unwrap().uri().to_string();
        // The same interface over HTTP instead of WebSocket.
        let wanted = text(expected, "query").replacen("ws", "http", 1) + "/execute?";
        assert!(asked.starts_with(&wanted), "{id}: {asked}");
        assert_eq!(online(&ask(&provider, Some(&secret), "")).unwrap().uri(), text(expected, "online"), "{id}");
    }
}

fn ask<'a>(provider: &'a MetricProvider, secret: Option<&'a Credentials>, query: &'a str) -> Ask<'a> {
    Ask { provider, secret, login: None, query, interval: "1m", now: Timestamp::from_second(NOW).unwrap() }
}

fn at(kind: &str, address: &str) -> MetricProvider {
    MetricProvider { kind: kind.into(), address: address.into(), ..MetricProvider::default() }
}

#[test]
fn a_request_carries_path_headers_and_credentials() {
    let mut server = at("prometheus", "https://p.example.com/prom/");
    server.headers = [("X-Scope-OrgID".to_owned(), vec!["a".to_owned()])].into();
    let token = secret(&json!({"token": "t\n"}));
    let sent = request(&ask(&server, Some(&token), "up")).unwrap();
    assert_eq!(sent.uri().to_string(), "https://p.example.com/prom/api/v1/query?query=up");
    assert_eq!(
        (&sent.headers()["x-scope-orgid"], &sent.headers()["authorization"]),
        (&"a".parse().unwrap(), &"Bearer t".parse().unwrap())
    );
    let sent = request(&ask(&server, None, "\n  sum(\n\t up )\n")).unwrap();
    assert_eq!(fields(&sent)["query"], " sum( up ) ");
    let basic = secret(&json!({"username": "u", "password": "p"}));
    let sent = request(&ask(&server, Some(&basic), "up")).unwrap();
    assert_eq!(sent.headers()["authorization"], "Basic dTpw");
    let tls = secret(&json!({"ca.crt": "x"}));
    assert!(!request(&ask(&server, Some(&tls), "up")).unwrap().headers().contains_key("authorization"));
}

#[test]
fn an_address_that_is_no_url_is_told_without_its_login() {
    for (address, told) in [("p.example.com:9090", "p.example.com:9090"), ("ftp://u:secret@h", "***@h"), ("", "")] {
        let error = request(&ask(&at("prometheus", address), None, "up")).unwrap_err();
        assert_eq!(error.to_string(), format!("prometheus address {told} is not a valid URL"));
    }
}

#[test]
fn a_credential_that_fits_no_header_is_not_told() {
    let server = at("prometheus", "http://p");
    let error = request(&ask(&server, Some(&secret(&json!({"token": "a\nb"}))), "up")).unwrap_err();
    assert_eq!(error, Error::Request("prometheus"));
}

#[test]
fn prometheus_answers_are_read_to_the_last_series() {
    let read = |body: Value| value(&MetricProvider::default(), &http::Response::new(Bytes::from(body.to_string())));
    let vector = |values: &[Value]| {
        let series: Vec<_> = values.iter().map(|value| json!({"metric": {}, "value": [1, value]})).collect();
        json!({"data": {"resultType": "vector", "result": series}})
    };
    assert_eq!(read(vector(&[json!("1"), json!("2")])), Ok(2.0));
    assert_eq!(read(vector(&[json!("+Inf")])), Ok(f64::INFINITY));
    assert_eq!(read(vector(&[json!("NaN")])), Err(Error::NoValues));
    assert_eq!(read(vector(&[json!(5)])), Err(Error::NoValues));
    assert_eq!((read(vector(&[])), read(json!({}))), (Err(Error::NoValues), Err(Error::NoValues)));
    assert_eq!(read(json!({"data": {"result": [{"values": [[1, "2"], [2, "3"]]}]}})), Err(Error::MultipleValues));
}

#[test]
fn cloudwatch_is_asked_over_a_signed_request() {
    let mut provider = at("cloudwatch", "");
    let query = r#"[{"id": "e1", "expression": "m1", "returnData": true}]"#;
    assert_eq!(request(&ask(&provider, None, query)).unwrap_err(), Error::NoRegion);
    provider.region = "eu-west-1".into();
    assert_eq!(request(&ask(&provider, None, query)).unwrap_err(), Error::NoLogin(Identity::Aws));
    let login = Login::Aws(Keys { id: "AKID".into(), secret: "s".into(), session: Some("S".into()) });
    let sent = request(&Ask { login: Some(&login), ..ask(&provider, None, query) }).unwrap();
    assert_eq!(sent.uri(), "https://monitoring.eu-west-1.amazonaws.com/");
    assert_eq!(sent.headers()["x-amz-target"], "GraniteServiceVersion20100801.GetMetricData");
    let authorization = sent.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("/eu-west-1/monitoring/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"));
    let body: Value = serde_json::from_slice(sent.body()).unwrap();
    let queries = json!([{"Id": "e1", "Expression": "m1", "ReturnData": true}]);
    assert_eq!(
        body,
        json!({"StartTime": NOW - 600, "EndTime": NOW, "MaxDatapoints": 20, "MetricDataQueries": queries})
    );
    assert!(matches!(request(&Ask { login: Some(&login), ..ask(&provider, None, "{") }), Err(Error::Query(_))));
    let refused = |body: &'static str| http::Response::builder().status(400).body(Bytes::from(body)).unwrap();
    assert!(is_online(&provider, &refused(r#"{"__type": "ValidationError"}"#)).is_ok());
    assert!(is_online(&provider, &refused(r#"{"__type": "AccessDeniedException"}"#)).is_err());
}

#[test]
fn google_is_asked_with_a_token() {
    let provider = at("stackdriver", "");
    let project = secret(&json!({"project": "p"}));
    assert_eq!(request(&ask(&provider, Some(&project), "q")).unwrap_err(), Error::NoLogin(Identity::Google));
    let login = Login::Google("T".into());
    let sent = request(&Ask { login: Some(&login), ..ask(&provider, Some(&project), "fetch x") }).unwrap();
    assert_eq!(sent.uri(), "https://monitoring.googleapis.com/v3/projects/p/timeSeries:query");
    assert_eq!(
        (&sent.headers()["authorization"], sent.body().as_ref()),
        (&"Bearer T".parse().unwrap(), &br#"{"query":"fetch x"}"#[..])
    );
    let read = |points: Value| {
        let body = json!({"timeSeriesData": [{"pointData": points}]}).to_string();
        value(&provider, &http::Response::new(Bytes::from(body)))
    };
    assert_eq!(read(json!([{"values": [{"doubleValue": 1.5}]}, {"values": [{"doubleValue": 2}]}])), Ok(1.5));
    assert_eq!(read(json!([{"values": [{"int64Value": "7"}]}])), Ok(7.0));
    assert_eq!((read(json!([])), read(json!([{"values": []}]))), (Err(Error::NoValues), Err(Error::NoValues)));
}

#[test]
fn nerdgraph_is_asked_with_a_new_key() {
    let provider = at("newrelic", "");
    let keys = secret(&json!({"newrelic_account_id": "51", "newrelic_api_key": "k"}));
    let sent = request(&ask(&provider, Some(&keys), "SELECT average(duration) FROM T")).unwrap();
    assert_eq!((sent.uri().to_string().as_str(), &sent.headers()["api-key"]), (NERDGRAPH, &"k".parse().unwrap()));
    let body: Value = serde_json::from_slice(sent.body()).unwrap();
    let nrql = "SELECT average(duration) FROM T SINCE 60 seconds ago";
    assert_eq!(body["variables"], json!({"account": 51, "nrql": nrql}));
    let read = |results: Value| {
        let body = json!({"data": {"actor": {"account": {"nrql": {"results": results}}}}}).to_string();
        value(&provider, &http::Response::new(Bytes::from(body)))
    };
    assert_eq!(read(json!([{"average.duration": 1.5, "beginTimeSeconds": 1}])), Ok(1.5));
    assert_eq!(read(json!([{"percentile.duration": {"95": 2}}])), Ok(2.0));
    assert_eq!((read(json!([])), read(json!([{"a": null}]))), (Err(Error::NoValues), Err(Error::NoValues)));
    assert_eq!(read(json!([{"a": 1, "b": 2}])), Err(Error::MultipleValues));
    let errors = http::Response::new(Bytes::from(r#"{"errors": [{"message": "no such account"}]}"#));
    assert!(value(&provider, &errors).unwrap_err().to_string().contains("no such account"));
}

const NERDGRAPH: &str = "https://api.newrelic.com/graphql";

#[test]
fn influxdb_answers_in_annotated_csv() {
    let read = |body: &str| value(&at("influxdb", "http://i"), &http::Response::new(Bytes::from(body.to_owned())));
    let table = |kind: &str, default: &str, value: &str| {
        format!(
            "#datatype,string,long,{kind},string\r\n#group,false,false,false,true\r\n#default,_result,,{default},\r\n\
             ,result,table,_value,_field\r\n,,0,{value},\"a \"\"b\"\", c\"\r\n\r\n"
        )
    };
    assert_eq!(read(&table("double", "", "1.5")), Ok(1.5));
    assert_eq!(read(&table("double", "2", "")), Ok(2.0));
    assert_eq!((read(&table("double", "", "")), read("\r\n")), (Err(Error::NoValues), Err(Error::NoValues)));
    assert!(matches!(read(&table("long", "", "7")), Err(Error::Unreadable { .. })));
    assert!(matches!(read("a,b\r\n1,2\r\n"), Err(Error::Unreadable { .. })));
    let failed =
        "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n,error,reference\r\n,no such bucket,897\r\n";
    assert!(read(failed).unwrap_err().to_string().contains("no such bucket"));
}

#[test]
fn splunk_answers_one_series() {
    let read = |body: &str| value(&at("splunk", "http://s"), &http::Response::new(Bytes::from(body.to_owned())));
    let data = |series: &str, value: &str| {
        format!("event: data\nid: x\ndata: {{\"data\": [\ndata: {{\"tsId\": \"{series}\", \"value\": {value}}}]}}\n\n")
    };
    assert_eq!(read(&[data("a", "1"), data("a", "2.5"), data("a", "null")].concat()), Ok(2.5));
    assert_eq!(read(&[data("a", "1"), data("b", "1")].concat()), Err(Error::MultipleValues));
    assert_eq!(read("event: control-message\ndata: {\"event\": \"END_OF_CHANNEL\"}\n\n"), Err(Error::NoValues));
    assert!(
        read("event: error\ndata: {\"message\": \"bad program\"}\n\n").unwrap_err().to_string().contains("bad program")
    );
}

#[test]
fn null_points_are_no_data() {
    let read =
        |kind: &str, body: Value| value(&at(kind, "http://s"), &http::Response::new(Bytes::from(body.to_string())));
    assert_eq!(read("datadog", json!({"series": [{"pointlist": [[1.0, 5.5], [2.0, 7.0]]}]})), Ok(5.5));
    assert_eq!(read("datadog", json!({"series": [{"pointlist": [[1.0, null]]}]})), Err(Error::NoValues));
    assert_eq!(read("dynatrace", json!({"result": [{"data": [{"values": [1]}, {"values": [2, 3]}]}]})), Ok(2.0));
    assert_eq!(read("dynatrace", json!({"result": [{"data": [{"values": [null]}]}]})), Err(Error::NoValues));
    assert_eq!(read("graphite", json!([{"datapoints": [["1.5", 1], [null, 2]]}])), Ok(1.5));
    assert_eq!(read("newrelic", json!({"results": [{"result": null}]})), Err(Error::NoValues));
    assert!(matches!(read("newrelic", json!({"results": [{"result": "x"}]})), Err(Error::Unreadable { .. })));
}
