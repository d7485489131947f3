//! The sample cases, run through the built binary as its users run it. Beside the modules in `cases/` lie the cases.

mod hooks;
mod images;
mod rollouts;

use serde_json::Value;

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}
