//! The middle dimension lies contiguous in memory: rows of `n` elements.
//!
//! Loops are `for`, not `for_each`: a closure that is not inlined is compiled for the portable instruction set.

use crate::element::Float;
use crate::kernels::simd::simd;

/// Comparisons that run side by side over one row.
const LANES: usize = 64;
/// Sums that run side by side over one row.
const SUMS: usize = 32;
/// Elements whose exponentials are taken together: they stay in the first-level cache until they are summed.
pub(super) const PIECE: usize = 1 << 10;
/// Rows below this length go through `exp` several at a time, which leaves no row's end to scalar code.
const NARROW: usize = 96;
/// Rows whose largest elements are kept at a time.
const ROWS: usize = 64;

/// Folds `lanes` to their first element by halves.
#[inline(always)]
fn folded<T: Copy, const N: usize>(mut lanes: [T; N], f: impl Fn(T, T) -> T) -> T {
    let mut width = N / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = f(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest element. NaN is passed over: it comes back in the sum of exponentials.
#[inline(always)]
pub(super) fn largest<T: Float>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut max = T::LOWEST;
    if !chunks.is_empty() {
        let mut lanes = [T::LOWEST; LANES];
        for chunk in chunks {
            for l in 0..LANES {
                lanes[l] = larger(lanes[l], chunk[l]);
            }
        }
        max = folded(lanes, larger);
    }
    for &x in rest {
        max = larger(max, x);
    }
    max
}

/// The sum of `f(a, b)` in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum_of<T: Float>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut total = T::ZERO;
    for (a, b) in a.chunks(PIECE).zip(b.chunks(PIECE)) {
        let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
        if !a_chunks.is_empty() {
            let mut lanes = [T::ZERO; SUMS];
            for (a, b) in a_chunks.iter().zip(b_chunks) {
                for l in 0..SUMS {
                    lanes[l] += f(a[l], b[l]);
                }
            }
            total += folded(lanes, |a, b| a + b);
        }
        let mut end = T::ZERO;
        for (&a, &b) in a_rest.iter().zip(b_rest) {
            end += f(a, b);
        }
        total += end;
    }
    total
}

/// The sum of a row.
#[inline(always)]
pub(super) fn sum<T: Float>(x: &[T]) -> T {
    sum_of(x, x, |x, _| x)
}

/// `y = exp(x - max(row))` for rows of `n` elements.
#[inline(always)]
pub(super) fn exp_rows<T: Float>(n: usize, x: &[T], y: &mut [T], max: impl Fn(usize) -> T) {
    let rows = x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate();
    if n >= NARROW {
        for (row, (x, y)) in rows {
            let max = max(row);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - max).exp();
            }
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
        *y = y.exp();
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
pub(super) fn row_sums<T: Float>(n: usize, x: &[T], base: impl Fn(T) -> T, mut give: impl FnMut(usize, T, T)) {
    let mut scratch = [T::ZERO; PIECE];
    if n > PIECE {
        for (row, x) in x.chunks_exact(n).enumerate() {
            let max = base(largest(x));
            let mut total = T::ZERO;
            for x in x.chunks(PIECE) {
                let e = &mut scratch[..x.len()];
                for (e, &x) in e.iter_mut().zip(x) {
                    *e = (x - max).exp();
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
        exp_rows(n, x, e, |row| maxima[row]);
        for (row, e) in e.chunks_exact(n).enumerate() {
            give(block * self::block(n) + row, maxima[row], sum(e));
        }
    }
}

simd! {
    pub(super) fn normalize[T: Float, P: Fn(T) -> T, F: Fn(T, T, T, T) -> T](
        n: usize, x: &[T], y: &mut [T], prepare: P, finish: F,
    ) {
        let mut maxima = [T::ZERO; ROWS];
        let block = block(n) * n;
        for (x, y) in x.chunks(block).zip(y.chunks_mut(block)) {
            for (max, x) in maxima.iter_mut().zip(x.chunks_exact(n)) {
                *max = largest(x);
            }
            exp_rows(n, x, y, |row| maxima[row]);
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

    pub(super) fn logsumexp[T: Float](n: usize, x: &[T], y: &mut [T]) {
        row_sums(n, x, super::finite, |row, max, sum| y[row] = super::unshifted(max, sum));
    }
}
