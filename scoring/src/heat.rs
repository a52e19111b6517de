//! The colours of evidence, for every picture of a map.

/// R'G'B' of what speaks for fake: red.
const FAKE: [f32; 3] = [225.0, 29.0, 24.0];
/// Of what speaks for real: blue.
const REAL: [f32; 3] = [30.0, 98.0, 235.0];

/// The colour of evidence in [-1, 1], from all for real to all for fake: R'G'B', multiplied by the alpha that follows them. What says
/// nothing is clear, what says all covers what is below to `opacity`.
pub fn colour(value: f32, opacity: f32) -> [u8; 4] {
    let alpha = opacity * value.abs();
    let [r, g, b] = if value > 0.0 { FAKE } else { REAL }.map(|c| (c * alpha).round() as u8);
    [r, g, b, (255.0 * alpha).round() as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fake_is_red_real_is_blue_and_nothing_is_clear() {
        assert_eq!(colour(1.0, 1.0), [225, 29, 24, 255]);
        assert_eq!(colour(-1.0, 1.0), [30, 98, 235, 255]);
        assert_eq!(colour(0.0, 1.0), [0; 4]);
        assert_eq!(colour(-0.5, 0.5), [8, 25, 59, 64]);
    }
}
