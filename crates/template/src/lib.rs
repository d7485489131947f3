//! Go's `text/template`, as far as Flux's commit messages and Flagger's metric templates use it: lexer, parser, evaluator.
//!
//! A [`Template`] is parsed once with the [`Functions`] it may call, and rendered with a [`Value`] as its dot. Error texts are
//! Go's, with template name, line and column. Work, output and nesting are bounded, since templates come from users.

mod case;
mod compare;
mod error;
mod escape;
mod eval;
mod exec;
mod format;
mod functions;
mod lex;
mod node;
mod number;
mod parse;
mod print;
mod sprig;
mod value;

pub use error::{Error, Stage};
pub use functions::{Function, Functions, Kind};
pub use value::{Entries, Field, List, Map, Method, Struct, Value};

use std::collections::BTreeMap;

/// What a map does when asked for a key it has not. Source: Go `text/template`, `Template.Option`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// Give nothing, which prints as `<no value>`.
    #[default]
    NoValue,
    /// Fail, as Flagger asks for.
    Error,
}

/// How a template is rendered, and how much it may cost.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What a missing map key does.
    pub missing_key: MissingKey,
    /// Most nodes that are visited in one rendering.
    pub max_steps: usize,
    /// Longest output, in bytes; also the longest text that a function may build.
    pub max_output_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { missing_key: MissingKey::NoValue, max_steps: 1_000_000, max_output_bytes: 4 << 20 }
    }
}

/// A parsed template with those that it defines.
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    text: String,
    definitions: BTreeMap<String, node::Block>,
    functions: Functions,
}

impl Template {
    /// Parses a template. `name` appears in error texts; functions must be known now, as in Go.
    pub fn parse(name: &str, text: &str, functions: Functions) -> Result<Self, Error> {
        let definitions = parse::parse(name, text, &functions)?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), definitions, functions })
    }

    /// Renders the template with `data` as dot.
    pub fn render(&self, data: &Value, options: &Options) -> Result<String, Error> {
        exec::render(self, data, options)
    }
}

#[cfg(test)]
mod tests;
