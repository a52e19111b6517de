//! AdamW whose whole state can be kept, gradient clipping, learning rates and the moving average of weights.

use tch::{Device, Kind, Tensor, no_grad};

use crate::config::Optim;
use crate::error::Result;
use crate::net::{Params, Role};

/// Decay of the first and second moments and the term under the root, as the literature has them.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

/// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
#[derive(Debug)]
pub struct AdamW {
    /// First and second moments of every learned tensor, in the order of [`Params::learned`].
    moments: Vec<(Tensor, Tensor)>,
    weight_decay: f64,
    steps: u64,
}

impl AdamW {
    /// With moments of zero.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(params: &Params, weight_decay: f64) -> Result<Self> {
        let zeros = |p: &Tensor| Tensor::f_zeros(p.size(), (Kind::Float, p.device()));
        let moments =
            params.learned().map(|p| Ok((zeros(&p.tensor)?, zeros(&p.tensor)?))).collect::<Result<Vec<_>>>()?;
        Ok(Self { moments, weight_decay, steps: 0 })
    }

    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The moments under the names of their tensors.
    pub fn state<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = (&'a str, &'a Tensor, &'a Tensor)> {
        params.learned().zip(&self.moments).map(|(p, (m, v))| (p.name.as_str(), m, v))
    }

    /// Takes over moments, in the order of [`AdamW::state`], and the count of steps.
    ///
    /// # Errors
    ///
    /// When libtorch fails: shapes that differ.
    pub fn restore<'a>(&mut self, moments: impl Iterator<Item = (&'a Tensor, &'a Tensor)>, steps: u64) -> Result<()> {
        for ((m, v), (from_m, from_v)) in self.moments.iter_mut().zip(moments) {
            m.f_copy_(from_m)?;
            v.f_copy_(from_v)?;
        }
        self.steps = steps;
        Ok(())
    }

    /// One step along the gradients, which it then lets go of.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn step(&mut self, params: &Params, rate: f64) -> Result<()> {
        self.steps += 1;
        let t = self.steps as f64;
        let corrected = (1.0 - BETAS.0.powf(t), (1.0 - BETAS.1.powf(t)).sqrt());
        let _guard = tch::no_grad_guard();
        for (param, (m, v)) in params.learned().zip(&mut self.moments) {
            let mut tensor = param.tensor.shallow_clone();
            let gradient = tensor.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            let _ = m.f_lerp_(&gradient, 1.0 - BETAS.0)?;
            let _ = v.f_lerp_(&gradient.f_square()?, 1.0 - BETAS.1)?;
            let mut root = v.f_sqrt()?;
            let _ = root.f_divide_scalar_(corrected.1)?.f_add_scalar_(EPS)?;
            if param.role == Role::Weight && self.weight_decay > 0.0 {
                let _ = tensor.f_mul_scalar_(1.0 - rate * self.weight_decay)?;
            }
            let _ = tensor.f_sub_(&m.f_div(&root)?.f_mul_scalar(rate / corrected.0)?)?;
            tensor.zero_grad();
        }
        Ok(())
    }
}

/// Scales all gradients down together to a norm of at most `limit` (0: leaves them). Returns the norm before.
///
/// # Errors
///
/// When libtorch fails.
pub fn clip(params: &Params, limit: f64) -> Result<f64> {
    let _guard = tch::no_grad_guard();
    let mut gradients = Vec::new();
    for param in params.learned() {
        let gradient = param.tensor.f_grad()?;
        if gradient.defined() {
            gradients.push(gradient);
        }
    }
    let norms = gradients.iter().map(Tensor::f_norm).collect::<Result<Vec<_>, _>>()?;
    let norm = Tensor::f_stack(&norms, 0)?.f_norm()?.f_to_device(Device::Cpu)?.f_double_value(&[])?;
    if limit > 0.0 && norm > limit {
        for gradient in &mut gradients {
            let _ = gradient.f_mul_scalar_(limit / norm)?;
        }
    }
    Ok(norm)
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
    no_grad(|| {
        for (a, p) in average.iter().zip(params.iter()) {
            let _ = a.tensor.shallow_clone().f_lerp_(&p.tensor, 1.0 - decay)?;
        }
        Ok(())
    })
}
