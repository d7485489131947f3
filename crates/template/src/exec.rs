//! Walks a template's nodes and writes its output. Source of behaviour and texts: Go 1.26 `text/template`, `exec.go`.

use std::fmt::Display;

use crate::{
    Error, Options, Stage, Template, Value,
    node::{Block, Branch, Call, Node},
    print,
};

/// Deepest nesting of templates and control structures while rendering.
const MAX_DEPTH: usize = 200;

/// Renders the template that was given to the parser, with `data` as dot.
pub(crate) fn render(template: &Template, data: &Value, options: &Options) -> Result<String, Error> {
    let mut state = State {
        template,
        options,
        name: &template.name,
        out: String::new(),
        variables: vec![("$", data.clone())],
        place: None,
        steps: 0,
        depth: 0,
    };
    if let Some(block) = template.definitions.get(&template.name) {
        state.block(data, block)?;
    }
    Ok(state.out)
}

/// What a rendering knows while it runs.
pub(crate) struct State<'t> {
    pub template: &'t Template,
    pub options: &'t Options,
    /// The template being executed.
    name: &'t str,
    out: String,
    pub variables: Vec<(&'t str, Value)>,
    /// The node looked at last, for error texts.
    place: Option<(usize, &'t dyn Display)>,
    steps: usize,
    depth: usize,
}

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> State<'t> {
    /// Remembers the node for error texts.
    pub fn look(&mut self, at: usize, node: &'t dyn Display) {
        self.place = Some((at, node));
    }

    /// An error at the node looked at last.
    pub fn error(&self, what: &str) -> Error {
        let Some((at, node)) = self.place else {
            let message = format!("template: {}: {what}", self.name);
            return Error { stage: Stage::Execute, message, cause: None };
        };
        let before = &self.template.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = at - before.rfind('\n').map_or(0, |newline| newline + 1);
        let (file, name) = (&self.template.name, print::quote(self.name));
        let message = format!("template: {file}:{line}:{column}: executing {name} at <{node}>: {what}");
        Error { stage: Stage::Execute, message, cause: None }
    }

    pub fn fail<T>(&self, what: &str) -> Result<T, Error> {
        Err(self.error(what))
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        if self.out.len() + text.len() > self.options.max_output_bytes {
            return self.fail(&format!("output is longer than {} bytes", self.options.max_output_bytes));
        }
        self.out.push_str(text);
        Ok(())
    }

    /// Counts a piece of work.
    pub fn step(&mut self) -> Result<(), Error> {
        self.steps += 1;
        if self.steps > self.options.max_steps {
            return self.fail(&format!("more than {} steps", self.options.max_steps));
        }
        Ok(())
    }

    fn block(&mut self, dot: &Value, block: &'t Block) -> Result<Flow, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(&format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        for node in block {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'t Node) -> Result<Flow, Error> {
        self.step()?;
        match node {
            Node::Text(text) => self.push(text)?,
            Node::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.push(&print::action(&value))?;
                }
            }
            Node::If(branch) => return self.scoped(|state| state.condition(dot, branch, false)),
            Node::With(branch) => return self.scoped(|state| state.condition(dot, branch, true)),
            Node::Range(branch) => return self.scoped(|state| state.range(dot, branch)),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Template(call) => self.call_template(dot, call)?,
        }
        Ok(Flow::Next)
    }

    /// Forgets the variables that were declared within.
    fn scoped(&mut self, act: impl FnOnce(&mut Self) -> Result<Flow, Error>) -> Result<Flow, Error> {
        let mark = self.variables.len();
        let flow = act(self);
        self.variables.truncate(mark);
        flow
    }

    fn condition(&mut self, dot: &Value, branch: &'t Branch, with: bool) -> Result<Flow, Error> {
        let value = self.pipeline(dot, &branch.pipe)?;
        match (value.is_true(), with) {
            (true, true) => self.block(&value, &branch.body),
            (true, false) => self.block(dot, &branch.body),
            (false, _) => self.block(dot, &branch.otherwise),
        }
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch) -> Result<Flow, Error> {
        let value = self.pipeline(dot, &branch.pipe)?;
        let mut ran = false;
        let mut iterate = |state: &mut Self, index: Value, item: Value| {
            ran = true;
            state.iteration(branch, &index, item)
        };
        let flow = match &value {
            Value::Nil => Flow::Next,
            Value::List(list) => self.each(list.items.iter().enumerate(), |state, (index, item)| {
                iterate(state, Value::Int(i64::try_from(index).unwrap_or(i64::MAX)), item.clone())
            })?,
            Value::Map(map) => self.each(map.entries(), |state, (key, item)| iterate(state, key, item))?,
            Value::Int(_) if branch.pipe.variables.len() > 1 => {
                return self.fail(&format!("can't use {} to iterate over more than one variable", print::text(&value)));
            }
            Value::Int(count) => self.each(0..*count, |state, index| iterate(state, index.into(), index.into()))?,
            other => return self.fail(&format!("range can't iterate over {}", print::text(other))),
        };
        match (ran, flow) {
            (true, _) => Ok(Flow::Next),
            (false, _) => self.block(dot, &branch.otherwise),
        }
    }

    fn each<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut act: impl FnMut(&mut Self, T) -> Result<Flow, Error>,
    ) -> Result<Flow, Error> {
        let mark = self.variables.len();
        for item in items {
            self.step()?;
            let flow = act(self, item)?;
            self.variables.truncate(mark);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn iteration(&mut self, branch: &'t Branch, index: &Value, item: Value) -> Result<Flow, Error> {
        let values = match branch.pipe.variables.len() {
            0 => Vec::new(),
            1 => vec![item.clone()],
            _ => vec![index.clone(), item.clone()],
        };
        let declared = self.variables.len() - if branch.pipe.assigns { 0 } else { values.len() };
        for (position, (name, value)) in branch.pipe.variables.iter().zip(values).enumerate() {
            if branch.pipe.assigns {
                self.assign(name, value)?;
            } else {
                self.variables[declared + position].1 = value;
            }
        }
        self.block(&item, &branch.body)
    }

    /// Gives a declared variable another value.
    pub fn assign(&mut self, name: &str, value: Value) -> Result<(), Error> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some(variable) => variable.1 = value,
            None => return self.fail(&format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn call_template(&mut self, dot: &Value, call: &'t Call) -> Result<(), Error> {
        self.look(call.at, call);
        let template = self.template;
        let Some((name, block)) = template.definitions.get_key_value(&call.name) else {
            return self.fail(&format!("template {} not defined", print::quote(&call.name)));
        };
        let data = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Nil,
        };
        let outer_variables = std::mem::replace(&mut self.variables, vec![("$", data.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.block(&data, block)?;
        (self.variables, self.name) = (outer_variables, outer_name);
        Ok(())
    }
}
