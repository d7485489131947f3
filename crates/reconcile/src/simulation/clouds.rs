//! Clouds that answer by host and path, in the place of the network that tests do not have.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{Http, Identities};

/// Identities in an environment of these variables, and how often the network was asked. Answers go by host and path;
/// whatever else is asked for is not found.
pub fn identities(
    answers: &'static [(&'static str, &'static str)],
    variables: &'static [(&'static str, &'static str)],
) -> (Identities, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let http = Http::to_handler(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        let place = format!("{}{}", request.uri().host().unwrap_or_default(), request.uri().path());
        let answer = answers.iter().find(|(known, _)| *known == place).map_or("", |(_, answer)| answer);
        let status = if answer.is_empty() { 404 } else { 200 };
        async move {
            Ok(http::Response::builder().status(status).body(answer.into()).expect("because the status is a valid one"))
        }
    });
    let variable =
        move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    (Identities::in_environment(http, variable), asked)
}
