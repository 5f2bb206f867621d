//! Normalization: batch norm, group norm and layer norm, forward and backward, fused.
//!
//! A variance is the mean square of the distances to the mean, never the difference of two large squares, and what the
//! rounding of the mean leaves over is put right (the corrected two-pass algorithm: Chan, Golub, LeVeque, "Algorithms for
//! computing the sample variance", 1983, equation 1.7).

pub mod batch;
pub mod group;
pub mod layer;
#[cfg(test)]
mod tests;

use crate::element::Float;

/// Sums that run side by side.
const LANES: usize = 64;

/// The sum of the lanes.
#[inline(always)]
fn total<T: Float>(lanes: &[T; LANES]) -> T {
    // In whole vectors for as long as possible: halving all the way down is compiled to 63 single additions.
    let mut few = [T::ZERO; 8];
    for lanes in lanes.chunks_exact(8) {
        for l in 0..8 {
            few[l] += lanes[l];
        }
    }
    ((few[0] + few[4]) + (few[2] + few[6])) + ((few[1] + few[5]) + (few[3] + few[7]))
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
