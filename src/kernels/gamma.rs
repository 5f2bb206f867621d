//! Draws from gamma distributions, as logarithms, and how they move with the concentration.
//!
//! The logarithm is what keeps small concentrations in range: half the draws for 0.001 lie below `1e-300`.

use super::math::digamma;
use super::parallel::chunks_mut;
use crate::element::Float;
use crate::rng::Rng;

/// Elements for one task: each takes some hundred divisions.
const CHUNK: usize = 256;
/// From this concentration on the saddle-point formula is as exact as the series are.
const LARGE: f64 = 1000.0;

/// The logarithm of a draw from the gamma distribution with a positive finite concentration and rate 1.
///
/// Marsaglia and Tsang, "A simple method for generating gamma variables", 2000: the cube of a normal number, shifted,
/// of which more than 95 of 100 are accepted. Below 1, a draw for `concentration + 1` times `u^(1 / concentration)`.
pub fn log_draw(concentration: f64, rng: &mut Rng) -> f64 {
    if concentration < 1.0 {
        return log_draw(concentration + 1.0, rng) + (1.0 - rng.uniform()).ln() / concentration;
    }
    let d = concentration - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = rng.normal();
        let v = 1.0 + c * x;
        if v <= 0.0 {
            continue;
        }
        let log_cube = 3.0 * v.ln();
        if (1.0 - rng.uniform()).ln() < 0.5 * x * x + d * (1.0 - v * v * v + log_cube) {
            return d.ln() + log_cube;
        }
    }
}

/// `dx[i] = grad[i] d log_z[i] / d concentration[i]`: see [`log_draw_slope`].
///
/// # Panics
/// Where the lengths differ.
pub fn log_draws_back<T: Float>(concentration: &[T], log_z: &[T], grad: &[T], dx: &mut [T]) {
    let n = dx.len();
    assert!([concentration.len(), log_z.len(), grad.len()] == [n; 3], "log_draws_back: lengths differ");
    chunks_mut(dx, CHUNK, |start, dx| {
        for (i, dx) in dx.iter_mut().enumerate() {
            let i = start + i;
            *dx = grad[i] * T::of(log_draw_slope(concentration[i].to_f64(), log_z[i].to_f64()));
        }
    });
}

/// How the logarithm of a draw moves with the concentration `a` while its rank `P(a, z)` among all draws stays: the
/// implicit reparameterization `-(dP / da) / (z dP / dz)`.
///
/// Below `a + 1` from the series of `P`, beyond from the continued fraction of `1 - P`, both differentiated term by
/// term; off by less than 1e-9 of the value for `a` up to 1000, and by less than 1e-6 beyond.
///
/// Figurnov, Mohamed, Mnih, "Implicit reparameterization gradients", 2018.
pub fn log_draw_slope(a: f64, log_z: f64) -> f64 {
    let z = log_z.exp();
    if a > LARGE {
        saddle_point(a, z)
    } else if z < a + 1.0 {
        series(a, z, log_z)
    } else {
        fraction(a, z, log_z)
    }
}

/// `P = z^a e^-z / Gamma(a) s` with `s` the sum of `z^n / (a (a + 1) .. (a + n))`; so the slope is
/// `s (psi(a) - ln z) - ds / da`, where the terms in `1 / a` cancel.
fn series(a: f64, z: f64, log_z: f64) -> f64 {
    let (mut term, mut harmonic, mut at) = (a.recip(), 0.0, a);
    let (mut sum, mut weighted) = (term, 0.0);
    loop {
        at += 1.0;
        term *= z / at;
        harmonic += at.recip();
        sum += term;
        weighted += term * harmonic;
        if term * (1.0 + harmonic) <= f64::EPSILON * (sum + weighted) {
            return sum * (digamma(a + 1.0) - log_z) + weighted;
        }
    }
}

/// `1 - P = z^a e^-z / Gamma(a) c` with the continued fraction `c = 1 / (z + 1 - a - 1 (1 - a) / (z + 3 - a - ..))`; so
/// the slope is `c (ln z - psi(a)) + dc / da`. Lentz' method, each number with its derivative.
fn fraction(a: f64, z: f64, log_z: f64) -> f64 {
    let mut b = z + 1.0 - a;
    let (mut d, mut value) = (b.recip(), b.recip());
    let (mut d_slope, mut slope) = (d * d, d * d);
    // The first step divides by it: infinite.
    let (mut c, mut c_slope) = (1e300, 0.0);
    // At most 93 steps; more only for what is not a number.
    for step in 1..=200 {
        let i = f64::from(step);
        b += 2.0;
        // The numerator is -i (i - a), its derivative i; that of b is -1.
        let numerator = -i * (i - a);
        c_slope = -1.0 + (i - numerator * c_slope / c) / c;
        c = b + numerator / c;
        d_slope = i * d + numerator * d_slope - 1.0;
        d = (numerator * d + b).recip();
        d_slope *= -d * d;
        let (factor, factor_slope) = (c * d, c_slope * d + c * d_slope);
        slope = slope * factor + value * factor_slope;
        value *= factor;
        let settled = (factor - 1.0).abs().max((value * factor_slope / slope).abs());
        if settled <= 4.0 * f64::EPSILON {
            break;
        }
    }
    value * (log_z - digamma(a)) + slope
}

/// For large `a`: the draw whose rank is that of the normal number `w = sqrt(a) e + h / sqrt(a)`, with `m = z / a - 1`,
/// `e^2 / 2 = m - ln(1 + m)` of the sign of `m`, and `h = ln(m / e) / e` (Temme, 1979; Barndorff-Nielsen, 1986).
fn saddle_point(a: f64, z: f64) -> f64 {
    let m = z / a - 1.0;
    // Values and derivatives by m; near 0 the first terms of their series.
    let (e, e_slope, h, h_slope) = if m.abs() < 1e-4 {
        let e = m * (1.0 + m * (-1.0 / 3.0 + m * (7.0 / 36.0)));
        (e, 1.0 + m * (-2.0 / 3.0 + m * (7.0 / 12.0)), 1.0 / 3.0 - m / 36.0, -1.0 / 36.0)
    } else {
        let e = (2.0 * (m - m.ln_1p())).sqrt().copysign(m);
        let e_slope = m / ((1.0 + m) * e);
        let h = (m / e).ln() / e;
        (e, e_slope, h, (m.recip() - e_slope / e) / e - e_slope * h / e)
    };
    let by_concentration = (e_slope * (1.0 + m) - 0.5 * e) + (h_slope * (1.0 + m) + 0.5 * h) / a;
    by_concentration / ((e_slope + h_slope / a) * z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bits, on_every_machine};

    /// Concentration, logarithm of the draw, slope: from the regularized incomplete gamma function of mpmath, with 60
    /// digits.
    #[rustfmt::skip]
    const KNOWN: [(f64, f64, f64); 53] = [
        (0.001, -575.6462732485114, 575070.7013167011),
        (0.001, -173.33017262173325, 172754.60068992295),
        (0.001, -0.6080653416608589, 878.8382607627354),
        (0.05, -207.73909118059103, 4144.824923785824),
        (0.05, -37.357494350230475, 737.1929871786122),
        (0.05, -14.241064041187514, 274.864563897301),
        (0.05, -3.992137030514201, 71.46512017985864),
        (0.05, -0.5376948849127532, 17.83058124192731),
        (0.3, -34.89425432011717, 115.7502114375013),
        (0.3, -6.49732151505708, 21.121221358503014),
        (0.3, -2.6445831302165863, 8.863474940097339),
        (0.3, -0.9364286284377011, 4.490980249336515),
        (0.3, -0.3606882708374598, 3.3481956981866606),
        (1.0, -4.605170185988091, 5.055692236986734),
        (1.0, -1.763359994706357, 2.4319464882619719),
        (1.0, -0.34212014813264724, 1.3810492886035857),
        (1.0, 0.6020120863864534, 0.8580050024750313),
        (1.0, 2.3955230886533148, 0.2785477230165057),
        (2.0, -18.554451137363063, 9.738617765114274),
        (2.0, -0.3396431748337786, 0.8666119691243761),
        (2.0, 0.5291496249717502, 0.5885983756991523),
        (2.0, 1.1900634512157837, 0.4194491591555459),
        (2.0, 2.5985149511059675, 0.17979540478679216),
        (7.5, -0.07463134186941195, 0.3240984378942371),
        (7.5, 1.574511386168018, 0.16851313053363197),
        (7.5, 1.9738301754640637, 0.13915056480669347),
        (7.5, 2.3195965147183197, 0.11661315979904896),
        (7.5, 3.1748703312727327, 0.07215807525997175),
        (60.0, 3.5209195404036815, 0.021959654973448011),
        (60.0, 3.9565739810637774, 0.017890711835055033),
        (60.0, 4.090076967159481, 0.016748726797088904),
        (60.0, 4.215412353755291, 0.01572172619955618),
        (60.0, 4.566075571821332, 0.013079542035449968),
        (900.0, 6.6656200191540975, 0.0011890487395031899),
        (900.0, 6.768500306313767, 0.0011302570194333922),
        (900.0, 6.8023577260586485, 0.0011113374754719781),
        (900.0, 6.835177949153285, 0.0010932001636025415),
        (900.0, 6.932495468254764, 0.0010405923206146908),
        (1100.0, 6.879653942763019, 0.0009664869317198954),
        (1100.0, 6.972455663863129, 0.0009232153009711577),
        (1100.0, 7.003063939827625, 0.0009092293531937687),
        (1100.0, 7.0327660556502245, 0.000895793178691318),
        (1100.0, 7.121017495323823, 0.0008566598234421573),
        (5000.0, 8.460016566226052, 0.00020577900411566795),
        (5000.0, 8.502950634158209, 0.0002014343508974563),
        (5000.0, 8.517267945174446, 0.000199999191268122),
        (5000.0, 8.531235743488883, 0.0001986056513939211),
        (5000.0, 8.573169578024478, 0.00019446106248546393),
        (100000.0, 11.500246265018077, 1.0063546740304727e-5),
        (100000.0, 11.509758182618715, 1.0015861464573121e-5),
        (100000.0, 11.512953754280115, 9.999875220565059e-6),
        (100000.0, 11.51608274730878, 9.9842385357133e-6),
        (100000.0, 11.525544664326075, 9.937053268018815e-6),
    ];

    #[test]
    fn the_slope_of_a_draw_is_that_of_the_quantile() {
        for (a, log_z, exact) in KNOWN {
            let (slope, bound) = (log_draw_slope(a, log_z), if a > LARGE { 1e-6 } else { 1e-9 });
            assert!(
                (slope / exact - 1.0).abs() < bound,
                "{a}, {log_z}: {slope}, expected {exact}: {:e}",
                slope / exact - 1.0
            );
        }
        // z = (u Gamma(a + 1))^(1 / a) where z is too small for a number.
        let (a, log_z) = (1e-3, -5000.0);
        assert!((log_draw_slope(a, log_z) / ((digamma(a + 1.0) - log_z) / a) - 1.0).abs() < 1e-14);
        assert!(log_draw_slope(2.0, f64::NAN).is_nan() && log_draw_slope(2.0, f64::INFINITY).is_nan());
    }

    #[test]
    fn gradients_of_draws_have_the_same_bits_on_any_number_of_threads() {
        let n = 3 * CHUNK + 5;
        let concentration: Vec<f32> = (0..n).map(|i| 0.1 + i as f32 * 0.01).collect();
        let mut rng = Rng::new(3);
        let draws: Vec<f32> = concentration.iter().map(|&a| log_draw(f64::from(a), &mut rng) as f32).collect();
        let results = on_every_machine(
            || {
                let mut dx = vec![0.0; n];
                log_draws_back(&concentration, &draws, &draws, &mut dx);
                dx
            },
            |dx| bits(dx),
        );
        for i in 0..n {
            let slope = log_draw_slope(f64::from(concentration[i]), f64::from(draws[i]));
            assert_eq!(results[0][i], draws[i] * slope as f32);
        }
    }
}
