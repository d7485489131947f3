//! Kubernetes' external metrics, which adapters such as KEDA's serve. The query is `[NAMESPACE/]METRIC[?labelSelector=…]`.

use http::{Method, Uri};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::{Ask, Error, Request, Response, TIMEOUT, Vendor, accepted, json, request_to};

const NAME: &str = "externalmetrics";
const API: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces";

pub(super) const VENDOR: Vendor = Vendor {
    name: NAME,
    timeout: TIMEOUT,
    request,
    value,
    online: |ask| request(&Ask { query: "kube-system/dummy-metric", ..*ask }),
    is_online: accepted,
};

/// Where a metric is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    namespace: String,
    metric: String,
    label_selector: String,
}

/// Goes to the provider's address with the Secret's token, else to the cluster's own API.
fn request(ask: &Ask<'_>) -> Result<Request, Error> {
    let Place { namespace, metric, label_selector } = place(ask.query)?;
    let path = format!("{API}/{namespace}/{metric}");
    let selector: String = form_urlencoded::byte_serialize(label_selector.as_bytes()).collect();
    if ask.provider.address.is_empty() {
        let query = if selector.is_empty() { String::new() } else { format!("?labelSelector={selector}") };
        let uri: Uri = format!("{path}{query}").parse().map_err(|_| malformed(ask.query))?;
        return http::Request::get(uri).body(bytes::Bytes::new()).map_err(|_| Error::Request(NAME));
    }
    let mut url = ask.url(NAME, "", &path)?;
    if !selector.is_empty() {
        url.set_query(Some(&format!("labelSelector={selector}")));
    }
    let token = ask.secret("token").map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = token.iter().map(|token| ("Authorization", token.as_str())).collect();
    request_to(NAME, Method::GET, &url, &headers, "")
}

fn place(query: &str) -> Result<Place, Error> {
    let query = query.trim();
    let (path, fields) = query.split_once('?').unwrap_or((query, ""));
    let parts: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let (namespace, metric) = match (path.starts_with('/'), parts.as_slice()) {
        (_, [metric]) => ("default", *metric),
        (false, [namespace, metric]) => (*namespace, *metric),
        _ => return Err(malformed(query)),
    };
    let is_name = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '#' || c == '%');
    if metric.is_empty() {
        return Err(Error::Query("metric name cannot be empty".into()));
    }
    if !is_name(metric) || !is_name(namespace) {
        return Err(malformed(query));
    }
    let selector = form_urlencoded::parse(fields.as_bytes()).find(|(name, _)| name == "labelSelector");
    let label_selector = selector.map(|(_, value)| value.into_owned()).unwrap_or_default();
    Ok(Place { namespace: namespace.into(), metric: metric.into(), label_selector })
}

fn malformed(query: &str) -> Error {
    Error::Query(format!(
        "malformed query string, expected <namespace>/<metricName>?labelSelector=<selector>, got {query}"
    ))
}

/// The value of the first item.
fn value(response: &Response) -> Result<f64, Error> {
    accepted(response)?;
    let answer: Answer = json(response)?;
    match answer.items.into_iter().flatten().next().map(|item| item.value) {
        None => Err(Error::NoValues),
        Some(Value::Number(number)) => number.as_f64().ok_or(Error::NoValues),
        Some(Value::String(text)) => quantity(&text).ok_or(Error::NotANumber(text)),
        Some(_) => Err(Error::NoValues),
    }
}

#[derive(Deserialize)]
struct Answer {
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    value: Value,
}

/// A Kubernetes quantity as a number: `1500m`, `2Ki`, `1e3`, `0.5`.
fn quantity(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, unit) =
        UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit))).unwrap_or((text, 1.0));
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if is_plain { number.parse::<f64>().ok().map(|number| number * unit) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_metric_and_perhaps_a_namespace_and_labels() {
        let check = |query: &str, namespace: &str, metric: &str, label_selector: &str| {
            let [namespace, metric, label_selector] = [namespace, metric, label_selector].map(str::to_owned);
            assert_eq!(place(query), Ok(Place { namespace, metric, label_selector }), "{query}");
        };
        check("default/myMetric", "default", "myMetric", "");
        check("myMetric", "default", "myMetric", "");
        check("/myMetric", "default", "myMetric", "");
        check("apps/q?labelSelector=app%3Dpodinfo%2Ctier+in+%28a%29", "apps", "q", "app=podinfo,tier in (a)");
        for wrong in ["", "apps/", "a/b/c", "//m", "a b"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantities_are_numbers() {
        let cases =
            [("1500m", 1.5), ("2Ki", 2048.0), ("1e3", 1000.0), ("0.5", 0.5), ("-3", -3.0), ("7", 7.0), ("2M", 2e6)];
        for (text, number) in cases {
            assert_eq!(quantity(text), Some(number), "{text}");
        }
        assert_eq!((quantity("x"), quantity("inf"), quantity("")), (None, None, None));
    }
}
