//! Loss scaling for 16-bit floats: Micikevicius et al., "Mixed Precision Training", 2018.

use serde::{Deserialize, Serialize};

/// The first scale, and by what it grows and shrinks: PyTorch's values.
const FIRST: f64 = 65_536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const INTERVAL: u32 = 2000;

/// The factor by which the loss is multiplied before the backward pass and its gradients are divided by after, so that small ones
/// are not lost in 16 bits. A power of two, so that it changes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    scale: f64,
    /// Steps without overflow since the scale last changed.
    good: u32,
}

impl Default for Scaler {
    fn default() -> Self {
        Self { scale: FIRST, good: 0 }
    }
}

impl Scaler {
    /// With another first scale.
    pub fn new(scale: f64) -> Self {
        Self { scale, good: 0 }
    }

    /// The factor.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// After each step: halves the scale where gradients overflowed, doubles it after 2000 steps in a row without.
    pub fn update(&mut self, overflowed: bool) {
        if overflowed {
            self.scale *= BACKOFF;
            self.good = 0;
        } else {
            self.good += 1;
            if self.good == INTERVAL {
                // Beyond a float's range every gradient would be infinite.
                if self.scale * GROWTH <= f64::from(f32::MAX) {
                    self.scale *= GROWTH;
                }
                self.good = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_an_overflow_and_doubles_after_an_interval_without() {
        let mut scaler = Scaler::default();
        scaler.update(true);
        assert_eq!(scaler, Scaler { scale: 32_768.0, good: 0 });
        for _ in 0..INTERVAL - 1 {
            scaler.update(false);
        }
        assert_eq!(scaler.scale(), 32_768.0);
        scaler.update(false);
        assert_eq!(scaler, Scaler { scale: 65_536.0, good: 0 });
        // An overflow begins the interval anew.
        scaler.update(false);
        scaler.update(true);
        assert_eq!(scaler, Scaler { scale: 32_768.0, good: 0 });
    }

    #[test]
    fn it_stays_a_number() {
        let mut scaler = Scaler::new(2f64.powi(127));
        (0..10 * INTERVAL).for_each(|_| scaler.update(false));
        assert_eq!(scaler.scale(), 2f64.powi(127));
    }
}
