//! Class activation maps: where in a face a network sees what makes it a member of a class.
//!
//! For class c and features `A` that enter the pooling, `L = ReLU(sum_k alpha_k A_k)`. Grad-CAM (Selvaraju et al., ICCV 2017) takes
//! for `alpha_k` the mean over all positions of `d y_c / d A_k`; CAM (Zhou et al., CVPR 2016) the weight `w_ck` of a linear layer
//! behind the mean. Through such a head the gradient is `w_ck / Z` at each of the Z positions, so that both are one map but for the
//! factor Z, which [`scaled`] takes away.

use tch::{Kind, Tensor, no_grad};

use crate::config::Cam;
use crate::error::{Error, Result};
use crate::net::{Forward, Mode, Net, Params};

/// The maps `[N, h, w]`, not negative, of a batch `[N, 3, H, W]`, each for its own class of `classes` `[N]`.
///
/// # Errors
///
/// When libtorch fails, or the features have one row or column only: such a map tells no place.
pub fn activation(cam: Cam, net: &Net, params: &Params, input: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let (features, alpha) = match cam {
        Cam::Exact => exact(net, params, input, classes)?,
        Cam::Gradient => gradient(net, params, input, classes)?,
    };
    let (n, channels, height, width) = features.size4()?;
    if height < 2 || width < 2 {
        let text =
            format!("features of {width}x{height} positions tell no region of a face: choose a larger input size");
        return Err(Error::Training(text));
    }
    no_grad(|| {
        let weighted = features.f_mul(&alpha.f_view([n, channels, 1, 1])?)?;
        Ok(weighted.f_sum_dim_intlist(&[1i64][..], false, None::<Kind>)?.f_relu()?)
    })
}

/// Features and their weights `[N, C]`, read from the head.
fn exact(net: &Net, params: &Params, input: &Tensor, classes: &Tensor) -> Result<(Tensor, Tensor)> {
    no_grad(|| {
        let features = net.forward(params, input, Mode::Inference)?.features;
        let alpha = params.get(net.head().0).f_index_select(0, classes)?;
        Ok((features, alpha))
    })
}

/// The same by a backward pass, whatever is between the features and the classes.
fn gradient(net: &Net, params: &Params, input: &Tensor, classes: &Tensor) -> Result<(Tensor, Tensor)> {
    // Weights that do not learn ask for no gradient: the input does, and with it all that is computed from it.
    let input = input.f_detach()?.f_set_requires_grad(true)?;
    let Forward { features, logits } = net.forward(params, &input, Mode::Inference)?;
    // No face's score depends on another face: the gradient of their sum is each face's own.
    let score = logits.f_gather(1, &classes.f_unsqueeze(1)?, false)?.f_sum(None::<Kind>)?;
    let gradients = Tensor::f_run_backward(&[score], &[&features], false, false)?;
    let [gradient] = &gradients[..] else {
        return Err(Error::Training("libtorch gave no gradient of the features".to_owned()));
    };
    let alpha = gradient.f_mean_dim(&[2i64, 3][..], false, None::<Kind>)?;
    Ok((features.f_detach()?, alpha))
}

/// Each map `[N, h, w]` scaled to [0, 1]: its least value becomes 0, its largest 1. A map of one value tells no region and becomes 0.
///
/// # Errors
///
/// When libtorch fails.
pub fn scaled(maps: &Tensor) -> Result<Tensor> {
    let (least, largest) = (maps.f_amin([1, 2], true)?, maps.f_amax([1, 2], true)?);
    let range = largest.f_sub(&least)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
    Ok(maps.f_sub(&least)?.f_div(&range)?)
}

/// Maps `[N, h, w]` resized to `side` x `side`, bilinear between the middles of positions, edges repeated.
///
/// # Errors
///
/// When libtorch fails.
pub fn resized(maps: &Tensor, side: usize) -> Result<Tensor> {
    let side = side as i64;
    Ok(maps.f_unsqueeze(1)?.f_upsample_bilinear2d([side, side], false, None, None)?.f_squeeze_dim(1)?)
}
