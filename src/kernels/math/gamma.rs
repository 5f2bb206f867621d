//! The logarithm of the gamma function and its derivatives, in `f64`; those of `f32` go through `f64`.

use super::polynomial;
use std::f64::consts::PI;

/// `ln(2 pi) / 2`.
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_742;

/// The distance to the nearest whole number: sine and cosine of `pi x` are, but for the sign, those of `pi` times it.
fn beside_whole(x: f64) -> f64 {
    x - x.round_ties_even()
}

/// `ln |Gamma(x)|`, infinite at 0 and at the negative whole numbers. Of a positive `x` within 1e-15 of the value itself,
/// also near the zeros 1 and 2; of a negative one within `1e-15 (1 + |x|)` of the larger of 1 and the value.
///
/// Between 1.5 and 2.5 a polynomial, which has the factor `x - 2`; `Gamma(x + 1) = x Gamma(x)` leads there from both
/// sides, from 10 on Stirling's series holds, and `Gamma(x) Gamma(-x) = -pi / (x sin pi x)` mirrors negative arguments.
#[inline(never)]
pub fn lgamma(x: f64) -> f64 {
    if x < 1e-17 {
        if x == x.floor() {
            return f64::INFINITY;
        }
        if x.abs() < 1e-17 {
            return -x.abs().ln();
        }
        return (PI / (x * (PI * beside_whole(x)).sin()).abs()).ln() - lgamma(-x);
    }
    if x >= 10.0 {
        let series = [
            1.0 / 12.0,
            -1.0 / 360.0,
            1.0 / 1260.0,
            -1.0 / 1680.0,
            1.0 / 1188.0,
            -691.0 / 360_360.0,
            1.0 / 156.0,
            -3617.0 / 122_400.0,
        ];
        return (x - 0.5) * (x.ln() - 1.0) + (LN_SQRT_2PI - 0.5) + polynomial((x * x).recip(), series) / x;
    }
    let (mut x, mut product) = (x, 1.0);
    while x > 2.5 {
        x -= 1.0;
        product *= x;
    }
    // What ln Gamma(2 + z) is, and how far this is from there: the logarithms are 0 where nothing has been multiplied.
    let (z, rest) = match x {
        _ if x >= 1.5 => (x - 2.0, f64::ln(product)),
        _ if x >= 0.5 => (x - 1.0, -(x - 1.0).ln_1p()),
        _ => (x, -x.ln_1p() - x.ln()),
    };
    let series = [
        0.422_784_335_098_467_135_6,
        0.322_467_033_424_113_220_04,
        -0.067_352_301_053_195_638_653,
        0.020_580_808_427_783_379_755,
        -0.007_385_551_028_935_544_7,
        0.002_890_510_330_865_900_927_7,
        -0.001_192_753_900_998_308_694_4,
        0.000_509_669_519_652_667_277_97,
        -0.000_223_154_977_462_927_231_7,
        0.000_099_457_616_921_571_331_318,
        -0.000_044_923_727_564_247_652_589,
        0.000_020_506_019_701_747_618_598,
        -9.456_288_515_101_719_173_7e-6,
        4.382_854_538_384_666_771_6e-6,
        -1.974_310_688_842_106_744_6e-6,
        9.242_852_225_162_276_741_9e-7,
        -5.811_277_768_921_246_197_7e-7,
        2.747_539_005_190_966_392_1e-7,
    ];
    z * polynomial(z, series) + rest
}

/// The derivative of [`lgamma`], infinite at 0, NaN at the negative whole numbers; of a positive `x` within 1e-15 of the
/// larger of 1 and the value, of a negative one as far off as one rounding of `x` moves it.
///
/// `psi(x + 1) = psi(x) + 1 / x` leads up to 10, from where the asymptotic series holds; negative arguments by
/// `psi(1 - x) = psi(x) + pi / tan pi x`.
#[inline(never)]
pub fn digamma(x: f64) -> f64 {
    if x <= 0.0 {
        if x == 0.0 {
            return -x.recip();
        }
        if x == x.floor() {
            return f64::NAN;
        }
        return digamma(1.0 - x) - PI / (PI * beside_whole(x)).tan();
    }
    let (mut x, mut before) = (x, 0.0);
    while x < 10.0 {
        before += x.recip();
        x += 1.0;
    }
    let square = (x * x).recip();
    let series = [
        1.0 / 12.0,
        -1.0 / 120.0,
        1.0 / 252.0,
        -1.0 / 240.0,
        1.0 / 132.0,
        -691.0 / 32_760.0,
        1.0 / 12.0,
        -3617.0 / 8160.0,
    ];
    x.ln() - 0.5 / x - square * polynomial(square, series) - before
}

/// The derivative of order `n + 1` of [`lgamma`], for a whole `n` from 0 on, NaN for any other: `psi` itself, then
/// `(-1)^(n + 1) n! zeta(n + 1, x)`, within 1e-14 of the value for `n` up to 3 and a positive `x`.
#[inline(never)]
pub fn polygamma(n: f64, x: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    if !(0.0..=1e4).contains(&n) || n != n.floor() {
        return f64::NAN;
    }
    let factorial = (1..=n as i32).fold(1.0, |product, i| product * f64::from(i));
    let sign = if n % 2.0 == 0.0 { -1.0 } else { 1.0 };
    sign * factorial * zeta(n as i32 + 1, x)
}

/// The zeta function of Hurwitz, the sum of `(x + k)^-s` over the whole `k >= 0`, for `s >= 2`.
fn zeta(s: i32, x: f64) -> f64 {
    if x < 0.0 {
        // The sum over all whole k, which x modulo 1 decides, less that over k < 0.
        let (below, above) = (x - x.floor(), x.floor() + 1.0 - x);
        let mirrored = zeta(s, above) - zeta(s, 1.0 - x);
        return zeta(s, below) + if s % 2 == 0 { mirrored } else { -mirrored };
    }
    let order = f64::from(s);
    let (mut x, mut before) = (x, 0.0);
    while x < 10.0 + order {
        before += x.powi(-s);
        x += 1.0;
    }
    // Euler and Maclaurin: the integral, half the first term, and Bernoulli numbers B_2j / (2j)! times derivatives.
    let bernoulli = [
        0.083_333_333_333_333_333_3,
        -0.001_388_888_888_888_888_89,
        0.000_033_068_783_068_783_068_8,
        -8.267_195_767_195_767_2e-7,
        2.087_675_698_786_809_9e-8,
        -5.284_190_138_687_493_18e-10,
        1.338_253_653_068_467_88e-11,
        -3.389_680_296_322_582_87e-13,
        8.586_062_056_277_844_56e-15,
        -2.174_868_698_558_061_87e-16,
        5.509_002_828_360_229_52e-18,
        -1.395_446_468_581_252_33e-19,
    ];
    let (mut series, mut derivative, mut at) = (0.5, order / x, order);
    for b in bernoulli {
        series += b * derivative;
        derivative *= (at + 1.0) * (at + 2.0) / (x * x);
        at += 2.0;
    }
    before + x.powi(1 - s) / (order - 1.0) + x.powi(-s) * series
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x`, `lgamma`, `digamma`, and `polygamma` of order 1 to 3, by mpmath with 50 digits.
    #[rustfmt::skip]
    const KNOWN: [(f64, [f64; 5]); 37] = [
        (1e-300, [690.7755278982137, -9.999999999999999e299, f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]),
        (1e-09, [20.723265836369194, -1000000000.5772156, 9.999999999999999e17, -1.9999999999999998e27, 5.999999999999999e36]),
        (0.01, [4.599479878042022, -100.56088545786868, 10001.621213528313, -2000002.340398677, 600000006.2510618]),
        (0.3, [1.0957979948180756, -3.502524222200133, 12.245364546107732, -75.27253658872604, 743.1417646550498]),
        (0.499, [0.5743309231606863, -1.9684532588873478, 4.951679830634705, -16.92659275809809, 98.1844262617873]),
        (0.5, [0.5723649429247001, -1.9635100260214235, 4.934802200544679, -16.82879664423432, 97.40909103400244]),
        (0.75, [0.20328095143129538, -1.0858608797864722, 2.5418796476716063, -5.3026332163376395, 19.7633125348506]),
        (0.999, [0.0005780385328913802, -0.5788618021086455, 1.6473414317770505, -2.410620209231671, 6.518886830187096]),
        (1.0000001, [-5.772155829918507e-08, -0.5772155004081381, 1.6449338264368782, -2.4041131569253724, 6.493936913640826]),
        (1.2, [-0.08537409000331583, -0.2890398965921884, 1.2673772054237793, -1.4780361144359333, 3.2449948647257805]),
        (1.4616, [-0.12148629003589732, -3.110625123034165e-05, 0.9677007114650835, -0.8855761967999034, 1.5511250508129752]),
        (1.5, [-0.12078223763524522, 0.03648997397857652, 0.9348022005446793, -0.82879664423432, 1.4090910340024372]),
        (1.75, [-0.08440112102048555, 0.24747245354686118, 0.7641018698938287, -0.5618924755968989, 0.8003495718876368]),
        (1.999, [-0.0004224618006921073, 0.4221391988923556, 0.6453384277720445, -0.40460818920162894, 0.4948267099767592]),
        (2.0001, [4.2281658112919945e-05, 0.4228488264846654, 0.6448936579371437, -0.4040644168099456, 0.49385078605932026]),
        (2.3, [0.15418945495963046, 0.6000398803639695, 0.5425374586652585, -0.2881302433729398, 0.30025713443427243]),
        (2.5, [0.2846828704729192, 0.7031566406452432, 0.49035775610023485, -0.2362040516417274, 0.22390584881725206]),
        (2.6, [0.35741186354897986, 0.7510474527734763, 0.4678068931245799, -0.21529102788419888, 0.1952174052994791]),
        (4.5, [2.4537365708424423, 1.388870926359529, 0.24872510303901038, -0.061556821321027695, 0.030322508542366587]),
        (9.99, [12.779315214350193, 2.250700372831201, 0.10527695014824179, -0.011073070531461051, 0.0023272159399640798]),
        (10.0, [12.801827480081469, 2.251752589066721, 0.10516633568168575, -0.011049834970802067, 0.0023199013042898686]),
        (11.5, [16.292000476567242, 2.3982391295357814, 0.09084666127454623, -0.008247469050652217, 0.001496464752269225]),
        (100.25, [360.28455963776423, 4.602671243274712, 0.010024978698123367, -0.00010049935626057897, 2.014974063149375e-06]),
        (12345.6, [103959.18506616846, 9.421014502465397, 8.100379903388379e-05, -6.561615454333931e-09, 1.0630315580384496e-12]),
        (10000000000.0, [220258509288.81058, 23.025850929890456, 1.00000000005e-10, -1.0000000001e-20, 2.0000000003e-30]),
        (1e300, [6.897755278982137e302, 690.7755278982137, 1e-300, 0.0, 0.0]),
        (-1e-12, [27.631021115929126, 999999999999.4229, 1e24, 2e36, 6e48]),
        (-0.25, [1.589575312551186, 2.9141391202135276, 18.541879647671607, 122.69736678366236, 1555.7633125348507]),
        (-0.5, [1.2655121234846454, 0.03648997397857652, 8.934802200544679, -0.82879664423432, 193.40909103400244]),
        (-0.999, [6.908179385717436, -999.5745709308084, 1000002.6445361981, -2000000000.391615, 6000000000012.472]),
        (-1.5, [0.860047015376481, 0.7031566406452432, 9.379246644989124, -0.2362040516417274, 194.59427621918763]),
        (-2.75, [0.004487897535955773, -1.959055264977997, 19.433868949488463, -124.11765305971518, 1558.4897512832936]),
        (-3.3, [-0.8243558050174264, 3.620353460592126, 14.817739525515929, 68.76944547748523, 768.9856582554286]),
        (-7.999, [-3.6947053961091894, -997.856186170324, 1000003.17234815, -1999999999.9988048, 6000000000004.97]),
        (-20.5, [-42.70719597482576, 3.044616882512525, 9.82199434464988, -0.002266289919637797, 194.81796635297297]),
        (-100.3, [-363.7662061826763, 6.895643124860435, 15.06949314924401, 68.8374452979615, 769.0209123808432]),
        (-1234.567, [-7556.979237817505, 6.44767512116651, 10.319311423827706, -13.853842770835499, 231.60734629869933]),
    ];

    #[track_caller]
    fn close(name: &str, x: f64, y: f64, exact: f64, bound: f64) {
        assert!(
            y == exact || (y - exact).abs() <= bound,
            "{name}({x:e}) = {y:e}, expected {exact:e}, within {bound:e}"
        );
    }

    #[test]
    fn the_logarithm_of_the_gamma_function_and_its_derivatives_are_those_of_mpmath() {
        for (x, exact) in KNOWN {
            // A negative argument stands as far from the next pole as its rounding allows.
            let rounding = if x < 0.0 { 1.0 + x.abs() } else { 1.0 };
            close(
                "lgamma",
                x,
                lgamma(x),
                exact[0],
                1e-15 * rounding * exact[0].abs().max(if x > 0.0 { 1e-7 } else { 1.0 }),
            );
            let slope = 1.0 + if x < 0.0 { (x * exact[2]).abs() } else { 0.0 };
            close("digamma", x, digamma(x), exact[1], 1e-15 * slope.max(exact[1].abs()));
            for n in 1..=3 {
                let bound =
                    if x < 0.0 { 1e-13 * (1.0 + exact[n + 1].abs()) * rounding } else { 1e-14 * exact[n + 1].abs() };
                close("polygamma", x, polygamma(n as f64, x), exact[n + 1], bound);
            }
        }
    }

    #[test]
    fn poles_and_limits_are_exact() {
        let inf = f64::INFINITY;
        for x in [0.0, -0.0, -1.0, -7.0, -1e20, inf, -inf] {
            assert_eq!(lgamma(x), inf, "{x}");
        }
        assert_eq!([lgamma(1.0), lgamma(2.0), lgamma(1e308)], [0.0, 0.0, inf]);
        assert_eq!([digamma(0.0), digamma(-0.0), digamma(inf)], [-inf, inf, inf]);
        assert_eq!([polygamma(1.0, 0.0), polygamma(1.0, -3.0), polygamma(1.0, inf)], [inf, inf, 0.0]);
        assert_eq!(polygamma(0.0, 3.25), digamma(3.25));
        for y in [digamma(-2.0), digamma(-inf), polygamma(1.5, 2.0), polygamma(-1.0, 2.0), polygamma(f64::NAN, 2.0)] {
            assert!(y.is_nan());
        }
        assert!(lgamma(f64::NAN).is_nan() && digamma(f64::NAN).is_nan() && polygamma(2.0, f64::NAN).is_nan());
    }
}
