//! Natural logarithms.
//!
//! `x = 2^k (1 + f)` with a whole `k` and `1 + f` between the square roots of 1/2 and 2; then
//! `ln x = k ln 2 + ln(1 + f)`, and `ln(1 + f)` is a polynomial.

use super::exponential::exp_of_negative;
use super::{LN_2_HIGH, LN_2_LOW, polynomial};
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

/// The exponent `k` of a positive normal number.
#[inline(always)]
fn exponent(x: f32) -> i32 {
    (x.to_bits() as i32).wrapping_sub(FRAC_1_SQRT_2.to_bits() as i32) >> 23
}

/// `k ln 2 + ln(1 + f)`.
#[inline(always)]
fn combined(k: f32, f: f32) -> f32 {
    let square = f * f;
    let cubic = polynomial(
        f,
        [
            0.333_333_167_3,
            -0.250_008_09,
            0.200_022_860_2,
            -0.166_245_962_7,
            0.141_812_132_1,
            -0.131_284_024,
            0.128_814_089,
            -0.078_602_167,
        ],
    );
    // The smallest terms first.
    let rest = f * square * cubic - 0.5 * square;
    k * LN_2_HIGH + (f + (rest + k * LN_2_LOW))
}

/// `y`, the logarithm of a positive finite `x`, and what the logarithm of any other `x` is.
#[inline(always)]
fn everywhere(x: f32, y: f32) -> f32 {
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x < 0.0 { f32::NAN } else { y };
    if x == 0.0 { f32::NEG_INFINITY } else { y }
}

/// The natural logarithm.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * (1 << 23) as f32 } else { x };
    let k = exponent(scaled);
    let f = f32::from_bits((scaled.to_bits() as i32).wrapping_sub(k << 23) as u32) - 1.0;
    everywhere(x, combined(k as f32 - if subnormal { 23.0 } else { 0.0 }, f))
}

/// `ln(1 + x)`, exact near 0.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    let k = exponent(sum);
    // 1 + f = 2^-k (1 + x) without the rounding error of 1 + x. 2^-k comes as 2^(2 - k) / 4: 2^-128 is not a normal number.
    let power = f32::from_bits((129i32.wrapping_sub(k) << 23) as u32);
    let f = if k == 0 { x } else { (x * 0.25) * power + (power * 0.25 - 1.0) };
    let y = combined(k as f32, f).copysign(x);
    // The sign was set for -0; that of NaN is of no meaning.
    everywhere(sum, y)
}

/// `ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)`.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let e = exp_of_negative::<false>(x);
    // As in `ln_1p`; 1 + e lies between 1 and 2, so k is 0 or 1.
    let upper = e > SQRT_2 - 1.0;
    let f = if upper { e * 0.5 - 0.5 } else { e };
    combined(if upper { 1.0 } else { 0.0 }, f) + if x > 0.0 { x } else { 0.0 }
}

/// `ln(1 + e^x)` of `f64`.
#[inline(always)]
pub fn softplus_f64(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + if x > 0.0 { x } else { 0.0 }
}
