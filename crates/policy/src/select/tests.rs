//! The choice among tags.

use api::image::{self, ImagePolicySpec, OrderPolicy, PolicyChoice, SemVerPolicy, TagFilter};
use proptest::prelude::*;

use super::*;

fn semver(range: &str) -> ImagePolicySpec {
    let semver = Some(SemVerPolicy { range: range.into() });
    ImagePolicySpec { policy: PolicyChoice { semver, ..Default::default() }, ..Default::default() }
}

fn alphabetical(order: image::Order) -> ImagePolicySpec {
    let alphabetical = Some(OrderPolicy { order });
    ImagePolicySpec { policy: PolicyChoice { alphabetical, ..Default::default() }, ..Default::default() }
}

fn numerical(order: image::Order) -> ImagePolicySpec {
    let numerical = Some(OrderPolicy { order });
    ImagePolicySpec { policy: PolicyChoice { numerical, ..Default::default() }, ..Default::default() }
}

fn filtering(mut spec: ImagePolicySpec, pattern: &str, extract: &str) -> ImagePolicySpec {
    spec.filter_tags = Some(TagFilter { pattern: pattern.into(), extract: extract.into() });
    spec
}

/// The chosen tag, or the text of the error; both ways to choose must agree.
fn chosen(spec: &ImagePolicySpec, tags: &[&str]) -> Result<String, String> {
    let policy = Policy::new(spec).map_err(|error| error.to_string())?;
    let selection = policy.select(tags);
    let latest = selection.latest().map(|candidate| candidate.tag.to_owned());
    assert_eq!(latest, policy.latest(tags).ok().map(str::to_owned), "{spec:?} on {tags:?}");
    latest.ok_or_else(|| selection.error.expect("an error without a choice").to_string())
}

#[test]
fn the_first_of_equal_versions_in_byte_order_wins() {
    assert_eq!(chosen(&semver("1.x"), &["1.0.0", "v1.0.0"]).as_deref(), Ok("v1.0.0"));
    assert_eq!(chosen(&semver("1.x"), &["1.0.0+a", "1.0.0+b", "0.9.0"]).as_deref(), Ok("1.0.0+b"));
}

#[test]
fn the_last_of_equal_numbers_wins_in_both_directions() {
    for order in [image::Order::Asc, image::Order::Desc] {
        assert_eq!(chosen(&numerical(order), &["1", "01", "1.0"]).as_deref(), Ok("01"));
    }
}

#[test]
fn long_numbers_do_not_collapse() {
    let tags = ["20240101120000001", "20240101120000003", "20240101120000002"];
    assert_eq!(chosen(&numerical(image::Order::Asc), &tags).as_deref(), Ok("20240101120000003"));
}

#[test]
fn one_text_that_is_no_number_fails_the_policy() {
    let error = chosen(&numerical(image::Order::Asc), &["1", "latest", "2"]);
    assert_eq!(error, Err("failed to parse invalid numeric value 'latest'".into()));
    let tags = ["nan", "1"];
    assert_eq!(chosen(&numerical(image::Order::Asc), &tags).as_deref(), Ok("1"));
}

#[test]
fn the_least_tag_stands_for_those_that_extract_alike() {
    let spec = filtering(semver("*"), "^[a-z]+-(.*)$", "$1");
    assert_eq!(chosen(&spec, &["b-1.0.0", "a-1.0.0"]).as_deref(), Ok("a-1.0.0"));
    let selection = select(&spec, &["b-1.0.0", "a-1.0.0", "c"]).expect("a policy");
    let verdicts: Vec<_> = selection.candidates.iter().map(|candidate| candidate.verdict.clone()).collect();
    assert_eq!(verdicts, [Verdict::Accepted, Verdict::PatternMismatch, Verdict::SameValue("a-1.0.0")]);
}

#[test]
fn nothing_left_and_nothing_fitting_are_told_apart() {
    let empty = Err("version list argument cannot be empty".into());
    assert_eq!(chosen(&semver("*"), &[]), empty);
    assert_eq!(chosen(&filtering(semver("*"), "^x", ""), &["1.0.0"]), empty);
    assert_eq!(chosen(&semver("2"), &["1.0.0"]), Err("unable to determine latest version from provided list".into()));
}

#[test]
fn invalid_policies_say_so() {
    let none = ImagePolicySpec::default();
    assert_eq!(chosen(&none, &["1"]), Err("given ImagePolicyChoice object is invalid".into()));
    let order = alphabetical(image::Order::Unknown("up".into()));
    assert_eq!(chosen(&order, &["1"]), Err("invalid order argument provided: 'UP', must be one of: ASC, DESC".into()));
    assert!(Policy::new(&filtering(semver("*"), "(", "")).is_err_and(|error| error.is_invalid_policy()));
}

#[test]
fn every_tag_is_accounted_for_best_first() {
    let tags = ["latest", "1.0.0", "2.0.0", "1.10.0", "1.9.0", "1.9.0"];
    let policy = Policy::new(&semver("1.x")).expect("a policy");
    let selection = policy.select(&tags);
    let told: Vec<_> = selection.candidates.iter().map(|one| (one.tag, policy.reason(one))).collect();
    assert_eq!(
        told,
        [
            ("1.10.0", None),
            ("1.9.0", None),
            ("1.0.0", None),
            ("latest", Some("not a semantic version: a tag needs all three fields, as in 1.2.3".into())),
            ("2.0.0", Some("\"2.0.0\" does not have same major version as \"1.x\"".into())),
        ]
    );
    assert_eq!(policy.summary(&selection), "highest of 3 versions in the range 1.x");
    let one = policy.select(&["1.0.0", "2.0.0"]);
    assert_eq!(policy.summary(&one), "the only version in the range 1.x");
}

proptest! {
    #[test]
    fn both_ways_to_choose_agree_whatever_the_order(
        mut tags in prop::collection::vec("v?[0-2](\\.[0-2]){0,2}(-[0a])?|nan|[a-c]-[0-2]\\.0\\.[01]", 0..12),
        policy in prop::sample::select(vec![
            semver("*"), semver("1.x || 2.0.x-0"), alphabetical(image::Order::Asc), alphabetical(image::Order::Desc),
            numerical(image::Order::Asc), numerical(image::Order::Desc),
            filtering(semver("*"), "-(.*)$", "$1"), filtering(numerical(image::Order::Desc), "^v?([0-9])", "$1"),
            filtering(alphabetical(image::Order::Asc), "1", ""),
        ]),
        seed in 0..12_usize,
    ) {
        let expected = chosen(&policy, &tags.iter().map(String::as_str).collect::<Vec<_>>());
        let middle = seed.min(tags.len());
        tags.rotate_left(middle);
        let tags: Vec<_> = tags.iter().map(String::as_str).collect();
        prop_assert_eq!(chosen(&policy, &tags), expected);
        let mut told: Vec<_> = Policy::new(&policy).expect("a policy").select(&tags).candidates.iter().map(|one| one.tag).collect();
        let mut all = tags.clone();
        all.sort_unstable();
        all.dedup();
        told.sort_unstable();
        prop_assert_eq!(told, all);
    }
}

#[test]
fn an_annotation_orders_by_the_calendar() {
    let spec = serde_json::json!({"imageRepositoryRef": {"name": "a"}, "policy": {"alphabetical": {}}});
    let spec = serde_json::from_value(spec).expect("a spec");
    let annotated = |format: &str| Policy::annotated(&spec, &[(CALVER.to_owned(), format.to_owned())].into());
    let policy = annotated("YYYY.MM.MICRO").expect("a policy");
    let tags = ["2026.9.12", "2026.10.2", "2026.10.1", "2025.12.30", "latest"];
    assert_eq!(policy.latest(&tags), Ok("2026.10.2"));
    let selection = policy.select(&tags);
    let order: Vec<_> = selection.candidates.iter().map(|one| one.tag).collect();
    assert_eq!(order, ["2026.10.2", "2026.10.1", "2026.9.12", "2025.12.30", "latest"]);
    assert_eq!(policy.reason(&selection.candidates[4]).as_deref(), Some("not a version of the form YYYY.MM.MICRO"));
    assert_eq!(policy.summary(&selection), "newest of 4 versions of the form YYYY.MM.MICRO");
    assert!(policy.is_worse("2026.9.12", "2026.10.1") && !policy.is_worse("2026.10.1", "2026.10.1"));
    assert_eq!(annotated("v1").map(drop), Err(crate::Error::CalVer("v1".into())));
}
