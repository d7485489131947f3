//! Why a metric has no value. The texts are the reference's where it has one; none of them holds a credential.

use api::duration::InvalidDuration;

use super::{Source, provider::Identity};

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The answer holds nothing to judge by: no series, null, NaN.
    #[error("no values found")]
    NoValues,
    /// The answer holds several values where one is expected.
    #[error("multiple values returned from provider")]
    MultipleValues,
    /// The server refused.
    #[error("error response: Status {status}: {body}")]
    Response {
        /// Code and reason.
        status: String,
        /// The beginning of what it said.
        body: String,
    },
    /// The answer is not what the provider's interface promises.
    #[error("error unmarshaling result: {problem}, '{body}'")]
    Unreadable {
        /// What is wrong.
        problem: String,
        /// The beginning of the answer.
        body: String,
    },
    /// A value is not a number.
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    NotANumber(String),
    /// The Secret lacks a key.
    #[error("{provider} credentials does not contain {what}")]
    Credentials {
        /// Type of the provider.
        provider: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// The address is not a URL.
    #[error("{provider} address {address} is not a valid URL")]
    Address {
        /// Type of the provider.
        provider: &'static str,
        /// The address, without the login it may hold.
        address: String,
    },
    /// The template names no address, and the provider has no usual one.
    #[error("{0} endpoint is not set")]
    NoAddress(&'static str),
    /// CloudWatch without a region.
    #[error("region not specified")]
    NoRegion,
    /// The metric's interval, which sets the provider's window, cannot be read.
    #[error("error parsing metric interval: time: {0}")]
    Interval(InvalidDuration),
    /// The query is not what the provider takes.
    #[error("error parsing metric query: {0}")]
    Query(String),
    /// The request needs our own login: ask again with it.
    #[error("no {0:?} login is known")]
    NoLogin(Identity),
    /// A credential does not fit into a request.
    #[error("{0} request cannot be made: a credential or header holds characters that do not belong there")]
    Request(&'static str),
    /// The MetricTemplate is not there.
    #[error("Metric template {name} error: not found")]
    NoTemplate {
        /// `name.namespace`
        name: String,
    },
    /// A query cannot be rendered. The text is Go's, with line and column.
    #[error("{0}")]
    Render(String),
    /// A metric that is not built in has no query.
    #[error("Metric query failed for no usable metrics template and query were configured")]
    NoQuery,
}

impl Error {
    /// The event's text when a query from that source cannot be made up. Source: reference progressive-delivery.md, A.10.
    pub fn of(&self, source: Source<'_>) -> String {
        match source {
            Source::Template(namespace, name) => {
                format!("Metric template {name}.{namespace} query render error: {self}")
            }
            _ => self.to_string(),
        }
    }
}
