//! Which tag of an image is wanted: versions, ranges, filters, orders, and the choice among tags.
//!
//! Pure: text in, decision out. The scanner and the `choose` and `semver` verbs call the same functions.
//! Source: reference image-automation.md section 5, measured on Flux and on Masterminds/semver v3.5.0.

pub mod calver;
pub mod filter;
pub mod number;
pub mod order;
pub mod pattern;
pub mod range;
pub mod rules;
pub mod select;
pub mod version;

pub use filter::Filter;
pub use number::Number;
pub use order::Order;
pub use pattern::Pattern;
pub use range::Range;
pub use rules::{Bar, Facts, Rules, Unknown};
pub use select::{Candidate, Policy, Selection, Verdict, select};
pub use version::Version;

/// Why a policy chooses nothing. The texts are Flux's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The range cannot be read.
    #[error(transparent)]
    Range(#[from] range::InvalidRange),
    /// The order is neither `asc` nor `desc`.
    #[error("invalid order argument provided: '{0}', must be one of: ASC, DESC")]
    Order(String),
    /// The format of a calendar order has no field.
    #[error("annotation slipway.dev/calver: {0:?} has none of the fields of CalVer, such as YYYY.0M.MICRO")]
    CalVer(String),
    /// None of the three orders is given.
    #[error("given ImagePolicyChoice object is invalid")]
    NoOrder,
    /// The pattern of `filterTags` cannot be read.
    #[error("invalid regular expression pattern '{pattern}': {source}")]
    Pattern {
        /// As the manifest has it.
        pattern: String,
        /// What is wrong.
        source: pattern::InvalidPattern,
    },
    /// There are no tags, or the filter left none.
    #[error("version list argument cannot be empty")]
    Empty,
    /// No tag fits.
    #[error("unable to determine latest version from provided list")]
    NoneFits,
    /// Tags fit, and the policy's own rules bar all of them.
    #[error("every tag that fits is barred by a rule of the policy")]
    AllBarred,
    /// A numerical policy met a tag that is no number.
    #[error("failed to parse invalid numeric value '{0}'")]
    NotANumber(String),
}

impl Error {
    /// Whether the policy itself is at fault, whatever the tags: nothing helps but changing it.
    pub fn is_invalid_policy(&self) -> bool {
        matches!(self, Self::Range(_) | Self::Order(_) | Self::CalVer(_) | Self::NoOrder | Self::Pattern { .. })
    }
}

#[cfg(test)]
mod cases;
