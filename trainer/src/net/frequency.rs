//! The discrete cosine transform as matrices and kernels, and bands of its spectrum.

use std::f64::consts::PI;

use tch::Tensor;

use crate::error::Result;

/// The orthonormal transform of type II as a matrix `[size, size]`: row k holds the cosine of frequency k. Applied as `D x D^T`;
/// its transpose is its inverse.
///
/// # Errors
///
/// When libtorch fails.
pub fn dct(size: i64) -> Result<Tensor> {
    matrix(size, size, |k, n| cosine(k, n, size))
}

/// The two-dimensional transform of windows of `side` by `side` pixels as the kernels of a convolution, `[side * side, 1, side,
/// side]`: coefficient (k, l) is channel `k * side + l`.
///
/// # Errors
///
/// When libtorch fails.
pub fn dct_kernels(side: i64) -> Result<Tensor> {
    let places = side * side;
    let kernels = matrix(places, places, |coefficient, pixel| {
        cosine(coefficient / side, pixel / side, side) * cosine(coefficient % side, pixel % side, side)
    })?;
    Ok(kernels.f_view([places, 1, side, side])?)
}

/// Which coefficients `[size, size]` belong to a band: 1 where `above < k + l <= up_to`, else 0.
///
/// # Errors
///
/// When libtorch fails.
pub fn band(size: i64, above: f64, up_to: f64) -> Result<Tensor> {
    matrix(size, size, |k, l| f64::from(above < (k + l) as f64 && (k + l) as f64 <= up_to))
}

fn cosine(k: i64, n: i64, size: i64) -> f64 {
    let scale = if k == 0 { 1.0 } else { 2.0 };
    (scale / size as f64).sqrt() * (PI * k as f64 * (2 * n + 1) as f64 / (2 * size) as f64).cos()
}

fn matrix(rows: i64, columns: i64, value: impl Fn(i64, i64) -> f64) -> Result<Tensor> {
    let value = &value;
    let values: Vec<f32> = (0..rows).flat_map(|r| (0..columns).map(move |c| value(r, c) as f32)).collect();
    Ok(Tensor::f_from_slice(&values)?.f_view([rows, columns])?)
}
