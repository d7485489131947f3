//! The schemas and the types know the same fields, and the API server will take the definitions.

use std::{cell::RefCell, collections::BTreeSet};

use kube::Resource;
use serde::{
    Deserializer, Serialize,
    de::{
        DeserializeOwned, IntoDeserializer, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    flagger::{AlertProvider, Canary, MetricTemplate},
    image::{ImagePolicy, ImageRepository, ImageUpdateAutomation},
    kustomize::Kustomization,
    manifest,
    notification::{Alert, Provider, Receiver},
    source::GitRepository,
};

/// An object with every field that the schema has.
fn full(schema: &Value) -> Value {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return json!("http");
    }
    match schema["type"].as_str() {
        Some("object") => match (schema["properties"].as_object(), schema.get("additionalProperties")) {
            (Some(fields), _) => fields.iter().map(|(name, field)| (name.clone(), full(field))).collect(),
            (None, Some(values)) => json!({"key": full(values)}),
            (None, None) => json!({"any": "thing"}),
        },
        Some("array") => json!([full(&schema["items"])]),
        // Types leave out what is off, so on is what shows.
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(7),
        _ => text(schema),
    }
}

fn text(schema: &Value) -> Value {
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match (schema["enum"].as_array(), schema["format"].as_str()) {
        // Types leave out the default.
        (Some(values), _) => {
            let other = values.iter().rev().find(|value| schema.get("default") != Some(value));
            other.or(values.last()).cloned().unwrap_or_default()
        }
        (None, Some("date-time")) => json!("2026-01-02T03:04:05Z"),
        (None, Some("duration")) => json!("1m0s"),
        _ if pattern.contains("ms|s") => json!("1m0s"),
        _ => json!("x"),
    }
}

/// Whether two values say the same; `1` and `1.0` do.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|found| same(value, found)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (one, other) => one == other,
    }
}

fn schema_of(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Fields that a type has and its schema has not.
const READ_ONLY: [&str; 12] = [
    // Statuses of older releases.
    "status.latestImage",
    "status.observedPreviousImage",
    // Dropped from spec.analysis.match by Flagger's schema.
    "spec.analysis.match.name",
    "spec.analysis.match.uri",
    "spec.analysis.match.scheme",
    "spec.analysis.match.method",
    "spec.analysis.match.authority",
    "spec.analysis.match.withoutHeaders",
    "spec.analysis.match.sourceNamespace",
    "spec.analysis.match.port",
    "spec.analysis.match.gateways",
    "spec.analysis.match.ignoreUriCase",
];

fn check<K: Resource<DynamicType = ()> + DeserializeOwned + Serialize>() {
    let kind = K::kind(&());
    let definition = definition(&K::group(&()), &kind).expect("every kind has a definition");
    let mut object = full(schema_of(definition));
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(kind);
    object["metadata"] = json!({"name": "x", "namespace": "y"});
    let typed: K = manifest::typed(&object).unwrap_or_else(|problem| panic!("{kind}: {problem}"));
    let back = serde_json::to_value(&typed).expect("an object has a JSON form");
    assert!(same(&object, &back), "{kind}: the type loses something of\n{object:#}\nit has\n{back:#}");
    let missing = RefCell::new(BTreeSet::new());
    K::deserialize(Fields { path: String::new(), value: &object, missing: &missing }).expect("read a moment ago");
    let mut missing = missing.into_inner();
    // Flagger's schema knows a suffix in spec.analysis.match.headers alone.
    missing.retain(|field: &String| !READ_ONLY.contains(&field.as_str()) && !field.ends_with(".suffix"));
    assert!(missing.is_empty(), "{kind}: the schema lacks {missing:?}");
}

/// Reads a value, and notes the fields that a type asks for and the value has not.
struct Fields<'a> {
    path: String,
    value: &'a Value,
    missing: &'a RefCell<BTreeSet<String>>,
}

impl<'a> Fields<'a> {
    fn at(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value, missing: self.missing }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Fields<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Fields<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(value) => visitor.visit_i64(value.as_i64().unwrap_or_default()),
            Value::String(value) => visitor.visit_str(value),
            Value::Array(items) => {
                let items =
                    items.iter().map(|item| Self { path: self.path.clone(), value: item, missing: self.missing });
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.as_str(), self.at(key, value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.value.as_str().unwrap_or_default().into_deserializer())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let absent = fields.iter().filter(|field| self.value.get(field).is_none());
        if !self.path.starts_with("metadata") {
            self.missing.borrow_mut().extend(absent.map(|field| self.at(field, &Value::Null).path));
        }
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[test]
fn types_and_schemas_know_the_same_fields() {
    check::<ImageRepository>();
    check::<ImagePolicy>();
    check::<ImageUpdateAutomation>();
    check::<GitRepository>();
    check::<Kustomization>();
    check::<Alert>();
    check::<Provider>();
    check::<Receiver>();
    check::<Canary>();
    check::<MetricTemplate>();
    check::<AlertProvider>();
}

#[test]
fn old_image_versions_are_served_and_v1_is_stored() {
    let definition = definition("image.toolkit.fluxcd.io", "ImagePolicy").expect("a definition");
    let versions: Vec<_> = definition["spec"]["versions"].as_array().expect("versions").iter().collect();
    let seen: Vec<_> =
        versions.iter().map(|v| (v["name"].as_str(), v["served"] == true, v["storage"] == true)).collect();
    assert_eq!(seen, [(Some("v1"), true, true), (Some("v1beta2"), true, false)]);
    assert_eq!(versions[1]["deprecationWarning"], "v1beta2 ImagePolicy is deprecated, upgrade to v1");
    assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(["imgpol", "imagepol"]));
}
