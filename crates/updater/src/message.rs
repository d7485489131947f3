//! The commit message: a Go template over what changed. Pure.
//! Source: reference image-automation.md section 7.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use api::image::ImageUpdateAutomation;
use jiff::Timestamp;
use kube::ResourceExt as _;
use template::{Field, Functions, List, Map, Method, Options, Stage, Struct, Template, Value};

use crate::setters::Change;

/// The message where the automation gives no template.
const DEFAULT: &str = "Update from image update automation";
/// Name of the template in error texts.
const NAME: &str = "commit message";
/// Beginning of the texts about fields that exist no more.
const REMOVED: &str = "template uses removed";
const HELP: &str = "See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template";

/// Why there is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no template.
    #[error("unable to create commit message template from spec: {0}")]
    Parse(String),
    /// The template failed on what changed.
    #[error("failed to run template from spec: {0}")]
    Run(String),
    /// The template uses a field of versions before 1.0.
    #[error("{0}")]
    RemovedField(String),
}

impl Error {
    /// Whether the template must be rewritten before anything can go on.
    pub fn is_removed_field(&self) -> bool {
        matches!(self, Self::RemovedField(_))
    }
}

/// The message of a commit with these changes, made now. Used as rendered, not trimmed; it may be empty.
pub fn render(automation: &ImageUpdateAutomation, changes: &[Change], now: Timestamp) -> Result<String, Error> {
    let commit = automation.spec.git.as_ref().map(|git| &git.commit);
    let text = commit.and_then(|commit| commit.message_template.as_deref()).unwrap_or_default();
    let text = if text.is_empty() { DEFAULT } else { text };
    let functions = Functions::sprig().at(now);
    let template = Template::parse(NAME, text, functions).map_err(|error| Error::Parse(error.to_string()))?;
    let values = commit.map(|commit| commit.message_template_values.clone()).unwrap_or_default();
    let namespace = automation.namespace().unwrap_or_default();
    let data = data(&namespace, &automation.name_any(), &values, changes);
    template.render(&data, &Options::default()).map_err(|error| match error.cause {
        Some(cause) if cause.starts_with(REMOVED) => Error::RemovedField(cause),
        _ if error.stage == Stage::Parse => Error::Parse(error.message),
        _ => Error::Run(error.message),
    })
}

pub(crate) fn field(name: &'static str, value: impl Into<Value>) -> Field {
    Field { name, value: value.into(), embedded: false }
}

fn embedded(name: &'static str, value: Value) -> Field {
    Field { name, value, embedded: true }
}

pub(crate) fn record(type_name: &'static str, fields: Vec<Field>) -> Value {
    Value::Struct(Arc::new(Struct { type_name, fields, ..Struct::default() }))
}

fn method(give: impl Fn() -> Result<Value, String> + Send + Sync + 'static) -> Method {
    Arc::new(give)
}

/// Namespace and name, printed with a slash between.
pub(crate) fn named(namespace: &str, name: &str) -> Value {
    let path = format!("{namespace}/{name}");
    let printed = text(&path);
    Value::Struct(Arc::new(Struct {
        type_name: "types.NamespacedName",
        fields: vec![field("Namespace", text(namespace)), field("Name", text(name))],
        methods: vec![("String", method(move || Ok(printed.clone())))],
        display: Some(path),
    }))
}

/// `.Values`.
pub(crate) fn values(values: &BTreeMap<String, String>) -> Value {
    let values = values.iter().map(|(key, value)| (text(key), text(value)));
    Value::Map(Map::new("map[string]string", text(""), values))
}

/// What the template sees as its dot.
fn data(namespace: &str, name: &str, given: &BTreeMap<String, String>, changes: &[Change]) -> Value {
    Value::Struct(Arc::new(Struct {
        type_name: "source.TemplateData",
        fields: vec![
            field("AutomationObject", named(namespace, name)),
            field("Changed", changed(changes)),
            field("Values", values(given)),
        ],
        methods: vec![(
            "Updated",
            method(|| Err(format!("{REMOVED} '.Updated' field. Please use '.Changed' instead. {HELP}"))),
        )],
        ..Struct::default()
    }))
}

/// `.Changed`: by file, by object, and flat.
fn changed(changes: &[Change]) -> Value {
    let mut files: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        files.entry(&change.file).or_default().push(change);
    }
    let by_file = files.iter().map(|(file, changes)| (text(file), by_object(changes)));
    let by_file = Map::new("map[string]update.ObjectChanges", by_object(&[]), by_file);
    let ordered: Vec<&Change> = files.values().flatten().copied().collect();
    // The same value set by the same setter is told once, wherever it stands.
    let mut seen = HashSet::new();
    let mut distinct = ordered.clone();
    distinct.retain(|&change| seen.insert((&change.old, &change.new, &change.setter)));
    let (objects, flat) = (by_object(&ordered), list(&distinct));
    let removed = format!(
        "{REMOVED} '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or '.Changed.Objects' instead. {HELP}"
    );
    Value::Struct(Arc::new(Struct {
        type_name: "update.Result",
        fields: vec![field("FileChanges", Value::Map(by_file))],
        methods: vec![
            ("Changes", method(move || Ok(flat.clone()))),
            ("Objects", method(move || Ok(objects.clone()))),
            ("ImageResult", method(move || Err(removed.clone()))),
        ],
        ..Struct::default()
    }))
}

/// Changes under the object they belong to, in the order of APIVersion, Kind, Name, Namespace.
fn by_object(changes: &[&Change]) -> Value {
    let mut objects: BTreeMap<[&str; 4], Vec<&Change>> = BTreeMap::new();
    for change in changes {
        let key = [&change.api_version, &change.kind, &change.name, &change.namespace].map(String::as_str);
        objects.entry(key).or_default().push(change);
    }
    let entries = objects.into_iter().map(|(key, changes)| (object(key), list(&changes)));
    Value::Map(Map::new("update.ObjectChanges", list(&[]), entries))
}

/// An object as a map's key: Go's struct with its embedded ones.
fn object([api_version, kind, name, namespace]: [&str; 4]) -> Value {
    let type_meta = record("yaml.TypeMeta", vec![field("APIVersion", text(api_version)), field("Kind", text(kind))]);
    let name_meta = record("yaml.NameMeta", vec![field("Name", text(name)), field("Namespace", text(namespace))]);
    let identifier =
        record("yaml.ResourceIdentifier", vec![embedded("TypeMeta", type_meta), embedded("NameMeta", name_meta)]);
    record("update.ObjectIdentifier", vec![embedded("ResourceIdentifier", identifier)])
}

/// What a change says about its new image, by label. Empty where it is not known.
///
/// Differs: Flux knows no labels. They are methods, so that a change that is printed whole looks as in Flux.
const LABELS: [(&str, &str); 4] =
    [("Source", "source"), ("Revision", "revision"), ("Created", "created"), ("Version", "version")];

fn list(changes: &[&Change]) -> Value {
    let items = changes.iter().map(|change| {
        let fields = [("OldValue", &change.old), ("NewValue", &change.new), ("Setter", &change.setter)];
        let label = |label: &str| text(change.labels.get(label).map(String::as_str).unwrap_or_default());
        let methods = LABELS.map(|(name, key)| {
            let value = label(key);
            (name, method(move || Ok(value.clone())))
        });
        Value::Struct(Arc::new(Struct {
            type_name: "update.Change",
            fields: fields.into_iter().map(|(name, value)| field(name, text(value))).collect(),
            methods: methods.into(),
            ..Struct::default()
        }))
    });
    Value::List(List { type_name: "[]update.Change", items: Arc::new(items.collect()) })
}

fn text(value: &str) -> Value {
    Value::String(value.into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn automation(template: Option<&Json>, values: &Json) -> ImageUpdateAutomation {
        let mut commit = json!({"author": {"email": "a@b"}});
        if let Some(template) = template {
            commit["messageTemplate"] = template.clone();
        }
        if !values.is_null() {
            commit["messageTemplateValues"] = values.clone();
        }
        serde_json::from_value(json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
            "metadata": {"name": "n", "namespace": "ns"}, "spec": {"interval": "1m",
            "sourceRef": {"kind": "GitRepository", "name": "x"}, "git": {"commit": commit}}}))
        .unwrap()
    }

    #[test]
    fn the_samples_render_as_the_reference_renders_them() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/image/commit_templates.jsonl");
        let cases = std::fs::read_to_string(file).unwrap();
        for line in cases.lines() {
            let case: Json = serde_json::from_str(line).unwrap();
            let mut object = automation(case.get("template"), &case["values"]);
            object.metadata.namespace = case["automation"]["namespace"].as_str().map(str::to_owned);
            object.metadata.name = case["automation"]["name"].as_str().map(str::to_owned);
            let changes: Vec<Change> = serde_json::from_value(case["changes"].clone()).unwrap();
            let found = render(&object, &changes, NOW);
            match (&found, case.get("expected"), case.get("stalled_reason")) {
                (Ok(found), Some(expected), _) => assert_eq!(json!(found), *expected, "{}", case["name"]),
                (Err(error), None, stalled) => {
                    assert_eq!(error.is_removed_field(), stalled.is_some(), "{}: {error}", case["name"]);
                    let prefix = case["error"].as_str().unwrap();
                    assert!(stalled.is_some() || error.to_string().starts_with(prefix), "{}: {error}", case["name"]);
                    let detail = case.get("error_detail").and_then(Json::as_str).unwrap_or_default();
                    assert!(error.to_string().ends_with(detail), "{}: {error}, not {detail}", case["name"]);
                }
                _ => {
                    let parts =
                        case["expected_contains"].as_array().unwrap_or_else(|| panic!("{}: {found:?}", case["name"]));
                    let found = found.unwrap();
                    assert!(
                        parts.iter().all(|part| found.contains(part.as_str().unwrap())),
                        "{}: {found}",
                        case["name"]
                    );
                }
            }
        }
    }

    #[test]
    fn messages_link_to_what_the_image_was_built_from() {
        let labels = json!({"source": "https://git.example/app", "revision": "4f2a"});
        let changes = json!([{"file": "a.yaml", "setter": "ns:p", "old": "a:1", "new": "a:2", "labels": labels}]);
        let changes: Vec<Change> = serde_json::from_value(changes).unwrap();
        let rendered =
            |template: &str| render(&automation(Some(&json!(template)), &Json::Null), &changes, NOW).unwrap();
        let link = "{{ range .Changed.Changes }}{{ with .Source }}{{ . }}/commit/{{ end }}{{ .Revision }}{{ .Version }}{{ end }}";
        assert_eq!(rendered(link), "https://git.example/app/commit/4f2a");
        assert_eq!(rendered("{{ index .Changed.Changes 0 }}"), "{a:1 a:2 ns:p}");
    }

    #[test]
    fn a_change_in_two_places_is_listed_once_and_fields_are_those_of_flux() {
        let change = |file: &str, name: &str| {
            json!({"file": file, "apiVersion": "v1", "kind": "Pod", "namespace": "", "name": name,
                "setter": "ns:p", "old": "a:1", "new": "a:2"})
        };
        let changes = json!([change("a.yaml", "x"), change("b.yaml", "y")]);
        let changes: Vec<Change> = serde_json::from_value(changes).unwrap();
        for (template, expected) in [
            ("{{ len .Changed.Changes }} {{ len .Changed.Objects }}", "1 2"),
            ("{{ len (index .Changed.FileChanges \"nope\") }} {{ index .Changed.FileChanges \"nope\" }}", "0 map[]"),
            ("{{ .AutomationObject.String }}", "ns/n"),
            ("{{ toJson .AutomationObject }}", "{\"Namespace\":\"ns\",\"Name\":\"n\"}"),
            ("{{ printf \"%T\" .Changed }}", "update.Result"),
        ] {
            assert_eq!(render(&automation(Some(&json!(template)), &Json::Null), &changes, NOW).unwrap(), expected);
        }
        for (template, cause) in [
            (
                "{{ hasKey .Values \"x\" }}",
                "wrong type for value; expected map[string]interface {}; got map[string]string",
            ),
            (
                "{{ with .Changed.Objects }}{{ .Setter }}{{ end }}",
                "can't evaluate field Setter in type update.ObjectChanges",
            ),
        ] {
            let error =
                render(&automation(Some(&json!(template)), &Json::Null), &changes, NOW).unwrap_err().to_string();
            assert!(error.ends_with(cause), "{error}");
        }
    }

    #[test]
    fn no_template_gives_the_default_and_removed_fields_only_fail_when_reached() {
        assert_eq!(render(&automation(None, &Json::Null), &[], NOW).unwrap(), DEFAULT);
        let taken = automation(Some(&json!("{{ .Changed.ImageResult }}")), &Json::Null);
        assert!(render(&taken, &[], NOW).unwrap_err().is_removed_field());
        let not_taken = automation(Some(&json!("{{ if false }}{{ .Updated }}{{ end }}ok")), &Json::Null);
        assert_eq!(render(&not_taken, &[], NOW).unwrap(), "ok");
    }
}
