//! Rules beyond Flux's, in annotations of an ImagePolicy, so that Flux's schema stays untouched. They bar tags that the
//! policy accepts; the next best one is taken meanwhile.
//!
//! Differs: Flux has none of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use api::image::{SIGNATURE, Verification};
use jiff::Timestamp;

use crate::{Candidate, Error, Pattern, Policy, Selection, Verdict};

/// The only tag that may be chosen.
pub const PIN: &str = "slipway.dev/pin";
/// Tags that may not be chosen, separated by commas: a failed rollout holds its tag back by this.
pub const HOLD: &str = "slipway.dev/hold";
/// How long a tag must have been in the registry.
pub const MINIMUM_AGE: &str = "slipway.dev/minimum-age";
/// `true`: nothing below what was chosen before.
pub const NO_DOWNGRADE: &str = "slipway.dev/no-downgrade";
/// Platforms that the image must have, such as `linux/amd64,linux/arm64`.
pub const PLATFORMS: &str = "slipway.dev/platforms";
/// Order by calendar version in the place of the spec's, such as `YYYY.0M.MICRO`.
pub const CALVER: &str = "slipway.dev/calver";
/// `newest`: of the tags that the policy accepts, the one whose image was built last.
pub const CREATED: &str = "slipway.dev/created";
/// All of them.
pub const RULES: [&str; 8] = [PIN, HOLD, MINIMUM_AGE, NO_DOWNGRADE, PLATFORMS, CALVER, CREATED, SIGNATURE];

/// The rules of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pin: Option<String>,
    hold: Vec<String>,
    minimum_age: Option<Duration>,
    no_downgrade: bool,
    platforms: Vec<String>,
    newest: bool,
    signature: Option<Verification>,
}

/// An annotation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation}: {problem}")]
pub struct InvalidRule {
    /// Its name.
    pub annotation: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What is known of the tags.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// The time.
    pub now: Timestamp,
    /// The tag that was chosen before.
    pub current: Option<&'a str>,
    /// When tags were first seen. One that is missing is as old as anything.
    pub first_seen: HashMap<&'a str, Timestamp>,
    /// Platforms of tags, as far as they were asked for.
    pub platforms: HashMap<String, Vec<String>>,
    /// When images were built, as far as they were asked for; none where the image does not say.
    pub created: HashMap<String, Option<Timestamp>>,
    /// The digest that was proven to be signed, or why the tag is not, as far as they were asked for.
    pub signatures: HashMap<String, Result<String, String>>,
}

/// What must be known before a choice can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The platforms of this tag.
    Platforms(String),
    /// When the image of this tag was built.
    Created(String),
    /// Whether the image of this tag is signed.
    Signature(String),
}

/// Why a tag that fits may not be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Another tag is pinned.
    Pinned(String),
    /// It is held back.
    Held,
    /// It has not been there for long enough; it will have been at this time.
    TooYoung(Timestamp),
    /// It is below this one, which was chosen before.
    Downgrade(String),
    /// The image lacks these platforms.
    Lacks(Vec<String>),
    /// The image does not say when it was built.
    Undated,
    /// No signature counts, for this reason.
    Unsigned(String),
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(tag) => write!(f, "{tag} is pinned by {PIN}"),
            Self::Held => write!(f, "held back by {HOLD}"),
            Self::TooYoung(until) => write!(f, "younger than {MINIMUM_AGE} until {until}"),
            Self::Downgrade(current) => write!(f, "below {current}, which {NO_DOWNGRADE} keeps"),
            Self::Lacks(platforms) => write!(f, "the image lacks {}", platforms.join(", ")),
            Self::Unsigned(why) => write!(f, "not signed as {SIGNATURE} asks for: {why}"),
            Self::Undated => write!(f, "the image does not say when it was built, which {CREATED} asks for"),
        }
    }
}

impl Rules {
    /// Reads the annotations of a policy.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, InvalidRule> {
        let mut rules = Self::default();
        for (annotation, value) in annotations {
            let problem = |problem: String| InvalidRule { annotation: annotation.clone(), problem };
            match annotation.as_str() {
                PIN => rules.pin = Some(value.trim().to_owned()).filter(|tag| !tag.is_empty()),
                HOLD => rules.hold = list(value),
                PLATFORMS => {
                    rules.platforms = list(value);
                    if let Some(wrong) = rules.platforms.iter().find(|platform| !is_platform(platform)) {
                        return Err(problem(format!("{wrong:?} is not OS/ARCHITECTURE")));
                    }
                }
                MINIMUM_AGE => {
                    let age = value.trim().parse::<api::Duration>().map_err(|error| problem(error.to_string()))?;
                    rules.minimum_age = Some(age.get()).filter(|age| !age.is_zero());
                }
                CREATED => match value.trim() {
                    "newest" => rules.newest = true,
                    _ => return Err(problem(format!("{value:?} is not newest"))),
                },
                SIGNATURE => rules.signature = verification(annotations).map_err(problem)?,
                NO_DOWNGRADE => {
                    let parsed =
                        value.trim().parse().map_err(|_| problem(format!("{value:?} is neither true nor false")));
                    rules.no_downgrade = parsed?;
                }
                // Others mark objects too.
                _ => {}
            }
        }
        Ok(rules)
    }

    /// Whether nothing is barred.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The rules that need no registry.
    #[must_use]
    pub fn offline(self) -> Self {
        Self { platforms: Vec::new(), newest: false, signature: None, ..self }
    }

    /// Whose signature is asked for.
    pub fn signature(&self) -> Option<&Verification> {
        self.signature.as_ref()
    }

    /// Bars candidates, and lets the best of the others be the choice. Returns what must be known first; with it among the
    /// facts it is called again.
    pub fn apply(&self, policy: &Policy, selection: &mut Selection<'_>, facts: &Facts<'_>) -> Option<Unknown> {
        if selection.error.is_some() {
            return None;
        }
        if let Some(undated) = self.order(policy, selection, facts) {
            return Some(Unknown::Created(undated));
        }
        let mut unknown = None;
        let mut is_settled = false;
        for candidate in &mut selection.candidates {
            if candidate.verdict != Verdict::Accepted {
                continue;
            }
            let value = candidate.value.as_deref().unwrap_or_default();
            let mut bar = self.bar(policy, candidate.tag, value, facts);
            // The registry is asked about the best tags only, until one of them may be chosen.
            if bar.is_none() && !is_settled && unknown.is_none() {
                match self.proven(candidate.tag, facts) {
                    Err(question) => unknown = Some(question),
                    Ok(None) => is_settled = true,
                    Ok(found) => bar = found,
                }
            }
            if let Some(bar) = bar {
                candidate.verdict = Verdict::Barred(bar);
            }
        }
        // Accepted ones first; both parts keep their order.
        selection.candidates.sort_by_key(|candidate| match candidate.verdict {
            Verdict::Accepted => 0,
            Verdict::Barred(_) => 1,
            _ => 2,
        });
        if selection.accepted() == 0 {
            selection.error = Some(Error::AllBarred);
        }
        unknown
    }

    /// Puts what was built last first, where that is asked for. Returns a tag of which the time must be known first.
    fn order(&self, policy: &Policy, selection: &mut Selection<'_>, facts: &Facts<'_>) -> Option<String> {
        if !self.newest {
            return None;
        }
        let accepted = selection.accepted();
        for candidate in &mut selection.candidates[..accepted] {
            let value = candidate.value.as_deref().unwrap_or_default();
            if self.bar(policy, candidate.tag, value, facts).is_some() {
                continue;
            }
            match facts.created.get(candidate.tag) {
                None => return Some(candidate.tag.to_owned()),
                Some(None) => candidate.verdict = Verdict::Barred(Bar::Undated),
                Some(Some(_)) => {}
            }
        }
        // Built at the same moment, they keep the policy's order.
        selection.candidates[..accepted]
            .sort_by_key(|candidate| Reverse(facts.created.get(candidate.tag).copied().flatten()));
        None
    }

    /// Why the tag may not be chosen, as far as it can be told without the registry.
    fn bar(&self, policy: &Policy, tag: &str, value: &str, facts: &Facts<'_>) -> Option<Bar> {
        if let Some(pin) = self.pin.as_ref().filter(|pin| *pin != tag) {
            return Some(Bar::Pinned(pin.clone()));
        }
        if self.hold.iter().any(|held| held == tag) {
            return Some(Bar::Held);
        }
        let current = facts.current.filter(|_| self.no_downgrade);
        if let Some(current) = current.filter(|current| policy.is_worse(value, current)) {
            return Some(Bar::Downgrade(current.to_owned()));
        }
        // What is chosen already stays chosen.
        let age = self.minimum_age.filter(|_| facts.current != Some(tag))?;
        let seen = facts.first_seen.get(tag)?;
        let until = seen.checked_add(age).unwrap_or(Timestamp::MAX);
        (until > facts.now).then_some(Bar::TooYoung(until))
    }

    /// Why the registry's answers about the tag bar it, or what the registry must be asked first.
    fn proven(&self, tag: &str, facts: &Facts<'_>) -> Result<Option<Bar>, Unknown> {
        let lacking = self.lacking(tag, facts).ok_or_else(|| Unknown::Platforms(tag.to_owned()))?;
        if !lacking.is_empty() {
            return Ok(Some(Bar::Lacks(lacking)));
        }
        match (&self.signature, facts.signatures.get(tag)) {
            (None, _) | (Some(_), Some(Ok(_))) => Ok(None),
            (Some(_), Some(Err(why))) => Ok(Some(Bar::Unsigned(why.clone()))),
            (Some(_), None) => Err(Unknown::Signature(tag.to_owned())),
        }
    }

    /// Platforms that are wanted and missing; `None` if those of the tag are not known.
    fn lacking(&self, tag: &str, facts: &Facts<'_>) -> Option<Vec<String>> {
        if self.platforms.is_empty() {
            return Some(Vec::new());
        }
        let present = facts.platforms.get(tag)?;
        // `linux/arm64` asks for any variant.
        let has = |wanted: &str| present.iter().any(|one| one == wanted || one.starts_with(&format!("{wanted}/")));
        Some(self.platforms.iter().filter(|wanted| !has(wanted)).cloned().collect())
    }
}

impl Selection<'_> {
    /// The best candidate that fits and is barred: what people ask about first.
    pub fn best_barred(&self) -> Option<(&Candidate<'_>, &Bar)> {
        self.candidates.iter().find_map(|candidate| match &candidate.verdict {
            Verdict::Barred(bar) => Some((candidate, bar)),
            _ => None,
        })
    }

    /// Whether a better tag waits for a signature, which may come after the image.
    pub fn awaits_signature(&self) -> bool {
        self.candidates.iter().any(|candidate| matches!(candidate.verdict, Verdict::Barred(Bar::Unsigned(_))))
    }

    /// When the first of the barred tags will be old enough.
    pub fn next_grown(&self) -> Option<Timestamp> {
        let grown = self.candidates.iter().filter_map(|candidate| match candidate.verdict {
            Verdict::Barred(Bar::TooYoung(until)) => Some(until),
            _ => None,
        });
        grown.min()
    }
}

/// The items of a list separated by commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Whose signature is asked for; the patterns are tried, so that a wrong one is the policy's fault and not an image's.
fn verification(annotations: &BTreeMap<String, String>) -> Result<Option<Verification>, String> {
    let verification = Verification::read(annotations)?;
    for identity in verification.iter().flat_map(|one| &one.match_oidc_identity) {
        for pattern in [&identity.issuer, &identity.subject] {
            Pattern::new(pattern).map_err(|error| format!("matchOIDCIdentity: {error}"))?;
        }
    }
    Ok(verification)
}

fn is_platform(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(annotations: &[(&str, &str)]) -> Result<Rules, InvalidRule> {
        Rules::parse(&annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// The choice among 1.0.0 to 1.3.0, and why the better ones were not chosen.
    fn outcome(annotations: &[(&str, &str)], facts: &Facts<'_>) -> (Option<String>, Vec<(String, String)>) {
        let spec = json!({"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": "1.x"}}});
        let policy = Policy::new(&serde_json::from_value(spec).expect("a spec")).expect("a policy");
        let mut selection = policy.select(&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "2.0.0"]);
        let asked = rules(annotations).expect("rules").apply(&policy, &mut selection, facts);
        assert_eq!(asked, None, "{annotations:?}");
        let barred = selection.candidates.iter().filter_map(|one| match &one.verdict {
            Verdict::Barred(bar) => Some((one.tag.to_owned(), bar.to_string())),
            _ => None,
        });
        (selection.latest().map(|latest| latest.tag.to_owned()), barred.collect())
    }

    fn chosen(annotations: &[(&str, &str)], facts: &Facts<'_>) -> Option<String> {
        outcome(annotations, facts).0
    }

    #[test]
    fn tags_can_be_pinned_and_held_back() {
        let facts = Facts::default();
        assert_eq!(chosen(&[], &facts).as_deref(), Some("1.3.0"));
        let (tag, barred) = outcome(&[(HOLD, "1.3.0, 9.9.9")], &facts);
        assert_eq!(tag.as_deref(), Some("1.2.0"));
        assert_eq!(barred, [("1.3.0".to_owned(), "held back by slipway.dev/hold".to_owned())]);
        assert_eq!(chosen(&[(PIN, "1.1.0")], &facts).as_deref(), Some("1.1.0"));
        let (tag, barred) = outcome(&[(PIN, "2.0.0")], &facts);
        assert_eq!((tag, barred.len()), (None, 4), "a pinned tag must still fit");
    }

    #[test]
    fn a_tag_must_have_its_age() {
        let facts =
            Facts { now: at(1000), first_seen: [("1.3.0", at(950)), ("1.2.0", at(900))].into(), ..Facts::default() };
        assert_eq!(chosen(&[(MINIMUM_AGE, "2m")], &facts).as_deref(), Some("1.1.0"), "1.1.0 was there at first");
        assert_eq!(chosen(&[(MINIMUM_AGE, "100s")], &facts).as_deref(), Some("1.2.0"));
        assert_eq!(chosen(&[(MINIMUM_AGE, "0s")], &facts).as_deref(), Some("1.3.0"));
        let current = Facts { current: Some("1.3.0"), ..facts };
        assert_eq!(chosen(&[(MINIMUM_AGE, "1h")], &current).as_deref(), Some("1.3.0"));
    }

    #[test]
    fn nothing_below_the_current_tag_is_chosen_unless_it_is_released() {
        let facts = Facts { current: Some("1.2.5"), ..Facts::default() };
        let (tag, barred) = outcome(&[(NO_DOWNGRADE, "true"), (HOLD, "1.3.0")], &facts);
        assert_eq!((tag, barred.len()), (None, 4));
        assert_eq!(barred[1].1, "below 1.2.5, which slipway.dev/no-downgrade keeps");
        assert_eq!(chosen(&[(NO_DOWNGRADE, "false"), (HOLD, "1.3.0")], &facts).as_deref(), Some("1.2.0"));
    }

    #[test]
    fn platforms_are_asked_for_until_one_tag_has_them() {
        let spec = json!({"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": "1.x"}}});
        let policy = Policy::new(&serde_json::from_value(spec).expect("a spec")).expect("a policy");
        let rules = rules(&[(PLATFORMS, "linux/amd64,linux/arm64")]).expect("rules");
        let mut facts = Facts::default();
        let mut asked = Vec::new();
        let selection = loop {
            let mut selection = policy.select(&["1.0.0", "1.1.0", "1.2.0"]);
            let Some(Unknown::Platforms(tag)) = rules.apply(&policy, &mut selection, &facts) else { break selection };
            let arm = if tag == "1.1.0" { "linux/arm64/v8" } else { "linux/s390x" };
            facts.platforms.insert(tag.clone(), vec!["linux/amd64".into(), arm.into()]);
            asked.push(tag);
        };
        assert_eq!(asked, ["1.2.0", "1.1.0"]);
        assert_eq!(selection.latest().map(|latest| latest.tag), Some("1.1.0"));
        assert_eq!(
            selection.best_barred().map(|(one, bar)| format!("{}: {bar}", one.tag)).as_deref(),
            Some("1.2.0: the image lacks linux/arm64")
        );
    }

    #[test]
    fn the_image_that_was_built_last_wins() {
        let spec = json!({"imageRepositoryRef": {"name": "a"}, "policy": {"semver": {"range": "1.x"}}});
        let policy = Policy::new(&serde_json::from_value(spec).expect("a spec")).expect("a policy");
        let rules = rules(&[(CREATED, "newest"), (HOLD, "1.3.0")]).expect("rules");
        let built =
            HashMap::from([("1.0.0", Some(at(7))), ("1.1.0", Some(at(9))), ("1.2.0", None), ("1.4.0", Some(at(9)))]);
        let mut facts = Facts::default();
        let mut asked = Vec::new();
        let selection = loop {
            let mut selection = policy.select(&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "2.0.0"]);
            let Some(unknown) = rules.apply(&policy, &mut selection, &facts) else { break selection };
            let Unknown::Created(tag) = unknown else { panic!("{unknown:?}") };
            facts.created.insert(tag.clone(), built[tag.as_str()]);
            asked.push(tag);
        };
        assert_eq!(asked, ["1.4.0", "1.2.0", "1.1.0", "1.0.0"], "what is barred or does not fit is not asked for");
        let order: Vec<_> =
            selection.candidates.iter().map(|one| (one.tag, one.verdict == Verdict::Accepted)).collect();
        assert_eq!(order[..3], [("1.4.0", true), ("1.1.0", true), ("1.0.0", true)]);
        let undated = selection.candidates.iter().find(|one| one.tag == "1.2.0").map(|one| one.verdict.clone());
        assert_eq!(undated, Some(Verdict::Barred(Bar::Undated)));
    }

    #[test]
    fn annotations_that_cannot_be_read_are_named() {
        for (name, value, problem) in [
            (MINIMUM_AGE, "1y", "annotation slipway.dev/minimum-age: invalid duration"),
            (NO_DOWNGRADE, "yes", "annotation slipway.dev/no-downgrade: \"yes\" is neither true nor false"),
            (CREATED, "latest", "annotation slipway.dev/created: \"latest\" is not newest"),
            (PLATFORMS, "linux", "annotation slipway.dev/platforms: \"linux\" is not OS/ARCHITECTURE"),
        ] {
            let error = rules(&[(name, value)]).expect_err(name).to_string();
            assert!(error.starts_with(problem), "{error}");
        }
        assert!(rules(&[("example.com/a", "b"), (PIN, "")]).expect("rules").is_empty());
    }
}
