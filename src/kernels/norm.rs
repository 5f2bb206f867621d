//! Normalization: batch norm and layer norm, forward and backward, fused.
//!
//! A variance is the mean square of the distances to the mean, never the difference of two large squares, and what the
//! rounding of the mean leaves over is put right (the corrected two-pass algorithm: Chan, Golub, LeVeque, "Algorithms for
//! computing the sample variance", 1983, equation 1.7).

pub mod batch;
pub mod layer;
#[cfg(test)]
mod tests;

use crate::element::Float;

/// Sums that run side by side.
const LANES: usize = 64;

/// The sum of the lanes, by halves.
#[inline(always)]
fn total<T: Float>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Adds `f(x)` of a row to the lanes.
#[inline(always)]
fn add_row<T: Float>(lanes: &mut [T; LANES], x: &[T], f: impl Fn(T) -> T) {
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for l in 0..LANES {
            lanes[l] += f(x[l]);
        }
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += f(x));
}

/// Adds both of `f(x, y)` of two rows to the lanes of two sums.
#[inline(always)]
fn add_rows<T: Float>(first: &mut [T; LANES], second: &mut [T; LANES], x: &[T], y: &[T], f: impl Fn(T, T) -> (T, T)) {
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = xs.remainder().iter().zip(ys.remainder());
    for (x, y) in xs.zip(ys) {
        for l in 0..LANES {
            let (a, b) = f(x[l], y[l]);
            first[l] += a;
            second[l] += b;
        }
    }
    for ((first, second), (&x, &y)) in first.iter_mut().zip(second).zip(rest) {
        let (a, b) = f(x, y);
        *first += a;
        *second += b;
    }
}
