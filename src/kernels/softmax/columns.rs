//! The middle dimension is strided: blocks of neighbouring columns run side by side.

use crate::element::Float;
use crate::kernels::simd::simd;
use std::marker::PhantomData;

/// Columns that run side by side.
pub(super) const COLUMNS: usize = 128;

/// `n` rows of `width` elements, `stride` apart, for writing.
pub(super) struct Columns<'a, T> {
    start: *mut T,
    n: usize,
    stride: usize,
    width: usize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Columns<'_, T> {
    /// # Safety
    /// The rows must be valid for writing, and nobody else may reach them while this lives.
    pub unsafe fn new(start: *mut T, n: usize, stride: usize, width: usize) -> Self {
        Columns { start, n, stride, width, borrow: PhantomData }
    }

    #[inline(always)]
    fn row(&mut self, j: usize) -> &mut [T] {
        assert!(j < self.n);
        // SAFETY: `new` was promised that the rows are there for this value alone, which the result borrows.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(j * self.stride), self.width) }
    }
}

/// The largest of each column of `n` rows; NaN is passed over.
#[inline(always)]
fn largest<T: Float>(n: usize, stride: usize, x: &[T], max: &mut [T]) {
    max.fill(T::LOWEST);
    for j in 0..n {
        let x = &x[j * stride..][..max.len()];
        for (max, &x) in max.iter_mut().zip(x) {
            *max = if x > *max { x } else { *max };
        }
    }
}

simd! {
    pub(super) fn normalize<FUSED>[T: Float, P: Fn(T) -> T, F: Fn(T, T, T, T) -> T](
        x: &[T], y: Columns<T>, prepare: P, finish: F,
    ) {
        let mut y = y;
        let (n, stride, width) = (y.n, y.stride, y.width);
        let (mut max, mut sum) = ([T::ZERO; COLUMNS], [T::ZERO; COLUMNS]);
        let (max, sum) = (&mut max[..width], &mut sum[..width]);
        largest(n, stride, x, max);
        for j in 0..n {
            let (x, y) = (&x[j * stride..][..width], y.row(j));
            for (((y, &x), &max), sum) in y.iter_mut().zip(x).zip(&*max).zip(&mut *sum) {
                *y = (x - max).exp_up_to_0::<FUSED>();
                *sum += *y;
            }
        }
        sum.iter_mut().for_each(|sum| *sum = prepare(*sum));
        for j in 0..n {
            let (x, y) = (&x[j * stride..][..width], y.row(j));
            for (((y, &x), &max), &sum) in y.iter_mut().zip(x).zip(&*max).zip(&*sum) {
                *y = finish(x, *y, max, sum);
            }
        }
    }

    pub(super) fn pull[T: Float, P: Fn(T, T) -> T, F: Fn(T, T, T) -> T](
        grad: &[T], y: &[T], dx: Columns<T>, term: P, finish: F,
    ) {
        let mut dx = dx;
        let (n, stride, width) = (dx.n, dx.stride, dx.width);
        let mut sum = [T::ZERO; COLUMNS];
        let sum = &mut sum[..width];
        for j in 0..n {
            let (grad, y) = (&grad[j * stride..][..width], &y[j * stride..][..width]);
            for ((sum, &grad), &y) in sum.iter_mut().zip(grad).zip(y) {
                *sum += term(grad, y);
            }
        }
        for j in 0..n {
            let (grad, y, dx) = (&grad[j * stride..][..width], &y[j * stride..][..width], dx.row(j));
            for (((dx, &grad), &y), &sum) in dx.iter_mut().zip(grad).zip(y).zip(&*sum) {
                *dx = finish(grad, y, sum);
            }
        }
    }

    /// Of `n` rows, `stride` apart, to the one row of `y`.
    pub(super) fn logsumexp<FUSED>[T: Float](n: usize, stride: usize, x: &[T], y: Columns<T>) {
        let mut y = y;
        let y = y.row(0);
        let (mut max, mut sum) = ([T::ZERO; COLUMNS], [T::ZERO; COLUMNS]);
        let (max, sum) = (&mut max[..y.len()], &mut sum[..y.len()]);
        largest(n, stride, x, max);
        max.iter_mut().for_each(|max| *max = super::finite(*max));
        for j in 0..n {
            let x = &x[j * stride..][..max.len()];
            for ((sum, &x), &max) in sum.iter_mut().zip(x).zip(&*max) {
                *sum += (x - max).exp_as::<FUSED>();
            }
        }
        for ((y, &max), &sum) in y.iter_mut().zip(&*max).zip(&*sum) {
            *y = super::unshifted(max, sum);
        }
    }
}
