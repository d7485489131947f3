//! Pipelines, commands and operands.

use super::*;
use crate::node::Command;

impl<'t> Parser<'t> {
    /// `declarations? command ('|' command)*`, up to the closing token.
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, Error> {
        self.deeper()?;
        let first = self.peek_word();
        let mut pipe = Pipe { at: first.at, variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declarations(context, &mut pipe)?;
        loop {
            let token = self.next_word()?;
            match token.kind {
                kind if kind == end => {
                    self.check(&pipe, context, token)?;
                    self.depth -= 1;
                    return Ok(pipe);
                }
                Kind::End => return self.fail(token.line, "unclosed action"),
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {}
                Kind::Keyword if token.text == "nil" => {}
                _ => return self.unexpected(token, context),
            }
            self.at -= 1;
            let command = self.command()?;
            pipe.commands.push(command);
        }
    }

    fn check(&self, pipe: &Pipe, context: &str, token: Token<'_>) -> Result<(), Error> {
        if pipe.commands.is_empty() {
            return self.fail(token.line, &format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.arguments.first().map(|operand| &operand.term);
            if matches!(first, Some(Term::Literal(..) | Term::Dot | Term::Nil)) {
                return self.fail(token.line, &format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    /// `$x :=`, `$x =` and, for `range`, `$i, $x :=`.
    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Result<(), Error> {
        loop {
            let start = self.at;
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next()?;
            let next = self.peek_word();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next()?;
                    pipe.assigns = next.kind == Kind::Assign;
                    pipe.variables.push(variable.text.to_owned());
                    for name in if pipe.assigns { &[] } else { pipe.variables.as_slice() } {
                        self.variables.push(name.clone());
                    }
                    return Ok(());
                }
                Kind::Comma => {
                    self.next()?;
                    pipe.variables.push(variable.text.to_owned());
                    if context != "range" || pipe.variables.len() > 1 {
                        return self.fail(next.line, &format!("too many declarations in {context}"));
                    }
                    if self.peek_word().kind != Kind::Variable {
                        return self.fail(next.line, "range can only initialize variables");
                    }
                }
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
    }

    /// Operands with spaces between, up to `|`, `)` or `}}`.
    fn command(&mut self) -> Result<Command, Error> {
        let mut arguments = Vec::new();
        let at = self.peek_word().at;
        loop {
            let token = self.peek_word();
            if let Some(operand) = self.operand()? {
                arguments.push(operand);
            }
            let next = self.next()?;
            match next.kind {
                Kind::Space => continue,
                Kind::Close | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                Kind::End => return self.fail(next.line, "unclosed action"),
                _ => return self.unexpected(next, "operand"),
            }
            if arguments.is_empty() {
                return self.fail(token.line, "empty command");
            }
            return Ok(Command { at, arguments });
        }
    }

    /// A term with the fields behind it.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(operand) = self.term()? else { return Ok(None) };
        let mut names = Vec::new();
        let at = self.peek().at;
        while self.peek().kind == Kind::Field {
            names.push(self.next()?.text[1..].to_owned());
        }
        if names.is_empty() {
            return Ok(Some(operand));
        }
        let operand = match operand.term {
            Term::Field(mut known) => {
                known.extend(names);
                Operand { at, term: Term::Field(known) }
            }
            Term::Variable(name, mut known) => {
                known.extend(names);
                Operand { at, term: Term::Variable(name, known) }
            }
            Term::Literal(..) | Term::Nil | Term::Dot => {
                return self.fail(self.peek().line, &format!("unexpected . after term {:?}", operand.to_string()));
            }
            _ => Operand { at, term: Term::Chain(Box::new(operand), names) },
        };
        Ok(Some(operand))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.next_word()?;
        let literal = |value| Term::Literal(value, token.text.to_owned());
        let term = match token.kind {
            Kind::Identifier if !self.functions.has(token.text) => {
                return self.fail(token.line, &format!("function {} not defined", crate::print::quote(token.text)));
            }
            Kind::Identifier => Term::Identifier(token.text.to_owned()),
            Kind::Dot => Term::Dot,
            Kind::Keyword if token.text == "nil" => Term::Nil,
            Kind::Bool => literal((token.text == "true").into()),
            Kind::Variable if !self.variables.iter().any(|known| known == token.text) => {
                return self.fail(token.line, &format!("undefined variable {}", crate::print::quote(token.text)));
            }
            Kind::Variable => Term::Variable(token.text.to_owned(), Vec::new()),
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()]),
            Kind::Number => match crate::number::parse(token.text) {
                Some(value) => literal(value),
                None => return self.fail(token.line, &format!("illegal number syntax: {:?}", token.text)),
            },
            Kind::String | Kind::RawString => match crate::number::unquote(token.text) {
                Some(text) => literal(text.into()),
                None => return self.fail(token.line, "invalid syntax"),
            },
            Kind::Char => {
                match crate::number::unquote(token.text).as_deref().map(|text| (text.chars().count(), text)) {
                    Some((1, text)) => literal(i64::from(text.chars().next().map_or(0, u32::from)).into()),
                    _ => return self.fail(token.line, &format!("malformed character constant: {}", token.text)),
                }
            }
            Kind::LeftParen => Term::Pipe(self.pipeline("parenthesized pipeline", Kind::RightParen)?),
            Kind::End => return Ok(None),
            _ => {
                self.at -= 1;
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: token.at, term }))
    }
}
