use super::*;
use crate::kernels::elementwise::map;
use crate::kernels::testing::on_every_machine;

type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64, f64);

/// Name, function, the same in `f64`, and the largest error in units in the last place.
const FUNCTIONS: [Function; 15] = [
    ("exp", exp::<false>, f64::exp, 0.8),
    ("exp, fused", exp::<true>, f64::exp, 0.8),
    ("exp_m1", exp_m1::<false>, f64::exp_m1, 1.75),
    ("exp_m1, fused", exp_m1::<true>, f64::exp_m1, 1.75),
    ("ln", ln, f64::ln, 1.0),
    ("ln_1p", ln_1p, f64::ln_1p, 1.5),
    ("sin", sin, f64::sin, 0.51),
    ("cos", cos, f64::cos, 0.51),
    ("tanh", tanh::<false>, f64::tanh, 1.75),
    ("tanh, fused", tanh::<true>, f64::tanh, 1.75),
    ("sigmoid", sigmoid::<false>, sigmoid_f64, 2.0),
    ("sigmoid, fused", sigmoid::<true>, sigmoid_f64, 2.0),
    ("softplus", softplus, softplus_f64, 2.0),
    ("erf", erf::<false>, erf_f64, 1.75),
    ("erf, fused", erf::<true>, erf_f64, 1.75),
];

/// The distance of `y` from the exact value in units in the last place of the latter.
fn ulps(y: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if y.is_nan() || nearest.is_nan() || nearest.is_infinite() || y.is_infinite() {
        let same = y.to_bits() == nearest.to_bits() || (y.is_nan() && nearest.is_nan());
        // At the edge of overflow, one number beside the other is one unit away.
        let beside = y.abs().to_bits().abs_diff(nearest.abs().to_bits()) <= 1 && !y.is_nan() && !nearest.is_nan();
        return if same {
            0.0
        } else if beside {
            1.0
        } else {
            f64::INFINITY
        };
    }
    let a = nearest.abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(f32::from_bits(a.to_bits() & 0x7f80_0000)) * f64::from(f32::EPSILON);
    (f64::from(y) - exact).abs() / unit
}

/// Every 1021st bit pattern: all signs and magnitudes, subnormal numbers, infinities and NaN; and every number near the
/// edges where functions change their form.
fn arguments() -> impl Iterator<Item = f32> {
    let edges = [
        0.0,
        1.0,
        0.5,
        2.0,
        9.02,
        9.1,
        3.92,
        3.95,
        18.0,
        88.722_84,
        88.8,
        89.5,
        87.336_55,
        103.972_08,
        105.0,
        std::f32::consts::FRAC_PI_4,
        std::f32::consts::PI,
        // Of all f32 the one that comes nearest to a multiple of pi / 2.
        16_367_173.0 * (1_u128 << 72) as f32,
        std::f32::consts::LN_2,
        std::f32::consts::LN_2 / 2.0,
        std::f32::consts::SQRT_2,
        std::f32::consts::FRAC_1_SQRT_2,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
    ];
    let near = edges.into_iter().flat_map(|x: f32| (-300..=300).map(move |d| x.to_bits().wrapping_add_signed(d)));
    let near = near.flat_map(|b| [b, b ^ (1 << 31)]);
    (0..=u32::MAX).step_by(1021).chain(near).map(f32::from_bits)
}

#[test]
fn every_function_is_within_its_bound_over_all_magnitudes() {
    for (name, f, exact, bound) in FUNCTIONS {
        let mut worst = (0.0, 0.0);
        for x in arguments() {
            let error = ulps(f(x), exact(f64::from(x)));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= bound, "{name}({:e}) = {:e} is {} units off", worst.1, f(worst.1), worst.0);
    }
}

#[test]
fn exp_up_to_0_is_within_its_bound_where_results_are_normal_numbers_and_0_below() {
    for f in [exp_up_to_0::<false>, exp_up_to_0::<true>] {
        for x in arguments().filter(|&x| x <= 0.0) {
            let (y, exact) = (f(x), f64::from(x).exp());
            let bound = if x < -87.3 { f64::from(f32::MIN_POSITIVE) * 1.1 } else { 0.0 };
            assert!(ulps(y, exact) <= 1.25 || (y == 0.0 && exact < bound), "exp({x:e}) = {y:e}, expected {exact:e}");
        }
        assert_eq!([f(0.0), f(-0.0), f(f32::NEG_INFINITY)], [1.0, 1.0, 0.0]);
        assert!(f(f32::NAN).is_nan());
    }
}

#[test]
fn the_normal_distribution_function_is_within_its_bound_over_all_magnitudes() {
    for f in [ndtr::<false>, ndtr::<true>] {
        for x in arguments().filter(|x| !x.is_nan()) {
            let (y, exact) = (f(x), ndtr_f64(f64::from(x)));
            assert!(
                (f64::from(y) - exact).abs() <= 1.25 / f64::from(1 << 24),
                "ndtr({x:e}) = {y:e}, expected {exact:e}"
            );
        }
        assert_eq!([f(0.0), f(f32::INFINITY), f(f32::NEG_INFINITY), f(-6.0)], [0.5, 1.0, 0.0, 0.0]);
        assert!(f(f32::NAN).is_nan());
    }
}

#[test]
fn every_machine_gives_the_bits_of_the_plain_function() {
    let x: Vec<f32> = arguments().step_by(101).collect();
    let more: [Function; 4] = [
        ("ndtr", ndtr::<false>, ndtr_f64, 0.0),
        ("ndtr, fused", ndtr::<true>, ndtr_f64, 0.0),
        ("exp_up_to_0", exp_up_to_0::<false>, f64::exp, 0.0),
        ("exp_up_to_0, fused", exp_up_to_0::<true>, f64::exp, 0.0),
    ];
    for (name, f, ..) in FUNCTIONS.into_iter().chain(more) {
        let plain: Vec<u32> = x.iter().map(|&x| f(x).to_bits()).collect();
        let results = on_every_machine(
            || {
                let mut y = vec![0.0; x.len()];
                // Not through the pointer in the table: these loops are to be compiled for each instruction set.
                match name {
                    "exp" => map(&x, &mut y, exp::<false>),
                    "exp, fused" => map(&x, &mut y, exp::<true>),
                    "exp_m1" => map(&x, &mut y, exp_m1::<false>),
                    "exp_m1, fused" => map(&x, &mut y, exp_m1::<true>),
                    "ln" => map(&x, &mut y, ln),
                    "ln_1p" => map(&x, &mut y, ln_1p),
                    "sin" => map(&x, &mut y, sin),
                    "cos" => map(&x, &mut y, cos),
                    "tanh" => map(&x, &mut y, tanh::<false>),
                    "tanh, fused" => map(&x, &mut y, tanh::<true>),
                    "sigmoid" => map(&x, &mut y, sigmoid::<false>),
                    "sigmoid, fused" => map(&x, &mut y, sigmoid::<true>),
                    "softplus" => map(&x, &mut y, softplus),
                    "erf" => map(&x, &mut y, erf::<false>),
                    "erf, fused" => map(&x, &mut y, erf::<true>),
                    "ndtr" => map(&x, &mut y, ndtr::<false>),
                    "ndtr, fused" => map(&x, &mut y, ndtr::<true>),
                    "exp_up_to_0" => map(&x, &mut y, exp_up_to_0::<false>),
                    "exp_up_to_0, fused" => map(&x, &mut y, exp_up_to_0::<true>),
                    _ => unreachable!("{name} is not in the table"),
                }
                y
            },
            |y| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>(),
        );
        for y in results {
            for ((&x, y), &plain) in x.iter().zip(y).zip(&plain) {
                let same = y.to_bits() == plain || (y.is_nan() && f32::from_bits(plain).is_nan());
                assert!(same, "{name}({x:e}) = {y:e}, expected {:e}", f32::from_bits(plain));
            }
        }
    }
}

fn zeros_and_limits<const FUSED: bool>() {
    let (exp, exp_m1, tanh) = (exp::<FUSED>, exp_m1::<FUSED>, tanh::<FUSED>);
    let (erf, sigmoid) = (erf::<FUSED>, sigmoid::<FUSED>);
    for f in [exp_m1, ln_1p, sin, tanh, erf] {
        assert_eq!([f(0.0).to_bits(), f(-0.0).to_bits()], [0.0f32.to_bits(), (-0.0f32).to_bits()]);
    }
    let (inf, low) = (f32::INFINITY, f32::NEG_INFINITY);
    assert_eq!([exp(inf), exp(low), exp(0.0), exp(89.0), exp(-104.0)], [inf, 0.0, 1.0, inf, 0.0]);
    assert_eq!([exp_m1(inf), exp_m1(low), exp_m1(-17.5)], [inf, -1.0, -1.0]);
    assert_eq!([ln(inf), ln(0.0), ln(-0.0), ln(1.0)], [inf, low, low, 0.0]);
    assert_eq!([ln_1p(inf), ln_1p(-1.0)], [inf, low]);
    assert_eq!([tanh(inf), tanh(low), tanh(9.02)], [1.0, -1.0, 1.0]);
    assert_eq!([erf(inf), erf(low), erf(3.92)], [1.0, -1.0, 1.0]);
    assert_eq!([sigmoid(inf), sigmoid(low), sigmoid(0.0)], [1.0, 0.0, 0.5]);
    assert_eq!([softplus(inf), softplus(low)], [inf, 0.0]);
    for y in [sin(inf), cos(inf), ln(-1.0), ln(low), ln_1p(-1.5), ln_1p(low)] {
        assert!(y.is_nan());
    }
}

#[test]
fn zeros_keep_their_sign_and_limits_are_exact() {
    zeros_and_limits::<false>();
    zeros_and_limits::<true>();
    for (_, f, ..) in FUNCTIONS {
        assert!(f(f32::NAN).is_nan() && f(-f32::NAN).is_nan());
    }
}

#[test]
fn the_error_function_of_f64_agrees_with_its_series() {
    // erf x = 2 / sqrt(pi) e^(-x^2) sum of 2^n x^(2n + 1) / (1 3 5 .. (2n + 1)): all terms positive (Abramowitz and
    // Stegun, 7.1.6).
    let series = |x: f64| {
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
    };
    for i in -6500..=6500 {
        let x = f64::from(i) * 1e-3;
        let (y, exact) = (erf_f64(x), series(x));
        // The series itself loses some digits where x^2 is large.
        assert!((y - exact).abs() <= 1e-15 * (1.0 + x * x) * exact.abs(), "erf({x}) = {y}, expected {exact}");
    }
    // From tables with 16 digits.
    for (x, exact) in [(0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)] {
        assert!((erf_f64(x) - exact).abs() <= 2e-16, "{x}");
    }
    assert_eq!(
        [erf_f64(f64::INFINITY), erf_f64(f64::NEG_INFINITY), erf_f64(1e-300)],
        [1.0, -1.0, 1.1283791670955126e-300]
    );
    assert!(erf_f64(f64::NAN).is_nan());
}
