//! Elements picked by index tensors: `gather`, `index_select`, and their adjoints.

use super::view::{Back, view_op};
use crate::autograd::{Pull, record_op};
use crate::element::{Element, Float};
use crate::kernels::parallel;
use crate::kernels::pick::{self, Picks};
use crate::shape::{Shape, axis, ensure, fail};
use crate::tensor::Tensor;

/// The places that the indices name in a dimension of a size.
#[track_caller]
fn places(op: &str, index: &[i64], size: usize) -> Vec<usize> {
    let mut places = Vec::with_capacity(index.len());
    for &i in index {
        let Some(place) = pick::place(i, size) else {
            fail(format!("{op}: index {i} is out of range for a dimension of size {size}"));
        };
        places.push(place);
    }
    places
}

/// A shape cut at a dimension: `[outer, size, inner]`.
fn cut(shape: &[usize], dim: usize) -> (usize, usize, usize) {
    (shape[..dim].iter().product(), shape[dim], shape[dim + 1..].iter().product())
}

impl<T: Element> Tensor<T> {
    #[track_caller]
    fn index_select_to(&self, dim: usize, index: &Tensor<i64>) -> Tensor<T> {
        ensure(index.rank() == 1, || {
            format!("index_select: the index has shape {:?}, expected one dimension", index.shape())
        });
        let (_, size, inner) = cut(self.shape(), dim);
        let places = places("index_select", index.packed().elements(), size);
        let mut shape = self.dims();
        shape[dim] = places.len();
        let x = self.packed();
        Tensor::build(shape, |y| pick::select(&places, [size, inner], x.elements(), y))
    }

    /// Runs a kernel on what `index` picks along `dim`; in other dimensions it may be smaller than this tensor. The kernel tells
    /// whether all indices name a place.
    #[track_caller]
    fn picking<R>(&self, op: &str, dim: usize, index: &Tensor<i64>, run: impl FnOnce(&Picks) -> (R, bool)) -> R {
        let (shape, wanted) = (self.shape(), index.shape());
        let fits = wanted.len() == shape.len() && (0..shape.len()).all(|d| d == dim || wanted[d] <= shape[d]);
        ensure(fits, || format!("{op}: {shape:?}: an index of shape {wanted:?} does not fit along dimension {dim}"));
        let index = index.packed();
        let (result, good) = run(&Picks { index: index.elements(), dims: wanted, dim, sizes: shape });
        if !good {
            // It says which one.
            places(op, index.elements(), shape[dim]);
        }
        result
    }
}

impl<T: Element> Tensor<T> {
    /// The slices of dimension `dim` that `index` names, in its order. Negative indices count from the end.
    ///
    /// The gradient is added back where a slice came from; a slice named twice gets both.
    ///
    /// # Panics
    /// When `index` has not one dimension, or names a slice that is not there.
    #[track_caller]
    #[inline(never)]
    pub fn index_select(&self, dim: isize, index: &Tensor<i64>) -> Tensor<T> {
        let dim = axis("index_select", self.shape(), dim);
        let y = self.index_select_to(dim, index);
        view_op("index_select", self, y, Selected { dim, index: index.clone(), size: self.shape()[dim] })
    }

    /// `y[i][j][k] = x[i][index[i][j][k]][k]` for `dim = 1`: one element for each index, in the index's shape.
    ///
    /// # Panics
    /// When the index has another rank or is larger outside `dim`, or an index is out of range.
    #[track_caller]
    #[inline(never)]
    pub fn gather(&self, dim: isize, index: &Tensor<i64>) -> Tensor<T> {
        let dim = axis("gather", self.shape(), dim);
        let x = self.packed();
        let y = self.picking("gather", dim, index, |picks| {
            let mut good = true;
            (Tensor::build(index.dims(), |y| good = pick::gather(picks, x.elements(), y)), good)
        });
        view_op("gather", self, y, Gathered { dim, index: index.clone(), shape: self.dims() })
    }
}

struct Selected {
    dim: usize,
    index: Tensor<i64>,
    size: usize,
}
impl Back for Selected {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        grad.index_add_to(self.dim, &self.index, self.size)
    }
}

struct Gathered {
    dim: usize,
    index: Tensor<i64>,
    shape: Shape,
}
impl Back for Gathered {
    fn back<T: Float>(&self, grad: &Tensor<T>) -> Tensor<T> {
        Tensor::full(self.shape, T::ZERO).scatter_add(self.dim as isize, &self.index, grad)
    }
}

impl<T: Float> Tensor<T> {
    /// Zeros with `size` along `dim`, plus the slices of this tensor at the places that `index` names: the adjoint of
    /// [`Tensor::index_select`].
    #[track_caller]
    fn index_add_to(&self, dim: usize, index: &Tensor<i64>, size: usize) -> Tensor<T> {
        let (outer, count, inner) = cut(self.shape(), dim);
        let places = places("index_add", index.packed().elements(), size);
        let mut shape = self.dims();
        shape[dim] = size;
        let x = self.packed();
        let y = Tensor::build(shape, |y| {
            let (from, to) = (count * inner, size * inner);
            // Slices do not meet.
            parallel::chunks_mut(y, to * parallel::per_task(outer, from), |start, y| {
                y.fill(T::ZERO);
                for (i, y) in y.chunks_mut(to).enumerate() {
                    let x = &x.elements()[(start / to + i) * from..][..from];
                    for (x, &place) in x.chunks(inner).zip(&places) {
                        y[place * inner..][..inner].iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                    }
                }
            });
        });
        record_op("index_add", y, [self], || {
            let index = index.clone();
            move |pull: Pull<T>| [Some(pull.grad.index_select(dim as isize, &index))]
        })
    }

    /// This tensor with `source[i][j][k]` added at `[i][index[i][j][k]][k]` for `dim = 1`: the adjoint of
    /// [`Tensor::gather`].
    ///
    /// # Panics
    /// When the index and the source differ in shape, the index has another rank or is larger outside `dim`, or an index is
    /// out of range.
    #[track_caller]
    #[inline(never)]
    pub fn scatter_add(&self, dim: isize, index: &Tensor<i64>, source: &Tensor<T>) -> Tensor<T> {
        let dim = axis("scatter_add", self.shape(), dim);
        ensure(index.shape() == source.shape(), || {
            format!("scatter_add: the index has shape {:?}, the source {:?}", index.shape(), source.shape())
        });
        let mut y = self.copied();
        let (from, to) = (source.packed(), y.get_mut().expect("the only handle: just made"));
        self.picking("scatter_add", dim, index, |picks| ((), pick::scatter_add(picks, from.elements(), to)));
        record_op("scatter_add", y, [self, source], || {
            let index = index.clone();
            move |pull: Pull<T>| {
                let source = pull.when(1, |grad| grad.gather(dim as isize, &index));
                [Some(pull.grad), source]
            }
        })
    }
}

impl Tensor<i64> {
    /// `[.., classes]`: 1 at the class of each element, else 0.
    ///
    /// # Panics
    /// When an element is not a class.
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor<f32> {
        let labels = self.packed();
        for label in labels.elements() {
            ensure((0..classes as i64).contains(label), || format!("one_hot: {label} is not one of {classes} classes"));
        }
        Tensor::build(self.dims().with(self.rank(), classes), |y| {
            y.fill(0.0);
            labels.elements().iter().enumerate().for_each(|(i, &label)| y[i * classes + label as usize] = 1.0);
        })
    }
}
