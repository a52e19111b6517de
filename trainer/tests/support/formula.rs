//! Weights that are a function of their names and places: the same as in `golden/networks.py`.

use std::collections::BTreeMap;

use deepfake_trainer::net::Params;
use tch::Tensor;

/// Numbers in [-0.5, 0.5): a multiplicative hash of the index.
pub(crate) fn hashed(count: usize, salt: u64) -> Vec<f64> {
    let one = |index: u64| {
        let mut v = (index * 2_654_435_761 + salt * 40_503 + 12_345) % (1 << 32);
        v = (v ^ (v >> 15)) * 2_246_822_519 % (1 << 32);
        v ^= v >> 13;
        v as f64 / 2f64.powi(32) - 0.5
    };
    (0..count as u64).map(one).collect()
}

pub(crate) fn tensor(values: impl IntoIterator<Item = f64>, shape: &[i64]) -> Tensor {
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

/// The tensor of that name.
pub(crate) fn named(name: &str, shape: &[i64]) -> Tensor {
    // FNV-1a, 32 bits.
    let salt = name.bytes().fold(2_166_136_261, |s: u64, b| (s ^ u64::from(b)) * 16_777_619 % (1 << 32));
    let fan_in: i64 = shape[1..].iter().product();
    let values = hashed(shape.iter().product::<i64>() as usize, salt).into_iter().map(|v| {
        if name.ends_with("running_var") {
            v + 1.0
        } else if name.ends_with("running_mean") {
            v * 0.2
        } else if shape.len() >= 2 {
            v * (20.0 / fan_in as f64).sqrt()
        } else if name.ends_with("weight") {
            v + 1.0
        } else {
            v
        }
    });
    tensor(values, shape)
}

/// Values for all tensors of a network.
pub(crate) fn filled(params: &Params) -> BTreeMap<String, Tensor> {
    params.iter().map(|p| (p.name.clone(), named(&p.name, &p.tensor.size()))).collect()
}
