//! Why a template could not be parsed or rendered.

/// Where a template failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The text is no template.
    Parse,
    /// Rendering failed.
    Execute,
}

/// A failure with Go's text: `template: NAME:LINE:COLUMN: executing "NAME" at <NODE>: CAUSE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Parse or execute.
    pub stage: Stage,
    /// The whole text.
    pub message: String,
    /// What a called function or method said, without position, when the failure is its own.
    pub cause: Option<String>,
}

impl Error {
    pub(crate) fn parse(name: &str, line: usize, what: &str) -> Self {
        Self { stage: Stage::Parse, message: format!("template: {name}:{line}: {what}"), cause: None }
    }
}
