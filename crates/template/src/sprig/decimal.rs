//! Decimals, in which Sprig computes: 0.1 + 0.2 is 0.3, and a quotient has sixteen places.
//!
//! Source: Sprig 3.3 `numeric.go`, `execDecimalOp`; shopspring/decimal 1.4.

/// Places of a quotient.
const PLACES: i32 = 16;

/// `units` × 10^`exponent`. What needs more than the 38 digits of `units` is none.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    units: i128,
    exponent: i32,
}

/// An operation on two numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The numbers, combined from left to right. What is too long for decimals is computed with floats.
pub(super) fn combined(first: f64, others: impl Iterator<Item = f64> + Clone, operation: Operation) -> f64 {
    let exactly =
        others.clone().fold(Decimal::new(first), |left, right| operation.exactly(left?, Decimal::new(right)?));
    exactly.map(Decimal::float).unwrap_or_else(|| others.fold(first, |left, right| operation.nearly(left, right)))
}

impl Operation {
    fn exactly(self, left: Decimal, right: Decimal) -> Option<Decimal> {
        match self {
            Self::Add => left.plus(right),
            Self::Subtract => left.plus(Decimal { units: -right.units, ..right }),
            Self::Multiply => Some(Decimal {
                units: left.units.checked_mul(right.units)?,
                exponent: left.exponent.checked_add(right.exponent)?,
            }),
            Self::Divide => left.over(right),
        }
    }

    fn nearly(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl Decimal {
    /// The shortest decimal that reads as the float.
    fn new(float: f64) -> Option<Self> {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e')?;
        let places = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let exponent: i32 = exponent.parse().ok()?;
        Some(Self { units: digits.replace('.', "").parse().ok()?, exponent: exponent - i32::try_from(places).ok()? })
    }

    fn float(self) -> f64 {
        format!("{}e{}", self.units, self.exponent).parse().unwrap_or(f64::NAN)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let units = self.raised(self.exponent - exponent)?.checked_add(other.raised(other.exponent - exponent)?)?;
        Some(Self { units, exponent })
    }

    /// The quotient, a half rounded away from zero.
    fn over(self, other: Self) -> Option<Self> {
        let shift = self.exponent - other.exponent + PLACES;
        let (dividend, divisor) = (self.raised(shift.max(0))?, other.raised((-shift).max(0))?);
        let (quotient, rest) = (dividend.checked_div(divisor)?, dividend % divisor);
        let is_up = rest.unsigned_abs().checked_mul(2)? >= divisor.unsigned_abs();
        let away = dividend.signum() * divisor.signum() * i128::from(is_up);
        Some(Self { units: quotient + away, exponent: -PLACES })
    }

    /// The units × 10^`power`.
    fn raised(self, power: i32) -> Option<i128> {
        self.units.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_combined_as_decimals() {
        use Operation::{Add, Divide, Multiply, Subtract};
        for (first, others, operation, expected) in [
            (0.1, &[0.2][..], Add, 0.3),
            (1e300, &[1.0], Add, 1e300),
            (0.3, &[0.1], Subtract, 0.2),
            (1.0, &[1.0], Subtract, 0.0),
            (1.1, &[1.1], Multiply, 1.21),
            (0.1, &[0.1, 0.1, 0.1], Multiply, 0.0001),
            (1e200, &[1e200], Multiply, f64::INFINITY),
            (2.0, &[3.0], Divide, 0.666_666_666_666_666_7),
            (10.0, &[3.0], Divide, 3.333_333_333_333_333_5),
            (1e10, &[3.0], Divide, 3_333_333_333.333_333_5),
            (-1.0, &[3.0, 7.0], Divide, -0.047_619_047_619_047_6),
            (5.0, &[1e20], Divide, 0.0),
            (1.0, &[2e16], Divide, 1e-16),
        ] {
            let found = combined(first, others.iter().copied(), operation);
            assert_eq!(found.to_bits(), f64::to_bits(expected), "{first} {operation:?} {others:?}: {found}");
        }
    }
}
