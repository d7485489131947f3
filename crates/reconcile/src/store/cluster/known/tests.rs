//! What is known, step by step.

use serde_json::json;

use super::*;

fn id() -> ObjectReference {
    ObjectReference { namespace: "apps".into(), name: "a".into(), ..ObjectReference::default() }
}

fn content(version: u64) -> Value {
    json!({"metadata": {"resourceVersion": version.to_string()}, "spec": version})
}

/// A watch of everything that has listed nothing yet but its end.
fn listed(feed: Feed) -> Known {
    let known = Known::new(feed, Reach::All);
    known.lists();
    known.has_listed();
    known
}

fn saw(known: &Known, version: u64) {
    let content = content(version);
    let carried = (known.feed == Feed::Contents).then_some(&content);
    known.saw("apps", "a", Some(&version.to_string()), carried);
}

#[test]
fn nothing_is_known_before_the_first_list_is_over() {
    let known = Known::new(Feed::Contents, Reach::All);
    assert_eq!(known.answer(&id()), Answer::Unknown);
    known.lists();
    saw(&known, 5);
    assert_eq!(known.answer(&id()), Answer::Unknown);
    known.has_listed();
    assert_eq!(known.answer(&id()), Answer::Is(content(5)));
}

#[test]
fn what_a_whole_watch_does_not_tell_of_is_not_there() {
    assert_eq!(listed(Feed::Versions).answer(&id()), Answer::Absent);
    let selected = Known::new(Feed::Contents, Reach::Selected);
    selected.has_listed();
    assert_eq!(selected.answer(&id()), Answer::Unknown);
}

#[test]
fn a_version_is_the_newest_until_a_newer_one_is_told_of_or_written() {
    let known = Known::new(Feed::Versions, Reach::All);
    known.lists();
    saw(&known, 5);
    assert!(!known.is_at(&id(), "5"), "the list is not over");
    known.has_listed();
    assert!(known.is_at(&id(), "5") && !known.is_at(&id(), "4") && !known.is_at(&id(), "") && !known.is_at(&id(), "x"));
    known.begins(&id());
    assert!(!known.is_at(&id(), "5"), "a write is under way");
    known.ends(&id(), Some(&content(6)));
    assert!(known.is_at(&id(), "6") && !known.is_at(&id(), "5"));
    known.doubts(&id());
    assert!(!known.is_at(&id(), "6"), "nobody knows what a write led to");
    known.read(&id(), Some(&content(8)));
    assert!(known.is_at(&id(), "8") && !known.is_at(&id(), "6"), "the watch is behind");
    known.broke();
    assert!(!known.is_at(&id(), "8"));
    let gone = listed(Feed::Versions);
    saw(&gone, 5);
    gone.went("apps", "a", Some("6"));
    assert!(!gone.is_at(&id(), "5") && !gone.is_at(&id(), "6"));
}

#[test]
fn a_content_holds_until_a_newer_version_is_told_of() {
    let known = listed(Feed::Versions);
    saw(&known, 5);
    assert_eq!(known.answer(&id()), Answer::Unknown, "only its version is known");
    known.read(&id(), Some(&content(5)));
    assert_eq!(known.answer(&id()), Answer::Is(content(5)));
    saw(&known, 6);
    assert_eq!(known.answer(&id()), Answer::Unknown);
    known.read(&id(), Some(&content(7)));
    assert_eq!(known.answer(&id()), Answer::Is(content(7)), "the watch is behind");
    saw(&known, 7);
    assert_eq!(known.answer(&id()), Answer::Is(content(7)));
}

#[test]
fn what_was_asked_for_once_is_kept_up_to_date() {
    let known = listed(Feed::Versions);
    let tells = |version: u64| known.saw("apps", "a", Some(&version.to_string()), Some(&content(version)));
    tells(5);
    assert_eq!(known.answer(&id()), Answer::Unknown);
    known.read(&id(), Some(&content(5)));
    tells(6);
    assert_eq!(known.answer(&id()), Answer::Is(content(6)));
}

#[test]
fn an_own_write_is_read_back_before_the_watch_tells_of_it() {
    let known = listed(Feed::Contents);
    saw(&known, 5);
    known.begins(&id());
    assert_eq!(known.answer(&id()), Answer::Unknown, "under way");
    known.ends(&id(), Some(&content(6)));
    assert_eq!(known.answer(&id()), Answer::Is(content(6)));
    saw(&known, 5);
    assert_eq!(known.answer(&id()), Answer::Is(content(6)), "the watch is behind");
}

#[test]
fn a_write_without_an_answer_is_looked_up() {
    let known = listed(Feed::Contents);
    saw(&known, 5);
    known.begins(&id());
    known.ends(&id(), None);
    saw(&known, 6);
    assert_eq!(known.answer(&id()), Answer::Unknown, "a version between ours and the one before");
    known.read(&id(), Some(&content(7)));
    assert_eq!(known.answer(&id()), Answer::Is(content(7)));
}

#[test]
fn an_object_that_went_is_gone_and_one_of_ours_is_looked_up() {
    let known = listed(Feed::Versions);
    saw(&known, 5);
    known.read(&id(), Some(&content(5)));
    known.went("apps", "a", Some("6"));
    assert_eq!(known.answer(&id()), Answer::Absent);
    known.begins(&id());
    known.ends(&id(), Some(&content(8)));
    assert_eq!(known.answer(&id()), Answer::Unknown, "made by us, and its content is not kept");
    known.read(&id(), Some(&content(8)));
    assert_eq!(known.answer(&id()), Answer::Is(content(8)), "the watch is behind");
    known.went("apps", "a", Some("7"));
    assert_eq!(known.answer(&id()), Answer::Is(content(8)), "its predecessor went");
    known.went("apps", "a", Some("9"));
    assert_eq!(known.answer(&id()), Answer::Absent);
    known.begins(&id());
    known.ends(&id(), Some(&content(10)));
    known.read(&id(), None);
    assert_eq!(known.answer(&id()), Answer::Absent, "somebody deleted it");
}

#[test]
fn a_broken_watch_is_not_trusted_until_it_tells_something() {
    let known = listed(Feed::Contents);
    saw(&known, 5);
    known.broke();
    assert_eq!(known.answer(&id()), Answer::Unknown);
    saw(&known, 6);
    assert_eq!(known.answer(&id()), Answer::Is(content(6)));
}

#[test]
fn a_list_takes_away_what_it_leaves_out_and_what_is_newer_than_it() {
    let known = listed(Feed::Versions);
    saw(&known, 5);
    known.read(&id(), Some(&content(9)));
    known.lists();
    saw(&known, 5);
    known.has_listed();
    assert_eq!(known.answer(&id()), Answer::Unknown, "restored from a backup");
    known.lists();
    known.has_listed();
    assert_eq!(known.answer(&id()), Answer::Absent);
}

#[test]
fn a_large_object_and_a_version_that_is_no_number_are_not_kept() {
    let known = listed(Feed::Contents);
    let mut large = content(5);
    large["data"] = "x".repeat(LARGEST).into();
    known.saw("apps", "a", Some("5"), Some(&large));
    assert_eq!(known.answer(&id()), Answer::Unknown);
    known.saw("apps", "a", Some("abc"), Some(&json!({"metadata": {"resourceVersion": "abc"}})));
    assert_eq!(known.answer(&id()), Answer::Unknown);
}

#[test]
fn a_list_is_believed_about_a_version_that_is_known() {
    let known = listed(Feed::Contents);
    saw(&known, 5);
    let mut other = content(5);
    other["data"] = "other".into();
    known.lists();
    known.saw("apps", "a", Some("5"), Some(&other));
    known.has_listed();
    assert_eq!(known.answer(&id()), Answer::Is(other), "restored from a backup, and written since");
    let known = listed(Feed::Versions);
    known.saw("apps", "a", Some("5"), None);
    known.read(&id(), Some(&content(5)));
    known.lists();
    known.saw("apps", "a", Some("5"), None);
    known.has_listed();
    assert_eq!(known.answer(&id()), Answer::Is(content(5)), "a list of versions says nothing about contents");
}
