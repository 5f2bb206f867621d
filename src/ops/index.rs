//! Elements picked by index tensors: `gather`, `index_select`, and their adjoints.

use super::view::{Back, view_op};
use crate::autograd::{Pull, record_op};
use crate::element::{Element, Float};
use crate::shape::{Shape, axis, ensure, fail};
use crate::tensor::Tensor;

/// Index `i` counted from the front, checked against a size.
#[track_caller]
#[inline]
fn checked(op: &str, i: i64, size: usize) -> usize {
    let place = if i < 0 { i + size as i64 } else { i };
    if !(0..size as i64).contains(&place) {
        fail(format!("{op}: index {i} is out of range for a dimension of size {size}"));
    }
    place as usize
}

/// [`checked`] for all elements.
#[track_caller]
fn all_checked(op: &str, index: &Tensor<i64>, size: usize) -> Vec<usize> {
    let mut places = Vec::with_capacity(index.numel());
    for &i in index.packed().elements() {
        places.push(checked(op, i, size));
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
        let places = all_checked("index_select", index, size);
        let mut shape = self.dims();
        shape[dim] = places.len();
        let x = self.packed();
        Tensor::build(shape, |y| {
            let rows = y.chunks_mut((places.len() * inner).max(1));
            for (y, x) in rows.zip(x.elements().chunks((size * inner).max(1))) {
                for (y, &place) in y.chunks_mut(inner.max(1)).zip(&places) {
                    y.copy_from_slice(&x[place * inner..][..inner]);
                }
            }
        })
    }

    /// The largest common part: `index` may be smaller than this tensor outside `dim`.
    #[track_caller]
    fn gather_places(&self, op: &str, dim: usize, index: &Tensor<i64>) -> Vec<usize> {
        let (shape, wanted) = (self.shape(), index.shape());
        let fits = wanted.len() == shape.len() && (0..shape.len()).all(|d| d == dim || wanted[d] <= shape[d]);
        ensure(fits, || format!("{op}: {shape:?}: an index of shape {wanted:?} does not fit along dimension {dim}"));
        let strides = crate::shape::Layout::contiguous(self.dims());
        let strides = strides.strides();
        let index = index.packed();
        let mut at = vec![0; wanted.len()];
        let mut places = Vec::with_capacity(index.numel());
        for &i in index.elements() {
            let place = checked(op, i, shape[dim]);
            places.push((0..at.len()).map(|d| strides[d] * if d == dim { place } else { at[d] }).sum());
            for d in (0..at.len()).rev() {
                at[d] += 1;
                if at[d] < wanted[d] {
                    break;
                }
                at[d] = 0;
            }
        }
        places
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
        let places = self.gather_places("gather", dim, index);
        let x = self.packed();
        let y = Tensor::build(index.dims(), |y| {
            let x = x.elements();
            y.iter_mut().zip(&places).for_each(|(y, &place)| *y = x[place]);
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
        let (_, count, inner) = cut(self.shape(), dim);
        let places = all_checked("index_add", index, size);
        let mut shape = self.dims();
        shape[dim] = size;
        let x = self.packed();
        let y = Tensor::build(shape, |y| {
            y.fill(T::ZERO);
            let rows = y.chunks_mut((size * inner).max(1));
            for (y, x) in rows.zip(x.elements().chunks((count * inner).max(1))) {
                for (x, &place) in x.chunks(inner.max(1)).zip(&places) {
                    y[place * inner..][..inner].iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                }
            }
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
        let places = self.gather_places("scatter_add", dim, index);
        let mut y = self.map_to(|x| x);
        let source_packed = source.packed();
        let out = y.get_mut().expect("the only handle: just made");
        places.iter().zip(source_packed.elements()).for_each(|(&place, &x)| out[place] += x);
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
