//! Session affinity: the cookies that keep a user on the version seen first.

use api::flagger::{Canary, SessionAffinity};
use serde::Serialize;

use super::Given;

/// Letters in a cookie's value. Source: reference progressive-delivery.md, A.8.
const LETTERS: usize = 10;

/// The session cookies, each `name=value` or empty, under the names of the status fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cookies {
    /// Of the run under way.
    pub session_affinity_cookie: String,
    /// Of the primary.
    pub primary_session_affinity_cookie: String,
    /// Of the run before, to be taken back from browsers.
    pub previous_session_affinity_cookie: String,
}

impl Cookies {
    /// The cookies once the canary has that weight: made up when a run begins, given back when it ends.
    pub fn at(canary: &Canary, affinity: &SessionAffinity, weight: u32, random: u64) -> Self {
        let status = canary.status();
        let mut cookies = Self {
            session_affinity_cookie: status.session_affinity_cookie.clone(),
            primary_session_affinity_cookie: status.primary_session_affinity_cookie.clone(),
            previous_session_affinity_cookie: status.previous_session_affinity_cookie.clone(),
        };
        if weight == 0 {
            let ended = std::mem::take(&mut cookies.session_affinity_cookie);
            if !ended.is_empty() {
                cookies.previous_session_affinity_cookie = ended;
            }
            return cookies;
        }
        if cookies.session_affinity_cookie.is_empty() {
            cookies.session_affinity_cookie = format!("{}={}", affinity.cookie_name, letters(random));
        }
        if let Some(name) = primary_name(affinity)
            && cookies.primary_session_affinity_cookie.is_empty()
        {
            cookies.primary_session_affinity_cookie = format!("{name}={}", letters(!random));
        }
        cookies
    }
}

impl Cookies {
    /// The regular expressions by which rules for users with a cookie are told from others.
    pub fn patterns(canary: &Canary) -> Vec<String> {
        let status = canary.status();
        let cookies = [
            &status.session_affinity_cookie,
            &status.primary_session_affinity_cookie,
            &status.previous_session_affinity_cookie,
        ];
        cookies.into_iter().filter(|cookie| !cookie.is_empty()).map(|cookie| pattern(cookie)).collect()
    }
}

/// Name of the primary's cookie, if it has one.
pub fn primary_name(affinity: &SessionAffinity) -> Option<&str> {
    affinity.primary_cookie_name.as_deref().filter(|name| !name.is_empty())
}

/// The regular expression that finds a cookie in a `Cookie` header.
pub fn pattern(cookie: &str) -> String {
    let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
    format!(".*{name}.*{value}.*")
}

/// `Set-Cookie` of the canary.
pub fn set_canary(affinity: &SessionAffinity, cookie: &str) -> String {
    set(affinity, cookie, affinity.max_age())
}

/// `Set-Cookie` of the primary; it lasts for one interval, so that nobody misses the next step.
pub(super) fn set_primary(given: &Given<'_>, affinity: &SessionAffinity, cookie: &str) -> String {
    let interval = given.canary.analysis().interval(given.options.min_interval);
    set(affinity, cookie, i64::try_from(interval.as_secs().max(1)).unwrap_or(i64::MAX))
}

/// `Set-Cookie` that takes a cookie back.
pub fn remove(cookie: &str) -> String {
    format!("{cookie}; Max-Age=-1")
}

/// `Set-Cookie` with the attributes in the order of the reference.
fn set(affinity: &SessionAffinity, cookie: &str, max_age: i64) -> String {
    let value = |name: &str, value: &Option<String>| {
        value.as_deref().filter(|text| !text.is_empty()).map(|text| format!("{name}={text}"))
    };
    let flag = |name: &str, on: bool| on.then(|| name.to_owned());
    let attributes = [
        value("Domain", &affinity.domain),
        flag("HttpOnly", affinity.http_only),
        flag("Partitioned", affinity.partitioned),
        value("Path", &affinity.path),
        value("SameSite", &affinity.same_site),
        flag("Secure", affinity.secure),
    ];
    let first = format!("{cookie}; Max-Age={max_age}");
    attributes.into_iter().flatten().fold(first, |cookie, attribute| format!("{cookie}; {attribute}"))
}

/// Ten letters made of a random number (SplitMix64 spreads it).
fn letters(random: u64) -> String {
    let mut state = random;
    (0..LETTERS)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            char::from(b'a' + u8::try_from((mixed ^ (mixed >> 31)) % 26).unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::router::Options;

    #[test]
    fn attributes_follow_the_reference() {
        let affinity = SessionAffinity {
            cookie_name: "fc".into(),
            domain: Some("example.com".into()),
            path: Some("/app".into()),
            same_site: Some("Strict".into()),
            http_only: true,
            secure: true,
            partitioned: true,
            ..Default::default()
        };
        assert_eq!(
            set_canary(&affinity, "fc=x"),
            "fc=x; Max-Age=86400; Domain=example.com; HttpOnly; Partitioned; Path=/app; SameSite=Strict; Secure"
        );
    }

    #[test]
    fn the_cookie_of_the_primary_lasts_for_one_interval() {
        let max_age = |interval: &str, min_interval: u64| {
            let spec =
                json!({"analysis": {"interval": interval}, "targetRef": {"name": "podinfo"}, "service": {"port": 80}});
            let canary: Canary =
                serde_json::from_value(json!({"metadata": {"name": "podinfo"}, "spec": spec})).unwrap();
            let options = Options { min_interval: Duration::from_millis(min_interval), ..Options::default() };
            let given = Given { canary: &canary, options: &options, current: &[], random: 0 };
            set_primary(&given, &SessionAffinity::default(), "fp=x")
        };
        assert_eq!(max_age("1m", 10_000), "fp=x; Max-Age=60");
        assert_eq!(max_age("1s", 10_000), "fp=x; Max-Age=10", "what Flagger lets it be at least");
        assert_eq!(max_age("1s", 500), "fp=x; Max-Age=1");
        assert_eq!(max_age("500ms", 100), "fp=x; Max-Age=1", "a cookie of no time would be gone at once");
    }

    #[test]
    fn a_value_is_ten_letters_and_differs_from_run_to_run() {
        let (a, b) = (letters(1), letters(2));
        assert!(a.len() == LETTERS && a.bytes().all(|byte| byte.is_ascii_lowercase()), "{a}");
        assert_ne!(a, b);
    }
}
