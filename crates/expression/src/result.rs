//! What an expression calls, and what it gives as far as that can be told without data. Pure.
//! Source: the language's definition, "Standard Definitions"; cel-go's extensions; Flux asks for `bool` at the same place.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use crate::CelError;

/// Errs unless the expression plainly gives true or false, and knows all functions that it calls.
pub(crate) fn check(expression: &IdedExpr) -> Result<(), CelError> {
    match gives(expression, &[]) {
        Ok("bool") => Ok(()),
        Ok(other) => Err(CelError(format!("CEL expression output type mismatch: expected bool, got {other}"))),
        Err(function) => Err(undeclared(function)),
    }
}

/// Errs with the first function that nobody knows.
pub(crate) fn known(expression: &IdedExpr) -> Result<(), CelError> {
    gives(expression, &[]).map(drop).map_err(undeclared)
}

fn undeclared(function: &str) -> CelError {
    CelError(format!("undeclared reference to '{function}'"))
}

/// Functions by the type of their result. Members of objects, and what depends on arguments, are `dyn`.
const FUNCTIONS: [(&str, &[&str]); 11] = [
    (
        "bool",
        &[
            operators::LOGICAL_AND,
            operators::LOGICAL_OR,
            operators::LOGICAL_NOT,
            operators::EQUALS,
            operators::NOT_EQUALS,
            operators::GREATER,
            operators::GREATER_EQUALS,
            operators::LESS,
            operators::LESS_EQUALS,
            operators::IN,
            operators::NOT_STRICTLY_FALSE,
            "bool",
            "contains",
            "endsWith",
            "equivalent",
            "hasValue",
            "intersects",
            "matches",
            "startsWith",
        ],
    ),
    (
        "int",
        &[
            "getDate",
            "getDayOfMonth",
            "getDayOfWeek",
            "getDayOfYear",
            "getFullYear",
            "getHours",
            "getMilliseconds",
            "getMinutes",
            "getMonth",
            "getSeconds",
            "indexOf",
            "int",
            "lastIndexOf",
            "size",
        ],
    ),
    (
        "string",
        &[
            "charAt",
            "encode",
            "format",
            "join",
            "lowerAscii",
            "quote",
            "replace",
            "reverse",
            "string",
            "substring",
            "trim",
            "upperAscii",
        ],
    ),
    ("list", &["split"]),
    ("bytes", &["bytes", "decode"]),
    ("double", &["double"]),
    ("uint", &["uint"]),
    ("timestamp", &["timestamp"]),
    ("duration", &["duration"]),
    ("type", &["type"]),
    (
        "dyn",
        &[
            operators::CONDITIONAL,
            operators::ADD,
            operators::SUBSTRACT,
            operators::MULTIPLY,
            operators::DIVIDE,
            operators::MODULO,
            operators::NEGATE,
            operators::INDEX,
            operators::OPT_INDEX,
            operators::OPT_SELECT,
            "dyn",
            "first",
            "last",
            "none",
            "of",
            "ofNonZeroValue",
            "or",
            "orValue",
            "value",
        ],
    ),
];

/// The type of what a part of an expression gives; errs with the first function that nobody knows. `own` are the results
/// of loops around, with their names.
fn gives<'a>(part: &'a IdedExpr, own: &[(&'a str, &'static str)]) -> Result<&'static str, &'a str> {
    Ok(match &part.expr {
        Expr::Unspecified => "dyn",
        Expr::Literal(literal) => kind(literal),
        Expr::Ident(name) => own.iter().rev().find(|(known, _)| known == name).map_or("dyn", |(_, gives)| gives),
        Expr::Select(select) => {
            gives(&select.operand, own)?;
            if select.test { "bool" } else { "dyn" }
        }
        Expr::Call(call) => {
            let arguments: Result<Vec<_>, _> =
                call.target.as_deref().into_iter().chain(&call.args).map(|argument| gives(argument, own)).collect();
            match (&*call.func_name, &*arguments?) {
                (operators::CONDITIONAL, [_, one, other]) if one == other => one,
                (function, _) => returned(function).ok_or(function)?,
            }
        }
        Expr::List(list) => all(list.elements.iter(), own).map(|()| "list")?,
        Expr::Map(map) => all(map.entries.iter().flat_map(|entry| parts(&entry.expr)), own).map(|()| "map")?,
        Expr::Struct(value) => all(value.entries.iter().flat_map(|entry| parts(&entry.expr)), own).map(|()| "dyn")?,
        Expr::Comprehension(looped) => looped_over(looped, own)?,
    })
}

fn looped_over<'a>(looped: &'a ComprehensionExpr, own: &[(&'a str, &'static str)]) -> Result<&'static str, &'a str> {
    gives(&looped.iter_range, own)?;
    let mut own = own.to_vec();
    own.push((&looped.accu_var, gives(&looped.accu_init, &own)?));
    own.push((&looped.iter_var, "dyn"));
    gives(&looped.loop_cond, &own)?;
    gives(&looped.loop_step, &own)?;
    gives(&looped.result, &own)
}

fn all<'a>(mut parts: impl Iterator<Item = &'a IdedExpr>, own: &[(&'a str, &'static str)]) -> Result<(), &'a str> {
    parts.try_for_each(|part| gives(part, own).map(drop))
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn returned(function: &str) -> Option<&'static str> {
    FUNCTIONS.into_iter().find(|(_, functions)| functions.contains(&function)).map(|(gives, _)| gives)
}

const fn kind(literal: &LiteralValue) -> &'static str {
    match literal {
        LiteralValue::Boolean(_) => "bool",
        LiteralValue::Bytes(_) => "bytes",
        LiteralValue::Double(_) => "double",
        LiteralValue::Int(_) => "int",
        LiteralValue::Null => "null_type",
        LiteralValue::String(_) => "string",
        LiteralValue::UInt(_) => "uint",
    }
}

#[cfg(test)]
mod tests {
    use crate::Expression;

    #[test]
    fn functions_that_nobody_knows_are_named() {
        let read = |source: &str| Expression::compile(source, &["req"]).map(drop).map_err(|error| error.to_string());
        for source in [
            "req.flag",
            "req.a.b.split(':').last().orValue('x').lowerAscii().contains('y')",
            "base64.decode(req.a) == b'x' && string(req.b) + 'z' in [strings.quote('z')]",
            "req.list.map(e, e.name).filter(e, size(e) > 2).exists(e, e.charAt(0) == 'a')",
            "optional.of(req.a).optMap(v, v + 1).hasValue() && req.?b.or(optional.none()).orValue(true)",
            "duration('1h') < timestamp(req.t) - timestamp(0) && type(req.a) == string",
            "sets.intersects(req.a, [1]) || 'a%d'.format([1]).matches('^a') || -req.n % 2 == int('1')",
        ] {
            assert_eq!(read(source), Ok(()), "{source}");
        }
        for (source, function) in [
            ("req.body.flatMap(1)", "flatMap"),
            ("isTrue(req.flag)", "isTrue"),
            ("req.list.all(e, lower(e) == 'a')", "lower"),
            ("{'a': nothing(1)}.a == 1", "nothing"),
        ] {
            let expected = format!("undeclared reference to '{function}'");
            assert!(read(source).unwrap_err().starts_with(&expected), "{source}: {:?}", read(source));
        }
        assert!(Expression::open("nothing(a)").is_ok(), "because Flux only parses what judges health");
    }

    #[test]
    fn what_must_be_true_or_false_has_to_be_so_for_all_data() {
        for (source, expected) in [
            ("dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')", None),
            ("dep.a == 1 && !dep.b || dep.c in [1, 2]", None),
            ("has(dep.a) ? dep.a > 1 : false", None),
            ("dep.list.exists_one(e, e.name.startsWith('a'))", None),
            ("dep.a.?b.hasValue() && sets.contains(dep.c, ['x'])", None),
            ("timestamp(dep.time).getHours() > 3 && 'x'.matches('y')", None),
            ("bool(dep.a)", None),
            ("true", None),
            ("dep.ready", Some("expected bool, got dyn")),
            ("dep.list[0]", Some("expected bool, got dyn")),
            ("dep.a ? dep.b : true", Some("expected bool, got dyn")),
            ("'true'", Some("expected bool, got string")),
            ("size(dep.list)", Some("expected bool, got int")),
            ("dep.list.map(e, e == 1)", Some("expected bool, got list")),
            ("dep.list.filter(e, e == 1)", Some("expected bool, got list")),
            ("isReady(dep)", Some("undeclared reference to 'isReady'")),
            ("dep.list.all(e, e.healthy() == true)", Some("undeclared reference to 'healthy'")),
            ("deps.a == 1", Some("undeclared reference to 'deps'; there are self, dep")),
            ("dep.a ==", Some("")),
        ] {
            let error = Expression::predicate(source, &["self", "dep"]).err().map(|error| error.to_string());
            match (expected, &error) {
                (None, None) => {}
                (Some(part), Some(error)) if error.contains(part) => {}
                _ => panic!("{source}: {error:?}"),
            }
        }
    }
}
