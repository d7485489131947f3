//! A line of slipway's log, as JSON, and how it reads.

use anyhow::bail;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// How much a line matters; later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// Why nothing changed.
    Debug,
    /// Something changed.
    Info,
    /// Somebody should look.
    Warn,
    /// Something is broken.
    Error,
}

impl Level {
    /// Reads a word; an error names those that there are.
    pub fn parse(word: &str) -> anyhow::Result<Self> {
        Ok(match word {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => bail!("no level is called {word:?}; levels are error, warn, info, debug, trace"),
        })
    }
}

/// A line.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// How much it matters.
    pub level: Level,
    /// When.
    pub at: Option<Timestamp>,
    /// What happened.
    pub message: String,
    /// Kind of the object that it is about; empty, as its names, if about none.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    fields: Map<String, Value>,
}

impl Entry {
    /// Reads a line; none if it is not one of ours.
    pub fn parse(line: &str) -> Option<Self> {
        let Value::Object(mut fields) = serde_json::from_str(line).ok()? else { return None };
        let mut take = |field: &str| match fields.remove(field) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (level, at, message) = (Level::parse(&take("level")).ok()?, take("ts").parse().ok(), take("msg"));
        let (kind, namespace, name) = (take("controllerKind"), take("namespace"), take("name"));
        take("controller");
        Some(Self { level, at, message, kind, namespace, name, fields })
    }

    /// `2026-05-04T09:16:42Z info canary/podinfo.apps weight raised from=20 to=30`
    pub fn text(&self) -> String {
        let at = self.at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
        let mut text = format!("{at} {}", format!("{:?}", self.level).to_lowercase());
        if !self.kind.is_empty() {
            text += &format!(" {}/{}.{}", self.kind.to_lowercase(), self.name, self.namespace);
        }
        text += &format!(" {}", self.message);
        for (field, value) in &self.fields {
            match value {
                Value::String(word) if word.contains([' ', '"']) => text += &format!(" {field}={word:?}"),
                Value::String(word) => text += &format!(" {field}={word}"),
                value => text += &format!(" {field}={value}"),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_time_level_object_and_what_happened() {
        let line = r#"{"level":"info","ts":"2026-05-04T09:16:42.123Z","msg":"weight raised","controller":"canary","controllerKind":"Canary","name":"podinfo","namespace":"apps","from":20,"why":"all good"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!(
            entry.text(),
            "2026-05-04T09:16:42Z info canary/podinfo.apps weight raised from=20 why=\"all good\""
        );
        assert_eq!(Entry::parse("not ours"), None);
        assert!(Level::Warn > Level::Info && Level::parse("loud").is_err());
    }
}
