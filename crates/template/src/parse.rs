//! Tokens to nodes. Source of grammar and texts: Go 1.26 `text/template/parse`.

use std::collections::BTreeMap;

mod operand;

use crate::{
    Error, Functions,
    lex::{self, Kind, Token},
    node::{Block, Branch, Call, Node, Operand, Pipe, Term},
};

/// Deepest nesting of control structures and parentheses. Differs: Go has no such limit; user input must not exhaust our stack.
const MAX_DEPTH: usize = 100;

/// The templates that a text defines, the text itself under `name`.
pub(crate) fn parse(name: &str, text: &str, functions: &Functions) -> Result<BTreeMap<String, Block>, Error> {
    let (tokens, error) = lex::tokens(name, text);
    let mut parser = Parser {
        name,
        tokens,
        error,
        at: 0,
        functions,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        definitions: BTreeMap::new(),
    };
    let block = parser.top()?;
    parser.define(name, block)?;
    Ok(parser.definitions)
}

struct Parser<'t> {
    name: &'t str,
    tokens: Vec<Token<'t>>,
    /// What stopped the lexer; told when the parser reaches that place.
    error: Option<Error>,
    at: usize,
    functions: &'t Functions,
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    definitions: BTreeMap<String, Block>,
}

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    End,
    Else,
}

impl<'t> Parser<'t> {
    fn next(&mut self) -> Result<Token<'t>, Error> {
        let token = self.tokens[self.at];
        if token.kind == Kind::End {
            if let Some(error) = self.error.clone() {
                return Err(error);
            }
        } else {
            self.at += 1;
        }
        Ok(token)
    }

    fn peek(&self) -> Token<'t> {
        self.tokens[self.at]
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Result<Token<'t>, Error> {
        self.skip_space();
        self.next()
    }

    fn peek_word(&mut self) -> Token<'t> {
        self.skip_space();
        self.peek()
    }

    fn fail<T>(&self, line: usize, what: &str) -> Result<T, Error> {
        Err(Error::parse(self.name, line, what))
    }

    fn unexpected<T>(&self, token: Token<'_>, context: &str) -> Result<T, Error> {
        self.fail(token.line, &format!("unexpected {} in {context}", describe(token)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token<'t>, Error> {
        let token = self.next_word()?;
        if token.kind == kind { Ok(token) } else { self.unexpected(token, context) }
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(self.peek().line, "max expression depth exceeded");
        }
        Ok(())
    }

    fn top(&mut self) -> Result<Block, Error> {
        let mut block = Block::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::End => return Ok(block),
                Kind::Text => block.push(Node::Text(token.text.to_owned())),
                _ if self.peek_word().text == "define" => {
                    self.next_word()?;
                    self.definition()?;
                }
                _ => match self.action()? {
                    Ok(node) => block.extend(node),
                    Err(Ending::End) => return self.fail(token.line, "unexpected {{end}}"),
                    Err(Ending::Else) => return self.fail(token.line, "unexpected {{else}}"),
                },
            }
        }
    }

    fn definition(&mut self) -> Result<(), Error> {
        let context = "define clause";
        let name = self.template_name(context)?;
        self.expect(Kind::Close, context)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (block, ending) = self.block()?;
        self.variables = outer;
        if ending == Ending::Else {
            return self.fail(self.peek().line, "unexpected {{else}} in define clause");
        }
        self.define(&name, block)
    }

    fn define(&mut self, name: &str, block: Block) -> Result<(), Error> {
        match self.definitions.get(name) {
            Some(known) if !is_blank(known) && !is_blank(&block) => {
                self.fail(self.peek().line, &format!("template: multiple definition of template {name:?}"))
            }
            Some(known) if !is_blank(known) => Ok(()),
            _ => {
                self.definitions.insert(name.to_owned(), block);
                Ok(())
            }
        }
    }

    fn template_name(&mut self, context: &str) -> Result<String, Error> {
        let token = self.next_word()?;
        match token.kind {
            Kind::String | Kind::RawString => match crate::number::unquote(token.text) {
                Some(name) => Ok(name),
                None => self.fail(token.line, "invalid syntax"),
            },
            _ => self.unexpected(token, context),
        }
    }

    /// Nodes up to `end` or `else`; variables declared within go out of scope.
    fn block(&mut self) -> Result<(Block, Ending), Error> {
        let mut block = Block::new();
        self.deeper()?;
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::End => return self.fail(token.line, "unexpected EOF"),
                Kind::Text => block.push(Node::Text(token.text.to_owned())),
                _ => match self.action()? {
                    Ok(node) => block.extend(node),
                    Err(ending) => {
                        self.depth -= 1;
                        return Ok((block, ending));
                    }
                },
            }
        }
    }

    /// What follows `{{`: a node, nothing (an empty one), or the end of the block.
    fn action(&mut self) -> Result<Result<Option<Node>, Ending>, Error> {
        let token = self.peek_word();
        let outer = self.variables.len();
        if token.kind == Kind::Keyword && token.text != "nil" {
            self.next()?;
        }
        let node = match token.text {
            _ if token.kind != Kind::Keyword => Node::Action(self.pipeline("command", Kind::Close)?),
            "if" => self.branch("if").map(Node::If)?,
            "with" => self.branch("with").map(Node::With)?,
            "range" => self.branch("range").map(Node::Range)?,
            "end" => {
                self.expect(Kind::Close, "end")?;
                return Ok(Err(Ending::End));
            }
            "else" => {
                // `else if` and `else with` leave the word to the branch that they belong to.
                if !matches!(self.peek_word().text, "if" | "with") {
                    self.expect(Kind::Close, "else")?;
                }
                return Ok(Err(Ending::Else));
            }
            "break" | "continue" => self.jump(token)?,
            "template" => self.template()?,
            "block" => self.block_action()?,
            "define" => return self.unexpected(token, "command"),
            _ => Node::Action(self.pipeline("command", Kind::Close)?),
        };
        if !matches!(node, Node::Action(_)) {
            self.variables.truncate(outer);
        }
        Ok(Ok(Some(node)))
    }

    fn jump(&mut self, token: Token<'_>) -> Result<Node, Error> {
        let next = self.next_word()?;
        if next.kind != Kind::Close {
            return self.unexpected(next, &format!("{{{{{}}}}}", token.text));
        }
        if self.ranges == 0 {
            return self.fail(token.line, &format!("{{{{{}}}}} outside {{{{range}}}}", token.text));
        }
        Ok(if token.text == "break" { Node::Break } else { Node::Continue })
    }

    fn branch(&mut self, context: &'static str) -> Result<Branch, Error> {
        let outer = self.variables.len();
        let pipe = self.pipeline(context, Kind::Close)?;
        self.ranges += usize::from(context == "range");
        let inner = self.variables.len();
        let read = self.block();
        self.variables.truncate(inner);
        self.ranges -= usize::from(context == "range");
        let (body, ending) = read?;
        let otherwise = if ending == Ending::Else { self.otherwise(context)? } else { Block::new() };
        self.variables.truncate(outer);
        Ok(Branch { pipe, body, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Result<Block, Error> {
        let word = self.peek_word();
        if word.kind == Kind::Keyword && word.text == context && context != "range" {
            self.next_word()?;
            self.deeper()?;
            let node =
                if context == "if" { self.branch("if").map(Node::If) } else { self.branch("with").map(Node::With) };
            self.depth -= 1;
            return Ok(vec![node?]);
        }
        if word.kind == Kind::Keyword {
            return self.unexpected(word, "else");
        }
        let (block, ending) = self.block()?;
        if ending == Ending::Else {
            return self.fail(self.peek().line, "expected end; found {{else}}");
        }
        Ok(block)
    }

    fn template(&mut self) -> Result<Node, Error> {
        let at = self.peek_word().at;
        let name = self.template_name("template clause")?;
        if self.peek_word().kind == Kind::Close {
            self.next_word()?;
            return Ok(Node::Template(Call { at, name, pipe: None }));
        }
        let pipe = self.pipeline("template clause", Kind::Close)?;
        Ok(Node::Template(Call { at, name, pipe: Some(pipe) }))
    }

    fn block_action(&mut self) -> Result<Node, Error> {
        let context = "block clause";
        let at = self.peek_word().at;
        let name = self.template_name(context)?;
        let pipe = self.pipeline(context, Kind::Close)?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (block, ending) = self.block()?;
        (self.variables, self.ranges) = (outer, ranges);
        if ending == Ending::Else {
            return self.fail(self.peek().line, "unexpected {{else}} in block clause");
        }
        self.define(&name, block)?;
        Ok(Node::Template(Call { at, name, pipe: Some(pipe) }))
    }
}

/// Whether a template has nothing but spaces, so that another definition may take its place.
fn is_blank(block: &Block) -> bool {
    block.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// A token as Go names it in error texts.
fn describe(token: Token<'_>) -> String {
    match token.kind {
        Kind::End => "EOF".to_owned(),
        Kind::Keyword => format!("<{}>", token.text),
        _ if token.text.chars().count() > 10 => {
            let start: String = token.text.chars().take(10).collect();
            format!("{}...", crate::print::quote(&start))
        }
        _ => crate::print::quote(token.text),
    }
}
