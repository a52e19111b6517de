//! Faces drawn with a few ellipses: nobody's, and found by detectors all the same.

/// A gray picture.
pub(crate) struct Picture {
    pub(crate) width: usize,
    // Not every test asks.
    #[allow(dead_code)]
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

impl Picture {
    pub(crate) fn new(width: usize, height: usize, background: u8) -> Self {
        Self { width, height, pixels: vec![background; width * height] }
    }

    /// Draws a face whose middle is at (x, y); `size` is its height, in pixels.
    pub(crate) fn face(&mut self, x: f32, y: f32, size: f32) {
        // Ellipses in half sizes: middle, radii, brightness. Later ones cover earlier ones.
        let mut parts = vec![(0.0, 0.05, 0.78, 1.0, 175.0)];
        for side in [-1.0, 1.0] {
            parts.extend([
                (side * 0.33, -0.2, 0.25, 0.15, 150.0),
                (side * 0.33, -0.18, 0.17, 0.08, 215.0),
                (side * 0.33, -0.18, 0.075, 0.08, 35.0),
                (side * 0.34, -0.36, 0.22, 0.05, 60.0),
                (side * 0.09, 0.24, 0.05, 0.035, 80.0),
            ]);
        }
        parts.extend([(0.0, 0.05, 0.04, 0.16, 195.0), (0.0, 0.52, 0.3, 0.09, 95.0), (0.0, 0.52, 0.28, 0.02, 50.0)]);
        let half = size / 2.0;
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            let u = ((i % self.width) as f32 + 0.5 - x) / half;
            let v = ((i / self.width) as f32 + 0.5 - y) / half;
            let mut value = f32::from(*pixel);
            let mut cover = |inside: f32, brightness: f32| {
                let share = (inside * half / 3.0 + 0.5).clamp(0.0, 1.0);
                value += (brightness - value) * share;
            };
            for &(cx, cy, rx, ry, brightness) in &parts {
                // Roughly the distance to the edge, so that edges are soft over three pixels.
                let r = ((u - cx) / rx).hypot((v - cy) / ry);
                cover((1.0 - r) * f32::min(rx, ry), brightness - 30.0 * u * u);
            }
            let hair = (1.0 - (u / 0.85).hypot((v + 0.02) / 1.1)).min(-0.55 + 0.25 * u * u - v);
            cover(hair, 45.0);
            *pixel = value.round() as u8;
        }
    }
}
