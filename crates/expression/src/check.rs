//! Tells what an expression gives before there is data, and refuses names, functions and types that cannot be. Pure.
//!
//! Source: cel-go 0.31 `checker/checker.go`, as `fluxcd/pkg/runtime/cel` sets it up: variables are objects, lists and maps
//! hold one type, and numbers of different types can be compared by order.

use std::{collections::HashMap, slice};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr, operators,
};

use crate::{
    CelError, format, parts,
    signatures::{self, Overload},
    types::{BOOL, Bindings, DYN, Family, Plain, Type},
};

/// The type of what the expression gives over these variables.
pub(crate) fn output(expression: &IdedExpr, variables: &[&str]) -> Result<Type, CelError> {
    let mut checker = Checker {
        variables,
        own: Vec::new(),
        bindings: Bindings::default(),
        alike: Vec::new(),
        formats: Formats::default(),
    };
    let output = checker.check(expression)?;
    checker.all_alike()?;
    checker.all_filled()?;
    Ok(checker.bindings.closed(&output))
}

/// What is known on the way through an expression.
struct Checker<'a> {
    variables: &'a [&'a str],
    /// The variables of the loops around, the innermost last.
    own: Vec<(&'a str, Type)>,
    bindings: Bindings,
    /// Types within one list or map, which have to be the same when all open ones are known.
    alike: Vec<[Type; 2]>,
    formats: Formats<'a>,
}

/// Calls of `format`, whose clauses say which types fit.
#[derive(Default)]
struct Formats<'a> {
    /// How many are around: lists and maps in them may hold several types.
    around: usize,
    /// Those that are written out: the text, and what it is filled with.
    written: Vec<(&'a str, &'a [IdedExpr])>,
    /// The types of the parts within, by their numbers.
    types: HashMap<u64, Type>,
}

impl<'a> Checker<'a> {
    fn check(&mut self, part: &'a IdedExpr) -> Result<Type, CelError> {
        let given = self.part(part)?;
        if self.formats.around > 0 {
            self.formats.types.insert(part.id, given.clone());
        }
        Ok(given)
    }

    fn part(&mut self, part: &'a IdedExpr) -> Result<Type, CelError> {
        match &part.expr {
            Expr::Unspecified => Ok(DYN),
            Expr::Literal(literal) => Ok(written(literal)),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select, &part.expr),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(value) => {
                let mut inner = value.entries.iter().flat_map(|entry| parts(&entry.expr));
                inner.try_for_each(|part| self.check(part).map(drop))?;
                let made = named_type(plain(&value.type_name)).map(|_| DYN);
                made.ok_or_else(|| undeclared(&value.type_name))
            }
            Expr::Comprehension(looped) => self.comprehension(looped),
        }
    }

    /// A dot before a name passes over the variables of loops.
    fn name(&self, name: &str) -> Result<Type, CelError> {
        if let Some(own) = self.own(name) {
            return Ok(own.clone());
        }
        let global = plain(name);
        if self.variables.contains(&global) {
            return Ok(Type::map(Type::Plain(Plain::String), DYN));
        }
        named_type(global).ok_or_else(|| {
            let known = self.variables.join(", ");
            CelError(format!("undeclared reference to '{name}'; there are {known}"))
        })
    }

    fn own(&self, name: &str) -> Option<&Type> {
        self.own.iter().rev().find(|(own, _)| *own == name && !name.starts_with('.')).map(|(_, own)| own)
    }

    fn select(&mut self, select: &'a SelectExpr, whole: &Expr) -> Result<Type, CelError> {
        if let Some((first, name)) = qualified(whole)
            && self.own(first).is_none()
            && let Some(named) = named_type(plain(&name))
        {
            return Ok(named);
        }
        let (member, is_optional) = self.member(&select.operand)?;
        Ok(match (select.test, is_optional) {
            (true, _) => BOOL,
            (false, true) => Type::optional(member),
            (false, false) => member,
        })
    }

    /// The type of a member, and whether the object itself is optional.
    fn member(&mut self, operand: &'a IdedExpr) -> Result<(Type, bool), CelError> {
        let operand = self.check(operand)?;
        let (object, is_optional) = match self.bindings.told(&operand) {
            Type::Of(Family::Optional, mut inner) => (inner.pop().unwrap_or(DYN), true),
            other => (other, false),
        };
        let member = match object {
            Type::Of(Family::Map, mut inner) => inner.pop().unwrap_or(DYN),
            Type::Open(_) => {
                self.bindings.fit(&[DYN], &[object]);
                DYN
            }
            Type::Plain(Plain::Dyn) => DYN,
            other => return Err(CelError(format!("type '{other}' does not support field selection"))),
        };
        Ok((member, is_optional))
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Type, CelError> {
        if let (operators::OPT_SELECT, [operand, _]) = (&*call.func_name, &*call.args) {
            return self.member(operand).map(|(member, _)| Type::optional(member));
        }
        let formats = usize::from(call.func_name == "format");
        self.formats.around += formats;
        let arguments = call.args.iter().map(|argument| self.check(argument)).collect::<Result<Vec<_>, _>>()?;
        let given = match call.target.as_deref() {
            Some(target) => self.call_after(target, &call.func_name, arguments)?,
            None => self.function(&call.func_name, arguments)?,
        };
        self.formats.around -= formats;
        if let (1, Some(Expr::Literal(LiteralValue::String(text)))) =
            (formats, call.target.as_deref().map(|target| &target.expr))
            && let [IdedExpr { expr: Expr::List(list), .. }] = &*call.args
        {
            self.formats.written.push((text.inner(), &list.elements));
        }
        Ok(given)
    }

    /// A call with something before the function: its target, or the first part of its name.
    fn call_after(&mut self, target: &'a IdedExpr, name: &str, arguments: Vec<Type>) -> Result<Type, CelError> {
        if let Some((_, before)) = qualified(&target.expr) {
            let name = format!("{before}.{name}");
            if signatures::global(plain(&name)).is_some() {
                return self.function(&name, arguments);
            }
        }
        let target = self.check(target)?;
        self.function_of(target, name, arguments)
    }

    fn function(&mut self, name: &str, arguments: Vec<Type>) -> Result<Type, CelError> {
        let name = plain(name);
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            arguments.iter().try_for_each(|argument| self.expect(&BOOL, argument))?;
            return Ok(BOOL);
        }
        let overloads = overloads(name, signatures::global(name), signatures::member(name))?;
        let given = signatures::given(overloads, &arguments, &mut self.bindings);
        given.ok_or_else(|| unmatched(name, &self.texts(&arguments)))
    }

    fn function_of(&mut self, target: Type, name: &str, mut arguments: Vec<Type>) -> Result<Type, CelError> {
        let overloads = overloads(name, signatures::member(name), signatures::global(name))?;
        arguments.insert(0, target);
        let given = signatures::given(overloads, &arguments, &mut self.bindings);
        given.ok_or_else(|| {
            let (target, arguments) = arguments.split_at(1);
            unmatched(name, &format!("{}.{}", self.bindings.closed(&target[0]), self.texts(arguments)))
        })
    }

    fn texts(&self, arguments: &[Type]) -> String {
        let texts: Vec<_> = arguments.iter().map(|argument| self.bindings.closed(argument).to_string()).collect();
        format!("({})", texts.join(", "))
    }

    fn list(&mut self, list: &'a ListExpr) -> Result<Type, CelError> {
        let mut items = Vec::with_capacity(list.elements.len());
        for (index, item) in list.elements.iter().enumerate() {
            let given = self.check(item)?;
            items.push(if list.optional_indices.contains(&index) { inner(given)? } else { given });
        }
        Ok(Type::list(self.joined(items)))
    }

    fn map(&mut self, map: &'a MapExpr) -> Result<Type, CelError> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            keys.push(self.check(&entry.key)?);
            let given = self.check(&entry.value)?;
            values.push(if entry.optional { inner(given)? } else { given });
        }
        Ok(Type::map(self.joined(keys), self.joined(values)))
    }

    /// The type of all of these together; they have to be the same in the end.
    fn joined(&mut self, all: Vec<Type>) -> Type {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return self.bindings.open() };
        let mut joined = first.clone();
        for other in all {
            let fits = self.bindings.fit(slice::from_ref(&joined), slice::from_ref(&other));
            if self.formats.around == 0 && first != other {
                self.alike.push([first.clone(), other.clone()]);
            }
            joined = if fits { joined.or_more_general(other) } else { DYN };
        }
        joined
    }

    fn all_alike(&self) -> Result<(), CelError> {
        let closed = self.alike.iter().map(|pair| pair.each_ref().map(|one| self.bindings.closed(one)));
        closed.into_iter().try_for_each(|[one, other]| if one == other { Ok(()) } else { Err(mismatch(&one, &other)) })
    }

    fn all_filled(&self) -> Result<(), CelError> {
        let type_of = |part: &IdedExpr| self.formats.types.get(&part.id).map_or(DYN, |one| self.bindings.closed(one));
        self.formats.written.iter().try_for_each(|(text, arguments)| format::check(text, arguments, &type_of))
    }

    fn expect(&mut self, expected: &Type, found: &Type) -> Result<(), CelError> {
        let fits = self.bindings.fit(slice::from_ref(expected), slice::from_ref(found));
        fits.then_some(()).ok_or_else(|| mismatch(&self.bindings.closed(expected), &self.bindings.closed(found)))
    }

    /// A loop over a list's items or a map's keys.
    fn comprehension(&mut self, looped: &'a ComprehensionExpr) -> Result<Type, CelError> {
        let range = self.check(&looped.iter_range)?;
        let gathered = self.check(&looped.accu_init)?;
        let (one, other) = match self.bindings.told(&range) {
            Type::Of(Family::List, mut inner) => {
                let item = inner.pop().unwrap_or(DYN);
                if looped.iter_var2.is_some() { (Type::Plain(Plain::Int), item) } else { (item, DYN) }
            }
            Type::Of(Family::Map, mut inner) => {
                let value = inner.pop().unwrap_or(DYN);
                (inner.pop().unwrap_or(DYN), value)
            }
            range @ (Type::Plain(Plain::Dyn) | Type::Open(_)) => {
                self.bindings.fit(&[DYN], &[range]);
                (DYN, DYN)
            }
            other => {
                let what = "cannot be range of a comprehension (must be list, map, or dynamic)";
                return Err(CelError(format!("expression of type '{}' {what}", self.bindings.closed(&other))));
            }
        };
        let outer = self.own.len();
        self.own.push((&looped.accu_var, gathered.clone()));
        self.own.push((&looped.iter_var, one));
        self.own.extend(looped.iter_var2.as_deref().map(|name| (name, other)));
        let condition = self.check(&looped.loop_cond)?;
        self.expect(&BOOL, &condition)?;
        let step = self.check(&looped.loop_step)?;
        self.expect(&gathered, &step)?;
        self.own.truncate(outer + 1);
        let result = self.check(&looped.result)?;
        self.own.truncate(outer);
        Ok(self.bindings.told(&result))
    }
}

/// The overloads in this style; a function that only the other style has takes nothing in this one.
fn overloads(
    name: &str,
    these: Option<&'static [Overload]>,
    others: Option<&'static [Overload]>,
) -> Result<&'static [Overload], CelError> {
    let found = these.or(others.map(|_| &[][..]));
    found.ok_or_else(|| undeclared(name))
}

fn undeclared(name: &str) -> CelError {
    CelError(format!("undeclared reference to '{name}'"))
}

fn unmatched(name: &str, applied: &str) -> CelError {
    CelError(format!("found no matching overload for '{name}' applied to '{applied}'"))
}

/// The type of what an optional holds.
fn inner(given: Type) -> Result<Type, CelError> {
    match given {
        Type::Of(Family::Optional, mut inner) => Ok(inner.pop().unwrap_or(DYN)),
        Type::Plain(Plain::Dyn) => Ok(DYN),
        other => Err(mismatch(&Type::optional(other.clone()), &other)),
    }
}

fn mismatch(expected: &Type, found: &Type) -> CelError {
    CelError(format!("expected type '{expected}' but found '{found}'"))
}

/// A name without the dot that asks for the outermost one.
fn plain(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

/// A name of parts between dots: the first one and all of it.
fn qualified(expression: &Expr) -> Option<(&str, String)> {
    match expression {
        Expr::Ident(name) => Some((name, name.clone())),
        Expr::Select(select) if !select.test => {
            let (first, before) = qualified(&select.operand.expr)?;
            Some((first, format!("{before}.{}", select.field)))
        }
        _ => None,
    }
}

/// The type that has this name, as a value.
fn named_type(name: &str) -> Option<Type> {
    let named = match name {
        "bool" => BOOL,
        "bytes" => Type::Plain(Plain::Bytes),
        "double" => Type::Plain(Plain::Double),
        "int" => Type::Plain(Plain::Int),
        "null_type" => Type::Plain(Plain::Null),
        "string" => Type::Plain(Plain::String),
        "uint" => Type::Plain(Plain::Uint),
        "list" => Type::list(DYN),
        "map" => Type::map(DYN, DYN),
        "optional_type" => Type::optional(DYN),
        "type" => Type::Of(Family::Type, Vec::new()),
        "google.protobuf.Timestamp" => Type::Plain(Plain::Timestamp),
        "google.protobuf.Duration" => Type::Plain(Plain::Duration),
        // Flux knows more of them; nothing that is made with data of ours has such a type.
        other if other.strip_prefix("google.protobuf.").is_some_and(|rest| !rest.contains('.')) => return Some(DYN),
        _ => return None,
    };
    Some(Type::Of(Family::Type, vec![named]))
}

const fn written(literal: &LiteralValue) -> Type {
    Type::Plain(match literal {
        LiteralValue::Boolean(_) => Plain::Bool,
        LiteralValue::Bytes(_) => Plain::Bytes,
        LiteralValue::Double(_) => Plain::Double,
        LiteralValue::Int(_) => Plain::Int,
        LiteralValue::Null => Plain::Null,
        LiteralValue::String(_) => Plain::String,
        LiteralValue::UInt(_) => Plain::Uint,
    })
}

#[cfg(test)]
mod tests;
