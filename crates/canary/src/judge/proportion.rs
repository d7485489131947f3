//! Whether a larger share of the canary's requests fails than of the primary's: a test of two proportions.
//!
//! For counts of errors, of which ranks know too little: seven bad samples of ten may be a tenth of a percent of the
//! requests, or all of them.

use super::mann_whitney::normal;

/// Failed requests of all requests in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Failed ones.
    pub failed: f64,
    /// All of them.
    pub total: f64,
}

impl Share {
    /// The share, between 0 and 1.
    pub fn rate(self) -> f64 {
        if self.total > 0.0 { (self.failed / self.total).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// What two shares say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proportion {
    /// The canary is not worse by more than is allowed.
    Alike,
    /// The canary is worse, with the confidence asked for.
    Worse,
    /// Too few requests to say.
    TooFew,
}

/// Compares the canary's failures with the primary's. `margin` is the difference of the shares that is let pass;
/// `least` the requests that each side must have had.
pub fn compare(canary: Share, primary: Share, margin: f64, confidence: f64, least: f64) -> Proportion {
    if canary.total < least.max(1.0) || primary.total < least.max(1.0) {
        return Proportion::TooFew;
    }
    let difference = canary.rate() - primary.rate() - margin;
    if difference <= 0.0 {
        return Proportion::Alike;
    }
    // A correction as if each side had had two requests more, one of them failed: no share is ever certain.
    let adjusted = |share: Share| Share { failed: share.failed + 1.0, total: share.total + 2.0 };
    let variance = |share: Share| share.rate() * (1.0 - share.rate()) / share.total;
    let deviation = (variance(adjusted(canary)) + variance(adjusted(primary))).sqrt();
    match normal(difference / deviation) >= confidence {
        true => Proportion::Worse,
        false => Proportion::Alike,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_worse_only_beyond_doubt_and_margin() {
        let share = |failed: f64, total: f64| Share { failed, total };
        for (canary, primary, margin, expected) in [
            (share(0.0, 1000.0), share(0.0, 1000.0), 0.0, Proportion::Alike),
            (share(50.0, 1000.0), share(2.0, 1000.0), 0.0, Proportion::Worse),
            (share(50.0, 1000.0), share(2.0, 1000.0), 0.05, Proportion::Alike),
            (share(1.0, 100.0), share(0.0, 100.0), 0.0, Proportion::Alike),
            (share(100.0, 100.0), share(0.0, 100.0), 0.0, Proportion::Worse),
            (share(9.0, 9.0), share(0.0, 1000.0), 0.0, Proportion::TooFew),
            (share(0.0, 1000.0), share(500.0, 1000.0), 0.0, Proportion::Alike),
        ] {
            assert_eq!(compare(canary, primary, margin, 0.98, 10.0), expected, "{canary:?} {primary:?}");
        }
    }
}
