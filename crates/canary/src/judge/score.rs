//! Many verdicts as one number. Source: reference progressive-delivery.md, I.1 steps 8 and 9.

use std::collections::BTreeMap;

use super::{Class, Verdict, samples::to_float};

/// A metric's verdict and the groups it counts in.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Names of groups.
    pub groups: Vec<String>,
}

/// Why a score is zero whatever the groups say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeroed {
    /// A critical metric failed.
    Critical,
    /// Half of the metrics or more have no data.
    Nodata,
}

/// What all metrics come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// By group, from 0 to 100.
    pub groups: BTreeMap<String, f64>,
    /// From 0 to 100, two decimals.
    pub summary: f64,
    /// Why the summary is zero whatever the groups say.
    pub zeroed: Option<Zeroed>,
}

/// What a score means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// At least the passing score.
    Pass,
    /// At least the marginal score.
    Marginal,
    /// Less.
    Fail,
}

impl Score {
    /// What the score means.
    pub fn grade(&self, pass: f64, marginal: f64) -> Grade {
        match self.summary {
            summary if summary >= pass => Grade::Pass,
            summary if summary >= marginal => Grade::Marginal,
            _ => Grade::Fail,
        }
    }
}

/// Weighs the groups by percent; those without a weight share what is left.
pub fn score(judged: &[Judged], weights: &BTreeMap<String, f64>) -> Score {
    let mut members: BTreeMap<String, Vec<Class>> = BTreeMap::new();
    for one in judged {
        for group in &one.groups {
            members.entry(group.clone()).or_default().push(one.verdict.class);
        }
    }
    let unweighed = members.keys().filter(|group| !weights.contains_key(*group)).count();
    let left = (100.0 - weights.values().sum::<f64>()).max(0.0) / to_float(unweighed.max(1));
    let weight = |group: &str| weights.get(group).copied().unwrap_or(left);
    let (mut groups, mut sum) = (BTreeMap::new(), 0.0);
    for (group, classes) in &members {
        let counted = classes.iter().filter(|class| **class != Class::Nodata).count();
        let passed = classes.iter().filter(|class| **class == Class::Pass).count();
        let own = if counted == 0 { 0.0 } else { 100.0 * to_float(passed) / to_float(counted) };
        sum += weight(group) * if counted == 0 { 100.0 } else { own } / 100.0;
        groups.insert(group.clone(), own);
    }
    let silent = judged.iter().filter(|one| one.verdict.class == Class::Nodata).count();
    let zeroed = if judged.iter().any(|one| one.verdict.critical && one.verdict.class != Class::Pass) {
        Some(Zeroed::Critical)
    } else if !judged.is_empty() && 2 * silent >= judged.len() {
        Some(Zeroed::Nodata)
    } else {
        None
    };
    let summary = if zeroed.is_some() { 0.0 } else { (sum * 100.0).round() / 100.0 };
    Score { groups, summary, zeroed }
}
