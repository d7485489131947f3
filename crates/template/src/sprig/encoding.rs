//! JSON, base 64, base 32, check sums.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::{digest, text};
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("toJson", "a", |args| Ok(json(&args[0], false, true).unwrap_or_default().into())),
    ("mustToJson", "a", |args| json(&args[0], false, true).map(Value::from)),
    ("toPrettyJson", "a", |args| Ok(json(&args[0], true, true).unwrap_or_default().into())),
    ("mustToPrettyJson", "a", |args| json(&args[0], true, true).map(Value::from)),
    ("toRawJson", "a", |args| json(&args[0], false, false).map(Value::from)),
    ("mustToRawJson", "a", |args| json(&args[0], false, false).map(Value::from)),
    ("fromJson", "s", |args| Ok(from_json(&args[0]).unwrap_or_default())),
    ("mustFromJson", "s", |args| from_json(&args[0])),
    ("b64enc", "s", |args| Ok(STANDARD.encode(text(&args[0])).into())),
    ("b64dec", "s", |args| {
        let encoded: String = text(&args[0]).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        Ok(match STANDARD.decode(&encoded) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            Err(base64::DecodeError::InvalidByte(at, _)) => format!("illegal base64 data at input byte {at}").into(),
            Err(_) => format!("illegal base64 data at input byte {}", encoded.len() / 4 * 4).into(),
        })
    }),
    ("b32enc", "s", |args| Ok(digest::base32(text(&args[0]).as_bytes()).into())),
    ("b32dec", "s", |args| {
        Ok(match digest::from_base32(&text(&args[0])) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
            Err(at) => format!("illegal base32 data at input byte {at}").into(),
        })
    }),
    ("sha1sum", "s", |args| Ok(digest::hex(&digest::sha1(text(&args[0]).as_bytes())).into())),
    ("sha256sum", "s", |args| Ok(digest::hex(&Sha256::digest(text(&args[0]))).into())),
    ("sha512sum", "s", |args| Ok(digest::hex(&Sha512::digest(text(&args[0]))).into())),
    ("adler32sum", "s", |args| Ok(digest::adler32(text(&args[0]).as_bytes()).to_string().into())),
];

fn from_json(value: &Value) -> Result<Value, String> {
    serde_json::from_str(&text(value))
        .map(|json: serde_json::Value| Value::from(&json))
        .map_err(|error| error.to_string())
}

fn json(value: &Value, pretty: bool, escaped: bool) -> Result<String, String> {
    let tree = tree(value, 0)?;
    let written = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) };
    let written = written.map_err(|error| error.to_string())?;
    if !escaped {
        return Ok(written);
    }
    // These characters occur within texts only.
    let pairs =
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    Ok(pairs.iter().fold(written, |text, (from, to)| text.replace(*from, to)))
}

fn tree(value: &Value, depth: usize) -> Result<serde_json::Value, String> {
    use serde_json::Value as Json;
    if depth > 50 {
        return Err("json: unsupported value: encountered a cycle".to_owned());
    }
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => whole_or_float(*value)?,
        Value::String(text) => Json::String(text.to_string()),
        Value::List(list) => {
            Json::Array(list.items.iter().map(|item| tree(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let entries = map.entries().into_iter().map(|(key, value)| match key {
                Value::Struct(_) => Err(format!("json: unsupported type: {}", map.type_name)),
                key => Ok((text(&key), tree(&value, depth + 1)?)),
            });
            Json::Object(entries.collect::<Result<_, _>>()?)
        }
        Value::Struct(value) => {
            let fields = value.fields.iter().map(|field| Ok((field.name.to_owned(), tree(&field.value, depth + 1)?)));
            Json::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// Go writes a float without a fraction as a whole number.
fn whole_or_float(value: f64) -> Result<serde_json::Value, String> {
    #[expect(clippy::cast_possible_truncation, reason = "the size has been looked at")]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return Ok((value as i64).into());
    }
    let number = serde_json::Number::from_f64(value).map(serde_json::Value::Number);
    number.ok_or_else(|| format!("json: unsupported value: {}", crate::print::float(value)))
}
