//! Linear filters over interleaved 8-bit or float planes.

/// What lies beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The edge pixel, again and again.
    Repeat,
    /// The picture mirrored at the centre of its edge pixel: `dcb|abcd|cba`, OpenCV's default.
    Reflect,
}

impl Border {
    /// The index that stands for `at` in a row of `length`.
    fn index(self, at: isize, length: usize) -> usize {
        let last = length as isize - 1;
        let at = match self {
            Self::Repeat => at,
            Self::Reflect if last == 0 => 0,
            Self::Reflect => {
                let folded = at.rem_euclid(2 * last);
                folded.min(2 * last - folded)
            }
        };
        at.clamp(0, last) as usize
    }
}

/// Weights of a Gaussian from its middle to `radius` pixels away; with their mirror image they sum to 1.
pub fn gaussian(radius: usize, sigma: f64) -> Vec<f32> {
    let weights: Vec<f32> = (0..=radius).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp() as f32).collect();
    let total = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    weights.iter().map(|w| w / total).collect()
}

/// The standard deviation that OpenCV takes for a Gaussian of `2 * radius + 1` pixels when none is told.
pub fn usual_sigma(radius: usize) -> f64 {
    0.3 * (radius as f64 - 1.0) + 0.8
}

/// Filters columns, then rows, with the same symmetric weights, given as [`gaussian`] gives them. `data` has `channels` values a
/// pixel, `width` pixels a row; every value becomes a weighted mean of its neighbours' in the same channel.
pub fn separable<T: Copy + Into<f32>>(
    data: &[T],
    width: usize,
    channels: usize,
    weights: &[f32],
    border: Border,
) -> Vec<f32> {
    let (row, radius) = (width * channels, weights.len() - 1);
    if row == 0 || data.is_empty() {
        return Vec::new();
    }
    let height = data.len() / row;
    // Columns first: whole rows are added, which the compiler turns into vector code.
    let mut columns = vec![0.0f32; data.len()];
    for (y, out) in columns.chunks_exact_mut(row).enumerate() {
        let mut add = |at: isize, k: f32| {
            let at = border.index(at, height) * row;
            for (o, &v) in out.iter_mut().zip(&data[at..at + row]) {
                *o += k * v.into();
            }
        };
        let y = y as isize;
        add(y, weights[0]);
        for (d, &k) in weights.iter().enumerate().skip(1) {
            add(y - d as isize, k);
            add(y + d as isize, k);
        }
    }
    let mut padded = vec![0.0f32; (width + 2 * radius) * channels];
    let mut sums = vec![0.0f32; row];
    for line in columns.chunks_exact_mut(row) {
        for (x, pixel) in padded.chunks_exact_mut(channels).enumerate() {
            let from = border.index(x as isize - radius as isize, width) * channels;
            pixel.copy_from_slice(&line[from..from + channels]);
        }
        sums.fill(0.0);
        for d in 0..=2 * radius {
            let k = weights[d.abs_diff(radius)];
            for (s, v) in sums.iter_mut().zip(&padded[d * channels..d * channels + row]) {
                *s += k * v;
            }
        }
        line.copy_from_slice(&sums);
    }
    columns
}

/// A picture of another size (width, height), linear between the four nearest pixels also where it shrinks: unlike the engine's
/// cropper it does not average.
pub fn bilinear<T: Copy + Into<f32>>(
    data: &[T],
    (width, height): (usize, usize),
    channels: usize,
    (to_width, to_height): (usize, usize),
) -> Vec<f32> {
    let columns = taps(width, to_width);
    let mut out = Vec::with_capacity(to_width * to_height * channels);
    let stride = width * channels;
    for (top, bottom, down) in taps(height, to_height) {
        let (top, bottom) = (&data[top * stride..][..stride], &data[bottom * stride..][..stride]);
        for &(left, right, across) in &columns {
            for c in 0..channels {
                let mix = |row: &[T]| {
                    let (l, r): (f32, f32) = (row[left * channels + c].into(), row[right * channels + c].into());
                    l + (r - l) * across
                };
                let (t, b) = (mix(top), mix(bottom));
                out.push(t + (b - t) * down);
            }
        }
    }
    out
}

/// Where each target pixel lies between two of the source: the first, the second and the second's share.
fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f64 / to as f64;
    let between = |i: usize| {
        let at = ((i as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64);
        let first = at as usize;
        (first, (first + 1).min(from - 1), (at - first as f64) as f32)
    };
    (0..to).map(between).collect()
}
