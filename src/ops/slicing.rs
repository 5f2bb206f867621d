//! Slicing with one index for each dimension: `x.i((0, .., 1..3))`.

use crate::element::Element;
use crate::shape::ensure;
use crate::tensor::Tensor;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// What is taken of one dimension.
#[derive(Clone, Copy, Debug)]
pub enum Index {
    /// One index; the dimension is gone from the result.
    At(isize),
    /// Indices from `start` to before `end` (`None`: the end), every `step`th. Negative limits count from the end.
    Range {
        /// The first index.
        start: isize,
        /// The index after the last one.
        end: Option<isize>,
        /// The distance between indices that are taken.
        step: usize,
    },
}

/// Every `step`th index of a range: `x.i(step(0..10, 2))`.
pub fn step(range: impl Into<Index>, step: usize) -> Index {
    match range.into() {
        Index::Range { start, end, step: every } => Index::Range { start, end, step: every * step },
        at => at,
    }
}

impl From<RangeFull> for Index {
    fn from(_: RangeFull) -> Index {
        Index::Range { start: 0, end: None, step: 1 }
    }
}

macro_rules! index_from {
    ($($t:ty)+) => {$(
        impl From<$t> for Index {
            fn from(i: $t) -> Index {
                Index::At(i as isize)
            }
        }
        impl From<Range<$t>> for Index {
            fn from(r: Range<$t>) -> Index {
                Index::Range { start: r.start as isize, end: Some(r.end as isize), step: 1 }
            }
        }
        impl From<RangeFrom<$t>> for Index {
            fn from(r: RangeFrom<$t>) -> Index {
                Index::Range { start: r.start as isize, end: None, step: 1 }
            }
        }
        impl From<RangeTo<$t>> for Index {
            fn from(r: RangeTo<$t>) -> Index {
                Index::Range { start: 0, end: Some(r.end as isize), step: 1 }
            }
        }
        impl From<RangeInclusive<$t>> for Index {
            fn from(r: RangeInclusive<$t>) -> Index {
                Index::from(RangeToInclusive { end: *r.end() }).starting(*r.start() as isize)
            }
        }
        impl From<RangeToInclusive<$t>> for Index {
            fn from(r: RangeToInclusive<$t>) -> Index {
                // The index after -1 is the end itself.
                let after = r.end as isize + 1;
                Index::Range { start: 0, end: (after != 0).then_some(after), step: 1 }
            }
        }
    )+};
}
index_from!(i32 isize usize);

impl Index {
    fn starting(self, from: isize) -> Index {
        match self {
            Index::Range { end, step, .. } => Index::Range { start: from, end, step },
            at => at,
        }
    }
}

/// Indices for the first dimensions: one [`Index`] or a tuple of up to eight.
pub trait Indices {
    /// The indices, for the first dimension first.
    fn indices(self) -> Vec<Index>;
}

impl<I: Into<Index>> Indices for I {
    fn indices(self) -> Vec<Index> {
        vec![self.into()]
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Into<Index>),+> Indices for ($($name,)+) {
            #[allow(non_snake_case, reason = "the type's name serves as the variable's")]
            fn indices(self) -> Vec<Index> {
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    };
}
tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);

impl<T: Element> Tensor<T> {
    /// A view by an index or a range for each of the first dimensions; negative numbers count from the end.
    ///
    /// ```
    /// use wengert::{Tensor, ops::step};
    /// let x = Tensor::arange(0, 24).reshape([2, 3, 4]);
    /// assert_eq!(x.i((0, 1)).to_vec(), [4, 5, 6, 7]);
    /// assert_eq!(x.i((-1, .., 1..3)).shape(), [3, 2]);
    /// assert_eq!(x.i((0, 0, step(.., 2))).to_vec(), [0, 2]);
    /// ```
    ///
    /// # Panics
    /// When there are more indices than dimensions, or one leaves its dimension.
    #[track_caller]
    pub fn i(&self, indices: impl Indices) -> Tensor<T> {
        let indices = indices.indices();
        ensure(indices.len() <= self.rank(), || format!("i: {:?}: {} indices", self.shape(), indices.len()));
        let mut y = self.clone();
        let mut dim = 0;
        for (n, index) in indices.into_iter().enumerate() {
            let size = y.shape()[dim] as isize;
            let place = |i: isize| if i < 0 { i + size } else { i };
            match index {
                Index::At(i) => {
                    ensure((0..size).contains(&place(i)), || {
                        format!("i: {:?}: no index {i} in dimension {n} of size {size}", self.shape())
                    });
                    y = y.select(dim as isize, i);
                }
                Index::Range { start, end, step } => {
                    let (from, to) = (place(start), end.map_or(size, place));
                    ensure(0 <= from && from <= to && to <= size && step > 0, || {
                        format!(
                            "i: {:?}: {from}..{to} in steps of {step} does not fit dimension {n} of size {size}",
                            self.shape()
                        )
                    });
                    if (from, to, step) != (0, size, 1) {
                        y = y.slice(dim as isize, from as usize, to as usize, step);
                    }
                    dim += 1;
                }
            }
        }
        y
    }
}
