//! How an object and what happened to it are put into words. Pure.

use reconcile::{Event, Severity};

/// `kustomization/apps.flux-system`.
pub fn object(event: &Event) -> String {
    let about = &event.involved_object.reference;
    format!("{}/{}.{}", about.kind.to_lowercase(), about.name, about.namespace)
}

/// `kustomization/apps`, with the event's summary before it if it has one.
pub fn name(event: &Event) -> String {
    let about = &event.involved_object.reference;
    let name = format!("{}/{}", about.kind, about.name);
    match event.metadata.get("summary") {
        Some(summary) => format!("{summary}/{name}").to_lowercase(),
        None => name.to_lowercase(),
    }
}

/// The reason in words: `HealthCheckFailed` is `health check failed`.
pub fn reason(event: &Event) -> String {
    let class = |character: char| match character {
        _ if character.is_lowercase() => 1,
        _ if character.is_uppercase() => 2,
        _ if character.is_numeric() => 3,
        _ => 4,
    };
    let characters: Vec<char> = event.reason.chars().collect();
    let mut words = String::new();
    for (index, character) in characters.iter().enumerate() {
        let previous = index.checked_sub(1).map(|previous| class(characters[previous]));
        let next = characters.get(index + 1).map(|next| class(*next));
        // The last capital of several begins the next word: `OCIArtifact` is `oci artifact`.
        let begins = match (previous, class(*character)) {
            (None, _) => false,
            (Some(2), 1) => false,
            (Some(2), 2) => next == Some(1),
            (Some(previous), own) => previous != own,
        };
        if begins {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

/// One of two texts, by severity.
pub fn by_severity<'a>(event: &Event, error: &'a str, other: &'a str) -> &'a str {
    if event.severity == Severity::Error { error } else { other }
}

/// The severity as Flux writes it.
pub const fn severity(event: &Event) -> &'static str {
    match event.severity {
        Severity::Info => "info",
        Severity::Error => "error",
        Severity::Trace => "trace",
    }
}

/// The time to the second.
pub fn time(event: &Event) -> String {
    let second = jiff::Timestamp::from_second(event.timestamp.as_second());
    second.unwrap_or(event.timestamp).to_string()
}

/// The whole event in Markdown.
pub fn markdown(event: &Event) -> String {
    let about = &event.involved_object.reference;
    let facts = event.metadata.iter().filter(|(key, _)| *key != "change_request");
    let facts: String = facts.map(|(key, value)| format!("* `{key}`: {value}\n")).collect();
    format!(
        "## Flux Status\n\n{} {}/{}/{}\n\n{}\n\nMetadata:\n{facts}",
        by_severity(event, "⚠️", "ℹ️"),
        about.kind,
        about.namespace,
        about.name,
        event.message
    )
}
