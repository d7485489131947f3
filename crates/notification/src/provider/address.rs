//! Where a Provider's service is: which forms of address each takes. Pure.

use super::{Service, azureeventhub};
use crate::Error;

/// Longest address that is taken.
const MAX_BYTES: usize = 2048;
/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com";
/// Where bots of Telegram are spoken to.
const TELEGRAM: &str = "https://api.telegram.org";

/// The address, checked.
///
/// Differs: a `pagerduty` Provider without one means PagerDuty's own; Flux refuses it and the event is lost.
pub fn of(service: Service, given: String) -> Result<String, Error> {
    let address = match (service, given.as_str()) {
        (Service::Pagerduty, "") => PAGERDUTY.to_owned(),
        // Bots have one address; another one is for tests and for proxies.
        (Service::Telegram, "") => TELEGRAM.to_owned(),
        _ => given,
    };
    let invalid = |what: &str| Err(Error::Invalid(format!("the address is not {what} of at most {MAX_BYTES} bytes")));
    let is_name = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        !text.is_empty() && text.chars().all(is_plain)
    };
    let is_short = address.len() <= MAX_BYTES;
    match service {
        Service::Googlepubsub if !is_short || !is_name(&address) => invalid("the name of a project"),
        Service::Azureeventhub if !is_short || !(azureeventhub::is_connection(&address) || is_name(&address)) => {
            invalid("a connection string or the name of an event hub")
        }
        Service::Nats if !is_short || address.is_empty() => invalid("a list of servers"),
        Service::Googlepubsub | Service::Azureeventhub | Service::Nats => Ok(address),
        _ if !is_short || !is_url(service, &address) => invalid("an http or https URL"),
        _ => Ok(address),
    }
}

fn is_url(service: Service, address: &str) -> bool {
    let parsed = url::Url::parse(address).ok().filter(url::Url::has_host);
    let is_known = parsed.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https") || (service.is_git() && matches!(url.scheme(), "ssh" | "git"))
    });
    // `git@host:owner/repository`, as Git's own tools write it.
    let is_short = service.is_git() && !address.contains("://") && address.contains('@') && address.contains(':');
    is_known || is_short
}
