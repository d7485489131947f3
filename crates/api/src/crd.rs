//! The CustomResourceDefinitions of our kinds, to be applied over Flux's and Flagger's.
//!
//! The types say what slipway reads; the schema says what the API server lets through, which is more exact: patterns,
//! defaults, rules across fields. It is data next to the kinds and not derived from the types, as a derivation would
//! bring its code into every type. The tests hold the two together: each knows every field of the other.

mod flagger;
mod flagger_service;
mod image;
mod kustomize;
mod notification;
mod schema;
mod source;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::LazyLock;

use kube::{CustomResourceExt, Resource};
use serde_json::{Value, json};

pub use validate::{Problem, problems};

use schema::Schema;

/// The definitions, in the order of their files in `deploy/crds`.
pub fn definitions() -> Vec<Value> {
    let kinds = [image::kinds(), source::kinds(), kustomize::kinds(), notification::kinds(), flagger::kinds()];
    kinds.into_iter().flatten().map(Kind::into_definition).collect()
}

/// The definition of a kind that we serve, by API group and kind. All are made once, for who asks again and again.
fn definition(group: &str, kind: &str) -> Option<&'static Value> {
    static ALL: LazyLock<Vec<Value>> = LazyLock::new(definitions);
    ALL.iter().find(|found| found["spec"]["group"] == group && found["spec"]["names"]["kind"] == kind)
}

/// A column that `kubectl get` shows.
struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    is_wide: bool,
}

/// A column of texts.
const fn column(name: &'static str, path: &'static str) -> Column {
    Column { name, kind: "string", path, is_wide: false }
}

/// A column that only `-o wide` shows.
const fn wide(name: &'static str, path: &'static str) -> Column {
    Column { is_wide: true, ..column(name, path) }
}

const READY: Column = column("Ready", r#".status.conditions[?(@.type=="Ready")].status"#);
const STATUS: Column = column("Status", r#".status.conditions[?(@.type=="Ready")].message"#);
const AGE: Column = Column { name: "Age", kind: "date", path: ".metadata.creationTimestamp", is_wide: false };

/// Categories of Flux's kinds, as in `kubectl get fluxcd`.
const FLUX: &[&str] = &["all", "fluxcd"];
/// For kinds whose texts hold `${…}` that are not for a Kustomization's `postBuild`.
const NOT_SUBSTITUTED: &[(&str, &str)] = &[("kustomize.toolkit.fluxcd.io/substitute", "disabled")];

/// What a version may carry beside its spec.
enum Subresource {
    /// Nothing.
    None,
    /// A status that only the controller writes.
    Status(Option<Schema>),
}

/// A kind as the API server is to know it.
struct Kind {
    group: String,
    kind: String,
    plural: String,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    /// The stored version.
    version: String,
    /// Served for old manifests; the fields are the same, so nothing needs to be converted.
    older: &'static [&'static str],
    annotations: &'static [(&'static str, &'static str)],
    says: &'static str,
    columns: Vec<Column>,
    spec: Schema,
    status: Subresource,
}

impl Kind {
    /// The kind of this type, with names and stored version as the type has them.
    fn of<K: Resource<DynamicType = ()> + CustomResourceExt>(
        says: &'static str,
        columns: Vec<Column>,
        spec: Schema,
    ) -> Self {
        Self {
            group: K::group(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            short_names: K::shortnames(),
            categories: &[],
            version: K::version(&()).into_owned(),
            older: &[],
            annotations: &[],
            says,
            columns,
            spec,
            status: Subresource::None,
        }
    }

    /// With a status, which begins as `{"observedGeneration": -1}`.
    fn status(mut self, status: Schema) -> Self {
        self.status = Subresource::Status(Some(status.or(json!({"observedGeneration": -1}))));
        self
    }

    fn into_definition(self) -> Value {
        let mut metadata = json!({"name": format!("{}.{}", self.plural, self.group)});
        for (key, value) in self.annotations {
            metadata["annotations"][key] = (*value).into();
        }
        let mut names = json!({"kind": self.kind, "listKind": format!("{}List", self.kind), "plural": self.plural,
            "singular": self.kind.to_lowercase()});
        if !self.short_names.is_empty() {
            names["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            names["categories"] = json!(self.categories);
        }
        let versions: Vec<Value> = std::iter::once(self.version.as_str())
            .chain(self.older.iter().copied())
            .map(|name| self.served(name))
            .collect();
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata,
            "spec": {"group": self.group, "names": names, "scope": "Namespaced", "versions": versions,
                "conversion": {"strategy": "None"}}})
    }

    fn served(&self, name: &str) -> Value {
        let columns: Vec<Value> = self.columns.iter().map(Column::to_value).collect();
        let is_stored = name == self.version;
        let mut version = json!({"name": name, "served": true, "storage": is_stored, "additionalPrinterColumns": columns,
            "schema": {"openAPIV3Schema": self.schema()}});
        if !is_stored {
            version["deprecated"] = true.into();
            version["deprecationWarning"] =
                format!("{name} {} is deprecated, upgrade to {}", self.kind, self.version).into();
        }
        if matches!(self.status, Subresource::Status(_)) {
            version["subresources"] = json!({"status": {}});
        }
        version
    }

    fn schema(&self) -> Value {
        let mut properties = json!({
            "apiVersion": {"type": "string", "description": "The version of the API that the object is written in."},
            "kind": {"type": "string", "description": "The kind of the object."},
            "metadata": {"type": "object"},
            "spec": self.spec.clone().with("description", "What is wanted.").into_value(),
        });
        if let Subresource::Status(Some(status)) = &self.status {
            properties["status"] = status.clone().with("description", "What was found and done.").into_value();
        }
        json!({"type": "object", "description": self.says, "properties": properties})
    }
}

impl Column {
    fn to_value(&self) -> Value {
        let mut column = json!({"name": self.name, "type": self.kind, "jsonPath": self.path});
        if self.is_wide {
            column["priority"] = 1.into();
        }
        column
    }
}
