//! How weights are found: [`Adam`] (and AdamW), [`sam`] around it, gradient clipping, loss scaling, learning rates and the moving
//! average of weights.

mod adam;
pub mod sam;
mod scaler;

use tch::{Device, Kind, Tensor};

pub use adam::Adam;
pub use scaler::Scaler;

use crate::config::Optim;
use crate::error::Result;
use crate::net::{Param, Params};
use crate::shim;

/// All learned tensors that have a gradient, with it and their place among [`Params::learned`].
///
/// # Errors
///
/// When libtorch fails.
pub fn gradients(params: &Params) -> Result<Vec<(usize, &Param, Tensor)>> {
    let mut gradients = Vec::new();
    for (place, param) in params.learned().enumerate() {
        let gradient = param.tensor.f_grad()?;
        if gradient.defined() {
            gradients.push((place, param, gradient));
        }
    }
    Ok(gradients)
}

/// Lets go of all gradients.
///
/// # Errors
///
/// When libtorch fails.
pub fn forget_gradients(params: &Params) -> Result<()> {
    shim::forget_gradients(&params.learned().map(|p| &p.tensor).collect::<Vec<_>>())
}

/// Scales all gradients down together to a norm of at most `limit` (0: leaves them). Returns the norm before, a single float on
/// their device; `None` where there is no gradient.
///
/// # Errors
///
/// When libtorch fails.
pub fn clip(params: &Params, limit: f64) -> Result<Option<Tensor>> {
    let gradients = gradients(params)?;
    let gradients: Vec<&Tensor> = gradients.iter().map(|(_, _, g)| g).collect();
    if gradients.is_empty() {
        return Ok(None);
    }
    let norm = shim::norm(&gradients)?;
    // On a GPU nobody waits to hear whether it is needed; multiplying by one changes nothing.
    if limit > 0.0 && (norm.device() != Device::Cpu || norm.f_double_value(&[])? > limit) {
        let factor = norm.f_reciprocal()?.f_mul_scalar(limit)?.f_clamp_max(1.0)?;
        shim::scale(&gradients, &factor)?;
    }
    Ok(Some(norm))
}

/// Divides all gradients by the loss scale that they were made with. Returns a single float on their device: 1 where any was not a
/// finite number, else 0.
///
/// # Errors
///
/// When libtorch fails.
pub fn unscale(params: &Params, scale: f64) -> Result<Tensor> {
    let gradients = gradients(params)?;
    let device = gradients.first().map_or(Device::Cpu, |(_, _, g)| g.device());
    let overflow = Tensor::f_zeros([1], (Kind::Float, device))?;
    let inverse = Tensor::f_full([1], 1.0 / scale, (Kind::Float, device))?;
    shim::unscale(&gradients.iter().map(|(_, _, g)| g).collect::<Vec<_>>(), &overflow, &inverse)?;
    Ok(overflow)
}

/// The learning rate of a step: linear warm-up, then half a cosine.
pub fn rate(optim: &Optim, step: usize, steps_per_epoch: usize) -> f64 {
    let total = (optim.epochs * steps_per_epoch) as f64;
    let warmup = (optim.warmup_epochs * steps_per_epoch as f64).min(total);
    let at = step as f64 + 1.0;
    if at <= warmup {
        return optim.learning_rate * at / warmup;
    }
    let done = (at - warmup) / (total - warmup).max(1.0);
    let cosine = (1.0 + (std::f64::consts::PI * done.min(1.0)).cos()) / 2.0;
    optim.learning_rate * (optim.final_rate + (1.0 - optim.final_rate) * cosine)
}

/// Moves `average` towards `params` (running statistics too). In the first steps it follows faster, so that the initial weights
/// are soon forgotten.
///
/// # Errors
///
/// When libtorch fails.
pub fn follow(average: &Params, params: &Params, decay: f64, step: u64) -> Result<()> {
    let decay = decay.min((1.0 + step as f64) / (10.0 + step as f64));
    let list = |params: &Params| params.iter().map(|p| p.tensor.shallow_clone()).collect::<Vec<_>>();
    let (into, towards) = (list(average), list(params));
    shim::lerp(&into.iter().collect::<Vec<_>>(), &towards.iter().collect::<Vec<_>>(), 1.0 - decay)
}
