//! Transcendental functions of `f32` without branches or calls, so that the loops around them vectorise, and the
//! error function and the gamma functions of `f64`.
//!
//! They are made of multiplications, additions, divisions and integer operations. Those with a parameter `FUSED` take fused
//! multiply-adds where it says that the instruction set has them, which saves two operations in five (elsewhere each would be
//! a call); without, and the others, they give the same bits on every machine. Loops that are rarely hot take them without:
//! losses on logits, the gradient of log-softmax, CRF and CTC. Each is within 2 units in the last place of the exact value
//! everywhere, subnormal results and the edges of overflow included (measured over all magnitudes; the tests hold the
//! bounds). The polynomials are minimax fits, made for this crate with Remez' algorithm.

#![allow(clippy::excessive_precision, reason = "coefficients as they were fitted: the nearest float is taken")]

mod erf;
mod exponential;
mod gamma;
mod logarithm;
#[cfg(test)]
mod tests;
mod trigonometric;

pub use erf::{erf, erf_f64, ndtr, ndtr_f64};
pub use exponential::{exp, exp_m1, exp_up_to_0, sigmoid, sigmoid_f64, tanh};
pub use gamma::{digamma, lgamma, polygamma};
pub use logarithm::{ln, ln_1p, softplus, softplus_f64};
pub use trigonometric::{cos, sin};

/// `c[0] + c[1] x + c[2] x^2 + ..` by Horner's rule, with a `mul_add(a, b, c)` that gives `a b + c`.
#[inline(always)]
fn horner<T: Copy, const N: usize>(x: T, c: [T; N], mul_add: impl Fn(T, T, T) -> T) -> T {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = mul_add(y, x, c[i]);
    }
    y
}

/// The polynomial in two roundings for each term.
#[inline(always)]
fn polynomial<T, const N: usize>(x: T, c: [T; N]) -> T
where
    T: Copy + std::ops::Mul<Output = T> + std::ops::Add<Output = T>,
{
    horner(x, c, |a, b, c| a * b + c)
}

/// `a b + c`, rounded once where `FUSED`.
#[inline(always)]
fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial of [`mul_add`]s.
#[inline(always)]
fn series<const FUSED: bool, const N: usize>(x: f32, c: [f32; N]) -> f32 {
    horner(x, c, mul_add::<FUSED>)
}

/// The first 15 bits of `ln 2`: their product with a whole number below 2^9 is exact.
const LN_2_HIGH: f32 = 0.693_145_75;
/// The rest of `ln 2`.
const LN_2_LOW: f32 = 1.428_606_8e-6;
