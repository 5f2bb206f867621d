//! Sine and cosine.
//!
//! `x = n pi / 2 + r` with a whole `n` and `|r| <= pi / 4`: which of the two functions of `r` it is, and its sign, are in the
//! lowest bits of `n`. For the largest `x` that takes 150 bits of `2 / pi`, but only some 80 of them at a time: what is above
//! makes whole turns (Payne and Hanek, "Radian reduction for trigonometric functions", 1983). So all `x` go the same way, in
//! `f64`, whose products of the 24 bits of an `f32` with 28 bits are exact.

use super::polynomial;
use std::f64::consts::FRAC_PI_2;

/// The first 288 bits of `2 / pi` after the point.
const TWO_OVER_PI: [u32; 9] = [
    0xa2f9_836e,
    0x4e44_1529,
    0xfc27_57d1,
    0xf534_ddc0,
    0xdb62_9599,
    0x3c43_9041,
    0xfe51_63ab,
    0xdebb_c561,
    0xb724_6e3a,
];
/// Bits of `2 / pi` in one number of the tables.
const PART: usize = 28;
/// The exponents that have their own part of `2 / pi`: those of the largest `f32`.
const EXPONENTS: usize = 128;
/// The exponent's bits from which on leading bits of `2 / pi` make whole turns of every `x`.
const LARGE: u32 = 127 + 26;
/// Adding this to a number below 2^51 rounds it to a whole number, which stands in the lowest bits of the sum.
const ROUND: f64 = (3_u64 << 51) as f64;

/// For each exponent from [`LARGE`] on the bits of `2 / pi` that count, `part * 28` of them later.
const fn table(part: usize) -> [f64; EXPONENTS] {
    let mut table = [0.0; EXPONENTS];
    let mut i = 0;
    // Infinity and NaN have the last exponent, and any number will do for them.
    while i < 255 - LARGE as usize {
        let (mut value, mut unit, mut bit) = (0.0, 1.0, 0);
        while bit < i + (part + 1) * PART {
            unit *= 0.5;
            if bit >= i + part * PART && (TWO_OVER_PI[bit / 32] >> (31 - bit % 32)) & 1 == 1 {
                value += unit;
            }
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
}

static HIGH: [f64; EXPONENTS] = table(0);
static MIDDLE: [f64; EXPONENTS] = table(1);
static LOW: [f64; EXPONENTS] = table(2);

/// `sin(x + quarters pi / 2)`.
#[inline(always)]
fn sin_from(x: f32, quarters: u64) -> f32 {
    let exponent = (x.to_bits() >> 23) & 255;
    let place = exponent.saturating_sub(LARGE) as usize % EXPONENTS;
    let x = f64::from(x);
    let (high, middle, low) = (x * HIGH[place], x * MIDDLE[place], x * LOW[place]);
    let shifted = high + middle + ROUND;
    let n = shifted - ROUND;
    let r = ((high - n) + middle + low) * FRAC_PI_2;
    let square = r * r;
    let odd =
        [-0.166_666_666_407_762_4, 0.008_333_329_302_417_321, -0.000_198_393_114_853_993_3, 2.718_114_117_448_255e-6];
    let even =
        [-0.499_999_996_942_254_3, 0.041_666_620_328_792_95, -0.001_388_668_075_154_31, 2.438_348_285_078_365e-5];
    let sin = r + r * square * polynomial(square, odd);
    let cos = 1.0 + square * polynomial(square, even);
    let quarter = shifted.to_bits().wrapping_add(quarters);
    let y = if quarter & 1 == 0 { sin } else { cos };
    (if quarter & 2 == 0 { y } else { -y }) as f32
}

/// The sine; radians.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let y = sin_from(x, 0);
    // -0 lost its sign on the way.
    if x == 0.0 { x } else { y }
}

/// The cosine; radians.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    sin_from(x, 1)
}
