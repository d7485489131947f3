//! Functions and aggregations of Prometheus. Source: Prometheus 3, `promql/parser/functions.go`.

use super::Kind;

/// What a function takes and gives.
pub(super) struct Signature {
    /// Kinds of its arguments; the last one stands for further ones.
    pub(super) takes: Vec<Kind>,
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) gives: Kind,
}

/// Functions by what they take: `v` an instant vector, `r` a range vector, `s` a number, `t` a text; `?` an argument that
/// may be missing, `*` any number of them.
const FUNCTIONS: &[(&str, &str)] = &[
    (
        "v",
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count \
         histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad scalar sgn sin sinh sort sort_desc sqrt tan tanh \
         timestamp",
    ),
    (
        "r",
        "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate \
         last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time \
         stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
    ),
    ("v?", "day_of_month day_of_week day_of_year days_in_month hour minute month year"),
    ("vs", "clamp_max clamp_min"),
    ("vss", "clamp"),
    ("vs?", "round"),
    ("rs", "predict_linear"),
    ("rss", "double_exponential_smoothing holt_winters"),
    ("sr", "quantile_over_time"),
    ("sv", "histogram_quantile"),
    ("ssv", "histogram_fraction"),
    ("vtttt", "label_replace"),
    ("vttt*", "label_join"),
    ("vt*", "sort_by_label sort_by_label_desc"),
    ("vv?", "info"),
    ("s", "vector"),
    ("", "pi time"),
];

/// Functions that give a number.
const NUMBERS: [&str; 3] = ["pi", "scalar", "time"];

/// The function of a name, in the capitals that it has.
pub(super) fn function(name: &str) -> Option<Signature> {
    let (takes, _) = FUNCTIONS.iter().find(|(_, names)| names.split(' ').any(|known| known == name))?;
    let kinds: Vec<Kind> = takes.chars().filter_map(kind).collect();
    let (least, most) = match takes.chars().last() {
        Some('?') => (kinds.len() - 1, kinds.len()),
        Some('*') => (kinds.len() - 1, usize::MAX),
        _ => (kinds.len(), kinds.len()),
    };
    let gives = if NUMBERS.contains(&name) { Kind::Scalar } else { Kind::Vector };
    Some(Signature { takes: kinds, least, most, gives })
}

fn kind(letter: char) -> Option<Kind> {
    match letter {
        'v' => Some(Kind::Vector),
        'r' => Some(Kind::Range),
        's' => Some(Kind::Scalar),
        't' => Some(Kind::Text),
        _ => None,
    }
}

/// Whether the name, in capitals or not, is an aggregation's, and what that takes before the vector.
pub(super) fn aggregation(name: &str) -> Option<Option<Kind>> {
    match name.to_ascii_lowercase().as_str() {
        "sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar" => Some(None),
        "topk" | "bottomk" | "quantile" | "limitk" | "limit_ratio" => Some(Some(Kind::Scalar)),
        "count_values" => Some(Some(Kind::Text)),
        _ => None,
    }
}
