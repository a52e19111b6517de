//! Which part of a picture is face: polygons out of five landmarks, or out of a box.

use deepfake_scoring::geometry::{Point, Rect};

/// Where the face of a picture is, in parts of the picture's sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Right eye, left eye, tip of the nose, right and left corner of the mouth, as [`deepfake_scoring::locate::Face`] has them.
    Landmarks([Point; 5]),
    /// From the forehead to the chin.
    Box(Rect),
}

/// How much of the face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the hairline to the chin.
    Whole,
    /// From the brows to the chin: the hull of the 68 landmarks that the paper's masks are made of.
    BelowBrows,
    /// Brows, eyes, nose and mouth.
    Features,
    /// Nose and mouth.
    MouthAndNose,
    /// Brows and eyes.
    Eyes,
}

impl Part {
    /// All.
    pub const ALL: [Self; 5] = [Self::Whole, Self::BelowBrows, Self::Features, Self::MouthAndNose, Self::Eyes];

    /// The right half (as the picture has it) of its convex outline from the top to the bottom, around a face whose eyes are 1 apart and
    /// whose origin is between them, y downwards. The left half mirrors it.
    const fn half(self) -> &'static [(f64, f64)] {
        match self {
            Self::Whole => &[
                (0.0, -1.0),
                (0.45, -0.95),
                (0.8, -0.72),
                (1.02, -0.3),
                (1.08, 0.1),
                (1.03, 0.55),
                (0.92, 0.98),
                (0.7, 1.4),
                (0.4, 1.7),
                (0.0, 1.8),
            ],
            Self::BelowBrows => &[
                (0.0, -0.42),
                (0.65, -0.45),
                (0.95, -0.3),
                (1.06, 0.1),
                (1.02, 0.55),
                (0.92, 0.98),
                (0.7, 1.4),
                (0.4, 1.7),
                (0.0, 1.8),
            ],
            Self::Features => &[
                (0.0, -0.4),
                (0.65, -0.44),
                (0.9, -0.28),
                (0.86, 0.3),
                (0.7, 1.0),
                (0.55, 1.32),
                (0.3, 1.48),
                (0.0, 1.52),
            ],
            Self::MouthAndNose => {
                &[(0.0, 0.0), (0.18, 0.08), (0.45, 0.6), (0.64, 1.1), (0.58, 1.32), (0.35, 1.5), (0.0, 1.55)]
            }
            Self::Eyes => {
                &[(0.0, -0.42), (0.65, -0.46), (0.95, -0.3), (0.97, 0.08), (0.8, 0.34), (0.4, 0.42), (0.0, 0.42)]
            }
        }
    }

    /// Centre and radii of the ellipse that stands for it in a face box, in parts of the box.
    const fn ellipse(self) -> [f64; 4] {
        match self {
            Self::Whole => [0.5, 0.5, 0.46, 0.48],
            Self::BelowBrows => [0.5, 0.6, 0.45, 0.38],
            Self::Features => [0.5, 0.58, 0.36, 0.32],
            Self::MouthAndNose => [0.5, 0.7, 0.26, 0.22],
            Self::Eyes => [0.5, 0.38, 0.42, 0.16],
        }
    }
}

/// The five landmarks of the face that [`Part::half`] outlines: where ArcFace's template of 112 pixels (Deng et al., CVPR 2019) has
/// them, symmetrical.
const LANDMARKS: [(f64, f64); 5] = [(-0.5, 0.0), (0.5, 0.0), (0.0, 0.57), (-0.41, 1.156), (0.41, 1.156)];

/// The corners of the outline of a part of the face, in parts of the picture's sides.
///
/// Landmarks that cannot be a face's, because they lie all but on one line, give the outline of the middle of the picture.
pub fn outline(place: &Place, part: Part) -> Vec<Point> {
    match place {
        Place::Landmarks(points) => from_landmarks(points, part).unwrap_or_else(|| ellipse(&super::MIDDLE, part)),
        Place::Box(bounds) => ellipse(bounds, part),
    }
}

/// The template goes to the picture by the affine map that brings its landmarks nearest to the given ones: so it turns, and is
/// narrow where a head looks aside. On the side that such a head looks to, which its nose tells, there is less of the face before the
/// background begins, and more on the other (the two factors were chosen by eye).
fn from_landmarks(points: &[Point; 5], part: Part) -> Option<Vec<Point>> {
    let x = plane(&points.map(|p| f64::from(p.x)));
    let y = plane(&points.map(|p| f64::from(p.y)));
    // What the square between the eyes becomes, in parts of the picture. A face is some eight times as large.
    let area = (x[0] * y[1] - x[1] * y[0]).abs();
    if !(0.001..4.0).contains(&area) {
        return None;
    }
    let nose = [(x, points[2].x), (y, points[2].y)].map(|(p, at)| f64::from(at) - p[1] * LANDMARKS[2].1 - p[2]);
    let aside = ((nose[0] * y[1] - nose[1] * x[1]) / (x[0] * y[1] - x[1] * y[0])).clamp(-1.0, 1.0);
    let (near, far) = (1.0 + 0.5 * aside.abs(), (1.0 - 0.8 * aside.abs()).max(0.4));
    let place = |(u, v): (f64, f64)| {
        let u = u * if u * aside > 0.0 { far } else { near };
        let at = |[a, b, c]: [f64; 3]| (a * u + b * v + c) as f32;
        Point { x: at(x), y: at(y) }
    };
    let half = part.half();
    let other = half.iter().rev().filter(|(u, _)| *u > 0.0).map(|&(u, v)| (-u, v));
    Some(half.iter().copied().chain(other).map(place).collect())
}

/// The plane a u + b v + c that is nearest to the values at the template's landmarks.
fn plane(values: &[f64; 5]) -> [f64; 3] {
    // As the template is symmetrical, u is independent of v and of 1.
    let mean = |f: &dyn Fn(usize) -> f64| (0..5).map(f).sum::<f64>() / 5.0;
    let (u, v) = (|i: usize| LANDMARKS[i].0, |i: usize| LANDMARKS[i].1);
    let (middle_v, middle) = (mean(&v), mean(&|i| values[i]));
    let a = mean(&|i| u(i) * values[i]) / mean(&|i| u(i) * u(i));
    let spread = mean(&|i| (v(i) - middle_v).powi(2));
    let b = mean(&|i| (v(i) - middle_v) * (values[i] - middle)) / spread;
    [a, b, middle - b * middle_v]
}

fn ellipse(bounds: &Rect, part: Part) -> Vec<Point> {
    const CORNERS: usize = 48;
    let [x, y, across, down] = part.ellipse();
    let corner = |i: usize| {
        // Half a step on, so that no corner lies on an axis: left and right mirror each other.
        let (sin, cos) = ((i as f64 + 0.5) / CORNERS as f64 * std::f64::consts::TAU).sin_cos();
        let in_box = |centre: f64, radius: f64, part: f64| (centre + radius * part) as f32;
        Point { x: bounds.x + bounds.w * in_box(x, across, cos), y: bounds.y + bounds.h * in_box(y, down, sin) }
    };
    (0..CORNERS).map(corner).collect()
}
