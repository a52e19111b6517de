//! High dynamic range, brought to what a model trained on SDR video knows.
//!
//! 1. To light, in units of reference white, 203 cd/m² (ITU-R BT.2408): the PQ EOTF (SMPTE ST 2084), or the inverse HLG
//!    OETF and the OOTF of a display of 1000 cd/m² (ITU-R BT.2100).
//! 2. From BT.2020 to BT.709 primaries (the matrix of ITU-R BT.2087); what the smaller gamut lacks is clipped.
//! 3. A soft knee on the brightest channel, the same factor for all three so that hues stay: below 3/4 of reference
//!    white, where skin is, nothing changes; above, `k + (1 - k)(1 - exp(-(x - k) / (1 - k)))`, smooth at the knee,
//!    never reaches 1.
//! 4. To R'G'B' with the inverse of the SDR display's EOTF (ITU-R BT.1886, exponent 1/2.4).

use std::sync::LazyLock;

use super::simd::{LANES, Lanes};
use crate::frame::Transfer;

/// cd/m².
const REFERENCE_WHITE: f64 = 203.0;
/// cd/m², of the display that HLG is shown on.
const HLG_PEAK: f64 = 1000.0;
/// Where the knee begins, in parts of reference white.
pub(super) const KNEE: f64 = 0.75;
/// The BT.1886 exponent.
pub(super) const DISPLAY_GAMMA: f64 = 2.4;

/// BT.2020 to BT.709 primaries.
pub(super) const TO_BT709: [[f64; 3]; 3] =
    [[1.660_491, -0.587_641, -0.072_850], [-0.124_550, 1.132_900, -0.008_349], [-0.018_151, -0.100_579, 1.118_730]];

/// Luma weights of BT.2100.
pub(super) const LUMA_2100: [f64; 3] = [0.2627, 0.6780, 0.0593];

/// The SMPTE ST 2084 EOTF: a number in [0, 1] to parts of reference white.
pub(super) fn pq(e: f64) -> f64 {
    const M1: f64 = 2610.0 / 16384.0;
    const M2: f64 = 2523.0 / 4096.0 * 128.0;
    const C1: f64 = 3424.0 / 4096.0;
    const C2: f64 = 2413.0 / 4096.0 * 32.0;
    const C3: f64 = 2392.0 / 4096.0 * 32.0;
    let p = e.clamp(0.0, 1.0).powf(1.0 / M2);
    10_000.0 / REFERENCE_WHITE * ((p - C1).max(0.0) / (C2 - C3 * p)).powf(1.0 / M1)
}

/// The inverse of the ARIB STD-B67 OETF: a number in [0, 1] to scene light in [0, 1].
pub(super) fn hlg(e: f64) -> f64 {
    const A: f64 = 0.178_832_77;
    const B: f64 = 1.0 - 4.0 * A;
    let c = 0.5 - A * (4.0 * A).ln();
    let e = e.clamp(0.0, 1.0);
    if e <= 0.5 { e * e / 3.0 } else { (((e - c) / A).exp() + B) / 12.0 }
}

/// What the HLG OOTF multiplies scene light of luminance `y` with, in parts of reference white.
pub(super) fn hlg_system_gain(y: f64) -> f64 {
    HLG_PEAK / REFERENCE_WHITE * y.max(0.0).powf(0.2)
}

/// The knee: parts of reference white to [0, 1).
pub(super) fn knee(x: f64) -> f64 {
    if x <= KNEE { x } else { KNEE + (1.0 - KNEE) * (1.0 - (-(x - KNEE) / (1.0 - KNEE)).exp()) }
}

/// One pixel, R'G'B' in [0, 1] both ways, as the module's text says. [`Transfer::Sdr`] is left as it is.
pub(super) fn to_sdr(transfer: Transfer, rgb: [f64; 3]) -> [f64; 3] {
    let light = match transfer {
        Transfer::Sdr => return rgb,
        Transfer::Pq => rgb.map(pq),
        Transfer::Hlg => {
            let scene = rgb.map(hlg);
            let y = LUMA_2100.iter().zip(scene).map(|(w, v)| w * v).sum();
            let gain = hlg_system_gain(y);
            scene.map(|v| v * gain)
        }
    };
    let light = TO_BT709.map(|row| row.iter().zip(light).map(|(m, v)| m * v).sum::<f64>().max(0.0));
    let brightest = light.iter().copied().fold(0.0, f64::max);
    let gain = if brightest > KNEE { knee(brightest) / brightest } else { 1.0 };
    light.map(|v| (v * gain).powf(1.0 / DISPLAY_GAMMA))
}

/// A function on [0, 1] as a table, linear in between.
#[derive(Debug)]
struct Table(Vec<f32>);

impl Table {
    /// Steps of the table. PQ is the steepest: its light grows by less than 1 % a step.
    const STEPS: usize = 4096;

    fn new(function: impl Fn(f64) -> f64) -> Self {
        Self((0..=Self::STEPS).map(|i| function(i as f64 / Self::STEPS as f64) as f32).collect())
    }

    /// `x` is taken to the nearest number in [0, 1].
    fn at(&self, x: f32) -> f32 {
        let x = x.clamp(0.0, 1.0) * Self::STEPS as f32;
        let below = (x as usize).min(Self::STEPS - 1);
        let part = x - below as f32;
        self.0[below] + (self.0[below + 1] - self.0[below]) * part
    }
}

/// [`to_sdr`] with tables in place of powers.
#[derive(Debug)]
pub(super) struct Curves {
    /// From numbers to light: parts of reference white (PQ) or of the scene's (HLG).
    light: Table,
    /// HLG: from the fourth root of luminance to the factor of [`hlg_system_gain`].
    system: Option<Table>,
    /// From the fourth root of light in [0, 1] to numbers. Roots, because the function is steep at zero.
    numbers: Table,
}

impl Curves {
    /// Those of a transfer, if it is not SDR.
    pub(super) fn of(transfer: Transfer) -> Option<&'static Self> {
        static PQ: LazyLock<Curves> = LazyLock::new(|| Curves::new(pq, None));
        static HLG: LazyLock<Curves> = LazyLock::new(|| Curves::new(hlg, Some(hlg_system_gain)));
        match transfer {
            Transfer::Sdr => None,
            Transfer::Pq => Some(&PQ),
            Transfer::Hlg => Some(&HLG),
        }
    }

    fn new(light: fn(f64) -> f64, system: Option<fn(f64) -> f64>) -> Self {
        Self {
            light: Table::new(light),
            system: system.map(|gain| Table::new(|root| gain(root.powi(4)))),
            numbers: Table::new(|root| root.powi(4).powf(1.0 / DISPLAY_GAMMA)),
        }
    }

    /// Eight pixels, R'G'B' in [0, 255] both ways.
    pub(super) fn apply(&self, rgb: &mut [Lanes; 3]) {
        for lane in 0..LANES {
            let mut light = [0, 1, 2].map(|c| self.light.at(rgb[c].0[lane] / 255.0));
            if let Some(system) = &self.system {
                let y: f32 = light.iter().zip(LUMA_2100).map(|(v, w)| v * w as f32).sum();
                let gain = system.at(y.sqrt().sqrt());
                light = light.map(|v| v * gain);
            }
            let light = TO_BT709.map(|row| row.iter().zip(light).map(|(m, v)| *m as f32 * v).sum::<f32>().max(0.0));
            let brightest = light.iter().copied().fold(0.0, f32::max);
            let gain = if brightest > KNEE as f32 { knee(f64::from(brightest)) as f32 / brightest } else { 1.0 };
            for c in 0..3 {
                rgb[c].0[lane] = 255.0 * self.numbers.at((light[c] * gain).sqrt().sqrt());
            }
        }
    }
}
