//! Numbers.

use super::{
    decimal::{Operation, combined},
    float, int,
};
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("add1", "a", |args| Ok(int(&args[0]).wrapping_add(1).into())),
    ("add", "a*", |args| Ok(args.iter().map(int).fold(0, i64::wrapping_add).into())),
    ("sub", "aa", |args| Ok(int(&args[0]).wrapping_sub(int(&args[1])).into())),
    ("mul", "aa*", |args| Ok(args.iter().map(int).fold(1, i64::wrapping_mul).into())),
    ("div", "aa", |args| divided(args, i64::wrapping_div)),
    ("mod", "aa", |args| divided(args, i64::wrapping_rem)),
    ("add1f", "a", |args| Ok(decimal(1.0, args, Operation::Add))),
    ("addf", "a*", |args| Ok(decimal(0.0, args, Operation::Add))),
    ("subf", "aa*", |args| Ok(decimal(float(&args[0]), &args[1..], Operation::Subtract))),
    ("mulf", "aa*", |args| Ok(decimal(float(&args[0]), &args[1..], Operation::Multiply))),
    ("divf", "aa*", |args| match args[1..].iter().any(|divisor| float(divisor) == 0.0) {
        true => Err("decimal division by 0".to_owned()),
        false => Ok(decimal(float(&args[0]), &args[1..], Operation::Divide)),
    }),
    ("max", "aa*", |args| Ok(args.iter().map(int).max().unwrap_or(0).into())),
    ("biggest", "aa*", |args| Ok(args.iter().map(int).max().unwrap_or(0).into())),
    ("min", "aa*", |args| Ok(args.iter().map(int).min().unwrap_or(0).into())),
    ("maxf", "aa*", |args| Ok(args.iter().map(float).fold(f64::NEG_INFINITY, f64::max).into())),
    ("minf", "aa*", |args| Ok(args.iter().map(float).fold(f64::INFINITY, f64::min).into())),
    ("ceil", "a", |args| Ok(float(&args[0]).ceil().into())),
    ("floor", "a", |args| Ok(float(&args[0]).floor().into())),
    // What is below zero goes down, whatever its fraction, as Sprig has it.
    ("round", "aif*", |args| {
        let power = 10f64.powi(i32::try_from(int(&args[1])).unwrap_or(0));
        let scaled = float(&args[0]) * power;
        let border = args.get(2).map_or(0.5, float);
        let rounded = if scaled.fract() >= border { scaled.ceil() } else { scaled.floor() };
        Ok(Value::Float(rounded / power))
    }),
];

fn divided(args: &[Value], operation: fn(i64, i64) -> i64) -> Result<Value, String> {
    match int(&args[1]) {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        divisor => Ok(operation(int(&args[0]), divisor).into()),
    }
}

/// What Sprig computes with decimals.
fn decimal(first: f64, others: &[Value], operation: Operation) -> Value {
    Value::Float(combined(first, others.iter().map(float), operation))
}
