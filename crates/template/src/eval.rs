//! Evaluates pipelines, fields and calls. Source of behaviour and texts: Go 1.26 `text/template`, `exec.go`.

use std::fmt::Display;

use crate::{
    Error, Kind, MissingKey, Struct, Value,
    exec::State,
    functions::Function,
    node::{Command, Operand, Pipe, Term},
    print,
};

/// The call of a function, and the node to name when it fails.
struct Call<'t> {
    name: &'t str,
    arguments: &'t [Operand],
    at: usize,
    node: &'t dyn Display,
}

impl<'t> State<'t> {
    /// The value of the last command; it is put into the variables, if any.
    pub fn pipeline(&mut self, dot: &Value, pipe: &'t Pipe) -> Result<Value, Error> {
        self.look(pipe.at, pipe);
        let mut piped = None;
        for command in &pipe.commands {
            self.step()?;
            piped = Some(self.command(dot, command, piped)?);
        }
        let value = piped.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Value, command: &'t Command, piped: Option<Value>) -> Result<Value, Error> {
        let Some((first, arguments)) = command.arguments.split_first() else { return Ok(Value::Nil) };
        match &first.term {
            Term::Field(names) => {
                self.look(first.at, first);
                return self.fields(dot.clone(), names, first, arguments, piped);
            }
            Term::Variable(name, names) if !names.is_empty() => {
                self.look(first.at, first);
                let value = self.variable(name)?;
                return self.fields(value, names, first, arguments, piped);
            }
            Term::Chain(inner, names) => {
                self.look(first.at, first);
                let value = self.argument(dot, inner, Kind::Any)?;
                return self.fields(value, names, first, arguments, piped);
            }
            Term::Identifier(name) => {
                self.look(first.at, first);
                let call = Call { name, arguments, at: command.at, node: command };
                return self.function(dot, &call, piped);
            }
            Term::Pipe(pipe) => {
                self.refuse_arguments(first, arguments, piped.is_some())?;
                return self.pipeline(dot, pipe);
            }
            _ => {}
        }
        self.look(first.at, first);
        self.refuse_arguments(first, arguments, piped.is_some())?;
        match &first.term {
            Term::Variable(name, _) => self.variable(name),
            Term::Dot => Ok(dot.clone()),
            Term::Literal(value, _) => Ok(value.clone()),
            _ => self.fail("nil is not a command"),
        }
    }

    fn refuse_arguments(&self, first: &Operand, arguments: &[Operand], piped: bool) -> Result<(), Error> {
        if arguments.is_empty() && !piped {
            return Ok(());
        }
        self.fail(&format!("can't give argument to non-function {}", enclosed(first)))
    }

    fn variable(&self, name: &str) -> Result<Value, Error> {
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(&format!("undefined variable: {name}")),
        }
    }

    /// `.A.B.C args`: only the last name can take arguments.
    fn fields(
        &mut self,
        mut value: Value,
        names: &'t [String],
        node: &'t Operand,
        arguments: &'t [Operand],
        piped: Option<Value>,
    ) -> Result<Value, Error> {
        let count = arguments.len() + usize::from(piped.is_some());
        for (index, name) in names.iter().enumerate() {
            let count = if index + 1 == names.len() { count } else { 0 };
            value = self.field(&value, name, node, count)?;
        }
        Ok(value)
    }

    fn field(&mut self, receiver: &Value, name: &str, node: &'t Operand, arguments: usize) -> Result<Value, Error> {
        self.step()?;
        match receiver {
            Value::Nil if self.options.missing_key == MissingKey::Error => {
                self.fail(&format!("nil data; no entry for key {}", print::quote(name)))
            }
            Value::Nil => Ok(Value::Nil),
            Value::Struct(value) => self.member(value, name, node, arguments),
            Value::Map(map) if !map.has_text_keys() => {
                self.fail(&format!("can't evaluate field {name} in type {}", map.type_name))
            }
            Value::Map(_) if arguments > 0 => self.fail(&format!("{name} is not a method but has arguments")),
            Value::Map(map) => match (map.get_text(name), self.options.missing_key) {
                (Some(value), _) => Ok(value),
                (None, MissingKey::NoValue) => Ok(Value::Nil),
                (None, MissingKey::Error) => self.fail(&format!("map has no entry for key {}", print::quote(name))),
            },
            other => self.fail(&format!("can't evaluate field {name} in type {}", other.type_name())),
        }
    }

    fn member(&mut self, value: &Struct, name: &str, node: &'t Operand, arguments: usize) -> Result<Value, Error> {
        if let Some((_, method)) = value.methods.iter().find(|(known, _)| *known == name) {
            self.look(node.at, node);
            if arguments > 0 {
                return self.fail(&format!("wrong number of args for {name}: want 0 got {arguments}"));
            }
            return method().map_err(|cause| self.called(name, cause));
        }
        match value.field(name) {
            Some(_) if arguments > 0 => self.fail(&format!("{name} has arguments but cannot be invoked as function")),
            Some(value) => Ok(value),
            None => self.fail(&format!("can't evaluate field {name} in type {}", value.type_name)),
        }
    }

    fn called(&self, name: &str, cause: String) -> Error {
        Error { cause: Some(cause.clone()), ..self.error(&format!("error calling {name}: {cause}")) }
    }

    fn function(&mut self, dot: &Value, call: &Call<'t>, piped: Option<Value>) -> Result<Value, Error> {
        let Call { name, arguments, .. } = *call;
        let template = self.template;
        let Some(function) = template.functions.get(name) else {
            return self.fail(&format!("{} is not a defined function", print::quote(name)));
        };
        self.check_count(function, name, arguments.len(), piped.is_some())?;
        if let Some(stops_at) = function.stops_at {
            return self.short_circuit(dot, stops_at, arguments, piped);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for (index, argument) in arguments.iter().enumerate() {
            values.push(self.argument(dot, argument, function.kind(index))?);
        }
        if let Some(value) = piped {
            values.push(self.fit(value, function.kind(values.len()))?);
        }
        (function.call)(&values).map_err(|cause| {
            self.look(call.at, call.node);
            self.called(name, cause)
        })
    }

    fn check_count(&self, function: &Function, name: &str, arguments: usize, piped: bool) -> Result<(), Error> {
        let (wanted, given) = (function.parameters.len(), arguments + usize::from(piped));
        match function.variadic {
            Some(_) if given < wanted => {
                self.fail(&format!("wrong number of args for {name}: want at least {wanted} got {arguments}"))
            }
            None if given != wanted => {
                self.fail(&format!("wrong number of args for {name}: want {wanted} got {given}"))
            }
            _ => Ok(()),
        }
    }

    /// `and` and `or`: later arguments are evaluated only when the earlier ones did not decide.
    fn short_circuit(
        &mut self,
        dot: &Value,
        stops_at: bool,
        arguments: &'t [Operand],
        piped: Option<Value>,
    ) -> Result<Value, Error> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.argument(dot, argument, Kind::Any)?;
            if value.is_true() == stops_at {
                return Ok(value);
            }
        }
        Ok(piped.unwrap_or(value))
    }

    /// An operand as an argument of that kind.
    fn argument(&mut self, dot: &Value, operand: &'t Operand, kind: Kind) -> Result<Value, Error> {
        self.look(operand.at, operand);
        let value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil if matches!(kind, Kind::Any | Kind::List | Kind::Map) => Value::Nil,
            Term::Nil => return self.fail(&format!("cannot assign nil to {}", kind.name())),
            Term::Literal(value, _) => return self.literal(value, operand, kind),
            Term::Identifier(name) => {
                let call = Call { name, arguments: &[], at: operand.at, node: operand };
                self.function(dot, &call, None)?
            }
            Term::Field(names) => self.fields(dot.clone(), names, operand, &[], None)?,
            Term::Variable(name, names) => {
                let value = self.variable(name)?;
                self.fields(value, names, operand, &[], None)?
            }
            Term::Pipe(pipe) => {
                let mark = self.variables.len();
                let value = self.pipeline(dot, pipe)?;
                self.variables.truncate(mark);
                value
            }
            Term::Chain(inner, names) => {
                let value = self.argument(dot, inner, Kind::Any)?;
                self.fields(value, names, operand, &[], None)?
            }
        };
        self.fit(value, kind)
    }

    fn literal(&self, value: &Value, operand: &Operand, kind: Kind) -> Result<Value, Error> {
        match (kind, value) {
            (Kind::Any, _)
            | (Kind::Text, Value::String(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Int, Value::Int(_))
            | (Kind::Float, Value::Float(_)) => Ok(value.clone()),
            #[expect(clippy::cast_precision_loss, reason = "Go reads a whole literal as a float too")]
            (Kind::Float, Value::Int(whole)) => Ok(Value::Float(*whole as f64)),
            (Kind::Int, _) => self.fail(&format!("expected integer; found {operand}")),
            (Kind::Float, _) => self.fail(&format!("expected float; found {operand}")),
            (Kind::Bool, _) => self.fail(&format!("expected bool; found {operand}")),
            (Kind::Text, _) => self.fail(&format!("expected string; found {operand}")),
            (kind, _) => self.fail(&format!("can't handle {operand} for arg of type {}", kind.name())),
        }
    }

    /// Checks that a computed value has the kind that the function wants.
    fn fit(&self, value: Value, kind: Kind) -> Result<Value, Error> {
        match (kind, &value) {
            (Kind::Any, _)
            | (Kind::Text, Value::String(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Int, Value::Int(_))
            | (Kind::Float, Value::Float(_))
            | (Kind::List, Value::List(_) | Value::Nil)
            | (Kind::Map, Value::Nil) => Ok(value),
            (Kind::Map, Value::Map(map)) if map.type_name == kind.name() => Ok(value),
            (kind, Value::Nil) => self.fail(&format!("invalid value; expected {}", kind.name())),
            (kind, other) => {
                self.fail(&format!("wrong type for value; expected {}; got {}", kind.name(), other.type_name()))
            }
        }
    }
}

fn enclosed(operand: &Operand) -> String {
    match operand.term {
        Term::Pipe(_) => format!("({operand})"),
        _ => operand.to_string(),
    }
}
