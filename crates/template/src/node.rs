//! The parsed template, and how its parts print in error texts.

use std::fmt;

use crate::Value;

/// A list of nodes: a whole template or a branch.
pub(crate) type Block = Vec<Node>;

/// One piece of a template.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Text to be copied.
    Text(String),
    /// `{{pipeline}}`
    Action(Pipe),
    /// `{{if}}`
    If(Branch),
    /// `{{with}}`
    With(Branch),
    /// `{{range}}`
    Range(Branch),
    /// `{{break}}`
    Break,
    /// `{{continue}}`
    Continue,
    /// `{{template "name" pipeline}}`
    Template(Call),
}

/// The use of a template that is defined elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub at: usize,
    pub name: String,
    pub pipe: Option<Pipe>,
}

/// A condition or a list, what to do with it, and what else.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub pipe: Pipe,
    pub body: Block,
    pub otherwise: Block,
}

/// Commands whose results flow from left to right, perhaps into variables.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    pub at: usize,
    pub variables: Vec<String>,
    /// `=` and not `:=`
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub at: usize,
    pub arguments: Vec<Operand>,
}

/// Something with a value, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub at: usize,
    pub term: Term,
}

/// What an operand is.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Dot,
    Nil,
    /// A bool, number or text as written.
    Literal(Value, String),
    /// A function.
    Identifier(String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`
    Variable(String, Vec<String>),
    /// `(pipeline)`
    Pipe(Pipe),
    /// `(pipeline).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            |f: &mut fmt::Formatter<'_>, names: &[String]| names.iter().try_for_each(|name| write!(f, ".{name}"));
        match &self.term {
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Literal(_, text) | Term::Identifier(text) => f.write_str(text),
            Term::Field(names) => fields(f, names),
            Term::Variable(name, names) => f.write_str(name).and_then(|()| fields(f, names)),
            Term::Pipe(pipe) => write!(f, "{pipe}"),
            Term::Chain(inner, names) => enclosed(f, inner).and_then(|()| fields(f, names)),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arguments.iter().enumerate().try_for_each(|(index, argument)| {
            f.write_str(if index == 0 { "" } else { " " })?;
            enclosed(f, argument)
        })
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        self.commands
            .iter()
            .enumerate()
            .try_for_each(|(index, command)| write!(f, "{}{command}", if index == 0 { "" } else { " | " }))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", crate::print::quote(&self.name))?;
        self.pipe.iter().try_for_each(|pipe| write!(f, " {pipe}"))?;
        f.write_str("}}")
    }
}

/// An operand as part of something greater: a pipeline is put in parentheses.
fn enclosed(f: &mut fmt::Formatter<'_>, operand: &Operand) -> fmt::Result {
    match operand.term {
        Term::Pipe(_) => write!(f, "({operand})"),
        _ => write!(f, "{operand}"),
    }
}
