//! Softmax, log-softmax and log-sum-exp over the middle dimension of contiguous arrays `[outer, n, inner]`, and their
//! gradients; in `cross_entropy` the loss on top of them.
//!
//! The largest element is subtracted before `exp`, so nothing overflows, and every sum of exponentials is at least 1. As in
//! PyTorch, NaN and plus infinity make all of their slice NaN, and so does a slice of nothing but minus infinity.

mod columns;
pub mod cross_entropy;
mod rows;

use super::gemm::Shared;
use super::parallel::{GRAIN, chunks_mut, per_task, tasks};
use super::simd::isa;
use crate::element::Float;
use columns::{COLUMNS, Columns};

/// Elements that one task gets: an exponential costs several additions, so threads pay earlier than in [`GRAIN`].
const TASK: usize = GRAIN / 4;

/// How many of `rows` of `n` elements one task gets.
fn rows_per_task(rows: usize, n: usize) -> usize {
    per_task(rows, GRAIN / TASK * n)
}

fn check(op: &str, [outer, n, inner]: [usize; 3], lens: &[usize]) {
    let len = outer * n * inner;
    assert!(lens.iter().all(|&l| l == len), "{op}: lengths {lens:?}, expected [{outer}, {n}, {inner}]");
}

/// Calls `f(o, column, columns)` for blocks of columns that cover `y [outer, n, inner]`.
fn for_columns<T: Float>(
    [outer, n, inner]: [usize; 3],
    y: &mut [T],
    f: impl Fn(usize, usize, Columns<T>) + Sync + Send,
) {
    let blocks = inner.div_ceil(COLUMNS);
    let shared = Shared::new(y);
    tasks(outer * blocks, outer * n * inner > TASK, |i| {
        let (o, column) = (i / blocks, i % blocks * COLUMNS);
        let width = COLUMNS.min(inner - column);
        // SAFETY: the block lies in `y`, and each task has other columns or another `o`.
        f(o, column, unsafe { Columns::new(shared.at(o * n * inner + column), n, inner, width) });
    });
}

/// `y = finish(x, e, max, prepare(sum of e))` along the middle dimension, with `e = exp(x - max)`.
fn normalize<T: Float>(
    [outer, n, inner]: [usize; 3],
    x: &[T],
    y: &mut [T],
    prepare: impl Fn(T) -> T + Copy + Send + Sync,
    finish: impl Fn(T, T, T, T) -> T + Copy + Send + Sync,
) {
    if x.is_empty() {
        return;
    }
    let isa = isa();
    if inner == 1 {
        return chunks_mut(y, rows_per_task(outer, n) * n, |start, y| {
            rows::normalize(isa, n, &x[start..start + y.len()], y, prepare, finish);
        });
    }
    for_columns([outer, n, inner], y, |o, column, y| {
        columns::normalize(isa, &x[o * n * inner + column..], y, prepare, finish);
    });
}

/// `dx = finish(grad, y, sum of term(grad, y))` along the middle dimension.
fn pull<T: Float>(
    [outer, n, inner]: [usize; 3],
    grad: &[T],
    y: &[T],
    dx: &mut [T],
    term: impl Fn(T, T) -> T + Copy + Send + Sync,
    finish: impl Fn(T, T, T) -> T + Copy + Send + Sync,
) {
    if y.is_empty() {
        return;
    }
    let isa = isa();
    if inner == 1 {
        return chunks_mut(dx, rows_per_task(outer, n) * n, |start, dx| {
            let range = start..start + dx.len();
            rows::pull(isa, n, &grad[range.clone()], &y[range], dx, term, finish);
        });
    }
    for_columns([outer, n, inner], dx, |o, column, dx| {
        let start = o * n * inner + column;
        columns::pull(isa, &grad[start..], &y[start..], dx, term, finish);
    });
}

/// `y = exp(x) / sum exp(x)` along the middle dimension of `[outer, n, inner]`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn softmax<T: Float>(dims: [usize; 3], x: &[T], y: &mut [T]) {
    check("softmax", dims, &[x.len(), y.len()]);
    normalize(dims, x, y, |sum| sum.reciprocal(), |_x, e, _max, scale| e * scale);
}

/// `y = x - log sum exp(x)` along the middle dimension of `[outer, n, inner]`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn log_softmax<T: Float>(dims: [usize; 3], x: &[T], y: &mut [T]) {
    check("log_softmax", dims, &[x.len(), y.len()]);
    // Not x - (max + log sum): that sum would lose the logarithm's digits where max is large.
    normalize(dims, x, y, |sum| sum.ln(), |x, _e, max, log_sum| (x - max) - log_sum);
}

/// The gradient of softmax from its output: `dx = y (grad - sum grad y)`.
///
/// # Panics
/// When the slices do not have the size `[outer, n, inner]`.
pub fn softmax_back<T: Float>(dims: [usize; 3], grad: &[T], y: &[T], dx: &mut [T]) {
    check("softmax_back", dims, &[grad.len(), y.len(), dx.len()]);
    pull(dims, grad, y, dx, |grad, y| grad * y, |grad, y, sum| y * (grad - sum));
}

/// The gradient of log-softmax from its output: `dx = grad - exp(y) sum grad`.
///
/// # Panics
/// When the slices do not have the size `[outer, n, inner]`.
pub fn log_softmax_back<T: Float>(dims: [usize; 3], grad: &[T], y: &[T], dx: &mut [T]) {
    check("log_softmax_back", dims, &[grad.len(), y.len(), dx.len()]);
    pull(dims, grad, y, dx, |grad, _y| grad, |grad, y, sum| grad - y.exp() * sum);
}

/// `y[o, i] = log sum exp(x[o, .., i])`: minus infinity for nothing, and for nothing but minus infinity; plus infinity
/// where there is one. `x` is `[outer, n, inner]`, `y` `[outer, inner]`.
///
/// # Panics
/// When the slices do not have these sizes.
pub fn logsumexp<T: Float>([outer, n, inner]: [usize; 3], x: &[T], y: &mut [T]) {
    check("logsumexp", [outer, n, inner], &[x.len()]);
    assert_eq!(y.len(), outer * inner, "logsumexp: y [{outer}, {inner}]");
    let isa = isa();
    if n == 0 {
        y.fill(T::LOWEST);
    } else if inner == 1 {
        chunks_mut(y, rows_per_task(outer, n), |at, y| rows::logsumexp(isa, n, &x[at * n..][..y.len() * n], y));
    } else {
        for_columns([outer, 1, inner], y, |o, column, y| {
            columns::logsumexp(isa, n, inner, &x[o * n * inner + column..], y)
        });
    }
}

/// `log sum`, put back by `max`: infinite maxima were not subtracted.
#[inline(always)]
fn unshifted<T: Float>(max: T, sum: T) -> T {
    sum.ln() + finite(max)
}

/// The maximum to subtract: 0 for an infinite one, whose difference with itself would be NaN.
#[inline(always)]
fn finite<T: Float>(max: T) -> T {
    if max.abs() < T::HIGHEST { max } else { T::ZERO }
}

#[cfg(test)]
mod tests;
