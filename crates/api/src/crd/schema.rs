//! Structural schemas of Kubernetes, built from small parts: what a field holds, and whether it must be there.

use serde_json::{Map, Value, json};

/// Durations as Go writes them, without units below a millisecond. Source: reference image-automation.md section 1.1.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// The same without hours, as timeouts are written.
const TIMEOUT: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";

/// What a field may hold.
#[derive(Clone, Debug)]
pub(super) struct Schema(Map<String, Value>);

/// A field of an object.
#[derive(Clone, Debug)]
pub(super) struct Field {
    name: &'static str,
    schema: Schema,
    is_required: bool,
}

/// A field that must be there.
pub(super) fn must(name: &'static str, schema: Schema, says: &str) -> Field {
    Field { name, schema: schema.with("description", says), is_required: true }
}

/// A field that may be left out.
pub(super) fn may(name: &'static str, schema: Schema, says: &str) -> Field {
    Field { is_required: false, ..must(name, schema, says) }
}

fn of(kind: &str) -> Schema {
    Schema(Map::new()).with("type", kind)
}

/// A text.
pub(super) fn text() -> Schema {
    of("string")
}

/// One of these texts.
pub(super) fn choice(values: &[&str]) -> Schema {
    text().with("enum", values)
}

/// A switch.
pub(super) fn flag() -> Schema {
    of("boolean")
}

/// A whole number.
pub(super) fn whole() -> Schema {
    of("integer")
}

/// A whole number of 64 bits.
pub(super) fn long() -> Schema {
    whole().with("format", "int64")
}

/// Any number.
pub(super) fn number() -> Schema {
    of("number")
}

/// A duration such as `1m30s`.
pub(super) fn duration() -> Schema {
    text().pattern(DURATION)
}

/// A duration below an hour.
pub(super) fn timeout() -> Schema {
    text().pattern(TIMEOUT)
}

/// A point in time.
pub(super) fn time() -> Schema {
    text().with("format", "date-time")
}

/// A list.
pub(super) fn list(items: Schema) -> Schema {
    of("array").with("items", items.0)
}

/// Texts by key.
pub(super) fn texts() -> Schema {
    map(text())
}

/// Values by key.
pub(super) fn map(values: Schema) -> Schema {
    of("object").with("additionalProperties", values.0)
}

/// Anything at all, kept as it is.
pub(super) fn anything() -> Schema {
    of("object").with("x-kubernetes-preserve-unknown-fields", true)
}

/// A number or a name.
pub(super) fn number_or_name() -> Schema {
    Schema(Map::new())
        .with("anyOf", json!([{"type": "integer"}, {"type": "string"}]))
        .with("x-kubernetes-int-or-string", true)
}

/// An object with these fields; others are dropped by the API server.
pub(super) fn object<const N: usize>(fields: [Field; N]) -> Schema {
    let required: Vec<&str> = fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    let object = match required.is_empty() {
        true => of("object"),
        false => of("object").with("required", required),
    };
    let properties: Map<String, Value> =
        fields.into_iter().map(|field| (field.name.to_owned(), field.schema.0.into())).collect();
    object.with("properties", properties)
}

/// A reference to an object of the same namespace.
pub(super) fn local() -> Schema {
    object([must("name", text(), "Name of the referent.")])
}

/// A reference to an object of any namespace.
pub(super) fn namespaced() -> Schema {
    object([
        must("name", text(), "Name of the referent."),
        may("namespace", text(), "Namespace of the referent; its own one when absent."),
    ])
}

/// A selector over labels.
pub(super) fn selector() -> Schema {
    let expression = object([
        must("key", text(), "The label's key."),
        must("operator", text(), "In, NotIn, Exists or DoesNotExist."),
        may("values", list(text()).atomic(), "Values that In and NotIn compare with."),
    ]);
    object([
        may("matchExpressions", list(expression).atomic(), "Requirements, all of which must hold."),
        may("matchLabels", texts(), "Labels that must be there with these values."),
    ])
    .with("x-kubernetes-map-type", "atomic")
}

/// Conditions as Kubernetes' own kinds carry them.
pub(super) fn conditions() -> Schema {
    let name = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";
    let reason = text().pattern(r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$").length(1, 1024);
    list(object([
        must("lastTransitionTime", time(), "When the status last changed."),
        must("message", text().with("maxLength", 32768), "What it means, for people."),
        may("observedGeneration", long().with("minimum", 0), "The generation that the condition is about."),
        must("reason", reason, "One word in upper camel case."),
        must("status", choice(&["True", "False", "Unknown"]), "Whether it holds."),
        must("type", text().pattern(name).with("maxLength", 316), "What the condition is about."),
    ]))
}

impl Schema {
    /// With one more keyword.
    pub(super) fn with(mut self, keyword: &str, value: impl serde::Serialize) -> Self {
        // Texts, numbers, maps and lists of them always have a JSON form.
        self.0.insert(keyword.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// A text that must match.
    pub(super) fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", pattern)
    }

    /// What is put in where nothing is given.
    pub(super) fn or(self, default: impl serde::Serialize) -> Self {
        self.with("default", default)
    }

    /// A text with so many characters.
    pub(super) fn length(self, least: u32, most: u32) -> Self {
        self.with("minLength", least).with("maxLength", most)
    }

    /// A list that is replaced as a whole.
    fn atomic(self) -> Self {
        self.with("x-kubernetes-list-type", "atomic")
    }

    /// CEL rules, each with what a user who breaks it is told.
    pub(super) fn rules(self, rules: &[(&str, &str)]) -> Self {
        let rules: Vec<Value> = rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect();
        self.with("x-kubernetes-validations", rules)
    }

    /// Exactly one of these sets of fields must be there.
    pub(super) fn one_of(self, sets: &[&[&str]]) -> Self {
        let sets: Vec<Value> = sets.iter().map(|set| json!({ "required": set })).collect();
        self.with("oneOf", sets)
    }

    /// The JSON form.
    pub(super) fn into_value(self) -> Value {
        self.0.into()
    }
}
