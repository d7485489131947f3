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
    let number = |value: u64| method(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    Ok(Value::Struct(Arc::new(Struct {
        type_name: "*semver.Version",
        methods: vec![
            ("Major", number(version.major)),
            ("Minor", number(version.minor)),
            ("Patch", number(version.patch)),
            ("Prerelease", method(version.pre.into())),
            ("Metadata", method(version.metadata.into())),
            ("Original", method(original.into())),
            ("String", method(version.to_string().into())),
        ],
        display: Some(version.to_string()),
        ..Struct::default()
    })))
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
