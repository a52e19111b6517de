//! A network that learns: one step from a batch to changed weights.

use tch::{Device, Kind, Reduction, Tensor};

use crate::config::{Method, Optim, Precision};
use crate::error::{Error, Result};
use crate::net::{FAKE, Mode, Net, Params, REAL};
use crate::optim::{self, Adam, Scaler, sam};
use crate::seeded;
use crate::shim::Autocast;

/// Network, weights, their moving average and the state of the optimizer.
#[derive(Debug)]
pub struct Learner {
    /// What the numbers belong to.
    pub net: Net,
    /// The weights that are changed, with gradients.
    pub params: Params,
    /// Their moving average, which validation uses and a run results in.
    pub average: Params,
    /// Moments of the gradients.
    pub adam: Adam,
    /// Of the loss, where gradients are 16-bit floats.
    pub scaler: Option<Scaler>,
    /// Steps done, also those that changed nothing because gradients overflowed.
    pub steps: u64,
    optim: Optim,
    autocast: Option<Lowered>,
    class_weights: Option<Tensor>,
    seed: u64,
}

/// Half precision, and where.
#[derive(Clone, Copy, Debug)]
struct Lowered {
    device: Device,
    bfloat16: bool,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Of the batch, before the step.
    pub loss: f64,
    /// Of the gradient, before clipping.
    pub norm: f64,
    /// Gradients overflowed: nothing was changed but the scale of the loss.
    pub skipped: bool,
}

impl Learner {
    /// With copies of `initial` on `device`. `optim.precision` is what [`crate::device::precision`] returned; `seed` is the run's, of
    /// what is dropped at random.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn new(net: Net, initial: &Params, optim: &Optim, device: Device, seed: u64) -> Result<Self> {
        let params = initial.copied(device, true)?;
        let average = params.copied(device, false)?;
        let adam = Adam::new(&params, optim.weight_decay, optim.method != Method::Adam)?;
        let autocast = match optim.precision {
            Precision::Bf16 => Some(Lowered { device, bfloat16: true }),
            Precision::Fp16 => Some(Lowered { device, bfloat16: false }),
            Precision::Auto | Precision::Fp32 => None,
        };
        let scaler = (optim.precision == Precision::Fp16).then(Scaler::default);
        Ok(Self {
            net,
            params,
            average,
            adam,
            scaler,
            steps: 0,
            optim: optim.clone(),
            autocast,
            class_weights: None,
            seed,
        })
    }

    /// Weighs the losses of real and fake faces.
    ///
    /// # Errors
    ///
    /// When libtorch fails.
    pub fn weigh(&mut self, real: f64, fake: f64) -> Result<()> {
        let mut weights = [0.0; 2];
        weights[REAL as usize] = real as f32;
        weights[FAKE as usize] = fake as f32;
        self.class_weights = Some(Tensor::f_from_slice(&weights)?.f_to_device(self.device())?);
        Ok(())
    }

    /// Where it learns.
    pub fn device(&self) -> Device {
        self.adam.device()
    }

    /// One step over the batch `input` `[N, 3, H, W]` with the columns `labels` `[N]`, at a learning rate.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not a number, though not for want of bits: the weights are then spoiled. libtorch failing.
    pub fn step(&mut self, input: &Tensor, labels: &Tensor, rate: f64) -> Result<Step> {
        let seed = seeded::mixed(self.seed, "dropout", &[self.steps]);
        let loss = self.backward(input, labels, Mode::Training { seed })?;
        let mut overflow = self.unscale()?;
        if self.optim.method == Method::Sam {
            let kept = sam::climb(&self.params, self.optim.rho)?;
            // Statistics were gathered where the weights are; what is dropped must be the same, or it would be another function.
            let _ = self.backward(input, labels, Mode::Again { seed })?;
            sam::descend(kept)?;
            if let (Some(overflow), Some(second)) = (&mut overflow, self.unscale()?) {
                *overflow = overflow.f_maximum(&second)?;
            }
        }
        let norm = optim::clip(&self.params, self.optim.clip)?;
        let norm = norm.ok_or_else(|| Error::Training("nothing in the network learns".to_owned()))?;
        self.adam.step(&self.params, rate, overflow.as_ref())?;
        optim::forget_gradients(&self.params)?;

        // All numbers at once: a GPU is waited for only here.
        let told = [Some(&loss.f_detach()?), Some(&norm), overflow.as_ref()];
        let told = told.into_iter().flatten().map(|t| t.f_view([1])).collect::<Result<Vec<_>, _>>()?;
        let told = crate::net::floats(&Tensor::f_cat(&told, 0)?)?;
        let (loss, norm) = (f64::from(told[0]), f64::from(told[1]));
        let skipped = told.get(2).is_some_and(|o| *o != 0.0);
        if !loss.is_finite() || !(norm.is_finite() || skipped) {
            return Err(Error::Training(format!(
                "the loss is {loss}, its gradient's norm {norm}, at step {}: lower `optim.learning_rate`",
                self.steps
            )));
        }
        self.steps += 1;
        if let Some(scaler) = &mut self.scaler {
            scaler.update(skipped);
        }
        if !skipped {
            optim::follow(&self.average, &self.params, self.optim.ema, self.steps)?;
        }
        Ok(Step { loss, norm, skipped })
    }

    /// Runs the batch forwards and backwards; returns the loss.
    fn backward(&self, input: &Tensor, labels: &Tensor, mode: Mode) -> Result<Tensor> {
        let lowered = self.autocast.map(|l| Autocast::new(l.device, l.bfloat16)).transpose()?;
        let logits = self.net.forward(&self.params, input, mode)?.logits.f_to_kind(Kind::Float)?;
        drop(lowered);
        let smoothing = self.optim.label_smoothing;
        let mut loss =
            logits.f_cross_entropy_loss(labels, self.class_weights.as_ref(), Reduction::Mean, -100, smoothing)?;
        if self.optim.pair_weight > 0.0 {
            loss = loss.f_add(&ranking_loss(&logits)?.f_mul_scalar(self.optim.pair_weight)?)?;
        }
        match &self.scaler {
            Some(scaler) => loss.f_mul_scalar(scaler.scale())?.f_backward()?,
            None => loss.f_backward()?,
        }
        Ok(loss)
    }

    /// Takes the loss scale out of the gradients; whether they overflowed, as a single float. `None` where nothing is scaled.
    fn unscale(&self) -> Result<Option<Tensor>> {
        self.scaler.map(|s| optim::unscale(&self.params, s.scale())).transpose()
    }
}

/// How often, softly, a real face scores above the fake of its pair: mean of ln(1 + exp(real - fake)) over the pairs of a batch
/// that holds its real faces first.
fn ranking_loss(logits: &Tensor) -> Result<Tensor> {
    let fakeness = logits.f_select(1, FAKE)?.f_sub(&logits.f_select(1, REAL)?)?;
    let half = fakeness.size1()? / 2;
    let gap = fakeness.f_narrow(0, 0, half)?.f_sub(&fakeness.f_narrow(0, half, half)?)?;
    Ok(gap.f_softplus()?.f_mean(Kind::Float)?)
}
