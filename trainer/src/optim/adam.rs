//! Adam and AdamW whose whole state can be kept.

use tch::{Device, Kind, Tensor};

use super::gradients;
use crate::error::Result;
use crate::net::{Param, Params, Role};
use crate::shim::{self, AdamLists, AdamNumbers};

/// Decay of the first and second moments and the term under the root, as the literature has them.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

/// Kingma and Ba, "Adam", 2015; with decoupled weight decay Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
#[derive(Debug)]
pub struct Adam {
    /// First and second moments of every learned tensor, in the order of [`Params::learned`].
    moments: Vec<(Tensor, Tensor)>,
    weight_decay: f64,
    decoupled: bool,
    /// Updates done, a single float where the weights are.
    updates: Tensor,
}

impl Adam {
    /// With moments of zero. `decoupled` is what tells AdamW from Adam with a quadratic penalty.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(params: &Params, weight_decay: f64, decoupled: bool) -> Result<Self> {
        // In the same order in memory as the weights: one walk over all of them.
        let zeros = |p: &Param| p.tensor.f_detach()?.f_zeros_like();
        let moments = params.learned().map(|p| Ok((zeros(p)?, zeros(p)?))).collect::<Result<Vec<_>>>()?;
        let device = params.iter().next().map_or(Device::Cpu, |p| p.tensor.device());
        let updates = Tensor::f_zeros([1], (Kind::Float, device))?;
        Ok(Self { moments, weight_decay, decoupled, updates })
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.updates.device()
    }

    /// Updates done so far: fewer than steps where some overflowed.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn updates(&self) -> Result<u64> {
        Ok(self.updates.f_double_value(&[0])? as u64)
    }

    /// The moments under the names of their tensors.
    pub fn state<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = (&'a str, &'a Tensor, &'a Tensor)> {
        params.learned().zip(&self.moments).map(|(p, (m, v))| (p.name.as_str(), m, v))
    }

    /// Takes over moments, in the order of [`Adam::state`], and the count of updates.
    ///
    /// # Errors
    ///
    /// When libtorch fails: shapes that differ.
    pub fn restore<'a>(&mut self, moments: impl Iterator<Item = (&'a Tensor, &'a Tensor)>, updates: u64) -> Result<()> {
        for ((m, v), (from_m, from_v)) in self.moments.iter_mut().zip(moments) {
            m.f_copy_(from_m)?;
            v.f_copy_(from_v)?;
        }
        let _ = self.updates.f_fill_(updates as f64)?;
        Ok(())
    }

    /// One update along the gradients of those tensors that have one; none where `overflow`, a single float on their device, is
    /// 1 and not 0.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn step(&mut self, params: &Params, rate: f64, overflow: Option<&Tensor>) -> Result<()> {
        let _ = self.updates.f_add_scalar_(1.0)?;
        if let Some(overflow) = overflow {
            let _ = self.updates.f_sub_(overflow)?;
        }
        let gradients = gradients(params)?;
        for role in [Role::Weight, Role::Gain] {
            let of: Vec<_> = gradients.iter().filter(|(_, p, _)| p.role == role).collect();
            let lists = AdamLists {
                params: &of.iter().map(|(_, p, _)| &p.tensor).collect::<Vec<_>>(),
                gradients: &of.iter().map(|(_, _, g)| g).collect::<Vec<_>>(),
                first: &of.iter().map(|(place, ..)| &self.moments[*place].0).collect::<Vec<_>>(),
                second: &of.iter().map(|(place, ..)| &self.moments[*place].1).collect::<Vec<_>>(),
                steps: &self.updates,
                overflow,
            };
            let decay = if role == Role::Weight { self.weight_decay } else { 0.0 };
            if !of.is_empty() {
                shim::adam(&lists, &AdamNumbers { rate, betas: BETAS, eps: EPS, decay, decoupled: self.decoupled })?;
            }
        }
        Ok(())
    }
}
