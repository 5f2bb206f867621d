//! Reductions over any set of dimensions: sums, means, extremes, variances, norms.
//!
//! `sum_dim(1, false)` reduces one dimension, `sum_dim([0, 2], true)` several and keeps them with size 1, `sum_dim(.., false)`
//! all of them; `sum()` is short for that.

use super::view::view_op;
use crate::autograd::{Pull, record_op, same};
use crate::element::{DType, Element, Float, Number};
use crate::kernels::reduce;
use crate::shape::{Dims, MAX_RANK, Shape, axis, ensure};
use crate::tensor::Tensor;
use std::any::Any as Dynamic;

/// The shape with the dimensions of the mask reduced to size 1.
pub(super) fn kept(shape: &Shape, mask: &[bool; MAX_RANK]) -> Shape {
    let mut out = *shape;
    out.iter_mut().zip(mask).filter(|(_, reduced)| **reduced).for_each(|(size, _)| *size = 1);
    out
}

/// The shape without the dimensions of the mask.
pub(super) fn dropped(shape: &Shape, mask: &[bool; MAX_RANK]) -> Shape {
    let mut out = *shape;
    for dim in (0..shape.rank()).rev().filter(|&dim| mask[dim]) {
        out = out.without(dim);
    }
    out
}

impl<T: Number> Tensor<T> {
    /// Folds the dimensions of the mask to size 1, without a tape entry.
    fn fold(&self, mask: &[bool; MAX_RANK], start: T, f: impl Fn(T, T) -> T + Copy + Send + Sync) -> Tensor<T> {
        let mut x = self.packed();
        let mut dim = self.rank();
        let mut done = true;
        // Neighbouring dimensions are folded together, the innermost ones first.
        while dim > 0 {
            if !mask[dim - 1] {
                dim -= 1;
                continue;
            }
            let end = dim;
            while dim > 0 && mask[dim - 1] {
                dim -= 1;
            }
            let mut shape = x.dims();
            let sizes = [&shape[..dim], &shape[dim..end], &shape[end..]].map(|part| part.iter().product());
            shape[dim..end].fill(1);
            x = Tensor::build(shape, |y| reduce::reduce(sizes, x.elements(), y, start, f));
            done = false;
        }
        if done { x.map_to(move |x| f(start, x)) } else { x }
    }

    fn without_dims(self, mask: &[bool; MAX_RANK]) -> Tensor<T> {
        let shape = dropped(&self.dims(), mask);
        self.viewed(crate::shape::Layout::contiguous(shape))
    }
}

/// Of an integer always false.
#[inline(always)]
#[allow(clippy::eq_op, reason = "NaN is what differs from itself; partial_cmp is not vectorised")]
fn is_nan<T: Number>(x: T) -> bool {
    x != x
}

struct SumBack {
    shape: Shape,
    kept: Shape,
}
impl super::view::Back for SumBack {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        grad.reshape(self.kept).expand(self.shape)
    }
}

impl<T: Number> Tensor<T> {
    /// The sum over the given dimensions; `keepdim` keeps them with size 1. The sum of nothing is 0.
    ///
    /// The sum has the elements' own type, and of integers it wraps around: `cast::<i64>()` first where `u8` is too small.
    ///
    /// ```
    /// let x = wengert::Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_dim(0, false).to_vec(), [4.0, 6.0]);
    /// assert_eq!(x.sum_dim([0, 1], true).shape(), [1, 1]);
    /// ```
    ///
    /// # Panics
    /// When there is no such dimension, or one is named twice.
    #[track_caller]
    pub fn sum_dim(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.sum_over(dims.mask("sum", self.shape()), keepdim)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn sum_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        let y = self.summed(&mask);
        let kept = y.dims();
        let y = if keepdim { y } else { y.without_dims(&mask) };
        view_op("sum", self, y, SumBack { shape: self.dims(), kept })
    }

    fn summed(&self, mask: &[bool; MAX_RANK]) -> Tensor<T> {
        self.fold(mask, T::ZERO, T::plus)
    }

    /// The sum of all elements, as a scalar.
    #[track_caller]
    pub fn sum(&self) -> Tensor<T> {
        self.sum_dim(.., false)
    }

    /// Summed over the dimensions along which `shape` was broadcast to this one: the adjoint of `expand`.
    ///
    /// # Panics
    /// When `shape` does not broadcast to this one.
    #[track_caller]
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Tensor<T> {
        self.sum_to_shape(shape.into())
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn sum_to_shape(&self, shape: Shape) -> Tensor<T> {
        let lead = self.rank().checked_sub(shape.rank());
        let fits = lead.is_some_and(|lead| (0..shape.rank()).all(|d| [1, self.shape()[lead + d]].contains(&shape[d])));
        ensure(fits, || format!("sum_to: {shape} does not broadcast to {:?}", self.shape()));
        let lead = lead.unwrap_or(0);
        let mut mask = [false; MAX_RANK];
        for (dim, reduced) in mask.iter_mut().enumerate().take(self.rank()) {
            *reduced = dim < lead || (shape[dim - lead] == 1 && self.shape()[dim] != 1);
        }
        let y = self.summed(&mask);
        let kept = y.dims();
        let y = y.viewed(crate::shape::Layout::contiguous(shape));
        view_op("sum", self, y, SumBack { shape: self.dims(), kept })
    }

    /// The index of the largest element along a dimension, the first of equal ones; NaN counts as the largest.
    ///
    /// # Panics
    /// When there is no such dimension, or its size is 0 while there is something to find.
    #[track_caller]
    #[inline(never)]
    pub fn argmax(&self, dim: isize, keepdim: bool) -> Tensor<i64> {
        self.arg("argmax", dim, keepdim, |a, b| (a > b) | (is_nan(a) & !is_nan(b)))
    }

    /// The index of the smallest element along a dimension, the first of equal ones; NaN counts as the smallest.
    ///
    /// # Panics
    /// As [`Tensor::argmax`].
    #[track_caller]
    #[inline(never)]
    pub fn argmin(&self, dim: isize, keepdim: bool) -> Tensor<i64> {
        self.arg("argmin", dim, keepdim, |a, b| (a < b) | (is_nan(a) & !is_nan(b)))
    }

    #[track_caller]
    fn arg(
        &self,
        op: &str,
        dim: isize,
        keepdim: bool,
        better: impl Fn(T, T) -> bool + Copy + Send + Sync,
    ) -> Tensor<i64> {
        let dim = axis(op, self.shape(), dim);
        let mut shape = self.dims();
        let sizes = [&shape[..dim], &shape[dim..dim + 1], &shape[dim + 1..]].map(|part| part.iter().product());
        ensure(sizes[1] > 0 || sizes[0] * sizes[2] == 0, || {
            format!("{op}: {:?}: dimension {dim} is empty: there is nothing to choose from", self.shape())
        });
        shape[dim] = 1;
        let shape = if keepdim { shape } else { shape.without(dim) };
        let x = self.packed();
        Tensor::build(shape, |y| reduce::arg_reduce(sizes, x.elements(), y, better))
    }

    /// The largest element over the given dimensions; NaN where there is one. Equal ones share the gradient evenly.
    ///
    /// # Panics
    /// When there is no such dimension, one is named twice, or there is nothing to choose from.
    #[track_caller]
    pub fn amax(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.amax_over(dims.mask("amax", self.shape()), keepdim)
    }

    /// The smallest element over the given dimensions; NaN where there is one. Equal ones share the gradient evenly.
    ///
    /// # Panics
    /// As [`Tensor::amax`].
    #[track_caller]
    pub fn amin(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.amin_over(dims.mask("amin", self.shape()), keepdim)
    }

    /// The largest element of all, as a scalar.
    ///
    /// # Panics
    /// When there is no element.
    #[track_caller]
    pub fn max(&self) -> Tensor<T> {
        self.amax(.., false)
    }

    /// The smallest element of all, as a scalar.
    ///
    /// # Panics
    /// When there is no element.
    #[track_caller]
    pub fn min(&self) -> Tensor<T> {
        self.amin(.., false)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn amax_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        self.extreme("amax", mask, keepdim, T::LOWEST, T::maximum)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn amin_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        self.extreme("amin", mask, keepdim, T::HIGHEST, T::minimum)
    }

    #[track_caller]
    fn extreme(
        &self,
        op: &'static str,
        mask: [bool; MAX_RANK],
        keepdim: bool,
        start: T,
        f: impl Fn(T, T) -> T + Copy + Send + Sync,
    ) -> Tensor<T> {
        let full = kept(&self.dims(), &mask);
        ensure(self.numel() > 0 || full.numel() == 0, || {
            format!("{op}: {:?}: there is nothing to choose from", self.shape())
        });
        let y = self.fold(&mask, start, f);
        let y = match (&self.entry, T::DTYPE) {
            (None, _) => y,
            (_, DType::F32) => extreme_recorded::<f32, T>(op, self, y),
            _ => extreme_recorded::<f64, T>(op, self, y),
        };
        if keepdim { y } else { y.reshape(dropped(&self.dims(), &mask)) }
    }
}

/// Records an extreme that was kept with size 1 along the reduced dimensions.
#[track_caller]
fn extreme_recorded<F: Float, T: Element>(op: &'static str, x: &Tensor<T>, y: Tensor<T>) -> Tensor<T> {
    let x: &Tensor<F> = (x as &dyn Dynamic).downcast_ref().expect("tracked tensors are floats");
    let y: Tensor<F> = same(y).expect("F is T");
    let recorded = record_op(op, y.clone(), [x], || {
        let x = x.detach();
        move |pull: Pull<F>| {
            // 1 / count where an element is the extreme, else 0: constant almost everywhere.
            let hits = x.zip_to(op, &y, |x, y| if x == y { F::ONE } else { F::ZERO });
            let share = hits.sum_to(y.dims()).reciprocal() * &pull.grad;
            [Some(share * hits)]
        }
    });
    same(recorded).expect("T is F")
}

impl<T: Float> Tensor<T> {
    /// The mean over the given dimensions.
    ///
    /// # Panics
    /// As [`Tensor::sum_dim`].
    #[track_caller]
    pub fn mean_dim(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.mean_over(dims.mask("sum", self.shape()), keepdim)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn mean_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        let sum = self.sum_over(mask, keepdim);
        let count = self.numel() as f64 / sum.numel().max(1) as f64;
        sum / T::of(count)
    }

    /// The mean of all elements, as a scalar.
    #[track_caller]
    pub fn mean(&self) -> Tensor<T> {
        self.mean_dim(.., false)
    }

    /// The product over the given dimensions; the product of nothing is 1.
    ///
    /// # Panics
    /// As [`Tensor::sum_dim`].
    #[track_caller]
    pub fn prod_dim(&self, dims: impl Dims, keepdim: bool) -> Tensor<T> {
        self.prod_over(dims.mask("prod", self.shape()), keepdim)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn prod_over(&self, mask: [bool; MAX_RANK], keepdim: bool) -> Tensor<T> {
        let y = self.fold(&mask, T::ONE, |a, b| a * b);
        let y = record_op("prod", y, [self], || {
            let (x, reduced) = (self.clone(), mask);
            move |pull: Pull<T>| [Some(x.products_of_the_others(&reduced) * &pull.grad)]
        });
        if keepdim { y } else { y.reshape(dropped(&self.dims(), &mask)) }
    }

    /// For each element the product of all others along the reduced dimensions, also where there are zeros: the products of
    /// the elements before it, times those after it.
    #[track_caller]
    fn products_of_the_others(&self, mask: &[bool; MAX_RANK]) -> Tensor<T> {
        let order: Vec<isize> = (0..self.rank()).map(|d| d as isize).collect();
        let (inner, outer): (Vec<isize>, Vec<isize>) = order.iter().partition(|&&d| mask[d as usize]);
        let order: Vec<isize> = outer.iter().chain(&inner).copied().collect();
        let moved = self.permute(&order);
        let n: usize = inner.iter().map(|&d| self.shape()[d as usize]).product();
        let rows = moved.reshape([self.numel() / n.max(1), n]);
        let one = Tensor::full([rows.size(0), 1], T::ONE);
        let (mut before, mut after) = (vec![one.clone()], vec![one]);
        for i in 1..n {
            before.push(&before[i - 1] * rows.narrow(1, i - 1, 1));
            after.push(&after[i - 1] * rows.narrow(1, n - i, 1));
        }
        after.reverse();
        if n == 0 {
            return self.clone();
        }
        let join = |parts: &[Tensor<T>]| super::cat(&parts.iter().collect::<Vec<_>>(), 1);
        let others = (join(&before) * join(&after)).reshape(moved.dims());
        let mut back = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| back[from as usize] = to as isize);
        others.permute(&back)
    }

    /// The product of all elements, as a scalar.
    #[track_caller]
    pub fn prod(&self) -> Tensor<T> {
        self.prod_dim(.., false)
    }

    /// The variance over the given dimensions: the sum of squared distances to the mean over `count - correction`
    /// (1 is Bessel's correction, PyTorch's default; 0 the population variance).
    ///
    /// # Panics
    /// As [`Tensor::sum_dim`].
    #[track_caller]
    pub fn var_dim(&self, dims: impl Dims, correction: usize, keepdim: bool) -> Tensor<T> {
        self.var_over(dims.mask("var", self.shape()), correction, keepdim)
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn var_over(&self, mask: [bool; MAX_RANK], correction: usize, keepdim: bool) -> Tensor<T> {
        let full = kept(&self.dims(), &mask);
        let count = self.numel() / full.numel().max(1);
        let mean = self.mean_over(mask, true);
        let squares = if self.is_tracked() {
            (self - mean).square()
        } else {
            self.zip_to("var", &mean, |x, mean| (x - mean) * (x - mean))
        };
        let squares = squares.sum_over(mask, keepdim);
        squares / T::of((count as f64 - correction as f64).max(0.0))
    }

    /// The variance of all elements with Bessel's correction, as a scalar.
    #[track_caller]
    pub fn var(&self) -> Tensor<T> {
        self.var_dim(.., 1, false)
    }

    /// The standard deviation over the given dimensions: the root of [`Tensor::var_dim`].
    ///
    /// # Panics
    /// As [`Tensor::sum_dim`].
    #[track_caller]
    pub fn std_dim(&self, dims: impl Dims, correction: usize, keepdim: bool) -> Tensor<T> {
        self.var_dim(dims, correction, keepdim).sqrt()
    }

    /// The standard deviation of all elements with Bessel's correction, as a scalar.
    #[track_caller]
    pub fn std(&self) -> Tensor<T> {
        self.var().sqrt()
    }

    /// The Euclidean norm of all elements, as a scalar; `dy/dx = x / y`, 0 at 0.
    #[track_caller]
    pub fn norm(&self) -> Tensor<T> {
        let y = self.map_to(|x| x * x).sum().sqrt();
        record_op("norm", y.clone(), [self], || {
            let x = self.clone();
            move |pull: Pull<T>| {
                if y.item() == T::ZERO {
                    return [Some(x.zeros_like())];
                }
                [Some(&x * (&pull.grad / pull.attach(&y)))]
            }
        })
    }
}

impl Tensor<bool> {
    /// Whether an element is true.
    pub fn any(&self) -> bool {
        self.packed().elements().contains(&true)
    }

    /// Whether all elements are true.
    pub fn all(&self) -> bool {
        !self.packed().elements().contains(&false)
    }
}
