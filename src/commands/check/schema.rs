//! What the API server would refuse or drop by the schema of the kind, beyond what the types tell.

use api::crd;

use super::{Complaint, Subject};

/// What the schema says about the spec, but for fields that were complained about already.
pub fn check(subject: &Subject<'_>, found: &[Complaint]) -> Vec<Complaint> {
    // The type and the schema write the places in lists differently.
    let plain = |field: &str| field.replace('[', ".").replace(']', "");
    let is_new =
        |problem: &crd::Problem| !found.iter().any(|complaint| plain(&complaint.field) == plain(&problem.field));
    let is_asked = |problem: &crd::Problem| problem.field.starts_with("spec") || problem.field == "apiVersion";
    let problems = crd::problems(subject.object).into_iter().filter(is_asked);
    problems
        .filter(is_new)
        .map(|problem| match problem.is_refused {
            true => Complaint::error(problem.field, problem.message),
            false => Complaint::warning(problem.field, problem.message),
        })
        .collect()
}
