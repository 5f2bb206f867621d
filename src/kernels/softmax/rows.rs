//! The middle dimension lies contiguous in memory: rows of `n` elements.
//!
//! Loops are `for`, not `for_each`: a closure that is not inlined is compiled for the portable instruction set.

use crate::element::Float;
use crate::kernels::lanes::fold;
use crate::kernels::prefetch::{STEP, request_beyond};
use crate::kernels::simd::simd;

/// Elements whose exponentials are taken together: they stay in the first-level cache until they are summed.
pub(super) const PIECE: usize = 1 << 10;
/// Rows below this length go through `exp` several at a time, which leaves no row's end to scalar code.
const NARROW: usize = 512;
/// How far ahead of the exponentials memory is requested at most.
const LONGEST: usize = 2 << 10;
/// Rows whose largest elements are kept at a time.
const ROWS: usize = 64;

/// The largest element. NaN is passed over: it comes back in the sum of exponentials.
#[inline(always)]
pub(super) fn largest<T: Float>(x: &[T]) -> T {
    fold(x, x, T::LOWEST, |a, b| if b > a { b } else { a }, |x, _| x)
}

/// The sum of `f(a, b)` in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum_of<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut total = T::ZERO;
    for (a, b) in a.chunks(PIECE).zip(b.chunks(PIECE)) {
        total += fold(a, b, T::ZERO, |a, b| a + b, &f);
    }
    total
}

/// The sum of a row.
#[inline(always)]
pub(super) fn sum<T: Float>(x: &[T]) -> T {
    sum_of(x, x, |x, _| x)
}

/// `y = exp(x - max)` for one row. Meanwhile the next row is requested, or what comes next in a long one.
#[inline(always)]
fn exp_row<T: Float>(x: &[T], y: &mut [T], max: T, exp: impl Fn(T) -> T) {
    let ahead = x.len().min(LONGEST);
    for (x, y) in x.chunks(STEP).zip(y.chunks_mut(STEP)) {
        request_beyond(x.as_ptr(), ahead, STEP);
        request_beyond(y.as_ptr(), ahead, STEP);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = exp(x - max);
        }
    }
}

/// `y = exp(x - max(row))` for rows of `n` elements.
#[inline(always)]
pub(super) fn exp_rows<T: Float>(n: usize, x: &[T], y: &mut [T], max: impl Fn(usize) -> T, exp: impl Fn(T) -> T) {
    let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate();
    if n >= NARROW {
        for (row, (x, y)) in rows {
            exp_row(x, y, max(row), &exp);
        }
        return;
    }
    for (row, (x, y)) in rows {
        let max = max(row);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x - max;
        }
    }
    for y in y {
        *y = exp(*y);
    }
}

/// How many rows of `n` are taken together.
#[inline(always)]
pub(super) fn block(n: usize) -> usize {
    (PIECE / n).clamp(1, ROWS)
}

/// Calls `give(row, max, sum of exp(x - max))` for every row of `n` elements; `base` gives what is subtracted for the
/// largest element.
#[inline(always)]
pub(super) fn row_sums<T: Float>(
    n: usize,
    x: &[T],
    base: impl Fn(T) -> T,
    exp: impl Fn(T) -> T,
    mut give: impl FnMut(usize, T, T),
) {
    let mut scratch = [T::ZERO; PIECE];
    if n > PIECE {
        for (row, x) in x.chunks_exact(n).enumerate() {
            let max = base(largest(x));
            let mut total = T::ZERO;
            for x in x.chunks(PIECE) {
                let e = &mut scratch[..x.len()];
                for (e, &x) in e.iter_mut().zip(x) {
                    *e = exp(x - max);
                }
                total += sum(e);
            }
            give(row, max, total);
        }
        return;
    }
    let mut maxima = [T::ZERO; ROWS];
    for (block, x) in x.chunks(self::block(n) * n).enumerate() {
        for (max, x) in maxima.iter_mut().zip(x.chunks_exact(n)) {
            *max = base(largest(x));
        }
        let e = &mut scratch[..x.len()];
        exp_rows(n, x, e, |row| maxima[row], &exp);
        for (row, e) in e.chunks_exact(n).enumerate() {
            give(block * self::block(n) + row, maxima[row], sum(e));
        }
    }
}

simd! {
    pub(super) fn normalize<FUSED>[T: Float, P: Fn(T) -> T, F: Fn(T, T, T, T) -> T](
        n: usize, x: &[T], y: &mut [T], prepare: P, finish: F,
    ) {
        let mut maxima = [T::ZERO; ROWS];
        let block = block(n) * n;
        for (x, y) in x.chunks(block).zip(y.chunks_mut(block)) {
            for (max, x) in maxima.iter_mut().zip(x.chunks_exact(n)) {
                *max = largest(x);
            }
            exp_rows(n, x, y, |row| maxima[row], T::exp_up_to_0::<FUSED>);
            for ((x, y), &max) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).zip(&maxima) {
                let scale = prepare(sum(y));
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = finish(x, *y, max, scale);
                }
            }
        }
    }

    pub(super) fn pull[T: Float, P: Fn(T, T) -> T, F: Fn(T, T, T) -> T](
        n: usize, grad: &[T], y: &[T], dx: &mut [T], term: P, finish: F,
    ) {
        for ((grad, y), dx) in grad.chunks_exact(n).zip(y.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
            let sum = sum_of(grad, y, &term);
            for ((dx, &grad), &y) in dx.iter_mut().zip(grad).zip(y) {
                *dx = finish(grad, y, sum);
            }
        }
    }

    pub(super) fn logsumexp<FUSED>[T: Float](n: usize, x: &[T], y: &mut [T]) {
        row_sums(n, x, super::finite, T::exp_as::<FUSED>, |row, max, sum| y[row] = super::unshifted(max, sum));
    }
}
