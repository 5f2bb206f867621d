//! `e^x` and what is made of it.
//!
//! `x = n ln 2 + r` with a whole `n` and `|r| <= ln 2 / 2`; then `e^x = 2^n e^r`, and `e^r` is a polynomial.

use super::{LN_2_HIGH, LN_2_LOW, mul_add, series};
use std::f32::consts::LOG2_E;

/// Adding this to a number below 2^22 rounds it to a whole number, which stands in the lowest bits of the sum.
const ROUND: f32 = (3 << 22) as f32;
/// No low part. The compiler may leave out the addition of -0, which changes nothing, but not that of 0, which changes -0.
const NONE: f32 = -0.0;
/// What the exponent's bits of 1 say.
const BIAS: i32 = 127;
/// The series of `e^r` after its first two terms, over `r^2`.
const AFTER_2: [f32; 5] = [0.500_000_006, 0.166_665_440_6, 0.041_666_285_73, 0.008_366_488_559, 0.001_394_626_649];

/// `x = n ln 2 + r` in parts.
struct Reduced {
    /// The bits of a number whose lowest ones are `n + offset`.
    bits: i32,
    n: f32,
    /// `r` rounded twice, its larger part, and what makes that exact.
    r: f32,
    high: f32,
    low: f32,
}

/// Takes `high + low` apart, where `low` is no larger than the rounding of `high` unless `high` is small.
#[inline(always)]
fn reduced<const FUSED: bool>(high: f32, low: f32, offset: i32) -> Reduced {
    let round = ROUND + offset as f32;
    let shifted = mul_add::<FUSED>(high + low, LOG2_E, round);
    let n = shifted - round;
    let (high, low) = (mul_add::<FUSED>(-n, LN_2_HIGH, high), mul_add::<FUSED>(-n, LN_2_LOW, low));
    Reduced { bits: shifted.to_bits() as i32, n, r: high + low, high, low }
}

/// `2^(b - 127)` from a number whose lowest nine bits are `b`, from 1 to 254.
#[inline(always)]
fn power(b: i32) -> f32 {
    f32::from_bits((b as u32) << 23)
}

impl Reduced {
    /// `e^r - 1 - high`: what is left of the series after its largest term.
    #[inline(always)]
    fn rest<const FUSED: bool>(&self) -> f32 {
        mul_add::<FUSED>(self.r * self.r, series::<FUSED, _>(self.r, AFTER_2), self.low)
    }
}

/// `e^x` for `x` from -105 to 89.5.
#[inline(always)]
fn exp_inside<const FUSED: bool>(x: f32) -> f32 {
    let x = reduced::<FUSED>(x, NONE, 2 * BIAS);
    // 1 + high, with its rounding error put back.
    let sum = 1.0 + x.high;
    let y = sum + ((x.high - (sum - 1.0)) + x.rest::<FUSED>());
    // 2^n in two halves: with one, infinity and the subnormal numbers would be out of reach.
    let half = x.bits >> 1;
    y * power(half) * power(x.bits.wrapping_sub(half))
}

/// `2^x / 2` for `x` from -124 to 126.
#[inline(always)]
pub(super) fn half_exp2<const FUSED: bool>(x: f32) -> f32 {
    let round = ROUND + (BIAS - 1) as f32;
    let shifted = x + round;
    let r = x - (shifted - round);
    let terms =
        [0.693_147_206_2, 0.240_226_513_5, 0.055_503_277_91, 0.009_618_003_89, 0.001_340_026_967, 0.000_154_763_001_8];
    mul_add::<FUSED>(r, series::<FUSED, _>(r, terms), 1.0) * power(shifted.to_bits() as i32)
}

/// `e^x`.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    // The comparisons are false for NaN, which so stays.
    let x = if x > 89.5 { 89.5 } else { x };
    exp_inside::<FUSED>(if x < -105.0 { -105.0 } else { x })
}

/// `e^x` for an `x` that is not above 0; 0 where it would not be a normal number. For normalizations, whose sums are at
/// least 1.
#[inline(always)]
pub fn exp_up_to_0<const FUSED: bool>(x: f32) -> f32 {
    let Reduced { bits, r, .. } = reduced::<FUSED>(x, NONE, BIAS);
    let slope = mul_add::<FUSED>(r, series::<FUSED, _>(r, AFTER_2), 1.0);
    let y = mul_add::<FUSED>(r, slope, 1.0) * power(bits);
    // False for NaN, which so stays.
    if x < -87.3 { 0.0 } else { y }
}

/// `e^x - 1`, exact near 0.
#[inline(always)]
pub fn exp_m1<const FUSED: bool>(x: f32) -> f32 {
    let clamped = if x > 88.8 { 88.8 } else { x };
    let clamped = if clamped < -18.0 { -18.0 } else { clamped };
    // (2^n - 1) + 2^n q, halved on the way: 2^128 is infinite.
    let r = reduced::<FUSED>(clamped, NONE, BIAS - 1);
    let (q, half) = (r.high + r.rest::<FUSED>(), power(r.bits));
    let y = mul_add::<FUSED>(half, q, half - 0.5) * 2.0;
    // Subnormal numbers would lose their last bit by halving; -0 stays -0.
    (if r.n == 0.0 { q } else { y }).copysign(x)
}

/// `e^(high + low) - 1` for a sum from -80 to 80 whose `high` is the exact part.
#[inline(always)]
pub(super) fn exp_m1_inside<const FUSED: bool>(high: f32, low: f32) -> f32 {
    let r = reduced::<FUSED>(high, low, BIAS);
    let power = power(r.bits);
    mul_add::<FUSED>(power, r.high + r.rest::<FUSED>(), power - 1.0)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // From 9.02 on the nearest number to tanh is 1.
    let a = if x.abs() > 9.1 { 9.1 } else { x.abs() };
    let square = a * a;
    let odd = [-0.333_333_150_5, 0.133_324_852_3, -0.053_840_426_53, 0.021_018_373_57, -0.006_193_643_117];
    let small = mul_add::<FUSED>(a, square * series::<FUSED, _>(square, odd), a);
    // 1 - 2 / (e^2a + 1): what is left of the rounding of 2a log2 e is small beside 1.
    let large = 1.0 - 1.0 / (half_exp2::<FUSED>(a * (2.0 * LOG2_E)) + 0.5);
    (if a < 0.5625 { small } else { large }).copysign(x)
}

/// `e^-|x|`.
#[inline(always)]
pub(super) fn exp_of_negative<const FUSED: bool>(x: f32) -> f32 {
    exp_inside::<FUSED>(if x.abs() > 105.0 { -105.0 } else { -x.abs() })
}

/// The logistic function `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    let e = exp_of_negative::<FUSED>(x);
    // e^x / (e^x + 1) for negative x, which keeps small values exact.
    let y = (if x < 0.0 { e } else { 1.0 }) / (1.0 + e);
    // The same with one rounding that counts instead of two.
    if x < -1.2 { mul_add::<FUSED>(-e, y, e) } else { y }
}

/// The logistic function of `f64`.
#[inline(always)]
pub fn sigmoid_f64(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}
