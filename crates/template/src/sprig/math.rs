//! Numbers.

use super::{float, int};
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("add1", "a", |args| Ok(int(&args[0]).wrapping_add(1).into())),
    ("add", "a*", |args| Ok(args.iter().map(int).fold(0, i64::wrapping_add).into())),
    ("sub", "aa", |args| Ok(int(&args[0]).wrapping_sub(int(&args[1])).into())),
    ("mul", "aa*", |args| Ok(args.iter().map(int).fold(1, i64::wrapping_mul).into())),
    ("div", "aa", |args| divided(args, i64::wrapping_div)),
    ("mod", "aa", |args| divided(args, i64::wrapping_rem)),
    ("add1f", "a", |args| Ok(exact(float(&args[0]) + 1.0))),
    ("addf", "a*", |args| Ok(exact(args.iter().map(float).sum()))),
    ("subf", "aa*", |args| Ok(exact(args[1..].iter().map(float).fold(float(&args[0]), |a, b| exact_number(a - b))))),
    ("mulf", "aa*", |args| Ok(exact(args.iter().map(float).product()))),
    ("divf", "aa*", |args| match args[1..].iter().any(|divisor| float(divisor) == 0.0) {
        true => Err("decimal division by 0".to_owned()),
        false => Ok(exact(args[1..].iter().map(float).fold(float(&args[0]), |a, b| a / b))),
    }),
    ("max", "aa*", |args| Ok(args.iter().map(int).max().unwrap_or(0).into())),
    ("biggest", "aa*", |args| Ok(args.iter().map(int).max().unwrap_or(0).into())),
    ("min", "aa*", |args| Ok(args.iter().map(int).min().unwrap_or(0).into())),
    ("maxf", "aa*", |args| Ok(args.iter().map(float).fold(f64::NEG_INFINITY, f64::max).into())),
    ("minf", "aa*", |args| Ok(args.iter().map(float).fold(f64::INFINITY, f64::min).into())),
    ("ceil", "a", |args| Ok(float(&args[0]).ceil().into())),
    ("floor", "a", |args| Ok(float(&args[0]).floor().into())),
    ("round", "aif*", |args| {
        let places = i32::try_from(int(&args[1])).unwrap_or(0);
        let border = args.get(2).map_or(0.5, float);
        let scaled = float(&args[0]) * 10f64.powi(places);
        let fraction = exact_number(scaled.fract().abs());
        let rounded = if fraction >= border { scaled.trunc() + scaled.signum() } else { scaled.trunc() };
        Ok(Value::Float(exact_number(rounded / 10f64.powi(places))))
    }),
];

fn divided(args: &[Value], operation: fn(i64, i64) -> i64) -> Result<Value, String> {
    match int(&args[1]) {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        divisor => Ok(operation(int(&args[0]), divisor).into()),
    }
}

fn exact(value: f64) -> Value {
    Value::Float(exact_number(value))
}

/// Sprig computes with decimals: 0.1 + 0.2 is 0.3. Fifteen digits give the same.
fn exact_number(value: f64) -> f64 {
    // A decimal has no negative zero.
    format!("{value:.14e}").parse().unwrap_or(value) + 0.0
}
