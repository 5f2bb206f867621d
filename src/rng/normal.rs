//! Normal numbers, of the same bits on every machine: logarithm and cosine are made of operations that every machine rounds
//! alike, without branches, so that loops around them vectorise. The polynomials are minimax fits, made for this crate with
//! Remez' algorithm.

#![allow(clippy::excessive_precision, reason = "coefficients as they were fitted: the nearest float is taken")]

use super::uniform;
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// `c[0] + c[1] x + c[2] x^2 + ..` by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    let mut y = c[N - 1];
    for i in (0..N - 1).rev() {
        y = y * x + c[i];
    }
    y
}

/// The normal number of four words: `sqrt(-2 ln u) cos(2 pi v)`, with `u` in `(0, 1]` and `v` in `[0, 1)`.
#[inline(always)]
pub(crate) fn normal([u0, u1, v0, v1]: [u32; 4]) -> f64 {
    (-2.0 * ln(1.0 - uniform([u0, u1]))).sqrt() * cos_of_turns(uniform([v0, v1]))
}

/// The natural logarithm of a positive normal number.
#[inline(always)]
fn ln(x: f64) -> f64 {
    /// The upper 33 bits of `ln 2`, whose products with exponents are exact, and the rest.
    const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    /// The bits of 2^52: the integer below them is the distance to it.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    // The bias of the exponent is left to the end: so the shift is that of an unsigned number.
    let bits = x.to_bits() + ((1023 << 52) - FRAC_1_SQRT_2.to_bits());
    let k = f64::from_bits(bits >> 52 | WHOLE) - f64::from_bits(1023 | WHOLE);
    let f = f64::from_bits((bits & ((1 << 52) - 1)) + FRAC_1_SQRT_2.to_bits()) - 1.0;
    // ln(1 + f) = 2 artanh(s) = f - (f^2 / 2 - s (f^2 / 2 + rest)), where rest = 2 artanh(s) / s - 2.
    let s = f / (2.0 + f);
    let square = s * s;
    let rest = square
        * polynomial(
            square,
            [
                0.666_666_666_666_667,
                0.399_999_999_998_984_45,
                0.285_714_286_263_993_87,
                0.222_222_110_728_223,
                0.181_828_932_197_858_45,
                0.153_315_969_324_487_04,
                0.146_178_729_525_069_13,
            ],
        );
    let half_square = 0.5 * f * f;
    k * LN_2[0] - ((half_square - (s * (half_square + rest) + k * LN_2[1])) - f)
}

/// The cosine of `x` whole turns, `cos(2 pi x)`, for `|x|` below 2^49.
#[inline(always)]
fn cos_of_turns(x: f64) -> f64 {
    /// Adding this to a number below 2^51 rounds it to a whole number, which stands in the lowest bits of the sum.
    const ROUND: f64 = (3_u64 << 51) as f64;
    let shifted = 4.0 * x + ROUND;
    // Exact: at most an eighth of a turn.
    let r = x - 0.25 * (shifted - ROUND);
    let square = r * r;
    let sin = r * polynomial(
        square,
        [
            TAU,
            -41.341_702_240_399_634,
            81.605_249_275_944_52,
            -76.705_859_703_315_08,
            42.058_684_902_049_18,
            -15.093_797_504_991_885,
            3.780_726_167_595_669_4,
        ],
    );
    let cos = 1.0
        + square
            * polynomial(
                square,
                [
                    -19.739_208_802_178_716,
                    64.939_394_022_668_24,
                    -85.456_817_206_643_83,
                    60.244_641_352_709_37,
                    -26.426_253_276_763_426,
                    7.903_206_963_250_64,
                    -1.699_035_496_347_679_7,
                ],
            );
    let quarter = shifted.to_bits();
    let y = if quarter & 1 == 0 { cos } else { sin };
    // Cosine, minus sine, minus cosine, sine.
    if (quarter ^ (quarter >> 1)) & 1 == 0 { y } else { -y }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_largest_and_the_smallest_words_give_finite_numbers() {
        assert_eq!(normal([0; 4]), 0.0);
        assert_eq!(uniform([u32::MAX; 2]), 1.0 - f64::EPSILON / 2.0);
        let largest = normal([u32::MAX, u32::MAX, 0, 0]);
        assert!((largest - (106.0 * std::f64::consts::LN_2).sqrt()).abs() < 1e-14, "{largest}");
        assert!((normal([u32::MAX; 4]) - largest).abs() < 1e-14);
        assert!(normal([u32::MAX, u32::MAX, 0, 1 << 30]).abs() < 1e-14);
    }

    /// The distance of `y` from what the standard library gives, in units in the last place of a number of that size or of 2^-52.
    fn units(y: f64, exact: f64) -> f64 {
        (y - exact).abs() / (exact.abs() * f64::EPSILON).max(f64::EPSILON * f64::EPSILON)
    }

    #[test]
    fn logarithm_and_cosine_agree_with_those_of_the_standard_library() {
        let mut rng = Rng::new(4);
        let edges =
            [1.0, 0.5, FRAC_1_SQRT_2, FRAC_1_SQRT_2.next_down(), FRAC_1_SQRT_2.next_up(), 2.0, f64::MAX, 3e-308];
        let near_one =
            (1..60).flat_map(|i| [1.0 - f64::EPSILON * 0.5 * (1u64 << (i % 52)) as f64, 1.0 + 1.0 / i as f64]);
        let random = (0..100_000).map(|_| rng.uniform().max(1e-16));
        for x in edges.into_iter().chain(near_one).chain(random).filter(|&x| x > 0.0) {
            for x in [x, x * 1e-200, 1.0 - x * 1e-9] {
                if x >= f64::MIN_POSITIVE {
                    assert!(units(ln(x), x.ln()) <= 1.5, "ln({x:e}) = {:e}, expected {:e}", ln(x), x.ln());
                }
            }
        }
        for i in 0..100_000 {
            // Near the zeros of the cosine 2 pi x has lost the bits that the distance to them has.
            let (quarter, r) = (i % 9 - 4, (rng.uniform() - 0.5) * 0.25 * if i % 3 == 0 { 1e-7 } else { 1.0 });
            let x = 0.25 * f64::from(quarter) + r;
            let t = TAU * (x - 0.25 * f64::from(quarter));
            let exact = [t.cos(), -t.sin(), -t.cos(), t.sin()][(quarter & 3) as usize];
            assert!(units(cos_of_turns(x), exact) <= 2.0, "cos_of_turns({x:e}) = {:e}, {exact:e}", cos_of_turns(x));
        }
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(cos_of_turns), [1.0, 0.0, -1.0, 0.0, 1.0]);
        assert_eq!(ln(1.0), 0.0);
    }
}
