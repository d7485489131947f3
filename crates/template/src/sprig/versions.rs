//! Semantic versions, as Masterminds/semver reads and compares them.

use std::sync::Arc;

use policy::{Range, Version, version::InvalidVersion};

use super::text;
use crate::{Method, Struct, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("semver", "s", |args| version(&text(&args[0]))),
    ("semverCompare", "ss", |args| {
        let range = Range::parse(&text(&args[0])).map_err(|error| error.to_string())?;
        let version = text(&args[1]);
        Ok(range.matches(&Version::loose(&version).map_err(complaint)?).into())
    }),
];

/// The version with the methods that templates call on it.
fn version(original: &str) -> Result<Value, String> {
    let version = Version::loose(original).map_err(complaint)?;
    let mut methods = methods(version);
    methods.push(("Original", method(original.into())));
    Ok(structure("*semver.Version", version, methods))
}

/// What can be asked of any version, those that were counted up included.
fn methods(version: Version<'_>) -> Vec<(&'static str, Method)> {
    let number = |value: u64| method(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    let Version { major, minor, patch, .. } = version;
    let release = |major, minor, patch| Version { major, minor, patch, ..Version::default() };
    // The release comes after its pre-releases.
    let next = if version.pre.is_empty() { patch.wrapping_add(1) } else { patch };
    vec![
        ("Major", number(major)),
        ("Minor", number(minor)),
        ("Patch", number(patch)),
        ("Prerelease", method(version.pre.into())),
        ("Metadata", method(version.metadata.into())),
        ("String", method(version.to_string().into())),
        ("IncMajor", counted(release(major.wrapping_add(1), 0, 0))),
        ("IncMinor", counted(release(major, minor.wrapping_add(1), 0))),
        ("IncPatch", counted(release(major, minor, next))),
    ]
}

/// A method that gives another version, which is made when it is called: it has such methods itself.
fn counted(version: Version<'static>) -> Method {
    Arc::new(move || Ok(structure("semver.Version", version, methods(version))))
}

fn structure(type_name: &'static str, version: Version<'_>, methods: Vec<(&'static str, Method)>) -> Value {
    Value::Struct(Arc::new(Struct { type_name, methods, display: Some(version.to_string()), ..Struct::default() }))
}

fn method(value: Value) -> Method {
    Arc::new(move || Ok(value.clone()))
}

/// Masterminds' words.
fn complaint(error: InvalidVersion) -> String {
    match error {
        InvalidVersion::LeadingZero => "version segment starts with 0".to_owned(),
        _ => "invalid semantic version".to_owned(),
    }
}
