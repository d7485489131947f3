//! Canaries: what could never work, what does nothing, and which of them would fight.

use api::manifest::typed;
use canary::{lint, router};

use super::{Complaint, Subject};

/// What is wrong with a Canary beyond its schema.
pub fn check(subject: &Subject<'_>) -> Vec<Complaint> {
    let Ok(canary) = typed(subject.object) else { return Vec::new() };
    let options = router::Options { mesh_provider: subject.mesh_provider.to_owned(), ..Default::default() };
    let found = lint::lint(&canary, &options, subject.around).into_iter();
    found
        .map(|lint::Finding { is_error, field, message }| match is_error {
            true => Complaint::error(field, message),
            false => Complaint::warning(field, message),
        })
        .collect()
}
