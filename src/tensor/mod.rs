//! The n-dimensional array: strided views on shared storage.

mod create;
mod print;

use crate::autograd::Entry;
use crate::element::{DType, Element};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{self, Loop1, Loop2, View};
use crate::memory::{Order, Storage};
use crate::shape::{Layout, Shape, ensure};

/// An n-dimensional array of `T`, of rank 0 (a scalar) to 8.
///
/// A tensor is a handle: `clone` copies a pointer and the shape, and views (`transpose`, `narrow`, `expand`, most
/// `reshape`s) share their storage. Nobody sees another handle's writes: storage is copied before it is written when a
/// second handle reads it.
///
/// `Tensor` as a type is `Tensor<f32>`. The elements of `Tensor::from([1.0, 2.0])` are what its use asks for, and where
/// nothing does, `f64`, as of any such literal in Rust; `1.0_f32` says it.
///
/// ```
/// use wengert::Tensor;
/// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
/// let y = &x * 10.0 + x.t();
/// assert_eq!(y.to_vec(), [11.0, 23.0, 32.0, 44.0]);
/// assert_eq!(y.shape(), [2, 2]);
/// ```
#[derive(Clone)]
pub struct Tensor<T: Element = f32> {
    pub(crate) storage: Storage<T>,
    pub(crate) layout: Layout,
    pub(crate) entry: Option<Entry>,
}

impl<T: Element> Tensor<T> {
    /// The sizes of the dimensions, outermost first.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// [`Tensor::shape`], as a value.
    #[inline]
    pub fn dims(&self) -> Shape {
        self.layout.shape
    }

    /// The distance in elements between neighbours along each dimension.
    pub fn strides(&self) -> &[usize] {
        self.layout.strides()
    }

    /// The size of one dimension; negative ones count from the end.
    ///
    /// # Panics
    /// When there is no such dimension.
    #[track_caller]
    pub fn size(&self, dim: isize) -> usize {
        self.shape()[crate::shape::axis("size", self.shape(), dim)]
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.layout.shape.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.layout.shape.numel()
    }

    /// The run-time name of the element type.
    pub fn dtype(&self) -> DType {
        T::DTYPE
    }

    /// Whether the elements stand in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// All elements in row-major order, copied.
    #[inline(never)]
    pub fn to_vec(&self) -> Vec<T> {
        self.packed().elements().to_vec()
    }

    /// All elements in row-major order, where they stand so in memory: `None` for most transposed or sliced views.
    pub fn as_slice(&self) -> Option<&[T]> {
        self.is_contiguous().then(|| self.elements())
    }

    /// The value of a tensor with one element.
    ///
    /// # Panics
    /// When there is not exactly one element.
    #[track_caller]
    #[inline(never)]
    pub fn item(&self) -> T {
        ensure(self.numel() == 1, || format!("item: {:?}: expected one element, found {}", self.shape(), self.numel()));
        self.storage.as_slice()[self.layout.offset]
    }

    /// The element at a position, one index for each dimension.
    ///
    /// # Panics
    /// When the number of indices is not the rank, or an index is out of range.
    #[track_caller]
    #[inline(never)]
    pub fn get(&self, index: &[usize]) -> T {
        let shape = self.shape();
        ensure(index.len() == shape.len() && index.iter().zip(shape).all(|(i, n)| i < n), || {
            format!("get: {shape:?}: no element at {index:?}")
        });
        let place: usize = index.iter().zip(self.strides()).map(|(i, s)| i * s).sum();
        self.storage.as_slice()[self.layout.offset + place]
    }

    /// The elements of a contiguous tensor.
    #[inline]
    pub(crate) fn elements(&self) -> &[T] {
        debug_assert!(self.is_contiguous());
        &self.storage.as_slice()[self.layout.offset..][..self.numel()]
    }

    /// The same values in row-major order, without a tape entry; a copy only where they do not stand so already.
    #[inline(never)]
    pub(crate) fn packed(&self) -> Tensor<T> {
        if self.is_contiguous() {
            return self.detached();
        }
        self.copied()
    }

    /// A copy in row-major order without gaps, and without the tape entry.
    pub(crate) fn copied(&self) -> Tensor<T> {
        Tensor::build(self.dims(), |y| elementwise::copy_strided(self.shape(), self.view(), y))
    }

    /// The same values without the tape entry.
    #[inline]
    pub(crate) fn detached(&self) -> Tensor<T> {
        Tensor { storage: self.storage.clone(), layout: self.layout, entry: None }
    }

    /// The elements for writing, where this is the only handle on contiguous storage.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut [T]> {
        if !self.is_contiguous() {
            return None;
        }
        let (offset, len) = (self.layout.offset, self.numel());
        Some(&mut self.storage.get_mut()?[offset..][..len])
    }

    /// The elements for writing; copied first where another handle reads them.
    #[inline(never)]
    pub(crate) fn make_mut(&mut self) -> &mut [T] {
        if self.get_mut().is_none() {
            let entry = self.entry.take();
            let packed = self.copied();
            *self = Tensor { entry, ..packed };
        }
        self.get_mut().expect("the only handle: just made")
    }

    /// What kernels for strided operands take.
    #[inline]
    pub(crate) fn view(&self) -> View<'_, T> {
        let data = self.storage.as_slice();
        View { data: &data[self.layout.offset.min(data.len())..], strides: self.strides() }
    }

    /// All elements in another order, of which `arrange` makes so many numbers, once, that are kept until the elements change:
    /// [`Storage::arranged`]. `None` without an order, and for a part of other tensors.
    pub(crate) fn arranged(&self, how: Option<(Order, usize)>, arrange: impl FnOnce(&mut [T])) -> Option<&[T]> {
        let (order, len) = how?;
        let whole = self.is_contiguous() && self.storage.as_slice().len() == self.numel();
        if whole { self.storage.arranged(order, len, arrange) } else { None }
    }

    /// A new tensor whose elements `fill` writes, every one: before, they are of arbitrary value.
    #[inline]
    #[track_caller]
    pub(crate) fn build(shape: impl Into<Shape>, fill: impl FnOnce(&mut [T])) -> Tensor<T> {
        let mut y = Tensor::unwritten(shape.into());
        fill(y.storage.get_mut().expect("the only handle: just made"));
        y
    }

    #[inline(never)]
    fn unwritten(shape: Shape) -> Tensor<T> {
        let layout = Layout::contiguous(shape);
        Tensor { storage: Storage::scratch(layout.shape.numel()), layout, entry: None }
    }

    /// A view of the same storage.
    #[inline]
    pub(crate) fn viewed(&self, layout: Layout) -> Tensor<T> {
        Tensor { storage: self.storage.clone(), layout, entry: None }
    }

    /// `f` of every element, without a tape entry.
    #[inline]
    pub(crate) fn map_to<U: Element>(&self, f: impl Fn(T) -> U + Copy + Send + Sync) -> Tensor<U> {
        self.loop1(&elementwise::loop1(f))
    }

    /// [`Tensor::map_to`] of a function in two forms, without fused multiply-adds and with.
    #[inline]
    pub(crate) fn map_to_forms<U: Element>(
        &self,
        plain: impl Fn(T) -> U + Copy + Send + Sync,
        fused: impl Fn(T) -> U + Copy + Send + Sync,
    ) -> Tensor<U> {
        self.loop1(&elementwise::loop1_forms(plain, fused))
    }

    fn loop1<U: Element>(&self, run: Loop1<T, U>) -> Tensor<U> {
        Tensor::build(self.dims(), |y| {
            if self.is_contiguous() {
                elementwise::run1(self.elements(), y, run);
            } else {
                elementwise::run1_strided(self.shape(), self.view(), y, run);
            }
        })
    }

    /// `f` of every pair of elements of two tensors that broadcast together, without a tape entry.
    #[inline]
    #[track_caller]
    pub(crate) fn zip_to<U: Element, V: Element>(
        &self,
        op: &str,
        other: &Tensor<U>,
        f: impl Fn(T, U) -> V + Copy + Send + Sync,
    ) -> Tensor<V> {
        self.loop2(op, other, &elementwise::loop2(f))
    }

    #[track_caller]
    fn loop2<U: Element, V: Element>(&self, op: &str, other: &Tensor<U>, run: Loop2<T, U, V>) -> Tensor<V> {
        if self.layout.shape == other.layout.shape && self.is_contiguous() && other.is_contiguous() {
            return Tensor::build(self.dims(), |y| elementwise::run2(self.elements(), other.elements(), y, run));
        }
        let shape = broadcast_shape(op, &self.layout.shape, &other.layout.shape);
        let (a, b) = (self.expanded(&shape), other.expanded(&shape));
        Tensor::build(shape, |y| elementwise::run2_strided(&shape, a.view(), b.view(), y, run))
    }

    /// Expanded to a shape that this one is known to broadcast to.
    #[inline]
    pub(crate) fn expanded(&self, shape: &Shape) -> Tensor<T> {
        self.viewed(self.layout.expand(shape).expect("a shape made by broadcasting"))
    }

    /// A tensor from its elements in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] when their number is not that of the shape.
    pub fn try_from_vec(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        let shape = shape.into();
        if elements.len() != shape.numel() {
            return Err(Error::Shape(count_message(elements.len(), &shape)));
        }
        Ok(Tensor { storage: Storage::from_slice(&elements), layout: Layout::contiguous(shape), entry: None })
    }
}

fn count_message(found: usize, shape: &Shape) -> String {
    format!("from_vec: {shape:?}: expected {} elements, found {found}", shape.numel())
}

/// The shape that two operands broadcast to.
#[track_caller]
#[inline]
pub(crate) fn broadcast_shape(op: &str, a: &Shape, b: &Shape) -> Shape {
    match Shape::broadcast(a, b) {
        Some(shape) => shape,
        None => crate::shape::fail(format!("{op}: {a:?} and {b:?}: the shapes do not broadcast together")),
    }
}
