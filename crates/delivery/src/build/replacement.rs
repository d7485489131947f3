//! `replacements`: values copied from a field of one object to fields of others.
//!
//! Source: kustomize 5.8 `api/filters/replacement`.

use api::kustomize::Selector;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{patch, resource::Resource};

/// Field that a source or target means where it names none.
const NAME: &str = "metadata.name";

/// An entry of `replacements`: a rule, or the file with one or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct ReplacementRule {
    pub path: String,
    pub source: Option<Source>,
    pub source_value: Option<String>,
    pub targets: Vec<Target>,
}

/// Where the value comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Source {
    group: Option<String>,
    version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    field_path: String,
    options: FieldOptions,
}

/// Where the value goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Target {
    select: Selector,
    reject: Vec<Selector>,
    field_paths: Vec<String>,
    options: FieldOptions,
}

/// Which part of a field is meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct FieldOptions {
    /// The text is a list of parts with this between them.
    delimiter: String,
    /// Place of the part.
    index: i64,
    /// Makes what is missing on the way.
    create: bool,
    #[serde(rename = "encoding")]
    _encoding: String,
}

/// One step of a field path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `name`, or the place in a list.
    Name(String),
    /// `[key=value]`: the items of a list with that member; without a key, the items that are that text.
    Item(String, String),
    /// `*`: all members or items.
    All,
}

/// Copies what the rule says. The error says what was not found.
pub(crate) fn apply(resources: &mut [Resource], rule: &ReplacementRule) -> Result<(), String> {
    let value = match (&rule.source, &rule.source_value) {
        (Some(source), None) => source.value(resources)?,
        (None, Some(text)) => Value::from(text.as_str()),
        _ => return Err("must specify one of source and sourceValue".into()),
    };
    for target in &rule.targets {
        if target.select == Selector::default() {
            return Err("target must specify resources to select".into());
        }
        let selected = patch::select(resources, &target.select)?;
        let rejected = target.reject.iter().map(|one| patch::select(resources, one)).collect::<Result<Vec<_>, _>>()?;
        for index in selected.into_iter().filter(|index| !rejected.iter().any(|list| list.contains(index))) {
            target.set(&mut resources[index], &value)?;
        }
    }
    Ok(())
}

impl Source {
    /// The value in the only object that the source means.
    fn value(&self, resources: &[Resource]) -> Result<Value, String> {
        // Names are exact here, and patterns in a selector.
        let exact = |text: &Option<String>| text.as_deref().map(regex::escape);
        let selector = Selector {
            group: exact(&self.group),
            version: exact(&self.version),
            kind: exact(&self.kind),
            name: exact(&self.name),
            namespace: exact(&self.namespace),
            ..Selector::default()
        };
        let told = || {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{} {}", text(&self.kind), text(&self.name))
        };
        let resource = match patch::select(resources, &selector)?.as_slice() {
            [] => return Err(format!("nothing selected by {}", told())),
            [only] => &resources[*only],
            _ => return Err(format!("multiple matches for selector {}", told())),
        };
        let path = if self.field_path.is_empty() { NAME } else { &self.field_path };
        let value = find(&resource.object, &steps(path));
        let value = value.ok_or_else(|| format!("fieldPath {path:?} is missing for replacement source {}", told()))?;
        if self.options.delimiter.is_empty() {
            return Ok(value.clone());
        }
        let text = scalar(value).ok_or("delimiter option can only be used with scalar nodes")?;
        let part = usize::try_from(self.options.index).ok().and_then(|at| text.split(&self.options.delimiter).nth(at));
        part.map(Value::from)
            .ok_or_else(|| format!("options.index {} is out of bounds for value {text}", self.options.index))
    }
}

impl Target {
    fn set(&self, resource: &mut Resource, value: &Value) -> Result<(), String> {
        resource.remember();
        let usual = [NAME.to_owned()];
        let paths = if self.field_paths.is_empty() { &usual[..] } else { &self.field_paths };
        for path in paths {
            let steps = steps(path);
            let found =
                visit(&mut resource.object, &steps, self.options.create, &mut |field| self.assign(field, value))?;
            if found == 0 && !steps.contains(&Step::All) {
                return Err(format!("unable to find field {path:?} in replacement target {}", resource.id()));
            }
        }
        Ok(())
    }

    /// The whole field, or the part that the options name.
    fn assign(&self, field: &mut Value, value: &Value) -> Result<(), String> {
        if self.options.delimiter.is_empty() {
            *field = like(field, value);
            return Ok(());
        }
        let texts = scalar(field).zip(scalar(value));
        let (text, new) = texts.ok_or("delimiter option can only be used with scalar nodes")?;
        let mut parts: Vec<&str> = text.split(&self.options.delimiter).collect();
        match usize::try_from(self.options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(index) if index >= parts.len() => parts.push(&new),
            Ok(index) => parts[index] = &new,
        }
        *field = parts.join(&self.options.delimiter).into();
        Ok(())
    }
}

/// The value in the field's own type where both are scalars: a port stays a number, a quoted one a text.
fn like(field: &Value, value: &Value) -> Value {
    let Some(text) = scalar(value) else { return value.clone() };
    match field {
        Value::String(_) => Value::from(text),
        Value::Number(_) => serde_json::from_str::<serde_json::Number>(&text).map_or(Value::from(text), Value::Number),
        Value::Bool(_) => text.parse::<bool>().map_or(Value::from(text), Value::Bool),
        _ => value.clone(),
    }
}

/// A scalar as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The steps of `a.b\.c.[name=x.y].0.*`.
fn steps(path: &str) -> Vec<Step> {
    let (mut parts, mut part, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut rest = path.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' if rest.peek() == Some(&'.') => part.extend(rest.next()),
            '.' if depth == 0 => parts.push(std::mem::take(&mut part)),
            character => {
                depth = match character {
                    '[' => depth + 1,
                    ']' => depth.saturating_sub(1),
                    _ => depth,
                };
                part.push(character);
            }
        }
    }
    parts.push(part);
    let step = |part: String| {
        let inner = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match inner.and_then(|inner| inner.split_once('=')) {
            Some((key, value)) => Step::Item(key.to_owned(), value.to_owned()),
            None if part == "*" => Step::All,
            None => Step::Name(part),
        }
    };
    parts.into_iter().filter(|part| !part.is_empty()).map(step).collect()
}

/// Whether a step means this item of a list.
fn is_item(item: &Value, index: usize, step: &Step) -> bool {
    match step {
        Step::All => true,
        Step::Name(name) => name.parse() == Ok(index),
        Step::Item(key, value) => {
            let member = if key.is_empty() { Some(item) } else { item.get(key) };
            member.and_then(scalar).as_ref() == Some(value)
        }
    }
}

/// The first field at a path.
fn find<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match (value, step) {
        (Value::Object(members), Step::Name(name)) => find(members.get(name)?, rest),
        (Value::Object(members), Step::All) => members.values().find_map(|member| find(member, rest)),
        (Value::Array(items), step) => {
            let meant = items.iter().enumerate().filter(|(index, item)| is_item(item, *index, step));
            meant.into_iter().find_map(|(_, item)| find(item, rest))
        }
        _ => None,
    }
}

/// Calls `change` with every field at a path and says how many there are. With `create`, what is missing is made first.
fn visit(
    value: &mut Value,
    steps: &[Step],
    create: bool,
    change: &mut dyn FnMut(&mut Value) -> Result<(), String>,
) -> Result<usize, String> {
    let Some((step, rest)) = steps.split_first() else { return change(value).map(|()| 1) };
    if create {
        make(value, step, rest.is_empty());
    }
    let mut found = 0;
    match (value, step) {
        (Value::Object(members), Step::Name(name)) => {
            if let Some(member) = members.get_mut(name) {
                found = visit(member, rest, create, change)?;
            }
        }
        (Value::Object(members), Step::All) => {
            for member in members.values_mut() {
                found += visit(member, rest, create, change)?;
            }
        }
        (Value::Array(items), step) => {
            for (index, item) in items.iter_mut().enumerate() {
                if is_item(item, index, step) {
                    found += visit(item, rest, create, change)?;
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// Makes what the step means, where it is missing.
fn make(value: &mut Value, step: &Step, is_last: bool) {
    if value.is_null() {
        *value = if matches!(step, Step::Item(..)) { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    match (value, step) {
        (Value::Object(members), Step::Name(name)) => {
            let empty = if is_last { Value::from("") } else { Value::Null };
            members.entry(name.clone()).or_insert(empty);
        }
        (Value::Array(items), Step::Item(key, text))
            if !key.is_empty() && !items.iter().any(|item| is_item(item, usize::MAX, step)) =>
        {
            items.push(Value::Object(Map::from_iter([(key.clone(), Value::from(text.as_str()))])));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<Resource> {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env"},
            "data": {"host.name": "shop.example.com", "port": "8080", "image": "web:1.2"}});
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [
                {"name": "a", "image": "web:1.0", "ports": [{"containerPort": 80}], "env": [{"name": "H", "value": "x"}]},
                {"name": "b", "image": "sidecar:1.0"}]}}}});
        [config, web].map(|object| Resource::new(object, "f.yaml", 1)).into()
    }

    /// The Deployment's containers after a replacement, or the error.
    fn replaced(source: Value, target: Value) -> Result<Value, String> {
        let mut target = target;
        target["select"] = json!({"kind": "Deployment"});
        let rule = json!({"source": source, "targets": [target]});
        let rule: ReplacementRule = api::manifest::typed(&rule).unwrap();
        let mut resources = objects();
        apply(&mut resources, &rule)?;
        Ok(resources[1].object["spec"]["template"]["spec"]["containers"].clone())
    }

    const CONTAINERS: &str = "spec.template.spec.containers";

    #[test]
    fn a_value_goes_where_the_path_leads() {
        let from = |path: &str| json!({"kind": "ConfigMap", "name": "env", "fieldPath": path});
        let to = |path: &str| json!({"fieldPaths": [format!("{CONTAINERS}.{path}")]});
        let host = replaced(from("data.host\\.name"), to("[name=a].env.[name=H].value")).unwrap();
        assert_eq!(host[0]["env"][0]["value"], "shop.example.com");
        let port = replaced(from("data.port"), to("0.ports.0.containerPort")).unwrap();
        assert_eq!(port[0]["ports"][0]["containerPort"], 8080);
        let all = replaced(from("data.image"), to("*.image")).unwrap();
        assert_eq!((&all[0]["image"], &all[1]["image"]), (&json!("web:1.2"), &json!("web:1.2")));
    }

    #[test]
    fn parts_of_a_text_are_replaced() {
        let source = json!({"kind": "ConfigMap", "fieldPath": "data.image", "options": {"delimiter": ":", "index": 1}});
        let options = json!({"delimiter": ":", "index": 1});
        let path = format!("{CONTAINERS}.[name=b].image");
        let found = replaced(source, json!({"fieldPaths": [path], "options": options})).unwrap();
        assert_eq!(found[1]["image"], "sidecar:1.2");
    }

    #[test]
    fn what_is_missing_is_made_or_told() {
        let path = format!("{CONTAINERS}.[name=b].env.[name=NEW].value");
        let source = json!({"kind": "ConfigMap"});
        let made = replaced(source.clone(), json!({"fieldPaths": [path], "options": {"create": true}})).unwrap();
        assert_eq!(made[1]["env"], json!([{"name": "NEW", "value": "env"}]));
        let error = replaced(source, json!({"fieldPaths": [path]})).unwrap_err();
        assert!(error.starts_with("unable to find field") && error.contains("Deployment.v1.apps/web"), "{error}");
        let error = replaced(json!({"kind": "Nothing"}), json!({})).unwrap_err();
        assert_eq!(error, "nothing selected by Nothing ");
        let error = replaced(json!({"kind": "ConfigMap", "fieldPath": "data.none"}), json!({})).unwrap_err();
        assert!(error.starts_with("fieldPath \"data.none\" is missing"), "{error}");
    }

    #[test]
    fn rejected_objects_stay() {
        let target = json!({"reject": [{"name": "web"}], "fieldPaths": ["metadata.name"]});
        assert_eq!(replaced(json!({"kind": "ConfigMap"}), target).unwrap()[0]["image"], "web:1.0");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_paths_never_panic(path in "[a-c\\[\\]=.*0-9\\\\]{0,20}") {
            let mut value = json!({"a": [{"b": 1}], "c": "x"});
            let _ = visit(&mut value, &steps(&path), true, &mut |_| Ok(()));
        }
    }
}
