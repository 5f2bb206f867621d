//! Views: other shapes on the same storage. Nothing is copied, except where `reshape` has no other way.
//!
//! `i64`, `u8` and `bool` tensors have the same methods; only floats are recorded, so each method asks [`view_op`], which
//! records where there is an entry.

use crate::autograd::{Pull, record_op, same};
use crate::element::{DType, Element, Float};
use crate::shape::{Layout, Shape, Sizes, axis, ensure, fail};
use crate::tensor::Tensor;
use std::any::Any as Dynamic;

/// The view, recorded where `x` is tracked; `back` takes the view's gradient to that of `x`.
#[track_caller]
pub(super) fn view_op<T: Element>(op: &'static str, x: &Tensor<T>, y: Tensor<T>, back: impl Back) -> Tensor<T> {
    if x.entry.is_none() {
        return y;
    }
    match T::DTYPE {
        DType::F32 => recorded::<f32, T>(op, x, y, back),
        _ => recorded::<f64, T>(op, x, y, back),
    }
}

/// What takes a view's gradient back, for either float type.
pub(super) trait Back: Send + Sync + 'static {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T>;
}

#[track_caller]
fn recorded<F: Float, T: Element>(op: &'static str, x: &Tensor<T>, y: Tensor<T>, back: impl Back) -> Tensor<T> {
    let x: &Tensor<F> = (x as &dyn Dynamic).downcast_ref().expect("tracked tensors hold f32 or f64");
    let y: Tensor<F> = same(y).expect("the type of x");
    let y = record_op(op, y, [x], || move |pull: Pull<F>| [Some(back.back(&pull.grad))]);
    same(y).expect("the type of x")
}

struct Reshape(Shape);
impl Back for Reshape {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        grad.reshape(self.0)
    }
}

struct Permute(Vec<isize>);
impl Back for Permute {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        grad.permute(&self.0)
    }
}

struct Expand(Shape);
impl Back for Expand {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        grad.sum_to(self.0)
    }
}

/// Every `step`th index of one dimension, from `start`.
#[derive(Clone, Copy)]
struct Slice {
    shape: Shape,
    dim: usize,
    start: usize,
    step: usize,
}
impl Back for Slice {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        unslice(grad, *self)
    }
}

/// Zeros of the shape before the slice, with `part` put where the slice was taken: the adjoint of slicing.
#[track_caller]
fn unslice<T: Float>(part: &Tensor<T>, slice: Slice) -> Tensor<T> {
    let Slice { shape, dim, start, step } = slice;
    let count = part.shape()[dim];
    let y = Tensor::build(shape, |y| {
        y.fill(T::ZERO);
        let part = part.packed();
        let inner: usize = shape[dim + 1..].iter().product();
        if inner == 0 || count == 0 {
            return;
        }
        for (i, row) in part.elements().chunks(inner).enumerate() {
            let place = (i / count * shape[dim] + start + i % count * step) * inner;
            y[place..][..inner].copy_from_slice(row);
        }
    });
    record_op("unslice", y, [part], || move |pull: Pull<T>| [Some(pull.grad.slice_counted(dim, start, count, step))])
}

impl<T: Element> Tensor<T> {
    /// The same elements in row-major order under another shape; one size may be -1 and is found from the others. A view
    /// where the strides allow it, else a copy.
    ///
    /// ```
    /// let x = wengert::Tensor::zeros([2, 3, 4]);
    /// assert_eq!(x.reshape([2, -1]).shape(), [2, 12]);
    /// ```
    ///
    /// # Panics
    /// When the sizes do not hold as many elements as there are.
    #[track_caller]
    pub fn reshape(&self, sizes: impl Sizes) -> Tensor<T> {
        self.reshape_to(&sizes.sizes())
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn reshape_to(&self, sizes: &[isize]) -> Tensor<T> {
        let known: usize = sizes.iter().filter(|&&n| n >= 0).map(|&n| n as usize).product();
        let open = sizes.iter().filter(|&&n| n < 0).count();
        ensure(open <= 1 && sizes.iter().all(|&n| n >= -1), || {
            format!("reshape: {:?} to {sizes:?}: at most one size may be -1, and none less", self.shape())
        });
        ensure(open == 0 || known > 0, || {
            format!("reshape: {:?} to {sizes:?}: beside a size of 0, -1 could be anything", self.shape())
        });
        let found = self.numel() / known.max(1);
        let dims: Vec<usize> = sizes.iter().map(|&n| if n < 0 { found } else { n as usize }).collect();
        let shape = Shape::new(&dims);
        ensure(shape.numel() == self.numel(), || {
            format!(
                "reshape: {:?} to {sizes:?}: {} elements do not fit {known}{}",
                self.shape(),
                self.numel(),
                if open == 1 { " times a whole number" } else { "" }
            )
        });
        let y = match self.layout.reshape(&shape) {
            Some(layout) => self.viewed(layout),
            None => self.packed().viewed(Layout::contiguous(shape)),
        };
        view_op("reshape", self, y, Reshape(self.dims()))
    }

    /// All dimensions from `start_dim` to the last as one: `flatten(1)` keeps the batch.
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    #[inline(never)]
    pub fn flatten(&self, start_dim: isize) -> Tensor<T> {
        if self.rank() == 0 {
            return self.reshape([1_usize]);
        }
        let start = axis("flatten", self.shape(), start_dim);
        let rest = self.shape()[start..].iter().product();
        let mut dims = self.shape()[..start].to_vec();
        dims.push(rest);
        self.reshape(Shape::new(&dims))
    }

    /// The same values in row-major order without gaps; a copy only where they do not stand so.
    #[track_caller]
    #[inline(never)]
    pub fn contiguous(&self) -> Tensor<T> {
        if self.is_contiguous() {
            self.clone()
        } else {
            view_op("contiguous", self, self.packed(), Reshape(self.dims()))
        }
    }

    /// The dimensions in another order.
    ///
    /// # Panics
    /// Unless `order` names every dimension once.
    #[track_caller]
    #[inline(never)]
    pub fn permute(&self, order: &[isize]) -> Tensor<T> {
        let rank = self.rank();
        ensure(order.len() == rank, || format!("permute: {:?}: {order:?} does not name every dimension", self.shape()));
        let places: Vec<usize> = order.iter().map(|&dim| axis("permute", self.shape(), dim)).collect();
        let mut inverse = vec![-1; rank];
        for (to, &from) in places.iter().enumerate() {
            ensure(inverse[from] < 0, || format!("permute: {:?}: {order:?} names a dimension twice", self.shape()));
            inverse[from] = to as isize;
        }
        view_op("permute", self, self.viewed(self.layout.permute(&places)), Permute(inverse))
    }

    /// Two dimensions swapped.
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    #[inline(never)]
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Tensor<T> {
        let (a, b) = (axis("transpose", self.shape(), dim0), axis("transpose", self.shape(), dim1));
        let mut order: Vec<isize> = (0..self.rank() as isize).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// The transposed matrix: the last two dimensions swapped. A vector or scalar stays as it is.
    #[track_caller]
    pub fn t(&self) -> Tensor<T> {
        if self.rank() < 2 { self.clone() } else { self.transpose(-2, -1) }
    }

    /// The dimension `dim` left out, if its size is 1.
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    #[inline(never)]
    pub fn squeeze(&self, dim: isize) -> Tensor<T> {
        let dim = axis("squeeze", self.shape(), dim);
        if self.shape()[dim] != 1 {
            return self.clone();
        }
        view_op("squeeze", self, self.viewed(self.layout.squeeze(dim)), Reshape(self.dims()))
    }

    /// A dimension of size 1 put in, so that it becomes number `dim` of the result.
    ///
    /// # Panics
    /// When the result has no such dimension, or would have more than eight.
    #[track_caller]
    #[inline(never)]
    pub fn unsqueeze(&self, dim: isize) -> Tensor<T> {
        let rank = self.rank() as isize + 1;
        ensure(-rank <= dim && dim < rank, || {
            format!("unsqueeze: {:?}: expected a dimension from {} to {}, found {dim}", self.shape(), -rank, rank - 1)
        });
        let y = self.viewed(self.layout.unsqueeze(dim.rem_euclid(rank) as usize));
        view_op("unsqueeze", self, y, Reshape(self.dims()))
    }

    /// Repeated along dimensions of size 1, and along new ones in front, to the given shape, without a copy (PyTorch's
    /// `expand`, NumPy's `broadcast_to`).
    ///
    /// # Panics
    /// When a size differs and is not 1.
    #[track_caller]
    pub fn expand(&self, shape: impl Into<Shape>) -> Tensor<T> {
        self.expand_to(shape.into())
    }

    #[inline(never)]
    #[track_caller]
    pub(crate) fn expand_to(&self, shape: Shape) -> Tensor<T> {
        let Some(layout) = self.layout.expand(&shape) else {
            fail(format!("expand: {:?} to {shape:?}: only dimensions of size 1 can be repeated", self.shape()))
        };
        view_op("expand", self, self.viewed(layout), Expand(self.dims()))
    }

    /// `length` indices of dimension `dim` from `start`.
    ///
    /// # Panics
    /// When there is no such dimension, or the range leaves it.
    #[track_caller]
    #[inline(never)]
    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Tensor<T> {
        let axis = axis("narrow", self.shape(), dim);
        let size = self.shape()[axis];
        ensure(start.checked_add(length).is_some_and(|end| end <= size), || {
            format!("narrow: {:?}: {length} indices from {start} leave dimension {dim} of size {size}", self.shape())
        });
        self.slice_counted(axis, start, length, 1)
    }

    /// Every `step`th index of dimension `dim` from `start` up to, not including, `end`.
    ///
    /// # Panics
    /// When there is no such dimension, the range leaves it, or the step is 0.
    #[track_caller]
    #[inline(never)]
    pub fn slice(&self, dim: isize, start: usize, end: usize, step: usize) -> Tensor<T> {
        let axis = axis("slice", self.shape(), dim);
        let size = self.shape()[axis];
        ensure(start <= end && end <= size && step > 0, || {
            format!(
                "slice: {:?}: {start}..{end} in steps of {step} does not fit dimension {dim} of size {size}",
                self.shape()
            )
        });
        self.slice_counted(axis, start, (end - start).div_ceil(step), step)
    }

    #[track_caller]
    #[inline(never)]
    pub(crate) fn slice_counted(&self, dim: usize, start: usize, length: usize, step: usize) -> Tensor<T> {
        let y = self.viewed(self.layout.slice(dim, start, length, step));
        view_op("slice", self, y, Slice { shape: self.dims(), dim, start, step })
    }

    /// One index of a dimension; that dimension is gone from the result. Negative ones count from the end.
    ///
    /// # Panics
    /// When there is no such dimension or index.
    #[track_caller]
    #[inline(never)]
    pub fn select(&self, dim: isize, index: isize) -> Tensor<T> {
        let axis = axis("select", self.shape(), dim);
        let size = self.shape()[axis] as isize;
        ensure(-size <= index && index < size, || {
            format!("select: {:?}: no index {index} in dimension {dim} of size {size}", self.shape())
        });
        self.slice_counted(axis, index.rem_euclid(size) as usize, 1, 1).squeeze(axis as isize)
    }

    /// Consecutive parts of `size` along a dimension; the last one may be smaller.
    ///
    /// # Panics
    /// When there is no such dimension, or the size is 0.
    #[track_caller]
    #[inline(never)]
    pub fn split(&self, size: usize, dim: isize) -> Vec<Tensor<T>> {
        let axis = axis("split", self.shape(), dim);
        ensure(size > 0, || format!("split: {:?}: parts of size 0", self.shape()));
        let total = self.shape()[axis];
        (0..total).step_by(size).map(|start| self.slice_counted(axis, start, size.min(total - start), 1)).collect()
    }
}
