//! `eq`, `lt` and their kin. Source of behaviour and texts: Go 1.26 `text/template`, `funcs.go`.

use crate::{Value, print};

const NO_ORDER: &str = "invalid type for comparison";

/// Whether the first equals any of the others.
pub(crate) fn equal(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Nil, other) => matches!(other, Value::Nil),
            (_, Value::Nil) => false,
            (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
                if rank(first) != rank(other) {
                    return Err(incompatible(first, other));
                }
                let (left, right) = (print::text(first), print::text(other));
                return Err(format!(
                    "non-comparable types {left}: {}, {}: {right}",
                    first.type_name(),
                    other.type_name()
                ));
            }
            _ if rank(first) != rank(other) => return Err(incompatible(first, other)),
            (Value::Float(left), Value::Float(right)) => left == right,
            _ => first.same(other),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the first comes before the second.
pub(crate) fn less(first: &Value, second: &Value) -> Result<bool, String> {
    match (first, second) {
        (Value::Int(left), Value::Int(right)) => Ok(left < right),
        (Value::Float(left), Value::Float(right)) => Ok(left < right),
        (Value::String(left), Value::String(right)) => Ok(left < right),
        (
            Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Bool(_),
            Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Bool(_),
        ) if rank(first) != rank(second) => Err(incompatible(first, second)),
        _ => Err(NO_ORDER.to_owned()),
    }
}

/// Whether the first comes before the second or equals it.
pub(crate) fn less_or_equal(first: &Value, second: &Value) -> Result<bool, String> {
    Ok(less(first, second)? || equal(first, std::slice::from_ref(second))?)
}

fn rank(value: &Value) -> &'static str {
    value.kind_name()
}

fn incompatible(first: &Value, second: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", first.type_name(), second.type_name())
}
