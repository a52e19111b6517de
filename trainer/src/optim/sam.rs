//! Sharpness-aware minimization: Foret et al., 2021. The gradient that an optimizer follows is taken not where the weights are but a
//! step of fixed length uphill, so that it leads to where the loss is low all around.

use tch::{Tensor, no_grad};

use super::gradients;
use crate::error::Result;
use crate::net::Params;
use crate::shim;

/// Added to the gradient's norm, as the authors have it.
const EPS: f64 = 1e-12;

/// The weights as they were before [`climb`].
#[derive(Debug)]
pub struct Kept(Vec<(Tensor, Tensor)>);

/// Moves the learned tensors by `rho` along their common gradient, and lets go of the gradients. Without one, nothing moves.
///
/// # Errors
///
/// When libtorch fails.
pub fn climb(params: &Params, rho: f64) -> Result<Kept> {
    let gradients = gradients(params)?;
    if gradients.is_empty() {
        return Ok(Kept(Vec::new()));
    }
    let norm = shim::norm(&gradients.iter().map(|(_, _, g)| g).collect::<Vec<_>>())?;
    let kept = no_grad(|| -> Result<_> {
        let step = norm.f_add_scalar(EPS)?.f_reciprocal()?.f_mul_scalar(rho)?;
        let mut kept = Vec::with_capacity(gradients.len());
        for (_, param, gradient) in &gradients {
            let mut tensor = param.tensor.shallow_clone();
            let mut before = tensor.f_empty_like()?;
            before.f_copy_(&tensor)?;
            let _ = tensor.f_add_(&gradient.f_mul(&step)?)?;
            kept.push((tensor, before));
        }
        Ok(kept)
    })?;
    super::forget_gradients(params)?;
    Ok(Kept(kept))
}

/// Puts the weights back, bit for bit; the gradients stay.
///
/// # Errors
///
/// When libtorch fails.
pub fn descend(kept: Kept) -> Result<()> {
    no_grad(|| {
        for (mut tensor, before) in kept.0 {
            tensor.f_copy_(&before)?;
        }
        Ok(())
    })
}
