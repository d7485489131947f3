//! What operators and functions take and give: the language, and what Flux adds to it. Pure.
//!
//! Source: cel-go 0.31, "Standard Definitions" and the extensions that `fluxcd/pkg/runtime/cel` enables, in their order:
//! the first overload that fits tells what an open type is.

use cel::common::ast::operators;

use crate::types::{Bindings, Family, Plain, Type};

/// A type in a signature.
pub(crate) enum Shape {
    Plain(Plain),
    Of(Family, &'static [Shape]),
    /// The same type wherever the letter stands in an overload.
    Letter(usize),
}

/// What is taken, and what is given for it.
pub(crate) type Overload = (&'static [Shape], Shape);

impl Shape {
    /// The type, with these for the letters.
    pub(crate) fn with(&self, letters: &[Type; 2]) -> Type {
        match self {
            Self::Plain(plain) => Type::Plain(*plain),
            Self::Of(family, inner) => Type::Of(*family, inner.iter().map(|inner| inner.with(letters)).collect()),
            Self::Letter(place) => letters[*place].clone(),
        }
    }
}

/// What a function gives for these arguments; `None` if it takes others. Where more than one overload fits, and they
/// differ in what they give, only the data tells.
pub(crate) fn given(overloads: &[Overload], arguments: &[Type], bindings: &mut Bindings) -> Option<Type> {
    let mut given: Option<Type> = None;
    for (takes, gives) in overloads.iter().filter(|(takes, _)| takes.len() == arguments.len()) {
        let letters = [bindings.open(), bindings.open()];
        let wanted: Vec<_> = takes.iter().map(|shape| shape.with(&letters)).collect();
        if bindings.fit(arguments, &wanted) {
            let gives = bindings.told(&gives.with(&letters));
            given = Some(match given {
                Some(other) if other != gives => Type::Plain(Plain::Dyn),
                _ => gives,
            });
        }
    }
    given
}

/// The overloads of an operator or function.
pub(crate) fn global(name: &str) -> Option<&'static [Overload]> {
    found(GLOBAL, name)
}

/// The overloads of a function of a value, which is the first argument.
pub(crate) fn member(name: &str) -> Option<&'static [Overload]> {
    found(MEMBERS, name)
}

fn found(table: &'static [(&str, &[Overload])], name: &str) -> Option<&'static [Overload]> {
    table.iter().find(|(known, _)| *known == name).map(|(_, overloads)| *overloads)
}

const DYN: Shape = Shape::Plain(Plain::Dyn);
const BOOL: Shape = Shape::Plain(Plain::Bool);
const INT: Shape = Shape::Plain(Plain::Int);
const UINT: Shape = Shape::Plain(Plain::Uint);
const DOUBLE: Shape = Shape::Plain(Plain::Double);
const STRING: Shape = Shape::Plain(Plain::String);
const BYTES: Shape = Shape::Plain(Plain::Bytes);
const TIMESTAMP: Shape = Shape::Plain(Plain::Timestamp);
const DURATION: Shape = Shape::Plain(Plain::Duration);
const A: Shape = Shape::Letter(0);
const B: Shape = Shape::Letter(1);
const TYPE: Shape = Shape::Of(Family::Type, &[A]);
const LIST: Shape = Shape::Of(Family::List, &[A]);
const DYNS: Shape = Shape::Of(Family::List, &[DYN]);
const STRINGS: Shape = Shape::Of(Family::List, &[STRING]);
const MAP: Shape = Shape::Of(Family::Map, &[A, B]);
const OPTIONAL: Shape = Shape::Of(Family::Optional, &[A]);
const OPTIONAL_B: Shape = Shape::Of(Family::Optional, &[B]);
const OPTIONALS: Shape = Shape::Of(Family::List, &[OPTIONAL]);
const OPTIONAL_LIST: Shape = Shape::Of(Family::Optional, &[LIST]);
const OPTIONAL_MAP: Shape = Shape::Of(Family::Optional, &[MAP]);

/// Operators and functions.
pub(super) const GLOBAL: &[(&str, &[Overload])] = &[
    (operators::LOGICAL_NOT, &[(&[BOOL], BOOL)]),
    (operators::NEGATE, &[(&[DOUBLE], DOUBLE), (&[INT], INT)]),
    (operators::IN, &[(&[A, LIST], BOOL), (&[A, MAP], BOOL)]),
    (operators::NOT_STRICTLY_FALSE, &[(&[BOOL], BOOL)]),
    (operators::NOT_EQUALS, &[(&[A, A], BOOL)]),
    (operators::MODULO, &[(&[INT, INT], INT), (&[UINT, UINT], UINT)]),
    (operators::MULTIPLY, &[(&[DOUBLE, DOUBLE], DOUBLE), (&[INT, INT], INT), (&[UINT, UINT], UINT)]),
    (
        operators::ADD,
        &[
            (&[BYTES, BYTES], BYTES),
            (&[DOUBLE, DOUBLE], DOUBLE),
            (&[DURATION, DURATION], DURATION),
            (&[DURATION, TIMESTAMP], TIMESTAMP),
            (&[TIMESTAMP, DURATION], TIMESTAMP),
            (&[INT, INT], INT),
            (&[LIST, LIST], LIST),
            (&[STRING, STRING], STRING),
            (&[UINT, UINT], UINT),
        ],
    ),
    (
        operators::SUBSTRACT,
        &[
            (&[DOUBLE, DOUBLE], DOUBLE),
            (&[DURATION, DURATION], DURATION),
            (&[INT, INT], INT),
            (&[TIMESTAMP, DURATION], TIMESTAMP),
            (&[TIMESTAMP, TIMESTAMP], DURATION),
            (&[UINT, UINT], UINT),
        ],
    ),
    (operators::DIVIDE, &[(&[DOUBLE, DOUBLE], DOUBLE), (&[INT, INT], INT), (&[UINT, UINT], UINT)]),
    (operators::EQUALS, &[(&[A, A], BOOL)]),
    (operators::CONDITIONAL, &[(&[BOOL, A, A], A)]),
    (
        operators::OPT_INDEX,
        &[
            (&[LIST, INT], OPTIONAL),
            (&[OPTIONAL_LIST, INT], OPTIONAL),
            (&[MAP, A], OPTIONAL_B),
            (&[OPTIONAL_MAP, A], OPTIONAL_B),
        ],
    ),
    (
        operators::INDEX,
        &[(&[LIST, INT], A), (&[MAP, A], B), (&[OPTIONAL_LIST, INT], OPTIONAL), (&[OPTIONAL_MAP, A], OPTIONAL_B)],
    ),
    ("base64.decode", &[(&[STRING], BYTES)]),
    ("base64.encode", &[(&[BYTES], STRING)]),
    ("bool", &[(&[BOOL], BOOL), (&[STRING], BOOL)]),
    ("bytes", &[(&[BYTES], BYTES), (&[STRING], BYTES)]),
    ("double", &[(&[DOUBLE], DOUBLE), (&[INT], DOUBLE), (&[STRING], DOUBLE), (&[UINT], DOUBLE)]),
    ("duration", &[(&[DURATION], DURATION), (&[STRING], DURATION)]),
    ("dyn", &[(&[A], DYN)]),
    (
        "int",
        &[(&[INT], INT), (&[DOUBLE], INT), (&[DURATION], INT), (&[STRING], INT), (&[TIMESTAMP], INT), (&[UINT], INT)],
    ),
    ("matches", &[(&[STRING, STRING], BOOL)]),
    ("optional.none", &[(&[], OPTIONAL)]),
    ("optional.of", &[(&[A], OPTIONAL)]),
    ("optional.ofNonZeroValue", &[(&[A], OPTIONAL)]),
    ("optional.unwrap", &[(&[OPTIONALS], LIST)]),
    ("sets.contains", &[(&[LIST, LIST], BOOL)]),
    ("sets.equivalent", &[(&[LIST, LIST], BOOL)]),
    ("sets.intersects", &[(&[LIST, LIST], BOOL)]),
    ("size", &[(&[BYTES], INT), (&[LIST], INT), (&[MAP], INT), (&[STRING], INT)]),
    (
        "string",
        &[
            (&[STRING], STRING),
            (&[BOOL], STRING),
            (&[BYTES], STRING),
            (&[DOUBLE], STRING),
            (&[DURATION], STRING),
            (&[INT], STRING),
            (&[TIMESTAMP], STRING),
            (&[UINT], STRING),
        ],
    ),
    ("strings.quote", &[(&[STRING], STRING)]),
    ("timestamp", &[(&[TIMESTAMP], TIMESTAMP), (&[INT], TIMESTAMP), (&[STRING], TIMESTAMP)]),
    ("type", &[(&[A], TYPE)]),
    ("uint", &[(&[UINT], UINT), (&[DOUBLE], UINT), (&[INT], UINT), (&[STRING], UINT)]),
    (operators::LESS, ORDERED),
    (operators::LESS_EQUALS, ORDERED),
    (operators::GREATER, ORDERED),
    (operators::GREATER_EQUALS, ORDERED),
];

/// Functions of a value, which is the first argument.
pub(super) const MEMBERS: &[(&str, &[Overload])] = &[
    ("charAt", &[(&[STRING, INT], STRING)]),
    ("contains", &[(&[STRING, STRING], BOOL)]),
    ("endsWith", &[(&[STRING, STRING], BOOL)]),
    ("first", &[(&[LIST], OPTIONAL)]),
    ("format", &[(&[STRING, DYNS], STRING)]),
    ("getDate", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getDayOfMonth", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getDayOfWeek", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getDayOfYear", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getFullYear", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getHours", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT), (&[DURATION], INT)]),
    ("getMilliseconds", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT), (&[DURATION], INT)]),
    ("getMinutes", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT), (&[DURATION], INT)]),
    ("getMonth", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT)]),
    ("getSeconds", &[(&[TIMESTAMP], INT), (&[TIMESTAMP, STRING], INT), (&[DURATION], INT)]),
    ("hasValue", &[(&[OPTIONAL], BOOL)]),
    ("indexOf", &[(&[STRING, STRING], INT), (&[STRING, STRING, INT], INT)]),
    ("join", &[(&[STRINGS], STRING), (&[STRINGS, STRING], STRING)]),
    ("last", &[(&[LIST], OPTIONAL)]),
    ("lastIndexOf", &[(&[STRING, STRING], INT), (&[STRING, STRING, INT], INT)]),
    ("lowerAscii", &[(&[STRING], STRING)]),
    ("matches", &[(&[STRING, STRING], BOOL)]),
    ("or", &[(&[OPTIONAL, OPTIONAL], OPTIONAL)]),
    ("orValue", &[(&[OPTIONAL, A], A)]),
    ("replace", &[(&[STRING, STRING, STRING], STRING), (&[STRING, STRING, STRING, INT], STRING)]),
    ("reverse", &[(&[STRING], STRING)]),
    ("size", &[(&[BYTES], INT), (&[LIST], INT), (&[MAP], INT), (&[STRING], INT)]),
    ("split", &[(&[STRING, STRING], STRINGS), (&[STRING, STRING, INT], STRINGS)]),
    ("startsWith", &[(&[STRING, STRING], BOOL)]),
    ("substring", &[(&[STRING, INT], STRING), (&[STRING, INT, INT], STRING)]),
    ("trim", &[(&[STRING], STRING)]),
    ("unwrapOpt", &[(&[OPTIONALS], LIST)]),
    ("upperAscii", &[(&[STRING], STRING)]),
    ("value", &[(&[OPTIONAL], A)]),
];

/// What has an order.
const ORDERED: &[Overload] = &[
    (&[BOOL, BOOL], BOOL),
    (&[INT, INT], BOOL),
    (&[INT, DOUBLE], BOOL),
    (&[INT, UINT], BOOL),
    (&[UINT, UINT], BOOL),
    (&[UINT, DOUBLE], BOOL),
    (&[UINT, INT], BOOL),
    (&[DOUBLE, DOUBLE], BOOL),
    (&[DOUBLE, INT], BOOL),
    (&[DOUBLE, UINT], BOOL),
    (&[STRING, STRING], BOOL),
    (&[BYTES, BYTES], BOOL),
    (&[TIMESTAMP, TIMESTAMP], BOOL),
    (&[DURATION, DURATION], BOOL),
];
