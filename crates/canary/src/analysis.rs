//! Whether a measured value is good enough. Source: reference progressive-delivery.md, C.1.

use api::flagger::{Canary, Metric};

use crate::{
    machine::Measurement,
    metrics::{self, Observer},
};

/// Said of a metric that has neither a known name nor a query.
pub const UNUSABLE: &str = "Metric query failed for no usable metrics template and query were configured";

/// Where a metric's query comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `request-success-rate`, in percent.
    SuccessRate,
    /// `request-duration`, in milliseconds.
    Duration,
    /// A query in the Canary.
    Inline,
    /// A MetricTemplate.
    Template,
    /// Nowhere.
    Unusable,
}

/// Where the query of a metric with one source comes from; see [`Metric::by_source`].
pub fn kind(metric: &Metric) -> Kind {
    match metric.name.as_str() {
        _ if metric.template_ref.is_some() => Kind::Template,
        _ if metric.inline_query().is_some() => Kind::Inline,
        Metric::SUCCESS_RATE => Kind::SuccessRate,
        Metric::DURATION => Kind::Duration,
        _ => Kind::Unusable,
    }
}

/// Places of the metrics in the order they are measured: builtin and inline ones first, then those of templates.
pub fn order(metrics: &[Metric]) -> Vec<usize> {
    let (templates, others): (Vec<_>, Vec<_>) =
        (0..metrics.len()).partition(|&index| matches!(kind(&metrics[index]), Kind::Template | Kind::Unusable));
    others.into_iter().chain(templates).collect()
}

/// Whether the value is good enough; if not, the text of the event that says why. No data is never good enough.
pub fn judge(canary: &Canary, mesh_provider: &str, metric: &Metric, measured: &Measurement) -> Result<(), String> {
    let kind = kind(metric);
    let name = &metric.name;
    let value = match measured {
        Measurement::Value(value) if !value.is_nan() => *value,
        Measurement::Value(_) => return Err(no_data(canary, mesh_provider, metric, "no values found")),
        Measurement::NoData(problem) => return Err(no_data(canary, mesh_provider, metric, problem)),
        Measurement::Invalid(text) => return Err(text.clone()),
        Measurement::Error(problem) => {
            return Err(match kind {
                Kind::SuccessRate | Kind::Duration => {
                    format!("Prometheus query failed: {}", builtin_problem(canary, mesh_provider, kind, problem))
                }
                Kind::Inline => format!("Prometheus query failed for {name}: {problem}"),
                Kind::Template | Kind::Unusable => format!("Metric query failed for {name}: {problem}"),
            });
        }
    };
    let Some((sign, bound)) = breach(metric, value) else { return Ok(()) };
    let comparison = match kind {
        Kind::SuccessRate => format!("success rate {}% {sign} {}%", hundredths(value), number(bound)),
        Kind::Duration => format!("request duration {} {sign} {}", milliseconds(value), milliseconds(bound)),
        Kind::Inline | Kind::Template | Kind::Unusable => {
            format!("{name} {} {sign} {}", hundredths(value), number(bound))
        }
    };
    Err(format!("Halt {}.{} advancement {comparison}", canary.name(), canary.namespace()))
}

/// Least and greatest good value, both inclusive. Without a range, `threshold` is the least success rate and the greatest
/// value of everything else; absent, it is zero.
pub fn bounds(metric: &Metric) -> (Option<f64>, Option<f64>) {
    match (&metric.threshold_range, metric.threshold.unwrap_or_default()) {
        (Some(range), _) => (range.min, range.max),
        (None, threshold) if kind(metric) == Kind::SuccessRate => (Some(threshold), None),
        (None, threshold) => (None, Some(threshold)),
    }
}

/// The bound a value breaks.
///
/// Differs: fractions of milliseconds count; the original cuts them off, so that `max: 0.9` acts as zero (B.8 defect 8).
fn breach(metric: &Metric, value: f64) -> Option<(char, f64)> {
    let (min, max) = bounds(metric);
    let below = min.filter(|&min| value < min).map(|min| ('<', min));
    below.or_else(|| max.filter(|&max| value > max).map(|max| ('>', max)))
}

/// What went wrong with a builtin query. The observer of applications' own series adds nothing to a failed success rate.
/// Source: Flagger 1.44 `pkg/metrics/observers/http.go`.
fn builtin_problem(canary: &Canary, mesh_provider: &str, kind: Kind, problem: &str) -> String {
    let is_bare = kind == Kind::SuccessRate && Observer::of_canary(canary, mesh_provider) == Observer::Http;
    if is_bare { problem.into() } else { format!("running query failed: {problem}") }
}

fn no_data(canary: &Canary, mesh_provider: &str, metric: &Metric, problem: &str) -> String {
    let name = &metric.name;
    let provider = metrics::provider_name(canary, mesh_provider);
    let target = format!("{}.{}", canary.spec.target_ref.name, canary.namespace());
    let silent = format!(
        "Halt advancement no values found for {provider} metric {name} probably {target} is not receiving traffic"
    );
    match kind(metric) {
        Kind::SuccessRate => {
            format!("{silent}: {}", builtin_problem(canary, mesh_provider, Kind::SuccessRate, problem))
        }
        Kind::Duration => silent,
        Kind::Inline => format!("Halt advancement no values found for metric: {name}"),
        Kind::Template | Kind::Unusable => {
            format!("Halt advancement no values found for custom metric: {name}: {problem}")
        }
    }
}

/// A number as Go's `%.2f` prints it.
fn hundredths(value: f64) -> String {
    if value.is_infinite() { number(value) } else { format!("{value:.2}") }
}

/// A number as Go's `%v` prints it: shortest form, exponents from 1e21 up and below 1e-4.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value}")
}

/// Milliseconds as Go prints a duration: `501ms`, `1.5s`, `900µs`.
fn milliseconds(value: f64) -> String {
    let nanos = value.abs() * 1e6;
    // Go's durations end at 292 years; so does this.
    if !nanos.is_finite() || nanos > 9.2e18 {
        return format!("{}ms", number(value));
    }
    // The size was just checked, and the sign was taken off.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = std::time::Duration::from_nanos(nanos.round() as u64);
    format!("{}{}", if value < 0.0 { "-" } else { "" }, api::Duration(whole))
}

#[cfg(test)]
mod tests {
    use api::flagger::ThresholdRange;

    use super::*;

    fn metric(name: &str, min: Option<f64>, max: Option<f64>) -> Metric {
        let threshold_range = Some(ThresholdRange { min, max });
        let query = (!name.starts_with("request-")).then(|| "up".into());
        Metric { name: name.into(), threshold_range, query, ..Default::default() }
    }

    fn check(metric: &Metric, measured: Measurement, expected: Option<&str>) {
        let mut canary = Canary::new("podinfo", Default::default());
        canary.spec.target_ref.name = "podinfo".into();
        let verdict = judge(&canary, "istio", metric, &measured);
        assert_eq!(verdict.as_ref().err().map(String::as_str), expected, "{metric:?} {measured:?}");
    }

    #[test]
    fn bounds_are_inclusive() {
        let rate = metric("request-success-rate", Some(99.0), None);
        check(&rate, Measurement::Value(99.0), None);
        check(&rate, Measurement::Value(98.5), Some("Halt podinfo.default advancement success rate 98.50% < 99%"));
        let duration = metric("request-duration", None, Some(500.0));
        check(&duration, Measurement::Value(500.0), None);
        check(
            &duration,
            Measurement::Value(501.0),
            Some("Halt podinfo.default advancement request duration 501ms > 500ms"),
        );
        check(
            &duration,
            Measurement::Value(1500.0),
            Some("Halt podinfo.default advancement request duration 1.5s > 500ms"),
        );
        let own = metric("errors", Some(1.0), Some(5.5));
        check(&own, Measurement::Value(12.344), Some("Halt podinfo.default advancement errors 12.34 > 5.5"));
        check(&own, Measurement::Value(0.0), Some("Halt podinfo.default advancement errors 0.00 < 1"));
        check(&own, Measurement::Value(f64::INFINITY), Some("Halt podinfo.default advancement errors +Inf > 5.5"));
        check(&own, Measurement::Value(f64::NEG_INFINITY), Some("Halt podinfo.default advancement errors -Inf < 1"));
        let text = "Halt podinfo.default advancement success rate -Inf% < 99%";
        check(&rate, Measurement::Value(f64::NEG_INFINITY), Some(text));
    }

    #[test]
    fn without_bounds_zero_is_the_bound() {
        let bare = |name: &str| Metric { name: name.into(), ..Default::default() };
        check(&bare("request-success-rate"), Measurement::Value(0.0), None);
        check(
            &bare("request-duration"),
            Measurement::Value(1.0),
            Some("Halt podinfo.default advancement request duration 1ms > 0s"),
        );
    }

    #[test]
    fn silence_never_passes() {
        let open = metric("request-success-rate", None, None);
        let text = "Halt advancement no values found for istio metric request-success-rate probably podinfo.default is not receiving traffic: running query failed: no values found";
        check(&open, Measurement::NoData("no values found".into()), Some(text));
        check(&open, Measurement::Value(f64::NAN), Some(text));
        check(
            &metric("own", None, None),
            Measurement::NoData(String::new()),
            Some("Halt advancement no values found for metric: own"),
        );
        check(&metric("own", None, None), Measurement::Error("x".into()), Some("Prometheus query failed for own: x"));
    }

    #[test]
    fn numbers_print_as_go_prints_them() {
        for (value, text) in [
            (99.0, "99"),
            (0.5, "0.5"),
            (1e21, "1e+21"),
            (1.5e-5, "1.5e-05"),
            (1e20, "100000000000000000000"),
            (0.0, "0"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(milliseconds(0.9), "900µs");
        assert_eq!(milliseconds(-1.0), "-1ms");
    }
}
