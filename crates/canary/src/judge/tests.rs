//! Kayenta's own numbers: `tests/cases/canary/mannwhitney.jsonl`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    mann_whitney::{interval, normal_quantile, wilcoxon},
    samples::{self, NanStrategy, Outliers},
    score::{Grade, Judged, Zeroed, score},
    *,
};
use crate::cases;

/// A number; the text `NaN` is one.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn numbers(value: &Value) -> Vec<f64> {
    cases::list(value).iter().map(number).collect()
}

fn is_close(found: f64, expected: f64, tolerance: f64) -> bool {
    found.is_nan() && expected.is_nan() || (found - expected).abs() <= tolerance
}

fn direction(value: &Value) -> Direction {
    match value.as_str() {
        Some("increase") => Direction::Increase,
        Some("decrease") => Direction::Decrease,
        _ => Direction::Either,
    }
}

fn settings(case: &Value) -> Settings {
    let measure = match case["effectSizeMeasure"].as_str() {
        Some("cles") => Measure::Cles,
        _ => Measure::MeanRatio,
    };
    let mut effect = EffectSize::none(measure);
    let pair = |member: &str| case[member].as_array().map(|pair| (number(&pair[0]), number(&pair[1])));
    if let Some(pair) = pair("effectSizeThresholds") {
        (effect.allowed_decrease, effect.allowed_increase) = pair;
    }
    if let Some(pair) = pair("criticalThresholds") {
        (effect.critical_decrease, effect.critical_increase) = pair;
    }
    for (member, field) in [
        ("allowedIncrease", &mut effect.allowed_increase),
        ("allowedDecrease", &mut effect.allowed_decrease),
        ("criticalIncrease", &mut effect.critical_increase),
        ("criticalDecrease", &mut effect.critical_decrease),
    ] {
        *field = case[member].as_f64().unwrap_or(*field);
    }
    let outliers = match case["outliers"]["strategy"].as_str().or(case["outlierStrategy"].as_str()) {
        Some("remove") => Outliers::Remove(case["outlierFactor"].as_f64().unwrap_or(3.0)),
        _ => Outliers::Keep,
    };
    Settings {
        direction: direction(&case["direction"]),
        nan: if case["nanStrategy"] == "replace" { NanStrategy::Replace } else { NanStrategy::Remove },
        outliers,
        critical: case["critical"] == true,
        must_have_data: case["mustHaveData"] == true,
        effect,
        tolerance: case["tolerance"].as_f64().unwrap_or(0.25),
        confidence: case["confLevel"].as_f64().unwrap_or(0.98),
    }
}

fn check_classifier(case: &Value) -> Result<(), String> {
    let (canary, primary) = (numbers(&case["experiment"]), numbers(&case["control"]));
    let settings = settings(case);
    let verdict = classify(&canary, &primary, &settings);
    let expected = &case["expected"];
    let is_right = expected["classification"] == verdict.class.as_str()
        && expected.get("critical").is_none_or(|critical| *critical == verdict.critical)
        && expected.get("deviation").is_none_or(|ratio| is_close(verdict.ratio, number(ratio), 1e-6));
    let computed = &case["computed"];
    let found = interval(&canary, &primary, settings.confidence);
    let fits = computed["ciLow"].is_null()
        || found.is_some_and(|found| {
            [(found.low, "ciLow"), (found.high, "ciHigh"), (found.estimate, "estimate")]
                .iter()
                .all(|(value, member)| is_close(*value, number(&computed[*member]), 1e-6))
        });
    if is_right && fits { Ok(()) } else { Err(format!("{verdict:?} {found:?}")) }
}

fn check_intermediate(case: &Value) -> Result<(), String> {
    let (canary, primary) = (numbers(&case["experiment"]), numbers(&case["control"]));
    let (expected, limit) = (&case["expected"], normal_quantile(0.975));
    let z = |shift: &str, target: f64| wilcoxon(&canary, &primary, number(&expected[shift]), target);
    let found = interval(&canary, &primary, number(&case["confLevel"])).ok_or("no interval")?;
    let pairs = [
        (limit, "zLower"),
        (z("muMin", limit).unwrap(), "f_muMin_zLower"),
        (z("muMax", limit).unwrap(), "f_muMax_zLower"),
        (z("muMin", -limit).unwrap(), "f_muMin_zUpper"),
        (z("muMax", -limit).unwrap(), "f_muMax_zUpper"),
        (found.low, "ciLow_root_zLower"),
        (found.high, "ciHigh_root_zUpper"),
        (found.estimate, "estimate"),
    ];
    match pairs.iter().find(|(value, member)| !is_close(*value, number(&expected[*member]), 1e-9)) {
        None => Ok(()),
        Some((value, member)) => Err(format!("{member} is {value}")),
    }
}

fn check_interval(case: &Value) -> Result<(), String> {
    let found = interval(&numbers(&case["experiment"]), &numbers(&case["control"]), number(&case["confLevel"]));
    let found = found.ok_or("no interval")?;
    let tolerance = case["toleranceOnValues"].as_f64().unwrap_or(1e-6);
    let pairs = [(found.low, "ciLow"), (found.high, "ciHigh"), (found.estimate, "estimate")];
    let is_right = pairs.iter().all(|(value, member)| is_close(*value, number(&case["expected"][*member]), tolerance));
    if is_right { Ok(()) } else { Err(format!("{found:?}")) }
}

fn check_wilcoxon(case: &Value) -> Result<(), String> {
    let (canary, primary) = (numbers(&case["experiment"]), numbers(&case["control"]));
    for call in cases::list(&case["calls"]) {
        let found = wilcoxon(&canary, &primary, number(&call["mu"]), number(&call["quantile"])).unwrap_or(f64::NAN);
        if !is_close(found, number(&call["expected"]), number(&case["toleranceOnValues"])) {
            return Err(format!("{call}: {found}"));
        }
    }
    Ok(())
}

fn weights(case: &Value) -> BTreeMap<String, f64> {
    let members = case["groupWeights"].as_object().cloned().unwrap_or_default();
    members.iter().map(|(group, weight)| (group.clone(), number(weight))).collect()
}

fn groups(value: &Value) -> Vec<String> {
    cases::list(&value["groups"]).iter().filter_map(|group| group.as_str().map(str::to_owned)).collect()
}

fn check_score(case: &Value) -> Result<(), String> {
    let judged: Vec<_> = cases::list(&case["results"])
        .iter()
        .map(|result| {
            let class = [Class::Pass, Class::High, Class::Low, Class::Nodata, Class::NodataFail]
                .into_iter()
                .find(|class| result["classification"] == class.as_str())
                .expect("a class");
            let verdict = Verdict { class, critical: result["critical"] == true, ratio: 1.0 };
            Judged { verdict, groups: groups(result) }
        })
        .collect();
    check_outcome(case, &judged)
}

fn check_judge(case: &Value) -> Result<(), String> {
    let mut judged = Vec::new();
    for (metric, expected) in cases::list(&case["metrics"]).iter().zip(cases::list(&case["expected"]["results"])) {
        let mut given = metric.clone();
        for member in ["tolerance", "confLevel"] {
            given[member] = case[member].clone();
        }
        let verdict = classify(&numbers(&metric["experiment"]), &numbers(&metric["control"]), &settings(&given));
        let is_right = expected["classification"] == verdict.class.as_str()
            && expected["critical"] == verdict.critical
            && is_close(verdict.ratio, number(&expected["ratio"]), 1e-6);
        if !is_right {
            return Err(format!("{}: {verdict:?} instead of {expected}", metric["name"]));
        }
        judged.push(Judged { verdict, groups: groups(metric) });
    }
    check_outcome(case, &judged)
}

fn check_outcome(case: &Value, judged: &[Judged]) -> Result<(), String> {
    let found = score(judged, &weights(case));
    let expected = &case["expected"];
    let thresholds =
        (case["passThreshold"].as_f64().unwrap_or(95.0), case["marginalThreshold"].as_f64().unwrap_or(75.0));
    let grade = match found.grade(thresholds.0, thresholds.1) {
        Grade::Pass => "Pass",
        Grade::Marginal => "Marginal",
        Grade::Fail => "Fail",
    };
    let zeroed = found.zeroed.map(|zeroed| match zeroed {
        Zeroed::Critical => "critical",
        Zeroed::Nodata => "nodata",
    });
    let own = expected["groupScores"].as_object().cloned().unwrap_or_default();
    let is_right = is_close(found.summary, number(&expected["summaryScore"]), 0.005)
        && own.iter().all(|(group, score)| is_close(found.groups[group], number(score), 0.005))
        && expected.get("zeroedBecause").is_none_or(|because| because.as_str() == zeroed)
        && expected.get("classification").is_none_or(|class| class.as_str() == Some(grade));
    if is_right { Ok(()) } else { Err(format!("{found:?}")) }
}

fn check_statistics(case: &Value) -> Result<(), String> {
    let both = (numbers(&case["experiment"]), numbers(&case["control"]));
    let found = match case["function"].as_str() {
        Some("percentile-R7") => samples::percentile(&numbers(&case["data"]), number(&case["p"])),
        Some("meanRatio") => samples::effect(Measure::MeanRatio, &both.0, &both.1),
        Some("cles") => samples::effect(Measure::Cles, &both.0, &both.1),
        // Kayenta's own helpers, which the judge does not use.
        _ => return Ok(()),
    };
    let is_right = is_close(found, number(&case["expected"]), case["tol"].as_f64().unwrap_or(1e-9));
    if is_right { Ok(()) } else { Err(found.to_string()) }
}

fn check_transform(case: &Value) -> Result<(), String> {
    let data = numbers(&case["data"]);
    let found: Vec<Value> = match case["function"].as_str() {
        Some("removeNaN") => {
            samples::clean(&data, NanStrategy::Remove, Outliers::Keep).into_iter().map(Value::from).collect()
        }
        Some("replaceNaN") => {
            samples::clean(&data, NanStrategy::Replace, Outliers::Keep).into_iter().map(Value::from).collect()
        }
        Some("detect-IQR") => samples::outlying(&data, number(&case["factor"])).into_iter().map(Value::from).collect(),
        _ => return Ok(()),
    };
    if cases::list(&case["expected"]) == found { Ok(()) } else { Err(format!("{found:?}")) }
}

#[test]
fn the_judge_decides_as_kayenta_does() {
    let mut wrong = Vec::new();
    for case in cases::lines("canary/mannwhitney.jsonl") {
        let outcome = match case["suite"].as_str().unwrap() {
            "classifier" if case["classifier"] == "mann-whitney" => check_classifier(&case),
            "mann-whitney-intermediate" => check_intermediate(&case),
            "mann-whitney-ci" => check_interval(&case),
            "wilcoxon-diff" => check_wilcoxon(&case),
            "scorer" => check_score(&case),
            "judge" => check_judge(&case),
            "statistics" => check_statistics(&case),
            "transforms" => check_transform(&case),
            "z-quantile" => {
                let found = normal_quantile(number(&case["alphaHalf"]));
                let is_right = is_close(found, number(&case["expected"]), 1e-6);
                if is_right { Ok(()) } else { Err(found.to_string()) }
            }
            _ => Ok(()),
        };
        if let Err(problem) = outcome {
            wrong.push(format!("{} {}: {problem}", case["id"], case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_difference_below_the_floor_passes_however_certain() {
    let primary: Vec<f64> = (0..200).map(|place| 100.0 + f64::from(place % 20)).collect();
    let canary: Vec<f64> = primary.iter().map(|value| value * 1.08).collect();
    let judged = |effect| classify(&canary, &primary, &Settings { effect, ..Settings::default() }).class;
    assert_eq!(judged(EffectSize::none(Measure::MeanRatio)), Class::High);
    assert_eq!(judged(EffectSize::floor()), Class::Pass);
}
