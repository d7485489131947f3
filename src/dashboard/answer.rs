//! Answers of the API: JSON that nobody keeps, and refusals in the shape that every verb uses.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

/// A refusal: what, because of what, and what to do.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: String,
    because: Vec<String>,
    hint: Option<String>,
}

impl Refusal {
    /// What was refused.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), because: Vec::new(), hint: None }
    }

    /// Something that was named is not there.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} is not there"))
    }

    /// The same with what to do.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<reconcile::Error> for Refusal {
    fn from(error: reconcile::Error) -> Self {
        let status = match &error {
            reconcile::Error::NotFound(_) => StatusCode::NOT_FOUND,
            reconcile::Error::Conflict(_) => StatusCode::CONFLICT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let because = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        Self {
            because: because.map(ToString::to_string).collect(),
            ..Self::new(status, format!("the store cannot be read: {error}"))
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, error, because, hint } = self;
        let body = json!({"error": error, "because": because, "hint": hint, "code": status.as_u16()});
        (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
    }
}

/// JSON as it is now.
pub struct Answer<T>(pub T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], axum::Json(self.0)).into_response()
    }
}

/// What handlers give.
pub type Answered<T> = Result<Answer<T>, Refusal>;

/// A path that the API does not have.
pub async fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "the API has no such path")
}
