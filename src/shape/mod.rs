//! Dimensions, strides, broadcasting, and the text of every shape error.

mod fail;
mod layout;

pub use fail::{Label, Scope};
pub(crate) use fail::{catch, current_layer, ensure, fail};
pub(crate) use layout::Layout;

use std::fmt;

/// The largest number of dimensions.
pub const MAX_RANK: usize = 8;

/// The dimensions of a tensor, outermost first; kept inline, without an allocation.
///
/// Made from arrays, slices, vectors, a single number (one dimension) and `()` (none: a scalar).
#[derive(Clone, Copy)]
pub struct Shape {
    rank: usize,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// # Panics
    /// When there are more than eight dimensions, or more elements than can be counted.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Shape {
        ensure(dims.len() <= MAX_RANK, || {
            format!("shape: {dims:?}: at most {MAX_RANK} dimensions, found {}", dims.len())
        });
        let numel = dims.iter().filter(|&&size| size > 0).try_fold(1, |numel: usize, &size| numel.checked_mul(size));
        ensure(numel.is_some(), || format!("shape: {dims:?}: more elements than can be counted"));
        let mut all = [0; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Shape { rank: dims.len(), dims: all }
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.iter().product()
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The same dimensions, `dim` left out.
    pub(crate) fn without(&self, dim: usize) -> Shape {
        let mut out = *self;
        out.dims.copy_within(dim + 1.., dim);
        out.rank -= 1;
        out
    }

    /// The same dimensions with one of `size` before the one at `dim`.
    #[track_caller]
    pub(crate) fn with(&self, dim: usize, size: usize) -> Shape {
        ensure(self.rank < MAX_RANK, || format!("unsqueeze: {self:?} has {MAX_RANK} dimensions already"));
        let mut out = *self;
        out.dims.copy_within(dim..MAX_RANK - 1, dim + 1);
        out.dims[dim] = size;
        out.rank += 1;
        out
    }

    /// The shape that two operands are broadcast to: aligned at the last dimension, where one has size 1 or none it takes
    /// the other's size (NumPy's rule).
    pub(crate) fn broadcast(a: &Shape, b: &Shape) -> Option<Shape> {
        let rank = a.rank.max(b.rank);
        let mut out = Shape { rank, dims: [0; MAX_RANK] };
        for i in 0..rank {
            let size = |s: &Shape| (i + s.rank).checked_sub(rank).map_or(1, |i| s.dims[i]);
            out.dims[i] = match (size(a), size(b)) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => return None,
            };
        }
        Some(out)
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl std::ops::DerefMut for Shape {
    #[inline]
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.dims[..self.rank]
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        **self == **other
    }
}
impl Eq for Shape {}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Shape {
        Shape::new(&dims)
    }
}
impl<const N: usize> From<&[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: &[usize; N]) -> Shape {
        Shape::new(dims)
    }
}
impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims)
    }
}
impl From<&Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: &Vec<usize>) -> Shape {
        Shape::new(dims)
    }
}
impl From<Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: Vec<usize>) -> Shape {
        Shape::new(&dims)
    }
}
impl From<usize> for Shape {
    fn from(size: usize) -> Shape {
        Shape::new(&[size])
    }
}
impl From<()> for Shape {
    fn from((): ()) -> Shape {
        Shape::new(&[])
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        *shape
    }
}

/// Two sizes, vertical and horizontal; one number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub [usize; 2]);

impl From<usize> for Pair {
    fn from(size: usize) -> Pair {
        Pair([size; 2])
    }
}
impl From<[usize; 2]> for Pair {
    fn from(sizes: [usize; 2]) -> Pair {
        Pair(sizes)
    }
}

/// Three sizes, of depth, height and width; one number stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triple(pub [usize; 3]);

impl From<usize> for Triple {
    fn from(size: usize) -> Triple {
        Triple([size; 3])
    }
}
impl From<[usize; 3]> for Triple {
    fn from(sizes: [usize; 3]) -> Triple {
        Triple(sizes)
    }
}

/// The place of a dimension that may be counted from the end: -1 is the last.
#[track_caller]
#[inline]
pub(crate) fn axis(op: &str, shape: &[usize], dim: isize) -> usize {
    let rank = shape.len() as isize;
    ensure(rank > 0, || format!("{op}: []: a scalar has no dimension {dim}"));
    ensure(-rank <= dim && dim < rank, || {
        format!("{op}: {shape:?}: expected a dimension from {} to {}, found {dim}", -rank, rank - 1)
    });
    dim.rem_euclid(rank) as usize
}

/// Sizes for `reshape`, of which one may be -1: whatever the number of elements leaves.
///
/// Implemented for arrays, slices, vectors, a single number, `()` and [`Shape`].
pub trait Sizes {
    /// The sizes, -1 for the one to be found.
    fn sizes(&self) -> Vec<isize>;
}

macro_rules! sizes {
    ($($t:ty),+) => {$(
        impl<const N: usize> Sizes for [$t; N] {
            fn sizes(&self) -> Vec<isize> {
                self.iter().map(|&n| n as isize).collect()
            }
        }
    )+};
}
sizes!(i32, isize, usize);

impl Sizes for &[usize] {
    fn sizes(&self) -> Vec<isize> {
        self.iter().map(|&n| n as isize).collect()
    }
}
impl Sizes for &[isize] {
    fn sizes(&self) -> Vec<isize> {
        self.to_vec()
    }
}
impl Sizes for Vec<usize> {
    fn sizes(&self) -> Vec<isize> {
        (&self[..]).sizes()
    }
}
impl Sizes for usize {
    fn sizes(&self) -> Vec<isize> {
        vec![*self as isize]
    }
}
impl Sizes for Shape {
    fn sizes(&self) -> Vec<isize> {
        (&**self).sizes()
    }
}
impl Sizes for () {
    fn sizes(&self) -> Vec<isize> {
        Vec::new()
    }
}

/// A set of dimensions to reduce over: one number, several, or `..` for all; negative ones count from the end.
pub trait Dims {
    /// For each dimension of a shape, whether it is in the set.
    ///
    /// # Panics
    /// When a dimension is out of range or named twice.
    fn mask(&self, op: &str, shape: &[usize]) -> [bool; MAX_RANK];
}

#[track_caller]
fn mask(op: &str, shape: &[usize], dims: impl Iterator<Item = isize>) -> [bool; MAX_RANK] {
    let mut mask = [false; MAX_RANK];
    for dim in dims {
        let i = axis(op, shape, dim);
        ensure(!mask[i], || format!("{op}: {shape:?}: dimension {dim} is named twice"));
        mask[i] = true;
    }
    mask
}

impl Dims for isize {
    #[track_caller]
    fn mask(&self, op: &str, shape: &[usize]) -> [bool; MAX_RANK] {
        mask(op, shape, [*self].into_iter())
    }
}
impl<const N: usize> Dims for [isize; N] {
    #[track_caller]
    fn mask(&self, op: &str, shape: &[usize]) -> [bool; MAX_RANK] {
        mask(op, shape, self.iter().copied())
    }
}
impl Dims for &[isize] {
    #[track_caller]
    fn mask(&self, op: &str, shape: &[usize]) -> [bool; MAX_RANK] {
        mask(op, shape, self.iter().copied())
    }
}
impl Dims for std::ops::RangeFull {
    fn mask(&self, _op: &str, shape: &[usize]) -> [bool; MAX_RANK] {
        let mut mask = [false; MAX_RANK];
        mask[..shape.len()].fill(true);
        mask
    }
}
