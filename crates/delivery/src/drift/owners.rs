//! Who else applies a field: told from `metadata.managedFields`.
//!
//! Source: Flux `pkg/ssa`, `isFieldOwnedByOtherApplyManager`; Kubernetes `FieldsV1`.

use serde_json::Value;

use super::pointer;

/// The fields of those that apply an object.
pub(super) struct Owners<'a> {
    all: Vec<&'a Value>,
    others: Vec<&'a Value>,
}

impl<'a> Owners<'a> {
    /// Those of a live object, of which `own` is one.
    pub(super) fn of(live: &'a Value, own: &str) -> Self {
        let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        let text = |entry: &'a Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let applied = entries.into_iter().flatten().filter(|entry| {
            text(entry, "operation") == "Apply"
                && text(entry, "subresource").is_empty()
                && entry.get("fieldsV1").is_some()
        });
        let (mut all, mut others) = (Vec::new(), Vec::new());
        for entry in applied {
            all.push(&entry["fieldsV1"]);
            if text(entry, "manager") != own {
                others.push(&entry["fieldsV1"]);
            }
        }
        Self { all, others }
    }

    /// Whether somebody else applies what the pointer leads to in the live object.
    pub(super) fn has(&self, live: &Value, pointer: &str) -> bool {
        let Some(names) = self.names(live, pointer) else { return false };
        self.others.iter().any(|fields| walk(fields, &names).is_some())
    }

    /// The names in `fieldsV1` of the parts of a pointer. An item of a list goes by the fields that make it unique, which
    /// only those that apply it know.
    fn names(&self, live: &Value, pointer: &str) -> Option<Vec<String>> {
        let (mut names, mut place) = (Vec::new(), Some(live));
        for part in pointer::parts(pointer) {
            let index = part.parse::<usize>().ok();
            match (place, index) {
                (Some(Value::Array(items)), Some(index)) => {
                    let item = items.get(index)?;
                    names.push(self.key(&names, item)?);
                    place = Some(item);
                }
                _ => {
                    names.push(format!("f:{part}"));
                    place = place.and_then(|value| value.get(&part));
                }
            }
        }
        Some(names)
    }

    /// The name of an item below the parts: `k:{"name":"app"}`.
    fn key(&self, parents: &[String], item: &Value) -> Option<String> {
        let known = self.all.iter().filter_map(|fields| walk(fields, parents)?.as_object());
        let mut keys = known.flat_map(|fields| fields.keys());
        let is_of = |key: &&String| {
            let unique = key.strip_prefix("k:").and_then(|text| serde_json::from_str::<Value>(text).ok());
            let unique = unique.as_ref().and_then(Value::as_object);
            unique.is_some_and(|unique| unique.iter().all(|(field, value)| item.get(field) == Some(value)))
        };
        keys.find(is_of).cloned()
    }
}

/// What is below the names.
fn walk<'a>(fields: &'a Value, names: &[String]) -> Option<&'a Value> {
    names.iter().try_fold(fields, |fields, name| fields.get(name))
}
