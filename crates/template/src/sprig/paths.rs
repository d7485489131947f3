//! Paths and URLs.

use super::text;
use crate::{Map, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("base", "s", |args| Ok(base(&text(&args[0])).into())),
    ("dir", "s", |args| Ok(dir(&text(&args[0])).into())),
    ("clean", "s", |args| Ok(clean(&text(&args[0])).into())),
    ("ext", "s", |args| Ok(ext(&text(&args[0])).into())),
    ("isAbs", "s", |args| Ok(text(&args[0]).starts_with('/').into())),
    ("osBase", "s", |args| Ok(base(&text(&args[0])).into())),
    ("osDir", "s", |args| Ok(dir(&text(&args[0])).into())),
    ("osClean", "s", |args| Ok(clean(&text(&args[0])).into())),
    ("osExt", "s", |args| Ok(ext(&text(&args[0])).into())),
    ("osIsAbs", "s", |args| Ok(text(&args[0]).starts_with('/').into())),
    ("urlParse", "s", |args| Ok(url(&text(&args[0])))),
    ("urlJoin", "m", |args| Ok(joined(&args[0]).into())),
];

fn base(path: &str) -> String {
    match (path, path.trim_end_matches('/')) {
        ("", _) => ".".to_owned(),
        (_, "") => "/".to_owned(),
        (_, path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

fn dir(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |slash| slash + 1)])
}

fn ext(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rfind('.').map_or_else(String::new, |dot| name[dot..].to_owned())
}

/// The shortest path with the same meaning, as Go's `path.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

const PARTS: [&str; 8] = ["scheme", "userinfo", "host", "hostname", "path", "query", "opaque", "fragment"];

fn url(text: &str) -> Value {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    let (scheme, rest) = rest.split_once(':').filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", rest));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let opaque = if !scheme.is_empty() && !rest.starts_with('/') { rest } else { "" };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hostname = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let hostname = hostname.trim_matches(['[', ']']);
    let path = if opaque.is_empty() { path } else { "" };
    let values = [scheme, user, host, hostname, path, query, opaque, fragment];
    Value::Map(Map::dict(PARTS.iter().zip(values).map(|(name, value)| ((*name).into(), value.into()))))
}

fn joined(value: &Value) -> String {
    let Value::Map(map) = value else { return String::new() };
    let part = |name: &str| map.get_text(name).map(|value| text(&value)).unwrap_or_default();
    let mut out = String::new();
    if !part("scheme").is_empty() {
        out = part("scheme") + ":";
    }
    if !part("opaque").is_empty() {
        out += &part("opaque");
    } else {
        if !out.is_empty() || !part("host").is_empty() {
            out += "//";
        }
        if !part("userinfo").is_empty() {
            out = out + &part("userinfo") + "@";
        }
        out += &part("host");
        let path = part("path");
        out = out + if path.is_empty() || path.starts_with('/') { "" } else { "/" } + &path;
    }
    for (sign, name) in [("?", "query"), ("#", "fragment")] {
        if !part(name).is_empty() {
            out = out + sign + &part(name);
        }
    }
    out
}
