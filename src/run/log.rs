//! The log: for people, or one JSON object a line with the fields that Flux's controllers write.

use std::fmt;

use anyhow::Context as _;
use reconcile::clock;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

use crate::args::run::LogEncoding;

/// Starts the log of this process.
pub fn start(level: &str, encoding: LogEncoding) -> anyhow::Result<()> {
    // kube-runtime opens a span of its own around ours, and kube-client calls every refusal an error; neither is for users.
    let filter = EnvFilter::try_new(format!("{level},kube_runtime=warn,kube_client=off"));
    let filter = filter.with_context(|| format!("--log-level {level}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match encoding {
        LogEncoding::Console => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogEncoding::Json => builder.fmt_fields(JsonFields::new()).event_format(Json).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// Flux's form of a line: `level`, `ts`, `msg`, `controllerKind`, `name`, `namespace`, then the event's own fields.
struct Json;

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
        writeln!(writer, "{}", line(*event.metadata().level(), &clock::now().to_string(), spans, fields.0))
    }
}

/// One line of the log.
fn line(level: Level, time: &str, spans: Map<String, Value>, mut fields: Map<String, Value>) -> Value {
    let mut line = Map::new();
    line.insert("level".into(), word(level).into());
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
            line(Level::WARN, "2026-01-02T03:04:05Z", spans, fields),
            json!({"level": "error", "ts": "2026-01-02T03:04:05Z", "msg": "run failed", "controller": "kustomization",
                "controllerKind": "Kustomization", "namespace": "flux-system", "name": "apps", "error": "boom"})
        );
    }
}
