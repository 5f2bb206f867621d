//! The Gauss error function `2 / sqrt(pi) * integral of e^(-t^2) from 0 to x`.

use super::exponential::{exp_m1_inside, half_exp2};
use super::{polynomial, series};

/// The error function of `f32`: `1 - e^-g(|x|)`, with a polynomial `g = -ln(1 - erf)`. Its first coefficient is 1.128..;
/// the 1 of it is kept apart, so that for small `x` only the rest is rounded.
#[inline(always)]
pub fn erf<const FUSED: bool>(x: f32) -> f32 {
    // From 3.92 on the nearest number to erf is 1.
    let a = if x.abs() > 3.95 { 3.95 } else { x.abs() };
    let rest = series::<FUSED, _>(
        a,
        [
            0.128_379_171_6,
            0.636_619_382,
            0.102_777_830_5,
            -0.019_153_064_03,
            -0.000_160_395_742,
            0.001_667_027_072,
            -0.000_632_836_614,
            0.000_117_641_197_4,
            -9.256_256_333e-6,
        ],
    );
    exp_m1_inside::<FUSED>(-a, -(a * rest)).copysign(x)
}

/// The normal distribution function `(1 + erf(x / sqrt 2)) / 2` of `f32`, off by at most 1.25 2^-24 anywhere: what lies below
/// `-|x|` is `2^(g(|x|) - 1)` with a polynomial `g`, what lies above its complement.
///
/// Its users multiply by it or add to it: the relative error of small values does not matter to them.
#[inline(always)]
pub fn ndtr<const FUSED: bool>(x: f32) -> f32 {
    let a = if x.abs() > LAST { LAST } else { x.abs() };
    let exponent = a * series::<FUSED, _>(
        a,
        [
            -1.151_105_205,
            -0.459_208_196_7,
            -0.052_496_178_37,
            0.007_063_420_17,
            -0.000_136_936_405_5,
            -0.000_186_180_225_6,
            0.000_039_377_687_94,
            -2.834_912_54e-6,
        ],
    );
    let tail = half_exp2::<FUSED>(exponent);
    let tail = if x.abs() > LAST { 0.0 } else { tail };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// From here on the nearest number to the normal distribution function is 1.
const LAST: f32 = 5.6;

/// The normal distribution function of `f64`.
#[inline]
pub fn ndtr_f64(x: f64) -> f64 {
    0.5 * (1.0 + erf_f64(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// The error function of `f64`, within 1e-15.
///
/// Up to 1 a polynomial in `x^2`, beyond it `1 - e^(-x^2) p((x - 3) / (x + 3))`: that argument makes a short polynomial of
/// the slow decay of `e^(x^2) erfc x` (Schonfelder, 1978).
#[inline]
pub fn erf_f64(x: f64) -> f64 {
    let a = x.abs();
    if a <= 1.0 {
        return x * polynomial(
            x * x,
            [
                std::f64::consts::FRAC_2_SQRT_PI,
                -0.376_126_389_031_835_404,
                0.112_837_916_709_450_063,
                -0.026_866_170_643_237_770_4,
                0.005_223_977_607_116_422_73,
                -0.000_854_832_597_538_969_208,
                0.000_120_552_949_048_397_079,
                -0.000_014_924_736_907_419_660_3,
                1.644_742_470_331_736_24e-6,
                -1.620_848_380_187_170_59e-7,
                1.372_006_454_677_768_56e-8,
                -7.795_898_827_002_142_24e-10,
            ],
        );
    }
    // From 5.93 on the nearest number to erf is 1. NaN is not larger, and stays.
    let a = if a > 6.0 { 6.0 } else { a };
    let scaled = polynomial(
        (a - 3.0) / (a + 3.0),
        [
            0.179_001_151_181_389_95,
            -0.326_233_560_043_037_233,
            0.245_603_801_712_330_913,
            -0.150_115_936_500_775_814,
            0.071_665_837_197_973_308_2,
            -0.024_392_499_318_790_734_8,
            0.004_269_136_333_077_868_64,
            0.000_707_746_443_561_197_235,
            -0.000_597_061_953_181_535_196,
            0.000_045_255_201_405_795_360_3,
            0.000_064_056_577_940_516_657,
            -0.000_012_859_347_351_455_289_4,
            -7.977_696_579_644_072_86e-6,
            2.112_442_894_940_386_6e-6,
            1.245_962_084_717_408_18e-6,
            -2.691_515_759_285_012_48e-7,
            -2.035_557_564_220_085_92e-7,
        ],
    );
    (1.0 - (-a * a).exp() * scaled).copysign(x)
}
