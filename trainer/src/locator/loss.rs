//! How wrong the network is about a batch of scenes.

use tch::{Device, Kind, Reduction, Tensor};

use super::target::Cells;
use crate::error::Result;
use crate::net::locator::{BOX, FIT, LANDMARKS, SCORE, STRIDES};

/// Weights of the parts.
const BOX_WEIGHT: f64 = 2.0;
const LANDMARK_WEIGHT: f64 = 1.0;

/// How much less a number counts that is nearly right (Li et al., "Generalized Focal Loss", 2020).
const FOCUS: f64 = 2.0;

/// Largest logarithm of a side in strides that is believed.
const LARGEST: f64 = 6.0;

/// Wishes for a batch, as tensors on the device.
pub struct Wishes {
    face: Tensor,
    counts: Tensor,
    boxes: Tensor,
    landmarks: Tensor,
    marked: Tensor,
}

impl Wishes {
    /// Of the batch's scenes.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(scenes: &[Cells], device: Device) -> Result<Self> {
        let n = scenes.len() as i64;
        let stack = |part: fn(&Cells) -> &Vec<f32>, width: i64| -> Result<Tensor> {
            let all: Vec<f32> = scenes.iter().flat_map(part).copied().collect();
            let tensor = Tensor::f_from_slice(&all)?;
            let tensor =
                if width == 1 { tensor.f_view([n, -1])? } else { tensor.f_view([n, -1, width])?.f_transpose(1, 2)? };
            Ok(tensor.f_to_device(device)?)
        };
        Ok(Self {
            face: stack(|c| &c.face, 1)?,
            counts: stack(|c| &c.counts, 1)?,
            boxes: stack(|c| &c.boxes, 4)?,
            landmarks: stack(|c| &c.landmarks, 10)?,
            marked: stack(|c| &c.marked, 1)?,
        })
    }
}

/// Where each cell's corner lies and how large its stride is, in pixels of the scene.
pub struct Grid {
    /// `[2, cells]`: x, y.
    corners: Tensor,
    /// `[cells]`.
    strides: Tensor,
}

impl Grid {
    /// Of scenes of that side.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(size: usize, device: Device) -> Result<Self> {
        let (mut x, mut y, mut strides) = (Vec::new(), Vec::new(), Vec::new());
        for stride in STRIDES {
            let side = size / stride;
            for cell in 0..side * side {
                x.push((cell % side * stride) as f32);
                y.push((cell / side * stride) as f32);
                strides.push(stride as f32);
            }
        }
        x.extend(y);
        let corners = Tensor::f_from_slice(&x)?.f_view([2, -1])?.f_to_device(device)?;
        Ok(Self { corners, strides: Tensor::f_from_slice(&strides)?.f_to_device(device)? })
    }
}

/// The loss and its parts.
pub struct Loss {
    /// What is learned by.
    pub total: Tensor,
    /// Score, fit, box and landmarks, for people.
    pub parts: [Tensor; 4],
}

/// The loss of what the network said, `[N, CHANNELS, cells]`.
///
/// Whether there is a face, and how well the box fits, are learned with a loss that turns to what is still wrong; boxes by their generalized
/// overlap (Rezatofighi et al., 2019), landmarks by their distance in parts of the face. All are sums over the cells, in parts of the number
/// of faces' cells.
///
/// # Errors
///
/// When libtorch fails.
pub fn loss(said: &Tensor, wishes: &Wishes, grid: &Grid) -> Result<Loss> {
    let channel = |range: std::ops::Range<usize>| said.f_narrow(1, range.start as i64, range.len() as i64);
    let count = wishes.face.f_sum(Kind::Float)?.f_clamp_min(1.0)?;

    let centre = channel(BOX.start..BOX.start + 2)?.f_mul(&grid.strides)?.f_add(&grid.corners)?;
    let size = channel(BOX.start + 2..BOX.end)?.f_clamp(-LARGEST, LARGEST)?.f_exp()?.f_mul(&grid.strides)?;
    let (overlap, generalized) = overlaps(&centre, &size, &wishes.boxes)?;
    let boxes = generalized.f_neg()?.f_add_scalar(1.0)?.f_mul(&wishes.face)?.f_sum(Kind::Float)?.f_div(&count)?;

    let fit = overlap.f_detach()?.f_clamp(0.0, 1.0)?.f_mul(&wishes.face)?;
    let score = focal(&said.f_select(1, SCORE as i64)?, &wishes.face, &wishes.counts)?.f_div(&count)?;
    let fit = focal(&said.f_select(1, FIT as i64)?, &fit, &wishes.counts)?.f_div(&count)?;

    let places = {
        let numbers = channel(LANDMARKS)?.f_mul(&grid.strides)?;
        numbers.f_add(&grid.corners.f_repeat([5, 1])?)?
    };
    let side = wishes.boxes.f_narrow(1, 2, 2)?.f_prod_dim_int(1, true, None)?.f_sqrt()?;
    let distance = places.f_sub(&wishes.landmarks)?.f_div(&side)?;
    // Smooth L1, from a tenth of a face on linear.
    let distance = distance.f_smooth_l1_loss(&distance.f_zeros_like()?, Reduction::None, 0.1)?;
    let marked = wishes.marked.f_unsqueeze(1)?;
    let landmarks = distance.f_mul(&marked)?.f_sum(Kind::Float)?.f_div(&count)?;

    let total =
        score.f_add(&fit)?.f_add(&boxes.f_mul_scalar(BOX_WEIGHT)?)?.f_add(&landmarks.f_mul_scalar(LANDMARK_WEIGHT)?)?;
    let parts = [score, fit, boxes, landmarks];
    Ok(Loss { total, parts })
}

/// Sum of cross entropies, each times how far the number is from the wish, to the power of [`FOCUS`].
fn focal(logits: &Tensor, wish: &Tensor, counts: &Tensor) -> Result<Tensor> {
    let off = logits.f_sigmoid()?.f_sub(wish)?.f_abs()?.f_pow_tensor_scalar(FOCUS)?;
    let entropy = logits.f_binary_cross_entropy_with_logits::<Tensor>(wish, None, None, Reduction::None)?;
    Ok(entropy.f_mul(&off)?.f_mul(counts)?.f_sum(Kind::Float)?)
}

/// Intersection over union, and its generalization, of boxes given by centre and size, `[N, cells]`.
fn overlaps(centre: &Tensor, size: &Tensor, wish: &Tensor) -> Result<(Tensor, Tensor)> {
    let (their_centre, their_size) = (wish.f_narrow(1, 0, 2)?, wish.f_narrow(1, 2, 2)?);
    let corner = |c: &Tensor, s: &Tensor, sign: f64| c.f_add(&s.f_mul_scalar(sign * 0.5)?);
    let (low, high) = (corner(centre, size, -1.0)?, corner(centre, size, 1.0)?);
    let (their_low, their_high) = (corner(&their_centre, &their_size, -1.0)?, corner(&their_centre, &their_size, 1.0)?);
    let area = |t: Tensor| t.f_clamp_min(0.0)?.f_prod_dim_int(1, false, None);
    let both = area(high.f_minimum(&their_high)?.f_sub(&low.f_maximum(&their_low)?)?)?;
    let hull = area(high.f_maximum(&their_high)?.f_sub(&low.f_minimum(&their_low)?)?)?;
    let sum = area(size.shallow_clone())?.f_add(&area(their_size)?)?;
    let union = sum.f_sub(&both)?;
    let overlap = both.f_div(&union.f_clamp_min(1e-6)?)?;
    let empty = hull.f_sub(&union)?.f_div(&hull.f_clamp_min(1e-6)?)?;
    let generalized = overlap.f_sub(&empty)?;
    Ok((overlap, generalized))
}
