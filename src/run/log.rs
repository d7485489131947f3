//! The log: for people, or one JSON object a line with the fields that Flux's controllers write; and standalone kept in a
//! file beside the state for `slipway logs`.

mod kept;

use std::{fmt, path::Path};

use anyhow::Context as _;
use reconcile::clock;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    fmt::{
        self as lines, FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub use kept::{FILE, older};

use crate::args::run::LogEncoding;

/// Starts the log of this process. With a folder, what is logged is also kept there, as much as `slipway logs` needs.
pub fn start(level: &str, encoding: LogEncoding, folder: Option<&Path>) -> anyhow::Result<()> {
    // The word of Flagger's chart.
    let level = if level == "warning" { "warn" } else { level };
    if let Some(unknown) = unknown_level(level) {
        // A filter takes any word for a part of the program, and then nothing else is logged.
        anyhow::bail!(
            "--log-level {level}: no level is called {unknown:?}; levels are error, warn, info, debug, trace"
        );
    }
    // kube-runtime opens a span of its own around ours, and kube-client calls every refusal an error; neither is for users.
    let filter = EnvFilter::try_new(format!("{level},kube_runtime=warn,kube_client=off"));
    let filter = filter.with_context(|| format!("--log-level {level}"))?;
    let stderr = lines::layer().with_writer(std::io::stderr);
    let shown = match encoding {
        LogEncoding::Console => stderr.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogEncoding::Json => stderr.fmt_fields(JsonFields::new()).event_format(Json { word }).boxed(),
    };
    let file = folder.map(kept::File::open).transpose()?;
    let kept = file.map(|file| {
        let layer = lines::layer().fmt_fields(JsonFields::new()).event_format(Json { word: own_word });
        layer.with_ansi(false).with_writer(file)
    });
    let started = tracing_subscriber::registry().with(filter).with(shown).with(kept).try_init();
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// A word of a filter that stands alone where every filter must say a level.
fn unknown_level(filter: &str) -> Option<&str> {
    let is_level = |word: &str| word.is_empty() || word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let mut words = filter.split(',').map(str::trim);
    words.find(|word| !word.contains(['=', '[', ':']) && !is_level(word))
}

/// Flux's form of a line: `level`, `ts`, `msg`, `controllerKind`, `name`, `namespace`, then the event's own fields.
struct Json {
    word: fn(Level) -> &'static str,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut spans = Map::new();
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(fields.as_str())
            {
                spans.extend(fields);
            }
        }
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        writeln!(writer, "{}", line((self.word)(*event.metadata().level()), &clock::now().to_string(), spans, fields.0))
    }
}

/// One line of the log.
fn line(level: &str, time: &str, spans: Map<String, Value>, mut fields: Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("level".into(), level.into());
    line.insert("ts".into(), time.into());
    line.insert("msg".into(), fields.remove("message").unwrap_or_default());
    for (key, value) in spans {
        match key.as_str() {
            "kind" => {
                line.insert("controller".into(), value.as_str().unwrap_or_default().to_lowercase().into());
                line.insert("controllerKind".into(), value);
            }
            _ => drop(line.insert(key, value)),
        }
    }
    line.extend(fields);
    line.into()
}

/// Flux knows no warnings: what somebody should look at is an error there, and `--level=error` must find it.
const fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR | Level::WARN => "error",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Our own names of levels.
const fn own_word(level: Level) -> &'static str {
    match level {
        Level::WARN => "warn",
        level => word(level),
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn lines_have_the_fields_of_flux() {
        let spans = object(json!({"kind": "Kustomization", "namespace": "flux-system", "name": "apps"}));
        let fields = object(json!({"message": "run failed", "error": "boom"}));
        assert_eq!(
            line(word(Level::WARN), "2026-01-02T03:04:05Z", spans, fields),
            json!({"level": "error", "ts": "2026-01-02T03:04:05Z", "msg": "run failed", "controller": "kustomization",
                "controllerKind": "Kustomization", "namespace": "flux-system", "name": "apps", "error": "boom"})
        );
    }
}
