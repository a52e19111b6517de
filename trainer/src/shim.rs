//! What libtorch can do and tch does not bind: operations on whole lists of tensors, mixed precision on a chosen device, and
//! the switches of CUDA (`shim.cpp`).

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, Result};

type Pointer = *const C_tensor;

unsafe extern "C" {
    #[allow(clippy::too_many_arguments)]
    fn shim_adam(
        params: *const Pointer,
        gradients: *const Pointer,
        first: *const Pointer,
        second: *const Pointer,
        n: usize,
        steps: Pointer,
        rate: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        decay: f64,
        decoupled: bool,
        overflow: Pointer,
    ) -> *mut c_char;
    fn shim_lerp(into: *const Pointer, towards: *const Pointer, n: usize, weight: f64) -> *mut c_char;
    fn shim_norm(tensors: *const Pointer, n: usize, norm: *mut *mut C_tensor) -> *mut c_char;
    fn shim_scale(tensors: *const Pointer, n: usize, factor: Pointer) -> *mut c_char;
    fn shim_unscale(tensors: *const Pointer, n: usize, overflow: Pointer, inverse: Pointer) -> *mut c_char;
    fn shim_forget_gradients(tensors: *const Pointer, n: usize) -> *mut c_char;
    fn shim_autocast(cuda: bool, bfloat16: bool, enter: bool) -> *mut c_char;
    fn shim_switches(deterministic: bool, tf32: bool) -> *mut c_char;
    #[cfg(test)]
    fn shim_switched(deterministic: *mut bool, tf32: *mut bool) -> *mut c_char;
    fn shim_bfloat16(supported: *mut bool) -> *mut c_char;
}

/// What a function of the shim returned, as a result.
fn told(words: *mut c_char) -> Result<()> {
    if words.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null answer is a C string of malloc that is now ours.
    let text = unsafe {
        let text = CStr::from_ptr(words).to_string_lossy().into_owned();
        libc::free(words.cast());
        text
    };
    Err(Error::Torch(TchError::Torch(text)))
}

fn pointers(tensors: &[&Tensor]) -> Vec<Pointer> {
    tensors.iter().map(|t| t.as_ptr()).collect()
}

/// Equal lengths are what the functions below rely on.
fn same_length(lists: &[usize]) -> Result<()> {
    if lists.windows(2).all(|l| l[0] == l[1]) {
        Ok(())
    } else {
        Err(Error::Training(format!("lists of tensors of different lengths: {lists:?}")))
    }
}

/// The tensors of one update by Adam, all lists of one length.
pub(crate) struct AdamLists<'a> {
    pub(crate) params: &'a [&'a Tensor],
    pub(crate) gradients: &'a [&'a Tensor],
    pub(crate) first: &'a [&'a Tensor],
    pub(crate) second: &'a [&'a Tensor],
    /// A single float: which step this is, from 1.
    pub(crate) steps: &'a Tensor,
    /// Not zero where nothing may be changed.
    pub(crate) overflow: Option<&'a Tensor>,
}

/// The numbers of one update by Adam.
pub(crate) struct AdamNumbers {
    pub(crate) rate: f64,
    pub(crate) betas: (f64, f64),
    pub(crate) eps: f64,
    pub(crate) decay: f64,
    /// Decay of the weights, not of the gradients.
    pub(crate) decoupled: bool,
}

/// One update by PyTorch's fused Adam or AdamW.
pub(crate) fn adam(lists: &AdamLists<'_>, numbers: &AdamNumbers) -> Result<()> {
    let AdamLists { params, gradients, first, second, steps, overflow } = lists;
    same_length(&[params.len(), gradients.len(), first.len(), second.len()])?;
    let [p, g, m, v] = [params, gradients, first, second].map(|l| pointers(l));
    let overflow = overflow.map_or(std::ptr::null(), Tensor::as_ptr);
    let &AdamNumbers { rate, betas, eps, decay, decoupled } = numbers;
    // SAFETY: four lists of living tensors, as long as told; the other tensors live too.
    told(unsafe {
        shim_adam(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            p.len(),
            steps.as_ptr(),
            rate,
            betas.0,
            betas.1,
            eps,
            decay,
            decoupled,
            overflow,
        )
    })
}

/// Moves each of `into` by `weight` of the way towards its counterpart.
pub(crate) fn lerp(into: &[&Tensor], towards: &[&Tensor], weight: f64) -> Result<()> {
    same_length(&[into.len(), towards.len()])?;
    let (a, b) = (pointers(into), pointers(towards));
    // SAFETY: two lists of living tensors, as long as told.
    told(unsafe { shim_lerp(a.as_ptr(), b.as_ptr(), a.len(), weight) })
}

/// The Euclidean norm of all numbers of all tensors (at least one), a single float on their device.
pub(crate) fn norm(tensors: &[&Tensor]) -> Result<Tensor> {
    let list = pointers(tensors);
    let mut norm = std::ptr::null_mut();
    // SAFETY: a list of living tensors, as long as told.
    told(unsafe { shim_norm(list.as_ptr(), list.len(), &raw mut norm) })?;
    // SAFETY: on success it is a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(norm) })
}

/// Multiplies all tensors by a single number.
pub(crate) fn scale(tensors: &[&Tensor], factor: &Tensor) -> Result<()> {
    let list = pointers(tensors);
    // SAFETY: a list of living tensors, as long as told.
    told(unsafe { shim_scale(list.as_ptr(), list.len(), factor.as_ptr()) })
}

/// Multiplies all tensors by the single number `inverse`; sets the single number `overflow` to 1 where any of them holds what is
/// not a finite number.
pub(crate) fn unscale(tensors: &[&Tensor], overflow: &Tensor, inverse: &Tensor) -> Result<()> {
    let list = pointers(tensors);
    // SAFETY: a list of living tensors, as long as told.
    told(unsafe { shim_unscale(list.as_ptr(), list.len(), overflow.as_ptr(), inverse.as_ptr()) })
}

/// Lets go of the gradients: the next backward pass writes them anew instead of adding to them.
pub(crate) fn forget_gradients(tensors: &[&Tensor]) -> Result<()> {
    let list = pointers(tensors);
    // SAFETY: a list of living tensors, as long as told.
    told(unsafe { shim_forget_gradients(list.as_ptr(), list.len()) })
}

/// While it lives, this thread's convolutions and matrix products are done in the kind of number it was made for, on the device
/// that it was made for. Not to be nested.
pub(crate) struct Autocast {
    cuda: bool,
    bfloat16: bool,
    /// It is of its thread.
    thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Of bfloat16, or of 16-bit IEEE floats.
    pub(crate) fn new(device: Device, bfloat16: bool) -> Result<Self> {
        let cuda = device != Device::Cpu;
        // SAFETY: plain numbers.
        told(unsafe { shim_autocast(cuda, bfloat16, true) })?;
        Ok(Self { cuda, bfloat16, thread: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: plain numbers. Leaving cannot fail but for a device that libtorch was not built for, and then it was not entered.
        let _ = told(unsafe { shim_autocast(self.cuda, self.bfloat16, false) });
    }
}

/// Sets libtorch's switches for CUDA: `deterministic` allows only operations that give the same numbers each time (and lets cuDNN
/// try out what is fastest otherwise), `tf32` lets products of 32-bit floats be made of 19 bits each.
pub(crate) fn set_switches(deterministic: bool, tf32: bool) -> Result<()> {
    // SAFETY: plain numbers.
    told(unsafe { shim_switches(deterministic, tf32) })
}

/// How the switches stand: deterministic, TF32.
#[cfg(test)]
fn switches() -> Result<(bool, bool)> {
    let (mut deterministic, mut tf32) = (false, false);
    // SAFETY: two places to write to.
    told(unsafe { shim_switched(&raw mut deterministic, &raw mut tf32) })?;
    Ok((deterministic, tf32))
}

/// Whether the CUDA device computes with bfloat16 itself; false where there is none.
pub(crate) fn bfloat16() -> Result<bool> {
    let mut supported = false;
    if tch::Cuda::is_available() {
        // SAFETY: a place to write to.
        told(unsafe { shim_bfloat16(&raw mut supported) })?;
    }
    Ok(supported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_are_libtorchs() {
        for (deterministic, tf32) in [(true, false), (false, true), (false, false)] {
            set_switches(deterministic, tf32).unwrap();
            assert_eq!(switches().unwrap(), (deterministic, tf32));
        }
        assert!(!bfloat16().unwrap() || tch::Cuda::is_available());
    }

    #[test]
    fn products_are_lowered_while_it_lives() {
        let a = Tensor::ones([4, 4], (tch::Kind::Float, Device::Cpu));
        let kind = || a.matmul(&a).kind();
        for (bfloat16, expected) in [(true, tch::Kind::BFloat16), (false, tch::Kind::Half)] {
            let lowered = Autocast::new(Device::Cpu, bfloat16).unwrap();
            assert_eq!(kind(), expected);
            drop(lowered);
            assert_eq!(kind(), tch::Kind::Float);
        }
    }

    #[test]
    fn what_libtorch_refuses_is_an_error() {
        let (a, b) = (Tensor::from_slice(&[1f32, 2.0]), Tensor::from_slice(&[1f32, 2.0, 3.0]));
        assert!(matches!(lerp(&[&a], &[&b], 0.5), Err(Error::Torch(_))));
        assert!(matches!(lerp(&[&a], &[], 0.5), Err(Error::Training(_))));
    }
}
