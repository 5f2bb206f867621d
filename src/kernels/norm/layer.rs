//! Layer norm: every row of `[rows, size]` has its own mean and variance.

use super::super::gemm::Shared;
use super::super::lanes::{fold, sums};
use super::super::parallel::{chunk_pairs_mut, per_task, tasks};
use super::super::reduce::reduce;
use super::super::simd::{isa, simd};
use crate::element::Float;

/// Elements of the rows that are worked on in turns: they stay in the first-level cache.
const NEAR: usize = 1 << 11;
/// Rows that are worked on in turns at most.
const TURNS: usize = 32;

simd! {
    /// Rows of the output, and their statistics. Rows take turns, so that none has to wait for its own divisions.
    fn normalize[T: Float](x: &[T], size: usize, weight: &[T], bias: &[T], eps: f64, y: &mut [T], statistics: &mut [[T; 3]]) {
        let (n, turns) = (size as f64, (NEAR / size).clamp(1, TURNS));
        let pieces = x.chunks(turns * size).zip(y.chunks_mut(turns * size));
        for ((x, y), statistics) in pieces.zip(statistics.chunks_mut(turns)) {
            for (x, [mean, ..]) in x.chunks_exact(size).zip(&mut *statistics) {
                *mean = T::of(fold(x, x, T::ZERO, |a, b| a + b, |x, _| x).to_f64() / n);
            }
            for (x, [mean, left, rstd]) in x.chunks_exact(size).zip(&mut *statistics) {
                let mean = *mean;
                (*left, *rstd) = sums([x; 3], T::ZERO, |x, _, _| (x - mean, (x - mean) * (x - mean)));
            }
            for [_, left, rstd] in &mut *statistics {
                // What the rounding of the mean has left over, and the variance around the exact one.
                let rest = left.to_f64() / n;
                let variance = (rstd.to_f64() / n - rest * rest).max(0.0);
                (*left, *rstd) = (T::of(rest), T::of(1.0 / (variance + eps).sqrt()));
            }
            for ((x, y), &[mean, left, rstd]) in x.chunks_exact(size).zip(y.chunks_exact_mut(size)).zip(&*statistics) {
                let shift = T::ZERO - left * rstd;
                for ((y, &x), (&weight, &bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
                    *y = ((x - mean) * rstd + shift) * weight + bias;
                }
            }
        }
    }

    /// The sums of `grad weight` and of `grad weight (x - mean)` over one row.
    fn products[T: Float](x: &[T], grad: &[T], weight: &[T], mean: T) -> (T, T) {
        sums([x, grad, weight], T::ZERO, |x, grad, weight| (grad * weight, grad * weight * (x - mean)))
    }

    /// `dx = (grad weight - shift - (x - mean) slope) rstd`.
    fn pull[T: Float](x: &[T], grad: &[T], weight: &[T], mean: T, shift: T, slope: T, rstd: T, dx: &mut [T]) {
        for ((dx, &x), (&grad, &weight)) in dx.iter_mut().zip(x).zip(grad.iter().zip(weight)) {
            *dx = (grad * weight - shift - (x - mean) * slope) * rstd;
        }
    }

    /// `dw += grad (x - mean - left) rstd`, `db += grad`.
    fn collect[T: Float](x: &[T], grad: &[T], mean: T, left: T, rstd: T, dw: &mut [T], db: &mut [T]) {
        for ((dw, db), (&x, &grad)) in dw.iter_mut().zip(db).zip(x.iter().zip(grad)) {
            *dw += grad * ((x - mean - left) * rstd);
            *db += grad;
        }
    }
}

/// `y = (x - mean) / sqrt(var + eps) weight + bias`; `x` and `y` are `[rows, size]`, `weight` and
/// `bias` `[size]` (1 and 0 where they are missing). What the gradients need of each row is written to `statistics`: its mean,
/// what the rounding of the mean leaves over, and `1 / sqrt(var + eps)`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn forward<T: Float>(
    [rows, size]: [usize; 2],
    x: &[T],
    [weight, bias]: [Option<&[T]>; 2],
    eps: f64,
    y: &mut [T],
    statistics: &mut [[T; 3]],
) {
    assert!(x.len() == rows * size && y.len() == x.len(), "layer_norm: [{rows}, {size}]");
    assert_eq!(statistics.len(), rows, "layer_norm: statistics");
    let (mut ones, mut zeros) = (Vec::new(), Vec::new());
    let (weight, bias) = (or_all(weight, T::ONE, size, &mut ones), or_all(bias, T::ZERO, size, &mut zeros));
    if y.is_empty() {
        return statistics.fill([T::ZERO; 3]);
    }
    let (isa, piece) = (isa(), per_task(rows, size));
    chunk_pairs_mut((y, piece * size), (statistics, piece), |i, y, statistics| {
        normalize(isa, &x[i * piece * size..][..y.len()], size, weight, bias, eps, y, statistics);
    });
}

/// `given`, or `size` times the same value.
fn or_all<'a, T: Float>(given: Option<&'a [T]>, value: T, size: usize, room: &'a mut Vec<T>) -> &'a [T] {
    let all = given.unwrap_or_else(|| {
        *room = vec![value; size];
        room
    });
    assert_eq!(all.len(), size, "layer_norm: the weight and the bias");
    all
}

/// The gradients of the input (`dx`), and of the weight and the bias together (`parameters`: `[2, size]`), each where it is
/// wanted.
///
/// With `x^ = (x - mean) rstd` and `g = grad weight`: `dx = rstd (g - mean(g) - x^ mean(g x^))`, `dw = sum grad x^`,
/// `db = sum grad` (Ba, Kiros, Hinton, "Layer normalization", 2016, supplement).
///
/// # Panics
/// When the slices do not have these sizes.
pub fn backward<T: Float>(
    [rows, size]: [usize; 2],
    [x, grad]: [&[T]; 2],
    weight: Option<&[T]>,
    statistics: &[[T; 3]],
    dx: Option<&mut [T]>,
    parameters: Option<&mut [T]>,
) {
    let fits = |x: &[T]| x.len() == rows * size;
    assert!(fits(x) && fits(grad) && dx.as_deref().is_none_or(fits), "layer_norm: [{rows}, {size}]");
    assert_eq!(statistics.len(), rows, "layer_norm: statistics");
    let mut ones = Vec::new();
    let weight = or_all(weight, T::ONE, size, &mut ones);
    if x.is_empty() {
        return parameters.into_iter().for_each(|all| all.fill(T::ZERO));
    }
    // Every block of rows sums for itself; at most 64 blocks, so that their sums stay small beside the input.
    let block = per_task(rows, size).max(rows.div_ceil(64));
    let blocks = rows.div_ceil(block);
    let mut parts = vec![T::ZERO; if parameters.is_some() { blocks * 2 * size } else { 0 }];
    let (isa, collecting) = (isa(), parameters.is_some());
    let (dx, shared) = (dx.map(Shared::new), Shared::new(&mut parts));
    tasks(blocks, true, |i| {
        for at in i * block..((i + 1) * block).min(rows) {
            let (x, grad) = (&x[at * size..][..size], &grad[at * size..][..size]);
            let [mean, left, rstd] = statistics[at];
            if let Some(dx) = dx {
                let (sum, product) = products(isa, x, grad, weight, mean);
                let (n, left, rstd64) = (size as f64, left.to_f64(), rstd.to_f64());
                let slope = (product.to_f64() - left * sum.to_f64()) * rstd64 * rstd64 / n;
                let (shift, slope) = (T::of(sum.to_f64() / n - left * slope), T::of(slope));
                // SAFETY: each row is in one block.
                let dx = unsafe { std::slice::from_raw_parts_mut(dx.at(at * size), size) };
                pull(isa, x, grad, weight, mean, shift, slope, rstd, dx);
            }
            if collecting {
                // SAFETY: each block has its sums for itself.
                let part = unsafe { std::slice::from_raw_parts_mut(shared.at(i * 2 * size), 2 * size) };
                let (dw, db) = part.split_at_mut(size);
                collect(isa, x, grad, mean, left, rstd, dw, db);
            }
        }
    });
    if let Some(all) = parameters {
        reduce([1, blocks, 2 * size], &parts, all, T::ZERO, |a, b| a + b);
    }
}
