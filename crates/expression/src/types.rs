//! The types that parts of expressions have, and which fits where. Pure.
//!
//! Source: the language's definition, "Gradual Type Checking"; where it leaves room, cel-go 0.31 `checker/types.go`.

use std::fmt;

/// Deepest nesting of a type that is told; what lies deeper is `dyn`. A type that holds another one twice would double
/// with each step of a chain.
const MAX_DEPTH: usize = 10;

/// What is known of a value before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// One without parameters.
    Plain(Plain),
    /// One over others.
    Of(Family, Vec<Type>),
    /// One that later parts tell, by its place in the [`Bindings`].
    Open(usize),
}

/// A type without parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Anything: only the data tells.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
}

/// What a type makes of its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    List,
    Map,
    Optional,
    /// A type as a value.
    Type,
}

pub(crate) const DYN: Type = Type::Plain(Plain::Dyn);
pub(crate) const BOOL: Type = Type::Plain(Plain::Bool);

/// What the open types of an expression turned out to be, so far.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    bound: Vec<Option<Type>>,
    /// What was bound since the last attempt began, to take it back.
    before: Vec<(usize, Option<Type>)>,
}

impl Bindings {
    /// A type that nothing is known of.
    pub(crate) fn open(&mut self) -> Type {
        self.bound.push(None);
        Type::Open(self.bound.len() - 1)
    }

    /// Whether each given type can stand where the one beside it is wanted. What that says of open types is kept if all
    /// can.
    pub(crate) fn fit(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        self.before.clear();
        let fits = self.all_fit(given, wanted);
        if !fits {
            while let Some((open, bound)) = self.before.pop() {
                self.bound[open] = bound;
            }
        }
        fits
    }

    /// The type with all that is known of open ones.
    pub(crate) fn told(&self, one: &Type) -> Type {
        self.resolve(one, 0, Type::Open)
    }

    /// The type in the end: what is still open is `dyn`.
    pub(crate) fn closed(&self, one: &Type) -> Type {
        self.resolve(one, 0, |_| DYN)
    }

    fn resolve(&self, one: &Type, depth: usize, open: fn(usize) -> Type) -> Type {
        match one {
            Type::Plain(plain) => Type::Plain(*plain),
            Type::Of(..) if depth == MAX_DEPTH => DYN,
            Type::Of(family, inner) => {
                Type::Of(*family, inner.iter().map(|inner| self.resolve(inner, depth + 1, open)).collect())
            }
            Type::Open(place) => match &self.bound[*place] {
                Some(bound) => self.resolve(bound, depth, open),
                None => open(*place),
            },
        }
    }

    fn all_fit(&mut self, given: &[Type], wanted: &[Type]) -> bool {
        given.len() == wanted.len() && given.iter().zip(wanted).all(|(given, wanted)| self.fits(given, wanted))
    }

    fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        use Plain::{Duration, Dyn, Null, Timestamp};
        if let Type::Open(open) = wanted {
            let was_bound = self.bound[*open].is_some();
            let takes = self.takes(*open, given);
            if takes || was_bound {
                return takes;
            }
        }
        match (given, wanted) {
            (Type::Open(open), other) => self.takes(*open, other),
            (Type::Plain(Dyn), _) | (_, Type::Plain(Dyn)) => true,
            (Type::Plain(Null), other) | (other, Type::Plain(Null)) => {
                matches!(other, Type::Plain(Null | Timestamp | Duration) | Type::Of(Family::Optional, _))
            }
            (Type::Plain(given), Type::Plain(wanted)) => given == wanted,
            (Type::Of(Family::Type, _), Type::Of(Family::Type, _)) => true,
            (Type::Of(one, given), Type::Of(other, wanted)) => one == other && self.all_fit(given, wanted),
            (Type::Plain(_), Type::Of(..) | Type::Open(_)) | (Type::Of(..), Type::Plain(_) | Type::Open(_)) => false,
        }
    }

    /// Whether the open type can be this one; where it has been another one before, it is the more general of both.
    fn takes(&mut self, open: usize, one: &Type) -> bool {
        if *one == Type::Open(open) {
            return true;
        }
        let Some(bound) = self.bound[open].clone() else {
            let takes = !self.occurs(open, one);
            if takes {
                self.bind(open, one.clone());
            }
            return takes;
        };
        if *one == bound {
            return true;
        }
        let fits = self.fits(one, &bound);
        if fits {
            let general = one.clone().or_more_general(bound);
            if !self.occurs(open, &general) {
                self.bind(open, general);
            }
        }
        fits
    }

    fn bind(&mut self, open: usize, one: Type) {
        self.before.push((open, self.bound[open].replace(one)));
    }

    /// Whether the open type is a part of the other.
    fn occurs(&self, open: usize, within: &Type) -> bool {
        match within {
            Type::Plain(_) => false,
            Type::Of(_, inner) => inner.iter().any(|inner| self.occurs(open, inner)),
            Type::Open(other) => {
                *other == open || self.bound[*other].as_ref().is_some_and(|bound| self.occurs(open, bound))
            }
        }
    }
}

impl Type {
    pub(crate) fn list(of: Self) -> Self {
        Self::Of(Family::List, vec![of])
    }

    pub(crate) fn map(keys: Self, values: Self) -> Self {
        Self::Of(Family::Map, vec![keys, values])
    }

    pub(crate) fn optional(of: Self) -> Self {
        Self::Of(Family::Optional, vec![of])
    }

    /// The more general of two types that fit each other.
    pub(crate) fn or_more_general(self, other: Self) -> Self {
        if self.is_as_general_as(&other) { self } else { other }
    }

    fn is_as_general_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(Plain::Dyn) | Self::Open(_), _) => true,
            (_, Self::Plain(Plain::Dyn) | Self::Open(_)) => false,
            (Self::Of(Family::Type, _), Self::Of(Family::Type, _)) => true,
            (Self::Of(one, own), Self::Of(two, others)) => {
                let pairs = || own.iter().zip(others);
                one == two && own.len() == others.len() && pairs().all(|(own, other)| own.is_as_general_as(other))
            }
            _ => self == other,
        }
    }

    /// The name by which expressions call it, which what an expression gives is told with.
    pub(crate) fn declared(&self) -> String {
        match self {
            Self::Plain(Plain::Null) => "null_type".into(),
            Self::Plain(Plain::Timestamp) => "google.protobuf.Timestamp".into(),
            Self::Plain(Plain::Duration) => "google.protobuf.Duration".into(),
            Self::Of(family, inner) if !inner.is_empty() => {
                let inner: Vec<_> = inner.iter().map(Self::declared).collect();
                format!("{}({})", family.name(), inner.join(", "))
            }
            Self::Of(..) | Self::Plain(_) | Self::Open(_) => self.to_string(),
        }
    }

    /// The name without parameters, which values are told with.
    pub(crate) fn erased(&self) -> String {
        match self {
            Self::Of(family, _) => family.name().into(),
            Self::Plain(_) | Self::Open(_) => self.declared(),
        }
    }
}

impl Plain {
    const fn name(self) -> &'static str {
        match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
        }
    }
}

impl Family {
    const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Map => "map",
            Self::Optional => "optional_type",
            Self::Type => "type",
        }
    }
}

/// As in the texts of errors.
impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain) => formatter.write_str(plain.name()),
            Self::Open(_) => formatter.write_str("dyn"),
            Self::Of(family, inner) if inner.is_empty() => formatter.write_str(family.name()),
            Self::Of(family, inner) => {
                let inner: Vec<_> = inner.iter().map(Self::to_string).collect();
                write!(formatter, "{}({})", family.name(), inner.join(", "))
            }
        }
    }
}
