//! The clauses of a text that `format` fills, checked against the types of what it is filled with. Pure.
//! Source: cel-go 0.31 `ext/formatting_v2.go`, which checks texts and lists that are written out.

use cel::common::ast::{Expr, IdedExpr};

use crate::{
    CelError, parts,
    types::{Family, Plain, Type},
};

/// Most digits after the point.
const MAX_PRECISION: usize = 100;

/// Errs unless each clause of the text has an argument that it can be filled with, and each argument a clause.
pub(crate) fn check(text: &str, arguments: &[IdedExpr], type_of: &impl Fn(&IdedExpr) -> Type) -> Result<(), CelError> {
    let (mut rest, mut read) = (text, 0);
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        if after.is_empty() {
            return Err(CelError("unexpected end of string".into()));
        }
        let argument = arguments.get(read).ok_or_else(|| CelError(format!("index {read} out of range")))?;
        let (clause, after) =
            clause(after).map_err(|problem| CelError(format!("could not parse formatting clause: {problem}")))?;
        fills(clause, argument, type_of)?;
        (rest, read) = (after, read + 1);
    }
    if arguments.len() > read {
        let given = arguments.len();
        return Err(CelError(format!("too many arguments supplied to string.format (expected {read}, got {given})")));
    }
    Ok(())
}

/// The letter of the clause that the text begins with, and what follows.
fn clause(text: &str) -> Result<(char, &str), String> {
    let text = text.strip_prefix('.').map_or(Ok(text), after_precision)?;
    let mut letters = text.chars();
    match letters.next() {
        Some(letter @ ('s' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o')) => Ok((letter, letters.as_str())),
        other => Err(format!("unrecognized formatting clause \"{}\"", other.unwrap_or_default())),
    }
}

fn after_precision(text: &str) -> Result<&str, String> {
    let failed = |problem: &str| format!("error while parsing precision: {problem}");
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (digits, after) = text.split_at(end.ok_or_else(|| failed("could not find end of precision specifier"))?);
    match digits.parse::<usize>() {
        Ok(precision) if precision <= MAX_PRECISION => Ok(after),
        _ => Err(failed(&format!("'{digits}' is not a number up to {MAX_PRECISION}"))),
    }
}

/// Errs unless the argument can stand where the clause does.
fn fills(clause: char, argument: &IdedExpr, type_of: &impl Fn(&IdedExpr) -> Type) -> Result<(), CelError> {
    use Plain::{Bool, Bytes, Double, Int, String, Uint};
    let (only, fitting): (_, &[Plain]) = match clause {
        's' => return is_text(argument, type_of),
        'd' => ("decimal clause can only be used on ints, uints, and doubles", &[Int, Uint, Double]),
        'f' => ("fixed-point clause can only be used on ints, uints, and doubles", &[Int, Uint, Double]),
        'e' => ("scientific clause can only be used on ints, uints, and doubles", &[Int, Uint, Double]),
        'b' => ("only ints, uints, and bools can be formatted as binary", &[Bool, Int, Uint]),
        'o' => ("octal clause can only be used on ints and uints", &[Int, Uint]),
        _ => ("only ints, uints, bytes, and strings can be formatted as hex", &[Int, Uint, String, Bytes]),
    };
    match type_of(argument) {
        Type::Plain(Plain::Dyn) | Type::Open(_) => Ok(()),
        Type::Plain(plain) if fitting.contains(&plain) => Ok(()),
        other => Err(unfit(only, &other)),
    }
}

/// Errs if the argument, or a part of it that is written out, has no text.
fn is_text(argument: &IdedExpr, type_of: &impl Fn(&IdedExpr) -> Type) -> Result<(), CelError> {
    if let other @ Type::Of(Family::Optional, _) = type_of(argument) {
        let only = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
        return Err(unfit(&format!("string clause can only be used on {only}"), &other));
    }
    match &argument.expr {
        Expr::List(list) => list.elements.iter().try_for_each(|item| is_text(item, type_of)),
        Expr::Map(map) => {
            let mut all = map.entries.iter().flat_map(|entry| parts(&entry.expr));
            all.try_for_each(|part| is_text(part, type_of))
        }
        _ => Ok(()),
    }
}

fn unfit(only: &str, given: &Type) -> CelError {
    CelError(format!("error during formatting: {only}, was given {}", given.erased()))
}
